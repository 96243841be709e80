"""Fees taken on the desk: the token pays what the issuer is credited: money, units, or the price of units it burns."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

import gearing as gr
from gearing.cli.main import main
from gearing.core import holder as ho
from gearing.core.lots import holding_of
from gearing.core.money import MINOR
from gearing.desk.inbox import Inbox
from gearing.desk.issuer import answer
from gearing.desk.requests import Merge, TakeFees, encode
from gearing.drive.reconciling import due_cash
from gearing.store.database import connect
from gearing.store.recompute import recompute
from gearing.store.records import Request
from gearing.store.verify import verify
from tests.journals import lines_of, number_again
from tests.lives import HOUR_MS, NOON_MS, UNITS, token
from tests.test_primary import COSTS, market
from tests.test_store_dealing import busy, kept, told

__all__ = ["kept"]


@pytest.fixture
def owing():
    """A token that owes its issuer a day's fee; h1 is in it too."""
    desk = market(token("A", costs=COSTS, fees=gr.Fees(management_per_day=0.01)))
    desk.deposit("h1", 100_000)
    desk.ask("h1", "subscribe", 100_000 * MINOR)
    desk.window()
    desk.filled(desk.quote(100.0, after_ms=NOON_MS + 12 * HOUR_MS - desk.now_ms))  # the end of the day
    assert desk.alarms == []
    return desk


def take(desk, how, amount=0, **more):
    wanted = {"token": "T", "amount": amount, "how": how, "by": "ann", "reason": "month's end"} | more
    answered = answer(desk.driver, TakeFees(**wanted), desk.now_ms)
    desk.take()
    return answered


def owed(desk):
    return -desk.it.state.balances.fees


def issuer(desk):
    return desk.primary.holders[ho.ISSUER].state


def sums_hold(desk):
    """U1, and what holders paid is what the token took, as `verify` sees it."""
    holders = [one.state for one in desk.primary.holders.values()]
    assert sum(one.held_units("T") for one in holders) == desk.it.state.balances.units == desk.primary.supply["T"]
    assert sum(one.cash("USDT", "T") for one in holders) == -desk.it.state.balances.capital
    assert desk.alarms == []


def test_in_money_they_leave_the_token_and_are_the_issuers(owing):
    before, nav, due = owed(owing), owing.it.state.nav, due_cash(owing.book).get("USDT", 0)
    answered = take(owing, "cash", 1_234_56789012)
    assert answered.done
    assert answered.words.startswith("T paid fees of 1,234.56789012 USDT. It is moved from its account at the venue")
    assert issuer(owing).cash("USDT") == 1_234_56789012 == -issuer(owing).cash("USDT", "fees-T")
    assert (owed(owing), owing.it.state.nav) == (before - 1_234_56789012, nav)
    assert due_cash(owing.book).get("USDT", 0) == due - 1_234_56789012
    sums_hold(owing)


def test_in_units_they_stay_and_nobody_is_diluted(owing):
    before, nav = owed(owing), owing.nav
    owing.now_ms += 6 * HOUR_MS
    owing.quote(100.0, after_ms=0)
    assert take(owing, "units").done
    # The fee up to now was charged before, and taken with the rest.
    paid = -issuer(owing).cash("USDT", "fees-T")
    assert paid > before
    assert owed(owing) == 0
    created = issuer(owing).units("T") - UNITS
    assert created == pytest.approx(paid / owing.nav, rel=1e-9)
    assert owing.nav < nav  # by the fee of a quarter of a day
    assert paid / created >= owing.nav
    sums_hold(owing)
    (lot,) = holding_of([ho.Collected(time_ms=1, token="T", how="units", units=created, asset="USDT", cash=paid,
                                      bearing=ho.Bearing(nav=1, level=1.0, parts=()))], "T").lots  # fmt: skip
    assert (lot.units, lot.cost) == (created, paid)


def test_for_units_that_are_burned_those_who_stay_have_the_rise(owing):
    before, has, equity = owed(owing), issuer(owing).units("T"), owing.it.state.equity
    nav = owing.nav
    assert take(owing, "burn", before // 2).done
    burned = has - issuer(owing).units("T")
    assert 0 <= burned * nav - before // 2 < nav + 1  # rounded up by the smallest part of a unit, at most
    assert issuer(owing).cash("USDT") == before // 2
    assert owing.it.state.equity == equity
    assert owed(owing) == before - before // 2
    assert owing.nav > nav
    sums_hold(owing)


def test_the_issuer_burns_no_units_that_it_has_not(owing):
    has = issuer(owing).units("T")
    for name, sign, other in (("h1", 1, ho.ISSUER), (ho.ISSUER, -1, "h1")):
        owing.primary.post(name, ho.Handed(time_ms=owing.now_ms, token="T", units=sign * (has - 5), other=other,
                                           reference="x"))  # fmt: skip
    before = owing.it.state
    answered = take(owing, "burn")
    assert not answered.done
    assert "the issuer has 0.00000005 units free, and would give " in answered.words
    assert owing.it.state.balances == before.balances


@pytest.mark.parametrize(
    ("how", "amount", "words"),
    [("cash", 10**16, "it owes 10,"), ("units", 10**16, "it owes 10,"), ("units", 1, "less than the smallest part")],
)  # fmt: skip
def test_no_more_is_taken_than_is_owed(owing, how, amount, words):
    before = {name: one.state for name, one in owing.primary.holders.items()}
    answered = take(owing, how, amount)
    assert not answered.done
    assert words in answered.words
    assert {name: one.state for name, one in owing.primary.holders.items()} == before


@pytest.mark.parametrize(
    ("more", "words"),
    [({"token": "X"}, "there is no token X; there are T"), ({"by": " "}, "without a name and a reason")],
)
def test_who_asks_for_nothing_that_is_is_told_so(owing, more, words):
    assert words in take(owing, "cash", **more).words


def test_the_inbox_carries_out_what_the_issuer_asks_for(owing):
    inbox = Inbox(
        SimpleNamespace(driver=owing.driver, reserve=0, clock=SimpleNamespace(now_ms=lambda: owing.now_ms)), None
    )

    def ask(wanted):
        return inbox.carry_out(Request(1, "ann", "k", encode(wanted))).words

    assert ask(TakeFees(token="T", amount=MINOR, how="cash", by="ann", reason="r")).startswith("T paid fees of 1.0")
    assert ask(Merge(token="T", factor=10.0, by="ann", reason="r")).startswith("10 units of T became one")


def test_where_nothing_is_owed_nothing_is_taken():
    """Nor where the fee is all in and the issuer bore more than it was owed."""
    for all_in in (False, True):
        desk = market(token("A", costs=COSTS, fees=gr.Fees(all_in=all_in)), bad=0.01)
        desk.mark = 110.0
        desk.filled(desk.quote(desk.mark))  # a rebalance, at worse prices
        assert (desk.it.state.balances.fees > 0) == all_in
        for how in ("cash", "units"):
            assert "it owes nothing" in take(desk, how).words
        assert take(desk, "cash", 5).words.endswith("it owes 0.00000000, not 0.00000005")


def test_without_a_good_price_only_money_is_taken(owing):
    owing.now_ms += HOUR_MS
    for how in ("units", "burn"):
        assert "no good price" in take(owing, how).words
    assert take(owing, "cash").done


@pytest.mark.parametrize(("how", "words"), [("cash", "a flow is being hedged"), ("units", "deals in nothing")])
def test_fees_are_not_taken_while_a_flow_is_dealt_nor_as_units_of_a_halted_token(owing, how, words):
    if how == "cash":
        owing.ask(ho.ISSUER, "redeem", 500 * MINOR)
        assert owing.quote(100.0, after_ms=60_000)
    else:
        owing.driver.operate(owing.it, "halt", "ann", "test", owing.now_ms)
        assert take(owing, "cash", 5).done  # money it pays all the same
    answered = take(owing, how)
    assert not answered.done
    assert words in answered.words


@pytest.mark.parametrize("how", ["cash", "units", "burn"])
def test_what_was_taken_is_verified_and_worked_out_by_a_stranger(kept, how):
    busy(kept)
    assert take(kept, how, MINOR).done
    assert take(kept, how).done
    assert kept.alarms == []
    verdict = verify(kept.path)
    assert verdict.breaches == ()
    assert verdict.stepped == verdict.lines
    assert recompute(lines_of(kept.path)).differences == []


@pytest.mark.parametrize("how", ["cash", "units"])
def test_fees_that_were_paid_to_nobody_are_found(kept, how):
    busy(kept)
    kept.take()
    with connect(kept.path) as connection:
        before = connection.execute("SELECT seq FROM states WHERE stream = 'holder:issuer'").fetchone()
    take(kept, how, MINOR)
    with connect(kept.path) as connection:
        connection.execute("DELETE FROM journal WHERE stream = 'holder:issuer' AND seq > ?", before)
    for _ in range(2):
        number_again(kept.path)
        found = [one.found for one in verify(kept.path).breaches if one.stream == "token:T"]
        assert "fees of 0 earned" in found
        with connect(kept.path) as connection:
            connection.execute("DELETE FROM states WHERE stream = 'holder:issuer'")
            connection.execute("DELETE FROM journal WHERE stream = 'holder:issuer'")


def test_the_command_line_shows_what_is_owed_and_was_taken(kept, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    busy(kept)
    take(kept, "cash", 3 * MINOR)
    take(kept, "burn", 2 * MINOR)
    (it,) = json.loads(told(capsys, "fees", "show", "--db", kept.path, "--json"))["tokens"]
    assert (it["owed"], it["taken"]) == (owed(kept), {"cash": 3 * MINOR, "units": 0, "burn": 2 * MINOR})
    shown = told(capsys, "fees", "show", "T", "--db", kept.path)
    assert "3.00" in shown
    table = re.split(r"no\s+desk\s+runs\.\n", shown)[1]  # after the database's path, which may be long
    assert max(map(len, table.splitlines())) <= 80
    arguments = ["fees", "take", "T", "all", "--how", "cash", "--reason", "r", "--db", str(kept.path), "--yes"]
    assert main(arguments) == 4  # no desk runs; the request is kept
    assert "kept, and carried out once a desk takes it" in capsys.readouterr().err.lower().replace("\n", " ")
    for changed, words in (("alll", "is not an amount"), ("0", "is not above 0")):
        assert main([*arguments[:3], changed, *arguments[4:]]) == 2
        assert words in capsys.readouterr().err
    assert main([*arguments[:5], "gold", *arguments[6:]]) == 2
    assert "'gold' is no way to take fees" in capsys.readouterr().err
    assert main(["fees", "show", "X", "--db", str(kept.path)]) == 2
    assert "There are: T." in capsys.readouterr().err
