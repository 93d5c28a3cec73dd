"""Writes a chat's events as messages of the contract."""

from typing import Final

from google.protobuf import timestamp_pb2
from omni.router.v1 import router_service_pb2 as pb

from omni_grpc.core.chat import (
    Answer,
    AttemptUsage,
    ChatCompletion,
    ChatDelta,
    ChatStarted,
    Choice,
    FinishReason,
    Logprobs,
    ReasoningBlock,
    Savings,
    TokenLogprob,
)
from omni_grpc.core.usage import Usage, UsageSource

_REASONS: Final[dict[FinishReason, "pb.FinishReason"]] = {
    "stop": pb.FINISH_REASON_STOP,
    "length": pb.FINISH_REASON_LENGTH,
    "tool_calls": pb.FINISH_REASON_TOOL_CALLS,
    "content_filter": pb.FINISH_REASON_CONTENT_FILTER,
}
_BLOCK_KINDS: Final = {
    "text": pb.REASONING_BLOCK_KIND_TEXT,
    "summary": pb.REASONING_BLOCK_KIND_SUMMARY,
    "encrypted": pb.REASONING_BLOCK_KIND_ENCRYPTED,
}
_SOURCES: Final = {
    UsageSource.PROVIDER: pb.USAGE_SOURCE_PROVIDER,
    UsageSource.ESTIMATE: pb.USAGE_SOURCE_ESTIMATE,
}


def started(event: ChatStarted) -> pb.StreamChatResponse:
    """The first event of a stream."""
    return pb.StreamChatResponse(
        started=pb.ChatStarted(
            call_id=event.call_id,
            model=event.model,
            max_output_token_count=event.output_tokens_max,
            create_time=timestamp_pb2.Timestamp(seconds=event.create_time),
            ignored_fields=event.ignored,
        )
    )


def delta(event: ChatDelta) -> pb.StreamChatResponse:
    """A piece of the answer."""
    piece = pb.ChatDelta(choice_index=event.choice_index, text=event.text)
    if event.refusal:
        piece.refusal = event.refusal
    if event.reasoning:
        piece.reasoning = event.reasoning
    for call in event.tool_calls:
        piece.tool_calls.add(
            tool_call_index=call.index,
            id=call.id or "",
            name=call.name or "",
            arguments_json=call.arguments_json,
        )
    if event.logprobs is not None:
        piece.logprobs.CopyFrom(_logprobs(event.logprobs))
    if event.finish_reason is not None:
        piece.finish_reason = _REASONS[event.finish_reason]
        if event.stop_sequence is not None:
            piece.stop_sequence = event.stop_sequence
    if event.reasoning_blocks:
        piece.reasoning_blocks.extend(_blocks(event.reasoning_blocks))
    return pb.StreamChatResponse(delta=piece)


def completion(event: ChatCompletion) -> pb.ChatCompletion:
    """The end of a call."""
    return pb.ChatCompletion(
        call_id=event.call_id,
        model=event.model,
        create_time=timestamp_pb2.Timestamp(seconds=event.create_time),
        choices=[_choice(choice) for choice in event.choices],
        usage=_usage(event.usage, event.attempts),
        cost_nanousd=event.cost_nanousd,
        balance_nanousd=event.balance_nanousd,
        system_fingerprint=event.system_fingerprint or "",
        ignored_fields=event.ignored or None,
        savings=None if event.savings is None else _savings(event.savings),
    )


def _savings(found: Savings) -> pb.Savings:
    return pb.Savings(
        premium_model=found.premium_model,
        premium_nanousd=found.premium_nanousd,
        saved_nanousd=found.saved_nanousd,
        single_model=found.single_model,
        single_nanousd=found.single_nanousd,
    )


def _choice(choice: Choice) -> pb.Choice:
    return pb.Choice(
        index=choice.index,
        message=_message(choice.answer),
        finish_reason=_REASONS[choice.finish_reason],
        logprobs=None if choice.logprobs is None else _logprobs(choice.logprobs),
        stop_sequence=choice.stop_sequence,
    )


def _message(answer: Answer) -> pb.Message:
    return pb.Message(
        role=pb.ROLE_ASSISTANT,
        parts=[pb.Part(text=answer.text)] if answer.text else None,
        tool_calls=[
            pb.ToolCall(id=call.id, name=call.name, arguments_json=call.arguments_json)
            for call in answer.tool_calls
        ],
        refusal=answer.refusal or "",
        reasoning=answer.reasoning or "",
        reasoning_blocks=_blocks(answer.reasoning_blocks) if answer.reasoning_blocks else None,
    )


def _blocks(blocks: tuple[ReasoningBlock, ...]) -> list[pb.ReasoningBlock]:
    return [
        pb.ReasoningBlock(
            kind=_BLOCK_KINDS[block.kind],
            format=block.format,
            text=block.text,
            signature=block.signature,
            data=block.data,
            id=block.id,
            preceding_char_count=block.text_before,
            preceding_tool_call_count=block.calls_before,
        )
        for block in blocks
    ]


def _logprobs(logprobs: Logprobs) -> pb.Logprobs:
    return pb.Logprobs(
        content=[_token(token) for token in logprobs.content or ()],
        refusal=[_token(token) for token in logprobs.refusal or ()],
    )


def _token(token: TokenLogprob) -> pb.TokenLogprob:
    return pb.TokenLogprob(
        token=token.token,
        logprob=token.logprob,
        token_bytes=bytes(token.bytes or ()),
        top_logprobs=[
            pb.TopLogprob(token=top.token, logprob=top.logprob, token_bytes=bytes(top.bytes or ()))
            for top in token.top_logprobs
        ],
    )


def _usage(usage: Usage, attempts: tuple[AttemptUsage, ...]) -> pb.Usage:
    return pb.Usage(
        prompt_token_count=usage.prompt,
        cached_read_token_count=usage.cached_read,
        cached_write_token_count=usage.cached_write,
        prompt_audio_token_count=usage.prompt_audio,
        completion_token_count=usage.completion,
        reasoning_token_count=usage.reasoning,
        completion_audio_token_count=usage.completion_audio,
        cached_write_1h_token_count=usage.cached_write_1h,
        prompt_image_token_count=usage.prompt_image,
        completion_image_token_count=usage.completion_image,
        source=_SOURCES[usage.source],
        attempts=[
            pb.AttemptUsage(
                model=attempt.model,
                outcome=attempt.outcome,
                cost_nanousd=attempt.cost_nanousd,
                price_version=attempt.price_version,
            )
            for attempt in attempts
        ],
    )
