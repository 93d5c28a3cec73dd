"""Takes out one safeguard at a time and shows that its test fails: `make mutants`.

Everything happens in a copy of the tree in a temporary folder; the checkout is only read. First all
the named tests must pass as the code is. `MUTANT=name` runs one. Exits with 1 if a test does not
fail without its safeguard, or the list does not fit the code.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from mutant_list import Edit, Mutant, MutantError, read_mutants

ROOT: Final = Path(__file__).resolve().parents[2]
LEFT_OUT: Final = (".*", "__pycache__", "*.pyc", "node_modules", "dist")
TEST_SECONDS_MAX: Final = 30
"""A test that waits for what cannot come without the safeguard has failed."""

RUN_SECONDS_MAX: Final = 300


class Verdict(StrEnum):
    """What became of the tests."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"
    """No test said anything: it could not even begin."""


def main(root: Path = ROOT, wanted: str = "") -> int:
    """Runs the mutants of `root`, or the `wanted` one; the exit code."""
    try:
        listed = read_mutants(root / "tests/mutants/mutants.toml")
    except MutantError as error:
        _say(error)
        return 1
    mutants = [one for one in listed if wanted in ("", one.name)]
    if not mutants:
        _say(f"there is no mutant {wanted!r}")
        return 1
    with tempfile.TemporaryDirectory(prefix="omni-mutants-") as folder:
        tree = Tree(root, Path(folder))
        started = time.monotonic()
        tests = list(dict.fromkeys(one.test for one in mutants))
        if (found := tree.run(tests)) is not Verdict.SURVIVED:
            _say(f"The tests do not pass with every safeguard in its place ({found}):")
            _say(tree.output)
            return 1
        _say(f"{len(tests)} tests pass in {time.monotonic() - started:.0f} s. Now without:\n")
        width = max(len(one.name) for one in mutants)
        verdicts = [_try(tree, one, width) for one in mutants]
    killed = verdicts.count(Verdict.KILLED)
    _say(f"\n{killed} of {len(mutants)} killed in {time.monotonic() - started:.0f} s")
    return 0 if killed == len(mutants) else 1


def _try(tree: "Tree", mutant: Mutant, width: int) -> Verdict:
    started = time.monotonic()
    try:
        tree.mutate(mutant.edit)
        verdict = tree.run([mutant.test])
    except MutantError as error:
        verdict, tree.output = Verdict.BROKEN, str(error)
    finally:
        tree.restore()
    seconds = time.monotonic() - started
    _say(f"  {verdict:8} {mutant.name:{width}} {seconds:5.1f} s  {mutant.test}")
    if verdict is not Verdict.KILLED:
        _say(f"           {mutant.why}")
        _say("".join(f"           | {line}\n" for line in tree.output.splitlines()[-15:]))
    return verdict


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Tree:
    """A copy of the code that may be broken."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.output = ""
        """What the last run printed."""
        self._copy = folder / "tree"
        self._report = folder / "report.xml"
        self._original: dict[Path, bytes] = {}
        shutil.copytree(root, self._copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        paths = (self._copy, self._copy / "gen", self._copy / "clients/python/src")
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}

    def mutate(self, edits: Sequence[Edit]) -> None:
        """Applies the edits.

        Raises:
            MutantError: one does not fit.
        """
        for edit in edits:
            path = self._copy / edit.file
            try:
                text = path.read_text("utf-8")
            except OSError as error:
                raise MutantError(f"{edit.file} cannot be read: {error.strerror}") from error
            self._original.setdefault(path, text.encode())
            _write(path, edit.apply(text).encode())

    def restore(self) -> None:
        """Undoes all edits."""
        for path, content in self._original.items():
            _write(path, content)
        self._original.clear()

    def run(self, tests: Sequence[str]) -> Verdict:
        """Runs tests until the first fails."""
        self._report.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:randomly",
            "-p", "no:cacheprovider", "-o", f"timeout={TEST_SECONDS_MAX}", "--tb=short",
            f"--junitxml={self._report}", *tests,
        ]  # fmt: skip
        try:
            found = subprocess.run(
                command,
                cwd=self._copy,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=RUN_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            self.output = (error.stdout or b"").decode(errors="replace")
            return Verdict.BROKEN
        self.output = found.stdout
        if found.returncode == 0:
            return Verdict.SURVIVED
        return Verdict.KILLED if self._has_failed() else Verdict.BROKEN

    def _has_failed(self) -> bool:
        """Whether a test said so, or the look at its books, and not only its beginning failed."""
        try:
            report = ET.parse(self._report)  # our own pytest wrote it
        except (OSError, ET.ParseError):
            return False
        ends = [error.get("message", "") for error in report.iter("error")]
        return next(report.iter("failure"), None) is not None or any(
            end.startswith("failed on teardown") for end in ends
        )


def _write(path: Path, content: bytes) -> None:
    """Writes a file, and removes what Python compiled of it: its time may seem unchanged."""
    path.write_bytes(content)
    if path.suffix == ".py":
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(wanted=os.environ.get("MUTANT", "")))
