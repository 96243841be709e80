"""`gearing backtest`: what one token did on one path, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli import inputs
from gearing.cli.compiling import ensure_compiled
from gearing.cli.output import JsonFlag, aligned, count, emit, heading, pairs, write_out
from gearing.cli.reporting import ReportOption, WindowOption, command_line, window_of
from gearing.numerals import MISSING, amount, decimals_for, fixed, gained, moment, number, share, summing

if TYPE_CHECKING:
    from gearing.core.fees import Costs
    from gearing.core.token import Token
    from gearing.study.result import Result
    from gearing.study.summary import Summary

SCHEMA = "gearing.backtest/1"

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
    nav: Annotated[Path | None, typer.Option(help="Write NAV of every bar: .parquet, .csv, .feather.")] = None,
    rebalances: Annotated[Path | None, typer.Option(help="Write every trade, likewise.")] = None,
    plot: inputs.PlotOption = None,
    report: ReportOption = None,
    window: WindowOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the answer as JSON.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Runs a token over a price path and says what it did, and where the result came from."""
    chosen_window = window_of(window, report)
    overrides = inputs.Overrides(taker_fee, half_spread, impact, management_per_day)
    choice = inputs.Choice(token, preset, target, underlying, overrides)
    # A mistake in the token is told before long files are read.
    choice.token()
    outputs = {
        "--nav": (nav, inputs.FRAMES),
        "--rebalances": (rebalances, inputs.FRAMES),
        "--plot": (plot, inputs.FIGURES),
        "--report": (report, inputs.FIGURES),
        "--out": (out, ()),
    }
    inputs.check_outputs(outputs, (token, prices, funding))
    market = inputs.load_market(prices, symbol, stamp, funding, start, end)
    chosen = choice.token(market.prices)
    ensure_compiled()
    from gearing.study.backtest import backtest as run

    result = run(chosen, market.prices, funding=market.funding, equity=equity)
    answer = payload(result, market)
    if nav is not None:
        inputs.write_table(nav, result.nav)
    if rebalances is not None:
        inputs.write_table(rebalances, result.rebalances)
    if plot is not None:
        inputs.write_figure(plot, result)
    if report is not None:
        from gearing.study.report import write_backtest

        write_backtest(result, report, window=chosen_window, command=command_line(context))
        typer.echo(f"wrote {report}", err=True)
    if out is not None:
        write_out(out, inputs.json_text(answer, SCHEMA))
    emit(answer, SCHEMA, as_json, lambda: show(result, market))


def payload(result: Result, market: inputs.Market) -> dict[str, Any]:
    """Returns a backtest's answer for JSON."""
    from gearing.core.words import describe

    attribution, path = result.attribution, result.prices
    log = attribution.log
    return {
        "token": result.token,
        "rule_words": describe(result.token.resolved_rule, result.token.target),
        "prices": {
            "symbol": path.symbol,
            "bars": len(path),
            "spacing_ms": path.spacing_ms,
            "start": path.start,
            "end": path.end,
        },
        "funding": None
        if result.funding is None
        else {"symbol": result.funding.symbol, "settlements": market.settlements},
        "costs": type(result.costs)() if result.token.fees.all_in else result.costs,
        "equity": result.equity,
        "summary": result.summary(),
        "attribution": {
            "log": None if log is None else {**dict(log.items()), "total": log.total},
            "money": {**dict(attribution.money.items()), "total": attribution.money.total},
        },
    }


def show(result: Result, market: inputs.Market) -> None:
    """Prints a backtest for people."""
    token = result.token
    typer.secho(f"{token.symbol}: {_title(token)}", bold=True)
    pairs(
        [
            ("rule", rule_line(token)),
            ("fees", fee_line(token)),
            *market_rows(market, all_in=token.fees.all_in),
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


def market_rows(market: inputs.Market, *, all_in: bool = False) -> Rows:
    """Returns what a study ran on, as names and words."""
    from gearing.market.times import duration_text

    path = market.prices
    name = f"{path.symbol}, " if path.symbol else ""
    bars = f"{name}{count(len(path), 'bar')} of {duration_text(path.spacing_ms)}"
    period = f"{moment(path.start)} to {moment(path.end)} UTC"
    if market.funding is None:
        charged = "none; give it with --funding"
    elif all_in:
        charged = "not charged, the fee is all in"
    else:
        charged = count(market.settlements, "settlement")
    return [("prices", f"{bars}, {period}"), ("funding", charged)]


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
    s, currency = result.summary(), result.token.settlement
    heading("Result")
    left, right = _result_rows(s, currency), _running_rows(s)
    blank = ("", "")
    rows = [
        (*(left[k] if k < len(left) else blank), "", *(right[k] if k < len(right) else blank))
        for k in range(max(len(left), len(right)))
    ]
    for line in aligned(rows, "<><<>"):
        typer.echo(line)


def _result_rows(s: Summary, currency: str) -> Rows:
    return [
        (f"NAV, from {number(s.initial_nav, decimals=9)} {currency}", amount(s.final_nav)),
        ("total return", gained(s.total_return)),
        ("per year", gained(s.cagr)),
        ("underlying", share(s.underlying_return)),
        ("volatility per year", share(s.volatility, 1, sign=False)),
        ("Sharpe ratio", fixed(s.sharpe, 2)),
        ("max drawdown", gained(-abs(s.max_drawdown))),
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
    if s.untracked_days:
        rows.append(("days not tracked", f"{s.untracked_days:,}"))
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
