"""When a token's legs move into their next contracts, and what expired while it was held."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from gearing.core import events as ev
from gearing.core.state import TokenState
from gearing.core.step import step
from gearing.core.terms import Spec
from gearing.drive.limits import refusal
from gearing.drive.market import Market
from gearing.drive.running import Running

if TYPE_CHECKING:
    from gearing.drive.driver import Driver


class Rolls:
    """The rolls of a driver's tokens, and what expired while it was held.

    Until the next of all contracts expires, or a token that has any trades, no price asks for what has expired.

    Args:
        driver: that runs the tokens.

    Attributes:
        looks_ms: when it is looked for next.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._dated: dict[int, Running] = {}
        self.looks_ms = math.inf

    def take_up(self, running: Running) -> None:
        """Takes up a token, or that it holds something else now; it is looked at with the next price."""
        if any(running.spec.chains.expiries_ms):
            self._dated[running.number] = running
            self.looks_ms = 0.0

    def attend(self, running: Running) -> bool:
        """Begins the roll that is due, or goes on with one; returns whether the rule has to do without its clock."""
        driver = self._driver
        event = self._now(running)
        if isinstance(event, str):
            driver.tell(running, event)
            return True
        if event is None:
            return False
        if running.state.dealing is not UNSET:
            settled = driver.primary.dealings.end_waiting(running, event.time_ms, keeps_excess=False)
            event = self._now(running)
            if not settled or not isinstance(event, ev.RollDue):
                return True  # it goes on once the flow is settled
        why = running.book.state.halted or why_not(running.spec, running.state, event)
        if why:
            driver.halt(running, "limits", f"R4: a roll was not begun: {why}", event.time_ms)
            return True
        driver.apply(running, event)
        return running.state.is_working

    def _now(self, running: Running) -> ev.RollDue | str | None:
        """Returns the roll that is due, whether or not a flow is to be settled before it."""
        state = running.state
        if state.dealing is not UNSET and not running.book.state.halted:
            state = msgspec.structs.replace(state, dealing=UNSET)
        return roll_now(running.spec, state, running.symbols, self._driver.market, self._driver.lots)

    def follow(self, running: Running) -> None:
        """Takes the symbols of the contracts that are held now; on those that were left nothing is waited for."""
        before, running.symbols = running.symbols, running.spec.chains.held(running.state.legs)
        self._driver.market.disarm(running.number, [symbol for symbol in before if symbol not in running.symbols])

    def see_expired(self, now_ms: int) -> None:
        """Halts whoever holds a contract that has expired."""
        dated = self._dated.values()
        ends = [end for one in dated for times in one.spec.chains.expiries_ms for end in times]
        self.looks_ms = min((float(end) for end in ends if end > now_ms), default=math.inf)
        for running in dated:
            for symbol in running.spec.chains.expired(running.state, now_ms):
                words = f"{symbol} expired while it was held"
                if words not in running.told:
                    self._driver.remember(running)
                    running.told |= {words}
                    self._driver.halt(running, "guard", words, now_ms)


def roll_now(
    spec: Spec, state: TokenState, symbols: tuple[str, ...], market: Market, lots: Mapping[str, str]
) -> ev.RollDue | str | None:
    """Returns the roll that is due, what it waits for in words, or None: there is none.

    Args:
        spec, state, symbols: the token, and the symbol of each position.
        market: the guarded prices.
        lots: the size of one lot of each instrument, as the venue lists it.
    """
    now = market.prices(symbols)
    if now is None or not spec.chains.may_roll(state):
        return None
    due = spec.chains.due(state, now.time_ms)
    if not (due or state.is_rolling):
        return None
    following = spec.chains.following(state, due)
    into, unknown = ", ".join(following), ", ".join(symbol for symbol in following if symbol not in lots)
    prices = market.prices((*symbols, *following))
    if prices is None or unknown:
        return (
            f"the roll into {into} waits for {f'the size of a lot of {unknown}' if unknown else 'a good price of both'}"
        )
    count = len(symbols)
    return ev.RollDue(time_ms=prices.time_ms, legs=due, prices=prices.marks[:count], next_prices=prices.marks[count:],
                      lots=tuple(lots[symbol] for symbol in following))  # fmt: skip


def why_not(spec: Spec, state: TokenState, event: ev.RollDue) -> str:
    """Returns why a roll must not begin; empty if it may.

    What opens the next contract is held against the limits before what closes the old one is sent.
    """
    would = step(spec, state, event)
    return next(filter(None, (refusal(spec, would.state, order) for order in would.orders)), "")
