"""What a token paid: fees, funding and trading costs, over the whole period and by calendar year."""

from __future__ import annotations

import math

import polars as pl

from gearing.core.decide import LIQUIDATION, REASONS
from gearing.core.record import Record
from gearing.study.calendar_returns import YearOfReturns, calendar_returns
from gearing.study.result import Result

MARKET_PARTS = frozenset(
    {"leverage", "variance_drag", "timing", "gap", "basis", "roll", "basis_and_roll", "basis_roll", "currency"}
)
"""The parts of an attribution that the market made; every other part was paid or received."""

_COSTS = frozenset({"commission", "spread", "impact"})
_THOUSAND = 1_000.0


class PaidPart(Record, frozen=True, kw_only=True):
    """One thing that was paid (negative) or received (positive).

    Args:
        name: the part's name in the attribution.
        per_unit: settlement currency per unit over the whole period.
        per_1000: the same for 1,000 invested at the start.
        per_year: fraction of the equity of the time per year of 365 days (log part / years); None after a
            wipe-out or where there is no time.
        by_year: for each calendar year, per 1,000 invested at that year's start; None where it is not known.
    """

    name: str
    per_unit: float
    per_1000: float
    per_year: float | None
    by_year: dict[int, float | None]


def paid_parts(result: Result) -> list[PaidPart]:
    """Returns what was paid and received, each part that is not zero, in the attribution's order."""
    attribution, summary = result.attribution, result.summary()
    logs = {} if attribution.log is None else dict(attribution.log.items())
    years = calendar_returns(result)
    posted = _posted_by_year(result)
    found = []
    for name, money in attribution.money.items():
        if name in MARKET_PARTS or not (money or logs.get(name)):
            continue
        yearly = logs[name] / summary.years if name in logs and summary.years > 0 else None
        found.append(
            PaidPart(
                name=name,
                per_unit=money,
                per_1000=money / result.token.initial_nav * _THOUSAND,
                per_year=yearly,
                by_year=_by_year(money, posted.get(name), years),
            )
        )
    return found


def yearly_cost(result: Result) -> float:
    """Returns what was paid a year (received: negative), a fraction of the equity of the time.

    It is the yearly sum of the logs of all parts that were paid or received; NaN after a wipe-out, which has none.
    """
    log, years = result.attribution.log, result.summary().years
    if log is None or years <= 0:
        return math.nan
    return 0.0 - math.fsum(amount for name, amount in log.items() if name not in MARKET_PARTS) / years


def yearly_decay(result: Result) -> float:
    """Returns the loss against β times the underlying's log return, per year (a gain: negative); ∞ if wiped out.

    Source: formula 8: ln(N_T/N_0) − β·ln(S_T/S_0), with the sign of a loss.
    """
    summary, close = result.summary(), result.prices.close
    if summary.wiped_out:
        return math.inf
    if summary.years <= 0:
        return math.nan
    token = math.log(summary.final_nav / summary.initial_nav)
    return (summary.target * math.log(float(close[-1] / close[0])) - token) / summary.years


def _by_year(total: float, posted: dict[int, float] | None, years: list[YearOfReturns]) -> dict[int, float | None]:
    """The yearly sums for 1,000 at each year's start, if the events hold all of this part."""
    if posted is None or not math.isclose(math.fsum(posted.values()), total, rel_tol=1e-6, abs_tol=1e-9):
        return {year.year: None for year in years}
    return {
        year.year: posted.get(year.year, 0.0) / year.start_nav * _THOUSAND if year.start_nav > 0 else None
        for year in years
    }


def _posted_by_year(result: Result) -> dict[str, dict[int, float]]:
    """For each part that the events hold, its money per unit by calendar year."""
    events = result.events
    names = [name for name, _ in result.attribution.money.items() if name in events.columns]
    forced = pl.col("reason") == REASONS[int(LIQUIDATION)]
    # A settlement at 00:00 on the first of January is the old year's last.
    year = (pl.col("time") - pl.duration(milliseconds=1)).dt.year().alias("year")
    signed = [(pl.col(name) * (-1.0 if name in _COSTS else 1.0)).alias(name) for name in names]
    free = events.with_columns(year, *signed).with_columns(
        liquidation=pl.when(forced).then(pl.col("commission")).otherwise(0.0),
        commission=pl.when(forced).then(0.0).otherwise(pl.col("commission")),
    )
    columns = [*names, "liquidation"]
    sums = free.group_by("year").agg(pl.col(name).sum() for name in columns).sort("year")
    first = int(result.nav["time"][0].year)
    return {name: _merged(sums, name, first, result.units) for name in columns}


def _merged(sums: pl.DataFrame, name: str, first: int, units: float) -> dict[int, float]:
    merged: dict[int, float] = {}
    for year, money in zip(sums["year"].to_list(), sums[name].to_list(), strict=True):
        at = max(int(year), first)
        merged[at] = merged.get(at, 0.0) + float(money) / units
    return merged
