"""What a provider's fault means: for its attempt's hold, for the next attempt, for the caller.

| fault | its hold | another attempt | the caller sees |
|---|---|---|---|
| never sent, or refused (429, 5xx, our key) | voided | yes | PROVIDER_UNAVAILABLE |
| the same of all, for the callers' own credentials | voided | yes | CREDENTIAL_REFUSED |
| the caller's content was refused | voided | no | PROVIDER_REJECTED, the provider's words |
| connection lost before an answer | voided | yes | PROVIDER_UNAVAILABLE |
| the same, and the provider bills on | unresolved | yes | INTERRUPTED |
| no answer began in time | unresolved | yes | DEADLINE |
| silent after its headers | unresolved | yes | DEADLINE |
| nothing within the time that its provider is given | unresolved | yes | DEADLINE |
| the call's own time is over | settled at what came | no | DEADLINE |
| what came first was no answer, or an error | voided | yes | PROVIDER_UNAVAILABLE |
| the answer broke off later | settled at what came | no | INTERRUPTED |

A plain answer comes whole or not at all: of one that broke off nothing came. A lost connection is a
cancelling to a provider: where that stops its bill, the little that it may have read is the
operator's loss; where it bills on, nobody knows what it bills.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from omni_grpc.billing import AttemptCharge, AttemptOutcome
from omni_grpc.core.errors import (
    CredentialRefused,
    Deadline,
    Interrupted,
    OmniError,
    ProviderRejected,
    ProviderUnavailable,
)
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    Malformed,
    Misconfigured,
    ProviderFault,
    Rejected,
    StreamError,
    TimedOut,
    Truncated,
    Unreachable,
)

_CHARGED: Final = "What came until then is charged."
_HELD: Final = "What it may have cost is held until that is known."


class Came(Protocol):
    """What came of an answer, and how it is counted; a chat's is its `Tally`."""

    @property
    def empty(self) -> bool:
        """Whether nothing of an answer came."""
        ...

    async def filled(self, usage: Usage | None) -> Usage:
        """What the provider reported, completed by our own count."""
        ...


async def end_attempt(
    held: AttemptCharge, fault: ProviderFault, tally: Came, usage: Usage | None, *, bills_on: bool
) -> bool:
    """Ends an attempt's hold by its provider's fault; whether it is known what it cost.

    Args:
        held: the hold.
        fault: what the provider did.
        tally: what came of an answer.
        usage: what the provider reported of it.
        bills_on: whether it bills a call to its end, whoever leaves it.
    """
    if not held.was_dispatched:
        held.void(AttemptOutcome.FAILED)
    elif _is_unknown(fault, tally, bills_on=bills_on):
        held.leave_unresolved()
        return False
    elif isinstance(fault, TimedOut):
        held.settle(await tally.filled(usage), AttemptOutcome.CANCELLED)
    elif isinstance(fault, Truncated | Malformed | StreamError) and not tally.empty:
        held.settle(await tally.filled(usage), AttemptOutcome.FAILED)
    elif isinstance(fault, Rejected):
        held.void(AttemptOutcome.REFUSED)
    else:
        held.void(AttemptOutcome.FAILED)
    return True


def _is_unknown(fault: ProviderFault, tally: Came, *, bills_on: bool) -> bool:
    """Whether the provider worked for an unknown time and for nobody."""
    if not tally.empty:
        return False
    if isinstance(fault, TimedOut):
        return fault.wait in ("first_byte", "between_bytes")
    return bills_on and isinstance(fault, Unreachable | Truncated)


async def settle_cancelled(held: AttemptCharge, tally: Came, usage: Usage | None) -> None:
    """Ends the hold of an attempt whose caller went away."""
    if held.was_dispatched:
        held.settle(await tally.filled(usage), AttemptOutcome.CANCELLED)
    else:
        held.void(AttemptOutcome.CANCELLED)


def blame_provider(fault: ProviderFault, tally: Came, seconds_left: float) -> None:
    """Makes a time that is over the provider's fault, where its caller still has some.

    Of an answer that comes whole, such as a plain one, nothing tells that it began: a provider that
    brought none within the time that it is given was too slow to begin, and another may be asked.

    Args:
        fault: what the provider did.
        tally: what came of an answer.
        seconds_left: of the call.
    """
    if isinstance(fault, TimedOut) and fault.wait == "total" and tally.empty and seconds_left > 0:
        fault.wait = "first_byte"
        fault.message = f"{fault.provider}: no answer came within the time that it is given."


def is_final(fault: ProviderFault) -> bool:
    """Whether no other attempt can help: the content is at fault, or the time is over."""
    return isinstance(fault, Rejected) or (isinstance(fault, TimedOut) and fault.wait == "total")


def caller_error(
    faults: Sequence[ProviderFault], charged_nanousd: int, *, unresolved: bool
) -> OmniError:
    """The one error that stands for a call's failed attempts.

    `unresolved` says that it is not known what one of them cost.
    """
    last = faults[-1]
    error: OmniError
    if isinstance(last, Rejected):
        error = ProviderRejected(
            last.provider_message or last.message,
            field=last.param,
            metadata={"provider": last.provider} | ({"code": last.code} if last.code else {}),
        )
        error.http_status = last.status or ProviderRejected.http_status
    elif isinstance(last, TimedOut) and (unresolved or last.wait == "total"):
        error = Deadline(f"{_causes(faults)}. {_HELD if unresolved else _CHARGED}")
    elif unresolved or charged_nanousd:
        # Not UNAVAILABLE: a client would send it again, and this call is not over in the books.
        error = Interrupted(f"{_causes(faults)}. {_HELD if unresolved else _CHARGED}")
    elif all(isinstance(fault, Misconfigured) and fault.owned_by for fault in faults):
        # Not UNAVAILABLE: it stays so until somebody mends the credential.
        error = CredentialRefused(
            f"Your own credential is not taken, and nothing is charged. {_causes(faults)}. Look at "
            f"that account at {last.provider}, and store another key in the credential; or "
            "deactivate it, so that calls go with the service's account.",
            metadata={"credential": last.owned_by, "provider": last.provider},
        )
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
        error = Deadline(f"{_causes([fault])}. {_CHARGED}")
    else:
        error = Interrupted(f"The answer broke off. {_causes([fault])}. {_CHARGED}")
    error.charged_nanousd = charged_nanousd
    return error


def _causes(faults: Sequence[ProviderFault]) -> str:
    return "; ".join(fault.message.rstrip(".") for fault in faults)
