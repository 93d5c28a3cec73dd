"""The list of mutants fits the code, and its runner tells a test that fails from one that does not.

`make mutants` itself takes minutes and is no part of the tests.
"""

import ast
from functools import cache
from pathlib import Path

import pytest
from mutant_list import Mutant, read_mutants
from mutant_runner import main

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = read_mutants()


@cache
def functions_of(file: str) -> frozenset[str]:
    """The names of a file's functions; many mutants name the same file."""
    body = ast.parse((ROOT / file).read_text("utf-8")).body
    return frozenset(
        one.name for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutants_text_stands_in_its_file_once_and_its_test_exists(mutant: Mutant) -> None:
    texts: dict[str, str] = {}
    for edit in mutant.edit:
        text = texts.get(edit.file) or (ROOT / edit.file).read_text("utf-8")
        texts[edit.file] = edit.apply(text)
        assert texts[edit.file] != text
    for file, text in texts.items():
        if file.endswith(".py"):
            ast.parse(text)
    file, _, node = mutant.test.partition("::")
    assert node.partition("[")[0] in functions_of(file)
    assert mutant.why.endswith(".")


def test_no_name_stands_for_two_mutants() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 16


MODULE = """
def double(number):
    assert number >= 0
    return 2 * number
"""
TESTS = """
import pytest, module

def test_double():
    assert module.double(2) == 4

def test_negative():
    with pytest.raises(AssertionError):
        module.double(-1)
"""
ONE = """
[[mutant]]
name = "{name}"
why = "A test."
test = "test_module.py::{test}"
[[mutant.edit]]
file = "module.py"
old = "{old}"
new = "{new}"
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module and its tests, which need no plugin but the one of the runner's own option."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")
    (tmp_path / "module.py").write_text(MODULE)
    (tmp_path / "test_module.py").write_text(TESTS)
    (tmp_path / "tests/mutants").mkdir(parents=True)
    return tmp_path


def fill(tree: Path, *mutants: tuple[str, str, str, str]) -> None:
    names = ("name", "test", "old", "new")
    text = "".join(ONE.format(**dict(zip(names, one, strict=True))) for one in mutants)
    (tree / "tests/mutants/mutants.toml").write_text(text)


CAUGHT = (
    ("doubles", "test_double", "2 * number", "3 * number"),
    ("refuses", "test_negative", "number >= 0", "True"),
)
OTHERS = (
    ("survivor", "test_double", "number >= 0", "True"),
    ("gone", "test_double", "4 * number", "3"),
    ("twice", "test_double", "number", "3"),
    ("syntax", "test_double", "return 2", "return return"),
)


def test_the_runner_tells_what_is_caught_and_leaves_the_checkout_as_it_is(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tree, *CAUGHT, *OTHERS)
    assert main(tree, CAUGHT[0][0]) == 0
    assert "1 of 1 killed" in capsys.readouterr().out
    assert main(tree) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    words = {line[1]: line[0] for line in lines if len(line) == 5 and line[3] == "s"}
    assert words == {
        "doubles": "killed",
        "refuses": "killed",
        "survivor": "SURVIVED",
        "gone": "BROKEN",
        "twice": "BROKEN",
        "syntax": "BROKEN",
    }
    assert (tree / "module.py").read_text() == MODULE


def test_tests_that_fail_as_the_code_is_stop_the_run(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tree, ("doubles", "test_missing", "2 * number", "3"))
    assert main(tree) == 1
    assert "do not pass" in capsys.readouterr().out
    assert main(tree, "another") == 1
    assert "no mutant 'another'" in capsys.readouterr().out
