"""How commands fail: in one form, with what to do, and other names led to what there is."""

import pytest
import typer
from typer.testing import CliRunner

from omni_grpc.cli.app import app
from omni_grpc.cli.failures import CommandError, told
from omni_grpc.core.errors import NotFound
from omni_grpc.settings import SettingsError


def plainly(text: str) -> str:
    """What is printed, without frames and wherever its lines break."""
    return " ".join(word for word in text.split() if not set(word) <= set("│╭╮╰╯─"))


@pytest.mark.parametrize(
    ("error", "printed"),
    [
        (NotFound("There is no `orgs/x`."), "Error: There is no `orgs/x`. (NOT_FOUND)"),
        (CommandError("Name [an] attempt."), "Error: Name [an] attempt."),
        (OSError("Nobody listens."), "Error: Nobody listens."),
        (SettingsError(["X: no"]), "Error: The settings cannot be used: - X: no"),
    ],
)
def test_every_fault_is_told_in_one_form(
    capsys: pytest.CaptureFixture[str], error: Exception, printed: str
) -> None:
    with pytest.raises(typer.Exit) as caught, told():
        raise error
    assert caught.value.exit_code == 1
    assert plainly(capsys.readouterr().err) == printed


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("models", "omni-grpc catalog list"),
        ("policies", "omni-grpc routing policies"),
        ("catlog", "catalog"),
    ],
)
def test_a_command_that_is_none_is_led_to_one(word: str, meant: str) -> None:
    found = CliRunner().invoke(app, [word])
    assert found.exit_code == 2
    assert f"No such command '{word}'. Did you mean '{meant}'" in plainly(found.output)
