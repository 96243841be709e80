"""The issuer takes the fees that a token owes it, and its own account is credited in the same transaction."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import UNSET

from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.dealing import Worth, bearing, worth
from gearing.core.events import FeesHow
from gearing.core.holder import Collected, HolderState
from gearing.core.holder_step import HolderError, holder_step
from gearing.core.money import as_text
from gearing.core.step_flows import why_not_dealt
from gearing.drive.caps import supply_room
from gearing.drive.driver import Driver
from gearing.drive.running import Running
from gearing.drive.settling import why_dealing_waits


class Taken(NamedTuple):
    """What was taken: money, minor units; and the units that were created or burned for it."""

    amount: int
    units: int


def take_fees(
    driver: Driver, running: Running, amount: int, how: FeesHow, by: str, reason: str, now_ms: int
) -> Taken | str:  # fmt: skip
    """Takes fees; returns what was taken, or why nothing was.

    For units the day's fee up to now is charged first, and they are created or burned at the NAV of now: rounded
    down where the issuer is given units, up where it gives them.

    Args:
        driver: that runs the token.
        running: the token.
        amount: minor units; 0: all that is owed.
        how: in money, in new units, or for units of the issuer's own, which are burned.
        by, reason: who takes them, and why.
        now_ms: the time.
    """
    accrued: tuple[float, ...] = ()
    waits = why_dealing_waits(driver, running, now_ms)
    if waits:
        return waits
    if how != "cash":
        prices = driver.market.prices(running.symbols)
        why = why_not_dealt(running.state, "redeem") or ("its book trades" if running.book.state.live else "")
        if why:
            return why
        if prices is None or not driver.market.is_good(running.symbols, now_ms):
            return "it has no good price now"
        now_ms = prices.time_ms
        driver.publish(running, "dealing", now_ms, prices.marks, accrues=True)
        accrued = tuple(
            driver.market.accrued_rate(symbol, leg.funded_ms, now_ms)
            for symbol, leg in zip(running.symbols, running.state.legs, strict=True)
        )
    elif running.state.dealing is not UNSET:
        return "a flow is being hedged"
    owed = -running.state.balances.fees
    amount = amount or max(owed, 0)
    if amount == 0:
        return "it owes nothing"
    if not 0 < amount <= owed:
        return f"it owes {as_text(max(owed, 0), grouped=True)}, not {as_text(amount, grouped=True)}"
    lent = -min(driver.primary.quotes.stands(running), 0)
    found = _units(running, amount, how, accrued, lent)
    if isinstance(found, str):
        return found
    return _booked(driver, running, Taken(amount, found), how, accrued, by, reason, now_ms)


def fees_worth(price: Worth, amount: int, how: FeesHow) -> int:
    """Returns the units that fees stand for, rounded down where the issuer is given them, up where it gives them."""
    if how == "units":
        return price.units_for(amount)
    return -(-amount * price.units // price.equity) if how == "burn" else 0


def _units(running: Running, amount: int, how: FeesHow, accrued: tuple[float, ...], lent: int) -> int | str:
    """Returns the units to be created or burned, or why they cannot be; those that were lent must be left."""
    state = running.state
    if how == "cash":
        return 0
    if state.status != "open" or state.equity <= 0 or not state.balances.units:
        return f"it is {state.status}, and has no NAV that units could be counted at"
    price = worth(running.spec, state, accrued, "subscribe" if how == "units" else "redeem")
    if price.equity <= 0:
        return "its units are worth nothing"
    units = fees_worth(price, amount, how)
    if units == 0:
        return f"{as_text(amount)} is less than the smallest part of a unit costs"
    if how == "burn" and units >= state.balances.units - lent:
        return "too few units would be left" if lent else "no unit would be left"
    room = supply_room(running)
    if how == "units" and room is not None and units > room:
        return (f"the supply cap leaves {as_text(room, grouped=True)} units, and {as_text(units, grouped=True)} would "
                f"be created; take less, or take it in cash")  # fmt: skip
    return units


def _booked(
    driver: Driver, running: Running, taken: Taken, how: FeesHow, accrued: tuple[float, ...], by: str, reason: str,
    now_ms: int,
) -> Taken | str:  # fmt: skip
    primary, asset = driver.primary, running.spec.token.settlement
    issuer = primary.holders[ho.ISSUER].state if ho.ISSUER in primary.holders else HolderState()
    if how == "burn" and issuer.units(running.name) < taken.units:
        return (f"the issuer has {as_text(issuer.units(running.name), grouped=True)} units free, and would give "
                f"{as_text(taken.units, grouped=True)}")  # fmt: skip

    def collected() -> Collected:
        return Collected(time_ms=now_ms, token=running.name, how=how, units=taken.units, asset=asset,
                         cash=taken.amount, bearing=bearing(running.spec, running.state))  # fmt: skip

    try:
        holder_step(issuer, collected())  # before the token is touched
    except HolderError as error:
        return str(error)
    driver.apply(running, ev.FeesTaken(time_ms=now_ms, amount=taken.amount, how=how, units=taken.units,
                                       accrued=accrued, by=by, reason=reason))  # fmt: skip
    primary.post(ho.ISSUER, collected())
    primary.check_supply(running, now_ms)
    driver.arm(running)
    return taken
