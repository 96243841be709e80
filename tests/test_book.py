"""The book: ids, orders and trades, each once; what cannot happen is refused."""

from __future__ import annotations

import json

import msgspec
import pytest
from msgspec import UNSET

from gearing.core import book as bk
from gearing.core.book import BookError, BookState, LiveOrder, Purpose, book_step, order_id
from gearing.core.journal import state_body


def opened():
    return book_step(BookState(), bk.BookOpened(time_ms=1, number=2, incarnation="abc123", tokens=("T",)))


def order(state, lots=10, leg=0):
    purpose = Purpose(token="T", leg=leg, epoch=1, slice=0, attempt=0)
    return LiveOrder(id=order_id(state), symbol="A", lots=lots, reduces=False, purpose=purpose)


def placed(lots=10):
    state = opened()
    it = order(state, lots)
    return book_step(state, bk.OrderPlaced(time_ms=2, order=it)), it.id


def traded(key, lots, trade="1"):
    return bk.Traded(time_ms=3, id=key, trade=trade, lots=lots, price=1.0, commission=0)


def test_an_id_is_never_used_again_and_fits_any_venue():
    state, seen = opened(), set()
    for _ in range(100):
        it = order(state)
        assert it.id not in seen
        assert it.id.isascii()
        assert it.id.isalnum()
        assert len(it.id) <= 32
        seen.add(it.id)
        state = book_step(state, bk.OrderPlaced(time_ms=2, order=it))
        state = book_step(state, bk.OrderClosed(time_ms=2, id=it.id, outcome="lost"))
    other = book_step(BookState(), bk.BookOpened(time_ms=1, number=3, incarnation="abc123", tokens=("U",)))
    anew = book_step(state, bk.BookOpened(time_ms=1, number=2, incarnation="xyz789", tokens=("T",)))
    assert order_id(other) not in seen
    assert order_id(anew)[:6] == "xyz789"


def test_an_order_with_another_id_than_the_next_is_refused():
    state, key = placed()
    again = LiveOrder(id=key, symbol="A", lots=1, reduces=False, purpose=state.live[key].purpose)
    with pytest.raises(BookError, match="has not the next id"):
        book_step(state, bk.OrderPlaced(time_ms=2, order=again))


def test_a_trade_is_booked_once():
    state, key = placed()
    state = book_step(state, traded(key, 4))
    assert (state.live[key].filled, state.live[key].trades) == (4, ("1",))
    with pytest.raises(BookError, match="booked already"):
        book_step(state, traded(key, 4))


@pytest.mark.parametrize(("wanted", "lots"), [(10, 0), (10, -1), (10, 11), (-10, 1), (-10, -11)])
def test_a_fill_that_does_not_fit_is_refused(wanted, lots):
    state, key = placed(wanted)
    with pytest.raises(BookError, match="does not fit"):
        book_step(state, traded(key, lots))


def test_fills_together_are_at_most_what_was_intended():
    state, key = placed()
    state = book_step(state, traded(key, 6))
    with pytest.raises(BookError, match="does not fit"):
        book_step(state, traded(key, 5, "2"))


@pytest.mark.parametrize("event", [
    traded("nobody", 1), bk.EndTold(time_ms=3, id="nobody", outcome="filled", filled=1),
    bk.OrderClosed(time_ms=3, id="nobody", outcome="filled"),
])  # fmt: skip
def test_of_an_order_that_is_not_live_nothing_is_taken(event):
    with pytest.raises(BookError, match="not live"):
        book_step(placed()[0], event)


def test_an_end_waits_for_its_fills_and_a_close_takes_the_order_off():
    state, key = placed()
    state = book_step(state, bk.EndTold(time_ms=3, id=key, outcome="cancelled", filled=4, words="depth"))
    assert state.live[key].ends == ("cancelled", 4, "depth")
    state = book_step(state, bk.OrderClosed(time_ms=3, id=key, outcome="cancelled"))
    assert state.live == {}


def test_what_the_venue_did_by_itself_is_booked_once():
    event = bk.ForcedTold(time_ms=3, trade="f1", symbol="A", lots=-1, deleveraged=True)
    state = book_step(opened(), event)
    with pytest.raises(BookError, match="booked already"):
        book_step(state, event)


def closed(trade, time_ms):
    return bk.ForcedTold(time_ms=time_ms, trade=trade, symbol="A", lots=-1, deleveraged=False)


def test_each_of_many_forced_trades_is_booked_once_until_the_statement_agrees():
    state = opened()
    for n in range(1_000):
        state = book_step(state, closed(f"f{n}", 1_000_000 + n))
    differing = bk.Difference(what="position", name="A", venue=1, ledger=2)
    state = book_step(state, bk.Reconciled(time_ms=9_000_000, differences=(differing,)))
    assert len(state.closures) == 1_000  # a statement that differs proves nothing of them
    for n in range(1_000):
        with pytest.raises(BookError, match="booked already"):
            book_step(state, closed(f"f{n}", 1_000_000 + n))


def test_a_forced_trade_is_known_while_it_may_be_reported_again_and_too_old_after_that():
    state = book_step(book_step(opened(), closed("f1", 1_000_000)), closed("f2", 1_000_001))
    state = book_step(state, bk.Reconciled(time_ms=1_600_001, differences=()))
    assert state.closures == {"f2": 1_000_001}
    for event in (closed("f1", 1_000_000), closed("f2", 1_000_001), closed("f0", 1_000_000)):
        with pytest.raises(BookError, match="booked already"):
            book_step(state, event)
    assert book_step(state, closed("f3", 1_000_001)).closures == {"f2": 1_000_001, "f3": 1_000_001}
    assert book_step(state, bk.Reconciled(time_ms=1_600_002, differences=())).closures is UNSET


def test_a_state_of_an_earlier_program_keeps_its_bytes_and_its_forced_trades():
    body = json.dumps({**json.loads(state_body(opened())), "forced": ["f1"]}, separators=(",", ":")).encode()
    state = msgspec.json.decode(body, type=bk.BookState)
    assert b"closures" not in state_body(state)
    assert msgspec.json.decode(state_body(state), type=bk.BookState) == state
    with pytest.raises(BookError, match="booked already"):
        book_step(state, closed("f1", 3))


def test_money_that_came_unasked_is_booked_once_however_much_of_it_comes():
    state, several = opened(), [bk.Received(time_ms=n, id=f"in{n}", asset="USDT", amount=2) for n in range(1_000)]
    for event in several:
        state = book_step(state, event)
    assert state.received == {"USDT": 2_000}
    for event in (several[0], several[-1]):
        with pytest.raises(BookError, match="booked already"):
            book_step(state, event)
    state = book_step(state, bk.Reconciled(time_ms=998, differences=()))
    assert state.arrivals == {"in998": 998, "in999": 999}  # those of the statement's own time may be told again
    state = book_step(state, bk.Reconciled(time_ms=2_000, differences=()))
    assert (state.arrivals, state.received) == (UNSET, {"USDT": 2_000})
    with pytest.raises(BookError, match="cannot have come in"):
        book_step(state, bk.Received(time_ms=3, id="x", asset="USDT", amount=0))


def test_what_is_due_is_what_flows_brought_less_what_was_moved_and_what_came_unasked():
    state = book_step(opened(), bk.Received(time_ms=3, id="in1", asset="BNB", amount=5))
    state = book_step(state, bk.CashMoved(time_ms=4, asset="USDT", amount=30, reference="m1"))
    assert state.due({"USDT": 100}) == {"USDT": 70, "BNB": -5}
    state = book_step(state, bk.CashMoved(time_ms=4, asset="BNB", amount=-5, reference="m2"))
    assert state.due({"USDT": 30}) == {}


def test_a_halt_keeps_its_first_reason_until_it_is_resumed():
    state = book_step(opened(), bk.BookHalted(time_ms=3, by="reconciliation", reason="C1"))
    state = book_step(state, bk.BookHalted(time_ms=4, by="ann", reason="lunch"))
    assert state.halted == "reconciliation: C1"
    assert book_step(state, bk.BookResumed(time_ms=5, by="ann", reason="looked")).halted == ""


def test_only_a_statement_without_differences_reconciles():
    off = bk.Difference(what="position", name="A", venue=1, ledger=0)
    state = book_step(opened(), bk.Reconciled(time_ms=7, differences=(off,)))
    assert state.reconciled_ms == 0
    assert book_step(state, bk.Reconciled(time_ms=8, differences=())).reconciled_ms == 8
