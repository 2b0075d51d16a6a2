"""Each kind of node, type and field of a parse tree is judged: what is on no list is refused, and a test says so."""

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from featurestore.catalog.guard import Readable, guard
from featurestore.catalog.kinds import CLASSES, EMPTY_FIELDS, SQL_TYPES, TYPES
from featurestore.catalog.parse import nodes, parse
from featurestore.errors import QueryError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


READABLE = Readable({"t", "u", "v"}, (), ())
# Between them every kind of node and every field that a SELECT of the installed DuckDB can have.
USED = """
SELECT a, count(*) FILTER (b > 1), sum(DISTINCT x ORDER BY y DESC) FROM t TABLESAMPLE 3 ROWS WHERE x = $1 LIMIT 3
SELECT sum(x) OVER (PARTITION BY z ORDER BY q ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM t
SELECT rank() OVER w, dense_rank() OVER w, ntile(2) OVER w, percent_rank() OVER w FROM t WINDOW w AS (ORDER BY a)
SELECT first_value(a) OVER w, last_value(a IGNORE NULLS) OVER w, cume_dist() OVER w FROM t WINDOW w AS (ORDER BY a)
SELECT lead(a, 1, 2) OVER (ORDER BY a), lag(a) OVER (ORDER BY a), row_number() OVER (), fill(a) OVER (ORDER BY a) FROM t
SELECT nth_value(a, 3) OVER (ORDER BY a RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND UNBOUNDED FOLLOWING) FROM t
SELECT x::ENUM('a', 'b'), x::STRUCT(a INT), 'a' COLLATE nocase, x::DECIMAL(3, 2), x::VARCHAR[3] FROM t
SELECT TRY_CAST(x AS MAP(INT, VARCHAR)), x::TIMESTAMPTZ, x::JSON, x::UNION(a INT, b VARCHAR[]) FROM t
SELECT #1, COLUMNS('a'), * LIKE 'a%', * EXCLUDE (a, t.b) REPLACE (1 AS e) RENAME (c AS d), t.*, *COLUMNS(*) FROM t
FROM t PIVOT (sum(b) FOR a IN (1, 2) GROUP BY c)
FROM t UNPIVOT INCLUDE NULLS ((x) FOR y IN (a, b))
SHOW TABLES
DESCRIBE t
SUMMARIZE SELECT 1
VALUES (1, 2), (3, 4)
FROM (VALUES (1)) AS v(a)
SELECT 1 UNION ALL BY NAME SELECT 2 ORDER BY 1 NULLS LAST
(SELECT 1) INTERSECT ALL SELECT 2 EXCEPT SELECT 3
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r
WITH RECURSIVE r(n, s) USING KEY (n) AS (SELECT 1, 1 UNION SELECT n + 1, s FROM r) FROM r
WITH w AS MATERIALIZED (SELECT 1) FROM w
SELECT DISTINCT ON (a) a FROM t QUALIFY row_number() OVER (ORDER BY b) = 1
SELECT * FROM t JOIN u USING (a) LEFT JOIN LATERAL (SELECT t.a) x ON true ASOF JOIN v ON v.a > t.a CROSS JOIN u AS u2
SELECT * FROM t POSITIONAL JOIN u SEMI JOIN v USING (b) ANTI JOIN v AS w USING (q) NATURAL JOIN t AS t2
SELECT * FROM range(3) WITH ORDINALITY AS r(a, b)
SELECT CASE x WHEN 1 THEN 2 ELSE 3 END, x BETWEEN 1 AND 2, x NOT BETWEEN 1 AND 2, x IN (1, 2), x NOT IN (1, 2) FROM t
SELECT x IN (SELECT 1), EXISTS (SELECT 1), x = ANY (SELECT 1), NOT x, x IS NULL, x IS NOT NULL, ARRAY(SELECT 1) FROM t
SELECT x = 1, x <> 1, x < 1, x > 1, x <= 1, x >= 1, x IS DISTINCT FROM y, x IS NOT DISTINCT FROM y, a AND b OR c FROM t
SELECT x LIKE 'a' ESCAPE 'b', x SIMILAR TO 'q', x GLOB 'a', x[1], x[1:2], x.y, {'a': 1}, [1, 2], map {'a': 1} FROM t
SELECT [e + 1 for e in b if e > 1], list_transform(b, lambda e: e + 1), list_filter(b, e -> e > 1), row(1, 2) FROM t
SELECT coalesce(a, b), nullif(1, 2), TRY(x), extract(year FROM d), INTERVAL 3 DAY, x AT TIME ZONE 'UTC' FROM t
SELECT position('a' IN b), substring(a FROM 1 FOR 2), trim(BOTH FROM a), IF(a, b, c), a->>'b', x ** 2, -x, @x FROM t
SELECT a, GROUPING(a) FROM t GROUP BY GROUPING SETS ((a), ()) HAVING a > 1
SELECT a FROM t GROUP BY CUBE (a), ROLLUP (b)
SELECT a FROM t GROUP BY ALL ORDER BY ALL LIMIT 10% OFFSET 3
FROM t USING SAMPLE 10% (bernoulli, 3)
SELECT $name
SELECT * FROM t AS x(a, b), main.u
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY b), string_agg(a, ',' ORDER BY b) FROM t
SELECT unnest(a, recursive := true), x.upper().lower() FROM t
""".strip().splitlines()
REFUSED = {
    "WITH w AS (INSERT INTO t VALUES (1) RETURNING a) FROM w": "INSERT_QUERY_NODE",
    "WITH w AS (DELETE FROM t RETURNING a) FROM w": "DELETE_QUERY_NODE",
    "WITH w AS (UPDATE t SET a = 1 RETURNING a) FROM w": "UPDATE_QUERY_NODE",
    "SELECT (WITH w AS (INSERT INTO t VALUES (1) RETURNING a) SELECT a FROM w)": "INSERT_QUERY_NODE",
    "SELECT DEFAULT": "DEFAULT",
    "FROM t AT (VERSION => 3)": "AT another time",
    "FROM t AT (TIMESTAMP => DATE '2020-01-01')": "AT another time",
    "SELECT sum(a) EXPORT_STATE FROM t": "EXPORT_STATE",
    "FROM t PIVOT (sum(b) FOR a IN mood)": "the type of an ENUM",
    "SELECT a::mood FROM t": "the type 'mood'",
    "SELECT a::main.INTEGER FROM t": "the type 'main.INTEGER'",
    "SELECT a::system.main.INTEGER FROM t": "the type 'system.main.INTEGER'",
    "SELECT a::\"read_csv('x')\" FROM t": "the type ",
    "SELECT a::STRUCT(b mood) FROM t": "the type 'mood'",
    "SELECT a::mood[] FROM t": "the type 'mood'",
    "SELECT TRY_CAST(a AS aggregate_state) FROM t": "the type 'aggregate_state'",
    "SELECT a::type FROM t": "the type 'type'",
    "SELECT a::intt FROM t": "did you mean 'int'",
}
# Every field of the trees above. A new one may name a file or an object of the catalog: judge it, then add it.
FIELDS = _names(
    """
aggregate_handling aggregates alias aliases arg_orders arguments at_clause case_checks catalog catalog_name child
children class collation column column_name_alias column_names columns comparison_type condition cte_map cte_name
default_expr delim_flipped distinct distinct_on_targets duplicate_eliminated_columns else_expr end end_expr entries
error exclude_clause exclude_list expected_names expected_types export_state expr expression filter filter_expr
from_table function function_name group_expressions group_sets groups has_ignore_nulls having id identifier
ignore_nulls include_nulls index input is_implicit is_null is_operator is_percentage join_type key key_targets kind
left lhs limit limit_type literal lower map materialized method modifiers name named_param_map nearest_approx
nearest_count nearest_order_type node null_order offset offset_expr order_bys orders partitions path
payload_aggregates pivot_enum pivot_expressions pivots qualified_exclude_list qualified_name qualify query
query_location query_location_length query_node ranking_expression ref_type relation_name rename_list repeatable
replace_list right sample sample_rate sample_size schema schema_name seed select_list setop_all setop_type show_type
source star_expr start start_expr statements subquery subquery_type syntax_type table table_name text then_expr
try_cast type type_expr type_info type_name union_all unpivot_names upper using_columns value values when_expr
where_clause with_ordinality
"""
)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as opened:
        yield opened


@pytest.mark.parametrize("query", USED)
def test_what_a_query_needs_is_allowed(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    guard(connection, parse(connection, query), READABLE)


@pytest.mark.parametrize(("query", "what"), REFUSED.items())
def test_what_it_does_not_need_is_refused_by_its_kind(
    connection: duckdb.DuckDBPyConnection, query: str, what: str
) -> None:
    for stored in (True, False):
        with pytest.raises(QueryError) as caught:
            guard(connection, parse(connection, query), READABLE, stored=stored)
        assert what in str(caught.value)


def test_each_field_is_judged(connection: duckdb.DuckDBPyConnection) -> None:
    found = {name for query in USED for node in nodes(parse(connection, query)) for name in node}
    assert found - FIELDS == set(), "what do these fields name?"
    assert {"at_clause", "pivot_enum", "export_state"} == set(EMPTY_FIELDS)
    assert set(EMPTY_FIELDS) <= found


def test_a_kind_that_a_later_duckdb_adds_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    """Every node of every query, in turn, as if it were of a kind that nobody has seen."""
    seen: set[tuple[str, str]] = set()
    for query in USED:
        tree = parse(connection, query)
        for node in nodes(tree):
            for name in ("type", "class"):
                kind = node.get(name)
                if not isinstance(kind, str) or (name, kind) in seen:
                    continue
                seen.add((name, kind))
                node[name] = "NEW_THING"
                with pytest.raises(QueryError, match=r"the query has a NEW_THING, which can't be used"):
                    guard(connection, tree, READABLE)
                node[name] = kind
    assert {kind for name, kind in seen if name == "class"} == CLASSES
    assert len({kind for name, kind in seen if name == "type"} & TYPES) > 50


def test_each_type_is_judged(connection: duckdb.DuckDBPyConnection) -> None:
    found = {name for (name,) in connection.execute("SELECT lower(type_name) FROM duckdb_types()").fetchall()}
    assert found - SQL_TYPES == {"type"}, "may a cast name them?"


def test_a_tree_of_unknown_shape_names_its_part(connection: duckdb.DuckDBPyConnection) -> None:
    tree: Any = json.loads('{"statements": [{"node": {"type": "' + "X" * 5000 + '"}}]}')
    with pytest.raises(QueryError, match="the query has a XXX") as caught:
        guard(connection, tree, READABLE)
    assert len(str(caught.value)) < 200
