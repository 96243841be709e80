"""One token on one path: jump from wake-up to wake-up, and at each keep the accounting order."""

from __future__ import annotations

import math

import numba

from gearing.core import attribution as att
from gearing.core.barriers import STATE, TERMS, State, liquidation_price
from gearing.core.decide import (
    DECISION,
    LIQUIDATION,
    NONE,
    OPENING,
    SLICE,
    WIPE_OUT,
    Decision,
    after_trade,
    decide,
    marked,
    size_trade,
    wiped_out,
)  # fmt: skip
from gearing.core.formulas import TOUCH, equity_after_fee, funding_payment
from gearing.core.pack import N_PLAN, N_TERMS, N_TIER, Terms
from gearing.core.unpack import is_plain, unpack
from gearing.jit import compiled
from gearing.kernels import figures as fig
from gearing.kernels.calendar import CALENDAR, DAY_END, Calendar, day_ends_from
from gearing.kernels.plain import run_plain
from gearing.kernels.pyramid import Floats
from gearing.kernels.series import SERIES, Series
from gearing.kernels.wake import ROWS, clock_bar, has_intervals, is_checked, liquidation_bar, wake_bar

FLOATS = fig.FLOATS
_I, _F = numba.int64, numba.float64

# One row per bar on which something was posted or traded.
COLUMNS = (
    "bar", "reason", "equity_marked", "funding", "fee", "leverage_before", "aim", "traded", "spread", "impact",
    "commission", "equity", "position", "price", "began",
)  # fmt: skip
N_COLUMNS = len(COLUMNS)
(
    BAR, REASON, MARKED, FUNDING, FEE, LEVERAGE, AIM, TRADED, SPREAD, IMPACT, COMMISSION, EQUITY, POSITION,
    PRICE, BEGAN,
) = range(N_COLUMNS)  # fmt: skip


@compiled(STATE(TERMS, STATE, _F, FLOATS, FLOATS))
def liquidate(t: Terms, s: State, price: float, f: Floats, ledger: Floats) -> State:
    """Closes the position at the venue's price with taker and liquidation fee; flat until a schedule trades."""
    equity = s.equity + s.q * (price - s.price)
    cost = abs(s.q) * price * (t.taker_fee + t.liquidation_fee)
    f[fig.LIQUIDATIONS] += 1.0
    if equity <= 0.0 or equity - cost <= TOUCH * cost:
        return wiped_out(s)
    if ledger.shape[0] > 0:
        att.post_mark(ledger, t.target, equity, price)
        if cost > 0.0:
            att.post(ledger, att.LIQUIDATED, -cost)
        att.post_trade(ledger, 0.0, 0.0, 0.0)
    return State(equity - cost, 0.0, price, s.ref_price, s.ref_ms, 0.0, 0.0, 0.0, 0.0)


@compiled(STATE(TERMS, STATE, _F, _F, _F, FLOATS, FLOATS))
def settle(t: Terms, s: State, price: float, rate: float, days: float, ledger: Floats, row: Floats) -> State:
    """Marks at a price, then books the funding and the management fee that are due (steps 1 to 3)."""
    marked_equity = s.equity + s.q * (price - s.price)
    row[MARKED], row[FUNDING], row[FEE] = max(marked_equity, 0.0), 0.0, 0.0
    if marked_equity <= 0.0:
        return wiped_out(s)
    funding = funding_payment(s.q, price, rate) if rate != 0.0 and t.takes_funding != 0.0 else 0.0
    equity = marked_equity + funding
    if equity <= 0.0:
        row[FUNDING] = -marked_equity
        return wiped_out(s)
    after = equity
    if days > 0.0:
        after = equity_after_fee(equity, s.q * price, days, t.fee_per_day, t.fee_per_year, t.fee_on_exposure)
    fee = equity - after
    if after <= 0.0:
        row[FUNDING], row[FEE] = funding, -equity
        return wiped_out(s)
    row[FUNDING], row[FEE] = funding, -fee
    if ledger.shape[0] > 0 and (funding != 0.0 or fee != 0.0):
        att.post_mark(ledger, t.target, marked_equity, price)
        if funding != 0.0:
            att.post(ledger, att.FUNDING, funding)
        if fee != 0.0:
            att.post(ledger, att.FEE, -fee)
    return marked(s, after, price)


@compiled(STATE(TERMS, STATE, DECISION, _F, _F, FLOATS, FLOATS, FLOATS))
def trade(
    t: Terms, s: State, d: Decision, volume: float, now_ms: float, f: Floats, ledger: Floats, row: Floats
) -> State:
    """Carries out a decision (step 4); a trade that lots round to nothing is no rebalance."""
    x = size_trade(t, s, d, volume)
    after = after_trade(t, s, d, x, now_ms)
    if x.dq == 0.0 and (t.lot > 0.0 or d.reason == SLICE):
        return after if d.reason == SLICE else s
    row[REASON], row[AIM], row[TRADED] = d.reason, d.aim, x.dq
    row[SPREAD], row[IMPACT], row[COMMISSION] = -x.spread, -x.impact, -x.commission
    if after.equity <= 0.0:
        return after
    began = 0.0 if d.reason == SLICE else 1.0
    row[BEGAN] = began
    f[fig.REBALANCES] += began
    f[fig.TRADES] += 1.0
    f[fig.TURNOVER] += abs(x.dq) * s.price / s.equity
    if ledger.shape[0] > 0:
        att.post_mark(ledger, t.target, s.equity, s.price)
        att.post_trade(ledger, x.spread, x.impact, x.commission)
    return after


@compiled(_I(ROWS, _I, FLOATS, STATE, _I))
def write_row(rows: Floats, n_rows: int, row: Floats, s: State, bar: int) -> int:
    """Appends the row of a bar on which something happened, or of the first, if there is room; returns the count."""
    died = s.equity <= 0.0
    if row[REASON] == NONE and row[FUNDING] == 0.0 and row[FEE] == 0.0 and not died and bar > 0:
        return n_rows
    if n_rows < rows.shape[0]:
        row[BAR], row[EQUITY], row[POSITION], row[PRICE] = bar, s.equity, s.q, s.price
        if died:
            row[REASON] = WIPE_OUT
        for column in range(N_COLUMNS):
            rows[n_rows, column] = row[column]
    return n_rows + 1


@compiled(
    numba.types.Tuple((STATE, _I))(TERMS, ROWS, STATE, SERIES, CALENDAR, _I, _I, _F, FLOATS, FLOATS, FLOATS, ROWS, _I)
)
def attend(
    t: Terms, plans: Floats, s: State, series: Series, calendar: Calendar, k: int, bar: int, forced_price: float,
    f: Floats, ledger: Floats, row: Floats, rows: Floats, n_rows: int,
) -> tuple[State, int]:  # fmt: skip
    """Attends to one bar: liquidation, then the steps of the accounting order.

    Args:
        k: the calendar's row for this bar; −1 if it has none.
        forced_price: where the venue closed the position before this bar's price; NaN if it did not.
    """
    price, now_ms = series.close[bar], float(series.times_ms[bar])
    row[:] = 0.0
    if not math.isnan(forced_price):
        opened = series.open[bar]
        forced_price = min(opened, forced_price) if s.q > 0.0 else max(opened, forced_price)
        row[MARKED] = max(s.equity + s.q * (forced_price - s.price), 0.0)
        row[TRADED], row[REASON] = -s.q, LIQUIDATION
        s = liquidate(t, s, forced_price, f, ledger)
        row[COMMISSION] = s.equity - row[MARKED]
        n_rows = write_row(rows, n_rows, row, s, bar)
        if s.equity <= 0.0:
            return s, n_rows
        row[:] = 0.0
    rate, days, due = 0.0, 0.0, 0
    if k >= 0:
        rate, days, due = calendar.dues[k, 0], calendar.dues[k, 1], calendar.due[k]
    s = settle(t, s, price, rate, days, ledger, row)
    if s.equity > 0.0:
        row[LEVERAGE] = s.q * price / s.equity
        fig.see_leverage(f, s)
        d = decide(t, plans, s, due, now_ms, is_checked(t, series, bar))
        if d.reason != NONE:
            volume = series.volume_24h[bar] if series.volume_24h.shape[0] > 0 else 0.0
            s = trade(t, s, d, volume, now_ms, f, ledger, row)
    return s, write_row(rows, n_rows, row, s, bar)


@compiled(numba.void(TERMS, STATE, _F, _I, numba.boolean, FLOATS, FLOATS))
def close_run(t: Terms, s: State, price: float, bar: int, day_ends: bool, f: Floats, ledger: Floats) -> None:
    """Books the last stretch, or the wipe-out on `bar`, into figures and attribution.

    `day_ends` tells whether a day ends after `bar`: the day of a wipe-out is a day like any other.
    """
    if s.equity <= 0.0:
        if day_ends and f[fig.DAY_EQUITY] > 0.0:
            fig.see_day(f, t.target, 0.0, price)
        f[fig.WIPED_OUT_BAR] = bar
        if ledger.shape[0] > 0:
            att.post_wipe_out(ledger)
        return
    equity = s.equity + s.q * (price - s.price)
    f[fig.EQUITY], f[fig.POSITION] = equity, s.q
    if ledger.shape[0] > 0:
        att.post_mark(ledger, t.target, equity, price)


@compiled(_I(FLOATS, SERIES, CALENDAR, _F, numba.boolean, FLOATS, FLOATS, ROWS, FLOATS))
def run(
    flat: Floats,
    series: Series,
    calendar: Calendar,
    equity: float,
    measured: bool,
    f: Floats,
    ledger: Floats,
    rows: Floats,
    row: Floats,
) -> int:
    """Runs one token over one path; returns how many rows it had to write.

    Args:
        flat: the packed token.
        series: the indexed prices, n bars.
        calendar: the wake-up bars of the token's schedules and its funding.
        equity: the capital before the opening trade, settlement currency.
        measured: whether to measure leverage, drawdown and daily returns too.
        f: receives the figures, shape (N_FIGURES,).
        ledger: receives the attribution, shape (N_LEDGER,), or (0,) for none.
        rows: receives what happened, shape (m, N_COLUMNS); rows beyond m are counted, not written.
        row: room for one row, shape (N_COLUMNS,).

    Source: the accounting order of the reference job.
    """
    t = unpack(flat)
    if not measured and ledger.shape[0] == 0 and rows.shape[0] == 0 and is_plain(flat, t):
        run_plain(t, series, calendar, equity, f, ledger)
        return 0
    n_plans, n_tiers = int(t.n_plans), int(t.n_tiers)
    plans = flat[N_TERMS : N_TERMS + n_plans * N_PLAN].reshape((n_plans, N_PLAN))
    start = N_TERMS + n_plans * N_PLAN
    tiers = flat[start : start + n_tiers * N_TIER].reshape((n_tiers, N_TIER))
    has_clocks = has_intervals(plans)
    close, n = series.close, series.close.shape[0]

    fig.open_figures(f, equity)
    if ledger.shape[0] > 0:
        att.open_ledger(ledger, equity, close[0])
    row[:] = 0.0
    row[MARKED] = equity
    now_ms = float(series.times_ms[0])
    s = State(equity, 0.0, close[0], close[0], now_ms, 0.0, 0.0, 0.0, 0.0)
    volume = series.volume_24h[0] if series.volume_24h.shape[0] > 0 else 0.0
    s = trade(t, s, Decision(OPENING, t.target, 0.0), volume, now_ms, f, ledger, row)
    n_rows = write_row(rows, 0, row, s, 0)
    fig.see_bar(f, t.target, s, measured, calendar.opens_day)
    i, k, forced, forced_price = 0, 0, n, math.nan
    while s.equity > 0.0:
        clock = clock_bar(t, plans, s, series, i) if has_clocks or s.side != 0.0 else n
        bar = wake_bar(t, plans, s, series, calendar, k, i, clock)
        if n_tiers > 0:
            forced_price = liquidation_price(tiers, s)
            forced = liquidation_bar(s, series, i + 1, min(bar + 1, n), forced_price)
            bar = min(bar, forced)
        if measured:
            fig.see_sleep(f, s, series, i + 1, min(bar, n))
        if bar >= n:
            break
        on_calendar = bar == calendar.bars[k]
        s, n_rows = attend(
            t, plans, s, series, calendar, k if on_calendar else -1, bar, forced_price if bar == forced else math.nan,
            f, ledger, row, rows, n_rows,
        )  # fmt: skip
        fig.see_bar(f, t.target, s, measured, on_calendar and (calendar.due[k] >> DAY_END) & 1 == 1)
        k += on_calendar
        i = bar
    close_run(t, s, close[n - 1], i, day_ends_from(calendar, k), f, ledger)
    return n_rows
