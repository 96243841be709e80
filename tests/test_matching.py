"""Matching: requests change hands at a time-weighted mark, held against the index, and no tick decides."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gearing as gr
from gearing.core import holder as ho
from gearing.core.journal import line_of
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.desk.boot import boot
from gearing.desk.requests import Deal
from gearing.drive.averages import MarkAverage
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from gearing.errors import SpecError
from gearing.venues.protocol import Quote
from tests.lives import MINUTE_MS, NOON_MS, UNITS, token
from tests.test_primary import COSTS, Market
from tests.test_store_dealing import kept

__all__ = ["kept"]


class Fair(Market):
    """A desk whose prices come each second, with an index of their own."""

    def __init__(self, limits=None, **terms):
        super().__init__(token("A", costs=COSTS, primary=Terms(**terms)), bad=0.0, rate=0.0, limits=limits)
        self.opened()
        for name in ("h1", "h2"):
            self.deposit(name, 500_000)
        self.ask("h2", "subscribe", 400_000 * MINOR)
        self.take()
        self.seconds(120)

    def seconds(self, count, mark=100.0, index=None):
        for _ in range(count):
            self.now_ms += 1_000
            self.mark = mark
            self.driver.on_quotes(
                [Quote(symbol="A", time_ms=self.now_ms, mark=mark, index=mark if index is None else index)], self.now_ms
            )
            self.filled(self.take())

    def to_second(self, second, mark=100.0, index=None):
        """Lets prices come up to a second of the minute."""
        while self.now_ms % MINUTE_MS != second * 1_000:
            self.seconds(1, mark, index)

    def matched(self):
        return [line_of(line.body).event for line in self.lines if b'"flow_matched"' in line.body]


def both_ways(desk):
    desk.to_second(5)
    desk.ask("h1", "subscribe", 400_000 * MINOR)
    desk.ask("h2", "redeem", desk.units("h2"))
    desk.take()


@pytest.mark.parametrize("jump", [0.02, -0.02])
def test_a_mark_that_is_moved_for_a_second_at_the_windows_end_gains_next_to_nothing(jump):
    desk = Fair()
    both_ways(desk)
    desk.to_second(59)
    desk.seconds(1, 100.0 * (1 + jump), index=100.0)
    desk.seconds(10)
    (match,) = desk.matched()
    fair = 100.0
    off = match.cash / match.units * 1.0 - fair * 1.0
    # A second of thirty at most, at three times leverage: under 0.1 % of the move, where one tick would give 6 %.
    assert abs(off) / fair < 3 * abs(jump) / 30 * 1.01
    gained = abs(off) * match.units / MINOR
    assert gained < 400_000 * 0.0021


def test_the_price_is_the_time_weighted_mark_of_the_last_part_of_the_window():
    desk = Fair()
    both_ways(desk)
    desk.to_second(30)
    desk.seconds(10, 101.0)
    desk.seconds(20, 102.0)
    (match,) = desk.matched()
    # From 31 s on (the price of 30 s was known before): ten seconds at 101, 19 at 102 (that of the end has no time).
    mark = (10 * 101.0 + 19 * 102.0) / 29
    assert match.cash / match.units == pytest.approx(100.0 * (1 + 3.0 * (mark / 100.0 - 1)), rel=1e-4)
    assert desk.it.state.legs[0].mark == 102.0  # the token itself stays at the mark of now


def test_a_request_that_is_accepted_while_the_average_runs_waits_for_the_next_window():
    desk = Fair()
    desk.to_second(31)
    desk.ask("h2", "redeem", 10 * MINOR)
    desk.take()
    desk.seconds(30)
    assert desk.primary.holders["h2"].state.requests
    desk.seconds(60)
    assert not desk.primary.holders["h2"].state.requests


def test_a_window_whose_mark_and_index_are_apart_is_postponed_and_says_so():
    desk = Fair()
    both_ways(desk)
    desk.to_second(20)
    desk.seconds(45, 100.9, index=100.0)
    assert desk.matched() == []
    assert any("T: dealing is postponed by a window: average mark and index of its last part are 0.900%" in words
               and "apart, more than 0.500%" in words for words in desk.alarms)  # fmt: skip
    assert desk.primary.queue("T").waiting
    desk.seconds(61)
    assert len(desk.matched()) == 1


@pytest.mark.parametrize("silent_s", [11, 40, 150])
def test_where_a_feed_stalls_nobody_is_matched_and_the_older_side_is_hedged(silent_s):
    """Else whoever asks last, knowing where the market went meanwhile, deals at the price from before."""
    desk = Fair()
    both_ways(desk)
    desk.to_second(40)
    desk.filled(desk.quote(103.0, after_ms=silent_s * 1_000))
    desk.mark = 103.0
    while desk.primary.holders["h1"].state.requests:
        desk.seconds(1, 103.0)
    assert desk.primary.holders["h2"].state.requests
    desk.seconds(61, 103.0)
    assert not desk.primary.holders["h2"].state.requests
    assert desk.matched() == []


class Seldom(Fair):
    """A desk whose prices come once a minute, ten seconds after a window's end."""

    def __init__(self, age_ms_max):
        super().__init__(limits=GuardLimits(age_ms_max=age_ms_max, warm_ms=0))
        self.to_second(10)

    def price(self, mark):
        self.mark = mark
        self.filled(self.quote(mark, after_ms=MINUTE_MS))

    def waiting(self):
        return [name for name in ("h1", "h2") if self.primary.state_of(name).requests]


def test_where_prices_come_seldom_the_average_goes_on_until_none_of_them_decides_alone():
    """At the third, two of them carry half of it each."""
    desk = Seldom(90_000)
    both_ways(desk)
    for mark in (100.2, 100.4, 99.8):
        assert (desk.matched(), desk.waiting()) == ([], ["h1", "h2"])
        desk.price(mark)
    (match,) = desk.matched()
    mark = (60 * 100.2 + 60 * 100.4) / 120
    assert match.cash / match.units == pytest.approx(100.0 * (1 + 3.0 * (mark / 100.0 - 1)), rel=1e-4)


def test_where_prices_are_too_far_apart_nobody_is_matched_and_the_sides_take_turns():
    desk = Seldom(30_000)
    both_ways(desk)
    for left in (["h2"], []):
        desk.price(100.0)
        assert desk.waiting() == left
    assert desk.matched() == []


def test_dust_on_one_side_holds_up_the_other_by_a_window_at_most():
    desk = Seldom(30_000)
    desk.ask("h1", "subscribe", MINOR)
    desk.ask("h2", "redeem", desk.units("h2"))
    desk.price(100.0)
    desk.ask("h1", "subscribe", MINOR)
    desk.price(100.0)
    assert desk.waiting() == ["h1"]


def test_a_price_that_is_refused_lets_nobody_cancel_what_is_about_to_be_dealt():
    desk = Fair()
    both_ways(desk)
    desk.to_second(53)
    request = next(one.id for one in desk.primary.requests("T") if one.side == "redeem")
    desk.driver.on_quotes([Quote(symbol="A", time_ms=desk.now_ms + 1, mark=50.0, index=100.0)], desk.now_ms + 1)
    assert not desk.driver.market.is_good(("A",), desk.now_ms + 1)
    assert "its price forms already" in desk.primary.cancel("h2", request, desk.now_ms + 1)


def test_a_feed_that_pauses_for_less_than_a_price_may_be_old_postpones_nothing():
    desk = Fair()
    both_ways(desk)
    desk.to_second(40)
    desk.filled(desk.quote(100.0, after_ms=10_000))
    desk.seconds(12)
    assert len(desk.matched()) == 1


def test_a_restart_deals_nothing_whose_mark_and_index_are_apart(kept):
    kept.deposit("h1", 20_000)
    kept.ask("h1", "subscribe", 6_000 * MINOR)
    kept.take()
    again = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms).driver
    it, now_ms = again.by_name["T"], kept.now_ms + 61_000
    for _ in range(90):
        again.on_quotes([Quote(symbol="A", time_ms=now_ms, mark=101.5, index=100.0)], now_ms)
        now_ms += 1_000
    assert it.flow == ()
    assert len(again.primary.requests("T")) == 1
    assert it.deals_ms > now_ms
    assert any("mark and index are 1.500% apart" in words for words in again.taken().alarms)


@pytest.mark.parametrize(("second", "ends"), [(20, 60), (40, 70), (59, 89), (500, 530)])
def test_after_a_restart_requests_are_matched_at_an_average_of_what_came_since(kept, second, ends):
    """Over as long as the last part of a window; what was averaged before is lost. Nobody cancels meanwhile."""
    for name in ("h1", "h2"):
        kept.deposit(name, 20_000)
    kept.ask("h2", "subscribe", 5_000 * MINOR)
    kept.window()
    kept.ask("h1", "subscribe", 6_000 * MINOR)
    kept.ask("h2", "redeem", kept.units("h2"))
    kept.take()
    begun_ms = kept.now_ms // MINUTE_MS * MINUTE_MS
    now_ms = begun_ms + second * 1_000
    again = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=now_ms).driver
    while len(again.primary.requests("T")) == 2:
        now_ms += 1_000
        again.on_quotes([Quote(symbol="A", time_ms=now_ms, mark=100.0, index=100.0)], now_ms)
        if now_ms - begun_ms < ends * 1_000 and now_ms - begun_ms >= 30_000:
            assert "its price forms already" in again.primary.cancel("h1", "h1.1", now_ms)
    assert now_ms == begun_ms + ends * 1_000
    assert any(b'"flow_matched"' in line.body for line in again.taken().lines)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5_000), st.floats(1.0, 1e5), st.floats(1.0, 1e5)), min_size=1, max_size=30),
       st.integers(0, 5_000))  # fmt: skip
def test_an_average_is_what_a_sum_over_all_milliseconds_says(steps, rest_ms):
    time_ms, average, carried = NOON_MS, MarkAverage(NOON_MS), []
    average.take(Quote(symbol="A", time_ms=NOON_MS, mark=7.0, index=8.0), NOON_MS)  # known before
    for number, (length_ms, _, _) in enumerate(steps):
        carried += [number - 1] * (length_ms if number else 0)
        time_ms += length_ms
        average.take(Quote(symbol="A", time_ms=time_ms, mark=steps[number][1], index=steps[number][2]), time_ms)
    carried += [len(steps) - 1] * rest_ms
    found = average.up_to(time_ms + rest_ms, time_ms + rest_ms)
    marks, indices = [steps[k][1] for k in carried], [steps[k][2] for k in carried]
    if not carried:
        assert found == (steps[0][1], abs(steps[0][1] / steps[0][2] - 1.0), steps[0][0], 1.0, 0.0)
        return
    assert found.mark == pytest.approx(sum(marks) / len(marks), rel=1e-9)
    assert found.divergence == pytest.approx(abs(sum(marks) / sum(indices) - 1), rel=1e-9, abs=1e-9)
    assert found.share == pytest.approx(max(Counter(carried).values()) / len(carried))
    assert found.gap_ms == max(*(length for length, _, _ in steps), rest_ms)
    assert found.covered == pytest.approx(len(carried) / (len(carried) + steps[0][0]))


def test_an_unknown_index_holds_nothing_against_the_mark():
    average = MarkAverage(0)
    assert math.isnan(average.up_to(10, 10).mark)
    assert average.up_to(10, 10)[2:] == (10, 1.0, 0.0)
    average.take(Quote(symbol="A", time_ms=4, mark=5.0, index=float("nan")), 4)
    assert average.up_to(10, 10).divergence == 0.0
    assert average.up_to(10, 10)[::2] == (5.0, 6, 0.6)


@pytest.mark.parametrize(
    "terms", [{"match_over": "0s"}, {"match_over": "11m"}, {"match_divergence": 0.0}, {"match_divergence": 2.0}]
)
def test_terms_of_matching_have_bounds(terms):
    with pytest.raises(SpecError):
        Terms(**terms)


def test_the_average_takes_half_a_window_at_most():
    assert Terms(window="10s").match_ms == 5_000
    assert Terms(match_over="5s").match_ms == 5_000


# The fee of a time without units.


def test_a_token_that_had_no_units_for_days_charges_its_first_units_from_their_creation_on():
    """Emptied at noon, when half a day's fee was charged; created again another day at six: three quarters of a day."""
    desk = Market(token("A", costs=COSTS, fees=gr.Fees(management_per_day=0.01)), bad=0.0, rate=0.0)
    desk.opened()
    desk.ask(ho.ISSUER, "redeem", UNITS)
    desk.take()
    desk.window()
    assert desk.it.state.balances.units == 0
    owed = -desk.it.state.balances.fees
    day_ms = 86_400_000
    desk.quote(100.0, after_ms=(desk.now_ms // day_ms + 3) * day_ms + day_ms // 4 - desk.now_ms - MINUTE_MS + 1_000)
    desk.deposit("h1", 100_000)
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.take()
    desk.window()
    begun = desk.now_ms % day_ms / day_ms
    assert begun == pytest.approx(0.25, abs=0.001)
    assert -desk.it.state.balances.fees == owed
    desk.filled(desk.quote(100.0, after_ms=day_ms - desk.now_ms % day_ms + 1_000))
    charged = (-desk.it.state.balances.fees - owed) / MINOR
    assert charged == pytest.approx(100_000 * (1 - 0.99 ** (1 - begun)), rel=1e-6)
    desk.filled(desk.quote(100.0, after_ms=day_ms))
    assert (-desk.it.state.balances.fees - owed) / MINOR == pytest.approx(
        charged + (100_000 - charged) * 0.01, rel=1e-6
    )


def test_a_request_after_the_windows_end_and_before_its_first_price_puts_off_nobody():
    desk = Fair()
    both_ways(desk)
    desk.to_second(59)
    for after_ms in (1_001, 1_500, 2_000):  # no price comes meanwhile
        desk.now_ms += after_ms
        desk.deposit("h3", 100)
        desk.ask("h3", "subscribe", 10 * MINOR)
    desk.seconds(1)
    assert len(desk.matched()) == 1
    assert len(desk.primary.holders["h3"].state.requests) == 3  # they came after the average began


def test_an_average_ends_with_its_window_though_nothing_was_dealt_in_it():
    desk = Fair()
    desk.to_second(5)
    desk.ask("h1", "subscribe", 10 * MINOR)
    desk.to_second(29)
    request = next(iter(desk.primary.holders["h1"].state.requests))
    desk.seconds(1)
    desk.primary.end(desk.primary.request_of(request, "h1"), "h1", "as the test wants", desk.now_ms)
    desk.seconds(600, 108.0)
    both_ways(desk)
    desk.to_second(0, 108.0)
    (match,) = desk.matched()
    assert match.cash / match.units == pytest.approx(desk.nav, rel=1e-4)


def test_what_is_about_to_be_dealt_is_not_taken_back():
    desk = Fair()
    both_ways(desk)
    h1, h2 = (next(iter(desk.primary.holders[name].state.requests)) for name in ("h1", "h2"))
    desk.to_second(29)
    assert desk.primary.cancel("h1", h1, desk.now_ms) == ""
    desk.ask("h1", "subscribe", 400_000 * MINOR)
    desk.to_second(31)
    late = desk.ask("h1", "subscribe", 10 * MINOR).id
    desk.to_second(59)
    assert desk.primary.cancel("h2", h2, desk.now_ms) == f"{h2} is about to be dealt, and its price forms already"
    assert desk.primary.cancel("h1", late, desk.now_ms) == ""


def test_what_squares_the_dealing_account_is_not_matched_at_an_average_that_was_known():
    """Its request is made at the window's end; who dealt with it at once may have done so for the average's sake."""
    desk = Fair(quote_valid="10s")
    desk.deposit(ho.DEALER, 500_000)
    desk.to_second(5)
    desk.ask("h2", "redeem", 100 * MINOR)
    desk.to_second(50)
    desk.deposit("h3", 100_000)
    answers = desk.submit(Deal(holder="h3", token="T", side="subscribe", amount=5_000 * MINOR, instant=True))
    desk.seconds(1)
    assert answers[0].quote is not None
    late = desk.ask("h1", "subscribe", 1_000 * MINOR).id
    desk.to_second(0)
    assert desk.matched() == []
    assert late in desk.primary.holders["h1"].state.requests
