"""The words of a chat, between the contract and the domain."""

from typing import Any

import pytest
from omni.router.v1 import router_service_pb2 as pb

from omni_grpc.core.chat import (
    OPTIONAL_FIELDS,
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    ChatStarted,
    Choice,
    FilePart,
    ImagePart,
    ReasoningBlock,
    SafetySetting,
    TextPart,
)
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.usage import Usage
from omni_grpc.grpc_api import chat_response
from omni_grpc.grpc_api.chat_request import chat_request

BLOCKS = (
    ReasoningBlock(kind="text", format="anthropic", text="hm", signature="s"),
    ReasoningBlock(
        kind="summary", format="responses", text="In short.", id="rs", text_before=2, calls_before=1
    ),
    ReasoningBlock(kind="encrypted", format="openai", data="d"),
)
WIRE = [
    pb.ReasoningBlock(
        kind=pb.REASONING_BLOCK_KIND_TEXT, format="anthropic", text="hm", signature="s"
    ),
    pb.ReasoningBlock(
        kind=pb.REASONING_BLOCK_KIND_SUMMARY,
        format="responses",
        text="In short.",
        id="rs",
        preceding_char_count=2,
        preceding_tool_call_count=1,
    ),
    pb.ReasoningBlock(kind=pb.REASONING_BLOCK_KIND_ENCRYPTED, format="openai", data="d"),
]
HI = pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text="Hi")])


def read(*messages: pb.Message, **fields: Any) -> ChatRequest:
    return chat_request(pb.ChatPrompt(model="m", messages=messages or [HI], **fields))


def refused(*messages: pb.Message, **fields: Any) -> str | None:
    with pytest.raises(FieldInvalid) as caught:
        read(*messages, **fields)
    return caught.value.field


def test_a_bare_prompt_asks_none_of_it() -> None:
    request = read()
    assert request.messages[0].content == "Hi"
    assert request.reasoning_budget is request.reasoning_summary is request.sampling.top_k is None
    assert request.safety == ()
    assert request.optional == frozenset()


def test_settings_are_read() -> None:
    request = read(
        reasoning_budget_token_count=2000,
        reasoning_summary=pb.REASONING_SUMMARY_CONCISE,
        safety_settings=[pb.SafetySetting(category="c", threshold="t")],
        optional_fields=sorted(OPTIONAL_FIELDS),
        sampling=pb.Sampling(top_k=40),
    )
    assert request.reasoning_budget == 2000
    assert request.reasoning_summary == "concise"
    assert request.safety == (SafetySetting(category="c", threshold="t"),)
    assert request.optional == OPTIONAL_FIELDS
    assert request.sampling.top_k == 40


def test_marks_are_read_on_parts_and_tools() -> None:
    message = pb.Message(
        role=pb.ROLE_USER,
        parts=[
            pb.Part(image=pb.Image(uri="data:,x"), cache_ttl=pb.CACHE_TTL_ONE_HOUR),
            pb.Part(file=pb.File(file_id="f"), cache_ttl=pb.CACHE_TTL_FIVE_MINUTES),
        ],
    )
    assert read(message).messages[0].content == (
        ImagePart(url="data:,x", cache="1h"),
        FilePart(file_id="f", cache="5m"),
    )
    alone = pb.Part(text="x", cache_ttl=pb.CACHE_TTL_FIVE_MINUTES)
    marked = pb.Message(role=pb.ROLE_USER, parts=[alone])
    assert read(marked).messages[0].content == (TextPart(text="x", cache="5m"),)
    tools = [pb.Tool(name="f", cache_ttl=pb.CACHE_TTL_ONE_HOUR)]
    assert read(tools=tools).tools[0].cache == "1h"


def test_files_are_named_in_one_way() -> None:
    def asked(part: pb.Part) -> pb.Message:
        return pb.Message(role=pb.ROLE_USER, parts=[part])

    def part_of(part: pb.Part) -> object:
        (found,) = read(asked(part)).messages[0].content or ()
        return found

    assert part_of(pb.Part(image=pb.Image(file_id="i", detail="low"))) == ImagePart(
        file_id="i", detail="low"
    )
    assert part_of(pb.Part(file=pb.File(uri="https://x/a.pdf", filename="a"))) == FilePart(
        file_url="https://x/a.pdf", filename="a"
    )
    for part, field in (
        (pb.Part(image=pb.Image()), "image.uri"),
        (pb.Part(image=pb.Image(uri="https://x/a", file_id="i")), "image"),
        (pb.Part(image=pb.Image(file_id="i\0")), "image.file_id"),
        (pb.Part(file=pb.File()), "file"),
        (pb.Part(file=pb.File(uri="https://x/a", file_id="i")), "file"),
        (pb.Part(file=pb.File(uri="file:///etc/passwd")), "file.uri"),
    ):
        assert refused(asked(part)) == f"prompt.messages[0].parts[0].{field}"


def test_blocks_of_reasoning_are_read_and_written_unchanged() -> None:
    said = pb.Message(role=pb.ROLE_ASSISTANT, parts=[pb.Part(text="x")], reasoning_blocks=WIRE)
    assert read(HI, said).messages[1].reasoning_blocks == BLOCKS
    delta = chat_response.delta(ChatDelta(reasoning_blocks=BLOCKS)).delta
    assert list(delta.reasoning_blocks) == WIRE


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reasoning_budget_token_count": 0}, "reasoning_budget_token_count"),
        ({"reasoning_summary": 99}, "reasoning_summary"),
        ({"safety_settings": [pb.SafetySetting(category="c")]}, "safety_settings[0].threshold"),
        ({"optional_fields": ["seed", "tools"]}, "optional_fields[1]"),
        ({"sampling": pb.Sampling(top_k=0)}, "sampling.top_k"),
        ({"tools": [pb.Tool(name="f", cache_ttl=99)]}, "tools[0].cache_ttl"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_by_name(fields: dict[str, Any], field: str) -> None:
    assert refused(**fields) == f"prompt.{field}"


@pytest.mark.parametrize(
    ("block", "field"),
    [
        (pb.ReasoningBlock(format="f", text="x"), "kind"),
        (pb.ReasoningBlock(kind=1, text="x"), "format"),
        (pb.ReasoningBlock(kind=1, format="f"), "text"),
        (pb.ReasoningBlock(kind=3, format="f", text="x"), "data"),
        (pb.ReasoningBlock(kind=1, format="f", text="x\0"), "text"),
        (
            pb.ReasoningBlock(kind=1, format="f", text="x", preceding_char_count=-1),
            "preceding_char_count",
        ),
    ],
)
def test_blocks_that_cannot_be_are_refused_by_name(block: pb.ReasoningBlock, field: str) -> None:
    said = pb.Message(role=pb.ROLE_ASSISTANT, parts=[pb.Part(text="x")], reasoning_blocks=[block])
    assert refused(HI, said) == f"prompt.messages[1].reasoning_blocks[0].{field}"


def test_blocks_belong_to_assistants_and_marks_to_what_can_be_kept() -> None:
    asked = pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text="x")], reasoning_blocks=WIRE)
    assert refused(asked) == "prompt.messages[0].reasoning_blocks"
    sound = pb.Part(audio=pb.Audio(data=b"x", format="wav"), cache_ttl=pb.CACHE_TTL_ONE_HOUR)
    heard = pb.Message(role=pb.ROLE_USER, parts=[sound])
    assert refused(heard) == "prompt.messages[0].parts[0].cache_ttl"


def test_answers_tell_stop_sequences_what_was_ignored_and_rare_counts() -> None:
    choice = Choice(
        index=0,
        answer=Answer(text="x", reasoning_blocks=BLOCKS),
        finish_reason="stop",
        stop_sequence="END",
    )
    done = ChatCompletion(
        call_id="c",
        model="sim/fast",
        create_time=1,
        choices=(choice,),
        usage=Usage(prompt=9, cached_write_1h=3, prompt_image=2, completion_image=0),
        attempts=(),
        cost_nanousd=1,
        balance_nanousd=None,
        ignored=("seed",),
    )
    told = chat_response.completion(done)
    assert list(told.ignored_fields) == ["seed"]
    assert told.choices[0].stop_sequence == "END"
    assert list(told.choices[0].message.reasoning_blocks) == WIRE
    assert told.usage.cached_write_1h_token_count == 3
    assert told.usage.prompt_image_token_count == 2
    assert told.usage.completion_image_token_count == 0
    assert told.usage.HasField("completion_image_token_count")
    begun = ChatStarted(
        call_id="c", model="m", create_time=1, output_tokens_max=1, ignored=("seed",)
    )
    assert list(chat_response.started(begun).started.ignored_fields) == ["seed"]
    end = chat_response.delta(ChatDelta(finish_reason="stop", stop_sequence="END")).delta
    assert end.stop_sequence == "END"


def test_a_tools_turn_says_that_it_failed_and_no_other_does() -> None:
    result: Any = {"role": pb.ROLE_TOOL, "parts": [pb.Part(text="gone")], "tool_call_id": "c"}
    assert read(pb.Message(**result, tool_failed=True)).messages[0].tool_failed
    assert not read(pb.Message(**result)).messages[0].tool_failed
    wrong = pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text="Hi")], tool_failed=True)
    assert refused(wrong) == "prompt.messages[0].tool_failed"
