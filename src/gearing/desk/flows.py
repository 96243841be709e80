"""What a desk's holders do, in a few figures: who waits, and what was dealt last."""

from __future__ import annotations

import msgspec

from gearing.core import events as ev
from gearing.core.dealing import Side
from gearing.core.holder import DEALER, ISSUER
from gearing.core.journal import line_of
from gearing.core.money import to_float
from gearing.desk.happenings import exchanged_of
from gearing.drive.driver import Driver
from gearing.drive.effects import Effects

_MARKS = (b'"event":"flow_matched"', b'"event":"dealing_begun"', b'"event":"dealing_settled"')


class LastDealt(msgspec.Struct, frozen=True, kw_only=True):
    """What was dealt last.

    Args:
        token: of which.
        time_ms: when.
        met: money for which units changed hands.
        came: money that was paid in for new units.
        went: money that was paid out for units.
        at_once: money that passed for units between a holder and the dealing account.
    """

    token: str
    time_ms: int
    met: float = 0.0
    came: float = 0.0
    went: float = 0.0
    at_once: float = 0.0


class FlowsView(msgspec.Struct, frozen=True, kw_only=True):
    """What holders do.

    Args:
        holders: how many there are, without the issuer and its dealing account.
        subscribing: how many subscriptions wait.
        redeeming: how many redemptions do.
        last: what was dealt last; None: nothing since the desk began.
    """

    holders: int
    subscribing: int = 0
    redeeming: int = 0
    last: LastDealt | None = None


class Flows:
    """Follows what is dealt, from the lines that became durable."""

    def __init__(self) -> None:
        self._last: LastDealt | None = None
        # Of each token, what met last, and the side that is hedged with it.
        self._met: dict[str, LastDealt] = {}
        self._sides: dict[str, Side] = {}

    def see(self, effects: Effects) -> None:
        """Takes what became durable."""
        for line in effects.lines:
            if (dealt := exchanged_of(line)) is not None:
                self._last = LastDealt(token=dealt.token, time_ms=dealt.time_ms, at_once=to_float(abs(dealt.cash)))
            if line.stream.startswith("token:") and any(mark in line.body for mark in _MARKS):
                self._take(line.stream.partition(":")[2], line_of(line.body).event)

    def _take(self, token: str, event: ev.TokenEvent) -> None:
        match event:
            case ev.FlowMatched():
                self._last = LastDealt(token=token, time_ms=event.time_ms, met=to_float(event.cash))
                self._met[token] = self._last
            case ev.DealingBegun():
                self._sides[token] = event.side
                if token in self._met and self._met[token].time_ms != event.time_ms:  # of a window before
                    del self._met[token]
            case ev.DealingSettled() if event.units and token in self._sides:
                met, cash = self._met.pop(token, None), to_float(event.cash)
                came, went = (cash, 0.0) if self._sides[token] == "subscribe" else (0.0, cash)
                self._last = LastDealt(token=token, time_ms=event.time_ms, met=met.met if met else 0.0, came=came,
                                       went=went)  # fmt: skip

    def view(self, driver: Driver) -> FlowsView | None:
        """Returns what holders do now; None: there are none but the issuer."""
        holders = [holder for name, holder in driver.primary.holders.items() if name not in {ISSUER, DEALER}]
        if not holders:
            return None
        sides = [one.side for holder in driver.primary.holders.values() for one in holder.state.requests.values()]
        return FlowsView(holders=len(holders), subscribing=sides.count("subscribe"), redeeming=sides.count("redeem"),
                         last=self._last)  # fmt: skip
