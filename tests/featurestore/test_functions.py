"""Every function of the installed DuckDB has been judged, and what may be called leads to nothing that may not."""

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from featurestore import FeatureStore
from featurestore.catalog.functions import (
    ALLOWED,
    ALLOWED_TABLES,
    REFUSED,
    REFUSED_TABLES,
    VARYING,
    VARYING_COLUMNS,
    among,
)

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


def test_each_function_is_judged_once(connection: duckdb.DuckDBPyConnection) -> None:
    for kinds, lists in ((EXPRESSIONS, (ALLOWED, VARYING, REFUSED)), (TABLES, (ALLOWED_TABLES, REFUSED_TABLES))):
        judged = {name: sum(among(name, judged) for judged in lists) for name in names(connection, kinds)}
        assert {name for name, count in judged.items() if count == 0} == set(), "judge them: allowed or refused"
        assert {name for name, count in judged.items() if count > 1} == set(), "judged twice"


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


def test_macros_of_duckdb_call_only_what_is_allowed(connection: duckdb.DuckDBPyConnection) -> None:
    rows = connection.execute(
        "SELECT lower(function_name), macro_definition FROM duckdb_functions() WHERE function_type = 'macro'"
    ).fetchall()
    assert len(rows) > 100
    for name, definition in rows:
        if among(name, ALLOWED):
            functions, tables = called(connection, f"SELECT {definition}")
            assert {other for other in functions if not among(other, ALLOWED)} == set(), name
            assert tables == set(), name


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
    from featurestore.errors import QueryError

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
