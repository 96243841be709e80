"""Pieces of a report as HTML: everything that comes from outside is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_LONG = 11


class Cell(NamedTuple):
    """A table's cell that is more than plain text.

    Args:
        text: what stands in it.
        mark: CSS classes, such as "good" or "part".
        shade: −1 to 1: how strongly it is tinted, below 0 as a loss.
        name: its name for programs that read the page (`data-name`).
        title: said when a pointer rests on it.
    """

    text: str
    mark: str = ""
    shade: float = 0.0
    name: str = ""
    title: str = ""


class Head(NamedTuple):
    """A column: its heading, whether its cells are words (left) or figures (right), what the heading means."""

    text: str
    words: bool = False
    title: str = ""


class Card(NamedTuple):
    """A headline figure: what it is, the figure, a remark below it, and whether it leads the row."""

    label: str
    figure: str
    remark: str = ""
    leads: bool = False


def text(value: object) -> str:
    """Returns a value as text that stands safely in HTML, figures and their unit on one line."""
    return html.escape(str(value)).replace(" %", "\u00a0%").replace(" × ", "\u00a0×\u00a0")


def paragraph(words: str, *, mark: str = "") -> str:
    """Returns a paragraph of plain text."""
    return f"<p{_class(mark)}>{text(words)}</p>"


def bullets(lines: Iterable[str]) -> str:
    """Returns a list of plain sentences."""
    return f"<ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>"


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Returns names and what they are."""
    body = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in rows)
    return f'<dl class="facts">{body}</dl>'


def cards(shown: Iterable[Card]) -> str:
    """Returns headline figures side by side."""
    body = "".join(
        f'<div class="card{" leads" if card.leads else ""}"><dt>{text(card.label)}</dt>'
        f"<dd{_class('long' if len(card.figure) > _LONG else '')}>{text(card.figure)}</dd>"
        + (f'<dd class="remark">{text(card.remark)}</dd>' if card.remark else "")
        + "</div>"
        for card in shown
    )
    return f'<dl class="cards">{body}</dl>'


def table(
    heads: Sequence[Head],
    rows: Iterable[Sequence[str | Cell]],
    *,
    caption: str,
    total: Sequence[str | Cell] = (),
    name: str = "",
    tall: bool = False,
) -> str:
    """Returns a table in a box of its own, within which it scrolls where a screen is narrow.

    Args:
        heads: the columns; the first one names the rows.
        rows: the cells.
        caption: what the table shows, said above it.
        total: a last row, set off by a line.
        name: its name for programs that read the page.
        tall: scrolls up and down too, beyond a height.
    """
    head = "".join(
        f'<th scope="col"{_class("words" if h.words else "")}{_attribute("title", h.title)}>{text(h.text)}</th>'
        for h in heads
    )
    body = "".join(_row(heads, row) for row in rows)
    foot = f"<tfoot>{_row(heads, total)}</tfoot>" if total else ""
    return (
        f'<div class="box{" tall" if tall else ""}" tabindex="0" role="group" aria-label="{text(caption)}">'
        f"<table{_attribute('data-name', name)}><caption><span>{text(caption)}</span></caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table></div>"
    )


def _row(heads: Sequence[Head], row: Sequence[str | Cell]) -> str:
    cells = []
    for k, (head, given) in enumerate(zip(heads, row, strict=True)):
        cell = given if isinstance(given, Cell) else Cell(given)
        mark = " ".join(part for part in (cell.mark, "words" if head.words else "") if part)
        tint = ""
        if cell.shade:
            side = "loss" if cell.shade < 0 else "accent"
            tint = f' style="--tint:{min(abs(cell.shade), 1) * 45:.0f}%;--side:var(--{side})"'
            mark = f"{mark} tinted".strip()
        tag = 'th scope="row"' if k == 0 else "td"
        extra = _attribute("data-name", cell.name) + _attribute("title", cell.title)
        cells.append(f"<{tag}{_class(mark)}{tint}{extra}>{text(cell.text)}</{tag[:2]}>")
    return f"<tr>{''.join(cells)}</tr>"


def section(title: str, *parts: str, lead: str = "") -> str:
    """Returns a section: its heading, a sentence that says what it shows, and its parts.

    Args:
        title: the heading, plain text.
        parts: HTML.
        lead: plain text.
    """
    opening = f'<p class="lead">{text(lead)}</p>' if lead else ""
    return f"<section><h2>{text(title)}</h2>{opening}{''.join(parts)}</section>"


def pair(*parts: str) -> str:
    """Returns parts side by side, one below the other where a screen is narrow."""
    return f'<div class="pair">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def folded(title: str, body: str) -> str:
    """Returns something a reader opens when it is wanted; `body` is HTML."""
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def verbatim(words: str) -> str:
    """Returns text set as it stands, such as a command or a file."""
    return f'<pre tabindex="0"><code>{html.escape(words)}</code></pre>'


def _class(mark: str) -> str:
    return _attribute("class", mark)


def _attribute(name: str, value: str) -> str:
    return f' {name}="{html.escape(value)}"' if value else ""
