from datetime import UTC, datetime

import pytest
from client_fake_service import (
    COST_NANOUSD,
    answers,
    completed,
    completion,
    delta,
    fails,
    hangs,
    started,
    streams,
)
from grpc import StatusCode
from omni.router.v1 import router_service_pb2 as pb
from omni_grpc_client import (
    Cancelled,
    CreditsHeld,
    Internal,
    Message,
    ReasoningBlock,
    Tool,
    ToolCall,
    Unavailable,
    tool_result,
    user,
)

MODEL = "openai/gpt-4o-mini"


async def test_a_chat_answers_with_text_usage_and_cost(omni, service):
    answer = await omni.chat(MODEL, "Say hello")
    assert answer.text == "Hello, you!"
    assert answer.finish_reason == "stop"
    assert answer.cost_nanousd == COST_NANOUSD
    assert answer.balance_nanousd == 5_000_000_000
    assert answer.model == MODEL
    assert answer.call_id == "call_1"
    assert answer.create_time == datetime.fromtimestamp(1_750_000_000, UTC)
    assert answer.usage.prompt_tokens == 9
    assert answer.usage.completion_tokens == 3
    assert answer.usage.source == "provider"
    assert answer.usage.attempts[0].price_version == 7
    assert answer.raw.system_fingerprint == answer.system_fingerprint == "fp_1"
    (prompt,) = [request.prompt for request in service.requests("CompleteChat")]
    assert prompt == pb.ChatPrompt(
        model=MODEL,
        messages=[pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text="Say hello")])],
        sampling=pb.Sampling(),
    )


async def test_a_count_that_is_not_known_is_none_and_zero_is_zero(omni):
    usage = (await omni.chat(MODEL, "hi")).usage
    assert usage.cached_read_tokens == 0
    assert usage.reasoning_tokens is None


async def test_a_balance_that_is_not_known_is_none(omni, service):
    done = completion()
    done.ClearField("balance_nanousd")
    service.script("CompleteChat", answers(pb.CompleteChatResponse(completion=done)))
    assert (await omni.chat(MODEL, "hi")).balance_nanousd is None


async def test_every_choice_comes_with_its_own_end(omni, service):
    choices = [
        pb.Choice(
            index=0,
            message=pb.Message(parts=[pb.Part(text="a"), pb.Part(text="b")], reasoning="hm"),
            finish_reason=pb.FINISH_REASON_LENGTH,
        ),
        pb.Choice(
            index=1,
            message=pb.Message(refusal="no"),
            finish_reason=pb.FINISH_REASON_CONTENT_FILTER,
        ),
        pb.Choice(index=2, finish_reason=77),
    ]
    done = pb.CompleteChatResponse(completion=completion(choices=choices))
    service.script("CompleteChat", answers(done))
    answer = await omni.chat(MODEL, "hi", n=3)
    assert [choice.finish_reason for choice in answer.choices] == [
        "length",
        "content_filter",
        "unknown_77",
    ]
    assert (answer.text, answer.reasoning, answer.choices[1].refusal) == ("ab", "hm", "no")


async def test_log_probabilities_are_read_with_their_alternatives(omni, service):
    logprobs = pb.Logprobs(
        content=[
            pb.TokenLogprob(
                token="hi",
                logprob=-0.5,
                token_bytes=b"hi",
                top_logprobs=[pb.TopLogprob(token="ho", logprob=-1.5)],
            )
        ]
    )
    done = completion(choices=[pb.Choice(logprobs=logprobs)])
    service.script("CompleteChat", answers(pb.CompleteChatResponse(completion=done)))
    answer = await omni.chat(MODEL, "hi", logprobs=True, top_logprobs=1)
    token = answer.choices[0].logprobs.content[0]
    assert (token.token, token.logprob, token.token_bytes) == ("hi", -0.5, b"hi")
    assert (token.top_logprobs[0].token, token.top_logprobs[0].logprob) == ("ho", -1.5)


async def test_an_answer_goes_on_the_conversation_with_its_tool_calls(omni, service):
    weather = Tool("weather", parameters={"type": "object"})
    question = user("How is it in Paris?")
    answer = await omni.chat(MODEL, question, tools=[weather])
    (call,) = answer.tool_calls
    assert answer.finish_reason == "tool_calls"
    assert call.arguments() == {"city": "Paris"}
    conversation = [question, answer.message, tool_result(call, "21 degrees")]
    answer = await omni.chat(MODEL, conversation, tools=[weather])
    assert answer.text == "It is 21 degrees in Paris."
    sent = service.requests("CompleteChat")[1].prompt.messages
    assert sent[1] == pb.Message(
        role=pb.ROLE_ASSISTANT,
        tool_calls=[pb.ToolCall(id="tool_1", name="weather", arguments_json='{"city": "Paris"}')],
    )
    assert sent[2].tool_call_id == "tool_1"


async def test_a_stream_yields_pieces_and_ends_with_the_whole(omni):
    async with omni.stream_chat("omni/auto", "Say hello") as stream:
        assert stream.started.call_id == "call_1"
        assert stream.started.max_output_tokens == 4096
        pieces = [piece async for piece in stream]
        assert [piece.text for piece in pieces] == ["Hello,", " ", "you!", ""]
        assert pieces[-1].finish_reason == "stop"
        assert stream.completion.cost_nanousd == COST_NANOUSD
        assert stream.completion.text == stream.answer.text == "Hello, you!"
        assert stream.completion.finish_reason == "stop"
        assert [piece async for piece in stream] == []


async def test_what_a_stream_has_so_far_can_be_read_between_pieces(omni):
    async with omni.stream_chat(MODEL, "Say hello") as stream:
        seen = [stream.answer.text async for _ in stream]
    assert seen == ["Hello,", "Hello, ", "Hello, you!", "Hello, you!"]


async def test_result_reads_a_stream_to_its_end(omni):
    async with omni.stream_chat(MODEL, "Say hello") as stream:
        whole = await stream.result()
    assert whole.text == "Hello, you!"
    assert whole == stream.completion


async def test_a_stream_puts_interleaved_choices_and_tool_calls_together(omni, service):
    def fragment(index: int, arguments: str, **names: str) -> pb.ToolCallDelta:
        return pb.ToolCallDelta(tool_call_index=index, arguments_json=arguments, **names)

    token = pb.TokenLogprob(token="x", logprob=-1.0)
    service.script(
        "StreamChat",
        streams(
            started(),
            delta(choice_index=1, reasoning="hm", tool_calls=[fragment(1, "", id="t1", name="b")]),
            delta("first", logprobs=pb.Logprobs(content=[token])),
            delta(choice_index=1, tool_calls=[fragment(0, '{"a"', id="t0", name="a")]),
            delta(choice_index=1, tool_calls=[fragment(1, "{}"), fragment(0, ":1}")]),
            delta(" answer", logprobs=pb.Logprobs(content=[token], refusal=[token])),
            delta(refusal="no", finish_reason=pb.FINISH_REASON_STOP),
            delta(choice_index=1, finish_reason=pb.FINISH_REASON_TOOL_CALLS),
            completed(),
        ),
    )
    async with omni.stream_chat(MODEL, "go", n=2) as stream:
        whole = await stream.result()
    first, second = whole.choices
    assert (first.text, first.refusal, first.finish_reason) == ("first answer", "no", "stop")
    assert [len(first.logprobs.content), len(first.logprobs.refusal)] == [2, 1]
    assert second.tool_calls == (ToolCall("t0", "a", '{"a":1}'), ToolCall("t1", "b", "{}"))
    assert (second.reasoning, second.finish_reason) == ("hm", "tool_calls")
    assert second.logprobs is None


async def test_a_refusal_is_raised_when_the_stream_is_entered(omni, service):
    service.script("StreamChat", fails(StatusCode.RESOURCE_EXHAUSTED, "CREDITS_HELD"))
    with pytest.raises(CreditsHeld):
        async with omni.stream_chat(MODEL, "hi"):
            pytest.fail("the stream must not start")


async def test_what_came_before_a_failure_stays_and_the_error_names_the_call(omni, service):
    then = fails(StatusCode.UNAVAILABLE, message="the provider went away")
    service.script("StreamChat", streams(started(), delta("Hel"), then=then))
    async with omni.stream_chat(MODEL, "hi") as stream:
        with pytest.raises(Unavailable) as caught:
            await stream.result()
        assert stream.answer.text == "Hel"
        with pytest.raises(RuntimeError, match="no completion"):
            _ = stream.completion
    assert caught.value.call_id == "call_1"
    assert caught.value.charged_nanousd is None
    assert (await omni.usage(caught.value.call_id)).cost_nanousd == COST_NANOUSD


@pytest.mark.parametrize("events", [(), (delta("x"),), (completed(),)])
async def test_a_stream_that_does_not_begin_with_its_start_is_a_fault(omni, service, events):
    service.script("StreamChat", streams(*events))
    with pytest.raises(Internal, match="did not begin"):
        async with omni.stream_chat(MODEL, "hi"):
            pytest.fail("the stream must not start")


async def test_a_stream_that_ends_without_completion_is_a_fault(omni, service):
    service.script("StreamChat", streams(started(), delta("x")))
    async with omni.stream_chat(MODEL, "hi") as stream:
        with pytest.raises(Internal, match="no completion") as caught:
            await stream.result()
    assert caught.value.call_id == "call_1"


async def test_an_event_of_a_newer_service_is_passed_over(omni, service):
    service.script(
        "StreamChat", streams(started(), pb.StreamChatResponse(), delta("x"), completed())
    )
    async with omni.stream_chat(MODEL, "hi") as stream:
        assert [piece.text async for piece in stream] == ["x"]


async def test_leaving_a_stream_early_cancels_the_call(omni, service):
    service.script("StreamChat", streams(started(), delta("x"), then=hangs))
    async with omni.stream_chat(MODEL, "hi") as stream:
        async for _ in stream:
            break
    await service.cancelled.wait()
    with pytest.raises(Cancelled) as caught:
        await stream.result()
    assert caught.value.call_id == "call_1"


async def test_an_exception_in_the_body_cancels_the_call(omni, service):
    service.script("StreamChat", streams(started(), then=hangs))
    with pytest.raises(ZeroDivisionError):
        async with omni.stream_chat(MODEL, "hi"):
            _ = 1 / 0
    await service.cancelled.wait()


async def test_a_stream_must_be_entered_and_only_once(omni):
    stream = omni.stream_chat(MODEL, "hi")
    with pytest.raises(RuntimeError, match="enter"):
        await stream.result()
    with pytest.raises(RuntimeError, match="has not started"):
        _ = stream.started
    async with stream:
        pass
    with pytest.raises(RuntimeError, match="once"):
        async with stream:
            pytest.fail("the stream must not start again")


async def test_an_assistant_turn_of_an_empty_answer_has_no_parts(omni, service):
    done = completion(choices=[])
    service.script("CompleteChat", answers(pb.CompleteChatResponse(completion=done)))
    answer = await omni.chat(MODEL, "hi")
    assert answer.text == ""
    assert answer.message == Message(role="assistant")


BLOCKS = [
    pb.ReasoningBlock(kind=pb.REASONING_BLOCK_KIND_TEXT, format="f", text="t", signature="s"),
    pb.ReasoningBlock(kind=pb.REASONING_BLOCK_KIND_ENCRYPTED, format="f", data="d", id="i"),
]
THOUGHT = (
    ReasoningBlock(kind="text", format="f", text="t", signature="s"),
    ReasoningBlock(kind="encrypted", format="f", data="d", id="i"),
)


async def test_blocks_of_reasoning_come_with_the_answer_and_go_back_with_its_message(omni, service):
    choice = pb.Choice(
        message=pb.Message(role=pb.ROLE_ASSISTANT, reasoning_blocks=BLOCKS),
        finish_reason=pb.FINISH_REASON_STOP,
        stop_sequence="END",
    )
    done = completion(choices=[choice], ignored_fields=["seed"])
    service.script("CompleteChat", answers(pb.CompleteChatResponse(completion=done)))
    answer = await omni.chat(MODEL, "Hi")
    (said,) = answer.choices
    assert (said.reasoning_blocks, said.stop_sequence) == (THOUGHT, "END")
    assert answer.ignored == ("seed",)
    await omni.chat(MODEL, [user("Hi"), answer.message, user("Go on")])
    sent = service.requests("CompleteChat")[-1].prompt.messages[1]
    assert list(sent.reasoning_blocks) == BLOCKS


async def test_a_stream_gathers_blocks_of_reasoning(omni, service):
    service.script(
        "StreamChat",
        streams(
            started(ignored_fields=["seed"]),
            delta(reasoning_blocks=BLOCKS[:1]),
            delta("Hi", reasoning_blocks=BLOCKS[1:]),
            delta(finish_reason=pb.FINISH_REASON_STOP, stop_sequence="END"),
            completed(ignored_fields=["seed"]),
        ),
    )
    async with omni.stream_chat(MODEL, "Hi") as stream:
        assert stream.started.ignored == ("seed",)
        pieces = [piece.reasoning_blocks async for piece in stream]
    assert pieces == [THOUGHT[:1], THOUGHT[1:], ()]
    (said,) = stream.completion.choices
    assert (said.reasoning_blocks, said.stop_sequence) == (THOUGHT, "END")
    assert stream.completion.message.reasoning_blocks == THOUGHT
