"""The measured cost of hedging: what a token's recent hedges and rebalances cost, as a fraction of what they traded.

The estimate is a mean over the last hedges, weighted by what each traded and by its age: each weighs nine tenths of the
one after it. It is never below what the venue charged, since a gain against the decision's price is luck, or somebody's
doing. Three kinds of noise are kept out. What tokens of one book trade with each other costs nothing, and says nothing
of a venue. A rebalance in several slices is measured against
the price of its first decision, which says more about the market's drift than about cost, and is not counted. And one
hedge counts as ±1 % of what it traded at most, so that a gap between decision and fill does not rule the estimate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gearing.core.measured import Measured
from gearing.core.money import to_float
from gearing.core.state import TokenState

HEDGES_MAX = 20
"""How many of the last hedges count; together with the decay, older ones would weigh an eighth of the last."""
_DECAY = 0.9
_RATE_MAX = 0.01


class HedgeCost(NamedTuple):
    """What one hedge or rebalance cost and traded at the venue, minor units; a cost below 0 was a gain.

    `charged` is the part of the cost that the venue took as commission.
    """

    cost: int
    traded: int
    charged: int


def is_counted(measured: Measured) -> bool:
    """Returns whether a hedge or rebalance tells about cost: it has ended, traded at a venue, and was one slice."""
    return not measured.is_open and measured.at_venue[1] > 0 and measured.slices == 1


def with_hedge(costs: tuple[HedgeCost, ...], measured: Measured) -> tuple[HedgeCost, ...]:
    """Returns the costs of the last hedges, the newest first, after another one.

    Args:
        costs: before it.
        measured: the hedge; one that is not counted changes nothing.
    """
    return (_cost_of(measured), *costs)[:HEDGES_MAX] if is_counted(measured) else costs


def costs_of(newest_first: Iterable[Measured]) -> tuple[HedgeCost, ...]:
    """Returns the costs of the last hedges, the newest first, as `with_hedge` would have collected them."""
    costs: list[HedgeCost] = []
    for measured in newest_first:
        if is_counted(measured):
            costs.append(_cost_of(measured))
            if len(costs) == HEDGES_MAX:
                break
    return tuple(costs)


def hedging_cost_rate(costs: tuple[HedgeCost, ...], unmeasured: float) -> float:
    """Returns the expected cost of a hedge as a fraction of what it trades, ≥ 0.

    Args:
        costs: of the last hedges, the newest first.
        unmeasured: the rate where there are none.

    Source: derived; an exponentially weighted mean.
    """
    cost = traded = charged = 0.0
    weight = 1.0
    for hedge in costs:
        bound = _RATE_MAX * hedge.traded
        cost += weight * min(max(hedge.cost, -bound), bound)
        traded += weight * hedge.traded
        charged += weight * min(hedge.charged, bound)
        weight *= _DECAY
    return max(cost, charged) / traded if traded else unmeasured


def gross_leverage(state: TokenState) -> float:
    """Returns what a token holds of all legs, without signs, over its equity at the last marks; 0 without equity."""
    held = sum(abs(leg.lots) * float(leg.lot) * leg.mark for leg in state.legs)
    return held / to_float(state.equity) if state.equity > 0 else 0.0


def _cost_of(measured: Measured) -> HedgeCost:
    return HedgeCost(*measured.at_venue, measured.commission)
