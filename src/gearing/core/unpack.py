"""Reading a packed token inside compiled code; `pack` says what stands where."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.core.barriers import TERMS
from gearing.core.pack import AIM_TARGET, INF, N_PLAN, N_TERMS, Terms
from gearing.jit import compiled

_FLAT = numba.types.Array(numba.float64, 1, "C")


@compiled(TERMS(_FLAT))
def unpack(flat: NDArray[np.float64]) -> Terms:
    """Returns the terms at the head of a packed token."""
    return Terms(
        flat[0], flat[1], flat[2], flat[3], flat[4], flat[5], flat[6], flat[7], flat[8], flat[9], flat[10], flat[11],
        flat[12], flat[13], flat[14], flat[15], flat[16], flat[17], flat[18], flat[19], flat[20], flat[21], flat[22],
    )  # fmt: skip


@compiled(numba.boolean(_FLAT, TERMS))
def is_plain(flat: NDArray[np.float64], t: Terms) -> bool:
    """Returns whether a token has only unconditional schedules by times and a band, and goes to its target."""
    for k in range(int(t.n_plans)):
        plan = N_TERMS + k * N_PLAN
        if flat[plan] != 0.0 or flat[plan + 1] != 0.0 or flat[plan + 2] != 0.0:
            return False
    still = t.move_up == INF and t.move_down == INF and t.check_ms == 0.0
    simple = t.lot == 0.0 and t.impact == 0.0 and t.n_tiers == 0.0 and t.reduce_only == 0.0
    return still and simple and t.pace_largest == INF and t.ripcord == INF and t.aim_kind == AIM_TARGET
