"""What a paper exchange acknowledged is there after any death of it, and a reload is the same exchange."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3

import msgspec
import pytest

from gearing.errors import InputError
from gearing.venues.paper import requests as rq
from gearing.venues.paper.__main__ import read_setup
from gearing.venues.paper.client import PaperClient
from gearing.venues.paper.draws import Draws
from gearing.venues.paper.file import PaperFile
from gearing.venues.paper.records import Rate
from gearing.venues.paper.setup import Faults, Latency
from gearing.venues.protocol import RefusedError, Setting
from tests.paper_market import T0, Desk, exchange_process, killed, listing, opened, order, quote, setup, started


def picture(exchange):
    """All that an exchange knows."""
    state = exchange.engine.state
    return (
        state.stood(), state.listings, state.quotes, state.accounts, list(state.orders.values()), state.live,
        state.rates, state.payments, state.forced, state.transfers, state.received,
    )  # fmt: skip


GIVEN = setup(
    listing(), listing("ETH", lot="0.01"), latency=Latency(match_ms=500),
    faults=Faults(partial=0.2, split=0.2, deleveraged=0.02, hidden=0.2), seed=6,
)  # fmt: skip


def busy(desk, steps=60):
    """Many things happen."""
    draws = Draws(1)
    for n in range(steps):
        for symbol, price in (("BTC", 40_000.0), ("ETH", 2_000.0)):
            desk.take(desk.now_ms + 1_000, round(price * (1 + 0.02 * draws.uniform()), 2), symbol)
        if n % 9 == 3:
            desk.control(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=desk.now_ms + 1_500, rate=1e-4)))
        if n % 20 == 7:
            desk.control(rq.Give(account="main", asset="USDT", amount=n))
        if n == 40:
            desk.control(rq.Resize(symbol="ETH", lot="0.001"))
        desk.send(rq.Place(order=order(f"n{desk.now_ms}", draws.below(81) - 40, desk.now_ms, ("BTC", "ETH")[n % 2])))
    desk.control(rq.SetRate(rate=Rate(symbol="BTC", settlement_ms=desk.now_ms + 9_000, rate=1e-4)))


def test_a_reload_is_the_same_exchange_and_goes_on_alike(tmp_path):
    path = tmp_path / "paper.db"
    desk = opened(GIVEN, file=PaperFile(path))
    desk.ask(rq.PutSetting(symbol="BTC", setting=Setting(leverage=12.0, margin_mode="cross")))
    busy(desk)
    before = picture(desk.exchange)
    assert len(before[4]) > 50
    assert before[5]
    assert before[6]
    assert before[7]
    assert before[8]
    desk.exchange.close()

    again = Desk(GIVEN, PaperFile(path))
    assert picture(again.exchange) == before
    # One that never stopped goes the same way.
    other = opened(GIVEN)
    other.ask(rq.PutSetting(symbol="BTC", setting=Setting(leverage=12.0, margin_mode="cross")))
    busy(other)
    busy(again, 30)
    busy(other, 30)
    assert picture(again.exchange) == picture(other.exchange)


def test_nothing_comes_out_that_could_not_be_made_durable(tmp_path):
    desk = opened(file=PaperFile(tmp_path / "paper.db"))
    call = desk.exchange.send("main", rq.Place(order=order("a", 10)))
    desk.exchange.run()
    desk.exchange._file.close()
    for _ in range(2):
        with pytest.raises(sqlite3.Error):
            desk.exchange.taken()
    assert call not in desk.answers


def test_prices_alone_are_not_written(tmp_path):
    desk = opened(file=PaperFile(tmp_path / "paper.db"))
    commits = []
    commit = desk.exchange._file.commit
    desk.exchange._file.commit = lambda *given: (commits.append(1), commit(*given))
    for n in range(100):
        desk.take(T0 + n, 40_000.0 + n)
    assert commits == []
    desk.place("a", 1)
    assert commits == [1]


def test_requests_that_come_together_share_a_commit(tmp_path):
    desk = opened(file=PaperFile(tmp_path / "paper.db"))
    commits = []
    commit = desk.exchange._file.commit
    desk.exchange._file.commit = lambda *given: (commits.append(1), commit(*given))
    for n in range(50):
        desk.exchange.send("main", rq.Place(order=order(f"a{n}", 1)))
    desk.exchange.run()
    desk.collect()
    assert len(desk.answers) == 50
    assert commits == [1]


def test_a_file_belongs_to_one_exchange_at_a_time(tmp_path):
    file = PaperFile(tmp_path / "paper.db")
    with pytest.raises(InputError, match="Stop the exchange that has it open"):
        PaperFile(tmp_path / "paper.db")
    file.close()
    PaperFile(tmp_path / "paper.db").close()


def test_files_of_something_else_are_refused(tmp_path):
    (tmp_path / "text").write_text("no database, only words, many of them, so that it is no empty file" * 9)
    with pytest.raises(InputError, match="cannot use its file"):
        PaperFile(tmp_path / "text")
    base = sqlite3.connect(tmp_path / "new")
    base.execute("PRAGMA user_version = 9")
    base.close()
    with pytest.raises(InputError, match="of version 9"):
        PaperFile(tmp_path / "new")


def test_a_setup_file_is_read_and_a_wrong_one_named(tmp_path):
    path = tmp_path / "setup.json"
    path.write_bytes(msgspec.json.encode(GIVEN))
    assert read_setup(path) == GIVEN
    path.write_text('{"seed": "many"}')
    with pytest.raises(InputError, match="no setup of a paper exchange"):
        read_setup(path)


async def fire(socket, process, rng, orders):
    """Sends orders without a pause until the exchange is killed; returns what was acknowledged."""
    client = PaperClient(socket, timeout_s=5.0)
    acknowledged, moved = {}, []
    started_at = T0 + 1 + orders[0]
    await client.control(rq.TakeQuotes(quotes=(quote(started_at, 40_000.0),)))
    stop_after = rng.randrange(5, 150)

    async def one(number):
        key = f"k{number}"
        asked = order(key, rng.choice([-3, -2, -1, 1, 2, 3]), started_at)
        try:
            acknowledged[key] = await client.place(asked)
        except RefusedError:
            pytest.fail("an order was refused")
        except (ConnectionError, TimeoutError):
            return
        if len(acknowledged) == stop_after:
            process.send_signal(signal.SIGKILL)

    async def paying(number):
        try:
            await client.transfer("USDT", 1_000 + number, f"t{number}")
        except (ConnectionError, TimeoutError):
            return
        moved.append(number)

    while process.poll() is None and orders[0] < 100_000:
        batch = [one(orders[0] + n) for n in range(7)] + [paying(orders[0])]
        orders[0] += 7
        await asyncio.gather(*batch)
    await client.close()
    return acknowledged, moved


async def look(socket, acknowledged, moved, orders):
    client = PaperClient(socket)
    for key, status in acknowledged.items():
        assert await client.query(key) == status
    fills = [trade for n in range(orders) for trade in await client.fills(f"k{n}")]
    statement = await client.statement()
    assert statement.positions.get("BTC", 0) == sum(trade.lots for trade in fills)
    wallet = statement.wallet["USDT"] - sum(trade.realised - trade.commission for trade in fills)
    for number in moved:
        with pytest.raises(RefusedError, match=f"was {1_000 + number} of USDT"):
            await client.transfer("USDT", 1, f"t{number}")
    await client.close()
    return wallet, [trade.trade_id for trade in fills]


def test_whatever_was_acknowledged_is_there_after_sigkill(tmp_path):
    """Killed at random points, the exchange knows every acknowledged order and transfer, and its sums still agree."""
    rng = random.Random(20)
    given = setup(latency=Latency(ahead_ms_max=10_000_000))
    with exchange_process(tmp_path, given) as socket:
        asyncio.run(fund(socket))
    acknowledged, moved, orders = {}, [], [0]
    for _ in range(4):
        process = started(tmp_path, given)
        found, paid = asyncio.run(fire(tmp_path / "s", process, rng, orders))
        killed(process)
        acknowledged |= found
        moved += paid
    with exchange_process(tmp_path, given) as socket:
        wallet, ids = asyncio.run(look(socket, acknowledged, moved, orders[0]))
    assert len(acknowledged) > 40
    assert len(ids) == len(set(ids)) >= len(acknowledged)
    arrived = wallet - 10**15
    assert arrived >= sum(1_000 + number for number in moved) > 0


def test_a_full_disk_stops_the_exchange_and_loses_nothing_acknowledged(tmp_path):
    async def until_it_stops(socket):
        client = PaperClient(socket, timeout_s=2.0)
        await client.control(rq.TakeQuotes(quotes=(quote(T0, 40_000.0),)))
        await client.transfer("USDT", 10**15, "capital")
        for n in range(2_000):
            try:
                await client.place(order(f"a{n}", 1))
            except (ConnectionError, TimeoutError):
                await client.close()
                return n
        pytest.fail("the disk was never full")

    process = started(tmp_path, setup(), file_blocks_max=500)
    acknowledged = asyncio.run(until_it_stops(tmp_path / "s"))
    assert process.wait(5) == 2
    assert "cannot write its file" in process.stderr.read()
    killed(process)
    assert acknowledged > 10
    again = Desk(setup(), PaperFile(tmp_path / "paper.db"))
    assert all(known.word == "filled" for known in again.exchange.engine.state.orders.values())
    assert {f"main/a{n}" for n in range(acknowledged)} <= set(again.exchange.engine.state.orders)
    assert again.statement().positions["BTC"] >= acknowledged


async def fund(socket):
    client = PaperClient(socket)
    await client.control(rq.TakeQuotes(quotes=(quote(T0, 40_000.0),)))
    await client.transfer("USDT", 10**15, "capital")
    await client.close()


def test_a_client_times_out_and_never_guesses(tmp_path):
    given = setup(faults=Faults(answer_lost=1.0))

    async def ask(socket):
        client = PaperClient(socket, timeout_s=0.2)
        await client.control(rq.TakeQuotes(quotes=(quote(T0, 40_000.0),)))
        with pytest.raises(TimeoutError):
            await client.transfer("USDT", 10**12, "capital")
        with pytest.raises(TimeoutError):
            await client.place(order("a", 10))
        await client.close()

    with exchange_process(tmp_path, given) as socket:
        asyncio.run(ask(socket))
    # The answers were lost, not the order.
    again = Desk(setup(), PaperFile(tmp_path / "paper.db"))
    assert again.statement().positions == {"BTC": 10}


def test_a_client_learns_of_gateways_and_broken_connections(tmp_path):
    async def learned(socket):
        client = PaperClient(socket, timeout_s=1.0)
        await client.control(rq.TakeQuotes(quotes=(quote(T0, 40_000.0),)))
        kinds = set()
        for n in range(60):
            try:
                await client.query(f"q{n}")
            except Exception as error:
                kinds.add(type(error).__name__)
        await client.close()
        return kinds

    with exchange_process(tmp_path, setup(faults=Faults(dropped=0.2, busy=0.2, error=0.2))) as socket:
        assert asyncio.run(learned(socket)) == {"GatewayError", "ConnectionError"}


def test_without_an_exchange_a_client_cannot_connect(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        asyncio.run(PaperClient(tmp_path / "nobody").statement())
