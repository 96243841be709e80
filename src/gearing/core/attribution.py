"""Attribution: where a token's result came from, accumulated posting by posting, in log and in money.

The parts sum to the whole by construction. A stretch of mark-to-market between two postings has the log
g = ln(E₁/E₀); of it β·ln(S₁/S₀) is leverage, −β(β−1)/2·Δ(X²) is variance drag with X = ln(S/S at the last
trade), so that the drag adds up to one square per stretch from rebalance to rebalance, and the rest
is timing: what real leverage did away from its target. Its money E₁ − E₀ is split in the same
proportion. Every other posting is its own part.

Source: derived; the drag is that of Avellaneda & Zhang (2010) with realised variance.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.jit import compiled

PARTS = (
    "leverage",
    "variance_drag",
    "timing",
    "basis",
    "funding",
    "financing",
    "cash_interest",
    "dividends",
    "management_fee",
    "commission",
    "spread",
    "impact",
    "liquidation",
    "gap",
)
(
    LEVERAGE, DRAG, TIMING, BASIS, FUNDING, FINANCING, INTEREST, DIVIDENDS, FEE, COMMISSION, SPREAD, IMPACT, LIQUIDATED,
    GAP,
) = range(len(PARTS))  # fmt: skip
N_PARTS = len(PARTS)

# The ledger of one run: the logs of the parts, their money, then the marks of the last posting and trade.
LOG, MONEY, POST_EQUITY, POST_PRICE, TRADE_PRICE, SINCE_TRADE, POST_HELD = (
    0,
    N_PARTS,
    2 * N_PARTS,
    2 * N_PARTS + 1,
    2 * N_PARTS + 2,
    2 * N_PARTS + 3,
    2 * N_PARTS + 4,
)
N_LEDGER = 2 * N_PARTS + 5

_F = numba.float64
_A = numba.types.Array(_F, 1, "C")


@compiled(numba.void(_A, _F, _F))
def open_ledger(ledger: NDArray[np.float64], equity: float, price: float) -> None:
    """Starts a ledger at the first price."""
    ledger[:] = 0.0
    ledger[POST_EQUITY] = equity
    ledger[POST_PRICE] = price
    ledger[TRADE_PRICE] = price
    ledger[POST_HELD] = price


@compiled(numba.void(_A, _F, _F, _F, _F))
def post_mark_against(ledger: NDArray[np.float64], target: float, equity: float, price: float, held: float) -> None:
    """Closes the stretch since the last posting, where what is held is not the underlying itself.

    Args:
        ledger: the ledger.
        target: target leverage β.
        equity: marked, > 0.
        price: of the underlying, > 0; leverage and drag are measured against it.
        held: the index of what is held, > 0; β times its log return beyond the underlying's is the basis.
    """
    before = ledger[POST_EQUITY]
    total = math.log(equity / before)
    if price <= 0.0 or held <= 0.0:
        # The index of long and short legs may fall through zero, where no log is left to split by.
        ledger[LOG + TIMING] += total
        ledger[MONEY + TIMING] += equity - before
        ledger[POST_EQUITY] = equity
        return
    since_trade = math.log(price / ledger[TRADE_PRICE])
    moved = math.log(price / ledger[POST_PRICE])
    leverage = target * moved
    drag = -0.5 * target * (target - 1.0) * (since_trade * since_trade - ledger[SINCE_TRADE] ** 2)
    basis = target * (math.log(held / ledger[POST_HELD]) - moved)
    timing = total - leverage - drag - basis
    gain = equity - before
    scale = gain / total if abs(total) > 1e-9 else before
    ledger[LOG + LEVERAGE] += leverage
    ledger[LOG + DRAG] += drag
    ledger[LOG + TIMING] += timing
    ledger[LOG + BASIS] += basis
    ledger[MONEY + LEVERAGE] += leverage * scale
    ledger[MONEY + DRAG] += drag * scale
    ledger[MONEY + BASIS] += basis * scale
    ledger[MONEY + TIMING] += gain - (leverage + drag + basis) * scale
    ledger[POST_EQUITY] = equity
    ledger[POST_PRICE] = price
    ledger[POST_HELD] = held
    ledger[SINCE_TRADE] = since_trade


@compiled(numba.void(_A, _F, _F, _F))
def post_mark(ledger: NDArray[np.float64], target: float, equity: float, price: float) -> None:
    """Closes the stretch since the last posting, where the underlying itself is held: equity at `price`, both > 0."""
    post_mark_against(ledger, target, equity, price, price)


@compiled(numba.void(_A, numba.int64, _F))
def post(ledger: NDArray[np.float64], part: int, amount: float) -> None:
    """Posts money (received > 0) to one part; the equity after it is > 0."""
    before = ledger[POST_EQUITY]
    after = before + amount
    ledger[LOG + part] += math.log(after / before)
    ledger[MONEY + part] += amount
    ledger[POST_EQUITY] = after


@compiled(numba.void(_A, _F, _F, _F))
def post_cost(ledger: NDArray[np.float64], spread: float, impact: float, commission: float) -> None:
    """Posts what trading cost (≥ 0): its one log split over the three parts in proportion to their money."""
    cost = spread + impact + commission
    before = ledger[POST_EQUITY]
    if cost > 0.0:
        per_money = math.log((before - cost) / before) / cost
        ledger[LOG + SPREAD] += spread * per_money
        ledger[LOG + IMPACT] += impact * per_money
        ledger[LOG + COMMISSION] += commission * per_money
        ledger[MONEY + SPREAD] -= spread
        ledger[MONEY + IMPACT] -= impact
        ledger[MONEY + COMMISSION] -= commission
        ledger[POST_EQUITY] = before - cost


@compiled(numba.void(_A, _F, _F, _F))
def post_trade(ledger: NDArray[np.float64], spread: float, impact: float, commission: float) -> None:
    """Posts a rebalancing trade's cost (≥ 0), and begins a new stretch of variance drag."""
    post_cost(ledger, spread, impact, commission)
    ledger[TRADE_PRICE] = ledger[POST_PRICE]
    ledger[SINCE_TRADE] = 0.0


@compiled(numba.void(_A))
def post_wipe_out(ledger: NDArray[np.float64]) -> None:
    """Closes a ledger at a wipe-out: what was left since the last posting went in one gap."""
    ledger[MONEY + GAP] -= ledger[POST_EQUITY]
    ledger[LOG + GAP] = -math.inf
    ledger[POST_EQUITY] = 0.0
