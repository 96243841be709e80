"""What backs open quotes: money and units of the dealing account that are set aside while a quote may be accepted.

An open redemption quote sets aside the money that it would pay, an open subscription quote the units that it would
give. Units that the dealing account does not have it gives out ahead, and buys from the token when the window ends; for
those it sets aside the money that they cost with their hedge. That money stays set aside after the acceptance, until
the units are bought. What one open quote would bring backs no other, since it may never be accepted.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from gearing.core.dealing import with_cost, worth
from gearing.core.holder import SHORT, HolderState, Quote
from gearing.core.money import as_decimal
from gearing.core.state import TokenState
from gearing.core.terms import Spec

# Slightly more units are bought than are short, so that rounding does not leave a rest again and again.
_OVERSHOOT = Fraction(1001, 1000)

Tokens = Mapping[str, tuple[Spec, TokenState]]


class SetAside(NamedTuple):
    """What of the dealing account is not free to be paid out, transferred or used for its own requests.

    Args:
        for_quotes: money that backs open quotes, minor units, by currency.
        for_short: money for units that were given out and not bought yet, minor units, by token and its currency.
        units: units that back open quotes, in 1e-8 of a unit, by token.
    """

    for_quotes: Mapping[str, int]
    for_short: Mapping[tuple[str, str], int]
    units: Mapping[str, int]

    def money(self, asset: str) -> int:
        """Returns all money of a currency that is set aside, minor units."""
        return self.for_quotes.get(asset, 0) + sum(owed for (_, paid), owed in self.for_short.items() if paid == asset)


class Flows(NamedTuple):
    """The units that open quotes of one token would create and redeem."""

    subscribed: int = 0
    redeemed: int = 0


def set_aside(dealer: HolderState, quotes: Iterable[Quote], tokens: Tokens) -> SetAside:
    """Returns what backs open quotes.

    Args:
        dealer: the dealing account.
        quotes: that are open.
        tokens: the specification and the state of each token, at its last marks.
    """
    opened = list(quotes)
    flows = flows_of(opened)
    for_quotes: defaultdict[str, int] = defaultdict(int)
    for_short: dict[tuple[str, str], int] = {}
    units: dict[str, int] = {}
    for quote in opened:
        if quote.side == "redeem":
            for_quotes[quote.asset] += quote.cash
    for name, (spec, state) in tokens.items():
        subscribed, free, short = flows.get(name, Flows()).subscribed, dealer.units(name), -dealer.units(name, SHORT)
        if not subscribed and not short:
            continue
        asset = spec.token.settlement
        owed = money_for(spec, state, (), short)
        for_short[name, asset] = owed
        for_quotes[asset] += money_for(spec, state, (), short + max(subscribed - free, 0)) - owed
        units[name] = min(subscribed, free)
    return SetAside(dict(for_quotes), for_short, units)


def flows_of(quotes: Iterable[Quote]) -> dict[str, Flows]:
    """Returns the units that quotes would create and redeem, by token."""
    flows: dict[str, Flows] = {}
    for quote in quotes:
        before = flows.get(quote.token, Flows())
        if quote.side == "subscribe":
            flows[quote.token] = before._replace(subscribed=before.subscribed + quote.units)
        else:
            flows[quote.token] = before._replace(redeemed=before.redeemed + quote.units)
    return flows


def money_for(spec: Spec, state: TokenState, accrued: tuple[float, ...], units: int) -> int:
    """Returns the money that buys units from a token by a forward subscription, with hedge and fee, minor units.

    Args:
        spec, state: the token at the marks of now.
        accrued: see `accrued_funding`.
        units: ≥ 0; of a token without equity, they cost nothing.
    """
    if not units or state.equity <= 0 or not state.balances.units:
        return 0
    price = with_cost(spec, state, worth(spec, state, accrued, "subscribe"))
    money = -(-units * price.equity // price.units)
    return math.ceil(Fraction(money) * _OVERSHOOT / (1 - Fraction(as_decimal(spec.token.fees.creation))))
