"""The backtest: one token on one path, and its result."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gearing.core.decide import LIQUIDATION, NONE, REASONS
from gearing.core.fees import Costs
from gearing.core.pack import pack, schedule_times_ms
from gearing.core.record import DAY_MS, Shown, duration_ms
from gearing.core.token import Token
from gearing.errors import DataWarning, InputError
from gearing.kernels import figures as fig
from gearing.kernels import run as columns
from gearing.kernels.calendar import day_end_bars
from gearing.kernels.one import Run, path_of, run_one
from gearing.kernels.pyramid import Floats
from gearing.market.files import check_overlap, read_funding, read_prices
from gearing.market.series import Funding, Prices
from gearing.market.times import Moment
from gearing.study.attribution import Attribution, attribution_of
from gearing.study.summary import Summary, summarise

CAPITAL = 1_000_000.0


class Result(Shown):
    """What a backtest found; its frames are made when they are first asked for.

    Args:
        token: the specification that ran.
        prices: the path it ran on.
        funding: the settlements it paid or received, or None.
        costs: what trading cost; none for an all-in token.
        equity: the capital before the opening trade, settlement currency.
        run: what the kernel left behind.
    """

    def __init__(
        self, token: Token, prices: Prices, funding: Funding | None, costs: Costs, equity: float, run: Run
    ) -> None:
        self.token, self.prices, self.funding, self.costs, self.equity = token, prices, funding, costs, equity
        self.units = equity / token.initial_nav
        self._run = run

    @cached_property
    def _path(self) -> tuple[Floats, Floats]:
        return path_of(self._run, self.prices.index)

    def _times(self, bars: NDArray[Any] | None = None) -> pl.Series:
        times = self.prices.times_ms if bars is None else self.prices.times_ms[bars.astype(np.int64)]
        return pl.Series("time", times).cast(pl.Datetime("ms", "UTC"))

    @cached_property
    def nav(self) -> pl.DataFrame:
        """A frame with one row per bar: time, price, nav, equity, exposure (signed), leverage (signed)."""
        equity, position = self._path
        price = self.prices.close
        exposure = position * price
        leverage = np.divide(exposure, equity, out=np.zeros_like(equity), where=equity > 0)
        return pl.DataFrame(
            [
                self._times(),
                pl.Series("price", price),
                pl.Series("nav", equity / self.units),
                pl.Series("equity", equity),
                pl.Series("exposure", exposure),
                pl.Series("leverage", leverage),
            ]
        )

    def _row_frame(self, rows: Floats) -> pl.DataFrame:
        column = rows.T
        after, price = column[columns.EQUITY], column[columns.PRICE]
        alive = after > 0
        names = np.array(REASONS)[column[columns.REASON].astype(np.int64)]
        cost = column[columns.SPREAD] + column[columns.IMPACT] + column[columns.COMMISSION]
        leverage = np.divide(column[columns.POSITION] * price, after, out=np.zeros_like(after), where=alive)
        return pl.DataFrame(
            [
                self._times(column[columns.BAR]),
                pl.Series("reason", names, dtype=pl.String),
                pl.Series("price", price),
                pl.Series("leverage_before", column[columns.LEVERAGE]),
                pl.Series("leverage_after", leverage),
                pl.Series("aim", column[columns.AIM]),
                pl.Series("traded", column[columns.TRADED] / self.token.legs[0].multiplier),
                pl.Series("notional", column[columns.TRADED] * price),
                pl.Series("cost", -cost + 0.0),
                pl.Series("spread", -column[columns.SPREAD] + 0.0),
                pl.Series("impact", -column[columns.IMPACT] + 0.0),
                pl.Series("commission", -column[columns.COMMISSION] + 0.0),
                pl.Series("funding", column[columns.FUNDING] + 0.0),
                pl.Series("management_fee", column[columns.FEE] + 0.0),
                pl.Series("equity", after),
                pl.Series("nav", after / self.units),
            ]
        )

    @cached_property
    def rebalances(self) -> pl.DataFrame:
        """A frame with one row per rebalancing trade, the opening and each slice included.

        Columns: time, reason, price, leverage_before, leverage_after, aim (signed leverage), traded
        (contracts, signed), notional (signed), cost, spread, impact, commission (≥ 0, settlement
        currency), equity and nav after it.
        """
        rows = self._run.rows
        reason = rows[:, columns.REASON]
        traded = self._row_frame(rows[(reason > NONE) & (reason < LIQUIDATION)])
        return traded.drop("funding", "management_fee")

    @cached_property
    def events(self) -> pl.DataFrame:
        """A frame with one row per bar on which anything was posted: trades, funding, fees, liquidations."""
        return self._row_frame(self._run.rows)

    @cached_property
    def attribution(self) -> Attribution:
        """Where the result came from, in log and in money per unit; the parts sum to it."""
        return attribution_of(self._run.ledger, self.units, bool(self._run.figures[fig.WIPED_OUT_BAR] >= 0))

    def summary(self) -> Summary:
        """Returns the figures of the run as one record."""
        return self._summary

    @cached_property
    def _summary(self) -> Summary:
        return summarise(
            self._run.figures,
            self.prices,
            symbol=self.token.symbol,
            target=self.token.target,
            equity=self.equity,
            initial_nav=self.token.initial_nav,
        )

    def returns(self, every: str = "1d") -> pl.DataFrame:
        """Returns a frame of simple returns of NAV over complete periods: time (their end), return.

        Args:
            every: length of a period, such as "1h", "1d", "7d"; periods end at its multiples since the
                epoch (a day at 00:00 UTC), at the last price known by then. Daily data gives one per bar.

        Raises:
            InputError: the length is no duration.
        """
        try:
            step = duration_ms(every)
        except (ValueError, TypeError):
            raise InputError(f"{every!r} is no duration.", where="returns", fix='Write "1h", "1d" or "7d".') from None
        times, spacing = self.prices.times_ms, self.prices.spacing_ms
        if step == DAY_MS:
            bars = day_end_bars(times, spacing)
        else:
            first, last = -(-int(times[0]) // step), int(times[-1]) // step
            ends = np.arange(first, last + 1, dtype=np.int64) * step
            bars = np.unique(np.searchsorted(times, ends, side="right") - 1)
        equity = self._path[0][bars]
        alive = np.flatnonzero(equity[:-1] > 0)
        moves = equity[alive + 1] / equity[alive] - 1
        return pl.DataFrame([self._times(bars[alive + 1]), pl.Series("return", moves)])

    def to_pandas(self, tz: str | None = None) -> Any:
        """Returns the nav frame as a pandas frame indexed by time.

        Args:
            tz: a time zone such as "Asia/Hong_Kong"; None gives naive times in UTC.
        """
        frame = self.nav.to_pandas().set_index("time")
        try:
            zone = None if tz is None else ZoneInfo(tz)
        except (ZoneInfoNotFoundError, TypeError, ValueError):
            raise InputError(f"{tz!r} is no time zone.", where="tz", fix='Write "Asia/Hong_Kong" or "UTC".') from None
        frame.index = frame.index.tz_localize(None) if zone is None else frame.index.tz_convert(zone)
        return frame

    def report(self, path: str | Path, *, window: tuple[Moment, Moment] | None = None) -> None:
        """Writes a report of this as one HTML file that needs no network, wholly or not at all.

        Args:
            path: where it shall stand.
            window: a window (start, end) to rank among all windows of its length, as ISO text, dates or ms.

        Raises:
            InputError: the window cannot be ranked, or the place cannot be written.
        """
        from gearing.study.report import write_backtest

        write_backtest(self, path, window=window)

    def __repr__(self) -> str:
        s = self.summary()
        fate = f"wiped out {s.wiped_out_at}" if s.wiped_out else f"NAV {s.initial_nav:g} → {s.final_nav:.6g}"
        return f"Result({self.token.symbol}, {s.start} to {s.end}: {fate}, {s.rebalances} rebalances)"


def as_token(token: Any) -> Token:
    """Returns a token as it is.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(token, Token):
        fix = 'Pass gr.Token(symbol="BTC3L", target=3.0, rule="ftx") or gr.presets.token("ftx", "BTC", 3).'
        raise InputError(f"{token!r} is no token.", where="token", fix=fix)
    return token


def as_costs(costs: Any, token: Token) -> Costs:
    """Returns the costs given, or the token's own.

    Raises:
        InputError: they are something else.
    """
    if costs is not None and not isinstance(costs, Costs):
        raise InputError(f"{costs!r} is no record of costs.", where="costs", fix="Pass gr.Costs(taker_fee=0.0005).")
    return token.costs if costs is None else costs


def as_prices(source: Any) -> Prices:
    """Returns prices as they are, or reads them from whatever `read_prices` reads."""
    return source if isinstance(source, Prices) else read_prices(source)


def as_funding(source: Any, prices: Prices) -> Funding | None:
    """Returns funding as it is, None, or read from whatever `read_funding` reads; it must overlap the prices."""
    if source is None:
        return None
    funding = source if isinstance(source, Funding) else read_funding(source)
    check_overlap(prices, funding)
    return funding


def capital(equity: float) -> float:
    """Returns the capital of a study.

    Raises:
        InputError: it is no finite amount above zero.
    """
    if (
        isinstance(equity, bool)
        or not isinstance(equity, (int, float, np.floating, np.integer))
        or not 0 < equity < 1e15
    ):
        raise InputError(f"{equity!r} is no capital.", where="equity", fix="Give an amount above 0, such as 1_000_000.")
    return float(equity)


def backtest(
    token: Token,
    prices: Any,
    *,
    funding: Any = None,
    costs: Costs | None = None,
    equity: float = CAPITAL,
) -> Result:
    """Runs a token over a price path, in the accounting order of the live desk.

    Args:
        token: the specification.
        prices: a Prices series, or anything `read_prices` reads.
        funding: a Funding series, anything `read_funding` reads, or None for no funding.
        costs: what trading costs; by default the token's own assumption.
        equity: the capital before the opening trade, settlement currency.

    Returns:
        The result, with its frames made when first asked for.

    Raises:
        InputError: the series or the capital cannot be used.
    """
    path, amount, spent = as_prices(prices), capital(equity), as_costs(costs, as_token(token))
    paid = as_funding(funding, path)
    warn_of_impact(path, [spent])
    return run_backtest(token, path, paid, spent, amount)


def warn_of_impact(prices: Prices, costs: Sequence[Costs]) -> None:
    """Warns if trades shall move the price but nobody knows the volume they move it against."""
    if prices.volume is None and any(cost.impact for cost in costs):
        warnings.warn("the prices have no volume, so impact costs nothing", DataWarning, stacklevel=3)


def run_backtest(token: Token, path: Prices, funding: Funding | None, costs: Costs, equity: float) -> Result:
    """Returns the result of a token on series that were checked already."""
    spent = Costs() if token.fees.all_in else costs
    calendar = path.calendar(funding, schedule_times_ms(token.resolved_rule))
    run = run_one(pack(token, spent), path.index, calendar, equity)
    return Result(token, path, funding, spent, equity, run)
