"""Which kinds of nodes the parse tree of a user's query may have: an allow list; any other kind is refused.

A later DuckDB may parse more than this one: what its nodes do has not been reviewed. A test parses queries with each
kind and each field, and fails on one that nobody has judged.
"""

from typing import Any

from featurestore.catalog.duckdb_errors import shortened
from featurestore.errors import QueryError
from featurestore.storage.names import alike


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


CLASSES = _names(
    """
BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA OPERATOR PARAMETER
POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW
"""
)
TYPES = _names(
    """
SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE
BASE_TABLE EMPTY EXPRESSION_LIST JOIN PIVOT SHOW_REF SUBQUERY TABLE_FUNCTION
DISTINCT_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER ORDER_MODIFIER ORDER_DEFAULT ASCENDING DESCENDING
ARRAY_CONSTRUCTOR ARRAY_EXTRACT ARRAY_SLICE ARROW CASE_EXPR COLLATE COLUMN_REF COMPARE_BETWEEN COMPARE_DISTINCT_FROM
COMPARE_EQUAL COMPARE_GREATERTHAN COMPARE_GREATERTHANOREQUALTO COMPARE_IN COMPARE_LESSTHAN COMPARE_LESSTHANOREQUALTO
COMPARE_NOTEQUAL COMPARE_NOT_BETWEEN COMPARE_NOT_DISTINCT_FROM COMPARE_NOT_IN CONJUNCTION_AND CONJUNCTION_OR FUNCTION
GROUPING_FUNCTION LAMBDA OPERATOR_CAST OPERATOR_COALESCE OPERATOR_IS_NOT_NULL OPERATOR_IS_NULL OPERATOR_NOT
OPERATOR_NULLIF OPERATOR_TRY OPERATOR_UNPACK POSITIONAL_REFERENCE STAR STRUCT_EXTRACT TYPE VALUE_CONSTANT
VALUE_PARAMETER
WINDOW_AGGREGATE WINDOW_CUME_DIST WINDOW_FILL WINDOW_FIRST_VALUE WINDOW_LAG WINDOW_LAST_VALUE WINDOW_LEAD
WINDOW_NTH_VALUE WINDOW_NTILE WINDOW_PERCENT_RANK WINDOW_RANK WINDOW_RANK_DENSE WINDOW_ROW_NUMBER
ARRAY_TYPE_INFO DECIMAL_TYPE_INFO ENUM_TYPE_INFO GENERIC_TYPE_INFO INTEGER_LITERAL_TYPE_INFO LIST_TYPE_INFO
STRING_TYPE_INFO STRUCT_TYPE_INFO USER_TYPE_INFO
"""
)
# The types that a cast may name. An ENUM is one that the query itself defines; the store has none, and no other types.
SQL_TYPES = _names(
    """
array bigint bignum binary bit bitstring blob bool boolean bpchar bytea char date datetime dec decimal double enum
float float4 float8 geometry guid hugeint int int1 int128 int16 int2 int32 int4 int64 int8 integer integral interval
json list logical long map null numeric nvarchar oid real row short signed smallint string struct text time time_ns
timestamp timestamp_ms timestamp_ns timestamp_s timestamp_us timestamptz timestamptz_ns timetz tinyint tuple ubigint
uhugeint uint128 uint16 uint32 uint64 uint8 uinteger union usmallint utinyint uuid varbinary varchar variant varint
"""
) | {"time with time zone", "timestamp with time zone"}
# Fields that name an object of the catalog, or show the memory of an aggregate; each with what it is in words.
EMPTY_FIELDS = {
    "at_clause": "reads a table AT another time",
    "export_state": "uses EXPORT_STATE",
    "pivot_enum": "pivots on the type of an ENUM",
}


def check_kind(node: dict[str, Any]) -> None:
    """Refuse a node of a parse tree whose kind is not known to compute only.

    Raises
    ------
    QueryError
        When it is of another kind, names a type that is not one of DuckDB's own, or has one of `EMPTY_FIELDS`.
    """
    for name, kinds in (("class", CLASSES), ("type", TYPES)):
        kind = node.get(name, "")
        if isinstance(kind, str) and kind and kind not in kinds:
            raise QueryError(f"the query has a {shortened(kind, 80)}, which can't be used here: leave it out")
    for name, what in EMPTY_FIELDS.items():
        if node.get(name):
            raise QueryError(f"the query {what}, which can't be used here: leave it out")
    named = node.get("type_name", node.get("user_type_name"))
    if named is None:
        return
    schema = [str(node[key]) for key in ("catalog", "schema") if node.get(key)]
    if schema or str(named).lower() not in SQL_TYPES:
        shown = shortened(".".join([*schema, str(named)]), 80)
        hint = alike(str(named), SQL_TYPES) or "cast to VARCHAR, INTEGER or another type of DuckDB"
        raise QueryError(f"the query uses the type {shown!r}, expected one of DuckDB's own: {hint}")
