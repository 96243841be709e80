"""What a person wants to hear of: read off the lines that became durable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core.dealing import DEALING
from gearing.core.holder import DEALER, Exchanged
from gearing.core.journal import line_of
from gearing.core.measured import Measured
from gearing.core.money import to_float
from gearing.core.rolling import ROLL
from gearing.drive.effects import Effects
from gearing.drive.reconciling import words_of
from gearing.store.records import Written, book_line_of, holder_line_of

Level = Literal["info", "warning"]

# These come by the thousand and say nothing that a figure does not.
_QUIET = (b'"event":"nav_struck"', b'"event":"marked"', b'"event":"filled"', b'"event":"traded"', b'"event":"seeded"')
_DEALER, _EXCHANGED = f"holder:{DEALER}", b'"event":"exchanged"'


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened.

    Args:
        time_ms: of the market.
        level: a warning is for a person to read.
        kind: the event's name, or rebalance, or alarm.
        token, book: whose; empty: not of one.
        words: what.
    """

    time_ms: int
    level: Level
    kind: str
    token: str = ""
    book: str = ""
    words: str


class Differing:
    """How the books that are halted differ from their venues: each reconciliation finds it, and it is told once."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def is_news(self, one: Happening) -> bool:
        """Returns whether a happening is more than a difference that was told already; a resumed book begins anew."""
        if one.kind == "book_resumed":
            self._told.pop(one.book, None)
        if one.kind != "reconciled":
            return True
        before, self._told[one.book] = self._told.get(one.book), one.words
        return before != one.words


def happenings(effects: Effects) -> list[Happening]:
    """Returns what happened, from lines that are durable."""
    found = []
    for line in effects.lines:
        if any(mark in line.body for mark in _QUIET):
            continue
        read = _READ.get(line.stream.partition(":")[0])
        one = read(line) if read is not None else None
        if one is not None:
            found.append(one)
    found += [_rebalanced(one) for one in effects.rebalances.values() if not one.is_open]
    return found


def exchanged_of(line: Written) -> Exchanged | None:
    """Returns what was dealt at once, from the dealing account's line of it; None: it is no such line."""
    if line.stream != _DEALER or _EXCHANGED not in line.body:
        return None
    event = holder_line_of(line.body).event
    return event if isinstance(event, Exchanged) else None


def alarm(words: str, time_ms: int, tokens: frozenset[str], books: frozenset[str]) -> Happening:
    """Returns an alarm, with the token or book that its first word names."""
    name, colon, rest = words.partition(": ")
    if colon and name in tokens:
        return Happening(time_ms=time_ms, level="warning", kind="alarm", token=name, words=rest)
    if colon and name in books:
        return Happening(time_ms=time_ms, level="warning", kind="alarm", book=name, words=rest)
    return Happening(time_ms=time_ms, level="warning", kind="alarm", words=words)


def _of_token(line: Written) -> Happening | None:
    event = line_of(line.body).event
    level: Level = "info"
    match event:
        case ev.Launched():
            words = f"launched at {event.token.initial_nav:g} {event.token.settlement}"
        case ev.FundingSettled():
            words = f"funding of {to_float(event.amount):+,.2f} at {event.rate:+.4%}"
        case ev.OrderEnded() if event.outcome != "filled":
            level, words = "warning", f"an order ended {event.outcome}{f': {event.words}' if event.words else ''}"
        case ev.Liquidated():
            kind = "deleveraged" if event.deleveraged else "liquidated"
            level, words = "warning", f"{kind}: {event.lots} lots at {event.price:,g}"
        case ev.Operated():
            level = "info" if event.action in {"resume", "rebalance"} else "warning"
            words = f"{event.action} by {event.by}: {event.reason}"
        case ev.FlowMatched():
            words = f"{to_float(event.units):,.4f} units changed hands for {to_float(event.cash):,.2f}"
        case ev.DealingSettled() if event.units:
            words = f"dealt {to_float(event.units):,.4f} units for {to_float(event.cash):,.2f}"
        case ev.DealingSettled():
            level, words = "warning", "a flow could not be hedged, and was returned"
        case ev.Redeemed():
            words = f"{to_float(event.units):,.4f} units were paid out with {to_float(event.cash):,.2f}"
        case ev.Consolidated():
            words = f"units merged by {event.factor:g} by {event.by}: {event.reason}"
        case ev.FeesTaken():
            words = f"fees of {to_float(event.amount):,.2f} taken ({event.how}) by {event.by}: {event.reason}"
        case ev.SpecificationChanged():
            words = f"specification changed by {event.by}: {event.reason}"
        case _:
            return None
    tag = str(type(event).__struct_config__.tag)
    return Happening(time_ms=event.time_ms, level=level, kind=tag, token=line.stream.partition(":")[2], words=words)


def _of_dealer(line: Written) -> Happening | None:
    event = exchanged_of(line)
    if event is None:
        return None
    did = "subscribed at once" if event.units < 0 else "redeemed at once"  # the dealing account is the other side
    words = f"{event.other} {did}: {to_float(abs(event.units)):,.4f} units for {to_float(abs(event.cash)):,.2f}"
    return Happening(time_ms=event.time_ms, level="info", kind="exchanged", token=event.token, words=words)


def _of_book(line: Written) -> Happening | None:
    event = book_line_of(line.body).event
    level: Level = "info"
    match event:
        case bk.OrderPlaced(order=order):
            words = f"order {order.id}: {order.lots:+,} lots of {order.symbol} for {_names(order.shares)}"
        case bk.Crossed():
            lots = sum(abs(part.lots) for part in event.parts) // 2
            words = f"{_names(event.parts)} cross {lots:,} lots of {event.symbol} at {event.price:g}"
        case bk.Reconciled() if event.differences:
            level, words = "warning", words_of(event.differences)
        case bk.DifferencesAdopted():
            level, words = "warning", f"adopted by {event.by}: {words_of(event.differences)} ({event.reason})"
        case bk.BookHalted():
            level, words = "warning", f"book halted by {event.by}: {event.reason}"
        case bk.BookResumed():
            words = f"book resumed by {event.by}: {event.reason}"
        case bk.BookOpened():
            words = "book opened"
        case bk.ShareBooked(id=request):
            words = f"what request {request} was dealt is booked for its holder now"
        case _:
            return None
    tag = str(type(event).__struct_config__.tag)
    return Happening(time_ms=event.time_ms, level=level, kind=tag, book=line.stream.partition(":")[2], words=words)


def _names(shares: Sequence[bk.Share]) -> str:
    return " and ".join(dict.fromkeys(share.purpose.token for share in shares))


# Of a holder nothing is told: what is dealt for all of them together is.
_READ = {"token": _of_token, "book": _of_book, "holder": _of_dealer}
_DONE = {ROLL: "rolled", DEALING: "hedged a flow"}


def _rebalanced(one: Measured) -> Happening:
    did = _DONE.get(one.reason) or f"rebalanced ({one.reason})"
    if one.fills == 0:
        return Happening(time_ms=one.ended_ms, level="info", kind="rebalance", token=one.token,
                         words=f"nothing was traded ({one.reason}); it stays at {one.after:+.3f}")  # fmt: skip
    words = (
        f"{did}: {one.before:+.3f} → {one.after:+.3f}, traded {to_float(one.traded):,.0f}, "
        f"cost {to_float(one.cost):,.2f} ({one.cost_rate:.3%})"
    )
    return Happening(time_ms=one.ended_ms, level="info", kind="rebalance", token=one.token, words=words)
