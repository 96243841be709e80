"""Series of several legs: chains of contracts, common times, rates and dividends, and what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import gearing as gr

DAY = 86_400_000
START = 1_672_531_200_000
TIMES = START + np.arange(20) * DAY
PRICES = 100 * np.exp(np.cumsum(np.random.default_rng(5).standard_normal(20) * 0.03))
DAILY = gr.Rule(schedule=(gr.Schedule(times=("00:00",)),))


def chain(*expiries, roll_days=2):
    contracts = tuple(gr.Contract(symbol=f"C{k}", expiry=expiry) for k, expiry in enumerate(expiries))
    return (gr.DatedFuture(symbol="BTC", contracts=contracts, roll_days=roll_days),)


def token(legs, **fields):
    return gr.Token(symbol="T", **({"target": 2.0, "rule": DAILY, "legs": legs} | fields))


def test_a_chain_without_costs_equals_the_price_it_follows():
    # Contracts at constant premiums move as the price does, so the roll from one into the next changes nothing.
    series = {"C0": (TIMES, PRICES * 1.01), "C1": (TIMES, PRICES * 1.04), "C2": (TIMES, PRICES * 0.98)}
    legs = chain("2023-01-08", "2023-01-15", "2023-03-01")
    result = gr.backtest(token(legs), series)
    alone = gr.backtest(token((gr.Perpetual(),)), (TIMES, PRICES))
    assert result.nav["nav"].to_numpy() == pytest.approx(alone.nav["nav"].to_numpy(), rel=1e-12)
    assert result.summary().underlying_return == pytest.approx(PRICES[-1] / PRICES[0] - 1, rel=1e-12)
    against = gr.backtest(token(legs), series, underlying=(TIMES, PRICES)).attribution
    assert against.log.basis == pytest.approx(0, abs=1e-12)


def test_a_roll_pays_for_both_trades_at_its_day():
    costs = gr.Costs(taker_fee=0.001)
    held = gr.Token(symbol="T", target=1.0, legs=chain("2023-01-08", "2023-03-01"), costs=costs)
    result = gr.backtest(held, {"C0": (TIMES, PRICES), "C1": (TIMES, PRICES * 1.05)})
    (roll,) = result.events.filter(pl.col("roll_cost") != 0).iter_rows(named=True)
    # Two days before 8 January, which is the sixth price; what the opening bought is sold, and bought in the next.
    held_units = 1_000_000 / PRICES[0]
    assert roll["time"].strftime("%Y-%m-%d") == "2023-01-06"
    assert roll["roll_cost"] == pytest.approx(-2 * 0.001 * held_units * PRICES[5], rel=1e-12)
    assert result.legs["position"].to_list() == pytest.approx([held_units, held_units / 1.05])


def test_what_the_contract_makes_beyond_the_underlying_is_basis():
    premium = np.linspace(0.05, 0.0, 20)
    held = gr.Token(symbol="T", target=1.0, legs=chain("2023-03-01"))
    result = gr.backtest(held, {"C0": (TIMES, PRICES * (1 + premium))}, underlying=(TIMES, PRICES))
    assert result.attribution.log.basis == pytest.approx(np.log(1 / 1.05), rel=1e-9)
    assert result.attribution.log.leverage == pytest.approx(np.log(PRICES[-1] / PRICES[0]), rel=1e-9)


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ({"C0": (TIMES, PRICES)}, "no prices for 'C1'"),
        ({"C0": (TIMES[:4], PRICES[:4]), "C1": (TIMES, PRICES)}, "before the roll is due"),
        ({"C0": (TIMES, PRICES), "C1": (TIMES[10:], PRICES[10:])}, "after the roll into it"),
        ((TIMES, PRICES), "each leg or contract has its own"),
    ],
)
def test_a_chain_that_cannot_be_joined_is_refused(series, words):
    with pytest.raises(gr.DataError, match=words) as caught:
        gr.backtest(token(chain("2023-01-08", "2023-03-01")), series)
    assert caught.value.fix


def test_legs_run_on_the_union_of_their_times_with_the_last_price_held():
    legs = (gr.Perpetual(symbol="A", weight=0.5), gr.Perpetual(symbol="B", weight=0.5))
    held = gr.Token(symbol="T", target=1.0, legs=legs)
    a, b = (TIMES[:5], np.array([10.0, 11, 12, 13, 14])), (TIMES[1:6:2], np.array([20.0, 30, 40]))
    result = gr.backtest(held, {"A": a, "B": b})
    assert result.prices.times_ms.tolist() == TIMES[1:6].tolist()
    # Each leg starts with half of 100 at the first common time.
    expected = [100, 50 * 12 / 11 + 50, 50 * 13 / 11 + 75, 50 * 14 / 11 + 75, 50 * 14 / 11 + 100]
    assert result.nav["nav"].to_list() == pytest.approx(expected, rel=1e-12)
    with pytest.warns(gr.DataWarning, match="its last price is held to"):
        gr.backtest(held, {"A": (TIMES[:3], a[1][:3]), "B": (TIMES[:9], PRICES[:9])})
    with pytest.raises(gr.DataError, match="no time in common"):
        gr.backtest(held, {"A": (TIMES[:2], a[1][:2]), "B": (TIMES[5:7], b[1][:2])})


@pytest.mark.parametrize("target", [2.0, -1.0])
def test_a_swap_and_its_cash_follow_the_rate_of_the_day_before(target):
    rates = np.linspace(0.01, 0.09, 20)
    swap = (gr.TotalReturnSwap(spread=0.004),)
    dividends = (TIMES[7:8], np.array([1.5]))
    result = gr.backtest(token(swap, target=target), (TIMES, PRICES), rates=(TIMES, rates), dividends=dividends)
    nav = [100.0]
    for day in range(1, 20):
        paid = PRICES[day] + (1.5 if day == 7 else 0) - PRICES[day - 1]
        r, notional = rates[day - 1], target * nav[-1]
        financed = (r * notional + 0.004 * abs(notional)) / 360
        nav.append(nav[-1] + notional / PRICES[day - 1] * paid - financed + nav[-1] * r / 360)
    assert result.nav["nav"].to_list() == pytest.approx(nav, rel=1e-12)
    log = result.attribution.log
    assert log.total == pytest.approx(np.log(nav[-1] / 100), rel=1e-9)
    assert np.sign(log.dividends) == np.sign(target)
    assert log.cash_interest > 0


def test_rates_and_dividends_are_read_when_they_were_known():
    days = ["2023-01-01", "2023-01-02", "2023-01-03"]
    table = pl.DataFrame({"series": ["DFF"] * 3, "date": days, "rate_pct": [4.0, 4.5, 5.0]})
    rates = gr.read_rates(table)
    assert rates.rates.tolist() == pytest.approx([0.04, 0.045, 0.05])
    assert rates.start == "2023-01-02T00:00:00Z"
    assert rates.at(START + np.array([0, 1, 2]) * DAY).tolist() == pytest.approx([0, 0.04, 0.045])
    assert gr.read_rates(table, stamp="close").start == "2023-01-01T00:00:00Z"
    assert gr.read_rates(table.rename({"rate_pct": "rate"}), unit="percent").rates[0] == pytest.approx(0.04)
    assert gr.read_rates(0.05).at(TIMES).tolist() == [0.05] * 20
    paid = gr.read_dividends(pl.DataFrame({"date": days, "dividends": [0.0, 0.7, 0.0]}))
    assert (paid.start, paid.amounts.tolist()) == ("2023-01-03T00:00:00Z", [0.7])


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda: gr.read_rates((TIMES[:1], [4.5])), "between -1 and 1"),
        (lambda: gr.read_rates(pl.DataFrame({"date": ["2023-01-01"], "x": [1.0]})), "no column"),
        (lambda: gr.read_dividends((TIMES[:1], [-1.0])), "at least 0"),
        (lambda: gr.read_dividends(pl.DataFrame({"date": ["2023-01-01"], "dividends": [0.0]})), "no dividend"),
    ],
)
def test_what_can_be_no_rate_or_dividend_is_refused(read, words):
    with pytest.raises(gr.DataError, match=words):
        read()


def test_a_period_keeps_the_rate_that_holds_at_its_start_and_only_its_dividends():
    rates = gr.Rates(TIMES[[0, 10, 15]], np.array([0.01, 0.02, 0.03]))
    cut = rates.between("2023-01-06", "2023-01-16")
    assert cut.rates.tolist() == [0.01, 0.02]
    assert cut.at(TIMES[5:10]).tolist() == [0.01] * 5
    # At its very moment a rate is known, and the one before it is not needed.
    assert rates.between("2023-01-11").rates.tolist() == [0.02, 0.03]
    assert gr.read_rates(0.05).between("2023-01-06", "2023-01-16").rates.tolist() == [0.05]
    with pytest.raises(gr.DataError, match="no rates in"):
        rates.between(end="2022-12-01")
    dividends = gr.Dividends(TIMES[[0, 10, 15]], np.array([1.0, 2.0, 3.0]))
    assert dividends.between("2023-01-02", "2023-01-16").amounts.tolist() == [2.0]
    with pytest.raises(gr.DataError, match="no dividends in"):
        dividends.between("2023-01-02", "2023-01-05")


def test_a_table_without_symbols_serves_no_two_legs():
    legs = (gr.Perpetual(symbol="A", weight=0.5), gr.Perpetual(symbol="B", weight=0.5))
    table = pl.DataFrame({"timestamp": TIMES, "close": PRICES})
    with pytest.raises(gr.DataError, match="each leg or contract has its own"):
        gr.backtest(token(legs), table)


def test_joined_contracts_have_the_lows_and_highs_of_the_one_held():
    def bars(premium):
        close = PRICES * premium
        return gr.Prices(TIMES, close, low=close * 0.97, high=close * 1.02)

    result = gr.backtest(token(chain("2023-01-08", "2023-03-01")), {"C0": bars(1.01), "C1": bars(1.04)})
    assert result.prices.low == pytest.approx(PRICES * 1.01 * 0.97)
    assert result.prices.high == pytest.approx(PRICES * 1.01 * 1.02)


def test_a_result_says_what_each_leg_ran_on():
    legs = (gr.Perpetual(symbol="A", weight=0.5), gr.TotalReturnSwap(symbol="B", weight=0.5))
    series = {name: gr.Prices(TIMES, PRICES, symbol=name) for name in ("A", "B")}
    held = gr.backtest(token(legs), series, funding={"A": (TIMES[1:], np.full(19, 1e-4))}, rates=0.03)
    assert [leg.prices.symbol for leg in held.ran_on.legs] == ["A", "B"]
    assert [leg.funding is None for leg in held.ran_on.legs] == [False, True]
    assert held.ran_on.rates.rates.tolist() == [0.03]
    assert held.ran_on.times_ms.tolist() == TIMES.tolist()
