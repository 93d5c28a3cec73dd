"""Wallets that sign in on a real PostgreSQL, with signatures over the texts of x402's own SDK."""

import asyncio
from datetime import UTC, datetime

import psycopg
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from wallet_rig import DOMAIN, Wallet, raw_header

from omni_grpc.audit import Actor
from omni_grpc.core.errors import ApiKeyInvalid, LedgerUnavailable
from omni_grpc.identity import Callers, Presented, Role
from omni_grpc.identity.siwx import (
    CLOCK_SECONDS_MAX,
    SIGN_IN_SECONDS_MAX,
    SMALL_ORDER_KEYS,
    check_host,
    check_signature,
    check_times,
    public_key,
    read_sign_in,
)
from omni_grpc.identity.user_principal_store import UserPrincipalStore
from omni_grpc.identity.wallet_store import NonceStore
from omni_grpc.identity.wallets import WalletSignIn, own_org
from omni_grpc.storage import Timeouts

TESTS = Actor(name="tests")
NOW = 1_900_000_000.0
GOOD = Wallet().fields(NOW, statement="s", requestId="r", notBefore="2020-01-01T00:00:00Z")
FIELDS = (*GOOD, "resources")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(list(GOOD.values())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(autouse=True)
def _today(clock):
    clock.seconds = NOW


@pytest.fixture
def wallet():
    return Wallet()


@pytest.fixture
def make(database, identity, clock):
    """Makes a worker's sign-in."""

    def made(**settings):
        chosen = {"domain": DOMAIN, "headers": True} | settings
        users, nonces = UserPrincipalStore(database), NonceStore(database)
        return WalletSignIn(users, identity.orgs, nonces, clock, **chosen)

    return made


@pytest.fixture
def sign_in(make):
    found = make()
    return lambda presented: found.authenticate(presented, "192.0.2.1")


async def refused(sign_in, presented, why):
    with pytest.raises(ApiKeyInvalid, match=why):
        await sign_in(presented)


async def test_a_wallet_owns_the_organisation_that_its_first_sign_in_makes(
    sign_in, wallet, identity, database_url
):
    first = await sign_in(wallet.sign_in(NOW))
    again = await sign_in(wallet.sign_in(NOW))
    assert (first.is_new, again.is_new) == (True, False)
    org = await identity.get_org(own_org(wallet.address))
    principal = again.principal
    assert principal == first.principal
    assert (principal.org_slug, principal.account_id) == (org.slug, org.account_id)
    assert (principal.role, principal.key_id) == (Role.OWNER, -principal.user_id)
    assert org.display_name == wallet.address
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT action, actor, peer FROM audit_entry WHERE org_id = %s ORDER BY position",
            (org.org_id,),
        ).fetchall()
    actor = f"wallet:solana {wallet.address}"
    assert rows == [("CreateOrg", actor, "192.0.2.1"), ("CreateUser", actor, "192.0.2.1")]


async def test_every_field_of_the_text_may_be_there(sign_in, wallet):
    full = wallet.sign_in(
        NOW,
        statement="Sign in at Zürich.",
        notBefore="2020-01-01T00:00:00.5+01:00",
        requestId="r-1",
        resources=["https://api.example.com/a", "urn:b"],
    )
    bare = wallet.sign_in(NOW, expirationTime=None, chainId="solana:devnet", domain=DOMAIN.upper())
    for presented in (full, bare):
        assert (await sign_in(presented)).principal.org_slug == own_org(wallet.address)


async def test_a_sign_in_that_says_the_wrong_thing_is_refused(sign_in, wallet, database_url):
    old = "2030-03-17T17:41:40Z"
    for changed, why in (
        ({"domain": "evil.example"}, "another host"),
        ({"domain": DOMAIN + ".evil.example"}, "another host"),
        ({"uri": "https://evil.example/"}, "another host"),
        ({"uri": "https://["}, "another host"),
        ({"issuedAt": old}, "more than 300 s ago"),
        ({"issuedAt": "2030-03-17T17:47:40Z"}, "in the future"),
        ({"issuedAt": "yesterday"}, "is no time"),
        ({"issuedAt": "2030-13-41T00:00:00Z"}, "is no time"),
        ({"issuedAt": "2030-03-17T17:46:40"}, "is no time"),
        ({"expirationTime": "2030-03-17T17:46:40Z"}, "has expired"),
        ({"notBefore": "2030-03-17T17:46:41Z"}, "not valid yet"),
        ({"version": "2"}, "`version`"),
        ({"nonce": "short"}, "`nonce`"),
        ({"nonce": "a nonce with spaces"}, "`nonce`"),
        ({"chainId": "eip155:1", "signature": "1"}, "Solana network"),
        ({"statement": "one\nURI: https://api.example.com"}, "line break"),
        ({"resources": ["urn:a\u2028urn:b"]}, "line break"),
        ({"resources": ["urn:a"] * 33}, "more than 32"),
        ({"signature": wallet.sign(b"another text")}, "not this wallet's"),
        ({"signature": Wallet().sign(b"x")}, "not this wallet's"),
        ({"signature": "0x00"}, "base58 of 64 bytes"),
        ({"signature": "1" * 65}, "base58 of 64 bytes"),
        ({"address": "1" * 31, "signature": "1"}, "base58 of 32 bytes"),
        ({"address": "0OIl", "signature": "1"}, "base58 of 32 bytes"),
        ({"address": "1" * 32, "signature": "1"}, "anyone could sign"),
        ({"address": Wallet().address, "signature": wallet.sign(b"x")}, "not this wallet's"),
    ):
        await refused(sign_in, wallet.sign_in(NOW, **changed), why)
    fields = wallet.fields(NOW)
    for header in (
        "not base64",
        "e30",
        raw_header({}),
        raw_header([]),
        raw_header(fields | {"nonce": 5}),
        raw_header(fields | {"resources": "x"}),
        raw_header({name: value for name, value in fields.items() if name != "domain"}),
        raw_header(fields)[:-3],
        "W1tb" * 2_000,
        "A" * 9_000,
    ):
        await refused(sign_in, Presented(sign_in=header, host=DOMAIN), "the header")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM org").fetchone() == (0,)


async def test_a_changed_field_breaks_the_signature(sign_in, wallet):
    fields = wallet.fields(NOW, statement="Sign in.", resources=["urn:a"], requestId="r")
    for name, value in (
        ("nonce", "another-nonce"),
        ("statement", "Pay."),
        ("uri", f"https://{DOMAIN}/other"),
        ("requestId", None),
        ("resources", []),
        ("expirationTime", None),
        ("chainId", "solana:devnet"),
        ("issuedAt", "2030-03-17T17:46:39Z"),
    ):
        header = raw_header(fields | {name: value})
        await refused(sign_in, Presented(sign_in=header, host=DOMAIN), "not this wallet's")


async def test_a_signature_is_good_once_in_all_servers(make, wallet):
    presented = wallet.sign_in(NOW)
    servers = [make() for _ in range(5)]
    found = await asyncio.gather(
        *(server.authenticate(presented, "") for server in servers), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in found) == ["ApiKeyInvalid"] * 4 + ["SignedIn"]
    await refused(lambda one: servers[0].authenticate(one, ""), presented, "used before")


async def test_another_wallets_nonce_is_another(sign_in, wallet):
    nonce = "the-same-nonce"
    for one in (wallet, Wallet()):
        assert await sign_in(one.sign_in(NOW, nonce=nonce))


async def test_who_cannot_sign_uses_up_no_nonce(sign_in, wallet):
    good = wallet.fields(NOW)
    bad = raw_header(good | {"signature": wallet.sign(b"x")})
    await refused(sign_in, Presented(sign_in=bad, host=DOMAIN), "not this wallet's")
    assert await sign_in(Presented(sign_in=raw_header(good), host=DOMAIN))


async def test_without_a_domain_only_this_machine_is_signed_in_to(make, wallet):
    found = make(domain="")

    async def sign_in(presented):
        return await found.authenticate(presented, "")

    here = {"domain": "127.0.0.1:8080", "uri": "http://127.0.0.1:8080/"}
    assert await sign_in(wallet.sign_in(NOW, host="127.0.0.1:8080", **here))
    assert await sign_in(wallet.sign_in(NOW, host="", **here))  # gRPC does not tell the host
    await refused(sign_in, wallet.sign_in(NOW, host="localhost:8080", **here), "another host")
    # A site that got a signature for itself claims to have been meant.
    away = {"domain": "evil.example", "uri": "https://evil.example/"}
    await refused(sign_in, wallet.sign_in(NOW, host="evil.example", **away), "OMNI_WALLET_DOMAIN")


async def test_a_signed_nonce_signs_in_where_that_is_set(make, sign_in, wallet):
    for nonce in (f"{NOW:.0f}", f"{NOW * 1000 - 299_000:.0f}"):
        found = await sign_in(wallet.signed_nonce(nonce))
        assert found.principal.org_slug == own_org(wallet.address)
        await refused(sign_in, wallet.signed_nonce(nonce), "used before")
    for nonce, why in (
        (f"{NOW - SIGN_IN_SECONDS_MAX:.0f}", "time of the last"),
        (f"{NOW + CLOCK_SECONDS_MAX + 1:.0f}", "time of the last"),
        ("0" * 10, "time of the last"),
        ("", "must be the time"),
        ("nonce", "must be the time"),
        ("١٩٠٠٠٠٠٠٠٠", "must be the time"),
    ):
        await refused(sign_in, wallet.signed_nonce(nonce), why)
    fresh = f"{NOW - 1:.0f}"
    await refused(sign_in, wallet.signed_nonce(fresh, signature=wallet.sign(b"x")), "not this")
    await refused(sign_in, wallet.signed_nonce(fresh, address=Wallet().address), "not this")
    shut = make(headers=False)
    await refused(
        lambda one: shut.authenticate(one, ""), wallet.signed_nonce(fresh), "does not take"
    )
    only = make(texts=False)
    await refused(lambda one: only.authenticate(one, ""), wallet.sign_in(NOW), "does not take")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES) | JSON_VALUES)
def test_no_content_of_the_header_breaks_it(content):
    try:
        found = read_sign_in(raw_header(content))
        check_host(found, DOMAIN)
        check_times(found, datetime.fromtimestamp(NOW, UTC))
        check_signature(public_key(found.address), found.signature, found.text().encode())
    except ApiKeyInvalid as error:
        assert error.message.startswith("This wallet's sign-in is not valid: ")


@given(st.text())
def test_no_text_of_the_header_breaks_it(text):
    with pytest.raises(ApiKeyInvalid):
        read_sign_in(text)


def test_no_point_of_small_order_is_a_wallet():
    assert len(SMALL_ORDER_KEYS) == 7
    assert all(len(key) == 32 for key in SMALL_ORDER_KEYS)


async def test_a_hundred_first_sign_ins_at_once_make_one_organisation(
    make, wallet, identity, database_url
):
    given = []

    async def gift(org, address):
        given.append((org.slug, address))

    servers = [make(gift=gift) for _ in range(4)]
    found = await asyncio.gather(
        *(server.authenticate(wallet.sign_in(NOW), "") for server in servers * 5)
    )
    assert len({one.principal.user_id for one in found}) == 1
    assert sum(one.is_new for one in found) == 1
    assert set(given) == {(own_org(wallet.address), wallet.address)}
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM org").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM org_user").fetchone() == (1,)


async def test_a_first_sign_in_that_breaks_off_is_done_again_and_to_its_end(make, wallet):
    tries = []

    async def gift(org, _):
        tries.append(org.slug)
        if len(tries) == 1:
            raise LedgerUnavailable("The ledger's database does not answer.")

    found = make(gift=gift)
    with pytest.raises(LedgerUnavailable):
        await found.authenticate(wallet.sign_in(NOW), "")
    for _ in range(2):
        again = await found.authenticate(wallet.sign_in(NOW), "")
        assert (again.principal.role, again.is_new) == (Role.OWNER, False)
    assert tries == [own_org(wallet.address)] * 2


async def test_a_wallet_that_another_organisation_let_in_must_ask_for_it(sign_in, wallet, identity):
    """Else whoever lets a stranger's wallet in would get what the stranger pays in."""
    acme = await identity.orgs.create(TESTS, "acme")
    await identity.users.create(
        TESTS,
        acme.org_id,
        issuer="wallet:solana",
        subject=wallet.address,
        role=Role.DEVELOPER,
        by_owner=True,
    )
    own = (await sign_in(wallet.sign_in(NOW))).principal
    there = (await sign_in(wallet.sign_in(NOW, org="acme"))).principal
    assert (own.org_slug, own.role) == (own_org(wallet.address), Role.OWNER)
    assert (there.org_slug, there.role) == ("acme", Role.DEVELOPER)
    await refused(sign_in, Wallet().sign_in(NOW, org="acme"), "may not sign in to `orgs/acme`")
    await refused(sign_in, Wallet().sign_in(NOW, org="nowhere"), "may not sign in")
    await refused(sign_in, Wallet().sign_in(NOW, org="a\0"), "no organisation's id")
    stranger = Wallet()
    other = own_org(wallet.address)
    await refused(sign_in, stranger.sign_in(NOW, org=other), "may not sign in")


async def test_a_wallet_that_was_taken_out_stays_out(sign_in, wallet, identity):
    found = (await sign_in(wallet.sign_in(NOW))).principal
    await identity.users.create(
        TESTS,
        found.org_id,
        issuer="wallet:solana",
        subject=Wallet().address,
        role=Role.OWNER,
        by_owner=True,
    )
    await identity.delete_user(TESTS, found.org_id, found.org_slug, found.key_prefix, by_owner=True)
    await refused(sign_in, wallet.sign_in(NOW), "may not sign in")


async def test_known_and_unknown_wallets_with_wrong_signatures_cost_the_same(
    make, wallet, database
):
    """Neither the database nor anything else is asked of whoever did not sign."""
    asked = []

    class Counted(NonceStore):
        async def use(self, nonce_hash, seconds):
            asked.append(nonce_hash)
            return await super().use(nonce_hash, seconds)

    found = make()
    found._nonces = Counted(database)
    await found.authenticate(wallet.sign_in(NOW), "")
    assert len(asked) == 1
    answers = set()
    for one in (wallet, Wallet()):
        wrong = one.sign_in(NOW, signature=wallet.sign(b"x"))
        with pytest.raises(ApiKeyInvalid) as caught:
            await found.authenticate(wrong, "")
        answers.add(caught.value.message)
    assert len(answers) == 1
    assert len(asked) == 1


async def test_a_service_without_wallets_says_so(wallet):
    with pytest.raises(ApiKeyInvalid, match="Wallets do not sign in"):
        await Callers(None).authenticate(wallet.sign_in(NOW), "192.0.2.1")


@pytest.mark.parametrize("timeouts", [Timeouts()])
async def test_a_database_that_is_away_uses_up_nothing(sign_in, wallet, door):
    presented = wallet.sign_in(NOW)
    door.shut()
    with structlog.testing.capture_logs(), pytest.raises(LedgerUnavailable):
        await sign_in(presented)
    door.open()

    async def answers():
        try:
            return await sign_in(presented)
        except LedgerUnavailable:
            return None

    async with asyncio.timeout(30):
        while not (found := await answers()):
            await asyncio.sleep(0.01)
    assert found.is_new
