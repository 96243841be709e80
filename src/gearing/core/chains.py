"""The chains of a token's dated futures: which contract a leg holds, which comes after it, and when it moves on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import UNSET, UnsetType

from gearing.core.instruments import DatedFuture, Instrument
from gearing.core.record import DAY_MS
from gearing.core.state import LegState, TokenState
from gearing.errors import Problem


class Chains:
    """The contracts of a token's legs. A leg without a chain is one contract that never expires.

    Args:
        legs: of the token.

    Attributes:
        names: for each leg the symbols of its contracts.
        expiries_ms: for each leg when its contracts expire; () without a chain.
        leaves_ms: for each leg when it leaves each contract but the last.
    """

    def __init__(self, legs: Sequence[Instrument]) -> None:
        chains = [leg.contracts if isinstance(leg, DatedFuture) else () for leg in legs]
        self.names: tuple[tuple[str, ...], ...] = tuple(
            tuple(contract.symbol for contract in chain) or (leg.symbol,)
            for leg, chain in zip(legs, chains, strict=True)
        )
        self.expiries_ms = tuple(tuple(expiry_ms(contract.expiry) for contract in chain) for chain in chains)
        self.leaves_ms = tuple(
            tuple(at - round(leg.roll_days * DAY_MS) for at in ends[:-1]) if isinstance(leg, DatedFuture) else ()
            for leg, ends in zip(legs, self.expiries_ms, strict=True)
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every contract of every leg."""
        return tuple(name for names in self.names for name in names)

    def at(self, time_ms: int) -> tuple[int, ...] | UnsetType:
        """Returns the contract that each leg begins with at a time; unset where no leg has a choice."""
        if not any(self.leaves_ms):
            return UNSET
        return tuple(sum(leaves <= time_ms for leaves in times) for times in self.leaves_ms)

    def first(self, contracts: tuple[int, ...] | UnsetType) -> tuple[str, ...]:
        """Returns the symbols of the contracts that a token begins with."""
        numbers = (0,) * len(self.names) if contracts is UNSET else contracts
        return tuple(names[number] for names, number in zip(self.names, numbers, strict=True))

    def held(self, legs: Iterable[LegState]) -> tuple[str, ...]:
        """Returns the symbol of each position."""
        return tuple(self.names[leg_of(k, leg)][leg.number] for k, leg in enumerate(legs))

    def following(self, state: TokenState, legs: Iterable[int]) -> tuple[str, ...]:
        """Returns the symbols of the contracts that legs move into."""
        return tuple(self.names[k][state.legs[k].number + 1] for k in legs)

    def coming(self, state: TokenState) -> tuple[str, ...]:
        """Returns the contract that each leg moves into next, of those that have one."""
        own = enumerate(zip(state.legs, self.leaves_ms, strict=False))
        return self.following(state, [k for k, (leg, times) in own if leg.number < len(times)])

    def due(self, state: TokenState, now_ms: int) -> tuple[int, ...]:
        """Returns the legs whose roll is due and has not begun."""
        begun = {leg.leg for leg in state.legs}
        return tuple(
            k
            for k, times in enumerate(self.leaves_ms)
            if k not in begun and state.legs[k].number < len(times) and times[state.legs[k].number] <= now_ms
        )

    def may_roll(self, state: TokenState) -> bool:
        """Returns whether a roll may begin or go on now; a flow is settled in the contracts that it was hedged in."""
        traded = state.status == "open" and state.opened and bool(state.balances.units)
        return traded and not state.is_working and state.dealing is UNSET and any(self.leaves_ms)

    def times_ms(self, state: TokenState) -> list[int]:
        """Returns when each leg that has a next contract is to move into it."""
        return list(self.leaves(state).values())

    def leaves(self, state: TokenState) -> dict[str, int]:
        """Returns when each contract is left that has a next one."""
        own = enumerate(zip(state.legs, self.leaves_ms, strict=False))
        return {self.names[k][leg.number]: times[leg.number] for k, (leg, times) in own if leg.number < len(times)}

    def expired(self, state: TokenState, now_ms: int) -> tuple[str, ...]:
        """Returns the contracts that are held beyond their expiry."""
        return tuple(
            self.names[leg_of(k, leg)][leg.number]
            for k, leg in enumerate(state.legs)
            if leg.lots and (ends := self.expiries_ms[leg_of(k, leg)]) and ends[leg.number] <= now_ms
        )


def leg_of(position: int, leg: LegState) -> int:
    """Returns which leg of the token a position belongs to."""
    return position if leg.leg is UNSET else leg.leg


def expiry_ms(expiry: str) -> int:
    """Returns a contract's expiry in ms UTC."""
    return int(np.datetime64(expiry.removesuffix("Z"), "ms").astype(np.int64))


def expiry_problems(leg: DatedFuture) -> list[Problem]:
    """Names contracts whose expiry is no day of the calendar."""
    problems = []
    for number, contract in enumerate(leg.contracts):
        try:
            expiry_ms(contract.expiry)
        except ValueError:
            place = f"contracts[{number}].expiry"
            problems.append(Problem(place, repr(contract.expiry), "a day of the calendar", 'Write "2024-03-29".'))
    return problems
