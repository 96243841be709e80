"""How the desk's process has Python run.

Python looks for cycles of dead objects after every few hundred new ones, and every now and then through all that live.
A desk makes hardly any cycles, and what lives, its tokens and holders, lives on; looking through them again and again
was a fifth of its time, and its longest pauses.

Python runs one thread at a time, and has one that wants to run wait for 5 ms while another does. The writer wants to
before and after each statement, for some microseconds; so with a busy loop, waiting was most of what a commit took.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# New objects before the young are looked through, and rounds of that before the older ones are.
_YOUNG, _ROUNDS = 20_000, 20
# How long a thread that wants to run waits for another one.
_TURN_S = 1e-4


@contextmanager
def of_a_desk() -> Iterator[None]:
    """Has Python look for dead cycles seldom meanwhile, never among what there was before, and take short turns."""
    usual, turn_s = gc.get_threshold(), sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _ROUNDS, _ROUNDS)
    sys.setswitchinterval(_TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(turn_s)
        gc.set_threshold(*usual)
        gc.unfreeze()
