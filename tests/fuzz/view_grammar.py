"""Views of generated SQL: calls of every function, what must not be reached, and clauses around them."""

from hypothesis import strategies as st

from fuzz import grammar

# Each stands where an expression may; the words in capitals are filled in by the sandbox.
READS = (
    "json_serialize_plan('SELECT nosuch FROM read_csv(''SECRET'', header=true)')",
    "json_serialize_sql('FROM ''SECRET''')",
    "(SELECT content FROM read_text('store/state.json'))",
    "(SELECT any_value(a) FROM 'store/movies/secret.csv')",
    "(SELECT any_value(a) FROM 'PART')",
    "EXISTS (FROM read_csv('store/secret.csv'))",
    "current_setting('secret_directory')",
    "current_setting('allowed_directories')",
    "(SELECT string_agg(value, ' ') FROM duckdb_settings())",
    "(SELECT any_value(sql) FROM duckdb_views())",
    "getenv('FUZZ_CANARY')",
    "getenv('HOME')",
    "(SELECT any_value(file) FROM glob('*'))",
    "(SELECT any_value(part) FROM embeddings)",
    "(SELECT any_value(filename) FROM embeddings_counting)",
    "(FROM query('FROM ''SECRET'''))",
    "error((SELECT any_value(a) FROM 'SECRET'))",
)
CLAUSES = (
    *("SELECT ImgId, {} AS leak FROM collection", "SELECT ImgId FROM collection WHERE {} IS NOT NULL"),
    *("SELECT ImgId FROM collection ORDER BY {}", "SELECT ImgId FROM collection JOIN movies ON {} = Genre"),
    *("SELECT ImgId FROM collection LIMIT (SELECT length({}))", "SELECT DISTINCT ON ({}) ImgId FROM collection"),
    *(
        "WITH w AS MATERIALIZED (SELECT {} AS leak) SELECT ImgId, leak FROM collection, w",
        "FROM (VALUES ({})) AS v(ImgId)",
    ),
    *("SELECT ImgId, * REPLACE ({} AS Title) FROM collection", "SELECT ImgId, COLUMNS(c -> {} <> c) FROM collection"),
    *("FROM similar_counting(101, length({}))", "FROM collection PIVOT (max({}) FOR Genre1 IN ('Drama'))"),
    *(
        "SELECT ImgId, list_transform([1], lambda x: {}) AS leak FROM labeled",
        "SELECT ImgId, TRY({}) AS leak FROM labeled",
    ),
    *("SELECT ImgId, map {{'a': {}}} AS leak FROM labeled", "SELECT 101 AS ImgId, {} AS leak"),
    *("WITH RECURSIVE r(ImgId, x) AS (SELECT 1, {} UNION SELECT ImgId + 1, x FROM r WHERE ImgId < 3) FROM r",),
    *("SELECT ImgId, sum(1) FILTER ({} IS NULL) OVER () AS leak FROM labeled", "SELECT {} AS leak"),
    *("WITH i AS (INSERT INTO movies SELECT {} RETURNING *) FROM i", "SELECT ImgId, leak FROM v0 SELECT {} AS leak"),
)
TYPES = ("VARCHAR", "INT", "JSON", "ENUM('a')", "INT[]", "STRUCT(a INT)", "VARIANT", "TIMESTAMPTZ", "nosuch")
# The same call, spelt in other ways.
SPELLINGS = (
    lambda name, values: f"{name}({', '.join(values)})",
    lambda name, values: f"system.main.{name.upper()}({', '.join(values)})",
    lambda name, values: f"({values[0] if values else 1}).{name}({', '.join(values[1:])})",
    lambda name, values: f"/* */ {name} /* */ ({', '.join(f'x := {value}' for value in values)})",
    lambda name, values: f"list_transform([{values[0] if values else 1}], lambda x: {name}(x))[1]",
    lambda name, values: f"list_aggregate([{values[0] if values else 1}], '{name.strip(chr(34))}')",
    lambda name, values: f"(SELECT any_value(t) FROM {name}({', '.join(values)}) AS t)",
)


def views() -> st.SearchStrategy[dict[str, str]]:
    """One to three views; a later one may stand on an earlier one."""
    call = st.builds(
        lambda spell, name, values: spell(name, values),
        st.sampled_from(SPELLINGS),
        st.sampled_from(grammar.functions()),
        st.lists(st.sampled_from((*grammar.VALUES, "'store/state.json'", "'FROM ''SECRET'''")), max_size=3),
    )
    expression = st.recursive(
        st.one_of(st.sampled_from(READS), call),
        lambda inner: st.one_of(
            st.builds(lambda a, kind: f"CAST({a} AS {kind})", inner, st.sampled_from(TYPES)),
            st.builds(lambda a, b: f"({a} || {b})", inner, inner),
            st.builds(lambda a, b: f"CASE WHEN {a} IS NULL THEN {b} END", inner, inner),
            st.builds(lambda a: f"error({a})", inner),
        ),
        max_leaves=3,
    )
    text = st.one_of(
        st.builds(lambda clause, found: clause.format(found), st.sampled_from(CLAUSES), expression),
        st.builds(lambda source, found: f"SELECT t AS leak, {found} AS b FROM {source} AS t", source(), expression),
        grammar.queries(),
        st.just("SELECT * FROM v0"),
    )
    return st.lists(text, min_size=1, max_size=3).map(
        lambda found: {f"v{place}": one for place, one in enumerate(found)}
    )


def _named(texts: list[str]) -> dict[str, str]:
    return {f"v{place}": text for place, text in enumerate(texts)}


def source() -> st.SearchStrategy[str]:
    """What may stand in FROM, or must not."""
    inside = (
        "'store/state.json'",
        "'store/movies/secret.csv'",
        "read_blob('store/state.json')",
        "read_text('store/*')",
    )
    return st.one_of(st.sampled_from(grammar.VIEWS), st.sampled_from((*grammar.ELSEWHERE, *inside)), grammar.calls())
