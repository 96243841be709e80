"""What holders ask of the desk that the crash harness kills: they come, go, meet each other, and are refused."""

from __future__ import annotations

from gearing.core.dealing import Side
from gearing.core.money import MINOR
from gearing.desk.requests import Cancel, Deal, HandOn, Pay

Asked = Pay | Deal | Cancel | HandOn


def asked(step: int) -> tuple[tuple[str, Asked], ...]:
    """Returns what is asked at a step, in order, each under the key that the inbox knows it by."""
    wanted = _ASKED[step] if step < len(_ASKED) else ()
    return tuple((_key(one, f"{step}.{number}"), one) for number, one in enumerate(wanted))


def _key(wanted: Asked, key: str) -> str:
    """Returns a request's key; money and transfers have their reference for one, as at the command line."""
    match wanted:
        case Pay():
            return f"pay:{wanted.reference}"
        case HandOn():
            return f"transfer:{wanted.reference}"
    return key


def _pays(holder: str, amount: int, reference: str) -> Pay:
    return Pay(holder=holder, asset="USDT", amount=amount * MINOR, reference=reference, by="ann")


def _deals(holder: str, token: str, side: Side, amount: int) -> Deal:
    return Deal(holder=holder, token=token, side=side, amount=amount * MINOR)


_ASKED: tuple[tuple[Asked, ...], ...] = (
    (  # the first ones come, between two slices of the opening
        _pays("h1", 300_000, "D1"),
        _pays("h2", 200_000, "D2"),
        _deals("h1", "T0", "subscribe", 120_000),
        _deals("h2", "T1", "subscribe", 90_000),
    ),
    (  # those who meet in T0, and somebody who thinks better of it
        _deals("h1", "T0", "redeem", 400),
        _deals("h2", "T0", "subscribe", 20_000),
        _pays("h3", 60_000, "D3"),
        _deals("h3", "T1", "subscribe", 30_000),
        Cancel(holder="h3", id="h3.1"),
        _deals("h3", "T1", "subscribe", 12_345),
    ),
    (  # all go out; what nobody has is refused
        _deals("h2", "T1", "redeem", 500),
        _deals("issuer", "T0", "redeem", 1_000),
        _deals("h3", "T0", "redeem", 5),
        HandOn(holder="h1", other="h3", token="T0", amount=50 * MINOR, reference="G1"),
        HandOn(holder="h2", other="h3", asset="USDT", amount=5_000 * MINOR, reference="G2"),
    ),
    (  # the same deposit again, which counts once
        _pays("h3", 60_000, "D3"),
        _deals("h3", "T0", "redeem", 50),
        _deals("h1", "T1", "subscribe", 45_000),
        _pays("h1", -10_000, "W1"),
        _pays("h1", -10_000_000, "W2"),
    ),
    (_deals("h2", "T0", "subscribe", 60_000), _deals("h1", "T1", "redeem", 100)),
    (_deals("h1", "T0", "redeem", 300), _deals("h3", "T0", "subscribe", 6_000), _deals("h3", "T1", "redeem", 20)),
)
