"""`gearing halt`, `resume`, `close` and others: what a person asks of a token that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

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
from gearing.cli.output import JsonFlag
from gearing.cli.reading import RunningDeskOption
from gearing.errors import InputError
from gearing.numerals import contracts

if TYPE_CHECKING:
    from gearing.core.events import Action
    from gearing.desk.view import TokenView
    from gearing.store.store import Store


def _asks(action: Action, words: str) -> Callable[..., None]:
    """Returns the command that asks for an action; its help says these words."""

    def command(
        context: typer.Context,
        token: TokenArgument,
        reason: ReasonOption,
        db: RunningDeskOption = None,
        by: ByOption = None,
        yes: YesOption = False,
        key: KeyOption = None,
        timeout: TimeoutOption = 10.0,
        as_json: JsonFlag = False,
    ) -> None:
        _ask(action, token, reason, by, Asking(context, db, yes, key, timeout, as_json))

    command.__name__, command.__doc__ = action, words
    return command


halt = _asks("halt", "Halts a token: it keeps its position and its books, and sends no order until it is resumed.")
resume = _asks("resume", "Lets a halted token trade again, and its book where that was halted too.")
close = _asks("close", "Closes a token's whole position, for good.")
rebalance = _asks("rebalance", "Rebalances a token to its target at once, whatever its rule's triggers say.")
pause = _asks("pause", "Creates no more units of a token until it is unpaused; redemptions and rebalances go on.")
unpause = _asks("unpause", "Creates units of a paused token again.")


def _ask(action: Action, token: str, reason: str, by: str | None, asking: Asking) -> None:
    """Shows what a request does, asks, puts it into the inbox, and waits for the answer."""
    from gearing.desk.requests import Operate

    who = named(by, reason)
    with asking.desk() as desk:
        desk.confirm(_effect(action, seen_token(desk.store, token, running=desk.running)))
        wanted = Operate(action=action, token=token, by=who, reason=reason)
        desk.request(wanted, who, {"token": token, "action": action})


def seen_token(store: Store, token: str, *, running: bool) -> TokenView:
    """Returns a token as the database tells of it.

    Raises:
        InputError: there is none of this symbol.
    """
    from gearing.desk.view import stored_view

    view = stored_view(store, running=running)
    seen = next((one for one in view.tokens if one.outlook.token == token), None)
    if seen is None:
        known = ", ".join(one.outlook.token for one in view.tokens) or "none"
        raise InputError(f"there is no token {token} in this database.", where=str(store.path),
                         fix=f"There are: {known}.")  # fmt: skip
    return seen


def _effect(action: Action, seen: TokenView) -> str:
    """Returns what a request does to a token, in words."""
    now = seen.outlook
    legs = [f"{contracts(leg.lots, leg.lot)} {leg.symbol} ({leg.notional:+,.0f})" for leg in now.legs if leg.lots]
    held = ", ".join(legs) or "nothing"
    head = f"{now.token} is {now.status} at {now.leverage:+.3f} times, and holds {held}, in {seen.settlement}."
    if action == "halt":
        return f"{head} Halted, it keeps that and sends no order, whatever the price does, until it is resumed."
    if action == "close":
        return f"{head} Closed, it trades all of that away at the market, and is over: it cannot be opened again."
    if action == "pause":
        return f"{head} Paused, it creates no units, and goes on otherwise."
    if action == "unpause":
        return f"{head} It creates units again."
    if action == "resume":
        return f"{head} Resumed, its rule is asked at the next price and may trade at once. Its book trades again too."
    forecast = now.forecast
    if forecast is None or not forecast.traded:
        return f"{head} It would go to its target of {now.target:+g}."
    return f"{head} It would go to {now.target:+g}: about {forecast.side} {forecast.traded:,.0f} at the market."
