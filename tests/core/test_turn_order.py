"""The order of a turn: every word, call and block once, and each block at its place."""

from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.chat import ImagePart, Message, ReasoningBlock, RefusalPart, TextPart, ToolCall
from omni_grpc.core.turn_order import Calls, Words, interleaved, is_text, turn_of, words_of


def block(chars: int = 0, calls: int = 0) -> ReasoningBlock:
    return ReasoningBlock(kind="text", format="f", text_before=chars, calls_before=calls)


BLOCKS = st.lists(st.builds(block, st.integers(0, 9), st.integers(0, 3)), max_size=5)


def test_blocks_that_say_nothing_stand_first() -> None:
    assert [*interleaved([block(), block()], Words(0, 3), Calls(0, 1))] == [
        block(), block(), Words(0, 3), Calls(0, 1),
    ]  # fmt: skip


def test_blocks_stand_between_words_and_calls() -> None:
    first, second, third = block(), block(2, 1), block(5, 1)
    assert [*interleaved([second, first, third], Words(0, 6), Calls(0, 2))] == [
        first, Words(0, 2), Calls(0, 1), second, Words(2, 5), third, Words(5, 6), Calls(1, 2),
    ]  # fmt: skip


@given(BLOCKS, st.integers(0, 6), st.integers(0, 2))
def test_nothing_is_lost_said_twice_or_out_of_order(
    blocks: list[ReasoningBlock], chars: int, calls: int
) -> None:
    said, called, found = [0], [0], []
    for item in interleaved(blocks, Words(0, chars), Calls(0, calls)):
        match item:
            case Words(start, end):
                assert said[-1] == start < end
                said.append(end)
            case Calls(start, end):
                assert called[-1] == start < end
                called.append(end)
            case one:
                assert said[-1] >= min(one.text_before, chars)
                assert called[-1] >= min(one.calls_before, calls)
                found.append(one)
    assert (said[-1], called[-1]) == (chars, calls)
    assert sorted(map(id, found)) == sorted(map(id, blocks))


def test_a_part_is_cut_and_its_mark_stays_at_its_end() -> None:
    parts = (TextPart(text="abc", cache="1h"), RefusalPart(refusal="no"), TextPart(text=""))
    assert [*words_of(parts, Words(0, 2))] == [TextPart(text="ab")]
    assert [*words_of(parts, Words(2, 4))] == [
        TextPart(text="c", cache="1h"), RefusalPart(refusal="n"),
    ]  # fmt: skip
    assert [*words_of(parts, Words(4, 9))] == [RefusalPart(refusal="o")]


def test_a_turn_is_told_in_its_order() -> None:
    message = Message(
        role="assistant",
        content="ab",
        refusal="no",
        tool_calls=(ToolCall(id="c", name="f", arguments_json="{}"),),
    )
    late = block(1)
    assert [*turn_of(message, [late])] == [
        (TextPart(text="a"),), late, (TextPart(text="b"), RefusalPart(refusal="no")), Calls(0, 1),
    ]  # fmt: skip
    assert [*turn_of(Message(role="assistant"), [late])] == [late]


def test_a_turn_of_words_is_one_without_media() -> None:
    assert is_text(None)
    assert is_text("a")
    assert is_text((TextPart(text="a"), RefusalPart(refusal="b")))
    assert not is_text((TextPart(text="a"), ImagePart(url="https://x/y")))
