"""The mirror: a token whose NAV is counted in coin is a linear one on the price turned upside down.

A coin-margined position of N (notional in the currency of the price) has the equity C − N·y in coin, with
y = 1/p: a linear position of −N on y. Leverage (p/E)·dE/dp is minus the leverage on y, so the target turns
its sign, and a move of the price by r is one of y by 1/(1 + r) − 1.

Source: derived from profit = N·(1/entry − 1/price).
"""

from __future__ import annotations

import msgspec

from gearing.core.instruments import Perpetual
from gearing.core.rule import Condition, Rule
from gearing.core.token import Token


def _rise(fraction: float | None) -> float | None:
    """Returns the fall of y at a rise of the price by this fraction."""
    return None if fraction is None else fraction / (1 + fraction)


def _fall(fraction: float | None) -> float | None:
    """Returns the rise of y at a fall of the price by this fraction."""
    return None if fraction is None else fraction / (1 - fraction)


def _moves(trigger: Rule | Condition, target: float) -> dict[str, float | None]:
    against, favour = (_fall, _rise) if target > 0 else (_rise, _fall)
    return {"move_against": against(trigger.move_against), "move_favour": favour(trigger.move_favour)}


def mirrored_rule(rule: Rule, target: float) -> Rule:
    """Returns the rule that does on y = 1/p what this one does on the price."""
    schedules = tuple(
        schedule
        if schedule.only_if is None
        else msgspec.structs.replace(
            schedule, only_if=msgspec.structs.replace(schedule.only_if, **_moves(schedule.only_if, target))
        )
        for schedule in rule.schedule
    )
    turned = None if rule.target is None else -rule.target
    return msgspec.structs.replace(rule, target=turned, schedule=schedules, **_moves(rule, target))


def mirrored(token: Token) -> Token:
    """Returns the linear token on y = 1/p that a coin-settled token is; its lots are in notional."""
    leg = token.legs[0]
    linear = Perpetual(
        symbol=leg.symbol, lot=leg.lot, multiplier=leg.multiplier, tick=leg.tick, margin_tiers=leg.margin_tiers
    )
    return msgspec.structs.replace(
        token, target=-token.target, rule=mirrored_rule(token.resolved_rule, token.target), legs=(linear,)
    )
