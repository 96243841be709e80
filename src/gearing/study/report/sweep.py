"""The report of a sweep: the figure over its fields, the best and the most robust combination, and the table."""

from __future__ import annotations

import math

import numpy as np

from gearing.core.words import cost_words, describe, fee_words
from gearing.numerals import moment, number
from gearing.study.ran_on import series_rows
from gearing.study.report.judged import SHOWN, Found, judged, point_of, value_of, words_of
from gearing.study.report.markup import Card, Cell, Head, bullets, cards, facts, paragraph, section, table
from gearing.study.report.page import Page
from gearing.study.report.sweep_charts import charts_of
from gearing.study.report.words import made_again, size_words, title_of
from gearing.study.robust import LESS_IS_BETTER
from gearing.study.sweep import Sweep

_ROWS = 60


def sweep_page(sweep: Sweep, *, figure: str = "total_return", command: str | None = None) -> str:
    """Returns the report of a sweep as one HTML file.

    Args:
        sweep: the sweep.
        figure: what its combinations are judged by.
        command: the command line that makes the report again.

    Raises:
        InputError: there is no such figure, or it is no number.
    """
    found = judged(sweep, figure)
    token, fields = sweep.token, list(sweep.grid)
    wiped = int(sweep.table["wiped_out"].sum())
    page = Page(
        f"{title_of(token)}: {len(sweep):,} combinations",
        kind="Sweep of a token's fields",
        about=f"{size_words(token.target)} where not varied; varied: {', '.join(fields)}; {_period(sweep)}",
        warnings=[f"{wiped:,} of {len(sweep):,} combinations were wiped out."] if wiped else [],
    )
    page.add(_answer(found))
    page.add(section(f"{words_of(figure)[0].upper()}{words_of(figure)[1:]} over the fields",
                     *(page.chart(chart) for chart in charts_of(found)), paragraph(_MEANING, mark="note")))  # fmt: skip
    page.add(_table(found), _assumed(sweep, command))
    return page.render()


_MEANING = (
    "Robust: the combination whose worst neighbour does best. Neighbours are the combination itself and all whose "
    "values are the same or the next one up or down in each numeric field; a field of words has none. A best value "
    "with poor neighbours is luck; a robust one does not hang on the exact choice."
)


def _answer(found: Found) -> str:
    name, rows = words_of(found.figure), found.sweep.table
    values = found.values[np.isfinite(found.values)]
    middle = float(np.median(values)) if len(values) else math.nan
    best = value_of(found.figure, float(found.values[found.best]))
    shown = [
        Card(f"best {name}", best, point_of(found, found.best), leads=True),
        Card("its worst neighbour", value_of(found.figure, float(found.worst[found.best]))),
        Card(f"most robust {name}", value_of(found.figure, float(found.values[found.robust])),
             point_of(found, found.robust), leads=True),
        Card("its worst neighbour", value_of(found.figure, float(found.worst[found.robust])),
             f"median of all {value_of(found.figure, middle)}"),
    ]  # fmt: skip
    same = found.best == found.robust
    lead = f"Judged by {name}" + (", of which less is better." if found.figure in LESS_IS_BETTER else ".")
    verdict = (
        "The best combination is also the most robust one."
        if same
        else "The best combination is not the most robust one: its neighbours do worse than those of another."
    )
    return section(
        "At a glance", paragraph(verdict, mark="story"), cards(shown), lead=f"{lead} {len(rows):,} were tried."
    )


def _table(found: Found) -> str:
    sweep, fields = found.sweep, list(found.sweep.grid)
    sign = -1.0 if found.figure in LESS_IS_BETTER else 1.0
    order = np.argsort(-np.where(np.isfinite(found.values), sign * found.values, -np.inf), kind="stable")
    figures = [found.figure, *(name for name in SHOWN if name != found.figure and name in sweep.table.columns)]
    heads = [Head("", words=True), *(Head(words_of(name)) for name in fields), Head(words_of(found.figure)),
             Head("worst neighbour"), *(Head(words_of(name)) for name in figures[1:])]  # fmt: skip
    rows: list[list[str | Cell]] = []
    shown = [int(row) for row in order[:_ROWS]]
    if found.robust not in shown:
        shown.append(found.robust)
    for row in shown:
        at = sweep.table.row(row, named=True)
        mark = " ".join(m for m, k in (("★", found.best), ("◇", found.robust)) if k == row)
        rows.append([
            mark, *(value_of(name, at[name]) for name in fields),
            Cell(value_of(found.figure, at[found.figure]), mark="strong"),
            value_of(found.figure, float(found.worst[row])), *(value_of(name, at[name]) for name in figures[1:]),
        ])  # fmt: skip
    caption = f"{len(shown):,} of {len(sweep):,} combinations, the best first (★ best, ◇ most robust)"
    return section("The table", table(heads, rows, caption=caption, name="sweep", tall=len(rows) > 16))


def _period(sweep: Sweep) -> str:
    first = sweep.table.row(0, named=True)
    return f"{moment(first['start'])} to {moment(first['end'])} UTC"


def _assumed(sweep: Sweep, command: str | None) -> str:
    token = sweep.token
    rows = [
        *([("period", _period(sweep))] if sweep.ran_on is None else series_rows([(token, sweep.ran_on)])),
        ("target where not varied", number(token.target, sign=True)),
        ("trading costs where not varied", cost_words(token.costs) or "none"),
        ("days and years", "days end at 00:00 UTC; a year has 365 of them"),
    ]
    return section(
        "What was assumed", facts(rows), "<h3>The rule where not varied</h3>",
        bullets(describe(token.resolved_rule, token.target, in_coin=token.settles_in_coin)),
        "<h3>Fees where not varied</h3>", bullets(fee_words(token.fees, token.target)), *made_again(command),
    )  # fmt: skip
