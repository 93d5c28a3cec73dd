"""Counting an answer while it comes, and when it has come."""

import random
import time

import pytest

from omni_grpc.catalog.tokens import count_text
from omni_grpc.completion.tally import COUNTED_BYTES_MIN, QUICK_PROMPT_BYTES, Tally
from omni_grpc.core.chat import ChatDelta, ChatRequest, Message, ToolCallDelta
from omni_grpc.core.usage import Usage, UsageSource
from omni_grpc.routing import prompt_tokens

MODEL = "fast"
WORDS = ("The", " tide", " map", " über", " 東京", " и", " {", '"key"', " 🙂", "\n\n", " of", "x")


def request_of(prompt: str = "Hi") -> ChatRequest:
    return ChatRequest(model=MODEL, messages=(Message(role="user", content=prompt),))


def tally_of(*texts: str, prompt: str = "Hi") -> Tally:
    tally = Tally(request_of(prompt), MODEL)
    tally.add(ChatDelta(text=text) for text in texts)
    return tally


def words(count: int, seed: int = 7) -> list[str]:
    rng = random.Random(seed)
    return [rng.choice(WORDS) for _ in range(count)]


async def test_an_estimate_counts_the_texts_as_they_are_when_joined() -> None:
    pieces = words(500)
    tally = tally_of(*pieces)
    assert not tally.exceeds(10_000)
    await tally.so_far()  # counted on the way, which changes nothing
    usage = await tally.count()
    assert usage.completion == count_text("".join(pieces))
    assert usage.prompt == prompt_tokens(request_of(), MODEL)
    assert usage.source is UsageSource.ESTIMATE


@pytest.mark.parametrize("size", [1, 7, 40])
async def test_the_count_on_the_way_is_a_little_above_at_most(size: int) -> None:
    pieces = words(4_000)
    tally = Tally(request_of(), MODEL)
    for start in range(0, len(pieces), size):
        tally.add([ChatDelta(text="".join(pieces[start : start + size]))])
        tally.exceeds(1_000)
    true = count_text("".join(pieces))
    counted = (await tally.so_far()).completion
    assert counted is not None
    assert true <= counted <= true * 1.03


@pytest.mark.parametrize("limit", [1, 5, 50, 333, 2_000])
def test_a_limit_that_is_passed_is_seen_soon_and_never_too_early(limit: int) -> None:
    pieces = words(20_000, seed=limit)
    tally = Tally(request_of(), MODEL)
    came = ""
    for piece in pieces:
        came += piece
        tally.add([ChatDelta(text=piece)])
        if tally.exceeds(limit):
            break
        assert count_text(came) <= limit + COUNTED_BYTES_MIN
    assert count_text(came) > limit * 0.97


def test_what_is_far_below_its_limit_is_not_counted() -> None:
    tally = tally_of("a" * 1_000)
    assert not tally.exceeds(1_000)
    assert tally._completion == 0
    assert not tally.exceeds(999)
    assert tally._completion == count_text("a" * 1_000)


def test_watching_a_stream_costs_little_however_long_it_is() -> None:
    """A stream costs tens of microseconds a token; two hundredths of that may go to the count."""

    def seconds(tokens: int) -> float:
        tally = Tally(request_of(), MODEL)
        deltas = [(ChatDelta(text=" tide"),)] * tokens
        for delta in deltas:
            tally.add(delta)
        plain = Tally(request_of(), MODEL)
        began = time.process_time()
        for delta in deltas:
            plain.add(delta)
        added = time.process_time()
        watched = Tally(request_of(), MODEL)
        for delta in deltas:
            watched.add(delta)
            watched.exceeds(tokens)
        return (time.process_time() - added) - (added - began)

    few, many = (min(seconds(tokens) for _ in range(5)) for tokens in (10_000, 80_000))
    assert few / 10_000 < 1e-6
    assert many / 80_000 < 1e-6


async def test_reasoning_and_tool_calls_count_too() -> None:
    tally = Tally(request_of(), MODEL)
    tally.add(
        [
            ChatDelta(reasoning="I think"),
            ChatDelta(tool_calls=(ToolCallDelta(index=0, name="look", arguments_json='{"a":'),)),
            ChatDelta(reasoning=" so.", tool_calls=(ToolCallDelta(index=0, arguments_json="1}"),)),
        ]
    )
    usage = await tally.count()
    assert usage.reasoning == count_text("I think so.")
    assert usage.completion == usage.reasoning + count_text("look") + count_text('{"a":1}')
    assert (await tally.so_far()).reasoning == usage.reasoning


# --- what the provider left out ---------------------------------------------------------------
async def test_a_whole_report_is_taken_as_it_is() -> None:
    zero = Usage(prompt=0, completion=0)
    assert await tally_of("something").filled(zero) is zero


async def test_of_half_a_report_only_the_other_half_is_counted() -> None:
    tally = tally_of("one two three")
    found = await tally.filled(Usage(prompt=77, cached_read=7))
    assert (found.prompt, found.cached_read) == (77, 7)
    assert found.completion == count_text("one two three")
    assert found.source is UsageSource.ESTIMATE
    found = await tally.filled(Usage(completion=9, reasoning=4))
    assert (found.completion, found.reasoning) == (9, 4)
    assert found.prompt == prompt_tokens(request_of(), MODEL)
    assert found.source is UsageSource.ESTIMATE


# --- the cut ----------------------------------------------------------------------------------
def test_only_choices_without_an_end_are_ended() -> None:
    tally = Tally(request_of(), MODEL)
    tally.add(
        [
            ChatDelta(choice_index=2, text="a"),
            ChatDelta(choice_index=0, text="b"),
            ChatDelta(choice_index=1, text="c", finish_reason="stop"),
        ]
    )
    tally.exceeds(0)
    ends = [(delta.choice_index, delta.finish_reason) for delta in tally.cut()]
    assert ends == [(0, "length"), (2, "length")]


# --- the prompt -------------------------------------------------------------------------------
def test_a_short_prompt_is_counted_at_once_and_quickly() -> None:
    """About two hundred tokens: a journal's first word of an answer must not cost its latency."""
    prompt = " ".join(["The tide map of the old harbour"] * 28)
    assert 180 < count_text(prompt) < 220
    assert tally_of(prompt=prompt).is_quick
    request = request_of(prompt)
    took = []
    for _ in range(200):
        began = time.perf_counter()
        prompt_tokens(request, MODEL)
        took.append(time.perf_counter() - began)
    assert sorted(took)[len(took) // 2] < 200e-6


async def test_a_long_prompt_is_not_counted_at_once() -> None:
    tally = tally_of(prompt="a" * QUICK_PROMPT_BYTES)
    assert not tally.is_quick
    await tally.so_far()
    assert tally.is_quick
