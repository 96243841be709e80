"""Commands and inputs are processed whole or not at all; one that fails stops neither a desk nor another book."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET

import gearing as gr
from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.holder import DEALER
from gearing.core.journal import Cause
from gearing.core.money import INT64_MAX, MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.terms import Spec
from gearing.desk.counter import answer, arrival
from gearing.desk.inbox import Inbox
from gearing.desk.issuer import answer as issuer_answer
from gearing.desk.requests import AskQuote, Cancel, Deal, HandOn, Merge, Pay, TakeFees, TakeQuote, encode
from gearing.drive.effects import Effects
from gearing.drive.faults import run_isolated
from gearing.store.records import Request, holder_line_of
from tests.lives import CAPITAL, HOUR_MS, NOON_MS, UNITS, token
from tests.snapshots import snapshot
from tests.test_primary import COSTS, Market, market


def busy():
    """A token that owes fees, a dealing account, holders with money and units, requests that wait, and a quote."""
    terms = Terms(quote_valid="10s", quote_swing=0.001)
    fees = gr.Fees(management_per_day=0.01, creation=0.001, redemption=0.001)
    desk = market(token("A", costs=COSTS, fees=fees, primary=terms))
    for name in ("h1", "h2", DEALER):
        desk.deposit(name, 100_000)
    desk.ask("h1", "subscribe", 50_000 * MINOR)
    desk.ask("h2", "subscribe", 50_000 * MINOR)
    desk.window()
    desk.filled(desk.quote(100.0, after_ms=NOON_MS + 12 * HOUR_MS - desk.now_ms))
    desk.ask("h1", "subscribe", 10_000 * MINOR)
    desk.ask("h2", "redeem", 100 * MINOR)
    desk.ask("h1", "redeem", 50 * MINOR)
    desk.take()
    return desk


COMMANDS = {
    "deposit": Pay(holder="new", asset="USDT", amount=5 * MINOR, reference="r", by="ann"),
    "withdraw": Pay(holder="h1", asset="USDT", amount=-5 * MINOR, reference="r", by="ann"),
    "transfer of money": HandOn(holder="h1", other="new", asset="USDT", amount=5 * MINOR, reference="t"),
    "transfer of units": HandOn(holder="h1", other="h2", token="T", amount=5 * MINOR, reference="t"),
    "subscribe": Deal(holder="h1", token="T", side="subscribe", amount=100 * MINOR),
    "redeem": Deal(holder="h2", token="T", side="redeem", amount=5 * MINOR),
    "subscribe at once": Deal(holder="h1", token="T", side="subscribe", amount=100 * MINOR, instant=True),
    "redeem at once": Deal(holder="h2", token="T", side="redeem", amount=5 * MINOR, instant=True),
    "quote": AskQuote(holder="h2", token="T", side="redeem", amount=5 * MINOR),
    "accept": TakeQuote(holder="h1", id="h1.q1"),
    "cancel": Cancel(holder="h1", id="h1.2"),
    "cancel a redemption": Cancel(holder="h2", id="h2.2"),
    "fees in cash": TakeFees(token="T", amount=0, how="cash", by="ann", reason="x"),
    "fees in units": TakeFees(token="T", amount=0, how="units", by="ann", reason="x"),
    "fees by burning": TakeFees(token="T", amount=0, how="burn", by="ann", reason="x"),
    "merge": Merge(token="T", factor=10.0, by="ann", reason="x"),
}  # fmt: skip


def run(desk, name):
    command = COMMANDS[name]
    if name == "accept":
        answer(desk.driver, AskQuote(holder="h1", token="T", side="subscribe", amount=100 * MINOR), desk.now_ms)
        desk.take()
    kind = issuer_answer if isinstance(command, (TakeFees, Merge)) else answer
    if name == "accept" or "at once" in name:  # its price has come
        judgement = arrival(desk.driver, desk.now_ms)
        desk.quote(100.0, after_ms=1)
        return lambda: answer(desk.driver, command, desk.now_ms, judgement)
    return lambda: kind(desk.driver, command, desk.now_ms)


class PostError(Exception):
    """What a test raises in place of a post."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_fails_at_any_of_its_posts_leaves_everything_as_it_was(name, monkeypatch):
    desk = busy()
    begin = run(desk, name)
    before, real = snapshot(desk.driver), Effects.append
    assert before["queues"]["T"]["waiting"]
    for failing in range(1, 30):
        left = failing

        def append(self, *args):
            nonlocal left
            left -= 1
            if not left:
                raise PostError
            return real(self, *args)

        monkeypatch.setattr(Effects, "append", append)
        try:
            answered = begin()
        except PostError:
            monkeypatch.setattr(Effects, "append", real)
            assert snapshot(desk.driver) == before
            continue
        break
    assert answered.done, answered.words
    assert failing > (2 if name.startswith(("transfer", "accept", "fees", "merge")) or "at once" in name else 1)
    assert snapshot(desk.driver) != before


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_undone_after_it_was_done_leaves_everything_as_it_was(name):
    """Beside its posts it changed queues, caps and barriers, some of them after its last post."""
    desk = busy()
    begin = run(desk, name)
    before, done = snapshot(desk.driver), []

    def work():
        done.append(begin())
        assert snapshot(desk.driver) != before
        return False

    desk.driver.atomically(work, lambda kept: not kept)
    assert done[0].done, done[0].words
    assert snapshot(desk.driver) == before


def test_a_cause_stays_with_its_own_unit_of_work():
    """It is neither lost to a unit within it that journals nothing, nor left over for what comes after it."""
    desk = market()

    def deposit():
        desk.primary.post("h1", ho.Deposited(time_ms=desk.now_ms, asset="USDT", amount=5, reference="r", by="ann"))

    cause, other = Cause(key="1" * 64, body="2" * 64), Cause(key="3" * 64, body="4" * 64)

    def work():
        desk.driver.atomically(lambda: None, cause=other)
        desk.driver.atomically(lambda: None)
        desk.driver.atomically(deposit)
        deposit()

    desk.take()
    desk.driver.atomically(work, cause=cause)
    desk.driver.atomically(lambda: None, cause=other)
    deposit()
    assert [holder_line_of(line.body).cause for line in desk.driver.effects.lines] == [cause, UNSET, UNSET]


@pytest.mark.parametrize("name", ["transfer of money", "transfer of units", "subscribe at once", "accept"])
def test_a_command_whose_second_stream_refuses_it_credits_nobody(name):
    """The account that counts against the other holders is full: the last post is refused by the ledger itself."""
    desk = busy()
    begin = run(desk, name)
    full = {account: sign * (INT64_MAX // 4 - 1) for asset in ("cash:USDT", "units:T")
            for account, sign in ((f"{asset}:holders", -1), (f"{asset}:outside", 1))}  # fmt: skip
    for other in ("new", "h2", DEALER):
        holder = desk.primary.holders.get(other) or ho
        if holder is ho:
            desk.deposit(other, 1)
            holder = desk.primary.holders[other]
        balances = {**holder.state.balances, **full}
        if other == DEALER:
            balances |= {f"cash:USDT:{ho.FREE}": INT64_MAX // 4 - 1}
        holder.state = msgspec.structs.replace(holder.state, balances=balances)
    desk.take()
    before = snapshot(desk.driver)
    answered = begin()
    assert not answered.done
    assert "more than an account holds" in answered.words
    assert snapshot(desk.driver) == before


def test_a_command_of_the_inbox_that_raises_is_rejected_and_reported(monkeypatch):
    desk = busy()
    before = snapshot(desk.driver)

    def fails(*args):
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(desk.primary.quotes, "ask", fails)

    class Engine:
        driver = desk.driver

        class clock:  # noqa: N801
            now_ms = staticmethod(lambda: desk.now_ms)

    inbox = Inbox(Engine, None)
    wanted = AskQuote(holder="h2", token="T", side="redeem", amount=5 * MINOR)
    answered = inbox.carry_out(Request(1, "h2", "k", encode(wanted)))
    assert not answered.done
    assert "Internal error (ZeroDivisionError: float division by zero). Nothing was changed." in answered.words
    (alarm,) = desk.driver.effects.alarms
    assert "internal error in a command of h2" in alarm
    desk.driver.effects.alarms.clear()
    assert snapshot(desk.driver) == before


def test_a_price_that_cannot_be_processed_halts_its_book_alone(monkeypatch):
    one, other = market(), market()
    calls = []
    real = one.driver.primary.dealings.attend

    def fails(running, prices, now_ms):
        calls.append(now_ms)
        raise OverflowError("too large")

    monkeypatch.setattr(one.driver.primary.dealings, "attend", fails)
    before = one.it.state
    one.quote(101.0, after_ms=60_000)
    assert one.it.state is before
    assert one.book.state.halted == "fault: a price could not be processed (OverflowError: too large)"
    assert sum("could not be processed" in words for words in one.alarms) == 1
    one.quote(101.5, after_ms=60_000)  # the next price is looked at again, but journalled no more
    assert len(calls) == 2
    assert sum("could not be processed" in words for words in one.alarms) == 1
    monkeypatch.setattr(one.driver.primary.dealings, "attend", real)
    one.window(101.0)
    assert one.it.state.legs[0].mark == 101.0
    assert other.book.state.halted == ""


def test_a_failing_token_does_not_keep_another_book_from_its_price(monkeypatch):
    desk = Market(token("A", costs=COSTS))
    book = desk.driver.open_book("second", "abc124", ["U"], desk.now_ms)
    spec = Spec(msgspec.structs.replace(token("A", costs=COSTS), symbol="U"))
    second = desk.driver.launch(book, spec, ("0.001",), CAPITAL, UNITS, desk.now_ms)
    desk.take()
    real = desk.driver.attend

    def attend(running):
        if running is desk.it:
            raise ValueError("no")
        real(running)

    monkeypatch.setattr(desk.driver, "attend", attend)
    desk.quote(101.0, after_ms=60_000)
    assert desk.book.state.halted
    assert not book.state.halted
    assert second.state.legs[0].mark == 101.0


def test_the_same_report_is_not_processed_twice_before_the_book_is_resumed():
    desk = market()
    (order,) = desk.quote(120.0)
    bad = desk.trade(order, order.lots + (1 if order.lots > 0 else -1), price=120.0)
    desk.hear(bad)
    assert "does not fit" in desk.book.state.halted
    seq = desk.book.head.seq
    desk.hear(bad)
    assert desk.book.head.seq == seq
    calls = []
    for resumes in (False, True):  # whether or not it would succeed by now, it waits for a person
        if resumes:
            desk.driver.note(desk.book, bk.BookResumed(time_ms=desk.now_ms, by="ann", reason="looked"))
        run_isolated(desk.driver, desk.book, "trade", bad, lambda: calls.append(1))
        assert calls == [1] * resumes
    assert (desk.book.state.halted, desk.book.state.failures) == ("", UNSET)


def test_a_failed_input_is_kept_in_the_journal_with_its_error():
    desk = market()
    (order,) = desk.quote(120.0)
    bad = desk.trade(order, -order.lots, price=120.0)
    desk.driver.on_trade(desk.book, bad)
    event = next(line for line in desk.driver.effects.lines if b"input_failed" in line.body)
    assert bad.trade_id.encode() in event.body
    assert b'"source":"trade"' in event.body
    assert b"does not fit" in event.body


def test_a_dealing_that_fails_returns_its_requests_and_halts_its_book(monkeypatch):
    desk = busy()
    held = desk.cash("h1", ho.HELD)
    assert held
    monkeypatch.setattr("gearing.drive.dealings.match", lambda *args: 1 / 0)
    desk.window()
    assert "ZeroDivisionError" in desk.book.state.halted
    assert desk.cash("h1", ho.HELD) == 0
    assert desk.primary.holders["h2"].state.requests == {}
    seqs = desk.it.head.seq
    desk.window()
    assert desk.it.head.seq > seqs  # NAVs go on
    assert desk.primary._queues["T"].waiting == {}


def test_a_settlement_that_fails_gives_the_flow_up_and_returns_it_less_the_cost_of_unwinding(monkeypatch):
    desk = market()
    desk.deposit("h1", 100_000)
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.take()
    orders = desk.quote(100.0, after_ms=60_000)
    real = desk.driver.apply

    def apply(running, event):
        if isinstance(event, ev.DealingSettled) and event.units:
            raise ArithmeticError("it cannot be booked")
        real(running, event)

    monkeypatch.setattr(desk.driver, "apply", apply)
    nav = desk.nav
    desk.filled(orders)
    assert "it cannot be booked" in desk.book.state.halted
    assert desk.it.state.dealing.limit == 0
    assert desk.cash("h1", ho.HELD) == 100_000 * MINOR
    desk.driver.note(desk.book, bk.BookResumed(time_ms=desk.now_ms, by="ann", reason="looked"))
    before = len(desk.placed)
    desk.window()
    (unwinding,) = desk.placed[before:]
    assert unwinding.lots == -orders[0].lots
    assert desk.it.state.dealing is UNSET
    assert desk.lots == [30_000_000]
    paid_in = 100_000 * MINOR - desk.cash("h1")
    # Bought and sold again, each 0.1 % worse than the mark and for 0.05 %: 300,000 of exposure cost 0.3 % of that.
    assert paid_in == pytest.approx(900 * MINOR, rel=5e-3)
    assert desk.nav >= nav
    assert desk.cash("h1", ho.HELD) == 0
    assert desk.primary.supply["T"] == desk.it.state.balances.units
