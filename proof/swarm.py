"""What a seed of the simulation chooses: tokens, faults, the market's shocks, and what is counted of them."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

import gearing as gr
from gearing.core.instruments import Leg, MarginTier
from gearing.core.primary import Primary
from gearing.core.record import DAY_MS
from gearing.core.token import Token
from gearing.venues.paper.draws import Draws
from gearing.venues.paper.setup import Faults

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
# Dated contracts, each with its price over that of the first symbol.
CONTRACTS = {"BTCMAR": 1.002, "BTCJUN": 1.011}

# The faults a swarm draws from, and how often each may happen at most.
RATES = {
    "request_lost": 0.1, "request_late": 0.2, "answer_lost": 0.2, "dropped": 0.1, "busy": 0.1, "error": 0.1,
    "error_done": 0.2, "report_lost": 0.3, "report_duplicated": 0.3, "report_late": 0.3, "funding_late": 0.5,
    "hidden": 0.5, "partial": 0.3, "split": 0.5, "deleveraged": 0.003, "outage": 0.002, "price_nan": 0.02,
    "price_infinite": 0.02, "price_zero": 0.02, "price_negative": 0.02, "price_spike": 0.02, "price_future": 0.02,
    "price_frozen": 0.005, "price_dead": 0.005,
}  # fmt: skip

# Those of lists, and of liquidations in many trades, which are drawn on their own.
LISTS = {"liquidation_split": 1.0, "list_repeated": 0.5, "payment_unlisted": 0.7}


class Shock(NamedTuple):
    """A gap of the market: from a step on, prices of some instruments are so many times what they were."""

    step: int
    symbols: tuple[str, ...]
    factor: float


def tokens_of(draw: random.Random, tiers: tuple[MarginTier, ...], leaves_ms: int) -> list[Token]:
    """Returns one to three tokens of one coin or several, under rules that trade often.

    Args:
        draw: of the seed.
        tiers: the venue's margin brackets.
        leaves_ms: when a chain's first contract is left, a day before it expires; some tokens hold a chain.
    """
    found = []
    chain = gr.DatedFuture(symbol="BTC", roll_days=1.0, margin_tiers=tiers, contracts=(
        gr.Contract(symbol="BTCMAR", expiry=_moment(leaves_ms + DAY_MS)),
        gr.Contract(symbol="BTCJUN", expiry=_moment(leaves_ms + 90 * DAY_MS)),
    ))  # fmt: skip
    for n in range(draw.randint(1, 3)):
        target = draw.choice([3.0, -3.0, 2.0, -1.0, 5.0])
        rule = gr.Rule(
            deviation=draw.choice([0.004, 0.01, 0.03]),
            schedule=(gr.Schedule(every=draw.choice(["10m", "1h"])),),
            pace=draw.choice([None, gr.Pace(largest=150_000.0, interval="1m")]),
            aim=draw.choice(["target", "edge"]),
        )
        names = list(SYMBOLS)
        draw.shuffle(names)
        count = draw.choice([1, 1, 2, 3])
        legs: tuple[Leg, ...] = tuple(
            gr.Perpetual(symbol=name, weight=1 / count, margin_tiers=tiers) for name in names[:count]
        )
        if draw.random() < 0.25:
            legs = (msgspec.structs.replace(chain, weight=1 / count), *legs[1:])
        fees = gr.Fees(management_per_day=3e-4)
        costs = gr.Costs(taker_fee=5e-4, half_spread=2e-4)
        found.append(gr.Token(symbol=f"T{n}", target=target, rule=rule, legs=legs, fees=fees, costs=costs,
                              primary=Primary(quote_valid="1m")))  # fmt: skip
    return found


def merging(draw: random.Random, tokens: list[Token]) -> list[Token]:
    """Returns the tokens, most of them with a rule that merges their units at a day's end."""
    return [
        msgspec.structs.replace(token, consolidation=gr.Consolidation(
            below=draw.choice([80.0, 100.0, 120.0]), factor=draw.choice([10.0, 7.3])))
        if draw.random() < 0.7 else token
        for token in tokens
    ]  # fmt: skip


def hasty(tokens: list[Token]) -> list[Token]:
    """Returns the tokens with windows so short that flows are under way when funding is settled."""
    return [
        msgspec.structs.replace(
            token, primary=msgspec.structs.replace(token.primary, window="20s", match_over="10s")
        )
        for token in tokens
    ]  # fmt: skip


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M")


def tiers_of(draw: random.Random) -> tuple[MarginTier, ...]:
    """Returns the venue's margin brackets: none, usual ones, or such that liquidation comes long before ruin."""
    rate = draw.choice([0.0, 0.004, 0.06])
    return (MarginTier(rate=rate),) if rate else ()


def shocks_of(draw: random.Random, steps: int) -> list[Shock]:
    """Returns the gaps of a market: in most of them none."""
    if draw.random() < 0.6:
        return []
    found = []
    for _ in range(draw.randint(1, 4)):
        size = draw.uniform(0.02, 0.4)
        symbols = draw.choice([SYMBOLS, SYMBOLS, SYMBOLS[:1], SYMBOLS[1:2]])
        found.append(Shock(draw.randrange(2, max(steps, 3)), symbols, draw.choice([1.0 - size, 1.0 / (1.0 - size)])))
    return sorted(found)


class Trouble(NamedTuple):
    """What happens once, if it does: to an instrument, to the desk's clock, to its database. Each is a step and what.

    Args:
        ends: trading in an instrument ends.
        resized: lots of an instrument become a tenth.
        clock: the desk is killed, and its next life has a clock that is so many ms off.
        stale: the desk is killed, and goes on with a backup of some steps before.
    """

    ends: tuple[int, str] | None = None
    resized: tuple[int, str] | None = None
    clock: tuple[int, int] | None = None
    stale: tuple[int, int] | None = None


def trouble_of(draw: random.Random, steps: int) -> Trouble:
    """Returns what befalls a run: one of the troubles, or none."""
    step, symbol = draw.randrange(2, max(steps, 3)), draw.choice(SYMBOLS)
    match draw.randrange(12):
        case 0:
            return Trouble(ends=(step, symbol))
        case 1:
            return Trouble(resized=(step, symbol))
        case 2 | 3:
            return Trouble(clock=(step, draw.choice([-1, 1]) * 3_600_000))
        case 4:
            return Trouble(stale=(step, draw.randrange(1, step)))
    return Trouble()


def swarm(draw: random.Random) -> Faults:
    """Returns some of the faults, each at some rate."""
    chosen = {name: draw.random() * most for name, most in RATES.items() if draw.random() < 0.35}
    return msgspec.structs.replace(Faults(outage_ms=(1_000, 60_000, 600_000)), **chosen)


def with_lists(draw: random.Random, faults: Faults) -> Faults:
    """Returns the faults with some of those of lists, by draws of their own: other runs are what they were without."""
    chosen = {name: draw.uniform(0.3, 1.0) * most for name, most in LISTS.items() if draw.random() < 0.6}
    return msgspec.structs.replace(faults, **chosen)


class CountingDraws(Draws):
    """Draws that note which faults happened; a fault is known by its rate, which is no other's.

    Args:
        state: see `Draws`.
        faults: whose rates they are.
        seen: what is counted, by the fault's name.
    """

    __slots__ = ("_names", "_seen")

    def __init__(self, state: int, faults: Faults, seen: Counter[str]) -> None:
        super().__init__(state)
        self._names = {getattr(faults, name): name for name in {**RATES, **LISTS} if getattr(faults, name) > 0.0}
        self._seen = seen

    def chance(self, rate: float) -> bool:
        """See `Draws`."""
        happens = super().chance(rate)
        if happens:
            self._seen[self._names[rate]] += 1
        return happens
