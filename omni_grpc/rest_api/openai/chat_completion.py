"""A finished chat as OpenAI's `chat.completion` object, and the `usage` object of both forms.

Beside OpenAI's fields `usage` says what the call was charged: `cost`, a decimal text of dollars
without loss, and `cost_nanousd`.
"""

from typing import Final

import msgspec

from omni_grpc.core.chat import Answer, ChatCompletion, Choice
from omni_grpc.core.money import usd_text
from omni_grpc.core.usage import UsageSource

JsonObject = dict[str, object]
_encode: Final = msgspec.json.Encoder().encode
_NO_ANNOTATIONS: Final[tuple[object, ...]] = ()


def encode_completion(completion: ChatCompletion) -> bytes:
    """The body of a plain answer."""
    body: JsonObject = {
        "id": completion.call_id,
        "object": "chat.completion",
        "created": completion.create_time,
        "model": completion.model,
        "choices": [_choice(choice) for choice in completion.choices],
        "usage": usage_object(completion),
    }
    add_provenance(body, completion)
    return _encode(body)


def usage_object(completion: ChatCompletion) -> JsonObject:
    """What the call used and cost. A count that was not reported is 0, or left out of details."""
    usage = completion.usage
    prompt, answer = usage.prompt or 0, usage.completion or 0
    found: JsonObject = {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": _present(
            cached_tokens=usage.cached_read,
            cache_write_tokens=usage.cached_write,
            audio_tokens=usage.prompt_audio,
        ),
        "completion_tokens_details": _present(
            reasoning_tokens=usage.reasoning, audio_tokens=usage.completion_audio
        ),
        "cost": usd_text(completion.cost_nanousd),
        "cost_nanousd": completion.cost_nanousd,
    }
    if usage.source is UsageSource.ESTIMATE:
        found["estimated"] = True
    return found


def add_provenance(body: JsonObject, completion: ChatCompletion) -> None:
    """What the provider says of itself, where it does."""
    if completion.system_fingerprint is not None:
        body["system_fingerprint"] = completion.system_fingerprint
    if completion.service_tier is not None:
        body["service_tier"] = completion.service_tier


def _choice(choice: Choice) -> JsonObject:
    return {
        "index": choice.index,
        "message": _message(choice.answer),
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish_reason,
    }


def _message(answer: Answer) -> JsonObject:
    message: JsonObject = {
        "role": "assistant",
        "content": answer.text,
        "refusal": answer.refusal,
        "annotations": _NO_ANNOTATIONS if answer.annotations is None else answer.annotations,
    }
    if answer.reasoning is not None:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments_json},
            }
            for call in answer.tool_calls
        ]
    return message


def _present(**counts: int | None) -> JsonObject:
    return {name: count for name, count in counts.items() if count is not None}
