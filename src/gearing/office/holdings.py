"""What every holder has at a period's end, and what it is worth at the last NAV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from gearing.core.holder import FREE, HELD, OWN, SHORT, omnibus_of, together
from gearing.core.ledger import Entry
from gearing.core.money import MINOR
from gearing.office.cut import Cut, token_of
from gearing.office.table import Kind, Table

COLUMNS: dict[str, Kind] = {
    "holder": "text", "asset": "text", "free": "amount", "held": "amount", "nav": "amount", "nav_time": "time",
    "value": "amount", "currency": "text",
}  # fmt: skip


class _HolderLine(msgspec.Struct):
    entry: Entry


class _TokenLine(msgspec.Struct):
    time_ms: int
    nav: int


class LastNav(NamedTuple):
    """The NAV after the last line of a token, minor units per whole unit, when that was, and its currency."""

    nav: int
    time_ms: int
    currency: str


_read = msgspec.json.Decoder(_HolderLine).decode
_read_nav = msgspec.json.Decoder(_TokenLine).decode


def holdings(cut: Cut, holders: Iterable[str]) -> Table:
    """Returns each holder's money and units, free and set aside, by the sums of the postings.

    Then come the sums of each omnibus holder with its sub-holders, as "EX/*".

    Args:
        cut: the journals.
        holders: whose.
    """
    navs: dict[str, LastNav | None] = {}
    rows = [row for holder in holders for row in _rows(cut, holder, navs)]
    return Table(COLUMNS, [*rows, *_sums(rows)])


def last_nav(cut: Cut, token: str) -> LastNav | None:
    """Returns the last NAV of a token in the journals; None: it was not launched yet."""
    line = cut.last_line(f"token:{token}", _read_nav)
    return None if line is None else LastNav(line.nav, line.time_ms, token_of(cut, token).settlement)


def _rows(cut: Cut, holder: str, navs: dict[str, LastNav | None]) -> Iterator[tuple[object, ...]]:
    balances: dict[str, int] = {}
    for _, line in cut.lines(f"holder:{holder}", _read):
        for posting in line.entry:
            balances[posting.account] = balances.get(posting.account, 0) + posting.amount
    assets = sorted({account.rpartition(":")[0] for account, amount in balances.items() if amount and _is_own(account)})
    for asset in assets:
        free, held, short = (balances.get(f"{asset}:{where}", 0) for where in (FREE, HELD, SHORT))
        free += short  # what the dealing account gave out and has not got yet counts off
        kind, _, name = asset.partition(":")
        if kind == "cash":
            yield holder, asset, free, held, None, None, free + held, name
            continue
        if name not in navs:
            navs[name] = last_nav(cut, name)
        nav = navs[name]
        if nav is None:
            yield holder, asset, free, held, None, None, None, None
        else:  # rounded down, as whoever redeems is paid
            yield holder, asset, free, held, nav.nav, nav.time_ms, (free + held) * nav.nav // MINOR, nav.currency


def _sums(rows: list[tuple[Any, ...]]) -> Iterator[tuple[object, ...]]:
    """Yields the rows of omnibus holders: what they and their sub-holders have of each asset together."""
    omnibuses = {omnibus_of(row[0]) for row in rows} - {""}
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for name, asset, free, held, nav, nav_ms, value, currency in rows:
        whose = omnibus_of(name) or name
        if whose in omnibuses:
            _, _, more_free, more_held, _, _, more, _ = found.get((whose, asset), (0,) * len(COLUMNS))
            found[whose, asset] = (
                together(whose), asset, free + more_free, held + more_held, nav, nav_ms,
                None if value is None else value + more, currency,
            )  # fmt: skip
    for place in sorted(found):
        yield found[place]


def _is_own(account: str) -> bool:
    return account.rpartition(":")[2] in OWN
