"""Guards of what waits for a settlement to be booked, and of what does not."""

from __future__ import annotations

from proof.guards.guard import Guard

_DRIVER, _STEP, _TRADING, _DEALING = "drive/driver.py", "core/step.py", "core/trading.py", "core/dealing.py"
_OPERABLE, _TESTS = "desk/operable.py", "test_waiting_flows::"

WAITING = (
    Guard("F3 a settlement is booked at the marks of now", _DRIVER,
          "amount=amount, prices=self.marks(running),",
          "amount=amount, prices=tuple(payment.mark for _ in running.state.legs),",
          f"{_TESTS}test_a_settlement_booked_late_wipes_out_no_token_that_has_traded_since"),
    Guard("what the venue closed long ago is marked as of now", _STEP,
          "if event.prices is not UNSET:\n", "if False:\n",
          f"{_TESTS}test_what_the_venue_closed_is_booked_at_its_price_and_the_rest_marked_at_that_of_now"),
    Guard("a flow that waits keeps no rule from acting", _TRADING,
          "if state.dealing is not UNSET and state.dealing.first:", "if state.dealing is not UNSET:",
          f"{_TESTS}test_a_flow_that_waits_keeps_no_rule_from_acting"),
    Guard("what goes out is not traded twice", _TRADING, "if leaves:", "if False:",
          f"{_TESTS}test_what_goes_out_is_not_traded_again_while_it_waits"),
    Guard("a paced rebalance goes on while a flow waits", _STEP,
          "return Step(trading.go_on(Working(spec, state), running))",
          "return Step(msgspec.structs.replace(state, rebalance=None))",
          f"{_TESTS}test_a_paced_rebalance_goes_on_while_a_flow_waits"),
    Guard("a closed token pays nobody before a settlement is booked", "drive/dealings.py",
          'if running.state.status == "wiped" or not unbooked(', 'if True or not unbooked(',
          f"{_TESTS}test_who_goes_first_out_of_a_closed_token_escapes_no_settlement"),
    Guard("a token with a flow that waits is not closed", _OPERABLE, 'if wanted.action == "close" and waits:',
          "if False:", f"{_TESTS}test_a_token_is_not_closed_or_changed_while_a_flow_waits_for_a_settlement"),
    Guard("a change reaches back to no settlement, asked", _OPERABLE,
          "or short or _why_unsettled(engine, running, now_ms)", "or short",
          f"{_TESTS}test_a_token_is_not_changed_between_a_settlement_and_its_booking"),
    Guard("a change reaches back to no settlement, stepped", _STEP,
          "if state.dealing is not UNSET or any(leg.accruals for leg in state.legs):", "if False:",
          f"{_TESTS}test_a_token_is_not_changed_between_a_settlement_and_its_booking"),
    Guard("a change charges the fee up to then at the former rate", _STEP,
          "if not charge_to_now(spec, work, event.time_ms):\n        return wipe_out(work, event.time_ms)\n"
          "    work.close_stretch()\n    v, x", "if False:\n        pass\n    work.close_stretch()\n    v, x",
          f"{_TESTS}test_the_fee_of_a_day_is_charged_up_to_a_change_at_the_former_rate"),
    Guard("a contract is not left while a flow waits", "core/chains.py", " and state.dealing is UNSET and any(",
          " and any(", f"{_TESTS}test_a_contract_is_not_left_while_a_flow_waits_that_was_hedged_in_it"),
    Guard("what is forced falls on a flow as well", _DEALING,
          "if mine * held > 0 > lots * held else 0", "if False else 0",
          f"{_TESTS}test_what_is_deleveraged_is_the_tokens_and_the_flows_by_what_each_holds"),
    Guard("a flow bears its part of the charge", _STEP, "work.charge_flow(share_of(event.charge, flow, event.lots))",
          "pass", f"{_TESTS}test_the_price_of_what_is_forced_falls_on_the_flow_by_its_part"),
    Guard("units are merged once", "drive/merging.py", "driver.primary.count_merger(), False",
          "driver.primary.count_merger(), running.merges",
          f"{_TESTS}test_what_an_operator_merged_the_rule_does_not_merge_again"),
    Guard("dust takes no place in the queue", "desk/counter.py", "and not _is_dust(running, wanted) else None",
          "else None", f"{_TESTS}test_dust_takes_no_place_among_those_who_wait_for_a_price"),
)  # fmt: skip
