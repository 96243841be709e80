"""What the gap budget says: records with the probabilities, the counts, and the sentences about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import polars as pl

from gearing.core.record import Record
from gearing.core.words import number, percent
from gearing.study.gap_rule import Start

Side = Literal["long", "short"]
Fate = Literal["zero", "liquidation"]

# A yearly probability from here on is said in a sentence. A judgement: once in a hundred years.
MATERIAL_PER_YEAR = 0.01

# What the row of the rule as a whole is called in place of a trigger.
WHOLE_RULE = "whole rule"


class Chance(Record, frozen=True, kw_only=True):
    """How likely one end is within a wait, by formula and as counted.

    Args:
        move: the move of the price that brings it, a fraction; None if no move does, 0 if it is there already.
        per_gap: probability within one wait, by formula with jumps.
        per_year: within a year of such waits.
        by_diffusion: probability within one wait without jumps: formula 12 with the whole volatility.
        counted: in how many waits of the data the price went so far.
        per_year_counted: the yearly probability that the counted share makes.
        counted_low: the yearly probability at the lower end of the count's 95 % interval.
        counted_high: at its upper end; 1 where the data have no wait.

    The interval is the exact one of a binomial share, as if waits were independent: they are not where crashes
    cluster or waits overlap, and then it is too narrow.

    Source: C. J. Clopper and E. S. Pearson (1934), "The use of confidence or fiducial limits illustrated in the
        case of the binomial".
    """

    move: float | None
    per_gap: float
    per_year: float
    by_diffusion: float
    counted: int
    per_year_counted: float
    counted_low: float
    counted_high: float

    @property
    def yearly(self) -> float:
        """The larger of the two yearly probabilities, by formula and as counted."""
        return max(self.per_year, self.per_year_counted)


class GapRow(Record, frozen=True, kw_only=True):
    """One wait of one trigger on one side: how far it is to the end, how likely, and how often it happened.

    Args:
        side: "long" or "short", of the same size.
        trigger: what would trade next: a schedule, the field of a continuous trigger, or the "whole rule".
        start: "target"; "edge", the worst leverage at which the trigger still lets the token rest; or "path",
            the leverage that the token had along the data.
        leverage: real leverage at the start of the wait, signed; of the whole rule, before its worst bar.
        horizon_ms: the longest wait, never less than a bar.
        gaps_per_year: how many waits a year has.
        zero: the chance that nothing is left.
        liquidation: the chance that the venue closes the position.
        windows: waits in the data.
        worst_move: the worst move in any of them, a fraction, of the whole rule the one that left least; NaN
            without windows.
        worst_at: when that bar was known, ISO text in UTC; "" without windows.
        guard: rows of one side with the same number together measure one protection; None bounds nothing.
    """

    side: Side
    trigger: str
    start: Start
    leverage: float
    horizon_ms: int
    gaps_per_year: float
    zero: Chance
    liquidation: Chance
    windows: int
    worst_move: float
    worst_at: str
    guard: int | None = None

    def chance(self, fate: Fate) -> Chance:
        """Returns the chance of one end."""
        return self.zero if fate == "zero" else self.liquidation


class GapBudget(Record, frozen=True, kw_only=True):
    """What a token may lose to moves that its rule cannot trade in.

    Args:
        symbol: of the token.
        target: its target leverage β.
        prices: the underlying's name.
        start: when its first price was known, ISO text UTC.
        end: when the last one was.
        bars: how many prices there are.
        volatility: of its price per √year, jumps included.
        diffusion: without them.
        jumps_per_year: how many jumps there are.
        jump_mean: their mean, in log size.
        jump_deviation: their standard deviation, in log size.
        maintenance: how the venue's margin was taken, in words.
        rows: the waits, the token's own side first.
        made_of: how the prices were made where they are no leg's own: the index of a basket, contracts joined.
    """

    symbol: str
    target: float
    prices: str
    start: str
    end: str
    bars: int
    volatility: float
    diffusion: float
    jumps_per_year: float
    jump_mean: float
    jump_deviation: float
    maintenance: str
    rows: tuple[GapRow, ...]
    made_of: str = ""

    @property
    def side(self) -> Side:
        """The token's own side."""
        return "long" if self.target > 0 else "short"

    @property
    def zero_per_year(self) -> float:
        """The headline: the yearly probability that NAV reaches zero, of the whole rule on the token's own side.

        The larger of formula and count, both at the leverage that the token had along these prices. It
        compares tokens on the same prices; `zero_per_year_at_worst` bounds it from above.
        """
        return self._whole.zero.yearly

    @property
    def liquidation_per_year(self) -> float:
        """The same for liquidation by the venue."""
        return self._whole.liquidation.yearly

    @property
    def zero_per_year_at_worst(self) -> float:
        """The same, as if the token always rested at the worst leverage that its rule allows.

        Each protection of the rule is taken alone, the larger of formula and count holds, and the best
        protection counts: the token dies only if all of them fail.
        """
        return max(self._binding("zero")[0], self.zero_per_year)

    @property
    def liquidation_per_year_at_worst(self) -> float:
        """The same for liquidation by the venue."""
        return max(self._binding("liquidation")[0], self.liquidation_per_year)

    @property
    def _whole(self) -> GapRow:
        return next(row for row in self.rows if row.side == self.side and row.trigger == WHOLE_RULE)

    def _binding(self, fate: Fate) -> tuple[float, GapRow | None]:
        """The yearly chance of the best protection, and that row of it which fails most often."""
        guards: dict[int, list[GapRow]] = {}
        for row in self.rows:
            if row.side == self.side and row.guard is not None:
                guards.setdefault(row.guard, []).append(row)
        yearly: Callable[[GapRow], float] = lambda row: row.chance(fate).yearly  # noqa: E731
        found = [(1 - math.prod(1 - yearly(row) for row in rows), max(rows, key=yearly)) for rows in guards.values()]
        return min(found, key=lambda pair: pair[0], default=(0.0, None))

    @property
    def frame(self) -> pl.DataFrame:
        """A frame with one row per wait: the fields of GapRow, those of each Chance as zero_… and liquidation_…."""
        rows = []
        for row in self.rows:
            flat: dict[str, Any] = {}
            for name, value in msgspec.structs.asdict(row).items():
                chance = msgspec.structs.asdict(value) if isinstance(value, Chance) else {}
                flat |= {f"{name}_{key}": item for key, item in chance.items()} or {name: value}
            rows.append(flat)
        return pl.DataFrame(rows, infer_schema_length=None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Plain sentences about what is material, from 1 % a year on; none if nothing is."""
        zero, forced = self._warning("zero"), self._warning("liquidation")
        # The venue closes a position shortly before it is worth nothing, so both are often the same event.
        same = [chance_text(p) for p in (self.zero_per_year, self.zero_per_year_at_worst)] == [
            chance_text(p) for p in (self.liquidation_per_year, self.liquidation_per_year_at_worst)
        ]
        if zero and same:
            return (zero.replace("NAV may reach zero", "NAV may reach zero, or the venue liquidate just before,", 1),)
        return tuple(text for text in (zero, forced) if text)

    def _warning(self, fate: Fate) -> str:
        whole, (bound, row) = self._whole, self._binding(fate)
        usual = whole.chance(fate)
        bound = max(bound, usual.yearly)
        if bound < MATERIAL_PER_YEAR or row is None:
            return ""
        what = "NAV may reach zero" if fate == "zero" else "The venue may liquidate the position"
        chance, leverage = row.chance(fate), number(abs(row.leverage))
        years = f"{number(whole.windows / whole.gaps_per_year, decimals=1)} years of data"
        text = (
            f"{what} before the rule can trade: {chance_text(usual.yearly)} a year as the rule ran over these prices, "
            f"where it happened in {usual.counted:,} of {whole.windows:,} bars ({years}); at worst "
            f"{chance_text(bound)} a year. The best protection is {row.trigger}: from {leverage} times leverage "
        )
        if chance.move == 0:
            return f"{text}the venue's margin is used up already."
        way = "fall" if self.target > 0 else "rise"
        text += f"a {way} of {percent(abs(chance.move or 0), decimals=1)} is too much for it"
        if not row.windows:
            return f"{text}; the data are too short to count any."
        worst = f"the worst was {percent(row.worst_move, decimals=1, sign=True)}, {minute_text(row.worst_at)}"
        return f"{text}, which {chance.counted:,} of {row.windows:,} waits had; {worst}."

    def plot(self) -> Any:
        """Returns a Plotly figure: each wait's chance a year by formula and as counted, with its interval."""
        from gearing.study.gap_plot import gap_figure

        return gap_figure(self)

    def __repr__(self) -> str:
        chances = self.zero_per_year, self.zero_per_year_at_worst, self.liquidation_per_year
        zero, worst, forced = (chance_text(p) for p in chances)
        name = f"{self.symbol} on {self.prices}" if self.prices else self.symbol
        return f"GapBudget({name}: in a year NAV at zero {zero}, at worst {worst}; liquidation {forced})"


def chance_text(probability: float) -> str:
    """Returns a probability as people read it: two digits, "< 0.0001 %" where it is next to nothing."""
    if probability <= 0:
        return "0 %"
    if probability < 1e-6:
        return "< 0.0001 %"
    if probability > 0.9995:
        return "> 99.9 %" if probability < 1 else "100 %"
    decimals = max(0, 1 - math.floor(math.log10(probability * 100)))
    return percent(probability, decimals=min(decimals, 1 if probability > 0.1 else decimals))


def minute_text(time: str) -> str:
    """Returns a moment as people read it: "2020-03-12 11:00 UTC"."""
    return f"{time[:16].replace('T', ' ')} UTC"
