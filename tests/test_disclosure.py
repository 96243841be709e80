"""What the public may know: nothing that is withheld stands anywhere in the view, whatever the token does."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import pytest

import gearing as gr
from gearing.core.events import Liquidated
from gearing.core.measured import Measured, measure
from gearing.core.money import MINOR, to_float
from gearing.core.terms import Spec
from gearing.drive.disclosure import PublicView, disclosed
from gearing.drive.limits import maintenance
from gearing.drive.outlook import outlook
from tests.lives import Life, token

TIERS = (gr.MarginTier(rate=0.013),)
RULE = gr.Rule(band_lower=2.6, band_upper=3.5, schedule=(gr.Schedule(times=("00:02",)),))
MODES = ("full", "prices", "after")


class Watched(Life):
    """A life whose rebalances are measured."""

    done: Measured | None = None
    last: Measured | None = None

    def do(self, event):
        before = getattr(self, "state", None)
        orders = super().do(event)
        symbols = tuple(leg.symbol for leg in self.token.legs)
        for one in measure(self.last, "T", symbols, before, self.state, event) if before is not None else ():
            self.last = one
            self.done = self.done if one.is_open else one
        return orders


def basket() -> Watched:
    legs = tuple(gr.Perpetual(symbol=s, weight=w, margin_tiers=TIERS) for s, w in (("A", 0.61), ("B", 0.39)))
    life = Watched(gr.Token(symbol="T", target=3.0, rule=RULE, legs=legs), (101.3, 17.9)).opened()
    life.mark(103.7, 17.1)
    return life


def opened(target: float = 3.0, **more) -> Watched:
    legs = (gr.Perpetual(symbol="A", margin_tiers=TIERS),)
    life = Watched(gr.Token(symbol="T", target=target, rule=RULE, legs=legs, **more), (101.3,)).opened()
    life.mark(103.7)
    return life


def working() -> Watched:
    life = opened()
    (order,) = life.mark(90.3)
    life.fill(order, lots=order.lots // 3, commission=777 * MINOR)
    assert life.state.is_working
    return life


def halted() -> Watched:
    life = opened()
    life.operate("halt")
    return life


def without_triggers() -> Watched:
    """One whose only barrier is the loss of all equity."""
    life = Watched(token("A", rule=gr.Rule()), (101.3,)).opened()
    life.mark(103.7)
    return life


def deleveraged() -> Watched:
    """One whose position is not what its last rebalance left."""
    life = opened()
    life.do(Liquidated(time_ms=life.now_ms, leg=0, lots=-7_777, price=103.6, charge=0, trade="f", deleveraged=True))
    return life


LIVES = {"opened": opened, "short": lambda: opened(-3.0), "basket": basket, "working": working, "halted": halted,
         "without triggers": without_triggers, "deleveraged": deleveraged}  # fmt: skip


def looked(life: Life, mode: str) -> tuple[Any, PublicView, Spec]:
    it = msgspec.structs.replace(life.token, disclosure=mode)
    spec = Spec(it)
    seen = outlook(spec, life.state, tuple(leg.mark for leg in life.state.legs), (0.03,) * len(life.state.legs))
    return seen, disclosed(seen, spec, getattr(life, "done", None)), spec


def numbers(view: PublicView) -> set[float]:
    """Every number of a view as it is sent, those inside of texts too."""
    return {float(found) for found in re.findall(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", msgspec.json.encode(view))}


def words(view: PublicView) -> str:
    return msgspec.json.encode(view).decode()


def position(life: Life, spec: Spec) -> dict[str, float]:
    """What tells the position of now: in lots, in units, in money, per unit, and as prices that depend on it."""
    state = life.state
    seen = outlook(spec, state, tuple(leg.mark for leg in state.legs))
    found = {"leverage": seen.leverage, "exposure": seen.exposure, "exposure per unit": seen.exposure / seen.units,
             "maintenance": maintenance(spec, state),
             "unrealised": to_float(state.balances.unrealised), "wallet": to_float(state.balances.wallet)}  # fmt: skip
    for k, leg in enumerate(seen.legs):
        size = leg.lots * float(leg.lot)
        found |= {f"lots {k}": leg.lots, f"size {k}": size, f"notional {k}": leg.notional}
        if leg.zero is not None:
            found |= {f"zero {k}": leg.zero.price, f"zero move {k}": leg.zero.move}
    return {name: value for name, value in found.items() if value}


def next_one(life: Life, spec: Spec) -> dict[str, float]:
    """How large the next rebalance would be, and what runs of one."""
    state, found = life.state, dict[str, float]()
    forecast = outlook(spec, state, tuple(leg.mark for leg in state.legs)).forecast
    if forecast is not None:
        found["traded"] = forecast.traded
        found |= {f"to trade {k}": lots for k, lots in enumerate(forecast.lots)}
        found |= {f"worth {k}": worth for k, worth in enumerate(forecast.notional)}
    for attempt in state.rebalance.attempts if state.rebalance is not None else ():
        found |= {"ordered": attempt.lots, "filled": attempt.filled}
    return {name: value for name, value in found.items() if value}


def triggers(life: Life, spec: Spec) -> dict[str, float]:
    seen = outlook(spec, life.state, tuple(leg.mark for leg in life.state.legs))
    barriers = [one for leg in seen.legs for one in (leg.below, leg.above) if one is not None]
    return {f"barrier {n}": value for n, one in enumerate(barriers) for value in (one.price, one.move)}


def found_in(view: PublicView, withheld: dict[str, float]) -> list[str]:
    there = numbers(view)
    return [name for name, value in withheld.items()
            if any(math.isclose(abs(value), abs(one), rel_tol=1e-6) for one in there)]  # fmt: skip


@pytest.mark.parametrize("name", LIVES)
def test_prices_tells_triggers_and_side_and_nothing_of_size(name):
    life = LIVES[name]()
    seen, view, spec = looked(life, "prices")
    assert found_in(view, position(life, spec) | next_one(life, spec)) == []
    assert (view.nav, view.units) == (seen.nav, seen.units)
    for leg, public in zip(seen.legs, view.legs, strict=True):
        for barrier, trigger in ((leg.below, public.below), (leg.above, public.above)):
            assert (trigger is not None) == (barrier is not None and barrier.side != "")
            if trigger is not None:
                assert (trigger.price, trigger.side) == (barrier.price, barrier.side)


@pytest.mark.parametrize("name", LIVES)
def test_after_tells_nothing_of_what_comes(name):
    life = LIVES[name]()
    seen, view, spec = looked(life, "after")
    assert found_in(view, position(life, spec) | next_one(life, spec) | triggers(life, spec)) == []
    for word in ("due", "side", "below", "above", "aim", "schedule", "leverage", "exposure"):
        before = words(msgspec.structs.replace(view, last=None))
        assert f'"{word}"' not in before, word
    assert seen.due_ms is None or seen.due_ms not in numbers(view)
    assert (view.nav, view.units, view.status) == (seen.nav, seen.units, seen.status)


@pytest.mark.parametrize("name", LIVES)
def test_full_tells_all_of_the_next_rebalance(name):
    seen, view, _ = looked(LIVES[name](), "full")
    assert (view.leverage, view.exposure) == (seen.leverage, seen.exposure)
    assert [(leg.lots, leg.notional) for leg in view.legs] == [(leg.lots, leg.notional) for leg in seen.legs]
    if seen.forecast is not None:
        assert (view.side, view.traded, view.aim) == (seen.forecast.side, seen.forecast.traded, seen.forecast.aim)


@pytest.mark.parametrize("mode", MODES)
def test_what_was_done_is_told_once_it_is_done(mode):
    life = opened()
    _, view, _ = looked(life, mode)
    first = view.last
    assert (first.reason, first.side, first.before) == ("opening", "buy", 0.0)
    assert first.exposure == pytest.approx(3.0 * to_float(life.state.balances.wallet), rel=1e-4)
    (order,) = life.mark(90.3)
    life.fill(order, lots=order.lots // 3)
    assert looked(life, mode)[1].last == first
    life.fill(order, lots=order.lots - order.lots // 3)
    life.end(order)
    again = looked(life, mode)[1].last
    assert (again.reason, again.side) == ("band", "sell")
    assert again.after == pytest.approx(3.0, abs=1e-3)


def test_a_rebalance_that_runs_is_not_told_of():
    life = working()
    assert life.last.is_open
    life.done = life.last
    assert looked(life, "full")[1].last is None


def test_a_barrier_says_what_the_rule_does_there():
    long, short = outlook_of(opened()), outlook_of(opened(-3.0))
    assert (long.below.side, long.above.side) == ("sell", "buy")
    assert (short.below.side, short.above.side) == ("sell", "buy")
    assert outlook_of(without_triggers()).below.side == ""
    assert outlook_of(halted()).below.side == ""
    assert [leg.below.side for leg in looked(basket(), "full")[0].legs] == ["", ""]


@pytest.mark.parametrize("mark", [97.3 + 0.37 * n for n in range(40)])
@pytest.mark.parametrize("target", [3.0, -3.0])
def test_every_barrier_of_a_band_says_its_side(mark, target):
    life = opened(target)
    life.mark(mark)
    if life.state.is_working:
        return
    leg = outlook(life.spec, life.state, (mark,)).legs[0]
    assert (leg.below.side, leg.above.side) == ("sell", "buy")


def outlook_of(life: Life):
    return outlook(life.spec, life.state, (103.7,)).legs[0]


def test_the_word_is_one_of_three():
    assert token().disclosure == "prices"
    with pytest.raises(gr.SpecError, match="disclosure"):
        token(disclosure="some")
