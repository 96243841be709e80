"""Lots at a period's end: what is still held and what was given up in the period, with the parts of its profit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gearing.core.dealing import bearing
from gearing.core.events import Launched, SpecificationChanged
from gearing.core.holder import DEALER, Bearing
from gearing.core.journal import line_of, state_body, state_hash, state_of
from gearing.core.lots import LOT_PARTS, holding_of, parts_of_lot, parts_of_sold, tokens_of
from gearing.core.money import MINOR
from gearing.core.state import TokenState
from gearing.core.step import step
from gearing.core.step_result import StepError
from gearing.core.terms import Spec
from gearing.errors import InputError
from gearing.office.cut import Cut, specification_of
from gearing.office.table import Kind, Table
from gearing.store.records import holder_line_of

COLUMNS: dict[str, Kind] = {
    "holder": "text", "token": "text", "currency": "text", "status": "text", "since": "time", "until": "time",
    "units": "amount", "cost": "amount", "proceeds": "amount", "worth": "amount", "profit": "amount",
    **dict.fromkeys(LOT_PARTS, "amount"),
}  # fmt: skip
HELD, SOLD = "held", "given up"


def lot_table(cut: Cut, holders: Iterable[str]) -> Table:
    """Returns holders' lots, first in, first out; the parts of each sum to its profit.

    Args:
        cut: the journals.
        holders: whose.

    Raises:
        InputError: a token's state at the period's end cannot be worked out any more.
    """
    stood: dict[str, tuple[Bearing, str]] = {}
    # The dealing account gives out units before it has them, so it has no lots.
    rows = [row for holder in holders if holder != DEALER for row in _rows(cut, holder, stood)]
    return Table(COLUMNS, rows, "The parts of every lot sum to its profit.")


def _rows(cut: Cut, holder: str, stood: dict[str, tuple[Bearing, str]]) -> Iterator[tuple[object, ...]]:
    events = [line.event for _, line in cut.lines(f"holder:{holder}", holder_line_of)]
    for token in tokens_of(events):
        if token not in stood:
            spec, state = state_at_end(cut, token)
            stood[token] = bearing(spec, state), spec.token.settlement
        now, currency = stood[token]
        holding = holding_of(events, token)
        for lot in holding.lots:
            parts, worth = parts_of_lot(lot, now), lot.units * now.nav // MINOR
            yield (holder, token, currency, HELD, lot.time_ms, None, lot.units, lot.cost, None, worth,
                   worth - lot.cost, *(parts[name] for name in LOT_PARTS))  # fmt: skip
        for one in holding.sold:
            if one.time_ms >= cut.period.start_ms:
                parts = parts_of_sold(one)
                yield (holder, token, currency, SOLD, one.lot.time_ms, one.time_ms, one.lot.units, one.lot.cost,
                       one.proceeds, None, one.profit, *(parts[name] for name in LOT_PARTS))  # fmt: skip


def state_at_end(cut: Cut, token: str) -> tuple[Spec, TokenState]:
    """Returns a token's specification and state at the period's end: the one kept, or worked out from its first line.

    Raises:
        InputError: lines of another behaviour lie before it, which are not stepped again.
    """
    stream = f"token:{token}"
    kept = cut.state(stream)
    spec: Spec | None = None
    state, digest = TokenState(), ""
    if kept is not None:
        return Spec(specification_of(cut, token)), state_of(kept)
    for seq, line in cut.lines(stream, line_of):
        if isinstance(line.event, Launched):
            spec = Spec(line.event.token)
        if spec is None:
            raise InputError(f"{stream} does not begin with its launch.", fix="See: gearing journal verify.")
        try:
            state = step(spec, state, line.event).state
        except StepError as error:
            raise _unknown(stream, seq) from error
        if isinstance(line.event, SpecificationChanged):
            spec = Spec(line.event.token)
        digest = line.state
    if spec is None or state_hash(state_body(state)) != digest:
        raise _unknown(stream, cut.bounds(stream).last)
    return spec, state


def _unknown(stream: str, seq: int) -> InputError:
    return InputError(f"the state of {stream} after line {seq} cannot be worked out by this version.",
                      fix="Choose a period that has not ended, or see: gearing journal verify.")  # fmt: skip
