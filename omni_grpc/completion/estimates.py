"""What a chat would be routed to and cost, without asking a provider or holding anything."""

import asyncio

import msgspec

from omni_grpc.billing import Ledger
from omni_grpc.completion.call import Call
from omni_grpc.completion.chats import route_context
from omni_grpc.completion.own_credentials import OwnCredentials
from omni_grpc.completion.tally import COUNTED_BYTES_INLINE
from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import LedgerUnavailable
from omni_grpc.core.money import NanoUsd, charge, worst_case
from omni_grpc.core.task import Analysis
from omni_grpc.core.usage import Usage
from omni_grpc.routing import (
    Explanation,
    RouteContext,
    Router,
    markup_of,
    prompt_tokens,
    prompt_upper_bound,
)
from omni_grpc.storage import BoundedCache

CACHE_SECONDS: float = 10.0
"""How long an estimate may be told again: prices and breakers change rarely, balances do not
count, since they are read each time."""

CACHED_MAX: int = 1_000


class ChatCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one chat would cost; amounts with the markup."""

    model: str
    reason: str
    analysis: Analysis | None
    prompt_tokens: int
    output_tokens: int
    output_tokens_max: int
    cost_nanousd: NanoUsd
    cost_max_nanousd: NanoUsd
    premium_nanousd: NanoUsd | None


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A chat's cost, beside what its account can spend; None while the ledger does not answer."""

    cost: ChatCost
    available_nanousd: int | None

    @property
    def suffices(self) -> bool | None:
        """Whether the available credits cover the worst case."""
        if self.available_nanousd is None:
            return None
        return self.available_nanousd >= self.cost.cost_max_nanousd


class Estimates:
    """Estimates and explains. One instance serves all calls of a worker."""

    def __init__(
        self,
        router: Router,
        ledger: Ledger,
        clock: Clock,
        *,
        markup_ppm: int,
        own: OwnCredentials | None = None,
    ) -> None:
        self._own = own or OwnCredentials()
        self._router = router
        self._ledger = ledger
        self._markup_ppm = markup_ppm
        self._costs: BoundedCache[ChatCost] = BoundedCache(
            size_max=CACHED_MAX, ttl_s=CACHE_SECONDS, clock=clock
        )

    async def estimate(self, call: Call, request: ChatRequest) -> Estimate:
        """What a chat would cost now.

        Raises:
            OmniError: no model that can be called here can take the request.
        """
        await self._own.look_up(call)
        context = msgspec.structs.replace(route_context(call, request), seed="")
        key = msgspec.msgpack.encode(
            (context, self._router.version, request), order="deterministic"
        )

        async def look_up() -> ChatCost:
            if prompt_upper_bound(request) > COUNTED_BYTES_INLINE:
                return await asyncio.to_thread(self._cost, request, context)
            return self._cost(request, context)

        cost = await self._costs.get(key, look_up)
        return Estimate(cost=cost, available_nanousd=await self._available(call))

    async def explain(self, call: Call, request: ChatRequest) -> Explanation:
        """How a chat would be routed now, or why nothing is left that it could be routed to.

        Raises:
            OmniError: the model that it names cannot be called here, or cannot take it.
        """
        await self._own.look_up(call)
        # Hundreds of offers are put into words, so it is done beside the event loop.
        context = route_context(call, request)
        return await asyncio.to_thread(self._router.explain, request, context)

    async def _available(self, call: Call) -> int | None:
        if call.principal is None:
            return None
        try:
            return (await self._ledger.balance(call.principal.account_id)).available
        except LedgerUnavailable:
            return None

    def _cost(self, request: ChatRequest, context: RouteContext) -> ChatCost:
        plan = self._router.plan(request, context)
        first = plan.attempts[0]
        prompt = prompt_tokens(request, first.offer.provider_model)
        output = self._router.output_tokens(request, context, plan)
        choices = request.sampling.choice_count or 1
        usage = Usage(prompt=prompt, completion=output * choices)
        markup_ppm = markup_of(first.own, self._markup_ppm)
        most = worst_case(
            first.prompt_tokens_max,
            first.output_tokens_max * choices,
            first.offer.hold_price or first.price,
            markup_ppm,
        )
        premium = None
        if plan.premium is not None:
            premium = charge(usage, plan.premium.price, self._markup_ppm)
        return ChatCost(
            model=first.offer.id,
            reason=first.reason,
            analysis=plan.analysis,
            prompt_tokens=prompt,
            output_tokens=output,
            output_tokens_max=first.output_tokens_max,
            cost_nanousd=NanoUsd(min(charge(usage, first.price, markup_ppm), most)),
            cost_max_nanousd=most,
            premium_nanousd=premium,
        )
