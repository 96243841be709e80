"""How a desk starts: from what is durable, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from gearing.core.book import BookState
from gearing.core.events import DealingBegun, Launched, Operated, Part, SpecificationChanged
from gearing.core.flow_parts import digest_of
from gearing.core.hedging_cost import HedgeCost, costs_of
from gearing.core.holder import ISSUER
from gearing.core.journal import line_of
from gearing.core.measured import Measured
from gearing.core.money import as_text, to_float
from gearing.core.netting import Ask
from gearing.core.record import DAY_MS
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.core.token import Token
from gearing.drive.breakers import OnDeleveraging
from gearing.drive.driver import Driver
from gearing.drive.effects import Head
from gearing.drive.market import Market
from gearing.drive.outbox import Outbox
from gearing.drive.primary import Primary
from gearing.drive.running import Holder, why_halted
from gearing.drive.starts import Starts
from gearing.store.database import read_secret
from gearing.store.records import OutboxRow, flows_line_of, measured_of
from gearing.store.store import Store
from gearing.store.survey import (
    Survey,
    counterparties,
    last_seq,
    proved,
    survey,
    units_told,
    was_never_held,
    why_not_run,
)

# Rebalances are looked through so many at a time, most of which may be hedges of flows.
_PAGE = 100


class Booted(NamedTuple):
    """A driver and an outbox as the store left them, and what a person has to know of streams that are not run.

    Args:
        driver, outbox: of the streams that are run.
        alarms: sentences about those that are not.
        faults: why each of them is not run.
    """

    driver: Driver
    outbox: Outbox
    alarms: tuple[str, ...] = ()
    faults: Mapping[str, str] = MappingProxyType({})


class _Known(NamedTuple):
    """What the database says of a token that is taken up."""

    spec: Spec
    state: TokenState
    head: Head
    measured: Measured | None
    done: Measured | None
    costs: tuple[HedgeCost, ...]
    why: str
    flow: tuple[Ask, ...]
    looked: tuple[int, bool]


def boot(
    store: Store, market: Market, *, window_ms: int, visibility_ms: int, now_ms: int, nav_ms: int = 60_000,
    on_deleveraging: OnDeleveraging = "freeze", windows_ms: Mapping[str, int] | None = None, patience_ms: int = 60_000,
) -> Booted:  # fmt: skip
    """Returns the driver and the outbox that go on where the journal ends.

    An order that was being sent has an unknown fate until the venue tells. A book whose database was restored is
    halted: its orders may have gone on without it. What is damaged or missing is not run, and nothing else is stopped
    by it.

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
    seen = survey(store)
    for name, state in seen.books.items():
        _take_up(store, driver, seen, name, state, now_ms)
    _tell_bookless(store, driver, seen)
    driver.primary, counted = _primary(store, driver, seen)
    for running in driver.tokens:
        if not driver.primary.supply.get(running.name) and was_never_held(store, running.name):
            driver.primary.grant_seed(running, now_ms, -running.state.balances.capital)  # of before there were holders
    if store.requests(limit=1):
        driver.primary.note_mergers(store.numbers("consolidated"))
    driver.primary.settle_owed(now_ms)
    for running in driver.tokens:
        if not driver.primary.check_supply(running, now_ms):
            driver.primary.why_closed = driver.primary.why_not_whole(running)
        driver.primary.begin_anew(running, now_ms)
    for row in store.outbox_open():
        order = driver.books[row.book].state.live.get(row.id) if row.book in driver.books else None
        if order is not None:
            outbox.recover(row, order, now_ms)
    return Booted(driver, outbox, (*seen.faults.values(), *counted), seen.faults)


def _take_up(store: Store, driver: Driver, seen: Survey, name: str, state: BookState, now_ms: int) -> None:
    """Takes up a book with its tokens; if anything of one of them cannot be read, none of the book is."""
    stream, known = f"book:{name}", []
    for token in state.tokens:
        try:
            if f"flows:{token}" in seen.faults:
                seen.faults.setdefault(f"token:{token}", seen.faults[f"flows:{token}"])
            if f"token:{token}" not in seen.faults:
                known.append(_read(store, seen, token, now_ms))
        except Exception as error:  # whatever is wrong with its rows
            why = f"what is kept of it cannot be read ({type(error).__name__}: {error})"
            seen.faults[f"token:{token}"] = why_not_run(store, f"token:{token}", why)
    broken = [seen.faults[f"token:{token}"] for token in state.tokens if f"token:{token}" in seen.faults]
    if broken:
        seen.faults[stream] = f"{stream} is not run, since one of its tokens is not: {broken[0]}"
        return
    unread = next((row.id for row in store.outbox_open(name) if not _is_readable(row)), None)
    if unread is not None:
        seen.faults[stream] = why_not_run(store, stream, f"row {unread} of its outbox cannot be read")
        return
    row = seen.rows[stream]
    book = driver.adopt_book(name, state, Head(row.seq, row.hash))
    book.awaits_rules = True
    for one in known:
        running = driver.adopt(book, one.spec, one.state, one.head)
        running.measured, running.done, running.costs = one.measured, one.done, one.costs
        running.why, running.flow = one.why, one.flow
        running.looked_day, running.merges = one.looked
        flows = seen.rows.get(running.flows_stream)
        if flows is not None:
            running.flows_state, running.flows_head = seen.flows[running.name], Head(flows.seq, flows.hash)
    if store.meta.is_foreign_to(state.incarnation):
        driver.reopen_book(book, store.meta.incarnation, now_ms)


def _is_readable(row: OutboxRow) -> bool:
    return all(isinstance(value, int) for value in (row.signed_ms, row.dead_after_ms, row.created_ms))


def _read(store: Store, seen: Survey, token: str, now_ms: int) -> _Known:
    row, state = seen.rows[f"token:{token}"], seen.tokens[token]
    spec = Spec(spec_of(store, token))
    return _Known(
        spec, state, Head(row.seq, row.hash), last_measured(store, token), last_done(store, token),
        costs_of(newest_measured(store, token)), why_of(store, token, state.status),
        flow_of(store, token) if state.dealing is not msgspec.UNSET else (), _looked(store, spec, now_ms),
    )  # fmt: skip


def _tell_bookless(store: Store, driver: Driver, seen: Survey) -> None:
    """Notes the tokens that no book takes up, such as those of a book that is missing or damaged."""
    for token in seen.tokens:
        stream = f"token:{token}"
        if token not in driver.by_name and stream not in seen.faults:
            book = next((name for name, state in seen.books.items() if token in state.tokens), "")
            why = f"book:{book} is not run" if book else "no book that is run holds it"
            seen.faults[stream] = why_not_run(store, stream, why)


def _primary(store: Store, driver: Driver, seen: Survey) -> tuple[Primary, list[str]]:
    """Returns the primary market with every holder whose stream is sound, and what is counted of the others.

    Of the others, units count where their lines or state still tell them, so that one damaged holder keeps nobody else
    from dealing: together with those of all others they have to be what the token issued.
    """
    units: dict[str, int] = {}
    counted = []
    for stream in [stream for stream in seen.faults if stream.startswith("holder:")]:
        for token, amount in units_told(store, seen, stream).items():
            units[token] = units.get(token, 0) + amount
            counted.append(f"{stream} still counts as the holder of {as_text(amount, grouped=True)} units of {token}; "
                           f"what it asked for waits until it is repaired")  # fmt: skip
    _note_missing(store, seen, {ask.holder for one in driver.tokens for ask in one.flow}, "a flow under way is of it")
    owed = [book.state.owed for book in driver.books.values() if book.state.owed is not msgspec.UNSET]
    _note_missing(store, seen, {one.holder for shares in owed for one in shares.values()}, "a dealing is owed to it")
    primary = Primary(driver, holders_of(seen), stopped_of(seen), units)
    if any(primary.why_not_whole(one) and not was_never_held(store, one.name) for one in driver.tokens):
        _note_missing(store, seen, counterparties(store), "another holder's line names it")
        _note_missing(store, seen, {ISSUER}, "the issuer is granted the first units of every token")
        primary = Primary(driver, holders_of(seen), stopped_of(seen), units)
    tokens = {request.token for state in seen.holders.values() for request in state.requests.values()}
    books = {token: state for state in seen.books.values() for token in state.tokens}
    for token in tokens - driver.by_name.keys():
        begun, book = _begun(store, seen, token), books.get(token)
        shares = frozenset[str]() if book is None or book.owed is msgspec.UNSET else frozenset(book.owed)
        primary.begun[token] = None if begun is None or book is None else begun | shares
    return primary, counted


def holders_of(seen: Survey) -> Iterator[Holder]:
    """Yields the holders whose streams are sound, as their journals left them."""
    for name, state in seen.holders.items():
        row = seen.rows[f"holder:{name}"]
        yield Holder(name, state, Head(row.seq, row.hash))


def stopped_of(seen: Survey) -> dict[str, str]:
    """Returns why each of the other holders is not run."""
    faults = seen.faults.items()
    return {stream.partition(":")[2]: words for stream, words in faults if stream.startswith("holder:")}


def _note_missing(store: Store, seen: Survey, names: Iterable[str], witness: str) -> None:
    """Notes holders that are named and have no stream."""
    for stream in sorted(f"holder:{name}" for name in names):
        if not seen.has(stream):
            why = f"it has neither lines nor a state, and {witness}"
            seen.faults[stream] = why_not_run(store, stream, why)


def _begun(store: Store, seen: Survey, token: str) -> frozenset[str] | None:
    """Returns the requests that the last hedge of a token that is not run was for; None: its journal does not tell."""
    stream = f"token:{token}"
    if token in seen.tokens and seen.tokens[token].dealing is msgspec.UNSET:
        return frozenset()
    row = seen.rows.get(stream)
    if last_seq(store, stream) < (1 if row is None else row.seq):
        return None
    try:
        return frozenset(ask.id for ask in flow_of(store, token))
    except Exception:  # whatever is wrong with its lines
        return None


def _looked(store: Store, spec: Spec, now_ms: int) -> tuple[int, bool]:
    """Returns the last day that a token's rule of consolidation looked at, and whether units are to be merged since."""
    token, rule, day = spec.token.symbol, spec.token.consolidation, now_ms // DAY_MS
    if rule is None:
        return 0, False
    navs = store.navs(token, day * DAY_MS, (day + 1) * DAY_MS)
    first = next((nav for nav in navs if nav.kind == "minute"), None)
    turn = store.last_tagged(f"token:{token}", "launched", "consolidated", "specification_changed")
    if turn is not None and turn.time_ms >= day * DAY_MS:
        return day, False
    return (0, False) if first is None else (day, 0.0 < to_float(first.nav) < rule.below)


def spec_of(store: Store, token: str) -> Token:
    """Returns the present specification of a token: that of its launch, or of its last change."""
    stream = f"token:{token}"
    row = store.last_tagged(stream, "launched", "specification_changed")
    if row is not None:
        event = line_of(proved(store, row).body).event
        if isinstance(event, (Launched, SpecificationChanged)):
            return event.token
    raise TypeError(f"{stream} does not begin with its launch")


def flow_of(store: Store, token: str) -> tuple[Ask, ...]:
    """Returns the requests whose hedge is under way: those of its beginning, which its stream of flows names.

    Raises:
        TypeError: it does not.
    """
    last = store.last_tagged(f"token:{token}", "dealing_begun")
    if last is None:
        return ()
    begun = line_of(proved(store, last).body).event
    if not isinstance(begun, DealingBegun):
        raise TypeError(f"token:{token} line {last.seq} begins no dealing")
    parts = begun.parts or _parts_of(store, token, begun)
    return tuple(Ask(part.holder, part.id, begun.side, part.amount) for part in parts)


def _parts_of(store: Store, token: str, begun: DealingBegun) -> tuple[Part, ...]:
    stream = f"flows:{token}"
    row = next(store.lines(stream, last_seq(store, stream) or 1), None)
    named = None if row is None else flows_line_of(proved(store, row).body).event
    if named is None or (len(named.parts), digest_of(named.parts, named.salt)) != (begun.count, begun.digest):
        raise TypeError(f"{stream} does not name the requests of its last dealing")
    return named.parts


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
