"""Attempts of which nobody knows what their provider did, and how an operator ends them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc_client.billing import AttemptRecord, attempt_record
from omni_grpc_client.calls import Call, Kind, Page, amount_of, resource, time_of

_Resolve = Call[pb.ResolveAttemptRequest, pb.ResolveAttemptResponse, AttemptRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnresolvedAttempt:
    """An attempt that was sent to a provider and whose money stays reserved.

    Attributes:
        name: `accounts/{account}/unresolvedAttempts/{unresolved_attempt}`.
        call_id: the call's id.
        attempt_number: position within the call, from 1.
        model: the offer that was tried, `provider/model`.
        held_nanousd: what stays reserved.
        price_version: the price that was pinned for it.
        markup_ppm: the markup on the provider's price, in millionths.
        provider_ref: the provider's name of its answer; empty where none came.
        worker: which worker made it.
        lease_time: since then that worker is silent.
    """

    name: str
    call_id: str
    attempt_number: int
    model: str
    held_nanousd: int
    price_version: int
    markup_ppm: int
    provider_ref: str
    worker: str
    lease_time: datetime | None
    raw: pb.UnresolvedAttempt = field(repr=False, compare=False)


class SettledParts(TypedDict, total=False):
    """Parts of what a provider says was used, each within its whole. None is as unset."""

    cached_read_tokens: int | None
    """Prompt tokens read from the provider's cache."""
    cached_write_tokens: int | None
    """Prompt tokens written to the provider's cache."""
    prompt_audio_tokens: int | None
    """Audio tokens of the prompt."""
    reasoning_tokens: int | None
    """Generated tokens that are reasoning."""
    completion_audio_tokens: int | None
    """Generated tokens that are audio."""


def list_unresolved_attempts(
    account: str, page_size: int | None, page_token: str
) -> Call[
    pb.ListUnresolvedAttemptsRequest, pb.ListUnresolvedAttemptsResponse, Page[UnresolvedAttempt]
]:
    """ListUnresolvedAttempts, one page."""
    return Call(
        request=pb.ListUnresolvedAttemptsRequest(
            parent=resource("accounts", account), page_size=page_size, page_token=page_token
        ),
        parse=lambda response: Page(
            [_unresolved(raw) for raw in response.unresolved_attempts], response.next_page_token
        ),
        kind=Kind.READ,
    )


def settle_attempt(
    attempt: UnresolvedAttempt | str,
    prompt_tokens: int,
    completion_tokens: int,
    parts: SettledParts,
) -> _Resolve:
    """ResolveAttempt by what the provider says."""
    return _resolve(
        attempt,
        settlement=pb.Settlement(
            prompt_token_count=prompt_tokens,
            cached_read_token_count=parts.get("cached_read_tokens"),
            cached_write_token_count=parts.get("cached_write_tokens"),
            prompt_audio_token_count=parts.get("prompt_audio_tokens"),
            completion_token_count=completion_tokens,
            reasoning_token_count=parts.get("reasoning_tokens"),
            completion_audio_token_count=parts.get("completion_audio_tokens"),
        ),
    )


def void_attempt(attempt: UnresolvedAttempt | str) -> _Resolve:
    """ResolveAttempt without a charge."""
    return _resolve(attempt, voiding=pb.Voiding())


def write_off_attempt(attempt: UnresolvedAttempt | str, loss_nanousd: int | None) -> _Resolve:
    """ResolveAttempt at the operator's loss."""
    return _resolve(attempt, write_off=pb.WriteOff(loss_nanousd=loss_nanousd))


def _resolve(
    attempt: UnresolvedAttempt | str,
    *,
    settlement: pb.Settlement | None = None,
    voiding: pb.Voiding | None = None,
    write_off: pb.WriteOff | None = None,
) -> _Resolve:
    return Call(
        request=pb.ResolveAttemptRequest(
            name=attempt.name if isinstance(attempt, UnresolvedAttempt) else attempt,
            settlement=settlement,
            voiding=voiding,
            write_off=write_off,
        ),
        parse=lambda response: attempt_record(response.attempt_record),
        kind=Kind.WRITE,
    )


def _unresolved(raw: pb.UnresolvedAttempt) -> UnresolvedAttempt:
    return UnresolvedAttempt(
        name=raw.name,
        call_id=raw.call_id,
        attempt_number=raw.attempt_number,
        model=raw.model,
        held_nanousd=amount_of(raw, "held_nanousd"),
        price_version=raw.price_version,
        markup_ppm=raw.markup_ppm,
        provider_ref=raw.provider_ref,
        worker=raw.worker,
        lease_time=time_of(raw, "lease_time"),
        raw=raw,
    )
