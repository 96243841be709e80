"""Circuit breakers: when a token must stop, and when a person must look. Pure: facts in, verdicts out.

Without a good price nothing is traded anyway (P4), and an order that the venue refuses too often halts its token in
`step`. What is decided here comes on top of that.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

from gearing.core.record import Check, Record, duration_ms
from gearing.core.state import TokenState

OnDeleveraging = Literal["freeze", "rehedge"]


class BreakerLimits(Record, frozen=True, kw_only=True):
    """When a desk stops a token by itself.

    Args:
        stale_after: a price older than this raises an alarm, once; a duration of the market's time.
        nav_drop: a token whose NAV fell by this fraction of its highest within `nav_within` is halted.
        nav_within: see there.
        margin_least: a token whose equity is below so many times the venue's maintenance margin is halted.
        on_deleveraging: what follows when the venue closed a part of a position by auto-deleveraging: "freeze" halts
            the token, "rehedge" rebalances it at once.
    """

    stale_after: str = "1m"
    nav_drop: float = 0.5
    nav_within: str = "1h"
    margin_least: float = 1.5
    on_deleveraging: OnDeleveraging = "freeze"

    def __post_init__(self) -> None:
        check = Check(self)
        check.duration("stale_after", optional=False)
        check.number("nav_drop", 0, 1, strict=True)
        check.duration("nav_within", optional=False)
        check.number("margin_least", 1)
        check.choice("on_deleveraging", ("freeze", "rehedge"))
        check.done()

    @property
    def stale_ms(self) -> int:
        """`stale_after` in ms."""
        return duration_ms(self.stale_after)

    @property
    def within_ms(self) -> int:
        """`nav_within` in ms."""
        return duration_ms(self.nav_within)


class Facts(NamedTuple):
    """What is known of a token at a time.

    Args:
        time_ms: of the market.
        status: of the token.
        nav: at the marks of now, minor units per whole unit.
        units: that there are, in 1e-8 of a unit; without any, NAV is the initial one and cannot fall.
        equity: at the same, in settlement currency.
        maintenance: the venue's maintenance margin for what is held, likewise; 0: none is asked for.
        price_age_ms: of the oldest of its prices.
    """

    time_ms: int
    status: str
    nav: int
    units: int
    equity: float
    maintenance: float
    price_age_ms: int


class Verdict(NamedTuple):
    """What is to be done, and why. Each comes once, and again only after its cause was gone; "over" ends an alarm."""

    action: Literal["halt", "alarm", "over"]
    words: str


class Breakers:
    """The breakers of one token.

    Args:
        limits: when they trip.
    """

    def __init__(self, limits: BreakerLimits) -> None:
        self.limits = limits
        # NAVs that may still be the highest of the window: each lower than the one before it.
        self._peaks: deque[tuple[int, int]] = deque()
        self._was_stale = self._was_short = False
        self._stale_words = ""
        self._status = ""

    def remember(self, time_ms: int, nav: int, units: int) -> None:
        """Takes a NAV of before, so that a restart does not forget the window."""
        if units == 0:  # the first units that come begin at the initial NAV
            self._peaks.clear()
            return
        while self._peaks and self._peaks[-1][1] <= nav:
            self._peaks.pop()
        self._peaks.append((time_ms, nav))

    def look(self, facts: Facts) -> list[Verdict]:
        """Returns what the facts ask for."""
        if facts.status == "open" and self._status == "halted":  # a person looked: what was, counts no more
            self._peaks.clear()
            self._was_short = False
        self._status = facts.status
        found = [self._staleness(facts)]
        if facts.price_age_ms <= self.limits.stale_ms:  # an old price says nothing of NAV and margin
            found += [self._drop(facts), self._margin(facts)]
        return [verdict for verdict in found if verdict is not None]

    def _staleness(self, facts: Facts) -> Verdict | None:
        was, self._was_stale = self._was_stale, facts.price_age_ms > self.limits.stale_ms
        if self._was_stale == was:
            return None
        if was:
            return Verdict("over", self._stale_words)
        since = "so far" if facts.price_age_ms >= facts.time_ms else f"for {facts.price_age_ms / 1000.0:,.0f} s"
        self._stale_words = f"no good price {since}; nothing is traded"
        return Verdict("alarm", self._stale_words)

    def _drop(self, facts: Facts) -> Verdict | None:
        while self._peaks and self._peaks[0][0] < facts.time_ms - self.limits.within_ms:
            self._peaks.popleft()
        self.remember(facts.time_ms, facts.nav, facts.units)
        highest = self._peaks[0][1] if self._peaks else 0
        if facts.status != "open" or highest == 0 or facts.nav > highest * (1.0 - self.limits.nav_drop):
            return None
        fell = 1.0 - facts.nav / highest
        return Verdict("halt", f"NAV fell by {fell:.1%} within {self.limits.nav_within}")

    def _margin(self, facts: Facts) -> Verdict | None:
        was = self._was_short
        self._was_short = facts.maintenance > 0.0 and facts.equity < self.limits.margin_least * facts.maintenance
        if not self._was_short or was:
            return None
        ratio = facts.equity / facts.maintenance
        words = f"equity is {ratio:.2f} times the maintenance margin, below {self.limits.margin_least:g}"
        return Verdict("halt" if facts.status == "open" else "alarm", words)


def after_deleveraging(choice: OnDeleveraging, state: TokenState) -> Literal["halt", "rebalance"]:
    """Returns what follows on auto-deleveraging; a token that is trading cannot be rehedged and is halted."""
    if choice == "rehedge" and state.status == "open" and not state.is_working:
        return "rebalance"
    return "halt"
