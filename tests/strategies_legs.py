"""Random tokens of one to four legs with their paths, with the corners that matter drawn often."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from gearing.core import instruments
from gearing.core.fees import Costs, Fees
from gearing.core.instruments import MarginTier
from gearing.core.rule import Rule, Schedule
from gearing.core.token import Token
from gearing.errors import SpecError
from tests.strategies import HOUR, START, rules, some, usual_step

DAY = 24 * HOUR

MOVING = ["walk", "rough", "rough", "wild", "still", "gap", "frozen"]

WEIGHTS = {
    1: [(1.0,)],
    2: [(0.5, 0.5), (0.25, 0.75), (1.5, -0.5), (-1.0, 2.0)],
    3: [(0.5, 0.25, 0.25), (1.0, 0.5, -0.5), (0.125, 0.125, 0.75)],
    4: [(0.25, 0.25, 0.25, 0.25), (0.5, 0.5, 0.5, -0.5), (0.125, 0.375, 0.25, 0.25)],
}

# Target, the rule's edge and the price, from 100, at which a token without costs stands on it exactly:
# ℓ(r) = β(1+r)/(1+βr). A move's edge is met by definition.
TOUCHES = [
    (2.0, {"band_upper": 3.0}, 75.0),
    (2.0, {"band_lower": 1.5}, 150.0),
    (3.0, {"band_upper": 6.0}, 80.0),
    (3.0, {"band_lower": 2.25}, 120.0),
    (-1.0, {"band_upper": 1.5}, 120.0),
    (-1.0, {"band_lower": 0.6}, 75.0),
    (-2.0, {"band_upper": 3.0}, 112.5),
    (0.5, {"band_upper": 0.6}, 150.0),
    (3.0, {"deviation": 1.0}, 80.0),
    (3.0, {"move_against": 0.125}, 87.5),
    (-3.0, {"move_against": 0.125}, 112.5),
    (2.0, {"move_favour": 0.25}, 125.0),
]

# The same for cross margin: target, maintenance rate, and the price at which all legs together stand on it.
MARGIN_TOUCHES = [(2.0, 1 / 3, 75.0), (-2.0, 1 / 3, 112.5), (3.0, 1 / 6, 80.0)]


def make_token(*, target, rule, fees, costs, legs, cash_interest=0.0):
    """A token from plain fields; each leg is (kind, fields).

    Raises:
        SpecError: the rule does not serve the target.
    """
    made = tuple(getattr(instruments, kind)(**fields) for kind, fields in legs)
    return Token(symbol="T", target=target, rule=rule, fees=fees, costs=costs, legs=made, cash_interest=cash_interest)


@dataclass(repr=False)
class Case:
    kwargs: dict  # of make_token
    times: list
    spacing_ms: int
    legs_data: list
    rates: list
    equity: float

    def __repr__(self):
        kinds = ", ".join(kind for kind, _ in self.kwargs["legs"])
        return f"Case({self.token} of {kinds}, {len(self.times)} bars of {self.spacing_ms} ms)"

    @property
    def token(self):
        return make_token(**self.kwargs)

    def cut(self, stop):
        """The same case up to, without, bar `stop`."""
        series = ("close", "open", "low", "high", "volume")
        data = [{k: v[:stop] if k in series else v for k, v in leg.items()} for leg in self.legs_data]
        for leg in data:
            if "rolls" in leg:
                leg["rolls"] = [(bar, price) for bar, price in leg["rolls"] if bar < stop]
        times = self.times[:stop]
        return Case(self.kwargs, times, usual_step(times), data, self.rates, self.equity)


@st.composite
def clocks(draw):
    """Times of the bars in ms and their spacing: even or with holes, of minutes or of days."""
    n = draw(st.integers(2, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spacing = draw(st.sampled_from([60_000, HOUR, HOUR, 4 * HOUR, DAY]))
    steps = np.full(n, spacing)
    if draw(st.booleans()):
        steps = steps * rng.choice([1, 1, 1, 2, 5, 40], n)
    offset = draw(st.sampled_from([0, 0, 60_000, HOUR, 17 * 60_000]))
    times = (START + offset + np.concatenate([[0], np.cumsum(steps)[:-1]])).tolist()
    return times, usual_step(times), rng


def _moves(rng, n, kind):
    scale = {"walk": 0.01, "rough": 0.04, "wild": 0.12, "still": 0.0, "frozen": 0.0, "gap": 0.004}[kind]
    moves = rng.standard_normal(n) * scale
    if kind == "gap":
        moves += np.where(rng.random(n) < 0.04, rng.choice([-0.6, -0.35, -0.15, 0.15, 0.5, 0.9], n), 0.0)
    moves[0] = 0.0
    return moves


def _walks(rng, n, K, kinds):
    """Prices of the legs (K, n): a common part and each leg's own; a frozen leg stands still."""
    common = _moves(rng, n, kinds[0])
    paths = []
    for k in range(K):
        own = _moves(rng, n, kinds[k])
        moves = own if kinds[k] in {"still", "frozen"} else np.where(rng.random() < 0.5, common + 0.3 * own, own)
        paths.append(np.maximum(100.0 * np.exp(np.cumsum(moves)), 1e-3))
    return np.array(paths)


def _ladders(rng, n, K, touch, together):
    """Prices on a grid that meets barriers exactly, or a little beside them, and stands there for a while."""
    steps = np.array([64, 75, 80, 87.5, 100, 100, 112.5, 120, 125, 150, touch, touch, touch * (1 + 1e-13),
                      touch * (1 + 1e-6), touch * (1 - 1e-6)])  # fmt: skip
    one = steps[rng.integers(0, len(steps), n)]
    still = rng.random(n) < 0.3
    one[0] = 100.0
    for i in range(1, n):
        one[i] = one[i - 1] if still[i] else one[i]
    if rng.random() < 0.5:
        one[1::2] = 100.0
    other = steps[rng.integers(0, len(steps), (K, n))]
    other[:, 0] = 100.0
    return np.array([one * 2.0**-k for k in range(K)]) if together else other


def _tiers(rng):
    rates = [(0.0053,), (0.0041, 0.021), (0.0113, 0.053, 0.11), (0.0507, 0.203), (0.11, 0.31)][rng.integers(5)]
    ends = [*[400_000.0 * 5**k for k in range(len(rates) - 1)], math.inf]
    amount, made = 0.0, []
    for k, rate in enumerate(rates):
        if k:
            amount += ends[k - 1] * (rate - rates[k - 1])
        made.append(MarginTier(notional_max=ends[k], rate=rate, amount=amount))
    return tuple(made)


def _bars(rng, data):
    """Open, low and high around the closes; at a roll they are the old contract's."""
    end = list(data["close"])
    for bar, old in data.get("rolls", ()):
        end[bar] = old
    n, close = len(end), data["close"]
    opened = [close[0], *close[:-1]]
    if rng.random() < 0.5:
        opened = [p * f for p, f in zip(opened, np.exp(rng.standard_normal(n) * 0.02), strict=True)]
    wide = np.abs(rng.standard_normal((2, n))) * rng.choice([0.0, 0.002, 0.05])
    data["open"] = [float(p) for p in opened]
    data["low"] = [float(min(o, p) * math.exp(-w)) for o, p, w in zip(opened, end, wide[0], strict=True)]
    data["high"] = [float(max(o, p) * math.exp(w)) for o, p, w in zip(opened, end, wide[1], strict=True)]


def _chain(rng, data, times):
    """Turns a leg's path into a chain of contracts: rolls, often on a bar where a day ends."""
    n, close = len(times), data["close"]
    nights = [i for i in range(1, n) if times[i] // DAY > times[i - 1] // DAY] or [n - 1]
    bars = {int(rng.choice(nights)) for _ in range(rng.integers(1, 4))} | {int(rng.integers(1, n))}
    basis, rolls, at = 1.0, [], {}
    for bar in sorted(bars):
        old, basis = basis, float(basis * rng.choice([0.5, 0.97, 0.995, 1.0, 1.004, 1.125]))
        rolls.append((bar, close[bar] * old))
        at[bar] = basis
    factor, chained = 1.0, []
    for i, price in enumerate(close):
        factor = at.get(i, factor)
        chained.append(price * factor)
    data["close"], data["rolls"] = chained, rolls


def _stamps(rng, times, every, offset):
    first = times[0] - 2 * every - times[0] % every
    count = min(400, (times[-1] - first) // every + 3)
    return [int(first + j * every + offset) for j in range(count)]


def _payments(rng, data, kind, times, offset):
    if kind == "Perpetual" and rng.random() < 0.6:
        data["funding"] = [(t, float(rng.standard_normal() * 3e-4)) for t in _stamps(rng, times, 8 * HOUR, offset)]
    if kind in {"TotalReturnSwap", "Spot"} and rng.random() < 0.6:
        # On the very times that others are funded at, and now and then beside them.
        stamps = _stamps(rng, times, 24 * HOUR, offset if offset <= 3 else 5 * HOUR)
        data["dividends"] = [(t, float(rng.choice([0.0, 0.25, 1.0, 3.0]))) for t in stamps if rng.random() < 0.4]


@st.composite
def simple_rules(draw, touch):
    """A rule of the one trigger that a ladder touches."""
    schedule = draw(st.sampled_from([(), (Schedule(times=("00:00",)),), (Schedule(every="24h"),)]))
    return Rule(**touch, schedule=schedule, side=draw(st.sampled_from(["both", "reduce"])))


def _fees(draw):
    return draw(
        st.sampled_from([
            Fees(), Fees(), Fees(management_per_day=3e-4), Fees(management_per_year=0.02, on="exposure"),
            Fees(management_per_year=0.0195), Fees(management_per_day=1e-3, all_in=True),
        ])
    )  # fmt: skip


def _costs(draw, impact):
    return Costs(
        taker_fee=draw(st.sampled_from([0.0, 5e-4, 0.01])), half_spread=draw(st.sampled_from([0.0, 2e-4, 5e-3])),
        impact=impact, liquidation_fee=draw(st.sampled_from([0.0, 0.0037])),
    )  # fmt: skip


def _kinds(draw, rng):
    """The kinds of the legs; an inverse perpetual is always alone."""
    if draw(st.sampled_from([False, False, False, True])):
        return ["Inverse"]
    names = ["Perpetual", "DatedFuture", "TotalReturnSwap", "Spot"]
    return [names[rng.integers(4)] for _ in range(draw(st.sampled_from([1, 2, 2, 3, 4])))]


def _legs(draw, rng, kinds, weights, restless):
    """Records of the legs as (kind, fields). Lots and least sizes belong to all legs or, on restless paths, to some:
    where everything stands still, rounding alone would say whether a leg without lots has something left to trade."""
    granular = draw(st.sampled_from(["none", "none", "lots", "least", "mixed"]))
    margined, legs = rng.random() < 0.6, []
    for k, kind in enumerate(kinds):
        kept = granular != "mixed" or not restless or rng.random() < 0.5
        fields = {"symbol": "ABCD"[k], "weight": weights[k], "multiplier": float(rng.choice([1.0, 0.125]))}
        if granular in {"lots", "mixed"} and kept:
            fields["lot"] = float(rng.choice([1.0, 16.0, 256.0]))
        if granular in {"least", "mixed"} and kept:
            fields["min_notional"] = float(rng.choice([5.0, 1000.0, 62_500.0]))
        if kind == "Inverse":
            fields["inverse"] = True
        if kind == "TotalReturnSwap":
            fields["spread"] = float(rng.choice([0.0, 0.0035, 0.02]))
        if margined and kind in {"Perpetual", "Inverse", "DatedFuture"} and rng.random() < 0.8:
            fields["margin_tiers"] = _tiers(rng)
        legs.append(("Perpetual" if kind == "Inverse" else kind, fields))
    return legs


def _exact_legs(kinds, weights, margin):
    legs = []
    for k, kind in enumerate(kinds):
        fields = {"symbol": "ABCD"[k], "weight": weights[k]}
        if kind == "Inverse":
            fields["inverse"] = True
        if margin:
            fields["margin_tiers"] = (MarginTier(rate=margin),)
        legs.append(("Perpetual" if kind == "Inverse" else kind, fields))
    return legs


@st.composite
def leg_cases(draw):
    """A Case of one to four legs."""
    times, spacing, rng = draw(clocks())
    kinds = _kinds(draw, rng)
    n, K = len(times), len(kinds)
    ladder = draw(st.sampled_from([False, False, True]))
    target, touch, price = draw(st.sampled_from(TOUCHES))
    # Negative weights on a ladder bring an exposure of exactly zero, where rounding alone decides.
    weights = draw(st.sampled_from([w for w in WEIGHTS[K] if not ladder or min(w) > 0]))
    exact, margin = ladder and rng.random() < 0.6, 0.0
    if exact and K > 1 and rng.random() < 0.3:
        (target, margin, price), touch = MARGIN_TOUCHES[rng.integers(3)], {}
        kinds = ["DatedFuture" if kind == "DatedFuture" else "Perpetual" for kind in kinds]
    if not exact:
        target = draw(st.sampled_from([1.0, 2.0, 3.0, -1.0, -2.0, -3.0, 0.5, -0.5, 5.0]) | st.floats(0.1, 20)
                      | st.floats(-20, -0.1))  # fmt: skip
    moving = draw(st.lists(st.sampled_from(MOVING), min_size=K, max_size=K))
    paths = _ladders(rng, n, K, price, exact or draw(st.booleans())) if ladder else _walks(rng, n, K, moving)
    if K > 1 and draw(st.sampled_from([False, False, True])):
        paths[1], kinds[1] = paths[0], kinds[0]
    impact = 0.0 if exact else draw(st.sampled_from([0.0, 0.0, 0.05]))
    fees, costs = (Fees(), Costs()) if exact else (_fees(draw), _costs(draw, impact))
    if exact:
        legs = _exact_legs(kinds, weights, margin)
    else:
        legs = _legs(draw, rng, kinds, weights, not ladder and moving[0] not in {"still", "frozen"})
    offset = draw(st.sampled_from([0, 3, 1000, 1001]))
    data = [{"close": [float(p) for p in path]} for path in paths]
    for (kind, fields), leg in zip(legs, data, strict=True):
        if kind == "DatedFuture":
            _chain(rng, leg, times)
        if not exact:
            _payments(rng, leg, kind, times, offset)
        if fields.get("margin_tiers") and not exact:
            _bars(rng, leg)
        if impact and rng.random() < 0.8:
            leg["volume"] = (rng.random(n) * 5_000).tolist()
    stamps = _stamps(rng, times, 7 * 24 * HOUR, 0)
    rates = [(t, float(r)) for t, r in zip(stamps, rng.choice([0.0, 0.01, 0.05, -0.005], len(stamps)), strict=True)]
    try:
        rule = draw(simple_rules(touch) if exact else rules(target))
    except SpecError:
        assume(False)
    # A slice that only restores weights at the leverage it has sells as much as it buys: its side is rounding.
    assume(K == 1 or rule.pace is None or rule.aim != "edge")
    kwargs = {
        "target": target, "rule": rule, "fees": fees, "costs": costs, "legs": legs,
        "cash_interest": 0.0 if exact else draw(st.sampled_from([0.0, 0.5, 1.0])),
    }  # fmt: skip
    case = Case(kwargs, times, spacing, data, draw(some(st.just(rates))) or [], draw(st.sampled_from([1e6, 12_345.0])))
    try:
        case.token  # noqa: B018
    except SpecError:
        assume(False)
    return case
