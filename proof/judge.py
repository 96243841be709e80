"""What must hold at the end of a simulation, whatever went wrong on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

from msgspec import UNSET

from gearing.drive.driver import Driver
from gearing.drive.reconciling import differences, unasked
from gearing.drive.running import Book, Running
from gearing.venues.paper.engine import Engine as PaperEngine
from proof.swarm import Trouble

# What an alarm names that must never happen.
_NEVER = ("L1", "L2", "U1", "U2", "U3", "U6", "U7", "O3", "R1", "F2")


class Judge:
    """Looks at a desk and its venue once all is at rest.

    Args:
        driver: of the desk.
        venue: the exchange.
        alarms: everything that a person was told.
        rough: whether gaps of the market, or the venue by itself, may have left a token where no order passes.
        trouble: what befell an instrument, the clock or the database.
        seen: what is counted.
        corrected: of each book, what the venue paid more (less: < 0) than was booked before, minor units of USDT.
        closed: the tokens that an operator closed.
    """

    def __init__(
        self, driver: Driver, venue: PaperEngine, alarms: list[str], *, rough: bool, trouble: Trouble,
        seen: Counter[str], corrected: Counter[str], closed: Set[str],
    ) -> None:  # fmt: skip
        self.driver, self.venue, self.alarms, self.rough, self.seen = driver, venue, alarms, rough, seen
        self.trouble, self.corrected, self.closed = trouble, corrected, closed

    def failures(self) -> list[str]:
        """Returns what was promised and does not hold."""
        state = self.venue.state
        found = []
        if state.clock.orders != len(state.orders):
            found.append(f"the venue took {state.clock.orders} orders of {len(state.orders)} ids")
        for kind, what in zip(self.trouble._fields, self.trouble, strict=True):
            self.seen[kind] += what is not None
        if self.trouble.stale is not None:  # nobody knows what happened since, so nothing may be sent
            return found + [words for book in self.driver.books.values() for words in self._restored(book)]
        never = [mark for mark in _NEVER if mark != "F2" or self.trouble.resized is None]
        found += [words for words in self.alarms if any(mark in words for mark in never)]
        if not self.rough and self.trouble.resized is None:
            found += [words for words in self.alarms if "R4" in words or "C1" in words]
        for name, book in self.driver.books.items():
            if self._is_resized(book):
                holding = [token for token in book.tokens if self._holds_resized(token)]
                stands = book.state.halted or all(token.state.status == "wiped" for token in holding)
                found += [] if stands else [f"{name}: trades in lots of a size that is no more"]
                if book.state.halted or len(holding) == len(book.tokens):
                    continue
            self.seen["crossed"] += 0 if book.state.crossings is UNSET else book.state.crossings
            if book.state.live:
                found.append(f"{name}: orders are open at the end: {sorted(book.state.live)}")
            differs = differences(book, self.venue.statement(name))
            found += [f"{name}: {d.what} {d.name}: venue {d.venue}, ledger {d.ledger}" for d in differs]
            given, booked = Counter({"USDT": self.corrected[name]}), unasked([book])
            for one in self.venue.state.received.get(name, []):
                given[one.asset] += one.amount
            if given != booked:
                found.append(f"{name}: {dict(given)} came unasked, {dict(booked)} is booked")
            found += self._ended(book)
            for running in book.tokens:
                found += self._token(running) + self._holders(running)
        return found

    def _holders(self, running: Running) -> list[str]:
        """Returns what is wrong with those who hold a token: all of it is theirs, and nobody waits without a reason."""
        primary, state, name = self.driver.primary, running.state, running.name
        self.seen["dealt"] += 0 if state.dealings is UNSET else state.dealings
        found = []
        held, paid = (
            primary.supply.get(name, 0),
            sum(one.state.cash(running.spec.token.settlement, name) for one in primary.holders.values()),
        )
        if held != state.balances.units or paid != -state.balances.capital:
            issued = f"{state.balances.units} issued for {-state.balances.capital}"
            found.append(f"{name}: holders have {held} units and paid {paid}, {issued}")
        waits = [one.id for holder in primary.holders.values() for one in holder.state.requests.values()
                 if one.token == name]  # fmt: skip
        # A desk whose clock is an hour off has no price to deal at. Of a crowd a part was dealt just now, and the price
        # of the next one forms.
        forms_ms = running.since_ms + running.spec.token.primary.match_ms
        off = self.trouble.clock is not None or (running.goes_on and self.driver.market.now_ms <= forms_ms)
        if waits and state.status in {"open", "wiped", "closed"} and not running.book.state.halted and not off:
            found.append(f"{name}: is {state.status}, and {waits} wait at the end")
        return found

    def _restored(self, book: Book) -> list[str]:
        """Returns what is wrong with a book whose database is an old one."""
        incarnation = book.state.incarnation
        sent = [key for key in self.venue.state.orders if key.startswith(f"{book.name}/{incarnation}")]
        found = [] if book.state.halted.startswith("restore: ") else [f"{book.name}: is not halted after a restoration"]
        return found + ([f"{book.name}: sent {sent} after a restoration"] if sent else [])

    def _ended(self, book: Book) -> list[str]:
        """Returns who still holds something of an instrument in which trading has ended."""
        state = self.venue.state
        ended = {name for name, it in state.listings.items() if 0 < it.rules.delisted_ms <= state.now_ms}
        return [
            f"{token.name}: holds {leg.lots} lots of {symbol}, which has ended"
            for token in book.tokens
            for symbol, leg in zip(token.symbols, token.state.legs, strict=True)
            if symbol in ended and leg.lots
        ]

    def _is_resized(self, book: Book) -> bool:
        return any(self._holds_resized(token) for token in book.tokens)

    def _holds_resized(self, running: Running) -> bool:
        resized = self.trouble.resized
        return resized is not None and resized[1] in running.symbols

    def _token(self, running: Running) -> list[str]:
        """Returns what is wrong with a token: it runs, is wiped out and at rest, or is halted for a reason told."""
        state, name = running.state, running.name
        self.seen["wiped"] += state.status == "wiped"
        self.seen["rolled"] += any(leg.number > 0 for leg in state.legs)
        forced = self.venue.state.forced.get(running.book.name, [])
        self.seen["liquidated"] += any(not one.deleveraged for one in forced)
        mine = [words for words in self.alarms if words.startswith(f"{name}: ")]
        if state.status == "wiped":
            # A desk whose clock is an hour off has every order refused as too old or too early, and says so.
            if self.trouble.clock is not None and any("could not be closed" in words for words in mine):
                return []
            # Once the reserve has back what it paid in, what is left is its holders'.
            at_rest = state.is_flat and (state.equity == 0 or state.equity > 0 == state.balances.reserve)
            return [] if at_rest else [f"{name}: is wiped out with equity {state.equity} and {state.legs}"]
        # One that was trading when the venue took a part of its position cannot be rehedged at once, and is frozen.
        frozen = state.status == "halted" and any("deleveraged the position" in words for words in mine)
        # A desk whose clock is an hour off has no price, and sends nothing.
        at_rest = state.status == "closed" or (state.status == "closing" and self.trouble.clock is not None)
        if state.status == "open" or frozen or (name in self.closed and at_rest):
            return []
        ends = self.trouble.ends
        ended = ends is not None and ends[1] in running.symbols and any("has ended" in words for words in mine)
        if state.status == "halted" and ended:
            return []
        if state.status == "halted" and any("too often" in words for words in mine):
            # A person has to look, and was told; where the venue refused orders for minutes, that is the rule.
            self.seen["given up, its legs refused" if self.seen["refused legs"] else "given up"] += 1
            return []
        if state.status == "halted" and self.rough and any("R4" in words for words in mine):
            self.seen["refused"] += 1
            return []
        return [f"{name}: is {state.status}; {mine[-3:]}"]
