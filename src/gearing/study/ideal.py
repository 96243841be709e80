"""The ideal a token is measured against: β times each day's return, compounded, without costs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gearing.kernels.calendar import day_end_bars
from gearing.kernels.pyramid import Floats
from gearing.market.series import Prices, Times
from gearing.study.inputs import upside_down
from gearing.study.result import Result


class Ideal(NamedTuple):
    """The ideal path.

    Args:
        bars: the bars at which days end, the first and the last bar included, shape (k,).
        nav: the ideal there, shape (k,).
        left_out: days with 1 + β·r ≤ 0, on which the ideal stands still.
    """

    bars: Times
    nav: Floats
    left_out: int


def ideal(prices: Prices, target: float, initial_nav: float) -> Ideal:
    """Returns the ideal of a target leverage, chained day by day: I = ln(1 + β·r).

    Args:
        prices: the path; days end 00:00 UTC, daily data once per bar. The part of a day before the first day's
            end and after the last one counts as a day of its own.
        target: β, signed.
        initial_nav: where it starts, settlement currency per unit.

    Source: formula 16.
    """
    ends = day_end_bars(prices.times_ms, prices.spacing_ms)
    bars = np.unique(np.concatenate([[0], ends, [len(prices) - 1]])).astype(np.int64)
    price = prices.close[bars]
    growth = 1.0 + target * (price[1:] / price[:-1] - 1.0)
    alive = growth > 0.0
    logs = np.log(np.where(alive, growth, 1.0))
    return Ideal(bars, initial_nav * np.exp(np.append(0.0, np.cumsum(logs))), int((~alive).sum()))


def ideal_of(result: Result) -> Ideal:
    """Returns the ideal of a result; of a token that settles in coin, on 1/p, where it is a linear one of −β."""
    token, prices = result.token, result.prices
    if token.settles_in_coin:
        return ideal(upside_down(prices), -token.target, token.initial_nav)
    return ideal(prices, token.target, token.initial_nav)
