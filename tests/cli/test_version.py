import subprocess
import sys

from omni_grpc import __version__


def test_the_version_is_printed_without_a_command():
    ended = subprocess.run(
        [sys.executable, "-m", "omni_grpc", "--version"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout.strip()) == (0, __version__)
