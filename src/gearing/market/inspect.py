"""Looking a series over: what it holds, and what a person should know before trusting it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gearing.market.series import Funding, Gap, Prices
from gearing.market.times import duration_text, iso

# A bar without any range is rare on a liquid venue and two are a stall; equal closes alone may be chance.
_FLAT_BARS_MIN = 2
_EQUAL_CLOSES_MIN = 5
_LISTED = 5


def inspect_series(series: Prices | Funding) -> dict[str, Any]:
    """Returns what a series holds, as plain data: period, spacing, gaps, extremes, stalls.

    Args:
        series: prices or funding.

    Returns:
        Facts by name; `faults` lists, as sentences, what makes it unfit (gaps) or has to be confirmed (steps that
        look like a split), `notes` what was done to read it and what only looks odd.
    """
    gaps = series.gaps()
    facts: dict[str, Any] = {
        "kind": "prices" if isinstance(series, Prices) else "funding",
        "symbol": series.symbol,
        "rows": len(series),
        "start": series.start,
        "end": series.end,
        "spacing_ms": series.spacing_ms,
        "gap_count": len(gaps),
        "missing_rows": sum(gap.missing for gap in gaps),
        "longest_gaps": [_gap(gap) for gap in sorted(gaps, key=lambda gap: gap.after_ms - gap.until_ms)[:_LISTED]],
        "faults": [],
        "notes": list(series.notes),
    }
    if gaps:
        what = f"{len(gaps):,} gap{'s' if len(gaps) > 1 else ''}, {_rows(facts['missing_rows'])} missing"
        facts["faults"].append(f"{what}; the longest {max(gaps, key=lambda gap: gap.until_ms - gap.after_ms)}.")
    if isinstance(series, Prices):
        facts["suspects"] = [str(suspect) for suspect in series.suspects]
        facts["faults"] += [f"Suspect: {suspect}." for suspect in facts["suspects"][:_LISTED]]
        if len(facts["suspects"]) > _LISTED:
            facts["faults"].append(f"And {len(facts['suspects']) - _LISTED:,} more such steps.")
    facts |= _prices(series, facts["notes"]) if isinstance(series, Prices) else _funding(series)
    return facts


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _gap(gap: Gap) -> dict[str, Any]:
    return {"after": iso(gap.after_ms), "until": iso(gap.until_ms), "missing": gap.missing}


def _prices(prices: Prices, notes: list[str]) -> dict[str, Any]:
    moves = prices.close[1:] / prices.close[:-1] - 1
    largest = np.argsort(-np.abs(moves), kind="stable")[:_LISTED]
    facts: dict[str, Any] = {
        "first": float(prices.close[0]),
        "last": float(prices.close[-1]),
        "lowest": float((prices.close if prices.low is None else prices.low).min()),
        "highest": float((prices.close if prices.high is None else prices.high).max()),
        "largest_moves": [{"time": iso(int(prices.times_ms[row + 1])), "move": float(moves[row])} for row in largest],
        "flat_stretches": _flat(prices),
    }
    if prices.volume is not None:
        facts["zero_volume_rows"] = int(np.count_nonzero(prices.volume == 0))
        if facts["zero_volume_rows"] == len(prices):
            notes.append("The volume is 0 throughout, so that it says nothing about market impact.")
        elif facts["zero_volume_rows"]:
            notes.append(f"{_rows(facts['zero_volume_rows'])} without volume.")
    if facts["flat_stretches"]:
        longest = facts["flat_stretches"][0]
        notes.append(f"The price stands still for {_rows(longest['rows'])} after {longest['after']}.")
    return facts


def _flat(prices: Prices) -> list[dict[str, Any]]:
    """The longest stretches in which neither the close nor the bar's own range moves."""
    still = prices.close[1:] == prices.close[:-1]
    least = _EQUAL_CLOSES_MIN
    if prices.high is not None and prices.low is not None:
        least = _FLAT_BARS_MIN
        still &= prices.high[1:] == prices.low[1:]
    edges = np.flatnonzero(np.diff(np.concatenate(([False], still, [False])).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    lengths = ends - starts
    order = np.argsort(-lengths, kind="stable")[:_LISTED]
    return [
        {"after": iso(int(prices.times_ms[starts[row]])), "rows": int(lengths[row])}
        for row in order
        if lengths[row] >= least
    ]


def _funding(funding: Funding) -> dict[str, Any]:
    return {
        "mean": float(funding.rates.mean()),
        "lowest": float(funding.rates.min()),
        "highest": float(funding.rates.max()),
        "negative_share": float(np.mean(funding.rates < 0)),
    }


def table_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns the facts of `inspect_series` as (name, text) rows for people."""
    rows = [
        ("holds", f"{facts['kind']} {facts['symbol']}".strip()),
        ("rows", f"{facts['rows']:,} × {duration_text(facts['spacing_ms'])}"),
        ("period", f"{facts['start']} to {facts['end']}"),
        (
            "gaps",
            f"{facts['gap_count']:,} ({_rows(facts['missing_rows'])} missing)" if facts["gap_count"] else "none",
        ),
    ]
    rows += [("", f"{gap['after']} to {gap['until']}, {gap['missing']:,} missing") for gap in facts["longest_gaps"]]
    if facts["kind"] == "funding":
        rows += [(name, f"{facts[name] * 1e4:.4g} bp") for name in ("mean", "lowest", "highest")]
        return [*rows, ("negative", f"{facts['negative_share']:.1%} of settlements")]
    rows += [(name, f"{facts[name]:,.8g}") for name in ("first", "last", "lowest", "highest")]
    moves = [f"{move['move']:+.2%} at {move['time']}" for move in facts["largest_moves"]]
    rows += [("largest moves" if row == 0 else "", text) for row, text in enumerate(moves)]
    if "zero_volume_rows" in facts:
        rows.append(("no volume", _rows(facts["zero_volume_rows"])))
    flat = [f"{_rows(stretch['rows'])} after {stretch['after']}" for stretch in facts["flat_stretches"]] or ["none"]
    return rows + [("standing still" if row == 0 else "", text) for row, text in enumerate(flat)]
