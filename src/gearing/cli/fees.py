"""`gearing fees`: what tokens owe their issuer, and how it is taken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli.asking import (
    Asking,
    ByOption,
    KeyOption,
    ReasonOption,
    TimeoutOption,
    TokenArgument,
    YesOption,
    named,
)
from gearing.cli.output import Column, JsonFlag, say, show_table
from gearing.cli.reading import DeskOption, RunningDeskOption, reading
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.core.events import FeesHow
    from gearing.store.store import Store

fees_app = typer.Typer(help="The issuer's fees: what is owed, and how it is taken.", no_args_is_help=True)


@fees_app.command()
def show(
    token: Annotated[str | None, typer.Argument(metavar="[TOKEN]", help="One of them.", show_default="all")] = None,
    db: DeskOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Shows what tokens owe, and what was taken so far."""
    with reading(db) as desk:
        store = desk.store
        names = [one.stream.removeprefix("token:") for one in store.states() if one.stream.startswith("token:")]
        told = [_told(store, name) for name in (_known(names, token, store.path) if token else names)]
        desk.emit({"tokens": told}, "gearing.fees/1", as_json, lambda: _show(told))


@fees_app.command()
def take(
    context: typer.Context,
    token: TokenArgument,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Of money, or all.", show_default=False)],
    reason: ReasonOption,
    how: Annotated[
        str,
        typer.Option(help="cash; units: as new units; burn: as the price of units the issuer gives up, "
                          "which are burned.", show_default=False),
    ],
    db: RunningDeskOption = None,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Takes fees that a token owes: the issuer's own account is credited.

    As money they leave the token's account at the venue; as units they stay in it and units are created at the NAV
    of now; with burn the issuer is paid them for units of its own, and waives as much of what it is owed, so that
    those who stay have the rise.
    """
    from gearing.cli.compiling import loading_desk
    from gearing.cli.counter import minor

    with loading_desk():
        from gearing.desk.requests import TakeFees

    chosen, wanted = _how(how), 0 if amount == "all" else minor(amount, "AMOUNT")
    who, asking = named(by, reason), Asking(context, db, yes, key, timeout, as_json)
    with asking.desk() as desk:
        store = desk.store
        names = [one.stream.removeprefix("token:") for one in store.states() if one.stream.startswith("token:")]
        (name,) = _known(names, token, store.path)
        if not yes:
            desk.confirm(_effect(_told(store, name), wanted, chosen))
        desk.request(TakeFees(token=token, amount=wanted, how=chosen, by=who, reason=reason), who,
                     {"token": token, "action": "fees", "how": how})  # fmt: skip


def _known(names: list[str], token: str, db: Path) -> list[str]:
    if token not in names:
        raise InputError(f"there is no token {token} in this database.", where=str(db),
                         fix=f"There are: {', '.join(names) or 'none'}.")  # fmt: skip
    return [token]


def _told(store: Store, name: str) -> dict[str, Any]:
    """Returns what a token owes and paid, minor units; and its NAV, units, and what the issuer has of them."""
    import msgspec

    from gearing.core.events import FeesTaken
    from gearing.core.holder import ISSUER, HolderState
    from gearing.core.journal import line_of, state_of
    from gearing.desk.boot import spec_of

    stored, issuer = store.state(f"token:{name}"), store.state(f"holder:{ISSUER}")
    if stored is None:
        raise InputError(f"{name} has no state.", where=str(store.path), fix="Run: gearing journal verify.")
    state = state_of(stored.body)
    own = HolderState() if issuer is None else msgspec.json.decode(issuer.body, type=HolderState)
    taken = {"cash": 0, "units": 0, "burn": 0}
    for row in store.tagged(f"token:{name}", "fees_taken"):
        event = line_of(row.body).event
        if isinstance(event, FeesTaken):
            taken[event.how] += event.amount
    return {"token": name, "currency": spec_of(store, name).settlement, "owed": -state.balances.fees, "taken": taken,
            "nav": state.nav, "units": state.balances.units, "issuer_units": own.units(name)}  # fmt: skip


def _show(told: list[dict[str, Any]]) -> None:
    from gearing.core.money import to_float

    if not told:
        say("There are no tokens yet.")
        return
    rows = []
    for one in told:
        taken = [f"{to_float(one['taken'][how]):,.2f}" for how in ("cash", "units", "burn")]
        rows.append((one["token"], f"{to_float(one['owed']):,.2f}", *taken, one["currency"]))
    right = [Column(name, "right") for name in ("owed", "taken as cash", "as units", "burned")]
    show_table(("token", *right, ""), rows)


def _effect(told: dict[str, Any], amount: int, how: FeesHow) -> str:
    """Returns what taking fees does, in words."""
    from gearing.core.money import MINOR, as_text

    owed, nav = told["owed"], told["nav"]
    sum_ = amount or owed
    head = (f"{told['token']} owes {as_text(owed, grouped=True)} {told['currency']}, and pays "
            f"{as_text(sum_, grouped=True) if amount else 'all of it'}.")  # fmt: skip
    if how == "cash":
        return f"{head} It is moved from its account at the venue to you with the next reconciliation; NAV stays."
    units = as_text(sum_ * MINOR // nav, grouped=True) if nav else "no"
    if how == "units":
        return (
            f"{head} The money stays in it; about {units} units are created for the issuer at a NAV of {as_text(nav)}."
        )
    return (f"{head} The issuer gives about {units} of its {as_text(told['issuer_units'], grouped=True)} units for it, "
            f"which are burned, and waives as much of what it is owed.")  # fmt: skip


def _how(text: str) -> FeesHow:
    if text == "cash":
        return "cash"
    if text == "units":
        return "units"
    if text == "burn":
        return "burn"
    raise InputError(f"{text!r} is no way to take fees.", where="--how", fix="One of cash, units, burn.")
