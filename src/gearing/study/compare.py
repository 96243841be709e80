"""Many tokens on one path, each with its own fees and with none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
import polars as pl

from gearing.core.fees import Costs, Fees
from gearing.core.pack import pack, schedule_times_ms
from gearing.core.record import Shown
from gearing.core.token import Token
from gearing.errors import InputError
from gearing.kernels.many import run_rules
from gearing.kernels.pyramid import Floats
from gearing.market.legs import Sources
from gearing.study.backtest import CAPITAL, as_costs, backtest, capital, run_backtest
from gearing.study.cautions import caution
from gearing.study.inputs import Inputs
from gearing.study.native import native
from gearing.study.periods import periods_of
from gearing.study.result import Result
from gearing.study.summary import Summary, summarise
from gearing.study.universe import Universe, over_universe


def figures_of(
    tokens: Sequence[Token],
    inputs: Inputs,
    costs: Sequence[Costs],
    equity: float,
    done: Callable[[int], None] | None = None,
) -> list[Summary]:
    """Returns the summary of each token; those of one perpetual run on all cores.

    Args:
        tokens: the specifications, k of them.
        inputs: the series.
        costs: what trading costs each, k of them.
        equity: the capital of each.
        done: told how many are done, now and then.
    """
    quick = [k for k, token in enumerate(tokens) if inputs.is_plain(token) and not token.settles_in_coin]
    if inputs.intrabar != "close":
        quick = []
    groups: dict[str, list[int]] = {}
    for k in quick:
        groups.setdefault(tokens[k].legs[0].symbol, []).append(k)
    found: dict[int, Summary] = {}
    for members in groups.values():
        prices, funding = inputs.plain(tokens[members[0]])
        flats = [pack(tokens[k], costs[k]) for k in members]
        calendars = [prices.calendar(funding, schedule_times_ms(tokens[k].resolved_rule)) for k in members]
        before = len(found)
        per_year = inputs.periods_per_year or periods_of(prices).per_year
        figures: Floats = run_rules(
            flats, prices.index, calendars, equity, measured=True, done=None if done is None else shifted(done, before)
        )
        for f, k in zip(figures, members, strict=True):
            found[k] = summarise(f, prices, tokens[k], equity, per_year)
    for k, token in enumerate(tokens):
        if k not in found:
            found[k] = run_backtest(token, inputs, costs[k], equity).summary()
            if done is not None:
                done(len(found))
    return [found[k] for k in range(len(tokens))]


def shifted(done: Callable[[int], None], before: int) -> Callable[[int], None]:
    """Returns a progress callback that counts what was done before, too."""
    return lambda count: done(before + count)


def rule_name(token: Token) -> str:
    """Returns what a table calls a token's rule."""
    return token.rule if isinstance(token.rule, str) else (token.rule.name or repr(token.rule))


class Comparison(Shown):
    """Several tokens on one path.

    Args:
        results: the backtest of each token, with its own fees.
        without_fees: the summary of each with no fees at all: the rules on equal terms.
        costs: what trading costs each where it bears it.
        inputs: the series they ran on.
    """

    def __init__(
        self, results: Sequence[Result], without_fees: Sequence[Summary], costs: Sequence[Costs], inputs: Inputs
    ) -> None:
        self.results, self.without_fees = list(results), list(without_fees)
        self._costs, self._inputs = list(costs), inputs

    @cached_property
    def bare(self) -> list[Result]:
        """The backtest of each with no fees at all; run when first asked for."""
        return [
            run_backtest(msgspec.structs.replace(result.token, fees=Fees()), self._inputs, paid, result.equity)
            for result, paid in zip(self.results, self._costs, strict=True)
        ]

    @cached_property
    def gap_budget(self) -> list[float | None]:
        """For each token the chance a year, at worst, that NAV reaches zero before its rule can trade.

        It is `GapBudget.zero_per_year_at_worst`, worked out when first asked for. None where there is none: of a
        token of several legs, of one whose NAV is counted in the coin, and of one that never held a position.
        """
        from gearing.study.gap import zero_at_worst
        from gearing.study.gap_count import Data

        series = {id(result.prices): result.prices for result in self.results if self._has_gap_budget(result)}
        known = {key: Data(prices) for key, prices in series.items()}

        def worst(result: Result) -> float | None:
            data = known.get(id(result.prices))
            return zero_at_worst(result.token, data, result.equity) if data and self._has_gap_budget(result) else None

        return [worst(result) for result in self.results]

    def _has_gap_budget(self, result: Result) -> bool:
        alone = len(result.token.legs) == 1 and self._inputs.sources.underlying is None
        return alone and not result.token.settles_in_coin and len(result.prices) > 1

    def report(self, path: str | Path, *, force: bool = False) -> None:
        """Writes a report of this as one HTML file that needs no network, wholly or not at all.

        Args:
            path: the file to write.
            force: replace an existing file of another kind; a database is never replaced.

        Raises:
            InputError: the path holds another kind of file, or it cannot be written.
        """
        from gearing.study.report import write_comparison

        write_comparison(self, path, force=force)

    @property
    def frame(self) -> Any:
        """A frame with one row per token: symbol, rule, the summary's figures, and those without fees.

        Column `gap_budget` is the chance a year, at worst, that NAV reaches zero before the rule can trade.
        Columns `total_return_without_fees`, `tracking_error_without_fees` and `final_nav_without_fees`
        compare the rules alone; an all-in token pays funding and trading costs there like everyone else.
        """
        rows = []
        for result, bare, gap in zip(self.results, self.without_fees, self.gap_budget, strict=True):
            row: dict[str, Any] = {"symbol": result.token.symbol, "rule": rule_name(result.token)}
            row |= msgspec.structs.asdict(result.summary())
            row["gap_budget"] = gap
            row["final_nav_without_fees"] = bare.final_nav
            row["total_return_without_fees"] = bare.total_return
            row["tracking_error_without_fees"] = bare.tracking_error
            rows.append(row)
        frame = pl.DataFrame(rows, schema_overrides={"gap_budget": pl.Float64}, infer_schema_length=None)
        return native(frame, self._inputs.library)

    def __len__(self) -> int:
        return len(self.results)

    def __repr__(self) -> str:
        shown = ", ".join(f"{rule_name(r.token)} {r.summary().total_return:+.1%}" for r in self.results[:6])
        more = f", and {len(self) - 6} more" if len(self) > 6 else ""
        return f"Comparison({shown}{more})"


def compare(
    tokens: Iterable[Token],
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
) -> Comparison:
    """Runs several tokens over one path, each with its own fees and with none.

    Args:
        tokens: the specifications, at least one.
        prices: as for `backtest`; of a Universe a UniverseResult is returned.
        funding, costs, equity, rates, dividends, underlying, periods_per_year, intrabar: as for `backtest`.

    Raises:
        InputError: there is no token, or the series cannot be used.
    """
    tokens = list(tokens) if isinstance(tokens, Iterable) and not isinstance(tokens, (str, Mapping)) else []
    if not tokens or not all(isinstance(token, Token) for token in tokens):
        raise InputError("compare needs a list of tokens.", where="tokens", fix="Pass [token, ...], at least one.")
    if isinstance(prices, Universe):
        same: dict[str, Any] = {"costs": costs, "equity": equity, "rates": rates,
                                "periods_per_year": periods_per_year, "intrabar": intrabar}  # fmt: skip
        runs: Any = over_universe(
            tokens, prices, (funding, dividends), lambda t, p, f: backtest(t, p, funding=f, **same)
        )
        return runs  # type: ignore[no-any-return]
    sources = Sources(prices, funding, dividends, rates, underlying)
    amount, inputs = capital(equity), Inputs(sources, periods_per_year, intrabar)
    spent = [as_costs(costs, token) for token in tokens]
    caution(inputs, tokens, spent, amount)
    results = [run_backtest(token, inputs, cost, amount) for token, cost in zip(tokens, spent, strict=True)]
    bare = [msgspec.structs.replace(token, fees=Fees()) for token in tokens]
    return Comparison(results, figures_of(bare, inputs, spent, amount), spent, inputs)
