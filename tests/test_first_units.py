"""A token whose last units went is as new: the next first units begin at the initial NAV, within the same caps."""

from __future__ import annotations

import pytest

import gearing as gr
from gearing.core import holder as ho
from gearing.core.dealing import bearing
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.terms import Spec
from gearing.venues.protocol import Quote
from tests.lives import UNITS, token
from tests.test_dealing import Dealt
from tests.test_primary import COSTS, market


def emptied(**more):
    """A desk whose issuer redeemed all units."""
    desk = market(token("A", costs=COSTS, **more))
    desk.ask(ho.ISSUER, "redeem", UNITS)
    desk.window()
    assert (desk.it.state.balances.units, desk.it.state.is_flat, desk.it.state.status) == (0, True, "open")
    desk.deposit("h1", 1_000_000)
    return desk


@pytest.mark.parametrize("target", [3.0, -3.0])
def test_the_level_goes_on_over_the_first_units_and_attribution_counts_from_there(target):
    life = Dealt(token(costs=COSTS, target=target)).opened()
    life.trade(life.mark(90.0))
    life.deal("redeem", UNITS)
    life.mark(95.0)
    before = bearing(life.spec, life.state).level
    life.deal("subscribe", 50_000 * MINOR)
    assert bearing(life.spec, life.state).level == pytest.approx(before, rel=1e-12)
    life.mark(96.0)
    assert bearing(life.spec, life.state).level == pytest.approx(before * 96.0 / 95.0, rel=1e-12)
    # By hand: leverage x made β·(96/95 − 1) of what was invested; nothing was traded since, so nothing decayed.
    rose = life.state.equity / (50_000 * MINOR) - 1.0
    assert rose == pytest.approx(target * (96.0 / 95.0 - 1.0), abs=0.01)


def test_nothing_is_published_without_units_and_the_next_first_unit_costs_the_initial_nav():
    desk = emptied()
    desk.lines.clear()
    desk.quote(80.0, after_ms=60_000)
    assert desk.effects.navs == []
    desk.ask("h1", "subscribe", 10_000 * MINOR)
    desk.window()
    assert desk.nav == pytest.approx(desk.it.spec.token.initial_nav, rel=1e-3)
    desk.quote(80.0, after_ms=60_000)
    assert desk.effects.navs
    assert desk.alarms == []


@pytest.mark.parametrize(
    ("limits", "words"),
    [(gr.Limits(supply_cap=1_200.0), "the supply of T is capped at 1,200.00 units: 1,200.00000000 are left"),
     (gr.Limits(largest_exposure=400_000.0), "the exposure of T is capped at 400,000: 400,000 is left"),
     (gr.Limits(largest_order=400_000.0), "the largest order of T is 400,000, with what waits the hedge of this is "
                                          "600,000: at most 133,333.33 USDT may wait")],
)  # fmt: skip
def test_the_first_units_are_within_the_caps_too(limits, words):
    desk = emptied()
    desk.it.spec = Spec(token("A", costs=COSTS, limits=limits))
    assert words in desk.ask("h1", "subscribe", 200_000 * MINOR)
    assert not isinstance(desk.ask("h1", "subscribe", 100_000 * MINOR), str)
    desk.window()
    assert desk.units("h1") > 0
    assert desk.it.state.status == "open"


def test_a_flow_whose_hedge_breaks_a_limit_is_refused_when_it_is_asked():
    desk = market(token("A", costs=COSTS, rule=gr.Rule(deviation=9.0)))
    desk.it.spec = Spec(token("A", costs=COSTS, limits=gr.Limits(largest_order=400_000.0)))
    desk.deposit("h1", 1_000_000)
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    assert "the largest order of T is 400,000, with what waits" in desk.ask("h1", "subscribe", 50_000 * MINOR)


def test_a_flow_that_breaks_a_limit_by_the_time_it_is_dealt_is_returned_and_halts_nothing():
    desk = market(token("A", costs=COSTS, rule=gr.Rule(deviation=9.0)))
    desk.deposit("h1", 1_000_000)
    desk.ask("h1", "subscribe", 150_000 * MINOR)
    desk.it.spec = Spec(token("A", costs=COSTS, limits=gr.Limits(largest_order=400_000.0)))
    assert desk.window() == []
    assert desk.cash("h1") == 1_000_000 * MINOR
    assert (desk.it.state.status, desk.units("h1")) == ("open", 0)
    (words,) = desk.alarms
    assert words.startswith("T: R4: the hedge of a flow was not sent: an order of 4")


def test_what_is_below_the_venues_least_order_is_dealt_without_a_hedge():
    desk = market(small := least(100.0))
    desk.deposit("h1", 20)
    desk.ask("h1", "subscribe", 20 * MINOR)
    assert desk.window() == []
    assert desk.units("h1") == pytest.approx(20 * MINOR / 100, rel=0.01)
    desk.ask(ho.ISSUER, "redeem", MINOR // 4)
    assert desk.window() == []
    assert desk.cash(ho.ISSUER) == pytest.approx(25 * MINOR, rel=1e-3)
    desk.ask(ho.ISSUER, "redeem", 2 * MINOR)
    (order,) = desk.window()
    assert abs(order.lots) * 0.001 * 100.0 > small.legs[0].min_notional


def test_the_last_units_take_all_that_is_held_along_however_little_that_is():
    desk = market(least(100.0))
    desk.ask(ho.ISSUER, "redeem", UNITS - MINOR // 10)
    desk.window()
    assert 0 < desk.lots[0] * 0.001 * 100.0 < 100.0
    desk.ask(ho.ISSUER, "redeem", MINOR // 10)
    (order,) = desk.window()
    assert (order.reduces, desk.it.state.is_flat, desk.it.state.balances.units) == (True, True, 0)


def least(notional):
    leg = gr.Perpetual(symbol="A", lot=0.001, min_notional=notional)
    return gr.Token(symbol="T", target=3.0, legs=(leg,), rule=gr.Rule(deviation=0.1), costs=COSTS)


def test_what_was_cancelled_or_returned_counts_against_no_cap():
    desk = market(token("A", costs=COSTS, primary=Terms(holder_per_day=5_000.0, total_per_day=8_000.0)))
    for name in ("h1", "h2"):
        desk.deposit(name, 80_000)
    for n, money in enumerate((1_000, 4_000), 1):
        assert not isinstance(desk.ask("h1", "subscribe", money * MINOR), str)
        assert desk.primary.cancel("h1", f"h1.{n}", desk.now_ms) == ""
    desk.ask("h1", "subscribe", 5_000 * MINOR)
    desk.window(part=0.5)  # half of it is returned
    assert "2,500.00000000 is left" in desk.ask("h1", "subscribe", 4_000 * MINOR)
    desk.ask("h2", "subscribe", 3_000 * MINOR)
    desk.deposit("h3", 80_000)
    assert "of all holders in T are capped at 8,000.00 USDT a day: 2,500.00000000 is left" in desk.ask(
        "h3", "subscribe", 4_000 * MINOR
    )


ROOMS = [
    {"primary": Terms(total_per_day=8_000.0)},
    {"primary": Terms(), "limits": gr.Limits(supply_cap=10_080.0)},
    {"primary": Terms(), "limits": gr.Limits(largest_exposure=3_024_000.0)},
]


@pytest.mark.parametrize("room", ROOMS)
def test_nobody_keeps_others_out_by_requesting_all_there_is_and_cancelling_it_again_and_again(room):
    desk = market(token("A", costs=COSTS, **room))
    for name in ("evil", "h1", "h2"):
        desk.deposit(name, 80_000)
    assert not isinstance(desk.ask("evil", "subscribe", 7_900 * MINOR), str)
    assert desk.primary.cancel("evil", "evil.1", desk.now_ms) == ""  # nobody was kept out
    assert not isinstance(desk.ask("evil", "subscribe", 7_900 * MINOR), str)
    desk.now_ms += 1
    assert isinstance(desk.ask("h1", "subscribe", 1_000 * MINOR), str)
    stays = "evil.2 stays until it is dealt at the end of its window: others were rejected for want of the room"
    assert desk.primary.cancel("evil", "evil.2", desk.now_ms).startswith(stays)
    desk.driver.operate(desk.it, "pause", "ann", "test", desk.now_ms)  # it is dealt in no window now
    desk.driver.operate(desk.it, "halt", "ann", "test", desk.now_ms)
    assert desk.primary.cancel("evil", "evil.2", desk.now_ms) == ""
    desk.driver.operate(desk.it, "resume", "ann", "test", desk.now_ms)
    desk.driver.operate(desk.it, "unpause", "ann", "test", desk.now_ms)
    desk.ask("evil", "subscribe", 7_900 * MINOR)
    assert desk.primary.cancel("evil", "evil.3", desk.now_ms) == ""  # nobody was, since it was accepted
    desk.ask("evil", "subscribe", 7_900 * MINOR)
    desk.now_ms += 1
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.window()
    assert desk.units("evil") > 0


@pytest.mark.parametrize("room", ROOMS)
def test_only_whoever_could_have_had_the_room_keeps_a_request_from_being_cancelled(room):
    """A request that is rejected whatever waits locks nobody's."""
    desk = market(token("A", costs=COSTS, **room))
    for name in ("evil", "h1"):
        desk.deposit(name, 80_000)
    assert not isinstance(desk.ask("h1", "subscribe", 5_000 * MINOR), str)
    desk.now_ms += 1
    assert isinstance(desk.ask("evil", "subscribe", 60_000 * MINOR), str)
    assert desk.primary.cancel("h1", "h1.1", desk.now_ms) == ""


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("escapes", ["after the average began", "over a postponed window"])
def test_room_that_others_wanted_is_kept_until_it_is_dealt_whatever_becomes_of_the_window(room, escapes):
    desk = market(token("A", costs=COSTS, **room))
    for name in ("evil", "h1"):
        desk.deposit(name, 80_000)
    desk.ask(ho.ISSUER, "redeem", MINOR)  # something is dealt in this window
    desk.steady()
    if escapes == "after the average began":
        desk.ask("evil", "subscribe", 7_900 * MINOR)
        desk.now_ms += 1
        assert isinstance(desk.ask("h1", "subscribe", 1_000 * MINOR), str)
        desk.filled(desk.quote(100.0, after_ms=1_000))
        assert not desk.primary.state_of(ho.ISSUER).requests
    else:
        desk.window()
        desk.ask("evil", "subscribe", 7_900 * MINOR)
        desk.now_ms += 1
        assert isinstance(desk.ask("h1", "subscribe", 1_000 * MINOR), str)
        for _ in range(9):
            desk.now_ms += 9_000
            quote = Quote(symbol="A", time_ms=desk.now_ms, mark=100.0, index=102.0)
            desk.driver.on_quotes([quote], desk.now_ms)
        assert any("dealing is postponed" in words for words in desk.driver.effects.alarms)
    assert desk.primary.state_of("evil").requests
    why = desk.primary.cancel("evil", "evil.1", desk.now_ms)
    assert "stays until it is dealt" in why or "its price forms already" in why


def test_a_redemption_that_takes_all_of_a_days_cap_stays_once_others_were_rejected():
    desk = market(token("A", costs=COSTS, primary=Terms(total_per_day=8_000.0)))
    desk.deposit("h1", 16_000)
    desk.ask("h1", "subscribe", 8_000 * MINOR)
    desk.window()
    units = desk.units("h1")
    desk.ask("h1", "redeem", units)
    desk.now_ms += 1
    assert "capped" in desk.ask(ho.ISSUER, "redeem", 10 * MINOR)
    assert "stays until it is dealt" in desk.primary.cancel("h1", "h1.2", desk.now_ms)
    assert "capped" in desk.ask("h1", "subscribe", MINOR)  # the other side's room is another


@pytest.mark.parametrize("against", ["paused", "halted", "no price"])
def test_what_is_not_dealt_next_may_be_cancelled_at_any_time(against):
    desk = market(token("A", costs=COSTS, primary=Terms(total_per_day=8_000.0)))
    desk.deposit("h1", 80_000)
    desk.ask("h1", "subscribe", 8_000 * MINOR)
    desk.now_ms += 1
    desk.ask("h1", "subscribe", 8_000 * MINOR)
    if against == "no price":
        desk.now_ms += 45_000
    else:
        desk.driver.operate(desk.it, "pause" if against == "paused" else "halt", "ann", "test", desk.now_ms)
        desk.filled(desk.quote(100.0, after_ms=45_000))
    assert desk.primary.cancel("h1", "h1.1", desk.now_ms) == ""


def test_whoever_is_left_in_a_closed_token_is_paid_whatever_the_day():
    desk = market(token("A", costs=COSTS, primary=Terms(holder_per_day=100.0, largest=100.0)))
    desk.driver.operate(desk.it, "close", "ann", "test", desk.now_ms)
    desk.filled(desk.take())
    desk.ask(ho.ISSUER, "redeem", UNITS)
    desk.window()
    assert desk.it.state.balances.units == 0
