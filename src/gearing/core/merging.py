"""What a merger of units leaves each holder: all that it has is rounded down, and what is cut off is paid in money."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from gearing.core.holder import SHORT, HolderState, Merged


class MergerTerms(NamedTuple):
    """At what units of a token are merged.

    Args:
        token, asset: its symbol and its settlement currency.
        factor: this many units become one; > 1.
        equity: of the token at the marks of now, minor units.
        units: of all holders before it, in 1e-8 of a unit.
        time_ms: when.
    """

    token: str
    asset: str
    factor: float
    equity: int
    units: int
    time_ms: int


def merged(holder: HolderState, terms: MergerTerms) -> Merged:
    """Returns what a merger does to a holder.

    What is free, what each redemption has set aside, and what the dealing account is short of, is rounded down by
    itself; what is cut off is paid at the token's equity per unit, rounded down.
    """
    token, factor = terms.token, Fraction(repr(terms.factor))
    units = int(holder.units(token) / factor)
    requests = {
        one.id: int(one.amount / factor)
        for one in holder.requests.values()
        if one.token == token and one.side == "redeem"
    }
    held, short = sum(requests.values()), math.floor(holder.units(token, SHORT) / factor)
    cut_off = holder.held_units(token) - (units + held + short) * factor
    cash = int(cut_off * max(terms.equity, 0) / terms.units)
    return Merged(time_ms=terms.time_ms, token=token, units=units, held=held, short=short, requests=requests,
                  asset=terms.asset, cash=cash)  # fmt: skip
