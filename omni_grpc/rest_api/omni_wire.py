"""The object `omni` of a body: this service's own wishes, the same on every surface of chats.

It is never passed on to a provider.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec

from omni_grpc.core.chat import (
    NO_PREFERENCES,
    OPTIONAL_FIELDS,
    LatencyPreference,
    Preferences,
    Priority,
    ShortCredits,
)
from omni_grpc.core.errors import FieldInvalid
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
from omni_grpc.core.money import NANO_PER_USD
from omni_grpc.core.task import Task

OPTIONAL_FIELDS_MAX: Final = 64

FIELDS: Final[Mapping[str, str]] = {"max_cost_nanousd": "omni.max_cost_usd"} | {
    f"routing.{name}": f"omni.{name}"
    for name in (
        "allowed_providers",
        "denied_providers",
        "allowed_models",
        "denied_models",
        "data_region",
    )
}
"""What the object calls the preferences that errors of routing name."""

PRIORITIES: Final = f"one of {', '.join(Priority)}"
LATENCIES: Final = f"one of {', '.join(LatencyPreference)}"
AMOUNT: Final = 'an amount of dollars, such as 0.002 or "0.002"'

CHOICES: Final[Mapping[str, str]] = {
    "omni.short_credits": "one of refuse, shorten",
    "omni.priority": PRIORITIES,
    "omni.latency_preference": LATENCIES,
    "omni.max_cost_usd": AMOUNT,
    "omni.task": f"one of {', '.join(Task)}",
}
"""What may stand in the object's fields that take certain words or a form, on every surface."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_ID_CHARS_MAX)]
_Names = Annotated[tuple[_Name, ...], msgspec.Meta(max_length=PREFERENCE_COUNT_MAX)]
_TagName = Annotated[str, msgspec.Meta(min_length=1, max_length=TAG_NAME_CHARS_MAX)]
_TagValue = Annotated[str, msgspec.Meta(max_length=TAG_VALUE_CHARS_MAX)]


class WireOmni(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """This service's own wishes; null means the same as leaving one out."""

    short_credits: Literal["refuse", "shorten"] = "refuse"
    optional: Annotated[tuple[str, ...], msgspec.Meta(max_length=OPTIONAL_FIELDS_MAX)] = ()
    priority: Priority | None = None
    latency_preference: LatencyPreference | None = None
    max_cost_usd: Decimal | None = None
    allowed_providers: _Names = ()
    denied_providers: _Names = ()
    allowed_models: _Names = ()
    denied_models: _Names = ()
    fallback_models: Annotated[tuple[_Name, ...], msgspec.Meta(max_length=FALLBACK_COUNT_MAX)] = ()
    data_region: _Name | None = None
    task: Task | None = None
    tags: Annotated[dict[_TagName, _TagValue], msgspec.Meta(max_length=TAG_COUNT_MAX)] = {}
    end_user: Annotated[str, msgspec.Meta(max_length=END_USER_CHARS_MAX)] = ""


NO_NAMES: Final[Mapping[str, str]] = {}
_NOTHING: Final[frozenset[str]] = frozenset()


class Wishes(msgspec.Struct, frozen=True):
    """What the object says, as a ChatRequest has it."""

    optional: frozenset[str] = _NOTHING
    short_credits: ShortCredits = ShortCredits.REFUSE
    preferences: Preferences = NO_PREFERENCES
    end_user: str = ""
    tags: dict[str, str] = {}


NONE: Final = Wishes()


def read_wishes(omni: WireOmni | None, names: Mapping[str, str] = NO_NAMES) -> Wishes:
    """What a body's object says.

    Args:
        omni: the object.
        names: what the surface calls settings that may be left out, where it has its own name.

    Raises:
        FieldInvalid: naming the field below `omni`.
    """
    if omni is None:
        return NONE
    return Wishes(
        optional=optional_settings(omni.optional, names, "omni.optional"),
        short_credits=ShortCredits(omni.short_credits),
        preferences=Preferences(
            priority=omni.priority,
            latency=omni.latency_preference,
            cost_max_nanousd=cost_max_nanousd(omni.max_cost_usd, "omni.max_cost_usd"),
            providers=omni.allowed_providers,
            providers_denied=omni.denied_providers,
            models=omni.allowed_models,
            models_denied=omni.denied_models,
            fallbacks=omni.fallback_models,
            region=omni.data_region,
            task=omni.task,
        ),
        end_user=omni.end_user,
        tags=omni.tags,
    )


def cost_max_nanousd(usd: Decimal | None, field: str) -> int | None:
    """A caller's most of a call, in nano-USD; what is finer than one is rounded down.

    Raises:
        FieldInvalid: it is no amount, or none that a call can cost.
    """
    if usd is None:
        return None
    if not usd.is_finite() or not 0 < usd <= AMOUNT_NANOUSD_MAX // NANO_PER_USD:
        raise FieldInvalid(
            f"{field} must be above 0 and at most {AMOUNT_NANOUSD_MAX // NANO_PER_USD} USD.",
            field=field,
        )
    amount = int(usd * NANO_PER_USD)
    if amount < 1:
        raise FieldInvalid(f"{field} is less than a billionth of a dollar.", field=field)
    return amount


def optional_settings(given: Sequence[str], names: Mapping[str, str], field: str) -> frozenset[str]:
    """The settings that a list names, which may be left out where a provider cannot do them.

    Raises:
        FieldInvalid: one is no such setting.
    """
    settings = [names.get(name, name) for name in given]
    for place, name in enumerate(settings):
        if name not in OPTIONAL_FIELDS:
            raise FieldInvalid(
                f"{field}[{place}] is no setting that can be left out; use "
                f"{', '.join(sorted(OPTIONAL_FIELDS))}.",
                field=f"{field}[{place}]",
            )
    return frozenset(settings)
