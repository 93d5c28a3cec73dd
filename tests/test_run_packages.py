"""The service runs with the packages of requirements/run.txt: no import needs one of the tests'."""

import re
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parent.parent / "requirements" / "run.txt"

IMPORTS_ALL = """
import importlib, importlib.abc, importlib.metadata, pkgutil, re, sys

allowed = {re.sub(r"[-_.]+", "-", name).lower() for name in sys.argv[1:]}
owners = importlib.metadata.packages_distributions()


class OnlyRun(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        of = owners.get(name, ())
        if path is None and of and not {re.sub(r"[-_.]+", "-", x).lower() for x in of} & allowed:
            raise ModuleNotFoundError(f"{name} is not in run.txt", name=name)


sys.meta_path.insert(0, OnlyRun())
import omni_grpc

for found in pkgutil.walk_packages(omni_grpc.__path__, "omni_grpc."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
"""


def test_every_module_imports_with_the_packages_that_make_dev_installs() -> None:
    names = re.findall(r"^([A-Za-z0-9_.-]+)==", RUN.read_text(), re.MULTILINE)
    ours = ["omni-grpc", "omni-grpc-proto", "omni-grpc-client", "pip", "setuptools"]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS_ALL, *names, *ours],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
