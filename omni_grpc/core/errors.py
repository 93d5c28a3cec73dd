"""The errors that a caller can meet: one class is one `reason` on every wire.

    OmniError
    ├── ApiKeyMissing · ApiKeyInvalid                          who are you
    ├── ScopeMissing · OrgSuspended · ModelNotAllowed          you may not
    ├── FieldInvalid · ContextTooLong · FeatureUnsupported     what you sent
    ├── TooLarge
    ├── ModelNotFound · ModelUnpriced · NoCapableModel         what you asked for
    ├── NotFound · AlreadyExists · StillNeeded · EtagMismatch · RequestIdReused · RequestInProgress
    ├── TooMany
    ├── CreditsExhausted · CreditsHeld                         what you have
    ├── PaymentPending · PaymentRefused · PaymentsUnavailable
    ├── BudgetExhausted · BudgetHeld
    ├── RateLimited                                            what you may for now
    ├── Busy · LedgerUnavailable                               what we cannot do now
    ├── Deadline · Interrupted
    ├── ProviderUnavailable · ProviderRejected                 what the provider said
    ├── CredentialRefused
    ├── HoldFinal                                              what is already decided
    └── Internal

Each class carries how both transports render it; the transports hold no table of their own.
Messages say what happened, why, and what to do; none carries a secret or another tenant's data.
"""

from collections.abc import Mapping
from typing import ClassVar

from omni_grpc.core.payments import PaymentOffer


class OmniError(Exception):
    """Base of all errors that may reach a caller.

    Attributes:
        message: for people; safe to show.
        metadata: facts for programs (ErrorInfo.metadata; beside the message in REST).
        field: the offending field in the contract's names, where there is one.
        retry_after_s: when a repeat may succeed; None where a repeat is useless.
        charged_nanousd: what the failed call cost all the same.
        offer: how credits can be bought at once, where that would help.
    """

    reason: ClassVar[str]
    grpc_code: ClassVar[str]
    http_status: int
    openai_type: ClassVar[str]
    openai_code: ClassVar[str | None] = None
    retryable: bool | None = None
    """What `x-should-retry` says; None leaves it to the client's own rules."""

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        self.metadata: dict[str, str] = dict(metadata or {})
        self.charged_nanousd = 0
        self.offer: PaymentOffer | None = None


class ApiKeyMissing(OmniError):
    """No key came with the call."""

    reason = "API_KEY_MISSING"
    grpc_code = "UNAUTHENTICATED"
    http_status = 401
    openai_type = "invalid_request_error"
    openai_code = "invalid_api_key"


class ApiKeyInvalid(ApiKeyMissing):
    """The key is unknown, wrong or revoked; which of them is not told."""

    reason = "API_KEY_INVALID"


class ScopeMissing(OmniError):
    """The key is valid but may not do this."""

    reason = "SCOPE_MISSING"
    grpc_code = "PERMISSION_DENIED"
    http_status = 403
    openai_type = "permission_error"
    openai_code = "scope_missing"


class OrgSuspended(OmniError):
    """The key is valid, but whoever runs the service has suspended its organisation."""

    reason = "ORG_SUSPENDED"
    grpc_code = "PERMISSION_DENIED"
    http_status = 403
    openai_type = "permission_error"
    openai_code = "org_suspended"
    retryable = False


class ModelNotAllowed(OmniError):
    """The key may not call this model: it has a list of models, and this is none of them."""

    reason = "MODEL_NOT_ALLOWED"
    grpc_code = "PERMISSION_DENIED"
    http_status = 403
    openai_type = "permission_error"
    openai_code = "model_not_allowed"
    retryable = False


class FieldInvalid(OmniError):
    """A field of the request is missing or has a value that cannot be."""

    reason = "FIELD_INVALID"
    grpc_code = "INVALID_ARGUMENT"
    http_status = 400
    openai_type = "invalid_request_error"
    openai_code = "invalid_value"


class ContextTooLong(FieldInvalid):
    """The prompt does not fit the model's context window."""

    reason = "CONTEXT_TOO_LONG"
    openai_code = "context_length_exceeded"


class FeatureUnsupported(FieldInvalid):
    """The request needs something that the model cannot do."""

    reason = "FEATURE_UNSUPPORTED"
    openai_code = "unsupported_feature"


class TooLarge(OmniError):
    """The request is larger than the service takes."""

    reason = "TOO_LARGE"
    grpc_code = "RESOURCE_EXHAUSTED"
    http_status = 413
    openai_type = "invalid_request_error"
    openai_code = "request_too_large"


class ModelNotFound(OmniError):
    """No offer, model or alias has this name, or none of them is callable here."""

    reason = "MODEL_NOT_FOUND"
    grpc_code = "NOT_FOUND"
    http_status = 404
    openai_type = "invalid_request_error"
    openai_code = "model_not_found"


class ModelUnpriced(ModelNotFound):
    """The model is known but has no price for what the request would use: never free."""

    reason = "MODEL_UNPRICED"


class NoCapableModel(OmniError):
    """Of the models that may be chosen none can do what the request needs."""

    reason = "NO_CAPABLE_MODEL"
    grpc_code = "FAILED_PRECONDITION"
    http_status = 400
    openai_type = "invalid_request_error"
    openai_code = "no_capable_model"


class NotFound(OmniError):
    """A named resource does not exist, or is not yours: see `core.missing`.

    `resource` is its full name, where it has one that lists can be searched for.
    """

    resource = ""

    reason = "NOT_FOUND"
    grpc_code = "NOT_FOUND"
    http_status = 404
    openai_type = "invalid_request_error"
    openai_code = "not_found"


class AlreadyExists(OmniError):
    """A resource of this name exists."""

    reason = "ALREADY_EXISTS"
    grpc_code = "ALREADY_EXISTS"
    http_status = 409
    openai_type = "invalid_request_error"
    openai_code = "already_exists"
    retryable = False


class StillNeeded(OmniError):
    """What should go is needed by something else, which the message names."""

    reason = "STILL_NEEDED"
    grpc_code = "FAILED_PRECONDITION"
    http_status = 409
    openai_type = "invalid_request_error"
    openai_code = "still_needed"
    retryable = False


class TooMany(OmniError):
    """There are as many of these as there can be: take one away, then make another.

    The metadata say the `limit`.
    """

    reason = "TOO_MANY"
    grpc_code = "RESOURCE_EXHAUSTED"
    http_status = 409
    openai_type = "invalid_request_error"
    openai_code = "too_many"
    retryable = False


class EtagMismatch(OmniError):
    """The resource was changed since its etag was read: read it again, then change it."""

    reason = "ETAG_MISMATCH"
    grpc_code = "ABORTED"
    http_status = 409
    openai_type = "invalid_request_error"
    openai_code = "etag_mismatch"
    retryable = False


class RequestIdReused(OmniError):
    """The request id was used before for something else."""

    reason = "REQUEST_ID_REUSED"
    grpc_code = "ALREADY_EXISTS"
    http_status = 409
    openai_type = "invalid_request_error"
    openai_code = "idempotency_conflict"
    retryable = False


class RequestInProgress(OmniError):
    """The call with this request id still runs."""

    reason = "REQUEST_IN_PROGRESS"
    grpc_code = "ABORTED"
    http_status = 409
    openai_type = "invalid_request_error"
    openai_code = "request_in_progress"


class HoldFinal(OmniError):
    """The hold was settled or released before, in another way."""

    reason = "HOLD_FINAL"
    grpc_code = "FAILED_PRECONDITION"
    http_status = 409
    openai_type = "invalid_request_error"
    openai_code = "hold_final"
    retryable = False


class PaymentPending(OmniError):
    """A payment was sent, and its fate is not known yet: to be asked for, not to be repeated."""

    reason = "PAYMENT_PENDING"
    grpc_code = "ABORTED"
    http_status = 409
    openai_type = "invalid_request_error"
    openai_code = "payment_pending"


class PaymentRefused(OmniError):
    """A payment was presented and not taken: nothing was moved, and another may be signed."""

    reason = "PAYMENT_REFUSED"
    grpc_code = "FAILED_PRECONDITION"
    http_status = 402
    openai_type = "invalid_request_error"
    openai_code = "payment_refused"
    retryable = False


class PaymentsUnavailable(OmniError):
    """Whoever settles payments cannot be asked; nothing was taken."""

    reason = "PAYMENTS_UNAVAILABLE"
    grpc_code = "UNAVAILABLE"
    http_status = 503
    openai_type = "server_error"
    openai_code = "payments_unavailable"


class CreditsExhausted(OmniError):
    """The account has less than the call may cost, calls in flight aside."""

    reason = "CREDITS_EXHAUSTED"
    grpc_code = "FAILED_PRECONDITION"
    http_status = 402
    openai_type = "insufficient_quota"
    openai_code = "insufficient_quota"
    retryable = False


class CreditsHeld(OmniError):
    """The account has enough, but calls in flight hold it."""

    reason = "CREDITS_HELD"
    grpc_code = "RESOURCE_EXHAUSTED"
    http_status = 429
    openai_type = "rate_limit_error"
    openai_code = "credits_held"


class BudgetExhausted(OmniError):
    """A budget has less left than the call may take, calls in flight aside.

    The metadata say which `budget`, its `unit`, `limit`, `spent` and `held`, what is `needed`, and
    the `reset_time` of one that resets.
    """

    reason = "BUDGET_EXHAUSTED"
    grpc_code = "FAILED_PRECONDITION"
    http_status = 429
    openai_type = "insufficient_quota"
    openai_code = "budget_exhausted"
    retryable = False


class BudgetHeld(OmniError):
    """A budget has enough left, but calls in flight hold it."""

    reason = "BUDGET_HELD"
    grpc_code = "RESOURCE_EXHAUSTED"
    http_status = 429
    openai_type = "rate_limit_error"
    openai_code = "budget_held"


class RateLimited(OmniError):
    """The caller sends more than it may for the moment."""

    reason = "RATE_LIMITED"
    grpc_code = "RESOURCE_EXHAUSTED"
    http_status = 429
    openai_type = "rate_limit_error"
    openai_code = "rate_limit_exceeded"


class Busy(OmniError):
    """The server or its ledger lane is full, or the server is draining."""

    reason = "BUSY"
    grpc_code = "UNAVAILABLE"
    http_status = 503
    openai_type = "server_error"
    openai_code = "overloaded"


class LedgerUnavailable(OmniError):
    """The database does not answer, so nothing can be held and nothing is called."""

    reason = "LEDGER_UNAVAILABLE"
    grpc_code = "UNAVAILABLE"
    http_status = 503
    openai_type = "server_error"
    openai_code = "ledger_unavailable"


class Deadline(OmniError):
    """The call's time is over."""

    reason = "DEADLINE"
    grpc_code = "DEADLINE_EXCEEDED"
    http_status = 504
    openai_type = "timeout_error"
    openai_code = "deadline_exceeded"
    retryable = False


class Interrupted(OmniError):
    """A call that was charged ended early: what it cost is known, the rest is not."""

    reason = "INTERRUPTED"
    grpc_code = "ABORTED"
    http_status = 409
    openai_type = "server_error"
    openai_code = "interrupted"
    retryable = False


class ProviderUnavailable(OmniError):
    """Every attempt failed before it was charged; the message names each cause."""

    reason = "PROVIDER_UNAVAILABLE"
    grpc_code = "UNAVAILABLE"
    http_status = 503
    openai_type = "server_error"
    openai_code = "provider_unavailable"


class ProviderRejected(OmniError):
    """The provider refused the caller's content; its own message and status (400, 413, 422)."""

    reason = "PROVIDER_REJECTED"
    grpc_code = "INVALID_ARGUMENT"
    http_status = 400
    openai_type = "invalid_request_error"
    openai_code = "provider_rejected"


class CredentialRefused(OmniError):
    """The provider does not take the caller's own credential: its key, quota, region or model name.

    The metadata say which `credential`, and whose: it is a name, never the secret.
    """

    reason = "CREDENTIAL_REFUSED"
    grpc_code = "FAILED_PRECONDITION"
    http_status = 424
    openai_type = "invalid_request_error"
    openai_code = "credential_refused"
    retryable = False


class Internal(OmniError):
    """A fault of ours. The caller gets the call's id; the log has the rest."""

    reason = "INTERNAL"
    grpc_code = "INTERNAL"
    http_status = 500
    openai_type = "server_error"
    openai_code = "internal"
