"""The simulated card processor in a thread with a loop of its own."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from omni_grpc.simulator.stripe import StripeSimulator

T = TypeVar("T")


class StripeThread:
    """`stripe` is the simulator; what makes it send events is asked of it here."""

    def __init__(self) -> None:
        self.stripe = StripeSimulator()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.stripe.start(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.stripe.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def settled(self, act: Callable[[StripeSimulator], T]) -> T:
        """What an act gave, once all events of it have arrived."""

        async def there() -> T:
            found = act(self.stripe)
            await self.stripe.settled()
            return found

        return asyncio.run_coroutine_threadsafe(there(), self._loop).result(30)

    def environment(self) -> dict[str, str]:
        """The settings of a gateway that takes cards here."""
        return {
            "OMNI_STRIPE_API_KEY": self.stripe.api_key,
            "OMNI_STRIPE_WEBHOOK_SECRET": self.stripe.webhook_secret,
            "OMNI_STRIPE_API_BASE": self.stripe.origin,
        }
