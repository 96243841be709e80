"""How tokens of one book share what happens to their sum: in whole parts that sum to it."""

from __future__ import annotations

from collections.abc import Sequence

from gearing.core.money import apportioned


def shared(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Returns a signed total in parts that sum to it, by the size of weights, the largest remainder first."""
    sizes = [abs(weight) for weight in weights]
    sign = -1 if total < 0 else 1
    return tuple(sign * part for part in apportioned(abs(total), sizes))


def met(wanted: Sequence[int]) -> tuple[int, ...]:
    """Returns what of signed lots that tokens want of one instrument meets lots of the other side, of each.

    All of the smaller side is met; of the larger one each has its part, by size.
    """
    bought, sold = sum(max(lots, 0) for lots in wanted), sum(max(-lots, 0) for lots in wanted)
    least = min(bought, sold)
    if least == 0:
        return (0,) * len(wanted)
    buys = apportioned(least, [max(lots, 0) for lots in wanted])
    sells = apportioned(least, [max(-lots, 0) for lots in wanted])
    return tuple(buy - sell for buy, sell in zip(buys, sells, strict=True))
