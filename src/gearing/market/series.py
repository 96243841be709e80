"""Price and funding series: immutable, checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from gearing.errors import DataError
from gearing.market.thin import thin
from gearing.market.times import DAY_MS, Moment, SeriesError, duration_text, is_day, iso, moment_ms

if TYPE_CHECKING:
    from gearing.kernels.calendar import Calendar
    from gearing.kernels.series import Series
    from gearing.market.suspects import Suspect

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

# Bars are rounded and adjusted by those who publish them; a high may miss its close by this much.
_NOISE = 1e-9

# Listed markets close for weekends and holidays; the longest since 1999 is 11 to 17 September 2001.
_CLOSURE_MS = 7 * DAY_MS

# No large venue settles funding less often (Binance, Bybit and OKX: every 1, 2, 4 or 8 hours).
_LONGEST_SCHEDULE_MS = DAY_MS // 3


class Gap(NamedTuple):
    """A stretch without data: from the last moment known before it to the first one after."""

    after_ms: int
    until_ms: int
    missing: int

    def __str__(self) -> str:
        return f"{iso(self.after_ms)} to {iso(self.until_ms)} ({self.missing} missing)"


@dataclass(frozen=True, eq=False, repr=False)
class TimeSeries:
    """What all series share: the moments, and the courtesies that follow from them."""

    times_ms: Times

    # Whether a value holds until the next one, so that the one in force at the start of a period belongs to it.
    _holds = False
    # How long after its stamp in a table each value was known; of daily values a person means the stamp's day.
    lag_ms = 0

    def __len__(self) -> int:
        return len(self.times_ms)

    @property
    def start(self) -> str:
        """The first moment, ISO text in UTC."""
        return iso(int(self.times_ms[0]))

    @property
    def end(self) -> str:
        """The last moment, ISO text in UTC."""
        return iso(int(self.times_ms[-1]))

    @cached_property
    def spacing_ms(self) -> int:
        """The most common difference between neighbours (the smallest of equals); 0 for a single row."""
        return spacing_ms(self.times_ms)

    def _rows(self, start: Moment | None, end: Moment | None) -> slice:
        first = 0 if start is None else int(np.searchsorted(self.times_ms, self._bound(start)))
        last = len(self) if end is None else int(np.searchsorted(self.times_ms, self._bound(end)))
        if self._holds and start is not None:
            first = max(int(np.searchsorted(self.times_ms, self._bound(start), side="right")) - 1, 0)
        if first >= last:
            name = type(self).__name__.lower()
            bounds = f"[{start or 'the first'}, {end or 'the last'})"
            raise DataError(
                f"no {name} in {bounds}: the series runs from {self.start} to {self.end}.",
                fix="Widen the period.",
            )
        return slice(first, last)

    def _bound(self, moment: Moment) -> int:
        """When what a person means by a moment begins: of daily values, a day's own value."""
        daily = is_day(moment) and self.spacing_ms >= DAY_MS
        return moment_ms(moment) + (self.lag_ms if daily else 0)

    def between(self, start: Moment | None = None, end: Moment | None = None) -> Self:
        """Returns what was known in [start, end); of rates, also the one that holds at the start.

        Of daily values that were read with the day as their stamp, a day given as a bound is the day of the stamp:
        from "2009-06-25" on, the first is that day's close.

        Args:
            start: ISO text, date, datetime (UTC unless it says otherwise) or ms; None is the first.
            end: the same, itself left out; None is after the last.

        Raises:
            DataError: nothing is left.
        """
        rows = self._rows(start, end)
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: x[rows] for name, x in columns.items() if isinstance(x, np.ndarray)})

    def _gaps_at(self, found: npt.NDArray[np.bool_]) -> list[Gap]:
        rows = np.flatnonzero(found)
        after, until = self.times_ms[rows], self.times_ms[rows + 1]
        missing = np.rint((until - after) / max(self.spacing_ms, 1)).astype(np.int64) - 1
        return [Gap(*row) for row in zip(after.tolist(), until.tolist(), missing.tolist(), strict=True)]

    def _time_column(self) -> pl.Series:
        return pl.Series("time", self.times_ms).cast(pl.Datetime("ms", "UTC"))

    def _time_columns(self, name: str, lag_ms: int) -> list[pl.Series]:
        """When each value was known, and the stamp from which a reader finds that again."""
        return [self._time_column(), pl.Series(name, self.times_ms - lag_ms).cast(pl.Datetime("ms", "UTC"))]

    def _symbol_column(self) -> list[pl.Series]:
        symbol: str = getattr(self, "symbol", "")
        return [pl.Series("symbol", [symbol]).new_from_index(0, len(self))] if symbol else []


@dataclass(frozen=True, eq=False, repr=False)
class Prices(TimeSeries):
    """Prices of one underlying, each with the moment it was known.

    Args:
        times_ms: moments at which each price was known, ms UTC, strictly increasing, shape (n,). A bar is
            known at its end.
        close: the prices, finite and > 0, shape (n,), in settlement currency.
        open: first price of each bar, or None.
        high: highest price of each bar, or None.
        low: lowest price of each bar, or None.
        volume: traded in each bar, ≥ 0, in units of the underlying, or None.
        symbol: what it is the price of.
        notes: what was done to read it beyond plain reading, as sentences.
        lag_ms: how long after its stamp in the table each price was known; 0 where the stamps are these times.
        is_adjusted: whether they are adjusted closes, which hold the dividends already.

    Raises:
        SeriesError: the arrays contradict each other or hold what no price can be; with the row and its time.
    """

    close: Floats
    open: Floats | None = None
    high: Floats | None = None
    low: Floats | None = None
    volume: Floats | None = None
    symbol: str = ""
    notes: tuple[str, ...] = ()
    lag_ms: int = 0
    is_adjusted: bool = False

    def __post_init__(self) -> None:
        times = set_times(self, self.symbol or "prices")
        where = self.symbol or "prices"
        if self.close is None:
            raise SeriesError("there are no prices.", where=where, fix="Give a close for each time.")
        for name in ("open", "high", "low", "close"):
            values = set_floats(self, name, where)
            if values is not None:
                refuse(
                    ~(np.isfinite(values) & (values > 0)),
                    values,
                    times,
                    f"{name} price",
                    where,
                    "finite and above 0",
                )
        volume = set_floats(self, "volume", where)
        if volume is not None:
            refuse(
                ~(np.isfinite(volume) & (volume >= 0)),
                volume,
                times,
                "volume",
                where,
                "finite and at least 0",
            )
        for inner in ("open", "close"):
            for outer, sign in (("low", 1.0), ("high", -1.0)):
                self._check_bar(inner, outer, sign, where)

    def _check_bar(self, inner: str, outer: str, sign: float, where: str) -> None:
        price, bound = getattr(self, inner), getattr(self, outer)
        if price is None or bound is None:
            return
        # Nearly every series is exact, which is quick to see.
        if bool((bound <= price if sign > 0 else bound >= price).all()):
            return
        bad = sign * (bound - price) > _NOISE * price
        if bad.any():
            row = int(np.argmax(bad))
            side = "above" if sign > 0 else "below"
            raise SeriesError(
                f"the {outer} {bound[row]:.10g} is {side} the {inner} {price[row]:.10g}.",
                where=_place(where, row, self.times_ms),
                fix="Mend or drop this bar.",
            )

    def gaps(self) -> list[Gap]:
        """Returns the stretches in which bars are missing, against the most common spacing.

        A daily series that knows at most five weekdays is a listed market's: closures of up to a week are
        its calendar, no gap.
        """
        found = np.diff(self.times_ms) > 1.5 * self.spacing_ms
        if self.spacing_ms == DAY_MS and len(np.unique(self.times_ms // DAY_MS % 7)) <= 5:
            found &= np.diff(self.times_ms) > _CLOSURE_MS
        return self._gaps_at(found)

    @cached_property
    def day_bars(self) -> Times:
        """The bars at which days end (00:00 UTC; each bar of daily data), the first and the last bar included."""
        from gearing.kernels.calendar import day_end_bars

        ends = day_end_bars(self.times_ms, self.spacing_ms)
        return np.unique(np.concatenate([[0], ends, [len(self) - 1]])).astype(np.int64)

    @cached_property
    def day_moves(self) -> tuple[float, float]:
        """The least and the largest ratio of a day's price to that of the day before; 1 and 1 of a single bar."""
        price = self.close[self.day_bars]
        ratios = price[1:] / price[:-1]
        return (float(ratios.min()), float(ratios.max())) if len(ratios) else (1.0, 1.0)

    @cached_property
    def suspects(self) -> list[Suspect]:
        """The steps that look like no trade: a split nobody adjusted for, a new denomination, another unit."""
        from gearing.market.suspects import suspects_in

        return suspects_in(self)

    @cached_property
    def index(self) -> Series:
        """The prices as compiled code sees them: made once, reused by every rule and token."""
        from gearing.kernels.series import build_series

        return build_series(
            self.times_ms,
            self.close,
            spacing_ms=self.spacing_ms,
            open_=self.open,
            low=self.low,
            high=self.high,
            volume=self.volume,
        )

    @cached_property
    def _calendars(self) -> dict[object, tuple[Funding | None, Calendar]]:
        return {}

    def calendar(self, funding: Funding | None, schedules: tuple[tuple[int, ...], ...]) -> Calendar:
        """Returns the bars at which a clock wakes a token; made once for each funding and set of schedules.

        Args:
            funding: the settlements, or None.
            schedules: for each schedule its times of day, ms after 00:00 UTC.
        """
        from gearing.kernels.calendar import build_calendar

        key = (id(funding), schedules)
        if key not in self._calendars:
            none = np.empty(0)
            times, rates = (none.astype(np.int64), none) if funding is None else (funding.times_ms, funding.rates)
            made = build_calendar(
                self.times_ms, self.spacing_ms, self.close, self.index.blocks, times, rates, schedules
            )
            # The funding is kept beside its calendar, so that its identity cannot pass to another one.
            self._calendars[key] = (funding, made)
        return self._calendars[key][1]

    def _columns(self) -> list[str]:
        return [name for name in ("open", "high", "low", "close", "volume") if getattr(self, name) is not None]

    @property
    def frame(self) -> pl.DataFrame:
        """A frame: time (when known) and open_time, Datetime ms UTC; open, high, low, close, volume; symbol.

        `read_prices` of it gives the same series.
        """
        columns = [pl.Series(name, getattr(self, name)) for name in self._columns()]
        return pl.DataFrame([*self._time_columns("open_time", self.spacing_ms), *columns, *self._symbol_column()])

    def plot(self) -> Any:
        """Returns a Plotly figure of the closes; long series are thinned without losing an extreme."""
        return _figure(self, self.close, self.symbol or "price")

    def __repr__(self) -> str:
        name = f"{self.symbol}, " if self.symbol else ""
        return f"Prices({name}{len(self):,} × {duration_text(self.spacing_ms)}, {self.start} to {self.end})"

    def _repr_html_(self) -> str:
        low = self.close if self.low is None else self.low
        high = self.close if self.high is None else self.high
        extra = {"first": self.close[0], "last": self.close[-1], "lowest": low.min(), "highest": high.max()}
        return _table("Prices", self, {name: f"{value:,.8g}" for name, value in extra.items()}, self.symbol)


@dataclass(frozen=True, eq=False, repr=False)
class Funding(TimeSeries):
    """Funding settlements of one perpetual.

    Args:
        times_ms: moments of settlement, ms UTC, strictly increasing, shape (n,).
        rates: fraction of the notional that longs pay to shorts at each, finite, |rate| < 1, shape (n,).
        symbol: what they belong to.
        notes: what was done to read them beyond plain reading, as sentences.

    Raises:
        SeriesError: the arrays contradict each other or hold what no rate can be; with the row and its time.
    """

    rates: Floats
    symbol: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = "finite and between -1 and 1 (a fraction: 0.0001 is 1 bp)"
        check_figures(self, "rates", "funding rate", expected, lambda rates: np.abs(rates) < 1)

    def gaps(self) -> list[Gap]:
        """Returns the stretches in which settlements are missing, against the most common spacing.

        A perpetual's schedule may change between 1 h and 8 h; a step within that which
        recurs beside it is another schedule, no gap.
        """
        steps = np.diff(self.times_ms)
        repeated = np.zeros(len(steps), dtype=np.bool_)
        # Two steps to either side, so that a gap beside it does not hide the schedule.
        for distance in (1, 2):
            equal = steps[distance:] == steps[:-distance]
            repeated[distance:] |= equal
            repeated[:-distance] |= equal
        return self._gaps_at((steps > 1.5 * self.spacing_ms) & ~(repeated & (steps <= _LONGEST_SCHEDULE_MS)))

    @property
    def frame(self) -> pl.DataFrame:
        """A frame: time (Datetime ms UTC), funding_rate, symbol."""
        return pl.DataFrame([self._time_column(), pl.Series("funding_rate", self.rates), *self._symbol_column()])

    def plot(self) -> Any:
        """Returns a Plotly figure of the rates in basis points, thinned without losing an extreme."""
        return _figure(self, self.rates * 1e4, "funding rate, bp")

    def __repr__(self) -> str:
        name = f"{self.symbol}, " if self.symbol else ""
        mean = float(self.rates.mean()) * 1e4
        spacing = duration_text(self.spacing_ms)
        return f"Funding({name}{len(self):,} × {spacing}, {self.start} to {self.end}, mean {mean:.3g} bp)"

    def _repr_html_(self) -> str:
        extra = {"mean": self.rates.mean(), "lowest": self.rates.min(), "highest": self.rates.max()}
        return _table("Funding", self, {name: f"{value * 1e4:.4g} bp" for name, value in extra.items()}, self.symbol)


def spacing_ms(times_ms: Times) -> int:
    """Returns the most common difference between neighbours (the smallest of equals); 0 for a single row."""
    steps = np.diff(times_ms)
    if not len(steps):
        return 0
    # Nearly every series is regular; a majority is found without sorting.
    middle = int(np.median(steps[:1001]))
    if 2 * np.count_nonzero(steps == middle) > len(steps):
        return middle
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def _frozen(values: Any, kind: type[np.generic]) -> np.ndarray:
    """A contiguous, read-only array that nobody else can write to."""
    array = np.ascontiguousarray(values, dtype=kind)
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if array.flags.writeable or owner.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def _place(where: str, row: int, times: Times) -> str:
    return f"{where}, row {row + 1} ({iso(int(times[row]))})"


def set_times(series: TimeSeries, where: str) -> Times:
    """Returns the times of a series that is being made, checked and frozen."""
    given = np.asarray(series.times_ms)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise SeriesError("times_ms must be a flat array of integers.", where=where, fix="Use milliseconds UTC.")
    times: Times = _frozen(given, np.int64)
    object.__setattr__(series, "times_ms", times)
    if not len(times):
        raise SeriesError("the series is empty.", where=where, fix="Give at least one row.")
    bad = times[1:] <= times[:-1]
    if bad.any():
        row = int(np.argmax(bad)) + 1
        if times[row] == times[row - 1]:
            what, fix = "this time stands there twice.", "Drop the duplicate rows; make bars of trades."
        else:
            what = f"the times are not sorted: this one is before the row above ({iso(int(times[row - 1]))})."
            fix = "Sort the series by time."
        raise SeriesError(what, where=_place(where, row, times), fix=fix)
    return times


def set_floats(series: TimeSeries, name: str, where: str) -> Floats | None:
    """Returns one column of a series that is being made, checked against its times and frozen; None if it has none."""
    values = getattr(series, name)
    if values is None:
        return None
    try:
        array: Floats = _frozen(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise SeriesError(f"the {name} are not all numbers.", where=where, fix="Give finite numbers.") from None
    if array.shape != series.times_ms.shape:
        raise SeriesError(
            f"there are {len(series):,} times but {array.size:,} values of {name}.",
            where=where,
            fix="Give one each.",
        )
    object.__setattr__(series, name, array)
    return array


def check_figures(
    series: TimeSeries, name: str, figure: str, expected: str, fits: Callable[[Floats], npt.NDArray[np.bool_]]
) -> None:
    """Checks and freezes a series that is being made of its times and one column.

    Args:
        series: what is being made.
        name: its column.
        figure: what one value is called.
        expected: what one must be, in words.
        fits: whether each finite value is that.

    Raises:
        SeriesError: it is not; with the row and its time.
    """
    where = getattr(series, "symbol", "") or type(series).__name__.lower()
    times = set_times(series, where)
    values = set_floats(series, name, where)
    if values is None:
        raise SeriesError(f"there are no {name}.", where=where, fix="Give one for each time.")
    refuse(~(np.isfinite(values) & fits(values)), values, times, figure, where, expected)


def refuse(bad: npt.NDArray[np.bool_], values: Floats, times: Times, name: str, where: str, expected: str) -> None:
    """Raises SeriesError for the first bad row, if there is one."""
    if not bad.any():
        return
    row = int(np.argmax(bad))
    value = values[row]
    shown = "missing (NaN)" if np.isnan(value) else "infinite" if np.isinf(value) else f"{value:.10g}"
    raise SeriesError(
        f"the {name} is {shown}; it must be {expected}.",
        where=_place(where, row, times),
        fix="Mend or drop this row.",
    )


def _figure(series: TimeSeries, values: Floats, name: str) -> Any:
    import plotly.graph_objects as go

    rows = thin(values)
    moments = series.times_ms[rows].astype("datetime64[ms]")
    figure = go.Figure(go.Scatter(x=moments, y=values[rows], mode="lines", name=name, line_width=1))
    return figure.update_layout(xaxis_title="time, UTC", yaxis_title=name, showlegend=False)


def _table(title: str, series: TimeSeries, extra: dict[str, str], symbol: str) -> str:
    import html

    facts = {
        "rows": f"{len(series):,}",
        "spacing": duration_text(series.spacing_ms),
        "start": series.start,
        "end": series.end,
        **extra,
    }
    rows = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in facts.items())
    return f"<table><caption>{html.escape(f'{title} {symbol}'.strip())}</caption>{rows}</table>"
