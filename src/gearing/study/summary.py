"""The summary of a run: one record of figures, each named with the field's word for it."""

from __future__ import annotations

import math

from gearing.core.record import DAY_MS, Record
from gearing.core.token import Token
from gearing.kernels import figures as fig
from gearing.kernels.pyramid import Floats
from gearing.market.series import Prices
from gearing.market.times import iso
from gearing.study.ideal import ideal_end
from gearing.study.periods import periods_of
from gearing.study.targets import Targets

YEAR_DAYS = 365


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
        periods_per_year: how many periods of returns a year has: 365 days, 252 of a listed market, 52 weeks, 12 months.
        volatility: standard deviation of daily returns (00:00 UTC, complete days; of rarer bars, per bar), per year.
        sharpe: arithmetic: mean daily return over its standard deviation, per year, no risk-free rate.
        sharpe_log: the same of log returns, whose sign is that of the total return; NaN after a wipe-out.
        max_drawdown: deepest fall from an earlier high, over every bar and the initial NAV; −0.5 is a fall by half.
        worst_day: smallest daily return.
        tracking_difference: yearly mean of ln(daily NAV ratio) − ln(1 + β·r); NaN where token or ideal was wiped out,
            or where a target that varies changes within a day.
        tracking_error: yearly standard deviation of the same.
        ideal_wiped_out_at: the day that took everything from the ideal, 1 + β·r ≤ 0, ISO text UTC, or None.
        rebalances: how many, the opening included; a paced one counts once.
        trades: how many, each slice included.
        turnover: Σ |traded notional| / equity before.
        max_leverage: largest |ℓ|, before each bar's trade.
        min_leverage: smallest |ℓ|, before each bar's trade.
        liquidations: how often the venue closed the position.
        wiped_out: whether equity reached zero.
        wiped_out_at: when, ISO text UTC, or None.
        underlying_return: last price / first price − 1.

    Source: tracking and days as in Cheng & Madhavan's daily ideal; A = periods_per_year.
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
    periods_per_year: float
    volatility: float
    sharpe: float
    sharpe_log: float
    max_drawdown: float
    worst_day: float
    tracking_difference: float
    tracking_error: float
    ideal_wiped_out_at: str | None
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


def signs_differ(summary: Summary) -> bool:
    """Returns whether the arithmetic Sharpe ratio has another sign than the total return, and so misleads."""
    return summary.sharpe * summary.total_return < 0


def _deviation(count: float, total: float, squares: float) -> float:
    if count < 2:
        return math.nan
    return math.sqrt(max(squares - total * total / count, 0.0) / (count - 1))


def _sharpe_log(f: Floats, per_year: float) -> float:
    days = float(f[fig.DAYS])
    spread = _deviation(days, float(f[fig.DAY_LOG_SUM]), float(f[fig.DAY_LOG_SQUARES]))
    if not spread > 0 or f[fig.WIPED_OUT_BAR] >= 0:
        return math.nan
    return float(f[fig.DAY_LOG_SUM]) / days / spread * math.sqrt(per_year)


def _per_year(ratio: float, years: float) -> float:
    if ratio <= 0:
        return -1.0
    if years <= 0:
        return math.nan
    growth = math.log(ratio) / years
    return math.expm1(growth) if growth < 700 else math.inf


def summarise(
    f: Floats, prices: Prices, token: Token, equity: float, periods_per_year: float | None = None,
    targets: Targets | None = None,
) -> Summary:  # fmt: skip
    """Returns the summary of a run's figures.

    Args:
        f: see `kernels.figures.FIGURES`; measured.
        prices: the path that the result is held against.
        token: what ran.
        equity: the capital before the opening trade.
        periods_per_year: what figures per year are scaled with; None: by the calendar of the prices.
        targets: of a target that varies in time.
    """
    initial_nav = token.initial_nav
    ratio = float(f[fig.EQUITY]) / equity
    span_ms = int(prices.times_ms[-1] - prices.times_ms[0])
    years = span_ms / DAY_MS / YEAR_DAYS
    per_year = periods_of(prices).per_year if periods_per_year is None else periods_per_year
    days, whole = float(f[fig.DAYS]), f[fig.TRACKED_DAYS] == f[fig.DAYS]
    if targets is not None and not targets.change_at_day_ends(prices):
        whole = False  # a day with two targets has no ideal return
    # No figure leaves a day out: with one that has no log, the whole has none.
    tracked = float(f[fig.TRACKED_DAYS]) if whole else 0.0
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
        periods_per_year=per_year,
        volatility=spread * math.sqrt(per_year),
        sharpe=mean / spread * math.sqrt(per_year) if spread > 0 else math.nan,
        sharpe_log=_sharpe_log(f, per_year),
        max_drawdown=0.0 - float(f[fig.DRAWDOWN_MAX]),
        worst_day=float(f[fig.DAY_MIN]) if days else math.nan,
        tracking_difference=float(f[fig.TRACKING_SUM]) / tracked * per_year if tracked else math.nan,
        tracking_error=off * math.sqrt(per_year),
        ideal_wiped_out_at=ideal_end(prices, token, targets),
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
