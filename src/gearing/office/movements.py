"""A holder's statement: everything that changed what it has, in order, with what it had after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gearing.core.holder import (
    OWN,
    Collected,
    Dealt,
    Deposited,
    Exchanged,
    Granted,
    Handed,
    HolderEvent,
    Merged,
    Request,
    Requested,
    Withdrawn,
)
from gearing.core.money import MINOR
from gearing.office.cut import Cut
from gearing.office.table import Kind, Table
from gearing.store.records import holder_line_of

COLUMNS: dict[str, Kind] = {
    "time": "time", "holder": "text", "line": "whole", "what": "text", "token": "text", "units": "amount",
    "currency": "text", "cash": "amount", "fee": "amount", "value": "amount", "nav": "amount", "units_after": "amount",
    "cash_after": "amount", "request": "text", "how": "text", "other": "text", "reference": "text", "by": "text",
}  # fmt: skip


def statements(cut: Cut, holders: Iterable[str]) -> Table:
    """Returns the movements of the period, holder by holder.

    `units` and `cash` are what the holder's own grew by, free and set aside together; `value` is the money that units
    counted as: paid or paid out for them, or their NAV where they were handed on.

    Args:
        cut: the journals.
        holders: whose.
    """
    return Table(COLUMNS, [row for holder in holders for row in _rows(cut, holder)])


def _rows(cut: Cut, holder: str) -> Iterator[tuple[object, ...]]:
    stream = f"holder:{holder}"
    first, requests, own = cut.bounds(stream).first, dict[str, Request](), dict[str, int]()
    for seq, line in cut.lines(stream, holder_line_of):
        grew: dict[str, int] = {}
        for posting in line.entry:
            asset, _, where = posting.account.rpartition(":")
            if where in OWN:
                grew[asset] = grew.get(asset, 0) + posting.amount
                own[asset] = own.get(asset, 0) + posting.amount
        event = line.event
        if isinstance(event, Requested):
            requests[event.request.id] = event.request
        told = _told(event, requests)
        if seq < first or told is None:
            continue
        what, token, currency = told["what"], told.get("token"), told.get("currency")
        units, cash = f"units:{token}", f"cash:{currency}"
        yield (
            line.time_ms, holder, seq, what, token, grew.get(units, 0) if token else None, currency,
            grew.get(cash, 0) if currency else None, told.get("fee"), told.get("value"), told.get("nav"),
            own.get(units, 0) if token else None, own.get(cash, 0) if currency else None,
            *(told.get(name) for name in ("request", "how", "other", "reference", "by")),
        )  # fmt: skip


def _told(event: HolderEvent, requests: dict[str, Request]) -> dict[str, object] | None:
    """Returns what a statement says of an event; None: it moved nothing from or to the holder."""
    match event:
        case Deposited() | Withdrawn():
            what = "deposit" if isinstance(event, Deposited) else "withdrawal"
            return {"what": what, "currency": event.asset, "reference": event.reference, "by": event.by}
        case Granted():
            return {"what": "grant", "token": event.token, "currency": event.asset, "value": event.cash,
                    "nav": event.bearing.nav}  # fmt: skip
        case Collected():
            return {"what": "fees", "token": event.token, "currency": event.asset, "value": event.cash,
                    "nav": event.bearing.nav, "how": event.how}  # fmt: skip
        case Dealt():
            request = requests[event.id]
            what = "subscription" if request.side == "subscribe" else "redemption"
            return {"what": what, "token": request.token, "currency": request.asset, "fee": event.fee,
                    "value": event.cash, "nav": event.bearing.nav, "request": event.id,
                    "how": event.kind}  # fmt: skip
        case Handed():
            told: dict[str, object] = {"what": "transfer", "token": event.token or None,
                                       "currency": event.asset or None, "other": event.other,
                                       "reference": event.reference}  # fmt: skip
            if event.bearing is not None:
                told |= {"nav": event.bearing.nav, "value": abs(event.units) * event.bearing.nav // MINOR}
            return told
        case Exchanged():
            what = "subscription" if event.units > 0 else "redemption"
            return {"what": what, "token": event.token, "currency": event.asset, "fee": event.fee,
                    "value": abs(event.cash), "nav": event.bearing.nav, "request": event.id or None, "how": "instant",
                    "other": event.other}  # fmt: skip
        case Merged():
            return {"what": "merger", "token": event.token, "currency": event.asset, "value": event.cash}
        case _:
            return None
