"""Whether the venue still counts and trades a token's instruments as its ledger does. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from gearing.core.state import TokenState
from gearing.venues.protocol import InstrumentRules


class Finding(NamedTuple):
    """What is wrong with a token's instruments.

    Args:
        action: "book" stops every order of the account, since its sizes can no longer be told; "token" halts the
            token; "alarm" tells a person.
        words: what it is.
    """

    action: Literal["book", "token", "alarm"]
    words: str


def findings(
    symbols: tuple[str, ...],
    asset: str,
    state: TokenState,
    rules: Iterable[InstrumentRules],
    now_ms: int,
    leaves_ms: Mapping[str, int],
) -> list[Finding]:
    """Returns what a token's instruments have become, as far as it concerns a token that may trade or holds something.

    Args:
        symbols, asset: of the token's legs, and what they settle in.
        state: the token.
        rules: of every instrument of the venue.
        now_ms: the time.
        leaves_ms: when contracts are left for the next one of their chain; that they end later is no news.
    """
    if state.status in {"draft", "closed", "wiped"} and state.is_flat:
        return []
    listed = {rule.symbol: rule for rule in rules}
    found: list[Finding] = []
    for symbol, leg in zip(symbols, state.legs, strict=True):
        rule = listed.get(symbol)
        if rule is None:
            found.append(Finding("token", f"the venue lists no {symbol}"))
        elif Decimal(rule.lot) != leg.lot_size:
            words = f"the venue counts {symbol} in lots of {rule.lot}, the ledger in lots of {leg.lot}"
            found.append(Finding("book", words))
        elif rule.asset != asset:
            found.append(Finding("book", f"{symbol} settles in {rule.asset} at the venue, in {asset} here"))
        elif 0 < rule.delisted_ms <= now_ms:
            found.append(Finding("token", f"trading in {symbol} has ended"))
        elif rule.delisted_ms and leaves_ms.get(symbol, rule.delisted_ms) >= rule.delisted_ms:
            ends = datetime.fromtimestamp(rule.delisted_ms / 1000, UTC)
            found.append(Finding("alarm", f"trading in {symbol} ends {ends:%Y-%m-%d %H:%M} UTC"))
    return found
