"""A portfolio of several legs: how it is marked, seen by the rule, and accrues.

The rule sees one number, ℓ = X/E with X = Σ Q·p, and one move, M = Σ w·(p/ref − 1); so a portfolio is shown to it
as a state of one position (`view`). Money that comes in or goes out leaves positions alone, except where
the collateral is coin: there the position is the whole coin exposure, and money is coin too.

Compiled functions share two arrays: `v`, the numbers of the whole (shape (N_FUND,)), and `x`, those of each leg
(shape (N_ROOM, K)); `legs` holds what never changes (shape (N_LEG, K)). `core.legs` says what stands where.
"""

from __future__ import annotations

import math

import numba

from gearing.core.barriers import STATE, State
from gearing.core.legs import (
    ACCRUED,
    AIM,
    CASH,
    EDGE,
    EQUITY,
    FLAT,
    INDEX,
    INDEX_REF,
    IS_COIN,
    IS_SPOT,
    IS_SWAP,
    N_TIERS,
    PRICE,
    REF,
    REF_MS,
    RESTORES,
    SIDE,
    SLICE_MS,
    SPREAD,
    WEIGHT,
    Floats,
    Q,
)  # fmt: skip
from gearing.jit import compiled

_F, _I = numba.float64, numba.int64
FUND = numba.types.Array(_F, 1, "C")
ROOM = numba.types.Array(_F, 2, "C")
TIERS = numba.types.Array(_F, 3, "C")


@compiled(numba.void(ROOM, _I, _I))
def copy_row(x: Floats, into: int, of: int) -> None:
    """Copies one row of the legs' numbers into another."""
    for k in range(x.shape[1]):
        x[into, k] = x[of, k]


@compiled(_F(ROOM, _I))
def exposure(x: Floats, at: int) -> float:
    """Returns X = Σ Q·p at the prices of row `at`."""
    total = 0.0
    for k in range(x.shape[1]):
        total += x[Q, k] * x[at, k]
    return total


@compiled(_F(FUND, ROOM, _I))
def equity_at(v: Floats, x: Floats, at: int) -> float:
    """Returns the equity at the prices of row `at`: E + Σ Q·(p − p of the last mark)."""
    total = v[EQUITY]
    for k in range(x.shape[1]):
        total += x[Q, k] * (x[at, k] - x[PRICE, k])
    return total


@compiled(_F(ROOM, FUND, ROOM, _I, _F, _I))
def notional(legs: Floats, v: Floats, x: Floats, k: int, equity: float, at: int) -> float:
    """Returns the signed notional of a leg's contracts; where coin is the collateral, that is no contract."""
    if v[FLAT] != 0.0:
        return 0.0
    return x[Q, k] * x[at, k] - legs[IS_COIN, k] * equity


@compiled(_F(ROOM, ROOM, _I))
def move(legs: Floats, x: Floats, at: int) -> float:
    """Returns M = Σ w·(p/ref − 1), the move since the last completed rebalance."""
    total = 0.0
    for k in range(x.shape[1]):
        total += legs[WEIGHT, k] * (x[at, k] / x[REF, k] - 1.0)
    return total


@compiled(_F(ROOM, FUND, ROOM, _I))
def index_at(legs: Floats, v: Floats, x: Floats, at: int) -> float:
    """Returns the index S, whose weights are restored whenever the portfolio's are."""
    total = 0.0
    for k in range(x.shape[1]):
        total += legs[WEIGHT, k] * (x[at, k] / x[INDEX_REF, k])
    return v[INDEX] * total


@compiled(STATE(ROOM, FUND, ROOM, _F, _I))
def view(legs: Floats, v: Floats, x: Floats, equity: float, at: int) -> State:
    """Returns the portfolio as the rule sees it: one position of X at a price of 1, its move against the reference."""
    position = 0.0 if v[FLAT] != 0.0 else exposure(x, at)
    reference = 1.0 / (1.0 + move(legs, x, at))
    return State(equity, position, 1.0, reference, v[REF_MS], v[AIM], v[EDGE], v[SLICE_MS], v[SIDE])


@compiled(numba.void(ROOM, FUND, ROOM, _F))
def receive(legs: Floats, v: Floats, x: Floats, amount: float) -> None:
    """Books money (paid < 0) at the prices of the last mark; coin collateral takes it in coin."""
    v[EQUITY] += amount
    if legs[IS_COIN, 0] != 0.0:
        x[Q, 0] += amount / x[PRICE, 0]


@compiled(numba.void(ROOM, FUND, ROOM))
def flatten(legs: Floats, v: Floats, x: Floats) -> None:
    """Leaves the portfolio without contracts, and without a paced rebalance; coin collateral stays coin."""
    for k in range(x.shape[1]):
        x[Q, k] = legs[IS_COIN, k] * v[EQUITY] / x[PRICE, k]
    v[FLAT] = 1.0
    v[SIDE] = v[AIM] = v[EDGE] = v[SLICE_MS] = v[RESTORES] = 0.0


@compiled(numba.void(FUND, ROOM))
def wipe_out(v: Floats, x: Floats) -> None:
    """Leaves nothing, for ever."""
    v[EQUITY] = v[SIDE] = 0.0
    v[FLAT] = 1.0
    for k in range(x.shape[1]):
        x[Q, k] = 0.0


@compiled(_F(TIERS, ROOM, _I, _F))
def maintenance(tiers: Floats, legs: Floats, k: int, size: float) -> float:
    """Returns the margin that the venue asks of a notional of this size: rate·|N| − amount of its bracket."""
    count = int(legs[N_TIERS, k])
    for n in range(count):
        if size <= tiers[k, n, 0] or n == count - 1:
            return max(tiers[k, n, 1] * size - tiers[k, n, 2], 0.0)
    return 0.0


@compiled(_F(TIERS, ROOM, FUND, ROOM, _F, _I))
def margin_at(tiers: Floats, legs: Floats, v: Floats, x: Floats, equity: float, at: int) -> float:
    """Returns the maintenance margin of all legs at the prices of row `at`."""
    total = 0.0
    for k in range(x.shape[1]):
        total += maintenance(tiers, legs, k, abs(notional(legs, v, x, k, equity, at)))
    return total


@compiled(_F(TIERS, ROOM, FUND, ROOM))
def coin_liquidation_price(tiers: Floats, legs: Floats, v: Floats, x: Floats) -> float:
    """Returns where the venue closes a coin-margined position, whose notional does not move with the price; else NaN.

    Source: c + Q·p* = μ|N| − a with c = −N, so p* = (μ|N| − a + N)/Q.
    """
    owed = notional(legs, v, x, 0, v[EQUITY], PRICE)
    if owed == 0.0 or x[Q, 0] == 0.0:
        return math.nan
    price = (maintenance(tiers, legs, 0, abs(owed)) + owed) / x[Q, 0]
    return price if price > 0.0 else math.nan


@compiled(numba.void(ROOM, FUND, ROOM))
def note_accrual(legs: Floats, v: Floats, x: Floats) -> None:
    """Notes the notionals and the cash on which financing and interest are owed until the next accrual."""
    cash = 0.0 if legs[IS_COIN, 0] != 0.0 else v[EQUITY]
    for k in range(x.shape[1]):
        x[ACCRUED, k] = notional(legs, v, x, k, v[EQUITY], PRICE)
        if legs[IS_SPOT, k] != 0.0:
            cash -= x[Q, k] * x[PRICE, k]
    v[CASH] = cash


@compiled(_F(ROOM, ROOM, _F, _F))
def financing(legs: Floats, x: Floats, rate_days: float, year_part: float) -> float:
    """Returns the financing received (negative: paid) by swaps: −(rate·N + spread·|N|)·days/360.

    Args:
        legs, x: the legs, with the notionals of the last accrual.
        rate_days: the reference rate times days/360.
        year_part: days/360.
    """
    total = 0.0
    for k in range(x.shape[1]):
        if legs[IS_SWAP, k] != 0.0:
            held = x[ACCRUED, k]
            total -= rate_days * held + legs[SPREAD, k] * abs(held) * year_part
    return total
