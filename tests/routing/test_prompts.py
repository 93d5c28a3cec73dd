from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.chat import (
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
