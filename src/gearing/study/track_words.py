"""What a track says in words and tables, on the command line and in its report."""

from __future__ import annotations

import math
from datetime import datetime, time, timedelta

from gearing.numerals import MISSING, fixed, share
from gearing.study.track_record import Track

YEAR_HEADS = ("year", "gaps", "drift per year", "deviation")
GAP_HEADS = ("underlying", "product", "simulated", "gap", "next gap")


def product_name(track: Track) -> str:
    """Returns what the product is called."""
    return track.product or "The product"


def lag_words(track: Track) -> str:
    """Returns that a product fits better at another time, in a sentence; nothing where it does not."""
    if not track.lag:
        return ""
    way = "late" if track.lag > 0 else "early"
    return f"The product's returns fit best {abs(track.lag)} of its periods {way}: check what its stamps mean."


def basis_points(fraction: float, decimals: int = 0, *, sign: bool = True) -> str:
    """Returns a fraction in basis points: 0.0018 is "+18 bp"."""
    text = fixed(fraction * 1e4, decimals, sign=sign)
    return text if text == MISSING else f"{text} bp"


# A product whose beta is a tenth away from the simulation's is another one.
_OFF = 0.1


def drift_words(track: Track) -> str:
    """Returns what the drift says, in a sentence."""
    name = product_name(track)
    drift, doubt = track.drift, 2 * track.drift_error
    way = "gained on" if drift > 0 else "lost on"
    first = f"{name} {way} its simulation {basis_points(abs(drift), sign=False)} a year"
    if not math.isfinite(doubt):
        return f"{first}."
    if abs(track.beta - track.simulated_beta) > _OFF * max(abs(track.simulated_beta), 1.0):
        betas = f"{fixed(track.beta, 2)} against {fixed(track.simulated_beta, 2)} simulated"
        return f"{first}. But its beta is {betas}: is this the product's target, or its underlying?"
    sure = "more than two standard errors from zero" if abs(drift) > doubt else "within two standard errors of zero"
    return f"{first}, {sure}."


def spread_words(track: Track) -> str:
    """Returns how rough the implied spread is, in a sentence; nothing where clocks alone made the simulation trade."""
    if not track.price_triggered:
        return ""
    count = "One trade" if track.price_triggered == 1 else f"{track.price_triggered:,} trades"
    were = "was" if track.price_triggered == 1 else "were"
    return (
        f"{count} of the simulation {were} triggered by the price. With another spread these would be done at other "
        "prices, so the implied spread is rough; run the simulation with it to check."
    )


def year_rows(track: Track) -> list[list[str]]:
    """Returns the cells of each calendar year, as `YEAR_HEADS` names them."""
    return [
        [
            str(row["year"]),
            f"{row['changes']:,}",
            basis_points(row["drift"]),
            MISSING if row["deviation"] is None else basis_points(row["deviation"], 1, sign=False),
        ]
        for row in track.by_year.iter_rows(named=True)
    ]


def gap_rows(track: Track, count: int) -> list[list[str]]:
    """Returns the cells of the largest gaps: their time (see `time_head`), then what `GAP_HEADS` names."""
    days = _ends_with_days(track)
    return [
        [
            _time_text(row["time"], days=days),
            *(share(row[name]) for name in ("underlying", "product", "simulated")),
            basis_points(row["gap"]),
            MISSING if row["next_gap"] is None else basis_points(row["next_gap"]),
        ]
        for row in track.worst(count).iter_rows(named=True)
    ]


def time_head(track: Track) -> str:
    """Returns what the times of the gaps are called."""
    return "day" if _ends_with_days(track) else "period ends, UTC"


def _ends_with_days(track: Track) -> bool:
    """Returns whether every period ends with a day, 00:00 UTC, so that the day's name says more than its end."""
    return bool((track.frame["time"].dt.time() == time(0)).all())


def _time_text(moment: datetime, *, days: bool) -> str:
    return f"{moment - timedelta(milliseconds=1):%Y-%m-%d}" if days else f"{moment:%Y-%m-%d %H:%M}"
