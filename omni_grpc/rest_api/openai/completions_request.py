"""From the body of `POST /v1/completions` to the domain's ChatRequest: the prompt is a user's turn.

Chats cannot do all that the older API could: what they cannot is refused by name.
"""

from typing import Annotated, Final

import msgspec

from omni_grpc.core.chat import ChatRequest, Message, Sampling
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid
from omni_grpc.core.limits import CHOICE_COUNT_MAX, MODEL_ID_CHARS_MAX, STOP_COUNT_MAX
from omni_grpc.rest_api.omni_wire import CHOICES, WireOmni, read_wishes
from omni_grpc.rest_api.openai.chat_request import ChatOrder
from omni_grpc.rest_api.openai.chat_wire import (
    LOGIT_BIAS_MAX,
    OUTPUT_TOKENS_MAX,
    WireStreamOptions,
)
from omni_grpc.rest_api.openai.json_body import read_json

TOP_LOGPROBS_MAX: Final = 5
"""OpenAI's own limit here, smaller than that of chats."""

_INT64_MAX: Final = 2**63 - 1
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
_Bias = Annotated[float, msgspec.Meta(ge=-LOGIT_BIAS_MAX, le=LOGIT_BIAS_MAX)]


class WireCompletions(msgspec.Struct, frozen=True):
    """The fields that this service reads; null means the same as leaving one out."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_ID_CHARS_MAX)]
    prompt: msgspec.Raw
    stream: bool | None = None
    stream_options: WireStreamOptions | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_TOKENS_MAX)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    frequency_penalty: _Penalty | None = None
    presence_penalty: _Penalty | None = None
    seed: Annotated[int, msgspec.Meta(ge=-_INT64_MAX - 1, le=_INT64_MAX)] | None = None
    stop: _Text | Annotated[tuple[_Text, ...], msgspec.Meta(max_length=STOP_COUNT_MAX)] | None = (
        None
    )
    n: Annotated[int, msgspec.Meta(ge=1, le=CHOICE_COUNT_MAX)] | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=TOP_LOGPROBS_MAX)] | None = None
    logit_bias: dict[str, _Bias] | None = None
    omni: WireOmni | None = None
    # Known only to be refused by name.
    suffix: str | None = None
    echo: bool | None = None
    best_of: int | None = None


_KNOWN: Final = frozenset(WireCompletions.__struct_fields__)
_decode: Final = msgspec.json.Decoder(WireCompletions).decode
_decode_prompt: Final = msgspec.json.Decoder(str | list[msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


def read_completions(body: bytes) -> ChatOrder:
    """Reads a body.

    Raises:
        FieldInvalid: naming the field as OpenAI does.
        FeatureUnsupported: it asks for something that chats cannot do.
    """
    wire, fields = read_json(body, _decode, CHOICES)
    _refuse_unsupported(wire)
    stream = bool(wire.stream)
    if wire.stream_options is not None and not stream:
        raise FieldInvalid(
            "stream_options is allowed only together with stream: true.", field="stream_options"
        )
    stop, options = wire.stop, wire.stream_options
    wishes = read_wishes(wire.omni)
    request = ChatRequest(
        model=wire.model,
        messages=(Message(role="user", content=_prompt(wire.prompt)),),
        sampling=Sampling(
            temperature=wire.temperature,
            top_p=wire.top_p,
            frequency_penalty=wire.frequency_penalty,
            presence_penalty=wire.presence_penalty,
            seed=wire.seed,
            stop=() if stop is None else (stop,) if isinstance(stop, str) else stop,
            choice_count=wire.n,
            logprobs=None if wire.logprobs is None else True,
            top_logprobs=wire.logprobs or None,
            logit_bias=wire.logit_bias or None,
        ),
        optional=wishes.optional,
        output_tokens_max=wire.max_tokens,
        short_credits=wishes.short_credits,
        preferences=wishes.preferences,
        end_user=wishes.end_user,
        tags=wishes.tags,
        # Copied, since a raw value keeps the whole body in memory.
        extra={name: raw.copy() for name, raw in fields.items() if name not in _KNOWN},
    )
    return ChatOrder(request, stream, options is not None and bool(options.include_usage))


def _refuse_unsupported(wire: WireCompletions) -> None:
    for field, is_asked, why in (
        ("suffix", bool(wire.suffix), "chats do not insert text"),
        ("echo", bool(wire.echo), "chats do not repeat their prompt"),
        ("best_of", (wire.best_of or 1) > 1, "choose of several answers yourself; see n"),
    ):
        if is_asked:
            raise FeatureUnsupported(f"{field} is not supported: {why}.", field=field)


def _prompt(raw: msgspec.Raw) -> str:
    try:
        found = _decode_prompt(raw)
        if isinstance(found, str):
            return found
        if len(found) == 1:
            return _decode_text(found[0])
    except msgspec.ValidationError:
        raise FeatureUnsupported(
            "prompt: tokens are not supported; send one text.", field="prompt"
        ) from None
    raise FeatureUnsupported(
        f"prompt: {len(found)} prompts at once are not supported; send one text in each call.",
        field="prompt",
    )
