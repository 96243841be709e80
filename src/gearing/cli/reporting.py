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
        help="In the report, rank this window among all of its length: 2023-03-01..2023-04-01.",
        show_default=False,
    ),
]


def window_of(text: str | None, report: Path | None) -> tuple[str, str] | None:
    """Returns the window that --window names.

    Raises:
        InputError: it is no window, or no report is asked for.
    """
    if text is not None and report is None:
        what = "a window is shown in a report only."
        raise InputError(what, where=f"--window {text}", fix="Give --report report.html too.")
    return period_of("--window", text)


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
