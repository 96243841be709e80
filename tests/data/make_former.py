"""Makes `former.db`, a desk's database as the program of commit f7cf1fd left it: schema 3, behaviours 6 and 7.

Run it in a checkout of that commit, with that checkout's `src` and root in `PYTHONPATH`:
`python make_former.py former.db`. Behaviour 6 is a number only: the steps are those of 7.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from tests.lives import HOUR_MS, NOON_MS, token
from tests.test_primary import COSTS, Market

import gearing as gr
from gearing.core.book import LiveOrder
from gearing.core.holder import DEALER, ISSUER
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.desk.counter import answer
from gearing.desk.issuer import answer as answer_issuer
from gearing.desk.keeper import commit_of
from gearing.desk.requests import AskQuote, Cancel, Deal, HandOn, Merge, Pay, TakeFees, TakeQuote, encode
from gearing.drive import driver, primary
from gearing.drive.outbox import row_of
from gearing.store.database import connect, init_database
from gearing.store.records import Answer, OutboxChange
from gearing.store.store import Store


class Former(Market):
    """A market whose effects are kept in a database, with the orders of its outbox."""

    store: Store
    left: LiveOrder  # with the venue when the next program begins

    def take(self):
        placed = super().take()
        effects, book = self.effects, "main"
        rows = {order.id: row_of(book, order, self.now_ms) for order in effects.placed}
        ended = {key for key in effects.closed if key in rows}
        rows |= {key: rows[key]._replace(status="done") for key in ended}
        changes = [OutboxChange(key, "ready", "done", 0, 0) for key in effects.closed if key not in rows]
        self.store.commit([commit_of(effects, [*rows.values(), *changes], ())])
        return placed

    def tell(self, wanted, key):
        """Asks through the inbox, and answers there."""
        number = self.store.ask(f"holder:{wanted.holder}", key, encode(wanted)).number
        answered = answer(self.driver, wanted, self.now_ms)
        self.take()
        self.store.commit([commit_of(None, (), [Answer(number, encode(answered))])])
        return answered

    def pay(self, holder, amount, reference):
        wanted = Pay(holder=holder, asset="USDT", amount=amount * MINOR, reference=reference, by="ann")
        assert self.tell(wanted, f"pay:{reference}").done

    def transfer(self, holder, other, amount, reference, **what):
        wanted = HandOn(holder=holder, other=other, amount=amount * MINOR, reference=reference, **what)
        assert self.tell(wanted, f"transfer:{reference}").done

    def accept(self, holder, side, amount):
        """Asks for a quote and takes it."""
        asked = self.tell(AskQuote(holder=holder, token="T", side=side, amount=amount), f"q{self.now_ms}")
        assert asked.done, asked.words
        taken = self.tell(TakeQuote(holder=holder, id=asked.id), f"t{self.now_ms}")
        assert taken.done, taken.words


def main(path):
    path.unlink(missing_ok=True)
    init_database(path, "demo", NOON_MS)
    with closing(connect(path)) as raw:  # the incarnation that the desks of tests open their books with
        raw.execute("UPDATE meta SET incarnation = 'abc123'")
    driver.BEHAVIOUR = primary.BEHAVIOUR = 6
    with Store(path, "demo") as Former.store:
        terms = Terms(quote_valid="1m", quote_swing=0.001)
        fees = gr.Fees(management_per_day=0.001, creation=0.001, redemption=0.002)
        desk = Former(token("A", costs=COSTS, fees=fees, primary=terms))
        _begin(desk)
        driver.BEHAVIOUR = primary.BEHAVIOUR = 7
        _go_on(desk)
        assert desk.alarms == [], desk.alarms
    with closing(connect(path)) as raw:
        raw.execute("PRAGMA journal_mode = DELETE")
        raw.execute("VACUUM")


def _begin(desk):
    """Holders pay, deal and transfer; an order is left with the venue."""
    desk.opened()
    desk.pay("h1", 50_000, "BANK-17")
    desk.pay(DEALER, 100_000, "BANK-18")
    desk.pay("h1", -1_000, "OUT-1")
    desk.tell(Deal(holder="h1", token="T", side="subscribe", amount=20_000 * MINOR), "d1")
    desk.window(101.0)
    desk.transfer("h1", "h2", 12, "MOVE-1", token="T")
    desk.transfer("h1", "h2", 500, "MOVE-2", asset="USDT")
    desk.accept("h1", "subscribe", 3_000 * MINOR)
    desk.filled(desk.quote(101.0))
    (desk.left,) = desk.quote(97.0, after_ms=60_000)
    desk.driver.publish(desk.it, "minute", desk.now_ms + 5_000, (97.0,))
    desk.now_ms += 6_000
    desk.take()


def _go_on(desk):
    """The next program is told at once of a trade that came before the last NAV; then much else happens."""
    desk.hear(desk.trade(desk.left, price=97.0, time_ms=desk.now_ms - 3_000), desk.status(desk.left))
    desk.mark = 97.0

    desk.tell(Deal(holder="h2", token="T", side="redeem", amount=5 * MINOR, instant=True), "d2")
    desk.filled(desk.quote(97.0))
    settled_ms = NOON_MS + 4 * HOUR_MS
    lots = desk.it.state.legs[0].lots
    desk.filled(desk.quote(97.5, after_ms=settled_ms + 30_000 - desk.now_ms))
    desk.driver.on_funding(desk.book, desk.payment(lots, -123_456_789, settled_ms), desk.now_ms)
    desk.take()
    desk.filled(desk.quote(98.0, after_ms=24 * HOUR_MS))
    wanted = TakeFees(token="T", amount=0, how="cash", by="ann", reason="monthly")
    assert answer_issuer(desk.driver, wanted, desk.now_ms).done
    desk.take()
    merged = answer_issuer(desk.driver, Merge(token="T", factor=7.0, by="ann", reason="small"), desk.now_ms)
    assert merged.done, merged.words
    desk.take()
    desk.tell(Deal(holder="h1", token="T", side="redeem", amount=MINOR), "d3")
    desk.tell(Deal(holder=ISSUER, token="T", side="redeem", amount=2 * MINOR), "d4")
    desk.tell(Cancel(holder=ISSUER, id="issuer.1"), "c4")
    desk.window(98.5)
    # An open quote, and a deposit that waits.
    desk.tell(AskQuote(holder="h2", token="T", side="subscribe", amount=100 * MINOR), "q-last")
    waiting = Pay(holder="h3", asset="USDT", amount=7 * MINOR, reference="BANK-19", by="ann")
    Former.store.ask("holder:h3", "pay:BANK-19", encode(waiting))


main(Path(sys.argv[1]))
