"""Finds the line of a TOML text that a place such as `rule.schedule[0].times` stands in."""

from __future__ import annotations

import re

from gearing.errors import Problem

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_LAST_PART = re.compile(r"\.?[^.\[\]]+$|\[\d+\]$")
_LONG_TEXT = re.compile(r'"""|' + "'''")


class Lines:
    """The line, from 1, of every key and table header of a text; good enough for messages."""

    def __init__(self, text: str) -> None:
        self._line: dict[str, int] = {}
        self._count: dict[str, int] = {}
        table, in_text = "", False
        for number, row in enumerate(text.split("\n"), start=1):
            opens = len(_LONG_TEXT.findall(row)) % 2 == 1
            if in_text:
                in_text = not opens
                continue
            in_text = opens
            header, key = _HEADER.fullmatch(row), _KEY.match(row)
            if header:
                table = self._table(header[2], number, listed=header[1] == "[[")
            elif key:
                self._line.setdefault(_join(table, ".".join(_parts(key[1]))), number)

    def _table(self, name: str, number: int, *, listed: bool) -> str:
        path = ""
        parts = _parts(name)
        for position, part in enumerate(parts):
            path = _join(path, part)
            if listed and position == len(parts) - 1:
                self._count[path] = self._count.get(path, 0) + 1
            self._line.setdefault(path, number)
            if path in self._count:
                path = f"{path}[{self._count[path] - 1}]"
                self._line.setdefault(path, number)
        return path

    def of(self, place: str) -> int | None:
        """Returns the line of a place, else of the nearest thing that holds it, else None."""
        while place:
            if place in self._line:
                return self._line[place]
            shorter = _LAST_PART.sub("", place)
            if shorter == place:
                return None
            place = shorter
        return None

    def placed(self, problems: list[Problem]) -> list[Problem]:
        """Returns problems in the order of the text, each place preceded by its line."""
        found = [(self.of(problem.place), problem) for problem in problems]
        found.sort(key=lambda pair: pair[0] or 0)
        return [
            problem if line is None else problem._replace(place=f"line {line}: {problem.place}")
            for line, problem in found
        ]


def _parts(name: str) -> list[str]:
    return [part.strip().strip("\"'") for part in name.split(".")]


def _join(table: str, key: str) -> str:
    return f"{table}.{key}" if table else key
