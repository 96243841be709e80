"""The horizon of a running token while an interval that ran out waits for its condition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearing as gr
from gearing.core.barriers import State
from gearing.core.events import Marked
from gearing.core.horizon import horizon
from gearing.core.money import to_float
from gearing.core.watch import needs, watch
from gearing.drive.outlook import outlook
from tests.lives import HOUR_MS, MINUTE_MS, Life, token
from tests.strategies import examples

CONDITIONS = st.sampled_from(
    [
        gr.Condition(deviation=0.1), gr.Condition(band_upper=3.3), gr.Condition(band_lower=2.8, band_upper=3.5),
        gr.Condition(move_against=0.04), gr.Condition(move_favour=0.03), gr.Condition(deviation=0.2, move_against=0.05),
    ]
)  # fmt: skip
SCHEDULES = st.builds(gr.Schedule, every=st.just("1h"), only_if=CONDITIONS, side=st.sampled_from(["both", "reduce"]))
RULES = st.builds(
    gr.Rule, schedule=st.lists(SCHEDULES, min_size=1, max_size=2).map(tuple), deviation=st.sampled_from([None, 0.15]),
    side=st.sampled_from(["both", "reduce"]),
)  # fmt: skip
TARGETS = st.sampled_from([3.0, -3.0])


def overdue(it, *moves):
    """A token that opened at 100 and whose interval ran out, at prices that have moved so far since."""
    life = Life(it).opened()
    life.mark(*[100.0] * len(life.lots), after_ms=HOUR_MS + MINUTE_MS)
    return life if life.mark(*[100.0 * (1 + move) for move in moves]) == [] else None


def asks(life, *prices):
    """Whether prices a minute later are worth an event."""
    now_ms = life.now_ms + MINUTE_MS
    return needs(life.spec, life.state, Marked(time_ms=now_ms, prices=prices, before_ms=life.now_ms))


def test_an_overdue_interval_sleeps_until_its_condition_holds():
    rule = gr.Rule(schedule=(gr.Schedule(every="1h", only_if=gr.Condition(deviation=0.1)),))
    life = overdue(token(rule=rule), 0.0)
    seen = watch(life.spec, life.state)
    assert seen.below == pytest.approx((100 * (1 + (3.3 - 3) / (3 * (1 - 3.3))),), rel=1e-9)
    assert seen.above == pytest.approx((100 * (1 + (2.7 - 3) / (3 * (1 - 2.7))),), rel=1e-9)
    assert [order.lots > 0 for order in life.mark(seen.above[0] * 1.000001)] == [True]


def test_the_outlook_shows_the_barriers_of_an_overdue_interval():
    rule = gr.Rule(schedule=(gr.Schedule(every="1h", only_if=gr.Condition(deviation=0.1)),))
    life = overdue(token(rule=rule), 0.0)
    (leg,) = outlook(life.spec, life.state, (100.0,)).legs
    assert (leg.below.side, leg.above.side) == ("sell", "buy")
    assert leg.below.move == pytest.approx(-0.0435, abs=1e-4)


def test_an_interval_that_only_its_lots_hold_back_looks_at_every_price():
    legs = (gr.Perpetual(symbol="A", lot=0.001),)
    life = overdue(gr.Token(symbol="T", target=3.0, rule=gr.Rule(schedule=(gr.Schedule(every="1h"),)), legs=legs), 0.0)
    assert watch(life.spec, life.state).below == (math.inf,)


def test_an_interval_that_may_only_reduce_sleeps_below_its_target():
    life = overdue(token(rule=gr.Rule(schedule=(gr.Schedule(every="1h", side="reduce"),))), 0.01)
    assert watch(life.spec, life.state).below == pytest.approx((100.0,), rel=1e-9)
    assert not asks(life, 100.000001)
    assert asks(life, 99.9999)


@examples(2)
@given(rule=RULES, target=TARGETS, move=st.floats(-0.03, 0.03))
def test_one_leg_sleeps_as_the_horizon_of_a_single_price_says(rule, target, move):
    life = overdue(token(rule=rule, target=target), move)
    if life is None or watch(life.spec, life.state).below == (math.inf,):
        return
    (leg,), seen = life.state.legs, watch(life.spec, life.state)
    state = State(to_float(life.state.equity), leg.lots * float(leg.lot), leg.mark, 100.0, float(life.state.ref_ms),
                  0.0, 0.0, 0.0, 0.0)  # fmt: skip
    other = horizon(life.token, state, life.now_ms)
    # What may only reduce looks at its moves a little sooner than it could trade by them.
    if all(one.side == "both" for one in (rule, *rule.schedule)):
        assert (seen.below[0], seen.above[0]) == pytest.approx((other.below, other.above), rel=1e-9)
    assert seen.below[0] >= other.below * (1 - 1e-9)
    assert seen.above[0] <= other.above * (1 + 1e-9)


@examples(3)
@given(rule=RULES, target=TARGETS, moves=st.lists(st.floats(-0.03, 0.03), min_size=2, max_size=2),
       spots=st.lists(st.floats(1e-9, 1 - 1e-9), min_size=2, max_size=2))  # fmt: skip
def test_within_its_ranges_no_price_of_a_basket_is_worth_an_event(rule, target, moves, spots):
    life = overdue(token("A", "B", rule=rule, target=target), *moves)
    if life is None:
        return
    seen = watch(life.spec, life.state)
    if math.inf in seen.below:
        return
    prices = [
        low + (min(high, 1e3) - low) * spot for low, high, spot in zip(seen.below, seen.above, spots, strict=True)
    ]
    assert not asks(life, *prices)
    corners = [*seen.below], [min(high, 1e3) for high in seen.above]
    assert not any(asks(life, corners[a][0], corners[b][1]) for a in (0, 1) for b in (0, 1))
