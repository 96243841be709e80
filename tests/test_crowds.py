"""Load from one: how many requests may wait, how many one dealing takes, and in whose turn."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearing.core.journal import line_of
from gearing.core.money import MINOR
from gearing.core.netting import Ask, taken_in_turn
from gearing.core.primary import Primary as Terms
from gearing.desk.boot import boot
from gearing.desk.requests import Deal
from gearing.drive.crowds import OF_HOLDER_IN_TOKEN, crowds_of, why_crowded
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from tests.lives import token
from tests.test_matching import Fair
from tests.test_primary import COSTS, market
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
    again = boot(kept.store, Prices(GuardLimits()), window_ms=1, visibility_ms=1, now_ms=kept.now_ms).driver
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
    begun = [line_of(line.body).event for line in desk.lines if b'"dealing_begun"' in line.body][1:]
    assert [len(one.parts) for one in begun] == [10] * 4
    assert desk.now_ms % 60_000 < 15_000
    assert {part.holder for part in begun[0].parts} == {"many", *(f"one{n}" for n in range(9))}
    assert [sum(part.holder == "many" for part in one.parts) for one in begun] == [1, 9, 10, 10]
