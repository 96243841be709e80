"""Every issuer's rebalance rule and fees, by name.

`preset` gives the rule alone, `fees` what the issuer charges.

Source: the table of issuers that each function of `exchanges` and `funds` explains.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from gearing.core.fees import Fees
from gearing.core.presets import exchanges, funds
from gearing.core.rule import TARGET_MAX, Rule
from gearing.errors import Problem, SpecError

__all__ = ["PRESETS", "Preset", "checked_target", "fees", "names", "preset", "unknown_preset"]


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """An issuer's rule and fees.

    Args:
        name: the word that `Token.rule` and the command line take.
        issuer: who issues such tokens.
        targets: the target leverages it is, or was, issued with, in words.
        build: makes the rule for a target leverage (and, if `by_underlying`, an underlying).
        fees: the issuer's fees.
        example: one of these targets, for tables.
        by_underlying: the rule depends on the underlying.
    """

    name: str
    issuer: str
    targets: str
    build: Callable[..., Rule]
    fees: Fees
    example: float = 3.0
    by_underlying: bool = False

    @property
    def about(self) -> tuple[str, ...]:
        """What the rule does: the paragraphs of its function's docstring before the source."""
        return tuple(text for text in self._paragraphs if not text.startswith(("Source:", "Raises:")))

    @property
    def source(self) -> str:
        """Where the rule is known from, and what in it is from memory or an assumption."""
        found = [text for text in self._paragraphs if text.startswith("Source:")]
        return found[0].removeprefix("Source:").strip() if found else ""

    @property
    def _paragraphs(self) -> list[str]:
        return [" ".join(text.split()) for text in (inspect.getdoc(self.build) or "").split("\n\n")]


_PER_TRADE = 0.001

_TABLE = (
    Preset(
        name="ftx",
        issuer="FTX",
        targets="+3, −3, −1, +0.5",
        build=exchanges.ftx,
        fees=Fees(management_per_day=0.0003, creation=_PER_TRADE, redemption=_PER_TRADE),
    ),
    Preset(
        name="ftx-2019",
        issuer="FTX until 2019-09",
        targets="+3, −3, −1, +0.5",
        build=exchanges.ftx_2019,
        fees=Fees(management_per_day=0.0003, creation=_PER_TRADE, redemption=_PER_TRADE),
    ),
    Preset(
        name="binance-blvt",
        issuer="Binance",
        targets="hidden, ±1.25…±4",
        build=exchanges.binance_blvt,
        fees=Fees(management_per_day=0.0001, creation=_PER_TRADE, redemption=_PER_TRADE),
    ),
    Preset(
        name="bybit",
        issuer="Bybit",
        targets="±3",
        build=exchanges.bybit,
        fees=Fees(management_per_day=0.00005, creation=_PER_TRADE, redemption=_PER_TRADE),
    ),
    Preset(
        name="gate",
        issuer="Gate since 2025-04",
        targets="±3, ±5",
        build=exchanges.gate,
        fees=Fees(management_per_day=0.001, all_in=True),
    ),
    Preset(
        name="gate-bands",
        issuer="Gate, bands",
        targets="±3, ±5",
        build=exchanges.gate_bands,
        fees=Fees(management_per_day=0.001, all_in=True),
    ),
    Preset(
        name="kucoin",
        issuer="KuCoin",
        targets="±3",
        build=exchanges.kucoin,
        fees=Fees(management_per_day=0.0005, creation=_PER_TRADE, redemption=_PER_TRADE),
    ),
    Preset(
        name="mexc",
        issuer="MEXC",
        targets="±3",
        build=exchanges.mexc,
        fees=Fees(management_per_day=0.00001),
    ),
    Preset(
        name="htx",
        issuer="HTX",
        targets="±3, −1",
        build=exchanges.htx,
        fees=Fees(management_per_day=0.0003),
    ),
    Preset(
        name="pionex",
        issuer="Pionex",
        targets="±2, ±3",
        build=exchanges.pionex,
        fees=Fees(management_per_day=0.0003),
    ),
    Preset(
        name="fli",
        issuer="Index Coop FLI",
        targets="+2",
        build=funds.fli,
        example=2.0,
        fees=Fees(management_per_year=0.0195, creation=_PER_TRADE, redemption=_PER_TRADE),
    ),
    Preset(
        name="index-2x",
        issuer="Index Coop 2x",
        targets="+2",
        build=funds.index_2x,
        example=2.0,
        fees=Fees(management_per_year=0.0365, creation=_PER_TRADE, redemption=_PER_TRADE),
        by_underlying=True,
    ),
    Preset(
        name="tlx",
        issuer="TLX",
        targets="±1…±10",
        build=funds.tlx,
        fees=Fees(management_per_year=0.02, on="exposure"),
    ),
    Preset(
        name="toros",
        issuer="Toros",
        targets="+2, +3, −1",
        build=funds.toros,
        fees=Fees(creation=0.002, redemption=0.002),
    ),
    Preset(
        name="seamless",
        issuer="Seamless",
        targets="+2 and others",
        build=funds.seamless,
        example=2.0,
        fees=Fees(redemption=_PER_TRADE),
    ),
    Preset(
        name="daily-etf",
        issuer="listed funds",
        targets="±1…±3",
        build=funds.daily_etf,
        fees=Fees(management_per_year=0.0095),
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({entry.name: entry for entry in _TABLE})


def names() -> tuple[str, ...]:
    """Returns the names of all presets, in the order of the table of issuers."""
    return tuple(PRESETS)


def preset(name: str, *, target: float, underlying: str | None = None) -> Rule:
    """Returns an issuer's rule for a target leverage.

    Args:
        name: a preset's name, such as "ftx".
        target: signed target leverage, 0 < |β| ≤ 20.
        underlying: such as "BTC"; only "index-2x" depends on it (its default is ETH).

    Raises:
        SpecError: there is no such preset, or it does not serve this target.
    """
    entry = _entry(name)
    beta = checked_target(target)
    if entry.by_underlying and underlying is not None:
        return entry.build(beta, underlying)
    return entry.build(beta)


def fees(name: str) -> Fees:
    """Returns an issuer's fees.

    Args:
        name: a preset's name, such as "ftx".

    Raises:
        SpecError: there is no such preset.
    """
    return _entry(name).fees


def unknown_preset(name: str) -> Problem:
    """Returns the mistake of naming a preset that does not exist, with the nearest one and the list."""
    import difflib

    near = difflib.get_close_matches(str(name).lower(), PRESETS, n=1, cutoff=0.5)
    guess = f'Did you mean "{near[0]}"? ' if near else ""
    return Problem("preset", repr(name), "the name of a preset", f"{guess}There are {', '.join(PRESETS)}.")


def _entry(name: str) -> Preset:
    entry = PRESETS.get(name) if isinstance(name, str) else None
    if entry is None:
        raise SpecError([unknown_preset(name)])
    return entry


def checked_target(target: float) -> float:
    """Returns a target leverage as a float.

    Raises:
        SpecError: it is none.
    """
    number = isinstance(target, (int, float)) and not isinstance(target, bool) and math.isfinite(target)
    if not number or target == 0 or abs(target) > TARGET_MAX:
        expected = f"a leverage other than 0, from {-TARGET_MAX:g} to {TARGET_MAX:g}"
        raise SpecError([Problem("target", repr(target), expected, "Write 3 or -1.")])
    return float(target)
