"""What happens to a running token: every event that its journal may hold, as plain records.

Times are ms UTC, prices in settlement currency per unit of underlying, money in minor units, sizes in lots.
Events of a venue carry what the venue said, so that nothing has to be worked out again when a journal is replayed.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from gearing.core.token import Token

NavKind = Literal["minute", "rebalance", "dealing", "close"]
Outcome = Literal["filled", "rejected", "cancelled", "lost", "withheld"]
FeesHow = Literal["cash", "units", "burn"]
Action = Literal["halt", "resume", "close", "rebalance", "pause", "unpause"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Something that happened at a time."""

    time_ms: int


class Launched(Event, frozen=True, kw_only=True, tag="launched"):
    """The token's first event: what it is, and how finely its sizes are counted.

    Args:
        lots: the size of one lot of each leg in units of the underlying, as decimals.
        prices: the first mark of each leg.
        contracts: which contract of its chain each leg begins with, counted from 0; left out: the first.
    """

    token: Token
    lots: tuple[str, ...]
    prices: tuple[float, ...]
    contracts: tuple[int, ...] | UnsetType = UNSET


class Seeded(Event, frozen=True, kw_only=True, tag="seeded"):
    """Money came in against units, outside of any dealing: how a token starts."""

    amount: int
    units: int


class Marked(Event, frozen=True, kw_only=True, tag="marked"):
    """Prices at which the rule is asked, and clocks that ran out are attended to.

    Args:
        prices: the guarded mark of each leg.
        before_ms: when the price before this one was known.
        volumes: traded in the 24 h before, units of each leg's underlying; empty: unknown.
        delays_ms: by how much times of day of the day before and of this day are put off; unset: not at all.
    """

    prices: tuple[float, ...]
    before_ms: int
    volumes: tuple[float, ...] = ()
    delays_ms: tuple[int, int] | msgspec.UnsetType = msgspec.UNSET


class RollDue(Event, frozen=True, kw_only=True, tag="roll_due"):
    """Legs begin to move into the next contract of their chain, or a roll that was left half done goes on.

    Args:
        legs: those that begin, rising; none: the roll goes on.
        prices: the guarded mark of each position.
        next_prices: the guarded mark of the contract that each of these legs moves into.
        lots: the size of one lot of that contract, a decimal.
    """

    legs: tuple[int, ...]
    prices: tuple[float, ...]
    next_prices: tuple[float, ...] = ()
    lots: tuple[str, ...] = ()


class NavStruck(Event, frozen=True, kw_only=True, tag="nav_struck"):
    """Prices at which a NAV is published; the rule is not asked.

    Args:
        prices: the guarded mark of each leg.
        accrues: whether the day's fee is charged up to now, as it is before a dealing.
        provisional: whether it contains funding that is not booked yet.
        kind: what it is published as; unset in lines of earlier programs, and where none is published.
    """

    prices: tuple[float, ...]
    accrues: bool | UnsetType = UNSET
    provisional: bool | UnsetType = UNSET
    kind: NavKind | UnsetType = UNSET


class FundingSettled(Event, frozen=True, kw_only=True, tag="funding_settled"):
    """The venue settled funding on a leg.

    Args:
        leg: which.
        settlement_ms: the venue's time of it, the posting's identity.
        lots: what was held at that instant.
        rate: a positive rate is paid by longs.
        amount: received (paid < 0), as the venue booked it.
        prices: the mark of each leg at the settlement.
    """

    leg: int
    settlement_ms: int
    lots: int
    rate: float
    amount: int
    prices: tuple[float, ...]


class FundingAccrued(Event, frozen=True, kw_only=True, tag="funding_accrued"):
    """A settlement passed whose booking is not known yet; until it is, equity contains it at the predicted rate.

    Args:
        leg: which.
        settlement_ms: when it was.
        rate: the last prediction, a positive rate is paid by longs; None: there was none (formerly 0).
        prices: the guarded mark of each leg.
    """

    leg: int
    settlement_ms: int
    rate: float | None
    prices: tuple[float, ...]


class Filled(Event, frozen=True, kw_only=True, tag="filled"):
    """A part of an order was traded.

    Args:
        leg: which position: the token's legs, then those that a roll is opening.
        epoch, slice, attempt: the order it belongs to.
        trade: the venue's id of it.
        lots: signed.
        price: at which it was traded.
        commission: ≥ 0.
        paid: its part (got: < 0) of what the venue's trade came to, minor units, where that was of several tokens, or
            of a crossing; unset: its value, rounded up.
        crosses: whether it changed hands between tokens of the book, and not at the venue; unset: it did not.
    """

    leg: int
    epoch: int
    slice: int
    attempt: int
    trade: str
    lots: int
    price: float
    commission: int
    paid: int | UnsetType = UNSET
    crosses: bool | UnsetType = UNSET


class OrderEnded(Event, frozen=True, kw_only=True, tag="order_ended"):
    """An order will not be filled any further; the venue says so, or it was withheld and never sent (R4)."""

    leg: int
    epoch: int
    slice: int
    attempt: int
    outcome: Outcome
    words: str = ""


class Liquidated(Event, frozen=True, kw_only=True, tag="liquidated"):
    """The venue closed (a part of) the position by itself: liquidation, or auto-deleveraging.

    Args:
        leg: which.
        lots: signed change of the position.
        price: at which it was closed.
        charge: commission and liquidation fee, ≥ 0.
        deleveraged: by auto-deleveraging, which is no fault of the position.
        paid: see `Filled`.
        prices: the mark of each position when it was booked, which may be long after; unset: as they were, but for the
            leg's own, which is the price.
    """

    leg: int
    lots: int
    price: float
    charge: int
    trade: str
    deleveraged: bool = False
    paid: int | UnsetType = UNSET
    prices: tuple[float, ...] | UnsetType = UNSET


class Adopted(Event, frozen=True, kw_only=True, tag="adopted"):
    """An operator adopted what the venue holds beyond the ledger: positions as trades at the mark, and cash.

    Args:
        lots: of each position, the signed change.
        cash: received (given up: < 0), minor units.
        prices: the mark of each position, at which the trades are booked, free of charge.
        by, reason: who adopted it, and why.
    """

    lots: tuple[int, ...]
    cash: int
    prices: tuple[float, ...]
    by: str
    reason: str


class Operated(Event, frozen=True, kw_only=True, tag="operated"):
    """A person, or a circuit breaker, halted, resumed, closed or rebalanced the token."""

    action: Action
    by: str
    reason: str


class Consolidated(Event, frozen=True, kw_only=True, tag="consolidated"):
    """Units were merged: `factor` of them became one.

    Args:
        factor: > 1.
        units: left, each holder's rounded down; left out: all of them are one holder's.
        cash: paid to holders for what was cut off, minor units.
        by, reason: who merged them, and why.
    """

    factor: float
    units: int | UnsetType = UNSET
    cash: int = 0
    by: str = ""
    reason: str = ""


class SpecificationChanged(Event, frozen=True, kw_only=True, tag="specification_changed"):
    """The token has a new specification from here on: a clock of it that lies before this does not run out."""

    token: Token
    by: str
    reason: str


class FlowMatched(Event, frozen=True, kw_only=True, tag="flow_matched"):
    """Who came in took the units of who went out: no unit was created or burned, and nothing was traded.

    Args:
        units: that changed hands.
        cash: paid for them, minor units.
        fee: what both sides paid the issuer beyond that.
        parties: how many requests took part, each of which was rounded once.
        accrued: of each leg, see `state.Dealing`.
    """

    units: int
    cash: int
    fee: int
    parties: int
    accrued: tuple[float, ...]


class Part(msgspec.Struct, frozen=True, array_like=True):
    """A request that is dealt in with others: whose, which, and what it has set aside, fees included."""

    holder: str
    id: str
    amount: int


class DealingBegun(Event, frozen=True, kw_only=True, tag="dealing_begun"):
    """A flow begins to be hedged.

    Args:
        side: subscribe or redeem.
        amount: money without fees, minor units, which is in the wallet from here on; or units.
        count: of requests that it is made of.
        digest: of these, which the token's stream of flows names (`core.flow_parts`).
        parts: of an earlier program: the requests themselves.
        prices: the guarded mark of each leg.
        accrued: of each leg, see `state.Dealing`.
        crossing: the price of each leg at which the hedge meets what the token itself has yet to trade; unset: the
            mark; none: it does not.
    """

    side: Literal["subscribe", "redeem"]
    amount: int
    count: int = 0
    digest: str = ""
    parts: tuple[Part, ...] = ()
    prices: tuple[float, ...]
    accrued: tuple[float, ...]
    crossing: tuple[float, ...] | UnsetType = UNSET


class UnwindingBegun(Event, frozen=True, kw_only=True, tag="unwinding_begun"):
    """What was filled beyond the part of a flow that all legs were filled for begins to be traded back.

    Args:
        prices: the guarded mark of each leg.
    """

    prices: tuple[float, ...]


class ExcessKept(Event, frozen=True, kw_only=True, tag="excess_kept"):
    """What was filled beyond the part of a flow that all legs were filled for is left to the token, which has to trade.

    The flow pays what trading it back would cost, by the token's terms.

    Args:
        prices: the guarded mark of each leg.
        at: the price of each leg that it is left at: mark or fair price, whichever is worse for the flow.
    """

    prices: tuple[float, ...]
    at: tuple[float, ...]


class DealingLimited(Event, frozen=True, kw_only=True, tag="dealing_limited"):
    """Less of a flow is dealt than was hedged: the rest of its hedge is unwound, and the rest of the flow returned.

    Args:
        amount: the most of the flow that is dealt, in its unit; 0: the flow is given up.
        reason: why.
    """

    amount: int
    reason: str


class DealingSettled(Event, frozen=True, kw_only=True, tag="dealing_settled"):
    """Units were created or burned for what was hedged; the rest was returned.

    Money taken for no units, and units burned for no money, paid for a hedge that was lost on.

    Args:
        units: created or burned.
        cash: taken for those created, without fees; or paid out for those burned, after fees.
        fee: what the issuer charged beyond that.
    """

    units: int
    cash: int
    fee: int


class Redeemed(Event, frozen=True, kw_only=True, tag="redeemed"):
    """Units of a closed token were burned for their part of what it has: nothing is left to be traded.

    Args:
        units: burned.
        cash: paid out for them, after fees.
        fee: what the issuer charged.
    """

    units: int
    cash: int
    fee: int


class FeesTaken(Event, frozen=True, kw_only=True, tag="fees_taken"):
    """The issuer took fees that it was owed.

    Args:
        amount: taken, minor units.
        how: in money, in new units, or for units of who went out, which are burned.
        units: created, or burned.
        accrued: of each leg, see `state.Dealing`.
        by: who took them.
        reason: why.
    """

    amount: int
    how: FeesHow
    units: int = 0
    accrued: tuple[float, ...] = ()
    by: str
    reason: str = ""


TokenEvent = (
    Launched
    | Seeded
    | Marked
    | RollDue
    | NavStruck
    | FundingSettled
    | FundingAccrued
    | Filled
    | OrderEnded
    | Liquidated
    | Adopted
    | Operated
    | Consolidated
    | SpecificationChanged
    | FlowMatched
    | DealingBegun
    | UnwindingBegun
    | ExcessKept
    | DealingLimited
    | DealingSettled
    | Redeemed
    | FeesTaken
)
