"""The way to and from the exchange, where things are delayed, lost, repeated and broken, by seed. Pure.

It decides only when and whether; what arrives is carried out by the exchange.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

from gearing.venues.paper.draws import Draws
from gearing.venues.paper.requests import Request
from gearing.venues.paper.setup import Setup
from gearing.venues.protocol import FundingPayment, GatewayError, Report

BUSY, UNAVAILABLE = 429, 503


class Arrival(NamedTuple):
    """A request that reaches the exchange.

    Args:
        call: its number; 0: its caller has given up.
        account: whose.
        request: what is asked.
        gives_up_ms: when its caller gives up.
        fate: what its caller learns in place of the answer.
    """

    call: int
    account: str
    request: Request
    gives_up_ms: int
    fate: Exception | None


class Answer(NamedTuple):
    """What a caller learns: the answer, or an error."""

    call: int
    value: Any
    error: Exception | None


class Told(NamedTuple):
    """A report that reaches an account."""

    account: str
    report: Report


class Wire:
    """The way to and from the exchange.

    Args:
        setup: how long things take, what goes wrong.
        draws: its generator.
    """

    def __init__(self, setup: Setup, draws: Draws) -> None:
        self._latency, self._faults, self._draws = setup.latency, setup.faults, draws
        self._waiting: list[tuple[int, int, Arrival | Answer | Told]] = []
        self._count = 0
        self._told_ms: dict[str, int] = {}
        self.down_until_ms = 0

    @property
    def next_ms(self) -> int | None:
        """The time at which the next thing arrives; None if nothing is on its way."""
        return self._waiting[0][0] if self._waiting else None

    def pop(self) -> Arrival | Answer | Told:
        """Takes the next thing that arrives."""
        return heapq.heappop(self._waiting)[2]

    def begin_outage(self, now_ms: int, length_ms: int) -> None:
        """Cuts the exchange off for so long: requests break, reports and prices are lost."""
        self.down_until_ms = max(self.down_until_ms, now_ms + length_ms)

    def price_passed(self, now_ms: int) -> None:
        """Lets an outage begin at the rate that was set."""
        if self._draws.chance(self._faults.outage):
            lengths = self._faults.outage_ms
            self.begin_outage(now_ms, lengths[self._draws.below(len(lengths))])

    def send(self, call: int, account: str, request: Request, now_ms: int) -> None:
        """Sends a request: it arrives, or not, and its caller learns something in any case."""
        faults, chance = self._faults, self._draws.chance
        arrives_ms, gives_up_ms = now_ms + self._after(self._latency.request_ms), now_ms + self._latency.timeout_ms
        broken = ConnectionError("the connection broke")
        if now_ms < self.down_until_ms:
            self._put(arrives_ms, Answer(call, None, ConnectionError("the venue cannot be reached")))
        elif chance(faults.request_lost):
            self._put(gives_up_ms, self._no_answer(call))
        elif chance(faults.busy):
            self._put(arrives_ms, Answer(call, None, GatewayError(BUSY)))
        elif chance(faults.error):
            self._put(arrives_ms, Answer(call, None, GatewayError(UNAVAILABLE)))
        elif chance(faults.dropped):
            # As likely before the exchange has carried it out as after.
            reaches = self._draws.below(2) == 1
            arrival = Arrival(call, account, request, gives_up_ms, broken)
            self._put(arrives_ms, arrival if reaches else Answer(call, None, broken))
        else:
            if chance(faults.request_late):
                arrives_ms += 1 + self._draws.below(faults.request_late_ms)
            fate: Exception | None = None
            if chance(faults.answer_lost):
                fate = TimeoutError()
            elif chance(faults.error_done):
                fate = GatewayError(UNAVAILABLE)
            if arrives_ms > gives_up_ms:
                self._put(gives_up_ms, self._no_answer(call))
                call = 0
            self._put(arrives_ms, Arrival(call, account, request, gives_up_ms, fate))

    def answer(self, arrival: Arrival, value: Any, error: Exception | None, now_ms: int) -> None:
        """Sends the answer to a request back, or what its caller learns in its place."""
        if arrival.call == 0:
            return
        answers_ms = now_ms + self._after(self._latency.answer_ms)
        if isinstance(arrival.fate, TimeoutError) or answers_ms > arrival.gives_up_ms:
            self._put(arrival.gives_up_ms, self._no_answer(arrival.call))
            return
        if arrival.fate is not None:
            value, error = None, arrival.fate
        elif now_ms < self.down_until_ms:
            value, error = None, ConnectionError("the connection broke")
        self._put(answers_ms, Answer(arrival.call, value, error))

    def report(self, account: str, report: Report, now_ms: int) -> None:
        """Sends a report; it may come late, twice, out of order, or never."""
        faults, chance = self._faults, self._draws.chance
        if now_ms < self.down_until_ms or chance(faults.report_lost):
            return
        due_ms = now_ms + self._after(self._latency.report_ms)
        late = chance(faults.report_late)
        if late:
            due_ms += 1 + self._draws.below(faults.report_late_ms)
        elif isinstance(report, FundingPayment) and chance(faults.funding_late):
            due_ms, late = due_ms + faults.funding_late_ms, True
        if not late:
            if self._latency.report_order_kept:
                due_ms = max(due_ms, self._told_ms.get(account, 0))
            self._told_ms[account] = due_ms
        self._put(due_ms, Told(account, report))
        if chance(faults.report_duplicated):
            self._put(due_ms + self._draws.below(faults.report_late_ms), Told(account, report))

    def _no_answer(self, call: int) -> Answer:
        return Answer(call, None, TimeoutError(f"no answer within {self._latency.timeout_ms} ms"))

    def _after(self, base_ms: int) -> int:
        jitter_ms = self._latency.jitter_ms
        return base_ms + (self._draws.below(jitter_ms + 1) if base_ms and jitter_ms else 0)

    def _put(self, due_ms: int, item: Arrival | Answer | Told) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (due_ms, self._count, item))
