"""The engine against the plain per-bar loop, over random tokens, rules and paths."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, note

from gearing.core.pack import pack, schedule_times_ms
from gearing.kernels import figures as fig
from gearing.kernels.calendar import build_calendar
from gearing.kernels.one import path_of, run_one
from gearing.kernels.run import BAR, BEGAN, COLUMNS, REASON, TRADED
from gearing.kernels.series import build_series
from tests import oracle
from tests.strategies import cases, examples


def engine(case):
    times = np.array(case.times, dtype=np.int64)
    bars = {k: np.array(v) for k, v in case.bars.items() if v is not None}
    series = build_series(
        times, np.array(case.prices), spacing_ms=case.spacing_ms,
        open_=bars.get("open"), low=bars.get("low"), high=bars.get("high"), volume=bars.get("volume"),
    )  # fmt: skip
    settlements = np.array([t for t, _ in case.funding], dtype=np.int64)
    rates = np.array([r for _, r in case.funding], dtype=np.float64)
    rule = case.token.resolved_rule
    calendar = build_calendar(
        times, case.spacing_ms, series.close, series.blocks, settlements, rates, schedule_times_ms(rule)
    )
    run = run_one(pack(case.token), series, calendar, case.equity)
    return run, path_of(run, series)[0]


NUDGE = 64.0


def nudged(case, signs=None):
    """The loop's equity per bar if each sum came out a few roundings too high, or by seed too high or too low."""
    return np.array(oracle.simulate(case.token, case.times, case.prices, case.funding, equity=case.equity,
                                    bars=case.bars, spacing=case.spacing_ms, nudge=NUDGE, signs=signs).nav)  # fmt: skip


def _looseness(truth, felt):
    """How well a quotient by equity is known: equity to 1e-11 of what it was after the last event, so leverage to
    that times itself, and in what rounding became of what is left."""
    nav = np.array(truth.nav)
    lost = np.max(felt[nav > 0] / nav[nav > 0], initial=0.0)
    return 1e-11 * max([100.0, *truth.leverages]) + 8 * float(lost)


def _first_beyond_count(case, truth):
    """The bar before which no trade had so many lots that rounding alone turns one count into the next; 0 if none."""
    leg = case.token.legs[0]
    crowd = 1e8 * leg.lot * leg.multiplier
    return next((bar for bar, dq in truth.trades if leg.lot and bar >= 2 and abs(dq) > crowd), 0)


def compare(case):
    truth = oracle.simulate(
        case.token, case.times, case.prices, case.funding, equity=case.equity, bars=case.bars, spacing=case.spacing_ms
    )
    run, nav = engine(case)
    rows = run.rows
    dust = np.flatnonzero((np.array(truth.nav) > 0) & (np.array(truth.nav) < 1e-12 * case.equity))
    if len(dust):  # a billionth of a cent is left: compare what came before
        return compare(case.cut(int(dust[0])))
    expected, moved = np.array(truth.nav), nudged(case)
    hangs = np.flatnonzero((expected == 0) != (moved == 0))
    if len(hangs):  # equity comes to exactly nothing, so rounding alone says whether anything is left
        return compare(case.cut(int(hangs[0])))
    # What a rounding in each bar's sum makes of equity in the end, by trying it: near-total losses, venue brackets,
    # whole lots and slices of a fixed size all magnify it, each in its own way.
    # All of one sign and by chance, since what a loss turns round may take itself back.
    felt = sum(np.abs(other - expected) for other in (moved, nudged(case, 1), nudged(case, 2))) / NUDGE
    crowd = _first_beyond_count(case, truth)
    if crowd:
        return compare(case.cut(crowd))
    mine = [(int(row[BAR]), row[TRADED]) for row in rows if row[REASON] < 7 and row[REASON] > 0]
    began = [int(row[BAR]) for row in rows if row[BEGAN] == 1]
    note(f"{case.token.resolved_rule!r}\nloop {truth.rebalances}\nrows {rows[:, :2].tolist()}")
    note(f"{msgspec.to_builtins(case.token)}")
    assert began == [bar for bar, _ in truth.rebalances]
    assert [bar for bar, _ in mine] == [bar for bar, _ in truth.trades]
    # Equity is compared against what it was worth when it was last decided upon, as the promise says.
    knots = np.zeros(len(expected))
    knots[[int(row[BAR]) for row in rows]] = [abs(row[COLUMNS.index("equity")]) for row in rows]
    last = np.maximum.accumulate(np.where(knots > 0, np.arange(len(knots)), 0))
    scale = np.maximum(np.abs(expected), knots[last])
    assert np.all(np.abs(nav - expected) <= 1e-11 * scale + 8 * felt)
    assert run.figures[fig.REBALANCES] == len(truth.rebalances)
    assert run.figures[fig.TURNOVER] == pytest.approx(truth.turnover, rel=_looseness(truth, felt), abs=1e-12)
    assert run.figures[fig.LIQUIDATIONS] == truth.liquidations
    assert (run.figures[fig.WIPED_OUT_BAR] >= 0) == truth.wiped_out
    return truth, run, felt


@examples(6)
@given(cases())
def test_engine_equals_the_plain_loop(case):
    compare(case)


@examples(3)
@given(cases())
def test_measures_equal_the_plain_loop(case):
    truth, run, felt = compare(case)
    if truth.leverages:
        loose = _looseness(truth, felt)
        assert run.figures[fig.LEVERAGE_MAX] == pytest.approx(max(truth.leverages), rel=loose)
        assert run.figures[fig.LEVERAGE_MIN] == pytest.approx(min(truth.leverages), rel=loose)
    nav = np.array([case.equity, *truth.nav])
    drawdown = np.max(1 - nav / np.maximum.accumulate(nav))
    assert run.figures[fig.DRAWDOWN_MAX] == pytest.approx(drawdown, rel=1e-9, abs=1e-12)
