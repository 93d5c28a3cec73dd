"""The speeds that all workers measured, in PostgreSQL: told and learned at a slow pace.

What one worker measured is added to the sums of all; sums fade by the database's clock, so that it
does not matter whose clock is right. While the database is away each worker goes on with what it
knows, and tells later.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Final

import structlog
from psycopg.rows import tuple_row

from omni_grpc.core.errors import OmniError
from omni_grpc.routing.health import Health
from omni_grpc.routing.speeds import HALF_LIFE_SECONDS, WEIGHT_MAX, Sums
from omni_grpc.storage import Database

log = structlog.get_logger(__name__)

SHARE_SECONDS: Final = 15.0
"""How often a worker tells and learns: often enough for speeds that halve their weight in ten
minutes, and 8 statements a minute."""

OFFERS_AT_ONCE_MAX: Final = 500
"""Offers told by one statement; what is left is told at the next turn."""

OFFERS_LEARNED_MAX: Final = 1_000
"""Offers learned by one statement, those that answered last first: each decision looks at each."""

KNOWN_HOURS: Final = 24
"""What no call measured for so long is forgotten."""

_SPREAD: Final = 0.2
"""Share of the pace by which workers differ, so that they do not all write at the same moment."""

# Rows are locked in the order of their offers, so that workers wait for each other in no ring.
ADD: Final = """
WITH forgotten AS (
  DELETE FROM offer_speed
  WHERE update_time < clock_timestamp() - make_interval(hours => %(hours)s)
    AND offer <> ALL (%(offers)s::text[]))
INSERT INTO offer_speed AS s (offer, first_ms, first_weight, token_ms, token_weight, answer_tokens,
                              reasoning_tokens, answer_weight)
SELECT * FROM unnest(%(offers)s::text[], %(first_ms)s::float8[], %(first_weights)s::float8[],
                     %(token_ms)s::float8[], %(token_weights)s::float8[],
                     %(answer_tokens)s::float8[], %(reasoning_tokens)s::float8[],
                     %(answer_weights)s::float8[]) AS m (offer)
ORDER BY offer
ON CONFLICT (offer) DO UPDATE SET (first_ms, first_weight, token_ms, token_weight, answer_tokens,
                                   reasoning_tokens, answer_weight, update_time) = (
  SELECT s.first_ms * k.first + excluded.first_ms, s.first_weight * k.first + excluded.first_weight,
         s.token_ms * k.token + excluded.token_ms, s.token_weight * k.token + excluded.token_weight,
         s.answer_tokens * k.answer + excluded.answer_tokens,
         s.reasoning_tokens * k.answer + excluded.reasoning_tokens,
         s.answer_weight * k.answer + excluded.answer_weight, clock_timestamp()
  FROM (SELECT least(keep, %(most)s / greatest(s.first_weight, 1)) AS first,
               least(keep, %(most)s / greatest(s.token_weight, 1)) AS token,
               least(keep, %(most)s / greatest(s.answer_weight, 1)) AS answer
        FROM (SELECT exp(-ln(2) / %(half_life)s * least(greatest(
                extract(epoch FROM clock_timestamp() - s.update_time)::float8, 0), 86400))
              AS keep) a) k)
"""
READ: Final = """
SELECT offer, first_ms * keep, first_weight * keep, token_ms * keep, token_weight * keep,
       answer_tokens * keep, reasoning_tokens * keep, answer_weight * keep
FROM (SELECT *, exp(-ln(2) / %(half_life)s * greatest(
               extract(epoch FROM clock_timestamp() - update_time)::float8, 0)) AS keep
      FROM offer_speed
      WHERE update_time >= clock_timestamp() - make_interval(hours => %(hours)s)
      ORDER BY update_time DESC LIMIT %(limit)s) s
"""


class SpeedStore:
    """The sums in PostgreSQL. Every method raises LedgerUnavailable while it is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, new: Mapping[str, Sums]) -> None:
        """Adds what was measured, by offer id; OFFERS_AT_ONCE_MAX at most."""
        await self._database.execute(
            ADD,
            {
                "offers": list(new),
                "first_ms": [one.first_ms for one in new.values()],
                "first_weights": [one.first_weight for one in new.values()],
                "token_ms": [one.token_ms for one in new.values()],
                "token_weights": [one.token_weight for one in new.values()],
                "answer_tokens": [one.answer_tokens for one in new.values()],
                "reasoning_tokens": [one.reasoning_tokens for one in new.values()],
                "answer_weights": [one.answer_weight for one in new.values()],
                "most": WEIGHT_MAX,
                "half_life": HALF_LIFE_SECONDS,
                "hours": KNOWN_HOURS,
            },
        )

    async def read(self) -> dict[str, Sums]:
        """What all measured, by offer id, faded up to now."""
        rows = await self._database.fetch_all(
            READ,
            {"half_life": HALF_LIFE_SECONDS, "hours": KNOWN_HOURS, "limit": OFFERS_LEARNED_MAX},
            row=tuple_row,
        )
        return {offer: Sums(*sums) for offer, *sums in rows}


class SpeedShare:
    """What one worker tells and learns. `load` it, run `run()` as a task, `close` it at the end."""

    def __init__(
        self, health: Health, store: SpeedStore, *, seconds: float = SHARE_SECONDS
    ) -> None:
        self._health = health
        self._store = store
        self._seconds = seconds

    async def load(self) -> None:
        """Learns what others measured.

        Raises:
            LedgerUnavailable: the database does not answer; nothing is learned.
        """
        self._health.learned(await self._store.read())

    async def run(self) -> None:
        """Tells and learns for ever; ends only by cancellation."""
        while True:
            # Not for secrets: workers shall merely not all write at the same moment.
            await asyncio.sleep(self._seconds * (1 - _SPREAD * random.random()))  # noqa: S311
            try:
                await self.share()
            except OmniError as error:
                log.info("speeds_wait", reason=error.reason)
            except Exception:  # speeds are worth no worker's end
                log.exception("speeds_not_shared")

    async def share(self) -> None:
        """Tells what is new, and learns what all measured.

        Raises:
            LedgerUnavailable: the database does not answer; what is new is told later.
        """
        await self._tell()
        await self.load()

    async def close(self, seconds: float) -> None:
        """Tells what is new, for so long; what is left then is forgotten."""
        try:
            async with asyncio.timeout(seconds):
                await self._tell()
        except (OmniError, TimeoutError):
            log.info("speeds_forgotten")

    async def _tell(self) -> None:
        new = self._health.take_new(OFFERS_AT_ONCE_MAX)
        if not new:
            return
        try:
            await self._store.add(new)
        except OmniError:
            self._health.give_back(new)
            raise
