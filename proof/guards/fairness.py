"""Guards of whole commands, failed inputs, flows that cannot be dealt, and dealing around settlements."""

from __future__ import annotations

from proof.guards.guard import Guard

_DRIVER = "drive/driver.py"
_DEALINGS = "drive/dealings.py"
_SETTLING = "drive/settling.py"
_RESULT = "core/flow_result.py"
_STEP = "core/step.py"
_WHOLE = "test_atomic::test_a_command_that_fails_at_any_of_its_posts_leaves_everything_as_it_was"
_PARTS = "test_stranded::test_what_only_some_legs_were_filled_for_is_unwound_at_the_flows_own_cost"
_BEARS = "test_settling::test_who_held_at_a_settlement_bears_it_and_nobody_else"

WHOLE = (
    Guard(
        "X2 a command that fails is rolled back",
        _DRIVER,
        "                self.undo.rollback()",
        "                self.undo.commit()",
        _WHOLE,
    ),
    Guard(
        "X2 what a failed command wanted done is dropped",
        _DRIVER,
        "inner, self.effects = self.effects, outer",
        "inner, self.effects = self.effects, self.effects",
        _WHOLE,
    ),
    Guard(
        "X2 a holder is remembered before it is posted to",
        "drive/primary.py",
        "        self._undo.remember(holder)\n",
        "",
        _WHOLE,
    ),
    Guard(
        "X2 a new holder is forgotten",
        "drive/primary.py",
        "self._undo.set_item(self.holders, name, holder)",
        "self.holders[name] = holder",
        _WHOLE,
    ),
    Guard(
        "X2 a token is remembered before it is stepped",
        _DRIVER,
        "        self.remember(running)\n        body = state_body(done.state)",
        "        body = state_body(done.state)",
        _WHOLE,
    ),
    Guard(
        "X2 supply is remembered",
        "drive/primary.py",
        "self._undo.set_item(self.supply, token, self.supply.get(token, 0) + amount)",
        "self.supply[token] = self.supply.get(token, 0) + amount",
        _WHOLE,
    ),
    Guard(
        "X2 a queue is remembered",
        "drive/primary.py",
        "self._undo.set_item(queue, made.id, Waiting(made.turn, name))",
        "queue[made.id] = Waiting(made.turn, name)",
        _WHOLE,
    ),
    Guard(
        "X2 a queue is put in order again",
        "drive/primary.py",
        "        self._undo.remember(queue, queue.sort)\n        self._undo.delete_item",
        "        self._undo.delete_item",
        _WHOLE,
    ),
    Guard(
        "X2 caps are remembered",
        "drive/primary.py",
        "        self._undo.remember(asked)\n        asked.count(now_ms, side, money)",
        "        asked.count(now_ms, side, money)",
        _WHOLE,
    ),
    Guard(
        "X2 a barrier is set again",
        _DRIVER,
        "self.undo.remember(running, partial(self._rearm, running))",
        "self.undo.remember(running)",
        _WHOLE,
    ),
    Guard(
        "X2 what is rejected is rolled back",
        _DRIVER,
        "is_kept = not is_void(result)",
        "is_kept = True",
        "test_atomic::test_a_command_whose_second_stream_refuses_it_credits_nobody",
    ),
    Guard(
        "X0 a command that raises is rejected",
        "desk/inbox.py",
        "except Exception as error:  # one command must not stop the desk",
        "except KeyError as error:",
        "test_atomic::test_a_command_of_the_inbox_that_raises_is_rejected_and_reported",
    ),
    Guard(
        "X0 an input that fails is set aside",
        "drive/faults.py",
        "    except Exception as error:\n        if not failed:",
        "    except KeyError as error:\n        if not failed:",
        "test_atomic::test_a_price_that_cannot_be_processed_halts_its_book_alone",
    ),
    Guard(
        "X0 the same input is not processed twice",
        "drive/faults.py",
        "    if failed and not retries:",
        "    if False:",
        "test_atomic::test_the_same_report_is_not_processed_twice_before_the_book_is_resumed",
    ),
    Guard(
        "X0 a failed input halts its book",
        "core/book.py",
        "halted=halted, failures=",
        "failures=",
        "test_atomic::test_a_failed_input_is_kept_in_the_journal_with_its_error "
        "test_atomic::test_a_price_that_cannot_be_processed_halts_its_book_alone",
    ),
    Guard(
        "X0 requests of a dealing that fails are returned",
        _DEALINGS,
        "self._primary.end(self._primary.request_of(ask.id, ask.holder), ask.holder, words, now_ms)",
        "pass",
        "test_atomic::test_a_dealing_that_fails_returns_its_requests_and_halts_its_book",
    ),
    Guard(
        "X0 a flow that cannot be settled is given up",
        _DEALINGS,
        "driver.apply(running, ev.DealingAborted(time_ms=now_ms, reason=reason))",
        "pass",
        "test_atomic::test_a_settlement_that_fails_gives_the_flow_up_and_returns_it_less_the_cost_of_unwinding",
    ),
    Guard(
        "X0 what a person asks for leaves room on every account",
        "core/holder_step.py",
        "_ASKED_MAX if isinstance(event, _ASKED) else INT64_MAX",
        "INT64_MAX",
        "test_atomic::test_a_command_whose_second_stream_refuses_it_credits_nobody",
    ),
    Guard(
        "X0 no step leaves the ledger's range",
        _STEP,
        "if abs(getattr(done.state.balances, line.account)) > INT64_MAX:",
        "if False:",
        "test_stranded::test_no_step_leaves_the_range_of_the_ledger",
    ),
    Guard(
        "X0 what could not be counted is refused",
        "drive/caps.py",
        "if not fits(state, comes * HEADROOM, money * HEADROOM):",
        "if False:",
        "test_stranded::test_a_first_subscription_of_more_units_than_can_be_counted_is_refused",
    ),
    Guard(
        "X0 what can no longer be counted is given up",
        _DEALINGS,
        "if not fits(running.state, done.units, done.cash):",
        "if False:",
        "test_stranded::test_units_that_no_longer_fit_are_given_up_with_the_flow_and_the_book_goes_on",
    ),
    Guard(
        "X0 a redemption worth nothing is refused",
        "drive/caps.py",
        "if money > Rates(fees.creation, fees.redemption).fee_on(money):",
        "if True:",
        "test_stranded::test_a_redemption_worth_nothing_is_refused_with_its_worth",
    ),
)

STRANDED = (
    Guard(
        "F5 the excess of a hedge is unwound",
        _DEALINGS,
        'if state.status in {"open", "halted"} and any(excess_lots(running.spec, state)):',
        "if False:",
        _PARTS,
    ),
    Guard(
        "F5 a hedge that failed is paid by its flow",
        _RESULT,
        "        return pnl if units else max(pnl, -cash)",
        "        return pnl",
        _PARTS,
    ),
    Guard(
        "F5 a redemption pays its failed hedge in units",
        _RESULT,
        "    cost = min(cost, dealing.amount)\n",
        "    cost = min(cost, dealing.amount) if subscribes else 0\n",
        _PARTS,
    ),
    Guard(
        "F5 beyond its worth the issuer bears it",
        _RESULT,
        "return max(pnl, -price.money_for(units)) if price.equity > 0 and units else 0",
        "return pnl",
        "test_stranded::test_a_redemption_whose_hedge_costs_more_than_its_units_burns_them_and_nobody_else_pays",
    ),
    Guard(
        "F5 an excess waits for a person",
        _DEALINGS,
        'if state.status == "open" and not running.book.state.halted:',
        'if state.status == "open":',
        "test_stranded::test_an_excess_waits_for_a_halted_token_or_book_and_is_unwound_once_it_is_resumed",
    ),
    Guard(
        "F5 an unwinding that is given up halts",
        "core/step.py",
        'if rest and not orders and unwinds and state.status == "open":',
        "if False:",
        "test_stranded::test_an_excess_that_the_venue_does_not_take_halts_the_token_and_tells_a_person",
    ),
    Guard(
        "F5 a share that is worth nothing is returned",
        "core/netting.py",
        '(one.ask.side == "subscribe" or one.cash > 0))',
        "True)",
        "test_netting::test_what_a_hedge_is_worth_is_shared_by_what_was_paid_in",
    ),
    Guard(
        "F5 matched for nothing",
        "core/netting.py",
        "if left and paid <= rates.fee_on(paid)}",
        "if False}",
        "test_netting::test_what_is_matched_is_what_changes_hands",
    ),
)

SETTLEMENTS = (
    Guard("F4 dealing waits before a settlement", _SETTLING, "    if now_ms >= until_ms:", "    if False:", _BEARS),
    Guard("F4 dealing waits for the booking", _SETTLING, "    if waiting:\n", "    if False:\n", _BEARS),
    Guard(
        "F4 a window waits",
        _DEALINGS,
        "if now_ms < running.deals_ms or why_dealing_waits(",
        "if now_ms < running.deals_ms or False and why_dealing_waits(",
        _BEARS,
    ),
    Guard(
        "F4 a flow under way waits for the booking",
        _DEALINGS,
        'if state.status in {"open", "halted"} and unbooked(self._driver, running, now_ms):',
        "if False:",
        "test_settling::test_a_payment_that_comes_in_the_middle_of_a_fill_is_shared_by_what_was_held_at_its_time",
    ),
    Guard(
        "F4 the flow's part is by the sizes of that time",
        "core/working.py",
        "mine = self.flow_lots_at(leg, settlement_ms)",
        "mine = self.flow_lots(leg)",
        "test_settling::test_a_payment_that_comes_in_the_middle_of_a_fill_is_shared_by_what_was_held_at_its_time",
    ),
    Guard(
        "F4 sizes of past hours are known",
        "core/positions.py",
        "    return (*earlier, same, *moved)[-_KEPT:]",
        "    return (same,)",
        "test_settling::test_a_late_report_is_shared_by_the_sizes_of_its_time_though_positions_have_changed_since",
    ),
    Guard(
        "F4 quotes wait",
        "drive/quotes.py",
        '        if waits:\n            return f"{name} gives no quotes now',
        '        if False:\n            return f"{name} gives no quotes now',
        "test_settling::test_while_a_settlement_is_not_booked_nothing_is_dealt_quoted_taken_or_merged",
    ),
    Guard(
        "F4 fees wait",
        "drive/fees.py",
        "    if waits:\n",
        "    if False:\n",
        "test_settling::test_while_a_settlement_is_not_booked_nothing_is_dealt_quoted_taken_or_merged",
    ),
    Guard(
        "F4 reverse splits wait",
        "drive/merging.py",
        "    if waits:\n",
        "    if False:\n",
        "test_settling::test_while_a_settlement_is_not_booked_nothing_is_dealt_quoted_taken_or_merged",
    ),
    Guard(
        "F4 a NAV in between is provisional",
        _STEP,
        "work.accrue_funding(Accrual(event.settlement_ms, mark, own, flow), event.leg)",
        "work.accrue_funding(Accrual(event.settlement_ms, mark, 0, 0), event.leg)",
        "test_settling::test_a_nav_between_settlement_and_booking_contains_the_predicted_funding_and_says_so",
    ),
    Guard(
        "F4 an accrual is taken back",
        "core/working.py",
        "        self.post(-own, ACCRUED, FUNDING)\n",
        "",
        "test_settling::test_what_is_turned_is_taken_back_when_the_venue_books",
    ),
    Guard(
        "F4 no prediction wipes a token out",
        _STEP,
        "own = 0 if spec.all_in or work.equity + own <= 0 else own",
        "own = 0 if spec.all_in else own",
        "test_settling::test_a_settlement_is_accrued_once_and_by_no_prediction_is_anybody_wiped_out",
    ),
    Guard(
        "F4 a silent venue closes subscriptions",
        "drive/primary.py",
        'if side == "subscribe" and is_overdue(self._driver, running, now_ms):',
        "if False:",
        "test_settling::test_what_the_venue_does_not_report_is_told_and_closes_subscriptions",
    ),
    Guard(
        "F4 nothing is booked by hand too early",
        _SETTLING,
        "    if now_ms < least_ms:",
        "    if False:",
        "test_settling::test_an_operator_books_what_is_not_reported_and_a_later_report_is_the_reserves",
    ),
    Guard(
        "F4 a later report corrects",
        "drive/driver.py",
        "if correct(self, book, payment, now_ms):",
        "if False:",
        "test_settling::test_an_operator_books_what_is_not_reported_and_a_later_report_is_the_reserves",
    ),
    Guard(
        "F4 what was booked by hand is not at the venue yet",
        "drive/reconciling.py",
        "cash[one.asset] = cash.get(one.asset, 0) - one.amount",
        "pass",
        "test_settling::test_an_operator_books_what_is_not_reported_and_a_later_report_is_the_reserves",
    ),
    Guard(
        "F4 settlements are booked in their order",
        "drive/driver.py",
        "any(waits_before(one, payment.settlement_ms) for one in at)",
        "False",
        "test_settling::test_a_later_settlement_that_is_reported_first_waits_for_the_one_before",
    ),
    Guard(
        "nothing accrues on a price older than the settlement",
        "drive/schedule.py",
        "if self.next_ms <= now_ms or self.next_ms <= since_ms:",
        "if self.next_ms <= now_ms:",
        "test_settling::test_a_price_older_than_the_settlement_that_was_booked_accrues_nothing",
    ),
)

MATCHING = (
    Guard("P5 matched at the average", _DEALINGS, 'driver.publish(running, "dealing", now_ms, marks)\n        price',
          'driver.publish(running, "dealing", now_ms, prices.marks)\n        price',
          "test_matching::test_a_mark_that_is_moved_for_a_second_at_the_windows_end_gains_next_to_nothing"),
    Guard("P5 who comes while the average runs waits", _DEALINGS, "if one.accepted_ms <= until_ms}", "}",
          "test_matching::test_a_request_that_is_accepted_while_the_average_runs_waits_for_the_next_window"),
    Guard("P5 the average is held against the index", _DEALINGS,
          "if apart > running.spec.token.primary.match_divergence:", "if False:",
          "test_matching::test_a_window_whose_mark_and_index_are_apart_is_postponed_and_says_so"),
    Guard("the first units' fee counts from their creation", "core/dealing.py",
          "work.charged_share = event.time_ms % DAY_MS / DAY_MS", "pass",
          "test_matching::test_a_token_that_had_no_units_for_days_charges_its_first_units_from_their_creation_on"),
)  # fmt: skip
