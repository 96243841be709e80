"""The orders of a driver's tokens: placed or withheld, filled, closed, and what follows for the token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET

from gearing.core import book as bk
from gearing.core import events as ev
from gearing.core.book import LiveOrder, Share, order_id
from gearing.core.dealing import DEALING
from gearing.core.trading import Order
from gearing.drive.limits import refusal
from gearing.drive.running import Book, Running
from gearing.drive.together import Portion, Wanted

if TYPE_CHECKING:
    from gearing.drive.driver import Driver


class Orders:
    """The orders of a driver's tokens.

    Args:
        driver: that runs the tokens.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def place(self, running: Running, orders: Sequence[Order], now_ms: int) -> None:
        """Sends what a step wants, or nothing of it: no basket is left with some of its legs."""
        book, state = running.book, running.state
        why = book.state.halted or next(filter(None, (refusal(running.spec, state, one) for one in orders)), "")
        if why:
            self.withhold(running, orders, why, now_ms)
            return
        for order in orders:
            wanted = Wanted(running, order, now_ms, running.symbols[order.leg])
            if wanted.symbol in book.shares:  # what the others want at this instant is not known yet
                self._driver.undo.remember(book)
                book.wanted = (*book.wanted, wanted)
                self._driver.undo.set_item(self._driver.netting, book.name, book)
                continue
            share = wanted.share(order.lots)
            self.send(book, LiveOrder(id=order_id(book.state), symbol=wanted.symbol, lots=order.lots,
                                      reduces=order.reduces, purpose=share.purpose), now_ms)  # fmt: skip

    def withhold(self, running: Running, orders: Sequence[Order], why: str, now_ms: int) -> None:
        """Ends orders that must not be sent (R4). A flow is returned by that, anything else halts the token."""
        rebalance = running.state.rebalance
        if rebalance is None or rebalance.reason != DEALING:
            self._driver.halt(running, "limits", f"R4: an order was not sent: {why}", now_ms)
        elif running.state.status == "open":
            self._driver.effects.alarms.append(f"{running.name}: R4: the hedge of a flow was not sent: {why}")
        for order in orders:
            self._end(running, order.leg, order.epoch, order.slice, order.attempt, "withheld", why, now_ms)
        self._driver.primary.dealings.after(running, now_ms)

    def send(self, book: Book, order: LiveOrder, now_ms: int) -> None:
        """Intends an order; whoever runs the driver sends it once that is durable."""
        self._driver.note(book, bk.OrderPlaced(time_ms=now_ms, order=order))
        self._driver.effects.placed.append(order)

    def fill(self, portion: Portion, trade: str, price: float, time_ms: int, *, crosses: bool = False) -> None:
        """Books what a token has of a trade, at the venue or with other tokens of its book."""
        purpose = portion.share.purpose
        running = self._driver.by_name[purpose.token]
        self._driver.apply(running, ev.Filled(
            time_ms=time_ms, leg=purpose.leg, epoch=purpose.epoch, slice=purpose.slice, attempt=purpose.attempt,
            trade=trade, lots=portion.lots, price=price, commission=portion.charge, paid=portion.paid,
            crosses=crosses or UNSET,
        ))  # fmt: skip
        self._driver.rolls.take_up(running)  # what was bought may have expired before this was known

    def close_if_whole(self, book: Book, client_id: str, time_ms: int) -> None:
        """Closes an order that has ended once all its fills are booked."""
        order = book.state.live[client_id]
        if order.ends is not None and order.filled == order.ends[1]:
            self.close(book, client_id, order.ends[0], order.ends[2], time_ms)

    def close(self, book: Book, client_id: str, outcome: ev.Outcome, words: str, time_ms: int) -> None:
        """Closes an order, and ends it for each token that has a share of it."""
        order = book.state.live[client_id]
        self._driver.note(book, bk.OrderClosed(time_ms=time_ms, id=client_id, outcome=outcome, words=words))
        self._driver.effects.closed.append(client_id)
        self._driver.undo.set_item(self._driver.tally.orders, outcome, self._driver.tally.orders[outcome] + 1)
        for share in order.shares:
            self.ended(share, outcome, words, time_ms)

    def ended(self, share: Share, outcome: ev.Outcome, words: str, time_ms: int) -> None:
        """Takes an order off its token, and goes on with what waited for that."""
        p = share.purpose
        running = self._driver.by_name[p.token]
        rolled = running.state.is_rolling
        self._end(running, p.leg, p.epoch, p.slice, p.attempt, outcome, words, time_ms)
        self._driver.primary.dealings.after(running, time_ms)
        if rolled and not running.state.is_rolling:  # what fell due with the roll was put off until now
            self._driver.attend(running)
        else:
            self._driver.arm(running)

    def _end(
        self, running: Running, leg: int, epoch: int, slice_: int, attempt: int, outcome: ev.Outcome, words: str,
        time_ms: int,
    ) -> None:  # fmt: skip
        before = running.state.status
        self._driver.apply(running, ev.OrderEnded(time_ms=time_ms, leg=leg, epoch=epoch, slice=slice_, attempt=attempt,
                                          outcome=outcome, words=words))  # fmt: skip
        if (before, running.state.status) == ("open", "halted"):
            self._driver.effects.alarms.append(
                f"{running.name}: halted, its orders ended {outcome} too often {words}".strip()
            )
        state = running.state
        closes = state.status in {"wiped", "closing"} and state.rebalance is None and not state.is_flat
        if closes and outcome != "filled":
            self._driver.tell(running, f"its position could not be closed, its orders end {outcome}; it is tried again")
