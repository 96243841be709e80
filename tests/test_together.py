"""Tokens of one book that hold the same instrument: what they trade with each other, and what they share."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import UNSET

import gearing as gr
from gearing.core import book as bk
from gearing.core import holder as ho
from gearing.core.book import BookError, BookState, Share, book_step, order_id
from gearing.core.journal import line_of, state_of
from gearing.core.money import CEILING, MINOR, value_of
from gearing.core.sharing import met, shared
from gearing.core.spec_text import format_token
from gearing.core.state import LegState
from gearing.desk.config_text import parse_desk
from gearing.desk.desk import prepare
from gearing.desk.margins import Margins
from gearing.desk.planned import planned
from gearing.drive.orders import Orders
from gearing.drive.reconciling import differences
from gearing.drive.together import funding_shares, unpaid
from gearing.store.export import write_export
from gearing.store.recompute import Portfolio, follow, recompute
from gearing.store.records import book_line_of
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.venues.protocol import FundingPayment, InstrumentRules, Quote, Setting, Settled
from tests.desks import Desk, stated
from tests.lives import HOUR_MS, NOON_MS, token

RULES = InstrumentRules(symbol="A", asset="USDT", lot="0.001")
LOTS = some.lists(some.integers(-(10**12), 10**12), min_size=1, max_size=6)


def named(symbol, target, **more):
    return msgspec.structs.replace(token("A", target=target, **more), symbol=symbol)


def two(first, second, **more):
    """A desk of two tokens on one instrument in one book."""
    return Desk(named("L", first), named("S", second), **more)


def held(desk):
    return [running.state.legs[0].lots for running in desk.tokens]


def spent(desk):
    """What all of them paid for what they hold, and what they were charged."""
    return sum(one.state.balances.wallet - sum(leg.basis for leg in one.state.legs) for one in desk.tokens)


def book_events(desk, effects=None):
    return [book_line_of(line.body).event for line in (effects or desk.effects).lines if line.stream == "book:main"]


@given(LOTS)
def test_what_is_met_sums_to_nothing_and_is_all_of_the_smaller_side(wanted):
    crossed = met(wanted)
    assert sum(crossed) == 0
    assert all(abs(n) <= abs(lots) and n * lots >= 0 for n, lots in zip(crossed, wanted, strict=True))
    left = [lots - n for n, lots in zip(crossed, wanted, strict=True)]
    assert min(left) >= 0 or max(left) <= 0


@given(some.integers(-(10**15), 10**15), LOTS.filter(any))
def test_shares_sum_to_the_whole_and_are_within_one_of_their_part(total, weights):
    parts = shared(total, weights)
    whole = sum(abs(weight) for weight in weights)
    assert sum(parts) == total
    assert all(abs(part - Fraction(total * abs(w), whole)) < 1 for part, w in zip(parts, weights, strict=True))
    assert all(part == 0 for part, w in zip(parts, weights, strict=True) if w == 0)


def test_long_and_short_of_one_size_open_with_each_other_and_send_nothing():
    desk = two(3.0, -3.0)
    before = spent(desk)
    assert desk.quote(100.0) == []
    assert held(desk) == [30_000_000, -30_000_000]
    assert spent(desk) == before
    assert [one.state.rebalance for one in desk.tokens] == [None, None]
    (crossed,) = [event for event in book_events(desk) if isinstance(event, bk.Crossed)]
    assert (crossed.symbol, crossed.price, [part.lots for part in crossed.parts]) == (
        "A", 100.0, [30_000_000, -30_000_000]
    )  # fmt: skip
    fills = [line_of(line.body).event for line in desk.effects.lines if b'"event":"filled"' in line.body]
    assert {fill.trade for fill in fills} == {crossed.id}
    assert sum(fill.paid for fill in fills) == 0
    assert desk.book.state.live == {}
    assert desk.book.state.crossings == 1
    assert desk.alarms == []


def test_what_is_left_of_the_larger_side_is_an_order_of_its_own():
    desk = two(3.0, -1.0)
    (order,) = desk.quote(100.0)
    assert held(desk) == [10_000_000, -10_000_000]
    assert (order.lots, order.parts, order.purpose.token) == (20_000_000, UNSET, "L")
    desk.hear(desk.trade(order, price=100.1, commission=777), desk.status(order))
    assert held(desk) == [30_000_000, -10_000_000]
    assert [one.state.rebalance for one in desk.tokens] == [None, None]
    assert [one.state.balances.commission for one in desk.tokens] == [777, 0]


def test_one_order_for_all_who_want_the_same_and_each_fill_is_shared():
    """An odd price and odd parts: what each paid sums to what the venue booked, and so does the commission."""
    desk = two(3.0, 2.0, lot="0.00000001")
    before = spent(desk)
    (order,) = desk.quote(100.0)
    assert order.lots == 5_000_000_000_000
    assert [(share.purpose.token, share.lots) for share in order.shares] == [
        ("L", 3_000_000_000_000), ("S", 2_000_000_000_000)
    ]  # fmt: skip
    paid, price, size = 0, 100.123_456_789, Decimal("0.00000001")
    for lots in (1, 1, 3, 1_000_000_007, 2_499_999_999_999):
        desk.hear(desk.trade(order, lots, price=price, commission=7))
        paid += value_of(lots, size, price, CEILING) + 7
        assert spent(desk) == before - paid
    live = desk.book.state.live[order.id]
    assert sum(share.filled for share in live.shares) == live.filled == sum(held(desk))
    assert held(desk)[0] == round(Fraction(3, 5) * sum(held(desk)))
    rest = order.lots - live.filled
    desk.hear(desk.trade(order, rest, price=price), desk.status(order))
    assert held(desk) == [3_000_000_000_000, 2_000_000_000_000]
    assert [one.state.rebalance for one in desk.tokens] == [None, None]
    assert sum(one.state.balances.commission for one in desk.tokens) == 35


def test_what_an_order_left_is_asked_for_together_again():
    desk = two(3.0, 2.0)
    (order,) = desk.quote(100.0)
    desk.hear(desk.trade(order, 10_000_000))
    (again,) = desk.hear(desk.status(order, "cancelled", 10_000_000))
    assert [(share.lots, share.purpose.attempt) for share in again.shares] == [(24_000_000, 1), (16_000_000, 1)]
    (third,) = desk.hear(desk.status(again, "rejected", 0))
    assert third.lots == 40_000_000
    desk.hear(desk.trade(third), desk.status(third))
    assert held(desk) == [30_000_000, 20_000_000]


def test_nothing_crosses_at_a_price_that_is_not_good():
    desk = two(3.0, -1.0).opened()
    bad = Quote(symbol="A", time_ms=desk.now_ms + 1, mark=float("nan"), index=100.0)
    desk.driver.on_quotes([bad], desk.now_ms + 1)
    for running in desk.tokens:
        desk.driver.operate(running, "close", "test", "test", desk.now_ms + 1)
    bought, sold = desk.take()
    assert (bought.lots, bought.reduces, sold.lots, sold.reduces) == (10_000_000, False, -30_000_000, False)
    for order in (bought, sold):
        desk.hear(desk.trade(order), desk.status(order))
    assert held(desk) == [0, 0]


def test_an_order_that_would_raise_the_sum_is_not_sent_as_one_that_only_lowers():
    desk = two(3.0, -1.0).opened()
    desk.driver.operate(desk.tokens[1], "close", "test", "test", desk.now_ms)
    (order,) = desk.take()
    assert (order.lots, order.reduces) == (10_000_000, False)
    desk.hear(desk.trade(order), desk.status(order))
    desk.driver.operate(desk.tokens[0], "close", "test", "test", desk.now_ms)
    (order,) = desk.take()
    assert (order.lots, order.reduces) == (-30_000_000, True)


def test_two_that_close_one_after_the_other_may_only_lower_both():
    """What the venue closed meanwhile, and did not tell, must not be sold a second time."""
    desk = two(3.0, 1.0).opened()
    for running in desk.tokens:
        desk.driver.operate(running, "close", "test", "test", desk.now_ms)
        desk.take()
    first, second = desk.placed[-2:]
    assert (first.lots, first.reduces, second.lots, second.reduces) == (-30_000_000, True, -10_000_000, True)
    desk.hear(desk.trade(first), desk.status(first))
    desk.driver.on_forced(desk.book, desk.forced(-4_000_000))
    desk.hear(desk.trade(second, -6_000_000), desk.status(second, "cancelled", -6_000_000))
    assert held(desk) == [0, 0]


def test_what_lowers_beside_another_is_not_more_than_what_is_left():
    def closed(desk, *tokens):
        orders = []
        for k in tokens:
            desk.driver.operate(desk.tokens[k], "close", "test", "test", desk.now_ms)
            orders += desk.take()
        return [(order.lots, order.reduces) for order in orders]

    desk = Desk(named("L", 1.0), named("M", 1.0), named("S", -0.5)).opened()
    assert closed(desk, 0, 1) == [(-10_000_000, True), (-10_000_000, False)]
    # What is bought beside it may be filled later, and until then 30 would be more than the 25 that are held.
    desk = Desk(named("L", 3.0), named("M", 1.0), named("S", -1.5)).opened()
    assert closed(desk, 2, 0) == [(15_000_000, False), (-30_000_000, False)]


def settled(desk, lots, amount, *, rate=1e-4, mark=100.0, at_ms=NOON_MS + HOUR_MS):
    return FundingPayment(symbol="A", settlement_ms=at_ms, rate=rate, mark=mark, lots=lots, amount=amount)


def test_funding_is_shared_by_signed_size_and_sums_to_the_venues():
    desk = two(3.0, -1.0).opened()
    wallets = [one.state.balances.wallet for one in desk.tokens]
    amount = -200 * MINOR + 1  # as the venue rounded it
    desk.driver.on_funding(desk.book, settled(desk, 20_000_000, amount), NOON_MS + HOUR_MS + 5)
    desk.take()
    moved = [one.state.balances.wallet - before for one, before in zip(desk.tokens, wallets, strict=True)]
    assert sum(moved) == amount
    assert moved == [-300 * MINOR + 1, 100 * MINOR]
    assert desk.alarms == []
    desk.driver.on_funding(desk.book, settled(desk, 20_000_000, amount), NOON_MS + HOUR_MS + 6)  # told twice
    assert desk.take() == []
    assert desk.effects.lines == []


def test_what_sums_to_nothing_is_paid_among_them_though_the_venue_books_nothing():
    desk = two(3.0, -3.0).opened()
    wallets = [one.state.balances.wallet for one in desk.tokens]
    told = Settled(symbol="A", settlement_ms=NOON_MS + HOUR_MS, rate=1e-4, mark=100.0)
    (payment,) = unpaid(desk.book, [told], [])
    desk.driver.on_funding(desk.book, payment, NOON_MS + HOUR_MS + 5)
    desk.take()
    moved = [one.state.balances.wallet - before for one, before in zip(desk.tokens, wallets, strict=True)]
    assert moved == [-300 * MINOR, 300 * MINOR]
    assert list(unpaid(desk.book, [told], [])) == []


def test_a_payment_on_a_sum_that_is_held_is_waited_for():
    """The venue tells of the settlement first and of what it paid later; that is no payment on nothing."""
    desk = two(3.0, -1.0).opened()
    told = Settled(symbol="A", settlement_ms=NOON_MS + HOUR_MS, rate=1e-4, mark=100.0)
    assert list(unpaid(desk.book, [told], [])) == []


def test_f2_funding_on_another_sum_halts_all_of_them():
    desk = two(3.0, -1.0).opened()
    desk.driver.on_funding(desk.book, settled(desk, 20_000_001, -200 * MINOR), NOON_MS + HOUR_MS + 5)
    desk.take()
    assert [one.state.status for one in desk.tokens] == ["halted", "halted"]
    assert "F2: funding was paid on 20000001 lots, held were 20000000" in desk.alarms[0]


SIZES = some.lists(some.integers(-(10**9), 10**9), min_size=1, max_size=5)


@given(SIZES, some.floats(-0.01, 0.01), some.floats(0.01, 1e5), some.integers(-50, 50))
def test_shares_of_funding_sum_to_the_venues_amount_however_it_rounds(sizes, rate, mark, off):
    leg = LegState(lot="0.001", mark=mark, ref=mark, index_ref=mark)
    exact = [-Fraction(size, 1000) * Fraction(repr(mark)) * Fraction(repr(rate)) * MINOR for size in sizes]
    amount = round(sum(exact)) + off
    payment = FundingPayment(symbol="A", settlement_ms=1, rate=rate, mark=mark, lots=sum(sizes), amount=amount)
    parts = funding_shares(sizes, leg, payment)
    assert sum(parts) == amount
    assert all(abs(part - one) <= 3 + abs(off) + len(sizes) for part, one in zip(parts, exact, strict=True))


def test_what_the_venue_closes_is_taken_from_the_side_of_the_sum():
    desk = Desk(named("L", 3.0), named("M", 1.0), named("S", -1.0)).opened()
    assert held(desk) == [30_000_000, 10_000_000, -10_000_000]
    before = spent(desk)
    desk.driver.on_forced(desk.book, msgspec.structs.replace(desk.forced(-20_000_001, price=99.9), charge=101))
    desk.take()
    assert held(desk) == [14_999_999, 5_000_000, -10_000_000]
    assert spent(desk) == before - value_of(-20_000_001, Decimal("0.001"), 99.9, CEILING) - 101
    assert len(desk.alarms) == 2


@pytest.mark.parametrize("comes_first", [True, False])
def test_what_they_hold_against_each_other_ends_with_the_instrument(comes_first):
    """The venue closes their sum; the rest could be traded away by nobody, and would move with a mark that is none."""
    desk = Desk(named("L", 3.0), named("M", 1.0), named("S", -1.5)).opened()
    assert held(desk) == [30_000_000, 10_000_000, -15_000_000]
    desk.quote(101.0)
    before, ends = spent(desk), msgspec.structs.replace(RULES, delisted_ms=desk.now_ms)
    forced = desk.forced(-25_000_000, price=101.0)
    if comes_first:
        desk.driver.on_forced(desk.book, forced)
    desk.driver.on_rules(desk.book, [msgspec.structs.replace(ends, delisted_ms=desk.now_ms + 1)], desk.now_ms)
    assert held(desk)[2] == -15_000_000  # not before it has ended
    for _ in range(2):
        desk.driver.on_rules(desk.book, [ends], desk.now_ms)
    if not comes_first:
        desk.driver.on_forced(desk.book, forced)
    desk.take()
    assert held(desk) == [0, 0, 0]
    assert spent(desk) == before - value_of(-25_000_000, Decimal("0.001"), 101.0, CEILING)
    assert desk.book.state.crossings == 2  # with that of their opening
    # Nothing of it depended on who was first: each has what it would have at the last mark.
    assert [one.state.nav for one in desk.tokens] == [103 * MINOR, 101 * MINOR, 98_50000000]
    assert [one.state.status for one in desk.tokens] == ["halted"] * 3
    assert sum("which has ended, was closed with the other tokens of its book at 101" in it for it in desk.alarms) == 3
    assert differences(desk.book, stated(desk, {})) == ()


def test_what_ended_is_not_closed_while_an_order_on_it_may_still_be_filled():
    desk = two(3.0, -1.0)
    (order,) = desk.quote(100.0)
    ends = msgspec.structs.replace(RULES, delisted_ms=desk.now_ms)
    desk.driver.on_rules(desk.book, [ends], desk.now_ms)
    desk.take()
    assert held(desk) == [10_000_000, -10_000_000]
    desk.hear(desk.status(order, "cancelled", filled=0))
    desk.driver.on_rules(desk.book, [ends], desk.now_ms)
    desk.take()
    assert held(desk) == [0, 0]


def test_the_statement_is_held_against_their_sum():
    desk = two(3.0, -1.0).opened()
    assert differences(desk.book, stated(desk, {"A": 20_000_000})) == ()
    (found,) = differences(desk.book, stated(desk, {"A": 19_999_999}))
    assert (found.venue, found.ledger) == (19_999_999, 20_000_000)


def test_flows_of_one_instant_trade_with_each_other():
    """Somebody buys the long while somebody buys the short: nothing goes to the venue, and both pay nothing for it."""
    desk = two(3.0, -3.0).opened()
    primary = desk.driver.primary
    for name, running in zip(("ann", "ben"), desk.tokens, strict=True):
        paid = ho.Deposited(time_ms=desk.now_ms, asset="USDT", amount=1_000 * MINOR, reference=name, by="x")
        primary.post(name, paid)
        primary.request(name, running.name, "subscribe", 1_000 * MINOR, desk.now_ms)
    desk.take()
    orders = []
    for _ in range(70):
        orders += desk.quote(100.0)
    assert orders == []
    units = [primary.holders[name].state.units(token) for name, token in (("ann", "L"), ("ben", "S"))]
    assert units == [10 * MINOR, 10 * MINOR]
    assert held(desk) == [30_030_000, -30_030_000]
    assert desk.alarms == []


def test_a_book_refuses_what_does_not_sum():
    state = BookState(number=1, incarnation="abc123")
    purpose = bk.Purpose(token="T", leg=0, epoch=1, slice=0, attempt=0)
    part = Share(purpose=purpose, lots=5)
    with pytest.raises(BookError, match="does not sum to nothing"):
        book_step(state, bk.Crossed(time_ms=1, id=bk.crossing_id(state), symbol="A", price=1.0, parts=(part,)))
    with pytest.raises(BookError, match="has not the next id"):
        book_step(state, bk.Crossed(time_ms=1, id="x", symbol="A", price=1.0, parts=()))
    order = bk.LiveOrder(id=order_id(state), symbol="A", lots=9, reduces=False, purpose=purpose, parts=(part, part))
    with pytest.raises(BookError, match="do not sum"):
        book_step(state, bk.OrderPlaced(time_ms=1, order=order))


class Margined:
    """A venue that margins as it is asked to."""

    def __init__(self):
        self.settings = {"A": Setting(leverage=20.0, margin_mode="cross")}

    async def setting(self, symbol):
        return self.settings[symbol]

    async def set_setting(self, symbol, setting):
        self.settings[symbol] = setting


@pytest.mark.parametrize("targets", [(3.0, 2.0), (2.0, 3.0)])
def test_r5_two_tokens_on_one_instrument_are_margined_for_the_larger(targets):
    desk, venue = two(*targets), Margined()
    assert asyncio.run(Margins({}).differing(desk.book, venue, ["A"])) == ()
    assert venue.settings == {"A": Setting(leverage=6.0, margin_mode="cross")}


@pytest.mark.parametrize(("off", "found"), [(2, []), (-2, []), (3, ["trade"]), (-3, ["trade"])])
def test_a_part_of_a_trade_that_is_not_its_value_is_found(off, found):
    portfolio, differs = Portfolio(), []
    follow(portfolio, {"event": "launched", "lots": ["0.001"], "prices": ["100"]}, differs.append)
    filled = {"event": "filled", "leg": 0, "trade": "t", "lots": 7, "price": "100.5", "commission": 0}
    follow(portfolio, {**filled, "paid": 70_350_000 + off}, lambda what, *_: differs.append(what))
    assert differs == found
    assert portfolio.legs[0].cost == 70_350_000 + off


def test_a_book_of_several_tokens_lives_for_weeks_and_everything_adds_up(tmp_path):
    """Long, short and a basket on one account: statements agree, the journal holds, a stranger finds its NAVs."""
    legs = {"BTC3L": ("BTCUSDT",), "BTC3S": ("BTCUSDT",), "MIX2L": ("BTCUSDT", "ETHUSDT")}
    for name, symbols in legs.items():
        target = {"L": 1, "S": -1}[name[-1]] * float(name[3])
        it = gr.Token(symbol=name, target=target, rule=gr.Rule(schedule=(gr.Schedule(every="1h"),)), legs=tuple(
            gr.Perpetual(symbol=symbol, weight=1 / len(symbols)) for symbol in symbols
        ))  # fmt: skip
        (tmp_path / f"{name}.toml").write_text(format_token(it))
    text = "history_days = 5\n" + "".join(f'[[tokens]]\nfile = "{name}.toml"\nbook = "ONE"\n' for name in legs)
    plan = planned(parse_desk(text), tmp_path)
    prepare(plan, lambda done, total: None)
    verdict = verify(plan.database)
    assert verdict.breaches == ()
    with Store(plan.database) as store:
        events = [book_line_of(line.body).event for line in store.lines("book:ONE")]
        assert any(isinstance(event, bk.Crossed) for event in events)
        assert any(isinstance(event, bk.OrderPlaced) and event.order.parts is not UNSET for event in events)
        checked = [event for event in events if isinstance(event, bk.Reconciled)]
        assert len(checked) >= 4
        assert all(event.differences == () for event in checked)
        states = [state_of(store.state(f"token:{name}").body) for name in legs]
        assert all(state.status == "open" for state in states)
    exported: list[bytes] = []
    write_export(plan.database, exported.append)
    report = recompute(b"".join(exported).splitlines())
    assert report.differences == []
    assert report.navs > 300


@pytest.mark.parametrize(("fails", "withheld"), [("", ["token:L", "token:S"]), ("L", ["token:S"])])
def test_what_netting_that_fails_wanted_is_withheld_from_each_token_by_itself(monkeypatch, fails, withheld):
    desk, real = two(3.0, -1.0), Orders.withhold

    def withhold(orders, running, *more):
        real(orders, running, *more)
        if running.name == fails:
            raise ArithmeticError("it cannot be booked")

    monkeypatch.setattr(Orders, "withhold", withhold)
    monkeypatch.setattr("gearing.drive.driver.trade_together", lambda *args: 1 / 0)
    assert desk.quote(100.0) == []
    assert "ZeroDivisionError" in desk.book.state.halted
    streams = [line.stream for line in desk.effects.lines if b'"withheld"' in line.body]
    assert streams == withheld
    assert [one.name for one in desk.tokens if one.state.is_working] == [fails] * bool(fails)


def test_an_order_with_a_share_of_a_halted_token_is_not_sent_and_the_others_ask_again():
    desk = two(3.0, 2.0)
    (order,) = desk.quote(100.0)
    assert [share.lots for share in order.shares] == [30_000_000, 20_000_000]
    assert desk.book.why_not_sent(order) == ""
    desk.driver.operate(desk.tokens[0], "halt", "ann", "look", desk.now_ms)
    assert desk.book.why_not_sent(order) == "L is halted"
    desk.driver.on_refused(desk.book, order.id, "not sent: L is halted", desk.now_ms)
    (again,) = desk.take()
    assert ([share.purpose.token for share in again.shares], again.lots) == (["S"], 20_000_000)
    assert desk.book.why_not_sent(again) == ""
    desk.hear(desk.trade(again), desk.status(again))
    desk.driver.operate(desk.tokens[0], "resume", "ann", "looked", desk.now_ms)
    (late,) = desk.quote(100.0)
    assert late.lots == 30_000_000
    desk.hear(desk.trade(late), desk.status(late))
    assert held(desk) == [30_000_000, 20_000_000]


def test_what_a_halted_book_says_comes_before_what_its_tokens_say():
    desk = two(3.0, 2.0)
    (order,) = desk.quote(100.0)
    desk.driver.operate(desk.tokens[1], "halt", "ann", "look", desk.now_ms)
    desk.driver.note(desk.book, bk.BookHalted(time_ms=desk.now_ms, by="ann", reason="lunch"))
    assert desk.book.why_not_sent(order) == "ann: lunch"
