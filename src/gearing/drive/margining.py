"""How an instrument is to be margined at the venue before a token trades it (R5). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from gearing.core.chains import Chains
from gearing.core.token import Token
from gearing.venues.protocol import Setting

if TYPE_CHECKING:
    from gearing.drive.running import Running

# Room over the target: real leverage drifts before it is rebalanced, and a basket's legs are not traded at once.
_ROOM = 2.0


class MarginChoice(NamedTuple):
    """What a person chose for a token.

    Args:
        leverage: the venue's setting; None: twice what its target needs, at most what its brackets let the venue offer.
        margin_mode: whether a position stands on the whole account, or on its own margin.
    """

    leverage: float | None = None
    margin_mode: Literal["cross", "isolated"] = "cross"


DEFAULT = MarginChoice()


class AskedMargin(NamedTuple):
    """The maintenance margin that a venue asked for, and for what.

    Args:
        amount: in settlement currency.
        notional: of the positions then, each without its sign, see `notional`.
    """

    amount: float
    notional: float

    def of(self, notional: float) -> float:
        """Returns what it asks for positions of now, in proportion: the statement may be of larger ones."""
        return self.amount * notional / self.notional if self.notional > 0.0 else 0.0


def notional(running: Running, positions: Mapping[str, int] | None = None) -> float:
    """Returns the notional of positions at a token's last marks, each without its sign.

    Args:
        running: the token.
        positions: lots by symbol; None: its own.
    """
    legs = zip(running.state.legs, running.symbols, strict=True)
    return math.fsum(abs(leg.lots if positions is None else positions.get(symbol, 0)) * float(leg.lot) * leg.mark
                     for leg, symbol in legs)  # fmt: skip


def needed(token: Token) -> float:
    """Returns the leverage that a token's target needs: that of all its legs together, long and short."""
    return abs(token.target) * math.fsum(abs(leg.weight) for leg in token.legs)


def wanted_settings(token: Token, choice: MarginChoice = DEFAULT) -> dict[str, Setting]:
    """Returns how each contract of a token's legs is to be margined, by its symbol."""
    found: dict[str, Setting] = {}
    for leg, names in zip(token.legs, Chains(token.legs).names, strict=True):
        leverage = choice.leverage
        if leverage is None:
            offered = math.floor(1.0 / leg.margin_tiers[0].rate) if leg.margin_tiers else math.inf
            leverage = float(max(min(math.ceil(_ROOM * needed(token) - 1e-9), offered), 1))
        found |= dict.fromkeys(names, Setting(leverage=leverage, margin_mode=choice.margin_mode))
    return found


def larger(one: Setting | None, other: Setting) -> Setting:
    """Returns the setting that carries both of two tokens of one book: that of the larger leverage."""
    return other if one is None or other.leverage > one.leverage else one


def may_be_set(now: Setting, wanted: Setting, lots: int) -> bool:
    """Returns whether a setting may be asked for: while something is held, only another leverage of a cross margin.

    A cross position stands on the whole account whatever its leverage; an isolated one's margin would change under it.
    """
    return lots == 0 or now.margin_mode == wanted.margin_mode == "cross"


def said(symbol: str, now: Setting, wanted: Setting) -> str:
    """Returns a difference in words."""
    return (f"{symbol} is margined {now.margin_mode} at {now.leverage:g} times, specified is {wanted.margin_mode} at "
            f"{wanted.leverage:g}")  # fmt: skip
