"""What `dev` prints, believing its certificate; and that a second one leaves the first alone."""

import shlex
import socket
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from omni_grpc.cli.app import app
from omni_grpc.cli.dev import DevState, commands_to_try
from omni_grpc.cli.dev_alone import alone_in

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


@pytest.mark.parametrize("taken", ["--grpc-addr", "--rest-addr"])
def test_where_somebody_listens_dev_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    (data / "dev.json").write_text("of the first")
    with socket.create_server(("127.0.0.1", 0)) as first:
        address = f"127.0.0.1:{first.getsockname()[1]}"
        at = {"--grpc-addr": "127.0.0.1:0", "--rest-addr": "127.0.0.1:0", taken: address}
        words = [word for pair in at.items() for word in pair]
        found = CliRunner().invoke(app, ["dev", *words, "--data-dir", str(data)])
    assert found.exit_code == 1
    told = " ".join(found.output.split())
    assert f"cannot listen on {address}" in told
    assert "Another `omni-grpc dev` runs there already" in told
    for option in ("--grpc-addr", "--rest-addr", "--data-dir"):
        assert option in told
    assert [path.name for path in data.iterdir()] == ["dev.json"]
    assert (data / "dev.json").read_text() == "of the first"


def test_a_second_dev_of_a_folder_leaves_it_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    kept = msgspec.json.encode(STATE)
    (data / "dev.json").write_bytes(kept)
    at = ["--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0", "--data-dir", str(data)]
    with alone_in(data, lambda: ""):
        found = CliRunner().invoke(app, ["dev", *at])
    assert found.exit_code == 1
    told = " ".join(found.output.split())
    assert f"Error: An `omni-grpc dev` runs on {data} already ({STATE.grpc}, {STATE.rest})." in told
    assert "--data-dir" in told
    assert sorted(path.name for path in data.iterdir()) == ["dev.json", "dev.lock"]
    assert (data / "dev.json").read_bytes() == kept


def test_the_folder_is_free_when_its_dev_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with alone_in(tmp_path, lambda: ""):
            assert (tmp_path / "dev.lock").stat().st_mode & 0o777 == 0o600
