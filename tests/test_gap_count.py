"""Waits in the data against brute force over bars, and the law of moves against planted ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearing.core.record import DAY_MS
from gearing.market.series import Prices
from gearing.study.gap_count import law_of, lowest_within, windows_of
from gearing.study.gap_passage import Jumps
from gearing.study.gap_rule import NEXT_PRICE, YEAR_MS, Clock

HOUR = 3_600_000
START = 1_672_531_200_000
CLOCKS = [
    NEXT_PRICE,
    Clock("times", DAY_MS, 365.0, (2 * 60_000,)),
    Clock("times", 16 * HOUR, 730.0, (0, 8 * HOUR)),
    Clock("every", 24 * HOUR, 365.0),
    Clock("every", 90 * 60_000, YEAR_MS / (90 * 60_000)),
    Clock("check", 4 * HOUR, YEAR_MS / (4 * HOUR)),
]


def series(seed: int, count: int, *, holes: bool, bars: bool = True) -> Prices:
    rng = np.random.default_rng(seed)
    times = START + HOUR * np.arange(count)
    if holes:
        times = times[np.sort(rng.choice(count, max(2, 3 * count // 4), replace=False))]
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.03, len(times))))
    if not bars:
        return Prices(times, close)
    return Prices(
        times, close, low=close * rng.uniform(0.9, 1, len(times)), high=close * rng.uniform(1, 1.1, len(times))
    )


def by_hand(prices: Prices, clock: Clock, *, falls: bool) -> list[tuple[float, int]]:
    """Each wait's worst move and the moment of its bar, walked bar by bar."""
    times = prices.times_ms.tolist()
    extremes = (prices.low if falls else prices.high) if prices.low is not None else prices.close
    assert extremes is not None
    pick = min if falls else max

    def due(previous: int, now: int) -> bool:
        if clock.kind == "bar":
            return True
        step, offsets = (clock.span_ms, (0,)) if clock.kind == "check" else (DAY_MS, clock.times_ms)
        return any((now - offset) // step > (previous - offset) // step for offset in offsets)

    starts = [
        k for k in range(len(times)) if clock.kind == "every" or due(times[k - 1] if k else times[0] - 1, times[k])
    ]
    found = []
    for start in starts:
        for end in range(start + 1, len(times)):
            done = times[end] >= times[start] + clock.span_ms if clock.kind == "every" else end in starts
            if done:
                worst, bar = pick((extremes[k] / prices.close[start] - 1, times[k]) for k in range(start + 1, end + 1))
                found.append((worst, bar))
                break
    return found


@pytest.mark.parametrize("clock", CLOCKS, ids=lambda clock: f"{clock.kind} {clock.span_ms // 60_000}m")
@pytest.mark.parametrize("falls", [True, False])
@pytest.mark.parametrize(("seed", "holes", "bars"), [(1, False, True), (2, True, True), (3, True, False)])
def test_waits_are_those_walked_by_hand(clock, falls, seed, holes, bars):
    prices = series(seed, 120, holes=holes, bars=bars)
    windows, expected = windows_of(prices, clock, falls=falls), by_hand(prices, clock, falls=falls)
    assert windows.moves == pytest.approx([move for move, _ in expected], rel=1e-12, abs=1e-15)
    worst, at = (min if falls else max)(expected)
    assert windows.worst == pytest.approx(worst)
    assert windows.worst_ms == at
    threshold = -0.05 if falls else 0.05
    count = sum(move <= threshold if falls else move >= threshold for move, _ in expected)
    assert windows.beyond(threshold) == count > 0
    assert windows.beyond(None) == 0


def test_a_series_shorter_than_a_wait_has_none():
    windows = windows_of(series(1, 5, holes=False), Clock("every", DAY_MS, 365.0), falls=True)
    assert (len(windows.moves), windows.beyond(-0.1)) == (0, 0)
    assert math.isnan(windows.worst)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=70), st.data())
def test_the_least_of_any_range(values, data):
    ends = st.tuples(*[st.integers(0, len(values) - 1)] * 2).map(sorted)
    ranges = data.draw(st.lists(ends, min_size=1, max_size=20))
    first, last = (np.array([pair[k] for pair in ranges]) for k in (0, 1))
    found = lowest_within(np.array(values), first, last)
    assert found.tolist() == [min(values[a : b + 1]) for a, b in ranges]


def test_the_law_finds_planted_jumps_and_leaves_the_rest_alone():
    rng = np.random.default_rng(4)
    moves = rng.normal(0, 0.005, 50_000)
    rows = rng.choice(len(moves), 200, replace=False)
    moves[rows] = np.where(rng.random(200) < 0.5, -1, 1) * rng.uniform(0.05, 0.15, 200)
    prices = Prices(START + HOUR * np.arange(50_001), 100 * np.exp(np.concatenate([[0], np.cumsum(moves)])))
    law = law_of(prices)
    assert law.bars_per_year == 8_760
    assert law.diffusion == pytest.approx(0.005 * math.sqrt(8_760), rel=0.02)
    assert law.jumps.per_year == pytest.approx(200 / 50_000 * 8_760, rel=0.02)
    assert law.jumps.mean == pytest.approx(moves[rows].mean(), abs=1e-3)
    assert law.jumps.deviation == pytest.approx(moves[rows].std(), rel=0.02)
    assert law.volatility == pytest.approx(math.sqrt(np.mean(moves**2) * 8_760))
    # Variances add up: jumps and diffusion together are the whole.
    jumps = law.jumps.per_year * (law.jumps.mean**2 + law.jumps.deviation**2)
    calm = law.diffusion**2 * (1 - law.jumps.per_year / 8_760)
    assert jumps + calm == pytest.approx(law.volatility**2, rel=1e-9)
    # With this drift the expected price does not move: ν + σ²/2 + λ·E[e^J − 1] = 0.
    growth = math.exp(law.jumps.mean + law.jumps.deviation**2 / 2) - 1
    assert law.nu + law.diffusion**2 / 2 + law.jumps.per_year * growth == pytest.approx(0, abs=1e-12)


def test_a_price_that_stands_still_has_no_law():
    law = law_of(Prices(START + HOUR * np.arange(100), np.full(100, 7.0)))
    assert (law.volatility, law.diffusion, law.jumps) == (0.0, 0.0, Jumps())


def test_listed_days_make_252_waits_a_year():
    days = np.array([d for d in range(400) if d % 7 < 5]) * DAY_MS + 4 * DAY_MS
    law = law_of(Prices(days, np.linspace(100, 120, len(days))))
    daily = Clock("times", DAY_MS, 365.0, (0,))
    assert law.per_year(daily) == 252
    assert law.years(daily) == pytest.approx(1 / 252)
    weekly = Clock("every", 7 * DAY_MS, 365 / 7)
    assert law.per_year(weekly) == pytest.approx(52.14, abs=0.01)
