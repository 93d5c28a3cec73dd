"""Sends what webhooks are to be told, until it is taken or given up.

Every worker runs one; together they send each delivery once, but for a worker that dies in
between. Webhooks take turns and each has few requests at once, so that one that is slow or dead
holds up none but itself.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import OmniError
from omni_grpc.core.waking import woken
from omni_grpc.notices.model import Due, Outcome, secret_row
from omni_grpc.notices.outbox_store import OutboxStore
from omni_grpc.notices.post import Poster
from omni_grpc.notices.signing import headers
from omni_grpc.notices.store import Record
from omni_grpc.storage import SealBrokenError, Sealer

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Pauses between attempts, as Standard Webhooks proposes them: ten attempts in three days."""

JITTER: Final = 0.2
"""Share by which a pause may be longer, so that what failed together is not sent together."""

LOOK_SECONDS: Final = 1.0
"""How often a worker looks for what is due."""

WEBHOOKS_AT_ONCE_MAX: Final = 500
"""Webhooks that a worker sends to at once, each dead one for an attempt's time limit; and that it
looks at with one statement, of a few milliseconds."""

EACH_AT_ONCE_MAX: Final = 4
"""Requests to one webhook at once, of a worker."""

FORGET_SECONDS: Final = 600.0
"""How often a worker deletes what is old."""

_GONE: Final = 410


class Sender:
    """Sends deliveries; run `run()` as a task.

    Args:
        store: the outbox.
        sealer: opens webhooks' secrets.
        poster: opened and closed here.
        clock: dates the attempts.
        gone: of an organisation's name, what records that a webhook of it was turned off because
            it answered 410.
        retry_seconds: the pauses; there is one attempt more than these.
        look_seconds: between two looks.
    """

    def __init__(
        self,
        store: OutboxStore,
        sealer: Sealer,
        poster: Poster,
        clock: Clock,
        gone: Callable[[str], Record],
        *,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._poster = poster
        self._clock = clock
        self._gone = gone
        self._retry_seconds = retry_seconds
        self._look_seconds = look_seconds
        self._after = 0
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Sends until it is cancelled; what is being sent then is sent again by another."""
        await self._poster.open()
        forgetting = asyncio.create_task(self._forget())
        try:
            while True:
                self._woken.clear()
                try:
                    more = await self._look()
                except OmniError:  # the database is away; it is looked for again
                    more = False
                if not more:
                    await woken(self._woken, self._look_seconds)
        finally:
            for task in (forgetting, *self._busy.values()):
                task.cancel()
            await self._poster.close()

    async def _look(self) -> bool:
        """Takes what is due and begins to send it; whether there may be more at once."""
        room = WEBHOOKS_AT_ONCE_MAX - len(self._busy)
        if room <= 0 or (self._after == 0 and not await self._store.is_due()):
            return False
        taken = await self._store.take(
            after=self._after,
            looked=room,
            each=EACH_AT_ONCE_MAX,
            busy=list(self._busy),
        )
        by_webhook: dict[int, list[Due]] = defaultdict(list)
        for due in taken.due:
            by_webhook[due.webhook_id].append(due)
        for webhook_id, batch in by_webhook.items():
            task = asyncio.create_task(self._send_all(webhook_id, batch))
            self._busy[webhook_id] = task
        # A round goes from the first webhook to the last without a pause.
        self._after = taken.last or 0
        return bool(by_webhook) or taken.last is not None

    async def _send_all(self, webhook_id: int, batch: list[Due]) -> None:
        try:
            await asyncio.gather(*map(self._send, batch))
        except OmniError as error:
            # The lease ends, and somebody sends it again.
            log.warning("webhook_outcome_not_written", reason=error.reason)
        finally:
            self._busy.pop(webhook_id, None)
            self._woken.set()

    async def _send(self, due: Due) -> None:
        outcome = await self._attempt(due)
        if not outcome.error:
            await self._store.delivered(due, outcome)
            return
        log.info(
            "webhook_not_delivered",
            org_id=due.org_id,
            webhook=due.slug,
            delivery=str(due.id),
            attempt=due.attempt_count,
            status=outcome.status,
            why=outcome.error,
        )
        if outcome.status == _GONE:
            await self._store.gone(due, outcome, self._gone(f"orgs/{due.org_slug}"))
        elif due.attempt_count > len(self._retry_seconds):
            await self._store.dead(due, outcome)
        else:
            pause_s = self._retry_seconds[due.attempt_count - 1]
            jitter = random.uniform(1, 1 + JITTER)  # noqa: S311 - no secret
            await self._store.again(due, outcome, pause_s * jitter)

    async def _attempt(self, due: Due) -> Outcome:
        body = due.body.encode()
        try:
            secret = self._sealer.open(due.sealed_secret, secret_row(due.org_id, due.slug)).decode()
        except SealBrokenError:
            return Outcome(
                error="Its secret cannot be opened, since the server's own was changed. "
                "Delete the webhook and create it anew."
            )
        signed = headers(secret, str(due.id), int(self._clock.now().timestamp()), body)
        return await self._poster.post(due.url, signed, body)

    async def _forget(self) -> None:
        while True:
            try:
                left = await self._store.forget() > 0
            except OmniError:  # the database is away
                left = False
            await asyncio.sleep(0 if left else FORGET_SECONDS)
