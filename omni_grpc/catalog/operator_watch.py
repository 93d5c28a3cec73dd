"""Follows models.yaml: what it says holds everywhere soon after it was written.

A file that cannot be used changes nothing and is told in the log with every fault; so does one
that vanished. While the database does not answer, the file waits.
"""

import asyncio
from pathlib import Path
from typing import Final, NoReturn

import structlog

from omni_grpc.catalog.catalog import Catalog
from omni_grpc.catalog.operator_file import OperatorFileError, read_operator_file
from omni_grpc.core.errors import OmniError
from omni_grpc.core.limits import CATALOG_POLL_SECONDS
from omni_grpc.core.waking import woken
from omni_grpc.storage import file_signature

UNMATCHED_COUNT_MAX: Final = 20
"""Most patterns without a match that the log names."""

log = structlog.get_logger(__name__)


class OperatorFileWatch:
    """Applies a file when it starts and whenever it changes. For one event loop.

    Any number of workers may follow the same file: the first one applies it, the others see that
    it holds.
    """

    def __init__(
        self, catalog: Catalog, path: Path, *, poll_s: float = CATALOG_POLL_SECONDS
    ) -> None:
        """Take the catalog and the file.

        Raises:
            OperatorFileError: the file cannot be used.
        """
        self._catalog = catalog
        self._path = path
        self._poll_s = poll_s
        self._applied: tuple[int, ...] | None = None
        self._wake = asyncio.Event()
        read_operator_file(path)

    def wake(self) -> None:
        """Look now, whether it seems changed or not: what SIGHUP asks for."""
        self._applied = None
        self._wake.set()

    async def run(self) -> NoReturn:
        """Follow the file until cancelled. No failure ends it, or changes what holds."""
        while True:
            self._wake.clear()
            signature = file_signature(self._path)
            if signature != self._applied:
                try:
                    await self.apply()
                    self._applied = signature
                except OmniError as error:
                    log.warning("models_file_waits", reason=error.reason, message=error.message)
                except Exception:
                    log.exception("models_file_failed")
            await woken(self._wake, self._poll_s)

    async def apply(self) -> bool:
        """Make what the file says hold; returns whether it could be used.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        try:
            file = await asyncio.to_thread(read_operator_file, self._path)
            unmatched = await self._catalog.apply_file(file, actor=self._path.name)
        except OperatorFileError as error:
            log.error(
                "models_file_refused", path=str(self._path), faults=error.faults, kept="what held"
            )
            return False
        tell = log.warning if unmatched else log.info
        tell(
            "models_file_applied",
            models=len(file.rules),
            aliases=len(file.aliases),
            without_match=unmatched[:UNMATCHED_COUNT_MAX],
        )
        return True
