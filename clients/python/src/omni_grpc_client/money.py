"""Dollars for people, nano-dollars (billionths of a US dollar) for the service; exact both ways."""

from decimal import Context, Decimal, Inexact, InvalidOperation

NANOUSD_PER_USD = 1_000_000_000

_EXACT = Context(prec=50, traps=[Inexact, InvalidOperation])
"""Wide enough for any int64 of nano-dollars, and it raises rather than rounds."""


def usd(nanousd: int) -> Decimal:
    """Nano-dollars as dollars, exactly: `usd(1_500_000_000)` is `Decimal("1.5")`."""
    return _EXACT.divide(Decimal(nanousd), Decimal(NANOUSD_PER_USD))


def nanousd(amount_usd: Decimal | int | str) -> int:
    """Dollars as nano-dollars, exactly: `nanousd("1.50")` is `1_500_000_000`.

    A float is refused: what it holds is seldom what was written.

    Raises:
        TypeError: not a Decimal, an int or a text.
        ValueError: not a finite number, or finer than a nano-dollar.
    """
    if not isinstance(amount_usd, Decimal | int | str):
        raise TypeError(f"{amount_usd!r} is no Decimal, int or text")
    try:
        amount = _EXACT.multiply(Decimal(amount_usd), Decimal(NANOUSD_PER_USD))
        return int(amount.to_integral_exact(context=_EXACT))
    except (ArithmeticError, ValueError):
        raise ValueError(f"{amount_usd!r} is not an amount of dollars to nine places") from None
