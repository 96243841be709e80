"""Tables of the file formats: what columns may be called, and the orders of columns that are known without a header."""

from __future__ import annotations

from gearing.market.reading.layouts import LAYOUTS
from gearing.market.reading.names import NAMES, Role, TableKind

_WORDS = {
    Role.TIME: "time",
    Role.CLOCK: "time of day, beside a date",
    Role.CLOSE_TIME: "end of a bar",
    Role.SYMBOL: "instrument",
    Role.ADJUSTED: "adjusted close",
    Role.VOLUME: "volume, in units of the underlying",
    Role.QUOTE_VOLUME: "volume, in quote currency",
    Role.CONTRACTS: "volume, in contracts",
    Role.RATE: "rate",
    Role.SETTLED_AT: "settlement that a predicted rate is for",
    Role.MARK: "mark price, for rates in quote currency",
}


def names(kind: str) -> str:
    """Returns the table of names of one kind of table, in order of preference."""
    rows = [
        (_WORDS.get(role, role.value), ", ".join(f"`{name}`" for name in aliases))
        for role, aliases in NAMES[TableKind(kind)].items()
        if not (kind == "funding" and role in (Role.OPEN, Role.HIGH, Role.LOW, Role.CLOSE))
    ]
    return "\n".join(["| column | may be called |", "|---|---|", *(f"| {word} | {listed} |" for word, listed in rows)])


def layouts() -> str:
    """Returns the table of known orders of columns."""
    rows = [f"| {len(one.columns)} | {one.whose} | `{' '.join(one.columns)}` |" for one in LAYOUTS]
    return "\n".join(["| columns | whose | order |", "|---|---|---|", *rows])
