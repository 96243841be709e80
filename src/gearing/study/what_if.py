"""The return of a daily-rebalanced token in closed form: from a return of the underlying and a volatility."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gearing.errors import InputError
from gearing.market.series import Floats

FEE_DAYS_PER_YEAR = 365
"""A yearly management fee is charged as y·days/365 at each day's end, as `Fees.management_per_year`."""

# exp of more overflows a float, and no return of that size is meant.
_LOG_MAX = 700.0


class LogParts(NamedTuple):
    """The parts of a token's log return; they sum to it. Each is an array of the arguments' common shape.

    Args:
        leverage: β·ln(1 + r).
        volatility_drag: (β − β²)/2·σ²·T, at most 0 unless 0 < β < 1.
        management_fee: 365·T·ln(1 − y/365).
        funding: −β·f·T.
    """

    leverage: Floats
    volatility_drag: Floats
    management_fee: Floats
    funding: Floats

    @property
    def total(self) -> Floats:
        """The token's log return."""
        return self.leverage + self.volatility_drag + self.management_fee + self.funding


def what_if(
    target: ArrayLike,
    underlying_return: ArrayLike,
    volatility: ArrayLike,
    days: ArrayLike,
    *,
    fee_per_year: ArrayLike = 0.0,
    funding_per_year: ArrayLike = 0.0,
    days_per_year: ArrayLike = 365,
) -> Any:
    """Returns the return of a daily-rebalanced token, given what its underlying returns and how it moves.

    R = (1 + r)^β · exp((β − β²)/2·σ²·T − β·f·T) · (1 − y/365)^(365·T) − 1, with T = days / days_per_year.

    It is the continuous limit of frequent rebalancing to a constant leverage: the underlying moves without jumps, with
    constant volatility and without autocorrelation of its returns, and a trade costs nothing. σ²·T stands for the
    variance that is realised over the days, so a path that trends within them realises less than its daily
    volatility says and one that jumps loses more or less than this.

    Each argument is a number or an array; arrays are broadcast against each other.

    Args:
        target: target leverage β, signed; −1 is a short token.
        underlying_return: simple return r of the underlying over the days, a fraction above −1 (−0.1 is −10 %).
        volatility: σ of the underlying per √year, a fraction, at least 0 (0.8 is 80 %).
        days: how long the token is held, at least 0.
        fee_per_year: management fee y, a yearly fraction of equity, charged daily as y·days/365 (0.0095 is 0.95 %).
        funding_per_year: rate f that a long position pays on its notional a year; a short one receives it.
        days_per_year: days of which volatility counts a year: 365, or 252 where `days` are trading days.

    Returns:
        The simple return of the token (0.05 is +5 %): a float if every argument is a number, else an array of their
        common shape.

    Raises:
        InputError: an argument is not finite or out of its range, shapes do not fit, or the result overflows.

    Source: M. Cheng and A. Madhavan (2009), "The dynamics of leveraged and inverse exchange-traded funds";
        M. Avellaneda and S. Zhang (2010), "Path-dependence of leveraged ETF returns". ProShares prints it as tables in
        its prospectuses.
    """
    total = log_parts(
        target,
        underlying_return,
        volatility,
        days,
        fee_per_year=fee_per_year,
        funding_per_year=funding_per_year,
        days_per_year=days_per_year,
    ).total
    returned = np.expm1(total)
    return float(returned) if returned.ndim == 0 else returned


def log_parts(
    target: ArrayLike,
    underlying_return: ArrayLike,
    volatility: ArrayLike,
    days: ArrayLike,
    *,
    fee_per_year: ArrayLike = 0.0,
    funding_per_year: ArrayLike = 0.0,
    days_per_year: ArrayLike = 365,
) -> LogParts:
    """Returns the parts of the log return of a daily-rebalanced token; see `what_if`.

    Raises:
        InputError: as `what_if`.
    """
    r = _numbers("underlying_return", underlying_return, "above -1 (-0.1 is -10 %)", above=-1.0)
    sigma = _numbers("volatility", volatility, "at least 0 (0.8 is 80 % a year)", least=0.0)
    held = _numbers("days", days, "at least 0", least=0.0)
    year = _numbers("days_per_year", days_per_year, "above 0, such as 365 or 252", above=0.0)
    fee = _numbers("fee_per_year", fee_per_year, "at least 0 and below 100 (0.0095 is 0.95 %)", least=0.0, below=100.0)
    funding = _numbers("funding_per_year", funding_per_year, "finite (0.1 is 10 % a year)")
    beta = _numbers("target", target, "finite, such as 3 or -1")
    try:
        beta, r, sigma, held, year, fee, funding = np.broadcast_arrays(beta, r, sigma, held, year, fee, funding)
    except ValueError:
        fix = "Give numbers, and arrays that broadcast against each other."
        raise InputError("the shapes of the arguments do not fit together.", where="what_if", fix=fix) from None
    with np.errstate(over="ignore", invalid="ignore"):
        years = held / year
        parts = LogParts(
            leverage=beta * np.log1p(r),
            volatility_drag=(beta - beta**2) / 2 * sigma**2 * years,
            management_fee=FEE_DAYS_PER_YEAR * years * np.log1p(-fee / FEE_DAYS_PER_YEAR),
            funding=-beta * funding * years,
        )
        # The sum of opposite infinities is NaN, which no comparison holds for.
        fits = parts.total <= _LOG_MAX
    if not fits.all():
        raise InputError("the return is too large for a number.", where="what_if", fix="Give smaller figures.")
    return parts


def _numbers(
    name: str,
    value: ArrayLike,
    expected: str,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> Floats:
    """Returns an argument as an array.

    Raises:
        InputError: it holds something else than numbers within the bounds.
    """
    given = np.asarray(value)
    if given.dtype.kind not in "iuf":
        raise InputError(f"{value!r} is not a number.", where=name, fix=f"Give a number {expected}.")
    found = given.astype(np.float64)
    bad = ~(np.isfinite(found) & (found >= least) & (found > above) & (found < below))
    if bad.any():
        first = float(found[bad].flat[0])
        raise InputError(f"{first:g} is out of range.", where=name, fix=f"Give a number {expected}.")
    return found
