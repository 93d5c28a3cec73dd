"""TLS as operators meet it: a certificate of their own CA, one that nobody trusts, a cancel.

The client runs in a process of its own, because OpenSSL reads SSL_CERT_FILE once.
"""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from raw_provider import HEAD_STREAM, chunk, delta, until

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl to make a certificate"
)

CLIENT = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from provider_calls import Dispatched, make_call, make_spec, KEY
from pydantic import SecretStr
from omni_grpc.providers import Providers, ProviderSettings, Unreachable

async def main():
    settings = {"p": ProviderSettings(base_url=sys.argv[1], api_key=SecretStr(KEY))}
    providers = Providers(settings, specs=(make_spec(),))
    await providers.open()
    dispatched = Dispatched()
    try:
        stream = await providers.get("p").open_stream(make_call(), dispatched)
        text = "".join(delta.text for delta in await anext(stream))
        print("begun", flush=True)
        sys.stdin.readline()  # what comes now lies unread when it is cancelled
        text += "".join(delta.text for delta in await stream.cancel())
        print("text", text)
    except Unreachable as fault:
        print("fault", fault.message, fault.dispatched, dispatched.count)
    # It stays alive, so that only the cancel closes the connection.
    await asyncio.to_thread(sys.stdin.readline)
    await providers.close()

asyncio.run(main())
"""


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_is_verified_and_a_cancel_over_it_closes_at_once(certificate, trusted):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    begun, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD_STREAM + chunk(delta(content="a")))
            await begun.wait()
            writer.write(chunk(delta(content="b")))
            client.stdin.write(b"\n")
            while await reader.read(65536):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        gone.set()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    if trusted:
        environment["SSL_CERT_FILE"] = str(certificate[0])
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, f"https://localhost:{port}/v1", str(Path(__file__).parent),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
    )  # fmt: skip
    try:
        line = (await asyncio.wait_for(client.stdout.readline(), 20)).decode()
        if trusted:
            assert line == "begun\n"
            begun.set()
            assert await asyncio.wait_for(client.stdout.readline(), 20) == b"text ab\n"
            await until(gone.is_set)  # while the client lives on
        else:
            assert line == "fault p: its certificate is not trusted False 0\n"
    finally:
        await client.communicate(b"\n")
        server.close()
