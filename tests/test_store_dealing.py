"""Dealings in a database: verified, worked out anew by a stranger, and taken up where a desk left them."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

import gearing as gr
from gearing.cli.main import main
from gearing.core import holder as ho
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.desk.boot import boot
from gearing.desk.counter import submit
from gearing.desk.keeper import commit_of
from gearing.desk.requests import TakeQuote
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from gearing.store.database import connect
from gearing.store.recompute import recompute
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.venues.protocol import Quote
from tests.journals import lines_of, new_database, number_again, rows_of
from tests.lives import NOON_MS, token
from tests.test_primary import COSTS, Market


class Kept(Market):
    """A market whose effects are kept in a database."""

    store = None

    def take(self):
        placed = super().take()
        if self.store is not None:
            self.store.commit([commit_of(self.effects, rows_of(self.effects), ())])
        return placed


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "desk.db"
    new_database(path, NOON_MS)
    with Store(path, "demo") as store:
        Kept.store = store
        it = token("A", costs=COSTS, fees=gr.Fees(management_per_day=0.001, creation=0.001, redemption=0.002))
        desk = Kept(it)
        desk.opened()
        desk.path = path
        yield desk
    Kept.store = None


def busy(desk):
    """Comings and goings, matched and hedged, in part and whole, over a day's end."""
    for k in range(3):
        desk.deposit(f"h{k}", 20_000)
        desk.ask(f"h{k}", "subscribe", (k + 1) * 4_321_987_654_32)
    desk.ask(ho.ISSUER, "redeem", 37 * MINOR)
    desk.window(101.0)
    desk.ask("h2", "redeem", desk.units("h2") // 3)
    desk.ask("h1", "subscribe", 5_000 * MINOR)
    desk.window(100.4, part=0.5)
    desk.quote(100.6, after_ms=13 * 3_600_000)
    desk.ask("h0", "redeem", desk.units("h0"))
    desk.window(100.9)
    return desk


def test_what_was_dealt_is_verified_and_worked_out_by_a_stranger(kept):
    busy(kept)
    assert kept.alarms == []
    verdict = verify(kept.path)
    assert verdict.breaches == ()
    assert {one.stream for one in verdict.streams} >= {"holder:h0", "holder:issuer", "token:T"}
    assert verdict.stepped == verdict.lines
    report = recompute(lines_of(kept.path))
    assert report.differences == []
    more = [line.replace(b'"event":"dealing_settled"', b'"event":"dealing_settled"') for line in lines_of(kept.path)]
    (settled,) = [n for n, line in enumerate(more) if b'"dealing_settled"' in line][:1]
    more[settled] = more[settled].replace(b'"units":', b'"units":1', 1)
    assert recompute(more).counts["units"] > 0


def test_a_changed_line_of_a_holder_is_found(kept):
    busy(kept)
    with connect(kept.path) as connection:
        connection.execute("UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), '\"amount\":2000000000000', "
                           "'\"amount\":9') AS BLOB) WHERE stream = 'holder:h1' AND seq = 1")  # fmt: skip
    assert {one.what for one in verify(kept.path).breaches} >= {"chain"}


def test_units_that_nobody_issued_are_found(kept):
    busy(kept)
    with connect(kept.path) as connection:
        connection.execute("DELETE FROM journal WHERE stream = 'holder:h2'")
        connection.execute("DELETE FROM states WHERE stream = 'holder:h2'")
    assert "anchor" in {one.what for one in verify(kept.path).breaches}
    number_again(kept.path)
    supply, money, *shares = verify(kept.path).breaches
    assert {(one.stream, one.what) for one in shares} == {("token:T", "share")}
    assert any(one.found == "no line that gives it to holder:h2" for one in shares)
    assert (supply.stream, supply.what, money.what) == ("token:T", "supply", "money")
    assert supply.found.startswith("holders with ")


def test_a_desk_takes_up_what_waits_and_what_is_being_dealt(kept):
    kept.deposit("h1", 20_000)
    kept.ask("h1", "subscribe", 6_000 * MINOR)
    kept.take()
    (order,) = kept.quote(100.0, after_ms=60_000)
    kept.ask("h1", "subscribe", 1_000 * MINOR)
    kept.take()
    booted = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms)
    running = booted.driver.by_name["T"]
    assert running.flow == kept.it.flow
    assert booted.driver.primary.supply == kept.primary.supply
    assert {n: h.state for n, h in booted.driver.primary.holders.items()} == {
        n: h.state for n, h in kept.primary.holders.items()
    }
    assert running.deals_ms < float("inf")
    assert order.id in booted.driver.books["main"].state.live


def told(capsys, *arguments):
    assert main([*map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_statement_sums_to_what_was_paid_in_and_out(kept, capsys):
    busy(kept)
    kept.mark = 103.0
    kept.quote(103.0, after_ms=60_000)
    for name in ("h0", "h1", "h2", ho.ISSUER):
        (it,) = json.loads(told(capsys, "holder", "statement", name, "--db", kept.path, "--json"))["tokens"]
        paid = kept.primary.holders[name].state.cash("USDT", "T")
        worth = sum(lot["worth"] for lot in it["lots"])
        assert it["profit"] == worth - paid == sum(it["parts"].values())
        assert all(sum(one["parts"].values()) == one["profit"] for one in [*it["lots"], *it["sold"]])
        assert sum(lot["units"] for lot in it["lots"]) == kept.units(name)
    shown = told(capsys, "holder", "statement", "h2", "--db", kept.path)
    assert "T: profit" in shown
    assert "break-even" in shown
    assert "leverage" in shown


def test_who_is_no_holder_has_no_statement(kept, capsys):
    assert main(["holder", "statement", "h77", "--db", str(kept.path)]) == 2
    assert "there is no holder h77" in capsys.readouterr().err


def test_holders_are_shown_with_what_waits(kept, capsys):
    kept.deposit("h1", 20_000)
    kept.ask("h1", "subscribe", 6_000 * MINOR)
    kept.take()
    shown = told(capsys, "holders", "h1", "--db", kept.path)
    assert "14,000.00000000" in shown
    assert re.search(r"h1\.1 +subscribe +T +6,000\.0{8}", shown)
    assert main(["holders", "h9", "--db", str(kept.path)]) == 2
    assert "There are: h1, issuer" in capsys.readouterr().err


def quoting(kept):
    """A desk that gives quotes; one was given, and one was taken."""
    it = kept.it.spec.token
    terms = Terms(quote_valid="1m")
    kept.driver.change(kept.it, msgspec.structs.replace(it, primary=terms), "ann", "quotes", kept.now_ms)
    kept.deposit(ho.DEALER, 50_000)
    kept.deposit("h1", 20_000)
    quotes, found = kept.primary.quotes, []
    for accepts in (True, False):
        found.append(quotes.ask("h1", kept.it, "subscribe", 5_000 * MINOR, kept.now_ms))
        if accepts:
            assert kept.judged(TakeQuote(holder="h1", id=found[0].id)).quote == found[0]
    kept.take()
    return found


def test_a_quote_binds_a_desk_that_begins_anew_too(kept):
    first, second = quoting(kept)
    again = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms).driver
    quotes, running = again.primary.quotes, again.by_name["T"]
    assert quotes.stands(running) == -first.units
    answers = []
    submit(again, TakeQuote(holder="h1", id=second.id), kept.now_ms, answers.append)
    price = Quote(symbol="A", time_ms=kept.now_ms + 1_000, mark=100.0, index=100.0)
    again.on_quotes([price], price.time_ms)
    assert [one.quote for one in answers] == [second]
    assert quotes.stands(running) == -first.units - second.units
    assert again.primary.supply["T"] == running.state.balances.units


def test_instant_dealings_verify(kept):
    quoting(kept)
    kept.window()
    kept.take()
    found = verify(kept.path)
    assert found.breaches == ()
    (taken,) = [one for one in lines_of(kept.path) if b'"event":"exchanged"' in one and b'"lends":true' in one]
    assert b'"units:T:short"' in taken


def test_units_that_were_given_out_ahead_count_as_missing(kept):
    quoting(kept)
    with connect(kept.path) as connection:
        for table in ("journal", "states"):
            connection.execute(f"DELETE FROM {table} WHERE stream = 'holder:dealer'")
    number_again(kept.path)
    found = [(one.stream, one.what) for one in verify(kept.path).breaches]
    # The dealing account's side of the exchange is missing, with all that it had and owed.
    assert found == [("holder:h1", "transfer"), ("token:T", "supply"), *[("", "money")] * 3]


def test_who_dealt_at_once_alone_has_lots_and_the_dealing_account_has_none(kept, capsys):
    quoting(kept)
    (it,) = json.loads(told(capsys, "holder", "statement", "h1", "--db", kept.path, "--json"))["tokens"]
    paid = -kept.primary.holders["h1"].state.cash("USDT", ho.HOLDERS)
    assert [lot["units"] for lot in it["lots"]] == [kept.units("h1")]
    assert sum(it["parts"].values()) == it["profit"] == it["lots"][0]["worth"] + paid
    out = kept.path.with_name("lots.csv")
    assert main(["export", "lots", "--period", "2026", "--db", str(kept.path), "--out", str(out)]) == 0
    named = [line.split(",")[0] for line in out.read_text().splitlines() if not line.startswith("#")]
    assert named == ['"holder"', '"h1"', '"issuer"']
    assert main(["holder", "statement", ho.DEALER, "--db", str(kept.path)]) == 2
    assert "it has no lots" in " ".join(capsys.readouterr().err.split())
