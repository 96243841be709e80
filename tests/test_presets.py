"""The presets against the table of issuers, written out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearing.core import catalog as presets
from gearing.core.catalog import PRESETS, preset, token
from gearing.core.fees import Costs, Fees
from gearing.core.rule import Pace, Rule, rule_problems
from gearing.core.token import Token
from gearing.errors import SpecError

# name: (|target| its levels are stated for, the rule's fields as the table of issuers states them)
STATED: dict[str, tuple[float, dict[str, object]]] = {
    "ftx": (3, {"times": ["00:02"], "band_upper": 4.0, "side": "reduce"}),
    "ftx-2019": (3, {"times": ["00:02"], "deviation": 1 / 3}),
    "binance-blvt": (3, {"band_lower": 1.875, "band_upper": 3.0, "aim": "edge"}),
    "bybit": (3, {"band_lower": 2.0, "band_upper": 4.0}),
    "gate": (
        3,
        {
            "times": ["00:00+08:00"],
            "if": (2.0, 4.0, 0.01, 0.01),
            "band_upper": 4.0,
            "move_against": 0.2,
            "move_favour": 0.2,
        },
    ),
    "gate-bands": (3, {"move_against": 0.12, "move_favour": 0.2}),
    "kucoin": (3, {"times": ["23:30"], "move_against": 0.15, "move_favour": 0.15, "side": "reduce"}),
    "mexc": (3, {"times": ["16:00"], "move_against": 0.15, "move_favour": 0.15, "side": "reduce"}),
    "htx": (3, {"times": ["16:00"], "band_upper": 4.0}),
    "pionex": (2, {"band_lower": 1.6, "band_upper": 3.5}),
    "fli": (
        2,
        {
            "every": "24h",
            "band_lower": 1.7,
            "band_upper": 2.3,
            "ripcord": 2.7,
            "aim": "recentering",
            "recentering_speed": 0.05,
            "pace": Pace(largest=1e6, interval="1m"),
        },
    ),
    "index-2x": (
        2,
        {
            "every": "24h",
            "band_lower": 1.74,
            "band_upper": 2.3,
            "aim": "recentering",
            "recentering_speed": 0.05,
        },
    ),
    "tlx": (3, {"deviation": 0.25}),
    "toros": (2, {"band_lower": 1.8, "band_upper": 2.2}),
    "seamless": (2, {"times": [f"{h:02d}:00" for h in range(24)], "if": (1.9999, 2.01, None, None)}),
    "daily-etf": (3, {"times": ["00:00"]}),
}

# name: (per day, per year, on, creation, redemption, all in), in percent
FEES = {
    "ftx": (0.03, 0, "equity", 0.1, 0.1, False),
    "ftx-2019": (0.03, 0, "equity", 0.1, 0.1, False),
    "binance-blvt": (0.01, 0, "equity", 0.1, 0.1, False),
    "bybit": (0.005, 0, "equity", 0.1, 0.1, False),
    "gate": (0.1, 0, "equity", 0, 0, True),
    "gate-bands": (0.1, 0, "equity", 0, 0, True),
    "kucoin": (0.05, 0, "equity", 0.1, 0.1, False),
    "mexc": (0.001, 0, "equity", 0, 0, False),
    "htx": (0.03, 0, "equity", 0, 0, False),
    "pionex": (0.03, 0, "equity", 0, 0, False),
    "fli": (0, 1.95, "equity", 0.1, 0.1, False),
    "index-2x": (0, 3.65, "equity", 0.1, 0.1, False),
    "tlx": (0, 2, "exposure", 0, 0, False),
    "toros": (0, 0, "equity", 0.2, 0.2, False),
    "seamless": (0, 0, "equity", 0, 0.1, False),
    "daily-etf": (0, 0.95, "equity", 0, 0, False),
}


def facts(rule: Rule) -> dict[str, object]:
    """The rule's fields that are not at their default, the schedule's flattened."""
    plain = {
        name: getattr(rule, name)
        for name in rule.__struct_fields__
        if name not in ("name", "target", "schedule") and getattr(rule, name) != getattr(Rule(), name)
    }
    for clock in rule.schedule:
        assert clock.side == "both"
        if clock.times:
            plain["times"] = list(clock.times)
        if clock.every:
            plain["every"] = clock.every
        if clock.only_if:
            found = clock.only_if
            assert found.deviation is None
            plain["if"] = (found.band_lower, found.band_upper, found.move_against, found.move_favour)
    return plain


def test_the_table_of_issuers_is_complete() -> None:
    assert set(presets.names()) == set(STATED) == set(FEES) == set(PRESETS)
    assert len(presets.names()) == 16


@pytest.mark.parametrize("name", STATED)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_preset_says_what_the_table_says(name: str, sign: int) -> None:
    size, stated = STATED[name]
    rule = preset(name, target=sign * size)
    assert (rule.name, rule.target) == (name, sign * size)
    found = facts(rule)
    assert set(found) == set(stated)
    for field, value in stated.items():
        if field == "if":
            # Seamless states a collateral ratio, so the table's leverage is rounded.
            assert [level or 0 for level in found[field]] == pytest.approx(  # type: ignore[attr-defined]
                [level or 0 for level in value],  # type: ignore[attr-defined]
                rel=1e-5 if name == "seamless" else 1e-12,
            )
        else:
            assert found[field] == value, field


@pytest.mark.parametrize("name", FEES)
def test_fees_are_those_of_the_table(name: str) -> None:
    day, year, on, creation, redemption, all_in = FEES[name]
    fees = presets.fees(name)
    numbers = (fees.management_per_day, fees.management_per_year, fees.creation, fees.redemption)
    assert numbers == pytest.approx([value / 100 for value in (day, year, creation, redemption)])
    assert (fees.on, fees.all_in) == (on, all_in)


@pytest.mark.parametrize("name", STATED)
@given(target=st.floats(-20, 20).filter(lambda beta: abs(beta) > 0.05))
def test_levels_scale_and_moves_do_not(name: str, target: float) -> None:
    if name in ("binance-blvt", "gate-bands", "toros"):
        return
    size, _ = STATED[name]
    stated, rule = preset(name, target=size), preset(name, target=target)
    assert rule_problems(rule, target).problems == []
    for field in ("band_lower", "band_upper", "ripcord"):
        level = getattr(stated, field)
        assert getattr(rule, field) == (None if level is None else pytest.approx(level * abs(target) / size))
    for field in ("deviation", "move_against", "move_favour", "recentering_speed", "side", "aim", "pace"):
        assert getattr(rule, field) == getattr(stated, field)


def test_families_with_levels_of_their_own() -> None:
    assert facts(preset("gate-bands", target=-5)) == {"band_lower": 3.5, "band_upper": 7.0}
    assert facts(preset("gate-bands", target=4)) == pytest.approx({"band_lower": 2.8, "band_upper": 5.6})
    assert facts(preset("toros", target=3)) == {"band_lower": 2.8, "band_upper": 3.2}
    assert facts(preset("toros", target=-1)) == pytest.approx({"band_lower": 0.9, "band_upper": 1.1})
    assert facts(preset("index-2x", target=2, underlying="btc"))["band_lower"] == 1.82


def test_a_collateral_ratio_becomes_the_leverage_that_has_it() -> None:
    condition = preset("seamless", target=2).schedule[0].only_if
    assert condition is not None
    for level, ratio in ((condition.band_upper, 1.9901), (condition.band_lower, 2.0001)):
        assert level is not None
        equity = 100.0
        collateral = level * equity
        assert collateral / (collateral - equity) == pytest.approx(ratio, rel=1e-12)


@pytest.mark.parametrize("target", [1, -1, 0.5, 4.01, -5])
def test_binance_refuses_a_target_outside_its_band(target: float) -> None:
    with pytest.raises(SpecError, match=r"1\.25 to 4"):
        preset("binance-blvt", target=target)


@pytest.mark.parametrize("target", [0, math.nan, math.inf, 20.5, True, "3", None])
def test_a_target_that_is_no_leverage_is_refused(target: object) -> None:
    with pytest.raises(SpecError, match="target: expected a leverage"):
        preset("ftx", target=target)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ftxx", "FTX", "", 3, None, ["ftx"]])
def test_an_unknown_preset_names_the_known_ones(name: object) -> None:
    with pytest.raises(SpecError, match="There are ftx, ftx-2019,") as caught:
        preset(name, target=3)  # type: ignore[arg-type]
    if name in ("ftxx", "FTX"):
        assert 'Did you mean "ftx"?' in str(caught.value)


@pytest.mark.parametrize("name", STATED)
def test_each_preset_makes_a_token_and_cites_its_source(name: str) -> None:
    for target in (3, -3):
        made = token(name, "ETH", target)
        assert made.rule == name
        assert made.fees == presets.fees(name)
        assert made.resolved_rule == preset(name, target=target)
    assert PRESETS[name].source
    assert PRESETS[name].about
    assert preset(name, target=PRESETS[name].example)


@pytest.mark.parametrize(
    ("target", "symbol", "name"),
    [
        (3, "BTC3L", "BTC 3x long"),
        (-3, "BTC3S", "BTC 3x short"),
        (-1, "BTC1S", "BTC 1x short"),
        (0.5, "BTC0.5L", "BTC 0.5x long"),
    ],
)
def test_a_token_is_named_as_issuers_name_theirs(target: float, symbol: str, name: str) -> None:
    made = token("ftx", "BTC", target)
    assert (made.symbol, made.name, made.target) == (symbol, name, target)


def test_a_token_takes_what_is_given_in_place_of_the_issuers() -> None:
    made = token("ftx", "ETH", 3, symbol="E", fees=Fees(), costs=Costs(taker_fee=5e-4), initial_nav=1)
    assert made == Token(
        symbol="E", name="ETH 3x long", target=3, rule="ftx", costs=Costs(taker_fee=5e-4), initial_nav=1
    )


def test_a_rule_that_depends_on_the_underlying_is_spelt_out() -> None:
    assert token("index-2x", "ETH", 2).rule == "index-2x"
    bitcoin = token("index-2x", "BTC", 2)
    assert bitcoin.resolved_rule.band_upper == 2.20
    assert bitcoin.resolved_rule.name == "index-2x"
