"""`gearing holders`: who has what, and what of it waits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gearing.cli.output import Column, JsonFlag, heading, say, show_table
from gearing.cli.reading import DeskOption, reading
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.core.holder import HolderState
    from gearing.store.store import Store


def holders(
    holder: Annotated[str | None, typer.Argument(metavar="HOLDER", help="One of them.", show_default="all")] = None,
    db: DeskOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Shows holders: free and held money, units, and the requests that wait.

    Of an omnibus holder also its sub-holders, and what they have together, as "EX/*". Of the dealing account also what
    of its free money and units backs open quotes, or units that it has given out and not bought yet.
    """
    from gearing.core.holder import DEALER, omnibus_of

    with reading(db) as desk:
        found = desk.store.holders()
        if holder is not None:
            family = {name: state for name, state in found.items() if holder in {name, omnibus_of(name)}}
            found = family or {holder: holder_state(found, holder, desk.store.path)}
        sums, aside = _sums(found), _set_aside(desk.store) if DEALER in found else {}
        waits = _waiting(desk.store, found)
        payload = {"holders": found, "omnibus": sums, "set_aside": aside, "waits": waits}
        desk.emit(payload, "gearing.holders/1", as_json, lambda: _show(found, sums, aside, waits))


def holder_state(found: dict[str, HolderState], holder: str, db: Path) -> HolderState:
    """Returns what a holder of a database has.

    Raises:
        InputError: there is no such holder.
    """
    if holder not in found:
        known = ", ".join(list(found)[:10]) or "none"
        known += f" and {len(found) - 10:,} more" if len(found) > 10 else ""
        raise InputError(f"there is no holder {holder} in this database.", where=str(db), fix=f"There are: {known}.")
    return found[holder]


def _set_aside(store: Store) -> dict[str, int]:
    """Returns what of the dealing account's free money and units is set aside, by account, minor units."""
    from msgspec import UNSET

    from gearing.core.holder import DEALER
    from gearing.core.journal import state_of
    from gearing.core.terms import Spec
    from gearing.desk.boot import spec_of
    from gearing.drive.backing import set_aside

    holders, now_ms = store.holders(), store.last_ms()
    tokens = {}
    for projected in store.states():
        kind, _, name = projected.stream.partition(":")
        if kind == "token":
            tokens[name] = (Spec(spec_of(store, name)), state_of(projected.body))
    quotes = [state.open_quote for state in holders.values() if state.open_quote is not UNSET]
    aside = set_aside(holders[DEALER], [quote for quote in quotes if quote.until_ms >= now_ms], tokens)
    found = {
        f"cash:{asset}": aside.money(asset) for asset in {*aside.for_quotes, *(paid for _, paid in aside.for_short)}
    }
    found |= {f"units:{token}": units for token, units in aside.units.items()}
    return {account: amount for account, amount in sorted(found.items()) if amount}


def _sums(found: dict[str, HolderState]) -> dict[str, dict[str, int]]:
    """Returns what each omnibus holder and its sub-holders have on their own accounts together."""
    from gearing.core.holder import OWN, omnibus_of, together

    sums: dict[str, dict[str, int]] = {together(name): {} for name in map(omnibus_of, found) if name}
    for name, state in found.items():
        whose = together(omnibus_of(name) or name)
        for account, amount in state.balances.items():
            if whose in sums and account.rpartition(":")[2] in OWN:
                sums[whose][account] = sums[whose].get(account, 0) + amount
    return sums


def _waiting(store: Store, found: dict[str, HolderState]) -> dict[str, str]:
    """Returns why each request of these holders waits, by its id."""
    from gearing.core.journal import state_of
    from gearing.core.terms import Spec
    from gearing.store.records import book_state_of

    requests = [one for state in found.values() for one in state.requests.values()]
    if not requests:
        return {}
    from gearing.cli.compiling import loading_desk

    with loading_desk():
        from gearing.desk.boot import spec_of
        from gearing.desk.waits import stored_wait
    states, now_ms = {one.stream: one.body for one in store.states()}, store.last_ms()
    books = [book_state_of(body) for stream, body in states.items() if stream.startswith("book:")]
    tokens = {name: (Spec(spec_of(store, name)), state_of(states[f"token:{name}"]), book)
              for book in books for name in book.tokens if f"token:{name}" in states}  # fmt: skip
    return {
        one.id: stored_wait(*tokens[one.token], one, now_ms) if one.token in tokens else f"{one.token} is not run"
        for one in requests
    }


def _show(
    found: dict[str, HolderState], sums: dict[str, dict[str, int]], aside: dict[str, int], waits: dict[str, str]
) -> None:
    from gearing.cli.console import clock
    from gearing.core.holder import DEALER
    from gearing.core.money import as_text

    if not found:
        say("There are no holders yet. `gearing deposit HOLDER AMOUNT --reference R` makes one.")
        return
    rows = []
    for name, balances in sorted([*((name, state.balances) for name, state in found.items()), *sums.items()]):
        for account, amount in sorted(balances.items()):
            kind, asset, where = account.split(":")
            if where in {"free", "held", "short"}:
                what = asset if kind == "cash" else f"{asset} units"
                rows.append((name, what, where, as_text(amount, grouped=True)))
    for account, amount in aside.items():
        kind, asset = account.split(":")
        what = asset if kind == "cash" else f"{asset} units"
        rows.append((DEALER, what, "of it set aside", as_text(amount, grouped=True)))
    show_table(("holder", "of", "", Column("amount", "right")), rows)
    requests = sorted((one for state in found.values() for one in state.requests.values()), key=lambda one: one.turn)
    if requests:
        heading("Requests that wait")
        heads = (Column("request", wrap=False), "side", "token", Column("amount", "right", wrap=False),
                 Column("since, UTC", wrap=False), "why")  # fmt: skip
        show_table(heads, [
            (one.id, one.side, one.token, as_text(one.amount, grouped=True), clock(one.accepted_ms), waits[one.id])
            for one in requests
        ])  # fmt: skip
