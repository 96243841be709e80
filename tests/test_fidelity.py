"""The engine beside real products: the bounds of docs/fidelity.md, and that the page says what its commands print."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tools.fidelity import etf, ftx, updown
from tools.fidelity.pairing import Pairing, regression

import gearing as gr

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "fidelity.md"
DATA = Path(os.environ.get("GEARING_DATA") or ROOT.parent / "shared" / "data")

with_data = pytest.mark.skipif(
    not (DATA / "etf").is_dir() or not (DATA / "levtok").is_dir(),
    reason="no market data: set GEARING_DATA to the directory that holds it",
)


@with_data
@pytest.mark.parametrize("fund", etf.FUNDS, ids=lambda fund: fund.symbol)
def test_listed_funds_with_one_spread(fund: etf.Fund) -> None:
    pair = etf.pairing(fund)
    assert abs(pair.drift) <= 0.0040
    assert pair.sd <= 0.0030
    assert len(pair.gaps) == {"TQQQ": 4015}.get(fund.symbol, 4932), "the whole common history up to 2026-01-29"


@with_data
@pytest.mark.parametrize("fund", etf.FUNDS, ids=lambda fund: fund.symbol)
def test_the_simulated_fund_is_the_product_of_its_days(fund: etf.Fund) -> None:
    pair = etf.pairing(fund)
    rates = pl.read_parquet(DATA / "etf" / "us_short_rates_1d.parquet").filter(pl.col("series") == "DFF")
    known = dict(zip(rates["date"].dt.epoch("ms").to_list(), (rates["rate_pct"] / 100).to_list(), strict=True))
    nav, day = [100.0], 86_400_000
    for start, end, move in zip(
        pair.times_ms, pair.times_ms[1:], pair.underlying[1:] / pair.underlying[:-1] - 1, strict=False
    ):
        # From one close to the next, all days are financed at the rate of the first close's day.
        days, beta = (end - start) / day, fund.target
        paid = known[int(start) - day] * days / 360
        gain = beta * move + (1 - beta) * paid - etf.SPREAD * abs(beta) * days / 360
        nav.append(nav[-1] * (1 + gain) * (1 - fund.fee * days / 365))
    np.testing.assert_allclose(np.diff(np.log(pair.simulated)), np.diff(np.log(nav)), rtol=0, atol=1e-9)


@with_data
@pytest.mark.parametrize("fund", etf.FUNDS, ids=lambda fund: fund.symbol)
def test_dividends_given_apart_do_what_adjusted_closes_do(fund: etf.Fund) -> None:
    raw, rates = DATA / "etf" / "qqq_ohlcv_dividends_1d.parquet", DATA / "etf" / "us_short_rates_1d.parquet"
    pair = etf.pairing(fund)
    with pytest.warns(gr.DataWarning, match="close is taken, not adj_close, since dividends are given"):
        prices = gr.read_prices(raw, adjusted=False)
    held = gr.Prices(pair.times_ms, prices.close[np.searchsorted(prices.times_ms, pair.times_ms)], symbol="QQQ")
    result = gr.backtest(
        etf.token(fund, etf.SPREAD),
        held,
        rates=gr.read_rates(rates, symbol="DFF"),
        dividends=gr.read_dividends(raw),
    )
    nav = result.nav["nav"].to_numpy()
    assert abs(np.log(nav[-1] / pair.simulated[-1])) / pair.years < 1e-4
    assert np.diff(np.log(nav / pair.simulated)).std() < 1e-4
    parts = result.attribution.log
    assert parts is not None
    assert abs(parts.dividends) > 0.1


@with_data
def test_bitx_and_what_its_financing_is() -> None:
    assert etf.pairing(etf.BITX).sd <= 0.0035
    spread = etf.implied_spread(etf.BITX)
    assert abs(etf.pairing(etf.BITX, spread).drift) < 1e-6
    assert 0.05 < spread < 0.10


@with_data
@pytest.mark.parametrize("listed", ftx.TOKENS, ids=lambda listed: listed.symbol)
def test_tokens_of_ftx(listed: ftx.Listed) -> None:
    pair = ftx.pairing(listed)
    slope, r2 = pair.fit
    assert 0.95 <= slope <= 1.05
    assert r2 >= 0.975
    days = pair.ends_ms - 1
    assert len(days) == {"ETH": 296, "LTC": 245}[listed.coin], "3 + 10 days of 309 are left out, of 245 none"


@with_data
def test_a_day_of_ftx_closes_at_its_end() -> None:
    for listed in ftx.TOKENS:
        fits = {shift: ftx.pairing(listed, shift).fit[1] for shift in (-1, 0, 1)}
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


def test_a_pairing_of_known_gaps() -> None:
    gaps = np.array([0.01, -0.01, 0.02, 0.0])
    simulated = 100 * np.exp(np.cumsum([0, 0.1, -0.2, 0.3, -0.1]))
    real = simulated * np.exp(np.cumsum([0, *gaps]))
    times = np.arange(5, dtype=np.int64) * 86_400_000
    pair = Pairing("X", times, real, simulated, simulated)
    np.testing.assert_allclose(pair.gaps, gaps, atol=1e-15)
    assert pair.drift == pytest.approx(0.02 / 4 * 365.25)
    assert pair.sd == pytest.approx(np.std(gaps, ddof=1))
    assert pair.worst(2) in ([0, 2], [1, 2])
    kept = Pairing("X", times, real, simulated, simulated, np.array([True, True, False, True, True]))
    assert kept.drift == pytest.approx(0.03 / 3 * 365.25)
    assert regression(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0])) == pytest.approx((2.0, 1.0))
