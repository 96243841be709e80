"""The cards: the paper exchange passes them in process and over a socket, and a venue with one bug fails its card."""

from __future__ import annotations

import asyncio
import json

import pytest
from msgspec.structs import replace

from gearing.cli.main import main
from gearing.venues.conformance import DECK, play, play_all
from gearing.venues.paper.client import PaperClient
from gearing.venues.paper.stage import paper_stage, stage_of, stage_setup
from gearing.venues.protocol import OrderStatus, RefusedError, Trade
from tests.paper_market import exchange_process


def wrong(verdicts):
    return [verdict for verdict in verdicts if verdict.outcome != "passed"]


@pytest.mark.parametrize("seed", range(3))
def test_the_engine_passes_every_card(seed):
    async def played():
        return await play_all(await paper_stage(seed=seed))

    verdicts = asyncio.run(played())
    assert len(verdicts) == len(DECK) >= 25
    assert wrong(verdicts) == []


def test_the_process_behind_a_socket_passes_every_card(tmp_path):
    async def played(socket):
        client = PaperClient(socket)
        verdicts = await play_all(await stage_of(client, client.control))
        await client.close()
        return verdicts

    with exchange_process(tmp_path, stage_setup()) as socket:
        assert wrong(asyncio.run(played(socket))) == []


def test_the_command_says_so(capsys):
    assert main(["venue", "check", "paper"]) == 0
    shown = capsys.readouterr().out
    assert f"{len(DECK)} of {len(DECK)} cards passed" in shown
    assert main(["venue", "check", "paper", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [card["number"] for card in found["cards"]] == sorted(DECK)


def test_the_command_knows_no_other_venue(capsys):
    assert main(["venue", "check", "moon"]) == 2
    assert "there is no venue 'moon'" in capsys.readouterr().err


class Broken:
    """A venue with one bug: some of its methods are replaced by functions of the sound venue."""

    def __init__(self, sound, stage, **bugs):
        self._sound, self._stage, self._bugs = sound, stage, bugs
        self.seen = []

    def __getattr__(self, name):
        bug = self._bugs.get(name)
        if bug is None:
            return getattr(self._sound, name)
        return lambda *given: bug(self, self._sound, *given)


def changed_fills(**how):
    async def fills(self, sound, key):
        return [replace(t, **{k: f(t) for k, f in how.items()}) for t in await sound.fills(key)]

    return fills


def changed_order(change):
    async def place(self, sound, order):
        return await sound.place(change(self, order))

    return place


def changed_statement(change):
    async def statement(self, sound):
        self.seen.append(1)
        return change(self, await sound.statement())

    return statement


async def query_nothing_filled(self, sound, key):
    status = await sound.query(key)
    return status and replace(status, filled=0, word="cancelled" if status.word == "filled" else status.word)


async def query_invents(self, sound, key):
    return await sound.query(key) or OrderStatus(client_id=key, symbol="X", word="filled", lots=1, filled=1, time_ms=0)


async def place_twice(self, sound, order):
    try:
        return await sound.place(order)
    except RefusedError as refused:
        if refused.code != "duplicate":
            raise
        return await sound.query(order.client_id)


async def fills_lose_one(self, sound, key):
    return (await sound.fills(key))[1:]


async def query_forgets(self, sound, key):
    return None


async def open_for_ever(self, sound):
    return await sound.open_orders() + [await sound.query(key) for key in self.seen]


async def place_noted(self, sound, order):
    status = await sound.place(order)
    self.seen.append(order.client_id)
    return status


async def cancel_trades(self, sound, key):
    await sound.place(self._stage.order(-self._stage.lots))
    await self._stage.wait(1_000)


async def set_nothing(self, sound, symbol, setting):
    return None


async def received_nothing(self, sound, since_ms):
    return []


async def transfer_again(self, sound, asset, amount, reference):
    self.seen.append(1)
    await sound.transfer(asset, amount, f"{reference}x{len(self.seen)}")


async def funding_turned(self, sound, since_ms):
    return [replace(p, amount=-p.amount) for p in await sound.funding_payments(since_ms)]


async def settlements_of_nothing(self, sound, symbol, since_ms):
    return []


async def rules_of_nothing(self, sound):
    return [replace(rules, lot="0.0000001") for rules in await sound.instruments()]


async def quotes_dated_back(self, sound, symbols):
    async for quote in sound.quotes(symbols):
        self.seen.append(1)
        yield replace(quote, time_ms=quote.time_ms - len(self.seen) * 5_000)


async def reports_double(self, sound):
    async for report in sound.reports():
        yield replace(report, lots=2 * report.lots) if isinstance(report, Trade) else report


async def reports_unfilled(self, sound):
    async for report in sound.reports():
        yield replace(report, filled=0) if isinstance(report, OrderStatus) else report


def clipped(self, order):
    return replace(order, lots=max(-1_000, min(1_000, order.lots)))


BUGS = {
    "C01": ("ended as cancelled", {"query": query_nothing_filled}),
    "C02": ("never placed is known", {"query": query_invents}),
    "C03": ("under the id of a live one was accepted", {"place": place_twice}),
    "C04": ("fills sum to", {"fills": fills_lose_one}),
    "C05": ("not known after the visibility delay", {"query": query_forgets}),
    "C06": ("listed as open", {"open_orders": open_for_ever, "place": place_noted}),
    "C07": ("cancelling changed the position", {"cancel": cancel_trades}),
    "C08": ("became", {"place": changed_order(lambda self, o: replace(o, reduce_only=False))}),
    "C09": ("signed 12000 ms ago was accepted",
            {"place": changed_order(lambda self, o: replace(o, signed_ms=self._stage.now_ms()))}),
    "C10": ("above the largest size was accepted", {"place": changed_order(clipped)}),
    "C11": ("below 100 was accepted",
            {"place": changed_order(lambda self, o: replace(o, lots=max(o.lots, self._stage.lots)))}),
    "C12": ("the tick is 0.1 was accepted",
            {"place": changed_order(lambda self, o: replace(o, worst_price=None))}),
    "C13": ("lots filled", {"place": changed_order(lambda self, o: replace(o, worst_price=None))}),
    "C14": ("not listed was accepted", {"place": changed_order(lambda self, o: replace(o, symbol="BTCUSDT"))}),
    "C15": ("a thousand times the wallet was accepted", {"place": changed_order(clipped)}),
    "C21": ("a commission of -", {"fills": changed_fills(commission=lambda t: -t.commission)}),
    "C22": ("the position is", {"statement": changed_statement(
        lambda self, s: replace(s, positions={k: abs(n) for k, n in s.positions.items()}))}),
    "C23": ("its parts give", {"fills": changed_fills(commission=lambda t: t.commission + 1)}),
    "C24": ("by average cost", {"fills": changed_fills(realised=lambda t: t.realised - t.realised // 7)}),
    "C25": ("wallet changed without a trade", {"statement": changed_statement(
        lambda self, s: replace(s, wallet={k: n + len(self.seen) for k, n in s.wallet.items()}))}),
    "C26": ("was set", {"set_setting": set_nothing}),
    "C27": ("sent twice under one reference", {"transfer": transfer_again}),
    "C28": ("the formula gives", {"funding_payments": funding_turned}),
    "C30": ("was told 0 times", {"settlements": settlements_of_nothing}),
    "C34": ("it told [", {"received": received_nothing}),
    "C29": ("below the least notional", {"instruments": rules_of_nothing}),
    "C31": ("dated back", {"quotes": quotes_dated_back}),
    "C32": ("none of the fills", {"reports": reports_double}),
    "C33": ("the query says", {"reports": reports_unfilled}),
}  # fmt: skip


def test_every_card_has_its_bug():
    assert sorted(BUGS) == sorted(DECK)


@pytest.mark.parametrize("number", sorted(BUGS))
def test_a_venue_with_one_bug_fails_its_card(number):
    words, bugs = BUGS[number]

    async def played():
        stage = await paper_stage(seed=1)
        assert (await play(DECK[number], stage)).outcome == "passed"
        stage.venue = Broken(stage.venue, stage, **bugs)
        return await alone(stage)

    async def alone(stage):
        # The card alone: flattening before and after it is not what is tested.
        try:
            await DECK[number].play(stage)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "passed"

    found = asyncio.run(played())
    assert found.startswith("CardFailedError"), found
    assert words in found
