"""The options that ask for a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gearing.errors import InputError

ReportOption = Annotated[Path | None, typer.Option(help="Write a report: one HTML file that needs no network.")]
WindowOption = Annotated[
    str | None,
    typer.Option(
        metavar="START..END",
        help="Rank this window among all of its length: 2023-03-01..2023-04-01.",
        show_default=False,
    ),
]


def period_of(option: str, text: str | None) -> tuple[str, str] | None:
    """Returns the period START..END that an option names.

    Raises:
        InputError: it is no period.
    """
    if text is None:
        return None
    start, dots, end = text.partition("..")
    if not dots or not start.strip() or not end.strip():
        fix = "Write START..END, such as 2023-03-01..2023-04-01."
        raise InputError("this is no window.", where=f"{option} {text[:40]}", fix=fix)
    return start.strip(), end.strip()
