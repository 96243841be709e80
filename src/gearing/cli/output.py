"""What every command shows, and where: answers on stdout, notes and errors on stderr."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TextIO

import typer

from gearing.errors import DataWarning, InputError, SpecError
from gearing.typed import escaped, escaped_json

if TYPE_CHECKING:
    from rich.console import Console

    from gearing.filekind import Kind

FAULT_FOUND = 3
"""The exit code of a check that found a fault."""

_WIDTH_MAX = 100
_WIDTH_PIPED = 120

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing files of another kind, too.")]
OverwriteOption = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]


class Column(NamedTuple):
    """A column of a table: its heading, and how its cells stand."""

    heading: str
    justify: Literal["left", "right"] = "left"
    wrap: bool = True


def go_unread() -> None:
    """Lets what is printed from now on go nowhere: its reader has gone."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def emit(payload: Mapping[str, Any], schema: str, as_json: bool, show: Callable[[], None] | None = None) -> None:
    """Gives a command's answer: as JSON on stdout, or by calling `show`.

    Args:
        payload: the answer; records and dates may stand in it. Infinite and missing numbers become null.
        schema: its kind and version, such as "gearing.rules/1"; stands first in the JSON.
        as_json: print the JSON.
        show: prints the answer for people.
    """
    if not as_json:
        if show is not None:
            show()
        return
    import msgspec

    text = msgspec.json.format(msgspec.json.encode({"schema": schema, **payload}), indent=2)
    print(escaped_json(text.decode()))


def console(*, stderr: bool = False) -> Console:
    """Returns a Rich console on stdout or stderr; a pipe gets wide lines and no colours."""
    from rich.console import Console as RichConsole

    class PlainConsole(RichConsole):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # which the entry point answers, in place of Rich's own exit code

    stream = sys.stderr if stderr else sys.stdout
    return PlainConsole(stderr=stderr, width=_width(stream), highlight=False)


def show_table(columns: Sequence[Column | str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    """Prints a table on stdout.

    Args:
        columns: headings, or columns where the cells stand right or must not be folded.
        rows: the cells, as text.
        title: a line above the table.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        given = Column(column) if isinstance(column, str) else column
        table.add_column(escape(given.heading), justify=given.justify, no_wrap=not given.wrap)
    for row in rows:
        table.add_row(*(escape(escaped(cell)) for cell in row))
    if title:
        heading(title)
    console().print(table)


def aligned(rows: Sequence[Sequence[str]], sides: str, *, gap: int = 2) -> list[str]:
    """Returns rows as lines whose columns align.

    Args:
        rows: the cells, each row as long as `sides`.
        sides: "<" or ">" for each column, such as "<>>".
        gap: spaces between columns.
    """
    widths = [max(len(row[k]) for row in rows) for k in range(len(sides))]
    lines = (
        (" " * gap).join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))
        for row in rows
    )
    return [line.rstrip() for line in lines]


def columns_that_fit(rows: Sequence[Sequence[str]], width: int, *, least: int, gap: int = 3) -> int:
    """Returns how many of the first columns stand side by side in a width, never fewer than `least`.

    Args:
        rows: the cells, the headings among them, the dispensable columns last.
        width: characters to a line.
        least: columns that must stand.
        gap: spaces between columns.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    fitting = len(widths)
    while fitting > least and sum(widths[:fitting]) + gap * (fitting - 1) > width:
        fitting -= 1
    return fitting


def heading(text: str) -> None:
    """Prints an empty line and a bold line on stdout."""
    typer.echo()
    typer.secho(escaped(text), bold=True)


def say(text: str, *, mark: str = "") -> None:
    """Prints a paragraph on stdout, folded to the terminal, after a mark that later lines are indented by."""
    typer.echo(_folded(text, mark))


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Prints names and what they are, one a line, in two columns."""
    known = list(rows)
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        say(value, mark=f"{name:<{width}}  ")


def note(text: str) -> None:
    """Prints a note on stderr."""
    typer.echo(f"{_prefix('note:', 'yellow')} {escaped(text)}", err=True)


def show_error(error: InputError) -> None:
    """Prints what a person has to mend on stderr; a specification's mistakes each on its own line."""
    prefix = _prefix("error:", "red")
    if not isinstance(error, SpecError):
        typer.echo(f"{prefix} {escaped(str(error))}", err=True)
        return
    problems = [str(problem) for problem in error.problems]
    if len(problems) == 1 and not error.where:
        typer.echo(f"{prefix} {escaped(problems[0])}", err=True)
        return
    place = f"{escaped(error.where)}: " if error.where else ""
    typer.echo(f"{prefix} {place}{count(len(problems), 'mistake')}", err=True)
    for problem in problems:
        typer.echo(_folded(problem, "  - ", err=True), err=True)


def count(number: int, thing: str) -> str:
    """Returns a number with its thing: "1 mistake", "3 mistakes"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


_noted: list[str] = []


def notes_so_far() -> list[str]:
    """Returns the notes that were shown since the command began, each once, for its answer in JSON."""
    return list(dict.fromkeys(_noted))


@contextmanager
def notes() -> Iterator[None]:
    """Shows every DataWarning raised inside as a note on stderr."""
    _noted.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, DataWarning):
                _noted.append(str(message))
                note(str(message))
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def write_out(path: Path, data: str | bytes, kind: Kind, *, force: bool) -> None:
    """Writes a command's `--out` file, wholly or not at all, and reports it on stderr.

    Raises:
        InputError: the path holds another kind of file and `force` is not set, it cannot be written, or the disk is
            full.
    """
    from gearing.files import write_bytes

    write_bytes(path, data.encode() if isinstance(data, str) else data, kind, force=force)
    typer.echo(f"wrote {path}", err=True)


def _prefix(word: str, colour: str) -> str:
    return typer.style(word, fg=colour, bold=True)


def _width(stream: TextIO) -> int:
    # COLUMNS comes first for a terminal and a pipe alike.
    if stream.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return _WIDTH_PIPED


def _folded(text: str, mark: str, *, err: bool = False) -> str:
    width = min(_width(sys.stderr if err else sys.stdout), _WIDTH_MAX)
    lines = textwrap.wrap(
        # A percentage is not torn from its sign at a line's end.
        escaped(text).replace(" %", "\u00a0%"),
        max(width, len(mark) + 20),
        initial_indent=mark,
        subsequent_indent=" " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\u00a0%", " %") or mark.rstrip()
