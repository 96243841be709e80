"""Listed leveraged funds: TQQQ, QLD, PSQ on QQQ and BITX on IBIT, with one financing spread."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

import gearing as gr
from gearing.core.record import Record
from tools.fidelity.data import data_dir
from tools.fidelity.pairing import Pairing
from tools.fidelity.text import bp, day, minus, signed_bp, table

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
def pairing(fund: Fund, spread: float = SPREAD) -> Pairing:
    """Returns a fund's adjusted closes beside its token's NAV, over all days that both have.

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
    times, of_real, of_index = np.intersect1d(real.times_ms, index.times_ms, return_indices=True)
    prices = gr.Prices(times, index.close[of_index], symbol=fund.underlying)
    nav = gr.backtest(token(fund, spread), prices, rates=rates).nav["nav"].to_numpy()
    return Pairing(fund.symbol, times, real.close[of_real], nav, prices.close)


def implied_spread(fund: Fund) -> float:
    """Returns the spread per year at which a fund's drift is zero.

    The spread enters the drift all but linearly, so a few secant steps end at rounding.
    """
    low, high = SPREAD, SPREAD + 0.01
    at_low, at_high = pairing(fund, low).drift, pairing(fund, high).drift
    for _ in range(4):
        if abs(at_high) < 1e-7:
            break
        low, high = high, high - at_high * (high - low) / (at_high - at_low)
        at_low, at_high = at_high, pairing(fund, high).drift
    return high


def main_table() -> str:
    """Returns drift and deviation of every fund."""
    rows = []
    for fund in (*FUNDS, BITX):
        pair = pairing(fund)
        cells = [day(pair.times_ms[0]), str(len(pair.gaps)), signed_bp(pair.drift), bp(pair.sd, 1)]
        name = f"{fund.symbol} ({minus(f'{fund.target:+g}')} {fund.underlying})"
        rows.append([name, *cells, bp(pair.typical, 1), minus(f"{pair.echo:.2f}")])
    return table(["fund", "from", "days", "drift", "sd", "typical", "echo"], rows)


def beta_table() -> str:
    """Returns beta and fit of every fund and of its simulation."""
    rows = []
    for fund in (*FUNDS, BITX):
        pair = pairing(fund)
        (beta, r2), (model, _) = pair.beta(pair.real), pair.beta(pair.simulated)
        betas = [minus(f"{value:.3f}") for value in (beta, model)]
        rows.append([fund.symbol, *betas, f"{r2:.4f}", f"{pair.fit[1]:.4f}"])
    return table(["fund", "beta", "model's", "R² on index", "R² on model"], rows)


def spread_table() -> str:
    """Returns how drifts move with the spread, and the spread that would make each zero."""
    rows = []
    for fund in FUNDS:
        drifts = [signed_bp(pairing(fund, spread).drift) for spread in SPREADS]
        rows.append([fund.symbol, *drifts, f"{implied_spread(fund):.2%}"])
    cheaper = msgspec.structs.replace(FUNDS[0], fee=TQQQ_NOW)
    drifts = [signed_bp(pairing(cheaper, spread).drift) for spread in SPREADS]
    rows.append([f"TQQQ at {TQQQ_NOW:.2%}", *drifts, f"{implied_spread(cheaper):.2%}"])
    return table(["drift, bp", *(f"{spread:.2%}" for spread in SPREADS), "zero at"], rows)


def years_table() -> str:
    """Returns the deviation of each fund by groups of years."""
    groups = ((2006, 2007), (2008, 2009), (2010, 2011), (2012, 2019), (2020, 2020), (2021, 2026))
    rows = []
    for fund in FUNDS:
        pair = pairing(fund)
        years = (pair.ends_ms - 1).astype("datetime64[ms]").astype("datetime64[Y]").astype(np.int64) + 1970
        cells = []
        for first, last in groups:
            gaps = pair.gaps[(years >= first) & (years <= last)]
            cells.append(bp(float(gaps.std(ddof=1)), 1) if len(gaps) > 2 else "")
        rows.append([fund.symbol, *cells])
    heads = [f"{first}" if first == last else f"{first}–{last}" for first, last in groups]
    return table(["sd, bp", *heads], rows)


def outlier_table(count: int = 6) -> str:
    """Returns the days with the largest gaps of each fund."""
    rows = []
    for fund in (*FUNDS, BITX):
        pair = pairing(fund)
        moves = pair.underlying[1:] / pair.underlying[:-1] - 1
        for k in pair.worst(count):
            after = signed_bp(float(pair.gaps[k + 1])) if k + 1 < len(pair.gaps) else ""
            real, model = np.expm1(pair.logs[0][k]), np.expm1(pair.logs[1][k])
            figures = [minus(f"{value:+.2%}") for value in (moves[k], real, model)]
            rows.append([f"{fund.symbol} {day(pair.ends_ms[k])}", *figures, signed_bp(float(pair.gaps[k])), after])
    return table(["day", "index", "fund", "model", "gap, bp", "next day's"], rows)


def common_table() -> str:
    """Returns correlations of the funds' gaps, over the days that all three have.

    What is wrong with the close of QQQ pushes the gaps of long funds one way and that of the short one the other.
    """
    pairs = [pairing(fund) for fund in FUNDS]
    shared = np.intersect1d(np.intersect1d(pairs[0].ends_ms, pairs[1].ends_ms), pairs[2].ends_ms)
    found = np.corrcoef([pair.gaps[np.isin(pair.ends_ms, shared)] for pair in pairs])
    names = [fund.symbol for fund in FUNDS]
    rows = [[name, *(minus(f"{value:.2f}") for value in line)] for name, line in zip(names, found, strict=True)]
    return table(["correlation of gaps", *names], rows)


def bitx_table() -> str:
    """Returns what BITX's drift says about its financing: whole, by year, and without its largest gap."""
    whole = pairing(BITX)
    years = (whole.ends_ms - 1).astype("datetime64[ms]").astype("datetime64[Y]").astype(np.int64) + 1970
    worst = int(np.argmax(np.abs(whole.gaps)))
    # The spread enters the drift in proportion to the time covered, so one slope serves every part.
    per_spread = (pairing(BITX, SPREAD + 0.01).drift - whole.drift) / 0.01
    per_year = len(whole.gaps) / whole.years
    parts = {"whole": years > 0, "2024": years == 2024, "2025": years == 2025}
    parts[f"without {day(whole.ends_ms[worst])}"] = np.arange(len(years)) != worst
    rows = []
    for name, chosen in parts.items():
        gaps = whole.gaps[chosen]
        drift = float(gaps.mean()) * per_year
        rows.append([name, signed_bp(drift), f"{SPREAD - drift / per_spread:.1%}", bp(float(gaps.std(ddof=1)), 1)])
    return table(["BITX", f"drift at {SPREAD:.2%}, bp", "implied spread", "sd, bp"], rows)


def report() -> str:
    """Returns all tables on listed funds."""
    return "\n\n".join(
        [main_table(), beta_table(), spread_table(), years_table(), common_table(), outlier_table(), bitx_table()]
    )
