"""The watchdog: looks at every token once a second, lets breakers trip, and learns how lively prices are."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from msgspec import UNSET

from gearing.core.money import to_minor
from gearing.desk.boot import resumed_ms
from gearing.desk.engine import Engine
from gearing.desk.view import TokenView, learnt, token_view
from gearing.drive.breakers import BreakerLimits, Breakers, Facts
from gearing.drive.margining import notional
from gearing.drive.running import Running
from gearing.drive.settling import waits_for_operator
from gearing.drive.volatility import Volatility
from gearing.store.store import Store

_EVERY_S = 0.5


class Watchdog:
    """Watches the tokens of an engine.

    Args:
        engine: whose tokens.
        store: where their past stands.
        limits: of the breakers.
        now_ms: the market's time.

    Attributes:
        on_over: called with a token and the words of an alarm whose cause is gone.
    """

    def __init__(self, engine: Engine, store: Store, limits: BreakerLimits, now_ms: int) -> None:
        self._engine, self._limits = engine, limits
        self.on_over: Callable[[str, str], object] = lambda token, words: None
        self._breakers: dict[str, Breakers] = {}
        self._volatility: dict[str, Volatility] = {}
        for running in engine.driver.tokens:
            self._breakers[running.name] = Breakers(limits)
            try:
                self._learn(running, store, now_ms)
            except Exception as error:  # without its past no breaker can be relied on
                words = f"what was published of it cannot be read ({type(error).__name__}: {error})"
                engine.driver.halt(running, "breaker", words, now_ms)
            for symbol in running.spec.chains.symbols:
                self._volatility.setdefault(symbol, Volatility())

    def _learn(self, running: Running, store: Store, now_ms: int) -> None:
        """Takes what was published of a token: its NAVs since it was last resumed, and how lively its prices were."""
        since_ms = max(now_ms - self._limits.within_ms, resumed_ms(store, running.name))
        for nav in store.navs(running.name, since_ms, now_ms + 1):
            self._breakers[running.name].remember(nav.time_ms, nav.nav, nav.units)
        for symbol, known in learnt(store, running.name, running.symbols, now_ms).items():
            self._volatility.setdefault(symbol, known)

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            self.look()
            await self._engine.settle()

    def look(self) -> None:
        """Looks at every token once."""
        now_ms, driver = self._engine.clock.now_ms(), self._engine.driver
        for symbol, known in self._volatility.items():
            known.see(driver.market.price(symbol), now_ms)
        for running in driver.tokens:
            view = self.view(running, now_ms)
            seen = view.outlook
            facts = Facts(
                time_ms=now_ms, status=seen.status, nav=to_minor(seen.nav, "ROUND_FLOOR"),
                units=to_minor(seen.units, "ROUND_FLOOR"), equity=seen.equity,
                maintenance=seen.equity / view.headroom if view.headroom else 0.0,
                price_age_ms=self.age_ms(running, now_ms),
            )  # fmt: skip
            for verdict in self._breakers[running.name].look(facts):
                if verdict.action == "halt":
                    driver.halt(running, "breaker", verdict.words, now_ms)
                elif verdict.action == "over":
                    self.on_over(running.name, verdict.words)
                else:
                    driver.effects.alarms.append(f"{running.name}: {verdict.words}")

    def age_ms(self, running: Running, now_ms: int) -> int:
        """Returns the age of a token's oldest price."""
        return max(self._engine.driver.market.age_ms(symbol, now_ms) for symbol in running.symbols)

    def view(self, running: Running, now_ms: int) -> TokenView:
        """Returns a token at the prices of now."""
        market, book = self._engine.driver.market, running.book
        age_ms = self.age_ms(running, now_ms)
        reasons = [why for symbol in running.symbols if (why := market.why_not(symbol))]
        stale = reasons[0] if reasons else ("the price is stale" if age_ms > self._limits.stale_ms else "")
        alone, live, asked = len(book.tokens) == 1, book.state.live, self._engine.maintenance.get(book.name)
        unknown = [live[key] for key in self._engine.outbox.unknown()
                   if key in live and live[key].of(running.name)]  # fmt: skip
        return token_view(
            running.spec, running.state, book.name, marks=tuple(market.price(symbol) for symbol in running.symbols),
            daily=tuple(self._daily(symbol) for symbol in running.symbols), why=running.why,
            book_halted=book.state.halted, stale=stale, last=running.last,
            overdue=waits_for_operator(self._engine.driver, running, now_ms),
            differs=book.state.differences is not UNSET,
            maintenance=asked.of(notional(running)) if alone and asked is not None else 0.0, unknown=unknown,
        )  # fmt: skip

    def _daily(self, symbol: str) -> float:
        known = self._volatility.get(symbol)
        return math.nan if known is None else known.daily
