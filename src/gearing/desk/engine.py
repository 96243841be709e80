"""The desk's engine: what comes in goes to the driver, what comes out is made durable, and then it is sent.

Everything that may wait (a commit, the venue, the clock) is awaited; the driver itself is only called in
between, so it never sees two inputs at once. Any failure to make something durable ends the engine: what was stepped
ahead is forgotten, and it starts anew from what is durable.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

from gearing.core.book import LiveOrder
from gearing.core.instruments import too_small
from gearing.core.money import to_float
from gearing.desk.clock import Clock
from gearing.desk.keeper import Answers, Keeper
from gearing.desk.margins import Margins
from gearing.desk.moves import CashMoves
from gearing.drive.driver import Driver
from gearing.drive.effects import Effects
from gearing.drive.margining import AskedMargin, MarginChoice, notional
from gearing.drive.outbox import Ask, Outbox, row_of
from gearing.drive.reconciling import differences, due_cash, take_unasked, unasked
from gearing.drive.reserve import payments
from gearing.drive.running import Book
from gearing.drive.settling import unbooked_since_ms, waited_for, with_empty
from gearing.store.records import OutboxChange, OutboxRow
from gearing.venues.protocol import (
    Forced,
    FundingPayment,
    GatewayError,
    OrderRequest,
    OrderStatus,
    Quote,
    RefusedError,
    Report,
    Trade,
    Venue,
)

LOG = logging.getLogger("gearing.desk")

RECONCILE_MS = 60_000
# How a venue fails to answer; anything else is a mistake of ours, and ends the engine.
SILENCE = (OSError, TimeoutError, GatewayError, RefusedError)
_AGAIN_MS = 1_000
_SETTLED_TRIES = 5
# A venue that tells nothing of a book for so long is told of: what waits for it trades nothing meanwhile.
_PATIENCE_MS = 180_000
_TOLD_MS = 2**62


class Judged(NamedTuple):
    """Commands that were judged at a price, in answer to requests that waited for it.

    Args:
        answers: made durable together with what came of the price.
        report: is called once they are.
    """

    answers: Answers = ()
    report: Callable[[], object] = lambda: None


class Engine:
    """Runs a driver against venues.

    Args:
        driver: with its books and tokens.
        outbox: with the orders that have not ended.
        venues: the venue of each book.
        keeper: makes things durable.
        clock: the market's time.
        reconcile_ms: books are reconciled so often.
        reserve: what may be paid in for all tokens that were wiped out, of each currency, minor units.
        margins: how a token's instruments are margined, by its symbol; by default, see `MarginChoice`.
    """

    def __init__(
        self, driver: Driver, outbox: Outbox, venues: dict[str, Venue], keeper: Keeper, clock: Clock, *,
        reconcile_ms: int = RECONCILE_MS, reserve: int = 0, margins: Mapping[str, MarginChoice] | None = None,
    ) -> None:  # fmt: skip
        self.driver, self.outbox, self.venues, self.keeper, self.clock = driver, outbox, venues, keeper, clock
        self.reconcile_ms, self.reserve = reconcile_ms, reserve
        self.margins = Margins(margins or {})
        self.moves = CashMoves(driver, venues, clock, self.settle)
        self.on_alarm: Callable[[str], None] = LOG.warning
        self.on_kept: Callable[[Effects], None] = lambda effects: None
        self.judged: Callable[[], Judged] = Judged  # takes what was judged at the last prices
        self.maintenance: dict[str, AskedMargin] = {}
        self._paid: set[str] = set()
        self._lacking: set[str] = set()
        self._small: set[str] = set()
        self._silent_ms: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(
        self, quotes: Callable[[], Coroutine[Any, Any, None]],
        beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:  # fmt: skip
        """Runs until something fails or it is cancelled.

        Args:
            quotes: feeds prices in by `on_quotes`, once all books are reconciled.
            beside: what runs from the start, such as taking requests.
        """
        try:
            for work in beside:
                self._start(work())
            self._start(self._send_when_due())
            for name in self.venues:
                self._start(self._listen(name))
            self._start(self._begin(quotes))
            await self._failed
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _begin(self, quotes: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Reconciles every book, and then lets prices in; a failure meanwhile ends the engine like any other."""
        for name in self.venues:
            await self._reconciled(name)
        for name in self.venues:
            self._start(self._reconcile_often(name))
        await quotes()

    async def on_quotes(self, quotes: Sequence[Quote]) -> None:
        """Takes prices, and returns when what came of them is durable, with the answers to what waited for them."""
        if self.driver.on_quotes(quotes, self.clock.now_ms()):
            await self.settle_judged()

    async def settle_judged(self) -> None:
        """Makes durable what came of the inputs so far, with the answers to commands that were judged, and answers."""
        judged = self.judged()
        await self.settle(judged.answers)
        judged.report()

    async def settle(self, answers: Answers = ()) -> None:
        """Makes durable what came of the inputs so far; only then are orders released and fills asked for.

        Args:
            answers: to requests of the inbox, and questions put in with their answers, in the same transaction.
        """
        effects = self.driver.taken()
        if not effects and not answers:
            return
        for words in effects.alarms:
            self.on_alarm(words)
        now_ms = self.clock.now_ms()
        rows: list[OutboxRow | OutboxChange] = [
            row_of(self._book_of(order).name, order, now_ms) for order in effects.placed
        ]
        rows += [row for client_id in effects.closed if (row := self.outbox.done(client_id)) is not None]
        if effects.lines or rows or answers:
            await self.keeper.keep(effects, rows, answers)
            self.on_kept(effects)
        for order in effects.placed:
            if order.id not in effects.closed:
                self.outbox.add(self._book_of(order).name, order, now_ms)
        for client_id in effects.fetches:
            self._start(self._ask(Ask("fills", client_id)))
        self._wake.set()

    # The outbox.

    async def _send_when_due(self) -> None:
        while True:
            now_ms = self.clock.now_ms()
            for ask in self.outbox.take(now_ms):
                self._start(self._ask(ask))
            self._wake.clear()
            await self.clock.sleep_or(self._wake, min(self.outbox.next_ms() - now_ms, 60_000.0))

    async def _ask(self, ask: Ask) -> None:
        if ask.id not in self.outbox:
            return
        order, book = self.outbox.order(ask.id), self.driver.books[self.outbox.book_of(ask.id)]
        venue = self.venues[book.name]
        if ask.kind == "send":
            await self._send(book, venue, order)
        elif ask.kind == "query":
            await self._query(book, venue, order)
        else:
            await self._fetch(book, venue, order)

    async def _send(self, book: Book, venue: Venue, order: LiveOrder) -> None:
        if any(amount > 0 for amount in due_cash(book).values()):  # a flow's hedge is margined with the flow's money
            try:
                await self.moves.move(book)
            except SILENCE as error:
                LOG.info("the money of %s could not be moved before order %s: %r", book.name, order.id, error)
        if await self._is_withheld(book, order):
            return
        signed_ms = self.clock.now_ms()
        await self.keeper.keep(None, [self.outbox.sending(order.id, signed_ms)])
        if await self._is_withheld(book, order):  # it may have been halted meanwhile
            return
        request = OrderRequest(client_id=order.id, symbol=order.symbol, lots=order.lots, reduce_only=order.reduces,
                               signed_ms=signed_ms, window_ms=self.outbox.window_ms)  # fmt: skip
        try:
            status = await venue.place(request)
        except RefusedError as refused:
            self.driver.on_refused(book, order.id, f"{refused.code}: {refused}", self.clock.now_ms())
            await self.settle()
            return
        except Exception as error:  # whatever it is, it is no answer
            LOG.info("order %s is unknown: %r", order.id, error)
            self.outbox.is_unknown(order.id, self.clock.now_ms())
            self._wake.set()
            return
        self.outbox.is_known(order.id, self.clock.now_ms())
        self.driver.on_status(book, status)
        await self.settle()

    async def _is_withheld(self, book: Book, order: LiveOrder) -> bool:
        """Ends an order that must not be sent any more, though it was intended; returns whether it is not sent."""
        await self.margins.known(book.name)
        if order.id not in self.outbox:
            return True
        why = book.why_not_sent(order)
        if why:
            self.driver.on_refused(book, order.id, f"not sent: {why}", self.clock.now_ms())
            await self.settle()
        return bool(why)

    async def _query(self, book: Book, venue: Venue, order: LiveOrder) -> None:
        asked_ms = self.clock.now_ms()
        try:
            status = await venue.query(order.id)
        except SILENCE as error:
            LOG.info("query of %s failed: %r", order.id, error)
            return
        if order.id not in self.outbox:
            return
        if status is not None:
            self.outbox.is_known(order.id, self.clock.now_ms())
            self.driver.on_status(book, status)
        elif self.outbox.is_lost(order.id, asked_ms):
            self.driver.on_lost(book, order.id, self.clock.now_ms())
        await self.settle()

    async def _fetch(self, book: Book, venue: Venue, order: LiveOrder, until_ms: float = math.inf) -> None:
        try:
            trades = await venue.fills(order.id)
        except SILENCE as error:
            LOG.info("fills of %s: %r", order.id, error)
            return
        for trade in trades:
            if trade.time_ms <= until_ms:
                self.driver.on_trade(book, trade)
        await self.settle()

    # Reports and reconciliation.

    async def _listen(self, name: str) -> None:
        book, venue = self.driver.books[name], self.venues[name]
        while True:
            try:
                async for report in venue.reports():
                    await self._take(book, report)
                    await self.settle()
            except SILENCE as error:
                LOG.info("reports of %s broke off: %r", name, error)
            self.recheck(name)
            await self.clock.sleep_ms(_AGAIN_MS)
            await self._reconcile(name)

    async def _take(self, book: Book, report: Report) -> None:
        match report:
            case Trade():
                self.driver.on_trade(book, report)
            case OrderStatus():
                self.driver.on_status(book, report)
            case FundingPayment():
                self.driver.on_funding(book, report, self.clock.now_ms(), is_asked=False)
            case Forced():
                await self._force(book, report)

    async def _force(self, book: Book, forced: Forced) -> None:
        """Books what the venue closed by itself, after the fills before it: these say whose position it was.

        It is booked all the same if the venue does not return them now: the position is gone.
        """
        for order in book.state.live.values():
            if order.symbol == forced.symbol and not book.state.has_closed(forced.trade_id, forced.time_ms):
                await self._fetch(book, self.venues[book.name], order, forced.time_ms)
        self.driver.on_forced(book, forced)

    async def _catch_up(self, name: str) -> None:
        """Asks for what the reports may have lost: settlements, and trades the venue made by itself."""
        book, venue = self.driver.books[name], self.venues[name]
        since_ms = unbooked_since_ms(book, self.clock.now_ms())
        since_last_ms = book.state.reconciled_ms - 1  # what came in the millisecond of a statement may have come later
        for forced in await venue.forced_trades(since_last_ms):
            await self._force(book, forced)
        for arrival in await venue.received(since_last_ms):
            take_unasked(self.driver, book, arrival)
        settled = {
            symbol: await venue.settlements(symbol, since_ms) for symbol in sorted(book.shares | waited_for(book))
        }
        payments = await venue.funding_payments(since_ms)
        for payment in with_empty(book, settled, payments):
            self.driver.on_funding(book, payment, self.clock.now_ms())
        await self.settle()
        await self.moves.move(book)  # first: without what flows paid in the venue may refuse to give the reserve's back
        await self._settle_reserve(book)

    async def _settle_reserve(self, book: Book) -> None:
        """Brings to the venue what the reserve owes for tokens that were wiped out, and takes back what came later."""
        tokens = [(one.name, one.spec.token.settlement, one.state) for one in self.driver.tokens]
        paid, unpaid = payments(tokens, self.reserve, unasked(self.driver.books.values()))
        for due in paid:
            if self.driver.by_name[due.token].book is book and due.reference not in self._paid:
                await self.venues[book.name].transfer(due.asset, due.amount, due.reference)
                self._paid.add(due.reference)
        for due in unpaid:
            if due.amount > 0 and due.reference not in self._lacking:
                self.on_alarm(f"{due.token}: the reserve does not cover a shortfall of {to_float(due.amount):,.2f}")
                self._lacking.add(due.reference)

    def recheck(self, name: str) -> None:
        """Sends nothing from a book before its settings at the venue were read anew (R5)."""
        self.margins.forget(name)
        self._start(self._margined(name))

    async def _margined(self, name: str) -> None:
        """Reads a book's settings, however often it takes; a failed query is not "as specified"."""
        while not await self._read_settings(name, self.driver.lots):
            await self.clock.sleep_ms(_AGAIN_MS)

    async def _read_settings(self, name: str, listed: Collection[str]) -> bool:
        book, turn = self.driver.books[name], self.margins.turn(name)
        try:
            differing = await self.margins.differing(book, self.venues[name], listed)
        except SILENCE as error:
            self._is_silent(name, "settings", error)
            return False
        self.driver.on_settings(book, differing, self.clock.now_ms())
        await self.settle()
        return self.margins.know(name, turn)

    async def _reconciled(self, name: str) -> None:
        """Reconciles a book, however often it takes; a failed query is not "flat" (C3)."""
        while not await self._reconcile(name):
            await self.clock.sleep_ms(_AGAIN_MS)

    async def _reconcile_often(self, name: str) -> None:
        while True:
            await self.clock.sleep_ms(self.reconcile_ms)
            await self._reconcile(name)

    async def _reconcile(self, name: str) -> bool:
        """Holds the venue's statement against the ledger; returns whether it could be.

        While an order is under way the two may differ rightly, so it is done in a quiet moment.
        """
        book, venue = self.driver.books[name], self.venues[name]
        try:
            rules = await venue.instruments()
        except SILENCE as error:
            self._is_silent(name, "rules", error)
            return False
        if not await self._read_settings(name, {rule.symbol for rule in rules}):
            return False
        # Only now are the contracts known that a roll may open.
        self.driver.on_rules(book, rules, self.clock.now_ms())
        for _ in range(_SETTLED_TRIES):
            try:
                await self._catch_up(name)
                placed = book.state.orders
                statement = await venue.statement()
                self._silent_ms.pop(name, None)
                if book.state.live or book.state.orders != placed:
                    return False
                held = sum(notional(one, statement.positions) for one in book.tokens)
                self.maintenance[name] = AskedMargin(to_float(sum(statement.maintenance.values())), held)
                differs = differences(book, statement)
                if differs:  # a report may still be on its way
                    await self.clock.sleep_ms(_AGAIN_MS)
                    continue
            except SILENCE as error:
                self._is_silent(name, "statement", error)
                return False
            break
        self.driver.on_statement(book, statement)
        await self.settle()
        self._tell_of_small(book)
        return True

    def _tell_of_small(self, book: Book) -> None:
        """Raises an alarm once for each token whose capital is below the smallest trade: it holds nothing."""
        for one in book.tokens:
            token = one.spec.token
            # During a roll there are positions of the contracts it opens, beyond one of each leg.
            held = one.state.legs[: len(token.legs)]
            equity, marks, lots = (
                to_float(one.state.equity),
                [leg.mark for leg in held],
                [float(leg.lot) for leg in held],
            )
            small = (
                too_small(token.legs, token.target, equity, marks, lots) if equity > 0 and held and all(marks) else []
            )
            if small and one.name not in self._small:
                self.on_alarm(f"{one.name}: its capital of {equity:,.2f} {token.settlement} is too small to hold "
                              f"{small[0].symbol}: {small[0].wanted:,.2f} of it is below the smallest trade, "
                              f"{small[0].smallest:,.2f}")  # fmt: skip
            (self._small.add if small else self._small.discard)(one.name)

    def _is_silent(self, name: str, what: str, error: Exception) -> None:
        """Notes that the venue did not tell; a person hears of it once it has lasted."""
        LOG.info("the %s of %s cannot be read now: %r", what, name, error)
        now_ms = self.clock.now_ms()
        since_ms = self._silent_ms.setdefault(name, now_ms)
        if now_ms - since_ms >= _PATIENCE_MS:
            self._silent_ms[name] = _TOLD_MS
            self.on_alarm(f"{name}: for {(now_ms - since_ms) / 1000:.0f} s the venue has not told its {what} "
                          f"({error}); the book is not reconciled until it does")  # fmt: skip

    def _book_of(self, order: LiveOrder) -> Book:
        return self.driver.by_name[order.purpose.token].book

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # it may be cancelled before it began

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if not self._failed.done():
                self._failed.set_exception(error)
