"""The reference job: its price path, times, parameters and known results. Needs numpy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
START_MS = 1_672_531_200_000  # 2023-01-01 00:00 UTC
YEAR_BARS = 525_600
DAY_BARS, FUNDING_BARS = 1_440, 480

EQUITY = 1_000_000.0
TAKER_FEE = 5e-4
HALF_SPREAD = 2e-4
FUNDING_RATE = 1e-4
FEE_PER_DAY = 3e-4
DEVIATION = 1.0 / 3.0
NEVER = float("inf")

VOLATILITY = 0.7
JUMPS_PER_YEAR = 25.0
JUMP_SIZE = 0.04
TOLERANCE = 1e-11


class Known(NamedTuple):
    """One row of known results: a rule on the reference path."""

    target: float
    deviation: float
    equity: float
    rebalances: int
    turnover: float


KNOWN = (
    Known(3.0, NEVER, 216372.11765127798, 365, 71.78261690144623),
    Known(3.0, DEVIATION, 222521.96900708624, 367, 71.6136655917546),
    Known(-3.0, NEVER, 23674.246898710335, 365, 141.67711210012772),
    Known(-3.0, DEVIATION, 23025.15998442199, 397, 147.0352179147195),
)


def make_paths(seed: int, k: int, n: int, bars_per_year: float) -> Floats:
    """Returns k price paths of n bars, shape (k, n): geometric Brownian motion with jumps, from 40,000."""
    rng = np.random.default_rng(seed)
    dt = 1.0 / bars_per_year
    x = rng.standard_normal((k, n))
    x *= VOLATILITY * np.sqrt(dt)
    x -= 0.5 * VOLATILITY**2 * dt
    jumps = rng.random((k, n)) < JUMPS_PER_YEAR * dt
    x += np.where(jumps, rng.standard_normal((k, n)) * JUMP_SIZE, 0.0)
    x[:, 0] = 0.0
    return np.asarray(np.round(40_000.0 * np.exp(np.cumsum(x, axis=1)), 2), np.float64)


def reference_path() -> Floats:
    """Returns the reference path, shape (525600,), after checking it against its known values.

    Raises:
        AssertionError: numpy's generator gave another path.
    """
    path: Floats = make_paths(20240608, 1, YEAR_BARS, YEAR_BARS)[0]
    seen = (path[0], path[1], path[-1], path.min(), path.max())
    assert seen == (40000.0, 40040.59, 48941.6, 21113.51, 55009.88), f"another path: {seen}"
    return path


def bar_times(n: int, spacing_ms: int) -> Ints:
    """Returns the times of n bars from the start, shape (n,)."""
    return START_MS + spacing_ms * np.arange(n, dtype=np.int64)


def settlements(times_ms: Ints, every: int) -> tuple[Ints, Floats]:
    """Returns (times, rates) of the settlements, one each `every` bars."""
    times = np.ascontiguousarray(times_ms[::every])
    return times, np.full(len(times), FUNDING_RATE)


class SweepRules(NamedTuple):
    """The rules of the sweep job, each of shape (1008,)."""

    targets: Floats
    deviations: Floats
    taker_fees: Floats


def sweep_rules(n: int = 1_008) -> SweepRules:
    """Returns the drawn rules: targets, band half-widths as fractions of the target, taker fees."""
    rng = np.random.default_rng(7)
    targets = rng.choice([-3, -2, -1, 2, 3, 4, 5], n).astype(np.float64)
    return SweepRules(targets, rng.uniform(0.05, 0.9, n), rng.uniform(2e-4, 8e-4, n))
