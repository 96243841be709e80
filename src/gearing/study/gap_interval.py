"""What a count of rare ends says of a year: the chance, and how far it can be off."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypedDict

import numpy as np

# 2.5 % on either side, and the deviations of a normal law that leave it.
_TAIL, _DEVIATIONS = 0.025, 1.959963984540054
_EXACT_MAX, _HALVINGS = 1_000, 90


class CountedChances(TypedDict):
    """The fields of a Chance that a count makes."""

    per_year_counted: float
    counted_low: float
    counted_high: float


def in_a_year(probability: float, waits: float) -> float:
    """Returns the probability within a year of so many waits, each with this one."""
    return 1.0 if probability >= 1 else -math.expm1(waits * math.log1p(-probability))


def counted_chances(counted: int, windows: int, waits: float) -> CountedChances:
    """Returns what a count says of a year: the probability, and the two ends of its 95 % interval.

    Args:
        counted: how many waits of the data ended it.
        windows: how many there are; of none nothing is known.
        waits: how many a year has.
    """
    low, high = share_interval(counted, windows)
    share = counted / windows if windows else 0.0
    return {
        "per_year_counted": in_a_year(share, waits) if counted else 0.0,
        "counted_low": in_a_year(low, waits),
        "counted_high": in_a_year(high, waits),
    }


def share_interval(counted: int, total: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share: at its ends the count, or one more extreme, has a probability of 2.5 %.

    Args:
        counted: how many of them.
        total: of how many; (0, 1) for none.

    Exact up to a thousand counts; beyond, where the two cannot be told apart, it is Wilson's.

    Source: C. J. Clopper and E. S. Pearson (1934), "The use of confidence or fiducial limits illustrated in the
        case of the binomial"; E. B. Wilson (1927), "Probable inference, the law of succession, and statistical
        inference".
    """
    if not total:
        return 0.0, 1.0
    if counted > total - counted:
        low, high = share_interval(total - counted, total)
        return 1 - high, 1 - low
    if counted > _EXACT_MAX:
        middle = (counted + _DEVIATIONS**2 / 2) / (total + _DEVIATIONS**2)
        spread = counted * (total - counted) / total + _DEVIATIONS**2 / 4
        half = _DEVIATIONS * math.sqrt(spread) / (total + _DEVIATIONS**2)
        return middle - half, middle + half
    numbers = np.arange(counted + 1)
    ways = np.concatenate(([0.0], np.cumsum(np.log((total - numbers[1:] + 1) / numbers[1:]))))

    def at_most(k: int, p: float) -> float:
        terms = ways + numbers * math.log(p) + (total - numbers) * math.log1p(-p)
        return float(np.exp(terms[: k + 1]).sum())

    low = _root(lambda p: 1 - at_most(counted - 1, p) > _TAIL) if counted else 0.0
    return low, _root(lambda p: at_most(counted, p) < _TAIL)


def _root(is_above: Callable[[float], bool]) -> float:
    """The p from which on something holds, by halving."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_above(middle) else (middle, high)
    return high
