"""Guards of one desk on one database, at one exchange."""

from __future__ import annotations

from proof.guards.guard import Guard

_LOCK = "desk/lock.py"
_PAPER = "venues/paper/file.py"
_LINKS = "test_one_desk::test_no_second_desk_begins_under_another_name"
_UP = "test_desk_up::test_no_second_desk_runs_through_a_link_and_none_at_another_exchange"

ONE_DESK = (
    Guard("D1 the lock is on the file, whatever its name", _LOCK,
          "            while not _lock(self._file.number):", "            while False:", _LINKS),
    Guard("D1 the lock stands behind links", _LOCK,
          "    database = followed(database)\n    return database.parent / f\"{database.name}{_LOCK}\"",
          "    return database.parent / f\"{database.name}{_LOCK}\"",
          "test_one_desk::test_no_second_desk_begins_behind_a_link_where_files_have_no_such_locks"),
    Guard("D1 who looks sees the lock on the file", _LOCK, "    if _is_locked(database):", "    if False:", _LINKS),
    Guard("D1 a database that is made is locked at once", "desk/desk.py", "        lock.hold()", "        pass", _UP),
    Guard("D1 to look closes no file", _LOCK, "        _FILES[self.key].append(self.number)",
          "        os.close(self.number)",
          "test_one_desk::test_looking_whether_a_desk_runs_leaves_sqlites_own_locks"),
    Guard("D1 a database is used under one name", "store/database.py", "        check_names(path)\n", "",
          "test_one_desk::test_a_database_of_several_names_is_used_under_none"),
    Guard("D1 a desk's database stays in use by its name", "store/database.py",
          "names > 1 and claimed != os.path.realpath(place) and not", "names > 1 and not",
          "test_one_desk::test_a_database_of_several_names_is_used_under_none"),
    Guard("D1 a desk that runs is not disturbed by another name", "store/database.py",
          ' and not place.with_name(f"{place.name}-wal").exists():', ":",
          "test_one_desk::test_a_database_of_several_names_is_used_under_none"),
    Guard("D1 a generation fences off", "store/append.py", "if self._generation is not None and", "if False and",
          "test_one_desk::test_a_desk_whose_database_another_one_took_over_commits_nothing"),
    Guard("D1 a desk's files stand beside its database, behind links", "desk/planned.py",
          "followed(database or base / config.database)", "database or base / config.database", _UP),
    Guard("D1 an exchange that is missing is not begun anew", _PAPER,
          "if begun and not self._path.exists():", "if False:", _UP),
    Guard("D1 an empty exchange is that of no desk", _PAPER, "if known is None and begun and not kept:", "if False:",
          "test_one_desk::test_a_desk_that_has_traded_begins_at_no_exchange_that_is_missing_or_empty"),
    Guard("D1 another desk's exchange is not traded at", _PAPER, "elif known != owner.encode():", "elif False:",
          "test_one_desk::test_a_desk_trades_at_its_own_exchange_alone"),
    Guard("D1 no other exchange is begun with from the environment", "cli/main.py", '"--new-exchange", ', "",
          "test_cli_token::test_no_other_exchange_is_begun_with_for_what_stands_in_the_environment"),
    Guard("D1 a file that is refused is let go", _PAPER,
          "                self._base.close()\n                raise", "                raise",
          "test_one_desk::test_a_desk_that_has_traded_begins_at_no_exchange_that_is_missing_or_empty"),
)  # fmt: skip
