"""The asynchronous client, on grpc.aio. `sync.py` has the same methods for threads."""

# ruff: noqa: ASYNC109 - `timeout` travels to the service as the call's deadline

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, Unpack

from google.protobuf.message import Message

from omni_grpc_client import admin, billing, chat, contract, unresolved
from omni_grpc_client.admin import ApiKey, NewApiKey, Org, RotatedApiKey
from omni_grpc_client.aio_catalog import AsyncCatalogMethods
from omni_grpc_client.aio_media import AsyncMediaMethods
from omni_grpc_client.aio_routing import AsyncRoutingMethods
from omni_grpc_client.aio_stream import AsyncChatStream
from omni_grpc_client.aio_usage import AsyncUsageMethods
from omni_grpc_client.aio_wire import AsyncWire
from omni_grpc_client.answer import Completion
from omni_grpc_client.billing import Balance, Hold, LedgerEntry
from omni_grpc_client.calls import Kind, Page
from omni_grpc_client.pages import AsyncPages
from omni_grpc_client.prompt import ChatOptions, Messages
from omni_grpc_client.unresolved import SettledParts, UnresolvedAttempt
from omni_grpc_client.usage import AttemptRecord


class AsyncOmni(AsyncMediaMethods, AsyncUsageMethods, AsyncRoutingMethods, AsyncCatalogMethods):
    """An asynchronous client of one omni-grpc service. For its arguments see `Client`.

        async with AsyncOmni("127.0.0.1:50051", api_key="omni_…") as omni:
            answer = await omni.chat("omni/auto", "Say hello")

    Every method raises `OmniError` and takes `timeout`, the seconds that the call may take, its
    retries included. Cancelling the task cancels the call at the service. A client belongs to the
    event loop that it is first used in; share one among tasks, since it multiplexes.
    """

    _wire: AsyncWire

    def _start(self) -> None:
        self._wire = AsyncWire(self._connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection and cancels what runs on it. Closing twice is harmless."""
        await self._wire.close()

    # --- chat ---------------------------------------------------------------------------------
    async def chat(
        self,
        model: str,
        messages: Messages,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        **options: Unpack[ChatOptions],
    ) -> Completion:
        """Completes a chat and returns the answer whole, with its usage and cost.

        It is sent again when the connection is lost or the service cannot now, and is charged
        once: the service knows it by its request id.

        Args:
            model: `provider/model`, a bare model id, an alias, or `omni/auto`.
            messages: a text, or messages as `Message` values or dicts in OpenAI's shape.
            request_id: the idempotency key; a new one if you name none. For 24 hours the same
                call with the same key gives the same answer, and is not charged again.
            timeout: seconds that it may take.
            **options: see `ChatOptions`.
        """
        call = chat.complete_chat(model, messages, options, request_id)
        return await self._wire.run(self._wire.stubs.router.CompleteChat, call, timeout)

    def stream_chat(
        self,
        model: str,
        messages: Messages,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
        **options: Unpack[ChatOptions],
    ) -> AsyncChatStream:
        """Completes a chat and streams the answer. Arguments as for `chat`.

            async with omni.stream_chat("omni/auto", "…") as stream:
                async for piece in stream:
                    print(piece.text, end="")
            print(stream.completion.cost_nanousd)

        The call starts with the `async with`, and is cancelled when that is left early.
        """
        return AsyncChatStream(
            self._wire,
            chat.stream_chat(model, messages, options, request_id),
            self._connection.timeouts.of(Kind.MODEL, timeout),
        )

    # --- billing ------------------------------------------------------------------------------
    async def balance(self, account: str = "", *, timeout: float | None = None) -> Balance:
        """The balance of an account; of one's own if none is named."""
        call = billing.get_balance(account)
        return await self._wire.run(self._wire.stubs.billing.GetBalance, call, timeout)

    def ledger_entries(
        self,
        account: str = "",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> AsyncPages[LedgerEntry]:
        """The changes of an account's posted balance, newest first."""

        async def fetch(token: str) -> Page[LedgerEntry]:
            call = billing.list_ledger_entries(account, page_size, token)
            return await self._wire.run(self._wire.stubs.billing.ListLedgerEntries, call, timeout)

        return AsyncPages(fetch, page_token)

    async def grant_credits(
        self,
        account: str,
        amount_nanousd: int,
        *,
        reason: str = "",
        expire_time: datetime | None = None,
        payment: tuple[str, str] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> LedgerEntry:
        """Adds credits to an account; needs the scope `admin`.

        What is left of them at `expire_time`, which has a time zone, is taken back. `payment` is
        the outside payment that they are for: its network, as `eip155:8453`, and what that calls
        it. One payment is booked once for ever, whatever the request id: the same again returns
        the first entry, for another account or amount it is `AlreadyExists`.

        `request_id` is the idempotency key of this, of refunds and of the calls on holds. Without
        it the client makes one and keeps it over its own retries; name one to repeat a call later.
        """
        call = billing.grant_credits(
            account, amount_nanousd, reason, expire_time, payment, request_id
        )
        return await self._wire.run(self._wire.stubs.billing.GrantCredits, call, timeout)

    async def refund_charge(
        self,
        account: str,
        amount_nanousd: int,
        *,
        call_id: str | None = None,
        attempt_number: int | None = None,
        hold: Hold | str | None = None,
        reason: str = "",
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> LedgerEntry:
        """Gives back a part of what a call or a hold was charged; needs the scope `admin`.

        Name either `call_id` or `hold`. Where several attempts of a call were charged,
        `attempt_number` says which. Refunds of a charge never exceed it.
        """
        charge = billing.Charge(call_id=call_id, attempt_number=attempt_number, hold=hold)
        call = billing.refund_charge(account, amount_nanousd, charge, reason, request_id)
        return await self._wire.run(self._wire.stubs.billing.RefundCharge, call, timeout)

    async def create_hold(
        self,
        amount_nanousd: int,
        *,
        account: str = "",
        ttl_s: float | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Hold:
        """Sets credits aside for work of one's own; it frees itself after `ttl_s` (15 minutes)."""
        call = billing.create_hold(account, amount_nanousd, ttl_s, request_id)
        return await self._wire.run(self._wire.stubs.billing.CreateHold, call, timeout)

    async def settle_hold(
        self,
        hold: Hold | str,
        amount_nanousd: int,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Hold:
        """Charges part or all of a hold, or nothing, and frees the rest."""
        call = billing.settle_hold(hold, amount_nanousd, request_id)
        return await self._wire.run(self._wire.stubs.billing.SettleHold, call, timeout)

    async def release_hold(
        self, hold: Hold | str, *, request_id: str | None = None, timeout: float | None = None
    ) -> Hold:
        """Frees a hold without a charge."""
        call = billing.release_hold(hold, request_id)
        return await self._wire.run(self._wire.stubs.billing.ReleaseHold, call, timeout)

    # --- attempts of which nobody knows what became ---------------------------------------------
    def unresolved_attempts(
        self,
        account: str = "",
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> AsyncPages[UnresolvedAttempt]:
        """Attempts whose outcome is not known, of all accounts or of one; needs `admin`."""

        async def fetch(token: str) -> Page[UnresolvedAttempt]:
            call = unresolved.list_unresolved_attempts(account, page_size, token)
            return await self._wire.run(
                self._wire.stubs.billing.ListUnresolvedAttempts, call, timeout
            )

        return AsyncPages(fetch, page_token)

    async def settle_attempt(
        self,
        attempt: UnresolvedAttempt | str,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        *,
        timeout: float | None = None,
        **parts: Unpack[SettledParts],
    ) -> AttemptRecord:
        """Charges an unresolved attempt by what its provider says; needs the scope `admin`.

        Name the tokens of both sides, or what it is sold by instead. The price is the one that was
        pinned before it was sent. Saying the same again changes nothing, here and in
        `void_attempt` and `write_off_attempt`.
        """
        call = unresolved.settle_attempt(attempt, prompt_tokens, completion_tokens, parts)
        return await self._wire.run(self._wire.stubs.billing.ResolveAttempt, call, timeout)

    async def void_attempt(
        self, attempt: UnresolvedAttempt | str, *, timeout: float | None = None
    ) -> AttemptRecord:
        """Frees what an unresolved attempt holds: its provider charges nothing."""
        call = unresolved.void_attempt(attempt)
        return await self._wire.run(self._wire.stubs.billing.ResolveAttempt, call, timeout)

    async def write_off_attempt(
        self,
        attempt: UnresolvedAttempt | str,
        loss_nanousd: int | None = None,
        *,
        timeout: float | None = None,
    ) -> AttemptRecord:
        """Frees what it holds, and books a loss to the operator: what it held if none is named."""
        call = unresolved.write_off_attempt(attempt, loss_nanousd)
        return await self._wire.run(self._wire.stubs.billing.ResolveAttempt, call, timeout)

    # --- administration -----------------------------------------------------------------------
    async def create_org(
        self, org_id: str, *, display_name: str = "", timeout: float | None = None
    ) -> Org:
        """Creates an organisation with an empty account; needs the scope `admin`."""
        call = admin.create_org(org_id, display_name)
        return await self._wire.run(self._wire.stubs.admin.CreateOrg, call, timeout)

    async def create_api_key(
        self,
        org: Org | str,
        *,
        display_name: str = "",
        scopes: Sequence[str] = (),
        models: Sequence[str] = (),
        expire_time: datetime | None = None,
        timeout: float | None = None,
    ) -> NewApiKey:
        """Creates an API key; its `secret` is in this answer and nowhere else.

        Args:
            org: whose: an organisation, or the name of a team or an environment of one.
            display_name: its name for people.
            scopes: what it may do; `inference` and `billing` if you name none.
            models: the only models that it may call, ids or `provider/*`; all if you name none.
            expire_time: when it ends; never if None.
            timeout: seconds that it may take.
        """
        call = admin.create_api_key(org, display_name, scopes, models, expire_time)
        return await self._wire.run(self._wire.stubs.admin.CreateApiKey, call, timeout)

    def list_api_keys(
        self,
        org: Org | str,
        *,
        page_size: int | None = None,
        page_token: str = "",
        timeout: float | None = None,
    ) -> AsyncPages[ApiKey]:
        """An organisation's API keys, oldest first, revoked ones included."""

        async def fetch(token: str) -> Page[ApiKey]:
            call = admin.list_api_keys(org, page_size, token)
            return await self._wire.run(self._wire.stubs.admin.ListApiKeys, call, timeout)

        return AsyncPages(fetch, page_token)

    async def revoke_api_key(
        self, api_key: ApiKey | str, *, timeout: float | None = None
    ) -> ApiKey:
        """Revokes an API key; it is refused everywhere within 5 seconds."""
        call = admin.revoke_api_key(api_key)
        return await self._wire.run(self._wire.stubs.admin.RevokeApiKey, call, timeout)

    async def rotate_api_key(
        self,
        api_key: ApiKey | str,
        *,
        overlap: timedelta | None = None,
        timeout: float | None = None,
    ) -> RotatedApiKey:
        """Makes a key that may do the same; the old one goes on for `overlap`, a day if None."""
        call = admin.rotate_api_key(api_key, overlap)
        return await self._wire.run(self._wire.stubs.admin.RotateApiKey, call, timeout)

    async def call(self, request: Message, *, timeout: float | None = None) -> Any:  # its response
        """Sends a message of the contract to its RPC, and returns the response.

            await omni.call(tenants_pb2.CreateTeamRequest(parent="orgs/acme", team_id="web"))

        It is for what has no method of its own here.

        Raises:
            TypeError: it is no request, or its RPC streams.
        """
        rpc = contract.rpc_of(request)
        return await self._wire.run(rpc.over(self._wire.stubs.channel), rpc.call(request), timeout)
