"""Certificate files that are good, bad and replaced, and the TLS that is served with them."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import grpc
import pytest
import structlog
from authority import Authority

from omni_grpc.grpc_api.server import server_credentials
from omni_grpc.storage.certificates import CertificateError, CertificateFiles


@pytest.fixture(scope="module")
def authority():
    return Authority("tests")


@pytest.fixture(scope="module")
def other():
    return Authority("others")


@pytest.fixture
def paths(tmp_path, authority):
    return authority.server(tmp_path)


async def served_over_tls(files, client: ssl.SSLContext) -> tuple[str, int]:
    """The TLS version and the serial number of the certificate that a client sees."""

    async def answer(reader, writer):
        writer.write(await reader.read(2))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=files.context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await seen(port, client)


async def seen(port: int, client: ssl.SSLContext) -> tuple[str, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
    try:
        writer.write(b"hi")
        assert await reader.read(2) == b"hi"  # in TLS 1.3 a refused client learns of it here
        connection = writer.get_extra_info("ssl_object")
        return connection.version(), int(connection.getpeercert()["serialNumber"], 16)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def over_grpc(files):
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", server_credentials(files))
    await server.start()
    yield port
    await server.stop(None)


async def reaches(port: int, authority: Authority, pair: tuple[bytes, bytes] | None = None) -> bool:
    """Whether a gRPC client can connect: it then hears that there is no such method."""
    key, chain = pair or (None, None)
    credentials = grpc.ssl_channel_credentials(authority.pem, key, chain)
    # Else channels to the same place would share one connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options) as channel:
        try:
            await channel.unary_unary("/x/Y")(b"", timeout=60)
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNIMPLEMENTED
    raise AssertionError("there is no such method")


async def test_a_running_server_serves_what_the_files_hold_at_each_connection(paths, authority):
    files = CertificateFiles(*paths, None)
    assert not files.asks_clients

    async def answer(reader, writer):
        writer.write(await reader.read(2))

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=files.context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        first = await seen(port, authority.client())
        assert await seen(port, authority.client()) == first
        with structlog.testing.capture_logs() as logged:
            authority.server(paths[0].parent)
            assert await seen(port, authority.client()) != first
    assert [entry["event"] for entry in logged] == ["certificates_replaced"]


async def test_old_versions_of_tls_are_not_spoken(paths, authority):
    files = CertificateFiles(*paths, None)
    client = authority.client()
    assert (await served_over_tls(files, client))[0] == "TLSv1.3"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert (await served_over_tls(files, client))[0] == "TLSv1.2"
    context = files.current().context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_clients_need_a_certificate_of_the_authority_that_is_set(
    paths, tmp_path, authority, other
):
    clients = tmp_path / "clients.pem"
    clients.write_bytes(authority.pem)
    files = CertificateFiles(*paths, clients)
    assert files.asks_clients
    ours, theirs = authority.client_pair(), other.client_pair()

    async def is_served(pair):
        try:
            await served_over_tls(files, authority.client(pair))
        except (ssl.SSLError, ConnectionError, AssertionError):
            return False
        return True

    assert [await is_served(pair) for pair in (ours, theirs, None)] == [True, False, False]
    async with over_grpc(files) as port:
        assert [await reaches(port, authority, pair) for pair in (ours, theirs, None)] == [
            True,
            False,
            False,
        ]
        with structlog.testing.capture_logs():
            clients.write_bytes(other.pem)
            assert [await is_served(pair) for pair in (ours, theirs)] == [False, True]
            assert [await reaches(port, authority, pair) for pair in (ours, theirs)] == [
                False,
                True,
            ]


async def test_grpc_serves_a_new_certificate_too(paths, authority, other):
    files = CertificateFiles(*paths, None)
    async with over_grpc(files) as port:
        assert await reaches(port, authority)
        assert not await reaches(port, other)
        with structlog.testing.capture_logs():
            other.server(paths[0].parent)
            assert await reaches(port, other)
            assert not await reaches(port, authority)


async def test_files_that_become_unusable_change_nothing_and_are_told_of_once(paths, authority):
    files = CertificateFiles(*paths, None)
    first = await served_over_tls(files, authority.client())
    for break_it in (
        lambda: paths[0].write_bytes(b"half a certifi"),
        paths[1].unlink,
    ):
        with structlog.testing.capture_logs() as logged:
            break_it()
            assert await served_over_tls(files, authority.client()) == first
            assert await served_over_tls(files, authority.client()) == first
        assert [entry["event"] for entry in logged] == ["certificates_not_replaced"]
    with structlog.testing.capture_logs():
        authority.server(paths[0].parent)
        assert await served_over_tls(files, authority.client()) != first


def test_files_that_cannot_be_used_are_told_of_all_at_once(paths, tmp_path, authority, other):
    chain, key = paths
    away, empty = tmp_path / "away.pem", tmp_path / "empty.pem"
    empty.write_bytes(b"")
    (tmp_path / "theirs").mkdir()
    their_chain, their_key = other.server(tmp_path / "theirs")
    locked = tmp_path / "locked.pem"
    locked.write_bytes(authority.locked_key())
    for given, faults in (
        ((away, away, away), [f"{away}: cannot be read: No such file or directory"] * 3),
        ((tmp_path, key, None), [f"{tmp_path}: cannot be read: Is a directory"]),
        ((empty, key, None), [f"{empty}: holds no certificate in PEM form"]),
        ((chain, chain, None), [f"{chain}: holds no private key in PEM form"]),
        ((chain, locked, None), [f"{locked}: is encrypted; give the key without a password"]),
        (
            (chain, their_key, None),
            [f"{their_key}: is not the private key of the certificate in {chain}"],
        ),
        ((chain, key, key), [f"{key}: holds no certificate in PEM form"]),
    ):
        with pytest.raises(CertificateError) as caught:
            CertificateFiles(*given)
        assert caught.value.faults == faults
    assert CertificateFiles(their_chain, their_key, chain)


def test_an_expired_certificate_is_served_and_told_of(tmp_path, authority):
    with structlog.testing.capture_logs() as logged:
        CertificateFiles(*authority.server(tmp_path, days=-1), None)
    assert [entry["event"] for entry in logged] == ["certificate_expired"]


def test_no_key_is_shown_when_it_is_printed(paths):
    files = CertificateFiles(*paths, None)
    assert "PRIVATE" not in repr(files.current()) + repr(files)
