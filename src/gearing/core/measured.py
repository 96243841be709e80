"""What a rebalance did: from where to where, how much was traded, and what that cost against the decision's prices."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from gearing.core.dealing import DEALING
from gearing.core.events import Filled, TokenEvent
from gearing.core.money import HALF_EVEN, to_float, value_of
from gearing.core.state import Rebalance, TokenState


class LegTraded(msgspec.Struct, frozen=True, kw_only=True):
    """What was traded of one leg.

    Args:
        symbol: of the leg.
        decided: the mark at which the rebalance was decided.
        lots: signed, so far.
        paid: what they cost, signed, minor units.
        worth: what they would have cost at the mark of the decision, likewise.
        commission: ≥ 0, minor units.
        crossed: of `paid`, what changed hands between tokens of the book.
        crossed_worth: what that would have cost at the mark of the decision.
    """

    symbol: str
    decided: float
    lots: int = 0
    paid: int = 0
    worth: int = 0
    commission: int = 0
    crossed: int = 0
    crossed_worth: int = 0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One rebalance, while it runs and after it.

    Args:
        token, epoch: which.
        reason: why it began.
        aim: the signed leverage it went to.
        started_ms: when it was decided.
        ended_ms: when its last order ended; 0 while it runs.
        before, after: real leverage when it was decided, and when it ended.
        exposure: signed, when it ended, in settlement currency; None while it runs, and where it was not measured.
        slices, fills: how many there were.
        legs: what was traded of each.
    """

    token: str
    epoch: int
    reason: str
    aim: float
    started_ms: int
    ended_ms: int = 0
    before: float
    after: float = 0.0
    exposure: float | None = None
    slices: int = 1
    fills: int = 0
    legs: tuple[LegTraded, ...]

    @property
    def is_open(self) -> bool:
        """Whether it still runs."""
        return self.ended_ms == 0

    @property
    def is_done(self) -> bool:
        """Whether it ended, traded, and was the token's own: not the hedge of a flow, nor one of which nothing came."""
        return not self.is_open and self.fills > 0 and self.reason != DEALING

    @staticmethod
    def told(last: Measured | None, done: Measured | None) -> Measured | None:
        """Returns the one that people are told of: the last while it runs, and else the last that is done."""
        return last if last is not None and last.is_open else done

    @property
    def traded(self) -> int:
        """The sum of what was bought and sold, minor units."""
        return sum(abs(leg.paid) for leg in self.legs)

    @property
    def at_venue(self) -> tuple[int, int]:
        """What it cost and traded at the venue, minor units: without what crossed between tokens of the book."""
        slippage = sum(leg.paid - leg.crossed - (leg.worth - leg.crossed_worth) for leg in self.legs)
        return slippage + self.commission, sum(abs(leg.paid - leg.crossed) for leg in self.legs)

    @property
    def side(self) -> str:
        """What it did with the first leg that traded: buy or sell; empty before the first fill."""
        first = next((leg.lots for leg in self.legs if leg.lots), 0)
        return "" if first == 0 else ("buy" if first > 0 else "sell")

    @property
    def slippage(self) -> int:
        """What the trades cost beyond the decision's prices, minor units; > 0: they were worse."""
        return sum(leg.paid - leg.worth for leg in self.legs)

    @property
    def commission(self) -> int:
        """What the venue charged, minor units."""
        return sum(leg.commission for leg in self.legs)

    @property
    def cost(self) -> int:
        """Slippage and commission, minor units."""
        return self.slippage + self.commission

    @property
    def cost_rate(self) -> float:
        """The cost as a fraction of what was traded; 0 if nothing was."""
        return self.cost / self.traded if self.traded else 0.0


def leverage_of(state: TokenState) -> float:
    """Returns real leverage at the last marks; 0 without equity."""
    return exposure_of(state) / to_float(state.equity) if state.equity > 0 else 0.0


def exposure_of(state: TokenState) -> float:
    """Returns the signed exposure at the last marks, in settlement currency; what a flow's hedge holds is not in it."""
    held = sum(leg.lots * float(leg.lot) * leg.mark for leg in state.legs)
    if state.dealing is UNSET:
        return held
    flow = zip(state.dealing.lots, state.legs, strict=False)
    return held - sum(lots * float(leg.lot) * leg.mark for lots, leg in flow)


def measure(
    last: Measured | None, token: str, symbols: tuple[str, ...], before: TokenState, after: TokenState,
    event: TokenEvent,
) -> list[Measured]:  # fmt: skip
    """Returns the rebalances that an event began, went on with, or ended.

    Args:
        last: the token's last rebalance, if there was one.
        token, symbols: of the token and its legs.
        before, after: the states around the event.
        event: what happened.
    """
    found: list[Measured] = []
    running = after.rebalance
    if last is not None and last.is_open:
        current = last
        if isinstance(event, Filled) and event.epoch == last.epoch:
            current = _filled(current, event, before)
        if running is None or running.epoch != last.epoch:
            current = msgspec.structs.replace(
                current, ended_ms=event.time_ms, after=leverage_of(after), exposure=exposure_of(after)
            )
        elif running.slice + 1 != current.slices:
            current = msgspec.structs.replace(current, slices=running.slice + 1)
        if current is not last:
            found.append(current)
    if running is not None and (last is None or running.epoch != last.epoch):
        found.append(_began(token, symbols, running, after))
    return found


def _began(token: str, symbols: tuple[str, ...], running: Rebalance, after: TokenState) -> Measured:
    legs = tuple(LegTraded(symbol=s, decided=p) for s, p in zip(symbols, running.prices, strict=True))
    return Measured(token=token, epoch=running.epoch, reason=running.reason, aim=running.aim,
                    started_ms=running.decided_ms, before=leverage_of(after), legs=legs)  # fmt: skip


def _filled(current: Measured, event: Filled, before: TokenState) -> Measured:
    leg, size = current.legs[event.leg], before.legs[event.leg].lot_size
    paid = value_of(event.lots, size, event.price, HALF_EVEN)
    worth = value_of(event.lots, size, leg.decided, HALF_EVEN)
    traded = msgspec.structs.replace(
        leg, lots=leg.lots + event.lots, commission=leg.commission + event.commission,
        paid=leg.paid + paid, worth=leg.worth + worth,
        crossed=leg.crossed + (paid if event.crosses is True else 0),
        crossed_worth=leg.crossed_worth + (worth if event.crosses is True else 0),
    )  # fmt: skip
    legs = tuple(traded if k == event.leg else one for k, one in enumerate(current.legs))
    return msgspec.structs.replace(current, legs=legs, fills=current.fills + 1)
