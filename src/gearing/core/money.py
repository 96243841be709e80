"""Exact amounts: money and units are integers, sizes are whole lots, prices are the decimals the venue wrote.

A price arrives as a float64 and is taken for the shortest decimal that names it, which is what the venue published.
So a value is a product of decimals, worked out exactly and rounded once, the way its caller names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, Inexact
from fractions import Fraction
from functools import lru_cache

from gearing.errors import InputError

# Minor units per unit of any currency, and per unit of a token.
MINOR = 10**8
_DIGITS = 8
INT64_MAX = 2**63 - 1

_AMOUNT = re.compile(r"[0-9]+(\.[0-9]{1,8})?")
_WHOLE_MAX, _SHOWN_MAX = 11, 40

FLOOR, CEILING, HALF_EVEN = ROUND_FLOOR, ROUND_CEILING, ROUND_HALF_EVEN

# 19 digits of lots, 17 each of lot size and price, and the digits of a minor unit fit without rounding.
_EXACT = Context(prec=120, traps=[Inexact])
_ONE = Decimal(1)


@lru_cache(maxsize=65_536)
def as_decimal(value: float) -> Decimal:
    """Returns the shortest decimal that names a float64: 40040.59 for the float nearest to it."""
    return Decimal(repr(value))


def to_minor(amount: float | Decimal, rounding: str) -> int:
    """Returns an amount of money or units in minor units, rounded as named.

    Raises:
        InputError: it is not finite, or does not fit into 64 bits.
    """
    if not math.isfinite(amount):
        raise InputError(f"an amount of {amount} cannot be booked.", fix="Give a finite amount.")
    exact = as_decimal(amount) if isinstance(amount, float) else Decimal(amount)
    return checked(int(exact.scaleb(_DIGITS, _EXACT).to_integral_value(rounding)))


def minor_of(text: str) -> int:
    """Returns an amount that a person wrote as a plain ASCII decimal, in minor units: "1000", "0.25".

    Separators, signs, exponents, digits of other scripts and more than eight decimals are refused: what could be read
    in two ways is not read at all.

    Raises:
        InputError: it is no such amount, it is 0, or it is more than the ledger holds.
    """
    shown = repr(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…")
    if not _AMOUNT.fullmatch(text):
        raise InputError(f"{shown} is not an amount.", fix="Write digits, and a point before at most 8 decimals, as in "
                         "1000 or 0.25.")  # fmt: skip
    whole, _, rest = text.partition(".")
    digits = whole.lstrip("0") or "0"
    amount = int(digits[: _WHOLE_MAX + 1]) * MINOR + int(rest.ljust(_DIGITS, "0"))
    if len(digits) > _WHOLE_MAX or amount > INT64_MAX:
        raise InputError(f"{shown} is more than the ledger holds.", fix=f"The most is {as_text(INT64_MAX)}.")
    if not amount:
        raise InputError(f"{shown} is not above 0.", fix="Give an amount above 0.")
    return amount


def to_float(minor: int) -> float:
    """Returns an amount in units of its currency, for decisions and for people."""
    return minor / MINOR


def as_text(minor: int, *, grouped: bool = False) -> str:
    """Returns an amount as a decimal with all eight digits: "-1234.00000001", or grouped "-1,234.00000001"."""
    whole, rest = divmod(abs(minor), MINOR)
    return f"{'-' if minor < 0 else ''}{whole:{',' if grouped else ''}}.{rest:08d}"


def checked(amount: int) -> int:
    """Returns an integer that fits into 64 bits.

    Raises:
        InputError: it does not.
    """
    if not -INT64_MAX <= amount <= INT64_MAX:
        raise InputError(
            f"an amount of {amount / MINOR:.6g} is beyond what the ledger holds ({INT64_MAX / MINOR:.6g}).",
            fix="Split the token, or count in a larger currency.",
        )
    return amount


@lru_cache(maxsize=1024)  # one event asks for the same position several times
def value_of(lots: int, lot: Decimal, price: float, rounding: str) -> int:
    """Returns lots · lot size · price in minor units of money, rounded as named.

    Args:
        lots: signed.
        lot: size of one lot, in units of the underlying.
        price: settlement currency per unit of the underlying.
        rounding: FLOOR, CEILING or HALF_EVEN.
    """
    exact = _EXACT.multiply(_EXACT.multiply(Decimal(lots), lot), as_decimal(price))
    return checked(int(exact.scaleb(_DIGITS, _EXACT).to_integral_value(rounding)))


def accrued_of(lots: int, lot: Decimal, price: float, rate: float, rounding: str) -> int:
    """Returns lots · lot size · price · rate in minor units of money, rounded as named; see `value_of`."""
    worth = _EXACT.multiply(_EXACT.multiply(Decimal(lots), lot), as_decimal(price))
    exact = _EXACT.multiply(worth, as_decimal(rate))
    return checked(int(exact.scaleb(_DIGITS, _EXACT).to_integral_value(rounding)))


def fraction_of(amount: int, rate: Decimal) -> int:
    """Returns a fraction of an amount ≥ 0, rounded up: what is charged."""
    return int(_EXACT.multiply(Decimal(amount), rate).to_integral_value(CEILING))


def apportioned(total: int, weights: Sequence[int]) -> list[int]:
    """Returns a total in whole parts by weight, which sum to it: by largest remainder, the first of equal ones first.

    Args:
        total: ≥ 0.
        weights: ≥ 0, not all of them 0.
    """
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    by_rest = sorted(range(len(weights)), key=lambda k: (-(total * weights[k] % whole), k))
    for k in by_rest[: total - sum(parts)]:
        parts[k] += 1
    return parts


def share_of(amount: int, part: int, whole: int) -> int:
    """Returns amount · part / whole, rounded half to even; the rest stays with what is left of the whole."""
    return round(Fraction(amount * part, whole))


def nav_of(equity: int, units: int) -> int:
    """Returns NAV in minor units of money per whole unit, rounded down; 0 without equity or units."""
    return max(equity, 0) * MINOR // units if units > 0 else 0


def finest_lot(price: float) -> Decimal:
    """Returns the power of ten whose lots are worth at most a minor unit at this price: the size that is no lot."""
    return _ONE.scaleb(-_DIGITS - max(math.ceil(math.log10(price)), -_DIGITS))
