"""The rules of issuers on a chain, who lever through lending or swap venues, and of listed funds."""

from __future__ import annotations

from gearing.core.presets.exchanges import scaled
from gearing.core.rule import Condition, Pace, Rule, Schedule


def fli(target: float) -> Rule:
    """Index Coop's Flexible Leverage Index (ETH2x-FLI): recentering every 24 hours, within 1.7 to 2.3.

    Each rebalance goes a twentieth of the way back to target and into the band; above 2.7 the ripcord
    reduces to the band's edge at once.

    Source: Index Coop's FLI methodology (the issuer's own statement of the band, the speed, 24 hours,
    1.95 % a year and 0.1 % each way). It trades in slices; 1,000,000 in settlement currency a minute is
    an assumption. The levels are stated for |β| = 2 and scaled by |β|/2 for another.
    """
    return Rule(
        name="fli",
        target=target,
        schedule=(Schedule(every="24h"),),
        band_lower=scaled(1.7, target, 2.0),
        band_upper=scaled(2.3, target, 2.0),
        aim="recentering",
        recentering_speed=0.05,
        pace=Pace(largest=1_000_000.0, interval="1m"),
        ripcord=scaled(2.7, target, 2.0),
    )


def index_2x(target: float, underlying: str = "ETH") -> Rule:
    """Index Coop's 2x tokens: recentering every 24 hours, within a band that depends on the underlying.

    ETH: 1.74 to 2.30, which also stands in for any other underlying; BTC: 1.82 to 2.20.

    Source: Index Coop's pages on its 2x tokens (the issuer's own statement of 3.65 % a year and 0.1 %
    each way, and that the lower level is the target's square over the upper one). The clock and the
    recentering speed of 0.05 are assumptions: they are FLI's, and later pages speak of rebalancing only
    outside the band. The levels are stated for |β| = 2 and scaled by |β|/2 for another.
    """
    lower, upper = (1.82, 2.20) if underlying.upper() == "BTC" else (1.74, 2.30)
    return Rule(
        name="index-2x",
        target=target,
        schedule=(Schedule(every="24h"),),
        band_lower=scaled(lower, target, 2.0),
        band_upper=scaled(upper, target, 2.0),
        aim="recentering",
        recentering_speed=0.05,
    )


def tlx(target: float) -> Rule:
    """TLX: no clock; back to target when real leverage is more than 25 % of target away from it.

    Source: TLX's documentation; 2 % a year on exposure. The threshold is set per token; 25 % is the
    default. For another, replace `deviation` in the rule.
    """
    return Rule(name="tlx", target=target, deviation=0.25)


def toros(target: float) -> Rule:
    """Toros: no clock; back to target when |ℓ| leaves 2.8 to 3.2 (for 3) or 1.8 to 2.2 (for 2).

    Source: Toros's pages on its leveraged tokens (the issuer's own statement of the bands); 0.2 % a trade
    is taken here as 0.2 % to create and 0.2 % to redeem. The trade back to target is an assumption: its
    page on the 2x token speaks of the edge of the band. For any |β| other than 3 the levels of 2 are
    scaled by |β|/2, which for −1 is an assumption.
    """
    if abs(target) == 3.0:
        return Rule(name="toros", target=target, band_lower=2.8, band_upper=3.2)
    return Rule(
        name="toros",
        target=target,
        band_lower=scaled(1.8, target, 2.0),
        band_upper=scaled(2.2, target, 2.0),
    )


def seamless(target: float) -> Rule:
    """Seamless leverage tokens: every hour, if the collateral ratio has left 1.9901 to 2.0001.

    A collateral ratio c (collateral / debt) is a leverage of c/(c − 1), so the band of |ℓ| is 1.9999 to
    2.0100 for a target of 2. The trade is really offered in a Dutch auction whose price falls from 1.01
    to 0.999 of the oracle's; here it is done at the price of the hour, at the token's own costs.

    Source: Seamless's documentation and contracts for the ratios and the auction; 0.1 % to redeem. That
    an auction is taken up within its hour is an assumption. The levels are stated for |β| = 2 and scaled
    by |β|/2 for another.
    """
    above, below = 1.9901 / (1.9901 - 1.0), 2.0001 / (2.0001 - 1.0)
    outside = Condition(band_lower=scaled(below, target, 2.0), band_upper=scaled(above, target, 2.0))
    hours = tuple(f"{hour:02d}:00" for hour in range(24))
    return Rule(name="seamless", target=target, schedule=(Schedule(times=hours, only_if=outside),))


def daily_etf(target: float) -> Rule:
    """A listed leveraged fund: back to target at every daily close.

    The close is 00:00 UTC; on a series of daily bars that is each bar.

    Source: prospectuses of daily leveraged funds, which state a multiple of one day's return (the
    issuers' own statement); 0.95 % a year is the usual fee. The swap's financing is not part of the rule
    and is not charged.
    """
    return Rule(name="daily-etf", target=target, schedule=(Schedule(times=("00:00",)),))
