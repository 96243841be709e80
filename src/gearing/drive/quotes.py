"""Firm quotes and instant dealing, with the issuer's dealing account on the other side.

The holder has units or money at once. The dealing account gets the same from the token by a forward request like
anybody's, at the end of the window; what the hedge then costs more or less than the quote said is the account's. It may
be short of units meanwhile, as far as its own money covers it; beyond that it gives no quotes, and forward applies.

A quote is not a free option. It costs the swing and the measured cost of hedging, it is judged at a price that nobody
knew when it was accepted, and it is void once iNAV has moved against the dealing account by more than the swing. So at
the price of its judgement no acceptance gains anything, whatever the taker knows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import UNSET

from gearing.core.dealing import Side, bearing, with_cost, worth
from gearing.core.holder import DEALER, SHORT, Bearing, Exchanged, Pricing, Quote, Quoted, QuoteVoided, omnibus_of
from gearing.core.money import MINOR, as_text, to_float
from gearing.core.netting import Ask, Rates
from gearing.core.quoting import amounts_at, cost_rate, state_at, why_unquoted, why_void
from gearing.core.state import TokenState
from gearing.drive.backing import Flows, SetAside, flows_of, money_for, set_aside
from gearing.drive.crowds import QUOTE_EXPIRED, Rejection
from gearing.drive.running import Running
from gearing.drive.settling import dealt_until_ms, why_dealing_waits

if TYPE_CHECKING:
    from gearing.drive.acceptances import Judgement
    from gearing.drive.driver import Driver
    from gearing.drive.market import Prices
    from gearing.drive.primary import Primary

# As many quotes may be open: of a holder with all its sub-holders, and of all.
_OPEN_OF_OMNIBUS, _OPEN_IN_ALL = 100, 1_000
# What the dealing account asks counts against no cap: it did when its holders asked.
_COUNTED = 0


class Priced(NamedTuple):
    """A token as it would be dealt in now: its state with what is due charged, at what, and where that stands."""

    state: TokenState
    pricing: Pricing
    bearing: Bearing


class Quotes:
    """The dealing account of a driver, and the quotes that bind it.

    Args:
        driver: that runs the tokens.
        primary: their primary market.
    """

    def __init__(self, driver: Driver, primary: Primary) -> None:
        self._driver, self._market, self._primary = driver, driver.market, primary
        self._priced: dict[tuple[str, Side | None], tuple[object, object, Prices, Priced | str]] = {}
        # The last quote of each holder that was neither accepted nor voided; it may have expired.
        self._given: dict[str, Quote] = {}
        for holder in primary.holders.values():
            if holder.state.open_quote is not UNSET:
                self._given[holder.name] = holder.state.open_quote

    def ask(self, name: str, running: Running, side: Side, amount: int, now_ms: int) -> Quote | str:
        """Gives a firm quote, which voids the holder's open one, or returns why there is none.

        Args:
            name: the holder.
            running: the token.
            side: subscribe or redeem.
            amount: money with the fee, minor units; or units.
            now_ms: the time.
        """
        state = self._primary.state_of(name)
        for key in [key for key, quote in self._given.items() if not self._is_open(quote, now_ms)]:
            self._driver.undo.delete_item(self._given, key)
        crowded = self._why_crowded(name)
        if crowded is not None:
            return crowded
        replaces = "" if state.open_quote is UNSET else state.open_quote.id
        priced = self._now(running, side, now_ms)
        if isinstance(priced, str):
            return priced
        number = 1 + (0 if state.quoted is UNSET else state.quoted)
        quote = self._quote(f"{name}.q{number}", running, side, amount, priced, now_ms)
        if isinstance(quote, str):
            return quote
        why = self._why_not(name, running, quote, now_ms) or self._uncovered(running, quote, name, now_ms)
        why = why or self._beyond_share(name, running, quote, now_ms)
        if why:
            return why
        self._primary.post(name, Quoted(time_ms=now_ms, quote=quote, replaces=replaces))
        self._driver.undo.set_item(self._given, name, quote)
        return quote

    def _why_crowded(self, name: str) -> Rejection | None:
        """Returns why a holder gets no quote, however good: too many are open; None: that is no reason."""
        whose, others = omnibus_of(name) or name, self._given.keys() - {name}
        together = sum(1 for one in others if (omnibus_of(one) or one) == whose)
        if together >= _OPEN_OF_OMNIBUS:
            return Rejection(
                f"{_OPEN_OF_OMNIBUS} quotes of {whose} and its sub-holders are open already", "open_quotes"
            )
        if len(others) >= _OPEN_IN_ALL:
            return Rejection(f"{_OPEN_IN_ALL:,} quotes are open already; ask again", "open_quotes")
        return None

    def why_not_accepted(self, name: str, quote_id: str, now_ms: int) -> str:
        """Returns why a quote cannot be accepted at all, whatever the price; empty: it can.

        Args:
            name: the holder.
            quote_id: the quote.
            now_ms: when the acceptance arrived; its expiry is compared with that.
        """
        quote = self._primary.state_of(name).quote(quote_id)
        if quote is None:
            return f"{name} has no open quote {quote_id}; it was accepted, it is void, or there never was one"
        if now_ms > quote.until_ms:
            return Rejection(f"quote {quote_id} has expired; request a new one", QUOTE_EXPIRED)
        if quote.token not in self._driver.by_name:
            return f"quote {quote_id} cannot be accepted: {quote.token} is not run now"
        return ""

    def accept(self, name: str, quote_id: str, judgement: Judgement, now_ms: int) -> Quote | str:
        """Deals by a quote at the prices of now, or returns why it is void.

        Args:
            name: the holder.
            quote_id: the quote.
            judgement: when the acceptance arrived.
            now_ms: the time.
        """
        why = self.why_not_accepted(name, quote_id, judgement.arrived_ms)
        quote = self._primary.state_of(name).quote(quote_id)
        if why or quote is None:
            return why
        running = self._driver.by_name[quote.token]
        priced = self._now(running, quote.side, now_ms, judgement)
        if isinstance(priced, str):
            return f"quote {quote_id} is void: {priced}"
        why = why_void(running.spec, priced.state, priced.pricing, quote)
        why = why or self._why_not(name, running, quote, now_ms)
        if why:
            return f"quote {quote_id} is void: {why}"
        self._exchange(name, running, quote, quote_id, priced, now_ms)
        return quote

    def void(self, name: str, quote_id: str, reason: str, now_ms: int) -> None:
        """Voids a quote before its time; one that is not open is left as it is."""
        if self._primary.state_of(name).quote(quote_id) is not None:
            self._primary.post(name, QuoteVoided(time_ms=now_ms, id=quote_id, reason=reason))
            self._driver.undo.delete_item(self._given, name)

    def at_once(
        self, name: str, running: Running, side: Side, amount: int, judgement: Judgement, now_ms: int
    ) -> Quote | str:  # fmt: skip
        """Prices and deals in one, at the prices of now; returns what was dealt, or why nothing was.

        Args:
            name, running, side, amount, now_ms: see `ask`.
            judgement: when the command arrived.
        """
        priced = self._now(running, side, now_ms, judgement)
        if isinstance(priced, str):
            return priced
        quote = self._quote("", running, side, amount, priced, now_ms)
        if isinstance(quote, str):
            return quote
        why = self._why_not(name, running, quote, now_ms) or self._uncovered(running, quote, "", now_ms)
        if why:
            return why
        self._exchange(name, running, quote, "", priced, now_ms)
        return quote

    def void_all(self, running: Running, reason: str, now_ms: int) -> None:
        """Voids every quote of a token."""
        for name, quote in self._open(now_ms).items():
            if quote.token == running.name:
                self.void(name, quote.id, reason, now_ms)

    def void_unbacked(self, name: str, now_ms: int) -> None:
        """Voids the quote of a holder who no longer has what it would give, so that it binds nobody else's money."""
        state = self._primary.state_of(name)
        quote = state.open_quote
        if quote is UNSET or not self._is_open(quote, now_ms):
            return
        has = state.cash(quote.asset) if quote.side == "subscribe" else state.units(quote.token)
        if has < (quote.cash if quote.side == "subscribe" else quote.units):
            self.void(name, quote.id, "what it was to be dealt with has left the holder", now_ms)

    # The dealing account.

    def stands(self, running: Running) -> int:
        """Returns the units of a token that the dealing account has (is short of: < 0) and does not ask for yet."""
        state = self._primary.state_of(DEALER)
        return state.units(running.name) + state.units(running.name, SHORT)

    def set_aside(self, now_ms: int) -> SetAside:
        """Returns what of the dealing account backs open quotes, and units that it was short of."""
        return self._backing(self._open(now_ms).values(), now_ms)

    def _backing(self, quotes: Iterable[Quote], now_ms: int) -> SetAside:
        """Returns what of the dealing account would be set aside if these quotes were open."""
        opened, dealer = list(quotes), self._primary.state_of(DEALER)
        quoted = {quote.token for quote in opened}
        tokens = {one.name: (one.spec, self._state_now(one, now_ms)) for one in self._driver.tokens
                  if one.name in quoted or dealer.units(one.name, SHORT)}  # fmt: skip
        return set_aside(dealer, opened, tokens)

    def why_not_paid_out(self, asset: str, amount: int, now_ms: int) -> str:
        """Returns why money may not leave the dealing account besides what is set aside; empty: it may.

        Args:
            asset: the currency.
            amount: minor units, > 0.
            now_ms: the time.
        """
        opened = list(self._open(now_ms).values())
        names = {quote.token for quote in opened}
        for one in self._driver.tokens:
            lends = one.name in names or self.stands(one) < 0
            if lends and one.spec.token.settlement == asset and not self._market.is_good(one.symbols, now_ms):
                return (f"{one.name} has no good price now, and the dealing account has to back what it lent or quoted "
                        f"of it")  # fmt: skip
        margin = max((one.spec.token.primary.quote_margin for one in self._driver.tokens
                      if one.spec.token.settlement == asset), default=0.0)  # fmt: skip
        own, exposure = self._own_funds(asset, flows_of(opened), now_ms)
        if own - amount >= margin * exposure or not exposure:
            return ""
        return (f"the dealing account keeps {margin:.10g} times its exposure of {_money(exposure)} {asset} as own "
                f"funds: {_money(int(margin * exposure))} of {_money(own)}")  # fmt: skip

    def square(self, running: Running, now_ms: int) -> None:
        """Requests from the token what the dealing account is short of, or redeems what it has, at the window's end.

        What backs open quotes stays where it is.
        """
        state, units = self._primary.state_of(DEALER), self.stands(running)
        if not self.is_open(running) or any(one.token == running.name for one in state.requests.values()):
            return
        priced = self._now(running, None, now_ms)
        if isinstance(priced, str):
            return
        aside = self.set_aside(now_ms)
        if units > 0:
            units -= aside.units.get(running.name, 0)
            if _is_worth_redeeming(running, units):
                self._primary.accept(DEALER, running, "redeem", units, _COUNTED, now_ms)
            return
        asset = running.spec.token.settlement
        money = money_for(running.spec, priced.state, priced.pricing.accrued, -units)
        has = state.cash(asset) - aside.for_quotes.get(asset, 0)
        if has < money:
            words = f"the dealing account is short of {to_float(-units):,.8f} units of {running.name}, and lacks money"
            self._driver.effects.alarms.append(f"{words}: it has {to_float(has):,.2f} of {to_float(money):,.2f}")
        spends = min(money, has)
        if spends > 0 and _buys_any(running, priced, spends):
            self._primary.accept(DEALER, running, "subscribe", spends, _COUNTED, now_ms)

    def is_open(self, running: Running) -> bool:
        """Returns whether the dealing account has something to square in a token: units it is short of, or too many."""
        units = self.stands(running)
        return units < 0 or _is_worth_redeeming(running, units)

    def _open(self, now_ms: int) -> dict[str, Quote]:
        """Returns the open quotes by their holder."""
        return {name: quote for name, quote in self._given.items() if self._is_open(quote, now_ms)}

    def _is_open(self, quote: Quote, now_ms: int) -> bool:
        """Returns whether a quote binds: it has not expired, or was accepted before and waits for its price."""
        return quote.until_ms >= now_ms or self._primary.acceptances.has_quote(quote.id)

    def _why_not(self, name: str, running: Running, quote: Quote, now_ms: int) -> str:
        amount = quote.cash if quote.side == "subscribe" else quote.units
        money = quote.cash if quote.side == "subscribe" else quote.gross
        if name == DEALER:
            return "the dealing account does not deal with itself"
        return self._primary.why_not(name, running, quote.side, amount, money, now_ms)

    def _uncovered(self, running: Running, quote: Quote, without: str, now_ms: int) -> str:
        """Returns that the dealing account cannot back one more quote or dealing; empty: it can.

        What would back it has to be there besides what backs every other open quote. And of the largest exposure that
        the account would have, whichever of its quotes are accepted, it needs `quote_margin` as own funds: its money
        less what the units are worth that it is short of.

        Args:
            running: the token.
            quote: that would be given.
            without: the holder whose open quote it would void; empty: it voids none.
            now_ms: the time.
        """
        asset = quote.asset
        cash = self._primary.state_of(DEALER).cash(asset)
        others = [one for name, one in self._open(now_ms).items() if name != without]
        before = self._backing(others, now_ms).money(asset)
        needs = self._backing([*others, quote], now_ms).money(asset) - before
        if before + needs > cash:
            return (f"the dealing account is exhausted: of its {_money(cash)} {asset} free, {_money(before)} are set "
                    f"aside already, and this would need {_money(needs)}; forward applies")  # fmt: skip
        flows = flows_of([*others, quote])
        own, exposure = self._own_funds(asset, flows, now_ms)
        margin = running.spec.token.primary.quote_margin
        if own >= margin * exposure:
            return ""
        return (f"the dealing account is exhausted: its own funds are {_money(own)} {asset}, and {margin:.10g} times "
                f"an exposure of {_money(exposure)} is {_money(int(margin * exposure))}; forward applies")  # fmt: skip

    def _beyond_share(self, name: str, running: Running, quote: Quote, now_ms: int) -> str:
        """Returns that one more open quote would bind more of the dealing account than one holder may; empty: it may.

        A quote costs nothing until it is accepted; without a share one holder could keep all others from quotes.
        """
        asset, whose, terms = quote.asset, omnibus_of(name) or name, running.spec.token.primary
        its = [one for holder, one in self._open(now_ms).items()
               if holder != name and one.asset == asset and (omnibus_of(holder) or holder) == whose]  # fmt: skip
        owed = self._backing((), now_ms).money(asset)
        most = int(terms.quote_share * max(self._primary.state_of(DEALER).cash(asset) - owed, 0))
        exposed = terms.quote_margin * sum(one.gross for one in (*its, quote))
        binds = max(self._backing([*its, quote], now_ms).money(asset) - owed, int(exposed))
        if binds <= most:
            return ""
        return (f"open quotes of one holder, with all its sub-holders, may bind {terms.quote_share:.10g} of the "
                f"dealing account: {_money(most)} {asset}, and with this they would bind {_money(binds)}; request "
                "less, deal without a quote, or forward")  # fmt: skip

    def _own_funds(self, asset: str, flows: Mapping[str, Flows], now_ms: int) -> tuple[int, int]:
        """Returns the dealing account's money less what the units are worth that it is short of, and its exposure.

        Args:
            asset: the currency of both, minor units.
            flows: what its open quotes would bring and take, by token; whichever are accepted, the largest exposure.
            now_ms: the time.
        """
        own, exposure = self._primary.state_of(DEALER).cash(asset), 0
        for one in self._driver.tokens:
            units, flow = self.stands(one), flows.get(one.name, Flows())
            if one.spec.token.settlement == asset and (units or any(flow)):
                nav = self._state_now(one, now_ms).nav
                own += min(units, 0) * nav // MINOR
                exposure += max(abs(units - flow.subscribed), abs(units + flow.redeemed)) * nav // MINOR
        return own, exposure

    def _quote(
        self, quote_id: str, running: Running, side: Side, amount: int, priced: Priced, now_ms: int
    ) -> Quote | str:  # fmt: skip
        found = amounts_at(running.spec, priced.state, priced.pricing, side, amount)
        if isinstance(found, str):
            return found
        quote_ms = running.spec.token.primary.quote_ms
        until_ms = int(min(now_ms + quote_ms, dealt_until_ms(self._driver, running, now_ms) - 1))
        if until_ms <= now_ms:
            return "a funding settlement is too close for a quote; forward applies"
        return Quote(id=quote_id, token=running.name, side=side, asset=running.spec.token.settlement,
                     **found._asdict(), until_ms=until_ms, pricing=priced.pricing)  # fmt: skip

    def _now(
        self, running: Running, side: Side | None, now_ms: int, judgement: Judgement | None = None
    ) -> Priced | str:  # fmt: skip
        """Returns the token as it would be dealt in at the prices of now, or why it gives no quotes.

        Whoever deals with the dealing account does so at mark or fair price of each leg, whichever is worse for them.

        Args:
            running: the token.
            side: of whoever deals with the dealing account; None: it deals with the token itself, at the marks.
            now_ms: the time.
            judgement: when what is judged at these prices arrived; None: they may be any good ones.
        """
        name, book = running.name, running.book.state
        why = why_unquoted(running.spec, running.state)
        if why:
            return why
        if book.halted:
            return f"the book of {name} is halted ({book.halted}), and gives no quotes"
        if book.live:
            return f"{name} is trading, and gives no quotes until it has; forward applies"
        prices = self._market.prices(running.symbols, now_ms)
        if prices is None:
            return f"{name} has no good price now, and gives no quotes without one"
        apart, most = self._market.divergence(running.symbols), running.spec.token.primary.match_divergence
        if side is not None and not self._market.is_known(running.symbols):
            return f"prices of {name} have not come for long enough yet to give quotes by them; forward applies"
        if side is not None and apart == math.inf:
            return f"the index of {name} is missing, and it gives no quotes without it"
        if side is not None and apart > most:
            return f"mark and index of {name} are {apart:.3%} apart, more than {most:.3%}; it gives no quotes now"
        if judgement is not None and not self._market.is_known_since(
            running.symbols, judgement.arrived_ms, judgement.received
        ):
            return f"{name} has no price yet that follows the arrival of this command"
        waits = why_dealing_waits(self._driver, running, now_ms)
        if waits or running.goes_on:
            return f"{name} gives no quotes now: {waits or 'what its window left is being dealt'}"
        return self._struck(running, side, prices)

    def _struck(self, running: Running, side: Side | None, prices: Prices) -> Priced | str:
        """Returns a token with what is due charged, at these prices or those that are worse for a side."""
        state, costs = running.state, running.costs
        known = self._priced.get((running.name, side))
        if known is not None and known[0] is state and known[1] is costs and known[2] == prices:
            return known[3]
        pricing = Pricing(
            time_ms=max(prices.time_ms, state.charged_until_ms),
            marks=prices.marks if side is None else self._worse(running, prices.marks, side),
            accrued=self._primary.accrued_rates(running, prices),
            cost=cost_rate(running.spec, costs),
        )
        after = state_at(running.spec, state, pricing)
        priced = after if isinstance(after, str) else Priced(after, pricing, bearing(running.spec, after))
        self._priced[running.name, side] = (state, costs, prices, priced)
        return priced

    def _worse(self, running: Running, marks: Sequence[float], side: Side) -> tuple[float, ...]:
        """Returns mark or fair price of each leg, whichever is worse for who subscribes or redeems."""
        sign = 1 if side == "subscribe" else -1
        fair = [self._market.fair(symbol) for symbol in running.symbols]
        return tuple(max(one) if leg.lots * sign > 0 else min(one)
                     for *one, leg in zip(marks, fair, running.state.legs, strict=True))  # fmt: skip

    def _state_now(self, running: Running, now_ms: int) -> TokenState:
        """Returns a token at the marks of now, with what is due charged; as it stands where that is not known."""
        prices = self._market.prices(running.symbols, now_ms)
        priced = None if prices is None or running.state.is_rolling else self._struck(running, None, prices)
        return priced.state if isinstance(priced, Priced) else running.state

    def _exchange(
        self, name: str, running: Running, quote: Quote, quote_id: str, priced: Priced, now_ms: int
    ) -> None:  # fmt: skip
        """Books both sides; the money that counts against the day's caps is the holder's."""
        sign = 1 if quote.side == "subscribe" else -1
        money = quote.cash if sign > 0 else quote.gross
        mine = Exchanged(time_ms=now_ms, id=quote_id, token=running.name, asset=quote.asset, units=sign * quote.units,
                         cash=-sign * quote.cash, fee=quote.fee, other=DEALER, money=money,
                         bearing=priced.bearing, pricing=priced.pricing)  # fmt: skip
        theirs = msgspec.structs.replace(mine, id="", units=-mine.units, cash=-mine.cash, other=name, money=0,
                                         lends=True, pricing=UNSET)  # fmt: skip
        if quote_id:
            self._driver.undo.delete_item(self._given, name)
        self._primary.post(name, mine)
        self._primary.post(DEALER, theirs)
        self._primary.count(running, quote.side, money, now_ms)
        self._primary.call(running, now_ms)


def _is_worth_redeeming(running: Running, units: int) -> bool:
    return units * running.state.nav // MINOR > running.spec.token.primary.least * MINOR


def _buys_any(running: Running, priced: Priced, money: int) -> bool:
    """Returns whether money buys any unit after its fee; what buys none would wait, in the way of what does."""
    fees = running.spec.token.fees
    gross = Rates(fees.creation, fees.redemption).money_of(Ask("", "", "subscribe", money))
    price = with_cost(
        running.spec, priced.state, worth(running.spec, priced.state, priced.pricing.accrued, "subscribe")
    )
    return gross > 0 and price.equity > 0 and price.units_for(gross) > 0


def _money(amount: int) -> str:
    return as_text(amount, grouped=True)
