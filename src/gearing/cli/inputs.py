"""What backtest, compare and sweep are given: their common options, and what is made of them."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from gearing.cli.output import write_out
from gearing.errors import InputError, SpecError

if TYPE_CHECKING:
    import polars as pl

    from gearing.core.token import Token
    from gearing.market.reading.options import ReadOptions
    from gearing.market.series import Prices

FRAMES = (".parquet", ".pq", ".csv", ".feather", ".arrow", ".ipc", ".xlsx")
FIGURES = (".html", ".htm")


class Stamp(StrEnum):
    """What the time of a bar means."""

    OPEN = "open"
    CLOSE = "close"


class Intrabar(StrEnum):
    """Where triggers act inside a bar."""

    CLOSE = "close"
    WORST = "worst"


def complete_preset(incomplete: str) -> list[str]:
    """Returns the presets that a half-typed name may mean."""
    from gearing.core import catalog as presets

    return [name for name in presets.names() if name.startswith(incomplete)]


TokenArgument = Annotated[Path | None, typer.Argument(metavar="TOKEN.toml", help="The token's file; or give --preset.")]
PresetOption = Annotated[
    str | None,
    typer.Option(help="An issuer's token in place of a file: ftx.", autocompletion=complete_preset),
]
TargetOption = Annotated[
    float | None, typer.Option(help="Target leverage, such as 3 or -1.", show_default="the file's; or 3, or 2")
]
UnderlyingOption = Annotated[
    str | None,
    typer.Option(help="What the prices are of, such as BTC, whatever they say.", show_default="that of the prices"),
]
PricesOption = Annotated[
    list[Path],
    typer.Option(
        metavar="[NAME=]FILE",
        help="Bars: CSV, JSON, Parquet or Feather. NAME is the symbol of a leg or contract; again for each file.",
        show_default=False,
    ),
]
SymbolOption = Annotated[
    str | None, typer.Option(help="Whose rows, if a file holds several symbols, for a token of one leg.")
]
StampOption = Annotated[Stamp, typer.Option(help="What the time of a bar means.")]
FundingOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="[NAME=]FILE", help="Settlements of perpetuals, likewise.", show_default=False),
]
DividendsOption = Annotated[
    list[Path] | None, typer.Option(metavar="[NAME=]FILE", help="Dividends, likewise.", show_default=False)
]
RatesOption = Annotated[
    str | None,
    typer.Option(
        metavar="[NAME=]FILE",
        help="The yearly reference rate of swaps and cash: a file, or a rate such as 5%. NAME chooses of several.",
    ),
]
UnderlyingPricesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="[NAME=]FILE", help="Prices that the result is held against, where they are not those of what is held."
    ),
]
TimeFormatOption = Annotated[
    str | None,
    typer.Option(
        help='How a file writes its times: day-first, month-first, s, ms, us, ns, or a format such as "%m/%d/%y".',
        show_default="as the file tells",
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        help="Names for a file's columns in their order, time,open,high,low,close,volume (_ leaves one out); or "
        "close=LAST,time=WHEN.",
        show_default="as the file tells",
    ),
]
DecimalOption = Annotated[str | None, typer.Option(help='"." or ",".', show_default="as the file tells")]
VolumeUnitOption = Annotated[
    str | None,
    typer.Option(
        help="What volume counts: base, quote, or the units of the underlying in a contract, such as 0.01.",
        show_default="base",
    ),
]
FundingUnitOption = Annotated[
    str | None,
    typer.Option(
        help="What funding rates are: fraction, percent, bp, annual, or absolute (quote currency per unit).",
        show_default="as the file tells",
    ),
]
RatesUnitOption = Annotated[
    str | None, typer.Option(help="What --rates are: fraction or percent.", show_default="as the file tells")
]
StartOption = Annotated[str | None, typer.Option(help="Leave out what was known before it, UTC.")]
EndOption = Annotated[str | None, typer.Option(help="Leave out what was known at or after it, UTC.")]
EquityOption = Annotated[float, typer.Option(help="Capital before the opening trade.")]
PeriodsOption = Annotated[
    float | None,
    typer.Option(
        help="Periods a year of volatility, Sharpe and tracking.", show_default="365 days, 252 if listed, 52 weeks …"
    ),
]
IntrabarOption = Annotated[
    Intrabar,
    typer.Option(help="Where triggers act: at the close, or where low and high reach them, the adverse side first."),
]
TakerFeeOption = Annotated[str | None, typer.Option(help="The venue's commission: 0.0005 or 0.05%.")]
HalfSpreadOption = Annotated[str | None, typer.Option(help="Half the bid-ask spread: 0.0002 or 0.02%.")]
ImpactOption = Annotated[str | None, typer.Option(help="Half spread added per √(traded / volume of the last 24 h).")]
ManagementOption = Annotated[str | None, typer.Option(help="The issuer's fee: 0.0003 or 0.03%.")]
PlotOption = Annotated[Path | None, typer.Option(help="Write a figure, as HTML.")]


@contextlib.contextmanager
def noted_once() -> Iterator[None]:
    """Lets each DataWarning through once: many tokens on one path find the same fault in it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text, category in dict.fromkeys((str(found.message), found.category) for found in caught):
        warnings.warn(text, category, stacklevel=3)


class Overrides(NamedTuple):
    """Costs and fees given on the command line, as text; None keeps the token's own."""

    taker_fee: str | None = None
    half_spread: str | None = None
    impact: str | None = None
    management_per_day: str | None = None

    def on(self, token: Token) -> Token:
        """Returns the token with these in place of its own.

        Raises:
            SpecError: one is no rate, or out of bounds.
        """
        import msgspec

        given = {name: text for name, text in self._asdict().items() if text is not None}
        fee = given.pop("management_per_day", None)
        fees: dict[str, Any] = {} if fee is None else {"management_per_day": fee, "management_per_year": 0.0}
        try:
            return msgspec.structs.replace(
                token,
                costs=msgspec.structs.replace(token.costs, **given),
                fees=msgspec.structs.replace(token.fees, **fees),
            )
        except SpecError as error:
            options = [p._replace(place=f"--{p.place.replace('_', '-')}") for p in error.problems]
            raise SpecError(options) from None


class Choice(NamedTuple):
    """The one token that the options choose."""

    file: Path | None
    preset: str | None
    target: float | None
    underlying: str | None
    overrides: Overrides

    def token(self, prices: Prices | None = None) -> Token:
        """Returns the token of a file or of a preset.

        Args:
            prices: a preset takes its underlying from them, unless it is given.

        Raises:
            InputError: both or neither of file and preset are given, or no valid token stands there.
        """
        fix = "Give one of the two: TOKEN.toml, or --preset ftx --target 3."
        if self.file is not None and self.preset is not None:
            raise InputError("both a token's file and --preset are given.", fix=fix)
        if self.preset is not None:
            return self.overrides.on(preset_token(self.preset, self.target, self.underlying, prices))
        if self.file is None:
            raise InputError("no token is given.", fix=fix)
        return self.overrides.on(file_token(self.file, self.target))


def file_token(file: Path, target: float | None) -> Token:
    """Returns the token of a file, with another target if one is given."""
    import msgspec

    from gearing.market.token_file import read_token

    token = read_token(file)
    return token if target is None else msgspec.structs.replace(token, target=target)


def preset_token(preset: str, target: float | None, underlying: str | None, prices: Prices | None) -> Token:
    """Returns the whole token of an issuer; without a target, the one its rule is told by."""
    from gearing.core import catalog as presets

    if target is None:
        target = presets.PRESETS[preset].example if preset in presets.PRESETS else 3.0
    from gearing.market.symbols import quote_of, underlying_of

    name = underlying or (underlying_of(prices.symbol) if prices else "")
    settlement = (quote_of(prices.symbol) if prices else None) or "USDT"
    return presets.token(preset, name, target, name=None if name else "", settlement=settlement)


def read_options(
    time_format: str | None = None,
    columns: str | None = None,
    decimal: str | None = None,
    volume_unit: str | None = None,
    funding_unit: str | None = None,
) -> ReadOptions:
    """Returns what the options say about the files.

    Raises:
        InputError: one cannot be.
    """
    from gearing.market.reading.options import ReadOptions

    named: dict[str, str] | list[str] | None = None
    if columns is not None:
        parts = [part.strip() for part in columns.split(",")]
        pairs = [part.partition("=") for part in parts]
        if all(sign for _, sign, _ in pairs):
            named = {name.strip(): own.strip() for name, _, own in pairs}
        elif any(sign for _, sign, _ in pairs):
            fix = "Write time,open,high,low,close,volume or close=LAST,time=WHEN."
            raise InputError("--columns mixes names and name=column.", where=f"--columns {columns}", fix=fix)
        else:
            named = parts
    try:
        return ReadOptions(time_format, named, decimal, volume_unit, funding_unit)
    except InputError as error:
        raise InputError(error.what, where="the options of the files", fix=error.fix) from None


def check_study_outputs(
    outputs: Mapping[str, tuple[Path | None, Sequence[str]]], inputs: Iterable[Path | None], *, force: bool
) -> None:
    """Checks before a long run that its results can be written, and overwrite nothing that must be kept.

    Args:
        outputs: for each option, its file and the endings that it may have; none: any, and JSON is written.
        inputs: the files that are read.
        force: whether existing files of another kind are overwritten.

    Raises:
        InputError: an ending names no format, or see `gearing.outputs.check_outputs`.
    """
    from gearing.filekind import KINDS_BY_ENDING
    from gearing.outputs import Output, check_outputs, input_files

    given = []
    for option, (path, endings) in outputs.items():
        if path is None:
            continue
        ending = path.suffix.lower()
        if endings and ending and ending not in endings:
            raise InputError(
                f"the ending {path.suffix!r} names no format that can be written here.",
                where=f"{option} {path}",
                fix=f"Write {' or '.join(endings)}.",
            )
        kind = KINDS_BY_ENDING[ending or endings[0]] if endings else "json"
        given.append(Output(option=option, path=path, kind=kind))
    check_outputs(given, input_files(inputs), force=force)


def table_outputs(
    out: Path | None, plot: Path | None, report: Path | None
) -> dict[str, tuple[Path | None, Sequence[str]]]:  # fmt: skip
    """Returns the outputs of a command whose answer is a table, for `check_study_outputs`."""
    return {"--out": (out, (*FRAMES, ".json")), "--plot": (plot, FIGURES), "--report": (report, FIGURES)}


def json_text(payload: Mapping[str, Any], schema: str) -> str:
    """Returns an answer as the JSON that `emit` prints."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode({"schema": schema, **payload}), indent=2).decode() + "\n"


def write_answer(
    path: Path | None, answer: Mapping[str, Any], schema: str, frame: pl.DataFrame, *, command: str, force: bool
) -> None:  # fmt: skip
    """Writes an answer as JSON, or its table, by the ending of the file; nothing without one."""
    if path is not None and path.suffix.lower() == ".json":
        write_out(path, json_text(answer, schema), "json", force=force)
    elif path is not None:
        write_table(path, frame, command=command, force=force)


def write_table(path: Path, frame: pl.DataFrame, *, command: str, force: bool) -> None:
    """Writes a frame by the ending of its file, wholly or not at all, and says so on stderr."""
    from gearing.market.write import write_frame

    write_frame(frame, path, force=force, about={"command": command})
    typer.echo(f"wrote {path}", err=True)


def write_figure(path: Path, shown: Any, *, force: bool) -> None:
    """Writes the figure of a result as one HTML file that needs no network, and says so on stderr."""
    write_out(path, shown.plot().to_html(include_plotlyjs=True, full_html=True), "html", force=force)
