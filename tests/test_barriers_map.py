"""The barrier map against a plain dictionary, and what a tick costs, counted."""

from __future__ import annotations

import math
import random

import pytest

from gearing.core.watch import Watch
from gearing.drive import barriers
from gearing.drive.barriers import Lane
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.venues.protocol import Quote

LEVELS = [0.0, 90.0, 95.0, 99.0, 100.0, 101.0, 105.0, 110.0, math.inf]


class Plain:
    """The same by looking at every token."""

    def __init__(self):
        self.armed = {}

    def arm(self, token, below, above, deadline_ms):
        self.armed[token] = (below, above, deadline_ms)

    def crossed(self, price, time_ms):
        found = [
            token for token, (below, above, deadline_ms) in sorted(self.armed.items())
            if price < below or price > above or time_ms >= deadline_ms
        ]  # fmt: skip
        for token in found:
            del self.armed[token]
        return found

    @property
    def edges(self):
        rows = list(self.armed.values())
        return (
            max((row[0] for row in rows), default=0.0),
            min((row[1] for row in rows), default=math.inf),
            min((row[2] for row in rows), default=math.inf),
        )


@pytest.mark.parametrize("seed", range(20))
def test_the_map_equals_a_look_at_every_token(seed):
    draw = random.Random(seed)
    lane, plain, time_ms = Lane(), Plain(), 0
    for _ in range(600):
        if draw.random() < 0.6:
            deadline = draw.choice([math.inf, time_ms + draw.randrange(50)])
            given = draw.randrange(12), draw.choice(LEVELS), draw.choice(LEVELS), deadline
            lane.arm(*given)
            plain.arm(*given)
        else:
            time_ms += draw.randrange(5)
            price = draw.choice([*LEVELS[1:-1], draw.uniform(85, 115)])
            assert lane.crossed(price, time_ms) == plain.crossed(price, time_ms)
        assert (lane.low, lane.high, lane.deadline_ms) == plain.edges


class Counted:
    """Heap operations, counted."""

    def __init__(self, monkeypatch):
        self.count = 0
        for name in ("heappush", "heappop"):
            monkeypatch.setattr(barriers, name, self.counting(getattr(barriers, name)))

    def counting(self, function):
        def counted(*given):
            self.count += 1
            return function(*given)

        return counted


def market_of(tokens):
    """A market of one instrument with so many tokens around a price of 100."""
    market = Market(GuardLimits(warm_ms=0))
    for number in range(tokens):
        market.list_token(number, ("A",))
        aside = 1.0 + number / tokens
        market.arm(number, ("A",), Watch(math.inf, (100.0 - aside,), (100.0 + aside,)), math.inf)
    return market


def quote(mark, time_ms):
    return Quote(symbol="A", time_ms=time_ms, mark=mark, index=mark)


@pytest.mark.parametrize("tokens", [10, 100_000])
def test_a_tick_that_crosses_nothing_touches_no_heap_however_many_tokens(tokens, monkeypatch):
    market = market_of(tokens)
    counted = Counted(monkeypatch)
    for n in range(100):
        assert not market.take(quote(99.5 + n / 100, 1_000 + n), 1_000 + n)
    assert counted.count == 0


def test_a_crossing_costs_its_own_tokens_and_no_others(monkeypatch):
    costs = []
    for tokens in (10, 100_000):
        market = market_of(tokens)
        market.take(quote(100.0, 1_000), 1_000)
        counted = Counted(monkeypatch)
        assert market.take(quote(101.0 + 0.5 / tokens, 1_001), 1_001) == [0]
        market.arm(0, ("A",), Watch(math.inf, (99.0,), (103.0,)), math.inf)
        costs.append(counted.count)
        monkeypatch.undo()
    assert costs[0] == costs[1] <= 6


def test_arming_again_and_again_keeps_no_more_than_it_needs():
    """Old barriers far from the price must not pile up for ever."""
    lane = Lane()
    for n in range(20_000):
        lane.arm(n % 10, 50.0 - n % 10, 150.0 + n % 10, 1e9 + n)
    held = sum(len(heap) for heap in (lane._below, lane._above, lane._deadlines))
    assert held <= 3 * 65
