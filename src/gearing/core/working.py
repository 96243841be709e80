"""A token's books while one event is worked through: taken from the state, changed, and put back whole.

It lives inside one call of `step`; nothing outside ever sees it half done.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from gearing.core import attribution as att
from gearing.core.ledger import (
    ACCRUED,
    COMMISSION,
    FEES,
    FLOWS,
    FUNDING,
    LIQUIDATION,
    MANAGEMENT,
    PRICE,
    RESERVE,
    SPREAD,
    UNREALISED,
    WALLET,
    Balances,
    Entry,
    Posting,
    moved,
    posted,
)  # fmt: skip
from gearing.core.legs import (
    AIM,
    EDGE,
    EQUITY,
    FLAT,
    INDEX,
    INDEX_REF,
    N_FUND,
    N_ROOM,
    REF,
    REF_MS,
    RESTORES,
    SIDE,
    SLICE_MS,
    VOLUME,
    Floats,
    Q,
)  # fmt: skip
from gearing.core.legs import PRICE as MARK
from gearing.core.money import CEILING, FLOOR, share_of, to_float, value_of
from gearing.core.portfolio import index_at
from gearing.core.positions import held_at, with_trade
from gearing.core.state import Accrual, Cover, LegState, TokenState, paid_in
from gearing.core.terms import Spec


class Working:
    """The books of one token during one event.

    Args:
        spec: the token.
        state: its state before the event.
    """

    def __init__(self, spec: Spec, state: TokenState) -> None:
        self.spec = spec
        self.state = state
        self.legs: list[LegState] = list(state.legs)
        self.balances: Balances = state.balances
        self.entry: list[Posting] = []
        self.covers = state.covers
        self.dealing = state.dealing
        self.brought = state.brought
        self.charged_share = 0.0 if state.charged_share is UNSET else state.charged_share
        parts = [-math.inf if part is None else part for part in state.parts] if None in state.parts else state.parts
        self.parts: Floats = np.array(parts, dtype=np.float64)

    @property
    def equity(self) -> int:
        """Equity in minor units."""
        return self.balances.equity

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held."""
        return all(leg.lots == 0 for leg in self.legs)

    def finished(self, **changed: object) -> TokenState:
        """Returns the state after the event."""
        parts = self.parts.tolist()
        if -math.inf in parts:
            parts = [None if part == -math.inf else part for part in parts]
        return msgspec.structs.replace(
            self.state, balances=self.balances, legs=tuple(self.legs), parts=tuple(parts), covers=self.covers,
            dealing=self.dealing, brought=self.brought, charged_share=self.charged_share or UNSET, **changed,
        )  # fmt: skip

    def post(self, amount: int, debit: str, credit: str) -> None:
        """Posts an amount (minor units, of either sign) from one account to another."""
        lines: Entry = moved(amount, debit, credit)
        self.entry += lines
        self.balances = posted(self.balances, lines)

    def bring(self, amount: int, account: str) -> None:
        """Posts money that a flow brings in (takes out < 0) against an account."""
        self.post(amount, WALLET, account)
        if amount:
            self.brought = amount + (0 if self.brought is UNSET else self.brought)

    def settle_funding(self, amount: int, leg: int, lots: int, settlement_ms: int) -> None:
        """Books funding received (paid < 0) in the wallet, in place of what was accrued of it.

        Where the fee is all in, the issuer bears it: what it is owed falls by what was paid. Of what is paid on the
        hedge of a flow, the flow bears its part, by the sizes held at the settlement.

        Args:
            amount: minor units.
            leg: on which it was settled.
            lots: held at the settlement.
            settlement_ms: when that was; what was accrued of any other settlement stays.
        """
        accrued = self._reverse_accrual(leg, settlement_ms)
        mine = 0 if self.spec.all_in else self.flow_lots_held(leg, settlement_ms, lots)
        if mine:
            part = share_of(amount, mine, lots) if lots else 0
            self.post(part, WALLET, FLOWS)
            amount -= part
        if self.spec.all_in:
            self.post(amount, WALLET, FEES)
            return
        self._attribute(att.FUNDING, amount - accrued)
        self.post(amount, WALLET, FUNDING)

    def accrue_funding(self, accrual: Accrual, leg: int) -> None:
        """Books funding that the venue is expected to settle; what is borne by the issuer is not accrued."""
        self._attribute(att.FUNDING, accrual.own)
        self.post(accrual.own, ACCRUED, FUNDING)
        self.post(accrual.flow, ACCRUED, FLOWS)
        state = self.legs[leg]
        self.legs[leg] = msgspec.structs.replace(state, accruals=(*state.accruals, accrual))

    def _reverse_accrual(self, leg: int, settlement_ms: int) -> int:
        """Takes back what was accrued of a settlement that is booked now; returns the token's own part of it."""
        state = self.legs[leg]
        ended = [one for one in state.accruals if one.settlement_ms == settlement_ms]
        own = sum(one.own for one in ended)
        self.post(-own, ACCRUED, FUNDING)
        self.post(-sum(one.flow for one in ended), ACCRUED, FLOWS)
        left = tuple(one for one in state.accruals if one.settlement_ms != settlement_ms)
        self.legs[leg] = msgspec.structs.replace(state, accruals=left)
        return own

    def see_settled(self, leg: int, settlement_ms: int) -> None:
        """Notes that a settlement is booked: what ran up until then is no part of a flow's price any more."""
        self.legs[leg] = msgspec.structs.replace(self.legs[leg], funded_ms=settlement_ms)
        if self.dealing is not UNSET:
            fresh = tuple(0.0 if k == leg else rate for k, rate in enumerate(self.dealing.accrued))
            self.dealing = msgspec.structs.replace(self.dealing, accrued=fresh)

    def owe_fee(self, amount: int) -> None:
        """Books a management fee, ≥ 0, as owed to the issuer."""
        self._attribute(att.FEE, -amount)
        self.post(amount, MANAGEMENT, FEES)

    def waive_fee(self, amount: int) -> None:
        """Books a management fee that the issuer is owed, > 0, as given back to the token."""
        self._attribute(att.FEE, amount)
        self.post(amount, FEES, MANAGEMENT)

    def pay_flow(self, amount: int) -> None:
        """Books what the flow under way gains from the token (gives it: < 0), minor units, as cost of trading.

        As any such cost it is the issuer's if the fee is all in.
        """
        if not self.spec.all_in:
            self._attribute(att.SPREAD, -amount)
        self.post(amount, FEES if self.spec.all_in else SPREAD, FLOWS)

    def charge_flow(self, amount: int) -> None:
        """Books a part of what the venue charged for closing a position as the flow's, minor units."""
        self._attribute_cost(0, -amount, LIQUIDATION)
        self.post(-amount, LIQUIDATION, FLOWS)

    def adjust(self, amount: int) -> None:
        """Books money in the wallet (missing from it: < 0) that the venue's statement has and the ledger had not."""
        self._attribute(att.LIQUIDATED, amount)
        self.post(amount, WALLET, LIQUIDATION)

    def cover(self, now_ms: int) -> None:
        """Takes what a wiped-out token lacks out of the reserve, so that nobody owes.

        What comes in later goes back to the reserve first, up to what it paid.
        """
        amount = max(-self.equity, -paid_in(self.covers))
        if amount:
            self.post(amount, WALLET, RESERVE)
            self.covers = (*self.covers, Cover(now_ms, amount))

    def mark(self, prices: tuple[float, ...]) -> None:
        """Marks each leg; unrealised profit is worked out from position and basis, never added up.

        What a flow's hedge gains is the flow's.
        """
        before = self._flow_worth()
        self.legs = [
            leg if leg.mark == price else msgspec.structs.replace(leg, mark=price)
            for leg, price in zip(self.legs, prices, strict=True)
        ]
        self.post(self._flow_worth() - before, UNREALISED, FLOWS)
        self.post(self._unrealised() - self.balances.unrealised, UNREALISED, PRICE)

    def trade(
        self, k: int, lots: int, price: float, charge: int, now_ms: int, account: str = SPREAD, *, rolls: bool = False,
        paid: int | UnsetType = UNSET,
    ) -> None:  # fmt: skip
        """Books a trade of leg k: the position at what it cost, the charge, and what was lost against the mark.

        Bought money is rounded up, sold money down, profit of a closed part goes by average cost.

        Args:
            lots: signed.
            price: at which it was traded.
            charge: what the venue took for it, minor units, ≥ 0.
            now_ms: when.
            account: SPREAD for a trade of the token's own, LIQUIDATION for the venue's, FLOWS for a flow's hedge.
            rolls: whether it is a trade of a roll, which leaves the attribution's stretch as it is.
            paid: what was paid (got: < 0), where it is a part of a larger trade; unset: its own value, rounded up.
        """
        leg = self.legs[k]
        if paid is UNSET:
            paid = value_of(lots, leg.lot_size, price, CEILING)
        closed = _closed(leg.lots, lots)
        realised = 0
        if closed:
            # The part of the trade that closes, and the part of the basis that goes with it.
            proceeds = -paid if closed == -lots else -value_of(-closed, leg.lot_size, price, CEILING)
            realised = proceeds - share_of(leg.basis, closed, leg.lots)
        self.legs[k] = msgspec.structs.replace(
            leg, lots=leg.lots + lots, basis=leg.basis + paid + realised, changed_ms=max(now_ms, leg.changed_ms),
            past=with_trade(leg.past, leg.lots, lots, now_ms), unknown_ms=leg.unrecorded_ms,
        )  # fmt: skip
        self.post(realised, WALLET, UNREALISED)
        lost = self.balances.unrealised - self._unrealised()
        if account == FLOWS:
            self.post(-lost, UNREALISED, FLOWS)
            self.post(-charge, WALLET, FLOWS)
            return
        borne = self.spec.all_in and account == SPREAD
        if not borne:
            self._attribute_cost(lost, charge, account)
            if not rolls:
                self.parts[att.TRADE_PRICE], self.parts[att.SINCE_TRADE] = self.parts[att.POST_PRICE], 0.0
        self.post(-lost, UNREALISED, FEES if borne else account)
        self.post(-charge, WALLET, FEES if borne else (COMMISSION if account == SPREAD else account))

    def traded_within(self) -> None:
        """Notes that the token's own position changed at the mark, with no trade at a venue and at no cost."""
        self.parts[att.TRADE_PRICE], self.parts[att.SINCE_TRADE] = self.parts[att.POST_PRICE], 0.0

    def close_stretch(self) -> None:
        """Closes the attribution's stretch since the last posting, before something is posted at this mark."""
        equity = to_float(self.equity)
        if equity > 0.0 and self.parts[att.POST_EQUITY] > 0.0:
            v, x = self.arrays()
            level = index_at(self.spec.legs, v, x, MARK)
            if level != self.parts[att.POST_PRICE] or equity != self.parts[att.POST_EQUITY]:
                att.post_mark_against(self.parts, self.spec.terms.target, equity, level, level)

    def arrays(self, volumes: tuple[float, ...] = ()) -> tuple[Floats, Floats]:
        """Returns the portfolio as compiled functions see it (`core.legs` says what stands where).

        What a flow's hedge holds is the flow's, and no part of it.
        """
        v, x = np.zeros(N_FUND), np.zeros((N_ROOM, len(self.spec.token.legs)))
        v[EQUITY], v[REF_MS], v[INDEX] = to_float(self.equity), self.state.ref_ms, self.state.index
        v[FLAT] = float(self.is_flat)
        running = self.state.rebalance
        if running is not None:
            v[AIM], v[EDGE], v[SIDE], v[SLICE_MS] = running.aim, running.edge, running.side, running.due_ms
            v[RESTORES] = float(running.restores)
        for k, leg in enumerate(self.legs):
            if leg.leg is not UNSET:  # what a roll has opened, as so much more of what the leg still holds
                x[Q, leg.leg] += leg.lots * float(leg.lot) * leg.mark / x[MARK, leg.leg]
                continue
            x[Q, k], x[MARK, k] = (leg.lots - self.flow_lots(k)) * float(leg.lot), leg.mark
            x[REF, k], x[INDEX_REF, k] = leg.ref, leg.index_ref
        if volumes:
            x[VOLUME] = volumes
        return v, x

    def flow_lots(self, k: int) -> int:
        """Returns the lots of leg k's position that a flow's hedge traded."""
        return 0 if self.dealing is UNSET or k >= len(self.dealing.lots) else self.dealing.lots[k]

    def flow_lots_at(self, k: int, time_ms: int) -> int:
        """Returns the lots of leg k's position that a flow's hedge held at a settlement."""
        at = self._flow_span(k, time_ms)
        return self.flow_lots(k) if at is None else at[0]

    def flow_lots_held(self, k: int, time_ms: int, lots: int) -> int:
        """Returns what a flow's hedge held at a settlement on so many lots, where it traded in its very millisecond."""
        at, whole = self._flow_span(k, time_ms), self.legs[k].lots_at(time_ms)
        if at is None:
            return self.flow_lots(k)
        return at[0] if whole is None else min(max(at[0] + lots - whole[0], at[0]), at[-1])

    def _flow_span(self, k: int, time_ms: int) -> range | None:
        """Returns the sizes that a flow's hedge had within a millisecond; None: unknown, or there is no hedge."""
        if self.dealing is UNSET or k >= len(self.dealing.past):
            return None
        return held_at(self.dealing.past[k], self.dealing.lots[k], time_ms)

    def _flow_worth(self) -> int:
        if self.dealing is UNSET:
            return 0
        held = zip(self.legs, self.dealing.lots, strict=False)
        return sum(value_of(lots, leg.lot_size, leg.mark, FLOOR) for leg, lots in held if lots)

    def _unrealised(self) -> int:
        return sum(value_of(leg.lots, leg.lot_size, leg.mark, FLOOR) - leg.basis for leg in self.legs)

    def _attribute(self, part: int, amount: int) -> None:
        money = to_float(amount)
        if money and self.parts[att.POST_EQUITY] > 0.0 and self.parts[att.POST_EQUITY] + money > 0.0:
            att.post(self.parts, part, money)

    def _attribute_cost(self, lost: int, charge: int, account: str) -> None:
        """Attributes what one trade cost; only one that lost has a log to be split over its parts."""
        spread, paid = to_float(lost), to_float(charge)
        if account == LIQUIDATION:
            self._attribute(att.LIQUIDATED, -lost - charge)
        elif lost < 0:
            self._attribute(att.SPREAD, -lost)
            self._attribute(att.COMMISSION, -charge)
        elif spread + paid < self.parts[att.POST_EQUITY]:
            att.post_cost(self.parts, spread, 0.0, paid)


def attribution_now(spec: Spec, state: TokenState) -> tuple[float, ...]:
    """Returns the attribution up to the last marks (see `core.attribution` for what stands where)."""
    work = Working(spec, state)
    work.close_stretch()
    return tuple(work.parts.tolist())


def _closed(held: int, lots: int) -> int:
    """Returns how many lots of a position a trade closes, with the position's sign."""
    if held == 0 or (held > 0) == (lots > 0):
        return 0
    return held if abs(lots) >= abs(held) else -lots
