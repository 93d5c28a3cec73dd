"""`GET /v1/usage`: what an account used, cost and saved, by time and by what the caller names.

Amounts stand twice, as in the other routes of the account: as integers of nano-USD, and as decimal
texts of dollars without loss.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from omni_grpc.billing.usage import Bucket, Dimension, UsageReports, UsageSummary, UsageSums
from omni_grpc.completion import Accounts, Call, PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.money import usd_text
from omni_grpc.rest_api.exchange import JSON_HEADERS, Exchange, page_size_asked

USAGE_PATH: Final = "/v1/usage"

_FIELDS: Final = (
    "account", "from", "to", "bucket", "group_by", "time_zone", "page_size", "page_token",
)  # fmt: skip
_MOMENT_CHARS_MAX: Final = 40
_AMOUNTS: Final = ("cost", "refunded", "premium", "saved", "single", "single_saved")
_COUNTS: Final = {
    "call_count": "calls",
    "attempt_count": "attempts",
    "failed_attempt_count": "failed",
    "cancelled_attempt_count": "cancelled",
    "estimated_attempt_count": "estimated",
    "prompt_token_count": "prompt",
    "cached_read_token_count": "cached_read",
    "cached_write_token_count": "cached_write",
    "prompt_audio_token_count": "prompt_audio",
    "completion_token_count": "completion",
    "reasoning_token_count": "reasoning",
    "completion_audio_token_count": "completion_audio",
    "cached_write_1h_token_count": "cached_write_1h",
    "prompt_image_token_count": "prompt_image",
    "completion_image_token_count": "completion_image",
    "image_count": "image",
    "second_count": "second",
    "character_count": "character",
    "compared_call_count": "compared",
}

_JsonObject = dict[str, object]
_encode: Final = msgspec.json.Encoder().encode


class UsageRoutes:
    """Reports usage to the door."""

    def __init__(self, usage: UsageReports, accounts: Accounts, tokens: PageTokens) -> None:
        self._usage = usage
        self._accounts = accounts
        self._tokens = tokens

    async def summarize(self, exchange: Exchange, call: Call) -> None:
        """Sums in pages, oldest first, and those over all pages.

        Raises:
            FieldInvalid: of any field of the query.
            NotFound: there is no such account, or it is not the caller's.
        """
        principal = call.principal
        if principal is None:
            raise RuntimeError("the call did not come through the auth gate")
        fields = exchange.query()
        for name in fields:
            if name not in _FIELDS:
                raise FieldInvalid(
                    f"{name[:_MOMENT_CHARS_MAX]!r} is not a field of this route; it has "
                    f"{', '.join(_FIELDS)}.",
                    field=name[:_MOMENT_CHARS_MAX],
                )
        account = await self._accounts.named(principal, fields.get("account", ""), field="account")
        bucket, dimensions = _bucket(fields), _dimensions(fields)
        size = page_size(page_size_asked(fields))
        query = await self._usage.query(
            account.id,
            start=_moment(fields, "from"),
            end=_moment(fields, "to"),
            bucket=bucket,
            dimensions=dimensions,
            time_zone=fields.get("time_zone", ""),
            start_field="from",
            end_field="to",
        )
        bound = (
            "usage", account.name, fields.get("from", ""), fields.get("to", ""), bucket,
            fields.get("time_zone", ""), *sorted(dimensions),
        )  # fmt: skip
        position = self._tokens.open_text(bound, fields.get("page_token", ""))
        page, following = await self._usage.summarize(query, position, size)
        body: _JsonObject = {
            "object": "list",
            "data": [summary_object(row, dimensions) for row in page.rows],
            "has_more": bool(following),
            "next_page_token": self._tokens.seal(bound, following) if following else "",
            "total": sums_object(page.total),
        }
        headers = [(b"x-request-id", call.name.encode()), *JSON_HEADERS]
        await exchange.answer(200, headers, _encode(body))


def summary_object(row: UsageSummary, dimensions: frozenset[Dimension]) -> _JsonObject:
    """One bucket, with the dimensions that were asked for."""
    body: _JsonObject = {"object": "usage", "start_time": row.start, "end_time": row.end}
    body |= {one.value: getattr(row, one.value) for one in Dimension if one in dimensions}
    return body | sums_object(row.sums)


def sums_object(sums: UsageSums) -> _JsonObject:
    """What was used, amounts in both units."""
    body: _JsonObject = {name: getattr(sums, field) for name, field in _COUNTS.items()}
    for name in _AMOUNTS:
        amount: int = getattr(sums, name)
        body[f"{name}_nanousd"] = amount
        body[f"{name}_usd"] = usd_text(amount)
    return body


def _moment(fields: Mapping[str, str], name: str) -> datetime | None:
    """A moment; a day is its beginning, and what names no time zone is UTC."""
    text = fields.get(name)
    if text is None:
        return None
    try:
        if len(text) > _MOMENT_CHARS_MAX:
            raise ValueError
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise FieldInvalid(
            f"{name} must be a day or a time such as 2026-01-31 or 2026-01-31T18:00:00Z; a plus "
            "sign in a query is written %2B.",
            field=name,
        ) from None


def _bucket(fields: Mapping[str, str]) -> Bucket:
    text = fields.get("bucket", Bucket.DAY.value)
    try:
        return Bucket(text)
    except ValueError:
        raise FieldInvalid(f"bucket must be one of {', '.join(Bucket)}.", field="bucket") from None


def _dimensions(fields: Mapping[str, str]) -> frozenset[Dimension]:
    text = fields.get("group_by", "")
    try:
        return frozenset(Dimension(one) for one in text.split(",")) if text else frozenset()
    except ValueError:
        raise FieldInvalid(
            f"group_by must be some of {', '.join(Dimension)}, with commas between them.",
            field="group_by",
        ) from None
