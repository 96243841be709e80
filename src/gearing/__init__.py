"""Gearing issues, runs, prices and explains leveraged tokens.

The documented API, loaded when first used:

    import gearing as gr
    prices, funding = gr.make_market(seed=7)
    token = gr.Token(symbol="BTC3L", target=3.0, rule="ftx")
    gr.backtest(token, prices, funding=funding).summary()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gearing.core import catalog as presets  # noqa: F401
    from gearing.core import rules as rules
    from gearing.core.fees import Consolidation as Consolidation
    from gearing.core.fees import Costs as Costs
    from gearing.core.fees import Fees as Fees
    from gearing.core.fees import Limits as Limits
    from gearing.core.instruments import Contract as Contract
    from gearing.core.instruments import DatedFuture as DatedFuture
    from gearing.core.instruments import MarginTier as MarginTier
    from gearing.core.instruments import Perpetual as Perpetual
    from gearing.core.instruments import Spot as Spot
    from gearing.core.instruments import TotalReturnSwap as TotalReturnSwap
    from gearing.core.rule import Condition as Condition
    from gearing.core.rule import Pace as Pace
    from gearing.core.rule import Rule as Rule
    from gearing.core.rule import Schedule as Schedule
    from gearing.core.token import Token as Token
    from gearing.errors import DataError as DataError
    from gearing.errors import DataWarning as DataWarning
    from gearing.errors import GearingError as GearingError
    from gearing.errors import InputError as InputError
    from gearing.errors import SpecError as SpecError
    from gearing.market.files import read_funding as read_funding
    from gearing.market.files import read_prices as read_prices
    from gearing.market.rates import Dividends as Dividends
    from gearing.market.rates import Rates as Rates
    from gearing.market.rates import read_dividends as read_dividends
    from gearing.market.rates import read_rates as read_rates
    from gearing.market.series import Funding as Funding
    from gearing.market.series import Prices as Prices
    from gearing.market.synthetic import make_market as make_market
    from gearing.market.tiers import read_margin_tiers as read_margin_tiers
    from gearing.market.token_file import read_token as read_token
    from gearing.study.align import align as align
    from gearing.study.attribution import Attribution as Attribution
    from gearing.study.backtest import backtest as backtest
    from gearing.study.compare import Comparison as Comparison
    from gearing.study.compare import compare as compare
    from gearing.study.exact import exact_backtest as exact_backtest
    from gearing.study.exact_result import ExactResult as ExactResult
    from gearing.study.gap import gap_budget as gap_budget
    from gearing.study.gap_record import GapBudget as GapBudget
    from gearing.study.result import Result as Result
    from gearing.study.summary import Summary as Summary
    from gearing.study.sweep import Sweep as Sweep
    from gearing.study.sweep import sweep as sweep
    from gearing.study.track import track as track
    from gearing.study.track_record import Track as Track
    from gearing.study.universe import Universe as Universe
    from gearing.study.universe import UniverseResult as UniverseResult
    from gearing.study.what_if import what_if as what_if

# Where each public name stands; modules are imported when a name is first asked for.
_HOMES = {
    "core.catalog": ("presets",),
    "core.rules": ("rules",),
    "core.rule": ("Condition", "Pace", "Rule", "Schedule"),
    "core.fees": ("Consolidation", "Costs", "Fees", "Limits"),
    "core.instruments": ("Contract", "DatedFuture", "MarginTier", "Perpetual", "Spot", "TotalReturnSwap"),
    "core.token": ("Token",),
    "errors": ("DataError", "DataWarning", "GearingError", "InputError", "SpecError"),
    "market.files": ("read_funding", "read_prices"),
    "market.rates": ("Dividends", "Rates", "read_dividends", "read_rates"),
    "market.series": ("Funding", "Prices"),
    "market.synthetic": ("make_market",),
    "market.tiers": ("read_margin_tiers",),
    "market.token_file": ("read_token",),
    "study.align": ("align",),
    "study.attribution": ("Attribution",),
    "study.backtest": ("backtest",),
    "study.compare": ("Comparison", "compare"),
    "study.exact": ("exact_backtest",),
    "study.exact_result": ("ExactResult",),
    "study.gap": ("gap_budget",),
    "study.gap_record": ("GapBudget",),
    "study.result": ("Result",),
    "study.summary": ("Summary",),
    "study.sweep": ("Sweep", "sweep"),
    "study.track": ("track",),
    "study.track_record": ("Track",),
    "study.universe": ("Universe", "UniverseResult"),
    "study.what_if": ("what_if",),
}
_MODULES = {"presets", "rules"}
_MODULE_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted([*_MODULE_OF, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("gearing")
    home = _MODULE_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'gearing' has no attribute {name!r}")
    module = importlib.import_module(f"gearing.{home}")
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _present() -> None:
    """Lets what lower rooms make show itself through higher ones, which they must not import."""
    from gearing.core.record import Presenter

    def through(module: str, function: str) -> Any:
        def call(*things: Any) -> Any:
            return getattr(importlib.import_module(f"gearing.{module}"), function)(*things)

        return call

    Presenter.figure = through("study.plots", "figure")
    Presenter.html = through("study.html", "card")
    Presenter.headline = through("core.words", "headline")


_present()
