"""A streamed response in the domain's words.

What came in one read becomes one delta. An item whose fragments did not come is told when it is
whole, so nothing is lost where a provider leaves events out, and nothing is told twice.
"""

from typing import Final

import msgspec

from omni_grpc.core.chat import ChatDelta, FinishReason, ReasoningBlock, ToolCallDelta
from omni_grpc.core.usage import Usage
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import BAD_JSON, Faults
from omni_grpc.providers.http import generation_id_of
from omni_grpc.providers.openai.wire import (
    TOOL_CALLS_MAX,
    WireLogprobs,
    WireTokenLogprob,
    logprobs_of,
)
from omni_grpc.providers.responses.wire import (
    KNOWN_EVENTS,
    PARTS_BETWEEN,
    ArgumentsDelta,
    BareEvent,
    Completed,
    Created,
    ErrorEvent,
    Failed,
    Incomplete,
    ItemAdded,
    ItemDone,
    ReasoningDelta,
    RefusalDelta,
    SummaryDelta,
    TextDelta,
    WireEvent,
    WireItem,
    WireResponse,
    blocks_of,
    finish_of,
    item_of,
    usage_of,
)

ITEMS_MAX: Final = 4_096
"""Most items of one response, so that a hostile index costs no memory."""

_DONE: Final = b"[DONE]"
"""Some compatible providers send it after the last event, out of habit."""

_decode_event: Final = msgspec.json.Decoder(WireEvent).decode
_decode_bare: Final = msgspec.json.Decoder(BareEvent).decode


class _Item:
    """One item of the output as it grows: its call's number, and what of it was told."""

    __slots__ = ("call", "ended", "told")

    def __init__(self) -> None:
        self.call: int | None = None
        self.told = False
        self.ended = False


class _Run:
    """What one read brought."""

    __slots__ = ("blocks", "finish", "logprobs", "reasoning", "refusal", "text", "tools")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.refusal = ""
        self.reasoning: list[str] = []
        self.blocks: list[ReasoningBlock] = []
        self.tools: dict[int, ToolCallDelta] = {}
        self.logprobs: list[WireTokenLogprob] = []
        self.finish: FinishReason | None = None

    def delta(self) -> ChatDelta | None:
        """The delta, or None where the read brought nothing."""
        text = "".join(self.text)
        if not (self.refusal or self.reasoning or self.blocks or self.tools or self.logprobs):
            if not text and self.finish is None:
                return None
            return ChatDelta(text=text, finish_reason=self.finish)
        logprobs = self.logprobs
        return ChatDelta(
            text=text,
            refusal=self.refusal,
            reasoning="".join(self.reasoning),
            reasoning_blocks=tuple(self.blocks),
            tool_calls=tuple(self.tools.values()),
            logprobs=logprobs_of(WireLogprobs(content=tuple(logprobs))) if logprobs else None,
            finish_reason=self.finish,
        )

    def call(self, piece: ToolCallDelta) -> None:
        """A fragment of a call, joined to what this read brought of it before."""
        before = self.tools.get(piece.index)
        if before is not None:
            arguments = before.arguments_json + piece.arguments_json
            piece = msgspec.structs.replace(before, arguments_json=arguments)
        self.tools[piece.index] = piece


class ResponseStreamDecoder:
    """Turns the events of one stream into deltas, and remembers how the stream stands."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._items: dict[int, _Item] = {}
        self._calls = 0
        self._reasoned: tuple[int, str, int] | None = None
        self.usage: Usage | None = None
        self.id: str | None = None
        self.model: str | None = None
        self.system_fingerprint: str | None = None
        self.service_tier: str | None = None
        self.done = False
        self.complete = False
        self.fault: ProviderFault | None = None

    def feed(self, events: list[bytes]) -> tuple[ChatDelta, ...]:
        """The delta of the events of one read.

        Stops at the event that ends the response (`done` is set), and at the first that is an
        error or none of this dialect (`fault` is set); what came before is returned.
        """
        run = _Run()
        for data in events:
            try:
                event = _decode_event(data)
            except BAD_JSON as error:
                self._ignore_or_fail(data, error)
            else:
                try:
                    self._take(event, run)
                except BAD_JSON as error:  # an item inside the event
                    self._fail_to_read(error)
            if self.done or self.fault is not None:
                break
        delta = run.delta()
        return () if delta is None else (delta,)

    def _ignore_or_fail(self, data: bytes, error: Exception) -> None:
        """An event of an unknown type is none of ours; anything else is a fault."""
        try:
            bare = _decode_bare(data)
        except BAD_JSON:
            if data.strip() != _DONE:
                self._fail_to_read(error)
            return
        if bare.error:
            self.fault = self._faults.stream_error(bare.error)
        elif not isinstance(bare.type, str) or bare.type in KNOWN_EVENTS:
            self._fail_to_read(error)

    def _fail_to_read(self, error: Exception) -> None:
        self.fault = self._faults.malformed(f"an event of its stream is none ({error})")

    # --- events -------------------------------------------------------------------------------
    def _take(self, event: WireEvent, run: _Run) -> None:
        match event:
            case TextDelta():
                self._item(event.output_index).told = True
                run.text.append(event.delta)
                run.logprobs += event.logprobs or ()
            case ArgumentsDelta():
                self._take_arguments(self._item(event.output_index), event.delta, run)
            case SummaryDelta():
                self._item(event.output_index).told = True
                self._reason((event.output_index, "summary", event.summary_index), event.delta, run)
            case ReasoningDelta():
                self._item(event.output_index).told = True
                self._reason((event.output_index, "text", event.content_index), event.delta, run)
            case RefusalDelta():
                self._item(event.output_index).told = True
                run.refusal += event.delta
            case _:
                self._take_milestone(event, run)

    def _take_milestone(self, event: WireEvent, run: _Run) -> None:
        match event:
            case ItemAdded():
                item = item_of(event.item)
                if item is not None and item.type == "function_call":
                    self._begin_call(self._item(event.output_index), item, run)
            case ItemDone():
                self._end_item(event.output_index, event.item, run)
            case Created():
                self._learn(event.response)
            case Completed() | Incomplete():
                self._end(event.response, run, is_incomplete=isinstance(event, Incomplete))
            case Failed():
                self._learn(event.response)
                error = event.response.error
                self.fault = self._faults.stream_error(error or "it gave no reason")
            case ErrorEvent():
                beside = {"message": event.message, "code": event.code, "param": event.param}
                self.fault = self._faults.stream_error(event.error or beside)

    def _item(self, index: int) -> _Item:
        item = self._items.get(index)
        if item is None:
            item = _Item()
            if len(self._items) >= ITEMS_MAX:
                self.fault = self._faults.malformed("its response has too many items")
            else:
                self._items[index] = item
        return item

    def _reason(self, place: tuple[int, str, int], text: str, run: _Run) -> None:
        if text:
            if self._reasoned is not None and self._reasoned != place:
                run.reasoning.append(PARTS_BETWEEN)
            self._reasoned = place
            run.reasoning.append(text)

    def _begin_call(self, item: _Item, wire: WireItem, run: _Run) -> None:
        if item.call is not None:
            return
        if self._calls >= TOOL_CALLS_MAX:
            self.fault = self._faults.malformed("its response has too many tool calls")
            return
        number = item.call = self._calls
        self._calls += 1
        run.call(
            ToolCallDelta(
                index=number,
                id=wire.call_id or wire.id or f"call_{number}",
                name=wire.name or "",
                arguments_json=wire.arguments or "",
            )
        )
        item.told = bool(wire.arguments)

    def _take_arguments(self, item: _Item, arguments: str, run: _Run) -> None:
        if item.call is None:
            self._begin_call(item, WireItem(), run)
        if item.call is not None and arguments:
            item.told = True
            run.call(ToolCallDelta(index=item.call, arguments_json=arguments))

    # --- what is whole ------------------------------------------------------------------------
    def _end_item(self, index: int, raw: msgspec.Raw, run: _Run) -> None:
        wire = item_of(raw)
        item = self._item(index)
        if wire is None or item.ended:
            return
        item.ended = True
        if wire.type == "function_call":
            if item.call is None:
                self._begin_call(item, wire, run)
            elif not item.told:
                self._take_arguments(item, wire.arguments or "", run)
        elif wire.type == "reasoning":
            self._end_reasoning(index, wire, run, is_told=item.told)
        elif not item.told:
            for part in wire.content or ():
                run.text.append(part.text or "")
                run.refusal += part.refusal or ""
                run.logprobs += part.logprobs or ()

    def _end_reasoning(self, index: int, wire: WireItem, run: _Run, *, is_told: bool) -> None:
        if not is_told:
            for place, part in enumerate(wire.summary or ()):
                self._reason((index, "summary", place), part.text or "", run)
            for place, part in enumerate(wire.content or ()):
                self._reason((index, "text", place), part.text or "", run)
        run.blocks += blocks_of(wire)

    def _end(self, response: WireResponse, run: _Run, *, is_incomplete: bool) -> None:
        self._learn(response)
        if not self._items:  # a provider that tells the whole at once
            for index, raw in enumerate(response.output or ()):
                self._end_item(index, raw, run)
        if self.fault is None:
            run.finish = finish_of(response, is_incomplete=is_incomplete, calls=self._calls > 0)
            self.done = self.complete = True

    def _learn(self, response: WireResponse) -> None:
        if self.id is None:
            self.id = generation_id_of(response.id)
        if response.model is not None:
            self.model = response.model
        if response.service_tier is not None:
            self.service_tier = response.service_tier
        usage = usage_of(response.usage)
        if usage is not None:
            self.usage = usage
