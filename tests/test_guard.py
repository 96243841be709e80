"""The price guard: each bound from both sides, and what brings an instrument back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gearing.drive.guard import Guard, GuardLimits
from gearing.drive.market import Market
from gearing.venues.protocol import Quote

T0 = 1_700_000_000_000


def priced(mark, index, time_ms):
    return Quote(symbol="A", time_ms=time_ms, mark=mark, index=index)


def steady(limits=None, samples=100, mark=100.0):
    """A guard after some quiet prices, one a second."""
    guard = Guard(limits or GuardLimits())
    for n in range(samples):
        assert guard.admits(priced(mark * (1 + 1e-5 * (-1) ** n), mark, T0 + 1_000 * n), T0 + 1_000 * n)
    return guard, T0 + 1_000 * samples


def test_the_first_good_price_is_acted_on():
    guard = Guard(GuardLimits())
    assert guard.why == "no price yet"
    assert guard.admits(priced(100.0, math.nan, T0), T0)
    assert guard.why == ""


@pytest.mark.parametrize("mark", [math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_p1_a_price_is_finite_and_above_zero(mark):
    guard, now_ms = steady()
    assert not guard.admits(priced(mark, 100.0, now_ms), now_ms)
    assert "price is" in guard.why


def test_p1_a_price_is_fresh_by_its_sources_time():
    guard, now_ms = steady()
    assert guard.admits(priced(100.0, 100.0, now_ms), now_ms + 10_000)
    guard, now_ms = steady()
    assert not guard.admits(priced(100.0, 100.0, now_ms), now_ms + 10_001)
    assert "10001 ms old" in guard.why


def test_p1_a_price_is_not_of_the_future():
    guard, now_ms = steady()
    assert guard.admits(priced(100.0, 100.0, now_ms + 2_000), now_ms)
    guard, now_ms = steady()
    assert not guard.admits(priced(100.0, 100.0, now_ms + 2_001), now_ms)
    assert "ahead" in guard.why


def test_p1_a_price_is_fresh_by_its_receipt():
    guard, now_ms = steady()
    assert not guard.is_stale(now_ms + 9_000)
    assert guard.is_stale(now_ms - 1_000 + 10_001)


def test_an_overtaken_price_changes_nothing():
    guard, now_ms = steady()
    assert not guard.admits(priced(100.0, 100.0, now_ms - 5_000), now_ms)
    assert guard.why == ""


def test_p2_a_jump_needs_the_index():
    for index in (math.nan, 100.0):
        guard, now_ms = steady(GuardLimits(divergence_max=1.0))
        assert not guard.admits(priced(105.0, index, now_ms), now_ms)
        assert "jumped" in guard.why
    guard, now_ms = steady()
    assert guard.admits(priced(105.0, 105.0, now_ms), now_ms)


def test_p2_an_index_that_went_the_other_way_confirms_nothing():
    guard, now_ms = steady(GuardLimits(divergence_max=1.0))
    assert not guard.admits(priced(105.0, 95.0, now_ms), now_ms)


def test_p2_the_bound_is_of_deviations_and_of_a_least_jump():
    guard, now_ms = steady()
    assert guard.admits(priced(101.9, 100.0, now_ms), now_ms)  # below the least jump
    wild = Guard(GuardLimits(divergence_max=1.0))
    for n in range(400):
        wild.admits(priced(100.0 * (1.01 if n % 2 else 1.0), 100.0, T0 + 1_000 * n), T0 + 1_000 * n)
    assert wild.admits(priced(105.0, math.nan, T0 + 400_000), T0 + 400_000)  # five usual moves


def test_p2_a_price_that_flickers_within_a_second_is_not_wild():
    """Ten times a second between bid and ask, and yet it does not move; a jump still needs the index."""
    guard = Guard(GuardLimits(divergence_max=1.0))
    for n in range(400):
        assert guard.admits(priced(100.0 * (1.002 if n % 2 else 1.0), 100.0, T0 + 100 * n), T0 + 100 * n)
    assert not guard.admits(priced(105.0, 100.0, T0 + 40_000), T0 + 40_000)


@pytest.mark.parametrize("index", [0.0, -1.0, -100.0, math.inf, -math.inf])
def test_p3_an_index_that_is_none_stops_too(index):
    guard, now_ms = steady()
    assert not guard.admits(priced(100.0, index, now_ms), now_ms)
    assert "apart" in guard.why


MARKS = some.sampled_from(
    [100.0, 100.5, 99.0, 101.0, 101.9, 102.1, 97.0, 105.0, 0.0, -1.0, -100.0, math.nan, math.inf, 1e308]
)


@given(
    some.lists(some.tuples(MARKS, MARKS, some.integers(-3_000, 12_000), some.integers(-12_000, 4_000)), max_size=40),
    some.sampled_from([0.02, 0.5, 3.0, 1e9]), some.sampled_from([0.03, 0.9, 5.0]),
)  # fmt: skip
def test_an_ordinary_price_is_one_that_a_closer_look_lets_through(prices, jump, apart):
    """The same prices, once as they are and once with none of them taken for ordinary."""
    limits = GuardLimits(jump_least=jump, divergence_max=apart, good_samples=3)
    quick, close = Guard(limits), Guard(limits)
    close._down = math.inf
    now_ms = T0
    for mark, index, later_ms, off_ms in prices:
        now_ms += max(later_ms, 0)
        quote = priced(mark, index, now_ms + off_ms)
        assert quick.admits(quote, now_ms) == close.admits(quote, now_ms)
        assert (quick.why, quick.good, quick.before_ms, quick.received_ms) == (
            close.why, close.good, close.before_ms, close.received_ms
        )  # fmt: skip


def test_p3_mark_and_index_apart_stop_until_enough_good_ones_came():
    guard, now_ms = steady()
    assert not guard.admits(priced(101.0, 97.0, now_ms), now_ms)
    assert "apart" in guard.why
    for n in range(1, 5):
        assert not guard.admits(priced(100.0, 100.0, now_ms + n), now_ms + n)
    assert guard.admits(priced(100.0, 100.0, now_ms + 5), now_ms + 5)
    assert guard.why == ""


def test_p3_a_bad_one_in_between_counts_from_the_beginning():
    guard, now_ms = steady()
    guard.admits(priced(math.nan, 100.0, now_ms), now_ms)
    for n in range(1, 5):
        guard.admits(priced(100.0, 100.0, now_ms + n), now_ms + n)
    guard.admits(priced(math.nan, 100.0, now_ms + 5), now_ms + 5)
    for n in range(6, 10):
        assert not guard.admits(priced(100.0, 100.0, now_ms + n), now_ms + n)
    assert guard.admits(priced(100.0, 100.0, now_ms + 10), now_ms + 10)


def quote(symbol, mark, time_ms):
    return Quote(symbol=symbol, time_ms=time_ms, mark=mark, index=mark)


def market():
    made = Market(GuardLimits(warm_ms=0))
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
        assert not it.take(bad, T0 + n)
    for n in range(3, 8):
        it.take(quote("A", 100.0, T0 + n), T0 + n)
    assert it.take(quote("A", 101.5, T0 + 8), T0 + 8) == [0]
