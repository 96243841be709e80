"""A token beside its alternatives: the underlying, the ideal, and a perpetual held yourself."""

from __future__ import annotations

import numpy as np

from gearing.kernels.pyramid import Floats
from gearing.market.times import moment_ms
from gearing.numerals import amount, gained, moment, number, percent, share
from gearing.study.held import Held
from gearing.study.ideal import Ideal, ideal_of
from gearing.study.report.charts import Chart, Trace, line, log_axis, marks, time_axis
from gearing.study.report.markup import Head, paragraph, section, table
from gearing.study.report.page import Page
from gearing.study.result import Result
from gearing.study.targets import words_of


def underlying_name(result: Result) -> str:
    """Returns what the token is on, in words."""
    if len(result.token.legs) > 1 and result.ran_on.underlying is None:
        return "the index of its legs"
    return result.prices.symbol or "the underlying"


def kept_name(result: Result) -> str:
    """Returns what a holder could have kept in place of the token: the underlying, or the coin NAV is counted in."""
    token = result.token
    return f"{token.settlement}, kept" if token.settles_in_coin else f"{underlying_name(result)}, bought and held"


def _kept(result: Result) -> Floats:
    """NAV of what was kept; a coin is always worth itself."""
    close = result.prices.close
    worth = np.ones(len(close)) if result.token.settles_in_coin else close / close[0]
    return worth * result.token.initial_nav


def ended(iso_text: str) -> str:
    """Returns a moment with its zone."""
    return f"{moment(iso_text)} UTC"


def drawn_bars(result: Result, alone: Held | None = None) -> int:
    """Returns how many bars to draw: all, or until half as long again after a token and its rival are gone."""
    times, died = result.prices.times_ms, result.summary().wiped_out_at
    if died is None:
        return len(times)
    last = moment_ms(died)
    if alone is not None and alone.liquidated_at is not None:
        last = max(last, moment_ms(alone.liquidated_at))
    end = int(times[0]) + int(1.5 * (last - int(times[0])))
    return max(int(np.searchsorted(times, end, side="right")), 2)


def nav_section(page: Page, result: Result, alone: Held | None) -> str:
    """Returns NAV beside the underlying, the ideal and a perpetual held yourself."""
    perfect = ideal_of(result)
    return section(
        "Beside the alternatives",
        page.chart(_chart(result, alone, perfect)),
        _table(result, alone, perfect),
        paragraph(_measures(result, alone), mark="note"),
        lead="The same money, over the same path.",
    )


def _chart(result: Result, alone: Held | None, perfect: Ideal) -> Chart:
    token, prices = result.token, result.prices
    bars = drawn_bars(result, alone)
    times = prices.times_ms[:bars]
    near = perfect.bars < bars
    kept = _kept(result)[:bars]
    name = underlying_name(result)
    ideal_line = (
        f"ideal, {words_of(result.targets, token.target, number)} × daily",
        times[perfect.bars[near]],
        perfect.nav[near],
    )
    lines = [
        ((token.symbol, times, result.nav["nav"].to_numpy()[:bars]), "--accent", "solid", 2.2),
        (ideal_line, "--ink", "dash", 1.3),
        ((kept_name(result), times, kept), "--ink-2", "dot", 1.5),
    ]
    if alone is not None:
        held_nav = alone.result.nav["nav"].to_numpy()[:bars]
        lines.append((("perpetual held yourself", times, held_nav), "--loss", "dashdot", 1.4))
    traces = [
        line(*series, colour=colour, dash=dash, width=width, logarithmic=True) for series, colour, dash, width in lines
    ]
    traces += _end_marks(result, alone)
    shown = np.concatenate([values[values > 0] for (_, _, values), *_ in lines])
    layout = {"xaxis": time_axis(times), "yaxis": log_axis(float(shown.min()), float(shown.max()))}
    title = f"NAV in {token.settlement}, logarithmic: equal distances are equal returns (UTC)"
    if bars < len(prices):
        title += ", until shortly after the end"
    alt = f"NAV of {token.symbol} in {token.settlement} beside its ideal and {name}, logarithmic, in UTC."
    return Chart(traces, layout, alt, height=430, title=title)


def _table(result: Result, alone: Held | None, perfect: Ideal) -> str:
    token, s = result.token, result.summary()
    first, perfectly, kept = token.initial_nav, float(perfect.nav[-1]), float(_kept(result)[-1])
    fate = f"wiped out {ended(s.wiped_out_at)}" if s.wiped_out_at else ""
    end_of_ideal = f"wiped out {ended(s.ideal_wiped_out_at)}" if s.ideal_wiped_out_at else ""
    rows = [
        [token.symbol, amount(s.final_nav), gained(s.total_return), fate],
        ["ideal", amount(perfectly), gained(perfectly / first - 1), end_of_ideal],
        [kept_name(result), amount(kept), share(kept / first - 1), ""],
    ]  # fmt: skip
    if alone is not None:
        end = alone.result.summary()
        fate = f"liquidated {ended(alone.liquidated_at)}" if alone.liquidated_at else "not liquidated"
        rows.append(["perpetual held yourself", amount(end.final_nav), gained(end.total_return), fate])
    heads = (Head("", words=True), Head(f"at the end, {token.settlement}"), Head("return"), Head("", words=True))
    return table(
        heads, rows, caption=f"What {number(first, decimals=9)} {token.settlement} became", name="alternatives"
    )


def _end_marks(result: Result, alone: Held | None) -> list[Trace]:
    found = []
    for label, run, at, symbol in (
        (f"{result.token.symbol} wiped out", result, result.summary().wiped_out_at, "x"),
        ("held perpetual liquidated", None if alone is None else alone.result,
         None if alone is None else alone.liquidated_at, "star"),
    ):  # fmt: skip
        if run is None or at is None:
            continue
        bar = int(np.searchsorted(run.prices.times_ms, moment_ms(at)))
        values = run.nav["nav"].to_numpy()
        alive = np.flatnonzero(values[: bar + 1] > 0)
        y = float(values[alive[-1]])
        found.append(marks(label, [int(run.prices.times_ms[bar])], [y], symbol=symbol, colour="--loss", size=11,
                           words=[f"{label}, {ended(at)}"]))  # fmt: skip
    return found


def _measures(result: Result, alone: Held | None) -> str:
    beta = number(result.token.target, sign=True)
    words = (
        f"Ideal: {beta} times each day's return (00:00 UTC; daily data bar by bar), compounded, without any cost. "
        "Days on which that leaves nothing are left out."
    )
    if result.token.settles_in_coin:
        words = (
            f"Ideal: what {beta} times each day's move of the price is worth in {result.token.settlement}, compounded, "
            "without any cost, on the reciprocal price. Days on which that leaves nothing are left out."
        )
    if alone is None:
        return f"{words} A perpetual held yourself is not shown: the token holds something else."
    margin = (
        "the token's own margin tiers"
        if alone.assumed_rate is None
        else f"an assumed maintenance margin of {percent(alone.assumed_rate)} (Binance's first bracket of BTCUSDT)"
    )
    looks = "its low or high" if result.prices.low is not None and result.prices.high is not None else "its close"
    return (
        f"{words} Perpetual held yourself: {beta} times the money at the first price, never changed, the same trading "
        f"costs and funding, no fee; the venue closes it by {margin}, judged on each bar by {looks}; what is left "
        "stays as cash."
    )
