"""Funding rates as fractions of the notional per settlement, whatever a table counts them in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gearing.market.reading.names import SETTLEMENT_TIMES, Role, fold
from gearing.market.reading.options import Notes
from gearing.market.reading.table import Table
from gearing.market.series import spacing_ms
from gearing.market.times import DAY_MS, MINUTE_MS, SeriesError, duration_text, iso

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

_HOUR_MS = 3_600_000
_EIGHT_HOURS_MS = 8 * _HOUR_MS
_YEAR_MS = 365 * DAY_MS
# Venues stamp a settlement some milliseconds after the moment it belongs to, and report it within the minute.
_LAG_MS = 1_000
_REPORT_MS = 60_000
# BTC's mean since 2019 is 1.08 bp per 8 h, its extremes ±30 bp. A mean of ten times the usual is worth a word, and one
# of 10 % has never been a fraction.
_NOTED_MEAN = 0.0010
_REFUSED_MEAN = 0.10
_SAY = "Say the unit: --funding-unit fraction, percent, bp, annual or absolute (funding_unit= in Python)."


def settlements(table: Table, unit: str | None) -> tuple[Times, Floats]:
    """Returns when a table's settlements were, ms UTC, and their rates, both of shape (n,).

    Args:
        table: of funding.
        unit: a person's word on its rates; see `ReadOptions.funding_unit`.

    Raises:
        SeriesError: it has no rates, or it cannot be told what they are.
    """
    notes = table.notes
    rates, told = _given(table, unit)
    times, rows = _one_each(table)
    times, rates = settled(times), rates[rows]
    times, rates, rows = _with_rates(times, rates, rows, notes)
    _check_filled(times, rates, table)
    if unit is not None:
        scaled = _scaled(rates, unit, times, table, rows)
    elif told is not None:
        scaled = _scaled(rates, told, times, table, rows)
        if told != "per 8 h" or bool((np.diff(times) != _EIGHT_HOURS_MS).any()):
            notes.add(f"{table.names[Role.RATE]} is read as {_SAID[told]}")
    else:
        scaled = rates
    check_size(times, scaled, notes, sure=unit is not None)
    return times, scaled


# Rates beside prices stand in a few rows of a table; a settlement without one among others is a fault.
_SPARSE = 0.5
# How many changes of the rate show that it is one per some hours, written in every row between.
_CHANGES = 4


def _with_rates(
    times: Times, rates: Floats, rows: npt.NDArray[np.int64], notes: Notes
) -> tuple[Times, Floats, npt.NDArray[np.int64]]:
    """The rows that have a rate, where most have none, as in a table of bars with a column of funding."""
    known = np.isfinite(rates)
    count = int((~known).sum())
    if count <= _SPARSE * len(rates) or not known.any():
        return times, rates, rows
    notes.add(f"{count:,} rows without a rate are left out")
    return times[known], rates[known], rows[known]


def _check_filled(times: Times, rates: Floats, table: Table) -> None:
    """Refuses rates that are repeated in every row until the next settlement, so that each would be paid many times.

    Raises:
        SeriesError: the rate changes only at every so many rows.
    """
    spacing = spacing_ms(times)
    changes = np.flatnonzero(np.diff(rates) != 0) + 1
    if len(changes) < _CHANGES or not spacing or spacing >= _EIGHT_HOURS_MS:
        return
    for hours in (8, 4, 1):
        interval = hours * _HOUR_MS
        if interval <= spacing or len(changes) > len(times) * spacing / interval + 1:
            continue
        if bool((times[changes] % interval == times[changes[0]] % interval).all()) and len(times) > 2 * len(changes):
            row = int(changes[0])
            what = (
                f"the rate changes every {hours} h at most, but stands in a row every {duration_text(spacing)}, as if "
                f"it were repeated until the next settlement; each row would be paid."
            )
            raise SeriesError(
                what,
                where=f"{table.where}, row {row + 1} ({iso(int(times[row]))})",
                fix="Keep one row per settlement.",
            )


_SAID = {
    "percent": "percent of the notional",
    "bp": "basis points of the notional",
    "annual": "a rate per year, of which each settlement pays its interval's part",
    "per 8 h": "a rate per 8 h, of which each settlement pays its interval's part",
    "absolute": "quote currency per unit of the underlying, over the mark price",
}


def _given(table: Table, unit: str | None) -> tuple[Floats, str | None]:
    """The numbers of the column of rates, percent signs resolved, and the unit that its name tells."""
    number = table.columns.get(Role.RATE)
    if number is None and Role.RATE not in table.names:
        return _freqtrade(table), None
    if number is None:
        raise SeriesError("the column of rates is empty.", where=table.where, fix="Write its rates.")
    name = fold(table.names[Role.RATE])
    told = None
    if "annual" in name or name.endswith("apr"):
        told = "annual"
    elif name.endswith(("bp", "bps")):
        told = "bp"
    elif name.startswith("absolute"):
        told = "absolute"
    elif name.endswith("8h"):
        told = "per 8 h"
    if number.percent and unit in (None, "percent", "annual"):
        if told is None and unit != "annual":
            table.notes.add("rates with a percent sign are read as percent of the notional")
        return number.values / 100, told if unit is None else None
    if name.endswith(("%", "pct", "percent")):
        if told == "annual":
            table.notes.add(f"{table.names[Role.RATE]} is in percent")
            return number.values / 100, told
        told = told or "percent"
    return number.values, told


def _freqtrade(table: Table) -> Floats:
    """The column `open` of freqtrade's files of funding, where the other prices say nothing."""
    rates = table.values(Role.OPEN)
    others = [table.values(role) for role in (Role.HIGH, Role.LOW, Role.CLOSE)]
    silent = rates is not None and all(o is None or bool(((o == 0) | (o == rates)).all()) for o in others)
    if rates is None or not silent or not bool((np.abs(rates) < 1).all()):
        raise SeriesError(
            "there is no column 'funding_rate'; the columns are those of bars.",
            where=table.where,
            fix="Name it one of: funding_rate, fundingRate, rate.",
        )
    table.notes.add("rates are read from the column open, where freqtrade keeps them")
    return rates


def _one_each(table: Table) -> tuple[Times, npt.NDArray[np.int64]]:
    """The settlements' times and the row of each: of predicted rates the last before their settlement."""
    rows = np.arange(len(table.times_ms))
    own = fold(table.names[Role.TIME]) if Role.TIME in table.names else ""
    if table.settled_at is None or own in SETTLEMENT_TIMES:
        return table.times_ms, rows
    due = table.settled_at
    if not len(due):
        return due, rows
    last = np.append(due[1:] != due[:-1], True)
    if (np.diff(due[last]) <= 0).any():
        what = "the settlements that the rows predict do not follow one another in time."
        raise SeriesError(what, where=table.where, fix="Sort the rows by time.")
    column = table.names[Role.SETTLED_AT]
    table.notes.add(f"of {len(rows):,} rows of predicted rates the last before each {column} is its settlement's")
    return due[last], rows[last]


def settled(times: Times) -> Times:
    """Returns settlements' stamps without the delay of their report.

    A stamp up to 60 s after a full hour (of a series of shorter intervals: a multiple of its interval) belongs to
    that moment, one up to a second after a full minute to that minute.
    """
    if not len(times):
        return times
    minutes = times // MINUTE_MS * MINUTE_MS
    spacing = spacing_ms(minutes)
    unit = _HOUR_MS if spacing >= _HOUR_MS or not spacing else spacing
    past = times % unit
    late = times % MINUTE_MS
    snapped = np.where(late <= _LAG_MS, times - late, times)
    if unit < 10 * MINUTE_MS:
        return snapped
    return np.where(past <= _REPORT_MS, times - past, snapped)


def _scaled(rates: Floats, unit: str, times: Times, table: Table, rows: npt.NDArray[np.int64]) -> Floats:
    if unit == "percent":
        return rates / 100
    if unit == "bp":
        return rates / 10_000
    if unit in ("annual", "per 8 h"):
        if len(times) < 2:
            what = f"the interval of a single settlement is not known, and its rate is {unit}."
            raise SeriesError(what, where=table.where, fix="Give at least two, or the rate per settlement.")
        # Where settlements are missing, a rate pays for its own interval and not for the gap.
        steps = np.minimum(np.diff(times), max(spacing_ms(times), _EIGHT_HOURS_MS))
        return np.asarray(rates * np.append(steps[:1], steps) / (_YEAR_MS if unit == "annual" else _EIGHT_HOURS_MS))
    if unit == "absolute":
        marks = table.values(Role.MARK)
        if marks is None:
            what = "rates in quote currency per unit of the underlying need a price, and there is no column of marks."
            raise SeriesError(what, where=table.where, fix="Add a column mark_price, or write fractions.")
        return np.asarray(rates / marks[rows])
    return rates


def check_size(times: Times, rates: Floats, notes: Notes, *, sure: bool = False) -> None:
    """Adds a note where rates are larger than usual.

    Args:
        times: of the settlements, ms UTC.
        rates: as fractions.
        notes: the note is added.
        sure: whether a person has said the unit.

    Raises:
        SeriesError: they are so large that they must be something else, and nobody has said the unit.
    """
    known = rates[np.isfinite(rates)]
    if not len(known):
        return
    if not sure and (np.abs(known) >= 1).any():
        row = int(np.argmax(np.abs(np.nan_to_num(rates)) >= 1))
        what = f"the funding rate is {rates[row]:.10g}; it must be between -1 and 1 (a fraction: 0.0001 is 1 bp)."
        raise SeriesError(what, where=f"{notes.where}, row {row + 1} ({iso(int(times[row]))})", fix=_SAY)
    interval = spacing_ms(times) or _EIGHT_HOURS_MS
    mean = float(np.abs(known).mean()) * _EIGHT_HOURS_MS / max(interval, MINUTE_MS)
    if mean <= _NOTED_MEAN:
        return
    size = f"a mean of {mean * 1e4:,.4g} bp per 8 h is {mean / 1e-4:,.3g} times the usual 1 bp"
    if mean > _REFUSED_MEAN and not sure:
        raise SeriesError(f"the rates cannot be fractions of the notional: {size}.", where=notes.where, fix=_SAY)
    if sure:
        notes.add(size)
    else:
        notes.add(f"{size}; if the rates are no fractions, say so with --funding-unit")
