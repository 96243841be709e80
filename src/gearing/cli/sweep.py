"""`gearing sweep`: one token over a grid of its own fields."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli import inputs
from gearing.cli.again import command_line
from gearing.cli.backtest import cost_line, fee_line, rule_line
from gearing.cli.compare import sorted_by
from gearing.cli.compiling import ensure_compiled
from gearing.cli.output import (
    Column,
    ForceOption,
    JsonFlag,
    columns_that_fit,
    console,
    count,
    emit,
    notes_so_far,
    pairs,
    show_table,
)  # fmt: skip
from gearing.cli.reporting import ReportOption
from gearing.cli.series import SeriesOptions
from gearing.errors import InputError
from gearing.numerals import amount, fixed, number, share

if TYPE_CHECKING:
    import polars as pl

    from gearing.study.sweep import Sweep

SCHEMA = "gearing.sweep/1"

# Beyond these a grid is a slip of the pen: each combination is a token that is checked and run.
_VALUES_MAX = 10_000
_COMBINATIONS_MAX = 200_000
_SHOWN = 20

_Row = dict[str, Any]

_FIGURES: dict[str, Callable[[_Row], str]] = {
    "return": lambda row: "wiped out" if row["wiped_out"] else share(row["total_return"], 1),
    "NAV": lambda row: amount(row["final_nav"], 5),
    "drawdown": lambda row: share(row["max_drawdown"], 1),
    "tr.error": lambda row: share(row["tracking_error"], 1, sign=False),
    "rebal.": lambda row: f"{row['rebalances']:,}",
    "turnover": lambda row: fixed(row["turnover"], 1),
}
_SHOWN_AS = ("final_nav", "total_return", "max_drawdown", "tracking_error", "rebalances")

_WORDS = {"true": True, "false": False, "none": None}


def sweep(
    context: typer.Context,
    token: inputs.TokenArgument = None,
    *,
    prices: inputs.PricesOption,
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="FIELD=VALUES",
            help="Values a,b,c or a range start:stop:step, such as rule.band_upper=4:6:0.25; again for each field.",
            show_default=False,
        ),
    ],
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
    preset: inputs.PresetOption = None,
    target: inputs.TargetOption = None,
    underlying: inputs.UnderlyingOption = None,
    equity: inputs.EquityOption = 1_000_000.0,
    periods_per_year: inputs.PeriodsOption = None,
    intrabar: inputs.IntrabarOption = inputs.Intrabar.CLOSE,
    taker_fee: inputs.TakerFeeOption = None,
    half_spread: inputs.HalfSpreadOption = None,
    impact: inputs.ImpactOption = None,
    management_per_day: inputs.ManagementOption = None,
    sort: Annotated[str, typer.Option(help="A field or figure, largest first.")] = "total_return",
    ascending: Annotated[bool, typer.Option("--ascending", help="Sort smallest first.")] = False,
    top: Annotated[int, typer.Option(min=1, help="How many to show; --json and --out give all.")] = _SHOWN,
    plot: inputs.PlotOption = None,
    report: ReportOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the table: .parquet, .csv, .feather, .json.")] = None,
    force: ForceOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Runs every combination of a token's fields over one path and ranks them."""
    grid = parse_grid(set_)
    overrides = inputs.Overrides(taker_fee, half_spread, impact, management_per_day)
    choice = inputs.Choice(token, preset, target, underlying, overrides)
    tried = choice.token()
    reading = inputs.read_options(time_format, columns, decimal, volume_unit, funding_unit)
    series = SeriesOptions(prices, funding, dividends, rates, underlying_prices, symbol, stamp, start, end, underlying,
                           reading, rates_unit)  # fmt: skip
    inputs.check_study_outputs(inputs.table_outputs(out, plot, report), (token, *series.files()), force=force)
    market = series.load([tried])
    chosen = choice.token(market.nameless)
    ensure_compiled(legs=market.needs_legs([chosen]))
    from gearing.study.sweep import sweep as run

    found = run(
        chosen,
        grid,
        **market.for_study(),
        equity=equity,
        periods_per_year=periods_per_year,
        intrabar=intrabar.value,
        progress=sys.stderr.isatty(),
    )
    frame = sorted_by(found.table, sort, ascending=ascending)
    answer = {"token": chosen, "grid": grid, "combinations": len(frame), "rows": frame.to_dicts(),
              "intrabar": intrabar.value, "notes": notes_so_far()}  # fmt: skip
    inputs.write_answer(out, answer, SCHEMA, frame, command=command_line(context), force=force)
    if plot is not None:
        inputs.write_figure(plot, found, force=force)
    if report is not None:
        from gearing.study.report import write_sweep

        write_sweep(found, report, figure=judged_by(found, sort), command=command_line(context), force=force)
        typer.echo(f"wrote {report}", err=True)
    emit(answer, SCHEMA, as_json, lambda: _show(found, frame.head(top), sort))


def judged_by(found: Sweep, sort: str) -> str:
    """Returns the figure a report judges by: what the table is sorted by, if that is a figure and no field."""
    numeric = sort in found.table.columns and found.table[sort].dtype.is_numeric()
    return sort if numeric and sort not in found.grid else "total_return"


def parse_grid(texts: list[str]) -> dict[str, list[Any]]:
    """Returns each field with its values, from texts such as "rule.band_upper=4,4.5" or "target=1:3:0.5".

    Raises:
        InputError: a text is no such thing, a field stands twice, or there are too many combinations.
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        field, separator, values = text.partition("=")
        field = field.strip()
        where = f"--set {text}"
        if not separator or not field or not values.strip():
            raise InputError("this sets nothing.", where=where, fix="Write rule.band_upper=4,4.5,5.")
        if field in grid:
            raise InputError(f"{field} is set twice.", where=where, fix=f"Write all its values after one {field}=.")
        # A colon in a time of day makes no range.
        ranges = "times" not in field
        grid[field] = [value for item in values.split(",") for value in _values(item.strip(), where, ranges=ranges)]
    combinations = math.prod(len(values) for values in grid.values())
    if combinations > _COMBINATIONS_MAX:
        raise InputError(
            f"{combinations:,} combinations are too many.",
            where="--set",
            fix=f"Try at most {_COMBINATIONS_MAX:,}: fewer values, or wider steps.",
        )
    return grid


def _values(item: str, where: str, *, ranges: bool) -> list[Any]:
    if not item:
        raise InputError("a value is missing.", where=where, fix="Write the values with one comma between them.")
    parts = item.split(":")
    if ranges and len(parts) == 3:
        return _range(parts, where)
    return [_value(item)]


def _range(parts: list[str], where: str) -> list[float]:
    numbers = [_value(part.strip()) for part in parts]
    if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
        raise InputError("this is no range.", where=where, fix="Write start:stop:step in numbers: 4:6:0.25.")
    # In decimals, so that 0.1:0.3:0.1 ends at 0.3 and not just below it.
    start, stop, step = (Decimal(repr(number)) for number in numbers)
    steps = (stop - start) / step if step else Decimal(-1)
    if not 0 <= steps < _VALUES_MAX:
        raise InputError(
            "this range leads nowhere, or has too many values.",
            where=where,
            fix=f"Write start:stop:step with a step towards stop and at most {_VALUES_MAX:,} values.",
        )
    return [float(start + k * step) for k in range(int(steps) + 1)]


def _value(text: str) -> Any:
    """Returns a number, a rate such as "0.05%" as a number, true, false, none, or the text as it is."""
    from gearing.core.record import rate

    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        number = rate(text)
    except (ValueError, OverflowError):
        return text
    if not math.isfinite(number):
        return text
    return int(text) if text.lstrip("+-").isdecimal() and text.isascii() else number


def _show(found: Sweep, frame: pl.DataFrame, sort: str) -> None:
    from gearing.study.ran_on import series_rows

    token = found.token
    wiped = int(found.table["wiped_out"].sum())
    fate = f", {wiped:,} wiped out" if wiped else ""
    typer.secho(f"{token.symbol}: {count(len(found), 'combination')}{fate}", bold=True)
    pairs(
        [
            ("rule", rule_line(token)),
            ("fees", fee_line(token)),
            *([] if found.ran_on is None else series_rows([(token, found.ran_on)], options=True)),
            ("costs", cost_line(token, token.costs)),
        ]
    )
    typer.echo()
    figures = dict(_FIGURES)
    if sort not in {*_SHOWN_AS, *found.grid}:
        figures = {sort: lambda row: _cell(row[sort], 4), **_FIGURES}
    heads = [*_short(list(found.grid)), *figures]
    cells = [
        [*(_cell(row[name]) for name in found.grid), *(show(row) for show in figures.values())]
        for row in frame.to_dicts()
    ]
    shown = columns_that_fit([heads, *cells], console().width, least=len(found.grid) + 1)
    columns = [Column(name, "right", wrap=False) for name in heads[:shown]]
    show_table(columns, [row[:shown] for row in cells])
    if len(frame) < len(found):
        typer.echo()
        typer.echo(f"{len(frame):,} of {len(found):,}, sorted by {sort}; --top shows more, --out writes all.")


def _short(paths: list[str]) -> list[str]:
    """The last steps of dotted paths, where that leaves them different."""
    last = [path.rpartition(".")[2] for path in paths]
    return [end if last.count(end) == 1 and not end.isdigit() else path for end, path in zip(last, paths, strict=True)]


def _cell(value: Any, decimals: int = 6) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "none" if value is None else str(value)
    return fixed(value, 0) if not math.isfinite(value) else number(value, decimals=decimals)
