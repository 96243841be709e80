"""Flows that are hedged in some legs only, are worth nothing, or cannot be counted: nobody else pays for them."""

from __future__ import annotations

import itertools
from fractions import Fraction

import msgspec
import pytest
from msgspec import UNSET

import gearing as gr
from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.dealing import Worth, worth
from gearing.core.flow_result import covered_pnl, excess_lots, filled_part, flow_result, hedge_pnl
from gearing.core.invariants import breaches
from gearing.core.measured import exposure_of
from gearing.core.money import INT64_MAX, MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.step import step
from gearing.core.step_result import StepError
from gearing.desk.requests import wanted_of
from gearing.drive.merging import merge
from gearing.errors import InputError
from tests.lives import UNITS, token
from tests.test_primary import COSTS, Market, market

LOT_COSTS = gr.Costs(half_spread=0.001, taker_fee=5e-4)


class Basket(Market):
    """A token of two legs; each order is filled for the part that its leg is given."""

    def __init__(self, *tokens, target=3.0, **more):
        super().__init__(*(tokens or (token("A", "B", target=target, costs=LOT_COSTS),)), **more)
        self.parts = {}
        self.marks = dict.fromkeys(self.symbols, 100.0)

    def filled(self, orders, part=1.0):
        """Fills orders whole; of a flow's hedge each leg is filled for its part once, and what is asked again refused.

        What unwinds a hedge is filled whole.
        """
        todo, seen = list(orders), set()
        while todo:
            order = todo.pop(0)
            dealing = self.it.state.dealing
            share = Fraction(self.parts.get(order.symbol, 1)) if dealing is not UNSET and not dealing.unwinds else 1
            share = 0 if share != 1 and order.symbol in seen else share
            seen.add(order.symbol)
            lots, mark = int(order.lots * share), self.marks[order.symbol]
            price = round(mark * (1 + self.bad if lots > 0 else 1 - self.bad), 8)
            commission = int(abs(lots) * float(self.lot) * price * self.rate * MINOR)
            fill = [self.trade(order, lots, price=price, commission=commission)] if lots else []
            word = "filled" if lots == order.lots else ("cancelled" if lots else "rejected")
            todo += self.hear(*fill, self.status(order, word, lots))

    def deal(self, side, amount, name="h1", **parts):
        """Deals one request, of whose hedge each leg is filled for its part; then everything can be traded again."""
        accepted = self.ask(name, side, amount)
        assert not isinstance(accepted, str), accepted
        self.take()
        self.parts = parts
        orders = self.quote(*self.marks.values(), after_ms=60_000)
        self.filled(orders)
        return orders

    @property
    def leverage(self):
        state = self.it.state
        return sum(leg.lots * float(leg.lot) * leg.mark for leg in state.legs) / (state.equity / MINOR)


def basket(**more):
    made = Basket(**more)
    made.opened()
    made.deposit("h1", 1_000_000)
    made.take()
    return made


def holders_have(desk):
    """Returns what all holders have and have waiting, with their units at NAV, minor units."""
    nav = Fraction(desk.it.state.equity, desk.it.state.balances.units)
    states = [one.state for one in desk.primary.holders.values()]
    return sum(one.cash("USDT") + one.cash("USDT", ho.HELD) + one.held_units("T") * nav for one in states)


PARTS = [Fraction(0), Fraction(1, 500), Fraction(1, 3), Fraction(999, 1000)]


@pytest.mark.parametrize("target", [3.0, -3.0])
@pytest.mark.parametrize("side", ["subscribe", "redeem"])
@pytest.mark.parametrize("part", PARTS)
def test_what_only_some_legs_were_filled_for_is_unwound_at_the_flows_own_cost(target, side, part):
    desk = basket(target=target)
    if side == "redeem":
        desk.deal("subscribe", 200_000 * MINOR)
    amount = 100_000 * MINOR if side == "subscribe" else desk.units("h1") // 2
    nav, leverage, wealth = desk.nav, desk.leverage, holders_have(desk)
    mine = desk.cash("h1") + desk.units("h1") * Fraction(nav)
    desk.deal(side, amount, B=part)
    state = desk.it.state
    assert state.dealing is UNSET
    assert state.status == "open"
    assert desk.nav >= nav
    assert desk.nav == pytest.approx(nav, rel=1e-9)
    assert desk.leverage == pytest.approx(leverage, rel=5e-4)
    # All that was lost is what the venue took, and it is the flow's alone.
    after = desk.cash("h1") + desk.units("h1") * Fraction(desk.nav)
    assert float(mine - after) == pytest.approx(float(wealth - holders_have(desk)), rel=1e-6, abs=100)
    assert 0 < float(mine - after) / MINOR < 1_200
    assert desk.cash("h1", ho.HELD) == 0
    assert desk.primary.supply["T"] == state.balances.units
    assert desk.alarms == []
    dealt = [line for line in desk.lines if b'"dealing_settled"' in line.body]
    assert dealt


def test_the_excess_is_what_goes_beyond_the_part_that_all_legs_were_filled_for():
    desk = basket()
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.take()
    a, b = desk.quote(100.0, 100.0, after_ms=60_000)
    desk.hear(desk.trade(a, price=100.0), desk.status(a))
    desk.hear(desk.trade(b, b.lots // 4, price=100.0))
    state = desk.it.state
    part = filled_part(state.dealing)
    assert part == Fraction(b.lots // 4, b.lots)
    excess = excess_lots(desk.it.spec, state)
    assert excess[1] == 0
    dealt = a.lots - excess[0]
    assert dealt * part.denominator >= part.numerator * a.lots > (dealt - 1) * part.denominator


@pytest.mark.parametrize("way", ["token", "book"])
def test_an_excess_waits_for_a_halted_token_or_book_and_is_unwound_once_it_is_resumed(way):
    desk = basket()
    nav = desk.nav
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.take()
    a, b = desk.quote(100.0, 100.0, after_ms=60_000)
    desk.hear(desk.trade(a, price=100.1), desk.status(a))
    if way == "token":
        desk.driver.halt(desk.it, "ann", "to look", desk.now_ms)
    else:
        desk.driver.note(desk.book, bk.BookHalted(time_ms=desk.now_ms, by="ann", reason="to look"))
    placed = desk.hear(desk.status(b, "rejected", 0))
    for order in placed:
        placed += desk.hear(desk.status(order, "rejected", 0))
    assert desk.it.state.dealing is not UNSET
    assert not desk.it.state.is_working
    assert desk.cash("h1", ho.HELD) == 100_000 * MINOR
    assert desk.primary.cancel("h1", "h1.1", desk.now_ms) == "h1.1 is being dealt"
    assert desk.quote(100.0, 100.0, after_ms=60_000) == []
    if way == "token":
        desk.driver.operate(desk.it, "resume", "ann", "looked", desk.now_ms)
    else:
        desk.driver.note(desk.book, bk.BookResumed(time_ms=desk.now_ms, by="ann", reason="looked"))
    (unwinding,) = desk.take() + desk.quote(100.0, 100.0, after_ms=60_000)
    assert (unwinding.symbol, unwinding.lots) == ("A", -a.lots)
    desk.filled([unwinding])
    assert desk.it.state.dealing is UNSET
    assert desk.nav >= nav
    assert 0 < 1_000_000 * MINOR - desk.cash("h1") < 1_000 * MINOR


def test_an_excess_that_the_venue_does_not_take_halts_the_token_and_tells_a_person():
    desk = basket()
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.take()
    a, b = desk.quote(100.0, 100.0, after_ms=60_000)
    todo = desk.hear(desk.trade(a, price=100.1), desk.status(a), desk.status(b, "rejected", 0))
    for _ in range(100):
        if not todo:
            break
        todo = desk.hear(desk.status(todo[0], "rejected", 0))
    assert desk.it.state.status == "halted"
    assert any("too often" in words for words in desk.alarms)
    assert desk.it.state.dealing is not UNSET
    desk.driver.operate(desk.it, "close", "ann", "give up", desk.now_ms)
    desk.filled(desk.take())
    assert desk.it.state.status == "closed"
    assert desk.it.state.is_flat
    assert desk.it.state.dealing is UNSET


def test_a_wipe_out_while_an_excess_waits_returns_what_the_flow_has_left():
    desk = basket()
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.take()
    a, b = desk.quote(100.0, 100.0, after_ms=60_000)
    desk.hear(desk.trade(a, price=100.1), desk.status(a))
    desk.driver.halt(desk.it, "ann", "to look", desk.now_ms)
    desk.hear(desk.status(b, "rejected", 0))
    desk.marks = {"A": 60.0, "B": 60.0}
    desk.filled(desk.quote(60.0, 60.0, after_ms=1_000))
    desk.filled(desk.quote(60.0, 60.0, after_ms=60_000))
    state = desk.it.state
    assert state.status == "wiped"
    assert state.dealing is UNSET
    assert state.balances.flows == 0
    assert desk.cash("h1", ho.HELD) == 0


# What is worth nothing.


def cheap(nav=0.5, **more):
    """A token whose units are worth less than one, whose smallest parts are worth less than a minor unit."""
    desk = Market(token("A", costs=COSTS, primary=Terms(least_redemption=0.0), **more))
    desk.opened()
    desk.deposit("h1", 100_000)
    desk.primary.request("h1", "T", "subscribe", 50_000 * MINOR, desk.now_ms)
    desk.take()
    desk.window()
    state = desk.it.state
    scale = int(state.balances.units * (100 / nav - 1))
    issued, held = state.balances.issued - scale, state.balances.held + scale
    balances = msgspec.structs.replace(state.balances, issued=issued, held=held)
    desk.it.state = msgspec.structs.replace(state, balances=balances)
    issuer = desk.primary.holders[ho.ISSUER]
    balances = dict(issuer.state.balances)
    balances[f"units:T:{ho.FREE}"] += scale
    balances["units:T:T"] -= scale
    issuer.state = msgspec.structs.replace(issuer.state, balances=balances)
    desk.primary.supply["T"] += scale
    assert desk.nav < 1
    return desk


def test_a_redemption_worth_nothing_is_refused_with_its_worth():
    desk = cheap()
    words = desk.ask("h1", "redeem", 1)
    assert words == ("at the last NAV of T these units are worth 0.00000000 USDT, which leaves nothing after the "
                     "redemption fee; redeem more of them")  # fmt: skip


def test_a_redemption_that_is_worth_a_minor_unit_which_the_fee_takes_is_refused():
    desk = cheap(fees=gr.Fees(redemption=0.001))
    assert "leaves nothing after the redemption fee" in desk.ask("h1", "redeem", 3)
    assert not isinstance(desk.ask("h1", "redeem", 5), str)


@pytest.mark.parametrize("others", [0, 1_000])
def test_a_redemption_that_has_become_worth_nothing_is_returned_and_stops_nothing(others):
    desk = cheap()
    desk.ask("h1", "redeem", 3)
    if others:
        desk.ask("h1", "subscribe", others * MINOR)
    desk.take()
    units = desk.units("h1") + 3
    desk.mark = 75.0
    desk.filled(desk.quote(75.0, after_ms=1_000))
    desk.window(75.0)
    assert desk.book.state.halted == ""
    assert desk.alarms == []
    assert desk.it.state.dealing is UNSET
    desk.window(75.0)
    assert desk.primary.holders["h1"].state.requests == {}
    assert desk.units("h1") >= units


@pytest.mark.parametrize(("mark", "bad"), [(95.3, 0.02), (95.3, 0.2), (100.0, 0.5)])
def test_a_redemption_whose_hedge_costs_more_than_its_units_burns_them_and_nobody_else_pays(mark, bad):
    desk = market(token("A", target=20.0, costs=COSTS, rule=gr.Rule(deviation=50.0)), bad=0.0, rate=0.0)
    desk.deposit("h1", 1_000)
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.take()
    desk.window()
    desk.mark = mark
    assert desk.quote(mark, after_ms=60_000) == []
    leverage = exposure_of(desk.it.state) / (desk.it.state.equity / MINOR)
    assert leverage > (300 if mark < 100 else 19)
    nav, units = desk.nav, desk.units("h1")
    desk.bad = bad
    desk.ask("h1", "redeem", units)
    desk.take()
    assert desk.window()
    state = desk.it.state
    assert desk.book.state.halted == ""
    assert state.dealing is UNSET
    assert desk.cash("h1") == 0
    assert desk.units("h1") == 0
    assert desk.nav >= nav * (1 - 1e-9)
    assert desk.primary.supply["T"] == state.balances.units
    assert desk.primary.holders["h1"].state.requests == {}


# What nobody could count.


def emptied(**more):
    """A token without units, whose first unit costs its initial NAV."""
    desk = market(token("A", costs=COSTS, **more))
    desk.ask(ho.ISSUER, "redeem", UNITS)
    desk.take()
    desk.window()
    assert desk.it.state.balances.units == 0
    desk.deposit("h1", 20_000_000)
    desk.take()
    return desk


@pytest.mark.parametrize("money", [9_300_000, 9_000_000, 1_200_000])
def test_a_first_subscription_of_more_units_than_can_be_counted_is_refused(money):
    desk = emptied(initial_nav=0.0001)
    words = desk.ask("h1", "subscribe", money * MINOR)
    assert "T cannot count it" in words
    assert "8 times" in words
    accepted = desk.ask("h1", "subscribe", 1_000_000 * MINOR)
    assert not isinstance(accepted, str)
    desk.take()
    desk.window()
    assert desk.units("h1") <= INT64_MAX
    assert desk.it.state.status == "open"
    assert desk.it.state.balances.units == desk.units("h1") > 9 * 10**17


def test_units_that_no_longer_fit_are_given_up_with_the_flow_and_the_book_goes_on(monkeypatch):
    desk = market()
    desk.deposit("h1", 100_000)
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.take()
    monkeypatch.setattr("gearing.drive.dealings.fits", lambda state, units, money: units == 0)
    (order,) = desk.quote(100.0, after_ms=60_000)
    (unwinding,) = desk.hear(desk.trade(order, price=100.1), desk.status(order))
    assert unwinding.lots == -order.lots
    desk.filled([unwinding])
    assert desk.book.state.halted == ""
    assert desk.it.state.dealing is UNSET
    assert desk.lots == [30_000_000]
    assert 0 < 100_000 * MINOR - desk.cash("h1") < 1_000 * MINOR
    assert desk.cash("h1", ho.HELD) == 0


def test_no_step_leaves_the_range_of_the_ledger():
    desk = market()
    state = desk.it.state
    full = msgspec.structs.replace(state.balances, wallet=INT64_MAX - 5, capital=state.balances.capital - INT64_MAX)
    payment = ev.FundingSettled(time_ms=desk.now_ms, leg=0, settlement_ms=desk.now_ms + 1, lots=1, rate=-1e-4,
                                amount=10, prices=(100.0,))  # fmt: skip
    with pytest.raises(StepError, match="would leave the range of the ledger"):
        step(desk.it.spec, msgspec.structs.replace(state, balances=full), payment)


def test_no_nav_leaves_the_range_of_the_ledger():
    desk = market()
    state = desk.it.state
    few = msgspec.structs.replace(state, balances=msgspec.structs.replace(state.balances, held=1, issued=-1))
    with pytest.raises(StepError, match="the NAV of a unit would leave the range of the ledger"):
        step(desk.it.spec, few, ev.NavStruck(time_ms=desk.now_ms, prices=(100.0,)))


def test_units_are_not_merged_until_one_is_worth_more_than_can_be_counted():
    desk = market()
    assert not isinstance(merge(desk.driver, desk.it, 1_000.0, "ann", "x", desk.now_ms), str)
    refused = merge(desk.driver, desk.it, 1_000.0, "ann", "x", desk.now_ms)
    assert refused.startswith("a unit would be worth 100,")
    assert refused.endswith("; at most 9,223,372.03685477 is allowed")
    desk.quote(101.0)
    assert desk.alarms == []


@pytest.mark.parametrize("body", [b'{"ask":"pay","holder":"\\xff"}', b'{"ask":"pay","holder":"\xff"}', b"[" * 100_000,
                                  b"", b"null", b'{"ask":"pay","amount":1' + b"0" * 5_000 + b"}"])  # fmt: skip
def test_whatever_is_wrong_with_a_requests_text_it_is_answered(body):
    with pytest.raises(InputError, match="the request cannot be read"):
        wanted_of(body)


def test_a_redemption_of_several_is_shared_by_units_where_its_hedge_came_to_nothing():
    desk = basket()
    for name, money in (("h2", 60_000), ("h3", 30_000)):
        desk.deposit(name, money)
        desk.deal("subscribe", money * MINOR, name=name)
    before = {name: desk.units(name) for name in ("h2", "h3")}
    desk.ask("h3", "redeem", before["h3"])
    desk.deal("redeem", before["h2"], name="h2", B=Fraction(0))
    burned = {name: before[name] - desk.units(name) for name in before}
    assert burned["h2"] / burned["h3"] == pytest.approx(before["h2"] / before["h3"], rel=1e-6)
    assert desk.cash("h2") == desk.cash("h3") == 0
    assert desk.primary.supply["T"] == desk.it.state.balances.units


def test_every_settlement_that_gives_or_takes_otherwise_is_rejected():
    desk = basket()
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.take()
    a, b = desk.quote(100.0, 100.0, after_ms=60_000)
    desk.hear(desk.trade(a, price=100.1), desk.status(a), desk.trade(b, price=100.1))
    it = desk.it
    seen = msgspec.structs.replace(it.state, rebalance=None)
    price = worth(it.spec, seen, seen.dealing.accrued, "subscribe")
    most = flow_result(seen, price)
    good = ev.DealingSettled(time_ms=desk.now_ms, units=most.gives, cash=most.accepted, fee=0)
    done = step(it.spec, seen, good)
    assert breaches(seen, done.state, done.entry) == []
    for units, cash, fee in itertools.product((0, 1), (-1, 0, 1), (-1, 0)):
        if (units, cash, fee) == (0, 0, 0):
            continue
        wrong = ev.DealingSettled(time_ms=desk.now_ms, units=most.gives + units, cash=most.accepted + cash, fee=fee)
        with pytest.raises(StepError):
            step(it.spec, seen, wrong)


def test_a_subscription_of_which_nothing_is_dealt_pays_what_it_brought_at_most():
    """What unwinding its hedge cost beyond that is the issuer's."""
    desk = market()
    desk.deposit("h1", 100_000)
    desk.ask("h1", "subscribe", 100 * MINOR)
    desk.quote(100.0, after_ms=60_000)
    state, price = desk.it.state, Worth(1, 1)
    money = state.dealing.amount
    for lost, borne in ((60, 60), (2 * money, money)):
        balances = msgspec.structs.replace(state.balances, flows=lost - money)
        lossy = msgspec.structs.replace(state, balances=balances)
        assert hedge_pnl(lossy) == -lost
        assert covered_pnl(lossy, price, money, 0) == -borne
        assert covered_pnl(lossy, price, money, 5) == -lost  # of what is dealt, the price says what is lost
