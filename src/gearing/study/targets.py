"""A target that varies in time: a series of target leverages, each in force until the next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import narwhals as nw
import numpy as np

from gearing.core.fees import Costs
from gearing.core.pack import pack, schedule_times_ms
from gearing.core.token import Token
from gearing.errors import InputError
from gearing.kernels.calendar import bars_at
from gearing.kernels.one import Run
from gearing.kernels.pyramid import Floats
from gearing.market.files import arrays_of
from gearing.market.reading.names import is_time
from gearing.market.reading.stamps import objects_ms
from gearing.market.series import Funding, Prices, Times
from gearing.market.times import SeriesError, is_day, iso

_FIX = "Give (times, targets), a pandas Series, or a frame with columns time (or date) and target."


@dataclass(frozen=True)
class Targets:
    """Target leverages over time.

    Args:
        times_ms: when each comes into force, ms UTC, rising, shape (m,); where `is_stamped`, the stamps of a table.
        values: signed, shape (m,).
        is_stamped: whether the times are stamps, as those of bars: what stands beside a bar is known at its end.
    """

    times_ms: Times
    values: Floats
    is_stamped: bool = False

    def beside(self, prices: Prices) -> Targets:
        """Returns the targets when each was known: beside bars stamped with their beginning, at the bar's end."""
        if not self.is_stamped or not prices.lag_ms:
            return self
        return Targets(self.times_ms + prices.lag_ms, self.values)

    def change_at_day_ends(self, prices: Prices) -> bool:
        """Returns whether every change within the prices is at the end of a day, so that a day has one target."""
        bars = bars_at(prices.times_ms, prices.spacing_ms, self.times_ms)
        bars = bars[(bars > 0) & (bars < len(prices))]
        return bool(np.isin(bars, prices.day_bars).all())

    def at(self, times_ms: Times, before: float) -> Floats:
        """Returns the target in force at each moment.

        Args:
            times_ms: moments, ms UTC.
            before: the target in force before the first.
        """
        found = np.searchsorted(self.times_ms, times_ms, side="right")
        return np.append(before, self.values)[found]


def read_targets(source: Any) -> Targets:
    """Returns a target that varies in time.

    Args:
        source: (times, targets), a pandas Series, or a data frame with columns time and target.

    Raises:
        InputError: it is none of these, or its times do not rise.
    """
    if isinstance(source, (str, os.PathLike)):
        raise InputError("a target that varies is not read from a file.", where="target", fix=_FIX)
    days = isinstance(source, (tuple, list)) and len(source) == 2 and _are_days(source[0])
    stamped = days or not isinstance(source, (tuple, list))
    pair = arrays_of(source)
    if pair is None:
        try:
            frame = nw.from_native(source, eager_only=True)
            named = next(name for name in frame.columns if is_time(name))
            times, values = frame[named], frame["target"]
        except Exception as error:
            raise InputError(
                f"{type(source).__name__} is not a series of targets.", where="target", fix=_FIX
            ) from error
        pair = objects_ms(times.to_list(), "target, column time"), np.asarray(values.to_numpy(), dtype=np.float64)
    times_ms, targets = pair
    if len(times_ms) != len(targets) or not len(targets):
        raise InputError(f"there are {len(times_ms)} times and {len(targets)} targets.", where="target", fix=_FIX)
    if (np.diff(times_ms) <= 0).any():
        row = int(np.argmax(np.diff(times_ms) <= 0)) + 1
        raise SeriesError("the times do not rise.", where=f"target, row {row + 1} ({iso(int(times_ms[row]))})",
                          fix="Sort them, each once.")  # fmt: skip
    if not np.isfinite(targets).all():
        row = int(np.argmax(~np.isfinite(targets)))
        raise SeriesError("the target is missing.", where=f"target, row {row + 1}", fix="Leave this row out.")
    times_ms, targets = np.array(times_ms, dtype=np.int64), np.array(targets, dtype=np.float64)
    times_ms.flags.writeable = targets.flags.writeable = False
    return Targets(times_ms, targets, stamped)


def _are_days(times: Any) -> bool:
    """Whether moments are days and nothing of them."""
    return isinstance(times, Sequence) and not isinstance(times, str) and len(times) > 0 and all(map(is_day, times))


def run_varying(
    token: Token, targets: Targets, prices: Prices, funding: Funding | None, costs: Costs, equity: float
) -> Run:  # fmt: skip
    """Returns the run of a plain token whose target varies: at the first price of a change it trades to the new one.

    Args:
        token: with the target that is in force before the first of the series.
        targets: when the target changes, and to what.
        prices: of its perpetual.
        funding: settlements, or None.
        costs: what trading costs.
        equity: the capital before the opening trade.

    Raises:
        SpecError: the token cannot have one of the targets.
        InputError: under another target the rule has other clocks.
    """
    from gearing.kernels.targets import run_one_with_targets

    bars = bars_at(prices.times_ms, prices.spacing_ms, targets.times_ms)
    bars = np.maximum(bars, 0)
    inside = bars < len(prices)
    last = np.append(bars[1:] != bars[:-1], True) & inside
    starts, values = bars[last], targets.values[last]
    if not len(starts) or starts[0] > 0:
        starts, values = np.append(0, starts), np.append(token.target, values)
    kinds = {value: msgspec.structs.replace(token, target=float(value)) for value in dict.fromkeys(values.tolist())}
    clocks = {schedule_times_ms(kind.resolved_rule) for kind in kinds.values()}
    packed = {value: pack(kind, costs) for value, kind in kinds.items()}
    if len(clocks) > 1 or len({len(flat) for flat in packed.values()}) > 1:
        what = f"the rule of {token.symbol} has other clocks under another target."
        raise InputError(what, where="target", fix="Give a rule whose schedule does not depend on the target.")
    calendar = prices.calendar(funding, clocks.pop())
    flats = np.array([packed[value] for value in values.tolist()])
    return run_one_with_targets(flats, starts, prices.index, calendar, equity)


def words_of(targets: Targets | None, target: float, number: Any) -> str:
    """Returns a target in words: "+3", or "−1 to +3"."""
    values: Sequence[float] = [target] if targets is None else sorted({target, *targets.values.tolist()})
    ends = (values[0], values[-1])
    return number(ends[0], sign=True) if ends[0] == ends[1] else " to ".join(number(end, sign=True) for end in ends)
