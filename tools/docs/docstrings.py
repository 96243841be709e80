"""Docstrings of this project as Markdown."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

# "Args:", "Returns:" and their like open a section; anything else is prose.
_SECTION = re.compile(r"(Args|Returns|Raises|Warns|Source|Columns): ?(.*)")
_ENTRY = re.compile(r"([\w, ]+): (.*)")


class Entry(NamedTuple):
    """One named thing of a section: an argument, or an error that is raised."""

    name: str
    text: str


class Doc(NamedTuple):
    """A docstring, taken apart.

    Args:
        prose: its paragraphs before and between the sections.
        entries: for "Args", "Raises" and "Warns" what they list.
        notes: for "Returns", "Source" and "Columns" their text.
    """

    prose: list[str]
    entries: dict[str, list[Entry]]
    notes: dict[str, str]


def parse(thing: object) -> Doc:
    """Returns the docstring of a thing, taken apart; empty if it has none."""
    doc = Doc([], {}, {})
    for paragraph in (inspect.getdoc(thing) or "").split("\n\n"):
        lines = paragraph.split("\n")
        match = _SECTION.fullmatch(lines[0])
        if match is None:
            doc.prose.append(paragraph if paragraph.startswith(" ") else _joined(lines))
        elif match[1] in ("Args", "Raises", "Warns"):
            doc.entries[match[1]] = _entries(lines[1:])
        else:
            doc.notes[match[1]] = _joined([match[2], *lines[1:]])
    return doc


def _entries(lines: list[str]) -> list[Entry]:
    entries: list[Entry] = []
    for line in lines:
        match = _ENTRY.fullmatch(line.strip())
        # A line that is further in than the first goes on with the entry above it.
        if match and len(line) - len(line.lstrip()) <= 4:
            entries.append(Entry(match[1], match[2]))
        elif entries:
            entries[-1] = Entry(entries[-1].name, f"{entries[-1].text} {line.strip()}")
    return [Entry(name, escaped(text)) for name, text in entries]


def _joined(lines: list[str]) -> str:
    return escaped(" ".join(line.strip() for line in lines if line.strip()))


def escaped(text: str) -> str:
    """Returns prose whose signs are not taken for Markdown or HTML; what stands in backticks stays."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*_|\[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)
