"""Fair evidence: a chosen window of a backtest beside every other window of the same length.

Windows are cut from one NAV path over all the data and stepped by a day. A window's result is its
log return; one that ends wiped out has −∞ and ranks last. A window has a percentile among all windows of
its length; a whole series has distributions, never a percentile of one.

Source: formula 17; the mid-rank is that of ties shared equally (Wilcoxon 1945).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from gearing.core.record import DAY_MS, Record
from gearing.errors import InputError
from gearing.kernels.pyramid import Floats
from gearing.market.series import Times
from gearing.market.times import Moment, duration_text, iso, moment_ms
from gearing.study.result import Result

LENGTHS_DAYS = (1, 7, 30, 90, 365)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Windows(NamedTuple):
    """Every window of one length.

    Args:
        starts_ms: when each begins, ms UTC, rising, shape (k,).
        logs: ln(NAV at its end / NAV at its start), −∞ if it was wiped out within, shape (k,).
    """

    starts_ms: Times
    logs: Floats


class Distribution(Record, frozen=True, kw_only=True):
    """What windows of one length returned.

    Args:
        days: their length.
        count: how many there are, each a day after the one before; they overlap.
        wiped_out: how many of them ended wiped out.
        gained: the share of them that returned more than 0; NaN if there are none.
        worst, best: smallest and largest simple return; NaN if there are none.
        quantiles: simple returns at `QUANTILES`; NaN if there are none.
    """

    days: int
    count: int
    wiped_out: int
    gained: float
    worst: float
    best: float
    quantiles: tuple[float, ...]


class Standing(Record, frozen=True, kw_only=True):
    """Where one window stands among all windows of its length.

    Args:
        start, end: the window, ISO text UTC.
        length_ms: end − start.
        total_return: NAV at its end / NAV at its start − 1.
        percentile: mid-rank, 0 to 100: (windows below + half of those equal, itself included) / windows.
        count: windows of this length, itself included.
        wiped_out: how many of them ended wiped out.
    """

    start: str
    end: str
    length_ms: int
    total_return: float
    percentile: float
    count: int
    wiped_out: int


class Evidence(Record, frozen=True, kw_only=True):
    """What every window of each length returned, and where a chosen one stands among those of its length.

    Args:
        distributions: of each length.
        standing: of the chosen window, or None.
    """

    distributions: tuple[Distribution, ...]
    standing: Standing | None

    @property
    def frame(self) -> pl.DataFrame:
        """A frame with one row per length: days, count, wiped_out, gained, worst, q05, q25, q50, q75, q95, best."""
        rows = [
            {
                **{name: getattr(d, name) for name in ("days", "count", "wiped_out", "gained", "worst")},
                **{f"q{round(100 * q):02d}": value for q, value in zip(QUANTILES, d.quantiles, strict=True)},
                "best": d.best,
            }
            for d in self.distributions
        ]
        return pl.DataFrame(rows)


def evidence_of(result: Result, window: tuple[Moment, Moment] | None) -> Evidence:
    """Returns the evidence of a backtest; see `Result.evidence`."""
    chosen = None if window is None else standing(result, *window)
    return Evidence(distributions=tuple(distributions(result)), standing=chosen)


def mid_rank(values: Floats, value: float) -> float:
    """Returns the mid-rank percentile, 0 to 100, of a value among values; ties share their ranks equally.

    Args:
        values: shape (k,), k ≥ 1; −∞ ranks last.
        value: usually one of them.
    """
    below = int(np.count_nonzero(values < value))
    equal = int(np.count_nonzero(values == value))
    return 100.0 * (below + 0.5 * equal) / len(values)


def windows(result: Result, length_ms: int, *, from_ms: int = 0) -> Windows:
    """Returns every window of one length on a result's NAV path, stepped by a day.

    Args:
        result: a backtest.
        length_ms: how long a window is.
        from_ms: a moment at whose time of day the windows begin; 0 for 00:00 UTC.

    NAV at a moment is that at the last price known by then. A day without a new price (a weekend of a listed
    market) ends no window, so that each trading day is in one of a day's length; none begins once the token was
    wiped out.
    """
    times, nav = result.prices.times_ms, result.polars.nav["nav"].to_numpy()
    first, last = int(times[0]), int(times[-1])
    phase = from_ms % DAY_MS
    start = first + (phase - first) % DAY_MS
    starts = np.arange(start, last - length_ms + 1, DAY_MS, dtype=np.int64)
    begin, ends = _bars_known(times, starts), _bars_known(times, starts + length_ms)
    fresh = (ends > _bars_known(times, starts + length_ms - DAY_MS))[: len(begin)]
    kept = (fresh | (starts == from_ms)) & (nav[begin] > 0)
    starts, begin = starts[kept], begin[kept]
    after = nav[_bars_known(times, starts + length_ms)]
    with np.errstate(divide="ignore"):
        return Windows(starts, np.log(after) - np.log(nav[begin]))


def _bars_known(times: Times, moments: Times) -> Times:
    return np.searchsorted(times, moments, side="right").astype(np.int64) - 1


def distributions(result: Result, lengths_days: Sequence[int] = LENGTHS_DAYS) -> list[Distribution]:
    """Returns what windows of each length returned.

    Args:
        result: a backtest.
        lengths_days: lengths in days, each ≥ 1.

    Raises:
        InputError: a length is no whole number of days.
    """
    found = []
    for days in lengths_days:
        if isinstance(days, bool) or not isinstance(days, (int, np.integer)) or days < 1:
            raise InputError(f"{days!r} is no length of a window.", where="lengths_days", fix="Give whole days, ≥ 1.")
        logs = windows(result, int(days) * DAY_MS).logs
        found.append(_distribution(int(days), logs))
    return found


def _distribution(days: int, logs: Floats) -> Distribution:
    none = math.nan
    if not len(logs):
        empty = tuple(none for _ in QUANTILES)
        return Distribution(days=days, count=0, wiped_out=0, gained=none, worst=none, best=none, quantiles=empty)
    # Linear interpolation between a wipe-out and a survivor is undefined in logs, not in simple returns.
    returns = np.expm1(logs)
    return Distribution(
        days=days,
        count=len(logs),
        wiped_out=int(np.isneginf(logs).sum()),
        gained=float((logs > 0).mean()),
        worst=float(returns.min()),
        best=float(returns.max()),
        quantiles=tuple(float(x) for x in np.quantile(returns, QUANTILES)),
    )


def standing(result: Result, start: Moment, end: Moment) -> Standing:
    """Returns where one window of a result stands among all windows of its length.

    Args:
        result: a backtest.
        start, end: the window, inside the data: ISO text, date, datetime (UTC unless it says otherwise) or ms.

    Raises:
        InputError: the window is empty, the whole series, not inside it, or begins after a wipe-out.
    """
    begin_ms, end_ms = moment_ms(start), moment_ms(end)
    prices = result.prices
    first, last = int(prices.times_ms[0]), int(prices.times_ms[-1])
    where = f"window {iso(begin_ms)} to {iso(end_ms)}"
    period = f"the data run from {prices.start} to {prices.end}"
    if end_ms <= begin_ms:
        raise InputError("the window ends before it begins.", where=where, fix="Give its start, then its end.")
    if begin_ms < first or end_ms > last:
        raise InputError(f"the window is not inside the data: {period}.", where=where, fix="Choose one inside them.")
    if end_ms - begin_ms > last - first - DAY_MS:
        fix = "Choose a window at least a day shorter than the data."
        raise InputError("there is no second window of this length to rank it among.", where=where, fix=fix)
    length = end_ms - begin_ms
    starts, logs = windows(result, length, from_ms=begin_ms)
    own = np.flatnonzero(starts == begin_ms)
    if not len(own):
        fix = f"Choose one that begins before {result.summary().wiped_out_at}."
        raise InputError("the token was wiped out before this window.", where=where, fix=fix)
    log = float(logs[own[0]])
    return Standing(
        start=iso(begin_ms),
        end=iso(end_ms),
        length_ms=length,
        total_return=math.expm1(log),
        percentile=mid_rank(logs, log),
        count=len(logs),
        wiped_out=int(np.isneginf(logs).sum()),
    )


def length_words(length_ms: int) -> str:
    """Returns the length of a window in words: "31 days", "1 day", "36h"."""
    days, rest = divmod(length_ms, DAY_MS)
    if rest:
        return duration_text(length_ms)
    return "1 day" if days == 1 else f"{days:,} days"
