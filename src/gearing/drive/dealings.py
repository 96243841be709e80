"""Dealing: when a window ends, requests are matched, what is left is hedged, and settled once the hedge has ended."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from msgspec import UNSET

from gearing.core import events as ev
from gearing.core.dealing import Side, bearing, worth
from gearing.core.flow_parts import FlowNamed, digest_of
from gearing.core.flow_result import excess_lots, fits, flow_result, most_within
from gearing.core.holder import DEALER, Dealt, Kind
from gearing.core.money import as_text
from gearing.core.netting import NOTHING, Ask, Given, Rates, final_share, match, settlement, taken_in_turn
from gearing.core.state import TokenState
from gearing.core.step import step
from gearing.core.step_flows import why_not_dealt
from gearing.drive.averages import Average
from gearing.drive.caps import supply_room, within_supply
from gearing.drive.faults import is_set_aside, run_isolated, set_aside
from gearing.drive.running import Running
from gearing.drive.settling import book_first, unbooked, why_dealing_waits
from gearing.drive.together import venue_cost
from gearing.drive.undo import Restorable

if TYPE_CHECKING:
    from gearing.drive.driver import Driver
    from gearing.drive.market import Market, Prices
    from gearing.drive.primary import Primary

SIDES: tuple[Side, ...] = ("subscribe", "redeem")
ABOVE_CAP = "the supply cap was reached when it was to be dealt"
# Requests that one dealing takes; and those that are dealt at one instant, after which whatever else is due waits for
# the next price: nobody else is served meanwhile.
_ENOUGH = 500


class _Progress(Restorable):
    """How many requests were dealt at the last instant of a dealing."""

    __slots__ = ("dealt", "dealt_ms")

    def __init__(self) -> None:
        self.dealt_ms, self.dealt = 0, 0


class Dealings:
    """The dealings of a driver's tokens.

    Args:
        driver: that runs the tokens.
        primary: with the requests that wait.
    """

    def __init__(self, driver: Driver, primary: Primary) -> None:
        self._driver, self._primary, self._progress = driver, primary, _Progress()

    def attend(self, running: Running, prices: Prices | None, now_ms: int) -> None:
        """Deals in what waits for a token, if its window has ended and nothing stands against it."""
        self.after(running, now_ms)
        if running.state.dealing is not UNSET:
            return
        if prices is None or now_ms < running.averages_ms or running.state.status in {"wiped", "closed"}:
            return
        if not all(self._primary.is_open_to(running, side, now_ms) for side in SIDES):
            # Whoever can cancel must not know a part of the price that forms, however late prices come.
            self._driver.forms_anew(running, max(now_ms, self._driver.market.now_ms))
        self._driver.market.begin_averages(running.number, running.symbols, running.forms_ms)
        if min(now_ms, self._driver.market.now_ms) < running.deals_ms:
            return
        if why_dealing_waits(self._driver, running, now_ms):
            return
        if not running.book.state.live:
            self._primary.quotes.square(running, now_ms)
        sides = self._primary.queue(running.name).sides
        open_to = [side for side in sides if not why_not_dealt(running.state, side)]
        if (running.book.state.live or running.state.is_working) and (sides or self._primary.quotes.is_open(running)):
            return  # orders end soon; the next price asks
        if running.book.state.halted or not open_to or not self._primary.check_supply(running, now_ms):
            self._primary.postpone(running, now_ms)
            return
        if self._progress.dealt_ms == now_ms and self._progress.dealt >= _ENOUGH:
            return
        average = self._average(running, prices, open_to)
        if average is None:
            return
        asks = self._chosen(running, open_to)
        said = [running.name, [ask.id for ask in asks]]
        if not run_isolated(self._driver, running.book, "dealing", said,
                            partial(self._deal, running, prices, average, asks, now_ms)):  # fmt: skip
            for ask in asks:
                words = "it could not be dealt, an internal error"
                self._primary.end(self._primary.request_of(ask.id, ask.holder), ask.holder, words, now_ms)
            self._primary.postpone(running, now_ms)

    def after(self, running: Running, now_ms: int) -> None:
        """Completes the flow under way once the orders of its hedge have ended.

        What was filled beyond the part that is dealt is unwound first; of a halted token or book, once it is resumed.
        """
        state = running.state
        if running.book.awaits_rules:
            return  # whether a settlement passed is not known yet
        now_ms = max(now_ms, self._driver.market.now_ms, *(leg.changed_ms for leg in state.legs))
        if running.flow and state.dealing is UNSET:
            return  # its shares are being given
        if state.dealing is UNSET:
            # What a settlement takes, all who held then bear: nobody is paid out before it is booked.
            ended = state.status == "closed" and not unbooked(self._driver, running, now_ms)
            if ended or state.status == "wiped":
                self._finish(running, now_ms)
            return
        if state.is_working:
            return
        if state.status not in {"open", "halted"}:
            self.end_waiting(running, now_ms)
            return
        if unbooked(self._driver, running, now_ms):
            self._primary.postpone(running, now_ms)
            return
        state = self._within_cap(running, now_ms)
        if not any(excess_lots(running.spec, state)):
            self._complete(running, now_ms)
        elif state.status == "open" and not running.book.state.halted:
            self._driver.apply(running, ev.UnwindingBegun(time_ms=now_ms, prices=self._driver.marks(running)))
            if running.state.status == "wiped":
                self.after(running, now_ms)
        else:
            self._primary.postpone(running, now_ms)

    def _within_cap(self, running: Running, now_ms: int) -> TokenState:
        """Limits a subscription to what the supply cap lets in: NAV may have fallen while it was hedged."""
        dealing, room = running.state.dealing, supply_room(running)
        if dealing is UNSET or dealing.side == "redeem" or room is None:
            return running.state
        marked = step(
            running.spec, running.state, ev.NavStruck(time_ms=now_ms, prices=self._driver.marks(running))
        ).state
        price = worth(running.spec, marked, dealing.accrued, "subscribe")
        most = most_within(marked, price, room)
        if dealing.limit is UNSET and most < flow_result(marked, price).accepted:
            self._driver.apply(running, ev.DealingLimited(time_ms=now_ms, amount=most, reason="the supply cap"))
        return running.state

    def _excess(self, running: Running) -> tuple[int, ...]:
        """Returns what a flow's hedge has beyond the part that is dealt; of a wiped-out token, nothing."""
        return () if running.state.status == "wiped" else excess_lots(running.spec, running.state)

    def end_waiting(self, running: Running, now_ms: int, *, keeps_excess: bool | None = None) -> bool:
        """Settles a flow that waits, since its token has to trade before what it waits for.

        A settlement of funding is booked at the predicted rate first; what the venue reports more or less, the reserve
        takes. What was hedged in some legs only is left to the token at the flow's cost, if its next orders trade that
        with the rest; else the flow waits on.

        Args:
            running: the token.
            now_ms: the time.
            keeps_excess: whether an excess may be left to it; None: if it can trade now.

        Returns:
            Whether no flow is under way any more.
        """
        if not _is_dealing(running) or running.state.is_working or running.book.awaits_rules:
            return not _is_dealing(running)
        if running.state.status in {"open", "halted"}:
            self._within_cap(running, now_ms)
        if keeps_excess is None:
            is_priced = self._driver.market.is_good(running.symbols, now_ms)
            keeps_excess = is_priced and running.state.status in {"open", "closing"} and not running.book.state.halted
        if (any(self._excess(running)) and not keeps_excess) or not book_first(self._driver, running, now_ms):
            return False
        excess = self._excess(running)  # what is worth an order depends on the marks, which that was booked at
        if any(excess):
            if not keeps_excess:
                return False
            marks, fair = self._driver.marks(running), [self._driver.market.fair(symbol) for symbol in running.symbols]
            at = tuple(min(one) if n > 0 else max(one) for n, *one in zip(excess, marks, fair, strict=True))
            self._complete(running, now_ms, ev.ExcessKept(time_ms=now_ms, prices=marks, at=at))
        elif not running.state.is_working:
            self._complete(running, now_ms)
        return not _is_dealing(running)

    def _complete(self, running: Running, now_ms: int, kept: ev.ExcessKept | None = None) -> None:
        """Settles the flow under way as it stands; one that cannot be settled is given up, and its book is halted.

        Args:
            running: its token.
            now_ms: the time.
            kept: an excess that is left to the token first; both happen, or neither.
        """
        driver, dealing = self._driver, running.state.dealing

        def settled() -> None:
            if kept is not None:
                driver.apply(running, kept)
            if running.state.dealing is not UNSET and not running.state.is_working:
                self._settle(running, now_ms)

        try:
            driver.atomically(settled)
        except Exception as error:
            book, said = running.book, [running.name, [ask.id for ask in running.flow]]
            if dealing is not UNSET and dealing.limit != 0:
                reason = f"{type(error).__name__}: {error}"
                driver.apply(running, ev.DealingLimited(time_ms=now_ms, amount=0, reason=reason))
            if not is_set_aside(book, "settlement of a flow", said):
                set_aside(driver, book, "settlement of a flow", said, error)

    def _settle(self, running: Running, now_ms: int) -> None:
        marks = self._driver.marks(running)
        self._driver.publish(running, "dealing", now_ms, marks)
        asks, rates = running.flow, _rates(running)
        done = settlement(running.spec, running.state, asks, rates, supply_room(running))
        if not fits(running.state, done.units, done.cash):
            reason = "more than the ledger can count"
            self._driver.apply(running, ev.DealingLimited(time_ms=now_ms, amount=0, reason=reason))
            self.after(running, now_ms)
            return
        self._driver.apply(running, ev.DealingSettled(time_ms=now_ms, units=done.units, cash=done.cash, fee=done.fee))
        self._driver.remember(running)
        running.flow = ()
        self._give(running, done.given, done.kind, now_ms)
        for ask in asks:  # what was not hedged, or is above the cap, is returned
            request = self._primary.state_of(ask.holder).requests.get(ask.id)
            if request is not None:
                self._primary.end(request, ask.holder, "not hedged, or above the supply cap", now_ms)
        self._primary.check_supply(running, now_ms)
        if running.state.status in {"closed", "wiped"}:
            self.after(running, now_ms)
        else:
            self._go_on(running, now_ms)

    def _go_on(self, running: Running, now_ms: int) -> None:
        """Deals in what a window has left at the next price, as a dealing of its own; if it has, in the next window."""
        name = running.name
        squares = any(one.token == name for one in self._primary.state_of(DEALER).requests.values())
        if squares or self._primary.first_ms(name) <= running.averages_ms:
            self._driver.remember(running)
            running.goes_on = True
            self._driver.forms_anew(running, now_ms)  # at a price of its own
            self._driver.arm(running)
        else:
            self._primary.postpone(running, now_ms)
            if running.averages_ms < now_ms:  # its hedge lasted into the part that the next price forms in
                self._driver.forms_anew(running, now_ms)

    def _average(self, running: Running, prices: Prices, open_to: Collection[Side]) -> Sequence[Average] | None:
        """Returns the averages that requests are matched at, none if nobody is matched; None: they form still."""
        market = self._driver.market
        found = market.averages(running.number, running.symbols, prices.time_ms)
        whole = prices.time_ms - running.forms_ms >= running.spec.token.primary.match_ms
        formed = whole and all(one.is_formed for one in found)
        stalled = any(one.gap_ms > market.price_age_ms_max for one in found)
        if not formed and not stalled and self._may_match(running, open_to):
            return None
        market.end_averages(running.number, running.symbols)
        return found if formed and not stalled else ()

    def _deal(
        self, running: Running, prices: Prices, average: Sequence[Average], chosen: Sequence[Ask], now_ms: int
    ) -> None:  # fmt: skip
        driver, rates, queue = self._driver, _rates(running), self._primary.queue(running.name).waiting
        waiting, why = len(queue), self._why_apart(running, average)
        others = [ask for ask in chosen if ask.holder != DEALER]
        if not why and not (average and len({ask.side for ask in others}) == 2):  # nothing can be matched
            why = self._why_apart(running)
            if why and now_ms < running.deals_ms + running.spec.token.primary.match_ms:
                return  # a mark that is off for a moment puts off nobody by a window
        if why:
            driver.effects.alarms.append(f"{running.name}: dealing is postponed by a window: {why}")
            self._primary.postpone(running, now_ms, binds=True)
            return
        driver.publish(running, "dealing", prices.time_ms, prices.marks, accrues=True)
        if running.state.status != "open":
            return
        driver.remember(running)
        accrued = self._primary.accrued_rates(running, prices)
        if average:
            self._match(running, others, tuple(one.mark for one in average), prices, accrued)
        asks = self._left_of(chosen)
        # What met nobody is of one side, or nobody could be matched: the oldest request's side comes first.
        redeemed = self._redeemable(running, asks)
        subscribed = [ask for ask in asks if ask.side == "subscribe" and rates.money_of(ask) > 0]
        first = redeemed if asks and asks[0].side == "redeem" else subscribed
        side: Side = "redeem" if (first or redeemed or subscribed) is redeemed else "subscribe"
        asks = redeemed if side == "redeem" else self._capped(running, subscribed, accrued, prices.time_ms)
        apart = self._why_apart(running)
        if not asks or apart:  # what was not matched is hedged once mark and index agree
            if len(queue) < waiting:
                self._go_on(running, now_ms)
            else:
                self._primary.postpone(running, now_ms, binds=bool(apart))
            return
        amount = sum(ask.amount if side == "redeem" else rates.money_of(ask) for ask in asks)
        parts = tuple(ev.Part(ask.holder, ask.id, ask.amount) for ask in asks)
        running.flow, number = tuple(asks), running.state.dealings_so_far + 1
        salt = driver.starts.salt(running.name, number)
        crossing = UNSET if running.state.rebalance is None else crossing_prices(driver.market, running)
        driver.apply(running, ev.DealingBegun(time_ms=prices.time_ms, side=side, amount=amount, count=len(parts),
                                              digest=digest_of(parts, salt), prices=prices.marks, accrued=accrued,
                                              crossing=crossing))  # fmt: skip
        driver.name_flow(running, FlowNamed(time_ms=prices.time_ms, number=number, parts=parts, salt=salt))
        self.after(running, prices.time_ms)

    def _why_apart(self, running: Running, average: Sequence[Average] | None = None) -> str:
        """Returns that mark and index are too far apart for anything to be dealt; empty: they are not.

        Args:
            running: the token.
            average: of each leg; None: of the last prices.
        """
        most = running.spec.token.primary.match_divergence
        if average is None:
            apart, what = self._driver.market.divergence(running.symbols), "mark and index"
        else:
            apart = max((one.divergence for one in average), default=0.0)
            what = "average mark and index of its last part"
        if apart == math.inf:
            return "the index is missing" if average is None else "the index was missing for most of its last part"
        return f"{what} are {apart:.3%} apart, more than {most:.3%}" if apart > most else ""

    def _chosen(self, running: Running, open_to: Collection[Side]) -> list[Ask]:
        """Returns what is dealt now: accepted before the average began, and of a side that is dealt in; not too many.

        What squares the dealing account is always hedged at once too, but never matched at an average that those it
        dealt with may have known. Of more than a dealing takes, both sides are taken in proportion, and of a side a
        request of each holder in turn; the rest follows as a dealing of its own.
        """
        until_ms, found, squares = running.averages_ms, list[Ask](), list[Ask]()
        for request, ask in self._primary.waiting(running.name):
            if ask.side in open_to and ask.holder == DEALER:
                squares.append(ask)
            elif ask.side in open_to and request.accepted_ms <= until_ms:
                found.append(ask)
        return [*taken_in_turn(found, _ENOUGH), *squares]

    def _may_match(self, running: Running, open_to: Collection[Side]) -> bool:
        """Returns whether requests of both sides may be dealt now, which would be matched with each other."""
        if len(open_to) < 2:
            return False
        sides, until_ms = set[Side](), running.averages_ms
        for request, ask in self._primary.waiting(running.name):
            if ask.holder != DEALER and request.accepted_ms <= until_ms:
                sides.add(ask.side)
                if len(sides) == 2:
                    return True
        return False

    def _left_of(self, chosen: Iterable[Ask]) -> list[Ask]:
        """Returns what is left of requests after some of them were matched, in their order."""
        found = []
        for ask in chosen:
            request = self._primary.state_of(ask.holder).requests.get(ask.id)
            if request is not None:
                found.append(ask._replace(amount=request.amount))
        return found

    def _redeemable(self, running: Running, asks: Sequence[Ask]) -> list[Ask]:
        """Returns the redemptions that may be dealt now, in their order.

        While the dealing account is short of units, at least as many must be left: whoever has them can redeem them
        only once they were created, and without any unit left their NAV would begin anew.
        """
        left = running.state.balances.units + min(self._primary.quotes.stands(running), 0)
        found = []
        for ask in asks:
            if ask.side == "redeem" and ask.amount <= left:
                found.append(ask)
                left -= ask.amount
        return found

    def _match(
        self, running: Running, asks: Sequence[Ask], marks: tuple[float, ...], prices: Prices,
        accrued: tuple[float, ...],
    ) -> None:  # fmt: skip
        """Matches requests with each other at the average marks."""
        driver, now_ms = self._driver, prices.time_ms
        if len({ask.side for ask in asks}) < 2 or not running.state.balances.units:
            return
        before, struck = running.state, ev.NavStruck(time_ms=now_ms, prices=marks)
        if step(running.spec, before, struck).state.equity <= 0:
            return
        driver.publish(running, "dealing", now_ms, marks)
        price = worth(running.spec, running.state, accrued, None)
        found = match(asks, price, _rates(running)) if price.equity > 0 else NOTHING
        if found.given:
            driver.apply(running, ev.FlowMatched(time_ms=now_ms, units=found.units, cash=found.cash, fee=found.fee,
                                                 parties=len(found.given), accrued=accrued))  # fmt: skip
            self._give(running, found.given, "matched", now_ms)
            self._primary.check_supply(running, now_ms)
        driver.apply(running, ev.NavStruck(time_ms=now_ms, prices=tuple(leg.mark for leg in before.legs)))

    def _capped(self, running: Running, asks: list[Ask], accrued: tuple[float, ...], now_ms: int) -> list[Ask]:
        """Returns subscriptions with the money that the supply cap lets in; of one that gets none, all is returned."""
        price = worth(running.spec, running.state, accrued, "subscribe")
        rates = _rates(running)
        capped = within_supply(running, asks, price, rates)
        for ask, left in zip(asks, capped, strict=True):
            if rates.money_of(left) <= 0:
                self._primary.end(self._primary.request_of(ask.id, ask.holder), ask.holder, ABOVE_CAP, now_ms)
        return [ask for ask in capped if rates.money_of(ask) > 0]

    def _finish(self, running: Running, now_ms: int) -> None:
        """Ends what waits for a token that ended: redemptions of a closed one are paid out, all else is released."""
        asks, rates = self._primary.asks(running.name), _rates(running)
        self._driver.remember(running)
        running.deals_ms = math.inf
        self._driver.market.end_averages(running.number, running.symbols)
        why = self._primary.why_not_whole(running)
        for ask in asks:
            request = self._primary.request_of(ask.id, ask.holder)
            state = running.state
            if ask.side == "subscribe" or state.status == "wiped" or not state.is_flat:
                self._primary.end(request, ask.holder, f"the token is {state.status}", now_ms)
                continue
            units = state.balances.units
            if why or ask.amount > units:
                words = why or f"{ask.id} redeems more than the {as_text(units)} units that there are"
                self._driver.tell(running, f"{words}; redemptions are paid out once they are the same")
                continue
            share = final_share(running.spec, state, ask, rates)
            self._driver.apply(running, ev.Redeemed(time_ms=now_ms, units=share.units, cash=share.cash, fee=share.fee))
            self._give(running, (share,), "final", now_ms)
        if asks and not why:
            self._primary.check_supply(running, now_ms)

    def _give(self, running: Running, given: Sequence[Given], kind: Kind, now_ms: int) -> None:
        stands = bearing(running.spec, running.state)
        progress = self._progress
        self._driver.undo.remember(progress)
        progress.dealt = len(given) + (progress.dealt if progress.dealt_ms == now_ms else 0)
        progress.dealt_ms = now_ms
        for one in given:
            ask = one.ask
            event = Dealt(time_ms=now_ms, id=ask.id, kind=kind, units=one.units, cash=one.cash, fee=one.fee,
                          bearing=stands)  # fmt: skip
            self._primary.give(running, ask, event)
            if ask.id not in self._primary.state_of(ask.holder).requests:
                self._primary.leave(running.name, ask.id)


def _is_dealing(running: Running) -> bool:
    return running.state.dealing is not UNSET


def crossing_prices(market: Market, running: Running) -> tuple[float, ...]:
    """Returns the fair prices at which a flow meets what its token has yet to trade; none: it does not.

    They may be as far from the marks as the venue costs.
    """
    if not all(market.agrees(symbol, venue_cost(running)) for symbol in running.symbols):
        return ()
    return tuple(market.fair(symbol) for symbol in running.symbols)


def _rates(running: Running) -> Rates:
    fees = running.spec.token.fees
    return Rates(fees.creation, fees.redemption)
