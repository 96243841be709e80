"""One token over a grid of its own fields: thousands of rules on one path."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import polars as pl

from gearing.core.fees import Costs
from gearing.core.presets import preset
from gearing.core.record import Record, Shown, shown_figure
from gearing.core.rule import Rule
from gearing.core.token import Token
from gearing.errors import InputError, SpecError
from gearing.market.legs import RanOn, Sources
from gearing.study.backtest import CAPITAL, as_costs, as_token, capital
from gearing.study.cautions import caution
from gearing.study.compare import figures_of
from gearing.study.inputs import Inputs
from gearing.study.native import Library, native
from gearing.study.universe import Universe

Grid = Mapping[str, Sequence[Any]]


class Sweep(Shown):
    """What a sweep found.

    Args:
        token: the token that was varied.
        grid: for each field its values.
        frame: one row per combination: the grid's fields, then the summary's figures.
        ran_on: the series that the first combination ran on, if they are known.
        library: of the frame that `frame` returns.
    """

    def __init__(
        self, token: Token, grid: Grid, frame: pl.DataFrame, ran_on: RanOn | None = None, library: Library = "polars"
    ) -> None:  # fmt: skip
        self.token, self.grid, self.table, self.ran_on = token, dict(grid), frame, ran_on
        self._library = library

    @property
    def frame(self) -> Any:
        """The frame, in pandas where the series came from there."""
        return native(self.table, self._library)

    def best(self, figure: str = "total_return", *, most: bool = True) -> dict[str, Any]:
        """Returns the row with the largest (or smallest) value of one figure, as a mapping.

        Raises:
            InputError: there is no such figure.
        """
        if figure not in self.table.columns:
            raise InputError(f"there is no figure {figure!r}.", fix=f"Choose one of: {', '.join(self.table.columns)}.")
        return self.table.sort(figure, descending=most, nulls_last=True).row(0, named=True)

    def plot(self, figure: str = "total_return") -> Any:
        """Returns a Plotly figure: a line or heat map of one figure, parallel axes from three fields on."""
        return shown_figure(self, figure)

    def report(self, path: str | Path, *, figure: str = "total_return", force: bool = False) -> None:
        """Writes a report of this as one HTML file that needs no network, wholly or not at all.

        Args:
            path: the file to write.
            figure: what the combinations are judged by.
            force: replace an existing file of another kind; a database is never replaced.

        Raises:
            InputError: there is no such figure, or the path holds another kind of file, or it cannot be written.
        """
        from gearing.study.report import write_sweep

        write_sweep(self, path, figure=figure, force=force)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name} × {len(values)}" for name, values in self.grid.items())
        low, high = (float(x) for x in self.table["total_return"].sort().gather([0, -1]))
        return f"Sweep({self.token.symbol}, {fields}: return {low:+.1%} to {high:+.1%})"


def _replaced(record: Any, path: list[str], value: Any, full: str) -> Any:
    """Returns the record with the field at a dotted path replaced; lists take a number as a step."""
    step = path[0]
    if isinstance(record, tuple):
        if not step.isdigit() or int(step) >= len(record):
            raise InputError(f"no item {step!r}: there are {len(record)}.", where=full, fix="Count from 0.")
        changed = value if len(path) == 1 else _replaced(record[int(step)], path[1:], value, full)
        return (*record[: int(step)], changed, *record[int(step) + 1 :])
    fields = list(record.__struct_fields__) if isinstance(record, Record) else []
    if step not in fields:
        known = (
            f"Fields here: {', '.join(fields)}." if fields else "There is nothing below this field; set it as a whole."
        )
        raise InputError(f"no field {step!r}.", where=full, fix=known)
    changed = value if len(path) == 1 else _replaced(getattr(record, step), path[1:], value, full)
    return msgspec.structs.replace(record, **{step: changed})


def vary(token: Token, point: Mapping[str, Any]) -> Token:
    """Returns the token with some of its fields replaced, named by dotted paths such as "rule.band_upper".

    A rule named as a preset takes the varied target first and is then changed field by field.

    Raises:
        InputError: a path leads nowhere, or the fields together make no token.
    """
    changes = {"target": point["target"]} if "target" in point else {}
    if "rule" in point:
        changes["rule"] = point["rule"]
    varied: Token = msgspec.structs.replace(token, **changes)
    if any(path.startswith("rule.") for path in point) and isinstance(varied.rule, str):
        varied = msgspec.structs.replace(varied, rule=preset(varied.rule, target=varied.target))
    # The rule's levels may contradict each other while only half of them are set, so the token sees the
    # finished rule only.
    rule: Rule | str = varied.rule
    for path, value in point.items():
        steps = path.split(".")
        if steps[0] == "rule" and len(steps) > 1:
            rule = _replaced(rule, steps[1:], value, path)
        elif path not in ("target", "rule"):
            varied = _replaced(varied, steps, value, path)
    result: Token = msgspec.structs.replace(varied, rule=rule)
    return result


def _is_list(values: Any) -> bool:
    return isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping))


def _points(grid: Grid) -> list[dict[str, Any]]:
    if not grid or not isinstance(grid, Mapping) or not all(map(_is_list, grid.values())):
        raise InputError("a sweep needs a list of values for each field.", where="grid", fix='Pass {"target": [2, 3]}.')
    odd = [path for path in grid if not isinstance(path, str)]
    if odd:
        raise InputError(
            f"{odd[0]!r} is no field.", where="grid", fix='Name fields by text, such as "rule.band_upper".'
        )
    grid = {path: list(values.tolist() if hasattr(values, "tolist") else values) for path, values in grid.items()}
    empty = [path for path, values in grid.items() if not values]
    if empty:
        raise InputError("no values.", where=f"grid {empty[0]}", fix="Give at least one value or drop the field.")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


@contextmanager
def _progress(shown: bool, total: int) -> Iterator[Callable[[int], None] | None]:
    """Shows a progress bar on stderr while many rules run."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rules", total=total)
        yield lambda n: bar.update(task, completed=n)


def sweep(
    token: Token,
    grid: Grid,
    prices: Any,
    *,
    funding: Any = None,
    costs: Costs | None = None,
    equity: float = CAPITAL,
    rates: Any = None,
    dividends: Any = None,
    underlying: Any = None,
    periods_per_year: float | None = None,
    intrabar: Literal["close", "worst"] = "close",
    progress: bool = False,
) -> Sweep:
    """Runs every combination of a grid of fields over one path, on all cores.

    Args:
        token: the token to vary.
        grid: for each field, by its dotted path ("target", "rule.band_upper", "fees.management_per_day",
            "costs.taker_fee", "rule.schedule.0.every"), the values to try.
        prices, funding, costs, equity, rates, dividends, underlying, periods_per_year, intrabar: as for `backtest`.
        progress: show a progress bar on stderr.

    Returns:
        The sweep; its frame has one row per combination, in the grid's order (the last field fastest).

    Raises:
        InputError: a field does not exist, a combination makes no token, or the series cannot be used.
    """
    if isinstance(prices, Universe):
        what = "a sweep runs on one underlying, and a universe has several."
        raise InputError(what, where="prices", fix="Sweep each of its series, or compare tokens on it.")
    points = _points(grid)
    token = as_token(token)
    amount, inputs = (
        capital(equity),
        Inputs(Sources(prices, funding, dividends, rates, underlying), periods_per_year, intrabar),
    )
    token = msgspec.structs.replace(token, costs=as_costs(costs, token))
    tokens = []
    for point in points:
        try:
            tokens.append(vary(token, point))
        except SpecError as error:
            at = ", ".join(f"{path} = {value!r}" for path, value in point.items())
            raise SpecError(error.problems, where=f"at {at}") from None
    caution(inputs, tokens, [t.costs for t in tokens], amount)
    with _progress(progress, len(tokens)) as done:
        summaries = figures_of(tokens, inputs, [t.costs for t in tokens], amount, done)
    found = pl.DataFrame([msgspec.structs.asdict(s) for s in summaries], infer_schema_length=None)
    tried = pl.DataFrame({name: [_cell(point[name]) for point in points] for name in grid}, strict=False)
    frame = pl.concat([tried, found.drop(*set(grid) & set(found.columns))], how="horizontal")
    return Sweep(token, grid, frame, inputs.ran_on(tokens[0]), inputs.library)


def _cell(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool)) or value is None else repr(value)
