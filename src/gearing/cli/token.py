"""`gearing token`: check a specification, start a new one; list and show those of a desk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gearing.cli.gap import GapEquityOption, MaintenanceOption, budget_of, budget_payload, show_budget
from gearing.cli.inputs import (
    FIGURES,
    ColumnsOption,
    DecimalOption,
    EndOption,
    Stamp,
    StampOption,
    StartOption,
    SymbolOption,
    TimeFormatOption,
    check_study_outputs,
    read_options,
    write_figure,
)  # fmt: skip
from gearing.cli.merge import token_merge
from gearing.cli.output import (
    FAULT_FOUND,
    ForceOption,
    JsonFlag,
    OverwriteOption,
    count,
    emit,
    heading,
    notes_so_far,
    pairs,
    show_error,
    write_out,
)  # fmt: skip
from gearing.cli.rules import rule_payload, show_fees, show_rule
from gearing.cli.series import SeriesOptions
from gearing.cli.status import token_list, token_show
from gearing.errors import InputError, SpecError
from gearing.typed import escaped

if TYPE_CHECKING:
    from gearing.core.instruments import Leg
    from gearing.core.token import Token

token_app = typer.Typer(help="Tokens: check a specification, start a new one; those of a desk.", no_args_is_help=True)
token_app.command("list")(token_list)
token_app.command("show")(token_show)
token_app.command("merge")(token_merge)


@token_app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The token's TOML file.", show_default=False)],
    prices: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="Bars of what it holds: also print the gap budget. NAME is the symbol of a leg or contract.",
            show_default=False,
        ),
    ] = None,
    symbol: SymbolOption = None,
    stamp: StampOption = Stamp.OPEN,
    time_format: TimeFormatOption = None,
    columns: ColumnsOption = None,
    decimal: DecimalOption = None,
    start: StartOption = None,
    end: EndOption = None,
    maintenance_rate: MaintenanceOption = "0.4%",
    equity: GapEquityOption = 1_000_000.0,
    plot: Annotated[
        Path | None, typer.Option(help="Write the gap budget's figure, as HTML.", show_default=False)
    ] = None,
    force: ForceOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Says what a token is, or names every mistake in its file (exit code 3).

    With --prices it also prints the gap budget: how likely NAV reaches zero, or the venue liquidates the
    position, before the rule can trade.
    """
    from gearing.market.token_file import read_token

    if plot is not None and not prices:
        raise InputError("there is no gap budget to draw.", where="--plot", fix="Give the bars with --prices.")
    reading = read_options(time_format, columns, decimal)
    series = SeriesOptions(prices or [], symbol=symbol, stamp=stamp, start=start, end=end, reading=reading)
    check_study_outputs({"--plot": (plot, FIGURES)}, (file, *series.files()), force=force)
    try:
        token = read_token(file)
    except SpecError as error:
        mistakes = {"file": str(file), "valid": False, "problems": [p._asdict() for p in error.problems]}
        emit(mistakes, "gearing.token-check/1", as_json)
        if not as_json:
            show_error(error)
        raise typer.Exit(FAULT_FOUND) from None
    rule = token.resolved_rule
    payload = {
        "file": str(file),
        "valid": True,
        "problems": [],
        "token": token,
        **rule_payload(rule, token.fees, token.target, in_coin=token.settles_in_coin),
    }
    budget = None
    if prices:
        budget = budget_of(token, series.load([token]).prices, maintenance_rate, equity)
        payload["gap_budget"] = budget_payload(budget)
        payload["notes"] = notes_so_far()
        if plot is not None:
            write_figure(plot, budget, force=force)

    def show() -> None:
        _show(token, file)
        if budget is not None:
            show_budget(budget)

    emit(payload, "gearing.token-check/1", as_json, show)


def _show(token: Token, file: Path) -> None:
    from gearing.core.words import number

    direction = "long" if token.target > 0 else "short"
    size = f"{number(abs(token.target))} times {direction}"
    typer.secho(escaped(f"{token.symbol}: {token.name or size}"), bold=True)
    typer.secho(f"{file} is a valid token.", fg="green")
    typer.echo()
    pairs(_facts(token, size))
    rule = token.resolved_rule
    show_rule(rule, token.target, in_coin=token.settles_in_coin)
    show_fees(token.fees, token.target)
    _show_costs(token)


def _facts(token: Token, size: str) -> list[tuple[str, str]]:
    from gearing.core.words import merger_words, number

    facts = [
        ("target", f"{number(token.target, sign=True)} ({size})"),
        ("rule", token.rule if isinstance(token.rule, str) else (token.rule.name or "its own")),
        *[("holds" if k == 0 else "", _holding(token, leg)) for k, leg in enumerate(token.legs)],
        ("first NAV", f"{number(token.initial_nav)} {token.settlement}"),
    ]
    limits = token.limits
    for name, value, unit in (
        ("largest exposure", limits.largest_exposure, token.settlement),
        ("largest order", limits.largest_order, token.settlement),
        ("supply cap", limits.supply_cap, "units"),
    ):
        if value is not None:
            facts.append((name, f"{number(value)} {unit}"))
    if token.consolidation is not None:
        facts.append(("mergers", merger_words(token)))
    return facts


def _holding(token: Token, leg: Leg) -> str:
    """Returns what one leg is, in one line."""
    from gearing.core.instruments import DatedFuture, Spot, TotalReturnSwap, kind_of
    from gearing.core.words import number, percent

    words = kind_of(leg).replace("_", " ")
    if token.is_inverse:
        words = "inverse perpetual"
    elif words == "perpetual":
        words = "linear perpetual"
    share = f"{percent(leg.weight)} in " if len(token.legs) > 1 else ""
    name = f" {leg.symbol}" if leg.symbol else ""
    facts = [f"{share}the {words}{name}" if name else f"a {words}"]
    facts.append(f"in lots of {leg.lot:g}" if leg.lot else "of any size")
    facts.append(f"multiplier {leg.multiplier:g}")
    if leg.min_notional:
        facts.append(f"trades of {number(leg.min_notional)} at least")
    match leg:
        case TotalReturnSwap():
            facts.append(f"{percent(leg.spread)} a year over the reference rate")
        case DatedFuture():
            facts.append(f"{count(len(leg.contracts), 'contract')}, rolled {number(leg.roll_days)} days before expiry")
    if not isinstance(leg, (TotalReturnSwap, Spot)):
        facts.append(count(len(leg.margin_tiers), "margin tier") if leg.margin_tiers else "never liquidated")
    return ", ".join(facts)


def _show_costs(token: Token) -> None:
    from gearing.core.words import number, percent

    costs = token.costs
    known = [
        ("taker fee", percent(costs.taker_fee, decimals=4)),
        ("half spread", percent(costs.half_spread, decimals=4)),
        ("impact", number(costs.impact, decimals=4)),
        ("liquidation fee", percent(costs.liquidation_fee, decimals=4)),
    ]
    heading("Trading costs in a study")
    charged = [(name, text) for name, text in known if text not in ("0", "0 %")]
    pairs(charged or [("none", "unless a study gives them")])


@token_app.command()
def new(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to write; stdout if not given.")] = None,
    force: OverwriteOption = False,
    holds: Annotated[
        str,
        typer.Option(help="What it holds: perpetual, inverse, dated_future, total_return_swap, spot, basket."),
    ] = "perpetual",
) -> None:
    """Writes a commented example of a token."""
    from gearing.core.spec_text import EXAMPLES, example_token

    if holds not in EXAMPLES:
        raise InputError(f"{holds!r} is nothing a token holds.", where="--holds", fix=f"One of {', '.join(EXAMPLES)}.")
    text = example_token(holds)
    if file is None:
        typer.echo(text, nl=False)
        return
    from gearing.outputs import Output, check_outputs

    check_outputs([Output(option="", path=file, kind="toml", replaces=False)], force=force)
    write_out(file, text, "toml", force=force)
