"""The primary market against a naive model: any sequence of what holders, prices, the venue and an operator do.

The model knows nothing of hedges: it says who may have what. Every promise is looked at after every step: what all
holders have is what was issued, money is neither made nor lost, nobody who stays is worse off at an unchanged price,
nobody gains by coming in and going out again, nobody owes, and who is refused is refused for a reason that is one.
"""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import UNSET

import gearing as gr
from gearing.core import book as bk
from gearing.core import holder as ho
from gearing.core.holder import Quote
from gearing.core.money import MINOR
from gearing.core.primary import Primary as Terms
from gearing.core.record import DAY_MS
from gearing.desk.counter import answer
from gearing.desk.requests import HandOn, Pay, TakeQuote
from gearing.drive.fees import take_fees
from gearing.drive.merging import merge
from tests.lives import CAPITAL, HOUR_MS, token
from tests.test_primary import COSTS, Market

NAMES = ("h1", "h2", "h3")
WHO = st.sampled_from(NAMES)
ANYBODY = st.sampled_from((*NAMES, ho.ISSUER))
SHARES = st.integers(1, 100)
PARTS = st.sampled_from([1.0, 1.0, 0.6, 0.25, 0.0])
HOLDER_CAP, TOTAL_CAP, LARGEST, SUPPLY_CAP = 400_000, 900_000, 350_000, 30_000
BROKEN = re.compile(r"\b(L\d|U\d|O3|R1):")


class Holders(RuleBasedStateMachine):
    """Holders of one token; `brought` is what each has brought in, `asked` what counts against the caps of a day."""

    @initialize(fee=st.sampled_from([0.0, 0.002]), bad=st.sampled_from([0.0, 0.002]),
                lot=st.sampled_from(["0.001", "5"]), beta=st.sampled_from([3.0, -2.0]),
                capped=st.booleans(), least=st.sampled_from([0.0, 500.0]))  # fmt: skip
    def begin(self, fee, bad, lot, beta, capped, least):
        caps = {"total_per_day": TOTAL_CAP, "largest": LARGEST} if capped else {}
        limits = gr.Limits(supply_cap=SUPPLY_CAP) if capped else gr.Limits()
        it = token("A", target=beta, costs=COSTS, limits=limits, rule=gr.Rule(deviation=0.5),
                   fees=gr.Fees(creation=fee, redemption=fee, management_per_day=0.001),
                   primary=Terms(holder_per_day=HOLDER_CAP, quote_valid="2m", **caps))  # fmt: skip
        (leg,) = it.legs
        it = msgspec.structs.replace(it, legs=(msgspec.structs.replace(leg, min_notional=least),))
        self.desk = Market(it, bad=bad, rate=5e-4, lot=lot)
        self.desk.opened()
        self.capped, self.brought, self.asked, self.references = capped, Counter(), Counter(), 0
        self.brought[ho.ISSUER] = CAPITAL
        self.desk.deposit(ho.DEALER, 30_000)
        self.brought[ho.DEALER] = 30_000 * MINOR
        self.made, post = {}, self.desk.primary.post

        def posted(name, event):
            """What is taken back or returned counts no more; of what was dealt in part, this forgets too much."""
            if isinstance(event, ho.Released) and event.id in self.made:
                side, day, money = self.made.pop(event.id)
                for key in ((name, side, day), (side, day)):
                    self.asked[key] -= money
            post(name, event)

        self.desk.primary.post = posted

    @property
    def state(self):
        return self.desk.it.state

    def navs(self):
        balances = self.state.balances
        return Fraction(balances.equity, balances.units) if balances.units else None

    def known(self, *names):
        return all(name in self.desk.primary.holders for name in names)

    def say(self, wanted):
        """Asks at the counter, which never fails."""
        answered = answer(self.desk.driver, wanted, self.desk.now_ms)
        self.desk.take()
        return answered.done

    def reference(self):
        self.references += 1
        return f"r{self.references}"

    # What holders do.

    @rule(name=WHO, amount=st.integers(1, 300_000))
    def deposit(self, name, amount):
        assert self.say(Pay(holder=name, asset="USDT", amount=amount * MINOR, reference=self.reference(), by="ann"))
        self.brought[name] += amount * MINOR

    @rule(name=ANYBODY, share=st.integers(1, 130))
    def withdraw(self, name, share):
        has = self.desk.cash(name) if self.known(name) else 0
        amount = has * share // 100 if self.known(name) else 1
        done = self.say(Pay(holder=name, asset="USDT", amount=-amount, reference=self.reference(), by="ann"))
        assert done is (0 < amount <= has)  # a hundredth more than a few minor units is no more
        self.brought[name] -= amount if done else 0

    @rule(name=WHO, share=SHARES)
    def subscribe(self, name, share):
        if self.known(name):
            free = self.desk.cash(name)
            self.request(name, "subscribe", free * share // 100, free, self.desk.cash)

    @rule(name=ANYBODY, share=SHARES)
    def redeem(self, name, share):
        if self.known(name):
            has = self.desk.units(name)
            self.request(name, "redeem", has * share // 100, has, self.desk.units)

    @rule(name=ANYBODY, side=st.sampled_from(["subscribe", "redeem"]), share=SHARES)
    def deal_at_once(self, name, side, share):
        """The token is untouched; the dealing account has what the holder gave, whatever it has not got yet."""
        if not self.known(name):
            return
        has = self.desk.cash(name) if side == "subscribe" else self.desk.units(name)
        before = self.desk.it.state
        quote = self.desk.primary.quotes.ask(name, self.desk.it, side, has * share // 100, self.desk.now_ms)
        if not isinstance(quote, str):
            quote = self.desk.judged(TakeQuote(holder=name, id=quote.id)).quote
        if isinstance(quote, Quote):
            sign = 1 if side == "subscribe" else -1
            self.brought[name] -= sign * quote.cash
            self.brought[ho.DEALER] += sign * quote.cash
            money = quote.cash if sign > 0 else quote.cash + quote.fee
            for key in ((name, side, self.desk.now_ms // DAY_MS), (side, self.desk.now_ms // DAY_MS)):
                self.asked[key] += money
            assert self.asked[name, side, self.desk.now_ms // DAY_MS] <= HOLDER_CAP * MINOR
        assert self.desk.it.state is before

    def request(self, name, side, amount, free, left):
        state = self.state
        money = amount if side == "subscribe" else amount * state.nav // MINOR
        day = self.desk.now_ms // DAY_MS
        answer = self.desk.ask(name, side, amount)
        if isinstance(answer, str):
            assert answer
            assert left(name) == free
            return
        assert left(name) == free - amount
        assert amount > 0
        self.made[answer.id] = side, day, money
        for key, cap in (((name, side, day), HOLDER_CAP), ((side, day), TOTAL_CAP if self.capped else None)):
            self.asked[key] += money
            assert state.status == "closed" or cap is None or self.asked[key] <= cap * MINOR
        assert state.status == "closed" or not self.capped or money <= LARGEST * MINOR
        if side == "subscribe":
            assert (state.status, state.paused, self.desk.book.state.halted) == ("open", UNSET, "")
            assert self.desk.driver.market.is_good(("A",), self.desk.now_ms)

    @rule(name=WHO, other=ANYBODY, share=SHARES, units=st.integers(1, 3_000), part=PARTS)
    def meet(self, name, other, share, units, part):
        """One comes while another goes: they meet, and what is left of one side is hedged."""
        self.deposit(name, 100_000)
        self.subscribe(name, share)
        if self.known(other):
            has = self.desk.units(other)
            self.request(other, "redeem", min(units * MINOR, has), has, self.desk.units)
        self.desk.window(part=part)

    @rule(name=ANYBODY, number=st.integers(1, 5))
    def release(self, name, number):
        self.desk.primary.cancel(name, f"{name}.{number}", self.desk.now_ms)

    @rule(name=ANYBODY, other=WHO, share=st.integers(1, 130), of_units=st.booleans())
    def hand_on(self, name, other, share, of_units):
        if not self.known(name):
            return
        has = self.desk.units(name) if of_units else self.desk.cash(name)
        amount = has * share // 100
        wanted = HandOn(holder=name, other=other, token="T" if of_units else "", asset="" if of_units else "USDT",
                        amount=amount, reference=self.reference())  # fmt: skip
        done = self.say(wanted)
        assert done is (0 < amount <= has and name != other)
        if done and not of_units:
            self.brought[name] -= amount
            self.brought[other] += amount

    # What prices and the venue do.

    @rule(move=st.floats(0.97, 1.03), part=PARTS)
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
        if before and after and desk.it.state.rebalances == rebalances and self.state.status == "open":
            assert after >= before * (1 - day)  # a rebalance has a cost of its own
            assert after <= before * (1 + Fraction(1, 1_000)) or desk.it.state.balances.units < 10**6

    @rule(move=st.floats(0.95, 1.05), then=st.floats(0.97, 1.03), part=PARTS)
    def window_while_prices_move(self, move, then, part):
        """The hedge is filled at other prices than it was decided at, and a rebalance fills as it will."""
        desk = self.desk
        desk.mark = round(desk.mark * move, 4)
        orders = desk.quote(desk.mark, after_ms=60_000)
        desk.mark = round(desk.mark * then, 4)
        more = desk.quote(desk.mark, after_ms=1_000)
        desk.filled([*orders, *more], part)

    @rule(hours=st.sampled_from([1, 9, 30]))
    def time_passes(self, hours):
        """Without a price; the next one that comes is good again."""
        self.desk.now_ms += hours * HOUR_MS

    @precondition(lambda self: hasattr(self, "desk") and self.state.status == "open")
    @rule(how=st.integers(0, 7))
    def crash(self, how):
        """A gap: now and then one through all equity."""
        desk = self.desk
        desk.mark = round(desk.mark * ((0.6 if self.state.legs[0].lots > 0 else 1.7) if how == 5 else 0.9), 4)
        desk.filled(desk.quote(desk.mark, after_ms=1_000))

    @precondition(lambda self: hasattr(self, "desk") and self.state.status == "open")
    @rule(name=WHO, amount=st.integers(10, 50_000))
    def come_and_go(self, name, amount):
        """At an unchanged price nobody gains by that (U4)."""
        desk = self.desk
        self.deposit(name, amount)
        desk.filled(desk.quote(desk.mark, after_ms=1_000))
        if any(holder.state.requests for holder in desk.primary.holders.values()) or self.state.is_working:
            return
        had, rebalances = desk.units(name), self.state.rebalances
        answer = self.desk.ask(name, "subscribe", amount * MINOR)
        if isinstance(answer, str):
            return
        self.made[answer.id] = "subscribe", desk.now_ms // DAY_MS, amount * MINOR
        self.asked[name, "subscribe", desk.now_ms // DAY_MS] += amount * MINOR
        self.asked["subscribe", desk.now_ms // DAY_MS] += amount * MINOR
        desk.window()
        got = desk.units(name) - had
        before = desk.cash(name)
        self.request(name, "redeem", got, desk.units(name), desk.units)
        desk.window()
        if self.state.rebalances == rebalances:
            assert desk.cash(name) - before <= amount * MINOR

    # What an operator does.

    @rule(action=st.sampled_from(["halt", "resume", "resume", "pause", "unpause", "unpause"]))
    def operate(self, action):
        status = self.state.status
        if status == ("halted" if action == "resume" else "open"):
            self.desk.driver.operate(self.desk.it, action, "ann", "test", self.desk.now_ms)
            self.desk.filled(self.desk.take())

    @rule(halts=st.booleans())
    def the_book(self, halts):
        """Halted, it hedges nothing; a person resumes it, and what it could not send."""
        driver, book, now_ms = self.desk.driver, self.desk.book, self.desk.now_ms
        if halts and not book.state.halted:
            driver.note(book, bk.BookHalted(time_ms=now_ms, by="ann", reason="test"))
        elif not halts and book.state.halted:
            driver.note(book, bk.BookResumed(time_ms=now_ms, by="ann", reason="test"))
        self.desk.take()

    @precondition(lambda self: hasattr(self, "desk") and self.state.status == "open")
    @rule(how=st.integers(0, 9))
    def close(self, how):
        short = self.desk.primary.quotes.stands(self.desk.it) < 0  # the inbox refuses it then
        if how == 7 and not short and not self.desk.book.state.halted:
            self.desk.driver.operate(self.desk.it, "close", "ann", "test", self.desk.now_ms)
            self.desk.filled(self.desk.take())

    # What holds after every step.

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
        desk = self.desk
        if self.state.status in {"open", "halted"}:  # so that a price that came since is not the merger's doing
            desk.driver.publish(desk.it, "minute", desk.now_ms, (desk.mark,))
            desk.take()
        before = self.navs()
        if before and desk.it.state.balances.units > 1_000 * MINOR:
            done = merge(desk.driver, desk.it, factor, "ann", "test", desk.now_ms)
            desk.filled(desk.take())
            if not isinstance(done, str):
                assert self.navs() >= before * Fraction(str(factor)) * (1 - Fraction(1, 1_000))

    @precondition(lambda self: hasattr(self, "desk"))
    @invariant()
    def what_is_held_was_issued(self):
        """U1, and what was paid for it."""
        desk, holders = self.desk, self.desk.primary.holders.values()
        issued = self.state.balances.units
        assert desk.primary.supply["T"] == issued == sum(h.state.held_units("T") for h in holders)
        assert sum(h.state.cash("USDT", "T") for h in holders) == -self.state.balances.capital

    @precondition(lambda self: hasattr(self, "desk"))
    @invariant()
    def nothing_is_made_and_nothing_lost(self):
        """U6, U7: money is where it was brought, waits once, and nobody owes."""
        for holder in self.desk.primary.holders.values():
            state = holder.state
            own = state.cash("USDT") + state.cash("USDT", ho.HELD) + state.cash("USDT", "T")
            own += state.cash("USDT", ho.fees_account("T"))  # what was earned, a credit
            expected = self.brought[holder.name]
            assert own == expected, f"{holder.name} brought {expected} and has or paid {own}"
            waits = state.requests.values()
            assert state.cash("USDT", ho.HELD) == sum(r.amount for r in waits if r.side == "subscribe")
            assert state.units("T", ho.HELD) == sum(r.amount for r in waits if r.side == "redeem")
            assert min(state.cash("USDT"), state.units("T")) >= 0

    @precondition(lambda self: hasattr(self, "desk"))
    @invariant()
    def the_token_is_sound(self):
        """U2, U5, U7."""
        state, balances = self.state, self.state.balances
        assert state.nav >= 0
        if balances.units and balances.equity > 0:
            assert 0 <= balances.equity * MINOR - state.nav * balances.units < balances.units
        if not balances.units and state.dealing is UNSET:
            assert (balances.equity, balances.flows) == (0, 0)
        if balances.equity <= 0 and balances.units and not state.is_working:
            assert state.status in {"wiped", "closed"}
        assert [words for words in self.desk.alarms if BROKEN.search(words)] == []

    def teardown(self):
        if hasattr(self, "desk"):
            self.everybody_goes()

    def everybody_goes(self):
        """After full redemption nothing is owed but fees, and nothing is left; whatever waited has ended."""
        desk = self.desk
        self.the_book(False)
        for action in ("resume", "unpause"):
            self.operate(action)
        if self.state.status == "open":  # what was given out ahead is the dealing account's to bring
            desk.deposit(ho.DEALER, 10_000_000)
            self.brought[ho.DEALER] += 10_000_000 * MINOR
        for _ in range(8):
            desk.window()
        for _ in range(6):  # within the caps of a day
            desk.now_ms += 24 * HOUR_MS
            desk.quote(desk.mark, after_ms=1_000)
            for name in [*NAMES, ho.ISSUER, ho.DEALER]:
                if name in desk.primary.holders and desk.units(name):
                    most = 200_000 * MINOR * MINOR // max(self.state.nav, 1)
                    desk.ask(name, "redeem", min(desk.units(name), most))
            for _ in range(4):
                desk.window()
        for check in (self.what_is_held_was_issued, self.nothing_is_made_and_nothing_lost, self.the_token_is_sound):
            check()
        state = desk.it.state
        if state.status in {"wiped", "closed"}:
            assert not any(h.state.requests for h in desk.primary.holders.values())
        if state.status != "wiped" and all(not h.state.held_units("T") for h in desk.primary.holders.values()):
            assert (state.equity, state.balances.flows, state.is_flat) == (0, 0, True)
            assert state.balances.wallet == -state.balances.fees


TestHolders = Holders.TestCase
# A share of them in every run; with --hypothesis-profile=fuzz as many as that says, and longer.
_FUZZ = settings.get_current_profile_name() == "fuzz"
TestHolders.settings = settings(max_examples=settings.get_profile("fuzz").max_examples if _FUZZ else 40,
                                stateful_step_count=50 if _FUZZ else 30, deadline=None)  # fmt: skip
