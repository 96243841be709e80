"""The summary of a run: one record of figures, each named with the field's word for it."""

from __future__ import annotations

import math

import numpy as np

from gearing.core.record import DAY_MS, Record
from gearing.core.token import Token
from gearing.kernels import figures as fig
from gearing.kernels.pyramid import Floats
from gearing.market.series import Prices
from gearing.market.times import iso

CRYPTO_YEAR_DAYS = 365
LISTED_YEAR_DAYS = 252


class Summary(Record, frozen=True, kw_only=True):
    """The figures of one run. Fractions are plain (0.1 is 10 %); a figure without enough days is NaN.

    Args:
        symbol: of the token.
        target: target leverage β.
        start: when the first price was known, ISO text UTC.
        end: when the last price was known.
        years: between the two, of 365 days.
        initial_nav: before the opening's cost, settlement currency per unit.
        final_nav: settlement currency per unit.
        total_return: final NAV / initial NAV − 1.
        cagr: the same per year of 365 days.
        volatility: standard deviation of daily returns (00:00 UTC, complete days), per year.
        sharpe: mean daily return over its standard deviation, per year, no risk-free rate.
        max_drawdown: deepest fall from an earlier high, over every bar and the initial NAV.
        worst_day: smallest daily return.
        tracking_difference: yearly mean of ln(daily NAV ratio) − ln(1 + β·r).
        tracking_error: yearly standard deviation of the same.
        untracked_days: days with 1 + β·r ≤ 0, or on which the token was wiped out, left out of tracking.
        rebalances: how many, the opening included; a paced one counts once.
        trades: how many, each slice included.
        turnover: Σ |traded notional| / equity before.
        max_leverage: largest |ℓ|, before each bar's trade.
        min_leverage: smallest |ℓ|, before each bar's trade.
        liquidations: how often the venue closed the position.
        wiped_out: whether equity reached zero.
        wiped_out_at: when, ISO text UTC, or None.
        underlying_return: last price / first price − 1.

    Source: tracking and days as in Cheng & Madhavan's daily ideal; A = 365, or 252 for listed markets.
    """

    symbol: str
    target: float
    start: str
    end: str
    years: float
    initial_nav: float
    final_nav: float
    total_return: float
    cagr: float
    volatility: float
    sharpe: float
    max_drawdown: float
    worst_day: float
    tracking_difference: float
    tracking_error: float
    untracked_days: int
    rebalances: int
    trades: int
    turnover: float
    max_leverage: float
    min_leverage: float
    liquidations: int
    wiped_out: bool
    wiped_out_at: str | None
    underlying_return: float

    def __repr__(self) -> str:
        fate = "wiped out" if self.wiped_out else f"NAV {self.initial_nav:g} → {self.final_nav:.6g}"
        return (
            f"Summary({self.symbol}: {fate}, return {self.total_return:+.2%}, volatility {self.volatility:.1%}, "
            f"max drawdown {self.max_drawdown:.1%}, {self.rebalances} rebalances)"
        )


def year_days(prices: Prices) -> int:
    """Returns the days of a trading year: 252 for daily data without weekends, else 365."""
    if prices.spacing_ms < DAY_MS // 2 or len(prices) <= 7:
        return CRYPTO_YEAR_DAYS
    weekdays = len(np.unique(prices.times_ms // DAY_MS % 7))
    return LISTED_YEAR_DAYS if weekdays <= 5 else CRYPTO_YEAR_DAYS


def _deviation(count: float, total: float, squares: float) -> float:
    if count < 2:
        return math.nan
    return math.sqrt(max(squares - total * total / count, 0.0) / (count - 1))


def _per_year(ratio: float, years: float) -> float:
    if ratio <= 0:
        return -1.0
    if years <= 0:
        return math.nan
    growth = math.log(ratio) / years
    return math.expm1(growth) if growth < 700 else math.inf


def summarise(f: Floats, prices: Prices, token: Token, equity: float) -> Summary:
    """Returns the summary of a run's figures.

    Args:
        f: see `kernels.figures.FIGURES`; measured.
        prices: the path that the result is held against.
        token: what ran.
        equity: the capital before the opening trade.
    """
    initial_nav = token.initial_nav
    ratio = float(f[fig.EQUITY]) / equity
    span_ms = int(prices.times_ms[-1] - prices.times_ms[0])
    years = span_ms / DAY_MS / CRYPTO_YEAR_DAYS
    days, tracked, per_year = float(f[fig.DAYS]), float(f[fig.TRACKED_DAYS]), year_days(prices)
    spread = _deviation(days, float(f[fig.DAY_SUM]), float(f[fig.DAY_SQUARES]))
    mean = float(f[fig.DAY_SUM]) / days if days else math.nan
    off = _deviation(tracked, float(f[fig.TRACKING_SUM]), float(f[fig.TRACKING_SQUARES]))
    died = int(f[fig.WIPED_OUT_BAR])
    seen = f[fig.LEVERAGE_MAX] >= f[fig.LEVERAGE_MIN]
    return Summary(
        symbol=token.symbol,
        target=token.target,
        start=prices.start,
        end=prices.end,
        years=years,
        initial_nav=initial_nav,
        final_nav=initial_nav * ratio,
        total_return=ratio - 1,
        cagr=_per_year(ratio, years),
        volatility=spread * math.sqrt(per_year),
        sharpe=mean / spread * math.sqrt(per_year) if spread > 0 else math.nan,
        max_drawdown=float(f[fig.DRAWDOWN_MAX]),
        worst_day=float(f[fig.DAY_MIN]) if days else math.nan,
        tracking_difference=float(f[fig.TRACKING_SUM]) / tracked * per_year if tracked else math.nan,
        tracking_error=off * math.sqrt(per_year),
        untracked_days=int(days - tracked),
        rebalances=int(f[fig.REBALANCES]),
        trades=int(f[fig.TRADES]),
        turnover=float(f[fig.TURNOVER]),
        max_leverage=float(f[fig.LEVERAGE_MAX]) if seen else math.nan,
        min_leverage=float(f[fig.LEVERAGE_MIN]) if seen else math.nan,
        liquidations=int(f[fig.LIQUIDATIONS]),
        wiped_out=died >= 0,
        wiped_out_at=iso(int(prices.times_ms[died])) if died >= 0 else None,
        underlying_return=float(prices.close[-1] / prices.close[0]) - 1,
    )
