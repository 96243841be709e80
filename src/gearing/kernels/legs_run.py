"""A token of any legs on one time axis: jump from wake-up to wake-up, and at each keep the accounting order."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from gearing.core import attribution as att
from gearing.core.barriers import TERMS
from gearing.core.decide import DECISION, NONE, OPENING, SLICE, Decision, decide
from gearing.core.legs import (
    AT,
    DQ,
    EQUITY,
    INDEX,
    INDEX_REF,
    LEVEL,
    N_FUND,
    N_ROOM,
    OPEN,
    PRICE,
    REF,
    REF_MS,
    RESTORES,
    VOLUME,
    Floats,
    Q,
)  # fmt: skip
from gearing.core.pack import N_PLAN, N_TERMS, Terms
from gearing.core.portfolio import (
    FUND,
    ROOM,
    TIERS,
    copy_row,
    equity_at,
    exposure,
    flatten,
    index_at,
    note_accrual,
    view,
)
from gearing.core.portfolio_trade import can_round_away, carry_out, complete, plan_trade
from gearing.core.unpack import unpack
from gearing.jit import compiled
from gearing.kernels import figures as fig
from gearing.kernels.calendar import DAY_END
from gearing.kernels.legs_market import DAYS, LEG_CALENDAR, MARKET, ROLL_PRICE, LegCalendar, LegMarket
from gearing.kernels.legs_settle import (
    FIRST_POSITION,
    close_out,
    close_stretch,
    due_of,
    forced_bar,
    forced_price,
    mark,
    settle,
    underlying_at,
    write_row,
)  # fmt: skip
from gearing.kernels.legs_wake import own_clock_bar, wake_at
from gearing.kernels.run import (
    AIM,
    BEGAN,
    COMMISSION,
    FLOATS,
    IMPACT,
    LEVERAGE,
    MARKED,
    REASON,
    SPREAD,
    TRADED,
)  # fmt: skip
from gearing.kernels.wake import ROWS, checks

_I, _F = numba.int64, numba.float64
_ROWS_AT_FIRST = 4_096

# The path of a run, three rows of n: equity, exposure, and the price that it is held against.
PATH = numba.types.Array(_F, 2, "C")


class LegRun(NamedTuple):
    """What one run left behind.

    Args:
        rows: what happened, one row per bar (see `legs_settle`), shape (m, FIRST_POSITION + 2K).
        figures: see `figures.FIGURES`; the position is the last exposure.
        ledger: the attribution, see `core.attribution`.
        path: equity, exposure and underlying per bar, shape (3, n).
    """

    rows: Floats
    figures: Floats
    ledger: Floats
    path: Floats


@compiled(numba.void(ROOM, FUND, ROOM, MARKET, PATH, FLOATS, _I, _I))
def sleep_through(
    legs: Floats, v: Floats, x: Floats, market: LegMarket, path: Floats, f: Floats, start: int, stop: int
) -> None:
    """Writes the path of the sleeping bars [start, stop) and measures leverage and drawdown on it."""
    for i in range(start, stop):
        for k in range(x.shape[1]):
            x[AT, k] = market.close[k, i]
        equity, held = equity_at(v, x, AT), exposure(x, AT)
        path[0, i], path[1, i] = equity, held
        path[2, i] = market.underlying[i] if market.underlying.shape[0] > 0 else index_at(legs, v, x, AT)
        if equity > 0.0:
            f[fig.LEVERAGE_MAX] = max(f[fig.LEVERAGE_MAX], abs(held) / equity)
            f[fig.LEVERAGE_MIN] = min(f[fig.LEVERAGE_MIN], abs(held) / equity)
            fig.see_equity(f, equity)


@compiled(numba.void(TERMS, ROOM, FUND, ROOM, MARKET, DECISION, _I, FLOATS, FLOATS, FLOATS))
def trade(
    t: Terms, legs: Floats, v: Floats, x: Floats, market: LegMarket, d: Decision, bar: int, f: Floats, ledger: Floats,
    row: Floats,
) -> None:  # fmt: skip
    """Carries out a decision (step 4); a trade that lots or least sizes leave nothing of is no rebalance."""
    now_ms = float(market.times_ms[bar])
    for k in range(x.shape[1]):
        x[VOLUME, k] = market.volume_24h[k, bar] if market.volume_24h.shape[0] > 0 else 0.0
    p = plan_trade(t, legs, v, x, d)
    if p.total == 0.0 and (d.reason == SLICE or can_round_away(legs)):
        if d.reason == SLICE:
            complete(legs, v, x, now_ms, v[RESTORES] != 0.0)
        return
    before = v[EQUITY]
    if before - (p.spread + p.impact + p.commission) > 0.0:
        close_stretch(t, legs, v, x, ledger)
    row[REASON], row[AIM], row[TRADED] = d.reason, d.aim, p.net
    row[SPREAD] -= p.spread
    row[IMPACT] -= p.impact
    row[COMMISSION] -= p.commission
    for k in range(x.shape[1]):
        row[FIRST_POSITION + 2 * k + 1] = x[DQ, k]
    carry_out(t, legs, v, x, d, p, now_ms)
    if v[EQUITY] <= 0.0:
        return
    began = 0.0 if d.reason == SLICE else 1.0
    row[BEGAN] = began
    f[fig.REBALANCES] += began
    f[fig.TRADES] += 1.0
    f[fig.TURNOVER] += p.total / before
    if ledger.shape[0] > 0:
        att.post_trade(ledger, p.spread, p.impact, p.commission)


@compiled(
    _I(TERMS, _F, ROWS, TIERS, ROOM, FUND, ROOM, MARKET, LEG_CALENDAR, _I, _I, _F, FLOATS, FLOATS, FLOATS, ROWS, _I)
)
def attend(
    t: Terms, interest_share: float, plans: Floats, tiers: Floats, legs: Floats, v: Floats, x: Floats,
    market: LegMarket, calendar: LegCalendar, k: int, bar: int, forced: float, f: Floats, ledger: Floats, row: Floats,
    rows: Floats, n_rows: int,
) -> int:  # fmt: skip
    """Attends to one bar: liquidation, then the steps of the accounting order.

    Args:
        k: the calendar's row for this bar; −1 if it has none.
        forced: where the venue closed the single leg before this bar's price; NaN if it did not.
    """
    row[:] = 0.0
    if not math.isnan(forced):
        before, known = index_at(legs, v, x, PRICE), underlying_at(legs, v, x, market, bar - 1)
        opened = market.open[bar]
        x[AT, 0] = min(opened, forced) if x[Q, 0] > 0.0 else max(opened, forced)
        v[EQUITY] = equity_at(v, x, AT)
        copy_row(x, PRICE, AT)
        v[LEVEL], v[OPEN] = known * index_at(legs, v, x, PRICE) / before, 1.0
        close_out(t, legs, v, x, f, ledger, row)
        n_rows = write_row(rows, n_rows, row, v, x, bar)
        if v[EQUITY] <= 0.0:
            return n_rows
        row[:] = 0.0
    mark(legs, v, x, market, calendar, k, bar)
    row[MARKED] = max(v[EQUITY], 0.0)
    n_rows = settle(t, interest_share, tiers, legs, v, x, market, calendar, k, bar, f, ledger, row, rows, n_rows)
    if v[EQUITY] > 0.0:
        held = exposure(x, PRICE)
        row[LEVERAGE] = held / v[EQUITY]
        f[fig.LEVERAGE_MAX] = max(f[fig.LEVERAGE_MAX], abs(row[LEVERAGE]))
        f[fig.LEVERAGE_MIN] = min(f[fig.LEVERAGE_MIN], abs(row[LEVERAGE]))
        now_ms = float(market.times_ms[bar])
        looks = checks(t, float(market.times_ms[bar - 1]), now_ms)
        due = calendar.due[k] if k >= 0 else 0
        d = decide(t, plans, view(legs, v, x, v[EQUITY], PRICE), due, now_ms, looks)
        if d.reason != NONE:
            trade(t, legs, v, x, market, d, bar, f, ledger, row)
        if k >= 0 and calendar.dues[k, DAYS] > 0.0:
            note_accrual(legs, v, x)
    return write_row(rows, n_rows, row, v, x, bar)


@compiled(numba.void(ROOM, FUND, ROOM, MARKET, LEG_CALENDAR, PATH, _I, _I))
def _outlive(
    legs: Floats, v: Floats, x: Floats, market: LegMarket, calendar: LegCalendar, path: Floats, k: int, bar: int
) -> None:
    """Writes the path after a wipe-out on `bar`: nothing is left, while the underlying goes on."""
    for i in range(bar, market.close.shape[1]):
        while calendar.bars[k] < i:
            k += 1
        for leg in range(x.shape[1]):
            x[AT, leg] = market.close[leg, i]
            rolls_at = due_of(calendar, k, leg, ROLL_PRICE) if calendar.bars[k] == i else 0.0
            if i == bar and x[PRICE, leg] == x[AT, leg]:
                rolls_at = 0.0  # it was rolled before it died
            if rolls_at > 0.0:
                x[INDEX_REF, leg] *= x[AT, leg] / rolls_at
        path[0, i] = path[1, i] = 0.0
        path[2, i] = market.underlying[i] if market.underlying.shape[0] > 0 else index_at(legs, v, x, AT)


@compiled(numba.void(TERMS, ROOM, FUND, ROOM, MARKET, LEG_CALENDAR, _I, _I, FLOATS, FLOATS, PATH))
def _close_run(
    t: Terms, legs: Floats, v: Floats, x: Floats, market: LegMarket, calendar: LegCalendar, k: int, bar: int, f: Floats,
    ledger: Floats, path: Floats,
) -> None:  # fmt: skip
    """Books the last stretch, or the wipe-out on `bar`, into figures, attribution and path."""
    if v[EQUITY] <= 0.0:
        day_ends = False
        for row in range(k, calendar.due.shape[0]):
            day_ends |= (calendar.due[row] >> DAY_END) & 1 == 1
        if day_ends and f[fig.DAY_EQUITY] > 0.0:
            fig.see_day(f, t.target, 0.0, path[2, bar])
        f[fig.WIPED_OUT_BAR] = bar
        fig.see_equity(f, 0.0)
        if ledger.shape[0] > 0:
            att.post_wipe_out(ledger)
        _outlive(legs, v, x, market, calendar, path, max(k - 1, 0), bar)
        return
    mark(legs, v, x, market, calendar, -1, market.close.shape[1] - 1)
    f[fig.EQUITY], f[fig.POSITION] = v[EQUITY], exposure(x, PRICE)
    close_stretch(t, legs, v, x, ledger)


@compiled(numba.void(ROOM, FUND, ROOM, MARKET, FLOATS, PATH, _F, _I, numba.boolean))
def _see_bar(
    legs: Floats, v: Floats, x: Floats, market: LegMarket, f: Floats, path: Floats, target: float, bar: int, day: bool
) -> None:
    """Writes the path of a bar that was attended to, and measures it."""
    path[0, bar], path[1, bar] = v[EQUITY], exposure(x, PRICE)
    path[2, bar] = underlying_at(legs, v, x, market, bar)
    fig.see_equity(f, v[EQUITY])
    if day:
        fig.see_day(f, target, v[EQUITY], path[2, bar])


@compiled(_I(FLOATS, _F, ROOM, TIERS, MARKET, LEG_CALENDAR, _F, FUND, ROOM, FLOATS, FLOATS, ROWS, FLOATS, PATH))
def run_legs(
    flat: Floats, interest_share: float, legs: Floats, tiers: Floats, market: LegMarket, calendar: LegCalendar,
    equity: float, v: Floats, x: Floats, f: Floats, ledger: Floats, rows: Floats, row: Floats, path: Floats,
) -> int:  # fmt: skip
    """Runs one token of any legs over one path; returns how many rows it had to write.

    Args:
        flat: the packed token.
        interest_share: the share of the reference rate that idle cash earns.
        legs, tiers: its packed legs.
        market, calendar: the prices, and when clocks wake it.
        equity: the capital before the opening trade, settlement currency.
        v, x: room for its state, shapes (N_FUND,) and (N_ROOM, K).
        f: receives the figures, shape (N_FIGURES,).
        ledger: receives the attribution, shape (N_LEDGER,), or (0,) for none.
        rows: receives what happened, shape (m, FIRST_POSITION + 2K); rows beyond m are counted, not written.
        row: room for one row.
        path: receives equity, exposure and underlying per bar, shape (3, n).

    Source: the accounting order of the reference job, and formulas 4, 14 and 18.
    """
    t = unpack(flat)
    n_plans = int(t.n_plans)
    plans = flat[N_TERMS : N_TERMS + n_plans * N_PLAN].reshape((n_plans, N_PLAN))
    n = market.close.shape[1]
    fig.open_figures(f, equity)
    v[:] = 0.0
    x[:] = 0.0
    row[:] = 0.0
    v[EQUITY], v[REF_MS], v[INDEX] = equity, float(market.times_ms[0]), 1.0
    for leg in range(x.shape[1]):
        x[PRICE, leg] = x[REF, leg] = x[INDEX_REF, leg] = market.close[leg, 0]
    flatten(legs, v, x)
    v[LEVEL] = underlying_at(legs, v, x, market, 0)
    row[MARKED] = equity
    if ledger.shape[0] > 0:
        att.open_ledger(ledger, equity, v[LEVEL])
        ledger[att.POST_HELD] = 1.0
    trade(t, legs, v, x, market, Decision(OPENING, t.target, 0.0), 0, f, ledger, row)
    note_accrual(legs, v, x)
    n_rows = write_row(rows, 0, row, v, x, 0)
    _see_bar(legs, v, x, market, f, path, t.target, 0, calendar.opens_day)
    i, k = 0, 0
    while v[EQUITY] > 0.0:
        stop = min(calendar.bars[k], own_clock_bar(plans, v, market, i))
        bar = wake_at(t, plans, tiers, legs, v, x, market, i, stop)
        price = forced_price(tiers, legs, v, x)
        forced = forced_bar(x, market, price, i + 1, min(bar + 1, n))
        bar = min(bar, forced)
        sleep_through(legs, v, x, market, path, f, i + 1, min(bar, n))
        if bar >= n:
            break
        on_calendar = bar == calendar.bars[k]
        n_rows = attend(
            t, interest_share, plans, tiers, legs, v, x, market, calendar, k if on_calendar else -1, bar,
            price if bar == forced else math.nan, f, ledger, row, rows, n_rows,
        )  # fmt: skip
        _see_bar(legs, v, x, market, f, path, t.target, bar, on_calendar and (calendar.due[k] >> DAY_END) & 1 == 1)
        k += on_calendar
        i = bar
    _close_run(t, legs, v, x, market, calendar, k, i, f, ledger, path)
    return n_rows


def run_portfolio(
    flat: Floats,
    interest_share: float,
    packed: tuple[Floats, Floats],
    market: LegMarket,
    calendar: LegCalendar,
    equity: float,
) -> LegRun:
    """Runs one packed token of any legs over one indexed path and records everything."""
    legs, tiers = packed
    count, n = market.close.shape
    v, x, width = np.empty(N_FUND), np.empty((N_ROOM, count)), FIRST_POSITION + 2 * count
    figures, ledger, row, path = np.empty(fig.N_FIGURES), np.empty(att.N_LEDGER), np.empty(width), np.empty((3, n))
    rows = np.empty((_ROWS_AT_FIRST, width))
    for _ in range(2):
        needed = run_legs(
            flat, interest_share, legs, tiers, market, calendar, equity, v, x, figures, ledger, rows, row, path
        )
        if needed <= len(rows):
            break
        rows = np.empty((needed, width))
    return LegRun(rows[:needed], figures, ledger, path)
