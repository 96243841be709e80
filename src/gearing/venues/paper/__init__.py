"""The paper exchange: a venue with invented money, real rules, and every fault that a real one has.

`PaperExchange` is all of it without I/O but its file; `PaperVenue` (through a `Hub`) is an account of it in this
process, `PaperClient` one of an exchange in another process, `python -m gearing.venues.paper`.
"""

from gearing.venues.paper.client import PaperClient
from gearing.venues.paper.engine import Engine
from gearing.venues.paper.exchange import PaperExchange
from gearing.venues.paper.file import PaperFile
from gearing.venues.paper.records import Rate
from gearing.venues.paper.setup import Faults, Latency, Listing, Setup, listed
from gearing.venues.paper.venue import Hub, PaperVenue

__all__ = [
    "Engine",
    "Faults",
    "Hub",
    "Latency",
    "Listing",
    "PaperClient",
    "PaperExchange",
    "PaperFile",
    "PaperVenue",
    "Rate",
    "Setup",
    "listed",
]
