"""The primary market against a naive model: any sequence of what holders, prices, the venue and an operator do.

The model knows nothing of hedges: it says who may have what. Every promise is looked at after every step: what all
holders have is what was issued, money is neither made nor lost, nobody who stays is worse off at an unchanged price,
and nobody gains by coming in and going out again.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import gearing as gr
from gearing.core import holder as ho
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.drive.fees import take_fees
from gearing.drive.merging import merge
from tests.lives import CAPITAL, token
from tests.test_primary import COSTS, Market

NAMES = ("h1", "h2", "h3")
SHARES = st.integers(1, 100)


class Holders(RuleBasedStateMachine):
    """Holders of one token; `paid` is what each has brought in, and `worth` what their units were worth."""

    @initialize(fee=st.sampled_from([0.0, 0.002]), bad=st.sampled_from([0.0, 0.002]), lot=st.sampled_from([0.0, 0.001]))
    def begin(self, fee, bad, lot):
        it = token("A", costs=COSTS, fees=gr.Fees(creation=fee, redemption=fee, management_per_day=0.001),
                   primary=Terms(holder_per_day=400_000.0, quote_valid="2m"), rule=gr.Rule(deviation=0.5))  # fmt: skip
        self.desk = Market(it, bad=bad, rate=5e-4)
        self.desk.opened()
        self.brought, self.nav = Counter(), None
        self.brought[ho.ISSUER] = CAPITAL
        self.desk.deposit(ho.DEALER, 30_000)
        self.brought[ho.DEALER] = 30_000 * MINOR

    def navs(self):
        balances = self.desk.it.state.balances
        return Fraction(balances.equity, balances.units) if balances.units else None

    @rule(name=st.sampled_from(NAMES), amount=st.integers(1, 300_000))
    def deposit(self, name, amount):
        self.desk.deposit(name, amount)
        self.brought[name] += amount * MINOR

    @rule(name=st.sampled_from(NAMES), share=SHARES)
    def subscribe(self, name, share):
        if name in self.desk.primary.holders:
            free = self.desk.cash(name)
            answer = self.desk.ask(name, "subscribe", free * share // 100)
            assert self.desk.cash(name) == (free if isinstance(answer, str) else free - free * share // 100)

    @rule(name=st.sampled_from((*NAMES, ho.ISSUER)), share=SHARES)
    def redeem(self, name, share):
        if name in self.desk.primary.holders:
            has = self.desk.units(name)
            answer = self.desk.ask(name, "redeem", has * share // 100)
            assert self.desk.units(name) == (has if isinstance(answer, str) else has - has * share // 100)

    @rule(name=st.sampled_from((*NAMES, ho.ISSUER)), side=st.sampled_from(["subscribe", "redeem"]), share=SHARES)
    def deal_at_once(self, name, side, share):
        """The token is untouched; the dealing account has what the holder gave, whatever it has not got yet."""
        if name not in self.desk.primary.holders:
            return
        has = self.desk.cash(name) if side == "subscribe" else self.desk.units(name)
        before = self.desk.it.state
        quote = self.desk.primary.quotes.ask(name, self.desk.it, side, has * share // 100, self.desk.now_ms)
        if not isinstance(quote, str):
            quote = self.desk.primary.quotes.take(name, quote.id, self.desk.now_ms)
        if not isinstance(quote, str):
            sign = 1 if side == "subscribe" else -1
            self.brought[name] -= sign * quote.cash
            self.brought[ho.DEALER] += sign * quote.cash
        assert self.desk.it.state is before

    @rule(name=st.sampled_from(NAMES), number=st.integers(1, 5))
    def release(self, name, number):
        self.desk.primary.release(name, f"{name}.{number}", "as asked", self.desk.now_ms)

    @rule(move=st.floats(0.97, 1.03), part=st.sampled_from([1.0, 1.0, 0.6, 0.0]))
    def window(self, move, part):
        """At a price that has settled first, so that what follows is the flows' doing alone."""
        price = round(self.desk.mark * move, 4)
        self.desk.mark = price
        desk = self.desk
        desk.filled(desk.quote(price, after_ms=1_000))
        rebalances = desk.it.state.rebalances
        desk.driver.publish(desk.it, "minute", desk.now_ms, (price,))
        before = self.navs()
        desk.window(price, part=part)
        after, day = self.navs(), Fraction(1, 1_000)
        if before and after and desk.it.state.rebalances == rebalances:  # a rebalance has a cost of its own
            assert after >= before * (1 - day)
            assert after <= before * (1 + Fraction(1, 1_000)) or desk.it.state.balances.units < 10**6

    @rule()
    def halt_and_resume(self):
        for action in ("halt", "resume"):
            if self.desk.it.state.status in {"open", "halted"}:
                self.desk.driver.operate(self.desk.it, action, "ann", "test", self.desk.now_ms)
        self.desk.take()

    @rule(name=st.sampled_from(NAMES), other=st.sampled_from(NAMES), share=SHARES)
    def hand_on(self, name, other, share):
        holders = self.desk.primary.holders
        if name == other or name not in holders or other not in holders or not self.desk.cash(name) * share // 100:
            return
        amount = self.desk.cash(name) * share // 100
        for one, sign, far in ((name, -1, other), (other, 1, name)):
            self.desk.primary.post(one, ho.Handed(time_ms=self.desk.now_ms, asset="USDT", cash=sign * amount,
                                                  other=far, reference="t"))  # fmt: skip
        self.brought[name] -= amount
        self.brought[other] += amount

    @rule(how=st.sampled_from(["cash", "units", "burn"]), share=SHARES)
    def take_fees(self, how, share):
        desk = self.desk
        owed, before = -desk.it.state.balances.fees, self.navs()
        if owed * share // 100:
            take_fees(desk.driver, desk.it, owed * share // 100, how, "ann", "test", desk.now_ms)
            desk.filled(desk.take())
            if before and self.navs() and how == "cash":
                assert self.navs() == before

    @rule(factor=st.sampled_from([1.5, 3.0, 7.3, 10.0]))
    def merge(self, factor):
        desk, before = self.desk, self.navs()
        if before and desk.it.state.balances.units > 1_000 * MINOR:
            done = merge(desk.driver, desk.it, factor, "ann", "test", desk.now_ms)
            desk.filled(desk.take())
            if not isinstance(done, str):
                assert self.navs() >= before * Fraction(str(factor)) * (1 - Fraction(1, 1_000))

    @precondition(lambda self: hasattr(self, "desk"))
    @invariant()
    def what_is_held_was_issued(self):
        desk = self.desk
        holders = desk.primary.holders.values()
        assert desk.primary.supply["T"] == desk.it.state.balances.units == sum(h.state.held_units("T") for h in holders)
        paid = sum(h.state.cash("USDT", "T") for h in holders)
        assert paid == -desk.it.state.balances.capital
        for holder in holders:
            state = holder.state
            own = state.cash("USDT") + state.cash("USDT", ho.HELD) + state.cash("USDT", "T")
            own += state.cash("USDT", ho.fees_account("T"))  # what was earned, a credit
            expected = self.brought[holder.name]
            assert own == expected, f"{holder.name} brought {expected} and has or paid {own}"
        broken = [words for words in desk.alarms if any(mark in words for mark in ("U1", "U3", "U6", "L1", "L2"))]
        assert broken == []

    def teardown(self):
        if hasattr(self, "desk"):
            self.everybody_goes()

    def everybody_goes(self):
        """After full redemption nothing is owed but fees, and nothing is left."""
        desk = self.desk
        if desk.it.state.status != "open":
            return
        for _ in range(3):
            desk.window()
        if desk.primary.quotes.stands(desk.it) < 0:  # what was given out ahead is the dealing account's to bring
            desk.deposit(ho.DEALER, 10_000_000)
            for _ in range(8):
                desk.window()
        for name in [*NAMES, ho.ISSUER, ho.DEALER]:
            if name in desk.primary.holders and desk.units(name):
                desk.ask(name, "redeem", desk.units(name))
        for _ in range(4):
            desk.window()
        state = desk.it.state
        if all(not h.state.held_units("T") for h in desk.primary.holders.values()):
            assert (state.equity, state.balances.flows, state.is_flat) == (0, 0, True)
            assert state.balances.wallet == -state.balances.fees


TestHolders = Holders.TestCase
TestHolders.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
