"""Where the money of books is: the plan adds up with the ledger, and moves what flows brought by default."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import pytest

from gearing.cli.main import main
from gearing.core import book as bk
from gearing.core import holder as ho
from gearing.core.book import BookState
from gearing.core.money import MINOR
from gearing.drive.cash import Account, accounts
from gearing.drive.reconciling import due_cash
from tests.lives import CAPITAL
from tests.test_store_dealing import busy, kept, told

__all__ = ["kept"]


def test_by_default_what_is_due_is_to_be_moved(kept, capsys):
    busy(kept)
    found = json.loads(told(capsys, "cash", "plan", "--db", kept.path, "--json"))
    (book,) = found["books"]
    assert book["to_move"] == book["due"] == due_cash(kept.book)["USDT"] != 0
    balances = kept.it.state.balances
    assert book["target"] == book["worth"] == balances.wallet + balances.unrealised
    # What the venue has is what it was seeded with, and what was won, lost and charged there.
    venue = balances.wallet + balances.unrealised - kept.it.state.brought
    assert book["at_venue"] == venue
    assert venue == pytest.approx(CAPITAL, rel=0.2)
    holders = [one.state for name, one in kept.primary.holders.items() if name != ho.ISSUER]
    own = kept.primary.holders[ho.ISSUER].state
    assert found["reserve"] == {"USDT": {
        "holders": sum(one.cash("USDT") + one.cash("USDT", ho.HELD) for one in holders),
        "issuer": own.cash("USDT") + own.cash("USDT", ho.HELD), "unasked": 0,
    }}  # fmt: skip


def test_a_smaller_part_frees_the_rest(kept):
    busy(kept)
    state = kept.it.state
    (one,) = accounts([("USDT", state)], BookState(moved={"USDT": 5}), Decimal("0.4"))
    assert one.due == state.brought - 5
    assert 0 <= one.target - Decimal("0.4") * one.worth < 1
    assert one.at_venue + one.due == one.worth
    assert one.at_venue + one.to_move == one.target
    assert (
        accounts([("USDT", state), ("USDC", state), ("USDT", state)], BookState(), Decimal(1))[1].worth == 2 * one.worth
    )
    assert Account("USDT", -7, 0, 0).to_move == 7  # what is lacking is to be brought


def test_what_came_unasked_goes_to_the_reserve(kept, capsys):
    busy(kept)
    before = json.loads(told(capsys, "cash", "plan", "--db", kept.path, "--json"))["books"][0]
    for n, asset in enumerate(("USDT", "BNB", "USDT")):
        kept.driver.note(kept.book, bk.Received(time_ms=kept.now_ms, id=f"in{n}", asset=asset, amount=7 * MINOR))
    kept.take()
    found = json.loads(told(capsys, "cash", "plan", "--db", kept.path, "--json"))
    other, book = found["books"]
    assert (other["currency"], other["worth"], other["at_venue"], other["to_move"]) == ("BNB", 0, 7 * MINOR, -7 * MINOR)
    assert (book["worth"], book["due"]) == (before["worth"], before["due"] - 14 * MINOR)
    assert found["reserve"]["USDT"]["unasked"] == 14 * MINOR
    assert "14.00 that came unasked" in told(capsys, "cash", "plan", "--db", kept.path)


@pytest.mark.parametrize(
    ("given", "words"),
    [("1.2", "'1.2' is no part"), ("x", "'x' is no part"), ("nan", "is no part"), ("B=0.4", "there is no book B. ")],
)  # fmt: skip
def test_what_is_no_plan_is_said(kept, capsys, given, words):
    assert main(["cash", "plan", "--collateral", given, "--db", str(kept.path)]) == 2
    assert words in capsys.readouterr().err


def test_a_plan_that_is_only_shown_says_so_and_fits(kept, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    busy(kept)
    shown = told(capsys, "cash", "plan", "--collateral", "main=0.4", "--db", kept.path)
    assert "only shown" in shown
    assert "from venue " in shown
    table = re.split(r"no\s+desk\s+runs\.\n", shown)[1]  # after the database's path, which may be long
    assert max(map(len, table.splitlines())) <= 80
    assert "moved with the next reconciliation" in told(capsys, "cash", "plan", "--db", kept.path)
    assert kept.it.state.balances.units > 1_000 * MINOR
