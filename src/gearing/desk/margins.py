"""Leverage and margin mode at the venue: set and read back before a book trades (R5)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping

from gearing.core.token import Token
from gearing.drive.margining import DEFAULT, MarginChoice, larger, may_be_set, needed, said, wanted_settings
from gearing.drive.running import Book
from gearing.venues.protocol import RefusedError, Setting, Venue

_OVER = frozenset({"wiped", "closed"})


class Margins:
    """Which books' settings were read since they may have changed; from any other nothing is sent.

    Args:
        choices: what was chosen for a token, by its symbol; for one that is missing, the default.
    """

    def __init__(self, choices: Mapping[str, MarginChoice]) -> None:
        self._choices = choices
        self._read: dict[str, asyncio.Event] = {}
        self._turns: dict[str, int] = {}

    def forget(self, book: str) -> None:
        """Takes it that a book's settings may be others than they were, or are to be."""
        self._event(book).clear()
        self._turns[book] = self.turn(book) + 1

    def turn(self, book: str) -> int:
        """Returns how often a book's settings were forgotten; what was asked before the last time counts no more."""
        return self._turns.get(book, 0)

    def know(self, book: str, turn: int) -> bool:
        """Takes it that they were read, and that a book where they differ is halted; returns whether that counts.

        Args:
            book: whose.
            turn: that of before they were asked for.
        """
        if turn != self.turn(book):
            return False
        self._event(book).set()
        return True

    async def known(self, book: str) -> None:
        """Waits until they were read."""
        await self._event(book).wait()

    def why_short(self, token: Token) -> str:
        """Returns why the leverage that was chosen does not carry a token; empty: it does."""
        chosen = self._choices.get(token.symbol, DEFAULT).leverage
        if chosen is None or chosen >= needed(token):
            return ""
        return f"needs a leverage of {needed(token):g} at the venue, and the desk's file gives it {chosen:g}"

    async def differing(self, book: Book, venue: Venue, listed: Collection[str]) -> tuple[str, ...]:
        """Reads every setting of a book, sets what may be set, reads it back; returns what still differs, in words.

        Args:
            book: whose.
            venue: where.
            listed: the venue's instruments; a next contract of a chain that is among them is set before its roll.

        Raises:
            Exception: the venue did not tell; nothing is known then.
        """
        wanted: dict[str, Setting] = {}
        lots: dict[str, int] = {}
        for running in book.tokens:
            if running.state.status in _OVER and running.state.is_flat:
                continue
            settings = wanted_settings(running.spec.token, self._choices.get(running.name, DEFAULT))
            coming = [symbol for symbol in running.spec.chains.coming(running.state) if symbol in listed]
            for symbol in [*running.symbols, *coming]:
                wanted[symbol] = larger(wanted.get(symbol), settings[symbol])
            for symbol, leg in zip(running.symbols, running.state.legs, strict=True):
                lots[symbol] = lots.get(symbol, 0) or leg.lots
        found = []
        for symbol, setting in wanted.items():
            now = await _set(venue, symbol, setting, lots.get(symbol, 0))
            if now != setting:
                found.append(said(symbol, now, setting))
        return tuple(found)

    def _event(self, book: str) -> asyncio.Event:
        return self._read.setdefault(book, asyncio.Event())


async def _set(venue: Venue, symbol: str, wanted: Setting, lots: int) -> Setting:
    """Sets what differs and may be set; returns what the venue says after that."""
    now = await venue.setting(symbol)
    if now == wanted or not may_be_set(now, wanted, lots):
        return now
    with contextlib.suppress(RefusedError):  # what it is then, the venue says below
        await venue.set_setting(symbol, wanted)
    return await venue.setting(symbol)
