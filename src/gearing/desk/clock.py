"""The desk's clock: the time of its market, which in a demo runs faster than the world's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the desk knows of time."""

    def now_ms(self) -> int:
        """Returns the market's time, ms UTC."""
        ...

    def wall_time(self, time_ms: int) -> datetime:
        """Returns when the market's time will be this, on the world's clock in UTC."""
        ...

    async def sleep_ms(self, length_ms: float) -> None:
        """Waits so long in the market's time."""
        ...

    async def sleep_or(self, event: asyncio.Event, length_ms: float) -> None:
        """Waits for an event, at most so long in the market's time; that the time has ended may set the event."""
        ...


class ScaledClock:
    """A clock that runs `speed` times as fast as the event loop's, from a moment on.

    Args:
        start_ms: the market's time now.
        speed: market seconds per second.
    """

    def __init__(self, start_ms: int, speed: float = 1.0) -> None:
        self._start_ms, self.speed = start_ms, speed
        self._began = asyncio.get_running_loop().time()

    def now_ms(self) -> int:
        """Returns the market's time, ms UTC."""
        passed = asyncio.get_running_loop().time() - self._began
        return self._start_ms + int(passed * 1000.0 * self.speed)

    def wall_time(self, time_ms: int) -> datetime:
        """Returns when the market's time will be this, on the world's clock in UTC."""
        return datetime.now(UTC) + timedelta(milliseconds=(time_ms - self.now_ms()) / self.speed)

    async def sleep_ms(self, length_ms: float) -> None:
        """Waits so long in the market's time."""
        await asyncio.sleep(max(length_ms, 0.0) / 1000.0 / self.speed)

    async def sleep_or(self, event: asyncio.Event, length_ms: float) -> None:
        """Waits for an event, at most so long in the market's time; the time's end sets it."""
        length_s = max(length_ms, 0.0) / 1000.0 / self.speed
        timer = asyncio.get_running_loop().call_later(length_s, event.set)
        try:
            await event.wait()
        finally:
            timer.cancel()
