"""The frontier of yearly cost against tracking error: which rules no other beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gearing.numerals import share
from gearing.study.paid import yearly_cost
from gearing.study.report.charts import Chart, Trace, marks
from gearing.study.report.markup import paragraph, section
from gearing.study.report.page import Page
from gearing.study.result import Result


class Judged(NamedTuple):
    """A rule's figures in one light: with its own fees, or with none.

    Args:
        name: of the rule.
        result: its backtest.
        cost: paid a year, a fraction of the equity of the time; NaN if wiped out.
        error: tracking error a year.
    """

    name: str
    result: Result
    cost: float
    error: float


def efficient(rules: Sequence[Judged]) -> list[Judged]:
    """Returns the rules that no other beats in both cost and tracking error, by rising tracking error.

    Rules that were wiped out, or have no tracking error, do not stand for it.
    """
    known = sorted((rule for rule in rules if _placed(rule)), key=lambda rule: (rule.error, rule.cost))
    kept: list[Judged] = []
    for rule in known:
        if not kept or rule.cost < kept[-1].cost:
            kept.append(rule)
    return kept


def _placed(rule: Judged) -> bool:
    return math.isfinite(rule.cost) and math.isfinite(rule.error)


def judged_rule(name: str, result: Result) -> Judged:
    """Returns a rule's figures from its backtest."""
    return Judged(name, result, yearly_cost(result), result.summary().tracking_error)


def frontiers(page: Page, own: Sequence[Judged], bare: Sequence[Judged]) -> str:
    """Returns the section on cost against tracking error, with own fees and with none."""
    if not any(map(_placed, own)):
        why = "A day took everything from each ideal, and no figure leaves it out: no rule has a tracking error here."
        return section("Cost against tracking error", paragraph(why, mark="note"))
    return section(
        "Cost against tracking error",
        page.chart(_frontier(own, "With the issuers' own fees")),
        page.chart(_frontier(bare, "The rules alone")),
        paragraph("Rules that were wiped out have no yearly cost and are not shown.", mark="note"),
        lead="Down and to the left is better. The efficient rules (★ in the tables) are joined: no other one is both "
        "cheaper and closer.",
    )


def _frontier(rules: Sequence[Judged], title: str) -> Chart:
    placed = [rule for rule in rules if _placed(rule)]
    best = efficient(rules)
    names = {rule.name for rule in best}
    joined: Trace = {
        "type": "scatter", "mode": "lines", "name": "efficient, joined", "hoverinfo": "skip",
        "x": [100 * rule.error for rule in best], "y": [100 * rule.cost for rule in best],
        "line": {"color": "--accent", "width": 1.4, "dash": "dot"},
    }  # fmt: skip
    traces = [joined]
    for label, chosen, symbol, colour in (
        ("efficient", [r for r in placed if r.name in names], "star", "--accent"),
        ("others", [r for r in placed if r.name not in names], "circle-open", "--ink-2"),
    ):
        words = [
            f"{r.name}: cost {share(r.cost, 2, sign=False)}, error {share(r.error, 2, sign=False)}" for r in chosen
        ]
        x, y = [100 * r.error for r in chosen], [100 * r.cost for r in chosen]
        traces.append(marks(label, x, y, symbol=symbol, colour=colour, size=11 if symbol == "star" else 9, words=words))
    points = [(100 * rule.error, 100 * rule.cost) for rule in placed]
    x_range, y_range = (_span([point[k] for point in points], room) for k, room in ((0, 0.12), (1, 0.14)))
    layout = {
        "xaxis": {"title": {"text": "tracking error, % a year"}, "range": x_range},
        "yaxis": {"title": {"text": "cost, % of equity a year"}, "range": y_range},
        "hovermode": "closest", "dragmode": False, "margin": {"l": 62, "r": 14, "t": 10, "b": 48},
        "annotations": _labels([rule.name for rule in placed], points, x_range, y_range, (900, 320)),
    }  # fmt: skip
    alt = f"{title}: yearly cost against tracking error; efficient: {', '.join(rule.name for rule in best)}."
    near = [(100 * rule.error, 100 * rule.cost) for rule in best]
    few = _labels([rule.name for rule in best], near, x_range, y_range, (280, 230))
    return Chart(traces, layout, alt, height=400, title=title, narrow={"margin.l": 52, "annotations": few})


def _span(values: Sequence[float], room: float) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = max((high - low) * room, 0.02 * max(abs(low), abs(high), 1.0))
    return [low - pad, high + pad]


def _labels(
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    x_range: Sequence[float],
    y_range: Sequence[float],
    size: tuple[int, int],
) -> list[dict[str, object]]:
    """Places each name at the freest of some spots around its point, on a plot of some `size` in px."""
    width, height = size
    spots = ((9, 0, "left"), (-9, 0, "right"), (0, 16, "center"), (0, -16, "center"), (9, 15, "left"), (9, -15, "left"),
             (-9, 15, "right"), (-9, -15, "right"), (9, 30, "left"), (9, -30, "left"))  # fmt: skip
    at = [
        (width * (x - x_range[0]) / (x_range[1] - x_range[0]), height * (y - y_range[0]) / (y_range[1] - y_range[0]))
        for x, y in points
    ]
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in at]
    placed = []
    for name, (px, py), (x, y) in zip(names, at, points, strict=True):
        long = 7.0 * len(name)
        boxes = []
        for dx, dy, side in spots:
            left = px + dx - (0 if side == "left" else long if side == "right" else long / 2)
            boxes.append((left, py + dy - 7, left + long, py + dy + 7))
        crowd = [sum(_overlap(box, other) for other in taken) + _outside(box, size) for box in boxes]
        k = int(np.argmin(crowd))
        taken.append(boxes[k])
        dx, dy, side = spots[k]
        placed.append({
            "x": x, "y": y, "text": name.replace("<", "&lt;"), "showarrow": False, "xanchor": side, "xshift": dx,
            "yshift": dy, "font": {"size": 11, "color": "--ink"}, "bgcolor": "--paper", "borderpad": 1,
        })  # fmt: skip
    return placed


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _outside(box: tuple[float, ...], size: tuple[int, int]) -> float:
    return 10 * (max(0.0, -box[0]) + max(0.0, box[2] - size[0]) + max(0.0, -box[1]) + max(0.0, box[3] - size[1]))
