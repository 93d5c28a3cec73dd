"""What a model thought stays with its answer, and is counted once."""

import msgspec

from omni_grpc.catalog.tokens import count_text
from omni_grpc.completion.gathering import Gathering, deltas_of
from omni_grpc.completion.repeats import KeptAnswer
from omni_grpc.completion.tally import Tally
from omni_grpc.core.chat import (
    Answer,
    ChatCompletion,
    ChatDelta,
    ChatRequest,
    ChatStarted,
    Choice,
    Message,
    ReasoningBlock,
)
from omni_grpc.core.usage import Usage

TEXT = ReasoningBlock(kind="text", format="openai", text="I think so.", signature="s")
ENCRYPTED = ReasoningBlock(kind="encrypted", format="openai", data="ZW5j")
DELTAS = (
    ChatDelta(reasoning="I think"),
    ChatDelta(reasoning=" so.", reasoning_blocks=(TEXT,)),
    ChatDelta(text="Yes", reasoning_blocks=(ENCRYPTED,)),
    ChatDelta(finish_reason="stop", stop_sequence="END"),
)
CHOICE = Choice(
    index=0,
    answer=Answer(text="Yes", reasoning="I think so.", reasoning_blocks=(TEXT, ENCRYPTED)),
    finish_reason="stop",
    stop_sequence="END",
)


def test_a_gathered_answer_has_its_blocks_and_its_stop_sequence() -> None:
    gathering = Gathering()
    gathering.add(DELTAS)
    assert gathering.choices() == (CHOICE,)
    again = Gathering()
    again.add(deltas_of((CHOICE,)))
    assert again.choices() == (CHOICE,)


def test_a_kept_answer_tells_the_same_again() -> None:
    kept = KeptAnswer(
        ChatCompletion(
            call_id="c",
            model="sim/fast",
            create_time=1,
            choices=(CHOICE,),
            usage=Usage(prompt=1, completion=1),
            attempts=(),
            cost_nanousd=1,
            balance_nanousd=None,
            ignored=("seed",),
        ),
        100,
    )
    stored = msgspec.json.decode(msgspec.json.encode(kept), type=KeptAnswer)
    started, deltas, completion = stored.events()
    assert isinstance(started, ChatStarted)
    assert isinstance(completion, ChatCompletion)
    assert started.ignored == completion.ignored == ("seed",)
    assert deltas == (
        ChatDelta(
            text="Yes",
            reasoning="I think so.",
            reasoning_blocks=(TEXT, ENCRYPTED),
            finish_reason="stop",
            stop_sequence="END",
        ),
    )


async def test_blocks_are_not_counted_beside_the_reasoning_that_they_hold() -> None:
    request = ChatRequest(model="fast", messages=(Message(role="user", content="Hi"),))
    streamed, whole = Tally(request, "fast"), Tally(request, "fast")
    streamed.add(DELTAS)
    whole.add_choices((CHOICE,))
    for tally in (streamed, whole):
        usage = await tally.count()
        assert usage.reasoning == count_text("I think so.")
        assert usage.completion == usage.reasoning + count_text("Yes")
