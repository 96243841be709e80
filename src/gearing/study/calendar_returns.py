"""Returns by calendar month and year, UTC."""

from __future__ import annotations

import numpy as np

from gearing.core.record import Record
from gearing.kernels.pyramid import Floats
from gearing.market.series import Times
from gearing.study.result import Result


class YearOfReturns(Record, frozen=True, kw_only=True):
    """One calendar year.

    Args:
        year: such as 2023.
        months: simple return of each of the twelve months; None where there are no data or nothing is left.
        part: for each month, whether the data hold only a part of it.
        total: simple return over what the data hold of the year; None if nothing was left at its start.
        start_nav: NAV at its start (or at the start of the data), settlement currency per unit.
    """

    year: int
    months: tuple[float | None, ...]
    part: tuple[bool, ...]
    total: float | None
    start_nav: float


def known_nav(result: Result, moments: Times) -> Floats:
    """Returns NAV at the last price known at each moment; before the first price the initial NAV."""
    nav = result.nav["nav"].to_numpy()
    bars = np.searchsorted(result.prices.times_ms, moments, side="right") - 1
    # The opening trade's cost belongs to the first period.
    return np.where(moments <= result.prices.times_ms[0], result.token.initial_nav, nav[np.maximum(bars, 0)])


def calendar_returns(result: Result) -> list[YearOfReturns]:
    """Returns each calendar year with its months; a month begins and ends at 00:00 UTC.

    The first month begins with the initial NAV, the last one ends with the last price.
    """
    times = result.prices.times_ms
    first, last = (times[k].astype("datetime64[ms]").astype("datetime64[M]") for k in (0, -1))
    edges = np.arange(first, last + 2, dtype="datetime64[M]").astype("datetime64[ms]").astype(np.int64)
    if len(edges) > 2 and edges[-2] == times[-1]:
        # The last price is that of the month's end; no month begins with it.
        edges = edges[:-1]
    nav = known_nav(result, edges)
    part = (edges[:-1] < times[0]) | (edges[1:] > times[-1])
    begin = int(str(first)[:4])
    month = int(str(first)[5:7]) - 1
    years: dict[int, list[int]] = {}
    for k in range(len(edges) - 1):
        years.setdefault(begin + (month + k) // 12, []).append(k)
    return [_year(year, ks, month, nav, part) for year, ks in years.items()]


def _year(year: int, ks: list[int], offset: int, nav: Floats, part: np.ndarray) -> YearOfReturns:
    months: list[float | None] = [None] * 12
    partial = [False] * 12
    for k in ks:
        at = (offset + k) % 12
        months[at] = float(nav[k + 1] / nav[k] - 1) if nav[k] > 0 else None
        partial[at] = bool(part[k])
    start = float(nav[ks[0]])
    total = float(nav[ks[-1] + 1] / start - 1) if start > 0 else None
    return YearOfReturns(year=year, months=tuple(months), part=tuple(partial), total=total, start_nav=start)
