"""`gearing backtest`: what one token did on one path, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from gearing.cli import inputs
from gearing.cli.again import command_line
from gearing.cli.compiling import ensure_compiled
from gearing.cli.exact import exact_payload, exactly, show_exact, write_journal
from gearing.cli.output import ForceOption, JsonFlag, aligned, emit, heading, notes_so_far, pairs, say, write_out
from gearing.cli.ran_on import series_payload
from gearing.cli.reporting import ReportOption, WindowOption, period_of
from gearing.cli.series import SeriesOptions
from gearing.errors import InputError
from gearing.numerals import MISSING, amount, decimals_for, fixed, gained, moment, number, share, summing

if TYPE_CHECKING:
    from gearing.core.fees import Costs
    from gearing.core.token import Token
    from gearing.study.result import Result
    from gearing.study.summary import Summary

SCHEMA = "gearing.backtest/1"
# Of several legs: their prices, funding and dividends are lists.
SCHEMA_OF_LEGS = "gearing.backtest/2"

NO_COSTS = "no trading cost (set it with --taker-fee 0.05% --half-spread 0.02%)"

Rows = list[tuple[str, str]]


def backtest(
    context: typer.Context,
    token: inputs.TokenArgument = None,
    *,
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
    nav: Annotated[Path | None, typer.Option(help="Write NAV of every bar: .parquet, .csv, .feather.")] = None,
    rebalances: Annotated[Path | None, typer.Option(help="Write every trade, likewise.")] = None,
    plot: inputs.PlotOption = None,
    report: ReportOption = None,
    window: WindowOption = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Also run the desk's own step and ledger over it, to the last digit.")
    ] = False,
    journal: Annotated[
        Path | None, typer.Option(help="Write the exact run's journal: .jsonl.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the answer as JSON.")] = None,
    force: ForceOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Runs a token over a price path and says what it did, and where the result came from."""
    if exact and intrabar is inputs.Intrabar.WORST:
        what = "an exact run is a desk's, which sees the closes alone."
        raise InputError(what, where="--intrabar worst", fix="Leave one of the two out.")
    if journal is not None and not exact:
        raise InputError("there is no journal to write.", where="--journal", fix="Add --exact.")
    chosen_window = period_of("--window", window)
    overrides = inputs.Overrides(taker_fee, half_spread, impact, management_per_day)
    choice = inputs.Choice(token, preset, target, underlying, overrides)
    # A mistake in the token is told before long files are read.
    tried = choice.token()
    reading = inputs.read_options(time_format, columns, decimal, volume_unit, funding_unit)
    series = SeriesOptions(prices, funding, dividends, rates, underlying_prices, symbol, stamp, start, end, underlying,
                           reading, rates_unit)  # fmt: skip
    outputs = _Outputs(nav, rebalances, plot, report, journal, out)
    inputs.check_study_outputs(outputs.endings(), (token, *series.files()), force=force)
    market = series.load([tried])
    chosen = choice.token(market.nameless)
    ensure_compiled(legs=exact or market.needs_legs([chosen]))
    from gearing.study.backtest import backtest as run

    measures: dict[str, Any] = {"periods_per_year": periods_per_year, "intrabar": intrabar.value}

    result = run(chosen, **market.for_study(), equity=equity, **measures)
    evidence = result.evidence(window=chosen_window)
    answer = payload(result)
    answer["evidence"] = evidence
    schema = SCHEMA if len(chosen.legs) == 1 else SCHEMA_OF_LEGS
    twin = exactly(chosen, market, equity) if exact else None
    if twin is not None:
        answer["exact"] = exact_payload(twin, result)
        write_journal(twin, journal, force=force)
    _write(result, outputs, chosen_window, command_line(context), force=force)
    if out is not None:
        write_out(out, inputs.json_text(answer, schema), "json", force=force)

    def shown() -> None:
        show(result)
        if evidence.standing is not None:
            from gearing.study.report.evidence import standing_words

            typer.echo()
            say(standing_words(evidence.standing))
        if twin is not None:
            show_exact(twin, result)

    emit(answer, schema, as_json, shown)


class _Outputs(NamedTuple):
    """The files that a backtest writes; None: not this one."""

    nav: Path | None
    rebalances: Path | None
    plot: Path | None
    report: Path | None
    journal: Path | None
    out: Path | None

    def endings(self) -> dict[str, tuple[Path | None, Sequence[str]]]:
        """Returns each option with its file and the endings that it may have."""
        return {
            "--nav": (self.nav, inputs.FRAMES), "--rebalances": (self.rebalances, inputs.FRAMES),
            "--plot": (self.plot, inputs.FIGURES), "--report": (self.report, inputs.FIGURES),
            "--journal": (self.journal, (".jsonl",)), "--out": (self.out, ()),
        }  # fmt: skip


def _write(
    result: Result, outputs: _Outputs, window: tuple[str, str] | None, command: str, *, force: bool
) -> None:  # fmt: skip
    """Writes the tables, the figure and the report that were requested."""
    if outputs.nav is not None:
        inputs.write_table(outputs.nav, result.nav, command=command, force=force)
    if outputs.rebalances is not None:
        inputs.write_table(outputs.rebalances, result.rebalances, command=command, force=force)
    if outputs.plot is not None:
        inputs.write_figure(outputs.plot, result, force=force)
    if outputs.report is not None:
        from gearing.study.report import write_backtest

        write_backtest(result, outputs.report, window=window, command=command, force=force)
        typer.echo(f"wrote {outputs.report}", err=True)


def payload(result: Result) -> dict[str, Any]:
    """Returns a backtest's answer for JSON."""
    from gearing.core.words import describe

    attribution = result.attribution
    log = attribution.log
    return {
        "token": result.token,
        "rule_words": describe(result.token.resolved_rule, result.token.target, in_coin=result.token.settles_in_coin),
        **series_payload(result),
        "costs": type(result.costs)() if result.token.fees.all_in else result.costs,
        "equity": result.equity,
        "intrabar": result.intrabar,
        "notes": notes_so_far(),
        "summary": result.summary(),
        "attribution": {
            "log": None if log is None else {**dict(log.items()), "total": log.total},
            "money": {**dict(attribution.money.items()), "total": attribution.money.total},
        },
    }


def show(result: Result) -> None:
    """Prints a backtest for people."""
    from gearing.study.ran_on import series_rows

    token = result.token
    typer.secho(f"{token.symbol}: {_title(token)}", bold=True)
    pairs(
        [
            ("rule", rule_line(token)),
            ("fees", fee_line(token)),
            *series_rows([(token, result.ran_on)], result.prices, options=True),
            ("costs", cost_line(token, result.costs)),
        ]
    )
    _show_fate(result)
    _show_summary(result)
    _show_attribution(result)


def _title(token: Token) -> str:
    size = f"{number(abs(token.target))} times {'long' if token.target > 0 else 'short'}"
    return f"{token.name}, {size}" if token.name else size


def rule_line(token: Token) -> str:
    """Returns a token's rule in one line."""
    from gearing.core.words import headline

    return headline(token.resolved_rule)


def fee_line(token: Token) -> str:
    """Returns an issuer's fees in one line."""
    from gearing.core.words import fee_headline

    return fee_headline(token.fees)


def cost_line(token: Token, costs: Costs) -> str:
    """Returns what trading cost in one line, and how to set it where it is nothing."""
    if token.fees.all_in:
        return "none, the fee is all in"
    from gearing.core.words import cost_words

    return cost_words(costs) or NO_COSTS


def _show_fate(result: Result) -> None:
    s = result.summary()
    if s.wiped_out and s.wiped_out_at is not None:
        typer.echo()
        when = moment(s.wiped_out_at)
        typer.secho(f"WIPED OUT on {when} UTC: equity reached zero, and nothing happened after.", fg="red", bold=True)
    if s.liquidations:
        typer.echo()
        times = "once" if s.liquidations == 1 else f"{s.liquidations:,} times"
        typer.secho(f"LIQUIDATED {times}: the venue closed the position.", fg="red", bold=True)


def _show_summary(result: Result) -> None:
    from gearing.study.ran_on import held_against

    s, currency = result.summary(), result.token.settlement
    heading("Result")
    left, right = _result_rows(s, currency, held_against(result.token, result.ran_on)), _running_rows(s)
    blank = ("", "")
    rows = [
        (*(left[k] if k < len(left) else blank), "", *(right[k] if k < len(right) else blank))
        for k in range(max(len(left), len(right)))
    ]
    for line in aligned(rows, "<><<>"):
        typer.echo(line)


def _result_rows(s: Summary, currency: str, underlying: str) -> Rows:
    from gearing.study.summary import signs_differ

    return [
        (f"NAV, from {number(s.initial_nav, decimals=9)} {currency}", amount(s.final_nav)),
        ("total return", gained(s.total_return)),
        ("per year", gained(s.cagr)),
        (underlying, share(s.underlying_return)),
        ("volatility per year", share(s.volatility, 1, sign=False)),
        ("Sharpe, arithmetic", fixed(s.sharpe, 2)),
        *([("Sharpe, log returns", fixed(s.sharpe_log, 2))] if signs_differ(s) else []),
        ("max drawdown", gained(s.max_drawdown)),
        ("worst day", share(s.worst_day)),
    ]


def _running_rows(s: Summary) -> Rows:
    rows = [
        ("rebalances", f"{s.rebalances:,}"),
        ("trades", f"{s.trades:,}"),
        ("turnover", f"{fixed(s.turnover, 1)} × equity"),
        ("least leverage", fixed(s.min_leverage, 3)),
        ("most leverage", fixed(s.max_leverage, 3)),
        ("tracking difference", share(s.tracking_difference)),
        ("tracking error", share(s.tracking_error, sign=False)),
    ]
    if s.trades == s.rebalances:
        rows.pop(1)
    if s.ideal_wiped_out_at:
        rows.append(("ideal wiped out", moment(s.ideal_wiped_out_at)))
    rows.append(("periods per year", number(s.periods_per_year)))
    if s.liquidations:
        rows.append(("liquidations", f"{s.liquidations:,}"))
    return rows


def _show_attribution(result: Result) -> None:
    attribution = result.attribution
    log = attribution.log
    kept = [
        (name, value, None if log is None else getattr(log, name))
        for name, value in attribution.money.items()
        if value or (log is not None and getattr(log, name))
    ]
    if not kept:
        return
    money = [value for _, value, _ in kept]
    moneys, money_total = summing(money, decimals_for(money))
    logs, log_total = [MISSING] * len(kept), "−∞"
    if log is not None:
        logs, log_total = summing([value or 0.0 for _, _, value in kept], 4)
    heading("Where it came from")
    head = ("", "log", f"{result.token.settlement} per unit")
    body = [(name.replace("_", " "), a, b) for (name, _, _), a, b in zip(kept, logs, moneys, strict=True)]
    lines = aligned([head, *body, ("total", log_total, money_total)], "<>>", gap=3)
    width = max(len(line) for line in lines)
    for line in (*lines[:-1], "─" * width, lines[-1]):
        typer.echo(line)
