"""A user's view, in a store that somebody else wrote, reads nothing but the store: no file, setting or catalog."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import Collection, CountingBackbone, edit_record

from featurestore import FeatureStore
from featurestore.catalog import database, maker, snapshots, views
from featurestore.commands.formats import FORMS
from featurestore.errors import FeatureStoreError, QueryError
from featurestore.explore import quality

CANARY = "canary-7d21"
PLAN = "json_serialize_plan('SELECT nosuch FROM read_csv(''{secret}'', header=true, delim=''|'', all_varchar=true)')"
# Each is a SELECT list over `collection`; {secret} is a file, {port} one that somebody listens at.
EXPRESSIONS = [
    PLAN,
    "json_extract_string(" + PLAN + ", 'candidates')",
    "system.main.\"JSON_Serialize_PLAN\"('FROM read_text(''{secret}'')')",
    "main.json_serialize_plan('FROM read_text(''{secret}'')', optimize := true)",
    "('FROM read_text(''{secret}'')').json_serialize_plan()",
    "('FROM read_text(''{secret}'')').json_serialize_plan().upper().lower()",
    "list_transform(['FROM read_text(''{secret}'')'], lambda q: json_serialize_plan(q))[1]",
    "[json_serialize_plan(q) for q in ['FROM ''{secret}''']][1]",
    "CASE WHEN ImgId > 0 THEN json_serialize_plan('FROM ''{secret}''') END",
    "max(json_serialize_plan('FROM ''{secret}''')) OVER (PARTITION BY json_serialize_plan('FROM ''{secret}'''))",
    "count(*) FILTER (json_serialize_plan('FROM ''{secret}''') LIKE '%canary%') OVER ()",
    "(SELECT content FROM read_text('{secret}'))",
    "(SELECT any_value(a) FROM '{secret}')",
    "EXISTS (FROM read_csv('{secret}'))",
    "COLUMNS(c -> json_serialize_plan('FROM ''{secret}''') <> c)",
    "json_serialize_plan('FROM read_csv(''http://127.0.0.1:{port}/x.csv'')')",
    "json_serialize_plan('SELECT current_setting(''secret_directory'')', optimize := true)",
    "json_serialize_sql('SELECT 1')",
    "current_setting('allowed_directories')",
    "'allowed_directories'.current_setting()",
    "getvariable('x')",
    "getenv('HOME')",
    "get_block_size('memory')",
    "format_type(1, 2)",
    "pg_catalog.format_type(1, 2)",
    "pg_get_viewdef(1)",
    "stats(ImgId)",
    "setseed(0.5)",
    "nextval('s')",
    "write_log('x')",
    "current_query()",
    "current_database()",
    "in_search_path('memory', 'main')",
    "version()",
    "sleep_ms(1)",
]
TABLES = [
    "read_text('{secret}')",
    "'{secret}'",
    '"{secret}"',
    "glob('{secret}')",
    "sniff_csv('{secret}')",
    "query('FROM ''{secret}''')",
    "query_table('{secret}')",
    "json_execute_serialized_sql(json_serialize_sql('FROM ''{secret}'''))",
    "histogram('duckdb_settings()', 'name')",
    "histogram_values('{secret}', a)",
    "duckdb_settings()",
    "duckdb_logs_parsed('x')",
    "pragma_database_size()",
    "parquet_metadata('{secret}')",
    "information_schema.tables",
    "system.main.duckdb_views",
    "main.read_csv('{secret}')",
    "test_all_types()",
]
QUERIES = [f"SELECT ImgId, {expression} AS leak FROM collection" for expression in EXPRESSIONS] + [
    f"SELECT c.ImgId, t AS leak FROM collection AS c, (SELECT * FROM {table} AS t LIMIT 1) AS t" for table in TABLES
]
CLAUSES = [
    "SELECT ImgId FROM collection WHERE EXPR IS NOT NULL",
    "SELECT ImgId FROM collection ORDER BY EXPR",
    "SELECT ImgId FROM collection GROUP BY ImgId HAVING EXPR = 'x'",
    "SELECT ImgId FROM collection QUALIFY EXPR IS NULL",
    "SELECT ImgId FROM collection JOIN movies ON EXPR = Genre",
    "SELECT ImgId FROM collection LIMIT (SELECT length(EXPR))",
    "SELECT DISTINCT ON (EXPR) ImgId FROM collection",
    "WITH w AS MATERIALIZED (SELECT EXPR AS leak) SELECT ImgId, leak FROM collection, w",
    "SELECT ImgId, * REPLACE (EXPR AS Title) FROM collection",
    "SELECT ImgId FROM collection UNION ALL SELECT length(EXPR)",
    "FROM similar_counting(length(EXPR), 3)",
    "FROM (VALUES (EXPR)) AS v(ImgId)",
    "SELECT unnest([EXPR]) AS ImgId",
    "SELECT sum(length(EXPR)) OVER w AS ImgId FROM collection WINDOW w AS (ORDER BY EXPR)",
    "FROM collection PIVOT (max(EXPR) FOR Genre1 IN ('Drama'))",
    "SELECT ImgId, map {'a': EXPR} AS leak FROM collection",
    "SELECT ImgId, {'a': EXPR}.a AS leak FROM collection",
]
QUERIES += [clause.replace("EXPR", PLAN) for clause in CLAUSES]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Attacked"]:
    """A store beside a file that it must not read, and a port that it must not open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Attacked(tmp_path_factory.mktemp("attacked"), listener)
        yield made
        made.store.close()
        listener.shutdown(socket.SHUT_RDWR)


def listen(listener: socket.socket, visits: list[object]) -> None:
    """Note who comes, until the listener is closed."""
    while True:
        try:
            visits.append(listener.accept())
        except OSError:
            return


class Attacked:
    """One store; each attack puts its views into the record of the state."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        collection = Collection(folder, 6)
        self.secret = folder / "secret.csv"
        self.secret.write_text(f"{CANARY}\nuser:hunter2\n")
        self.port = listener.getsockname()[1]
        self.visits: list[object] = []
        threading.Thread(target=listen, args=(listener, self.visits), daemon=True).start()
        self.store = FeatureStore(folder / "store")
        self.store.ingest(metadata=collection.metadata, images=collection.images)
        self.store.embed(CountingBackbone())
        self.store.create_snapshot("clean")
        self.store.refresh()
        self.clean = (folder / "store" / "state.json").read_text("utf-8")

    def filled(self, query: str) -> str:
        return query.replace("{secret}", str(self.secret)).replace("{port}", str(self.port))

    def put(self, found: dict[str, str]) -> FeatureStore:
        """The store with ``found`` as its views, as somebody else may have written it."""
        path = self.store.path / "state.json"
        path.write_text(self.clean, "utf-8")
        edit_record(path, views={name: self.filled(query) for name, query in found.items()})
        return FeatureStore(self.store.path)

    def told(self, action: Callable[[], object]) -> str:
        """What came of ``action``: a result, or an error with all that caused it."""
        try:
            return repr(action())
        except FeatureStoreError as error:
            chain: list[BaseException] = [error]
            while chain[-1].__cause__ is not None:
                chain.append(chain[-1].__cause__)
            return " ".join(str(one) for one in chain)


@pytest.mark.parametrize("query", QUERIES)
def test_the_guard_refuses(attacked: Attacked, query: str) -> None:
    for stored in (True, False):
        with pytest.raises(QueryError) as caught:
            attacked.store.database.check(attacked.filled(query), stored=stored)
        assert "failed" not in str(caught.value), "it was DuckDB that refused it"
        assert CANARY not in str(caught.value)


def test_there_are_many_attacks() -> None:
    assert len(set(QUERIES)) > 60


@pytest.mark.parametrize("query", [QUERIES[0], QUERIES[5], QUERIES[-1]])
def test_no_view_is_made_of_it(attacked: Attacked, query: str) -> None:
    store = attacked.put({})
    with pytest.raises(QueryError, match="json_serialize_plan"):
        views.create(store.path, "evil", attacked.filled(query))
    assert not store.refresh().state.views
    assert not attacked.visits


def test_what_a_record_holds_already_is_not_run(attacked: Attacked) -> None:
    evil = {f"v{number}": query for number, query in enumerate(QUERIES)}
    store = attacked.put(evil)
    assert list(store.failing_views) == list(evil)
    for name in evil:
        assert CANARY not in attacked.told(lambda name=name: store.query(f"FROM {name}"))
    assert not attacked.visits


@pytest.mark.parametrize("query", [QUERIES[0], QUERIES[11], QUERIES[15]])
def test_no_use_of_a_view_lets_it_out(attacked: Attacked, query: str) -> None:
    """Each way to a view, with another view in between."""
    store = attacked.put({"evil": query, "on_it": "SELECT * FROM evil"})
    for view in ("evil", "on_it"):
        for number, action in enumerate(
            (
                lambda view=view: store.sql(f"FROM {view}").to_pylist(),
                lambda view=view: store.sql(f"SUMMARIZE {view}").to_pylist(),
                lambda view=view: store.sql(f"SELECT (SELECT any_value({view}) FROM {view})").to_pylist(),
                lambda view=view: store.query(f"FROM {view}").to_pylist(),
                lambda view=view: store.features("counting", view=view, label="leak").classes,
                lambda view=view: store.similar(101, backbone="counting", where=f"(FROM {view} LIMIT 1) IS NULL"),
                lambda view=view: views.create(store.path, "third", f"FROM {view}"),
                lambda view=view: FeatureStore.open(store.path, snapshot="clean").sql(f"FROM {view}"),
            )
        ):
            assert CANARY not in attacked.told(action), (number, view)
    for action in (
        lambda: snapshots.diff(store.path, "clean"),
        lambda: quality.check(store),
        lambda: store.lineage(101),
        lambda: store.failing_views,
        lambda: views.remove(store.path, "evil"),
    ):
        assert CANARY not in attacked.told(action)
    assert not attacked.visits


def test_the_second_fence_holds_for_views(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a view that got past the parser reads no file and opens no connection."""
    monkeypatch.setattr(maker, "guard", lambda *_, **__: None)
    evil = {f"v{number}": query for number, query in enumerate(QUERIES)}
    store = attacked.put(evil)
    monkeypatch.setattr(database, "failing_views", lambda *_: {})  # no process that has the fence
    assert len(store.failing_views) < len(evil) / 2, "most of them can be made without the first fence"
    for name, query in evil.items():
        assert CANARY not in attacked.told(lambda name=name: b"".join(FORMS["arrow"](store.query(f"FROM {name}")))), (
            query
        )
    assert CANARY not in attacked.told(lambda: store.features("counting", view="v0").table.to_pylist())
    assert not attacked.visits


def test_honest_views_still_run(attacked: Attacked) -> None:
    honest = {
        "windows": "SELECT ImgId, row_number() OVER (PARTITION BY Genre1 ORDER BY Title) AS place FROM collection",
        "near": "SELECT ImgId, score FROM similar_counting(101, 3)",
        "cosines": "SELECT ImgId, cosine(embedding, embedding) AS one FROM embeddings_counting",
        "lists": "SELECT ImgId, [upper(g) for g in Genres if g <> 'Drama'] AS g FROM multilabel",
        "sampled": "SELECT ImgId FROM collection TABLESAMPLE reservoir(3) REPEATABLE (1)",
        "bins": "SELECT ImgId, CASE WHEN regexp_matches(Title, '^F') THEN 'f' END AS b FROM labeled_top(2)",
        "columns": "SELECT ImgId, COLUMNS('^Genre') FROM collection",
        "on_another": "SELECT w.ImgId, w.place FROM windows AS w SEMI JOIN main.cosines AS c USING (ImgId)",
    }
    store = attacked.put(honest)
    assert store.failing_views == {}
    for name in honest:
        assert len(store.features("counting", view=name)) > 0
