"""A book: one venue account with its tokens, and every order that may still be filled on it.

An order's intent is journalled before it is sent, under an id that is never used again. What became of it is
what the venue says about that id, and nothing else. A trade is booked once.

Tokens of one book that hold the same instrument trade together: what they want against each other changes hands at the
fair price and is never sent, and what is left is one order, of which each has a share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from gearing.core.events import Event, Outcome
from gearing.core.holder import Dealt, Side
from gearing.core.money import as_text
from gearing.core.sharing import shared
from gearing.numerals import base36

What = Literal["position", "cash"]
"""What a statement tells of: lots of an instrument, or minor units of an asset."""

# A venue's report may come this long after a statement that agrees, and may repeat a trade of before it.
_REPORTS_LATE_MS = 600_000
_FAILURES_KEPT = 255


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """Whom an order is for: a token, and which of its live orders it is."""

    token: str
    leg: int
    epoch: int
    slice: int
    attempt: int


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A token's part of an order.

    Args:
        purpose: whom it is for.
        lots: signed, intended.
        filled: lots booked so far.
    """

    purpose: Purpose
    lots: int
    filled: int = 0


class LiveOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order whose end the venue has not yet told.

    Args:
        id: its client id at the venue.
        lots: signed, intended.
        reduces: it may only lower the position.
        purpose: whom it is for; of an order of several tokens, the first of them.
        filled: lots booked so far.
        trades: the venue's ids of what was booked.
        ends: what the venue said of its end while fills of it are still missing: (outcome, filled, words).
        parts: of each of several tokens, its part; unset: it is for one.
    """

    id: str
    symbol: str
    lots: int
    reduces: bool
    purpose: Purpose
    filled: int = 0
    trades: tuple[str, ...] = ()
    ends: tuple[Outcome, int, str] | None = None
    parts: tuple[Share, ...] | UnsetType = UNSET

    @property
    def rest(self) -> int:
        """The lots that may still be filled, as far as the venue told."""
        return (self.lots if self.ends is None else self.ends[1]) - self.filled

    @property
    def shares(self) -> tuple[Share, ...]:
        """What each token has of it."""
        if self.parts is UNSET:
            return (Share(purpose=self.purpose, lots=self.lots, filled=self.filled),)
        return self.parts

    def among(self, shares: tuple[Share, ...]) -> LiveOrder:
        """Returns it as an order of these shares; one alone is an order like any other."""
        return self if len(shares) == 1 else msgspec.structs.replace(self, parts=shares)

    def of(self, token: str) -> tuple[Share, ...]:
        """Returns what one token has of it."""
        return tuple(share for share in self.shares if share.purpose.token == token)

    def split(self, lots: int) -> tuple[int, ...]:
        """Returns which lots of a fill are whose: by what each still lacks, the largest remainder first."""
        return shared(lots, [share.lots - share.filled for share in self.shares])


class Assumed(msgspec.Struct, frozen=True, array_like=True):
    """Funding that was booked before the venue reported it: its asset, and minor units received (paid < 0)."""

    asset: str
    amount: int


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """A holder's share of a dealing that is not booked for the holder yet, since the holder's stream is not run.

    Args:
        holder: whose.
        token: that was dealt in.
        side: subscribe or redeem.
        dealt: what is booked for the holder once its stream is run again.
    """

    holder: str
    token: str
    side: Side
    dealt: Dealt

    @property
    def units(self) -> int:
        """The units it brings to the holder (takes: < 0), in 1e-8 of a unit."""
        return self.dealt.units if self.side == "subscribe" else -self.dealt.units


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Where the venue's statement and the ledger differ: lots of a symbol, or minor units of an asset.

    "cash" is the wallet less what the positions cost. It does not depend on the order in which fills are booked,
    which the wallet does, since profit by average cost is realised in other parts then.
    """

    what: What
    name: str
    venue: int
    ledger: int

    def words(self, amount: int) -> str:
        """Returns an amount of what it is about, in words."""
        return f"{amount:,} lots" if self.what == "position" else as_text(amount, grouped=True)


class BookState(msgspec.Struct, frozen=True, kw_only=True):
    """A book between two events.

    Args:
        number: its number in the database, part of its orders' ids.
        incarnation: of the database, likewise.
        tokens: which it holds.
        orders: how many it placed.
        live: the orders that may still be filled, by id.
        halted: why nothing is sent any more; empty: it trades.
        forced: the venue's ids of trades it made by itself, as earlier programs kept them, without their times.
        reconciled_ms: when the venue's statement last agreed with the ledger.
        moves: how often money of flows was moved between the venue's account and the reserve.
        moved: of each asset, what was moved to the venue's account in all.
        move: the last of these: asset, amount and reference; whoever begins anew makes sure of it.
        crossings: how often tokens traded with each other; unset: never.
        received: of each asset, what came into the account unasked, in all; it is no token's. Unset: nothing.
        arrivals: when each of these came that the venue may still tell of, ms by its id; unset: none.
        assumed: settlements that were booked before the venue has reported them, by symbol and time;
            unset: none.
        closures: when each trade that the venue made by itself was made, ms by its id, so that each is booked once; of
            those that the venue may still report again. Unset: none.
        failures: inputs that could not be processed since the book was last resumed, ms by their digest; unset: none.
        owed: shares of dealings that are not booked for their holders yet, by request; unset: none.
        differences: where the venue's last statement differed from the ledger; unset: nowhere.
    """

    number: int = 0
    incarnation: str = ""
    tokens: tuple[str, ...] = ()
    orders: int = 0
    live: dict[str, LiveOrder] = {}
    halted: str = ""
    forced: tuple[str, ...] = ()
    reconciled_ms: int = 0
    moves: int = 0
    moved: dict[str, int] = {}
    move: tuple[str, int, str] | None = None
    crossings: int | UnsetType = UNSET
    received: dict[str, int] | UnsetType = UNSET
    arrivals: dict[str, int] | UnsetType = UNSET
    closures: dict[str, int] | UnsetType = UNSET
    failures: dict[str, int] | UnsetType = UNSET
    assumed: dict[str, Assumed] | UnsetType = UNSET
    owed: dict[str, Owed] | UnsetType = UNSET
    differences: tuple[Difference, ...] | UnsetType = UNSET

    def assumption(self, symbol: str, settlement_ms: int) -> Assumed | None:
        """Returns what was booked for a settlement that the venue has not reported; None: nothing was."""
        return None if self.assumed is UNSET else self.assumed.get(f"{symbol} {settlement_ms}")

    def has_booked(self, arrival: str) -> bool:
        """Returns whether money that came in unasked is booked already, by the venue's id of it."""
        return self.arrivals is not UNSET and arrival in self.arrivals

    def has_closed(self, trade: str, time_ms: int) -> bool:
        """Returns whether a trade that the venue made by itself is booked already, by the venue's id and time of it.

        A trade of well before the last statement that agreed is part of what agreed.
        """
        kept = {} if self.closures is UNSET else self.closures
        return trade in kept or trade in self.forced or time_ms < self.reconciled_ms - _REPORTS_LATE_MS

    def due(self, brought: Mapping[str, int]) -> dict[str, int]:
        """Returns what is to be moved to the venue's account (from it: < 0), minor units by asset.

        Args:
            brought: what flows brought to its tokens in all, by asset.
        """
        gone = [self.moved] if self.received is UNSET else [self.moved, self.received]
        assets = dict.fromkeys([*brought, *(asset for one in gone for asset in one)])
        left = {asset: brought.get(asset, 0) - sum(one.get(asset, 0) for one in gone) for asset in assets}
        return {asset: amount for asset, amount in left.items() if amount}


class BookOpened(Event, frozen=True, kw_only=True, tag="book_opened"):
    """The book's first event, and the first after its database was restored."""

    number: int
    incarnation: str
    tokens: tuple[str, ...]


class OrderPlaced(Event, frozen=True, kw_only=True, tag="order_placed"):
    """An order is intended; it is sent after this is durable."""

    order: LiveOrder


class Crossed(Event, frozen=True, kw_only=True, tag="crossed"):
    """Tokens traded with each other what they wanted of one instrument, at its fair price; the lots sum to nothing.

    Args:
        id: of the crossing; the fill of each token names it as its trade.
        symbol: of the instrument.
        price: at which they did.
        parts: what each had of it.
    """

    id: str
    symbol: str
    price: float
    parts: tuple[Share, ...]


class Traded(Event, frozen=True, kw_only=True, tag="traded"):
    """The venue filled a part of an order."""

    id: str
    trade: str
    lots: int
    price: float
    commission: int


class OrderClosed(Event, frozen=True, kw_only=True, tag="order_closed"):
    """The venue told an order's end, and every fill of it is booked; or it can no longer arrive."""

    id: str
    outcome: Outcome
    words: str = ""


class EndTold(Event, frozen=True, kw_only=True, tag="end_told"):
    """The venue told an order's end, but fills of it are still missing here."""

    id: str
    outcome: Outcome
    filled: int
    words: str = ""


class ForcedTold(Event, frozen=True, kw_only=True, tag="forced_told"):
    """The venue closed a position, or a part of it, by itself."""

    trade: str
    symbol: str
    lots: int
    deleveraged: bool


class BookHalted(Event, frozen=True, kw_only=True, tag="book_halted"):
    """Nothing more is sent from this book, until a person resumes it."""

    by: str
    reason: str


class InputFailed(Event, frozen=True, kw_only=True, tag="input_failed"):
    """An input could not be processed. Nothing of it was booked, and the book is halted until a person resumes it.

    Args:
        source: what kind of input, such as "trade" or "price".
        digest: identifies the input, which is not processed again before the book is resumed.
        input: as JSON, cut off where it is long.
        error: what was raised.
    """

    source: str
    digest: str
    input: str
    error: str


class ShareOwed(Event, frozen=True, kw_only=True, tag="share_owed"):
    """A share of a dealing could not be booked for its holder; it is set aside for the holder."""

    owed: Owed


class ShareBooked(Event, frozen=True, kw_only=True, tag="share_booked"):
    """What was owed for a request is booked for its holder."""

    id: str


class BookResumed(Event, frozen=True, kw_only=True, tag="book_resumed"):
    """A person looked, and lets the book trade again."""

    by: str
    reason: str


class Reconciled(Event, frozen=True, kw_only=True, tag="reconciled"):
    """The venue's statement was held against the ledger; differences are labelled, and never traded away."""

    differences: tuple[Difference, ...]


class DifferencesAdopted(Event, frozen=True, kw_only=True, tag="differences_adopted"):
    """An operator adopted what the venue has beyond the ledger; the lines of tokens that have a part of it follow.

    Args:
        differences: what was adopted.
        received: what goes to the reserve (comes from it: < 0), minor units by asset.
        by, reason: who adopted it, and why.
    """

    differences: tuple[Difference, ...]
    received: dict[str, int]
    by: str
    reason: str


class Received(Event, frozen=True, kw_only=True, tag="received"):
    """Money came into the account that nobody asked for: it is the reserve's, and no token's NAV has it.

    Args:
        id: the venue's.
        asset: of what.
        amount: minor units; > 0.
    """

    id: str
    asset: str
    amount: int


class FundingAssumed(Event, frozen=True, kw_only=True, tag="funding_assumed"):
    """A settlement was booked before the venue reported it.

    An operator books one at the rate that the venue published; the desk, at the predicted rate, one that a flow waits
    for while its token has to trade.

    Args:
        symbol, settlement_ms: which.
        asset: the currency it is settled in.
        amount: received by the account (paid < 0), minor units.
        rate: a positive one is paid by longs.
        by, reason: who booked it, and why.
    """

    symbol: str
    settlement_ms: int
    asset: str
    amount: int
    rate: float
    by: str
    reason: str


class FundingCorrected(Event, frozen=True, kw_only=True, tag="funding_corrected"):
    """The venue reported a settlement that was booked before; the difference is the reserve's.

    Args:
        symbol, settlement_ms: which.
        amount: received beyond what was booked (less: < 0), minor units.
    """

    symbol: str
    settlement_ms: int
    amount: int


class CashMoved(Event, frozen=True, kw_only=True, tag="cash_moved"):
    """Money of flows is moved to the venue's account (from it: < 0); whoever moves it names this reference."""

    asset: str
    amount: int
    reference: str


class MoveRefused(Event, frozen=True, kw_only=True, tag="move_refused"):
    """The venue refused the last move of money: it was not made, and what it was for is due again."""

    reference: str
    words: str


BookEvent = (
    BookOpened
    | OrderPlaced
    | Crossed
    | Traded
    | EndTold
    | OrderClosed
    | ForcedTold
    | BookHalted
    | InputFailed
    | BookResumed
    | Reconciled
    | DifferencesAdopted
    | Received
    | FundingAssumed
    | FundingCorrected
    | CashMoved
    | MoveRefused
    | ShareOwed
    | ShareBooked
)


class BookError(Exception):
    """An event that cannot happen to this book."""


def order_id(state: BookState) -> str:
    """Returns the id of the book's next order: incarnation, book, count; at most 32 letters and digits."""
    return f"{state.incarnation}{base36(state.number, 4)}{base36(state.orders + 1, 10)}"


def crossing_id(state: BookState) -> str:
    """Returns the id of the book's next crossing; no order has one like it."""
    return f"{state.incarnation}{base36(state.number, 4)}x{base36(_crossings(state) + 1, 9)}"


def book_step(state: BookState, event: BookEvent) -> BookState:
    """Returns the book after an event.

    Raises:
        BookError: it cannot happen in this state.
    """
    after: BookState = _HANDLERS[type(event)](state, event)
    return after


def _opened(state: BookState, event: BookOpened) -> BookState:
    return msgspec.structs.replace(state, number=event.number, incarnation=event.incarnation, tokens=event.tokens)


def _placed(state: BookState, event: OrderPlaced) -> BookState:
    order = event.order
    if order.id != order_id(state):
        raise BookError(f"order {order.id} has not the next id, {order_id(state)}")
    if sum(share.lots for share in order.shares) != order.lots:
        raise BookError(f"the shares of order {order.id} do not sum to its {order.lots} lots")
    return msgspec.structs.replace(state, orders=state.orders + 1, live={**state.live, order.id: order})


def _crossed(state: BookState, event: Crossed) -> BookState:
    if event.id != crossing_id(state):
        raise BookError(f"crossing {event.id} has not the next id, {crossing_id(state)}")
    if sum(part.lots for part in event.parts):
        raise BookError(f"what crosses in {event.id} does not sum to nothing")
    return msgspec.structs.replace(state, crossings=_crossings(state) + 1)


def _end_told(state: BookState, event: EndTold) -> BookState:
    ends = (event.outcome, event.filled, event.words)
    return _with(state, msgspec.structs.replace(_live(state, event.id), ends=ends))


def _order_closed(state: BookState, event: OrderClosed) -> BookState:
    _live(state, event.id)
    return msgspec.structs.replace(state, live={k: v for k, v in state.live.items() if k != event.id})


def _forced_told(state: BookState, event: ForcedTold) -> BookState:
    if state.has_closed(event.trade, event.time_ms):
        raise BookError(f"the venue's trade {event.trade} is booked already")
    closures = {} if state.closures is UNSET else state.closures
    return msgspec.structs.replace(state, closures={**closures, event.trade: event.time_ms})


def _halted(state: BookState, event: BookHalted) -> BookState:
    return msgspec.structs.replace(state, halted=state.halted or f"{event.by}: {event.reason}")


def _input_failed(state: BookState, event: InputFailed) -> BookState:
    failures = {} if state.failures is UNSET else state.failures
    kept = dict(list(failures.items())[-_FAILURES_KEPT:])
    halted = state.halted or f"fault: a {event.source} could not be processed ({event.error})"
    return msgspec.structs.replace(state, halted=halted, failures={**kept, event.digest: event.time_ms})


def _share_owed(state: BookState, event: ShareOwed) -> BookState:
    owed = event.owed
    if owed.dealt.id in _owed(state):
        raise BookError(f"a share of request {owed.dealt.id} is owed already")
    return msgspec.structs.replace(state, owed={**_owed(state), owed.dealt.id: owed})


def _share_booked(state: BookState, event: ShareBooked) -> BookState:
    left = {key: one for key, one in _owed(state).items() if key != event.id}
    if len(left) == len(_owed(state)):
        raise BookError(f"nothing is owed for request {event.id}")
    return msgspec.structs.replace(state, owed=left or UNSET)


def _resumed(state: BookState, event: BookResumed) -> BookState:
    return msgspec.structs.replace(state, halted="", failures=UNSET)


def _funding_assumed(state: BookState, event: FundingAssumed) -> BookState:
    assumed = {} if state.assumed is UNSET else state.assumed
    key = f"{event.symbol} {event.settlement_ms}"
    if key in assumed or not (event.by and event.reason):
        raise BookError(f"the settlement of {key} is booked already, or nobody says why it should be")
    return msgspec.structs.replace(state, assumed={**assumed, key: Assumed(event.asset, event.amount)})


def _cash_moved(state: BookState, event: CashMoved) -> BookState:
    moved = {**state.moved, event.asset: state.moved.get(event.asset, 0) + event.amount}
    last = (event.asset, event.amount, event.reference)
    return msgspec.structs.replace(state, moves=state.moves + 1, moved=moved, move=last)


def _move_refused(state: BookState, event: MoveRefused) -> BookState:
    if state.move is None or state.move[2] != event.reference:
        raise BookError(f"{event.reference} is not the last move of money")
    asset, amount, _ = state.move
    return msgspec.structs.replace(state, moved={**state.moved, asset: state.moved[asset] - amount}, move=None)


def _reconciled(state: BookState, event: Reconciled) -> BookState:
    """Takes where the statement differs; once it agreed, the venue is not asked again for what was before that."""
    if event.differences:
        return msgspec.structs.replace(state, differences=event.differences)
    arrivals = {} if state.arrivals is UNSET else state.arrivals
    later = {key: came_ms for key, came_ms in arrivals.items() if came_ms >= event.time_ms}
    closures = {} if state.closures is UNSET else state.closures
    kept = {key: made_ms for key, made_ms in closures.items() if made_ms >= event.time_ms - _REPORTS_LATE_MS}
    return msgspec.structs.replace(state, reconciled_ms=event.time_ms, arrivals=later or UNSET,
                                   closures=kept or UNSET, differences=UNSET)  # fmt: skip


def _adopted(state: BookState, event: DifferencesAdopted) -> BookState:
    if not (event.differences and event.by and event.reason):
        raise BookError("an adoption needs a difference, a name and a reason")
    return msgspec.structs.replace(state, received=_with_received(state, event.received), differences=UNSET)


def _traded(state: BookState, event: Traded) -> BookState:
    return _with(state, _filled(_live(state, event.id), event))


def _filled(order: LiveOrder, event: Traded) -> LiveOrder:
    filled = order.filled + event.lots
    if event.trade in order.trades:
        raise BookError(f"trade {event.trade} of order {order.id} is booked already")
    if event.lots == 0 or (event.lots > 0) != (order.lots > 0) or abs(filled) > abs(order.lots):
        raise BookError(f"a fill of {event.lots} lots does not fit into order {order.id} of {order.lots}")
    parts = order.parts
    if parts is not UNSET:
        split = zip(parts, order.split(event.lots), strict=True)
        parts = tuple(msgspec.structs.replace(part, filled=part.filled + lots) for part, lots in split)
    return msgspec.structs.replace(order, filled=filled, trades=(*order.trades, event.trade), parts=parts)


def _received(state: BookState, event: Received) -> BookState:
    if event.amount <= 0 or state.has_booked(event.id):
        raise BookError(f"{event.amount} of {event.asset} under {event.id} cannot have come in, or is booked already")
    arrivals = {} if state.arrivals is UNSET else state.arrivals
    received = _with_received(state, {event.asset: event.amount})
    return msgspec.structs.replace(state, received=received, arrivals={**arrivals, event.id: event.time_ms})


def _with_received(state: BookState, more: Mapping[str, int]) -> dict[str, int] | UnsetType:
    """Returns what the reserve received in all, minor units by asset, with more of it (given by it: < 0)."""
    before = {} if state.received is UNSET else state.received
    return {**before, **{asset: before.get(asset, 0) + amount for asset, amount in more.items()}} or UNSET


def _corrected(state: BookState, event: FundingCorrected) -> BookState:
    assumed = state.assumption(event.symbol, event.settlement_ms)
    if assumed is None or state.assumed is UNSET:
        raise BookError(f"no settlement of {event.symbol} at {event.settlement_ms} was booked before")
    left = {key: one for key, one in state.assumed.items() if key != f"{event.symbol} {event.settlement_ms}"}
    received = _with_received(state, {assumed.asset: event.amount})
    return msgspec.structs.replace(state, assumed=left or UNSET, received=received)


def _owed(state: BookState) -> dict[str, Owed]:
    return {} if state.owed is UNSET else state.owed


def _crossings(state: BookState) -> int:
    return 0 if state.crossings is UNSET else state.crossings


def _live(state: BookState, key: str) -> LiveOrder:
    if key not in state.live:
        raise BookError(f"order {key} is not live")
    return state.live[key]


def _with(state: BookState, order: LiveOrder) -> BookState:
    return msgspec.structs.replace(state, live={**state.live, order.id: order})


_HANDLERS: dict[type, Callable[[BookState, Any], BookState]] = {
    BookOpened: _opened,
    OrderPlaced: _placed,
    Crossed: _crossed,
    Traded: _traded,
    EndTold: _end_told,
    OrderClosed: _order_closed,
    ForcedTold: _forced_told,
    BookHalted: _halted,
    InputFailed: _input_failed,
    BookResumed: _resumed,
    Reconciled: _reconciled,
    DifferencesAdopted: _adopted,
    Received: _received,
    FundingAssumed: _funding_assumed,
    FundingCorrected: _corrected,
    CashMoved: _cash_moved,
    MoveRefused: _move_refused,
    ShareOwed: _share_owed,
    ShareBooked: _share_booked,
}
