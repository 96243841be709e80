"""The accounting of a token of one or several legs as a plain loop over every bar, written from its description.

It is slow and obvious on purpose and shares no code with the package: it only reads the records' fields.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace

from tests.oracle import DAY, aim_of, clock, day_share, edges, milliseconds, over, trigger_fires, under, whole

FREE = SimpleNamespace(taker_fee=0.0, half_spread=0.0, impact=0.0, liquidation_fee=0.0)


@dataclass
class Run:
    nav: list = field(default_factory=list)
    rebalances: list = field(default_factory=list)  # (bar, reason)
    trades: list = field(default_factory=list)  # (bar, [dq per leg]); a roll is no trade
    rolls: list = field(default_factory=list)  # (bar, leg) of the rolls that moved a position
    turnover: float = 0.0
    liquidations: int = 0
    wiped_out: bool = False
    leverages: list = field(default_factory=list)  # |ℓ| per bar, after fee and roll, before the rule
    index: list = field(default_factory=list)
    money: dict = field(default_factory=dict)
    positions: list = field(default_factory=list)
    knife: list = field(default_factory=list)  # (bar, why): where rounding alone decides what is done


def maintenance(tiers, notional):
    for tier in tiers:
        if notional <= tier.notional_max:
            break
    return tier.rate * notional - tier.amount


def crossing(excess, good, bad):
    """The price where `excess` (of equity over maintenance margin) is zero, by bisection; None without one."""
    if excess(bad) >= 0 or excess(good) <= 0:
        return None
    for _ in range(400):
        middle = (good + bad) / 2
        if excess(middle) > 0:
            good = middle
        else:
            bad = middle
    return (good + bad) / 2


def first_root(f, far):
    """The smallest v in [0, far] with f(v) = 0 for a concave f with f(0) < 0; None if f stays below zero."""
    low, high = 0.0, far
    for _ in range(400):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if f(left) < f(right):
            low = left
        else:
            high = right
    low, high = 0.0, (low + high) / 2
    if f(high) < 0:
        return None
    for _ in range(400):
        middle = (low + high) / 2
        if f(middle) < 0:
            low = middle
        else:
            high = middle
    return high


class Loop:
    def __init__(self, token, times, legs_data, costs, equity, rates, spacing):
        self.spacing = spacing
        self.token, self.rule, self.legs, self.data = token, token.resolved_rule, token.legs, legs_data
        self.all_in = token.fees.all_in
        self.costs = FREE if self.all_in else costs or token.costs
        self.t, self.rates = [int(t) for t in times], sorted(rates)
        self.K = range(len(self.legs))
        self.kind = [type(leg).__name__ for leg in self.legs]
        self.w = [leg.weight for leg in self.legs]
        self.lot = [leg.lot * leg.multiplier for leg in self.legs]
        self.inverse = self.kind == ["Perpetual"] and self.legs[0].inverse
        self.close = [[float(p) for p in data["close"]] for data in legs_data]
        self.funding = [
            sorted((t - (t % 60_000 if t % 60_000 <= 1000 else 0), r) for t, r in data.get("funding", ()))
            for data in legs_data
        ]
        self.p = [close[0] for close in self.close]  # what equity is marked at
        self.E = float(equity)
        self.Q = [self.E / self.p[0]] if self.inverse else [0.0 for _ in self.K]
        self.all_coin = self.inverse
        self.ref, self.iref, self.S = list(self.p), list(self.p), 1.0
        self.ref_time = self.t[0]
        self.pacing = None
        self.noted = (0.0, [0.0 for _ in self.K], 0.0)
        self.out = Run()

    def X(self):
        return sum(self.Q[k] * self.p[k] for k in self.K)

    def gross(self):
        return sum(abs(self.Q[k]) * self.p[k] for k in self.K)

    def N(self, k):
        return self.Q[k] * self.p[k] - (self.E if self.inverse else 0.0)

    def flat(self):
        return self.all_coin if self.inverse else all(q == 0 for q in self.Q)

    def index(self):
        return self.S * sum(self.w[k] * self.p[k] / self.iref[k] for k in self.K)

    def days(self, i):
        return self.t[i] // DAY - self.t[i - 1] // DAY

    def due(self, i, stamped):
        return [value for t, value in stamped if self.t[i - 1] < t <= self.t[i]]

    def rolls_at(self, i):
        return {k: float(old) for k in self.K for bar, old in self.data[k].get("rolls", ()) if bar == i and i > 0}

    def wipe(self):
        self.E, self.Q = 0.0, [0.0 for _ in self.K]
        self.out.wiped_out = True

    def receive(self, part, amount):
        """Books money and says whether the token lives on; an inverse leg's collateral is coin."""
        self.E += amount
        if self.inverse:
            self.Q[0] += amount / self.p[0]
        self.out.money[part] = self.out.money.get(part, 0.0) + amount
        if self.E <= 0:
            self.wipe()
        return self.E > 0

    def volume_24h(self, i, k):
        if self.data[k].get("volume") is None:
            return 0.0
        traded = sum(v for t, v in zip(self.t[: i + 1], self.data[k]["volume"], strict=False) if t > self.t[i] - DAY)
        return traded / day_share(self.t, i, self.spacing)

    def leg_cost(self, k, dq, price, volume):
        s, f = self.costs.half_spread, self.costs.taker_fee
        if self.costs.impact and volume > 0:
            s += self.costs.impact * math.sqrt(abs(dq) / volume)
        return abs(dq) * price * s + abs(dq) * price * (1 + s * math.copysign(1, dq)) * f if dq else 0.0

    def cost(self, dq, volumes):
        return sum(self.leg_cost(k, dq[k], self.p[k], volumes[k]) for k in self.K)

    def volumes(self, i):
        return [self.volume_24h(i, k) if self.costs.impact else 0.0 for k in self.K]

    def steps_to(self, A, restore):
        """ΔQ of each leg for an exposure A: weights restored, or every leg scaled."""
        if restore:
            return [self.w[k] * A / self.p[k] - self.Q[k] for k in self.K]
        return [self.Q[k] * (A / self.X()) - self.Q[k] for k in self.K]

    def aim_after_cost(self, i, L, restore):
        """The A nearest to L·E with A + (L − h)·cost(A) = L·E; L·E itself if cost outruns every trade."""
        slope, start, volumes = L - (1 if self.inverse else 0), L * self.E, self.volumes(i)

        def lacking(v):
            return v - abs(slope) * self.cost(self.steps_to(start - math.copysign(v, slope), restore), volumes)

        if lacking(0.0) >= 0:
            return start
        v = first_root(lacking, 1e9 * (self.E + self.gross()))
        return start if v is None else start - math.copysign(v, slope)

    def cut(self, dq):
        """Whole lots towards zero, and nothing below a leg's least notional."""
        dq = list(dq)
        for k in self.K:
            # A contract that is margined in coin is an amount of money, not of the underlying.
            lot = self.lot[k] / self.p[k] if self.inverse else self.lot[k]
            if lot:
                dq[k] = math.copysign(whole(abs(dq[k]) / lot) * lot, dq[k])
            if under(abs(dq[k]) * self.p[k], self.legs[k].min_notional):
                dq[k] = 0.0
        return dq

    def complete(self, i, restore):
        self.pacing, self.ref, self.ref_time = None, list(self.p), self.t[i]
        if restore:
            self.S, self.iref = self.index(), list(self.p)

    def trade(self, i, aim, at_edge, reason, restore=False, emergency=False, continuing=False):
        if not restore and abs(self.X()) < 1e-6 * self.gross():
            self.out.knife.append((i, "scaled from an exposure near zero"))
        restore = restore or self.flat() or self.X() == 0
        dq = self.steps_to(self.aim_after_cost(i, aim, restore) if at_edge else aim * self.E, restore)
        net = sum(dq[k] * self.p[k] for k in self.K)
        size = sum(abs(dq[k]) * self.p[k] for k in self.K)
        if self.rule.pace is not None and abs(net) < 1e-9 * size:
            self.out.knife.append((i, "a slice without a side"))
        if continuing and net * self.pacing["sign"] <= 0:
            return self.complete(i, restore)
        last = True
        if self.rule.pace is not None and not emergency and over(size, self.rule.pace.largest):
            dq, last = [d * self.rule.pace.largest / size for d in dq], False
        dq = self.cut(dq)
        grained = [bool(self.lot[k] or self.legs[k].min_notional) for k in self.K]
        left = sum(abs(dq[k]) * self.p[k] for k in self.K)
        if any(grained) and not all(grained) and left < 1e-9 * (self.E + self.gross()):
            self.out.knife.append((i, "what lots left of a trade is rounding"))
        if all(d == 0 for d in dq) and any(grained):
            return self.complete(i, restore) if continuing else None
        cost, before = self.cost(dq, self.volumes(i)), self.E
        if before - cost <= 0:
            return self.wipe()
        self.Q = [self.Q[k] + dq[k] for k in self.K]
        self.receive("cost", -cost)
        self.all_coin = False
        self.out.turnover += left / before
        self.out.trades.append((i, dq))
        if not continuing:
            self.out.rebalances.append((i, reason))
        if last:
            return self.complete(i, restore)
        self.pacing = {
            "aim": aim, "edge": at_edge, "restore": restore,
            "sign": self.pacing["sign"] if continuing else math.copysign(1, net),
            "next": self.t[i] + milliseconds(self.rule.pace.interval),
        }  # fmt: skip
        return None

    def close_by_venue(self):
        """All legs are closed at the marked prices; what is left of an inverse leg is coin."""
        self.out.liquidations += 1
        self.pacing = None
        notional = sum(abs(self.N(k)) for k in self.K)
        if self.E > 0:
            charged = notional * (self.costs.taker_fee + self.costs.liquidation_fee)
            left = self.E - charged if over(self.E, charged) else 0.0
            self.out.money["liquidation"] = self.out.money.get("liquidation", 0.0) + left - self.E
            self.E = left
        self.Q = [self.E / self.p[0]] if self.inverse else [0.0 for _ in self.K]
        self.all_coin = self.inverse
        if self.E <= 0:
            self.wipe()

    def liquidate_alone(self, i):
        tiers = getattr(self.legs[0], "margin_tiers", ())
        if len(self.legs) > 1 or not tiers or self.flat():
            return
        E, q, before, N = self.E, self.Q[0], self.p[0], self.N(0)
        if N == 0:
            return

        def excess(p):
            return E + q * (p - before) - maintenance(tiers, abs(N) if self.inverse else abs(q) * p)

        at = crossing(excess, *((before * 1e6, 0.0) if q > 0 else (0.0, before * 1e6)))
        if at is None:
            return
        close = self.rolls_at(i).get(0, self.close[0][i])
        low, high, opened = (self.data[0][n][i] if self.data[0].get(n) else close for n in ("low", "high", "open"))
        reached = low if q > 0 else high
        if abs(reached / at - 1) < 1e-12:
            self.out.knife.append((i, "the bar ends within rounding of the liquidation price"))
        if not (reached <= at if q > 0 else reached >= at):
            return
        at = min(at, opened) if q > 0 else max(at, opened)
        self.E += q * (at - before)
        self.p = [at]
        self.close_by_venue()

    def mark(self, i):
        rolls = self.rolls_at(i)
        now = [rolls.get(k, self.close[k][i]) for k in self.K]
        stake = self.E + self.gross()
        self.E += sum(self.Q[k] * (now[k] - self.p[k]) for k in self.K)
        self.p = now
        if abs(self.E) < 1e-12 * stake:
            self.out.knife.append((i, "marked within rounding of zero"))
        if self.E <= 0:
            return self.wipe()
        paid = [self.Q[k] * sum(self.due(i, self.data[k].get("dividends", ()))) for k in self.K]
        self.receive("dividends", sum(paid))
        return None

    def liquidate_together(self, i):
        tiers = [getattr(leg, "margin_tiers", ()) for leg in self.legs]
        if len(self.legs) == 1 or not any(tiers) or self.flat():
            return
        margin = sum(max(maintenance(tiers[k], abs(self.N(k))), 0.0) for k in self.K if tiers[k])
        if not over(self.E, margin):
            self.close_by_venue()

    def fund(self, i):
        if self.all_in:
            return
        paid = [self.N(k) * sum(self.due(i, self.funding[k])) for k in self.K if self.kind[k] == "Perpetual"]
        self.receive("funding", -sum(paid))

    def accrue(self, i):
        rate, notional, cash = self.noted
        days = self.days(i)
        if days < 1:
            return
        if not self.all_in:
            swaps = [k for k in self.K if self.kind[k] == "TotalReturnSwap"]
            owed = sum(rate * notional[k] + self.legs[k].spread * abs(notional[k]) for k in swaps)
            if not self.receive("financing", -owed * days / 360):
                return
        self.receive("cash_interest", self.token.cash_interest * rate * cash * days / 360)

    def note_accrual(self, i):
        rate = 0.0
        for t, yearly in self.rates:
            if t <= self.t[i]:
                rate = yearly
        spent = sum(self.Q[k] * self.p[k] for k in self.K if self.kind[k] == "Spot")
        cash = 0.0 if self.inverse else self.E - spent
        self.noted = (rate, [self.N(k) for k in self.K], cash)

    def charge(self, i):
        fees, days = self.token.fees, self.days(i)
        if fees.on == "exposure":
            fee = abs(self.X()) * (fees.management_per_day + fees.management_per_year / 365) * days
        elif fees.management_per_year:
            fee = self.E * fees.management_per_year / 365 * days
        else:
            fee = self.E - self.E * (1 - fees.management_per_day) ** days
        self.receive("fee", -fee)

    def roll(self, i):
        for k, old in self.rolls_at(i).items():
            new, Q, volume = self.close[k][i], self.Q[k], self.volumes(i)[k]
            after = Q * old / new
            if self.lot[k]:
                after = math.copysign(whole(abs(after) / self.lot[k]) * self.lot[k], after)
            cost = self.leg_cost(k, -Q, old, volume) + self.leg_cost(k, after, new, volume)
            if self.E - cost <= 0:
                return self.wipe()
            if Q:
                self.out.rolls.append((i, k))
            self.Q[k], self.p[k] = after, new
            self.receive("cost", -cost)
        return None

    def references(self, i):
        """References go on through a roll whatever became of the position."""
        for k, old in self.rolls_at(i).items():
            self.ref[k] *= self.close[k][i] / old
            self.iref[k] *= self.close[k][i] / old

    def due_schedule(self, i, schedule):
        if schedule.every is not None:
            return self.t[i] - self.ref_time >= milliseconds(schedule.every)
        return any(
            self.t[i - 1] < day * DAY + clock(time) <= self.t[i]
            for time in schedule.times
            for day in range(self.t[i - 1] // DAY - 1, self.t[i] // DAY + 2)
        )

    def rebalance(self, i):
        rule, target = self.rule, self.token.target
        # Legs that cancel each other to the last digit are no exposure, as if nothing were held.
        holds = not self.flat() and (self.inverse or self.X() != 0)
        if holds and abs(self.X()) < 1e-9 * self.gross():
            self.out.knife.append((i, "an exposure near zero"))
        # Without contracts there is no leverage to a rule, even where the collateral is coin.
        leverage = self.X() / self.E if holds else 0.0
        move = sum(self.w[k] * (self.p[k] / self.ref[k] - 1) for k in self.K)
        checked = True
        if rule.check_interval is not None:
            step = milliseconds(rule.check_interval)
            checked = self.t[i] // step > self.t[i - 1] // step
        if checked and holds and rule.ripcord is not None and over(abs(leverage), rule.ripcord):
            upper = edges(rule, target)[1]
            return self.trade(i, math.copysign(upper, target), True, "ripcord", emergency=True)
        if self.pacing is not None:
            if self.t[i] >= self.pacing["next"]:
                self.trade(i, self.pacing["aim"], self.pacing["edge"], "slice", self.pacing["restore"], False, True)
            return None
        aim, at_edge = aim_of(rule, target, leverage, 1 if holds else 0)
        reduces = holds and under(abs(aim), abs(leverage))
        for schedule in rule.schedule:
            if not self.due_schedule(i, schedule) or (schedule.side == "reduce" and not reduces):
                continue
            if schedule.only_if is None or trigger_fires(schedule.only_if, target, leverage, move):
                return self.trade(i, aim, at_edge, "schedule", restore=True)
        if checked and holds:
            reason = trigger_fires(rule, target, leverage, move)
            if reason and (rule.side == "both" or reduces):
                return self.trade(i, aim, at_edge, reason)
        return None

    def bar(self, i):
        money = (self.liquidate_alone, self.mark, self.liquidate_together, self.fund, self.accrue, self.charge)
        for step in (*money, self.roll):
            step(i)
            if self.E <= 0:
                break
        self.references(i)
        if self.E <= 0:
            return
        self.out.leverages.append(abs(self.X()) / self.E)
        self.rebalance(i)
        if self.E > 0 and self.days(i) >= 1:
            self.note_accrual(i)

    def look(self, i):
        """Notes what a bar left; a dead token's index goes on."""
        self.p = [close[i] for close in self.close]
        self.out.nav.append(self.E)
        self.out.positions.append(list(self.Q))
        self.out.index.append(self.index())


def simulate_legs(token, times, legs_data, costs=None, equity=1e6, rates=(), nudge=0.0, grain=0.0, spacing=60_000):
    """Runs the loop over every bar of the legs' common times and returns a Run.

    With a nudge each bar begins with equity so many roundings of its sum too high, with a grain that much money.
    """
    loop = Loop(token, times, legs_data, costs, equity, rates, spacing)
    loop.trade(0, token.target, False, "opening", restore=True)
    loop.note_accrual(0)
    loop.look(0)
    for i in range(1, len(loop.t)):
        if loop.E > 0:
            highest = [max(loop.close[k][i], loop.p[k], loop.rolls_at(i).get(k, 0.0)) for k in loop.K]
            held = sum(abs(loop.Q[k]) * highest[k] for k in loop.K)
            loop.E += nudge * 2**-53 * len(loop.legs) * (loop.E + held) + grain
            loop.bar(i)
        else:
            loop.references(i)
        loop.look(i)
    return loop.out
