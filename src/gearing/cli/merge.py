"""`gearing token merge`: so many units become one, for every holder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
from gearing.cli.operate import seen_token
from gearing.cli.output import JsonFlag, count
from gearing.cli.reading import RunningDeskOption
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.store.store import Store


def token_merge(
    context: typer.Context,
    token: TokenArgument,
    factor: Annotated[float, typer.Option(help="So many units become one; above 1.", show_default=False)],
    reason: ReasonOption,
    db: RunningDeskOption = None,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Merges a token's units: NAV rises by the factor, and everybody has as much as before.

    Each holder's units, and those that wait to be redeemed, are rounded down; what is cut off is paid in money. All of
    it is one transaction. While a flow is being dealt it is refused. What the token's file counts in units, such as its
    supply cap, stays as it is.
    """
    from gearing.cli.compiling import loading_desk

    with loading_desk():
        from gearing.desk.requests import Merge

    if not 1.0 < factor < float("inf"):
        raise InputError(f"units cannot be merged by {factor:g}.", where="--factor", fix="Give a number above 1.")
    who, asking = named(by, reason), Asking(context, db, yes, key, timeout, as_json)
    with asking.desk() as desk:
        seen_token(desk.store, token, running=desk.running)
        if not yes:
            desk.confirm(_effect(desk.store, token, factor))
        wanted = Merge(token=token, factor=factor, by=who, reason=reason)
        desk.request(wanted, who, {"token": token, "action": "merge", "factor": factor})


def _effect(store: Store, token: str, factor: float) -> str:
    """Returns what a merger does, in words, as things stand in the database."""
    from gearing.core.journal import state_of
    from gearing.core.money import as_text
    from gearing.desk.boot import spec_of
    from gearing.drive.merging import merger

    states = {one.stream: one.body for one in store.states()}
    state, asset, holders = state_of(states[f"token:{token}"]), spec_of(store, token).settlement, store.holders()
    found, units = merger(holders, token, asset, state, factor, 0), state.balances.units
    nav = as_text(state.equity * 10**8 // found.units, grouped=True) if found.units else "none"
    whose = count(len(found.holders), "holder")
    return (f"{as_text(units, grouped=True)} units of {token} at a NAV of {as_text(state.nav, grouped=True)} {asset} "
            f"become {as_text(found.units, grouped=True)} at about {nav}, for {whose}; what is cut off is paid with "
            f"{as_text(found.cash, grouped=True)} {asset}. It cannot be undone.")  # fmt: skip
