"""The same question in other words around it gets the same model, by the router that serves calls.

The wrappers are ones that training never saw.
"""

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from omni_grpc.catalog import CatalogSnapshot, Modality, Mode, Offer
from omni_grpc.core.chat import ChatRequest, Message
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.evaluation.data import read_meta, read_rows
from omni_grpc.evaluation.predicting import decisions, sellers_of
from omni_grpc.evaluation.steadiness import steadiness
from omni_grpc.evaluation.wrappers import TRAINING, UNSEEN, rewritten
from omni_grpc.routing import AUTO, Chooser, Health, RouteContext, Router, Warmth, shared_judge
from omni_grpc.routing.learned import shared_quality

SAMPLE = Path(__file__).parent / "sample"
META = read_meta(SAMPLE / "pool_A_meta.json")
SAME_MIN = 0.95
SEEDS = (0, 1)

IDS = {
    "gpt-4o": "openai/gpt-4o-2024-05-13",
    "gemini-pro": "google/gemini-1.5-pro-002",
    "gemini-flash": "google/gemini-1.5-flash-002",
    "llama-70b": "meta/llama-3.1-70b-instruct",
    "llama-8b": "meta/llama-3.1-8b-instruct",
}
"""The recorded models as a catalog has them."""


class NoPolicies:
    """An operator without policies."""

    takes_named = False

    def for_call(self, *_: object) -> None:
        """None holds."""


def offer(model: str) -> Offer:
    prompt, output = META.prices_usd_per_mtok_in_out[model]
    name = IDS[model]
    rates = (
        Rate(Unit.COMPLETION, 0, round(output * 10**9)),
        Rate(Unit.PROMPT, 0, round(prompt * 10**9)),
    )
    return Offer(
        id=name, provider=name.partition("/")[0], model=name.partition("/")[2],
        provider_model=name, display_name=name, mode=Mode.CHAT, context_tokens_max=128_000,
        prompt_tokens_max=None, output_tokens_max=8_000,
        input_modalities=frozenset({Modality.TEXT}), output_modalities=frozenset({Modality.TEXT}),
        tools=False, structured_output=False, reasoning=False, temperature=True, free=False,
        deprecated=False, by_name_only=False, enabled=True, release_date=None,
        price=Price(1, rates),
    )  # fmt: skip


def router() -> Router:
    offers = tuple(offer(model) for model in META.models)
    snapshot = CatalogSnapshot(1, offers)
    clock = SystemClock()
    return Router(
        lambda: snapshot,
        frozenset(one.provider for one in offers),
        lambda _provider, _request: None,
        chooser=Chooser(shared_judge()),
        policies=NoPolicies(),
        health=Health(clock),
        warmth=Warmth(clock),
        premium_model=IDS["gpt-4o"].partition("/")[2],
        markup_ppm=0,
    )


def model_for(routes: Router, prompt: str) -> str:
    request = ChatRequest(model=AUTO, messages=(Message(role="user", content=prompt),))
    return routes.plan(request, RouteContext()).attempts[0].offer.id


def test_other_wrappers_leave_nearly_all_decisions_as_they_are() -> None:
    routes = router()
    prompts = [row.prompt for row in read_rows(SAMPLE / "pool_A_sample.jsonl")]
    changed: list[str] = []
    chosen: Counter[str] = Counter()
    for prompt in prompts:
        plain = model_for(routes, prompt)
        chosen[plain] += 1
        for seed in SEEDS:
            other = rewritten(prompt, UNSEEN, seed)
            if model_for(routes, other) != plain:
                changed.append(other)
    asked = len(prompts) * len(SEEDS)
    assert len(changed) <= (1 - SAME_MIN) * asked, (len(changed), asked, changed[:5])
    assert len(chosen) >= 2
    assert max(chosen.values()) <= 0.85 * chosen.total(), chosen


def test_what_stays_in_other_wrappers_is_told_by_source() -> None:
    path = SAMPLE / "pool_A_sample.jsonl"
    rows = read_rows(path)[::10]
    quality = shared_quality()
    sellers = sellers_of(SAMPLE, path, rows, quality)
    found = steadiness(quality, sellers, rows)
    plain = [one.model for one in decisions(quality, sellers, rows)]
    kept: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for seed in SEEDS:
        others = tuple(
            msgspec.structs.replace(row, prompt=rewritten(row.prompt, UNSEEN, seed)) for row in rows
        )
        for row, model, other in zip(rows, plain, decisions(quality, sellers, others), strict=True):
            asked[row.source] += 1
            kept[row.source] += other.model == model
    assert found.decisions == asked.total() == 2 * len(rows)
    assert found.kept == pytest.approx(100 * kept.total() / asked.total())
    assert found.sources == {one: pytest.approx(100 * kept[one] / asked[one]) for one in asked}


def test_wrappers_of_training_are_not_those_of_the_test() -> None:
    for kind in ("heads", "tails", "choice_heads", "markers", "code", "tools"):
        shared = set(getattr(TRAINING, kind)) & set(getattr(UNSEEN, kind)) - {""}
        assert not shared, kind


def test_a_rewritten_prompt_keeps_its_question() -> None:
    prompt = "Which is a prime?\nA. 21\nB. 23\nC. 25"
    for seed in range(20):
        other = rewritten(prompt, UNSEEN, seed)
        assert "Which is a prime?" in other
        assert all(choice in other for choice in ("21", "23", "25"))
        assert rewritten(prompt, UNSEEN, seed) == other
