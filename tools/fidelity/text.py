"""Tables as the documents have them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

import gearing as gr
from gearing.market.series import Floats
from gearing.market.times import datetime_ms


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table whose columns line up; all but the first are aligned to the right."""
    widths = [max(len(row[k]) for row in [heads, *rows]) for k in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(heads), line(rule), *(line(row) for row in rows)])


def day(time: int | datetime) -> str:
    """Returns the day that ends at a time (ms UTC, or with its zone), such as 2020-03-16."""
    time_ms = time if isinstance(time, int) else datetime_ms(time)
    return str(np.datetime64(time_ms - 1, "ms").astype("datetime64[D]"))


def gaps_of(found: gr.Track) -> Floats:
    """Returns the gaps that count, in order of time."""
    return found.counted["gap"].to_numpy()


def bp(fraction: float, digits: int = 0) -> str:
    """Returns a fraction in basis points, without a sign."""
    return f"{fraction * 1e4:.{digits}f}"


def signed_bp(fraction: float) -> str:
    """Returns a fraction in basis points, with its sign."""
    return minus(f"{fraction * 1e4:+.0f}")


def minus(text: str) -> str:
    """Returns a number's text with the sign that print uses."""
    return text.replace("-", "−")
