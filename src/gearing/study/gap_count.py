"""Gaps as they stand in the data: the windows between two trades, the worst move in each, and the law of moves."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gearing.core.record import DAY_MS
from gearing.market.series import Prices
from gearing.study.gap_passage import Floats, Jumps
from gearing.study.gap_rule import Clock
from gearing.study.periods import periods_of

Rows = npt.NDArray[np.int64]

# A bar beyond this many deviations of the others is a jump: in a normal law, one bar in 1.7 million.
_JUMP_DEVIATIONS = 5.0


class Law(NamedTuple):
    """What the data says of the moves of its price, drift left out; per year of its own bars.

    Args:
        volatility: of all moves, per √year.
        diffusion: volatility of the moves that are no jumps.
        jumps: the others.
        bars_per_year: 525,600 for minutes, 252 for a listed market's days.
        days_per_year: 365, or 252 where nothing trades on weekends; of rarer bars, how many a year has.
        spacing_ms: the length of a bar.
    """

    volatility: float
    diffusion: float
    jumps: Jumps
    bars_per_year: float
    days_per_year: float = 365.0
    spacing_ms: int = 1

    @property
    def nu(self) -> float:
        """Drift of the log price between jumps that makes the price a martingale."""
        return -(self.diffusion**2) / 2 - self.jumps.per_year * math.expm1(
            self.jumps.mean + self.jumps.deviation**2 / 2
        )

    def years(self, clock: Clock) -> float:
        """The length of a clock's wait in years, never less than a bar."""
        # A day of a listed market is a 252nd of its year, an hour as many of its bars as it has; a week is one of 52.
        if clock.span_ms < DAY_MS:
            return max(clock.span_ms / self.spacing_ms, 1.0) / self.bars_per_year
        return max(clock.span_ms / (365 * DAY_MS), 1 / self.days_per_year, 1 / self.bars_per_year)

    def per_year(self, clock: Clock) -> float:
        """How many waits of a clock a year has, never more than bars."""
        days = self.days_per_year * max(clock.per_year / 365.0, 1.0)
        return min(clock.per_year, days, self.bars_per_year)


class Windows(NamedTuple):
    """The waits of a clock in a series: the worst move in each against one side.

    Args:
        moves: the move from the price at the start to the worst one within, fractions, shape (m,).
        worst: the move that was worst of all; NaN without windows.
        worst_ms: the moment its bar was known.
    """

    moves: Floats
    worst: float
    worst_ms: int

    def beyond(self, move: float | None) -> int:
        """Returns how many windows reached a move: below 0 downwards, above it upwards, at 0 all of them."""
        if not move:
            return 0 if move is None else len(self.moves)
        return int(np.count_nonzero(self.moves <= move if move < 0 else self.moves >= move))


def law_of(prices: Prices) -> Law:
    """Returns the law of a series' moves: a normal law for most bars, and jumps.

    A bar is a jump if its log return lies beyond five standard deviations of the bars that are none, found by
    repeating until the division stands.

    Source: the threshold estimator of C. Mancini (2009), "Non-parametric threshold estimation for models with
        stochastic diffusion coefficient and jumps", with one threshold for the whole series.
    """
    days_per_year, bars_per_year = periods_of(prices)
    moves = np.diff(np.log(prices.close))
    if not len(moves):
        return Law(0.0, 0.0, Jumps(), bars_per_year, days_per_year, max(prices.spacing_ms, 1))
    square = moves**2
    mean = float(np.mean(square))
    jumped = moves[square > _threshold(square, mean)]
    jumps = Jumps()
    if len(jumped):
        jumps = Jumps(len(jumped) / len(moves) * bars_per_year, float(jumped.mean()), float(jumped.std()))
    yearly = math.sqrt(bars_per_year)
    calm = len(moves) - len(jumped)
    rest = max(float(np.sum(square)) - float(np.sum(jumped**2)), 0.0)
    deviation = math.sqrt(rest / calm) if calm else 0.0
    return Law(
        math.sqrt(mean) * yearly, deviation * yearly, jumps, bars_per_year, days_per_year, max(prices.spacing_ms, 1)
    )


def _threshold(square: Floats, mean: float) -> float:
    """The squared move above which a move is a jump: the division stands that starts from no jumps at all.

    The threshold only falls from step to step, so the large squares alone need be looked at; they are sorted.
    """
    total, count = float(np.sum(square)), len(square)
    cut, threshold = mean, _JUMP_DEVIATIONS**2 * mean
    large = np.sort(square[square > cut])
    above = np.append(np.cumsum(large[::-1])[::-1], 0.0)
    while True:
        if threshold < cut:
            cut = threshold / 4
            large = np.sort(square[square > cut])
            above = np.append(np.cumsum(large[::-1])[::-1], 0.0)
        first = int(np.searchsorted(large, threshold, side="right"))
        left = count - (len(large) - first)
        lower = _JUMP_DEVIATIONS**2 * max(total - float(above[first]), 0.0) / left if left else 0.0
        if left == 0 or int(np.searchsorted(large, lower, side="right")) == first or lower >= threshold:
            return threshold
        threshold = lower


class Data:
    """A series with its law and its windows, made once for each clock and side.

    Args:
        prices: the series, at least two bars.
    """

    def __init__(self, prices: Prices) -> None:
        self.prices, self.law = prices, law_of(prices)
        self._windows: dict[tuple[Clock, bool], Windows] = {}

    def windows(self, clock: Clock, *, falls: bool) -> Windows:
        """Returns the waits of a clock against one side."""
        key = (clock, falls)
        if key not in self._windows:
            self._windows[key] = windows_of(self.prices, clock, falls=falls)
        return self._windows[key]


def windows_of(prices: Prices, clock: Clock, *, falls: bool) -> Windows:
    """Returns the waits of a clock in a series, with the worst move in each.

    A window starts at the close of a bar in which the rule could trade and ends with the next such bar, that
    bar's own low and high included, because the rule trades at its close. For "every" each bar starts a
    window, because its phase is not known beforehand.

    Args:
        prices: the series; lows and highs are used where it has them.
        clock: the wait.
        falls: whether the worst move is a fall.
    """
    extremes = prices.low if falls else prices.high
    if clock.kind == "bar" and len(prices) > 1:
        moves = (prices.close if extremes is None else extremes)[1:] / prices.close[:-1] - 1.0
        k = int(np.argmin(moves) if falls else np.argmax(moves))
        return Windows(moves, float(moves[k]), int(prices.times_ms[k + 1]))
    starts, ends = _bounds(prices, clock)
    if not len(starts):
        return Windows(np.empty(0), math.nan, 0)
    signed = (prices.close if extremes is None else extremes) * (1.0 if falls else -1.0)
    if clock.kind == "every":
        lowest = lowest_within(signed, starts + 1, ends)
    else:
        # Each wait begins where the one before it ends.
        lowest = np.minimum.reduceat(signed[: int(ends[-1]) + 1], starts + 1)
    moves = np.abs(lowest) / prices.close[starts] - 1.0
    k = int(np.argmin(moves) if falls else np.argmax(moves))
    bar = int(starts[k]) + 1 + int(np.argmin(signed[starts[k] + 1 : ends[k] + 1]))
    return Windows(moves, float(moves[k]), int(prices.times_ms[bar]))


def lowest_within(values: Floats, first: Rows, last: Rows) -> Floats:
    """Returns the least value of each range first[k] … last[k], both ends within it.

    Two overlapping stretches of a power of two cover any range; the least of all stretches of one length
    follows from that of half the length.
    """
    found = np.empty(len(first))
    power = np.frexp(last - first + 1)[1] - 1
    least = values
    for exponent in range(int(power.max()) + 1):
        length = 1 << exponent
        mine = power == exponent
        found[mine] = np.minimum(least[first[mine]], least[last[mine] - length + 1])
        least = np.minimum(least[:-length], least[length:]) if len(least) > length else least
    return found


def _bounds(prices: Prices, clock: Clock) -> tuple[Rows, Rows]:
    """The bars at which the waits of a clock start and end."""
    times = prices.times_ms
    if clock.kind == "every":
        starts = np.flatnonzero(times + clock.span_ms <= times[-1])
        return starts, np.searchsorted(times, times[starts] + clock.span_ms)
    else:
        step, offsets = (clock.span_ms, (0,)) if clock.kind == "check" else (DAY_MS, clock.times_ms)
        base = np.arange(int(times[0]) // step, int(times[-1]) // step + 1, dtype=np.int64) * step
        instants = np.sort(np.concatenate([base + offset for offset in offsets]))
        bars = np.unique(np.searchsorted(times, instants[instants >= times[0]]))
        bars = bars[bars < len(times)]
    return bars[:-1], bars[1:]
