"""What explanations say of open breakers: for named models as for chosen ones."""

from datetime import UTC, datetime, timedelta

import pytest
from test_router import CONTEXT, NoPolicies, ids, offer, request

from omni_grpc.catalog import CatalogSnapshot
from omni_grpc.routing import (
    Chooser,
    Considered,
    Explanation,
    Health,
    OpenBreaker,
    OwnAccess,
    RouteContext,
    Router,
    Warmth,
    shared_judge,
)
from omni_grpc.routing.breakers import FAILURES_IN_ROW, OPEN_SECONDS

SELLERS = ("a", "b", "c", "d", "e")
FAULT = "its breaker is open after failures: it broke"
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


class SetClock:
    """A clock that a test sets, and both of whose times go alike."""

    def __init__(self) -> None:
        self.at = 50.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.at)


class Rig:
    """One model that five providers sell."""

    def __init__(self) -> None:
        offers = [offer(f"{name}/m", price) for price, name in enumerate(SELLERS, start=1)]
        snapshot = CatalogSnapshot(1, offers)
        self.clock = SetClock()
        self.health = Health(self.clock)
        self.router = Router(
            lambda: snapshot,
            frozenset(SELLERS),
            lambda _provider, _request: None,
            chooser=Chooser(shared_judge()),
            policies=NoPolicies(),
            health=self.health,
            warmth=Warmth(self.clock),
            premium_model="",
            markup_ppm=0,
        )

    def trip(self, name: str) -> None:
        for _ in range(FAILURES_IN_ROW):
            self.health.failed(name, "it broke")

    def explain(self, model: str, context: RouteContext = CONTEXT) -> Explanation:
        return self.router.explain(request(model), context)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def told(found: Explanation, name: str) -> Considered:
    (one,) = [one for one in found.considered if one.offer == name]
    return one


def test_a_named_offer_says_since_when_and_until_when_its_breaker_is_open(rig: Rig) -> None:
    assert rig.explain("a/m").considered == (Considered(offer="a/m"),)
    rig.trip("a/m")
    opened = rig.clock.now()
    rig.clock.at += 2
    found = rig.explain("a/m")
    (one,) = found.considered
    assert not one.excluded  # it is called all the same: nobody else is meant
    assert one.breaker is not None
    assert (one.breaker.cause, one.breaker.open_time) == ("it broke", opened)
    assert one.breaker.retry_time is not None
    wait_s = (one.breaker.retry_time - opened).total_seconds()
    assert OPEN_SECONDS <= wait_s <= 1.2 * OPEN_SECONDS
    assert found.reason == f"'a/m' names it; {FAULT}"


def test_a_breaker_that_opened_again_is_open_since_the_first_time(rig: Rig) -> None:
    rig.trip("a/m")
    opened = rig.clock.now()
    rig.clock.at += 2 * OPEN_SECONDS
    assert rig.explain("a/m").considered == (Considered(offer="a/m"),)  # a call may try it
    rig.health.begun("a/m")
    trial = OpenBreaker(cause="it broke", open_time=opened, retry_time=None)
    assert told(rig.explain("a/m"), "a/m").breaker == trial
    rig.health.failed("a/m", "it broke once more")
    again = told(rig.explain("a/m"), "a/m").breaker
    assert again is not None
    assert (again.cause, again.open_time) == ("it broke once more", opened)
    assert again.retry_time is not None
    assert again.retry_time > rig.clock.now()


def test_a_bare_name_tells_of_all_who_sell_it_who_comes_later_and_why(rig: Rig) -> None:
    before = rig.explain("m")
    rig.trip(ids(before.plan)[0])
    away = ids(before.plan)[0]
    found = rig.explain("m")
    assert away not in ids(found.plan)
    assert {one.offer for one in found.considered} == {f"{name}/m" for name in SELLERS}
    left_out = told(found, away)
    assert left_out.excluded == FAULT
    assert left_out.breaker is not None
    others = [one for one in found.considered if one.offer != away]
    assert all(one.breaker is None for one in others)
    later = {one.excluded for one in others} - {""}
    assert later == {"the offers before it are enough for a plan"}


def test_accounts_of_the_caller_s_own_are_not_told_of_breakers(rig: Rig) -> None:
    rig.trip("a/m")
    own = RouteContext(own=(OwnAccess("a"),))
    for model in ("a/m", "m", "omni/auto"):
        found = told(rig.explain(model, own), "a/m")
        assert (found.breaker, FAULT in found.excluded) == (None, False)


def test_what_is_chosen_says_the_same_left_out_or_not(rig: Rig) -> None:
    rig.trip("a/m")
    found = told(rig.explain("omni/auto"), "a/m")
    assert found.excluded == FAULT
    assert found.breaker is not None
    for name in SELLERS:
        rig.trip(f"{name}/m")
    found = told(rig.explain("omni/auto"), "a/m")  # nothing else is left
    assert found.excluded == ""
    assert found.score is not None
    assert found.breaker is not None
