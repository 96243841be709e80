"""Which files may be written: their identity, their kind, and what writing refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import polars as pl
import pytest

import gearing as gr
from gearing import outputs as op
from gearing.core.spec_text import EXAMPLES, example_token
from gearing.desk.config_text import EXAMPLE
from gearing.desk.lock import lock_file
from gearing.errors import InputError
from gearing.filekind import HEAD_BYTES, kinds_of
from gearing.files import write_text, writing
from gearing.market.fetch_file import FetchFile
from gearing.market.write import write_frame
from gearing.outputs import Output, ProtectedFile, check_outputs, descriptor_of, is_database, locate, side_files
from gearing.store.database import init_database
from gearing.store.store import Store

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def output(path: str | Path, kind=None, option: str = "--out") -> Output:
    return Output(option=option, path=Path(path), kind=kind)


@pytest.mark.parametrize(
    ("head", "kinds"),
    [
        (b"", ("empty",)),
        (b"SQLite format 3\0" + bytes(100), ("database",)),
        (b"\x37\x7f\x06\x82" + bytes(28), ("database",)),
        (b"\x37\x7f\x06\x83" + bytes(28), ("database",)),
        (b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(8), ("database",)),
        (b"PAR1\x15\x04", ("parquet",)),
        (b"ARROW1\0\0", ("feather",)),
        (PNG, ("binary",)),
        (b"\x1f\x8b\x08\x00", ("binary",)),
        (b"<!DOCTYPE html>\n<html>", ("html",)),
        (b"\n  <html>\n<head>", ("html",)),
        (b'{\n  "schema": "gearing.backtest/1"\n', ("json",)),
        (b'{"a":1}', ("lines", "json")),
        (b'{"a":1}\n{"a":2}\n', ("lines",)),
        (b'{"hash":"a","prev":"b","body":{}}\n', ("journal", "json")),
        (b'{"hash":"a","prev":"b","body":{}}\n{"hash":', ("journal",)),
        (b'{"hash":"' + b"a" * HEAD_BYTES, ("journal",)),
        (b'{"mode":"demo","event":"started","timestamp":"2026"}\n' * 2, ("log",)),
        (b'{"mode":"de{"mode":"demo","event":"started","timestamp":"2026"}\n' * 2, ("json",)),
        (b'{"mode":"de\n{"mode":"demo","event":"started","timestamp":"2026"}\n', ("log",)),
        (b'{\n"rows": [\n{"a": 1}\n]\n}\n', ("json",)),
        (b"time,price,nav\n2023-01-01T00:00:00Z,1.0,2.0\n", ("csv",)),
        (b"rule.band_upper,final_nav\n4.0,1.0\n", ("csv",)),
        (b'# gearing.export: nav/1\n# mode: demo\n"time","token"\n"2026",1\n', ("csv",)),
        (b"time,price\n", ("csv",)),
        (b"\xef\xbb\xbftime,price\n1,2\n", ("csv",)),
        (b"Dear all, hello\nthis is a letter\n", ("text",)),
        (b"1,2\n3,4\n", ("text",)),
        (b"Call the auditor.\n", ("text",)),
        (b"[fees]\nall_in = true\n", ("toml",)),
        (b'symbol = "BTC3L", x\n', ("toml",)),
        ("β".encode() * 10, ("text",)),
        ("β".encode()[:1], ("text",)),
    ],
)
def test_a_kind_is_known_by_its_first_bytes(head, kinds):
    assert kinds_of(head) == kinds


@pytest.mark.parametrize("text", [EXAMPLE, *map(example_token, EXAMPLES)])
def test_every_example_file_is_toml(text):
    assert kinds_of(text.encode()) == ("toml",)


@pytest.mark.parametrize(("ending", "kind"), [("csv", "csv"), ("parquet", "parquet"), ("feather", "feather")])
def test_every_table_that_is_written_is_of_its_kind(tmp_path, ending, kind):
    frame = pl.DataFrame({"rule.target": [1.0], "rule": ["a, b"], "gap_budget": [None]})
    path = tmp_path / f"t.{ending}"
    write_frame(frame, path)
    assert op.kinds_at(path) == (kind,)
    write_frame(frame, path)
    path.write_bytes(PNG)
    with pytest.raises(InputError, match=f"(?i)holds other binary data, not .*{ending}.*or force=True to overwrite it"):
        write_frame(frame, path)
    assert path.read_bytes() == PNG
    write_frame(frame, path, force=True)
    assert op.kinds_at(path) == (kind,)


def test_a_path_is_identified_whatever_its_spelling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a"
    file.write_text("a")
    (tmp_path / "b").symlink_to("a")
    os.link(file, tmp_path / "c")
    (tmp_path / "d").symlink_to(tmp_path)
    ways = ("a", "./a", "x/../a", "a/", "b", "c", "d/a", "d/b", f"{tmp_path}/a")
    assert all(locate(way).is_same(locate(file)) for way in ways)
    other = tmp_path / "e"
    other.write_text("a")
    assert not locate(other).is_same(locate(file))
    # Of names that do not exist, letter case may mean nothing, nor the way an accent is encoded.
    for one, two in (("new", "NEW"), ("d/new", "new"), ("x/../new", "new"), ("\u00e9", "e\u0301")):
        assert locate(one).is_same(locate(two))
    assert not locate("new").is_same(locate("newer"))
    assert not locate("A").is_same(locate("a"))  # this file system distinguishes case: one exists, one does not


def test_a_case_insensitive_file_system_hides_nothing(tmp_path, monkeypatch):
    """The file system folds names here by patches."""
    (tmp_path / "desk.db").write_bytes(b"SQLite format 3\0" + bytes(100))
    true_stat, true_open = os.stat, open

    def folded(path):
        return os.path.join(os.path.dirname(path), os.path.basename(path).lower())

    monkeypatch.setattr(op.os, "stat", lambda path, **more: true_stat(folded(path), **more))
    monkeypatch.setattr("builtins.open", lambda path, *more: true_open(folded(path), *more))
    database = ProtectedFile(path=tmp_path / "desk.db", role="the desk's database")
    with pytest.raises(InputError, match=r"DESK.DB: this is the desk's database"):
        check_outputs([output(tmp_path / "DESK.DB")], [database], force=True)
    with pytest.raises(InputError, match="side file of one"):
        check_outputs([output(tmp_path / "DESK.DB-WAL")], force=True)


def test_another_device_is_another_file(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    Found = namedtuple("Found", "st_dev st_ino st_mode st_nlink")
    numbers = {"a": Found(1, 7, 0o100644, 1), "b": Found(2, 7, 0o100644, 1)}
    true_stat = os.stat
    monkeypatch.setattr(op.os, "stat", lambda path, **_: numbers.get(os.path.basename(path)) or true_stat(path))
    assert not locate(tmp_path / "a").is_same(locate(tmp_path / "b"))
    numbers["b"] = numbers["a"]  # as a bind mount shows it
    assert locate(tmp_path / "a").is_same(locate(tmp_path / "b"))


def test_descriptors_are_known_by_every_name(tmp_path):
    (tmp_path / "out").symlink_to("/dev/stdout")
    names = {"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/5": 5, "/proc/self/fd/1": 1, f"/proc/{os.getpid()}/fd/7": 7,
             "/proc/thread-self/fd/1": 1, "/proc/../dev/stdout": 1, tmp_path / "out": 1, "/dev/null": None,
             tmp_path / "none": None, "/proc/1/fd/1": None}  # fmt: skip
    assert {name: descriptor_of(name) for name in names} == names


def test_a_redirected_output_is_appended_to_where_the_shell_says_so(tmp_path):
    """`>> file --out /dev/stdout` keeps what the file holds."""
    (tmp_path / "notes").write_text("before\n")
    code = "from gearing.files import write_text; write_text('/dev/stdout', 'after\\n')"
    with (tmp_path / "notes").open("a") as stream:
        subprocess.run([sys.executable, "-c", code], check=True, stdout=stream)
    assert (tmp_path / "notes").read_text() == "before\nafter\n"


def test_a_running_database_is_recognised_and_never_opened(tmp_path, monkeypatch):
    path = tmp_path / "desk.db"
    init_database(path, "demo", 0)
    opened = []
    true_open = open
    monkeypatch.setattr("builtins.open", lambda file, *more: opened.append(file) or true_open(file, *more))
    assert is_database(path)
    assert opened == [str(path)]  # nothing shows that it is in use
    opened.clear()
    for name in ("desk.db-lock", "desk.db-wal"):  # as another process makes them
        (tmp_path / name).touch()
        assert is_database(path)
        (tmp_path / name).unlink()
    (tmp_path / "elsewhere").mkdir()
    with Store(path) as store:
        store.ask("ann", "key", b"halt")
        os.link(path, tmp_path / "elsewhere" / "other")
        assert (tmp_path / "desk.db-wal").exists()
        assert is_database(path)
        # Nothing next to this name shows it: it is read through the handle that this process has.
        assert is_database(tmp_path / "elsewhere" / "other")
    assert opened == []


def test_side_files_are_those_that_a_database_has(tmp_path):
    path = tmp_path / "desk.db"
    (tmp_path / "link.db").symlink_to(path)
    init_database(path, "demo", 0)
    names = {file.name for file in side_files(path)}
    with Store(path):
        assert {file.name for file in tmp_path.iterdir()} - {"desk.db", "link.db"} <= names
    assert {lock_file(path).name, "desk.db-pid", "desk.db-journal", "desk.db.key", "desk.db.heads"} <= names
    assert {file.name for file in side_files(tmp_path / "link.db")} > names
    for name in (*names, "desk.db-WAL"):
        assert is_database(tmp_path / name)
    for name in ("desk.db-walls", "desk.dbwal", "other.db-wal", "desk.db.csv"):
        assert not is_database(tmp_path / name)


def test_writing_itself_refuses_a_database_and_another_kind(tmp_path):
    path, lock = tmp_path / "desk.db", tmp_path / "desk.db-lock"
    init_database(path, "demo", 0)
    before = path.read_bytes()
    for place in (path, lock):
        with pytest.raises(InputError, match="a database, or a side file of one"):
            write_text(place, "text", force=True)
    assert path.read_bytes() == before
    assert not lock.exists()
    page = tmp_path / "page"
    write_text(page, "<html>one</html>", "html")
    write_text(page, "<html>two</html>", "html")
    with pytest.raises(InputError, match="holds an HTML page, not CSV"):
        write_text(page, "a,b", "csv")
    assert page.read_text() == "<html>two</html>"


def test_what_has_the_name_of_the_unfinished_file_is_not_written_through(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / f".new.{os.getpid()}.part").symlink_to(precious)
    with writing(tmp_path / "new") as file:
        file.write(b"new")
    assert precious.read_text() == "precious"
    assert (tmp_path / "new").read_text() == "new"


def test_an_existing_file_is_refused_where_nothing_is_replaced(tmp_path):
    path = tmp_path / "t.toml"
    path.write_text(EXAMPLE)
    given = Output(option="FILE", path=path, kind="toml", replaces=False)
    with pytest.raises(InputError, match=r"FILE .*t.toml: the file exists already. Give another name, or --force"):
        check_outputs([given])
    check_outputs([given], force=True)
    with pytest.raises(InputError, match=r"exists already. Give another name.$"):
        check_outputs([given], hint="")
    check_outputs([Output(option="FILE", path=Path("/dev/null"), kind="toml", replaces=False)])


def test_places_that_hold_no_file_are_refused(tmp_path):
    (tmp_path / "file").write_text("a")
    for path, words in ((tmp_path, "a directory, not a file"), (tmp_path / "no" / "a", "directory does not exist"),
                        (tmp_path / "file" / "a", "a part of the path is a file")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            check_outputs([output(path)])


def test_a_download_is_refused_before_it_begins(tmp_path):
    init_database(tmp_path / "desk", "demo", 0)
    with pytest.raises(InputError, match="a database, or a side file of one"):
        FetchFile(tmp_path / "desk-wal", "prices", "BTCUSDT", 60_000)
    (tmp_path / "notes").write_text("Call the auditor.\n")
    with pytest.raises(InputError, match=r"holds other text, not a Parquet table. Give another name.$"):
        FetchFile(tmp_path / "notes", "prices", "BTCUSDT", 60_000)


def test_results_in_python_replace_their_own_kind_only(tmp_path):
    prices, _ = gr.make_market(days=3, interval="1h", funding=False)
    token = gr.Token(symbol="T", target=2.0, legs=(gr.Perpetual(symbol="BTC", lot=0.001),))
    writers = (
        gr.backtest(token, prices).report,
        gr.compare([token], prices).report,
        gr.sweep(token, {"target": [2.0, 3.0]}, prices).report,
        gr.exact_backtest(token, {"BTC": prices}).journal,
    )
    for write in writers:
        path = tmp_path / "page"
        path.write_bytes(PNG)
        with pytest.raises(InputError, match=r"holds other binary data, not .*, or force=True to overwrite it"):
            write(path)
        assert path.read_bytes() == PNG
        write(path, force=True)
        write(path)
        assert path.read_bytes() != PNG
