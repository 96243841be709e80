"""What a desk finds when it starts: which streams are sound, and why each of the others is not run.

A stream that has neither lines nor a state may still be named: by a book that holds the token, by a holder with its
units, by published NAVs, by orders of the outbox. It is missing then, which is another thing than new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from gearing.core.book import BookOpened, BookState
from gearing.core.flow_parts import FlowsState
from gearing.core.holder import ISSUER, OWN, HolderState
from gearing.core.journal import GENESIS, hash_of, state_of
from gearing.core.state import TokenState
from gearing.store import schema
from gearing.store.integrity import state_faults
from gearing.store.records import (
    Projected,
    Written,
    book_line_of,
    book_state_of,
    flows_state_of,
    holder_line_of,
    holder_state_of,
)
from gearing.store.store import Store

_READ: dict[str, Callable[[bytes], Any]] = {
    "token": state_of, "book": book_state_of, "holder": holder_state_of, "flows": flows_state_of,
}  # fmt: skip
_HOLDERS = schema.journal.c.stream.between("holder:", "holder:\U0010ffff")


class Survey(NamedTuple):
    """The streams of a database.

    Args:
        rows: the state row of each stream that has one.
        tokens, books, holders, flows: the states of sound streams, by name.
        faults: why each of the other streams is not run, in words.
    """

    rows: dict[str, Projected]
    tokens: dict[str, TokenState]
    books: dict[str, BookState]
    holders: dict[str, HolderState]
    flows: dict[str, FlowsState]
    faults: dict[str, str]

    def has(self, stream: str) -> bool:
        """Returns whether there is such a stream, or was one."""
        return stream in self.rows or stream in self.faults


def survey(store: Store) -> Survey:
    """Returns what a database has of each stream."""
    rows = {str(row.stream): row for row in store.states()}  # a damaged name may be of any type
    faults = {str(stream): words for stream, words in state_faults(store).items()}
    found: dict[str, dict[str, Any]] = {kind: {} for kind in _READ}
    for stream, row in rows.items():
        kind, _, name = stream.partition(":")
        if stream in faults or kind not in found:
            continue
        try:
            found[kind][name] = _READ[kind](row.body)
        except msgspec.MsgspecError as error:
            faults[stream] = why_not_run(store, stream, f"its state cannot be read ({error})")
    seen = Survey(rows, found["token"], found["book"], found["holder"], found["flows"], faults)
    for stream, witness in _named(store, seen):
        if not seen.has(stream):
            faults[stream] = why_not_run(store, stream, f"it has neither lines nor a state, and {witness}")
    return seen


def why_not_run(store: Store, stream: str, why: str) -> str:
    """Returns the sentence about a stream that is not run."""
    return f"{stream} is not run: {why}. See everything: gearing journal verify {store.path}"


def is_empty(store: Store) -> bool:
    """Returns whether nothing was ever written to a database: no table that a desk fills has a row."""
    tables = (schema.journal, schema.states, schema.navs, schema.rebalances, schema.outbox, schema.heads)
    with store.engine.connect() as connection:
        return not any(connection.scalar(sa.select(sa.exists(sa.select(table)))) for table in tables)


def has_orders(store: Store, book: str) -> bool:
    """Returns whether the outbox has an order of a book."""
    wanted = sa.select(sa.exists().where(schema.outbox.c.book == book))
    with store.engine.connect() as connection:
        return bool(connection.scalar(wanted))


def was_never_held(store: Store, token: str) -> bool:
    """Returns whether the journal proves that no holder ever had units of a token.

    It does if it is complete over all streams, and no holder's line posts units of the token.
    """
    c = schema.journal.c
    posts = sa.func.instr(c.body, sa.literal(f'"units:{token}:'.encode(), sa.LargeBinary)) > 0
    with store.engine.connect() as connection:
        lines, last = connection.execute(sa.select(sa.func.count(), sa.func.max(c.n))).one()
        return lines == last and not connection.scalar(sa.select(sa.exists().where(_HOLDERS, posts)))


def units_told(store: Store, seen: Survey, stream: str) -> dict[str, int]:
    """Returns the units of each token that a holder whose stream is not run has by its lines, or else by its state.

    Neither is proof by itself: whoever counts them holds the sum of all holders against what the token issued.
    """
    try:
        return _units(_postings(store, stream))
    except (msgspec.MsgspecError, TypeError, ValueError):
        pass
    try:
        balances = holder_state_of(seen.rows[stream].body).balances
        return _units(balances.items())
    except (KeyError, msgspec.MsgspecError, TypeError, ValueError):
        return {}


def _postings(store: Store, stream: str) -> Iterator[tuple[str, int]]:
    """Yields what the lines of a holder post, by account.

    Raises:
        ValueError: it has none, or one is missing or is not the one that its hash names.
    """
    before, seq = GENESIS, 0
    for seq, row in enumerate(store.lines(stream), 1):
        if row.seq != seq or hash_of(before, row.body) != row.hash:
            raise ValueError(f"line {seq} of {stream} is missing, or is not the one that its hash names")
        before = row.hash
        yield from ((one.account, one.amount) for one in holder_line_of(row.body).entry)
    if not seq:
        raise ValueError(f"{stream} has no lines")


def _units(postings: Iterable[tuple[str, int]]) -> dict[str, int]:
    units: dict[str, int] = {}
    for account, amount in postings:
        kind, asset, where = account.split(":")
        if kind == "units" and where in OWN:
            units[asset] = units.get(asset, 0) + amount
    return {token: amount for token, amount in units.items() if amount}


def proved(store: Store, row: Written) -> Written:
    """Returns a line whose hash is that of its bytes and of the line before.

    Raises:
        ValueError: it is not.
    """
    before = GENESIS if row.seq == 1 else next(store.lines(row.stream, row.seq - 1)).hash
    if hash_of(before, row.body) != row.hash:
        raise ValueError(f"line {row.seq} of {row.stream} is not the one that its hash names")
    return row


def last_seq(store: Store, stream: str) -> int:
    """Returns the number of a stream's last line; 0: it has none."""
    c = schema.journal.c
    with store.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.max(c.seq)).where(c.stream == stream)) or 0


def counterparties(store: Store) -> set[str]:
    """Returns every holder that a line of another holder names; all lines of holders are looked through."""
    body = sa.cast(schema.journal.c.body, sa.Text)
    other = sa.case((sa.func.json_valid(body), sa.func.json_extract(body, "$.event.other")))
    with store.engine.connect() as connection:
        return {name for name in connection.scalars(sa.select(other).where(_HOLDERS).distinct()) if name}


def _named(store: Store, seen: Survey) -> Iterator[tuple[str, str]]:
    """Yields the streams that something names, and what that is."""
    for stream in {*seen.rows, *seen.faults}:
        if stream.startswith("book:"):
            yield from ((f"token:{token}", f"{stream} holds it") for token in _tokens_of(store, seen, stream))
    for name, holder in seen.holders.items():
        for token in tokens_named(holder):
            yield f"token:{token}", f"holder:{name} has had units or requests of it"
    with store.engine.connect() as connection:
        for table in (schema.navs, schema.rebalances):
            for token in connection.scalars(_distinct(table.c.token)):
                yield f"token:{token}", f"the table {table.name} has rows of it"
    for row in store.outbox_open():
        yield f"book:{row.book}", f"order {row.id} of the outbox is of it"
    holders = any(stream.startswith("holder:") for stream in (*seen.rows, *seen.faults))
    if holders and any(stream.startswith("token:") for stream in (*seen.rows, *seen.faults)):
        yield f"holder:{ISSUER}", "the issuer is granted the first units of every token"


def tokens_named(holder: HolderState) -> set[str]:
    """Returns the tokens that a holder's state names."""
    units = (account.split(":") for account in holder.balances)
    named = {parts[1] for parts in units if parts[0] == "units" and len(parts) == 3}
    return named | {request.token for request in holder.requests.values()}


def _tokens_of(store: Store, seen: Survey, stream: str) -> Iterable[str]:
    """Returns the tokens of a book; of one that is damaged, those that its first line names."""
    name = stream.partition(":")[2]
    if name in seen.books:
        return seen.books[name].tokens
    try:
        event = book_line_of(next(store.lines(stream)).body).event
    except (StopIteration, msgspec.MsgspecError, TypeError):
        return ()
    return event.tokens if isinstance(event, BookOpened) else ()


def _distinct(column: sa.Column[str]) -> sa.Select[str]:
    """Selects the values of a column that an index begins with; each step finds the next, so rows are not counted."""
    values = sa.select(sa.func.min(column).label("value")).cte("found", recursive=True)
    following = sa.select(sa.func.min(column)).where(column > values.c.value).scalar_subquery()
    values = values.union_all(sa.select(following).where(values.c.value.is_not(None)))
    return sa.select(values.c.value).where(values.c.value.is_not(None))
