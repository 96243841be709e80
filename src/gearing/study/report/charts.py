"""Charts of a report: plain data for Plotly, and the legend in HTML beside it.

Colours are named by the style sheet's variables ("--accent"), so that light and dark are decided where the
page is read. No line is told by its colour alone: each has a dash or a marker of its own, shown in the legend.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gearing.kernels.pyramid import Floats
from gearing.market.series import Times
from gearing.market.thin import thin
from gearing.numerals import number, share
from gearing.study.report.markup import text

POINTS = 1_600
"""How many points of a series are drawn: more than a screen has columns."""

SERIES = ("--c1", "--c2", "--c3", "--c4", "--c5", "--c6")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

_GLYPHS = {
    "circle": "●", "circle-open": "○", "triangle-up": "▲", "triangle-down": "▼", "diamond": "◆", "diamond-open": "◇",
    "square": "■", "x": "✕", "star": "★", "cross": "✚", "line-ns": "|",
}  # fmt: skip
_STROKES = {
    "solid": "",
    "dash": "7 4",
    "dot": "2 3",
    "dashdot": "7 3 2 3",
    "longdash": "12 4",
    "longdashdot": "12 3 2 3",
}

Trace = dict[str, Any]


class Chart(NamedTuple):
    """A chart: its data for the page's script, and what stands around it.

    Args:
        traces: Plotly's traces, in plain types.
        layout: Plotly's layout, over the page's own.
        alt: what it shows, for those who do not see it.
        height: in px on a wide screen.
        title: said above it.
        legend: whether its named traces are listed above it.
        narrow: changes on a narrow screen: dotted names ("margin.l" of the layout, "traces.0.text") to values.
    """

    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    alt: str
    height: int = 340
    title: str = ""
    legend: bool = True
    narrow: Mapping[str, Any] = {}


def numbers(values: Iterable[float]) -> list[float | None]:
    """Returns figures in six significant digits, what is not finite as nothing."""
    return [
        float(f"{value:.6g}") if math.isfinite(value) else None for value in np.asarray(list(values), float).tolist()
    ]


def moments(times_ms: Times) -> list[int]:
    """Returns moments as Plotly takes them: ms UTC."""
    return np.asarray(times_ms).tolist()  # type: ignore[no-any-return]


def line(
    name: str,
    times_ms: Times,
    values: Floats,
    *,
    colour: str = "--accent",
    dash: str = "solid",
    width: float = 1.6,
    points: int = POINTS,
    hover: str = "%{y:.5~g}",
    logarithmic: bool = False,
) -> Trace:
    """Returns a series in time as a line, thinned without losing an extreme.

    Args:
        name: in the legend.
        times_ms, values: shape (n,).
        colour: a variable of the style sheet.
        dash, width: of the line.
        points: how many are kept.
        hover: how a value is shown, Plotly's template.
        logarithmic: values at or below 0 end the line.
    """
    shown = np.where(values > 0, values, np.nan) if logarithmic else values
    rows = thin(np.nan_to_num(shown, nan=0.0), points)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": moments(times_ms[rows]),
        "y": numbers(shown[rows]),
        "line": {"color": colour, "dash": dash, "width": width},
        "hovertemplate": f"{text(name)} {hover}<extra></extra>",
    }


def marks(
    name: str,
    x: Sequence[Any],
    y: Sequence[float],
    *,
    symbol: str,
    colour: str = "--ink",
    size: int = 7,
    words: Sequence[str] = (),
) -> Trace:
    """Returns markers with words that are shown when a pointer rests on them."""
    trace: Trace = {
        "type": "scatter", "mode": "markers", "name": name, "x": list(x), "y": numbers(y),
        "marker": {"symbol": symbol, "color": colour, "size": size, "line": {"width": 1.2, "color": colour}},
        "hovertemplate": "%{text}<extra></extra>" if words else f"{text(name)}<extra></extra>",
    }  # fmt: skip
    if words:
        trace["text"] = [text(word) for word in words]
    return trace


def level(name: str, x: Sequence[Any], y: float, *, colour: str, dash: str) -> Trace:
    """Returns a level as a line across the chart, from the first to the last x."""
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": [x[0], x[-1]], "y": [y, y], "hoverinfo": "skip",
        "line": {"color": colour, "dash": dash, "width": 1.2},
    }  # fmt: skip


def time_axis(times_ms: Times) -> dict[str, Any]:
    """Returns an x axis of moments in UTC."""
    return {"type": "date", "range": [int(times_ms[0]), int(times_ms[-1])], "hoverformat": "%Y-%m-%d %H:%M UTC"}


def log_axis(low: float, high: float, words: Any = None) -> dict[str, Any]:
    """Returns a logarithmic y axis over (low, high), both > 0, with ticks that a person would choose.

    Args:
        low, high: what is shown.
        words: makes a tick's text of its value; by default significant digits.
    """
    bottom, top = math.log10(low), math.log10(high)
    pad = max((top - bottom) * 0.04, 0.01)
    ticks = log_ticks(10 ** (bottom - pad), 10 ** (top + pad))
    say = words or tick_text
    return {
        "type": "log",
        "range": [bottom - pad, top + pad],
        "tickvals": ticks,
        "ticktext": [say(value) for value in ticks],
        "fixedrange": True,
    }


def tick_text(value: float) -> str:
    """Returns a round value as short as it can be: "0.005", "30,000", "1e−9"."""
    if 1e-4 <= value < 1e7:
        return number(value, decimals=6)
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("-", "−")


def log_ticks(low: float, high: float, most: int = 9) -> list[float]:
    """Returns round values within (low, high): even steps of a narrow range, else 1-2-5 of each decade, or fewer."""
    if high < 3.0 * low and low >= 1e-3 and high < 1e7:  # what `tick_text` writes out
        step = next(
            step for k in range(-9, 8) for step in (10.0**k, 2 * 10.0**k, 5 * 10.0**k) if (high - low) / step < most
        )
        return [round(n * step, 9) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps, every in (((1, 1.5, 2, 3, 5, 7), 1), ((1, 2, 5), 1), ((1, 3), 1), ((1,), 1)):
        ticks = [float(f"{step}e{k}") for k in range(first, last + 1, every) for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    every = -(-(last - first + 1) // most)
    return [float(f"1e{k}") for k in range(first, last + 1, every) if low <= 10.0**k <= high]


def return_axis(low: float, high: float, gone: float | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a logarithmic x axis of NAV multiples labelled by their returns, and its changes on a narrow screen.

    Args:
        low, high: what is shown, > 0.
        gone: the place that stands for a wipe-out, which has none of its own; left of all ticks.
    """
    least = low if gone is None else 1.3 * gone
    first = [] if gone is None else [(gone, "−100 %")]
    wide, few = ([*first, *((tick, _return_words(tick)) for tick in percent_ticks(least, high, n))] for n in (9, 4))
    axis = {
        "type": "log", "range": [math.log10(low), math.log10(high)], "tickangle": 0,
        "tickvals": [tick for tick, _ in wide], "ticktext": [words for _, words in wide],
    }  # fmt: skip
    return axis, {"xaxis.tickvals": [tick for tick, _ in few], "xaxis.ticktext": [words for _, words in few]}


def _return_words(multiple: float) -> str:
    return share(multiple - 1, 1 if abs(multiple) < 0.01 else 0)


def percent_ticks(low: float, high: float, most: int) -> list[float]:
    """Returns NAV multiples whose returns are round, for a logarithmic axis of returns."""
    known = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 100, 1e3, 1e4, 1e5, 1e6)
    inside = [value for value in known if low <= value <= high]
    while len(inside) > most:
        # Of every second tick, those among which no gain and no loss stands.
        inside = inside[inside.index(1) % 2 if 1 in inside else 0 :: 2]
    return inside


def figure_of(chart: Chart, number: int) -> str:
    """Returns the HTML of a chart: its title, its legend and the place where the script draws it."""
    title = f"<figcaption>{text(chart.title)}</figcaption>" if chart.title else ""
    keys = _legend(chart, number) if chart.legend else ""
    return (
        f'<figure class="chart">{title}{keys}<div class="plot" id="chart-{number}" role="img" '
        f'aria-label="{html.escape(chart.alt)}" style="--height:{chart.height}px"></div></figure>'
    )


def _legend(chart: Chart, number: int) -> str:
    keys = [_key(trace, number, k) for k, trace in enumerate(chart.traces) if trace.get("name")]
    return f'<div class="legend" role="group" aria-label="Lines shown">{"".join(keys)}</div>' if keys else ""


def _key(trace: Trace, number: int, k: int) -> str:
    pressed = str(trace.get("visible", True)).lower()
    return (
        f'<button type="button" class="key" aria-pressed="{pressed}" data-chart="{number}" data-trace="{k}">'
        f"{_sample(trace)}{text(trace['name'])}</button>"
    )


def _sample(trace: Trace) -> str:
    if "lines" in trace.get("mode", ""):
        stroke = trace["line"]
        dash = _STROKES[stroke.get("dash", "solid")]
        mark = _GLYPHS.get(trace.get("marker", {}).get("symbol", ""), "") if "markers" in trace["mode"] else ""
        return (
            f'<svg width="28" height="10" aria-hidden="true" style="color:var({stroke["color"]})"><line x1="0" y1="5" '
            f'x2="28" y2="5" stroke="currentColor" stroke-width="{max(stroke.get("width", 2), 2):g}" '
            f'stroke-dasharray="{dash}"/></svg>'
            + (f'<span aria-hidden="true" style="color:var({stroke["color"]})">{mark}</span>' if mark else "")
        )
    marker = trace.get("marker", {})
    glyph = _GLYPHS.get(marker.get("symbol", "circle"), "●")
    return f'<span aria-hidden="true" style="color:var({marker.get("color", "--ink")})">{glyph}</span>'
