"""Instant dealing: a quote binds, the dealing account is on the other side, and the token deals forward as ever."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace

import pytest

import gearing as gr
from gearing.core import holder as ho
from gearing.core.holder import DEALER, Exchanged, HolderState, Quote, Quoted
from gearing.core.holder_step import HolderError, holder_step
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.desk.counter import answer
from gearing.desk.inbox import Inbox
from gearing.desk.requests import AskQuote, Deal, Operate, TakeQuote, encode
from gearing.drive.merging import Merger, merge
from gearing.store.records import Request
from tests.lives import UNITS, token
from tests.test_primary import COSTS, market

SWING, FEE = 0.001, 0.0025


def dealing(own=100_000, **more):
    """A token that gives quotes, a dealing account with money of its own, and a holder with 50,000."""
    terms = Terms(quote_valid="10s", quote_swing=SWING, quote_move=0.002, **more)
    desk = market(token("A", costs=COSTS, fees=gr.Fees(creation=FEE, redemption=FEE), primary=terms))
    if own:
        desk.deposit(DEALER, own)
    desk.deposit("h1", 50_000)
    return desk


def quoted(desk, side="subscribe", amount=10_000 * MINOR, name="h1"):
    return desk.primary.quotes.ask(name, desk.it, side, amount, desk.now_ms)


def taken(desk, quote, name="h1"):
    return desk.primary.quotes.take(name, quote.id, desk.now_ms)


def operate(desk, action):
    desk.driver.operate(desk.it, action, "ann", "x", desk.now_ms)


def short(desk):
    return desk.primary.holders[DEALER].state.units("T", ho.SHORT)


def test_a_quote_is_inav_plus_swing_and_fee():
    desk = dealing()
    quote, state = quoted(desk), desk.it.state
    fee = math.ceil(10_000 * MINOR * Fraction("0.0025"))
    units = Fraction(10_000 * MINOR - fee) * state.balances.units / state.equity / Fraction("1.001")
    assert (quote.cash, quote.fee, quote.units) == (10_000 * MINOR, fee, math.floor(units))
    assert (quote.id, quote.until_ms - desk.now_ms, quote.marks) == ("h1.q1", 10_000, (100.0,))


def test_a_quote_to_go_out_is_inav_less_swing_and_fee():
    desk = dealing()
    taken(desk, quoted(desk))
    units = desk.units("h1")
    quote, state = quoted(desk, "redeem", units), desk.it.state
    gross = math.floor(Fraction(units * state.equity, state.balances.units) * Fraction("0.999"))
    assert (quote.units, quote.cash + quote.fee, quote.fee) == (units, gross, math.ceil(gross * Fraction("0.0025")))


def test_who_takes_a_quote_has_units_at_once_and_the_token_deals_when_the_window_ends():
    desk = dealing()
    quote, nav, issued = quoted(desk), desk.nav, desk.it.state.balances.units
    assert taken(desk, quote) == quote
    assert (desk.units("h1"), desk.cash("h1")) == (quote.units, 40_000 * MINOR)
    assert (short(desk), desk.it.state.balances.units) == (-quote.units, issued)
    assert desk.primary.supply["T"] == issued
    (order,) = desk.window()
    assert order.lots > 0
    assert desk.it.state.balances.units == pytest.approx(issued + quote.units, rel=1e-5)
    assert 0 < desk.primary.quotes.stands(desk.it) < quote.units / 500
    assert desk.nav == pytest.approx(nav, rel=1e-9)
    assert desk.nav >= nav
    assert desk.alarms == []


def test_the_token_has_what_a_forward_request_of_the_dealing_account_brings_it():
    """Its twin is asked for the same money by an ordinary holder; both end in the same state."""
    desk, twin = dealing(), dealing()
    taken(desk, quoted(desk))
    desk.quote(100.0, after_ms=59_000)
    desk.quote(100.0, after_ms=1_000)
    (asked,) = [one.amount for one in desk.primary.holders[DEALER].state.requests.values()]
    twin.ask("h1", "subscribe", asked)
    twin.quote(100.0, after_ms=60_000)
    for one in (desk, twin):
        one.filled([order for order in one.placed if order.id in one.book.state.live])
    for place in ("wallet", "fees", "capital", "dealt", "held"):
        assert getattr(desk.it.state.balances, place) == getattr(twin.it.state.balances, place), place


def test_the_dealing_account_carries_the_hedge_less_the_quote():
    """The price rises within the window: whoever dealt at once has the old one, the account bears the difference."""
    desk = dealing()
    before = desk.cash(DEALER)
    quote = quoted(desk)
    taken(desk, quote)
    desk.window(101.0)
    dealer = desk.primary.holders[DEALER].state
    worth = dealer.held_units("T") * desk.it.state.nav // MINOR
    result = (desk.cash(DEALER) + worth - before) / MINOR
    moved, hedge = -quote.cash / MINOR * 3 * 0.01, quote.cash / MINOR * 3 * 0.0015
    # Of what the quote brought, the swing is left; the fee went on to the issuer.
    assert result == pytest.approx(moved - hedge + quote.cash / MINOR * SWING, rel=0.02)


def test_a_quote_ends_is_taken_once_and_by_nobody_else():
    desk = dealing()
    first, second = quoted(desk), quoted(desk)
    assert taken(desk, first, name="h2") == "h2 has no quote h1.q1"
    taken(desk, first)
    assert taken(desk, first) == "h1 has no quote h1.q1"
    desk.quote(100.0, after_ms=10_001)
    assert taken(desk, second) == "quote h1.q2 ended 0.0 s ago"


@pytest.mark.parametrize(("mark", "void"), [(100.19, False), (99.81, False), (100.21, True), (99.79, True)])
def test_a_quote_is_void_once_the_price_has_moved_too_far(mark, void):
    desk = dealing()
    quote = quoted(desk)
    desk.quote(mark, after_ms=1_000)
    answered = taken(desk, quote)
    assert isinstance(answered, str) == void
    if void:
        assert answered == "quote h1.q1 is void: the price has moved by 0.210%, more than 0.200%"
        assert desk.units("h1") == 0


def test_what_has_ended_is_forgotten_with_the_next_quote():
    desk = dealing()
    quoted(desk)
    desk.quote(100.0, after_ms=11_000)
    quoted(desk)
    assert list(desk.primary.holders["h1"].state.quotes) == ["h1.q2"]


def test_a_dealing_account_that_cannot_cover_it_gives_no_quote_and_forward_applies():
    desk = dealing(own=500)
    assert quoted(desk, amount=10_000 * MINOR) == (
        "the dealing account is exhausted: it would have 534.97 USDT of its own, and needs 996.50; forward applies"
    )
    assert isinstance(quoted(desk, amount=4_000 * MINOR), Quote)
    assert str(quoted(desk, amount=4_000 * MINOR)).startswith("the dealing account is exhausted")  # both may be taken
    asked = Deal(holder="h1", token="T", side="subscribe", amount=10_000 * MINOR, instant=True)
    answered = answer(desk.driver, asked, desk.now_ms)
    assert answered.done
    assert answered.words.startswith("Not at once: the dealing account is exhausted")
    assert answered.words.endswith("forward applies. h1.1 is accepted; it is the next to be dealt.")


def test_going_out_is_paid_from_the_dealing_accounts_own_money():
    desk = dealing(own=2_000)
    quote = quoted(desk, "redeem", 10 * MINOR, name=ho.ISSUER)
    taken(desk, quote, name=ho.ISSUER)
    assert desk.cash(ho.ISSUER) == quote.cash
    assert str(quoted(desk, "redeem", 15 * MINOR, name=ho.ISSUER)).startswith("the dealing account is exhausted")
    nav = desk.nav
    desk.window()
    assert desk.it.state.balances.units == UNITS - 10 * MINOR
    assert desk.primary.holders[DEALER].state.held_units("T") == 0
    assert desk.nav >= nav


def test_at_once_is_the_same_as_a_quote_that_is_taken():
    desk, twin = dealing(), dealing()
    quote = quoted(twin)
    taken(twin, quote)
    asked = Deal(holder="h1", token="T", side="subscribe", amount=10_000 * MINOR, instant=True)
    answered = answer(desk.driver, asked, desk.now_ms)
    assert answered.words == "h1 gets 99.65034965 T for 10,000.00000000 USDT, 25.00000000 of it fee."
    for name in ("h1", DEALER):
        assert desk.primary.holders[name].state.balances == twin.primary.holders[name].state.balances


def test_who_wants_both_ways_at_once_loses_swing_and_fee():
    desk = dealing()
    taken(desk, quoted(desk))
    taken(desk, quoted(desk, "redeem", desk.units("h1")))
    lost = 50_000 - desk.cash("h1") / MINOR
    assert lost == pytest.approx(10_000 * 2 * (SWING + FEE), rel=0.01)
    assert desk.window() == []  # the dealing account was never open beyond it


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda desk: operate(desk, "halt"), "T is halted, and gives no quotes"),
        (lambda desk: desk.quote(106.0, after_ms=1_000), "T is trading, and gives no quotes until it has"),
        (lambda desk: None, "h1 has 50,000.00000000 USDT free"),
    ],
)  # fmt: skip
def test_there_is_no_quote_while_something_stands_against_it(prepare, words):
    desk = dealing()
    prepare(desk)
    assert words in str(quoted(desk, amount=60_000 * MINOR))


def test_while_creations_are_paused_there_are_quotes_to_go_out_alone():
    desk = dealing()
    operate(desk, "pause")
    assert quoted(desk) == "creations of T are paused"
    assert isinstance(quoted(desk, "redeem", MINOR, name=ho.ISSUER), Quote)


def test_a_token_without_terms_for_quotes_gives_none():
    desk = market()
    desk.deposit("h1", 1_000)
    assert quoted(desk, amount=MINOR) == "T gives no quotes; forward applies"


def test_caps_count_what_was_dealt_at_once():
    desk = dealing(holder_per_day=12_000.0)
    taken(desk, quoted(desk))
    refused = quoted(desk)
    assert "capped at 12,000.00 USDT a day: 2,000.00000000 is left" in refused
    desk.window()
    assert quoted(desk) == refused  # the dealing account's own request is nobody's


def test_one_holder_keeps_eight_quotes_open_at_most():
    desk = dealing()
    for _ in range(8):
        assert isinstance(quoted(desk, amount=100 * MINOR), Quote)
    assert quoted(desk, amount=100 * MINOR) == "h1 has 8 quotes open; take one, or wait until one has ended"


def test_a_dealing_account_that_lost_its_money_says_so_and_squares_as_far_as_it_goes():
    desk = dealing()
    taken(desk, quoted(desk))
    desk.primary.post(DEALER, ho.Withdrawn(time_ms=desk.now_ms, asset="USDT", amount=desk.cash(DEALER) - 4_000 * MINOR,
                                           reference="w", by="ann"))  # fmt: skip
    desk.window()
    assert any("the dealing account is short of 99.65034965 units of T, and lacks money: it has 4,000.00 of" in words
               for words in desk.alarms)  # fmt: skip
    assert -99 * MINOR < short(desk) < -50 * MINOR


def test_only_the_dealing_account_gives_out_what_is_not_there():
    desk = dealing()
    terms = {"time_ms": desk.now_ms, "token": "T", "asset": "USDT", "units": -MINOR, "cash": 100 * MINOR, "fee": 0,
             "other": "h2", "bearing": ho.Bearing(nav=1, level=1.0, parts=())}  # fmt: skip
    with pytest.raises(HolderError, match="more than is free"):
        holder_step(HolderState(), Exchanged(**terms))
    lent = holder_step(HolderState(), Exchanged(**terms, lends=True)).state
    assert lent.units("T", ho.SHORT) == -MINOR


def test_a_quote_is_dealt_by_as_it_was_given():
    quote = Quote(id="q", token="T", side="subscribe", asset="USDT", units=5, cash=100, fee=1, until_ms=9, marks=(1.0,))
    state = holder_step(HolderState(balances={"cash:USDT:free": 100, "cash:USDT:outside": -100}),
                        Quoted(time_ms=1, quote=quote)).state  # fmt: skip
    event = Exchanged(time_ms=2, id="q", token="T", asset="USDT", units=5, cash=-99, fee=1, other=DEALER,
                      bearing=ho.Bearing(nav=1, level=1.0, parts=()))  # fmt: skip
    with pytest.raises(HolderError, match="no quote q says that"):
        holder_step(state, event)


def test_the_counter_tells_a_quote_and_what_was_dealt():
    desk = dealing()
    told = answer(desk.driver, AskQuote(holder="h1", token="T", side="subscribe", amount=10_000 * MINOR), desk.now_ms)
    assert told.words == ("h1.q1: gets 99.65034965 T for 10,000.00000000 USDT, 25.00000000 of it fee, for 10 s, "
                          "void if the price moves by more than 0.200%.")  # fmt: skip
    done = answer(desk.driver, TakeQuote(holder="h1", id=told.id), desk.now_ms)
    assert done.words == "h1 gets 99.65034965 T for 10,000.00000000 USDT, 25.00000000 of it fee."
    assert not answer(desk.driver, TakeQuote(holder="h1", id=told.id), desk.now_ms).done


def test_a_token_is_not_closed_while_its_dealing_account_is_short():
    desk = dealing()
    engine = SimpleNamespace(driver=desk.driver, clock=SimpleNamespace(now_ms=lambda: desk.now_ms))
    close = encode(Operate(action="close", token="T", by="ann", reason="the end"))
    taken(desk, quoted(desk))
    answered = Inbox(engine, None).carry_out(Request(1, "ann", "k", close))
    assert answered.words == (
        "T has given out 99.65034965 units that its dealing account has not got yet; ask again later"
    )  # fmt: skip
    desk.window()
    desk.window()
    assert Inbox(engine, None).carry_out(Request(2, "ann", "l", close)).done


def test_units_are_not_merged_while_a_quote_may_be_taken_or_units_are_owed():
    desk = dealing()
    quote = quoted(desk)
    refused = merge(desk.driver, desk.it, 10.0, "ann", "too small", desk.now_ms)
    assert refused == "a quote of it may still be taken; ask again once that has ended"
    taken(desk, quote)
    assert "ask again once they are the same" in merge(desk.driver, desk.it, 10.0, "ann", "too small", desk.now_ms)
    desk.window()
    assert isinstance(merge(desk.driver, desk.it, 10.0, "ann", "too small", desk.now_ms), Merger)
