"""`gearing market`: invent a market, download one, look a file over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli.inputs import (
    ColumnsOption,
    DecimalOption,
    EndOption,
    FundingUnitOption,
    Stamp,
    StampOption,
    StartOption,
    TimeFormatOption,
    VolumeUnitOption,
    read_options,
)
from gearing.cli.output import ForceOption, JsonFlag, console, count, emit, pairs, show_error
from gearing.cli.tiers import tiers
from gearing.errors import DataWarning

if TYPE_CHECKING:
    from gearing.market.fetch import Progress
    from gearing.market.fetch_file import Fetched

FAULT_FOUND = 3

market_app = typer.Typer(
    help="Price and funding series: invent, download, look over; a venue's margin tiers.", no_args_is_help=True
)
market_app.command()(tiers)


class SeriesKind(StrEnum):
    """What `gearing market check` takes a file for."""

    AUTO = "auto"
    PRICES = "prices"
    FUNDING = "funding"


@market_app.command()
def make(
    out: Annotated[Path, typer.Option(help="A directory, or the file of the prices; funding goes beside it.")] = Path(),
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same market.")] = 0,
    days: Annotated[int, typer.Option(min=1, help="Length in days.")] = 365,
    interval: Annotated[str, typer.Option(help='Length of a bar: "1m", "5m", "1h", "1d".')] = "1m",
    start: Annotated[str, typer.Option(help="When the first price is known, UTC.")] = "2023-01-01",
    price: Annotated[float, typer.Option(help="The first price.")] = 40_000.0,
    volatility: Annotated[float, typer.Option(help="Yearly, jumps included: 0.7 is 70 %.")] = 0.7,
    drift: Annotated[float, typer.Option(help="Yearly growth of the expected price.")] = 0.0,
    jumps_per_year: Annotated[float, typer.Option(help="Expected number of jumps.")] = 25.0,
    jump_size: Annotated[float, typer.Option(help="Standard deviation of a jump: 0.04 is 4 %.")] = 0.04,
    clustering: Annotated[float, typer.Option(help="How much volatility itself varies; 0: not.")] = 0.6,
    funding: Annotated[bool, typer.Option(envvar="GEARING_WITH_FUNDING", help="Write funding too.")] = True,
    symbol: Annotated[str, typer.Option(help="Name of the market.")] = "BTC",
    tick: Annotated[float, typer.Option(help="Prices are multiples of it; 0: of any size.")] = 0.01,
    force: ForceOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Invents a market with jumps, clustered volatility and funding, and writes it as Parquet."""
    from gearing.market.synthetic import make_market
    from gearing.market.write import write_series

    price_file, funding_file = _places(out, "prices", "funding")
    _check_tables(out, (price_file, funding_file)[: 2 if funding else 1], force=force)
    _make_directory(out, price_file)
    prices, rates = make_market(
        seed=seed,
        days=days,
        interval=interval,
        start=start,
        price=price,
        volatility=volatility,
        drift=drift,
        jumps_per_year=jumps_per_year,
        jump_size=jump_size,
        clustering=clustering,
        funding=funding,
        symbol=symbol,
        tick=tick,
    )
    written = {"prices": (prices, price_file)} | ({"funding": (rates, funding_file)} if funding else {})
    for series, path in written.values():
        write_series(series, path, force=force)
    payload = {
        "seed": seed,
        **{
            name: {"file": str(path), "rows": len(series), "start": series.start, "end": series.end}
            for name, (series, path) in written.items()
        },
    }
    emit(
        payload,
        "gearing.market.make/1",
        as_json,
        lambda: pairs((str(p), repr(s)) for s, p in written.values()),
    )


@market_app.command()
def fetch(
    exchange: Annotated[str, typer.Argument(help="ccxt's name: binance, bybit, okx.", show_default=False)],
    market: Annotated[str, typer.Argument(help="A perpetual: BTC/USDT:USDT.", show_default=False)],
    since: Annotated[str, typer.Option(help="First moment wanted, UTC: 2020-01-01.", show_default=False)],
    until: Annotated[str | None, typer.Option(help="Leave out what is at or after it.", show_default="now")] = None,
    timeframe: Annotated[str, typer.Option(help="Length of a bar.")] = "1m",
    out: Annotated[Path, typer.Option(help="A directory, or the file of the prices; funding goes beside it.")] = Path(),
    funding: Annotated[bool, typer.Option(envvar="GEARING_WITH_FUNDING", help="Fetch funding too.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Downloads bars and funding; the same command again goes on where the last one ended."""
    from gearing.market import fetch as download

    stem = f"{exchange}_{market.partition(':')[0].replace('/', '')}"
    price_file, funding_file = _places(out, f"{stem}_{timeframe}", f"{stem}_funding")
    # A download continues its file, and never replaces one of another kind.
    _check_tables(out, (price_file, funding_file)[: 2 if funding else 1], hint="")
    client = download.open_exchange(exchange, market)
    _make_directory(out, price_file)
    done: dict[str, Fetched] = {}
    for kind, path in (("prices", price_file), ("funding", funding_file))[: 2 if funding else 1]:
        with _bar(f"{market} {kind}") as progress:
            done[kind] = download.fetch(
                exchange,
                market,
                since=since,
                until=until,
                timeframe=timeframe,
                out=path,
                kind="prices" if kind == "prices" else "funding",
                progress=progress,
                exchange=client,
            )
    for kind, result in done.items():
        _warn_of_gaps(kind, result)
    payload = {kind: _fetched(result) for kind, result in done.items()}
    emit(payload, "gearing.market.fetch/1", as_json, lambda: pairs(_fetched_rows(done)))


@market_app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSON, Parquet or Feather.", show_default=False)],
    symbol: Annotated[str | None, typer.Option(help="Whose rows, if it holds several symbols.")] = None,
    kind: Annotated[SeriesKind, typer.Option(help="What it holds.")] = SeriesKind.AUTO,
    stamp: StampOption = Stamp.OPEN,
    time_format: TimeFormatOption = None,
    columns: ColumnsOption = None,
    decimal: DecimalOption = None,
    volume_unit: VolumeUnitOption = None,
    funding_unit: FundingUnitOption = None,
    start: StartOption = None,
    end: EndOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Says what a file holds and what is wrong with it (exit code 3: gaps, suspect steps, or no usable series)."""
    import warnings

    from gearing.market.files import read_funding, read_prices
    from gearing.market.inspect import inspect_series, table_rows
    from gearing.market.reading.table import kind_of
    from gearing.market.times import SeriesError

    schema = "gearing.market.check/1"
    reading = read_options(time_format, columns, decimal, volume_unit, funding_unit)
    chosen = kind_of(file, reading).value if kind is SeriesKind.AUTO else kind.value
    told: dict[str, Any] = {
        "symbol": symbol,
        "start": start,
        "end": end,
        "time_format": time_format,
        "decimal": decimal,
    }
    try:
        with warnings.catch_warnings():
            # Gaps are among the findings below.
            warnings.simplefilter("ignore", DataWarning)
            series = (
                read_prices(file, stamp=stamp.value, columns=reading.columns, volume_unit=volume_unit, **told)
                if chosen == "prices"
                else read_funding(file, columns=reading.columns, funding_unit=funding_unit, **told)
            )
    except SeriesError as error:
        emit({"file": str(file), "kind": chosen, "usable": False, "faults": [str(error)]}, schema, as_json)
        if not as_json:
            show_error(error)
        raise typer.Exit(FAULT_FOUND) from None
    facts = inspect_series(series)

    def show() -> None:
        pairs(table_rows(facts))
        for style, sentences in (("red", facts["faults"]), ("yellow", facts["notes"])):
            for sentence in sentences:
                typer.secho(sentence, fg=style)
        if not facts["faults"]:
            typer.secho("No fault found.", fg="green")

    emit({"file": str(file), "usable": True, **facts}, schema, as_json, show)
    if facts["faults"]:
        raise typer.Exit(FAULT_FOUND)


def _places(out: Path, prices: str, funding: str) -> tuple[Path, Path]:
    """Returns the files of prices and funding that `--out` means, which may be their directory."""
    if out.suffix or (out.exists() and not out.is_dir()):
        return out, out.with_name(f"{out.stem}_funding{out.suffix}")
    return out / f"{prices}.parquet", out / f"{funding}.parquet"


def _check_tables(out: Path, files: Iterable[Path], *, force: bool = False, hint: str = "--force") -> None:
    """Refuses files that must not be overwritten, and a new directory with the name of such a file."""
    from gearing.market.write import kind_of_table
    from gearing.outputs import Output, check_outputs

    outputs = [Output(option="--out", path=file, kind=kind_of_table(file)) for file in files]
    if any(file.parent == out for file in files) and not out.exists():
        outputs = [Output(option="--out", path=out, kind=None, replaces=False)]
    check_outputs(outputs, force=force, hint=hint)


def _make_directory(out: Path, file: Path) -> None:
    """Makes the directory that `--out` means, if its parent exists."""
    from gearing.outputs import write_error

    try:
        if file.parent == out:
            out.mkdir(exist_ok=True)
    except OSError as error:
        raise write_error(out, error) from error


@contextmanager
def _bar(title: str) -> Iterator[Callable[[Progress], None]]:
    """A progress bar on stderr, fed by the download."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]:,} rows"))
    with Progress(*columns, TimeRemainingColumn(), console=console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, rows=0)

        def show(step: Any) -> None:
            span = step.until_ms - step.since_ms
            bar.update(task, total=span, completed=step.at_ms - step.since_ms, rows=step.rows)

        yield show


def _warn_of_gaps(kind: str, result: Fetched) -> None:
    import warnings

    if result.gaps:
        longest = max(result.gaps, key=lambda gap: gap.missing)
        gaps = count(len(result.gaps), "gap")
        what = f"{result.symbol} {kind}: the exchange left {gaps}; the longest is {longest}"
        warnings.warn(what, DataWarning, stacklevel=2)


def _fetched(result: Fetched) -> dict[str, Any]:
    return {
        "file": str(result.path),
        "symbol": result.symbol,
        "rows": result.rows,
        "added": result.added,
        "start": result.start,
        "end": result.end,
        "gaps": [gap._asdict() for gap in result.gaps],
    }


def _fetched_rows(done: dict[str, Fetched]) -> list[tuple[str, str]]:
    return [
        (
            str(result.path),
            f"{result.rows:,} rows ({result.added:,} new), {result.start} to {result.end}, "
            + (count(len(result.gaps), "gap") if result.gaps else "no gaps"),
        )
        for result in done.values()
    ]
