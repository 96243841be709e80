"""What an issuer's office hands out: the same rows in both formats, the ledger's own figures, one hash of it all."""

from __future__ import annotations

import csv
import json
import re
from decimal import Decimal
from itertools import groupby
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

import gearing
from gearing.cli.main import main
from gearing.core import holder as ho
from gearing.core.money import MINOR
from gearing.errors import InputError
from gearing.office.export import WHATS, made
from gearing.office.periods import moment_text, period_of
from gearing.store.database import connect
from tests.journals import lines_of
from tests.lives import HOUR_MS, NOON_MS
from tests.test_merging import merge
from tests.test_store_dealing import busy, kept, told
from tests.test_workbook import cells

__all__ = ["kept"]

DAY_1, DAY_2, MONTH = "2026-01-01", "2026-01-02", "2026-01"


@pytest.fixture
def desk(kept):
    """A desk of two days, on the second of which it goes on; h1 handed units on under a reference with a "#"."""
    busy(kept)
    stands = ho.Bearing(nav=kept.it.state.nav, level=1.0, parts=(0.0,) * 14)
    for name, sign, other in (("h0", 1, "h1"), ("h1", -1, "h0")):
        kept.primary.post(name, ho.Handed(time_ms=kept.now_ms, token="T", units=sign * MINOR, other=other,
                                          reference='in#7, "new"', bearing=stands))  # fmt: skip
    kept.quote(102.0, after_ms=30 * HOUR_MS)
    kept.quote(102.5)
    return kept


def exported(desk, what, period=MONTH, form="csv", *more):
    out = desk.path.with_name(f"{what}-{period}.{form}")
    assert main(["export", what, "--period", period, "--out", str(out), "--db", str(desk.path), "--force", *more]) == 0
    return out


def rows_of(path):
    """Returns a CSV's rows by hand."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# ")]
    return list(csv.DictReader(lines))


def head_of(path):
    return dict(re.findall(r"^# ([\w.]+): (.*)$", path.read_text(), re.MULTILINE))


def minor(text):
    return int(Decimal(text) * MINOR)


@pytest.mark.parametrize("what", WHATS)
def test_both_formats_hold_the_same_rows_and_other_programs_read_them(desk, what):
    as_csv, as_parquet = exported(desk, what), exported(desk, what, MONTH, "parquet")
    rows, frame = rows_of(as_csv), pl.read_parquet(as_parquet)
    assert rows
    assert frame.columns == list(rows[0])
    for row, values in zip(rows, frame.iter_rows(), strict=True):
        for text, value in zip(row.values(), values, strict=True):
            if value is None:
                assert text == ""
            elif isinstance(value, Decimal):
                assert f"{value:.8f}" == text
                assert value.as_tuple().exponent == -8
            elif isinstance(value, (str, int)):
                assert str(value) == text
            else:
                assert value.isoformat(timespec="milliseconds") == text
    assert not any(kind.is_float() for kind in frame.dtypes)
    by_pandas = pd.read_csv(as_csv, comment="#", dtype=str, keep_default_na=False)
    assert by_pandas.to_dict("records") == rows
    assert pl.read_csv(as_csv, comment_prefix="#", infer_schema=False).rows() == [
        tuple(value or None for value in row.values()) for row in rows
    ]
    inside = {key: value for key, value in pl.read_parquet_metadata(as_parquet).items() if key != "ARROW:schema"}
    assert inside == head_of(as_csv)


def balances_by_account(desk):
    """Returns the ledgers as the states have them, by the names that a trial balance gives accounts."""
    found = {}
    for name, amount in desk.it.state.balances.items():
        found["token:T", "units:T" if name in {"issued", "held"} else "cash:USDT", name] = amount
    for name, holder in desk.primary.holders.items():
        for account, amount in holder.state.balances.items():
            asset, _, where = account.rpartition(":")
            found[f"holder:{name}", asset, where] = amount
    return {place: amount for place, amount in found.items() if amount}


@pytest.mark.parametrize("what", ["nav", "holders", "trial-balance"])
def test_a_workbook_and_a_plain_csv_hold_the_same_rows(desk, what):
    whole = exported(desk, what)
    lines = whole.read_text(encoding="utf-8").splitlines()
    marked = [line for line in lines if line.startswith("# ")]
    assert len(marked) > 3
    plain = exported(desk, what, MONTH, "csv", "--plain").read_text(encoding="utf-8").splitlines()
    assert plain == lines[len(marked) :]
    book = exported(desk, what, MONTH, "xlsx").read_bytes()
    rows = cells(book)
    assert [rows[f"A{k}"][1] for k in (1,)] == [next(csv.reader(plain[:1]))[0]]
    assert max(int(re.sub(r"\D", "", name)) for name in rows) == len(plain)
    told = cells(book, 2)
    about = {told[f"A{row}"][1]: told[f"B{row}"][1] for row in range(1, len(told) // 2 + 1)}
    for line in marked:
        key, _, value = line.removeprefix("# ").partition(": ")
        assert about[key] == value


def test_the_trial_balance_closes_at_what_the_states_say(desk):
    rows = rows_of(exported(desk, "trial-balance"))
    accounts = [row for row in rows if ":" in row["ledger"]]
    closing = {(row["ledger"], row["asset"], row["account"]): minor(row["closing"]) for row in accounts}
    assert {place: amount for place, amount in closing.items() if amount} == balances_by_account(desk)
    for row in rows:
        assert minor(row["opening"]) + minor(row["debits"]) - minor(row["credits"]) == minor(row["closing"])
    totals = [row for row in rows if row["ledger"] == "total"]
    assert {row["asset"] for row in totals} == {"cash:USDT", "units:T"}
    for row in totals:
        assert minor(row["opening"]) == minor(row["closing"]) == 0
        assert minor(row["debits"]) == minor(row["credits"])
        mine = [one for one in accounts if one["asset"] == row["asset"]]
        assert sum(minor(one["debits"]) for one in mine) == minor(row["debits"]) > 0
    (free,) = [r for r in rows if (r["ledger"], r["asset"], r["account"]) == ("holders", "units:T", "free")]
    assert minor(free["closing"]) == desk.it.state.balances.units


def test_what_closes_one_day_opens_the_next_and_a_day_knows_nothing_of_the_next(desk):
    first, second = (rows_of(exported(desk, "trial-balance", day)) for day in (DAY_1, DAY_2))

    def by_place(rows, column):
        return {(r["ledger"], r["asset"], r["account"]): minor(r[column]) for r in rows if minor(r[column])}

    assert by_place(first, "closing") == by_place(second, "opening")
    assert by_place(first, "opening") == {}
    assert by_place(second, "closing") != by_place(first, "closing")


def test_a_ledger_that_does_not_balance_is_not_exported(desk, capsys):
    with connect(desk.path) as connection:
        connection.execute("UPDATE journal SET body = CAST(replace(CAST(body AS TEXT), '[\"cash:USDT:outside\",-20', "
                           "'[\"cash:USDT:outside\",-21') AS BLOB) WHERE stream = 'holder:h1'")  # fmt: skip
    out = desk.path.with_name("x.csv")
    assert main(["export", "trial-balance", "--period", MONTH, "--out", str(out), "--db", str(desk.path)]) == 2
    assert "cash:USDT of holder:h1 sums to -" in capsys.readouterr().err
    assert not out.exists()


def test_every_published_nav_is_there_with_the_equity_behind_it(desk):
    rows = rows_of(exported(desk, "nav", MONTH, "csv", "--tz", "Asia/Tokyo"))
    published = desk.store.navs("T", 0, 2**60)
    found = [(row["time"], row["kind"], minor(row["nav"]), minor(row["units"])) for row in rows]
    expected = [(moment_text(nav.time_ms, "Asia/Tokyo"), nav.kind, nav.nav, nav.units) for nav in published]
    assert sorted(found) == sorted(expected)
    assert {row["kind"] for row in rows} == {"minute", "dealing"}
    for row in rows:
        assert minor(row["equity"]) * MINOR // minor(row["units"]) == minor(row["nav"])
    assert {row["marks"] for row in rows} >= {"A=100.9", "A=102.0"}


def test_navs_of_before_a_merger_are_comparable_with_those_after_it(desk):
    """However many mergers there were; of a period that ended before them they are as they were published."""
    for factor in ("10", "7.3"):
        answered = merge(desk, float(factor))
        assert answered.done, answered.words
        desk.quote(102.5, after_ms=HOUR_MS)
    rows = rows_of(exported(desk, "nav", MONTH))
    units = [Decimal(row["units"]) for row in rows]
    steps = [k for k in range(1, len(rows)) if units[k] < units[k - 1] / 5]
    assert len(steps) == 2
    for k, row in enumerate(rows):
        factor = Decimal(73 if k < steps[0] else 1) * (1 if k < steps[0] or k >= steps[1] else Decimal("7.3"))
        expected = (Decimal(row["nav"]) * factor).quantize(Decimal("1e-8"))
        assert Decimal(row["nav_adjusted"]) == expected
    before = rows_of(exported(desk, "nav", DAY_1))
    assert [row["nav_adjusted"] for row in before] == [row["nav"] for row in before]


def test_a_published_nav_that_no_line_says_is_not_exported(desk, capsys):
    with connect(desk.path) as connection:
        connection.execute("UPDATE navs SET nav = nav + 1 WHERE time_ms = (SELECT min(time_ms) FROM navs)")
    assert (
        main(["export", "nav", "--period", MONTH, "--out", str(desk.path.with_name("no.csv")), "--db", str(desk.path)])
        == 2
    )
    assert "T has a published NAV that no line of its journal says" in capsys.readouterr().err


def test_holders_have_what_they_have_at_the_last_nav(desk):
    rows = rows_of(exported(desk, "holders"))
    nav, worth = desk.it.state.nav, 0
    for row in rows:
        state = desk.primary.holders[row["holder"]].state
        if row["asset"] == "cash:USDT":
            assert (minor(row["free"]), minor(row["held"])) == (state.cash("USDT"), state.cash("USDT", ho.HELD))
            assert minor(row["value"]) == state.cash("USDT") + state.cash("USDT", ho.HELD)
        else:
            assert (minor(row["free"]), minor(row["held"])) == (state.units("T"), state.units("T", ho.HELD))
            assert minor(row["nav"]) == nav
            worth += minor(row["value"])
    equity = desk.it.state.equity
    assert 0 <= equity - worth < len(rows) + desk.it.state.balances.units // MINOR
    before = rows_of(exported(desk, "holders", "2025-12"))
    assert before == []


def test_a_statement_adds_up_to_what_a_holder_has(desk):
    rows = rows_of(exported(desk, "statement"))
    for name, mine in groupby(rows, key=lambda row: row["holder"]):
        state, units, cash = desk.primary.holders[name].state, 0, 0
        for row in mine:
            units += minor(row["units"] or "0")
            cash += minor(row["cash"] or "0")
            assert row["units_after"] in {"", f"{Decimal(units).scaleb(-8):.8f}"}
            assert row["cash_after"] in {"", f"{Decimal(cash).scaleb(-8):.8f}"}
        assert units == state.held_units("T")
        assert cash == state.cash("USDT") + state.cash("USDT", ho.HELD)
    whats = {row["what"] for row in rows}
    assert whats == {"deposit", "grant", "subscription", "redemption", "transfer"}
    (handed,) = [row for row in rows if row["what"] == "transfer" and row["holder"] == "h0"]
    assert (handed["other"], handed["reference"], handed["units"]) == ("h1", 'in#7, "new"', "1.00000000")
    fees = sum(minor(row["fee"]) for row in rows if row["fee"])
    assert fees > 0
    assert all(minor(row["fee"]) <= minor(row["value"]) for row in rows if row["fee"])
    (only,) = {row["holder"] for row in rows_of(exported(desk, "statement", MONTH, "csv", "--holder", "h2"))}
    assert only == "h2"


def test_lots_of_a_past_day_are_those_that_were_shown_on_that_day(kept, capsys):
    busy(kept)
    end_ms = period_of(DAY_2).end_ms
    kept.quote(103.0, after_ms=end_ms - kept.now_ms - 1_000)
    shown = json.loads(told(capsys, "holder", "statement", "h2", "--db", kept.path, "--json"))["tokens"][0]
    before = rows_of(exported(kept, "lots", DAY_2, "csv", "--holder", "h2"))
    kept.quote(90.0, after_ms=HOUR_MS)
    kept.ask("h2", "redeem", kept.units("h2"))
    kept.window(90.0)
    after = rows_of(exported(kept, "lots", DAY_2, "csv", "--holder", "h2"))
    assert after == before
    held = [row for row in after if row["status"] == "held"]
    assert [minor(row["profit"]) for row in held] == [lot["profit"] for lot in shown["lots"]]
    gone = [row for row in after if row["status"] == "given up"]
    assert gone == []  # that was on the first day
    sold = [row for row in rows_of(exported(kept, "lots", DAY_1, "csv", "--holder", "h2")) if row["proceeds"]]
    assert [minor(row["profit"]) for row in sold] == [one["profit"] for one in shown["sold"]]
    assert len(sold) == 2
    columns = list(after[0])
    parts = columns[columns.index("profit") + 1 :]
    for row in [*after, *sold]:
        assert sum(minor(row[part]) for part in parts) == minor(row["profit"])


def test_the_hash_is_that_of_the_lines_that_end_the_period(desk):
    """As the documentation says it is worked out, from an exported journal alone."""
    page = (Path(gearing.__file__).parents[2] / "docs" / "reference" / "office.md").read_text(encoding="utf-8")
    names = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1], names)
    expected = names["journal_hash"](lines_of(desk.path), NOON_MS + 12 * HOUR_MS,
                                     lambda stream: stream.startswith(("token:", "holder:")))  # fmt: skip
    head = head_of(exported(desk, "trial-balance", DAY_1))
    assert head["journal"] == expected
    assert (head["complete"], head["period"], head["mode"]) == ("yes", DAY_1, "demo")
    assert head_of(exported(desk, "trial-balance", MONTH))["complete"] == "no"
    assert head_of(exported(desk, "trial-balance", DAY_2))["journal"] != expected


def test_every_column_is_named_in_the_reference(desk):
    page = (Path(gearing.__file__).parents[2] / "docs" / "reference" / "office.md").read_text(encoding="utf-8")
    for what in WHATS:
        row = next(line for line in page.split("\n") if line.startswith(f"| `{what}`"))
        assert re.findall(r"`(\w+)`", row.split("|")[3]) == list(rows_of(exported(desk, what))[0])


def test_a_late_report_stays_in_the_period_in_which_it_was_journalled(kept):
    midnight_ms = period_of(DAY_1).end_ms
    for time_ms, reference in ((midnight_ms - 5, "a"), (midnight_ms, "b"), (midnight_ms - 3, "late"),
                               (midnight_ms + 9, "c")):  # fmt: skip
        kept.primary.post("h9", ho.Deposited(time_ms=time_ms, asset="USDT", amount=1, reference=reference, by="ann"))
    kept.take()
    found = {day: [row["reference"] for row in rows_of(exported(kept, "statement", day, "csv", "--holder", "h9"))]
             for day in (DAY_1, DAY_2)}  # fmt: skip
    assert found == {DAY_1: ["a"], DAY_2: ["b", "late", "c"]}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_is_made_anew_and_compared(desk, capsys, form):
    out = exported(desk, "statement", DAY_1, form, "--tz", "America/New_York", "--holder", "h2")
    assert "It says what the journals say" in told(capsys, "export", "check", out, "--db", desk.path)
    desk.deposit("h2", 5)
    desk.take()
    assert "It says what the journals say" in told(capsys, "export", "check", out, "--db", desk.path)
    if form == "csv":
        out.write_text(out.read_text().replace('"h2",', '"h3",', 1))
    else:
        frame, head = pl.read_parquet(out), pl.read_parquet_metadata(out)
        frame[1:].write_parquet(out, metadata={key: value for key, value in head.items() if key != "ARROW:schema"})
    assert main(["export", "check", str(out), "--db", str(desk.path), "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    found = answer["differences"]
    assert "ARROW:schema" not in answer["head"]
    assert found[0].startswith("row 1: the file says ")
    assert (len(found) == 2) == (form == "parquet")


def test_another_journal_is_told_by_the_hash(desk, capsys):
    out = exported(desk, "holders", MONTH)
    desk.deposit("h2", 5)
    desk.take()
    assert main(["export", "check", str(out), "--db", str(desk.path)]) == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert "journal: the file says " in shown
    assert "The period had not ended when the file was written." in shown


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--period", "2026-02-30"), "'2026-02-30' is no period. Write a year, a month or a day"),
        (("--period", "26"), "is no period"),
        (("--tz", "Mars/Olympus"), "there is no time zone 'Mars/Olympus'"),
        (("--token", "X"), "there is no token X in this database. There are: T."),
        (("--format", "ods"), "'ods' is no format"),
        (("--format", "xlsx", "--plain"), "only CSV has rows of comments, and this is xlsx"),
        (("--out", "nav.txt"), "the ending '.txt' names no format"),
        (("--out", "there.csv"), "the file exists already. Give another name, or --force"),
    ],
)
def test_what_cannot_be_exported_is_said(desk, monkeypatch, capsys, more, words):
    monkeypatch.chdir(desk.path.parent)
    desk.path.with_name("there.csv").write_text("mine")
    arguments = ["export", "nav", "--period", DAY_1, "--out", "new.csv", "--db", str(desk.path), *more]
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
    assert desk.path.with_name("there.csv").read_text() == "mine"


@pytest.mark.parametrize("text", ["no export", "", "\x00\xff"])
def test_what_is_no_export_is_not_checked(desk, capsys, text):
    path = desk.path.with_name("x.csv")
    path.write_bytes(text.encode("latin-1"))
    assert main(["export", "check", str(path), "--db", str(desk.path)]) == 2
    assert "export" in capsys.readouterr().err or not text


def test_periods_have_the_midnights_of_their_zone_and_meet():
    spring = period_of("2026-03-29", "Europe/Berlin")
    assert spring.end_ms - spring.start_ms == 23 * HOUR_MS
    assert moment_text(spring.start_ms, "Europe/Berlin") == "2026-03-29T00:00:00.000+01:00"
    for zone in ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Kiritimati"):
        months = [period_of(f"2017-{month:02}", zone) for month in range(1, 13)]
        year = period_of("2017", zone)
        assert [one.end_ms for one in months[:-1]] == [one.start_ms for one in months[1:]]
        assert (months[0].start_ms, months[-1].end_ms) == (year.start_ms, year.end_ms)
        days = [period_of(f"2017-10-{day:02}", zone) for day in range(1, 32)]
        assert [one.end_ms for one in days[:-1]] == [one.start_ms for one in days[1:]]
        assert (days[0].start_ms, days[-1].end_ms) == (months[9].start_ms, months[9].end_ms)


def test_lines_that_this_version_does_not_step_as_they_were_are_not_valued(desk):
    with connect(desk.path) as connection:
        words = """replace(CAST(body AS TEXT), '"state":"', '"state":"f')"""
        connection.execute(f"UPDATE journal SET body = CAST({words} AS BLOB) WHERE stream = 'token:T'")
    with pytest.raises(InputError, match="cannot be worked out by this version"):
        made(desk.store, "lots", period_of(DAY_1))
