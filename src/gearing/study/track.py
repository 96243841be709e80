"""A real product's market prices against a backtest of it: how far apart they are, and what the product pays."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gearing.core.instruments import TotalReturnSwap
from gearing.core.record import Record
from gearing.core.token import Token
from gearing.errors import DataWarning, InputError
from gearing.market.series import Floats
from gearing.market.times import Moment, iso, moment_ms
from gearing.study import track_figures as fig
from gearing.study.align import Alignment, Samples, alignment, samples_of
from gearing.study.result import Result

CHANGES_MIN = 3
SWAP_DAY_COUNT, YEAR_DAYS = 360, 365

# Reasons of trades that a price makes due; the others are a clock's, or slices of an earlier trade.
_BY_PRICE = ("band", "move", "ripcord")

Period = tuple[Moment | None, Moment | None]


class Track(Record, frozen=True, kw_only=True, eq=False):
    """How a product's market prices moved against a simulation of it.

    A gap is the product's log change less the simulation's, over one period between common times. Fractions are plain
    (0.001 is 10 bp); a figure without enough gaps, or of what does not vary, is NaN.

    Args:
        symbol: of the simulated token.
        product: the product's name; may be empty.
        target: target leverage β of the simulation.
        start: the first common time, ISO text UTC.
        end: the last one.
        changes: how many periods count.
        per_year: how many such periods a year of 365.25 days has.
        drift: mean gap per year; above 0 where the product did better.
        drift_error: its standard error, for gaps that may echo each other.
        deviation: standard deviation of the gaps (ddof 1), per period.
        typical_deviation: the same as the median size of the gaps implies it, so that rare days do not decide it.
        echo: correlation of each gap with the one before; near -0.5 where each error is undone in the next period, as
            when the closes of product and simulation are taken at different moments.
        slope: of the product's log returns on the simulation's.
        r_squared: R² of that line.
        beta: slope of the product's simple returns on the underlying's.
        beta_r_squared: R² of that line.
        simulated_beta: the same slope of the simulation.
        financed_leverage: mean size of the simulation's leverage, weighted by time.
        implied_spread: yearly spread on the financed notional that the product implies, over what the simulation
            charged: with it the drift is zero. Above 0 where the product pays more.
        charged_spread: what the simulation's swaps pay over the reference rate; None where it holds none.
        day_count: days of the year over which the spread accrues: 360 for a swap, else 365.
        price_triggered: trades of the simulation that a price triggered and no clock: bands, moves, a ripcord.
        frame: one row per common time: time, product, simulated, underlying (prices), product_log, simulated_log, gap
            (of the period that ends there; null in the first row), counted (whether that period counts).

    The implied spread is paid on the size of exposure, whichever its sign, as the spread of a total return swap is. Of
    a perpetual it is funding beyond the simulation's for a long token, and short of it for a short one. It holds all
    that the product pays beyond the simulation: a fee that differs, trading, a premium that shrank.

    Source: Newey & West (1987) for `drift_error`; the spread is derived in docs/how-to/track.md.
    """

    symbol: str
    product: str
    target: float
    start: str
    end: str
    changes: int
    per_year: float
    drift: float
    drift_error: float
    deviation: float
    typical_deviation: float
    echo: float
    slope: float
    r_squared: float
    beta: float
    beta_r_squared: float
    simulated_beta: float
    financed_leverage: float
    implied_spread: float
    charged_spread: float | None
    day_count: int
    price_triggered: int
    frame: pl.DataFrame

    @property
    def counted(self) -> pl.DataFrame:
        """The rows of the frame whose periods count."""
        return self.frame.filter(pl.col("counted"))

    @property
    def by_year(self) -> pl.DataFrame:
        """A frame with one row per calendar year (UTC): year, changes, drift (per year), deviation.

        A period belongs to the year in which it ends; one that ends at midnight, to the year before.
        """
        year = (pl.col("time") - pl.duration(milliseconds=1)).dt.year().alias("year")
        gap = pl.col("gap")
        figures = [
            gap.len().alias("changes"),
            (gap.mean() * self.per_year).alias("drift"),
            gap.std().alias("deviation"),
        ]
        return self.counted.group_by(year).agg(figures).sort("year")

    def worst(self, count: int = 6) -> pl.DataFrame:
        """Returns the periods with the largest gaps, in order of time.

        Args:
            count: how many, at least 1.

        Returns:
            A frame: time (the period's end), underlying, product, simulated (simple returns), gap, next_gap (that of
            the following period that counts, or null).

        Raises:
            InputError: the count is not a number of rows.
        """
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise InputError(f"{count!r} is not a number of rows.", where="count", fix="Give at least 1.")
        moves = self.frame.with_columns(pl.col("underlying").pct_change()).filter(pl.col("counted"))
        shown = moves.select(
            "time",
            "underlying",
            product=pl.col("product_log").exp() - 1,
            simulated=pl.col("simulated_log").exp() - 1,
            gap="gap",
            next_gap=pl.col("gap").shift(-1),
        )
        return shown.sort(pl.col("gap").abs(), descending=True, maintain_order=True).head(int(count)).sort("time")

    def report(self, path: str | Path, *, force: bool = False) -> None:
        """Writes a report of this as one HTML file that needs no network, wholly or not at all.

        Args:
            path: the file to write.
            force: replace an existing file of another kind; a database is never replaced.

        Raises:
            InputError: the path holds another kind of file, or it cannot be written.
        """
        from gearing.study.report import write_track

        write_track(self, path, force=force)

    def __repr__(self) -> str:
        name = f"{self.product} against {self.symbol}" if self.product else self.symbol
        return (
            f"Track({name}: {self.changes:,} changes, drift {self.drift * 1e4:+.0f} bp a year, deviation "
            f"{self.deviation * 1e4:.1f} bp, implied spread {self.implied_spread:+.2%})"
        )


def track(
    product: Any, result: Result, *, window: Period | None = None, leave_out: Sequence[tuple[Moment, Moment]] = ()
) -> Track:
    """Measures a real product's market prices against a backtest of it.

    The two are paired by `align`: never by a look ahead, and only where both are fresh. Prices should include
    distributions (adjusted closes).

    Args:
        product: the product's prices: Prices, or anything else that `align` takes.
        result: the simulation, `gr.backtest(token, prices, ...)`.
        window: (start, end), the moments within which common times are taken, both included; None is the first or the
            last one. A token that rebalances runs before the window as it did, and only the gaps within it count.
        leave_out: periods (start, end): gaps that end after a start and not after its end do not count, such as those
            of days on which quotes stood still.

    Returns:
        The figures and the paired series.

    Raises:
        InputError: a series cannot be read, the two have fewer than three gaps in common, or a period is empty.

    Warns:
        DataWarning: the product or the simulation is worth nothing at the end; only the time before counts.
    """
    if not isinstance(result, Result):
        raise InputError(f"{result!r} is not a result.", where="result", fix="Pass gr.backtest(token, prices).")
    real, simulated = samples_of(product), samples_of(result)
    pairs = _within(alignment(real, simulated), window)
    pairs = _until_worthless(pairs, real, simulated)
    counted = _counted(pairs, leave_out)
    if int(counted.sum()) < CHANGES_MIN:
        what = f"product and simulation have {int(counted.sum())} gaps in common."
        raise InputError(what, where="track", fix=f"Give series with at least {CHANGES_MIN}.")
    frame = _frame(pairs, real, simulated, result, counted)
    return _measure(frame, pairs, counted, real.symbol, result)


def _within(pairs: Alignment, window: Period | None) -> Alignment:
    if window is None:
        return pairs
    start, end = (None if moment is None else moment_ms(moment) for moment in window)
    kept = np.ones(len(pairs.times_ms), np.bool_)
    kept &= True if start is None else pairs.times_ms >= start
    kept &= True if end is None else pairs.times_ms <= end
    if not kept.any():
        what = f"there is no common time from {window[0]} to {window[1]}."
        period = f"{iso(int(pairs.times_ms[0]))} to {iso(int(pairs.times_ms[-1]))}"
        raise InputError(what, where="window", fix=f"Choose one within {period}.")
    return Alignment(*(column[kept] for column in pairs))


def _until_worthless(pairs: Alignment, real: Samples, simulated: Samples) -> Alignment:
    """Returns the pairs before the first at which one of the two is worth nothing."""
    for name, values in (("product", real.values[pairs.a]), ("simulation", simulated.values[pairs.b])):
        dead = values <= 0
        if dead.any():
            first = int(np.argmax(dead))
            when = iso(int(pairs.times_ms[first]))
            text = f"the {name} is worth nothing from {when} on; only the time before counts"
            warnings.warn(text, DataWarning, stacklevel=3)
            pairs = Alignment(*(column[:first] for column in pairs))
    return pairs


def _counted(pairs: Alignment, leave_out: Sequence[tuple[Moment, Moment]]) -> NDArray[np.bool_]:
    """Returns whether each period after the first common time counts."""
    ends = pairs.times_ms[1:]
    counted = np.ones(len(ends), np.bool_)
    for start, end in leave_out:
        first, last = moment_ms(start), moment_ms(end)
        if last <= first:
            what = "the period ends before it begins."
            raise InputError(what, where=f"leave_out {start} to {end}", fix="Give its start, then its end.")
        counted &= ~((ends > first) & (ends <= last))
    return counted


def _frame(
    pairs: Alignment, real: Samples, simulated: Samples, result: Result, counted: NDArray[np.bool_]
) -> pl.DataFrame:
    product, nav = real.values[pairs.a], simulated.values[pairs.b]
    logs = [np.diff(np.log(values)) for values in (product, nav)]
    return pl.DataFrame(
        [
            pl.Series("time", pairs.times_ms).cast(pl.Datetime("ms", "UTC")),
            pl.Series("product", product),
            pl.Series("simulated", nav),
            pl.Series("underlying", result.prices.close[pairs.b]),
            *(
                pl.Series(name, [None, *values.tolist()], dtype=pl.Float64)
                for name, values in zip(
                    ("product_log", "simulated_log", "gap"), (*logs, logs[0] - logs[1]), strict=True
                )
            ),
            pl.Series("counted", np.append(False, counted)),
        ]
    )


def _measure(frame: pl.DataFrame, pairs: Alignment, counted: NDArray[np.bool_], product: str, result: Result) -> Track:
    token = result.token
    real, simulated, gaps = (frame[name].to_numpy()[1:][counted] for name in ("product_log", "simulated_log", "gap"))
    moves = {
        name: (frame[name].to_numpy()[1:] / frame[name].to_numpy()[:-1] - 1)[counted]
        for name in ("product", "simulated", "underlying")
    }
    years = float(pairs.times_ms[-1] - pairs.times_ms[0]) / fig.YEAR_MS
    per_year = len(counted) / years
    slope, r_squared = fig.regression(simulated, real)
    beta, beta_r_squared = fig.regression(moves["underlying"], moves["product"])
    day_count = _day_count(token)
    leverage, spread = _financing(result, pairs, counted, float(gaps.sum()), day_count)
    trades = result.rebalances.filter(pl.col("time").is_between(frame["time"][0], frame["time"][-1], closed="right"))
    return Track(
        symbol=token.symbol,
        product=product,
        target=token.target,
        start=iso(int(pairs.times_ms[0])),
        end=iso(int(pairs.times_ms[-1])),
        changes=len(gaps),
        per_year=per_year,
        drift=float(gaps.mean()) * per_year,
        drift_error=fig.mean_error(gaps) * per_year,
        deviation=fig.deviation(gaps),
        typical_deviation=fig.typical_deviation(gaps),
        echo=fig.echo(gaps),
        slope=slope,
        r_squared=r_squared,
        beta=beta,
        beta_r_squared=beta_r_squared,
        simulated_beta=fig.regression(moves["underlying"], moves["simulated"])[0],
        financed_leverage=leverage,
        implied_spread=spread,
        charged_spread=_charged_spread(token),
        day_count=day_count,
        price_triggered=int(trades["reason"].is_in(_BY_PRICE).sum()),
        frame=frame,
    )


def _financing(
    result: Result, pairs: Alignment, counted: NDArray[np.bool_], log_change: float, day_count: int
) -> tuple[float, float]:
    """Returns the mean size of leverage over the counted time, and the spread that the gaps imply."""
    first, last = int(pairs.b[0]), int(pairs.b[-1])
    times = result.prices.times_ms[first : last + 1]
    exposure, equity = (result.nav[name].to_numpy()[first : last + 1] for name in ("exposure", "equity"))
    period = np.searchsorted(pairs.b, np.arange(first + 1, last + 1)) - 1
    steps = counted[period]
    traded = result.rebalances["time"].dt.epoch("ms").to_numpy()
    rebalances = np.searchsorted(times, traded)
    costs = fig.financing_costs(times, exposure, equity, rebalances, steps, day_count)
    weights: Floats = np.diff(times) * steps
    leverage = float(np.average(np.abs(exposure[:-1]) / equity[:-1], weights=weights)) if weights.any() else math.nan
    return leverage, fig.spread_of(log_change, costs)


def _day_count(token: Token) -> int:
    swaps = all(isinstance(leg, TotalReturnSwap) for leg in token.legs)
    return SWAP_DAY_COUNT if swaps else YEAR_DAYS


def _charged_spread(token: Token) -> float | None:
    """Returns the spread that a token of swaps pays on its notional; None where it holds something else."""
    swaps = [leg for leg in token.legs if isinstance(leg, TotalReturnSwap)]
    if len(swaps) < len(token.legs):
        return None
    return math.fsum(abs(leg.weight) * leg.spread for leg in swaps) / math.fsum(abs(leg.weight) for leg in swaps)
