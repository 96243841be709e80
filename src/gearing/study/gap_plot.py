"""The figure of a gap budget: what every wait of a token's own side may do in a year, on one logarithmic axis."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from gearing.core.words import level_text, number
from gearing.market.times import duration_text
from gearing.study.gap_record import MATERIAL_PER_YEAR, WHOLE_RULE, Chance, Fate, GapBudget, GapRow, chance_text

# Okabe & Ito's palette; each colour also has a marker of its own.
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#7F7F7F"

# Less than once in a million years is drawn at the left edge.
_LEAST = 1e-6
_TICKS = {1e-6: "≤ 0.0001 %", 1e-4: "0.01 %", 1e-2: "1 %", 1.0: "100 %"}
_TITLES: dict[Fate, str] = {"zero": "NAV at zero", "liquidation": "Liquidation by the venue"}


def gap_figure(budget: GapBudget) -> go.Figure:
    """Returns a budget's figure: for each wait a dot by formula, one as counted, and the count's 95 % interval."""
    rows = [row for row in budget.rows if row.side == budget.side][::-1]
    fig = go.Figure()
    labels = [_label(row) for row in rows]
    places = list(range(len(rows)))
    fates: tuple[Fate, ...] = ("zero", "liquidation")
    for fate in fates:
        chances = [row.chance(fate) for row in rows]
        shown: dict[str, Any] = {"visible": fate == "zero", "y": places}
        fig.add_trace(_interval(chances, rows, shown))
        fig.add_trace(_dots("as counted", "diamond", _ORANGE, [c.per_year_counted for c in chances], chances, shown))
        fig.add_trace(_dots("by formula", "circle", _BLUE, [c.per_year for c in chances], chances, shown))
    buttons = [
        {"label": _TITLES[fate], "method": "update",
         "args": [{"visible": [k == which for k in range(2) for _ in range(3)]}, {"title.text": _title(budget, fate)}]}
        for which, fate in enumerate(fates)
    ]  # fmt: skip
    fig.add_vline(x=MATERIAL_PER_YEAR, line={"color": _GREY, "dash": "dot", "width": 1.5})
    # A note stands at the logarithm of its place, a line at the place itself.
    fig.add_annotation(
        x=math.log10(MATERIAL_PER_YEAR), y=1, yref="paper", yanchor="bottom", showarrow=False,
        text="once in 100 years", font={"size": 11, "color": "#5F5F5F"},
    )  # fmt: skip
    # Few words and thin lines for the decades between: they stand side by side on a phone, too.
    fig.update_xaxes(
        type="log", range=[math.log10(_LEAST) - 0.25, 0.25], tickvals=list(_TICKS), ticktext=list(_TICKS.values()),
        tickangle=0, title_text="chance a year", minor={"dtick": 1, "showgrid": True, "gridcolor": "#F0F0F0"},
    )  # fmt: skip
    fig.update_yaxes(tickvals=places, ticktext=labels, range=[-0.6, len(rows) - 0.4], automargin=True, zeroline=False)
    fig.update_layout(
        template="plotly_white", height=285 + 52 * len(rows), margin={"l": 10, "r": 16, "t": 165, "b": 90},
        hovermode="closest",
        title={"text": _title(budget, "zero"), "x": 0.02, "xanchor": "left", "y": 1, "yanchor": "top",
               "yref": "container", "pad": {"t": 16}},
        legend={"orientation": "h", "x": 0.02, "xref": "container", "y": 0.01, "yref": "container"},
        updatemenus=[{"type": "buttons", "direction": "right", "buttons": buttons, "showactive": True,
                      "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": 26}}],
    )  # fmt: skip
    return fig


def _title(budget: GapBudget, fate: Fate) -> str:
    usual, worst = (
        (budget.zero_per_year, budget.zero_per_year_at_worst)
        if fate == "zero"
        else (budget.liquidation_per_year, budget.liquidation_per_year_at_worst)
    )
    on = f" on {budget.prices}" if budget.prices else ""
    return (
        f"{budget.symbol}: {_TITLES[fate]}<br><sup>before the rule can trade{on}</sup><br>"
        f"<sup>{chance_text(usual)} a year as the rule ran; at worst {chance_text(worst)}</sup><br>"
        "<sup>bars: the 95 % interval of the count</sup>"
    )


def _label(row: GapRow) -> str:
    start = f"from {level_text(round(row.leverage, 2), sign=True)}"
    if row.trigger == WHOLE_RULE:
        return f"<b>{row.trigger}</b><br>as it ran"
    return f"{row.trigger}<br>{start}, {duration_text(row.horizon_ms)}"


def _at(chance: float) -> float:
    return max(chance, _LEAST)


def _interval(chances: list[Chance], rows: list[GapRow], shown: dict[str, Any]) -> go.Scatter:
    ends = [(_at(c.counted_low), _at(c.counted_high)) for c in chances]
    middle = [math.sqrt(low * high) for low, high in ends]
    words = [
        f"{c.counted:,} of {row.windows:,} waits ended it; 95 %: {chance_text(c.counted_low)} to "
        f"{chance_text(c.counted_high)} a year"
        for c, row in zip(chances, rows, strict=True)
    ]
    error = {
        "type": "data", "symmetric": False, "array": [high - m for (_, high), m in zip(ends, middle, strict=True)],
        "arrayminus": [m - low for (low, _), m in zip(ends, middle, strict=True)],
        "color": _ORANGE, "thickness": 1.5, "width": 5,
    }  # fmt: skip
    return go.Scatter(
        x=middle, mode="markers", marker={"color": _ORANGE, "size": 12, "opacity": 0}, error_x=error, text=words,
        hovertemplate="%{text}<extra></extra>", showlegend=False, **shown,
    )  # fmt: skip


def _dots(
    name: str, symbol: str, colour: str, values: list[float], chances: list[Chance], shown: dict[str, Any]
) -> go.Scatter:
    lifted = shown | {"y": [place + (0.14 if symbol == "circle" else 0) for place in shown["y"]]}
    moves = ["no move does it" if c.move is None else f"at a move of {number(100 * c.move, decimals=1, sign=True)} %"
             for c in chances]  # fmt: skip
    words = [f"{name}: {chance_text(value)} a year, {move}" for value, move in zip(values, moves, strict=True)]
    # An open marker at the edge stands for less than can be shown.
    glyphs = [symbol if value > _LEAST else f"{symbol}-open" for value in values]
    return go.Scatter(
        x=[_at(value) for value in values], mode="markers", name=name, text=words,
        marker={"color": colour, "symbol": glyphs, "size": 11}, hovertemplate="%{text}<extra></extra>", **lifted,
    )  # fmt: skip
