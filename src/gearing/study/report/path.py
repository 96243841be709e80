"""What happened along the path: real leverage, drawdowns, months, rebalances."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from gearing.core.record import DAY_MS
from gearing.core.rule import band_edges
from gearing.market.series import Times
from gearing.market.times import duration_text
from gearing.numerals import MISSING, amount, fixed, gained, level_text, moment, number, share
from gearing.study.calendar_returns import calendar_returns
from gearing.study.drawdowns import drawdowns, under_water
from gearing.study.report.alternatives import drawn_bars
from gearing.study.report.charts import Chart, Trace, level, line, marks, time_axis
from gearing.study.report.markup import Cell, Head, paragraph, section, table
from gearing.study.report.page import Page
from gearing.study.result import Result

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REASON_MARKS = {
    "schedule": ("circle", "--ink-2"), "band": ("triangle-up", "--loss"), "move": ("diamond", "--loss"),
    "ripcord": ("x", "--loss"), "slice": ("circle-open", "--ink-2"), "liquidation": ("star", "--loss"),
    "wipe-out": ("star", "--loss"),
}  # fmt: skip
_OTHER_MARK = ("square", "--ink-2")
_MARKS_MOST = 400
_LARGEST = 12


def leverage_section(page: Page, result: Result) -> str:
    """Returns real leverage in time with its barriers and the rebalances by reason."""
    token, rule, s = result.token, result.token.resolved_rule, result.summary()
    bars = drawn_bars(result)
    times = result.prices.times_ms[:bars]
    values = np.where(result.nav["nav"].to_numpy() > 0, result.nav["leverage"].to_numpy(), np.nan)[:bars]
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
        size = 4 if reason == "schedule" else 8
        traces.append(marks(reason, times, before, symbol=symbol, colour=colour, size=size, words=words))
    count = f"By reason: {', '.join(said)}." if said else "It never rebalanced."
    return f"{count} Of each reason the {_MARKS_MOST} largest are marked." if thinned else count


def drawdown_section(page: Page, result: Result) -> str:
    """Returns the drawdowns: under water in time, and the deepest."""
    bars = drawn_bars(result)
    times, under = result.prices.times_ms[:bars], under_water(result)[:bars]
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
            str(k), gained(fall.depth), moment(fall.start), moment(fall.trough),
            moment(fall.recovery) if fall.recovery else "not yet", _lasted(fall.end_ms - fall.start_ms),
        )
        for k, fall in enumerate(found, 1)
    ]  # fmt: skip
    heads = (Head(""), Head("depth"), Head("high, UTC"), Head("trough, UTC"), Head("recovered, UTC"), Head("lasted"))
    deep = table(heads, rows, caption="The deepest falls", name="drawdowns") if rows else paragraph("It never fell.")
    return section("Drawdowns", chart, deep)


def _lasted(span_ms: int) -> str:
    days = span_ms / DAY_MS
    return duration_text(span_ms) if days < 1 else f"{fixed(days, 0 if days >= 10 else 1)} days"


def months_section(result: Result) -> str:
    """Returns the returns by month and year."""
    heads = (Head("year", words=True), *(Head(name) for name in _MONTHS), Head("year's return"))
    rows, partial = [], False
    for year in calendar_returns(result):
        if year.total is None:
            continue
        cells = [Cell(str(year.year))]
        for value, part in zip(year.months, year.part, strict=True):
            partial = partial or part
            cells.append(_month(value, part=part))
        rows.append([*cells, Cell(gained(year.total, 1), mark="strong")])
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
