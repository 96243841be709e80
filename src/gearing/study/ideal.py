"""The ideal a token is measured against: β times each day's return, compounded, without costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gearing.core.token import Token
from gearing.kernels.figures import NOTHING as _NOTHING
from gearing.kernels.pyramid import Floats
from gearing.market.series import Prices, Times
from gearing.market.times import iso
from gearing.study.inputs import upside_down
from gearing.study.targets import Targets

if TYPE_CHECKING:
    from gearing.study.result import Result


class Ideal(NamedTuple):
    """The ideal path.

    Args:
        bars: the bars at which days end, the first and the last bar included, shape (k,).
        nav: the ideal there, shape (k,); 0 from its wipe-out on.
        wiped_out_bar: the end of the day that took everything, 1 + β·r ≤ 0; −1: none did.
    """

    bars: Times
    nav: Floats
    wiped_out_bar: int


def ideal(prices: Prices, target: float | Floats, initial_nav: float) -> Ideal:
    """Returns the ideal of a target leverage, chained day by day: I = ln(1 + β·r).

    Args:
        prices: the path; days end 00:00 UTC, daily data once per bar. The part of a day before the first day's
            end and after the last one counts as a day of its own.
        target: β, signed; or one for each day, shape (k − 1,).
        initial_nav: where it starts, settlement currency per unit.

    Source: formula 16.
    """
    bars = prices.day_bars
    price = prices.close[bars]
    growth = 1.0 + target * (price[1:] / price[:-1] - 1.0)
    nav = initial_nav * np.exp(np.append(0.0, np.cumsum(np.log(np.where(growth > _NOTHING, growth, 1.0)))))
    lost = growth <= _NOTHING
    if not lost.any():
        return Ideal(bars, nav, -1)
    last = int(np.argmax(lost)) + 1
    nav[last:] = 0.0
    return Ideal(bars, nav, int(bars[last]))


def ideal_of(result: Result) -> Ideal:
    """Returns the ideal of a result; of a token that settles in coin, on 1/p, where it is a linear one of −β."""
    return _of(result.prices, result.token, result.targets)


def ideal_end(prices: Prices, token: Token, targets: Targets | None = None) -> str | None:
    """Returns when a token's ideal was worth nothing, ISO text UTC, or None."""
    least, most = prices.day_moves
    if token.settles_in_coin:
        least, most = 1 / most, 1 / least
    beta = -token.target if token.settles_in_coin else token.target
    if targets is None and 1.0 + beta * ((least if beta > 0 else most) - 1.0) > _NOTHING:
        return None
    bar = _of(prices, token, targets).wiped_out_bar
    return None if bar < 0 else iso(int(prices.times_ms[bar]))


def _of(prices: Prices, token: Token, targets: Targets | None) -> Ideal:
    if targets is not None:
        held = targets.at(prices.times_ms[prices.day_bars[:-1]], token.target)
        return ideal(prices, held, token.initial_nav)
    if token.settles_in_coin:
        return ideal(upside_down(prices), -token.target, token.initial_nav)
    return ideal(prices, token.target, token.initial_nav)
