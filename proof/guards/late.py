"""Guards of reports that are late or out of order."""

from __future__ import annotations

from proof.guards.guard import Guard

_LATE = "test_late_reports::"
_DEALINGS, _SETTLING, _DRIVER, _STEP = "drive/dealings.py", "drive/settling.py", "drive/driver.py", "core/step.py"

LATE = (
    Guard(
        "a flow is settled at the time of its last fill, in whatever order they are reported",
        _DEALINGS,
        "now_ms = max(now_ms, self._driver.market.now_ms, *(leg.changed_ms for leg in state.legs))",
        "now_ms = now_ms",
        f"{_LATE}test_a_fill_reported_out_of_order_settles_no_flow_before_the_settlement_is_booked",
    ),
    Guard(
        "no flow is settled before the venue's rules are read",
        _DEALINGS,
        "if running.book.awaits_rules:",
        "if False:",
        f"{_LATE}test_after_a_restart_no_flow_is_settled_before_the_desk_knows_the_settlements",
    ),
    Guard(
        "a flow goes on once the rules are read",
        _DRIVER,
        "book.awaits_rules = False",
        "pass",
        f"{_LATE}test_after_a_restart_no_flow_is_settled_before_the_desk_knows_the_settlements",
    ),
    Guard(
        "a restarted book awaits its rules",
        "desk/boot.py",
        "book.awaits_rules = True",
        "book.awaits_rules = False",
        "test_boot::test_a_flow_under_way_at_a_restart_waits_for_the_rules",
    ),
    Guard(
        "nothing is booked early without a predicted rate",
        _SETTLING,
        "if None in rates.values() or any(",
        "if any(",
        f"{_LATE}test_a_settlement_without_a_predicted_rate_is_not_booked_early",
    ),
    Guard(
        "nothing is booked early while a fill may be missing",
        _SETTLING,
        "order.symbol in symbols for order in running.book.state.live.values()",
        "False for _ in ()",
        f"{_LATE}test_a_settlement_is_not_booked_early_while_a_fill_of_another_token_may_be_missing",
    ),
    Guard(
        "a settlement is not empty while a fill may be missing",
        "drive/together.py",
        "if may_be and it.symbol not in untold and",
        "if may_be and",
        f"{_LATE}test_what_nets_to_nothing_without_a_late_fill_takes_the_payment_that_the_venue_makes",
    ),
    Guard(
        "a flow that waits shares what the venue closed",
        _STEP,
        "if own * flow <= 0 or work.state.is_working or dealing.was_stranded(work.spec, work.state):",
        "if True:",
        f"{_LATE}test_a_liquidation_reported_after_the_settlement_is_shared_by_those_who_were_in",
    ),
    Guard(
        "an excess bears what the venue closed after the token's own part",
        _STEP,
        " or dealing.was_stranded(work.spec, work.state):",
        ":",
        "test_booked_first::test_what_the_venue_closes_is_first_of_the_token_then_of_what_a_flow_left_behind",
    ),
    Guard(
        "no funding reaches a flow where the fee is all in",
        "core/working.py",
        "mine = 0 if self.spec.all_in else self",
        "mine = self",
        f"{_LATE}test_no_funding_reaches_a_flow_of_a_token_whose_fee_is_all_in",
    ),
    Guard(
        "no funding accrues to a flow where the fee is all in",
        _STEP,
        "    flow = 0 if spec.all_in else flow\n",
        "",
        f"{_LATE}test_no_funding_reaches_a_flow_of_a_token_whose_fee_is_all_in",
    ),
    Guard(
        "of several missed settlements each can be booked in its turn",
        _SETTLING,
        "(one.settlement_ms - settlement_ms) % interval_ms == 0",
        "one.settlement_ms - settlement_ms == interval_ms",
        f"{_LATE}test_an_operator_does_not_book_a_settlement_before_an_earlier_one_that_no_price_preceded",
    ),
    Guard(
        "what one leg of a basket cannot have booked, none has",
        _SETTLING,
        "if driver.atomically(booked, bool):",
        "if driver.atomically(booked):",
        f"{_LATE}test_a_basket_is_booked_whole_or_not_at_all",
    ),
    Guard(
        "what the venue closed of a leg makes no excess of the other",
        "core/dealing.py",
        "if dealing is not UNSET and dealing.forced is not UNSET:",
        "if False:",
        f"{_LATE}test_a_liquidation_of_a_whole_basket_is_shared_in_each_leg",
    ),
    Guard(
        "what a flow pays for trading is the issuer's where its fee is all in",
        "core/working.py",
        "FEES if self.spec.all_in else SPREAD, FLOWS",
        "SPREAD, FLOWS",
        "test_booked_first::test_the_issuer_receives_what_trading_an_excess_back_costs_where_its_fee_is_all_in",
    ),
    Guard(
        "an earlier settlement without a price is booked by hand first",
        _SETTLING,
        "    if before is not None:\n",
        "    if False:\n",
        f"{_LATE}test_an_operator_does_not_book_a_settlement_before_an_earlier_one_that_no_price_preceded",
    ),
    Guard(
        "the venue's size decides in the millisecond of a settlement",
        "core/working.py",
        "return at[0] if whole is None else min(max(at[0] + lots - whole[0], at[0]), at[-1])",
        "return at[0]",
        f"{_LATE}test_of_a_hedge_filled_in_the_millisecond_of_a_settlement_the_venues_size_decides",
    ),
    Guard(
        "the rule of a token whose flow waits is not asked at every price",
        _DRIVER,
        "event, asks_rule=asks_rule)",
        "event)",
        f"{_LATE}test_prices_cost_no_line_each_while_a_settlement_cannot_be_booked_early",
    ),
    Guard(
        "a closing token's clock goes on while its flow waits",
        _STEP,
        "return Step(work.finished(attended_ms=event.time_ms), tuple(work.entry))",
        "return Step(work.finished(), tuple(work.entry))",
        f"{_LATE}test_prices_cost_no_line_each_while_a_settlement_cannot_be_booked_early",
    ),
    Guard(
        "a settlement's lots are those held at its time",
        "store/repricing.py",
        "isinstance(event, FundingSettled) and self._state is not None and is_current:",
        "False:",
        f"{_LATE}test_a_settlement_booked_on_other_lots_than_were_held_is_found",
    ),
    Guard(
        "an excess is valued near its mark",
        "store/repricing.py",
        "        if isinstance(event, ExcessKept):\n",
        "        if False:\n",
        "test_booked_first::test_an_excess_valued_far_from_its_mark_is_found",
    ),
    Guard(
        "a book that differs from its venue is not resumed",
        "desk/operable.py",
        "if book.state.differences is not UNSET:",
        "if False:",
        "test_adopting::test_a_book_that_differs_from_its_venue_is_not_resumed",
    ),
    Guard(
        "a book that was not reconciled is not resumed",
        "desk/operable.py",
        "if book.statement is None:",
        "if False:",
        "test_adopting::test_a_book_that_was_not_reconciled_is_not_resumed",
    ),
)
