"""Dealings at once that wait for their price: each is judged at the first good price known after its arrival.

A taker who knows the market better than the desk's last price would otherwise deal at a price that is old already. So
neither an acceptance of a quote nor an instant dealing is judged at a price whose source time is not after its arrival,
of every leg of its token. One that finds no such price in time is rejected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gearing.drive.running import Running

if TYPE_CHECKING:
    from gearing.drive.driver import Driver


class Judgement(NamedTuple):
    """When a dealing at once is judged, and at which prices.

    Args:
        arrived_ms: when it arrived, by the desk's clock in the market's time; it is judged at prices made after that.
        received: how many prices had come by then; it is judged at later ones.
        mergers: how many mergers of units there had been when the desk took it in, before it waited for anything.
        overdue: no such prices came in time, in words; empty: they did.
    """

    arrived_ms: int
    received: int
    mergers: int
    overdue: str = ""


class Acceptance(NamedTuple):
    """A dealing at once that waits for its price.

    Args:
        holder: who deals.
        running: the token that is dealt in.
        quote_id: the quote that is accepted; empty: it is dealt without one.
        judgement: what is known of it so far.
        judge: deals or rejects it, given the time and its judgement.
    """

    holder: str
    running: Running
    quote_id: str
    judgement: Judgement
    judge: Callable[[int, Judgement], object]


class Acceptances:
    """The dealings of a driver that wait for their price, in the order of their arrival.

    They live in memory: after a restart whoever asked asks again, and what the database's inbox keeps arrives again.

    Args:
        driver: that runs the tokens.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.waiting: dict[int, Acceptance] = {}
        self._number = 0

    def add(self, acceptance: Acceptance) -> None:
        """Lets a dealing wait for its price."""
        self._number += 1
        self._driver.undo.set_item(self.waiting, self._number, acceptance)

    def has_holder(self, holder: str) -> bool:
        """Returns whether a dealing of a holder waits; what the holder asks next is run after it."""
        return any(one.holder == holder for one in self.waiting.values())

    def has_quote(self, quote_id: str) -> bool:
        """Returns whether the acceptance of a quote waits; the quote binds until it is judged."""
        return any(one.quote_id == quote_id for one in self.waiting.values())

    def judge(self, now_ms: int) -> bool:
        """Judges, in the order of their arrival, the dealings whose price has come; returns whether there were any."""
        if not self.waiting:
            return False
        market, judged = self._driver.market, self.expire(now_ms)
        for number, one in list(self.waiting.items()):
            symbols, judgement = one.running.symbols, one.judgement
            known = market.is_known_since(symbols, judgement.arrived_ms, judgement.received)
            if known and market.prices(symbols) is not None:
                self._driver.undo.delete_item(self.waiting, number)
                one.judge(now_ms, judgement)
                judged = True
        return judged

    def expire(self, now_ms: int) -> bool:
        """Rejects the dealings for which no good price came in time; returns whether there were any."""
        patience_ms, overdue = self._driver.market.price_age_ms_max, False
        for number, one in list(self.waiting.items()):
            if now_ms - one.judgement.arrived_ms > patience_ms:
                words = f"{one.running.name} had no good price within {patience_ms / 1000:,.10g} s of its arrival"
                self._driver.undo.delete_item(self.waiting, number)
                one.judge(now_ms, one.judgement._replace(overdue=words))
                overdue = True
        return overdue
