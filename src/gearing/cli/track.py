"""`gearing track`: a real product's market prices against a backtest of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli import inputs
from gearing.cli.again import command_line
from gearing.cli.backtest import cost_line, fee_line, rule_line
from gearing.cli.choose import parsed
from gearing.cli.compiling import ensure_compiled
from gearing.cli.output import (
    Column,
    ForceOption,
    JsonFlag,
    aligned,
    emit,
    heading,
    notes_so_far,
    pairs,
    say,
    show_table,
)
from gearing.cli.ran_on import series_payload
from gearing.cli.reporting import ReportOption, period_of
from gearing.cli.series import SeriesOptions, one_of
from gearing.numerals import fixed, moment, number, percent, share
from gearing.typed import escaped

if TYPE_CHECKING:
    from gearing.market.series import Prices
    from gearing.study.result import Result
    from gearing.study.track_record import Track

SCHEMA = "gearing.track/1"
_WORST = 6


def track(
    context: typer.Context,
    product: Annotated[
        Path, typer.Argument(metavar="[NAME=]PRODUCT_FILE", help="The product's prices; NAME chooses of several.")
    ],
    token: inputs.TokenArgument = None,
    *,
    prices: inputs.PricesOption,
    product_stamp: Annotated[
        inputs.Stamp | None,
        typer.Option(help="What the time of a bar means in the product's file.", show_default="as --stamp"),
    ] = None,
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
    taker_fee: inputs.TakerFeeOption = None,
    half_spread: inputs.HalfSpreadOption = None,
    impact: inputs.ImpactOption = None,
    management_per_day: inputs.ManagementOption = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="START..END", help="Measure this part only: 2023-03-01..2023-04-01.", show_default="all of it"
        ),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(metavar="START..END", help="Leave out gaps of this period; again for each.", show_default=False),
    ] = None,
    plot: inputs.PlotOption = None,
    report: ReportOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the series: .parquet, .csv, .feather, .json.")] = None,
    force: ForceOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Measures a real product's prices against a backtest: drift, deviation, and the financing spread they imply."""
    measured = period_of("--window", window)
    left_out = [period for text in leave_out or [] if (period := period_of("--leave-out", text))]
    overrides = inputs.Overrides(taker_fee, half_spread, impact, management_per_day)
    choice = inputs.Choice(token, preset, target, underlying, overrides)
    tried = choice.token()
    reading = inputs.read_options(time_format, columns, decimal, volume_unit, funding_unit)
    series = SeriesOptions(prices, funding, dividends, rates, underlying_prices, symbol, stamp, start, end, underlying,
                           reading, rates_unit)  # fmt: skip
    files = (token, parsed("PRODUCT_FILE", [product])[0].file, *series.files())
    inputs.check_study_outputs(inputs.table_outputs(out, plot, report), files, force=force)
    real = read_product(product, product_stamp or stamp)
    market = series.load([tried])
    chosen = choice.token(market.nameless)
    ensure_compiled(legs=market.needs_legs([chosen]))
    from gearing.study.backtest import backtest as run
    from gearing.study.track import track as measure

    result = run(chosen, **market.for_study(), equity=equity)
    found = measure(real, result, window=measured, leave_out=left_out)
    answer = payload(found, result)
    inputs.write_answer(out, answer, SCHEMA, found.frame, command=command_line(context), force=force)
    if plot is not None:
        inputs.write_figure(plot, found, force=force)
    if report is not None:
        from gearing.study.report import write_track

        write_track(found, report, command=command_line(context), force=force)
        typer.echo(f"wrote {report}", err=True)
    emit(answer, SCHEMA, as_json, lambda: _show(found, result))


def read_product(value: Path, stamp: inputs.Stamp) -> Prices:
    """Returns the prices of a product, FILE or NAME=FILE; adjusted closes where the file has them.

    Raises:
        InputError: it names no series, or the file cannot be read.
    """
    from gearing.market.files import read_prices
    from gearing.market.reading.names import TableKind

    given = parsed("PRODUCT_FILE", [value])[0]
    name = one_of(given, "PRODUCT_FILE", TableKind.PRICES)
    return read_prices(given.file, symbol=name, stamp=stamp.value)


def payload(found: Track, result: Result) -> dict[str, Any]:
    """Returns a track's answer for JSON."""
    import msgspec

    figures = {name: value for name, value in msgspec.structs.asdict(found).items() if name != "frame"}
    return {
        "token": result.token,
        **series_payload(result),
        "equity": result.equity,
        "notes": notes_so_far(),
        "track": figures,
        "by_year": found.by_year.to_dicts(),
        "worst": found.worst(_WORST).to_dicts(),
    }


def _show(found: Track, result: Result) -> None:
    """Prints a track for people."""
    from gearing.study.ran_on import series_rows
    from gearing.study.track_words import drift_words, product_name, spread_words

    token = result.token
    typer.secho(f"{escaped(product_name(found))} against {token.symbol}, {number(token.target, sign=True)}", bold=True)
    period = f"{moment(found.start)} to {moment(found.end)} UTC"
    pairs(
        [
            ("product", f"{found.changes:,} gaps, {period}"),
            ("rule", rule_line(token)),
            ("fees", fee_line(token)),
            *series_rows([(token, result.ran_on)], result.prices, options=True),
            ("costs", cost_line(token, result.costs)),
        ]
    )
    _show_figures(found)
    _show_gaps(found)
    typer.echo()
    say(drift_words(found))
    if words := spread_words(found):
        say(words)


def _show_figures(found: Track) -> None:
    from gearing.study.track_words import basis_points

    heading("Product against simulation")
    spread = share(found.implied_spread)
    if found.charged_spread is not None:
        whole = share(found.charged_spread + found.implied_spread)
        spread = f"{spread} over the {percent(found.charged_spread)} charged, {whole} in all"
    error = basis_points(found.drift_error, sign=False)
    typical = basis_points(found.typical_deviation, 1, sign=False)
    rows = [
        ("drift per year", f"{basis_points(found.drift)}, standard error {error}"),
        ("deviation per gap", f"{basis_points(found.deviation, 1, sign=False)}, typical {typical}"),
        ("echo", fixed(found.echo, 2)),
        ("slope on simulation", f"{fixed(found.slope, 3)}, R² {fixed(found.r_squared, 4)}"),
        ("beta on underlying", f"{fixed(found.beta, 3)}, R² {fixed(found.beta_r_squared, 4)}; "
                               f"simulated {fixed(found.simulated_beta, 3)}"),
        ("financed leverage", fixed(found.financed_leverage, 3)),
        ("implied spread", spread),
    ]  # fmt: skip
    for line in aligned(rows, "<<"):
        typer.echo(line)


def _show_gaps(found: Track) -> None:
    from gearing.study.track_words import GAP_HEADS, YEAR_HEADS, gap_rows, time_head, year_rows

    for title, (first, *others), rows in (
        ("By calendar year", YEAR_HEADS, year_rows(found)),
        ("Largest gaps", (time_head(found), *GAP_HEADS), gap_rows(found, _WORST)),
    ):
        columns = [Column(first, wrap=False), *(Column(head, "right", wrap=False) for head in others)]
        show_table(columns, rows, title=title)
