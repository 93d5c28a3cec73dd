"""The service's own short forms of a chat: `POST /v1/chat` and `POST /v1/agent-step`.

Each is a chat that the router chooses the model for, with the wishes at the top of the body and an
answer of a few fields. A step of an agent's run also tells what the run has cost by now.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Annotated, Final

import msgspec

from omni_grpc.completion import AgentRuns, Call, Chats, Gates, RunTotal
from omni_grpc.core.chat import ChatCompletion, ChatRequest, LatencyPreference, Priority
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import FieldInvalid, LedgerUnavailable, OmniError
from omni_grpc.core.limits import MODEL_ID_CHARS_MAX, TAG_VALUE_CHARS_MAX
from omni_grpc.core.money import usd_text
from omni_grpc.core.task import Task
from omni_grpc.rest_api.exchange import Exchange
from omni_grpc.rest_api.omni_wire import AMOUNT, LATENCIES, PRIORITIES, WireOmni, cost_max_nanousd
from omni_grpc.rest_api.openai.chat_request import chat_order
from omni_grpc.rest_api.openai.chat_wire import CHOICES, WireChat
from omni_grpc.rest_api.openai.json_body import read_json
from omni_grpc.rest_api.streaming import completion_headers
from omni_grpc.routing import AUTO

CHAT_PATH: Final = "/v1/chat"
STEP_PATH: Final = "/v1/agent-step"

RUN_TAG: Final = "run_id"
"""The tag under which usage reports know a run."""

_JsonObject = dict[str, object]
_encode: Final = msgspec.json.Encoder().encode


class WireOwnChat(msgspec.Struct, frozen=True):
    """What these routes read beside the fields of a chat; null is the same as leaving one out."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_ID_CHARS_MAX)] | None = None
    run_id: Annotated[str, msgspec.Meta(min_length=1, max_length=TAG_VALUE_CHARS_MAX)] | None = None
    priority: Priority | None = None
    latency_pref: LatencyPreference | None = None
    max_cost: Decimal | None = None
    omni: WireOmni | None = None
    stream: bool | None = None


_CHOICES: Final = CHOICES | {
    "priority": PRIORITIES,
    "latency_pref": LATENCIES,
    "max_cost": AMOUNT,
}
_OWN_FIELDS: Final = frozenset(WireOwnChat.__struct_fields__)
_decode_own: Final = msgspec.json.Decoder(WireOwnChat).decode
_decode_chat: Final = msgspec.json.Decoder(WireChat).decode


class OwnChat(msgspec.Struct, frozen=True):
    """A chat of a body, the run that it is a step of, and whether it says `max_cost`."""

    request: ChatRequest
    run_id: str | None
    has_max_cost: bool


class OwnChatRoutes:
    """Serves the short forms to the door."""

    def __init__(self, chats: Chats, gates: Gates, runs: AgentRuns, clock: Clock) -> None:
        self._chats = chats
        self._gates = gates
        self._runs = runs
        self._clock = clock

    async def chat(self, exchange: Exchange, call: Call) -> None:
        """Completes a chat with the model that the router chooses."""
        with self._gates.metered(call):
            call.request_id = exchange.request_id()
            asked = _read(await exchange.body())
            await self._complete(exchange, call, asked, None)

    async def step(self, exchange: Exchange, call: Call) -> None:
        """Completes one step of an agent's run, and tells the run's total."""
        with self._gates.metered(call):
            call.request_id = exchange.request_id()
            asked = _read(await exchange.body(), is_step=True)
            await self._complete(exchange, call, asked, asked.run_id or call.name)

    async def _complete(
        self, exchange: Exchange, call: Call, asked: OwnChat, run_id: str | None
    ) -> None:
        begun = self._clock.monotonic()
        org_id = None if call.principal is None else call.principal.org_id
        with exchange.watched(), _in_own_words(asked):
            if run_id is not None and org_id is not None:
                with suppress(LedgerUnavailable):  # the hold will say so, or the sum lacks a step
                    await self._runs.begin(org_id, run_id, call.id)
            found = await self._chats.complete(call, asked.request)
            body = _answer(found, round(1e3 * (self._clock.monotonic() - begun)))
            if run_id is not None and org_id is not None:
                try:
                    total = await self._runs.add(org_id, run_id, found)
                except LedgerUnavailable:
                    total = None  # the answer is paid for: it is not withheld for a sum
                body["run"] = {"run_id": run_id} if total is None else _run(total)
            await exchange.answer(200, completion_headers(found), _encode(body))


@contextmanager
def _in_own_words(asked: OwnChat) -> Iterator[None]:
    """Names the field of an error as this body does."""
    try:
        yield
    except OmniError as error:
        if asked.has_max_cost and error.field == "max_cost_nanousd":
            error.field = "max_cost"
        raise


def _read(body: bytes, *, is_step: bool = False) -> OwnChat:
    """What a body asks for.

    Raises:
        FieldInvalid: naming the field.
    """
    own, fields = read_json(body, _decode_own, _CHOICES)
    if own.stream:
        raise FieldInvalid(
            "stream is not taken here; POST /v1/chat/completions streams.", field="stream"
        )
    if own.run_id is not None and not is_step:
        raise FieldInvalid(f"run_id belongs to {STEP_PATH}.", field="run_id")
    cost_max_nanousd(own.max_cost, "max_cost")  # as it is named here
    omni = own.omni or WireOmni()
    given = {
        "priority": own.priority,
        "latency_preference": own.latency_pref,
        "max_cost_usd": own.max_cost,
    }
    wishes = {name: value for name, value in given.items() if value is not None}
    if is_step:
        wishes["task"] = omni.task or Task.AGENT_STEP  # type: ignore[assignment]  # a field of omni
    if own.run_id is not None:
        wishes["tags"] = {**omni.tags, RUN_TAG: own.run_id}  # type: ignore[assignment]  # as above
    rest = {name: raw for name, raw in fields.items() if name not in _OWN_FIELDS}
    rest["model"] = msgspec.Raw(_encode(own.model or AUTO))
    wire, chat_fields = read_json(_encode(rest), _decode_chat, CHOICES)
    wire = msgspec.structs.replace(wire, omni=msgspec.structs.replace(omni, **wishes))
    return OwnChat(chat_order(wire, chat_fields).request, own.run_id, own.max_cost is not None)


def _answer(found: ChatCompletion, latency_ms: int) -> _JsonObject:
    choice = found.choices[0]
    answer = choice.answer
    saved = None if found.savings is None else found.savings.saved_nanousd
    body: _JsonObject = {
        "output": answer.text if answer.text is not None else answer.refusal or "",
        "model_used": found.model,
        "cost": usd_text(found.cost_nanousd),
        "latency_ms": latency_ms,
        "savings_estimate": None if saved is None else usd_text(saved),
        "finish_reason": choice.finish_reason,
        "request_id": found.call_id,
    }
    if answer.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_json},
            }
            for call in answer.tool_calls
        ]
    return body


def _run(total: RunTotal) -> _JsonObject:
    saved = total.saved_nanousd
    return {
        "run_id": total.run_id,
        "steps": total.step_count,
        "unanswered_steps": total.unanswered_count,
        "cost": usd_text(total.cost_nanousd),
        "savings_estimate": None if saved is None else usd_text(saved),
    }
