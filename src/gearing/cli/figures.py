"""Figures as people read them: fixed digits that align, a true minus, parts that visibly add up."""

from __future__ import annotations

import math
from collections.abc import Sequence

MISSING = "–"

_DECIMALS_MAX = 12


def fixed(value: float, decimals: int, *, sign: bool = False) -> str:
    """Returns a number with so many decimals: "−30.96", "+1,234.50"; "–" where there is none."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:+,.{decimals}f}" if sign else f"{value:,.{decimals}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def share(fraction: float, decimals: int = 2, *, sign: bool = True) -> str:
    """Returns a fraction as a percentage with its sign: −0.3096 is "−30.96 %"."""
    text = fixed(fraction * 100, decimals, sign=sign)
    return text if text == MISSING else f"{text} %"


def amount(value: float, digits: int = 6) -> str:
    """Returns money in significant digits, however little is left: "69.0407", "0.0000123457"."""
    if value == 0 or not math.isfinite(value):
        return fixed(value, 0)
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    if decimals > _DECIMALS_MAX + digits:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return fixed(value, max(decimals, 0))


def moment(text: str) -> str:
    """Returns an ISO moment as people read it: "2023-03-12 10:35", seconds only if there are any."""
    return text.removesuffix("Z").replace("T", " ").removesuffix(":00")


def decimals_for(amounts: Sequence[float]) -> int:
    """Returns the decimals that show the largest amount in five digits, and cents at least."""
    largest = max((abs(value) for value in amounts if math.isfinite(value)), default=0.0)
    if largest == 0:
        return 2
    return min(max(4 - math.floor(math.log10(largest)), 2), _DECIMALS_MAX)


def summing(parts: Sequence[float], decimals: int) -> tuple[list[str], str]:
    """Returns the parts and their total as text whose digits add up exactly as they are printed.

    Args:
        parts: finite amounts.
        decimals: of each text.

    Source: the largest-remainder method; no part is off by a whole unit of its last digit.
    """
    scale = 10.0**decimals
    exact = [part * scale for part in parts]
    whole = [math.floor(value) for value in exact]
    total = round(math.fsum(exact))
    by_remainder = sorted(range(len(parts)), key=lambda k: whole[k] - exact[k])
    for k in by_remainder[: total - sum(whole)]:
        whole[k] += 1
    return [fixed(units / scale, decimals, sign=True) for units in whole], fixed(total / scale, decimals, sign=True)


def aligned(rows: Sequence[Sequence[str]], sides: str, *, gap: int = 2) -> list[str]:
    """Returns rows as lines whose columns align.

    Args:
        rows: the cells, each row as long as `sides`.
        sides: "<" or ">" for each column, such as "<>>".
        gap: spaces between columns.
    """
    widths = [max(len(row[k]) for row in rows) for k in range(len(sides))]
    lines = (
        (" " * gap).join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))
        for row in rows
    )
    return [line.rstrip() for line in lines]


def columns_that_fit(rows: Sequence[Sequence[str]], width: int, *, least: int, gap: int = 3) -> int:
    """Returns how many of the first columns stand side by side in a width, never fewer than `least`.

    Args:
        rows: the cells, the headings among them, the dispensable columns last.
        width: characters to a line.
        least: columns that must stand.
        gap: spaces between columns.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    fitting = len(widths)
    while fitting > least and sum(widths[:fitting]) + gap * (fitting - 1) > width:
        fitting -= 1
    return fitting
