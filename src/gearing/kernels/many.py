"""Many rules on one path, or one rule on many paths: the same run, spread over threads without the GIL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.core.unpack import is_plain, unpack
from gearing.jit import compiled
from gearing.kernels import figures as fig
from gearing.kernels.calendar import CALENDAR, Calendar, fill_extremes
from gearing.kernels.lanes import LANES, N_LANE_NUMBERS, PATHS, run_lanes
from gearing.kernels.plain import run_plain
from gearing.kernels.pyramid import Floats, fill_pyramid, new_pyramid
from gearing.kernels.run import FLOATS, N_COLUMNS, run
from gearing.kernels.series import SERIES, Series
from gearing.kernels.wake import ROWS

_I, _F = numba.int64, numba.float64
_CHUNK_MAX = 128
_DENSE_BARS = 16

Done = Callable[[int], None]


@compiled(numba.void(ROWS, SERIES, CALENDAR, _F, numba.boolean, ROWS, _I, _I, FLOATS, ROWS, FLOATS))
def _rules(
    flats: Floats, series: Series, calendar: Calendar, equity: float, measured: bool, figures: Floats,
    start: int, stop: int, ledger: Floats, rows: Floats, row: Floats,
) -> None:  # fmt: skip
    for k in range(start, stop):
        run(flats[k], series, calendar, equity, measured, figures[k], ledger, rows, row)


@compiled(numba.void(FLOATS, SERIES, PATHS, CALENDAR, _F, numba.boolean, ROWS, _I, _I, FLOATS, ROWS, FLOATS))
def _paths(
    flat: Floats, shape: Series, paths: Floats, calendar: Calendar, equity: float, measured: bool, figures: Floats,
    start: int, stop: int, ledger: Floats, rows: Floats, row: Floats,
) -> None:  # fmt: skip
    blocks = shape.blocks
    for k in range(start, stop):
        close = paths[k]
        fill_pyramid(close, close, blocks)
        fill_extremes(close, close, blocks, calendar.bars, calendar.dues)
        series = Series(
            shape.times_ms, shape.spacing_ms, close, blocks, close, close, close, blocks, shape.volume_24h
        )  # fmt: skip
        run(flat, series, calendar, equity, measured, figures[k], ledger, rows, row)


@cache
def _pool(threads: int | None) -> ThreadPoolExecutor:
    """Returns a pool of threads, one per core unless told otherwise; it is kept, as starting one takes half a ms."""
    config: Any = numba.config
    return ThreadPoolExecutor(threads or int(config.NUMBA_DEFAULT_NUM_THREADS))


@compiled(numba.void(FLOATS, SERIES, PATHS, CALENDAR, _F, ROWS, _I, _I, FLOATS, FLOATS))
def _bare_paths(
    flat: Floats, shape: Series, paths: Floats, calendar: Calendar, equity: float, figures: Floats,
    start: int, stop: int, lanes: Floats, none: Floats,
) -> None:  # fmt: skip
    t = unpack(flat)
    whole = (stop - start) // int(LANES) * int(LANES)
    for k in range(start, start + whole, int(LANES)):
        run_lanes(t, paths, shape.blocks, calendar, equity, figures, np.uint64(k), lanes, none)
    for k in range(start + whole, stop):
        close = paths[k]
        series = Series(
            shape.times_ms, shape.spacing_ms, close, shape.blocks, close, close, close, shape.blocks, shape.volume_24h
        )  # fmt: skip
        run_plain(t, series, calendar, equity, figures[k], none)


def _spread(
    count: int, work: Callable[[int, int], None], threads: int | None, done: Done | None, group: int = 1
) -> None:
    """Does `work(start, stop)` over chunks of whole groups of [0, count) on a few threads, reporting each chunk."""
    chunk = min(-(-count // (8 * group)) * group, _CHUNK_MAX)
    starts = range(0, count, chunk)
    for stop in _pool(threads).map(lambda start: _do(work, start, min(start + chunk, count)), starts):
        if done is not None:
            done(stop)


def _do(work: Callable[[int, int], None], start: int, stop: int) -> int:
    work(start, stop)
    return stop


def _from(done: Done, before: int) -> Done:
    return lambda count: done(before + count)


def padded(flats: Sequence[Floats]) -> Floats:
    """Returns packed tokens as the rows of one array; what lies beyond a token's own length is never read."""
    result = np.zeros((len(flats), max(len(flat) for flat in flats)))
    for row, flat in zip(result, flats, strict=True):
        row[: len(flat)] = flat
    return result


def run_rules(
    flats: Sequence[Floats],
    series: Series,
    calendars: Sequence[Calendar],
    equity: float,
    *,
    measured: bool = False,
    threads: int | None = None,
    done: Done | None = None,
) -> Floats:
    """Runs many packed tokens over one indexed path.

    Args:
        flats: packed tokens, k of them.
        series: the indexed prices.
        calendars: one per token; tokens that share one are run together.
        equity: the capital before the opening trade.
        measured: whether to measure leverage, drawdown and daily returns too.
        threads: how many; by default one per core.
        done: told how many tokens are done, now and then.

    Returns:
        The figures of each, in the order given, shape (k, N_FIGURES).
    """
    result = np.empty((len(flats), fig.N_FIGURES))
    groups: dict[int, list[int]] = {}
    for k, calendar in enumerate(calendars):
        groups.setdefault(id(calendar), []).append(k)
    before = 0
    for members in groups.values():
        packed, figures = padded([flats[k] for k in members]), np.empty((len(members), fig.N_FIGURES))
        calendar = calendars[members[0]]

        def work(
            start: int, stop: int, packed: Floats = packed, figures: Floats = figures, calendar: Calendar = calendar
        ) -> None:
            _rules(packed, series, calendar, equity, measured, figures, start, stop, *_scratch())

        _spread(len(members), work, threads, None if done is None else _from(done, before))
        result[members] = figures
        before += len(members)
    return result


def run_paths(
    flat: Floats,
    shape: Series,
    calendar: Calendar,
    paths: NDArray[np.float64],
    equity: float,
    *,
    measured: bool = False,
    threads: int | None = None,
    done: Done | None = None,
) -> Floats:
    """Runs one packed token over many price paths on the same times.

    Args:
        flat: the packed token.
        shape: any indexed series on these times; its prices are not read.
        calendar: the wake-up bars on these times.
        paths: prices, shape (k, n).
        equity, measured, threads, done: as for `run_rules`.

    Returns:
        The figures of each path, shape (k, N_FIGURES).
    """
    prices = np.ascontiguousarray(paths, dtype=np.float64).view()
    prices.flags.writeable = False
    figures = np.empty((len(prices), fig.N_FIGURES))
    # Where clocks wake a plain token every few bars, an index would cost more than it spares.
    dense = len(calendar.bars) * _DENSE_BARS > prices.shape[1]
    bare = dense and not measured and is_plain(flat, unpack(flat))

    unseen = calendar.dues.copy()
    unseen[:, 2] = -np.inf

    def indexed(start: int, stop: int) -> None:
        own = shape._replace(blocks=new_pyramid(prices.shape[1]))
        dues = calendar._replace(dues=unseen.copy())
        _paths(flat, own, prices, dues, equity, measured, figures, start, stop, *_scratch())

    def unindexed(start: int, stop: int) -> None:
        own, dues = shape._replace(blocks=new_pyramid(0)), calendar._replace(dues=unseen)
        _bare_paths(flat, own, prices, dues, equity, figures, start, stop, np.empty(N_LANE_NUMBERS), np.empty(0))

    if bare:
        _spread(len(prices), unindexed, threads, done, group=int(LANES))
    else:
        _spread(len(prices), indexed, threads, done)
    return figures


def _scratch() -> tuple[Floats, Floats, Floats]:
    """Returns no ledger, no rows, and room for one row."""
    return np.empty(0), np.empty((0, N_COLUMNS)), np.empty(N_COLUMNS)
