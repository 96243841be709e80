"""Cards C21 to C30: what becomes of positions and money."""

from __future__ import annotations

from decimal import Decimal

from gearing.venues.conformance.deck import card
from gearing.venues.conformance.stage import NotApplicableError, Stage, expect, notional, wallet_of
from gearing.venues.protocol import RefusedError, Setting, Trade


@card("C21", "commission is known with its asset")
async def commission(stage: Stage) -> None:
    """Every fill names a commission of at least 0 and the asset it is in, which the account has."""
    for lots in (stage.lots, -stage.lots):
        _, trades = await stage.traded(lots)
        statement = await stage.venue.statement()
        for trade in trades:
            expect(trade.commission >= 0, f"a commission of {trade.commission}")
            expect(trade.asset in statement.wallet, f"a commission in {trade.asset!r}, which the account has not")


@card("C22", "positions change by fills")
async def positions(stage: Stage) -> None:
    """After opening, adding, reducing and turning, the position is what the fills sum to."""
    held = await stage.held()
    for lots in (stage.lots, stage.lots, -stage.lots, -3 * stage.lots):
        status, _ = await stage.traded(lots)
        held += status.filled
        now = await stage.held()
        expect(now == held, f"the position is {now} lots, fills sum to {held}")


@card("C23", "the wallet changes by realised profit less commission")
async def wallet(stage: Stage) -> None:
    """To the minor unit, with the funding that was settled meanwhile."""
    asset = await stage.asset()
    before = await stage.venue.statement()
    expected = wallet_of(before, asset)
    for lots in (stage.lots, stage.lots, -3 * stage.lots, stage.lots):
        _, trades = await stage.traded(lots)
        expected += sum(trade.realised for trade in trades)
        expected -= sum(trade.commission for trade in trades if trade.asset == asset)
        await stage.wait(60_000)
    now = await stage.venue.statement()
    expected += sum(payment.amount for payment in await stage.venue.funding_payments(before.time_ms))
    expect(wallet_of(now, asset) == expected, f"the wallet is {wallet_of(now, asset)}, its parts give {expected}")


@card("C24", "realised profit goes by average cost")
async def realised(stage: Stage) -> None:
    """Within a minor unit for each fill, the profit of what was closed is its price less the average cost."""
    rules, trades = await stage.rules(), list[Trade]()
    for lots in (stage.lots, 2 * stage.lots, -stage.lots, -4 * stage.lots, 2 * stage.lots):
        trades += (await stage.traded(lots))[1]
        await stage.wait(60_000)
    held, cost = 0, Decimal(0)
    for count, trade in enumerate(trades, start=1):
        closed = 0
        if held * trade.lots < 0:
            closed = min(abs(held), abs(trade.lots)) * (1 if held > 0 else -1)
        average = cost / held if held else Decimal(0)
        profit = notional(closed, rules, trade.price) - average * closed
        held, cost = held + trade.lots, cost + notional(trade.lots, rules, trade.price) + profit
        apart = abs(Decimal(trade.realised) - profit * 10**8)
        expect(apart <= count + 1, f"trade {trade.trade_id} realised {trade.realised}, by average cost {profit:.8f}")


@card("C25", "statements are consistent")
async def statements(stage: Stage) -> None:
    """Nothing changes while nothing is traded; a position asks for maintenance by its brackets."""
    rules = await stage.rules()
    await stage.traded(stage.lots)
    first, second = await stage.venue.statement(), await stage.venue.statement()
    expect(first.positions == second.positions, "positions changed without a trade")
    expect(first.wallet == second.wallet, "the wallet changed without a trade")
    expect(second.time_ms >= first.time_ms, "the second statement is dated before the first")
    asked = second.maintenance.get(rules.asset, 0)
    expect(not rules.tiers or asked > 0, "a position asks for no maintenance margin in spite of its brackets")
    await stage.flatten()
    last = await stage.venue.statement()
    expect(stage.symbol not in last.positions or last.positions[stage.symbol] == 0, "a closed position is still there")
    expect(last.maintenance.get(rules.asset, 0) < max(asked, 1), "a closed position still asks for margin")


@card("C26", "leverage and margin mode are read back")
async def settings(stage: Stage) -> None:
    """What was set is what is read, and what is not offered is refused and changes nothing."""
    before = await stage.venue.setting(stage.symbol)
    for wanted in (Setting(leverage=3.0, margin_mode="cross"), Setting(leverage=2.0, margin_mode="isolated"), before):
        await stage.venue.set_setting(stage.symbol, wanted)
        found = await stage.venue.setting(stage.symbol)
        expect(found == wanted, f"{wanted} was set, {found} is read")
    try:
        await stage.venue.set_setting(stage.symbol, Setting(leverage=1e6, margin_mode="cross"))
    except RefusedError:
        found = await stage.venue.setting(stage.symbol)
        expect(found == before, f"a refused setting left {found}")
    else:
        expect(False, "a leverage of a million was accepted")


@card("C27", "a transfer is made once per reference")
async def transfers(stage: Stage) -> None:
    """The same reference again changes nothing; another one takes the money out again."""
    asset, key = await stage.asset(), stage.client_id()
    before = wallet_of(await stage.venue.statement(), asset)
    for _ in range(2):
        await stage.venue.transfer(asset, 12_345, key)
    now = wallet_of(await stage.venue.statement(), asset)
    expect(now == before + 12_345, f"12,345 minor units, sent twice under one reference, made {now - before}")
    await stage.venue.transfer(asset, -12_345, key + "b")
    now = wallet_of(await stage.venue.statement(), asset)
    expect(now == before, f"after taking them out the wallet differs by {now - before}")


@card("C34", "money that came unasked is told, once")
async def unasked(stage: Stage) -> None:
    """With what came and an id of its own; what was moved in by a transfer is not among it."""
    if stage.give is None:
        raise NotApplicableError("nobody here can send money into the account")
    asset, before = await stage.asset(), await stage.venue.statement()
    await stage.venue.transfer(asset, 12_345, stage.client_id())
    for amount in (777, 888):
        await stage.wait(1_000)
        await stage.give(amount)
    told = [it for it in await stage.venue.received(before.time_ms) if it.asset == asset]
    expect([it.amount for it in told] == [777, 888], f"of 777 and 888 minor units it told {told}")
    expect(len({it.id for it in told}) == 2, "two arrivals have one id")
    later = await stage.venue.received(told[0].time_ms)
    expect([it.id for it in later] == [told[1].id], "those after the first are not the second alone")
    now = wallet_of(await stage.venue.statement(), asset) - wallet_of(before, asset)
    expect(now == 12_345 + 777 + 888, f"the wallet changed by {now}")
    await stage.venue.transfer(asset, -now, stage.client_id())


@card("C28", "funding is size times mark times rate")
async def funding(stage: Stage) -> None:
    """Within a minor unit, on the size held, once per settlement, and longs pay where the rate is above 0."""
    if stage.settle is None:
        raise NotApplicableError("settlements come when they come")
    rules = await stage.rules()
    await stage.traded(stage.lots)
    before = await stage.venue.statement()
    await stage.settle()
    after = await stage.venue.statement()
    payments = [p for p in await stage.venue.funding_payments(before.time_ms) if p.symbol == stage.symbol]
    expect(len(payments) == 1, f"one settlement made {len(payments)} payments")
    paid = payments[0]
    expect(paid.lots == before.positions[stage.symbol], f"it was worked out on {paid.lots} lots")
    exact = -notional(paid.lots, rules, paid.mark) * Decimal(repr(paid.rate)) * 10**8
    expect(abs(paid.amount - exact) <= 1, f"{paid.amount} was paid, the formula gives {exact:.2f}")
    change = wallet_of(after, rules.asset) - wallet_of(before, rules.asset)
    expect(change == paid.amount, f"{paid.amount} was paid, the wallet changed by {change}")


@card("C30", "a settlement is told to who holds nothing")
async def told_to_all(stage: Stage) -> None:
    """With rate and mark, once, though it paid this account nothing."""
    if stage.settle is None:
        raise NotApplicableError("settlements come when they come")
    before = await stage.venue.statement()
    expect(before.positions.get(stage.symbol, 0) == 0, "the account is not flat")
    await stage.settle()
    told = await stage.venue.settlements(stage.symbol, before.time_ms)
    expect(len(told) == 1, f"one settlement was told {len(told)} times")
    expect(told[0].symbol == stage.symbol and told[0].mark > 0, f"it was told as {told[0]}")
    paid = [p for p in await stage.venue.funding_payments(before.time_ms) if p.symbol == stage.symbol]
    expect(paid == [], f"nothing was held, and {paid} was paid")


@card("C29", "rules make sense")
async def rules_make_sense(stage: Stage) -> None:
    """Lot and tick are decimals, brackets rise, the ordinary order fits."""
    rules = await stage.rules()
    expect(Decimal(rules.lot) > 0, f"a lot of {rules.lot}")
    expect(Decimal(rules.tick) >= 0, f"a tick of {rules.tick}")
    edges = [tier.notional_max for tier in rules.tiers]
    expect(edges == sorted(edges), f"brackets do not rise: {edges}")
    expect(all(tier.rate > 0 for tier in rules.tiers), "a bracket asks for nothing")
    price = (await stage.price()).mark
    value = float(notional(stage.lots, rules, price))
    expect(value >= rules.min_notional, f"the ordinary order of {value:g} is below the least notional")
