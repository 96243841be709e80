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
        arrived_ms: when it arrived, by the desk's clock in the market's time; it is judged at prices known after that.
        overdue: no such prices came in time, in words; empty: they did.
        void: why it is rejected whatever the prices are; empty: it is not.
    """

    arrived_ms: int
    overdue: str = ""
    void: str = ""


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

    def void(self, running: Running, reason: str) -> None:
        """Has every dealing in a token that waits rejected, whatever its price will be."""
        for number, one in self.waiting.items():
            if one.running is running:
                void = one._replace(judgement=one.judgement._replace(void=reason))
                self._driver.undo.set_item(self.waiting, number, void)

    def judge(self, now_ms: int) -> bool:
        """Judges, in the order of their arrival, the dealings whose price has come; returns whether there were any."""
        if not self.waiting:
            return False
        market, judged = self._driver.market, self.expire(now_ms)
        for number, one in list(self.waiting.items()):
            symbols = one.running.symbols
            if market.is_known_since(symbols, one.judgement.arrived_ms) and market.prices(symbols) is not None:
                self._driver.undo.delete_item(self.waiting, number)
                one.judge(now_ms, one.judgement)
                judged = True
        return judged

    def expire(self, now_ms: int) -> bool:
        """Rejects the dealings that are void, or had no good price in time; returns whether there were any."""
        patience_ms, rejected = self._driver.market.price_age_ms_max, False
        for number, one in list(self.waiting.items()):
            judgement = one.judgement
            if now_ms - judgement.arrived_ms > patience_ms:
                words = f"{one.running.name} had no good price within {patience_ms / 1000:,.10g} s of its arrival"
                judgement = judgement._replace(overdue=words)
            if judgement.overdue or judgement.void:
                self._driver.undo.delete_item(self.waiting, number)
                one.judge(now_ms, judgement)
                rejected = True
        return rejected
