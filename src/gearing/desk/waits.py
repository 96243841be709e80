"""Why a request waits, and until when: what the counter answers, and what is listed of a desk's database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import UNSET

from gearing.core.book import BookState
from gearing.core.dealing import Side
from gearing.core.holder import Request
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.drive.driver import Driver
from gearing.drive.running import Running
from gearing.drive.settling import clock, next_settlement_ms, why_dealing_waits


class Wait(NamedTuple):
    """Until when a request waits.

    Args:
        words: why, and until when, as a sentence.
        deals_ms: the earliest time that it may be dealt, the market's, ms UTC; 0: something prevents it until then.
    """

    words: str
    deals_ms: int = 0


def wait_of(driver: Driver, running: Running, side: Side, now_ms: int) -> Wait:
    """Returns until when a request waits that was accepted now, as far as the desk knows."""
    deals_ms = _deals_ms(running.spec, now_ms)
    why = _why_closed(running.spec, running.state, running.book.state, side)
    why = why or why_dealing_waits(driver, running, now_ms)
    if not why and why_dealing_waits(driver, running, deals_ms):
        settled_ms = next_settlement_ms(driver, running, now_ms)
        why = f"funding is settled at {clock(settled_ms)}; dealing goes on once it is booked"
    if not why and not driver.market.is_good(running.symbols, now_ms):
        why = f"{running.name} has no good price now"
    return Wait(f"It waits: {why}.") if why else Wait(f"It is dealt at {_time(deals_ms)} at the earliest.", deals_ms)


def stored_wait(spec: Spec, state: TokenState, book: BookState, request: Request, now_ms: int) -> str:
    """Returns why a request waits, as far as the database tells: what prices announced is not kept there.

    Args:
        spec, state: its token.
        book: the token's.
        request: it.
        now_ms: the market's time of the last line.
    """
    why = _why_closed(spec, state, book, request.side)
    if why:
        return why
    if state.dealing is not UNSET:
        return "a flow is being hedged: it is part of it, or dealt after it"
    deals_ms = _deals_ms(spec, request.accepted_ms)
    if deals_ms > now_ms:
        return f"dealt at {_time(deals_ms)} at the earliest"
    return "its window has ended; it is dealt at the next good price, or once funding that is due is booked"


def _why_closed(spec: Spec, state: TokenState, book: BookState, side: Side) -> str:
    """Returns what of a token's own state stands against dealing in a side; empty: nothing does."""
    name = spec.token.symbol
    if book.halted:
        return f"the book of {name} is halted ({book.halted}); dealing goes on once {name} is resumed"
    if state.status == "halted":
        return f"{name} is halted; dealing goes on once it is resumed"
    if state.status == "wiped":
        return f"{name} was wiped out, and has nothing to deal with"
    if state.status == "closed":
        return f"{name} is closed; what is left is paid out once its funding is booked and its units are accounted for"
    if state.status != "open":
        return f"{name} is {state.status}; what is left is paid out once it is closed"
    if side == "subscribe" and state.paused is True:
        return f"creations of {name} are paused; dealing goes on once they are resumed"
    for symbol, leg in zip(spec.chains.held(state.legs), state.legs, strict=True):
        if leg.accruals:
            at = clock(leg.accruals[0].settlement_ms)
            return f"the funding of {symbol} at {at} is not booked yet; dealing goes on once it is"
    return f"{name} rolls into its next contract; dealing goes on after that" if state.is_rolling else ""


def _deals_ms(spec: Spec, accepted_ms: int) -> int:
    """Returns the earliest time at which a request is dealt: the end of the window whose last part began after it."""
    window_ms, match_ms = spec.token.primary.window_ms, spec.token.primary.match_ms
    return -(-(accepted_ms + match_ms) // window_ms) * window_ms


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
