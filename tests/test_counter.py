"""The counter of the primary market: whatever is asked is done or refused in words, and never ends the desk."""

from __future__ import annotations

import pytest

import gearing as gr
from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.dealing import bearing
from gearing.core.holder_step import HolderError
from gearing.core.money import INT64_MAX, MINOR
from gearing.core.step_result import StepError
from gearing.desk.counter import answer
from gearing.desk.requests import Cancel, Deal, HandOn, Pay
from tests.lives import UNITS, token
from tests.test_dealing import Dealt
from tests.test_primary import market


def pay(amount, holder="h1", asset="USDT", reference="r1"):
    return Pay(holder=holder, asset=asset, amount=amount * MINOR, reference=reference, by="ann")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (pay(5, holder="h 1"), "a holder's id is 1 to 64 letters, digits, - and _, and may have"),
        (pay(5, holder="h 1"), "a sub-holder's after a /, not 'h 1'"),
        (pay(5, holder="EX/a/b"), "not 'EX/a/b'"),
        (pay(5, holder="EX/"), "not 'EX/'"),
        (pay(5, holder="EX/*"), "not 'EX/*'"),
        (pay(5, holder="issuer/a"), "the issuer has no sub-holders"),
        (HandOn(holder="h1", other="issuer/a", asset="USDT", amount=1, reference="t"), "the issuer has no sub-holders"),
        (HandOn(holder="h1", other="h 2", asset="USDT", amount=1, reference="t"), "not 'h 2'"),
        (pay(5, asset="US:DT"), "a currency is 1 to 32 letters and digits, not 'US:DT'"),
        (pay(5, reference=" "), "with a reference and a name"),
        (pay(0), "has an amount and a reference"),
        (pay(-120), "h1 has 100.00000000 USDT free, and is to be paid 120.00000000"),
        (pay(INT64_MAX // MINOR), "more than an account holds"),
        (Deal(holder="h1", token="X", side="subscribe", amount=1), "there is no token X; there are T"),
        (Deal(holder="h1", token="T", side="redeem", amount=1), "has 0.00000000 units of T free"),
        (Deal(holder="h1", token="T", side="subscribe", amount=0), "the amount must be positive, not 0.0"),
        (Cancel(holder="h1", id="h1.7"), "h1 has no request h1.7"),
        (HandOn(holder="h1", other="h1", asset="USDT", amount=1, reference="t"), "sender and recipient"),
        (HandOn(holder="h1", other="h2", asset="US:DT", amount=1, reference="t"), "h1 has 0.00000000 US:DT free"),
        (HandOn(holder="h1", other="h2", token="X", amount=1, reference="t"), "there is no token X"),
        (HandOn(holder="h1", other="h2", amount=1, reference="t"), "of units or of money"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why_and_leaves_everything_as_it_is(wanted, words):
    desk = market()
    desk.deposit("h1", 100)
    before = {name: one.state for name, one in desk.primary.holders.items()}
    answered = answer(desk.driver, wanted, desk.now_ms)
    assert not answered.done
    assert words in answered.words
    assert {name: one.state for name, one in desk.primary.holders.items()} == before


def test_a_transfer_that_the_other_cannot_take_takes_nothing():
    desk = market()
    desk.deposit("h1", 100)
    desk.deposit("h2", INT64_MAX // 4 // MINOR)
    answered = answer(desk.driver, HandOn(holder="h1", other="h2", asset="USDT", amount=100 * MINOR, reference="t"),
                      desk.now_ms)  # fmt: skip
    assert not answered.done
    assert desk.cash("h1") == 100 * MINOR


def owing():
    """A token that owes its issuer a day's fee."""
    life = Dealt(token(fees=gr.Fees(management_per_day=0.01))).opened()
    life.mark(100.0, after_ms=24 * 3_600_000)
    life.trade(life.orders)
    return life, -life.state.balances.fees


def test_fees_are_taken_in_money_in_units_or_for_units_that_are_burned():
    life, owed = owing()
    assert owed == 10_000 * MINOR
    nav, third = life.nav, owed // 3
    life.do(ev.FeesTaken(time_ms=life.now_ms, amount=third, how="cash", by="ann"))
    assert (life.nav, life.state.brought) == (nav, -third)
    units = third * life.state.balances.units // life.state.equity
    life.do(ev.FeesTaken(time_ms=life.now_ms, amount=third, how="units", units=units, by="ann"))
    assert life.state.balances.units == UNITS + units
    assert 0 <= life.nav - nav < 1e-6
    before = bearing(life.spec, life.state)
    life.do(ev.FeesTaken(time_ms=life.now_ms, amount=third, how="burn", units=units, by="ann"))
    after = bearing(life.spec, life.state)
    # What is burned was bought with fees: those who stay have it, as a fee that was given back.
    rise = third / MINOR / (UNITS / MINOR)
    assert (after.nav - before.nav) / MINOR == pytest.approx(rise, rel=1e-5)
    assert sum(after.parts) - sum(before.parts) == pytest.approx(rise, rel=1e-5)
    assert -life.state.balances.fees == owed - 3 * third


@pytest.mark.parametrize(("how", "more", "units"), [("cash", 1, 0), ("units", 0, 10**12), ("burn", 0, 0)])
def test_no_more_is_taken_than_is_owed(how, more, units):
    life, owed = owing()
    with pytest.raises(StepError):
        life.do(ev.FeesTaken(time_ms=life.now_ms, amount=owed + more, how=how, units=units, by="ann"))


def test_the_issuers_units_are_as_real_as_anybodys():
    desk = market()
    has = desk.units(ho.ISSUER)
    wanted = HandOn(holder=ho.ISSUER, other="h1", token="T", amount=has + 1, reference="t")
    assert not answer(desk.driver, wanted, desk.now_ms).done
    with pytest.raises(HolderError):
        desk.primary.post(ho.ISSUER, ho.Handed(time_ms=desk.now_ms, token="T", units=-has - 1, other="h1",
                                               reference="t"))  # fmt: skip
