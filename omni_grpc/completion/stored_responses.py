"""Responses that a caller asked to keep: read again, continued, deleted, and gone in time.

Off unless the operator gives them hours. Each is sealed for its account and its call; the database
never sees what was said. A response that cannot be kept is answered all the same, and says that it
is not kept.
"""

import asyncio
from typing import Final, TypeAlias

import msgspec
import structlog

from omni_grpc.completion.store import ResponseStore, StoredRow
from omni_grpc.core.errors import FieldInvalid, NotFound, OmniError, TooLarge
from omni_grpc.core.ids import AccountId, CallId
from omni_grpc.core.limits import MESSAGE_COUNT_MAX, REQUEST_BYTES_MAX
from omni_grpc.identity import Principal
from omni_grpc.storage import SealBrokenError, Sealer

log = structlog.get_logger(__name__)

RESPONSE_SEAL_PURPOSE: Final = b"omni-response"

KEPT_BYTES_MAX: Final = REQUEST_BYTES_MAX
"""Largest response that is kept, its input included: what a caller could send again at once."""

CHAIN_COUNT_MAX: Final = MESSAGE_COUNT_MAX
"""Most responses in one conversation; each has a message at least."""

CHAIN_BYTES_MAX: Final = 2 * REQUEST_BYTES_MAX
"""Most that the responses of one conversation may have, sealed, when it is continued."""

EXPIRE_SECONDS: Final = 60.0
"""How often a worker looks for responses whose time is over."""

STEP_ROWS: Final = 100
"""Rows of one step of that; each may be some megabytes."""

_SECONDS_OF_HOUR: Final = 3_600
_ACCOUNT_BYTES: Final = 8


Place: TypeAlias = tuple[int, ...]
"""Where in an organisation a caller belongs: nowhere in particular, in a team, in an environment of
a team. It sees what is of its place and of those in it."""


def place_of(principal: Principal) -> Place:
    """The ids of a caller's team and environment, as far as it has them."""
    found = (principal.team_id, principal.environment_id)
    return tuple(one for one in found if one is not None)


class KeptResponse(msgspec.Struct, frozen=True):
    """A response as it was answered, and the input items that were new in its request."""

    response: msgspec.Raw
    items: tuple[msgspec.Raw, ...]
    place: Place = ()
    """Where who asked for it belongs."""

    def is_seen_from(self, place: Place) -> bool:
        """Whether a caller of that place may have it."""
        return self.place[: len(place)] == place


class _Output(msgspec.Struct, frozen=True):
    output: tuple[msgspec.Raw, ...]


_decode: Final = msgspec.json.Decoder(KeptResponse).decode
_decode_output: Final = msgspec.json.Decoder(_Output).decode


class StoredResponses:
    """Keeps responses. One instance serves all calls of a worker; run `run()` as a task in each."""

    def __init__(self, store: ResponseStore, sealer: Sealer, *, hours: float) -> None:
        """`hours` is how long a response is kept; 0 keeps none."""
        self._store = store
        self._sealer = sealer
        self._hours = hours

    @property
    def keeps(self) -> bool:
        """Whether responses are kept at all."""
        return self._hours > 0

    async def keep(
        self,
        account_id: AccountId,
        call_id: CallId,
        previous: CallId | None,
        kept: KeptResponse,
    ) -> bool:
        """Keeps a response; whether it is kept, since nobody is to lose an answer for that."""
        text = msgspec.json.encode(kept)
        if len(text) > KEPT_BYTES_MAX:
            log.info("response_too_large_to_keep", call_id=str(call_id), size_bytes=len(text))
            return False
        sealed = self._sealer.seal(text, _row(account_id, call_id))
        seconds = self._hours * _SECONDS_OF_HOUR
        try:
            await self._store.insert(account_id, call_id, previous, sealed, seconds)
        except OmniError as error:
            log.warning("response_not_kept", call_id=str(call_id), reason=error.reason)
            return False
        return True

    async def get(self, account_id: AccountId, call_id: CallId, place: Place) -> KeptResponse:
        """A response.

        Raises:
            NotFound: there is none, not any more, or it is not for this account and this place.
            LedgerUnavailable: the database does not answer.
        """
        rows = await self._store.chain(account_id, call_id, count_max=1, bytes_max=CHAIN_BYTES_MAX)
        if not rows:
            raise self._no_response()
        kept = self._open(account_id, rows[0])
        if not kept.is_seen_from(place):
            raise self._no_response()
        return kept

    async def delete(self, account_id: AccountId, call_id: CallId, place: Place) -> None:
        """Deletes a response. What continues it cannot be continued any more.

        Raises:
            NotFound: there is none, not any more, or it is not for this account and this place.
            LedgerUnavailable: the database does not answer.
        """
        if place:
            await self.get(account_id, call_id, place)
        if not await self._store.delete(account_id, call_id):
            raise self._no_response()

    async def conversation(
        self, account_id: AccountId, call_id: CallId, place: Place
    ) -> list[msgspec.Raw]:
        """All items of a conversation up to the end of a response: input and output, in order.

        Raises:
            FieldInvalid: the response, or one that it continues, is not kept (any more).
            TooLarge: the conversation is longer than is read at once.
            LedgerUnavailable: the database does not answer.
        """
        field = "previous_response_id"
        if not self.keeps:
            raise FieldInvalid(
                f"{field}: this service keeps no responses. Send the earlier items as input; the "
                "operator can turn it on with OMNI_STORE_RESPONSES_HOURS.",
                field=field,
            )
        rows = await self._store.chain(
            account_id, call_id, count_max=CHAIN_COUNT_MAX, bytes_max=CHAIN_BYTES_MAX
        )
        if not rows or not self._open(account_id, rows[0]).is_seen_from(place):
            raise FieldInvalid(
                f"{field} names no response that is kept: it was sent with store: false, is older "
                f"than {self._hours:g} hours, or was deleted. Send the earlier items as input.",
                field=field,
            )
        size = sum(len(row.sealed) for row in rows)
        if rows[-1].previous_id is not None:
            if len(rows) >= CHAIN_COUNT_MAX or size >= CHAIN_BYTES_MAX:
                raise TooLarge(
                    f"{field}: the conversation has more than {CHAIN_COUNT_MAX} responses or "
                    f"{CHAIN_BYTES_MAX} bytes. Begin a new one with a summary of it as input."
                )
            raise FieldInvalid(
                f"{field}: an earlier response of the conversation is older than "
                f"{self._hours:g} hours, or was deleted. Send the earlier items as input.",
                field=field,
            )
        items: list[msgspec.Raw] = []
        for row in reversed(rows):
            kept = self._open(account_id, row)
            items += (*kept.items, *_decode_output(kept.response).output)
        return items

    async def run(self) -> None:
        """Deletes what is over for ever; ends only by cancellation."""
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            try:
                await self.expire()
            except OmniError as error:
                log.warning("expiry_of_responses_paused", reason=error.reason)

    async def expire(self) -> int:
        """Deletes the responses whose time is over; returns how many."""
        count = 0
        while step := await self._store.delete_expired(STEP_ROWS):
            count += step
        if count:
            log.info("responses_expired", count=count)
        return count

    def _open(self, account_id: AccountId, row: StoredRow) -> KeptResponse:
        try:
            return _decode(self._sealer.open(row.sealed, _row(account_id, CallId(row.id))))
        except (SealBrokenError, msgspec.MsgspecError) as error:
            log.error("response_not_readable", call_id=str(row.id), error=str(error))
            raise NotFound("The response cannot be read any more.") from error

    def _no_response(self) -> NotFound:
        why = (
            f"responses are kept for {self._hours:g} hours, unless store is false"
            if self.keeps
            else "this service keeps none; see OMNI_STORE_RESPONSES_HOURS"
        )
        return NotFound(f"There is no such response: {why}.")


def _row(account_id: AccountId, call_id: CallId) -> bytes:
    return account_id.to_bytes(_ACCOUNT_BYTES, "big") + call_id.bytes
