"""Steps of outside payments: one payment presented under each of its names, to many, again."""

import asyncio
from dataclasses import dataclass

from harness.billing_log import Told, Wanted
from harness.history import Step
from harness.play import Play

NETWORKS = ("base", "eip155:8453")
"""One chain as x402 names it in version 1 and in version 2."""

SPREAD_SECONDS = 0.001
"""Between two presentations; each takes a few milliseconds, so that they overlap."""


@dataclass(frozen=True)
class Presentation:
    """Who hears of a payment, by which of its names, for whom and for how much.

    `more` is added to the payment's amount: what is not 0 tells of another one.
    """

    replica: int
    version: int = 1
    more: int = 0
    tenant: int = 0


@dataclass(frozen=True, kw_only=True)
class Present(Step):
    """One payment, presented several times at once while `meanwhile` strikes.

    Each presentation has a request id of its own. The same name in a later step is the same
    payment.
    """

    name: str
    amount: int
    presentations: tuple[Presentation, ...]
    meanwhile: tuple[Step, ...] = ()

    @property
    def tenant(self) -> int:
        """The last tenant that is named: so many must be there."""
        return max(each.tenant for each in self.presentations)

    async def run(self, play: Play) -> None:
        count = play.kept.get("presented", 0)
        play.kept["presented"] = count + len(self.presentations)
        sending = [asyncio.create_task(step.run(play)) for step in self.meanwhile]
        told: list[asyncio.Task[Told]] = []
        for place, each in enumerate(self.presentations):
            wanted = self._wanted(play, each, count + place)
            told.append(asyncio.create_task(play.bill(wanted, play.server(each.replica))))
            await asyncio.sleep(SPREAD_SECONDS)
        found = await asyncio.gather(*told)
        await asyncio.gather(*sending)
        heard = {each.version for each, one in zip(self.presentations, found, strict=True)
                 if one.answer is not None}  # fmt: skip
        play.overlap("presented under two names at once", len(heard) > 1)
        play.overlap("refused for another amount or account",
                     sum(one.reason == "ALREADY_EXISTS" for one in found))  # fmt: skip
        play.overlap("struck while it was presented",
                     bool(self.meanwhile) and sum(one.is_unknown for one in found))  # fmt: skip

    def _wanted(self, play: Play, each: Presentation, number: int) -> Wanted:
        # Every other one writes its hash in capitals.
        name = f"0x{play.payment(self.name):064x}"
        return Wanted(
            verb="pay",
            request_id=play.mark(f"pay-{self.name}-{number}"),
            account=play.tenants[each.tenant].slug,
            amount=self.amount + each.more,
            network=NETWORKS[each.version - 1],
            payment=name if number % 2 else name.upper().replace("X", "x"),
        )
