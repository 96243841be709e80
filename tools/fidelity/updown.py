"""Binance's ETHUP and ETHDOWN: what leverage they really had, and the band that explains it best."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

import gearing as gr
from gearing.market.series import Floats, Times
from tools.fidelity.data import DAY_MS, HOUR_MS, closes, perpetual
from tools.fidelity.text import bp, gaps_of, table

TOKENS = (("ETHUPUSDT", 1), ("ETHDOWNUSDT", -1))

# ETHDOWN's units were merged while its market stood still, from 03:00 on 8 July 2021.
MERGED_MS = int(np.datetime64("2021-07-08T03:00", "ms").astype(np.int64))
MERGED_FACTOR = 100_000.0

# Market prices left NAV by a factor of 2 to 5 after 2021-05-19; no rule explains them.
LEFT_OUT = ("2021-05-18", "2021-05-27")

_QUOTES = "levtok/binance_updown_1h.parquet"
_FROM, _UNTIL = "2021-04-02T16:00", "2023-12-28T15:00:01"

LOWERS = (1.25, 1.5, 1.625, 1.75, 1.875, 2.0, 2.125, 2.25)
UPPERS = (2.25, 2.5, 2.75, 3.0, 3.5, 4.0)
CONSTANTS = (1.75, 2.0, 2.25, 2.5, 2.75)


@lru_cache(maxsize=2)
def market() -> tuple[gr.Prices, gr.Funding]:
    """Returns the hourly ETH perpetual and its funding over the tokens' life.

    Raises:
        DataError: the data is not there.
    """
    return perpetual("ETHUSDT", _FROM, _UNTIL)


@lru_cache(maxsize=2)
def quotes(symbol: str) -> tuple[Times, Floats, Floats]:
    """Returns ends of hours (ms UTC), a token's closes in today's units, and the perpetual's closes.

    Args:
        symbol: "ETHUPUSDT" or "ETHDOWNUSDT".

    Raises:
        DataError: the data is not there.
    """
    times, real = closes(_QUOTES, symbol, HOUR_MS)
    if symbol == "ETHDOWNUSDT":
        real[times <= MERGED_MS] *= MERGED_FACTOR
    prices, _ = market()
    return times, real, prices.close[_bars(times)]


def _bars(times: Times) -> NDArray[np.intp]:
    return np.searchsorted(market()[0].times_ms, times, side="right") - 1


def rolling_beta(symbol: str, hours: int) -> tuple[Times, Floats]:
    """Returns the ends of windows (ms UTC) and, in each, beta of hourly simple returns on the perpetual's.

    Args:
        symbol: of the token.
        hours: length of a window, in bars of an hour.
    """
    times, real, price = quotes(symbol)
    windows = np.lib.stride_tricks.sliding_window_view
    x = windows(price[1:] / price[:-1] - 1, hours)
    y = windows(real[1:] / real[:-1] - 1, hours)
    dx = x - x.mean(axis=1, keepdims=True)
    return times[hours:], (dx * y).sum(axis=1) / (dx * dx).sum(axis=1)


def tracked(symbol: str, rule: gr.Rule, opening: float) -> gr.Track:
    """Returns a token's daily closes (00:00 UTC) against a rule's NAV with Binance's fee.

    Args:
        symbol: of the token.
        rule: without a target of its own.
        opening: |ℓ| at which the simulation opens, and which a clock returns to.
    """
    sign = dict(TOKENS)[symbol]
    times, real, _ = quotes(symbol)
    prices, funding = market()
    fees = gr.presets.fees("binance-blvt")
    result = gr.backtest(gr.Token(symbol=symbol, target=sign * opening, rule=rule, fees=fees), prices, funding=funding)
    ends = times % DAY_MS == 0
    first, last = (int(np.datetime64(date, "ms").astype(np.int64)) for date in LEFT_OUT)
    product = gr.Prices(times[ends], real[ends], symbol=symbol)
    return gr.track(product, result, leave_out=[(first, last + DAY_MS)])


def miss(found: gr.Track) -> float:
    """Returns the mean absolute gap of daily log returns: robust where market prices leave NAV for a day."""
    return float(np.abs(gaps_of(found)).mean())


def band(lower: float, upper: float, reentry: float | None) -> gr.Rule:
    """Returns a rule with a band and nothing else; without a re-entry level it trades to the edge."""
    if reentry is None:
        return gr.Rule(name="band", band_lower=lower, band_upper=upper, aim="edge")
    return gr.Rule(name="band", band_lower=lower, band_upper=upper, aim="reentry", reentry_level=reentry)


class Fit:
    """A rule, what it is called, and how near it comes.

    Args:
        name: for tables.
        found: the token against the rule.
    """

    def __init__(self, name: str, found: gr.Track) -> None:
        self.name, self.found, self.miss = name, found, miss(found)

    def row(self, token: str) -> list[str]:
        """Returns the cells of its row."""
        found = self.found
        fit = [f"{found.slope:.2f}", f"{found.r_squared:.3f}"]
        return [f"{token}: {self.name}", bp(self.miss), bp(found.deviation), *fit]


def fit_band(symbol: str, lower: float, upper: float) -> Fit:
    """Returns the best aim within a band: its edge, or a re-entry level in steps of an eighth."""
    fits = [Fit(f"{lower:g}–{upper:g}, to its edge", tracked(symbol, band(lower, upper, None), (lower + upper) / 2))]
    for level in np.arange(lower, upper + 1e-9, 0.125):
        reentry = float(level)
        fits.append(Fit(f"{lower:g}–{upper:g}, to {reentry:g}", tracked(symbol, band(lower, upper, reentry), reentry)))
    return min(fits, key=lambda fit: fit.miss)


@lru_cache(maxsize=2)
def best_band(symbol: str) -> Fit:
    """Returns the band of the whole grid, with its aim, that comes nearest to a token."""
    pairs = [(lower, upper) for lower in LOWERS for upper in UPPERS if lower < upper]
    return min((fit_band(symbol, *pair) for pair in pairs), key=lambda fit: fit.miss)


def best_constant(symbol: str) -> Fit:
    """Returns the constant leverage, restored daily, that comes nearest to a token."""
    clock = gr.Rule(schedule=(gr.Schedule(times=("00:00",)),))
    fits = [Fit(f"{level:g} restored daily", tracked(symbol, clock, level)) for level in CONSTANTS]
    return min(fits, key=lambda fit: fit.miss)


def beta_table() -> str:
    """Returns percentiles of rolling beta, and the share within each published band."""
    rows = []
    for symbol, sign in TOKENS:
        for hours, name in ((24, "24 h"), (168, "7 d")):
            size = rolling_beta(symbol, hours)[1] * sign
            shares = [f"{np.mean((size >= low) & (size <= high)):.1%}" for low, high in ((1.25, 4.0), (1.5, 3.0))]
            cells = [f"{value:.2f}" for value in np.percentile(size, [1, 5, 25, 50, 75, 95, 99])]
            rows.append([f"{symbol.removesuffix('USDT')}, {name}", *cells, *shares])
    return table(["size of beta", "1 %", "5 %", "25 %", "50 %", "75 %", "95 %", "99 %", "in 1.25–4", "in 1.5–3"], rows)


def pinned_table() -> str:
    """Returns the quarters' medians of 7-day beta, in which stretches at an edge can be seen."""
    heads: list[str] = []
    rows = []
    for symbol, sign in TOKENS:
        times, beta = rolling_beta(symbol, 168)
        month = times.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
        quarter = month // 3
        heads = [f"{1970 + q // 4} Q{q % 4 + 1}" for q in np.unique(quarter).tolist()]
        medians = [f"{np.median(beta[quarter == q]) * sign:.2f}" for q in np.unique(quarter)]
        rows.append((symbol.removesuffix("USDT"), medians))
    return table(
        ["quarter", *(name for name, _ in rows)],
        [list(cells) for cells in zip(heads, *(m for _, m in rows), strict=True)],
    )


def band_table() -> str:
    """Returns how near the published bands come, with the best aim each, and the best of the grid."""
    rows = []
    for symbol, _ in TOKENS:
        name = symbol.removesuffix("USDT")
        preset = gr.presets.preset("binance-blvt", target=2.25)
        edges = band(preset.band_lower or 0.0, preset.band_upper or 0.0, None)
        fits = [
            Fit("preset binance-blvt", tracked(symbol, edges, 2.25)),
            Fit("1.25–4, to its edge", tracked(symbol, band(1.25, 4.0, None), 2.625)),
            Fit("1.25–4, to its middle", tracked(symbol, band(1.25, 4.0, 2.625), 2.625)),
            fit_band(symbol, 1.25, 4.0),
            fit_band(symbol, 1.5, 3.0),
            best_band(symbol),
            best_constant(symbol),
        ]
        rows += [fit.row(name) for fit in fits]
    return table(["rule", "miss, bp/day", "sd, bp", "slope", "R²"], rows)


def report() -> str:
    """Returns all tables on ETHUP and ETHDOWN."""
    return "\n\n".join([beta_table(), pinned_table(), band_table()])
