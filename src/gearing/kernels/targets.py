"""One token whose target changes in time: at each change its terms are others, and it trades to the new target."""

from __future__ import annotations

import math

import numba
import numpy as np

from gearing.core import attribution as att
from gearing.core.barriers import STATE, TERMS, State, liquidation_price
from gearing.core.decide import OPENING, SCHEDULED, Decision
from gearing.core.pack import N_PLAN, N_TERMS, N_TIER, Terms
from gearing.core.unpack import unpack
from gearing.jit import compiled
from gearing.kernels import figures as fig
from gearing.kernels.calendar import CALENDAR, DAY_END, Calendar, day_ends_from
from gearing.kernels.one import Run
from gearing.kernels.pyramid import Floats
from gearing.kernels.run import (
    FLOATS,
    LEVERAGE,
    MARKED,
    N_COLUMNS,
    attend,
    close_run,
    settle,
    trade,
    write_row,
)
from gearing.kernels.series import SERIES, Ints, Series
from gearing.kernels.wake import ROWS, clock_bar, has_intervals, liquidation_bar, wake_bar

_I, _F = numba.int64, numba.float64
_BARS = numba.types.Array(numba.int64, 1, "C")


@compiled(
    numba.types.Tuple((STATE, _I))(TERMS, TERMS, STATE, SERIES, CALENDAR, _I, _I, FLOATS, FLOATS, FLOATS, ROWS, _I)
)
def change(
    old: Terms, new: Terms, s: State, series: Series, calendar: Calendar, k: int, bar: int, f: Floats, ledger: Floats,
    row: Floats, rows: Floats, n_rows: int,
) -> tuple[State, int]:  # fmt: skip
    """Books what is due at a bar under the old terms, then trades to the new target.

    Args:
        k: the calendar's row for this bar; −1 if it has none.
    """
    row[:] = 0.0
    rate, days = (calendar.dues[k, 0], calendar.dues[k, 1]) if k >= 0 else (0.0, 0.0)
    s = settle(old, s, series.close[bar], rate, days, ledger, row)
    if s.equity > 0.0:
        row[LEVERAGE] = s.q * s.price / s.equity
        fig.see_leverage(f, s)
        # What was held up to here was held under the old target.
        att.post_mark(ledger, old.target, s.equity, s.price)
        volume = series.volume_24h[bar] if series.volume_24h.shape[0] > 0 else 0.0
        decision = Decision(SCHEDULED, new.target, 0.0)
        s = trade(new, s, decision, volume, float(series.times_ms[bar]), f, ledger, row)
    return s, write_row(rows, n_rows, row, s, bar)


@compiled(_I(ROWS, _BARS, SERIES, CALENDAR, _F, FLOATS, FLOATS, ROWS, FLOATS))
def run_targets(
    flats: Floats, starts: Ints, series: Series, calendar: Calendar, equity: float, f: Floats, ledger: Floats,
    rows: Floats, row: Floats,
) -> int:  # fmt: skip
    """Runs one token over one path under terms that change; returns how many rows it had to write.

    Args:
        flats: the token packed with each target, shape (m, L).
        starts: the bar from which each is in force, rising, the first 0, shape (m,).
        series: the indexed prices, n bars.
        calendar: the wake-up bars of the schedules, which are the same under each target, and the funding.
        equity: the capital before the opening trade, settlement currency.
        f, ledger, rows, row: as for `run.run`.
    """
    part, flat = 0, flats[0]
    t = unpack(flat)
    n_plans, n_tiers = int(t.n_plans), int(t.n_tiers)
    begin = N_TERMS + n_plans * N_PLAN
    plans = flat[N_TERMS:begin].reshape((n_plans, N_PLAN))
    tiers = flat[begin : begin + n_tiers * N_TIER].reshape((n_tiers, N_TIER))
    close, n = series.close, series.close.shape[0]
    fig.open_figures(f, equity)
    att.open_ledger(ledger, equity, close[0])
    row[:] = 0.0
    row[MARKED] = equity
    now_ms = float(series.times_ms[0])
    s = State(equity, 0.0, close[0], close[0], now_ms, 0.0, 0.0, 0.0, 0.0)
    volume = series.volume_24h[0] if series.volume_24h.shape[0] > 0 else 0.0
    s = trade(t, s, Decision(OPENING, t.target, 0.0), volume, now_ms, f, ledger, row)
    n_rows = write_row(rows, 0, row, s, 0)
    fig.see_bar(f, t.target, s, True, calendar.opens_day)
    i, k, forced, forced_price = 0, 0, n, math.nan
    while s.equity > 0.0:
        clock = clock_bar(t, plans, s, series, i) if has_intervals(plans) or s.side != 0.0 else n
        bar = wake_bar(t, plans, s, series, calendar, k, i, clock)
        turn = starts[part + 1] if part + 1 < starts.shape[0] else n
        bar = min(bar, turn)
        if n_tiers > 0:
            forced_price = liquidation_price(tiers, s)
            forced = liquidation_bar(s, series, i + 1, min(bar + 1, n), forced_price)
            bar = min(bar, forced)
        fig.see_sleep(f, s, series, i + 1, min(bar, n))
        if bar >= n:
            break
        on_calendar, old = bar == calendar.bars[k], t
        if bar == turn and bar != forced:
            part += 1
            flat = flats[part]
            t = unpack(flat)
            plans = flat[N_TERMS:begin].reshape((n_plans, N_PLAN))
            s, n_rows = change(old, t, s, series, calendar, k if on_calendar else -1, bar, f, ledger, row, rows, n_rows)
        else:
            s, n_rows = attend(
                t, plans, s, series, calendar, k if on_calendar else -1, bar,
                forced_price if bar == forced else math.nan, f, ledger, row, rows, n_rows,
            )  # fmt: skip
            if bar == turn:
                # Closed by the venue on the bar of a change: flat until a schedule trades, then under the new terms.
                part += 1
                flat = flats[part]
                t = unpack(flat)
                plans = flat[N_TERMS:begin].reshape((n_plans, N_PLAN))
        fig.see_bar(f, old.target, s, True, on_calendar and (calendar.due[k] >> DAY_END) & 1 == 1)
        k += on_calendar
        i = bar
    close_run(t, s, close[n - 1], i, day_ends_from(calendar, k), f, ledger)
    return n_rows


def run_one_with_targets(flats: Floats, starts: Ints, series: Series, calendar: Calendar, equity: float) -> Run:
    """Runs one token under terms that change, and records everything; see `run_targets`."""
    figures, ledger, row = np.empty(fig.N_FIGURES), np.empty(att.N_LEDGER), np.empty(N_COLUMNS)
    rows = np.empty((4_096, N_COLUMNS))
    bars = np.array(starts, dtype=np.int64)
    needed = run_targets(flats, bars, series, calendar, equity, figures, ledger, rows, row)
    if needed > len(rows):
        rows = np.empty((needed, N_COLUMNS))
        run_targets(flats, bars, series, calendar, equity, figures, ledger, rows, row)
    return Run(rows[:needed], figures, ledger)
