"""Reads how a prompt wishes to be routed, and whom its call is attributed to."""

from collections.abc import Mapping, Sequence
from typing import Final

from omni.router.v1 import router_service_pb2 as pb

from omni_grpc.core.chat import NO_PREFERENCES, LatencyPreference, Preferences, Priority
from omni_grpc.core.limits import (
    AMOUNT_NANOUSD_MAX,
    END_USER_CHARS_MAX,
    FALLBACK_COUNT_MAX,
    MODEL_ID_CHARS_MAX,
    PREFERENCE_COUNT_MAX,
    TAG_COUNT_MAX,
    TAG_NAME_CHARS_MAX,
    TAG_VALUE_CHARS_MAX,
)
from omni_grpc.core.task import Task
from omni_grpc.grpc_api.chat_checks import check_count, check_no_nul, invalid, unknown

_FIELD: Final = "prompt.routing"

_PRIORITIES: Final[dict[int, Priority | None]] = {
    pb.ROUTING_PRIORITY_UNSPECIFIED: None,
    pb.ROUTING_PRIORITY_CHEAP: Priority.CHEAP,
    pb.ROUTING_PRIORITY_BALANCED: Priority.BALANCED,
    pb.ROUTING_PRIORITY_BEST: Priority.BEST,
}
_LATENCIES: Final[dict[int, LatencyPreference | None]] = {
    pb.LATENCY_PREFERENCE_UNSPECIFIED: None,
    pb.LATENCY_PREFERENCE_NORMAL: LatencyPreference.NORMAL,
    pb.LATENCY_PREFERENCE_FAST: LatencyPreference.FAST,
}


def preferences(prompt: pb.ChatPrompt) -> Preferences:
    """How a prompt wishes to be routed.

    Raises:
        FieldInvalid: naming the field, such as `prompt.routing.task`.
    """
    if not prompt.HasField("routing"):
        return NO_PREFERENCES
    routing = prompt.routing
    if routing.priority not in _PRIORITIES:
        raise unknown(f"{_FIELD}.priority")
    if routing.latency_preference not in _LATENCIES:
        raise unknown(f"{_FIELD}.latency_preference")
    return Preferences(
        priority=_PRIORITIES[routing.priority],
        latency=_LATENCIES[routing.latency_preference],
        cost_max_nanousd=_cost_max(routing),
        providers=_names(routing.allowed_providers, "allowed_providers"),
        providers_denied=_names(routing.denied_providers, "denied_providers"),
        models=_names(routing.allowed_models, "allowed_models"),
        models_denied=_names(routing.denied_models, "denied_models"),
        fallbacks=_names(routing.fallback_models, "fallback_models", FALLBACK_COUNT_MAX),
        region=_name(routing.data_region, f"{_FIELD}.data_region") or None,
        task=_task(routing.task),
    )


def tags(given: Mapping[str, str]) -> dict[str, str]:
    """The tags of a prompt.

    Raises:
        FieldInvalid: there are too many, or one is too long.
    """
    if len(given) > TAG_COUNT_MAX:
        raise invalid("prompt.tags", f"has {len(given)} entries; at most {TAG_COUNT_MAX} are taken")
    for name, value in given.items():
        check_no_nul(name, "prompt.tags")
        check_no_nul(value, "prompt.tags")
        if not 1 <= len(name) <= TAG_NAME_CHARS_MAX:
            raise invalid(
                "prompt.tags", f"has a name that is not of 1 to {TAG_NAME_CHARS_MAX} characters"
            )
        if len(value) > TAG_VALUE_CHARS_MAX:
            raise invalid(
                f"prompt.tags[{name!r}]", f"is longer than {TAG_VALUE_CHARS_MAX} characters"
            )
    return dict(given)


def end_user(text: str) -> str:
    """The caller's own name of its end user.

    Raises:
        FieldInvalid: it is too long.
    """
    if len(text) > END_USER_CHARS_MAX:
        raise invalid("prompt.end_user", f"is longer than {END_USER_CHARS_MAX} characters")
    check_no_nul(text, "prompt.end_user")
    return text


def _cost_max(routing: pb.RoutingPreferences) -> int | None:
    if not routing.HasField("max_cost_nanousd"):
        return None
    if not 1 <= routing.max_cost_nanousd <= AMOUNT_NANOUSD_MAX:
        raise invalid(f"{_FIELD}.max_cost_nanousd", f"must be in [1, {AMOUNT_NANOUSD_MAX}]")
    return routing.max_cost_nanousd


def _names(given: Sequence[str], name: str, most: int = PREFERENCE_COUNT_MAX) -> tuple[str, ...]:
    field = f"{_FIELD}.{name}"
    check_count(given, field, 0, most)
    for place, one in enumerate(given):
        if not one:
            raise invalid(f"{field}[{place}]", "is empty")
        _name(one, f"{field}[{place}]")
    return tuple(given)


def _name(text: str, field: str) -> str:
    if len(text) > MODEL_ID_CHARS_MAX:
        raise invalid(field, f"is longer than {MODEL_ID_CHARS_MAX} characters")
    check_no_nul(text, field)
    return text


def _task(text: str) -> Task | None:
    if not text:
        return None
    try:
        return Task(text)
    except ValueError:
        raise invalid(f"{_FIELD}.task", f"must be one of {', '.join(Task)}") from None
