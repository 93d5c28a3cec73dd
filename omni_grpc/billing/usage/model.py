"""What reports of usage are made of: the question, the sums, one call's row, one call of a list."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from omni_grpc.billing.model import UsageRecord
from omni_grpc.core.ids import AccountId, CallId, KeyId


class Bucket(StrEnum):
    """How time is divided."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    WHOLE = "whole"


class Dimension(StrEnum):
    """What sums are kept apart by."""

    PROVIDER = "provider"
    MODEL = "model"
    TASK = "task"
    KEY = "key"
    TEAM = "team"


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which sums are wanted; `start` and `end` are whole hours, `end` is not included.

    Nothing was before some day, and nothing is later than now. Where a range was asked for that
    reaches there, and is not divided, its row tells it as it was: `told_start`, `told_end`.
    """

    account_id: AccountId
    start: datetime
    end: datetime
    bucket: Bucket = Bucket.DAY
    dimensions: frozenset[Dimension] = frozenset()
    time_zone: str = "UTC"
    told_start: datetime | None = None
    told_end: datetime | None = None


class UsagePosition(msgspec.Struct, frozen=True, array_like=True):
    """The last row of a page, and of which range; a list goes on behind it."""

    range_start: datetime
    range_end: datetime
    start: datetime
    provider: str
    model: str
    task: str
    key_id: int
    team_id: int = 0


COUNTS: Final = (
    "calls",
    "attempts",
    "failed",
    "cancelled",
    "estimated",
    "prompt",
    "cached_read",
    "cached_write",
    "prompt_audio",
    "completion",
    "reasoning",
    "completion_audio",
    "cached_write_1h",
    "prompt_image",
    "completion_image",
    "image",
    "second",
    "character",
    "cost",
    "refunded",
    "compared",
    "premium",
    "saved",
    "single",
    "single_saved",
)
"""The sums, in the order of the columns of `usage_sum`."""


class UsageSums(msgspec.Struct, frozen=True, kw_only=True):
    """What was used: counts of calls and attempts, of tokens by kind, and nano-USD.

    Attributes:
        calls: each counted with its first attempt.
        attempts: what ended, answered or not; running and unresolved ones are not in yet.
        failed: attempts that were refused, failed, or were written off.
        cancelled: attempts whose caller went away.
        estimated: attempts that were counted by us, since their provider did not.
        cost: what was charged, corrections included.
        refunded: what was given back of that.
        compared: answered calls that were compared with a premium model.
        premium: what their tokens would have cost with it.
        saved: that less their cost; negative where routing cost more.
        single: what their tokens would have cost with the best single model.
        single_saved: that less the cost of the calls that were compared with it.
    """

    calls: int = 0
    attempts: int = 0
    failed: int = 0
    cancelled: int = 0
    estimated: int = 0
    prompt: int = 0
    cached_read: int = 0
    cached_write: int = 0
    prompt_audio: int = 0
    completion: int = 0
    reasoning: int = 0
    completion_audio: int = 0
    cached_write_1h: int = 0
    prompt_image: int = 0
    completion_image: int = 0
    image: int = 0
    second: int = 0
    character: int = 0
    cost: int = 0
    refunded: int = 0
    compared: int = 0
    premium: int = 0
    saved: int = 0
    single: int = 0
    single_saved: int = 0


class UsageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a report: a bucket's sums; dimensions that were not asked for are empty.

    `key` is the public prefix of the key, or the name of the user who signed in. `team` is the name
    of the key's team; empty for none, and for one that is deleted.
    """

    start: datetime
    end: datetime
    provider: str
    model: str
    task: str
    key: str
    team: str
    sums: UsageSums


class UsagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows of a report, the sums over all of its rows, and where it goes on."""

    rows: tuple[UsageSummary, ...]
    total: UsageSums
    next: UsagePosition | None


class RoutedCall(msgspec.Struct, frozen=True):
    """What the ledger does not know of a call; amounts in nano-USD, times in milliseconds."""

    call_id: UUID
    wallet: int
    key_id: int
    asked: str
    model: str
    task: str
    complexity: str
    policy: str
    experiment: str
    arm: str
    premium_model: str | None
    premium_version: int | None
    premium_nanousd: int | None
    single_model: str | None
    single_nanousd: int | None
    saved_nanousd: int | None
    cost_nanousd: int
    first_token_ms: int | None
    duration_ms: int
    reason: str
    attempt_count: int
    tags: Mapping[str, str]
    end_user: str


class CallFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which calls a list has: those with an attempt that every one of these is true of.

    Each is a value, and whether the attempt shall have it; None asks for nothing.
    """

    model: tuple[str, bool] | None = None
    key: tuple[str, bool] | None = None
    outcome: tuple[str, bool] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it takes every call."""
        return self.model is None and self.key is None and self.outcome is None


class CallQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Whose calls, begun from `start` until before `end`; None is open."""

    account_id: AccountId
    start: datetime | None = None
    end: datetime | None = None
    filter: CallFilter = CallFilter()


class ListedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call: its attempts as the ledger has them, and its own row, if it has come.

    Where nobody knows its key, `key_id` is 0 and `key` empty.
    """

    record: UsageRecord
    start: datetime
    key_id: KeyId
    key: str
    routed: RoutedCall | None


class CallPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some calls, newest first, and before which id the list goes on; None at its end."""

    calls: tuple[ListedCall, ...]
    next: CallId | None
