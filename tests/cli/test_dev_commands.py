"""The commands that `dev` prints: with what is served, and believing its certificate."""

import shlex
from pathlib import Path

import pytest

from omni_grpc.cli.dev import DevState, commands_to_try

STATE = DevState(api_key="omni_k", admin_key="a", grpc="127.0.0.1:1", rest="https://127.0.0.1:2")


def commands(certificate: Path | None) -> list[str]:
    return [command for _, command in commands_to_try(STATE, Path("d"), "sim/demo", certificate)]


@pytest.mark.parametrize("has_grpcurl", [False, True])
def test_with_tls_each_command_believes_the_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_grpcurl: bool
) -> None:
    program = tmp_path / "grpcurl"
    if has_grpcurl:
        program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / "own certificate.pem")
    grpc, curl, python = map(shlex.split, commands(Path("own certificate.pem")))
    flag = "-cacert" if has_grpcurl else "--ca"
    assert grpc[grpc.index(flag) + 1] == path
    assert "-plaintext" not in grpc
    assert curl[curl.index("--cacert") + 1] == path
    assert f"SSL_CERT_FILE={path}" in python


def test_without_tls_no_command_speaks_of_certificates() -> None:
    text = " ".join(commands(None))
    assert "cacert" not in text
    assert "--ca" not in text
    assert "SSL_CERT_FILE" not in text
