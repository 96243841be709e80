"""Inputs that cannot be processed: each is stepped whole or not at all, and one that fails is set aside.

Nothing that the venue, the market or a holder sends may stop a desk. An input whose processing raises is undone,
journalled in its book with the error, and reported; the book is halted until a person resumes it, and the same input is
not processed again before that. Other books are not concerned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from gearing.core import book as bk
from gearing.drive.running import Book

if TYPE_CHECKING:
    from gearing.drive.driver import Driver

Handler = TypeVar("Handler", bound=Callable[..., None])

_BODY_MAX, _ERROR_MAX = 4_000, 400
_encode = msgspec.json.Encoder(order="deterministic", enc_hook=repr).encode


def isolated(handler: Handler) -> Handler:
    """Makes a handler of what a venue says of a book safe: what it raises sets the input aside."""

    @wraps(handler)
    def take(driver: Driver, book: Book, said: object, *args: Any, **kwargs: Any) -> None:
        run_isolated(driver, book, handler.__name__.removeprefix("on_"), said,
                     lambda: handler(driver, book, said, *args, **kwargs))  # fmt: skip

    return cast("Handler", take)


def run_isolated(
    driver: Driver, book: Book, source: str, said: object, work: Callable[[], object], *, retries: bool = False
) -> bool:
    """Runs work on an input whole or not at all; one that fails is set aside. Returns whether it was processed.

    Args:
        driver: that runs the book.
        book: whose input it is.
        source: what kind of input it is, such as "trade".
        said: the input.
        work: processes it.
        retries: whether an input that failed is processed again, such as the next price of the same token.
    """
    failed = is_set_aside(book, source, said)
    if failed and not retries:
        return False
    try:
        driver.atomically(work)
    except Exception as error:
        if not failed:
            set_aside(driver, book, source, said, error)
        return False
    return True


def is_set_aside(book: Book, source: str, said: object) -> bool:
    """Returns whether an input failed since its book was last resumed."""
    failures = book.state.failures
    return failures is not msgspec.UNSET and input_digest(source, said) in failures


def set_aside(driver: Driver, book: Book, source: str, said: object, error: Exception) -> None:
    """Journals an input that could not be processed, halts its book, and reports it."""
    digest, words = input_digest(source, said), f"{type(error).__name__}: {error}"[:_ERROR_MAX]
    body = _encode(said).decode(errors="replace")[:_BODY_MAX]
    driver.note(book, bk.InputFailed(time_ms=max(driver.market.now_ms, 0), source=source, digest=digest, input=body,
                                     error=words))  # fmt: skip
    driver.effects.alarms.append(
        f"{book.name}: halted, since a {source} could not be processed ({words}). Nothing of it was booked and other "
        f"books go on. Look into the cause, then resume a token of this book; the input is then processed once more"
    )


def input_digest(source: str, said: object) -> str:
    """Returns what identifies an input among those of its book that failed: 32 hex digits."""
    return hashlib.sha256(source.encode() + b"\n" + _encode(said)).hexdigest()[:32]
