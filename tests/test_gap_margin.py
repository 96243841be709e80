"""The move to liquidation in a gap budget, against brackets summed leg by leg and against what the engine does."""

from __future__ import annotations

import numpy as np
import pytest

import gearing as gr
from gearing.errors import DataWarning
from gearing.study.gap_margin import margin_of, move_to_zero

TIERS = (gr.MarginTier(notional_max=1e6, rate=0.01), gr.MarginTier(rate=0.05, amount=40_000))
OTHERS = (gr.MarginTier(notional_max=5e5, rate=0.02), gr.MarginTier(rate=0.1, amount=40_000))


def basket(*legs):
    return gr.Token(symbol="T", target=3.0, rule="daily-etf", legs=legs)


def margin_at(legs, notional, rate):
    """The margin of a net notional, leg by leg: the least bracket that holds it."""
    total = 0.0
    for leg in legs:
        held = abs(leg.weight) * notional
        tiers = leg.margin_tiers or (gr.MarginTier(rate=rate),)
        tier = next(t for t in tiers if held <= t.notional_max)
        total += tier.rate * held - tier.amount
    return total


@pytest.mark.parametrize("equity", [1e4, 3e5, 1e6, 2e7])
@pytest.mark.parametrize("leverage", [3.0, 1.5, -2.0, -4.0])
@pytest.mark.parametrize("weights", [(0.6, 0.4), (1.5, -0.5)])
def test_legs_share_their_margin(equity, leverage, weights):
    legs = [
        gr.Perpetual(symbol="A", weight=weights[0], margin_tiers=TIERS),
        gr.Perpetual(symbol="B", weight=weights[1], margin_tiers=OTHERS),
    ]
    move = margin_of(basket(*legs), 0.004, equity).move_from(leverage)
    assert move is not None
    left = equity * (1 + leverage * move)
    held = abs(leverage) * equity * (1 + move)
    assert left == pytest.approx(margin_at(legs, held, 0.004), rel=1e-9, abs=1e-6)


def test_a_leg_without_tiers_takes_the_rate_and_one_without_a_venue_takes_none():
    perpetual, swap = gr.Perpetual(symbol="A", weight=0.5), gr.TotalReturnSwap(symbol="B", weight=0.5)
    half = margin_of(basket(perpetual, swap), 0.02, 1e6).move_from(3.0)
    whole = margin_of(gr.Token(symbol="T", target=3.0, rule="daily-etf"), 0.01, 1e6).move_from(3.0)
    assert half == pytest.approx(whole)
    alone = margin_of(gr.Token(symbol="T", target=3.0, rule="daily-etf", legs=(gr.Spot(),)), 0.01, 1e6)
    assert alone.move_from(3.0) == move_to_zero(3.0)


@pytest.mark.parametrize(("target", "way"), [(3.0, -1), (2.0, -1), (-1.0, 1), (-3.0, 1)])
@pytest.mark.parametrize("equity", [1e5, 3e6])
def test_an_inverse_leg_is_liquidated_where_the_engine_does_it(target, way, equity):
    leg = gr.Perpetual(symbol="X", inverse=True, underlying="BTC", margin_tiers=TIERS)
    token = gr.Token(symbol="T", target=target, rule=gr.Rule(), legs=(leg,), settlement="USD")
    move = margin_of(token, 0.004, equity).move_from(target)
    # One bar away from the opening, the low or high just reaches the price, or just does not.
    for beyond, count in ((1e-6, 1), (-1e-6, 0)):
        price = 100 * (1 + move * (1 + beyond))
        low, high = (price, 100.0) if way < 0 else (100.0, price)
        bars = gr.Prices(
            np.array([0, 3_600_000]), np.array([100.0, 100.0]), low=np.array([100.0, low]), high=np.array([100.0, high])
        )
        assert gr.backtest(token, bars, equity=equity).summary().liquidations == count


def test_a_basket_needs_the_prices_of_its_legs():
    legs = (gr.Perpetual(symbol="A", weight=0.5), gr.Perpetual(symbol="B", weight=0.5))
    times = np.arange(50) * 3_600_000
    walk = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 50)))
    with pytest.raises(gr.DataError, match="each leg or contract has its own"):
        gr.gap_budget(basket(*legs), (times, walk))
    budget = gr.gap_budget(basket(*legs), {"A": (times, walk), "B": (times, walk * 3)})
    # Legs that move alike make an index that moves as they do.
    alone = gr.gap_budget(gr.Token(symbol="T", target=3.0, rule="daily-etf"), (times, walk))
    assert budget.volatility == pytest.approx(alone.volatility)
    assert budget.prices == "T index"


def test_the_index_goes_on_after_a_wipe_out():
    times = np.arange(60) * 3_600_000
    walk = np.where(np.arange(60) < 30, 100.0, 50.0) * np.exp(0.001 * np.arange(60))
    legs = (gr.Perpetual(symbol="A", weight=0.5), gr.Perpetual(symbol="B", weight=0.5))
    with pytest.warns(DataWarning, match="looks like a split of 2 to 1"):
        result = gr.backtest(basket(*legs), {"A": (times, walk), "B": (times, walk)})
    assert result.summary().wiped_out
    assert result.prices.close == pytest.approx(100 * walk / walk[0])
