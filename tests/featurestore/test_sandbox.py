"""What user SQL may do, and the many ways in which it may not do more."""

import gc
import shutil
import subprocess
import sys
import weakref
from contextlib import suppress
from pathlib import Path

import pytest
from support import CountingBackbone, edit_record

from featurestore import FeatureStore
from featurestore.catalog import sandbox
from featurestore.errors import InputError, QueryError

ALLOWED = [
    "SELECT 1",
    "FROM labeled",
    "SELECT count(*) FROM labeled_top(2)",
    "WITH d AS (SELECT * FROM labeled WHERE Genre1 = 'Drama') SELECT count(*) FROM d",
    'WITH "two words" AS (SELECT 1 AS a), columns AS (FROM "two words") SELECT a FROM columns',
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t",
    "SELECT l.Title, e.embedding FROM labeled AS l JOIN embeddings_counting AS e USING (ImgId)",
    "SELECT Genre1, count(*) FILTER (IMDBScore > 6) FROM labeled GROUP BY ALL ORDER BY ALL",
    "SELECT unnest([1, 2, 3])",
    "SELECT * FROM range(3)",
    "SHOW TABLES",
    "DESCRIBE labeled",
    "SUMMARIZE labeled",
    "VALUES (1, 'a')",
    "SELECT Title, row_number() OVER (PARTITION BY Genre1 ORDER BY ImgId) FROM labeled",
    "SELECT * EXCLUDE (Poster) FROM labeled QUALIFY rank() OVER (ORDER BY IMDBScore DESC) < 3",
    "SELECT array_distance(a.embedding, b.embedding) FROM embeddings_counting a, embeddings_counting b LIMIT 1",
    "SELECT * FROM (SELECT ImgId FROM images) UNION SELECT imdbId FROM movies",
    'SELECT "Title" FROM main.labeled -- a comment',
]

ESCAPES = [
    # files, by function, by name and in disguise
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_parquet('{part}')",
    "SELECT * FROM parquet_scan('{part}')",
    "SELECT * FROM parquet_metadata('{part}')",
    "SELECT * FROM parquet_schema('{part}')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM '{secret}'",
    'SELECT * FROM "{secret}"',
    "SELECT * FROM '{part}'",
    "FROM '{store}/state.json'",
    "TABLE '{secret}'",
    "WITH x AS (SELECT * FROM '{secret}') SELECT * FROM x",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "SELECT * FROM labeled WHERE Title IN (SELECT content FROM read_text('{secret}'))",
    "SELECT * FROM labeled, LATERAL (SELECT * FROM read_text('{secret}'))",
    "SELECT * FROM (DESCRIBE SELECT * FROM '{secret}')",
    "DESCRIBE '{secret}'",
    "SUMMARIZE '{secret}'",
    # writing and running
    "COPY labeled TO '{out}'",
    "COPY (SELECT 1) TO '{out}'",
    "EXPORT DATABASE '{out}'",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "CREATE OR REPLACE MACRO labeled_top(n) AS TABLE SELECT 1",
    "DROP VIEW labeled",
    "INSERT INTO movies VALUES (1)",
    "DELETE FROM movies",
    "UPDATE movies SET Title = ''",
    "SELECT 1; DROP VIEW labeled",
    "SELECT 1; SELECT 2",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "BEGIN TRANSACTION",
    "CHECKPOINT",
    "VACUUM",
    # other databases, extensions, settings, secrets, the network
    "ATTACH '{out}' AS other",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "SET VARIABLE x = 1",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "CALL pragma_version()",
    "CREATE SECRET s (TYPE s3)",
    "SELECT * FROM read_csv('http://127.0.0.1/x.csv')",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_extensions()",
    "SELECT * FROM duckdb_views",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM system.main.duckdb_views",
    "SELECT current_setting('memory_limit')",
    "SELECT getenv('HOME')",
    "SELECT which_secret('s3://x', 's3')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('labeled')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT nextval('s')",
    # objects of the host program
    "SELECT * FROM local_table",
    "SELECT * FROM python_map_function(range)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
    "IMPORT DATABASE '{out}'",
    # names of common table expressions, used where these are out of scope
    "WITH duckdb_views AS (SELECT count(*) FROM duckdb_views) SELECT * FROM duckdb_views",
    "WITH a AS (SELECT * FROM duckdb_tables), duckdb_tables AS (SELECT 1) SELECT * FROM a",
    "SELECT (WITH pg_class AS (SELECT 1) SELECT 1), (SELECT count(*) FROM pg_class)",
    'SELECT (WITH "{part}" AS (SELECT 1) SELECT 1), (SELECT count(*) FROM "{part}")',
    'WITH "{secret}" AS (SELECT * FROM "{secret}") SELECT * FROM "{secret}"',
    # what is new in DuckDB 2
    "SELECT * FROM read_duckdb('{out}')",
    "MERGE INTO movies USING labeled ON true WHEN MATCHED THEN DELETE",
    "SELECT * FROM duckdb_logs",
    "CALL enable_logging()",
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """One store for all queries; they can't change it, which is the point."""
    from support import Collection

    folder = tmp_path_factory.mktemp("sandbox")
    collection = Collection(folder, 24)
    store = FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    (folder / "secret.csv").write_text("a,b\nsecret,1\n")
    return store


@pytest.mark.parametrize("query", ALLOWED)
def test_honest_queries_run(shared: FeatureStore, query: str) -> None:
    assert shared.sql(query).num_columns > 0


def test_there_are_many_escapes() -> None:
    assert len(set(ESCAPES)) >= 40


@pytest.mark.parametrize("query", ESCAPES)
def test_escapes_are_refused(shared: FeatureStore, query: str) -> None:
    local_table = shared.sql("SELECT 1 AS planted")
    folder = shared.path.parent
    filled = query.format(
        secret=folder / "secret.csv",
        part=next(shared.path.glob("movies/part-*.parquet")),
        store=shared.path,
        out=folder / "out",
    )
    with pytest.raises(QueryError) as caught:
        shared.sql(filled)
    assert "\n" not in str(caught.value)
    assert not (folder / "out").exists()
    assert local_table.num_rows == 1
    assert shared.sql("SELECT count(*) AS n FROM labeled")["n"][0].as_py() == 20


def test_the_second_fence_holds_without_the_first(shared: FeatureStore) -> None:
    """Even a statement that got past the parser could not leave the parts."""
    import duckdb

    connection = shared.locked_database.cursor()
    secret = shared.path.parent / "secret.csv"
    for query in (
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM read_text('{shared.path}/state.json')",
        f"COPY (SELECT 1) TO '{shared.path.parent}/out.csv'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "INSTALL httpfs",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(query)


def test_parameters_are_bound_not_pasted(shared: FeatureStore) -> None:
    rows = shared.sql("SELECT count(*) AS n FROM labeled WHERE Genre1 = ?", ["Drama' OR 1 = 1 --"])
    assert rows["n"][0].as_py() == 0
    assert shared.sql("SELECT count(*) AS n FROM labeled WHERE Genre1 = ?", ["Drama"])["n"][0].as_py() == 8


ENDLESS = "SELECT count(*) FROM range(100000) a, range(100000) b, range(100) c WHERE a.range * b.range % 7 = c.range"


def test_a_query_has_a_time_limit(shared: FeatureStore) -> None:
    with pytest.raises(QueryError, match=r"longer than 0.5 s"):
        shared.sql(ENDLESS, seconds=0.5)
    assert shared.sql("SELECT 1 AS one")["one"][0].as_py() == 1


PRESSED = """
import os, signal, sys, threading, time
import featurestore
signal.signal(signal.SIGINT, signal.default_int_handler)
store = featurestore.open(sys.argv[1])
waiting = threading.Thread(target=time.sleep, args=(60,), daemon=True)
waiting.start()
deliver = (os.kill, os.getpid()) if sys.argv[4] == "process" else (signal.pthread_kill, waiting.ident)
threading.Timer(0.5, deliver[0], (deliver[1], signal.SIGINT)).start()
try:
    store.sql(sys.argv[2], seconds=120) if sys.argv[3] == "True" else store.query(sys.argv[2])
except KeyboardInterrupt:
    print(store.sql("SELECT 1 AS one")["one"][0].as_py())
"""


@pytest.mark.parametrize("receiver", ["process", "another thread"])
@pytest.mark.parametrize("guarded", [True, False])
def test_ctrl_c_stops_a_query(shared: FeatureStore, guarded: bool, receiver: str) -> None:
    """Whichever thread the system delivers the signal to; in a process of its own, whose signals are nobody else's."""
    arguments = [sys.executable, "-c", PRESSED, str(shared.path), ENDLESS, str(guarded), receiver]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1\n"


def test_a_query_has_a_memory_limit(shared: FeatureStore) -> None:
    with pytest.raises(QueryError, match="memory"):
        shared.sql("SELECT list(a.range || 'some text that takes room') FROM range(60000000) a", seconds=60)


def test_a_result_has_a_memory_limit(shared: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "RESULT_BYTES", 1_000_000)
    with pytest.raises(QueryError, match=r"more than 0\.001 GB"):
        shared.sql("SELECT * FROM range(10_000_000_000)", seconds=60)
    assert len(shared.sql("SELECT * FROM range(100_000)")) == 100_000


def test_an_error_after_the_first_rows_is_the_querys(shared: FeatureStore) -> None:
    with pytest.raises(QueryError, match="failed: Invalid Input Error: late"):
        shared.sql("SELECT CASE WHEN range = 900_000 THEN error('late') ELSE 1 END FROM range(1_000_000)")


def test_any_time_limit_is_a_number_of_seconds(shared: FeatureStore) -> None:
    assert shared.sql("SELECT 1 AS one", seconds=float("inf"))["one"][0].as_py() == 1
    for seconds in (0, -1, float("nan")):
        with pytest.raises(InputError, match="expected more than 0"):
            shared.sql("SELECT 1", seconds=seconds)


def test_a_view_reads_no_file_by_the_name_of_its_parts(shared: FeatureStore) -> None:
    """The store's own connection is not locked down: what a user's view may name must be checked before."""
    from featurestore.catalog import views

    secret = shared.path.parent / "secret.csv"
    with pytest.raises(QueryError, match="rename it"):
        views.create(
            shared.path, "evil", f'WITH a AS (WITH "{secret}" AS (SELECT 1) SELECT 1) SELECT * FROM "{secret}"'
        )


def test_a_view_shows_the_same_times_everywhere(shared: FeatureStore) -> None:
    """Not the time zone of the machine, which the text of a time would show."""
    query = "SELECT strftime('2020-01-01 12:00:00+00'::TIMESTAMPTZ, '%H %Z') AS t"
    for database in (shared.database, shared.locked_database):
        assert database.cursor().execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    assert shared.sql(query)["t"][0].as_py() == shared.query(query)["t"][0].as_py() == "12 UTC"


def test_names_that_stand_for_functions_show_nothing(shared: FeatureStore) -> None:
    """A collection may have a column `user`: these names are allowed, and constants where there is no such column."""
    for name in ("current_user", "session_user", "user", "current_role", "current_catalog", "current_schema"):
        assert shared.sql(f"SELECT {name} AS a")["a"].to_pylist()[0] in ("duckdb", "memory", "main")
        with pytest.raises(QueryError, match="the function"):
            shared.sql(f"SELECT {name}() AS a")


def test_a_vector_does_not_tell_where_the_store_lies(shared: FeatureStore) -> None:
    [part] = shared.sql("SELECT DISTINCT part FROM embeddings")["part"].to_pylist()
    assert (shared.path / part).is_file()
    assert not Path(part).is_absolute()


def test_a_state_edited_by_hand_runs_no_code(tmp_path: Path, shared: FeatureStore) -> None:
    copy = shutil.copytree(shared.path, tmp_path / "copy")
    edit_record(copy / "state.json", views={"evil": f"SELECT 1; COPY (SELECT 1) TO '{tmp_path}/evil.csv'"})
    with pytest.raises(QueryError, match="only SELECT"):
        FeatureStore(copy).sql("FROM evil")
    assert not (tmp_path / "evil.csv").exists()


def test_a_failed_query_keeps_no_database_open(shared: FeatureStore) -> None:
    """An error refers to the frames it came through: in a cycle with them it would hold DuckDB and its threads."""
    store = FeatureStore(shared.path)
    opened = weakref.ref(store.locked_database._open())
    gc.collect()
    gc.disable()
    try:
        with suppress(QueryError):
            store.sql("SELECT nosuch FROM labeled")
        store.close()
        assert opened() is None
    finally:
        gc.enable()
