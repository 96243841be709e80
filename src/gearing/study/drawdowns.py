"""Drawdowns: how far NAV stood below its highest so far, and the deepest falls."""

from __future__ import annotations

import numpy as np

from gearing.core.record import Record
from gearing.kernels.pyramid import Floats
from gearing.market.times import iso
from gearing.study.result import Result


class Drawdown(Record, frozen=True, kw_only=True):
    """One fall from a high.

    Args:
        depth: NAV at the trough / NAV at the high − 1, a fraction ≤ 0.
        start: when the high was last seen, ISO text UTC.
        trough: when NAV was lowest.
        recovery: when the high was reached again, or None.
        start_ms, trough_ms: the same as ms UTC.
        end_ms: the recovery, or the last price where there is none.
    """

    depth: float
    start: str
    trough: str
    recovery: str | None
    start_ms: int
    trough_ms: int
    end_ms: int


def under_water(result: Result) -> Floats:
    """Returns NAV / highest NAV so far − 1 at every bar, shape (n,); the initial NAV is the first high."""
    nav = result.nav["nav"].to_numpy()
    highest = np.maximum.accumulate(np.maximum(nav, result.token.initial_nav))
    return np.asarray(nav / highest - 1.0)


def drawdowns(result: Result, most: int = 10) -> list[Drawdown]:
    """Returns the deepest drawdowns, deepest first.

    Args:
        result: a backtest.
        most: how many.
    """
    under, times = under_water(result), result.prices.times_ms
    below = np.concatenate([[False], under < 0.0, [False]])
    edges = np.flatnonzero(below[1:] != below[:-1])
    begins, ends = edges[::2], edges[1::2]
    if not len(begins):
        return []
    # Cut at every edge: each second segment is a stretch under water. A zero behind the end lets the last one end.
    depths = np.minimum.reduceat(np.append(under, 0.0), edges)[::2]
    found = []
    for k in np.argsort(depths, kind="stable")[:most].tolist():
        begin, end = int(begins[k]), int(ends[k])
        bottom = begin + int(under[begin:end].argmin())
        start_ms, trough_ms = int(times[max(begin - 1, 0)]), int(times[bottom])
        recovered = end < len(under)
        end_ms = int(times[end if recovered else -1])
        found.append(
            Drawdown(
                depth=float(under[bottom]),
                start=iso(start_ms),
                trough=iso(trough_ms),
                recovery=iso(end_ms) if recovered else None,
                start_ms=start_ms,
                trough_ms=trough_ms,
                end_ms=end_ms,
            )
        )
    return found
