"""`gearing token`, and what every command does with errors, notes and exit codes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from gearing.cli import main as entry
from gearing.cli import output
from gearing.cli.main import main
from gearing.core.spec_text import example_token, parse_token
from gearing.errors import DataWarning
from gearing.typed import cell_text, escaped

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GEARING_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")


def run_python(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    # The package is found where this process found it, installed or not.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **extra}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_new_writes_an_example_that_check_accepts(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "token.toml"
    assert main(["token", "new", str(path)]) == 0
    assert path.read_text() == example_token()
    assert "wrote" in capsys.readouterr().err
    assert main(["token", "check", str(path)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for words in ("BTC3L", "is a valid token", "00:02 UTC", "−11.111 %", "10.4 %", "0.05 %"):
        assert words in shown.out


def test_new_without_a_file_prints_the_example(capsys: Captured) -> None:
    assert main(["token", "new"]) == 0
    assert capsys.readouterr().out == example_token()


def test_new_keeps_a_file_that_exists_unless_forced(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "token.toml"
    path.write_text("mine")
    assert main(["token", "new", str(path)]) == 2
    assert path.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert main(["token", "new", str(path), "--force"]) == 0
    assert parse_token(path.read_text()).symbol == "BTC3L"


def test_a_faulty_file_exits_with_3_and_names_every_mistake(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "token.toml"
    path.write_text('symbol = "A"\ntarget = 0\nrule = "ftxx"\n[fees]\ncreation = "x"\n')
    assert main(["token", "check", str(path)]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"error: {path}: 3 mistakes" in shown.err
    for words in ("line 2: target", "line 3: rule", 'Did you mean "ftx"?', "line 5: fees.creation"):
        assert words in shown.err


def test_a_faulty_file_as_json(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "token.toml"
    path.write_text('symbol = "A"\ntarget = 0\n')
    assert main(["token", "check", str(path), "--json"]) == 3
    shown = capsys.readouterr()
    assert shown.err == ""
    answer = json.loads(shown.out)
    assert (answer["schema"], answer["valid"]) == ("gearing.token-check/1", False)
    (problem,) = answer["problems"]
    assert problem["place"] == "line 2: target"
    assert set(problem) == {"place", "found", "expected", "fix"}


def test_a_valid_token_as_json(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "token.toml"
    path.write_text('symbol = "A"\ntarget = -3\nrule = "gate"\n[fees]\nmanagement_per_day = 0.001\n')
    assert main(["token", "check", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] is True
    assert answer["token"]["target"] == -3
    assert answer["management_per_year"] == pytest.approx(1 - 0.999**365)
    wipe_out = answer["barrier_moves"][-1]
    assert (wipe_out["trigger"], wipe_out["leverage"]) == ("wipe-out", None)
    assert wipe_out["move"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("kind", ["missing", "directory", "empty", "bytes"])
def test_a_file_that_cannot_be_read_exits_with_2(kind: str, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "token.toml"
    make: dict[str, Callable[[], object]] = {
        "missing": lambda: None,
        "directory": path.mkdir,
        "empty": path.touch,
        "bytes": lambda: path.write_bytes(bytes(range(256))),
    }
    make[kind]()
    assert main(["token", "check", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: {path}: ")
    assert len(shown.err.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_no_permission_exits_with_2(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "token.toml"
    path.write_text(example_token())
    path.chmod(0)
    assert main(["token", "check", str(path)]) == 2
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert main(["token", "new", str(tmp_path / "other.toml")]) == 2
    tmp_path.chmod(stat.S_IRWXU)
    assert "ermission" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["tokn"], ["token", "check"], ["token", "new", "--nonsense"], ["rules", "show", "ftx", "--target", "x"]],
)
def test_a_wrong_command_line_exits_with_2(arguments: list[str], capsys: Captured) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err
    assert "Traceback" not in shown.err


def test_help_and_version_exit_with_0(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    assert "token" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("gearing ")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def fail(holds: str) -> str:
        raise error

    monkeypatch.setattr("gearing.core.spec_text.example_token", fail)
    return main(["token", "new"])


def test_our_own_fault_exits_with_1_and_says_so(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    assert failing(monkeypatch, ZeroDivisionError("division by zero")) == 1
    shown = capsys.readouterr().err
    assert "fault of Gearing, not yours (ZeroDivisionError: division by zero)" in shown
    assert "GEARING_DEBUG=1" in shown
    assert "Traceback" not in shown
    monkeypatch.setenv("GEARING_DEBUG", "1")
    assert failing(monkeypatch, ZeroDivisionError()) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(monkeypatch, KeyboardInterrupt()) == 130


def test_a_full_disk_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    assert failing(monkeypatch, OSError(28, "No space left on device", "out.parquet")) == 5
    assert capsys.readouterr().err == "error: out.parquet: No space left on device.\n"


def test_data_warnings_become_notes(capsys: Captured) -> None:
    with output.notes():
        warnings.warn("the prices have 3 gaps", DataWarning, stacklevel=1)
        warnings.warn("the prices have 3 gaps", DataWarning, stacklevel=1)
    assert capsys.readouterr().err == "note: the prices have 3 gaps\n" * 2


def test_a_flag_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured) -> None:
    monkeypatch.setenv("GEARING_JSON", "1")
    monkeypatch.setenv("GEARING_TARGET", "-1")
    monkeypatch.setenv("GEARING_FORCE", "1")
    assert main(["rules", "show", "ftx"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == -1
    assert main(["rules", "show", "ftx", "--target", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == 3
    path = tmp_path / "token.toml"
    path.write_text("mine")
    assert main(["token", "new", str(path)]) == 2


def test_no_other_exchange_is_begun_with_for_what_stands_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    monkeypatch.setattr(
        "gearing.cli.up._ending_at_once_on_signals", lambda again: nullcontext()
    )  # they are the test runner's
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gearing-demo-paper.db").touch()
    assert main(["up", "--new-exchange"]) == 2
    assert "the paper exchange's file is there" in capsys.readouterr().err
    assert main(["up", "--help"]) == 0
    assert "GEARING_NEW_EXCHANGE" not in capsys.readouterr().out


def test_help_and_light_commands_import_nothing_heavy() -> None:
    heavy = ("numba", "polars", "pandas", "pyarrow", "plotly", "ccxt", "numpy", "rich")
    code = (
        "import sys; from gearing.cli.main import main; code = main(sys.argv[1:]); "
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    for arguments, allowed in ((["--help"], []), (["token", "new"], []), (["rules"], ["rich"])):
        done = run_python("-c", code, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr.strip().splitlines()[-1] == str(allowed)


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    # A stdout whose reader is gone from the start fails at the first flush.
    code = (
        "import os, sys; r, w = os.pipe(); os.dup2(w, 1); os.close(w); os.close(r); "
        "from gearing.cli.main import main; sys.exit(main(['rules']))"
    )
    done = run_python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_unicode_is_served() -> None:
    code = "import sys; from gearing.cli.main import main; sys.exit(main(['rules', 'show', 'ftx']))"
    done = run_python("-c", code, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "11.111 %" in done.stdout


def test_every_command_of_the_table_is_there() -> None:
    names = {name for name, _, _ in entry.COMMANDS}
    assert {"rules", "token", "market"} <= names


@pytest.mark.parametrize("lead", ["=", " =", "\u200b=", "\uff1d", "\ufeff\uff0b", "\u00ad@", "-", "\u3000-"])
def test_what_begins_a_formula_is_quoted_in_a_cell(lead):
    assert cell_text(f"{lead}SUM(A1)").startswith("'")
    assert cell_text(f"a{lead}1") == escaped(f"a{lead}1")
    assert cell_text("-1.5") == "-1.5"


def test_what_a_file_says_controls_no_terminal(tmp_path, capsys):
    (tmp_path / "t.toml").write_text('symbol = "A\\u001b[31mX\\u202e"\ntarget = 3\n')
    main(["token", "check", str(tmp_path / "t.toml")])
    shown = "".join(capsys.readouterr())
    assert "A\\x1b[31mX\\u202e" in shown
    assert not {"\x1b", "\u202e"} & set(shown)
