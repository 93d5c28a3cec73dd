"""Paid calls that are sent again: the answer of a done call is kept sealed, and told once more.

What a repeat may do the ledger decides, in the transaction of its hold; here is only the answer.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
import structlog

from omni_grpc.billing import ChatEnd, Ledger, RequestEnd, RequestKey, chat_request_key
from omni_grpc.completion.call import Call
from omni_grpc.completion.gathering import deltas_of
from omni_grpc.core.chat import ChatCompletion, ChatDelta, ChatRequest, ChatStarted
from omni_grpc.core.errors import Interrupted, OmniError
from omni_grpc.core.ids import CallId
from omni_grpc.core.limits import ANSWER_BYTES_MAX
from omni_grpc.core.money import usd_text
from omni_grpc.storage import SealBrokenError, Sealer

log = structlog.get_logger(__name__)

SEAL_PURPOSE: Final = b"omni-answer"


class KeptAnswer(msgspec.Struct, frozen=True):
    """A completion, always with its choices, and the output limit that it was given."""

    completion: ChatCompletion
    output_tokens_max: int

    def events(self) -> Iterator[ChatStarted | tuple[ChatDelta, ...] | ChatCompletion]:
        """What a stream of it has."""
        completion = self.completion
        yield ChatStarted(
            call_id=completion.call_id,
            model=completion.model,
            create_time=completion.create_time,
            output_tokens_max=self.output_tokens_max,
            ignored=completion.ignored,
        )
        if deltas := tuple(deltas_of(completion.choices)):
            yield deltas
        yield msgspec.structs.replace(completion, choices=())


class Repeats:
    """Keeps answers and tells them again. Without a `sealer` none is kept."""

    def __init__(self, ledger: Ledger, sealer: Sealer | None) -> None:
        self._ledger = ledger
        self._sealer = sealer

    @property
    def keeps_answers(self) -> bool:
        """Whether a repeat gets the answer, or only what it cost."""
        return self._sealer is not None

    def key(self, call: Call, request: ChatRequest) -> RequestKey | None:
        """What the call's request id stands for; None without one."""
        if call.request_id is None or call.principal is None:
            return None
        return chat_request_key(call.principal.org_id, call.request_id, request)

    def end(
        self, call: Call, key: RequestKey, completion: ChatCompletion, output_tokens_max: int
    ) -> RequestEnd:
        """The end of a request that was answered; too large an answer is not kept."""
        sealed = None
        if self._sealer is not None:
            text = msgspec.json.encode(KeptAnswer(completion, output_tokens_max))
            if len(text) <= ANSWER_BYTES_MAX:
                sealed = self._sealer.seal(text, call.id.bytes)
            else:
                log.info("answer_too_large_to_keep", call_id=call.name, size_bytes=len(text))
        return RequestEnd(key.principal, key.request_id, call.id, ChatEnd.DONE, sealed)

    async def recall(self, call_id: CallId) -> KeptAnswer:
        """The answer of a call that is done.

        Raises:
            Interrupted: it is not kept; what it cost stands with the error.
            LedgerUnavailable: the database does not answer.
        """
        sealed = await self._ledger.answer(call_id)
        if sealed is None or self._sealer is None:
            raise await self._not_kept(call_id, "its answer was not kept")
        try:
            text = self._sealer.open(sealed, call_id.bytes)
            return msgspec.json.decode(text, type=KeptAnswer)
        except (SealBrokenError, msgspec.MsgspecError) as error:
            log.error("answer_not_readable", call_id=str(call_id), error=str(error))
            raise await self._not_kept(call_id, "its answer cannot be read any more") from error

    async def _not_kept(self, call_id: CallId, why: str) -> OmniError:
        cost = (await self._ledger.usage(call_id)).cost
        error = Interrupted(
            f"The call {call_id} with this request_id was answered and charged "
            f"{usd_text(cost)} USD, but {why}. Use a new request_id to ask again.",
            metadata={"call_id": str(call_id)},
        )
        error.charged_nanousd = cost
        return error
