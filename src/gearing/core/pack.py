"""Packing: a token becomes one flat float64 array, the only form that compiled code sees.

Layout: the fields of `Terms` in order, then one row of `Plan` per schedule, then one row of `Tier` per
margin bracket. Absent levels are 0 (lower) or ∞ (upper), so that no trigger needs a flag of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gearing.core.fees import Costs
from gearing.core.record import DAY_MS, duration_ms, time_of_day_ms
from gearing.core.rule import Condition, Rule, band_edges
from gearing.core.token import Token

AIM_TARGET, AIM_EDGE, AIM_REENTRY, AIM_RECENTERING = 0.0, 1.0, 2.0, 3.0
_AIM_CODES = {"target": AIM_TARGET, "edge": AIM_EDGE, "reentry": AIM_REENTRY, "recentering": AIM_RECENTERING}

INF = float("inf")
YEAR_DAYS = 365.0


class Terms(NamedTuple):
    """What compiled code knows of a token: all float64, in this order.

    Sizes are in units of the underlying (contracts × multiplier); levels are |ℓ|.
    """

    target: float
    lot: float
    fee_per_day: float
    fee_per_year: float
    fee_on_exposure: float
    takes_funding: float
    taker_fee: float
    half_spread: float
    impact: float
    liquidation_fee: float
    lower: float
    upper: float
    move_up: float
    move_down: float
    reduce_only: float
    aim_kind: float
    aim_value: float
    pace_largest: float
    pace_ms: float
    ripcord: float
    check_ms: float
    n_plans: float
    n_tiers: float


class Plan(NamedTuple):
    """One schedule, packed: `every_ms` is 0 for a schedule by times; the rest is its condition."""

    every_ms: float
    reduce_only: float
    conditional: float
    lower: float
    upper: float
    move_up: float
    move_down: float


class Tier(NamedTuple):
    """One maintenance-margin bracket, packed."""

    notional_max: float
    rate: float
    amount: float


N_TERMS, N_PLAN, N_TIER = len(Terms._fields), len(Plan._fields), len(Tier._fields)


def moves(rule: Rule | Condition, target: float) -> tuple[float, float]:
    """Returns the (rise, fall) of the price that fire, as fractions; ∞ where there is none."""
    against = INF if rule.move_against is None else rule.move_against
    favour = INF if rule.move_favour is None else rule.move_favour
    return (favour, against) if target > 0 else (against, favour)


def _plans(rule: Rule, target: float) -> list[Plan]:
    plans = []
    for schedule in rule.schedule:
        condition = schedule.only_if
        lower, upper = band_edges(condition, target) if condition else (0.0, INF)
        up, down = moves(condition, target) if condition else (INF, INF)
        every = float(duration_ms(schedule.every)) if schedule.every else 0.0
        reduce_only = float(schedule.side == "reduce")
        plans.append(Plan(every, reduce_only, float(condition is not None), lower, upper, up, down))
    return plans


def pack(token: Token, costs: Costs | None = None) -> NDArray[np.float64]:
    """Returns the token as one flat float64 array (see the module's layout).

    Args:
        token: the specification.
        costs: what trading costs; by default the token's own assumption.
    """
    rule, leg, fees = token.resolved_rule, token.legs[0], token.fees
    free = Costs()
    paid = free if fees.all_in else (token.costs if costs is None else costs)
    lower, upper = band_edges(rule, token.target)
    up, down = moves(rule, token.target)
    plans = _plans(rule, token.target)
    value = rule.reentry_level if rule.aim == "reentry" else rule.recentering_speed
    terms = Terms(
        target=token.target,
        lot=leg.lot * leg.multiplier,
        fee_per_day=fees.management_per_day,
        fee_per_year=fees.management_per_year / YEAR_DAYS,
        fee_on_exposure=float(fees.on == "exposure"),
        takes_funding=float(not fees.all_in),
        taker_fee=paid.taker_fee,
        half_spread=paid.half_spread,
        impact=paid.impact,
        liquidation_fee=paid.liquidation_fee,
        lower=lower,
        upper=upper,
        move_up=up,
        move_down=down,
        reduce_only=float(rule.side == "reduce"),
        aim_kind=_AIM_CODES[rule.aim],
        aim_value=value or 0.0,
        pace_largest=rule.pace.largest if rule.pace else INF,
        pace_ms=float(duration_ms(rule.pace.interval)) if rule.pace else 0.0,
        ripcord=INF if rule.ripcord is None else rule.ripcord,
        check_ms=float(duration_ms(rule.check_interval)) if rule.check_interval else 0.0,
        n_plans=len(plans),
        n_tiers=len(leg.margin_tiers),
    )
    tiers = [Tier(tier.notional_max, tier.rate, tier.amount) for tier in leg.margin_tiers]
    return np.array([number for row in (terms, *plans, *tiers) for number in row], dtype=np.float64)


def schedule_times_ms(rule: Rule) -> tuple[tuple[int, ...], ...]:
    """Returns, for each schedule, its times of day in ms after 00:00 UTC (none for an interval)."""
    return tuple(tuple(sorted({time_of_day_ms(text) for text in s.times})) for s in rule.schedule)


__all__ = [
    "DAY_MS",
    "INF",
    "N_PLAN",
    "N_TERMS",
    "N_TIER",
    "Plan",
    "Terms",
    "Tier",
    "moves",
    "pack",
    "schedule_times_ms",
]
