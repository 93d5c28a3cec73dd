"""What a method of payment must be able to do: a page to pay on, or something signed to settle."""

from typing import Protocol
from uuid import UUID

from omni_grpc.core.ids import AccountId
from omni_grpc.topups.model import Fate, Opened, Presented, Refused, TopUp


class PaymentMethod(Protocol):
    """A way to pay. Raises only OmniError, where whoever takes the payment cannot be asked."""

    async def open(self, top_up: TopUp) -> Opened | Refused:
        """What a payer needs. Asked twice for one top-up, it is the same payment.

        Refused is only the charge of a saved card, which was not made.
        """
        ...

    async def look(self, top_up: TopUp) -> Fate:
        """What became of it, as whoever takes the payment says now."""
        ...


class SignedMethod(PaymentMethod, Protocol):
    """A way to pay by presenting what was signed."""

    def amount_quoted(self, account_id: AccountId, top_up_id: UUID, text: str) -> int | None:
        """The amount of the quote that a payment answers, where it is one for that account.

        Raises:
            FieldInvalid: it is no payment of this kind.
        """
        ...

    def read(self, top_up: TopUp, text: str) -> Presented:
        """What was presented.

        Raises:
            FieldInvalid: it is no payment of this kind, or not for this top-up.
        """
        ...

    def network_offered(self, top_up: TopUp) -> str:
        """The network that its offer is for, as the ledger names it."""
        ...

    def may_land(self, top_up: TopUp) -> bool:
        """Whether the payment that it holds as `presented` may still arrive."""
        ...

    async def settle(self, top_up: TopUp) -> Fate:
        """Settles the payment that the top-up holds as `presented`, and says what became of it.

        It raises nothing: once a payment may have been sent, what is not known is Unknown.
        """
        ...
