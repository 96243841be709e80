"""The min/max pyramid over a price series: the first price outside two barriers without looking at all.

Level k holds the (lowest, highest) price of each block of 16^k prices. A walk skips the largest aligned
block that lies within the barriers.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.jit import compiled

BITS = 4
_B1, _B2, _B3 = BITS, 2 * BITS, 3 * BITS

Floats = NDArray[np.float64]


class Pyramid(NamedTuple):
    """Blocks of 16, 256 and 4,096 prices, each as rows of (lowest, highest)."""

    ones: Floats
    twos: Floats
    threes: Floats


PRICES = numba.types.Array(numba.float64, 1, "C", readonly=True)
_A2 = numba.types.Array(numba.float64, 2, "C")
PYRAMID = numba.typeof(Pyramid(*[np.empty((0, 2))] * 3))
_RANGE = numba.types.UniTuple(numba.float64, 2)
_I, _F = numba.int64, numba.float64


@compiled(numba.void(PRICES, PRICES, _A2), fastmath={"nnan", "nsz"})
def _first_level(low: Floats, high: Floats, blocks: Floats) -> None:
    # Unsigned counters spare the check for indices from the end, which would keep this from vectorising.
    n, width = np.uint64(low.shape[0]), np.uint64(1 << BITS)
    for b in range(np.uint64(blocks.shape[0])):
        start = b * width
        lowest, highest = low[start], high[start]
        for i in range(start, min(start + width, n)):
            lowest = min(lowest, low[i])
            highest = max(highest, high[i])
        blocks[b, 0] = lowest
        blocks[b, 1] = highest


@compiled(numba.void(_A2, _A2), fastmath={"nnan", "nsz"})
def _next_level(fine: Floats, blocks: Floats) -> None:
    n, width = np.uint64(fine.shape[0]), np.uint64(1 << BITS)
    for b in range(np.uint64(blocks.shape[0])):
        start = b * width
        lowest, highest = fine[start, 0], fine[start, 1]
        for i in range(start, min(start + width, n)):
            lowest = min(lowest, fine[i, 0])
            highest = max(highest, fine[i, 1])
        blocks[b, 0] = lowest
        blocks[b, 1] = highest


@compiled(numba.void(PRICES, PRICES, PYRAMID))
def fill_pyramid(low: Floats, high: Floats, blocks: Pyramid) -> None:
    """Fills a pyramid from a series of its size."""
    _first_level(low, high, blocks.ones)
    _next_level(blocks.ones, blocks.twos)
    _next_level(blocks.twos, blocks.threes)


def new_pyramid(n: int) -> Pyramid:
    """Returns an unfilled pyramid for n prices."""
    sizes = [(n + (1 << bits) - 1) >> bits for bits in (_B1, _B2, _B3)]
    return Pyramid(*[np.empty((size, 2)) for size in sizes])


def build_pyramid(low: Floats, high: Floats) -> Pyramid:
    """Returns the pyramid of a series; pass the closes twice, or the lows and the highs of its bars."""
    blocks = new_pyramid(len(low))
    fill_pyramid(low, high, blocks)
    return blocks


@compiled(_I(PRICES, PRICES, PYRAMID, _I, _I, _F, _F))
def first_outside(low: Floats, high: Floats, blocks: Pyramid, start: int, stop: int, below: float, above: float) -> int:
    """Returns the first i in [start, stop) with low[i] < below or high[i] > above, else `stop`."""
    i = start
    while i < stop:
        if i & 4095 == 0 and blocks.threes[i >> _B3, 0] >= below and blocks.threes[i >> _B3, 1] <= above:
            i += 4096
            continue
        if i & 255 == 0 and blocks.twos[i >> _B2, 0] >= below and blocks.twos[i >> _B2, 1] <= above:
            i += 256
            continue
        end = (i | 15) + 1
        if blocks.ones[i >> _B1, 0] < below or blocks.ones[i >> _B1, 1] > above:
            for j in range(i, min(end, stop)):
                if low[j] < below or high[j] > above:
                    return j
        i = end
    return stop


@compiled(_RANGE(PRICES, PRICES, PYRAMID, _I, _I))
def extremes(low: Floats, high: Floats, blocks: Pyramid, start: int, stop: int) -> tuple[float, float]:
    """Returns the (lowest, highest) price over [start, stop); (∞, −∞) where that is empty."""
    lowest, highest = np.inf, -np.inf
    i = start
    while i < stop:
        if i & 4095 == 0 and i + 4096 <= stop:
            lowest, highest = min(lowest, blocks.threes[i >> _B3, 0]), max(highest, blocks.threes[i >> _B3, 1])
            i += 4096
        elif i & 255 == 0 and i + 256 <= stop:
            lowest, highest = min(lowest, blocks.twos[i >> _B2, 0]), max(highest, blocks.twos[i >> _B2, 1])
            i += 256
        elif i & 15 == 0 and i + 16 <= stop:
            lowest, highest = min(lowest, blocks.ones[i >> _B1, 0]), max(highest, blocks.ones[i >> _B1, 1])
            i += 16
        else:
            lowest, highest = min(lowest, low[i]), max(highest, high[i])
            i += 1
    return lowest, highest
