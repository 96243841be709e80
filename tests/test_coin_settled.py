"""Tokens counted in coin, and mergers of units, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import gearing as gr
from gearing.core.mirror import mirrored_rule
from gearing.core.words import barrier_moves, leverage_after, move_to
from gearing.study.ideal import ideal_of

DAY = 86_400_000
DAILY = gr.Rule(schedule=(gr.Schedule(times=("00:00",)),))


def path(seed=3, n=60, scale=0.04):
    rng = np.random.default_rng(seed)
    prices = 100 * np.exp(np.cumsum(rng.standard_normal(n) * scale))
    return (1_672_531_200_000 + np.arange(n) * DAY, prices), prices


def inverse(target, settlement, **fields):
    leg = gr.Perpetual(symbol="P", inverse=True, underlying="BTC", multiplier=100.0, **fields)
    return gr.Token(symbol="T", target=target, rule=DAILY, legs=(leg,), settlement=settlement)


@pytest.mark.parametrize("target", [3.0, 2.0, 0.5, -1.0, -3.0])
def test_a_coin_settled_token_compounds_its_profit_in_coin(target):
    source, prices = path()
    result = gr.backtest(inverse(target, "BTC"), source)
    # N = β·E/y contracts over a day make N·(1/p₀ − 1/p₁) coins: a factor of 1 + β·(1 − p₀/p₁).
    expected = 100 * np.cumprod(1 + target * (1 - prices[:-1] / prices[1:]))
    assert result.nav["nav"].to_numpy()[1:] == pytest.approx(expected, rel=1e-12)
    assert result.nav["leverage"].to_numpy() == pytest.approx(np.full(len(prices), target), rel=1e-12)
    assert result.nav["price"].to_numpy() == pytest.approx(prices)
    assert result.attribution.log.total == pytest.approx(np.log(expected[-1] / 100), rel=1e-9)


@pytest.mark.parametrize("target", [3.0, -1.0])
def test_settled_in_currency_it_compounds_like_a_linear_one(target):
    source, prices = path()
    result = gr.backtest(inverse(target, "USDT"), source)
    expected = 100 * np.cumprod(1 + target * (prices[1:] / prices[:-1] - 1))
    assert result.nav["nav"].to_numpy()[1:] == pytest.approx(expected, rel=1e-12)
    # The position for a target L is (L − 1)·E in contracts of 100.
    opening = result.legs.row(0, named=True)
    assert opening["position"] == pytest.approx((target - 1) * 1_000_000 / 100, rel=1e-12)


def test_funding_of_a_coin_settled_long_is_paid_in_coin():
    source, prices = path(n=3)
    flat = gr.Rule()
    token = inverse(2.0, "BTC")
    token = gr.Token(symbol="T", target=2.0, rule=flat, legs=token.legs, settlement="BTC")
    at = np.array([source[0][1]])
    paid = gr.backtest(token, source, funding=(at, np.array([0.001]))).nav["nav"][1]
    free = gr.backtest(token, source).nav["nav"][1]
    contracts = 2 * 100 * prices[0]
    assert paid - free == pytest.approx(-contracts / prices[1] * 0.001, rel=1e-12)


def test_moves_are_turned_with_the_price():
    rule = gr.Rule(move_against=0.2, move_favour=0.25)
    long, short = mirrored_rule(rule, 3.0), mirrored_rule(rule, -3.0)
    # A long is hurt by a fall of 20 %, which lifts 1/p by 25 %; a rise of 25 % takes 20 % off it.
    assert (long.move_against, long.move_favour) == pytest.approx((0.25, 0.2))
    assert (short.move_against, short.move_favour) == pytest.approx((1 / 6, 1 / 3))


def test_units_are_merged_and_histories_are_raw_or_adjusted():
    times = 1_672_531_200_000 + np.arange(4) * DAY
    prices = np.array([100.0, 50.0, 25.0, 30.0])
    token = gr.Token(symbol="T", target=1.0, consolidation=gr.Consolidation(below=60, factor=10))
    result = gr.backtest(token, (times, prices))
    assert result.consolidations.rows()[0][1:] == pytest.approx((10.0, 50.0, 500.0))
    assert len(result.consolidations) == 1
    assert result.nav["nav"].to_list() == pytest.approx([100, 50, 25, 30])
    assert result.history(adjusted=False)["nav"].to_list() == pytest.approx([100, 500, 250, 300])
    assert result.history(adjusted=True)["nav"].to_list() == pytest.approx([1000, 500, 250, 300])


@pytest.mark.parametrize("target", [3.0, 1.0, -0.5, -1.0, -3.0])
def test_moves_in_words_are_those_the_engine_meets(target):
    leg = gr.Perpetual(symbol="X", inverse=True, underlying="BTC")
    token = gr.Token(symbol="T", target=target, rule=gr.Rule(), legs=(leg,), settlement="BTC")
    times = 1_672_531_200_000 + np.arange(2) * DAY
    for move in (-0.2, -0.05, 0.1, 0.3):
        result = gr.backtest(token, (times, 100 * np.array([1.0, 1 + move])))
        expected = leverage_after(target, move, in_coin=True)
        assert expected is not None
        assert result.nav["leverage"][-1] == pytest.approx(expected, rel=1e-12)
        assert target == -1 or move_to(expected, target, in_coin=True) == pytest.approx(move)
    ends = [found.move for found in barrier_moves(gr.Rule(), target, in_coin=True) if found.trigger == "wipe-out"]
    assert len(ends) == (target > 0 or target < -1)
    for end in ends:
        for beyond, gone in ((1 + 1e-9, True), (1 - 1e-6, False)):
            path = (times, 100 * np.array([1.0, 1 + end * beyond]))
            assert gr.backtest(token, path).summary().wiped_out == gone


def test_a_report_holds_it_against_its_coin():
    leg = gr.Perpetual(symbol="X", inverse=True, underlying="BTC")
    rule = gr.Rule(schedule=(gr.Schedule(times=("00:00",)),))
    token = gr.Token(symbol="T", target=2.0, rule=rule, legs=(leg,), settlement="BTC")
    times = 1_672_531_200_000 + np.arange(30) * DAY
    prices = 100 * np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.03, 30)))
    result = gr.backtest(token, (times, prices))
    # Rebalanced daily at no cost, a token is its own ideal.
    assert ideal_of(result).nav[-1] == pytest.approx(result.summary().final_nav, rel=1e-9)
