"""Adoption: what the venue holds beyond the ledger is taken over as an operator asked, whole or not at all."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import UNSET

from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core.book import BookError, Difference, book_step
from gearing.core.money import MINOR
from gearing.core.state import Dealing
from gearing.core.step import step
from gearing.core.step_result import StepError
from gearing.desk import issuer
from gearing.desk.operable import why_book_stays_halted, why_not
from gearing.desk.requests import Adopt, Operate
from gearing.drive.reconciling import differences, due_cash, words_of
from gearing.store.recompute import Leg, Portfolio, follow
from gearing.venues.protocol import Quote
from tests.desks import Desk, stated
from tests.lives import token

RESERVE = 10_000 * MINOR


def named(symbol, target, *legs):
    return msgspec.structs.replace(token(*(legs or ("A",)), target=target), symbol=symbol)


def at_venue(desk, positions=None, cash=0, paid=0):
    """Returns the statement of a venue that has other positions, and other cash, than the desk knows."""
    held = {}
    for running in desk.tokens:
        for symbol, leg in zip(running.symbols, running.state.legs, strict=True):
            held[symbol] = held.get(symbol, 0) + leg.lots
    good = stated(desk, {**held, **(positions or {})})
    return msgspec.structs.replace(good, wallet={"USDT": good.wallet["USDT"] + cash}, costs={
        "USDT": good.costs["USDT"] + paid})  # fmt: skip


def halted(*tokens, **venue):
    """Returns a desk whose book the reconciliation has halted."""
    desk = Desk(*(tokens or (named("T", 3.0),))).opened()
    desk.driver.on_statement(desk.book, at_venue(desk, **venue))
    assert desk.book.state.halted
    desk.take()
    return desk


def adopt(desk, *tokens, reserve=RESERVE, seen=None, **more):
    seen = desk.book.state.differences if seen is None else seen
    asked = Adopt(book="main", differences=() if seen is UNSET else tuple(seen), tokens=tokens, by="ann", reason="why")
    return issuer.answer(desk.driver, msgspec.structs.replace(asked, **more), desk.now_ms, reserve)


def moved(desk, statement):
    """Returns the statement after the money that is due was moved."""
    due = due_cash(desk.book)
    for asset, amount in due.items():
        event = bk.CashMoved(time_ms=desk.now_ms, asset=asset, amount=amount, reference="m1")
        desk.driver.note(desk.book, event)
    wallet = {asset: amount + due.get(asset, 0) for asset, amount in statement.wallet.items()}
    return msgspec.structs.replace(statement, wallet=wallet)


CASES = [({"A": 35_000_000}, 0, 499_000 * MINOR), ({"A": 29_999_999}, 0, 0), ({"A": 0}, -700, -3_000_000 * MINOR),
         ({"A": -5}, 123, -3_000_000 * MINOR), ({}, 4_200, 0), ({}, -4_200, 0), ({}, 0, 17)]  # fmt: skip


@pytest.mark.parametrize(("positions", "cash", "paid"), CASES)
@pytest.mark.parametrize("bearers", [(), ("T",)])
def test_after_an_adoption_ledger_and_venue_agree_and_the_book_trades(positions, cash, paid, bearers):
    desk = halted(positions=positions, cash=cash, paid=paid)
    statement, equity = desk.book.statement, desk.it.state.equity
    answered = adopt(desk, *bearers, reserve=10**15)
    assert answered.done, answered.words
    assert desk.book.state.halted == ""
    assert desk.book.state.differences is UNSET
    statement = moved(desk, statement)
    assert differences(desk.book, statement) == ()
    assert desk.lots == [positions.get("A", 30_000_000)]
    if not bearers:  # holders have neither lost nor gained, but for the rounding of a trade
        assert abs(desk.it.state.equity - equity) <= 1
    desk.driver.on_statement(desk.book, statement)
    assert desk.book.state.halted == ""
    orders = desk.quote(100.0)
    assert sum(order.lots for order in orders) == pytest.approx(30_000_000 - desk.lots[0], rel=0.05, abs=500_000)


def test_what_differs_goes_to_the_token_that_is_named_and_to_no_other():
    desk = halted(named("L", 3.0), named("M", 2.0), positions={"A": 50_000_001}, cash=-999)
    before = [one.state for one in desk.tokens]
    answered = adopt(desk, "M")
    assert answered.words == (
        "Book main has adopted what its venue holds, and trades again: token M took +0.001 A and received 0.09999001 "
        "USDT."
    )
    first, second = (one.state for one in desk.tokens)
    assert first == before[0]
    assert second.legs[0].lots == before[1].legs[0].lots + 1
    assert differences(desk.book, desk.book.statement) == ()
    assert desk.book.state.received is UNSET


@given(some.integers(-60_000_000, 60_000_000), some.integers(-(10**9), 10**9), some.booleans())
def test_positions_are_shared_by_those_who_hold_them_and_sum_to_what_differs(lots, cash, named_all):
    desk = Desk(named("L", 3.0), named("M", 2.0), named("S", -1.0)).opened()
    held = sum(one.state.legs[0].lots for one in desk.tokens)
    if lots == 0 and cash == 0:
        return
    desk.driver.on_statement(desk.book, at_venue(desk, {"A": held + lots}, cash, lots * 10 * MINOR // 100))
    answered = adopt(desk, *(("L", "M", "S") if named_all else ()), reserve=10**18)
    assert answered.done, answered.words
    assert sum(one.state.legs[0].lots for one in desk.tokens) == held + lots
    assert differences(desk.book, moved(desk, desk.book.statement)) == ()


def test_nothing_is_adopted_but_what_was_seen():
    desk = halted(positions={"A": 35_000_000})
    before = desk.it.state
    (one,) = desk.book.state.differences[:1]
    for seen in ((), (msgspec.structs.replace(one, venue=one.venue + 1),),
                 (*desk.book.state.differences, Difference(what="cash", name="USDC", venue=1, ledger=0))):  # fmt: skip
        answered = adopt(desk, seen=seen)
        assert not answered.done
        assert "another one than was shown: A: 35,000,000 lots at the venue, 30,000,000 lots by the ledger" in (
            answered.words
        )
    assert desk.it.state is before
    assert desk.book.state.halted


def refused(desk, *tokens, **more):
    states = [one.state for one in desk.tokens], desk.book.state
    answered = adopt(desk, *tokens, **more)
    assert not answered.done
    assert ([one.state for one in desk.tokens], desk.book.state) == states
    return answered.words


def test_an_adoption_that_cannot_be_is_rejected_whole_and_says_why():
    lacking = 2_000_000 * MINOR
    assert refused(halted(cash=-lacking)) == (
        "2,000,000.00000000 USDT is missing, and the reserve has 10,000.00000000: name the tokens that bear it"
    )
    assert refused(halted(cash=-lacking), "T") == "T cannot take it: it would have no equity left"
    assert refused(halted(positions={"Z": 7})) == (
        "no token of main can take +7 lots of Z: trade them away at the venue"
    )
    two = halted(named("L", 3.0, "A"), named("B", 3.0, "B"), positions={"A": 1})
    assert "no token of the tokens that were named can take" in refused(two, "B")
    assert refused(two, "X") == "main has no token X; it has L, B"
    assert refused(halted(cash=1), by=" ") == "main is not touched without a name and a reason"
    assert refused(halted(cash=1), book="other") == "there is no book other; there are main"
    fresh = Desk(named("T", 3.0)).opened()
    assert "has not been read yet" in refused(fresh, seen=())
    fresh.driver.on_statement(fresh.book, at_venue(fresh))
    assert refused(fresh, seen=()) == "the ledger of main agrees with its venue: there is nothing to adopt"


def test_positions_are_adopted_at_a_good_price_only():
    desk = halted(positions={"A": 35_000_000})
    desk.now_ms += 3_600_000
    desk.driver.market.now_ms = desk.now_ms
    assert refused(desk) == "T has no good price now; its position is booked at the mark"


def test_positions_are_adopted_at_no_mark_that_is_apart_from_the_fair_price():
    desk = halted(positions={"A": 35_000_000}, paid=500_000 * MINOR)
    desk.now_ms += 1_000
    desk.driver.on_quotes([Quote(symbol="A", time_ms=desk.now_ms, mark=101.9, index=100.0)], desk.now_ms)
    assert "mark, index and fair price of T are more than 0.500% apart now" in refused(desk)


def test_a_token_that_is_over_takes_nothing():
    desk = Desk(named("T", 3.0)).opened()
    legs = tuple(msgspec.structs.replace(leg, lots=0, basis=0) for leg in desk.it.state.legs)
    desk.it.state = msgspec.structs.replace(desk.it.state, legs=legs, status="closed")
    desk.driver.on_statement(desk.book, at_venue(desk, {"A": 3}))
    assert "no token of main can take +3 lots of A" in refused(desk)


def test_the_journal_says_who_adopted_what_and_recomputes():
    desk = Desk(named("L", 3.0), named("M", 2.0)).opened()
    desk.driver.on_statement(desk.book, at_venue(desk, {"A": 10_000_000}, -999, -4_000_000 * MINOR))
    before = [one.state for one in desk.tokens]
    assert adopt(desk).done
    desk.take()
    books = [line for line in desk.effects.lines if line.stream == "book:main"]
    assert b'"differences_adopted"' in books[-2].body
    assert b'"book_resumed"' in books[-1].body
    for running, was in zip(desk.tokens, before, strict=True):
        portfolio, found = Portfolio(), []
        portfolio.wallet = was.balances.wallet
        portfolio.legs = [Leg(leg.lot_size, Decimal(leg.mark), leg.lots, leg.basis) for leg in was.legs]
        (line,) = [json.loads(line.body, parse_float=Decimal) for line in desk.lines
                   if line.stream == running.stream and b'"adopted"' in line.body]  # fmt: skip
        assert (line["event"]["by"], line["event"]["reason"]) == ("ann", "why")
        follow(portfolio, line["event"], lambda *one, kept=found: kept.append(one))
        assert found == []
        (leg,) = running.state.legs
        assert (portfolio.legs[0].lots, portfolio.legs[0].cost) == (leg.lots, leg.basis)
        assert (portfolio.wallet, portfolio.unrealised) == (
            running.state.balances.wallet,
            running.state.balances.unrealised,
        )


def test_an_adoption_names_somebody_and_waits_for_orders():
    desk = halted(cash=5)
    good = ev.Adopted(time_ms=desk.now_ms, lots=(0,), cash=5, prices=(100.0,), by="ann", reason="why")
    assert step(desk.it.spec, desk.it.state, good).state.equity == desk.it.state.equity + 5
    for bad in ({"by": ""}, {"reason": ""}):
        with pytest.raises(StepError, match="a name and a reason"):
            step(desk.it.spec, desk.it.state, msgspec.structs.replace(good, **bad))
    adopted = bk.DifferencesAdopted(time_ms=desk.now_ms, differences=desk.book.state.differences,
                                    received={"USDT": 5}, by="ann", reason="why")  # fmt: skip
    assert book_step(desk.book.state, adopted).received == {"USDT": 5}
    for bad in ({"by": ""}, {"reason": ""}, {"differences": ()}):
        with pytest.raises(BookError, match="a difference, a name and a reason"):
            book_step(desk.book.state, msgspec.structs.replace(adopted, **bad))
    trading = Desk(named("T", 3.0)).opened()
    (order,) = trading.quote(110.0)
    with pytest.raises(StepError, match="it is trading"):
        step(trading.it.spec, trading.it.state, good)
    assert order.id in trading.book.state.live
    trading.driver.on_statement(trading.book, at_venue(trading, cash=1))
    assert "has orders under way" in refused(trading)


RESUME = Operate(token="T", action="resume", by="ann", reason="looked into")


def why_not_resumed(desk):
    return why_not(SimpleNamespace(driver=desk.driver), desk.it, RESUME, desk.now_ms)


def test_a_book_that_differs_from_its_venue_is_not_resumed():
    desk = halted(cash=5)
    assert why_not_resumed(desk) == (
        "cannot be resumed: the venue's last statement differs from the ledger "
        f"({words_of(desk.book.state.differences)}); "
        "correct it at the venue, or adopt it with `gearing book adopt main --reason ...`"
    )
    desk.driver.on_statement(desk.book, at_venue(desk))
    assert why_not_resumed(desk) == ""


def test_a_book_that_was_not_reconciled_is_not_resumed():
    desk = halted(cash=5)
    desk.driver.on_statement(desk.book, at_venue(desk))
    statement, desk.book.statement = desk.book.statement, None
    assert "has not been reconciled since the desk started" in why_not_resumed(desk)
    desk.book.statement = statement
    assert why_not_resumed(desk) == ""


def test_a_halted_token_is_resumed_though_its_book_stays_halted_where_a_flow_waits_for_that():
    """Adoption settles the flow first, which takes a token that is open; without a flow adoption comes first."""
    desk = halted(cash=5)
    desk.driver.operate(desk.it, "halt", "ann", "look", desk.now_ms)
    assert "differs from the ledger" in why_not_resumed(desk)
    waits = Dealing(number=1, side="redeem", amount=1, units=1, first=False, accrued=(0.0,), wanted=(0,), lots=(0,))
    desk.it.state = msgspec.structs.replace(desk.it.state, dealing=waits)
    assert why_not_resumed(desk) == ""
    assert "differs from the ledger" in why_book_stays_halted(desk.book)
    desk.driver.on_statement(desk.book, at_venue(desk))
    assert why_book_stays_halted(desk.book) == ""
