"""When a token's legs move into their next contracts, and which contracts have expired."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from gearing.core import events as ev
from gearing.core.state import TokenState
from gearing.core.step import step
from gearing.core.terms import Spec
from gearing.drive.limits import refusal
from gearing.drive.market import Market
from gearing.drive.running import Running


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


class Expiries:
    """The tokens that hold contracts which expire.

    Until the next of all their contracts expires, or one of them trades, a price asks none of them.

    Attributes:
        next_ms: when they are to be looked at.
    """

    def __init__(self) -> None:
        self._dated: dict[int, Running] = {}
        self.next_ms = math.inf

    def follow(self, running: Running) -> None:
        """Takes up a token, or that it holds something else now; it is looked at with the next price."""
        if any(running.spec.chains.expiries_ms):
            self._dated[running.number] = running
            self.next_ms = 0.0

    def look(self, now_ms: int) -> Iterator[tuple[Running, str]]:
        """Names each token that holds an expired contract, and that contract."""
        ends = [end for one in self._dated.values() for times in one.spec.chains.expiries_ms for end in times]
        self.next_ms = min((float(end) for end in ends if end > now_ms), default=math.inf)
        for running in self._dated.values():
            for symbol in running.spec.chains.expired(running.state, now_ms):
                yield running, symbol
