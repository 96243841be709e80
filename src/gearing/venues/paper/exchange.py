"""A paper exchange as a whole: engine, wire, publisher and file. What it does is durable before it tells anyone."""

from __future__ import annotations

from gearing.venues.paper import requests as rq
from gearing.venues.paper.draws import Draws
from gearing.venues.paper.engine import Engine
from gearing.venues.paper.file import PaperFile
from gearing.venues.paper.prices import Publisher
from gearing.venues.paper.setup import Setup
from gearing.venues.paper.state import NEVER_MS
from gearing.venues.paper.wire import Answer, Arrival, Told, Wire
from gearing.venues.protocol import Quote, RefusedError

# Different generators, so that a fault of one kind leaves the others as they are.
_WIRE, _PRICES = 0x57495245, 0x50524943


Out = Answer | Told | Quote
"""What comes out of the exchange: an answer, a report, a published price."""


class PaperExchange:
    """A paper exchange.

    Args:
        setup: what it is told.
        file: where its state is kept; None: nowhere.

    A caller sends requests and controls, then calls `run`, then takes what came out. All that
    happened before it is taken shares one commit.
    """

    def __init__(self, setup: Setup, file: PaperFile | None = None) -> None:
        self._file = file
        self.engine = Engine(setup, None if file is None else file.load(setup))
        stood = self.engine.state.clock
        # A restarted exchange does not repeat the faults that it began with.
        seed = setup.seed + stood.orders + stood.now_ms
        self.visibility_ms = setup.latency.visibility_ms
        self.wire = Wire(setup, Draws(seed ^ _WIRE))
        self.publisher = Publisher(setup.faults, Draws(seed ^ _PRICES))
        self._calls = 0
        self._ready: list[Out] = []

    @property
    def now_ms(self) -> int:
        """The exchange's time."""
        return self.engine.state.now_ms

    @property
    def next_ms(self) -> int | None:
        """When something happens next if nothing comes in; None: nothing does."""
        times = [t for t in (self.wire.next_ms, self.engine.state.due_ms) if t is not None and t < NEVER_MS]
        return min(times, default=None)

    def send(self, account: str, request: rq.Request) -> int:
        """Sends a request; returns the number its answer will have."""
        self._calls += 1
        self.wire.send(self._calls, account, request, self.now_ms)
        return self._calls

    def control(self, request: rq.Control) -> None:
        """Does what the feed or the exchange's operator asks for: no fault befalls these.

        Raises:
            RefusedError: the instrument is not listed.
            ValueError: a position is no whole number of new lots.
        """
        match request:
            case rq.TakeQuotes(quotes=quotes):
                if quotes:
                    self._take(quotes)
            case rq.Advance(now_ms=now_ms):
                self._advance(now_ms)
            case rq.Outage(length_ms=length_ms):
                self.wire.begin_outage(self.now_ms, length_ms)
            case _:
                self.engine.control(request)
        self._pass_on()

    def run(self) -> None:
        """Carries out what has arrived by now."""
        self._advance(self.now_ms)

    def taken(self) -> list[Out]:
        """Makes durable what happened, and returns what came out since the last call.

        Raises:
            sqlite3.Error: it could not be made durable; nothing comes out, and the exchange has to be opened anew.
        """
        self._settle()
        out, self._ready = self._ready, []
        return out

    def close(self) -> None:
        """Closes its file."""
        if self._file is not None:
            self._file.close()

    def _take(self, quotes: tuple[Quote, ...]) -> None:
        now_ms = max(quote.time_ms for quote in quotes)
        self._advance(now_ms - 1)
        self.engine.take(quotes)
        self._pass_on()
        for quote in quotes:
            self.wire.price_passed(self.now_ms)
            ends_ms = self.engine.state.delisted_ms(quote.symbol)
            if self.now_ms >= self.wire.down_until_ms and not 0 < ends_ms <= self.now_ms:
                self._ready.append(self.publisher.published(quote))
        self._advance(self.now_ms)

    def _advance(self, now_ms: int) -> None:
        """Lets time go on to `now_ms`: what is due or arrives on the way happens at its own time."""
        while (due_ms := self.next_ms) is not None and due_ms <= now_ms:
            due_ms = max(due_ms, self.now_ms)
            self.engine.advance(due_ms)
            self._pass_on()
            while (arrives_ms := self.wire.next_ms) is not None and arrives_ms <= due_ms:
                item = self.wire.pop()
                if isinstance(item, Arrival):
                    self._carry_out(item)
                else:
                    self._ready.append(item)
        self.engine.advance(now_ms)

    def _carry_out(self, arrival: Arrival) -> None:
        value, error = None, None
        try:
            value = self.engine.ask(arrival.account, arrival.request)
        except RefusedError as refused:
            error = refused
        self.wire.answer(arrival, value, error, self.now_ms)
        self._pass_on()

    def _pass_on(self) -> None:
        """Hands the engine's reports to the wire."""
        reports = self.engine.state.reports
        if reports:
            for account, report in reports:
                self.wire.report(account, report, self.now_ms)
            reports.clear()

    def _settle(self) -> None:
        changed = self.engine.state.changed
        if changed:
            if self._file is not None:
                self._file.commit(changed, self.engine.state)
            changed.clear()
