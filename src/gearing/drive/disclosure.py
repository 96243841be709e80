"""What the public may know of a token, by the disclosure of its specification. Pure.

NAV, units, status and the marks are always public; what was done is, once it is done. Of what comes next, "full" tells
all, "prices" where the rule would trade and on which side, "after" nothing. What is withheld is left out of the record;
it is not hidden: NAV moves with the position, so whoever sees two NAVs and two prices can work the position out.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gearing.core.measured import Measured
from gearing.core.money import to_float
from gearing.core.terms import Spec
from gearing.core.token import Disclosure
from gearing.drive.outlook import Barrier, LegOutlook, Outlook

# Clocks that say nothing of a rebalance that runs.
_CLOCKS = frozenset({"schedule", "interval", "fee"})


class PublicTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """A price beyond which the rule rebalances.

    Args:
        price: of the leg.
        move: from the mark, a fraction.
        side: what it does there with the leg, "buy" or "sell".
    """

    price: float
    move: float
    side: str


class PublicLeg(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One leg; what is None is withheld, or there is none.

    Args:
        symbol, mark: which, and its price.
        below, above: its triggers.
        lots, notional: the position.
    """

    symbol: str
    mark: float
    below: PublicTrigger | None = None
    above: PublicTrigger | None = None
    lots: int | None = None
    notional: float | None = None


class PublicRebalance(msgspec.Struct, frozen=True, kw_only=True):
    """A rebalance that is done.

    Args:
        reason, side: why, and what it did with the first leg that it traded.
        started_ms, ended_ms: when.
        traded: in settlement currency.
        before, after: real leverage.
        exposure: after it, signed, in settlement currency; None: it was not measured.
    """

    reason: str
    side: str
    started_ms: int
    ended_ms: int
    traded: float
    before: float
    after: float
    exposure: float | None


class PublicView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token as the public may see it; what is None is withheld, or there is none.

    Args:
        token, name, status, target, settlement: which; "status" says whether it trades.
        disclosure: by which this view was made.
        nav, units: per unit in settlement currency, and outstanding.
        legs: what it holds.
        last: the last rebalance that is done.
        due_ms, due: the next clock by the specification, and which it is.
        side: what a rebalance would do with its first leg now.
        leverage, exposure: now.
        aim, traded: of the rebalance it would make now: to which leverage, and how much, in settlement currency.
    """

    token: str
    name: str
    status: str
    target: float
    settlement: str
    disclosure: Disclosure
    nav: float
    units: float
    legs: tuple[PublicLeg, ...]
    last: PublicRebalance | None = None
    due_ms: int | None = None
    due: str | None = None
    side: Literal["buy", "sell", "nothing"] | None = None
    leverage: float | None = None
    exposure: float | None = None
    aim: float | None = None
    traded: float | None = None


def disclosed(seen: Outlook, spec: Spec, last: Measured | None = None) -> PublicView:
    """Returns what the public may know of a token.

    Args:
        seen: how it stands.
        spec: the token; its disclosure decides.
        last: its last rebalance that is done; one that still runs is not told of.
    """
    token = spec.token
    mode, forecast = token.disclosure, seen.forecast
    view = PublicView(
        token=seen.token, name=token.name, status=seen.status, target=seen.target, settlement=token.settlement,
        disclosure=mode, nav=seen.nav, units=seen.units, legs=tuple(_leg(leg, mode) for leg in seen.legs),
        last=None if last is None or last.is_open else _done(last),
    )  # fmt: skip
    if mode == "after":
        return view
    if seen.due_ms is not None and seen.due in _CLOCKS:
        view = msgspec.structs.replace(view, due_ms=seen.due_ms, due=seen.due)
    if forecast is not None:
        view = msgspec.structs.replace(view, side=forecast.side)
    if mode == "prices":
        return view
    view = msgspec.structs.replace(view, leverage=seen.leverage, exposure=seen.exposure)
    if forecast is not None:
        view = msgspec.structs.replace(view, aim=forecast.aim, traded=forecast.traded)
    return view


def _leg(leg: LegOutlook, mode: Disclosure) -> PublicLeg:
    if mode == "after":
        return PublicLeg(symbol=leg.symbol, mark=leg.mark)
    found = PublicLeg(symbol=leg.symbol, mark=leg.mark, below=_trigger(leg.below), above=_trigger(leg.above))
    if mode == "prices":
        return found
    return msgspec.structs.replace(found, lots=leg.lots, notional=leg.notional)


def _trigger(barrier: Barrier | None) -> PublicTrigger | None:
    """Returns a barrier at which the rule trades; where equity ends or the venue liquidates tells the position."""
    if barrier is None or not barrier.side:
        return None
    return PublicTrigger(price=barrier.price, move=barrier.move, side=barrier.side)


def _done(last: Measured) -> PublicRebalance:
    return PublicRebalance(
        reason=last.reason, side=last.side, started_ms=last.started_ms, ended_ms=last.ended_ms,
        traded=to_float(last.traded), before=last.before, after=last.after, exposure=last.exposure,
    )  # fmt: skip
