"""`gearing journal` and `gearing db`: answers, exit codes, and sentences for what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gearing.cli.main import main
from gearing.store import schema
from gearing.store.database import connect
from tests.journals import book_commits, database, happened, token_commits

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return database(tmp_path / "desk.db", token_commits(happened()), book_commits())


def answer(capsys: Captured, *arguments: str) -> tuple[int, dict]:
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_sound_database_passes_every_command(path, capsys):
    lines = len(happened()) + 13
    code, told = answer(capsys, "journal", "verify", "desk.db")
    assert (code, told["schema"], told["sound"], told["lines"]) == (0, "gearing.journal.verify/1", True, lines)
    assert told["stepped"] == lines
    code, told = answer(capsys, "journal", "verify", "desk.db", "--no-again", "--processes", "1")
    assert (code, told["stepped"]) == (0, 0)
    assert main(["journal", "export", "desk.db", "--out", "all.jsonl"]) == 0
    assert capsys.readouterr().err == f"wrote all.jsonl, {lines} lines\n"
    code, told = answer(capsys, "journal", "recompute", "all.jsonl")
    assert (code, told["schema"], told["same"], told["navs"]) == (0, "gearing.journal.recompute/1", True, lines - 13)
    code, told = answer(capsys, "db", "backup", "desk.db", "copy.db")
    assert (code, told["lines"]) == (0, lines)
    code, told = answer(capsys, "db", "restore", "copy.db", "new.db", "--reason", "a test")
    assert (code, told["meta"]["restored_ms"] > 0) == (0, True)
    code, told = answer(capsys, "db", "upgrade", "new.db")
    assert (code, told["before"], told["after"]) == (0, schema.SCHEMA, schema.SCHEMA)
    code, told = answer(capsys, "db", "init", "paper.db", "--mode", "paper")
    assert (code, told["meta"]["mode"]) == (0, "paper")


def test_people_are_answered_in_sentences(path, capsys):
    assert main(["journal", "verify", "desk.db"]) == 0
    out = capsys.readouterr().out
    assert "token:BTC3L" in out
    assert out.endswith(" s: sound.\n")
    main(["journal", "export", "desk.db", "--out", "all.jsonl"])
    assert main(["journal", "recompute", "all.jsonl"]) == 0
    assert capsys.readouterr().out.endswith(f"{len(happened())} NAVs recomputed: no difference.\n")
    for command, words in ((["db", "init", "b.db"], "incarnation"),
                           (["db", "upgrade", "b.db"], f"schema {schema.SCHEMA} already"),
                           (["db", "backup", "desk.db", "c.db"], "verified."),
                           (["db", "restore", "c.db", "d.db", "--reason", "a test"], "halted")):  # fmt: skip
        assert main(command) == 0
        assert words in capsys.readouterr().out


def test_a_fault_is_exit_code_3_and_named(path, capsys):
    forged = "CAST(replace(CAST(body AS TEXT), '\"nav\":', '\"nav\":1') AS BLOB)"
    connect(path).execute(f"UPDATE journal SET body = {forged} WHERE seq = 50")
    main(["journal", "export", "desk.db", "--out", "all.jsonl"])
    for command, words in ((["journal", "verify", "desk.db"], "- token:BTC3L line 50: chain:"),
                           (["journal", "recompute", "all.jsonl"], "- token:BTC3L line 50: nav:")):  # fmt: skip
        capsys.readouterr()
        assert main(command) == 3
        assert words in capsys.readouterr().out
        code, told = answer(capsys, *command)
        assert code == 3
        assert told.get("sound", told.get("same")) is False
        assert 50 in [found["seq"] for found in told.get("breaches", told.get("differences"))]


def test_one_stream_goes_to_stdout_as_it_stands(path, capfdbinary):
    main(["journal", "export", "desk.db", "--stream", "book:main"])
    sys.stdout.flush()
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [line["body"]["seq"] for line in lines if "body" in line] == list(range(1, 14))
    assert sum("leaf" in line for line in lines) == len(happened())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["journal", "verify", "none.db"], "none.db: there is no such file. Check the path; `gearing up` starts"),
        (["journal", "verify", "text.db"], "text.db: this is not a database of Gearing."),
        (
            ["journal", "verify", "all.jsonl"],
            "all.jsonl: this is an exported journal, not a database. Recompute it: gearing journal recompute all.jsonl",
        ),
        (["journal", "export", "desk.db", "--stream", "token:X"], "there is no stream 'token:X'. There are: book:main"),
        (["journal", "recompute", "none.jsonl"], "none.jsonl: there is no such file."),
        (["db", "init", "desk.db"], "desk.db: there is a file of this name already."),
        (["db", "upgrade", "none.db"], "none.db: there is no such file."),
        (["db", "backup", "desk.db", "text.db"], "text.db: a file of this name exists already. Give another name.\n"),
        (["db", "restore", "text.db", "new.db", "--reason", "a test"], "text.db: this is not a database of Gearing."),
        (["db", "restore", "none.db", "new.db", "--reason", "a test"], "none.db: there is no such backup."),
        (
            ["db", "restore", "desk.db", "text.db", "--reason", "a test"],
            "text.db: a file of this name exists already. Give another name; or stop the desk that runs on it, and "
            "move text.db away together with its -wal, -shm, -lock and -pid",
        ),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_a_sentence_and_exit_code_2(path, capsys, command, words):
    Path("text.db").write_text("It is a text, long enough to be looked at." * 50)
    main(["journal", "export", "desk.db", "--out", "all.jsonl"])
    capsys.readouterr()
    files = {*Path().iterdir()}
    assert main(command) == 2
    assert {*Path().iterdir()} == files  # no key either
    told = capsys.readouterr()
    assert words in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


def test_a_restore_onto_a_database_says_that_it_exists(path, capsys):
    assert main(["db", "backup", "desk.db", "b.db"]) == 0
    Path("desk.db.heads").write_text("")
    assert main(["db", "restore", "b.db", "desk.db", "--reason", "a test"]) == 2
    told = capsys.readouterr().err
    assert "desk.db: a file of this name exists already. Give another name; or stop the desk" in told
    assert "--heads" not in told
