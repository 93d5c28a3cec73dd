"""Which address calls, and how often it may: counts in memory, by a clock moved by hand."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_grpc.core.errors import ApiKeyInvalid, ApiKeyMissing, Busy, FieldInvalid, RateLimited
from omni_grpc.identity import AddressLimits, Callers, Presented, TrustedProxies
from omni_grpc.identity.addresses import ADDRESSES_MAX, SLOT_SECONDS, address_key
from omni_grpc.identity.presented import bearer_token, presented_in
from omni_grpc.identity.wallets import SignedIn


class Keys:
    """Believes `good`, and cannot check `later`."""

    asked = 0
    revoked = ""

    async def authenticate(self, presented):
        self.asked += 1
        if presented is None:
            raise ApiKeyMissing("none")
        if presented == "later":
            raise Busy("not now")
        if presented != "good" or presented == self.revoked:
            raise ApiKeyInvalid("wrong")
        return "principal"


def limits(clock, **per_minute):
    return AddressLimits(clock=clock, **per_minute)


async def outcomes(callers, token, address, count):
    found = []
    for _ in range(count):
        try:
            found.append(await callers.authenticate(Presented(token), address))
        except (ApiKeyMissing, RateLimited, Busy) as error:
            found.append(type(error))
    return found


# --- failures and requests ------------------------------------------------------------------------
async def test_an_address_that_fails_too_often_is_refused_before_it_is_asked(clock):
    keys = Keys()
    callers = Callers(keys, limits=limits(clock, failures_per_minute=3))
    wrong = await outcomes(callers, "wrong", "192.0.2.1", 2)
    wrong += await outcomes(callers, None, "192.0.2.1", 1)
    assert wrong == [ApiKeyInvalid, ApiKeyInvalid, ApiKeyMissing]
    asked = keys.asked
    assert await outcomes(callers, "good", "192.0.2.1", 5) == [RateLimited] * 5
    assert keys.asked == asked
    assert await outcomes(callers, "good", "192.0.2.2", 1) == ["principal"]
    assert await outcomes(callers, "wrong", "", 9) == [ApiKeyInvalid] * 9  # a socket has none
    clock.seconds += 60 + SLOT_SECONDS
    assert await outcomes(callers, "good", "192.0.2.1", 1) == ["principal"]


async def test_failures_of_others_behind_the_same_address_lock_no_good_key_out(clock):
    keys = Keys()
    callers = Callers(keys, limits=limits(clock, failures_per_minute=2))

    async def present(token):
        return await callers.authenticate(Presented(token=token), "192.0.2.1")

    assert await present("good")
    for _ in range(2):
        with pytest.raises(ApiKeyInvalid):
            await present("wrong")
    with pytest.raises(RateLimited):
        await present("wrong")
    with pytest.raises(RateLimited):
        await present("another good one")  # nobody knows it yet: it is as good as a guess
    assert await present("good")
    keys.revoked = "good"
    with pytest.raises(ApiKeyInvalid):
        await present("good")
    with pytest.raises(RateLimited):
        await present("good")


async def test_good_calls_and_what_cannot_be_checked_count_as_no_failure(clock):
    callers = Callers(Keys(), limits=limits(clock, failures_per_minute=1))
    assert await outcomes(callers, "good", "192.0.2.1", 9) == ["principal"] * 9
    assert await outcomes(callers, "later", "192.0.2.1", 9) == [Busy] * 9
    assert await outcomes(callers, "wrong", "192.0.2.1", 2) == [ApiKeyInvalid, RateLimited]


async def test_wallet_after_wallet_is_as_bounded_as_failures(clock):
    class Wallets:
        async def authenticate(self, presented, _address):
            return SignedIn("principal", presented.sign_in == "new")

    callers = Callers(Keys(), wallets=Wallets(), limits=limits(clock, failures_per_minute=2))

    async def sign_in(text):
        return await callers.authenticate(Presented(sign_in=text), "192.0.2.1")

    for _ in range(9):
        await sign_in("known")
    for _ in range(2):
        await sign_in("new")
    with pytest.raises(RateLimited):
        await sign_in("new")


async def test_a_refusal_says_when_to_come_again(clock):
    clock.seconds = 1_000.0
    found = limits(clock, requests_per_minute=2)
    found.admit("192.0.2.1")
    clock.seconds += 30
    found.admit("192.0.2.1")
    with pytest.raises(RateLimited, match="2 in a minute") as caught:
        found.admit("192.0.2.1")
    wait = caught.value.retry_after_s
    assert 30 <= wait <= 35
    clock.seconds += wait - 0.1
    with pytest.raises(RateLimited):
        found.admit("192.0.2.1")
    clock.seconds += 0.2
    found.admit("192.0.2.1")


@given(
    limit=st.integers(1, 5),
    gaps=st.lists(st.floats(0, 40, allow_nan=False), min_size=1, max_size=80),
)
def test_in_any_minute_no_more_than_the_limit_are_admitted(limit, gaps):
    class Clock:
        seconds = 0.0

        def monotonic(self):
            return self.seconds

    clock = Clock()
    found = limits(clock, requests_per_minute=limit)
    admitted = []
    for gap in gaps:
        clock.seconds += gap
        try:
            found.admit("192.0.2.1")
        except RateLimited:
            assert admitted
        else:
            admitted.append(clock.seconds)
    for first, later in zip(admitted, admitted[limit:], strict=False):
        assert later - first > 60 - 1e-6


def test_memory_is_bounded_and_who_is_silent_longest_is_forgotten(clock):
    found = limits(clock, failures_per_minute=1)
    for number in range(ADDRESSES_MAX + 10):
        found.failed(str(ipaddress.ip_address(0x0A00_0000 + number)))
    assert len(found._failures) == ADDRESSES_MAX
    found.admit("10.0.0.0")
    with pytest.raises(RateLimited):
        found.admit("10.0.0.10")


def test_an_ipv6_network_counts_as_one_address_and_a_mapped_one_as_its_ipv4():
    assert address_key("2001:db8::1") == address_key("2001:db8:0:0:ffff::2")
    assert address_key("2001:db8::1") != address_key("2001:db8:0:1::1")
    assert address_key("fe80::1%eth0") == address_key("fe80::2")
    assert address_key("::ffff:192.0.2.1") == "192.0.2.1"
    assert address_key("no address") == "no address"


# --- proxies --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("192.0.2.9", "203.0.113.7", "192.0.2.9"),  # nobody of ours: what it says is worth nothing
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.7", "203.0.113.7"),  # the left one is the caller's word
        ("10.0.0.1", "1.1.1.1, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
        ("10.0.0.1", "10.1.1.1,10.2.2.2", "10.1.1.1"),
        ("10.0.0.1", "203.0.113.7, unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7,", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        ("10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::1", "203.0.113.7", "203.0.113.7"),
        ("", "203.0.113.7", ""),
        ("10.0.0.1", "203.0.113.7," + "10.0.0.2," * 40 + "10.0.0.2", "10.0.0.2"),
    ],
)
def test_the_caller_is_the_first_from_the_right_that_is_no_proxy_of_ours(peer, forwarded, caller):
    proxies = TrustedProxies(["10.0.0.0/8", "::1"])
    assert proxies.caller(peer, forwarded) == caller


def test_without_proxies_the_header_is_not_looked_at():
    assert (
        Callers(Keys()).address(Presented(peer="10.0.0.1", forwarded_for="1.1.1.1")) == "10.0.0.1"
    )


@given(st.text(), st.text())
def test_no_text_breaks_it(peer, forwarded):
    TrustedProxies(["10.0.0.0/8"]).caller(peer, forwarded)
    TrustedProxies(["0.0.0.0/0"]).caller("10.0.0.1", forwarded)
    address_key(peer)


# --- what a request presents ----------------------------------------------------------------------
def test_one_way_to_say_who_calls_is_enough():
    values = {"authorization": ["Bearer  k "], "x-api-key": ["k"], "x-forwarded-for": ["a", "b"]}
    found = presented_in(values, peer="p", host="API.example")
    assert found == Presented("k", "p", "a,b", "api.example")
    assert presented_in({"x-api-key": ["k"], "authorization": ["Basic eA=="]}, peer="").token == "k"
    assert presented_in({"x-api-key": [""], "authorization": ["Bearer k"]}, peer="").token == "k"
    assert (
        presented_in({"authorization": ["k"], "x-omni-org": ["orgs/acme"]}, peer="").org == "acme"
    )
    assert bearer_token("bearer k") == "k"


@pytest.mark.parametrize(
    "values",
    [
        {"authorization": ["Bearer a", "Bearer b"]},
        {"authorization": ["Bearer a", "Bearer a"]},
        {"authorization": ["Bearer a"], "x-api-key": ["b"]},
        {"authorization": ["a"], "x-api-key": ["b"]},
        {"authorization": ["Bearer "], "x-api-key": ["b"]},
        {"x-api-key": ["a", "a"]},
        {"sign-in-with-x": ["a", "b"]},
        {"sign-in-with-x": ["a"], "authorization": ["Bearer a"]},
        {"sign-in-with-x": ["a"], "x-api-key": ["a"]},
        {"x-wallet-address": ["a"]},
        {"x-wallet-address": ["a"], "x-wallet-signature": ["b"], "x-wallet-nonce": [""]},
        {
            "x-wallet-address": ["a"],
            "x-wallet-signature": ["b"],
            "x-wallet-nonce": ["c"],
            "x-api-key": ["d"],
        },
    ],
)
def test_two_ways_that_could_differ_are_refused(values):
    with pytest.raises(FieldInvalid) as caught:
        presented_in(values, peer="p")
    assert caught.value.field in values or caught.value.field.startswith("x-wallet-")


def test_it_shows_no_secret_when_it_is_printed():
    found = Presented("omni_secret", "192.0.2.1", sign_in="signed")
    assert "secret" not in repr(found) + str(found) + str(found.__rich_repr__())
