"""What befalls positions without an order: settlements, liquidation, auto-deleveraging, the end of an instrument."""

from __future__ import annotations

import msgspec

from gearing.venues.paper.books import decimal_of
from gearing.venues.paper.records import Account, Rate
from gearing.venues.paper.state import State
from gearing.venues.protocol import Forced, FundingPayment, Settled
from gearing.venues.quote import fee_on, funding

# A liquidation ends after so many positions of one account; there is none with more.
_POSITIONS_MAX = 1_000
# A liquidation that comes as many trades has so many.
_FILLS = 300


def settle(state: State, rate: Rate) -> None:
    """Settles funding on what every account holds at this instant, at the mark of it."""
    state.drop_rate(rate)
    listing, mark = state.listings[rate.symbol], state.mark_of(rate.symbol)
    state.keep_settled(Settled(symbol=rate.symbol, settlement_ms=rate.settlement_ms, rate=rate.rate, mark=mark))
    for name in state.holders(rate.symbol):
        lots = state.position(name, rate.symbol).lots
        amount = funding(lots, decimal_of(listing.rules.lot), mark, rate.rate)
        payment = FundingPayment(symbol=rate.symbol, settlement_ms=rate.settlement_ms, rate=rate.rate, mark=mark,
                                 lots=lots, amount=amount)  # fmt: skip
        state.keep_payment(name, payment)
    liquidate(state, rate.symbol)


def liquidate(state: State, symbol: str) -> None:
    """Closes positions whose margin is no longer covered: the one that asks for most first, until it is."""
    for name in state.holders(symbol):
        for _ in range(_POSITIONS_MAX):
            doomed = state.margin.doomed(state.account(name), symbol)
            if doomed is None:
                break
            for order in state.live_on(doomed, name):
                state.end(order, "cancelled", "liquidated")
            costs = state.listings[doomed].costs
            for lots in _fills(state, state.position(name, doomed).lots):
                _force(state, name, doomed, lots, costs.taker_fee + costs.liquidation_fee)


def _fills(state: State, lots: int) -> list[int]:
    """Returns the trades that a position is liquidated in: one, or many by the rate that was set."""
    count = min(abs(lots), _FILLS) if state.draws.chance(state.setup.faults.liquidation_split) else 1
    size, more = divmod(abs(lots), count)
    sign = 1 if lots > 0 else -1
    return [sign * (size + (n < more)) for n in range(count)]


def deleverage(state: State, symbol: str) -> None:
    """Closes a part of each position by auto-deleveraging, at the rate that was set."""
    for name in state.holders(symbol):
        if state.draws.chance(state.setup.faults.deleveraged):
            lots = state.position(name, symbol).lots
            part = 1 + state.draws.below(abs(lots))
            _force(state, name, symbol, part if lots > 0 else -part, 0.0, deleveraged=True)


def close_market(state: State, symbol: str) -> None:
    """Ends an instrument: open orders are cancelled, positions closed at the mark, free of charge."""
    for order in state.live_on(symbol):
        state.end(order, "cancelled", "delisted")
    for name in state.holders(symbol):
        _force(state, name, symbol, state.position(name, symbol).lots, 0.0)
    for rate in [rate for rate in state.rates.values() if rate.symbol == symbol]:
        state.drop_rate(rate)


def resize(state: State, symbol: str, lot: str) -> None:
    """Changes the size of a lot; positions keep their size in units of the underlying, and open orders end.

    Raises:
        ValueError: a position is no whole number of the new lots.
    """
    listing = state.listings[symbol]
    before, after = decimal_of(listing.rules.lot), decimal_of(lot)
    changed: list[Account] = []
    for name in state.holders(symbol):
        it, held = state.account(name), state.position(name, symbol)
        count = held.lots * before / after
        if count != count.to_integral_value():
            raise ValueError(f"{name} holds {held.lots} lots of {before}, which is no whole number of {after}")
        positions = {**it.positions, symbol: msgspec.structs.replace(held, lots=int(count))}
        changed.append(msgspec.structs.replace(it, positions=positions))
    for order in state.live_on(symbol):
        state.end(order, "cancelled", "the contract size changed")
    for it in changed:
        state.keep_account(it)
    state.keep_listing(msgspec.structs.replace(listing, rules=msgspec.structs.replace(listing.rules, lot=lot)))


def _force(state: State, name: str, symbol: str, lots: int, fee: float, *, deleveraged: bool = False) -> None:
    """Closes so many lots of a position at the mark."""
    listing, mark = state.listings[symbol], state.mark_of(symbol)
    charge = fee_on(fee, lots, decimal_of(listing.rules.lot), mark)
    trade_id, realised = state.trade(name, symbol, -lots, mark, charge)
    state.keep_forced(name, Forced(
        trade_id=trade_id, symbol=symbol, lots=-lots, price=mark, charge=charge, realised=realised,
        deleveraged=deleveraged, time_ms=state.now_ms,
    ))  # fmt: skip
