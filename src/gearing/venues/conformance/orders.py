"""Cards C01 to C15: what becomes of orders."""

from __future__ import annotations

import contextlib
from decimal import Decimal

from gearing.venues.conformance.deck import card
from gearing.venues.conformance.stage import NotApplicableError, Stage, expect, failed
from gearing.venues.protocol import RefusedError

_LATE_MS = 10_000


@card("C01", "an order is placed and filled")
async def placed_and_filled(stage: Stage) -> None:
    """Of an ordinary order, all lots are filled."""
    order = stage.order(stage.lots)
    first = await stage.venue.place(order)
    expect(
        (first.client_id, first.lots) == (order.client_id, order.lots), f"the answer is about another order: {first}"
    )
    status = await stage.ended(order.client_id)
    expect(status.word == "filled" and status.filled == order.lots, f"it ended as {status.word}, {status.filled} lots")


@card("C02", "an unknown id is not known")
async def unknown(stage: Stage) -> None:
    """A query about an id that was never used gives None, and it has no fills."""
    key = stage.client_id()
    expect(await stage.venue.query(key) is None, "an order that was never placed is known")
    expect(await stage.venue.fills(key) == [], "an order that was never placed has fills")


@card("C03", "the id of a live order is refused")
async def duplicate(stage: Stage) -> None:
    """While an order is open, another one under its id is refused, and the first is left as it is."""
    order = stage.order(stage.lots)
    first = await stage.venue.place(order)
    if first.word != "open":
        raise NotApplicableError("orders are filled at once")
    await stage.refusal(stage.order(2 * stage.lots, client_id=order.client_id), "under the id of a live one")
    status = await stage.ended(order.client_id)
    expect(status.lots == order.lots, f"the order under that id is now one of {status.lots} lots")


@card("C04", "fills sum to what the status says")
async def fills_sum(stage: Stage) -> None:
    """The fills of an order have its id, symbol and sign, ids of their own, and sum to `filled`."""
    seen: set[str] = set()
    for lots in (stage.lots, -stage.lots):
        status, trades = await stage.traded(lots)
        total = sum(trade.lots for trade in trades)
        expect(total == status.filled, f"fills sum to {total} lots, the status says {status.filled}")
        expect(abs(total) <= abs(lots), f"{total} of {lots} lots were filled")
        for trade in trades:
            expect(trade.client_id == status.client_id, f"a fill of {status.client_id} names {trade.client_id}")
            expect(trade.symbol == stage.symbol, f"a fill of {stage.symbol} names {trade.symbol}")
            expect(trade.lots * lots > 0, f"an order of {lots} lots has a fill of {trade.lots}")
            expect(trade.trade_id not in seen, f"trade id {trade.trade_id} was used twice")
            seen.add(trade.trade_id)


@card("C05", "a query agrees with the answer to the order")
async def query_agrees(stage: Stage) -> None:
    """Once the visibility delay is over, an accepted order is known for good."""
    order = stage.order(stage.lots)
    await stage.venue.place(order)
    await stage.wait(stage.venue.visibility_delay_ms)
    for _ in range(3):
        status = await stage.venue.query(order.client_id)
        if status is None:
            failed("an accepted order is not known after the visibility delay")
        expect(status.lots == order.lots, f"an order of {order.lots} lots is known as one of {status.lots}")
    await stage.ended(order.client_id)


@card("C06", "open orders are those that may still be filled")
async def open_orders(stage: Stage) -> None:
    """An open order is listed, one that ended is not."""
    order = stage.order(stage.lots)
    first = await stage.venue.place(order)
    if first.word == "open":
        await stage.wait(0)
        known = [status.client_id for status in await stage.venue.open_orders()]
        ended = await stage.venue.query(order.client_id)
        expect(order.client_id in known or (ended is not None and ended.word != "open"), "an open order is not listed")
    await stage.ended(order.client_id)
    known = [status.client_id for status in await stage.venue.open_orders()]
    expect(order.client_id not in known, "an order that ended is listed as open")


@card("C07", "cancelling what has ended is harmless")
async def cancel_ended(stage: Stage) -> None:
    """Cancelling a filled order changes nothing, nor does cancelling an unknown one."""
    status, trades = await stage.traded(stage.lots)
    held = await stage.held()
    for key in (status.client_id, stage.client_id()):
        try:
            await stage.venue.cancel(key)
        except RefusedError:
            continue  # a refusal changes nothing either
    expect(await stage.venue.query(status.client_id) == status, "cancelling changed a filled order")
    expect(await stage.venue.fills(status.client_id) == trades, "cancelling changed the fills of a filled order")
    expect(await stage.held() == held, "cancelling changed the position")


@card("C08", "reduce-only never flips")
async def reduce_only(stage: Stage) -> None:
    """A reduce-only order of twice the position closes it; without a position it trades nothing."""
    for lots in (stage.lots, -stage.lots):
        await stage.traded(lots)
        await stage.traded(-2 * lots, reduce_only=True)
        held = await stage.held()
        expect(held * lots >= 0, f"{lots} lots became {held}")
        await stage.flatten()
        with contextlib.suppress(RefusedError):
            await stage.traded(lots, reduce_only=True)
        expect(await stage.held() == 0, "a reduce-only order opened a position")


@card("C09", "an order that comes late is refused")
async def late(stage: Stage) -> None:
    """An order that was signed longer ago than its window is refused and does not exist."""
    order = stage.order(stage.lots)
    await stage.wait(order.window_ms + _LATE_MS)
    await stage.refusal(order, f"signed {order.window_ms + _LATE_MS} ms ago")
    await _is_nothing(stage, order.client_id)


@card("C10", "an order of no lots, or of too many, is refused")
async def sizes(stage: Stage) -> None:
    """No lots are refused, and more than the largest order."""
    rules = await stage.rules()
    order = stage.order(0)
    await stage.refusal(order, "of no lots")
    await _is_nothing(stage, order.client_id)
    if rules.max_lots:
        order = stage.order(rules.max_lots + 1)
        refused = await stage.refusal(order, "above the largest size")
        expect(refused.code != "margin", "too large an order is refused for margin only")
        await _is_nothing(stage, order.client_id)


@card("C11", "an order below the least notional is refused")
async def least(stage: Stage) -> None:
    """The largest order that is still below the least notional is refused."""
    rules = await stage.rules()
    price = (await stage.price()).mark
    lots = int(Decimal(repr(rules.min_notional)) * Decimal("0.9") / (Decimal(rules.lot) * Decimal(repr(price))))
    if lots < 1:
        raise NotApplicableError("one lot is worth the least notional")
    order = stage.order(lots)
    await stage.refusal(order, f"of {lots} lots, below {rules.min_notional:g}")
    await _is_nothing(stage, order.client_id)


@card("C12", "a worst price off the tick is refused")
async def ticks(stage: Stage) -> None:
    """A worst price between two ticks is refused."""
    rules = await stage.rules()
    tick = Decimal(rules.tick)
    if not tick:
        raise NotApplicableError("the instrument has no tick")
    price = Decimal(repr((await stage.price()).mark)) // tick * tick * 2 + tick / 2
    order = stage.order(stage.lots, worst_price=float(price))
    await stage.refusal(order, f"with a worst price of {price}, the tick is {tick}")
    await _is_nothing(stage, order.client_id)


@card("C13", "no fill is beyond the worst price")
async def worst_price(stage: Stage) -> None:
    """An order whose worst price cannot be had trades nothing; one that can has no fill beyond it."""
    rules = await stage.rules()
    tick = Decimal(rules.tick)
    mark = Decimal(repr((await stage.price()).mark))
    for factor, fills in ((Decimal("0.97"), False), (Decimal("1.03"), True)):
        worst = float(mark * factor // tick * tick) if tick else float(mark * factor)
        order = stage.order(stage.lots, worst_price=worst)
        try:
            await stage.venue.place(order)
        except RefusedError:
            expect(not fills, f"a worst price of {worst} at a mark of {mark} was refused")
            continue
        status = await stage.ended(order.client_id)
        expect(bool(status.filled) is fills, f"worst price {worst} at a mark of {mark}: {status.filled} lots filled")
        beyond = [trade.price for trade in await stage.venue.fills(order.client_id) if trade.price > worst]
        expect(not beyond, f"fills at {beyond} are beyond the worst price {worst}")


@card("C14", "an unknown instrument is refused")
async def unknown_symbol(stage: Stage) -> None:
    """An order for an instrument that is not listed is refused and does not exist."""
    order = stage.order(stage.lots, symbol="NOSUCHTHING")
    await stage.refusal(order, "for an instrument that is not listed")
    await _is_nothing(stage, order.client_id)


@card("C15", "an order beyond the margin is refused")
async def beyond_margin(stage: Stage) -> None:
    """An order that the account's equity cannot carry at any leverage offered is refused."""
    rules, price = await stage.rules(), (await stage.price()).mark
    money = (await stage.venue.statement()).wallet.get(rules.asset, 0) / 1e8
    lots = int(Decimal(repr(1_000.0 * money)) / (Decimal(rules.lot) * Decimal(repr(price))))
    if rules.max_lots and lots > rules.max_lots:
        raise NotApplicableError("the largest order comes first")
    order = stage.order(max(lots, 1))
    await stage.refusal(order, "of a thousand times the wallet")
    await _is_nothing(stage, order.client_id)


async def _is_nothing(stage: Stage, client_id: str) -> None:
    await stage.wait(stage.venue.visibility_delay_ms)
    status = await stage.venue.query(client_id)
    expect(status is None or status.word in {"rejected", "expired"}, f"a refused order exists: {status}")
    expect(await stage.venue.fills(client_id) == [], "a refused order has fills")
