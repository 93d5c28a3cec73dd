"""Plain prompts, which are unlike every recorded exam question, and what they are routed to."""

import pytest

from omni_grpc.catalog import CatalogSnapshot, Modality, Mode, Offer, Rating
from omni_grpc.core.chat import ChatRequest, ImagePart, Message, Part, TextPart, Tool
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.core.task import Task
from omni_grpc.routing import AUTO, Chooser, Health, RouteContext, Router, Warmth, shared_judge
from omni_grpc.routing.analysis import Analyst
from omni_grpc.routing.judging import Judge, Look
from omni_grpc.routing.learned import shared_encoder

GREETING = "hey, how are you?"
PROOF = (
    "Zeige: Jeder beschränkte Operator auf einem Hilbertraum, der mit allen kompakten Operatoren "
    "vertauscht, ist ein Vielfaches der Identität. Führe jeden Schritt des Beweises aus."
)


class NoPolicies:
    """An operator without policies."""

    takes_named = False

    def for_call(self, *_: object) -> None:
        """None holds."""


def offer(name: str, usd_per_mtok: int) -> Offer:
    rate = usd_per_mtok * 10**9
    return Offer(
        id=f"here/{name}", provider="here", model=name, provider_model=name, display_name=name,
        mode=Mode.CHAT, context_tokens_max=100_000, prompt_tokens_max=None,
        output_tokens_max=4_000, input_modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
        output_modalities=frozenset({Modality.TEXT}), tools=True, structured_output=True,
        reasoning=False, temperature=True, free=False, deprecated=False, by_name_only=False,
        enabled=True, release_date=None,
        price=Price(1, (Rate(Unit.COMPLETION, 0, rate), Rate(Unit.PROMPT, 0, rate))),
    )  # fmt: skip


class NothingIsKnown(Judge):
    """Finds every prompt unlike all that predictions rest on, whatever they were trained on."""

    def escalates(self, _look: Look, _premium_model: str) -> bool:
        return True


@pytest.fixture(scope="module")
def judge() -> NothingIsKnown:
    return NothingIsKnown(shared_judge().quality, Analyst(shared_encoder()))


def routed(ratings: dict[str, float], judge: Judge) -> Router:
    """Routes between a dear premium model, a good cheap one and a poor one of no price."""
    offers = (offer("premium", 20), offer("good", 2), offer("poor", 1))
    stated: dict[str, dict[Task | None, Rating]] = {
        model: {None: Rating(value=value, source="the operator", task=None)}
        for model, value in ratings.items()
    }
    snapshot = CatalogSnapshot(1, offers, ratings=stated)
    clock = SystemClock()
    return Router(
        lambda: snapshot,
        frozenset({"here"}),
        lambda _provider, _request: None,
        chooser=Chooser(judge),
        policies=NoPolicies(),
        health=Health(clock),
        warmth=Warmth(clock),
        premium_model="premium",
        markup_ppm=0,
    )


def chosen(router: Router, *parts: Part, **fields: object) -> tuple[str, str]:
    message = Message(role="user", content=parts)
    request = ChatRequest(model=AUTO, messages=(message,), **fields)  # type: ignore[arg-type]
    found = router.explain(request, RouteContext())
    return found.plan.attempts[0].offer.model, found.reason


RATED = {"premium": 80.0, "good": 72.0, "poor": 20.0}


@pytest.mark.parametrize(
    "text", [GREETING, "Hello", "Thanks!", "When did WW2 end?", "Traduis en japonais : « Merci »"]
)
def test_a_plain_prompt_goes_to_the_cheapest_of_the_well_rated(text: str, judge: Judge) -> None:
    model, reason = chosen(routed(RATED, judge), TextPart(text=text))
    assert model == "good"
    assert "but plain: ratings decide" in reason


@pytest.mark.parametrize("text", [PROOF, "zzxq " * 40])
def test_a_hard_or_strange_one_goes_to_the_premium_model_and_the_reason_says_why(
    text: str, judge: Judge
) -> None:
    model, reason = chosen(routed(RATED, judge), TextPart(text=text))
    assert model == "premium"
    assert "unlike anything" in reason
    assert "not plain" in reason


def test_with_what_ships_a_greeting_does_not_go_to_the_premium_model() -> None:
    assert chosen(routed(RATED, shared_judge()), TextPart(text=GREETING))[0] == "good"


@pytest.mark.parametrize(
    "ratings",
    [{"premium": 80.0}, {"good": 72.0, "poor": 70.0}, {"premium": 80.0, "poor": 20.0}],
    ids=["no cheap one is rated", "the premium one is not rated", "the rated one is poor"],
)
def test_without_a_capable_rated_model_the_premium_one_stays(
    ratings: dict[str, float], judge: Judge
) -> None:
    assert chosen(routed(ratings, judge), TextPart(text=GREETING))[0] == "premium"


def test_media_tools_and_length_make_a_greeting_less_than_plain(judge: Judge) -> None:
    router = routed(RATED, judge)
    text = TextPart(text=GREETING)
    picture = ImagePart(url="data:image/png;base64,AAAA")
    assert "ratings decide" not in chosen(router, text, picture)[1]
    assert "ratings decide" not in chosen(router, text, tools=(Tool(name="pay"),))[1]
    assert "ratings decide" not in chosen(router, TextPart(text=f"{GREETING} " * 40))[1]
