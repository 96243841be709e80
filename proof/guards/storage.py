"""Guards of what the machine refuses: it is waited for where it may pass, and nothing that was kept is lost."""

from __future__ import annotations

from proof.guards.guard import Guard

_DESK = "desk/desk.py"
_BUSY = "test_storage::test_a_desk_waits_for_a_database_that_another_process_holds"
_FULL = "test_storage::test_a_desk_waits_for_room_on_the_disk"
_CLASS = "test_storage::test_what_the_storage_refuses_has_a_class_a_code_and_a_mend"
_READ = "test_storage::test_a_database_on_a_read_only_disk_is_read_and_verified_and_not_written"

STORAGE = (
    Guard("E1 a desk waits for its storage", _DESK, "                if await self._waits(error):",
          "                if False:", _BUSY),
    Guard('E1 a desk says that it goes on', _DESK,
          '        if self._stands_s is not None:\n            self._stands_s = None',
          '        if False:\n            self._stands_s = None',
          _BUSY),
    Guard("E1 what the exchange's file refuses is the storage's too", _DESK,
          "refused = refusal(cause) if isinstance(cause, sqlite3.Error) else error", "refused = error", _FULL),
    Guard("E2 a full disk is no fault of the program", "store/append.py", "    if code == sqlite3.SQLITE_FULL:",
          "    if False:", _CLASS),
    Guard("E2 nor is a database that is held", "store/append.py",
          "    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:", "    if False:", _CLASS),
    Guard('E2 nor one that cannot be written', 'store/append.py',
          '    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:',
          '    if False:',
          _CLASS),
    Guard('E2 nor a torn one', 'store/append.py',
          '    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR}:',
          '    if False:',
          _CLASS),
    Guard("E2 what the machine lacks has a code of its own", "cli/main.py",
          "kind = StorageError if error.errno in _LACKING else InputError", "kind = InputError",
          "test_storage::test_what_the_machine_lacks_is_no_fault_of_the_program"),
    Guard("E2 too little memory is no fault of the program", "cli/main.py", "    if isinstance(error, MemoryError):",
          "    if False:", "test_storage::test_too_little_memory_is_no_fault_of_the_program"),
    Guard("E3 a read-only disk is read", "store/database.py", "    if not create and _is_read_only(path):",
          "    if False:", _READ),
    Guard("E3 what stands in a log is not passed over", "store/database.py",
          "    if log.exists() and log.stat().st_size:", "    if False:", _READ),
)  # fmt: skip
