import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_provider import Peer, error, status

from omni_grpc.providers import Misconfigured, Overloaded, ProviderFault, RateLimited, Rejected
from omni_grpc.providers.errors import scrub
from omni_grpc.providers.faults import Faults

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
KEY = "xq-9f8e7d6c5b4a"


class FixedClock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


FAULTS = Faults("p", (KEY,), FixedClock())


def said(body: bytes, code: int = 400, **headers: str) -> ProviderFault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return FAULTS.from_answer(code, named, body)


# --- no secret comes through --------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-abc***xyz. You can find your key at https://x.",
        "Incorrect API key provided: sk-proj-AAAA1111bbbb2222.",
        "key abcd****************wxyz is wrong",
        "header 'Authorization: Bearer abcdef0123456789' is wrong",
        "BEARER abcdef0123456789",
        f"nested {KEY}{KEY} twice",
        f"'{KEY}'",
    ],
)
def test_keys_are_scrubbed(text):
    fault = said(b'{"error": {"message": "%s"}}' % text.encode())
    for shown in (fault.message, fault.provider_message, str(fault), repr(fault)):
        for secret in (KEY, "abc***xyz", "AAAA1111bbbb2222", "abcdef0123456789", "wxyz"):
            assert secret not in shown
        assert "[key]" in shown


def test_a_key_at_the_bound_is_not_half_shown():
    text = "x" * 995 + KEY
    assert "xq-" not in scrub(text, (KEY,))
    assert "xq-" not in scrub("x " * 7_999 + KEY, (KEY,))


@pytest.mark.parametrize("word", ["y", "* ", "**", "sk-", "bearer ", "y,", KEY, KEY + " "])
def test_a_hostile_text_costs_no_time(word):
    began = time.process_time()
    assert len(scrub(word * 1_000_000, (KEY,))) <= 1_000
    assert time.process_time() - began < 0.2


def test_ordinary_words_are_left_alone():
    text = "This model's maximum context length is 8192 tokens; ask-me risk-free, 2*3*4 = 24."
    assert scrub(text, (KEY,)) == text


@given(st.text())
def test_what_is_scrubbed_is_one_printable_line(text):
    shown = scrub(text, (KEY,))
    assert len(shown) <= 1_000
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in shown)
    shown.encode()


def test_control_characters_are_removed():
    fault = said(b'{"error":{"message":"a\\u0000b\\r\\nc\\u001b[31m\\u202ed","code":"x\\ny"}}')
    assert fault.provider_message == "a b c [31m d"
    assert fault.code == "x y"


# --- error bodies -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"why"}}', "why"),
        (b'{"error":"why"}', "why"),
        (b'{"message":"why"}', "why"),
        (b'{"detail":"why"}', "why"),
        (b'[{"error":{"message":"why"}}]', "why"),
        (b'{"error":{"message":["why"]}}', None),
        (b'{"error":{}}', None),
        (b'{"error":7}', None),
        (b"{}", None),
        (b"[]", None),
        (b"null", None),
        (b'"why"', None),
        (b"<html>why</html>", None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
    ids=range(16),
)
def test_an_error_is_read_in_any_dress(body, message):
    fault = said(body)
    assert isinstance(fault, Rejected)
    assert fault.provider_message == message
    assert fault.message.startswith("p: it refused the request (400)")


def test_the_type_stands_in_for_a_missing_code():
    assert said(b'{"error":{"message":"m","type":"t","code":null,"param":7}}').code == "t"
    assert said(b'{"error":{"message":"m","code":42}}').code == "42"
    assert said(b'{"error":{"message":"m","param":"x"}}').param == "x"
    assert said(b'{"error":{"message":"m","code":true,"param":{}}}').code is None


def test_an_account_without_money_is_our_fault_and_not_a_rate():
    body = b'{"error":{"message":"m","code":"insufficient_quota"}}'
    assert isinstance(said(body, 429), Misconfigured)
    assert isinstance(said(b'{"error":{"code":"rate_limit_exceeded"}}', 429), RateLimited)


@given(st.binary(max_size=200), st.integers(300, 599))
def test_any_error_body_is_a_fault(body, code):
    assert isinstance(said(body, code), ProviderFault)


# --- retry advice -------------------------------------------------------------------------------
def date(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "250", "retry_after": "7"}, 0.25),
        ({"retry_after_ms": "soon", "retry_after": "7"}, 7.0),
        ({"retry_after": date(90)}, 90.0),
        ({"retry_after": date(-90)}, 0.0),
        ({"retry_after": "-5"}, 0.0),
        ({"retry_after": "1e99"}, 86_400.0),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "tomorrow"}, None),
        ({"retry_after": ""}, None),
        ({"retry_after": "Mon, 99 Foo 2026 99:99:99 GMT"}, None),
    ],
)
@pytest.mark.parametrize(("code", "kind"), [(429, RateLimited), (503, Overloaded)])
def test_retry_advice_is_read(headers, seconds, code, kind):
    fault = said(b"", code, **headers)
    assert isinstance(fault, kind)
    assert fault.retry_after_s == seconds


async def test_headers_are_read_whatever_their_case(start, call, dispatched):
    async def script(peer) -> None:
        await peer.request()
        await peer.send(status(429, error("slow"), "RETRY-AFTER-MS: 1500", "Retry-After: 9"))

    provider, _ = await start(script)
    with pytest.raises(RateLimited) as caught:
        await provider.complete(call(), dispatched)
    assert caught.value.retry_after_s == 1.5


async def test_the_configured_key_is_never_shown(start, call, dispatched):
    async def script(peer) -> None:
        request = await peer.request()
        await peer.send(status(401, error(f"Wrong: {request.headers['authorization']}")))

    provider, _ = await start(script)
    with pytest.raises(Misconfigured) as caught:
        await provider.complete(call(), dispatched)
    assert "0123456789abcdef" not in str(caught.value.__dict__) + str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("code", "headers", "body", "kind", "told"),
    [
        (424, (), {"Message": "The model failed."}, Overloaded, None),
        (400, ("x-amzn-ErrorType: ServiceQuotaExceededException:http://x/",), {}, Misconfigured,
         "ServiceQuotaExceededException"),
        (429, ("x-amzn-errortype: ThrottlingException",), {"message": "Slow down."}, RateLimited,
         "ThrottlingException"),
    ],
)  # fmt: skip
async def test_amazons_errors_have_their_code_in_a_header(
    start, call, dispatched, code, headers, body, kind, told
):
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(status(code, body, *headers))

    provider, _ = await start(script)
    with pytest.raises(kind) as caught:
        await provider.complete(call(), dispatched)
    assert caught.value.code == told
    assert caught.value.provider_message == (body.get("message") or body.get("Message"))


def test_a_short_key_garbles_no_text():
    text = "x-sim has no key"
    assert scrub(text, ("k",)) == text
    assert scrub("12345678 is wrong", ("12345678",)) == "[key] is wrong"
