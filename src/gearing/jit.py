"""Compilation: one decorator, and a cache that notices an edit in any compiled source.

Numba checks only the file a cached function stands in, so an edited formula in another file would
leave a stale kernel behind. Here the cache directory carries a hash over every source of `core` and
`kernels`; an edit anywhere gives a new directory.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

_ROOMS = ("core", "kernels")


def source_hash(package: Path) -> str:
    """Returns 16 hex digits over every compiled source below `package`, its place and the versions that matter."""
    # Numba names a cached function by the place of its source, so another place is another compilation.
    digest = hashlib.sha256(f"{sys.version_info} {numba.__version__} {package.resolve()}".encode())
    for source in [package / "jit.py", *(file for room in _ROOMS for file in sorted((package / room).rglob("*.py")))]:
        digest.update(source.relative_to(package).as_posix().encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@cache
def cache_directory() -> Path:
    """Returns where compiled kernels of exactly these sources are kept (made if absent).

    `GEARING_CACHE` names another place; where neither can be written, a temporary one serves.
    """
    home = os.environ.get("GEARING_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "gearing"
    )
    place = Path(home) / "kernels" / source_hash(Path(__file__).parent)
    try:
        place.mkdir(parents=True, exist_ok=True)
        probe = place / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        place = Path(tempfile.mkdtemp(prefix="gearing-kernels-"))
    return place


def is_compiled(part: str = "complete") -> bool:
    """Returns whether a finished compilation of these sources, or of one part of them, is already on disk."""
    return (cache_directory() / part).exists()


def mark_compiled(part: str = "complete") -> None:
    """Records that the kernels of these sources, or of one part of them, are on disk."""
    (cache_directory() / part).touch()


# No reference counting: kernels allocate nothing, and counting array references at every wake-up cost five
# times the wake-up itself. Always inlined, because a price series is dozens of machine words to pass.
_OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "nogil": True, "forceinline": True, "_nrt": False}


def compiled(signature: str | Any, *, fastmath: set[str] | bool = False) -> Callable[[F], F]:
    """Compiles a function to machine code for exactly one signature, cached on disk, without the GIL.

    The signature is explicit because lazily specialised integers overflow silently. Compiled functions may
    not allocate. `fastmath` names the relaxations that are harmless in this function, such as
    {"nnan", "nsz"} for minima of finite prices.
    """
    config: Any = numba.config

    def decorate(function: F) -> F:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(cache_directory())
        try:
            return cast(F, numba.njit(signature, fastmath=fastmath, **_OPTIONS)(function))
        finally:
            config.CACHE_DIR = before

    return decorate
