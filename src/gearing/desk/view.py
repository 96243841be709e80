"""A desk as a person sees it: one record that the console, the commands and the metrics draw on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from gearing.core.book import BookState, LiveOrder, What
from gearing.core.journal import state_of
from gearing.core.measured import Measured
from gearing.core.record import DAY_MS
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.desk.boot import last_done, last_measured, spec_of, why_of
from gearing.desk.flows import FlowsView
from gearing.desk.happenings import Happening
from gearing.drive.adopting import Booked, Taker, booked, can_take
from gearing.drive.outlook import Outlook, nav_if_filled, outlook
from gearing.drive.reconciling import Holding, ledger_of
from gearing.drive.volatility import Volatility
from gearing.store.records import Projected, book_state_of
from gearing.store.store import Store

# So much of the past tells how lively a price is.
_LEARN_MS = 10 * DAY_MS
# A settlement that has not been reported for so long can be booked by hand; a demo's clock runs so many times as fast.
_OVERDUE_MS, _DEMO_SPEED = 600_000, 600


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """One token.

    Args:
        outlook: how it stands.
        book: where it trades.
        settlement: what its money is counted in.
        health: "ok", or what is wrong.
        helps: the command that a person puts that right with; empty: none is needed.
        headroom: equity over the maintenance margin; None: none is asked for.
        last: its rebalance that runs, or the last that is done.
        nav_filled: the NAV if its orders of unknown fate were filled, in settlement currency; None: there are none.
        is_provisional: whether its NAV contains funding at a predicted rate that the venue has not booked yet.
    """

    outlook: Outlook
    book: str
    settlement: str
    health: str = "ok"
    helps: str = ""
    headroom: float | None = None
    last: Measured | None = None
    nav_filled: float | None = None
    is_provisional: bool = False


class DeskView(msgspec.Struct, frozen=True, kw_only=True):
    """A desk at one moment.

    Args:
        mode: demo or paper.
        database: its file.
        running: whether a desk runs on it.
        market_ms: the market's time; of a desk that does not run, that of its last line.
        speed: market seconds per second; 0: it does not run.
        price_age_ms: of its oldest price; None: there is none.
        lines: in the journal.
        commit_s: how long the last commit took; 0: there was none.
        tokens: what it runs.
        happenings: the last ones, the newest last.
        flows: what holders do; None: there are none, or it does not run.
    """

    mode: str
    database: str
    running: bool
    market_ms: int
    speed: float = 0.0
    price_age_ms: int | None = None
    lines: int = 0
    commit_s: float = 0.0
    tokens: tuple[TokenView, ...] = ()
    happenings: tuple[Happening, ...] = ()
    flows: FlowsView | None = None


def token_view(
    spec: Spec, state: TokenState, book: str, *, marks: tuple[float, ...], daily: tuple[float, ...],
    why: str = "", book_halted: str = "", stale: str = "", maintenance: float = 0.0, last: Measured | None = None,
    unknown: Sequence[LiveOrder] = (), overdue: bool = False, differs: bool = False,
) -> TokenView:  # fmt: skip
    """Returns one token as a person sees it.

    Args:
        spec, state, book: the token.
        marks: of each leg; NaN: the last mark that was booked.
        daily: see `outlook`.
        why: it is halted.
        book_halted: why its book is.
        stale: why it has no good price.
        maintenance: what the venue asks for, where its own brackets ask for nothing, in settlement currency.
        last: its last rebalance that is done.
        unknown: its orders of which nobody knows what became of them.
        overdue: whether a settlement of funding can be booked by hand now.
        differs: whether its book differs from the venue's last statement.
    """
    known = tuple(leg.mark if math.isnan(mark) else mark for mark, leg in zip(marks, state.legs, strict=True))
    seen = outlook(spec, state, known, daily)
    asked = seen.maintenance or maintenance
    words = [f"halted, {why}" if seen.status == "halted" else "" if seen.status == "open" else seen.status,
             f"book halted, {book_halted}" if book_halted else "", stale]  # fmt: skip
    if state.is_provisional:
        words.append("NAV is provisional: funding is not booked yet")
    filled = nav_if_filled(spec, state, known, unknown) if unknown else None
    if filled is not None:
        words.append(f"an order is unknown: if it was filled, NAV is {filled:,.4f}")
    return TokenView(
        outlook=seen, book=book, settlement=spec.token.settlement, health="; ".join(w for w in words if w) or "ok",
        helps=_helps(spec, state, book, book_halted, overdue=overdue, differs=differs),
        headroom=seen.equity / asked if asked > 0.0 else None, last=last, nav_filled=filled,
        is_provisional=state.is_provisional,
    )  # fmt: skip


def _helps(spec: Spec, state: TokenState, book: str, book_halted: str, *, overdue: bool, differs: bool) -> str:
    """Returns the command that puts a token right which waits for a person; empty: it waits for nobody."""
    name = spec.token.symbol
    if book_halted and differs:
        return (
            f"gearing book adopt {book} --reason WHY, or put it right at the venue: gearing resume {name} --reason WHY"
        )
    if book_halted or state.status == "halted":
        return f"gearing resume {name} --reason WHY"
    waiting = [(one.settlement_ms, symbol) for symbol, leg in zip(spec.chains.held(state.legs), state.legs, strict=True)
               for one in leg.accruals]  # fmt: skip
    if overdue and waiting:
        time_ms, symbol = min(waiting)
        at = f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%dT%H:%M}"
        return f"gearing book settle {book} {symbol} --at {at} --rate RATE --reason WHY"
    return ""


def learnt(store: Store, token: str, symbols: tuple[str, ...], now_ms: int) -> dict[str, Volatility]:
    """Returns the volatility of a token's prices, from the marks that its NAVs were struck at.

    While a roll ran, those of the contracts that it opened come last, and are left out.
    """
    found = {symbol: Volatility() for symbol in symbols}
    for nav in store.navs(token, now_ms - _LEARN_MS, now_ms + 1):
        for symbol, mark in zip(symbols, nav.marks, strict=False):
            found[symbol].see(mark, nav.time_ms)
    return found


def stored_view(store: Store, *, running: bool) -> DeskView:
    """Returns a desk as its database tells of it, whether it runs or not.

    Args:
        store: the database.
        running: whether a desk runs on it.
    """
    now_ms = store.last_ms()
    states = {projected.stream: projected for projected in store.states()}
    tokens: list[TokenView] = []
    unread: list[Happening] = []
    for stream in [stream for stream in states if stream.startswith("book:")]:
        try:
            tokens += _stored_book(store, stream, states, now_ms, running=running)
        except Exception as error:  # one damaged book hides no other
            words = (
                f"{stream} cannot be read ({type(error).__name__}: {error}); see gearing journal verify {store.path}"
            )
            unread.append(Happening(time_ms=now_ms, level="warning", kind="alarm", words=words))
    return DeskView(
        mode=store.meta.mode, database=str(store.path), running=running, market_ms=now_ms,
        lines=store.end().n, tokens=tuple(tokens), happenings=tuple(unread),
    )  # fmt: skip


def _stored_book(
    store: Store, stream: str, states: Mapping[str, Projected], now_ms: int, *, running: bool
) -> list[TokenView]:  # fmt: skip
    name, book = stream.partition(":")[2], book_state_of(states[stream].body)
    unknown = _unknown(store, name, book, now_ms, running=running)
    return [
        _stored(store, token, state_of(states[f"token:{token}"].body), name, book, now_ms,
                [order for order in unknown if order.of(token)])
        for token in book.tokens
        if f"token:{token}" in states
    ]  # fmt: skip


class BookLedger(NamedTuple):
    """A book as its database tells of it.

    Args:
        state: its state.
        amounts: what its account holds by the ledgers: lots by symbol, minor units of cash by asset.
        lots: the size of a lot of each instrument, units of its underlying.
        takers: of each instrument, the positions that can take more of it.
        halted: the tokens that are.
    """

    state: BookState
    amounts: dict[tuple[What, str], int]
    lots: dict[str, str]
    takers: dict[str, list[Taker]]
    halted: list[str]

    def adopted(self, tokens: Sequence[str]) -> Booked | None:
        """Returns what an adoption would book at the last marks; None: no token can take a position that differs.

        Args:
            tokens: those that take all of it; none: those that hold an instrument take its contracts.
        """
        if self.state.differences is UNSET:
            return None
        takers = {symbol: [one for one in those if not tokens or one.token in tokens]
                  for symbol, those in self.takers.items()}  # fmt: skip
        if any(one.what == "position" and not takers.get(one.name) for one in self.state.differences):
            return None
        return booked(self.state.differences, lambda one: takers[one.name], lambda symbol: takers[symbol][0].leg.mark)


def stored_ledger(store: Store, book: str) -> BookLedger | None:
    """Returns a book and what its account holds by its ledgers; None: there is none of this name."""
    found = store.state(f"book:{book}")
    if found is None:
        return None
    state, lots, holdings = book_state_of(found.body), dict[str, str](), list[Holding]()
    takers, halted = defaultdict[str, list[Taker]](list), list[str]()
    for token in state.tokens:
        kept = store.state(f"token:{token}")
        if kept is not None:
            mine, spec = state_of(kept.body), Spec(spec_of(store, token))
            symbols = spec.chains.held(mine.legs)
            lots |= {symbol: leg.lot for symbol, leg in zip(symbols, mine.legs, strict=True)}
            holdings.append(Holding(symbols, spec.token.settlement, mine))
            halted += [token] if mine.status == "halted" else []
            for k, (symbol, leg) in enumerate(zip(symbols, mine.legs, strict=True)):
                if can_take(leg, mine):
                    takers[symbol].append(Taker(token, k, leg, spec.token.settlement))
    return BookLedger(state, ledger_of(state, holdings), lots, dict(takers), halted)


def _unknown(store: Store, name: str, book: BookState, now_ms: int, *, running: bool) -> list[LiveOrder]:
    """Returns the orders that were being sent when a desk went down, or that a running one has waited for too long."""
    rows = store.outbox_open(name)
    sent = (row.id for row in rows if row.status != "ready" and (not running or now_ms > row.dead_after_ms))
    return [book.live[key] for key in sent if key in book.live]


def _stored(
    store: Store, name: str, state: TokenState, traded_in: str, book: BookState, now_ms: int,
    unknown: Sequence[LiveOrder],
) -> TokenView:  # fmt: skip
    spec = Spec(spec_of(store, name))
    symbols = spec.chains.held(state.legs)
    known, last = learnt(store, name, symbols, now_ms), last_measured(store, name)
    overdue_ms = _OVERDUE_MS * (_DEMO_SPEED if store.meta.mode == "demo" else 1)
    return token_view(
        spec, state, traded_in, marks=tuple(leg.mark for leg in state.legs),
        daily=tuple(known[symbol].daily for symbol in symbols), why=why_of(store, name, state.status),
        book_halted=book.halted, differs=book.differences is not UNSET, unknown=unknown,
        last=Measured.told(last, last_done(store, name)),
        overdue=any(one.settlement_ms < now_ms - overdue_ms for leg in state.legs for one in leg.accruals),
    )  # fmt: skip
