"""`gearing halt`, `resume`, `close` and `rebalance`: what a person asks of a running desk, and how it is asked."""

from __future__ import annotations

import getpass
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gearing.cli.output import JsonFlag, emit, note, say
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.core.events import Action
    from gearing.desk.requests import Answered, Wanted
    from gearing.desk.view import TokenView
    from gearing.store.store import Store

NO_ANSWER = 4
"""The exit code of a request that stands in the inbox and was not answered in time."""

_POLL_S = 0.05
DEMO = Path("gearing-demo.db")

DeskOption = Annotated[Path, typer.Option("--db", help="The desk's database.")]
TokenArgument = Annotated[str, typer.Argument(metavar="TOKEN", help="Its symbol.", show_default=False)]
ReasonOption = Annotated[str, typer.Option(help="Why; it is journalled.", show_default=False)]
ByOption = Annotated[str | None, typer.Option(help="Who asks; it is journalled.", show_default="the system's user")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask again.")]
KeyOption = Annotated[
    str | None,
    typer.Option(help="Makes it one request, however often it is sent; the same key gives the saved answer.",
                 show_default="a new one"),
]  # fmt: skip
TimeoutOption = Annotated[float, typer.Option(min=0, help="Seconds to wait for the desk's answer.")]


def halt(
    token: TokenArgument,
    reason: ReasonOption,
    db: DeskOption = DEMO,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Halts a token: it keeps its position and its books, and sends no order until it is resumed."""
    _ask("halt", token, reason, db, by, yes=yes, key=key, timeout=timeout, as_json=as_json)


def resume(
    token: TokenArgument,
    reason: ReasonOption,
    db: DeskOption = DEMO,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Lets a halted token trade again, and its book where that was halted too."""
    _ask("resume", token, reason, db, by, yes=yes, key=key, timeout=timeout, as_json=as_json)


def close(
    token: TokenArgument,
    reason: ReasonOption,
    db: DeskOption = DEMO,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Closes a token's whole position, for good."""
    _ask("close", token, reason, db, by, yes=yes, key=key, timeout=timeout, as_json=as_json)


def rebalance(
    token: TokenArgument,
    reason: ReasonOption,
    db: DeskOption = DEMO,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Rebalances a token to its target at once, whatever its rule's triggers say."""
    _ask("rebalance", token, reason, db, by, yes=yes, key=key, timeout=timeout, as_json=as_json)


def pause(
    token: TokenArgument,
    reason: ReasonOption,
    db: DeskOption = DEMO,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Creates no more units of a token until it is unpaused; redemptions and rebalances go on."""
    _ask("pause", token, reason, db, by, yes=yes, key=key, timeout=timeout, as_json=as_json)


def unpause(
    token: TokenArgument,
    reason: ReasonOption,
    db: DeskOption = DEMO,
    by: ByOption = None,
    yes: YesOption = False,
    key: KeyOption = None,
    timeout: TimeoutOption = 10.0,
    as_json: JsonFlag = False,
) -> None:
    """Creates units of a paused token again."""
    _ask("unpause", token, reason, db, by, yes=yes, key=key, timeout=timeout, as_json=as_json)


def _ask(
    action: Action, token: str, reason: str, db: Path, by: str | None, *, yes: bool, key: str | None, timeout: float,
    as_json: bool,
) -> None:  # fmt: skip
    """Shows what a request does, asks, puts it into the inbox, and waits for the answer."""
    from gearing.desk.lock import is_running
    from gearing.desk.requests import Operate
    from gearing.store.store import Store

    who = named(by, reason)
    with Store(db) as store:
        running = is_running(db)
        seen = seen_token(store, token, running=running)
        if not yes:
            confirm(action, _effect(action, seen), running=running)
        wanted = Operate(action=action, token=token, by=who, reason=reason)
        again = f"gearing {action} {token} --reason {reason!r}"
        request(store, wanted, who, again, running=running, key=key, timeout=timeout, as_json=as_json,
                details={"token": token, "action": action})  # fmt: skip


def named(by: str | None, reason: str) -> str:
    """Returns who asks.

    Raises:
        InputError: the reason is empty.
    """
    if not reason.strip():
        raise InputError("the reason is empty.", where="--reason", fix="Say why; whoever reads the journal asks.")
    return by or getpass.getuser()


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


def request(
    store: Store, wanted: Wanted, principal: str, again: str, *, running: bool, key: str | None, timeout: float,
    as_json: bool, details: Mapping[str, object],
) -> None:  # fmt: skip
    """Puts a request into the inbox, waits for its answer, and tells it.

    Args:
        store: the database.
        wanted: the request.
        principal: who asks; keys are theirs.
        again: the command by which it is asked again, without key and database.
        running: whether a desk runs.
        key, timeout, as_json: as they were given.
        details: what the JSON tells of the request.
    """
    from gearing.desk.requests import answered_of, encode

    key = key or secrets.token_hex(8)
    asked = store.ask(principal, key, encode(wanted))
    body = asked.answer or _waited(store, asked.number, timeout if running else 0.0)
    payload = {**details, "by": principal, "key": key, "number": asked.number}
    if body is None:
        words = f"no answer within {timeout:g} s." if running else "no desk runs on this database; the request is kept."
        emit({**payload, "answer": None}, "gearing.operate/1", as_json)
        note(f"request {asked.number}: {words} It is carried out once a desk takes it. To ask again: {again} "
             f"--key {key} --db {store.path} --yes")  # fmt: skip
        raise typer.Exit(NO_ANSWER)
    _tell(answered_of(body), payload, as_json=as_json)


def _tell(answered: Answered, payload: Mapping[str, object], *, as_json: bool) -> None:
    if not answered.done:
        emit({**payload, "answer": answered}, "gearing.operate/1", as_json)
        raise InputError(f"the desk did not: {answered.words.rstrip('.')}.")
    emit({**payload, "answer": answered}, "gearing.operate/1", as_json, lambda: say(answered.words))


def _waited(store: Store, number: int, timeout: float) -> bytes | None:
    ends_s = time.monotonic() + timeout
    while True:
        answer = store.answer(number)
        if answer is not None or time.monotonic() >= ends_s:
            return answer
        time.sleep(_POLL_S)


def confirm(action: str, effect: str, *, running: bool) -> None:
    """Says what a request does, and asks; without a terminal nobody can be asked.

    Raises:
        InputError: there is no terminal.
        typer.Abort: the answer was no.
    """
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask at.", where=action, fix="Give --yes if it is meant.")
    say(effect)
    if not running:
        say("No desk runs on this database now: it is carried out once one starts.")
    typer.confirm("Do it?", abort=True, err=True)


def _effect(action: Action, seen: TokenView) -> str:
    """Returns what a request does to a token, in words."""
    now = seen.outlook
    held = ", ".join(f"{leg.lots:+,} lots of {leg.symbol} ({leg.notional:+,.0f})" for leg in now.legs if leg.lots)
    held = held or "nothing"
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
