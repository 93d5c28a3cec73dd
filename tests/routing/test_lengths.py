"""How long outputs are predicted to be: what a model reasons is output, and costs as much."""

import pytest
from test_router import CONTEXT, NoPolicies, offer

from omni_grpc.catalog import CatalogSnapshot, Offer
from omni_grpc.core.chat import ChatRequest, Message, Preferences
from omni_grpc.core.clock import SystemClock
from omni_grpc.routing import Chooser, Considered, Health, Router, Warmth, shared_judge
from omni_grpc.routing.lengths import GUESS_WEIGHT
from omni_grpc.routing.reasoning import GROWTH_OF_EFFORT, UNASKED_GROWTH

PLAIN, THINKER = "here/plain", "here/thinker"


class Rig:
    """A router over a few offers of one price, and what it knows of them from calls."""

    def __init__(self, *more: Offer) -> None:
        snapshot = CatalogSnapshot(
            1, (offer(PLAIN), offer(THINKER, reasoning=True, output_tokens_max=None), *more)
        )
        clock = SystemClock()
        self.health = Health(clock)
        self.router = Router(
            lambda: snapshot,
            frozenset({"here"}),
            lambda _provider, _request: None,
            chooser=Chooser(shared_judge()),
            policies=NoPolicies(),
            health=self.health,
            warmth=Warmth(clock),
            premium_model="",
            markup_ppm=0,
        )

    def costs(self, **asked: object) -> dict[str, int]:
        """What each offer is predicted to cost, in nano-USD: at 1 USD per million, of tokens."""
        found = self.router.explain(request("omni/auto", **asked), CONTEXT).considered
        return {one.offer: _cost(one) // 1_000 for one in found if not one.excluded}

    def tokens(self, model: str, **asked: object) -> int:
        """How many tokens of output an estimate counts for a named model."""
        named = request(model, **asked)
        return self.router.output_tokens(named, CONTEXT, self.router.plan(named, CONTEXT))

    def reasoned(self, calls: int, *, answer: int, reasoning: int) -> None:
        for _ in range(calls):
            self.health.answered(
                THINKER,
                first_token_s=0.1,
                whole_s=1.0,
                output_tokens=answer + reasoning,
                reasoning_tokens=reasoning,
            )


def request(model: str, **asked: object) -> ChatRequest:
    message = Message(role="user", content="What is 17 * 23?")
    return ChatRequest(model=model, messages=(message,), **asked)  # type: ignore[arg-type]


def _cost(one: Considered) -> int:
    assert one.cost_nanousd is not None
    return one.cost_nanousd


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_what_a_model_reasons_is_predicted_and_costs_as_output(rig: Rig) -> None:
    costs, answer = rig.costs(), rig.tokens(PLAIN)
    assert rig.tokens(THINKER) == pytest.approx(UNASKED_GROWTH * answer, abs=UNASKED_GROWTH)
    extra = costs[THINKER] - costs[PLAIN]
    assert extra == pytest.approx((UNASKED_GROWTH - 1) * answer, abs=UNASKED_GROWTH)


@pytest.mark.parametrize("effort", GROWTH_OF_EFFORT)
def test_the_effort_that_is_asked_for_decides(rig: Rig, effort: str) -> None:
    answer = rig.tokens(PLAIN)
    found = rig.tokens(THINKER, reasoning_effort=effort, output_tokens_max=100_000)
    growth = GROWTH_OF_EFFORT[effort]
    assert found == pytest.approx(growth * answer, abs=growth)


def test_a_budget_bounds_what_is_reasoned(rig: Rig) -> None:
    answer = rig.tokens(PLAIN)
    assert rig.tokens(THINKER, reasoning_budget=0) == answer
    assert rig.tokens(THINKER, reasoning_budget=10) == pytest.approx(answer + 10, abs=1)
    most = rig.tokens(THINKER, reasoning_budget=10**6)
    assert most == pytest.approx(UNASKED_GROWTH * answer, abs=UNASKED_GROWTH)


def test_a_choice_and_an_estimate_by_name_count_the_same_tokens(rig: Rig) -> None:
    rig.reasoned(20, answer=100, reasoning=50)
    for asked in ({}, {"reasoning_effort": "low"}, {"output_tokens_max": 7}):
        auto = request("omni/auto", preferences=Preferences(models=(THINKER,)), **asked)
        plan = rig.router.plan(auto, CONTEXT)
        assert plan.attempts[0].offer.id == THINKER
        assert rig.router.output_tokens(auto, CONTEXT, plan) == rig.tokens(THINKER, **asked)


def test_what_calls_measured_goes_before_the_guess_the_more_of_them_there_are(rig: Rig) -> None:
    answer = rig.tokens(PLAIN)
    rig.reasoned(1, answer=100, reasoning=0)
    once = rig.tokens(THINKER) / answer
    guess = UNASKED_GROWTH - 1
    assert once == pytest.approx(1 + guess * GUESS_WEIGHT / (GUESS_WEIGHT + 1), rel=0.02)
    rig.reasoned(200, answer=100, reasoning=0)
    assert rig.tokens(THINKER) / answer < 1.4
    # What is asked for goes before what calls without it measured.
    asked = rig.tokens(THINKER, reasoning_effort="medium")
    assert asked == pytest.approx(UNASKED_GROWTH * answer, abs=UNASKED_GROWTH)


@pytest.mark.parametrize(
    ("model", "growth"),
    [
        ("claude-opus-4-5", 1), ("gpt-5.1", 1), ("gpt-5.2-2025-12-11", 1), ("gpt-5.4-mini", 1),
        ("gemini-2.5-flash-lite", 1),
        ("gpt-5", UNASKED_GROWTH), ("gpt-5.1-codex", UNASKED_GROWTH), ("o3-mini", UNASKED_GROWTH),
        ("gemini-2.5-flash", UNASKED_GROWTH), ("gpt-5-mini", UNASKED_GROWTH),
    ],
)  # fmt: skip
def test_models_that_reason_only_when_asked_are_not_guessed_to(model: str, growth: float) -> None:
    name = f"here/{model}"
    rig = Rig(offer(name, reasoning=True, output_tokens_max=None))
    answer = rig.tokens(PLAIN)
    assert rig.tokens(name) == pytest.approx(growth * answer, abs=growth)
    high = rig.tokens(name, reasoning_effort="high", output_tokens_max=100_000)
    assert high == pytest.approx(GROWTH_OF_EFFORT["high"] * answer, abs=GROWTH_OF_EFFORT["high"])


def test_no_prediction_is_above_what_a_model_can_write() -> None:
    rig = Rig(offer("here/short", reasoning=True, output_tokens_max=5))
    assert rig.tokens("here/short") == 5
