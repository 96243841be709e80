"""What a person should know before a study's figures are believed, each as a warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

from gearing.core.fees import Costs
from gearing.core.instruments import too_small
from gearing.core.token import Token
from gearing.errors import DataWarning
from gearing.market.rates import Rates
from gearing.market.series import Prices
from gearing.market.times import duration_text
from gearing.numerals import number
from gearing.study.inputs import Inputs

_SHOWN = 3
_LINES = 8


def caution(inputs: Inputs, tokens: Sequence[Token], costs: Sequence[Costs], equity: float) -> None:
    """Warns of what makes the figures of a study doubtful: each thing once, whichever tokens it concerns.

    Args:
        inputs: the series.
        tokens: what is to run, k of them.
        costs: what trading costs each, k of them.
        equity: the capital of each, settlement currency.

    Warns:
        DataWarning: the prices take steps that look like no trade, trades shall move the price but no volume is known,
            the capital is below the smallest trade, or rates begin after or end before the prices.
    """
    kinds = {
        (t.legs, t.target, t.fees.all_in, cost.impact > 0): (t, cost) for t, cost in zip(tokens, costs, strict=True)
    }
    said = [line for token, cost in kinds.values() for line in _of(inputs, token, cost, equity)]
    lines = list(dict.fromkeys(said))
    for line in lines[:_LINES]:
        warnings.warn(line, DataWarning, stacklevel=3)
    if len(lines) > _LINES:
        warnings.warn(f"and {len(lines) - _LINES:,} more of the kind", DataWarning, stacklevel=3)


def _of(inputs: Inputs, token: Token, costs: Costs, equity: float) -> Iterator[str]:
    ran_on = inputs.ran_on(token)
    for held in ran_on.legs:
        yield from _steps(held.prices)
    if costs.impact and not token.fees.all_in and not inputs.has_volume(token):
        none = any(held.prices.volume is None for held in ran_on.legs)
        yield f"the prices have {'no volume' if none else 'a volume of 0 throughout'}, so impact costs nothing"
    yield from _lots(token, [held.prices for held in ran_on.legs], equity)
    if ran_on.rates is not None:
        yield from _rates(ran_on.rates, int(ran_on.times_ms[0]), int(ran_on.times_ms[-1]))


def _steps(prices: Prices) -> Iterator[str]:
    found = prices.suspects
    name = prices.symbol or "prices"
    for suspect in found[:_SHOWN]:
        yield f"{name}: suspect: {suspect}"
    if len(found) > _SHOWN:
        yield f"{name}: and {len(found) - _SHOWN:,} more such steps; gearing market check lists them"


def _lots(token: Token, series: Sequence[Prices], equity: float) -> Iterator[str]:
    """A capital so small that the opening trade of a leg rounds to nothing, or is below the venue's smallest."""
    if token.is_inverse:
        return
    first = [float(prices.close[0]) for prices in series]
    lots = [leg.lot * leg.multiplier for leg in token.legs]
    for leg in too_small(token.legs, token.target, equity, first, lots):
        yield (
            f"{token.symbol}: the capital of {number(equity)} {token.settlement} is too small to hold "
            f"{leg.symbol or 'its leg'}: {number(leg.wanted)} of it is below "
            f"{'one lot' if leg.is_lot else 'the smallest trade'}, {number(leg.smallest)}"
        )


def _rates(rates: Rates, first_ms: int, last_ms: int) -> Iterator[str]:
    """Rates of another time than the prices; the last one known is held, and before the first it is 0."""
    begins, ends = int(rates.times_ms[0]), int(rates.times_ms[-1])
    name, slack = rates.symbol or "rates", max(rates.spacing_ms, 1)
    if len(rates) == 1:
        return
    if begins > first_ms + slack:
        yield f"{name}: begins {rates.start}, {duration_text(begins - first_ms)} after the prices; it is 0 before"
    if ends + 7 * slack < last_ms:
        yield f"{name}: ends {rates.end}, {duration_text(last_ms - ends)} before the prices; its last value is held"
