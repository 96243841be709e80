"""Units are merged for every holder at once: all have as much as before, and what is cut off is paid."""

from __future__ import annotations

import json
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gearing as gr
from gearing.cli.main import main
from gearing.core import holder as ho
from gearing.core.events import Consolidated
from gearing.core.holder_step import holder_breaches
from gearing.core.journal import line_of
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.record import DAY_MS
from gearing.desk.boot import boot
from gearing.desk.issuer import answer
from gearing.desk.requests import Merge
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from gearing.store.database import connect
from gearing.store.recompute import recompute
from gearing.store.verify import verify
from tests.journals import lines_of, number_again
from tests.lives import token
from tests.test_primary import COSTS, market
from tests.test_store_dealing import busy, kept, told

__all__ = ["kept"]


def merge(desk, factor=10.0, **more):
    wanted = {"token": "T", "factor": factor, "by": "ann", "reason": "a NAV below 1"} | more
    answered = answer(desk.driver, Merge(**wanted), desk.now_ms)
    desk.take()
    return answered


def give(desk, name, units):
    """Hands a holder units of the issuer's."""
    for one, sign, other in ((name, 1, ho.ISSUER), (ho.ISSUER, -1, name)):
        desk.primary.post(one, ho.Handed(time_ms=desk.now_ms, token="T", units=sign * units, other=other,
                                         reference="x"))  # fmt: skip


def states(desk):
    return {name: one.state for name, one in desk.primary.holders.items()}


def sums_hold(desk):
    holders = states(desk).values()
    assert sum(one.held_units("T") for one in holders) == desk.it.state.balances.units == desk.primary.supply["T"]
    assert sum(one.cash("USDT", "T") for one in holders) == -desk.it.state.balances.capital
    assert desk.alarms == []


@settings(max_examples=40, deadline=None)
@given(
    units=st.lists(st.integers(1, 10**10), min_size=1, max_size=5),
    parts=st.lists(st.integers(0, 100), min_size=5, max_size=5),
    factor=st.sampled_from([10.0, 7.3, 2.0, 1.000001, 999.0]) | st.floats(1.01, 5_000.0),
    mark=st.floats(80.0, 125.0),
)
def test_everybody_has_as_much_as_before_whatever_the_units(units, parts, factor, mark):
    desk = market(token("A", costs=COSTS, primary=Terms(least_redemption=0.0)))
    for number, amount in enumerate(units):
        give(desk, f"h{number}", amount)
        for share in (parts[number] // 2, parts[number] - parts[number] // 2):
            if amount * share // 100:
                assert not isinstance(desk.ask(f"h{number}", "redeem", amount * share // 100), str)
    desk.mark = round(mark, 4)
    desk.filled(desk.quote(desk.mark))
    before, exact = states(desk), Fraction(repr(factor))
    assert merge(desk, factor).done
    nav, after = Fraction(desk.it.state.equity, desk.it.state.balances.units), states(desk)
    for name, was in before.items():
        now = after[name]
        assert now.units("T") == was.units("T") // exact
        for request in was.requests.values():
            left = now.requests[request.id].amount if request.id in now.requests else 0
            assert left == request.amount // exact
        cut_off = was.held_units("T") - now.held_units("T") * exact
        paid = now.cash("USDT") - was.cash("USDT")
        assert 0 <= cut_off * nav / exact - paid <= 1 + nav / 10**6
        assert holder_breaches(now, ()) == []
    sums_hold(desk)


def test_what_waits_is_dealt_as_it_was_merged():
    desk = market(token("A", costs=COSTS, primary=Terms(least_redemption=0.0)))
    give(desk, "h1", 25 * MINOR + 7)
    desk.ask("h1", "redeem", 12 * MINOR + 5)
    desk.ask("h1", "redeem", 9)
    desk.deposit("h2", 500)
    desk.ask("h2", "subscribe", 400 * MINOR)
    answered = merge(desk)
    assert answered.done
    assert answered.words.startswith("10 units of T became one: 999.99999998 units of 2 holders, at a NAV of 1,000.0")
    (request,) = states(desk)["h1"].requests.values()  # nothing is left of the other
    assert request.amount == 12 * MINOR // 10
    assert states(desk)["h2"].requests["h2.1"].amount == 400 * MINOR
    desk.window()
    assert states(desk)["h1"].requests == states(desk)["h2"].requests == {}
    assert desk.units("h1") == 1_29999999
    assert desk.units("h2") / MINOR == pytest.approx(0.4, rel=1e-3)
    sums_hold(desk)


def test_no_units_are_merged_where_not_all_of_them_are_somebodys():
    desk = market()
    left_out = desk.primary.holders.pop(ho.ISSUER)
    give_to = ho.Granted(time_ms=desk.now_ms, token="T", units=7, asset="USDT", cash=0,
                         bearing=ho.Bearing(nav=1, level=1.0, parts=()))  # fmt: skip
    desk.primary.post("h1", give_to)
    assert left_out.state.units("T") != 7
    before = desk.it.state.balances
    assert "have 0.00000007 units, it issued 10,000.00000000" in merge(desk).words
    assert desk.it.state.balances == before


def test_no_units_are_merged_while_a_flow_is_dealt():
    desk = market()
    desk.ask(ho.ISSUER, "redeem", 500 * MINOR)
    assert desk.quote(100.0, after_ms=60_000)
    before = states(desk)
    assert "a flow is being dealt; ask again" in merge(desk).words
    assert states(desk) == before


@pytest.mark.parametrize(
    ("factor", "more", "words"),
    [
        (1.0, {}, "by a factor above 1"),
        (float("nan"), {}, "by a factor above 1"),
        (2e6, {}, "at most 1,000,000"),
        (10.0, {"token": "X"}, "there is no token X"),
        (10.0, {"reason": ""}, "without a name and a reason"),
    ],
)
def test_what_is_no_merger_is_refused(factor, more, words):
    desk = market()
    before = states(desk), desk.it.state.balances
    answered = merge(desk, factor, **more)
    assert not answered.done
    assert words in answered.words
    assert (states(desk), desk.it.state.balances) == before


def test_a_wiped_token_merges_nothing_and_one_without_a_price_waits():
    desk = market()
    desk.now_ms += 3_600_000
    assert "no good price" in merge(desk).words
    desk.filled(desk.quote(60.0))
    assert desk.it.state.status == "wiped"
    assert "it is wiped" in merge(desk).words


def ruled(below=90.0, **more):
    return token(
        "A", costs=COSTS, rule=gr.Rule(deviation=0.9), consolidation=gr.Consolidation(below=below, factor=10.0)
    )


def mergers(desk):
    events = (line_of(line.body).event for line in desk.lines)
    return [(event.time_ms, event.by, event.reason) for event in events if isinstance(event, Consolidated)]


def test_a_rule_merges_units_by_the_first_nav_of_a_day_that_is_below_its_level():
    desk = market(ruled())
    give(desk, "h1", 25 * MINOR + 7)
    desk.quote(96.0, after_ms=60_000)
    assert desk.it.state.nav < 90 * MINOR
    assert mergers(desk) == []  # at a day's end only
    desk.now_ms = midnight(desk) - 1_000
    desk.quote(96.0, after_ms=999)
    assert mergers(desk) == []
    nav = desk.it.state.nav
    desk.quote(96.0)
    assert mergers(desk) == [(desk.now_ms, "rule", "NAV was below 90 at the day's end")]
    assert desk.it.state.nav == pytest.approx(10 * nav, rel=1e-7)
    assert desk.units("h1") == 2_50000000
    desk.quote(70.0)
    desk.now_ms = midnight(desk)
    desk.quote(70.0)
    assert (len(mergers(desk)), desk.it.state.nav > 90 * MINOR) == (1, True)
    sums_hold(desk)


def test_a_rule_waits_for_what_stands_against_a_merger_and_says_so_once():
    desk = market(ruled())
    desk.ask(ho.ISSUER, "redeem", 500 * MINOR)
    desk.quote(96.0)
    orders = desk.quote(96.0, after_ms=60_000)
    assert orders
    desk.now_ms = midnight(desk)
    desk.quote(96.0)
    desk.quote(96.0, after_ms=60_000)
    assert desk.alarms == ["T: its units are not merged yet: a flow is being dealt; ask again once that is done"]
    desk.alarms.clear()
    desk.mark = 96.0
    desk.filled(orders)
    desk.driver.operate(desk.it, "halt", "ann", "a look", desk.now_ms)
    desk.quote(96.0, after_ms=60_000)
    assert mergers(desk) == []
    desk.driver.operate(desk.it, "resume", "ann", "all well", desk.now_ms)
    desk.quote(110.0, after_ms=60_000)  # it was below at the day's end, whatever it is now
    assert len(mergers(desk)) == 1
    sums_hold(desk)


@pytest.mark.parametrize(("first", "merges"), [(96.0, True), (101.0, False)])
def test_a_restart_goes_on_with_what_a_rule_saw_at_the_days_end(kept, first, merges):
    def again():
        found = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms)
        (running,) = found.driver.tokens
        return running.looked_day == kept.now_ms // DAY_MS, running.merges

    kept.driver.change(kept.it, ruled(), "ann", "a low NAV", kept.now_ms)
    kept.take()
    assert again() == (True, False)  # the day on which the rule came is not looked at
    kept.now_ms = midnight(kept)
    assert again() == (False, False)
    kept.driver.operate(kept.it, "halt", "ann", "a look", kept.now_ms)
    kept.quote(first)
    kept.quote(90.0, after_ms=60_000)
    assert again() == (True, merges)
    kept.driver.operate(kept.it, "resume", "ann", "all well", kept.now_ms)
    kept.quote(90.0, after_ms=60_000)
    assert again() == (True, False)
    assert len(mergers(kept)) == merges
    assert verify(kept.path).breaches == ()


def test_the_day_of_a_launch_or_of_a_change_is_not_looked_at(kept):
    kept.driver.change(kept.it, ruled(), "ann", "a low NAV", kept.now_ms)
    kept.take()
    with connect(kept.path) as connection:
        connection.execute("DELETE FROM navs")  # the desk ended before a NAV was published
    found = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms)
    assert found.driver.tokens[0].looked_day == kept.now_ms // DAY_MS
    kept.now_ms = midnight(kept)
    kept.driver.operate(kept.it, "halt", "ann", "a look", kept.now_ms)
    kept.quote(96.0)
    assert kept.it.merges
    kept.driver.operate(kept.it, "resume", "ann", "all well", kept.now_ms)
    kept.driver.change(kept.it, msgspec.structs.replace(ruled(), name="another"), "ann", "a name", kept.now_ms)
    kept.quote(96.0, after_ms=60_000)
    assert mergers(kept) == []  # left to the next day's end, as it would be after a restart


def midnight(desk):
    return (desk.now_ms // DAY_MS + 1) * DAY_MS


def test_a_merger_is_verified_worked_out_by_a_stranger_and_keeps_every_lots_profit(kept, capsys):
    busy(kept)
    kept.ask("h2", "redeem", kept.units("h2") // 3 + 1)
    kept.take()

    def profits():
        return {name: json.loads(told(capsys, "holder", "statement", name, "--db", kept.path, "--json"))["tokens"][0]
                for name in states(kept)}  # fmt: skip

    kept.driver.publish(kept.it, "dealing", kept.now_ms, (100.9,), accrues=True)  # as the merger does
    kept.take()
    before, nav = profits(), kept.it.state.nav
    assert merge(kept, 7.3).done
    assert kept.it.state.nav == pytest.approx(7.3 * nav, rel=1e-6)
    after = profits()
    for name, told_before in before.items():
        assert len(after[name]["lots"]) == len(told_before["lots"])
        near = 20 + kept.units(name) / MINOR * 8  # a minor unit for each unit, by which NAV is rounded down
        assert after[name]["profit"] == pytest.approx(told_before["profit"], abs=near)
        for part, amount in told_before["parts"].items():
            assert after[name]["parts"].get(part, 0) == pytest.approx(amount, abs=near + 1e-6 * abs(amount))
        assert sum(after[name]["parts"].values()) == after[name]["profit"]
    kept.window(101.0)
    assert kept.alarms == []
    verdict = verify(kept.path)
    assert verdict.breaches == ()
    assert verdict.stepped == verdict.lines
    assert recompute(lines_of(kept.path)).differences == []


def test_a_holder_that_was_left_out_is_found(kept):
    busy(kept)
    merge(kept)
    with connect(kept.path) as connection:
        for table in ("journal", "states"):
            connection.execute(f"DELETE FROM {table} WHERE stream = 'holder:h1'")
    assert {one.what for one in verify(kept.path).breaches} == {"anchor", "supply", "money", "share", "merger"}
    number_again(kept.path)
    assert {one.what for one in verify(kept.path).breaches} == {"supply", "money", "share", "merger"}


def test_the_command_line_keeps_the_request_and_refuses_nonsense(kept, capsys):
    busy(kept)
    arguments = ["token", "merge", "T", "--factor", "10", "--reason", "r", "--db", str(kept.path), "--yes"]
    assert main(arguments) == 4
    (request,) = kept.store.requests()
    assert json.loads(request.body)["ask"] == "merge"
    capsys.readouterr()
    assert main([*arguments[:4], "1", *arguments[5:]]) == 2
    assert "units cannot be merged by 1" in capsys.readouterr().err
    assert main([*arguments[:2], "X", *arguments[3:]]) == 2
    assert "there is no token X" in capsys.readouterr().err
