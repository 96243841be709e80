"""Guards of the price that money moves at: no single tick, and nothing that somebody knew before."""

from __future__ import annotations

from proof.guards.guard import Guard

_FAIR = "drive/fair.py"
_QUOTES = "drive/quotes.py"
_DEALINGS = "drive/dealings.py"
_PRIMARY = "drive/primary.py"
_AVERAGES = "drive/averages.py"
_TICK = "test_fair::test_nobody_gains_from_the_dealing_account_by_moving_the_mark_for_a_second"
_CROSS = "test_fair::test_hedges_that_cross_do_so_at_no_single_mark"
_COST = "test_fair::test_what_crosses_says_nothing_of_a_venues_cost"
_PAID = "test_fair::test_what_the_dealing_account_lent_is_backed_at_the_prices_of_now"

FAIR = (
    Guard("P6 the fair price counts prices before the last", _FAIR,
          "self._average += min(max(apart, -most), most) * length_ms / (length_ms + MEMORY_MS)",
          "self._average = value", "test_fair::test_one_price_moves_it_by_what_the_index_says"),
    Guard("P6 one price is not far from the average", _FAIR, "min(max(apart, -most), most)", "apart",
          "test_fair::test_one_price_moves_it_by_what_the_index_says"),
    Guard("P6 an index that comes or goes begins anew", _FAIR,
          "if math.isnan(self._average) or indexed != self._indexed:", "if math.isnan(self._average):",
          "test_fair::test_without_an_index_it_is_the_average_of_the_marks_before"),
    Guard("P6 who deals with the dealing account has the worse price", _QUOTES,
          "marks = prices.marks if side is None else self._worse(running, prices.marks, side)",
          "marks = prices.marks", _TICK),
    Guard("P6 no quotes while mark and index are apart", _QUOTES, "if side is not None and apart > most:",
          "if False:", "test_fair::test_there_are_no_quotes_while_mark_and_index_are_apart"),
    Guard("P6 no quotes from a feed that has stopped", _QUOTES,
          "prices = self._market.prices(running.symbols, now_ms)\n        if prices is None:\n            return f",
          "prices = self._market.prices(running.symbols)\n        if prices is None:\n            return f",
          "test_fair::test_a_feed_that_has_stopped_gives_quotes_of_neither_side"),
    Guard("P6 what is lent is backed at the prices of now", _QUOTES,
          "(one.spec, self._state_now(one, now_ms)) for one", "(one.spec, one.state) for one", _PAID),
    Guard("P6 money leaves the dealing account at good prices only", _QUOTES,
          "if lends and one.spec.token.settlement == asset and not", "if False and not", _PAID),
    Guard("P6 own funds stay in the dealing account", _QUOTES,
          "if own - amount >= margin * exposure or not exposure:", "if True:",
          "test_fair::test_own_funds_do_not_leave_the_dealing_account_below_its_margin"),
    Guard("P6 hedges cross at the fair price", "drive/together.py",
          "price, key = driver.market.fair(symbol), crossing_id(book.state)",
          "price, key = driver.market.price(symbol), crossing_id(book.state)", _CROSS),
    Guard("P6 what crosses is no cost", "core/measured.py",
          "crossed=leg.crossed + (paid if event.crosses is True else 0)", "crossed=0", _COST),
    Guard("P6 nothing costs less than the venue charges", "core/hedging_cost.py",
          "return max(cost, charged) / traded", "return max(cost, 0.0) / traded",
          "test_hedging_cost::test_it_is_bounded"),
    Guard("P6 a hedge waits for mark and index to agree", _DEALINGS,
          "        if not asks or apart:", "        if not asks:", "test_fair::test_what_is_left_of_a_match_is_hedged_"
          "once_mark_and_index_agree"),
    Guard("P6 a moment's divergence puts off by a moment", _DEALINGS,
          "if why and now_ms < running.deals_ms + running.spec.token.primary.match_ms:", "if False:",
          "test_fair::test_a_moments_divergence_puts_off_a_hedge_by_a_moment_and_no_match"),
    Guard("P6 who parts mark and index stays bound", _DEALINGS,
          "            self._primary.postpone(running, now_ms, binds=True)",
          "            self._primary.postpone(running, now_ms)",
          "test_fair::test_whoever_parts_mark_and_index_stays_bound"),
    Guard("P6 and not for ever", "drive/running.py", "and now_ms < self.until_ms", "",
          "test_fair::test_but_not_for_ever"),
    Guard("P6 others' rejections bind for one window", _PRIMARY, "request.accepted_ms > running.postponed_ms and (",
          "True and (", "test_fair::test_others_rejections_bind_for_one_window_only"),
    Guard("P6 an average covers its time", _AVERAGES, " and self.covered >= _COVERED_MIN", "",
          "test_fair::test_a_moment_at_the_end_is_no_average"),
    Guard("P6 an index that is missing now and then still holds the mark", _AVERAGES,
          "        if math.isnan(quote.index):\n            return self\n", "",
          "test_fair::test_an_index_that_is_missing_now_and_then_still_holds_the_mark"),
    Guard("P6 a redemption whose hedge was filled in time is paid", "core/flow_result.py",
          '        if subscribes or state.status == "closed":', "        if True:",
          "test_fair::test_a_hedge_that_was_filled_before_the_others_lost_everything_is_paid_out"),
    Guard("P6 what the reserve paid in is nobody's gain", "core/flow_result.py",
          '(state.balances.reserve if state.status == "wiped" else 0)', "0",
          "test_fair::test_what_the_reserve_paid_in_meanwhile_is_nobodys_gain"),
)  # fmt: skip
