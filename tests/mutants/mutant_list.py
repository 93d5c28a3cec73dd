"""The safeguards that `make mutants` takes out one by one, as `mutants.toml` lists them."""

from pathlib import Path
from typing import Final

import msgspec

LIST: Final = Path(__file__).with_name("mutants.toml")


class MutantError(Exception):
    """The list does not fit the code."""


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In `file`, `old`, which stands there once, becomes `new`."""

    file: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """The text of the file without the safeguard.

        Raises:
            MutantError: `old` does not stand there exactly once.
        """
        if (count := text.count(self.old)) != 1:
            raise MutantError(f"{self.file} has the text to replace {count} times, not once")
        return text.replace(self.old, self.new)


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One safeguard less. `test` is the pytest node that must fail; `why` is what it guards."""

    name: str
    why: str
    test: str
    edit: tuple[Edit, ...]


class _List(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mutant: tuple[Mutant, ...]


def read_mutants(path: Path = LIST) -> tuple[Mutant, ...]:
    """All of them.

    Raises:
        MutantError: it cannot be read.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_List).mutant
    except (msgspec.DecodeError, OSError) as error:
        raise MutantError(f"{path} cannot be read: {error}") from error
