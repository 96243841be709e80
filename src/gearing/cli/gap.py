"""The gap budget as `gearing token check --prices` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli.compiling import ensure_compiled
from gearing.cli.output import Column, console, heading, pairs, say, show_table

if TYPE_CHECKING:
    from gearing.core.token import Token
    from gearing.market.series import Prices
    from gearing.study.gap_record import Chance, Fate, GapBudget, GapRow

# A table with both ends of a token needs so many columns of the terminal.
_WIDE = 118

MaintenanceOption = Annotated[
    str, typer.Option(help="The venue's maintenance margin of notional, for a token without margin tiers.")
]
GapEquityOption = Annotated[float, typer.Option(help="The token's equity; margin tiers depend on its size.")]


def budget_of(token: Token, prices: Mapping[str, Prices], maintenance_rate: str, equity: float) -> GapBudget:
    """Returns the gap budget of a token, with a word to a person while the engine compiles."""
    from gearing.core.instruments import DatedFuture

    chain = isinstance(token.legs[0], DatedFuture) and bool(token.legs[0].contracts)
    ensure_compiled(legs=chain or len(token.legs) > 1)
    from gearing.study.gap import gap_budget

    return gap_budget(token, prices, maintenance_rate=maintenance_rate, equity=equity)


def budget_payload(budget: GapBudget) -> dict[str, Any]:
    """Returns a gap budget with its headline figures and warnings, for JSON."""
    import msgspec

    return {
        **msgspec.structs.asdict(budget),
        "zero_per_year": budget.zero_per_year,
        "zero_per_year_at_worst": budget.zero_per_year_at_worst,
        "liquidation_per_year": budget.liquidation_per_year,
        "liquidation_per_year_at_worst": budget.liquidation_per_year_at_worst,
        "warnings": budget.warnings,
    }


def show_budget(budget: GapBudget) -> None:
    """Prints a gap budget: the headline, a table for each side, and a warning if one is due."""
    from gearing.core.words import number, percent
    from gearing.study.gap_record import minute_text

    heading("Gap budget: what may happen before the rule can trade")
    name = f"{budget.prices}, " if budget.prices else ""
    jumps = f"{number(budget.jumps_per_year, decimals=1)} jumps a year of {percent(budget.jump_deviation, decimals=1)}"
    pairs(
        [
            ("NAV at zero", _range(budget.zero_per_year, budget.zero_per_year_at_worst)),
            ("liquidation", _range(budget.liquidation_per_year, budget.liquidation_per_year_at_worst)),
            ("margin", f"taken as {budget.maintenance}"),
            ("prices", f"{name}{budget.bars:,} bars, {minute_text(budget.start)} to {minute_text(budget.end)}"),
            *([("made of", budget.made_of)] if budget.made_of else []),
            (
                "law of moves",
                f"volatility {percent(budget.volatility, decimals=1)} a year: {percent(budget.diffusion, decimals=1)} "
                f"without jumps, and {jumps if budget.jumps_per_year else 'no jumps'}",
            ),
        ]
    )
    for side in dict.fromkeys(row.side for row in budget.rows):
        whose = "this token" if side == budget.side else "the same rule the other way round"
        rows = [row for row in budget.rows if row.side == side]
        _show_rows(rows, f"{number(abs(budget.target))} times {side}: {whose}")
        say(_worst(rows))
    typer.echo()
    say(_certainty(budget))
    say(
        'Each row is a wait until its trigger may trade, from "target" or from "edge", the worst leverage at which '
        'that trigger still lets the token rest. The whole rule starts from "path", the leverage the token had over '
        "these prices; its row shows the bar that left least. A year's chance is by formula, first passage of a price "
        "with jumps (markets have fatter tails); counted are the waits of these prices that went so far. A rule "
        "sees a price at the end of a bar only, so finer bars make it quicker."
    )
    for sentence in budget.warnings:
        typer.echo()
        say(sentence, mark="Warning: ")


def _certainty(budget: GapBudget) -> str:
    """How far the count of the rule as a whole can be off."""
    from gearing.study.gap_record import WHOLE_RULE, chance_text

    whole = next(row for row in budget.rows if row.side == budget.side and row.trigger == WHOLE_RULE)
    low, high = (chance_text(chance) for chance in (whole.zero.counted_low, whole.zero.counted_high))
    return (
        f"How sure the count is: NAV at zero in {whole.zero.counted:,} of {whole.windows:,} bars of the whole rule is "
        f"{chance_text(whole.zero.per_year_counted)} a year, and its 95 % interval {low} to {high} (exact binomial, as "
        "if bars were independent)."
    )


def _range(usual: float, worst: float) -> str:
    from gearing.study.gap_record import chance_text

    return f"{chance_text(usual)} a year as the rule ran over these prices; at worst {chance_text(worst)}"


def _show_rows(rows: list[GapRow], title: str) -> None:
    """One table with both ends, or one for each where the terminal is narrow."""
    if console().width >= _WIDE:
        _table(rows, ("zero", "liquidation"), title)
        return
    _table(rows, ("zero",), f"{title}, NAV at zero")
    _table(rows, ("liquidation",), f"{title}, liquidation")


def _table(rows: list[GapRow], fates: tuple[Fate, ...], title: str) -> None:
    from gearing.core.words import level_text
    from gearing.market.times import duration_text
    from gearing.study.gap_record import chance_text

    def end(chance: Chance) -> tuple[str, str, str]:
        move = "never" if chance.move is None else _tight(chance.move)
        return move, chance_text(chance.per_year).replace(" ", ""), f"{chance.counted:,}"

    def cells(row: GapRow) -> tuple[str, ...]:
        ends = (cell for fate in fates for cell in end(row.chance(fate)))
        start = f"{row.start} {level_text(round(row.leverage, 2), sign=True)}"
        waits = f"{row.windows:,} × {duration_text(row.horizon_ms)}"
        return (row.trigger, start, waits, *ends, _tight(row.worst_move) if row.windows else "none")

    heads = {"zero": "zero at", "liquidation": "liquidated at" if len(fates) > 1 else "at"}
    columns = [Column("trigger"), Column("from"), Column("waits", "right", wrap=False)]
    for fate in fates:
        columns += [Column(heads[fate], "right"), Column("a year", "right", wrap=False), Column("counted", "right")]
    show_table([*columns, Column("worst", "right", wrap=False)], [cells(row) for row in rows], title=title)


def _tight(move: float) -> str:
    from gearing.core.words import percent

    return percent(move, decimals=1, sign=True).replace(" ", "")


def _worst(rows: list[GapRow]) -> str:
    """When the worst moves were, each said once."""
    from gearing.core.words import percent
    from gearing.market.times import duration_text
    from gearing.study.gap_record import minute_text

    seen = {
        (row.worst_move, row.worst_at): f"in {duration_text(row.horizon_ms)} "
        f"{percent(row.worst_move, decimals=1, sign=True)}, {minute_text(row.worst_at)}"
        for row in rows
        if row.windows
    }
    return f"Worst: {'; '.join(seen.values())}."
