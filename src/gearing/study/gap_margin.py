"""The move to liquidation in a gap budget: of one leg, of an inverse one, and of several that share their margin."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gearing.core.barriers import State, liquidation_price
from gearing.core.instruments import Instrument, MarginTier, Spot, TotalReturnSwap
from gearing.core.token import Token
from gearing.core.words import percent
from gearing.kernels.pyramid import Floats


class Margin(NamedTuple):
    """The venue's maintenance margin.

    Args:
        brackets: (notional_max, rate, amount) of the token's net exposure, smallest first, shape (n, 3); of an
            inverse leg, of its contracts' notional. None at all: liquidation is at zero.
        in_coin: whether the leg is inverse, so that its notional does not move with the price.
        equity: of the token, settlement currency.
        words: how it was taken.
    """

    brackets: Floats
    in_coin: bool
    equity: float
    words: str

    def move_from(self, leverage: float) -> float | None:
        """The move to liquidation from a signed leverage; 0 if it is reached already, None if no move is."""
        if not len(self.brackets):
            return move_to_zero(leverage)
        if self.in_coin:
            move = self._coin_price(leverage) - 1.0
        else:
            state = State(self.equity, leverage * self.equity, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
            move = liquidation_price(self.brackets, state) - 1.0
        if math.isnan(move) or move <= -1:
            return None
        return min(move, 0.0) if leverage > 0 else max(move, 0.0)

    def _coin_price(self, leverage: float) -> float:
        """Where equity Q·p − N is the margin μ|N| − a of a notional N that stays: (μ|N| − a + N)/Q."""
        exposure = leverage * self.equity
        notional = exposure - self.equity
        at = int(np.searchsorted(self.brackets[:, 0], abs(notional)))
        _, rate, amount = self.brackets[min(at, len(self.brackets) - 1)]
        return float(rate * abs(notional) - amount + notional) / exposure


def move_to_zero(leverage: float) -> float | None:
    """Returns the move of the price that leaves nothing, −1/ℓ; None where a price cannot fall so far."""
    return -1.0 / leverage if -1.0 / leverage > -1.0 else None


def margin_of(token: Token, rate: float, equity: float) -> Margin:
    """Returns the maintenance margin of a token, whose legs are taken to move alike.

    Args:
        token: the specification.
        rate: what a leg without margin tiers is taken to need, of its notional.
        equity: of the token.

    Source: legs share their margin, which is Σ (μₖ|wₖ|N − aₖ) at a net exposure N, each leg in its own bracket.
    """
    legs = [(abs(leg.weight), _tiers(leg, rate)) for leg in token.legs]
    asked = [(weight, tiers) for weight, tiers in legs if tiers]
    return Margin(_merged(asked), token.is_inverse, equity, _words(token, rate, equity))


def _tiers(leg: Instrument, rate: float) -> tuple[MarginTier, ...]:
    if isinstance(leg, (TotalReturnSwap, Spot)):
        return ()
    return leg.margin_tiers or ((MarginTier(rate=rate),) if rate else ())


def _merged(legs: list[tuple[float, tuple[MarginTier, ...]]]) -> Floats:
    edges = sorted({tier.notional_max / weight for weight, tiers in legs for tier in tiers})
    rows = []
    for edge in edges:
        found = [
            (weight, next((tier for tier in tiers if tier.notional_max / weight >= edge), tiers[-1]))
            for weight, tiers in legs
        ]
        rows.append((edge, sum(weight * tier.rate for weight, tier in found), sum(tier.amount for _, tier in found)))
    return np.array(rows, dtype=np.float64).reshape(len(rows), 3)


def _words(token: Token, rate: float, equity: float) -> str:
    margined = [leg for leg in token.legs if not isinstance(leg, (TotalReturnSwap, Spot))]
    count = sum(len(leg.margin_tiers) for leg in margined)
    if not margined:
        return "none: no venue liquidates what it holds"
    told = f"a maintenance margin of {percent(rate)} of notional"
    if count:
        bare = "" if all(leg.margin_tiers for leg in margined) else f", and {percent(rate)} of notional for the others"
        told = f"the venue's {count} margin tiers at an equity of {equity:,.0f}{bare}"
    return told if len(token.legs) == 1 else f"{told}; the legs share it and are taken to move alike"
