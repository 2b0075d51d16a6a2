"""CSV for people: no cell of it is a formula, numbers stay numbers, and what was written is read back."""

import csv
import io
import random
import re
from pathlib import Path

import pyarrow as pa
import pytest
from support import needs

from featurestore import FeatureStore
from featurestore.collections.tables import read_table
from featurestore.spreadsheet import SafeCells, restored_cell, restored_column, safe_cell


def safe_table(table: pa.Table) -> tuple[pa.Table, int]:
    """The table as `SafeCells` reads it, and how many cells that changed."""
    cells = SafeCells(table.to_reader())
    return cells.reader().read_all(), cells.changed


FORMULAS = ("=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "a;=1", "a\n@b", "'=1")
NUMBERS = ("-5", "+3.25", "-1e-3", ".5", "0")
PLAIN = ("5 - 3", "a=b", "'71", "", "Amélie", "x@y", "e-mail", "−1")
# A spreadsheet may split a line at any of these.
CELLS = re.compile(r"[;\t\r\n]")


def is_formula(text: str) -> bool:
    return not re.fullmatch(r"[-+]?[\d.]+(e-?\d+)?", text) and any(
        cell[:1] in tuple("=+-@＝＋－＠") for cell in CELLS.split(text)
    )


def test_no_cell_is_a_formula_and_every_text_is_restored() -> None:
    rng = random.Random(0)
    made = ("".join(rng.choices("'=+-@＠;\t\n\r1.ea\" ", k=rng.randint(0, 6))) for _ in range(5_000))
    texts = [*FORMULAS, *NUMBERS, *PLAIN, *made]
    safe = [safe_cell(text) for text in texts]
    assert not [text for text in safe if is_formula(text) or text[:1] in ("\t", "\r", "\n")]
    assert [safe_cell(text) for text in (*NUMBERS, *PLAIN)] == [*NUMBERS, *PLAIN]
    assert [restored_cell(text) for text in safe] == texts
    table, changed = safe_table(pa.table({"=t": texts, "n": pa.array([-1.5] * len(texts))}))
    assert table.column_names == ["'=t", "n"]
    assert table["'=t"].to_pylist() == safe, "Arrow's patterns are Python's"
    assert changed == 1 + sum(text != new for text, new in zip(texts, safe, strict=True))
    assert table["n"].type == pa.float64()
    assert restored_column(table["'=t"]).to_pylist() == texts


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())])
def test_every_type_of_text_is_safe(kind: pa.DataType) -> None:
    values = [None, "=1", "b"] if not pa.types.is_binary(kind) else [None, b"=1\xff", b"b"]
    array = pa.array(values).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values, kind)
    table, changed = safe_table(pa.table({"x": array}))
    shown = table["x"].to_pylist()
    assert (shown[0], shown[1][:1], changed) == (None, "'" if isinstance(shown[1], str) else b"'", 1)


def test_sql_says_what_it_changed(invoke, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    query = """SELECT '=1+1' AS "@a", -5 AS number, '-5' AS digits, 'x' AS plain"""
    code, out, err = invoke("sql", query, "--format", "csv")
    assert (code, out) == (0, '"\'@a","number","digits","plain"\n"\'=1+1",-5,"-5","x"\n')
    assert err.startswith("note: 2 cells that a spreadsheet would take for a formula got a ' in front; --exact")
    code, out, err = invoke("sql", query, "--format", "csv", "--exact")
    assert (out.splitlines()[1], err) == ('"=1+1",-5,"-5","x"', "")
    assert invoke("sql", "SELECT 'x' AS plain", "--format", "csv")[2] == ""
    assert "'" not in invoke("sql", query, "--format", "json")[1], "a program's format"
    assert invoke("sql", query, "--format", "csv", "-o", str(tmp_path / "made.csv"))[0] == 0
    read = read_table(tmp_path / "made.csv")
    assert read.rows.column_names[0] == "@a"
    assert read.rows["@a"].to_pylist() == ["=1+1"]
    assert read.rows["digits"].to_pylist() == [-5]
    assert read.notes == (
        "1 column has cells with a ' before =, +, - or @, as spreadsheets are given them: it was left out",
    )


def test_corrections_are_for_spreadsheets(store: FeatureStore, tmp_path: Path) -> None:
    store.correct_labels([101], "=cmd|x")
    for exact, written in ((False, "'=cmd|x"), (True, "=cmd|x")):
        store.export_corrections(tmp_path / "made.csv", exact=exact)
        (row,) = csv.DictReader(io.StringIO((tmp_path / "made.csv").read_text()))
        assert (row["to"], row["ImgId"]) == (written, "101")


def test_a_spreadsheet_of_others_is_read_as_it_was_meant(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("title,note\n'71,'=1\n\"'n Sync\",x\n")
    read = read_table(tmp_path / "m.csv")
    assert read.rows.to_pydict() == {"title": ["'71", "'n Sync"], "note": ["=1", "x"]}
    assert len(read.notes) == 1
    (tmp_path / "m.jsonl").write_text('{"note": "\'=1"}\n')
    assert read_table(tmp_path / "m.jsonl").rows["note"].to_pylist() == ["'=1"], "JSON is exact"


def test_pandas_reads_the_same(tmp_path: Path) -> None:
    needs("pandas")
    import pandas as pd
    from pyarrow import csv as arrow_csv

    table, _ = safe_table(pa.table({"text": list(FORMULAS), "number": pa.array(range(-5, 6))}))
    arrow_csv.write_csv(table, tmp_path / "x.csv")
    frame = pd.read_csv(tmp_path / "x.csv")
    assert frame["number"].tolist() == list(range(-5, 6))
    assert [restored_cell(text) for text in frame["text"]] == list(FORMULAS)
