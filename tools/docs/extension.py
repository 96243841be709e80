"""A Markdown extension: formulas become MathML, and markers become reference text made from the code.

A formula stands in `$…$`, or in `$$…$$` on lines of its own; MathML needs no script and no font. A line
`<!-- api: study -->` is replaced by the reference of that room's public names, `<!-- cli -->` by that of the
commands, `<!-- presets -->` by the table of issuers, `<!-- fields: Rule -->` by the fields of one record, and
`<!-- events: token -->` and `<!-- records: token -->` by the events of a stream and the records of its state.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import Element, fromstring

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor

from tools.docs import api, cli, events

_MARKERS: dict[str, Callable[[str], str]] = {
    "api": api.room_reference,
    "cli": lambda _: cli.reference(),
    "events": events.reference,
    "fields": api.field_list,
    "presets": lambda _: api.preset_table(),
    "records": events.records,
}
_MARKER = re.compile(r"<!-- (\w+)(?:: ([\w.]+))? -->")


def expanded(text: str) -> str:
    """Returns a page's Markdown with every marker replaced by what it stands for."""

    def made(match: re.Match[str]) -> str:
        return _MARKERS[match[1]](match[2] or "") if match[1] in _MARKERS else match[0]

    return _MARKER.sub(made, text)


def mathml(formula: str, *, display: bool = False) -> str:
    """Returns a formula, written as LaTeX, as MathML."""
    return str(convert(formula, display="block" if display else "inline"))


class _Markers(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        return expanded("\n".join(lines)).split("\n")


class _Display(Preprocessor):
    """Formulas on lines of their own, before Markdown sees their underscores."""

    _BLOCK = re.compile(r"^\$\$\n(.+?)\n\$\$$", re.MULTILINE | re.DOTALL)

    def run(self, lines: list[str]) -> list[str]:
        def made(match: re.Match[str]) -> str:
            html = f'<div class="formula">{mathml(match[1], display=True)}</div>'
            return f"\n{self.md.htmlStash.store(html)}\n"

        return self._BLOCK.sub(made, "\n".join(lines)).split("\n")


class _Inline(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Element, int, int]:
        return fromstring(mathml(m[1]).replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")), m.start(0), m.end(0)


class DocsExtension(Extension):
    """See the module."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Registers the markers before fenced code is taken out, formulas after it."""
        md.preprocessors.register(_Markers(md), "gearing-markers", 200)
        md.preprocessors.register(_Display(md), "gearing-display", 22)
        md.inlinePatterns.register(_Inline(r"\$([^$\n]+?)\$", md), "gearing-inline", 189)


def makeExtension(**settings: Any) -> DocsExtension:
    """Returns the extension."""
    return DocsExtension(**settings)
