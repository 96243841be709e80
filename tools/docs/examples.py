"""The examples of README and documentation: what stands there is run, and what it prints is compared.

- A `python` block is executed; blocks of a page share their names, in order. The `text` block right after it
  is what it prints; one that prints nothing has none.
- A `console` block holds `$ gearing …` commands (a backslash goes on in the next line), each with its output
  below: what goes to stdout, and to stderr too if the command fails. A line of three dots stands for any lines.
- A `toml` block is a token, a `csv` block a table. With a `title` it is also written to the page's own folder,
  where all of this runs. A `toml` block followed by Python that makes a `token` says the same as that.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from gearing.cli.main import main
from gearing.core.spec_text import parse_token

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))

# `py` is a signature, made from the code.
KINDS = {"python", "text", "console", "toml", "csv", "sh", "py"}

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<kind>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
# A command, going on in the next line after a backslash.
_COMMAND = re.compile(r"\$ ((?:.*\\\n)*.*)\n")


class Block(NamedTuple):
    """A fenced block of a page.

    Args:
        kind: its language.
        title: the file it is, or "".
        text: what stands in it, without the indent of a tab.
        indent: how far in it stands.
        start, end: where its text stands in the page.
    """

    kind: str
    title: str
    text: str
    indent: str
    start: int
    end: int


class Example(NamedTuple):
    """Something that was run.

    Args:
        code: the Python, or the command.
        expected: what the page says it prints.
        printed: what it printed.
        start, end: where the expectation stands in the page.
        indent: how far in.
        unsaid: Python without a block for what it prints.
    """

    code: str
    expected: str
    printed: str
    start: int
    end: int
    indent: str
    unsaid: bool = False

    @property
    def holds(self) -> bool:
        """Whether the page says what was printed."""
        return re.fullmatch(_pattern(self.expected) + r"\n*", self.printed) is not None


def blocks(text: str) -> list[Block]:
    """Returns the fenced blocks of a page."""
    return [
        Block(m["kind"], m["title"] or "", textwrap.dedent(m["text"]), m["indent"], m.start("text"), m.end("text"))
        for m in _BLOCK.finditer(text)
    ]


def played(text: str, folder: Path, *, columns: int = 80) -> Iterator[Example]:
    """Runs a page's examples in order and yields each with what it printed.

    Args:
        text: the page.
        folder: where its files are written and its commands run.
        columns: width of the terminal.

    Raises:
        AssertionError: a block is of no known kind, or two that should say the same do not.
    """
    found = blocks(text)
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(folder), mock.patch.dict(os.environ, {"COLUMNS": str(columns)}):
        for number, block in enumerate(found):
            before = found[number - 1] if number else None
            after = found[number + 1] if number + 1 < len(found) else None
            assert block.kind in KINDS, f"a block of {block.kind} is neither run nor checked"
            if block.title:
                Path(block.title).write_text(block.text, encoding="utf-8")
            if block.kind == "toml":
                parse_token(block.text)
            elif block.kind == "text":
                assert before is not None, "a text block is what the Python before it prints"
                assert before.kind == "python", "a text block is what the Python before it prints"
            elif block.kind == "python":
                yield _python(block, after, names)
                makes_token = re.search(r"^token = ", block.text, flags=re.MULTILINE) is not None
                if before is not None and before.kind == "toml" and makes_token:
                    assert names["token"] == parse_token(before.text), f"TOML and Python differ:\n{before.text}"
            elif block.kind == "console":
                yield from _commands(block)


def _python(block: Block, after: Block | None, names: dict[str, Any]) -> Example:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(block.text, "<example>", "exec"), names)
    printed = _trimmed(shown.getvalue())
    expected = after if after is not None and after.kind == "text" else None
    if expected is None:
        return Example(block.text, "", printed, block.end, block.end, block.indent, unsaid=True)
    return Example(block.text, expected.text, printed, expected.start, expected.end, expected.indent)


def _commands(block: Block) -> Iterator[Example]:
    """Each command of a block, found again by its place in the text as it stands, indent included."""
    at = block.start
    for part in re.split(r"^(?=\$ )", block.text, flags=re.MULTILINE):
        width = len(textwrap.indent(part, block.indent))
        if found := _COMMAND.match(part):
            command = found[1]
            expected = part[len(command) + 3 :]
            head = textwrap.indent(f"$ {command}\n", block.indent)
            yield Example(command, expected, ran(command), at + len(head), at + width, block.indent)
        at += width


def ran(command: str) -> str:
    """Runs a `gearing` command and returns what a person sees of it: stdout, and stderr if it failed."""
    program, *arguments = shlex.split(command.replace("\\\n", " "))
    assert program == "gearing", f"{command} is no command of Gearing"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return _trimmed(out.getvalue() + (err.getvalue() if code else ""))


def _trimmed(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _pattern(expected: str) -> str:
    """A line of three dots stands for any lines; spaces at the end of a line do not count."""
    parts = [re.escape(part.strip("\n")) for part in re.split(r"^\.\.\.$", _trimmed(expected), flags=re.MULTILINE)]
    return r"(?:.*\n)*?".join(parts)
