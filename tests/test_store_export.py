"""An exported file alone is enough to work every NAV out anew, and whatever was changed in it is said."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

import numpy as np
import pytest
from tools.docs.examples import ROOT, blocks

import gearing as gr
from gearing.core import events as ev
from gearing.core.journal import GENESIS, export_line
from gearing.core.state import TokenState
from gearing.core.step import step
from gearing.core.terms import Spec
from gearing.core.working import Working
from gearing.store import recompute as script
from gearing.store.anchor import key_path
from gearing.store.database import connect
from gearing.store.errors import DatabaseError
from gearing.store.keys import read_key
from gearing.store.recompute import Report, recompute
from gearing.store.store import Store
from gearing.study.exact import exact_backtest
from gearing.study.exact_result import Happened
from tests.anchors import anchored, further
from tests.journals import COSTS, NOW_MS, book_commits, database, happened, lines_of, token_commits

STREAM = "token:BTC3L"
LATER_MS = happened()[-1].event.time_ms + 60_000


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = database(tmp_path_factory.mktemp("e") / "desk.db", token_commits(happened()), book_commits())
    return lines_of(path)


def whats(report: Report) -> list[tuple[int, str]]:
    return [(d.seq, d.what) for d in report.differences]


def test_a_line_holds_byte_for_byte_what_was_hashed(tmp_path):
    commits = token_commits(happened())
    path = database(tmp_path / "desk.db", commits, book_commits())
    lines, before = lines_of(path, STREAM), GENESIS
    assert len(lines) == len(commits) + 13
    for n, (line, commit) in enumerate(zip(lines[:-13], commits, strict=True), 1):
        told = json.loads(line)
        assert list(told) == ["n", "hash", "prev", "body"]
        assert line == b'{"n":%d,"hash":"%b","prev":"%b","body":%b}\n' % (
            n, told["hash"].encode(), before.encode(), commit.lines[0].body,
        )  # fmt: skip
        before = told["hash"]
    # Of the book's lines the leaves alone are told.
    assert [list(json.loads(line)) for line in lines[-13:]] == [["n", "leaf"]] * 13
    whole = [json.loads(line) for line in lines_of(path)]
    assert [line["body"]["stream"] for line in whole[-14:]] == [STREAM] + ["book:main"] * 13
    assert [line["n"] for line in whole] == list(range(1, len(whole) + 1))


def test_what_the_documentation_says_to_a_stranger_checks_a_line(export, tmp_path):
    """The very commands of the page are run, by a shell, on a true line and on one with another number in it."""
    page = (ROOT / "docs" / "reference" / "journal.md").read_text(encoding="utf-8")
    command = next(block.text for block in blocks(page) if block.kind == "sh" and "sha256sum" in block.text)
    assert "sed -n 5p" in command
    (tmp_path / "journal.jsonl").write_bytes(b"".join(export))
    run = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True, text=True)
    assert run.stdout.split()[0] == json.loads(export[4])["hash"]
    (tmp_path / "journal.jsonl").write_bytes(b"".join(export).replace(b'"seq":5,', b'"seq":6,'))
    run = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True, text=True)
    assert run.stdout.split()[0] != json.loads(export[4])["hash"]


def test_what_the_documentation_says_checks_the_signature_of_an_export(tmp_path):
    """The very commands of the page are run, by a shell, on a true head and on one that was changed."""
    path = anchored(tmp_path / "desk.db")
    page = (ROOT / "docs" / "reference" / "journal.md").read_text(encoding="utf-8")
    command = next(block.text for block in blocks(page) if block.kind == "sh" and "pkeyutl" in block.text)
    if not (shutil.which("openssl") and shutil.which("xxd")):
        pytest.skip("openssl or xxd is missing")
    command = command.replace("KEY=5f0c…", f"KEY={read_key(key_path(path)).public}")
    further(path, 60, 65)  # lines after the last head
    whole = b"".join(lines_of(path))
    for text, words in ((whole, "Successfully"), (whole.replace(b'"key":"', b'"key":"0'), "Failure")):
        (tmp_path / "journal.jsonl").write_bytes(text)
        run = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False, text=True)
        assert words in run.stdout + run.stderr


def test_a_stream_that_is_not_there_is_said(tmp_path):
    path = database(tmp_path / "desk.db", book_commits())
    with pytest.raises(DatabaseError, match=r"no stream 'token:X'. There are: book:main"):
        lines_of(path, "token:X")
    connect(path).execute("UPDATE journal SET body = x'0a' WHERE seq = 3")
    with pytest.raises(
        DatabaseError, match=r"line 3 of book:main is damaged. See what else is: gearing journal verify"
    ):
        lines_of(path)


@pytest.mark.parametrize(
    "market",
    [{}, {"target": -3.0}, {"all_in": True}, {"volatility": 6.0}, {"target": -3.0, "volatility": 9.0}],
    ids=str,
)
def test_every_nav_is_the_one_that_was_journalled(tmp_path, market):
    events = happened(**market)
    report = recompute(lines_of(database(tmp_path / "desk.db", token_commits(events))))
    assert report.differences == []
    assert report.navs == len(events)
    assert len({seen.state.nav for seen in events}) > 100
    stream = f"token:{events[0].event.token.symbol}"
    assert report.heads[stream][0] == len(events)


def crash(margined: bool) -> list[Happened]:
    """Falls by a fifth a day, and then by half at once."""
    hours = NOW_MS // 3_600_000 * 3_600_000 + 3_600_000 * np.arange(72)
    close = np.where(np.arange(72) < 60, 40_000.0 * 0.99 ** np.arange(72), 9_000.5)
    tiers = (gr.MarginTier(notional_max=float("inf"), rate=0.05, amount=0.0),) if margined else ()
    token = gr.Token(symbol="BTC3L", target=3.0, rule="ftx", costs=COSTS,
                     legs=(gr.Perpetual(symbol="BTC", margin_tiers=tiers),))  # fmt: skip
    return exact_backtest(token, gr.read_prices((hours, close))).happened


def test_a_liquidation_and_a_wipe_out_are_worked_out(tmp_path):
    for name, margined, kind in (("a", True, ev.Liquidated), ("b", False, ev.Marked)):
        events = crash(margined)
        assert events[-1].state.status == "wiped"
        assert any(isinstance(seen.event, kind) for seen in events)
        assert any(posting.account == "reserve" for seen in events for posting in seen.entry)
        lines = lines_of(database(tmp_path / f"{name}.db", token_commits(tuple(events))))
        assert recompute(lines).differences == []
        # A reserve that pays in more than was lacking makes a NAV out of nothing.
        more = [re.sub(rb'\["reserve",-(\d)', rb'["reserve",-1\1', line) for line in lines]
        assert "reserve" in recompute(more).counts


def followed(before: tuple[Happened, ...], events: list[ev.TokenEvent]) -> tuple[Happened, ...]:
    """A journal that goes on with these events."""
    launched = before[0].event
    assert isinstance(launched, ev.Launched)
    spec, state, found = Spec(launched.token), before[-1].state, list(before)
    for event in events:
        done = step(spec, state, event)
        state = done.state
        found.append(Happened(0, event, done.entry, state))
    return tuple(found)


def test_units_that_were_merged_are_worked_out(tmp_path):
    events = followed(happened(), [ev.Consolidated(time_ms=LATER_MS, factor=factor) for factor in (3.0, 7.3)])
    lines = lines_of(database(tmp_path / "desk.db", token_commits(events)))
    assert recompute(lines).differences == []
    assert recompute([line.replace(b'"factor":7.3', b'"factor":7.4') for line in lines]).counts["units"] == 1


def test_a_part_that_the_venue_closed_is_marked_at_its_price(tmp_path):
    leg = happened()[-1].state.legs[0]
    event = ev.Liquidated(time_ms=LATER_MS, leg=0, lots=-leg.lots // 3, price=leg.mark * 0.98, charge=7, trade="v1",
                          deleveraged=True)  # fmt: skip
    events = followed(happened(), [event])
    assert not events[-1].state.is_flat
    assert recompute(lines_of(database(tmp_path / "desk.db", token_commits(events)))).differences == []


def test_funding_of_a_frozen_token_moves_its_wallet_as_the_venue_moved_it(tmp_path):
    """Its equity was gone, and its order is not filled yet when the price comes back and funding is settled."""
    price = happened()[-1].state.legs[0].mark
    lots = happened()[-1].state.legs[0].lots
    events = followed(happened(), [
        ev.Marked(time_ms=LATER_MS, prices=(price * 0.5,), before_ms=LATER_MS - 1),
        ev.Marked(time_ms=LATER_MS + 1, prices=(price,), before_ms=LATER_MS),
        ev.FundingSettled(time_ms=LATER_MS + 2, leg=0, settlement_ms=LATER_MS + 2, lots=lots, rate=0.0001, amount=-5,
                          prices=(price,)),
    ])  # fmt: skip
    before, after = events[-2].state, events[-1].state
    assert after.status == "wiped"
    assert after.balances.wallet == before.balances.wallet - 5
    assert after.balances.funding == before.balances.funding + 5
    assert recompute(lines_of(database(tmp_path / "desk.db", token_commits(events)))).differences == []


def test_trades_of_any_kind_cost_what_the_ledger_says():
    """Opened, raised, closed in parts, turned round: at random, against the ledger's own books."""
    dice, shares = random.Random(7), random.Random(8)
    launched = happened()[0].event
    assert isinstance(launched, ev.Launched)
    work = Working(Spec(launched.token), happened()[1].state)
    token = script.Portfolio()
    token.wallet = work.balances.wallet
    token.legs = [script.Leg(Decimal(work.legs[0].lot), Decimal(repr(work.legs[0].mark)))]
    turns = 0
    for _ in range(500):
        lots, price = dice.choice((-1, 1)) * dice.randint(1, 10**6), round(dice.uniform(20_000, 60_000), 2)
        held, charge = work.legs[0].lots, dice.randint(0, 10**6)
        paid = script.worth(lots, token.legs[0].lot, Decimal(repr(price)), ROUND_CEILING)
        if shares.random() < 0.5:  # a part of a trade of several tokens
            paid += shares.choice((-1, 0, 1))
            work.trade(0, lots, price, charge, 0, paid=paid)
        else:
            work.trade(0, lots, price, charge, 0)
        token.trade(token.legs[0], lots, Decimal(repr(price)), charge, paid)
        turns += held * work.legs[0].lots < 0
        assert (token.legs[0].lots, token.legs[0].cost) == (work.legs[0].lots, work.legs[0].basis)
        assert (token.wallet, token.unrealised) == (work.balances.wallet, work.balances.unrealised)
    assert turns > 20


def forged(lines: list[bytes], number: int, change) -> list[bytes]:
    """The file as a forger would leave it: one body changed, and every hash of its stream made to fit."""
    found, heads = [], dict[str, str]()
    for k, line in enumerate(lines):
        body = line[line.index(b'"body":') + 7 : -2]
        if k == number:
            told = json.loads(body)
            change(told)
            body = json.dumps(told, separators=(",", ":")).encode()
        stream = json.loads(body)["stream"]
        before = heads.get(stream, GENESIS)
        heads[stream] = hashlib.sha256(before.encode() + b"\n" + body).hexdigest()
        found.append(export_line(json.loads(line)["n"], heads[stream], before, body))
    return found


def line_with(lines: list[bytes], kind: str, nth: int = 2) -> tuple[int, int]:
    """The place in the file, and the number in its stream, of the nth event of a kind that booked something."""
    places = [k for k, line in enumerate(lines) if b'"event":"%b"' % kind.encode() in line and b'"entry":[[' in line]
    return places[nth], json.loads(lines[places[nth]])["body"]["seq"]


def test_a_tampered_nav_is_found(export):
    place, seq = line_with(export, "nav_struck")
    nav = json.loads(export[place])["body"]["nav"]
    for step_by in (1, -1, 1_000):
        lines = forged(export, place, lambda body, by=step_by: body.update(nav=nav + by))
        report = recompute(lines)
        assert whats(report) == [(seq, "nav")]
        assert (report.differences[0].journal, report.differences[0].recomputed) == (str(nav + step_by), str(nav))
    lines[place] = export[place].replace(b'"nav":%d' % nav, b'"nav":%d' % (nav + 1))
    assert (seq, "chain") in whats(recompute(lines))


@pytest.mark.parametrize(
    ("kind", "nth", "field", "by", "what"),
    [
        ("filled", 0, "price", 1.0, "unrealised"),
        ("filled", 2, "price", 1.0, "wallet"),
        ("filled", 2, "commission", 1, "wallet"),
        ("filled", 2, "lots", 1, "unrealised"),
        ("funding_settled", 2, "amount", -1, "wallet"),
        ("nav_struck", 2, "prices", 0.5, "unrealised"),
        ("seeded", 0, "units", 1, "units"),
        ("seeded", 0, "amount", 1, "wallet"),
    ],
)
def test_an_event_that_was_changed_is_found(export, kind, nth, field, by, what):
    place, seq = line_with(export, kind, nth)

    def change(body):
        event = body["event"]
        event[field] = [price + by for price in event[field]] if isinstance(event[field], list) else event[field] + by

    report = recompute(forged(export, place, change))
    assert report.differences[0].seq == seq
    assert (seq, what) in whats(report)
    assert report.counts["chain"] == 0


def test_a_posting_that_was_changed_is_found(export):
    place, seq = line_with(export, "funding_settled")

    def richer(body):
        body["entry"] += [["wallet", 500], ["funding", -500]]

    def unbalanced(body):
        body["entry"] += [["wallet", 500]]

    def elsewhere(body):
        body["entry"] += [["gift", 500], ["gift", -500]]

    assert whats(recompute(forged(export, place, elsewhere))) == [(seq, "double entry")]
    assert whats(recompute(forged(export, place, richer))) == [(seq, "wallet")]
    assert whats(recompute(forged(export, place, unbalanced))) == [(seq, "double entry"), (seq, "wallet")]


def test_what_was_booked_twice_is_found(export):
    place, _ = line_with(export, "filled", 1)
    first = json.loads(export[line_with(export, "filled", 0)[0]])["body"]["event"]["trade"]
    assert recompute(forged(export, place, lambda body: body["event"].update(trade=first))).counts["trade"] == 1
    place, _ = line_with(export, "funding_settled", 1)
    stamp = json.loads(export[line_with(export, "funding_settled", 0)[0]])["body"]["event"]["settlement_ms"]
    again = forged(export, place, lambda body: body["event"].update(settlement_ms=stamp))
    assert recompute(again).counts["funding"] == 1


def test_lines_that_are_missing_swapped_or_broken_are_found(export):
    place, seq = line_with(export, "nav_struck")
    missing = recompute(export[:place] + export[place + 1 :])
    assert whats(missing)[:3] == [(seq + 1, "anchor"), (seq + 1, "sequence"), (seq + 1, "chain")]
    swapped = [*export]
    swapped[place : place + 2] = reversed(export[place : place + 2])
    assert Counter(what for _, what in whats(recompute(swapped)))["chain"] == 3
    torn = recompute([*export[:place], export[place][:-50], *export[place + 1 :]])
    assert torn.differences[0].what == "line"
    for byte in (70, 200, len(export[place]) - 40):
        line = bytearray(export[place])
        line[byte] ^= 1
        assert recompute([*export[:place], bytes(line), *export[place + 1 :]]).differences


def test_the_script_stands_alone(export, tmp_path):
    """Copied to another place and run without any package, it says the same."""
    copy = tmp_path / "recompute.py"
    copy.write_bytes(Path(script.__file__).read_bytes())
    (tmp_path / "good.jsonl").write_bytes(b"".join(export))
    place, seq = line_with(export, "nav_struck")
    (tmp_path / "bad.jsonl").write_bytes(b"".join(forged(export, place, lambda body: body.update(nav=1))))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        # -I -S: neither this package nor any other is to be found.
        command = [sys.executable, "-I", "-S", str(copy), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    good, bad = run("good.jsonl"), run("bad.jsonl")
    assert (good.returncode, bad.returncode) == (0, 3)
    assert good.stdout.endswith(f"{len(export)} lines, {len(happened())} NAVs recomputed, 0 differences\n")
    assert f"{STREAM} line {seq}: nav: the journal says 1, recomputed " in bad.stdout
    assert run("none.jsonl").returncode == run().returncode == 2
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert run("empty.jsonl").returncode == 3


def test_the_state_of_a_token_is_what_the_script_follows(tmp_path):
    """Wallet, cost and lots of the script are those of the ledger, so that equal NAVs are no accident."""
    events = happened(-3.0)
    path = database(tmp_path / "desk.db", token_commits(events))
    token = script.Portfolio()
    for line in lines_of(path):
        body = json.loads(line, parse_float=Decimal)["body"]
        script.take(token, body, lambda *told: pytest.fail(str(told)))
    state = events[-1].state
    assert isinstance(state, TokenState)
    leg = state.legs[0]
    assert (token.wallet, token.unrealised) == (state.balances.wallet, state.balances.unrealised)
    assert (token.legs[0].lots, token.legs[0].cost) == (leg.lots, leg.basis)
    with Store(path) as store:
        assert store.streams() == {"token:BTC3S": len(events)}
