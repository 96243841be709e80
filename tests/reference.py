"""The reference job: its price path and the figures two independent loops agreed on."""

from __future__ import annotations

from functools import cache

import numpy as np

from gearing.core.fees import Costs, Fees
from gearing.core.rule import Rule, Schedule
from gearing.core.token import Token
from gearing.market.series import Funding, Prices

START_MS = 1_672_531_200_000
N = 525_600

# (target, with the band of a third): final equity, rebalances, turnover.
FIGURES = {
    (3.0, False): (216372.11765127798, 365, 71.78261690144623),
    (3.0, True): (222521.96900708624, 367, 71.6136655917546),
    (-3.0, False): (23674.246898710335, 365, 141.67711210012772),
    (-3.0, True): (23025.15998442199, 397, 147.0352179147195),
}


@cache
def path():
    """Prices, shape (525600,), one per minute."""
    rng, dt = np.random.default_rng(20240608), 1 / N
    steps = rng.standard_normal((1, N)) * (0.7 * np.sqrt(dt)) - 0.5 * 0.7**2 * dt
    jumps = rng.random((1, N)) < 25 * dt
    steps += np.where(jumps, rng.standard_normal((1, N)) * 0.04, 0.0)
    steps[:, 0] = 0.0
    return np.round(40000 * np.exp(np.cumsum(steps, axis=1)), 2)[0]


@cache
def market():
    """The path as series: prices, and a funding of 1 bp every eight hours."""
    times = START_MS + 60_000 * np.arange(N, dtype=np.int64)
    settlements = times[::480]
    return Prices(times, path(), symbol="REF"), Funding(settlements, np.full(len(settlements), 1e-4))


def token(target, with_band):
    return Token(
        symbol="REF",
        target=target,
        rule=Rule(schedule=(Schedule(times=("00:00",)),), deviation=1 / 3 if with_band else None),
        fees=Fees(management_per_day=3e-4),
        costs=Costs(taker_fee=5e-4, half_spread=2e-4),
    )
