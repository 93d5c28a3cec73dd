"""The official OpenAI SDK against the running gateway, for everything beside chats.

What a call is charged stands in its headers, in the ledger and in its usage record, and is the
price's to the nano-dollar.
"""

import base64
import io
import struct
import uuid
import wave
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from gateway import Gateway, HttpConnection, SimulatorThread, Tenant, eventually, soon
from omni_grpc_client import Omni

from omni_grpc.core.money import nanousd_from_usd

GRANTED = 10**9
TEXT = "A cat sat on the mat."
EMBED, PER_IMAGE, PER_CHAR, PER_SECOND = 20, 40_000_000, 15_000, 100_000


def sound(seconds: float) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8_000)
        made.writeframes(bytes(int(seconds * 8_000) * 2))
    return file.getvalue()


@pytest.fixture
def sdk(gateway: Gateway, tenant: Tenant) -> Iterator[openai.OpenAI]:
    url = f"{gateway.rest}/v1"
    with openai.OpenAI(base_url=url, api_key=tenant.api_key, max_retries=0, timeout=30) as made:
        yield made


@pytest.fixture
async def asdk(gateway: Gateway, tenant: Tenant) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{gateway.rest}/v1"
    async with openai.AsyncOpenAI(
        base_url=url, api_key=tenant.api_key, max_retries=0, timeout=30
    ) as made:
        yield made


@pytest.fixture
def ledger(gateway: Gateway, tenant: Tenant) -> Iterator[Omni]:
    with Omni(gateway.grpc, api_key=tenant.api_key) as made:
        yield made


def charged(ledger: Omni, raw: Any, nanousd: int) -> Any:
    """The one attempt of a call, after its cost was found the same everywhere."""
    assert nanousd_from_usd(raw.headers["x-omni-cost-usd"]) == nanousd
    record = ledger.usage(raw.headers["x-request-id"])
    assert record.cost_nanousd == nanousd
    assert ledger.balance().available_nanousd == GRANTED - nanousd
    assert nanousd_from_usd(raw.headers["x-omni-balance-usd"]) == GRANTED - nanousd
    (attempt,) = record.attempts
    assert attempt.outcome == "answered"
    return attempt


# --- embeddings -----------------------------------------------------------------------------------
def test_embeddings_cost_their_tokens(sdk: openai.OpenAI, ledger: Omni) -> None:
    raw = sdk.embeddings.with_raw_response.create(model="sim/embed", input=[TEXT, "dog"])
    found = raw.parse()
    assert [one.index for one in found.data] == [0, 1]
    assert len(found.data[0].embedding) == 1_536
    assert found.model == "sim/embed"
    attempt = charged(ledger, raw, found.usage.prompt_tokens * EMBED)
    assert attempt.prompt_tokens == found.usage.prompt_tokens == found.usage.total_tokens
    assert not attempt.estimated


def test_both_encodings_are_the_same_vector(sdk: openai.OpenAI) -> None:
    asked: Any = {"model": "sim/embed", "input": TEXT, "dimensions": 4}
    written = sdk.post(
        "/embeddings", body={**asked, "encoding_format": "float"}, cast_to=dict[str, Any]
    )
    packed = sdk.post(
        "/embeddings", body={**asked, "encoding_format": "base64"}, cast_to=dict[str, Any]
    )
    content = base64.b64decode(packed["data"][0]["embedding"])
    assert list(struct.unpack("<4f", content)) == written["data"][0]["embedding"]


@pytest.mark.parametrize(
    ("given", "tokens"), [([1, 2, 3], 3), ([[1, 2], [3]], 3), ("x", 1), (["x", "x"], 2)]
)
async def test_each_form_of_input_is_charged_as_it_is_counted(
    asdk: openai.AsyncOpenAI, ledger: Omni, given: Any, tokens: int
) -> None:
    raw = await asdk.embeddings.with_raw_response.create(model="sim/embed", input=given)
    charged(ledger, raw, tokens * EMBED)


def test_embeddings_without_usage_are_charged_by_our_count(
    sdk: openai.OpenAI, ledger: Omni
) -> None:
    text = f"[sim usage=none] {TEXT}"
    told = sdk.embeddings.create(model="sim/embed", input=text.replace("none", "right"))
    tokens = told.usage.prompt_tokens
    raw = sdk.embeddings.with_raw_response.create(model="sim/embed", input=text)
    record = ledger.usage(raw.headers["x-request-id"])
    assert record.cost_nanousd == tokens * EMBED
    assert record.attempts[0].estimated


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ["x", ""]}, "input"),
        ({"input": ["x"] * 2_049}, "input"),
        ({"input": "word " * 300_001}, "input"),
        ({"input": ["x", 1]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "colour": "red"}, "colour"),
        ({}, "input"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_its_field(
    sdk: openai.OpenAI, ledger: Omni, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.post("/embeddings", body={"model": "sim/embed", **fields}, cast_to=object)
    assert (refused.value.param or "").startswith(param)
    assert ledger.balance().available_nanousd == GRANTED


# --- images ---------------------------------------------------------------------------------------
def test_images_cost_each(sdk: openai.OpenAI, ledger: Omni) -> None:
    raw = sdk.images.with_raw_response.generate(
        model="sim/image", prompt="a cat", n=2, size="1024x1024"
    )
    found = raw.parse()
    assert found.data is not None
    assert base64.b64decode(found.data[0].b64_json or "").startswith(b"\x89PNG")
    assert len(found.data) == 2
    charged(ledger, raw, 2 * PER_IMAGE)


def test_images_by_url_come_as_the_provider_gives_them(sdk: openai.OpenAI) -> None:
    found = sdk.images.generate(model="sim/image", prompt="a cat", response_format="url")
    assert found.data is not None
    assert (found.data[0].url or "").startswith("https://pictures.invalid/")


def test_images_sold_by_tokens_cost_those(sdk: openai.OpenAI, ledger: Omni) -> None:
    raw = sdk.images.with_raw_response.generate(
        model="sim/image-tokens", prompt="a cat", quality="low", background="transparent"
    )
    found = raw.parse()
    assert found.usage is not None
    prompt = found.usage.input_tokens
    charged(ledger, raw, prompt * 5_000 + 272 * 40_000)
    assert found.usage.output_tokens == 272


async def test_an_edit_pays_for_what_it_sees(asdk: openai.AsyncOpenAI, ledger: Omni) -> None:
    raw = await asdk.images.with_raw_response.edit(
        model="sim/image-tokens",
        prompt="a dog",
        image=[("a.png", b"one"), ("b.png", b"two")],
        mask=("mask.png", b"three"),
        quality="low",
    )
    found = raw.parse()
    assert found.usage is not None
    seen = found.usage.input_tokens_details.image_tokens
    text = found.usage.input_tokens_details.text_tokens
    assert seen == 3 * 194
    charged(ledger, raw, text * 5_000 + seen * 10_000 + 272 * 40_000)


@pytest.mark.parametrize(
    "fields", [{"size": "1792x1024"}, {"quality": "hd"}, {"quality": "high"}, {"size": "auto"}]
)
def test_an_image_that_the_price_does_not_cover_is_refused(
    sdk: openai.OpenAI, ledger: Omni, fields: dict[str, Any]
) -> None:
    with pytest.raises(openai.NotFoundError, match="never free"):
        sdk.images.generate(model="sim/image", prompt="a cat", **fields)
    assert ledger.balance().available_nanousd == GRANTED


def test_streamed_images_are_refused_by_name(sdk: openai.OpenAI) -> None:
    for field, value in (("stream", True), ("partial_images", 2)):
        body = {"model": "sim/image-tokens", "prompt": "a cat", field: value}
        with pytest.raises(openai.BadRequestError) as refused:
            sdk.post("/images/generations", body=body, cast_to=object)
        assert refused.value.param == field


def test_an_edit_by_a_model_that_does_not_see_is_refused(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="images as input"):
        sdk.images.edit(model="sim/image", prompt="a dog", image=("a.png", b"x"))


# --- speech ---------------------------------------------------------------------------------------
def spent(ledger: Omni, call_id: str, nanousd: int) -> Any:
    """The one attempt of a call, once it was charged."""

    def attempt() -> Any:
        (found,) = ledger.usage(call_id).attempts
        return found if found.cost_nanousd is not None else None

    found: Any = eventually(attempt)
    assert found.cost_nanousd == nanousd
    return found


def test_speech_costs_its_characters(sdk: openai.OpenAI, ledger: Omni) -> None:
    spoken = sdk.audio.speech.create(model="sim/voice", input=TEXT, voice="alloy")
    assert spoken.response.headers["content-type"] == "audio/mpeg"
    assert len(spoken.content) == 400 * len(TEXT)
    call_id = spoken.response.headers["x-request-id"]
    attempt = spent(ledger, call_id, len(TEXT) * PER_CHAR)
    assert (attempt.outcome, attempt.estimated) == ("answered", False)


async def test_speech_comes_as_it_is_spoken(
    asdk: openai.AsyncOpenAI, simulator: SimulatorThread
) -> None:
    simulator.close_gate("spoken")
    asked = asdk.audio.speech.with_streaming_response.create(
        model="sim/voice",
        input=f"[sim gate=spoken,gate_after=2] {TEXT}",
        voice="alloy",
        response_format="wav",
    )
    async with asked as spoken:
        assert spoken.headers["content-type"] == "audio/wav"
        parts = spoken.iter_bytes()
        assert await anext(parts)
        simulator.open_gate("spoken")
        async for _ in parts:
            pass


def test_speech_sold_by_tokens_is_charged_by_the_provider_s_count(
    sdk: openai.OpenAI, ledger: Omni
) -> None:
    spoken = sdk.audio.speech.create(
        model="sim/voice-tokens", input=TEXT, voice="alloy", instructions="Softly."
    )
    assert len(spoken.content) == 400 * len(TEXT)
    tokens = sdk.embeddings.create(model="sim/embed", input=f"{TEXT}Softly.").usage.prompt_tokens
    cost = tokens * 600 + 2 * len(TEXT) * 12_000
    attempt = spent(ledger, spoken.response.headers["x-request-id"], cost)
    assert not attempt.estimated


async def test_a_listener_who_leaves_stops_the_provider_and_pays_the_characters(
    asdk: openai.AsyncOpenAI, ledger: Omni, simulator: SimulatorThread
) -> None:
    text = f"[sim hang_after=2] {TEXT}"
    asked = asdk.audio.speech.with_streaming_response.create(
        model="sim/voice", input=text, voice="alloy"
    )
    async with asked as spoken:
        call_id = spoken.headers["x-request-id"]
        await anext(spoken.iter_bytes())
    attempt = spent(ledger, call_id, len(text) * PER_CHAR)
    assert attempt.outcome == "cancelled"
    assert await soon(lambda: simulator.record_of(call_id).outcome == "cancelled")


def test_speech_that_breaks_off_ends_in_a_closed_connection_and_is_charged(
    sdk: openai.OpenAI, ledger: Omni
) -> None:
    text = f"[sim cut=fin,cut_after=3] {TEXT * 5}"
    with pytest.raises(openai.APIConnectionError):
        sdk.audio.speech.create(model="sim/voice", input=text, voice="alloy")
    assert eventually(lambda: ledger.balance().available_nanousd == GRANTED - len(text) * PER_CHAR)


def test_events_of_speech_are_refused_by_name(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.audio.speech.create(
            model="sim/voice-tokens", input="Hi", voice="alloy", stream_format="sse"
        )
    assert refused.value.param == "stream_format"


# --- transcriptions -------------------------------------------------------------------------------
def test_a_transcription_costs_its_seconds(sdk: openai.OpenAI, ledger: Omni) -> None:
    raw = sdk.audio.transcriptions.with_raw_response.create(
        model="sim/scribe", file=("said.wav", sound(2.5)), language="en"
    )
    assert raw.parse().text
    attempt = charged(ledger, raw, 3 * PER_SECOND)
    assert not attempt.estimated


async def test_a_transcription_sold_by_tokens_costs_those(
    asdk: openai.AsyncOpenAI, ledger: Omni
) -> None:
    raw = await asdk.audio.transcriptions.with_raw_response.create(
        model="sim/scribe-tokens", file=("said.mp3", b"\xff\xfb" * 20_000)
    )
    usage: Any = raw.parse().usage
    charged(ledger, raw, 100 * 6_000 + usage.output_tokens * 10_000)


@pytest.mark.parametrize("form", ["text", "srt", "vtt", "verbose_json"])
def test_every_format_of_a_transcription_comes_as_the_provider_wrote_it(
    sdk: openai.OpenAI, ledger: Omni, form: Any
) -> None:
    raw = sdk.audio.transcriptions.with_raw_response.create(
        model="sim/scribe", file=("said.wav", sound(1)), response_format=form
    )
    kind = "application/json" if form == "verbose_json" else "text/plain; charset=utf-8"
    assert raw.headers["content-type"] == kind
    assert raw.text.startswith({"srt": "1\n00:", "vtt": "WEBVTT"}.get(form, raw.text[:1]))
    charged(ledger, raw, PER_SECOND)


def test_a_file_above_25_mb_is_refused(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        sdk.audio.transcriptions.create(
            model="sim/scribe", file=("said.mp3", bytes(26 * 1024 * 1024))
        )
    assert refused.value.status_code == 413


def test_a_streamed_transcription_is_refused_by_name(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.audio.transcriptions.create(
            model="sim/scribe", file=("said.wav", sound(1)), stream=True
        )
    assert refused.value.param == "stream"


# --- moderations ----------------------------------------------------------------------------------
def test_moderations_are_free_and_recorded(sdk: openai.OpenAI, ledger: Omni) -> None:
    raw = sdk.moderations.with_raw_response.create(
        model="sim/moderator", input=["fine", "this is forbidden"]
    )
    assert [one.flagged for one in raw.parse().results] == [False, True]
    charged(ledger, raw, 0)


async def test_parts_are_moderated_too(asdk: openai.AsyncOpenAI) -> None:
    parts: Any = [{"type": "text", "text": "forbidden"}]
    found = await asdk.moderations.create(model="sim/moderator", input=parts)
    assert found.results[0].flagged


# --- what goes wrong ------------------------------------------------------------------------------
def test_a_model_of_another_kind_is_refused(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="does not support embeddings"):
        sdk.embeddings.create(model="sim/fast", input="x")
    with pytest.raises(openai.BadRequestError, match="chat completions"):
        sdk.chat.completions.create(model="sim/embed", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.NotFoundError):
        sdk.embeddings.create(model="nobody/nothing", input="x")


def test_too_few_credits_call_nobody(gateway: Gateway, simulator: SimulatorThread) -> None:
    poor = gateway.tenant(PER_IMAGE - 1)
    before = len(simulator.simulator.log)
    url = f"{gateway.rest}/v1"
    with openai.OpenAI(base_url=url, api_key=poor.api_key, max_retries=0) as sdk:
        with pytest.raises(openai.APIStatusError) as refused:
            sdk.images.generate(model="sim/image", prompt="a cat")
        assert refused.value.status_code == 402
    models = [one.model for one in simulator.simulator.log[before:]]
    assert "image" not in models


@pytest.mark.parametrize(
    ("behaviour", "status"), [("status=503", 503), ("status=429", 503), ("status=400", 400)]
)
def test_a_provider_that_refuses_is_not_paid(
    sdk: openai.OpenAI, ledger: Omni, behaviour: str, status: int
) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        sdk.embeddings.create(model="sim/embed", input=f"[sim {behaviour}] x")
    assert refused.value.status_code == status
    assert ledger.balance().available_nanousd == GRANTED


def test_another_seller_of_the_model_answers_where_the_first_is_down(
    gateway: Gateway, sdk: openai.OpenAI, ledger: Omni
) -> None:
    name = "embed-anywhere"
    alias_of(gateway, name, ["sim/embed-down", "sim/embed"])

    def asked() -> Any:
        try:
            return sdk.embeddings.with_raw_response.create(model=name, input="x")
        except openai.NotFoundError:
            return None

    # Once alone: other tests ask it too, and four failures would open its breaker.
    raw: Any = eventually(asked)
    assert raw.headers["x-omni-model"] == "sim/embed"
    attempts = ledger.usage(raw.headers["x-request-id"]).attempts
    assert [one.outcome for one in attempts] == ["failed", "answered"]
    assert [one.cost_nanousd for one in attempts] == [0, EMBED]


def alias_of(gateway: Gateway, name: str, targets: list[str]) -> None:
    """Sets an alias in the gateway's database; its workers see it within a poll."""
    import asyncio

    from omni_grpc.catalog import Alias, CatalogStore
    from omni_grpc.storage import Database

    async def work() -> None:
        async with Database(gateway.database_url, application_name="tests") as database:
            await CatalogStore(database).set_alias(
                Alias(name=name, targets=tuple(targets)), actor="tests"
            )

    asyncio.run(work())


def test_a_repeat_is_told_what_the_first_cost_and_is_not_charged(
    sdk: openai.OpenAI, ledger: Omni
) -> None:
    named: Any = {"Idempotency-Key": "picture-1"}
    first = sdk.images.with_raw_response.generate(
        model="sim/image", prompt="a cat", extra_headers=named
    )
    with pytest.raises(openai.ConflictError) as repeated:
        sdk.images.generate(model="sim/image", prompt="a cat", extra_headers=named)
    error: Any = repeated.value.body
    assert error["omni"]["charged_nanousd"] == str(PER_IMAGE)
    assert error["omni"]["call_id"] == first.headers["x-request-id"]
    with pytest.raises(openai.ConflictError) as other:
        sdk.images.generate(model="sim/image", prompt="a dog", extra_headers=named)
    assert other.value.code == "idempotency_conflict"
    assert ledger.balance().available_nanousd == GRANTED - PER_IMAGE


def test_a_caller_who_leaves_a_plain_call_pays_for_what_was_read(
    gateway: Gateway, tenant: Tenant, ledger: Omni, simulator: SimulatorThread
) -> None:
    import json
    import socket

    mark = f"once={uuid.uuid4().hex}"
    text = f"[sim hang_after=request,{mark}] {TEXT}"
    body = json.dumps({"model": "sim/embed", "input": text}).encode()
    host, _, port = gateway.rest.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/embeddings HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        head += f"authorization: Bearer {tenant.api_key}\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        assert eventually(
            lambda: simulator.record_asked(mark) is not None and ledger.balance().held_nanousd
        )
    assert eventually(lambda: not ledger.balance().held_nanousd)
    assert 0 < GRANTED - (ledger.balance().available_nanousd or 0) <= len(text) * EMBED


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/audio/transcriptions", b"{}", "application/json"),
        ("/v1/audio/transcriptions", b"", "multipart/form-data"),
        ("/v1/audio/transcriptions", b"--x\r\n", "multipart/form-data; boundary=x"),
        ("/v1/images/edits", b"nonsense", "multipart/form-data; boundary=x"),
        ("/v1/embeddings", b"[]", "application/json"),
        ("/v1/moderations", b'{"model":"sim/moderator","input":7}', "application/json"),
        ("/v1/audio/speech", b'{"model":"sim/voice","input":"","voice":"x"}', "application/json"),
    ],
)
def test_what_cannot_be_read_is_refused_in_openai_s_form(
    gateway: Gateway, tenant: Tenant, path: str, body: bytes, kind: str
) -> None:
    with HttpConnection(gateway, tenant.api_key) as connection:
        found = connection.ask(path, body, content_type=kind)
    assert found.status == 400
    assert found.error["type"] == "invalid_request_error"


def test_a_call_whose_time_is_over_is_charged_for_what_was_sent(
    sdk: openai.OpenAI, ledger: Omni
) -> None:
    text = f"[sim hang_after=request] {TEXT}"
    with pytest.raises(openai.APIStatusError) as late:
        sdk.embeddings.create(
            model="sim/embed", input=text, extra_headers={"x-omni-timeout-ms": "1500"}
        )
    assert late.value.status_code == 504
    error: Any = late.value.body
    cost = int(error["omni"]["charged_nanousd"])
    assert 0 < cost <= len(text) * EMBED
    assert eventually(lambda: ledger.balance().available_nanousd == GRANTED - cost)


def test_thousands_of_vectors_come_whole(sdk: openai.OpenAI) -> None:
    asked: Any = {"model": "sim/embed", "input": ["x"] * 2_048, "dimensions": 64}
    found = sdk.post(
        "/embeddings", body={**asked, "encoding_format": "float"}, cast_to=dict[str, Any]
    )
    assert [one["index"] for one in found["data"]] == list(range(2_048))
    assert {len(one["embedding"]) for one in found["data"]} == {64}
