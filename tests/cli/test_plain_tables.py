"""Tables of commands show what tenants wrote as it is: no markup, nothing for a terminal."""

import io

import pytest
from rich.console import Console

from omni_grpc.cli.working import plain, table_of


@pytest.mark.parametrize(
    "text", ["[/x]", "[bold red]late[/]", "[link=https://evil.example]x[/link]"]
)
def test_a_text_is_no_markup(text: str) -> None:
    assert text in printed(text)


def test_a_text_moves_no_cursor() -> None:
    assert "\x1b" not in printed("\x1b[2Jgone")
    assert "\u202e" not in plain("a\u202eb").plain


def printed(text: str) -> str:
    out = io.StringIO()
    table = table_of("name", "value")
    table.add_row("orgs/acme", text)
    Console(file=out, width=200, force_terminal=False).print(table)
    return out.getvalue()
