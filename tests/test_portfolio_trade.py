"""The exposure that meets an aim after its own cost, against a dense scan of all exposures."""

from __future__ import annotations

import numpy as np

import gearing as gr
from gearing.core.legs import N_ROOM, PRICE, VOLUME, Q, pack_legs
from gearing.core.pack import N_TERMS, Terms, pack
from gearing.core.portfolio_trade import _excess, _met_after_cost


def test_an_aim_that_some_trade_meets_is_met_however_narrow_the_range_of_such_trades():
    """Impact makes cost outrun a trade beyond some size, so that what is lacking rises above zero only for a while."""
    chance = np.random.default_rng(5)
    legs_held = (gr.Perpetual(symbol="A", weight=1.5), gr.Perpetual(symbol="B", weight=-0.5))
    met = narrow = 0
    for _ in range(800):
        target = float(chance.choice([-2.0, -0.75, 2.0, 3.0]))
        token = gr.Token(
            symbol="T", target=target, legs=legs_held,
            costs=gr.Costs(half_spread=0.001, impact=float(chance.uniform(0.01, 0.06))),
        )  # fmt: skip
        flat, (legs, _) = pack(token), pack_legs(token)
        t, equity = Terms(*flat[:N_TERMS].tolist()), 1e6
        x = np.zeros((N_ROOM, 2))
        x[PRICE] = 50.0, 150.0
        x[Q] = np.array([1.5, -0.5]) * target * equity * chance.uniform(0.05, 0.9) / x[PRICE]
        x[VOLUME] = 10 ** chance.uniform(1.5, 4.5, 2)
        free = target * equity
        grid = np.linspace(free, -2 * free, 6_001)
        turn = -np.sign(_excess(t, legs, x, free, target, equity, True))
        heights = np.array([turn * _excess(t, legs, x, float(total), target, equity, True) for total in grid])
        found = _met_after_cost(t, legs, x, target, equity, True)
        if heights.max() < 0:
            continue
        first = int(np.argmax(heights >= 0))
        met += 1
        narrow += (heights >= 0).sum() < 2_000
        assert abs(found - grid[first]) <= abs(grid[1] - grid[0]) * 1.001
        assert abs(_excess(t, legs, x, found, target, equity, True)) < 1e-6 * equity
    assert met > 100
    assert narrow > 10
