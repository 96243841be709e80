"""Many tokens on one path, each with its own fees and with none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from gearing.core.fees import Costs, Fees
from gearing.core.pack import pack, schedule_times_ms
from gearing.core.record import Shown
from gearing.core.token import Token
from gearing.errors import InputError
from gearing.kernels.many import run_rules
from gearing.kernels.pyramid import Floats
from gearing.market.series import Funding, Prices
from gearing.study.backtest import (
    CAPITAL,
    Result,
    as_costs,
    as_funding,
    as_prices,
    capital,
    run_backtest,
    warn_of_impact,
)
from gearing.study.summary import Summary, summarise


def figures_of(
    tokens: Sequence[Token],
    prices: Prices,
    funding: Funding | None,
    costs: Sequence[Costs],
    equity: float,
    done: Callable[[int], None] | None = None,
) -> list[Summary]:
    """Returns the summary of each token, run on all cores.

    Args:
        tokens: the specifications, k of them.
        prices, funding: the path.
        costs: what trading costs each, k of them.
        equity: the capital of each.
        done: told how many are done, now and then.
    """
    flats = [pack(token, paid) for token, paid in zip(tokens, costs, strict=True)]
    calendars = [prices.calendar(funding, schedule_times_ms(token.resolved_rule)) for token in tokens]
    figures: Floats = run_rules(flats, prices.index, calendars, equity, measured=True, done=done)
    return [
        summarise(f, prices, symbol=token.symbol, target=token.target, equity=equity, initial_nav=token.initial_nav)
        for f, token in zip(figures, tokens, strict=True)
    ]


def rule_name(token: Token) -> str:
    """Returns what a table calls a token's rule."""
    return token.rule if isinstance(token.rule, str) else (token.rule.name or repr(token.rule))


class Comparison(Shown):
    """Several tokens on one path.

    Args:
        results: the backtest of each token, with its own fees.
        without_fees: the summary of each with no fees at all: the rules on equal terms.
        costs: what trading costs each where it bears it.
    """

    def __init__(self, results: Sequence[Result], without_fees: Sequence[Summary], costs: Sequence[Costs]) -> None:
        self.results, self.without_fees, self._costs = list(results), list(without_fees), list(costs)

    @cached_property
    def bare(self) -> list[Result]:
        """The backtest of each with no fees at all; run when first asked for."""
        return [
            run_backtest(
                msgspec.structs.replace(result.token, fees=Fees()), result.prices, result.funding, paid, result.equity
            )
            for result, paid in zip(self.results, self._costs, strict=True)
        ]

    def report(self, path: str | Path) -> None:
        """Writes a report of this as one HTML file that needs no network, wholly or not at all.

        Raises:
            InputError: the place cannot be written.
        """
        from gearing.study.report import write_comparison

        write_comparison(self, path)

    @property
    def frame(self) -> pl.DataFrame:
        """A frame with one row per token: symbol, rule, the summary's figures, and those without fees.

        Columns `total_return_without_fees`, `tracking_error_without_fees` and `final_nav_without_fees`
        compare the rules alone; an all-in token pays funding and trading costs there like everyone else.
        """
        rows = []
        for result, bare in zip(self.results, self.without_fees, strict=True):
            row: dict[str, Any] = {"symbol": result.token.symbol, "rule": rule_name(result.token)}
            row |= msgspec.structs.asdict(result.summary())
            row["final_nav_without_fees"] = bare.final_nav
            row["total_return_without_fees"] = bare.total_return
            row["tracking_error_without_fees"] = bare.tracking_error
            rows.append(row)
        return pl.DataFrame(rows, infer_schema_length=None)

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
) -> Comparison:
    """Runs several tokens over one path, each with its own fees and with none.

    Args:
        tokens: the specifications, at least one.
        prices, funding, costs, equity: as for `backtest`.

    Raises:
        InputError: there is no token, or the series cannot be used.
    """
    tokens = list(tokens) if isinstance(tokens, Iterable) and not isinstance(tokens, (str, Mapping)) else []
    if not tokens or not all(isinstance(token, Token) for token in tokens):
        raise InputError("compare needs a list of tokens.", where="tokens", fix="Pass [token, ...], at least one.")
    path, amount = as_prices(prices), capital(equity)
    paid = as_funding(funding, path)
    spent = [as_costs(costs, token) for token in tokens]
    warn_of_impact(path, spent)
    results = [run_backtest(token, path, paid, cost, amount) for token, cost in zip(tokens, spent, strict=True)]
    bare = [msgspec.structs.replace(token, fees=Fees()) for token in tokens]
    return Comparison(results, figures_of(bare, path, paid, spent, amount), spent)
