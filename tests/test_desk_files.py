"""The files of a desk: each is one of its own, a database is a database, and what has a side file's name is kept."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gearing.cli.main import main
from gearing.desk.lock import DeskLock, is_running
from gearing.desk.logs import DeskLog
from gearing.errors import InputError
from gearing.store.database import init_database
from gearing.store.errors import DatabaseError
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.file import PaperFile, remove_paper_file
from gearing.venues.paper.server import Server
from gearing.venues.paper.setup import Setup

DESK = """
mode = "paper"
database = "{database}"
{log}
[feed]
kind = "replay"
prices = "prices.parquet"
funding = "{funding}"
[[tokens]]
file = "BTC3L.toml"
"""
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("made")
    market = ("market", "make", "--symbol", "BTCUSDT", "--days", "2", "--interval", "1h", "--out", str(place))
    assert main(list(market)) == 0
    (place / "BTC3L.toml").write_text('symbol = "BTC3L"\ntarget = 3\n[[legs]]\nsymbol = "BTCUSDT"\nlot = 0.001\n')
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "place"
    shutil.copytree(made, place)
    monkeypatch.chdir(place)

    async def served(*_: Any, **__: Any) -> None:
        return

    monkeypatch.setattr("gearing.cli.up._serve", served)
    return place


def describe(place: Path, *, database: str = "desk.db", log: str = "", funding: str = "funding.parquet") -> None:
    line = f'log = "{log}"' if log else ""
    (place / "desk.toml").write_text(DESK.format(database=database, log=line, funding=funding))


def contents(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.iterdir() if path.is_file()}


def refused(place: Path, capsys: Captured, *words: str, more: tuple[str, ...] = ()) -> None:
    before = contents(place)
    assert main(["up", "--config", "desk.toml", *more]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    for word in words:
        assert word in shown
    if not more:
        assert main(["desk", "check", "desk.toml"]) in {2, 3}
    assert contents(place) == before


def test_a_desk_whose_files_differ_is_accepted(place, capsys):
    describe(place, log="desk.jsonl")
    assert main(["desk", "check", "desk.toml"]) == 0
    assert main(["up", "--config", "desk.toml"]) == 0
    describe(place, funding="prices.parquet")  # one file may hold both
    assert "also" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "first", "second"),
    [
        ({"log": "desk.db"}, "log: ", "which is also the database"),
        ({"log": "./x/../desk.db"}, "log: ", "which is also the database"),
        ({"log": "DESK.DB"}, "log: ", "which is also the database"),
        ({"log": "desk-paper.db"}, "log: ", "which is also the paper exchange's file"),
        ({"log": "desk.db-lock"}, "log: ", "which is also a side file of the database"),
        ({"log": "desk.db-wal"}, "log: ", "which is also a side file of the database"),
        ({"log": "desk.db.heads"}, "log: ", "which is also a side file of the database"),
        ({"log": "desk.toml"}, "log: ", "which is also the desk's own file"),
        ({"log": "BTC3L.toml"}, "log: ", "which is also a token's file"),
        ({"log": "prices.parquet"}, "log: ", "which is also the file of prices"),
        ({"log": "notes.txt"}, "log ", "holds other text, not a desk's log. Give another name."),
        ({"database": "desk.toml"}, "database: ", "which is also the desk's own file"),
        ({"database": "BTC3L.toml"}, "database: ", "which is also a token's file"),
        ({"database": "prices.parquet"}, "database: ", "a database of Gearing, or no file"),
        ({"database": "desk.db-wal"}, "database: ", "a name that does not end with -wal"),
        ({"database": "desk.db-LOCK"}, "database: ", "a name that does not end with -lock"),
        ({"database": "notes.txt"}, "database: ", "which holds other text"),
    ],
)
def test_two_files_of_a_desk_are_not_one(settings, first, second, place, capsys):
    (place / "notes.txt").write_text("Call the auditor.\n")
    describe(place, **settings)
    refused(place, capsys, first, second)


@pytest.mark.parametrize("link", ["symlink", "hard link"])
@pytest.mark.parametrize("target", ["desk.db", "BTC3L.toml", "desk.toml", "prices.parquet"])
def test_a_link_hides_nothing(link, target, place, capsys):
    describe(place, log="linked")
    init_database(place / "desk.db", "paper", 0)
    if link == "symlink":
        (place / "linked").symlink_to(target)
    else:
        os.link(place / target, place / "linked")
    refused(place, capsys, "log: ", "which is also")
    describe(place)
    refused(place, capsys, "--log: ", "which is also", more=("--log", "linked"))
    if target != "desk.db":
        refused(place, capsys, "--db: ", more=("--db", "linked"))


def test_a_side_file_that_is_a_link_is_not_written_through(place, capsys):
    describe(place)
    init_database(place / "desk.db", "paper", 0)
    for name, target in (("desk.db-pid", "desk.db"), ("desk.db-lock", "BTC3L.toml"), ("desk-paper.db", "desk.toml"),
                         ("desk.db.heads", "prices.parquet")):  # fmt: skip
        os.link(place / target, place / name)
        refused(place, capsys, "which is also")
        (place / name).unlink()


def test_the_databases_of_two_desks_do_not_share_a_paper_exchange(place, capsys):
    init_database(place / "desk", "paper", 0)
    PaperFile(place / "desk-paper.db").close()
    describe(place)
    refused(place, capsys, "whose paper exchange's file is that of")


@pytest.mark.parametrize("name", ["desk.db-pid", "desk.db-lock"])
def test_a_persons_file_with_the_name_of_a_side_file_is_kept(name, tmp_path):
    (tmp_path / name).write_text("Call the auditor.\n")
    with pytest.raises(InputError, match="this name is kept for a desk's side file, and another file has it"):
        DeskLock(tmp_path / "desk.db").tell(tmp_path / "desk.db")
    assert (tmp_path / name).read_text() == "Call the auditor.\n"
    if name == "desk.db-lock":
        with pytest.raises(InputError, match="this name is kept"):
            is_running(tmp_path / "desk.db")
    (tmp_path / name).unlink()
    (tmp_path / "empty").touch()
    (tmp_path / name).symlink_to("empty")
    with pytest.raises(InputError, match="this name is kept"):
        DeskLock(tmp_path / "desk.db").tell(tmp_path / "desk.db")
    assert (tmp_path / "empty").read_bytes() == b""
    (tmp_path / name).unlink()
    for _ in range(2):  # and its own it takes again
        with DeskLock(tmp_path / "desk.db").tell(tmp_path / "desk.db"):
            assert (tmp_path / "desk.db-pid").read_text() == f"{os.getpid()}\n"


def test_the_log_itself_appends_to_a_log_only(tmp_path):
    path = tmp_path / "desk.jsonl"
    for words in ("one", "two"):
        with closing(DeskLog(path, "demo")) as log:
            log.say(words)
    assert [words in line for words, line in zip(("one", "two"), path.read_text().splitlines(), strict=True)] == [
        True, True,
    ]  # fmt: skip
    path.write_text('symbol = "BTC3L"\n')
    with pytest.raises(InputError, match="the file exists and holds TOML, not a desk's log"):
        DeskLog(path, "demo")
    init_database(tmp_path / "desk.db", "demo", 0)
    with pytest.raises(InputError, match="a database, or a side file of one"):
        DeskLog(tmp_path / "desk.db-wal", "demo")


def test_a_new_database_takes_no_file_but_its_own(tmp_path):
    mine = tmp_path / "desk.db-making-notes"
    mine.write_text("mine")
    (tmp_path / "desk.db-making").write_text("of an earlier try")
    (tmp_path / "desk.db-making-wal").write_text("of an earlier try")
    init_database(tmp_path / "desk.db", "demo", 0)
    assert mine.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"desk.db", mine.name}
    for name in ("other.db-wal", "other.db-journal"):
        (tmp_path / name).write_text("of an earlier database")
        with pytest.raises(DatabaseError, match="side file belongs to an earlier database"):
            init_database(tmp_path / "other.db", "demo", 0)
        (tmp_path / name).unlink()
    with pytest.raises(DatabaseError, match="a name that ends with -shm is kept for a side file"):
        init_database(tmp_path / "lonely-shm", "demo", 0)
    (tmp_path / "dangling.db").symlink_to("nothing")
    with pytest.raises(DatabaseError, match="a file of this name already"):
        init_database(tmp_path / "dangling.db", "demo", 0)
    assert (tmp_path / "dangling.db").is_symlink()


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_paper_exchange_changes_no_other_database(mode, tmp_path):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as base:
        base.execute(f"PRAGMA journal_mode = {mode}")
        base.execute("CREATE TABLE books (title TEXT)")
    before = path.read_bytes()
    for act in (PaperFile, remove_paper_file):
        with pytest.raises(InputError, match="this database is not that of a paper exchange"):
            act(path)
    assert path.read_bytes() == before
    (tmp_path / "notes").write_text("Call the auditor, and the accountant.\n" * 40)
    with pytest.raises(InputError, match="the paper exchange cannot use its file"):
        remove_paper_file(tmp_path / "notes")
    assert (tmp_path / "notes").exists()


def test_only_the_paper_file_is_removed_for_a_desk_that_never_began(tmp_path):
    path = tmp_path / "desk-paper.db"
    PaperFile(path).close()
    for name in ("desk-paper.db.backup", "desk-paper.db-notes"):
        (tmp_path / name).write_text("mine")
    remove_paper_file(path)
    assert {file.name for file in tmp_path.iterdir()} == {"desk-paper.db.backup", "desk-paper.db-notes"}
    remove_paper_file(path)  # which is not there


def test_a_socket_replaces_a_socket_only(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(InputError, match="this file is not a socket"):
        asyncio.run(asyncio.wait_for(Server(PaperExchange(Setup())).serve(path), timeout=5))
    assert path.read_text() == "precious"
    left = tmp_path / "left"
    with closing(socket.socket(socket.AF_UNIX)) as former:
        former.bind(str(left))

    async def served() -> None:
        task = asyncio.ensure_future(Server(PaperExchange(Setup())).serve(left))
        reader, writer = None, None
        for _ in range(200):
            await asyncio.sleep(0.01)
            try:
                reader, writer = await asyncio.open_unix_connection(left)
                break
            except OSError:
                continue
        assert reader is not None
        assert writer is not None
        writer.close()
        task.cancel()

    asyncio.run(served())


@pytest.mark.parametrize("name", ["paper.db", "paper.db-wal", "x/../paper.db-shm"])
def test_the_socket_of_a_paper_exchange_is_none_of_its_files(name, tmp_path):
    command = [sys.executable, "-m", "gearing.venues.paper", "--file", "paper.db", "--socket", name]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "this is the exchange's file, or a side file of it" in done.stderr
    assert list(tmp_path.iterdir()) == []
