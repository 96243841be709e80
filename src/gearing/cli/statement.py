"""`gearing holder statement`: what a holder's units made since they came, by its parts, to the last minor unit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli.output import Column, JsonFlag, heading, say, show_table
from gearing.cli.reading import DeskOption, reading
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.core.holder import HolderEvent
    from gearing.core.lots import Holding
    from gearing.core.state import TokenState
    from gearing.core.terms import Spec
    from gearing.store.store import Store

holder_app = typer.Typer(help="What a holder has, and what became of it.", no_args_is_help=True)


@holder_app.callback()
def _holder() -> None:
    """What a holder has, and what became of it."""


@holder_app.command("statement")
def statement(
    holder: Annotated[str, typer.Argument(metavar="HOLDER", help="Its opaque id.", show_default=False)],
    token: Annotated[str, typer.Option(help="Only this one.", show_default="all")] = "",
    db: DeskOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Shows a holder's lots, what each made by its parts, and where the underlying breaks even.

    Lots go first in, first out. The parts of each sum to its profit, and the profits to what was paid out and is held
    less what was paid in.
    """
    from gearing.cli.compiling import loading_desk

    with loading_desk():
        from gearing.desk.boot import spec_of
    from gearing.core.holder import DEALER
    from gearing.core.journal import state_of
    from gearing.core.lots import holding_of, tokens_of
    from gearing.core.terms import Spec

    if holder == DEALER:
        raise InputError("the dealing account gives out units before it has them, so it has no lots.", where=DEALER,
                         fix="`gearing holders dealer` shows what it has.")  # fmt: skip
    with reading(db) as desk:
        store = desk.store
        events = _events(store, holder)
        found = []
        for name in [token] if token else tokens_of(events):
            stored = store.state(f"token:{name}")
            if stored is None:
                raise InputError(f"there is no token {name} in this database.", where=desk.name)
            spec = Spec(spec_of(store, name))
            found.append(_told(name, spec, state_of(stored.body), holding_of(events, name)))
    desk.emit({"holder": holder, "tokens": found}, "gearing.holder-statement/1", as_json,
              lambda: _show(holder, found))  # fmt: skip


def _events(store: Store, holder: str) -> list[HolderEvent]:
    from gearing.store.records import holder_line_of

    events = [holder_line_of(row.body).event for row in store.lines(f"holder:{holder}")]
    if not events:
        raise InputError(f"there is no holder {holder} in this database.", where=str(store.path),
                         fix="`gearing holders` lists them; a sub-holder's id is whole, such as EX/c1.")  # fmt: skip
    return events


def _told(name: str, spec: Spec, state: TokenState, holding: Holding) -> dict[str, Any]:
    from gearing.core.dealing import bearing
    from gearing.core.lots import LOT_PARTS, break_even, parts_of_lot, parts_of_sold
    from gearing.core.measured import exposure_of
    from gearing.core.money import MINOR, to_float

    now, units = bearing(spec, state), to_float(state.balances.units)
    exposure = exposure_of(state) / units if units else 0.0
    totals, profit = Counter[str](), 0
    lots, sold = list[dict[str, Any]](), list[dict[str, Any]]()
    for lot in holding.lots:
        parts, worth = parts_of_lot(lot, now), lot.units * now.nav // MINOR
        level = break_even(lot, now, exposure)
        move = None if level is None else level / now.level - 1.0
        price = None if move is None or len(state.legs) > 1 else (1.0 + move) * state.legs[0].mark
        lots.append({"since_ms": lot.time_ms, "units": lot.units, "cost": lot.cost, "worth": worth,
                     "profit": worth - lot.cost, "break_even": price, "break_even_move": move,
                     "parts": parts})  # fmt: skip
        totals.update(parts)
        profit += worth - lot.cost
    for one in holding.sold:
        parts = parts_of_sold(one)
        sold.append({"since_ms": one.lot.time_ms, "until_ms": one.time_ms, "units": one.lot.units,
                     "cost": one.lot.cost, "proceeds": one.proceeds, "profit": one.profit,
                     "parts": parts})  # fmt: skip
        totals.update(parts)
        profit += one.profit
    return {"token": name, "settlement": spec.token.settlement, "nav": now.nav, "lots": lots, "sold": sold,
            "parts": {part: totals[part] for part in LOT_PARTS if totals[part]}, "profit": profit}  # fmt: skip


def _show(holder: str, found: list[dict[str, Any]]) -> None:
    from gearing.cli.console import clock
    from gearing.core.money import as_text, to_float

    if not found:
        say(f"{holder} never had a unit of any token.")
        return

    def money(one: dict[str, Any], *names: str) -> list[str]:
        """Figures to look at; the JSON has them whole."""
        return [f"{to_float(one[name]):,.4f}" if name == "units" else f"{to_float(one[name]):,.2f}" for name in names]

    right = [Column(name, "right") for name in ("units", "cost", "worth", "profit")]
    for told in found:
        heading(f"{told['token']}: profit {as_text(told['profit'], grouped=True)} {told['settlement']}")
        rows = []
        for one in told["lots"]:
            level = "–" if one["break_even_move"] is None else f"{one['break_even_move']:+.2%}"
            if one["break_even"] is not None:
                level = f"{one['break_even']:,.6g} ({level})"
            rows.append(
                (clock(one["since_ms"], seconds=False), "", *money(one, "units", "cost", "worth", "profit"), level)
            )
        for one in told["sold"]:
            spent = money(one, "units", "cost", "proceeds", "profit")
            rows.append((clock(one["since_ms"], seconds=False), clock(one["until_ms"], seconds=False), *spent, ""))
        show_table(("bought", "given up", *right, Column("break-even", "right")), rows)
        parts = [(part.replace("_", " "), as_text(amount, grouped=True)) for part, amount in told["parts"].items()]
        show_table(("what it came from", Column(told["settlement"], "right")),
                   [*parts, ("sum", as_text(told["profit"], grouped=True))])  # fmt: skip
