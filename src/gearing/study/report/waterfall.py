"""Where a result came from: two waterfalls and their table, whose printed digits add up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from gearing.numerals import MISSING, decimals_for, summing
from gearing.study.attribution import Attribution
from gearing.study.report.charts import Chart, numbers
from gearing.study.report.markup import Cell, Head, pair, paragraph, section, table, text
from gearing.study.report.page import Page

_MEANINGS = {
    "leverage": "Target leverage times the underlying's log return.",
    "variance_drag": "Decay: what rebalancing cost because it buys high and sells low.",
    "timing": "What real leverage did away from its target.",
    "funding": "Funding received, or paid if negative.",
    "management_fee": "The issuer's fee.",
    "commission": "The venue's fee on trades.",
    "spread": "Half spreads paid on trades.",
    "impact": "Spread widened by the trades' own size.",
    "liquidation": "The venue's charges on a forced close.",
    "gap": "What was lost in the move that wiped the token out.",
    "financing": "Interest on what the position is worth.",
    "cash_interest": "Interest earned on cash.",
    "dividends": "Dividends of the underlying.",
}


def part_words(name: str) -> str:
    """Returns the name of a part as people read it."""
    return name.replace("_", " ")


def attribution_section(page: Page, attribution: Attribution, *, initial_nav: float, currency: str) -> str:
    """Returns the section on where a result came from.

    Args:
        page: keeps the charts.
        attribution: the parts; those of zero are left out.
        initial_nav: the NAV the holder started with.
        currency: of settlement.
    """
    logs = {} if attribution.log is None else dict(attribution.log.items())
    kept = [(name, money) for name, money in attribution.money.items() if money or logs.get(name)]
    if not kept:
        return section("Where it came from", paragraph("Nothing was gained, lost or paid."))
    names = [part_words(name) for name, _ in kept]
    money = [amount for _, amount in kept]
    moneys, money_total = summing(money, decimals_for(money))
    thousand = [amount / initial_nav * 1_000 for amount in money]
    thousands, thousand_total = summing(thousand, decimals_for(thousand))
    charts = [_waterfall(names, money, moneys, money_total, f"In money: {currency} per unit of {initial_nav:,.10g}")]
    log_texts, log_total = [MISSING] * len(kept), "−∞"
    if logs:
        log = [logs[name] for name, _ in kept]
        log_texts, log_total = summing(log, 4)
        charts.insert(0, _waterfall(names, log, log_texts, log_total, "In log: ln(final NAV / initial NAV)"))
    heads = (Head("part", words=True), Head("log"), Head(f"{currency} per unit"), Head("per 1,000 invested"),
             Head("what it is", words=True))  # fmt: skip
    rows = [
        (label, Cell(log, name="log"), Cell(per_unit, name="money"), Cell(per_1000, name="thousand"),
         Cell(_MEANINGS.get(name, ""), mark="faint"))
        for label, (name, _), log, per_unit, per_1000 in zip(names, kept, log_texts, moneys, thousands, strict=True)
    ]  # fmt: skip
    total = ("total", Cell(log_total, name="log"), Cell(money_total, name="money"),
             Cell(thousand_total, name="thousand"), "")  # fmt: skip
    lead = "Every posting is booked to one part as it happens, so the parts add up to the result."
    if not logs:
        lead += " After a wipe-out the log is −∞, so only money is shown; the last move is one part, the gap."
    drawn = [page.chart(chart) for chart in charts]
    return section(
        "Where it came from",
        pair(*drawn) if len(drawn) > 1 else drawn[0],
        table(heads, rows, caption="The parts, added up", total=total, name="attribution"),
        lead=lead,
    )


def _waterfall(names: Sequence[str], values: Sequence[float], texts: Sequence[str], total: str, title: str) -> Chart:
    ends = [0.0, *accumulate(values)]
    low, high = min(ends), max(ends)
    # The figures stand outside the bars and need room on both sides.
    room = (high - low or 1.0) * 0.24
    trace = {
        "type": "waterfall",
        "orientation": "h",
        "y": [*(text(name) for name in names), "total"],
        "x": [*numbers(values), numbers([ends[-1]])[0]],
        "measure": ["relative"] * len(names) + ["total"],
        "text": [*texts, total],
        "textposition": "outside",
        "cliponaxis": False,
        "textfont": {"color": "--ink"},
        "hoverinfo": "skip",
        "connector": {"line": {"color": "--line-strong", "width": 1}},
        "increasing": {"marker": {"color": "--accent"}},
        "decreasing": {"marker": {"color": "--loss"}},
        "totals": {"marker": {"color": "--ink-2"}},
    }
    words = ", ".join(f"{name} {figure}" for name, figure in zip(names, texts, strict=True))
    plain = {"showgrid": False, "ticks": "", "zeroline": True}
    layout = {
        "xaxis": plain | {"range": [low - room, high + room], "showticklabels": False},
        "yaxis": plain | {"autorange": "reversed", "ticksuffix": " "},
        "hovermode": False,
        "dragmode": False,
        "bargap": 0.35,
        "margin": {"l": 118, "r": 8, "t": 6, "b": 8},
    }
    alt = f"Waterfall. {title}: {words}; total {total}."
    height = 30 * (len(names) + 1) + 30
    narrow = {"margin.l": 106, "xaxis.range": [low - 2 * room, high + 2 * room]}
    return Chart([trace], layout, alt, height=height, title=title, legend=False, narrow=narrow)
