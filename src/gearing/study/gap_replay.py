"""The gap budget of the rule as a whole: the leverage a token really had along the data, and what one bar could do."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np

from gearing.core.fees import Costs, Fees
from gearing.core.instruments import Perpetual
from gearing.core.pack import pack, schedule_times_ms
from gearing.core.token import Token
from gearing.kernels.calendar import build_calendar
from gearing.kernels.one import Run, path_of, run_one
from gearing.kernels.series import Series, build_series
from gearing.market.series import Prices
from gearing.study.backtest import CAPITAL
from gearing.study.gap_count import Data
from gearing.study.gap_passage import Floats
from gearing.study.gap_rule import NEXT_PRICE

# Leverages between which moves and probabilities are read off a table.
TABLE = 400

# After an end the next one may be near, so a short span is tried first.
_SPAN_BARS = 512

# What ends so often is known well enough; the rest of the series is left out.
_ENDS_MAX = 1_000


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


def replay(token: Token, data: Data, limit: Callable[[Floats], Floats]) -> Replay:
    """Runs a token over a series, free of fees, funding and costs; one that ended opens anew.

    Args:
        token: the specification.
        data: the series; after a thousand ends the rest of it is left out.
        limit: the moves of the price that end a token at leverages |ℓ| > 0, fractions; 0 ends it at once. The
            higher the leverage, the nearer the limit.
    """
    prices, sign = data.prices, math.copysign(1.0, token.target)
    moves = data.windows(NEXT_PRICE, falls=sign > 0).moves
    leverage = np.zeros(len(moves))
    first, length, ended = 0, len(prices), 0
    while first < len(moves) and ended < _ENDS_MAX:
        last = min(first + length, len(prices))
        run, series = bare_run(token, prices, first, last)
        equity, position = path_of(run, series)
        held = np.divide(np.abs(position * series.close), equity, out=np.zeros(len(equity)), where=equity > 0)[:-1]
        stop = _end(held, sign * moves[first : last - 1], equity, lambda levels: sign * limit(levels))
        if stop is not None:
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
    if seen.all():
        return Replay(leverage, moves, prices.times_ms[1:], ended)
    return Replay(leverage[seen], moves[seen], prices.times_ms[1:][seen], ended)


def _end(held: Floats, moves: Floats, equity: Floats, limit: Callable[[Floats], Floats]) -> int | None:
    """How many bars go by until a run ends, its last one included; None if it does not. Falls are losses here."""
    gone = np.flatnonzero(equity[1:] <= 0)[:1]
    highest = float(held.max(initial=0.0))
    if highest > 0:
        # No leverage has a nearer limit than the highest, so the bars within that one need no closer look.
        nearest = float(limit(np.array([highest]))[0])
        near = np.flatnonzero((moves <= nearest * (1 - 1e-9)) | (nearest == 0))
        near = near[held[near] > 0]
        if len(near):
            limits = limit(held[near])
            gone = np.append(gone, near[(moves[near] <= limits) | (limits == 0)][:1])
    return int(gone.min()) + 1 if len(gone) else None


def bare_run(token: Token, prices: Prices, first: int, last: int) -> tuple[Run, Series]:
    """Returns the run of a token over the bars first … last − 1, free of fees, funding and costs, and their index.

    Leverage moves with the price alike whatever is held, so one perpetual that is never liquidated stands for it.
    """
    bare = msgspec.structs.replace(token, legs=(Perpetual(),), fees=Fees(), costs=Costs())
    schedules = schedule_times_ms(bare.resolved_rule)
    if last - first == len(prices):
        series, calendar = prices.index, prices.calendar(None, schedules)
    else:
        times, close = prices.times_ms[first:last], prices.close[first:last]
        series = build_series(times, close, spacing_ms=prices.spacing_ms)
        none = np.empty(0)
        calendar = build_calendar(
            times, series.spacing_ms, series.close, series.blocks, none.astype(np.int64), none, schedules
        )
    return run_one(pack(bare, Costs()), series, calendar, CAPITAL), series


def in_a_year(probability: float, waits: float) -> float:
    """Returns the probability within a year of so many waits, each with this one."""
    return 1.0 if probability >= 1 else -math.expm1(waits * math.log1p(-probability))
