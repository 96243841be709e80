"""Numerals: numbers as people write and read them, on the command line, in reports and on pages.

A true minus, thousands with commas, significant digits however little is left, "–" where there is no figure,
and parts whose printed digits add up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal

MISSING = "–"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

_DECIMALS_MAX = 12
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NUMBER_MAX = 64  # characters


def number_of(text: str) -> float:
    """Returns the finite number that a person wrote as a plain ASCII decimal: "0.0003", "-2", "1e-4".

    Digits of other scripts, separators, "inf" and "nan" are not read, so that nothing is read as what it is not.

    Raises:
        ValueError: the text is no such number.
    """
    if not is_number_text(text):
        raise ValueError(text)
    return float(text)


def is_number_text(text: str) -> bool:
    """Returns whether a text is a number as `number_of` reads it."""
    return len(text) <= _NUMBER_MAX and bool(_NUMBER.fullmatch(text)) and math.isfinite(float(text))


def number(value: float, *, decimals: int = 3, sign: bool = False) -> str:
    """Returns a number as people write it: "4.125", "−5.25", "+3"; a true minus, no trailing zeros."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:+,.{decimals}f}" if sign else f"{value:,.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "+0") else text.replace("-", "−")


def level_text(level: float, *, sign: bool = False) -> str:
    """Returns a level of leverage as `number` does, with more digits where three would make it look whole."""
    looks_whole = math.isfinite(level) and round(level, 3) == round(level)
    return number(level, decimals=5 if looks_whole else 3, sign=sign)


def percent(fraction: float, *, decimals: int = 3, sign: bool = False) -> str:
    """Returns a fraction as a percentage: −0.11111 is "−11.111 %"."""
    return f"{number(fraction * 100, decimals=decimals, sign=sign)} %"


def tight(fraction: float, *, decimals: int = 3) -> str:
    """Returns a fraction as a percentage without its space, which a narrow column cannot tear."""
    return percent(fraction, decimals=decimals).replace(" ", "")


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


def gained(fraction: float, decimals: int = 2) -> str:
    """Returns a return as `share` does; what is not all lost is never shown as −100 %: "< −99.99 %"."""
    text = share(fraction, decimals)
    if fraction > -1 and text == share(-1.0, decimals):
        return f"< {share(10.0 ** -(decimals + 2) - 1, decimals)}"
    return text


def amount(value: float, digits: int = 6) -> str:
    """Returns money in significant digits, however little is left: "69.0407", "0.0000123457"."""
    if value == 0 or not math.isfinite(value):
        return fixed(value, 0)
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    if decimals > _DECIMALS_MAX + digits:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return fixed(value, max(decimals, 0))


def contracts(lots: int, lot: str) -> str:
    """Returns a position in contracts, as +71.329: exactly, but for what is beyond 8 decimals."""
    whole, dot, rest = f"{round(lots * Decimal(lot), 8):+,f}".partition(".")
    return f"{whole}{dot}{rest}".rstrip("0").rstrip(".") if dot else whole


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


def base36(number: int, width: int) -> str:
    """Returns a number ≥ 0 in digits and small letters, as wide as asked; what does not fit is cut off in front."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits.append(DIGITS[digit])
    return "".join(reversed(digits))
