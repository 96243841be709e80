"""The driver: reports in any order and any number, each booked once; what does not fit stops."""

from __future__ import annotations

import random

import msgspec
import pytest

import gearing as gr
from gearing.core import book as bk
from gearing.core.journal import line_of
from gearing.core.money import MINOR
from gearing.core.trading import Order
from gearing.drive.limits import refusal
from gearing.drive.listing import findings
from gearing.drive.outlook import nav_if_filled
from gearing.drive.reconciling import differences
from gearing.venues.protocol import InstrumentRules, Quote, Statement
from tests.desks import Desk, stated
from tests.lives import CAPITAL, HOUR_MS, NOON_MS, token

RULES = InstrumentRules(symbol="A", asset="USDT", lot="0.001")


def test_a_fill_is_booked_once_however_often_it_is_told():
    desk = Desk()
    (order,) = desk.quote(100.0)
    fill = desk.trade(order, 10_000_000)
    desk.hear(fill, fill, fill)
    assert desk.lots == [10_000_000]
    desk.hear(desk.trade(order, 20_000_000), desk.status(order), desk.status(order), fill)
    assert desk.lots == [30_000_000]
    assert desk.book.state.live == {}
    assert desk.alarms == []


@pytest.mark.parametrize("seed", range(10))
def test_reports_may_come_in_any_order(seed):
    desk = Desk()
    (order,) = desk.quote(100.0)
    parts = [desk.trade(order, 10_000_000, commission=5) for _ in range(3)]
    reports = [*parts, desk.status(order), desk.status(order, "open", 0), *parts]
    random.Random(seed).shuffle(reports)
    desk.hear(*reports)
    assert desk.lots == [30_000_000]
    assert desk.it.state.balances.commission == 15
    assert desk.book.state.live == {}
    assert desk.it.state.rebalance is None


def test_an_end_waits_for_its_fills_and_asks_for_them():
    desk = Desk()
    (order,) = desk.quote(100.0)
    desk.hear(desk.status(order, "cancelled", 20_000_000))
    assert desk.effects.fetches == [order.id]
    assert order.id in desk.book.state.live
    again = desk.hear(desk.trade(order, 20_000_000))
    assert order.id not in desk.book.state.live
    assert [(one.lots, one.purpose.attempt) for one in again] == [(10_000_000, 1)]
    assert desk.effects.closed == [order.id]


def test_a_refused_order_is_tried_under_a_new_id():
    desk = Desk()
    (order,) = desk.quote(100.0)
    desk.driver.on_refused(desk.book, order.id, "busy", desk.now_ms)
    (again,) = desk.take()
    assert again.id != order.id
    assert (again.lots, again.purpose.attempt) == (order.lots, 1)
    desk.driver.on_refused(desk.book, order.id, "busy", desk.now_ms)
    assert desk.take() == []


def test_an_order_that_was_filled_in_part_is_never_lost():
    desk = Desk()
    (order,) = desk.quote(100.0)
    desk.hear(desk.trade(order, 1))
    desk.driver.on_lost(desk.book, order.id, desk.now_ms)
    assert desk.take() == []
    assert order.id in desk.book.state.live


def test_a_lost_order_is_placed_anew_under_a_new_id():
    desk = Desk()
    (order,) = desk.quote(100.0)
    desk.driver.on_lost(desk.book, order.id, desk.now_ms)
    (again,) = desk.take()
    assert again.id != order.id
    # Should it have arrived after all, its fill is nobody's, and the statement will say so.
    desk.hear(desk.trade(order))
    assert desk.lots == [0]
    statement = stated(desk, {"A": 30_000_000})
    assert differences(desk.book, statement) != ()


@pytest.mark.parametrize("lots", [30_000_001, -1])
def test_a_fill_that_does_not_fit_is_no_fill(lots):
    desk = Desk()
    (order,) = desk.quote(100.0)
    desk.hear(desk.trade(order, lots))
    assert desk.lots == [0]
    assert list(desk.book.state.live) == [order.id]
    assert "does not fit" in desk.book.state.halted


def test_funding_is_booked_once_on_the_size_of_its_instant():
    desk = Desk().opened()
    settled_ms = NOON_MS + 4 * HOUR_MS
    desk.quote(100.0, after_ms=settled_ms - desk.now_ms)
    payment = desk.payment(30_000_000, -700, settled_ms)
    wallet = desk.it.state.balances.wallet
    for _ in range(3):
        desk.driver.on_funding(desk.book, payment, desk.now_ms)
    assert desk.it.state.balances.wallet == wallet - 700
    assert (desk.it.state.status, desk.book.state.halted) == ("open", "")
    desk.driver.on_funding(desk.book, desk.payment(30_000_000, -700, settled_ms - 8 * HOUR_MS), desk.now_ms)
    assert desk.it.state.balances.wallet == wallet - 700


def test_funding_on_another_size_halts():
    desk = Desk().opened()
    settled_ms = NOON_MS + 4 * HOUR_MS
    desk.quote(100.0, after_ms=settled_ms - desk.now_ms)
    desk.driver.on_funding(desk.book, desk.payment(29_999_999, -700, settled_ms), desk.now_ms)
    desk.take()
    assert desk.it.state.status == "halted"
    assert any("F2" in words for words in desk.alarms)
    assert desk.it.state.balances.funding == 700  # the money moved all the same


def test_funding_that_is_only_reported_proves_nothing_against_the_size():
    desk = Desk().opened()
    settled_ms = NOON_MS + 4 * HOUR_MS
    desk.quote(100.0, after_ms=settled_ms - desk.now_ms)
    payment = desk.payment(20_000_000, -700, settled_ms)
    desk.driver.on_funding(desk.book, payment, desk.now_ms, is_asked=False)
    assert (desk.it.state.status, desk.it.state.balances.funding) == ("open", 0)
    before = desk.forced(-10_000_000, deleveraged=True)
    desk.driver.on_forced(desk.book, msgspec.structs.replace(before, time_ms=settled_ms - 1_000))
    desk.driver.on_funding(desk.book, payment, desk.now_ms)
    desk.take()
    assert desk.it.state.balances.funding == 700
    assert not any("F2" in words for words in desk.alarms)


def test_funding_told_after_a_trade_counts_what_was_held_before_it():
    desk = Desk().opened()
    settled_ms = NOON_MS + 4 * HOUR_MS
    (order,) = desk.quote(106.0, after_ms=settled_ms + 5_000 - desk.now_ms)
    desk.hear(desk.trade(order, price=106.0), desk.status(order))
    assert desk.lots[0] > 30_000_000
    desk.driver.on_funding(desk.book, desk.payment(30_000_000, -700, settled_ms), desk.now_ms)
    desk.take()
    assert desk.it.state.status == "open"
    assert desk.it.state.balances.funding == 700


def test_funding_on_a_size_that_a_fill_may_still_explain_waits():
    desk = Desk().opened()
    settled_ms = NOON_MS + 4 * HOUR_MS
    (order,) = desk.quote(106.0, after_ms=settled_ms - 5_000 - desk.now_ms)
    filled = desk.trade(order, price=106.0)
    payment = desk.payment(30_000_000 + order.lots, -700, settled_ms)
    desk.now_ms = settled_ms + 1
    desk.driver.on_funding(desk.book, payment, desk.now_ms)
    assert desk.it.state.balances.funding == 0
    desk.hear(filled, desk.status(order))
    desk.driver.on_funding(desk.book, payment, desk.now_ms)
    assert desk.it.state.balances.funding == 700
    assert desk.it.state.status == "open"


def test_what_the_venue_closed_by_itself_is_booked_once_and_told():
    desk = Desk().opened()
    forced = desk.forced(-10_000_000, deleveraged=True)
    for _ in range(3):
        desk.driver.on_forced(desk.book, forced)
    desk.take()
    assert desk.lots == [20_000_000]
    assert desk.alarms[0] == "T: the venue deleveraged -10000000 lots of A"
    assert desk.it.state.status == "halted"  # frozen, as a driver is told by default
    desk.driver.operate(desk.it, "resume", "test", "it was looked at", desk.now_ms)
    (order,) = desk.quote(100.0)
    assert order.lots == 10_000_000


def test_a_liquidation_of_many_fills_is_booked_once_however_often_the_venue_lists_them():
    """The venue lists all that it made since the last statement that agreed; none agrees while fills are on their way.

    Once one did, a report that comes late changes nothing.
    """
    desk = Desk().opened()
    fills = [desk.forced(-1_000, trade=f"f{n}") for n in range(300)]
    for forced in fills * 2:
        desk.driver.on_forced(desk.book, forced)
    desk.take()
    assert desk.lots == [30_000_000 - 300_000]
    desk.now_ms += 1_000
    desk.driver.on_statement(desk.book, stated(desk, {"A": desk.lots[0]}))
    desk.now_ms += 3_600_000
    desk.driver.on_statement(desk.book, stated(desk, {"A": desk.lots[0]}))
    assert desk.book.state.reconciled_ms == desk.now_ms
    desk.driver.on_forced(desk.book, fills[0])
    desk.take()
    assert desk.lots == [30_000_000 - 300_000]
    assert desk.book.state.halted == ""


def test_what_the_venue_closed_of_what_no_token_holds_is_told():
    desk = Desk().opened()
    desk.driver.on_forced(desk.book, desk.forced(-10_000_000, symbol="B"))
    desk.take()
    assert desk.lots == [30_000_000]
    assert desk.alarms == ["main: the venue liquidated -10000000 lots of B, held by no token"]


def test_a_difference_halts_the_book_is_journalled_and_traded_away_by_nobody():
    desk = Desk().opened()
    good = stated(desk, {"A": 30_000_000})
    wallet, cost = good.wallet["USDT"], good.costs["USDT"]
    desk.driver.on_statement(desk.book, good)
    assert desk.book.state.halted == ""
    assert desk.book.state.reconciled_ms == desk.now_ms
    for changed in ({"positions": {"A": 29_999_999}}, {"positions": {}}, {"wallet": {"USDT": wallet - 1}},
                    {"positions": {"A": 30_000_000, "Z": 1}}, {"costs": {"USDT": cost + 1}}):  # fmt: skip
        other = Desk().opened()
        other.driver.on_statement(other.book, msgspec.structs.replace(good, **changed))
        assert other.take() == []
        assert other.book.state.halted.startswith("reconciliation: C1")
        assert other.lots == [30_000_000]
        assert other.quote(110.0) == []  # nothing is sent from a halted book


def test_fills_that_are_booked_in_another_order_than_the_venues_are_no_difference():
    """Profit by average cost is realised in other parts then; wallet less cost is not touched by that."""
    desk, other = Desk().opened(), Desk().opened()
    for it, swapped in ((desk, False), (other, True)):
        (order,) = it.quote(106.0)
        filled = it.trade(order, price=106.1)
        forced = it.forced(-1_000_001, deleveraged=True)
        for happened in (filled, forced)[:: -1 if swapped else 1]:
            if happened is forced:
                it.driver.on_forced(it.book, forced)
            else:
                it.driver.on_trade(it.book, filled)
    statement = stated(desk, {"A": desk.lots[0]})
    assert other.it.state.balances.wallet != desk.it.state.balances.wallet
    assert differences(other.book, statement) == ()


@pytest.mark.parametrize(
    ("changed", "halted"),
    [
        ({"lot": "0.01"}, "rules: the venue counts A in lots of 0.01, the ledger in lots of 0.001"),
        ({"asset": "USDC"}, "rules: A settles in USDC at the venue, in USDT here"),
    ],
)
def test_an_instrument_that_is_counted_otherwise_halts_the_book(changed, halted):
    desk = Desk().opened()
    for _ in range(2):
        desk.driver.on_rules(desk.book, [msgspec.structs.replace(RULES, **changed)], desk.now_ms)
    assert desk.quote(110.0) == []
    assert desk.book.state.halted == halted
    assert desk.alarms[0] == f"T: {halted.removeprefix('rules: ')}"


def test_an_instrument_that_ends_is_told_before_and_halts_its_token_then():
    desk = Desk().opened()
    ends = msgspec.structs.replace(RULES, delisted_ms=desk.now_ms + HOUR_MS, lot="0.0010")
    for _ in range(2):
        desk.driver.on_rules(desk.book, [ends], desk.now_ms)
    desk.take()
    assert desk.alarms == ["T: trading in A ends 2026-01-01 13:00 UTC"]
    assert desk.it.state.status == "open"
    desk.driver.on_rules(desk.book, [ends], ends.delisted_ms)
    desk.take()
    assert (desk.it.state.status, desk.it.why) == ("halted", "rules: trading in A has ended")


def test_an_instrument_that_is_not_listed_halts_its_token_unless_it_is_over():
    desk = Desk().opened()
    desk.driver.on_rules(desk.book, [], desk.now_ms)
    assert (desk.it.state.status, desk.it.why) == ("halted", "rules: the venue lists no A")
    desk.it.state = msgspec.structs.replace(desk.it.state, status="closed", legs=(replaced_flat(desk.it.state),))
    assert findings(("A",), "USDT", desk.it.state, [], desk.now_ms, {}) == []


def replaced_flat(state):
    return msgspec.structs.replace(state.legs[0], lots=0, basis=0)


def test_a_halted_book_sends_nothing_and_its_token_is_halted():
    desk = Desk().opened()
    bad = Statement(time_ms=desk.now_ms, positions={}, costs={}, wallet={}, maintenance={})
    desk.driver.on_statement(desk.book, bad)
    assert desk.quote(110.0) == []
    assert desk.it.state.status == "halted"
    assert desk.it.state.rebalance is None


def test_no_price_no_order():
    desk = Desk(token("A", "B"))
    desk.now_ms += 1_000
    bad = Quote(symbol="B", time_ms=desk.now_ms, mark=float("nan"), index=100.0)
    good = Quote(symbol="A", time_ms=desk.now_ms, mark=100.0, index=100.0)
    desk.driver.on_quotes([good, bad], desk.now_ms)
    assert desk.take() == []
    assert not desk.it.state.opened
    for _ in range(5):
        orders = desk.quote(100.0, 100.0)
    assert len(orders) == 2


def test_a_price_that_came_too_long_ago_is_not_acted_on():
    desk = Desk(token("A", "B")).opened()
    desk.now_ms += 10_001
    moved = Quote(symbol="A", time_ms=desk.now_ms, mark=130.0, index=130.0)
    desk.driver.on_quotes([moved], desk.now_ms)
    assert desk.take() == []
    assert len(desk.quote(130.0, 100.0)) == 2


@pytest.mark.parametrize(("limits", "words"), [
    (gr.Limits(largest_order=1_000_000.0), "above the largest"), (gr.Limits(largest_exposure=2e6), "an exposure of"),
])  # fmt: skip
def test_r4_what_breaks_a_limit_is_not_sent(limits, words):
    desk = Desk(token("A", limits=limits))
    assert desk.quote(100.0) == []
    assert desk.it.state.status == "halted"
    assert "R4" in desk.alarms[0]
    assert words in desk.alarms[0]
    assert desk.book.state.orders == 0


def test_what_a_halted_book_withholds_is_asked_for_once():
    desk = Desk().opened()
    desk.driver.note(desk.book, bk.BookHalted(time_ms=desk.now_ms, by="ann", reason="test"))
    desk.lines.clear()
    desk.driver.operate(desk.it, "close", "ann", "test", desk.now_ms)
    assert desk.take() == []
    assert [b'"withheld"' in line.body for line in desk.lines] == [False, True]


def test_r4_nothing_of_a_basket_is_sent_where_one_leg_breaks_a_limit():
    desk = Desk(token("A", "B", weights=[0.2, 0.8], limits=gr.Limits(largest_order=1_000_000.0)))
    assert desk.quote(100.0, 100.0) == []
    assert (desk.it.state.status, desk.it.state.rebalance, desk.lots) == ("halted", None, [0, 0])
    assert [line for line in desk.lines if b'"withheld"' in line.body] != []


def test_after_a_breach_what_the_same_event_wanted_is_not_sent(monkeypatch):
    desk = Desk()
    monkeypatch.setattr(
        "gearing.drive.driver.breaches", lambda before, after, entry: ["U2: made up"][: after.is_working]
    )
    assert desk.quote(100.0) == []
    assert (desk.it.state.status, desk.it.state.is_working) == ("halted", False)
    assert desk.alarms[0] == "T: U2: made up"


def test_r4_leverage_stays_within_target_and_aim():
    """As it will be once the live order is filled, at the mark of now."""
    desk = Desk()
    (order,) = desk.quote(100.0)
    spec, state = desk.it.spec, desk.it.state
    wanted = Order(0, order.lots, 1, 0, 0, False)
    (leg,) = state.legs
    for mark, words in ((104.0, ""), (110.0, "leverage would be 3.300, above 3.150")):
        moved = msgspec.structs.replace(state, legs=(msgspec.structs.replace(leg, mark=mark),))
        assert refusal(spec, moved, wanted) == words


def test_r4_margin_must_leave_something():
    tiers = (gr.MarginTier(rate=0.34),)
    it = gr.Token(symbol="T", target=3.0, rule=gr.Rule(deviation=0.1),
                  legs=(gr.Perpetual(symbol="A", margin_tiers=tiers),))  # fmt: skip
    desk = Desk(it)
    assert desk.quote(100.0) == []
    assert "maintenance margin" in desk.alarms[0]


def test_an_invariant_that_breaks_halts_the_token_and_says_which(monkeypatch):
    desk = Desk().opened()
    monkeypatch.setattr("gearing.drive.driver.breaches", lambda *_: ["L1: as the test says"])
    desk.driver.publish(desk.it, "minute", desk.now_ms, (100.0,))
    desk.take()
    assert desk.it.state.status == "halted"
    assert "L1: as the test says" in desk.alarms[0]


def test_two_tokens_of_one_book_have_their_own_orders_and_positions():
    long, short = token("A"), gr.Token(symbol="S", target=-1.0, rule=gr.Rule(deviation=0.1),
                                       legs=(gr.Perpetual(symbol="A"),))  # fmt: skip
    desk = Desk(long, short).opened()
    assert [token.state.legs[0].lots for token in desk.tokens] == [30_000_000, -10_000_000]
    assert differences(desk.book, stated(desk, {"A": 20_000_000})) == ()


def test_navs_are_published_each_minute_with_their_marks():
    desk = Desk().opened()
    navs = []
    for n in range(100):
        desk.quote(100.0 + n / 1_000)
        navs += desk.effects.navs
    assert len(navs) in (1, 2)
    assert {nav.nav for nav in navs} <= {line_of(line.body).nav for line in desk.lines}
    assert all(nav.time_ms // 60_000 > NOON_MS // 60_000 and nav.marks[0] > 100.0 for nav in navs)


def test_a_wiped_token_is_closed_and_covered_and_the_others_go_on():
    other = gr.Token(symbol="U", target=-1.0, rule=gr.Rule(deviation=0.5), legs=(gr.Perpetual(symbol="A"),))
    desk = Desk(token("A"), other).opened()
    (order,) = desk.quote(60.0)
    assert [share.lots for share in order.of("T")] == [-30_000_000]
    desk.hear(desk.trade(order, price=60.0), desk.status(order))
    assert desk.it.state.status == "wiped"
    assert desk.it.state.equity == 0
    assert desk.it.state.balances.reserve == -200_000 * MINOR
    assert desk.tokens[1].state.status == "open"
    assert desk.tokens[1].state.equity > CAPITAL


def test_a_position_that_the_venue_does_not_let_go_of_is_told_of_once():
    desk = Desk().opened()
    orders, alarms = desk.quote(60.0), []
    for _ in range(2):  # it is asked for again a minute later
        while orders:
            (order,) = orders
            orders = desk.hear(desk.status(order, "rejected", filled=0))
            alarms += desk.effects.alarms
        desk.now_ms += 60_000
        orders = desk.quote(60.0)
    assert orders
    assert alarms == ["T: its position could not be closed, its orders end rejected; it is tried again"]


@pytest.mark.parametrize("then", [90.0, 90.5, 89.0])
def test_the_nav_if_an_unknown_order_was_filled_is_the_one_after_its_fill(then):
    costs = gr.Costs(half_spread=0.001, taker_fee=5e-4)
    desk = Desk(token("A", costs=costs)).opened()
    (order,) = desk.quote(90.0)
    told = nav_if_filled(desk.it.spec, desk.it.state, (then,), [desk.book.state.live[order.id]])
    assert nav_if_filled(desk.it.spec, desk.it.state, (then,), []) != told
    price = 90.0 * (1 - 0.001)
    fee = int(abs(order.lots) * 0.001 * 90.0 * 5e-4 * MINOR)
    desk.hear(desk.trade(order, price=price, commission=fee), desk.status(order))
    desk.driver.publish(desk.it, "minute", desk.now_ms, (then,))
    assert told == pytest.approx(desk.it.state.nav / MINOR, rel=1e-7)
