"""People with tokens of an issuer and wallets with signatures, on both transports of a gateway."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from gateway import Gateway, HttpConnection, SimulatorThread, chat_body, refusal, running
from gateway_fixtures import check_books
from google.protobuf.duration_pb2 import Duration
from oidc_issuer import AUDIENCE, Issuer
from omni.admin.v1 import admin_service_pb2_grpc, audit_pb2, tenants_pb2
from omni.billing.v1 import billing_service_pb2, billing_service_pb2_grpc
from wallet_rig import Wallet

from omni_grpc.identity.wallets import own_org
from omni_grpc.storage import EmbeddedPostgres

SIGN_UP = 250_000_000
FAILURES = 5
_ADDRESSES = itertools.count(1)
SESSION = "/v1/wallet/session"
BALANCE = "/v1/balance"


class IssuerThread:
    """The issuer in a thread with a loop of its own."""

    def __init__(self) -> None:
        self.issuer = Issuer()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Issuer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.issuer.__aenter__(), self._loop).result(10)
        return self.issuer

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.issuer.__aexit__(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@dataclass(frozen=True)
class Place:
    """A gateway that people and wallets sign in to, and the people's issuer."""

    gateway: Gateway
    issuer: Issuer

    @property
    def host(self) -> str:
        return self.gateway.rest.removeprefix("http://")

    def sign_in(self, wallet: Wallet, **changed: Any) -> str:
        """The header of a wallet for this host."""
        here = {"domain": self.host, "uri": f"{self.gateway.rest}/"}
        return wallet.header(time.time(), **here | changed)

    def session(self, wallet: Wallet, ttl: str | None = None) -> dict[str, Any]:
        """What a wallet gets that signs in over REST."""
        body = b"" if ttl is None else json.dumps({"ttl": ttl}).encode()
        with HttpConnection(self.gateway, None) as http:
            answer = http.ask(SESSION, body, sign_in_with_x=self.sign_in(wallet), **elsewhere())
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    def balance(self, token: str) -> Any:
        with HttpConnection(self.gateway, token) as http:
            return http.ask(BALANCE, **elsewhere())

    def stubs(self) -> tuple[grpc.Channel, Any, Any]:
        channel = grpc.insecure_channel(self.gateway.grpc)
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        return channel, admin, billing_service_pb2_grpc.BillingServiceStub(channel)


@pytest.fixture(scope="module")
def place(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    name, admin_key = template
    url = postgres.create_database("e2e_sign_in", template=name)
    folder = tmp_path_factory.mktemp("sign_in")
    with IssuerThread() as issuer:
        environment = {
            "OMNI_OIDC_ISSUER": issuer.url,
            "OMNI_OIDC_AUDIENCE": AUDIENCE,
            "OMNI_OIDC_ROLES": "staff=developer, boss=owner",
            "OMNI_WALLET_SIGN_IN": "true",
            "OMNI_WALLET_HEADERS": "true",
            "OMNI_SIGN_UP_NANOUSD": str(SIGN_UP),
            "OMNI_ADDRESS_FAILURES_PER_MINUTE": str(FAILURES),
            "OMNI_TRUSTED_PROXIES": "127.0.0.1",
        }
        made = Gateway(url, simulator.base_url, folder, admin_key, environment=environment)
        with running(made) as gateway:
            with gateway.admin() as omni:
                omni.create_org("acme")
            yield Place(gateway, issuer)
        check_books(url, folder)


def test_a_wallet_signs_in_once_and_pays_from_its_own_credits(place: Place) -> None:
    wallet = Wallet()
    made = place.session(wallet, "PT2M")
    assert made["user"]["name"].startswith(f"orgs/{own_org(wallet.address)}/users/")
    assert (made["user"]["subject"], made["user"]["role"]) == (wallet.address, "owner")
    token = made["token"]
    assert place.balance(token).json["available_nanousd"] == SIGN_UP
    with HttpConnection(place.gateway, token) as http:
        here = elsewhere()
        assert http.ask(body=chat_body(), **here).status == 200
        assert http.ask("/v1/admin/sessions", b"", **here).status == 403
        assert place.balance(token).json["available_nanousd"] < SIGN_UP
        assert http.ask("/v1/admin/sessions:end", b"", **here).status == 200
        assert http.ask(BALANCE, **here).status == 401


def test_first_sign_ins_at_once_are_credited_once(place: Place) -> None:
    wallet = Wallet()
    with ThreadPoolExecutor(8) as pool:
        found = [one.result() for one in [pool.submit(place.session, wallet) for _ in range(8)]]
    assert len({one["user"]["name"] for one in found}) == 1
    assert place.balance(found[0]["token"]).json["available_nanousd"] == SIGN_UP


def test_both_forms_work_over_grpc_too(place: Place) -> None:
    wallet = Wallet()
    now = f"{time.time() * 1000:.0f}"
    forms = (
        (("sign-in-with-x", place.sign_in(wallet)),),
        (
            ("x-wallet-address", wallet.address),
            ("x-wallet-signature", wallet.sign(now.encode())),
            ("x-wallet-nonce", now),
        ),
    )
    channel, admin, billing = place.stubs()
    with channel:
        for form in forms:
            address = ("x-forwarded-for", f"198.51.100.{next(_ADDRESSES)}")
            metadata = (*form, address)
            request = tenants_pb2.CreateSessionRequest(ttl=Duration(seconds=60))
            made = admin.CreateSession(request, metadata=metadata)
            assert made.user.role == tenants_pb2.ROLE_OWNER
            bearer = (("authorization", f"Bearer {made.token}"), address)
            balance = billing.GetBalance(billing_service_pb2.GetBalanceRequest(), metadata=bearer)
            assert balance.balance.available_nanousd == SIGN_UP
            admin.EndSession(tenants_pb2.EndSessionRequest(), metadata=bearer)
            again = refusal(
                lambda: billing.GetBalance(
                    billing_service_pb2.GetBalanceRequest(),
                    metadata=bearer,  # noqa: B023 - called at once
                )
            )
            assert again.reason == "API_KEY_INVALID"
            replayed = refusal(
                lambda: admin.CreateSession(request, metadata=metadata)  # noqa: B023 - likewise
            )
            assert (replayed.code, replayed.reason) == ("UNAUTHENTICATED", "API_KEY_INVALID")
            assert "used before" in replayed.message


def test_metadata_that_says_twice_who_calls_is_refused(place: Place) -> None:
    token = place.session(Wallet())["token"]
    good = ("authorization", f"Bearer {token}")
    channel, _, billing = place.stubs()
    with channel:
        for beside in (
            good,
            ("authorization", "Bearer other"),
            ("x-api-key", "other"),
            ("sign-in-with-x", place.sign_in(Wallet())),
            ("x-wallet-address", "a"),
        ):
            found = refusal(
                lambda: billing.GetBalance(
                    billing_service_pb2.GetBalanceRequest(),
                    metadata=(good, beside),  # noqa: B023 - called at once
                )
            )
            assert (found.code, found.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
        metadata = (good, ("x-api-key", token), ("x-forwarded-for", "198.51.100.250"))
        billing.GetBalance(billing_service_pb2.GetBalanceRequest(), metadata=metadata)


def test_a_signature_for_another_host_signs_nobody_in(place: Place) -> None:
    wallet = Wallet()
    stolen = place.sign_in(wallet, domain="evil.example", uri="https://evil.example/")
    with HttpConnection(place.gateway, None) as http:
        for host in (place.host, "evil.example"):
            answer = http.ask(SESSION, b"", sign_in_with_x=stolen, host=host, **forwarded(1))
            assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_people_sign_in_with_tokens_of_their_issuer(place: Place) -> None:
    token = place.issuer.token(time.time(), sub="ada", role=["x", "boss"], email="ada@acme.example")
    with HttpConnection(place.gateway, token) as http:
        made = http.ask("/v1/admin/sessions", b'{"ttl": "PT1H"}')
        assert (made.status, made.json["user"]["role"]) == (200, "owner")
        session = made.json["token"]
        listed = http.ask("/v1/admin/orgs/acme/users").json["data"]
        assert [one["email"] for one in listed if one["subject"] == "ada"] == ["ada@acme.example"]
        assert http.ask("/v1/admin/orgs/operator/users").status == 404
        assert http.ask("/v1/admin/orgs/acme/apiKeys").json["data"] == []  # a session is none
    channel, admin, billing = place.stubs()
    with channel:
        for one in (token, session):
            bearer = (("authorization", f"Bearer {one}"),)
            billing.GetBalance(billing_service_pb2.GetBalanceRequest(), metadata=bearer)
        request = audit_pb2.ListAuditEntriesRequest(parent="orgs/acme")
        entries = admin.ListAuditEntries(request, metadata=bearer).audit_entries
    # The proxy's word for the caller is the peer, where there is one.
    assert {entry.action for entry in entries} >= {"CreateUser", "CreateSession"}
    viewer = place.issuer.token(time.time(), sub="bob", role="viewer")
    with HttpConnection(place.gateway, viewer) as http:
        assert http.ask(body=chat_body()).status == 403
        assert http.ask(BALANCE).status == 200


@pytest.mark.parametrize("changed", [{"aud": "another"}, {"exp": 1}, {"org": "nowhere"}])
def test_a_token_for_others_is_refused_in_plain_words(place: Place, changed: Any) -> None:
    token = place.issuer.token(time.time(), **changed)
    with HttpConnection(place.gateway, token) as http:
        answer = http.ask(BALANCE, **forwarded(2))
    assert (answer.status, answer.error["omni"]["reason"]) == (401, "API_KEY_INVALID")
    assert "This token is not valid here" in answer.error["message"]


def elsewhere() -> dict[str, str]:
    """From an address that nobody had before."""
    return {"x_forwarded_for": f"198.51.100.{next(_ADDRESSES)}"}


def forwarded(number: int) -> dict[str, str]:
    """As a proxy of ours tells of a caller; each number is another one."""
    return {"x_forwarded_for": f"192.0.2.66, 203.0.113.{number}"}


def test_an_address_that_fails_too_often_is_refused_for_a_while_and_no_other_is(
    place: Place,
) -> None:
    good = place.session(Wallet())["token"]
    with HttpConnection(place.gateway, "wrong") as http:
        statuses = [http.ask(BALANCE, **forwarded(7)).status for _ in range(FAILURES)]
        assert statuses == [401] * FAILURES
    with HttpConnection(place.gateway, good) as http:
        answer = http.ask(BALANCE, **forwarded(7))
        assert (answer.status, answer.error["type"]) == (429, "rate_limit_error")
        assert answer.error["code"] == "rate_limit_exceeded"
        assert answer.error["omni"]["reason"] == "RATE_LIMITED"
        assert 0 < int(answer.headers["retry-after"]) <= 65
        assert http.ask(BALANCE, **forwarded(8)).status == 200
        assert http.ask(BALANCE, **forwarded(7)).status == 200  # now it is known to be good
    unknown = place.session(Wallet())["token"]
    channel, _, billing = place.stubs()
    with channel:
        metadata = [("authorization", f"Bearer {unknown}"), ("x-forwarded-for", "203.0.113.7")]
        found = refusal(
            lambda: billing.GetBalance(
                billing_service_pb2.GetBalanceRequest(), metadata=tuple(metadata)
            )
        )
        assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert found.details["RetryInfo"].retry_delay.seconds > 0
        metadata[1] = ("x-forwarded-for", "203.0.113.9")
        billing.GetBalance(billing_service_pb2.GetBalanceRequest(), metadata=tuple(metadata))


def test_no_signature_and_no_token_stands_in_the_log(place: Place) -> None:
    wallet = Wallet()
    header = place.sign_in(wallet)
    with HttpConnection(place.gateway, None) as http:
        token = http.ask(SESSION, b"", sign_in_with_x=header, **elsewhere()).json["token"]
        http.ask(SESSION, b"", sign_in_with_x=header, **forwarded(3))
    jwt = place.issuer.token(time.time(), sub="eve")
    for one in (jwt, jwt + "x", token + "x"):
        with HttpConnection(place.gateway, one) as http:
            http.ask(BALANCE, **forwarded(4))
    log = place.gateway.log()
    assert wallet.address in log  # so what is looked for could be found
    for secret in (header, token, jwt, jwt.rpartition(".")[2]):
        assert secret not in log
