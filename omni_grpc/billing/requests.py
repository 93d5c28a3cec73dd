"""Request ids of paid calls: their fingerprint, and what a repeat is told.

A caller names a call by a request id of its own. Within a day the ledger runs and charges such a
call once: a repeat while it runs is told so, one after its end gets the same answer.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from omni_grpc.billing.operations import Code, Outcome, Requested, RequestKey
from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.errors import (
    Interrupted,
    OmniError,
    RequestIdReused,
    RequestInProgress,
)
from omni_grpc.core.ids import CallId, OrgId
from omni_grpc.core.money import usd_text

_FINGERPRINT_BYTES: Final = 16


class RequestRepeatedError(Exception):
    """The call with this request is done; its answer can be recalled."""

    def __init__(self, call_id: CallId) -> None:
        super().__init__(f"the request was answered by the call {call_id}")
        self.call_id = call_id


def chat_request_key(org_id: OrgId, request_id: str, request: ChatRequest) -> RequestKey:
    """What a chat's request id stands for, whether it is streamed or not."""
    content = msgspec.msgpack.encode(request, order="deterministic")
    fingerprint = hashlib.blake2b(content, digest_size=_FINGERPRINT_BYTES).digest()
    return RequestKey(int(org_id), request_id, fingerprint, Requested.CHAT)


def paid_request_key(org_id: OrgId, request_id: str, request: msgspec.Struct) -> RequestKey:
    """What the request id of any other paid call stands for: its kind, and what it asks."""
    content = msgspec.msgpack.encode((type(request).__name__, request), order="deterministic")
    fingerprint = hashlib.blake2b(content, digest_size=_FINGERPRINT_BYTES).digest()
    return RequestKey(int(org_id), request_id, fingerprint, Requested.CHAT)


def reused(request_id: str) -> RequestIdReused:
    """The request id was used for something else."""
    return RequestIdReused(
        f"The request_id {request_id!r} was used before with other content; use a new one."
    )


def _repeated(outcome: Outcome) -> Exception:
    return RequestRepeatedError(CallId(outcome.target))


def _reused(_outcome: Outcome) -> OmniError:
    return RequestIdReused(
        "The request_id of this call was used before with other content; use a new one."
    )


def _running(outcome: Outcome) -> OmniError:
    return RequestInProgress(
        f"The call {outcome.target} with this request_id still runs; repeat the request when it "
        "has ended, to get its answer without paying again.",
        retry_after_s=1.0,
        metadata={"call_id": str(outcome.target)},
    )


def _interrupted(outcome: Outcome) -> OmniError:
    call = outcome.target
    if not outcome.amount:
        words = (
            f"The call {call} with this request_id ended early, and it is not known yet what its "
            "provider did; what it may cost stays reserved until that is known."
        )
    else:
        words = (
            f"The call {call} with this request_id ended early; what came of it was charged, "
            f"{usd_text(outcome.amount)} USD."
        )
    error = Interrupted(
        f"{words} Its usage record tells more. Use a new request_id to ask again.",
        metadata={"call_id": str(call)},
    )
    error.charged_nanousd = outcome.amount or 0
    return error


REQUEST_ERRORS: Final[dict[Code, Callable[[Outcome], Exception]]] = {
    Code.REQUEST_REPEATED: _repeated,
    Code.REQUEST_REUSED: _reused,
    Code.REQUEST_RUNNING: _running,
    Code.REQUEST_INTERRUPTED: _interrupted,
}
"""What a call is told whose request id is known already."""
