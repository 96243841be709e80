"""Loading what is heavy: quickly, and with a word to a person while the engine compiles the first time."""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
from collections.abc import Iterator

import typer

from gearing.cli.output import console

# The marks of the kernel that few tokens need, and of the rules without any kernel, which are all a desk needs.
_LEGS, _RULES = "complete-legs", "complete-rules"

_MESSAGE = "Compiling the engine for this machine (once, about 20 s)…"
_RULES_MESSAGE = "Compiling the rules for this machine (once, about 15 s)…"


def ensure_compiled(*, legs: bool = False) -> None:
    """Loads the compiled engine; the first time on a machine it says what takes so long.

    Args:
        legs: whether the kernel for tokens of any legs is needed too.
    """
    with loading():
        from gearing import jit

        missing = not jit.is_compiled() or (legs and not jit.is_compiled(_LEGS))
        with _waiting(_MESSAGE) if missing else contextlib.nullcontext():
            _load(legs=legs)
    if missing:
        # Where the mark cannot be left, the message comes again, and nothing else is lost.
        with contextlib.suppress(OSError):
            jit.mark_compiled()
            if legs:
                jit.mark_compiled(_LEGS)


@contextlib.contextmanager
def loading_desk() -> Iterator[None]:
    """Imports of a desk inside it run as in `loading`; the first time on a machine it says what takes so long."""
    with loading():
        from gearing import jit

        missing = not jit.is_compiled() and not jit.is_compiled(_RULES)
        with _waiting(_RULES_MESSAGE) if missing else contextlib.nullcontext():
            yield
    if missing:
        with contextlib.suppress(OSError):
            jit.mark_compiled(_RULES)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Imports inside it run without the garbage collector.

    Half a million objects are made and none is garbage: looking for it takes a quarter of a cold start,
    and once more as long when the interpreter ends.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
        atexit.unregister(gc.freeze)
        atexit.register(gc.freeze)


def _load(*, legs: bool) -> None:
    # Every function names its signature, so importing these modules compiles all there is.
    import gearing.kernels.many
    import gearing.kernels.nearest
    import gearing.kernels.one

    if legs:
        import gearing.kernels.legs_run  # noqa: F401


@contextlib.contextmanager
def _waiting(message: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        typer.echo(message, err=True)
        yield
        return
    with console(stderr=True).status(message):
        yield
