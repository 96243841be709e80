"""A perpetual held yourself: the same starting leverage, never rebalanced, and liquidated if it comes to that."""

from __future__ import annotations

import msgspec
import polars as pl

from gearing.core.decide import LIQUIDATION, REASONS, WIPE_OUT
from gearing.core.fees import Fees
from gearing.core.instruments import MarginTier, Perpetual
from gearing.core.record import Record
from gearing.core.rule import Rule
from gearing.market.legs import Sources
from gearing.study.backtest import run_backtest
from gearing.study.inputs import Inputs
from gearing.study.result import Result

MAINTENANCE_RATE = 0.004
"""Maintenance margin where the token names no tiers: Binance's first bracket of BTCUSDT, up to 50,000 USDT."""

_ENDS = (REASONS[int(LIQUIDATION)], REASONS[int(WIPE_OUT)])


class Held(Record, frozen=True, kw_only=True):
    """A perpetual bought (or sold) once and held beside a token.

    Args:
        result: what became of it, as a backtest of a token that never rebalances and charges no fee.
        assumed_rate: the maintenance margin rate that was assumed, or None if the token's own tiers held.
    """

    result: Result
    assumed_rate: float | None

    @property
    def liquidated_at(self) -> str | None:
        """When the venue closed it, ISO text UTC, or None."""
        rows = self.result.events.filter(pl.col("reason").is_in(_ENDS))
        return None if rows.is_empty() else f"{rows['time'][0].strftime('%Y-%m-%dT%H:%M:%S')}Z"


def held(result: Result) -> Held | None:
    """Returns what a perpetual held over the same path would have done, or None if the token is of another kind.

    The position is opened at the first price at the token's target leverage and capital, with the same trading
    costs and funding; it is never changed. The venue closes it where its equity falls to the maintenance margin:
    on the bar's low or high if they are known, else on its close. What is then left stays as cash.

    Args:
        result: a backtest of a token that holds one linear perpetual.

    Source: accounting order of the engine, with a rule that has no trigger.
    """
    token = result.token
    if len(token.legs) != 1 or type(token.legs[0]) is not Perpetual:
        return None
    leg: Perpetual = token.legs[0]
    assumed = None if leg.margin_tiers else MAINTENANCE_RATE
    if assumed is not None:
        leg = msgspec.structs.replace(leg, margin_tiers=(MarginTier(rate=assumed),))
    alone = msgspec.structs.replace(token, rule=Rule(), fees=Fees(), legs=(leg,), symbol="held perpetual", name="")
    # An all-in token pays no trading costs; whoever holds a perpetual does.
    costs = token.costs if token.fees.all_in else result.costs
    inputs = Inputs(Sources(result.prices, result.funding))
    return Held(result=run_backtest(alone, inputs, costs, result.equity), assumed_rate=assumed)
