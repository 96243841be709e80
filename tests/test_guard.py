"""The price guard: each bound from both sides, and what brings an instrument back."""

from __future__ import annotations

import math

import pytest

from gearing.drive.guard import Guard, GuardLimits
from gearing.drive.market import Market
from gearing.venues.protocol import Quote

T0 = 1_700_000_000_000


def steady(limits=None, samples=100, mark=100.0):
    """A guard after some quiet prices, one a second."""
    guard = Guard(limits or GuardLimits())
    for n in range(samples):
        assert guard.admits(mark * (1 + 1e-5 * (-1) ** n), mark, T0 + 1_000 * n, T0 + 1_000 * n)
    return guard, T0 + 1_000 * samples


def test_the_first_good_price_is_acted_on():
    guard = Guard(GuardLimits())
    assert guard.why == "no price yet"
    assert guard.admits(100.0, math.nan, T0, T0)
    assert guard.why == ""


@pytest.mark.parametrize("mark", [math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_p1_a_price_is_finite_and_above_zero(mark):
    guard, now_ms = steady()
    assert not guard.admits(mark, 100.0, now_ms, now_ms)
    assert "price is" in guard.why


def test_p1_a_price_is_fresh_by_its_sources_time():
    guard, now_ms = steady()
    assert guard.admits(100.0, 100.0, now_ms, now_ms + 10_000)
    guard, now_ms = steady()
    assert not guard.admits(100.0, 100.0, now_ms, now_ms + 10_001)
    assert "10001 ms old" in guard.why


def test_p1_a_price_is_not_of_the_future():
    guard, now_ms = steady()
    assert guard.admits(100.0, 100.0, now_ms + 2_000, now_ms)
    guard, now_ms = steady()
    assert not guard.admits(100.0, 100.0, now_ms + 2_001, now_ms)
    assert "ahead" in guard.why


def test_p1_a_price_is_fresh_by_its_receipt():
    guard, now_ms = steady()
    assert not guard.is_stale(now_ms + 9_000)
    assert guard.is_stale(now_ms - 1_000 + 10_001)


def test_an_overtaken_price_changes_nothing():
    guard, now_ms = steady()
    assert not guard.admits(100.0, 100.0, now_ms - 5_000, now_ms)
    assert guard.why == ""


def test_p2_a_jump_needs_the_index():
    for index in (math.nan, 100.0):
        guard, now_ms = steady(GuardLimits(divergence_max=1.0))
        assert not guard.admits(105.0, index, now_ms, now_ms)
        assert "jumped" in guard.why
    guard, now_ms = steady()
    assert guard.admits(105.0, 105.0, now_ms, now_ms)


def test_p2_an_index_that_went_the_other_way_confirms_nothing():
    guard, now_ms = steady(GuardLimits(divergence_max=1.0))
    assert not guard.admits(105.0, 95.0, now_ms, now_ms)


def test_p2_the_bound_is_of_deviations_and_of_a_least_jump():
    guard, now_ms = steady()
    assert guard.admits(101.9, 100.0, now_ms, now_ms)  # below the least jump
    wild = Guard(GuardLimits(divergence_max=1.0))
    for n in range(400):
        wild.admits(100.0 * (1.01 if n % 2 else 1.0), 100.0, T0 + 1_000 * n, T0 + 1_000 * n)
    assert wild.admits(105.0, math.nan, T0 + 400_000, T0 + 400_000)  # five usual moves


def test_p3_mark_and_index_apart_stop_until_enough_good_ones_came():
    guard, now_ms = steady()
    assert not guard.admits(101.0, 97.0, now_ms, now_ms)
    assert "apart" in guard.why
    for n in range(1, 5):
        assert not guard.admits(100.0, 100.0, now_ms + n, now_ms + n)
    assert guard.admits(100.0, 100.0, now_ms + 5, now_ms + 5)
    assert guard.why == ""


def test_p3_a_bad_one_in_between_counts_from_the_beginning():
    guard, now_ms = steady()
    guard.admits(math.nan, 100.0, now_ms, now_ms)
    for n in range(1, 5):
        guard.admits(100.0, 100.0, now_ms + n, now_ms + n)
    guard.admits(math.nan, 100.0, now_ms + 5, now_ms + 5)
    for n in range(6, 10):
        assert not guard.admits(100.0, 100.0, now_ms + n, now_ms + n)
    assert guard.admits(100.0, 100.0, now_ms + 10, now_ms + 10)


def quote(symbol, mark, time_ms):
    return Quote(symbol=symbol, time_ms=time_ms, mark=mark, index=mark)


def market():
    made = Market(GuardLimits())
    made.list_token(0, ("A", "B"))
    return made


def test_p4_a_token_needs_a_good_price_of_every_leg():
    it = market()
    it.take(quote("A", 100.0, T0), T0)
    assert it.prices(("A", "B")) is None
    assert it.why_not("B") == "no price yet"
    it.take(quote("B", 50.0, T0 + 1), T0 + 1)
    found = it.prices(("A", "B"))
    assert found is not None
    assert (found.marks, found.time_ms) == ((100.0, 50.0), T0 + 1)
    it.take(quote("B", math.nan, T0 + 2), T0 + 2)
    assert it.prices(("A", "B")) is None


def test_p4_a_leg_whose_prices_stopped_has_no_good_price():
    """Another leg's prices go on; what nothing came of for too long is not acted on."""
    it = market()
    it.take(quote("A", 100.0, T0), T0)
    it.take(quote("B", 50.0, T0), T0)
    it.take(quote("A", 100.0, T0 + 10_000), T0 + 10_000)
    assert it.prices(("A", "B")) is not None
    it.take(quote("A", 100.0, T0 + 10_001), T0 + 10_001)
    assert it.prices(("A", "B")) is None
    assert it.prices(("A",)) is not None
    it.take(quote("B", 50.0, T0 + 10_002), T0 + 10_002)
    assert it.prices(("A", "B")) is not None


def test_p4_a_price_that_came_too_long_ago_is_not_acted_on_however_its_source_dates_it():
    """The source's clock is half a second ahead, so its price still looks fresh by that."""
    it = market()
    it.take(quote("A", 100.0, T0 + 500), T0)
    it.take(quote("B", 50.0, T0 + 10_400), T0 + 10_400)
    assert it.prices(("B",)) is not None
    assert it.prices(("A", "B")) is None


def test_a_bad_price_crosses_nothing():
    it = market()
    it.take(quote("A", 100.0, T0), T0)
    it.lane("A").arm(0, 99.0, 101.0, math.inf)
    for n, mark in enumerate((1_000.0, 0.0), 1):
        bad = Quote(symbol="A", time_ms=T0 + n, mark=mark, index=100.0)
        assert it.take(bad, T0 + n) == []
    for n in range(3, 8):
        it.take(quote("A", 100.0, T0 + n), T0 + n)
    assert it.take(quote("A", 101.5, T0 + 8), T0 + 8) == [0]
