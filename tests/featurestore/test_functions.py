"""Every function of the installed DuckDB has been judged, and what may be called leads to nothing that may not."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, cast

import duckdb
import pytest

from featurestore import FeatureStore
from featurestore.catalog.functions import (
    ALLOWED,
    ALLOWED_TABLES,
    BY_NAME,
    REFUSED,
    REFUSED_TABLES,
    VARYING,
    VARYING_COLUMNS,
    among,
)
from featurestore.catalog.guard import Readable, guard
from featurestore.catalog.parse import parse
from featurestore.collections.movies.recipe import MOVIES
from featurestore.errors import IntegrityError, QueryError

# Of DuckDB 2.0.0: how many overloads the allowed functions have, and the first digits of the sum of their signatures.
OVERLOADS = (2855, "ba6cce6ca0562eb4")
EXPRESSIONS = ("scalar", "aggregate", "window", "macro")
TABLES = ("table", "table_macro")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as opened:
        yield opened


def names(connection: duckdb.DuckDBPyConnection, kinds: tuple[str, ...]) -> set[str]:
    rows = connection.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE list_contains(?, function_type)",
        [list(kinds)],
    )
    return {name for (name,) in rows.fetchall()}


def called(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[set[str], set[str]]:
    """The functions and the tables that ``query`` names."""
    [text] = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone() or ("{}",)
    functions, tables, left = set(), set(), [json.loads(text)]  # a time of day without parentheses is a column
    assert not left[0]["error"], query
    while left:
        value: Any = left.pop()
        if isinstance(value, dict):
            functions |= {value["function_name"].lower()} if "function_name" in value else set()
            functions |= VARYING_COLUMNS & set(value["column_names"]) if value.get("type") == "COLUMN_REF" else set()
            tables |= {value["table_name"]} if value.get("type") == "BASE_TABLE" else set()
            left += value.values()
        elif isinstance(value, list):
            left += value
    return functions, tables


def judgements(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """On how many lists each function is."""
    counts = {}
    for kinds, lists in ((EXPRESSIONS, (ALLOWED, VARYING, REFUSED)), (TABLES, (ALLOWED_TABLES, REFUSED_TABLES))):
        for name in names(connection, kinds):
            counts[f"{kinds[0]} {name}"] = sum(among(name, judged) for judged in lists)
    return counts


def test_each_function_is_judged_once(connection: duckdb.DuckDBPyConnection) -> None:
    counts = judgements(connection)
    assert len(counts) > 1000
    assert {name for name, count in counts.items() if count == 0} == set(), "judge them: allowed or refused"
    assert {name for name, count in counts.items() if count > 1} == set(), "judged twice"


def test_a_function_that_nobody_has_judged_is_noticed_and_refused(store_of_one: FeatureStore) -> None:
    with duckdb.connect(":memory:") as later:
        later.create_function("brand_new", lambda x: x, [duckdb.sqltype("INTEGER")], duckdb.sqltype("INTEGER"))
        later.execute("CREATE MACRO brand_new_table() AS TABLE SELECT 1")
        unjudged = {name for name, count in judgements(later).items() if count == 0}
    assert unjudged == {"scalar brand_new", "table brand_new_table"}
    for query, kind in (("SELECT brand_new(1)", "function"), ("FROM brand_new_table()", "table function")):
        with pytest.raises(QueryError, match=f"the {kind} 'brand_new"):
            store_of_one.sql(query)


def test_no_release_has_added_an_overload_to_an_allowed_function(connection: duckdb.DuckDBPyConnection) -> None:
    """The judgement of a name is one of all its overloads: review new ones, then write the new sum here."""
    rows = connection.execute(
        "SELECT lower(function_name), function_type, parameter_types::VARCHAR, varargs, return_type, macro_definition "
        "FROM duckdb_functions() ORDER BY ALL"
    ).fetchall()
    allowed = [row for row in rows if among(row[0], ALLOWED_TABLES if row[1] in TABLES else ALLOWED)]
    assert (len(allowed), sha256(repr(allowed).encode()).hexdigest()[:16]) == OVERLOADS


def test_a_family_of_allowed_functions_is_one_of_collations(connection: duckdb.DuckDBPyConnection) -> None:
    for name in names(connection, EXPRESSIONS):
        if among(name, ALLOWED) and name not in ALLOWED:
            assert name.startswith(("collate_", "icu_collate_")), "no other is allowed by its first letters"


def test_what_has_side_effects_or_changes_between_calls_is_not_allowed_in_a_view(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rows = connection.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
        "WHERE has_side_effects OR stability <> 'CONSISTENT'"
    ).fetchall()
    assert {name for (name,) in rows if among(name, ALLOWED)} == {"error"}


def test_macros_of_duckdb_are_judged_by_their_bodies(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute(
        "SELECT lower(function_name), macro_definition, function_type FROM duckdb_functions() "
        "WHERE function_type IN ('macro', 'table_macro')"
    ).fetchall()
    assert len(rows) > 100
    nothing = Readable((), (), ())
    judged = 0
    for name, definition, kind in rows:
        if among(name, ALLOWED_TABLES if kind == "table_macro" else ALLOWED):
            body = definition if kind == "table_macro" else f"SELECT {definition}"
            guard(connection, parse(connection, body), nothing, stored=True)  # raises where it is not allowed
            judged += 1
    assert judged > 50


def test_an_aggregate_that_is_called_by_its_name_is_judged_too(store_of_one: FeatureStore) -> None:
    """`list_aggregate` looks the name up: a constant that is put together, or a parameter, may be any."""
    rows = store_of_one.sql("SELECT list_aggregate([1, 2], 'sum') AS a, [1, 2].list_aggr('MAX') AS b").to_pylist()
    assert rows == [{"a": 3, "b": 2}]
    for name in sorted(BY_NAME):
        for called in ("'combine_aggr'", "'combine' || '_aggr'", "lower('SUM')", "NULL", "?", "'nosuch'", "1"):
            parameters = ["sum"] if called == "?" else None
            with pytest.raises(QueryError, match=f"calls '{name}' with"):
                store_of_one.sql(f"SELECT {name}([1, 2], {called})", parameters)
            with pytest.raises(QueryError, match=f"calls '{name}' with"):
                store_of_one.sql(f"SELECT [1, 2].{name}({called})", parameters)


@pytest.mark.parametrize(
    ("macro", "what"),
    [
        (("n", "SELECT content FROM read_text(n)"), "read_text"),
        (("n", "FROM duckdb_settings()"), "duckdb_settings"),
        (("n", "SELECT getenv(n)"), "getenv"),
        (("n", "FROM '/etc/passwd'"), "/etc/passwd"),
        (("n", "WITH i AS (INSERT INTO movies SELECT n RETURNING 1) FROM i"), "INSERT_QUERY_NODE"),
    ],
)
def test_a_macro_of_a_package_is_judged_by_its_body(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, macro: tuple[str, str], what: str
) -> None:
    monkeypatch.setitem(cast("dict[str, tuple[str, str]]", MOVIES.macros), "labeled_top", macro)
    with pytest.raises(IntegrityError, match=f"'labeled_top' can't be created .*{what}"):
        store.sql("FROM labeled_top('/etc/passwd')")
    assert store.sql("SELECT count(*) AS n FROM images")["n"][0].as_py() == 24


def test_macros_of_the_store_call_only_what_is_allowed(store: FeatureStore) -> None:
    rows = store.connection.execute(
        "SELECT function_name, function_type, macro_definition FROM duckdb_functions() WHERE NOT internal"
    ).fetchall()
    assert {name for name, _, _ in rows} >= {"cosine", "labeled_top"}
    views = set(store.sql("SHOW TABLES")["name"].to_pylist())
    for name, kind, definition in rows:
        functions, tables = called(store.connection, definition if kind == "table_macro" else f"SELECT {definition}")
        assert {other for other in functions if not among(other, ALLOWED)} == set(), name
        assert tables <= views | {"ranked"}, name


@pytest.mark.parametrize(
    "name", sorted(REFUSED - {"pg_%", "__%"} | {"pg_typeof", "__cast", "getenv", "nobody_knows_it"})
)
def test_a_refused_function_is_named(store_of_one: FeatureStore, name: str) -> None:
    for call in (
        f"{name}()",
        f'"{name.upper()}"(1)',
        f"system.main.{name}('x')",
        f"'x'.{name}()",
        f"pg_catalog.{name}(1, 2)",
    ):
        with pytest.raises(QueryError, match=f"the function '{name}'"):
            store_of_one.sql(f"SELECT {call}")


@pytest.fixture(scope="module")
def store_of_one(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store that no query changes."""
    from support import Collection

    folder = tmp_path_factory.mktemp("functions")
    collection = Collection(folder, 3)
    store = FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    return store
