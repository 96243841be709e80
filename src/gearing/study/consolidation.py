"""Mergers of units (reverse splits) in a study: where they fall, and what NAV they meet."""

from __future__ import annotations

import polars as pl

from gearing.core.fees import Consolidation
from gearing.kernels.calendar import clocks_of
from gearing.kernels.pyramid import Floats
from gearing.market.series import Prices


def consolidations_of(rule: Consolidation | None, prices: Prices, nav: Floats) -> pl.DataFrame:
    """Returns a frame with one row per merger: time, factor, nav_before, nav_after.

    At each day's end (the first price known at or after 00:00 UTC) the published NAV is looked at; below the
    level, `factor` units become one. Equity does not notice, and a token without equity is left alone.

    Args:
        rule: when units are merged, or None for never.
        prices: whose times the NAV has.
        nav: per first unit, shape (n,).
    """
    found: list[tuple[int, float, float, float]] = []
    if rule is not None:
        factor = 1.0
        days = clocks_of(prices.times_ms, prices.spacing_ms, ()).day_bars
        for bar in days[(days > 0) & (days < len(nav))]:
            published = float(nav[bar]) * factor
            if 0 < published < rule.below:
                found.append((int(prices.times_ms[bar]), rule.factor, published, published * rule.factor))
                factor *= rule.factor
    time, factors, before, after = (list(column) for column in zip(*found, strict=True)) if found else ([],) * 4
    return pl.DataFrame(
        [
            pl.Series("time", time, dtype=pl.Int64).cast(pl.Datetime("ms", "UTC")),
            pl.Series("factor", factors, dtype=pl.Float64),
            pl.Series("nav_before", before, dtype=pl.Float64),
            pl.Series("nav_after", after, dtype=pl.Float64),
        ]
    )
