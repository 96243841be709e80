"""The plain loop of several legs against closed forms and the loop of one leg, without the engine."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given

from gearing.core.fees import Costs, Fees
from gearing.core.instruments import MarginTier
from gearing.core.rule import Pace, Rule, Schedule
from tests import oracle
from tests.oracle_legs import simulate_legs
from tests.strategies import HOUR, START, cases, examples
from tests.strategies_legs import DAY, leg_cases, make_token
from tests.test_oracle import NUDGE

EVERY_BAR = Rule(schedule=(Schedule(every="1h"),))
DAILY = Rule(schedule=(Schedule(times=("00:00",)),))
NEVER = Rule()
COSTS = Costs(taker_fee=5e-4, half_spread=2e-4)


def token(legs, *, target=3.0, rule=NEVER, fees=None, costs=None, cash_interest=0.0):
    return make_token(target=target, rule=rule, fees=fees or Fees(), costs=costs or Costs(), legs=legs,
                      cash_interest=cash_interest)  # fmt: skip


def walk(seed, n, scale=0.01):
    moves = np.random.default_rng(seed).standard_normal(n) * scale
    return (100 * np.exp(np.cumsum(moves) - moves[0])).tolist()


def hours(n):
    return [START + i * HOUR for i in range(n)]


def closes(*prices, **more):
    return [{"close": list(p), **more} for p in prices]


def as_one_leg(case):
    leg = case.token.legs[0]
    fields = {"lot": leg.lot, "multiplier": leg.multiplier, "margin_tiers": leg.margin_tiers}
    one = make_token(target=case.token.target, rule=case.token.resolved_rule, fees=case.token.fees,
                     costs=case.token.costs, legs=[("Perpetual", fields)])  # fmt: skip
    return one, [{"close": case.prices, "funding": case.funding, **case.bars}]


def close_to(mine, truth, loose, scale):
    """Equal within `loose` of what was at stake, plus what each loop's own adding up may have lost."""
    return np.all(np.abs(np.array(mine) - np.array(truth)) <= loose * np.array(scale))


@examples(2)
@given(cases())
def test_one_linear_leg_equals_the_loop_of_one_leg(case):
    truth = oracle.simulate(
        case.token, case.times, case.prices, case.funding, equity=case.equity, bars=case.bars, spacing=case.spacing_ms
    )
    one, data = as_one_leg(case)
    mine = simulate_legs(one, case.times, data, equity=case.equity, spacing=case.spacing_ms)
    # Where rounding alone decides (equity marked to zero to the last digit), two loops may differ.
    assume(not mine.knife)
    assert mine.rebalances == truth.rebalances
    assert [bar for bar, _ in mine.trades] == [bar for bar, _ in truth.trades]
    assert (mine.liquidations, mine.wiped_out) == (truth.liquidations, truth.wiped_out)
    stake = np.maximum.accumulate(np.array(truth.nav))
    assert close_to(mine.nav, truth.nav, 1e-12, stake)
    moved = simulate_legs(one, case.times, data, equity=case.equity, nudge=NUDGE, spacing=case.spacing_ms)
    alive = np.array(mine.nav) > 0
    felt = np.abs(np.array(moved.nav) - np.array(mine.nav))[alive] / np.array(mine.nav)[alive] / NUDGE
    loose = 1e-12 + 8 * float(felt.max(initial=0.0))
    assert mine.turnover == pytest.approx(truth.turnover, rel=loose)
    assert mine.leverages == pytest.approx(truth.leverages, rel=loose * max([1.0, *truth.leverages]))
    for part in ("funding", "fee", "cost"):
        assert mine.money.get(part, 0.0) == pytest.approx(truth.money.get(part, 0.0), rel=loose, abs=1e-12 * max(stake))


PACED = Rule(band_upper=4, ripcord=5, schedule=DAILY.schedule, pace=Pace(largest=2e5, interval="2h"))


@pytest.mark.parametrize("rule", [DAILY, Rule(deviation=0.2, aim="edge"), PACED])
@pytest.mark.parametrize("impact", [0.0, 0.02])
def test_two_equal_legs_equal_one(rule, impact):
    prices, costs = walk(1, 300, 0.02), Costs(taker_fee=5e-4, half_spread=2e-4, impact=impact)
    volume = np.random.default_rng(2).random(300) * 4000
    funding = [(START + 8 * HOUR * k, 3e-4 * (-1) ** k) for k in range(40)]
    fees = Fees(management_per_day=3e-4)
    one = simulate_legs(token([("Perpetual", {})], rule=rule, costs=costs, fees=fees), hours(300),
                        closes(prices, funding=funding, volume=volume.tolist()))  # fmt: skip
    pair = [("Perpetual", {"symbol": name, "weight": 0.5}) for name in "AB"]
    half = closes(prices, prices, funding=funding, volume=(volume / 2).tolist())
    two = simulate_legs(token(pair, rule=rule, costs=costs, fees=fees), hours(300), half)
    assert two.rebalances == one.rebalances
    assert len(one.rebalances) > 2
    assert two.nav == pytest.approx(one.nav, rel=1e-12)
    assert two.turnover == pytest.approx(one.turnover, rel=1e-12)
    assert two.index == pytest.approx(one.index, rel=1e-12)
    assert two.money == pytest.approx(one.money, rel=1e-10, abs=1e-6)


@pytest.mark.parametrize("beta", [3.0, -1.0, -3.0, 0.5, 1.0, 2.0])
def test_an_inverse_perpetual_rebalanced_at_every_bar_compounds_beta_times_the_return(beta):
    prices = walk(3, 200)
    run = simulate_legs(token([("Perpetual", {"inverse": True})], target=beta, rule=EVERY_BAR), hours(200),
                        closes(prices))  # fmt: skip
    r = np.diff(prices) / np.array(prices[:-1])
    assert run.nav == pytest.approx(1e6 * np.concatenate([[1], np.cumprod(1 + beta * r)]), rel=1e-12)
    assert len(run.rebalances) == 200


@pytest.mark.parametrize(("beta", "sign"), [(3.0, 1), (5.0, 1), (-1.0, -1), (-3.0, -1)])
def test_an_inverse_perpetual_is_liquidated_at_formula_4(beta, sign):
    mu, leg = 0.05, {"inverse": True}
    one = token([("Perpetual", leg | {"margin_tiers": (MarginTier(rate=mu),)})], target=beta)
    worst = 100 * (1 + sign * mu) * (beta - 1) / beta

    def run(reach, costs=None):
        data = closes([100.0, 100.0, 110.0], open=[100.0] * 3, low=[100.0, min(reach, 100.0), 100.0],
                      high=[100.0, max(reach, 100.0), 110.0])  # fmt: skip
        return simulate_legs(one, hours(3), data, costs=costs)

    short = run(worst * (1 + sign * 1e-9))
    assert short.liquidations == 0
    assert short.nav[-1] == pytest.approx(1e6 * (1 + beta * 0.1), rel=1e-12)
    # What is left is maintenance margin μ|N| less the fee on |N|, held as coin from p* on.
    notional = abs(beta - 1) * 1e6
    beyond = run(worst * (1 - sign * 1e-9))
    assert beyond.liquidations == 1
    assert beyond.nav[1:] == pytest.approx([mu * notional * p / worst for p in (100, 110)], rel=1e-9)
    charged = run(worst * (1 - sign * 1e-9), Costs(liquidation_fee=2.5e-3))
    assert charged.nav[2] == pytest.approx(beyond.nav[2] * (1 - 2.5e-3 / mu), rel=1e-9)
    assert charged.money["liquidation"] == pytest.approx(-2.5e-3 * notional, rel=1e-12)


def test_an_inverse_perpetual_pays_its_money_in_coin():
    costs = Costs(taker_fee=1e-3)
    data = closes([100.0, 120.0, 90.0], funding=[(START + HOUR, 0.01)])
    run = simulate_legs(token([("Perpetual", {"inverse": True})], costs=costs), hours(3), data)
    # Opening: N = 2E; the fee of 2,000 goes out of the coin. In coin: profit N·(1/100 − 1/p), funding N·rate/p.
    coin = 1e6 / 100 - 2000 / 100
    n = 2e6
    first = coin + n * (1 / 100 - 1 / 120) - n * 0.01 / 120
    assert run.nav[1] == pytest.approx(first * 120, rel=1e-12)
    second = coin + n * (1 / 100 - 1 / 90) - n * 0.01 / 120
    assert run.nav[2] == pytest.approx(second * 90, rel=1e-12)


def test_the_aim_after_cost_of_an_inverse_perpetual_is_met_in_exposure():
    rule = Rule(deviation=0.1, aim="edge")
    run = simulate_legs(token([("Perpetual", {"inverse": True})], rule=rule, costs=Costs(taker_fee=0.01)), hours(2),
                        closes([100.0, 90.0]))  # fmt: skip
    assert [reason for _, reason in run.rebalances] == ["opening", "band"]
    assert run.positions[1][0] * 90 / run.nav[1] == pytest.approx(3.3, rel=1e-12)


@pytest.mark.parametrize("beta", [3.0, -2.0])
def test_the_aim_after_cost_of_a_basket_is_met_in_exposure(beta):
    rule, costs = Rule(deviation=0.1, aim="edge"), Costs(taker_fee=0.004, half_spread=0.001, impact=0.01)
    legs = [("Perpetual", {"symbol": "A", "weight": 1.5}), ("Spot", {"symbol": "B", "weight": -0.5})]
    fall = [100.0, 90.0] if beta > 0 else [100.0, 110.0]
    data = closes(fall, [100.0, 99.0], volume=[1e5, 1e5])
    run = simulate_legs(token(legs, target=beta, rule=rule, costs=costs), hours(2), data)
    q = run.positions[1]
    assert (q[0] * fall[1] + q[1] * 99) / run.nav[1] == pytest.approx(beta * 1.1, rel=1e-12)
    # Scaled, so what is held of each leg keeps its proportion.
    assert q[0] / q[1] == pytest.approx(run.positions[0][0] / run.positions[0][1], rel=1e-12)


@pytest.mark.parametrize("beta", [3.0, -1.0])
def test_a_swaps_days_equal_formula_14(beta):
    noon = START + DAY // 2
    times = [noon, noon + DAY, noon + 4 * DAY]
    prices, dividend = [100.0, 102.0, 95.0], 0.75
    rates = [(START, 0.05), (noon + DAY, 0.02), (noon + 3 * DAY, 0.9)]
    data = closes(prices, dividends=[(noon + 3 * DAY, dividend)])
    swap = token([("TotalReturnSwap", {"spread": 0.004})], target=beta, rule=DAILY, cash_interest=0.8)
    run = simulate_legs(swap, times, data, equity=1000.0, rates=rates)
    notional, E = beta * 1000.0, 1000.0
    E1 = E + notional * 0.02 - (0.05 * notional + 0.004 * abs(notional)) / 360 + 0.8 * 0.05 * E / 360
    assert run.nav[1] == pytest.approx(E1, rel=1e-12)
    notional = beta * E1
    E2 = E1 + notional * ((95 + dividend) / 102 - 1)
    E2 += -(0.02 * notional + 0.004 * abs(notional)) * 3 / 360 + 0.8 * 0.02 * E1 * 3 / 360
    assert run.nav[2] == pytest.approx(E2, rel=1e-12)
    assert sum(run.money.values()) + beta * 20 + beta * E1 * (95 / 102 - 1) == pytest.approx(E2 - 1000.0, rel=1e-9)


def test_spot_is_paid_from_the_cash_that_earns_interest():
    times, data = [START, START + DAY], closes([100.0, 100.0])
    for beta, cash in ((0.25, 0.75), (1.0, 0.0), (-1.0, 2.0)):
        run = simulate_legs(token([("Spot", {})], target=beta, cash_interest=1.0), times, data, rates=[(START, 0.036)])
        assert run.nav[1] == pytest.approx(1e6 * (1 + cash * 1e-4), rel=1e-12)


@pytest.mark.parametrize("rule", [DAILY, Rule(deviation=0.15, move_favour=0.1)])
def test_a_chain_of_contracts_equals_the_unspliced_one(rule):
    prices, times = walk(5, 400, 0.02), hours(400)
    steps, factor, chained, rolls = {48: 0.9, 131: 1.25, 240: 0.5}, 1.0, [], []
    for i, p in enumerate(prices):
        if i in steps:
            rolls.append((i, p * factor))
            factor *= steps[i]
        chained.append(p * factor)
    legs = [("DatedFuture", {"symbol": "A", "weight": 0.75}), ("Perpetual", {"symbol": "B", "weight": 0.25})]
    other = walk(6, 400)
    plain = simulate_legs(token(legs, rule=rule), times, closes(prices, other))
    run = simulate_legs(token(legs, rule=rule), times, [{"close": chained, "rolls": rolls}, {"close": other}])
    assert run.rebalances == plain.rebalances
    assert len(run.rebalances) > 4
    assert [bar for bar, _ in run.rolls] == list(steps)
    assert run.nav == pytest.approx(plain.nav, rel=1e-11)
    assert run.index == pytest.approx(plain.index, rel=1e-12)
    assert run.turnover == pytest.approx(plain.turnover, rel=1e-11)


def test_a_roll_costs_its_two_trades_and_keeps_whole_lots():
    data = [{"close": [100.0, 80.0], "rolls": [(1, 100.0)]}]
    held = simulate_legs(token([("DatedFuture", {})], costs=COSTS), hours(2), data)
    # Selling 3E₀ at the bid of the old, buying the same at the ask of the new.
    half = 2e-4
    sold, bought = half + (1 - half) * 5e-4, half + (1 + half) * 5e-4
    assert held.nav[0] == pytest.approx(1e6 - 3e6 * bought, rel=1e-12)
    assert held.nav[1] == pytest.approx(held.nav[0] - 3e6 * (sold + bought), rel=1e-12)
    assert held.positions[1][0] == pytest.approx(37_500, rel=1e-12)
    assert held.turnover == pytest.approx(3, rel=1e-12)
    lots = simulate_legs(token([("DatedFuture", {"lot": 1000.0})]), hours(2), data)
    assert lots.positions == [[30_000.0], [37_000.0]]


def test_a_daily_basket_compounds_beta_times_its_weighted_return():
    weights, beta = (0.75, 0.5, -0.25), 2.0
    paths = [walk(seed, 120, 0.02) for seed in (7, 8, 9)]
    kinds = ("Perpetual", "TotalReturnSwap", "Spot")
    legs = [(kind, {"symbol": kind, "weight": w}) for kind, w in zip(kinds, weights, strict=True)]
    times = [START + k * DAY for k in range(120)]
    run = simulate_legs(token(legs, target=beta, rule=DAILY), times, closes(*paths))
    r = np.diff(np.array(paths)) / np.array(paths)[:, :-1]
    basket = np.array(weights) @ r
    assert run.nav == pytest.approx(1e6 * np.concatenate([[1], np.cumprod(1 + beta * basket)]), rel=1e-11)
    assert run.index == pytest.approx(np.concatenate([[1], np.cumprod(1 + basket)]), rel=1e-11)


def pair(**more):
    return [("Perpetual", {"symbol": name, "weight": 0.5} | more) for name in "AB"]


def test_a_band_lets_weights_drift_and_a_schedule_restores_them():
    times = [START, START + HOUR, START + 2 * HOUR, START + DAY]
    data = closes([100.0, 150.0, 160.0, 160.0], [100.0] * 4)
    run = simulate_legs(token(pair(), target=2.0, rule=Rule(band_lower=1.9, schedule=DAILY.schedule)), times, data)
    assert [reason for _, reason in run.rebalances] == ["opening", "band", "schedule"]
    held = np.array(run.positions) * np.array([[100, 100], [150, 100], [160, 100], [160, 100]])
    assert held[1].tolist() == pytest.approx([1.8e6, 1.2e6])  # 2 · 1.5e6 in the proportion 3 : 2
    assert held[2].tolist() == pytest.approx([1.92e6, 1.2e6])
    assert held[3].tolist() == pytest.approx([1.62e6, 1.62e6])
    # The index keeps the weights of the last restoring, so the band's rebalance leaves its shares alone.
    assert run.index == pytest.approx([1.0, 1.25, 1.3, 1.3])
    assert run.turnover == pytest.approx(2 + (0.3e6 + 0.2e6) / 1.5e6 + (0.3e6 + 0.42e6) / 1.62e6)


def test_what_is_below_a_legs_least_notional_is_left_out():
    data = closes([100.0, 90.0], [100.0, 100.0])
    rule = Rule(band_upper=2.05)
    # 0.9e6 and 1e6 held against 0.9e6 of equity: 5/95 of each is to go, 47,368 and 52,632.
    for least, sold in ((47_000.0, (47368.42, 52631.58)), (50_000.0, (0.0, 52631.58))):
        run = simulate_legs(token(pair(min_notional=least), target=2.0, rule=rule), hours(2), data)
        assert [-run.trades[1][1][0] * 90, -run.trades[1][1][1] * 100] == pytest.approx(sold, abs=0.01)
    run = simulate_legs(token(pair(min_notional=53_000.0), target=2.0, rule=rule), hours(2), data)
    assert run.rebalances == [(0, "opening")]


def test_a_paced_basket_scales_all_legs_of_a_slice():
    legs = [("Perpetual", {"symbol": "A", "weight": 1.5}), ("Perpetual", {"symbol": "B", "weight": -0.5})]
    rule = Rule(pace=Pace(largest=1.6e6, interval="1h"))
    run = simulate_legs(token(legs, target=2.0, rule=rule), hours(5), closes([100.0] + [110.0] * 4, [50.0] * 5))
    # 3e6 to buy and 1e6 to sell, of which a slice of 1.6e6 at first. Then equity is 1.12e6 and 1.32e6 and −0.4e6 are
    # held against 3.36e6 and −1.12e6: 2.76e6 to trade, again a slice, and the rest. Later slices restore the weights.
    assert [bar for bar, _ in run.trades] == [0, 1, 2]
    traded = np.array([dq for _, dq in run.trades]) * np.array([[100, 50], [110, 50], [110, 50]])
    part = 1.6 / 2.76
    expected = [[1.2e6, -4e5], [2.04e6 * part, -0.72e6 * part], [2.04e6 * (1 - part), -0.72e6 * (1 - part)]]
    assert traded.tolist() == [pytest.approx(row) for row in expected]
    assert run.rebalances == [(0, "opening")]
    assert run.index == pytest.approx([1.0] + [1.15] * 4)


@pytest.mark.parametrize("inverse", [False, True])
def test_after_a_liquidation_only_a_schedule_trades(inverse):
    leg = ("Perpetual", {"inverse": inverse, "margin_tiers": (MarginTier(rate=0.05),)})
    rule = Rule(band_lower=2, band_upper=4, move_favour=0.3, schedule=DAILY.schedule)
    times = [START + HOUR * k for k in (1, 2, 3, 4, 25)]
    path = [100.0, 69.0, 40.0, 140.0, 140.0]
    run = simulate_legs(token([leg], rule=rule), times, closes(path))
    assert run.rebalances == [(0, "opening"), (4, "schedule")]
    assert run.liquidations == 1
    assert run.leverages[1:3] == ([1.0, 1.0] if inverse else [0.0, 0.0])
    assert run.nav[3] == pytest.approx(run.nav[1] * (140 / 69 if inverse else 1), rel=1e-12)
    assert run.positions[4][0] * 140 == pytest.approx(3 * run.nav[4], rel=1e-12)


def test_all_in_fees_leave_only_dividends_and_cash_interest():
    legs = [("TotalReturnSwap", {"symbol": "A", "weight": 0.5, "spread": 0.1}), pair()[1]]
    data = closes([100.0] * 2, [100.0] * 2, funding=[(START + DAY, 0.01)])
    data[0]["dividends"] = [(START + DAY, 1.0)]
    fees = Fees(management_per_day=1e-3, all_in=True)
    one = token(legs, target=2.0, fees=fees, costs=COSTS, cash_interest=1.0)
    run = simulate_legs(one, [START, START + DAY], data, rates=[(START, 0.036)])
    # A dividend of 1 % on 1e6, one day's interest of 1e-4, then the fee.
    assert run.nav == pytest.approx([1e6, (1e6 + 1e4 + 100) * 0.999], rel=1e-12)


def test_cross_margin_looks_at_all_legs_together():
    tier = (MarginTier(rate=0.1),)
    legs = [("Perpetual", {"symbol": "A", "weight": 2.0, "margin_tiers": tier}),
            ("Perpetual", {"symbol": "B", "weight": -1.0, "margin_tiers": tier})]  # fmt: skip
    costs = Costs(liquidation_fee=0.01)
    # 4E and −2E: margin 0.1·(4a + 2)·E against equity (1 + 4(a−1))·E meets at a = 3.2/3.6.
    edge = 100 * 3.2 / 3.6
    for first, closed in ((edge * (1 + 1e-6), 0), (edge, 1), (edge * (1 - 1e-6), 1)):
        run = simulate_legs(token(legs, target=2.0, costs=costs), hours(3), closes([100.0, first, 120.0], [100.0] * 3))
        assert run.liquidations == closed
        if closed:
            gross = 4e6 * first / 100 + 2e6
            left = 1e6 + 4e6 * (first / 100 - 1) - 0.01 * gross
            assert run.nav[1:] == pytest.approx([left, left], rel=1e-9)
            assert run.positions[2] == [0.0, 0.0]


@examples(2)
@given(leg_cases())
def test_money_and_moves_add_up_on_random_cases(case):
    """Equity's change is the positions' price moves plus all money booked, and exposure follows from positions."""
    run = simulate_legs(
        case.token, case.times, case.legs_data, equity=case.equity, rates=case.rates, spacing=case.spacing_ms
    )
    assert len(run.nav) == len(run.index) == len(run.positions) == len(case.times)
    assert math.isfinite(sum(run.nav))
    if run.wiped_out:
        assert run.nav[-1] == 0
        assert run.positions[-1] == [0.0] * len(case.legs_data)
        return
    if run.liquidations and len(case.legs_data) == 1:
        return  # closed within a bar, at a price that the closes do not show
    moves = 0.0
    for k, leg in enumerate(case.legs_data):
        rolls = dict(leg.get("rolls", ()))
        for i in range(1, len(case.times)):
            moves += run.positions[i - 1][k] * (rolls.get(i, leg["close"][i]) - leg["close"][i - 1])
    stake = max(run.nav) * max([1.0, *run.leverages])
    assert run.nav[-1] == pytest.approx(case.equity + moves + sum(run.money.values()), abs=1e-11 * stake)
    assert run.leverages[len(case.times) - 2] >= 0


@examples(2)
@given(leg_cases())
def test_the_past_does_not_know_the_future(case):
    run = simulate_legs(
        case.token, case.times, case.legs_data, equity=case.equity, rates=case.rates, spacing=case.spacing_ms
    )
    stop = len(case.times) // 2 + 1
    cut = case.cut(stop)
    early = simulate_legs(cut.token, cut.times, cut.legs_data, equity=cut.equity, rates=cut.rates,
                          spacing=case.spacing_ms)  # fmt: skip
    assert early.nav == run.nav[:stop]
    assert early.trades == [(bar, dq) for bar, dq in run.trades if bar < stop]
