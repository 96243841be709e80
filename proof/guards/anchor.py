"""Guards of the anchor, and of what holds over all streams and tables of a database."""

from __future__ import annotations

from proof.guards.guard import Guard

_ANCHOR = "store/anchor.py"
_ANCHORED = "store/anchor_check.py"
_APPEND = "store/append.py"
_AUDIT = "store/audit.py"
_BACKUP = "store/backup.py"
_HEADS = "store/heads.py"
_KEYS = "store/keys.py"
_REBUILT = "store/projections.py"
_RECOMPUTE = "store/recompute.py"
_TABLES = "store/tables.py"
_TOTALS = "store/totals.py"

ANCHOR = (
    Guard(
        "anchor: a leaf is of its stream, number and hash",
        "core/anchor.py",
        'f"{stream}\\n{seq}\\n{hash}"',
        'f"{hash}"',
        "test_anchor::test_leaf_and_chain_are_what_the_page_says",
    ),
    Guard(
        "anchor: the end is read within the transaction",
        _APPEND,
        "self.connection.execute(_END).fetchone() or START",
        "getattr(self, 'end', START)",
        "test_anchor::test_lines_are_numbered_over_all_streams_in_the_order_of_their_commit",
    ),
    Guard(
        "anchor: a group is signed with its minute NAV",
        _APPEND,
        'if nav.kind == "minute"]',
        "]",
        "test_anchor::test_each_group_that_publishes_a_minute_nav_has_one_signed_head",
    ),
    Guard(
        "anchor: an older stream is numbered in its own order",
        "store/migrations/versions/s0004_anchor.py",
        "max(time_ms) OVER (PARTITION BY stream ORDER BY seq) AS reached_ms",
        "time_ms AS reached_ms",
        "test_anchor::test_an_older_database_is_numbered_by_time_stream_and_seq",
    ),
    Guard(
        "anchor: an older journal is numbered by the programs that wrote it",
        "store/migrations/versions/s0004_anchor.py",
        "ORDER BY reached, reached_ms, stream, seq",
        "ORDER BY reached_ms, stream, seq",
        "test_former::test_an_upgraded_database_is_sound",
    ),
    Guard(
        "anchor: no gap", _ANCHORED, "if at != n + 1:", "if False:", "test_anchor::test_a_gap_in_the_numbers_is_found"
    ),
    Guard("anchor: chain", _ANCHORED, "if kept != chain:", "if False:", "test_anchor::test_a_changed_anchor_is_found"),
    Guard(
        "anchor: the order within a stream",
        _ANCHORED,
        "if seq != ends.get(stream, 0) + 1:",
        "if False:",
        "test_anchor::test_lines_that_changed_places_are_found",
    ),
    Guard(
        "anchor: a head says what the chain is",
        _ANCHORED,
        "if one.chain != chain:",
        "if False:",
        "test_anchor::test_heads_that_another_history_does_not_fit_are_found",
    ),
    Guard(
        "anchor: a head's signature",
        _ANCHORED,
        "if not one.is_signed:",
        "if False:",
        "test_anchor::test_a_changed_anchor_is_found",
    ),
    Guard(
        "anchor: a head's key is trusted",
        _ANCHORED,
        "elif self._trusted and record.key not in self._trusted:",
        "elif False:",
        "test_anchor::test_verify_takes_heads_and_trusted_keys",
    ),
    Guard(
        "anchor: a head is of this database",
        _ANCHORED,
        "if record.database != self._meta.database:",
        "if False:",
        "test_anchor::test_a_changed_anchor_is_found",
    ),
    Guard(
        "anchor: a head beyond the end",
        _ANCHORED,
        "if isinstance(beyond, int) and beyond > newest:",
        "if False:",
        "test_anchor::test_a_token_that_was_removed_from_all_tables_is_found",
    ),
    Guard(
        "anchor: a kept head beyond the end",
        _ANCHORED,
        "if n > end_n and n > newest:",
        "if False:",
        "test_anchor::test_a_rolled_back_database_is_refused",
    ),
    Guard(
        "anchor: a restore names what it gives up",
        _ANCHORED,
        "if isinstance(record, RestoreRecord) and (record.left_n, record.left_chain) != before:",
        "if False:",
        "test_anchor::test_a_restore_that_was_taken_out_of_the_heads_file_or_moved_is_found",
    ),
    Guard(
        "anchor: heads that a restore gave up do not count",
        _ANCHORED,
        "limit = min(limit, record.n)",
        "pass",
        "test_anchor::test_only_a_signed_restore_lets_an_older_state_go_on",
    ),
    Guard(
        "anchor: a start needs the last head",
        _ANCHOR,
        "if store.chain_at(record.n) != record.chain:",
        "if False:",
        "test_anchor::test_a_rolled_back_database_is_refused",
    ),
    Guard(
        "anchor: a start needs the heads file",
        _ANCHOR,
        "if store.head() is None:",
        "if True:",
        "test_anchor::test_a_missing_heads_file_is_refused_and_can_be_written_anew",
    ),
    Guard(
        "anchor: no new database over old heads",
        _ANCHOR,
        "        _check_absent(database, file)\n",
        "",
        "test_anchor::test_a_database_that_is_gone_is_not_begun_anew_over_its_heads",
    ),
    Guard(
        "anchor: heads of another database",
        _ANCHOR,
        "if record.database != store.meta.database:",
        "if False:",
        "test_anchor::test_heads_of_another_database_are_refused",
    ),
    Guard(
        "anchor: another incarnation",
        _ANCHOR,
        "if last.record.incarnation != store.meta.incarnation:",
        "if False:",
        "test_anchor::test_another_incarnation_is_refused",
    ),
    Guard(
        "anchor: the desk's own last head counts",
        _ANCHOR,
        "file.last(), file.last_by(key)",
        "file.last(), None",
        "test_anchor::test_records_of_another_key_do_not_lower_what_must_be_there",
    ),
    Guard(
        "anchor: a start checks the signature",
        _ANCHOR,
        "if not one.is_signed:",
        "if False:",
        "test_anchor::test_records_of_another_key_do_not_lower_what_must_be_there",
    ),
    Guard(
        "anchor: what the file lacks is appended at the start",
        _ANCHOR,
        "file.append(signed_row(row) for row in store.heads_since(after))",
        "pass",
        "test_anchor::test_a_kill_between_commit_and_append_is_made_good",
    ),
    Guard(
        "anchor: a failed append is reported, and stops nothing",
        _ANCHOR,
        "except InputError as error:\n            words",
        "except ZeroDivisionError as error:\n            words",
        "test_anchor::test_a_heads_file_that_cannot_be_written_stops_nothing_and_is_made_good",
    ),
    Guard(
        "anchor: what could not be appended is appended later",
        _HEADS,
        "self._waiting = [*self._waiting, *(",
        "self._waiting = [*(",
        "test_anchor::test_a_heads_file_that_cannot_be_written_stops_nothing_and_is_made_good",
    ),
    Guard(
        "anchor: a write that was cut off is cut away",
        _HEADS,
        "os.ftruncate(handle, whole)",
        "pass",
        "test_anchor::test_a_write_that_was_cut_off_is_no_record_and_is_cut_away",
    ),
    Guard(
        "anchor: a restore is signed before there is a database",
        _BACKUP,
        "            _sign(part, made, restorer, now_ms)",
        "            pass",
        "test_anchor::test_only_a_signed_restore_lets_an_older_state_go_on",
    ),
    Guard(
        "anchor: a private key is its owner's alone",
        _KEYS,
        "if mode & 0o077:",
        "if False:",
        "test_anchor::test_a_private_key_is_its_owners_alone",
    ),
    Guard(
        "anchor: a stranger follows n",
        _RECOMPUTE,
        "if n != report.n + 1:",
        "if False:",
        "test_anchor::test_an_export_carries_the_anchor_and_its_script_follows_it",
    ),
    Guard(
        "anchor: a stranger holds the head against the chain",
        _RECOMPUTE,
        "if says != (report.n, report.chain):",
        "if False:",
        "test_anchor::test_an_export_carries_the_anchor_and_its_script_follows_it",
    ),
)

TABLES = (
    Guard(
        "tables: behaviour within a stream",
        _AUDIT,
        "if not self.behaviour <= line.behaviour <= BEHAVIOUR:",
        "if False:",
        "test_store_totals::test_a_behaviour_above_the_programs_is_found",
    ),
    Guard(
        "tables: behaviour over all streams",
        _TOTALS,
        "if higher is not None and last > higher[0]:",
        "if False:",
        "test_store_totals::test_a_whole_stream_whose_behaviour_was_lowered_is_found",
    ),
    Guard(
        "tables: both sides of a transfer",
        _TOTALS,
        "for fingerprint, total in sides.items() if total}",
        "for fingerprint, total in sides.items() if False}",
        "test_store_totals::test_a_transfer_whose_sides_differ_is_found",
    ),
    Guard(
        "tables: both sides of an instant dealing",
        _TOTALS,
        "case Exchanged() as event:",
        "case Exchanged() if False:",
        "test_store_totals::test_an_instant_dealing_whose_sides_differ_is_found",
    ),
    Guard(
        "tables: money over all streams",
        _TOTALS,
        "if exists[asset] != came_in[asset]:",
        "if False:",
        "test_store_totals::test_money_that_came_from_nowhere_is_found",
    ),
    Guard(
        "tables: streams are compared at one instant",
        _TOTALS,
        "        if n > self._end_n:\n            return\n",
        "",
        "test_store_totals::test_a_running_desk_is_compared_at_one_instant",
    ),
    Guard(
        "tables: the tokens of a book have streams",
        _TOTALS,
        "            if token not in tokens:",
        "            if False:",
        "test_store_totals::test_a_token_that_its_book_does_not_name_is_found",
    ),
    Guard(
        "tables: a token is named by its book",
        _TOTALS,
        "if named and named[token] != 1:",
        "if False:",
        "test_store_totals::test_a_token_that_its_book_does_not_name_is_found",
    ),
    Guard(
        "tables: postings of a holder balance",
        _AUDIT,
        'self._breach(line.seq, "double entry", f"L1: the entry',
        'str(f"',
        "test_store_totals::test_postings_of_a_holder_that_do_not_balance_are_found",
    ),
    Guard(
        "tables: the kind of a NAV",
        _REBUILT,
        "self._by_kind.get((row.time_ms, row.kind)) != nav",
        "nav not in self._by_kind.values()",
        "test_store_totals::test_the_kind_of_a_nav_is_that_of_its_line",
    ),
    Guard(
        "tables: each NAV of each kind is published",
        _REBUILT,
        "lacking.discard((row.time_ms, row.kind))",
        "lacking -= {one for one in lacking if one[0] == row.time_ms}",
        "test_store_totals::test_navs_of_one_time_are_told_apart_by_their_kind",
    ),
    Guard(
        "tables: the order in the outbox",
        _REBUILT,
        "if body != placed:",
        "if False:",
        "test_store_verify::test_the_outbox_is_what_the_book_placed_and_closed",
    ),
    Guard(
        "tables: what is done in the outbox",
        _REBUILT,
        'if (row.status == "done") != (row.id in self._closed):',
        "if False:",
        "test_store_verify::test_the_outbox_is_what_the_book_placed_and_closed",
    ),
    Guard(
        "tables: rows of the outbox that are missing",
        _REBUILT,
        "for order in sorted(lacking)[:_NAMED_MAX]:",
        "for order in ():",
        "test_store_verify::test_a_row_of_the_outbox_that_was_removed_added_or_moved_is_found",
    ),
    Guard(
        "tables: a snapshot after every so many lines",
        "drive/effects.py",
        "if head.seq % SNAPSHOT_LINES == 0:",
        "if False:",
        "test_store_totals::test_a_state_is_kept_after_every_so_many_lines",
    ),
    Guard(
        "tables: snapshots are committed",
        "desk/keeper.py",
        "snapshots=tuple(effects.snapshots) if effects else ()",
        "snapshots=()",
        "test_store_totals::test_snapshots_of_every_kind_of_stream_are_written_and_checked",
    ),
    Guard(
        "tables: nothing that no migration made",
        _TABLES,
        "        if wanted is None:",
        "        if False:",
        "test_store_totals::test_tables_of_another_form_are_found",
    ),
    Guard(
        "tables: made as the migrations make them",
        _TABLES,
        'elif wanted != (sql or ""):',
        "elif False:",
        "test_store_totals::test_a_constraint_that_was_taken_out_is_found",
    ),
    Guard(
        "tables: nothing is missing",
        _TABLES,
        "for kind, name in expected:",
        "for kind, name in ():",
        "test_store_totals::test_tables_of_another_form_are_found",
    ),
    Guard(
        "tables: the incarnation is that of the books",
        _TOTALS,
        "if book.incarnation != meta.incarnation and not meta.restored_ms:",
        "if False:",
        "test_store_totals::test_what_a_database_says_of_itself_is_checked",
    ),
    Guard(
        "tables: one row of meta",
        _TABLES,
        "if len(rows) != 1:",
        "if not rows:",
        "test_store_totals::test_what_a_database_says_of_itself_is_checked",
    ),
    Guard(
        "tables: times of meta",
        _TABLES,
        "if not whole or 0 < row.restored_ms < row.created_ms:",
        "if False:",
        "test_store_totals::test_what_a_database_says_of_itself_is_checked",
    ),
    Guard(
        "tables: hashes of the inbox",
        _TABLES,
        "if not isinstance(body, bytes) or digest_of(body) != body_hash:",
        "if False:",
        "test_store_totals::test_a_row_of_the_inbox_that_does_not_fit_is_found",
    ),
    Guard(
        "tables: answers of the inbox",
        _TABLES,
        'if (status == "answered") != isinstance(answer, bytes):',
        "if False:",
        "test_store_totals::test_a_row_of_the_inbox_that_does_not_fit_is_found",
    ),
)

FORMER = (
    Guard(
        "former: a quote without its iNAV is read",
        "core/holder.py",
        "inav: int | UnsetType = UNSET",
        "inav: int | UnsetType",
        "test_former::test_each_line_is_read_and_books_the_same_when_stepped_again",
    ),
    Guard(
        "former: an iNAV that is set is positive",
        "core/holder_step.py",
        "(quote.units, quote.cash) if quote.inav is UNSET else (quote.units, quote.cash, quote.inav)",
        "(quote.units, quote.cash)",
        "test_former::test_a_quote_without_its_inav_is_read_and_one_with_none_is_not_given",
    ),
    Guard(
        "former: a quote without its iNAV does not bind",
        "drive/quotes.py",
        "if base == 0:",
        "if False:",
        "test_former::test_a_quote_without_its_inav_is_read_and_one_with_none_is_not_given",
    ),
)
