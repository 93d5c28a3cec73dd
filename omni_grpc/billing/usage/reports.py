"""Reports of usage as their readers ask for them: checked ranges, time zones, pages.

Sums are of whole hours: a range is widened to those of its time zone, whose days and months are
told. Hours by themselves are those of UTC.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from omni_grpc.billing.model import UsageRecord
from omni_grpc.billing.usage.model import (
    Bucket,
    CallPage,
    CallQuery,
    Dimension,
    ListedCall,
    UsagePage,
    UsagePosition,
    UsageQuery,
)
from omni_grpc.billing.usage.store import UsageStore, time_of
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.ids import AccountId, CallId
from omni_grpc.core.likeness import did_you_mean

_HOUR: Final = timedelta(hours=1)
_DEFAULT_RANGES: Final = {
    Bucket.HOUR: timedelta(hours=24),
    Bucket.DAY: timedelta(days=30),
    Bucket.MONTH: timedelta(days=365),
    Bucket.WHOLE: timedelta(days=30),
}
"""How far a report goes back that does not say from when."""

FIRST_DAY: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""No call is older than this service: what a range has before it is not looked through."""

AHEAD: Final = timedelta(days=1)
"""And none began later than this from now, whatever a server's clock said."""

ZONE_CHARS_MAX: Final = 64


class UsageReports:
    """Answers questions about usage, of one account each."""

    def __init__(self, store: UsageStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def query(
        self,
        account_id: AccountId,
        *,
        start: datetime | None,
        end: datetime | None,
        bucket: Bucket,
        dimensions: Collection[Dimension],
        time_zone: str,
        start_field: str,
        end_field: str,
    ) -> UsageQuery:
        """The question in full, with what it leaves open filled in.

        Args:
            account_id: whose usage.
            start: from when on; None for a default before `end` that the bucket suits.
            end: until before when; None for now.
            bucket: how time is divided.
            dimensions: what sums are kept apart by.
            time_zone: an IANA name; UTC for the empty one.
            start_field: what the caller knows `start` as.
            end_field: what the caller knows `end` as.

        Raises:
            FieldInvalid: `end` is not after `start`, or the time zone is unknown.
        """
        now = self._clock.now()
        if start is not None and end is not None and end <= start:
            raise FieldInvalid(f"{end_field} must be after {start_field}.", field=end_field)
        last = min(end or now, now + AHEAD)
        if start is None:
            start = max(last, FIRST_DAY) - _DEFAULT_RANGES[bucket]
            if bucket is not Bucket.HOUR:
                start = _hour_of(start).replace(hour=0)
        elif start >= last and end is None:
            raise FieldInvalid(f"{start_field} must not be in the future.", field=start_field)
        told_start = start if start < FIRST_DAY else None
        told_end = end if end is not None and end > last else None
        start = max(start, FIRST_DAY)
        zone = time_zone or "UTC"
        if zone != "UTC":
            await self._check_zone(zone)
        if zone == "UTC" or bucket is Bucket.HOUR:
            start, last = _hour_of(start), _hour_of(last + _HOUR - timedelta(microseconds=1))
        else:
            start, last = await self._store.hours_around(zone, start, last)
        return UsageQuery(
            account_id=account_id,
            start=start,
            end=max(start, last),
            bucket=bucket,
            dimensions=frozenset(dimensions),
            time_zone=zone,
            told_start=told_start if bucket is Bucket.WHOLE else None,
            told_end=told_end if bucket is Bucket.WHOLE else None,
        )

    async def summarize(
        self, query: UsageQuery, position: str | None, limit: int
    ) -> tuple[UsagePage, str]:
        """Up to `limit` rows, oldest first, the sums over all rows, and where the list goes on.

        It tells also what ended just now. `position` is what was returned with the page before,
        None for the first; empty is returned with the last. All pages are of the first one's range.
        """
        after: UsagePosition | None = None
        if position is not None:
            after = msgspec.json.decode(position, type=UsagePosition)
            query = msgspec.structs.replace(query, start=after.range_start, end=after.range_end)
        page = await self._store.page(query, after, limit)
        return page, msgspec.json.encode(page.next).decode() if page.next else ""

    async def calls(
        self, query: CallQuery, position: str | None, limit: int
    ) -> tuple[CallPage, str]:
        """Up to `limit` calls of which an attempt has ended, newest first; pages as above.

        A filter that little meets may bring fewer, or none, and go on all the same.
        """
        before = None if position is None else CallId(UUID(position))
        page = await self._store.calls(query, before, limit)
        return page, str(page.next) if page.next else ""

    async def call(self, record: UsageRecord) -> ListedCall:
        """A call, as the ledger has it, with what is noted of it beside."""
        found = await self._store.call(record.account_id, record.call_id)
        if found is None:  # nothing of it had ended
            key_id, key = await self._store.caller(record.account_id, record.call_id)
            return ListedCall(
                record=record, start=time_of(record.call_id), key_id=key_id, key=key, routed=None
            )
        return msgspec.structs.replace(found, record=record)

    async def _check_zone(self, zone: str) -> None:
        zones = await self._store.zones()
        if zone not in zones:
            shown = zone[:ZONE_CHARS_MAX]
            hint = did_you_mean(shown, zones) or " Name one as Europe/Berlin."
            raise FieldInvalid(
                f"{shown!r} is no time zone that is known here.{hint}", field="time_zone"
            )


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
