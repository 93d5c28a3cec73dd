"""The values of top-ups: what was asked for, how it stands, and what a payer's side says of it."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from omni_grpc.audit import Actor
from omni_grpc.core.ids import AccountId, OrgId
from omni_grpc.core.payments import Payment


class Method(StrEnum):
    """How a top-up is paid; the values stand in the table."""

    X402 = "x"
    CARD = "c"


class State(StrEnum):
    """How a top-up stands; the values stand in the table."""

    OPEN = "O"
    PENDING = "P"
    SUCCEEDED = "S"
    FAILED = "F"
    EXPIRED = "E"
    REVERSED = "R"


class TopUp(msgspec.Struct, frozen=True, kw_only=True):
    """Credits that are bought; a row of `top_up`. Amounts are nano-USD."""

    id: UUID
    org_id: OrgId
    account_id: AccountId
    method: Method
    state: State
    automatic: bool
    amount: int
    credited: int
    reversed: int
    network: str
    payment_id: str
    payer: str
    message: str
    reference: str
    checkout_url: str
    offer: str
    return_url: str
    save_card: bool
    payment_key: str | None
    presented: bytes | None
    looked: bool
    check_count: int
    create_time: datetime
    expire_time: datetime
    pay_time: datetime | None

    @property
    def is_final(self) -> bool:
        """Whether no payment is waited for any more."""
        return self.state not in (State.OPEN, State.PENDING)

    @property
    def is_credited(self) -> bool:
        """Whether it was paid and credited, also where that was taken back since."""
        return self.state in (State.SUCCEEDED, State.REVERSED)


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What a payer needs: where to pay, or what to sign.

    `reference` is what the processor calls it. `offer` is JSON of the method's own.
    """

    reference: str = ""
    checkout_url: str = ""
    offer: str = ""


class Presented(msgspec.Struct, frozen=True, kw_only=True):
    """A signed payment that a caller presents.

    Attributes:
        key: the chain's own name of it: the same, however it is wrapped.
        text: what is needed to ask for its fate later.
    """

    key: str
    text: bytes


class Paid(msgspec.Struct, frozen=True, kw_only=True):
    """It was paid, for good. `amount` is what arrived, in nano-USD."""

    payment: Payment
    amount: int
    payer: str = ""


class Unpaid(msgspec.Struct, frozen=True):
    """Nobody has paid yet; somebody still may."""


class Unknown(msgspec.Struct, frozen=True):
    """It may have been paid: to be asked for again."""

    message: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """It was not paid, and nothing was taken. `is_final`: nor can it be any more."""

    message: str
    is_final: bool = False


Fate = Paid | Unpaid | Unknown | Refused


class Nudge(msgspec.Struct, frozen=True):
    """An event says that this top-up should be looked at.

    `reference` is the charge of a saved card that Stripe has for it.
    """

    top_up_id: UUID
    reference: str = ""


class Reversal(msgspec.Struct, frozen=True, kw_only=True):
    """Stripe took a payment back, in part or whole. `top_up_id` is what it had paid."""

    payment: Payment
    reversal_id: str
    amount: int
    why: str
    top_up_id: UUID


class Reinstatement(msgspec.Struct, frozen=True, kw_only=True):
    """A dispute was won, or a refund failed: what it took back is there again."""

    payment: Payment
    reversal_id: str
    why: str


News = Nudge | Reversal | Reinstatement


class AutoTopUp(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an organisation buys credits by itself; a row of `auto_top_up`."""

    org_id: OrgId
    active: bool = False
    threshold: int | None = None
    amount: int | None = None
    month_max: int | None = None
    customer: str = ""
    payment_method: str = ""
    card: str = ""
    fault: str = ""
    revision: int = 0


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A new top-up, as the audit log has it."""

    name: str
    amount_nanousd: int
    method: str
    automatic: bool
    save_card: bool


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """Who decided what about a top-up, and why. `action` is an RPC's name."""

    actor: Actor
    action: str
    reason: str


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A top-up that an operator decided about, as the audit log has it."""

    name: str
    state: str
    amount_nanousd: int
    credited_nanousd: int
    payment_id: str
    reason: str


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What webhooks are told of a top-up; its name is filled in where it is written down."""

    top_up: str = ""
    amount_nanousd: int
    credited_nanousd: int
    payment_id: str
    message: str
