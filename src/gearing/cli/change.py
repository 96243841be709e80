"""`gearing change`: gives a running token another specification."""

from __future__ import annotations

from pathlib import Path
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
from gearing.cli.output import JsonFlag, heading, say, show_table
from gearing.cli.reading import RunningDeskOption
from gearing.errors import InputError, SpecError

if TYPE_CHECKING:
    from gearing.core.changes import Changed
    from gearing.core.token import Token
    from gearing.desk.view import TokenView
    from gearing.drive.effect import Effect
    from gearing.drive.outlook import Barrier, Outlook
    from gearing.store.store import Store


def change(
    context: typer.Context,
    token: TokenArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its new TOML file, whole.", show_default=False)],
    reason: ReasonOption,
    db: RunningDeskOption = None,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Gives a running token another specification: target, rule, weights, fees, limits, costs.

    It shows every difference and what would be traded, and asks. Symbol, settlement, first NAV and what the legs are
    stay as they were launched. While the token rebalances it is not changed.
    """
    from gearing.cli.compiling import loading_desk

    with loading_desk():
        from gearing.core.changes import differences
        from gearing.desk.boot import spec_of
    from gearing.desk.requests import Change

    who, asking = named(by, reason), Asking(context, db, yes, key, timeout, as_json)
    with asking.desk() as desk:
        store = desk.store
        seen, old = seen_token(store, token, running=desk.running), spec_of(store, token)
        new = _checked(file, old)
        changed = differences(old, new)
        if not changed and key is None:
            raise InputError(f"it says what {token} runs on already; there is nothing to change.", where=str(file))
        effect = _effect(store, seen, old, new) if changed else None
        if changed and not as_json:
            say(f"{desk.name}: {token} would change.")
            _show(seen, changed, effect)
        desk.confirm(f"{token} goes on as {file} says.")
        wanted = Change(specification=new, by=who, reason=reason)
        details = {"token": token, "action": "change", "differences": [one._asdict() for one in changed]}
        desk.request(wanted, who, details)


def _checked(file: Path, old: Token) -> Token:
    """Returns the specification of a file, once it is known that the token can go on with it.

    Raises:
        SpecError: it cannot; every reason is named.
    """
    from gearing.core.changes import change_problems
    from gearing.desk.planned import finite
    from gearing.market.token_file import read_token

    new = finite(read_token(file))
    problems = change_problems(old, new)
    if problems:
        raise SpecError(problems, where=str(file))
    return new


def _effect(store: Store, seen: TokenView, old: Token, new: Token) -> Effect | None:
    """Returns what the change would do at the last marks; None: that cannot be said now."""
    from gearing.core.journal import state_of
    from gearing.core.step_result import StepError
    from gearing.core.terms import Spec
    from gearing.drive.effect import effect_of

    found = store.state(f"token:{seen.outlook.token}")
    if found is None:
        return None
    try:
        return effect_of(Spec(old), Spec(new), state_of(found.body), store.last_ms())
    except StepError:
        return None


def _show(seen: TokenView, changed: tuple[Changed, ...], effect: Effect | None) -> None:
    now = seen.outlook
    show_table(("field", "from", "to"), changed)
    if effect is None:
        say(f"What that does cannot be said now: {now.token} is {now.status}, and trading or waiting for a price.")
        return
    after = effect.outlook
    heading("What that does, at the last marks")
    rows = [("target", f"{now.target:+g}", f"{after.target:+g}"), ("leverage", f"{now.leverage:+.3f}", "as it is")]
    for old, new in zip(now.legs, after.legs, strict=True):
        rows += [
            (f"{old.symbol} below", _price(old.below), _price(new.below)),
            (f"{old.symbol} above", _price(old.above), _price(new.above)),
        ]
    rows += [("next clock", _clock(now), _clock(after))]
    show_table(("", "now", "then"), rows)
    if effect.trade is not None:
        say(f"It would trade at the next price ({effect.reason}): {effect.trade.side} {effect.trade.traded:,.0f} "
            f"{seen.settlement} at the market, to {effect.trade.aim:+.4g}.")  # fmt: skip
    else:
        say(
            "It would trade nothing at once."
            if after.status == "open"
            else f"It is {after.status}, and trades nothing."
        )


def _price(barrier: Barrier | None) -> str:
    return "–" if barrier is None else f"{barrier.price:,.6g} ({barrier.move:+.1%})"


def _clock(seen: Outlook) -> str:
    from gearing.cli.console import clock

    return "none" if seen.due_ms is None else f"{seen.due} {clock(seen.due_ms, seconds=False)}"
