"""Firm quotes and instant dealing, with the dealing account on the other side; the token deals forward as ever."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from types import SimpleNamespace

import msgspec
import pytest
from msgspec import UNSET

import gearing as gr
from gearing.core import holder as ho
from gearing.core.holder import DEALER, Exchanged, HolderState, Quote, Quoted
from gearing.core.holder_step import HolderError, holder_step
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.quoting import why_unquoted
from gearing.desk.counter import answer
from gearing.desk.inbox import Inbox
from gearing.desk.requests import AskQuote, Deal, HandOn, Operate, Pay, TakeQuote, encode
from gearing.drive.merging import Merger, merge
from gearing.store.records import HolderLine, Request
from tests.lives import UNITS, token
from tests.test_primary import COSTS, market

SWING, FEE = 0.001, 0.0025


def line_of_holder(written):
    return msgspec.json.decode(written.body, type=HolderLine).event


def dealing(own=100_000, more_tokens=(), **more):
    """A token that gives quotes, a dealing account with money of its own, and a holder with 50,000."""
    terms = Terms(**{"quote_valid": "10s", "quote_swing": SWING, "quote_share": 1.0} | more)
    desk = market(token("A", costs=COSTS, fees=gr.Fees(creation=FEE, redemption=FEE), primary=terms), *more_tokens)
    if own:
        desk.deposit(DEALER, own)
    desk.deposit("h1", 50_000)
    return desk


def quoted(desk, side="subscribe", amount=10_000 * MINOR, name="h1"):
    return desk.primary.quotes.ask(name, desk.it, side, amount, desk.now_ms)


def taken(desk, quote, name="h1", **price):
    """Accepts a quote and lets its price come; returns the quote, or why it was rejected."""
    answered = desk.judged(TakeQuote(holder=name, id=quote.id), **price)
    return answered.quote if answered.done else answered.words


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
    assert (quote.id, quote.until_ms - desk.now_ms, quote.pricing.marks) == ("h1.q1", 10_000, (100.0,))
    assert quote.inav == state.equity * MINOR // state.balances.units
    assert quote.unit_price == pytest.approx(quote.inav * 1.001, rel=1e-9)
    assert quote.difference_pct == pytest.approx(0.1, rel=1e-6)


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


def test_a_quote_expires_and_is_accepted_once_and_by_nobody_else():
    desk = dealing()
    first = quoted(desk)
    no_quote = "{} has no open quote h1.q1; it was accepted, it is void, or there never was one"
    assert taken(desk, first, name="h2") == no_quote.format("h2")
    taken(desk, first)
    assert taken(desk, first) == no_quote.format("h1")
    second = quoted(desk)
    desk.quote(100.0, after_ms=10_001)
    assert taken(desk, second) == "quote h1.q2 has expired; request a new one"


def test_the_expiry_of_a_quote_is_compared_with_the_arrival_of_its_acceptance():
    desk = dealing()
    quote = quoted(desk)
    desk.quote(100.0, after_ms=9_999)
    assert taken(desk, quote, after_ms=5_000) == quote


@pytest.mark.parametrize(
    ("side", "mark", "void"),
    [("subscribe", 100.03, False), ("subscribe", 100.04, True), ("subscribe", 99.0, False),
     ("redeem", 99.97, False), ("redeem", 99.96, True), ("redeem", 101.0, False)],
)  # fmt: skip
def test_a_quote_is_void_once_inav_has_moved_against_the_dealing_account_by_more_than_the_swing(side, mark, void):
    """A move the other way binds: the taker pays what the quote says."""
    desk = dealing()
    name, amount = ("h1", 10_000 * MINOR) if side == "subscribe" else (ho.ISSUER, 100 * MINOR)
    quote = quoted(desk, side, amount, name=name)
    before = desk.cash(name)
    answered = taken(desk, quote, name=name, mark=mark)
    assert isinstance(answered, str) == void
    if void:
        way, moved = ("up", "+") if side == "subscribe" else ("down", "-")
        assert answered.startswith(f"quote {quote.id} is void: iNAV has moved from 100.0000 to ")
        assert answered.endswith(f"{moved}0.120%, which is more than 0.100% {way}; request a new one")
        assert desk.cash(name) == before
    else:
        assert abs(desk.cash(name) - before) == quote.cash


@pytest.mark.parametrize(("side", "mark"), [("subscribe", 100.04), ("redeem", 99.96)])
def test_the_cost_of_hedging_gives_no_room_for_a_move(side, mark):
    """The quote is 0.55 % off iNAV, of which 0.45 % are the cost; a move of 0.12 % voids it all the same."""
    desk = dealing()
    desk.it.costs = ()
    name, amount = ("h1", 10_000 * MINOR) if side == "subscribe" else (ho.ISSUER, 100 * MINOR)
    quote = quoted(desk, side, amount, name=name)
    assert abs(quote.difference_pct) == pytest.approx(0.55, rel=1e-3)
    assert "0.120%, which is more than 0.100%" in taken(desk, quote, name=name, mark=mark)


def test_a_rejected_acceptance_voids_its_quote_for_good():
    """The price comes back, and nothing is to be had for it; the journal says why."""
    desk = dealing()
    quote = quoted(desk)
    assert "is void" in taken(desk, quote, mark=101.0)
    assert desk.primary.holders["h1"].state.open_quote is UNSET
    *_, voided = [line_of_holder(one) for one in desk.effects.lines if one.stream == "holder:h1"]
    assert (type(voided), voided.id) == (ho.QuoteVoided, "h1.q1")
    assert "iNAV has moved" in voided.reason
    assert "has no open quote" in taken(desk, quote, mark=100.0)
    assert desk.units("h1") == 0


def test_a_new_quote_voids_the_open_one_over_all_tokens():
    other = msgspec.structs.replace(token("A", costs=COSTS, primary=Terms(quote_valid="10s")), symbol="U")
    desk = dealing(more_tokens=(other,))
    first = quoted(desk)
    second = desk.primary.quotes.ask("h1", desk.tokens[1], "subscribe", 100 * MINOR, desk.now_ms)
    assert "has no open quote h1.q1" in taken(desk, first)
    state = desk.primary.holders["h1"].state
    assert (state.open_quote, list(desk.primary.quotes._given.values())) == (second, [second])
    assert taken(desk, second) == second


def test_an_omnibus_holder_and_its_sub_holders_have_a_quote_each():
    desk = dealing()
    for name in ("EX", "EX/c1"):
        desk.deposit(name, 20_000)
    quotes = [quoted(desk, amount=1_000 * MINOR, name=name) for name in ("EX", "EX/c1")]
    assert [taken(desk, quote, name=name) for name, quote in zip(("EX", "EX/c1"), quotes, strict=True)] == quotes


def test_a_quote_names_the_one_that_it_replaces():
    terms = {"token": "T", "side": "subscribe", "asset": "USDT", "units": 5, "cash": 100, "fee": 1, "inav": 9,
             "until_ms": 9}  # fmt: skip
    state = holder_step(HolderState(), Quoted(time_ms=1, quote=Quote(id="q1", **terms))).state
    for replaces in ("", "q2"):
        with pytest.raises(HolderError, match="but the open quote is q1"):
            holder_step(state, Quoted(time_ms=2, quote=Quote(id="q2", **terms), replaces=replaces))
    after = holder_step(state, Quoted(time_ms=2, quote=Quote(id="q2", **terms), replaces="q1")).state
    assert (after.open_quote.id, after.quoted) == ("q2", 2)
    with pytest.raises(HolderError, match="q1 is not the open quote"):
        holder_step(after, ho.QuoteVoided(time_ms=3, id="q1", reason="x"))
    assert holder_step(after, ho.QuoteVoided(time_ms=3, id="q2", reason="x")).state.open_quote is UNSET


def test_a_dealing_account_that_cannot_cover_it_gives_no_quote_and_forward_applies():
    desk = dealing(own=5_000)
    assert quoted(desk, amount=10_000 * MINOR) == (
        "the dealing account is exhausted: of its 5,000.00000000 USDT free, 0.00000000 are set aside already, and this "
        "would need 10,044.99999998; forward applies"
    )
    assert isinstance(quoted(desk, amount=4_000 * MINOR), Quote)
    asked = Deal(holder="h1", token="T", side="subscribe", amount=10_000 * MINOR, instant=True)
    answered = desk.judged(asked)
    assert answered.done
    assert answered.words.startswith("Not at once: the dealing account is exhausted")
    assert "forward applies. h1.1 is accepted, number 1 of the subscriptions that wait in T." in answered.words


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
    answered = desk.judged(asked)
    assert answered.words == "h1 gets 99.65034965 T for 10,000.00000000 USDT, including a fee of 25.00000000."
    for name in ("h1", DEALER):
        assert desk.primary.holders[name].state.balances == twin.primary.holders[name].state.balances


def test_at_once_is_priced_at_the_first_price_after_its_arrival():
    desk = dealing()
    asked = Deal(holder="h1", token="T", side="subscribe", amount=10_000 * MINOR, instant=True)
    answers = desk.submit(asked)
    assert answers == []
    desk.quote(101.0, after_ms=0)  # a price of the same instant may have been known when it was asked
    assert answers == []
    desk.quote(101.0, after_ms=1)
    assert answers[0].quote.inav == pytest.approx(103 * MINOR, rel=1e-9)


def test_who_wants_both_ways_at_once_loses_swing_and_fee():
    desk = dealing()
    taken(desk, quoted(desk))
    assert isinstance(taken(desk, quoted(desk, "redeem", desk.units("h1"))), Quote)
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


def test_there_is_no_quote_while_another_token_of_the_book_trades():
    other = msgspec.structs.replace(token("A", costs=COSTS), symbol="U")
    desk = dealing(more_tokens=(other,))
    desk.deposit("h2", 50_000)
    assert not isinstance(desk.ask("h2", "subscribe", 10_000 * MINOR, "U"), str)
    desk.steady()
    assert desk.quote(100.0, after_ms=1)
    assert not desk.it.state.is_working
    assert "T is trading" in str(quoted(desk))


def test_a_token_whose_order_may_still_be_filled_gives_no_quotes_as_it_stands():
    desk = dealing()
    assert why_unquoted(desk.it.spec, desk.it.state) == ""
    desk.ask("h1", "subscribe", 10_000 * MINOR)
    desk.steady()
    assert desk.quote(100.0, after_ms=1)
    assert "T is trading" in why_unquoted(desk.it.spec, desk.it.state)


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
    quote = Quote(id="q", token="T", side="subscribe", asset="USDT", units=5, cash=100, fee=1, inav=9,
                  until_ms=9)  # fmt: skip
    state = holder_step(HolderState(balances={"cash:USDT:free": 100, "cash:USDT:outside": -100}),
                        Quoted(time_ms=1, quote=quote)).state  # fmt: skip
    event = Exchanged(time_ms=2, id="q", token="T", asset="USDT", units=5, cash=-99, fee=1, other=DEALER,
                      bearing=ho.Bearing(nav=1, level=1.0, parts=()))  # fmt: skip
    for other in ({}, {"cash": -100, "token": "U"}, {"cash": -100, "asset": "USDC"}, {"cash": 100, "units": -5}):
        with pytest.raises(HolderError, match="no quote q says that"):
            holder_step(state, msgspec.structs.replace(event, **other))


def test_the_counter_states_a_quote_and_what_was_dealt():
    desk = dealing()
    told = answer(desk.driver, AskQuote(holder="h1", token="T", side="subscribe", amount=10_000 * MINOR), desk.now_ms)
    assert told.words == (
        "h1.q1: h1 gets 99.65034965 T for 10,000.00000000 USDT, including a fee of 25.00000000; 100.1 per unit "
        "before the fee, 0.100 % above iNAV (100). It is judged at the first price after its acceptance, and void if "
        "iNAV has risen by more than 0.100% by then."
    )
    done = desk.judged(TakeQuote(holder="h1", id=told.id))
    assert done.words == "h1 gets 99.65034965 T for 10,000.00000000 USDT, including a fee of 25.00000000."
    assert not desk.judged(TakeQuote(holder="h1", id=told.id)).done


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


def test_a_merger_voids_quotes_and_what_is_to_be_dealt_at_once_for_units_as_they_were():
    other = token("B", costs=COSTS, primary=Terms(quote_valid="10s"))
    desk = dealing(more_tokens=(msgspec.structs.replace(other, symbol="T2"),))
    desk.deposit("h2", 50_000)
    desk.deposit("h3", 50_000)
    taken(desk, quoted(desk))
    desk.window()
    quote = quoted(desk, name="h2")
    kept = desk.primary.quotes.ask("h3", desk.driver.by_name["T2"], "subscribe", MINOR * 10, desk.now_ms)
    accepts = desk.submit(TakeQuote(holder="h2", id=quote.id))
    redeems = desk.submit(Deal(holder="h1", token="T", side="redeem", amount=desk.units("h1") // 10, instant=True))
    desk.now_ms += 1
    assert isinstance(merge(desk.driver, desk.it, 10.0, "ann", "too small", desk.now_ms), Merger)
    merged = desk.units("h1")
    assert desk.primary.state_of("h2").open_quote is UNSET
    assert desk.primary.state_of("h3").open_quote == kept
    assert (accepts, redeems) == ([], [])
    desk.quote(100.0, 100.0)
    assert [one.done for one in (*accepts, *redeems)] == [False, False]
    assert accepts[0].words.startswith("h2 has no open quote h2.q1")
    assert redeems[0].words == (
        "units of T were merged after this was sent, and nothing was done; look how many there are now"
    )
    assert (desk.units("h1"), desk.primary.state_of("h1").requests) == (merged, {})


def test_units_are_merged_though_the_dealing_account_is_short_of_some():
    """Else whoever deals at once in every window would put a merger off for ever."""
    desk = dealing()
    quote = taken(desk, quoted(desk))
    lent, issued, worth = -short(desk), desk.it.state.balances.units, desk.it.state.equity
    assert lent == quote.units > 0
    merged = merge(desk.driver, desk.it, 7.0, "ann", "too small", desk.now_ms)
    assert isinstance(merged, Merger)
    assert short(desk) == -lent // 7  # rounded down, as what everybody has
    assert sum(desk.primary.state_of(name).held_units("T") for name in desk.primary.holders) == merged.units
    assert desk.it.state.balances.units == merged.units
    assert issued - 7 * 3 * MINOR / 1e6 <= 7 * merged.units <= issued
    assert 0 <= worth - desk.it.state.equity == merged.cash
    desk.window()
    assert short(desk) == 0
    assert desk.it.state.status == "open"


@pytest.mark.parametrize(("side", "leaves"), [("subscribe", "paid out"), *itertools.product(
    ("subscribe", "redeem"), ("transferred", "requested", "dealt"))])  # fmt: skip
def test_a_quote_is_void_once_what_it_was_to_be_dealt_with_has_left(side, leaves):
    """So the same money, passed on and on, opens no second quote beside the first."""
    desk = dealing()
    taken(desk, quoted(desk))
    has = desk.cash("h1") if side == "subscribe" else desk.units("h1")
    quote = quoted(desk, side, has)
    aside = desk.primary.quotes.set_aside(desk.now_ms)
    half = has // 2
    command = {
        "paid out": Pay(holder="h1", asset="USDT", amount=-half, reference="r", by="ann"),
        "transferred": HandOn(holder="h1", other="h2", amount=half, reference="r",
                              **({"asset": "USDT"} if side == "subscribe" else {"token": "T"})),
        "requested": Deal(holder="h1", token="T", side=side, amount=half),
        "dealt": Deal(holder="h1", token="T", side=side, amount=half, instant=True),
    }[leaves]  # fmt: skip
    assert desk.judged(command).done
    assert desk.primary.state_of("h1").quote(quote.id) is None
    assert desk.primary.quotes.set_aside(desk.now_ms).for_quotes.get("USDT", 0) < aside.for_quotes["USDT"]


def test_a_quote_stays_while_its_holder_has_what_it_is_dealt_with():
    desk = dealing()
    quote = quoted(desk, amount=10_000 * MINOR)
    assert desk.judged(Pay(holder="h1", asset="USDT", amount=-40_000 * MINOR, reference="r", by="ann")).done
    assert taken(desk, quote) == quote
