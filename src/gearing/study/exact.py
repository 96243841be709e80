"""The exact backtest: the live desk's own step and ledger, over the same prices, in integers.

The kernels are its quick twin: the same decisions by the same functions, in floats. Between two of a token's
horizons no price is looked at.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from gearing.core import events as ev
from gearing.core.barriers import State, liquidation_price
from gearing.core.chains import leg_of
from gearing.core.fees import Costs
from gearing.core.money import FLOOR, MINOR, finest_lot, to_float, to_minor
from gearing.core.state import TokenState
from gearing.core.step import step
from gearing.core.terms import Spec
from gearing.core.token import Token
from gearing.core.trading import Order
from gearing.core.watch import Watch, needs, watch
from gearing.errors import InputError
from gearing.kernels.calendar import bars_at
from gearing.market.legs import LegSeries, Sources
from gearing.market.series import Floats, Times
from gearing.study.backtest import CAPITAL, as_costs, as_token, capital
from gearing.study.exact_result import ExactResult, Happened
from gearing.study.inputs import Inputs
from gearing.venues.quote import deal, fee_on, funding

_MINUTE_MS, _STAMP_SLACK_MS = 60_000, 1_000
# So many bars are searched for a crossing at once, at first; four times as many each time none is found.
_CHUNK = 64


class Exact:
    """A token followed over its series by the desk's own step.

    Args:
        spec: the token.
        series: its legs' prices on one time axis.
        costs: what trading costs.
        equity: the capital, minor units.
    """

    def __init__(self, spec: Spec, series: LegSeries, costs: Costs, equity: int) -> None:
        self.spec, self.series, self.costs = spec, series, costs
        market = series.index
        self.times: list[int] = market.times_ms.tolist()
        self.close: Floats = market.close
        self.volumes: Floats | None = market.volume_24h if market.volume_24h.size else None
        self.low, self.high, self.open = market.low, market.high, market.open
        self.due = _settlements(series)
        # For each bar the legs that roll there, with their old contracts' prices; those not rolled yet on this bar.
        self.rolls, contracts = _rolls(series)
        self.old: dict[int, float] = {}
        self.stops = sorted({*self.due, *self.rolls})
        self.state = TokenState()
        self.happened: list[Happened] = []
        self.trades = 0
        prices = self.prices(0)
        legs = zip(spec.token.legs, prices, strict=True)
        lots = tuple(lot_of(leg.lot * leg.multiplier, price) for leg, price in legs)
        units = equity * MINOR // to_minor(spec.token.initial_nav, FLOOR)
        self.apply(0, ev.Launched(time_ms=self.times[0], token=spec.token, lots=lots, prices=prices,
                                  contracts=contracts if any(spec.chains.leaves_ms) else UNSET))  # fmt: skip
        self.apply(0, ev.Seeded(time_ms=self.times[0], amount=equity, units=units))

    def run(self) -> None:
        """Follows the token to the end of its series."""
        bar, n = 0, len(self.times)
        self.attend(0, force=True)
        while True:
            horizon = watch(self.spec, self.state)
            bar = self.next_bar(bar, horizon)
            if self.state.status == "wiped":
                return
            if bar >= n:
                self.apply(n - 1, ev.NavStruck(time_ms=self.times[-1], prices=self.prices(n - 1)))
                return
            self.old = self.rolls.get(bar, {})
            self.liquidate(bar)
            for leg, settlement_ms, rate in self.due.get(bar, ()):
                self.settle(bar, leg, settlement_ms, rate)
            if self.old:
                self.roll(bar)
            self.attend(bar, force=self.times[bar] >= horizon.deadline_ms)

    def settle(self, bar: int, leg: int, settlement_ms: int, rate: float) -> None:
        """Books a settlement of funding at a bar's price."""
        prices, held = self.prices(bar), self.state.legs[leg]
        amount = 0 if self.spec.all_in else funding(held.lots, held.lot_size, prices[leg], rate)
        self.apply(bar, ev.FundingSettled(time_ms=self.times[bar], leg=leg, settlement_ms=settlement_ms,
                                          lots=held.lots, rate=rate, amount=amount, prices=prices))  # fmt: skip

    def roll(self, bar: int) -> None:
        """Moves the legs that roll on a bar into their next contracts; the rule is asked at those prices afterwards."""
        before, legs, self.old = self.prices(bar), tuple(self.old), {}
        after, given = self.prices(bar), self.spec.token.legs
        self.trade(bar, self.apply(bar, ev.RollDue(
            time_ms=self.times[bar], legs=legs, prices=before, next_prices=tuple(after[k] for k in legs),
            lots=tuple(lot_of(given[k].lot * given[k].multiplier, after[k]) for k in legs),
        )))  # fmt: skip

    def prices(self, bar: int) -> tuple[float, ...]:
        """Returns the price of each leg at a bar; of one that is still to roll there, its old contract's."""
        return tuple(self.old.get(k, price) for k, price in enumerate(self.close[:, bar].tolist()))

    def next_bar(self, bar: int, horizon: Watch) -> int:
        """Returns the next bar that needs attention: a clock, a settlement, a roll, or a price beyond its range."""
        stop = len(self.times)
        if horizon.deadline_ms < np.inf:
            stop = min(stop, bisect_left(self.times, math.ceil(horizon.deadline_ms)))
        after = bisect_right(self.stops, bar)
        if after < len(self.stops):
            stop = min(stop, self.stops[after])
        stop = max(stop, bar + 1)
        low, high = np.array(horizon.below)[:, None], np.array(horizon.above)[:, None]
        forced = self.forced_price()
        start, size = bar + 1, _CHUNK
        while start < stop:
            end = min(start + size, stop)
            part = self.close[:, start:end]
            outside = ((part < low) | (part > high)).any(axis=0)
            if forced is not None:
                long = self.state.legs[0].lots > 0
                outside |= self.low[start:end] <= forced if long else self.high[start:end] >= forced
            if outside.any():
                return start + int(outside.argmax())
            start, size = end, 4 * size
        return stop

    def attend(self, bar: int, *, force: bool) -> None:
        """Asks the rule at a bar, if a clock ran out or there is something to do, and trades what it wants."""
        volumes = () if self.volumes is None else tuple(self.volumes[:, bar].tolist())
        before_ms = self.times[max(bar - 1, 0)]
        event = ev.Marked(time_ms=self.times[bar], prices=self.prices(bar), before_ms=before_ms, volumes=volumes)
        if not (force or needs(self.spec, self.state, event)):
            return
        self.trade(bar, self.apply(bar, event))

    def trade(self, bar: int, orders: tuple[Order, ...]) -> None:
        """Fills orders, and what the token wants next, until it wants no more."""
        while orders:
            orders = tuple(more for order in orders for more in self.fill(bar, order))

    def fill(self, bar: int, order: Order) -> tuple[Order, ...]:
        """Fills an order at once and whole; returns what the token wants next."""
        leg = self.state.legs[order.leg]
        volume = 0.0 if self.volumes is None else float(self.volumes[leg_of(order.leg, leg), bar])
        found = deal(self.costs, order.lots, leg.lot_size, leg.mark, volume)
        self.trades += 1
        now_ms, (k, lots, epoch, slice_, attempt, _) = self.times[bar], order
        self.apply(bar, ev.Filled(time_ms=now_ms, leg=k, epoch=epoch, slice=slice_, attempt=attempt, lots=lots,
                                  trade=str(self.trades), price=found.price, commission=found.charge))  # fmt: skip
        return self.apply(bar, ev.OrderEnded(time_ms=now_ms, leg=k, epoch=epoch, slice=slice_, attempt=attempt,
                                             outcome="filled"))  # fmt: skip

    def forced_price(self) -> float | None:
        """Returns where the venue closes a token of one leg; None if nowhere."""
        if len(self.state.legs) > 1 or not self.spec.token.legs[0].margin_tiers or self.state.is_flat:
            return None
        leg = self.state.legs[0]
        now = State(to_float(self.state.equity), leg.lots * float(leg.lot), leg.mark, 0, 0, 0, 0, 0, 0)
        price = liquidation_price(np.ascontiguousarray(self.spec.tiers[0]), State(*map(float, now)))
        return None if np.isnan(price) else price

    def liquidate(self, bar: int) -> None:
        """Lets the venue close the position if the bar reached the price for it."""
        forced = self.forced_price()
        if forced is None:
            return
        leg = self.state.legs[0]
        long = leg.lots > 0
        if not (self.low[bar] <= forced if long else self.high[bar] >= forced):
            return
        price = min(float(self.open[bar]), forced) if long else max(float(self.open[bar]), forced)
        charge = fee_on(self.costs.taker_fee + self.costs.liquidation_fee, leg.lots, leg.lot_size, price)
        self.trades += 1
        self.apply(bar, ev.Liquidated(time_ms=self.times[bar], leg=0, lots=-leg.lots, price=price, charge=charge,
                                      trade=str(self.trades)))  # fmt: skip

    def apply(self, bar: int, event: ev.TokenEvent) -> tuple[Order, ...]:
        """Takes one event."""
        done = step(self.spec, self.state, event)
        self.state = done.state
        self.happened.append(Happened(bar, event, done.entry, done.state))
        return done.orders


def lot_of(size: float, price: float) -> str:
    """Returns the size of a lot as a decimal: the venue's, or so fine a step that it is worth no minor unit."""
    return repr(size) if size > 0 else str(finest_lot(price))


def exact_backtest(
    token: Token,
    prices: Any,
    *,
    funding: Any = None,
    costs: Costs | None = None,
    equity: float = CAPITAL,
    rates: Any = None,
    dividends: Any = None,
    underlying: Any = None,
) -> ExactResult:
    """Runs a token over a price path through the live desk's own step and ledger, in integers.

    It is what a desk with constant-spread paper and no latency does over the same prices, to the digit; `backtest`
    is its quick twin in floats. A desk trades linear perpetuals and dated futures.

    Args:
        token: the specification.
        prices: as for `backtest`.
        funding: as for `backtest`.
        costs: what trading costs; by default the token's own assumption.
        equity: the capital before the opening trade, settlement currency.
        rates, dividends, underlying: refused, since a desk has none.

    Raises:
        SpecError: the token holds what a desk cannot run.
        InputError: a series cannot be used.
    """
    if rates is not None or dividends is not None or underlying is not None:
        given = next(
            n for n, v in (("rates", rates), ("dividends", dividends), ("underlying", underlying)) if v is not None
        )
        raise InputError(
            f"an exact run takes no {given}: a desk trades linear perpetuals and dated futures alone.",
            where=given,
            fix="Leave it out, or run gr.backtest.",
        )
    as_token(token)
    paid = Costs() if token.fees.all_in else as_costs(costs, token)
    # The journal of the run holds the token, so what decisions expect of costs has to stand in it.
    spec = Spec(msgspec.structs.replace(token, costs=paid))
    series = Inputs(Sources(prices, funding)).legs(token)
    run = Exact(spec, series, paid, to_minor(capital(equity), FLOOR))
    run.run()
    return ExactResult(spec, paid, run.happened)


def _rolls(series: LegSeries) -> tuple[dict[int, dict[int, float]], tuple[int, ...]]:
    """Returns, for each bar, the legs that roll there with their old prices; and the contracts that legs begin with."""
    rolls: dict[int, dict[int, float]] = {}
    found = series.roll_bars()
    for leg, bars in enumerate(found):
        for bar, price in bars:
            if 0 < bar < len(series.times_ms):
                rolls.setdefault(bar, {})[leg] = price
    return rolls, tuple(sum(bar <= 0 for bar, _ in bars) for bars in found)


def _settlements(series: LegSeries) -> dict[int, list[tuple[int, int, float]]]:
    """Returns, for each bar, the settlements that fall on it: (leg, time, rate)."""
    due: dict[int, list[tuple[int, int, float]]] = {}
    for leg, held in enumerate(series.held):
        if held.funding is None:
            continue
        stamps: Times = held.funding.times_ms
        past = stamps % _MINUTE_MS
        bars = bars_at(series.times_ms, series.spacing_ms, stamps - np.where(past <= _STAMP_SLACK_MS, past, 0))
        for bar, stamp, rate in zip(bars.tolist(), stamps.tolist(), held.funding.rates.tolist(), strict=True):
            if 0 < bar < len(series.times_ms):
                due.setdefault(bar, []).append((leg, stamp, rate))
    return due
