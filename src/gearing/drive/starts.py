"""When scheduled rebalances really start: some time after they are stated, by a secret that only the desk has. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from msgspec import UNSET, UnsetType

_BITS = 64


class Starts:
    """Draws the delay of each token and UTC day: the same again for whoever has the secret, unknown to anyone else.

    Args:
        secret: the database's.
        windows_ms: within how long after its stated time a start falls, by token; a token that is missing has none.

    Source: HMAC-SHA256 of RFC 2104, keyed with the secret, over the token and the day; its first 64 bits as a
    fraction of the window.
    """

    def __init__(self, secret: str = "", windows_ms: Mapping[str, int] | None = None) -> None:
        self._secret, self._windows_ms = secret.encode(), dict(windows_ms or {})

    def salt(self, token: str, number: int) -> str:
        """Returns 32 hex digits that only the desk knows, for a flow of a token."""
        return hmac.new(self._secret, f"{token}\nflow {number}".encode(), hashlib.sha256).hexdigest()[:32]

    def has_window(self, token: str) -> bool:
        """Returns whether a token's starts are put off at all."""
        return self._windows_ms.get(token, 0) > 0

    def delays_ms(self, token: str, day: int) -> tuple[int, int] | UnsetType:
        """Returns the delays of the day before and of a day; unset: its starts are not put off."""
        if not self.has_window(token):
            return UNSET
        return self.delay_ms(token, day - 1), self.delay_ms(token, day)

    def delay_ms(self, token: str, day: int) -> int:
        """Returns the delay of a token's starts on a day, in [0, window).

        Args:
            token: its symbol.
            day: counted from 1970-01-01, UTC.
        """
        window_ms = self._windows_ms.get(token, 0)
        digest = hmac.new(self._secret, f"{token}\n{day}".encode(), hashlib.sha256).digest()
        return int.from_bytes(digest[: _BITS // 8]) * window_ms >> _BITS
