"""The legs of a token as compiled code sees them, and where a portfolio's running numbers stand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gearing.core.instruments import Instrument, Perpetual, Spot, TotalReturnSwap
from gearing.core.token import Token

Floats = NDArray[np.float64]

# What a leg is: its weight, lot and least trade, its financing, and four marks of its kind.
WEIGHT, LOT, LEAST, SPREAD, IS_SWAP, IS_SPOT, IS_COIN, FUNDED, N_TIERS = range(9)
N_LEG = 9

# A leg's running numbers: position, price of the last mark, price looked at, reference of moves and of the index,
# notional at the last accrual, the trade being planned with its volume, and the box of prices it sleeps in.
Q, PRICE, AT, REF, INDEX_REF, ACCRUED, DQ, VOLUME, LOW, HIGH = range(10)
N_ROOM = 10

# The running numbers of the whole; `RESTORES` is 1 while a paced rebalance restores the weights, `FLAT` while
# there is no position, `INDEX` the index at the last restored weights, `CASH` the cash at the last accrual,
# `LEVEL` the price results are held against at the last mark, `OPEN` 1 while nothing was posted at that mark.
EQUITY, FLAT, REF_MS, AIM, EDGE, SLICE_MS, SIDE, RESTORES, INDEX, CASH, LEVEL, OPEN = range(12)
N_FUND = 12


def pack_legs(token: Token) -> tuple[Floats, Floats]:
    """Returns what compiled code knows of the legs: (N_LEG, K), and their margin brackets, (K, most, 3)."""
    legs = np.zeros((N_LEG, len(token.legs)))
    tiers = np.full((len(token.legs), max(len(leg.margin_tiers) for leg in token.legs), 3), np.inf)
    for k, leg in enumerate(token.legs):
        legs[:, k] = _packed(leg)
        for n, tier in enumerate(leg.margin_tiers):
            tiers[k, n] = tier.notional_max, tier.rate, tier.amount
    if token.fees.all_in:
        legs[FUNDED] = legs[IS_SWAP] = 0.0
    return legs, tiers


def _packed(leg: Instrument) -> tuple[float, ...]:
    swap, future = isinstance(leg, TotalReturnSwap), isinstance(leg, Perpetual)
    return (
        leg.weight,
        leg.lot * leg.multiplier,
        leg.min_notional,
        leg.spread if isinstance(leg, TotalReturnSwap) else 0.0,
        float(swap),
        float(isinstance(leg, Spot)),
        float(isinstance(leg, Perpetual) and leg.inverse),
        float(future),
        float(len(leg.margin_tiers)),
    )


def is_plain(token: Token, *, rates: bool, dividends: bool, underlying: bool) -> bool:
    """Returns whether a token is one perpetual and nothing else, so that the quick kernel serves it.

    Args:
        token: the specification.
        rates: whether a reference rate is given.
        dividends: whether dividends are.
        underlying: whether the price that results are held against is another than the leg's.
    """
    leg = token.legs[0]
    single = len(token.legs) == 1 and isinstance(leg, Perpetual) and leg.min_notional == 0
    linear = not token.is_inverse or token.settles_in_coin
    return single and linear and not (dividends or underlying) and not (rates and token.interest_share > 0)
