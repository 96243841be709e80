"""The README says what the package does: its Python and its commands run here and print what stands there."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gearing.cli.main import main
from gearing.core.spec_text import parse_token

README = Path(__file__).resolve().parents[1] / "README.md"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    return _BLOCK.findall(README.read_text(encoding="utf-8"))


def printed(code: str, names: dict[str, Any]) -> str:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, str(README), "exec"), names)
    return shown.getvalue()


def sessions() -> Iterator[tuple[str, str]]:
    """Each command of the console blocks with the output that stands below it."""
    for kind, text in blocks():
        if kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, output


def as_pattern(output: str) -> str:
    """A line of three dots stands for any lines; spaces at the end of a line do not count."""
    parts = [re.escape(part.strip("\n")) for part in re.split(r"^\.\.\.$", output, flags=re.MULTILINE)]
    return r"(?:.*\n)*?".join(parts)


def test_the_python_prints_what_the_readme_says() -> None:
    names: dict[str, Any] = {}
    found = blocks()
    checked = 0
    for k, (kind, code) in enumerate(found):
        if kind == "python":
            assert found[k + 1][0] == "text", "a Python block is followed by what it prints"
            assert printed(code, names) == found[k + 1][1]
            checked += 1
    assert checked >= 3


def test_the_commands_print_what_the_readme_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    checked = 0
    for command, output in sessions():
        program, *arguments = shlex.split(command)
        assert program == "gearing"
        assert main(arguments) == 0, capsys.readouterr().err
        shown = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
        assert re.fullmatch(as_pattern(output) + r"\n*", shown), f"{command} printed:\n{shown}"
        checked += 1
    assert checked >= 5


def test_the_tokens_in_toml_are_valid() -> None:
    tokens = [parse_token(text) for kind, text in blocks() if kind == "toml"]
    assert [token.symbol for token in tokens] == ["BTC3L"]


def test_the_first_screen_is_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.index("## Installing") < 3_500
