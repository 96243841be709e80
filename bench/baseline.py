"""The baseline: the reference job as straight per-bar numba loops, written without Gearing.

Two ways to know what is due on a bar: the modulo of its number, or a flag computed beforehand. Both test the
band as it is defined, |ℓ/L − 1| > width with ℓ = q·P/E. A job is held against the faster of the two. A third
loop, `TUNED`, is the flagged one with the band multiplied out, so that no bar needs a division: it is shown
beside them, since that is how far a straight loop can be driven.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np

from bench.reference import DAY_BARS, EQUITY, FEE_PER_DAY, FUNDING_BARS, FUNDING_RATE, HALF_SPREAD, Floats

F = TypeVar("F", bound=Callable[..., Any])


def _njit(function: F) -> F:
    result: Any = numba.njit(cache=True, error_model="numpy")(function)
    return cast("F", result)


def _inlined(function: F) -> F:
    result: Any = numba.njit(cache=True, error_model="numpy", forceinline=True)(function)
    return cast("F", result)


def _parallel(function: F) -> F:
    result: Any = numba.njit(cache=True, error_model="numpy", parallel=True)(function)
    return cast("F", result)


# A value within this of an edge equals it, so a band fires beyond it.
_TOUCH = 1e-9

FUNDING, DAY = 1, 2

# What a loop returns, in this order; the last four only where they are measured.
FINAL, REBALANCES, TURNOVER, DRAWDOWN, TRACKED, TRACK_SUM, TRACK_SQUARES = range(7)
N_FIGURES = 7


class Clock(NamedTuple):
    """When funding and days fall due: every so many bars, and the same as one bit mask per bar."""

    funding_bars: int
    day_bars: int
    flags: Any


def make_clock(n: int, funding_bars: int = FUNDING_BARS, day_bars: int = DAY_BARS) -> Clock:
    """Returns the clock of a path of n bars; on the first bar nothing is due."""
    flags = np.zeros(n, np.uint8)
    flags[funding_bars::funding_bars] |= FUNDING
    flags[day_bars::day_bars] |= DAY
    return Clock(funding_bars, day_bars, flags)


@_inlined
def _trade(E: float, q: float, p: float, target: float, taker: float) -> Any:
    """Returns (equity, position, turnover) after the trade to target."""
    dq = target * E / p - q
    side = 1.0 if dq > 0.0 else -1.0
    notional = abs(dq) * p
    return E - (notional * HALF_SPREAD + notional * (1.0 + HALF_SPREAD * side) * taker), q + dq, notional / E


@_inlined
def _is_due(clock: Any, i: int, by_flag: bool) -> Any:
    """Returns whether funding, and whether a day's end, falls due on bar i."""
    if by_flag:
        flag = clock.flags[i]
        return flag & FUNDING != 0, flag & DAY != 0
    return i % clock.funding_bars == 0, i % clock.day_bars == 0


@_inlined
def _fires(E: float, exposure: float, target: float, width: float, lower: float, upper: float, tuned: bool) -> Any:
    """Returns whether the band fires; the tuned way compares sizes, the straight one takes the leverage."""
    if tuned:
        return abs(exposure) > upper * E or abs(exposure) < lower * E
    return abs(exposure / E / target - 1.0) > width


def _make_loop(by_flag: bool, tuned: bool, keeps_path: bool) -> Any:
    """Returns the loop for final figures, writing the equity of every bar into `path` if that is wanted."""

    @_njit
    def loop(P: Floats, target: float, width: float, taker: float, clock: Any, path: Floats) -> Any:
        upper = abs(target) * (1.0 + width) * (1.0 + _TOUCH)
        lower = abs(target) * (1.0 - width) * (1.0 - _TOUCH)
        before = P[0]
        E, q, turnover = _trade(EQUITY, 0.0, before, target, taker)
        if keeps_path:
            path[0] = E
        count = 1
        for i in range(1, P.shape[0]):
            p = P[i]
            E += q * (p - before)
            before = p
            if E <= 0.0:
                break
            funds, day = _is_due(clock, i, by_flag)
            if funds or day:
                if funds:
                    E -= q * p * FUNDING_RATE
                    if E <= 0.0:
                        break
                if day:
                    E -= E * FEE_PER_DAY
            if day or _fires(E, q * p, target, width, lower, upper, tuned):
                E, q, turned = _trade(E, q, p, target, taker)
                if E <= 0.0:
                    break
                turnover += turned
                count += 1
            if keeps_path:
                path[i] = E
        if E <= 0.0:
            E = 0.0
            if keeps_path:
                path[i:] = 0.0
        return E, count, turnover

    return loop


def _make_measured(by_flag: bool, tuned: bool) -> Any:
    """Returns the loop that measures drawdown and daily tracking too; all figures go into `out`."""

    @_njit
    def loop(P: Floats, target: float, width: float, taker: float, clock: Any, out: Floats) -> None:
        upper = abs(target) * (1.0 + width) * (1.0 + _TOUCH)
        lower = abs(target) * (1.0 - width) * (1.0 - _TOUCH)
        before = P[0]
        E, q, turnover = _trade(EQUITY, 0.0, before, target, taker)
        count, peak, trough, drawdown = 1, EQUITY, E, 0.0
        day_equity, day_price = E, before
        tracked, track_sum, track_squares = 0, 0.0, 0.0
        for i in range(1, P.shape[0]):
            p = P[i]
            E += q * (p - before)
            before = p
            if E <= 0.0:
                break
            funds, day = _is_due(clock, i, by_flag)
            if funds or day:
                if funds:
                    E -= q * p * FUNDING_RATE
                    if E <= 0.0:
                        break
                if day:
                    E -= E * FEE_PER_DAY
            if day or _fires(E, q * p, target, width, lower, upper, tuned):
                E, q, turned = _trade(E, q, p, target, taker)
                if E <= 0.0:
                    break
                turnover += turned
                count += 1
            # Between two peaks the deepest point is the lowest, so the division waits for the next peak.
            if peak < E:
                drawdown = max(drawdown, 1.0 - trough / peak)
                peak, trough = E, E
            elif trough > E:
                trough = E
            if day:
                ideal = 1.0 + target * (p / day_price - 1.0)
                if ideal > 0.0:
                    d = math.log(E / day_equity / ideal)
                    tracked += 1
                    track_sum += d
                    track_squares += d * d
                day_equity, day_price = E, p
        if E <= 0.0:
            E, trough = 0.0, 0.0
        out[FINAL], out[REBALANCES], out[TURNOVER] = E, count, turnover
        out[DRAWDOWN] = max(drawdown, 1.0 - trough / peak)
        out[TRACKED], out[TRACK_SUM], out[TRACK_SQUARES] = tracked, track_sum, track_squares

    return loop


def _make_sweep(loop: Any) -> Any:
    """Returns the loop over many rules on one path; final figures into out[k]."""

    @_parallel
    def sweep(P: Floats, targets: Floats, widths: Floats, takers: Floats, clock: Any, out: Floats) -> None:
        none = np.empty(0)
        for k in numba.prange(targets.shape[0]):
            out[k, 0], out[k, 1], out[k, 2] = loop(P, targets[k], widths[k], takers[k], clock, none)

    return sweep


def _make_measured_sweep(loop: Any) -> Any:
    """Returns the loop over many rules on one path; all figures into out[k]."""

    @_parallel
    def sweep(P: Floats, targets: Floats, widths: Floats, takers: Floats, clock: Any, out: Floats) -> None:
        for k in numba.prange(targets.shape[0]):
            loop(P, targets[k], widths[k], takers[k], clock, out[k])

    return sweep


def _make_paths(loop: Any) -> Any:
    """Returns the loop over many paths with one rule; final figures into out[k]."""

    @_parallel
    def paths(P: Floats, target: float, width: float, taker: float, clock: Any, out: Floats) -> None:
        none = np.empty(0)
        for k in numba.prange(P.shape[0]):
            out[k, 0], out[k, 1], out[k, 2] = loop(P[k], target, width, taker, clock, none)

    return paths


class Loops(NamedTuple):
    """One way of writing the loop, for each job."""

    final: Any
    path: Any
    sweep: Any
    measured: Any
    paths: Any


def _make(by_flag: bool, tuned: bool) -> Loops:
    final = _make_loop(by_flag, tuned, False)
    return Loops(
        final=final,
        path=_make_loop(by_flag, tuned, True),
        sweep=_make_sweep(final),
        measured=_make_measured_sweep(_make_measured(by_flag, tuned)),
        paths=_make_paths(final),
    )


MODULO = _make(False, False)
FLAGS = _make(True, False)
TUNED = _make(True, True)
STRAIGHT = {"modulo": MODULO, "flags": FLAGS}
