"""The horizon's promise: before it nothing happens, and what happens in a run never comes earlier than it said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

import gearing as gr
from gearing.core.barriers import State
from gearing.core.horizon import horizon
from gearing.kernels.run import BAR, BEGAN, COLUMNS, POSITION, REASON
from tests.strategies import cases, examples
from tests.test_oracle import engine

EQUITY = COLUMNS.index("equity")


def _states(case, rows):
    """The states after each row, as far as rows tell them: rules without pace."""
    ref_price, ref_ms = case.prices[0], float(case.times[0])
    for row in rows:
        bar = int(row[BAR])
        price = case.prices[bar]
        if 1 <= row[REASON] <= 5 and (row[BEGAN] or bar == 0):
            ref_price, ref_ms = price, float(case.times[bar])
        yield bar, State(row[EQUITY], row[POSITION], price, ref_price, ref_ms, 0.0, 0.0, 0.0, 0.0)


@examples(2)
@given(cases())
def test_nothing_happens_before_the_horizon(case):
    if case.token.resolved_rule.pace is not None:
        return
    run, _ = engine(case)
    states = list(_states(case, run.rows))
    settlements = np.sort(
        np.array([t - (t % 60_000 if t % 60_000 <= 1000 else 0) for t, _ in case.funding] or [math.inf])
    )
    for (bar, state), row in zip(states, run.rows[1:], strict=False):
        after = int(row[BAR])
        if after == bar or state.equity <= 0:
            continue
        coming = settlements[settlements > case.times[bar]]
        seen = horizon(case.token, state, case.times[bar], settlement_ms=float(coming[0]) if len(coming) else math.inf)
        low, high = (case.bars.get(name, case.prices)[after] for name in ("low", "high"))
        beyond = min(low, case.prices[after]) <= seen.below or max(high, case.prices[after]) >= seen.above
        assert case.times[after] >= seen.deadline_ms or beyond


def test_a_three_times_long_token_sleeps_between_its_barriers():
    token = gr.Token(symbol="T", target=3.0, rule=gr.Rule(band_lower=2.0, band_upper=4.0))
    state = State(1000.0, 30.0, 100.0, 100.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    seen = horizon(token, state, 0)
    assert seen.below == pytest.approx(100 * (1 - 1 / 9), rel=1e-12)  # ℓ = 4 at −11.111 %
    assert seen.above == pytest.approx(100 * (1 + (2 - 3) / (3 * (1 - 2))), rel=1e-12)  # ℓ = 2
    assert seen.deadline_ms == math.inf


def test_deadlines_come_from_clocks_fees_and_settlements():
    hour = 3_600_000
    rule = gr.Rule(schedule=(gr.Schedule(times=("00:00+08:00",)), gr.Schedule(every="5h")))
    state = State(1000.0, 30.0, 100.0, 100.0, 8.0 * hour, 0.0, 0.0, 0.0, 0.0)
    bare = gr.Token(symbol="T", target=3.0, rule=rule)
    assert horizon(bare, state, 8 * hour).deadline_ms == 13 * hour
    assert horizon(bare, state, 14 * hour).deadline_ms == 16 * hour  # the interval is overdue: 16:00 UTC is next
    assert horizon(bare, state, 8 * hour, settlement_ms=9.0 * hour).deadline_ms == 9 * hour
    charged = gr.Token(symbol="T", target=3.0, rule=gr.Rule(), fees=gr.Fees(management_per_day="0.03%"))
    assert horizon(charged, state, 8 * hour).deadline_ms == 24 * hour
    pacing = state._replace(side=1.0, slice_ms=8.5 * hour)
    assert horizon(bare, pacing, 8 * hour).deadline_ms == 8.5 * hour


def test_already_outside_wakes_at_the_next_price():
    token = gr.Token(symbol="T", target=3.0, rule=gr.Rule(band_lower=2.0, band_upper=4.0))
    state = State(500.0, 30.0, 100.0, 100.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # ℓ = 6
    seen = horizon(token, state, 0)
    assert not seen.below <= 100.0 <= seen.above


def test_liquidation_is_a_barrier():
    leg = gr.Perpetual(margin_tiers=(gr.MarginTier(rate=0.01),))
    for target in (3.0, -3.0):
        token = gr.Token(symbol="T", target=target, rule=gr.Rule(), legs=(leg,))
        state = State(1000.0, target * 10, 100.0, 100.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        seen = horizon(token, state, 0)
        move = -(1 - 0.03) / (3 * 0.99) if target > 0 else (1 - 0.03) / (3 * 1.01)
        assert (seen.below if target > 0 else seen.above) == pytest.approx(100 * (1 + move), rel=1e-12)
