"""What a call can fail with: every failure is an `OmniError`, and one class is one reason.

    OmniError
    ├── Unauthenticated          who are you
    │   ├── ApiKeyMissing
    │   └── ApiKeyInvalid
    ├── PermissionDenied         you may not
    │   ├── ScopeMissing
    │   ├── OrgSuspended
    │   └── ModelNotAllowed      the key has a list of models
    ├── InvalidArgument          what you sent                   .field  .violations
    │   ├── FieldInvalid
    │   │   ├── ContextTooLong
    │   │   └── FeatureUnsupported
    │   └── ProviderRejected
    ├── NotFound                 what you asked for
    │   └── ModelNotFound
    │       └── ModelUnpriced
    ├── AlreadyExists
    │   └── RequestIdReused
    ├── FailedPrecondition       repeating is useless as things are
    │   ├── CreditsExhausted                                     .needed_nanousd  .available_nanousd
    │   ├── BudgetExhausted
    │   ├── PaymentRefused
    │   ├── CredentialRefused    the provider does not take your own key
    │   ├── NoCapableModel
    │   ├── StillNeeded          something else needs it
    │   └── HoldFinal
    ├── ResourceExhausted        too much, or too much at once
    │   ├── CreditsHeld                                          .needed_nanousd  .available_nanousd
    │   ├── BudgetHeld
    │   ├── RateLimited
    │   ├── TooMany              take one away first
    │   └── TooLarge
    ├── Aborted
    │   ├── EtagMismatch         changed since you read it
    │   ├── Interrupted          charged, and ended early        .charged_nanousd  .call_id
    │   ├── RequestInProgress    its first sending still runs    .retry_after_s  .call_id
    │   └── PaymentPending       its fate is not known yet       .retry_after_s
    ├── Unavailable              try again later                 .retry_after_s
    │   ├── Busy
    │   ├── LedgerUnavailable
    │   ├── PaymentsUnavailable
    │   └── ProviderUnavailable
    ├── Deadline
    ├── Cancelled
    ├── Unimplemented
    └── Internal                 a fault of the service

The leaves are the service's stable reasons (`google.rpc.ErrorInfo`, domain `omni`). The classes
above them are gRPC's status codes: a reason that this version does not know, and a failure that
carries none (a proxy's, or gRPC's own), is raised as the class of its code. No message and no
attribute ever holds the API key.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import grpc


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing wrong with a request: `field` as a path in the contract's names."""

    field: str
    description: str


class OmniError(Exception):
    """Base of everything that a call fails with.

    Attributes:
        message: what happened, for people.
        reason: the service's stable name of it, such as `CREDITS_EXHAUSTED`; None if the failure
            did not come from the service itself.
        code: the gRPC status; None if this client refused the request before sending it.
        metadata: the facts that the service gave with it.
        retry_after_s: when a repeat may succeed; None if the service gave no time.
        retry_forbidden: whether the service asked not to be asked the same again.
        charged_nanousd: what the failed call cost all the same. None means not known: the
            connection broke or the deadline passed, and `usage(call_id)` tells.
        call_id: the server's name of the call, where it is known; of a repeat's failure, that of
            the call which it repeats.
        request_id: the idempotency key of a chat, or of a call that moves money. Repeating the
            call with it does nothing twice.
    """

    reason: str | None = None

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        charged_nanousd: int | None = None,
        violations: Sequence[FieldViolation] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.retry_forbidden = False
        self.charged_nanousd = charged_nanousd
        self.violations = tuple(violations)
        self.call_id = self.metadata.get("call_id")
        self.request_id = request_id
        if reason is not None:
            self.reason = reason

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, reason={self.reason!r})"

    def amount(self, key: str) -> int | None:
        """An amount of `metadata` in nano-dollars; None if it is not there."""
        try:
            return int(self.metadata[key])
        except (KeyError, ValueError):
            return None


class Unauthenticated(OmniError):
    """The caller is not known."""


class ApiKeyMissing(Unauthenticated):
    """No API key was given."""

    reason = "API_KEY_MISSING"


class ApiKeyInvalid(Unauthenticated):
    """The API key is unknown, wrong or revoked; which of them is not told."""

    reason = "API_KEY_INVALID"


class PermissionDenied(OmniError):
    """The caller is known but may not do this."""


class ScopeMissing(PermissionDenied):
    """The API key lacks the scope that this call needs."""

    reason = "SCOPE_MISSING"


class OrgSuspended(PermissionDenied):
    """Whoever runs the service has suspended the key's organisation."""

    reason = "ORG_SUSPENDED"


class ModelNotAllowed(PermissionDenied):
    """The API key has a list of models, and this is none of them."""

    reason = "MODEL_NOT_ALLOWED"


class InvalidArgument(OmniError):
    """The request is wrong, whatever the state of the service; `violations` says where."""

    @property
    def field(self) -> str | None:
        """The first field that is wrong, as a path in the contract's names."""
        return self.violations[0].field if self.violations else None


class FieldInvalid(InvalidArgument):
    """A field is missing or has a value that cannot be."""

    reason = "FIELD_INVALID"


class ContextTooLong(FieldInvalid):
    """The prompt does not fit the model's context window."""

    reason = "CONTEXT_TOO_LONG"


class FeatureUnsupported(FieldInvalid):
    """The request needs something that the model cannot do."""

    reason = "FEATURE_UNSUPPORTED"


class ProviderRejected(InvalidArgument):
    """The provider refused the content; the message is its own."""

    reason = "PROVIDER_REJECTED"


class NotFound(OmniError):
    """A named thing does not exist, or is not yours."""

    reason = "NOT_FOUND"


class ModelNotFound(NotFound):
    """No model, offer or alias has this name, or none of them can be called here."""

    reason = "MODEL_NOT_FOUND"


class ModelUnpriced(ModelNotFound):
    """The model has no known price for what the request would use, so it cannot be called."""

    reason = "MODEL_UNPRICED"


class AlreadyExists(OmniError):
    """A thing of this name exists."""

    reason = "ALREADY_EXISTS"


class RequestIdReused(AlreadyExists):
    """The request id was used before, for something else."""

    reason = "REQUEST_ID_REUSED"


class FailedPrecondition(OmniError):
    """The state of things does not allow it; repeating alone will not help."""


class ResourceExhausted(OmniError):
    """Too much, or too much at once."""


class _ShortOfCredits(OmniError):
    """The amounts that both refusals for want of credits carry, where the service gave them."""

    @property
    def needed_nanousd(self) -> int | None:
        """What the call may cost at worst."""
        return self.amount("needed_nanousd")

    @property
    def posted_nanousd(self) -> int | None:
        """The account's posted balance."""
        return self.amount("posted_nanousd")

    @property
    def held_nanousd(self) -> int | None:
        """What calls in flight hold of it."""
        return self.amount("held_nanousd")

    @property
    def available_nanousd(self) -> int | None:
        """What could be spent at that moment."""
        return self.amount("available_nanousd")


class CreditsExhausted(_ShortOfCredits, FailedPrecondition):
    """The account has less than the call may cost. Top up, or ask for fewer output tokens."""

    reason = "CREDITS_EXHAUSTED"


class CredentialRefused(FailedPrecondition):
    """The provider does not take the caller's own credential, which the message names."""

    reason = "CREDENTIAL_REFUSED"


class NoCapableModel(FailedPrecondition):
    """None of the models that may be chosen can do what the request needs."""

    reason = "NO_CAPABLE_MODEL"


class BudgetExhausted(FailedPrecondition):
    """A budget has less left than the call may take; `metadata` says which, and when it resets."""

    reason = "BUDGET_EXHAUSTED"


class PaymentRefused(FailedPrecondition):
    """A payment was presented and not taken: nothing was moved, and another may be signed."""

    reason = "PAYMENT_REFUSED"


class StillNeeded(FailedPrecondition):
    """What should go is needed by something else, which the message names."""

    reason = "STILL_NEEDED"


class HoldFinal(FailedPrecondition):
    """The hold was settled or released before, in another way."""

    reason = "HOLD_FINAL"


class CreditsHeld(_ShortOfCredits, ResourceExhausted):
    """The account has enough, but calls in flight hold it. Try again when one has ended."""

    reason = "CREDITS_HELD"


class BudgetHeld(ResourceExhausted):
    """A budget has enough left, but calls in flight hold it. Try again when one has ended."""

    reason = "BUDGET_HELD"


class RateLimited(ResourceExhausted):
    """Too many calls in too short a time; `retry_after_s` says when there is room."""

    reason = "RATE_LIMITED"


class TooMany(ResourceExhausted):
    """There are as many of these as there can be: take one away, then make another."""

    reason = "TOO_MANY"


class TooLarge(ResourceExhausted):
    """The request, or its answer, is larger than one message may be."""

    reason = "TOO_LARGE"


class Aborted(OmniError):
    """The call was begun and given up."""


class EtagMismatch(Aborted):
    """The resource was changed since its etag was read: read it again, then change it."""

    reason = "ETAG_MISMATCH"


class Interrupted(Aborted):
    """A call ended early, or its answer is gone: `charged_nanousd` is what it cost so far.

    Its `request_id` stands for that call for 24 hours, so ask again with a new one. Where nobody
    knows yet what it cost, `usage(call_id)` tells later.
    """

    reason = "INTERRUPTED"


class RequestInProgress(Aborted):
    """The call with this `request_id` still runs; its answer comes by repeating it later."""

    reason = "REQUEST_IN_PROGRESS"


class PaymentPending(Aborted):
    """A payment was sent, and its fate is not known yet: ask for it, do not repeat it."""

    reason = "PAYMENT_PENDING"


class Unavailable(OmniError):
    """The service cannot be reached, or cannot do it now."""


class Busy(Unavailable):
    """The service is full or is stopping."""

    reason = "BUSY"


class PaymentsUnavailable(Unavailable):
    """Whoever settles payments cannot be asked; nothing was taken."""

    reason = "PAYMENTS_UNAVAILABLE"


class LedgerUnavailable(Unavailable):
    """The ledger does not answer, so nothing was called and nothing charged."""

    reason = "LEDGER_UNAVAILABLE"


class ProviderUnavailable(Unavailable):
    """Every attempt failed before it was charged; the message names each cause."""

    reason = "PROVIDER_UNAVAILABLE"


class Deadline(OmniError):
    """The call's time is over."""

    reason = "DEADLINE"


class Cancelled(OmniError):
    """The call was cancelled here: by `cancel`, by leaving its stream or by closing the client."""


class Unimplemented(OmniError):
    """The service does not have this method; it may be older than this client."""


class Internal(OmniError):
    """A fault of the service, or an answer that breaks the contract."""

    reason = "INTERNAL"


def _tree(root: type[OmniError]) -> Iterator[type[OmniError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


CLASS_OF_REASON: Mapping[str, type[OmniError]] = {
    cls.reason: cls for cls in _tree(OmniError) if "reason" in vars(cls) and cls.reason
}
"""Every reason that this version knows."""

CLASS_OF_CODE: Mapping[grpc.StatusCode, type[OmniError]] = {
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.UNKNOWN: Internal,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.DEADLINE_EXCEEDED: Deadline,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgument,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.INTERNAL: Internal,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DATA_LOSS: Internal,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
}
"""What a failure is raised as when its reason is unknown or absent."""
