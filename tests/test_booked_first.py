"""A token that has to trade while a flow waits: the settlement is booked at the predicted rate, then the flow settled.

Who comes, who goes and who stays has the same as if the venue had settled at that rate at once; the reserve takes what
it reports more or less.
"""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET

import gearing as gr
from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.money import MINOR
from gearing.core.step import step
from gearing.core.step_result import StepError
from gearing.desk import issuer
from gearing.desk.requests import Adopt
from gearing.drive.settling import assumed, book_by_hand, unbooked, waited_for, why_dealing_waits, with_empty
from gearing.venues.protocol import Settled
from tests import late
from tests.late import RATE, T_MS, Late, leverage
from tests.lives import HOUR_MS, token
from tests.test_adopting import at_venue
from tests.test_primary import COSTS

SIDES = [("subscribe", 400_000 * MINOR), ("redeem", None)]


def started(side, amount, rate=RATE, **more):
    """A token with a holder who has units already, and a flow whose hedge is half filled at T and half after it."""
    desk = Late(**more)
    desk.funding["funding_rate"] = rate
    desk.deposit("h1", 1_000_000)
    desk.ask("h1", "subscribe", 450_000 * MINOR)
    desk.window()
    (order,) = desk.with_hedge(side, amount or desk.units("h1"))
    half = order.lots // 2
    desk.hear(desk.trade(order, half, price=100.0))
    held = desk.it.state.legs[0].lots
    desk.passes()
    desk.hear(desk.trade(order, order.lots - half, price=100.0), desk.status(order, "filled", order.lots))
    assert desk.it.state.dealing is not UNSET
    return desk, held


def worth_of(desk, name):
    """What a holder has, in minor units."""
    state = desk.it.state
    return desk.cash(name) + desk.units(name) * state.equity / max(state.balances.units, 1)


def held_by(desk, name):
    return desk.primary.state_of(name).held_units("T")


@pytest.mark.parametrize("rate", [RATE, 0.0075, -0.0075, 0.0])
@pytest.mark.parametrize(("side", "amount"), SIDES)
def test_everybody_has_what_a_settlement_at_the_predicted_rate_gives(monkeypatch, side, amount, rate):
    monkeypatch.setattr(late, "RATE", rate)
    (booked, held), (desk, _) = started(side, amount, rate), started(side, amount, rate)
    booked.book_it(held, rate=rate)
    desk.driver.primary.dealings.end_waiting(desk.it, desk.now_ms)
    desk.take()
    assert booked.it.watched is booked.it.state  # it sleeps by what it has now
    for one in (booked, desk):
        assert one.it.state.dealing is UNSET
        assert one.it.state.balances.accrued == 0
    for name in ("h1", ho.ISSUER):
        assert worth_of(desk, name) == pytest.approx(worth_of(booked, name), abs=1e-4 * MINOR)
    assert desk.it.state.balances.fees == booked.it.state.balances.fees


@pytest.mark.parametrize("actual", [0.0075, -0.0075, 0.0])
@pytest.mark.parametrize(("side", "amount"), SIDES)
def test_what_the_venue_reports_more_or_less_is_the_reserves(side, amount, actual):
    desk, held = started(side, amount)
    desk.driver.primary.dealings.end_waiting(desk.it, desk.now_ms)
    before = desk.it.state
    assert assumed(desk.book) == [("A", T_MS)]
    predicted = -int(held * 0.001 * 100 * RATE * MINOR)
    amount = desk.book_it(held, rate=actual)
    assert desk.it.state == before
    assert assumed(desk.book) == []
    assert desk.book.state.received["USDT"] == pytest.approx(amount - predicted, abs=1)


def test_one_that_the_venue_never_settled_is_the_reserves_too():
    desk, held = started(*SIDES[0])
    desk.driver.primary.dealings.end_waiting(desk.it, desk.now_ms)
    later = Settled(symbol="A", settlement_ms=T_MS + 8 * HOUR_MS, rate=RATE, mark=100.0)
    assert waited_for(desk.book) == {"A"}
    (none,) = with_empty(desk.book, {"A": [later]}, [])
    desk.driver.on_funding(desk.book, none, desk.now_ms)
    assert assumed(desk.book) == []
    assert desk.book.state.received["USDT"] == pytest.approx(int(held * 0.001 * 100 * RATE * MINOR), abs=1)


def test_a_flow_goes_on_at_once_when_an_operator_books_what_it_waits_for():
    desk, _ = started(*SIDES[0])
    desk.now_ms += HOUR_MS // 4
    assert book_by_hand(desk.driver, desk.book, "A", T_MS, RATE, "ann", "late", desk.now_ms) == ""
    assert desk.it.state.dealing is UNSET
    assert desk.it.watched is desk.it.state


def test_newcomers_bear_nothing_of_what_was_predicted_wrong_for_those_before_them():
    desk, _ = started("subscribe", 400_000 * MINOR, rate=0.0)
    alone = Late()
    alone.until(desk.now_ms)
    for one in (desk, alone):
        one.walk(79.0, each_ms=1_000)
    nav = desk.it.state.nav
    desk.book_it(30_000_000, rate=0.0075)
    assert desk.it.state.nav == nav


# What was hedged in some legs only is left to the token, at the flow's cost.


def stranded(**more):
    more.setdefault("rule", gr.Rule(deviation=0.1))
    desk = Late(token("A", "B", target=2.0, costs=COSTS, **more))
    desk.deposit("h1", 900_000)
    orders = desk.with_hedge(amount=900_000 * MINOR)
    desk.passes()
    desk.filled_in_part(orders, 0.5)
    assert desk.it.state.dealing is not UNSET
    return desk


def excess(desk):
    first, second = desk.it.state.dealing.lots
    return first - second


def test_an_excess_is_left_to_the_token_at_the_mark_and_at_the_flows_cost():
    desk = stranded()
    before, lots = desk.it.state, [leg.lots for leg in desk.it.state.legs]
    kept = step(desk.it.spec, before, ev.ExcessKept(time_ms=desk.now_ms, prices=(100.0, 100.0)))
    cost = excess(desk) * 0.001 * 100 * (COSTS.taker_fee + COSTS.half_spread) * MINOR
    assert kept.state.equity - before.equity == pytest.approx(cost, rel=1e-9)
    assert cost > 0
    assert [leg.lots for leg in kept.state.legs] == lots
    assert kept.state.dealing.lots == (before.dealing.lots[1],) * 2
    assert kept.orders == ()
    with pytest.raises(StepError, match="there is no excess"):
        step(desk.it.spec, kept.state, ev.ExcessKept(time_ms=desk.now_ms, prices=(100.0, 100.0)))


def test_nothing_is_sent_beside_the_rule_for_an_excess():
    desk = stranded()
    orders = desk.quote(80.0, 80.0, after_ms=1_000)
    assert desk.it.state.dealing is UNSET
    assert desk.it.state.rebalance.reason != "dealing"
    assert {order.lots < 0 for order in orders} == {True}
    desk.mark = 80.0
    desk.filled(orders)
    assert leverage(desk) == pytest.approx(2.0, rel=0.01)


def test_a_part_that_the_venue_closes_leaves_nothing_to_be_unwound():
    """Else an order under way would turn what is left of the leg."""
    desk = stranded(rule=gr.Rule(deviation=0.95))
    held = desk.it.state.legs[0].lots
    desk.driver.on_forced(desk.book, desk.forced(-held, price=95.0, symbol="A"))
    assert desk.take() == []
    assert desk.it.state.dealing is UNSET
    assert desk.it.state.legs[0].lots == 0


def test_who_closes_a_token_makes_the_flow_pay_for_its_excess_all_the_same():
    closed, traded = stranded(), stranded()
    left = excess(closed)
    closed.driver.operate(closed.it, "close", "ann", "ends", closed.now_ms)
    traded.driver.operate(traded.it, "rebalance", "ann", "now", traded.now_ms)
    assert closed.it.state.status == "closing"
    for one in (closed, traded):
        assert one.it.state.dealing is UNSET
    assert closed.units("h1") == traded.units("h1")
    assert closed.cash("h1") == traded.cash("h1")
    cost = left * 0.001 * 100 * (COSTS.taker_fee + COSTS.half_spread) * MINOR
    assert 900_000 * MINOR - worth_of(closed, "h1") == pytest.approx(cost, rel=0.1)


# Whoever trades the token for other reasons.


def test_an_operator_rebalances_the_whole_token():
    desk, _ = started("subscribe", 400_000 * MINOR, deviation=0.9)
    desk.price(85.0)
    with pytest.raises(StepError, match="before its token is rebalanced"):
        step(desk.it.spec, desk.it.state, ev.Operated(time_ms=desk.now_ms, action="rebalance", by="ann", reason="r"))
    desk.driver.operate(desk.it, "rebalance", "ann", "now", desk.now_ms)
    assert desk.it.state.dealing is UNSET
    desk.filled(desk.take())
    assert leverage(desk) == pytest.approx(3.0, rel=1e-4)


def test_what_is_adopted_falls_on_all_who_are_in_the_token():
    desk = Late(deviation=0.9)
    desk.deposit("h1", 900_000)
    desk.with_flow(amount=900_000 * MINOR)
    held, brought = desk.it.state.legs[0].lots, desk.it.state.brought
    gone, basis = held // 2, desk.it.state.legs[0].basis
    part = basis * gone // held
    statement = at_venue(desk, positions={"A": held - gone}, paid=-part,
                         cash=-brought + int(gone * 0.001 * 95 * MINOR) - part)  # fmt: skip
    desk.driver.on_statement(desk.book, statement)
    with pytest.raises(StepError, match="before anything is adopted"):
        step(desk.it.spec, desk.it.state, ev.Adopted(time_ms=desk.now_ms, lots=(-gone,), cash=0, prices=(100.0,),
                                                     by="ann", reason="r"))  # fmt: skip
    wanted = Adopt(book="main", differences=desk.book.state.differences, tokens=("T",), by="ann", reason="why")
    answered = issuer.answer(desk.driver, wanted, desk.now_ms, 10**15)
    assert answered.done, answered.words
    assert desk.it.state.dealing is UNSET
    nav = desk.it.state.nav / MINOR
    assert desk.units("h1") / MINOR * nav == pytest.approx(900_000 * nav / 100, rel=0.001)


def test_an_adoption_waits_for_a_price_where_a_flow_is_settled_first():
    desk = Late(deviation=0.9)
    desk.deposit("h1", 900_000)
    desk.with_flow(amount=900_000 * MINOR)
    desk.driver.on_statement(desk.book, at_venue(desk, cash=-1_000 * MINOR - desk.it.state.brought))
    desk.now_ms += HOUR_MS
    wanted = Adopt(book="main", differences=desk.book.state.differences, tokens=("T",), by="ann", reason="why")
    answered = issuer.answer(desk.driver, wanted, desk.now_ms, 10**15)
    assert not answered.done
    assert "is settled first, and has no good price now" in answered.words


def test_a_rebalance_that_falls_due_while_a_hedge_is_under_way_comes_after_it():
    at_ms = T_MS - 30 * 60_000
    desk = Late(token("A", target=3.0, costs=COSTS, rule=gr.Rule(schedule=(gr.Schedule(times=("12:30",)),))))
    desk.deposit("h1", 200_000)
    for mark in range(99, 89, -1):
        desk.price(float(mark), after_ms=5_000)
    desk.until(at_ms - 100_000)
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.take()
    orders = []
    while not orders and desk.now_ms < at_ms - 1_000:
        orders = desk.quote(90.0, after_ms=5_000)
    while desk.now_ms < at_ms + 20_000:
        desk.quote(90.0, after_ms=5_000)
    assert desk.it.state.is_working
    desk.filled(orders)
    desk.price(90.0)
    assert leverage(desk) == pytest.approx(3.0, rel=1e-4)


@pytest.mark.parametrize("halts", [True, False])
@pytest.mark.parametrize("side", ["subscribe", "redeem"])
def test_of_a_token_that_was_wiped_out_no_request_ends_before_its_share_is_given(side, halts):
    desk = Late(deviation=0.1)
    desk.deposit("h1", 900_000)
    desk.ask("h1", "subscribe", 400_000 * MINOR)
    desk.window()
    desk.window()
    desk.ask("h1", side, 400_000 * MINOR if side == "subscribe" else desk.units("h1"))
    desk.take()
    orders = []
    while not orders:
        orders = desk.quote(100.0, after_ms=5_000)
    (order,) = orders
    some = order.lots - order.lots // 1_000
    desk.hear(desk.trade(order, some, price=100.0))
    desk.mark = 60.0
    for _ in range(3):
        desk.quote(60.0, after_ms=1_000)
    assert (desk.it.state.status, desk.it.state.is_working) == ("wiped", True)
    if halts:
        desk.driver.note(desk.book, bk.BookHalted(time_ms=desk.now_ms, by="reconciliation", reason="C1"))
    desk.take()
    out = desk.hear(desk.status(order, "cancelled", some))
    if not halts:
        desk.filled(out)
    desk.price()
    assert desk.it.state.dealing is UNSET
    assert not desk.primary.state_of("h1").requests
    assert desk.book.state.owed in ({}, UNSET)
    assert desk.it.state.balances.units == desk.units("h1") + desk.units(ho.ISSUER)


# What a settlement is, and of what.


@pytest.mark.parametrize("rate", [0.0075, -0.0075])
def test_what_was_accrued_waits_to_be_booked_though_nothing_was_held_after_all(monkeypatch, rate):
    """A fill of before T that is told after the first price: the venue settles nothing, and nobody is paid before."""
    monkeypatch.setattr(late, "RATE", rate)
    desk = Late(deviation=0.5)
    desk.funding["funding_rate"] = rate
    desk.deposit("h1", 900_000)
    desk.ask("h1", "subscribe", 900_000 * MINOR)
    desk.window()
    desk.until(T_MS - 1_000)
    share = desk.units("h1") / desk.it.state.balances.units * desk.it.state.equity
    desk.driver.operate(desk.it, "close", "ann", "ends", desk.now_ms)
    orders = desk.take()
    desk.passes(2_000)
    for order in orders:
        desk.hear(desk.trade(order, price=100.0, time_ms=T_MS - 500), desk.status(order))
    assert desk.it.state.status == "closed"
    assert [it.time_ms for it in unbooked(desk.driver, desk.it, desk.now_ms)] == [T_MS]
    desk.ask("h1", "redeem", desk.units("h1"))
    desk.price()
    assert desk.cash("h1") == 0
    assert "is not booked yet" in why_dealing_waits(desk.driver, desk.it, desk.now_ms)
    # The venue lists the settlement, and none of its payments is this account's.
    assert waited_for(desk.book) == {"A"}
    (none,) = with_empty(desk.book, {"A": [Settled(symbol="A", settlement_ms=T_MS, rate=rate, mark=100.0)]}, [])
    desk.driver.on_funding(desk.book, none, desk.now_ms)
    desk.price()
    assert desk.cash("h1") == pytest.approx(share, rel=1e-9)


@pytest.mark.parametrize(("side", "predicted"), [("redeem", 0.0075), ("subscribe", -0.0075)])
def test_a_settlement_at_no_rate_is_no_part_of_the_price_whether_a_price_or_the_report_came_first(
    monkeypatch, side, predicted
):  # fmt: skip
    monkeypatch.setattr(late, "RATE", predicted)
    for first in ("price", "report"):
        desk = Late(deviation=0.9)
        desk.deposit("h1", 900_000)
        desk.ask("h1", "subscribe", 450_000 * MINOR)
        desk.window()
        orders = desk.with_hedge(side, 400_000 * MINOR if side == "subscribe" else desk.units("h1"))
        lots, cash, units = desk.it.state.legs[0].lots, desk.cash("h1") + desk.cash("h1", ho.HELD), held_by(desk, "h1")
        if first == "price":
            desk.passes()
        desk.now_ms = max(desk.now_ms, T_MS + 300)
        desk.book_it(lots, rate=0.0)
        desk.passes(1_200)
        desk.filled(orders)
        desk.price()
        assert desk.it.state.dealing is UNSET
        nav = desk.it.state.equity / desk.it.state.balances.units
        assert worth_of(desk, "h1") == pytest.approx(cash + units * nav, rel=1e-9)


def test_a_report_is_not_taken_while_an_earlier_settlement_may_be_missing():
    """No price came across both, so nothing is accrued of the first; what is asked for comes in order."""
    desk = Late(deviation=0.9)
    desk.driver.market.set_interval("A", HOUR_MS)
    desk.until(T_MS - 1_000)
    lots = desk.it.state.legs[0].lots
    desk.now_ms = T_MS + HOUR_MS + 1_000
    before = desk.it.state.balances.wallet
    second = desk.payment(lots, T_MS + HOUR_MS)
    desk.driver.on_funding(desk.book, second, desk.now_ms, is_asked=False)
    assert desk.it.state.balances.wallet == before
    first = desk.payment(lots, T_MS)
    for payment in (first, second):
        desk.driver.on_funding(desk.book, payment, desk.now_ms)
    assert desk.it.state.balances.wallet == before + first.amount + second.amount


def test_no_state_before_a_settlement_is_booked_says_that_it_is():
    desk, held = started(*SIDES[0])
    leg = desk.it.state.legs[0]
    (accrual,) = leg.accruals
    assert (accrual.settlement_ms, accrual.rate, leg.funded_ms < T_MS) == (T_MS, RATE, True)
    desk.book_it(held)
    assert (desk.it.state.legs[0].accruals, desk.it.state.legs[0].funded_ms) == ((), T_MS)
    assert msgspec.json.decode(msgspec.json.encode(accrual), type=type(accrual)) == accrual
