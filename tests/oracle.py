"""The accounting order as a plain loop over every bar, written from its description; shares no code with the package.

It is slow and obvious on purpose: one bar after the other, one step after the other.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

DAY = 86_400_000
TOL = 1e-9


def milliseconds(text):
    for unit, scale in (("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", DAY)):
        if text.endswith(unit) and text[: -len(unit)].replace(".", "").isdigit():
            return float(text[: -len(unit)]) * scale
    raise AssertionError(text)


def clock(text):
    hours, minutes = text.split(":")[:2]
    return (int(hours) * 60 + int(minutes)) * 60_000


def day_share(times, i, bar):
    """The days that the bars looked back over up to bar i last: one, but less at the start, and a long bar's length."""
    return max(min(times[i] - times[0] + bar, DAY), bar, 1) / DAY


@dataclass
class Run:
    nav: list = field(default_factory=list)
    rebalances: list = field(default_factory=list)  # (bar, reason)
    trades: list = field(default_factory=list)  # (bar, dq)
    turnover: float = 0.0
    liquidations: int = 0
    wiped_out: bool = False
    leverages: list = field(default_factory=list)
    money: dict = field(default_factory=dict)


def over(value, threshold):
    return math.isfinite(threshold) and value > threshold + TOL * abs(threshold)


def under(value, threshold):
    return math.isfinite(threshold) and value < threshold - TOL * abs(threshold)


def reached(value, threshold):
    return value >= threshold - TOL * abs(threshold)


def whole(count):
    """The whole number that a count touches, else the one below it."""
    nearest = round(count)
    return nearest if abs(count - nearest) <= TOL * count else math.floor(count)


def trigger_fires(trigger, target, leverage, move):
    """Does a band, deviation or move of a Rule or Condition fire?"""
    size = abs(leverage)
    if trigger.band_upper is not None and over(size, trigger.band_upper):
        return "band"
    if trigger.band_lower is not None and under(size, trigger.band_lower):
        return "band"
    aside = trigger.deviation if trigger.deviation is not None else math.inf
    if over(size, abs(target) * (1 + aside)) or under(size, abs(target) * (1 - aside)):
        return "band"
    with_token = move if target > 0 else -move
    if trigger.move_favour is not None and reached(with_token, trigger.move_favour):
        return "move"
    if trigger.move_against is not None and reached(-with_token, trigger.move_against):
        return "move"
    return None


def edges(rule, target):
    lower = rule.band_lower if rule.band_lower is not None else 0.0
    upper = rule.band_upper if rule.band_upper is not None else math.inf
    if rule.deviation is not None:
        lower = max(lower, abs(target) * (1 - rule.deviation))
        upper = min(upper, abs(target) * (1 + rule.deviation))
    return lower, upper


def aim_of(rule, target, leverage, q):
    """The signed leverage to go to, and whether it is met after cost."""
    sign = math.copysign(1, target)
    lower, upper = edges(rule, target)
    if rule.aim == "target" or q == 0:
        return target, False
    if rule.aim == "reentry":
        return sign * rule.reentry_level, False
    if rule.aim == "edge":
        if abs(leverage) > upper:
            return sign * upper, True
        if abs(leverage) < lower:
            return sign * lower, True
        return leverage, False
    mixed = abs(leverage) * (1 - rule.recentering_speed) + abs(target) * rule.recentering_speed
    return sign * max(lower, min(upper, mixed)), False


def liquidation_price(tiers, equity, q, price):
    """By bisection on equity − maintenance margin, not by formula."""

    def excess(p):
        notional = abs(q) * p
        for tier in tiers:
            if notional <= tier.notional_max:
                return equity + q * (p - price) - (tier.rate * notional - tier.amount)
        raise AssertionError

    good, bad = (price * 1e6, 0.0) if q > 0 else (0.0, price * 1e6)
    if excess(bad) >= 0 or excess(good) <= 0:
        return None
    for _ in range(400):
        middle = (good + bad) / 2
        if excess(middle) > 0:
            good = middle
        else:
            bad = middle
    return (good + bad) / 2


class Loop:
    def __init__(self, token, times, prices, funding, costs, equity, bars, spacing):
        self.token, self.rule, self.costs = token, token.resolved_rule, costs
        self.t, self.p, self.bars, self.spacing = times, prices, bars, spacing
        self.funding = [(t - (t % 60_000 if t % 60_000 <= 1000 else 0), r) for t, r in sorted(funding)]
        self.lot = token.legs[0].lot * token.legs[0].multiplier
        self.E, self.q = equity, 0.0
        self.ref_price, self.ref_time = prices[0], times[0]
        self.pacing = None
        self.nudge = self.grain = 0.0
        self.signs = None
        self.out = Run()

    def volume_24h(self, i):
        if self.bars.get("volume") is None:
            return 0.0
        first = i
        while first > 0 and self.t[first - 1] > self.t[i] - DAY:
            first -= 1
        return sum(self.bars["volume"][first : i + 1]) / day_share(self.t, i, self.spacing)

    def half_spread(self, dq, i):
        s = self.costs.half_spread
        if not self.costs.impact:
            return s
        volume = self.volume_24h(i)
        return s + self.costs.impact * math.sqrt(abs(dq) / volume) if volume > 0 else s

    def wipe(self):
        self.E = self.q = 0.0
        self.out.wiped_out = True

    def jog(self, price):
        """Moves equity by what the sum it just came from may have been rounded by, times the nudge, and by a grain."""
        sign = self.signs.choice((-1, 1)) if self.signs else 1
        self.E += sign * self.nudge * 2**-53 * (abs(self.E) + abs(self.q) * price) + self.grain

    def post(self, part, amount):
        self.out.money[part] = self.out.money.get(part, 0.0) + amount

    def trade(self, i, aim, at_edge, reason, emergency=False, continuing=False):
        P, f = self.p[i], self.costs.taker_fee
        dq = aim * self.E / P - self.q
        sign = math.copysign(1, dq)
        if at_edge:
            free = dq
            for _ in range(100_000):  # rises to the smallest solution, slowly where cost nearly outruns the trade
                s = self.half_spread(dq, i)
                scale = 1 + aim * (s + f * (1 + s * sign)) * sign
                better = free / scale if scale > 0 else free
                if scale <= 0 or abs(better - dq) <= 1e-16 * abs(dq):
                    dq = better
                    break
                dq = better
        if continuing and dq * self.pacing["sign"] <= 0:
            self.pacing, self.ref_price, self.ref_time = None, P, self.t[i]
            return
        last = True
        if self.rule.pace is not None and not emergency and over(abs(dq) * P, self.rule.pace.largest):
            dq, last = sign * self.rule.pace.largest / P, False
        if self.lot:
            dq = sign * whole(abs(dq) / self.lot) * self.lot
            if dq == 0:
                if continuing:
                    self.pacing, self.ref_price, self.ref_time = None, P, self.t[i]
                return
        s = self.half_spread(dq, i)
        cost = abs(dq) * P * s + abs(dq) * P * (1 + s * sign) * f if dq else 0.0
        before = self.E
        self.E -= cost
        self.jog(P)
        if self.E <= 0:
            self.wipe()
            return
        self.q += dq
        self.out.turnover += abs(dq) * P / before
        self.out.trades.append((i, dq))
        self.post("cost", -cost)
        if not continuing:
            self.out.rebalances.append((i, reason))
        if last:
            self.pacing, self.ref_price, self.ref_time = None, P, self.t[i]
        else:
            self.pacing = {
                "aim": aim,
                "edge": at_edge,
                "sign": sign,
                "next": self.t[i] + milliseconds(self.rule.pace.interval),
            }

    def liquidate(self, i):
        tiers = self.token.legs[0].margin_tiers
        at = liquidation_price(tiers, self.E, self.q, self.p[i - 1]) if tiers and self.q else None
        if at is None:
            return
        low, high, opened = (self.bars.get(k, self.p)[i] for k in ("low", "high", "open"))
        if not (low <= at if self.q > 0 else high >= at):
            return
        at = min(at, opened) if self.q > 0 else max(at, opened)
        self.E += self.q * (at - self.p[i - 1])
        self.jog(max(at, self.p[i - 1]))
        charged = abs(self.q) * at * (self.costs.taker_fee + self.costs.liquidation_fee)
        self.out.liquidations += 1
        self.E, self.q, self.pacing = (self.E - charged if over(self.E, charged) else 0.0), 0.0, None
        if self.E <= 0:
            self.wipe()

    def rebalance(self, i):
        rule, target = self.rule, self.token.target
        leverage = self.q * self.p[i] / self.E
        move = self.p[i] / self.ref_price - 1
        checked = True
        if rule.check_interval is not None:
            step = milliseconds(rule.check_interval)
            checked = self.t[i] // step > self.t[i - 1] // step
        if checked and self.q and rule.ripcord is not None and over(abs(leverage), rule.ripcord):
            upper = edges(rule, target)[1]
            return self.trade(i, math.copysign(upper, target), True, "ripcord", emergency=True)
        if self.pacing is not None:
            if self.t[i] >= self.pacing["next"]:
                self.trade(i, self.pacing["aim"], self.pacing["edge"], "slice", continuing=True)
            return None
        aim, at_edge = aim_of(rule, target, leverage, self.q)
        reduces = under(abs(aim), abs(leverage))
        for schedule in rule.schedule:
            if schedule.every is not None:
                due = self.t[i] - self.ref_time >= milliseconds(schedule.every)
            else:
                due = any(
                    self.t[i - 1] < day * DAY + clock(time) <= self.t[i]
                    for time in schedule.times
                    for day in range(int(self.t[i - 1] // DAY) - 1, int(self.t[i] // DAY) + 2)
                )
            if not due or (schedule.side == "reduce" and not reduces):
                continue
            if schedule.only_if is None or trigger_fires(schedule.only_if, target, leverage, move):
                return self.trade(i, aim, at_edge, "schedule")
        if checked and self.q:
            reason = trigger_fires(rule, target, leverage, move)
            if reason and (rule.side == "both" or reduces):
                return self.trade(i, aim, at_edge, reason)
        return None

    def bar(self, i):
        P, fees = self.p[i], self.token.fees
        self.liquidate(i)
        if self.E <= 0:
            return
        self.E += self.q * (P - self.p[i - 1])
        self.jog(max(P, self.p[i - 1]))
        if self.E <= 0:
            return self.wipe()
        if not fees.all_in:
            rates = [r for t, r in self.funding if self.t[i - 1] < t <= self.t[i]]
            if rates:
                paid = -self.q * P * sum(rates)
                self.E += paid
                self.post("funding", paid)
            if self.E <= 0:
                return self.wipe()
        days = self.t[i] // DAY - self.t[i - 1] // DAY
        before = self.E
        for _ in range(days):
            if fees.on == "exposure":
                self.E -= abs(self.q) * P * (fees.management_per_day + fees.management_per_year / 365)
            elif fees.management_per_year:
                self.E -= before * fees.management_per_year / 365
            else:
                self.E *= 1 - fees.management_per_day
        self.post("fee", self.E - before)
        if self.E <= 0:
            return self.wipe()
        self.out.leverages.append(abs(self.q) * P / self.E)
        return self.rebalance(i)


def simulate(token, times, prices, funding=(), costs=None, equity=1_000_000.0, bars=None, nudge=0.0, grain=0.0,
             signs=None, spacing=60_000):  # fmt: skip
    """Runs the loop; `funding` is a list of (time in ms, rate); `bars` holds open, low, high, volume of `spacing` ms.

    With a nudge each sum of equity comes out so many of its roundings too high, or by seed too high or too low;
    with a grain, that much money.
    """
    loop = Loop(
        token,
        [int(t) for t in times],
        [float(p) for p in prices],
        funding,
        costs or token.costs,
        equity,
        bars or {},
        spacing,
    )
    if token.fees.all_in:
        loop.costs = type(token.costs)()
    loop.nudge, loop.grain = nudge, grain
    loop.signs = random.Random(signs) if signs is not None else None
    loop.trade(0, token.target, False, "opening")
    loop.out.nav.append(loop.E)
    for i in range(1, len(loop.p)):
        if loop.E > 0:
            loop.bar(i)
        loop.out.nav.append(loop.E)
    return loop.out
