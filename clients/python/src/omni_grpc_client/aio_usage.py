"""The asynchronous client's methods of usage. `sync_usage.py` has the same for threads."""

# ruff: noqa: ASYNC109 - `timeout` travels to the service as the call's deadline

from typing import Unpack

from omni_grpc_client import usage, usage_sums
from omni_grpc_client.aio_wire import AsyncWire
from omni_grpc_client.calls import Page
from omni_grpc_client.client import Client
from omni_grpc_client.pages import AsyncPages
from omni_grpc_client.usage import UsageRange, UsageRecord
from omni_grpc_client.usage_sums import UsageQuery, UsageSummary, UsageSums


class AsyncUsageMethods(Client):
    """What calls used, cost and saved: a part of `AsyncOmni`. No account: one's own."""

    _wire: AsyncWire

    async def usage(self, call_id: str, *, timeout: float | None = None) -> UsageRecord:
        """What a call used and cost, also one that was cut short."""
        call = usage.get_usage_record(call_id)
        return await self._wire.run(self._wire.stubs.billing.GetUsageRecord, call, timeout)

    def usage_records(
        self,
        account: str = "",
        where: str = "",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
        **between: Unpack[UsageRange],
    ) -> AsyncPages[UsageRecord]:
        """An account's calls of which an attempt has ended, newest first.

        `where` is a filter: `model = "openai/gpt-4o" AND outcome != answered`.
        """

        async def fetch(token: str) -> Page[UsageRecord]:
            call = usage.list_usage_records(account, where, between, page_size, token)
            return await self._wire.run(self._wire.stubs.billing.ListUsageRecords, call, timeout)

        return AsyncPages(fetch, page_token)

    def usage_summaries(
        self,
        account: str = "",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
        **query: Unpack[UsageQuery],
    ) -> AsyncPages[UsageSummary]:
        """What an account used, cost and saved, by time and what else is named; oldest first.

        `usage_summaries(bucket="month", group_by=["model", "task"])`. A time without usage has no
        row. What still runs is not in yet.
        """

        async def fetch(token: str) -> Page[UsageSummary]:
            call = usage_sums.summarize_usage(account, query, page_size, token)
            return await self._wire.run(self._wire.stubs.billing.SummarizeUsage, call, timeout)

        return AsyncPages(fetch, page_token)

    async def usage_total(
        self, account: str = "", *, timeout: float | None = None, **between: Unpack[UsageRange]
    ) -> UsageSums:
        """The same in one: of the last 30 days if no time is named."""
        call = usage_sums.total_usage(account, between)
        return await self._wire.run(self._wire.stubs.billing.SummarizeUsage, call, timeout)
