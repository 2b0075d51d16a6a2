"""Tables of metadata as people have them: what is read, what is said about it, and what is refused."""

import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.collections import text_files
from featurestore.collections.tables import ReadTable, read_table, reserve
from featurestore.errors import MetadataError

A_AND_B = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


def read(folder: Path, content: str | bytes, name: str = "t.csv") -> ReadTable:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path)


def rows(folder: Path, content: str | bytes, name: str = "t.csv") -> list[dict[str, Any]]:
    return read(folder, content, name).rows.to_pylist()


@pytest.mark.parametrize(
    ("content", "name", "note"),
    [
        ("a,b\n1,x\n2,y\n", "t.csv", ""),
        ("a,b\n1,x\n2,y", "no end of the last line.csv", ""),
        ("a,b\r\n1,x\r\n2,y\r\n", "t.csv", ""),
        ("a,b\r1,x\r2,y\r", "t.csv", ""),
        ("\n\na,b\n\n1,x\n2,y\n\n\n", "t.csv", ""),
        ("a, b\n1,x\n2,y\n", "t.csv", ""),
        ("a\tb\n1\tx\n2\ty\n", "t.tsv", "separated by a tab"),
        ("a;b\n1;x\n2;y\n", "t.csv", "separated by a semicolon"),
        ("a|b\n1|x\n2|y\n", "t.txt", "separated by a vertical bar"),
        ("sep=;\r\na;b\r\n1;x\r\n2;y\r\n", "of Excel.csv", "separated by a semicolon"),
        ('{"a": 1, "b": "x"}\n\n{"a": 2, "b": "y"}', "t.jsonl", ""),
        ('{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n', "named as another.csv", ""),
        (' [{"a": 1, "b": "x"},\n {"b": "y", "a": 2}]', "t.json", ""),
        ("a,b,\n1,x,\n2,y,\n", "t.csv", "the last column has no name and no values"),
        ("a,b\n1,x,\n2,y,\n", "rows end with a comma.csv", "the last column has no name and no values"),
        (",a,b\n0,1,x\n1,2,y\n", "of pandas.csv", "only counts the rows"),
        (",Unnamed: 0,a,b\n0,0,1,x\n1,1,2,y\n", "of pandas, twice.csv", "only counts the rows"),
        ('"a","b"\n"1",1,"x"\n"2",2,"y"\n', "of R.csv", "only counts the rows"),
    ],
)
def test_one_table_in_many_forms(tmp_path: Path, content: str, name: str, note: str) -> None:
    found = read(tmp_path, content, name)
    assert found.rows.to_pylist() == A_AND_B
    assert note in " ".join(found.notes)
    assert bool(found.notes) == bool(note)
    assert read(tmp_path, gzip.compress(content.encode()), f"{name}.gz").rows.equals(found.rows)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("a,b\n1,smörgås\n".encode("utf-8-sig"), ""),
        ("a,b\n1,smörgås\n".encode("utf-16"), "utf-16"),
        ("a,b\n1,smörgås\n".encode("utf-16-le"), "utf-16"),
        ("a,b\n1,smörgås\n".encode("utf-16-be"), "utf-16"),
        ("a,b\n1,smörgås\n".encode("cp1252"), "cp1252"),
    ],
)
def test_encodings(tmp_path: Path, content: bytes, encoding: str) -> None:
    found = read(tmp_path, content)
    assert found.rows.to_pylist() == [{"a": 1, "b": "smörgås"}]
    assert found.notes == ((f"t.csv is not UTF-8: it was read as {encoding}",) if encoding else ())


def test_code_page_1252_is_not_latin_1(tmp_path: Path) -> None:
    """It has letters where latin-1 has control characters, and lacks five bytes."""
    assert rows(tmp_path, b"a,b\n1,\x93\x8a\x80\x94\n2,\x81\xe5\n") == [{"a": 1, "b": "“Š€”"}, {"a": 2, "b": "\x81å"}]


def test_a_byte_order_mark_is_no_part_of_a_quoted_name(tmp_path: Path) -> None:
    assert rows(tmp_path, '\ufeff"a","b"\n1,"x"\n') == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('a,b\n1,"x\ny, ""z"""\n', 'x\ny, "z"'),
        ('a,b\r\n1,"x\r\ny"\r\n', "x\r\ny"),
        ('a,b\n1,5" disk\n', '5" disk'),
        ('a,b\n1,""\n', None),
        ("a,b\n1,a|b;c\n", "a|b;c"),
        ("a;b\n1;Hello, you, there\n", "Hello, you, there"),
        ("a,b\n1,#hash\n", "#hash"),
        ('a,b\n1,"x\n"\n', "x\n"),
    ],
)
def test_fields(tmp_path: Path, content: str, expected: str | None) -> None:
    assert rows(tmp_path, content) == [{"a": 1, "b": expected}]


def test_a_genre_of_two_in_every_row_is_no_separator(tmp_path: Path) -> None:
    assert rows(tmp_path, "genres\na|b\nc|d\n") == [{"genres": "a|b"}, {"genres": "c|d"}]
    assert rows(tmp_path, "f,g\nx,a|b\ny,c|d\n") == [{"f": "x", "g": "a|b"}, {"f": "y", "g": "c|d"}]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["1", "-2", ""], pa.int64(), [1, -2, None]),
        (["1", "nan", "3"], pa.int64(), [1, None, 3]),
        ([" 1", "2 ", "3"], pa.int64(), [1, 2, 3]),
        (["0", "10"], pa.int64(), [0, 10]),
        (["007", "8"], pa.string(), ["007", "8"]),
        (["1" * 18], pa.int64(), [int("1" * 18)]),
        (["1" * 19, "2"], pa.string(), ["1" * 19, "2"]),
        (["+4670", "1"], pa.string(), ["+4670", "1"]),
        (["12e4", "98e7"], pa.string(), ["12e4", "98e7"]),
        (["1.5", "2", "1e-05", ".5"], pa.float64(), [1.5, 2.0, 1e-5, 0.5]),
        (["1.5", "00.5"], pa.string(), ["1.5", "00.5"]),
        (["1,5"], pa.string(), ["1,5"]),
        (["True", "False", ""], pa.bool_(), [True, False, None]),
        (["true", "yes"], pa.string(), ["true", "yes"]),
        (["2020-01-31", "2020-02-01"], pa.string(), ["2020-01-31", "2020-02-01"]),
        (["nan", "nan"], pa.string(), ["nan", "nan"]),
        (["1", "N/A"], pa.string(), ["1", "N/A"]),
        (["", ""], pa.string(), [None, None]),
    ],
)
def test_types_where_they_are_safe(tmp_path: Path, values: list[str], kind: pa.DataType, expected: list[Any]) -> None:
    lines = [f'{number},"{value}"' for number, value in enumerate(values)]
    found = read(tmp_path, "\n".join(["n,v", *lines])).rows["v"]
    assert (found.type, found.to_pylist()) == (kind, expected)


def test_names_of_columns_are_made_distinct(tmp_path: Path) -> None:
    found = read(tmp_path, 'label,Label,label_2,,column_4,"two\nlines"\n1,2,3,4,5,6\n')
    assert found.rows.column_names == ["label", "Label_3", "label_2", "column_4_2", "column_4", "two lines"]
    assert found.notes == (
        "column 2 is called 'Label_3', since another column is called 'Label'",
        "column 4 has no name: it is called 'column_4_2'",
    )


def test_a_nameless_first_column_that_does_not_count_is_kept(tmp_path: Path) -> None:
    found = read(tmp_path, ",b\nx,1\ny,2\n")
    assert found.rows.column_names == ["column_1", "b"]
    assert found.notes == ("column 1 has no name: it is called 'column_1'",)


def test_names_that_the_store_uses_itself() -> None:
    found = reserve(pa.table({"imgid": [1], "IMGID_": [2], "Embedding": [3], "label": [4]}))
    assert found.rows.column_names == ["imgid__2", "IMGID_", "Embedding_", "label"]
    assert len(found.notes) == 2
    assert reserve(pa.table({"label": [1]})).notes == ()


def test_json_keeps_lists_and_objects(tmp_path: Path) -> None:
    lines = [
        {"a": "2020-01-01", "tags": ["x", "y"], "box": {"w": 1}, "mixed": 1, "huge": 1 << 80},
        {"tags": [], "more": 1, "mixed": "a"},
    ]
    found = read(tmp_path, "\n".join(map(json.dumps, lines)), "t.jsonl")
    assert found.rows.to_pylist() == [
        {"a": "2020-01-01", "tags": ["x", "y"], "box": {"w": 1}, "mixed": "1", "huge": str(1 << 80), "more": None},
        {"a": None, "tags": [], "box": None, "mixed": "a", "huge": None, "more": 1},
    ]
    assert found.notes == (
        "the column 'mixed' holds values that don't fit one type: they became text",
        "the column 'huge' holds values that don't fit one type: they became text",
    )


@pytest.mark.parametrize(
    "value",
    ["[" * 300 + "]" * 300, '{"x": 1, "X": 2}', "{}", '"\\ud800"', '{"\\ud800": 1}', '{"": 1}', "[[], [{}]]"],
)
def test_json_that_a_store_has_no_type_for_is_text(tmp_path: Path, value: str) -> None:
    found = read(tmp_path, f'{{"a": 1, "b": {value}}}', "t.jsonl").rows
    assert found["b"].type == pa.string()
    assert isinstance(found["b"][0].as_py(), str)


def test_parquet_in_types_that_a_store_keeps(tmp_path: Path) -> None:
    table = pa.table(
        {
            "label": pa.array(["a", "b"]).dictionary_encode(),
            "none": pa.nulls(2),
            "half": pa.array([1.0, 2.0], pa.float16()),
            "text as bytes": pa.array([b"x", None]),
            "bytes": pa.array([b"\xff\xd8", None]),
            "tags": pa.array([["a"], None], pa.large_list(pa.large_string())),
            "box": pa.array([{"w": 1}, None]),
            "when": pa.array([1, 2], pa.timestamp("ms")),
            "__index_level_0__": pa.array([0, 1]),
        }
    )
    pq.write_table(table, tmp_path / "t.bin")
    found = read_table(tmp_path / "t.bin")
    string = pa.string()
    assert found.rows.schema.types == [
        string,
        string,
        pa.float32(),
        string,
        pa.binary(),
        pa.list_(string),
        pa.struct({"w": pa.int64()}),
        pa.timestamp("ms"),
    ]
    assert found.rows["tags"].to_pylist() == [["a"], None]
    assert found.notes == ("the column '__index_level_0__' only counts the rows: it was left out, as an index",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n \r\n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text file"),
        ("a,b\n1,x\n".encode("utf-32"), "is not a text file"),
        (b"a,b\n1,x\x00y\n", "is not a text file"),
        (b"\x1f\x8b\x08\x00broken", "is a damaged gzip file"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-6], "is a damaged gzip file"),
        (b"PK\x03\x04\x14", "save the sheet as CSV"),
        (b"\n <!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"PAR1 and then no more PAR1", "is a damaged Parquet file"),
        (b"a,b\n1,x\n1,x,3\n", "row 2 after the header has 3 fields, expected 2: '1,x,3'"),
        (b"a,b\n\n1\n", "row 1 after the header has 1 fields, expected 2"),
        (b'a,b\n1,x\n2,"y\n3,z\n', "a quote that opens in row 2 after the header is never closed"),
        (b"sep=;\n\n", "is empty after its first line"),
        (b",".join([b"a"] * 10_001), "has 10,001 columns"),
        (b'{"a": 1}\n{"a": 2\n', "line 2 is not valid JSON"),
        (b'{"a": ' + b"[" * 100_000, "line 1 is not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 1 is not valid JSON"),
        (b'[{"a": 1}, 2]', "item 2 is 2: expected objects"),
        (b'[{"a": 1},', "is not valid JSON"),
        (b"[]", "holds no rows"),
        (b'{"a": {"0": 1}, "b": {"0": 2}}', "is one JSON object of columns"),
    ],
)
def test_what_is_refused_is_said_in_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(MetadataError) as caught:
        read(tmp_path, content)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_json_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match="is not JSON"):
        read(tmp_path, "not found", "t.json")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match="there is no metadata file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(MetadataError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(MetadataError, match="can't be read"):
        read_table(Path(os.devnull))


def test_a_name_with_special_characters_is_only_a_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\nother\n")
    assert rows(tmp_path, "a,b\n1,x\n", "[t]*?.csv") == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize("kind", ["gzip", "parquet", "file"])
def test_a_file_over_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(text_files, "MAX_BYTES", 5000)
    monkeypatch.setattr("featurestore.collections.tables.MAX_BYTES", 5000)
    path = tmp_path / "t"
    if kind == "parquet":
        pq.write_table(pa.table({"a": ["x" * 100] * 10_000}), path)
    else:
        text = b"a\n" + b"x\n" * 5000
        path.write_bytes(gzip.compress(text, mtime=0) if kind == "gzip" else text)
    with pytest.raises(MetadataError, match=r"than (the limit of )?5,000 bytes"):
        read_table(path)


def test_a_long_field_and_a_sample_that_ends_in_a_row(tmp_path: Path) -> None:
    long = "x" * 200_000
    assert rows(tmp_path, f'a;b\n1;"{long}, y"\n2;z\n') == [{"a": 1, "b": f"{long}, y"}, {"a": 2, "b": "z"}]
    many = ["a;b", *(f'{number};"{"y" * 90_000}\n, z"' for number in range(12))]
    assert read(tmp_path, "\n".join(many)).rows.shape == (12, 2)


FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4).map(
    lambda text: text and f"x{text}"
)


@settings(deadline=None, max_examples=60)
@given(
    table=st.lists(st.tuples(FIELDS, FIELDS, FIELDS), max_size=4),
    separator=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str, str]], separator: str, end: str, encoding: str
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("one", "two", "three"), *table])
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(buffer.getvalue().encode(encoding))
    found = read_table(path).rows
    assert found.column_names == ["one", "two", "three"]
    assert [tuple(row.values()) for row in found.to_pylist()] == [tuple(f or None for f in row) for row in table]
