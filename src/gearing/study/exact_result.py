"""What an exact backtest leaves: the ledger, every event, and a journal that anyone can recompute."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gearing.core import attribution as att
from gearing.core.events import Filled, Launched
from gearing.core.fees import Costs
from gearing.core.journal import GENESIS, Line, body_of, export_line, hash_of, state_body, state_hash
from gearing.core.ledger import Balances, Entry
from gearing.core.money import to_float
from gearing.core.record import Shown
from gearing.core.state import TokenState
from gearing.core.step import BEHAVIOUR
from gearing.core.terms import Spec
from gearing.core.token import Token
from gearing.core.working import attribution_now
from gearing.files import writing

if TYPE_CHECKING:
    import polars as pl

    from gearing.core.events import TokenEvent


class Happened(NamedTuple):
    """One event of an exact backtest: the bar, the event, its entry, the state after it."""

    bar: int
    event: TokenEvent
    entry: Entry
    state: TokenState


class ExactResult(Shown):
    """An exact backtest: what the desk's own step and ledger made of a price path.

    Attributes:
        spec: the token as it was run.
        costs: what trading cost.
        happened: every event in order, with its ledger entry and the state after it.
        state: the last state.
    """

    def __init__(self, spec: Spec, costs: Costs, happened: list[Happened]) -> None:
        self.spec, self.costs, self.happened = spec, costs, happened
        self.state = happened[-1].state

    @property
    def token(self) -> Token:
        """The specification."""
        return self.spec.token

    @property
    def balances(self) -> Balances:
        """The ledger's balances in minor units, debits positive; see `core.ledger`."""
        return self.state.balances

    @property
    def final_nav(self) -> float:
        """NAV at the end, in settlement currency per unit."""
        return to_float(self.state.nav)

    @property
    def equity(self) -> float:
        """Equity at the end, settlement currency."""
        return to_float(self.state.equity)

    @property
    def rebalances(self) -> int:
        """How many rebalances began; a roll is none, and what closes a wiped-out token neither."""
        return max((h.state.rebalances for h in self.happened if h.state.status != "wiped"), default=0)

    @property
    def fills(self) -> int:
        """How many trades were filled."""
        return sum(isinstance(h.event, Filled) for h in self.happened)

    @cached_property
    def attribution(self) -> dict[str, float]:
        """The parts of the result in money, settlement currency; they sum to the profit."""
        parts = attribution_now(self.spec, self.state)
        return dict(zip(att.PARTS, parts[att.MONEY : att.MONEY + att.N_PARTS], strict=True))

    @cached_property
    def frame(self) -> pl.DataFrame:
        """A frame with one row per event: time, event, price of the first leg, equity, NAV, units, exposure lots."""
        import polars as pl

        rows = [
            (
                h.event.time_ms, type(h.event).__name__, h.state.legs[0].mark, to_float(h.state.equity),
                to_float(h.state.nav), to_float(h.state.balances.units), h.state.legs[0].lots,
            )
            for h in self.happened
        ]  # fmt: skip
        names = ("time", "event", "price", "equity", "nav", "units", "lots")
        frame = pl.DataFrame(rows, schema=list(names), orient="row")
        return frame.with_columns(pl.col("time").cast(pl.Datetime("ms", "UTC")))

    def journal(self, path: str | Path, *, force: bool = False) -> int:
        """Writes the journal as JSON lines, wholly or not at all; returns how many.

        `gearing journal recompute` works every NAV out anew from such a file, and so does its script alone.

        Args:
            path: the file to write.
            force: replace an existing file that is not an exported journal; a database is never replaced.

        Raises:
            InputError: the path holds another kind of file, or it cannot be written.
        """
        with writing(path, "journal", force=force) as file:
            before, symbol = GENESIS, self.token.symbol
            for seq, h in enumerate(self.happened, 1):
                line = Line(
                    stream=f"token:{symbol}", seq=seq, time_ms=h.event.time_ms, behaviour=BEHAVIOUR, event=h.event,
                    entry=h.entry, nav=h.state.nav, units=h.state.balances.units,
                    state=state_hash(state_body(h.state)),
                )  # fmt: skip
                body = body_of(line)
                after = hash_of(before, body)
                file.write(export_line(seq, after, before, body))
                before = after
        return len(self.happened)

    def __repr__(self) -> str:
        first = self.happened[0].event
        began = first.time_ms if isinstance(first, Launched) else 0
        days = (self.happened[-1].event.time_ms - began) / 86_400_000
        return (
            f"ExactResult({self.token.symbol}, {days:.0f} days: NAV {self.final_nav:.8f}, "
            f"{self.rebalances} rebalances, {len(self.happened):,} events)"
        )
