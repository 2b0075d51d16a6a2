"""Small HTML of tables and records: escaped, shortened, and right about what is left out."""

import datetime
import pickle
from dataclasses import dataclass, field
from types import SimpleNamespace

import pyarrow as pa
import pytest
from support import needs

from featurestore import FeatureStore
from featurestore.display import RecordList, block, counted, listed, shortened, table_html, value_text

HOSTILE = '<img src=x onerror="alert(1)">\u202e&'


@dataclass(frozen=True)
class Record:
    name: str
    at: datetime.datetime
    synthetic: bool = False
    options: dict[str, int] = field(default_factory=dict)


def test_nothing_of_a_table_is_html() -> None:
    page = table_html(pa.table({HOSTILE: [HOSTILE], "list": [[HOSTILE]], "dict": [{"a": HOSTILE}]}))
    page += block(HOSTILE, about=[HOSTILE]) + RecordList([Record(HOSTILE, datetime.datetime.min)])._repr_html_()
    assert "<img" not in page
    assert "\u202e" not in page
    assert page.count("&lt;img src=x") == 7
    assert "\u200c" in table_html(pa.table({"a": ["\u0645\u06cc\u200c\u062e"]})), "letters that join stay as they are"


def test_a_table_says_what_is_not_shown() -> None:
    page = table_html(pa.table({f"c{place}": range(11) for place in range(13)}))
    assert "11 rows, 13 columns" in page
    assert "the first 10 rows and the first 12 columns" in page
    assert (page.count("<tr>"), page.count("<td"), "c12" in page) == (11, 120, False)
    small = table_html(pa.table({"a": [1]}))
    assert "1 row, 1 columns" not in small
    assert "1 row, 1 column" in small
    assert "shown" not in small
    assert "0 rows" in table_html(pa.table({"a": pa.array([], pa.list_(pa.int8()))}))


def test_values_are_short() -> None:
    far = pa.array([2**62], pa.timestamp("s"))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(range(2048), pa.float32()), 1024)
    page = table_html(
        pa.table(
            {
                "v": vectors,
                "n": [None, 1],
                "b": [b"abc", None],
                "f": [0.1 + 0.2, 1e9],
                "d": pa.concat_arrays([far, far]),
            }
        )
    )
    assert "[0, 1, 2, … 1,024 values]" in page
    assert "[1024, 1025, 1026, … 1,024 values]" in page
    assert all(text in page for text in ("NULL", "3 bytes", "0.3<", "1e+09", "that Python can&#x27;t represent"))
    assert value_text(True) == "true"
    assert value_text([1.0, None]) == "[1, NULL]"
    assert len(value_text("x" * 1000)) == 80
    assert (shortened("ab", 2), shortened("abc", 2)) == ("ab", "a…")
    assert counted({"a": 1000, "b": 1}, 1) == "a 1,000, and 1 more"
    assert listed(["a", "b"], 1) == "a, and 1 more"


def test_what_is_synthetic_says_so(kept_store: FeatureStore) -> None:
    assert "SYNTHETIC" in RecordList([Record("a", datetime.datetime.min, synthetic=True)])._repr_html_()
    assert "SYNTHETIC" not in RecordList([Record("a", datetime.datetime.min)])._repr_html_()
    table = kept_store.features("counting").to_arrow()
    assert "SYNTHETIC" not in table_html(table)
    assert "SYNTHETIC" in table_html(table.replace_schema_metadata({"featurestore": '{"synthetic": true}'}))
    for strange in ("{", "[]", '{"synthetic": 1}'):
        assert "SYNTHETIC" not in table_html(table.replace_schema_metadata({"featurestore": strange}))


def test_a_listing_is_a_list_that_prints_in_columns() -> None:
    records = [Record("a", datetime.datetime(2026, 1, 2, 3, 4, 5, 6)), Record("bcd", datetime.datetime(2026, 1, 2))]
    found = RecordList(records)
    assert found == records
    assert pickle.loads(pickle.dumps(found)) == records
    assert repr(found).splitlines() == [
        "name  at                   synthetic",
        "a     2026-01-02 03:04:05  false",
        "bcd   2026-01-02 00:00:00  false",
    ]
    assert "options" not in found._repr_html_()
    assert "2 rows" in found._repr_html_()
    assert (repr(RecordList()), "0 rows" in RecordList()._repr_html_()) == ("[]", True)


def test_a_notebook_shows_answers_as_tables(kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("IPython")
    from IPython.core.formatters import DisplayFormatter

    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    table = kept_store.sql("SELECT Title FROM labeled")
    assert "text/html" not in shell.display_formatter.format(table)[0], "outside a notebook nothing is changed"
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    table = kept_store.sql("SELECT Title FROM labeled")
    assert type(table) is pa.Table
    assert "Film 101" in shell.display_formatter.format(table)[0]["text/html"]
    shell.display_formatter.formatters["text/html"].for_type(pa.Table, lambda table: "mine")
    kept_store.sql("SELECT 1")
    assert shell.display_formatter.format(table)[0]["text/html"] == "mine", "the user's own way is kept"
