"""Rules and fees in plain words, and the moves of the price at which a rule acts."""

from gearing.core.words.barriers import BarrierMove, barrier_moves, leverage_after, move_to
from gearing.core.words.fees import FeeRates, cost_words, fee_headline, fee_rates, fee_words, merger_words
from gearing.core.words.sentences import describe, headline
from gearing.numerals import level_text, number, percent

__all__ = [
    "BarrierMove",
    "FeeRates",
    "barrier_moves",
    "cost_words",
    "describe",
    "fee_headline",
    "fee_rates",
    "fee_words",
    "headline",
    "level_text",
    "leverage_after",
    "merger_words",
    "move_to",
    "number",
    "percent",
]
