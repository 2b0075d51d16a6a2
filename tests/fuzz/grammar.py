"""Queries made of DuckDB's own functions, the store's views and the places of the canaries; and tables of vectors."""

from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import strategies as st

TEXTS = ("SECRET", "PART", "secret.csv", "http://127.0.0.1:PORT/x.csv", "OUT", "FUZZ_CANARY", "SELECT 1", "", "*", "a")
VALUES = (
    *(f"'{text}'" for text in TEXTS),
    *("1", "-1", "0", "1.5", "NULL", "true", "9223372036854775807", "1e308", "'NaN'::DOUBLE", "DATE '2020-01-01'"),
    *("[1, 2]", "['SECRET']", "{'a': 1}", "MAP {'a': 1}", "INTERVAL 1 DAY", "'\\xAA'::BLOB", "'1'::BIT", "uuid()"),
    *("ImgId", "Title", "Genre1", "x -> x", "*", "TIMESTAMP '290000-01-01'", "'infinity'::DATE", "'{}'::JSON"),
)
VIEWS = (
    "labeled",
    "movies",
    "images",
    "embeddings",
    "embeddings_counting",
    "collection",
    "labeled_top(2)",
    "backbones",
)
ELSEWHERE = (
    *("'SECRET'", '"SECRET"', "'PART'", "read_csv('SECRET')", "read_text('SECRET')", "glob('*')", "canary_table"),
    *("duckdb_settings()", "information_schema.tables", "sqlite_master", "pg_catalog.pg_class", "secret.csv"),
    *("'http://127.0.0.1:PORT/x.csv'", "query('FROM ''SECRET''')", "query_table('SECRET')", "range(3)", "unnest([1])"),
)
KEYWORDS = """
SELECT FROM WHERE GROUP BY ORDER HAVING QUALIFY WINDOW LIMIT OFFSET UNION ALL EXCEPT INTERSECT WITH AS
RECURSIVE JOIN LEFT LATERAL ON USING PIVOT UNPIVOT VALUES TABLE DESCRIBE SUMMARIZE SHOW EXPLAIN ANALYZE
COPY TO ATTACH DETACH USE CREATE VIEW TEMP MACRO DROP INSERT INTO UPDATE SET RESET DELETE PRAGMA CALL
INSTALL LOAD EXPORT IMPORT DATABASE CHECKPOINT VACUUM PREPARE EXECUTE BEGIN COMMIT SECRET VARIABLE
( ) , ; . * + - / % || :: = <> < > [ ] { } : -> $1 ? @ -- /* */ ' "
CASE WHEN THEN ELSE END CAST IN EXISTS NOT AND OR IS NULL BETWEEN LIKE COLLATE POSITIONAL ASOF SAMPLE
OVER PARTITION FILTER EXCLUDE REPLACE COLUMNS DISTINCT
"""
WORDS = (
    *KEYWORDS.split(),
    *VALUES,
    *VIEWS,
    *ELSEWHERE,
)


def functions() -> list[str]:
    """The name of every function that DuckDB has, of any kind."""
    with duckdb.connect(":memory:") as connection:
        rows = connection.execute("SELECT DISTINCT function_name FROM duckdb_functions() ORDER BY 1").fetchall()
    return [f'"{name}"' for (name,) in rows]


def calls() -> st.SearchStrategy[str]:
    """A call of any function with any values."""
    return st.builds(
        lambda name, values: f"{name}({', '.join(values)})",
        st.sampled_from(functions()),
        st.lists(st.sampled_from(VALUES), max_size=3),
    )


def queries() -> st.SearchStrategy[str]:
    """Mostly well-formed SELECTs: expressions over calls, from views and from what must not be reached."""
    expression = st.recursive(
        st.one_of(st.sampled_from(VALUES), calls()),
        lambda inner: st.one_of(
            st.builds(lambda a, o, b: f"({a} {o} {b})", inner, st.sampled_from(("+", "||", "=", "<", "AND")), inner),
            st.builds(
                lambda a, kind: f"CAST({a} AS {kind})", inner, st.sampled_from(("VARCHAR", "INT", "JSON", "BLOB"))
            ),
            st.builds(lambda a: f"(SELECT {a})", inner),
            st.builds(lambda a: f"[{a}]", inner),
        ),
        max_leaves=4,
    )
    source = st.one_of(st.sampled_from(VIEWS), st.sampled_from(ELSEWHERE), calls())
    return st.one_of(
        st.builds(lambda e: f"SELECT {e}", expression),
        st.builds(lambda e, s: f"SELECT {e} FROM {s}", expression, source),
        st.builds(lambda s, e: f"SELECT * FROM {s} WHERE {e}", source, expression),
        st.builds(lambda a, b: f"WITH t AS (SELECT * FROM {a}) SELECT * FROM t, {b}", source, source),
        st.builds(lambda a, b: f"FROM {a} UNION ALL BY NAME FROM {b}", source, source),
        st.builds(lambda word, s: f"{word} {s}", st.sampled_from(("DESCRIBE", "SUMMARIZE", "SHOW", "TABLE")), source),
        st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join),
    )


def from_bytes(data: bytes) -> str:
    """A query of text, or of words one a byte."""
    if data[:1] < b"\x80":
        return data[1:].decode("utf-8", "replace")
    return " ".join(WORDS[byte % len(WORDS)] for byte in data[1:])


NAMES = ("ImgId", "ImgName", "embedding", "0", "1", "2", "00", "²", "Title", "imgid")
NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 9))
REALS = st.one_of(st.floats(width=32), st.integers(-5, 5).map(float))
FILE_NAMES = st.one_of(st.integers(0, 99).map(lambda n: f"{n}.jpg"), st.text(max_size=12), st.just("9" * 25 + ".jpg"))


def columns(rows: int) -> st.SearchStrategy[pa.Array]:
    """A column of ``rows`` values of any type that Parquet knows, some of them null."""

    def of(values: st.SearchStrategy[Any], kind: pa.DataType) -> st.SearchStrategy[pa.Array]:
        some = st.one_of(values, st.none()) if rows < 3 else values
        return st.lists(some, min_size=rows, max_size=rows).map(lambda found: pa.array(found, kind))

    small = st.integers(0, 100)
    return st.one_of(
        of(small, pa.int32()),
        of(NUMBERS, pa.int64()),
        of(st.integers(0, 2**64 - 1), pa.uint64()),
        of(REALS, pa.float32()),
        of(st.floats(), pa.float64()),
        of(FILE_NAMES, pa.string()),
        of(FILE_NAMES, pa.large_string()),
        of(st.binary(max_size=9), pa.binary()),
        of(st.booleans(), pa.bool_()),
        of(small, pa.date32()),
        of(small, pa.timestamp("us")),
        of(st.lists(REALS, min_size=3, max_size=3), pa.list_(pa.float32())),
        of(st.lists(REALS, min_size=3, max_size=3), pa.list_(pa.float32(), 3)),
        of(st.lists(REALS, max_size=4), pa.list_(pa.float64())),
        of(st.lists(REALS, max_size=4), pa.large_list(pa.float64())),
        of(st.lists(st.lists(small, max_size=2), max_size=2), pa.list_(pa.list_(pa.int8()))),
        of(st.fixed_dictionaries({"a": small}), pa.struct([("a", pa.int8())])),
        of(FILE_NAMES, pa.string()).map(lambda column: column.dictionary_encode()),
        st.just(pa.nulls(rows)),
    )


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A table that may or may not be one of vectors."""
    rows = draw(st.integers(0, 4))
    if draw(st.booleans()):  # nearly right: an id each, and vectors
        ids = pa.array(draw(st.lists(st.integers(0, 2**31 - 1), min_size=rows, max_size=rows, unique=True)), pa.int32())
        return pa.Table.from_arrays([ids, draw(columns(rows))], names=["ImgId", "embedding"])
    names = draw(st.lists(st.sampled_from(NAMES), max_size=5))
    return pa.Table.from_arrays([draw(columns(rows)) for _ in names], names=names)
