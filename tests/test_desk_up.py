"""The desk as a child process: it comes up, rebalances, is killed, goes on, and does what people ask of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import gearing
from gearing.cli.main import main
from gearing.core.spec_text import format_token, parse_token
from gearing.desk.boot import measured
from gearing.desk.demo import demo_tokens
from gearing.store.database import init_database
from gearing.store.heads import HeadsFile
from gearing.store.keys import make_key
from gearing.store.store import Store
from gearing.store.survey import survey
from gearing.store.verify import verify

DESK = 'mode = "demo"\ndatabase = "desk.db"\nspeed = 20000\nhistory_days = 2\nlog = "desk.jsonl"\n'


def _as_of_a_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have it ignored


@contextmanager
def up(place: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A desk in a process of its own; killed if the block leaves it running."""
    command = [sys.executable, "-m", "gearing.cli.main", "up", "--config", "desk.toml", "--no-console", *arguments]
    paths = [str(Path(gearing.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(command, cwd=place, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=environment, preexec_fn=_as_of_a_terminal) as child:  # fmt: skip  # noqa: PLW1509
        try:
            yield child
        finally:
            child.kill()


def until(holds: Callable[[], Any], seconds: float = 20.0) -> Any:
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come about in time")


def lines(place: Path) -> int:
    if not (place / "desk.db").exists():
        return 0
    with Store(place / "desk.db") as store:
        return sum(projected.seq for projected in store.states())


def grows(place: Path) -> Callable[[], bool]:
    before = lines(place)
    return lambda: lines(place) > before + 8


def halted(place: Path) -> list[str]:
    """Why each book is halted; empty: it is not."""
    with Store(place / "desk.db") as store:
        return [state.halted for state in survey(store).books.values()]


def asked(capsys, *arguments: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = main([*arguments, "--json"])
    out = capsys.readouterr()
    return code, json.loads(out.out) if out.out else out.err


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "desk.toml").write_text(DESK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEARING_DB", "desk.db")
    return tmp_path


def test_killed_at_any_moment_it_goes_on(place):
    reached = []
    for seconds in (0.6, 0.0, 1.1):
        with up(place) as child:
            until(grows(place))
            time.sleep(seconds)
            child.send_signal(signal.SIGKILL)
            child.wait()
        with Store("desk.db") as store:
            reached.append((store.last_ms(), lines(place)))
    assert reached == sorted(reached)
    assert len(set(reached)) == 3
    verdict = verify("desk.db", heads=Path("desk.db.heads"))
    assert verdict.breaches == ()
    assert verdict.anchor.signed is not None
    with Store("desk.db") as store:
        found = measured(store, None, 1_000)
        ended = [one for one in found if not one.is_open]
        assert {one.token for one in ended} == {"BTC3L", "BTC3S", "ETH2L", "TOP2L"}
        # Market time did not go back, and no rebalance was begun twice.
        assert len({(one.token, one.epoch) for one in found}) == len(found)
        assert not [p for p in store.states() if b'"halted":"C1' in p.body]


def test_an_old_copy_is_refused_until_it_is_restored(place, capsys):
    (place / "elsewhere").mkdir()
    Path("desk.toml").write_text(DESK + 'heads = "elsewhere/desk.heads"\nsigning_key = "elsewhere/desk.key"\n')
    with up(place) as child:
        assert child.wait(20) == 2  # a key that was named is not made
        assert "elsewhere/desk.key: there is no such file" in (child.stdout.read() if child.stdout else "")
    made = make_key(place / "elsewhere" / "desk.key")
    with up(place) as child:
        until(grows(place))
        assert main(["db", "backup", "desk.db", "backup.db"]) == 0
        shutil.copy("desk-paper.db", "backup-paper.db")
        with Store("backup.db") as backup:
            end_n = backup.end().n
        file = HeadsFile(place / "elsewhere" / "desk.heads")
        until(lambda: (last := file.last()) is not None and last.record.n > end_n)
        child.kill()
        child.wait()
        assert made.public in (child.stdout.read() if child.stdout else "")
    for name in ("desk", "desk-paper"):
        for left in place.glob(f"{name}.db*"):
            left.unlink()
        shutil.copy(f"{name.replace('desk', 'backup')}.db", f"{name}.db")
    with up(place) as child:
        assert child.wait(20) == 2
        words = " ".join((child.stdout.read() if child.stdout else "").split())
        assert "it is an old copy, or was changed" in words
    Path("desk.db").unlink()
    heads = ["--heads", "elsewhere/desk.heads"]
    command = ["db", "restore", "backup.db", "desk.db", "--reason", "the disk failed", *heads]
    assert main([*command, "--signing-key", "elsewhere/desk.key"]) == 0
    with up(place):
        until(grows(place))
    capsys.readouterr()
    assert main(["journal", "verify", "desk.db", *heads, "--trust", made.public]) == 0
    assert not [file.name for file in place.iterdir() if file.name.endswith((".heads", ".key"))]


def test_what_people_ask_is_done_once_and_answered(place, capsys):
    with up(place, "--speed", "3000") as child:
        until(grows(place))
        assert asked(capsys, "status")[1]["running"] is True
        code, answer = asked(capsys, "halt", "BTC3L", "--reason", "a test", "--by", "ann", "--key", "k1", "--yes")
        assert (code, answer["answer"]["done"], answer["answer"]["status"]) == (0, True, "halted")
        assert asked(capsys, "halt", "BTC3L", "--reason", "a test", "--by", "ann", "--key", "k1", "--yes")[1] == answer
        assert main(["halt", "BTC3L", "--reason", "other", "--by", "ann", "--key", "k1", "--yes"]) == 2
        assert main(["halt", "BTC3L", "--reason", "again", "--yes"]) == 2
        assert main(["rebalance", "BTC3L", "--reason", "while halted", "--yes"]) == 2
        assert main(["halt", "NOBODY", "--reason", "a test", "--yes"]) == 2
        halted_ms = answer["answer"]["time_ms"]
        assert asked(capsys, "rebalance", "ETH2L", "--reason", "now", "--yes")[0] == 0
        assert asked(capsys, "close", "TOP2L", "--reason", "the end", "--yes")[0] == 0
        until(lambda: _status(capsys, "TOP2L")["status"] == "closed")
        assert main(["resume", "TOP2L", "--reason", "no", "--yes"]) == 2
        # A day's clock of BTC3L and BTC3S runs out: only the one that is not halted trades.
        until(lambda: _last(capsys, "BTC3S") > halted_ms)
        assert _last(capsys, "BTC3L") < halted_ms
        health = next(
            one["health"] for one in asked(capsys, "status")[1]["tokens"] if one["outlook"]["token"] == "BTC3L"
        )
        assert health == "halted, ann: a test"
        assert asked(capsys, "resume", "BTC3L", "--reason", "well again", "--yes")[1]["answer"]["status"] == "open"
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0
        assert "stopped; `gearing up" in (child.stdout.read() if child.stdout else "")
    written = [json.loads(line) for line in Path("desk.jsonl").read_text().splitlines()]
    assert {line["mode"] for line in written} == {"demo"}
    assert [
        line["event"][:19].strip() if n == 0 else line["event"][:9]
        for n, line in enumerate(one for one in written if one["kind"] == "operated" and one.get("token") == "BTC3L")
    ] == ["halt by ann: a test", "resume by"]


def test_a_running_token_is_changed_and_goes_on_so_after_a_restart(place, capsys):
    file, fresh = Path("eth.toml"), next(one for one in demo_tokens() if one.symbol == "ETH2L")
    fresh = msgspec.structs.replace(fresh, target=2.4, rule=gearing.Rule(name="band", band_lower=2.3, band_upper=2.5))
    file.write_text(format_token(fresh))
    change = ("change", "ETH2L", "eth.toml", "--reason", "more of it", "--by", "ann")
    with up(place, "--speed", "3000") as child:
        until(grows(place))
        assert main(list(change)) == 2  # no terminal, and nobody said yes
        capsys.readouterr()
        # A clock that just ran out is waited for; a refusal is the saved answer of its key.
        keys = (f"k{n}" for n in range(100))
        done = until(lambda: (found := asked(capsys, *change, "--key", next(keys), "--yes"))[0] == 0 and found)[1]
        assert {one["place"]: one["new"] for one in done["differences"]} == {
            "target": "2.4", "rule.band_lower": "2.3", "rule.band_upper": "2.5",
        }  # fmt: skip
        assert main([*change, "--key", done["key"], "--yes"]) == 0  # which gives the saved answer
        assert "changed (target, rule.band_lower, rule.band_upper)" in capsys.readouterr().out
        assert main([*change, "--yes"]) == 2
        assert "there is nothing to change" in capsys.readouterr().err
        changed_ms = done["answer"]["time_ms"]
        until(lambda: _last(capsys, "ETH2L") > changed_ms)
        rebalance = asked(capsys, "rebalances", "ETH2L", "--last", "1")[1]["rebalances"][0]
        assert (rebalance["reason"], rebalance["aim"]) == ("band", 2.4)
        child.kill()
        child.wait()
    Path("other.toml").write_text(format_token(msgspec.structs.replace(fresh, initial_nav=1.0)))
    assert main(["change", "ETH2L", "other.toml", "--reason", "no", "--yes"]) == 2
    assert "initial_nav: expected 100.0, as it was launched" in capsys.readouterr().err
    assert verify("desk.db").breaches == ()
    with up(place):
        until(grows(place))
        assert asked(capsys, "token", "show", "ETH2L")[1]["specification"]["target"] == 2.4


def test_a_file_that_is_not_what_runs_is_told(place):
    fresh = next(one for one in demo_tokens() if one.symbol == "ETH2L")
    Path("eth.toml").write_text(format_token(fresh))
    Path("desk.toml").write_text(DESK + '[[tokens]]\nfile = "eth.toml"\n')
    with up(place):
        until(grows(place))
    Path("eth.toml").write_text(format_token(msgspec.structs.replace(fresh, target=1.95)))
    with up(place) as child:
        until(grows(place))
        child.kill()
        said = child.stdout.read() if child.stdout else ""
    assert "eth.toml differs from what ETH2L runs on (target); to apply it: gearing change ETH2L eth.toml" in said


def _status(capsys, token: str) -> Any:
    return next(one for one in asked(capsys, "token", "list")[1]["tokens"] if one["token"] == token)


def _public(capsys, token: str) -> Any:
    return asked(capsys, "token", "show", token, "--public")[1]["public"]


def _rests(child: subprocess.Popen[str], holds: Callable[[], bool]) -> bool:
    """Stops a process if something holds of it then; else it goes on."""
    child.send_signal(signal.SIGSTOP)
    if holds():
        return True
    child.send_signal(signal.SIGCONT)
    return False


def _last(capsys, token: str) -> int:
    return int(asked(capsys, "rebalances", token, "--last", "1")[1]["rebalances"][0]["started_ms"])


def test_a_stopped_desk_keeps_what_it_is_asked_and_two_do_not_run_at_once(place, capsys):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    Path("desk.toml").write_text(DESK + f"metrics_port = {port}\n")
    with up(place) as child:
        until(grows(place))
        with up(place) as second:
            assert second.wait(20) == 2
            words = " ".join((second.stdout.read() if second.stdout else "").split())
            assert f"another desk runs on this database, process {child.pid}." in words
        child.send_signal(signal.SIGSTOP)
        with up(place) as third:
            assert third.wait(20) == 2
            words = " ".join((third.stdout.read() if third.stdout else "").split())
            assert f"process {child.pid}, which is stopped" in words
            assert f"kill -CONT {child.pid}" in words
        child.send_signal(signal.SIGCONT)
        metrics = until(lambda: _scraped(port, "gearing_nav{"))
        for name in (
            "gearing_ticks_total",
            "gearing_price_age_seconds",
            "gearing_leverage",
            "gearing_commit_seconds_sum",
        ):
            assert name in metrics
        until(lambda: _rests(child, lambda: "below" in _public(capsys, "ETH2L")["legs"][0]))
        child.kill()
        child.wait()
    for command in (["status"], ["token", "list"], ["token", "show", "ETH2L"], ["rebalances"]):
        assert asked(capsys, *command)[0] == 0
        assert main(command) == 0
        assert capsys.readouterr().out
    assert asked(capsys, "status")[1]["running"] is False
    capsys.readouterr()
    public = _public(capsys, "ETH2L")
    assert (public["disclosure"], public["legs"][0]["below"]["side"]) == ("prices", "sell")
    assert not {"leverage", "exposure", "traded", "aim"} & set(public)
    assert main(["token", "show", "ETH2L", "--toml"]) == 0
    assert parse_token(capsys.readouterr().out).target == 2.0
    assert main(["token", "show", "ETH2L", "--toml", "--public"]) == 2
    assert "--toml prints a file" in capsys.readouterr().err
    assert main(["token", "show", "ETH2L", "--public"]) == 0
    assert "sell at" in (told := capsys.readouterr().out)
    assert "lots" not in told
    code, answer = asked(capsys, "halt", "ETH2L", "--reason", "before it starts", "--key", "k2", "--yes")
    assert (code, answer["answer"]) == (4, None)
    assert main(["halt", "ETH2L", "--reason", "nobody to ask"]) == 2
    assert "--yes" in capsys.readouterr().err
    with up(place):
        again = ("halt", "ETH2L", "--reason", "before it starts", "--key", "k2", "--yes")
        until(lambda: asked(capsys, *again)[0] == 0)
        assert _status(capsys, "ETH2L")["status"] == "halted"


def _refused(child: subprocess.Popen[str]) -> str:
    assert child.wait(20) == 2
    return " ".join((child.stdout.read() if child.stdout else "").split())


def test_no_second_desk_runs_through_a_link_and_none_at_another_exchange(place):
    symbolic, hard = place / "links" / "one.db", place / "links" / "two.db"
    symbolic.parent.mkdir()
    symbolic.symlink_to(place / "desk.db")
    with up(place) as child:
        until(grows(place))
        os.link(place / "desk.db", hard)
        for name in (symbolic, hard):
            with up(place, "--db", str(name)) as second:
                assert "another desk runs on this database" in _refused(second)
        assert {file.name for file in symbolic.parent.iterdir()} <= {"one.db", "two.db", "two.db-lock"}
        child.kill()
        child.wait()
    hard.unlink()
    for file in place.glob("desk-paper.db*"):
        file.rename(file.with_name(f"kept-{file.name}"))
    before = lines(place)
    with up(place) as child:
        words = _refused(child)
    assert "desk-paper.db: the file of the paper exchange that this desk trades at is missing." in words
    assert "gearing up --new-exchange" in words
    assert lines(place) == before
    with up(place, "--new-exchange"):
        until(lambda: all(halted(place)))
    with up(place, "--new-exchange") as child:
        assert "the paper exchange's file is there" in _refused(child)
    with up(place, "--db", str(symbolic)):  # the same desk, with its own side files
        until(grows(place))
    assert {file.name for file in symbolic.parent.iterdir()} <= {"one.db", "two.db-lock"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_desk_that_is_ended_while_it_starts_ends_at_once_and_well(place, number):
    (place / "desk.toml").write_text(DESK.replace("history_days = 2", "history_days = 300"))
    with up(place) as child:
        until(lambda: (place / "desk.db-making").exists() or (place / "desk.db").exists())
        child.send_signal(number)
        assert child.wait(10) == 0
        said = child.stdout.read() if child.stdout else ""
        assert "Traceback" not in said
        assert "stopped; `gearing up" in said
    (place / "desk.toml").write_text(DESK)
    with up(place) as child:
        until(lambda: '"started"' in (place / "desk.jsonl").read_text())
        child.send_signal(number)
        assert child.wait(20) == 0
        assert "stopped; `gearing up" in (child.stdout.read() if child.stdout else "")
    assert verify("desk.db").breaches == ()


def test_a_desk_whose_reader_has_gone_goes_on(place):
    with up(place) as child:
        assert child.stdout is not None
        child.stdout.close()
        until(grows(place))
        until(grows(place))
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_program_without_an_open_stream_ends_as_it_would(place, closed):
    command = f"exec {sys.executable} -m gearing.cli.main token list {closed}"
    paths = [str(Path(gearing.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    init_database(place / "desk.db", "demo", 1)
    assert subprocess.run(["sh", "-c", command], env=environment, check=False, timeout=60).returncode == 0


def _scraped(port: int, word: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            text = answer.read().decode()
    except OSError:
        return ""
    return text if word in text else ""


def test_a_database_of_another_mode_is_refused(place):
    init_database("desk.db", "paper", 1)
    with up(place) as child:
        assert child.wait(20) == 2
        assert "this is a database of mode paper; it is not opened as demo" in (
            child.stdout.read() if child.stdout else ""
        )


def test_commands_say_what_is_missing(place, capsys):
    for command in (
        ["status"],
        ["token", "show", "A"],
        ["rebalances"],
        ["halt", "A", "--reason", "b", "--yes"],
        ["change", "A", "desk.toml", "--reason", "b", "--yes"],
    ):
        assert main(command) == 2
        assert "desk.db" in capsys.readouterr().err
