"""The rules of exchanges that issued, or issue, leveraged tokens on their own futures.

Each function takes the signed target leverage and returns the rule for it. A level of leverage that the
issuer stated for one target is scaled in proportion to |β|; a move of the price is never scaled.
"""

from __future__ import annotations

from gearing.core.rule import Condition, Rule, Schedule
from gearing.errors import Problem, SpecError


def scaled(level: float, target: float, stated_for: float) -> float:
    """Returns a level of |ℓ| that was stated for one target, in proportion for another.

    Args:
        level: leverage |ℓ| as the issuer states it.
        target: the signed target leverage wanted.
        stated_for: the |β| that the level was stated for.
    """
    return level * abs(target) / stated_for


def ftx(target: float) -> Rule:
    """FTX from September 2019 on: daily at 00:02 UTC, and at once after a loss.

    The intraday trigger fires when |ℓ| is more than a third above target and then only reduces. (For a
    target between 0 and 1 real leverage rises on gains, so there it is the gaining side that is cut.)

    Source: FTX's help pages "Leveraged Token Walkthrough" and "Leveraged Token FAQ" (the issuer's own
    statement of the time and of leverage a third above target), after the change of rule of 2019-09-24;
    0.1 % to create or redeem and 0.03 % a day. The trigger is a part of the target, so it holds for every
    target: 4 for ±3, 4/3 for −1 (for which the walkthrough speaks of a larger move, about 30 %).
    """
    return Rule(
        name="ftx",
        target=target,
        schedule=(Schedule(times=("00:02",)),),
        band_upper=scaled(4.0, target, 3.0),
        side="reduce",
    )


def ftx_2019(target: float) -> Rule:
    """FTX before September 2019: daily at 00:02 UTC, and at once when a third off target on either side.

    Winners were re-levered within the day, lost on the reversal of 2019-09-24, and the rule was changed.

    Source: FTX's help page "Leveraged Token Walkthrough" for the time and the third. That the third held
    on both sides before the change is an assumption.
    """
    return Rule(name="ftx-2019", target=target, schedule=(Schedule(times=("00:02",)),), deviation=1.0 / 3.0)


def binance_blvt(target: float) -> Rule:
    """Binance leveraged tokens (UP and DOWN): a hidden target, and a trade only outside a band, to its edge.

    The announced band, 1.25 to 4, was never used: the band that explains the prices of ETHUP and ETHDOWN from 2021 to
    2023 best, among those that serve both, is 1.875 to 2.625, traded to its edge (R² of daily returns 0.954 and 0.960;
    1.25 to 4 traded to its edge gives 0.889 and 0.876, to its middle 0.918 and 0.909). The levels are not scaled. A
    target outside widens the band up to it.

    Source: Binance's FAQ "What Are Binance Leveraged Tokens" (the issuer's own statement of the range, which was 1.5 to
    3 at first, and that the target inside it is hidden); 0.01 % a day and 0.1 % each way. The band is a fit, see
    docs/fidelity.md; the issuer moved its target at will, so no fixed levels reproduce it.

    Raises:
        SpecError: |target| is outside 1.25 to 4.
    """
    size = abs(target)
    if not 1.25 <= size <= 4.0:
        expected = "a size from 1.25 to 4, the band of binance-blvt"
        raise SpecError([Problem("target", f"{target:g}", expected, "Take a target inside the band.")])
    return Rule(
        name="binance-blvt",
        target=target,
        band_lower=min(1.875, size),
        band_upper=max(2.625, size),
        aim="edge",
    )


def bybit(target: float) -> Rule:
    """Bybit: no clock; back to target when |ℓ| leaves 2 to 4.

    Source: Bybit's help page "Leveraged Tokens Rebalancing Mechanism" (the issuer's own statement of the
    band for ±3); 0.005 % a day and 0.1 % each way. The levels are stated for |β| = 3 and scaled by |β|/3
    for another.
    """
    return Rule(
        name="bybit",
        target=target,
        band_lower=scaled(2.0, target, 3.0),
        band_upper=scaled(4.0, target, 3.0),
    )


def gate(target: float) -> Rule:
    """Gate since April 2025: daily at 00:00 UTC+8 if something moved, at once beyond 4 or after ±20 %.

    The daily trade is done only if |ℓ| is outside 2 to 4 or the price moved by at least 1 % since the
    last rebalance.

    Source: Gate's help page "ETF Leveraged Token Rebalancing Mechanism" of 2025 (the issuer's own
    statement for ±3); 0.1 % a day covers all costs. The levels are stated for |β| = 3 and scaled by |β|/3
    for another: 3.33 and 6.67 for ±5, where an answer of Gate's speaks of 3.5 and 7.
    """
    lower, upper = scaled(2.0, target, 3.0), scaled(4.0, target, 3.0)
    moved = Condition(band_lower=lower, band_upper=upper, move_against=0.01, move_favour=0.01)
    return Rule(
        name="gate",
        target=target,
        schedule=(Schedule(times=("00:00+08:00",), only_if=moved),),
        band_upper=upper,
        move_against=0.20,
        move_favour=0.20,
    )


def gate_bands(target: float) -> Rule:
    """Gate, the rule without a clock: 12 % against or 20 % in favour; above 3, a band of leverage.

    Up to |β| = 3 the triggers are moves of the price, so they need no scaling: +3 trades at 4.125 and
    2.25, −3 at −5.25 and −1.5. Above 3 it is the band 3.5 to 7, stated for |β| = 5 and scaled by |β|/5.

    Source: Gate's help pages on leveraged tokens for ±3 and ±5; 0.1 % a day covers all costs. The border
    between the two kinds, just above 3, is an assumption.
    """
    if abs(target) <= 3.0:
        return Rule(name="gate-bands", target=target, move_against=0.12, move_favour=0.20)
    return Rule(
        name="gate-bands",
        target=target,
        band_lower=scaled(3.5, target, 5.0),
        band_upper=scaled(7.0, target, 5.0),
    )


def kucoin(target: float) -> Rule:
    """KuCoin: daily at 23:30 UTC, and at once after a move of 15 % on the losing side.

    Source: KuCoin's help page "Rebalancing Mechanism of KuCoin Leveraged Tokens" (the issuer's own
    statement for ±3) and its page on leveraged tokens (0.05 % a day and 0.1 % each way). The move is a
    fraction of the price and is not scaled.
    """
    return _daily_and_losing_move("kucoin", target, "23:30")


def mexc(target: float) -> Rule:
    """MEXC: daily at 16:00 UTC, and at once after a move of 15 % on the losing side.

    Source: MEXC's blog "The Rebalancing Mechanism of ETF Product" (the issuer's own statement for ±3) and
    "The pricing mechanism and rates of ETF product" (0.001 % a day). The move is a fraction of the price
    and is not scaled.
    """
    return _daily_and_losing_move("mexc", target, "16:00")


def _daily_and_losing_move(name: str, target: float, time: str) -> Rule:
    # Both moves are given and the side decides: it is a loss that raises |ℓ| beyond ±1, a gain below.
    return Rule(
        name=name,
        target=target,
        schedule=(Schedule(times=(time,)),),
        move_against=0.15,
        move_favour=0.15,
        side="reduce",
    )


def htx(target: float) -> Rule:
    """HTX (once Huobi): daily at 16:00 UTC, and at once when |ℓ| is above 4.

    Source: HTX's help pages on leveraged tokens for the trigger; the time of day and 0.03 % a day are
    from memory. The level is stated for |β| = 3 and scaled by |β|/3 for another (4/3 for −1).
    """
    return Rule(
        name="htx",
        target=target,
        schedule=(Schedule(times=("16:00",)),),
        band_upper=scaled(4.0, target, 3.0),
    )


def pionex(target: float) -> Rule:
    """Pionex: no clock; back to target when |ℓ| leaves 1.6 to 3.5 (for a target of 2).

    Source: Pionex's help pages on leveraged tokens for the band of 2L; 0.03 % a day is from memory. The
    levels are stated for |β| = 2 and scaled by |β|/2 for another, which for ±3 is an assumption.
    """
    return Rule(
        name="pionex",
        target=target,
        band_lower=scaled(1.6, target, 2.0),
        band_upper=scaled(3.5, target, 2.0),
    )
