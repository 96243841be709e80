"""Guards of a desk's start on a damaged database: what is damaged stops alone, and makes no money."""

from __future__ import annotations

from proof.guards.guard import Guard

_SURVEY = "store/survey.py"
_BOOT = "desk/boot.py"
_PAST = "desk/past.py"
_PRIMARY = "drive/primary.py"
_DEALINGS = "drive/dealings.py"
_BOOK = "core/book.py"

_GIVEN = "test_boot::test_units_of_a_damaged_holder_are_given_to_nobody"
_OWED = "test_boot::test_a_flow_under_way_ends_for_the_others_and_is_owed_to_the_damaged"
_AGAIN = "test_boot::test_what_was_launched_is_never_launched_again"
_NAMED = "test_boot::test_whatever_names_a_stream_tells_that_it_was_there"
_UNREAD = "test_boot::test_what_cannot_be_read_stops_its_book_and_no_desk"
_CANCELLED = "test_boot::test_a_request_in_a_token_that_is_not_run_is_cancelled_if_no_hedge_is_under_way_for_it"

BOOT = (
    Guard("a seed is granted once", _BOOT, " and was_never_held(store, running.name):", ":", _GIVEN),
    Guard("a holder's line proves that units were held", _SURVEY,
          "return lines == last and not connection.scalar(sa.select(sa.exists().where(_HOLDERS, posts)))",
          "return lines == last", "test_boot::test_lines_that_were_changed_tell_no_units"),
    Guard("a gap proves nothing", _SURVEY, "return lines == last and not", "return not",
          "test_boot::test_only_a_whole_journal_proves_that_nobody_held_units"),
    Guard("the last flow is the one under way", "store/store.py", "c.seq.desc()).limit(1)).one", "c.seq).limit(1)).one",
          "test_boot::test_of_all_that_a_token_dealt_its_start_reads_the_last_flow_alone"),
    Guard("the reserve is what was written", "desk/config.py", "return to_minor(self.reserve, FLOOR)",
          "return int(self.reserve * 10**8)", "test_desk_parts::test_the_reserve_is_what_was_written"),
    Guard("U1 at the start", _BOOT, "if not driver.primary.check_supply(running, now_ms):",
          "if driver.primary.why_not_whole(running):", _GIVEN),
    Guard("U1 before a dealing", _DEALINGS, " or not self._primary.check_supply(running, now_ms):", ":",
          "test_boot::test_nothing_is_dealt_while_holders_have_other_units_than_were_issued"),
    Guard("U1 before a closed token pays", _DEALINGS, "if why or ask.amount > units:", "if False:",
          "test_boot::test_a_closed_token_pays_nobody_while_holders_have_other_units_than_were_issued"),
    Guard("the units of a damaged holder count", _BOOT, "units[token] = units.get(token, 0) + amount", "pass",
          "test_boot::test_a_damaged_holder_keeps_nobody_else_from_dealing"),
    Guard("units by lines need every hash", _SURVEY, "if row.seq != seq or hash_of(before, row.body) != row.hash:",
          "if row.seq != seq:", "test_boot::test_lines_that_were_changed_tell_no_units"),
    Guard("units by the state", _SURVEY, "return _units(balances.items())", "return {}",
          "test_boot::test_units_are_told_by_the_state_where_the_lines_do_not"),
    Guard("a holder that is missing is told", _BOOT,
          '        _note_missing(store, seen, counterparties(store), "another holder\'s line names it")\n', "", _GIVEN),
    Guard("an issuer that is missing is told", _BOOT, "        _note_missing(store, seen, {ISSUER},",
          "        _note_missing(store, seen, (),", _GIVEN),
    Guard("a damaged holder holds no flow up", _PRIMARY, "if ask.id in self.state_of(ask.holder).requests:", "if True:",
          _OWED),
    Guard("what is owed counts as held", _PRIMARY,
          '        self._count_units(f"{_UNITS}{owed.token}:{ho.FREE}", owed.units)\n', "", _OWED),
    Guard("what is owed is booked after a repair", _BOOT, "    driver.primary.settle_owed(now_ms)\n", "", _OWED),
    Guard("what is owed stays owed", _PRIMARY, "                    self._owe(owed)", "                    pass",
          _OWED),
    Guard("what is owed is of one request", _PRIMARY,
          "if request is None or (request.token, request.side) != (owed.token, owed.side):", "if False:",
          "test_boot::test_what_is_owed_is_booked_for_no_other_request_of_that_name"),
    Guard("nobody takes the name of whom a share is owed to", _BOOT,
          "{one.holder for shares in owed for one in shares.values()}", "set()", _OWED),
    Guard("what is owed is owed once", _BOOK, "if owed.dealt.id in _owed(state):", "if False:",
          "test_boot::test_what_is_owed_is_owed_once"),
    Guard("what is owed is booked once", _BOOK, "if len(left) == len(_owed(state)):", "if False:",
          "test_boot::test_what_is_owed_is_owed_once"),
    Guard("what a token has cannot be read", _BOOT,
          "except Exception as error:  # whatever is wrong with its rows", "except KeyError as error:", _UNREAD),
    Guard("a specification is that of its line's hash", _BOOT, "event = line_of(proved(store, row).body).event",
          "event = line_of(row.body).event", _UNREAD),
    Guard("a row of the outbox that cannot be read", _BOOT, "    if unread is not None:", "    if False:", _UNREAD),
    Guard("a token that no book takes up is told", _BOOT, "    _tell_bookless(store, driver, seen)\n", "",
          "test_boot::test_a_stream_that_was_removed_is_told"),
    Guard("a book names its tokens", _SURVEY, "            yield from ((f\"token:{token}\", f\"{stream} holds it\")",
          "            yield from ((stream, stream)", "test_boot::test_a_stream_that_was_removed_is_told"),
    Guard("holders name tokens", _SURVEY, "for token in tokens_named(holder):", "for token in ():", _NAMED),
    Guard("published NAVs name tokens", _SURVEY, "for table in (schema.navs, schema.rebalances):", "for table in ():",
          _NAMED),
    Guard("the outbox names books", _SURVEY, "for row in store.outbox_open():", "for row in ():", _NAMED),
    Guard("what there was is not launched again", _PAST,
          'if not seen.has(f"token:{placed.token.symbol}")]', 'if placed.token.symbol not in seen.tokens]', _AGAIN),
    Guard("nothing is launched without the issuer", _PAST, ' or f"holder:{ISSUER}" in seen.faults:', ":",
          "test_boot::test_a_new_token_is_not_launched_while_the_issuer_is_damaged"),
    Guard("why nothing was launched", "desk/desk.py", "(*booted.alarms, *unlaunched(plan, booted))", "booted.alarms",
          "test_boot::test_a_desk_says_what_it_does_not_launch_and_runs_the_rest"),
    Guard("no token joins a book that is missing", _PAST, "placed.book in taken or ", "",
          "test_boot::test_a_new_token_does_not_join_a_book_that_is_missing"),
    Guard("a request in a token that is not run is cancelled", _PRIMARY,
          "        if running is None:\n            why = self._why_kept_unrun(request)",
          "        if False:\n            why = self._why_kept_unrun(request)", _CANCELLED),
    Guard("not while a hedge is under way for it", _PRIMARY, "if begun is not None and request.id not in begun:",
          "if begun is not None:",
          "test_boot::test_a_request_that_is_being_dealt_stays_where_its_token_is_not_run"),
    Guard("nor where nobody can tell", _BOOT,
          "if last_seq(store, stream) < (1 if row is None else row.seq):", "if False:",
          "test_boot::test_a_journal_that_ends_before_its_state_does_not_tell_what_is_being_dealt"),
    Guard("a quote of a token that is not run is not accepted", "drive/quotes.py",
          "if quote.token not in self._driver.by_name:", "if False:",
          "test_boot::test_a_quote_in_a_token_that_is_not_run_is_rejected_and_the_desk_goes_on"),
    Guard("a past that cannot be read halts its token", "desk/watchdog.py",
          "except Exception as error:  # without its past", "except KeyError as error:  # without its past",
          "test_boot::test_a_token_whose_published_navs_cannot_be_read_is_halted"),
    Guard("a damaged book hides no other", "desk/view.py",
          "        except Exception as error:  # one damaged book hides no other", "        except KeyError as error:",
          "test_boot::test_a_damaged_token_hides_no_other_from_those_who_look"),
    Guard("a damaged token is compared with no file", "desk/planned.py",
          "            except Exception:  # it cannot be read", "            except KeyError:  # it cannot be read",
          "test_boot::test_a_damaged_token_hides_no_other_from_those_who_look"),
    Guard("a database with any row is not empty", _SURVEY,
          "tables = (schema.journal, schema.states, schema.navs, schema.rebalances, schema.outbox, schema.heads)",
          "tables = (schema.journal, schema.states)",
          "test_boot::test_a_database_is_empty_only_without_a_row_in_any_table_that_a_desk_fills"),
    Guard("an exchange's file is kept", _PAST, "    if empty:  # what", "    if True:  # what",
          "test_boot::test_a_new_token_leaves_the_exchange_what_it_keeps_for_the_others"),
    Guard("no token joins a book with orders", _PAST, "\n                    or has_orders(store, placed.book)", "",
          "test_boot::test_a_new_token_does_not_join_a_book_that_is_missing"),
)  # fmt: skip
