"""Reads a desk's file, and names every mistake in it with its line."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gearing.core.record import Record
from gearing.core.spec_text.lines import Lines
from gearing.desk.config import DeskConfig
from gearing.errors import Problem, SpecError
from gearing.files import read_text

EXAMPLE = """\
# A desk: `gearing up --config desk.toml`. A line that starts with # is a comment: take the # away to use it.

mode = "paper"                  # "demo": invented prices, a quick clock; "paper": given prices, simulated venue
database = "desk.db"            # each mode has its own; the paper exchange keeps desk-paper.db beside it
speed = 600                     # market seconds per second; 1 is real time
# reserve = 100000              # paid in for tokens that were wiped out, all together at most
# metrics_port = 9464           # for Prometheus: http://127.0.0.1:9464/metrics
# log = "desk.jsonl"            # every happening as a JSON line
# heads = "/other/disk/desk.heads"   # signed heads of the journal are appended here; by default next to the database
# signing_key = "desk.key"      # the private key that signs them, mode 0600; by default made next to the database

[feed]
kind = "replay"
prices = "market/prices.parquet"     # bars with a symbol column, or of one symbol
funding = "market/funding.parquet"   # settlements, likewise
symbol = "BTCUSDT"                   # of files that name none

[[tokens]]                      # again for each token
file = "BTC3L.toml"             # `gearing token new BTC3L.toml` writes one; its legs need symbols
capital = 1000000               # paid in at its launch
# book = "BTC3L"                # the venue account it trades in; by default one of its own
# leverage = 6                  # the venue's setting; by default twice what the target needs
# margin_mode = "cross"         # or "isolated"
# start_window = "10m"          # its times of day start within so long after they are stated; nobody can know when

[venue]
# latency_ms = 80               # from sending an order to knowing its fate
# seed = 0
[venue.costs]
taker_fee = "0.05%"
half_spread = "0.02%"
# impact = 0.1
liquidation_fee = "0.5%"

[breakers]                      # when a token is stopped
stale_after = "2m"              # alarm: no good price for so long
nav_drop = "50%"                # halt: NAV fell so far ...
nav_within = "1h"               # ... within this time
margin_least = 1.5              # halt: equity below so many times the maintenance margin
on_deleveraging = "freeze"      # or "rehedge"

[guard]                         # which prices are acted on
age_ms_max = 90000              # older ones are not; bars of a minute come once a minute
# ahead_ms_max = 2000
# jump_deviations = 12
# jump_least = "2%"
# divergence_max = "3%"         # between mark and index
# good_samples = 5
# warm_ms = 10000               # no quotes, and nothing dealt at once, before prices have come for so long
"""


def parse_desk(text: str, *, where: str = "") -> DeskConfig:
    """Returns the desk that a TOML text describes.

    Args:
        text: the file's.
        where: its name, for messages.

    Raises:
        SpecError: it is no TOML or no valid desk; `problems` lists every mistake with its line.
    """
    try:
        table = tomllib.loads(text.removeprefix("\ufeff"))
    except ValueError as error:
        wrong = Problem("the text", f"something else ({error})", "valid TOML", "A line is key = value.")
        raise SpecError([wrong], where=where) from None
    problems: list[Problem] = []
    made = _record(DeskConfig, table, "", problems)
    if problems:
        raise SpecError(Lines(text).placed(problems), where=where)
    return typing.cast(DeskConfig, made)


@contextlib.contextmanager
def by_line(file: Path) -> Iterator[None]:
    """Has mistakes that are found in a desk once its file was read name the file and the line too."""
    try:
        yield
    except SpecError as error:
        if error.where:
            raise
        raise SpecError(Lines(read_text(file)).placed(error.problems), where=str(file)) from None


def _record(kind: type[Record], table: Mapping[str, Any], place: str, problems: list[Problem]) -> Record | None:
    """Returns the record that a table describes; its mistakes are added to `problems`."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    given: dict[str, Any] = {}
    faulty: set[str] = set()
    for name, value in table.items():
        here = f"{place}.{name}" if place else name
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            mend = f'Did you mean "{near[0]}"?' if near else f"There are {', '.join(fields)}."
            problems.append(Problem(here, "an unknown one", "a known field", mend))
            continue
        count = len(problems)
        given[name] = _value(fields[name].type, value, here, problems)
        if len(problems) > count:
            faulty.add(name)
            del given[name]
    missing = {name for name, field in fields.items() if field.required and name not in given}
    try:
        # None makes the record say what it expects where nothing stands.
        return kind(**given, **dict.fromkeys(missing))
    except SpecError as error:
        for problem in error.problems:
            name = problem.place.partition(".")[0].partition("[")[0]
            if name in faulty:
                continue
            if name in missing:
                problem = problem._replace(found="nothing", fix=f"Add a line: {name} = ...")  # noqa: PLW2901
            problems.append(problem.under(place) if place else problem)
    return None


def _value(wanted: Any, value: Any, place: str, problems: list[Problem]) -> Any:
    kind = wanted if _is_record(wanted) else None
    items = typing.get_args(wanted)[0] if typing.get_origin(wanted) is tuple else None
    if kind is not None:
        if isinstance(value, dict):
            return _record(kind, value, place, problems)
        problems.append(Problem(place, repr(value), "a table", f"Write [{place}] with its fields below it."))
    elif items is not None:
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return tuple(_record(items, item, f"{place}[{n}]", problems) for n, item in enumerate(value))
        problems.append(Problem(place, repr(value), "a list of tables", f"Write [[{place}]] for each."))
    elif isinstance(value, (dict, list)):
        problems.append(Problem(place, "a table or a list", "a single value"))
    elif isinstance(value, bool) or not isinstance(value, (int, float, str)):
        problems.append(Problem(place, str(value).lower(), "a number or a text"))
    elif wanted is int and not isinstance(value, int):
        problems.append(Problem(place, repr(value), "a whole number"))
    return value


def _is_record(wanted: Any) -> bool:
    origin = typing.get_origin(wanted)
    return origin is not types.UnionType and inspect.isclass(wanted) and issubclass(wanted, Record)
