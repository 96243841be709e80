"""Reports as files: what stands in them, that it adds up, and that nothing from outside gets in unescaped."""

from __future__ import annotations

import itertools
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import gearing as gr
from gearing.numerals import gained
from gearing.study.gap_record import chance_text
from gearing.study.held import held
from gearing.study.paid import yearly_cost
from gearing.study.report import backtest_page, compare_page, sweep_page
from gearing.study.report.charts import log_ticks, tick_text
from gearing.study.report.compare import row_names
from gearing.study.report.frontier import Judged, efficient
from gearing.study.robust import worst_of_neighbours
from gearing.study.sweep import Sweep
from tests import reference

HOUR = 3_600_000
EVIL = '<script>alert("x")</script>&<img src=http://x.example/y onerror=1>'
COSTS = gr.Costs(taker_fee=0.0005, half_spread=0.0002)


def market(days=90, seed=3, sigma=0.008, symbol="BTC", crash_at=None):
    n = 24 * days
    moves = np.random.default_rng(seed).normal(0, sigma, n)
    if crash_at is not None:
        moves[crash_at] = -0.6
    times = reference.START_MS + HOUR * np.arange(n)
    prices = gr.Prices(times_ms=times, close=100 * np.exp(np.cumsum(moves)), symbol=symbol)
    return prices, gr.Funding(times_ms=times[::8], rates=np.full(len(times[::8]), 1e-4))


def result_of(token=None, **kind):
    prices, funding = market(**kind)
    token = token or gr.Token(symbol="BTC3L", target=3.0, rule="ftx", fees=gr.Fees(management_per_day=0.0003))
    return gr.backtest(token, prices, funding=funding, costs=COSTS)


class Page(HTMLParser):
    """A report as a reader sees it: its elements, its text, its tables by name, its charts' data."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.words = []
        self.tables = {}
        self._table = None
        self._inside = []
        self.charts = []
        self._is_data = False
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split()).replace("\u00a0", " ")

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag not in ("meta", "link", "br"):
            self._inside.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(found.get("data-name") or "", [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table:
            self._table[-1].append("")
        self._is_data = found.get("id") == "charts"

    def handle_endtag(self, tag):
        assert self._inside.pop() == tag, f"</{tag}> closes something else"
        if tag == "table":
            self._table = None

    def handle_data(self, data):
        if self._is_data:
            self.charts = json.loads(data)
            self._is_data = False
        elif "script" not in self._inside and "style" not in self._inside:
            self.words.append(data)
            if self._inside and self._inside[-1] in ("td", "th") and self._table:
                self._table[-1][-1] += data.replace("\u00a0", " ")


def number_of(text):
    return float(text.replace("−", "-").replace(",", "").removesuffix(" %"))


def assert_whole(html, page):
    assert html.startswith("<!DOCTYPE html>")
    assert html.endswith("</html>\n")
    assert page._inside == []
    assert ("html", {"lang": "en"}) in page.tags
    assert [tag for tag, _ in page.tags].count("h1") == 1
    # Nothing is asked of a network, and the page's policy would refuse it.
    assert not any({"src", "srcset"} & set(found) for _, found in page.tags)
    assert [found["href"] for _, found in page.tags if "href" in found] == ["data:,"]
    policy = next(found["content"] for tag, found in page.tags if found.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    assert all(found.get("aria-label") for _, found in page.tags if found.get("class") == "plot")


def test_a_backtests_report_has_all_its_parts(tmp_path):
    result = result_of()
    result.report(tmp_path / "r.html", window=("2023-02-01", "2023-03-01"))
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(html)
    assert_whole(html, page)
    for words in (
        "At a glance", "Beside the alternatives", "Where it came from", "The token and its rule", "Real leverage",
        "Drawdowns", "Month by month", "Largest rebalances", "Fees and funding", "Fair evidence", "What was assumed",
        "Every day at 00:02 UTC it rebalances.", "−11.111 %", "perpetual held yourself", "of 62 windows of 28 days",
    ):  # fmt: skip
        assert words in page.text, words
    assert [row[0] for row in page.tables["evidence"][1:]] == ["1 day", "7 days", "30 days", "90 days", "365 days"]
    assert page.tables["months"][1][0] == "2023"
    assert len(page.charts) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html"]


def test_the_printed_parts_add_up_to_the_printed_total():
    for seed, target in itertools.product(range(3), (3.0, -2.0)):
        token = gr.Token(symbol="T", target=target, rule="ftx", fees=gr.Fees(management_per_day=0.0003))
        result = result_of(token, seed=seed)
        page = Page(backtest_page(result))
        _, *rows, total = page.tables["attribution"]
        for column in (1, 2, 3):
            parts = [number_of(row[column]) for row in rows]
            assert math.fsum(parts) == pytest.approx(number_of(total[column]), abs=1e-9)
        assert number_of(total[2]) == pytest.approx(result.summary().final_nav - 100, abs=0.006)
        assert number_of(total[1]) == pytest.approx(math.log(result.summary().final_nav / 100), abs=6e-5)
        for chart, column in zip(page.charts[1:3], (1, 2), strict=True):
            assert chart["traces"][0]["text"] == [row[column] for row in [*rows, total]]
        _, *rows, total = page.tables["paid"]
        for column in (1, 2):
            assert math.fsum(number_of(row[column]) for row in rows) == pytest.approx(
                number_of(total[column]), abs=1e-9
            )


def test_after_a_wipe_out_there_is_only_money():
    result = result_of(crash_at=700)
    page = Page(backtest_page(result))
    assert f"Wiped out on {result.summary().wiped_out_at[:10]}" in page.text
    _, *rows, total = page.tables["attribution"]
    assert {row[1] for row in rows} == {"–"}
    assert total[1] == "−∞"
    assert math.fsum(number_of(row[2]) for row in rows) == pytest.approx(-100)
    assert any(row[0] == "gap" for row in rows)
    assert sum(chart["traces"][0]["type"] == "waterfall" for chart in page.charts) == 1
    assert f"liquidated {held(result).liquidated_at[:10]}" in page.text
    times = page.charts[0]["traces"][0]["x"]
    assert times[-1] < result.prices.times_ms[-1]


def test_a_tiny_nav_keeps_its_digits_and_has_not_lost_all():
    result = result_of(gr.Token(symbol="T", target=-5.0, rule="ftx", initial_nav=1e-6), days=120, sigma=0.012)
    nav = result.summary().final_nav
    assert 0 < nav < 1e-8
    page = Page(backtest_page(result))
    shown = page.tables["alternatives"][1]
    assert number_of(shown[1]) == pytest.approx(nav, rel=1e-5)
    assert "From 0.000001" in page.text or "from 0.000001" in page.text
    assert gained(-0.999999) == "< −99.99 %"
    assert (gained(-1.0), gained(-0.5), gained(-0.9999, 1)) == ("−100.00 %", "−50.00 %", "< −99.9 %")


def test_nothing_from_outside_gets_in_unescaped():
    prices, funding = market(symbol=EVIL)
    token = gr.Token(
        symbol=EVIL, name=EVIL, settlement=EVIL, target=3.0, legs=(gr.Perpetual(symbol=EVIL),),
        rule=gr.Rule(name=EVIL, schedule=(gr.Schedule(every="24h"),), band_upper=4.0),
    )  # fmt: skip
    grid = {"rule.band_upper": [3.5, 4.0], "name": [EVIL, "plain"]}
    for html in (
        backtest_page(gr.backtest(token, prices, funding=funding), command=EVIL),
        compare_page(gr.compare([token, token], prices), command=EVIL),
        sweep_page(gr.sweep(token, grid, prices), command=EVIL),
    ):
        page = Page(html)
        assert_whole(html, page)
        scripts = [found for tag, found in page.tags if tag == "script"]
        assert scripts == [{"type": "application/json", "id": "charts"}, {}, {}]
        assert not any(tag == "img" for tag, _ in page.tags)
        assert EVIL in " ".join(page.words)
        # What Plotly shows it reads as markup of its own.
        shown = [value for chart in page.charts for value in texts_of(chart)]
        assert not any("<script" in value or "<img" in value for value in shown)


def texts_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts_of(item)


def test_drawn_series_keep_their_extremes():
    result = result_of(days=300)
    nav = result.nav["nav"].to_numpy()
    drawn = [y for y in Page(backtest_page(result)).charts[0]["traces"][0]["y"] if y is not None]
    assert len(drawn) < len(nav) / 2
    assert (min(drawn), max(drawn)) == pytest.approx((nav.min(), nav.max()), rel=1e-5)


def test_a_comparison_shows_own_fees_and_none_and_the_frontier():
    prices, funding = market()
    tokens = [gr.presets.token(name, "BTC", 3) for name in ("ftx", "bybit", "gate", "tlx", "daily-etf")]
    comparison = gr.compare(tokens, prices, funding=funding, costs=COSTS)
    html = compare_page(comparison, gap_budget={"ftx": "0.3 %"})
    page = Page(html)
    assert_whole(html, page)
    for name, results in (("own", comparison.results), ("bare", comparison.bare)):
        head, *rows = page.tables[name]
        assert head[-1] == "gap budget"
        assert [row[-1] for row in rows] == ["0.3 %", "–", "–", "–", "–"]
        for row, result in zip(rows, results, strict=True):
            assert number_of(row[3]) == pytest.approx(100 * yearly_cost(result), abs=0.051)
            assert number_of(row[4]) == pytest.approx(100 * result.summary().tracking_error, abs=0.0051)
    # By default it is the comparison's own.
    _, *rows = Page(compare_page(comparison)).tables["own"]
    assert [row[-1] for row in rows] == [chance_text(chance) for chance in comparison.gap_budget]
    for bare, without in zip(comparison.bare, comparison.without_fees, strict=True):
        assert bare.summary().final_nav == pytest.approx(without.final_nav)


def test_efficient_rules_are_beaten_by_no_other():
    result = result_of(days=5)
    rng = np.random.default_rng(7)
    for _ in range(30):
        points = rng.integers(0, 6, (8, 2)).astype(float)
        rules = [Judged(str(k), result, cost, error) for k, (cost, error) in enumerate(points.tolist())]
        rules.append(Judged("gone", result, math.nan, 0.0))
        best = {(rule.cost, rule.error) for rule in efficient(rules)}
        plain = {
            (c, e) for c, e in points.tolist()
            if not any((a <= c and b <= e) and (a < c or b < e) for a, b in points.tolist())
        }  # fmt: skip
        assert best == plain


def test_rows_of_a_comparison_are_told_apart():
    prices, _ = market(days=5)
    tokens = [gr.Token(symbol="A", target=3.0, rule="ftx"), gr.Token(symbol="B", target=3.0, rule="ftx"),
              gr.Token(symbol="C", target=2.0, rule=gr.Rule())]  # fmt: skip
    names = row_names([gr.backtest(token, prices) for token in tokens])
    assert names == ["ftx +3 (A)", "ftx +3 (B)", "C +2"]


def plain_worst(grid, values, least_is_best=False):
    """The worst of each neighbourhood, by looking at every pair of combinations."""
    points = list(itertools.product(*grid.values()))
    places = [
        {value: sorted(axis).index(value) if isinstance(axis[0], float) else 10 * k for k, value in enumerate(axis)}
        for axis in grid.values()
    ]
    found = []
    for one in points:
        near = [
            value for other, value in zip(points, values, strict=True)
            if all(abs(place[a] - place[b]) <= 1 for place, a, b in zip(places, one, other, strict=True))
        ]  # fmt: skip
        found.append(max(near) if least_is_best else min(near))
    return found


def test_robust_is_the_worst_of_a_neighbourhood():
    prices, funding = market(days=10)
    token = gr.Token(symbol="T", target=3.0, rule=gr.Rule(band_lower=2.0, band_upper=4.0))
    grid = {
        "rule.band_upper": [5.0, 3.5, 4.0, 4.5], "rule.aim": ["target", "edge"], "rule.band_lower": [2.0, 2.5, 1.5],
    }  # fmt: skip
    sweep = gr.sweep(token, grid, prices, funding=funding)
    for figure, least in (("total_return", False), ("turnover", True)):
        values = sweep.frame[figure].to_list()
        assert worst_of_neighbours(sweep, figure).tolist() == plain_worst(grid, values, least)
    holes = sweep.frame.with_columns(total_return=np.where(np.arange(24) == 7, np.nan, sweep.frame["total_return"]))
    worst = worst_of_neighbours(Sweep(token, grid, holes), "total_return")
    assert worst[7] == -math.inf


@pytest.mark.parametrize(
    "grid",
    [
        {"target": [3.0, 2.0, 1.5]},
        {"rule": ["ftx", "bybit"]},
        {"rule.band_upper": [3.5, 4.0, 5.0], "target": [2.0, 3.0]},
        {"rule.band_upper": [3.5, 4.0], "target": [2.0, 3.0], "rule.side": ["both", "reduce"]},
        {"target": [3.0]},
    ],
)
def test_a_sweeps_report_suits_its_fields(grid, tmp_path):
    prices, funding = market(days=40)
    sweep = gr.sweep(gr.Token(symbol="T", target=3.0, rule="ftx"), grid, prices, funding=funding, costs=COSTS)
    sweep.report(tmp_path / "s.html")
    html = (tmp_path / "s.html").read_text(encoding="utf-8")
    page = Page(html)
    assert_whole(html, page)
    kinds = {trace["type"] for chart in page.charts for trace in chart["traces"]}
    assert ("heatmap" in kinds) == (len(grid) == 2)
    best = sweep.best()
    assert any("★" in row[0] for row in page.tables["sweep"][1:])
    assert f"{gained(best['total_return'], 1)}" in page.text
    returns = [row[len(grid) + 1] for row in page.tables["sweep"][1:]]
    assert returns == [gained(x, 1) for x in sweep.frame["total_return"].sort(descending=True).to_list()]


def test_a_sweep_is_judged_by_a_figure_there_is(tmp_path):
    prices, _ = market(days=10)
    sweep = gr.sweep(gr.Token(symbol="T", target=3.0), {"target": [2.0, 3.0]}, prices)
    for figure in ("beauty", "symbol", "wiped_out_at"):
        with pytest.raises(gr.InputError, match="no figure"):
            sweep.report(tmp_path / "s.html", figure=figure)
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path):
    result = result_of(days=5)
    with pytest.raises(gr.InputError, match="directory does not exist"):
        result.report(tmp_path / "none" / "r.html")
    with pytest.raises(gr.InputError, match="not inside the data"):
        result.report(tmp_path / "r.html", window=("2022-01-01", "2022-02-01"))
    assert list(tmp_path.iterdir()) == []


def test_short_and_bare_backtests_have_reports():
    for n in (2, 5, 30):
        prices = (reference.START_MS + HOUR * np.arange(n), np.linspace(100, 101, n))
        for token in (gr.Token(symbol="T", target=3.0), gr.Token(symbol="T", target=0.5, rule="ftx")):
            page = Page(backtest_page(gr.backtest(token, prices)))
            assert "Nothing was paid or received" in page.text


def test_ticks_are_round_and_short():
    assert [tick_text(x) for x in (0.005, 70.0, 30_000.0, 1e-9, 2e12)] == ["0.005", "70", "30,000", "1e−9", "2e12"]
    for low, high in ((17.0, 280.0), (1e-50, 1e3), (99.0, 101.0), (0.9, 1.2)):
        assert len(log_ticks(low, high)) <= 9
    for low, high in ((85.0, 180.0), (99.0, 101.0), (100.0, 100.0001), (2e6, 4e6), (0.002, 0.005)):
        ticks = log_ticks(low, high)
        assert 4 <= len({tick_text(tick) for tick in ticks}) == len(ticks) <= 9
        assert all(low <= tick <= high for tick in ticks)
    assert re.fullmatch(r"[\d.]+", tick_text(log_ticks(17.0, 280.0)[0]))
