"""The words of a chat: what a caller asks, what streams back, and how it ends.

Both transports convert into these and out of them, and each provider dialect encodes and decodes
them, so no wire format is known to more than one file. JSON inside (schemas, tool arguments)
stays text exactly as it was written. Everything is frozen.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

import msgspec

from omni_grpc.core.task import Task
from omni_grpc.core.usage import Usage

Role = Literal["system", "developer", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
ToolMode = Literal["auto", "none", "required"]
CacheTtl = Literal["5m", "1h"]
"""How long a provider shall keep the prompt up to a mark."""
ReasoningSummary = Literal["auto", "concise", "detailed"]


# --- what is asked ----------------------------------------------------------------------------
class TextPart(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """Plain text. `cache` marks the end of a prefix that the provider shall keep."""

    text: str
    cache: CacheTtl | None = None


class ImagePart(msgspec.Struct, frozen=True, kw_only=True, tag="image"):
    """An image by URL or data URL, or by the provider's id of a file. `cache` as in text."""

    url: str = ""
    detail: str | None = None
    cache: CacheTtl | None = None
    file_id: str | None = None


class AudioPart(msgspec.Struct, frozen=True, kw_only=True, tag="audio"):
    """Audio, base64, in `format` (wav, mp3)."""

    data: str
    format: str


class FilePart(msgspec.Struct, frozen=True, kw_only=True, tag="file"):
    """A file, by the provider's id, by URL, or inline as a data URL. `cache` as in text."""

    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None
    cache: CacheTtl | None = None
    file_url: str | None = None


class RefusalPart(msgspec.Struct, frozen=True, kw_only=True, tag="refusal"):
    """What an assistant said when it refused, carried back in a conversation."""

    refusal: str


Part = TextPart | ImagePart | AudioPart | FilePart | RefusalPart


class ReasoningBlock(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a model's reasoning that must go back to it whole in the next turn.

    `text` is the reasoning or its summary, `signature` the provider's proof that it is its own,
    `data` what only the provider can read. `id` is the provider's name of the block, or the tool
    call that it belongs to. `format` is the dialect that made it: no other may be sent it.
    `text_before` characters of its turn's text, and `calls_before` of its calls, came before it.
    """

    kind: Literal["text", "summary", "encrypted"]
    format: str
    text: str = ""
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    text_before: int = 0
    calls_before: int = 0


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model makes; `arguments_json` exactly as the model wrote it."""

    id: str
    name: str
    arguments_json: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn. `content` is text, parts, or nothing (an assistant's turn of tool calls).

    `reasoning_blocks` are in the order in which the model gave them; each says where it stood.
    `tool_failed` says of a tool's turn that it tells an error in place of a result.
    """

    role: Role
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_blocks: tuple[ReasoningBlock, ...] = ()
    tool_failed: bool = False


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call; `parameters_json` is its JSON Schema.

    `cache` marks the end of the tools that the provider shall keep.
    """

    name: str
    description: str | None = None
    parameters_json: str | None = None
    strict: bool | None = None
    cache: CacheTtl | None = None


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """How tools may be used: a mode, or one tool by name."""

    mode: ToolMode | None = None
    name: str | None = None


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the answer; `schema_json` where the kind is `json_schema`."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema_json: str | None = None
    strict: bool | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are drawn. None leaves it to the provider."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    choice_count: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: Mapping[str, float] | None = None


class SafetySetting(msgspec.Struct, frozen=True, kw_only=True):
    """From which degree on a kind of content is blocked, in Google's words for both."""

    category: str
    threshold: str


class ShortCredits(StrEnum):
    """What to do when the credits do not cover the worst case."""

    REFUSE = "refuse"
    SHORTEN = "shorten"


NO_SAMPLING = Sampling()


class Priority(StrEnum):
    """What a caller wants of routing most."""

    CHEAP = "cheap"
    BALANCED = "balanced"
    BEST = "best"


class LatencyPreference(StrEnum):
    """How much speed matters."""

    NORMAL = "normal"
    FAST = "fast"


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """How a caller wants a request to be routed; None and empty leave it to policies.

    Attributes:
        priority: what matters most; the names `omni/cheap`, ... say the same.
        latency: how much speed matters.
        cost_max_nanousd: no attempt may cost more: answers are cut where they would.
        providers: only these may be chosen; empty is all.
        providers_denied: never these.
        models: only these models or offers may be chosen; empty is all.
        models_denied: never these.
        fallbacks: models to try after the first, in order, in place of the router's own.
        region: only offers that keep data there, such as `eu`.
        task: what the request is about, where its caller knows better than the analysis.
    """

    priority: Priority | None = None
    latency: LatencyPreference | None = None
    cost_max_nanousd: int | None = None
    providers: tuple[str, ...] = ()
    providers_denied: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    models_denied: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    region: str | None = None
    task: Task | None = None


NO_PREFERENCES = Preferences()


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One chat, as any transport received it.

    `reasoning_budget` is in tokens, part of the output. `optional` names fields that are left out,
    and told, where a provider cannot do them; others are refused. `end_user` and `tags` attribute
    the call in usage reports; no provider is sent them. `extra` holds top-level fields
    of the OpenAI dialect that this service does not know, as raw JSON: they go untouched to a
    provider of that dialect.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    sampling: Sampling = NO_SAMPLING
    reasoning_effort: str | None = None
    reasoning_budget: int | None = None
    reasoning_summary: ReasoningSummary | None = None
    safety: tuple[SafetySetting, ...] = ()
    optional: frozenset[str] = frozenset()
    output_tokens_max: int | None = None
    short_credits: ShortCredits = ShortCredits.REFUSE
    preferences: Preferences = NO_PREFERENCES
    end_user: str = ""
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    extra: Mapping[str, msgspec.Raw] = msgspec.field(default_factory=dict)


OPTIONAL_FIELDS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        "seed",
        "stop",
        "logprobs",
        "parallel_tool_calls",
        "reasoning_effort",
        "reasoning_budget",
        "reasoning_summary",
        "safety_settings",
    }
)
"""What `ChatRequest.optional` may name: settings. Content is never left out."""


# --- what streams back ------------------------------------------------------------------------
class TopLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """A token that could have stood there."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """A token of the answer with its log probability."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top_logprobs: tuple[TopLogprob, ...] = ()


class Logprobs(msgspec.Struct, frozen=True, kw_only=True):
    """Log probabilities of an answer's tokens, or of a refusal's."""

    content: tuple[TokenLogprob, ...] | None = None
    refusal: tuple[TokenLogprob, ...] | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A fragment of a tool call: `id` and `name` stand in its first fragment only."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments_json: str = ""


class ChatDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of one choice. Concatenating the pieces yields the answer.

    `finish_reason` stands in a choice's last delta only; `stop_sequence`, beside it, is the one of
    the request's that ended the answer, where the provider says so. `reasoning_blocks` are whole.
    """

    choice_index: int = 0
    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None
    stop_sequence: str | None = None
    reasoning_blocks: tuple[ReasoningBlock, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The message of one choice, whole."""

    text: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_blocks: tuple[ReasoningBlock, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    annotations: msgspec.Raw | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One of the answers."""

    index: int
    answer: Answer
    finish_reason: FinishReason
    logprobs: Logprobs | None = None
    stop_sequence: str | None = None


class ChatStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The first event of a stream: a provider has begun to answer.

    `ignored` names the fields of the request that the provider was not sent.
    """

    call_id: str
    model: str
    create_time: int
    output_tokens_max: int
    ignored: tuple[str, ...] = ()


class AttemptUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt used and cost."""

    model: str
    outcome: str
    usage: Usage
    cost_nanousd: int
    price_version: int


class Savings(msgspec.Struct, frozen=True, kw_only=True):
    """What the same tokens would have cost with another model, and what was saved by not using it.

    Amounts are nano-USD with the markup; negative savings are a loss. `single_*` compares with the
    best single model for the task; it is empty where none is known.
    """

    premium_model: str
    premium_nanousd: int
    saved_nanousd: int
    single_model: str = ""
    single_nanousd: int | None = None


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """How a call ended: exactly one, after its cost is settled.

    `savings` is None where no premium model is configured, or a named model was asked for.
    In a stream `choices` is empty, since the deltas carried them. `model` names `provider/model`.
    `balance_nanousd` is what the account can still spend, None while the ledger does not answer.
    """

    call_id: str
    model: str
    create_time: int
    choices: tuple[Choice, ...]
    usage: Usage
    attempts: tuple[AttemptUsage, ...]
    cost_nanousd: int
    balance_nanousd: int | None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    ignored: tuple[str, ...] = ()
    savings: Savings | None = None
    warnings: tuple[str, ...] = ()
