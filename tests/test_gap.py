"""The gap budget: a rule's gaps against their definition, moves to the end, and the whole rule against a plain loop."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import Phase, given, settings

import gearing as gr
from gearing.core import catalog
from gearing.core.fees import Costs, Fees
from gearing.core.instruments import MarginTier, Perpetual
from gearing.core.rule import Condition, Pace, Rule, Schedule
from gearing.core.token import Token
from gearing.errors import InputError
from gearing.market.series import Prices
from gearing.study.backtest import backtest
from gearing.study.gap import gap_budget
from gearing.study.gap_passage import passage
from gearing.study.gap_record import WHOLE_RULE, GapBudget, GapRow, chance_text
from gearing.study.gap_rule import gaps_of
from tests.strategies import cases

HOUR = 3_600_000
START = 1_672_531_200_000
TIERS = (
    MarginTier(notional_max=1e6, rate=0.01),
    MarginTier(notional_max=5e6, rate=0.05, amount=40_000.0),
    MarginTier(rate=0.25, amount=1_040_000.0),
)


def walk(seed: int, count: int, sigma: float = 0.01, crash: tuple[int, float] | None = None) -> Prices:
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, sigma, count)
    if crash is not None:
        moves[crash[0]] = math.log1p(crash[1])
    close = 100 * np.exp(np.cumsum(moves))
    times = START + HOUR * np.arange(1, count + 1)
    return Prices(times, close, low=close * rng.uniform(0.99, 1, count), high=close * rng.uniform(1, 1.01, count))


def rows_of(budget: GapBudget, side: str) -> dict[tuple[str, str], GapRow]:
    return {(row.trigger, row.start): row for row in budget.rows if row.side == side}


def edges(name: str, target: float) -> dict[tuple[str, str], float]:
    token = catalog.token(name, "BTC", target)
    return {(gap.trigger, gap.start): round(gap.leverage, 3) for gap in gaps_of(token.resolved_rule, target)}


# Levels at a move are those of the oracle table (formulas.md 2): −15 % from +3 is 4.636, +15 % from −3 is 6.273.
@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("ftx", 3.0, {("daily 00:02 UTC", "target"): 3, ("band_upper", "target"): 3, ("band_upper", "edge"): 4}),
        ("ftx", -1.0, {("daily 00:02 UTC", "target"): 1, ("band_upper", "target"): 1, ("band_upper", "edge"): 1.333}),
        (
            "kucoin",
            3.0,
            {
                ("daily 23:30 UTC", "target"): 3,
                ("move_against", "target"): 3, ("move_against", "edge"): 4.636,
            },
        ),
        (
            "kucoin",
            -3.0,
            {
                ("daily 23:30 UTC", "target"): 3,
                ("move_against", "target"): 3, ("move_against", "edge"): 6.273,
            },
        ),
        ("gate-bands", -3.0, {("move_against", "target"): 3, ("move_against", "edge"): 5.25}),
        ("tlx", 2.0, {("deviation", "target"): 2, ("deviation", "edge"): 2.5}),
        ("daily-etf", 2.0, {("daily 00:00 UTC", "target"): 2}),
        ("daily-etf", 1.0, {("daily 00:00 UTC", "target"): 1}),
        # The daily trade passes over a move of less than 1 %: 3 · 0.99 / 0.97.
        (
            "gate",
            3.0,
            {
                ("daily 16:00 UTC", "target"): 3, ("daily 16:00 UTC", "edge"): 3.062,
                ("band_upper", "target"): 3, ("band_upper", "edge"): 4,
                ("move_against", "target"): 3, ("move_against", "edge"): 6,
            },
        ),
        # Recentering leaves leverage anywhere below the band's edge.
        (
            "index-2x",
            2.0,
            {
                ("every 24h", "target"): 2, ("every 24h", "edge"): 2.2,
                ("band_upper", "target"): 2, ("band_upper", "edge"): 2.2,
            },
        ),
    ],
)  # fmt: skip
def test_where_each_rule_may_rest(name, target, expected):
    assert edges(name, target) == expected


def test_a_rule_that_bounds_nothing_has_a_wait_of_a_year():
    for rule in (
        Rule(),
        Rule(move_favour=0.1),
        Rule(move_against=0.5),
        Rule(schedule=(Schedule(every="24h"),), aim="edge", band_lower=1),
    ):
        (gap,) = gaps_of(rule, 3.0)
        assert (gap.trigger, gap.clock.span_ms, gap.clock.per_year) == ("none", 365 * 86_400_000, 1.0)


def test_an_interval_with_a_condition_waits_on_once_it_has_run_out():
    rule = Rule(schedule=(Schedule(every="8h", only_if=Condition(band_upper=3.5)),))
    first, overdue = gaps_of(rule, 3.0)
    assert (first.trigger, first.start, first.leverage, first.clock.span_ms) == ("every 8h", "target", 3.0, 8 * HOUR)
    assert (overdue.trigger, overdue.start, overdue.leverage, overdue.clock.kind) == (
        "every 8h, overdue",
        "edge",
        3.5,
        "bar",
    )
    assert first.guard == overdue.guard == 0


def test_which_gaps_bound_the_token():
    def guards(rule: Rule) -> set[str]:
        return {gap.trigger for gap in gaps_of(rule, 2.0) if gap.guard is not None}

    daily = (Schedule(times=("00:00",)),)
    assert guards(Rule(schedule=daily, band_upper=3)) == {"daily 00:00 UTC", "band_upper"}
    # What is bought at once after a gain makes the schedule's wait start from a worse price.
    assert guards(Rule(schedule=daily, band_upper=3, move_favour=0.1)) == {"band_upper"}
    paced = {"band_upper": 3.0, "pace": Pace(largest=1e6, interval="1m")}
    assert guards(Rule(**paced)) == {"band_upper"}
    assert guards(Rule(**paced, ripcord=4)) == {"ripcord"}


def test_a_check_interval_is_the_wait_of_what_acts_at_once():
    (_, gap) = gaps_of(Rule(band_upper=4, check_interval="4h"), 3.0)
    assert (gap.clock.kind, gap.clock.span_ms, gap.clock.per_year) == ("check", 4 * HOUR, 365 * 6)


@pytest.mark.parametrize("target", [3.0, -3.0, 5.0, -1.0, 0.5, 1.0])
@pytest.mark.parametrize("mu", [0.0, 0.004, 0.05])
def test_moves_to_the_end_are_formula_3(target, mu):
    token = Token(symbol="X", target=target, rule="daily-etf")
    for side, beta in (("long", abs(target)), ("short", -abs(target))):
        row = rows_of(gap_budget(token, walk(1, 60), maintenance_rate=mu), side)["daily 00:00 UTC", "target"]
        size = abs(beta)
        zero = -1 / beta
        forced = -(1 - mu * beta) / (beta * (1 - mu)) if beta > 0 else (1 - mu * size) / (size * (1 + mu))
        assert row.zero.move == (pytest.approx(zero) if zero > -1 else None)
        assert row.liquidation.move == (pytest.approx(forced) if forced > -1 + 1e-12 else None)


@pytest.mark.parametrize("leverage", [3.0, -3.0])
@pytest.mark.parametrize("equity", [1e4, 1e6, 3e6])
def test_a_venues_tiers_are_met_where_equity_is_the_margin(leverage, equity):
    token = Token(symbol="X", target=leverage, rule="daily-etf", legs=(Perpetual(margin_tiers=TIERS),))
    side = "long" if leverage > 0 else "short"
    row = rows_of(gap_budget(token, walk(1, 60), equity=equity), side)["daily 00:00 UTC", "target"]
    assert row.liquidation.move is not None
    left = equity * (1 + leverage * row.liquidation.move)
    notional = abs(leverage) * equity * (1 + row.liquidation.move)
    # The venue asks for the rate of each part of the notional; amounts are only a way to write that.
    margin = 0.01 * min(notional, 1e6) + 0.05 * max(0, min(notional, 5e6) - 1e6) + 0.25 * max(0, notional - 5e6)
    assert left == pytest.approx(margin)


def test_a_margin_that_is_used_up_already_is_certain():
    token = Token(symbol="X", target=10.0, rule="daily-etf")
    row = rows_of(gap_budget(token, walk(1, 60), maintenance_rate="10%"), "long")["daily 00:00 UTC", "target"]
    assert (row.liquidation.move, row.liquidation.per_gap, row.liquidation.by_diffusion) == (0.0, 1.0, 1.0)
    assert row.liquidation.per_year == 1.0
    assert row.liquidation.counted == row.windows > 0


def test_probabilities_are_first_passage_at_the_volatility_of_the_data():
    prices = walk(3, 2_000, sigma=0.02)
    budget = gap_budget(catalog.token("ftx", "BTC", 3), prices)
    assert budget.volatility == pytest.approx(np.sqrt(np.mean(np.diff(np.log(prices.close)) ** 2) * 8_760))
    assert budget.jumps_per_year == 0
    nu = -(budget.volatility**2) / 2
    for row, years in ((rows_of(budget, "long")["daily 00:02 UTC", "target"], 1 / 365),):
        expected = passage(math.log(2 / 3), budget.volatility, nu, years)
        assert row.zero.per_gap == row.zero.by_diffusion == pytest.approx(expected)
        assert row.zero.per_year == pytest.approx(1 - (1 - expected) ** 365)
        assert row.gaps_per_year == 365
    short = rows_of(budget, "short")["band_upper", "edge"]
    assert short.zero.move == pytest.approx(0.25)
    assert short.zero.per_gap == pytest.approx(passage(math.log(1.25), budget.volatility, nu, 1 / 8_760))


def test_the_order_of_things():
    prices = walk(8, 3_000, sigma=0.02)
    chances = [gap_budget(Token(symbol="X", target=b, rule="daily-etf"), prices).zero_per_year for b in (2, 3, 5, 8)]
    assert chances == sorted(chances)
    assert chances[-1] > 0.5
    banded = gap_budget(Token(symbol="X", target=5.0, rule="gate-bands"), prices)
    assert banded.zero_per_year < chances[2]
    assert banded.liquidation_per_year >= banded.zero_per_year
    assert banded.zero_per_year_at_worst >= banded.zero_per_year
    for row in banded.rows:
        assert row.liquidation.per_gap >= row.zero.per_gap
        assert row.liquidation.counted >= row.zero.counted


def by_hand(prices: Prices, target: float, upper: float | None, mu: float | None) -> tuple[list[float], int]:
    """|ℓ| before each bar and the ends: daily at 00:00 and at once above `upper`, walked in plain floats."""
    sign = math.copysign(1, target)
    extremes = prices.low if target > 0 else prices.high
    assert extremes is not None
    leverages, ends = [], 0
    equity, q = 1.0, target / prices.close[0]
    for k in range(1, len(prices)):
        before, now = prices.close[k - 1], prices.close[k]
        leverages.append(abs(q) * before / equity)
        left = equity + q * (extremes[k] - before)
        if left <= (0 if mu is None else mu * abs(q) * extremes[k]):
            ends += 1
            equity, q = 1.0, target / now
            continue
        equity += q * (now - before)
        due = prices.times_ms[k] // 86_400_000 > prices.times_ms[k - 1] // 86_400_000
        if due or (upper is not None and sign * q * now / equity > upper):
            q = target * equity / now
    return leverages, ends


@pytest.mark.parametrize("target", [6.0, -6.0])
@pytest.mark.parametrize("upper", [None, 7.0])
def test_the_whole_rule_is_the_token_run_over_the_prices(target, upper):
    prices = walk(11, 6_000, sigma=0.025 if upper is None else 0.06)
    rule = Rule(schedule=(Schedule(times=("00:00",)),), band_upper=upper)
    budget = gap_budget(Token(symbol="X", target=target, rule=rule), prices, maintenance_rate=0.01)
    row = rows_of(budget, budget.side)[WHOLE_RULE, "path"]
    leverages, ends = by_hand(prices, target, upper, None)
    assert row.zero.counted == ends > 3
    assert row.liquidation.counted == by_hand(prices, target, upper, 0.01)[1]
    assert row.windows == len(prices) - 1
    one_bar = [
        passage(
            math.log1p(-1 / math.copysign(leverage, target)), budget.volatility, -(budget.volatility**2) / 2, 1 / 8_760
        )
        for leverage in leverages
    ]
    assert row.zero.by_diffusion == pytest.approx(np.mean(one_bar), rel=0.03)
    moves = (prices.low if target > 0 else prices.high)[1:] / prices.close[:-1] - 1
    left = 1 + math.copysign(1, target) * np.array(leverages) * moves
    assert row.worst_move == pytest.approx(moves[np.argmin(left)])
    assert abs(row.leverage) == pytest.approx(leverages[int(np.argmin(left))])
    assert budget.zero_per_year == max(row.zero.per_year, row.zero.per_year_counted)
    assert row.zero.per_year_counted == pytest.approx(1 - (1 - ends / row.windows) ** 8_760)


def test_a_crash_is_counted_dated_and_said():
    prices = walk(2, 24 * 120, sigma=0.002, crash=(1_000, -0.4))
    budget = gap_budget(catalog.token("ftx", "BTC", 3), prices)
    own = rows_of(budget, "long")
    assert [own[key].zero.counted for key in own] == [1, 1, 1, 1]
    assert {row.worst_at for key, row in own.items() if key[0] != "daily 00:02 UTC"} == {"2023-02-11T17:00:00Z"}
    assert own["daily 00:02 UTC", "target"].worst_at.startswith("2023-02-11T")
    assert all(-0.43 < row.worst_move < -0.38 for row in own.values())
    assert all(row.zero.counted == 0 for row in rows_of(budget, "short").values())
    (sentence,) = budget.warnings
    for words in (
        "NAV may reach zero, or the venue liquidate just before",
        "1 of 2,879 bars (0.3 years of data)",
        "2023-02-11 17:00 UTC",
    ):
        assert words in sentence
    calm = gap_budget(catalog.token("ftx", "BTC", 3), walk(2, 24 * 120, sigma=0.002))
    assert calm.warnings == ()
    assert calm.zero_per_year < 1e-6


def test_the_frame_and_the_text_of_a_budget():
    budget = gr.gap_budget(catalog.token("ftx", "BTC", -3), walk(2, 2_000, sigma=0.02))
    assert isinstance(budget, gr.GapBudget)
    frame = budget.frame
    assert frame["side"].to_list() == ["short"] * 4 + ["long"] * 4
    assert {"trigger", "start", "zero_move", "zero_per_year", "liquidation_counted", "worst_at"} <= set(frame.columns)
    assert frame["zero_per_gap"].to_list() == [row.zero.per_gap for row in budget.rows]
    assert repr(budget).startswith("GapBudget(BTC3S")
    assert "NAV at zero" in repr(budget)


def test_the_other_side_is_left_out_where_the_rule_cannot_be_turned():
    token = Token(symbol="X", target=-3.0, rule=Rule(target=-3.0, move_against=1.5, band_upper=5))
    assert {row.side for row in gap_budget(token, walk(1, 100)).rows} == {"short"}


def test_what_cannot_be_used_is_refused():
    token = catalog.token("ftx", "BTC", 3)
    for rate in (-0.1, 1.0, "x", math.nan, True):
        with pytest.raises(InputError, match="is no maintenance rate"):
            gap_budget(token, walk(1, 50), maintenance_rate=rate)
    with pytest.raises(InputError, match="is no capital"):
        gap_budget(token, walk(1, 50), equity=0)
    with pytest.raises(InputError, match="is no token"):
        gap_budget("ftx", walk(1, 50))
    with pytest.raises(InputError, match="a single price has no moves"):
        gap_budget(token, Prices(np.array([START]), np.array([1.0])))


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0, "0 %"), (1e-9, "< 0.0001 %"), (0.0000123, "0.0012 %"), (0.0123, "1.2 %"), (0.1386, "14 %"),
        (0.9999, "> 99.9 %"), (1, "100 %"),
    ],
)  # fmt: skip
def test_a_chance_as_people_read_it(p, text):
    assert chance_text(p) == text


@given(cases())
@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
def test_any_rule_on_any_path_has_a_budget(case):
    prices = Prices(np.array(case.times), np.array(case.prices), **{k: np.array(v) for k, v in case.bars.items()})
    budget = gap_budget(case.token, prices, equity=case.equity)
    assert 0 <= budget.zero_per_year <= budget.zero_per_year_at_worst <= 1
    assert 0 <= budget.liquidation_per_year <= budget.liquidation_per_year_at_worst <= 1
    for row in budget.rows:
        for chance in (row.zero, row.liquidation):
            assert 0 <= chance.per_gap <= 1
            assert 0 <= chance.by_diffusion <= 1
            assert 0 <= chance.counted <= row.windows
        if row.trigger != WHOLE_RULE:
            assert row.liquidation.counted >= row.zero.counted
    assert repr(budget)
    assert all(sentence.endswith(".") for sentence in budget.warnings)
    # A token that the backtest wipes out is one that the budget counts.
    bare = msgspec.structs.replace(case.token, fees=Fees(), legs=(Perpetual(lot=case.token.legs[0].lot),))
    died = backtest(bare, prices, costs=Costs()).summary().wiped_out
    whole = gap_budget(bare, prices).rows[0]
    assert whole.zero.counted >= died
