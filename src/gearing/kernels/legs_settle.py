"""What is booked on one bar of a token of any legs, before its rule speaks: liquidation, clocks, rolls."""

from __future__ import annotations

import math

import numba

from gearing.core import attribution as att
from gearing.core.barriers import TERMS, State, liquidation_price
from gearing.core.decide import LIQUIDATION, NONE, WIPE_OUT
from gearing.core.formulas import TOUCH, equity_after_fee
from gearing.core.legs import (
    AT,
    CASH,
    EQUITY,
    FLAT,
    FUNDED,
    INDEX_REF,
    IS_COIN,
    LEVEL,
    N_TIERS,
    OPEN,
    PRICE,
    REF,
    VOLUME,
    Floats,
    Q,
)  # fmt: skip
from gearing.core.pack import Terms
from gearing.core.portfolio import (
    FUND,
    ROOM,
    TIERS,
    coin_liquidation_price,
    copy_row,
    equity_at,
    exposure,
    financing,
    flatten,
    index_at,
    notional,
    receive,
    wipe_out,
)  # fmt: skip
from gearing.core.portfolio_trade import roll
from gearing.jit import compiled
from gearing.kernels import figures as fig
from gearing.kernels.legs_market import (
    DAYS,
    DIVIDEND,
    FIRST_LEG,
    FUNDING_RATE,
    LEG_CALENDAR,
    MARKET,
    PER_LEG,
    RATE_DAYS,
    ROLL_PRICE,
    YEAR_PART,
    LegCalendar,
    LegMarket,
)  # fmt: skip
from gearing.kernels.legs_wake import is_called
from gearing.kernels.run import (
    BAR,
    COLUMNS,
    COMMISSION,
    FEE,
    FLOATS,
    FUNDING,
    IMPACT,
    MARKED,
    POSITION,
    REASON,
    SPREAD,
    TRADED,
)  # fmt: skip
from gearing.kernels.run import EQUITY as AFTER
from gearing.kernels.run import PRICE as LEVEL_COLUMN
from gearing.kernels.wake import ROWS

# A row has the columns of a plain run, where `traded` and `position` are exposures and `price` is the index;
# then these; then for each leg its position after the bar, and what it traded, in units of the underlying.
MORE_COLUMNS = ("financing", "cash_interest", "dividends", "roll_cost")
FINANCING, INTEREST, DIVIDENDS, ROLLED = (len(COLUMNS) + n for n in range(4))
FIRST_POSITION = len(COLUMNS) + len(MORE_COLUMNS)

_I, _F = numba.int64, numba.float64


@compiled(_F(LEG_CALENDAR, _I, _I, _I))
def due_of(calendar: LegCalendar, k: int, leg: int, what: int) -> float:
    """Returns what falls due for one leg on row k of the calendar; nothing on a bar without a row (−1)."""
    return calendar.dues[k, FIRST_LEG + PER_LEG * leg + what] if k >= 0 else 0.0


@compiled(_F(ROOM, FUND, ROOM, MARKET, _I))
def underlying_at(legs: Floats, v: Floats, x: Floats, market: LegMarket, bar: int) -> float:
    """Returns the price that results are held against: the underlying's if it is known, else the index."""
    if market.underlying.shape[0] > 0:
        return market.underlying[bar]
    return index_at(legs, v, x, PRICE)


@compiled(numba.void(TERMS, ROOM, FUND, ROOM, FLOATS))
def close_stretch(t: Terms, legs: Floats, v: Floats, x: Floats, ledger: Floats) -> None:
    """Closes the stretch of the attribution since the last posting, before something is posted at this mark."""
    if ledger.shape[0] > 0 and v[OPEN] != 0.0:
        att.post_mark_against(ledger, t.target, v[EQUITY], v[LEVEL], index_at(legs, v, x, PRICE))
        v[OPEN] = 0.0


@compiled(_F(TERMS, ROOM, FUND, ROOM, FLOATS, _I, _F))
def book(t: Terms, legs: Floats, v: Floats, x: Floats, ledger: Floats, part: int, amount: float) -> float:
    """Books money of one part of the attribution and returns it; equity at or below zero wipes the portfolio out."""
    if amount == 0.0 or v[EQUITY] <= 0.0:
        return 0.0
    if v[EQUITY] + amount <= 0.0:
        lost = -v[EQUITY]
        wipe_out(v, x)
        return lost
    close_stretch(t, legs, v, x, ledger)
    receive(legs, v, x, amount)
    if ledger.shape[0] > 0:
        att.post(ledger, part, amount)
    return amount


@compiled(_F(TIERS, ROOM, FUND, ROOM))
def forced_price(tiers: Floats, legs: Floats, v: Floats, x: Floats) -> float:
    """Returns where the venue closes a token of one leg; NaN if nowhere."""
    if legs.shape[1] > 1 or legs[N_TIERS, 0] == 0.0 or v[FLAT] != 0.0:
        return math.nan
    if legs[IS_COIN, 0] != 0.0:
        return coin_liquidation_price(tiers, legs, v, x)
    s = State(v[EQUITY], x[Q, 0], x[PRICE, 0], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return liquidation_price(tiers[0][: int(legs[N_TIERS, 0])], s)


@compiled(_I(ROOM, MARKET, _F, _I, _I))
def forced_bar(x: Floats, market: LegMarket, price: float, start: int, stop: int) -> int:
    """Returns the first bar in [start, stop) whose low (long) or high (short) reaches a price; else `stop`."""
    if not math.isnan(price):
        for i in range(start, stop):
            if (market.low[i] <= price) if x[Q, 0] > 0.0 else (market.high[i] >= price):
                return i
    return stop


@compiled(numba.void(TERMS, ROOM, FUND, ROOM, FLOATS, FLOATS, FLOATS))
def close_out(t: Terms, legs: Floats, v: Floats, x: Floats, f: Floats, ledger: Floats, row: Floats) -> None:
    """Lets the venue close all legs at the prices of the last mark, with taker and liquidation fee."""
    size, net = 0.0, 0.0
    for k in range(x.shape[1]):
        owed = notional(legs, v, x, k, v[EQUITY], PRICE)
        size, net = size + abs(owed), net + owed
        row[FIRST_POSITION + 2 * k + 1] = -owed / x[PRICE, k]
    cost = size * (t.taker_fee + t.liquidation_fee)
    f[fig.LIQUIDATIONS] += 1.0
    row[REASON], row[MARKED], row[TRADED] = LIQUIDATION, max(v[EQUITY], 0.0), -net
    if v[EQUITY] <= 0.0 or v[EQUITY] - cost <= TOUCH * cost:
        row[COMMISSION] = -row[MARKED]
        wipe_out(v, x)
        return
    close_stretch(t, legs, v, x, ledger)
    row[COMMISSION] = book(t, legs, v, x, ledger, att.LIQUIDATED, -cost)
    flatten(legs, v, x)
    if ledger.shape[0] > 0:
        att.post_trade(ledger, 0.0, 0.0, 0.0)


@compiled(numba.void(ROOM, FUND, ROOM, MARKET, LEG_CALENDAR, _I, _I))
def mark(legs: Floats, v: Floats, x: Floats, market: LegMarket, calendar: LegCalendar, k: int, bar: int) -> None:
    """Marks the portfolio at a bar's prices; a leg that rolls there, at its old contract's."""
    for leg in range(x.shape[1]):
        rolls_at = due_of(calendar, k, leg, ROLL_PRICE)
        x[AT, leg] = rolls_at if rolls_at > 0.0 else market.close[leg, bar]
    v[EQUITY], v[OPEN] = equity_at(v, x, AT), 1.0
    copy_row(x, PRICE, AT)
    v[LEVEL] = underlying_at(legs, v, x, market, bar)


@compiled(numba.void(TERMS, _F, ROOM, FUND, ROOM, LEG_CALENDAR, _I, FLOATS, FLOATS))
def pay_dues(
    t: Terms, interest_share: float, legs: Floats, v: Floats, x: Floats, calendar: LegCalendar, k: int, ledger: Floats,
    row: Floats,
) -> None:  # fmt: skip
    """Books what the clocks ask for: funding, financing, interest on cash, the management fee."""
    if k < 0:
        return
    funding = 0.0
    for leg in range(x.shape[1]):
        rate = due_of(calendar, k, leg, FUNDING_RATE)
        if rate != 0.0 and legs[FUNDED, leg] != 0.0:
            funding -= notional(legs, v, x, leg, v[EQUITY], PRICE) * rate
    row[FUNDING] = book(t, legs, v, x, ledger, att.FUNDING, funding)
    days = calendar.dues[k, DAYS]
    if days <= 0.0:
        return
    rate_days, year_part = calendar.dues[k, RATE_DAYS], calendar.dues[k, YEAR_PART]
    row[FINANCING] = book(t, legs, v, x, ledger, att.FINANCING, financing(legs, x, rate_days, year_part))
    row[INTEREST] = book(t, legs, v, x, ledger, att.INTEREST, interest_share * rate_days * v[CASH])
    equity = v[EQUITY]
    if equity > 0.0:
        after = equity_after_fee(equity, exposure(x, PRICE), days, t.fee_per_day, t.fee_per_year, t.fee_on_exposure)
        row[FEE] = book(t, legs, v, x, ledger, att.FEE, after - equity)


@compiled(numba.void(TERMS, ROOM, FUND, ROOM, MARKET, LEG_CALENDAR, _I, _I, FLOATS, FLOATS))
def roll_due(
    t: Terms, legs: Floats, v: Floats, x: Floats, market: LegMarket, calendar: LegCalendar, k: int, bar: int,
    ledger: Floats, row: Floats,
) -> None:  # fmt: skip
    """Moves every leg whose roll is due into its next contract."""
    for leg in range(x.shape[1]):
        if due_of(calendar, k, leg, ROLL_PRICE) <= 0.0:
            continue
        price = market.close[leg, bar]
        if x[Q, leg] == 0.0:
            x[REF, leg] *= price / x[PRICE, leg]
            x[INDEX_REF, leg] *= price / x[PRICE, leg]
            x[PRICE, leg] = price
            continue
        x[VOLUME, leg] = market.volume_24h[leg, bar] if market.volume_24h.shape[0] > 0 else 0.0
        close_stretch(t, legs, v, x, ledger)
        spread, impact, commission = roll(t, legs, v, x, leg, price)
        row[SPREAD] -= spread
        row[IMPACT] -= impact
        row[COMMISSION] -= commission
        row[ROLLED] -= spread + impact + commission
        if v[EQUITY] - (spread + impact + commission) <= 0.0:
            wipe_out(v, x)
            return
        receive(legs, v, x, -(spread + impact + commission))
        if ledger.shape[0] > 0:
            att.post_cost(ledger, spread, impact, commission)


@compiled(numba.void(TERMS, ROOM, FUND, ROOM, LEG_CALENDAR, _I, FLOATS, FLOATS))
def pay_dividends(
    t: Terms, legs: Floats, v: Floats, x: Floats, calendar: LegCalendar, k: int, ledger: Floats, row: Floats
) -> None:
    """Books the dividends that fall on a bar: longs receive them, shorts pay them."""
    total = 0.0
    for leg in range(x.shape[1]):
        total += x[Q, leg] * due_of(calendar, k, leg, DIVIDEND)
    row[DIVIDENDS] = book(t, legs, v, x, ledger, att.DIVIDENDS, total)


@compiled(_I(ROWS, _I, FLOATS, FUND, ROOM, _I))
def write_row(rows: Floats, n_rows: int, row: Floats, v: Floats, x: Floats, bar: int) -> int:
    """Appends the row of a bar on which something happened, if there is room; returns the count."""
    died = v[EQUITY] <= 0.0
    booked = abs(row[FUNDING]) + abs(row[FEE]) + abs(row[FINANCING]) + abs(row[INTEREST]) + abs(row[DIVIDENDS])
    if row[REASON] == NONE and booked + abs(row[ROLLED]) == 0.0 and not died and bar > 0:
        return n_rows
    if n_rows < rows.shape[0]:
        row[BAR], row[AFTER], row[POSITION], row[LEVEL_COLUMN] = bar, v[EQUITY], exposure(x, PRICE), v[LEVEL]
        if died:
            row[REASON] = WIPE_OUT
        for k in range(x.shape[1]):
            row[FIRST_POSITION + 2 * k] = x[Q, k]
        for column in range(row.shape[0]):
            rows[n_rows, column] = row[column]
    return n_rows + 1


@compiled(_I(TERMS, _F, TIERS, ROOM, FUND, ROOM, MARKET, LEG_CALENDAR, _I, _I, FLOATS, FLOATS, FLOATS, ROWS, _I))
def settle(
    t: Terms, interest_share: float, tiers: Floats, legs: Floats, v: Floats, x: Floats, market: LegMarket,
    calendar: LegCalendar, k: int, bar: int, f: Floats, ledger: Floats, row: Floats, rows: Floats,
    n_rows: int,
) -> int:  # fmt: skip
    """Books what falls due on a bar between its mark and its rule; returns the count of rows."""
    if v[EQUITY] <= 0.0:
        wipe_out(v, x)
        return n_rows
    pay_dividends(t, legs, v, x, calendar, k, ledger, row)
    if v[EQUITY] > 0.0 and is_called(tiers, legs, v, x, v[EQUITY]):
        close_out(t, legs, v, x, f, ledger, row)
        n_rows = write_row(rows, n_rows, row, v, x, bar)
        if v[EQUITY] <= 0.0:
            return n_rows
        row[:] = 0.0
        row[MARKED] = v[EQUITY]
    pay_dues(t, interest_share, legs, v, x, calendar, k, ledger, row)
    if v[EQUITY] > 0.0 and k >= 0:
        roll_due(t, legs, v, x, market, calendar, k, bar, ledger, row)
    return n_rows
