"""The kernel for any legs: a single linear perpetual runs as in the kernel of its own."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from gearing.core.attribution import LOG, N_PARTS
from gearing.core.legs import pack_legs
from gearing.core.pack import pack, schedule_times_ms
from gearing.kernels import figures as fig
from gearing.kernels.calendar import clocks_of, settlement_bars
from gearing.kernels.legs_market import LegDues, build_leg_calendar, build_leg_market
from gearing.kernels.legs_run import run_portfolio
from gearing.kernels.one import path_of
from gearing.kernels.run import BAR, BEGAN, REASON
from tests.strategies import cases, examples
from tests.test_oracle import engine

NONE = (np.empty(0, np.int64), np.empty(0))


def run_as_legs(case):
    """The case of a single perpetual in the kernel for any legs."""
    times = np.array(case.times, dtype=np.int64)
    bars = {k: np.array(v) for k, v in case.bars.items() if v is not None}
    ranged = (bars["open"], bars["low"], bars["high"]) if "low" in bars else None
    market = build_leg_market(
        times,
        [np.array(case.prices)],
        bars=ranged,
        volumes=[bars["volume"]] if "volume" in bars else None,
        spacings_ms=[case.spacing_ms],
    )
    settled = settlement_bars(
        times, case.spacing_ms, np.array([t for t, _ in case.funding], dtype=np.int64),
        np.array([r for _, r in case.funding], dtype=np.float64),
    )  # fmt: skip
    clocks = clocks_of(times, case.spacing_ms, schedule_times_ms(case.token.resolved_rule))
    calendar = build_leg_calendar(times, clocks, [LegDues(settled, NONE, NONE)])
    return run_portfolio(pack(case.token), 0.0, pack_legs(case.token), market, calendar, case.equity)


@examples(4)
@given(cases())
def test_a_single_perpetual_runs_as_in_its_own_kernel(case):
    plain = engine(case)[0]
    equity = plain_path(case, plain)
    dust = np.flatnonzero((equity > 0) & (equity < 1e-9 * case.equity))
    if len(dust):  # next to nothing is left, and rounding is a part of it: compare what came before
        if dust[0] < 2:
            return
        case = case.cut(int(dust[0]))
        plain = engine(case)[0]
        equity = plain_path(case, plain)
    legs = run_as_legs(case)
    np.testing.assert_allclose(legs.path[0], equity, rtol=1e-9, atol=1e-9 * case.equity)
    begun = [(int(row[BAR]), row[REASON]) for row in plain.rows if row[BEGAN] == 1]
    assert [(int(row[BAR]), row[REASON]) for row in legs.rows if row[BEGAN] == 1] == begun
    for figure in (fig.REBALANCES, fig.TRADES, fig.LIQUIDATIONS, fig.WIPED_OUT_BAR, fig.DAYS, fig.TRACKED_DAYS):
        assert legs.figures[figure] == plain.figures[figure], fig.FIGURES[figure]
    for figure in (fig.TURNOVER, fig.LEVERAGE_MAX, fig.LEVERAGE_MIN, fig.DRAWDOWN_MAX, fig.DAY_SUM, fig.TRACKING_SUM):
        np.testing.assert_allclose(legs.figures[figure], plain.figures[figure], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        legs.ledger[LOG : LOG + N_PARTS], plain.ledger[LOG : LOG + N_PARTS], rtol=1e-6, atol=1e-8
    )


def plain_path(case, run):
    from gearing.kernels.series import build_series

    series = build_series(np.array(case.times, dtype=np.int64), np.array(case.prices), spacing_ms=case.spacing_ms)
    return path_of(run, series)[0]
