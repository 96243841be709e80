"""How a desk starts on a damaged database: what is damaged stops alone, and makes no money."""

from __future__ import annotations

import asyncio
from contextlib import closing
from types import SimpleNamespace

import msgspec
import pytest

from gearing.core import book as bk
from gearing.core import holder as ho
from gearing.core.dealing import bearing
from gearing.core.money import MINOR
from gearing.desk.boot import boot
from gearing.desk.config import TokenEntry
from gearing.desk.counter import answer
from gearing.desk.desk import Desk, prepare
from gearing.desk.happenings import happenings
from gearing.desk.inbox import Inbox
from gearing.desk.keeper import commit_of
from gearing.desk.logs import DeskLog
from gearing.desk.past import unlaunched
from gearing.desk.planned import differing
from gearing.desk.requests import AskQuote, Cancel, Deal, HandOn, Operate, Pay, TakeQuote, encode
from gearing.desk.view import stored_view
from gearing.desk.watchdog import Watchdog
from gearing.drive.breakers import BreakerLimits
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from gearing.drive.primary import Primary
from gearing.errors import InputError
from gearing.store.database import connect, init_database
from gearing.store.records import Request
from gearing.store.store import Store
from gearing.store.survey import is_empty, survey
from gearing.store.verify import verify
from gearing.venues.paper.engine import Engine
from gearing.venues.paper.file import PaperFile
from gearing.venues.protocol import InstrumentRules, OrderStatus, Quote, Trade
from tests import test_acceptances
from tests.journals import rows_of
from tests.lives import NOON_MS, token
from tests.test_desk_goes_on import begun, plan_of
from tests.test_primary import COSTS, market
from tests.test_store_dealing import Kept, busy, kept

__all__ = ["kept"]


def damage(path, *statements):
    with closing(connect(path)) as raw:
        for statement in statements:
            raw.executescript(statement)


def no_state(stream):
    return f"DELETE FROM states WHERE stream = '{stream}'"


def garbled(stream):
    return f"UPDATE states SET body = x'7b7d' WHERE stream = '{stream}'"


def removed(stream):
    return f"{no_state(stream)}; DELETE FROM journal WHERE stream = '{stream}'"


def no_end(stream):
    return (f"{no_state(stream)}; DELETE FROM journal WHERE stream = '{stream}' AND seq = "
            f"(SELECT max(seq) FROM journal WHERE stream = '{stream}')")  # fmt: skip


class Booted:
    """A desk that begins on a database, driven by hand; what comes of it is kept there."""

    def __init__(self, path, now_ms, symbols=("A",)):
        self.store, self.now_ms, self.symbols, self.trades = Store(path), now_ms, symbols, 0
        found = boot(self.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=now_ms)
        self.driver, self.alarms, self.faults = found.driver, list(found.alarms), found.faults
        self.primary, self.it = self.driver.primary, self.driver.by_name.get("T")
        for book in self.driver.books.values():  # the engine reads them before anything else
            self.driver.on_rules(book, [
                InstrumentRules(symbol=symbol, asset=one.spec.token.settlement, lot=leg.lot)
                for one in book.tokens for symbol, leg in zip(one.symbols, one.state.legs, strict=True)
            ], now_ms)  # fmt: skip
            self.driver.go_on(book.tokens, now_ms)  # as the first price does
        self.lines = self.take()

    def take(self):
        effects = self.driver.taken()
        self.alarms += effects.alarms
        self.store.commit([commit_of(effects, rows_of(effects), ())])
        self.told = happenings(effects)
        return effects.lines

    def quote(self, mark=100.0, after_ms=60_000):
        self.now_ms += after_ms
        self.driver.on_quotes(
            [Quote(symbol=s, time_ms=self.now_ms, mark=mark, index=mark) for s in self.symbols], self.now_ms
        )
        self.take()

    def fill(self, price=100.0):
        """Fills every order that is under way."""
        for book in self.driver.books.values():
            for order in list(book.state.live.values()):
                self.trades += 1
                self.driver.on_trade(book, Trade(
                    trade_id=f"b{self.trades}", client_id=order.id, symbol=order.symbol, lots=order.lots, price=price,
                    commission=0, asset="USDT", realised=0, time_ms=self.now_ms))  # fmt: skip
                self.driver.on_status(book, OrderStatus(
                    client_id=order.id, symbol=order.symbol, lots=order.lots, reason="", word="filled",
                    filled=order.lots, time_ms=self.now_ms))  # fmt: skip
        self.take()

    def ask(self, wanted):
        answered = answer(self.driver, wanted, self.now_ms)
        self.take()
        return answered

    def said(self, words):
        return any(words in one for one in self.alarms)

    def units(self, name):
        return self.primary.state_of(name).units("T")


@pytest.fixture
def begins(request):
    """Begins a desk on a database, as often as is wanted."""
    found = []

    def begin(kept, **more):
        found.append(Booted(kept.path, kept.now_ms + 1_000 * (1 + len(found)), **more))
        return found[-1]

    yield begin
    for one in found:
        one.store.close()


def handed_on(kept, units=None):
    """Everything that was issued passes to a client of the issuer."""
    units = units or kept.units(ho.ISSUER)
    wanted = HandOn(holder=ho.ISSUER, other="EX", token="T", amount=units, reference="x")
    assert answer(kept.driver, wanted, kept.now_ms).done
    kept.take()


def test_a_flow_under_way_at_a_restart_waits_for_the_rules(kept):
    driver = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms).driver
    assert [book.awaits_rules for book in driver.books.values()] == [True]


@pytest.mark.parametrize("who", [ho.ISSUER, "EX"])
@pytest.mark.parametrize("how", [no_state, garbled, no_end, removed])
def test_units_of_a_damaged_holder_are_given_to_nobody(kept, begins, who, how):
    if who == "EX":
        handed_on(kept)
    issued = kept.it.state.balances.units
    kept.take()
    damage(kept.path, how(f"holder:{who}"))
    desk = begins(kept)
    assert not any(b'"granted"' in line.body for line in desk.lines)
    assert desk.units(ho.ISSUER) == 0
    assert f"holder:{who}" in desk.faults
    assert desk.said(f"holder:{who} is not run")
    if how in {no_state, garbled}:  # its lines still tell what it has, which is what was issued
        assert desk.said(f"holder:{who} still counts as the holder of 10,000.00000000 units of T")
        assert desk.primary.supply["T"] == issued
        assert desk.it.state.status == "open"
    else:
        assert desk.it.state.status == "halted"
        assert desk.said(f"T: U1: its holders have 0 units, it issued {issued}; not run are holder:{who}")


def test_units_are_told_by_the_state_where_the_lines_do_not(kept, begins):
    handed_on(kept)
    damage(kept.path, "UPDATE journal SET body = x'7b' WHERE stream = 'holder:EX'")
    desk = begins(kept)
    assert "holder:EX" in desk.faults
    assert desk.primary.supply["T"] == desk.it.state.balances.units
    assert desk.it.state.status == "open"


def test_lines_that_were_changed_tell_no_units(kept, begins):
    handed_on(kept)
    damage(kept.path, "UPDATE journal SET body = replace(CAST(body AS TEXT), '1000000000000', '2000000000000') "
                      "WHERE stream = 'holder:EX'", no_state("holder:EX"))  # fmt: skip
    desk = begins(kept)
    assert desk.primary.supply.get("T", 0) == 0
    assert desk.it.state.status == "halted"


@pytest.fixture
def older(tmp_path, monkeypatch):
    """A database of before there were holders."""
    monkeypatch.setattr(Primary, "grant_seed", lambda *_: None)
    init_database(tmp_path / "desk.db", "demo", NOON_MS)
    with Store(tmp_path / "desk.db", "demo") as store:
        monkeypatch.setattr(Kept, "store", store)
        desk = Kept(token("A", costs=COSTS))
        desk.opened()
        desk.take()
        desk.path = tmp_path / "desk.db"
        monkeypatch.undo()
        yield desk


def test_a_seed_of_before_there_were_holders_is_the_issuers(older, begins):
    desk = begins(older)
    assert desk.units(ho.ISSUER) == desk.it.state.balances.units > 0
    assert desk.it.state.status == "open"
    assert desk.alarms == []


@pytest.mark.parametrize("gap", [False, True])
def test_only_a_whole_journal_proves_that_nobody_held_units(older, begins, gap):
    if gap:
        damage(older.path, "UPDATE journal SET n = n + 1 WHERE n = (SELECT max(n) FROM journal)")
    desk = begins(older)
    assert (desk.units(ho.ISSUER) == 0) == gap
    assert desk.it.state.status == ("halted" if gap else "open")


def subscribed(kept, *names):
    for name in names:
        kept.deposit(name, 100_000)
        kept.ask(name, "subscribe", 10_000 * MINOR)
    kept.window()
    kept.take()


def test_a_damaged_holder_keeps_nobody_else_from_dealing(kept, begins):
    subscribed(kept, "h1", "h2")
    damage(kept.path, no_state("holder:h2"))
    desk = begins(kept)
    before = desk.units("h1")
    desk.quote(after_ms=100)
    assert desk.ask(Deal(holder="h1", token="T", side="subscribe", amount=10_000 * MINOR)).done
    desk.quote()
    desk.fill()
    assert desk.units("h1") > before
    assert desk.it.state.status == "open"


def flow_under_way(kept, side="subscribe", before=("h1", "h2")):
    subscribed(kept, *before)
    for name in ("h1", "h2"):
        kept.ask(name, side, 10_000 * MINOR if side == "subscribe" else kept.units(name) // 2)
    kept.take()
    kept.quote(100.0, after_ms=60_000)
    kept.take()
    assert {ask.holder for ask in kept.it.flow} == {"h1", "h2"}


def resume(desk):
    for book in desk.driver.books.values():
        if book.state.halted:
            desk.driver.note(book, bk.BookResumed(time_ms=desk.now_ms, by="ann", reason="looked"))


def test_of_all_that_a_token_dealt_its_start_reads_the_last_flow_alone(kept, begins, monkeypatch):
    subscribed(kept, "h1", "h2")
    for _ in range(3):
        kept.ask("h1", "subscribe", 100 * MINOR)
        kept.window()
    flow_under_way(kept)
    assert len(list(kept.store.tagged("token:T", "dealing_begun"))) == 6
    read, whole = [], Store.last_tagged

    def last_tagged(store, *what):
        read.append((*what, whole(store, *what)))
        return read[-1][-1]

    monkeypatch.setattr(Store, "tagged", lambda *what: pytest.fail(f"all lines of {what[1:]} are read"))
    monkeypatch.setattr(Store, "last_tagged", last_tagged)
    assert begins(kept).it.flow == kept.it.flow
    assert [one[:2] for one in read] == [("token:T", "launched"), ("token:T", "dealing_begun")]


@pytest.mark.parametrize("side", ["subscribe", "redeem"])
@pytest.mark.parametrize("how", [no_state, removed])
def test_a_flow_under_way_ends_for_the_others_and_is_owed_to_the_damaged(kept, begins, side, how):
    flow_under_way(kept, side)
    before = kept.units("h1")
    with closing(connect(kept.path)) as raw:
        state = raw.execute("SELECT * FROM states WHERE stream = 'holder:h2'").fetchone()
        lines = raw.execute("SELECT * FROM journal WHERE stream = 'holder:h2'").fetchall()
    damage(kept.path, how("holder:h2"))
    desk = begins(kept)
    assert "holder:h2" in desk.faults
    resume(desk)
    desk.fill()
    assert desk.it.flow == ()
    assert desk.it.state.dealing is msgspec.UNSET
    assert not desk.driver.books["main"].state.halted
    assert "h1.2" not in desk.primary.state_of("h1").requests
    assert (desk.units("h1") > before) == (side == "subscribe")
    (owed,) = desk.driver.books["main"].state.owed.values()
    assert (owed.holder, owed.dealt.id, owed.side) == ("h2", "h2.2", side)
    assert desk.said("T: request h2.2 of h2 was dealt (")
    if how is no_state:
        assert desk.it.state.status == "open"
        assert desk.primary.supply["T"] == desk.it.state.balances.units

    again = begins(kept)  # it stays owed over a restart, and nobody takes the name of whom it is owed to
    assert not again.ask(Pay(holder="h2", asset="USDT", amount=MINOR, reference="n", by="ann")).done
    assert again.said("T: request h2.2 of h2 was dealt (")
    assert again.primary.supply.get("T") == desk.primary.supply.get("T")
    with closing(connect(kept.path)) as raw, raw:
        raw.execute("INSERT INTO states VALUES (?, ?, ?, ?)", state)
        if how is removed:
            raw.executemany(f"INSERT INTO journal VALUES ({', '.join('?' * len(lines[0]))})", lines)
    assert {one.what for one in verify(kept.path).breaches} <= {"meta"}  # what is owed is counted
    repaired = begins(kept)
    assert repaired.driver.books["main"].state.owed is msgspec.UNSET
    assert repaired.units("h2") == desk.units("h1")
    assert repaired.primary.state_of("h2").requests == {}
    assert repaired.primary.requests("T") == []
    assert repaired.primary.supply["T"] == repaired.it.state.balances.units
    assert [one.words for one in repaired.told if one.kind == "share_booked"] == [
        "what request h2.2 was dealt is booked for its holder now"
    ]
    assert {one.what for one in verify(kept.path).breaches} <= {"meta"}


def test_nobody_takes_the_name_of_whom_its_first_units_are_owed_to(kept, begins):
    """All units are accounted for with what is owed, so nothing else tells that it is missing."""
    kept.deposit("h2", 100_000)
    flow_under_way(kept, before=("h1",))
    damage(kept.path, removed("holder:h2"))
    desk = begins(kept)
    resume(desk)
    desk.fill()
    (owed,) = desk.driver.books["main"].state.owed.values()
    assert (owed.holder, owed.side) == ("h2", "subscribe")
    again = begins(kept)
    assert again.primary.why_closed == ""
    assert again.ask(Pay(holder="h3", asset="USDT", amount=MINOR, reference="n", by="ann")).done
    answer = again.ask(Pay(holder="h2", asset="USDT", amount=MINOR, reference="n", by="ann"))
    assert not answer.done
    assert "a dealing is owed to it" in answer.words


def test_what_is_owed_is_booked_for_no_other_request_of_that_name(kept, begins):
    flow_under_way(kept)
    damage(kept.path, no_state("holder:h2"))
    desk = begins(kept)
    resume(desk)
    desk.fill()
    (owed,) = desk.driver.books["main"].state.owed.values()
    other = msgspec.structs.replace(owed, holder="h1", side="redeem",
                                    dealt=msgspec.structs.replace(owed.dealt, id="h1.3"))  # fmt: skip
    desk.quote(after_ms=100)
    assert desk.ask(Deal(holder="h1", token="T", side="subscribe", amount=20_000 * MINOR)).id == "h1.3"
    desk.driver.note(desk.driver.books["main"], bk.ShareOwed(time_ms=desk.now_ms, owed=other))
    before = desk.primary.state_of("h1")
    desk.primary.settle_owed(desk.now_ms)
    assert desk.primary.state_of("h1") == before
    assert set(desk.driver.books["main"].state.owed) == {"h1.3", "h2.2"}


def test_what_is_owed_is_owed_once():
    it = market().it
    dealt = ho.Dealt(time_ms=1, id="h.1", kind="hedged", units=5, cash=3, fee=0, bearing=bearing(it.spec, it.state))
    owed = bk.Owed(holder="h", token="T", side="redeem", dealt=dealt)
    event = bk.ShareOwed(time_ms=1, owed=owed)
    state = bk.book_step(bk.BookState(), event)
    assert state.owed["h.1"].units == -5
    with pytest.raises(bk.BookError, match=r"h\.1 is owed already"):
        bk.book_step(state, event)
    after = bk.book_step(state, bk.ShareBooked(time_ms=2, id="h.1"))
    assert after == bk.BookState()
    with pytest.raises(bk.BookError, match=r"nothing is owed for request h\.1"):
        bk.book_step(after, bk.ShareBooked(time_ms=3, id="h.1"))


# What is not run, and what holders may still do with it.


@pytest.mark.parametrize(("how", "may"), [(no_state, True), (garbled, True), (no_end, True), (removed, False)])
def test_a_request_in_a_token_that_is_not_run_is_cancelled_if_no_hedge_is_under_way_for_it(kept, begins, how, may):
    subscribed(kept, "h1")
    kept.ask("h1", "subscribe", 10_000 * MINOR)
    kept.take()
    damage(kept.path, how("token:T"))
    desk = begins(kept)
    assert desk.it is None
    answered = desk.ask(Cancel(holder="h1", id="h1.2"))
    assert answered.done == may
    if may:
        assert desk.primary.state_of("h1").cash("USDT", ho.HELD) == 0
    else:
        assert answered.words.startswith("T is not run now, and its journal does not say whether h1.2 is being dealt")


def test_nobody_takes_the_name_of_a_holder_of_whom_nothing_is_left(kept, begins):
    """No line names it, so any name that is new may be its own."""
    subscribed(kept, "h1", "h2")
    damage(kept.path, removed("holder:h2"))
    desk = begins(kept)
    assert desk.faults == {}
    answered = desk.ask(Pay(holder="h2", asset="USDT", amount=MINOR, reference="n", by="ann"))
    assert answered.words.startswith(
        "h2: it is no holder yet, and nobody becomes one while a holder may be missing; U1: its holders have "
    )
    assert desk.ask(Pay(holder="h1", asset="USDT", amount=MINOR, reference="n", by="ann")).done


@pytest.mark.parametrize(("stream", "why"), [("token:T", "it may be that"),
                                             ("book:main", "its journal does not say whether")])  # fmt: skip
def test_a_request_that_is_being_dealt_stays_where_its_token_is_not_run(kept, begins, stream, why):
    flow_under_way(kept)
    damage(kept.path, no_state(stream))
    desk = begins(kept)
    answered = desk.ask(Cancel(holder="h1", id="h1.2"))
    assert not answered.done
    assert answered.words == f"T is not run now, and {why} h1.2 is being dealt; it can be cancelled once T is repaired"


def test_a_request_whose_share_is_owed_is_not_cancelled_though_its_token_is_not_run(kept, begins):
    flow_under_way(kept)
    with closing(connect(kept.path)) as raw:
        state = raw.execute("SELECT * FROM states WHERE stream = 'holder:h2'").fetchone()
    damage(kept.path, no_state("holder:h2"))
    desk = begins(kept)
    resume(desk)
    desk.fill()
    assert set(desk.driver.books["main"].state.owed) == {"h2.2"}
    damage(kept.path, "UPDATE outbox SET status = 'ready', created_ms = 'x'")  # so that the book is not run
    with closing(connect(kept.path)) as raw, raw:
        raw.execute("INSERT INTO states VALUES (?, ?, ?, ?)", state)
    desk = begins(kept)
    assert set(desk.faults) == {"book:main", "token:T"}
    assert "it may be that h2.2 is being dealt" in desk.ask(Cancel(holder="h2", id="h2.2")).words


def test_a_journal_that_ends_before_its_state_does_not_tell_what_is_being_dealt(kept, begins):
    subscribed(kept, "h1")
    kept.ask("h1", "subscribe", 10_000 * MINOR)
    kept.take()
    damage(kept.path, "DELETE FROM journal WHERE stream = 'token:T' AND seq = (SELECT max(seq) FROM journal "
                      "WHERE stream = 'token:T')")  # fmt: skip
    desk = begins(kept)
    assert "does not say whether" in desk.ask(Cancel(holder="h1", id="h1.2")).words


def test_what_deals_in_a_token_that_is_not_run_is_rejected(kept, begins):
    subscribed(kept, "h1")
    damage(kept.path, no_state("token:T"))
    desk = begins(kept)
    for wanted in (
        Deal(holder="h1", token="T", side="redeem", amount=1, instant=True),
        AskQuote(holder="h1", token="T", side="redeem", amount=1),
        HandOn(holder="h1", other="h2", token="T", amount=1, reference="r"),
        TakeQuote(holder="h1", id="h1.q1"),
    ):
        assert not desk.ask(wanted).done
    assert desk.ask(Pay(holder="h1", asset="USDT", amount=-MINOR, reference="o", by="ann")).done


def test_a_quote_in_a_token_that_is_not_run_is_rejected_and_the_desk_goes_on(tmp_path):
    path = tmp_path / "desk.db"
    init_database(path, "demo", NOON_MS)
    with Store(path, "demo") as store:
        desk = quoted(store)
        assert desk.alarms == []
    damage(path, no_state("token:T"))

    async def asking(desk):
        taken = await desk.ask(test_acceptances.ACCEPT, "a")
        return taken, await desk.ask(test_acceptances.DEPOSIT, "d")

    with Store(path, "demo") as store:
        taken, paid = test_acceptances.served(store, asking)
    assert not taken.done
    assert taken.words == "quote h1.q1 cannot be accepted: T is not run now"
    assert paid.done


def quoted(store):
    """A database in which h1 has an open quote."""
    Kept.store = store
    try:
        desk = Kept(token("A", costs=COSTS, primary=test_acceptances.Terms(quote_valid="1h")))
        desk.opened()
        for name in ("h1", ho.DEALER):
            desk.deposit(name, 100_000)
        assert answer(desk.driver, test_acceptances.PRICED, desk.now_ms).done
        desk.take()
        return desk
    finally:
        Kept.store = None


# Rows that cannot be read.

_LAUNCHED = "WHERE stream = 'token:T' AND seq = 1"
_UNREADABLE = {
    "what was launched": f"UPDATE journal SET body = x'7b' {_LAUNCHED}",
    "what was launched, changed": f"UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), '\"target\":3.0', "
                                  f"'\"target\":2.0') AS BLOB) {_LAUNCHED}",
    "a rebalance": "UPDATE rebalances SET body = x'78' WHERE token = 'T'",
    "a row of the outbox": "INSERT INTO outbox VALUES ('o', 'main', x'78', 'unknown', 'x', 'x', 1)",
}  # fmt: skip


@pytest.mark.parametrize("what", _UNREADABLE)
def test_what_cannot_be_read_stops_its_book_and_no_desk(kept, begins, what):
    busy(kept)
    damage(kept.path, _UNREADABLE[what])
    desk = begins(kept)
    assert desk.driver.books == {}
    assert desk.said("book:main is not run")
    assert desk.said("cannot be read (") or what == "a row of the outbox"
    assert desk.ask(Pay(holder="h9", asset="USDT", amount=MINOR, reference="r", by="ann")).done


@pytest.mark.parametrize("stream", ["token:T", "book:main"])
def test_a_stream_that_was_removed_is_told(kept, begins, stream):
    subscribed(kept, "h1")
    damage(kept.path, removed(stream))
    desk = begins(kept)
    assert desk.driver.books == {}
    assert desk.said("token:T is not run: " + ("it has neither lines nor a state, and book:main holds it"
                                               if stream == "token:T" else "no book that is run holds it"))  # fmt: skip


@pytest.mark.parametrize("witness", ["holders", "navs", "outbox"])
def test_whatever_names_a_stream_tells_that_it_was_there(kept, witness):
    busy(kept)
    damage(kept.path, removed("token:T"), removed("book:main"))
    if witness != "holders":
        damage(kept.path, "DELETE FROM states WHERE stream LIKE 'holder:%'",
               "DELETE FROM journal WHERE stream LIKE 'holder:%'")  # fmt: skip
    if witness != "navs":
        damage(kept.path, "DELETE FROM navs", "DELETE FROM rebalances")
    if witness == "outbox":
        damage(kept.path, "UPDATE outbox SET status = 'ready'")
    with Store(kept.path) as store:
        faults = survey(store).faults
    assert ("book:main" if witness == "outbox" else "token:T") in faults


def test_a_token_whose_published_navs_cannot_be_read_is_halted(kept, begins):
    busy(kept)
    damage(kept.path, "UPDATE navs SET marks = 'x'")
    desk = begins(kept)
    engine = type("E", (), {"driver": desk.driver})()
    Watchdog(engine, desk.store, BreakerLimits(), desk.now_ms)
    assert desk.it.state.status == "halted"
    assert desk.it.why.startswith("breaker: what was published of it cannot be read")


# What a start launches.


_NOTHING = "DELETE FROM states"
_GONE = {
    "its token's state": no_state("token:BTC3L"),
    "its states": f"{no_state('token:BTC3L')}; {no_state('book:BTC3L')}",
    "every state": _NOTHING,
    "its token": removed("token:BTC3L"),
    "its streams": f"{removed('token:BTC3L')}; {removed('book:BTC3L')}",
    "all lines and states": f"{_NOTHING}; DELETE FROM journal",
}


@pytest.mark.parametrize("gone", _GONE)
def test_what_was_launched_is_never_launched_again(tmp_path, gone):
    plan = two_tokens(tmp_path)
    begun(plan).close()
    paper = plan.paper_file.read_bytes()
    damage(plan.database, _GONE[gone])
    lines = _lines(plan)
    with begun(plan) as store:
        assert _lines(plan) == lines
        assert plan.paper_file.read_bytes() == paper
        found = boot(store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=NOON_MS)
        assert "token:BTC3L" in found.faults
        assert ("ETH2L" in found.driver.by_name) == (gone not in {"every state", "all lines and states"})
        assert unlaunched(plan, found) == []


def two_tokens(place):
    return plan_of(place, TokenEntry(file="BTC3L.toml"), TokenEntry(file="ETH2L.toml"), history_days=0.5)


def _lines(plan):
    with closing(connect(plan.database)) as raw:
        return raw.execute("SELECT stream, seq, hash FROM journal ORDER BY n").fetchall()


@pytest.mark.parametrize("table", ["journal", "states", "navs", "rebalances", "outbox", "heads"])
def test_a_database_is_empty_only_without_a_row_in_any_table_that_a_desk_fills(tmp_path, table):
    path = tmp_path / "desk.db"
    init_database(path, "demo", NOON_MS)
    with Store(path) as store:
        assert is_empty(store)
        with closing(connect(path)) as raw:
            columns = [row[1:3] for row in raw.execute(f"PRAGMA table_info({table})")]
            values = {"kind": "minute", "status": "done"}
            raw.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})",
                        [values.get(name, "1") for name, _ in columns])  # fmt: skip
        assert not is_empty(store)


def test_a_new_token_is_not_launched_while_the_issuer_is_damaged(tmp_path):
    begun(plan_of(tmp_path, TokenEntry(file="BTC3L.toml"), history_days=0.5)).close()
    plan = two_tokens(tmp_path)
    damage(plan.database, no_state("holder:issuer"))
    with begun(plan) as store:
        found = boot(store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=NOON_MS)
        assert set(found.driver.by_name) == {"BTC3L"}
        assert unlaunched(plan, found) == [
            "ETH2L is not launched: holder:issuer, which is given the first units, is not run"
        ]


def test_a_desk_says_what_it_does_not_launch_and_runs_the_rest(tmp_path):
    begun(plan_of(tmp_path, TokenEntry(file="BTC3L.toml"), history_days=0.5)).close()
    plan = two_tokens(tmp_path)
    damage(plan.database, no_state("holder:issuer"))
    heard = []

    async def runs():
        stop = asyncio.Event()
        with closing(DeskLog(None, "demo")) as log:
            desk = Desk(plan, prepare(plan, lambda done, total: None), log, heard.append)
            running = asyncio.ensure_future(desk.run(stop))
            while not desk.is_ready:
                await asyncio.sleep(0.01)
            stop.set()
            await running

    asyncio.run(asyncio.wait_for(runs(), 30.0))
    words = [one.words for one in heard]
    assert any(one.startswith("ETH2L is not launched: holder:issuer") for one in words)
    assert any(one.startswith("holder:issuer is not run") for one in words)


@pytest.mark.parametrize("witness", ["its token", "its orders"])
def test_a_new_token_does_not_join_a_book_that_is_missing(tmp_path, witness):
    one, two = TokenEntry(file="BTC3L.toml", book="main"), TokenEntry(file="ETH2L.toml", book="main")
    begun(plan_of(tmp_path, one, history_days=0.5)).close()
    plan = plan_of(tmp_path, *([one] if witness == "its token" else []), two, history_days=0.5)
    damage(plan.database, removed("book:main"), removed("token:BTC3L"))
    if witness == "its token":
        damage(plan.database, "DELETE FROM outbox")
    with pytest.raises(InputError, match="ETH2L is new, and book main trades already"):
        begun(plan)


def test_a_new_token_leaves_the_exchange_what_it_keeps_for_the_others(tmp_path):
    begun(plan_of(tmp_path, TokenEntry(file="BTC3L.toml"), history_days=0.5)).close()
    plan = two_tokens(tmp_path)
    begun(plan).close()
    with closing(PaperFile(plan.paper_file)) as file:
        kept = Engine(plan.setup(quick=True), file.load(plan.setup(quick=True)))
        assert kept.statement("BTC3L").positions


# Those who only look.


def test_a_damaged_token_hides_no_other_from_those_who_look(tmp_path):
    plan = two_tokens(tmp_path)
    begun(plan).close()
    damage(plan.database, "UPDATE journal SET body = x'7b' WHERE stream = 'token:BTC3L' AND seq = 1")
    with Store(plan.database) as store:
        view = stored_view(store, running=False)
        assert [one.outlook.token for one in view.tokens] == ["ETH2L"]
        assert view.happenings[0].words.startswith("book:BTC3L cannot be read (")
        assert differing(plan, store) == {}


# U1 before anything is dealt.


def test_nothing_is_dealt_while_holders_have_other_units_than_were_issued():
    desk = market()
    desk.deposit("h1", 1_000)
    desk.ask("h1", "subscribe", 1_000 * MINOR)
    desk.primary.supply["T"] -= 1
    assert desk.window() == []
    assert desk.it.state.status == "halted"
    assert "h1.1" in desk.primary.state_of("h1").requests


def test_a_closed_token_pays_nobody_while_holders_have_other_units_than_were_issued():
    desk = market()
    desk.ask(ho.ISSUER, "redeem", MINOR)
    desk.driver.operate(desk.it, "close", "ann", "over", desk.now_ms)
    desk.primary.supply["T"] += 1
    desk.filled(desk.take())
    assert desk.it.state.status == "closed"
    for _ in range(2):
        desk.window()
    assert "issuer.1" in desk.primary.state_of(ho.ISSUER).requests
    assert sum("redemptions are paid out once they are the same" in words for words in desk.alarms) == 1
    desk.primary.supply["T"] -= 1
    desk.window()
    assert "issuer.1" not in desk.primary.state_of(ho.ISSUER).requests


def test_no_token_is_closed_while_its_dealing_account_is_not_run(kept, begins):
    """It may have given out units; its last holder would find nothing left."""
    kept.deposit("dealer", 1_000)
    kept.take()
    damage(kept.path, no_state("holder:dealer"))
    desk = begins(kept)
    engine = SimpleNamespace(driver=desk.driver, clock=SimpleNamespace(now_ms=lambda: desk.now_ms))
    close = encode(Operate(action="close", token="T", by="ann", reason="r"))
    answered = Inbox(engine, None).carry_out(Request(1, "ann", "k", close))
    assert not answered.done
    assert "cannot be closed while its dealing account is not run" in answered.words
