"""The inbox: what people ask of a running desk, taken in order, carried out and answered in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import msgspec

from gearing.core import book as bk
from gearing.core.changes import differences
from gearing.core.journal import Cause
from gearing.core.step_result import StepError
from gearing.desk import issuer
from gearing.desk.causes import Causes, Known, cause_of
from gearing.desk.counter import answer, arrival, judge, token_to_wait_for, wait
from gearing.desk.engine import Engine, Judged
from gearing.desk.operable import why_book_stays_halted, why_never, why_not
from gearing.desk.rejections import or_rejected
from gearing.desk.requests import (
    ISSUERS,
    Adopt,
    Answered,
    AskQuote,
    AtCounter,
    Change,
    Deal,
    Operate,
    QuoteTerms,
    TakeQuote,
    Wanted,
    answered_of,
    encode,
    is_rejected,
    wanted_of,
)
from gearing.drive.acceptances import Judgement
from gearing.drive.crowds import QUOTE_EXPIRED
from gearing.drive.running import Running
from gearing.errors import GearingError
from gearing.store.errors import StoreError
from gearing.store.records import Answer, NavKind, PutIn, Question, Request
from gearing.store.store import Store, digest_of

# The database is looked at so often for what other processes ask; they wait about half of it.
_POLL_S = 0.1
# Requests that are carried out before prices are looked at again, and answered in one transaction.
_GROUP_MAX = 64
# Groups that are on their way to the disk at most.
_GROUPS_MAX = 8
# So long a desk that begins holds back what needs its first prices, rather than refuse it for want of them.
_BEGINS_S = 10.0

_DONE = {
    "halt": "halted; it sends nothing until it is resumed",
    "resume": "open; its rule is asked at the next price",
    "close": "closing its whole position",
    "rebalance": "rebalancing to its target",
    "pause": "paused: it creates no units; redemptions go on",
    "unpause": "creating units again",
}


Told = Callable[[Answered | StoreError], object]
"""Is told an answer once it is durable, or why there is none."""

# The number of a question that is put in with its answer, and numbered by that.
_UNNUMBERED = 0


class _Asked(NamedTuple):
    """A request on its way.

    Args:
        request: what is asked.
        told: who is told; nobody is of those that the database has already.
        mergers: how many mergers of units there had been when the desk took it in.
    """

    request: Request
    told: Told | None
    mergers: int


class Inbox:
    """Takes requests.

    Args:
        engine: whose driver carries them out.
        store: where they wait.

    Attributes:
        on_rejected: is told of a subscription or redemption that was rejected.
    """

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine, self._store = engine, store
        self._queue = deque[_Asked]()
        self._taken = 0  # the last of the database that was taken into the queue
        self._look_s = 0.0  # before that nothing else is looked for there
        # Up to this number, requests there are of before `_ahead` mergers, by when there had been `_mergers`.
        self._behind, self._mergers = 0, engine.driver.primary.mergers
        self._ahead = self._mergers
        self._expected: dict[int, list[Told]] = {}
        self._causes = Causes(store)
        # Commands of each holder that has a dealing waiting for its price: that one, and those that came after it.
        self._held: dict[str, deque[_Asked]] = {}
        self._ready = deque[str]()  # holders whose first held command no longer waits for anything
        self._judged: list[tuple[_Asked, Answered]] = []  # answered at the last prices, and not durable yet
        self._answering: list[_Asked] = []
        engine.judged = self._take_judged
        self._wake = asyncio.Event()
        self.on_rejected: Callable[[Deal, Answered], None] = lambda wanted, answered: None

    def hand(self, question: Question, told: Told) -> None:
        """Takes a question that is in no database yet; it is put in with its answer.

        Args:
            question: under a key that stands for nothing else.
            told: is called once what came of it is durable, or with why there is no answer.
        """
        self._queue.append(_Asked(Request(_UNNUMBERED, *question), told, self._engine.driver.primary.mergers))
        self._wake.set()

    def expect(self, number: int, told: Told) -> None:
        """Has the answer to a request of another process told once it is durable, besides being kept."""
        body = self._store.answer(number)
        if body is None:
            self._expected.setdefault(number, []).append(told)
        else:
            told(answered_of(body))

    async def run(self) -> None:
        """Runs until it is cancelled. The next group is carried out while those before it become durable."""
        groups, loop = deque[asyncio.Task[None]](), asyncio.get_running_loop()
        begun_s = loop.time() + _BEGINS_S
        try:
            while True:
                self._wake.clear()
                self._look()
                await self._expire()
                asked = self._next(begins=loop.time() < begun_s)
                idle = not asked and not self._ready
                if not idle:
                    groups.append(asyncio.ensure_future(self._serve(asked)))
                    await asyncio.sleep(0)  # it is carried out before anything else is asked for
                if groups and (idle or len(groups) >= _GROUPS_MAX or groups[0].done()):
                    await groups.popleft()
                elif idle:
                    await self._waken()
        finally:
            for group in groups:
                group.cancel()
            await asyncio.gather(*groups, return_exceptions=True)
            self._refuse([*self._queue, *(one for held in self._held.values() for one in held),
                          *(one for one, _ in self._judged), *self._answering])  # fmt: skip
            for told in (told for waiting in self._expected.values() for told in waiting):
                told(unanswered())

    def _look(self) -> None:
        """Takes up what other processes have put into the database, every now and then."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._look_s:
            return
        primary = self._engine.driver.primary
        mergers, found = primary.mergers, self._store.requests(self._taken, _GROUP_MAX)
        for request in found:
            if request.number > self._behind:
                self._mergers = self._ahead
            before = primary.mergers_by(request.after_n, self._mergers)
            self._queue.append(_Asked(request, None, before))
            self._taken = request.number
        if self._taken >= self._behind and mergers != self._ahead:
            # Whatever waits there by now may have been put in before the last merger.
            self._behind, self._ahead = self._store.last_request(), mergers
        self._look_s = now_s if len(found) == _GROUP_MAX else now_s + _POLL_S

    def _next(self, *, begins: bool) -> list[_Asked]:
        """Takes what is carried out next; while the desk begins, what wants prices that have not come is held back."""
        if not begins:
            return [self._queue.popleft() for _ in range(min(len(self._queue), _GROUP_MAX))]
        ready, held = list[_Asked](), deque[_Asked]()
        for one in self._queue:
            if len(ready) == _GROUP_MAX or self._is_early(one.request, bool(held)):
                held.append(one)
            else:
                ready.append(one)
        self._queue = held
        return ready

    async def _waken(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                await self._wake.wait()

    async def _serve(self, group: Sequence[_Asked]) -> None:
        """Carries requests out in order; what came of all of them and their answers are one transaction."""
        answered: list[tuple[_Asked, Answered]] = []
        held: list[_Asked] = []
        try:
            known = self._known_of(group)
            self._serve_ready(answered)
            for one in group:
                said = or_rejected(self._engine, one.request, partial(self._take, one, known, self._holds))
                if said is None:
                    held.append(one)
                else:
                    answered.append((one, said))
            await self._engine.settle([_kept(one, said) for one, said in answered])
        except BaseException:
            asked = {id(one): one for one in (*group, *(one for one, _ in answered))}
            self._refuse(one for at, one in asked.items() if not any(one is other for other in held))
            raise
        self._report(answered)

    def _take(self, one: _Asked, known: Known | None, holds: Callable[[_Asked], bool]) -> Answered | None:
        """Returns the answer to a command; None: it deals at once, or comes after one that does, and is held back."""
        known = self._known([one]) if known is None else known
        before = self._replay(one.request, known)
        if before is None and holds(one):
            return None
        return self.carry_out(one.request, one.mergers) if before is None else before

    def _serve_ready(self, answered: list[tuple[_Asked, Answered]]) -> None:
        """Carries out what holders asked after a dealing that has been judged, in its order, and adds the answers."""
        for _ in range(_GROUP_MAX):
            if not self._ready:
                return
            holder = self._ready[0]
            held = self._held[holder]
            one = held[0]
            said = or_rejected(self._engine, one.request, partial(self._take, one, None, self._waits))
            if said is None:
                self._ready.popleft()
                continue
            answered.append((one, said))
            held.popleft()
            if not held:
                del self._held[self._ready.popleft()]

    def _report(self, answered: Iterable[tuple[_Asked, Answered]]) -> None:
        for one, said in answered:
            if said.done and not said.replayed:  # nothing else was remembered, and another may be by now
                self._causes.forget(self._cause_of(one.request))
            if one.told is not None:
                one.told(said)
            for told in self._expected.pop(one.request.number, ()):
                told(said)

    def _holds(self, asked: _Asked) -> bool:
        """Holds a command back that deals at once, until it is judged, and what its holder asks after it."""
        holder = _holder_of(asked)
        if holder in self._held:
            self._held[holder].append(asked)
            return True
        if holder and self._waits(asked):
            self._held[holder] = deque([asked])
            return True
        return False

    def _waits(self, asked: _Asked) -> bool:
        """Lets a command that deals at once wait for its price; returns whether it is one."""
        wanted, driver, now_ms = wanted_of(asked.request.body), self._engine.driver, self._engine.clock.now_ms()
        if isinstance(wanted, ISSUERS):
            return False
        running = token_to_wait_for(driver, wanted, now_ms)
        if running is None:
            return False
        wait(driver, wanted, running, arrival(driver, now_ms, asked.mergers), partial(self._judge, asked, wanted))
        return True

    def _judge(self, asked: _Asked, wanted: AtCounter, now_ms: int, judgement: Judgement) -> None:
        """Runs a command whose price has come; what its holder asked after it is ready to be carried out."""
        answered = or_rejected(self._engine, asked.request, partial(self._judged_of, asked, wanted, now_ms, judgement))
        if isinstance(wanted, Deal) and not answered.done:
            self.on_rejected(wanted, answered)
        self._judged.append((asked, answered))
        held = self._held[wanted.holder]
        held.popleft()
        if held:
            self._ready.append(wanted.holder)
            self._wake.set()
        else:
            del self._held[wanted.holder]

    def _judged_of(self, asked: _Asked, wanted: AtCounter, now_ms: int, judgement: Judgement) -> Answered:
        answered = self._replay(asked.request, self._known([asked]))  # the same may have been judged meanwhile
        if answered is None:
            cause = self._cause_of(asked.request)
            answered = self._remembered(asked.request, judge(self._engine.driver, wanted, now_ms, judgement, cause))
        return answered

    async def _expire(self) -> None:
        """Rejects what waited too long for its price."""
        if self._engine.driver.primary.acceptances.expire(self._engine.clock.now_ms()):
            await self._engine.settle_judged()

    def _take_judged(self) -> Judged:
        """Takes what was judged since the last call, with what reports it once it is durable."""
        judged, self._judged = self._judged, []
        if not judged:
            return Judged()
        self._answering += [one for one, _ in judged]

        def report() -> None:
            done = {id(one) for one, _ in judged}
            self._answering = [one for one in self._answering if id(one) not in done]
            self._report(judged)

        return Judged([_kept(one, said) for one, said in judged], report)

    def _refuse(self, asked: Iterable[_Asked]) -> None:
        for one in asked:
            if one.told is not None:
                one.told(unanswered())

    def _is_early(self, request: Request, held: bool) -> bool:
        """Returns whether a request deals in a token of which no price has come yet, or comes after one that does."""
        try:
            wanted = wanted_of(request.body)
        except GearingError:
            return False
        if held or not isinstance(wanted, (AskQuote, Deal)):
            return held and not isinstance(wanted, (Operate, Change))
        running, market = self._engine.driver.by_name.get(wanted.token), self._engine.driver.market
        return running is not None and any(math.isnan(market.price(symbol)) for symbol in running.symbols)

    def _cause_of(self, request: Request) -> Cause | None:
        try:
            return cause_of(request.principal, request.key, wanted_of(request.body))
        except GearingError:
            return None  # it is answered that it cannot be read

    def _known(self, group: Iterable[_Asked]) -> Known:
        """Returns what the journal knows already of the commands of a group."""
        causes = (self._cause_of(one.request) for one in group)
        return self._causes.known([cause for cause in causes if cause is not None])

    def _known_of(self, group: Iterable[_Asked]) -> Known | None:
        """Returns what the journal knows of a group; None: that cannot be read, and each is looked up by itself."""
        try:
            return self._known(group)
        except Exception:  # it may be a single one that cannot
            return None

    def _replay(self, request: Request, known: Known) -> Answered | None:
        """Returns the answer to a command that was run before; None: it was not."""
        cause = self._cause_of(request)
        return None if cause is None else self._causes.replay(cause, known, self._engine.clock.now_ms())

    def carry_out(self, request: Request, mergers: int | None = None) -> Answered:
        """Runs a command whole or not at all, and returns its answer; whatever it raises is a rejection.

        Args:
            request: the command; it was not run before.
            mergers: how many mergers there had been when the desk took it in; None: it does so now.
        """
        return or_rejected(self._engine, request, partial(self._carried_out, request, mergers))

    def _carried_out(self, request: Request, mergers: int | None) -> Answered:
        wanted, now_ms = wanted_of(request.body), self._engine.clock.now_ms()
        work = partial(self._run, wanted, now_ms, mergers)
        return self._remembered(request, self._engine.driver.atomically(work, is_rejected, self._cause_of(request)))

    def _remembered(self, request: Request, answered: Answered) -> Answered:
        """Remembers what a command came to until it is durable, so that the same is not run meanwhile."""
        cause, answered = self._cause_of(request), self._on_wall_clock(wanted_of(request.body), answered)
        if answered.done and cause is not None:
            self._causes.remember(cause, answered)
        return answered

    def _on_wall_clock(self, wanted: Wanted, answered: Answered) -> Answered:
        """Adds to times of the market when they are on the reader's clock."""
        clock = self._engine.clock
        if answered.deals_ms:
            deals_at = clock.wall_time(answered.deals_ms).isoformat(timespec="milliseconds")
            return msgspec.structs.replace(answered, deals_at=deals_at)
        if isinstance(wanted, AskQuote) and answered.quote is not None:
            terms = QuoteTerms.of(answered.quote, clock.wall_time(answered.quote.until_ms))
            return msgspec.structs.replace(answered, terms=terms)
        if isinstance(wanted, TakeQuote) and answered.code == QUOTE_EXPIRED:
            quote = self._engine.driver.primary.state_of(wanted.holder).quote(wanted.id)
            expired = datetime.now(UTC) if quote is None else clock.wall_time(quote.until_ms)
            ago_s = (datetime.now(UTC) - expired).total_seconds()
            words = f"quote {wanted.id} expired {ago_s:,.0f} s ago; request a new one"
            return msgspec.structs.replace(answered, words=words)
        return answered

    def _run(self, wanted: Wanted, now_ms: int, mergers: int | None) -> Answered:
        if isinstance(wanted, issuer.OfIssuer):
            answered = issuer.answer(self._engine.driver, wanted, now_ms, self._engine.reserve)
            if isinstance(wanted, Adopt) and answered.done:
                self._engine.recheck(wanted.book)
            return answered
        if not isinstance(wanted, (Operate, Change)):
            driver = self._engine.driver
            answered = answer(driver, wanted, now_ms, arrival(driver, now_ms, mergers, wanted.holder))
            if isinstance(wanted, Deal) and not answered.done:
                self.on_rejected(wanted, answered)
            return answered
        running = self._engine.driver.by_name.get(wanted.token)
        if running is None:
            known = ", ".join(self._engine.driver.by_name)
            return Answered(done=False, words=f"there is no token {wanted.token}; there are {known}", time_ms=now_ms)
        words = why_never(running, wanted) or why_not(self._engine, running, wanted, now_ms)
        if not words:
            try:
                done = self._done(running, wanted, now_ms)
            except StepError as error:
                words = str(error)
        status = running.state.status
        if words:
            return Answered(done=False, words=f"{wanted.token} {words}", time_ms=now_ms, status=status)
        return Answered(done=True, words=f"{wanted.token} is {done}.", time_ms=now_ms, status=status)

    def _done(self, running: Running, wanted: Operate | Change, now_ms: int) -> str:
        """Carries a request out; returns what the token is then."""
        if isinstance(wanted, Change):
            places = ", ".join(one.place for one in differences(running.spec.token, wanted.specification))
            self._engine.driver.change(running, wanted.specification, wanted.by, wanted.reason, now_ms)
            self._engine.recheck(running.book.name)  # another target needs another leverage
            return f"changed ({places}); its rule is asked anew at the next price"
        self._operate(running, wanted, now_ms)
        if wanted.action == "resume" and running.book.state.halted:
            why = why_book_stays_halted(running.book) or f"is halted again ({running.book.state.halted})"
            return f"open, but its book {why}"
        if wanted.action == "close" and running.state.status == "closed":
            return "closed; it held nothing"
        return _DONE[wanted.action]

    def _operate(self, running: Running, wanted: Operate, now_ms: int) -> None:
        driver, book = self._engine.driver, running.book
        if wanted.action == "resume" and book.state.halted and not why_book_stays_halted(book):
            driver.note(book, bk.BookResumed(time_ms=now_ms, by=wanted.by, reason=wanted.reason))
            self._engine.recheck(book.name)
        prices = driver.market.prices(running.symbols, now_ms)
        if prices is not None and wanted.action in {"close", "rebalance"}:
            # Decided at the prices of now, not at those of the last mark; that NAV is published.
            kind: NavKind = "close" if wanted.action == "close" else "rebalance"
            driver.publish(running, kind, prices.time_ms, prices.marks)
        driver.operate(running, wanted.action, wanted.by, wanted.reason, now_ms)


def _holder_of(asked: _Asked) -> str:
    """Returns the holder whose command it is; empty: it is the issuer's, or cannot be read."""
    try:
        wanted = wanted_of(asked.request.body)
    except GearingError:
        return ""
    return "" if isinstance(wanted, ISSUERS) else wanted.holder


def _kept(one: _Asked, answered: Answered) -> Answer | PutIn:
    """Returns how an answer is kept: with its question where that is not kept yet."""
    number, principal, key, body, _ = one.request
    wall_ms = time.time_ns() // 1_000_000  # a demo's market runs faster than the days that an answer is kept
    if number != _UNNUMBERED:
        return Answer(number, encode(answered), wall_ms)
    return PutIn(principal, key, digest_of(body), body, encode(answered), wall_ms)


def unanswered() -> StoreError:
    """Returns what is told to whoever gets no answer from a desk that ends."""
    return StoreError("the desk stops, or begins anew. Ask the same again, under the same key: it is done once.")
