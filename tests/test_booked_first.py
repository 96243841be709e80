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
from gearing.core.journal import line_of
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.step import step
from gearing.core.step_result import StepError
from gearing.desk import issuer
from gearing.desk.requests import Adopt, Operate
from gearing.drive.driver import Driver
from gearing.drive.settling import (
    assumed,
    book_by_hand,
    book_first,
    unbooked,
    waited_for,
    why_dealing_waits,
    with_empty,
)
from gearing.store.recompute import recompute
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.venues.protocol import Settled
from tests import late
from tests.journals import lines_of, new_database
from tests.late import RATE, T_MS, Late, leverage
from tests.lives import HOUR_MS, NOON_MS, token
from tests.test_adopting import at_venue
from tests.test_primary import COSTS
from tests.test_store_dealing import Kept
from tests.test_waiting_flows import asked

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


def stranded(it=None, **more):
    more.setdefault("rule", gr.Rule(deviation=0.1))
    desk = Late(it or token("A", "B", target=2.0, costs=COSTS, **more))
    desk.deposit("h1", 900_000)
    orders = desk.with_hedge(amount=900_000 * MINOR)
    desk.passes()
    desk.filled_in_part(orders, 0.5)
    assert desk.it.state.dealing is not UNSET
    return desk


def events(desk):
    return [line_of(line.body).event for line in desk.lines]


def excess(desk):
    first, second = desk.it.state.dealing.lots
    return first - second


@pytest.mark.parametrize("at", [100.0, 99.0])
def test_an_excess_is_left_to_the_token_at_the_flows_cost(at):
    desk = stranded()
    before, lots = desk.it.state, [leg.lots for leg in desk.it.state.legs]
    event = ev.ExcessKept(time_ms=desk.now_ms, prices=(100.0, 100.0), at=(at, at))
    kept = step(desk.it.spec, before, event)
    cost = excess(desk) * 0.001 * (100 * (COSTS.taker_fee + COSTS.half_spread) + 100 - at) * MINOR
    assert kept.state.equity - before.equity == pytest.approx(cost, rel=1e-9)
    assert cost > 0
    assert [leg.lots for leg in kept.state.legs] == lots
    assert kept.state.dealing.lots == (before.dealing.lots[1],) * 2
    assert kept.orders == ()
    with pytest.raises(StepError, match="there is no excess"):
        step(desk.it.spec, kept.state, event)


@pytest.mark.parametrize("at", [100.0, 99.0])
def test_the_issuer_receives_what_trading_an_excess_back_costs_where_its_fee_is_all_in(at):
    """And bears what the token then trades it at: holders have the mark, whatever it is left at."""
    desk = stranded(fees=gr.Fees(all_in=True))
    before = desk.it.state
    cost = excess(desk) * 0.001 * (100 * (COSTS.taker_fee + COSTS.half_spread) + 100 - at) * MINOR
    kept = step(desk.it.spec, before, ev.ExcessKept(time_ms=desk.now_ms, prices=(100.0, 100.0), at=(at, at)))
    assert kept.state.equity == before.equity
    assert before.balances.fees - kept.state.balances.fees == pytest.approx(cost, rel=1e-9)
    assert kept.state.balances.flows - before.balances.flows == pytest.approx(cost, rel=1e-9)


def test_an_excess_is_left_at_no_better_price_than_the_mark():
    desk = stranded()
    with pytest.raises(StepError, match="no better price than the mark"):
        step(desk.it.spec, desk.it.state, ev.ExcessKept(time_ms=desk.now_ms, prices=(100.0, 100.0), at=(101.0, 100.0)))


def test_an_excess_is_left_at_the_fair_price_where_that_is_worse_for_the_flow(monkeypatch):
    desk = stranded()
    monkeypatch.setattr(desk.driver.market, "fair", lambda symbol: {"A": 79.0, "B": 81.0}[symbol])
    desk.quote(80.0, 80.0, after_ms=1_000)
    (kept,) = [one for one in events(desk) if isinstance(one, ev.ExcessKept)]
    assert (kept.prices, kept.at) == ((80.0, 80.0), (79.0, 81.0))


def stranded_above(mark):
    """A desk whose flow has an excess that is worth an order above a mark only."""
    least = excess(stranded()) * 0.001 * mark
    legs = tuple(gr.Perpetual(symbol=name, weight=0.5, min_notional=least) for name in "AB")
    return stranded(gr.Token(symbol="T", target=2.0, legs=legs, costs=COSTS, rule=gr.Rule(deviation=0.1)))


def test_an_excess_that_a_mark_makes_large_enough_to_trade_is_left_to_no_halted_token():
    desk = stranded_above(105.0)
    desk.driver.operate(desk.it, "halt", "ann", "look", desk.now_ms)
    desk.quote(110.0, 110.0, after_ms=1_000)
    assert not desk.primary.dealings.end_waiting(desk.it, desk.now_ms)
    assert desk.it.state.dealing is not UNSET
    assert not any(isinstance(one, ev.ExcessKept) for one in events(desk))


def test_an_excess_that_a_mark_makes_too_small_to_trade_gives_up_no_flow():
    """It was worth an order at the last mark, and is not at the one that the token trades at."""
    desk = stranded_above(90.0)
    before = desk.units("h1")
    desk.quote(80.0, 80.0, after_ms=1_000)
    assert desk.it.state.dealing is UNSET
    assert desk.book.state.halted == ""
    assert desk.units("h1") > before
    assert not [one for one in events(desk) if isinstance(one, (ev.ExcessKept, ev.DealingLimited))]


def test_where_nothing_is_left_an_excess_goes_with_the_rest():
    desk = stranded()
    gone = ev.ExcessKept(time_ms=desk.now_ms, prices=(30.0, 30.0), at=(30.0, 30.0))
    assert step(desk.it.spec, desk.it.state, gone).state.status == "wiped"


@pytest.mark.parametrize("halts", ["token", "book"])
def test_an_excess_is_left_to_no_token_that_cannot_trade_it(halts):
    """It would have a leverage that nobody asked for."""
    desk = stranded()
    if halts == "token":
        desk.driver.operate(desk.it, "halt", "ann", "look", desk.now_ms)
    else:
        desk.driver.note(desk.book, bk.BookHalted(time_ms=desk.now_ms, by="reconciliation", reason="C1"))
    for mark in (95.0, 85.0, 80.0):
        desk.quote(mark, mark, after_ms=1_000)
    assert desk.it.state.dealing is not UNSET
    assert not any(isinstance(one, ev.ExcessKept) for one in events(desk))
    assert not desk.primary.dealings.end_waiting(desk.it, desk.now_ms)
    assert assumed(desk.book) == []  # as long as it waits, nothing is booked for it


def test_nothing_is_sent_beside_the_rule_for_an_excess():
    desk = stranded()
    orders = desk.quote(80.0, 80.0, after_ms=1_000)
    assert desk.it.state.dealing is UNSET
    assert desk.it.state.rebalance.reason != "dealing"
    assert {order.lots < 0 for order in orders} == {True}
    desk.mark = 80.0
    desk.filled(orders)
    assert leverage(desk) == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("paid", [UNSET, 1])
@pytest.mark.parametrize("part", [0.2, 0.8, 1.0])
def test_what_the_venue_closes_is_first_of_the_token_then_of_what_a_flow_left_behind(part, paid):
    """An excess waits on, and no order that unwinds it turns what is left of the leg."""
    desk = stranded(rule=gr.Rule(deviation=0.95))
    held, flow = desk.it.state.legs[0].lots, desk.it.state.dealing.lots[0]
    own, gone = held - flow, int(held * part)
    before = desk.it.state.balances
    desk.driver.on_forced(desk.book, msgspec.structs.replace(desk.forced(-gone, price=95.0, symbol="A"), charge=1_000))
    assert desk.it.state.dealing.lots[0] == flow - max(gone - own, 0)
    assert desk.it.state.legs[0].lots - desk.it.state.dealing.lots[0] == max(own - gone, 0)
    theirs = max(gone - own, 0)
    flows = theirs * 0.001 * 5 * MINOR + 1_000 * theirs // gone
    assert desk.it.state.balances.flows - before.flows == pytest.approx(flows, abs=2)
    assert desk.it.state.balances.liquidation - before.liquidation == pytest.approx(
        1_000 * (gone - theirs) // gone, abs=2
    )
    assert desk.it.state.balances.price - before.price == pytest.approx((gone - theirs) * 0.001 * 5 * MINOR, abs=2)


def test_a_part_that_several_tokens_share_is_split_with_what_was_paid():
    desk = stranded(rule=gr.Rule(deviation=0.95))
    held, flow = desk.it.state.legs[0].lots, desk.it.state.dealing.lots[0]
    paid = -int(held * 0.001 * 95 * MINOR) + 7
    event = ev.Liquidated(time_ms=desk.now_ms, leg=0, lots=-held, price=95.0, charge=0, trade="f", deleveraged=True,
                          paid=paid, prices=(100.0, 100.0))  # fmt: skip
    after = step(desk.it.spec, desk.it.state, event).state
    assert after.legs[0].lots == 0
    assert after.dealing.lots[0] == 0
    assert after.balances.wallet - sum(leg.basis for leg in after.legs) == (
        desk.it.state.balances.wallet - sum(leg.basis for leg in desk.it.state.legs) - paid)  # fmt: skip
    assert flow < held


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


def test_nothing_is_booked_early_for_a_rule_whose_orders_would_not_be_sent():
    desk, _ = started("subscribe", 400_000 * MINOR)
    desk.driver.note(desk.book, bk.BookHalted(time_ms=desk.now_ms, by="reconciliation", reason="C1"))
    for mark in (95.0, 90.0, 85.0):
        desk.quote(mark, after_ms=1_000)
    assert desk.it.state.dealing is not UNSET
    assert assumed(desk.book) == []


def test_a_token_that_is_closed_sells_nothing_of_a_flow_that_is_not_settled():
    """Its hedge ends while prices are old; the next good one settles the flow before the rest is sold."""
    desk = Late(token("A", "B", target=2.0, costs=COSTS, rule=gr.Rule(deviation=0.9)))
    desk.deposit("h1", 900_000)
    desk.ask("h1", "subscribe", 900_000 * MINOR)
    desk.take()
    orders = []
    while not orders:
        orders = desk.quote(100.0, 100.0, after_ms=5_000)
    desk.driver.operate(desk.it, "close", "ann", "ends", desk.now_ms)
    desk.now_ms += 30_000
    desk.filled_in_part(orders, 0.5)
    assert (desk.it.state.status, desk.it.state.dealing is UNSET) == ("closing", False)
    forced = desk.forced(-desk.it.state.legs[0].lots, price=95.0, symbol="A")
    marked = ev.Marked(time_ms=desk.now_ms, prices=(100.0, 100.0), before_ms=desk.now_ms - 1)
    taken = ev.Liquidated(time_ms=desk.now_ms, leg=0, lots=forced.lots, price=95.0, charge=0, trade="f")
    for event in (marked, taken):
        done = step(desk.it.spec, desk.it.state, event)
        assert (done.state.status, done.orders) == ("closing", ())
    desk.filled(desk.quote(100.0, 100.0, after_ms=1_000))
    for _ in range(3):
        desk.price()
    assert (desk.it.state.status, desk.it.state.dealing) == ("closed", UNSET)
    assert not desk.primary.state_of("h1").requests
    assert desk.cash("h1", ho.HELD) == 0


def test_what_the_venue_deleverages_is_booked_though_nothing_can_be_rehedged():
    desk = stranded(rule=gr.Rule(deviation=0.95))
    desk.driver.on_deleveraging = "rehedge"
    desk.now_ms += HOUR_MS
    before = desk.it.state.legs[0].lots
    desk.driver.on_forced(desk.book, desk.forced(-2_000_000, price=95.0, symbol="A", deleveraged=True))
    assert desk.it.state.legs[0].lots == before - 2_000_000
    assert desk.it.state.status == "halted"
    assert desk.book.state.halted == ""


# Whoever trades the token for other reasons.


def test_nothing_is_closed_beside_a_flow():
    desk, _ = started("subscribe", 400_000 * MINOR)
    with pytest.raises(StepError, match="has a flow to be settled first"):
        step(desk.it.spec, desk.it.state, ev.Operated(time_ms=desk.now_ms, action="close", by="ann", reason="r"))


@pytest.mark.parametrize("action", ["close", "rebalance"])
def test_nobody_trades_a_token_whose_flow_would_be_settled_at_a_price_of_long_ago(action):
    desk, _ = started("subscribe", 400_000 * MINOR)
    wanted = Operate(token="T", action=action, by="ann", reason="now")
    assert asked(desk, wanted) == ""
    desk.now_ms += HOUR_MS
    assert asked(desk, wanted) == "has a flow that is settled first, and has no good price now; ask again"


def test_a_prediction_alone_wipes_nobody_out(monkeypatch):
    monkeypatch.setattr(late, "RATE", 0.0075)
    desk, _ = started("subscribe", 400_000 * MINOR, rate=0.0075, deviation=0.9)
    monkeypatch.setattr("gearing.drive.settling.accrued_of", lambda lots, *_: lots * 10**9)
    desk, _ = started("subscribe", 400_000 * MINOR, rate=0.0075, deviation=0.9)
    before = desk.it.state
    assert not book_first(desk.driver, desk.it, desk.now_ms)
    assert desk.it.state.dealing == before.dealing
    assert (desk.it.state.status, assumed(desk.book)) == ("open", [])
    assert not desk.driver.primary.dealings.end_waiting(desk.it, desk.now_ms)


def test_nothing_is_booked_early_where_a_settlement_before_it_may_be_missing():
    """No price came across both, or the venue has shortened its interval since: only its list can tell."""
    desk = Late(deviation=0.1)
    desk.driver.market.set_interval("A", HOUR_MS)
    desk.deposit("h1", 500_000)
    (order,) = desk.with_hedge(amount=400_000 * MINOR)
    desk.now_ms = T_MS + 2_000
    desk.hear(desk.trade(order), desk.status(order))
    desk.now_ms = T_MS + HOUR_MS + 4_000
    desk.funding = {"funding_rate": RATE, "funding_ms": T_MS + 2 * HOUR_MS}
    desk.quote(80.0, after_ms=1_000)
    assert desk.it.state.dealing is not UNSET
    assert assumed(desk.book) == []


def test_nothing_is_booked_early_where_the_venue_may_have_settled_unannounced_before_it():
    """It settles each half hour by its rules, and prices announced the full one only, with its rate."""
    desk = Late(deviation=0.1)
    desk.deposit("h1", 500_000)
    (order,) = desk.with_hedge(amount=400_000 * MINOR)
    desk.driver.market.set_interval("A", HOUR_MS // 2)
    desk.passes()
    desk.hear(desk.trade(order), desk.status(order))
    assert [one.rate for one in desk.it.state.legs[0].accruals] == [RATE]
    desk.quote(80.0, after_ms=1_000)
    assert desk.it.state.dealing is not UNSET
    assert assumed(desk.book) == []


def test_what_other_tokens_of_the_book_wait_for_is_booked_before_it():
    """U was flat at the first settlement, which T waits for; it has a flow across the second, and has to trade."""
    terms = Terms(window="1m", match_over="30s")
    tokens = [msgspec.structs.replace(token("A", target=3.0, costs=COSTS, rule=gr.Rule(deviation=by), primary=terms),
                                      symbol=name) for name, by in (("T", 0.9), ("U", 0.1))]  # fmt: skip
    desk = Late(*tokens)
    desk.funding = {"funding_rate": RATE, "funding_ms": T_MS}
    it = desk.driver.by_name["U"]
    desk.deposit("h2", 2_000_000)
    desk.ask(ho.ISSUER, "redeem", desk.primary.state_of(ho.ISSUER).units("U"), "U")
    desk.until(T_MS - 200_000)
    assert it.state.legs[0].lots == 0
    desk.until(T_MS + 5_000)
    later = T_MS + HOUR_MS
    desk.funding = {"funding_rate": RATE, "funding_ms": later}
    desk.price = lambda mark=None, after_ms=1_000: [desk.filled(desk.quote(100.0, after_ms=after_ms)),
                                                    desk.filled(desk.take())]  # fmt: skip
    desk.ask("h2", "subscribe", 500_000 * MINOR, "U")
    desk.until(later - 200_000)
    desk.ask("h2", "subscribe", 500_000 * MINOR, "U")
    desk.take()
    orders = []
    while not orders:
        orders = desk.quote(100.0, after_ms=5_000)
    while desk.now_ms < later - 1:
        desk.quote(100.0, after_ms=min(20_000, later - 1 - desk.now_ms))
    desk.funding = {"funding_rate": RATE, "funding_ms": later + HOUR_MS}
    desk.quote(100.0, after_ms=1_500)
    desk.filled(orders)
    assert it.state.dealing is not UNSET
    desk.mark = 80.0
    desk.filled(desk.quote(80.0, after_ms=1_000))
    assert it.state.dealing is UNSET
    assert assumed(desk.book) == [("A", T_MS), ("A", later)]
    assert all(one.state.balances.flows == one.state.balances.accrued == 0 for one in desk.tokens)


def test_an_operator_rebalances_the_whole_token():
    desk, _ = started("subscribe", 400_000 * MINOR, deviation=0.9)
    desk.price(85.0)
    with pytest.raises(StepError, match="has a flow to be settled first"):
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


@pytest.mark.parametrize("status", ["open", "halted"])
def test_an_adoption_leaves_an_excess_to_no_token_that_is_halted(status):
    desk = stranded(rule=gr.Rule(deviation=0.9))
    if status == "halted":
        desk.driver.operate(desk.it, "halt", "ann", "look", desk.now_ms)
    desk.driver.on_statement(desk.book, at_venue(desk, cash=-1_000 * MINOR - desk.it.state.brought))
    wanted = Adopt(book="main", differences=desk.book.state.differences, tokens=("T",), by="ann", reason="why")
    answered = issuer.answer(desk.driver, wanted, desk.now_ms, 10**15)
    assert answered.done == (status == "open"), answered.words
    assert answered.done or "resume the token, or close it" in answered.words


# Other tokens, and what is not a token's to trade.


def two_tokens(**by):
    """Two tokens on one instrument in one book, which take each a deviation."""
    terms = Terms(window="1m", match_over="30s")
    made = {name: token("A", target=3.0, costs=COSTS, rule=gr.Rule(deviation=deviation), primary=terms)
            for name, deviation in by.items()}  # fmt: skip
    return Late(*(msgspec.structs.replace(it, symbol=name) for name, it in made.items()))


def across_t(desk, asks):
    """Asks for flows of both tokens; returns the orders of their hedges, with the first price after T gone by."""
    desk.until(T_MS - 200_000)
    for ask in asks:
        assert not isinstance(desk.ask(*ask), str)
    desk.take()
    orders = []
    while desk.now_ms < T_MS - 5_000:
        orders += desk.quote(100.0, after_ms=5_000)
    desk.passes(T_MS + 1_500 - desk.now_ms)
    return orders


def test_a_flow_of_another_token_of_the_book_goes_on_at_once():
    desk = two_tokens(T=0.1, U=0.9)
    desk.deposit("h1", 1_000_000)
    asks = [("h1", "subscribe", 400_000 * MINOR, name) for name in "TU"]
    desk.filled(across_t(desk, asks))
    assert all(one.state.dealing is not UNSET for one in desk.tokens)
    desk.driver.operate(desk.it, "rebalance", "ann", "now", desk.now_ms)
    assert all(one.state.dealing is UNSET for one in desk.tokens)


def test_a_first_flow_books_no_settlement_early():
    """A token without units has nothing that it would have to trade."""
    desk = two_tokens(T=0.9, U=0.9)
    desk.deposit("h1", 1_000_000)
    desk.ask(ho.ISSUER, "redeem", desk.primary.state_of(ho.ISSUER).units("U"), "U")
    desk.until(T_MS - 300_000)
    it = desk.driver.by_name["U"]
    assert it.state.balances.units == 0
    (order,) = across_t(desk, [("h1", "subscribe", 100_000 * MINOR, "U")])
    desk.hear(desk.trade(order, order.lots // 2, time_ms=T_MS - 500, price=100.0))
    desk.hear(desk.trade(order, order.lots - order.lots // 2, price=100.0), desk.status(order, "filled", order.lots))
    for _ in range(3):
        desk.filled(desk.quote(100.0, after_ms=61_000))
    assert it.state.dealing is not UNSET
    assert assumed(desk.book) == []


def test_a_flow_past_a_clock_costs_no_line_for_each_price():
    rule = gr.Rule(schedule=(gr.Schedule(times=("13:00",)),))
    desk = Late(token("A", target=3.0, costs=COSTS, rule=rule, fees=gr.Fees(management_per_day=1e-4)))
    desk.deposit("h1", 200_000)
    desk.with_hedge(amount=100_000 * MINOR)
    desk.passes()
    desk.driver.note(desk.book, bk.BookHalted(time_ms=desk.now_ms, by="reconciliation", reason="C1"))
    before = len(desk.lines)
    for _ in range(50):
        desk.quote(100.0, after_ms=500)
    assert desk.it.state.dealing is not UNSET
    assert len(desk.lines) - before < 5


# What verify finds.


@pytest.mark.parametrize("field", ["amount", "settlement_ms", "asset"])
def test_what_a_book_says_was_booked_early_and_was_not_is_found(kept, monkeypatch, field):
    note = Driver.note

    def forged(self, book, event):
        if isinstance(event, bk.FundingAssumed):
            told = {"amount": event.amount + 1, "settlement_ms": event.settlement_ms - 1, "asset": "XYZ"}
            event = msgspec.structs.replace(event, **{field: told[field]})
        return note(self, book, event)

    monkeypatch.setattr(Driver, "note", forged)
    settled_early(kept)
    breaches = verify(kept.path).breaches
    assert ("book:main", "funding") in {(one.stream, one.what) for one in breaches}


def test_an_excess_left_at_marks_of_no_nav_is_found(kept, monkeypatch):
    apply = Driver.apply

    def forged(self, running, event):
        if isinstance(event, ev.ExcessKept):
            event = msgspec.structs.replace(event, prices=(event.prices[0] * 1.2, event.prices[1]))
        return apply(self, running, event)

    monkeypatch.setattr(Driver, "apply", forged)
    settled_early(kept)
    assert ("token:T", "price") in {(one.stream, one.what) for one in verify(kept.path).breaches}


def test_an_excess_valued_far_from_its_mark_is_found(kept, monkeypatch):
    apply = Driver.apply

    def forged(self, running, event):
        if isinstance(event, ev.ExcessKept):
            event = msgspec.structs.replace(event, at=tuple(one / 2 for one in event.at))
        return apply(self, running, event)

    monkeypatch.setattr(Driver, "apply", forged)
    settled_early(kept)
    assert "an excess valued at 40.0" in {one.found for one in verify(kept.path).breaches}


def test_what_was_booked_first_is_sound(kept):
    settled_early(kept)
    assert (verify(kept.path).breaches, recompute(lines_of(kept.path)).differences) == ((), [])


class KeptLate(Late, Kept):
    """One in a database."""


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "desk.db"
    new_database(path, NOON_MS)
    with Store(path, "demo") as store:
        Kept.store = store
        made = KeptLate(token("A", "B", target=2.0, costs=COSTS, rule=gr.Rule(deviation=0.1)))
        made.path = path
        yield made
    Kept.store = None


def settled_early(kept):
    kept.deposit("h1", 900_000)
    orders = kept.with_hedge(amount=900_000 * MINOR)
    kept.passes()
    kept.filled_in_part(orders, 0.5)
    kept.filled(kept.quote(80.0, 80.0, after_ms=1_000))
    assert kept.it.state.dealing is UNSET
    kept.take()
