"""Guards of files: what no output may overwrite."""

from __future__ import annotations

from proof.guards.guard import Guard

_OUTPUTS = "outputs.py"
_FILES = "files.py"
_DESK_FILES = "desk/desk_files.py"
_LOCK = "desk/lock.py"
_DATABASE = "store/database.py"
_PAPER = "venues/paper/file.py"

_TABLE = "test_outputs_cli"
_UNIT = "test_outputs"
_DESK = "test_desk_files"

OUTPUTS = (
    Guard(
        "consent is typed each time",
        "cli/main.py",
        "typed = long in _TYPED_ONLY or",
        "typed = False or",
        "test_cli_asking::test_no_command_takes_consent_from_the_environment",
    ),
    Guard(
        "what is to be done is typed each time",
        "cli/main.py",
        "or (changes and long not in _OF_CHANGES)",
        "or False",
        "test_cli_asking::test_consent_and_what_is_to_be_done_are_never_taken_from_the_environment",
    ),
    Guard(
        "of several desks none is chosen",
        "cli/reading.py",
        "if len(running) == 1:",
        "if running:",
        "test_cli_asking::test_all_commands_are_about_the_desk_that_runs_in_the_folder_else_the_demo",
    ),
    Guard(
        "a command that changes a desk assumes none",
        "cli/reading.py",
        "if DEMO.exists() and not changes:",
        "if DEMO.exists():",
        "test_cli_asking::test_all_commands_are_about_the_desk_that_runs_in_the_folder_else_the_demo",
    ),
    Guard(
        "an output is not an input, whatever its spelling",
        _OUTPUTS,
        '        if location.is_same(other):\n            raise InputError(f"this is {file.role}',
        '        if False:\n            raise InputError(f"this is {file.role}',
        f"{_TABLE}::test_what_a_command_reads_is_never_overwritten",
    ),
    Guard(
        "an output is not another output",
        _OUTPUTS,
        "        for option, other in written:",
        "        for option, other in written[:0]:",
        f"{_TABLE}::test_two_options_of_one_file_are_refused",
    ),
    Guard(
        "an output is no database",
        _OUTPUTS,
        "    if is_database(output.path) and not _is_lost_heads_file(output, location):",
        "    if False:",
        f"{_TABLE}::test_a_database_and_its_side_files_are_never_overwritten",
    ),
    Guard(
        "a descriptor is no database",
        _OUTPUTS,
        "        elif is_database(output.path):",
        "        elif False:",
        f"{_TABLE}::test_a_database_and_its_side_files_are_never_overwritten",
    ),
    Guard(
        "the name of a side file is its database's",
        _OUTPUTS,
        "for name in (*names, *owners)",
        "for name in names",
        f"{_TABLE}::test_a_database_and_its_side_files_are_never_overwritten",
    ),
    Guard(
        "a side file is known by each of its names",
        _OUTPUTS,
        "list(dict.fromkeys((real, *same)))",
        "[real]",
        f"{_TABLE}::test_a_database_and_its_side_files_are_never_overwritten",
    ),
    Guard(
        "a path through a missing directory is followed as it is written",
        _OUTPUTS,
        "_stat(path) or _stat(real)",
        "_stat(path)",
        f"{_UNIT}::test_a_path_is_identified_whatever_its_spelling",
    ),
    Guard(
        "files are one on one device only",
        _OUTPUTS,
        "Location(file=(found.st_dev, found.st_ino), mode=found.st_mode, entry=entry)",
        "Location(file=(0, found.st_ino), mode=found.st_mode, entry=entry)",
        f"{_UNIT}::test_another_device_is_another_file",
    ),
    Guard(
        "letter case may mean nothing",
        _OUTPUTS,
        "os.path.basename(real)).casefold()",
        "os.path.basename(real))",
        f"{_UNIT}::test_a_path_is_identified_whatever_its_spelling",
    ),
    Guard(
        "a database in use is not opened",
        _OUTPUTS,
        '    if any(os.path.lexists(f"{real}{suffix}") for suffix in _IN_USE):\n        return True\n',
        "",
        f"{_UNIT}::test_a_running_database_is_recognised_and_never_opened",
    ),
    Guard(
        "a file that this process has open is read through its handle",
        _OUTPUTS,
        "return os.pread(descriptor, HEAD_BYTES, 0)",
        "pass",
        f"{_UNIT}::test_a_running_database_is_recognised_and_never_opened",
    ),
    Guard(
        "another kind of file needs --force",
        _OUTPUTS,
        'if kinds != ("empty",) and output.kind not in kinds:',
        "if False:",
        f"{_TABLE}::test_a_file_of_another_kind_is_kept",
    ),
    Guard(
        "an export replaces nothing without --force",
        _OUTPUTS,
        "    if not output.replaces:",
        "    if False:",
        f"{_TABLE}::test_force_overwrites_another_kind_and_a_second_run_its_own",
    ),
    Guard(
        "standard output is an output",
        _OUTPUTS,
        "    if stdout is not None:\n        _check_protected",
        "    if False:\n        _check_protected",
        f"{_TABLE}::test_standard_output_is_not_appended_to_a_database",
    ),
    Guard(
        "an output is not the file of standard output",
        _OUTPUTS,
        "if stdout is not None and location.is_same(stdout):",
        "if False:",
        f"{_TABLE}::test_an_output_is_not_the_file_of_standard_output",
    ),
    Guard(
        "writing itself refuses a database",
        _FILES,
        '    check_outputs([Output(option="", path=Path(path), kind=kind)], force=force, hint="force=True")\n',
        "",
        f"{_UNIT}::test_writing_itself_refuses_a_database_and_another_kind",
    ),
    Guard(
        "an open descriptor is appended to",
        _FILES,
        "        if descriptor is not None:",
        "        if False:",
        f"{_UNIT}::test_a_redirected_output_is_appended_to_where_the_shell_says_so",
    ),
    Guard(
        "an unfinished file is a new one",
        _FILES,
        '        part.unlink(missing_ok=True)\n        with part.open("xb")',
        '        with part.open("wb")',
        f"{_UNIT}::test_what_has_the_name_of_the_unfinished_file_is_not_written_through",
    ),
    Guard(
        "the files of a desk differ",
        _DESK_FILES,
        "        if other is not None:",
        "        if False:",
        f"{_DESK}::test_two_files_of_a_desk_are_not_one",
    ),
    Guard(
        "a desk's database is a database",
        _DESK_FILES,
        "    elif database.is_file() and not is_database(database)",
        "    elif False",
        f"{_DESK}::test_two_files_of_a_desk_are_not_one",
    ),
    Guard(
        "a database has no side file's name",
        _DESK_FILES,
        "    if ending is not None:\n        yield Problem(place",
        "    if False:\n        yield Problem(place",
        f"{_DESK}::test_two_files_of_a_desk_are_not_one",
    ),
    Guard(
        "two desks have two paper exchanges",
        _DESK_FILES,
        "    if rival is not None:",
        "    if False:",
        f"{_DESK}::test_the_databases_of_two_desks_do_not_share_a_paper_exchange",
    ),
    Guard(
        "the log is a log",
        "desk/logs.py",
        '        check_outputs([Output(option="", path=path, kind="log")], hint="")\n',
        "",
        f"{_DESK}::test_the_log_itself_appends_to_a_log_only",
    ),
    Guard(
        "a lock is not written through a link",
        _LOCK,
        "path.is_symlink() or not path.is_file() or",
        "",
        f"{_DESK}::test_a_persons_file_with_the_name_of_a_side_file_is_kept",
    ),
    Guard(
        "a person's file is not taken for a lock",
        _LOCK,
        "or not is_own(path):",
        "or False:",
        f"{_DESK}::test_a_persons_file_with_the_name_of_a_side_file_is_kept",
    ),
    Guard(
        "a new database does not take an earlier one's log",
        _DATABASE,
        "        if os.path.lexists(left):",
        "        if False:",
        f"{_DESK}::test_a_new_database_takes_no_file_but_its_own",
    ),
    Guard(
        "a new database removes its own files only",
        _DATABASE,
        '        making.with_name(f"{making.name}{suffix}").unlink(missing_ok=True)\n',
        '        for left in making.parent.glob(f"{making.name}{suffix}*"):\n            left.unlink()\n',
        f"{_DESK}::test_a_new_database_takes_no_file_but_its_own",
    ),
    Guard(
        "a paper exchange takes no other database",
        _PAPER,
        '    if tables - {"kept"}:',
        "    if False:",
        f"{_DESK}::test_a_paper_exchange_changes_no_other_database",
    ),
    Guard(
        "a socket replaces a socket only",
        "venues/paper/server.py",
        "        elif os.path.lexists(socket):",
        "        elif socket.unlink():",
        f"{_DESK}::test_a_socket_replaces_a_socket_only",
    ),
    Guard(
        "the exports of a database do not write its paper exchange's file",
        _OUTPUTS,
        ' (paper_file_of(database), "the paper exchange\'s file")):',
        "):",
        f"{_TABLE}::test_standard_output_is_not_appended_to_a_database",
    ),
)
