"""What is asked at a terminal: it is kept until a desk takes it, and the line that asks again is the same request."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from typer.main import get_command

from gearing.cli.main import app, main, with_environment
from gearing.core.money import MINOR, as_text
from gearing.desk import issuer
from gearing.desk.counter import answer
from gearing.desk.keeper import commit_of
from gearing.desk.lock import DeskLock
from gearing.desk.requests import Adopt, AskQuote, Deal, encode, wanted_of
from gearing.drive.reconciling import due_cash
from gearing.store.records import Answer
from tests.desks import stated
from tests.test_primary import market
from tests.test_store_dealing import busy, kept

__all__ = ["kept"]

ASKED = [
    ["deposit", "h1", "5000.5", "--reference", "D 17", "--asset", "EUR", "--by", "ann"],
    ["withdraw", "h1", "1", "--reference", "it's out"],
    ["subscribe", "h1", "T", "100", "--instant"],
    ["redeem", "h2", "T", "all"],
    ["redeem", "h2", "T", "0.5", "--instant"],
    ["quote", "h1", "T", "subscribe", "100"],
    ["take", "h1", "h1.q1"],
    ["cancel", "h1", "h1.7"],
    ["transfer", "h2", "h1", "0.25", "--token", "T", "--reference", "t"],
    ["transfer", "h2", "h1", "0.25", "--reference", "t"],
    ["halt", "T", "--reason", "it's odd", "--by", "ann"],
    ["resume", "T", "--reason", "r"],
    ["close", "T", "--reason", "r"],
    ["rebalance", "T", "--reason", "r"],
    ["pause", "T", "--reason", "r"],
    ["unpause", "T", "--reason", "r", "--timeout", "0.1"],
    ["token", "merge", "T", "--factor", "10", "--reason", "r", "--by", "ann"],
    ["fees", "take", "T", "all", "--how", "cash", "--reason", "r"],
]


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")


def typed(desk, words):
    """Runs a command on a desk's database; nobody is asked first."""
    asks = words[0] == "quote"
    return main([*words, "--db", str(desk.path), *(() if asks else ("--yes",))])


@pytest.mark.parametrize("words", ASKED, ids=lambda words: " ".join(words[:2]))
def test_the_line_that_asks_again_is_the_same_request(kept, capsys, words):
    busy(kept)
    assert typed(kept, words) == 4
    (request,) = kept.store.requests()
    line = capsys.readouterr().err.partition("To ask again: ")[2]
    program, *again = shlex.split(line)
    assert program == "gearing"
    assert main(again) == 4  # with what it says and nothing else
    assert [one.number for one in kept.store.requests()] == [request.number]


def test_all_units_are_those_that_were_free_when_it_was_asked_first(kept, capsys):
    busy(kept)
    has = kept.units("h2")
    assert typed(kept, ["redeem", "h2", "T", "all", "--key", "k"]) == 4
    again = shlex.split(capsys.readouterr().err.partition("To ask again: ")[2])[1:]
    kept.ask("h2", "redeem", 3 * MINOR)  # now it is less
    kept.take()
    assert kept.units("h2") == has - 3 * MINOR
    assert main(again) == 4
    assert [wanted_of(one.body).amount for one in kept.store.requests()] == [has]


def test_a_quote_for_all_units_is_for_those_that_are_free(kept, capsys):
    busy(kept)
    assert typed(kept, ["quote", "h2", "T", "redeem", "all"]) == 4
    (asked,) = [wanted_of(one.body) for one in kept.store.requests()]
    assert asked == AskQuote(holder="h2", token="T", side="redeem", amount=kept.units("h2"))
    assert f"quote h2 T redeem {as_text(kept.units('h2'))} " in capsys.readouterr().err
    assert typed(kept, ["quote", "h2", "T", "subscribe", "all"]) == 2
    assert "AMOUNT" in capsys.readouterr().err
    assert typed(kept, ["quote", "h9", "T", "redeem", "all"]) == 2
    assert "there is no holder h9" in capsys.readouterr().err


def test_a_quote_says_how_it_is_taken(kept, capsys):
    busy(kept)
    wanted = AskQuote(holder="h1", token="T", side="subscribe", amount=100 * MINOR)
    asked = kept.store.ask("holder:h1", "k", encode(wanted))
    given = msgspec.json.encode({"done": True, "words": "h1.q7: terms.", "time_ms": 1, "status": "open", "id": "h1.q7"})
    kept.store.commit([commit_of(None, (), (Answer(asked.number, given, 0),))])
    assert typed(kept, ["quote", "h1", "T", "subscribe", "100", "--key", "k"]) == 0
    out = capsys.readouterr()
    assert out.out.split() == f"DEMO {kept.path}: h1.q7: terms.".split()  # folded, by how long the path is
    assert f"gearing take h1 h1.q7 --db {kept.path}" in out.err


@pytest.mark.parametrize(("left_s", "words"), [(90.4, r"It expires at \d\d:\d\d:\d\d, in 90 s\.\n"),
                                               (7_300.0, r"It expires at \d\d:\d\d:\d\d, in 2 h\.\n"),
                                               (-1.0, r"It expired at \d\d:\d\d:\d\d, 1 s ago\.\n")])  # fmt: skip
def test_a_quote_says_when_it_expires_on_the_readers_clock(kept, capsys, monkeypatch, left_s, words):
    busy(kept)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        asked = kept.store.ask(
            "holder:h1", "k", encode(AskQuote(holder="h1", token="T", side="subscribe", amount=10**10))
        )
        expires = datetime.now(UTC) + timedelta(seconds=left_s)
        terms = {"unit_price": 1, "inav": 1, "difference_pct": 0.1, "fee": 0, "expires_ms": 1,
                 "expires_at": expires.isoformat()}  # fmt: skip
        given = {"done": True, "words": "h1.q7: terms.", "time_ms": 1, "id": "h1.q7", "terms": terms}
        kept.store.commit([commit_of(None, (), (Answer(asked.number, msgspec.json.encode(given), 0),))])
        assert typed(kept, ["quote", "h1", "T", "subscribe", "100", "--key", "k"]) == 0
        shown = capsys.readouterr().out
        assert re.fullmatch(rf"DEMO\s.*desk\.db:\sh1\.q7:\sterms\.\n{words}", shown)
        assert f"{(expires + timedelta(hours=9)):%H:%M:%S}" in shown
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_refusal_is_told_as_one(kept, capsys):
    busy(kept)
    asked = kept.store.ask("holder:h1", "k", encode(Deal(holder="h1", token="T", side="subscribe", amount=MINOR)))
    refused = msgspec.json.encode({"done": False, "words": "T is halted", "time_ms": 1, "status": "halted"})
    kept.store.commit([commit_of(None, (), (Answer(asked.number, refused, 0),))])
    assert typed(kept, ["subscribe", "h1", "T", "1", "--key", "k"]) == 2
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", f"error: DEMO {kept.path}: rejected: T is halted.\n")


def test_an_adoption_shows_what_it_then_does(kept, capsys):
    """The sums and units of the question are those of the answer."""
    busy(kept)
    desk, lots = kept, kept.it.state.legs[0].lots
    desk.driver.operate(desk.it, "halt", "ann", "test", desk.now_ms)
    desk.driver.on_statement(desk.it.book, msgspec.structs.replace(
        good := stated(desk, {"A": lots + 2_500}),
        wallet={"USDT": good.wallet["USDT"] - due_cash(desk.it.book)["USDT"] - 1_000 * MINOR},
    ))  # fmt: skip
    assert desk.it.book.state.halted
    desk.take()
    command = ["book", "adopt", "main", "--reason", "why", "--db", str(desk.path)]
    assert main(command) == 2
    out = capsys.readouterr()
    assert "book adopt: nothing was done: there is no terminal to ask at" in out.err
    first, heads, row, _, *rest = out.out.splitlines()
    told = " ".join(rest)
    assert first == f"DEMO {desk.path}:"
    assert heads.split() == ["by", "the", "ledger", "at", "the", "venue", "difference"]
    assert row.split()[::3] == ["A", "+2.5"]
    (paid,) = re.findall(r"[tT]he reserve pays ([\d,.]+) USDT", told)
    assert told.startswith("Token T takes +2.5 A at the mark, free of charge; the reserve pays ")
    less = "If the reserve has less, the desk rejects this: name the tokens that pay, with --token."
    assert told.endswith(
        f"{less} Then book main trades again. Token T stays halted until it is resumed (gearing resume T)."
    )
    assert main([*command, "--token", "T", "--token", "U"]) == 2
    assert "book main has no token U. It has T." in capsys.readouterr().err
    assert main([*command, "--token", "T", "--token", "T"]) == 2
    assert "; token T pays " in " ".join(capsys.readouterr().out.split())
    adopted = issuer.answer(
        desk.driver, Adopt(book="main", differences=desk.it.book.state.differences, by="ann", reason="why"),
        desk.now_ms, 10**15,
    )  # fmt: skip
    assert adopted.words == (
        f"Book main has adopted what its venue holds, and trades again: the reserve paid {paid} USDT; token T took "
        "+2.5 A; token T is still halted: gearing resume T."
    )


def test_without_a_terminal_nobody_can_be_asked(kept, capsys):
    busy(kept)
    assert main(["token", "merge", "T", "--factor", "10", "--reason", "r", "--db", str(kept.path)]) == 2
    assert "token merge: nothing was done: there is no terminal to ask at" in capsys.readouterr().err
    assert kept.store.requests() == []


@pytest.mark.parametrize("where", ["token", "book"])
def test_who_waits_for_a_halted_token_is_told_so(where):
    desk = market()
    if where == "token":
        desk.driver.operate(desk.it, "halt", "ann", "test", desk.now_ms)
    else:
        desk.it.book.state = msgspec.structs.replace(desk.it.book.state, halted="C1: a difference")
    redeem = Deal(holder="issuer", token="T", side="redeem", amount=MINOR)
    first, second = (answer(desk.driver, redeem, desk.now_ms) for _ in range(2))
    why = "T is halted; dealing goes on once it is resumed"
    if where == "book":
        why = "the book of T is halted (C1: a difference); dealing goes on once T is resumed"
    assert first.words == f"issuer.1 is accepted, number 1 of the redemptions that wait in T. It waits: {why}."
    assert second.words == f"issuer.2 is accepted, number 2 of the redemptions that wait in T. It waits: {why}."
    assert (first.deals_ms, second.place) == (0, 2)


def test_an_acceptance_says_when_it_is_dealt_and_its_place_counts_its_own_side():
    desk = market()
    desk.deposit("h1", 5_000)
    redeem = Deal(holder="issuer", token="T", side="redeem", amount=MINOR)
    subscribe = Deal(holder="h1", token="T", side="subscribe", amount=1_000 * MINOR)
    ends_ms = (desk.now_ms // 60_000 + 1) * 60_000
    desk.quote(100.0, after_ms=ends_ms - 30_000 - desk.now_ms)
    first, second = (answer(desk.driver, one, ends_ms - 30_000) for one in (redeem, subscribe))
    assert first.deals_ms == second.deals_ms == ends_ms
    # What comes once the average forms is dealt a window later.
    assert answer(desk.driver, redeem, ends_ms - 29_999).deals_ms == ends_ms + 60_000
    assert (first.place, second.place) == (1, 1)
    assert second.words == (
        f"h1.1 is accepted, number 1 of the subscriptions that wait in T. It is dealt at "
        f"{datetime.fromtimestamp(ends_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC at the earliest."
    )


def test_requests_that_wait_are_listed_with_since_when_and_why(kept, capsys):
    kept.deposit("h1", 20_000)
    kept.ask("h1", "subscribe", 6_000 * MINOR)
    kept.take()
    since = f"{datetime.fromtimestamp(kept.now_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"

    def listed():
        assert main(["holders", "h1", "--db", str(kept.path)]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    assert f"   {since}   dealt at 2026-" in listed()
    assert listed().endswith(" at the earliest")
    kept.driver.operate(kept.it, "pause", "ann", "test", kept.now_ms)
    kept.take()
    assert listed().endswith("creations of T are paused; dealing goes on once they are resumed")
    kept.driver.operate(kept.it, "halt", "ann", "test", kept.now_ms)
    kept.take()
    assert listed().endswith("T is halted; dealing goes on once it is resumed")
    assert main(["holders", "h1", "--db", str(kept.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["waits"] == {"h1.1": "T is halted; dealing goes on once it is resumed"}


# Which desk is asked, and what is never taken from the environment.


def refused_at(capsys, words):
    assert main(words) == 2
    return capsys.readouterr().err


READ = [["status"], ["token", "list"], ["token", "show", "T"], ["token", "show", "T", "--public"], ["rebalances"],
        ["holders"], ["holder", "statement", "h1"], ["fees", "show"], ["cash", "plan"]]  # fmt: skip


def test_all_commands_are_about_the_desk_that_runs_in_the_folder_else_the_demo(kept, capsys, monkeypatch):
    monkeypatch.chdir(kept.path.parent)
    write = ["subscribe", "h1", "T", "1", "--yes", "--timeout", "0"]
    for command, more in ((write, ""), (["status"], ", and there is no gearing-demo.db")):
        assert refused_at(capsys, command) == (
            f"error: --db: no desk runs in this folder{more}. Start one with gearing up, or name a database: desk.db.\n"
        )
    shutil.copy(kept.path, "other.db")
    with DeskLock(Path("desk.db")):
        assert main(write) == 4
        assert "note: DEMO desk.db: request 1: no answer within 0 s. The request is kept" in capsys.readouterr().err
        assert main(["status"]) == 0
        assert capsys.readouterr().out.startswith("DEMO desk.db: a desk runs.\n")
        with DeskLock(Path("other.db")):
            for command in (write, ["status"]):
                assert "several desks run in this folder. Name the desk's database: desk.db, other.db." in (
                    refused_at(capsys, command)
                )
            assert main([*write, "--db", "other.db"]) == 4
    shutil.copy(kept.path, "backup.db")  # on which no desk ran
    assert "name a database: desk.db, other.db." in refused_at(capsys, ["status"])
    shutil.copy(kept.path, "gearing-demo.db")
    assert "no desk runs in this folder. Start one" in refused_at(capsys, write)  # what changes a desk names it
    assert main([*write, "--db", "gearing-demo.db"]) == 4
    assert "DEMO gearing-demo.db: request 1: no desk runs on this database" in capsys.readouterr().err
    assert main(["status"]) == 0
    assert capsys.readouterr().out.startswith("DEMO gearing-demo.db: no desk runs.\n")
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    assert "gearing up starts a desk." in refused_at(capsys, write)


@pytest.mark.parametrize("words", READ, ids=" ".join)
def test_what_is_read_names_mode_and_database(kept, capsys, words):
    busy(kept)
    assert main([*words, "--db", str(kept.path)]) == 0
    assert capsys.readouterr().out.replace("\n", " ").startswith(f"DEMO {kept.path}: no desk runs. ")
    assert main([*words, "--db", str(kept.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["database"], told["mode"]) == (str(kept.path), "demo")


def test_the_length_of_the_journal_is_that_of_all_streams(kept, capsys):
    busy(kept)
    assert any(stream.startswith("flows:") for stream in kept.store.streams())
    assert main(["status", "--db", str(kept.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == kept.store.end().n == sum(kept.store.streams().values())


def test_every_question_begins_with_mode_and_database(kept, capsys, monkeypatch):
    busy(kept)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *args, **more: False)
    for words in ASKED:
        if words[0] not in {"quote", "take"}:  # the one asks nothing, and there is no quote to take
            assert main([*words, "--db", str(kept.path)]) == 130
            assert capsys.readouterr().out.replace("\n", " ").startswith(f"DEMO {kept.path}: ")


@pytest.mark.parametrize("words", ASKED, ids=lambda words: " ".join(words[:2]))
def test_consent_and_what_is_to_be_done_are_never_taken_from_the_environment(words):
    command = with_environment(get_command(app))
    for name in words[: 1 + (words[0] in {"token", "fees"})]:
        command = command.commands[name]
    taken = {option.opts[0] for option in command.params if getattr(option, "envvar", None)}
    assert taken == {"--db", "--timeout", "--json"}


def test_no_command_takes_consent_from_the_environment():
    def walk(command):
        yield command
        for inner in getattr(command, "commands", {}).values():
            yield from walk(inner)

    never = {"--yes", "--reference", "--reason", "--by", "--key", "--force"}
    for command in walk(with_environment(get_command(app))):
        for option in command.params:
            assert not (never & set(option.opts) and option.envvar), (command.name, option.opts)
