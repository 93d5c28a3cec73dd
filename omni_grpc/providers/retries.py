"""When a request that brought no answer is sent again to the same provider.

Only before the first byte of an answer, only what may pass by itself (no connection, 408, 409, 425,
429, 5xx), only inside the call's time, and never where the lost one may be billed all the same.
"""

import random
from typing import Annotated, Final

import msgspec

from omni_grpc.providers.errors import (
    Overloaded,
    ProviderFault,
    RateLimited,
    TimedOut,
    Unreachable,
)

_MARGIN_SECONDS: Final = 0.05
"""An answer that would have to come in less than this is not asked for."""


class Retries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often, and how long before each: a random part of a pause that doubles.

    `count_max` 0 means never. A provider's own advice (Retry-After) is waited for where it is at
    most `advice_s_max`; one that asks for longer is given up at once.
    """

    count_max: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    first_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.5
    pause_s_max: Annotated[float, msgspec.Meta(gt=0, le=60)] = 8.0
    advice_s_max: Annotated[float, msgspec.Meta(ge=0, le=600)] = 15.0

    def pause_s(
        self, fault: ProviderFault, tries: int, seconds_left: float, *, bills_on: bool
    ) -> float | None:
        """How long to wait before the next try; None where there is none.

        Args:
            fault: what became of the last try.
            tries: how many there were before it was the last.
            seconds_left: of the call.
            bills_on: whether the provider bills a request to its end, whoever leaves it.
        """
        if tries >= self.count_max or not _may_pass(fault, bills_on=bills_on):
            return None
        most = min(self.pause_s_max, self.first_s * 2**tries)
        pause = random.uniform(0, most)  # noqa: S311 - spreads those who were refused together
        if fault.retry_after_s is not None:
            if fault.retry_after_s > self.advice_s_max:
                return None
            pause = max(pause, fault.retry_after_s)
        return pause if pause + _MARGIN_SECONDS < seconds_left else None


def _may_pass(fault: ProviderFault, *, bills_on: bool) -> bool:
    match fault:
        case RateLimited() | Overloaded():
            return True
        case Unreachable():
            return not (bills_on and fault.dispatched)
        case TimedOut(wait="connect"):
            return True
        case _:
            return False
