"""Tables of commands show texts as they are: no markup, nothing for a terminal, nothing cut."""

import io

import pytest
from rich.console import Console

from omni_grpc.cli.working import WHOLE_CHARS_MAX, WholeConsole, plain, table_of


@pytest.mark.parametrize(
    "text", ["[/x]", "[bold red]late[/]", "[link=https://evil.example]x[/link]"]
)
def test_a_text_is_no_markup(text: str) -> None:
    assert text in printed(text)


def test_a_text_moves_no_cursor() -> None:
    assert "\x1b" not in printed("\x1b[2Jgone")
    assert "\u202e" not in plain("a\u202eb").plain


def test_ids_amounts_and_headers_stay_whole_in_a_narrow_terminal() -> None:
    name = f"accounts/acme/topUps/{'0' * 36}"
    cells = (name, "0.000123456", "orgs/acme/teams/web/environments/live", "2026-11-21 10:00 UTC")
    lines = table_lines(80, ("name", "amount_usd", "parent", "create_time"), cells)
    assert any(all(one in line for one in cells[:3]) for line in lines)
    assert any("amount_usd" in line and "create_time" in line for line in lines)
    assert not any("…" in line for line in lines)


def test_texts_break_between_words_where_the_table_is_too_wide() -> None:
    lines = table_lines(40, ("name", "message", "n"), ("acme", "one word after another " * 5, "7"))
    assert max(map(len, lines)) == 40
    text = " ".join(line.split("│")[2].strip() for line in lines if "│" in line)
    assert " ".join(text.split()).endswith("another")


def test_a_very_long_word_is_folded_and_lost_nowhere() -> None:
    url = "https://example.com/" + "x" * 300
    lines = table_lines(80, ("name", "url"), ("acme", url))
    assert max(map(len, lines)) <= 80 + WHOLE_CHARS_MAX
    assert "".join(line.split("│")[2].strip() for line in lines if "│" in line) == url


def table_lines(width: int, headers: tuple[str, ...], cells: tuple[str, ...]) -> list[str]:
    out = io.StringIO()
    table = table_of(headers[0], *headers[1:])
    table.add_row(*cells)
    WholeConsole(file=out, width=width, force_terminal=False).print(table)
    return out.getvalue().splitlines()


def printed(text: str) -> str:
    out = io.StringIO()
    table = table_of("name", "value")
    table.add_row("orgs/acme", text)
    Console(file=out, width=200, force_terminal=False).print(table)
    return out.getvalue()
