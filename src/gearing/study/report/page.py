"""The frame of a report: one HTML file with style, script and Plotly inside; it asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import msgspec

from gearing.study.report.charts import Chart, figure_of
from gearing.study.report.markup import paragraph, text
from gearing.study.report.plotly import script as plotly_script

# The page may run what stands in it and nothing else: no request leaves it, whatever a symbol is called.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {hashes}; base-uri 'none'"


class Page:
    """A report in the making: parts are added from top to bottom.

    Args:
        title: the heading, plain text.
        kind: what sort of report it is, said above the heading.
        about: one line below the heading.
        warnings: what nobody may overlook, such as a wipe-out.
    """

    def __init__(self, title: str, *, kind: str, about: str, warnings: Sequence[str] = ()) -> None:
        self.title, self.kind, self.about, self.warnings = title, kind, about, list(warnings)
        self._charts: list[dict[str, Any]] = []
        self._parts: list[str] = []

    def chart(self, chart: Chart) -> str:
        """Keeps a chart's data for the script and returns its place as HTML."""
        number = len(self._charts)
        # Plotly reads a name as markup of its own; the legend in HTML escapes it by itself.
        traces = [trace | {"name": text(trace["name"])} if "name" in trace else trace for trace in chart.traces]
        spec = {"traces": traces, "layout": chart.layout, "narrow": chart.narrow}
        self._charts.append(spec)
        return figure_of(chart, number)

    def add(self, *parts: str) -> None:
        """Appends parts, as HTML."""
        self._parts.extend(parts)

    def render(self) -> str:
        """Returns the whole file."""
        # "<" never stands in the data, so nothing in it can end the script element.
        data = msgspec.json.encode(self._charts).decode().replace("<", "\\u003c")
        kinds = frozenset(trace["type"] for chart in self._charts for trace in chart["traces"])
        plotly, script = plotly_script(kinds), _own("page.js")
        policy = _POLICY.format(hashes=f"{_hash(plotly)} {_hash(script)}")
        alarm = "".join(paragraph(words, mark="alarm") for words in self.warnings)
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f'<meta name="generator" content="Gearing {version("gearing")}">\n'
            f'<title>{text(self.title)}: {text(self.kind)}</title>\n<link rel="icon" href="data:,">\n'
            f"<style>{_own('style.css')}</style>\n</head>\n<body>\n<header>"
            f'<p class="kind">{text(self.kind)}</p><h1>{text(self.title)}</h1><p class="about">{text(self.about)}</p>'
            f"{alarm}</header>\n<main>\n"
            + "\n".join(self._parts)
            + "\n<noscript><p>The charts need JavaScript; the figures also stand in tables.</p></noscript>\n</main>\n"
            f'<script type="application/json" id="charts">{data}</script>\n'
            f"<script>{plotly}</script>\n<script>{script}</script>\n</body>\n</html>\n"
        )


@cache
def _own(name: str) -> str:
    return files("gearing.study.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _hash(script: str) -> str:
    # A parser reads every line end as a line feed, and that is what the browser hashes.
    read = script.replace("\r\n", "\n").replace("\r", "\n")
    return f"'sha256-{base64.b64encode(hashlib.sha256(read.encode()).digest()).decode()}'"
