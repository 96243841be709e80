"""Dealing: units are created for money and burned for money, at a price that leaves those who stay as they are.

A flow of ΔU units trades Δq = q·ΔU/U of each leg, so real leverage stays; the first unit goes to the target. What is
less than half a lot, or below the venue's least order, is not traded; the rule's next rebalance takes it up. What the
hedge gains and costs from its fills on stands on the flow's own account. When it has ended, units are created for what
the flow is then worth: N + H for a subscription of N money whose hedge made H, at the token's own equity per unit; a
redemption is paid its units' part of that equity, and H. Since Δq = q·ΔU/U, that is the price at the hedge's own
average fill: (N + H)/ΔU at any mark is E/U at the average fill.

Funding that has run up in the present period is part of the price where that protects who stays: the hedge of who
comes in is charged for the whole period, and that of who goes out for nothing of it. So a subscription pays the higher
of equity with and without what has run up, a redemption is paid the lower; matched flows, which trade nothing, change
hands at equity less what has run up. The day's fee up to now is charged before.

Source: derived; the rules of issuers on flows that bear their own cost.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec
from msgspec import UNSET

from gearing.core import attribution as att
from gearing.core import events as ev
from gearing.core.flow_result import FlowResult, can_trade, covered_pnl, excess_lots, flow_result
from gearing.core.formulas import whole_lots
from gearing.core.holder import Bearing
from gearing.core.ledger import CAPITAL, DEALT, FEES, FLOWS, HELD, ISSUED, RESERVE, WALLET
from gearing.core.legs import EQUITY, LOT, WEIGHT
from gearing.core.legs import PRICE as MARK
from gearing.core.money import CEILING, FLOOR, MINOR, accrued_of, share_of, to_float, to_minor, value_of
from gearing.core.portfolio import exposure, index_at
from gearing.core.positions import History, with_trade
from gearing.core.record import DAY_MS
from gearing.core.state import Attempt, Cover, Dealing, Made, Rebalance, TokenState
from gearing.core.terms import Spec
from gearing.core.trading import Order, orders_of
from gearing.core.working import Working

# The reason of a rebalance that hedges a flow.
DEALING = "dealing"

Side = Literal["subscribe", "redeem"]


class Worth(NamedTuple):
    """What a token is worth to those who deal in it: money over units, both in minor units.

    Args:
        equity: money.
        units: units; > 0.
    """

    equity: int
    units: int

    def units_for(self, money: int) -> int:
        """Returns the units that money buys, rounded down."""
        return max(money, 0) * self.units // self.equity

    def money_for(self, units: int) -> int:
        """Returns the money that units are worth, rounded down."""
        return units * self.equity // self.units


def accrued_funding(spec: Spec, state: TokenState, accrued: tuple[float, ...], rounding: str) -> int:
    """Returns the funding that has accrued on what the token itself holds, minor units; > 0: it owes it.

    Args:
        spec, state: the token; where its fee is all in, the issuer owes it.
        accrued: of each leg, a fraction of its value.
        rounding: FLOOR or CEILING.
    """
    if spec.all_in or not any(accrued):
        return 0
    flow = (0,) * len(accrued) if state.dealing is UNSET else state.dealing.lots
    return sum(
        accrued_of(leg.lots - mine, leg.lot_size, leg.mark, rate, rounding)
        for leg, rate, mine in zip(state.legs, accrued, flow, strict=True)
    )


def worth(spec: Spec, state: TokenState, accrued: tuple[float, ...], side: Side | None) -> Worth:
    """Returns what units are created at, burned at, or change hands at.

    Args:
        spec, state: the token at the marks of now; with no units, its first unit costs the initial NAV.
        accrued: see `accrued_funding`.
        side: None: matched, nothing is traded.
    """
    equity, units = state.equity, state.balances.units
    if units == 0:
        return Worth(to_minor(spec.token.initial_nav, CEILING), MINOR)
    if side is None:
        return Worth(equity - accrued_funding(spec, state, accrued, CEILING), units)
    if side == "subscribe":
        return Worth(max(equity, equity - accrued_funding(spec, state, accrued, FLOOR)), units)
    return Worth(min(equity, equity - accrued_funding(spec, state, accrued, CEILING)), units)


def begin_dealing(spec: Spec, work: Working, event: ev.DealingBegun) -> tuple[TokenState, tuple[Order, ...]]:
    """Takes a flow up, and returns the state and the orders of its hedge.

    Whoever calls it has marked the token and charged what was due.
    """
    state = work.state
    if state.balances.units == 0:
        sweep(work, event.time_ms)
    now = work.finished()
    price = worth(spec, now, event.accrued, event.side)
    if event.side == "subscribe":
        units = with_cost(spec, now, price).units_for(event.amount)
        work.bring(event.amount, FLOWS)
    else:
        units = event.amount
    ends = event.side == "redeem" and units == state.balances.units
    sought = hedge_lots(spec, now, event.side, event.amount, units)
    meets = event.crossing is UNSET or bool(event.crossing)
    crossed = _crossed(spec, work, sought) if meets else (0,) * len(sought)
    if any(crossed):
        work.traded_within()
    rest = tuple(
        lots - here if ends or can_trade(spec, work.legs[k], k, lots - here) else 0
        for k, (lots, here) in enumerate(zip(sought, crossed, strict=True))
    )
    wanted = tuple(here + lots for here, lots in zip(crossed, rest, strict=True))
    number = state.dealings_so_far + 1
    dealing = Dealing(
        number=number, side=event.side, amount=event.amount, units=units, first=state.balances.units == 0,
        accrued=event.accrued, wanted=wanted, lots=crossed, past=_opened(crossed, event.time_ms),
    )  # fmt: skip
    work.dealing = dealing
    _pay_crossing(work, crossed, event)
    # With the last units goes all that is held; a venue takes that however little it is, as it can only lower it.
    attempts = tuple(
        Attempt(leg=k, number=0, lots=lots, reduces=True if ends else UNSET) for k, lots in enumerate(rest) if lots
    )
    if not attempts:
        return work.finished(dealings=number), ()
    return _trade_hedge(spec, work, attempts, event.time_ms, dealings=number)


def _pay_crossing(work: Working, crossed: tuple[int, ...], event: ev.DealingBegun) -> None:
    """Books what a flow gains on what it took over from the token itself at another price than the mark."""
    if event.crossing is UNSET or not any(crossed):
        return
    gained = sum(
        value_of(lots, leg.lot_size, leg.mark, FLOOR) - value_of(lots, leg.lot_size, price, CEILING)
        for lots, leg, price in zip(crossed, work.legs, event.crossing, strict=True)
        if lots
    )
    work.pay_flow(gained)


def _opened(crossed: tuple[int, ...], time_ms: int) -> tuple[History, ...]:
    return tuple(with_trade((), 0, lots, time_ms) if lots else () for lots in crossed)


def hedged(work: Working, k: int, lots: int, time_ms: int) -> None:
    """Notes a fill of the flow's hedge."""
    dealing = work.dealing
    if dealing is UNSET:
        raise ValueError("there is no flow that a hedge could be of")
    traded = tuple(n + lots if n_leg == k else n for n_leg, n in enumerate(dealing.lots))
    past = tuple(
        with_trade(one, dealing.lots[n_leg], lots, time_ms) if n_leg == k else one
        for n_leg, one in enumerate(dealing.past)
    )
    work.dealing = msgspec.structs.replace(dealing, lots=traded, past=past)


def forced(work: Working, k: int, lots: int, time_ms: int) -> None:
    """Notes what the venue closed of leg k of the flow's hedge."""
    hedged(work, k, lots, time_ms)
    if work.dealing is not UNSET:
        before = (0,) * len(work.legs) if work.dealing.forced is UNSET else work.dealing.forced
        after = tuple(n + lots if n_leg == k else n for n_leg, n in enumerate(before))
        work.dealing = msgspec.structs.replace(work.dealing, forced=after)


def was_stranded(spec: Spec, state: TokenState) -> bool:
    """Returns whether the hedge of the flow under way ended in some legs only, whatever the venue closed since."""
    dealing = state.dealing
    if dealing is not UNSET and dealing.forced is not UNSET:
        filled = tuple(held - gone for held, gone in zip(dealing.lots, dealing.forced, strict=True))
        state = msgspec.structs.replace(state, dealing=msgspec.structs.replace(dealing, lots=filled))
    return any(excess_lots(spec, state))


def begin_unwinding(spec: Spec, work: Working, now_ms: int) -> tuple[TokenState, tuple[Order, ...]]:
    """Begins to trade back what was filled beyond the part of a flow that is dealt.

    Raises:
        ValueError: there is nothing to unwind.
    """
    excess, dealing = excess_lots(spec, work.state), work.dealing
    if dealing is UNSET or not any(excess):
        raise ValueError("there is nothing to unwind")
    work.dealing = msgspec.structs.replace(dealing, unwinds=True, forced=UNSET)
    attempts = tuple(Attempt(leg=k, number=0, lots=-lots) for k, lots in enumerate(excess) if lots)
    return _trade_hedge(spec, work, attempts, now_ms)


def keep_excess(spec: Spec, work: Working, event: ev.ExcessKept) -> TokenState:
    """Leaves to the token what was filled beyond the part of a flow that is dealt.

    The flow pays what trading it back would cost, at the rate of the token's terms, and what it is worse than the mark.

    Raises:
        ValueError: nothing was, or it is left at a better price than the mark.
    """
    excess, dealing, costs = excess_lots(spec, work.state), work.dealing, spec.token.costs
    if dealing is UNSET or not any(excess):
        raise ValueError("there is no excess")
    rate, each = costs.taker_fee + costs.half_spread, tuple(zip(excess, work.legs, event.at, strict=True))
    if any(n * (price - leg.mark) > 0 for n, leg, price in each):
        raise ValueError("an excess is left at no better price than the mark")
    work.close_stretch()
    work.traded_within()
    cost = sum(accrued_of(abs(n), leg.lot_size, leg.mark, rate, CEILING) for n, leg, _ in each if n)
    worse = sum(value_of(n, leg.lot_size, leg.mark, CEILING) - value_of(n, leg.lot_size, price, FLOOR)
                for n, leg, price in each if n)  # fmt: skip
    work.pay_flow(-cost - worse)
    work.dealing = msgspec.structs.replace(
        dealing, forced=UNSET, lots=tuple(held - n for held, n in zip(dealing.lots, excess, strict=True)),
        past=tuple(with_trade(one, held, -n, event.time_ms) if n else one
                   for one, held, n in zip(dealing.past, dealing.lots, excess, strict=False)),
    )  # fmt: skip
    return work.finished()


def _trade_hedge(
    spec: Spec, work: Working, attempts: tuple[Attempt, ...], now_ms: int, **changed: object
) -> tuple[TokenState, tuple[Order, ...]]:
    """Returns the state with these orders of a flow's hedge, and the orders."""
    state = work.state
    v, x = work.arrays()
    held = float(exposure(x, MARK) / v[EQUITY]) if v[EQUITY] > 0.0 else spec.terms.target
    running = Rebalance(
        epoch=state.epoch + 1, reason=DEALING, aim=held, edge=0.0, side=0.0, restores=False, decided_ms=now_ms,
        prices=tuple(leg.mark for leg in work.legs), cut=False, attempts=attempts, paused=state.rebalance or UNSET,
    )  # fmt: skip
    after = work.finished(rebalance=running, epoch=running.epoch, rolls=state.rolls_so_far + 1, **changed)
    return after, orders_of(after)


def settle_dealing(spec: Spec, work: Working, event: ev.DealingSettled) -> TokenState:
    """Creates or burns units for what was dealt, within what the flow is worth; returns the rest of its money.

    What the hedge lost beyond what the flow can pay, the issuer bears.
    """
    state, dealing = work.state, work.dealing
    if dealing is UNSET:
        raise ValueError("there is no flow to be settled")
    price = worth(spec, state, dealing.accrued, dealing.side)
    subscribes = dealing.side == "subscribe"
    deals = event.units > 0 and (subscribes or event.cash + event.fee > 0)
    taken = (event.cash if subscribes else event.units) if deals else 0
    _check_result(subscribes, flow_result(state, price, taken), event)
    if work.equity > 0:
        work.close_stretch()
    made = made_by_unit(state, work)
    borne = covered_pnl(state, price, event.cash, event.units)
    if subscribes:
        work.bring(event.cash - dealing.amount, FLOWS)
        work.post(event.cash, FLOWS, CAPITAL)
        work.bring(event.fee, CAPITAL)
        work.post(event.units, HELD, ISSUED)
    else:
        work.bring(-event.cash, CAPITAL)
        work.post(event.units, ISSUED, HELD)
    work.post(event.fee, DEALT, FEES)
    work.post(-borne, DEALT, FLOWS)
    work.post(work.balances.flows, FEES, FLOWS)
    work.dealing = UNSET
    changed: dict[str, object] = {"opened": state.opened or any(dealing.lots)}
    if dealing.first and event.units:  # its fee counts from now on, whatever was charged before there were none
        work.charged_share = event.time_ms % DAY_MS / DAY_MS
        changed |= {
            "ref_ms": event.time_ms,
            "index": _open(work),
            "attended_ms": event.time_ms,
            "charged_ms": event.time_ms,
        }
    return after_flow(work, made, event.time_ms, **changed)


def match_flow(spec: Spec, work: Working, event: ev.FlowMatched) -> TokenState:
    """Books the fee of units that changed hands; they have to have done so at the token's worth."""
    price = worth(spec, work.state, event.accrued, None)
    unit = price.equity // price.units + 1  # the money of the smallest part of a unit, at most
    if abs(event.cash * price.units - event.units * price.equity) > event.parties * (unit + 1) * price.units:
        raise ValueError(f"{event.cash} is not what {event.units} units are worth")
    work.bring(event.fee, CAPITAL)
    work.post(event.fee, DEALT, FEES)
    return work.finished()


def redeem_closed(work: Working, event: ev.Redeemed) -> TokenState:
    """Burns units of a token that holds nothing any more for their part of its money."""
    state = work.state
    whole = event.units == state.balances.units
    most = state.equity if whole else Worth(state.equity, state.balances.units).money_for(event.units)
    if not (0 < event.units <= state.balances.units and event.cash + event.fee <= max(most, 0)):
        raise ValueError(f"{event.cash} paid for {event.units} units, which are worth {most}")
    made = made_by_unit(state, work)
    work.bring(-event.cash, CAPITAL)
    work.post(event.fee, DEALT, FEES)
    work.post(event.units, ISSUED, HELD)
    return after_flow(work, made, event.time_ms)


def take_fees(spec: Spec, work: Working, event: ev.FeesTaken) -> TokenState:
    """Pays the issuer what it is owed: in money, in units, or by burning units that it bought from who went out."""
    state = work.state
    if not 0 < event.amount <= -state.balances.fees:
        raise ValueError(f"{event.amount} is not owed, but {-state.balances.fees}")
    made = made_by_unit(state, work)
    if event.how == "cash":
        work.bring(-event.amount, FEES)
        return work.finished()
    work.close_stretch()
    if event.how == "units":
        most = worth(spec, state, event.accrued, "subscribe").units_for(event.amount)
        if not 0 < event.units <= most:
            raise ValueError(f"{event.units} units for {event.amount}, which buys {most}")
        work.post(event.amount, FEES, CAPITAL)
        work.post(event.units, HELD, ISSUED)
        return after_flow(work, made, event.time_ms)
    if not 0 < event.units < state.balances.units:
        raise ValueError("units are burned while others stay")
    work.bring(-event.amount, CAPITAL)
    work.post(event.units, ISSUED, HELD)
    work.parts[att.POST_EQUITY] = to_float(work.equity)
    work.waive_fee(event.amount)
    return after_flow(work, made, event.time_ms)


def merge_units(work: Working, event: ev.Consolidated) -> TokenState:
    """Merges units; what is cut off of the last one is paid out in money, or left in everybody's NAV."""
    state, factor = work.state, Fraction(repr(event.factor))
    before = state.balances.units
    most = before * factor.denominator // factor.numerator
    units = most if event.units is UNSET else event.units
    cut_off = before - units * factor
    if not 0 < units <= most or not 0 <= event.cash <= cut_off * max(state.equity, 0) / before:
        raise ValueError("nothing would be left of the units" if units <= 0 else f"{event.cash} paid for {cut_off}")
    made = made_by_unit(state, work)
    scale = before / units
    work.post(before - units, ISSUED, HELD)
    work.bring(-event.cash, CAPITAL)
    merged = None if made is None else msgspec.structs.replace(made, unit=tuple(part * scale for part in made.unit))
    return after_flow(work, merged, event.time_ms)


def made_by_unit(state: TokenState, work: Working) -> Made | None:
    """Returns what one unit made so far by each part, before units are created or burned; None: there are no units."""
    units = to_float(state.balances.units)
    if units == 0.0:
        return None if state.made is UNSET else state.made
    money = work.parts[att.MONEY : att.MONEY + att.N_PARTS].tolist()
    before = Made((0.0,) * att.N_PARTS, (0.0,) * att.N_PARTS) if state.made is UNSET else state.made
    unit = tuple(m + (now - then) / units for m, now, then in zip(before.unit, money, before.token, strict=True))
    return Made(unit, tuple(money))


def after_flow(work: Working, made: Made | None, now_ms: int, **changed: object) -> TokenState:
    """Returns the state after units were created or burned: what equity changed by that is nobody's profit."""
    if work.balances.units == 0:
        sweep(work, now_ms)
        changed |= {"opened": False, "rebalance": None}
    work.parts[att.POST_EQUITY] = to_float(max(work.equity, 0))
    if made is not None:
        changed |= {"made": made}
    return work.finished(**changed)


def _check_result(subscribes: bool, most: FlowResult, event: ev.DealingSettled) -> None:
    """Rejects a settlement that gives more than the flow is worth, or takes something else than it owes."""
    if most.gives:
        gives, takes = (event.units, event.cash) if subscribes else (event.cash + event.fee, event.units)
        fits = 0 < gives <= most.gives and takes == most.accepted
    else:
        gives, takes = 0, event.cash if subscribes else event.units
        fits = takes == most.cost and event.fee == 0
    if not fits or min(event.units, event.cash, event.fee) < 0:
        raise ValueError(f"{gives} given for {takes}, where the flow is worth {most.gives} for {most.accepted} and "
                         f"its hedge cost {most.cost}")  # fmt: skip


def hedge_lots(spec: Spec, state: TokenState, side: Side, amount: int, units: int) -> tuple[int, ...]:
    """Returns the lots by which a flow keeps real leverage; those of the first unit go to the target.

    Args:
        spec, state: the token at the marks of now.
        side: subscribe or redeem.
        amount: money without fees, minor units, or units.
        units: that come or go.
    """
    if state.balances.units == 0:
        money = to_float(amount) * spec.terms.target
        sizes = [money * float(spec.legs[WEIGHT, k]) / leg.mark for k, leg in enumerate(state.legs)]
        return tuple(
            round(whole_lots(size, float(spec.legs[LOT, k])) / float(leg.lot))
            for k, (size, leg) in enumerate(zip(sizes, state.legs, strict=True))
        )
    sign = 1 if side == "subscribe" else -1
    return tuple(sign * share_of(leg.lots, units, state.balances.units) for leg in state.legs)


def _crossed(spec: Spec, work: Working, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the lots of a hedge that a rebalance between two slices wants to trade the other way.

    They change hands at the fair price, and neither side pays a venue for them: the flow's hedge has them, the token is
    closer to the rebalance's aim, and only what is left goes to the venue.
    """
    running, equity = work.state.rebalance, to_float(work.equity)
    if running is None or equity <= 0.0:
        return (0,) * len(wanted)
    _, x = work.arrays()
    held = float(exposure(x, MARK))
    crossed = []
    for k, (lots, leg) in enumerate(zip(wanted, work.legs, strict=True)):
        value = leg.lots * float(leg.lot) * leg.mark
        by_weight = running.restores or held == 0.0
        goal = running.aim * equity * (float(spec.legs[WEIGHT, k]) if by_weight else value / held)
        missing = round((goal - value) / (float(leg.lot) * leg.mark))
        here = min(abs(lots), abs(missing)) if lots * missing < 0 else 0
        crossed.append(here if lots > 0 else -here)
    return tuple(crossed)


def with_cost(spec: Spec, state: TokenState, price: Worth) -> Worth:
    """Returns what units cost with their hedge, by the costs of the specification.

    A flow is hedged for as many units as its money buys after that, so that leverage stays as it is.
    """
    costs = spec.token.costs
    rate = costs.taker_fee + costs.half_spread
    if state.balances.units:
        own = (0,) * len(state.legs) if state.dealing is UNSET else state.dealing.lots
        lots = [leg.lots - mine for leg, mine in zip(state.legs, own, strict=False)]
        cost = sum(accrued_of(abs(n), leg.lot_size, leg.mark, rate, CEILING)
                   for n, leg in zip(lots, state.legs, strict=False))  # fmt: skip
    else:
        held = abs(spec.terms.target) * float(spec.legs[WEIGHT].sum()) * spec.token.initial_nav
        cost = to_minor(held * rate * to_float(price.units), CEILING)
    return Worth(price.equity + cost, price.units)


def _open(work: Working) -> float:
    """Begins the attribution anew with the first units; returns the index, whose weights count from now."""
    level = _index(work)
    made = work.parts[att.MONEY : att.MONEY + att.N_PARTS].copy()
    att.open_ledger(work.parts, to_float(work.equity), level)
    work.parts[att.MONEY : att.MONEY + att.N_PARTS] = made
    work.legs = [msgspec.structs.replace(leg, ref=leg.mark, index_ref=leg.mark) for leg in work.legs]
    return level


def _index(work: Working) -> float:
    v, x = work.arrays()
    return float(index_at(work.spec.legs, v, x, MARK))


def sweep(work: Working, now_ms: int) -> None:
    """Gives the reserve what is left where there are no units: the first unit is worth what it paid."""
    left = work.equity
    if left:
        work.post(left, RESERVE, WALLET)
        work.covers = (*work.covers, Cover(now_ms, -left))


def bearing(spec: Spec, state: TokenState) -> Bearing:
    """Returns where a token stands at its last marks, for whoever's units come in or go out now."""
    work = Working(spec, state)
    if work.equity > 0 and state.balances.units:
        work.close_stretch()
    made = made_by_unit(state, work)
    return Bearing(nav=state.nav, level=_index(work), parts=(0.0,) * att.N_PARTS if made is None else made.unit)
