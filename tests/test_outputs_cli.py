"""No command destroys a file through its outputs: every output option, against every file and every spelling of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gearing.cli.main import app, main
from gearing.venues.paper.file import PaperFile
from tests.journals import book_commits, database, happened, token_commits

STUDY = ("--prices", "prices.parquet", "--funding", "funding.parquet")
EXPORT = ("--period", "2026-01", "--db", "desk", "--format", "csv", "--out", "OUT")

# Every option or argument that names a file to write, with the ending that it needs; "OUT" is its place.
WRITERS: dict[str, tuple[tuple[str, ...], str]] = {
    "backtest --nav": (("backtest", "t.toml", *STUDY, "--nav", "OUT"), ".csv"),
    "backtest --rebalances": (("backtest", "t.toml", *STUDY, "--rebalances", "OUT"), ".feather"),
    "backtest --plot": (("backtest", "t.toml", *STUDY, "--plot", "OUT"), ".html"),
    "backtest --report": (("backtest", "t.toml", *STUDY, "--report", "OUT"), ".html"),
    "backtest --journal": (("backtest", "t.toml", *STUDY, "--exact", "--journal", "OUT"), ".jsonl"),
    "backtest --out": (("backtest", "t.toml", *STUDY, "--out", "OUT"), ".json"),
    "compare --plot": (("compare", "t.toml", *STUDY, "--plot", "OUT"), ".html"),
    "compare --report": (("compare", "t.toml", *STUDY, "--report", "OUT"), ".html"),
    "compare --out": (("compare", "t.toml", *STUDY, "--out", "OUT"), ".csv"),
    "sweep --plot": (("sweep", "t.toml", *STUDY, "--set", "target=2,3", "--plot", "OUT"), ".html"),
    "sweep --report": (("sweep", "t.toml", *STUDY, "--set", "target=2,3", "--report", "OUT"), ".html"),
    "sweep --out": (("sweep", "t.toml", *STUDY, "--set", "target=2,3", "--out", "OUT"), ".json"),
    "track --plot": (("track", "prices.parquet", "t.toml", *STUDY, "--plot", "OUT"), ".html"),
    "track --report": (("track", "prices.parquet", "t.toml", *STUDY, "--report", "OUT"), ".html"),
    "track --out": (("track", "prices.parquet", "t.toml", *STUDY, "--out", "OUT"), ".csv"),
    "token check --plot": (("token", "check", "t.toml", *STUDY[:2], "--plot", "OUT"), ".html"),
    "token new FILE": (("token", "new", "OUT"), ".toml"),
    "desk new FILE": (("desk", "new", "OUT"), ".toml"),
    "market make --out": (("market", "make", "--days", "2", "--interval", "1h", "--out", "OUT"), ".csv"),
    "market fetch --out": (("market", "fetch", "binance", "BTC/USDT:USDT", "--since", "2024", "--out", "OUT"),
                           ".parquet"),
    "journal head --out": (("journal", "head", "desk", "--out", "OUT"), ".jsonl"),
    "journal export --out": (("journal", "export", "desk", "--out", "OUT"), ".jsonl"),
    "export nav --out": (("export", "nav", *EXPORT), ".csv"),
    "export trial-balance --out": (("export", "trial-balance", *EXPORT), ".csv"),
    "export holders --out": (("export", "holders", *EXPORT), ".csv"),
    "export statement --out": (("export", "statement", *EXPORT), ".csv"),
    "export lots --out": (("export", "lots", *EXPORT), ".csv"),
    "db init DB": (("db", "init", "OUT"), ""),
    "db backup TO": (("db", "backup", "desk", "OUT"), ""),
    "db restore DB": (("db", "restore", "desk", "OUT", "--reason", "a test"), ""),
    "db restore --heads": (("db", "restore", "desk", "new", "--reason", "a test", "--heads", "OUT"), ".jsonl"),
    "up --log": (("up", "--db", "desk", "--log", "OUT"), ".jsonl"),
    "up --heads": (("up", "--db", "desk", "--heads", "OUT"), ".jsonl"),
}  # fmt: skip
# Options and arguments that name a file to read, or a database that must exist; the value of --db of `up` is made if
# it does not, see test_desk_files.
READERS = {
    "backtest --prices", "backtest --funding", "backtest --dividends", "backtest --underlying-prices",
    "backtest TOKEN.toml",
    "compare --prices", "compare --funding", "compare --dividends", "compare --underlying-prices", "compare TOKEN.toml",
    "sweep --prices", "sweep --funding", "sweep --dividends", "sweep --underlying-prices", "sweep TOKEN.toml",
    "track --prices", "track --funding", "track --dividends", "track --underlying-prices",
    "track [NAME=]PRODUCT_FILE", "track TOKEN.toml",
    "token check --prices", "token check FILE", "desk check FILE", "change FILE", "market check FILE",
    "market tiers FILE", "journal verify DB", "journal export DB", "journal recompute FILE", "export check FILE",
    "db upgrade DB", "db backup DB", "db restore BACKUP", "up --config", "up --db", "up --signing-key",
    "db restore --signing-key", "journal head DB", "journal verify --heads",
}  # fmt: skip
READS_A_TABLE = [name for name, (words, _) in WRITERS.items() if "--prices" in words]
HAS_NO_FORCE = {"market fetch --out", "db init DB", "db backup TO", "db restore DB", "up --log", "up --heads",
                "db restore --heads"}  # fmt: skip
COMMAND = get_command(app)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind: a desk whose name has no ending, so that every option takes it, and what studies read."""
    place = tmp_path_factory.mktemp("made")
    database(place / "desk", token_commits(happened()), book_commits())
    shutil.copy(place / "desk", place / "alone")  # with no side file next to it
    PaperFile(place / "desk-paper.db").close()
    (place / "desk-lock").touch()
    (place / "desk-pid").write_text("123\n")
    (place / "desk.key").write_text("a signing key\n")
    assert main(["market", "make", "--days", "20", "--interval", "1h", "--out", str(place)]) == 0
    assert main(["token", "new", str(place / "t.toml")]) == 0
    assert main(["desk", "new", str(place / "desk.toml")]) == 0
    (place / "picture").write_bytes(PNG)
    (place / "desk.log").write_text('{"mode":"demo","event":"started","timestamp":"2026-01-01T00:00:00Z"}\n' * 2)
    (place / "notes").write_text("Call the auditor.\n")
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "place"
    shutil.copytree(made, place)
    (place / "directory").mkdir()
    (place / "linked").symlink_to(place)
    monkeypatch.chdir(place)

    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("the command began to work")

    monkeypatch.setattr("gearing.cli.main.get_command", lambda _: COMMAND)  # which takes most of a refusal's time
    monkeypatch.setattr("gearing.cli.up._serve", started)
    monkeypatch.setattr("gearing.market.fetch.open_exchange", started)
    return place


def contents(place: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in place.iterdir() if path.is_file()}


def run(name: str, out: str, *more: str) -> int:
    return main([*(out if word == "OUT" else word for word in WRITERS[name][0]), *more])


@contextmanager
def spellings(place: Path, name: str, ending: str) -> Iterator[Mapping[str, str]]:
    """Yields the ways to write a path to one file; links get the ending that an option needs."""
    ways = {
        "relative": name, "absolute": str(place / name), "parent": f"directory/../{name}", "dot": f"./{name}",
        "missing directory": f"missing/../{name}", "symlinked directory": f"linked/{name}",
        "trailing slash": f"{name}/",
    }  # fmt: skip
    links = [place / f"symlink{ending}", place / f"hardlink{ending}", place / f"DESK{ending}"]
    links[0].symlink_to(place / name)
    ways["symlink"] = links[0].name
    descriptor = None
    if (place / name).exists():
        # To the file system, a name in another letter case or under another mount is what a hard link is.
        os.link(place / name, links[1])
        os.link(place / name, links[2])
        ways |= {"hard link": links[1].name, "another name": links[2].name}
        descriptor = os.open(place / name, os.O_RDWR)
        ways |= {"proc": f"/proc/self/fd/{descriptor}", "dev": f"/dev/fd/{descriptor}"}
    try:
        yield ways
    finally:
        for link in links:
            link.unlink(missing_ok=True)
        if descriptor is not None:
            os.close(descriptor)


def refused(place: Path, name: str, target: str, *more: str) -> None:
    """Asserts that a command refuses a file under every spelling, and changes nothing."""
    before = contents(place)
    with spellings(place, target, WRITERS[name][1]) as ways:
        during = contents(place)
        for way, out in ways.items():
            assert run(name, out, *more) == 2, (target, way)
            assert contents(place) == during, (target, way)
    assert contents(place) == before


def options(command: Any, path: str = "") -> Iterator[str]:
    """Yields every option and argument that names a file, after its command."""
    for parameter in command.params:
        if "pathlib.Path" in str(parameter.type_descriptor.annotation):
            long = next((option for option in parameter.opts if option.startswith("--")), None)
            yield f"{path} {long or parameter.metavar}"
    for name, inner in getattr(command, "commands", {}).items():
        yield from options(inner, f"{path} {name}".strip())


DATABASES = ("desk", "alone", "desk-lock", "desk-pid", "desk.key", "desk-wal", "desk-journal", "desk-paper.db")


@pytest.mark.parametrize("name", WRITERS)
def test_a_database_and_its_side_files_are_never_overwritten(name, place, capsys):
    force = () if name in HAS_NO_FORCE else ("--force",)
    for target in DATABASES:
        refused(place, name, target, *force)
    refused(place, name, "desk")
    assert "this is a fault" not in capsys.readouterr().err


@pytest.mark.parametrize("name", READS_A_TABLE)
def test_what_a_command_reads_is_never_overwritten(name, place):
    for target in ("t.toml", "prices.parquet", "funding.parquet"):
        if target in WRITERS[name][0]:
            refused(place, name, target)
            refused(place, name, target, "--force")


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_another_kind_is_kept(name, place):
    ending = WRITERS[name][1]
    tables = {".csv": "prices.parquet", ".feather": "prices.parquet", ".parquet": "desk.log"}
    for target in ("picture", "notes", "desk.toml", "desk.log", tables.get(ending, "prices.parquet")):
        if (name, target) != ("up --log", "desk.log"):
            # Written under a name with the right ending: the name says nothing.
            refused_path = place / f"named{ending}"
            shutil.copy(place / target, refused_path)
            before = contents(place)
            assert run(name, refused_path.name) == 2, target
            assert contents(place) == before, target
            refused_path.unlink()


# Of a desk that has signed no head, `journal head` writes none.
@pytest.mark.parametrize("name", [name for name in WRITERS if name not in {*HAS_NO_FORCE, "journal head --out"}])
def test_force_overwrites_another_kind_and_a_second_run_its_own(name, place, capsys):
    ending = WRITERS[name][1]
    out = place / f"named{ending}"
    out.write_bytes(PNG)
    capsys.readouterr()
    assert run(name, out.name) == 2
    shown = capsys.readouterr().err
    assert out.read_bytes() == PNG
    assert f"named{ending}: the file exists" in shown
    assert shown.endswith("Give another name, or --force to overwrite it.\n")
    assert run(name, out.name, "--force") == 0
    written = out.read_bytes()
    assert written != PNG
    replaces = name.partition(" ")[0] not in {"export", "token", "desk"} or name == "token check --plot"
    assert run(name, out.name) == (0 if replaces else 2)
    assert out.read_bytes() == written if not replaces else out.stat().st_size > 0


def test_two_options_of_one_file_are_refused(place, capsys):
    (place / "one.html").write_text("<html></html>")
    (place / "two.html").symlink_to("one.html")
    os.link(place / "one.html", place / "three.html")
    before = contents(place)
    # Where nothing exists yet, names that differ in case may be one file.
    for first, second in (("one.html", "two.html"), ("one.html", "three.html"), ("new.html", "./new.html"),
                          ("new.html", "linked/new.html"), ("new.html", "NEW.html")):  # fmt: skip
        assert run("backtest --plot", first, "--report", second) == 2
        assert "this is also the file of --plot" in capsys.readouterr().err
    assert contents(place) == before
    # The file of funding is named after that of the prices.
    (place / "m.csv").symlink_to("m_funding.csv")
    assert run("market make --out", "m.csv") == 2
    assert "also the file of --out" in capsys.readouterr().err


def test_devices_and_standard_output_are_written_to(place, capfdbinary):
    for name in ("backtest --nav", "backtest --out", "export nav --out", "journal export --out"):
        assert run(name, "/dev/null") == 0, name
    capfdbinary.readouterr()
    assert run("journal export --out", "/dev/stdout") == 0
    assert capfdbinary.readouterr().out.startswith(b'{"n":1,"hash":')


@pytest.mark.parametrize("target", ["desk", "desk-paper.db", "desk-lock"])
def test_standard_output_is_not_appended_to_a_database(target, place):
    before = contents(place)
    saved, descriptor = os.dup(1), os.open(place / target, os.O_WRONLY | os.O_APPEND)
    try:
        os.dup2(descriptor, 1)
        for words in ((), ("--out", "/dev/stdout"), ("--out", "journal.jsonl")):
            assert main(["journal", "export", "desk", *words]) == 2
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(descriptor)
    assert contents(place) == before


def test_an_output_is_not_the_file_of_standard_output(place, capsys):
    saved, descriptor = os.dup(1), os.open(place / "answer.json", os.O_WRONLY | os.O_CREAT)
    try:
        os.dup2(descriptor, 1)
        assert run("backtest --out", "answer.json") == 2
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(descriptor)
    assert "standard output is redirected to this file" in capsys.readouterr().err


def test_a_command_on_a_file_that_is_no_database_changes_nothing(place, capsys):
    by = ("--reason", "a test", "--yes")
    before = contents(place)
    for db in ("t.toml", "prices.parquet", "picture", "desk-paper.db"):
        for words in (("halt", "BTC3L", *by), ("deposit", "ann", "5", "--reference", "r", *by), ("status",),
                      ("journal", "verify"), ("db", "upgrade"), ("db", "backup"), ("export", "nav")):  # fmt: skip
            places = {"journal": (db,), "db": (db, "copy")[: 2 if "backup" in words else 1],
                      "export": ("--db", db, "--period", "2026", "--out", "x.csv")}  # fmt: skip
            assert main([*words, *places.get(words[0], ("--db", db))]) != 0, (words, db)
            assert contents(place) == before, (words, db)
    capsys.readouterr()


def test_every_option_that_names_a_file_is_in_this_table():
    found = set(options(COMMAND))
    databases = {name for name in found if name.endswith(" --db")}
    assert found - databases - {"up --db"} == {*WRITERS, *READERS} - {"up --db"}
