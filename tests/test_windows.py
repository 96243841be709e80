"""What attackers tried at the windows of dealing: lent units, turns of the sides, free cancels, clocks that differ."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

import gearing as gr
from gearing.core import holder as ho
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.desk.requests import Deal
from gearing.drive.fees import Taken, take_fees
from gearing.drive.merging import merge
from gearing.venues.protocol import Quote
from tests.lives import HOUR_MS, token
from tests.test_matching import Fair, Seldom, both_ways
from tests.test_primary import COSTS, Market
from tests.test_settling import T_MS, Story

DAY_MS = 86_400_000


def at_once(desk, name, side, amount, mark=100.0):
    answers = desk.submit(Deal(holder=name, token="T", side=side, amount=amount, instant=True))
    desk.seconds(1, mark)
    assert answers[0].quote is not None, answers[0].words


def lending(own=100_000, units=None, **terms):
    """A desk whose dealing account may lend; h2 has all units, or all but some."""
    desk = Fair(quote_valid="10s", **terms)
    desk.deposit(ho.DEALER, own)
    desk.ask(ho.ISSUER, "redeem", units or desk.units(ho.ISSUER))
    desk.take()
    desk.seconds(130)
    desk.to_second(5)
    return desk


def waiting(desk, *names):
    return [name for name in names if desk.primary.state_of(name).requests]


# Units that were lent.


@pytest.mark.parametrize("amount", [100, 15_000])
def test_whoever_redeems_units_that_were_lent_stops_nobody(amount):
    desk = lending()
    at_once(desk, "h2", "subscribe", amount * MINOR)
    desk.ask("h2", "redeem", desk.units("h2"))
    desk.take()
    desk.seconds(70)
    assert desk.book.state.halted == ""
    assert desk.units("h2") == 0
    assert not waiting(desk, "h2", ho.DEALER)


@pytest.mark.parametrize("mark", [82.0, 110.0])
def test_lent_units_do_not_outlive_the_last_issued_one(mark):
    """Else the next first unit would cost the initial NAV, and the dealing account would buy back at that."""
    desk = lending()
    step = 0.1 if mark > 100 else -0.1
    for count in range(1, round(abs(mark - 100.0) * 10) + 1):
        desk.seconds(1, 100.0 + step * count)
    desk.seconds(130, mark)
    desk.to_second(5, mark)
    before = desk.cash("h2") + desk.units("h2") * desk.nav
    desk.ask("h2", "redeem", desk.units("h2"))
    at_once(desk, "h2", "subscribe", 30_000 * MINOR, mark)
    desk.seconds(130, mark)
    gained = desk.cash("h2") + desk.units("h2") * desk.nav - before
    assert -60 * MINOR < gained < 0  # the spread of the quote
    assert desk.nav == pytest.approx(float(desk.it.state.equity) / desk.it.state.balances.units)


def test_fees_do_not_burn_the_units_that_were_lent():
    fees = gr.Fees(management_per_day=0.2)
    desk = Market(token("A", costs=COSTS, fees=fees, primary=Terms(quote_valid="10s")), bad=0.0, rate=0.0)
    desk.opened()
    desk.deposit(ho.DEALER, 500_000)
    desk.deposit("h1", 500_000)
    desk.filled(desk.quote(100.0, after_ms=20 * HOUR_MS))
    desk.ask(ho.ISSUER, "redeem", 9_000 * MINOR)
    desk.take()
    desk.window()
    answers = desk.submit(Deal(holder="h1", token="T", side="subscribe", amount=900 * MINOR, instant=True))
    desk.filled(desk.quote(100.0))
    assert answers[0].quote.units > 10 * MINOR
    amount = int(995 * MINOR * desk.nav)
    assert take_fees(desk.driver, desk.it, amount, "burn", "ann", "x", desk.now_ms) == "too few units would be left"
    desk.window()
    assert isinstance(take_fees(desk.driver, desk.it, amount, "burn", "ann", "x", desk.now_ms), Taken)


@pytest.mark.parametrize("factor", [10.0, 1_000.0])
def test_a_merger_that_leaves_fewer_units_than_were_lent_is_refused_before_anything(factor):
    desk = lending()
    desk.ask("h2", "redeem", desk.units("h2") - 3)
    desk.take()
    desk.seconds(70)
    at_once(desk, "h1", "subscribe", 100 * MINOR)
    before = desk.primary.mergers
    assert merge(desk.driver, desk.it, factor, "ann", "x", desk.now_ms) == "nothing would be left of its units"
    assert desk.primary.mergers == before


# Turns.


def test_dust_that_is_redeemed_at_once_in_each_window_starves_no_subscription():
    desk = Fair(quote_valid="10s")
    desk.deposit(ho.DEALER, 100_000)
    desk.deposit("victim", 50_000)
    desk.to_second(5)
    desk.ask("victim", "subscribe", 50_000 * MINOR)
    desk.to_second(40)
    at_once(desk, "h2", "redeem", int(0.0102 * MINOR))
    desk.to_second(3)
    assert not waiting(desk, "victim", ho.DEALER)
    assert desk.units("victim") > 0


def test_no_quote_is_given_between_the_dealings_of_one_window():
    """Else whoever deals at once between them would keep the dealing account short for ever."""
    desk = lending()
    at_once(desk, "h2", "subscribe", 100 * MINOR)
    desk.ask("h2", "redeem", desk.units("h2"))
    desk.take()
    desk.deposit("h1", 100)
    while not desk.it.goes_on:
        desk.seconds(1)
    assert "what its window left is being dealt" in desk.primary.quotes.ask(
        "h1", desk.it, "subscribe", 10 * MINOR, desk.now_ms
    )
    desk.seconds(3)
    assert not desk.it.goes_on
    assert not waiting(desk, "h2")


def test_what_squares_the_dealing_account_is_hedged_though_it_had_to_wait():
    """By then it is one of those that asked before the average began, as it could not be dealt at once."""
    desk = Fair(quote_valid="10s")
    desk.deposit(ho.DEALER, 500_000)
    desk.to_second(5)
    at_once(desk, "h2", "redeem", 50 * MINOR)
    desk.primary.quotes.square(desk.it, desk.now_ms)
    assert waiting(desk, ho.DEALER)
    desk.ask("h1", "subscribe", 10_000 * MINOR)
    desk.seconds(60)
    assert desk.matched() == []
    assert not waiting(desk, "h1", ho.DEALER)


def test_redemptions_are_dealt_while_creations_are_paused_and_a_subscription_waits():
    """No average forms while it may be cancelled, and none is needed."""
    desk = Fair()
    both_ways(desk)
    desk.driver.operate(desk.it, "pause", "ann", "x", desk.now_ms)
    desk.to_second(1)
    assert waiting(desk, "h1", "h2") == ["h1"]
    desk.driver.operate(desk.it, "unpause", "ann", "x", desk.now_ms)
    desk.seconds(100)
    assert not waiting(desk, "h1")


# Cancels, and the price that forms.


def moving(desk, mark):
    """Lets prices of a story come at a mark that is a function of their time."""

    def price(time_ms):
        if time_ms >= T_MS:
            desk.remember_t()
            desk.funding = {"funding_rate": 0.0, "funding_ms": T_MS + 8 * HOUR_MS}
        desk.mark = mark(time_ms)
        desk.filled(desk.quote(desk.mark, after_ms=time_ms - desk.now_ms))

    desk.price = price


@pytest.mark.parametrize("moves_ms", [-15_000, 5_000, 45_000])
@pytest.mark.parametrize("booked_ms", [300, 20_300, 59_000])
def test_nobody_is_matched_at_prices_that_were_known_while_a_settlement_let_people_cancel(moves_ms, booked_ms):
    desk = Story(actual=0.0)
    moving(desk, lambda time_ms: 100.0 if time_ms < T_MS + moves_ms else 102.0)
    before = desk.wealth("h3")
    ask_ms = T_MS - 50_000 if booked_ms < 1_000 else T_MS - 80_000

    def ask():
        desk.ask("h3", "subscribe", 200_000 * MINOR)
        desk.ask("h1", "redeem", desk.units("h1"))

    free = []

    def cancel():
        free.append(desk.primary.is_dealt_next(desk.it, "subscribe", desk.now_ms) is False)

    desk.run([(ask_ms, ask), (T_MS + booked_ms - 200, cancel), (T_MS + booked_ms, desk.pay)], T_MS + 200_000)
    assert free == [True]
    assert not waiting(desk, "h1", "h3")
    matched = [line.time_ms for line in desk.lines if b'"flow_matched"' in line.body]
    assert all(time_ms >= T_MS + booked_ms + 29_000 for time_ms in matched)
    if moves_ms < booked_ms:  # it was known when the settlement was booked
        assert abs(desk.wealth("h3") - before) < 2 * MINOR


@pytest.mark.parametrize("how", ["halt", "pause"])
def test_nobody_is_matched_at_prices_that_were_known_while_a_halt_let_people_cancel(how):
    desk = Fair()
    both_ways(desk)
    desk.to_second(35)
    desk.driver.operate(desk.it, how, "ann", "x", desk.now_ms)
    desk.to_second(58, 102.0)
    assert desk.primary.is_dealt_next(desk.it, "subscribe", desk.now_ms) is False
    desk.driver.operate(desk.it, {"halt": "resume", "pause": "unpause"}[how], "ann", "x", desk.now_ms)
    desk.seconds(29, 102.0)
    assert desk.matched() == []
    desk.seconds(2, 102.0)
    (match,) = desk.matched()
    assert match.cash / match.units == pytest.approx(desk.nav, rel=1e-6)


@pytest.mark.parametrize("words", [("halt", "resume"), ("pause", "unpause")])
def test_a_halt_that_is_lifted_before_the_next_price_begins_the_average_anew_too(words):
    desk = Fair()
    both_ways(desk)
    desk.to_second(58, 101.0)
    desk.now_ms += 200
    desk.driver.operate(desk.it, words[0], "ann", "x", desk.now_ms)
    desk.now_ms += 300
    desk.driver.operate(desk.it, words[1], "ann", "x", desk.now_ms)
    desk.now_ms -= 500
    desk.seconds(29, 101.0)
    assert desk.matched() == []
    desk.seconds(5, 101.0)
    (match,) = desk.matched()
    assert match.cash / match.units == pytest.approx(desk.nav, rel=1e-6)


def test_silence_of_before_the_average_began_lets_nobody_cancel_within_it():
    """A's last price is of two seconds before; the other leg's part of the average is known by the time it is late."""
    desk = Two(match_over="10s")
    while desk.now_ms % 60_000 != 5_000:
        desk.seconds(1)
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.ask("h2", "redeem", 1_000 * MINOR)
    while desk.now_ms % 60_000 != 48_000:
        desk.seconds(1)
    for _ in range(10):
        desk.now_ms += 1_000
        desk.driver.on_quotes([Quote(symbol="B", time_ms=desk.now_ms, mark=100.0, index=100.0)], desk.now_ms)
        desk.filled(desk.take())
    assert desk.driver.market.age_ms("A", desk.now_ms + 700) > desk.driver.market.price_age_ms_max
    assert "its price forms already" in desk.primary.cancel("h1", "h1.1", desk.now_ms + 700)
    assert desk.primary.cancel("h1", "h1.1", desk.now_ms + 2_100) == ""  # of the average too it is silent too long


def test_what_goes_on_is_matched_once_an_average_of_its_own_has_formed(monkeypatch):
    """Else its first price would carry all the time since the window's last part began."""
    monkeypatch.setattr("gearing.drive.dealings._ENOUGH", 10)
    desk = Fair(match_over="5s")
    desk.to_second(5)
    for number in range(20):
        desk.deposit(f"s{number}", 1_000)
        desk.ask(f"s{number}", "subscribe", 500 * MINOR)
    for _ in range(20):
        desk.ask("h2", "redeem", 5 * MINOR)
    desk.to_second(0)
    assert len(desk.matched()) == 1
    desk.seconds(1, 100.7, 100.0)
    desk.seconds(120)
    assert all(match.cash / match.units == pytest.approx(100.0, rel=1e-2) for match in desk.matched())
    times = [match.time_ms for match in desk.matched()]
    assert len(times) > 2
    # One after the other, each once its own price has formed: not at the end of the next window.
    assert {after - before for before, after in pairwise(times)} == {5_000}


def test_what_asked_too_late_makes_nobody_wait_for_an_average():
    desk = Seldom(90_000)
    desk.ask("h2", "redeem", MINOR)
    desk.price(100.0)
    desk.ask("h2", "redeem", MINOR)
    desk.now_ms += 55_000
    desk.ask("h1", "subscribe", 10 * MINOR)
    desk.now_ms -= 55_000
    desk.price(100.0)
    assert waiting(desk, "h1", "h2") == ["h1"]


@pytest.mark.parametrize("late_ms", [11_000, 9_000])
def test_a_price_that_is_late_stalls_what_could_be_cancelled_meanwhile(late_ms):
    """It was made 9.9 s after the one before, and received later; no price may be older than 10 s."""
    desk = Fair()
    both_ways(desk)
    desk.to_second(40)
    made_ms = desk.now_ms
    desk.now_ms = made_ms + late_ms
    may_cancel = not desk.primary.is_dealt_next(desk.it, "subscribe", desk.now_ms - 1)
    desk.driver.on_quotes([Quote(symbol="A", time_ms=made_ms + min(late_ms, 9_900), mark=100.0, index=100.0)],
                          desk.now_ms)  # fmt: skip
    desk.filled(desk.take())
    desk.seconds(12)
    assert (may_cancel, len(desk.matched())) == ((True, 0) if late_ms > 10_000 else (False, 1))


# Clocks.


class Off(Fair):
    """A feed whose clock is ahead of the desk's, or behind it."""

    ahead_ms = 0

    def seconds(self, count, mark=100.0, index=None):
        for _ in range(count):
            self.now_ms += 1_000
            self.mark = mark
            quote = Quote(symbol="A", time_ms=self.now_ms + self.ahead_ms, mark=mark, index=mark)
            self.driver.on_quotes([quote], self.now_ms)
            self.filled(self.take())


@pytest.mark.parametrize(("window", "match_over"), [("1m", "30s"), ("10s", "5s"), ("10s", "2s"), ("4s", "2s")])
def test_a_feed_whose_clock_is_ahead_tells_nobody_of_the_average(window, match_over):
    class Ahead(Off):
        ahead_ms = 1_900

    desk = Ahead(window=window, match_over=match_over)
    terms = desk.it.spec.token.primary
    while desk.now_ms % terms.window_ms:
        desk.seconds(1)
    desk.now_ms += 1
    desk.ask("h2", "redeem", desk.units("h2"))
    begins_ms = desk.now_ms - 1 + terms.window_ms - terms.match_ms
    desk.now_ms -= 1
    while desk.now_ms < begins_ms - 1_000:
        desk.seconds(1)
    desk.seconds(1, 101.0)
    assert desk.now_ms == begins_ms
    desk.ask("h1", "subscribe", 400_000 * MINOR)
    desk.seconds(terms.window_ms // 1_000 + 40, 101.0)
    (match,) = desk.matched()
    assert match.cash / match.units == pytest.approx(desk.nav, rel=1e-9)


@pytest.mark.parametrize("ahead_ms", [-300, -3_000, 1_900])
def test_a_token_that_is_armed_as_its_average_begins_has_one_whatever_the_clocks(ahead_ms):
    desk = Off()
    desk.ahead_ms = ahead_ms
    desk.seconds(130)
    both_ways(desk)
    desk.to_second(30)
    desk.driver.arm(desk.it)
    desk.seconds(45)
    assert len(desk.matched()) == 1


def test_a_window_ends_by_the_desks_clock_too():
    desk = Off()
    desk.ahead_ms = 1_900
    desk.seconds(60)
    desk.to_second(5)
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.to_second(59)
    assert waiting(desk, "h1")
    desk.seconds(1)
    assert not waiting(desk, "h1")


class Two(Market):
    """A desk of a token of two legs, whose prices come each second."""

    def __init__(self, **terms):
        super().__init__(token("A", "B", costs=COSTS, primary=Terms(**terms)), bad=0.0, rate=0.0)
        self.opened()
        for name in ("h1", "h2"):
            self.deposit(name, 500_000)
        self.ask("h2", "subscribe", 400_000 * MINOR)
        self.take()
        self.seconds(120)

    def seconds(self, count, index=100.0):
        for _ in range(count):
            self.now_ms += 1_000
            quotes = [Quote(symbol=name, time_ms=self.now_ms, mark=100.0, index=at)
                      for name, at in (("A", 100.0), ("B", index))]  # fmt: skip
            self.driver.on_quotes(quotes, self.now_ms)
            self.filled(self.take())

    to_second, matched = Fair.to_second, Fair.matched


@pytest.mark.parametrize("second", [28, 29, 33])
def test_a_leg_without_a_good_price_as_the_average_begins_does_not_end_it(second):
    desk = Two()
    while desk.now_ms % 60_000 != 5_000:
        desk.seconds(1)
    both = (("h1", "subscribe", 400_000 * MINOR), ("h2", "redeem", desk.units("h2")))
    for name, side, amount in both:
        desk.ask(name, side, amount)
    while desk.now_ms % 60_000 != second * 1_000:
        desk.seconds(1)
    desk.seconds(2, index=104.0)
    assert not desk.driver.market.is_good(("B",), desk.now_ms)
    desk.seconds(40)
    assert len(desk.matched()) == 1


# Windows and days.


@pytest.mark.parametrize(("window", "hours"), [("1h", 1), ("1h", 8), ("8h", 8), ("4h", 4)])
def test_a_window_as_long_as_the_time_between_settlements_is_dealt_in(window, hours):
    desk = Market(token("A", costs=COSTS, primary=Terms(window=window)), bad=0.0, rate=0.0)
    next_ms = desk.now_ms + hours * HOUR_MS
    desk.funding = {"funding_rate": 0.0, "funding_ms": next_ms}
    desk.opened()
    desk.deposit("h1", 100_000)
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.take()
    began_ms = desk.now_ms
    while waiting(desk, "h1") and desk.now_ms < began_ms + 10 * HOUR_MS:
        desk.filled(desk.quote(100.0, after_ms=30_000))
        if desk.now_ms >= next_ms:
            settled_ms, next_ms = next_ms, next_ms + hours * HOUR_MS
            desk.funding = {"funding_rate": 0.0, "funding_ms": next_ms}
            desk.filled(desk.quote(100.0, after_ms=5_000))
            desk.driver.on_funding(desk.book, desk.payment(desk.lots[0], 0, settled_ms), desk.now_ms)
            desk.filled(desk.take())
    assert desk.now_ms < began_ms + (hours if window != "1h" else 1) * HOUR_MS + 120_000


def test_what_waits_since_yesterday_is_no_room_of_today():
    desk = Market(token("A", costs=COSTS, primary=Terms(total_per_day=8_000.0)), bad=0.0, rate=0.0)
    desk.opened()
    for name in ("evil", "h1"):
        desk.deposit(name, 80_000)
    midnight_ms = (desk.now_ms // DAY_MS + 1) * DAY_MS
    desk.filled(desk.quote(100.0, after_ms=midnight_ms - 20_000 - desk.now_ms))
    desk.ask("h1", "subscribe", 5_000 * MINOR)  # after the average of the last window has begun
    desk.filled(desk.quote(100.0, after_ms=22_000))
    assert "capped" in desk.ask("evil", "subscribe", 12_000 * MINOR)
    assert desk.primary.cancel("h1", "h1.1", desk.now_ms) == ""


def test_a_window_that_becomes_shorter_is_dealt_in_as_it_is_now():
    desk = Fair(window="1h")
    desk.seconds(3_600)
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.seconds(5)
    terms = msgspec.structs.replace(desk.it.spec.token.primary, window="10s")
    desk.driver.change(desk.it, msgspec.structs.replace(desk.it.spec.token, primary=terms), "ann", "x", desk.now_ms)
    desk.seconds(21)
    assert not waiting(desk, "h1")
