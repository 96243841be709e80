"""The result of a backtest: its frames, figures and attribution, made when first asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gearing.core.decide import LIQUIDATION, NONE, REASONS
from gearing.core.fees import Costs
from gearing.core.record import DAY_MS, Shown, duration_ms
from gearing.core.token import Token
from gearing.errors import InputError
from gearing.kernels import figures as fig
from gearing.kernels import run as columns
from gearing.kernels.calendar import day_end_bars
from gearing.kernels.pyramid import Floats
from gearing.market.legs import RanOn
from gearing.market.series import Funding, Prices
from gearing.market.times import Moment
from gearing.study.attribution import Attribution, attribution_of
from gearing.study.consolidation import consolidations_of
from gearing.study.native import Library, native
from gearing.study.outcome import Outcome
from gearing.study.summary import Summary, summarise
from gearing.study.targets import Targets

if TYPE_CHECKING:
    from gearing.study.evidence import Evidence


class Result(Shown):
    """What a backtest found. Its frames are made when first asked for, in pandas where the series came from there.

    Args:
        token: the specification that ran.
        outcome: what its run left behind, and the price it is held against.
        costs: what trading cost; none for an all-in token.
        equity: the capital before the opening trade, settlement currency.
        periods_per_year: what figures per year are scaled with; None: by the calendar of the prices.
        intrabar: where triggers acted: "close", or "worst".
        library: of the frames: "polars"; or "pandas", where the series came from pandas.
        targets: of a target that varies in time; None: the token's.
    """

    def __init__(
        self, token: Token, outcome: Outcome, costs: Costs, equity: float, periods_per_year: float | None = None,
        intrabar: str = "close",
        library: Library = "polars",
        targets: Targets | None = None,
    ) -> None:  # fmt: skip
        self.token, self.costs, self.equity, self.intrabar = token, costs, equity, intrabar
        self.units = equity / token.initial_nav
        self._outcome, self._periods_per_year, self._library = outcome, periods_per_year, library
        self.targets = None if targets is None else targets.beside(self.prices)

    @cached_property
    def polars(self) -> Result:
        """The same result with its frames in polars."""
        if self._library == "polars":
            return self
        return Result(self.token, self._outcome, self.costs, self.equity, self._periods_per_year, self.intrabar,
                      targets=self.targets)  # fmt: skip

    @property
    def prices(self) -> Prices:
        """The price that the result is held against: the leg's, the underlying's, or the index of a basket."""
        return self._outcome.prices

    @property
    def funding(self) -> Funding | None:
        """The settlements of the first leg, or None."""
        return self._outcome.ran_on.legs[0].funding

    @property
    def ran_on(self) -> RanOn:
        """The series of each leg (`legs`: prices, rolls, funding, dividends), `rates`, `underlying` and `times_ms`."""
        return self._outcome.ran_on

    def _native(self, frame: pl.DataFrame) -> Any:
        return native(frame, self._library)

    @cached_property
    def _path(self) -> tuple[Floats, Floats]:
        return self._outcome.path()

    def _times(self, bars: NDArray[Any] | None = None) -> pl.Series:
        times = self.prices.times_ms if bars is None else self.prices.times_ms[bars.astype(np.int64)]
        return pl.Series("time", times).cast(pl.Datetime("ms", "UTC"))

    @cached_property
    def nav(self) -> Any:
        """A frame with one row per bar: time, price, nav, equity, exposure (signed), leverage (signed).

        NAV is per first unit, as if units had never been merged; see `history`.
        """
        equity, exposure = self._path
        leverage = np.divide(exposure, equity, out=np.zeros_like(equity), where=equity > 0)
        columns = {
            "price": self.prices.close, "nav": equity / self.units, "equity": equity, "exposure": exposure,
            "leverage": leverage,
        }  # fmt: skip
        return self._native(pl.DataFrame([self._times(), *(pl.Series(name, one) for name, one in columns.items())]))

    @cached_property
    def consolidations(self) -> Any:
        """A frame with one row per merger of units: time, factor, nav_before, nav_after."""
        return self._native(consolidations_of(self.token.consolidation, self.prices, self._path[0] / self.units))

    def history(self, *, adjusted: bool) -> Any:
        """Returns the published NAV of every bar: time, nav.

        Args:
            adjusted: whether earlier NAVs are shown in today's units, so that the line does not jump at a
                merger; else each is shown as it was published.
        """
        factors = np.ones(len(self.prices))
        for time, factor in self.polars.consolidations.select("time", "factor").iter_rows():
            factors[int(np.searchsorted(self.prices.times_ms, int(time.timestamp() * 1000))) :] *= factor
        scale = factors[-1] if adjusted else factors
        return self._native(pl.DataFrame([self._times(), pl.Series("nav", self._path[0] / self.units * scale)]))

    def _row_frame(self, rows: Floats, reasons: list[str] | None = None) -> pl.DataFrame:
        column, seen = rows.T, self._outcome.seen(rows)
        after = column[columns.EQUITY]
        names = np.array(REASONS)[column[columns.REASON].astype(np.int64)].tolist() if reasons is None else reasons
        cost = column[columns.SPREAD] + column[columns.IMPACT] + column[columns.COMMISSION]
        leverage = np.divide(seen.exposure, after, out=np.zeros_like(after), where=after > 0)
        return pl.DataFrame(
            [
                self._times(column[columns.BAR]),
                pl.Series("reason", names, dtype=pl.String),
                pl.Series("price", seen.price),
                pl.Series("leverage_before", seen.leverage_before),
                pl.Series("leverage_after", leverage),
                pl.Series("aim", seen.aim),
                pl.Series("traded", seen.traded, nan_to_null=True),
                pl.Series("notional", seen.notional),
                pl.Series("cost", -cost + 0.0),
                pl.Series("spread", -column[columns.SPREAD] + 0.0),
                pl.Series("impact", -column[columns.IMPACT] + 0.0),
                pl.Series("commission", -column[columns.COMMISSION] + 0.0),
                pl.Series("funding", column[columns.FUNDING] + 0.0),
                pl.Series("management_fee", column[columns.FEE] + 0.0),
                *(pl.Series(name, values + 0.0) for name, values in seen.more.items()),
                pl.Series("equity", after),
                pl.Series("nav", after / self.units),
            ]
        )

    @cached_property
    def rebalances(self) -> Any:
        """A frame with one row per rebalancing trade, the opening and each slice included.

        Columns: time, reason, price, leverage_before, leverage_after, aim (signed leverage), traded
        (contracts, signed; none for a basket, see `legs`), notional (net, signed), cost, spread, impact,
        commission (≥ 0, settlement currency), equity and nav after it.
        """
        rows = self._outcome.rows
        reason = rows[:, columns.REASON]
        traded = self._row_frame(rows[(reason > NONE) & (reason < LIQUIDATION)])
        unposted = ("funding", "management_fee", "financing", "cash_interest", "dividends")
        return self._native(traded.drop(*unposted, strict=False))

    @cached_property
    def events(self) -> Any:
        """A frame with one row per bar on which anything was posted: trades, funding, fees, liquidations, rolls.

        A roll's reason names its contracts: "roll from BTC-27JUN25 to BTC-26SEP25".
        """
        return self._native(self._row_frame(self._outcome.rows, self._outcome.reasons(self._outcome.rows)))

    @cached_property
    def legs(self) -> Any:
        """A frame with one row per event and leg: time, reason, symbol, price, traded and position (contracts, signed).

        A liquidation shows the price of its bar.
        """
        return self._native(self._outcome.leg_frame(self._times))

    @cached_property
    def attribution(self) -> Attribution:
        """Where the result came from, in log and in money per unit; the parts sum to it."""
        return attribution_of(self._outcome.ledger, self.units, bool(self._outcome.figures[fig.WIPED_OUT_BAR] >= 0))

    def summary(self) -> Summary:
        """Returns the figures of the run as one record."""
        return self._summary

    @cached_property
    def _summary(self) -> Summary:
        return summarise(
            self._outcome.figures, self.prices, self.token, self.equity, self._periods_per_year, self.targets
        )

    def returns(self, every: str = "1d") -> Any:
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
        return self._native(pl.DataFrame([self._times(bars[alive + 1]), pl.Series("return", moves)]))

    def to_pandas(self, tz: str = "UTC") -> Any:
        """Returns the nav frame as a pandas frame indexed by time, in a time zone such as "Asia/Hong_Kong".

        Raises:
            InputError: there is no such zone.
        """
        frame = self.polars.nav.to_pandas().set_index("time")
        try:
            frame.index = frame.index.tz_convert(ZoneInfo(tz))
        except (ZoneInfoNotFoundError, TypeError, ValueError):
            raise InputError(f"{tz!r} is no time zone.", where="tz", fix='Write "Asia/Hong_Kong" or "UTC".') from None
        return frame

    def evidence(self, *, window: tuple[Moment, Moment] | None = None) -> Evidence:
        """Returns fair evidence: what every window of each length returned, and where a chosen one stands among them.

        Args:
            window: a window (start, end) to rank among all windows of its length, as ISO text, dates or ms.

        Raises:
            InputError: the window cannot be ranked.
        """
        from gearing.study.evidence import evidence_of

        return evidence_of(self, window)

    def report(self, path: str | Path, *, window: tuple[Moment, Moment] | None = None, force: bool = False) -> None:
        """Writes a report of this as one HTML file that needs no network, wholly or not at all.

        Args:
            path: the file to write.
            window: a window (start, end) to rank among all windows of its length, as ISO text, dates or ms.
            force: replace an existing file of another kind; a database is never replaced.

        Raises:
            InputError: the window cannot be ranked, or the path holds another kind of file, or it cannot be written.
        """
        from gearing.study.report import write_backtest

        write_backtest(self.polars, path, window=window, force=force)

    def __repr__(self) -> str:
        s = self.summary()
        fate = f"wiped out {s.wiped_out_at}" if s.wiped_out else f"NAV {s.initial_nav:g} → {s.final_nav:.6g}"
        return f"Result({self.token.symbol}, {s.start} to {s.end}: {fate}, {s.rebalances} rebalances)"
