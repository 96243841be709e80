"""A token and a book as the driver runs them: their states, the heads of their journals, and what was said of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET

from gearing.core import events as ev
from gearing.core.book import BookState, LiveOrder
from gearing.core.flow_parts import FlowsState
from gearing.core.hedging_cost import HedgeCost, with_hedge
from gearing.core.holder import HolderState
from gearing.core.measured import Measured
from gearing.core.netting import Ask
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.core.watch import Watch
from gearing.drive.effects import START, Head
from gearing.drive.undo import Restorable

if TYPE_CHECKING:
    from gearing.drive.together import Wanted
    from gearing.venues.protocol import Statement


# For so many windows a request stays bound whose price had formed while mark and index were apart.
_BOUND_WINDOWS = 5


class Bound(NamedTuple):
    """Which requests bind their holders though their window has ended: accepted between two times, and until when.

    Those of before were bound once already, and are no more.
    """

    after_ms: float = -math.inf
    accepted_ms: float = -math.inf
    until_ms: float = 0

    def with_window(self, averages_ms: float, deals_ms: float, window_ms: int) -> Bound:
        """Returns it after one more window whose price had formed was not dealt in."""
        if deals_ms < self.until_ms:
            return self._replace(accepted_ms=averages_ms)
        return Bound(self.accepted_ms, averages_ms, deals_ms + _BOUND_WINDOWS * window_ms)

    def binds(self, accepted_ms: int, now_ms: int) -> bool:
        """Returns whether a request that was accepted at a time cannot be taken back now."""
        return self.after_ms < accepted_ms <= self.accepted_ms and now_ms < self.until_ms


class Running(Restorable):
    """A token as the driver runs it."""

    __slots__ = (
        "book",
        "bound",
        "costs",
        "deals_ms",
        "done",
        "flow",
        "flows_head",
        "flows_state",
        "flows_stream",
        "goes_on",
        "head",
        "horizon",
        "looked_day",
        "measured",
        "merged",
        "merges",
        "name",
        "nav_number",
        "number",
        "postponed_ms",
        "rolls",
        "since_ms",
        "spec",
        "state",
        "stream",
        "symbols",
        "told",
        "watched",
        "why",
    )

    def __init__(self, number: int, book: Book, spec: Spec, state: TokenState, head: Head) -> None:
        self.number, self.book, self.state, self.head = number, book, state, head
        self.name = spec.token.symbol
        self.stream, self.flows_stream = f"token:{self.name}", f"flows:{self.name}"
        self.flows_state, self.flows_head = FlowsState(), START
        self.goes_on_under(spec)
        self.symbols = spec.chains.held(state.legs) if state.legs else spec.chains.first(UNSET)
        self.nav_number = 0
        self.deals_ms = math.inf  # when its next flows are dealt
        self.since_ms = 0  # since when nothing has stood against dealing in them, as far as its prices know
        self.postponed_ms = 0  # what was accepted by then has seen the end of its window; it is dealt, or was put off
        self.bound = Bound()
        self.goes_on = False  # whether a part of what its window left is dealt already
        self.flow: tuple[Ask, ...] = ()  # the requests whose hedge is under way
        self.horizon: Watch | None = None
        self.watched: TokenState | None = None  # whose horizon that is
        self.measured: Measured | None = None  # its last, and the last that is done
        self.done: Measured | None = None
        self.costs: tuple[HedgeCost, ...] = ()  # of its last hedges, the newest first
        # The last day that its rule of consolidation looked at, and whether units are to be merged since.
        self.looked_day, self.merges = 0, False
        self.merged = 0  # the number of its last merger of units, among all since the desk began
        self.why = ""
        # What was said of its rolls and instruments already, so that it is said once.
        self.told: frozenset[str] = frozenset()

    @property
    def last(self) -> Measured | None:
        """The rebalance that people are told of: the one that runs, or the last that is done."""
        return Measured.told(self.measured, self.done)

    @property
    def averages_ms(self) -> float:
        """When the last part of the window begins: what was accepted by then is dealt at its end."""
        return self.deals_ms - self.spec.token.primary.match_ms

    @property
    def forms_ms(self) -> int:
        """Since when the price of its matched requests forms: later, if they could be cancelled after that."""
        return max(int(self.averages_ms), self.since_ms)

    def note_measured(self, measured: Measured) -> None:
        """Takes what was measured of a rebalance or a hedge so far."""
        self.measured = measured
        self.done = measured if measured.is_done else self.done
        self.costs = with_hedge(self.costs, measured)

    def goes_on_under(self, spec: Spec) -> None:
        """Takes a specification; whether any leg may roll is asked with every price, so it is worked out once."""
        self.spec, self.rolls = spec, any(spec.chains.leaves_ms)


class Book(Restorable):
    """A venue account as the driver runs it."""

    __slots__ = ("awaits_rules", "head", "name", "shares", "state", "statement", "stream", "tokens", "wanted")

    def __init__(self, name: str, state: BookState, head: Head) -> None:
        self.name, self.state, self.head = name, state, head
        self.awaits_rules = False  # since its desk began, the venue has not told when it settles funding
        self.stream = f"book:{name}"
        self.tokens: list[Running] = []
        self.shares: set[str] = set()  # instruments that more than one of its tokens holds, or may hold
        self.statement: Statement | None = None  # the venue's last, read while no order was under way
        self.wanted: tuple[Wanted, ...] = ()  # what they want of those at this instant

    def why_not_sent(self, order: LiveOrder) -> str:
        """Returns why an order that was intended is not sent any more; empty: it is sent.

        Nothing is sent from a halted book, nor for a halted token: of an order of several tokens, one is enough.
        """
        theirs = {share.purpose.token for share in order.shares}
        halted = [one.name for one in self.tokens if one.name in theirs and one.state.status == "halted"]
        return self.state.halted or (f"{' and '.join(halted)} is halted" if halted else "")

    def sees_shares(self) -> None:
        """Takes which instruments more than one of its tokens may hold."""
        names = [name for one in self.tokens for name in set(one.spec.chains.symbols)]
        self.shares = {name for name in names if names.count(name) > 1}


class Holder(Restorable):
    """A holder as the driver runs it."""

    __slots__ = ("head", "name", "state", "stream")

    def __init__(self, name: str, state: HolderState, head: Head) -> None:
        self.name, self.state, self.head = name, state, head
        self.stream = f"holder:{name}"


def why_halted(event: ev.TokenEvent) -> str:
    """Returns why a token was halted by this event, in words."""
    if isinstance(event, ev.Operated):
        return f"{event.by}: {event.reason}"
    if isinstance(event, ev.OrderEnded):
        return f"venue: orders ended {event.outcome} too often{f', {event.words}' if event.words else ''}"
    return ""
