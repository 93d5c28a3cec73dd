"""Each source's own form, from the sample files and from damaged ones."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from source_server import SAMPLES

from omni_grpc.catalog import Mode, OfferFacts, Reading, SourceError, rates_text
from omni_grpc.catalog.model import Modality
from omni_grpc.catalog.sources import genai_list, litellm, models_dev, openrouter, own_list
from omni_grpc.catalog.sources.document import gunzip, parse_json, parse_yaml
from omni_grpc.catalog.sources.reading import Reader, Surroundings

AT = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
KNOWN = [
    ("anthropic", "claude-sonnet-4-5", Mode.CHAT),
    ("openai", "gpt-4o", Mode.CHAT),
    ("openai", "gpt-4o-2024", Mode.CHAT),
    ("openai", "o9", Mode.CHAT),
    ("lab", "unknown", Mode.CHAT),
]


def read(reader: Reader, document: object) -> Reading:
    return reader(document, Surroundings(AT, KNOWN))


def sample(reader: Reader, name: str) -> dict[str, OfferFacts]:
    body = (SAMPLES / name).read_bytes()
    document = parse_yaml(body) if name.endswith(".yaml") else parse_json(body)
    reading = read(reader, document)
    assert reading.faults == ()
    return {one.id: one for one in reading.offers}


def price(facts: OfferFacts) -> str:
    return rates_text(facts.quote.rates) or facts.quote.refusal


def test_models_dev_is_read_to_the_nanodollar():
    found = sample(models_dev.read_live, "models_dev.json")
    assert price(found["openai/gpt-4o"]) == "cached_read=1.25 completion=10 prompt=2.5"
    assert price(found["openai/o9"]) == (
        "completion=10 prompt=1.25 completion@200001=15 prompt@200001=2.5"
    )
    assert found["openai/o9"].release_date == dt.date(2026, 4, 1)
    assert found["openrouter/openai/gpt-4o"].model == "gpt-4o"


def test_openrouter_s_texts_discounts_tiers_and_hours_become_rates():
    found = sample(openrouter.read, "openrouter.json")
    assert price(found["openrouter/lab/tiered"]) == (
        "completion=5 prompt=1 completion@200001=6 prompt@200001=2"
    )
    four = found["openrouter/openai/gpt-4o"]
    assert price(four) == "cached_read=1.25 completion=10 prompt=2.5"
    assert (four.model, four.tools, four.structured_output) == ("gpt-4o", True, True)
    assert four.output_tokens_max == 16_384
    # Its pictures cost apart, which no unit of a chat counts: it is offered without them.
    assert four.input_modalities == {Modality.TEXT, Modality.PDF}


@pytest.mark.parametrize(
    ("offer", "why"),
    [
        ("openrouter/perplexity/sonar", "prices something unknown: 'request'"),
        ("openrouter/openrouter/auto", "varies by the call"),
    ],
)
def test_what_no_unit_counts_leaves_openrouter_s_model_unpriced(offer: str, why: str):
    facts = sample(openrouter.read, "openrouter.json")[offer]
    assert why in facts.quote.refusal
    assert facts.quote.beyond


@pytest.mark.parametrize(
    ("pricing", "why"),
    [
        ({"prompt": "NaN"}, "which cannot be"),
        ({"prompt": "1e999999"}, "which cannot be"),
        ({"prompt": "1e999999999"}, "which cannot be"),
        ({"prompt": "dear"}, "which cannot be"),
        ({"prompt": "-0.5"}, "varies"),
        ({"prompt": "2.5"}, "unit is wrong"),
        ({"discount": 2}, "discount"),
        ({"overrides": "x"}, "not a list"),
        ({"overrides": [{"weekday": "monday", "prompt": "1"}]}, "unknown: 'weekday'"),
        ({"overrides": [{"prompt": "0.000001"}]}, "no condition that is known"),
        ({"overrides": [{"min_prompt_tokens": "many"}]}, "begins at 'many'"),
        ({"per_thought": "0.1"}, "unknown: 'per_thought'"),
    ],
)
def test_a_price_of_openrouter_that_cannot_be_is_no_price(pricing: dict[str, Any], why: str):
    whole = {"prompt": "0.000001", "completion": "0.000002", **pricing}
    entry = {"id": "lab/odd", "name": "Odd", "pricing": whole}
    good = {
        "id": "lab/good",
        "name": "Good",
        "pricing": {"prompt": "0.000001", "completion": "1e-6"},
    }
    found = {one.id: one for one in read(openrouter.read, {"data": [entry, good]}).offers}
    assert why in found["openrouter/lab/odd"].quote.refusal
    assert found["openrouter/lab/good"].quote.rates


def test_litellm_s_grammar_of_keys_becomes_rates():
    found = sample(litellm.read, "litellm.json")
    assert price(found["openai/gpt-4o"]) == "cached_read=1.25 completion=10 prompt=2.5"
    assert price(found["anthropic/claude-sonnet-4-5"]) == (
        "cached_read=0.3 cached_write=3.75 cached_write_1h=6 completion=15 prompt=3 "
        "cached_read@200001=0.6 cached_write@200001=7.5 cached_write_1h@200001=12 "
        "completion@200001=22.5 prompt@200001=6"
    )
    assert found["anthropic/claude-sonnet-4-5"].deprecation_date == dt.date(2027, 1, 31)
    assert price(found["google/gemini-mini"]) == "completion=0.4 prompt=0.1 prompt_audio=0.7"
    assert (found["groq/whisper"].mode, price(found["groq/whisper"])) == (
        Mode.TRANSCRIPTION,
        "second=30",
    )


def test_litellm_s_other_regions_and_kinds_are_no_offers_here():
    reading = read(litellm.read, parse_json((SAMPLES / "litellm.json").read_bytes()))
    assert {one.id for one in reading.offers}.isdisjoint({"azure/eu/gpt-4o", "runwayml/video"})
    assert sum(reading.left_out.values()) == 2


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("input_cost_per_thought", 0.1, "unknown: 'input_cost_per_thought'"),
        ("output_cost_per_token_above_forever", 0.1, "unknown"),
        ("surcharge_eu", 0.1, "unknown: 'surcharge_eu'"),
        ("input_cost_per_token", -1e-6, "not negative"),
        ("input_cost_per_token", 3.0, "unit is wrong"),
        ("input_cost_per_token", "free", "not a number"),
        ("input_cost_per_token", True, "not a number"),
        ("input_cost_per_token", float("nan"), "cannot be a price"),
        ("input_cost_per_token", float("inf"), "cannot be a price"),
        ("input_cost_per_token", 0, "one of input and output costs zero"),
        ("tiered_pricing", [{"input_cost_per_token": 1e-6}], "condition that is not known"),
        ("tiered_pricing", 7, "not a list"),
    ],
)
def test_a_price_of_litellm_that_cannot_be_is_no_price(key: str, value: Any, why: str):
    entry = {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 2e-6,
    }
    body = json.dumps({"good": entry, "odd": {**entry, key: value}}).encode()
    found = {one.id: one for one in read(litellm.read, parse_json(body)).offers}
    assert why in found["openai/odd"].quote.refusal
    assert price(found["openai/good"]) == "completion=2 prompt=1"


def test_genai_prices_hold_by_the_day_and_only_add_to_offers_that_are_known():
    found = sample(genai_list.read, "genai_prices.json")
    assert found.keys() == {
        "anthropic/claude-sonnet-4-5",
        "openai/gpt-4o",
        "openai/gpt-4o-2024",
        "openai/o9",
    }
    assert price(found["anthropic/claude-sonnet-4-5"]) == (
        "cached_read=0.3 cached_write=3.75 cached_write_1h=6 completion=15 prompt=3"
    )
    assert price(found["openai/gpt-4o-2024"]) == "completion=10 prompt=2.5 prompt_audio=40"
    assert "hour and the size" in found["openai/o9"].quote.refusal


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        (
            [
                {"prices": {"input_mtok": 0.135, "output_mtok": 1.1}},
                {
                    "constraint": {"start_time": "16:30:00Z", "end_time": "00:30:00Z"},
                    "prices": {"input_mtok": 0.27, "output_mtok": 0.55},
                },
            ],
            "completion=1.1 prompt=0.27",
        ),
        ([{"prices": {"input_mtok": 1}, "constraint": {"moon": "full"}}], "condition"),
        ([{"prices": {"input_mtok": 1}, "constraint": {"start_date": "soon"}}], "no day"),
        ({"input_mtok": 1, "output_mtok": 2, "requests_kcount": 5}, "unknown"),
        ({"input_mtok": {"base": 1, "tiers": [{"end": 3}]}, "output_mtok": 2}, "tier"),
        ({"input_mtok": {"steps": 1}, "output_mtok": 2}, "form that is not known"),
        ({"input_mtok": -1, "output_mtok": 2}, "not negative"),
        ({"input_audio_hours": float("nan")}, "an hour of sound costs NaN"),
        ({"input_mtok": "1", "output_mtok": 2}, "not a number"),
    ],
)
def test_a_condition_or_unit_of_genai_prices_is_understood_or_there_is_no_price(
    prices: object, expected: str
):
    model = {"id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": prices}
    body = json.dumps([{"id": "openai", "models": [model]}]).encode()
    (facts,) = read(genai_list.read, parse_json(body)).offers
    assert expected in price(facts)


@pytest.mark.parametrize(
    "match", [{"sounds_like": "x"}, {"or": "x"}, {"regex": "(a+)+$"}, {"and": [3]}]
)
def test_a_match_that_is_not_known_leaves_its_model_out_and_no_other(match: object):
    good = {
        "id": "good",
        "match": {"equals": "gpt-4o"},
        "prices": {"input_mtok": 1, "output_mtok": 2},
    }
    odd = {"id": "odd", "match": match, "prices": {"input_mtok": 1, "output_mtok": 2}}
    reading = read(genai_list.read, [{"id": "openai", "models": [odd, good]}])
    assert [one.id for one in reading.offers] == ["openai/gpt-4o"]
    assert len(reading.faults) == 1


def test_an_operator_s_list_says_what_it_says_and_nothing_more():
    found = sample(own_list.read, "own.yaml")
    assert price(found["openai/gpt-4o"]) == "cached_read=1.125 completion=9 prompt=2.25"
    assert {"tools", "display_name", "context_tokens_max"} <= set(found["openai/gpt-4o"].unsaid)
    house = found["vllm/house-7b"]
    assert (house.display_name, house.context_tokens_max, house.tools) == ("House 7B", 32_768, True)
    assert house.regions == {"eu"}
    assert "tools" not in house.unsaid
    assert price(found["vllm/house-70b"]) == (
        "completion=0.6 prompt=0.3 completion@16001=0.8 prompt@16001=0.4"
    )


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"usd_per_million": {"thought": 1}}, "there is no unit 'thought'"),
        ({"usd_per_million": {"prompt": "much", "completion": 1}}, "'much' is no number"),
        ({"price": 3}, "unknown field `price`"),
        ({"inputs": ["smell"]}, "smell"),
        ({"tiers": [{"prompt_tokens_above": 0, "usd_per_million": {}}]}, ">= 1"),
        ({"id": 7}, "Expected `str`"),
        ({"context_tokens_max": -1}, "token limit"),
        ({"provider": "omni", "id": "auto"}, "router's own"),
    ],
)
def test_an_entry_of_an_operator_s_list_that_cannot_be_is_told_and_the_others_count(
    changed: dict[str, Any], why: str
):
    entry = {"provider": "vllm", "id": "odd", "usd_per_million": {"prompt": 1, "completion": 2}}
    document = {"models": [{**entry, **changed}, {**entry, "id": "good"}]}
    reading = read(own_list.read, document)
    assert [one.id for one in reading.offers] == ["vllm/good"]
    assert why in reading.faults[0]


@pytest.mark.parametrize("number", ["-1", ".nan", "-.inf", "1e99"])
def test_a_number_of_an_operator_s_list_that_is_no_price_leaves_its_model_unpriced(number: str):
    text = (
        "models: [{provider: vllm, id: odd, usd_per_million: "
        f"{{prompt: {number}, completion: 1.0}}}}]"
    )
    reading = read(own_list.read, parse_yaml(text.encode()))
    assert not reading.offers[0].quote.rates


@pytest.mark.parametrize(
    ("reader", "document", "why"),
    [
        (models_dev.read_live, [], "not an object"),
        (models_dev.read_live, {}, "no model that can be read"),
        (models_dev.read_live, {"openai": {"models": {"x": {"id": 3}}}}, "no model"),
        (models_dev.read_live, {"openai": 3}, "not an object"),
        (openrouter.read, {"models": []}, "no list of models"),
        (openrouter.read, {"data": [3, 4]}, "no model that can be read"),
        (litellm.read, [], "not an object"),
        (litellm.read, {"x": 3}, "no model that can be read"),
        (genai_list.read, {"data": []}, "no list of providers"),
        (genai_list.read, [{"id": "a", "models": []}, {"id": "a", "models": []}], "a twice"),
        (own_list.read, {"model": []}, "one key, `models`"),
        (own_list.read, {"models": [], "defaults": {}}, "it has defaults"),
    ],
)
def test_a_document_of_another_form_is_refused_whole(reader: Reader, document: Any, why: str):
    with pytest.raises(SourceError, match=why):
        read(reader, document)


def test_an_offer_that_stands_twice_is_refused_with_its_document():
    one = {"id": "lab/a", "name": "A", "pricing": {"prompt": "0.000001", "completion": "0.000001"}}
    with pytest.raises(SourceError, match=r"lists openrouter/lab/a twice"):
        read(openrouter.read, {"data": [one, one]})
    entry = {"provider": "vllm", "id": "a"}
    with pytest.raises(SourceError, match="lists vllm/a twice"):
        read(own_list.read, {"models": [entry, entry]})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "key twice: 'c'"),
        (b'{"a": ', "not JSON"),
        (b"<html>", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not JSON"),
    ],
    ids=["twice", "half", "html", "bytes", "deep", "digits"],
)
def test_json_that_is_damaged_is_refused(text: bytes, why: str):
    with pytest.raises(SourceError, match=why):
        parse_json(text)


def test_json_numbers_are_exact():
    assert parse_json(b"[0.1, 1e-7, NaN, 3]")[:2] == [Decimal("0.1"), Decimal("1E-7")]  # type: ignore[index] # a list


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"a: &x [1]\nb: *x", "aliases are not read"),
        (b"a: 1\na: 2", "key stands twice"),
        (b"a: !!python/object/apply:os.system ['true']", "not YAML"),
        (b"a: [1", "not YAML"),
        (b"a: 2026-13-45", "not YAML"),
        (b"a: " + b"9" * 5_000, "not YAML"),
        (b"a: " + b"[" * 5_000, "nested too deeply|not YAML"),
        (b"#" * (2 * 2**20 + 1), "write it as JSON"),
    ],
    ids=["alias", "twice", "tag", "half", "day", "digits", "deep", "large"],
)
def test_yaml_that_is_damaged_or_a_trap_is_refused(text: bytes, why: str):
    with pytest.raises(SourceError, match=why):
        parse_yaml(text)


def test_a_gzip_that_is_cut_short_or_damaged_is_refused():
    import gzip

    whole = gzip.compress(b'{"a": 1}' * 100)
    assert gunzip(whole) == b'{"a": 1}' * 100
    for body in (whole[:-4], whole[: len(whole) // 2], b"\x1f\x8bxx" + whole[4:]):
        with pytest.raises(SourceError, match=r"cut short|damaged"):
            gunzip(body)
