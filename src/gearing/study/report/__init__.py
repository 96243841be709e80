"""Reports: one self-contained HTML file of a backtest, a comparison or a sweep."""

from __future__ import annotations

from pathlib import Path

from gearing.files import write_text
from gearing.market.times import Moment
from gearing.study.backtest import Result
from gearing.study.report.backtest import backtest_page

__all__ = ["backtest_page", "write_backtest"]


def write_backtest(
    result: Result, path: str | Path, *, window: tuple[Moment, Moment] | None = None, command: str | None = None
) -> None:
    """Writes the report of a backtest, wholly or not at all; see `backtest_page`.

    Raises:
        InputError: the window cannot be ranked, or the place cannot be written.
    """
    write_text(path, backtest_page(result, window=window, command=command))
