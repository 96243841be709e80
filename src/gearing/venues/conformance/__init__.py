"""The cards that every venue has to pass: numbered, one behaviour each, played on a small account of one's own."""

from gearing.venues.conformance import money, orders, streams
from gearing.venues.conformance.deck import DECK, Card, play, play_all
from gearing.venues.conformance.stage import Stage, Verdict

__all__ = ["DECK", "Card", "Stage", "Verdict", "money", "orders", "play", "play_all", "streams"]
