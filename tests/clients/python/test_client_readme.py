"""Runs every Python sample of the client's README, as printed, against the fake service."""

import asyncio
import os
import re
import sys
from pathlib import Path

from client_fake_service import API_KEY
from omni_grpc_client import OmniError, errors

CLIENT = Path(__file__).parents[3] / "clients" / "python"
README = (CLIENT / "README.md").read_text()
SAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)

# One process for all: most of a process's time is the import of grpc.
RUNNER = """
import runpy, sys
for path in sys.argv[1:]:
    print("#", path, flush=True)
    runpy.run_path(path, run_name="__main__")
print("# imported", "omni_grpc" in sys.modules)
"""


async def test_every_sample_runs_as_printed(service, tmp_path):
    paths = []
    for number, sample in enumerate(SAMPLES):
        path = tmp_path / f"sample{number:02}.py"
        path.write_text(sample)
        paths.append(str(path))
    environment = os.environ | {"OMNI_GRPC_ADDR": service.target, "OMNI_API_KEY": API_KEY}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", RUNNER, *paths),
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaints = await process.communicate()
    assert (process.returncode, complaints.decode()) == (0, "")
    printed = output.decode()
    assert len(SAMPLES) >= 8
    assert "openai/gpt-4o-mini 0.001234567 9" in printed
    assert "Hello, you!1234567 5000000000" in printed
    assert "It is 21 degrees in Paris in Paris." in printed
    assert "{'city': 'Paris', 'country': 'France'}" in printed
    assert "4.5 of 5" in printed
    assert "openai/gpt-4o-mini about 0.000001 at most 9000" in printed
    assert "a/2 It calls no tools." in printed
    assert "0 0.0025 saved -0.0005" in printed
    assert "mini costs less." in printed
    assert "models.dev fetching 10" in printed
    assert "1 new, 0 with another price" in printed
    assert printed.endswith("# imported False\n"), "the client must not need the server"


def test_the_readme_names_every_error_and_reason():
    for name in {cls.__name__ for cls in errors.CLASS_OF_CODE.values()} | {OmniError.__name__}:
        assert f"`{name}`" in README
    for reason, cls in errors.CLASS_OF_REASON.items():
        assert f"`{reason}`" in README
        assert f"`{cls.__name__}`" in README


def test_the_package_says_that_it_is_typed_and_imports_nothing_of_the_server():
    package = CLIENT / "src" / "omni_grpc_client"
    assert (package / "py.typed").exists()
    for path in package.glob("*.py"):
        assert not re.search(r"^\s*(from|import) omni_grpc\b", path.read_text(), re.MULTILINE)
