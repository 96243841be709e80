"""The driver: quotes, reports and requests come in; journal lines and orders come out. No clock, no I/O.

The desk wires it to feeds, a store and a venue, the simulation to virtual time, a replay to files. Whoever runs it
makes an input's effects durable before anything of them is sent, and before the next input's are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from msgspec import UNSET

from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core.book import BookState, book_step
from gearing.core.flow_parts import FlowNamed, flows_step
from gearing.core.invariants import breaches
from gearing.core.journal import Cause, Line, state_body, state_hash
from gearing.core.measured import measure
from gearing.core.record import DAY_MS
from gearing.core.state import TokenState
from gearing.core.step import BEHAVIOUR, step
from gearing.core.terms import Spec
from gearing.core.token import Token
from gearing.core.watch import Watch, needs, watch
from gearing.drive.breakers import OnDeleveraging, after_deleveraging
from gearing.drive.effects import START, Effects, Head
from gearing.drive.faults import isolated, run_isolated
from gearing.drive.listing import findings
from gearing.drive.market import Market
from gearing.drive.merging import merge_by_rule
from gearing.drive.orders import Orders
from gearing.drive.primary import Primary
from gearing.drive.reconciling import differences, words_of
from gearing.drive.rolls import Rolls
from gearing.drive.running import Book, Running, why_halted
from gearing.drive.settling import accrue, attention_ms, correct, unbooked, waits_before
from gearing.drive.starts import Starts
from gearing.drive.tally import Tally
from gearing.drive.together import (
    Position,
    close_ended,
    funding_shares,
    held_at,
    likely_sizes,
    positions,
    sizes_at,
    split_fill,
    split_forced,
    trade_together,
)
from gearing.drive.undo import UndoLog
from gearing.store.records import BookLine, FlowsLine, Nav, NavKind
from gearing.venues.protocol import Forced, FundingPayment, InstrumentRules, OrderStatus, Quote, Statement, Trade

_MINUTE_MS = 60_000

Result = TypeVar("Result")


class Driver:
    """Runs books and their tokens.

    Args:
        market: the guarded prices of every instrument.
        nav_ms: NAVs are published so often, in the market's time.
        on_deleveraging: what follows when the venue closed a part of a position by auto-deleveraging.
        starts: by how much scheduled starts are put off; by default not at all.
        patience_ms: how long the venue may take to report a funding settlement; ten times as long until an operator
            may book it by hand.

    Attributes:
        lots: the size of one lot of each instrument that a roll may open, as the venue lists it.
    """

    def __init__(
        self, market: Market, *, nav_ms: int = _MINUTE_MS, on_deleveraging: OnDeleveraging = "freeze",
        starts: Starts | None = None, patience_ms: int = _MINUTE_MS,
    ) -> None:  # fmt: skip
        self.starts, self.patience_ms = starts or Starts(), patience_ms
        self.market, self.nav_ms, self.on_deleveraging = market, nav_ms, on_deleveraging
        self.undo = UndoLog()
        self.tally = Tally()
        self.tokens: list[Running] = []
        self.books: dict[str, Book] = {}
        self.by_name: dict[str, Running] = {}
        self.effects = Effects()
        self.lots: dict[str, str] = {}
        self.orders = Orders(self)
        self.primary = Primary(self)
        self.rolls = Rolls(self)
        self.netting: dict[str, Book] = {}  # books whose tokens want to trade together

    # Taking up books and tokens.

    def open_book(
        self, name: str, incarnation: str, tokens: Iterable[str], now_ms: int, number: int | None = None
    ) -> Book:
        """Opens a new book, under a number that no other of its database has; by default the next of this driver."""
        book = self.adopt_book(name, BookState(), START)
        number = len(self.books) if number is None else number
        opened = bk.BookOpened(time_ms=now_ms, number=number, incarnation=incarnation, tokens=tuple(tokens))
        self.note(book, opened)
        return book

    def reopen_book(self, book: Book, incarnation: str, now_ms: int) -> None:
        """Opens a book anew after its database was restored: under a new incarnation, and halted."""
        tokens = book.state.tokens
        self.note(book, bk.BookOpened(time_ms=now_ms, number=book.state.number, incarnation=incarnation, tokens=tokens))
        self.note(book, bk.BookHalted(time_ms=now_ms, by="restore", reason="the database was restored from a backup"))

    def adopt_book(self, name: str, state: BookState, head: Head) -> Book:
        """Takes up a book as its journal left it."""
        book = Book(name, state, head)
        self.books[name] = book
        return book

    def adopt(self, book: Book, spec: Spec, state: TokenState, head: Head) -> Running:
        """Takes up a token as its journal left it; a new one's journal is empty."""
        running = Running(len(self.tokens), book, spec, state, head)
        self.tokens.append(running)
        self.by_name[running.name] = running
        book.tokens.append(running)
        book.sees_shares()
        self.rolls.take_up(running)
        self.market.list_token(running.number, spec.chains.symbols)
        run_isolated(self, book, "horizon", running.name, partial(self.arm, running))
        return running

    def launch(self, book: Book, spec: Spec, lots: tuple[str, ...], amount: int, units: int, now_ms: int) -> Running:
        """Launches a token at the prices of now, and seeds it."""
        contracts = spec.chains.at(now_ms)
        prices = tuple(self.market.price(symbol) for symbol in spec.chains.first(contracts))
        running = self.adopt(book, spec, TokenState(), START)
        running.looked_day = now_ms // DAY_MS
        self.apply(running, ev.Launched(time_ms=now_ms, token=spec.token, lots=lots, prices=prices,
                                        contracts=contracts))  # fmt: skip
        self.apply(running, ev.Seeded(time_ms=now_ms, amount=amount, units=units))
        self.primary.grant_seed(running, now_ms, amount)
        self.arm(running)
        return running

    def taken(self) -> Effects:
        """Returns what came of the inputs since the last call; they count as one instant, whose trades are netted."""
        while self.netting:
            book = self.netting.pop(next(iter(self.netting)))
            wanted, book.wanted = book.wanted, ()
            if not run_isolated(self, book, "netting", [one.order for one in wanted],
                                partial(trade_together, self, book, wanted, self.orders.ended)):  # fmt: skip
                for running in dict.fromkeys(one.running for one in wanted):
                    mine = [one.order for one in wanted if one.running is running]
                    work = partial(self.orders.withhold, running, mine, book.state.halted, wanted[0].time_ms)
                    run_isolated(self, book, "withholding", [running.name, mine], work)
        effects, self.effects = self.effects, Effects()
        return effects

    # Units of work.

    def atomically(
        self, work: Callable[[], Result], is_void: Callable[[Result], bool] = lambda _: False,
        cause: Cause | None = None,
    ) -> Result:  # fmt: skip
        """Runs a unit of work whole or not at all: if it raises, or its result is void, everything is as before.

        Args:
            work: changes tokens, books, holders and queues.
            is_void: whether a result says that nothing was done.
            cause: the command that it is; by default that of the work around it.
        """
        outer, self.effects = self.effects, Effects()
        self.effects.cause = cause or outer.cause
        self.undo.begin()
        is_kept = False
        try:
            result = work()
            is_kept = not is_void(result)
        finally:
            inner, self.effects = self.effects, outer
            if is_kept:
                self.undo.commit()
                outer.extend(inner)
                if cause is None:  # a line may have taken it
                    outer.cause = inner.cause
            else:
                self.undo.rollback()
        return result

    def remember(self, running: Running) -> None:
        """Records a token as it is, before a unit of work changes it."""
        self.undo.remember(running, partial(self._rearm, running))

    def _rearm(self, running: Running) -> None:
        """Sets the barriers of a token that was put back."""
        names = [name for name in running.spec.chains.symbols if name not in running.symbols]
        self.market.disarm(running.number, names)
        if running.horizon is not None:
            self._set(running, running.horizon)

    # What comes in.

    def on_quotes(self, quotes: Sequence[Quote], now_ms: int) -> bool:
        """Takes the prices of one instant, judges the acceptances that wait for them, and lets tokens act.

        Returns whether they concerned anybody; if not, nothing came of them.
        """
        concerned: set[int] = set()
        for quote in quotes:
            if crossed := self.market.take(quote, now_ms):
                concerned.update(crossed)
        self.tally.ticks += len(quotes)
        judged = self.primary.acceptances.judge(now_ms)
        expires = now_ms >= self.rolls.looks_ms
        if not concerned and not expires:
            return judged
        self.tally.crossings += len(concerned)
        for number in sorted(concerned):
            running = self.tokens[number]
            if not run_isolated(self, running.book, "price", running.name, partial(self.attend, running), retries=True):
                self._rearm(running)
        if expires:
            self.rolls.see_expired(now_ms)
        return True

    def attend(self, running: Running) -> None:
        """Asks a token what it does at the prices it has now; a roll that is due comes before its rule."""
        waits = running.rolls and self.rolls.attend(running)
        prices = self.market.prices(running.symbols)
        if prices is None:  # P4: without a good price of each leg nothing is done; the next one asks again
            self.arm(running)
            return
        if running.state.is_rolling and running.state.is_working:
            waits = True
        accrue(self, running, prices.time_ms, prices.marks)
        before, horizon = running.state, running.horizon
        delays_ms = self.starts.delays_ms(running.name, prices.time_ms // DAY_MS)
        event = ev.Marked(time_ms=prices.time_ms, prices=prices.marks, before_ms=prices.before_ms,
                          volumes=prices.volumes, delays_ms=delays_ms)  # fmt: skip
        tradable = running.state.status == "open" and not running.book.state.halted
        if running.state.dealing is not UNSET and tradable and needs(running.spec, running.state, event):
            self.primary.dealings.end_waiting(running, prices.time_ms)
        due = horizon is not None and prices.time_ms >= horizon.deadline_ms and not waits
        crossed = horizon is None or running.watched is not running.state or horizon.is_crossed(prices.marks)
        # While a flow waits its rule is not asked; that equity is gone counts all the same.
        asks_rule = running.state.dealing is UNSET or running.state.is_working
        if due or (crossed and needs(running.spec, running.state, event, asks_rule=asks_rule)):
            self.apply(running, event)
        sleeps = not crossed and running.state is before
        number = prices.time_ms // self.nav_ms
        publishes = number > running.nav_number
        if publishes:
            self.remember(running)
            running.nav_number = number
            self.publish(running, "minute", prices.time_ms, prices.marks)
        struck = running.state
        if publishes:
            merge_by_rule(self, running, prices.time_ms)
        self.primary.dealings.attend(running, prices, prices.time_ms)
        if horizon and sleeps and running.state is struck and struck.status == before.status:
            self._set(running, horizon)  # a mark within its horizon leaves that where it is
        else:
            self.arm(running)

    def publish(
        self, running: Running, kind: NavKind, time_ms: int, marks: tuple[float, ...], *, accrues: bool = False
    ) -> None:
        """Strikes a NAV at these prices and publishes it; before a dealing the day's fee is charged up to then.

        Without units there is none to be published: the next first unit costs the initial NAV.
        """
        provisional = True if running.state.is_provisional else UNSET
        self.apply(running, ev.NavStruck(time_ms=time_ms, prices=marks, accrues=accrues or UNSET, kind=kind,
                                         provisional=provisional))  # fmt: skip
        state = running.state
        if state.balances.units:
            self.effects.navs.append(Nav(running.name, time_ms, kind, state.nav, state.balances.units, marks))

    @isolated
    def on_trade(self, book: Book, trade: Trade) -> None:
        """Books a fill, once."""
        order = book.state.live.get(trade.client_id)
        if order is None or trade.trade_id in order.trades:
            return
        self.note(book, bk.Traded(time_ms=trade.time_ms, id=order.id, trade=trade.trade_id, lots=trade.lots,
                                  price=trade.price, commission=trade.commission))  # fmt: skip
        for portion in split_fill(book, order, trade):
            self.orders.fill(portion, trade.trade_id, trade.price, trade.time_ms)
        self.orders.close_if_whole(book, trade.client_id, trade.time_ms)
        for share in order.shares:
            self.arm(self.by_name[share.purpose.token])

    @isolated
    def on_status(self, book: Book, status: OrderStatus) -> None:
        """Takes the venue's word on an order; one that ended is closed once all its fills are booked."""
        order = book.state.live.get(status.client_id)
        if order is None or status.word == "open":
            return
        outcome: ev.Outcome = "cancelled" if status.word == "expired" else status.word
        if order.ends is None:
            self.note(book, bk.EndTold(time_ms=status.time_ms, id=order.id, outcome=outcome, filled=status.filled,
                                       words=status.reason))  # fmt: skip
        self.orders.close_if_whole(book, order.id, status.time_ms)
        if order.id in book.state.live:
            self.effects.fetches.append(order.id)

    @isolated
    def on_refused(self, book: Book, client_id: str, words: str, now_ms: int) -> None:
        """Takes the venue's refusal: the order does not exist."""
        if client_id in book.state.live:
            self.orders.close(book, client_id, "rejected", words, now_ms)

    @isolated
    def on_lost(self, book: Book, client_id: str, now_ms: int) -> None:
        """Takes it that an order never arrived: the venue knows none of its id, and it can no longer come."""
        order = book.state.live.get(client_id)
        if order is not None and order.filled == 0:
            self.orders.close(book, client_id, "lost", "", now_ms)

    @isolated
    def on_funding(self, book: Book, payment: FundingPayment, now_ms: int, *, is_asked: bool = True) -> None:
        """Books a settlement, once, on the size held at that instant.

        Args:
            book: whose.
            payment: what the venue says.
            now_ms: the time.
            is_asked: whether everything that changes a position was asked for before it; of a mere report, a size
                that does not fit is no proof, and the payment is asked for again.
        """
        if correct(self, book, payment, now_ms):
            return
        self.go_on(self.book_funding(book, payment, now_ms, is_asked=is_asked), now_ms)

    def go_on(self, tokens: Iterable[Running], now_ms: int) -> None:
        """Lets tokens deal again in which a settlement was booked."""
        for running in tokens:
            self.primary.dealings.after(running, now_ms)
            self.arm(running)

    def book_funding(
        self, book: Book, payment: FundingPayment, now_ms: int, *, is_asked: bool = True
    ) -> list[Running]:  # fmt: skip
        """Books a settlement in the tokens that held its instrument; returns those, in which dealing may go on."""
        at = [one for one in positions(book, payment.symbol) if payment.settlement_ms > one.leg.funded_ms]
        if not at or any(waits_before(one, payment.settlement_ms) is not None for one in at):
            return []  # one that was settled earlier is booked first; the payment is asked for again
        if not is_asked and any(self.settled_before(one, payment.settlement_ms) for one in at):
            return []  # what is asked for comes in its order
        sizes, words = sizes_at(at, payment), ""
        if any(one.leg.lots_at(payment.settlement_ms) is None for one in at):
            names = " and ".join(one.running.name for one in at)
            self.effects.alarms.append(f"{names}: funding of {payment.symbol} came too late for its size to be checked")
        elif sizes is None:
            if not is_asked or any(one.symbol == payment.symbol for one in book.state.live.values()):
                return []  # what changed the size may not be booked yet; the payment is asked for again
            words = f"F2: funding was paid on {payment.lots} lots, held were {held_at(at, payment)}"
        if sizes is None and payment.rate == payment.amount == 0:  # the venue says that there was no settlement
            sizes, words = [0] * len(at), ""
        if sizes is None:
            sizes = [payment.lots] if len(at) == 1 else likely_sizes(at, payment)
        for one, lots, amount in zip(at, sizes, funding_shares(sizes, at[0].leg, payment), strict=True):
            running = one.running
            if words:
                self.halt(running, "guard", words, now_ms)
            # What a position made since, it made at other marks and sizes: the settlement's own mark is past.
            self.apply(running, ev.FundingSettled(
                time_ms=now_ms, leg=one.k, settlement_ms=payment.settlement_ms, lots=lots, rate=payment.rate,
                amount=amount, prices=self.marks(running),
            ))  # fmt: skip
            self.forms_anew(running, now_ms)  # until now what waits could be taken back
            self.arm(running)
        return [one.running for one in at]

    def settled_before(self, at: Position, settlement_ms: int) -> int | None:
        """Returns the settlement before one, ms, that a position may have had and that is not booked; None: none."""
        before_ms = settlement_ms - self.market.funding_interval_ms(at.symbol)
        missed = at.leg.funded_ms < before_ms < settlement_ms and at.leg.lots_at(before_ms) != range(1)
        return before_ms if missed else None

    @isolated
    def on_forced(self, book: Book, forced: Forced) -> None:
        """Books what the venue closed by itself, once."""
        if book.state.has_closed(forced.trade_id, forced.time_ms):
            return
        self.note(book, bk.ForcedTold(time_ms=forced.time_ms, trade=forced.trade_id, symbol=forced.symbol,
                                      lots=forced.lots, deleveraged=forced.deleveraged))  # fmt: skip
        did = f"the venue {'deleveraged' if forced.deleveraged else 'liquidated'}"
        now_ms = max(forced.time_ms, self.market.now_ms)
        for at in positions(book, forced.symbol):
            # What was closed before a settlement was not held at it.
            if all(it.time_ms <= forced.time_ms for it in unbooked(self, at.running, now_ms)):
                self.primary.dealings.end_waiting(at.running, now_ms, keeps_excess=False)
        if not positions(book, forced.symbol):
            self.effects.alarms.append(f"{book.name}: {did} {forced.lots} lots of {forced.symbol}, held by no token")
        for at, lots, charge, paid in split_forced(book, forced):
            running = at.running
            self.apply(running, ev.Liquidated(
                time_ms=forced.time_ms, leg=at.k, lots=lots, price=forced.price, charge=charge, trade=forced.trade_id,
                deleveraged=forced.deleveraged, paid=paid, prices=self.marks(running)))  # fmt: skip
            self.effects.alarms.append(f"{running.name}: {did} {lots} lots of {forced.symbol}")
            if forced.deleveraged:
                self._after_deleveraging(running, forced.time_ms)
            self.arm(running)

    @isolated
    def on_statement(self, book: Book, statement: Statement) -> None:
        """Journals how the venue's statement compares with the ledger: a difference halts (C1), none is traded (C2)."""
        found = differences(book, statement)
        self.tally.differences += len(found)
        self.note(book, bk.Reconciled(time_ms=statement.time_ms, differences=found))
        book.statement = statement
        if found and not book.state.halted:
            words = words_of(found)
            self.note(book, bk.BookHalted(time_ms=statement.time_ms, by="reconciliation", reason=f"C1: {words}"))
            self.effects.alarms.append(f"{book.name}: halted, {words}")

    @isolated
    def on_rules(self, book: Book, rules: Sequence[InstrumentRules], now_ms: int) -> None:
        """Takes the venue's rules: lots of another size halt the book, an instrument that ended halts its token."""
        self.lots |= {rule.symbol: rule.lot for rule in rules}
        for rule in rules:
            self.market.set_interval(rule.symbol, rule.funding_interval_ms)
            if rule.symbol in book.shares and 0 < rule.delisted_ms <= now_ms:
                close_ended(self, book, rule.symbol, now_ms)
        if book.awaits_rules:
            self.undo.remember(book)
            book.awaits_rules = False
            # The others go on at the next price; what is closed has none.
            self.go_on([one for one in book.tokens if one.state.status == "closed"], now_ms)
        for running in book.tokens:
            asset, state = running.spec.token.settlement, running.state
            leaves = running.spec.chains.leaves(state)
            for action, words in findings(running.symbols, asset, state, rules, now_ms, leaves):
                if action == "book" and not book.state.halted:
                    self.note(book, bk.BookHalted(time_ms=now_ms, by="rules", reason=words))
                elif action == "token" and running.state.status == "open":
                    self.halt(running, "rules", words, now_ms)
                    continue
                self.tell(running, words)

    def on_settings(self, book: Book, differing: tuple[str, ...], now_ms: int) -> None:
        """Takes how the venue margins a book's instruments: a difference halts it (R5)."""
        if differing and not book.state.halted:
            words = f"R5: {'; '.join(differing)}"
            self.note(book, bk.BookHalted(time_ms=now_ms, by="settings", reason=words))
            self.effects.alarms.append(f"{book.name}: halted, {words}")

    def operate(self, running: Running, action: ev.Action, by: str, reason: str, now_ms: int) -> None:
        """Halts, resumes or closes a token, as a person asked."""
        if action in {"close", "rebalance"}:  # what the hedge of a flow holds is traded with the rest
            keeps = True if action == "close" else None  # a halted token is closed, too
            self.primary.dealings.end_waiting(running, now_ms, keeps_excess=keeps)
        self.apply(running, ev.Operated(time_ms=now_ms, action=action, by=by, reason=reason))
        self.forms_anew(running, now_ms)
        if action == "resume":  # a flow may wait for its excess to be unwound
            self.primary.dealings.after(running, now_ms)
        self.arm(running)

    def forms_anew(self, running: Running, now_ms: int) -> None:
        """Has the price of a token's matched requests form from now on, and no earlier than was set."""
        self.remember(running)
        running.since_ms = max(running.since_ms, now_ms)

    def change(self, running: Running, token: Token, by: str, reason: str, now_ms: int) -> None:
        """Goes on under another specification; what was until now is booked under the former one."""
        fresh, prices = Spec(token), self.market.prices(running.symbols, now_ms)
        if prices is not None and not running.state.is_working:
            self.publish(running, "rebalance", prices.time_ms, prices.marks)
        self.apply(running, ev.SpecificationChanged(time_ms=now_ms, token=token, by=by, reason=reason))
        self.remember(running)
        running.goes_on_under(fresh)
        self.rolls.take_up(running)
        running.merges = False
        self.undo.remember(running.book)
        running.book.sees_shares()
        self.market.list_token(running.number, fresh.chains.symbols)
        self.primary.hasten(running, now_ms)
        self.arm(running)

    def marks(self, running: Running) -> tuple[float, ...]:
        """Returns the marks of now, or the last ones that a token was marked at where there is no good price."""
        prices = self.market.prices(running.symbols)
        return tuple(leg.mark for leg in running.state.legs) if prices is None else prices.marks

    def halt(self, running: Running, by: str, reason: str, now_ms: int) -> None:
        """Halts a token by a circuit breaker."""
        if running.state.status == "open":
            self.apply(running, ev.Operated(time_ms=now_ms, action="halt", by=by, reason=reason))
        self.effects.alarms.append(f"{running.name}: {reason}")

    def tell(self, running: Running, words: str) -> None:
        """Has a person read what concerns a token, once."""
        if words not in running.told:
            self.remember(running)
            running.told |= {words}
            self.effects.alarms.append(f"{running.name}: {words}")

    # What goes out.

    def apply(self, running: Running, event: ev.TokenEvent) -> None:
        """Steps a token, journals what came of it, and places the orders it wants."""
        before = running.state
        done = step(running.spec, before, event)
        self.remember(running)
        body = state_body(done.state)
        line = Line(
            stream=running.stream, seq=running.head.seq + 1, time_ms=event.time_ms, behaviour=BEHAVIOUR, event=event,
            entry=done.entry, nav=done.state.nav, units=done.state.balances.units, state=state_hash(body),
        )  # fmt: skip
        running.state = done.state
        if running.rolls:
            self.rolls.follow(running)
        running.head = self.effects.append(running.stream, running.head, event.time_ms, line, body)
        for one in measure(running.measured, running.name, running.symbols, before, done.state, event):
            self.effects.rebalances[one.token, one.epoch] = one
            running.note_measured(one)
        if done.state.status != before.status:
            running.why = why_halted(event) if done.state.status == "halted" else ""
        broken = breaches(before, done.state, done.entry)
        if broken:
            self.halt(running, "invariants", "; ".join(broken), event.time_ms)
        if done.orders:
            self.orders.place(running, done.orders, event.time_ms)

    def name_flow(self, running: Running, event: FlowNamed) -> None:
        """Journals whose requests a flow is made of."""
        after = flows_step(running.flows_state, event)
        self.remember(running)
        running.flows_state, body, stream = after, state_body(after), running.flows_stream
        line = FlowsLine(stream=stream, seq=running.flows_head.seq + 1, time_ms=event.time_ms, behaviour=BEHAVIOUR,
                         event=event, state=state_hash(body))  # fmt: skip
        running.flows_head = self.effects.append(stream, running.flows_head, event.time_ms, line, body)

    def note(self, book: Book, event: bk.BookEvent) -> None:
        """Steps a book and journals it."""
        after = book_step(book.state, event)
        self.undo.remember(book)
        book.state = after
        body = state_body(book.state)
        line = BookLine(
            stream=book.stream, seq=book.head.seq + 1, time_ms=event.time_ms, behaviour=BEHAVIOUR, event=event,
            state=state_hash(body),
        )  # fmt: skip
        book.head = self.effects.append(book.stream, book.head, event.time_ms, line, body)
        for running in book.tokens if isinstance(event, bk.BookResumed) else ():
            self.forms_anew(running, event.time_ms)

    def arm(self, running: Running) -> None:
        """Sets the token's barriers to its horizon."""
        delay_of = partial(self.starts.delay_ms, running.name) if self.starts.has_window(running.name) else None
        self._set(running, watch(running.spec, running.state, delay_of))

    def _set(self, running: Running, horizon: Watch) -> None:
        self.remember(running)
        running.horizon, running.watched = horizon, running.state
        due_ms = min(float((running.nav_number + 1) * self.nav_ms), attention_ms(self, running))
        self.market.arm(running.number, running.symbols, horizon, due_ms)

    def _after_deleveraging(self, running: Running, now_ms: int) -> None:
        words = "the venue deleveraged the position"
        trades = running.state.dealing is UNSET and not running.state.is_rolling
        if trades and after_deleveraging(self.on_deleveraging, running.state) == "rebalance":
            self.operate(running, "rebalance", "breaker", words, now_ms)
        else:
            self.halt(running, "breaker", words, now_ms)
