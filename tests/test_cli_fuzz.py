"""Every argument and option of every command is given what nobody would type: one sentence, and never our fault."""

from __future__ import annotations

import io
import random
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from typer.main import get_command

from gearing.cli.main import app, main
from gearing.store.database import init_database

NASTY = [
    "", " ", "-", "--", "\x00", "a\x00b", "\udcff\udcfe", "\x1b[31mred\x1b[0m", "\u202eevil", "\r\nINJECTED",
    "１２", "1,5", "1e400", "9" * 400, "-1", "nan", "inf", "0", "1e-9", "∞", "/dev/null", "/dev/zero", "/", ".", "..",
    "~", "/proc/self/mem", "no/such/file", "x" * 5_000, "deep.toml", "binary.bin", "desk.db", "empty", "=cmd()",
    "%s%n", "{0}", "a=b=c", "T=", "=T", "2026-13-45", "2026-01-01T00:00:00+99:99", "9999999999999999-01-01", "∅", "💥",
    "h/../../x", "a b", "all", "*", "[", "(?P<",
]  # fmt: skip
# What goes on until it is stopped, reaches for the network, or asks a person.
SKIPPED = {"up", "market fetch"}
# Each command's every parameter, a share of the values by a fixed draw; another seed draws others.
PER_PARAMETER = 4


def commands(command, path=()):
    inner = getattr(command, "commands", {})
    for name, one in inner.items():
        yield from commands(one, (*path, name))
    if not inner and " ".join(path) not in SKIPPED:
        yield path, command


CASES = list(commands(get_command(app)))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    init_database(Path("desk.db"), "demo", 1)
    Path("deep.toml").write_text("a = " + "[" * 2_000 + "]" * 2_000)
    Path("binary.bin").write_bytes(bytes(range(256)) * 20)
    Path("empty").touch()
    Path("t.toml").write_text('symbol = "T"\ntarget = 3\n')
    return tmp_path


def benign(name, option):
    """Returns what is given for the parameters that are not fuzzed."""
    return {"TOKEN": "T", "FILE": "t.toml", "DB": "desk.db", "AMOUNT": "1", "UNITS": "1", "SIDE": "redeem"}.get(
        (option.metavar or name).strip("[].").upper(), "1"
    )


def line(path, command, fuzzed, value):
    """Returns a command line with one parameter that is given a value, and the required others."""
    options, arguments = [], []
    for one in command.params:
        long = next((opt for opt in one.opts if opt.startswith("--")), "")
        is_flag, mine = bool(getattr(one, "is_flag", False)), one is fuzzed
        if long == "--help":
            continue
        given = value if mine else benign(one.name, one)
        if long and (mine or one.required) and not is_flag:
            options += [f"{long}={given}"]
        elif long in {"--yes", "--db"}:
            options += [long] if is_flag else [f"{long}=desk.db"]
        elif not long and (mine or one.required):
            arguments.append(given)
    if any(one.name == "timeout" and one is not fuzzed for one in command.params):
        options.append("--timeout=0")
    return [*path, *options, "--", *arguments]


@pytest.mark.parametrize(("path", "command"), CASES, ids=[" ".join(path) for path, _ in CASES])
def test_nothing_that_is_typed_is_our_fault(place, path, command):
    draw = random.Random(" ".join(path))
    for parameter in command.params:
        if getattr(parameter, "is_flag", False):
            continue
        for value in draw.sample(NASTY, PER_PARAMETER):
            words = line(path, command, parameter, value)
            out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
            with redirect_stdout(out), redirect_stderr(err):
                code = main(words)
            wrote, complained = (one.buffer.getvalue().decode("utf-8", "replace") for one in (out, err))
            said = wrote + complained
            assert code in {0, 2, 3, 4}, (words, code, said[-500:])
            assert "fault of Gearing" not in said, (words, said[-500:])
            assert "Traceback" not in said, (words, said[-500:])
            assert not {"\x1b", "\u202e", "\x00"} & set(said), (words, said[-300:])
            assert code != 2 or 0 < len(complained.strip()) < 8_000, (words, complained[-500:])


@pytest.mark.parametrize("option", ["--db", "--log", "--heads", "--config", "--signing-key"])
def test_a_desk_says_of_a_name_that_is_too_long_that_it_is(place, capsys, option):
    assert main(["up", "--no-console", "--db=new.db", f"{option}={'x' * 300}"]) == 2
    assert "too long" in capsys.readouterr().err.lower()
