"""Every dialect and every feature: what it says that it carries reaches a provider of that dialect.

Each cell of the table in docs/providers.md is one test here. When all of them passed, the table is
made of them and compared with the page; `scripts/provider-table` writes it there.
"""

import base64
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from pydantic import SecretStr

from omni_grpc.core.chat import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    RefusalPart,
    ResponseFormat,
    SafetySetting,
    Sampling,
    TextPart,
    Tool,
    ToolChoice,
)
from omni_grpc.providers import (
    ProviderCompletion,
    Providers,
    ProviderSettings,
    UpstreamCall,
    load_specs,
)
from omni_grpc.providers.features import Feature, Support
from omni_grpc.providers.registry import DIALECTS
from omni_grpc.simulator import Simulator

PAGE = Path(__file__).parents[2] / "docs" / "providers.md"
BEGIN, END = "<!-- the table of features: begin -->\n", "<!-- the table of features: end -->\n"


class Speaker(NamedTuple):
    """A provider of a dialect at the simulator."""

    provider: str
    base: str
    model: str
    variables: Mapping[str, str] = {}


SPEAKERS = {
    "openai": Speaker("every-openai", "/v1", "gpt-4o"),
    "responses": Speaker("every-responses", "/v1", "gpt-5"),
    "anthropic": Speaker("anthropic", "", "claude-opus-4-1"),
    "gemini": Speaker("google", "/v1beta", "gemini-2.5-pro"),
    "cohere": Speaker("cohere", "", "command-a-reasoning-08-2025"),
    "bedrock": Speaker(
        "amazon-bedrock",
        "",
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        {"region": "eu-west-1", "access_key": "AKIATEST", "secret_key": "s" * 40},
    ),
}
"""By dialect. Those of OpenAI are a provider that refuses nothing that its dialect can."""

PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
    )
).decode()
PDF = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
WAV = base64.b64encode(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(28)).decode()
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = Tool(name="look_up", description="Looks up.", parameters_json=json.dumps(SCHEMA))
Check = Callable[[Mapping[str, object], ProviderCompletion], bool]


class Scenario(NamedTuple):
    """A request that asks a feature, and how it shows that it arrived."""

    request: ChatRequest
    arrived: Check


def asks(*parts: object, **more: object) -> ChatRequest:
    return ChatRequest(
        model="m", messages=(Message(role="user", content=parts or "Say something."),), **more
    )


def saw(key: str, value: object = None) -> Check:
    def check(seen: Mapping[str, object], _: ProviderCompletion) -> bool:
        return bool(seen.get(key)) if value is None else seen.get(key) == value

    return check


def answered_with_json(_: Mapping[str, object], found: ProviderCompletion) -> bool:
    return isinstance(json.loads(found.choices[0].answer.text or ""), dict)


def called_the_tool(_: Mapping[str, object], found: ProviderCompletion) -> bool:
    return [call.name for call in found.choices[0].answer.tool_calls] == ["look_up"]


def reasoned(_: Mapping[str, object], found: ProviderCompletion) -> bool:
    return bool(found.choices[0].answer.reasoning)


TEXT = TextPart(text="What is this?")
SCENARIOS: dict[Feature, Scenario] = {
    Feature.SYSTEM: Scenario(
        ChatRequest(
            model="m",
            messages=(
                Message(role="system", content="Be brief."),
                Message(role="user", content="Hi"),
            ),
        ),
        lambda seen, _: "Be brief." in str(seen.get("system")),
    ),
    Feature.IMAGE_URL: Scenario(
        asks(TEXT, ImagePart(url="https://example.com/a.png")), saw("image_urls", 1)
    ),
    Feature.IMAGE_DATA: Scenario(
        asks(TEXT, ImagePart(url=f"data:image/png;base64,{PIXEL}")), saw("images", 1)
    ),
    Feature.IMAGE_ID: Scenario(asks(TEXT, ImagePart(file_id="files/one")), saw("image_ids", 1)),
    Feature.FILE_URL: Scenario(
        asks(TEXT, FilePart(file_url="https://example.com/a.pdf")), saw("file_urls", 1)
    ),
    Feature.AUDIO: Scenario(asks(TEXT, AudioPart(data=WAV, format="wav")), saw("audios", 1)),
    Feature.FILE_DATA: Scenario(
        asks(
            TEXT,
            FilePart(file_data=f"data:application/pdf;base64,{PDF}", filename="a.pdf"),
        ),
        saw("files", 1),
    ),
    Feature.FILE_ID: Scenario(
        asks(TEXT, FilePart(file_id="files/one")),
        # Google names files and pictures by the same field.
        lambda seen, _: seen.get("file_ids", seen.get("image_ids")) == 1,
    ),
    Feature.TOOLS: Scenario(asks(tools=(TOOL,)), saw("tools", ["look_up"])),
    Feature.PARALLEL_TOOLS: Scenario(
        asks(tools=(TOOL,), parallel_tool_calls=False), saw("parallel_tool_calls", False)
    ),
    Feature.FORCED_TOOL: Scenario(
        asks(tools=(TOOL,), tool_choice=ToolChoice(name="look_up")), called_the_tool
    ),
    Feature.STRICT_TOOLS: Scenario(
        asks(tools=(msgspec.structs.replace(TOOL, strict=True),)), saw("strict_tools", 1)
    ),
    Feature.JSON_OBJECT: Scenario(
        asks(response_format=ResponseFormat(kind="json_object")), answered_with_json
    ),
    Feature.JSON_SCHEMA: Scenario(
        asks(
            response_format=ResponseFormat(
                kind="json_schema", name="place", schema_json=json.dumps(SCHEMA), strict=True
            )
        ),
        lambda seen, found: (
            answered_with_json(seen, found)
            and "city" in json.loads(found.choices[0].answer.text or "")
        ),
    ),
    Feature.REASONING_EFFORT: Scenario(
        asks(TextPart(text="[sim reasoning=8]"), reasoning_effort="high"),
        lambda seen, _: bool(seen.get("reasoning_effort") or seen.get("reasoning_budget")),
    ),
    Feature.REASONING_BUDGET: Scenario(
        asks(TextPart(text="[sim reasoning=8]"), reasoning_budget=2048),
        saw("reasoning_budget", 2048),
    ),
    Feature.REASONING_SUMMARY: Scenario(
        asks(TextPart(text="[sim reasoning=8]"), reasoning_effort="high", reasoning_summary="auto"),
        reasoned,
    ),
    Feature.CACHE_MARKS: Scenario(
        asks(TextPart(text="Keep this.", cache="5m"), TEXT), saw("cache_marks", 1)
    ),
    Feature.SAMPLING: Scenario(asks(sampling=Sampling(temperature=0.5)), saw("temperature", 0.5)),
    Feature.TOP_K: Scenario(asks(sampling=Sampling(top_k=7)), saw("top_k", 7)),
    Feature.PENALTIES: Scenario(
        asks(sampling=Sampling(frequency_penalty=0.5, presence_penalty=0.25)),
        lambda seen, _: (
            (seen.get("frequency_penalty"), seen.get("presence_penalty")) == (0.5, 0.25)
        ),
    ),
    Feature.LOGIT_BIAS: Scenario(
        asks(sampling=Sampling(logit_bias={"50256": -100.0})), saw("logit_bias")
    ),
    Feature.SEED: Scenario(asks(sampling=Sampling(seed=7)), saw("seed", 7)),
    Feature.STOP: Scenario(asks(sampling=Sampling(stop=("qqq",))), saw("stop", ["qqq"])),
    Feature.LOGPROBS: Scenario(
        asks(sampling=Sampling(logprobs=True, top_logprobs=2)),
        lambda seen, found: bool(seen.get("logprobs")) and found.choices[0].logprobs is not None,
    ),
    Feature.CHOICES: Scenario(
        asks(sampling=Sampling(choice_count=2)),
        lambda seen, found: seen.get("n") == len(found.choices) == 2,
    ),
    Feature.SAFETY: Scenario(
        asks(
            safety=(
                SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_ONLY_HIGH"),
            )
        ),
        saw("safety_settings", 1),
    ),
}
OF_EARLIER_TURNS = (Feature.REASONING_CARRIED, Feature.REFUSALS, Feature.TOOL_FAILURES)
"""No demands of a request: each has a test of its own."""


# --- the cells --------------------------------------------------------------------------------
class Cell(NamedTuple):
    dialect: str
    feature: Feature

    def __str__(self) -> str:
        return f"{self.dialect}: {self.feature.value}"

    @property
    def support(self) -> Support:
        return DIALECTS[self.dialect]().support.get(self.feature, Support.REFUSED)


CELLS = [Cell(dialect, feature) for dialect in DIALECTS for feature in Feature]
_passed: set[Cell] = set()


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Compares the page with what passed, when every cell was tried."""
    _passed.clear()
    yield
    if _passed != set(CELLS):
        return  # some were not chosen, or failed by themselves
    lines = [
        "| | " + " | ".join(f"`{dialect}`" for dialect in DIALECTS) + " |",
        "|---" * (len(DIALECTS) + 1) + "|",
        *(
            f"| {feature.value} | "
            + " | ".join(Cell(dialect, feature).support.value for dialect in DIALECTS)
            + " |"
            for feature in Feature
        ),
    ]
    made = "\n".join(lines) + "\n"
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    wanted = head + BEGIN + made + END + tail
    if os.environ.get("OMNI_TEST_WRITE_TABLE"):
        PAGE.write_text(wanted)
        return
    assert text == wanted, "docs/providers.md has another table: run scripts/provider-table"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def providers(simulator: Simulator) -> AsyncIterator[Providers]:
    specs = {spec.id: spec for spec in load_specs()}
    for dialect in ("openai", "responses"):
        name = SPEAKERS[dialect].provider
        specs[name] = msgspec.structs.replace(
            specs["sim"], id=name, dialect=dialect, refuses=(), records=None
        )
    given = {
        one.provider: ProviderSettings(
            base_url=simulator.origin + one.base,
            api_key=SecretStr("k"),
            variables={name: SecretStr(value) for name, value in one.variables.items()},
        )
        for dialect, one in SPEAKERS.items()
        if dialect in DIALECTS
    }
    found = Providers(given, specs=tuple(specs.values()))
    await found.open()
    yield found
    await found.close()


def call_of(dialect: str, request: ChatRequest) -> UpstreamCall:
    return UpstreamCall(
        request=request,
        model=SPEAKERS[dialect].model,
        output_tokens_max=4096,
        call_id="0198-cell",
        seconds_left=20.0,
    )


@pytest.mark.parametrize(
    "cell", [cell for cell in CELLS if cell.feature not in OF_EARLIER_TURNS], ids=str
)
async def test_a_feature_is_carried_or_refused_as_the_table_says(
    providers: Providers, simulator: Simulator, cell: Cell
) -> None:
    request, arrived = SCENARIOS[cell.feature]
    name = SPEAKERS[cell.dialect].provider
    if cell.support is Support.REFUSED:
        refused = providers.get(name).refused(request)
        assert refused is not None
        assert refused.feature is cell.feature
    else:
        assert providers.refusal(name, request) is None
        found = await providers.get(name).complete(call_of(cell.dialect, request), lambda: None)
        (record,) = simulator.log
        assert arrived(record.seen, found), record.seen
    _passed.add(cell)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_reasoning_is_carried_back_into_the_next_turn(
    providers: Providers, simulator: Simulator, dialect: str
) -> None:
    cell = Cell(dialect, Feature.REASONING_CARRIED)
    provider = providers.get(SPEAKERS[dialect].provider)
    first = asks(
        TextPart(text="[sim reasoning=8] Please call look_up now."),
        tools=(TOOL,),
        **({} if dialect == "openai" else {"reasoning_budget": 2048})
        if DIALECTS[dialect]().support.get(Feature.REASONING_BUDGET) is not Support.REFUSED
        else {"reasoning_effort": "high"},
    )
    answer = (await provider.complete(call_of(dialect, first), lambda: None)).choices[0].answer
    (tool_call,) = answer.tool_calls
    assert answer.reasoning or answer.reasoning_blocks
    following = msgspec.structs.replace(
        first,
        messages=(
            *first.messages,
            Message(
                role="assistant",
                content=answer.text,
                reasoning=answer.reasoning,
                reasoning_blocks=answer.reasoning_blocks,
                tool_calls=answer.tool_calls,
            ),
            Message(role="tool", tool_call_id=tool_call.id, content="Found it."),
        ),
    )
    found = await provider.complete(call_of(dialect, following), lambda: None)
    assert found.choices[0].answer.text
    if cell.support is not Support.REFUSED:
        seen = simulator.log[-1].seen
        assert seen.get("reasoning_blocks"), seen
    _passed.add(cell)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_refusal_of_an_earlier_turn_is_read_in_the_next(
    providers: Providers, simulator: Simulator, dialect: str
) -> None:
    cell = Cell(dialect, Feature.REFUSALS)
    provider = providers.get(SPEAKERS[dialect].provider)
    read: list[int] = []
    for refusal in ("No.", "No, and I will not say why, not today and not tomorrow."):
        request = ChatRequest(
            model="m",
            messages=(
                Message(role="user", content="Do it."),
                Message(role="assistant", content=(RefusalPart(refusal=refusal),)),
                Message(role="user", content="Then do this."),
            ),
        )
        assert provider.refused(request) is None
        await provider.complete(call_of(dialect, request), lambda: None)
        read.append(simulator.log[-1].prompt_tokens)
    assert read[1] > read[0] + 8  # all of it was read, as a refusal or as text
    if cell.support is Support.NATIVE:
        assert simulator.log[-1].seen.get("refusals") == 1
    _passed.add(cell)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_model_reads_that_a_tool_failed(
    providers: Providers, simulator: Simulator, dialect: str
) -> None:
    cell = Cell(dialect, Feature.TOOL_FAILURES)
    provider = providers.get(SPEAKERS[dialect].provider)
    request = asks(
        TextPart(text="Please call look_up now."), TextPart(text="Call look_up."), tools=(TOOL,)
    )
    answer = (await provider.complete(call_of(dialect, request), lambda: None)).choices[0].answer
    results = tuple(
        Message(
            role="tool", tool_call_id=call.id, content=f"Gone {place}.", tool_failed=bool(place)
        )
        for place, call in enumerate(answer.tool_calls)
    )
    assert len(results) == 2
    turn = Message(
        role="assistant",
        content=answer.text,
        reasoning_blocks=answer.reasoning_blocks,
        tool_calls=answer.tool_calls,
    )
    following = msgspec.structs.replace(request, messages=(*request.messages, turn, *results))
    assert provider.refused(following) is None
    found = await provider.complete(call_of(dialect, following), lambda: None)
    seen, said = simulator.log[-1].seen, found.choices[0].answer.text or ""
    assert seen.get("tool_results") == 2
    assert "Gone 0." in said
    assert "Error: Gone 0." not in said
    if cell.support is Support.NATIVE:
        assert seen.get("failed_tool_results") == 1
        assert "Error:" not in said
    else:
        assert "Error: Gone 1." in said
    _passed.add(cell)
