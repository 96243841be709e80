"""A real product's market prices against a backtest of it: how far apart they are, and what the product pays."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gearing.core.instruments import TotalReturnSwap
from gearing.core.token import Token
from gearing.errors import DataWarning, InputError
from gearing.market.series import Floats
from gearing.market.times import Moment, iso, moment_ms
from gearing.study import track_figures as fig
from gearing.study.align import Alignment, Samples, alignment, samples_of
from gearing.study.result import Result
from gearing.study.track_record import Track

CHANGES_MIN = 3

# Whether a product fits better at another lag is only asked of so many changes, and told of so much better a fit.
_LAG_CHANGES_MIN, _LAG_MAX, _BETTER_R_SQUARED = 30, 3, 0.05

SWAP_DAY_COUNT, YEAR_DAYS = 360, 365

# Reasons of trades that a price makes due; the others are a clock's, or slices of an earlier trade.
_BY_PRICE = ("band", "move", "ripcord")

Period = tuple[Moment | None, Moment | None]


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
        DataWarning: the product or the simulation is worth nothing at the end, and only the time before counts; or the
            product's returns fit the simulation's much better some periods late or early, so that its stamps mean
            something else than was taken.
    """
    if not isinstance(result, Result):
        raise InputError(f"{result!r} is not a result.", where="result", fix="Pass gr.backtest(token, prices).")
    result = result.polars
    real, simulated = samples_of(product), samples_of(result)
    pairs = _within(alignment(real, simulated), window)
    pairs = _until_worthless(pairs, real, simulated)
    counted = _counted(pairs, leave_out)
    if int(counted.sum()) < CHANGES_MIN:
        what = f"product and simulation have {int(counted.sum())} gaps in common."
        raise InputError(what, where="track", fix=f"Give series with at least {CHANGES_MIN}.")
    frame = _frame(pairs, real, simulated, result, counted)
    found = _measure(frame, pairs, counted, real.symbol, result)
    if found.lag:
        way = "late" if found.lag > 0 else "early"
        text = f"the product's returns fit best {abs(found.lag)} of its periods {way}: check what its stamps mean"
        warnings.warn(text, DataWarning, stacklevel=2)
    return found


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
        lag=_lag(frame),
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


def _lag(frame: pl.DataFrame) -> int:
    """Returns by how many periods the product follows the simulation, where that fits much better than none."""
    real, simulated = (frame[name].to_numpy()[1:] for name in ("product_log", "simulated_log"))
    count = len(real)
    if count < _LAG_CHANGES_MIN:
        return 0
    fits = {
        lag: fig.correlation(simulated[max(-lag, 0) : count - max(lag, 0)], real[max(lag, 0) : count - max(-lag, 0)])
        for lag in range(-_LAG_MAX, _LAG_MAX + 1)
    }
    best = max(fits, key=lambda lag: fits[lag] if math.isfinite(fits[lag]) else -1.0)
    better = max(fits[best], 0.0) ** 2 - max(fits[0], 0.0) ** 2
    return best if better > _BETTER_R_SQUARED else 0


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
