"""The backtest: one token on one path, and its result."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from gearing.core.fees import Costs
from gearing.core.token import Token
from gearing.errors import InputError
from gearing.market.legs import Sources
from gearing.study.cautions import caution
from gearing.study.inputs import Inputs
from gearing.study.outcome import outcome_of
from gearing.study.result import Result
from gearing.study.targets import read_targets
from gearing.study.universe import Universe, over_universe

CAPITAL = 1_000_000.0


def as_token(token: Any) -> Token:
    """Returns a token as it is.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(token, Token):
        fix = 'Pass gr.Token(symbol="BTC3L", target=3.0, rule="ftx") or gr.presets.token("ftx", "BTC", 3).'
        raise InputError(f"{token!r} is no token.", where="token", fix=fix)
    return token


def as_costs(costs: Any, token: Token) -> Costs:
    """Returns the costs given, or the token's own.

    Raises:
        InputError: they are something else.
    """
    if costs is not None and not isinstance(costs, Costs):
        raise InputError(f"{costs!r} is no record of costs.", where="costs", fix="Pass gr.Costs(taker_fee=0.0005).")
    return token.costs if costs is None else costs


def capital(equity: float) -> float:
    """Returns the capital of a study.

    Raises:
        InputError: it is no finite amount above zero.
    """
    if (
        isinstance(equity, bool)
        or not isinstance(equity, (int, float, np.floating, np.integer))
        or not 0 < equity < 1e15
    ):
        raise InputError(f"{equity!r} is no capital.", where="equity", fix="Give an amount above 0, such as 1_000_000.")
    return float(equity)


def backtest(
    token: Token,
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
    target: Any = None,
) -> Result:
    """Runs a token over a price path, in the accounting order of the live desk.

    Args:
        token: the specification.
        prices: a Prices series, or anything `read_prices` reads. A basket or a chain of futures takes one for each
            symbol, as a dictionary, or one table that holds all their symbols. A Universe runs the token on each of
            its underlyings.
        funding: a Funding series, anything `read_funding` reads, or None for no funding; for several legs, likewise.
        costs: what trading costs; by default the token's own assumption.
        equity: the capital before the opening trade, settlement currency.
        rates: the yearly reference rate for swaps and idle cash: Rates, a number, or anything `read_rates` reads.
        dividends: Dividends, or anything `read_dividends` reads; for several legs, likewise.
        underlying: the price that the result is held against, where it is not what is held (an index under a future).
        periods_per_year: what volatility, Sharpe ratio and tracking are scaled with; by default by the calendar of the
            prices: 365 days, 252 where nothing trades on weekends, 52 weeks, 12 months.
        intrabar: where triggers act: "close", at the price that a bar ends with, as on a desk that sees these prices;
            "worst", at the level that its low or high reaches, the adverse side first, as on a desk that sees all.
        target: a target that varies in time, in place of the token's from its first moment on: (times, targets), a
            pandas Series, or a frame with columns time and target. At the first price of a change it trades to the new
            one, with the levels of its rule at that target. The times of a Series or frame, and days, are stamps as
            those of the prices: what stands beside a bar stamped with its open is known, and acts, at the bar's end.

    Returns:
        The result, with its frames made when first asked for; of a universe, a UniverseResult.

    Raises:
        InputError: the series or the capital cannot be used.
    """
    if isinstance(prices, Universe):
        same: dict[str, Any] = {"costs": costs, "equity": equity, "rates": rates,
                                "periods_per_year": periods_per_year, "intrabar": intrabar,
                                "target": target}  # fmt: skip
        runs: Any = over_universe(
            [as_token(token)], prices, (funding, dividends), lambda t, p, f: backtest(t, p, funding=f, **same)
        )
        return runs  # type: ignore[no-any-return]
    amount, spent = capital(equity), as_costs(costs, as_token(token))
    inputs = Inputs(Sources(prices, funding, dividends, rates, underlying), periods_per_year, intrabar,
                    None if target is None else read_targets(target))  # fmt: skip
    caution(inputs, [token], [spent], amount)
    return run_backtest(token, inputs, spent, amount)


def run_backtest(token: Token, inputs: Inputs, costs: Costs, equity: float) -> Result:
    """Returns the result of a token on inputs that may serve others too."""
    spent = Costs() if token.fees.all_in else costs
    outcome = outcome_of(token, inputs, spent, equity)
    return Result(token, outcome, spent, equity, inputs.periods_per_year, inputs.intrabar, inputs.library,
                  inputs.targets)  # fmt: skip
