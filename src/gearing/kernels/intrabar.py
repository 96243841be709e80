"""Triggers inside a bar: the price goes from the open to the adverse extreme, to the other one, to the close.

On coarse bars a rule that looks at every price would have acted before the close. Here a trigger that the low or high
reaches acts at its own level, the side that hurts the position first; where the open lies beyond the level already, at
the open. Clocks, funding and fees keep to the close.

Source: the worst order of a bar's prices for a position; the level of a trigger is its barrier, see `core.barriers`.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from gearing.core import attribution as att
from gearing.core.barriers import RANGE, STATE, TERMS, State, barriers, liquidation_price, sleep_range
from gearing.core.decide import LIQUIDATION, NONE, OPENING, Decision, decide, marked, wiped_out
from gearing.core.pack import INF, N_PLAN, N_TERMS, N_TIER, Terms
from gearing.core.unpack import unpack
from gearing.jit import compiled
from gearing.kernels import figures as fig
from gearing.kernels.calendar import CALENDAR, DAY_END, Calendar, day_ends_from
from gearing.kernels.one import Run
from gearing.kernels.pyramid import Floats
from gearing.kernels.run import (
    COMMISSION,
    FLOATS,
    LEVERAGE,
    MARKED,
    N_COLUMNS,
    REASON,
    TRADED,
    attend,
    close_run,
    liquidate,
    trade,
    write_row,
)
from gearing.kernels.series import SERIES, Series
from gearing.kernels.wake import ROWS, clock_bar, has_intervals

_I, _F = numba.int64, numba.float64
_STEP = numba.types.Tuple((STATE, _I))

# No bar has a rule act more often than this; what is left goes on at the close.
_ACTS_MAX = 64
# A barrier lies inside the prices that fire by the width of a touch: how far beyond it is looked, doubling.
_BEYOND, _DOUBLINGS = 1e-9, 16
# A rule that goes to the edge of its band would act again at the next price, and at each after it: within one leg of
# the way it acts at its level, and then where the leg ends.
_AT_ONCE = 1e-6


@compiled(_STEP(TERMS, ROWS, ROWS, STATE, _F, _F, _F, numba.boolean, _F, FLOATS, FLOATS, FLOATS, ROWS, _I, _I))
def act_at(
    t: Terms, plans: Floats, tiers: Floats, s: State, price: float, before_ms: float, now_ms: float, checked: bool,
    volume: float, f: Floats, ledger: Floats, row: Floats, rows: Floats, n_rows: int, bar: int,
) -> tuple[State, int]:  # fmt: skip
    """Marks at a price, and acts there if something fires: zero equity, the venue, or a trigger."""
    equity = s.equity + s.q * (price - s.price)
    row[:] = 0.0
    if equity <= 0.0:
        s = wiped_out(marked(s, equity, price))
        return s, write_row(rows, n_rows, row, s, bar)
    forced = liquidation_price(tiers, s) if tiers.shape[0] > 0 else math.nan
    if (s.q > 0.0 and price <= forced) or (s.q < 0.0 and price >= forced):
        row[MARKED], row[TRADED], row[REASON] = equity, -s.q, LIQUIDATION
        s = liquidate(t, s, price, f, ledger)
        row[COMMISSION] = s.equity - equity
        return s, write_row(rows, n_rows, row, s, bar)
    here = marked(s, equity, price)
    d = decide(t, plans, here, 0, before_ms, checked)
    if d.reason == NONE:
        return here, n_rows
    row[MARKED], row[LEVERAGE] = equity, here.q * price / equity
    fig.see_leverage(f, here)
    after = trade(t, here, d, volume, now_ms, f, ledger, row)
    if after.equity > 0.0:
        fig.see_equity(f, after.equity)
    return after, write_row(rows, n_rows, row, after, bar)


@compiled(RANGE(TERMS, ROWS, STATE, numba.boolean))
def _range(t: Terms, tiers: Floats, s: State, checked: bool) -> tuple[float, float]:
    """Returns the prices (below, above) between which nothing fires: no trigger, not the venue, no zero equity."""
    below, above = barriers(t, s) if checked else sleep_range(s, 0.0, INF, INF, INF, 0.0)
    forced = liquidation_price(tiers, s) if tiers.shape[0] > 0 else math.nan
    if s.q > 0.0 and forced > below:
        below = forced
    if s.q < 0.0 and forced < above:
        above = forced
    return below, above


@compiled(_STEP(TERMS, ROWS, ROWS, STATE, _F, _F, _F, numba.boolean, _F, FLOATS, FLOATS, FLOATS, ROWS, _I, _I))
def walk(
    t: Terms, plans: Floats, tiers: Floats, s: State, to: float, before_ms: float, now_ms: float, checked: bool,
    volume: float, f: Floats, ledger: Floats, row: Floats, rows: Floats, n_rows: int, bar: int,
) -> tuple[State, int]:  # fmt: skip
    """Takes the price from where it is to `to`, and acts at each level on the way."""
    acted = False
    for _ in range(_ACTS_MAX):
        if s.equity <= 0.0 or s.q == 0.0 or s.price == to:
            break
        below, above = _range(t, tiers, s, checked)
        level = max(min(below, s.price), to) if to < s.price else min(max(above, s.price), to)
        written = n_rows
        if acted and abs(level / s.price - 1.0) < _AT_ONCE:
            level = to
        beyond = 0.0
        for k in range(_DOUBLINGS):
            price = max(level * (1.0 - beyond), to) if to < s.price else min(level * (1.0 + beyond), to)
            moved, n_rows = act_at(
                t, plans, tiers, s, price, before_ms, now_ms, checked, volume, f, ledger, row, rows, n_rows, bar
            )
            if n_rows > written or price == to:
                break
            beyond = _BEYOND * 2.0**k
        if n_rows == written:
            break
        s, acted = moved, True
    if s.equity > 0.0 and s.price != to:
        s = marked(s, s.equity + s.q * (to - s.price), to)
    return s, n_rows


@compiled(_I(FLOATS, SERIES, FLOATS, CALENDAR, _F, FLOATS, FLOATS, ROWS, FLOATS))
def run_inside(
    flat: Floats, series: Series, opens: Floats, calendar: Calendar, equity: float, f: Floats, ledger: Floats,
    rows: Floats, row: Floats,
) -> int:  # fmt: skip
    """Runs one token over one path with its triggers inside the bars; returns how many rows it had to write.

    Args:
        flat: the packed token.
        series: the indexed prices, n bars with lows and highs.
        opens: the first price of each bar, shape (n,).
        calendar: the wake-up bars of the token's schedules and its funding.
        equity: the capital before the opening trade, settlement currency.
        f, ledger, rows, row: as for `run.run`.
    """
    t = unpack(flat)
    n_plans, n_tiers = int(t.n_plans), int(t.n_tiers)
    plans = flat[N_TERMS : N_TERMS + n_plans * N_PLAN].reshape((n_plans, N_PLAN))
    start = N_TERMS + n_plans * N_PLAN
    tiers = flat[start : start + n_tiers * N_TIER].reshape((n_tiers, N_TIER))
    clocked, inside = has_intervals(plans), t.check_ms <= series.spacing_ms
    close, n, has_volume = series.close, series.close.shape[0], series.volume_24h.shape[0] > 0
    fig.open_figures(f, equity)
    att.open_ledger(ledger, equity, close[0])
    row[:] = 0.0
    row[MARKED] = equity
    now_ms = float(series.times_ms[0])
    s = State(equity, 0.0, close[0], close[0], now_ms, 0.0, 0.0, 0.0, 0.0)
    s = trade(
        t, s, Decision(OPENING, t.target, 0.0), series.volume_24h[0] if has_volume else 0.0, now_ms, f, ledger, row
    )
    n_rows = write_row(rows, 0, row, s, 0)
    fig.see_bar(f, t.target, s, True, calendar.opens_day)
    k, bar = 0, 0
    for i in range(1, n):
        bar = i
        before_ms, now_ms = now_ms, float(series.times_ms[i])
        volume = series.volume_24h[i] if has_volume else 0.0
        low, high = series.low[i], series.high[i]
        below, above = _range(t, tiers, s, inside) if s.q != 0.0 else (0.0, INF)
        if min(low, s.price) < below or max(high, s.price) > above:
            s, n_rows = act_at(
                t, plans, tiers, s, opens[i], before_ms, now_ms, inside, volume, f, ledger, row, rows, n_rows, i
            )
            first, second = (low, high) if s.q > 0.0 else (high, low)
            for to in (first, second, close[i]):
                s, n_rows = walk(
                    t, plans, tiers, s, to, before_ms, now_ms, inside, volume, f, ledger, row, rows, n_rows, i
                )
            if s.equity <= 0.0:
                break
        on_calendar = i == calendar.bars[k]
        clock = clock_bar(t, plans, s, series, i - 1) if clocked or s.side != 0.0 else n
        if on_calendar or clock == i or clocked or not inside:
            s, n_rows = attend(
                t, plans, s, series, calendar, k if on_calendar else -1, i, math.nan, f, ledger, row, rows, n_rows
            )
            if s.equity <= 0.0:
                break
        here = marked(s, s.equity + s.q * (close[i] - s.price), close[i])
        if here.equity <= 0.0:
            row[:] = 0.0
            s = wiped_out(here)
            n_rows = write_row(rows, n_rows, row, s, i)
            break
        fig.see_leverage(f, here)
        fig.see_bar(f, t.target, here, True, on_calendar and (calendar.due[k] >> DAY_END) & 1 == 1)
        k += on_calendar
    if s.equity <= 0.0:
        fig.see_equity(f, 0.0)
    close_run(t, s, close[n - 1], bar, day_ends_from(calendar, k), f, ledger)
    return n_rows


def run_one_inside(flat: Floats, series: Series, opens: Floats, calendar: Calendar, equity: float) -> Run:
    """Runs one packed token over one indexed path with its triggers inside the bars, and records everything."""
    figures, ledger, row = np.empty(fig.N_FIGURES), np.empty(att.N_LEDGER), np.empty(N_COLUMNS)
    rows = np.empty((4_096, N_COLUMNS))
    opened = np.array(opens, dtype=np.float64)
    needed = run_inside(flat, series, opened, calendar, equity, figures, ledger, rows, row)
    if needed > len(rows):
        rows = np.empty((needed, N_COLUMNS))
        run_inside(flat, series, opened, calendar, equity, figures, ledger, rows, row)
    return Run(rows[:needed], figures, ledger)
