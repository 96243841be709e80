"""Each formula against a second derivation: a table, a closed form reached otherwise, or brute force."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearing.core import barriers as h
from gearing.core import formulas as f
from gearing.core.words import leverage_after, move_to

TARGETS = st.floats(-20, 20).filter(lambda b: abs(b) > 0.05)


@pytest.mark.parametrize(
    ("target", "level", "percent"),
    [(3.0, 4.0, -11.111), (-3.0, -4.0, 6.667), (-1.0, -4 / 3, 14.286)],
)
def test_barrier_moves_of_the_table(target, level, percent):
    assert round(100 * move_to(level, target), 3) == percent


@pytest.mark.parametrize(
    ("target", "move", "leverage"),
    [
        (3.0, -0.12, 4.125), (3.0, 0.20, 2.25), (-3.0, 0.12, -5.25), (-3.0, -0.20, -1.5),
        (3.0, -0.15, 4.636), (3.0, 0.15, 2.379), (-3.0, 0.15, -6.273), (-3.0, -0.15, -1.759),
    ],
)  # fmt: skip
def test_leverage_after_moves_of_the_table(target, move, leverage):
    assert round(leverage_after(target, move), 3) == leverage


@given(TARGETS, st.floats(-0.5, 1.0))
def test_barrier_undoes_leverage(target, move):
    """The two formulas were derived apart; walking there and back must return."""
    equity = 1 + target * move
    if equity > 0.01 and abs(target - 1) > 0.01:
        level = target * (1 + move) / equity
        assert move_to(level, target) == pytest.approx(move, abs=1e-9)


@given(TARGETS, st.floats(0.02, 25), st.floats(0.5, 2.0), st.floats(1e-3, 1e5))
def test_barriers_are_where_leverage_meets_the_level(target, level, drift, price):
    """Leverage beyond the barrier is beyond the level, on the side the barrier names, and not before it."""
    equity, q = 1000.0, target * 1000.0 / price
    here = price * drift
    equity_here = equity + q * (here - price)
    if equity_here <= 1e-3:
        return
    state = h.State(equity_here, q, here, price, 0.0, 0.0, 0.0, 0.0, 0.0)
    below, above = h.sleep_range(state, 0.0, level, math.inf, math.inf, 0.0)
    lower_below, lower_above = h.sleep_range(state, level, math.inf, math.inf, math.inf, 0.0)

    def leverage(p):
        worth = equity_here + q * (p - here)
        return abs(q) * p / worth if worth > 0 else math.inf

    for k in range(-60, 61):
        p = here * 1.1**k
        if p < 1e-12:
            continue
        asleep = below <= p <= above
        assert not asleep or leverage(p) <= level * (1 + 1e-7)
        # The wide margin keeps clear of the barrier's own width.
        if leverage(p) < level * (1 - 1e-6):
            assert asleep
        held = lower_below <= p <= lower_above
        assert not held or leverage(p) >= level * (1 - 1e-7)
        if math.inf > leverage(p) > level * (1 + 1e-6) and leverage(p) < 1e6:
            assert held


def test_maintenance_price_of_the_table():
    """Formula 3: long r* = −(1−μβ)/(β(1−μ)), short r* = (1−μ|β|)/(|β|(1+μ))."""
    for target in (2.0, 3.0, 5.0, -1.0, -2.0, -3.0):
        for mu in (0.004, 0.01, 0.05):
            price = f.maintenance_price(1.0, target / 100.0, 100.0, mu, 0.0)
            size = abs(target)
            move = -(1 - mu * size) / (size * (1 - mu)) if target > 0 else (1 - mu * size) / (size * (1 + mu))
            assert price / 100 - 1 == pytest.approx(move, rel=1e-12)


@given(TARGETS, st.floats(0, 0.01), st.floats(0, 0.01), st.floats(0.2, 3.0), st.sampled_from([0.0, 0.02]))
def test_an_edge_is_met_after_cost(aim, taker, spread, start, impact):
    equity, price, volume = 1e6, 250.0, 1e6
    q = aim * start * equity / price
    if abs(aim) * (spread + taker + impact) > 0.9:
        return  # the cost could outrun the trade
    dq = f.size_to_edge(equity, q, price, aim, spread, impact, taker, volume)
    wide = f.spread_at_size(spread, impact, dq, volume)
    after = equity - abs(dq) * price * wide - f.commission(dq, price, wide, taker)
    if after > 1e3:
        assert (q + dq) * price == pytest.approx(aim * after, rel=1e-9)


def test_management_fee_of_several_days():
    one = 1000.0
    for _ in range(3):
        one = f.equity_after_fee(one, 0.0, 1.0, 3e-4, 0.0, 0.0)
    assert f.equity_after_fee(1000.0, 0.0, 3.0, 3e-4, 0.0, 0.0) == pytest.approx(one, rel=1e-14)
    assert f.equity_after_fee(1000.0, 0.0, 3.0, 0.0, 0.0195 / 365, 0.0) == pytest.approx(1000 - 1000 * 0.0195 * 3 / 365)
    assert f.equity_after_fee(1000.0, -3000.0, 1.0, 0.0, 0.02 / 365, 1.0) == pytest.approx(1000 - 3000 * 0.02 / 365)
    # Over years at a ruinous fee nothing is lost to cancellation, so nobody is wiped out by rounding.
    assert f.equity_after_fee(1e6, 0.0, 900.0, 0.05, 0.0, 0.0) == pytest.approx(1e6 * math.exp(900 * math.log1p(-0.05)))


def test_funding_sign_and_lots():
    assert f.funding_payment(2.0, 100.0, 0.001) == -0.2  # a positive rate is paid by longs
    assert f.funding_payment(-2.0, 100.0, 0.001) == 0.2
    assert [f.whole_lots(x, 0.5) for x in (1.49, -1.49, 0.3, 1.5)] == [1.0, -1.0, 0.0, 1.5]
    assert f.whole_lots(-1.234, 0.0) == -1.234


def test_lots_are_cut_towards_zero_up_to_any_count():
    for count, kept in ((3.7, 3.0), (3.0, 3.0), (3.0 - 1e-10, 3.0), (0.9, 0.0), (1e19, 1e19), (2.5e10, 2.5e10)):
        for side in (1.0, -1.0):
            assert f.whole_lots(side * count * 0.25, 0.25) == side * kept * 0.25
    assert f.whole_lots(0.123, 0.0) == 0.123
