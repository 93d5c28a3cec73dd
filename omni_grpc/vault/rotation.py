"""Puts data keys under the current master key, batch by batch; secrets stay sealed all the time.

It can be stopped and begun again at any moment, and run beside the service: a row is sealed with
the old key or with the new one, and both open while both are set.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from omni_grpc.vault.envelope import Envelope, EnvelopeBrokenError, Place, rewrap
from omni_grpc.vault.master_keys import MasterKeys
from omni_grpc.vault.store import CredentialStore

ROWS_AT_ONCE: Final = 200
"""Rows of one step: some 100 kB, and a moment of work."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """How far a rotation is: rows done, and rows whose data keys do not open here."""

    done: int
    unusable: int


class Rotation:
    """One rotation to the current master key."""

    def __init__(self, store: CredentialStore, keys: MasterKeys) -> None:
        self._store = store
        self._keys = keys

    async def run(self, rows_at_once: int = ROWS_AT_ONCE) -> AsyncIterator[Rotated]:
        """Rewraps all rows, and says after each step how far it is; nothing without a current key.

        Raises:
            LedgerUnavailable: the database is away; what was done stays done.
        """
        current = self._keys.current_id
        if current is None:
            return
        done = unusable = after = 0
        while rows := await self._store.sealed_otherwise(current, after, rows_at_once):
            for row in rows:
                place = Place(row.id, row.org_id, row.subject_kind, row.subject_id, row.provider)
                envelope = Envelope(row.sealed, row.sealed_key, row.master_key_id)
                try:
                    renewed = rewrap(envelope, place, self._keys)
                except EnvelopeBrokenError:
                    unusable += 1
                    continue
                done += await self._store.rewrapped(row, renewed)
            after = rows[-1].id
            yield Rotated(done, unusable)

    async def left(self) -> dict[str, int]:
        """How many rows each master key seals, by its id."""
        return await self._store.counts()
