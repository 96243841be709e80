"""A Markdown extension: formulas become MathML.

A formula stands in `$…$`, or in `$$…$$` on lines of its own; MathML needs no script and no font.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, fromstring

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor


def mathml(formula: str, *, display: bool = False) -> str:
    """Returns a formula, written as LaTeX, as MathML."""
    return str(convert(formula, display="block" if display else "inline"))


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
        """Registers formulas after fenced code is taken out."""
        md.preprocessors.register(_Display(md), "gearing-display", 22)
        md.inlinePatterns.register(_Inline(r"\$([^$\n]+?)\$", md), "gearing-inline", 189)


def makeExtension(**settings: Any) -> DocsExtension:
    """Returns the extension."""
    return DocsExtension(**settings)
