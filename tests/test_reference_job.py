"""The reference job, to the digit."""

from __future__ import annotations

import numpy as np
import pytest

import gearing as gr
from tests import reference


def test_the_path_is_the_one_described():
    path = reference.path()
    assert (path[0], path[1], path[-1], path.min(), path.max()) == (40000.0, 40040.59, 48941.6, 21113.51, 55009.88)


@pytest.mark.parametrize(("target", "with_band"), list(reference.FIGURES))
def test_final_equity_rebalances_and_turnover(target, with_band):
    prices, funding = reference.market()
    result = gr.backtest(reference.token(target, with_band), prices, funding=funding)
    equity, rebalances, turnover = reference.FIGURES[target, with_band]
    summary = result.summary()
    assert result.nav["equity"][-1] == pytest.approx(equity, rel=1e-11)
    assert summary.final_nav == pytest.approx(equity / 10_000, rel=1e-11)
    assert (summary.rebalances, len(result.rebalances)) == (rebalances, rebalances)
    assert summary.turnover == pytest.approx(turnover, rel=1e-11)


@pytest.mark.parametrize(("target", "with_band"), list(reference.FIGURES))
def test_figures_follow_from_the_path(target, with_band):
    """Each summary figure against its definition, worked out from the per-bar frame alone."""
    prices, funding = reference.market()
    result = gr.backtest(reference.token(target, with_band), prices, funding=funding)
    summary, nav = result.summary(), result.nav["nav"].to_numpy()
    with_start = np.concatenate([[100.0], nav])
    assert -summary.max_drawdown == pytest.approx(np.max(1 - with_start / np.maximum.accumulate(with_start)), rel=1e-9)
    ends = np.arange(0, reference.N, 1440)
    daily = nav[ends][1:] / nav[ends][:-1] - 1
    under = prices.close[ends][1:] / prices.close[ends][:-1] - 1
    off = np.log1p(daily) - np.log(1 + target * under)
    assert summary.volatility == pytest.approx(daily.std(ddof=1) * np.sqrt(365), rel=1e-9)
    assert summary.sharpe == pytest.approx(daily.mean() / daily.std(ddof=1) * np.sqrt(365), rel=1e-9)
    assert summary.worst_day == pytest.approx(daily.min(), rel=1e-9)
    assert summary.tracking_error == pytest.approx(off.std(ddof=1) * np.sqrt(365), rel=1e-8)
    assert summary.tracking_difference == pytest.approx(off.mean() * 365, rel=1e-8)
    assert summary.cagr == pytest.approx((nav[-1] / 100) ** (reference.N / (reference.N - 1)) - 1, rel=1e-9)
    assert result.returns("1d")["return"].to_numpy() == pytest.approx(daily, rel=1e-9)
    position = result.nav["exposure"].to_numpy() / prices.close
    # The trade of a bar comes after its leverage is taken, so the bar before tells the position.
    before = result.rebalances["leverage_before"].to_numpy()[1:]
    sleeping = np.ones(reference.N, dtype=bool)
    sleeping[np.searchsorted(prices.times_ms, result.events["time"].dt.epoch("ms").to_numpy())] = False
    awake = np.abs(result.events["leverage_before"].to_numpy()[1:])
    asleep = np.abs(position * prices.close / result.nav["equity"].to_numpy())[sleeping]
    assert summary.max_leverage == pytest.approx(max(asleep.max(), awake.max()), rel=1e-9)
    assert summary.min_leverage == pytest.approx(min(asleep.min(), awake.min()), rel=1e-9)
    assert summary.max_leverage >= np.abs(before).max()


def test_a_daily_token_without_costs_compounds_exactly():
    """N_T/N_0 = Π(1 + β·r_t), formula of daily compounding."""
    prices, _ = reference.market()
    for target in (-3.0, -1.0, 0.5, 1.0, 2.0, 3.0):
        token = gr.Token(symbol="T", target=target, rule=gr.Rule(schedule=(gr.Schedule(times=("00:00",)),)))
        daily = prices.close[np.append(np.arange(0, reference.N, 1440), reference.N - 1)]
        expected = np.prod(1 + target * (daily[1:] / daily[:-1] - 1))
        assert gr.backtest(token, prices).summary().final_nav / 100 == pytest.approx(expected, rel=1e-11)
