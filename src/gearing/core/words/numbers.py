"""Numbers as people write them."""

from __future__ import annotations

import math


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
