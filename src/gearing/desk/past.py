"""Launches tokens, and lets them live through a past at full speed on the paper exchange that goes on with them.

Everything happens at once there (no latency, no fault). Nothing is written before the end: then the exchange's file is,
and after it the whole journal in one transaction. A database without a book therefore means that there was no past.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from gearing.core.chains import Chains
from gearing.core.holder import ISSUER
from gearing.core.money import FLOOR, MINOR, to_minor
from gearing.core.record import DAY_MS
from gearing.core.terms import Spec
from gearing.desk.boot import Booted, holders_of, stopped_of
from gearing.desk.feeds import Feed
from gearing.desk.invented import SLOT_MS, InventedHolders
from gearing.desk.keeper import commit_of
from gearing.desk.moves import next_move
from gearing.desk.planned import Placed, Planned
from gearing.drive.driver import Driver
from gearing.drive.margining import DEFAULT, MarginChoice, larger, wanted_settings
from gearing.drive.market import Market
from gearing.drive.outbox import row_of
from gearing.drive.primary import Primary
from gearing.drive.reconciling import due_cash
from gearing.drive.together import unpaid
from gearing.errors import InputError
from gearing.store.records import Commit, OutboxRow
from gearing.store.store import Store
from gearing.store.survey import has_orders, is_empty, survey
from gearing.venues.paper import requests as rq
from gearing.venues.paper.engine import Engine
from gearing.venues.paper.file import PaperFile, remove_paper_file
from gearing.venues.paper.records import Rate
from gearing.venues.protocol import (
    Forced,
    FundingPayment,
    OrderRequest,
    OrderStatus,
    Quote,
    RefusedError,
    Setting,
    Trade,
)

_HOUR_MS = 3_600_000
STEP_MS = 15 * 60_000
_RECONCILE_MS = DAY_MS


class Past:
    """Books and their exchange, driven by hand.

    Args:
        driver: with the books that there are.
        paper: the exchange.
        feed: the prices.
        holders: who come and go in it; None: nobody does.
        margins: how a token's instruments are margined, by its symbol; by default, see `MarginChoice`.
    """

    def __init__(
        self, driver: Driver, paper: Engine, feed: Feed, holders: InventedHolders | None = None,
        margins: Mapping[str, MarginChoice] | None = None,
    ) -> None:  # fmt: skip
        self.driver, self.paper, self.feed, self.holders = driver, paper, feed, holders
        self._margins = margins or {}
        self.commits: list[Commit] = []

    def launch(self, tokens: Iterable[Placed], incarnation: str, now_ms: int, number: int = 0) -> None:
        """Launches tokens at the prices of now, each with its capital at the venue.

        Args:
            tokens: which, with their books.
            incarnation: of the database.
            now_ms: the market's time.
            number: how many books the database has already.
        """
        driver, fresh = self.driver, list(tokens)
        quotes = self.feed.quotes_at(now_ms)
        for placed in fresh:
            driver.market.list_token(0, Chains(placed.token.legs).symbols)
        self._take(quotes, now_ms)
        for book in dict.fromkeys(placed.book for placed in fresh):
            names = [placed.token.symbol for placed in fresh if placed.book == book]
            driver.open_book(book, incarnation, names, now_ms, number + len(driver.books) + 1)
        self._set_margins(fresh)
        for token, book, capital in fresh:
            self.paper.ask(book, rq.Transfer(asset=token.settlement, amount=capital, reference=f"seed{token.symbol}"))
            spec = Spec(token)
            held = spec.chains.first(spec.chains.at(now_ms))
            lots = tuple(self.paper.state.listings[symbol].rules.lot for symbol in held)
            units = capital * MINOR // to_minor(token.initial_nav, FLOOR)
            driver.launch(driver.books[book], spec, lots, capital, units, now_ms)
        self._settle(now_ms)

    def _set_margins(self, fresh: Sequence[Placed]) -> None:
        """Sets how the instruments of new books are margined, before anything is held there (R5)."""
        wanted: dict[tuple[str, str], Setting] = {}
        for token, book, _ in fresh:
            for symbol, setting in wanted_settings(token, self._margins.get(token.symbol, DEFAULT)).items():
                wanted[book, symbol] = larger(wanted.get((book, symbol)), setting)
        for (book, symbol), setting in wanted.items():
            if symbol in self.paper.state.listings:
                self.paper.ask(book, rq.PutSetting(symbol=symbol, setting=setting))

    def live(self, start_ms: int, stop_ms: int, step_ms: int, progress: Callable[[int, int], None]) -> None:
        """Lets prices come from start to stop, a step apart."""
        total = max((stop_ms - start_ms) // step_ms, 1)
        for number, now_ms in enumerate(range(start_ms, stop_ms, step_ms)):
            self._take(self.feed.quotes_at(now_ms), now_ms)
            if self.holders is not None and now_ms // SLOT_MS != (now_ms - step_ms) // SLOT_MS:
                self.holders.ask_now(now_ms // SLOT_MS, now_ms)
                self._settle(now_ms)
            if now_ms // _RECONCILE_MS != (now_ms - step_ms) // _RECONCILE_MS:
                self._reconcile(now_ms)
            if number % 500 == 0:
                progress(number, total)

    def _reconcile(self, now_ms: int) -> None:
        """Moves the cash of flows, and holds the statements against the ledger."""
        for name, book in self.driver.books.items():
            for asset, amount in due_cash(book).items():
                moved = next_move(book, asset, amount, now_ms)
                self.driver.note(book, moved)
                self.paper.ask(name, rq.Transfer(asset=asset, amount=amount, reference=moved.reference))
            self.driver.on_statement(book, self.paper.statement(name))
        self._settle(now_ms)

    def _take(self, quotes: list[Quote], now_ms: int) -> None:
        settles = self.feed.settlements(self.paper.state.now_ms, now_ms) if self.paper.state.now_ms else []
        for due in settles:
            if due.symbol in self.paper.state.listings:
                rate = Rate(symbol=due.symbol, settlement_ms=due.time_ms, rate=due.rate)
                self.paper.control(rq.SetRate(rate=rate))
        listed = self.paper.state.listings
        self.paper.take([quote for quote in quotes if quote.symbol in listed])
        self._hear(now_ms)
        if settles:
            self._hear_of_sums(now_ms)
        self.driver.on_quotes(quotes, now_ms)
        self._settle(now_ms)

    def _hear_of_sums(self, now_ms: int) -> None:
        """Tells the driver of settlements that its books' exchange accounts were no part of."""
        for name, book in self.driver.books.items():
            settled = [one for symbol in sorted(book.shares) for one in self.paper.state.settled.get(symbol, ())[-1:]]
            for payment in list(unpaid(book, settled, self.paper.state.payments.get(name, ()))):
                self.driver.on_funding(book, payment, now_ms)

    def _settle(self, now_ms: int) -> None:
        """Has what came of it done at once, and what comes of that."""
        while effects := self.driver.taken():
            rows: list[OutboxRow] = []
            for order in effects.placed:
                book = self.driver.by_name[order.purpose.token].book
                rows.append(row_of(book.name, order, now_ms)._replace(status="done", signed_ms=now_ms,
                                                                      dead_after_ms=now_ms))  # fmt: skip
                request = OrderRequest(client_id=order.id, symbol=order.symbol, lots=order.lots,
                                       reduce_only=order.reduces, signed_ms=now_ms)  # fmt: skip
                try:
                    self.paper.ask(book.name, rq.Place(order=request))
                except RefusedError as refused:
                    self.driver.on_refused(book, order.id, f"{refused.code}: {refused}", now_ms)
                self._hear(now_ms)
            self.commits.append(commit_of(effects, rows, ()))

    def _hear(self, now_ms: int) -> None:
        """Tells the driver what the exchange reports."""
        reports, self.paper.state.reports[:] = list(self.paper.state.reports), []
        for account, report in reports:
            book = self.driver.books.get(account)
            if book is None:  # a book that is no part of this past; it asks for itself
                continue
            match report:
                case Trade():
                    self.driver.on_trade(book, report)
                case OrderStatus():
                    self.driver.on_status(book, report)
                case FundingPayment():
                    self.driver.on_funding(book, report, now_ms)
                case Forced():
                    self.driver.on_forced(book, report)


def begin(plan: Planned, store: Store, now_ms: int, progress: Callable[[int, int], None]) -> int:
    """Launches the tokens that the journal does not know; those of a new demo get a past.

    Args:
        plan: the desk.
        store: its database.
        now_ms: the market's time of a desk that goes on; 0: it is new.
        progress: is told how far the past has come: (done, of).

    Returns:
        How many tokens were launched.

    Raises:
        InputError: a new token shall join a book that trades already.
    """
    states = {row.stream for row in store.states()}
    if all(f"token:{placed.token.symbol}" in states for placed in plan.tokens):
        return 0
    seen = survey(store)
    fresh = [placed for placed in plan.tokens if not seen.has(f"token:{placed.token.symbol}")]
    taken = {placed.book for placed in plan.tokens if placed not in fresh}
    joining = next((placed for placed in fresh if placed.book in taken or seen.has(f"book:{placed.book}")
                    or has_orders(store, placed.book)), None)  # fmt: skip
    if joining is not None:
        raise InputError(f"{joining.token.symbol} is new, and book {joining.book} trades already.", where="tokens",
                         fix="Give the new token a book of its own.")  # fmt: skip
    if not fresh or f"holder:{ISSUER}" in seen.faults:  # nobody could be given their first units, see `unlaunched`
        return 0
    empty = is_empty(store)
    if empty:  # what an exchange kept for a desk that never began
        remove_paper_file(plan.paper_file)
    file = PaperFile(plan.paper_file, owner=store.meta.database, begun=not (empty or plan.new_exchange))
    try:
        # NAVs once an hour, and prices as far apart as the steps.
        driver = Driver(Market(plan.guard), nav_ms=_HOUR_MS, on_deleveraging=plan.config.breakers.on_deleveraging)
        driver.lots = plan.lots
        driver.primary = Primary(driver, holders_of(seen), stopped_of(seen))
        holders = InventedHolders(plan.config.feed.seed, plan.feed, driver) if plan.invents_holders else None
        past = Past(driver, Engine(plan.setup(quick=True), file.load(plan.setup(quick=True))), plan.feed, holders,
                    plan.margins)  # fmt: skip
        history_ms = int(plan.config.history_days * DAY_MS) if plan.config.mode == "demo" and empty else 0
        if history_ms:
            past.launch(fresh, store.meta.incarnation, plan.start_ms - history_ms)
            past.live(plan.start_ms - history_ms + STEP_MS, plan.start_ms, STEP_MS, progress)
        else:
            books = sum(stream.startswith("book:") for stream in (*seen.rows, *(seen.faults.keys() - seen.rows)))
            past.launch(fresh, store.meta.incarnation, now_ms or plan.start_ms, books)
        file.commit(past.paper.state.changed, past.paper.state)
        store.commit(past.commits)
    finally:
        file.close()
    return len(fresh)


def unlaunched(plan: Planned, booted: Booted) -> list[str]:
    """Returns why tokens of a desk were not launched, where nothing else tells of them."""
    return [
        f"{placed.token.symbol} is not launched: holder:{ISSUER}, which is given the first units, is not run"
        for placed in plan.tokens
        if placed.token.symbol not in booted.driver.by_name
        and booted.faults.keys().isdisjoint({f"token:{placed.token.symbol}", f"book:{placed.book}"})
    ]
