"""The receipt of credits that were bought."""

from datetime import datetime

import msgspec

from omni_grpc.core.money import usd_text


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt; the fields are the contract's."""

    top_up: str
    number: str
    customer: str
    amount_nanousd: int
    paid_by: str
    payment_id: str
    pay_time: datetime
    text: str


def receipt_of(
    *,
    top_up: str,
    number: str,
    customer: str,
    amount: int,
    paid_by: str,
    payment_id: str,
    pay_time: datetime,
    seller: str,
) -> Receipt:
    """A receipt with its text.

    Args:
        top_up: the top-up's name.
        number: the receipt's.
        customer: who bought.
        amount: what was credited, in nano-dollars.
        paid_by: how, for people.
        payment_id: what the network calls the payment.
        pay_time: when it was credited.
        seller: whose service it is; nothing is said of it if empty.
    """
    lines = [
        ("Receipt", number),
        *([("From", seller)] if seller else []),
        ("To", customer),
        ("Paid", f"{pay_time:%Y-%m-%d %H:%M:%S} UTC"),
        ("By", paid_by),
        ("Payment", payment_id),
        ("For", "prepaid credits"),
        ("Amount", f"{usd_text(amount)} USD"),
    ]
    text = "".join(f"{name + ':':<10}{_one_line(value)}\n" for name, value in lines)
    return Receipt(
        top_up=top_up,
        number=number,
        customer=customer,
        amount_nanousd=amount,
        paid_by=paid_by,
        payment_id=payment_id,
        pay_time=pay_time,
        text=text,
    )


def _one_line(value: str) -> str:
    """A value that cannot pretend to be other lines."""
    return "".join(c if c.isprintable() else " " for c in value)
