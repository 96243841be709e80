"""How a desk starts: from what is durable, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from gearing.core.events import DealingBegun, Launched, Operated, SpecificationChanged
from gearing.core.hedging_cost import costs_of
from gearing.core.journal import line_of, state_of
from gearing.core.measured import Measured
from gearing.core.money import to_float
from gearing.core.netting import Ask
from gearing.core.record import DAY_MS
from gearing.core.terms import Spec
from gearing.core.token import Token
from gearing.drive.breakers import OnDeleveraging
from gearing.drive.driver import Driver
from gearing.drive.effects import Head
from gearing.drive.market import Market
from gearing.drive.outbox import Outbox
from gearing.drive.primary import Primary
from gearing.drive.running import Holder, Running, why_halted
from gearing.drive.starts import Starts
from gearing.store.database import read_secret
from gearing.store.integrity import state_faults
from gearing.store.records import Projected, book_state_of, holder_state_of, measured_of
from gearing.store.store import Store

# Rebalances are looked through so many at a time, most of which may be hedges of flows.
_PAGE = 100


class Booted(NamedTuple):
    """A driver and an outbox as the store left them, and what a person has to know of streams that are not run."""

    driver: Driver
    outbox: Outbox
    alarms: tuple[str, ...] = ()


def boot(
    store: Store, market: Market, *, window_ms: int, visibility_ms: int, now_ms: int, nav_ms: int = 60_000,
    on_deleveraging: OnDeleveraging = "freeze", windows_ms: Mapping[str, int] | None = None, patience_ms: int = 60_000,
) -> Booted:  # fmt: skip
    """Returns the driver and the outbox that go on where the journal ends.

    An order that was being sent has an unknown fate until the venue tells. A book whose database was restored is
    halted: its orders may have gone on without it.

    Args:
        store: the database.
        market: for the prices.
        window_ms, visibility_ms: of the venue, see `Outbox`.
        now_ms: the time.
        nav_ms, on_deleveraging, patience_ms: see `Driver`.
        windows_ms: within how long scheduled starts are put off, by token, see `Starts`.
    """
    starts = Starts(read_secret(store.path), windows_ms)
    driver = Driver(market, nav_ms=nav_ms, on_deleveraging=on_deleveraging, starts=starts, patience_ms=patience_ms)
    outbox = Outbox(window_ms, visibility_ms)
    states = {projected.stream: projected for projected in store.states()}
    faults = state_faults(store)
    for stream, projected in states.items():
        kind, _, name = stream.partition(":")
        if kind != "book":
            continue
        if stream in faults:
            continue
        book_state = book_state_of(projected.body)
        broken = [faults[f"token:{token}"] for token in book_state.tokens if f"token:{token}" in faults]
        if broken:
            faults[stream] = f"{stream} is not run, since one of its tokens is not: {broken[0]}"
            continue
        book = driver.adopt_book(name, book_state, Head(projected.seq, projected.hash))
        for token in book_state.tokens:
            found = states.get(f"token:{token}")
            if found is not None:
                spec = Spec(spec_of(store, token))
                running = driver.adopt(book, spec, state_of(found.body), Head(found.seq, found.hash))
                running.measured, running.done = last_measured(store, token), last_done(store, token)
                running.costs = costs_of(newest_measured(store, token))
                running.why = why_of(store, token, running.state.status)
                running.flow = flow_of(store, token) if running.state.dealing is not msgspec.UNSET else ()
                _look(store, running, now_ms)
        if store.meta.is_foreign_to(book_state.incarnation):
            driver.reopen_book(book, store.meta.incarnation, now_ms)
    stopped = {stream.removeprefix("holder:"): words for stream, words in faults.items() if stream[:7] == "holder:"}
    sound = [projected for stream, projected in states.items() if stream not in faults]
    driver.primary = Primary(driver, holders_of(sound), stopped)
    for running in driver.tokens:
        if not driver.primary.supply.get(running.name):  # of before there were holders, or never dealt in
            driver.primary.grant_seed(running, now_ms, -running.state.balances.capital)
        driver.primary.call(running, driver.primary.first_ms(running.name, now_ms))
    for row in store.outbox_open():
        order = driver.books[row.book].state.live.get(row.id) if row.book in driver.books else None
        if order is not None:
            outbox.recover(row, order, now_ms)
    return Booted(driver, outbox, tuple(faults.values()))


def holders_of(states: Iterable[Projected]) -> Iterator[Holder]:
    """Yields the holders as their journals left them."""
    for found in states:
        kind, _, name = found.stream.partition(":")
        if kind == "holder":
            yield Holder(name, holder_state_of(found.body), Head(found.seq, found.hash))


def _look(store: Store, running: Running, now_ms: int) -> None:
    """Takes up what a token's rule of consolidation has looked at today, and whether units are still to be merged."""
    rule, day = running.spec.token.consolidation, now_ms // DAY_MS
    if rule is None:
        return
    navs = store.navs(running.name, day * DAY_MS, (day + 1) * DAY_MS)
    first = next((nav for nav in navs if nav.kind == "minute"), None)
    turns = store.tagged(running.stream, "launched", "consolidated", "specification_changed")
    if any(row.time_ms >= day * DAY_MS for row in turns):
        running.looked_day = day
    elif first is not None:
        running.looked_day, running.merges = day, 0.0 < to_float(first.nav) < rule.below


def spec_of(store: Store, token: str) -> Token:
    """Returns the present specification of a token: that of its launch, or of its last change."""
    stream = f"token:{token}"
    for row in reversed(list(store.tagged(stream, "launched", "specification_changed"))):
        event = line_of(row.body).event
        if isinstance(event, (Launched, SpecificationChanged)):
            return event.token
    raise TypeError(f"{stream} does not begin with its launch")


def flow_of(store: Store, token: str) -> tuple[Ask, ...]:
    """Returns the requests whose hedge is under way: those that its beginning names."""
    (*_, last) = store.tagged(f"token:{token}", "dealing_begun")
    begun = line_of(last.body).event
    if not isinstance(begun, DealingBegun):
        raise TypeError(f"token:{token} line {last.seq} begins no dealing")
    return tuple(Ask(part.holder, part.id, begun.side, part.amount) for part in begun.parts)


def last_measured(store: Store, token: str) -> Measured | None:
    """Returns the last rebalance of a token, or None if there was none."""
    rows = store.rebalances(token)
    return measured_of(rows[0].body) if rows else None


def last_done(store: Store, token: str) -> Measured | None:
    """Returns the last rebalance of a token that is done, see `Measured.is_done`; None: there was none."""
    return next((measured for measured in newest_measured(store, token) if measured.is_done), None)


def newest_measured(store: Store, token: str) -> Iterator[Measured]:
    """Yields what was measured of a token's rebalances and hedges, the newest first."""
    page = store.rebalances(token, _PAGE)
    while page:
        yield from (measured_of(row.body) for row in page)
        page = store.rebalances(token, _PAGE, before=page[-1].epoch)


def measured(store: Store, token: str | None = None, limit: int = 20) -> list[Measured]:
    """Returns the last rebalances of a token, or of all, the newest first."""
    return [measured_of(row.body) for row in store.rebalances(token, limit)]


def why_of(store: Store, token: str, status: str) -> str:
    """Returns why a token is halted, by its journal; empty if it is not, or no event says so."""
    if status != "halted":
        return ""
    turns = [event for event in _operated(store, token) if event.action in {"halt", "resume"}]
    halted = bool(turns) and turns[-1].action == "halt"
    return why_halted(turns[-1]) if halted else "venue: orders were refused too often"


def resumed_ms(store: Store, token: str) -> int:
    """Returns when a token was last resumed; 0: it never was. A breaker counts nothing from before that."""
    return max((event.time_ms for event in _operated(store, token) if event.action == "resume"), default=0)


def _operated(store: Store, token: str) -> list[Operated]:
    events = (line_of(row.body).event for row in store.tagged(f"token:{token}", "operated"))
    return [event for event in events if isinstance(event, Operated)]
