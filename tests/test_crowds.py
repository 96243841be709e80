"""Load from one: how many requests may wait, how many one dealing takes, and in whose turn."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearing.core.journal import line_of
from gearing.core.money import MINOR
from gearing.core.netting import Ask, taken_in_turn
from gearing.core.primary import Primary as Terms
from gearing.desk.boot import boot
from gearing.desk.requests import AskQuote, Deal, HandOn, Pay
from gearing.drive.crowds import OF_HOLDER_IN_TOKEN, crowds_of, why_crowded
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from gearing.store.records import flows_line_of
from gearing.venues.protocol import Quote
from tests.lives import token
from tests.test_matching import Fair
from tests.test_primary import COSTS, Market, market
from tests.test_store_dealing import kept

__all__ = ["kept"]


def deal(desk, name, amount=10 * MINOR, side="subscribe"):
    (answered,) = desk.submit(Deal(holder=name, token="T", side=side, amount=amount))
    return answered


# How many may wait.


def test_a_holder_has_so_many_requests_in_a_token_and_is_told_by_a_code():
    desk = market()
    for name in ("h1", "h2"):
        desk.deposit(name, 100_000)
    assert all(deal(desk, "h1").done for _ in range(OF_HOLDER_IN_TOKEN))
    rejected = deal(desk, "h1")
    assert (rejected.done, rejected.code) == (False, "waiting_of_holder_in_token")
    assert rejected.words == "32 requests of h1 in T wait already, and no more may; ask again once some were dealt"
    assert deal(desk, "h2").done
    assert desk.primary.cancel("h1", "h1.7", desk.now_ms) == ""
    assert deal(desk, "h1").done
    assert not deal(desk, "h1").done
    desk.window()
    assert desk.primary._crowds == {}
    assert deal(desk, "h1").done


def test_nobody_keeps_others_out_by_number_and_leaves_again(monkeypatch):
    monkeypatch.setattr("gearing.drive.crowds.OF_TOKEN", 3)
    desk = market()
    for name in ("evil", "h1"):
        desk.deposit(name, 100_000)
    for _ in range(3):
        deal(desk, "evil")
    assert desk.primary.cancel("evil", "evil.3", desk.now_ms) == ""
    deal(desk, "evil")
    desk.now_ms += 1
    assert deal(desk, "h1").code == "waiting_in_token"
    assert "stays until it is dealt" in desk.primary.cancel("evil", "evil.1", desk.now_ms)


def test_what_waits_counts_after_a_restart_too(kept):
    kept.deposit("h1", 20_000)
    for _ in range(OF_HOLDER_IN_TOKEN):
        kept.ask("h1", "subscribe", 10 * MINOR)
    kept.take()
    again = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms).driver
    assert again.primary._crowds == kept.primary._crowds
    assert again.primary.request("h1", "T", "subscribe", 10 * MINOR, kept.now_ms).code == "waiting_of_holder_in_token"


@pytest.mark.parametrize(("key", "most", "code"), [
    (("EX/c1", "T"), 32, "waiting_of_holder_in_token"),
    (("EX/c1", ""), 256, "waiting_of_holder"),
    (("EX/*", "T"), 5_000, "waiting_of_omnibus_in_token"),
    (("", "T"), 10_000, "waiting_in_token"),
])  # fmt: skip
def test_each_crowd_has_its_bound_and_its_code(key, most, code):
    assert why_crowded({key: most - 1}, "EX/c1", "T") is None
    assert why_crowded({key: most}, "EX/c1", "T").code == code
    assert why_crowded({key: most}, "other/c1", "U") is None


def test_an_omnibus_counts_with_its_sub_holders():
    (of_omnibus,) = {crowd.key for name in ("EX", "EX/c1", "EX/c2") for crowd in crowds_of(name, "T")
                     if crowd.code == "waiting_of_omnibus_in_token"}  # fmt: skip
    assert of_omnibus == ("EX/*", "T")


def test_a_command_that_is_taken_back_counts_nothing():
    desk = market()
    desk.deposit("h1", 100_000)

    def fails():
        desk.ask("h1", "subscribe", 10 * MINOR)
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        desk.driver.atomically(fails)
    assert desk.primary._crowds == {}
    assert desk.primary.queue("T").sides == []


# The least redemption.


def test_less_than_half_a_lot_hedges_is_redeemed_only_as_all_that_a_holder_has_once_a_day():
    """A lot is worth 0.1, and leverage is 3: a sixtieth."""
    desk = market()
    desk.deposit("h1", 10_000)
    desk.ask("h1", "subscribe", 5_000 * MINOR)
    desk.window()
    least = int(MINOR / 6_000)  # units of about 100 each
    assert "the least redemption of T is 0.01666" in desk.ask("h1", "redeem", least - 1_000)
    assert not isinstance(desk.ask("h1", "redeem", desk.units("h1") - least // 2), str)
    desk.window()
    assert 0 < desk.units("h1") < least
    assert "as its first redemption of a day" in desk.ask("h1", "redeem", desk.units("h1"))
    desk.filled(desk.quote(100.0, after_ms=86_400_000))
    assert "the least redemption" in desk.ask("h1", "redeem", desk.units("h1") - 1)
    assert not isinstance(desk.ask("h1", "redeem", desk.units("h1")), str)
    desk.window()
    assert desk.units("h1") == 0


def test_the_least_redemption_is_a_term():
    desk = market(token("A", costs=COSTS, primary=Terms(least_redemption=50.0)))
    desk.deposit("h1", 10_000)
    desk.ask("h1", "subscribe", 5_000 * MINOR)
    desk.window()
    assert "the least redemption of T is 50 USDT" in desk.ask("h1", "redeem", MINOR // 3)
    assert not isinstance(desk.ask("h1", "redeem", MINOR), str)


# How many one dealing takes.


@given(st.lists(st.tuples(st.sampled_from(["subscribe", "redeem"]), st.sampled_from("abcde")), max_size=60),
       st.integers(2, 20))  # fmt: skip
def test_both_sides_are_taken_in_proportion_and_holders_in_turn(asked, most):
    asks = [Ask(name, f"{name}.{n}", side, 1) for n, (side, name) in enumerate(asked)]
    taken = taken_in_turn(asks, most)
    assert taken == sorted(taken, key=asks.index)
    if len(asks) <= most:
        assert taken == asks
        return
    every, some = Counter(ask.side for ask in asks), Counter(ask.side for ask in taken)
    assert len(taken) == most
    for side, number in every.items():
        assert some[side] >= 1
        assert abs(some[side] - most * number / len(asks)) <= 1
        of_side = [ask for ask in asks if ask.side == side]
        had = Counter(ask.holder for ask in taken if ask.side == side)
        has = Counter(ask.holder for ask in of_side)
        for one in has:
            for other in has:  # nobody has two more than another who has any left
                assert had[one] <= had[other] + 1 or had[other] == has[other]
            mine = [ask for ask in of_side if ask.holder == one]
            assert [ask for ask in taken if ask.side == side and ask.holder == one] == mine[: had[one]]


def test_what_one_dealing_does_not_take_follows_at_the_next_prices(monkeypatch):
    """Of 40 requests, 10 at a time: one holder's many do not keep those of others waiting."""
    monkeypatch.setattr("gearing.drive.dealings._ENOUGH", 10)
    desk = Fair()
    desk.to_second(5)
    desk.deposit("many", 100_000)
    for _ in range(30):
        desk.ask("many", "subscribe", 10 * MINOR)
    for number in range(10):
        desk.deposit(f"one{number}", 1_000)
        desk.ask(f"one{number}", "subscribe", 10 * MINOR)
    desk.to_second(0)
    while desk.primary.queue("T").waiting:
        desk.seconds(1)
    lines = [line.body for line in desk.lines if b'"dealing_begun"' in line.body][1:]
    assert [line_of(body).event.count for body in lines] == [10] * 4
    begun = [flows_line_of(line.body).event for line in desk.flows][1:]
    assert [len(one.parts) for one in begun] == [10] * 4
    assert desk.now_ms % 60_000 < 15_000
    assert {part.holder for part in begun[0].parts} == {"many", *(f"one{n}" for n in range(9))}
    assert [sum(part.holder == "many" for part in one.parts) for one in begun] == [1, 9, 10, 10]


# Dealings at once, and open quotes.


def at_once(names=4, **bounds):
    desk = Fair(quote_valid="10s")
    desk.deposit("dealer", 300_000)
    for number in range(names):
        desk.deposit(f"o/{number}", 1_000)
    desk.deposit("h3", 1_000)
    desk.to_second(40)
    return desk


def instant(desk, name):
    return desk.submit(Deal(holder=name, token="T", side="subscribe", amount=100 * MINOR, instant=True))


def test_so_many_dealings_at_once_wait_for_a_price_and_no_more(monkeypatch):
    monkeypatch.setattr("gearing.drive.acceptances.OF_OMNIBUS", 2)
    monkeypatch.setattr("gearing.drive.acceptances.IN_ALL", 3)
    desk = at_once()
    waiting = [instant(desk, name) for name in ("o/0", "o/1")]
    (crowded,) = instant(desk, "o/2")
    assert crowded.words.startswith("Not at once: 2 dealings at once of o and its sub-holders wait for their price")
    waiting.append(instant(desk, "h3"))
    (crowded,) = instant(desk, "h1")
    assert crowded.words.startswith("Not at once: 3 dealings at once wait for their price already")
    assert waiting == [[], [], []]
    desk.seconds(1)
    assert all(answers[0].quote is not None for answers in waiting)
    assert instant(desk, "o/3") == []  # and now there is room again


def test_who_has_not_what_it_deals_takes_up_no_place():
    desk = at_once()
    (answered,) = instant(desk, "nobody")
    assert "there is no holder nobody" in answered.words
    assert not desk.primary.acceptances.waiting


def test_of_dealings_at_once_so_many_are_judged_at_one_price(monkeypatch):
    monkeypatch.setattr("gearing.drive.acceptances._AT_ONE_PRICE", 3)
    desk = at_once()
    answers = [instant(desk, name) for name in ("o/0", "o/1", "o/2", "o/3", "h3")]
    desk.seconds(1)
    assert [bool(one) for one in answers] == [True, True, True, False, False]
    desk.seconds(1)
    assert all(one[0].quote is not None for one in answers)


def test_so_many_quotes_are_open_and_no_more(monkeypatch):
    monkeypatch.setattr("gearing.drive.quotes._OPEN_OF_OMNIBUS", 2)
    monkeypatch.setattr("gearing.drive.quotes._OPEN_IN_ALL", 3)
    desk = at_once()

    def quote(name):
        (answered,) = desk.submit(AskQuote(holder=name, token="T", side="subscribe", amount=10 * MINOR))
        return answered

    assert quote("o/0").done
    assert quote("o/1").done
    rejected = quote("o/2")
    assert (rejected.code, rejected.words) == ("open_quotes", "2 quotes of o and its sub-holders are open already")
    assert quote("o/1").done  # which voids its own
    assert quote("h3").done
    assert quote("h1").code == "open_quotes"
    desk.seconds(11)
    assert quote("h1").done


# The dealing account among many.


def test_the_dealing_account_is_squared_however_many_wait(monkeypatch):
    monkeypatch.setattr("gearing.drive.dealings._ENOUGH", 3)
    desk = at_once(names=8)
    desk.deposit("h4", 20_000)
    desk.to_second(5)
    desk.submit(Deal(holder="h4", token="T", side="subscribe", amount=10_000 * MINOR, instant=True))
    desk.seconds(2)
    assert desk.primary.quotes.stands(desk.it) < 0
    for number in range(8):
        desk.ask(f"o/{number}", "subscribe", 100 * MINOR)
    desk.take()
    desk.to_second(0)
    begun = list(desk.flows)
    assert b'"dealer"' in begun[-1].body
    assert begun[-1].body.count(b'"o/') == 2 * 3  # each names the holder and the request


def test_the_dealing_account_is_squared_while_another_token_of_its_book_trades():
    other = msgspec.structs.replace(token("B", costs=COSTS, primary=Terms(quote_valid="10s")), symbol="U")
    desk = Market(token("A", costs=COSTS, primary=Terms()), other, bad=0.0, rate=0.0)
    desk.opened()
    for name, amount in (("evil", 1_000), ("taker", 200_000), ("dealer", 300_000)):
        desk.deposit(name, amount)

    def to_second(second):
        while desk.now_ms % 60_000 != second * 1_000 or not desk.now_ms:
            desk.now_ms += 1_000
            quotes = [Quote(symbol=one, time_ms=desk.now_ms, mark=100.0, index=100.0) for one in "AB"]
            desk.driver.on_quotes(quotes, desk.now_ms)
            desk.filled(desk.take())

    to_second(5)
    desk.submit(Deal(holder="taker", token="U", side="subscribe", amount=100_000 * MINOR, instant=True))
    for _ in range(3):
        to_second(10)
        desk.ask("evil", "subscribe", 2 * MINOR)  # a hedge of another token, each window
        desk.take()
        to_second(3)
    assert desk.primary.quotes.stands(desk.tokens[1]) >= 0


# References.


@pytest.mark.parametrize("reference", ["INV-1 ", " INV-1", "INV-1\u00a0", "INV-1\u200b", "INV\u20111", "\uff29NV-1",
                                       "INV  1", "INV-1\ufe0f", "\u3164", "INV\u2800"])  # fmt: skip
def test_a_reference_that_only_looks_like_another_is_rejected(reference):
    desk = market()
    (first,) = desk.submit(Pay(holder="h1", asset="USDT", amount=MINOR, reference="INV-1", by="ann"))
    (again,) = desk.submit(Pay(holder="h1", asset="USDT", amount=MINOR, reference=reference, by="ann"))
    (transfer,) = desk.submit(HandOn(holder="h1", other="h2", asset="USDT", amount=1, reference=reference))
    assert first.done
    assert not again.done
    assert again.words.startswith(("the reference", "money comes in"))
    assert not transfer.done
    for plain in ("Überweisung Nr. 7/2026", "請求書-17", "D-1 & Co."):
        (answered,) = desk.submit(Pay(holder="h1", asset="USDT", amount=MINOR, reference=plain, by="ann"))
        assert answered.done, answered.words
