"""The state of a running token: all that `step` knows besides the specification.

Money is in minor units, sizes in lots; what a rule decides on is derived from them each time, in floats.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from gearing.core.delays import Fixed
from gearing.core.ledger import Balances
from gearing.core.money import nav_of
from gearing.core.positions import History, held_at

Status = Literal["draft", "open", "halted", "closing", "closed", "wiped"]


class Accrual(msgspec.Struct, frozen=True, array_like=True):
    """Funding that was accrued at the predicted rate when its settlement passed, until the venue's booking is known.

    Args:
        settlement_ms: of the settlement.
        mark: of the instrument then.
        own: received by the token (paid < 0), minor units.
        flow: received by the hedge of a flow, minor units.
        rate: that was predicted; a positive one is paid by longs; None: none was.
    """

    settlement_ms: int
    mark: float
    own: int
    flow: int
    rate: float | None = None


class LegState(msgspec.Struct, frozen=True, kw_only=True):
    """One leg's position and its marks.

    Args:
        lot: size of one lot, in units of the underlying, a decimal.
        lots: the position, signed.
        basis: what it cost, signed, minor units: unrealised profit is its value at the mark less this.
        mark: the price of the last mark.
        ref: the price at the last completed rebalance; moves are measured from it.
        index_ref: the price when the weights were last restored.
        funded_ms: the last settlement that was booked.
        accruals: provisional funding of settlements that passed and are not booked yet, by time.
        changed_ms: when the position last changed.
        past: what was held at the full hours around its trades.
        unknown_ms: up to when nothing is known of that, since an earlier program kept no `past`; unset: all is known.
        contract: which contract of its chain it holds, counted from 0; left out: the first, or no chain.
        leg: of a position that a roll is opening: the leg that it will be.
        wanted: of such a position: the lots it is to have.
    """

    lot: str
    lots: int = 0
    basis: int = 0
    mark: float
    ref: float
    index_ref: float
    funded_ms: int = 0
    accruals: tuple[Accrual, ...] = ()
    changed_ms: int = 0
    past: History = ()
    unknown_ms: int | UnsetType = UNSET
    contract: int | UnsetType = UNSET
    leg: int | UnsetType = UNSET
    wanted: int | UnsetType = UNSET

    @property
    def unrecorded_ms(self) -> int | UnsetType:
        """Up to when it is not known what was held: that of a leg without a past is its last change; unset: all is."""
        return self.unknown_ms if self.past or not self.changed_ms else self.changed_ms

    @property
    def number(self) -> int:
        """Which contract of its chain it holds, counted from 0."""
        return 0 if self.contract is UNSET else self.contract

    def lots_at(self, time_ms: int) -> range | None:
        """Returns what was held at a settlement; None: not known."""
        if time_ms > self.changed_ms:
            return range(self.lots, self.lots + 1)
        if self.unrecorded_ms is not UNSET and time_ms <= self.unrecorded_ms:
            return None
        return held_at(self.past, self.lots, time_ms)

    @property
    def lot_size(self) -> Decimal:
        """The size of one lot as a decimal."""
        return _decimal(self.lot)


class Cover(msgspec.Struct, frozen=True, array_like=True):
    """What the reserve paid in for a wiped-out token (took back: < 0), minor units, and when."""

    time_ms: int
    amount: int


def paid_in(covers: Iterable[Cover]) -> int:
    """Returns what the reserve paid in and has not taken back, minor units, ≥ 0.

    What it was given before, of a token without units, is no part of that.
    """
    total = 0
    for cover in covers:
        total = max(total + cover.amount, 0)
    return total


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A live order of the running slice, of which at most one per position exists.

    `reduces` is set where it may only lower the position, though others of its rebalance raise one.
    """

    leg: int
    number: int
    lots: int
    filled: int = 0
    reduces: bool | UnsetType = UNSET


class Rebalance(msgspec.Struct, frozen=True, kw_only=True):
    """A rebalance under way: its aim is fixed at the start, its slices follow each other.

    Args:
        epoch: its number, counted from the launch.
        reason: why it began, a word of `decide.REASONS`, or what closes or rolls the position.
        aim: the signed leverage it goes to.
        edge: 1 if the aim is to be met after cost.
        side: +1 or −1, the direction of its first slice.
        restores: whether it brings each leg to its weight.
        slice: the number of the slice under way.
        decided_ms: when that slice was decided.
        prices: the marks it was decided at.
        cut: whether the pace left a rest for later slices.
        due_ms: the earliest time of the next slice; 0 while this one trades.
        attempts: its live orders.
        paused: of a roll, or of the hedge of a flow: the rebalance between two slices that goes on after it.
    """

    epoch: int
    reason: str
    aim: float
    edge: float
    side: float
    restores: bool
    slice: int = 0
    decided_ms: int
    prices: tuple[float, ...]
    cut: bool
    due_ms: int = 0
    attempts: tuple[Attempt, ...] = ()
    paused: Rebalance | UnsetType = UNSET


class Dealing(msgspec.Struct, frozen=True, kw_only=True):
    """A flow that is being hedged: money that comes in for new units, or units that go out for money.

    What its hedge trades is in the token's positions; what these trades gain and cost stands on the flow's own account
    until units are created or burned for it, so that nobody who stays has a part in it.

    Args:
        number: counted from the launch.
        side: subscribe or redeem.
        amount: money without fees, minor units; or units.
        units: that the hedge was sized for.
        first: whether there were no units before it.
        accrued: of each leg, the funding of the present period that has run up, a fraction of its value; > 0: longs
            owe it.
        wanted: the lots of each leg that hedge it.
        lots: what was traded of them, less what the venue closed of it.
        past: what the hedge held of each leg at the full hours around its trades.
        limit: the most of the amount that is dealt, where not all can be; 0: nothing is. What was hedged beyond it is
            unwound.
        unwinds: whether what was filled beyond the part that is dealt was traded back, or is being so.
        forced: what the venue closed of each leg, signed as its trades, since the hedge ended.
    """

    number: int
    side: Literal["subscribe", "redeem"]
    amount: int
    units: int
    first: bool
    accrued: tuple[float, ...]
    wanted: tuple[int, ...]
    lots: tuple[int, ...]
    past: tuple[History, ...] = ()
    limit: int | UnsetType = UNSET
    unwinds: bool | UnsetType = UNSET
    forced: tuple[int, ...] | UnsetType = UNSET


class Made(msgspec.Struct, frozen=True, array_like=True):
    """What one unit made by each part of attribution until units were last created or burned, and the token then.

    Both are in units of the currency; what it made since then is the token's parts beyond those, per unit.
    """

    unit: tuple[float, ...]
    token: tuple[float, ...]


class TokenState(msgspec.Struct, frozen=True, kw_only=True):
    """A token between two events.

    Args:
        status: what it may do; a halted token keeps its books and sends nothing.
        balances: its ledger.
        legs: its positions: one of each leg, and during a roll those that it opens.
        attended_ms: up to when clocks were attended to.
        ref_ms: when the last rebalance was decided that is complete.
        index: the weighted index when the weights were last restored.
        opened: whether the rule was asked to open the position; it is asked once.
        epoch: how many rebalances began.
        trades: how many slices traded.
        rebalance: the one under way, or None.
        parts: the attribution so far (see `core.attribution`); None: −∞, the log of all equity lost, which JSON lacks.
        covers: what the reserve paid in and took back, in the order of it.
        rolls: how many of these epochs were no rebalance of the rule's: rolls, and what went on after one.
        charged_ms: up to when fees were charged, where a roll put off what else was due by then.
        delays: by how much times of day are put off (see `core.delays`); unset: not at all.
        dealing: the flow that is being hedged; unset: none.
        dealings: how many flows were hedged so far.
        charged_share: the part of the present day for which the fee was charged already, at a dealing.
        brought: what flows brought in less what they took out, minor units; the venue's account has it once it is
            moved there.
        paused: whether no units are created.
        made: what one unit made; unset: units were never created or burned since the launch.
    """

    status: Status = "draft"
    balances: Balances = Balances()
    legs: tuple[LegState, ...] = ()
    attended_ms: int = 0
    ref_ms: int = 0
    index: float = 1.0
    opened: bool = False
    epoch: int = 0
    trades: int = 0
    turnover: float = 0.0
    rebalance: Rebalance | None = None
    parts: tuple[float | None, ...] = ()
    covers: tuple[Cover, ...] = ()
    rolls: int | UnsetType = UNSET
    charged_ms: int | UnsetType = UNSET
    delays: Fixed | UnsetType = UNSET
    dealing: Dealing | UnsetType = UNSET
    dealings: int | UnsetType = UNSET
    charged_share: float | UnsetType = UNSET
    brought: int | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    made: Made | UnsetType = UNSET

    @property
    def equity(self) -> int:
        """Equity in minor units."""
        return self.balances.equity

    @property
    def nav(self) -> int:
        """NAV in minor units per whole unit."""
        return nav_of(self.balances.equity, self.balances.units)

    @property
    def is_provisional(self) -> bool:
        """Whether equity contains funding that was accrued at a predicted rate and is not booked yet."""
        return any(leg.accruals for leg in self.legs)

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held."""
        return all(leg.lots == 0 for leg in self.legs)

    @property
    def is_rolling(self) -> bool:
        """Whether a roll has begun and is not complete."""
        return bool(self.legs) and self.legs[-1].leg is not UNSET

    @property
    def rebalances(self) -> int:
        """How many rebalances the rule began."""
        return self.epoch - self.rolls_so_far

    @property
    def dealings_so_far(self) -> int:
        """How many flows were hedged."""
        return 0 if self.dealings is UNSET else self.dealings

    @property
    def rolls_so_far(self) -> int:
        """How many epochs were no rebalance of the rule's."""
        return 0 if self.rolls is UNSET else self.rolls

    @property
    def charged_until_ms(self) -> int:
        """Up to when management fees were charged."""
        return self.attended_ms if self.charged_ms is UNSET else self.charged_ms

    @property
    def is_working(self) -> bool:
        """Whether an order may still be filled."""
        return self.rebalance is not None and bool(self.rebalance.attempts)


@lru_cache(maxsize=4096)
def _decimal(text: str) -> Decimal:
    return Decimal(text)
