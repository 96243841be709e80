"""Listed leveraged funds: TQQQ, QLD, PSQ on QQQ and BITX on IBIT, with one financing spread."""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

import gearing as gr
from gearing.core.record import Record
from tools.fidelity.data import data_dir
from tools.fidelity.text import bp, day, gaps_of, minus, signed_bp, table

# The one spread: a round figure between what long and short funds pay, the same for every fund.
SPREAD = 0.0035
SPREADS = (0.002, 0.003, 0.0035, 0.004, 0.006)

# The last day that every series reaches, and so the last of the reference rate.
_UNTIL = "2026-01-30T00:00:01"

_ADJUSTED = "etf/etf_adjclose_1d.parquet"
_RATES = "etf/us_short_rates_1d.parquet"


class Fund(Record, frozen=True, kw_only=True):
    """A listed fund as its prospectus describes it.

    Args:
        symbol: its ticker.
        underlying: ticker of a fund that holds the index, whose total return stands for it.
        target: the multiple of one day's return.
        fee: expense ratio, a fraction per year.
    """

    symbol: str
    underlying: str
    target: float
    fee: float


# Source: net expense ratios as the issuers publish them. TQQQ: fact sheet of 2015-03-31 and ProShares's page in
# October 2022; 0.86 % on that page in September 2023, and quoted at 0.82 % since 2025. QLD: ProShares's pages of
# 2022 to 2024. PSQ: quoted throughout. BITX: 1.85 %, as quoted from its first year.
FUNDS = (
    Fund(symbol="TQQQ", underlying="QQQ", target=3.0, fee=0.0095),
    Fund(symbol="QLD", underlying="QQQ", target=2.0, fee=0.0095),
    Fund(symbol="PSQ", underlying="QQQ", target=-1.0, fee=0.0095),
)
BITX = Fund(symbol="BITX", underlying="IBIT", target=2.0, fee=0.0185)
TQQQ_NOW = 0.0082


def token(fund: Fund, spread: float) -> gr.Token:
    """Returns the token that stands for a fund: a swap, reset at each close, its cash earning the rate."""
    swap = gr.TotalReturnSwap(symbol=fund.underlying, spread=spread)
    fees = gr.Fees(management_per_year=fund.fee)
    return gr.Token(symbol=fund.symbol, target=fund.target, rule="daily-etf", legs=(swap,), fees=fees)


@lru_cache(maxsize=64)
def tracked(fund: Fund, spread: float = SPREAD) -> gr.Track:
    """Returns a fund's adjusted closes against its token's NAV, over all days that both have.

    Args:
        fund: which one.
        spread: of the swap over the reference rate, a fraction per year.

    Raises:
        DataError: the data is not there.
    """
    place = data_dir()
    real = gr.read_prices(place / _ADJUSTED, symbol=fund.symbol).between(None, _UNTIL)
    index = gr.read_prices(place / _ADJUSTED, symbol=fund.underlying)
    rates = gr.read_rates(place / _RATES, symbol="DFF")
    common = gr.align(real, index)
    # The token trades on the days that both have, so that no step of it is longer than the fund's.
    prices = gr.Prices(common["time"].dt.epoch("ms").to_numpy(), common["b"].to_numpy(), symbol=fund.underlying)
    return gr.track(real, gr.backtest(token(fund, spread), prices, rates=rates))


def implied_spread(fund: Fund) -> float:
    """Returns the spread per year at which a fund's drift is zero."""
    return SPREAD + tracked(fund).implied_spread


def main_table() -> str:
    """Returns drift and deviation of every fund."""
    rows = []
    for fund in (*FUNDS, BITX):
        found = tracked(fund)
        start = found.frame["time"].dt.epoch("ms")[0]
        cells = [day(start), str(found.changes), signed_bp(found.drift), bp(found.deviation, 1)]
        name = f"{fund.symbol} ({minus(f'{fund.target:+g}')} {fund.underlying})"
        rows.append([name, *cells, bp(found.typical_deviation, 1), minus(f"{found.echo:.2f}")])
    return table(["fund", "from", "days", "drift", "sd", "typical", "echo"], rows)


def beta_table() -> str:
    """Returns beta and fit of every fund and of its simulation."""
    rows = []
    for fund in (*FUNDS, BITX):
        found = tracked(fund)
        betas = [minus(f"{value:.3f}") for value in (found.beta, found.simulated_beta)]
        rows.append([fund.symbol, *betas, f"{found.beta_r_squared:.4f}", f"{found.r_squared:.4f}"])
    return table(["fund", "beta", "model's", "R² on index", "R² on model"], rows)


def spread_table() -> str:
    """Returns how drifts move with the spread, and the spread that would make each zero."""
    rows = []
    for fund in FUNDS:
        drifts = [signed_bp(tracked(fund, spread).drift) for spread in SPREADS]
        rows.append([fund.symbol, *drifts, f"{implied_spread(fund):.2%}"])
    cheaper = msgspec.structs.replace(FUNDS[0], fee=TQQQ_NOW)
    drifts = [signed_bp(tracked(cheaper, spread).drift) for spread in SPREADS]
    rows.append([f"TQQQ at {TQQQ_NOW:.2%}", *drifts, f"{implied_spread(cheaper):.2%}"])
    return table(["drift, bp", *(f"{spread:.2%}" for spread in SPREADS), "zero at"], rows)


def _years(times: pl.Series) -> NDArray[np.int64]:
    """Returns the years in which days lie that end at these times."""
    return (times - timedelta(milliseconds=1)).dt.year().cast(pl.Int64).to_numpy()


def years_table() -> str:
    """Returns the deviation of each fund by groups of years."""
    groups = ((2006, 2007), (2008, 2009), (2010, 2011), (2012, 2019), (2020, 2020), (2021, 2026))
    rows = []
    for fund in FUNDS:
        counted = tracked(fund).counted
        years, every = _years(counted["time"]), counted["gap"].to_numpy()
        cells = []
        for first, last in groups:
            gaps = every[(years >= first) & (years <= last)]
            cells.append(bp(float(gaps.std(ddof=1)), 1) if len(gaps) > 2 else "")
        rows.append([fund.symbol, *cells])
    heads = [f"{first}" if first == last else f"{first}–{last}" for first, last in groups]
    return table(["sd, bp", *heads], rows)


def outlier_table(count: int = 6) -> str:
    """Returns the days with the largest gaps of each fund."""
    rows = []
    for fund in (*FUNDS, BITX):
        for row in tracked(fund).worst(count).iter_rows(named=True):
            figures = [minus(f"{row[name]:+.2%}") for name in ("underlying", "product", "simulated")]
            after = "" if row["next_gap"] is None else signed_bp(row["next_gap"])
            rows.append([f"{fund.symbol} {day(row['time'])}", *figures, signed_bp(row["gap"]), after])
    return table(["day", "index", "fund", "model", "gap, bp", "next day's"], rows)


def common_table() -> str:
    """Returns correlations of the funds' gaps, over the days that all three have.

    What is wrong with the close of QQQ pushes the gaps of long funds one way and that of the short one the other.
    """
    shared = tracked(FUNDS[0]).counted.select("time")
    for fund in FUNDS:
        shared = shared.join(tracked(fund).counted.select("time", pl.col("gap").alias(fund.symbol)), on="time")
    found = np.corrcoef([shared[fund.symbol].to_numpy() for fund in FUNDS])
    names = [fund.symbol for fund in FUNDS]
    rows = [[name, *(minus(f"{value:.2f}") for value in line)] for name, line in zip(names, found, strict=True)]
    return table(["correlation of gaps", *names], rows)


def bitx_table() -> str:
    """Returns what BITX's drift says about its financing: whole, by year, and without its largest gap."""
    whole = tracked(BITX)
    times, every = whole.counted["time"], gaps_of(whole)
    years, worst = _years(times), int(np.argmax(np.abs(every)))
    # The spread enters the drift in proportion to the time covered, so one slope serves every part.
    per_spread = whole.drift / whole.implied_spread
    parts = {"whole": years > 0, "2024": years == 2024, "2025": years == 2025}
    parts[f"without {day(times[worst])}"] = np.arange(len(years)) != worst
    rows = []
    for name, chosen in parts.items():
        gaps = every[chosen]
        drift = float(gaps.mean()) * whole.per_year
        rows.append([name, signed_bp(drift), f"{SPREAD + drift / per_spread:.1%}", bp(float(gaps.std(ddof=1)), 1)])
    return table(["BITX", f"drift at {SPREAD:.2%}, bp", "implied spread", "sd, bp"], rows)


def report() -> str:
    """Returns all tables on listed funds."""
    return "\n\n".join(
        [main_table(), beta_table(), spread_table(), years_table(), common_table(), outlier_table(), bitx_table()]
    )
