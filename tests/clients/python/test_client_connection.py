import asyncio
import json
import subprocess
import time
from typing import Self

import grpc
import pytest
from client_fake_service import (
    API_KEY,
    FakeService,
    answers,
    delta,
    fails,
    fake_service,
    hangs,
    started,
    streams,
)
from grpc import StatusCode
from omni.admin.v1 import admin_service_pb2 as admin_pb
from omni.billing.v1 import billing_service_pb2 as billing_pb
from omni.catalog.v1 import catalog_service_pb2 as catalog_pb
from omni.router.v1 import router_service_pb2 as router_pb
from omni_grpc_client import (
    ApiKeyMissing,
    AsyncOmni,
    LedgerUnavailable,
    Omni,
    OmniError,
    Timeouts,
    Unavailable,
)
from omni_grpc_client.connection import RETRIED_METHODS, Connection, service_config

MODEL = "openai/gpt-4o-mini"


def connection(target: str | None = None, **options) -> Connection:
    settings = {
        "api_key": API_KEY,
        "tls": False,
        "insecure": False,
        "timeouts": Timeouts(),
        "wait_for_ready": False,
        "channel_options": (),
    }
    return Connection(target, **(settings | options))


# --- target and TLS ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:50051",
        "127.8.8.8:1",
        "localhost:50051",
        "LOCALHOST",
        "[::1]:50051",
        "::1",
        "unix:/run/omni.sock",
        "unix:///run/omni.sock",
        "unix-abstract:omni",
        "ipv4:127.0.0.1:1,127.0.0.2:1",
        "ipv6:[::1]:50051",
        "dns:localhost:50051",
        "dns:///localhost:50051",
    ],
)
def test_a_target_on_this_machine_is_plaintext_unless_tls_is_asked_for(target):
    assert connection(target).credentials is None
    assert connection(target, tls=True).credentials is not None
    assert ("grpc.enable_http_proxy", 0) in connection(target).options


@pytest.mark.parametrize(
    "target",
    [
        "omni.example:443",
        "omni.example",
        "10.0.0.1:50051",
        "0.0.0.0:50051",
        "[2001:db8::1]:50051",
        "localhost.example:50051",
        "127.0.0.1.example:50051",
        "dns:///omni.example",
        "dns://8.8.8.8/localhost:50051",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
        "xds:///127.0.0.1:50051",
    ],
)
def test_any_other_target_is_tls_unless_plaintext_is_allowed(target):
    assert connection(target).credentials is not None
    assert connection(target, insecure=True).credentials is None


def test_tls_and_insecure_contradict_each_other():
    with pytest.raises(ValueError, match="contradict"):
        connection("omni.example", tls=True, insecure=True)


@pytest.mark.parametrize("target", ["http://127.0.0.1:50051", "https://omni.example"])
def test_a_url_is_refused_with_what_to_give_instead(target):
    with pytest.raises(ValueError, match="give host:port"):
        connection(target)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[bytes, bytes]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "1",
                "-subj",
                "/CN=omni",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return key.read_bytes(), cert.read_bytes()


async def test_tls_speaks_to_a_service_whose_certificate_it_trusts(open_client, certificate):
    server = grpc.ssl_server_credentials([certificate])
    trusting = grpc.ssl_channel_credentials(certificate[1])
    async with fake_service(credentials=server) as service:
        async with open_client(service.target, tls=trusting) as omni:
            assert (await omni.chat(MODEL, "hi")).text == "Hello, you!"
        async with open_client(service.target, tls=True) as omni:
            with pytest.raises(Unavailable):
                await omni.chat(MODEL, "hi")
    assert len(service.seen) == 1


async def test_a_unix_socket_is_a_target(open_client, tmp_path):
    target = f"unix:{tmp_path / 's'}"
    async with fake_service(target), open_client(target) as omni:
        assert (await omni.balance()).available_nanousd == 4_500_000_000


async def test_target_and_key_come_from_the_environment(service, monkeypatch):
    monkeypatch.setenv("OMNI_GRPC_ADDR", service.target)
    monkeypatch.setenv("OMNI_API_KEY", f"{API_KEY}\n")
    async with AsyncOmni() as omni:
        await omni.balance()
    assert service.seen[0].metadata["authorization"] == f"Bearer {API_KEY}"
    assert service.seen[0].metadata["user-agent"].startswith("omni-grpc-client/")


# --- the key ----------------------------------------------------------------------------------
@pytest.mark.parametrize("api_key", [None, "", "  "])
def test_a_client_without_a_key_is_refused(api_key):
    for client in (Omni, AsyncOmni):
        with pytest.raises(ApiKeyMissing, match="OMNI_API_KEY"):
            client("127.0.0.1:1", api_key=api_key)


@pytest.mark.parametrize(
    "api_key", ["omni_secret\nx: y", "omni_secret\0", "omni_sécret", "omni secret"]
)
def test_a_key_that_no_metadata_can_hold_is_refused_without_showing_it(api_key):
    with pytest.raises(ValueError, match="characters") as caught:
        Omni("127.0.0.1:1", api_key=api_key)
    assert "cret" not in str(caught.value)


def test_no_repr_shows_the_key():
    with Omni("127.0.0.1:1", api_key=API_KEY) as omni:
        shown = f"{omni!r} {vars(omni)} {vars(vars(omni)['_connection'])}"
    assert "secretsecret" not in shown
    assert "127.0.0.1:1" in shown


# --- retries ----------------------------------------------------------------------------------
def test_retried_methods_exist_and_are_the_safe_ones():
    services = {
        service.full_name: {method.name for method in service.methods}
        for file in (router_pb, billing_pb, catalog_pb, admin_pb)
        for service in file.DESCRIPTOR.services_by_name.values()
    }
    for service, methods in RETRIED_METHODS.items():
        assert set(methods) <= services[service]
    retried = {method for methods in RETRIED_METHODS.values() for method in methods}
    assert retried.isdisjoint({"CompleteChat", "StreamChat", "CreateOrg", "CreateApiKey"})
    assert retried.isdisjoint({"CreateRoutingPolicy", "UpdateExperiment", "SyncCatalog"})
    (config,) = json.loads(service_config())["methodConfig"]
    assert config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


unavailable = fails(StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE")


async def test_a_read_is_repeated_while_the_service_is_unavailable(omni, service):
    service.script("GetBalance", unavailable, unavailable)
    assert (await omni.balance()).available_nanousd == 4_500_000_000
    assert len(service.requests("GetBalance")) == 3


async def test_a_read_is_given_up_after_four_tries(omni, service):
    service.script("GetModel", *[unavailable] * 5)
    with pytest.raises(LedgerUnavailable):
        await omni.model("a/b")
    assert len(service.requests("GetModel")) == 4


async def test_a_move_of_money_is_repeated_with_the_same_request_id(omni, service):
    service.script("SettleHold", unavailable)
    await omni.settle_hold("accounts/acme/holds/1", 7)
    first, second = service.requests("SettleHold")
    assert first == second
    assert first.request_id


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("CreateOrg", lambda omni: omni.create_org("acme")),
        ("CreateApiKey", lambda omni: omni.create_api_key("acme")),
    ],
)
async def test_what_may_have_happened_is_not_repeated(omni, service, method, call):
    service.script(method, unavailable)
    with pytest.raises(LedgerUnavailable):
        await call(omni)
    assert len(service.requests(method)) == 1


async def test_a_failure_that_repeating_cannot_mend_is_not_repeated(omni, service):
    service.script("GetBalance", fails(StatusCode.INTERNAL, "INTERNAL"))
    with pytest.raises(OmniError):
        await omni.balance()
    assert len(service.requests("GetBalance")) == 1


async def test_a_service_that_forbids_a_repeat_is_obeyed(omni, service):
    async def behave(_, context) -> None:
        pushback = (("grpc-retry-pushback-ms", "-1"),)
        await context.abort(StatusCode.UNAVAILABLE, "no", trailing_metadata=pushback)

    service.script("GetBalance", behave)
    with pytest.raises(Unavailable):
        await omni.balance()
    assert len(service.requests("GetBalance")) == 1


# --- time -------------------------------------------------------------------------------------
async def test_each_kind_of_call_has_its_own_time(open_client, service):
    timeouts = Timeouts(chat_s=100, read_s=20, write_s=30)
    async with open_client(service.target, timeouts=timeouts) as omni:
        await omni.chat(MODEL, "hi")
        async with omni.stream_chat(MODEL, "hi") as stream:
            await stream.result()
        await omni.balance()
        await omni.release_hold("h")
        await omni.balance(timeout=50)
    remaining = [one.time_remaining_s for one in service.seen]
    # gRPC rounds a deadline up on its way; the machine may be slow.
    assert remaining == pytest.approx([100, 100, 20, 30, 50], abs=4)


@pytest.mark.parametrize("call", [lambda omni: omni.balance(), lambda omni: omni.chat(MODEL, "")])
async def test_without_a_service_a_call_fails_within_seconds(open_client, call):
    async with open_client(await _free_target()) as omni:
        before = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await call(omni)
        assert time.monotonic() - before < 20
    assert caught.value.reason is None


async def test_a_client_that_waits_lets_the_service_start_later(open_client):
    target = await _free_target()
    async with open_client(target, wait_for_ready=True) as omni:
        call = asyncio.create_task(omni.balance(timeout=10))
        await asyncio.sleep(0)
        async with fake_service(target):
            assert (await call).available_nanousd == 4_500_000_000


async def test_a_read_finds_a_service_that_was_just_started_again(open_client):
    async with fake_service() as service, open_client(service.target) as omni:
        await omni.balance()
        await service.stop()
        with pytest.raises(Unavailable):
            await omni.create_org("acme")
        async with fake_service(service.target):
            assert (await omni.balance()).available_nanousd == 4_500_000_000


async def _free_target() -> str:
    """An address where nobody listens."""
    async with fake_service() as service:
        return service.target


# --- the connection breaks --------------------------------------------------------------------
class CutProxy:
    """Passes bytes both ways until it is cut."""

    def __init__(self, service: FakeService) -> None:
        self._port = int(service.target.rpartition(":")[2])
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader, writer) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, there_writer]
        self._pumps += [
            asyncio.create_task(self._pump(reader, there_writer)),
            asyncio.create_task(self._pump(there_reader, writer)),
        ]

    async def _pump(self, reader, writer) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def test_a_connection_that_breaks_in_a_stream_keeps_what_came(open_client, service):
    service.script("StreamChat", streams(started(), delta("Hel"), then=hangs))
    async with (
        CutProxy(service) as proxy,
        open_client(proxy.target) as omni,
        omni.stream_chat(MODEL, "hi") as stream,
    ):
        await anext(aiter(stream))
        proxy.cut()
        with pytest.raises(Unavailable) as caught:
            await stream.result()
    assert stream.answer.text == "Hel"
    assert caught.value.call_id == "call_1"
    assert caught.value.charged_nanousd is None
    await service.cancelled.wait()


async def test_a_connection_that_breaks_in_a_chat_is_mended_with_the_same_request_id(
    open_client, service
):
    async with CutProxy(service) as proxy, open_client(proxy.target) as omni:

        async def cut(request, context):
            proxy.cut()
            return await hangs(request, context)

        service.script("CompleteChat", cut)
        assert (await omni.chat(MODEL, "hi")).text == "Hello, you!"
        first, second = service.requests("CompleteChat")
        assert first == second
        assert first.request_id


async def test_a_connection_that_breaks_in_a_read_is_mended(open_client, service):
    async with CutProxy(service) as proxy, open_client(proxy.target) as omni:

        async def cut(request, context):
            proxy.cut()
            return await hangs(request, context)

        service.script("GetBalance", cut)
        assert (await omni.balance()).available_nanousd == 4_500_000_000
        assert len(service.requests("GetBalance")) == 2


async def test_an_answer_above_grpcs_default_size_is_taken(omni, service):
    filler = billing_pb.LedgerEntry(
        name="x" * (5 * 1024 * 1024), amount_nanousd=0, balance_after_nanousd=0
    )
    big = billing_pb.ListLedgerEntriesResponse(ledger_entries=[filler])
    service.script("ListLedgerEntries", answers(big))
    assert len([entry async for entry in omni.ledger_entries()]) == 1
