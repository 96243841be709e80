"""How the desk's process keeps its memory.

Python looks for cycles of dead objects after every few hundred new ones, and every now and then through all that live.
A desk makes hardly any cycles, and what lives, its tokens and holders, lives on; looking through them again and again
was a fifth of its time, and its longest pauses.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# New objects before the young are looked through, and rounds of that before the older ones are.
_YOUNG, _ROUNDS = 20_000, 20


@contextmanager
def looking_seldom() -> Iterator[None]:
    """Has Python look for dead cycles seldom meanwhile, and never among what there is at the start."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _ROUNDS, _ROUNDS)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
