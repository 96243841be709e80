"""The report of a comparison: rules on equal terms, with their own fees and with none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gearing.core.words import cost_words, fee_headline, headline
from gearing.numerals import MISSING, amount, fixed, gained, moment, number, share
from gearing.study.compare import Comparison, rule_name
from gearing.study.gap_record import chance_text
from gearing.study.paid import yearly_decay
from gearing.study.ran_on import series_rows
from gearing.study.report.alternatives import underlying_name
from gearing.study.report.charts import DASHES, SERIES, Chart, line, log_axis, time_axis
from gearing.study.report.frontier import Judged, efficient, frontiers, judged_rule
from gearing.study.report.markup import Cell, Head, facts, paragraph, section, table
from gearing.study.report.page import Page
from gearing.study.report.words import data_words, made_again
from gearing.study.result import Result

_LINES_MOST = 6
"""Of more rules only the efficient ones are drawn at first."""


def compare_page(
    comparison: Comparison, *, gap_budget: Mapping[str, str] | None = None, command: str | None = None
) -> str:
    """Returns the report of a comparison as one HTML file.

    Args:
        comparison: the rules on one path.
        gap_budget: for each row's name (see `row_names`), its gap budget in words; by default the comparison's.
        command: the command line that makes the report again.
    """
    results = [result.polars for result in comparison.results]
    names = row_names(results)
    if gap_budget is None:
        found = zip(names, comparison.gap_budget, strict=True)
        gap_budget = {name: chance_text(chance) for name, chance in found if chance is not None}
    own = [judged_rule(name, result) for name, result in zip(names, results, strict=True)]
    bare = [judged_rule(name, result) for name, result in zip(names, comparison.bare, strict=True)]
    targets = ", ".join(number(target, sign=True) for target in sorted({r.token.target for r in results}))
    count = f"{len(results)} {'rule' if len(results) == 1 else 'rules'}"
    page = Page(
        f"{count} at a target of {targets}",
        kind="Rules compared on one path",
        about=data_words(results[0]),
        warnings=_fates(own),
    )
    page.add(
        section(
            "Side by side",
            _table(own, "With the issuers' own fees", gap_budget, "own"),
            _table(bare, "The rules alone: no fee, all pay funding and trading costs", gap_budget, "bare"),
            paragraph(_MEANING, mark="note"),
            lead=_lead(results),
        )
    )
    page.add(frontiers(page, own, bare), _nav_section(page, own), _rules_section(own), _assumed(results, command))
    return page.render()


def _lead(results: Sequence[Result]) -> str:
    if len({id(held.prices) for result in results for held in result.ran_on.legs}) > 1:
        return "Each token ran on the series of its own legs, listed below, over the same period."
    return f"Every rule ran on the same prices of {underlying_name(results[0])}, with the same funding."


_MEANING = (
    "Cost: what was paid a year in fees, funding and trading, of the equity of the time; below zero if more was "
    "received. Tracking error and difference: against target leverage times each day's return, a year. Decay: the loss "
    "a year, in log, against target leverage times the underlying's log return; below zero it is a gain. Gap budget: "
    "the chance a year that NAV reaches zero before the rule can trade, at the worst leverage it lets rest, by formula "
    "or as counted in these prices, whichever is more."
)


def row_names(results: Sequence[Result]) -> list[str]:
    """Returns what tells the rows apart: the rule's name, with its target and symbol where they are needed."""
    several = len({result.token.target for result in results}) > 1
    names = []
    for result in results:
        token = result.token
        rule = rule_name(token)
        # A rule without a name is told by its token.
        name = token.symbol if rule.startswith("Rule(") else rule
        names.append(f"{name} {number(token.target, sign=True)}" if several else name)
    return [
        name if names.count(name) == 1 else f"{name} ({result.token.symbol})"
        for name, result in zip(names, results, strict=True)
    ]


def _fates(rules: Sequence[Judged]) -> list[str]:
    said = []
    for rule in rules:
        s = rule.result.summary()
        if s.wiped_out and s.wiped_out_at:
            said.append(f"{rule.name} was wiped out on {moment(s.wiped_out_at)} UTC.")
        if s.liquidations:
            times = "once" if s.liquidations == 1 else f"{s.liquidations:,} times"
            said.append(f"{rule.name} was liquidated {times}.")
    return said


def _table(rules: Sequence[Judged], caption: str, gap_budget: Mapping[str, str], name: str) -> str:
    heads = [
        Head("rule", words=True), Head("NAV"), Head("return"), Head("cost a year"), Head("tracking error"),
        Head("difference"), Head("decay a year"), Head("worst leverage"), Head("deepest fall"), Head("rebalances"),
        Head("turnover"), Head("gap budget", title="chance a year that NAV reaches zero before the rule can trade"),
    ]  # fmt: skip
    best = {id(rule) for rule in efficient(rules)}
    rows = []
    for rule in rules:
        s = rule.result.summary()
        decay = yearly_decay(rule.result)
        star = id(rule) in best
        row: list[str | Cell] = [
            Cell(f"{rule.name} ★" if star else rule.name, mark="strong" if star else ""),
            amount(s.final_nav, 5), gained(s.total_return, 1), share(rule.cost, 1, sign=False),
            share(s.tracking_error, 2, sign=False), share(s.tracking_difference, 1),
            share(decay, 1, sign=False) if math.isfinite(decay) else MISSING,
            fixed(s.max_leverage, 2), gained(s.max_drawdown, 1), f"{s.rebalances:,}", fixed(s.turnover, 1),
            gap_budget.get(rule.name, MISSING),
        ]  # fmt: skip
        rows.append(row)
    return table(heads, rows, caption=caption, name=name)


def _nav_section(page: Page, rules: Sequence[Judged]) -> str:
    few, best = len(rules) <= _LINES_MOST, {id(rule) for rule in efficient(rules)}
    traces, lowest, highest = [], math.inf, 0.0
    times = rules[0].result.prices.times_ms
    for k, rule in enumerate(rules):
        nav = rule.result.nav["nav"].to_numpy() * (100.0 / rule.result.token.initial_nav)
        alive = nav[nav > 0]
        if len(alive):
            lowest, highest = min(lowest, float(alive.min())), max(highest, float(alive.max()))
        colour, dash = SERIES[k % len(SERIES)], DASHES[(k // len(SERIES) + k) % len(DASHES)]
        trace = line(rule.name, times, nav, colour=colour, dash=dash, points=900, logarithmic=True)
        traces.append(trace | {"visible": few or id(rule) in best})
    layout = {"xaxis": time_axis(times), "yaxis": log_axis(min(lowest, 100.0), max(highest, 100.0)), "hovermode": "x"}
    alt = f"NAV of {len(rules)} rules with their own fees, from 100, logarithmic, in UTC."
    title = "NAV with own fees, from 100, logarithmic (UTC)"
    return section(
        "The paths",
        page.chart(Chart(traces, layout, alt, height=460, title=title)),
        lead=f"{'' if few else 'The efficient rules are drawn. '}Press a name to show or hide its line.",
    )


def _rules_section(rules: Sequence[Judged]) -> str:
    rows = [
        (rule.name, rule.result.token.symbol, headline(rule.result.token.resolved_rule),
         fee_headline(rule.result.token.fees))
        for rule in rules
    ]  # fmt: skip
    heads = (Head("rule", words=True), Head("token", words=True), Head("what it does", words=True),
             Head("own fees", words=True))  # fmt: skip
    return section("What each rule does", table(heads, rows, caption="Rules and fees in one line each", name="rules"))


def _assumed(results: Sequence[Result], command: str | None) -> str:
    costs = list(dict.fromkeys(cost_words(result.token.costs) or "none" for result in results))
    rows = series_rows([(result.token, result.ran_on) for result in results])
    lines = [
        f"Trading costs: {'; or '.join(costs)}; an all-in issuer bears them and the funding in the first table only.",
        f"Capital: {amount(results[0].equity)} before the opening trade. Days end at 00:00 UTC, 365 to a year.",
        "No units are created or redeemed, so creation and redemption fees are not charged.",
    ]
    return section("What was assumed", facts(rows), *(paragraph(words) for words in lines), *made_again(command))
