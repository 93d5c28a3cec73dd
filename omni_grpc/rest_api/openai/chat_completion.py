"""A finished chat as OpenAI's `chat.completion` object, and the `usage` object of both forms.

Beside OpenAI's fields `usage` says what the call was charged: `cost`, a number of dollars with all
its digits, and `cost_nanousd`; and `savings`, where the call was compared with a premium model.
"""

from typing import Final

import msgspec

from omni_grpc.core.chat import Answer, ChatCompletion, Choice, ReasoningBlock, Savings
from omni_grpc.core.money import usd_text
from omni_grpc.core.usage import UsageSource

JsonObject = dict[str, object]
_encode: Final = msgspec.json.Encoder().encode
_NO_ANNOTATIONS: Final[tuple[object, ...]] = ()


def encode_completion(completion: ChatCompletion, *, hide_reasoning: bool = False) -> bytes:
    """The body of a plain answer; `hide_reasoning` leaves the reasoning out of it."""
    body: JsonObject = {
        "id": completion.call_id,
        "object": "chat.completion",
        "created": completion.create_time,
        "model": completion.model,
        "choices": [_choice(choice, hide_reasoning) for choice in completion.choices],
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
            cache_write_1h_tokens=usage.cached_write_1h,
            audio_tokens=usage.prompt_audio,
            image_tokens=usage.prompt_image,
        ),
        "completion_tokens_details": _present(
            reasoning_tokens=usage.reasoning,
            audio_tokens=usage.completion_audio,
            image_tokens=usage.completion_image,
        ),
        "cost": msgspec.Raw(usd_text(completion.cost_nanousd).encode()),
        "cost_nanousd": completion.cost_nanousd,
    }
    if completion.savings is not None:
        found["savings"] = savings_object(completion.savings)
    if usage.source is UsageSource.ESTIMATE:
        found["estimated"] = True
    return found


def savings_object(savings: Savings) -> JsonObject:
    """What an answer saved: numbers of dollars with all their digits, and of nano-USD."""
    found: JsonObject = {
        "saved": msgspec.Raw(usd_text(savings.saved_nanousd).encode()),
        "saved_nanousd": savings.saved_nanousd,
        "premium_model": savings.premium_model,
        "premium_nanousd": savings.premium_nanousd,
    }
    if savings.single_nanousd is not None:
        found["single_model"] = savings.single_model
        found["single_nanousd"] = savings.single_nanousd
    return found


def add_provenance(body: JsonObject, completion: ChatCompletion) -> None:
    """What the provider says of itself, where it does."""
    if completion.system_fingerprint is not None:
        body["system_fingerprint"] = completion.system_fingerprint
    if completion.service_tier is not None:
        body["service_tier"] = completion.service_tier


def reasoning_detail(block: ReasoningBlock, index: int) -> JsonObject:
    """A block of reasoning in OpenRouter's words; `index` is its place in the answer."""
    detail: JsonObject = {"type": f"reasoning.{block.kind}"}
    if block.kind == "encrypted":
        detail["data"] = block.data or ""
    elif block.kind == "summary":
        detail["summary"] = block.text
    else:
        detail["text"] = block.text
        detail["signature"] = block.signature
    detail["id"] = block.id
    detail["format"] = block.format
    detail["index"] = index
    if block.text_before or block.calls_before:
        detail["text_before"] = block.text_before
        detail["calls_before"] = block.calls_before
    return detail


def _choice(choice: Choice, hide_reasoning: bool) -> JsonObject:
    found: JsonObject = {
        "index": choice.index,
        "message": _message(choice.answer, hide_reasoning),
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish_reason,
    }
    if choice.stop_sequence is not None:
        found["stop_sequence"] = choice.stop_sequence
    return found


def _message(answer: Answer, hide_reasoning: bool) -> JsonObject:
    message: JsonObject = {
        "role": "assistant",
        "content": answer.text,
        "refusal": answer.refusal,
        "annotations": _NO_ANNOTATIONS if answer.annotations is None else answer.annotations,
    }
    if answer.reasoning is not None and not hide_reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.reasoning_blocks and not hide_reasoning:
        message["reasoning_details"] = [
            reasoning_detail(block, place) for place, block in enumerate(answer.reasoning_blocks)
        ]
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
