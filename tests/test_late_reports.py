"""Fills, settlements and forced trades reported late or out of order: each holder gets what their true order gives."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET

import gearing as gr
from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.desk.boot import boot
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.drive.settling import assumed, book_by_hand, book_first, unbooked, with_empty
from gearing.drive.together import Position, likely_sizes
from gearing.store.recompute import recompute
from gearing.store.repricing import _unlikely_excess
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.venues.protocol import FundingPayment, InstrumentRules, Quote, Settled
from tests import late
from tests.journals import lines_of, new_database
from tests.late import RATE, T_MS, Late
from tests.lives import HOUR_MS, NOON_MS, token
from tests.test_booked_first import started, worth_of
from tests.test_primary import COSTS
from tests.test_store_dealing import Kept

SIDES = ("subscribe", "redeem")


def with_holder(rate=RATE, predicted=True, of=Late, **more):
    """A token with a holder, before a settlement at T."""
    desk = of(**{"deviation": 0.9, **more})
    desk.funding = {"funding_rate": rate if predicted else None, "funding_ms": T_MS}
    desk.deposit("h1", 1_000_000)
    desk.ask("h1", "subscribe", 450_000 * MINOR)
    desk.window()
    desk.window()
    return desk


def hedge_of(desk, side):
    (order,) = desk.with_hedge(side, 400_000 * MINOR if side == "subscribe" else desk.units("h1"))
    return order, desk.it.state.legs[0].lots


def two_tokens(*targets, rate=RATE):
    terms = Terms(window="1m", match_over="30s")
    specs = [msgspec.structs.replace(token("A", target=target, costs=COSTS, rule=gr.Rule(deviation=0.9),
                                           primary=terms), symbol=name)
             for name, target in zip("TU", targets, strict=True)]  # fmt: skip
    desk = Late(*specs)
    desk.funding = {"funding_rate": rate, "funding_ms": T_MS}
    desk.price()
    return desk, desk.driver.by_name["U"]


@pytest.mark.parametrize("predicted", [True, False])
@pytest.mark.parametrize("rate", [0.0075, -0.0075])
@pytest.mark.parametrize("side", SIDES)
def test_a_fill_reported_out_of_order_settles_no_flow_before_the_settlement_is_booked(
    monkeypatch, side, rate, predicted
):
    monkeypatch.setattr(late, "RATE", rate)
    worth = []
    for last_first in (False, True):
        desk = with_holder(rate, predicted)
        order, lots = hedge_of(desk, side)
        few = order.lots // 10
        desk.now_ms = T_MS + 3_000  # and no price since T
        before, after = (desk.trade(order, few, time_ms=T_MS - 500),
                         desk.trade(order, order.lots - few, time_ms=T_MS + 1_500))  # fmt: skip
        desk.hear(desk.status(order), *((after, before) if last_first else (before, after)))
        assert desk.it.state.dealing is not UNSET
        desk.book_it(lots + few, rate=rate)
        desk.price(after_ms=61_000)
        worth.append([worth_of(desk, name) for name in ("h1", ho.ISSUER)])
    assert worth[0] == worth[1]


def test_a_settlement_without_a_predicted_rate_is_not_booked_early():
    desk, _ = started("subscribe", 400_000 * MINOR, rate=None)
    (waiting,) = unbooked(desk.driver, desk.it, desk.now_ms)
    assert waiting.rate is None
    desk.driver.primary.dealings.end_waiting(desk.it, desk.now_ms)
    assert desk.it.state.dealing is not UNSET
    assert assumed(desk.book) == []


def test_a_settlement_is_not_booked_early_while_a_fill_of_another_token_may_be_missing():
    desk, other = two_tokens(3.0, 3.0)
    desk.deposit("h1", 1_000_000)
    desk.until(T_MS - 200_000)
    desk.ask("h1", "subscribe", 100_000 * MINOR, "T")
    orders = []
    while desk.now_ms < T_MS - 5_000:
        orders += desk.quote(100.0, after_ms=5_000)
    desk.now_ms = T_MS - 1_000
    desk.driver.operate(other, "close", "ann", "it ends", desk.now_ms)
    (close,) = desk.take()
    desk.passes(2_500)
    desk.filled(orders)
    assert not book_first(desk.driver, desk.it, desk.now_ms)
    assert assumed(desk.book) == []
    desk.hear(desk.trade(close, time_ms=T_MS - 500, price=100.0), desk.status(close))
    assert book_first(desk.driver, desk.it, desk.now_ms)
    assert assumed(desk.book) == [("A", T_MS)]
    assert other.state.balances.funding == 0  # it held nothing at T


@pytest.mark.parametrize("rate", [0.0075, -0.0075])
def test_what_nets_to_nothing_without_a_late_fill_takes_the_payment_that_the_venue_makes(rate):
    desk, other = two_tokens(3.0, -3.0, rate=rate)
    desk.until(T_MS - 1_000)
    desk.driver.operate(other, "close", "ann", "it ends", desk.now_ms)
    (close,) = desk.take()
    held, fill, status = (
        desk.it.state.legs[0].lots,
        desk.trade(close, time_ms=T_MS - 500, price=100.0),
        desk.status(close),
    )
    desk.passes(2_500)
    settled = {"A": [Settled(symbol="A", settlement_ms=T_MS, rate=rate, mark=100.0)]}
    assert with_empty(desk.book, settled, []) == []  # listed before its payment
    desk.hear(fill, status)
    paid = FundingPayment(symbol="A", settlement_ms=T_MS, rate=rate, mark=100.0, lots=held,
                          amount=-int(held * 0.001 * 100 * rate * MINOR))  # fmt: skip
    for payment in with_empty(desk.book, settled, [paid]):
        desk.driver.on_funding(desk.book, payment, desk.now_ms)
    assert -sum(one.state.balances.funding for one in desk.tokens) == paid.amount


def basket(amount=900_000):
    """A token of two legs with a flow, and the orders of its hedge."""
    desk = Late(token("A", "B", target=2.0, costs=COSTS, rule=gr.Rule(deviation=0.9), primary=Terms()))
    desk.deposit("h1", amount)
    orders = desk.with_hedge(amount=amount * MINOR)
    return desk, orders


def filled(desk, orders, at_ms=T_MS - 5_000):
    """Tells, later, that orders were filled whole at a time."""
    ended = (msgspec.structs.replace(desk.status(one), time_ms=at_ms) for one in orders)
    desk.hear(*(desk.trade(one, time_ms=at_ms) for one in orders), *ended)


def test_a_basket_is_booked_whole_or_not_at_all():
    """A prediction for B alone would wipe the token out, so A is not booked either: nothing trades for that."""
    desk, orders = basket(100_000)
    marks = {"A": RATE, "B": 1.5}
    desk.driver.on_quotes([Quote(symbol=name, time_ms=T_MS - 1, mark=100.0, index=100.0, funding_rate=rate,
                                 funding_ms=T_MS) for name, rate in marks.items()], T_MS - 1)  # fmt: skip
    desk.passes()
    filled(desk, orders)
    assert [leg.accruals[0].rate for leg in desk.it.state.legs] == [RATE, 1.5]
    assert desk.it.state.dealing is not UNSET
    assert not book_first(desk.driver, desk.it, desk.now_ms)
    assert assumed(desk.book) == []
    assert all(leg.accruals for leg in desk.it.state.legs)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_liquidation_of_a_whole_basket_is_shared_in_each_leg(order):
    """Whichever leg the venue tells of first: what is closed of one makes the other no excess."""
    desk, orders = basket()
    desk.passes(1_500)
    filled(desk, orders)
    before = desk.it.state
    flows = before.dealing.lots
    shares = [flow / leg.lots for flow, leg in zip(flows, before.legs, strict=True)]
    for k in order:
        lots = -(before.legs[k].lots // 2)
        forced = desk.forced(lots, price=95.0, trade=f"f{k}", symbol="AB"[k])
        desk.driver.on_forced(desk.book, msgspec.structs.replace(forced, charge=10_000 * MINOR, time_ms=T_MS - 3_000))
    for k, leg in enumerate(desk.it.state.legs):
        assert desk.it.state.dealing.lots[k] / leg.lots == pytest.approx(shares[k], rel=1e-6)
    # The flow bears its part of both losses and charges, by size.
    lost = sum(share * leg.lots // 2 * 0.001 * 5 + share * 10_000 for share, leg in
               zip(shares, before.legs, strict=True))  # fmt: skip
    assert (before.balances.flows - desk.it.state.balances.flows) / MINOR == pytest.approx(-lost, rel=1e-5)


def test_a_liquidation_reported_after_the_settlement_is_shared_by_those_who_were_in():
    """The hedge was complete before it, so that the subscriber was in the token, though not yet dealt."""
    worth = []
    for is_late in (False, True):
        desk = Late(deviation=0.9)
        desk.deposit("h1", 900_000)
        (order,) = desk.with_hedge(amount=900_000 * MINOR)
        held = desk.it.state.legs[0].lots + order.lots
        fill, status = (desk.trade(order, time_ms=T_MS - 5_000),
                        msgspec.structs.replace(desk.status(order), time_ms=T_MS - 5_000))  # fmt: skip
        forced = msgspec.structs.replace(desk.forced(-held // 2, price=95.0), charge=50_000 * MINOR,
                                         time_ms=T_MS - 3_000)  # fmt: skip
        if is_late:
            desk.passes(1_500)
        desk.hear(fill, status)
        desk.driver.on_forced(desk.book, forced)
        desk.take()
        if not is_late:
            desk.passes(1_500)
        desk.book_it(held - held // 2, rate=RATE)
        for _ in range(3):
            desk.price()
        worth.append([worth_of(desk, name) for name in ("h1", ho.ISSUER)])
    assert worth[1] == pytest.approx(worth[0], abs=500 * MINOR)


@pytest.mark.parametrize("rate", [0.0075, -0.0075])
@pytest.mark.parametrize("side", SIDES)
def test_no_funding_reaches_a_flow_of_a_token_whose_fee_is_all_in(monkeypatch, side, rate):
    monkeypatch.setattr(late, "RATE", rate)
    worth = []
    for part in (0, 99):
        desk = with_holder(rate, fees=gr.Fees(all_in=True))
        before = worth_of(desk, "h1")
        order, _ = hedge_of(desk, side)
        early = order.lots * part // 100
        if early:
            desk.hear(desk.trade(order, early))
        held = desk.it.state.legs[0].lots
        desk.passes(1_500)
        (accrual,) = desk.it.state.legs[0].accruals
        assert (accrual.own, accrual.flow) == (0, 0)
        desk.hear(desk.trade(order, order.lots - early), desk.status(order))
        desk.book_it(held, rate=rate)
        desk.price()
        worth.append(worth_of(desk, "h1") - before)
    assert worth[1] == pytest.approx(worth[0], abs=2)


def missing(count):
    """A desk that saw no price while so many settlements passed, an hour apart, and one more that it accrued."""
    desk = Late(deviation=0.9)
    desk.driver.market.set_interval("A", HOUR_MS)
    desk.until(T_MS - 1_000)
    desk.now_ms = T_MS + count * HOUR_MS + 1_000
    desk.funding = {"funding_rate": RATE, "funding_ms": T_MS + (count + 1) * HOUR_MS}
    for _ in range(3):
        desk.quote(100.0, after_ms=1_000)
    desk.now_ms += HOUR_MS // 4
    return desk


def by_hand(desk, k):
    return book_by_hand(desk.driver, desk.book, "A", T_MS + k * HOUR_MS, RATE, "ann", "late", desk.now_ms)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_an_operator_does_not_book_a_settlement_before_an_earlier_one_that_no_price_preceded(count):
    desk = missing(count)
    lots = desk.it.state.legs[0].lots
    for k in range(count, 0, -1):
        why = by_hand(desk, k)
        assert why == f"A may have been settled at 2026-01-01 {12 + k}:00 UTC, which is not booked; that comes first"
    for k in range(count + 1):  # each can be booked in its turn, though only the last was accrued
        assert by_hand(desk, k) == ""
    assert not unbooked(desk.driver, desk.it, desk.now_ms)
    assert "waits to be booked" in by_hand(desk, count + 1)
    paid = missing(count)
    wallet, due = (
        paid.it.state.balances.wallet,
        [paid.payment(lots, T_MS + k * HOUR_MS, RATE) for k in range(count + 1)],
    )
    for payment in due:
        paid.driver.on_funding(paid.book, payment, paid.now_ms)
    assert paid.it.state.balances.wallet - wallet == sum(payment.amount for payment in due)


@pytest.mark.parametrize("is_counted", [True, False])
@pytest.mark.parametrize("side", SIDES)
def test_of_a_hedge_filled_in_the_millisecond_of_a_settlement_the_venues_size_decides(side, is_counted):
    worth = []
    for time_ms in (T_MS - 5 if is_counted else T_MS + 5, T_MS):
        desk = with_holder(predicted=False)
        order, own = hedge_of(desk, side)
        desk.now_ms = T_MS + 5
        desk.hear(desk.trade(order, time_ms=time_ms))
        desk.passes(1_500)
        desk.hear(desk.status(order))
        lots = own + order.lots * is_counted
        desk.driver.on_funding(desk.book, desk.payment(lots, T_MS, RATE), desk.now_ms)
        desk.take()
        desk.price()
        worth.append([worth_of(desk, name) for name in ("h1", ho.ISSUER)])
    assert worth[1] == pytest.approx(worth[0], abs=0.01 * MINOR)


@pytest.mark.parametrize("closes", [True, False])
def test_prices_cost_no_line_each_while_a_settlement_cannot_be_booked_early(closes):
    desk = Late(deviation=0.1)
    desk.deposit("h1", 500_000)
    (order,) = desk.with_hedge(amount=400_000 * MINOR)
    if closes:
        desk.driver.operate(desk.it, "close", "ann", "it ends", desk.now_ms)
        desk.take()
    desk.passes()
    desk.driver.market.set_interval("A", HOUR_MS // 2)  # one before may be missing
    desk.hear(desk.trade(order), desk.status(order))
    mark = 100.0 if closes else 85.0
    desk.quote(mark, after_ms=1_000)
    lines = len(desk.lines)
    for _ in range(100):
        desk.quote(mark, after_ms=100)
    assert desk.it.state.dealing is not UNSET
    assert len(desk.lines) - lines <= 2


def test_equity_that_is_gone_wipes_a_token_out_though_its_flow_waits():
    desk, _ = started("subscribe", 400_000 * MINOR, rate=None)
    for mark in (95.0, 85.0, 75.0, 66.0, 60.0):
        desk.quote(mark, after_ms=1_000)
    assert desk.it.state.status == "wiped"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    path = tmp_path / "d.db"
    new_database(path, NOON_MS)
    with Store(path, "demo") as store:
        monkeypatch.setattr(Kept, "store", store)
        yield path


class KeptLate(Late, Kept):
    """One in a database."""


@pytest.mark.parametrize("side", SIDES)
def test_after_a_restart_no_flow_is_settled_before_the_desk_knows_the_settlements(kept, side):
    """The fills of a hedge are read before the rules of the venue are, which give the funding interval."""
    desk = with_holder(of=KeptLate)
    order, lots = hedge_of(desk, side)
    desk.take()
    desk.now_ms = T_MS + 2_000
    market = Market(GuardLimits(warm_ms=0))
    desk.driver = boot(desk.store, market, window_ms=1, visibility_ms=1, now_ms=desk.now_ms).driver
    desk.book, desk.tokens = desk.driver.books["main"], desk.driver.tokens
    desk.it = desk.tokens[0]
    desk.hear(desk.trade(order), desk.status(order))
    assert desk.it.state.dealing is not UNSET
    assert not desk.driver.primary.dealings.end_waiting(desk.it, desk.now_ms)
    rules = InstrumentRules(symbol="A", asset="USDT", lot="0.001", funding_interval_ms=HOUR_MS)
    desk.driver.on_rules(desk.book, [rules], desk.now_ms)
    assert [one.time_ms for one in unbooked(desk.driver, desk.it, desk.now_ms)] == [T_MS]
    assert desk.it.state.dealing is not UNSET
    desk.book_it(lots, rate=RATE)
    assert desk.it.state.dealing is UNSET


def changed(monkeypatch, kind, change):
    """Has a desk book events of a kind otherwise than they happened."""
    applied = Driver.apply

    def forged(driver, running, event):
        applied(driver, running, change(event) if isinstance(event, kind) else event)

    monkeypatch.setattr(Driver, "apply", forged)


def test_a_settlement_booked_on_other_lots_than_were_held_is_found(kept, monkeypatch):
    changed(monkeypatch, ev.FundingSettled, lambda event: msgspec.structs.replace(event, lots=event.lots // 2))
    desk = KeptLate()
    desk.until(T_MS - 1_000)
    desk.passes()
    desk.book_it(desk.it.state.legs[0].lots, rate=RATE)
    desk.take()
    (breach,) = verify(kept).breaches
    assert (breach.what, breach.expected) == ("funding", "30000000 lots, as held at its time")


def test_a_settlement_of_unknown_size_leaves_the_known_ones_theirs():
    """One token has traded too often since for its size at that time to be known; the other has not."""
    desk, other = two_tokens(3.0, 3.0)
    desk.until(T_MS - 1_000)
    sizes = [one.state.legs[0].lots for one in desk.tokens]
    leg = msgspec.structs.replace(other.state.legs[0], past=(), changed_ms=T_MS + 5)
    other.state = msgspec.structs.replace(other.state, legs=(leg,))
    assert leg.lots_at(T_MS) is None
    at = [Position(desk.it, 0), Position(other, 0)]
    assert likely_sizes(at, desk.payment(sum(sizes), T_MS, RATE)) == sizes
    assert likely_sizes(at, desk.payment(sum(sizes) + 500, T_MS, RATE)) == [sizes[0], sizes[1] + 500]


@pytest.mark.parametrize("forged", [(0.0,), (50.0,), (100.0, 100.0)])
def test_a_forged_excess_is_a_fault_and_no_crash(forged):
    event = ev.ExcessKept(time_ms=0, prices=(100.0,), at=forged)
    assert [*_unlikely_excess(event)]
    assert [*_unlikely_excess(ev.ExcessKept(time_ms=0, prices=(0.0,), at=(1.0,)))]


def test_a_liquidation_shared_with_a_flow_is_recomputed_to_the_last_minor_unit(kept):
    desk = KeptLate(deviation=0.9)
    desk.deposit("h1", 900_000)
    (order,) = desk.with_hedge(amount=(700_000 + 12_345) * MINOR + 7)
    held = desk.it.state.legs[0].lots + order.lots
    desk.passes(1_500)
    desk.hear(desk.trade(order, price=99.987, time_ms=T_MS - 5_000), desk.status(order))
    forced = msgspec.structs.replace(desk.forced(-held // 3 - 1, price=95.123), charge=50_001, time_ms=T_MS - 3_000)
    desk.driver.on_forced(desk.book, forced)
    desk.take()
    assert recompute(lines_of(kept)).differences == []
