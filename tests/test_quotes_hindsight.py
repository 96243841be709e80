"""D2: a firm quote is not a free option, not even to a taker that knows the whole path of prices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proof.quotes import QuoteDesk, hedging_errors, hindsight

JUMP, BACK = [100.0, 100.9, 100.0, 100.9, 99.1, 100.0], [100.0, 99.3, 100.0, 100.7, 100.0, 101.5, 100.0]
PATHS = {
    # The quote of before the jump was accepted after it: that gained 267 of 10,000 while a price could move by 1 %.
    "jump": JUMP,
    "there and back": BACK,
    "trend": [100.0 * 1.0004**k for k in range(9)],
    "fall": [100.0 * 0.9996**k for k in range(9)],
    "within the swing": [100.0, 100.02, 100.03, 100.0, 99.97, 99.98, 100.0],
    "gap": [100.0, 100.0, 108.0, 108.0, 93.0, 93.0],
}


def gains_of(path, target=3.0, step_ms=1_000, **more):
    return hindsight(QuoteDesk(target, **more), path, step_ms)


@pytest.mark.parametrize("step_ms", [1_000, 250])
@pytest.mark.parametrize("target", [3.0, -3.0])
@pytest.mark.parametrize("name", PATHS)
def test_no_acceptance_gains_at_its_judgement(name, target, step_ms):
    gains = gains_of(PATHS[name], target, step_ms)
    assert {one.side for one in gains} == {"subscribe", "redeem"}
    assert [one for one in gains if one.gain > 0] == []


@pytest.mark.parametrize("target", [3.0, -3.0])
@pytest.mark.parametrize("settles_ms", [62_000, 65_000, 70_000, 75_000])
def test_no_acceptance_gains_near_a_settlement(target, settles_ms):
    """Dealing ends a window before it, so that quotes expire and acceptances are rejected on the way."""
    gains = gains_of(BACK, target, settles_ms=settles_ms)
    assert [one for one in gains if one.gain > 0] == []
    assert bool(gains) == (settles_ms > 62_000)


@given(
    st.lists(st.sampled_from([-0.02, -0.003, -0.0004, -0.0003, 0.0, 0.0003, 0.0004, 0.003, 0.02]), max_size=6),
    st.sampled_from([3.0, -3.0, 1.0, -1.0, 5.0]),
    st.sampled_from([1_000, 250, 1]),
    st.sampled_from([0.0, 0.001, 0.01]),
)  # fmt: skip
def test_no_acceptance_gains_on_any_path(moves, target, step_ms, swing):
    path = [100.0]
    for move in moves:
        path.append(round(path[-1] * (1.0 + move), 6))
    gains = gains_of(path, target, step_ms, swing=swing)
    assert [one for one in gains if one.gain > 0] == []


def test_the_hedge_costs_what_quotes_charge_for_it():
    """On random walks the dealing account is left with the swing, within three standard errors."""
    results = hedging_errors(150, 4)
    both = [sum(one) for one in results]
    mean = sum(both) / len(both)
    error = (sum((one - mean) ** 2 for one in both) / (len(both) - 1) / len(both)) ** 0.5
    assert len(results) > 100
    assert abs(mean - 0.001) < 3 * error < 0.002
