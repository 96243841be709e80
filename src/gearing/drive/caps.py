"""What a request must pass before it is accepted: the token's life, its caps, its exposure and its margin.

A refusal says which cap, what is left of it, and when it begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import UNSET

from gearing.core import netting
from gearing.core.dealing import Side, Worth, hedge_lots, worth
from gearing.core.flow_result import fits
from gearing.core.holder import DEALER, Day, HolderState, Request
from gearing.core.measured import exposure_of
from gearing.core.money import MINOR, as_decimal, as_text, to_float
from gearing.core.netting import Ask, Rates
from gearing.core.record import DAY_MS
from gearing.drive.limits import maintenance
from gearing.drive.running import Running
from gearing.drive.undo import Restorable

_ALL = "of all holders"
# What is accepted must still be countable after the NAV has fallen, or risen, by this factor.
HEADROOM = 8


class Room(NamedTuple):
    """What a request takes up, and what others do that were there before it.

    Args:
        side: subscribe or redeem.
        amount: money with its fee, minor units; or units.
        money: what the request is worth, minor units.
        waits: what the requests of its side are worth that wait already.
        lent: what the units are worth that the dealing account is short of.
        counted: what of the requests that wait counts against the caps of today.
    """

    side: Side
    amount: int
    money: int
    waits: int
    lent: int
    counted: int


class Asked(Restorable):
    """What all holders together asked of a token on the last day that anything was asked.

    And when a request of each side was last rejected for want of room that requests took up which wait.
    """

    __slots__ = ("day", "full")

    def __init__(self) -> None:
        self.day = Day(0)
        self.full: dict[Side, int] = {}

    def note_full(self, now_ms: int, side: Side) -> None:
        """Notes that a request was rejected for want of room that requests take up which wait."""
        self.full = {**self.full, side: now_ms}

    def full_ms(self, side: Side) -> int:
        """Returns when a request was last rejected for want of such room; 0: none was."""
        return self.full.get(side, 0)

    def count(self, now_ms: int, side: Side, money: int) -> None:
        """Counts a request."""
        self.day = self.day.with_asked(now_ms // DAY_MS, side, money)

    def returned(self, request: Request) -> None:
        """Gives back what a request that was not dealt counted, if that was on the same day."""
        if request.money is not UNSET and self.day.day == request.accepted_ms // DAY_MS:
            self.day = self.day.with_asked(self.day.day, request.side, -request.money)

    def add(self, day: Day) -> None:
        """Adds what one holder asked on its last day."""
        if day.day > self.day.day:
            self.day = day
        elif day.day == self.day.day:
            self.day = Day(day.day, self.day.subscribed + day.subscribed, self.day.redeemed + day.redeemed)

    def so_far(self, now_ms: int, side: Side) -> int:
        """Returns what was asked today, minor units."""
        return of_day(self.day, now_ms, side)


def of_day(day: Day | None, now_ms: int, side: Side) -> int:
    """Returns what was asked on the day of now, minor units."""
    if day is None or day.day != now_ms // DAY_MS:
        return 0
    return day.subscribed if side == "subscribe" else day.redeemed


def why_refused(
    running: Running, holder: HolderState, asked: Asked, wanted: Room, now_ms: int, *, good: bool
) -> str:  # fmt: skip
    """Returns why a request is refused; empty: it is accepted.

    If it would be accepted were it not for requests that wait, that is noted in `asked`.

    Args:
        running: the token.
        holder: who asks.
        asked: by all holders today.
        wanted: what it takes up.
        now_ms: the time.
        good: whether the token's prices may be acted on.
    """
    state, name, terms = running.state, running.name, running.spec.token.primary
    side, _, money, waits, lent, _ = wanted
    if state.status == "wiped":
        return f"{name} was wiped out; its units are worth nothing"
    if side == "redeem":
        if state.status == "closed":  # whoever is left in a closed token is paid out, whatever the day
            return ""
        small = _worthless(running, money) or _too_small(running, holder, wanted, now_ms)
        return small or _beyond(running, holder, asked, wanted, now_ms)
    if state.status != "open":
        return f"{name} is {state.status}, and creates no units"
    if state.paused is True:
        return f"creations of {name} are paused"
    if running.book.state.halted:
        return f"the book of {name} is halted ({running.book.state.halted}), and creates no units"
    if not good:
        return f"{name} has no good price now, and creates no units without one"
    asset = running.spec.token.settlement
    if to_float(money) < terms.least:
        return f"the least subscription of {name} is {terms.least:,.2f} {asset}"
    why = _beyond(running, holder, asked, wanted, now_ms)
    if not why:
        why = _too_big(running, money + waits + lent)
        if why and not _too_big(running, money + lent):
            asked.note_full(now_ms, side)
    return why


def _worthless(running: Running, money: int) -> str:
    """Returns that a redemption would pay nothing; empty: it pays something."""
    fees, asset = running.spec.token.fees, running.spec.token.settlement
    if money > Rates(fees.creation, fees.redemption).fee_on(money):
        return ""
    return (f"at the last NAV of {running.name} these units are worth {as_text(money)} {asset}, which leaves nothing "
            f"after the redemption fee; redeem more of them")  # fmt: skip


def least_redemption(running: Running) -> float:
    """Returns what the least redemption is worth, in settlement currency: by the terms, or what half a lot hedges."""
    least, state = running.spec.token.primary.least_redemption, running.state
    lots = max((abs(leg.lots) for leg in state.legs), default=0)
    if least is not None:
        return least
    return max(to_float(state.equity), 0.0) / (2 * lots) if lots else 0.0


def _too_small(running: Running, holder: HolderState, wanted: Room, now_ms: int) -> str:
    """Returns that a redemption is too small; empty: it is not, or it is all that a holder has, for the first time
    today.
    """
    name, least = running.name, least_redemption(running)
    is_first = not of_day(holder.asked.get(name), now_ms, "redeem")
    if to_float(wanted.money) >= least or (wanted.amount == holder.held_units(name) and is_first):
        return ""
    asset = running.spec.token.settlement
    this = as_text(wanted.money, grouped=True)
    return (f"the least redemption of {name} is {least:,.8g} {asset}, this is {this}; less is redeemed only as all "
            f"that a holder has, as its first redemption of a day")  # fmt: skip


def _beyond(running: Running, holder: HolderState, asked: Asked, wanted: Room, now_ms: int) -> str:
    terms, name, side, money = running.spec.token.primary, running.name, wanted.side, wanted.money
    asset = running.spec.token.settlement
    this, noun = as_text(money, grouped=True), "subscription" if side == "subscribe" else "redemption"
    if terms.largest is not None and money > _minor(terms.largest):
        return f"the largest {noun} of {name} is {terms.largest:,.2f} {asset}, this is {this}"
    caps = (
        (terms.holder_per_day, of_day(holder.asked.get(name), now_ms, side), "of one holder"),
        (terms.total_per_day, asked.so_far(now_ms, side), _ALL),
    )
    for cap, used, whose in caps:
        if cap is not None and used + money > _minor(cap):
            if whose == _ALL and used - wanted.counted + money <= _minor(cap):
                asked.note_full(now_ms, side)
            anew = datetime.fromtimestamp((now_ms // DAY_MS + 1) * 86_400, UTC)
            left = as_text(max(_minor(cap) - used, 0), grouped=True)
            return (f"{noun}s {whose} in {name} are capped at {cap:,.2f} {asset} a day: {left} is left, this is "
                    f"{this}; it begins anew at {anew:%Y-%m-%d %H:%M} UTC")  # fmt: skip
    return ""


def why_lacking(name: str, state: HolderState, running: Running, side: Side, amount: int, backs: int) -> str:
    """Returns what a holder lacks for a request; empty: nothing.

    Args:
        name, state: the holder.
        running: the token.
        side: subscribe or redeem.
        amount: money with its fee, minor units; or units.
        backs: what of the holder's free money or units is set aside for open quotes.
    """
    if amount <= 0:
        return f"the amount must be positive, not {as_text(amount)}"
    asset, aside = running.spec.token.settlement, ""
    if backs:
        aside = f", {as_text(backs, grouped=True)} of which back open quotes"
    if side == "subscribe" and state.cash(asset) - backs < amount:
        has, asks = as_text(state.cash(asset), grouped=True), as_text(amount, grouped=True)
        return f"{name} has {has} {asset} free{aside}, and asks to pay {asks}"
    if side == "redeem" and state.units(running.name) - backs < amount:
        has, asks = as_text(state.units(running.name), grouped=True), as_text(amount, grouped=True)
        return f"{name} has {has} units of {running.name} free{aside}, and asks to redeem {asks}"
    return ""


def supply_room(running: Running) -> int | None:
    """Returns the units that a token may still create by its supply cap, ≥ 0; None: it has no cap."""
    return netting.supply_room(running.spec, running.state)


def within_supply(running: Running, asks: Sequence[Ask], price: Worth, rates: Rates) -> list[Ask]:
    """Returns subscriptions with the part of their money that the supply cap lets in, 0 where that is nothing.

    NAV may have fallen since they were accepted, so that the same money buys more units. The dealing account comes
    first, since it has given out its units already; what is left is allotted to all others by their money (pro rata),
    since all are dealt at one price and time.

    Args:
        running: the token.
        asks: its subscriptions that would be hedged.
        price: of a unit, before the cost of the hedge.
        rates: of the issuer's fees.
    """
    room = supply_room(running)
    if room is None or price.units_for(sum(rates.money_of(ask) for ask in asks)) <= room:
        return list(asks)
    left = price.money_for(room)
    allotted: dict[str, int] = {}
    for group in ([ask for ask in asks if ask.holder == DEALER], [ask for ask in asks if ask.holder != DEALER]):
        money = [rates.money_of(ask) for ask in group]
        lets = min(left, sum(money))
        left -= lets
        for ask, one in zip(group, money, strict=True):
            allotted[ask.id] = ask.amount * lets // sum(money) if one else 0
    return [ask._replace(amount=allotted[ask.id]) for ask in asks]


def _minor(cap: float) -> int:
    """Returns a cap in minor units, rounded down; it may be more than the ledger holds."""
    return int(as_decimal(cap) * MINOR)


def _too_big(running: Running, money: int) -> str:
    """Returns why a token is not to grow by so much money: supply, hedge, exposure, or margin as they would be."""
    state, spec, name = running.state, running.spec, running.name
    units, equity = state.balances.units, to_float(state.equity)
    if units and equity <= 0:
        return ""
    limits, comes = spec.token.limits, worth(spec, state, (), "subscribe").units_for(money)
    if not fits(state, comes * HEADROOM, money * HEADROOM):
        return (f"{name} cannot count it: with what waits this is {as_text(comes, grouped=True)} units for "
                f"{as_text(money, grouped=True)}, and the ledger must hold {HEADROOM} times as many beside the "
                f"{as_text(units, grouped=True)} that there are, in case the price moves")  # fmt: skip
    if limits.supply_cap is not None and units + comes > _minor(limits.supply_cap):
        rest = as_text(max(_minor(limits.supply_cap) - units, 0), grouped=True)
        return (f"the supply of {name} is capped at {limits.supply_cap:,.2f} units: {rest} are left, with what waits "
                f"this is {as_text(comes, grouped=True)}")  # fmt: skip
    hedge = hedge_lots(spec, state, "subscribe", money, comes)
    sizes = [n * float(leg.lot) * leg.mark for n, leg in zip(hedge, state.legs, strict=True)]
    largest = max(map(abs, sizes), default=0.0)
    if limits.largest_order is not None and largest > limits.largest_order:
        most = to_float(money) * limits.largest_order / largest
        return (f"the largest order of {name} is {limits.largest_order:,.0f}, with what waits the hedge of this is "
                f"{largest:,.0f}: at most {most:,.2f} {spec.token.settlement} may wait")  # fmt: skip
    held, grows = exposure_of(state), sum(sizes)
    if limits.largest_exposure is not None and abs(held + grows) > limits.largest_exposure:
        left = max(limits.largest_exposure - abs(held), 0.0)
        return (f"the exposure of {name} is capped at {limits.largest_exposure:,.0f}: {left:,.0f} is left, "
                f"with what waits this is {abs(grows):,.0f}")  # fmt: skip
    margin = maintenance(spec, state, [leg.lots + n for n, leg in zip(hedge, state.legs, strict=True)])
    if margin >= equity + to_float(money):
        return f"the margin of {name} would not carry it: {margin:,.0f} of {equity + to_float(money):,.0f}"
    return ""
