"""How results and records show themselves in a notebook: one small table each."""

from __future__ import annotations

import html
from typing import Any

import msgspec
import polars as pl

from gearing.core.record import Record
from gearing.core.rule import Rule
from gearing.core.token import Token
from gearing.core.words import describe
from gearing.study.attribution import Attribution
from gearing.study.result import Result

_ROWS = 20


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left;font-variant-numeric:tabular-nums">{html.escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>{html.escape(title)}</caption>{cells}</table>"


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def card(shown: Any) -> str:
    """Returns the HTML of a record, result, comparison or sweep."""
    if isinstance(shown, Attribution):
        return str(shown.frame._repr_html_())
    if isinstance(shown, Rule):
        lines = [("", line) for line in describe(shown, shown.target or 3.0)]
        return _table(repr(shown), lines)
    if isinstance(shown, Token):
        fields = [(field, _text(getattr(shown, field))) for field in ("target", "rule", "fees", "costs", "initial_nav")]
        return _table(shown.symbol, fields)
    if isinstance(shown, Record):
        figures = [(k, _text(v)) for k, v in msgspec.structs.asdict(shown).items() if not isinstance(v, pl.DataFrame)]
        return _table(type(shown).__name__, figures)
    if not isinstance(shown, Result):
        return f"<p>{html.escape(repr(shown))}</p>{shown.frame.head(_ROWS)._repr_html_()}"
    summary = shown.summary()
    return _table(repr(shown), [(k, _text(v)) for k, v in msgspec.structs.asdict(summary).items()])
