"""The issuers' products as one shelf, `gr.presets`: whole tokens, and the rules and fees they are made of."""

from __future__ import annotations

from gearing.core.fees import Costs, Fees, Limits
from gearing.core.instruments import Leg, Perpetual
from gearing.core.presets import PRESETS, checked_target, names, preset
from gearing.core.presets import fees as issuer_fees
from gearing.core.token import Token

fees = issuer_fees

__all__ = ["PRESETS", "fees", "names", "preset", "token"]


def token(
    issuer: str,
    underlying: str,
    target: float,
    *,
    symbol: str | None = None,
    name: str | None = None,
    fees: Fees | None = None,
    costs: Costs | None = None,
    legs: tuple[Leg, ...] | None = None,
    limits: Limits | None = None,
    settlement: str = "USDT",
    initial_nav: float = 100.0,
) -> Token:
    """Returns a whole token as an issuer would specify it: "ftx", "BTC", 3 is BTC3L with FTX's fees.

    Args:
        issuer: a preset's name, such as "ftx".
        underlying: such as "BTC".
        target: signed target leverage, 0 < |β| ≤ 20.
        symbol: in place of the one made of underlying, size and L or S.
        name: in place of the one made of the same.
        fees: in place of the issuer's.
        costs: what trading costs in a study; none unless given.
        legs: what the portfolio holds; one linear perpetual unless given.
        limits: bounds for the desk.
        settlement: the currency that NAV is counted in.
        initial_nav: NAV of the first unit, in settlement currency.

    Raises:
        SpecError: there is no such preset, it does not serve this target, or a value is wrong.
    """
    rule = preset(issuer, target=target, underlying=underlying)
    beta = checked_target(target)
    size, direction = f"{abs(beta):g}", "long" if beta > 0 else "short"
    return Token(
        symbol=f"{underlying}{size}{direction[0].upper()}" if symbol is None else symbol,
        name=f"{underlying} {size}x {direction}" if name is None else name,
        target=beta,
        # The name alone would stand for the rule of the default underlying, so another one is spelt out.
        rule=issuer if rule == preset(issuer, target=beta) else rule,
        fees=issuer_fees(issuer) if fees is None else fees,
        costs=Costs() if costs is None else costs,
        legs=(Perpetual(),) if legs is None else legs,
        limits=Limits() if limits is None else limits,
        settlement=settlement,
        initial_nav=initial_nav,
    )
