"""Figures, in Plotly: a result, a comparison, a sweep, an attribution, a rule, a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gearing.core.record import Record
from gearing.core.rule import Rule, band_edges
from gearing.core.token import Token
from gearing.errors import InputError
from gearing.market.thin import thin
from gearing.study.attribution import Attribution
from gearing.study.compare import Comparison, rule_name
from gearing.study.result import Result
from gearing.study.sweep import Sweep
from gearing.study.track_record import Track

# Okabe & Ito's palette, which people with any colour vision tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_POINTS = 4_000


def figure(shown: Any, *choices: str) -> go.Figure:
    """Returns the figure of anything that can be plotted.

    Args:
        shown: a result, comparison, sweep or record.
        choices: for a sweep, the figure to show.

    Raises:
        InputError: it has no figure.
    """
    draw = next((draw for kind, draw in _DRAWERS if isinstance(shown, kind)), None)
    if draw is None:
        raise InputError(f"there is no figure for a {type(shown).__name__}.")
    return draw(shown.polars if isinstance(shown, Result) else shown, *choices)


def _layout(fig: go.Figure, title: str, height: int = 480) -> go.Figure:
    fig.update_layout(
        template="plotly_white", title=title, height=height, hovermode="x unified",
        margin={"l": 60, "r": 20, "t": 60, "b": 40}, legend={"orientation": "h", "y": -0.12},
    )  # fmt: skip
    return fig


def _times(result: Result, rows: Any) -> Any:
    return result.prices.times_ms[rows].astype("datetime64[ms]")


def _result(result: Result) -> go.Figure:
    nav, leverage = result.nav["nav"].to_numpy(), result.nav["leverage"].to_numpy()
    price = result.prices.close * result.token.initial_nav / result.prices.close[0]
    fig = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.65, 0.35], vertical_spacing=0.06,
        subplot_titles=(f"NAV in {result.token.settlement}, logarithmic", "Real leverage ℓ"),
    )  # fmt: skip
    for name, values, colour, dash, row in (
        (result.token.symbol, np.where(nav > 0, nav, np.nan), BLUE, "solid", 1),
        ("underlying, same start", price, GREY, "dot", 1),
        ("real leverage", leverage, BLUE, "solid", 2),
    ):
        rows = thin(np.nan_to_num(values), _POINTS)
        line = {"color": colour, "dash": dash, "width": 1.4}
        trace = go.Scattergl(x=_times(result, rows), y=values[rows], name=name, line=line, showlegend=row == 1)
        fig.add_trace(trace, row=row, col=1)
    done = result.rebalances.filter(~result.rebalances["reason"].is_in(["opening", "schedule"]))
    marks = go.Scattergl(
        x=done["time"].dt.replace_time_zone(None).to_numpy(), y=done["leverage_before"].to_numpy(), mode="markers",
        marker={"color": ORANGE, "symbol": "triangle-up", "size": 7}, name="unscheduled rebalance",
        text=done["reason"].to_list(), hovertemplate="%{text}: ℓ %{y:.3f}<extra></extra>",
    )  # fmt: skip
    fig.add_trace(marks, row=2, col=1)
    fig.add_hline(y=result.token.target, line_dash="dash", line_color=GREEN, row=2, col=1)
    fig.update_yaxes(type="log", dtick=1, row=1, col=1)
    fig.update_xaxes(title_text="UTC", row=2, col=1)
    return _layout(fig, f"{result.token.symbol}: {result.summary().total_return:+.1%}", 640)


def _comparison(comparison: Comparison) -> go.Figure:
    fig = go.Figure()
    for k, result in enumerate(comparison.results):
        nav = result.nav["nav"].to_numpy()
        rows = thin(nav, _POINTS)
        shown = np.where(nav > 0, nav, np.nan)[rows]
        name = f"{rule_name(result.token)} {result.token.target:+g}"
        line = {"dash": _DASHES[k % len(_DASHES)], "width": 1.4}
        fig.add_trace(go.Scattergl(x=_times(result, rows), y=shown, name=name, line=line))
    fig.update_yaxes(type="log", title_text="NAV, logarithmic")
    fig.update_xaxes(title_text="UTC")
    return _layout(fig, "NAV by rule, own fees", 560)


def sweep_figure(sweep: Sweep, figure: str = "total_return") -> go.Figure:
    """Returns a sweep's figure: a line for one field, a heat map for two, parallel axes for more."""
    frame, fields = sweep.table, list(sweep.grid)
    if figure not in frame.columns:
        raise InputError(f"there is no figure {figure!r}.", fix=f"Choose one of: {', '.join(frame.columns)}.")
    title = f"{sweep.token.symbol}: {figure} over {', '.join(fields)}"
    values = frame[figure].to_numpy()
    if len(fields) == 1:
        fig = go.Figure(go.Scatter(x=frame[fields[0]].to_list(), y=values, mode="lines+markers"))
        fig.update_xaxes(title_text=fields[0])
        fig.update_yaxes(title_text=figure)
    elif len(fields) == 2:
        across, down = ([str(value) for value in sweep.grid[name]] for name in fields)
        fig = go.Figure(
            go.Heatmap(
                x=down, y=across, z=values.reshape(len(across), len(down)), colorscale="Cividis",
                colorbar={"title": figure}, texttemplate="%{z:.3g}" if len(values) <= 200 else None,
            )
        )  # fmt: skip
        fig.update_xaxes(title_text=fields[1], type="category")
        fig.update_yaxes(title_text=fields[0], type="category")
    else:
        axes = []
        for name in fields:
            column = frame[name]
            if column.dtype.is_numeric():
                axes.append({"label": name, "values": column.to_numpy()})
            else:
                texts = [str(value) for value in column]
                words = sorted(set(texts))
                spots = [words.index(text) for text in texts]
                axes.append({"label": name, "values": spots, "tickvals": list(range(len(words))), "ticktext": words})
        axes.append({"label": figure, "values": values})
        fig = go.Figure(
            go.Parcoords(dimensions=axes, line={"color": values, "colorscale": "Cividis", "showscale": True})
        )
    return _layout(fig, title)


def _track(track: Track) -> go.Figure:
    frame = track.frame
    times = frame["time"].dt.replace_time_zone(None).to_numpy()
    gaps = np.cumsum(np.where(frame["counted"].to_numpy(), frame["gap"].fill_null(0.0).to_numpy(), 0.0))
    fig = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.08,
        subplot_titles=("From 100, logarithmic", "Sum of the gaps, log"),
    )  # fmt: skip
    for name, values, colour, dash, row in (
        (track.product or "product", frame["product"].to_numpy(), BLUE, "solid", 1),
        (f"{track.symbol}, simulated", frame["simulated"].to_numpy(), ORANGE, "dash", 1),
        ("sum of the gaps", gaps, BLUE, "solid", 2),
    ):
        shown = values * 100 / values[0] if row == 1 else values
        rows = thin(shown, _POINTS)
        line = {"color": colour, "dash": dash, "width": 1.4}
        trace = go.Scattergl(x=times[rows], y=shown[rows], name=name, line=line, showlegend=row == 1)
        fig.add_trace(trace, row=row, col=1)
    fig.update_yaxes(type="log", row=1, col=1)
    fig.update_yaxes(tickformat="+.1%", row=2, col=1)
    fig.update_xaxes(title_text="UTC", row=2, col=1)
    return _layout(fig, f"{track.symbol}: drift {track.drift:+.2%} a year", 600)


def _attribution(attribution: Attribution) -> go.Figure:
    parts = [(name.replace("_", " "), amount) for name, amount in attribution.money.items() if amount]
    fig = go.Figure(
        go.Waterfall(
            x=[name for name, _ in parts] + ["total"],
            y=[amount for _, amount in parts] + [attribution.money.total],
            measure=["relative"] * len(parts) + ["total"],
            text=[f"{amount:+.4g}" for _, amount in parts] + [f"{attribution.money.total:+.4g}"],
            increasing={"marker": {"color": BLUE}},
            decreasing={"marker": {"color": ORANGE}},
            totals={"marker": {"color": GREY}},
        )
    )
    fig.update_yaxes(title_text="money per unit")
    return _layout(fig, "Where the result came from")


def _rule(rule: Rule, target: float | None = None) -> go.Figure:
    beta = target or rule.target or 3.0
    worst = -1 / beta
    moves = np.linspace(max(worst * 0.8, -0.6) if beta > 1 else -0.4, min(worst * 0.8, 0.6) if beta < 0 else 0.6, 400)
    fig = go.Figure(
        go.Scatter(x=moves, y=beta * (1 + moves) / (1 + beta * moves), name="real leverage", line={"color": BLUE})
    )
    lower, upper = band_edges(rule, beta)
    sign = 1 if beta > 0 else -1
    for level, text in ((lower, "lower edge"), (upper, "upper edge"), (rule.ripcord or 0.0, "ripcord")):
        if 0 < level < np.inf:
            fig.add_hline(y=sign * level, line_dash="dash", line_color=ORANGE, annotation_text=text)
    fig.add_hline(y=beta, line_dash="dot", line_color=GREEN, annotation_text="target")
    fig.update_xaxes(title_text="price move since the last rebalance", tickformat="+.0%")
    fig.update_yaxes(title_text="real leverage ℓ")
    return _layout(fig, repr(rule))


def _token(token: Token) -> go.Figure:
    return _rule(token.resolved_rule, token.target).update_layout(title=repr(token))


def _record(record: Record) -> go.Figure:
    names = [name for name in record.__struct_fields__ if isinstance(getattr(record, name), (int, float))]
    values = [f"{getattr(record, name):.6g}" for name in names]
    header = {"values": ["figure", "value"], "align": "left"}
    fig = go.Figure(go.Table(header=header, cells={"values": [names, values], "align": "left"}))
    return _layout(fig, type(record).__name__)


# The first kind that fits draws; records without a figure of their own become a table.
_DRAWERS: tuple[tuple[type, Callable[..., go.Figure]], ...] = (
    (Result, _result),
    (Comparison, _comparison),
    (Sweep, sweep_figure),
    (Track, _track),
    (Attribution, _attribution),
    (Rule, _rule),
    (Token, _token),
    (Record, _record),
)
