"""A command whose reader has enough, as `head` has, ends without a word."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from omni_grpc.cli.failures import told

SAMPLE = Path(__file__).parents[1] / "evaluation" / "sample"


def test_a_command_ends_quietly_where_nobody_reads_on() -> None:
    command = [sys.executable, "-m", "omni_grpc", "bench", "routing", "--data", str(SAMPLE)]
    with subprocess.Popen(
        [*command, "--predict", str(SAMPLE / "pool_A_sample.jsonl")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith(b'{"id":')
        running.stdout.close()
        said = running.stderr.read().decode()
        assert running.wait(timeout=60) == 141
    assert "Error" not in said
    assert "Exception" not in said


def test_a_connection_that_broke_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, told():
        raise BrokenPipeError(32, "Broken pipe")
    assert ended.value.exit_code == 1
    assert "Broken pipe" in capfd.readouterr().err
