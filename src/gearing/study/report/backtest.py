"""The report of a backtest."""

from __future__ import annotations

import math

from gearing.market.times import Moment
from gearing.numerals import MISSING, decimals_for, fixed, summing
from gearing.study.calendar_returns import calendar_returns
from gearing.study.held import held
from gearing.study.paid import PaidPart, paid_parts
from gearing.study.report.alternatives import nav_section
from gearing.study.report.evidence import evidence_section
from gearing.study.report.markup import Cell, Head, paragraph, section, table
from gearing.study.report.page import Page
from gearing.study.report.path import (
    drawdown_section,
    leverage_section,
    months_section,
    period_words,
    rebalances_section,
)  # fmt: skip
from gearing.study.report.waterfall import attribution_section, part_words
from gearing.study.report.words import (
    assumptions_section,
    data_words,
    headline_section,
    size_words,
    title_of,
    token_section,
    warnings_of,
)  # fmt: skip
from gearing.study.result import Result

_HONEST_YEARS = 30 / 365
_ALMOST_A_YEAR = 0.99


def backtest_page(result: Result, *, window: tuple[Moment, Moment] | None = None, command: str | None = None) -> str:
    """Returns the report of a backtest as one HTML file.

    Args:
        result: the backtest.
        window: a window (start, end) to rank among all windows of its length.
        command: the command line that makes the report again.

    Raises:
        InputError: the window cannot be ranked.
    """
    token = result.token
    page = Page(
        title_of(token),
        kind="Backtest of a leveraged token",
        about=f"{size_words(token.target)} · {data_words(result)}",
        warnings=warnings_of(result),
    )
    alone = held(result)
    page.add(headline_section(result))
    page.add(nav_section(page, result, alone))
    money = {"initial_nav": token.initial_nav}
    page.add(attribution_section(page, result.attribution, currency=token.settlement, **money))
    page.add(token_section(result))
    page.add(leverage_section(page, result))
    page.add(drawdown_section(page, result), months_section(result))
    page.add(rebalances_section(result), _paid_section(result))
    page.add(evidence_section(page, result, window))
    page.add(assumptions_section(result, alone, command))
    return page.render()


def _paid_section(result: Result) -> str:
    parts, s = paid_parts(result), result.summary()
    title = "Fees and funding"
    if not parts:
        return section(title, paragraph("Nothing was paid or received: no fees, no funding, no trading costs."))
    thousand = [part.per_1000 for part in parts]
    thousands, total = summing(thousand, decimals_for(thousand))
    years = [year.year for year in calendar_returns(result)]
    by_year = years if len(years) > 1 and any(v is not None for part in parts for v in part.by_year.values()) else []
    heads = (Head("", words=True), Head("per 1,000 invested at the start"), Head("of equity, per year"))
    rates, rate_total = _rates(parts, s.years)
    rows = [(part_words(part.name), money, rate) for part, money, rate in zip(parts, thousands, rates, strict=True)]
    return section(
        title,
        table(heads, rows, caption="Paid (−) and received (+)", total=("total", total, rate_total), name="paid"),
        _years_table(parts, by_year) if by_year else "",
        paragraph(_how(s.years, wiped_out=s.wiped_out, by_year=bool(by_year)), mark="note"),
        lead=f"Over {period_words(result.prices.times_ms)}, {fixed(s.years * 365, 0)} days.",
    )


def _years_table(parts: list[PaidPart], years: list[int]) -> str:
    several = len(parts) > 1
    heads = [Head("year", words=True), *(Head(part_words(part.name)) for part in parts)]
    heads += [Head("together")] if several else []
    rows: list[tuple[str | Cell, ...]] = []
    for year in years:
        amounts = [part.by_year[year] for part in parts]
        known = [amount for amount in amounts if amount is not None]
        if known:
            together = [Cell(_year(math.fsum(known)), mark="strong")] if several else []
            rows.append((str(year), *(_year(amount) for amount in amounts), *together))
    return table(heads, rows, caption="By calendar year, per 1,000 invested at its start", name="paid-by-year")


def _rates(parts: list[PaidPart], years: float) -> tuple[list[str], str]:
    known = [part.per_year for part in parts if part.per_year is not None]
    if len(known) < len(parts) or years < _HONEST_YEARS:
        return [MISSING] * len(parts), MISSING
    texts, total = summing([100 * rate for rate in known], 2)
    return [f"{one} %" for one in texts], f"{total} %"


def _year(value: float | None) -> str:
    return MISSING if value is None else fixed(value, 2, sign=True)


def _how(years: float, *, wiped_out: bool, by_year: bool) -> str:
    said = ["Per 1,000: money per unit against the NAV it started with."]
    if wiped_out:
        said.append("A token that was wiped out has no yearly rate.")
    elif years < _HONEST_YEARS:
        said.append("A period under 30 days says nothing about a year, so no yearly rate is shown.")
    else:
        said.append("Per year: what left the fund against the equity it had at that time, over 365 days.")
        if years < _ALMOST_A_YEAR:
            said.append(f"It is scaled up from {fixed(years * 365, 0)} days.")
    if by_year:
        said.append("By calendar year: what the list of trades does not tell is left out.")
    return " ".join(said)
