"""How a product moved against a simulation of it: the record of the figures, and the frames of the gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from gearing.core.record import Record
from gearing.errors import InputError


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
        drift_error: its standard error, which allows for gaps that depend on those before them; on the safe side where
            each error is undone at once.
        deviation: standard deviation of the gaps (ddof 1), per period.
        typical_deviation: the same as the median size of the gaps implies it, so that rare days do not decide it.
        echo: correlation of each gap with the one before; near -0.5 where each error is undone in the next period, as
            when the closes of product and simulation are taken at different moments.
        lag: how many periods the product's returns come after the simulation's (before: negative), if they fit much
            better so; 0 if they do not, as it should be.
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
    lag: int
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
