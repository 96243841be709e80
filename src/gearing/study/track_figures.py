"""How far two paths are apart: the figures of a product against its simulation, on plain arrays."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gearing.market.series import Floats, Times

YEAR_MS = 365.25 * 86_400_000
"""Figures of real products are per calendar year, leap years included."""

# The median size of a normal error is this part of its standard deviation.
_MEDIAN_OF_NORMAL = 0.6744897501960817

_NEWTON_STEPS = 60


def deviation(gaps: Floats) -> float:
    """Returns the standard deviation (ddof 1) of gaps; NaN for fewer than two."""
    return float(gaps.std(ddof=1)) if len(gaps) > 1 else math.nan


def typical_deviation(gaps: Floats) -> float:
    """Returns the standard deviation that the median size of the gaps implies, so that rare days do not decide it."""
    return float(np.median(np.abs(gaps - np.median(gaps)))) / _MEDIAN_OF_NORMAL if len(gaps) else math.nan


def echo(gaps: Floats) -> float:
    """Returns the correlation of each gap with the one before; NaN where there are too few or they do not vary."""
    return correlation(gaps[:-1], gaps[1:]) if len(gaps) > 2 else math.nan


def correlation(x: Floats, y: Floats) -> float:
    """Returns the correlation of two samples; NaN where one does not vary."""
    _, r_squared, covariance = _line(x, y)
    return math.copysign(math.sqrt(r_squared), covariance)


def regression(x: Floats, y: Floats) -> tuple[float, float]:
    """Returns slope and R² of the least-squares line of y on x, with an intercept; NaN where one does not vary."""
    slope, r_squared, _ = _line(x, y)
    return slope, r_squared


def _line(x: Floats, y: Floats) -> tuple[float, float, float]:
    dx, dy = x - x.mean(), y - y.mean()
    sxx, sxy, syy = float(dx @ dx), float(dx @ dy), float(dy @ dy)
    if sxx <= 0:
        return math.nan, math.nan, sxy
    return sxy / sxx, sxy**2 / sxx / syy if syy > 0 else math.nan, sxy


def mean_error(gaps: Floats) -> float:
    """Returns the standard error of the mean of gaps that may echo each other; NaN for fewer than three.

    Source: W. K. Newey and K. D. West (1987), Bartlett weights, with their 1994 rule of thumb for the number of lags,
        ⌊4·(n/100)^(2/9)⌋.
    """
    count = len(gaps)
    if count < 3:
        return math.nan
    d = gaps - gaps.mean()
    lags = min(int(4 * (count / 100) ** (2 / 9)), count - 1)
    covariances = [float(d[lag:] @ d[: count - lag]) / count for lag in range(lags + 1)]
    variance = covariances[0] + 2 * sum((1 - k / (lags + 1)) * covariances[k] for k in range(1, lags + 1))
    return math.sqrt(max(variance, 0.0) / count)


def spread_of(log_change: float, costs: Floats) -> float:
    """Returns the yearly spread that changes the log of a path by `log_change`: Σ ln(1 − s·a) equals it.

    Args:
        log_change: the sum of gaps; below 0 where the product lost on its simulation.
        costs: a, what a spread of 1 costs in each stretch as a part of the equity at its end, ≥ 0, shape (n,).

    Returns:
        The spread, above 0 where the product paid more; NaN where nothing was financed.

    The sum falls in s and is concave, so Newton's steps end at its only root.
    """
    paid = costs[costs > 0]
    if not len(paid) or not math.isfinite(log_change):
        return math.nan
    most, spread = 1 / float(paid.max()), 0.0
    for _ in range(_NEWTON_STEPS):
        left = 1 - spread * paid
        step = (float(np.log(left).sum()) - log_change) / float((paid / left).sum())
        following = spread + step
        # A step from the left of the root may leave the domain.
        spread = following if following < most else (spread + most) / 2
        if abs(step) < 1e-14:
            break
    return spread


def financing_costs(
    times_ms: Times,
    exposure: Floats,
    equity: Floats,
    rebalances: NDArray[np.intp],
    counted: NDArray[np.bool_],
    day_count: int,
) -> Floats:
    """Returns what a yearly spread of 1 on the financed notional costs, as a part of equity, from trade to trade.

    Between two trades the position is fixed, so that a cost is money that is missing at the second one; a trade back
    to target leverage then scales the position to what is left. The log of NAV falls by ln(1 − s·Σ|X|·Δt / E), with
    the exposures X held over the steps Δt and the equity E at the stretch's end, to whatever follows.

    Args:
        times_ms: of the bars, ms UTC, shape (n,).
        exposure, equity: after each bar, shape (n,).
        rebalances: bars on which the token traded, rising; the last bar ends the last stretch.
        counted: for the step up to each bar after the first, whether it counts, shape (n − 1,).
        day_count: days of the year over which a spread accrues, 360 or 365.
    """
    days = np.diff(times_ms) / 86_400_000
    money = np.abs(exposure[:-1]) * days / day_count * counted
    ends = np.unique(np.append(rebalances[(rebalances > 0) & (rebalances < len(times_ms))], len(times_ms) - 1))
    stretch = np.searchsorted(ends, np.arange(1, len(times_ms)))
    costs: Floats = np.bincount(stretch, weights=money, minlength=len(ends)) / equity[ends]
    return costs
