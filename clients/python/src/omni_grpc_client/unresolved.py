"""Attempts of which nobody knows what their provider did, and how an operator ends them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc_client.calls import Call, Kind, Page, amount_of, check_options, resource, time_of
from omni_grpc_client.usage import AttemptRecord, attempt_record

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
    """What else a provider says was used: parts of the tokens, or what is sold by no token."""

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
    cached_write_1h_tokens: int | None
    """Of the tokens written to the provider's cache those that it keeps for an hour."""
    prompt_image_tokens: int | None
    """Image tokens of the prompt."""
    completion_image_tokens: int | None
    """Generated tokens that are of images."""
    images: int | None
    """Generated pictures, where they are sold by the image."""
    seconds: int | None
    """Seconds of audio, rounded up, where it is sold by the second."""
    characters: int | None
    """Characters that were spoken, where speech is sold by the character."""


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
    prompt_tokens: int | None,
    completion_tokens: int | None,
    parts: SettledParts,
) -> _Resolve:
    """ResolveAttempt by what the provider says.

    Raises:
        TypeError: a part that there is not.
    """
    check_options(parts, SettledParts.__annotations__, "a settlement")
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
            cached_write_1h_token_count=parts.get("cached_write_1h_tokens"),
            prompt_image_token_count=parts.get("prompt_image_tokens"),
            completion_image_token_count=parts.get("completion_image_tokens"),
            image_count=parts.get("images"),
            second_count=parts.get("seconds"),
            character_count=parts.get("characters"),
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
