"""Guards of adoption: what an operator takes over of the venue's statement, and nothing else."""

from __future__ import annotations

from proof.guards.guard import Guard

_ADOPTING = "drive/adopting.py"
_STEP = "core/step.py"
_AGREE = "test_adopting::test_after_an_adoption_ledger_and_venue_agree_and_the_book_trades"
_WHOLE = "test_adopting::test_an_adoption_that_cannot_be_is_rejected_whole_and_says_why"
_NAMED = "test_adopting::test_an_adoption_names_somebody_and_waits_for_orders"

ADOPTING = (
    Guard("A1 only what was seen is adopted", _ADOPTING,
          "        (one.what, one.name, one.venue - one.ledger) for one in seen\n    }:",
          "        (one.what, one.name, one.venue - one.ledger) for one in found\n    }:",
          "test_adopting::test_nothing_is_adopted_but_what_was_seen"),
    Guard("A1 nothing while orders are under way", _ADOPTING, "    if book.state.live:", "    if False:", _NAMED),
    Guard("A1 a statement has been read", _ADOPTING, "    if book.statement is None:\n        raise",
          "    if book.statement is None:\n        return ()\n    if False:\n        raise", _WHOLE),
    Guard("A1 where ledger and venue agree there is nothing", _ADOPTING, "    if not found:", "    if False:", _WHOLE),
    Guard("A2 the trades' cost is no cash that differs", _ADOPTING,
          "value_of(n, taker.leg.lot_size, price(one.name), CEILING)", "0", _AGREE),
    Guard("A2 the reserve has the money", _ADOPTING, "        if has + amount < 0:", "        if False:", _WHOLE),
    Guard("A2 a token keeps some equity", _STEP,
          '        raise StepError("it would have no equity left")', "        pass", _WHOLE),
    Guard("A2 only tokens that were named take anything", _ADOPTING, "if it.running in mine and can_take(",
          "if can_take(", _WHOLE),
    Guard("A2 a token that is over takes no position", _ADOPTING,
          " and not is_over(state)))", "))",
          "test_adopting::test_a_token_that_is_over_takes_nothing"),
    Guard("A2 a position is booked at a good price", _ADOPTING,
          'if driver.market.prices(running.symbols, now_ms) is None:', 'if False:',
          "test_adopting::test_positions_are_adopted_at_a_good_price_only"),
    Guard("A2 an adoption of a token needs a name and a reason", _STEP,
          '        raise StepError("an adoption needs a name and a reason")', "        pass", _NAMED),
    Guard("A2 a token that trades adopts nothing", _STEP,
          '        raise StepError("it is trading; nothing is adopted meanwhile")', "        pass", _NAMED),
    Guard("A2 an adoption of a book needs a name and a reason", "core/book.py",
          "    if not (event.differences and event.by and event.reason):", "    if False:", _NAMED),
    Guard("A3 the reserve's part is no holder's", _ADOPTING, "    given = _given(cash, mine) if bearers else {}",
          "    given = _given(cash, mine)", _AGREE),
    Guard("A3 a token that is left with nothing opens anew", _STEP,
          "work.finished(opened=_stays_open(work))", "work.finished()", _AGREE),
    Guard('A3 a token that rolls goes on with that', _STEP,
          '(work.state.is_rolling or not work.is_flat)',
          'not work.is_flat',
          'test_rolls::test_a_roll_that_the_venue_refuses_halts_with_both_contracts_and_goes_on_once_resumed'),
)  # fmt: skip
