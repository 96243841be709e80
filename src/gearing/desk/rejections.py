"""A command that raises, wherever it does, is rejected; it is never the end of the desk that was asked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from gearing.desk.engine import Engine
from gearing.desk.requests import Answered
from gearing.errors import GearingError
from gearing.store.records import Request

LOG = logging.getLogger("gearing.desk")

Taken = TypeVar("Taken", Answered, Answered | None)
"""What a command comes to: its answer, or None while it waits."""


def or_rejected(engine: Engine, request: Request, work: Callable[[], Taken]) -> Taken | Answered:
    """Runs work on a command and returns what it comes to; whatever it raises is the command's rejection.

    Args:
        engine: whose driver the work changes, whole or not at all.
        request: the command.
        work: on it.
    """
    now_ms = engine.clock.now_ms()
    try:
        return work()
    except GearingError as error:
        return Answered(done=False, words=str(error), time_ms=now_ms)
    except Exception as error:  # one command must not stop the desk
        LOG.exception("a command failed: %r", request.body)
        words = f"{type(error).__name__}: {error}"
        engine.driver.effects.alarms.append(
            f"internal error in a command of {request.principal}, which was rejected and changed nothing: {words}"
        )
        return Answered(done=False, words=f"Internal error ({words}). Nothing was changed. Report it to the operator "
                        "of the desk, with the command.", time_ms=now_ms)  # fmt: skip
