"""The fair price: what money moves at is no single tick, whoever moves the mark for a moment."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.dealing import worth
from gearing.core.flow_result import flow_result
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.quoting import cost_rate
from gearing.core.state import Cover, paid_in
from gearing.core.step import step
from gearing.desk.requests import AskQuote, Deal, Pay
from gearing.drive.averages import MarkAverage
from gearing.drive.fair import MEMORY_MS, FairPrice
from gearing.venues.protocol import Quote
from tests.lives import MINUTE_MS, NOON_MS, token
from tests.test_matching import Fair, both_ways
from tests.test_primary import COSTS, Market

NAN = float("nan")


def quoted(mark, index, time_ms):
    return Quote(symbol="A", time_ms=time_ms, mark=mark, index=index)


# The price itself.


@given(some.lists(some.tuples(some.integers(1, 90_000), some.floats(90.0, 110.0), some.floats(0.9995, 1.0005)),
                  min_size=1, max_size=20))  # fmt: skip
def test_it_is_the_index_times_the_average_premium_of_the_prices_before(steps):
    """Worked out from the whole list each time: each premium by its length over the length and the memory.

    Over less time than that, all count by their lengths alone.
    """
    fair, time_ms, premiums = FairPrice(0), NOON_MS, []
    for length_ms, index, premium in steps:
        time_ms += length_ms
        fair.take(quoted(index * premium, index, time_ms))
        premiums.append((premium, length_ms))
        average, total = premiums[0][0], 0
        for (before, _), (_, length) in itertools.pairwise(premiums):
            total += length
            weight = length / min(length + MEMORY_MS, total)
            average = average * (1 - weight) + before * weight
        assert fair.price == pytest.approx(index * average, rel=1e-9)


def test_one_price_moves_it_by_what_the_index_says():
    fair = FairPrice(0)
    assert math.isnan(fair.price)
    for second in range(60):
        fair.take(quoted(100.1, 100.0, NOON_MS + second * 1_000))
    fair.take(quoted(103.0, 101.0, NOON_MS + 60_000))
    assert fair.price == pytest.approx(101.0 * 1.001)
    fair.take(quoted(100.1, 100.0, NOON_MS + 61_000))  # a second at 1.9 % counts as one at 0.1 %
    assert fair.price == pytest.approx(100.1 + 100.0 * 0.001 / 31, rel=1e-9)


def test_before_ten_seconds_of_prices_nothing_is_dealt_by_it_and_no_price_counts_more_than_its_time():
    """Whoever is there first after a restart, with a mark that is off, is not what all others are held against."""
    fair = FairPrice(10_000)
    fair.take(quoted(99.55, 100.0, NOON_MS))
    for second in range(1, 11):
        assert not fair.is_known
        assert not fair.agrees(100.0, 0.01)
        fair.take(quoted(100.0, 100.0, NOON_MS + second * 1_000))
    assert fair.is_known
    assert fair.price == pytest.approx(100.0 - 0.45 / 10, rel=1e-9)
    assert fair.agrees(100.0, 0.001)


@pytest.mark.parametrize("index", [100.0, NAN])
def test_the_first_price_after_a_restart_is_nobodys_gain(index):
    desk = Market(token("A", costs=COSTS, primary=Terms(quote_valid="30s")), bad=0.0, rate=0.0)
    desk.opened()
    desk.deposit(ho.DEALER, 500_000)
    desk.deposit("evil", 200_000)
    desk.window()
    desk.driver.market._instruments["A"].fair = FairPrice(10_000)
    answers = desk.submit(Deal(holder="evil", token="T", side="subscribe", amount=100_000 * MINOR, instant=True))
    desk.now_ms += 1_000
    desk.driver.on_quotes([quoted(99.55, index, desk.now_ms)], desk.now_ms)
    assert "have not come for long enough" in answers[0].words


def test_without_an_index_it_is_the_average_of_the_marks_before():
    fair = FairPrice(0)
    for second, mark in enumerate((100.0, 100.0, 90.0)):
        fair.take(quoted(mark, NAN, NOON_MS + second * 30_000))
    assert fair.price == 100.0
    fair.take(quoted(90.0, NAN, NOON_MS + 90_000))
    assert fair.price == 95.0
    fair.take(quoted(90.0, 91.0, NOON_MS + 91_000))  # from now on there is one
    assert fair.price == 90.0


# What deals with the dealing account.


@pytest.mark.parametrize("jump", [0.0, 0.0049, -0.0049])
def test_nobody_gains_from_the_dealing_account_by_moving_the_mark_for_a_second(jump):
    desk = Fair(quote_valid="10s")
    desk.deposit(ho.DEALER, 300_000)
    desk.deposit("evil", 200_000)
    desk.to_second(40)
    for side, mark in (("subscribe", 100.0 * (1 + jump)), ("redeem", 100.0 * (1 - jump))):
        amount = 200_000 * MINOR if side == "subscribe" else desk.units("evil")
        answers = desk.submit(Deal(holder="evil", token="T", side=side, amount=amount, instant=True))
        desk.seconds(1, mark, 100.0)
        assert answers[0].quote is not None, answers
        desk.seconds(1)
    assert desk.cash("evil") / MINOR - 200_000 < -390  # twice the swing, whatever the mark was


@pytest.mark.parametrize("jump", [0.006, -0.015])
def test_there_are_no_quotes_while_mark_and_index_are_apart(jump):
    desk = Fair(quote_valid="10s")
    desk.deposit(ho.DEALER, 300_000)
    desk.to_second(40)
    desk.seconds(1, 100.0 * (1 + jump), 100.0)
    (answered,) = desk.submit(AskQuote(holder="h1", token="T", side="subscribe", amount=1_000 * MINOR))
    assert f"mark and index of T are {abs(jump):.3%} apart, more than 0.500%" in answered.words


def test_a_feed_that_has_stopped_gives_quotes_of_neither_side():
    desk = Fair(quote_valid="10s")
    desk.deposit(ho.DEALER, 300_000)
    desk.to_second(40)
    desk.now_ms += 30 * MINUTE_MS
    for side, name, amount in (("subscribe", "h1", 1_000 * MINOR), ("redeem", "h2", 10 * MINOR)):
        (answered,) = desk.submit(AskQuote(holder=name, token="T", side=side, amount=amount))
        assert answered.words.startswith("T has no good price now"), side


def test_what_the_dealing_account_lent_is_backed_at_the_prices_of_now():
    desk = Fair(quote_valid="10s", quote_margin=1e-6)
    desk.deposit(ho.DEALER, 100_000)
    desk.to_second(40)
    desk.submit(Deal(holder="h1", token="T", side="subscribe", amount=40_000 * MINOR, instant=True))
    desk.seconds(1)
    lent = -desk.primary.quotes.stands(desk.it)
    assert lent > 0
    desk.seconds(1, 101.9)  # the NAV that was struck is of before
    aside = desk.primary.quotes.set_aside(desk.now_ms).money("USDT")
    worth = lent * Fraction(desk.it.state.equity, desk.it.state.balances.units)
    assert aside > worth * Fraction(105, 100)
    (answered,) = desk.submit(Pay(holder=ho.DEALER, asset="USDT", amount=aside - desk.cash(ho.DEALER) - 1,
                                  reference="W1", by="ann"))  # fmt: skip
    assert not answered.done
    (answered,) = desk.submit(Pay(holder=ho.DEALER, asset="USDT", amount=aside - desk.cash(ho.DEALER), reference="W2",
                                  by="ann"))  # fmt: skip
    assert answered.done, answered.words
    desk.now_ms += 30 * MINUTE_MS
    desk.deposit(ho.DEALER, 1_000)
    (answered,) = desk.submit(Pay(holder=ho.DEALER, asset="USDT", amount=-MINOR, reference="W3", by="ann"))
    assert "T has no good price now, and the dealing account has to back what it lent" in answered.words


def test_own_funds_do_not_leave_the_dealing_account_below_its_margin():
    desk = Fair(quote_valid="10s", quote_margin=0.5)
    desk.deposit(ho.DEALER, 100_000)
    desk.to_second(40)
    desk.submit(Deal(holder="h1", token="T", side="subscribe", amount=40_000 * MINOR, instant=True))
    desk.seconds(1)
    own = desk.cash(ho.DEALER) - 40_000 * MINOR
    (answered,) = desk.submit(Pay(holder=ho.DEALER, asset="USDT", amount=-(own - 15_000 * MINOR), reference="W1",
                                  by="ann"))  # fmt: skip
    assert "the dealing account keeps 0.5 times its exposure" in answered.words
    (answered,) = desk.submit(Pay(holder=ho.DEALER, asset="USDT", amount=-(own - 21_000 * MINOR), reference="W2",
                                  by="ann"))  # fmt: skip
    assert answered.done, answered.words


# What crosses.


class Crossing(Market):
    """Two tokens of one book against each other, at a venue whose order book does not follow the mark."""

    def __init__(self, **more):
        short = msgspec.structs.replace(token("A", target=-3.0, costs=COSTS), symbol="U")
        super().__init__(token("A", costs=COSTS, primary=Terms(quote_valid="10s")), short, bad=0.0, rate=5e-4, **more)
        self.opened()
        for name in ("evil", "honest"):
            self.deposit(name, 500_000)

    def seconds(self, count, mark=100.0):
        for _ in range(count):
            self.now_ms += 1_000
            self.driver.on_quotes([quoted(mark, 100.0, self.now_ms)], self.now_ms)
            self.mark = 100.0
            self.filled(self.take())

    def to_second(self, second):
        while self.now_ms % MINUTE_MS != second * 1_000:
            self.seconds(1)

    def wealth(self, name):
        state = self.primary.state_of(name)
        units = sum(state.held_units(one.name) * Fraction(one.state.equity, one.state.balances.units)
                    for one in self.tokens)  # fmt: skip
        return float(state.cash("USDT") + state.cash("USDT", ho.HELD) + units) / MINOR


@pytest.mark.parametrize("jump", [-0.0049, -0.0004, 0.0004, 0.0049, -0.012, 0.019])
def test_hedges_that_cross_do_so_at_no_single_mark(jump):
    desk = Crossing()
    desk.to_second(5)
    desk.ask("evil", "subscribe", 400_000 * MINOR, "T")
    desk.ask("honest", "subscribe", 400_000 * MINOR, "U")
    desk.take()
    before = {name: desk.wealth(name) for name in ("evil", "honest")}
    desk.to_second(59)
    desk.seconds(1, 100.0 * (1 + jump))
    desk.seconds(75)
    assert desk.it.state.balances.units > 10_000 * MINOR
    # One tick would have moved 5,800 at 0.49 % and 21,500 at 1.9 %.
    assert all(desk.wealth(name) - before[name] < 60 for name in before)
    assert all(desk.wealth(name) - before[name] > -800 for name in before)  # what a venue takes, if nothing crosses


def test_what_crosses_says_nothing_of_a_venues_cost():
    desk = Crossing()
    desk.to_second(5)
    desk.ask("evil", "subscribe", 4_000 * MINOR, "T")
    desk.take()
    desk.to_second(4)
    cost = cost_rate(desk.it.spec, desk.it.costs)
    assert cost == pytest.approx(5e-4, rel=1e-3)  # what the venue takes
    for _ in range(3):
        desk.to_second(5)
        desk.ask("evil", "subscribe", 4_000 * MINOR, "T")
        desk.ask("honest", "subscribe", 4_000 * MINOR, "U")
        desk.take()
        desk.to_second(4)
    assert any(b'"crossed"' in line.body or b'"crosses":true' in line.body for line in desk.lines)
    assert cost_rate(desk.it.spec, desk.it.costs) == pytest.approx(cost, rel=0.02)


def test_where_the_premium_has_moved_nothing_crosses_and_both_trade_at_the_venue():
    """Else whoever saw it move would gain what the fair price lags behind, from the other."""
    desk = Crossing()
    desk.to_second(5)
    before = {name: desk.wealth(name) for name in ("evil", "honest")}
    desk.seconds(1, 100.45)
    desk.ask("evil", "subscribe", 200_000 * MINOR, "T")
    desk.ask("honest", "subscribe", 200_000 * MINOR, "U")
    desk.take()
    while desk.now_ms % MINUTE_MS != 1_000:
        desk.now_ms += 1_000
        desk.driver.on_quotes([quoted(100.45, 100.0, desk.now_ms)], desk.now_ms)
        desk.mark = 100.45
        desk.filled(desk.take())
    assert not [line for line in desk.lines if b'"crosses":true' in line.body and b'"epoch":1,' not in line.body]
    assert all(desk.wealth(name) - before[name] < 1 for name in before)


def test_a_price_without_the_index_that_was_there_stands_against_dealing():
    fair = FairPrice(0)
    for second in range(60):
        fair.take(quoted(100.0, 100.0, NOON_MS + second * 1_000))
    fair.take(quoted(98.1, NAN, NOON_MS + 60_000))
    assert fair.divergence == math.inf
    assert not fair.agrees(98.1, 0.05)
    fair.take(quoted(100.0, 100.0, NOON_MS + 61_000))
    assert (fair.price, fair.divergence) == (100.0, 0.0)  # what it was without the index counts for nothing
    fair.take(quoted(98.1, NAN, NOON_MS + 61_000 + 700_000))
    assert fair.divergence == 0.0  # by now there is none
    desk = Fair(quote_valid="10s")
    desk.deposit(ho.DEALER, 300_000)
    desk.to_second(40)
    desk.seconds(1, 98.1, index=NAN)
    (answered,) = desk.submit(AskQuote(holder="h1", token="T", side="subscribe", amount=1_000 * MINOR))
    assert "the index of T is missing" in answered.words


# What waits for mark and index to agree, and who is bound meanwhile.


def test_a_moments_divergence_puts_off_a_hedge_by_a_moment_and_no_match():
    desk = Fair()
    desk.to_second(5)
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.take()
    desk.to_second(59)
    desk.seconds(3, 101.0, index=100.0)
    assert desk.it.flow == ()
    assert desk.primary.requests("T")
    desk.seconds(1)
    assert not desk.primary.requests("T")
    assert desk.alarms == []
    both_ways(desk)
    desk.to_second(59)
    desk.seconds(1, 101.0, index=100.0)
    assert len(desk.matched()) == 1


def test_what_is_left_of_a_match_is_hedged_once_mark_and_index_agree():
    desk = Fair()
    desk.to_second(5)
    desk.ask("h1", "subscribe", 400_000 * MINOR)
    desk.ask("h2", "redeem", desk.units("h2") // 2)
    desk.take()
    desk.to_second(59)
    placed = len(desk.placed)
    desk.seconds(3, 101.0, index=100.0)
    assert len(desk.matched()) == 1
    assert len(desk.placed) == placed
    desk.seconds(1)
    assert len(desk.placed) == placed + 1
    assert not desk.primary.requests("T")


def jammed(desk):
    """Mark and index are apart at the end of the window, after the price had formed."""
    both_ways(desk)
    desk.to_second(49)
    desk.seconds(11, 101.9, index=100.0)
    assert desk.matched() == []


def test_whoever_parts_mark_and_index_stays_bound():
    desk = Fair()
    jammed(desk)
    (request,) = [one.id for one in desk.primary.requests("T") if one.side == "redeem"]
    desk.seconds(5)
    assert "its price had formed" in desk.primary.cancel("h2", request, desk.now_ms)
    desk.seconds(60)
    assert len(desk.matched()) == 1


def test_but_not_for_ever():
    desk = Fair()
    jammed(desk)
    desk.seconds(4 * 60 + 10, 100.9, index=100.0)
    assert "its price had formed" in desk.primary.cancel("h1", "h1.1", desk.now_ms)
    desk.seconds(60, 100.9, index=100.0)
    assert desk.primary.cancel("h1", "h1.1", desk.now_ms) == ""


def test_nor_beyond_the_time_that_was_named_whatever_put_the_last_window_off():
    desk = Fair()
    jammed(desk)
    desk.seconds(4 * 60 + 10, 100.9, index=100.0)
    desk.driver.operate(desk.it, "halt", "ann", "x", desk.now_ms)
    desk.seconds(60, 100.9, index=100.0)
    desk.driver.operate(desk.it, "resume", "ann", "x", desk.now_ms)
    desk.seconds(1, 100.9, index=100.0)
    assert desk.primary.is_dealt_next(desk.it, "subscribe", desk.now_ms)
    assert desk.primary.cancel("h1", "h1.1", desk.now_ms) == ""


def test_others_rejections_bind_for_one_window_only():
    desk = Fair(total_per_day=600_000.0)
    desk.deposit("evil", 200_000)
    desk.to_second(5)
    desk.ask("h1", "subscribe", 150_000 * MINOR)
    desk.take()
    desk.seconds(1)
    refused = desk.ask("evil", "subscribe", 100_000 * MINOR)
    assert "capped" in refused
    assert "others were rejected" in desk.primary.cancel("h1", "h1.1", desk.now_ms)
    desk.to_second(59, 100.6, index=100.0)
    desk.seconds(7 * 60 + 6, 100.6, index=100.0)
    assert "capped" in desk.ask("evil", "subscribe", 100_000 * MINOR)
    assert desk.primary.cancel("h1", "h1.1", desk.now_ms) == ""


# Averages.


def test_a_moment_at_the_end_is_no_average():
    average = MarkAverage(NOON_MS)
    for after_ms in (4_990, 4_994, 4_997):
        average.take(quoted(100.0, 100.0, NOON_MS + after_ms), NOON_MS + after_ms)
    found = average.up_to(NOON_MS + 5_000, NOON_MS + 5_000)
    assert found.share <= 2 / 3
    assert not found.is_formed


@pytest.mark.parametrize(("unknown", "divergence"), [(1, 0.1), (14, 0.1), (16, math.inf), (30, 0.0)])
def test_an_index_that_is_missing_now_and_then_still_holds_the_mark(unknown, divergence):
    average = MarkAverage(NOON_MS)
    for second in range(1, 31):
        index = NAN if second <= unknown else 100.0
        average.take(quoted(110.0, index, NOON_MS + second * 1_000), NOON_MS + second * 1_000)
    assert average.up_to(NOON_MS + 31_000, NOON_MS + 31_000).divergence == pytest.approx(divergence)


# Redemptions whose hedge was filled in time.


def redeeming():
    """A desk that hedges a redemption of 400,000, and the order of that."""
    desk = Market(token("A", costs=COSTS), bad=0.0, rate=0.0)
    desk.opened()
    desk.deposit("h2", 400_000)
    desk.ask("h2", "subscribe", 400_000 * MINOR)
    desk.take()
    desk.window()
    desk.ask("h2", "redeem", desk.units("h2"))
    desk.take()
    desk.steady()
    (order,) = desk.quote(100.0, after_ms=MINUTE_MS - desk.now_ms % MINUTE_MS)
    return desk, order


def test_a_hedge_that_was_filled_before_the_others_lost_everything_is_paid_out():
    paid = []
    for late in (False, True):
        desk, order = redeeming()
        desk.hear(desk.trade(order), *(() if late else (desk.status(order),)))
        out = desk.quote(60.0)
        desk.mark = 60.0
        if late:
            desk.filled(desk.hear(desk.status(order)))
        desk.filled(out)
        desk.filled(desk.take())
        for _ in range(3):
            desk.filled(desk.quote(60.0, after_ms=31_000))
        assert desk.it.state.status == "wiped"
        assert desk.it.state.equity == 0
        assert desk.alarms == []
        paid.append((desk.cash("h2") / MINOR, desk.it.state.balances.reserve / MINOR))
    assert paid[0] == pytest.approx(paid[1], abs=0.1)
    assert paid[1][0] == pytest.approx(400_000, abs=0.1)


def test_what_the_reserve_paid_in_meanwhile_is_nobodys_gain():
    desk, order = redeeming()
    desk.hear(desk.trade(order))
    desk.quote(60.0)
    spec, state = desk.it.spec, desk.it.state
    (attempt,), now_ms = state.rebalance.attempts, desk.now_ms
    ended = ev.OrderEnded(time_ms=now_ms, leg=0, epoch=state.rebalance.epoch, slice=0, attempt=attempt.number,
                          outcome="filled")  # fmt: skip
    before = step(spec, state, ended).state
    after = step(spec, before, ev.Marked(time_ms=now_ms, prices=(60.0,), before_ms=now_ms)).state
    assert after.balances.reserve < 0
    if after.is_working:  # it is closed at once; nothing of that is filled yet
        after = msgspec.structs.replace(after, rebalance=None)
    results = [flow_result(one, worth(spec, one, (0.0,), "redeem")) for one in (before, after)]
    assert results[0].gives == pytest.approx(400_000 * MINOR, rel=1e-6)
    assert results[1].gives == pytest.approx(results[0].gives, rel=1e-6)


def test_one_unhedged_leg_of_a_wiped_token_stops_nothing():
    desk = Market(token("A", "B", costs=COSTS), bad=0.0, rate=0.0)
    desk.opened()
    desk.deposit("h2", 400_000)
    desk.ask("h2", "subscribe", 400_000 * MINOR)
    desk.window()
    desk.window()
    desk.ask("h2", "redeem", desk.units("h2"))
    desk.steady()
    one, other = desk.quote(100.0, 100.0, after_ms=MINUTE_MS - desk.now_ms % MINUTE_MS)
    desk.hear(desk.trade(one, one.lots))
    out = desk.quote(60.0, 60.0)
    desk.mark = 60.0
    desk.filled(desk.hear(desk.status(one)))
    desk.filled(desk.hear(desk.status(other, "cancelled", 0)))
    desk.filled(out)
    for _ in range(3):
        desk.filled(desk.quote(60.0, 60.0, after_ms=10_000))
    assert (desk.it.state.status, desk.lots) == ("wiped", [0, 0])
    assert desk.book.state.halted == ""
    assert not desk.primary.requests("T")


@pytest.mark.parametrize("gift", [10_000, 200_000])
def test_what_the_reserve_was_given_before_is_not_paid_out_at_a_wipe_out(gift):
    state = Market(token("A", costs=COSTS)).it.state
    given = msgspec.structs.replace(state, covers=(Cover(1, -gift), Cover(2, 500), Cover(3, -200)))
    assert paid_in(given.covers) == 300
    assert paid_in(given.covers[:1]) == 0
