"""The moves of the price at which a rule acts."""

from __future__ import annotations

import math
from typing import Literal

from gearing.core.record import Record
from gearing.core.rule import Condition, Rule

When = Literal["at once", "on schedule"]


class BarrierMove(Record, frozen=True, kw_only=True):
    """A move of the price, from target, at which a rule acts.

    Args:
        trigger: the rule's field that acts, or "wipe-out".
        when: "at once"; "on schedule" (only if it holds at the scheduled time); "the end".
        leverage: real leverage after the move, signed; infinite at the wipe-out.
        move: the move of the price since it was at target, a fraction.
        trades: False if the rule's side forbids the trade because it would add to the position.
    """

    trigger: str
    when: Literal["at once", "on schedule", "the end"] = "at once"
    leverage: float
    move: float
    trades: bool = True


def leverage_after(target: float, move: float, *, in_coin: bool = False) -> float | None:
    """Returns real leverage after a move from target, or None where nothing is left.

    Args:
        target: signed target leverage β.
        move: of the price, a fraction.
        in_coin: whether NAV is counted in the coin itself.

    Source: formula 1, ℓ(r) = β(1+r)/(1+βr). In coin it is that of −β on 1/p: ℓ(r) = β/(1+(1+β)r).
    """
    if in_coin:
        left = 1 + (1 + target) * move
        return target / left if left > 1e-12 and move > -1 else None
    left = 1 + target * move
    return target * (1 + move) / left if left > 1e-12 and move > -1 else None


def move_to(level: float, target: float, *, in_coin: bool = False) -> float | None:
    """Returns the move from target that brings real leverage to a level, or None if none does.

    Args:
        level: signed leverage L.
        target: signed target leverage β.
        in_coin: whether NAV is counted in the coin itself.

    Source: formula 2, r* = (L − β)/(β(1 − L)). A plain holding (β = 1) keeps its leverage for ever, one
    below 1 never rises above 1, one above 1 never falls to it. In coin r* = (β/L − 1)/(1 + β), and it is −1 that
    keeps its leverage.
    """
    if in_coin:
        move = math.inf if target == -1 else (target / level - 1) / (1 + target)
        return move if -1 < move < math.inf else None
    if level == 1 or target == 1:
        return None
    move = (level - target) / (target * (1 - level))
    return move if move > -1 and 1 + target * move > 0 else None


def barrier_moves(rule: Rule, target: float, *, in_coin: bool = False) -> list[BarrierMove]:
    """Returns the moves of the price from target at which a rule acts, and the one that ends the token.

    Args:
        rule: a rule that serves this target.
        target: signed target leverage β.
        in_coin: whether NAV is counted in the coin itself.

    Source: formulas 1 and 2; the wipe-out is at r = −1/β, in coin at −1/(1 + β). Barriers that no price reaches are
    left out.
    """
    moves = _barriers(rule, rule, target, "at once", in_coin=in_coin)
    if rule.ripcord is not None:
        moves += _at_level("ripcord", rule.ripcord, rule, target, "at once", side="reduce", in_coin=in_coin)
    for schedule in rule.schedule:
        if schedule.only_if is not None:
            moves += _barriers(schedule.only_if, rule, target, "on schedule", side=schedule.side, in_coin=in_coin)
    size = target + 1 if in_coin else target
    if size and -1 / size > -1:
        zero = math.copysign(math.inf, target)
        moves.append(BarrierMove(trigger="wipe-out", when="the end", leverage=zero, move=-1 / size))
    return moves


def _barriers(
    triggers: Rule | Condition, rule: Rule, target: float, when: When, *, in_coin: bool, side: str | None = None
) -> list[BarrierMove]:
    side = side or rule.side
    found: list[BarrierMove] = []
    levels: list[tuple[str, float | None]] = [
        ("band_upper", triggers.band_upper),
        ("band_lower", triggers.band_lower),
    ]
    if triggers.deviation is not None:
        levels += [("deviation", abs(target) * (1 + sign * triggers.deviation)) for sign in (1, -1)]
    for name, level in levels:
        if level is not None:
            found += _at_level(name, level, rule, target, when, side=side, in_coin=in_coin)
    against = -1 if target > 0 else 1
    for name, size, sign in (
        ("move_against", triggers.move_against, against),
        ("move_favour", triggers.move_favour, -against),
    ):
        reached = None if size is None else leverage_after(target, sign * size, in_coin=in_coin)
        if size is not None and reached is not None:
            found.append(_barrier(name, reached, sign * size, rule, target, when, side))
    return found


def _at_level(
    name: str, size: float, rule: Rule, target: float, when: When, *, side: str, in_coin: bool
) -> list[BarrierMove]:
    level = math.copysign(size, target)
    move = move_to(level, target, in_coin=in_coin) if size > 0 else None
    return [] if move is None else [_barrier(name, level, move, rule, target, when, side)]


def _barrier(name: str, level: float, move: float, rule: Rule, target: float, when: When, side: str) -> BarrierMove:
    # A trade towards a smaller |ℓ| lowers the position, whatever the sign of the target. Among the aims
    # only the fixed level may lie on the other side of real leverage than the target does.
    aim = rule.reentry_level if rule.aim == "reentry" and rule.reentry_level is not None else abs(target)
    trades = side == "both" or aim < abs(level)
    return BarrierMove(trigger=name, when=when, leverage=level, move=move, trades=trades)
