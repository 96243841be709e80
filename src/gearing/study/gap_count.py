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
from gearing.study.summary import year_days

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
    """

    volatility: float
    diffusion: float
    jumps: Jumps
    bars_per_year: float

    @property
    def nu(self) -> float:
        """Drift of the log price between jumps that makes the price a martingale."""
        return -(self.diffusion**2) / 2 - self.jumps.per_year * math.expm1(
            self.jumps.mean + self.jumps.deviation**2 / 2
        )

    def years(self, clock: Clock) -> float:
        """The length of a clock's wait in years, never less than a bar."""
        return max(clock.span_ms / (365 * DAY_MS), 1 / self.bars_per_year)

    def per_year(self, clock: Clock) -> float:
        """How many waits of a clock a year has, never more than bars."""
        return min(clock.per_year, self.bars_per_year)


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
    bars_per_year = year_days(prices) * DAY_MS / max(prices.spacing_ms, 1)
    moves = np.diff(np.log(prices.close))
    if not len(moves):
        return Law(0.0, 0.0, Jumps(), bars_per_year)
    square = moves**2
    calm = np.ones(len(moves), dtype=np.bool_)
    for _ in range(100):
        within = square <= _JUMP_DEVIATIONS**2 * float(np.mean(square[calm]))
        if np.array_equal(within, calm):
            break
        calm = within
    jumped = moves[~calm]
    jumps = Jumps()
    if len(jumped):
        jumps = Jumps(len(jumped) / len(moves) * bars_per_year, float(jumped.mean()), float(jumped.std()))
    yearly = math.sqrt(bars_per_year)
    deviation = math.sqrt(float(square[calm].mean())) if calm.any() else 0.0
    return Law(math.sqrt(float(square.mean())) * yearly, deviation * yearly, jumps, bars_per_year)


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
    starts, ends = _bounds(prices, clock)
    if not len(starts):
        return Windows(np.empty(0), math.nan, 0)
    extremes = prices.low if falls else prices.high
    signed = (prices.close if extremes is None else extremes) * (1.0 if falls else -1.0)
    lowest = lowest_within(signed, starts + 1, ends)
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
    count = len(times)
    if clock.kind == "bar":
        bars = np.arange(count, dtype=np.int64)
    elif clock.kind == "every":
        starts = np.flatnonzero(times + clock.span_ms <= times[-1])
        return starts, np.searchsorted(times, times[starts] + clock.span_ms)
    else:
        step, offsets = (clock.span_ms, (0,)) if clock.kind == "check" else (DAY_MS, clock.times_ms)
        base = np.arange(int(times[0]) // step, int(times[-1]) // step + 1, dtype=np.int64) * step
        instants = np.sort(np.concatenate([base + offset for offset in offsets]))
        bars = np.unique(np.searchsorted(times, instants[instants >= times[0]]))
        bars = bars[bars < count]
    return bars[:-1], bars[1:]
