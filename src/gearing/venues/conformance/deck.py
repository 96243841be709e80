"""The deck of cards, and playing it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from gearing.venues.conformance.stage import CardFailedError, NotApplicableError, Stage, Verdict

Play = Callable[[Stage], Awaitable[None]]


class Card(NamedTuple):
    """A card: its number, what it asks for, and how it is played."""

    number: str
    title: str
    play: Play


DECK: dict[str, Card] = {}
"""All cards by number."""


def card(number: str, title: str) -> Callable[[Play], Play]:
    """Puts a function into the deck: it returns where the venue passes, else raises.

    Args:
        number: of the card, for ever.
        title: what a venue has to do.
    """

    def put(play: Play) -> Play:
        if number in DECK:
            raise ValueError(f"card {number} is there twice")
        DECK[number] = Card(number, title, play)
        return play

    return put


async def play(it: Card, stage: Stage) -> Verdict:
    """Plays one card from and to a flat position, and returns its verdict. An error of the venue fails it."""
    try:
        await stage.flatten()
        await it.play(stage)
        await stage.flatten()
    except NotApplicableError as why:
        return Verdict(it.number, it.title, "not applicable", str(why))
    except CardFailedError as why:
        return Verdict(it.number, it.title, "failed", str(why))
    except Exception as error:  # whatever a venue raises is a finding about it
        return Verdict(it.number, it.title, "failed", f"{type(error).__name__}: {error}")
    return Verdict(it.number, it.title, "passed", "")


async def play_all(stage: Stage) -> list[Verdict]:
    """Plays all cards in the order of their numbers."""
    return [await play(it, stage) for _, it in sorted(DECK.items())]
