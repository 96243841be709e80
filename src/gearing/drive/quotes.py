"""Instant dealing: a binding price for a while, with the issuer's dealing account on the other side.

The holder has units or money at once. The dealing account gets the same from the token by a forward request like
anybody's, at the end of the window; what the hedge then costs more or less than the quote said is the account's. It may
be short of units meanwhile, as far as its own money covers it; beyond that it gives no quotes, and forward applies.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import UNSET

from gearing.core import events as ev
from gearing.core.dealing import Side, bearing, with_cost, worth
from gearing.core.holder import DEALER, SHORT, Bearing, Exchanged, Quote, Quoted
from gearing.core.money import MINOR, as_decimal, to_float
from gearing.core.netting import Ask, Rates
from gearing.core.state import TokenState
from gearing.core.step import step
from gearing.core.step_result import StepError
from gearing.drive.running import Running
from gearing.drive.settling import dealt_until_ms, why_dealing_waits

if TYPE_CHECKING:
    from gearing.drive.driver import Driver
    from gearing.drive.market import Prices
    from gearing.drive.primary import Primary

# Quotes that one holder may have open; each keeps a part of the dealing account's money.
_OPEN_MAX = 8
# What is asked for is so much more than what is missing.
_OVERSHOOT = Fraction(1001, 1000)

# What the dealing account asks counts against no cap: it did when its holders asked.
_COUNTED = 0


class Priced(NamedTuple):
    """A token as it would be dealt in now: its state with what is due charged, and what has run up on each leg."""

    state: TokenState
    accrued: tuple[float, ...]
    prices: Prices
    bearing: Bearing


class Quotes:
    """The dealing account of a driver, and the quotes that it stands for.

    Args:
        driver: that runs the tokens.
        primary: their primary market.
    """

    def __init__(self, driver: Driver, primary: Primary) -> None:
        self._driver, self._primary = driver, primary
        self._priced: dict[str, tuple[object, Priced]] = {}
        self._given: dict[str, Quote] = {}
        for holder in primary.holders.values():
            self._given.update({} if holder.state.quotes is UNSET else holder.state.quotes)

    def ask(self, name: str, running: Running, side: Side, amount: int, now_ms: int) -> Quote | str:
        """Gives a binding quote, or returns why there is none.

        Args:
            name: the holder.
            running: the token.
            side: subscribe or redeem.
            amount: money with the fee, minor units; or units.
            now_ms: the time.
        """
        state = self._primary.state_of(name)
        for key in [key for key, one in self._given.items() if one.until_ms < now_ms]:
            self._driver.undo.delete_item(self._given, key)
        own = [key for key in self._given if state.quote(key) is not None]
        if len(own) >= _OPEN_MAX:
            return f"{name} has {len(own)} quotes open; take one, or wait until one has ended"
        priced = self._now(running, now_ms)
        if isinstance(priced, str):
            return priced
        number = 1 + (0 if state.quoted is UNSET else state.quoted)
        quote = self._quote(f"{name}.q{number}", running, side, amount, priced, now_ms)
        why = quote if isinstance(quote, str) else self._why_not(name, running, quote, now_ms)
        if why or isinstance(quote, str):
            return why
        self._primary.post(name, Quoted(time_ms=now_ms, quote=quote))
        self._driver.undo.set_item(self._given, quote.id, quote)
        return quote

    def take(self, name: str, quote_id: str, now_ms: int) -> Quote | str:
        """Deals by a quote, or returns why it cannot be."""
        quote = self._primary.state_of(name).quote(quote_id)
        if quote is None:
            return f"{name} has no quote {quote_id}"
        if now_ms > quote.until_ms:
            return f"quote {quote_id} ended {(now_ms - quote.until_ms) / 1000:,.1f} s ago"
        running = self._driver.by_name[quote.token]
        priced = self._now(running, now_ms)
        if isinstance(priced, str):
            return f"quote {quote_id} is void: {priced}"
        moved = max(abs(now / then - 1.0) for now, then in zip(priced.prices.marks, quote.marks, strict=True))
        most = running.spec.token.primary.quote_move
        if moved > most:
            return f"quote {quote_id} is void: the price has moved by {moved:.3%}, more than {most:.3%}"
        why = self._why_not(name, running, quote, now_ms)
        if not why:
            self._exchange(name, running, quote, quote_id, priced, now_ms)
        return why or quote

    def at_once(self, name: str, running: Running, side: Side, amount: int, now_ms: int) -> Quote | str:
        """Prices and deals in one; returns what was dealt, or why nothing was."""
        priced = self._now(running, now_ms)
        if isinstance(priced, str):
            return priced
        quote = self._quote("", running, side, amount, priced, now_ms)
        why = quote if isinstance(quote, str) else self._why_not(name, running, quote, now_ms)
        if why or isinstance(quote, str):
            return why
        self._exchange(name, running, quote, "", priced, now_ms)
        return quote

    def binds(self, running: Running, now_ms: int) -> bool:
        """Returns whether a quote of a token may still be taken."""
        return any(one.token == running.name and one.until_ms >= now_ms for one in self._given.values())

    # The dealing account.

    def stands(self, running: Running) -> int:
        """Returns the units of a token that the dealing account has (is short of: < 0) and does not ask for yet."""
        state = self._primary.state_of(DEALER)
        return state.units(running.name) + state.units(running.name, SHORT)

    def square(self, running: Running, now_ms: int) -> None:
        """Asks the token for what the dealing account is short of, or gives back what it has, at the window's end."""
        state, units = self._primary.state_of(DEALER), self.stands(running)
        if not self.is_open(running) or any(one.token == running.name for one in state.requests.values()):
            return
        priced = self._now(running, now_ms)
        if isinstance(priced, str):
            return
        if units > 0:
            self._primary.accept(DEALER, running, "redeem", units, _COUNTED, now_ms)
            return
        price = with_cost(running.spec, priced.state, worth(running.spec, priced.state, priced.accrued, "subscribe"))
        money = -(units * price.equity // price.units)
        rate = as_decimal(running.spec.token.fees.creation)
        # A little more, so that it is not short of a rest again and again.
        money = math.ceil(Fraction(money) * _OVERSHOOT / (1 - Fraction(rate)))
        has = state.cash(running.spec.token.settlement)
        if has < money:
            words = f"the dealing account is short of {to_float(-units):,.8f} units of {running.name}, and lacks money"
            self._driver.effects.alarms.append(f"{words}: it has {to_float(has):,.2f} of {to_float(money):,.2f}")
        if has > 0:
            self._primary.accept(DEALER, running, "subscribe", min(money, has), _COUNTED, now_ms)

    def is_open(self, running: Running) -> bool:
        """Returns whether the dealing account has something to square in a token: units it is short of, or too many."""
        units = self.stands(running)
        return units < 0 or units * running.state.nav // MINOR > running.spec.token.primary.least * MINOR

    def _why_not(self, name: str, running: Running, quote: Quote, now_ms: int) -> str:
        amount = quote.cash if quote.side == "subscribe" else quote.units
        money = quote.cash if quote.side == "subscribe" else quote.cash + quote.fee
        if name == DEALER:
            return "the dealing account does not deal with itself"
        return (self._primary.why_not(name, running, quote.side, amount, money, now_ms)
                or self._uncovered(running, quote, now_ms))  # fmt: skip

    def _uncovered(self, running: Running, quote: Quote, now_ms: int) -> str:
        """Returns that the dealing account's own money does not cover one more dealing; empty: it does.

        What it has of its own is its money less what it would cost to get the units that it is short of. Of all that it
        would be open for, with every quote that may still be taken, it has to have a part.
        """
        asset, driver = quote.asset, self._driver
        state = self._primary.state_of(DEALER)
        cash = state.cash(asset)
        units = {one.name: self.stands(one) for one in driver.tokens if one.spec.token.settlement == asset}
        others = [one for one in self._given.values() if one.id != quote.id and one.until_ms >= now_ms]
        for one in (*others, quote):
            if one.asset == asset:
                sign = 1 if one.side == "redeem" else -1
                units[one.token] += sign * one.units
                cash -= sign * one.cash
        values = {name: held * driver.by_name[name].state.nav // MINOR for name, held in units.items()}
        own = cash + sum(value for value in values.values() if value < 0)
        needs = running.spec.token.primary.quote_margin * sum(abs(value) for value in values.values())
        if own >= max(needs, 0.0) and cash >= 0:
            return ""
        return (f"the dealing account is exhausted: it would have {to_float(own):,.2f} {asset} of its own, and needs "
                f"{to_float(int(needs)):,.2f}; forward applies")  # fmt: skip

    def _quote(
        self, quote_id: str, running: Running, side: Side, amount: int, priced: Priced, now_ms: int
    ) -> Quote | str:  # fmt: skip
        """Returns iNAV ± swing ± fee for an amount; units and money given are rounded down, the fee up."""
        terms, fees = running.spec.token.primary, running.spec.token.fees
        price = worth(running.spec, priced.state, priced.accrued, side)
        swing, rates = Fraction(as_decimal(terms.quote_swing)), Rates(fees.creation, fees.redemption)
        if side == "subscribe":
            gross = rates.money_of(Ask("", "", side, amount))
            cash, fee = amount, amount - gross
            units = math.floor(Fraction(gross * price.units, price.equity) / (1 + swing))
        else:
            gross = math.floor(Fraction(amount * price.equity, price.units) * (1 - swing))
            fee, units = rates.fee_on(gross), amount
            cash = gross - fee
        if units <= 0 or cash <= 0:
            return "that is too little for a quote"
        until_ms = int(min(now_ms + terms.quote_ms, dealt_until_ms(self._driver, running, now_ms) - 1))
        if until_ms <= now_ms:
            return "a funding settlement is too close for a quote; forward applies"
        return Quote(id=quote_id, token=running.name, side=side, asset=running.spec.token.settlement, units=units,
                     cash=cash, fee=fee, until_ms=until_ms, marks=priced.prices.marks)  # fmt: skip

    def _now(self, running: Running, now_ms: int) -> Priced | str:
        """Returns the token as it would be dealt in at the prices of now, or why it gives no quotes."""
        name, state = running.name, running.state
        if not running.spec.token.primary.quote_ms:
            return f"{name} gives no quotes; forward applies"
        if running.book.state.halted or state.status != "open" or not state.opened or not state.balances.units:
            return f"{name} is {state.status}, and gives no quotes; forward applies"
        if running.book.state.live or state.is_working or state.is_rolling:
            return f"{name} is trading, and gives no quotes until it has; forward applies"
        prices = self._driver.market.prices(running.symbols)
        if prices is None:
            return f"{name} has no good price now, and gives no quotes without one"
        waits = why_dealing_waits(self._driver, running, now_ms)
        if waits:
            return f"{name} gives no quotes now: {waits}"
        known = self._priced.get(name)
        if known is not None and known[0] is state and known[1].prices == prices:
            return known[1]
        try:
            after = step(running.spec, state, ev.NavStruck(time_ms=max(prices.time_ms, state.charged_until_ms),
                                                           prices=prices.marks, accrues=True)).state  # fmt: skip
        except StepError as error:
            return f"{name} cannot be priced: {error}"
        if after.status != "open" or after.equity <= 0:
            return f"{name} has nothing left, and gives no quotes"
        priced = Priced(after, self._primary.accrued_rates(running, prices), prices, bearing(running.spec, after))
        self._priced[name] = (state, priced)
        return priced

    def _exchange(
        self, name: str, running: Running, quote: Quote, quote_id: str, priced: Priced, now_ms: int
    ) -> None:  # fmt: skip
        """Books both sides; the money that counts against the day's caps is the holder's."""
        sign = 1 if quote.side == "subscribe" else -1
        money = quote.cash if sign > 0 else quote.cash + quote.fee
        mine = Exchanged(time_ms=now_ms, id=quote_id, token=running.name, asset=quote.asset, units=sign * quote.units,
                         cash=-sign * quote.cash, fee=quote.fee, other=DEALER, money=money,
                         bearing=priced.bearing)  # fmt: skip
        theirs = msgspec.structs.replace(mine, id="", units=-mine.units, cash=-mine.cash, other=name, money=0,
                                         lends=True)  # fmt: skip
        self._driver.undo.delete_item(self._given, quote_id)
        self._primary.post(name, mine)
        self._primary.post(DEALER, theirs)
        self._primary.count(running, quote.side, money, now_ms)
        self._primary.call(running, now_ms)
