"""`gearing token`: check a specification, and start a new one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gearing.cli.gap import GapEquityOption, MaintenanceOption, budget_of, budget_payload, show_budget
from gearing.cli.inputs import EndOption, Stamp, StampOption, StartOption, SymbolOption, load_market
from gearing.cli.output import FAULT_FOUND, JsonFlag, count, emit, heading, pairs, show_error, write_out
from gearing.cli.rules import rule_payload, show_fees, show_rule
from gearing.errors import InputError, SpecError

if TYPE_CHECKING:
    from gearing.core.token import Token

token_app = typer.Typer(help="Token specifications: check one, or start a new one.", no_args_is_help=True)


@token_app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The token's TOML file.", show_default=False)],
    prices: Annotated[
        Path | None, typer.Option(help="Bars of the underlying: also print the gap budget.", show_default=False)
    ] = None,
    symbol: SymbolOption = None,
    stamp: StampOption = Stamp.OPEN,
    start: StartOption = None,
    end: EndOption = None,
    maintenance_rate: MaintenanceOption = "0.4%",
    equity: GapEquityOption = 1_000_000.0,
    as_json: JsonFlag = False,
) -> None:
    """Says what a token is, or names every mistake in its file (exit code 3).

    With --prices it also prints the gap budget: how likely NAV reaches zero, or the venue liquidates the
    position, before the rule can trade.
    """
    from gearing.market.token_file import read_token

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
        **rule_payload(rule, token.fees, token.target),
    }
    budget = None
    if prices is not None:
        market = load_market(prices, symbol, stamp, None, start, end)
        budget = budget_of(token, market.prices, maintenance_rate, equity)
        payload["gap_budget"] = budget_payload(budget)

    def show() -> None:
        _show(token, file)
        if budget is not None:
            show_budget(budget)

    emit(payload, "gearing.token-check/1", as_json, show)


def _show(token: Token, file: Path) -> None:
    from gearing.core.words import number

    direction = "long" if token.target > 0 else "short"
    size = f"{number(abs(token.target))} times {direction}"
    typer.secho(f"{token.symbol}: {token.name or size}", bold=True)
    typer.secho(f"{file} is a valid token.", fg="green")
    typer.echo()
    pairs(_facts(token, size))
    rule = token.resolved_rule
    show_rule(rule, token.target)
    show_fees(token.fees, token.target)
    _show_costs(token)


def _facts(token: Token, size: str) -> list[tuple[str, str]]:
    from gearing.core.words import number

    leg = token.legs[0]
    contract = f"the linear perpetual {leg.symbol}" if leg.symbol else "a linear perpetual"
    steps = f"in lots of {leg.lot:g}" if leg.lot else "of any size"
    tiers = count(len(leg.margin_tiers), "margin tier") if leg.margin_tiers else "never liquidated"
    facts = [
        ("target", f"{number(token.target, sign=True)} ({size})"),
        ("rule", token.rule if isinstance(token.rule, str) else (token.rule.name or "its own")),
        ("holds", f"{contract}, {steps}, multiplier {leg.multiplier:g}, {tiers}"),
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
    return facts


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
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    """Writes a commented example of a token."""
    from gearing.core.spec_text import example_token

    if file is None:
        typer.echo(example_token(), nl=False)
        return
    if file.exists() and not force:
        raise InputError(
            "the file exists already.", where=str(file), fix="Give another name, or --force to write over it."
        )
    write_out(file, example_token())
