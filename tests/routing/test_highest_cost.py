"""A highest cost that would cut an answer short: who can finish it is chosen, where anybody can."""

from test_router import CONTEXT, NoPolicies, ids, offer, request, router

from omni_grpc.core.chat import Preferences
from omni_grpc.core.clock import SystemClock
from omni_grpc.routing import Health
from omni_grpc.routing.breakers import FAILURES_IN_ROW
from omni_grpc.routing.policies import Chosen
from omni_grpc.routing.policy import Deterministic, Policy, Ready

DEAR, CHEAP = offer("here/dear", 1_000), offer("here/cheap", 1)
ASKED = request(preferences=Preferences(cost_max_nanousd=60_000_000))  # some words of the dear
FEW_TOKENS = 60


class OnePolicy(NoPolicies):
    """An operator who sends everything to the dear one."""

    def for_call(self, *_: object) -> Chosen:  # type: ignore[override]
        """It holds."""
        return Chosen(policy=Ready(Policy(name="dear", rule=Deterministic(models=("dear",)))))


def test_what_would_be_cut_short_is_left_out_and_told() -> None:
    found = router(DEAR, CHEAP).explain(ASKED, CONTEXT)
    assert ids(found.plan) == ["here/cheap"]
    left_out = {one.offer: one.excluded for one in found.considered if one.excluded}
    assert left_out == {"here/dear": "the request's max_cost would probably cut its answer short"}


def test_it_is_called_where_nothing_else_is() -> None:
    (alone,) = router(DEAR).plan(ASKED, CONTEXT).attempts
    assert 0 < alone.output_tokens_max < FEW_TOKENS


def test_it_is_called_where_what_could_finish_is_away() -> None:
    health = Health(SystemClock())
    for _ in range(FAILURES_IN_ROW):
        health.failed("here/cheap", "it broke")
    assert ids(router(DEAR, CHEAP, health=health).plan(ASKED, CONTEXT)) == ["here/dear"]


def test_a_policy_that_names_it_gets_it() -> None:
    plan = router(DEAR, CHEAP, policies=OnePolicy()).plan(ASKED, CONTEXT)
    assert ids(plan)[0] == "here/dear"
    assert 0 < plan.attempts[0].output_tokens_max < FEW_TOKENS
