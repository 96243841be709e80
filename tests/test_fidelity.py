"""The engine beside real products: the bounds of docs/fidelity.md, and that the page says what its commands print."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tools.fidelity import etf, ftx, updown

import gearing as gr

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "fidelity.md"
DATA = Path(os.environ.get("GEARING_DATA") or ROOT.parent / "shared" / "data")

with_data = pytest.mark.skipif(
    not (DATA / "etf").is_dir() or not (DATA / "levtok").is_dir(),
    reason="no market data: set GEARING_DATA to the directory that holds it",
)


def columns(found: gr.Track) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (ms UTC), prices of the underlying and NAVs of the simulation."""
    frame = found.frame
    return frame["time"].dt.epoch("ms").to_numpy(), frame["underlying"].to_numpy(), frame["simulated"].to_numpy()


@with_data
@pytest.mark.parametrize("fund", etf.FUNDS, ids=lambda fund: fund.symbol)
def test_listed_funds_with_one_spread(fund: etf.Fund) -> None:
    found = etf.tracked(fund)
    assert abs(found.drift) <= 0.0040
    assert found.deviation <= 0.0030
    assert found.changes == {"TQQQ": 4015}.get(fund.symbol, 4932), "the whole common history up to 2026-01-29"


@with_data
@pytest.mark.parametrize("fund", etf.FUNDS, ids=lambda fund: fund.symbol)
def test_the_simulated_fund_is_the_product_of_its_days(fund: etf.Fund) -> None:
    times, underlying, simulated = columns(etf.tracked(fund))
    rates = pl.read_parquet(DATA / "etf" / "us_short_rates_1d.parquet").filter(pl.col("series") == "DFF")
    known = dict(zip(rates["date"].dt.epoch("ms").to_list(), (rates["rate_pct"] / 100).to_list(), strict=True))
    nav, day = [100.0], 86_400_000
    for start, end, move in zip(times, times[1:], underlying[1:] / underlying[:-1] - 1, strict=False):
        # From one close to the next, all days are financed at the rate of the first close's day.
        days, beta = (end - start) / day, fund.target
        paid = known[int(start) - day] * days / 360
        gain = beta * move + (1 - beta) * paid - etf.SPREAD * abs(beta) * days / 360
        nav.append(nav[-1] * (1 + gain) * (1 - fund.fee * days / 365))
    np.testing.assert_allclose(np.diff(np.log(simulated)), np.diff(np.log(nav)), rtol=0, atol=1e-9)


@with_data
@pytest.mark.parametrize("fund", etf.FUNDS, ids=lambda fund: fund.symbol)
def test_dividends_given_apart_do_what_adjusted_closes_do(fund: etf.Fund) -> None:
    raw, rates = DATA / "etf" / "qqq_ohlcv_dividends_1d.parquet", DATA / "etf" / "us_short_rates_1d.parquet"
    times, _, simulated = columns(etf.tracked(fund))
    with pytest.warns(gr.DataWarning, match="close is taken, not adj_close"):
        prices = gr.read_prices(raw, adjusted=False)
    held = gr.Prices(times, prices.close[np.searchsorted(prices.times_ms, times)], symbol="QQQ")
    result = gr.backtest(
        etf.token(fund, etf.SPREAD),
        held,
        rates=gr.read_rates(rates, symbol="DFF"),
        dividends=gr.read_dividends(raw),
    )
    nav = result.nav["nav"].to_numpy()
    years = (times[-1] - times[0]) / (365.25 * 86_400_000)
    assert abs(np.log(nav[-1] / simulated[-1])) / years < 1e-4
    assert np.diff(np.log(nav / simulated)).std() < 1e-4
    parts = result.attribution.log
    assert parts is not None
    assert abs(parts.dividends) > 0.1


@with_data
def test_bitx_and_what_its_financing_is() -> None:
    assert etf.tracked(etf.BITX).deviation <= 0.0035
    spread = etf.implied_spread(etf.BITX)
    assert abs(etf.tracked(etf.BITX, spread).drift) < 5e-5, "without its spread the drift is -0.14"
    assert 0.05 < spread < 0.10


@with_data
@pytest.mark.parametrize("listed", ftx.TOKENS, ids=lambda listed: listed.symbol)
def test_tokens_of_ftx(listed: ftx.Listed) -> None:
    found = ftx.tracked(listed)
    assert 0.95 <= found.slope <= 1.05
    assert found.r_squared >= 0.975
    assert found.changes == {"ETH": 296, "LTC": 245}[listed.coin], "3 + 10 days of 309 are left out, of 245 none"


@with_data
def test_a_day_of_ftx_closes_at_its_end() -> None:
    for listed in ftx.TOKENS:
        fits = {shift: ftx.tracked(listed, shift).r_squared for shift in (-1, 0, 1)}
        assert fits[0] > max(fits[-1], fits[1]) + 0.05
    assert ftx.four_hour_fit(4)[1] > max(ftx.four_hour_fit(3)[1], ftx.four_hour_fit(5)[1]) + 0.3


@with_data
@pytest.mark.parametrize(("symbol", "sign"), updown.TOKENS)
def test_real_leverage_of_up_and_down_stays_in_the_published_band(symbol: str, sign: int) -> None:
    times, beta = updown.rolling_beta(symbol, 24)
    _, real, price = updown.quotes(symbol)
    k = 5_000
    x, y = price[k : k + 25], real[k : k + 25]
    assert beta[k] == pytest.approx(np.polyfit(x[1:] / x[:-1] - 1, y[1:] / y[:-1] - 1, 1)[0])
    assert len(times) == len(beta)
    assert np.mean((beta * sign >= 1.25) & (beta * sign <= 4.0)) > 0.99
    first, later = updown.fit_band(symbol, 1.5, 3.0), updown.fit_band(symbol, 1.25, 4.0)
    assert first.miss < later.miss
    assert updown.best_band(symbol).miss <= first.miss


@with_data
@pytest.mark.parametrize("part", [etf, ftx, updown], ids=["etf", "ftx", "updown"])
def test_the_page_shows_what_the_command_prints(part: object) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for text in part.report().split("\n\n"):  # type: ignore[attr-defined]
        assert text in page
