"""The primary market: holders, their requests, and when what they want is dealt.

A request is accepted or refused at once, and what it needs is set aside. When a window ends, the requests of a token
are matched at its worth; what is left of one side is hedged together, and settled when the hedge has ended. Everything
that one settlement gives, to the token and to each holder, is one transaction.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from gearing.core import holder as ho
from gearing.core.book import Owed, ShareBooked, ShareOwed
from gearing.core.dealing import Side, bearing
from gearing.core.holder import HolderEvent, HolderState, Request
from gearing.core.holder_step import HolderError, holder_breaches, holder_step
from gearing.core.journal import state_body, state_hash
from gearing.core.money import MINOR, as_text
from gearing.core.netting import Ask
from gearing.core.record import DAY_MS
from gearing.core.step import BEHAVIOUR
from gearing.core.step_flows import why_closed_to
from gearing.drive.acceptances import Acceptances
from gearing.drive.caps import Asked, Room, why_lacking, why_refused
from gearing.drive.crowds import CROWDED_TOKEN, crowds_of, why_crowded
from gearing.drive.dealings import SIDES, Dealings
from gearing.drive.effects import START
from gearing.drive.queues import Accepted, RequestQueue, Turns, Waiting
from gearing.drive.quotes import Quotes
from gearing.drive.running import Book, Holder, Running
from gearing.drive.settling import clock, is_overdue, why_dealing_waits
from gearing.store.records import HolderLine

if TYPE_CHECKING:
    from gearing.drive.driver import Driver
    from gearing.drive.market import Prices


_UNITS = "units:"


def _requests_of(event: HolderEvent) -> Iterable[str]:
    """Returns the ids of the requests that an event makes, changes or ends."""
    match event:
        case ho.Requested(request=request):
            return (request.id,)
        case ho.Dealt(id=name) | ho.Released(id=name):
            return (name,)
        case ho.Merged(requests=requests):
            return requests
        case _:
            return ()


class Primary:
    """The primary market of all tokens of a driver.

    Args:
        driver: that runs the tokens.
        holders: as their journals left them.
        stopped: holders whose streams are damaged or missing, with what is wrong; nothing is posted to them.
        units: what these have of each token, in 1e-8 of a unit, where their lines still tell.

    Attributes:
        why_closed: why nobody becomes a holder: the stream of one may be missing, who knows whose; empty: one may.
        begun: of tokens that are not run, the requests that their last hedge was for; None: nobody can tell.
    """

    def __init__(
        self, driver: Driver, holders: Iterable[Holder] = (), stopped: Mapping[str, str] | None = None,
        units: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self._driver, self._undo = driver, driver.undo
        self.holders: dict[str, Holder] = {}
        self._stopped = dict(stopped or {})
        self.supply: dict[str, int] = dict(units or {})
        self.why_closed = ""
        self.begun: dict[str, frozenset[str] | None] = {}
        self._queues: defaultdict[str, RequestQueue] = defaultdict(RequestQueue)
        self._asked: defaultdict[str, Asked] = defaultdict(Asked)
        self._crowds: dict[tuple[str, str], int] = {}
        self._turns = Turns()
        self._merger_ns: tuple[int, ...] = ()  # of those before the desk began
        for holder in holders:
            self._take_up(holder)
        for queue in self._queues.values():
            queue.sort()
        self.acceptances, self.quotes = Acceptances(driver), Quotes(driver, self)
        self.dealings = Dealings(driver, self)

    # What comes in.

    def post(self, name: str, event: HolderEvent) -> None:
        """Steps a holder and journals it; the first event of a name makes it one.

        Raises:
            HolderError: it cannot happen.
        """
        if name in self._stopped:
            raise HolderError(self._stopped[name])
        if name not in self.holders and self.why_closed:
            words = "it is no holder yet, and nobody becomes one while a holder may be missing"
            raise HolderError(f"{words}; {self.why_closed}")
        holder = self.holders.get(name) or Holder(name, HolderState(), START)
        done = holder_step(holder.state, event)
        body = state_body(done.state)
        line = HolderLine(
            stream=holder.stream, seq=holder.head.seq + 1, time_ms=event.time_ms, behaviour=BEHAVIOUR, event=event,
            entry=done.entry, state=state_hash(body),
        )  # fmt: skip
        self._undo.remember(holder)
        if name not in self.holders:
            self._undo.set_item(self.holders, name, holder)
        before, holder.state = holder.state, done.state
        holder.head = self._driver.effects.append(holder.stream, holder.head, event.time_ms, line, body)
        for request_id in _requests_of(event):
            self._count(before, request_id, -1)
            self._count(done.state, request_id, 1)
        for posting in done.entry:
            self._count_units(posting.account, posting.amount)
        for words in holder_breaches(done.state, done.entry):
            self._driver.effects.alarms.append(f"{name}: {words}")
        if done.entry:
            self.quotes.void_unbacked(name, event.time_ms)

    def request(self, name: str, token: str, side: Side, amount: int, now_ms: int) -> Accepted | str:
        """Accepts a request, or returns why it is refused.

        Args:
            name: the holder.
            token: its symbol.
            side: subscribe or redeem.
            amount: money with the fee, minor units; or units.
            now_ms: the time.
        """
        running = self._driver.by_name.get(token)
        if running is None:
            return f"there is no token {token}; there are {', '.join(self._driver.by_name)}"
        crowded = why_crowded(self._crowds, name, token)
        if crowded is not None and crowded.code != CROWDED_TOKEN:
            return crowded
        money = amount if side == "subscribe" else amount * running.state.nav // MINOR
        why = self.why_not(name, running, side, amount, money, now_ms)
        if crowded is not None:
            if not why:  # whoever could come and go for free would keep out everybody who has the money
                for one in SIDES:  # also if the command is taken back, as a rejection is
                    self._asked[running.name].note_full(now_ms, one)
            return crowded
        return why or self.accept(name, running, side, amount, money, now_ms)

    def why_not(self, name: str, running: Running, side: Side, amount: int, money: int, now_ms: int) -> str:
        """Returns why a holder may not come in or go out now; empty: it may.

        Args:
            name: the holder.
            running: the token.
            side: subscribe or redeem.
            amount: money with its fee, minor units; or units.
            money: what that is worth, minor units, for the caps.
            now_ms: the time.
        """
        state = self.state_of(name)
        lacks = why_lacking(name, state, running, side, amount, self._backs(name, running, side, now_ms))
        if lacks:
            return lacks
        if side == "subscribe" and is_overdue(self._driver, running, now_ms):
            return f"{why_dealing_waits(self._driver, running, now_ms)}; {running.name} creates no units until it is"
        good = self._driver.market.is_good(running.symbols, now_ms)
        lent = -self.quotes.stands(running)
        others = lent * running.state.nav // MINOR if lent > 0 else 0
        queue = self._queues[running.name]
        wanted = Room(side, amount, money, queue.money[side], others, queue.counted.get((side, now_ms // DAY_MS), 0))
        return why_refused(running, state, self._asked[running.name], wanted, now_ms, good=good)

    def _backs(self, name: str, running: Running, side: Side, now_ms: int) -> int:
        """Returns what of a holder backs open quotes, and so is in no request: money of the dealing account, or units.

        Money for units of this token that it is short of is there to be spent on them.
        """
        if name != ho.DEALER:
            return 0
        aside = self.quotes.set_aside(now_ms)
        asset = running.spec.token.settlement
        own = aside.for_short.get((running.name, asset), 0)
        return aside.money(asset) - own if side == "subscribe" else aside.units.get(running.name, 0)

    def accept(self, name: str, running: Running, side: Side, amount: int, money: int, now_ms: int) -> Accepted:
        """Accepts a request that may be, and sets aside what it needs.

        Args:
            name: the holder.
            running: the token.
            side: subscribe or redeem.
            amount: money with its fee, minor units; or units.
            money: what counts against the caps of the day, minor units.
            now_ms: the time.
        """
        self._undo.remember(self._turns)
        self._turns.turn += 1
        made = Request(id=f"{name}.{self.state_of(name).accepted + 1}", token=running.name, side=side,
                       asset=running.spec.token.settlement, amount=amount, turn=self._turns.turn,
                       accepted_ms=now_ms, money=money)  # fmt: skip
        self.post(name, ho.Requested(time_ms=now_ms, request=made, money=money))
        self.count(running, side, money, now_ms)
        queue = self._queues[running.name].waiting
        self._undo.set_item(queue, made.id, Waiting(made.turn, name))
        self._crowd(name, running.name, 1)
        self.call(running, now_ms)
        place = self._queues[running.name].numbers[side]
        if running.state.status == "closed":  # whose instrument may never have a price again
            self.dealings.after(running, now_ms)
        return Accepted(made.id, place)

    @property
    def mergers(self) -> int:
        """How many mergers of units there have been, see `Turns`."""
        return self._turns.mergers

    def note_mergers(self, found: Sequence[tuple[int, str]]) -> None:
        """Counts the mergers of the journal so far.

        Args:
            found: number and stream of each one's line, in order.
        """
        for count, (_, stream) in enumerate(found, 1):
            running = self._driver.by_name.get(stream.partition(":")[2])
            if running is not None:
                running.merged = count
        self._turns.mergers, self._merger_ns = len(found), tuple(n for n, _ in found)

    def mergers_by(self, n: int, now: int) -> int:
        """Returns how many mergers there were when the journal's last line was number n.

        Args:
            n: a line's number.
            now: how many there were, if that line is none of those from before the desk began.
        """
        ns = self._merger_ns
        return bisect_right(ns, n) if ns and n < ns[-1] else now

    def count_merger(self) -> int:
        """Counts a merger of units; returns its number."""
        self._undo.remember(self._turns)
        self._turns.mergers += 1
        return self._turns.mergers

    def count(self, running: Running, side: Side, money: int, now_ms: int) -> None:
        """Counts what was asked against the day's caps of a token."""
        asked = self._asked[running.name]
        self._undo.remember(asked)
        asked.count(now_ms, side, money)

    def is_run(self, name: str) -> bool:
        """Returns whether a holder's stream is sound, or there is none yet."""
        return name not in self._stopped

    def state_of(self, name: str) -> HolderState:
        """Returns a holder's state; of one that never came, an empty one."""
        holder = self.holders.get(name)
        return HolderState() if holder is None else holder.state

    def cancel(self, name: str, request_id: str, now_ms: int) -> str:
        """Cancels a request for its holder; returns why it cannot be.

        What is dealt next is not cancelled once its price forms, or once others were rejected for want of the room that
        it takes up: whoever could wait and see would have a free option, and whoever could request all of a day's cap
        and cancel it, again and again, would keep everybody else out.
        """
        holder = self.holders.get(name)
        request = None if holder is None else holder.state.requests.get(request_id)
        if request is None:
            return f"{name} has no request {request_id} that waits; it was dealt, it has ended, or there never was one"
        running = self._driver.by_name.get(request.token)
        if running is None:
            why = self._why_kept_unrun(request)
            if not why:
                self.end(request, name, "cancelled", now_ms)
            return why
        if any(ask.id == request_id for ask in running.flow):
            return f"{request_id} is being dealt"
        if self.is_dealt_next(running, request.side, now_ms):
            if request.accepted_ms <= running.averages_ms <= now_ms:
                return f"{request_id} is about to be dealt, and its price forms already"
            if running.bound.binds(request.accepted_ms, now_ms):
                return (
                    f"{request_id} stays until it is dealt, which waits for mark and index to agree: its price "
                    f"had formed; if they do not, it can be cancelled from {clock(running.bound.until_ms)} on"
                )
            if request.accepted_ms > running.postponed_ms and (
                self._asked[running.name].full_ms(request.side) > request.accepted_ms
            ):
                return (f"{request_id} stays until it is dealt at the end of its window: others were rejected "
                        f"for want of the room that it takes up")  # fmt: skip
        self.end(request, name, "cancelled", now_ms)
        return ""

    def is_dealt_next(self, running: Running, side: Side, now_ms: int) -> bool:
        """Returns whether nothing is known to stand against dealing in a side of a token when its window ends."""
        market, forms_ms = self._driver.market, running.forms_ms if running.deals_ms < math.inf else 0
        # A price that is refused comes all the same; silence is something else, and of the average: see its gap.
        comes = all(min(market.age_ms(symbol, now_ms), now_ms - forms_ms) <= market.price_age_ms_max
                    for symbol in running.symbols)  # fmt: skip
        return comes and self.is_open_to(running, side, now_ms)

    def is_open_to(self, running: Running, side: Side, now_ms: int) -> bool:
        """Returns whether a side of a token is dealt in once the prices for that have come."""
        if running.book.state.halted or why_closed_to(running.state, side):
            return False
        return not why_dealing_waits(self._driver, running, max(now_ms, int(running.deals_ms)))

    def _why_kept_unrun(self, request: Request) -> str:
        """Returns why a request in a token that is not run cannot be cancelled; empty: no hedge is under way for it."""
        begun = self.begun.get(request.token)
        if begun is not None and request.id not in begun:
            return ""
        why = "its journal does not say whether" if begun is None else "it may be that"
        return (f"{request.token} is not run now, and {why} {request.id} is being dealt; it can be cancelled once "
                f"{request.token} is repaired")  # fmt: skip

    def _count(self, state: HolderState, request_id: str, sign: int) -> None:
        request = state.requests.get(request_id)
        if request is not None:
            queue = self._queues[request.token]
            self._undo.remember(queue, queue.sort)  # what leaves it after this comes back in its turn, if undone
            queue.count(request, sign)

    def end(self, request: Request, name: str, words: str, now_ms: int) -> None:
        """Ends a request; what is still set aside for it is free again."""
        self.post(name, ho.Released(time_ms=now_ms, id=request.id, words=words))
        asked = self._asked[request.token]
        self._undo.remember(asked)
        asked.returned(request)
        self.leave(request.token, request.id)

    def leave(self, token: str, request_id: str) -> None:
        """Takes a request off its queue, once its holder's posting has ended it (see `_count`)."""
        queue = self._queues[token]
        if request_id in queue.waiting:  # that of a holder who is not run does not wait here
            self._crowd(queue.waiting[request_id].holder, token, -1)
        self._undo.delete_item(queue.waiting, request_id)

    def _crowd(self, name: str, token: str, sign: int) -> None:
        """Counts a request that comes, +1, or goes, −1, against how many may wait."""
        for crowd in crowds_of(name, token):
            left = self._crowds.get(crowd.key, 0) + sign
            if left:
                self._undo.set_item(self._crowds, crowd.key, left)
            else:
                self._undo.delete_item(self._crowds, crowd.key)

    def first_ms(self, token: str, otherwise_ms: float = math.inf) -> float:
        """Returns when the first of a token's requests that wait was accepted."""
        first = next(iter(self._queues[token].waiting.items()), None)
        return otherwise_ms if first is None else self.request_of(first[0], first[1].holder).accepted_ms

    def begin_anew(self, running: Running, now_ms: int) -> None:
        """Sets, after a restart, when what waits for a token is dealt: its window goes on, its average begins anew."""
        running.since_ms = now_ms
        self.call(running, min(int(self.first_ms(running.name, now_ms)), now_ms))

    def hasten(self, running: Running, now_ms: int) -> None:
        """Deals at the end of the window that runs now where that is earlier than was set: it has become shorter."""
        window_ms = running.spec.token.primary.window_ms
        ends_ms = float((now_ms // window_ms + 1) * window_ms)
        if ends_ms < running.deals_ms < math.inf:
            self.postpone(running, now_ms)

    def call(self, running: Running, now_ms: int) -> None:
        """Sets when a token's flows are dealt: at the end of the window, unless that of an earlier one is set already.

        So whoever comes after a window's end, and before its first price, puts off nobody.
        """
        if running.deals_ms == math.inf:
            self.postpone(running, now_ms)

    def postpone(self, running: Running, now_ms: int, *, binds: bool = False) -> None:
        """Sets a token's flows to be dealt at the end of the window that runs now, if anything waits.

        Args:
            running: the token.
            now_ms: the time.
            binds: whether what waited for a window that has ended binds its holders still, for some windows: its price
                had formed, and only mark and index stand against it.
        """
        if running.goes_on or running.deals_ms <= now_ms:
            self._driver.remember(running)
            if binds:
                window_ms = running.spec.token.primary.window_ms
                running.bound = running.bound.with_window(running.averages_ms, running.deals_ms, window_ms)
            if running.deals_ms <= now_ms:  # what waited for that window may be taken back before the next one
                running.postponed_ms = max(running.postponed_ms, int(running.averages_ms))
            running.goes_on = False
        window_ms = running.spec.token.primary.window_ms
        waits = bool(self._queues[running.name].waiting) or self.quotes.is_open(running)
        deals_ms = float((now_ms // window_ms + 1) * window_ms) if waits else math.inf
        if deals_ms != running.deals_ms:
            self._driver.remember(running)
            running.deals_ms = deals_ms
            self._driver.arm(running)

    def waiting(self, token: str) -> Iterator[tuple[Request, Ask]]:
        """Yields what waits for a token, in the order of turns, each also as netting sees it."""
        for name, one in self._queues[token].waiting.items():
            request = self.request_of(name, one.holder)
            yield request, Ask(one.holder, name, request.side, request.amount)

    def asks(self, token: str) -> list[Ask]:
        """Returns what waits for a token, as netting sees it."""
        return [ask for _, ask in self.waiting(token)]

    def queue(self, token: str) -> RequestQueue:
        """Returns the requests that wait for a token."""
        return self._queues[token]

    def requests(self, token: str) -> list[Request]:
        """Returns the requests that wait for a token, in the order of their turns."""
        return [self.request_of(name, one.holder) for name, one in self._queues[token].waiting.items()]

    def request_of(self, request_id: str, name: str) -> Request:
        """Returns a request that waits."""
        return self.holders[name].state.requests[request_id]

    def accrued_rates(self, running: Running, prices: Prices) -> tuple[float, ...]:
        """Returns the funding that has accrued on each leg at the predicted rate, a fraction of its value."""
        return tuple(
            self._driver.market.accrued_rate(symbol, leg.funded_ms, prices.time_ms)
            for symbol, leg in zip(running.symbols, running.state.legs, strict=True)
        )

    def check_supply(self, running: Running, now_ms: int) -> bool:
        """U1: what all holders have is what the token issued; otherwise it is halted. Returns whether it is so."""
        words = self.why_not_whole(running)
        if words:
            self._driver.halt(running, "invariants", words, now_ms)
        return not words

    def why_not_whole(self, running: Running) -> str:
        """Returns how the units of all holders differ from those that the token issued; empty: they do not."""
        held, issued = self.supply.get(running.name, 0), running.state.balances.units
        if held == issued:
            return ""
        words = f"U1: its holders have {held} units, it issued {issued}"
        stopped = ", ".join(f"holder:{name}" for name in sorted(self._stopped))
        return f"{words}; not run are {stopped}" if stopped else words

    def give(self, running: Running, ask: Ask, dealt: ho.Dealt) -> None:
        """Books for a holder what it was dealt; where its stream is not run, that is owed to it, and its book says so.

        So one damaged holder holds up nobody that was dealt together with it.
        """
        if ask.id in self.state_of(ask.holder).requests:
            self.post(ask.holder, dealt)
            return
        owed = Owed(holder=ask.holder, token=running.name, side=ask.side, dealt=dealt)
        self._driver.note(running.book, ShareOwed(time_ms=dealt.time_ms, owed=owed))
        self._owe(owed)

    def settle_owed(self, now_ms: int) -> None:
        """Books what was owed to holders whose streams are run again; the rest stays owed."""
        for book in self._driver.books.values():
            for owed in () if book.state.owed is UNSET else tuple(book.state.owed.values()):
                try:
                    self._driver.atomically(partial(self._book_owed, book, owed, now_ms))
                except Exception:  # it stays owed, whatever is wrong with its holder
                    self._owe(owed)

    def _book_owed(self, book: Book, owed: Owed, now_ms: int) -> None:
        dealt = msgspec.structs.replace(owed.dealt, time_ms=now_ms)
        request = self.state_of(owed.holder).requests.get(dealt.id)
        if request is None or (request.token, request.side) != (owed.token, owed.side):
            raise HolderError(f"{owed.holder} has no request {dealt.id} to {owed.side} {owed.token}")
        self.post(owed.holder, dealt)
        rest = self.state_of(owed.holder).requests.get(dealt.id)
        if rest is None:
            self.leave(owed.token, dealt.id)
        else:
            self.end(rest, owed.holder, "not hedged, or above the supply cap", now_ms)
        self._driver.note(book, ShareBooked(time_ms=now_ms, id=dealt.id))

    def _owe(self, owed: Owed) -> None:
        self._count_units(f"{_UNITS}{owed.token}:{ho.FREE}", owed.units)
        units, cash = as_text(owed.dealt.units, grouped=True), as_text(owed.dealt.cash, grouped=True)
        self._driver.effects.alarms.append(
            f"{owed.token}: request {owed.dealt.id} of {owed.holder} was dealt ({units} units, {cash} of money) and "
            f"is not booked, since holder:{owed.holder} is not run or does not know it; it is once that is repaired"
        )

    def grant_seed(self, running: Running, now_ms: int, cash: int) -> None:
        """Gives the issuer the units of a token that no holder has: those it was seeded with."""
        lacking = running.state.balances.units - self.supply.get(running.name, 0)
        if lacking > 0:
            self.post(ho.ISSUER, ho.Granted(time_ms=now_ms, token=running.name, units=lacking, cash=cash,
                                            asset=running.spec.token.settlement,
                                            bearing=bearing(running.spec, running.state)))  # fmt: skip

    def drop_ended(self, running: Running) -> None:
        """Takes off the queue what has ended by itself: a redemption of which a merger left nothing."""
        queue = self._queues[running.name].waiting
        for request_id in [key for key, one in queue.items() if key not in self.holders[one.holder].state.requests]:
            self.leave(running.name, request_id)

    def _count_units(self, account: str, amount: int) -> None:
        if account.startswith(_UNITS):
            _, token, where = account.split(":")
            if where in ho.OWN:
                self._undo.set_item(self.supply, token, self.supply.get(token, 0) + amount)

    def _take_up(self, holder: Holder) -> None:
        self.holders[holder.name] = holder
        for account, amount in holder.state.balances.items():
            self._count_units(account, amount)
        for request in holder.state.requests.values():
            self._queues[request.token].waiting[request.id] = Waiting(request.turn, holder.name)
            self._crowd(holder.name, request.token, 1)
            self._count(holder.state, request.id, 1)
            self._turns.turn = max(self._turns.turn, request.turn)
        for token, day in holder.state.asked.items():
            self._asked[token].add(day)
