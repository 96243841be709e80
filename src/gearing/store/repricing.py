"""Works out again what units were dealt at once for, and what was quoted: from the token's state at that line.

What the prices of a market were is the desk's word, here as in the lines of the token; they are held only against those
of the lines before and after. Everything else follows from them to the minor unit, with the functions of the desk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from msgspec import UNSET

from gearing.core.dealing import bearing
from gearing.core.events import (
    DealingBegun,
    ExcessKept,
    FeesTaken,
    FlowMatched,
    FundingAccrued,
    FundingSettled,
    NavStruck,
    TokenEvent,
)
from gearing.core.hedging_cost import HedgeCost, with_hedge
from gearing.core.holder import Bearing, Pricing
from gearing.core.measured import Measured
from gearing.core.quoting import amounts_at, cost_rate, state_at, why_unquoted, why_void
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.store.breach import Breach
from gearing.store.shares import AtOnce, Stood, amounts

# So far, as a fraction, may a price be from those of the token's lines before and after it, and no market's was ever
# further for a minute; and so much funding may have accrued in a period.
MARK_APART_MAX, ACCRUED_MAX = 0.25, 0.1
# A venue's clock may be ahead of the desk's by so much, whatever a desk allows.
_AHEAD_MS = 60_000


class Repricing:
    """The dealings at once, quotes and bearings of one token, held against it as its lines pass by.

    Args:
        at_once: all of them, in any order.
    """

    def __init__(self, at_once: Iterable[AtOnce | Stood]) -> None:
        self._waiting = deque(sorted(at_once, key=lambda one: one.n))
        self._spec: Spec | None = None
        self._state: TokenState | None = None
        self._costs: tuple[HedgeCost, ...] = ()
        self._knows_costs = True
        self._measured: list[Measured] = []
        self._left: tuple[float, ...] = ()
        self.breaches: list[Breach] = []

    def take_line(self, n: int, spec: Spec | None, after: TokenState | None) -> None:
        """Takes a line of the token.

        Args:
            n: its number over all streams.
            spec: of the token after it.
            after: its state; None: not known.
        """
        while self._waiting and self._waiting[0].n < n:
            self._judge(self._waiting.popleft(), after)
        for one in self._measured:
            self._costs = with_hedge(self._costs, one)
        self._measured.clear()
        self._spec, self._state = spec, after
        self._knows_costs = self._knows_costs and after is not None  # else measured hedges may be missing

    def take_measured(self, measured: Measured) -> None:
        """Takes what the next line measured of a hedge or rebalance, as the desk did."""
        self._measured.append(measured)

    def take_event(
        self, seq: int, stream: str, event: TokenEvent, after: TokenState | None, *, is_current: bool
    ) -> None:  # fmt: skip
        """Takes an event of the token, which may say what funding ran up or was predicted, or leave an excess."""
        if self._left and not (isinstance(event, NavStruck) and event.prices == self._left):
            self.breaches.append(Breach(stream, seq, "price", f"an excess left at marks of {self._left}",
                                        "a NAV at the same marks in the next line"))  # fmt: skip
        is_open = after is not None and after.status != "wiped"
        self._left = event.prices if isinstance(event, ExcessKept) and is_open else ()
        accrued = event.accrued if isinstance(event, (DealingBegun, FlowMatched, FeesTaken)) else ()
        rates = (event.rate or 0.0,) if isinstance(event, (FundingAccrued, FundingSettled)) else accrued
        self.breaches += (Breach(stream, seq, "price", *words) for words in _unlikely_rates(rates))
        if isinstance(event, ExcessKept):
            self.breaches += (Breach(stream, seq, "price", *words) for words in _unlikely_excess(event))
        if isinstance(event, FundingSettled) and self._state is not None and is_current:
            self.breaches += (Breach(stream, seq, "funding", *words) for words in _unlike_held(event, self._state))

    def close(self) -> None:
        """Judges what came after the last line."""
        while self._waiting:
            self._judge(self._waiting.popleft(), None)

    def _judge(self, one: AtOnce | Stood, following: TokenState | None) -> None:
        try:
            faults = list(self._faults_of(one, following))
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            faults = [(one.how, f"what can be worked out: {error}")]
        self.breaches += (Breach(one.stream, one.seq, "price", *words) for words in faults)

    def _faults_of(self, one: AtOnce | Stood, following: TokenState | None) -> Iterator[tuple[str, str]]:
        spec, state = self._spec, self._state
        if spec is None:
            yield f"{one.how} {one.token}", "nothing: it was not launched"
            return
        if isinstance(one, Stood):
            if state is not None and one.bearing != bearing(spec, state):
                yield _stood(one.bearing), _stood(bearing(spec, state))
            return
        yield from _unlike_terms(one, spec)
        if state is None:
            return
        why = why_unquoted(spec, state)
        if why or one.pricing is UNSET:
            yield one.how, f"nothing: {why or 'no price is said'}"
            return
        legs = len(state.legs)
        if len(one.pricing.marks) != legs or len(one.pricing.accrued) != legs:
            yield f"{one.how} at {one.pricing}", f"marks and accrued funding, {legs} of each"
            return
        yield from _unlikely(one, one.pricing, state, following)
        now = state_at(spec, state, one.pricing)
        if isinstance(now, str):
            yield one.how, f"nothing: {now}"
            return
        if one.bearing is not UNSET and one.bearing != bearing(spec, now):
            yield _stood(one.bearing), _stood(bearing(spec, now))
        if one.accepted is not UNSET:
            why = why_void(spec, now, one.pricing, one.accepted)
            if why:
                yield one.how, f"nothing: {why}"
            return
        cost = cost_rate(spec, self._costs)
        if self._knows_costs and one.pricing.cost != cost:
            yield f"hedging at {one.pricing.cost!r} of what is traded", f"{cost!r}, as was measured"
        given = amounts_at(spec, now, one.pricing, one.side, one.cash if one.side == "subscribe" else one.units)
        if isinstance(given, str):
            yield one.how, f"nothing: {given}"
        elif given[:3] != (one.units, one.cash, one.fee) or one.inav not in {UNSET, given.inav}:
            at = "" if one.inav is UNSET else f", at an iNAV of {one.inav}", f", at an iNAV of {given.inav}"
            yield (f"{amounts(one.units, one.cash, one.fee)}{at[0]}",
                   f"{amounts(*given[:3])}{at[1]}, as {one.how} at its price")  # fmt: skip


def _unlike_terms(one: AtOnce, spec: Spec) -> Iterator[tuple[str, str]]:
    """Yields what its token's terms do not give, whatever the prices."""
    if one.asset != spec.token.settlement:
        yield f"{one.how} for {one.asset}", f"for {spec.token.settlement}"
    if one.bearing is UNSET:
        until_ms = one.time_ms + spec.token.primary.quote_ms
        if one.until_ms > until_ms:
            yield f"a quote until {one.until_ms}", f"until {until_ms} at most"
        return
    money = one.cash if one.side == "subscribe" else one.cash + one.fee
    if one.money != money:
        yield f"{one.money} of the day's caps", f"{money}"


def _stood(at: Bearing) -> str:
    return f"a NAV of {at.nav}, a level of {at.level!r}, parts {at.parts}"


def _unlikely(
    one: AtOnce, pricing: Pricing, state: TokenState, following: TokenState | None
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """Yields what no market says."""
    since, until = state.charged_until_ms, max(state.charged_until_ms, one.time_ms + _AHEAD_MS)
    if not since <= pricing.time_ms <= until:
        yield f"a price of {pricing.time_ms}", f"of {since} to {until}"
    for mark, leg, later in zip(pricing.marks, state.legs, () if following is None else following.legs, strict=False):
        low, high = min(leg.mark, later.mark) * (1 - MARK_APART_MAX), max(leg.mark, later.mark) * (1 + MARK_APART_MAX)
        if not low <= mark <= high:
            yield f"a mark of {mark}", f"{low:.10g} to {high:.10g}, by the token's lines before and after"
    yield from _unlikely_rates(pricing.accrued)


def _unlikely_excess(event: ExcessKept) -> Iterator[tuple[str, str]]:
    if len(event.at) != len(event.prices):
        yield f"an excess of {len(event.at)} legs", f"{len(event.prices)} legs, as it has marks"
    for at, price in zip(event.at, event.prices, strict=False):
        if not abs(at - price) <= MARK_APART_MAX * price:
            yield f"an excess valued at {at}", f"at most {MARK_APART_MAX:.0%} from its mark of {price}"


def _unlike_held(event: FundingSettled, before: TokenState) -> Iterator[tuple[str, str]]:
    """A settlement is of the lots held at its time, but where the guard halted the token since the venue differs."""
    held = before.legs[event.leg].lots_at(event.settlement_ms) if 0 <= event.leg < len(before.legs) else None
    is_empty = event.lots == event.amount == 0  # the venue reports that there was none
    if held is None or event.lots in held or is_empty or before.status != "open":
        return
    most = f" to {held[-1]}" if len(held) > 1 else ""
    yield f"a settlement on {event.lots} lots", f"{held[0]}{most} lots, as held at its time"


def _unlikely_rates(rates: Iterable[float]) -> Iterator[tuple[str, str]]:
    for rate in rates:
        if not abs(rate) <= ACCRUED_MAX:
            yield f"funding of {rate}", f"{-ACCRUED_MAX} to {ACCRUED_MAX}"
