"""What a kernel sees of the prices of several legs on one time axis, and when a clock wakes their portfolio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.kernels.calendar import Clocks
from gearing.kernels.pyramid import Floats, build_pyramid
from gearing.kernels.series import volume_over_a_day

Ints = NDArray[np.int64]


class LegMarket(NamedTuple):
    """Prices of K legs at n common times, indexed.

    Args:
        times_ms: when the prices were known, shape (n,), rising, ms UTC.
        close: shape (K, n); from a roll on, the new contract's.
        ones, twos, threes: the pyramids of the legs, each of shape (K, blocks, 2).
        open, low, high: of the single leg, for its liquidation; shape (n,) or (0,).
        volume_24h: traded in the 24 h up to each bar, units of the underlying; shape (K, n) or (0, 0).
        underlying: the price that results are held against, shape (n,); (0,): the index of the legs.
    """

    times_ms: Ints
    close: Floats
    ones: Floats
    twos: Floats
    threes: Floats
    open: Floats
    low: Floats
    high: Floats
    volume_24h: Floats
    underlying: Floats


class LegCalendar(NamedTuple):
    """Wake-up bars in rising order; the last row is a sentinel at n.

    Args:
        bars: bar numbers, shape (m,).
        due: bit mask per bar: schedules that fall due, and DAY_END.
        dues: shape (m, 3 + 3K): day-ends passed, reference rate · days/360, days/360; then for each leg the sum of
            its funding rates, its dividends per unit, and at a roll the old contract's price (else 0).
        opens_day: whether a day begins with the first bar.
    """

    bars: Ints
    due: Ints
    dues: Floats
    opens_day: bool


DAYS, RATE_DAYS, YEAR_PART, FIRST_LEG = range(4)
PER_LEG = 3

# Money markets count a year of 360 days (formula 14).
MONEY_YEAR_DAYS = 360.0
FUNDING_RATE, DIVIDEND, ROLL_PRICE = range(3)

_F = numba.float64
_A1 = numba.types.Array(_F, 1, "C", readonly=True)
_A2 = numba.types.Array(_F, 2, "C", readonly=True)
_A3 = numba.types.Array(_F, 3, "C")
_TIMES = numba.types.Array(numba.int64, 1, "C", readonly=True)
MARKET = numba.types.NamedTuple((_TIMES, _A2, _A3, _A3, _A3, _A1, _A1, _A1, _A2, _A1), LegMarket)
LEG_CALENDAR = numba.typeof(LegCalendar(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 6)), True))


def _frozen(values: Floats) -> Floats:
    result = np.ascontiguousarray(values, dtype=np.float64).view()
    result.flags.writeable = False
    return result


def build_leg_market(
    times_ms: Ints,
    close: Sequence[Floats],
    *,
    bars: tuple[Floats, Floats, Floats] | None = None,
    volumes: Sequence[Floats] | None = None,
    spacings_ms: Sequence[int] = (),
    underlying: Floats | None = None,
) -> LegMarket:
    """Returns the indexed prices of several legs.

    Args:
        times_ms: the common times, shape (n,).
        close: a price series for each leg, each of shape (n,).
        bars: open, low and high of a single leg, or None: the closes stand in for them.
        volumes: traded in each bar, for each leg, or None.
        spacings_ms: the length of each leg's own bars, where volumes are given.
        underlying: the price that results are held against, or None.
    """
    times = np.ascontiguousarray(times_ms, dtype=np.int64).view()
    times.flags.writeable = False
    prices = _frozen(np.array(close))
    levels = [build_pyramid(row, row) for row in prices]
    none = np.empty(0)
    opened, low, high = bars or ((prices[0],) * 3 if len(prices) == 1 else (none,) * 3)
    daily = np.empty((0, 0))
    if volumes is not None:
        daily = np.array([volume_over_a_day(times, v, s) for v, s in zip(volumes, spacings_ms, strict=True)])
    against = none if underlying is None else underlying
    return LegMarket(
        times, prices, np.array([level.ones for level in levels]), np.array([level.twos for level in levels]),
        np.array([level.threes for level in levels]), _frozen(opened), _frozen(low), _frozen(high), _frozen(daily),
        _frozen(against),
    )  # fmt: skip


class LegDues(NamedTuple):
    """What falls due for one leg: (bars, values) of funding rates, dividends per unit, and old prices at rolls."""

    funding: tuple[Ints, Floats]
    dividends: tuple[Ints, Floats]
    rolls: tuple[Ints, Floats]


def build_leg_calendar(
    times_ms: Ints, clocks: Clocks, legs: Sequence[LegDues], rates: Floats | None = None
) -> LegCalendar:
    """Returns when clocks wake a portfolio of several legs, and what falls due then.

    Args:
        times_ms: the common times, shape (n,).
        clocks: their day-ends and schedules.
        legs: what falls due for each leg.
        rates: the yearly reference rate known at each bar, shape (n,), or None.

    Source: a period's rate is the one known at its start, on days/360 (formula 14).
    """
    others = [bars for leg in legs for bars, _ in leg]
    bars = clocks.wake_bars(len(times_ms), *others)
    dues = np.zeros((len(bars), FIRST_LEG + PER_LEG * len(legs)))
    dues[:, DAYS] = clocks.days_on(bars)
    dues[:, YEAR_PART] = dues[:, DAYS] / MONEY_YEAR_DAYS
    accruals = np.flatnonzero(dues[:, DAYS] > 0)
    if rates is not None and len(accruals):
        since = np.concatenate([[0], bars[accruals[:-1]]])
        dues[accruals, RATE_DAYS] = rates[since] * dues[accruals, YEAR_PART]
    for k, leg in enumerate(legs):
        for what, (at, values) in enumerate(leg):
            np.add.at(dues[:, FIRST_LEG + PER_LEG * k + what], np.searchsorted(bars, at), values)
    return LegCalendar(bars, clocks.due_on(bars), dues, clocks.opens_day)
