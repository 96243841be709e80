"""What a sweep is judged by: one figure, its best and its most robust combination, and their words."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gearing.errors import InputError
from gearing.kernels.pyramid import Floats
from gearing.numerals import amount, fixed, gained, number, share
from gearing.study.robust import LESS_IS_BETTER, worst_of_neighbours
from gearing.study.sweep import Sweep

SHARES = frozenset(
    {"total_return", "cagr", "volatility", "max_drawdown", "worst_day", "tracking_difference", "tracking_error",
     "underlying_return"}
)  # fmt: skip
"""Figures that are shown as percentages."""

SHOWN = ("total_return", "final_nav", "max_drawdown", "tracking_error", "max_leverage", "rebalances", "turnover")
"""Figures that the table shows beside the one it is judged by."""


_FIELDS = frozenset({"target", "initial_nav"})
_NAMES = {"sharpe": "Sharpe ratio", "final_nav": "final NAV", "cagr": "return per year"}


class Found(NamedTuple):
    """What a sweep is judged by.

    Args:
        sweep: the sweep.
        figure: the figure.
        values: it, per combination, shape (k,).
        worst: the worst of each neighbourhood, shape (k,).
        best: the row of the best value.
        robust: the row whose neighbourhood's worst is the best; of equals the one that is best itself.
    """

    sweep: Sweep
    figure: str
    values: Floats
    worst: Floats
    best: int
    robust: int


def judged(sweep: Sweep, figure: str) -> Found:
    """Returns what a sweep is judged by.

    Raises:
        InputError: there is no such figure, or it is no number.
    """
    frame = sweep.table
    if figure not in frame.columns or not (frame[figure].dtype.is_numeric() or figure == "wiped_out"):
        known = [name for name in frame.columns if frame[name].dtype.is_numeric() and name not in sweep.grid]
        raise InputError(f"there is no figure {figure!r} to judge by.", fix=f"Choose one of: {', '.join(known)}.")
    values = frame[figure].cast(float).to_numpy()
    sign = -1.0 if figure in LESS_IS_BETTER else 1.0
    rank = np.where(np.isnan(values), -np.inf, sign * values)
    worst = worst_of_neighbours(sweep, figure)
    robust = max(range(len(values)), key=lambda k: (sign * worst[k], rank[k], -k))
    return Found(sweep, figure, values, worst, int(np.argmax(rank)), robust)


def words_of(name: str) -> str:
    """Returns a field's or a figure's name as people read it."""
    last = name.rpartition(".")[2]
    return name if last.isdigit() else _NAMES.get(last, last.replace("_", " "))


def value_of(name: str, value: Any) -> str:
    """A figure or a field's value as people read it."""
    if value is None:
        return "none"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if name in ("total_return", "cagr"):
        return gained(value, 1)
    if name == "max_drawdown":
        return gained(value, 1)
    if name in SHARES:
        return share(value, 1, sign=name != "tracking_error")
    if name == "final_nav":
        return amount(value, 5)
    if not math.isfinite(value):
        return fixed(value, 0)
    return number(value, decimals=6 if name in _FIELDS or "." in name else 3)


def point_of(found: Found, row: int) -> str:
    """Returns a combination in words."""
    at = found.sweep.table.row(row, named=True)
    return ", ".join(f"{words_of(name)} {value_of(name, at[name])}" for name in found.sweep.grid)
