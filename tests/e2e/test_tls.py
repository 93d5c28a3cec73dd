"""TLS on both ports of a gateway, with certificates on both sides, replaced while it serves."""

import http.client
import ssl
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import structlog
from authority import Authority
from gateway import Gateway, chat_body, running
from omni_grpc_client import Omni

from omni_grpc.cli.serve import _tell_of_tls
from omni_grpc.settings import Settings


def served(gateway: Gateway, context: ssl.SSLContext, key: str) -> int:
    """The serial number of the certificate that REST shows while it answers a chat."""
    host, _, port = gateway.rest.removeprefix("https://").rpartition(":")
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=20)
    try:
        connection.request(
            "POST",
            "/v1/chat/completions",
            chat_body(),
            {"authorization": f"Bearer {key}", "content-type": "application/json"},
        )
        certificate = connection.sock.getpeercert()
        assert connection.getresponse().status == 200
        return int(str(certificate["serialNumber"]), 16)
    finally:
        connection.close()


def test_both_ports_speak_tls_with_clients_of_the_authority_alone(
    own_gateway: Gateway, tmp_path: Path
) -> None:
    ours, theirs = Authority("ours"), Authority("theirs")
    chain, key = ours.server(tmp_path)
    clients = tmp_path / "clients.pem"
    clients.write_bytes(ours.pem)
    own_gateway.environment |= {
        "OMNI_TLS_CERT_FILE": str(chain),
        "OMNI_TLS_KEY_FILE": str(key),
        "OMNI_TLS_CLIENT_CA_FILE": str(clients),
    }
    pair = ours.client_pair()

    def credentials(of: tuple[bytes, bytes] | None) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(ours.pem, *(of or (None, None)))

    with running(own_gateway) as gateway:
        assert gateway.rest.startswith("https://")
        with Omni(gateway.grpc, api_key=gateway.admin_key, tls=credentials(pair)) as omni:
            omni.create_org("acme")
            secret = omni.create_api_key("orgs/acme").secret
            omni.grant_credits("accounts/acme", 10**9, reason="test")
        first = served(gateway, ours.client(pair), secret)
        for stranger in (theirs.client_pair(), None):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                served(gateway, ours.client(stranger), secret)
            with (
                grpc.secure_channel(gateway.grpc, credentials(stranger)) as channel,
                pytest.raises(grpc.RpcError) as caught,
            ):
                channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        ours.server(tmp_path)
        assert served(gateway, ours.client(pair), secret) != first
        clients.write_bytes(theirs.pem)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            served(gateway, ours.client(pair), secret)
        assert served(gateway, ours.client(theirs.client_pair()), secret)
        assert "certificates_replaced" in gateway.log()
        assert '"tls": true' in gateway.log() or '"tls":true' in gateway.log()


def test_serve_says_what_is_wrong_with_the_files_and_what_is_missing(
    own_gateway: Gateway, tmp_path: Path
) -> None:
    chain, key = Authority("ours").server(tmp_path)
    key.write_bytes(b"no key")
    ended = subprocess.run(
        [sys.executable, "-m", "omni_grpc", "serve", "--rest-addr", "0.0.0.0:0"],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "DATABASE_URL": own_gateway.database_url,
            "OMNI_TLS_CERT_FILE": str(chain),
            "OMNI_TLS_KEY_FILE": str(key),
            "OMNI_OIDC_ISSUER": "https://issuer.example",
            "OMNI_WALLET_SIGN_IN": "true",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert f"TLS: {key}: holds no private key in PEM form" in said
    for missing in ("OMNI_OIDC_AUDIENCE", "OMNI_WALLET_DOMAIN", "OMNI_KEY_HASH_SECRET"):
        assert missing in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("given", "event"),
    [
        ({"rest_addr": "0.0.0.0:8080"}, "plain_text_beyond_this_machine"),
        ({"grpc_addr": "[::]:50051"}, "plain_text_beyond_this_machine"),
        ({"grpc_addr": "api.example.com:50051"}, "plain_text_beyond_this_machine"),
        ({"grpc_addr": "localhost:50051", "rest_addr": "[::1]:8080"}, "tls"),
        ({"rest_addr": "0.0.0.0:8080", "tls_cert_file": "x", "tls_key_file": "x"}, "tls"),
    ],
)
def test_plain_text_beyond_this_machine_is_told_of(given: dict[str, str], event: str) -> None:
    with structlog.testing.capture_logs() as logged:
        _tell_of_tls(Settings.model_validate(given))
    assert [entry["event"] for entry in logged] == [event]
