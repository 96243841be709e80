"""Guards of the readers: what a table must not be taken for."""

from __future__ import annotations

from proof.guards.guard import Guard

_STAMPS = "market/reading/stamps.py"
_DATES = "market/reading/dates.py"
_UNITS = "test_format_units"

READING = (
    Guard(
        "a date that can be read in two ways is rejected",
        _DATES,
        "if len({times.tobytes() for times in moments.values()}) > 1:",
        "if False:",
        f"{_UNITS}::test_times_are_rejected",
    ),
    Guard(
        "nothing is read of before 1970 or after 2100",
        _STAMPS,
        "if len(times) and (int(times.min()) < 0 or int(times.max()) >= _LATEST_MS):",
        "if False:",
        f"{_UNITS}::test_times_are_rejected",
    ),
    Guard(
        "numbers of rows are no times",
        _STAMPS,
        "or (main is None and not _is_clock_from_zero(whole)):",
        "or False:",
        f"{_UNITS}::test_times_are_rejected",
    ),
    Guard(
        "a change of unit that puts rows out of order is rejected",
        _STAMPS,
        "    if not _monotone(mixed):",
        "    if False:",
        f"{_UNITS}::test_times_are_rejected",
    ),
    Guard(
        "rates that cannot be fractions are rejected",
        "market/reading/funding_rates.py",
        "if mean > _REFUSED_MEAN and not sure:",
        "if False:",
        f"{_UNITS}::test_funding_is_rejected",
    ),
    Guard(
        "orders of columns that both fit are rejected",
        "market/reading/layouts.py",
        "if len({values for _, values in fitting}) > 1:",
        "if False:",
        f"{_UNITS}::test_orders_that_both_fit_are_rejected_and_named",
    ),
    Guard(
        "a comma that can be either is rejected",
        "market/reading/numbers.py",
        "    if point and comma:",
        "    if False:",
        f"{_UNITS}::test_files_are_rejected_with_a_sentence",
    ),
    Guard(
        "prices of something else are rejected",
        "market/symbols.py",
        "    if not is_same_underlying(wanted, symbol):",
        "    if False:",
        "test_cli_legs::test_a_leg_finds_its_rows_without_being_told",
    ),
    Guard(
        "a workbook's text is no formula",
        "market/workbook.py",
        "        sheet.write_string(row, place, str(value))",
        "        sheet.write(row, place, str(value))",
        "test_workbook::test_cells_are_what_they_are",
    ),
)
