"""The measured cost of hedging, which firm quotes charge: how it is estimated, and that a restart computes the same."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest

import gearing as gr
from gearing.core.hedging_cost import HEDGES_MAX, HedgeCost, costs_of, hedging_cost_rate, is_counted, with_hedge
from gearing.core.measured import LegTraded, Measured
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.quoting import cost_rate
from gearing.desk.boot import boot
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market as Prices
from tests.lives import token
from tests.test_primary import market
from tests.test_quotes import dealing, quoted
from tests.test_store_dealing import busy, kept

__all__ = ["kept"]


def hedge(cost, traded=1_000 * MINOR, epoch=1, **more):
    leg = LegTraded(symbol="A", decided=100.0, lots=10, paid=traded, worth=traded, commission=cost)
    return Measured(token="T", epoch=epoch, reason="dealing", aim=3.0, started_ms=1, before=3.0,
                    legs=(leg,), **{"ended_ms": 2, "fills": 1} | more)  # fmt: skip


def test_it_is_the_mean_of_the_last_hedges_by_size_and_age():
    costs = [HedgeCost(30, 100_000, 0), HedgeCost(20, 400_000, 0), HedgeCost(-10, 50_000, 0)]
    by_hand = Fraction(30) + Fraction(9, 10) * 20 + Fraction(81, 100) * -10
    traded = 100_000 + Fraction(9, 10) * 400_000 + Fraction(81, 100) * 50_000
    assert hedging_cost_rate(tuple(costs), 1.0) == pytest.approx(float(by_hand / traded), rel=1e-12)


@pytest.mark.parametrize(
    ("costs", "rate"),
    [
        ((), 0.0015),  # nothing was measured: what the specification says
        ((HedgeCost(-500, 1_000, 0),), 0.0),  # hedges that gained make no quote cheaper than iNAV
        ((HedgeCost(-500, 1_000, 2),), 0.002),  # nor cheaper than what the venue charges
        ((HedgeCost(900, 1_000, 1),), 0.01),  # a gap between decision and fill counts as 1 %
    ],
)
def test_it_is_bounded(costs, rate):
    assert hedging_cost_rate(costs, 0.0015) == rate


@pytest.mark.parametrize(
    ("measured", "counts"),
    [(hedge(5), True), (hedge(5, ended_ms=0), False), (hedge(5, traded=0), False), (hedge(5, slices=2), False)],
)
def test_only_what_ended_traded_and_was_one_slice_counts(measured, counts):
    assert is_counted(measured) == counts
    assert bool(with_hedge((), measured)) == counts == bool(costs_of([measured]))


def test_no_more_than_the_last_ones_are_kept():
    made, costs = [hedge(k, epoch=k) for k in range(30)], ()
    for one in made:
        costs = with_hedge(costs, one)
    assert [one.cost for one in costs] == list(range(29, 29 - HEDGES_MAX, -1))
    assert costs_of(reversed(made)) == costs


def test_a_quote_charges_what_hedges_cost_times_leverage():
    """The hedges of this desk cost 0.15 % of what they trade; the token holds three times its equity."""
    desk = dealing()
    desk.it.costs = ()
    for _ in range(HEDGES_MAX):
        desk.it.note_measured(hedge(int(0.0015 * 1_000 * MINOR)))
    quote = quoted(desk)
    assert cost_rate(desk.it.spec, desk.it.costs) == pytest.approx(0.0015, rel=1e-6)
    assert quote.difference_pct == pytest.approx(0.1 + 0.45, rel=1e-4)


def test_where_nothing_was_measured_a_quote_charges_what_the_specification_says():
    desk = market(token("A", costs=gr.Costs(half_spread=0.0004, taker_fee=0.0005), primary=Terms(quote_valid="10s")))
    desk.it.costs = ()
    assert cost_rate(desk.it.spec, desk.it.costs) == pytest.approx(0.0009, rel=1e-6)


def test_a_restart_computes_the_costs_that_ran(kept):
    busy(kept)
    for k in range(25):
        kept.ask("h1", "subscribe", (50 + k) * MINOR)
        kept.window(100.0 + 0.1 * (k % 3))
    assert len(kept.it.costs) == HEDGES_MAX
    assert len({one.cost for one in kept.it.costs}) > 5
    again = boot(kept.store, Prices(GuardLimits(warm_ms=0)), window_ms=1, visibility_ms=1, now_ms=kept.now_ms).driver
    assert again.by_name["T"].costs == kept.it.costs
    assert msgspec.json.encode(again.by_name["T"].done) == msgspec.json.encode(kept.it.done)
