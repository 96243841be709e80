"""The options that ask for a report, and the command line that makes it again."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from gearing.errors import InputError

ReportOption = Annotated[Path | None, typer.Option(help="Write a report: one HTML file that needs no network.")]
WindowOption = Annotated[
    str | None,
    typer.Option(
        metavar="START..END",
        help="In the report, rank this window among all of its length: 2023-03-01..2023-04-01.",
        show_default=False,
    ),
]

# What was typed or stood in the environment is said again; a default says itself.
_GIVEN = ("COMMANDLINE", "ENVIRONMENT")


def window_of(text: str | None, report: Path | None) -> tuple[str, str] | None:
    """Returns the window that --window names.

    Raises:
        InputError: it is no window, or no report is asked for.
    """
    if text is None:
        return None
    where = f"--window {text}"
    if report is None:
        raise InputError("a window is shown in a report only.", where=where, fix="Give --report report.html too.")
    start, dots, end = text.partition("..")
    if not dots or not start.strip() or not end.strip():
        raise InputError("this is no window.", where=where, fix="Write START..END, such as 2023-03-01..2023-04-01.")
    return start.strip(), end.strip()


def command_line(context: typer.Context) -> str:
    """Returns the running command as a line for a shell, with all it was given."""
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is None or source.name not in _GIVEN:
            continue
        values = context.params.get(name)
        long = next((option for option in parameter.opts if option.startswith("--")), "")
        for value in values if isinstance(values, (list, tuple)) else [values]:
            words += _words(long, value)
    return shlex.join([*context.command_path.split(), *words])


def _words(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option] if value else []
    text = str(value.value if isinstance(value, Enum) else value)
    return [option, text] if option else [text]
