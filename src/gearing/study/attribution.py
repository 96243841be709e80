"""The attribution of a run, as people read it: the core's ledger per unit, in log and in money."""

from __future__ import annotations

import math

import msgspec
import polars as pl

from gearing.core.attribution import LOG, MONEY, N_PARTS, PARTS
from gearing.core.record import Record
from gearing.kernels.pyramid import Floats


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a result; their sum is the whole.

    Args:
        leverage: β times the underlying's log return.
        variance_drag: −β(β−1)/2 times realised variance from rebalance to rebalance.
        timing: what real leverage did away from its target.
        basis: β times what the contract made beyond the underlying, rolls included.
        funding: settlements received (negative: paid).
        financing: of swaps: the reference rate and the spread.
        cash_interest: what idle cash earned.
        dividends: of the underlying, received by longs and paid by shorts.
        management_fee: the issuer's fee.
        commission: the venue's taker fee.
        spread: half spreads paid.
        impact: spread widened by the trades' own size.
        liquidation: the venue's charges on a forced close.
        gap: what was lost in the move that wiped the token out (money only).
    """

    leverage: float
    variance_drag: float
    timing: float
    basis: float
    funding: float
    financing: float
    cash_interest: float
    dividends: float
    management_fee: float
    commission: float
    spread: float
    impact: float
    liquidation: float
    gap: float

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return math.fsum(getattr(self, name) for name in PARTS)

    def items(self) -> list[tuple[str, float]]:
        """Returns (name, amount) of each part, in their order."""
        return [(name, getattr(self, name)) for name in PARTS]


class Attribution(Record, frozen=True, kw_only=True):
    """Where a result came from; the parts sum to it exactly.

    Args:
        money: parts in settlement currency per unit; they sum to final NAV − initial NAV.
        log: parts of ln(final NAV / initial NAV); None after a wipe-out, where that is −∞.

    Source: formula of continuous rebalancing (Avellaneda & Zhang 2010), accumulated posting by posting.
    """

    money: Parts
    log: Parts | None

    @property
    def frame(self) -> pl.DataFrame:
        """A frame with one row per part: part, log, money."""
        log = [None] * N_PARTS if self.log is None else [amount for _, amount in self.log.items()]
        return pl.DataFrame(
            {"part": PARTS, "log": log, "money": [amount for _, amount in self.money.items()]},
            schema={"part": pl.String, "log": pl.Float64, "money": pl.Float64},
        )

    def __repr__(self) -> str:
        source = self.money if self.log is None else self.log
        shown = ", ".join(f"{name} {amount:+.4f}" for name, amount in source.items() if abs(amount) > 5e-5)
        return f"Attribution({'money' if self.log is None else 'log'} {source.total:+.4f}: {shown})"


def attribution_of(ledger: Floats, units: float, wiped_out: bool) -> Attribution:
    """Returns the attribution held in a run's ledger.

    Args:
        ledger: see `core.attribution`.
        units: units outstanding.
        wiped_out: whether the run ended at zero.
    """
    # Adding +0.0 turns a −0.0 into 0.0, which reads better.
    log = ledger[LOG : LOG + N_PARTS] + 0.0
    money = ledger[MONEY : MONEY + N_PARTS] / units + 0.0
    parts = Parts(**dict(zip(PARTS, log.tolist(), strict=True)))
    return Attribution(money=Parts(**dict(zip(PARTS, money.tolist(), strict=True))), log=None if wiped_out else parts)
