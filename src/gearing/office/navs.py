"""Every NAV that was published in a period, with the equity behind it and the marks it was struck at."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from gearing.core.ledger import ACCRUED, FEES, FLOWS, UNREALISED, WALLET, Entry
from gearing.errors import InputError
from gearing.office.cut import Cut, token_of
from gearing.office.table import Kind, Table

COLUMNS: dict[str, Kind] = {
    "time": "time", "token": "text", "kind": "text", "currency": "text", "nav": "amount", "nav_adjusted": "amount",
    "units": "amount", "equity": "amount", "marks": "text", "provisional": "text",
}  # fmt: skip
_EQUITY = {WALLET, UNREALISED, ACCRUED, FEES, FLOWS}


class _Event(msgspec.Struct):
    event: str
    factor: float = 1.0
    provisional: bool = False


class _Line(msgspec.Struct):
    time_ms: int
    event: _Event
    entry: Entry
    nav: int
    units: int


_read = msgspec.json.Decoder(_Line).decode
_marks = msgspec.json.Decoder(list[msgspec.Raw]).decode


def nav_table(cut: Cut, tokens: Sequence[str]) -> Table:
    """Returns published NAVs, token by token, in the order in which they were struck.

    Equity is summed up from the postings of the journal, and each NAV has to be that of a line. Adjusted, it is that of
    the units at the period's end, into which mergers of units made those of then.

    Args:
        cut: the journals.
        tokens: of which.

    Raises:
        InputError: a published NAV is that of no line.
    """
    rows = [row for token in tokens for row in _rows(cut, token)]
    return Table(COLUMNS, rows, "Every NAV is that of a line of the journal.")


def _rows(cut: Cut, token: str) -> list[tuple[object, ...]]:
    stream, known = f"token:{token}", token_of(cut, token)
    published: dict[tuple[int, int, int], list[tuple[str, str]]] = {}
    for time_ms, kind, nav, units, marks in cut.navs(token):
        published.setdefault((time_ms, nav, units), []).append((kind, marks))
    first, _, _ = cut.bounds(stream)
    names = [leg.symbol for leg in known.legs]
    found: list[tuple[_Line, str, int, str]] = []
    mergers: dict[int, Fraction] = {}  # the factor of each, by how many NAVs were found before it
    equity = last_ms = 0
    for seq, line in cut.lines(stream, _read):
        for posting in line.entry:
            if posting.account in _EQUITY:
                equity += posting.amount
        last_ms = max(last_ms, line.time_ms)
        if line.event.event == "consolidated":
            mergers[len(found)] = mergers.get(len(found), Fraction(1)) * Fraction(repr(line.event.factor))
        if line.event.event != "nav_struck":
            continue
        for kind, marks in published.pop((line.time_ms, line.nav, line.units), ()):
            if seq >= first:
                found.append((line, kind, equity, _named(marks, names)))
    if any(time_ms < last_ms for time_ms, _, _ in published):
        raise InputError(f"{token} has a published NAV that no line of its journal says.",
                         fix="See what is wrong: gearing journal verify DB.")  # fmt: skip
    rows: list[tuple[object, ...]] = []
    factor = mergers.get(len(found), Fraction(1))
    for place in reversed(range(len(found))):
        line, kind, equity, marks = found[place]
        adjusted = round(line.nav * factor)  # half to even
        rows.append((line.time_ms, token, kind, known.settlement, line.nav, adjusted, line.units, equity, marks,
                     "yes" if line.event.provisional else "no"))  # fmt: skip
        factor *= mergers.get(place, Fraction(1))
    return rows[::-1]


def _named(marks: str, names: Sequence[str]) -> str:
    """Returns marks with their legs, as they were published; those of contracts that a roll opens come last."""
    found = [bytes(mark).decode() for mark in _marks(marks)]
    known = [*names, *(f"next{number}" for number in range(1, len(found) - len(names) + 1))]
    return " ".join(f"{name}={mark}" for name, mark in zip(known, found, strict=True))
