"""The models that the simulator offers: data for its own table, `/v1/models` and the catalog.

Each is a name for a behaviour, written in the grammar that a caller can refine it with
(`behaviour.py`). Prices are made up, but of the size that small real models have.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from omni_grpc.core.money import Unit

__all__ = ("SIMULATED_MEDIA", "SIMULATED_MODELS", "SimulatedMedia", "SimulatedModel")


class SimulatedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model: what it does and the facts that a catalog wants.

    `id` is bare; its full name is `sim/<id>`. Prices are nano-USD per million tokens. `fault` is
    true for models that exist to go wrong.
    """

    id: str
    description: str
    behaviour: str = ""
    fault: bool = False
    context_tokens: int = 128_000
    output_tokens_max: int = 16_384
    inputs: tuple[str, ...] = ("text",)
    tools: bool = True
    structured: bool = True
    reasoning: bool = False
    prompt_nanousd_per_mtok: int = 150_000_000
    cached_read_nanousd_per_mtok: int = 75_000_000
    completion_nanousd_per_mtok: int = 600_000_000


def _model(model_id: str, behaviour: str, description: str) -> SimulatedModel:
    return SimulatedModel(id=model_id, behaviour=behaviour, description=description)


def _fault(model_id: str, behaviour: str, description: str) -> SimulatedModel:
    return SimulatedModel(id=model_id, behaviour=behaviour, description=description, fault=True)


_TALKERS = (
    SimulatedModel(
        id="demo",
        behaviour="style=demo,first_ms=250,delay_ms=33",
        description="says that it is simulated, names your topic, streams about 30 tokens/s",
        inputs=("text", "image"),
    ),
    _model("fast", "", "40 tokens of plain words, at once; `tokens=` for more or fewer"),
    _model("echo", "style=echo", "repeats the last user message, at once"),
    _model("slow", "delay_ms=50", "40 tokens, 20 tokens/s"),
    _model("burst", "tokens=100,burst", "100 tokens, the whole stream in one write"),
    _model("late", "first_ms=3000", "headers at once, the first token after 3 s"),
    _model("pause", "delay_ms=5,pause_after=5,pause_s=5", "stops for 5 s after 5 tokens"),
    _model("cached", "cached=50", "half of the prompt, rounded down, was read from a cache"),
    SimulatedModel(
        id="reasoner",
        behaviour="reasoning=24",
        description="24 tokens of reasoning before the answer, scaled by `reasoning_effort`",
        reasoning=True,
        prompt_nanousd_per_mtok=1_100_000_000,
        cached_read_nanousd_per_mtok=275_000_000,
        completion_nanousd_per_mtok=4_400_000_000,
    ),
    SimulatedModel(
        id="vision",
        description="takes images, audio and files, counts each as a fixed number of tokens",
        inputs=("text", "image", "audio", "file"),
        prompt_nanousd_per_mtok=2_500_000_000,
        cached_read_nanousd_per_mtok=1_250_000_000,
        completion_nanousd_per_mtok=10_000_000_000,
    ),
    SimulatedModel(
        id="small",
        behaviour="style=demo",
        description="says that it is simulated, at once; a context of 8,192 tokens and 1,024 of "
        "output; text only, no tools",
        context_tokens=8_192,
        output_tokens_max=1_024,
        tools=False,
        structured=False,
        prompt_nanousd_per_mtok=20_000_000,
        cached_read_nanousd_per_mtok=20_000_000,
        completion_nanousd_per_mtok=40_000_000,
    ),
    _model("empty", "tokens=0", "an answer without text"),
    _model("refusal", "refusal", "refuses, in the `refusal` field"),
    _model("bills-on", "bills_on", "bills the whole answer, also to a caller who left"),
    _model("filter", "finish=content_filter,tokens=8", "cut by a content filter after 8 tokens"),
)

_STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 500, 502, 503)
_REFUSERS = (
    *(_fault(f"error-{n}", f"status={n}", f"HTTP {n} instead of an answer") for n in _STATUSES),
    _fault("error-429", "status=429,retry_after_ms=1500", "HTTP 429, to be repeated after 1.5 s"),
    _fault(
        "error-quota",
        "status=429,error_code=insufficient_quota",
        "HTTP 429 that no repeat helps: the provider's own credits are gone",
    ),
)

_BREAKERS = (
    _fault("hang", "hang_after=request", "never answers, not even with headers"),
    _fault("hang-headers", "hang_after=headers", "headers, then nothing"),
    _fault("hang-mid", "hang_after=5", "5 tokens, then nothing"),
    _fault("error-mid", "error_after=5", "5 tokens, then an error event and no [DONE]"),
    _fault("cut", "cut=rst,cut_after=request", "connection reset before the headers"),
    _fault("cut-headers", "cut=rst,cut_after=headers", "reset after the headers"),
    _fault("cut-mid", "cut=rst,cut_after=5", "reset after 5 tokens"),
    _fault("cut-chunk", "cut=rst,cut_after=5,cut_inside", "reset in the middle of the 6th event"),
    _fault("fin", "cut=fin,cut_after=request", "connection closed in order before the headers"),
    _fault("fin-headers", "cut=fin,cut_after=headers", "closed in order after the headers"),
    _fault("fin-mid", "cut=fin,cut_after=5", "closed in order after 5 tokens"),
    _fault("fin-chunk", "cut=fin,cut_after=5,cut_inside", "closed in the middle of the 6th event"),
    _fault("truncated", "end_after=5", "5 tokens, then a proper end: no finish reason, no [DONE]"),
    _fault("no-done", "no_done", "all but the last line, `data: [DONE]`"),
)

_LIARS = (
    _fault("no-usage", "usage=none", "never reports usage"),
    _fault("usage-twice", "usage=twice", "reports the same usage twice"),
    _fault("usage-every", "usage=every", "reports usage so far in every chunk, asked or not"),
    _fault("usage-zero", "usage=zero", "reports zero for everything"),
    _fault("usage-over", "usage=over", "reports more output than max_tokens allowed"),
    _fault("no-limit", "no_limit", "pays no heed to max_tokens"),
    _fault("wrong-model", "as_model=gpt-0-sim", "says that another model answered"),
    _fault("bad-json", "bad_json_after=5", "the 6th event is broken JSON, then it goes on"),
    _fault("long-line", "long_line=262144", "the first event is one line of 256 KiB"),
    _fault("crlf", "crlf,comments", "CRLF line ends, and a comment before every event"),
)

SIMULATED_MODELS: Final[tuple[SimulatedModel, ...]] = (*_TALKERS, *_REFUSERS, *_BREAKERS, *_LIARS)
"""Every model of the simulator, those that answer well first."""


class SimulatedMedia(msgspec.Struct, frozen=True, kw_only=True):
    """One model that is no chat: `mode` is what it does, as the catalog names it.

    `model` is what it is said to be, where two names stand for the same. Prices are nano-USD per
    million of their unit: tokens, images, seconds, characters.
    """

    id: str
    mode: Literal["embedding", "image", "speech", "transcription", "moderation"]
    description: str
    rates: Mapping[Unit, int]
    model: str = ""
    behaviour: str = ""
    sees: bool = False


_EMBED_RATES: Final = {Unit.PROMPT: 20_000_000, Unit.COMPLETION: 0}

SIMULATED_MEDIA: Final[tuple[SimulatedMedia, ...]] = (
    SimulatedMedia(
        id="embed",
        mode="embedding",
        description="1,536 numbers an input, the same for the same text",
        rates=_EMBED_RATES,
    ),
    SimulatedMedia(
        id="embed-down",
        mode="embedding",
        model="embed",
        behaviour="status=503",
        description="the same model at a seller who is down",
        rates=_EMBED_RATES,
    ),
    SimulatedMedia(
        id="image",
        mode="image",
        description="small pictures, sold by the image",
        rates={Unit.IMAGE: 40_000_000_000_000},
    ),
    SimulatedMedia(
        id="image-tokens",
        mode="image",
        description="small pictures, sold by tokens; takes pictures too",
        rates={
            Unit.PROMPT: 5_000_000_000,
            Unit.PROMPT_IMAGE: 10_000_000_000,
            Unit.COMPLETION: 40_000_000_000,
        },
        sees=True,
    ),
    SimulatedMedia(
        id="voice",
        mode="speech",
        description="bytes in the place of speech, sold by the character",
        rates={Unit.CHARACTER: 15_000_000_000},
    ),
    SimulatedMedia(
        id="voice-tokens",
        mode="speech",
        description="the same, sold by tokens",
        rates={Unit.PROMPT: 600_000_000, Unit.COMPLETION: 12_000_000_000},
    ),
    SimulatedMedia(
        id="scribe",
        mode="transcription",
        description="prose in the place of what was said, sold by the second",
        rates={Unit.SECOND: 100_000_000_000},
    ),
    SimulatedMedia(
        id="scribe-tokens",
        mode="transcription",
        description="the same, sold by tokens",
        rates={
            Unit.PROMPT: 2_500_000_000,
            Unit.PROMPT_AUDIO: 6_000_000_000,
            Unit.COMPLETION: 10_000_000_000,
        },
    ),
    SimulatedMedia(
        id="moderator",
        mode="moderation",
        description="flags the word `forbidden`; free",
        rates={Unit.PROMPT: 0, Unit.COMPLETION: 0},
    ),
)
"""Every model of the simulator that is no chat."""
