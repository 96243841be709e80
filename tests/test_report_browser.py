"""Reports in a browser: wide and on a phone, light and dark. They ask no network, say no error, and add up."""

from __future__ import annotations

import math
import shutil

import pytest

import gearing as gr

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
ISSUERS = ("ftx", "bybit", "gate", "tlx", "daily-etf", "kucoin", "mexc")
# A generous bound, for a busy machine; what was measured is printed with -s.
OPENED_MS_MOST = 20_000

pytest.importorskip("playwright", reason="no playwright: pip install '.[test]'")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A year of minutes, a comparison of issuers and two sweeps."""
    place = tmp_path_factory.mktemp("reports")
    prices, funding = gr.make_market(seed=7)
    costs = gr.Costs(taker_fee=0.0005, half_spread=0.0002)
    token = gr.Token(symbol="BTC3L", target=3.0, rule="ftx", fees=gr.Fees(management_per_day=0.0003))
    result = gr.backtest(token, prices, funding=funding, costs=costs)
    result.report(place / "backtest.html", window=("2023-03-01", "2023-04-01"))
    issued = [
        gr.presets.token(name, "BTC", 3) for name in ("ftx", "bybit", "gate", "tlx", "daily-etf", "kucoin", "mexc")
    ]
    gr.compare(issued, prices, funding=funding, costs=costs).report(place / "compare.html")
    grid = {"rule.band_upper": [3.4, 3.8, 4.2], "target": [2.0, 2.5, 3.0]}
    gr.sweep(token, grid, prices, funding=funding, costs=costs).report(place / "sweep.html")
    gr.sweep(token, grid | {"rule.side": ["both", "reduce"]}, prices).report(place / "parallel.html")
    return place


class Opened:
    """A report opened in a page, with what it said and asked for."""

    def __init__(self, browser, path, viewport, scheme):
        self.page = browser.new_page(viewport=viewport, color_scheme=scheme)
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append((message.type, message.text)))
        self.page.on("pageerror", lambda error: self.said.append(("error", str(error))))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-drawn]", timeout=OPENED_MS_MOST)
        self.drawn_ms = int(self.page.evaluate("document.documentElement.dataset.drawn"))


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide", "phone"])
@pytest.mark.parametrize("name", ["backtest", "compare", "sweep", "parallel"])
def test_a_report_opens_quietly_and_reads_well_in_both_schemes(browser, reports, name, viewport, scheme):
    path = reports / f"{name}.html"
    opened = Opened(browser, path, viewport, scheme)
    page = opened.page
    try:
        print(f"\n{name} {viewport['width']} {scheme}: charts drawn after {opened.drawn_ms} ms")
        assert opened.drawn_ms < OPENED_MS_MOST
        for other in (scheme, "dark" if scheme == "light" else "light"):
            if other != scheme:
                page.evaluate("delete document.documentElement.dataset.drawn")
                page.emulate_media(color_scheme=other)
                page.wait_for_selector("html[data-drawn]", timeout=OPENED_MS_MOST)
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
            assert page.evaluate("[...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))")
            # Text in a chart is read against the page in either scheme.
            assert contrast(page, ".plot .xtick text, .plot .ytick text, .plot .annotation-text") >= 4.5
            assert contrast(page, "p.lead, p.note, p.about, dt, caption, td") >= 4.5
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [path.as_uri()]
    finally:
        page.close()


CONTRAST = """selector => {
  const rgb = text => (text.match(/[\\d.]+/g) || [0, 0, 0]).slice(0, 3).map(Number);
  const light = colour => {
    const [r, g, b] = rgb(colour).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return Math.min(...[...document.querySelectorAll(selector)].map(element => {
    const style = getComputedStyle(element);
    const ink = light(element instanceof SVGElement ? style.fill : style.color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  }));
}"""


def contrast(page, selector):
    """The least contrast of some texts with the page's ground, by the formula of WCAG 2."""
    return page.evaluate(CONTRAST, selector)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_waterfall_adds_up_as_it_is_seen(browser, reports, viewport):
    opened = Opened(browser, reports / "backtest.html", viewport, "light")
    try:
        falls = opened.page.locator(".plot:has(.waterfalllayer .trace)")
        assert falls.count() == 2
        for k in range(2):
            texts = falls.nth(k).locator(".bartext").all_text_contents()
            *parts, total = [float(text.replace("−", "-").replace(",", "")) for text in texts]
            assert len(parts) == 7
            assert math.fsum(parts) == pytest.approx(total, abs=1e-9)
            # No figure is cut off by the edge of its chart.
            frame = falls.nth(k).bounding_box()
            for box in (text.bounding_box() for text in falls.nth(k).locator(".bartext").all()):
                assert frame["x"] <= box["x"]
                assert box["x"] + box["width"] <= frame["x"] + frame["width"]
        table = opened.page.locator("table[data-name=attribution]")
        for name in ("log", "money", "thousand"):
            column = [float(text.replace("−", "-").replace(",", ""))
                      for text in table.locator(f"td[data-name={name}]").all_text_contents()]  # fmt: skip
            assert math.fsum(column[:-1]) == pytest.approx(column[-1], abs=1e-9)
    finally:
        opened.page.close()


def test_a_key_hides_its_line_and_shows_it_again(browser, reports):
    opened = Opened(browser, reports / "backtest.html", WIDE, "light")
    page = opened.page
    try:
        lines = page.locator("#chart-0 .scatterlayer .trace")
        before = lines.count()
        key = page.locator("button.key[data-chart='0']").first
        key.click()
        page.wait_for_function(f"document.querySelectorAll('#chart-0 .scatterlayer .trace').length === {before - 1}")
        assert key.get_attribute("aria-pressed") == "false"
        key.click()
        page.wait_for_function(f"document.querySelectorAll('#chart-0 .scatterlayer .trace').length === {before}")
        assert opened.said == []
    finally:
        page.close()


def test_tables_scroll_inside_their_box_on_a_phone(browser, reports):
    opened = Opened(browser, reports / "compare.html", PHONE, "light")
    try:
        wider = opened.page.evaluate(
            "[...document.querySelectorAll('.box')]"
            ".map(box => [box.scrollWidth > box.clientWidth, box.clientWidth, box.tabIndex])"
        )
        assert any(scrolls for scrolls, _, _ in wider)
        assert all(width <= PHONE["width"] and index == 0 for _, width, index in wider)
    finally:
        opened.page.close()
