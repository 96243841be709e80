"""What a kernel sees of a price series: plain arrays and their pyramids, made once and reused by every rule."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.core.record import DAY_MS
from gearing.jit import compiled
from gearing.kernels.pyramid import Floats, Pyramid, build_pyramid

Ints = NDArray[np.int64]


class Series(NamedTuple):
    """An indexed price series of n bars.

    Args:
        times_ms: when each price was known, shape (n,), rising, ms UTC.
        spacing_ms: the most common distance of two bars, ≥ 1.
        close: the prices, shape (n,).
        blocks: the pyramid of the closes.
        open, low, high: for liquidation only; shape (n,) or (0,).
        range_blocks: the pyramid of lows and highs, or an empty one.
        volume_24h: traded in the 24 h up to each bar, units of the underlying; shape (n,) or (0,).
    """

    times_ms: Ints
    spacing_ms: int
    close: Floats
    blocks: Pyramid
    open: Floats
    low: Floats
    high: Floats
    range_blocks: Pyramid
    volume_24h: Floats


_EMPTY = np.empty(0)
_EMPTY.flags.writeable = False
_NO_BLOCKS = Pyramid(np.empty((0, 2)), np.empty((0, 2)), np.empty((0, 2)))
_TIMES = np.empty(0, np.int64)
_TIMES.flags.writeable = False

SERIES = numba.typeof(Series(_TIMES, 1, _EMPTY, _NO_BLOCKS, _EMPTY, _EMPTY, _EMPTY, _NO_BLOCKS, _EMPTY))


def _read_only(values: NDArray[np.float64]) -> Floats:
    result = np.ascontiguousarray(values, dtype=np.float64).view()
    result.flags.writeable = False
    return result


_INSTANTS = numba.types.Array(numba.int64, 1, "C")
_TRADED = numba.types.Array(numba.float64, 1, "C", readonly=True)
_SUMS = numba.types.Array(numba.float64, 1, "C")


@compiled(numba.void(_INSTANTS, _INSTANTS, _TRADED, _SUMS, _SUMS))
def fill_daily_volume(times_ms: Ints, stretch: Ints, volume: Floats, rest: Floats, daily: Floats) -> None:
    """Writes the volume of the 24 h up to each bar, by sums alone, so that a quiet day after a busy one is exact.

    Time is cut into stretches of a day. What is looked back over is the begin of a bar's own stretch up to it, and the
    end of the stretch before, from the first bar less than a day ago.
    """
    n = times_ms.shape[0]
    for k in range(n):
        i = n - 1 - k
        ends = i == n - 1 or stretch[i] != stretch[i + 1]
        rest[i] = volume[i] + (0.0 if ends else rest[i + 1])
    first, here = 0, 0.0
    for i in range(n):
        begins = i == 0 or stretch[i - 1] != stretch[i]
        here = volume[i] + (0.0 if begins else here)
        while times_ms[first] <= times_ms[i] - DAY_MS:
            first += 1
        daily[i] = here + (rest[first] if stretch[first] < stretch[i] else 0.0)


def volume_over_a_day(times_ms: Ints, volume: Floats, spacing_ms: int) -> Floats:
    """Returns, per bar, the volume of the bars known in the 24 h up to and including it.

    Where less than 24 h is known, at the beginning of a series, and where a bar is longer, that volume is scaled to
    24 h: what trades are measured against is never one bar's volume.

    Args:
        times_ms: when each bar was known, rising, shape (n,).
        volume: traded in each bar, shape (n,).
        spacing_ms: the length of a bar.
    """
    times, daily = np.array(times_ms, dtype=np.int64), np.empty(len(times_ms))
    if not len(times):
        return daily
    stretch = (times - times[0]) // DAY_MS
    fill_daily_volume(times, stretch, _read_only(volume), np.empty(len(times)), daily)
    known = np.maximum(np.minimum(times - times[0] + spacing_ms, DAY_MS), max(spacing_ms, 1))
    partial = known != DAY_MS
    daily[partial] *= DAY_MS / known[partial]
    return daily


def build_series(
    times_ms: Ints,
    close: Floats,
    *,
    spacing_ms: int,
    open_: Floats | None = None,
    low: Floats | None = None,
    high: Floats | None = None,
    volume: Floats | None = None,
) -> Series:
    """Returns the indexed series; without lows and highs the closes stand in for them."""
    times = np.ascontiguousarray(times_ms, dtype=np.int64).view()
    times.flags.writeable = False
    prices = _read_only(close)
    has_range = low is not None and high is not None
    lows = _read_only(low) if has_range and low is not None else prices
    highs = _read_only(high) if has_range and high is not None else prices
    blocks = build_pyramid(prices, prices)
    return Series(
        times_ms=times,
        spacing_ms=max(int(spacing_ms), 1),
        close=prices,
        blocks=blocks,
        open=_read_only(open_) if open_ is not None and has_range else prices,
        low=lows,
        high=highs,
        range_blocks=build_pyramid(lows, highs) if has_range else blocks,
        volume_24h=_EMPTY if volume is None else _read_only(volume_over_a_day(times, volume, spacing_ms)),
    )


@compiled(numba.int64(numba.types.Array(numba.int64, 1, "C", readonly=True), numba.int64, numba.float64))
def first_bar_at(times_ms: Ints, after: int, instant_ms: float) -> int:
    """Returns the first bar later than bar `after` that was known at or after an instant; n if none."""
    low, high = after + 1, times_ms.shape[0]
    while low < high:
        middle = (low + high) // 2
        if times_ms[middle] < instant_ms:
            low = middle + 1
        else:
            high = middle
    return low


@compiled(numba.int64(SERIES, numba.int64, numba.float64))
def bar_at(series: Series, after: int, instant_ms: float) -> int:
    """Returns the first bar later than bar `after` that was known at or after an instant; n if none."""
    times, n = series.times_ms, series.times_ms.shape[0]
    low = after + 1
    guess = after + math.ceil((instant_ms - times[after]) / series.spacing_ms)
    if low <= guess < n and times[guess] >= instant_ms and (guess == low or times[guess - 1] < instant_ms):
        return guess
    return first_bar_at(times, after, instant_ms)
