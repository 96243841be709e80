"""Dealings at once that wait for their price: each is judged at the first good price known after its arrival.

A taker who knows the market better than the desk's last price would otherwise deal at a price that is old already. So
neither an acceptance of a quote nor an instant dealing is judged at a price whose source time is not after its arrival,
of every leg of its token. One that finds no such price in time is rejected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gearing.core.holder import omnibus_of
from gearing.drive.running import Running

if TYPE_CHECKING:
    from gearing.drive.driver import Driver


OF_OMNIBUS, IN_ALL = 100, 1_000
"""Dealings at once that may wait for their price: of a holder with all its sub-holders, and of all."""
# As many are judged at one price, so that prices and NAVs never wait for them for long.
_AT_ONE_PRICE = 100


class Judgement(NamedTuple):
    """When a dealing at once is judged, and at which prices.

    Args:
        arrived_ms: when it arrived, by the desk's clock in the market's time; it is judged at prices made after that.
        received: how many prices had come by then; it is judged at later ones.
        mergers: how many mergers of units there had been when the desk took it in, before it waited for anything.
        overdue: no such prices came in time, in words; empty: they did.
        crowded: too many wait for their price already, in words; empty: it may wait, or has.
    """

    arrived_ms: int
    received: int
    mergers: int
    overdue: str = ""
    crowded: str = ""


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
        self._quotes: dict[str, int] = {}
        self._of_omnibus: dict[str, int] = {}
        self._number = 0

    def add(self, acceptance: Acceptance) -> None:
        """Lets a dealing wait for its price."""
        self._number += 1
        undo, whose = self._driver.undo, omnibus_of(acceptance.holder) or acceptance.holder
        undo.set_item(self.waiting, self._number, acceptance)
        undo.set_item(self._of_omnibus, whose, self._of_omnibus.get(whose, 0) + 1)
        if acceptance.quote_id:
            undo.set_item(self._quotes, acceptance.quote_id, self._number)

    def _take(self, number: int) -> None:
        undo, one = self._driver.undo, self.waiting[number]
        whose = omnibus_of(one.holder) or one.holder
        undo.delete_item(self.waiting, number)
        undo.delete_item(self._quotes, one.quote_id)
        left = self._of_omnibus.get(whose, 0) - 1
        if left:
            undo.set_item(self._of_omnibus, whose, left)
        else:
            undo.delete_item(self._of_omnibus, whose)

    def why_crowded(self, holder: str) -> str:
        """Returns why a dealing at once of a holder may not wait for its price; empty: it may."""
        whose = omnibus_of(holder) or holder
        if self._of_omnibus.get(whose, 0) >= OF_OMNIBUS:
            return f"{OF_OMNIBUS} dealings at once of {whose} and its sub-holders wait for their price already"
        return f"{IN_ALL:,} dealings at once wait for their price already" if len(self.waiting) >= IN_ALL else ""

    def has_quote(self, quote_id: str) -> bool:
        """Returns whether the acceptance of a quote waits; the quote binds until it is judged."""
        return quote_id in self._quotes

    def judge(self, now_ms: int) -> bool:
        """Judges, in the order of their arrival, dealings whose price has come; returns whether there were any.

        So many at one price; the others follow at the next one, which they cannot have known either.
        """
        if not self.waiting:
            return False
        market, judged = self._driver.market, self.expire(now_ms)
        due = [number for number, one in self.waiting.items()
               if market.is_known_since(one.running.symbols, one.judgement.arrived_ms, one.judgement.received)
               and market.prices(one.running.symbols) is not None]  # fmt: skip
        for number in due[:_AT_ONE_PRICE]:
            one = self.waiting[number]
            self._take(number)
            one.judge(now_ms, one.judgement)
        return judged or bool(due)

    def expire(self, now_ms: int) -> bool:
        """Rejects the dealings for which no good price came in time; returns whether there were any."""
        patience_ms, overdue = self._driver.market.price_age_ms_max, False
        for number, one in list(self.waiting.items()):
            if now_ms - one.judgement.arrived_ms > patience_ms:
                words = f"{one.running.name} had no good price within {patience_ms / 1000:,.10g} s of its arrival"
                self._take(number)
                one.judge(now_ms, one.judgement._replace(overdue=words))
                overdue = True
        return overdue
