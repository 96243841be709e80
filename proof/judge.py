"""What must hold at the end of a simulation, whatever went wrong on the way."""

from __future__ import annotations

from collections import Counter

from gearing.drive.driver import Driver, Running
from gearing.venues.paper.engine import Engine as PaperEngine

# What an alarm names that must never happen.
_NEVER = ("L1", "L2", "U2", "U7", "O3", "R1", "F2")


class Judge:
    """Looks at a desk and its venue once all is at rest.

    Args:
        driver: of the desk.
        venue: the exchange.
        alarms: everything that a person was told.
        rough: whether gaps of the market, or the venue by itself, may have left a token where no order passes.
        seen: what is counted.
    """

    def __init__(
        self, driver: Driver, venue: PaperEngine, alarms: list[str], *, rough: bool, seen: Counter[str]
    ) -> None:
        self.driver, self.venue, self.alarms, self.rough, self.seen = driver, venue, alarms, rough, seen

    def failures(self) -> list[str]:
        """Returns what was promised and does not hold."""
        found = [words for words in self.alarms if any(mark in words for mark in _NEVER)]
        if not self.rough:
            found += [words for words in self.alarms if "R4" in words or "C1" in words]
        state = self.venue.state
        if state.clock.orders != len(state.orders):
            found.append(f"the venue took {state.clock.orders} orders of {len(state.orders)} ids")
        for name, book in self.driver.books.items():
            if book.state.live:
                found.append(f"{name}: orders are open at the end: {sorted(book.state.live)}")
            differs = self.driver.differences(book, self.venue.statement(name))
            found += [f"{name}: {d.what} {d.name}: venue {d.venue}, ledger {d.ledger}" for d in differs]
            for running in book.tokens:
                found += self._token(running)
        return found

    def _token(self, running: Running) -> list[str]:
        """Returns what is wrong with a token: it runs, is wiped out and at rest, or is halted for a reason told."""
        state, name = running.state, running.name
        self.seen["wiped"] += state.status == "wiped"
        self.seen["liquidated"] += any(not one.deleveraged for one in self.venue.state.forced.get(name, []))
        if state.status == "wiped":
            # Once the reserve has back what it paid in, what is left is its holders'.
            at_rest = state.is_flat and (state.equity == 0 or state.equity > 0 == state.balances.reserve)
            return [] if at_rest else [f"{name}: is wiped out with equity {state.equity} and {state.legs}"]
        mine = [words for words in self.alarms if words.startswith(f"{name}: ")]
        # One that was trading when the venue took a part of its position cannot be rehedged at once, and is frozen.
        frozen = state.status == "halted" and any("deleveraged the position" in words for words in mine)
        if state.status == "open" or frozen:
            return []
        if state.status == "halted" and any("too often" in words for words in mine):
            self.seen["given up"] += 1  # a person has to look, and was told
            return []
        if state.status == "halted" and self.rough and any("R4" in words for words in mine):
            self.seen["refused"] += 1
            return []
        return [f"{name}: is {state.status}; {mine[-3:]}"]
