"""The report of a track: a real product's market prices against a simulation of it."""

from __future__ import annotations

import numpy as np

from gearing.market.times import duration_text
from gearing.numerals import fixed, moment, number, percent, share
from gearing.study.report.charts import Chart, line, log_axis, time_axis
from gearing.study.report.markup import Card, Cell, Head, cards, facts, paragraph, section, table
from gearing.study.report.page import Page
from gearing.study.report.words import made_again
from gearing.study.track_record import Track
from gearing.study.track_words import (
    GAP_HEADS,
    YEAR_HEADS,
    basis_points,
    drift_words,
    gap_rows,
    lag_words,
    product_name,
    spread_words,
    time_head,
    year_rows,
)

_WORST = 12

_MEANING = (
    "Gap: the product's log change less the simulation's, over one period. Echo: the correlation of each gap with the "
    "one before; near −0.5 where errors are undone in the next period, as when two closes are taken at different "
    "moments. The implied spread is the yearly spread on the financed notional, over what the simulation charged, at "
    "which the drift is zero; it holds all that the product pays beyond the simulation."
)


def track_page(track: Track, *, command: str | None = None) -> str:
    """Returns the report of a track as one HTML file.

    Args:
        track: a product against its simulation.
        command: the command line that makes the report again.
    """
    period = f"{moment(track.start)} to {moment(track.end)} UTC"
    page = Page(
        f"{product_name(track)} against its simulation",
        kind="A real product and its simulation",
        about=f"{track.symbol}, target {number(track.target, sign=True)}; {track.changes:,} gaps, {period}",
        warnings=[words] if (words := lag_words(track)) else [],
    )
    page.add(_glance(track), _paths(page, track), _years(track), _worst(track), _assumed(track, command))
    return page.render()


def _glance(track: Track) -> str:
    charged = track.charged_spread
    whole = "" if charged is None else f"; with the {percent(charged)} charged, {share(charged + track.implied_spread)}"
    shown = [
        Card("drift per year", basis_points(track.drift),
             f"standard error {basis_points(track.drift_error, sign=False)}", leads=True),
        Card("implied spread per year", share(track.implied_spread), f"on {number(track.financed_leverage)} × equity"
             f"{whole}", leads=True),
        Card("deviation per gap", basis_points(track.deviation, 1, sign=False),
             f"typical {basis_points(track.typical_deviation, 1, sign=False)}"),
        Card("echo", fixed(track.echo, 2), "correlation of consecutive gaps"),
        Card("slope on the simulation", fixed(track.slope, 3), f"R² {fixed(track.r_squared, 4)}"),
        Card("beta on the underlying", fixed(track.beta, 3),
             f"R² {fixed(track.beta_r_squared, 4)}; simulated {fixed(track.simulated_beta, 3)}"),
    ]  # fmt: skip
    rough = spread_words(track)
    notes = [paragraph(words, mark="note") for words in (rough, _MEANING) if words]
    return section("At a glance", paragraph(drift_words(track), mark="story"), cards(shown), *notes)


def _paths(page: Page, track: Track) -> str:
    frame = track.frame
    times = frame["time"].dt.epoch("ms").to_numpy()
    product, simulated = (frame[name].to_numpy() * 100 / frame[name][0] for name in ("product", "simulated"))
    both = np.concatenate([product, simulated])
    paths = Chart(
        [
            line(product_name(track), times, product, logarithmic=True),
            line("simulated", times, simulated, colour="--ink-2", dash="dash", logarithmic=True),
        ],
        {"xaxis": time_axis(times), "yaxis": log_axis(float(both.min()), float(both.max())), "hovermode": "x"},
        f"{product_name(track)} and its simulation, both from 100, logarithmic, in UTC.",
        height=400,
        title="From 100, logarithmic (UTC)",
    )
    gaps = np.cumsum(np.where(frame["counted"].to_numpy(), frame["gap"].fill_null(0.0).to_numpy(), 0.0)) * 100
    sums = Chart(
        [line("sum of the gaps", times, gaps, hover="%{y:.3f} %")],
        {"xaxis": time_axis(times), "yaxis": {"ticksuffix": " %"}, "hovermode": "x"},
        f"Sum of the gaps over time, ending at {fixed(float(gaps[-1]), 2, sign=True)} % in log.",
        height=280,
        title="Sum of the gaps that count, % in log (UTC)",
        legend=False,
    )
    return section("The paths", page.chart(paths), page.chart(sums))


def _years(track: Track) -> str:
    first, *others = YEAR_HEADS
    heads = [Head(first, words=True), *(Head(name) for name in others)]
    rows = year_rows(track)
    return section("By calendar year", table(heads, rows, caption="Drift and deviation by year", name="years"))


def _worst(track: Track) -> str:
    heads = [Head(time_head(track), words=True), *(Head(name) for name in GAP_HEADS)]
    rows: list[list[str | Cell]] = [
        [*cells[:4], Cell(cells[4], mark="strong"), cells[5]] for cells in gap_rows(track, _WORST)
    ]
    return section("The largest gaps", table(heads, rows, caption="In order of time", name="worst"))


def _assumed(track: Track, command: str | None) -> str:
    step = duration_text(float(np.median(np.diff(track.frame["time"].dt.epoch("ms").to_numpy()))))
    left_out = len(track.frame) - 1 - track.changes
    rows = [
        ("common times", f"{len(track.frame):,}, usually {step} apart; the last value known then, never a later one, "
                         "and only where both are fresh"),
        ("gaps left out", f"{left_out:,}" if left_out else "none"),
        ("a year", f"365.25 days, {number(track.per_year, decimals=1)} gaps"),
        ("spread", f"on the size of exposure, actual/{track.day_count}, paid from trade to trade"),
        ("standard error", "Newey and West's, so that an echo does not make the drift look less sure than it is"),
    ]  # fmt: skip
    return section("What was assumed", facts(rows), *made_again(command))
