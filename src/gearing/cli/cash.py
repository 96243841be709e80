"""`gearing cash plan`: what is at the venue, what is in the reserve, and what another target would move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli.output import Column, JsonFlag, heading, pairs, say, show_table
from gearing.cli.reading import DeskOption, reading
from gearing.errors import InputError
from gearing.numerals import number_of

if TYPE_CHECKING:
    from gearing.core.book import BookState
    from gearing.core.holder import HolderState
    from gearing.store.store import Store

cash_app = typer.Typer(help="Money: what is at the venue and what is in the reserve.", no_args_is_help=True)
_ALL = Decimal(1)


@cash_app.callback()
def _cash() -> None:
    """Money: what is at the venue and what is in the reserve."""


@cash_app.command()
def plan(
    collateral: Annotated[
        list[str] | None,
        typer.Option(metavar="[BOOK=]PART", help="What part is to be at the venue, 0 to 1; again for other books.",
                     show_default="1, all of it"),
    ] = None,
    db: DeskOption = None,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Shows where each book's money is, and what a target would move.

    A desk keeps all of it at the venue, and moves what flows bring in and take out with each reconciliation. A smaller
    part is a plan that is only shown: the desk moves nothing for it, and halts a book whose money is elsewhere.
    """
    from gearing.cli.compiling import loading_desk

    with loading_desk():
        from gearing.desk.view import stored_view

    with reading(db) as desk:
        store = desk.store
        books, holders = _books(store), store.holders()
        parts = _parts(collateral or (), books)
        headroom = {one.book: one.headroom for one in stored_view(store, running=False).tokens}
    told = [_told(name, book, parts.get(name, parts.get("", _ALL)), headroom) for name, book in books.items()]
    kept = _kept(holders, [book["state"] for book in books.values()])
    shown = [one for book in told for one in book]
    desk.emit({"books": shown, "reserve": kept}, "gearing.cash-plan/1", as_json, lambda: _show(shown, kept))


def _books(store: Store) -> dict[str, dict[str, Any]]:
    """Returns each book's state, and its tokens' currencies and states."""
    from gearing.core.journal import state_of
    from gearing.desk.boot import spec_of
    from gearing.store.records import book_state_of

    states = {one.stream: one.body for one in store.states()}
    found = {}
    for stream, body in states.items():
        if stream.startswith("book:"):
            book = book_state_of(body)
            tokens = [(spec_of(store, name).settlement, state_of(states[f"token:{name}"])) for name in book.tokens]
            found[stream.removeprefix("book:")] = {"state": book, "tokens": tokens}
    return found


def _parts(given: list[str] | tuple[()], books: Mapping[str, object]) -> dict[str, Decimal]:
    """Returns the part of each book that was named; under "" that of all others.

    Raises:
        InputError: there is no such book, or it is no part.
    """
    parts = {}
    for text in given:
        book, equals, amount = text.rpartition("=")
        try:
            part = Decimal(repr(number_of(amount)))
        except ValueError:
            part = Decimal(-1)
        if not 0 <= part <= 1:
            raise InputError(f"{amount!r} is no part of the money.", where="--collateral",
                             fix="Give a number from 0 to 1, such as 0.4 or BTC3L=0.4.")  # fmt: skip
        if equals and book not in books:
            raise InputError(f"there is no book {book}.", where="--collateral", fix=f"There are: {', '.join(books)}.")
        parts[book] = part
    return parts


def _told(name: str, book: dict[str, Any], part: Decimal, headroom: Mapping[str, float | None]) -> list[dict[str, Any]]:
    from gearing.drive.cash import accounts

    now = headroom.get(name) if len(book["tokens"]) == 1 else None
    return [
        {"book": name, "currency": one.asset, "worth": one.worth, "at_venue": one.at_venue, "due": one.due,
         "collateral": part, "target": one.target, "to_move": one.to_move,
         "headroom": None if now is None else now * float(part)}
        for one in accounts(book["tokens"], book["state"], part)
    ]  # fmt: skip


def _kept(holders: Mapping[str, HolderState], books: Iterable[BookState]) -> dict[str, dict[str, int]]:
    """Returns what is kept, by currency: for holders, the issuer's own, and what came in unasked; minor units."""
    from msgspec import UNSET

    from gearing.core.holder import ISSUER, OWN

    found: dict[str, dict[str, int]] = {}
    for book in books:
        for asset, amount in {} if book.received is UNSET else book.received.items():
            mine = found.setdefault(asset, {"holders": 0, "issuer": 0, "unasked": 0})
            mine["unasked"] += amount
    for name, state in holders.items():
        for account, amount in state.balances.items():
            kind, asset, where = account.split(":")
            if kind == "cash" and where in OWN:
                whose = "issuer" if name == ISSUER else "holders"
                mine = found.setdefault(asset, {"holders": 0, "issuer": 0, "unasked": 0})
                mine[whose] += amount
    return found


def _show(books: list[dict[str, Any]], kept: Mapping[str, Mapping[str, int]]) -> None:
    from gearing.core.money import to_float

    if not books:
        say("There are no books yet.")
        return
    rows = []
    for one in books:
        move = one["to_move"]
        way = "–" if move == 0 else f"{'to' if move > 0 else 'from'} venue {to_float(abs(move)):,.2f}"
        margin = "–" if one["headroom"] is None else f"{one['headroom']:.1f}×"
        rows.append((one["book"], f"{to_float(one['at_venue']):,.2f}", f"{to_float(one['due']):+,.2f}",
                     f"{to_float(one['target']):,.2f}", way, margin))  # fmt: skip
    right = [Column(name, "right") for name in ("at venue", "due", "target", "to move", "margin")]
    show_table(("book", *right), rows)
    if kept:
        heading("In the reserve")
        words = {"holders": "for holders", "issuer": "the issuer's own", "unasked": "that came unasked"}
        pairs([
            (asset, ", ".join(f"{to_float(one[whose]):,.2f} {words[whose]}" for whose in words
                              if one[whose] or whose != "unasked"))
            for asset, one in sorted(kept.items())
        ])  # fmt: skip
    typer.echo()
    if any(one["collateral"] != 1 for one in books):
        say("This is a plan that is only shown: the desk expects all money at the venue, and halts a book otherwise. "
            "The margin is what the target would be over the maintenance margin.")  # fmt: skip
    elif any(one["due"] for one in books):
        say("What is due is moved with the next reconciliation.")
    else:
        say("Everything is where it is to be.")
