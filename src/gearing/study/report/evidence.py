"""Fair evidence as a section: what every window returned, and where a chosen one stands among them."""

from __future__ import annotations

import math

import numpy as np

from gearing.core.record import DAY_MS
from gearing.market.times import Moment, moment_ms
from gearing.numerals import MISSING, fixed, gained, moment, share
from gearing.study.evidence import (
    QUANTILES,
    Distribution,
    Standing,
    distributions,
    length_words,
    windows,
)  # fmt: skip
from gearing.study.report.charts import Chart, Trace, marks, return_axis
from gearing.study.report.markup import Cell, Head, paragraph, section, table
from gearing.study.report.page import Page
from gearing.study.result import Result

_BINS = 40


def evidence_section(page: Page, result: Result, window: tuple[Moment, Moment] | None) -> str:
    """Returns the section on fair evidence.

    Args:
        page: keeps the charts.
        result: a backtest.
        window: a window to rank among all of its length, or None.

    Raises:
        InputError: the window cannot be ranked.
    """
    evidence = result.evidence(window=window)
    chosen, found = evidence.standing, list(evidence.distributions)
    parts = []
    if chosen is not None and window is not None:
        parts.append(paragraph(standing_words(chosen), mark="story"))
        parts.append(page.chart(_histogram(result, chosen, moment_ms(window[0]))))
    if any(d.count for d in found):
        parts.append(page.chart(_spread(_with_chosen(result, found, chosen), chosen)))
    parts.append(_table(found))
    note = (
        "Every window of a length, each beginning a day after the one before, on this one NAV path; they overlap, so "
        "they are far fewer than they look. Windows that end wiped out rank last."
    )
    if chosen is None:
        note += " Choose a window (window= or --window) to see where it stands among all of its length."
    return section(
        "Fair evidence",
        *parts,
        paragraph(note, mark="note"),
        lead="A period can be picked to show anything. So here is what every window of each length returned.",
    )


def _with_chosen(result: Result, found: list[Distribution], chosen: Standing | None) -> list[Distribution]:
    """The distributions, and that of the chosen window's length if it is of whole days."""
    days, rest = (0, 1) if chosen is None else divmod(chosen.length_ms, DAY_MS)
    if rest or any(d.days == days for d in found):
        return found
    return sorted([*found, *distributions(result, [days])], key=lambda d: d.days)


def standing_words(chosen: Standing) -> str:
    """Returns where a window stands, as a sentence."""
    fate = f"; {chosen.wiped_out:,} of them ended wiped out" if chosen.wiped_out else ""
    return (
        f"The chosen window, {moment(chosen.start)} to {moment(chosen.end)} UTC, returned "
        f"{gained(chosen.total_return)}. It stands at percentile {fixed(chosen.percentile, 1)} of {chosen.count:,} "
        f"windows of {length_words(chosen.length_ms)}{fate}."
    )


def _table(found: list[Distribution]) -> str:
    quantiles = [f"{q:.0%}".replace("%", " %") if q != 0.5 else "median" for q in QUANTILES]
    heads = (
        Head("length", words=True), Head("windows"), Head("worst"), *(Head(q) for q in quantiles), Head("best"),
        Head("gained"), Head("wiped out"),
    )  # fmt: skip
    rows: list[list[str | Cell]] = []
    for d in found:
        length = length_words(d.days * DAY_MS)
        if not d.count:
            rows.append([length, "0", *[MISSING] * (len(quantiles) + 4)])
            continue
        values = [d.worst, *d.quantiles, d.best]
        cells = [Cell(gained(value, 1), mark="strong" if k == 3 else "") for k, value in enumerate(values)]
        rows.append([length, f"{d.count:,}", *cells, share(d.gained, 0, sign=False), f"{d.wiped_out:,}"])
    return table(heads, rows, caption="Returns of all windows, by length", name="evidence")


def _spread(found: list[Distribution], chosen: Standing | None) -> Chart:
    """Quantiles by length on a logarithmic axis of returns."""
    kept = [d for d in found if d.count]
    names = [length_words(d.days * DAY_MS) for d in kept]
    every = [1 + q for d in kept for q in (*d.quantiles, d.worst, d.best)]
    floor = min((value for value in every if value > 0), default=0.5)
    lost = min(every) <= 0
    # A wipe-out has no place on a logarithm; it is drawn left of all that survived.
    floor = floor / 1.6 if lost else floor
    traces: list[Trace] = []
    for label, low, high, width, dash in (("middle 90 %", 0, 4, 2.0, "solid"), ("middle half", 1, 3, 9.0, "solid")):
        x: list[float | None] = []
        y: list[str | None] = []
        for name, d in zip(names, kept, strict=True):
            x += [max(1 + d.quantiles[low], floor), max(1 + d.quantiles[high], floor), None]
            y += [name, name, None]
        traces.append(
            {"type": "scatter", "mode": "lines", "name": label, "x": x, "y": y, "hoverinfo": "skip",
             "line": {"color": "--accent", "width": width, "dash": dash}}
        )  # fmt: skip
    medians = [max(1 + d.quantiles[2], floor) for d in kept]
    words = [f"{name}: median {share(d.quantiles[2], 1)}" for name, d in zip(names, kept, strict=True)]
    traces.append(_points("median", medians, names, "diamond", "--ink", 9, words))
    extremes = [(max(1 + r, floor), name, r) for name, d in zip(names, kept, strict=True) for r in (d.worst, d.best)]
    words = [f"{name}: {share(r, 1)}" for _, name, r in extremes]
    traces.append(
        _points(
            "worst and best", [x for x, _, _ in extremes], [y for _, y, _ in extremes], "line-ns", "--ink-2", 9, words
        )
    )
    if chosen is not None:
        name = length_words(chosen.length_ms)
        if name not in names:
            names = [*names, name]
        at = max(1 + chosen.total_return, floor)
        traces.append(_points("the chosen window", [at], [name], "star", "--loss", 13, [share(chosen.total_return)]))
    values = [v for trace in traces for v in trace["x"] if v is not None]
    bottom, top = min(values) / 1.15, max(values) * 1.15
    axis, narrow = return_axis(bottom, top, floor if lost else None)
    layout = {
        "xaxis": axis,
        "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": names[::-1], "ticksuffix": " ",
                  "range": [-0.6, len(names) - 0.4]},
        "hovermode": "closest", "dragmode": False, "margin": {"l": 70, "r": 14, "t": 8, "b": 34},
    }  # fmt: skip
    alt = "Returns of all windows by length: middle half, middle 90 %, median, worst and best."
    return Chart(
        traces, layout, alt, height=60 + 42 * len(names), title="Returns of all windows, logarithmic",
        narrow=narrow | {"margin.l": 66},
    )  # fmt: skip


def _points(name: str, x: list[float], y: list[str], symbol: str, colour: str, size: int, words: list[str]) -> Trace:
    trace = marks(name, x, x, symbol=symbol, colour=colour, size=size, words=words)
    return trace | {"x": x, "y": y}


def _histogram(result: Result, chosen: Standing, from_ms: int) -> Chart:
    """How often windows of the chosen length returned what, with the chosen one marked."""
    logs = windows(result, chosen.length_ms, from_ms=from_ms).logs
    alive = logs[np.isfinite(logs)]
    own = math.log1p(chosen.total_return) if chosen.total_return > -1 else float(alive.min(initial=-1.0))
    low, high = min(float(alive.min(initial=own)), own), max(float(alive.max(initial=own)), own)
    pad = max((high - low) * 0.02, 1e-6)
    counts, edges = np.histogram(alive, bins=_BINS, range=(low - pad, high + pad))
    middle = np.exp((edges[:-1] + edges[1:]) / 2)
    top = int(counts.max(initial=1))
    # On a logarithmic axis a bar's width is given in the axis' own units at its place.
    bars = {
        "type": "bar", "name": f"windows of {length_words(chosen.length_ms)}", "x": middle.tolist(),
        "y": counts.tolist(), "width": (np.exp(edges[1:]) - np.exp(edges[:-1])).tolist(),
        "marker": {"color": "--accent", "opacity": 0.55, "symbol": "square"}, "hoverinfo": "skip",
    }  # fmt: skip
    at = math.exp(own)
    flag = {
        "type": "scatter", "mode": "lines+markers", "name": "the chosen window", "x": [at, at], "y": [0, top * 1.08],
        "line": {"color": "--loss", "width": 2, "dash": "dash"}, "hoverinfo": "skip",
        "marker": {"symbol": "star", "size": [0, 12], "color": "--loss", "opacity": 1},
    }  # fmt: skip
    axis, narrow = return_axis(math.exp(low - pad), math.exp(high + pad))
    layout = {
        "xaxis": axis,
        "yaxis": {"rangemode": "tozero", "title": {"text": "windows"}},
        "hovermode": False, "dragmode": False, "bargap": 0.08,
    }  # fmt: skip
    span = length_words(chosen.length_ms)
    alt = f"How often windows of {span} returned what; the chosen one {share(chosen.total_return)}."
    return Chart([bars, flag], layout, alt, height=240, title=f"All windows of {span}, by return", narrow=narrow)
