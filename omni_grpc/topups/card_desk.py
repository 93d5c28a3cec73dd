"""What Stripe's news and low accounts set in motion: looks, reversals, automatic top-ups."""

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

import structlog

from omni_grpc.core.errors import NotFound, OmniError
from omni_grpc.topups.auto_store import AutoStore
from omni_grpc.topups.model import News, Nudge, Reinstatement, Reversal, State
from omni_grpc.topups.top_ups import TopUps

if TYPE_CHECKING:  # Stripe's SDK takes 30 MB and an eighth of a second: only where it is used
    from omni_grpc.topups.stripe_cards import StripeCards

CATCH_UP_SECONDS: Final = 900.0
"""How often one worker of all asks for events that no webhook brought."""

CATCH_UP_RETRY_SECONDS: Final = 60.0
"""How soon it is tried again where the processor could not be asked."""

CATCH_UP_LEASE_SECONDS: Final = 900.0
"""How long a worker that died in the middle keeps the others from it."""

LOW_SECONDS: Final = 5.0
"""How often a worker looks for accounts that are low."""

LOW_AT_ONCE: Final = 20

log = structlog.get_logger(__name__)


class CardDesk:
    """Run `run()` as a task in each worker; `told` for each event that Stripe sends."""

    def __init__(self, cards: "StripeCards", top_ups: TopUps, automatic: AutoStore) -> None:
        self._cards = cards
        self._top_ups = top_ups
        self._automatic = automatic
        self._holder = secrets.token_hex(8)

    async def close(self) -> None:
        """Closes the connections to Stripe."""
        await self._cards.close()

    async def told(self, payload: bytes, signature: str) -> None:
        """Takes one event.

        Raises:
            FieldInvalid: it is not Stripe's.
            NotFound: it is about a top-up that is not here yet; Stripe sends it again.
            OmniError: it could not be acted upon; Stripe sends it again.
        """
        for news in await self._cards.news(payload, signature):
            await self._act(news)

    async def catch_up(self) -> None:
        """Acts upon the news of the last days, whether an event brought them or not."""
        for news in await self._cards.missed():
            try:
                await self._act(news)
            except NotFound:
                log.info("card_news_of_another_service")

    async def catch_up_in_turn(self) -> bool:
        """Catches up, if it is time and no other worker does; whether it did."""
        if not await self._automatic.take_turn(self._holder, CATCH_UP_LEASE_SECONDS):
            return False
        next_in_s = CATCH_UP_RETRY_SECONDS
        try:
            await self.catch_up()
            next_in_s = CATCH_UP_SECONDS
        finally:
            await self._automatic.end_turn(self._holder, next_in_s)
        return True

    async def buy_for_low(self) -> int:
        """Tops up the accounts that are low; returns how many there were."""
        due = await self._automatic.due(LOW_AT_ONCE)
        for one in due:
            await self._top_ups.create_automatic(one.org_id, one.account_id, one.amount)
        return len(due)

    async def run(self) -> None:
        """Works for ever; ends only by cancellation."""
        while True:
            await asyncio.sleep(LOW_SECONDS)
            try:
                await self.buy_for_low()
                await self.catch_up_in_turn()
            except OmniError as error:
                log.warning("cards_paused", reason=error.reason)
            except Exception:  # an answer of Stripe's that nobody foresaw ends no later look
                log.exception("cards_failed")

    async def _act(self, news: News) -> None:
        match news:
            case Nudge(top_up_id, reference):
                top_up = await self._top_ups.find(top_up_id)
                if top_up is None:
                    raise NotFound(f"There is no top-up {top_up_id} here.")
                if (
                    top_up.automatic
                    and reference
                    and not top_up.reference
                    and await self._cards.is_charge_of(top_up_id, reference)
                ):
                    top_up = await self._top_ups.charged(top_up, reference)
                if top_up.state not in (State.SUCCEEDED, State.REVERSED):
                    await self._top_ups.look(top_up)
            case Reversal():
                await self._act(Nudge(news.top_up_id))  # it may have come before the payment
                await self._top_ups.reversed(
                    news.payment.network,
                    news.reversal_id,
                    news.payment.id,
                    news.amount,
                    news.why,
                )
            case Reinstatement():
                await self._top_ups.reinstated(news.payment, news.reversal_id, news.why)
