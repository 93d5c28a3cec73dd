import re

import msgspec
import pytest

from omni_grpc.catalog import CatalogSnapshot, Modality, Mode, Offer
from omni_grpc.core.chat import (
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Preferences,
    ResponseFormat,
    TextPart,
    Tool,
)
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.errors import (
    ContextTooLong,
    FeatureUnsupported,
    FieldInvalid,
    ModelNotFound,
    ModelUnpriced,
    NoCapableModel,
)
from omni_grpc.core.money import Price, Rate, Unit, worst_case
from omni_grpc.routing import (
    AUTO,
    Chooser,
    Health,
    RouteContext,
    Router,
    Warmth,
    shared_judge,
)
from omni_grpc.routing.router import PolicySource

CONTEXT = RouteContext()


class NoPolicies:
    """An operator without policies."""

    takes_named = False

    def for_call(self, *_: object) -> None:
        """None holds."""


def offer(name: str, usd_per_mtok: int | None = 1, **changes: object) -> Offer:
    provider, _, model = name.partition("/")
    price = None
    if usd_per_mtok is not None:
        rate = usd_per_mtok * 10**9
        price = Price(1, (Rate(Unit.COMPLETION, 0, rate), Rate(Unit.PROMPT, 0, rate)))
    facts: dict[str, object] = {
        "id": name, "provider": provider, "model": model, "provider_model": model,
        "display_name": name, "mode": Mode.CHAT, "context_tokens_max": 8_000,
        "prompt_tokens_max": None, "output_tokens_max": 1_000,
        "input_modalities": frozenset({Modality.TEXT}),
        "output_modalities": frozenset({Modality.TEXT}),
        "tools": False, "structured_output": False, "reasoning": False, "temperature": True,
        "free": False, "deprecated": False, "by_name_only": False, "enabled": True,
        "release_date": None, "price": price,
    }  # fmt: skip
    return Offer(**(facts | changes))  # type: ignore[arg-type]


def router(
    *offers: Offer, policies: PolicySource | None = None, health: Health | None = None
) -> Router:
    snapshot = CatalogSnapshot(1, offers)
    clock = SystemClock()
    return Router(
        lambda: snapshot,
        frozenset({"here"}),
        lambda _provider, _request: None,
        chooser=Chooser(shared_judge()),
        policies=policies or NoPolicies(),
        health=health or Health(clock),
        warmth=Warmth(clock),
        premium_model="",
        markup_ppm=0,
    )


def request(model: str = AUTO, content: object = "Hello", **changes: object) -> ChatRequest:
    message = Message(role="user", content=content)  # type: ignore[arg-type]
    return ChatRequest(model=model, messages=(message,), **changes)  # type: ignore[arg-type]


def ids(found: object) -> list[str]:
    return [attempt.offer.id for attempt in found.attempts]  # type: ignore[attr-defined]


def test_a_prompt_unlike_anything_known_goes_to_the_best_rated_and_a_plan_has_three() -> None:
    offers = [offer("here/d", 4), offer("here/b", 2), offer("here/gpt-4.1", 3), offer("here/a", 1)]
    found = router(*offers).plan(request(content="zzxq " * 40), CONTEXT)
    assert ids(found)[0] == "here/gpt-4.1"  # what ships rates it, and none of the others
    assert len(set(ids(found))) == 3
    assert found.premium is not None
    assert found.analysis is not None
    assert ids(found)[-1] == "here/a"  # the cheapest of the others


@pytest.mark.parametrize(
    "changes",
    [
        {"enabled": False}, {"deprecated": True}, {"free": True}, {"by_name_only": True},
        {"price": None}, {"provider": "elsewhere"}, {"mode": Mode.EMBEDDING},
        {"output_modalities": frozenset({Modality.IMAGE})}, {"context_tokens_max": 1},
    ],
)  # fmt: skip
def test_auto_passes_over_what_must_not_be_chosen(changes: dict[str, object]) -> None:
    assert ids(
        router(offer("here/a", 1, **changes), offer("here/b", 2)).plan(request(), CONTEXT)
    ) == ["here/b"]


@pytest.mark.parametrize(
    ("changes", "ability"),
    [
        ({"tools": (Tool(name="f"),)}, {"tools": True}),
        (
            {"response_format": ResponseFormat(kind="json_schema", name="a", schema_json="{}")},
            {"structured_output": True},
        ),
        ({"reasoning_effort": "low"}, {"reasoning": True}),
        ({"output_tokens_max": 5_000}, {"output_tokens_max": 6_000}),
        (
            {"content": (TextPart(text="?"), ImagePart(url="data:image/png;base64,"))},
            {
                "input_modalities": frozenset({Modality.TEXT, Modality.IMAGE}),
                "context_tokens_max": 100_000,
            },
        ),
        (
            {"content": (FilePart(file_id="f"),)},
            {"input_modalities": frozenset({Modality.TEXT, Modality.PDF})},
        ),
    ],
)
def test_what_a_request_needs_decides_who_can(
    changes: dict[str, object], ability: dict[str, object]
) -> None:
    cheap, able = offer("here/cheap", 1), offer("here/able", 9, **ability)
    assert ids(router(cheap, able).plan(request(**changes), CONTEXT)) == ["here/able"]
    with pytest.raises(NoCapableModel, match="1 left out because it lacks"):
        router(cheap).plan(request(**changes), CONTEXT)
    with pytest.raises((FeatureUnsupported, FieldInvalid)):
        router(cheap).plan(request("here/cheap", **changes), CONTEXT)


def test_reasoning_that_is_optional_excludes_no_model() -> None:
    asked = request("here/a", reasoning_effort="low", optional=frozenset({"reasoning_effort"}))
    assert ids(router(offer("here/a")).plan(asked, CONTEXT)) == ["here/a"]


def test_an_ability_that_the_catalog_does_not_know_is_not_held_against_a_model() -> None:
    form = ResponseFormat(kind="json_schema", name="a", schema_json="{}")
    unknown = offer("here/a", structured_output=None)
    assert ids(router(unknown).plan(request(response_format=form), CONTEXT)) == ["here/a"]


def test_a_name_means_its_offer_here() -> None:
    found = router(offer("here/a"), offer("elsewhere/a"))
    assert ids(found.plan(request("here/a"), CONTEXT)) == ["here/a"]
    assert ids(found.plan(request("a"), CONTEXT)) == ["here/a"]
    with pytest.raises(ModelNotFound, match="no provider of it is configured"):
        found.plan(request("elsewhere/a"), CONTEXT)
    with pytest.raises(ModelNotFound, match="omni/auto"):
        found.plan(request("omni/cheapest"), CONTEXT)


def test_what_has_no_price_is_refused_never_free() -> None:
    with pytest.raises(ModelUnpriced, match="no price is known"):
        router(offer("here/a", None)).plan(request("here/a"), CONTEXT)
    for extra in ({"service_tier": b'"priority"'}, {"web_search_options": b"{}"}):
        raw = {name: msgspec.Raw(text) for name, text in extra.items()}
        with pytest.raises(ModelUnpriced, match="costs extra"):
            router(offer("here/a")).plan(request("here/a", extra=raw), CONTEXT)
    default = {"service_tier": msgspec.Raw(b'"default"')}
    assert ids(router(offer("here/a")).plan(request("here/a", extra=default), CONTEXT)) == [
        "here/a"
    ]


def test_a_prompt_that_does_not_fit_is_refused_by_its_tokens_not_its_bytes() -> None:
    found = router(offer("here/a", context_tokens_max=1_000))
    assert ids(found.plan(request("here/a", "hello " * 900), CONTEXT)) == ["here/a"]
    with pytest.raises(ContextTooLong, match="1000"):
        found.plan(request("here/a", "hello " * 1_100), CONTEXT)


def test_the_worst_case_is_bounded_by_window_and_limits() -> None:
    (attempt,) = router(offer("here/a")).plan(request("here/a", "hello " * 7_000), CONTEXT).attempts
    assert attempt.prompt_tokens_max == 8_000
    assert attempt.output_tokens_max == 1_000
    (attempt,) = (
        router(offer("here/a", output_tokens_max=None)).plan(request("here/a"), CONTEXT).attempts
    )
    assert attempt.output_tokens_max == 4_096
    assert 5 <= attempt.prompt_tokens_max < 100
    (attempt,) = (
        router(offer("here/a")).plan(request("here/a", output_tokens_max=7), CONTEXT).attempts
    )
    assert attempt.output_tokens_max == 7


@pytest.mark.parametrize("asked", [AUTO, "here/a"])
def test_a_fallback_above_the_highest_cost_of_a_request_is_no_attempt(asked: str) -> None:
    """What asks for at most some cost is never held for more, whichever attempt it is."""
    allowed = 200_000
    wished = Preferences(cost_max_nanousd=allowed, fallbacks=("here/dear", "here/b"))
    disputed = offer("here/b", 2, hold_price=offer("here/b", 3).price)
    offers = (offer("here/a"), disputed, offer("here/dear", 9_000))
    plan = router(*offers).plan(request(asked, preferences=wished), CONTEXT)
    assert "here/dear" not in ids(plan)
    assert "here/b" in ids(plan)
    for one in plan.attempts:
        assert one.output_tokens_max > 0
        held_at = one.offer.hold_price or one.price
        most = worst_case(one.prompt_tokens_max, one.output_tokens_max, held_at, 0)
        assert most <= allowed


@pytest.mark.parametrize("where", ["part", "tool"])
def test_a_prompt_kept_for_an_hour_needs_a_price_for_that(where: str) -> None:
    if where == "part":
        asked = request("here/a", (TextPart(text="Hello", cache="1h"),))
    else:
        asked = request("here/a", tools=(Tool(name="f", cache="1h"),))
    priced = Price(1, tuple(Rate(unit, 0, 1) for unit in (Unit.PROMPT, Unit.COMPLETION)))
    with_hour = Price(1, (*priced.rates, Rate(Unit.CACHED_WRITE_1H, 0, 1)))
    with pytest.raises(ModelUnpriced, match="for an hour has no price"):
        router(offer("here/a", price=priced, tools=True)).plan(asked, CONTEXT)
    assert ids(router(offer("here/a", price=with_hour, tools=True)).plan(asked, CONTEXT)) == [
        "here/a"
    ]
    five = request("here/a", (TextPart(text="Hello", cache="5m"),))
    assert ids(router(offer("here/a", price=priced)).plan(five, CONTEXT)) == ["here/a"]


# --- preferences that leave nothing --------------------------------------------------------------
NAMED_ONLY = offer("here/n", by_name_only=True)


@pytest.mark.parametrize("model", [AUTO, "here/a"])
def test_a_cost_too_small_is_refused_with_the_least_that_would_do(model: str) -> None:
    planner = router(offer("here/a", 2), offer("here/b", 3), NAMED_ONLY)
    with pytest.raises(NoCapableModel, match="max_cost") as caught:
        planner.plan(request(model, preferences=Preferences(cost_max_nanousd=1)), CONTEXT)
    assert caught.value.field == "max_cost_nanousd"
    assert "by name only" not in caught.value.message
    found = re.search(r"at least 0\.\d+ USD \((\d+) nano-USD\)", caught.value.message)
    assert found is not None
    assert "here/a" in caught.value.message
    least = int(found[1])
    enough = request(model, preferences=Preferences(cost_max_nanousd=least))
    assert ids(planner.plan(enough, CONTEXT)) == ["here/a"]
    short = request(model, preferences=Preferences(cost_max_nanousd=least - 1))
    with pytest.raises(NoCapableModel):
        planner.plan(short, CONTEXT)


@pytest.mark.parametrize("model", [AUTO, "here/a"])
@pytest.mark.parametrize(
    ("wished", "field", "words"),
    [
        ({"providers": ("x",)}, "allowed_providers", "Put here on allowed_providers."),
        ({"providers_denied": ("here",)}, "denied_providers", "Take here off denied_providers."),
        ({"models": ("x",)}, "allowed_models", "Put here/a on allowed_models."),
        ({"models_denied": ("a",)}, "denied_models", "Take here/a off denied_models."),
        ({"region": "us"}, "data_region", "Leave data_region out, or set it to eu."),
    ],
)
def test_a_preference_that_leaves_nothing_is_named_with_what_to_do(
    wished: dict[str, object], field: str, words: str, model: str
) -> None:
    asked = request(model, preferences=Preferences(**wished))  # type: ignore[arg-type]
    with pytest.raises(NoCapableModel) as caught:
        router(offer("here/a", regions=frozenset({"eu"})), NAMED_ONLY).plan(asked, CONTEXT)
    assert caught.value.field == f"routing.{field}"
    assert words in caught.value.message
    assert "by name only" not in caught.value.message


def test_what_no_caller_can_change_is_told_where_there_is_nothing_else() -> None:
    with pytest.raises(NoCapableModel, match="by name only") as caught:
        router(NAMED_ONLY).plan(request(), CONTEXT)
    assert caught.value.field == "model"


def test_two_preferences_that_leave_nothing_are_both_named() -> None:
    wished = Preferences(providers_denied=("here",), cost_max_nanousd=1, models_denied=("b",))
    planner = router(offer("here/a"), offer("here/b"))
    with pytest.raises(NoCapableModel, match="Take here off denied_providers") as caught:
        planner.plan(request(preferences=wished), CONTEXT)
    assert caught.value.field == "routing.denied_providers"  # it alone leaves out both
    split = Preferences(models_denied=("b",), cost_max_nanousd=1)
    with pytest.raises(NoCapableModel, match=r"Raise max_cost .* Or: Take here/b off") as caught:
        planner.plan(request(preferences=split), CONTEXT)
    assert caught.value.field == "model"


@pytest.mark.parametrize("model", [AUTO, "here/a", "a"])
def test_an_explanation_tells_every_offer_where_none_is_left(model: str) -> None:
    planner = router(offer("here/a"), NAMED_ONLY)
    asked = request(model, preferences=Preferences(cost_max_nanousd=1))
    found = planner.explain(asked, CONTEXT)
    assert found.plan.attempts == ()
    assert "Raise" in found.reason
    excluded = {one.offer: one.excluded for one in found.considered}
    assert "max_cost" in excluded["here/a"]
    assert set(excluded) == ({"here/a", "here/n"} if model == AUTO else {"here/a"})
    with pytest.raises(NoCapableModel):
        planner.plan(asked, CONTEXT)


def test_a_backup_is_said_to_be_where_it_is() -> None:
    offers = [offer("here/a", 1), offer("here/b", 2)]
    reasons = [one.reason for one in router(*offers).plan(request(), CONTEXT).attempts]
    assert reasons[1] == "the next best at the same provider"
