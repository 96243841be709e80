"""`gearing venue`: the venues that tokens trade on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gearing.cli.output import FAULT_FOUND, Column, JsonFlag, count, emit, say, show_table
from gearing.errors import InputError

if TYPE_CHECKING:
    from gearing.venues.conformance import Verdict

venue_app = typer.Typer(help="The venues that tokens trade on.", no_args_is_help=True)

_VENUES = ("paper",)


@venue_app.callback()
def venue() -> None:
    """The venues that tokens trade on."""


@venue_app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="VENUE", help="Only paper for now.", show_default=False)],
    as_json: JsonFlag = False,
) -> None:
    """Plays the conformance cards on a venue: what it has to do for a desk to trade on it. Exit code 3: it does not."""
    import asyncio

    from gearing.venues.conformance import play_all
    from gearing.venues.paper.stage import paper_stage

    if name not in _VENUES:
        raise InputError(f"there is no venue {name!r}.", fix=f"Name one of: {', '.join(_VENUES)}.")

    async def played() -> list[Verdict]:
        return await play_all(await paper_stage())

    verdicts = asyncio.run(played())
    cards = [verdict._asdict() for verdict in verdicts]
    emit({"venue": name, "cards": cards}, "gearing.venue.check/1", as_json, lambda: _show(name, verdicts))
    if any(verdict.outcome == "failed" for verdict in verdicts):
        raise typer.Exit(FAULT_FOUND)


def _show(name: str, verdicts: list[Verdict]) -> None:
    rows = [(v.number, v.title, v.outcome + (f": {v.words}" if v.words else "")) for v in verdicts]
    show_table((Column("card", wrap=False), "what a venue has to do", f"{name}"), rows)
    typer.echo()
    passed = sum(v.outcome == "passed" for v in verdicts)
    left = sum(v.outcome == "not applicable" for v in verdicts)
    say(f"{passed} of {count(len(verdicts), 'card')} passed, {left} not applicable.")
