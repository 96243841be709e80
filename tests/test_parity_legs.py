"""The exact backtest of linear perpetuals and chains of futures against the kernel, over random legs and paths."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from hypothesis import given

import gearing as gr
from gearing.core import attribution as att
from gearing.core.events import RollDue
from gearing.core.fees import Costs
from gearing.core.instruments import Contract
from gearing.core.invariants import breaches
from gearing.core.money import MINOR
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.kernels.run import BAR, BEGAN
from gearing.market.legs import Held, LegSeries, Roll
from gearing.market.series import Funding, Prices
from gearing.study.exact import Exact, exact_backtest
from tests.oracle_legs import simulate_legs
from tests.strategies import examples
from tests.strategies_legs import Case, leg_cases
from tests.test_legs_oracle import engine, simulate
from tests.test_oracle import NUDGE
from tests.test_parity import began, first_difference

# What one event may round, for each leg: a mark and a trade down, funding, a commission.
ROUNDED = 4 / MINOR
HANGS: list[Case] = []
MET: list[int] = []
CHAIN_HANGS: list[Case] = []
CHAINS_MET: list[int] = []
ROLLED: list[int] = []
EPSILON = float(np.finfo(float).eps)
ROUGH: list[Case] = []


def desk_case(case):
    """The same case of linear perpetuals: what a desk trades. Their funding is kept, all other payments are not."""
    legs = []
    for _, fields in case.kwargs["legs"]:
        kept = {key: fields[key] for key in ("symbol", "weight", "multiplier", "lot", "min_notional") if key in fields}
        legs.append(("Perpetual", kept))
    kwargs = {**case.kwargs, "legs": legs, "cash_interest": 0.0}
    data = [
        {key: leg[key] for key in ("close", "funding", "volume") if key in leg} for leg in case.legs_data
    ]  # fmt: skip
    return Case(kwargs, case.times, case.spacing_ms, data, [], case.equity)


def chained_case(case):
    """The same case of perpetuals and chains of futures, each rolled at the first price known at its expiry."""
    kept = desk_case(case)
    for (_, fields), leg, (kind, wanted) in zip(kept.kwargs["legs"], case.legs_data, case.kwargs["legs"], strict=True):
        if kind != "DatedFuture":
            continue
        ends = [datetime.fromtimestamp(case.times[bar] / 1000, UTC) for bar, _ in leg["rolls"]]
        dates = [f"{end:%Y-%m-%dT%H:%M:%S}" for end in ends]
        contracts = tuple(
            Contract(symbol=f"{fields['symbol']}{k}", expiry=at) for k, at in enumerate([*dates, "2099-01-01"])
        )
        fields.update(contracts=contracts, roll_days=0.0)
        if len(case.legs_data) == 1 and "margin_tiers" in wanted:
            fields["margin_tiers"] = wanted["margin_tiers"]
    names = ("rolls", "open", "low", "high") if len(case.legs_data) == 1 else ("rolls",)
    data = [
        {**mine, **{name: leg[name] for name in names if name in leg}}
        for mine, leg in zip(kept.legs_data, case.legs_data, strict=True)
    ]
    kinds = [kind if kind == "DatedFuture" else "Perpetual" for kind, _ in case.kwargs["legs"]]
    legs = [(kind, fields) for kind, (_, fields) in zip(kinds, kept.kwargs["legs"], strict=True)]
    return Case({**kept.kwargs, "legs": legs}, case.times, case.spacing_ms, data, [], case.equity)


def has_chain(case):
    return any(kind == "DatedFuture" for kind, _ in case.kwargs["legs"])


def bars_of(leg):
    """Open, low and high as a series has them: at a roll the old contract's range beside the new one's close."""
    if "low" not in leg:
        return {}
    low = np.minimum(leg["low"], leg["close"])
    high = np.maximum(leg["high"], leg["close"])
    return {"open": np.clip(leg["open"], low, high), "low": low, "high": high}


chains = leg_cases().filter(has_chain).map(chained_case)
baskets = leg_cases().filter(lambda case: len(case.legs_data) > 1).map(desk_case)


def exact(case):
    """The run of a case by the desk's step."""
    held, times = [], np.array(case.times, dtype=np.int64)
    volumes = any("volume" in leg for leg in case.legs_data)
    for leg in case.legs_data:
        volume = np.array(leg.get("volume", [0.0] * len(times))) if volumes else None
        prices = Prices(
            times, np.array(leg["close"]), **bars_of(leg), **({} if volume is None else {"volume": volume})
        )  # fmt: skip
        rolls = tuple(
            Roll(
                case.times[bar],
                old,
                leg["low"][bar] if "low" in leg else old,
                leg["high"][bar] if "low" in leg else old,
            )
            for bar, old in leg.get("rolls", ())
        )
        paid = leg.get("funding")
        funding = Funding(np.array([t for t, _ in paid]), np.array([r for _, r in paid])) if paid else None
        held.append(Held(prices, rolls, funding))
    costs = Costs() if case.token.fees.all_in else case.token.costs
    run = Exact(
        Spec(msgspec.structs.replace(case.token, costs=costs)),
        LegSeries(held, None, None),
        costs,
        round(case.equity * MINOR),
    )
    run.run()
    return run


def loop(case, grain):
    return simulate_legs(case.token, case.times, case.legs_data, costs=case.token.costs, equity=case.equity,
                         grain=grain, spacing=case.spacing_ms)  # fmt: skip


def clear_part(case):
    """The case up to where rounding alone decides, or next to nothing is left; None if that is at once."""
    truth = simulate(case)
    nav = np.array(truth.nav)
    low = np.flatnonzero(nav < 1e-4 * case.equity)
    ends = [bar for bar, _ in truth.knife[:1]] + low[:1].tolist()
    if not ends:
        return case
    return case.cut(int(min(ends))) if min(ends) >= 2 else None


def keeps_invariants(run):
    before = TokenState()
    for happened in run.happened:
        assert breaches(before, happened.state, happened.entry) == []
        before = happened.state


@examples(2)
@given(baskets)
def test_step_and_ledger_agree_with_the_kernel_on_baskets(case):
    agree(case, HANGS, MET)


@examples(4)
@given(chains)
def test_step_and_ledger_agree_with_the_kernel_on_chains(case):
    mine = agree(case, CHAIN_HANGS, CHAINS_MET)
    if mine is not None:
        ROLLED.append(
            sum(isinstance(happened.event, RollDue) and happened.state.is_rolling for happened in mine.happened)
        )


def agree(case, hangs, met):
    """The exact run, which agrees with the kernel; None where rounding decides, and then the case is listed."""
    case = clear_part(case)
    if case is None:
        return None
    run, mine = engine(case), exact(case)
    keeps_invariants(mine)
    theirs = [int(row[BAR]) for row in run.rows if row[BEGAN] == 1]
    differs = first_difference(began(mine), theirs)
    grain = 64 * ROUNDED * len(case.legs_data)
    if differs is not None:
        moved = [first_difference([b for b, _ in loop(case, sign * grain).rebalances], theirs) for sign in (1, -1)]
        assert any(at is not None and at <= differs for at in moved)
        hangs.append(case)
        return None
    truth = simulate(case)
    nav = np.array(truth.nav)
    gross = np.array([
        sum(abs(q) * leg["close"][i] for q, leg in zip(held, case.legs_data, strict=True))
        for i, held in enumerate(truth.positions)
    ])  # fmt: skip
    felt = np.abs(np.array(loop(case, grain).nav) - nav) / 64
    nudged = np.abs(np.array(simulate(case, NUDGE).nav) - nav) / NUDGE
    base, magnified = 1e-11 * np.maximum.accumulate(nav + gross), 8 * felt + 8 * nudged
    # A leg in whole lots beside one that scales magnifies a rounding with every trade, so that it soon decides about
    # a lot. Once a float's rounding has grown three hundredfold, what came before is compared.
    rough = np.flatnonzero(nudged > 300 * EPSILON * np.maximum.accumulate(nav + gross))
    until = int(rough[0]) if len(rough) else len(nav)
    if until < len(nav):
        ROUGH.append(case)
    for bar, equity in {happened.bar: happened.state.equity / MINOR for happened in mine.happened}.items():
        if bar < until:
            assert abs(equity - run.path[0][bar]) <= base[bar] + magnified[bar] + 8 * ROUNDED
    met.append(len(theirs))
    return mine


def test_few_decisions_of_baskets_hang_on_the_ledgers_rounding():
    assert len(HANGS) <= 2
    assert sum(MET) > 600
    assert sum(count > 1 for count in MET) > 40


def test_few_decisions_of_chains_hang_on_the_ledgers_rounding():
    assert len(CHAIN_HANGS) <= 4
    assert sum(CHAINS_MET) > 1_000
    assert len(ROUGH) <= (len(MET) + len(CHAINS_MET)) / 50
    assert sum(ROLLED) > 200
    assert max(ROLLED) >= 3


def test_a_year_of_a_chain_agrees_in_nav_attribution_and_times():
    prices, _ = gr.make_market(seed=7, days=120, interval="1h", volatility=0.8)
    names, premiums = ("MAR", "JUN", "SEP", "DEC"), (1.01, 1.04, 0.98, 1.02)
    given = {name: (prices.times_ms, prices.close * premium) for name, premium in zip(names, premiums, strict=True)}
    ends = ("2023-02-01", "2023-03-01T08:00", "2023-04-01", "2023-12-29")
    chain = tuple(gr.Contract(symbol=name, expiry=end) for name, end in zip(names, ends, strict=True))
    leg = gr.DatedFuture(symbol="BTC", contracts=chain, lot=0.001)
    token = gr.Token(symbol="BTC3L", target=3.0, rule="ftx", fees=gr.Fees(management_per_day=0.0003), legs=(leg,))
    costs = gr.Costs(taker_fee=5e-4, half_spread=2e-4)
    quick, mine = gr.backtest(token, given, costs=costs), exact_backtest(token, given, costs=costs)
    keeps_invariants(mine)
    assert mine.state.legs[0].contract == 3
    assert mine.state.rolls == 3
    assert mine.state.nav / MINOR == pytest.approx(quick.summary().final_nav, abs=1e-6)
    assert mine.rebalances == quick.summary().rebalances > 100
    assert mine.state.turnover == pytest.approx(quick.summary().turnover, rel=1e-10)
    per_unit = mine.state.balances.units / MINOR
    for name in att.PARTS:
        assert mine.attribution[name] / per_unit == pytest.approx(getattr(quick.attribution.money, name), abs=1e-6), (
            name
        )
