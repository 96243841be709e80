"""Charts of a sweep: a curve for one field, heat maps for two, lines over parallel axes for more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gearing.kernels.pyramid import Floats
from gearing.numerals import MISSING
from gearing.study.report.charts import Chart, Trace, marks, numbers
from gearing.study.report.judged import SHARES, Found, point_of, value_of, words_of
from gearing.study.report.markup import text
from gearing.study.robust import LESS_IS_BETTER

_LINES = 400
_BANDS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
_WRITTEN_IN = 150
_WRITTEN_ON_A_PHONE = 7


def charts_of(found: Found) -> list[Chart]:
    """Returns the charts that suit the number of fields."""
    fields = len(found.sweep.grid)
    if fields == 1:
        return [_curve(found)]
    if fields == 2:
        name = words_of(found.figure)
        own = _heat_map(found, found.values, f"{name}, each combination")
        return [own, _heat_map(found, found.worst, f"{name}, the worst of each neighbourhood")]
    return [_parallel(found)]


def _scale(figure: str) -> float:
    return 100.0 if figure in SHARES else 1.0


def _curve(found: Found) -> Chart:
    (field,) = found.sweep.grid
    column, scale = found.sweep.table[field], _scale(found.figure)
    numeric = column.dtype.is_numeric()
    x = column.to_list() if numeric else [text(value) for value in column.to_list()]
    order = np.argsort(np.array(x, float), kind="stable").tolist() if numeric else list(range(len(x)))
    name = words_of(found.figure)
    traces: list[Trace] = []
    for label, values, colour, dash, symbol in (
        (name, found.values, "--accent", "solid", "circle"),
        ("worst of the neighbourhood", found.worst, "--ink-2", "dot", "diamond-open"),
    ):
        traces.append(
            {"type": "scatter", "mode": "lines+markers", "name": label, "x": [x[k] for k in order],
             "y": numbers(scale * values[order]), "line": {"color": colour, "dash": dash, "width": 1.6},
             "marker": {"symbol": symbol, "size": 7, "color": colour},
             "hovertemplate": f"{label} %{{y:.4~g}}<extra></extra>"}
        )  # fmt: skip
    traces += _flags(found, lambda row: (x[row], scale * float(found.values[row])))
    layout = {
        "xaxis": {"title": {"text": words_of(field)}} | ({} if numeric else {"type": "category"}),
        "yaxis": {"ticksuffix": " %" if scale == 100 else ""},
        "margin": {"l": 62, "r": 14, "t": 10, "b": 48},
    }
    return Chart(traces, layout, f"{name} over {field}; best at {point_of(found, found.best)}.", height=380)


def _flags(found: Found, place: Any) -> list[Trace]:
    flags = []
    for label, row, symbol in (("best", found.best, "star"), ("most robust", found.robust, "diamond-open")):
        x, y = place(row)
        flag = marks(
            label, [x], [0.0], symbol=symbol, colour="--flag", size=16, words=[f"{label}: {point_of(found, row)}"]
        )
        flags.append(flag | {"y": [y]})
    return flags


def _heat_map(found: Found, values: Floats, title: str) -> Chart:
    down, across = found.sweep.grid
    frame, scale = found.sweep.table, _scale(found.figure)
    shape = len(found.sweep.grid[down]), len(found.sweep.grid[across])
    labels = [[value_of(name, value) for value in frame[name].to_list()] for name in (down, across)]
    y, x = labels[0][:: shape[1]], labels[1][: shape[1]]
    kept = np.isfinite(values)
    written = [value_of(found.figure, float(value)).replace(" %", "") for value in values]
    shown, glyphs = written.copy(), [""] * len(written)
    for row, glyph in ((found.best, "★"), (found.robust, "◇")):
        shown[row], glyphs[row] = f"{glyph} {shown[row]}", f"{glyphs[row]}{glyph}"
    trace: Trace = {
        "type": "heatmap", "x": [text(v) for v in x], "y": [text(v) for v in y],
        "z": [numbers(row) for row in (scale * np.where(kept, values, np.nan)).reshape(shape)],
        "colorscale": [[0, "--heat-0"], [0.5, "--heat-1"], [1, "--heat-2"]],
        "reversescale": found.figure in LESS_IS_BETTER, "xgap": 2, "ygap": 2,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "ticksuffix": " %" if scale == 100 else "", "len": 1},
        "text": _rows(shown, shape), "customdata": _rows(written, shape),
        "hovertemplate": f"{text(words_of(down))} %{{y}}, {text(words_of(across))} %{{x}}: "
        "%{customdata}<extra></extra>",
    }  # fmt: skip
    if (values[kept] < 0).any() and (values[kept] > 0).any():
        trace["zmid"] = 0
    small = len(values) <= _WRITTEN_IN
    if small:
        trace |= {"texttemplate": "%{text}", "textfont": {"size": 11}}
    flags = [] if small else _flags(found, lambda row: (text(labels[1][row]), text(labels[0][row])))
    layout = {
        "xaxis": {"type": "category", "title": {"text": text(words_of(across))}, "showgrid": False},
        "yaxis": {"type": "category", "title": {"text": text(words_of(down))}, "showgrid": False},
        "hovermode": "closest", "dragmode": False, "margin": {"l": 70, "r": 10, "t": 10, "b": 50},
    }  # fmt: skip
    for flag in flags:
        flag["marker"]["line"]["width"] = 2
    alt = f"Heat map of {title} over {down} and {across}; best at {point_of(found, found.best)}."
    height = min(max(34 * shape[0] + 80, 260), 720)
    narrow: dict[str, Any] = {"margin.l": 54, "traces.0.showscale": False, "traces.0.textfont.size": 9}
    if small and shape[1] > _WRITTEN_ON_A_PHONE:
        narrow["traces.0.text"] = _rows(glyphs, shape)
    return Chart([trace, *flags], layout, alt, height=height, title=f"{title} (★ best, ◇ most robust)", narrow=narrow)


def _rows(cells: Sequence[str], shape: tuple[int, int]) -> list[list[str]]:
    return [list(cells[k * shape[1] : (k + 1) * shape[1]]) for k in range(shape[0])]


def _parallel(found: Found) -> Chart:
    """One line for each combination over its fields, each drawn from its lowest to its highest value."""
    frame, fields, figure = found.sweep.table, list(found.sweep.grid), found.figure
    rows = _sample(found)
    heights = [_heights(frame[name].to_list()) for name in fields]
    finite = np.where(np.isfinite(found.values), found.values, np.nanmin(found.values))
    heights.append(_heights(finite.tolist()))
    names = [*fields, figure]
    rank = np.argsort(np.argsort(finite, kind="stable"), kind="stable") * len(_BANDS) // len(finite)
    traces: list[Trace] = []
    styles = (("--loss", "dot", 0.8), ("--ink-2", "dot", 0.8), ("--ink-2", "solid", 0.9), ("--accent", "solid", 1.2))
    for band, (label, (colour, dash, width)) in enumerate(zip(_BANDS, styles, strict=True)):
        x: list[int | None] = []
        y: list[float | None] = []
        for row in rows:
            if rank[row] == band:
                x += [*range(len(names)), None]
                y += [*(round(float(height[row]), 4) for height in heights), None]
        line = {"color": colour, "dash": dash, "width": width}
        traces.append({"type": "scatter", "mode": "lines", "name": label, "x": x, "y": y, "line": line,
                       "opacity": 0.6, "hoverinfo": "skip"})  # fmt: skip
    for label, row, symbol in (("best", found.best, "star"), ("most robust", found.robust, "diamond-open")):
        traces.append(
            {"type": "scatter", "mode": "lines+markers", "name": label, "x": list(range(len(names))),
             "y": [round(float(height[row]), 4) for height in heights],
             "line": {"color": "--ink", "width": 2.4, "dash": "solid" if symbol == "star" else "dash"},
             "marker": {"symbol": symbol, "size": 10, "color": "--ink"},
             "text": [f"{words_of(n)}: {value_of(n, frame[n][row])}" for n in names],
             "hovertemplate": "%{text}<extra></extra>"}
        )  # fmt: skip
    layout = {
        "xaxis": {"tickvals": list(range(len(names))), "ticktext": [text(words_of(n)) for n in names], "side": "top",
                  "range": [-0.3, len(names) - 0.7], "gridcolor": "--line-strong", "showline": False},
        "yaxis": {"visible": False, "range": [-0.12, 1.08]},
        "hovermode": "closest", "dragmode": False, "margin": {"l": 10, "r": 10, "t": 34, "b": 8},
        "annotations": _ends(frame, names),
    }  # fmt: skip
    narrow = {
        "margin.l": 4, "margin.r": 4, "margin.t": 48, "xaxis.range": [-0.5, len(names) - 0.5],
        "xaxis.ticktext": [text(words_of(name)).replace(" ", "<br>") for name in names], "xaxis.tickangle": 0,
    }  # fmt: skip
    title = f"{words_of(figure)} by quarters, a line for each combination"
    if len(rows) < len(frame):
        title += f" ({len(rows):,} of {len(frame):,} drawn)"
    return Chart(traces, layout, f"{title}; best at {point_of(found, found.best)}.", height=440, title=title,
                 narrow=narrow)  # fmt: skip


def _sample(found: Found) -> list[int]:
    """The rows to draw: all, or evenly from the whole ranking, with both ends."""
    order = np.argsort(np.where(np.isfinite(found.values), found.values, -np.inf), kind="stable")
    if len(order) <= _LINES:
        return [int(k) for k in order]
    return [int(order[k]) for k in np.unique(np.linspace(0, len(order) - 1, _LINES).astype(int))]


def _heights(values: Sequence[Any]) -> Floats:
    """Values as heights from 0 to 1; words in their order of appearance."""
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        known = list(dict.fromkeys(map(str, values)))
        spots = np.array([known.index(str(value)) for value in values], float)
    else:
        spots = np.array(values, float)
    low, high = float(spots.min()), float(spots.max())
    return np.full(len(spots), 0.5) if high == low else (spots - low) / (high - low)


def _ends(frame: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """The lowest and the highest value of each axis, written below and above it."""
    found = []
    for k, name in enumerate(names):
        column = frame[name]
        ends = (column.min(), column.max()) if column.dtype.is_numeric() else (column[0], column[-1])
        for value, y in zip(ends, (-0.08, 1.05), strict=True):
            shown = MISSING if value is None else text(value_of(name, value))
            found.append({"x": k, "y": y, "text": shown, "showarrow": False, "font": {"size": 11, "color": "--ink"}})
    return found
