"""The exact backtest of several linear perpetuals against the kernel, over random legs, rules and paths."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given

from gearing.core.fees import Costs
from gearing.core.invariants import breaches
from gearing.core.money import MINOR
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.kernels.run import BAR, BEGAN
from gearing.market.legs import Held, LegSeries
from gearing.market.series import Funding, Prices
from gearing.study.exact import Exact
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


baskets = leg_cases().filter(lambda case: len(case.legs_data) > 1).map(desk_case)


def exact(case):
    """The run of a case by the desk's step."""
    held, times = [], np.array(case.times, dtype=np.int64)
    volumes = any("volume" in leg for leg in case.legs_data)
    for leg in case.legs_data:
        volume = np.array(leg.get("volume", [0.0] * len(times))) if volumes else None
        prices = Prices(times, np.array(leg["close"]), **({} if volume is None else {"volume": volume}))
        paid = leg.get("funding")
        funding = Funding(np.array([t for t, _ in paid]), np.array([r for _, r in paid])) if paid else None
        held.append(Held(prices, (), funding))
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
                         grain=grain)  # fmt: skip


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
    case = clear_part(case)
    if case is None:
        return
    run, mine = engine(case), exact(case)
    keeps_invariants(mine)
    theirs = [int(row[BAR]) for row in run.rows if row[BEGAN] == 1]
    differs = first_difference(began(mine), theirs)
    grain = 64 * ROUNDED * len(case.legs_data)
    if differs is not None:
        moved = [first_difference([b for b, _ in loop(case, sign * grain).rebalances], theirs) for sign in (1, -1)]
        assert any(at is not None and at <= differs for at in moved)
        HANGS.append(case)
        return
    truth = simulate(case)
    nav = np.array(truth.nav)
    gross = np.array([
        sum(abs(q) * leg["close"][i] for q, leg in zip(held, case.legs_data, strict=True))
        for i, held in enumerate(truth.positions)
    ])  # fmt: skip
    felt = np.abs(np.array(loop(case, grain).nav) - nav) / 64
    nudged = np.abs(np.array(simulate(case, NUDGE).nav) - nav) / NUDGE
    allowed = 1e-11 * np.maximum.accumulate(nav + gross) + 8 * felt + 8 * nudged + 8 * ROUNDED
    for bar, equity in {happened.bar: happened.state.equity / MINOR for happened in mine.happened}.items():
        assert abs(equity - run.path[0][bar]) <= allowed[bar]
    MET.append(len(theirs))


def test_few_decisions_of_baskets_hang_on_the_ledgers_rounding():
    assert len(HANGS) <= 2
    assert sum(MET) > 600
    assert sum(count > 1 for count in MET) > 40
