"""Netting: who comes in takes the units of who goes out, and what is left over of one side is hedged and shared out.

All of it is integer arithmetic. What is handed on whole (money of redemptions that are met, units that change hands)
is apportioned by largest remainder, so that the parts sum to the whole; what a token gives is rounded down for each,
and what the issuer charges is rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET

from gearing.core.dealing import Side, Worth, worth
from gearing.core.flow_result import flow_result, most_within
from gearing.core.holder import Kind
from gearing.core.money import MINOR, apportioned, as_decimal, fraction_of
from gearing.core.state import TokenState
from gearing.core.terms import Spec


class Ask(NamedTuple):
    """A request as netting sees it.

    Args:
        holder, id: whose, and which.
        side: subscribe or redeem.
        amount: what is set aside: money with its fee, minor units; or units.
    """

    holder: str
    id: str
    side: Side
    amount: int


class Given(NamedTuple):
    """What becomes of a request, or of a part of it.

    Args:
        ask: which.
        units: created for it or burned.
        cash: paid by it (fee included), or paid out to it (fee taken off).
        fee: that part of it, or what was taken off.
    """

    ask: Ask
    units: int
    cash: int
    fee: int


class Rates(NamedTuple):
    """What the issuer charges, as fractions of a subscription's money and of a redemption's proceeds."""

    creation: float
    redemption: float

    def money_of(self, ask: Ask) -> int:
        """Returns a subscription's money without its fee, which is rounded up."""
        return ask.amount - fraction_of(ask.amount, as_decimal(self.creation))

    def fee_on(self, gross: int) -> int:
        """Returns what is taken off a redemption's proceeds, rounded up."""
        return fraction_of(gross, as_decimal(self.redemption))


class Match(NamedTuple):
    """What was met by the other side: what each request is given, and what changed hands."""

    given: tuple[Given, ...]
    units: int
    cash: int
    fee: int


NOTHING = Match((), 0, 0, 0)


def taken_in_turn(asks: Sequence[Ask], most: int) -> list[Ask]:
    """Returns at most so many requests: both sides in proportion, and of a side one of each holder in turn.

    Args:
        asks: in the order in which they were accepted, which is kept.
        most: of them; ≥ 2.
    """
    if len(asks) <= most:
        return list(asks)
    ranked: dict[Side, list[tuple[int, int]]] = {}
    turns: dict[tuple[Side, str], int] = {}
    for place, ask in enumerate(asks):
        turn = turns.get((ask.side, ask.holder), 0)
        turns[ask.side, ask.holder] = turn + 1
        ranked.setdefault(ask.side, []).append((turn, place))
    shares = [max(share, 1) for share in apportioned(most, [len(side) for side in ranked.values()])]
    shares[shares.index(max(shares))] -= sum(shares) - most  # one at least of either side, and no more in all
    places = [place for side, share in zip(ranked.values(), shares, strict=True)
              for _, place in sorted(side)[:share]]  # fmt: skip
    return [asks[place] for place in sorted(places)]


def match(asks: Sequence[Ask], price: Worth, rates: Rates) -> Match:
    """Returns what subscriptions and redemptions give each other at a token's worth.

    The smaller side is met whole, the larger in proportion. A request whose share would bring no unit, or no money, is
    left out.

    Args:
        asks: of one token.
        price: of one unit.
        rates: of the issuer's fees.
    """
    buys = [ask for ask in asks if ask.side == "subscribe" and price.units_for(rates.money_of(ask)) > 0]
    sells = [ask for ask in asks if ask.side == "redeem"]
    while buys and sells:
        money = [rates.money_of(ask) for ask in buys]
        wanted, offered = price.units_for(sum(money)), sum(ask.amount for ask in sells)
        if wanted >= offered:
            gross = [price.money_for(ask.amount) for ask in sells]
            units, cash = apportioned(offered, money), apportioned(sum(gross), money)
            gone = [ask.amount for ask in sells]
        else:
            units, cash = [price.units_for(one) for one in money], money
            gone = apportioned(sum(units), [ask.amount for ask in sells])
            gross = apportioned(sum(cash), gone)
        empty = {ask.id for ask, got in zip(buys, units, strict=True) if got == 0}
        sold = zip(sells, gone, gross, strict=True)
        worthless = {ask.id for ask, left, paid in sold if left and paid <= rates.fee_on(paid)}
        if empty or worthless:
            buys = [ask for ask in buys if ask.id not in empty]
            sells = [ask for ask in sells if ask.id not in worthless]
            continue
        given = [_bought(ask, got, paid, one) for ask, got, paid, one in zip(buys, units, cash, money, strict=True)] + [
            _sold(ask, left, paid, rates) for ask, left, paid in zip(sells, gone, gross, strict=True) if left
        ]
        return Match(tuple(given), sum(units), sum(cash), sum(one.fee for one in given))
    return NOTHING


def shared_out(asks: Sequence[Ask], accepted: int, gives: int, rates: Rates) -> tuple[Given, ...]:
    """Returns what each request of one side is given of what a hedged flow is worth.

    Args:
        asks: that were hedged together, with what they had set aside then.
        accepted: money without fees, or units, that were hedged.
        gives: units created for all of them, or money paid out before fees.
        rates: of the issuer's fees.
    """
    if not accepted:
        return ()
    weights = [rates.money_of(ask) if ask.side == "subscribe" else ask.amount for ask in asks]
    parts = apportioned(accepted, weights)
    given = []
    for ask, part, weight in zip(asks, parts, weights, strict=True):
        got = gives * part // accepted
        if ask.side == "subscribe":
            given.append(_bought(ask, got, part, weight))
        else:
            given.append(_sold(ask, part, got, rates))
    return tuple(one for one in given if one.units and (one.ask.side == "subscribe" or one.cash > 0))


def _bought(ask: Ask, units: int, cash: int, whole: int) -> Given:
    """Returns what a subscription is given for a part of its money; the fee goes by the same part, rounded up."""
    fee = -(-(ask.amount - whole) * cash // whole)
    return Given(ask, units, cash + fee, fee)


def _sold(ask: Ask, units: int, gross: int, rates: Rates) -> Given:
    fee = rates.fee_on(gross)
    return Given(ask, units, gross - fee, fee)


class Settlement(NamedTuple):
    """What a hedged flow comes to: what each of its requests is given, and the totals that the token books."""

    given: tuple[Given, ...]
    units: int
    cash: int
    fee: int

    @property
    def kind(self) -> Kind:
        """Whether anything was dealt, or its requests only pay for a hedge that came to nothing."""
        return "hedged" if any(one.units and (one.cash or one.fee) for one in self.given) else "unwound"


def supply_room(spec: Spec, state: TokenState) -> int | None:
    """Returns the units that a token may still create by its supply cap, ≥ 0; None: it has no cap."""
    cap = spec.token.limits.supply_cap
    return None if cap is None else max(int(as_decimal(cap) * MINOR) - state.balances.units, 0)


def final_share(spec: Spec, state: TokenState, ask: Ask, rates: Rates) -> Given:
    """Returns what a redemption of a closed token is paid: its units' part of what is left, and the last ones all."""
    last = ask.amount == state.balances.units
    gross = max(state.equity if last else worth(spec, state, (), "redeem").money_for(ask.amount), 0)
    return _sold(ask, ask.amount, gross, rates)


def settlement(
    spec: Spec, state: TokenState, asks: Sequence[Ask], rates: Rates, units_max: int | None = None
) -> Settlement:  # fmt: skip
    """Returns what the flow under way comes to at the marks of now, once its hedge has ended.

    Args:
        spec, state: the token.
        asks: that were hedged, with what they had set aside then.
        rates: of the issuer's fees.
        units_max: the most units that the supply cap lets a subscription create; None: there is no cap. Money that
            would create more is returned, of each request by its size.
    """
    dealing, whole = state.dealing, asks
    if dealing is UNSET:
        raise ValueError("there is no flow to be settled")
    price, subscribes = worth(spec, state, dealing.accrued, dealing.side), dealing.side == "subscribe"
    most = most_within(state, price, units_max) if subscribes and units_max is not None else None
    result = flow_result(state, price, most)
    given = shared_out(asks, result.accepted, result.gives, rates)
    taken = sum(_taken(one) for one in given)
    if taken < result.accepted:  # a request whose share comes to nothing is returned, and bears nothing
        asks = [one.ask for one in given]
        result = flow_result(state, price, taken)
        given = shared_out(asks, taken, result.gives, rates) if result.gives else ()
        if sum(_taken(one) for one in given) < taken:
            given = ()
    if given:
        cash = sum(one.cash - one.fee if subscribes else one.cash for one in given)
        return Settlement(given, sum(one.units for one in given), cash, sum(one.fee for one in given))
    cost = flow_result(state, price, 0).cost
    return Settlement(_charged(whole, cost), 0 if subscribes else cost, cost if subscribes else 0, 0)


def _taken(one: Given) -> int:
    """Returns what was dealt of a request: its money without the fee, or its units."""
    return one.cash - one.fee if one.ask.side == "subscribe" else one.units


def _charged(asks: Sequence[Ask], cost: int) -> tuple[Given, ...]:
    """Returns what each request pays, by its size, for a hedge that came to nothing; the parts sum to the cost."""
    parts = apportioned(cost, [ask.amount for ask in asks]) if cost else []
    return tuple(
        Given(ask, 0, part, 0) if ask.side == "subscribe" else Given(ask, part, 0, 0)
        for ask, part in zip(asks, parts, strict=False)
        if part
    )
