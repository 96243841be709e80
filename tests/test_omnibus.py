"""An omnibus holder and its sub-holders: each has a journal of its own, and they are summed where they are shown."""

from __future__ import annotations

import json
import re

import pytest

from gearing.cli.main import main
from gearing.core import holder as ho
from gearing.core.money import MINOR
from gearing.desk.boot import boot
from gearing.desk.counter import answer
from gearing.desk.requests import Cancel, Deal, HandOn, Pay
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from gearing.store.recompute import recompute
from gearing.store.verify import verify
from tests.journals import lines_of
from tests.test_office import exported, minor, rows_of
from tests.test_store_dealing import kept, told

__all__ = ["kept"]


def ask(desk, wanted):
    answered = answer(desk.driver, wanted, desk.now_ms)
    desk.take()
    assert answered.done, answered.words
    return answered


@pytest.fixture
def exchange(kept):
    """An exchange with an account of its own and two clients, and somebody whose name begins as its does."""
    for name, amount in (("EX", 1_000), ("EX/c1", 9_000), ("EX/c-2", 5_000), ("EXTRA", 700)):
        ask(kept, Pay(holder=name, asset="USDT", amount=amount * MINOR, reference=name, by="ann"))
    ask(kept, Deal(holder="EX/c1", token="T", side="subscribe", amount=6_000 * MINOR))
    ask(kept, Deal(holder="EX/c-2", token="T", side="subscribe", amount=1_234 * MINOR))
    kept.window()
    ask(kept, HandOn(holder="EX/c1", other="EX/c-2", token="T", amount=7, reference="r"))
    waits = ask(kept, Deal(holder="EX/c1", token="T", side="redeem", amount=3 * MINOR))
    assert waits.id == "EX/c1.2"
    again = ask(kept, Deal(holder="EX/c-2", token="T", side="redeem", amount=MINOR))
    ask(kept, Cancel(holder="EX/c-2", id=again.id))
    return kept


def own(desk, account, *names):
    return sum(desk.primary.holders[name].state.balances.get(account, 0) for name in names)


FAMILY = ("EX", "EX/c1", "EX/c-2")


def test_sub_holders_are_journalled_verified_and_taken_up_like_any_other(exchange):
    assert exchange.alarms == []
    verdict = verify(exchange.path)
    assert verdict.breaches == ()
    assert {f"holder:{name}" for name in FAMILY} <= {one.stream for one in verdict.streams}
    assert recompute(lines_of(exchange.path)).differences == []
    booted = boot(exchange.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=exchange.now_ms)
    assert {n: h.state for n, h in booted.driver.primary.holders.items()} == {
        n: h.state for n, h in exchange.primary.holders.items()
    }


def test_an_omnibus_holder_is_shown_with_its_sub_holders_and_their_sum(exchange, capsys):
    found = json.loads(told(capsys, "holders", "EX", "--db", exchange.path, "--json"))
    assert set(found["holders"]) == set(FAMILY)
    (whole,) = found["omnibus"].items()
    accounts = ("cash:USDT:free", "units:T:free", "units:T:held")
    assert whole == ("EX/*", {account: own(exchange, account, *FAMILY) for account in accounts})
    shown = told(capsys, "holders", "--db", exchange.path)
    assert len(re.findall(r"^EX/\* ", shown, re.MULTILINE)) == 3
    assert "EXTRA/*" not in shown
    assert set(json.loads(told(capsys, "holders", "EX/c1", "--db", exchange.path, "--json"))["holders"]) == {"EX/c1"}
    assert main(["holders", "E", "--db", str(exchange.path)]) == 2


def test_a_clearing_account_is_not_needed(kept, capsys):
    ask(kept, Pay(holder="OM/a", asset="USDT", amount=5, reference="r", by="ann"))
    assert set(json.loads(told(capsys, "holders", "OM", "--db", kept.path, "--json"))["holders"]) == {"OM/a"}
    assert main(["holder", "statement", "OM", "--db", str(kept.path)]) == 2
    assert "such as EX/c1" in capsys.readouterr().err


def test_exports_sum_sub_holders(exchange):
    rows = rows_of(exported(exchange, "holders"))
    summed = {row["asset"]: row for row in rows if row["holder"] == "EX/*"}
    assert set(summed) == {"cash:USDT", "units:T"}
    for asset, row in summed.items():
        for where in (ho.FREE, ho.HELD):
            assert minor(row[where]) == own(exchange, f"{asset}:{where}", *FAMILY)
        mine = [one for one in rows if one["holder"] in FAMILY and one["asset"] == asset]
        assert minor(row["value"]) == sum(minor(one["value"]) for one in mine)
    assert {row["holder"] for row in rows} == {*FAMILY, "EXTRA", "EX/*", "issuer"}
    assert {row["holder"] for row in rows_of(exported(exchange, "statement", "2026-01", "csv", "--holder", "EX"))} == {
        *FAMILY
    }
    ledgers = rows_of(exported(exchange, "trial-balance"))
    together = [row for row in ledgers if row["ledger"] == "EX/*"]
    assert together
    for row in together:
        assert minor(row["closing"]) == own(exchange, f"{row['asset']}:{row['account']}", *FAMILY)
    (all_free,) = [r for r in ledgers if (r["ledger"], r["asset"], r["account"]) == ("holders", "cash:USDT", "free")]
    assert minor(all_free["closing"]) == own(exchange, "cash:USDT:free", *exchange.primary.holders)
