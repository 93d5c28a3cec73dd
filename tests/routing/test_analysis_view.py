import msgspec
import pytest

from omni_grpc.core.chat import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    ResponseFormat,
    TextPart,
    Tool,
    ToolChoice,
)
from omni_grpc.routing.analysis import PromptView, view_of
from omni_grpc.routing.analysis.structure import structure
from omni_grpc.routing.analysis.view import EARLIER_CHARS_MAX, SYSTEM_CHARS_MAX, TEXT_CHARS_MAX


def chat(*messages: Message, tools: tuple[Tool, ...] = ()) -> ChatRequest:
    return ChatRequest(model="omni/auto", messages=messages, tools=tools)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def test_a_plain_prompt_is_encoded_as_it_stands() -> None:
    view = view_of(chat(user("What is a monad?")))
    assert view.text == view.user == "What is a monad?"
    assert (view.turns, view.user_chars) == (1, 16)


def test_a_long_prompt_keeps_its_head_and_its_tail() -> None:
    view = view_of(chat(user("a" * 5_000_000 + "b" * 5_000_000)))
    assert len(view.text) == TEXT_CHARS_MAX + 1
    assert view.text.startswith("aaa")
    assert view.text.endswith("bbb")
    assert view.user_chars == 10_000_000


def test_many_small_parts_are_cut_like_one_large() -> None:
    parts = tuple(TextPart(text=f"part {place:05d}") for place in range(20_000))
    view = view_of(chat(Message(role="user", content=parts)))
    assert view.user.startswith("part 00000\npart 00001\n")
    assert view.user.endswith("\npart 19998\npart 19999")
    assert len(view.user) <= TEXT_CHARS_MAX + 1


def test_system_and_earlier_turns_are_bounded_and_stand_before_a_short_turn() -> None:
    view = view_of(
        chat(
            Message(role="system", content="s" * 9_000),
            user("u" * 9_000),
            Message(role="assistant", content="a" * 9_000),
            user("and now shorter"),
        )
    )
    assert len(view.system) == SYSTEM_CHARS_MAX
    assert len(view.earlier) <= EARLIER_CHARS_MAX
    assert view.text.split("\n") == [
        "s" * SYSTEM_CHARS_MAX,
        "u" * 200,
        "a" * 199,
        "and now shorter",
    ]
    assert view.turns == 2


def test_a_long_turn_stands_on_its_own() -> None:
    view = view_of(chat(user("first"), user("long " * 100)))
    assert view.earlier == "first"
    assert view.text == "long " * 100


def test_tools_that_are_forbidden_do_not_count() -> None:
    tools = (Tool(name="get_weather", description="Weather of a city"),)
    offered = chat(user("hi"), tools=tools)
    forbidden = ChatRequest(
        model="omni/auto",
        messages=offered.messages,
        tools=tools,
        tool_choice=ToolChoice(mode="none"),
    )
    assert view_of(offered).tool_count == 1
    assert view_of(offered).tools == "get_weather Weather of a city"
    assert view_of(forbidden).tool_count == 0


def test_parts_and_forms_are_counted() -> None:
    picture = ImagePart(url="data:,")
    request = ChatRequest(
        model="omni/auto",
        messages=(
            Message(role="user", content=(picture, picture)),
            Message(role="assistant", content="Nice."),
            Message(
                role="user",
                content=(
                    TextPart(text="and these?"),
                    picture,
                    AudioPart(data="", format="wav"),
                    FilePart(file_id="f"),
                ),
            ),
            Message(role="tool", tool_call_id="1", content="{}"),
        ),
        response_format=ResponseFormat(kind="json_object"),
    )
    view = view_of(request)
    assert (view.images, view.images_before, view.audios, view.files) == (1, 2, 1, 1)
    assert view.tool_results == 1
    assert view.response_format == "json_object"


def test_a_conversation_without_a_user_is_read_from_its_last_message() -> None:
    assert view_of(chat(Message(role="assistant", content="Hm."))).user == "Hm."
    assert view_of(chat(Message(role="system", content="Only rules."))).user == ""
    assert view_of(chat()).text == ""


AROUND: list[tuple[str, object]] = [
    ("turns", 0),
    ("turns", 2),
    ("system", "Be brief."),
    ("earlier", "Who wrote Faust?"),
    ("tool_count", 1),
    ("tool_results", 1),
    ("images", 1),
    ("images_before", 1),
    ("audios", 1),
    ("files", 1),
    ("response_format", "json_schema"),
]


@pytest.mark.parametrize(("field", "value"), AROUND)
def test_whatever_surrounds_a_turn_is_seen(field: str, value: object) -> None:
    words = PromptView(text="In French?", user="In French?", user_chars=10)
    assert words.is_alone
    surrounded = msgspec.structs.replace(words, **{field: value})
    assert not surrounded.is_alone
    assert structure(surrounded) != structure(words)
