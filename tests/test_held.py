"""A perpetual held yourself and the ideal, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

import gearing as gr
from gearing.study.held import MAINTENANCE_RATE, held
from gearing.study.ideal import ideal
from tests import reference

HOUR = 3_600_000
COSTS = gr.Costs(taker_fee=0.0005, half_spread=0.0002, liquidation_fee=0.001)


def market(seed, n=2_000, drift=0.0):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(drift, 0.01, n)))
    opened = np.concatenate([[100.0], close[:-1]])
    wick = np.exp(np.abs(rng.normal(0, 0.006, n)))
    times = reference.START_MS + HOUR * np.arange(n)
    prices = gr.Prices(
        times_ms=times, close=close, open=opened, low=np.minimum(opened, close) / wick,
        high=np.maximum(opened, close) * wick,
    )  # fmt: skip
    due = times[8::8]
    return prices, gr.Funding(times_ms=due, rates=rng.normal(1e-4, 2e-4, len(due)))


def plain(prices, funding, beta, rate=MAINTENANCE_RATE, equity=100.0):
    """One position, bar by bar: cash after the opening, funding, and the venue's close on the bar's extreme."""
    rates = dict(zip(funding.times_ms.tolist(), funding.rates.tolist(), strict=True))
    price = float(prices.close[0])
    q = beta * equity / price
    spread = abs(q) * price * COSTS.half_spread
    paid = price * (1 + COSTS.half_spread * (1 if q > 0 else -1))
    cash = equity - spread - abs(q) * paid * COSTS.taker_fee - q * price
    for k in range(1, len(prices)):
        extreme = float(prices.low[k] if q > 0 else prices.high[k])
        if cash + q * extreme <= rate * abs(q) * extreme:
            # Where cash + q·p equals rate·|q|·p; a gap opens beyond it.
            stop = -cash / (q - rate * abs(q))
            stop = min(stop, float(prices.open[k])) if q > 0 else max(stop, float(prices.open[k]))
            left = cash + q * stop - abs(q) * stop * (COSTS.taker_fee + COSTS.liquidation_fee)
            return max(left, 0.0), int(prices.times_ms[k])
        price = float(prices.close[k])
        cash -= q * price * rates.get(int(prices.times_ms[k]), 0.0)
    return cash + q * price, None


@pytest.mark.parametrize("beta", [1.0, 3.0, 8.0, -1.0, -3.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_held_perpetual_is_one_position_and_its_funding(beta, seed):
    prices, funding = market(seed)
    token = gr.Token(symbol="T", target=beta, rule="ftx", fees=gr.Fees(management_per_day=0.001))
    found = held(gr.backtest(token, prices, funding=funding, costs=COSTS))
    left, when = plain(prices, funding, beta)
    assert found.result.summary().final_nav == pytest.approx(left, rel=1e-9)
    stamp = None if when is None else f"{np.datetime64(when, 'ms').astype('datetime64[s]')}Z"
    assert found.liquidated_at == stamp
    assert found.assumed_rate == MAINTENANCE_RATE


def test_some_of_these_were_liquidated_and_some_were_not():
    fates = [plain(*market(seed), beta)[1] is None for seed in range(4) for beta in (1.0, 3.0, 8.0, -3.0)]
    assert any(fates)
    assert not all(fates)


def test_the_tokens_own_tiers_go_before_the_assumption():
    prices, funding = market(1, drift=-0.001)
    leg = gr.Perpetual(margin_tiers=(gr.MarginTier(rate=0.05),))
    found = held(gr.backtest(gr.Token(symbol="T", target=3.0, legs=(leg,)), prices, funding=funding, costs=COSTS))
    assert found.assumed_rate is None
    assert found.result.summary().final_nav == pytest.approx(plain(prices, funding, 3.0, rate=0.05)[0], rel=1e-9)


def test_beside_an_all_in_token_the_holder_pays_what_trading_costs():
    prices, funding = market(2)
    token = gr.Token(symbol="T", target=2.0, fees=gr.Fees(management_per_day=0.001, all_in=True), costs=COSTS)
    found = held(gr.backtest(token, prices, funding=funding))
    assert found.result.summary().final_nav == pytest.approx(plain(prices, funding, 2.0)[0], rel=1e-9)


def test_the_ideal_is_a_product_of_daily_returns():
    prices, _ = market(5, n=24 * 20 + 7)
    found = ideal(prices, 3.0, 100.0)
    last, nav = float(prices.close[0]), 100.0
    for time, price in zip(prices.times_ms.tolist(), prices.close.tolist(), strict=True):
        if time % (24 * HOUR) == 0 or time == prices.times_ms[-1]:
            nav *= 1 + 3 * (price / last - 1)
            last = price
    assert found.nav[-1] == pytest.approx(nav)
    assert (found.nav[0], found.wiped_out_bar) == (100.0, -1)


def test_a_cost_free_daily_token_is_its_ideal():
    path = 100 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.03, 50)))
    prices = gr.Prices(times_ms=reference.START_MS + 24 * HOUR * np.arange(50), close=path)
    rule = gr.Rule(schedule=(gr.Schedule(times=("00:00",)),))
    result = gr.backtest(gr.Token(symbol="T", target=-2.0, rule=rule), prices)
    assert result.nav["nav"].to_numpy() == pytest.approx(ideal(prices, -2.0, 100.0).nav)


def test_the_ideal_is_worth_nothing_from_the_day_that_took_everything():
    prices = gr.Prices(
        times_ms=reference.START_MS + 24 * HOUR * np.arange(4), close=np.array([100.0, 50.0, 55.0, 55.0])
    )
    found = ideal(prices, 3.0, 100.0)
    assert found.wiped_out_bar == 1
    assert found.nav.tolist() == [100.0, 0.0, 0.0, 0.0]
    summary = gr.backtest(gr.Token(symbol="T", target=3.0, rule=gr.Rule()), prices).summary()
    assert summary.ideal_wiped_out_at == "2023-01-02T00:00:00Z"
