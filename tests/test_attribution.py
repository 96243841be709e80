"""Attribution against a second derivation: rebuilt from the plain loop's path, not from the engine's ledger."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given

import gearing as gr
from gearing.market.series import Funding, Prices
from tests import oracle, reference
from tests.strategies import cases, examples


def result_of(case):
    prices = Prices(np.array(case.times), np.array(case.prices), **{k: np.array(v) for k, v in case.bars.items()})
    funding = None
    if case.funding:
        times, rates = zip(*case.funding, strict=True)
        funding = Funding(np.array(times), np.array(rates))
    return prices, funding


@pytest.mark.filterwarnings("ignore:.*too small to hold")
@examples(2)
@given(cases())
def test_parts_sum_to_the_whole(case):
    prices, _ = result_of(case)
    result = gr.backtest(case.token, prices, equity=case.equity)
    parts, final = result.attribution, result.summary().final_nav
    assert parts.money.total == pytest.approx(final - 100.0, abs=1e-7)
    if final > 1e-9:
        assert parts.log.total == pytest.approx(math.log(final / 100.0), abs=1e-7)
    elif result.summary().wiped_out:
        assert parts.log is None
        assert parts.money.gap < 0


@pytest.mark.parametrize(("target", "with_band"), list(reference.FIGURES))
def test_parts_of_the_reference_job(target, with_band):
    """Leverage, drag and costs from their definitions on the traded prices; timing is what remains."""
    prices, funding = reference.market()
    result = gr.backtest(reference.token(target, with_band), prices, funding=funding)
    log, money, events = result.attribution.log, result.attribution.money, result.events
    traded = result.rebalances["price"].to_numpy()
    stretches = np.log(np.append(traded, prices.close[-1])[1:] / traded)
    assert log.leverage == pytest.approx(target * math.log(prices.close[-1] / prices.close[0]), abs=1e-9)
    assert log.variance_drag == pytest.approx(-target * (target - 1) / 2 * np.sum(stretches**2), rel=1e-9)
    units = 10_000
    assert money.funding == pytest.approx(events["funding"].sum() / units, rel=1e-9)
    assert money.management_fee == pytest.approx(events["management_fee"].sum() / units, rel=1e-9)
    assert money.commission + money.spread == pytest.approx(-events["cost"].sum() / units, rel=1e-9)
    assert money.spread == pytest.approx(-2e-4 * np.abs(result.rebalances["notional"]).sum() / units, rel=1e-9)
    assert log.management_fee == pytest.approx(364 * math.log(1 - 3e-4), rel=1e-9)
    assert log.total == pytest.approx(math.log(result.summary().final_nav / 100), abs=1e-10)


@pytest.mark.filterwarnings("ignore:.*too small to hold")
@pytest.mark.filterwarnings("ignore::gearing.errors.DataWarning")
@given(cases())
def test_money_of_postings_equals_the_loop(case):
    prices, funding = result_of(case)
    truth = oracle.simulate(
        case.token, case.times, case.prices, case.funding, equity=case.equity, bars=case.bars, spacing=case.spacing_ms
    )
    if truth.wiped_out or truth.liquidations:
        return
    result = gr.backtest(case.token, prices, funding=funding, equity=case.equity)
    money, units = result.attribution.money, case.equity / 100
    near = {"rel": 1e-8, "abs": 1e-9 * 100}
    assert money.funding == pytest.approx(truth.money.get("funding", 0.0) / units, **near)
    assert money.management_fee == pytest.approx(truth.money.get("fee", 0.0) / units, **near)
    assert money.commission + money.spread + money.impact == pytest.approx(truth.money.get("cost", 0.0) / units, **near)
