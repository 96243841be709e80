"""Reports: one self-contained HTML file of a backtest, a comparison, a sweep or a track."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gearing.files import write_text
from gearing.market.times import Moment
from gearing.study.compare import Comparison
from gearing.study.report.backtest import backtest_page
from gearing.study.report.compare import compare_page
from gearing.study.report.sweep import sweep_page
from gearing.study.report.track import track_page
from gearing.study.result import Result
from gearing.study.sweep import Sweep
from gearing.study.track_record import Track

__all__ = ["backtest_page", "compare_page", "sweep_page", "track_page", "write_backtest", "write_comparison",
           "write_sweep", "write_track"]  # fmt: skip


def write_backtest(
    result: Result,
    path: str | Path,
    *,
    window: tuple[Moment, Moment] | None = None,
    command: str | None = None,
    force: bool = False,
) -> None:
    """Writes the report of a backtest, wholly or not at all; see `backtest_page`.

    Raises:
        InputError: the window cannot be ranked, or the path holds another kind of file, or it cannot be written.
    """
    write_text(path, backtest_page(result, window=window, command=command), "html", force=force)


def write_comparison(
    comparison: Comparison,
    path: str | Path,
    *,
    gap_budget: Mapping[str, str] | None = None,
    command: str | None = None,
    force: bool = False,
) -> None:
    """Writes the report of a comparison, wholly or not at all; see `compare_page`.

    Raises:
        InputError: the path holds another kind of file, or it cannot be written.
    """
    write_text(path, compare_page(comparison, gap_budget=gap_budget, command=command), "html", force=force)


def write_sweep(
    sweep: Sweep, path: str | Path, *, figure: str = "total_return", command: str | None = None, force: bool = False
) -> None:
    """Writes the report of a sweep, wholly or not at all; see `sweep_page`.

    Raises:
        InputError: there is no such figure, or the path holds another kind of file, or it cannot be written.
    """
    write_text(path, sweep_page(sweep, figure=figure, command=command), "html", force=force)


def write_track(track: Track, path: str | Path, *, command: str | None = None, force: bool = False) -> None:
    """Writes the report of a product against its simulation, wholly or not at all; see `track_page`.

    Raises:
        InputError: the path holds another kind of file, or it cannot be written.
    """
    write_text(path, track_page(track, command=command), "html", force=force)
