"""The state of a running token: all that `step` knows besides the specification.

Money is in minor units, sizes in lots; what a rule decides on is derived from them each time, in floats.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Literal

import msgspec

from gearing.core.delays import Fixed
from gearing.core.ledger import Balances
from gearing.core.money import nav_of

Status = Literal["draft", "open", "halted", "closing", "closed", "wiped"]


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
        changed_ms: when the position last changed.
        hour_ms: the last full hour before that; funding is settled at full hours.
        hour_lots: what was held then.
    """

    lot: str
    lots: int = 0
    basis: int = 0
    mark: float
    ref: float
    index_ref: float
    funded_ms: int = 0
    changed_ms: int = 0
    hour_ms: int = 0
    hour_lots: int = 0

    def lots_at(self, time_ms: int) -> int | None:
        """Returns what was held at a full hour, before anything that happened in that instant; None: not known."""
        if time_ms > self.changed_ms:
            return self.lots
        return self.hour_lots if time_ms == self.hour_ms else None

    @property
    def lot_size(self) -> Decimal:
        """The size of one lot as a decimal."""
        return _decimal(self.lot)


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A live order of the running slice, of which at most one per leg exists."""

    leg: int
    number: int
    lots: int
    filled: int = 0


class Rebalance(msgspec.Struct, frozen=True, kw_only=True):
    """A rebalance under way: its aim is fixed at the start, its slices follow each other.

    Args:
        epoch: its number, counted from the launch.
        reason: why it began, a word of `decide.REASONS`.
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


class TokenState(msgspec.Struct, frozen=True, kw_only=True):
    """A token between two events.

    Args:
        status: what it may do; a halted token keeps its books and sends nothing.
        balances: its ledger.
        legs: its positions.
        attended_ms: up to when clocks were attended to.
        ref_ms: when the last rebalance was decided that is complete.
        index: the weighted index when the weights were last restored.
        opened: whether the rule was asked to open the position; it is asked once.
        epoch: how many rebalances began.
        trades: how many slices traded.
        rebalance: the one under way, or None.
        parts: the attribution so far (see `core.attribution`); None: −∞, the log of all equity lost, which JSON lacks.
        delays: by how much times of day are put off (see `core.delays`); unset: not at all.
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
    delays: Fixed | msgspec.UnsetType = msgspec.UNSET

    @property
    def equity(self) -> int:
        """Equity in minor units."""
        return self.balances.equity

    @property
    def nav(self) -> int:
        """NAV in minor units per whole unit."""
        return nav_of(self.balances.equity, self.balances.units)

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held."""
        return all(leg.lots == 0 for leg in self.legs)

    @property
    def is_working(self) -> bool:
        """Whether an order may still be filled."""
        return self.rebalance is not None and bool(self.rebalance.attempts)


@lru_cache(maxsize=4096)
def _decimal(text: str) -> Decimal:
    return Decimal(text)
