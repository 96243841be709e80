"""What happened along the path: NAV beside its measures, real leverage, drawdowns, months, rebalances."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from gearing.core.record import DAY_MS
from gearing.core.rule import band_edges
from gearing.market.series import Times
from gearing.market.times import moment_ms
from gearing.numerals import MISSING, amount, fixed, level_text, moment, number, percent, share
from gearing.study.backtest import Result
from gearing.study.calendar_returns import calendar_returns
from gearing.study.drawdowns import drawdowns, under_water
from gearing.study.held import Held
from gearing.study.ideal import ideal
from gearing.study.report.charts import Chart, Trace, level, line, log_axis, marks, time_axis
from gearing.study.report.markup import Cell, Head, paragraph, section, table
from gearing.study.report.page import Page

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REASON_MARKS = {
    "schedule": ("line-ns", "--ink-2"), "band": ("triangle-up", "--loss"), "move": ("diamond", "--loss"),
    "ripcord": ("x", "--loss"), "slice": ("circle-open", "--ink-2"), "liquidation": ("star", "--loss"),
    "wipe-out": ("star", "--loss"),
}  # fmt: skip
_OTHER_MARK = ("square", "--ink-2")
_MARKS_MOST = 400
_LARGEST = 12


def underlying_name(result: Result) -> str:
    """Returns what the token is on, in words."""
    return result.prices.symbol or "the underlying"


def ended(iso_text: str) -> str:
    """Returns a moment with its zone."""
    return f"{moment(iso_text)} UTC"


def nav_section(page: Page, result: Result, alone: Held | None) -> str:
    """Returns NAV beside the underlying, the ideal and a perpetual held yourself."""
    token, prices, s = result.token, result.prices, result.summary()
    times, first = prices.times_ms, token.initial_nav
    nav, bought = result.nav["nav"].to_numpy(), prices.close * (first / prices.close[0])
    perfect = ideal(prices, token.target, first)
    name = underlying_name(result)
    lines = [
        (f"{token.symbol}", times, nav, "--accent", "solid", 2.2),
        (
            f"ideal, {number(token.target, sign=True)} × daily",
            times[perfect.bars],
            perfect.nav,
            "--ink",
            "dash",
            1.3,
        ),
        (f"{name}, bought and held", times, bought, "--ink-2", "dot", 1.5),
    ]
    if alone is not None:
        held_nav = alone.result.nav["nav"].to_numpy()
        lines.append(("perpetual held yourself", times, held_nav, "--loss", "dashdot", 1.4))
    traces = [
        line(label, at, values, colour=colour, dash=dash, width=width, logarithmic=True)
        for label, at, values, colour, dash, width in lines
    ]
    traces += _end_marks(result, alone)
    shown = np.concatenate([values[values > 0] for _, _, values, *_ in lines])
    layout = {"xaxis": time_axis(times), "yaxis": log_axis(float(shown.min()), float(shown.max()))}
    alt = f"NAV of {token.symbol} in {token.settlement} beside its ideal and {name}, logarithmic, in UTC."
    title = f"NAV in {token.settlement}, logarithmic: equal distances are equal returns (UTC)"
    chart = page.chart(Chart(traces, layout, alt, height=430, title=title))
    rows = [
        [token.symbol, amount(s.final_nav), share(s.total_return), ended(s.wiped_out_at) if s.wiped_out_at else ""],
        ["ideal", amount(float(perfect.nav[-1])), share(float(perfect.nav[-1]) / first - 1),
         f"{perfect.left_out} days left out" if perfect.left_out else ""],
        [f"{name}, bought and held", amount(float(bought[-1])), share(s.underlying_return), ""],
    ]  # fmt: skip
    if alone is not None:
        end = alone.result.summary()
        fate = f"liquidated {ended(alone.liquidated_at)}" if alone.liquidated_at else "not liquidated"
        rows.append(["perpetual held yourself", amount(end.final_nav), share(end.total_return), fate])
    heads = (Head("", words=True), Head(f"at the end, {token.settlement}"), Head("return"), Head("", words=True))
    return section(
        "Beside the alternatives",
        chart,
        table(heads, rows, caption=f"What {number(first, decimals=9)} {token.settlement} became", name="alternatives"),
        paragraph(_measures(result, alone), mark="note"),
        lead="The same money, over the same path.",
    )


def _end_marks(result: Result, alone: Held | None) -> list[Trace]:
    found = []
    for label, run, at, symbol in (
        (f"{result.token.symbol} wiped out", result, result.summary().wiped_out_at, "x"),
        ("held perpetual liquidated", None if alone is None else alone.result,
         None if alone is None else alone.liquidated_at, "star"),
    ):  # fmt: skip
        if run is None or at is None:
            continue
        bar = int(np.searchsorted(run.prices.times_ms, moment_ms(at)))
        values = run.nav["nav"].to_numpy()
        alive = np.flatnonzero(values[: bar + 1] > 0)
        y = float(values[alive[-1]])
        found.append(marks(label, [int(run.prices.times_ms[bar])], [y], symbol=symbol, colour="--loss", size=11,
                           words=[f"{label}, {ended(at)}"]))  # fmt: skip
    return found


def _measures(result: Result, alone: Held | None) -> str:
    beta = number(result.token.target, sign=True)
    words = (
        f"Ideal: {beta} times each day's return (00:00 UTC; daily data bar by bar), compounded, without any cost. "
        "Days on which that leaves nothing are left out."
    )
    if alone is None:
        return f"{words} A perpetual held yourself is not shown: the token holds something else."
    margin = (
        "the token's own margin tiers"
        if alone.assumed_rate is None
        else f"an assumed maintenance margin of {percent(alone.assumed_rate)} (Binance's first bracket of BTCUSDT)"
    )
    looks = "its low or high" if result.prices.low is not None and result.prices.high is not None else "its close"
    return (
        f"{words} Perpetual held yourself: {beta} times the money at the first price, never changed, the same trading "
        f"costs and funding, no fee; the venue closes it by {margin}, judged on each bar by {looks}; what is left "
        "stays as cash."
    )


def leverage_section(page: Page, result: Result) -> str:
    """Returns real leverage in time with its barriers and the rebalances by reason."""
    token, rule, s = result.token, result.token.resolved_rule, result.summary()
    times, values = result.prices.times_ms, result.nav["leverage"].to_numpy()
    sign = math.copysign(1.0, token.target)
    ends = [int(times[0]), int(times[-1])]
    traces = [line("real leverage", times, values, width=1.3, hover="%{y:.3f}")]
    traces.append(level(f"target {number(token.target, sign=True)}", ends, token.target, colour="--ink", dash="dash"))
    lower, upper = band_edges(rule, token.target)
    barriers = (
        ("lower edge", lower, "dot"),
        ("upper edge", upper, "longdash"),
        ("ripcord", rule.ripcord or 0, "dashdot"),
    )
    for name, size, dash in barriers:
        if 0 < size < math.inf:
            label = f"{name} {level_text(sign * size)}"
            traces.append(level(label, ends, sign * size, colour="--loss", dash=dash))
    counted = _rebalance_marks(result, traces)
    seen = [0.0 if math.isnan(x) else sign * x for x in (s.min_leverage, s.max_leverage)] + [token.target]
    edges = [sign * size for _, size, _ in barriers if 0 < size < math.inf and size < 3 * abs(token.target)]
    low, high = min(seen + edges), max(seen + edges)
    pad = max((high - low) * 0.08, 0.05)
    layout = {"xaxis": time_axis(times), "yaxis": {"range": [low - pad, high + pad], "ticksuffix": ""}}
    span = f"{fixed(s.min_leverage, 3)} to {fixed(s.max_leverage, 3)}"
    alt = f"Real leverage of {token.symbol} in UTC, in size from {span}."
    lead = (
        f"It was to be {number(token.target, sign=True)}; in size it was between {fixed(s.min_leverage, 3)} and "
        f"{fixed(s.max_leverage, 3)}. Marks stand where real leverage was just before a rebalance."
    )
    chart = Chart(traces, layout, alt, height=360, title="Real leverage and what it may reach (UTC)")
    return section("Real leverage", page.chart(chart), paragraph(counted, mark="note"), lead=lead)


def _rebalance_marks(result: Result, traces: list[Trace]) -> str:
    """Adds the rebalances to a chart, one kind of mark for each reason, and returns their count in words."""
    events = result.events.filter(~pl.col("reason").is_in(["none", "opening"]))
    said, thinned = [], False
    for reason in events["reason"].unique(maintain_order=True).to_list():
        rows = events.filter(pl.col("reason") == reason)
        said.append(f"{reason} {len(rows):,}")
        if len(rows) > _MARKS_MOST:
            thinned = True
            rows = rows.with_columns(size=(pl.col("leverage_before") - pl.col("leverage_after")).abs())
            rows = rows.top_k(_MARKS_MOST, by="size").sort("time")
        before, after = rows["leverage_before"].to_list(), rows["leverage_after"].to_list()
        times = rows["time"].dt.epoch("ms").to_list()
        symbol, colour = _REASON_MARKS.get(reason, _OTHER_MARK)
        words = [f"{reason}: {fixed(x, 3)} → {fixed(y, 3)}" for x, y in zip(before, after, strict=True)]
        traces.append(marks(reason, times, before, symbol=symbol, colour=colour, words=words))
    count = f"By reason: {', '.join(said)}." if said else "It never rebalanced."
    return f"{count} Of each reason the {_MARKS_MOST} largest are marked." if thinned else count


def drawdown_section(page: Page, result: Result) -> str:
    """Returns the drawdowns: under water in time, and the deepest."""
    times = result.prices.times_ms
    under = under_water(result)
    trace = line(result.token.symbol, times, under * 100, colour="--loss", width=1.2, hover="%{y:.2f} %")
    trace |= {"fill": "tozeroy", "fillcolor": "--fill"}
    layout = {"xaxis": time_axis(times), "yaxis": {"ticksuffix": " %", "rangemode": "tozero"}}
    found = drawdowns(result)
    deepest = share(found[0].depth) if found else share(0.0)
    alt = f"Fall of NAV below its highest so far, in UTC; the deepest is {deepest}."
    chart = page.chart(
        Chart([trace], layout, alt, height=260, legend=False, title="NAV below its highest so far (UTC)")
    )
    rows = [
        (
            str(k), share(fall.depth), moment(fall.start[:16]), moment(fall.trough[:16]),
            moment(fall.recovery[:16]) if fall.recovery else "not yet", _days(fall.start_ms, fall.end_ms),
        )
        for k, fall in enumerate(found, 1)
    ]  # fmt: skip
    heads = (Head(""), Head("depth"), Head("high, UTC"), Head("trough, UTC"), Head("recovered, UTC"), Head("days"))
    deep = table(heads, rows, caption="The deepest falls", name="drawdowns") if rows else paragraph("It never fell.")
    return section("Drawdowns", chart, deep)


def _days(start_ms: int, end_ms: int) -> str:
    return fixed((end_ms - start_ms) / DAY_MS, 1)


def months_section(result: Result) -> str:
    """Returns the returns by month and year."""
    heads = (Head("year", words=True), *(Head(name) for name in _MONTHS), Head("year's return"))
    rows, partial = [], False
    for year in calendar_returns(result):
        cells = [Cell(str(year.year))]
        for value, part in zip(year.months, year.part, strict=True):
            partial = partial or part
            cells.append(_month(value, part=part))
        total = MISSING if year.total is None else share(year.total, 1)
        rows.append([*cells, Cell(total, mark="strong")])
    note = "Months end at 00:00 UTC." + (" In italics with an asterisk: a part of a month." if partial else "")
    return section(
        "Month by month",
        table(heads, rows, caption="Return of NAV by calendar month", name="months"),
        paragraph(note, mark="note"),
    )


def _month(value: float | None, *, part: bool) -> Cell:
    if value is None:
        return Cell(MISSING, mark="faint")
    # A month of half or double tints fully; a log treats both alike.
    shade = max(-1.0, math.log(max(1 + value, 1e-9)) / math.log(2)) if value < 0 else min(1.0, math.log2(1 + value))
    shown = fixed(value * 100, 1, sign=True)
    return Cell(f"{shown}*" if part else shown, mark="part" if part else "", shade=shade)


def rebalances_section(result: Result) -> str:
    """Returns the largest rebalances with what they cost."""
    trades = result.rebalances.filter(pl.col("reason") != "opening")
    if trades.is_empty():
        return section("Largest rebalances", paragraph("It never rebalanced after its opening trade."))
    before = pl.col("equity") + pl.col("cost")
    sized = trades.with_columns(size=pl.col("notional").abs() / before, cost_share=pl.col("cost") / before)
    rows = [
        (
            row["time"].strftime("%Y-%m-%d %H:%M"), row["reason"], amount(row["price"]),
            f"{fixed(row['leverage_before'], 3)} → {fixed(row['leverage_after'], 3)}",
            share(math.copysign(row["size"], row["notional"]), 1), fixed(row["cost_share"] * 1e4, 2),
            amount(row["cost"], 4), amount(row["nav"]),
        )
        for row in sized.top_k(_LARGEST, by="size").to_dicts()
    ]  # fmt: skip
    currency = result.token.settlement
    heads = (
        Head("time, UTC", words=True), Head("reason", words=True), Head("price"), Head("real leverage"),
        Head("traded, of equity", title="Bought is above zero, sold below."),
        Head("cost, bp of equity"), Head(f"cost, {currency}"), Head("NAV after"),
    )  # fmt: skip
    return section(
        "Largest rebalances",
        table(heads, rows, caption=f"The {len(rows)} largest of {len(trades):,} trades", name="rebalances"),
        lead=f"By what was traded against equity; money for the whole fund of {amount(result.equity)} {currency}.",
    )


def period_words(times: Times) -> str:
    """Returns a period in days and dates."""
    first, last = (str(times[k].astype("datetime64[ms]").astype("datetime64[m]")).replace("T", " ") for k in (0, -1))
    return f"{first} to {last} UTC"
