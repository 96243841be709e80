"""The scalar formulas that kernels and ledger share: the same compiled function objects in both.

All arguments are float64. Sizes `q` are signed and in units of the underlying, prices in settlement
currency per unit of underlying, equity in settlement currency.
"""

from __future__ import annotations

import numpy as np

from gearing.jit import compiled

# A value within this relative distance of a threshold equals it (accounting order, "Touching").
TOUCH = 1e-9


@compiled("float64(float64, float64, float64)")
def funding_payment(q: float, price: float, funding_rate: float) -> float:
    """Returns the funding received (negative: paid) on a settlement; a positive rate is paid by longs."""
    return -q * price * funding_rate


@compiled("float64(float64, float64, float64, float64, float64, float64)")
def equity_after_fee(
    equity: float, exposure: float, days: float, per_day: float, per_year: float, on_exposure: float
) -> float:
    """Returns what the management fee of `days` day-ends leaves of the equity.

    A fee per day compounds on equity, E(1 − fee)^k; a yearly fee (`per_year`, already over 365) and a
    fee on exposure are linear in the days.
    """
    if on_exposure != 0.0:
        return equity - abs(exposure) * (per_day + per_year) * days
    if per_year != 0.0:
        return equity - equity * per_year * days
    if days == 1.0:
        return equity - equity * per_day
    return equity * (1.0 - per_day) ** days


@compiled("float64(float64, float64, float64, float64)")
def spread_at_size(half_spread: float, impact: float, size: float, volume: float) -> float:
    """Returns the half spread a trade of |Δq| = `size` pays: s + κ·√(|Δq| / volume of the last 24 h).

    A volume of zero (none recorded) leaves the spread as it is.
    """
    if impact == 0.0 or volume <= 0.0:
        return half_spread
    return half_spread + impact * (abs(size) / volume) ** 0.5


@compiled("float64(float64, float64, float64, float64)")
def commission(dq: float, price: float, spread: float, taker_fee: float) -> float:
    """Returns the venue's commission: taker fee on the notional at the price paid, P(1 ± s)."""
    side = 1.0 if dq > 0.0 else -1.0
    return abs(dq) * price * (1.0 + spread * side) * taker_fee


@compiled("float64(float64, float64, float64, float64)")
def size_to_aim(equity: float, q: float, price: float, aim: float) -> float:
    """Returns Δq that brings leverage to `aim`, from the equity before this trade's cost."""
    return aim * equity / price - q


@compiled("float64(float64, float64, float64, float64, float64, float64, float64, float64)")
def size_to_edge(
    equity: float,
    q: float,
    price: float,
    aim: float,
    half_spread: float,
    impact: float,
    taker_fee: float,
    volume: float,
) -> float:
    """Returns Δq that meets `aim` after the trade's own cost: (L·E/P − q)/(1 + L·k·sign Δq).

    k = s + f(1 + s·sign Δq). Where the spread grows with size, y = √|Δq| solves b·y³ + a·y² = |free size|; the
    smallest solution is bracketed and halved down to the last digit. Where there is none (the cost would
    outrun the trade), the size is the one before cost.
    """
    free = size_to_aim(equity, q, price, aim)
    side = 1.0 if free > 0.0 else -1.0
    slope = aim * side
    a = 1.0 + slope * (half_spread + taker_fee * (1.0 + half_spread * side))
    if a <= 0.0:
        return free
    if impact == 0.0 or volume <= 0.0:
        return free / a
    b = slope * impact * (1.0 + taker_fee * side) / volume**0.5
    low, high = 0.0, (abs(free) / a) ** 0.5
    if b < 0.0:
        low, high = high, -2.0 * a / (3.0 * b)
        if low >= high or (b * high + a) * high * high < abs(free):
            return free
    for _ in range(100):
        middle = 0.5 * (low + high)
        if (b * middle + a) * middle * middle < abs(free):
            low = middle
        else:
            high = middle
    return side * high * high


@compiled("float64(float64, float64)")
def whole_lots(dq: float, lot: float) -> float:
    """Returns the trade cut to whole lots, towards zero, so that it never overshoots its aim; lot 0: as is.

    A count within a touch of a whole number is that number.
    """
    if lot <= 0.0:
        return dq
    count = abs(dq) / lot
    whole = np.rint(count)
    if abs(count - whole) > TOUCH * count:
        # NumPy's, since math.floor compiles to an integer, which a large count overflows.
        whole = np.floor(count)
    return whole * lot if dq > 0.0 else -whole * lot


@compiled("float64(float64, float64, float64, float64, float64)")
def maintenance_price(equity: float, q: float, price: float, rate: float, amount: float) -> float:
    """Returns p* where equity equals rate·notional − amount, for the state marked at `price`.

    Source: E + q(p* − p) = μ|q|p* − a, solved for p*.
    """
    return (equity - q * price + amount) / (rate * abs(q) - q)
