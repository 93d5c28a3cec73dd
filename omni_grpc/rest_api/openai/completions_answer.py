"""A finished or streamed chat as OpenAI's older `text_completion`.

Both forms have the same object; a chunk has a piece of a choice. The text is all that a choice has,
so a refusal is its text where there is no other, and reasoning is not shown.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from omni_grpc.core.chat import (
    ChatCompletion,
    ChatDelta,
    ChatStarted,
    Choice,
    FinishReason,
    Logprobs,
    TokenLogprob,
)
from omni_grpc.rest_api.openai.chat_chunks import DONE, cost_comment, on_one_line
from omni_grpc.rest_api.openai.chat_completion import JsonObject, usage_object

_encode: Final = msgspec.json.Encoder().encode


def encode_text_completion(completion: ChatCompletion) -> bytes:
    """The body of a plain answer."""
    body = _object(completion)
    body["choices"] = [_whole(choice) for choice in completion.choices]
    body["usage"] = usage_object(completion)
    if completion.system_fingerprint is not None:
        body["system_fingerprint"] = completion.system_fingerprint
    return _encode(body)


class TextWriter:
    """Writes the chunks of one stream.

    With `include_usage` every chunk has `usage`: null, but in a last one that has no choices.
    """

    __slots__ = ("_fields", "_include_usage", "_offsets")

    def __init__(self, started: ChatStarted, *, include_usage: bool) -> None:
        self._fields = _object(started)
        self._include_usage = include_usage
        self._offsets: dict[int, int] = {}
        """By choice, how many characters of it were sent."""

    def deltas(self, deltas: Iterable[ChatDelta]) -> bytes:
        """The chunks of some deltas: what came together leaves together."""
        return on_one_line(b"".join(map(self._chunk, deltas)))

    def end(self, completion: ChatCompletion) -> bytes:
        """The usage chunk, if it was asked for, a comment with the cost, and the end."""
        comment = cost_comment(completion)
        if not self._include_usage:
            return comment + DONE
        last = {**self._fields, "choices": [], "usage": usage_object(completion)}
        return on_one_line(b"data: %b\n\n" % _encode(last)) + comment + DONE

    def _chunk(self, delta: ChatDelta) -> bytes:
        text = delta.text or delta.refusal
        if not text and delta.finish_reason is None:
            return b""
        index = delta.choice_index
        offset = self._offsets.get(index, 0)
        self._offsets[index] = offset + len(text)
        choice = _choice(index, text, _logprobs(delta.logprobs, offset), delta.finish_reason)
        chunk = {**self._fields, "choices": [choice]}
        if self._include_usage:
            chunk["usage"] = None
        return b"data: %b\n\n" % _encode(chunk)


def _object(found: ChatStarted | ChatCompletion) -> JsonObject:
    return {
        "id": found.call_id,
        "object": "text_completion",
        "created": found.create_time,
        "model": found.model,
    }


def _whole(choice: Choice) -> JsonObject:
    text = choice.answer.text or choice.answer.refusal or ""
    return _choice(choice.index, text, _logprobs(choice.logprobs, 0), choice.finish_reason)


def _choice(
    index: int, text: str, logprobs: JsonObject | None, finish_reason: FinishReason | None
) -> JsonObject:
    return {
        "text": text,
        "index": index,
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    }


def _logprobs(logprobs: Logprobs | None, offset: int) -> JsonObject | None:
    """Log probabilities as columns; `offset` is where the first token stands in the text."""
    tokens = () if logprobs is None else logprobs.content or ()
    if not tokens:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token)
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [_top(token) for token in tokens],
        "text_offset": offsets,
    }


def _top(token: TokenLogprob) -> dict[str, float]:
    return {top.token: top.logprob for top in token.top_logprobs}
