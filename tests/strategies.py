"""Random tokens, rules and paths, with the corners that matter drawn often."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import assume, settings
from hypothesis import strategies as st

from gearing.core.fees import Costs, Fees
from gearing.core.instruments import MarginTier, Perpetual
from gearing.core.rule import Condition, Pace, Rule, Schedule
from gearing.core.token import Token
from gearing.errors import SpecError

HOUR = 3_600_000
START = 1_672_531_200_000


def examples(times):
    """So many times the profile's number of examples."""
    return settings(max_examples=times * settings.default.max_examples)


@dataclass(repr=False)
class Case:
    token: Token
    times: list
    prices: list
    spacing_ms: int
    funding: list
    equity: float
    bars: dict

    def cut(self, stop):
        """The same case up to, without, bar `stop`."""
        bars = {k: None if v is None else v[:stop] for k, v in self.bars.items()}
        return Case(self.token, self.times[:stop], self.prices[:stop], self.spacing_ms, self.funding, self.equity, bars)

    def __repr__(self):
        return f"Case({self.token}, {len(self.times)} bars of {self.spacing_ms} ms)"


def some(strategy):
    return st.none() | strategy


LEVELS = st.floats(0.02, 3.0)
MOVES = st.sampled_from([0.01, 0.05, 0.1, 0.125, 0.2, 0.25, 0.5]) | st.floats(0.005, 0.6)
TIMES = st.sampled_from(["00:00", "00:02", "08:00", "13:30", "23:59"])
INTERVALS = st.sampled_from(["1h", "3h", "24h", "7m", "90m"])


@st.composite
def triggers(draw, size):
    """Band, deviation and moves around a target of this size."""
    below = draw(some(st.sampled_from([0.5, 0.75, 0.99, 1.0]) | st.floats(0.1, 1.0)))
    above = draw(some(st.sampled_from([1.01, 4 / 3, 1.5, 2.0]) | st.floats(1.0001, 3.0)))
    return {
        "band_lower": None if below is None else size * below,
        "band_upper": None if above is None else size * above,
        "deviation": draw(some(st.sampled_from([0.25, 1 / 3, 0.5]) | st.floats(0.005, 0.9))),
        "move_against": draw(some(MOVES)),
        "move_favour": draw(some(MOVES)),
    }


@st.composite
def schedules(draw, size):
    condition = draw(some(triggers(size)))
    only_if = Condition(**condition) if condition and any(v is not None for v in condition.values()) else None
    side = draw(st.sampled_from(["both", "both", "reduce"]))
    if draw(st.booleans()):
        return Schedule(times=tuple(draw(st.lists(TIMES, min_size=1, max_size=3))), side=side, only_if=only_if)
    return Schedule(every=draw(INTERVALS), side=side, only_if=only_if)


@st.composite
def rules(draw, target):
    size = abs(target)
    fields = draw(triggers(size))
    upper = min(fields["band_upper"] or math.inf, size * (1 + (fields["deviation"] or math.inf)))
    lower = max(fields["band_lower"] or 0.0, size * (1 - fields["deviation"]) if fields["deviation"] else 0.0)
    aim = draw(st.sampled_from(["target", "target", "edge", "reentry", "recentering"]))
    if aim == "edge" and fields["band_upper"] is None and fields["deviation"] is None:
        aim = "target"
    ripcord = draw(some(st.floats(1.05, 3.0)))
    return Rule(
        **fields,
        schedule=tuple(draw(st.lists(schedules(size), max_size=2))),
        side=draw(st.sampled_from(["both", "reduce"])),
        aim=aim,
        reentry_level=min(max(size * draw(st.floats(0.7, 1.3)), lower), upper) if aim == "reentry" else None,
        recentering_speed=draw(st.sampled_from([0.05, 0.5, 1.0])) if aim == "recentering" else None,
        pace=draw(some(st.builds(Pace, largest=st.sampled_from([50_000.0, 250_000.0, 1e6]), interval=INTERVALS))),
        ripcord=upper * ripcord if ripcord and math.isfinite(upper) else None,
        check_interval=draw(some(st.sampled_from(["5m", "1h", "3h"]))),
    )


def usual_step(times):
    """The most common distance of two bars, the smallest of equals."""
    steps = [after - before for before, after in pairwise(times)]
    return min(set(steps), key=lambda step: (-steps.count(step), step), default=0)


@st.composite
def paths(draw):
    """Times and prices: random walks, steps on a grid that meets barriers exactly, standstills, gaps."""
    n = draw(st.integers(2, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spacing = draw(st.sampled_from([60_000, 5 * 60_000, HOUR, 4 * HOUR]))
    offset = draw(st.sampled_from([0, 0, 60_000, HOUR, 17 * 60_000]))
    steps = np.full(n, spacing)
    if draw(st.booleans()):  # irregular bars and holes
        steps = steps * rng.choice([1, 1, 1, 2, 5, 40], n)
    times = START + offset + np.concatenate([[0], np.cumsum(steps)[:-1]])
    kind = draw(st.sampled_from(["walk", "walk", "wild", "grid", "still", "gap"]))
    scale = {"walk": 0.01, "wild": 0.12, "grid": 0.0, "still": 0.0, "gap": 0.004}[kind]
    moves = rng.standard_normal(n) * scale
    if kind == "gap":
        moves += np.where(rng.random(n) < 0.03, rng.choice([-0.35, -0.15, 0.15, 0.5], n), 0.0)
    prices = 100.0 * np.exp(np.cumsum(moves) - moves[0])
    if kind == "grid":
        ladder = np.array([64, 75, 80, 87.5, 90, 100, 100, 110, 112.5, 120, 125, 150])
        prices = ladder[rng.integers(0, len(ladder), n)]
    return times.tolist(), np.maximum(prices, 1e-3).tolist(), usual_step(times.tolist()), rng


@st.composite
def cases(draw):
    times, prices, spacing, rng = draw(paths())
    target = draw(
        st.sampled_from([1.0, 2.0, 3.0, -1.0, -2.0, -3.0, 0.5, -0.5, 5.0]) | st.floats(0.1, 20) | st.floats(-20, -0.1)
    )
    n = len(times)
    low = high = opened = volume = None
    tiers = ()
    if draw(st.booleans()):
        rates = draw(st.sampled_from([(0.0053,), (0.0041, 0.021), (0.0113, 0.053, 0.11)]))
        edges = [*[400_000.0 * 5**k for k in range(len(rates) - 1)], math.inf]
        amount, made = 0.0, []
        for k, rate in enumerate(rates):
            if k:
                amount += edges[k - 1] * (rate - rates[k - 1])
            made.append(MarginTier(notional_max=edges[k], rate=rate, amount=amount))
        tiers = tuple(made)
        opened = [prices[0], *prices[:-1]]
        if draw(st.booleans()):  # bars that open away from the last close
            opened = [p * f for p, f in zip(opened, np.exp(rng.standard_normal(n) * 0.02), strict=True)]
        wide = np.abs(rng.standard_normal((2, n))) * draw(st.sampled_from([0.0, 0.002, 0.05]))
        low = [min(o, p) * math.exp(-w) for o, p, w in zip(opened, prices, wide[0], strict=True)]
        high = [max(o, p) * math.exp(w) for o, p, w in zip(opened, prices, wide[1], strict=True)]
    impact = draw(st.sampled_from([0.0, 0.0, 0.05]))
    if impact:
        volume = (rng.random(n) * 5_000).tolist()
    funding = []
    if draw(st.booleans()):
        at = START + np.arange(-2, 200) * 8 * HOUR + draw(st.sampled_from([0, 3, 1000, 1001]))
        funding = [(int(t), float(r)) for t, r in zip(at, rng.standard_normal(len(at)) * 3e-4, strict=True)]
    fees = draw(
        st.sampled_from([
            Fees(), Fees(management_per_day=3e-4), Fees(management_per_year=0.02, on="exposure"),
            Fees(management_per_year=0.0195), Fees(management_per_day=1e-3, all_in=True),
            Fees(management_per_day=5e-4, on="exposure"),
        ])
    )  # fmt: skip
    costs = Costs(
        taker_fee=draw(st.sampled_from([0.0, 5e-4, 0.01])), half_spread=draw(st.sampled_from([0.0, 2e-4, 5e-3])),
        impact=impact, liquidation_fee=draw(st.sampled_from([0.0, 0.0037])),
    )  # fmt: skip
    leg = Perpetual(
        lot=draw(st.sampled_from([0.0, 0.0, 1.0, 250.0])),
        multiplier=draw(st.sampled_from([1.0, 0.01])),
        margin_tiers=tiers,
    )
    try:
        token = Token(symbol="T", target=target, rule=draw(rules(target)), fees=fees, costs=costs, legs=(leg,))
    except SpecError:
        assume(False)
    bars = {"open": opened, "low": low, "high": high, "volume": volume}
    bars = {k: v for k, v in bars.items() if v is not None}
    return Case(token, times, prices, spacing, funding, draw(st.sampled_from([1e6, 12_345.0])), bars)
