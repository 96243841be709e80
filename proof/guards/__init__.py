"""Every guard: what it guards, the text that removes it, and the test that then has to fail."""

from __future__ import annotations

from proof.guards.adopting import ADOPTING
from proof.guards.anchor import ANCHOR, FORMER, TABLES
from proof.guards.books import BOOKS, SETTINGS, STORES
from proof.guards.boot import BOOT
from proof.guards.fair import FAIR
from proof.guards.fairness import CAUSES, SETTLEMENTS, STRANDED, WHOLE
from proof.guards.guard import Guard
from proof.guards.holders import FLOWS, OFFICE, PUBLIC, SHARED
from proof.guards.late import LATE
from proof.guards.one_desk import ONE_DESK
from proof.guards.outputs import OUTPUTS
from proof.guards.prices import ORDERS, PRICES, REBALANCES, ROLLS, STARTS
from proof.guards.reading import READING
from proof.guards.rejections import REJECTIONS
from proof.guards.shares import SHARES
from proof.guards.storage import STORAGE
from proof.guards.waiting import WAITING
from proof.guards.windows import WINDOWS

GUARDS = (
    *ADOPTING,
    *ANCHOR,
    *TABLES,
    *FORMER,
    *OFFICE,
    *CAUSES,
    *FAIR,
    *WINDOWS,
    *SETTLEMENTS,
    *STRANDED,
    *WHOLE,
    *SHARED,
    *FLOWS,
    *PRICES,
    *ORDERS,
    *REBALANCES,
    *ROLLS,
    *BOOKS,
    *STORES,
    *STORAGE,
    *SETTINGS,
    *STARTS,
    *BOOT,
    *READING,
    *REJECTIONS,
    *PUBLIC,
    *OUTPUTS,
    *ONE_DESK,
    *SHARES,
    *LATE,
    *WAITING,
)

__all__ = ["GUARDS", "Guard"]
