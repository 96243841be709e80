"""A holder's lots: what was bought together, what became of it, and why, to the last minor unit.

Units are given up first in, first out. What a lot made is split into the token's parts of attribution per unit, from
where the token stood when the units came to where it stands, and into what coming and going cost: the fee and the
flow's own hedge. The parts of a lot sum to its profit exactly; what rounding leaves is in the largest of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gearing.core.attribution import PARTS
from gearing.core.holder import (
    Bearing,
    Collected,
    Dealt,
    Exchanged,
    Granted,
    Handed,
    HolderEvent,
    Merged,
    Requested,
)
from gearing.core.money import FLOOR, MINOR, apportioned, to_minor

ENTRY, EXIT = "entry", "exit"
LOT_PARTS = (*PARTS, ENTRY, EXIT)


class Lot(NamedTuple):
    """Units that were bought together and are still held.

    Args:
        units: in 1e-8 of a unit.
        cost: what was paid for them, fee included, minor units.
        time_ms: when.
        bearing: where the token stood.
    """

    units: int
    cost: int
    time_ms: int
    bearing: Bearing


class Sold(NamedTuple):
    """Units that were given up, all of one lot.

    Args:
        lot: so much of the lot as was given up.
        proceeds: paid out for them, minor units; units that were handed on count with their NAV.
        time_ms: when.
        bearing: where the token stood then.
    """

    lot: Lot
    proceeds: int
    time_ms: int
    bearing: Bearing

    @property
    def profit(self) -> int:
        """Minor units."""
        return self.proceeds - self.lot.cost


class Holding(NamedTuple):
    """What a holder has of a token, and had."""

    lots: tuple[Lot, ...] = ()
    sold: tuple[Sold, ...] = ()


def holding_of(events: Iterable[HolderEvent], token: str) -> Holding:
    """Returns a holder's lots of a token after these events, which are all that ever happened to the holder."""
    lots: list[Lot] = []
    sold: list[Sold] = []
    sides: dict[str, str] = {}
    for event in events:
        match event:
            case Requested(request=request):
                sides[request.id] = request.side if request.token == token else ""
            case Dealt(units=0) if sides.get(event.id) == "subscribe":  # what a hedge that failed cost
                lost = Lot(0, event.cash, event.time_ms, event.bearing)
                sold.append(Sold(lot=lost, proceeds=0, time_ms=event.time_ms, bearing=event.bearing))
            case Dealt() if sides.get(event.id) == "subscribe":
                lots.append(Lot(event.units, event.cash, event.time_ms, event.bearing))
            case Dealt() if sides.get(event.id) == "redeem":
                sold += _given_up(lots, event.units, event.cash, event.time_ms, event.bearing)
            case Granted() if event.token == token:
                lots.append(Lot(event.units, event.cash, event.time_ms, event.bearing))
            case Exchanged() if event.token == token and event.units > 0:
                lots.append(Lot(event.units, -event.cash, event.time_ms, event.bearing))
            case Exchanged() if event.token == token:
                sold += _given_up(lots, -event.units, event.cash, event.time_ms, event.bearing)
            case Collected(how="units") if event.token == token:
                lots.append(Lot(event.units, event.cash, event.time_ms, event.bearing))
            case Collected(how="burn") if event.token == token:
                sold += _given_up(lots, event.units, event.cash, event.time_ms, event.bearing)
            case Handed() if event.token == token and event.bearing is not None:
                worth = abs(event.units) * event.bearing.nav // MINOR
                if event.units > 0:
                    lots.append(Lot(event.units, worth, event.time_ms, event.bearing))
                else:
                    sold += _given_up(lots, -event.units, worth, event.time_ms, event.bearing)
            case Merged() if event.token == token:
                lots = _merged(lots, event.units + event.held, event.cash)
            case _:
                pass
    return Holding(tuple(lots), tuple(sold))


def tokens_of(events: Iterable[HolderEvent]) -> list[str]:
    """Returns the tokens that a holder ever dealt in, in the order of it."""
    named = [event.request.token if isinstance(event, Requested) else event.token
             for event in events if isinstance(event, (Requested, Granted, Collected, Handed, Exchanged))]  # fmt: skip
    return [name for name in dict.fromkeys(named) if name]


def parts_of_lot(lot: Lot, now: Bearing) -> dict[str, int]:
    """Returns what a lot made up to now by each part, minor units; they sum to its worth less its cost."""
    worth = lot.units * now.nav // MINOR
    return _split(lot, now, {ENTRY: _worth(lot.units, lot.bearing) - lot.cost, EXIT: 0.0}, worth - lot.cost)


def parts_of_sold(sold: Sold) -> dict[str, int]:
    """Returns what units made by each part until they were given up; the parts sum to the profit."""
    lot = sold.lot
    costs = {
        ENTRY: _worth(lot.units, lot.bearing) - lot.cost,
        EXIT: sold.proceeds - _worth(lot.units, sold.bearing),
    }
    return _split(lot, sold.bearing, costs, sold.profit)


def break_even(lot: Lot, now: Bearing, exposure_per_unit: float) -> float | None:
    """Returns the level of the underlying at which a lot is worth what it cost; None: at none above zero.

    NAV is affine in the level until something is traded: NAV(p) = NAV + (p/p₀ − 1)·exposure.

    Args:
        lot: the lot.
        now: where the token stands, at level p₀.
        exposure_per_unit: signed, in the currency.
    """
    if exposure_per_unit == 0.0:
        return None
    lacks = lot.cost / lot.units - now.nav / MINOR
    level = now.level * (1.0 + lacks / exposure_per_unit)
    return level if level > 0.0 else None


def _worth(units: int, bearing: Bearing) -> float:
    return units * bearing.nav / MINOR


def _split(lot: Lot, now: Bearing, costs: dict[str, float], total: int) -> dict[str, int]:
    units = lot.units / MINOR
    raw = {
        part: (later - before) * units * MINOR
        for part, before, later in zip(PARTS, lot.bearing.parts, now.parts, strict=True)
    } | costs
    found = {part: to_minor(amount / MINOR, FLOOR) for part, amount in raw.items()}
    largest = max(found, key=lambda part: abs(found[part]))
    found[largest] += total - sum(found.values())
    return found


def _given_up(lots: list[Lot], units: int, proceeds: int, time_ms: int, bearing: Bearing) -> list[Sold]:
    """Takes units off the oldest lots; what was paid out for all of them is theirs by their units."""
    taken: list[Lot] = []
    while units and lots:
        lot = lots.pop(0)
        if lot.units > units:
            cost = lot.cost * units // lot.units
            lots.insert(0, lot._replace(units=lot.units - units, cost=lot.cost - cost))
            lot = lot._replace(units=units, cost=cost)
        taken.append(lot)
        units -= lot.units
    if not taken:
        return []
    shares = apportioned(proceeds, [lot.units for lot in taken])
    return [Sold(lot, share, time_ms, bearing) for lot, share in zip(taken, shares, strict=True)]


def _merged(lots: list[Lot], units: int, cash: int) -> list[Lot]:
    """Returns the lots after their units were merged; what was paid for the units cut off lowers what they cost."""
    before = sum(lot.units for lot in lots)
    if not before or not units:
        return []
    factor = before / units
    shares, paid = apportioned(units, [lot.units for lot in lots]), apportioned(cash, [lot.units for lot in lots])
    merged = []
    for lot, share, money in zip(lots, shares, paid, strict=True):
        stood = lot.bearing
        scaled = Bearing(nav=round(stood.nav * factor), level=stood.level,
                         parts=tuple(part * factor for part in stood.parts))  # fmt: skip
        if share:
            merged.append(Lot(share, lot.cost - money, lot.time_ms, scaled))
    return merged
