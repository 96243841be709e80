"""Firm quotes against takers: what an acceptance gains at its judgement, and what its hedge does afterwards.

`hindsight` plays a taker that knows the whole path of prices: at every moment it requests quotes both ways, and accepts
each at every later moment. No acceptance may gain anything at the iNAV of the price that it is judged at, even without
the fee. What happens between that price and the hedge is the risk of the dealing account; a taker who knows nothing of
it gains nothing by it on average. `python -m proof.quotes` prints that hedging error: mean and standard error.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from statistics import fmean, stdev
from typing import NamedTuple

import msgspec

import gearing as gr
from gearing.core import events as ev
from gearing.core.book import LiveOrder
from gearing.core.holder import DEALER, ISSUER, Deposited, Side
from gearing.core.money import MINOR
from gearing.core.primary import Primary
from gearing.core.step import step
from gearing.core.terms import Spec
from gearing.desk.counter import answer, submit
from gearing.desk.requests import Answered, AskQuote, Deal, HandOn, TakeQuote
from gearing.drive.driver import Driver
from gearing.drive.guard import GuardLimits
from gearing.drive.market import Market
from gearing.venues.protocol import OrderStatus, Quote, Trade

_START_MS = 1_767_268_800_000  # 2026-01-01 12:00 UTC
_CAPITAL, _UNITS, _LOT = 10_000_000 * MINOR, 100_000 * MINOR, "0.000001"
# What a trade costs in these trials, as a fraction: half the spread, and the venue's commission.
HALF_SPREAD, COMMISSION = 0.0002, 0.0005
SIDES: tuple[Side, Side] = ("subscribe", "redeem")


class Gain(NamedTuple):
    """What an acceptance gained at the iNAV of its judgement, minor units without the fee, and what it was."""

    gain: Fraction
    side: Side
    quoted: int
    accepted: int


class QuoteDesk:
    """A token that gives quotes and a dealing account with ample money; the venue fills all orders at once.

    Args:
        target: of the token.
        swing: of its quotes.
        settles_ms: the next settlement of funding, after the start; 0: there is none.
    """

    def __init__(self, target: float = 3.0, swing: float = 0.001, settles_ms: int = 0) -> None:
        terms = Primary(quote_valid="2h", quote_swing=swing)
        costs = gr.Costs(taker_fee=COMMISSION, half_spread=HALF_SPREAD)
        token = gr.Token(symbol="T", target=target, rule=gr.Rule(deviation=0.3), costs=costs, primary=terms,
                         legs=(gr.Perpetual(symbol="A"),))  # fmt: skip
        self.now_ms, self.mark, self.settles_ms = _START_MS, 100.0, settles_ms
        self.driver = Driver(Market(GuardLimits(jump_least=1.0, divergence_max=1.0, warm_ms=0)))
        self.driver.market.list_token(0, ("A",))
        self._numbers = itertools.count(1)
        self._take(100.0)
        self.book = self.driver.open_book("main", "abc123", ["T"], self.now_ms)
        self.running = self.driver.launch(self.book, Spec(token), (_LOT,), _CAPITAL, _UNITS, self.now_ms)
        self.fill()
        self.price(100.0, 1_000)
        self.deposit(DEALER, 1_000_000_000)

    def deposit(self, name: str, amount: int) -> None:
        """Pays money in for a holder."""
        self.driver.primary.post(name, Deposited(time_ms=self.now_ms, asset="USDT", amount=amount * MINOR,
                                                 reference=f"d{next(self._numbers)}", by="proof"))  # fmt: skip

    def price(self, mark: float, after_ms: int) -> None:
        """Lets a price come, and fills what is traded at it."""
        self.now_ms, self.mark = self.now_ms + after_ms, mark
        self._take(mark)
        self.fill()

    def fill(self) -> None:
        """Fills all orders, and what follows on them."""
        while placed := self.driver.taken().placed:
            for order in placed:
                self._fill(order)

    def quoted(self, name: str, side: Side) -> Answered:
        """Requests a quote of a hundred units, or the money for them."""
        amount = 10_000 * MINOR if side == "subscribe" else 100 * MINOR
        return answer(self.driver, AskQuote(holder=name, token="T", side=side, amount=amount), self.now_ms)

    def gain_of(self, said: Answered) -> Fraction | None:
        """Returns what a dealing gains at the price of its judgement, minor units without the fee; None: rejected.

        It has to be asked before the token acts on that price.
        """
        quote = said.quote
        if not said.done or quote is None:
            return None
        state, prices = self.running.state, (self.mark,)
        marked = step(self.running.spec, state, ev.NavStruck(time_ms=self.now_ms, prices=prices)).state
        value = Fraction(quote.units * marked.equity, marked.balances.units)
        return value - quote.gross if quote.side == "subscribe" else quote.gross - value

    def wealth(self, name: str) -> Fraction:
        """Returns what a holder has at the last NAV, minor units."""
        state, token = self.driver.primary.state_of(name), self.running.state
        nav = Fraction(token.equity, token.balances.units)
        return state.cash("USDT") + state.cash("USDT", "held") + state.held_units("T") * nav

    def _take(self, mark: float) -> None:
        quote = Quote(symbol="A", time_ms=self.now_ms, mark=mark, index=mark)
        if self.settles_ms:
            due_ms = _START_MS + self.settles_ms
            quote = msgspec.structs.replace(quote, funding_rate=1e-4, funding_ms=due_ms)
        self.driver.on_quotes([quote], self.now_ms)

    def _fill(self, order: LiveOrder) -> None:
        price = self.mark * (1.0 + HALF_SPREAD if order.lots > 0 else 1.0 - HALF_SPREAD)
        commission = int(abs(order.lots) * float(_LOT) * price * COMMISSION * MINOR)
        self.driver.on_trade(self.book, Trade(
            trade_id=f"t{next(self._numbers)}", client_id=order.id, symbol=order.symbol, lots=order.lots, price=price,
            commission=commission, asset="USDT", realised=0, time_ms=self.now_ms,
        ))  # fmt: skip
        status = OrderStatus(client_id=order.id, symbol=order.symbol, word="filled", lots=order.lots,
                             filled=order.lots, time_ms=self.now_ms)  # fmt: skip
        self.driver.on_status(self.book, status)


def hindsight(desk: QuoteDesk, path: Sequence[float], step_ms: int) -> list[Gain]:
    """Returns what every acceptance that a taker could make on a path of prices gained, if it was not rejected.

    For every two moments and both sides, one holder requests a quote at the first and accepts it at the second, before
    the next price is known to the desk. And at every moment others deal at once without a quote.

    Args:
        desk: a new one.
        path: the price at each moment.
        step_ms: between two moments.
    """
    gains: list[Gain] = []
    pairs = [(i, j, side) for i in range(len(path)) for j in range(i, len(path)) for side in SIDES]
    for i, j, side in pairs:
        name = f"h{i}-{j}-{side}"
        desk.deposit(name, 20_000)
        if side == "redeem":
            answer(desk.driver, HandOn(holder=ISSUER, other=name, token="T", amount=100 * MINOR, reference=name),
                   desk.now_ms)  # fmt: skip
    for moment, mark in enumerate(path):
        desk.price(mark, step_ms)
        for i, j, side in pairs:
            name = f"h{i}-{j}-{side}"
            if i == moment:
                desk.quoted(name, side)
            if j == moment:
                accepts = TakeQuote(holder=name, id=f"{name}.q1")
                submit(desk.driver, accepts, desk.now_ms, _noting(desk, gains, side, i, j))
        for side in SIDES:
            now = Deal(holder=f"h{moment}-{moment}-{side}", token="T", side=side, amount=5 * MINOR, instant=True)
            submit(desk.driver, now, desk.now_ms, _noting(desk, gains, side, moment, moment))
    desk.price(path[-1], step_ms)
    return gains


def _noting(desk: QuoteDesk, gains: list[Gain], side: Side, i: int, j: int) -> Callable[[Answered], None]:
    def note(said: Answered) -> None:
        gain = desk.gain_of(said)
        if gain is not None:
            gains.append(Gain(gain, side, i, j))

    return note


class HedgeResult(NamedTuple):
    """What one quote brought the dealing account, as fractions of its money: at its judgement, and from then on."""

    at_judgement: float
    hedging: float


def hedging_errors(trials: int, seed: int, target: float = 3.0, daily: float = 0.04) -> list[HedgeResult]:
    """Returns what quotes brought the dealing account until they were hedged, on random walks without drift.

    Args:
        trials: how many quotes are accepted, one after the other.
        seed: of the prices.
        target: of the token.
        daily: the deviation of the price in a day.
    """
    draw, results = random.Random(seed), []
    desk = QuoteDesk(target)
    second = daily / 86_400**0.5
    desk.deposit("h1", 1_000_000_000)

    def moved(after_ms: int) -> None:
        desk.price(round(desk.mark * (1.0 + draw.gauss(0.0, second) * (after_ms / 1000) ** 0.5), 8), after_ms)

    for _ in range(trials):
        before = desk.wealth(DEALER)
        gains: list[Gain] = []
        said = desk.quoted(*draw.choice([("h1", SIDES[0]), (ISSUER, SIDES[1])]))
        if said.quote is None:
            moved(1_000)
            continue
        accepts = TakeQuote(holder=said.id.partition(".")[0], id=said.id)
        submit(desk.driver, accepts, desk.now_ms, _noting(desk, gains, said.quote.side, 0, 0))
        for after_ms in (1_000, *[10_000] * 13):  # until its window has ended and its hedge is settled
            moved(after_ms)
        for one in gains:
            money = said.quote.gross
            edge = float(-one.gain / money)
            results.append(HedgeResult(edge, float((desk.wealth(DEALER) - before) / money) - edge))
    return results


def main() -> int:
    """Prints the result of many quotes at their judgement and the hedging error after it; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m proof.quotes", description=__doc__)
    parser.add_argument("--trials", type=int, default=2_000, help="quotes for each target")
    parser.add_argument("--seed", type=int, default=1, help="of the prices")
    given = parser.parse_args()
    print(f"{'target':>6} {'accepted':>8} {'at judgement':>22} {'hedging error':>22} {'both':>22}   (bp of the money)")
    for target in (3.0, -3.0, 1.0, 5.0):
        found = hedging_errors(given.trials, given.seed, target)
        columns = [[one.at_judgement for one in found], [one.hedging for one in found], [sum(one) for one in found]]
        shown = [f"{fmean(column) * 1e4:+.2f} ± {stdev(column) / len(column) ** 0.5 * 1e4:.2f}" for column in columns]
        print(f"{target:>6g} {len(found):>8,} {' '.join(f'{words:>22}' for words in shown)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
