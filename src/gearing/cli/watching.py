"""A bar on stderr for work that takes a while, shown only to a person at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gearing.cli.output import console


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Shows how far some work has come.

    Args:
        what: the work, in a word or two.

    Yields:
        A function to call with what is done and how much there is in all; None: not known.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shown = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
