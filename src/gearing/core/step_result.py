"""What one step of a token comes to, and how a token that has charges due, lost everything or is closed goes on."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import UNSET

from gearing.core import attribution as att
from gearing.core import rolling, trading
from gearing.core.formulas import equity_after_fee
from gearing.core.ledger import Entry
from gearing.core.legs import PRICE as MARK
from gearing.core.money import FLOOR, to_float, to_minor
from gearing.core.portfolio import exposure
from gearing.core.record import DAY_MS
from gearing.core.state import TokenState
from gearing.core.terms import Spec
from gearing.core.trading import Order
from gearing.core.working import Working


class Step(NamedTuple):
    """What one event did: the state after it, the ledger entry, the orders to send."""

    state: TokenState
    entry: Entry = ()
    orders: tuple[Order, ...] = ()


class StepError(Exception):
    """An event that cannot happen in this state: the journal, or who made the event, is wrong."""


def charge_days(spec: Spec, work: Working, now_ms: int) -> bool:
    """Charges the fee of the days that ended since it last was; returns whether there is equity left."""
    days = now_ms // DAY_MS - work.state.charged_until_ms // DAY_MS
    if days > 0 and work.balances.units:
        _charge(spec, work, float(days) - work.charged_share)
        work.charged_share = 0.0
        return work.equity > 0
    return True


def charge_to_now(spec: Spec, work: Working, now_ms: int) -> bool:
    """Charges the fee up to this very moment, so that nobody comes in or goes out between two days' ends for free."""
    share = now_ms % DAY_MS / DAY_MS
    if charge_days(spec, work, now_ms) and work.balances.units and share > work.charged_share:
        _charge(spec, work, share - work.charged_share)
        work.charged_share = share
    return work.equity > 0 or not work.balances.units


def _charge(spec: Spec, work: Working, days: float) -> None:
    """Books the management fee of the days that ended, rounded down: what is left of a minor unit stays."""
    t = spec.terms
    _, x = work.arrays()
    equity = to_float(work.equity)
    held = exposure(x, MARK)
    after = equity_after_fee(equity, held, days, t.fee_per_day, t.fee_per_year, t.fee_on_exposure)
    fee = to_minor(equity - after, FLOOR)
    if fee > 0:
        work.close_stretch()
        work.owe_fee(fee)


def wipe_out(work: Working, now_ms: int) -> Step:
    """Equity is gone: closes what is held, takes what is missing out of the reserve, and freezes the token."""
    att.post_wipe_out(work.parts)
    if work.state.is_working:
        return Step(work.finished(status="wiped"), tuple(work.entry))
    after, orders = trading.begin_close(work, trading.WIPED_OUT, now_ms, status="wiped")
    if orders:
        return Step(after, tuple(work.entry), orders)
    rolling.settle_roll(work)
    work.cover(now_ms)
    return Step(work.finished(status="wiped", rebalance=None), tuple(work.entry))


def go_on_closing(work: Working, now_ms: int) -> Step:
    """All orders of a closing have ended: what is still held is asked for again, else the token is at rest."""
    status = work.state.status
    if not work.is_flat and status in {"wiped", "closing"}:
        after, orders = trading.begin_close(work, trading.CLOSING, now_ms)
        return Step(after, tuple(work.entry), orders)
    rolling.settle_roll(work)
    if status == "wiped":
        work.cover(now_ms)
        return Step(work.finished(rebalance=None), tuple(work.entry))
    return Step(work.finished(rebalance=None, status="closed" if status == "closing" else status), tuple(work.entry))


def is_lost(work: Working) -> bool:
    """Returns whether those who hold units have nothing left.

    Where a redemption of all units was sold, nothing is held any more that could be lost: its account has the rest.
    """
    dealing, units = work.dealing, work.balances.units
    sold = dealing is not UNSET and dealing.side == "redeem" and dealing.units == units and work.is_flat
    return work.equity <= 0 and units > 0 and not sold


def is_over(state: TokenState) -> bool:
    """Returns whether nothing more happens to a token."""
    return state.status in {"wiped", "closed"}
