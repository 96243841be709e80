"""Money of flows is moved between reserve and venue: each move is journalled before it is made, and is made once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gearing.core.book import CashMoved, MoveRefused
from gearing.core.money import to_float
from gearing.desk.clock import Clock
from gearing.drive.driver import Driver
from gearing.drive.reconciling import due_cash
from gearing.drive.running import Book
from gearing.venues.protocol import RefusedError, Venue


def next_move(book: Book, asset: str, amount: int, now_ms: int) -> CashMoved:
    """Returns the next move of a book's cash, under a reference that no other has."""
    reference = f"{book.state.incarnation}m{book.state.moves + 1}x{book.name}"
    return CashMoved(time_ms=now_ms, asset=asset, amount=amount, reference=reference)


class CashMoves:
    """Moves what flows brought in, or took out.

    Args:
        driver: with its books.
        venues: the venue of each book.
        clock: the market's time.
        settle: makes durable what came of the inputs so far.
    """

    def __init__(
        self, driver: Driver, venues: Mapping[str, Venue], clock: Clock, settle: Callable[[], Awaitable[None]]
    ) -> None:
        self._driver, self._venues, self._clock, self._settle = driver, venues, clock, settle
        self._sure: set[str] = set()
        self._unkept: set[str] = set()
        self._refused: set[str] = set()
        self._locks = {name: asyncio.Lock() for name in venues}

    async def move(self, book: Book) -> None:
        """Brings what flows paid in to the venue's account, and fetches what was paid out."""
        async with self._locks[book.name]:  # whoever comes meanwhile finds it done
            await self._move(book)

    async def _move(self, book: Book) -> None:
        if book.name in self._unkept:  # a move that is not durable yet is made by nobody else
            return
        if book.name not in self._sure:  # the desk may have gone down before it was made
            await self._make(book)
        for asset, amount in due_cash(book).items():
            self._sure.discard(book.name)
            await self._keep(book, next_move(book, asset, amount, self._clock.now_ms()))
            await self._make(book)

    async def _make(self, book: Book) -> None:
        """Makes the last move, however often it was asked for; one that the venue refuses is due again."""
        last = book.state.move
        if last is not None:
            try:
                await self._venues[book.name].transfer(*last)
                self._refused.discard(book.name)
            except RefusedError as refused:
                asset, amount, reference = last
                way, words = "into" if amount > 0 else "out of", str(refused)
                if book.name not in self._refused:  # it is told once, and goes out with what is made durable now
                    money = f"{to_float(abs(amount)):,.2f} {asset}"
                    self._driver.effects.alarms.append(f"{book.name}: {money} cannot be moved {way} its account at the "
                                                       f"venue ({words}); it is tried again")  # fmt: skip
                self._refused.add(book.name)
                await self._keep(book, MoveRefused(time_ms=self._clock.now_ms(), reference=reference, words=words))
        self._sure.add(book.name)

    async def _keep(self, book: Book, event: CashMoved | MoveRefused) -> None:
        self._driver.note(book, event)
        self._unkept.add(book.name)
        await self._settle()
        self._unkept.discard(book.name)

    def is_done(self, book: Book) -> bool:
        """Returns whether all money is where it belongs, and the venue has said so."""
        return book.name in self._sure and not due_cash(book)
