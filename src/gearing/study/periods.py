"""How many periods a year has, by a series' own calendar: what figures per year are scaled with."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from gearing.core.record import DAY_MS
from gearing.kernels.calendar import day_end_bars
from gearing.market.series import Prices, Times, spacing_ms

DAILY_YEAR = 365.0
LISTED_YEAR = 252.0
_WEEKS = 52.0
_TELLING_DAYS = 28
# Day 0 of the epoch was a Thursday.
_FRIDAY = 1
# A weekday with a tenth as many sessions as the others is not one of trading: a Saturday that made up for a holiday.
_RARE = 0.1

# Periods of whole calendar parts: the least and the most days of the most common one, and how many a year has.
_CALENDAR = ((6.5, 7.5, 52.0), (27.5, 31.5, 12.0), (58.5, 62.5, 6.0), (88.5, 92.5, 4.0), (180.0, 184.5, 2.0),
             (364.0, 366.5, 1.0))  # fmt: skip


class Periods(NamedTuple):
    """The periods over which returns are measured: days, or the bars of a series with rarer ones.

    Args:
        per_year: how many a year has: 365, or 252 where nothing trades on weekends; 52 weeks, 12 months.
        bars_per_year: how many bars a year has.
    """

    per_year: float
    bars_per_year: float

    @property
    def is_listed(self) -> bool:
        """Whether days are those of a market that closes for weekends."""
        return self.per_year == LISTED_YEAR


_KNOWN: WeakKeyDictionary[Prices, Periods] = WeakKeyDictionary()


def periods_of(prices: Prices) -> Periods:
    """Returns how many periods and bars a year of a series has, by its own times.

    Days are trading days: 365 where every weekday has prices, 252 where five have, 52 less for each that has none else.

    Args:
        prices: the series; what was found for it is kept as long as it is.
    """
    if prices not in _KNOWN:
        _KNOWN[prices] = _found(prices)
    return _KNOWN[prices]


def _found(prices: Prices) -> Periods:
    times, spacing = prices.times_ms, prices.spacing_ms
    ends = times[day_end_bars(times, spacing)]
    step = spacing_ms(ends) / DAY_MS if len(ends) > 1 else 1.0
    per_year = _days_a_year(ends)
    if spacing and step < 0.9:
        per_year /= step
    elif step >= 1.5:
        per_year = _of_calendar(ends, step)
    bars = np.diff(day_end_bars(times, spacing))
    return Periods(per_year, per_year * (float(np.median(bars)) if len(bars) else DAY_MS / max(spacing, 1)))


def _days_a_year(ends: Times) -> float:
    """Trading days a year, by the weekdays on which days end."""
    days = np.unique((ends - 1) // DAY_MS)
    counts = np.bincount(days % 7, minlength=7)
    trades = counts > _RARE * counts.max(initial=0)
    closed = _covered(days) & ~trades
    if len(days) and int(days[-1] - days[0]) >= _TELLING_DAYS:
        return LISTED_YEAR if int(closed.sum()) == 2 else DAILY_YEAR - _WEEKS * int(closed.sum())
    # In few days one without a price may be missing; a weekend is what tells.
    weekend = any(closed[day] and closed[day + 1] for day in (_FRIDAY, _FRIDAY + 1))
    return LISTED_YEAR if weekend else DAILY_YEAR


def _covered(days: Times) -> np.ndarray:
    """Which weekdays lie between the first and the last day."""
    found = np.zeros(7, dtype=np.bool_)
    if len(days):
        found[np.arange(int(days[0]), min(int(days[-1]), int(days[0]) + 6) + 1) % 7] = True
    return found


def _of_calendar(ends: Times, step: float) -> float:
    """Periods a year of bars rarer than days."""
    if step == 28.0 and len(np.unique(np.diff(ends))) == 1:
        return DAILY_YEAR / step
    return next((count for least, most, count in _CALENDAR if least <= step <= most), DAILY_YEAR / step)
