"""Triggers inside a bar as a plain walk: the first price that fires is found by halving, not from a barrier."""

from __future__ import annotations

import math

from tests.oracle import Loop, aim_of, edges, over, trigger_fires, under


class Inside(Loop):
    """The plain loop, which before each close follows the bar's open, adverse extreme and other extreme."""

    def why(self, price, at, i):
        """What fires at a price on the way from `at`: (reason, aim, at_edge); None if nothing does."""
        equity = self.E + self.q * (price - at)
        if equity <= 0:
            return "wipe-out", 0.0, False
        rule, target = self.rule, self.token.target
        leverage, move = self.q * price / equity, price / self.ref_price - 1
        if rule.ripcord is not None and over(abs(leverage), rule.ripcord):
            return "ripcord", math.copysign(edges(rule, target)[1], target), True
        if self.pacing is not None:
            return None
        aim, at_edge = aim_of(rule, target, leverage, self.q)
        reason = trigger_fires(rule, target, leverage, move)
        if reason and (rule.side == "both" or under(abs(aim), abs(leverage))):
            return reason, aim, at_edge
        return None

    def act(self, price, at, i):
        """Marks at a price and acts there."""
        fired = self.why(price, at, i)
        self.E += self.q * (price - at)
        if fired is None:
            return False
        if fired[0] == "wipe-out":
            self.wipe()
            return True
        closes, self.p = self.p, {**dict(enumerate(self.p)), i: price}
        self.trade(i, fired[1], fired[2], fired[0], emergency=fired[0] == "ripcord")
        self.p = closes
        return True

    def go(self, at, to, i):
        """Takes the price from `at` to `to`; returns where it is."""
        acted = False
        for _ in range(64):
            if self.E <= 0 or self.q == 0 or at == to or self.why(to, at, i) is None:
                break
            good, bad = to, at
            near = at * (1 + 1e-6) if to > at else at * (1 - 1e-6)
            if acted and abs(to - at) > abs(near - at) and self.why(near, at, i):
                good = to
            elif self.why(at, at, i) is None:
                for _ in range(200):
                    middle = (good + bad) / 2
                    if self.why(middle, at, i) is None:
                        bad = middle
                    else:
                        good = middle
            else:
                good = at
            trades = len(self.out.trades)
            self.act(good, at, i)
            at, acted = good, True
            if len(self.out.trades) == trades:
                break
        if self.E > 0:
            self.E += self.q * (to - at)
        return to

    def bar(self, i):
        before = self.p[i - 1]
        low, high = self.bars["low"][i], self.bars["high"][i]
        opened = self.bars["open"][i] if self.bars.get("open") is not None else before
        if self.q and (self.why(low, before, i) or self.why(high, before, i)):
            self.act(opened, before, i)
            at = opened
            for to in (low, high) if self.q > 0 else (high, low):
                at = self.go(at, to, i)
            before = self.go(at, self.p[i], i)
        if self.E <= 0:
            return
        closes, self.p = self.p, [*self.p]
        self.p[i - 1] = before
        super().bar(i)
        self.p = closes
