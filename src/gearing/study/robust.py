"""Robust regions of a sweep: how a combination's neighbours did."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from gearing.kernels.pyramid import Floats
from gearing.study.sweep import Sweep

LESS_IS_BETTER = frozenset(
    {
        "volatility", "tracking_error", "rebalances", "trades", "turnover",
        "max_leverage", "liquidations", "wiped_out",
    }
)  # fmt: skip
"""Figures of which the smallest is the best."""


def worst_of_neighbours(sweep: Sweep, figure: str) -> Floats:
    """Returns for each combination the worst of its neighbourhood, shape (k,), in the order of the sweep's frame.

    The neighbourhood is the combination itself and every one whose fields are the same or the next value
    above or below. Values of a field are in order of size; a field that is no number has no neighbours.

    Args:
        sweep: the sweep.
        figure: a figure of its frame. A missing value is the worst there is.
    """
    orders = [_order(list(values)) for values in sweep.grid.values()]
    shape = [len(values) for values in sweep.grid.values()]
    sign = -1.0 if figure in LESS_IS_BETTER else 1.0
    values = sign * sweep.table[figure].cast(float).to_numpy().reshape(shape)
    by_size = np.ix_(*(np.arange(n) if order is None else order for n, order in zip(shape, orders, strict=True)))
    given = np.where(np.isnan(values), -np.inf, values)[by_size]
    worst = given.copy()
    for shift in itertools.product(*((0,) if order is None else (-1, 0, 1) for order in orders)):
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, shape, strict=True))
        there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, shape, strict=True))
        worst[here] = np.minimum(worst[here], given[there])
    found = np.empty_like(worst)
    found[by_size] = worst
    return np.asarray(sign * found).ravel()


def _order(values: list[Any]) -> np.ndarray | None:
    """The order of numbers by size, or None if they are no numbers."""
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        return None
    return np.argsort(np.array(values, dtype=float), kind="stable")
