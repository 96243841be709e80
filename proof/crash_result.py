"""What a run of the crash harness came to: fills, ledger, NAV, holders, and the exchange's own books."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from gearing.core.book import LiveOrder, OrderPlaced
from gearing.core.events import Filled
from gearing.core.journal import line_of, state_of
from gearing.core.sharing import shared
from gearing.store.records import Written, book_line_of, book_state_of
from gearing.store.store import Store
from gearing.store.verify import verify
from gearing.venues.paper.file import PaperFile
from gearing.venues.paper.state import State
from proof import crash_script as script
from proof.crash_holdings import answered, holdings, is_book, moved

K = TypeVar("K", bound=Hashable)
Key = tuple[str, int, int, int]


class Filling(NamedTuple):
    """What was filled for one leg of one slice, whatever attempts it took: lots, what they cost, commission."""

    lots: int = 0
    cost: float = 0.0
    commission: int = 0

    def plus(self, lots: int, price: float, commission: int) -> Filling:
        """Returns it with one trade more."""
        return Filling(self.lots + lots, self.cost + lots * price, self.commission + commission)


class Result(NamedTuple):
    """What a run came to.

    Args:
        tokens: status, NAV, balances and positions of each.
        fills: what the journal says was filled, by (token, epoch, leg, slice).
        venue: what the exchange says, by the same.
        holders: what each has and waits for, and all that ever happened to it, without the times.
        answers: to each request, by the key it was asked under.
        cash: of each book, what its ledger says was moved, and what its account at the exchange has.
        wrong: what does not hold by itself.
    """

    tokens: dict[str, object]
    fills: dict[Key, Filling]
    venue: dict[Key, Filling]
    holders: dict[str, object]
    answers: dict[str, object]
    cash: dict[str, object]
    wrong: tuple[str, ...]


def result_of(place: Path) -> Result:
    """Reads database and exchange as they stand."""
    wrong = [str(breach) for breach in verify(place / "desk.db", processes=1).breaches]
    tokens: dict[str, object] = {}
    fills: dict[Key, Filling] = {}
    orders: dict[str, LiveOrder] = {}
    with Store(place / "desk.db", "paper") as store:
        for token in script.tokens():
            projected = store.state(f"token:{token.symbol}")
            if projected is None:
                wrong.append(f"{token.symbol} has no state")
                continue
            state = state_of(projected.body)
            legs = [(leg.lots, leg.basis, leg.mark, leg.funded_ms) for leg in state.legs]
            tokens[token.symbol] = (state.status, state.nav, dict(state.balances.items()), legs, state.epoch)
            for event in _events(store, token.symbol):
                key = (token.symbol, event.epoch, event.leg, event.slice)
                fills[key] = fills.get(key, Filling()).plus(event.lots, event.price, event.commission)
        if store.outbox_open():
            wrong.append("orders are left in the outbox")
        if store.requests():
            wrong.append("requests are left in the inbox")
        holders, answers = holdings(store), answered(store)
        books = {one.stream.partition(":")[2]: book_state_of(one.body) for one in store.states() if is_book(one.stream)}
        for name in books:
            for row in happened(store, f"book:{name}", "order_placed"):
                placed = book_line_of(row.body).event
                if isinstance(placed, OrderPlaced):
                    orders[placed.order.id] = placed.order
    with closing(PaperFile(place / "paper.db")) as file:
        exchange = file.load(script.setup())
    venue, more = _venue(exchange, orders)
    cash, lost = moved(exchange, books)
    return Result(tokens, fills, venue, holders, answers, cash, (*wrong, *more, *lost))


def differences(found: Result, expected: Result) -> list[str]:
    """Returns where a run differs from the expected one."""
    return [
        *found.wrong,
        *_unlike("tokens", found.tokens, expected.tokens),
        *_unlike("fills", found.fills, expected.fills),
        *_unlike("the exchange's fills", found.venue, expected.venue),
        *_unlike("holders", found.holders, expected.holders),
        *_unlike("answers", found.answers, expected.answers),
        *_unlike("cash", found.cash, expected.cash),
    ]


def _unlike(name: str, mine: Mapping[K, object], theirs: Mapping[K, object]) -> list[str]:
    return [
        f"{name}: {key}: {mine.get(key)}, expected {theirs.get(key)}"
        for key in sorted({*mine, *theirs}, key=str)
        if mine.get(key) != theirs.get(key)
    ]


def happened(store: Store, stream: str, kind: str) -> Iterator[Written]:
    """Yields the lines of a stream whose event is of this kind."""
    mark = f'"event":"{kind}"'.encode()
    return (line for line in store.lines(stream) if mark in line.body)


def _events(store: Store, token: str) -> Iterator[Filled]:
    for row in happened(store, f"token:{token}", "filled"):
        event = line_of(row.body).event
        if isinstance(event, Filled):
            yield event


def _venue(state: State, orders: dict[str, LiveOrder]) -> tuple[dict[Key, Filling], list[str]]:
    """Returns what the exchange filled for each token, and what is wrong with its orders."""
    found: dict[Key, Filling] = {}
    wrong = []
    if state.clock.orders != len(state.orders):
        wrong.append(f"the exchange took {state.clock.orders} orders of {len(state.orders)} ids")
    for sent in state.orders.values():
        order = orders.get(sent.request.client_id)
        if order is None:
            wrong.append(f"the exchange has order {sent.request.client_id}, which no journal knows")
            continue
        for trade in sent.trades:
            lots = order.split(trade.lots)
            for share, mine, charge in zip(order.shares, lots, shared(trade.commission, lots), strict=True):
                p = share.purpose
                key = (p.token, p.epoch, p.leg, p.slice)
                found[key] = found.get(key, Filling()).plus(mine, trade.price, charge)
    return found, wrong
