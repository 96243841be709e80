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
from gearing.kernels.nearest import add_leverages, nearest_to_nothing
from gearing.kernels.one import Run, path_of, run_one
from gearing.kernels.run import BAR, EQUITY
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
        step = _step(table)
        if step == 0:
            return table[:1], np.ones(1)
        place = np.log(self.leverage / table[0]) / step
        low = np.clip(place.astype(np.int64), 0, TABLE - 2)
        upper = np.bincount(low, place - low, TABLE)
        shares = np.bincount(low, minlength=TABLE) - upper
        shares[1:] += upper[:-1]
        return table, shares / len(self.leverage)


class Stand(NamedTuple):
    """What `Replay` says where NAV at zero is the end, found in the runs' rows without a look at most bars.

    Args:
        pieces: the stretches of the series.
        lowest, highest: the |ℓ| that the token had; (∞, 0) if it never held a position.
    """

    pieces: list[Piece]
    lowest: float
    highest: float

    @property
    def ended(self) -> int:
        """How many bars ended the token."""
        return sum(piece.ended for piece in self.pieces)

    def weights(self) -> tuple[Floats, Floats, int]:
        """Leverages, their shares of the bars as in `Replay.weights`, and how many bars these are."""
        table = np.geomspace(self.lowest, self.highest, TABLE)
        step, weights = _step(table), np.zeros(TABLE)
        bars = sum(
            add_leverages(p.run.rows, p.series.close, p.stop, table[0], step or 1.0, weights) for p in self.pieces
        )
        return (table, weights / bars, int(bars)) if step else (table[:1], np.ones(1), int(bars))


def stand(token: Token, prices: Prices) -> Stand:
    """Runs a token over a series as `replay` does; NAV at zero is its end."""
    lowest, highest = math.inf, 0.0

    def end_of(piece: Piece) -> int | None:
        nonlocal lowest, highest
        bar, least, most = nearest_to_nothing(piece.run.rows, piece.series)
        if bar >= 0 or piece.first + len(piece.series.close) == len(prices):
            lowest, highest = min(lowest, least), max(highest, most)
        return bar if bar >= 0 else None

    found = pieces(token, prices, end_of)
    return Stand(found, lowest, highest)


def _step(table: Floats) -> float:
    return math.log(table[-1] / table[0]) / (TABLE - 1)


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

    def end_of(piece: Piece) -> int | None:
        held = _held(piece)
        leverage[piece.first : piece.first + len(held)] = held
        losses = sign * moves[piece.first : piece.first + len(held)]
        stop = _end(held, losses, lambda levels: sign * limit(levels))
        gone = piece.run.rows[piece.run.rows[:, EQUITY] <= 0, BAR][:1].astype(int).tolist()
        return min([*gone, *([] if stop is None else [stop])], default=None)

    found = pieces(token, prices, end_of)
    leverage[found[-1].first + found[-1].stop :] = 0
    seen = leverage > 0
    ended = sum(piece.ended for piece in found)
    if seen.all():
        return Replay(leverage, moves, prices.times_ms[1:], ended)
    return Replay(leverage[seen], moves[seen], prices.times_ms[1:][seen], ended)


class Piece(NamedTuple):
    """A stretch of a series that a token ran over, from its opening to its end.

    Args:
        run: what the run left behind.
        series: the bars it ran on, indexed.
        first: where these begin in the whole series.
        stop: how many bars count; the rest came after its end.
        ended: whether it ended.
    """

    run: Run
    series: Series
    first: int
    stop: int
    ended: bool


def pieces(token: Token, prices: Prices, end_of: Callable[[Piece], int | None]) -> list[Piece]:
    """Runs a token over a series; each time it ends, it opens anew at the close of that bar.

    Args:
        token: the specification.
        prices: the series, at least two bars.
        end_of: the bar of a piece that ends it, None if none does.
    """
    found: list[Piece] = []
    first, length, ended = 0, len(prices), 0
    while first < len(prices) - 1 and ended < _ENDS_MAX:
        last = min(first + length, len(prices))
        piece = Piece(*_bare_run(token, prices, first, last), first, last - first - 1, ended=False)
        stop = end_of(piece)
        if stop is not None:
            ended += 1
            length = _SPAN_BARS
            piece = piece._replace(stop=stop, ended=True)
        elif last < len(prices):
            length *= 4
            continue
        found.append(piece)
        first += piece.stop
    return found


def _held(piece: Piece) -> Floats:
    """|ℓ| at each close of a piece but the last."""
    equity, position = path_of(piece.run, piece.series)
    held = np.divide(np.abs(position * piece.series.close), equity, out=np.zeros(len(equity)), where=equity > 0)
    return held[:-1]


def _end(held: Floats, moves: Floats, limit: Callable[[Floats], Floats]) -> int | None:
    """How many bars go by until a move beyond its limit, its own included; None if there is none. Falls are losses."""
    highest = float(held.max(initial=0.0))
    if highest == 0:
        return None
    # No leverage has a nearer limit than the highest, so the bars within that one need no closer look.
    nearest = float(limit(np.array([highest]))[0])
    near = np.flatnonzero((moves <= nearest * (1 - 1e-9)) | (nearest == 0))
    near = near[held[near] > 0]
    if not len(near):
        return None
    limits = limit(held[near])
    beyond = near[(moves[near] <= limits) | (limits == 0)]
    return int(beyond[0]) + 1 if len(beyond) else None


def _bare_run(token: Token, prices: Prices, first: int, last: int) -> tuple[Run, Series]:
    """The run of a token over the bars first … last − 1, free of fees, funding and costs, and their index.

    Leverage moves with the price alike whatever is held, so one perpetual that is never liquidated stands for it.
    """
    bare = msgspec.structs.replace(token, legs=(Perpetual(),), fees=Fees(), costs=Costs())
    schedules = schedule_times_ms(bare.resolved_rule)
    if last - first == len(prices):
        series, calendar = prices.index, prices.calendar(None, schedules)
    else:
        cut = [None if values is None else values[first:last] for values in (prices.low, prices.high)]
        times, close = prices.times_ms[first:last], prices.close[first:last]
        series = build_series(times, close, spacing_ms=prices.spacing_ms, low=cut[0], high=cut[1])
        none = np.empty(0)
        calendar = build_calendar(
            times, series.spacing_ms, series.close, series.blocks, none.astype(np.int64), none, schedules
        )
    return run_one(pack(bare, Costs()), series, calendar, CAPITAL), series
