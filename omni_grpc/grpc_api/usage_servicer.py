"""BillingService's reports of usage: read the request, ask for the report, write what came."""

from typing import Any

import grpc
from omni.billing.v1 import billing_service_pb2 as pb

from omni_grpc.billing.usage import CallQuery, UsageReports, parse_call_filter
from omni_grpc.completion import Accounts, PageTokens, page_size
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.grpc_api import usage_request as read
from omni_grpc.grpc_api import usage_response as show
from omni_grpc.grpc_api.interceptors import current_call
from omni_grpc.identity import Principal

_Context = grpc.aio.ServicerContext


class UsageRpcs:
    """The part of BillingService that reports what was used."""

    def __init__(self, usage: UsageReports, accounts: Accounts, tokens: PageTokens) -> None:
        self._usage = usage
        self._accounts = accounts
        self._tokens = tokens

    async def SummarizeUsage(
        self, request: pb.SummarizeUsageRequest, context: "_Context[Any, Any]"
    ) -> pb.SummarizeUsageResponse:
        """Adds up what an account used."""
        account = await self._accounts.named(_caller(), request.account, field="account")
        start, end = read.moment(request, "start_time"), read.moment(request, "end_time")
        bucket, dimensions = read.bucket(request.bucket), read.dimensions(request.group_by)
        query = await self._usage.query(
            account.id,
            start=start,
            end=end,
            bucket=bucket,
            dimensions=dimensions,
            time_zone=request.time_zone,
            start_field="start_time",
            end_field="end_time",
        )
        bound = (
            "usage_summaries", account.name, str(start), str(end), bucket, request.time_zone,
            *sorted(dimensions),
        )  # fmt: skip
        position = self._tokens.open_text(bound, request.page_token)
        page, following = await self._usage.summarize(query, position, page_size(request.page_size))
        return pb.SummarizeUsageResponse(
            usage_summaries=[show.summary(row) for row in page.rows],
            next_page_token=self._tokens.seal(bound, following) if following else "",
            total=show.sums(page.total),
        )

    async def ListUsageRecords(
        self, request: pb.ListUsageRecordsRequest, context: "_Context[Any, Any]"
    ) -> pb.ListUsageRecordsResponse:
        """Lists calls, newest first."""
        account = await self._accounts.named(_caller(), request.parent, field="parent")
        start, end = read.moment(request, "start_time"), read.moment(request, "end_time")
        if start is not None and end is not None and end <= start:
            raise FieldInvalid("end_time must be after start_time.", field="end_time")
        wanted = parse_call_filter(request.filter)
        bound = ("usage_records", account.name, str(start), str(end), request.filter)
        position = self._tokens.open_text(bound, request.page_token)
        page, following = await self._usage.calls(
            CallQuery(account_id=account.id, start=start, end=end, filter=wanted),
            position,
            page_size(request.page_size),
        )
        return pb.ListUsageRecordsResponse(
            usage_records=[show.record(account.name, call) for call in page.calls],
            next_page_token=self._tokens.seal(bound, following) if following else "",
        )


def _caller() -> Principal:
    principal = current_call().principal
    if principal is None:
        raise RuntimeError("the call did not come through the auth gate")
    return principal
