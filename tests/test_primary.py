"""The primary market: what is asked is accepted or refused with its reason, netted, hedged, and settled once."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import msgspec
import pytest

import gearing as gr
from gearing.core import holder as ho
from gearing.core.holder_step import HolderError
from gearing.core.measured import exposure_of
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.desk.counter import submit
from gearing.desk.requests import answered_of, encode
from tests.desks import Desk
from tests.lives import HOUR_MS, UNITS, token

COSTS = gr.Costs(half_spread=0.001, taker_fee=5e-4)


class Market(Desk):
    """A desk whose holders come and go; each fill is `bad` worse than the mark and pays a commission."""

    def __init__(self, *tokens, bad=0.001, rate=5e-4, **more):
        super().__init__(*(tokens or (token("A", costs=COSTS),)), **more)
        self.bad, self.rate, self.mark, self.paid = bad, rate, 100.0, 0

    @property
    def primary(self):
        return self.driver.primary

    def deposit(self, name, amount):
        self.paid += 1
        self.primary.post(name, ho.Deposited(time_ms=self.now_ms, asset="USDT", amount=amount * MINOR,
                                             reference=f"d{self.paid}", by="ann"))  # fmt: skip

    def ask(self, name, side, amount, symbol="T"):
        return self.primary.request(name, symbol, side, amount, self.now_ms)

    def submit(self, wanted):
        """Submits a command; returns the list that its answer, as whoever asks reads it, is or will be in."""
        answers = []
        submit(self.driver, wanted, self.now_ms, lambda answered: answers.append(answered_of(encode(answered))))
        return answers

    def judged(self, wanted, mark=None, after_ms=1):
        """Submits a command, and lets the price come that it is judged at, if it waits for one; returns its answer."""
        answers = self.submit(wanted)
        if not answers:
            self.mark = mark or self.mark
            self.filled(self.quote(*[self.mark] * len(self.symbols), after_ms=after_ms))
        (answered,) = answers
        return answered

    def filled(self, orders, part=1.0):
        """Fills orders at worse prices, a part of them; what is asked for again is refused."""
        for order in orders:
            lots = int(order.lots * part)
            price = round(self.mark * (1 + self.bad if lots > 0 else 1 - self.bad), 8)
            commission = int(abs(lots) * float(self.lot) * price * self.rate * MINOR)
            fill = [self.trade(order, lots, price=price, commission=commission)] if lots else []
            again = self.hear(*fill, self.status(order, "filled" if part == 1.0 else "cancelled", lots))
            while again:
                again = self.hear(self.status(again[0], "rejected", 0))

    def steady(self):
        """Lets the last prices come again until just before the window ends, as a feed does while nothing moves."""
        ends_ms, last = (self.now_ms // 60_000 + 1) * 60_000, [self.driver.market.price(one) for one in self.symbols]
        for before_ms in (36_000, 27_000, 18_000, 9_000, 1):
            if ends_ms - before_ms > self.now_ms and not any(map(math.isnan, last)):
                self.filled(self.quote(*last, after_ms=ends_ms - before_ms - self.now_ms))

    def window(self, mark=None, part=1.0):
        """Lets the window end at a price, and fills what is to be hedged; returns the orders."""
        until_ms = self.now_ms + 60_000
        self.steady()
        self.mark = mark or self.mark
        orders = self.quote(*[self.mark] * len(self.symbols), after_ms=until_ms - self.now_ms)
        self.filled(orders, part)
        return orders

    def cash(self, name, where=ho.FREE):
        return self.primary.holders[name].state.cash("USDT", where)

    def units(self, name):
        return self.primary.holders[name].state.units("T")

    @property
    def nav(self):
        return self.it.state.equity / self.it.state.balances.units


def market(*tokens, **more):
    made = Market(*tokens, **more)
    made.opened()
    return made


def test_the_seed_is_the_issuers():
    desk = market()
    assert desk.units(ho.ISSUER) == UNITS == desk.primary.supply["T"]


def test_who_comes_in_is_given_units_and_nobody_else_notices():
    desk = market()
    desk.deposit("h1", 60_000)
    accepted = desk.ask("h1", "subscribe", 50_000 * MINOR)
    assert accepted == ("h1.1", 1)
    assert (desk.cash("h1"), desk.cash("h1", ho.HELD)) == (10_000 * MINOR, 50_000 * MINOR)
    nav = desk.nav
    (order,) = desk.window()
    assert order.lots == pytest.approx(30_000_000 * 0.05 / 1.0045, rel=1e-3)
    assert desk.nav == pytest.approx(nav, rel=1e-9)
    assert desk.nav >= nav
    assert desk.units("h1") / MINOR == pytest.approx(50_000 / 100 / 1.0045, rel=1e-3)
    assert (desk.cash("h1"), desk.cash("h1", ho.HELD)) == (10_000 * MINOR, 0)
    assert desk.alarms == []


def test_who_goes_out_is_paid_and_who_comes_in_meanwhile_takes_the_units():
    """6,000 come in against 5,000 that go out: only a thousand is hedged."""
    desk = market()
    desk.deposit("h1", 6_000)
    desk.ask("h1", "subscribe", 6_000 * MINOR)
    desk.ask(ho.ISSUER, "redeem", 50 * MINOR)
    nav = desk.nav
    (order,) = desk.window()
    assert order.lots == pytest.approx(30_000, rel=0.01)
    assert desk.cash(ho.ISSUER) / MINOR == pytest.approx(50 * nav, rel=1e-9)
    assert desk.units("h1") / MINOR == pytest.approx(50 + 1_000 / nav / 1.0045, rel=1e-4)
    assert desk.nav == pytest.approx(nav, rel=1e-9)


def test_flows_that_meet_wholly_trade_nothing():
    desk = market()
    desk.deposit("h1", 5_000)
    desk.ask("h1", "subscribe", 5_000 * MINOR)
    desk.ask(ho.ISSUER, "redeem", 50 * MINOR)
    state = desk.it.state
    assert desk.window() == []
    assert desk.it.state.legs == state.legs
    assert desk.units("h1") == pytest.approx(50 * MINOR, abs=2)


def test_what_is_not_filled_is_returned():
    desk = market()
    desk.deposit("h1", 80_000)
    desk.ask("h1", "subscribe", 80_000 * MINOR)
    desk.window(part=0.25)
    assert (desk.cash("h1"), desk.cash("h1", ho.HELD)) == (60_000 * MINOR, 0)
    desk.ask("h1", "subscribe", 60_000 * MINOR)
    desk.window(part=0.0)
    assert (desk.cash("h1"), desk.cash("h1", ho.HELD)) == (60_000 * MINOR, 0)
    assert desk.units("h1") / MINOR == pytest.approx(20_000 / 100 / 1.0045, rel=1e-3)


def test_a_request_can_be_taken_back_until_it_is_dealt():
    desk = market()
    desk.deposit("h1", 80_000)
    desk.ask("h1", "subscribe", 30_000 * MINOR)
    assert desk.primary.cancel("h1", "h1.1", desk.now_ms) == ""
    assert desk.cash("h1") == 80_000 * MINOR
    desk.ask("h1", "subscribe", 30_000 * MINOR)
    desk.quote(100.0, after_ms=60_000)
    assert desk.primary.cancel("h1", "h1.2", desk.now_ms) == "h1.2 is being dealt"


@pytest.mark.parametrize(
    ("terms", "amount", "words"),
    [
        ({}, 90_000, "has 80,000.00000000 USDT free, and asks to pay 90,000.00000000"),
        ({"least": 100.0}, 50, "the least subscription of T is 100.00 USDT"),
        ({"largest": 1_000.0}, 2_000, "the largest subscription of T is 1,000.00 USDT, this is 2,000.00000000"),
        ({"holder_per_day": 5_000.0}, 6_000,
         "of one holder in T are capped at 5,000.00 USDT a day: 5,000.00000000 is left, this is "
         "6,000.00000000; it begins anew at"),
        ({"total_per_day": 5_000.0}, 6_000, "of all holders in T are capped at 5,000.00 USDT a day"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_cap_and_what_is_left(terms, amount, words):
    desk = market(token("A", primary=Terms(**terms)))
    desk.deposit("h1", 80_000)
    assert re.search(re.escape(words), desk.ask("h1", "subscribe", amount * MINOR))
    assert desk.cash("h1") == 80_000 * MINOR


def test_caps_of_a_day_count_what_was_asked_and_begin_anew():
    desk = market(token("A", primary=Terms(holder_per_day=5_000.0, total_per_day=8_000.0)))
    for name in ("h1", "h2"):
        desk.deposit(name, 80_000)
        assert not isinstance(desk.ask(name, "subscribe", 4_000 * MINOR), str)
    left = "1,000.00000000 is left, this is 1,000.00000001; it begins anew at 2026-01-02 00:00 UTC"
    assert left in desk.ask("h1", "subscribe", 1_000 * MINOR + 1)
    assert "of all holders in T are capped" in desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.window()
    desk.quote(100.0, after_ms=12 * HOUR_MS)
    assert not isinstance(desk.ask("h1", "subscribe", 4_000 * MINOR), str)


def test_a_large_cap_is_kept_to_the_last_minor_unit():
    """Of so much money a float64 no longer tells one minor unit."""
    cap = 300_000_000
    desk = market(token("A", primary=Terms(holder_per_day=float(cap))))
    desk.deposit("h1", 2 * cap)
    left = f"{cap:,}.00000000 is left, this is {cap:,}.00000001"
    assert left in desk.ask("h1", "subscribe", cap * MINOR + 1)
    assert not isinstance(desk.ask("h1", "subscribe", cap * MINOR), str)


@pytest.mark.parametrize(
    ("limits", "words"),
    [(gr.Limits(supply_cap=10_500.0), "the supply of T is capped at 10,500.00 units: 500.00000000 are left"),
     (gr.Limits(largest_exposure=3_100_000.0), "the exposure of T is capped at 3,100,000: 100,000 is left")],
)  # fmt: skip
def test_a_token_grows_to_its_caps_and_no_further(limits, words):
    desk = market(token("A", limits=limits))
    desk.deposit("h1", 90_000)
    assert not isinstance(desk.ask("h1", "subscribe", 20_000 * MINOR), str)
    assert words in desk.ask("h1", "subscribe", 60_000 * MINOR)


def test_without_a_good_price_nothing_is_created_and_redemptions_wait():
    desk = market()
    desk.deposit("h1", 1_000)
    desk.now_ms += HOUR_MS
    assert "has no good price now" in desk.ask("h1", "subscribe", 500 * MINOR)
    assert desk.ask(ho.ISSUER, "redeem", MINOR).place == 1
    assert desk.ask(ho.ISSUER, "redeem", MINOR).place == 2


@pytest.mark.parametrize("shared", [False, True])
def test_flows_are_dealt_between_two_slices_of_a_rebalance(shared):
    """However the slices fall together with the windows; and where another token of the book holds the same."""
    paced = gr.Rule(deviation=0.05, pace=gr.Pace(largest=10_000.0, interval="1m"))
    other = [msgspec.structs.replace(token("A", target=1.0, costs=COSTS), symbol="U")] if shared else []
    desk = market(token("A", costs=COSTS, rule=paced), *other)
    for _ in range(400):
        desk.window(100.0)
    desk.window(96.0)
    assert desk.it.state.rebalance is not None
    desk.deposit("h1", 1_000)
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    for _ in range(3):
        desk.window(96.0)
        desk.filled(desk.quote(96.0))
        desk.filled(desk.quote(96.0))
    assert desk.it.state.rebalance is not None
    assert desk.units("h1") > 0


def slicing():
    """A token that is to sell some 240,000 of what it holds, in slices of 10,000 a minute, and waits for the next."""
    paced = gr.Rule(deviation=0.05, pace=gr.Pace(largest=10_000.0, interval="1m"))
    desk = market(token("A", costs=COSTS, rule=paced))
    for _ in range(400):
        desk.window(100.0)
    desk.window(96.0)
    desk.deposit("h1", 200_000)
    assert desk.it.state.rebalance.side < 0
    assert not desk.it.state.is_working
    return desk


def dealt(desk, money):
    """Deals a subscription before the next slice is due; returns the hedge's orders, NAV before, and the flow."""
    desk.primary.request("h1", "T", "subscribe", money * MINOR, desk.now_ms - 30_000)
    desk.it.deals_ms = float(desk.now_ms)
    desk.driver.publish(desk.it, "minute", desk.now_ms, (96.0,), accrues=True)
    before, begun = desk.it.state, []
    apply = desk.driver.apply
    desk.driver.apply = lambda running, event: (apply(running, event), begun.append(running.state))[0]
    prices = desk.driver.market.prices(("A",))
    desk.primary.dealings.attend(desk.it, prices, prices.time_ms)
    flow = next(one.dealing for one in begun if not isinstance(one.dealing, msgspec.UnsetType))
    return desk.take(), before, flow


def test_a_flow_against_a_running_rebalance_pays_for_nothing_that_need_not_be_traded():
    desk = slicing()
    orders, before, flow = dealt(desk, 60_000)
    assert orders == []
    assert flow.lots == flow.wanted
    assert flow.wanted[0] * 96.0 * 0.001 == pytest.approx(
        60_000 * exposure_of(before) / before.equity * MINOR, rel=0.01
    )
    equity, units = before.equity, before.balances.units
    assert desk.units("h1") == 60_000 * MINOR * units // equity
    assert (
        0 <= Fraction(desk.it.state.equity, desk.it.state.balances.units) - Fraction(equity, units) < Fraction(1, 10**9)
    )
    assert desk.alarms == []
    # What was to be sold is what the flow has now; so much less is left of the rebalance.
    assert desk.it.state.legs == before.legs
    left = exposure_of(desk.it.state) - 3.0 * desk.it.state.equity / MINOR
    assert left == pytest.approx(exposure_of(before) - 3.0 * before.equity / MINOR - 180_000, rel=0.01, abs=2_000)


def test_only_what_a_flow_wants_beyond_a_rebalance_is_traded_and_paid_for():
    desk = slicing()
    orders, before, flow = dealt(desk, 150_000)
    (order,) = orders
    wanted, here = flow.wanted[0], flow.lots[0]
    assert order.lots == wanted - here > 0
    assert here * 96.0 * 0.001 == pytest.approx(exposure_of(before) - 3.0 * before.equity / MINOR, rel=1e-3)
    desk.mark = 96.0
    desk.filled(orders)
    cost = order.lots * 0.001 * 96.0 * (0.001 + 5e-4)
    price = before.equity / before.balances.units
    assert desk.units("h1") / MINOR == pytest.approx((150_000 - cost) / price, rel=1e-6)


def test_a_flow_the_same_way_as_a_rebalance_pays_its_own_way():
    desk = slicing()
    desk.primary.request(ho.ISSUER, "T", "redeem", 500 * MINOR, desk.now_ms - 30_000)
    orders, _, flow = dealt(desk, 1)
    assert flow.lots == (0,)
    assert [order.lots for order in orders] == list(flow.wanted)
    assert orders[0].lots < 0


@pytest.mark.parametrize("action", ["halt", "pause"])
def test_a_halted_token_creates_nothing_and_redeems_once_it_goes_on(action):
    desk = market()
    desk.deposit("h1", 1_000)
    desk.driver.operate(desk.it, action, "ann", "test", desk.now_ms)
    assert isinstance(desk.ask("h1", "subscribe", 500 * MINOR), str)
    desk.ask(ho.ISSUER, "redeem", 10 * MINOR)
    desk.take()
    assert bool(desk.window()) is (action == "pause")
    if action == "halt":
        desk.driver.operate(desk.it, "resume", "ann", "test", desk.now_ms)
        desk.window()
        desk.window()
    assert desk.cash(ho.ISSUER) > 0


def test_the_units_of_a_closed_token_are_paid_out_whole():
    desk = market()
    desk.deposit("h1", 1_000)
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.window()
    desk.driver.operate(desk.it, "close", "ann", "test", desk.now_ms)
    desk.filled(desk.take())
    assert desk.it.state.status == "closed"
    wallet = desk.it.state.balances.wallet
    desk.ask("h1", "redeem", desk.units("h1"))
    desk.window()
    assert desk.ask(ho.ISSUER, "redeem", UNITS)
    desk.window()
    assert desk.it.state.balances.units == 0
    assert desk.cash("h1") + desk.cash(ho.ISSUER) == wallet
    assert desk.it.state.balances.wallet == 0


def test_a_wiped_token_gives_back_what_was_not_dealt():
    desk = market()
    desk.deposit("h1", 1_000)
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.mark = 60.0
    desk.filled(desk.quote(60.0, after_ms=1_000))
    desk.quote(60.0, after_ms=60_000)
    assert desk.it.state.status == "wiped"
    assert desk.cash("h1") == 1_000 * MINOR
    assert "its units are worth nothing" in desk.ask(ho.ISSUER, "redeem", MINOR)


def test_money_and_units_are_handed_on_and_never_twice():
    desk = market()
    desk.deposit("h1", 100)
    for name, sign, other in (("h1", -1, "h2"), ("h2", 1, "h1")):
        desk.primary.post(name, ho.Handed(time_ms=desk.now_ms, asset="USDT", cash=sign * 60 * MINOR, other=other,
                                          reference="t1"))  # fmt: skip
    assert (desk.cash("h1"), desk.cash("h2")) == (40 * MINOR, 60 * MINOR)
    with pytest.raises(HolderError, match="more than is free"):
        desk.primary.post("h1", ho.Withdrawn(time_ms=desk.now_ms, asset="USDT", amount=41 * MINOR, reference="w",
                                             by="ann"))  # fmt: skip


def test_what_the_token_and_its_holders_booked_is_the_same_money():
    """What holders paid a token is what it took: over all streams, each asset sums to zero."""
    desk = market()
    for k in range(4):
        desk.deposit(f"h{k}", 10_000)
        desk.ask(f"h{k}", "subscribe", (k + 1) * 1_234_567_890)
    desk.ask(ho.ISSUER, "redeem", 33 * MINOR)
    desk.window(101.0, part=0.5)
    desk.ask("h1", "redeem", desk.units("h1") // 3)
    desk.window(99.5)
    paid = sum(one.state.cash("USDT", "T") for one in desk.primary.holders.values())
    assert paid == -desk.it.state.balances.capital
    assert desk.it.state.balances.dealt > 0
    assert sum(desk.primary.supply.values()) == desk.it.state.balances.held
    assert desk.alarms == []


def test_units_that_nobody_has_halt_the_token():
    desk = market()
    desk.deposit("h1", 1_000)
    desk.primary.supply["T"] += 1
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.window()
    assert desk.it.state.status == "halted"
    assert any(words.startswith("T: U1: its holders have") for words in desk.alarms)


def test_what_waits_is_not_dealt_while_an_order_may_still_be_filled():
    desk = Market()
    desk.deposit("h1", 1_000)
    (order,) = desk.quote(100.0)
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    assert desk.quote(100.0, after_ms=60_000) == []
    desk.filled([order])
    assert len(desk.quote(100.0)) == 1


def test_what_a_hedge_holds_is_no_part_of_the_tokens_exposure():
    desk = market()
    held = exposure_of(desk.it.state)
    desk.ask(ho.ISSUER, "redeem", 1_000 * MINOR)
    (order,) = desk.quote(100.0, after_ms=60_000)
    desk.hear(desk.trade(order, order.lots // 2, price=100.0))
    assert desk.it.state.dealing.lots == (order.lots // 2,)
    assert exposure_of(desk.it.state) == pytest.approx(held)


def test_who_waits_for_another_token_is_dealt_with_the_next_price_where_many_were_dealt(monkeypatch):
    """Dealing in many takes a while, in which nobody else is served; so the tokens are dealt one with each price."""
    monkeypatch.setattr("gearing.drive.dealings._ENOUGH", 2)
    desk = market(token("A", costs=COSTS), msgspec.structs.replace(token("A", target=1.0, costs=COSTS), symbol="U"))
    desk.deposit("h1", 1_000)
    for symbol in ("T", "U"):
        desk.ask("h1", "subscribe", 100 * MINOR, symbol)
        desk.ask(ho.ISSUER, "redeem", 1 * MINOR, symbol)
    desk.window()
    held = desk.primary.holders["h1"].state
    assert (held.units("T") > 0, held.units("U") > 0) == (True, False)
    desk.filled(desk.quote(100.0))
    assert desk.primary.holders["h1"].state.units("U") > 0
    assert desk.alarms == []


def test_a_flow_whose_hedge_is_not_sent_since_its_token_was_halted_is_returned():
    desk = market()
    desk.deposit("h1", 60_000)
    desk.ask("h1", "subscribe", 50_000 * MINOR)
    desk.steady()
    (order,) = desk.quote(100.0, after_ms=60_000 - desk.now_ms % 60_000)
    before = desk.it.state.legs
    desk.driver.operate(desk.it, "halt", "ann", "look", desk.now_ms)
    desk.driver.on_refused(desk.book, order.id, f"not sent: {desk.book.why_not_sent(order)}", desk.now_ms)
    assert desk.take() == []
    assert (desk.it.state.status, desk.it.state.legs) == ("halted", before)
    assert (desk.cash("h1"), desk.cash("h1", ho.HELD), desk.units("h1")) == (60_000 * MINOR, 0, 0)


def test_a_hedge_of_which_a_leg_was_not_sent_is_unwound_once_its_token_is_resumed():
    desk = market(token("A", "B", costs=COSTS))
    desk.deposit("h1", 60_000)
    desk.ask("h1", "subscribe", 50_000 * MINOR)
    desk.steady()
    first, second = desk.quote(100.0, 100.0, after_ms=60_000 - desk.now_ms % 60_000)
    before = desk.lots
    desk.hear(desk.trade(first), desk.status(first))
    desk.driver.operate(desk.it, "halt", "ann", "look", desk.now_ms)
    desk.driver.on_refused(desk.book, second.id, f"not sent: {desk.book.why_not_sent(second)}", desk.now_ms)
    assert desk.take() == []
    assert (desk.cash("h1", ho.HELD), desk.lots) == (50_000 * MINOR, [before[0] + first.lots, before[1]])
    desk.driver.operate(desk.it, "resume", "ann", "looked", desk.now_ms)
    desk.filled(desk.take())
    assert (desk.lots, desk.cash("h1", ho.HELD), desk.units("h1")) == (before, 0, 0)
    assert 59_850 * MINOR < desk.cash("h1") < 60_000 * MINOR  # it bears what trading there and back cost
