"""Two ways to one answer: the columns that narrow every request, and the words that say why."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_grpc.catalog import CatalogSnapshot, Modality, Mode, Offer
from omni_grpc.core.chat import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    Preferences,
    ResponseFormat,
    TextPart,
    Tool,
)
from omni_grpc.core.money import Price, Rate, Unit
from omni_grpc.routing.narrowing import Limits, Narrowing
from omni_grpc.routing.needs import Needs
from omni_grpc.routing.offer_table import OfferTable
from omni_grpc.routing.prompts import PromptSize

PROVIDERS = frozenset({"lab", "shop"})
BASE = (Rate(Unit.COMPLETION, 0, 2_000), Rate(Unit.PROMPT, 0, 1_000))
PRICES = (
    None,
    Price(1, BASE),
    Price(2, (*BASE, Rate(Unit.PROMPT_AUDIO, 0, 1), Rate(Unit.CACHED_WRITE_1H, 0, 1))),
)
RARELY = st.sampled_from([False] * 7 + [True])

offers = st.lists(
    st.builds(
        Offer,
        id=st.just(""),
        provider=st.sampled_from(["lab", "shop", "other"]),
        model=st.sampled_from(["m0", "m1", "m2"]),
        provider_model=st.just(""),
        display_name=st.just(""),
        mode=st.sampled_from([Mode.CHAT, Mode.CHAT, Mode.EMBEDDING]),
        output_modalities=st.sampled_from([frozenset({Modality.TEXT}), frozenset()]),
        input_modalities=st.frozensets(st.sampled_from(Modality)),
        tools=st.booleans(),
        structured_output=st.sampled_from([None, True, False]),
        reasoning=st.booleans(),
        temperature=st.none(),
        free=RARELY,
        deprecated=RARELY,
        by_name_only=RARELY,
        enabled=RARELY.map(lambda off: not off),
        price=st.sampled_from(PRICES),
        context_tokens_max=st.sampled_from([None, 20, 1_000]),
        prompt_tokens_max=st.sampled_from([None, 10, 500]),
        output_tokens_max=st.sampled_from([None, 5, 100]),
        release_date=st.none(),
        regions=st.sampled_from([frozenset(), frozenset({"eu"})]),
    ),
    min_size=4,
    max_size=12,
)
parts: st.SearchStrategy[Part] = st.sampled_from(
    [
        TextPart(text="hello " * 40),
        TextPart(text="Keep this.", cache="1h"),
        ImagePart(url="https://images.example/a.png"),
        AudioPart(data="UklGRg==", format="wav"),
        FilePart(file_data="data:application/pdf;base64,JVBERi0xLjQ="),
    ]
)
names = st.lists(st.sampled_from(["lab", "shop", "lab/m0", "m1", "shop/m3"]), max_size=2).map(tuple)
requests = st.builds(
    ChatRequest,
    model=st.just("omni/auto"),
    messages=st.lists(parts, min_size=1, max_size=3).map(
        lambda some: (Message(role="user", content=(TextPart(text="Hi"), *some)),)
    ),
    tools=st.sampled_from([(), (Tool(name="look", parameters_json="{}"),)]),
    response_format=st.sampled_from(
        [None, ResponseFormat(kind="json_schema", name="x", schema_json="{}")]
    ),
    reasoning_effort=st.sampled_from([None, "low"]),
    output_tokens_max=st.sampled_from([None, 3, 50]),
    extra=st.sampled_from([{}, {"service_tier": msgspec.Raw(b'"priority"')}]),
    preferences=st.builds(
        Preferences,
        providers=names,
        providers_denied=names,
        models=names,
        models_denied=names,
        region=st.sampled_from([None, "eu"]),
    ),
)


@settings(max_examples=150)
@given(found=offers, request=requests, refusing=st.sampled_from(["", "lab"]))
def test_what_the_columns_leave_is_what_no_reason_speaks_against(
    found: list[Offer], request: ChatRequest, refusing: str
) -> None:
    named = tuple(
        msgspec.structs.replace(one, id=f"{one.provider}/m{place}")
        for place, one in enumerate(found)
    )
    snapshot = CatalogSnapshot(1, named)
    narrowing = Narrowing(
        request,
        needs=Needs.of(request),
        size=PromptSize(request),
        limits=[Limits.of(request.preferences)],
        refusal=lambda provider, _: ("audio", "messages") if provider == refusing else None,
    )
    table = OfferTable(snapshot, PROVIDERS)
    left = {one.id for one, kept in zip(table.offers, narrowing.mask(table), strict=True) if kept}
    assert left == {one.id for one, fault in narrowing.faults(snapshot, PROVIDERS) if fault is None}
