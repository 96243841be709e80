"""How a command asks a desk for something: what it shows first, what it puts into the inbox, and what it answers."""

from __future__ import annotations

import getpass
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer

from gearing.cli.again import command_line
from gearing.cli.output import emit, note, say
from gearing.cli.reading import reading
from gearing.errors import InputError
from gearing.typed import escaped

if TYPE_CHECKING:
    from gearing.desk.requests import Answered, Wanted
    from gearing.store.store import Store

NO_ANSWER = 4
"""The exit code of a request that stands in the inbox and was not answered in time."""
DECLINED = 130
"""The exit code of a command that was interrupted, or declined when it asked."""

_POLL_S = 0.05
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
        db: the desk's database; None: see `database_of`.
        yes: whether nobody is to be asked first.
        key: makes it one request, however often it is sent; None: a new one.
        timeout: seconds to wait for the answer.
        as_json: whether a program reads it.
    """

    context: typer.Context
    db: Path | None
    yes: bool
    key: str | None
    timeout: float
    as_json: bool

    @contextmanager
    def desk(self) -> Iterator[AskedDesk]:
        """The desk that is asked.

        Raises:
            InputError: see `reading`.
        """
        with reading(self.db, changes=True) as desk:
            yield AskedDesk(self, *desk, desk.name)


class AskedDesk(NamedTuple):
    """A desk that a command asks something of.

    Args:
        asking: how the command was told to ask.
        store: the desk's database.
        running: whether it runs.
        name: what every question and answer begins with: the desk's mode and its database.
    """

    asking: Asking
    store: Store
    running: bool
    name: str

    def confirm(self, effect: str, rows: Iterable[str] = ()) -> None:
        """Says what a request does, and asks; without a terminal nobody can be asked, but it is said.

        Args:
            effect: what it does.
            rows: of a table that is shown before it.

        Raises:
            InputError: there is no terminal.
            typer.Exit: the answer was no.
        """
        if self.asking.yes:
            return
        can_ask = sys.stdin.isatty()
        if can_ask or not self.asking.as_json:
            self._tell(effect, list(rows))
        if not can_ask:
            action = self.asking.context.command_path.partition(" ")[2]
            raise InputError("nothing was done: there is no terminal to ask at.", where=action,
                             fix="Give --yes if it is meant.")  # fmt: skip
        if not self.running:
            say("No desk runs on this database now: it is carried out once one starts.")
        try:
            agreed = typer.confirm("Do it?", err=True)
        except typer.Abort:  # Ctrl-C, or the terminal has gone
            typer.echo(err=True)
            agreed = False
        if not agreed:
            note("nothing was done.")
            raise typer.Exit(DECLINED)

    def _tell(self, effect: str, rows: list[str]) -> None:
        for row in [f"{self.name}:", *rows] if rows else ():
            typer.echo(escaped(row))
        say(f"{effect[:1].upper()}{effect[1:]}" if rows else f"{self.name}: {effect}")

    def request(
        self, wanted: Wanted, principal: str, details: Mapping[str, object], key: str | None = None, **instead: str
    ) -> Answered:
        """Puts a request into the inbox, waits for its answer, and tells it.

        Args:
            wanted: the request.
            principal: who asks; keys are theirs.
            details: what the JSON tells of the request.
            key: where none was given to the command; None: a new one.
            instead: what is to be said in place of an argument when the same is asked again.

        Raises:
            InputError: the desk rejected it.
            typer.Exit: it did not answer in time; the request is kept.
        """
        from gearing.desk.requests import answered_of, encode

        key = self.asking.key or key or secrets.token_hex(8)
        asked = self.store.ask(principal, key, encode(wanted))
        timeout = self.asking.timeout
        body = asked.answer or _waited(self.store, asked.number, timeout if self.running else 0.0)
        payload = {**details, "by": principal, "key": key, "number": asked.number}
        if body is None:
            why = f"no answer within {timeout:g} s." if self.running else "no desk runs on this database."
            self._emit(payload, None)
            again = command_line(self.asking.context, db=self.store.path, key=key, yes=True, **instead)
            note(f"{self.name}: request {asked.number}: {why} The request is kept, and carried out once a desk takes "
                 f"it. To ask again: {again}")  # fmt: skip
            raise typer.Exit(NO_ANSWER)
        return self.show(answered_of(body), payload)

    def show(self, answered: Answered, payload: Mapping[str, object]) -> Answered:
        """Shows an answer.

        Raises:
            InputError: the desk rejected it.
        """
        self._emit(payload, answered)
        if not answered.done:
            raise InputError(f"rejected: {answered.words.rstrip('.')}.", where=self.name)
        return answered

    def _emit(self, payload: Mapping[str, object], answered: Answered | None) -> None:
        told = {"mode": self.store.meta.mode, "database": str(self.store.path), **payload, "answer": answered}
        words = "" if answered is None or not answered.done else f"{self.name}: {answered.words}"
        emit(told, "gearing.operate/1", self.asking.as_json, partial(say, words) if words else None)


def named(by: str | None, reason: str) -> str:
    """Returns who asks.

    Raises:
        InputError: the reason is empty, or one of the two is no text of at most 1,000 characters.
    """
    if not reason.strip():
        raise InputError("the reason is empty.", where="--reason", fix="Say why; whoever reads the journal asks.")
    person = by or getpass.getuser()
    from gearing.desk.requests import Words

    for option, text in (("--reason", reason), ("--by", person)):
        try:
            msgspec.convert(text, Words)
        except msgspec.ValidationError as error:
            raise InputError(f"this is no text that can be kept: {error}.", where=option,
                             fix="Give one line of at most 1,000 characters.") from error  # fmt: skip
    return person


def _waited(store: Store, number: int, timeout: float) -> bytes | None:
    ends_s = time.monotonic() + timeout
    while True:
        answer = store.answer(number)
        if answer is not None or time.monotonic() >= ends_s:
            return answer
        time.sleep(_POLL_S)
