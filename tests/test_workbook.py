"""Workbooks, read back as the XML they are: real dates and numbers, long numbers as text, and an About sheet."""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

import gearing as gr
from gearing.cli.main import main
from gearing.errors import InputError
from gearing.filekind import kinds_of
from gearing.market import workbook
from gearing.market.workbook import workbook_bytes
from gearing.market.write import write_frame, write_series

_NS = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}


def cells(data: bytes, sheet: int = 1) -> dict[str, tuple[str, str, bool]]:
    """Each cell of a sheet: its kind ("s" text, "n" number, "b" boolean), its value, and whether it is a date."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        strings = [
            "".join(part.text or "" for part in one.iter(f"{{{_NS['m']}}}t"))
            for one in ElementTree.fromstring(book.read("xl/sharedStrings.xml")).findall("m:si", _NS)
        ]
        styles = ElementTree.fromstring(book.read("xl/styles.xml"))
        formats = {one.get("numFmtId"): one.get("formatCode", "") for one in styles.iter(f"{{{_NS['m']}}}numFmt")}
        dated = ["yyyy" in formats.get(one.get("numFmtId"), "") for one in next(styles.iter(f"{{{_NS['m']}}}cellXfs"))]
        rows = ElementTree.fromstring(book.read(f"xl/worksheets/sheet{sheet}.xml"))
    found = {}
    for cell in rows.iter(f"{{{_NS['m']}}}c"):
        assert cell.find("m:f", _NS) is None, "a formula"
        kind, value = cell.get("t", "n"), cell.findtext("m:v", "", _NS)
        found[cell.get("r", "")] = (kind, strings[int(value)] if kind == "s" else value, dated[int(cell.get("s", 0))])
    return found


FRAME = pl.DataFrame(
    {
        "time": pl.Series([dt.datetime(2024, 1, 2, 3, 4, 5)] * 2).dt.replace_time_zone("UTC"),
        "day": [dt.date(2024, 1, 2), None],
        "rate": [0.1, float("nan")],
        "order": [123_456_789_012_345, 1_234_567_890_123_456],
        "amount": pl.Series([Decimal("12345.67000000"), Decimal("12345678.12345678")], dtype=pl.Decimal(24, 8)),
        "name": ["=1+1", "@home"],
        "alive": [True, False],
        "huge": [float("inf"), 1e300],
    }
)


def test_cells_are_what_they_are():
    found = cells(workbook_bytes(FRAME, {"command": "gearing backtest"}))
    assert [found[f"{letter}1"][1] for letter in "ABCDEFGH"] == FRAME.columns
    days = (dt.datetime(2024, 1, 2, 3, 4, 5) - dt.datetime(1899, 12, 30)) / dt.timedelta(days=1)
    assert (found["A2"][0], found["A2"][2]) == ("n", True)
    assert float(found["A2"][1]) == pytest.approx(days, abs=1e-9)
    assert found["B2"][2]
    assert "B3" not in found
    assert found["C2"][:2] == ("n", "0.1")
    assert "C3" not in found
    assert found["D2"][:2] == ("n", "123456789012345")
    assert found["D3"][:2] == ("s", "1234567890123456")
    assert (found["E2"][0], float(found["E2"][1])) == ("n", 12345.67)
    assert found["E3"][:2] == ("s", "12345678.12345678")
    assert found["F2"][:2] == ("s", "=1+1")
    assert found["F3"][:2] == ("s", "@home")
    assert found["G2"][:2] == ("b", "1")
    assert found["H2"][:2] == ("s", "inf")
    assert float(found["H3"][1]) == 1e300


def test_about_says_command_and_versions_and_the_bytes_are_the_same_each_time():
    data = workbook_bytes(FRAME, {"command": "gearing backtest", "journal": "ab12"})
    told = cells(data, 2)
    pairs = {told[f"A{row}"][1]: told[f"B{row}"][1] for row in range(1, len(told) // 2 + 1)}
    assert pairs["command"] == "gearing backtest"
    assert pairs["journal"] == "ab12"
    assert set(pairs) == {"command", "journal", "gearing", "python", "polars"}
    assert workbook_bytes(FRAME, {"command": "gearing backtest", "journal": "ab12"}) == data
    assert kinds_of(data[:65_536]) == ("xlsx",)


def test_a_table_longer_than_a_sheet_is_refused(monkeypatch):
    monkeypatch.setattr(workbook, "_ROWS_MAX", 2)
    with pytest.raises(InputError, match=r"a sheet has 2 rows, and the table has 2 and its names"):
        workbook_bytes(FRAME, {})


def test_tables_of_the_commands_may_be_workbooks(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    prices, funding = gr.make_market(seed=2, days=20, interval="1h")
    write_series(prices, "p.parquet")
    write_series(funding, "f.parquet")
    words = ["backtest", "--preset", "ftx", "--prices", "p.parquet", "--funding", "f.parquet"]
    assert main([*words, "--nav", "nav.xlsx", "--rebalances", "r.xlsx"]) == 0
    result = gr.backtest(gr.presets.token("ftx", "BTC", 3.0), prices, funding=funding)
    found = cells(Path("nav.xlsx").read_bytes())
    assert sum(bool(re.fullmatch(r"A\d+", name)) for name in found) == result.nav.height + 1
    assert float(found["C2"][1]) == pytest.approx(result.nav["nav"][0])
    assert "--preset ftx --nav nav.xlsx" in cells(Path("nav.xlsx").read_bytes(), 2)["B1"][1]
    assert main(["compare", "--presets", "ftx,bybit", "--prices", "p.parquet", "--out", "c.xlsx"]) == 0
    # What is a workbook already is replaced, another kind only by force.
    assert main([*words, "--nav", "nav.xlsx"]) == 0
    write_frame(result.nav, "table.parquet")
    Path("table.parquet").rename("table.xlsx")
    capsys.readouterr()
    assert main([*words, "--nav", "table.xlsx"]) == 2
    assert "a Parquet table" in capsys.readouterr().err
