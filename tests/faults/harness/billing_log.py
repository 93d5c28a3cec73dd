"""Billing calls as clients make them, repeated and reordered, and the log of what was told."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from omni.billing.v1 import billing_service_pb2 as pb
from omni.billing.v1 import billing_service_pb2_grpc as pb_grpc

from harness.chats import CHANNEL_OPTIONS, reason_of
from harness.servers import Server

RPC_SECONDS_MAX = 10.0
UNKNOWN = frozenset({"", "LEDGER_UNAVAILABLE", "BUSY", "INTERNAL", "DEADLINE"})
"""Reasons after which nobody knows whether it was done; the empty one is a lost connection."""

RESOLVE_TRIES = 40


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One billing request: what the caller wants for an account, under which request id.

    `verb` is grant, pay, refund, hold, settle or release. `hold` is the resource's name for the
    last two, `of` the call that is refunded, `payment` what is paid with on its `network`. `caller`
    is a tenant's slug, or empty for the operator.
    """

    verb: str
    request_id: str
    account: str
    amount: int = 0
    hold: str = ""
    of: str = ""
    ttl_s: int = 900
    caller: str = ""
    network: str = ""
    payment: str = ""

    @property
    def content(self) -> tuple[object, ...]:
        return (self.verb, self.amount, self.account, self.hold, self.of, self.ttl_s)


@dataclass(frozen=True)
class Told:
    """What a caller was told: an answer (its resource and amount), or a reason."""

    wanted: Wanted
    server: int
    answer: tuple[object, ...] | None = None
    reason: str = ""
    message: str = ""

    @property
    def is_unknown(self) -> bool:
        return self.answer is None and self.reason in UNKNOWN


@dataclass(eq=False)
class BillingLog:
    """All billing requests of a play. `keys` are API keys by caller."""

    keys: dict[str, str]
    told: list[Told] = field(default_factory=list)

    async def send(self, wanted: Wanted, server: Server) -> Told:
        """Sends one request to one server, and logs what came back."""
        try:
            found = Told(wanted, server.number, await self._call(wanted, server))
        except grpc.RpcError as error:
            reason, _ = reason_of(error)
            if not reason and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                reason = "DEADLINE"
            words = f"{error.code()}: {error.details()}"
            found = Told(wanted, server.number, None, reason, words)
        self.told.append(found)
        return found

    async def resolve(self, servers: list[Server]) -> None:
        """Repeats whatever is unknown until it is known."""
        for wanted in self._open():
            for number in range(RESOLVE_TRIES):
                told = await self.send(wanted, servers[number % len(servers)])
                if not told.is_unknown:
                    break
                await asyncio.sleep(0.1)

    def _open(self) -> list[Wanted]:
        known = {told.wanted for told in self.told if not told.is_unknown}
        return list(dict.fromkeys(t.wanted for t in self.told if t.wanted not in known))

    def by_request(self) -> dict[tuple[str, str], list[Told]]:
        """What was told, by caller and request id."""
        found: defaultdict[tuple[str, str], list[Told]] = defaultdict(list)
        for told in self.told:
            found[told.wanted.caller, told.wanted.request_id].append(told)
        return found

    def answered(self, verb: str) -> list[Told]:
        return [told for told in self.told if told.wanted.verb == verb and told.answer is not None]

    async def _call(self, wanted: Wanted, server: Server) -> tuple[object, ...]:
        given: dict[str, Any] = {
            "metadata": (("authorization", f"Bearer {self.keys[wanted.caller]}"),),
            "timeout": RPC_SECONDS_MAX,
        }
        async with grpc.aio.insecure_channel(server.life.grpc, options=CHANNEL_OPTIONS) as channel:
            return await _VERBS[wanted.verb](pb_grpc.BillingServiceStub(channel), wanted, given)


async def _grant(stub: Any, wanted: Wanted, given: dict[str, Any]) -> tuple[object, ...]:
    answer = await stub.GrantCredits(
        pb.GrantCreditsRequest(
            account=f"accounts/{wanted.account}",
            amount_nanousd=wanted.amount,
            reason=wanted.request_id,
            request_id=wanted.request_id,
        ),
        **given,
    )
    return (answer.ledger_entry.name, answer.ledger_entry.amount_nanousd)


async def _pay(stub: Any, wanted: Wanted, given: dict[str, Any]) -> tuple[object, ...]:
    answer = await stub.GrantCredits(
        pb.GrantCreditsRequest(
            account=f"accounts/{wanted.account}",
            amount_nanousd=wanted.amount,
            reason=wanted.request_id,
            request_id=wanted.request_id,
            payment=pb.Payment(network=wanted.network, payment_id=wanted.payment),
        ),
        **given,
    )
    return (answer.ledger_entry.name, answer.ledger_entry.amount_nanousd)


async def _refund(stub: Any, wanted: Wanted, given: dict[str, Any]) -> tuple[object, ...]:
    answer = await stub.RefundCharge(
        pb.RefundChargeRequest(
            account=f"accounts/{wanted.account}",
            call_id=wanted.of,
            amount_nanousd=wanted.amount,
            reason=wanted.request_id,
            request_id=wanted.request_id,
        ),
        **given,
    )
    return (answer.ledger_entry.name, answer.ledger_entry.amount_nanousd)


async def _hold(stub: Any, wanted: Wanted, given: dict[str, Any]) -> tuple[object, ...]:
    answer = await stub.CreateHold(
        pb.CreateHoldRequest(
            amount_nanousd=wanted.amount,
            ttl=Duration(seconds=wanted.ttl_s),
            request_id=wanted.request_id,
        ),
        **given,
    )
    return (answer.hold.name, answer.hold.amount_nanousd)


async def _settle(stub: Any, wanted: Wanted, given: dict[str, Any]) -> tuple[object, ...]:
    answer = await stub.SettleHold(
        pb.SettleHoldRequest(
            name=wanted.hold, amount_nanousd=wanted.amount, request_id=wanted.request_id
        ),
        **given,
    )
    return (answer.hold.name, answer.hold.state, answer.hold.settled_nanousd)


async def _release(stub: Any, wanted: Wanted, given: dict[str, Any]) -> tuple[object, ...]:
    answer = await stub.ReleaseHold(
        pb.ReleaseHoldRequest(name=wanted.hold, request_id=wanted.request_id), **given
    )
    return (answer.hold.name, answer.hold.state)


_VERBS: dict[str, Callable[..., Any]] = {
    "grant": _grant,
    "pay": _pay,
    "refund": _refund,
    "hold": _hold,
    "settle": _settle,
    "release": _release,
}
