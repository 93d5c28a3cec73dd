"""What a provider's fault means: for its attempt's hold, for the next attempt, for the caller.

| fault | its hold | another attempt | the caller sees |
|---|---|---|---|
| never sent, or refused (429, 5xx, our key) | voided | yes | PROVIDER_UNAVAILABLE |
| the caller's content was refused | voided | no | PROVIDER_REJECTED, the provider's words |
| connection lost before an answer | voided | yes | PROVIDER_UNAVAILABLE |
| no answer began in time | unresolved | yes | DEADLINE |
| the call's own time is over | settled at what came | no | DEADLINE |
| the answer broke off, nothing had come | voided | yes | PROVIDER_UNAVAILABLE |
| the answer broke off later | settled at what came | no | INTERRUPTED |
"""

from collections.abc import Sequence

from omni_grpc.billing import AttemptCharge, AttemptOutcome
from omni_grpc.completion.tally import Tally
from omni_grpc.core.errors import (
    Deadline,
    Interrupted,
    OmniError,
    ProviderRejected,
    ProviderUnavailable,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    Malformed,
    ProviderFault,
    Rejected,
    StreamError,
    TimedOut,
    Truncated,
)


async def end_attempt(
    held: AttemptCharge, fault: ProviderFault, tally: Tally, usage: Usage | None
) -> None:
    """Ends an attempt's hold by its provider's fault; `usage` is what the provider reported."""
    if not held.was_dispatched:
        held.void(AttemptOutcome.FAILED)
    elif isinstance(fault, TimedOut):
        if fault.wait == "connect":
            held.void(AttemptOutcome.FAILED)
        elif fault.wait == "first_byte" and tally.empty:
            held.leave_unresolved()
        else:
            held.settle(usage or await tally.count(), AttemptOutcome.CANCELLED)
    elif isinstance(fault, Truncated | Malformed | StreamError) and not tally.empty:
        held.settle(usage or await tally.count(), AttemptOutcome.FAILED)
    elif isinstance(fault, Rejected):
        held.void(AttemptOutcome.REFUSED)
    else:
        held.void(AttemptOutcome.FAILED)


async def settle_cancelled(held: AttemptCharge, tally: Tally, usage: Usage | None) -> None:
    """Ends the hold of an attempt whose caller went away."""
    if held.was_dispatched:
        held.settle(usage or await tally.count(), AttemptOutcome.CANCELLED)
    else:
        held.void(AttemptOutcome.CANCELLED)


def is_final(fault: ProviderFault) -> bool:
    """Whether no other attempt can help: the content is at fault, or the time is over."""
    return isinstance(fault, Rejected) or (isinstance(fault, TimedOut) and fault.wait == "total")


def caller_error(faults: Sequence[ProviderFault], charged_nanousd: int) -> OmniError:
    """The one error that stands for a call's failed attempts."""
    last = faults[-1]
    error: OmniError
    if isinstance(last, Rejected):
        error = ProviderRejected(
            last.provider_message or last.message,
            field=last.param,
            metadata={"provider": last.provider} | ({"code": last.code} if last.code else {}),
        )
        error.http_status = last.status or ProviderRejected.http_status
    elif isinstance(last, TimedOut) and last.wait in ("first_byte", "total"):
        error = Deadline(f"{_causes(faults)}. What it may have cost is held until that is known.")
        if last.wait == "total":
            error = Deadline(f"{_causes(faults)}. What came until then is charged.")
    elif charged_nanousd:
        error = Interrupted(f"{_causes(faults)}. What came until then is charged.")
    else:
        advice = [fault.retry_after_s for fault in faults if fault.retry_after_s is not None]
        error = ProviderUnavailable(
            f"No provider could answer, and nothing is charged. {_causes(faults)}.",
            retry_after_s=min(advice, default=1.0),
        )
    error.charged_nanousd = charged_nanousd
    return error


def broken_off(fault: ProviderFault, charged_nanousd: int) -> OmniError:
    """The error of a stream that failed after its first byte went to the caller."""
    error: OmniError
    if isinstance(fault, TimedOut) and fault.wait == "total":
        error = Deadline(f"{_causes([fault])}. What came until then is charged.")
    else:
        error = Interrupted(f"The answer broke off. {_causes([fault])}. What came is charged.")
    error.charged_nanousd = charged_nanousd
    return error


def _causes(faults: Sequence[ProviderFault]) -> str:
    return "; ".join(fault.message.rstrip(".") for fault in faults)
