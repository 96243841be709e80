"""The step of a holder: what an event does to its accounts and requests, and what must hold after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from gearing.core.holder import (
    FREE,
    HELD,
    HOLDERS,
    OUTSIDE,
    SHORT,
    Collected,
    Day,
    Dealt,
    Deposited,
    Exchanged,
    Granted,
    Handed,
    HolderEvent,
    HolderState,
    Merged,
    Quoted,
    QuoteVoided,
    Released,
    Request,
    Requested,
    Side,
    Withdrawn,
    fees_account,
)
from gearing.core.ledger import Entry, Posting
from gearing.core.money import INT64_MAX, as_text
from gearing.core.record import DAY_MS

# What a holder or an operator asks for leaves room on every account for what is dealt without asking.
_ASKED, _ASKED_MAX = (Deposited, Withdrawn, Requested, Handed, Exchanged), INT64_MAX // 4
_HELD, _SHORT = f":{HELD}", f":{SHORT}"
_OWN = (f":{FREE}", _HELD)


class HolderError(Exception):
    """An event that cannot happen to this holder."""


class HolderStep(NamedTuple):
    """What one event did: the state after it, and the ledger entry."""

    state: HolderState
    entry: Entry


def holder_step(state: HolderState, event: HolderEvent) -> HolderStep:
    """Returns what an event does to a holder.

    Args:
        state: before it.
        event: what happened.

    Raises:
        HolderError: it cannot happen in this state.
    """
    change = _Change(state)
    _HANDLERS[type(event)](change, event)
    return change.finished(_ASKED_MAX if isinstance(event, _ASKED) else INT64_MAX)


class _Change:
    """One event's postings as they are made."""

    def __init__(self, state: HolderState) -> None:
        self.state, self.requests, self.accepted, self.asked = state, state.requests, state.accepted, state.asked
        self.open_quote, self.quoted = state.open_quote, state.quoted
        self.entry: list[Posting] = []

    def post(self, asset: str, amount: int, debit: str, credit: str) -> None:
        """Posts an amount of an asset, such as "cash:USDT", from one account of it to another."""
        if amount:
            self.entry += (Posting(f"{asset}:{debit}", amount), Posting(f"{asset}:{credit}", -amount))

    def cover(self, balances: dict[str, int]) -> None:
        """Makes good what was given out without being there, out of what is free now: nobody has both."""
        for account in [name for name in balances if name.endswith(_SHORT) and balances[name]]:
            asset = account.removesuffix(_SHORT)
            covered = min(balances.get(f"{asset}:{FREE}", 0), -balances[account])
            if covered > 0:
                self.post(asset, covered, SHORT, FREE)
                balances[account] += covered
                balances[f"{asset}:{FREE}"] -= covered

    def asks(self, token: str, side: Side, money: int, now_ms: int) -> None:
        """Counts what was asked against the day."""
        day = now_ms // DAY_MS
        before = self.asked.get(token) or Day(day)
        self.asked = {**self.asked, token: before.with_asked(day, side, money)}

    def returned(self, request: Request) -> None:
        """Gives back what a request that was not dealt counted against the day it was accepted on."""
        day, before = request.accepted_ms // DAY_MS, self.asked.get(request.token)
        if request.money is not UNSET and before is not None and before.day == day:
            after = before.with_asked(day, request.side, -request.money)
            self.asked = {**self.asked, request.token: after}

    def request(self, name: str) -> Request:
        found = self.requests.get(name)
        if found is None:
            raise HolderError(f"there is no request {name}")
        return found

    def dealt(self, request: Request, amount: int) -> None:
        """Leaves a request with what was not dealt of it, and with that part of what counts against its day."""
        counted = request.money
        self.left(request, amount, UNSET if counted is UNSET else counted * amount // request.amount)

    def left(self, request: Request, amount: int, money: int | UnsetType) -> None:
        """Leaves a request with an amount, and what of that counts against its day; with no amount it has ended."""
        rest = {name: one for name, one in self.requests.items() if name != request.id}
        left = msgspec.structs.replace(request, amount=amount, money=money)
        self.requests = rest | {request.id: left} if amount else rest

    def finished(self, limit: int) -> HolderStep:
        balances = dict(self.state.balances)
        for line in self.entry:
            balances[line.account] = balances.get(line.account, 0) + line.amount
        self.cover(balances)
        for line in self.entry:
            amount = balances.get(line.account)
            if amount is None:
                continue
            if amount < 0 and line.account.endswith(_OWN):
                kind, asset, where = line.account.split(":")
                raise HolderError(f"{-line.amount} of {kind} {asset} is more than is {where}")
            if abs(amount) > limit and abs(amount) > abs(self.state.balances.get(line.account, 0)):
                most = f"the most is {as_text(limit, grouped=True)}"
                raise HolderError(f"{as_text(amount, grouped=True)} of {line.account} is more than an account holds; "
                                  f"{most}")  # fmt: skip
            if amount == 0:
                del balances[line.account]
        after = HolderState(balances=balances, requests=self.requests, accepted=self.accepted,
                            asked=self.asked, open_quote=self.open_quote, quoted=self.quoted)  # fmt: skip
        return HolderStep(after, tuple(self.entry))


def _deposited(change: _Change, event: Deposited) -> None:
    _check(event.amount > 0 and bool(event.reference), "a deposit has an amount and a reference")
    change.post(f"cash:{event.asset}", event.amount, FREE, OUTSIDE)


def _withdrawn(change: _Change, event: Withdrawn) -> None:
    _check(event.amount > 0 and bool(event.reference), "a withdrawal has an amount and a reference")
    change.post(f"cash:{event.asset}", event.amount, OUTSIDE, FREE)


def _granted(change: _Change, event: Granted) -> None:
    _check(event.units > 0 and event.cash >= 0, "more than nothing is granted")
    change.post(f"units:{event.token}", event.units, FREE, event.token)
    change.post(f"cash:{event.asset}", event.cash, event.token, OUTSIDE)


def _collected(change: _Change, event: Collected) -> None:
    _check(event.cash > 0 and (event.units > 0) == (event.how != "cash"), "more than nothing is collected")
    cash, units, earned = f"cash:{event.asset}", f"units:{event.token}", fees_account(event.token)
    if event.how == "cash":
        change.post(cash, event.cash, FREE, earned)
    elif event.how == "units":
        change.post(cash, event.cash, event.token, earned)
        change.post(units, event.units, FREE, event.token)
    else:
        change.post(cash, event.cash, FREE, event.token)
        change.post(units, event.units, event.token, FREE)


def _requested(change: _Change, event: Requested) -> None:
    request = event.request
    _check(request.amount > 0, "a request is for more than nothing")
    _check(request.id not in change.requests, f"there is a request {request.id} already")
    change.post(_asset_of(request), request.amount, HELD, FREE)
    change.requests = {**change.requests, request.id: request}
    change.accepted += 1
    change.asks(request.token, request.side, event.money, event.time_ms)


def _released(change: _Change, event: Released) -> None:
    request = change.request(event.id)
    change.post(_asset_of(request), request.amount, FREE, HELD)
    change.returned(request)
    change.left(request, 0, UNSET)


def _dealt(change: _Change, event: Dealt) -> None:
    request = change.request(event.id)
    counts = event.cash if event.kind == "unwound" and request.side == "subscribe" else event.units
    _check(counts > 0 and min(event.units, event.cash, event.fee) >= 0, "what is dealt is more than nothing")
    cash, units = f"cash:{request.asset}", f"units:{request.token}"
    if request.side == "subscribe":
        _check(event.cash <= request.amount, f"{event.cash} is more than request {request.id} set aside")
        change.post(cash, event.cash, request.token, HELD)
        change.post(units, event.units, FREE, request.token)
        change.dealt(request, request.amount - event.cash)
        return
    _check(event.units <= request.amount, f"{event.units} units are more than request {request.id} set aside")
    change.post(units, event.units, request.token, HELD)
    change.post(cash, event.cash, FREE, request.token)
    change.dealt(request, request.amount - event.units)


def _handed(change: _Change, event: Handed) -> None:
    _check(bool(event.other and event.reference), "a transfer names the other holder and has a reference")
    _check(event.units != 0 or event.cash != 0, "a transfer is of more than nothing")
    change.post(f"units:{event.token}", event.units, FREE, HOLDERS)
    change.post(f"cash:{event.asset}", event.cash, FREE, HOLDERS)


def _quoted(change: _Change, event: Quoted) -> None:
    quote = event.quote
    amounts = (quote.units, quote.cash) if quote.inav is UNSET else (quote.units, quote.cash, quote.inav)
    _check(min(amounts) > 0 and quote.fee >= 0,
           f"the units, the money and the iNAV of quote {quote.id} must be positive")  # fmt: skip
    _check(quote.until_ms > event.time_ms, f"quote {quote.id} must expire after it is given")
    open_id = "" if change.open_quote is UNSET else change.open_quote.id
    words = f"quote {quote.id} replaces {event.replaces or 'none'}, but the open quote is {open_id or 'none'}"
    _check(event.replaces == open_id != quote.id, words)
    change.open_quote = quote
    change.quoted = 1 + (0 if change.quoted is UNSET else change.quoted)


def _quote_voided(change: _Change, event: QuoteVoided) -> None:
    _check(change.state.quote(event.id) is not None, f"{event.id} is not the open quote")
    change.open_quote = UNSET


def _exchanged(change: _Change, event: Exchanged) -> None:
    _check(event.units * event.cash < 0, "units are dealt against money")
    if event.id:
        quote = change.state.quote(event.id)
        side = "subscribe" if event.units > 0 else "redeem"
        terms = (event.token, side, event.asset, abs(event.units), abs(event.cash), event.fee)
        says = () if quote is None else (quote.token, quote.side, quote.asset, quote.units, quote.cash, quote.fee)
        _check(terms == says, f"no quote {event.id} says that")
        change.open_quote = UNSET
    if event.units > 0:
        change.post(f"units:{event.token}", event.units, FREE, HOLDERS)
    else:
        lent = max(-event.units - change.state.units(event.token), 0) if event.lends else 0
        change.post(f"units:{event.token}", -event.units - lent, HOLDERS, FREE)
        change.post(f"units:{event.token}", lent, HOLDERS, SHORT)
    change.post(f"cash:{event.asset}", event.cash, FREE, HOLDERS)
    if event.money:
        change.asks(event.token, "subscribe" if event.units > 0 else "redeem", event.money, event.time_ms)


def _merged(change: _Change, event: Merged) -> None:
    units = f"units:{event.token}"
    for where, left in ((FREE, event.units), (HELD, event.held)):
        before = change.state.units(event.token, where)
        _check(0 <= left <= before, "units are merged into fewer")
        change.post(units, left - before, where, event.token)
    before = change.state.units(event.token, SHORT)
    _check(before <= event.short <= 0, "units are merged into fewer")
    change.post(units, event.short - before, SHORT, event.token)
    waits = {one.id for one in change.requests.values() if one.token == event.token and one.side == "redeem"}
    _check(waits == set(event.requests), "every redemption that waits is merged with its units")
    _check(sum(event.requests.values()) == event.held, "redemptions set aside what they redeem")
    for name, amount in event.requests.items():
        request = change.request(name)
        change.left(request, amount, request.money)
    _check(event.cash >= 0, "what is cut off is paid out")
    change.post(f"cash:{event.asset}", event.cash, FREE, event.token)


def _asset_of(request: Request) -> str:
    return f"cash:{request.asset}" if request.side == "subscribe" else f"units:{request.token}"


def _check(holds: bool, words: str) -> None:
    if not holds:
        raise HolderError(words)


_HANDLERS: dict[type, Callable[[_Change, Any], None]] = {
    Deposited: _deposited,
    Withdrawn: _withdrawn,
    Granted: _granted,
    Collected: _collected,
    Requested: _requested,
    Released: _released,
    Dealt: _dealt,
    Handed: _handed,
    Quoted: _quoted,
    QuoteVoided: _quote_voided,
    Exchanged: _exchanged,
    Merged: _merged,
}


def holder_breaches(state: HolderState, entry: Entry) -> list[str]:
    """Returns what one entry broke: L1 double entry per asset, U6 what waits is set aside once, and nothing is owed.

    Only accounts that the entry touches can have changed; `holder_unsound` looks at all of them.
    """
    sums: dict[str, int] = {}
    touched: dict[str, None] = {}
    for line in entry:
        asset, _, where = line.account.rpartition(":")
        sums[asset] = sums.get(asset, 0) + line.amount
        if where == HELD:
            touched[asset] = None
    found = [f"L1: the entry's {asset} sums to {total}" for asset, total in sums.items() if total]
    for asset in touched:
        held, waits = state.balances.get(f"{asset}:{HELD}", 0), _waits(state, *asset.split(":"))
        if waits != held:
            found.append(f"U6: requests set aside {waits} of {asset}, the ledger says {held}")
    return found


def _waits(state: HolderState, kind: str, name: str) -> int:
    """Returns what all requests together set aside of one currency, or of one token's units."""
    total, side = 0, "subscribe" if kind == "cash" else "redeem"
    for one in state.requests.values():
        if one.side == side and name == (one.asset if kind == "cash" else one.token):
            total += one.amount
    return total


def holder_unsound(state: HolderState) -> list[str]:
    """Returns what is broken of U6 over all of a holder's accounts: what waits is set aside once."""
    waits: dict[str, int] = {}
    for request in state.requests.values():
        account = f"{_asset_of(request)}:{HELD}"
        waits[account] = waits.get(account, 0) + request.amount
    held = {account: amount for account, amount in state.balances.items() if account.endswith(f":{HELD}")}
    return [] if waits == held else [f"U6: requests set aside {waits}, the ledger says {held}"]
