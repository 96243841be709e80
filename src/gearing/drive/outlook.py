"""How a token stands, and what comes next: barriers, the next clock, the rebalance it would make now. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from gearing.core.book import LiveOrder
from gearing.core.dealing import DEALING
from gearing.core.decide import NONE, OPENING, SCHEDULED, Decision, aim_for
from gearing.core.legs import EQUITY
from gearing.core.legs import PRICE as MARK
from gearing.core.measured import leverage_of
from gearing.core.money import to_float
from gearing.core.portfolio import view
from gearing.core.record import DAY_MS
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.core.trading import decide_now, plan
from gearing.core.watch import watch
from gearing.core.working import Working
from gearing.drive.limits import maintenance

# A rule is asked so far beyond a barrier, which lies inside of the price that fires by the width of a touch.
_BEYOND = 1e-6


class Barrier(msgspec.Struct, frozen=True, kw_only=True):
    """A price at which a token next needs attention.

    Args:
        price: of the leg.
        move: from the mark of now, a fraction.
        deviations: that move in deviations of a day's moves; None: they are not known.
        side: what its rule would do there, "buy" or "sell"; empty: it is no trigger of the rule, or of a basket.
    """

    price: float
    move: float
    deviations: float | None = None
    side: str = ""


class LegOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """One leg as it stands.

    Args:
        symbol, lots, lot: the position; of a chain, the contract that is held.
        mark: the price of now.
        notional: signed, in settlement currency.
        below, above: its barriers; None: there is none on that side.
        zero: the price at which equity would be gone, where it is the only leg.
    """

    symbol: str
    lots: int
    lot: str
    mark: float
    notional: float
    below: Barrier | None = None
    above: Barrier | None = None
    zero: Barrier | None = None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """The rebalance that a token would make if its clock ran out now.

    Args:
        aim: the signed leverage it would go to.
        lots: of each leg, signed.
        notional: of each leg, signed, in settlement currency.
    """

    aim: float
    lots: tuple[int, ...]
    notional: tuple[float, ...]

    @property
    def side(self) -> str:
        """What it would do with the first leg it trades: buy, sell or nothing."""
        first = next((lots for lots in self.lots if lots), 0)
        return "nothing" if first == 0 else ("buy" if first > 0 else "sell")

    @property
    def traded(self) -> float:
        """The sum of what it would trade, in settlement currency."""
        return math.fsum(abs(one) for one in self.notional)


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """A token at the marks of now.

    Args:
        token, status: which, and whether it trades.
        target: its target leverage.
        nav: in settlement currency per unit; without units what the next first unit costs, the initial NAV.
        units, equity, exposure: outstanding, and in settlement currency.
        leverage: real, signed.
        maintenance: the venue's margin by the token's own brackets, in settlement currency.
        legs: what it holds.
        due_ms: when a clock runs out next; None: none does.
        due: what it is.
        forecast: see there; None: it would not trade.
    """

    token: str
    status: str
    target: float
    nav: float
    units: float
    equity: float
    exposure: float
    leverage: float
    maintenance: float
    legs: tuple[LegOutlook, ...]
    due_ms: int | None = None
    due: str = ""
    forecast: Forecast | None = None


def outlook(spec: Spec, state: TokenState, marks: tuple[float, ...], daily: tuple[float, ...] = ()) -> Outlook:
    """Returns how a token stands.

    Args:
        spec: the token.
        state: its state; it is left as it is.
        marks: of each leg, now.
        daily: the deviation of a day's log move of each leg; NaN or empty: unknown.
    """
    work = Working(spec, state)
    work.mark(marks)
    seen = work.finished()
    due_ms, due = next_clock(spec, seen)
    as_new = not seen.balances.units and seen.status not in {"wiped", "closed"}
    return Outlook(
        token=spec.token.symbol, status=seen.status, target=spec.token.target,
        nav=spec.token.initial_nav if as_new else to_float(seen.nav),
        units=to_float(seen.balances.units), equity=to_float(seen.equity),
        exposure=math.fsum(leg.lots * float(leg.lot) * leg.mark for leg in seen.legs), leverage=leverage_of(seen),
        maintenance=maintenance(spec, seen), legs=_legs(spec, seen, daily or (math.nan,) * len(seen.legs)),
        due_ms=due_ms, due=due, forecast=_forecast(spec, seen),
    )  # fmt: skip


def next_clock(spec: Spec, state: TokenState) -> tuple[int | None, str]:
    """Returns when a token's next clock runs out, and which it is.

    A clock that may trade (a slice, a schedule, an interval) goes before the day's fee, which every token has.
    """
    if state.status in {"wiped", "closed", "draft"}:
        return None, ""
    if state.is_rolling:
        return state.attended_ms, "orders"
    if state.rebalance is not None:
        return (state.rebalance.due_ms, "slice") if state.rebalance.due_ms else (state.attended_ms, "orders")
    since = state.attended_ms
    due: list[tuple[int, str]] = []
    if state.status == "open":
        for times in spec.times_ms:
            due += [(((since - at) // DAY_MS + 1) * DAY_MS + at, "schedule") for at in times]
        due += [(at, "roll") for at in spec.chains.times_ms(state)]
        # One that ran out and was held back by its condition waits for a price, not for a time.
        ends = (state.ref_ms + int(every) for every in spec.plans[:, 0].tolist() if every > 0.0)
        due += [(at, "interval") for at in ends if at > since]
    if spec.terms.fee_per_day or spec.terms.fee_per_year:
        due.append(((since // DAY_MS + 1) * DAY_MS, "fee"))
    return min(due, default=(None, ""), key=lambda one: (one[1] == "fee", one[0]))


def _legs(spec: Spec, state: TokenState, daily: tuple[float, ...]) -> tuple[LegOutlook, ...]:
    horizon, equity = watch(spec, state), to_float(state.equity)
    found = []
    for k, (symbol, leg) in enumerate(zip(spec.chains.held(state.legs), state.legs, strict=True)):
        size = leg.lots * float(leg.lot)
        zero = leg.mark - equity / size if size and len(state.legs) == 1 else math.nan
        below, above = horizon.below[k], horizon.above[k]
        found.append(LegOutlook(
            symbol=symbol, lots=leg.lots, lot=leg.lot, mark=leg.mark, notional=size * leg.mark,
            below=_trigger(spec, state, k, below, daily[k], -1.0) if below < leg.mark else None,
            above=_trigger(spec, state, k, above, daily[k], 1.0) if above > leg.mark else None,
            zero=_barrier(zero, leg.mark, daily[k]),
        ))  # fmt: skip
    return tuple(found)


def _trigger(spec: Spec, state: TokenState, k: int, price: float, daily: float, way: float) -> Barrier | None:
    """Returns a barrier with what the rule would do just beyond it, the other legs as they are."""
    found = _barrier(price, state.legs[k].mark, daily)
    if found is None:
        return None
    beyond = price * (1.0 + way * _BEYOND)
    work = Working(spec, state)
    work.mark(tuple(beyond if n == k else leg.mark for n, leg in enumerate(state.legs)))
    if work.equity <= 0:
        return found
    decision = decide_now(spec, work, 0, state.attended_ms, -1)
    if decision.reason == NONE:
        return found
    side = forecast_of(spec, work, decision).side
    return msgspec.structs.replace(found, side="" if side == "nothing" else side)


def _barrier(price: float, mark: float, daily: float) -> Barrier | None:
    if not 0.0 < price < math.inf:
        return None
    deviations = math.log(price / mark) / daily if daily > 0.0 else None
    return Barrier(price=price, move=price / mark - 1.0, deviations=deviations)


def _forecast(spec: Spec, state: TokenState) -> Forecast | None:
    if state.status != "open" or state.equity <= 0 or state.is_working or state.is_rolling:
        return None
    work = Working(spec, state)
    decision = Decision(OPENING, spec.terms.target, 0.0)
    if state.opened:
        v, x = work.arrays()
        decision = aim_for(spec.terms, view(spec.legs, v, x, v[EQUITY], MARK), SCHEDULED)
    return forecast_of(spec, work, decision)


def forecast_of(spec: Spec, work: Working, decision: Decision) -> Forecast:
    """Returns what a decision would trade at the marks of these books."""
    lots = plan(spec, work, decision, ()).lots
    notional = tuple(n * float(leg.lot) * leg.mark for n, leg in zip(lots, work.legs, strict=True))
    return Forecast(aim=decision.aim, lots=lots, notional=notional)


def nav_if_filled(spec: Spec, state: TokenState, marks: tuple[float, ...], orders: Iterable[LiveOrder]) -> float:
    """Returns the NAV if orders whose fate is unknown were filled whole, in settlement currency per unit.

    At the marks they were decided at, by the costs of the specification; what a flow's hedge trades is the flow's.

    Args:
        spec, state: the token; its NAV as it stands is the one if nothing of them was filled.
        marks: of each leg, now.
        orders: those that are its own, or partly so.
    """
    units, running, costs = to_float(state.balances.units), state.rebalance, spec.token.costs
    if units == 0.0 or running is None:
        return to_float(state.nav)
    moved = 0.0
    for share in (share for order in orders for share in order.of(spec.token.symbol)):
        k = share.purpose.leg
        leg, decided = state.legs[k], running.prices[k]
        size = (share.lots - share.filled) * float(leg.lot)
        borne = 0.0 if spec.all_in else abs(size) * decided * (costs.taker_fee + costs.half_spread)
        if running.reason != DEALING:
            moved += size * (marks[k] - decided) - borne
    held = sum(leg.lots * float(leg.lot) * (mark - leg.mark) for leg, mark in zip(state.legs, marks, strict=True))
    return (to_float(state.equity) + held + moved) / units
