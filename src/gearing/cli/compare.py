"""`gearing compare`: many rules on one path, each with its own fees and with none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli import inputs
from gearing.cli.again import command_line
from gearing.cli.backtest import NO_COSTS
from gearing.cli.compiling import ensure_compiled
from gearing.cli.output import (
    Column,
    ForceOption,
    JsonFlag,
    columns_that_fit,
    console,
    count,
    emit,
    note,
    notes_so_far,
    pairs,
    say,
    show_table,
)  # fmt: skip
from gearing.cli.reporting import ReportOption
from gearing.cli.series import SeriesOptions
from gearing.errors import InputError, SpecError
from gearing.numerals import MISSING, amount, fixed, moment, share

if TYPE_CHECKING:
    import polars as pl

    from gearing.core.token import Token
    from gearing.study.compare import Comparison

SCHEMA = "gearing.compare/1"

_DEFAULT_TARGET = 3.0
_ALL = "all"
_GAP = "gap"
_HEADS = ("rule", "NAV", "return", "no fees", "tr.error", "drawdown", "max ℓ", _GAP, "rebal.", "turnover")


def compare(
    context: typer.Context,
    tokens: Annotated[
        list[Path] | None, typer.Argument(metavar="TOKEN.toml", help="Tokens' files, beside the presets.")
    ] = None,
    *,
    presets: Annotated[
        str | None,
        typer.Option(help="Issuers' tokens: ftx,bybit,gate; or all.", autocompletion=inputs.complete_preset),
    ] = None,
    target: Annotated[float | None, typer.Option(help="Target leverage of the presets.", show_default="3")] = None,
    prices: inputs.PricesOption,
    symbol: inputs.SymbolOption = None,
    stamp: inputs.StampOption = inputs.Stamp.OPEN,
    funding: inputs.FundingOption = None,
    dividends: inputs.DividendsOption = None,
    rates: inputs.RatesOption = None,
    underlying_prices: inputs.UnderlyingPricesOption = None,
    time_format: inputs.TimeFormatOption = None,
    columns: inputs.ColumnsOption = None,
    decimal: inputs.DecimalOption = None,
    volume_unit: inputs.VolumeUnitOption = None,
    funding_unit: inputs.FundingUnitOption = None,
    rates_unit: inputs.RatesUnitOption = None,
    start: inputs.StartOption = None,
    end: inputs.EndOption = None,
    underlying: inputs.UnderlyingOption = None,
    equity: inputs.EquityOption = 1_000_000.0,
    periods_per_year: inputs.PeriodsOption = None,
    intrabar: inputs.IntrabarOption = inputs.Intrabar.CLOSE,
    taker_fee: inputs.TakerFeeOption = None,
    half_spread: inputs.HalfSpreadOption = None,
    impact: inputs.ImpactOption = None,
    management_per_day: inputs.ManagementOption = None,
    sort: Annotated[
        str | None, typer.Option(help="A figure, such as total_return, largest first.", show_default="as given")
    ] = None,
    ascending: Annotated[bool, typer.Option("--ascending", help="Sort smallest first.")] = False,
    plot: inputs.PlotOption = None,
    report: ReportOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the table: .parquet, .csv, .feather, .json.")] = None,
    force: ForceOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Compares rules on one price path: results with their own fees, and the rules alone."""
    overrides = inputs.Overrides(taker_fee, half_spread, impact, management_per_day)
    files = [overrides.on(inputs.file_token(file, None)) for file in tokens or []]
    beta = _DEFAULT_TARGET if target is None else target
    names, left_out = chosen_presets(presets, beta)
    if not files and not names:
        raise InputError("nothing to compare is given.", fix="Give --presets all, or tokens' files.")
    reading = inputs.read_options(time_format, columns, decimal, volume_unit, funding_unit)
    series = SeriesOptions(prices, funding, dividends, rates, underlying_prices, symbol, stamp, start, end, underlying,
                           reading, rates_unit)  # fmt: skip
    inputs.check_study_outputs(inputs.table_outputs(out, plot, report), (*(tokens or []), *series.files()), force=force)
    market = series.load([*(inputs.preset_token(name, beta, underlying, None) for name in names), *files])
    issued = (overrides.on(inputs.preset_token(name, beta, underlying, market.nameless)) for name in names)
    chosen = [*issued, *files]
    for reason in left_out:
        note(reason)
    ensure_compiled(legs=market.needs_legs(chosen))
    from gearing.study.compare import compare as run

    measures: dict[str, Any] = {"periods_per_year": periods_per_year, "intrabar": intrabar.value}

    with inputs.noted_once():
        comparison = run(chosen, **market.for_study(), equity=equity, **measures)
    frame = sorted_by(comparison.frame, sort, ascending=ascending)
    answer = {"rules": frame.to_dicts(), "left_out": left_out, "equity": equity, "funding": bool(market.funding),
              "intrabar": intrabar.value, "notes": notes_so_far()}  # fmt: skip
    inputs.write_answer(out, answer, SCHEMA, frame, command=command_line(context), force=force)
    if plot is not None:
        inputs.write_figure(plot, comparison, force=force)
    if report is not None:
        from gearing.study.report import write_comparison

        write_comparison(comparison, report, command=command_line(context), force=force)
        typer.echo(f"wrote {report}", err=True)
    emit(answer, SCHEMA, as_json, lambda: _show(comparison, frame))


def chosen_presets(text: str | None, target: float) -> tuple[list[str], list[str]]:
    """Returns the presets that a list or "all" names, and why some of "all" are left out.

    Raises:
        SpecError: a named preset does not exist, or does not serve the target.
    """
    from gearing.core import presets
    from gearing.core.token import Token

    named = [name.strip() for name in (text or "").split(",") if name.strip()]
    wanted = list(dict.fromkeys(presets.names() if _ALL in named else named))
    served: list[str] = []
    refused: dict[str, SpecError] = {}
    for name in wanted:
        try:
            # A token refuses a rule that does not fit its target.
            Token(symbol="x", target=target, rule=presets.preset(name, target=target))
        except SpecError as error:
            refused[name] = SpecError(error.problems, where=f"--presets {name}")
        else:
            served.append(name)
    for name, refusal in refused.items():
        # What a person named is wanted; and where nothing is left, the target itself is at fault.
        if name in named or not served:
            raise refusal
    left_out = [f"{name} is left out: {refusal.problems[0]}" for name, refusal in refused.items()]
    return served, left_out


def sorted_by(frame: pl.DataFrame, column: str | None, *, ascending: bool) -> pl.DataFrame:
    """Returns a frame sorted by a column, missing figures last.

    Raises:
        InputError: there is no such column.
    """
    import difflib

    import polars as pl

    if column is None:
        return frame
    if column not in frame.columns:
        near = difflib.get_close_matches(column, frame.columns, n=1)
        guess = f'Did you mean "{near[0]}"? ' if near else ""
        raise InputError(
            f"there is no column {column!r} to sort by.", fix=f"{guess}There are {', '.join(frame.columns)}."
        )
    key = pl.col(column).fill_nan(None) if frame[column].dtype.is_float() else pl.col(column)
    return frame.sort(key, descending=not ascending, nulls_last=True, maintain_order=True)


def _show(comparison: Comparison, frame: pl.DataFrame) -> None:
    from gearing.study.ran_on import series_rows

    tokens = [result.token for result in comparison.results]
    targets = sorted({f"{token.target:+g}".replace("-", "−") for token in tokens})
    typer.secho(f"{count(len(tokens), 'rule')} at a target of {', '.join(targets)}", bold=True)
    runs = [(result.token, result.ran_on) for result in comparison.results]
    pairs([*series_rows(runs, options=True), ("costs", _costs(tokens))])
    typer.echo()
    found = frame.to_dicts()
    names = _names(found, several_targets=len(targets) > 1)
    cells = [[name, *_cells(row)] for name, row in zip(names, found, strict=True)]
    shown = columns_that_fit([_HEADS, *cells], console().width, least=4)
    columns = [Column(_HEADS[0], wrap=False), *(Column(head, "right", wrap=False) for head in _HEADS[1:shown])]
    show_table(columns, [row[:shown] for row in cells])
    _say_fates(names, found)
    typer.echo()
    say('"no fees" is the return of the rule alone, without the issuer\'s fees.')
    if _GAP in _HEADS[:shown]:
        say(f'"{_GAP}" is the chance a year, at worst, that NAV reaches zero before the rule can trade.')


def _costs(tokens: list[Token]) -> str:
    from gearing.core.words import cost_words

    words = list(dict.fromkeys(cost_words(token.costs) for token in tokens))
    shown = "; or ".join(text or NO_COSTS for text in words)
    all_in = any(token.fees.all_in for token in tokens)
    return f"{shown}; all-in issuers bear funding and trading costs" if all_in and any(words) else shown


def _names(rows: list[dict[str, Any]], *, several_targets: bool) -> list[str]:
    """What tells the rows apart: the rule's name, its target if there are several, the symbol if need be."""
    names = []
    for row in rows:
        # A rule without a name is told by its token.
        name = row["symbol"] if row["rule"].startswith("Rule(") else row["rule"]
        target = f"{row['target']:+g}".replace("-", "−")
        names.append(f"{name} {target}" if several_targets else name)
    return [
        name if names.count(name) == 1 else f"{name} ({row['symbol']})" for name, row in zip(names, rows, strict=True)
    ]


def _cells(row: dict[str, Any]) -> list[str]:
    from gearing.study.gap_record import chance_text

    return [
        amount(row["final_nav"], 5),
        share(row["total_return"], 1),
        share(row["total_return_without_fees"], 1),
        share(row["tracking_error"], 1, sign=False),
        share(row["max_drawdown"], 1),
        fixed(row["max_leverage"], 2),
        MISSING if row["gap_budget"] is None else chance_text(row["gap_budget"]),
        f"{row['rebalances']:,}",
        fixed(row["turnover"], 1),
    ]


def _say_fates(names: list[str], rows: list[dict[str, Any]]) -> None:
    for name, row in zip(names, rows, strict=True):
        if row["wiped_out"]:
            typer.secho(f"{name} was wiped out on {moment(row['wiped_out_at'])} UTC.", fg="red")
        if row["liquidations"]:
            times = "once" if row["liquidations"] == 1 else f"{row['liquidations']:,} times"
            typer.secho(f"{name} was liquidated {times}.", fg="red")
