import base64
import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.chat import (
    AudioPart,
    ChatRequest,
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    Tool,
    ToolCall,
)
from omni_grpc.routing.prompts import prompt_tokens, prompt_upper_bound

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60)
parts = st.lists(
    st.one_of(
        st.builds(TextPart, text=texts),
        st.builds(RefusalPart, refusal=texts),
        st.builds(ImagePart, url=st.just("data:"), detail=st.sampled_from(["low", "high", None])),
    ),
    max_size=4,
).map(tuple)
calls = st.lists(st.builds(ToolCall, id=texts, name=texts, arguments_json=texts), max_size=2)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
    content=st.one_of(texts, parts, st.none()),
    name=st.one_of(st.none(), texts),
    tool_calls=calls.map(tuple),
    refusal=st.one_of(st.none(), texts),
    reasoning=st.one_of(st.none(), texts),
)
tools = st.builds(Tool, name=texts, description=texts, parameters_json=texts)


@given(st.lists(messages, min_size=1, max_size=5), st.lists(tools, max_size=3))
def test_no_count_is_above_the_bound_that_is_held_for(
    said: list[Message], offered: list[Tool]
) -> None:
    request = ChatRequest(model="m", messages=tuple(said), tools=tuple(offered))
    assert prompt_tokens(request, "gpt-4o") <= prompt_upper_bound(request)


def heard(content: bytes, kind: str) -> int:
    """What is held for audio in a prompt of nothing else."""
    part = AudioPart(data=base64.b64encode(content).decode(), format=kind)
    empty = ChatRequest(model="m", messages=(Message(role="user", content=()),))
    request = ChatRequest(model="m", messages=(Message(role="user", content=(part,)),))
    return prompt_upper_bound(request) - prompt_upper_bound(empty)


@pytest.mark.parametrize("rate", [100, 8_000, 44_100])
def test_a_recording_is_held_for_by_its_length_at_the_densest_scheme(rate: int) -> None:
    """Google counts 32 tokens a second, however few bytes a second has."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(rate)
        writer.writeframes(bytes(rate * 60))
    assert 60 * 32 <= heard(file.getvalue(), "wav") <= 62 * 40


def test_compressed_speech_is_held_for_at_the_lowest_rate_of_its_codecs() -> None:
    minute_at_8_kbit = b"\xff\xf3" + bytes(60_000 - 2)
    assert heard(minute_at_8_kbit, "mp3") >= 60 * 32
    broken = AudioPart(data="=" * 7, format="wav")
    request = ChatRequest(model="m", messages=(Message(role="user", content=(broken,)),))
    assert prompt_upper_bound(request) > 0


def test_what_a_provider_says_of_tools_in_its_own_prompt_is_held_for() -> None:
    """Anthropic adds 346 tokens to a prompt with tools, however short those are."""
    said = (Message(role="user", content="Hi"),)
    plain = ChatRequest(model="m", messages=said)
    armed = ChatRequest(model="m", messages=said, tools=(Tool(name="f"),))
    assert prompt_upper_bound(armed) - prompt_upper_bound(plain) >= 530
