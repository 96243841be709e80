"""The gap budget of the rule as a whole: the leverage a token really had along the data, and what one bar could do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import numpy as np

from gearing.core.fees import Costs, Fees
from gearing.core.instruments import Perpetual
from gearing.core.token import Token
from gearing.market.legs import Sources
from gearing.market.series import Prices
from gearing.study.backtest import CAPITAL, run_backtest
from gearing.study.gap_passage import Floats
from gearing.study.inputs import Inputs

# Leverages between which moves and probabilities are read off a table.
TABLE = 400

# After an end the next one may be near, so a short span is tried first.
_SPAN_BARS = 512

# What ends so often is known well enough; the rest of the series is left out.
_ENDS_MAX = 1_000
_ARRAYS = ("times_ms", "open", "high", "low", "close", "volume")


class Replay(NamedTuple):
    """The bars of a series in which a token held a position.

    Args:
        leverage: |ℓ| at the close before each such bar, shape (m,).
        moves: the worst move of the price within each, from that close, shape (m,).
        times_ms: when each bar was known.
        ended: how many of them ended the token, which then opened anew at that bar's close.
    """

    leverage: Floats
    moves: Floats
    times_ms: np.ndarray
    ended: int

    def weights(self) -> tuple[Floats, Floats]:
        """Leverages from the lowest to the highest seen, and their shares of the bars.

        The mean over all bars of any function of leverage is its weighted sum on these, as if it were straight
        between them.
        """
        table = leverage_table(self.leverage)
        step = math.log(table[-1] / table[0]) / (TABLE - 1)
        if step == 0:
            return table[:1], np.ones(1)
        place = np.log(self.leverage / table[0]) / step
        low = np.clip(place.astype(np.int64), 0, TABLE - 2)
        upper = np.bincount(low, place - low, TABLE)
        shares = np.bincount(low, minlength=TABLE) - upper
        shares[1:] += upper[:-1]
        return table, shares / len(self.leverage)


def leverage_table(leverage: Floats) -> Floats:
    """Returns leverages from the lowest to the highest given, in equal ratios."""
    return np.geomspace(leverage.min(), leverage.max(), TABLE)


def replay(token: Token, prices: Prices, limit: Callable[[Floats], Floats]) -> Replay:
    """Runs a token over a series, free of fees, funding and costs; one that ended opens anew.

    Args:
        token: the specification.
        prices: the series, at least two bars; after a thousand ends the rest of it is left out.
        limit: the moves of the price that end a token at leverages |ℓ| > 0, fractions; 0 ends it at once.
    """
    # Leverage moves with the price alike whatever is held, so one perpetual that is never liquidated stands for it.
    bare = msgspec.structs.replace(token, legs=(Perpetual(),), fees=Fees(), costs=Costs())
    sign = math.copysign(1.0, token.target)
    extremes = prices.low if sign > 0 else prices.high
    moves = (prices.close if extremes is None else extremes)[1:] / prices.close[:-1] - 1.0
    leverage = np.zeros(len(moves))
    first, length, ended = 0, len(prices), 0
    while first < len(moves) and ended < _ENDS_MAX:
        last = min(first + length, len(prices))
        nav = run_backtest(bare, Inputs(Sources(_span(prices, first, last))), Costs(), CAPITAL).nav
        held = np.abs(nav["leverage"].to_numpy()[:-1])
        worst = moves[first : last - 1]
        ends = nav["nav"].to_numpy()[1:] <= 0
        at_risk = held > 0
        if at_risk.any():
            limits = limit(held[at_risk])
            ends[at_risk] |= (sign * worst[at_risk] <= sign * limits) | (limits == 0)
        if ends.any():
            stop = int(np.argmax(ends)) + 1
            ended += 1
            length = _SPAN_BARS
        elif last < len(prices):
            length *= 4
            continue
        else:
            stop = len(held)
        leverage[first : first + stop] = held[:stop]
        first += stop
    seen = leverage > 0
    return Replay(leverage[seen], moves[seen], prices.times_ms[1:][seen], ended)


def _span(prices: Prices, first: int, last: int) -> Prices:
    """The bars first … last − 1; the whole series as it is, because it may know its index already."""
    if last - first == len(prices):
        return prices
    arrays = {name: getattr(prices, name) for name in _ARRAYS}
    cut: dict[str, Any] = {name: None if array is None else array[first:last] for name, array in arrays.items()}
    return replace(prices, **cut)


def in_a_year(probability: float, waits: float) -> float:
    """Returns the probability within a year of so many waits, each with this one."""
    return 1.0 if probability >= 1 else -math.expm1(waits * math.log1p(-probability))
