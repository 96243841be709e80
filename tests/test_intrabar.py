"""Triggers inside a bar: against a plain walk, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearing as gr
from tests import reference
from tests.intrabar import Inside
from tests.strategies import examples

HOUR = 3_600_000

RULES = [
    gr.Rule(band_lower=2.0, band_upper=4.0),
    gr.Rule(band_lower=2.0, band_upper=4.0, aim="edge"),
    gr.Rule(band_lower=1.5, band_upper=5.0, aim="reentry", reentry_level=3.0),
    gr.Rule(band_upper=4.0, side="reduce"),
    gr.Rule(move_against=0.05, move_favour=0.08),
    gr.Rule(schedule=(gr.Schedule(times=("00:00", "08:00")),), deviation=0.2),
    gr.Rule(schedule=(gr.Schedule(every="5h"),), band_upper=3.8),
    gr.Rule(band_lower=2.5, band_upper=3.5, ripcord=6.0, pace=gr.Pace(largest=200_000.0, interval="2h")),
]


@st.composite
def ranged(draw):
    """Bars whose open is the close before or a gap, with a range around both."""
    n = draw(st.integers(2, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    close = 100 * np.exp(np.cumsum(rng.standard_normal(n) * draw(st.sampled_from([0.01, 0.04, 0.1]))))
    gaps = np.where(rng.random(n) < draw(st.sampled_from([0.0, 0.2])), rng.normal(0, 0.05, n), 0.0)
    opened = np.append(close[:1], close[:-1]) * np.exp(gaps)
    wick = rng.exponential(draw(st.sampled_from([0.005, 0.03, 0.1])), (2, n))
    low, high = np.minimum(opened, close) * np.exp(-wick[0]), np.maximum(opened, close) * np.exp(wick[1])
    times = reference.START_MS + HOUR * np.arange(n)
    return gr.Prices(times, close, open=opened, low=low, high=high, volume=rng.random(n) * 1e5 + 1)


def inside(token, prices, equity=1e6):
    bars = {name: getattr(prices, name).tolist() for name in ("open", "low", "high", "volume")}
    costs = type(token.costs)() if token.fees.all_in else token.costs
    loop = Inside(token, prices.times_ms.tolist(), prices.close.tolist(), [], costs, equity, bars, HOUR)
    loop.trade(0, token.target, False, "opening")
    loop.out.nav.append(loop.E)
    for i in range(1, len(prices)):
        if loop.E > 0:
            loop.bar(i)
        loop.out.nav.append(loop.E)
    return loop.out


@examples(6)
@given(ranged(), st.sampled_from(RULES), st.sampled_from([3.0, -3.0]), st.sampled_from([0.0, 0.001]))
def test_the_kernel_equals_the_plain_walk(prices, rule, target, cost):
    token = gr.Token(symbol="T", target=target, rule=rule, costs=gr.Costs(taker_fee=cost, half_spread=cost / 2))
    truth = inside(token, prices)
    result = gr.backtest(token, prices, intrabar="worst")
    assert result.summary().wiped_out == truth.wiped_out
    assert result.summary().rebalances == len(truth.rebalances)
    # Where a level is met exactly two derivations differ by the width of a touch, once for each act.
    loose = 1e-7 * (1 + len(truth.rebalances))
    assert result.nav["equity"].to_numpy() == pytest.approx(np.array(truth.nav), rel=loose, abs=1e-3)
    assert result.nav["equity"][-1] == pytest.approx(
        result.attribution.money.total * result.units + 1e6, rel=1e-9, abs=1e-3
    )


def bar(low, high, close, opened=100.0):
    times = reference.START_MS + HOUR * np.arange(2)
    return gr.Prices(times, np.array([100.0, close]), open=np.array([100.0, opened]), low=np.array([100.0, low]),
                     high=np.array([100.0, high]))  # fmt: skip


def test_a_trigger_acts_at_its_level_and_the_adverse_side_comes_first():
    # Three times long: 300 of exposure on 100. Leverage is 4 where 3p/(3p − 200) = 4, at p = 800/9.
    token = gr.Token(symbol="T", target=3.0, rule=gr.Rule(band_upper=4.0), costs=gr.Costs())
    prices = bar(low=85.0, high=101.0, close=100.0)
    assert gr.backtest(token, prices).rebalances["reason"].to_list() == ["opening"]
    acted = gr.backtest(token, prices, intrabar="worst")
    assert acted.rebalances["price"].to_list() == pytest.approx([100.0, 800 / 9], rel=1e-6)
    nav = 100 + 3 * (800 / 9 - 100)
    assert acted.nav["nav"][-1] == pytest.approx(nav * (1 + 3 * (100 / (800 / 9) - 1)), rel=1e-6)
    short = gr.Token(symbol="T", target=-3.0, rule=gr.Rule(band_upper=4.0), costs=gr.Costs())
    high = gr.backtest(short, bar(low=99.0, high=110.0, close=100.0), intrabar="worst")
    assert high.rebalances["price"][1] == pytest.approx(400 / 3 * 4 / 5, rel=1e-6)


def test_where_a_bar_opens_beyond_the_level_it_acts_at_the_open():
    token = gr.Token(symbol="T", target=3.0, rule=gr.Rule(band_upper=4.0), costs=gr.Costs())
    acted = gr.backtest(token, bar(low=84.0, high=101.0, close=100.0, opened=86.0), intrabar="worst")
    assert acted.rebalances["price"].to_list() == [100.0, 86.0]


def test_a_low_that_takes_everything_wipes_out_though_the_close_does_not():
    token = gr.Token(symbol="T", target=3.0, rule=gr.Rule(), costs=gr.Costs())
    prices = bar(low=60.0, high=101.0, close=99.0)
    assert not gr.backtest(token, prices).summary().wiped_out
    assert gr.backtest(token, prices, intrabar="worst").summary().wiped_out


def test_the_venue_comes_where_its_price_is_met_before_the_rule_acts():
    leg = gr.Perpetual(symbol="", margin_tiers=(gr.MarginTier(rate=0.3),))
    token = gr.Token(symbol="T", target=3.0, rule=gr.Rule(band_upper=4.0), legs=(leg,), costs=gr.Costs())
    # Maintenance of 30 % of 300·p/100 is all equity at p = 200/2.1, before the band at 800/9.
    result = gr.backtest(token, bar(low=85.0, high=101.0, close=100.0), intrabar="worst")
    assert result.summary().liquidations == 1
    assert result.nav["nav"][-1] == pytest.approx(100 + 3 * (200 / 2.1 - 100), rel=1e-6)


def test_what_it_does_not_know_is_refused():
    token = gr.Token(symbol="T", target=3.0, rule=gr.Rule(band_upper=4.0))
    times = reference.START_MS + HOUR * np.arange(3)
    with pytest.raises(gr.InputError, match="needs the low and high of each bar"):
        gr.backtest(token, (times, [1.0, 1.1, 1.2]), intrabar="worst")
    with pytest.raises(gr.InputError, match="intrabar is 'best'"):
        gr.backtest(token, (times, [1.0, 1.1, 1.2]), intrabar="best")
    legs = tuple(gr.Perpetual(symbol=name, weight=0.5) for name in "AB")
    basket = gr.Token(symbol="T", target=3.0, rule=gr.Rule(band_upper=4.0), legs=legs)
    with pytest.raises(gr.InputError, match="more than one perpetual"):
        gr.backtest(basket, {name: bar(99.0, 101.0, 100.0) for name in "AB"}, intrabar="worst")


def test_compare_and_sweep_say_the_same():
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 300)))
    opened = np.append(close[:1], close[:-1])
    prices = gr.Prices(reference.START_MS + HOUR * np.arange(300), close, open=opened,
                       low=np.minimum(opened, close) * 0.97, high=np.maximum(opened, close) * 1.03)  # fmt: skip
    token = gr.Token(symbol="T", target=3.0, rule=gr.Rule(band_upper=4.0, band_lower=2.0))
    alone = gr.backtest(token, prices, intrabar="worst")
    assert alone.intrabar == "worst"
    assert alone.summary().final_nav != gr.backtest(token, prices).summary().final_nav
    assert gr.compare([token], prices, intrabar="worst").results[0].summary() == alone.summary()
    swept = gr.sweep(token, {"target": [3.0]}, prices, intrabar="worst").frame
    assert swept["final_nav"][0] == alone.summary().final_nav
