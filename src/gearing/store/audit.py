"""One stream looked over line by line: its chain, its double entry, its balances, and its steps done again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import UNSET

from gearing.core.book import BookError, BookState, book_step
from gearing.core.events import FundingSettled, Launched, NavStruck, SpecificationChanged
from gearing.core.flow_parts import FlowNamed, FlowsError, FlowsState, flows_step
from gearing.core.holder import HolderState
from gearing.core.holder_step import HolderError, holder_breaches, holder_step, holder_unsound
from gearing.core.invariants import breaches, l1_double_entry
from gearing.core.journal import GENESIS, Line, body_of, hash_of, state_body, state_hash, state_of
from gearing.core.ledger import Balances, posted
from gearing.core.measured import Measured, measure
from gearing.core.money import nav_of
from gearing.core.references import CAUSED_SINCE, event_reference
from gearing.core.state import TokenState
from gearing.core.step import BEHAVIOUR, step
from gearing.core.step_result import StepError
from gearing.core.terms import Spec
from gearing.errors import GearingError
from gearing.store.breach import NAMED_MAX, Breach, What
from gearing.store.funding_check import Settlement
from gearing.store.projections import Navs, Orders
from gearing.store.records import (
    AnyLine,
    BookLine,
    FlowsLine,
    HolderLine,
    JournalRow,
    NavRow,
    OutboxRow,
    Projected,
    RebalanceRow,
    Snapshot,
    any_line_of,
    book_state_of,
    flows_state_of,
    holder_state_of,
)
from gearing.store.repricing import Repricing
from gearing.store.schema import STATE_SCHEMA
from gearing.store.share_log import ShareLog
from gearing.store.shares import AtOnce, ShareFacts, Stood
from gearing.store.totals import Facts

# What is wrong from one line on is said once, where it begins.
_ONCE = frozenset({"balances", "step", "behaviour"})

_ALL = 2**63 - 1
_Faults = (
    StepError,
    BookError,
    HolderError,
    GearingError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    StopIteration,
)


class Audit:
    """The audit of one stream. Lines are taken in order, then it is closed with what the tables say of its end.

    Args:
        stream: its name; "token:", "book:" and "holder:" are understood, of any other the chain is checked.
        again: whether events of the current behaviour are stepped again.
        shots: its snapshots, by line.
        end_n: up to which line over all streams the facts are gathered that are held against other streams.
        at_once: of a token, all that was dealt at once in it, or quoted, up to that line.
        flows: of a token, what its stream of flows names, by the number of the dealing.
    """

    def __init__(
        self, stream: str, *, again: bool = True, shots: dict[int, Snapshot] | None = None, end_n: int = _ALL,
        at_once: Iterable[AtOnce | Stood] = (), flows: Mapping[int, FlowNamed] | None = None,
    ) -> None:  # fmt: skip
        self.stream, self.again = stream, again
        self.kind, _, name = stream.partition(":")
        self.facts, self.shares, self.orders = Facts(name, end_n), ShareLog(stream, end_n, flows or {}), Orders(name)
        self.prices = Repricing(at_once)
        self.behaviour = 0
        self.seq, self.hash, self.digest = 0, GENESIS, ""
        self.lines = self.stepped = self.unnamed = 0
        self.breaches: list[Breach] = []
        self.balances, self.settlements = Balances(), list[Settlement]()
        self.spec: Spec | None = None
        # None: not known, since an event of another behaviour, or one that does not hold.
        self.token: TokenState | None = TokenState()
        self.book: BookState | None = BookState()
        self.holder: HolderState | None = HolderState()
        self.flows: FlowsState | None = FlowsState()
        self.accounts: dict[str, int] = {}
        self.shots = shots or {}
        self.navs = Navs()
        # What is measured of each rebalance, the last of them, and those that were not seen whole.
        self.measured: dict[int, Measured] = {}
        self.last: Measured | None = None
        self.unseen: set[int] = set()
        self.sees_all = again
        self._references: set[str] = set()
        self._said: set[What] = set()

    def take(self, row: JournalRow) -> None:
        """Looks a line over."""
        self.lines += 1
        if row.seq != self.seq + 1:
            self._breach(row.seq, "sequence", f"line {row.seq} after line {self.seq}", f"line {self.seq + 1}")
        expected = hash_of(self.hash, row.body)
        if expected != row.hash:
            self._breach(row.seq, "chain", row.hash, expected)
        # What follows is held against the hash that stands, so that one changed line is one breach.
        self.seq, self.hash = row.seq, row.hash
        line = self._line(row)
        if line is None:
            return
        self._check_cause(row, line)
        if not self.behaviour <= line.behaviour <= BEHAVIOUR:
            expected = f"{self.behaviour} or more, as the line before has, and at most this program's {BEHAVIOUR}"
            self._breach(row.seq, "behaviour", f"behaviour {line.behaviour}", expected)
        self.behaviour = max(self.behaviour, line.behaviour)
        if isinstance(line, Line):
            self._take_token(row.n, line)
        elif isinstance(line, BookLine):
            self._take_book(line)
            self.shares.take_book(row.n, line)
        elif isinstance(line, FlowsLine):
            self._take_flow(line)
        else:
            self.shares.take_holder(row.n, line, self.holder if self.again else None)
            self._take_holder(line)
        self.facts.take(row.n, line, self.balances)
        self._check_snapshot(line.seq)

    def _check_cause(self, row: JournalRow, line: AnyLine) -> None:
        """Holds the columns by which a command is known again against the cause that the line carries, or its event."""
        cause = line.cause
        expected: tuple[str | None, str | None] = (self._older_reference(line), None)
        if cause is not UNSET:
            expected = (None if cause.reference is UNSET else cause.reference, cause.key)
        if (row.cause_reference, row.cause_key) != expected:
            self._breach(row.seq, "line", f"columns of its cause {row.cause_reference}, {row.cause_key}",
                         f"{expected[0]}, {expected[1]}")  # fmt: skip

    def _older_reference(self, line: AnyLine) -> str | None:
        """Returns the reference that a line of a program which wrote no causes was the first to use."""
        if not isinstance(line, HolderLine) or line.behaviour >= CAUSED_SINCE:
            return None
        found = event_reference(self.stream.partition(":")[2], line.event)
        if found is None or found in self._references:
            return None
        self._references.add(found)
        return found

    def close(
        self, projected: Projected | None, navs: Iterable[NavRow], rebalances: Iterable[RebalanceRow],
        outbox: Iterable[OutboxRow] = (),
    ) -> None:  # fmt: skip
        """Holds the end against the projection of the state, and other tables against what the lines say."""
        if projected is None:
            self._breach(self.seq, "state", "no state", "the state after the last line")
        else:
            self._check_state(projected)
        for words in self.navs.faults(navs):
            self._breach(0, "nav", *words)
        for words in self.orders.faults(outbox):
            self._breach(0, "outbox", *words)
        self._check_rebalances(rebalances)
        self.prices.close()
        for seq in sorted(self.shots.keys()):
            self._breach(seq, "snapshot", "a snapshot", "a line that it is the state after")

    def share_facts(self) -> ShareFacts:
        """Returns what the stream gives and got, with what does not hold of it."""
        found = self.shares.result()
        return found._replace(faults=(*found.faults, *self.prices.breaches))

    def damaged(self, words: str) -> None:
        """Notes that the file itself could not be read any further."""
        self._breach(self.seq, "file", words, "a file that can be read")

    def _line(self, row: JournalRow) -> AnyLine | None:
        if self.kind not in _STATES:
            self.digest = ""
            return None
        try:
            line = any_line_of(self.kind, row.body)
        except (msgspec.MsgspecError, GearingError, UnicodeDecodeError) as error:
            self._breach(row.seq, "line", f"no line: {error}", "a line of the journal")
            self.token = self.book = self.holder = self.flows = None
            return None
        if (line.stream, line.seq, line.time_ms) != (row.stream, row.seq, row.time_ms):
            place = f"{row.stream} line {row.seq} at {row.time_ms}"
            self._breach(row.seq, "line", f"{line.stream} line {line.seq} at {line.time_ms}", place)
        self.digest = line.state
        return line

    def _take_token(self, n: int, line: Line) -> None:
        empty = TokenState()
        for words in l1_double_entry(empty, empty, line.entry):
            self._breach(line.seq, "double entry", words, "0")
        try:
            self.balances = posted(self.balances, line.entry)
        except AttributeError as error:
            self._breach(line.seq, "double entry", str(error), "an account of the ledger")
        nav, units = nav_of(self.balances.equity, self.balances.units), self.balances.units
        if (line.nav, line.units) != (nav, units):
            self._breach(line.seq, "balances", f"NAV {line.nav} of {line.units} units", f"NAV {nav} of {units} units")
        if isinstance(line.event, NavStruck):
            self.navs.take(line, line.event)
        before = self.spec
        if isinstance(line.event, (Launched, SpecificationChanged)):
            try:
                self.spec = Spec(line.event.token)
            except GearingError as error:
                self._breach(line.seq, "line", str(error), "a specification that a desk can run")
        # A change is stepped under the specification before it, as whoever made it did.
        spec = before if isinstance(line.event, SpecificationChanged) else self.spec
        state = self.token if self.again else None
        if state is not None and spec is not None:
            self._step_token(spec, state, line)
        self.shares.take_token(n, line, self.spec, state, self.token)
        self.prices.take_event(line.seq, self.stream, line.event, self.token, is_current=line.behaviour == BEHAVIOUR)
        if isinstance(line.event, FundingSettled) and line.behaviour == BEHAVIOUR and self.facts.is_before_end(n):
            self._take_funding(line.seq, line.event, state)
        self.prices.take_line(n, self.spec, self.token if self.again else None)
        self.sees_all = self.sees_all and self.token is not None and line.behaviour == BEHAVIOUR

    def _take_funding(self, seq: int, event: FundingSettled, before: TokenState | None) -> None:
        symbols = () if before is None or self.spec is None else self.spec.chains.held(before.legs)
        symbol = symbols[event.leg] if 0 <= event.leg < len(symbols) else ""
        self.settlements.append(Settlement(seq, symbol, event.settlement_ms, event.amount))

    def _step_token(self, spec: Spec, before: TokenState, line: Line) -> None:
        """Does a step again. One of another behaviour may differ, and then the state is not known from there on."""
        current = line.behaviour == BEHAVIOUR
        self.token = None
        try:
            done = step(spec, before, line.event)
        except _Faults as error:
            if current:
                self._breach(line.seq, "step", f"{type(line.event).__name__}", f"an event that can happen: {error}")
            return
        digest = state_hash(state_body(done.state))
        if current and (done.entry, digest) != (line.entry, line.state):
            expected = f"{_sum_of(done.entry)}, state {digest}"
            self._breach(line.seq, "step", f"{_sum_of(line.entry)}, state {line.state}", expected)
            return
        if digest == line.state:
            self.token = done.state
            self.stepped += current
            self._measure(spec, before, done.state, line)
            for words in breaches(before, done.state, done.entry):
                self._breach(line.seq, "invariant", words, "no breach")

    def _measure(self, spec: Spec, before: TokenState, after: TokenState, line: Line) -> None:
        """Measures again what a line did of a rebalance; one that was not seen whole is held against nothing."""
        running = before.rebalance
        if running is None and after.rebalance is None:
            return
        if self.last is not None and self.last.is_open and (running is None or running.epoch != self.last.epoch):
            self.unseen.add(self.last.epoch)
            self.last = None
        if running is not None and (self.last is None or running.epoch != self.last.epoch):
            self.unseen.add(running.epoch)
        for one in measure(self.last, spec.token.symbol, spec.chains.held(after.legs), before, after, line.event):
            self.last = self.measured[one.epoch] = one
            self.prices.take_measured(one)
            if line.behaviour != BEHAVIOUR:
                self.unseen.add(one.epoch)

    def _take_book(self, line: BookLine) -> None:
        self.orders.take(line.event)
        before, self.book = self.book, None
        if not self.again or before is None:
            return
        current = line.behaviour == BEHAVIOUR
        try:
            after = book_step(before, line.event)
        except _Faults as error:
            if current:
                self._breach(line.seq, "step", f"{type(line.event).__name__}", f"an event that can happen: {error}")
            return
        digest = state_hash(state_body(after))
        if digest == line.state:
            self.book, self.stepped = after, self.stepped + current
        elif current:
            self._breach(line.seq, "step", f"state {line.state}", f"state {digest}")

    def _take_flow(self, line: FlowsLine) -> None:
        before, self.flows = self.flows, None
        if not self.again or before is None:
            return
        try:
            after = flows_step(before, line.event)
        except FlowsError as error:
            self._breach(line.seq, "step", f"flow {line.event.number}", f"an event that can happen: {error}")
            return
        digest = state_hash(state_body(after))
        if digest == line.state:
            self.flows, self.stepped = after, self.stepped + 1
        else:
            self._breach(line.seq, "step", f"state {line.state}", f"state {digest}")

    def _take_holder(self, line: HolderLine) -> None:
        sums: dict[str, int] = {}
        for posting in line.entry:
            total = self.accounts.get(posting.account, 0) + posting.amount
            self.accounts[posting.account] = total
            if total == 0:
                del self.accounts[posting.account]
            if posting.account.count(":") != 2:
                self._breach(line.seq, "double entry", f"account {posting.account}", "an account of a holder")
            asset = posting.account.rpartition(":")[0]
            sums[asset] = sums.get(asset, 0) + posting.amount
        for asset, total in sums.items():
            if total:
                self._breach(line.seq, "double entry", f"L1: the entry's {asset} sums to {total}", "0")
        before, self.holder = self.holder, None
        if not self.again or before is None:
            return
        current = line.behaviour == BEHAVIOUR
        try:
            done = holder_step(before, line.event)
        except _Faults as error:
            if current:
                self._breach(line.seq, "step", f"{type(line.event).__name__}", f"an event that can happen: {error}")
            return
        digest = state_hash(state_body(done.state))
        if (done.entry, digest) == (line.entry, line.state):
            self.holder, self.stepped = done.state, self.stepped + current
            for words in (*holder_breaches(done.state, line.entry), *holder_unsound(done.state)):
                self._breach(line.seq, "invariant", words, "no breach")
        elif current:
            expected = f"{_sum_of(done.entry)}, state {digest}"
            self._breach(line.seq, "step", f"{_sum_of(line.entry)}, state {line.state}", expected)

    def _check_snapshot(self, seq: int) -> None:
        shot = self.shots.pop(seq, None)
        if shot is None:
            return
        digest = state_hash(shot.body)
        if not digest == shot.state_hash == self.digest:
            self._breach(seq, "snapshot", f"state {digest}", f"state {self.digest}")
            return
        if shot.schema != STATE_SCHEMA:
            return
        state = _STATES[self.kind](shot.body)
        if isinstance(state, TokenState):
            self._check_balances(seq, "snapshot", state)
            # From here on the state is known again.
            self.token, unknown = self.token or state, self.token is None
        elif isinstance(state, BookState):
            self.book, unknown = self.book or state, self.book is None
        elif isinstance(state, FlowsState):
            self.flows, unknown = self.flows or state, self.flows is None
        else:
            self.holder, unknown = self.holder or state, self.holder is None
        if unknown:
            self._said.discard("step")

    def _check_state(self, projected: Projected) -> None:
        if (projected.seq, projected.hash) != (self.seq, self.hash):
            found = f"the state of line {projected.seq}, hash {projected.hash}"
            self._breach(self.seq, "state", found, f"that of line {self.seq}, hash {self.hash}")
            return
        if not self.digest:
            return
        if not isinstance(projected.body, bytes):
            self._breach(self.seq, "state", f"a state of type {type(projected.body).__name__}", "bytes")
            return
        digest = state_hash(projected.body)
        if digest != self.digest:
            self._breach(self.seq, "state", f"state {digest}", f"state {self.digest}")
        try:
            state = _STATES[self.kind](projected.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._breach(self.seq, "state", f"no state: {error}", "a state")
            return
        if isinstance(state, TokenState):
            self._check_balances(self.seq, "state", state)
        elif isinstance(state, HolderState) and state.balances != self.accounts:
            self._breach(self.seq, "balances", f"{state.balances}", f"{self.accounts}, the sums of its postings")

    def _check_rebalances(self, rows: Iterable[RebalanceRow]) -> None:
        if not self.again:
            return
        if self.token is None and self.last is not None and self.last.is_open:
            self.unseen.add(self.last.epoch)
        lacking = {epoch: one for epoch, one in self.measured.items() if epoch not in self.unseen}
        for row in rows:
            one = lacking.pop(row.epoch, None)
            if one is not None and (row.started_ms, row.body) != (one.started_ms, body_of(one)):
                self._breach(
                    0, "rebalance", f"{row.body!r} of {row.started_ms}", f"{body_of(one)!r} of {one.started_ms}"
                )
            elif one is None and self.sees_all:
                self._breach(0, "rebalance", f"rebalance {row.epoch} as measured", "one that a line began")
        for epoch in lacking:
            self._breach(0, "rebalance", f"nothing of rebalance {epoch}", "what was measured of it")

    def _check_balances(self, seq: int, what: What, state: TokenState) -> None:
        for (account, found), (_, expected) in zip(state.balances.items(), self.balances.items(), strict=True):
            if found != expected:
                self._breach(seq, what, f"{account} {found}", f"{account} {expected}, the sum of its postings")

    def _breach(self, seq: int, what: What, found: str, expected: str) -> None:
        if what in _ONCE and what in self._said:
            self.unnamed += 1
            return
        self._said.add(what)
        if len(self.breaches) < NAMED_MAX:
            self.breaches.append(Breach(self.stream, seq, what, found, expected))
        else:
            self.unnamed += 1


_STATES: dict[str, Callable[[bytes], TokenState | BookState | HolderState | FlowsState]] = {
    "token": state_of, "book": book_state_of, "holder": holder_state_of, "flows": flows_state_of,
}  # fmt: skip


def _sum_of(entry: tuple[object, ...]) -> str:
    return f"{len(entry)} postings {msgspec.json.encode(entry).decode()}" if entry else "no postings"
