"""Fees in plain words, a daily fee always with what it takes in a year."""

from __future__ import annotations

from gearing.core.fees import Costs, Fees
from gearing.core.record import Record
from gearing.core.token import Token
from gearing.numerals import number, percent, tight


class FeeRates(Record, frozen=True, kw_only=True):
    """What a management fee takes of equity at target leverage, as fractions.

    Args:
        per_day: at each day's end.
        per_year: over 365 days, compounded: 0.1 % a day takes 30.6 % of a year's equity.
    """

    per_day: float
    per_year: float


def fee_rates(fees: Fees, target: float) -> FeeRates:
    """Returns what the management fee takes of equity a day and a year, at target leverage."""
    per_day = fees.management_per_day or fees.management_per_year / 365
    if fees.on == "exposure":
        per_day *= abs(target)
    return FeeRates(per_day=per_day, per_year=1 - max(0.0, 1 - per_day) ** 365)


def merger_words(token: Token) -> str:
    """Returns when a token's own rule merges its units, in plain words; empty: never."""
    rule = token.consolidation
    if rule is None:
        return ""
    level = f"{number(rule.below)} {token.settlement}"
    return f"{number(rule.factor)} units become one at a day's end (00:00 UTC) where NAV is below {level}"


def fee_words(fees: Fees, target: float) -> list[str]:
    """Returns an issuer's fees in plain words, a daily fee always with what it takes in a year."""
    words = []
    rates = fee_rates(fees, target)
    if rates.per_day:
        stated = (
            f"{percent(fees.management_per_day)} a day"
            if fees.management_per_day
            else f"{percent(fees.management_per_year)} a year"
        )
        day = (
            ""
            if fees.management_per_day and fees.on == "equity"
            else f"{percent(rates.per_day, decimals=4)} a day and "
        )
        words.append(
            f"Management: {stated} of {fees.on}, which takes {day}{percent(rates.per_year, decimals=1)} "
            f"of equity a year{' at target' if fees.on == 'exposure' else ''}."
        )
    if fees.creation or fees.redemption:
        words.append(f"Creation {percent(fees.creation)}, redemption {percent(fees.redemption)} of the amount.")
    if fees.all_in:
        words.append("All in: funding and trading costs are the issuer's.")
    return words or ["No fees."]


def fee_headline(fees: Fees) -> str:
    """Returns an issuer's fees in one short line."""
    parts = []
    if fees.management_per_day:
        yearly = fee_rates(fees, 1.0).per_year
        parts.append(f"{tight(fees.management_per_day)}/day = {tight(yearly, decimals=1)}/yr")
    elif fees.management_per_year:
        parts.append(f"{tight(fees.management_per_year)}/yr")
    if parts and fees.on == "exposure":
        parts[0] += " of exposure"
    if fees.creation == fees.redemption != 0:
        parts.append(f"in and out {tight(fees.creation)}")
    else:
        each = (("in", fees.creation), ("out", fees.redemption))
        parts += [f"{way} {tight(fee)}" for way, fee in each if fee]
    if fees.all_in:
        parts.append("all in")
    return "; ".join(parts) or "none"


def cost_words(costs: Costs) -> str:
    """Returns trading costs in words, "" if there are none."""
    known = [
        f"{name} {percent(rate, decimals=4)}"
        for name, rate in (
            ("taker fee", costs.taker_fee),
            ("half spread", costs.half_spread),
            ("liquidation fee", costs.liquidation_fee),
        )
        if rate
    ]
    if costs.impact:
        known.append(f"impact {number(costs.impact, decimals=4)}")
    return ", ".join(known)
