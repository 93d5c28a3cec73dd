"""Writing an answer as the Responses API does: one body, or the events of a stream, its errors.

The output is a list of items: reasoning, a message, calls. A stream tells each item as it begins,
its fragments, each part and the item when they are whole, and ends with the whole response.
Reasoning itself is never shown: its summary is where one was asked for, and it comes encrypted.
What a behaviour lies about is lied about here.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from omni_grpc.simulator.answer import Answer, Counts, Piece
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialects import openai_answer
from omni_grpc.simulator.dialects.responses_body import FunctionTool, ResponsesBody
from omni_grpc.simulator.dialects.responses_sealed import seal_reasoning
from omni_grpc.simulator.wire import ErrorReply, Event

__all__ = ("ResponseWriter", "told_error")

_Json = dict[str, object]

_OTHER_TOKENS: Final = (" the", " a", " it", " and", " one", ",", ".", " so", " all", " no")


def told_error(status: int, code: str | None) -> ErrorReply:
    """The error that a behaviour asked for; in a stream it is an event named `error`."""
    reply = openai_answer.told_error(status, code)
    body = {"type": "error", **msgspec.json.decode(reply.body, type=dict)}
    return ErrorReply(status, msgspec.json.encode(body), name="error")


class _Output:
    """One item of the output: how it begins, its fragments, and how it is when whole."""

    def __init__(self, item_id: str, kind: str, pieces: Sequence[Piece]) -> None:
        self.id = item_id
        self.kind = kind
        self.pieces = tuple(pieces)
        self.text = "".join(piece.text for piece in pieces if piece.kind != "tool_name")
        self.tokens = sum(piece.tokens for piece in pieces)


class ResponseWriter:
    """One answer on its way out. `created` is in Unix seconds; `model` as the caller wrote it."""

    def __init__(
        self,
        body: ResponsesBody,
        answer: Answer,
        behaviour: Behaviour,
        *,
        response_id: str,
        created: int,
        counts: Counts,
    ) -> None:
        self._asked = body
        self._choice = answer.choices[0]
        self._behaviour = behaviour
        self._id = response_id
        self._created = created
        self._counts = counts
        self._number = -1
        self._outputs = self._items()

    def body(self) -> bytes:
        """The plain answer."""
        return msgspec.json.encode(self._ended())

    def events(self) -> Iterator[Event]:
        """The streamed answer, item by item."""
        begun: _Json = {"response": self._response("in_progress")}
        yield self._event("response.created", begun)
        yield self._event("response.in_progress", begun)
        for index, output in enumerate(self._outputs):
            yield from self._item_events(index, output)
        ended = self._ended()
        has_usage = ended["usage"] is not None
        yield self._event(f"response.{ended['status']}", {"response": ended}, is_usage=has_usage)

    # --- the response -------------------------------------------------------------------------
    def _ended(self) -> _Json:
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(
            self._choice.finish
        )
        return self._response("completed" if reason is None else "incomplete") | {
            "incomplete_details": None if reason is None else {"reason": reason},
            "output": [
                self._whole(output, is_last=output is self._outputs[-1]) for output in self._outputs
            ],
            "usage": self._usage(),
        }

    def _response(self, status: str) -> _Json:
        asked = self._asked
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "max_tool_calls": asked.max_tool_calls,
            "model": self._behaviour.as_model or asked.model,
            "output": [],
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "previous_response_id": None,
            "prompt_cache_key": asked.prompt_cache_key,
            "reasoning": {"effort": asked.effort, "summary": asked.summary},
            "safety_identifier": asked.safety_identifier,
            "service_tier": "default",
            "store": False,
            "temperature": 1.0 if asked.temperature is None else asked.temperature,
            "text": {
                "format": asked.format or {"type": "text"},
                "verbosity": (asked.text and asked.text.verbosity) or "medium",
            },
            "tool_choice": asked.tool_choice or "auto",
            "tools": [_tool_told(tool) for tool in asked.tools or ()],
            "top_logprobs": asked.top_logprobs or 0,
            "top_p": 1.0 if asked.top_p is None else asked.top_p,
            "truncation": asked.truncation or "disabled",
            "usage": None,
            "user": asked.user,
            "metadata": asked.metadata or {},
        }

    def _usage(self) -> _Json | None:
        counts, lie = self._counts, self._behaviour.usage
        prompt, output, total = counts.prompt, counts.completion, counts.prompt + counts.completion
        if lie in ("none", "early"):
            return None
        if lie == "half":
            return {"input_tokens": prompt, "total_tokens": prompt}
        if lie == "null":
            return {"input_tokens": None, "output_tokens": None, "total_tokens": None}
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": counts.cached, "cache_write_tokens": 0},
            "output_tokens": output - (counts.reasoning if lie == "apart" else 0),
            "output_tokens_details": {"reasoning_tokens": counts.reasoning},
            "total_tokens": total,
        }

    # --- items --------------------------------------------------------------------------------
    def _items(self) -> list[_Output]:
        pieces = self._choice.pieces
        suffix = self._id.removeprefix("resp_")
        outputs: list[_Output] = []
        if thought := [piece for piece in pieces if piece.kind == "reasoning"]:
            outputs.append(_Output(f"rs_{suffix}", "reasoning", thought))
        said = [piece for piece in pieces if piece.kind in ("content", "refusal")]
        calls = sorted({piece.call for piece in pieces if piece.kind == "tool_name"})
        if said or not (calls or outputs):
            outputs.append(_Output(f"msg_{suffix}", "message", said))
        for call in calls:
            of_call = [
                piece
                for piece in pieces
                if piece.kind in ("tool_name", "tool_arguments") and piece.call == call
            ]
            outputs.append(_Output(f"fc_{suffix}{call}", "function_call", of_call))
        return outputs

    def _whole(self, output: _Output, *, is_last: bool) -> _Json:
        is_cut = is_last and self._choice.finish in ("length", "content_filter")
        status = "incomplete" if is_cut else "completed"
        item: _Json = {"id": output.id, "type": output.kind}
        if output.kind == "reasoning":
            text = output.text
            item["summary"] = [_summary(text)] if self._asked.summary else []
            if self._asked.encrypts:
                item["encrypted_content"] = seal_reasoning(output.id, text)
        elif output.kind == "message":
            item |= {"status": status, "role": "assistant", "content": [self._part(output)]}
        else:
            item |= {"status": status, **_call_head(output), "arguments": output.text}
        return item

    def _part(self, output: _Output, *, whole: bool = True) -> _Json:
        text = output.text if whole else ""
        if output.pieces and output.pieces[0].kind == "refusal":
            return {"type": "refusal", "refusal": text}
        logprobs = self._logprobs(output.pieces) if whole else []
        return {"type": "output_text", "annotations": [], "logprobs": logprobs, "text": text}

    def _logprobs(self, pieces: Sequence[Piece]) -> list[_Json]:
        tops = self._asked.top_logprobs or 0
        return [_logprob(piece.text, tops) for piece in pieces] if self._asked.logprobs else []

    # --- events -------------------------------------------------------------------------------
    def _event(
        self,
        name: str,
        fields: _Json,
        *,
        tokens: int = 0,
        reasoning: int = 0,
        is_usage: bool = False,
    ) -> Event:
        self._number += 1
        data = msgspec.json.encode({"type": name, **fields, "sequence_number": self._number})
        return Event(data, tokens, reasoning, is_usage, name)

    def _item_events(self, index: int, output: _Output) -> Iterator[Event]:
        whole = self._whole(output, is_last=output is self._outputs[-1])
        begun: _Json = {"id": output.id, "type": output.kind}
        weight = 0
        if output.kind == "reasoning":
            begun["summary"] = []
            if not self._asked.summary:  # nothing shows it before it is whole
                weight = output.tokens
        elif output.kind == "message":
            begun |= {"status": "in_progress", "role": "assistant", "content": []}
        else:
            begun |= {"status": "in_progress", **_call_head(output), "arguments": ""}
        named = sum(piece.tokens for piece in output.pieces if piece.kind == "tool_name")
        at: _Json = {"output_index": index}
        yield self._event("response.output_item.added", at | {"item": begun}, tokens=named)
        place = at | {"item_id": output.id}
        if output.kind == "message":
            yield from self._message_events(output, place)
        elif output.kind == "function_call":
            yield from self._call_events(output, place)
        elif self._asked.summary:
            yield from self._summary_events(output, place)
        done = at | {"item": whole}
        yield self._event("response.output_item.done", done, tokens=weight, reasoning=weight)

    def _message_events(self, output: _Output, place: _Json) -> Iterator[Event]:
        place = place | {"content_index": 0}
        part = self._part(output)
        begun = self._part(output, whole=False)
        yield self._event("response.content_part.added", place | {"part": begun})
        kind, text = str(part["type"]), output.text
        whole: _Json = {"refusal": text}
        if kind == "output_text":
            whole = {"text": text, "logprobs": part["logprobs"]}
        for piece in output.pieces:
            fragment = place | {"delta": piece.text}
            if kind == "output_text":
                fragment["logprobs"] = self._logprobs((piece,))
            yield self._event(f"response.{kind}.delta", fragment, tokens=piece.tokens)
        yield self._event(f"response.{kind}.done", place | whole)
        yield self._event("response.content_part.done", place | {"part": part})

    def _call_events(self, output: _Output, place: _Json) -> Iterator[Event]:
        name = "response.function_call_arguments"
        for piece in output.pieces:
            if piece.kind == "tool_arguments":
                fragment = place | {"delta": piece.text}
                yield self._event(f"{name}.delta", fragment, tokens=piece.tokens)
        whole = {"name": output.pieces[0].text, "arguments": output.text}
        yield self._event(f"{name}.done", place | whole)

    def _summary_events(self, output: _Output, place: _Json) -> Iterator[Event]:
        place = place | {"summary_index": 0}
        name = "response.reasoning_summary"
        yield self._event(f"{name}_part.added", place | {"part": _summary("")})
        for piece in output.pieces:
            fragment, count = place | {"delta": piece.text}, piece.tokens
            yield self._event(f"{name}_text.delta", fragment, tokens=count, reasoning=count)
        yield self._event(f"{name}_text.done", place | {"text": output.text})
        yield self._event(f"{name}_part.done", place | {"part": _summary(output.text)})


def _tool_told(tool: FunctionTool) -> _Json:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters if bytes(tool.parameters) else None,
        "strict": tool.strict is not False,
    }


def _summary(text: str) -> _Json:
    return {"type": "summary_text", "text": text}


def _call_head(output: _Output) -> _Json:
    named = output.pieces[0]
    return {"call_id": named.call_id, "name": named.text}


def _logprob(text: str, tops: int) -> _Json:
    """Made-up but repeatable: the chosen token first, the others ever less likely."""
    logprob = -round(zlib.crc32(text.encode()) % 700 / 1000, 3)
    others = dict.fromkeys(other for other in _OTHER_TOKENS if other != text)
    listed = [_token(one, logprob - rank * 1.5) for rank, one in enumerate([text, *others])]
    return {**_token(text, logprob), "top_logprobs": listed[:tops]}


def _token(text: str, logprob: float) -> _Json:
    return {"token": text, "logprob": round(logprob, 3), "bytes": list(text.encode())}
