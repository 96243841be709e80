"""Money of flows is moved between reserve and venue: each move is journalled before it is made, and is made once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from gearing.core.book import CashMoved
from gearing.desk.clock import Clock
from gearing.drive.driver import Driver
from gearing.drive.primary import due_cash
from gearing.drive.running import Book
from gearing.venues.protocol import Venue


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

    async def move(self, book: Book) -> None:
        """Brings what flows paid in to the venue's account, and fetches what was paid out."""
        venue, last = self._venues[book.name], book.state.move
        if book.name in self._unkept:  # a move that is not durable yet is made by nobody else
            return
        if book.name not in self._sure and last is not None:  # the desk may have gone down before it was made
            await venue.transfer(*last)
        self._sure.add(book.name)
        for asset, amount in due_cash(book).items():
            moved = next_move(book, asset, amount, self._clock.now_ms())
            self._driver.note(book, moved)
            self._sure.discard(book.name)
            self._unkept.add(book.name)
            await self._settle()
            self._unkept.discard(book.name)
            await venue.transfer(asset, amount, moved.reference)
            self._sure.add(book.name)

    def is_done(self, book: Book) -> bool:
        """Returns whether all money is where it belongs, and the venue has said so."""
        return book.name in self._sure and not due_cash(book)
