"""How a command asks a desk for something: what it shows first, what it puts into the inbox, and what it answers."""

from __future__ import annotations

import getpass
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from gearing.cli.again import command_line
from gearing.cli.output import emit, note, say
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.desk.requests import Answered, Wanted
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


class Asking(NamedTuple):
    """How a command was told to ask.

    Args:
        context: the command.
        db: the desk's database.
        yes: whether nobody is to be asked first.
        key: makes it one request, however often it is sent; None: a new one.
        timeout: seconds to wait for the answer.
        as_json: whether a program reads it.
    """

    context: typer.Context
    db: Path
    yes: bool
    key: str | None
    timeout: float
    as_json: bool

    def confirm(self, effect: str, *, running: bool) -> None:
        """Says what a request does, and asks; without a terminal nobody can be asked.

        Raises:
            InputError: there is no terminal.
            typer.Abort: the answer was no.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            action = self.context.command_path.partition(" ")[2]
            raise InputError("there is no terminal to ask at.", where=action, fix="Give --yes if it is meant.")
        say(effect)
        if not running:
            say("No desk runs on this database now: it is carried out once one starts.")
        typer.confirm("Do it?", abort=True, err=True)

    def request(
        self, store: Store, wanted: Wanted, principal: str, details: Mapping[str, object], *, running: bool,
        **instead: str,
    ) -> Answered:  # fmt: skip
        """Puts a request into the inbox, waits for its answer, and tells it.

        Args:
            store: the database.
            wanted: the request.
            principal: who asks; keys are theirs.
            details: what the JSON tells of the request.
            running: whether a desk runs.
            instead: what is to be said in place of an argument when the same is asked again.

        Raises:
            InputError: the desk refused.
            typer.Exit: it did not answer in time; the request is kept.
        """
        from gearing.desk.requests import answered_of, encode

        key = self.key or secrets.token_hex(8)
        asked = store.ask(principal, key, encode(wanted))
        body = asked.answer or _waited(store, asked.number, self.timeout if running else 0.0)
        payload = {**details, "by": principal, "key": key, "number": asked.number}
        if body is None:
            why = f"no answer within {self.timeout:g} s." if running else "no desk runs on this database."
            emit({**payload, "answer": None}, "gearing.operate/1", self.as_json)
            note(f"request {asked.number}: {why} The request is kept, and carried out once a desk takes it. To ask "
                 f"again: {command_line(self.context, key=key, yes=True, **instead)}")  # fmt: skip
            raise typer.Exit(NO_ANSWER)
        return self.show(answered_of(body), payload)

    def show(self, answered: Answered, payload: Mapping[str, object]) -> Answered:
        """Shows an answer.

        Raises:
            InputError: the desk refused.
        """
        emit({**payload, "answer": answered}, "gearing.operate/1", self.as_json,
             lambda: say(answered.words) if answered.done else None)  # fmt: skip
        if not answered.done:
            raise InputError(f"the desk refused: {answered.words.rstrip('.')}.")
        return answered


def named(by: str | None, reason: str) -> str:
    """Returns who asks.

    Raises:
        InputError: the reason is empty.
    """
    if not reason.strip():
        raise InputError("the reason is empty.", where="--reason", fix="Say why; whoever reads the journal asks.")
    return by or getpass.getuser()


def _waited(store: Store, number: int, timeout: float) -> bytes | None:
    ends_s = time.monotonic() + timeout
    while True:
        answer = store.answer(number)
        if answer is not None or time.monotonic() >= ends_s:
            return answer
        time.sleep(_POLL_S)
