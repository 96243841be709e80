"""One token on one path, with all that happened: the rows, the figures, the attribution and the path itself."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from gearing.core import attribution as att
from gearing.core.unpack import is_plain, unpack
from gearing.jit import compiled
from gearing.kernels import figures as fig
from gearing.kernels.calendar import CALENDAR, Calendar
from gearing.kernels.plain import fill, run_plain
from gearing.kernels.pyramid import PRICES, Floats
from gearing.kernels.run import BAR, EQUITY, FLOATS, N_COLUMNS, POSITION, PRICE, run
from gearing.kernels.series import SERIES, Series
from gearing.kernels.wake import ROWS

_ROWS_AT_FIRST = 4_096


class Run(NamedTuple):
    """What one run left behind.

    Args:
        rows: what happened, one row per bar (see `run.COLUMNS`), shape (m, N_COLUMNS).
        figures: see `figures.FIGURES`.
        ledger: the attribution, see `core.attribution`.
    """

    rows: Floats
    figures: Floats
    ledger: Floats


def run_one(flat: Floats, series: Series, calendar: Calendar, equity: float) -> Run:
    """Runs one packed token over one indexed path and records everything."""
    figures, ledger, row = np.empty(fig.N_FIGURES), np.empty(att.N_LEDGER), np.empty(N_COLUMNS)
    rows = np.empty((_ROWS_AT_FIRST, N_COLUMNS))
    needed = run(flat, series, calendar, equity, True, figures, ledger, rows, row)
    if needed > len(rows):
        rows = np.empty((needed, N_COLUMNS))
        run(flat, series, calendar, equity, True, figures, ledger, rows, row)
    return Run(rows[:needed], figures, ledger)


@compiled(numba.void(ROWS, PRICES, numba.types.Array(numba.float64, 1, "C"), numba.types.Array(numba.float64, 1, "C")))
def fill_path(rows: Floats, close: Floats, equity: Floats, position: Floats) -> None:
    """Writes equity and position of every bar from the rows of a run: between rows equity is affine in price.

    `position` may have shape (0,) if it is not wanted.
    """
    n = np.uint64(close.shape[0])
    for k in range(rows.shape[0]):
        start = np.uint64(rows[k, BAR])
        stop = np.uint64(rows[k + 1, BAR]) if k + 1 < rows.shape[0] else n
        base, q, price = rows[k, EQUITY], rows[k, POSITION], rows[k, PRICE]
        fill(close, equity, start, stop, base, q, price)
        if position.shape[0] > 0:
            for i in range(start, stop):
                position[i] = q


def path_of(run: Run, series: Series) -> tuple[Floats, Floats]:
    """Returns (equity, position) per bar, each of shape (n,)."""
    equity, position = np.empty(len(series.close)), np.empty(len(series.close))
    fill_path(run.rows, series.close, equity, position)
    return equity, position


@compiled(numba.boolean(FLOATS, SERIES, CALENDAR, numba.float64, FLOATS, FLOATS))
def _plain_path(flat: Floats, series: Series, calendar: Calendar, equity: float, figures: Floats, path: Floats) -> bool:
    t = unpack(flat)
    if not is_plain(flat, t):
        return False
    run_plain(t, series, calendar, equity, figures, path)
    return True


def equity_path(
    flat: Floats,
    series: Series,
    calendar: Calendar,
    equity: float,
    *,
    figures: Floats | None = None,
    out: Floats | None = None,
) -> Floats:
    """Returns the equity per bar alone, shape (n,): the quickest way to a path.

    Args:
        flat, series, calendar, equity: as for `run_one`.
        figures: receives equity, position, counts and turnover, shape (N_FIGURES,), if given.
        out: receives the path, shape (n,), if given.
    """
    path = np.empty(len(series.close)) if out is None else out
    found = np.empty(fig.N_FIGURES) if figures is None else figures
    if not _plain_path(flat, series, calendar, equity, found, path):
        run = run_one(flat, series, calendar, equity)
        found[:] = run.figures
        fill_path(run.rows, series.close, path, np.empty(0))
    return path
