"""Steps of a price that look like no trade: a split that nobody adjusted for, a new denomination, another unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gearing.market.series import Prices
from gearing.market.times import iso

# A step must stand out of the moves around it, or it is a market that moves so.
_STANDS_OUT = 8.0
_AROUND = 50
# How near a step is to a power of ten, and to the ratio of a split, as a share of the ordinary moves beside it.
_NEAR_POWER = 0.25
_SPLITS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 12.0, 15.0, 16.0, 20.0, 25.0, 30.0, 40.0, 50.0, 1.5, 1.25)
_SPLIT_MIN = 1.2
_NEAR_SPLIT = 0.02
# Among fewer prices a step of a split does not stand out of what is usual.
_SPLIT_ROWS = 20


class Suspect(NamedTuple):
    """A step that a person should look at.

    Args:
        time_ms: when the price after it was known.
        row: of that price, from 0.
        before: the close before it.
        after: the close after it.
        what: what it looks like, in words.
    """

    time_ms: int
    row: int
    before: float
    after: float
    what: str

    def __str__(self) -> str:
        return f"{iso(self.time_ms)}: from {self.before:.6g} to {self.after:.6g}, {self.what}"


def suspects_in(prices: Prices) -> list[Suspect]:
    """Returns the steps between neighbouring closes that look like a missed split, a redenomination or another unit.

    A step of a power of ten is one wherever it stands. One of a usual ratio of splits is one where the series has at
    most daily bars, where the moves around it are far smaller, and where it opens there, if opens are known: trades do
    not go through a split, but through a crash.
    """
    close = prices.close
    if len(close) < 3:
        return []
    ratios = close[1:] / close[:-1]
    if ratios.max() < _SPLIT_MIN and ratios.min() > 1 / _SPLIT_MIN:
        return []
    steps = np.log(ratios)
    rows = np.flatnonzero(np.abs(steps) > np.log(_SPLIT_MIN))
    found = []
    for row in rows.tolist():
        around = np.delete(steps[max(0, row - _AROUND) : row + _AROUND + 1], min(row, _AROUND))
        usual = float(np.median(np.abs(around))) if len(around) else 0.0
        size = float(abs(steps[row]))
        if size < _STANDS_OUT * usual:
            continue
        what = _power(size, usual) or _split(prices, row, size, float(steps[row]), usual)
        if what:
            at = int(prices.times_ms[row + 1])
            found.append(Suspect(at, row + 1, float(close[row]), float(close[row + 1]), what))
    return found


def _power(size: float, usual: float) -> str:
    decades = round(size / np.log(10))
    if decades < 1 or abs(size - decades * np.log(10)) > min(max(6 * usual, 0.03), _NEAR_POWER):
        return ""
    return f"which looks like another unit or a new denomination (a factor of {10**decades:,})"


def _split(prices: Prices, row: int, size: float, step: float, usual: float) -> str:
    if len(prices) < _SPLIT_ROWS:
        return ""
    ratio = min(_SPLITS, key=lambda one: abs(np.log(one) - size))
    if abs(size - np.log(ratio)) > max(3 * usual, _NEAR_SPLIT):
        return ""
    if prices.open is not None:
        # In a bar that a split begins, the range lies where it opens.
        gap = np.log(prices.open[row + 1] / prices.close[row])
        if abs(gap - step) > max(6 * usual, 2 * _NEAR_SPLIT):
            return ""
    elif prices.spacing_ms < 12 * 3_600_000:
        return ""
    direction = "split" if step < 0 else "reverse split"
    return f"which looks like a {direction} of {ratio:g} to 1 that the prices are not adjusted for"
