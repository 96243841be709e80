"""The primary market: holders, their requests, and when what they want is dealt.

A request is accepted or refused at once, and what it needs is set aside. When a window ends, the requests of a token
are matched at its worth; what is left of one side is hedged together, and settled when the hedge has ended. Everything
that one settlement gives, to the token and to each holder, is one transaction.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec import UNSET

from gearing.core import events as ev
from gearing.core import holder as ho
from gearing.core.dealing import Side, bearing, worth
from gearing.core.flow_result import excess_lots, fits
from gearing.core.holder import Dealt, HolderEvent, HolderState, Kind, Request
from gearing.core.holder_step import holder_breaches, holder_step
from gearing.core.journal import state_body, state_hash
from gearing.core.money import MINOR
from gearing.core.netting import Ask, Given, Rates, match, settlement
from gearing.core.step import BEHAVIOUR
from gearing.core.step_flows import why_not_dealt
from gearing.drive.acceptances import Acceptances
from gearing.drive.caps import Asked, supply_room, why_lacking, why_refused, within_supply
from gearing.drive.effects import START
from gearing.drive.faults import is_set_aside, run_isolated, set_aside
from gearing.drive.queues import Accepted, Progress, RequestQueue, Waiting
from gearing.drive.quotes import Quotes
from gearing.drive.running import Holder, Running
from gearing.drive.settling import is_overdue, unbooked, why_dealing_waits
from gearing.store.records import HolderLine

if TYPE_CHECKING:
    from gearing.drive.driver import Driver
    from gearing.drive.market import Prices


_UNITS = "units:"
ABOVE_CAP = "the supply cap was reached when it was to be dealt"
# Requests that are dealt at one instant, after which whatever else is due waits for the next price: nobody else is
# served meanwhile.
_ENOUGH = 500


class Primary:
    """The primary market of all tokens of a driver.

    Args:
        driver: that runs the tokens.
        holders: as their journals left them.
    """

    def __init__(self, driver: Driver, holders: Iterable[Holder] = ()) -> None:
        self._driver, self._undo = driver, driver.undo
        self.holders: dict[str, Holder] = {}
        self.supply: dict[str, int] = {}
        self._queues: defaultdict[str, RequestQueue] = defaultdict(RequestQueue)
        self._asked: defaultdict[str, Asked] = defaultdict(Asked)
        self._progress = Progress()
        for holder in holders:
            self._take_up(holder)
        for queue in self._queues.values():
            queue.sort()
        self.acceptances, self.quotes = Acceptances(driver), Quotes(driver, self)

    # What comes in.

    def post(self, name: str, event: HolderEvent) -> None:
        """Steps a holder and journals it; the first event of a name makes it one.

        Raises:
            HolderError: it cannot happen.
        """
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
        if isinstance(event, (ho.Requested, ho.Dealt, ho.Released)):
            request_id = event.request.id if isinstance(event, ho.Requested) else event.id
            self._count(before, request_id, -1)
            self._count(done.state, request_id, 1)
        for posting in done.entry:
            self._count_units(posting.account, posting.amount)
        for words in holder_breaches(done.state, done.entry):
            self._driver.effects.alarms.append(f"{name}: {words}")

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
        money = amount if side == "subscribe" else amount * running.state.nav // MINOR
        why = self.why_not(name, running, side, amount, money, now_ms)
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
        asked, waits = self._asked[running.name], self._queues[running.name].money
        lent = -self.quotes.stands(running)
        if lent > 0:
            waits += lent * running.state.nav // MINOR
        return why_refused(running, state, asked, side, money, waits, now_ms, good=good)

    def _backs(self, name: str, running: Running, side: Side, now_ms: int) -> int:
        """Returns what of a holder backs open quotes, and so is in no request: money of the dealing account, or units.

        Money for units that it is short of is there to be spent on them.
        """
        if name != ho.DEALER:
            return 0
        aside = self.quotes.set_aside(now_ms)
        asset = running.spec.token.settlement
        return aside.for_quotes.get(asset, 0) if side == "subscribe" else aside.units.get(running.name, 0)

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
        self._undo.remember(self._progress)
        self._progress.turn += 1
        made = Request(id=f"{name}.{self.state_of(name).accepted + 1}", token=running.name, side=side,
                       asset=running.spec.token.settlement, amount=amount, turn=self._progress.turn,
                       accepted_ms=now_ms, money=money)  # fmt: skip
        self.post(name, ho.Requested(time_ms=now_ms, request=made, money=money))
        self.count(running, side, money, now_ms)
        queue = self._queues[running.name].waiting
        self._undo.set_item(queue, made.id, Waiting(made.turn, name))
        self.call(running, now_ms)
        return Accepted(made.id, len(queue))

    def count(self, running: Running, side: Side, money: int, now_ms: int) -> None:
        """Counts what was asked against the day's caps of a token."""
        asked = self._asked[running.name]
        self._undo.remember(asked)
        asked.count(now_ms, side, money)

    def state_of(self, name: str) -> HolderState:
        """Returns a holder's state; of one that never came, an empty one."""
        holder = self.holders.get(name)
        return HolderState() if holder is None else holder.state

    def release(self, name: str, request_id: str, words: str, now_ms: int) -> str:
        """Takes a request back that is not being dealt; returns why it cannot be."""
        holder = self.holders.get(name)
        request = None if holder is None else holder.state.requests.get(request_id)
        if request is None:
            return f"{name} has no request {request_id}"
        running = self._driver.by_name[request.token]
        if any(ask.id == request_id for ask in running.flow):
            return f"{request_id} is being dealt"
        self._end(request, name, words, now_ms)
        return ""

    # When it is dealt.

    def attend(self, running: Running, prices: Prices | None, now_ms: int) -> None:
        """Deals in what waits for a token, if its window has ended and nothing stands against it."""
        self.after(running, now_ms)
        if running.state.dealing is not UNSET:
            return
        if running.state.status in {"wiped", "closed"}:
            self._finish(running, now_ms)
            return
        if now_ms < running.deals_ms or prices is None or why_dealing_waits(self._driver, running, now_ms):
            return
        if not running.book.state.live:
            self.quotes.square(running, now_ms)
        sides = {request.side for request in self._requests(running.name)}
        open_to = [side for side in sides if not why_not_dealt(running.state, side)]
        if (running.book.state.live or running.state.is_working) and sides:  # orders end soon; the next price asks
            return
        if running.book.state.halted or not open_to:
            self.call(running, now_ms)
            return
        if self._progress.dealt_ms == now_ms and self._progress.dealt >= _ENOUGH:
            return
        said = [running.name, [ask.id for ask in self._asks(running.name)]]
        if not run_isolated(self._driver, running.book, "dealing", said,
                            partial(self._deal, running, prices, open_to, now_ms)):  # fmt: skip
            for ask in self._asks(running.name):
                words = "it could not be dealt, an internal error"
                self._end(self._request(ask.id, ask.holder), ask.holder, words, now_ms)
            self.call(running, now_ms)

    def after(self, running: Running, now_ms: int) -> None:
        """Completes the flow under way once the orders of its hedge have ended.

        What was filled beyond the part that is dealt is unwound first; of a halted token or book, once it is resumed.
        """
        state = running.state
        if state.dealing is UNSET or state.is_working:
            return
        if state.status in {"open", "halted"} and unbooked(self._driver, running, now_ms):
            self.call(running, now_ms)
            return
        if state.status in {"open", "halted"} and any(excess_lots(running.spec, state)):
            if state.status == "open" and not running.book.state.halted:
                marks = self._marks(running)
                self._driver.apply(running, ev.UnwindingBegun(time_ms=now_ms, prices=marks))
                if running.state.status == "wiped":
                    self.after(running, now_ms)
            else:
                self.call(running, now_ms)
            return
        self.complete(running, now_ms)

    def complete(self, running: Running, now_ms: int) -> None:
        """Settles the flow under way as it stands; one that cannot be settled is given up, and its book is halted."""
        driver, dealing = self._driver, running.state.dealing
        try:
            driver.atomically(partial(self._settle, running, now_ms))
        except Exception as error:
            book, said = running.book, [running.name, [ask.id for ask in running.flow]]
            if dealing is not UNSET and dealing.aborted is not True:
                reason = f"{type(error).__name__}: {error}"
                driver.apply(running, ev.DealingAborted(time_ms=now_ms, reason=reason))
            if not is_set_aside(book, "settlement of a flow", said):
                set_aside(driver, book, "settlement of a flow", said, error)

    def _marks(self, running: Running) -> tuple[float, ...]:
        """Returns the marks of now, or the last ones where there is no good price."""
        prices = self._driver.market.prices(running.symbols)
        return tuple(leg.mark for leg in running.state.legs) if prices is None else prices.marks

    def _settle(self, running: Running, now_ms: int) -> None:
        marks = self._marks(running)
        self._driver.publish(running, "dealing", now_ms, marks)
        asks, rates = running.flow, _rates(running)
        done = settlement(running.spec, running.state, asks, rates, supply_room(running))
        if not fits(running.state, done.units, done.cash):
            self._driver.apply(running, ev.DealingAborted(time_ms=now_ms, reason="more than the ledger can count"))
            self.after(running, now_ms)
            return
        self._driver.apply(running, ev.DealingSettled(time_ms=now_ms, units=done.units, cash=done.cash, fee=done.fee))
        self._driver.remember(running)
        running.flow = ()
        dealt = any(one.units and (one.cash or one.fee) for one in done.given)
        self._give(running, done.given, "hedged" if dealt else "unwound", now_ms)
        for ask in asks:  # what was not hedged, or is above the cap, is returned
            request = self.holders[ask.holder].state.requests.get(ask.id)
            if request is not None:
                self._end(request, ask.holder, "not hedged, or above the supply cap", now_ms)
        self.check_supply(running, now_ms)
        self.call(running, now_ms)

    def _deal(self, running: Running, prices: Prices, open_to: Sequence[Side], now_ms: int) -> None:
        driver, rates = self._driver, _rates(running)
        driver.publish(running, "dealing", prices.time_ms, prices.marks, accrues=True)
        if running.state.status != "open":
            return
        driver.remember(running)
        running.deals_ms = math.inf
        accrued = self.accrued_rates(running, prices)
        asks = [ask for ask in self._asks(running.name) if ask.side in open_to]
        price = worth(running.spec, running.state, accrued, None)
        if price.equity > 0 and running.state.balances.units:
            found = match(asks, price, rates)
            if found.given:
                driver.apply(running, ev.FlowMatched(time_ms=prices.time_ms, units=found.units, cash=found.cash,
                                                     fee=found.fee, parties=len(found.given),
                                                     accrued=accrued))  # fmt: skip
                self._give(running, found.given, "matched", prices.time_ms)
                asks = [ask for ask in self._asks(running.name) if ask.side in open_to]
                self.check_supply(running, prices.time_ms)
        # What met nobody is of one side; where a remainder is too small to bring a unit, the other side comes first.
        side: Side = "redeem" if any(ask.side == "redeem" for ask in asks) else "subscribe"
        asks = [ask for ask in asks if ask.side == side and (side == "redeem" or rates.money_of(ask) > 0)]
        asks = self._capped(running, asks, accrued, prices.time_ms) if side == "subscribe" else asks
        if not asks:
            self.call(running, now_ms)
            return
        amount = sum(ask.amount if side == "redeem" else rates.money_of(ask) for ask in asks)
        parts = tuple(ev.Part(ask.holder, ask.id, ask.amount) for ask in asks)
        running.flow = tuple(asks)
        driver.apply(running, ev.DealingBegun(time_ms=prices.time_ms, side=side, amount=amount, parts=parts,
                                              prices=prices.marks, accrued=accrued))  # fmt: skip
        self.after(running, prices.time_ms)

    def _capped(self, running: Running, asks: list[Ask], accrued: tuple[float, ...], now_ms: int) -> list[Ask]:
        """Returns subscriptions with the money that the supply cap lets in; of one that gets none, all is returned."""
        price = worth(running.spec, running.state, accrued, "subscribe")
        capped = within_supply(running, asks, price, _rates(running))
        for ask, left in zip(asks, capped, strict=True):
            if not left.amount:
                self._end(self._request(ask.id, ask.holder), ask.holder, ABOVE_CAP, now_ms)
        return [ask for ask in capped if ask.amount]

    def _finish(self, running: Running, now_ms: int) -> None:
        """Ends what waits for a token that ended: redemptions of a closed one are paid out, all else is released."""
        asks, rates = self._asks(running.name), _rates(running)
        self._driver.remember(running)
        running.deals_ms = math.inf
        for ask in asks:
            request = self._request(ask.id, ask.holder)
            state = running.state
            if ask.side == "subscribe" or state.status == "wiped" or not state.is_flat:
                self._end(request, ask.holder, f"the token is {state.status}", now_ms)
                continue
            units = state.balances.units
            gross = (
                state.equity if ask.amount == units else worth(running.spec, state, (), "redeem").money_for(ask.amount)
            )
            fee = rates.fee_on(max(gross, 0))
            cash = max(gross, 0) - fee
            self._driver.apply(running, ev.Redeemed(time_ms=now_ms, units=ask.amount, cash=cash, fee=fee))
            self._give(running, (Given(ask, ask.amount, cash, fee),), "final", now_ms)
        if asks:
            self.check_supply(running, now_ms)

    def _give(self, running: Running, given: Sequence[Given], kind: Kind, now_ms: int) -> None:
        stands = bearing(running.spec, running.state)
        progress = self._progress
        self._undo.remember(progress)
        progress.dealt = len(given) + (progress.dealt if progress.dealt_ms == now_ms else 0)
        progress.dealt_ms = now_ms
        for one in given:
            ask = one.ask
            event = Dealt(time_ms=now_ms, id=ask.id, kind=kind, units=one.units, cash=one.cash, fee=one.fee,
                          bearing=stands)  # fmt: skip
            self.post(ask.holder, event)
            if ask.id not in self.holders[ask.holder].state.requests:
                self._leave(running.name, ask.id)

    def _count(self, state: HolderState, request_id: str, sign: int) -> None:
        request = state.requests.get(request_id)
        if request is not None and request.side == "subscribe":
            queue = self._queues[request.token]
            self._undo.remember(queue, queue.sort)
            queue.money += sign * request.amount

    def _end(self, request: Request, name: str, words: str, now_ms: int) -> None:
        self.post(name, ho.Released(time_ms=now_ms, id=request.id, words=words))
        asked = self._asked[request.token]
        self._undo.remember(asked)
        asked.returned(request)
        self._leave(request.token, request.id)

    def _leave(self, token: str, request_id: str) -> None:
        """Takes a request off its queue; if that is undone, the queue is put in order again."""
        queue = self._queues[token]
        self._undo.remember(queue, queue.sort)
        self._undo.delete_item(queue.waiting, request_id)

    def first_ms(self, token: str, now_ms: int) -> int:
        """Returns when the first of a token's requests that wait was accepted; its window goes on over a restart."""
        return min((request.accepted_ms for request in self._requests(token)), default=now_ms)

    def call(self, running: Running, now_ms: int) -> None:
        """Sets when a token's flows are dealt next: at the end of the window, if anything waits."""
        window_ms = running.spec.token.primary.window_ms
        waits = bool(self._queues[running.name].waiting) or self.quotes.is_open(running)
        deals_ms = float((now_ms // window_ms + 1) * window_ms) if waits else math.inf
        if deals_ms != running.deals_ms:
            self._driver.remember(running)
            running.deals_ms = deals_ms
            self._driver.arm(running)

    def _asks(self, token: str) -> list[Ask]:
        waiting = self._queues[token].waiting
        return [Ask(waiting[one.id].holder, one.id, one.side, one.amount) for one in self._requests(token)]

    def _requests(self, token: str) -> list[Request]:
        return [self._request(name, one.holder) for name, one in self._queues[token].waiting.items()]

    def _request(self, request_id: str, name: str) -> Request:
        return self.holders[name].state.requests[request_id]

    def accrued_rates(self, running: Running, prices: Prices) -> tuple[float, ...]:
        """Returns the funding that has accrued on each leg at the predicted rate, a fraction of its value."""
        return tuple(
            self._driver.market.accrued_rate(symbol, leg.funded_ms, prices.time_ms)
            for symbol, leg in zip(running.symbols, running.state.legs, strict=True)
        )

    def check_supply(self, running: Running, now_ms: int) -> None:
        """U1: what all holders have is what the token issued."""
        held, issued = self.supply.get(running.name, 0), running.state.balances.units
        if held != issued:
            words = f"U1: its holders have {held} units, it issued {issued}"
            self._driver.halt(running, "invariants", words, now_ms)

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
            self._leave(running.name, request_id)

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
            self._count(holder.state, request.id, 1)
            self._progress.turn = max(self._progress.turn, request.turn)
        for token, day in holder.state.asked.items():
            self._asked[token].add(day)


def _rates(running: Running) -> Rates:
    fees = running.spec.token.fees
    return Rates(fees.creation, fees.redemption)
