"""docs/peers.md names every report and its test, and every test is on it."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = (ROOT / "docs/peers.md").read_text("utf-8")

REPORTED = {
    "A": (
        "litellm 14457 13245 33736 30630 36008 35958 37558 39462 30667, bifrost 3357,"
        " llmgateway 3331 3264, new-api 5235 7062 4168 5288 5290, portkey 1797, typescript-sdk 194"
    ),
    "B": "litellm 37923 37992 39294 39850 9812 6575 14849, tensorzero 3862",
    "C": "litellm 15740 17814 40572 35569, llmgateway 1713, pollinations 10621, akash 3449",
    "D": (
        "litellm 34732 40095 26672 24682 30661 23714 33325 34238 27639 36926 40050 30460 27735"
        " 35570 29493 30684, one-api 2440, new-api 5690 4429, bifrost 5673 2873 5770,"
        " ai-gateway 2394 2248 1754, agentgateway 2626, cloudflare-docs 31628"
    ),
    "E": "litellm 38157 33872 34805 19163 34887, llmgateway 3759 2656 614, tensorzero 3751",
    "F": "litellm 6895 27989 18708 38312 26191 26886 21908",
    "I": "x402 1062 277 831 2294 1378 3083 3214 3268, cdp-sdk 795, sample-agentcore 40",
}
"""The reports by their repository and number, as they were gathered."""


@dataclass(frozen=True)
class Row:
    reported: str
    test: str

    @property
    def numbers(self) -> list[tuple[str, str]]:
        """Each with its repository, which is named before its first number."""
        found, repository = [], self.reported.split()[0].lower()
        for name, number in re.findall(r"([\w-]*?)\s?(?:PR)?#(\d+)", self.reported):
            repository = name.lower() or repository
            found.append((repository, number))
        return found


def sections() -> dict[str, tuple[Path, list[Row]]]:
    """By its letter the file of a list's tests, and its rows."""
    found = {}
    for text in PAGE.split("\n## ")[1:]:
        (file,) = re.findall(r"^`(tests/\S+)`$", text, re.MULTILINE)
        cells = [line.strip("|").split(" | ") for line in text.splitlines() if line[:2] == "| "]
        rows = [Row(row[0].strip(), row[-1].strip(" `")) for row in cells[1:]]
        found[text[0]] = (ROOT / file, rows)
    return found


def functions_of(path: Path) -> dict[str, str]:
    """The tests of a file with their docstrings."""
    return {
        one.name: ast.get_docstring(one) or ""
        for one in ast.parse(path.read_text("utf-8")).body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith("test_")
    }


def test_the_page_has_each_list_and_no_other() -> None:
    assert sections().keys() == REPORTED.keys()


@pytest.mark.parametrize("letter", REPORTED)
def test_every_report_has_its_row(letter: str) -> None:
    wanted = {
        (repository, number)
        for group in REPORTED[letter].split(", ")
        for repository, *numbers in [group.split()]
        for number in numbers
    }
    rows = sections()[letter][1]
    listed = [one for row in rows for one in row.numbers]
    assert set(listed) == wanted
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("letter", REPORTED)
def test_every_rows_test_is_there_and_names_its_reports(letter: str) -> None:
    path, rows = sections()[letter]
    tests = functions_of(path)
    for row in rows:
        said = f"{row.test}\n{tests[row.test]}"
        for repository, number in row.numbers:
            assert re.search(rf"(?<!\d){number}(?!\d)", said), (row.test, number)
            assert repository.replace("-", "").removesuffix("docs") in re.sub(
                r"[-_]", "", said.lower()
            ), (row.test, repository)


@pytest.mark.parametrize("letter", REPORTED)
def test_every_test_of_a_report_is_on_the_page(letter: str) -> None:
    path, rows = sections()[letter]
    listed = {row.test for row in rows}
    reports = {number for row in rows for _, number in row.numbers}
    for name, said in functions_of(path).items():
        if re.search(r"_\d{3,}_", name) and name not in listed:  # a second one of a report
            assert reports & set(re.findall(r"\d{3,}", name + said)), name
