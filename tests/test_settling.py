"""Dealing around a funding settlement: who held at its time bears it, whenever it is reported, and nobody else."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cache, partial

import msgspec
import pytest
from msgspec import UNSET

import gearing as gr
from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.book import Assumed, BookState
from gearing.core.holder import DEALER
from gearing.core.journal import line_of
from gearing.core.measured import exposure_of
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.state import Accrual
from gearing.core.step_result import StepError
from gearing.desk.counter import answer
from gearing.desk.requests import AskQuote, Deal
from gearing.drive.fees import Taken, take_fees
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from gearing.drive.merging import merge
from gearing.drive.reconciling import differences
from gearing.drive.schedule import FundingSchedule, Settlement
from gearing.drive.settling import book_by_hand, clock, never_settled, unbooked, unbooked_since_ms, why_dealing_waits
from gearing.store.recompute import Portfolio, take
from gearing.venues.protocol import FundingPayment, Quote, Settled
from tests.desks import Desk, stated
from tests.lives import HOUR_MS, NOON_MS, token
from tests.test_primary import Market

T_MS = NOON_MS + 4 * HOUR_MS
FREE = gr.Costs(half_spread=0.0, taker_fee=0.0)
PERIOD_MS = 8 * HOUR_MS


class Story(Market):
    """A desk around a settlement at T; trading is free, so that whatever somebody gains, somebody else has lost.

    Time passes in steps of prices; what is due at a time (a request, the venue's payment) happens at that time.
    """

    def __init__(self, target=3.0, actual=0.0075, predicted="right", hold=100_000):
        terms = Terms(quote_valid="10s", quote_swing=0.0)
        it = token("A", target=target, costs=FREE, rule=gr.Rule(deviation=0.5), primary=terms)
        super().__init__(it, bad=0.0, rate=0.0)
        self.actual = actual
        rates = {"right": actual, "wrong": actual / 3, "turned": -actual, "absent": None}
        self.predicted = rates[predicted]
        self.funding = {"funding_rate": self.predicted, "funding_ms": T_MS}
        self.opened()
        self.paid_out = False
        for name in ("h1", "h2", "h3", DEALER):
            self.deposit(name, 1_000_000)
        self.ask("h1", "subscribe", hold * MINOR)
        self.ask("h2", "subscribe", hold * MINOR)
        self.take()
        self.window()
        self.pending = []
        self.at_t = None

    def price(self, time_ms):
        """Lets a price come at a time, and fills whatever is sent; before T it announces T, from T on the next one."""
        if time_ms >= T_MS:
            self.remember_t()
            self.funding = {"funding_rate": self.predicted, "funding_ms": T_MS + PERIOD_MS}
        self.filled(self.quote(100.0, after_ms=time_ms - self.now_ms))

    def remember_t(self):
        if self.at_t is None:
            self.at_t = (self.lots[0], self.it.state.dealing)

    def pay(self, is_asked=False):
        """The venue books T, on what was held then."""
        self.remember_t()
        lots = self.at_t[0]
        amount = -round(lots * float(self.lot) * 100.0 * self.actual * MINOR)
        payment = FundingPayment(symbol="A", settlement_ms=T_MS, rate=self.actual, mark=100.0, lots=lots, amount=amount)
        self.driver.on_funding(self.book, payment, self.now_ms, is_asked=is_asked)
        self.filled(self.take())
        return amount

    def run(self, events, until_ms=T_MS + 300_000, step_ms=1_000):
        """Runs events, (time, function), between prices a second apart."""
        events = sorted(events, key=lambda one: one[0])
        time_ms = self.now_ms + step_ms
        while time_ms <= until_ms:
            while events and events[0][0] <= time_ms:
                at_ms, act = events.pop(0)
                if at_ms >= T_MS:
                    self.remember_t()
                self.now_ms = max(at_ms, self.now_ms)
                act()
                self.filled(self.take())
            self.price(time_ms)
            time_ms += step_ms
        return self

    def wealth(self, name):
        state = self.primary.holders[name].state
        return state.cash("USDT") + state.cash("USDT", ho.HELD) + state.held_units("T") * Fraction(self.nav)

    def now(self, side, name, amount):
        return lambda: self.submit(Deal(holder=name, token="T", side=side, amount=amount, instant=True))


@cache
def navs(target, actual, predicted):
    """Returns the NAV before and after T of a token in which nobody deals, minor units of money per minor unit."""
    desk = Story(target, actual, predicted)
    before = desk.nav
    desk.run([(T_MS, desk.pay)], step_ms=20_000)
    return Fraction(before), Fraction(desk.nav)


FLOWS = {
    "subscribe": lambda units: [("h3", "subscribe", 200_000 * MINOR)],
    "redeem": lambda units: [("h1", "redeem", units)],
    "matched": lambda units: [("h3", "subscribe", 80_000 * MINOR), ("h1", "redeem", units)],
}
OFFSETS_MS = [-150_000, -149_999, -90_000, -61_000, -60_001, -60_000, -59_999, -30_000, -1, 0, 1, 500, 999, 30_000]


def around(target, actual, predicted, flow, offset_ms, delay_ms):
    """Returns a desk after a flow that was asked for around T, and by how much each holder is off what T made."""
    desk = Story(target, actual, predicted)
    units = {name: desk.primary.holders[name].state.units("T") for name in ("h1", "h2", "h3", ho.ISSUER)}
    wealth = {name: desk.wealth(name) for name in units}
    asks = [(T_MS + offset_ms, partial(desk.ask, *one)) for one in FLOWS[flow](units["h1"])]
    desk.run([*asks, (T_MS + delay_ms, desk.pay)], step_ms=10_000)
    before, after = navs(target, actual, predicted)
    off = {name: float(desk.wealth(name) - wealth[name] - held * (after - before)) for name, held in units.items()}
    return desk, off


@pytest.mark.parametrize("target", [3.0, -3.0])
@pytest.mark.parametrize("predicted", ["right", "wrong", "absent", "turned"])
@pytest.mark.parametrize("actual", [0.0075, -0.0075])
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("delay_ms", [0, 700, 130_000])
def test_who_held_at_a_settlement_bears_it_and_nobody_else(target, predicted, actual, flow, delay_ms):
    """Held against a desk that books T and deals nothing: flows that waited differ from it by rounding alone.

    Flows that were completed before cost those who stayed what the prediction was off at most, as far as it accrued.
    """
    for offset_ms in OFFSETS_MS:
        desk, off = around(target, actual, predicted, flow, offset_ms, delay_ms)
        assert desk.primary._queues["T"].waiting == {}
        assert desk.it.state.dealing is UNSET
        assert not desk.it.state.is_provisional
        dealt = [line for line in desk.lines if b'"dealing_settled"' in line.body or b'"flow_matched"' in line.body]
        waited = dealt[-1].time_ms >= T_MS
        # What is asked for in the last half minute of a window is dealt a window later; none ends just before T.
        assert waited == (offset_ms > -150_000)
        accrued = 1 - Fraction(60_000, PERIOD_MS)
        exposure = 3 * 200_000 * MINOR
        most = float(exposure * accrued) * abs((desk.predicted or 0.0) - actual) + exposure * abs(actual) / 400
        # What has accrued of the next period until a flow is dealt is its own affair.
        since = exposure * abs(desk.predicted or 0.0) * max(dealt[-1].time_ms - T_MS, 0) / PERIOD_MS
        if waited:
            assert max(map(abs, off.values())) <= since + 50_000, (offset_ms, off)
            continue
        # The hedge of whoever came before T is paid or charged T by the venue; nobody who stayed pays for that.
        assert min(off["h2"], off[ho.ISSUER]) >= -most, (offset_ms, off)


@pytest.mark.parametrize("target", [3.0, -3.0])
@pytest.mark.parametrize("actual", [0.0075, -0.0075])
@pytest.mark.parametrize(("name", "side"), [("h3", "subscribe"), ("h1", "redeem")])
def test_instant_dealing_around_a_settlement_gains_nothing_from_the_dealing_account(target, actual, name, side):
    before, after = navs(target, actual, "right")
    for offset_ms in (-90_000, -60_000, -59_999, -1, 0, 1, 999, 5_000, 30_000):
        desk, said = Story(target, actual, "right"), []
        held = desk.primary.holders[name].state.units("T")
        amount = 100_000 * MINOR if side == "subscribe" else held
        wealth = desk.wealth(name)
        deals = desk.now(side, name, amount)
        desk.run([(T_MS + offset_ms, lambda deals=deals, said=said: said.append(deals())),
                  (T_MS + 20_000, desk.pay)], step_ms=10_000)  # fmt: skip
        assert (said[0][0].quote is None) == (-60_000 <= offset_ms < 20_000)
        gained = float(desk.wealth(name) - wealth - held * (after - before))
        # What was dealt before T is off by the part of the period that was still to come, a 480th.
        # What has accrued of the next period until it is dealt forward, two windows at most, is its own affair.
        most = 3 * 0.0075 * 100_000 * MINOR * (103_000 if offset_ms < -60_000 else 120_000) / PERIOD_MS
        assert gained <= most, offset_ms
        # Who subscribes before T bears it; who redeems before T pays what has accrued of it, and gets no income of it.
        assert gained >= (-3 * 0.0075 * 101_000 * MINOR if offset_ms < -60_000 else -most), offset_ms


def test_a_payment_that_comes_in_the_middle_of_a_fill_is_shared_by_what_was_held_at_its_time():
    """Half of a flow's hedge is filled before T, the rest after it; the payment comes last of all."""
    desk = Story(3.0, 0.0075, "absent")
    desk.run([], until_ms=T_MS - 190_000, step_ms=10_000)
    before = desk.nav
    desk.ask("h3", "subscribe", 200_000 * MINOR)
    desk.take()
    desk.run([], until_ms=T_MS - 125_000, step_ms=5_000)
    (order,) = desk.quote(100.0, after_ms=T_MS - 90_000 - desk.now_ms)
    half, own = order.lots // 2, desk.lots[0]
    desk.now_ms = T_MS - 30_000
    desk.hear(desk.trade(order, half, price=100.0, time_ms=T_MS - 30_000))
    held = desk.lots[0]
    desk.funding = {"funding_rate": None, "funding_ms": T_MS + PERIOD_MS}
    desk.quote(100.0, after_ms=T_MS - desk.now_ms)
    desk.now_ms = T_MS + 10_000
    desk.hear(desk.trade(order, order.lots - half, price=100.0, time_ms=T_MS + 10_000), desk.status(order))
    assert desk.it.state.dealing is not UNSET  # it is not settled before the payment is known
    desk.quote(100.0, after_ms=1_000)
    assert desk.cash("h3", ho.HELD) == 200_000 * MINOR
    amount = -round(held * float(desk.lot) * 100.0 * 0.0075 * MINOR)
    payment = FundingPayment(symbol="A", settlement_ms=T_MS, rate=0.0075, mark=100.0, lots=held, amount=amount)
    desk.driver.on_funding(desk.book, payment, desk.now_ms, is_asked=False)
    desk.take()
    assert desk.it.state.dealing is UNSET
    assert desk.nav == pytest.approx(before * (1 - 3 * 0.0075), rel=1e-6)
    assert float(desk.wealth("h3") - 1_000_000 * MINOR) == pytest.approx(
        float(amount * Fraction(held - own, held)), rel=1e-6
    )


def test_a_late_report_is_shared_by_the_sizes_of_its_time_though_positions_have_changed_since():
    desk = Story(3.0, 0.0075, "right")
    desk.run([], until_ms=T_MS + 2_000)
    held = desk.at_t[0]
    for hours in (1, 2, 3):
        desk.quote(100.0 + hours, after_ms=HOUR_MS)
        desk.driver.operate(desk.it, "rebalance", "ann", "test", desk.now_ms)
        desk.mark = 100.0 + hours
        desk.filled(desk.take())
    assert desk.lots[0] != held
    wallet = desk.it.state.balances.wallet
    amount = desk.pay(is_asked=True)
    assert desk.it.state.status == "open"
    assert desk.alarms[1:] == []  # but for the venue's silence
    assert desk.it.state.balances.wallet - wallet == amount


def test_a_nav_between_settlement_and_booking_contains_the_predicted_funding_and_says_so():
    desk = Story(3.0, 0.0075, "right")
    before = desk.nav
    desk.run([], until_ms=T_MS + 30_000)
    state = desk.it.state
    assert state.is_provisional
    assert desk.nav == pytest.approx(before * (1 - 3 * 0.0075), rel=1e-9)
    assert state.balances.accrued == pytest.approx(-before * state.balances.units * 3 * 0.0075, rel=1e-6)
    desk.pay()
    state = desk.it.state
    assert not state.is_provisional
    assert state.balances.accrued == 0
    assert desk.nav == pytest.approx(before * (1 - 3 * 0.0075), rel=1e-9)


def test_what_is_turned_is_taken_back_when_the_venue_books():
    desk = Story(3.0, 0.0075, "turned")
    before, units = desk.nav, desk.it.state.balances.units
    paid = exposure_of(desk.it.state) * 0.0075 * MINOR
    desk.run([], until_ms=T_MS + 30_000)
    assert desk.nav == pytest.approx(before + paid / units, rel=1e-9)
    desk.pay()
    assert desk.nav == pytest.approx(before - paid / units, rel=1e-9)
    assert desk.it.state.balances.funding == pytest.approx(paid, rel=1e-9)


def test_a_settlement_is_accrued_once_and_by_no_prediction_is_anybody_wiped_out():
    desk = Story(3.0, 0.5, "right")
    desk.run([], until_ms=T_MS + 70_000)
    accrued = [line for line in desk.lines if b'"funding_accrued"' in line.body]
    assert len(accrued) == 1
    assert desk.it.state.status == "open"
    assert desk.it.state.balances.accrued == 0
    assert desk.it.state.is_provisional
    event = line_of(accrued[0].body).event
    with pytest.raises(StepError, match="accrued or booked already"):
        desk.driver.apply(desk.it, event)


def test_while_a_settlement_is_not_booked_nothing_is_dealt_quoted_taken_or_merged():
    desk = Story(3.0, 0.0075, "right")
    balances = desk.it.state.balances
    owing = msgspec.structs.replace(balances, fees=-100, capital=balances.capital + 100)
    desk.it.state = msgspec.structs.replace(desk.it.state, balances=owing)
    words = "funding is settled at 2026-01-01 16:00 UTC; dealing goes on once it is booked"
    for at_ms, why in ((T_MS - 65_000, ""), (T_MS - 60_000, words), (T_MS - 1, words),
                       (T_MS, "the funding of A at 2026-01-01 16:00 UTC is not booked yet"),
                       (T_MS + 59_000, "the funding of A at 2026-01-01 16:00 UTC is not booked yet")):  # fmt: skip
        desk.price(at_ms)
        assert why_dealing_waits(desk.driver, desk.it, desk.now_ms) == why
        quote = desk.primary.quotes.ask("h3", desk.it, "subscribe", 1_000 * MINOR, desk.now_ms)
        if not why:
            assert quote.until_ms == T_MS - 60_001
            continue
        assert why in quote
        for how in ("cash", "units", "burn"):
            assert take_fees(desk.driver, desk.it, 0, how, "ann", "x", desk.now_ms) == why
        assert merge(desk.driver, desk.it, 10.0, "ann", "x", desk.now_ms) in (
            why, "a quote of it may still be taken; ask again once that has ended")  # fmt: skip
    desk.pay()
    assert isinstance(take_fees(desk.driver, desk.it, 0, "cash", "ann", "x", desk.now_ms), Taken)


def test_what_the_venue_does_not_report_is_told_and_closes_subscriptions():
    desk = Story(3.0, 0.0075, "right")
    desk.run([], until_ms=T_MS + 58_000)
    assert desk.alarms == []
    assert not isinstance(desk.ask("h3", "subscribe", 10_000 * MINOR), str)
    desk.run([], until_ms=T_MS + 125_000)
    (alarm,) = desk.alarms
    assert alarm == (
        "T: the venue has not reported the funding of A at 2026-01-01 16:00 UTC; "
        "subscriptions are rejected and redemptions wait until it is booked"
    )
    assert "creates no units until it is" in desk.ask("h3", "subscribe", 10_000 * MINOR)
    assert not isinstance(desk.ask("h1", "redeem", 10 * MINOR), str)
    desk.run([], until_ms=T_MS + 200_000)
    assert len(desk.primary._queues["T"].waiting) == 2
    desk.pay()
    desk.run([], until_ms=T_MS + 300_000)
    assert desk.primary._queues["T"].waiting == {}


def by_hand(desk, rate=0.005, symbol="A", at_ms=T_MS):
    return book_by_hand(desk.driver, desk.book, symbol, at_ms, rate, "ann", "the venue is silent", desk.now_ms)


def test_an_operator_books_what_is_not_reported_and_a_later_report_is_the_reserves():
    desk = Story(3.0, 0.0075, "absent")
    desk.run([], until_ms=T_MS + 590_000, step_ms=10_000)
    assert "it can be booked by hand from 2026-01-01 16:10 UTC on" in by_hand(desk)
    desk.run([], until_ms=T_MS + 601_000)
    assert "no settlement of A at 1970-01-01 00:00 UTC waits" in by_hand(desk, at_ms=5)
    nav, wallet = desk.nav, desk.it.state.balances.wallet
    assert by_hand(desk) == ""
    assert "waits to be booked in main; waiting: none" in by_hand(desk)
    booked = desk.it.state.balances.wallet - wallet
    assert booked == pytest.approx(-nav * desk.it.state.balances.units * 3 * 0.005, rel=1e-6)
    # The venue has not paid yet, and the books agree all the same.
    statement = stated(desk, {"A": desk.lots[0]})
    there = statement.wallet["USDT"] - booked - desk.it.state.brought
    statement = msgspec.structs.replace(statement, wallet={"USDT": there})
    assert differences(desk.book, statement) == ()
    after = desk.nav
    actual = desk.pay(is_asked=True)
    assert desk.nav == after
    assert desk.book.state.received["USDT"] == actual - booked
    assert any("booked before; the difference of" in words for words in desk.alarms)
    statement = msgspec.structs.replace(statement, wallet={"USDT": statement.wallet["USDT"] + actual})
    assert differences(desk.book, statement) == ()
    seq = desk.book.head.seq
    desk.pay(is_asked=True)
    assert desk.book.head.seq == seq


def test_the_venues_word_that_there_was_none_ends_the_wait():
    desk = Story(3.0, 0.0, "wrong")
    desk.run([], until_ms=T_MS + 5_000)
    payment = FundingPayment(symbol="A", settlement_ms=T_MS, rate=0.0, mark=100.0, lots=0, amount=0)
    assert unbooked(desk.driver, desk.it, desk.now_ms)
    desk.driver.on_funding(desk.book, payment, desk.now_ms)
    assert desk.it.state.status == "open"
    assert unbooked(desk.driver, desk.it, desk.now_ms) == []


def test_a_later_settlement_that_is_reported_first_waits_for_the_one_before():
    desk = Story(3.0, 0.0075, "right")
    desk.run([], until_ms=T_MS + 5_000)
    lots = desk.lots[0]
    later = FundingPayment(symbol="A", settlement_ms=T_MS + HOUR_MS, rate=0.0075, mark=100.0, lots=lots, amount=-5)
    desk.driver.on_funding(desk.book, later, desk.now_ms, is_asked=False)
    assert desk.it.state.legs[0].funded_ms == 0
    desk.pay()
    assert desk.it.state.legs[0].funded_ms == T_MS


def with_two_unbooked(after_ms=601_000):
    """A desk that paid funding twice without a report of it: accrued of both, some time after the second one."""
    desk = Story(3.0, 0.0075, "right")
    desk.run([], until_ms=T_MS + 30_000, step_ms=10_000)
    desk.funding["funding_ms"] = T_MS + 2 * PERIOD_MS
    desk.filled(desk.quote(100.0, after_ms=T_MS + PERIOD_MS + after_ms - desk.now_ms))
    (leg,) = desk.it.state.legs
    assert [one.settlement_ms for one in leg.accruals] == [T_MS, T_MS + PERIOD_MS]
    return desk, leg.accruals


def payment_of(desk, settlement_ms):
    lots = desk.lots[0]
    amount = -round(lots * float(desk.lot) * 100.0 * 0.0075 * MINOR)
    return FundingPayment(symbol="A", settlement_ms=settlement_ms, rate=0.0075, mark=100.0, lots=lots, amount=amount)


def test_an_operator_books_the_first_of_two_settlements_first():
    desk, _ = with_two_unbooked()
    later_ms, state = T_MS + PERIOD_MS, desk.it.state
    why = "the funding of A at 2026-01-01 16:00 UTC is not booked yet; book that settlement first"
    assert by_hand(desk, 0.0075, at_ms=later_ms) == why
    assert desk.it.state == state
    assert desk.book.state.assumed is UNSET
    assert by_hand(desk, 0.0075) == by_hand(desk, 0.0075, at_ms=later_ms) == ""
    assert desk.it.state.balances.accrued == 0
    assert desk.it.state.equity == state.equity  # what was predicted came true
    wallet = desk.it.state.balances.wallet
    for time_ms in (later_ms, T_MS):
        desk.driver.on_funding(desk.book, payment_of(desk, time_ms), desk.now_ms)
    assert (desk.book.state.assumed, desk.it.state.balances.wallet) == (UNSET, wallet)


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_list_that_lacks_an_earlier_settlement_books_none_and_loses_none(is_asked):
    desk, _ = with_two_unbooked()
    state = desk.it.state
    first, later = payment_of(desk, T_MS), payment_of(desk, T_MS + PERIOD_MS)
    desk.driver.on_funding(desk.book, later, desk.now_ms, is_asked=is_asked)
    assert desk.it.state == state
    assert why_dealing_waits(desk.driver, desk.it, desk.now_ms).startswith("the funding of A at 2026-01-01 16:00")
    for payment in (first, later):
        desk.driver.on_funding(desk.book, payment, desk.now_ms, is_asked=is_asked)
    assert desk.it.state.balances.wallet - state.balances.wallet == first.amount + later.amount
    assert (desk.it.state.equity, desk.it.state.status) == (state.equity, "open")


def test_a_settlement_takes_back_what_was_accrued_of_itself_and_of_no_other():
    desk, (first, later) = with_two_unbooked()
    assert first.own < 0
    with pytest.raises(StepError, match=f"of {T_MS} on leg 0 is not booked yet, and is booked first"):
        desk.driver.apply(desk.it, ev.FundingSettled(time_ms=desk.now_ms, leg=0, settlement_ms=T_MS + PERIOD_MS,
                                                     lots=0, rate=0.0, amount=0, prices=(100.0,)))  # fmt: skip
    desk.driver.on_funding(desk.book, payment_of(desk, T_MS), desk.now_ms)
    (leg,) = desk.it.state.legs
    assert (leg.accruals, desk.it.state.balances.accrued) == ((later,), later.own)


def test_only_the_venues_list_of_settlements_says_that_there_was_none():
    """Payments may be listed before the settlements that they are of."""
    desk, _ = with_two_unbooked()
    later = payment_of(desk, T_MS + PERIOD_MS)
    before, at_t, after = (Settled(symbol="A", settlement_ms=T_MS + n * PERIOD_MS, rate=0.0075, mark=100.0)
                           for n in (-1, 0, 1))  # fmt: skip
    for settled in ((), (before,), (before, at_t), (before, at_t, after)):
        assert never_settled(desk.book, "A", settled, [later]) == []
    (none,) = never_settled(desk.book, "A", [before, after], [later])
    assert (none.settlement_ms, none.lots, none.amount) == (T_MS, 0, 0)
    for payment in (none, later):
        desk.driver.on_funding(desk.book, payment, desk.now_ms)
    assert desk.it.state.legs[0].accruals == ()
    assert desk.it.state.balances.funding == -later.amount


DAY_MS = 24 * HOUR_MS


def asked_since(lots=5, assumed=(), **more):
    """Returns since when payments are asked for at day 100, for a token with one leg."""
    desk, book = Desk(), BookState(assumed={f"A {ms}": Assumed("USDT", 1) for ms in assumed} or UNSET)
    (leg,) = desk.it.state.legs
    leg = msgspec.structs.replace(leg, lots=lots, **more)
    desk.it.state = msgspec.structs.replace(desk.it.state, legs=(leg,))
    desk.book.state = book
    return unbooked_since_ms(desk.book, 100 * DAY_MS)


@pytest.mark.parametrize(("leg", "days"), [
    ({"funded_ms": 99 * DAY_MS, "changed_ms": 98 * DAY_MS}, 99),
    ({"funded_ms": 40 * DAY_MS, "changed_ms": 98 * DAY_MS}, 40),
    ({"changed_ms": 98 * DAY_MS}, 70),  # nothing was ever booked: it is new, or pays no funding
    ({"lots": 0}, 100),
    ({"lots": 0, "funded_ms": 80 * DAY_MS, "changed_ms": 80 * DAY_MS - 1}, 100),
    ({"lots": 0, "funded_ms": 80 * DAY_MS, "changed_ms": 80 * DAY_MS + 1}, 80),  # it may have held at a settlement
    ({"lots": 0, "funded_ms": 60 * DAY_MS, "changed_ms": 70 * DAY_MS + 1}, 70),
    ({"lots": 0, "funded_ms": 60 * DAY_MS, "changed_ms": 70 * DAY_MS}, 100),
    ({"lots": 0, "funded_ms": 60 * DAY_MS, "accruals": (Accrual(65 * DAY_MS, 100.0, 1, 0),)}, 60),
    ({"lots": 0, "accruals": (Accrual(99 * DAY_MS, 100.0, 1, 0),)}, 70),
])  # fmt: skip
def test_payments_are_asked_for_as_far_back_as_one_may_not_be_booked(leg, days):
    assert asked_since(**leg) == days * DAY_MS


@pytest.mark.parametrize(("days", "since_ms"), [(80, 80 * DAY_MS - 1), (70, 99 * DAY_MS), (5, 99 * DAY_MS)])
def test_what_was_booked_by_hand_is_asked_for_a_month_long(days, since_ms):
    assert asked_since(funded_ms=99 * DAY_MS, assumed=(days * DAY_MS,)) == since_ms


# When settlements are.


def quote(time_ms, funding_ms=0, rate=None):
    return Quote(symbol="A", time_ms=time_ms, mark=100.0, index=100.0, funding_ms=funding_ms, funding_rate=rate)


def test_a_settlement_is_known_by_announcement_or_by_the_interval():
    plan = FundingSchedule()
    assert plan.last(quote(5), 5) == Settlement(0, None)
    assert plan.following_ms(5) == float("inf")
    plan.interval_ms = 100
    assert (plan.last(quote(250), 250).time_ms, plan.following_ms(250)) == (200, 300)
    plan.announce(quote(250), quote(260, 340, 0.1))
    assert (plan.last(quote(260, 340), 260).time_ms, plan.following_ms(260)) == (240, 340)
    # A price that still announces what has passed.
    assert plan.last(quote(345, 340, 0.2), 345) == Settlement(340, 0.2)
    plan.announce(quote(345, 340, 0.2), quote(350, 440, 0.3))
    assert plan.last(quote(350, 440, 0.3), 350) == Settlement(340, 0.2)
    assert plan.following_ms(350) == 440


def test_a_settlement_that_the_venue_puts_off_in_time_does_not_happen():
    plan = FundingSchedule()
    plan.announce(quote(5), quote(10, 100_000, 0.1))
    plan.announce(quote(10, 100_000, 0.1), quote(39_999, 200_000, 0.1))
    assert (plan.last(quote(40_000, 200_000), 100_000).time_ms, plan.following_ms(50_000)) == (0, 200_000)


def test_a_settlement_happens_though_the_next_is_announced_early():
    """Venues' clocks differ: a price from just before the settlement announces the one after it already."""
    plan = FundingSchedule()
    plan.announce(quote(5), quote(10, 100_000, 0.1))
    plan.announce(quote(10, 100_000, 0.1), quote(100_005, 200_000, 0.2))
    plan.announce(quote(150_000, 200_000, 0.2), quote(199_998, 300_000, 0.3))
    early = quote(199_998, 300_000, 0.3)
    assert [plan.last(early, at) for at in (199_999, 200_000)] == [(100_000, 0.1), (200_000, 0.2)]
    assert [plan.following_ms(at) for at in (199_999, 200_000)] == [200_000, 300_000]
    accrued = [plan.accrued_rate(early, 100_000, at) for at in (199_999, 200_000, 250_000)]
    assert accrued == pytest.approx([0.2 * 0.99999, 0.0, 0.15])
    plan.announce(early, quote(300_001, 400_000, 0.4))
    assert (plan.last(early, 300_001), plan.following_ms(300_001)) == ((300_000, 0.3), 400_000)


def test_a_price_that_announces_nothing_calls_no_settlement_off():
    plan = FundingSchedule()
    plan.announce(quote(5), quote(10, 100_000, 0.1))
    plan.announce(quote(10, 100_000, 0.1), quote(150_000, 200_000, 0.2))
    blip = quote(199_999)
    plan.announce(quote(199_000, 200_000, 0.2), blip)
    plan.announce(blip, quote(199_999))
    assert plan.following_ms(199_999) == 200_000
    assert plan.last(blip, 200_000) == (200_000, 0.2)
    assert plan.accrued_rate(blip, 100_000, 150_000) == 0.1
    later = quote(200_001, 300_000, 0.3)
    plan.announce(blip, later)
    assert (plan.last(later, 200_001), plan.following_ms(200_001)) == ((200_000, 0.2), 300_000)


def test_a_desk_that_begins_while_the_next_settlement_but_one_is_announced_knows_the_next():
    plan = FundingSchedule()
    plan.interval_ms = 100_000
    early = quote(199_998, 300_000, 0.3)
    plan.announce(quote(5), early)
    assert [plan.last(early, at).time_ms for at in (199_999, 200_000)] == [100_000, 200_000]
    assert [plan.following_ms(at) for at in (199_999, 200_000)] == [200_000, 300_000]


def test_a_feed_that_announced_once_is_followed_by_the_interval():
    plan = FundingSchedule()
    plan.interval_ms = 100_000
    plan.announce(quote(5), quote(10, 100_000, 0.1))
    plan.announce(quote(10, 100_000, 0.1), quote(20))
    assert [plan.last(quote(at), at).time_ms for at in (199_999, 200_000, 350_000)] == [100_000, 200_000, 300_000]
    assert plan.following_ms(350_000) == 400_000


def test_settlements_that_passed_while_no_price_came_are_waited_for():
    plan = FundingSchedule()
    plan.interval_ms = 100_000
    plan.announce(quote(5), quote(10, 100_000, 0.1))
    plan.announce(quote(10, 100_000, 0.1), quote(350_000, 400_000, 0.2))
    assert plan.last(quote(350_000, 400_000), 350_000) == (300_000, None)


@pytest.mark.parametrize("since_ms", [T_MS, T_MS + 1, T_MS + 10 * PERIOD_MS])
def test_a_price_older_than_the_settlement_that_was_booked_accrues_nothing(since_ms):
    prices = Prices(GuardLimits(warm_ms=0))
    prices.take(quote(T_MS - 5_000, T_MS, 0.01), T_MS - 5_000)
    assert prices.accrued_rate("A", since_ms, T_MS - 1_000) == 0.0
    assert prices.accrued_rate("A", since_ms, T_MS + 1_000) == 0.0
    assert prices.accrued_rate("A", T_MS - PERIOD_MS, T_MS - PERIOD_MS // 2) == 0.005


def test_a_settlement_that_is_not_booked_holds_dealing_up_though_nothing_was_held_at_the_next():
    desk = Story()
    desk.run([], until_ms=T_MS + 60_000)
    assert [one.time_ms for one in unbooked(desk.driver, desk.it, desk.now_ms)] == [T_MS]
    desk.driver.operate(desk.it, "close", "ann", "all of it", desk.now_ms)
    desk.filled(desk.take())
    assert desk.lots == [0]
    desk.funding["funding_ms"] = T_MS + 2 * PERIOD_MS
    desk.filled(desk.quote(100.0, after_ms=T_MS + PERIOD_MS + 60_000 - desk.now_ms))
    assert [one.time_ms for one in unbooked(desk.driver, desk.it, desk.now_ms)] == [T_MS]
    assert why_dealing_waits(desk.driver, desk.it, desk.now_ms).startswith("the funding of A at")


@pytest.mark.parametrize("mark", [100.0, 101.0, 98.5])
def test_a_stranger_works_out_what_a_settlement_that_is_waited_for_did(mark):
    """The price has moved by the time that the funding accrues; whatever bears prices is marked at them."""
    desk = Story(3.0, 0.0075, "right")
    desk.run([], until_ms=T_MS - 1_000)
    desk.filled(desk.quote(mark, after_ms=T_MS + 2_000 - desk.now_ms))
    assert desk.it.state.legs[0].accruals
    desk.filled(desk.quote(mark, after_ms=60_000))
    desk.pay()
    desk.filled(desk.quote(mark, after_ms=60_000))
    portfolio, differs = Portfolio(), []
    bodies = [json.loads(line.body) for line in desk.lines if line.stream == "token:T"]
    assert any(body["event"]["event"] == "funding_accrued" for body in bodies)
    for body in bodies:
        take(portfolio, body, lambda *what: differs.append(what))
    assert differs == []


def test_nothing_is_dealt_from_one_window_before_a_settlement_on():
    desk = Story()
    desk.run([], until_ms=T_MS - 62_000)
    assert why_dealing_waits(desk.driver, desk.it, desk.now_ms) == ""
    desk.filled(desk.quote(100.0, after_ms=T_MS - 60_000 - desk.now_ms))
    for _ in range(2):
        why = why_dealing_waits(desk.driver, desk.it, desk.now_ms)
        assert why.startswith("funding is settled at")
        assert why in desk.primary.quotes.ask("h1", desk.it, "subscribe", 100 * MINOR, desk.now_ms)
        assert merge(desk.driver, desk.it, 10.0, "ann", "r", desk.now_ms) == why
        desk.filled(desk.quote(100.0, after_ms=59_000))


def test_an_acceptance_says_that_it_waits_for_a_settlement_and_until_when():
    """Before it comes, and until it is booked."""
    desk = Story(3.0, 0.0075, "right")
    wanted = Deal(holder="h3", token="T", side="subscribe", amount=1_000 * MINOR)
    desk.run([], until_ms=T_MS - 50_000, step_ms=10_000)
    before = answer(desk.driver, wanted, desk.now_ms)
    desk.run([], until_ms=T_MS + 10_000, step_ms=10_000)
    after = answer(desk.driver, wanted, desk.now_ms)
    at = f"{clock(T_MS)}"
    assert before.words.endswith(f"It waits: funding is settled at {at}; dealing goes on once it is booked.")
    assert after.words.endswith(f"It waits: the funding of A at {at} is not booked yet; dealing goes on once it is.")
    assert before.deals_ms == after.deals_ms == 0


def test_a_quote_that_a_settlement_cuts_short_says_so():
    desk = Story(3.0, 0.0075, "right")
    wanted = AskQuote(holder="h3", token="T", side="subscribe", amount=1_000 * MINOR)
    desk.run([], until_ms=T_MS - 300_000, step_ms=10_000)
    assert "expires early" not in answer(desk.driver, wanted, desk.now_ms).words
    desk.run([], until_ms=T_MS - 65_000, step_ms=10_000)
    short = answer(desk.driver, wanted, desk.now_ms)
    assert short.words.endswith(
        f" It expires early: funding is settled at {clock(T_MS)}, and no quote is open around that."
    )
    assert short.quote.until_ms < T_MS - 60_000


def test_a_token_that_was_wiped_out_between_a_settlement_and_its_booking_accrues_nothing():
    desk = Story(actual=-0.0075)  # it receives
    desk.run([], until_ms=T_MS - 1_000)
    fall = ev.Marked(time_ms=T_MS - 500, before_ms=T_MS - 1_000, prices=(60.0,), volumes=(1e9,))
    desk.driver.apply(desk.it, fall)
    desk.now_ms = T_MS + 1
    assert desk.it.state.status == "wiped"
    (order,) = desk.take()
    desk.hear(desk.trade(order, price=60.0), desk.status(order))
    assert desk.lots == [0]
    desk.price(T_MS + 2_000)
    assert unbooked(desk.driver, desk.it, desk.now_ms)
    assert desk.it.state.legs[0].accruals == ()
    assert not [words for words in desk.alarms if "U7" in words]


def test_what_waits_for_a_settlement_that_is_not_booked_may_be_cancelled():
    """Else one that is never booked would keep it for ever: it is not about to be dealt, though averages have begun."""
    desk, answers = Story(), {}
    asks = {"h1": "subscribe", "h2": "redeem"}

    def cancel(when):
        def act():
            answers[when] = {one: desk.primary.cancel(one, f"{one}.2", desk.now_ms) for one in asks}

        return act

    def ask():
        for name, side in asks.items():
            desk.ask(name, side, 10 * MINOR)

    desk.run([(T_MS - 110_000, ask), (T_MS + 50_000, cancel("unbooked"))], T_MS + 60_000)
    assert answers["unbooked"] == {"h1": "", "h2": ""}
