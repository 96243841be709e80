"""Tokens of any legs against the plain per-bar loop, over random legs, rules and paths."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, note

from gearing.core import attribution as att
from gearing.core.legs import pack_legs
from gearing.core.pack import pack, schedule_times_ms
from gearing.kernels import figures as fig
from gearing.kernels.calendar import bars_at, clocks_of, settlement_bars
from gearing.kernels.legs_market import LegDues, build_leg_calendar, build_leg_market
from gearing.kernels.legs_run import run_portfolio
from gearing.kernels.legs_settle import FIRST_POSITION
from gearing.kernels.run import BAR, BEGAN, REASON
from gearing.market.rates import Rates
from tests.oracle_legs import simulate_legs
from tests.strategies import examples
from tests.strategies_legs import leg_cases
from tests.test_oracle import NUDGE

PART_OF = {
    "funding": att.FUNDING, "financing": att.FINANCING, "cash_interest": att.INTEREST, "dividends": att.DIVIDENDS,
    "fee": att.FEE,
}  # fmt: skip


def pairs(values, kind=np.float64):
    return np.array([t for t, _ in values], dtype=np.int64), np.array([x for _, x in values], dtype=kind)


def engine(case):
    """The run of a case in the kernel."""
    token, times = case.token, np.array(case.times, dtype=np.int64)
    first = case.legs_data[0]
    bars = None
    if len(case.legs_data) == 1 and "low" in first:
        bars = tuple(np.array(first[name]) for name in ("open", "low", "high"))
    volumes = None
    if any("volume" in leg for leg in case.legs_data):
        volumes = [np.array(leg.get("volume", [0.0] * len(times))) for leg in case.legs_data]
    market = build_leg_market(
        times,
        [np.array(leg["close"]) for leg in case.legs_data],
        bars=bars,
        volumes=volumes,
        spacings_ms=[case.spacing_ms] * len(case.legs_data),
    )
    dues = []
    for leg in case.legs_data:
        paid, amounts = pairs(leg.get("dividends", ()))
        at = bars_at(times, case.spacing_ms, paid)
        kept = (at > 0) & (at < len(times))
        dues.append(
            LegDues(
                settlement_bars(times, case.spacing_ms, *pairs(leg.get("funding", ()))),
                (at[kept], amounts[kept]),
                pairs(leg.get("rolls", ())),
            )
        )
    rates = Rates(*pairs(sorted(case.rates))).at(times) if case.rates else None
    calendar = build_leg_calendar(
        times, clocks_of(times, case.spacing_ms, schedule_times_ms(token.resolved_rule)), dues, rates
    )
    return run_portfolio(pack(token), token.interest_share, pack_legs(token), market, calendar, case.equity)


def simulate(case, nudge=0.0):
    return simulate_legs(case.token, case.times, case.legs_data, costs=case.token.costs, equity=case.equity,
                         rates=case.rates, nudge=nudge, spacing=case.spacing_ms)  # fmt: skip


def _values(case, run):
    """What is held of each leg in money, per bar."""
    return np.array(run.positions) * np.array([leg["close"] for leg in case.legs_data]).T


def _felt(case, truth):
    """What a rounding in each bar's sum makes of the loop's equity and of its legs in the end, by trying it."""
    moved = simulate(case, NUDGE)
    equity = np.abs(np.array(moved.nav) - np.array(truth.nav))
    return equity / NUDGE, np.abs(_values(case, moved) - _values(case, truth)).sum(axis=1) / NUDGE


def compare(case):
    truth = simulate(case)
    if truth.knife:
        bar = truth.knife[0][0]
        return compare(case.cut(bar)) if bar >= 2 else None
    nav = np.array(truth.nav)
    dust = np.flatnonzero((nav > 0) & (nav < 1e-9 * case.equity))
    if len(dust):  # next to nothing is left: compare what came before
        return compare(case.cut(int(dust[0]))) if dust[0] >= 2 else None
    # Equity to 1e-11 of all that adds up to it, and to what the loop's own roundings become.
    scale = np.maximum.accumulate(np.abs(nav) + np.abs(_values(case, truth)).sum(axis=1))
    felt, moved = _felt(case, truth)
    # A leg in whole lots beside one that scales can magnify a rounding severalfold with every trade: where that
    # has come to a thousandth of a millionth, it will soon decide what is done, and what came before is compared.
    rough = np.flatnonzero((8 * felt > 1e-10 * scale) | (8 * moved > 1e-9 * scale))
    if len(rough):
        return compare(case.cut(int(rough[0]))) if rough[0] >= 2 else None
    run = engine(case)
    note(f"{msgspec.to_builtins(case.token)}")
    note(f"loop {truth.rebalances}\nrows {[(int(r[BAR]), r[REASON]) for r in run.rows]}")
    assert [int(row[BAR]) for row in run.rows if row[BEGAN] == 1] == [bar for bar, _ in truth.rebalances]
    assert [int(row[BAR]) for row in run.rows if 0 < row[REASON] < 7] == [bar for bar, _ in truth.trades]
    assert np.all(np.abs(run.path[0] - nav) <= 1e-11 * scale + 8 * felt)
    assert np.allclose(run.path[2] / run.path[2][0], np.array(truth.index) / truth.index[0], rtol=1e-9)
    assert run.figures[fig.LIQUIDATIONS] == truth.liquidations
    assert (run.figures[fig.WIPED_OUT_BAR] >= 0) == truth.wiped_out
    assert run.figures[fig.REBALANCES] == len(truth.rebalances)
    return truth, run, scale


@examples(6)
@given(leg_cases())
def test_the_kernel_equals_the_plain_loop(case):
    compare(case)


@examples(2)
@given(leg_cases())
def test_money_positions_and_measures_equal_the_plain_loop(case):
    found = compare(case)
    if found is None:
        return
    truth, run, scale = found
    loose = 1e-9 * scale.max()
    for part, column in PART_OF.items():
        if not truth.wiped_out:  # what a last posting left unpaid is no part of it
            assert run.ledger[att.MONEY + column] == pytest.approx(truth.money.get(part, 0.0), abs=loose), part
    for row in run.rows:
        held = truth.positions[int(row[BAR])]
        if row[REASON] < 7:
            assert row[FIRST_POSITION::2] == pytest.approx(held, rel=1e-8, abs=1e-9 * case.equity)
    if not truth.wiped_out:
        assert run.figures[fig.TURNOVER] == pytest.approx(truth.turnover, rel=1e-7, abs=1e-9)
        if truth.leverages:
            assert run.figures[fig.LEVERAGE_MAX] == pytest.approx(max(truth.leverages), rel=1e-7, abs=1e-9)
            assert run.figures[fig.LEVERAGE_MIN] == pytest.approx(min(truth.leverages), rel=1e-7, abs=1e-9)
        total = run.ledger[att.MONEY : att.MONEY + att.N_PARTS].sum()
        assert total == pytest.approx(run.figures[fig.EQUITY] - case.equity, abs=loose)
        logs = run.ledger[att.LOG : att.LOG + att.N_PARTS].sum()
        assert np.exp(logs) * case.equity == pytest.approx(run.figures[fig.EQUITY], rel=1e-9)
