"""A query makes the views that it names, with what they stand on, and no other; what shows the catalog makes all."""

import itertools
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Collection, CountingBackbone, edit_record

from featurestore import FeatureStore
from featurestore.catalog import scans
from featurestore.catalog.definitions import FUNCTIONS, OF_BACKBONE
from featurestore.catalog.shell_file import write_shell_file
from featurestore.errors import IntegrityError, QueryError
from featurestore.storage.layout import Layout
from featurestore.storage.names import core_views

pytestmark = pytest.mark.shell_file

IMAGES = {"images"}
COLLECTION = {"images", "movies", "collection"}
LABELED = {*COLLECTION, "genre_counts", "labeled"}
EMBEDDINGS = {"images", "embeddings_counting"}
# What each query makes.
NEEDS = {
    "SELECT 1": set(),
    "SELECT count(*) FROM range(3)": set(),
    "FROM images": IMAGES,
    'FROM main."Images"': IMAGES,
    "FROM collection": COLLECTION,
    "WITH labeled AS (FROM images) SELECT count(*) FROM labeled": LABELED,
    "SELECT (SELECT count(*) FROM images_usable), [x for x in [1]]": {"images", "images_usable"},
    "SELECT 1 WHERE 1 IN (SELECT ImgId FROM labeled)": LABELED,
    "FROM labeled_top(2)": LABELED - {"labeled"},
    "FROM embeddings_counting": EMBEDDINGS,
    "FROM similar_counting(101, 2)": EMBEDDINGS,
    "FROM labeled_counting": LABELED | EMBEDDINGS | {"labeled_counting"},
    "SELECT cosine([1.0], [1.0])": set(),
    "FROM mine": {*COLLECTION, "fine", "mine"},
    "FROM notes": {"notes"},
}


@pytest.fixture(scope="module")
def lazy(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store with two backbones, a table of somebody else and two views, one of which stands on the other."""
    folder = tmp_path_factory.mktemp("lazy")
    collection = Collection(folder, 12)
    store = FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    for name in ("counting", "twin"):
        store.embed(CountingBackbone(name=name))
    store.append({"notes": pa.table({"a": [1]})})
    edit(store, {"fine": "SELECT ImgId FROM collection", "mine": "FROM fine", "wrong": "SELECT Nothing FROM movies"})
    return store


def edit(store: FeatureStore, views: dict[str, str]) -> None:
    """Put views into the record of the state."""
    edit_record(store.path / "state.json", views=views)
    store.refresh()


def made(store: FeatureStore, *, locked: bool) -> set[str]:
    """The views that were made so far."""
    cursor = (store.locked_database if locked else store.database).cursor()
    rows = cursor.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    return {name for (name,) in rows}


def every(store: FeatureStore) -> set[str]:
    tables = {*store.layout.tables, *core_views(), *store.recipe.views, *store.state.views}
    return tables | {f"{what}_{b}" for what in ("embeddings", "labeled") for b in store.state.revisions}


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize("query", NEEDS)
def test_a_query_makes_what_it_needs(lazy: FeatureStore, query: str, locked: bool) -> None:
    lazy.refresh()
    (lazy.sql if locked else lazy.query)(query)
    assert made(lazy, locked=locked) == NEEDS[query]


def test_the_first_answer_reads_nothing_of_other_tables(lazy: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("parts", "schema", "dim", "embedding_parts", "revision_parts", "revisions"):
        whole = getattr(Layout, name)
        monkeypatch.setattr(
            Layout, name, lambda self, *of, name=name, whole=whole: asked.append(f"{name} {of}") or whole(self, *of)
        )
    _ = lazy.refresh().layout
    asked.clear()
    assert lazy.sql("SELECT 1 AS one")["one"][0].as_py() == 1
    assert asked == []
    lazy.sql("FROM notes")
    assert set(asked) == {"parts ('notes',)"}
    asked.clear()
    lazy.sql("FROM embeddings_twin")
    assert {"dim ('twin',)", "embedding_parts ('twin',)"} <= set(asked)
    assert not any("counting" in entry for entry in asked)


@pytest.mark.parametrize(
    "query", ["SHOW TABLES", "DESCRIBE images", "SUMMARIZE notes", "SELECT count(*) FROM (SHOW TABLES)"]
)
def test_what_shows_the_catalog_makes_all(lazy: FeatureStore, query: str) -> None:
    lazy.refresh().sql(query)
    assert made(lazy, locked=True) == every(lazy)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM duckdb_views()",
        "SELECT count(*) FROM duckdb_columns",
        "SELECT count(*) FROM information_schema.tables",
        "FROM query('FROM labeled')",
        "FROM query_table('labeled')",
        "FROM images; FROM labeled",
        "CREATE OR REPLACE TEMP TABLE t AS FROM labeled",
        "PRAGMA show_tables",
    ],
)
def test_sql_of_a_program_that_may_look_around_finds_all(lazy: FeatureStore, query: str) -> None:
    lazy.refresh().query(query)
    assert made(lazy, locked=False) == every(lazy)


def test_the_connection_has_all_views(lazy: FeatureStore) -> None:
    lazy.refresh().query("SELECT 1")
    assert made(lazy, locked=False) == set()
    assert lazy.connection is lazy.connection, "a thread keeps its own"
    lazy.connection.execute("CREATE TEMP TABLE kept AS FROM labeled_top(1)")
    assert made(lazy, locked=False) == every(lazy)
    assert lazy.query("SELECT count(*) AS n FROM kept")["n"][0].as_py() > 0


def test_a_view_that_shows_the_catalog_shows_all_of_it(lazy: FeatureStore) -> None:
    before = dict(lazy.state.views)
    edit(lazy, {"shown": "SELECT 1 AS ImgId, name FROM (SHOW TABLES)", "on_it": "FROM shown", "later": "FROM notes"})
    assert set(lazy.sql("FROM on_it")["name"].to_pylist()) == every(lazy)
    edit(lazy, before)


def test_whatever_order_the_answers_are_the_same(lazy: FeatureStore) -> None:
    queries = ["FROM mine", "FROM labeled_counting", "FROM similar_twin(101, 3)", "FROM genre_counts"]
    expected = [lazy.refresh().sql(query) for query in queries]
    for order in itertools.permutations(range(4)):
        lazy.refresh()
        for place in order:
            assert lazy.sql(queries[place]).equals(expected[place])


def test_a_failing_view_is_found_by_its_name_alone(lazy: FeatureStore) -> None:
    with pytest.raises(QueryError, match="the view 'wrong' can't be used"):
        lazy.refresh().sql("SELECT 1 FROM wrong")
    assert made(lazy, locked=True) == {"movies", "wrong"}
    assert list(lazy.refresh().failing_views) == ["wrong"]
    assert "labeled" not in made(lazy, locked=False)
    with pytest.raises(QueryError, match=r"only the store's own views.*did you mean 'mine'"):
        lazy.refresh().sql("FROM minee")
    assert made(lazy, locked=True) == set(), "names are known before anything is made"
    assert lazy.columns("labeled_twin")[-1] == "embedding"
    with pytest.raises(QueryError, match="the view 'wrong' can't be used"):
        lazy.columns("wrong")


def test_what_a_damaged_record_says_is_told_where_it_is_needed(
    lazy: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of one backbone that can't be read leaves all others readable."""
    whole = Layout.dim

    def dim(self: Layout, backbone: str) -> int:
        if backbone == "twin":
            raise IntegrityError("the record of twin is damaged")
        return whole(self, backbone)

    monkeypatch.setattr(Layout, "dim", dim)
    assert len(lazy.refresh().sql("FROM labeled_counting")) == len(lazy.sql("FROM labeled"))
    for query in ("FROM embeddings_twin", "SELECT 1 FROM labeled_twin", "FROM similar_twin(101, 2)"):
        for run in (lazy.sql, lazy.query):
            with pytest.raises(IntegrityError, match="the record of twin is damaged"):
                run(query)
    assert {"labeled_twin", "embeddings_twin"} <= set(lazy.sql("SHOW TABLES")["name"].to_pylist())
    edit(lazy, lazy.state.views | {"on_twin": "SELECT ImgId FROM labeled_twin"})
    with pytest.raises(QueryError, match=r"the view 'on_twin' can't be used .*the record of twin is damaged"):
        lazy.sql("FROM on_twin")
    assert len(lazy.sql("FROM mine")) == 12


def test_a_damaged_part_of_any_type_leaves_the_rest(lazy: FeatureStore) -> None:
    kinds = {
        "d": pa.date32(),
        "i": pa.int8(),
        "u": pa.uint64(),
        "l": pa.list_(pa.struct([("x", pa.float32())])),
        "b": pa.binary(),
        "n": pa.decimal128(10, 2),
    }
    lazy.append({"odd": pa.table({name: pa.array([None], kind) for name, kind in kinds.items()})})
    (part,) = lazy.layout.parts("odd")
    path = lazy.path / part.path
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(QueryError, match="a part of odd is damaged, see `featurestore verify`"):
        lazy.refresh().sql("FROM odd")
    assert lazy.columns("odd") == list(kinds)
    assert len(lazy.sql("FROM images")) == 12
    assert "odd" in lazy.sql("SHOW TABLES")["name"].to_pylist()
    write_shell_file(lazy.layout, lazy.path)
    with duckdb.connect(str(lazy.path / "store.duckdb"), read_only=True) as shell:
        shell.execute(f"SET file_search_path = '{lazy.path}'")
        assert shell.execute("SELECT count(*) FROM labeled_twin").fetchall()[0][0] > 0
        shell.execute("SHOW TABLES")
    path.write_bytes(content)
    assert len(lazy.refresh().sql("FROM odd")) == 1


def test_every_file_of_sql_is_a_view_or_a_macro() -> None:
    folder = Path(scans.__file__).with_name("sql")
    names = {kind.name: {file.stem for file in kind.iterdir()} for kind in folder.iterdir()}
    assert names["views"] == set(core_views())
    assert names["macros"] == set(FUNCTIONS)
    assert names["corrected"] == {"collection"}
    assert names["backbone"] == {"embeddings", "labeled", *OF_BACKBONE}


def test_a_chain_of_many_views_is_made(lazy: FeatureStore) -> None:
    before = dict(lazy.state.views)
    edit(lazy, {"v0": "SELECT ImgId FROM collection"} | {f"v{n}": f"FROM v{n - 1}" for n in range(1, 60)})
    assert len(lazy.sql("FROM v59")) == 12
    edit(lazy, before)


def test_other_backbones_cost_the_first_query_nothing(tmp_path: Path) -> None:
    collection = Collection(tmp_path, 3)
    store = FeatureStore(tmp_path / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    for number in range(6):
        vectors = np.random.default_rng(number).random((3, 4), np.float32)
        pq.write_table(pa.table({"ImgId": collection.ids, "embedding": list(vectors)}), tmp_path / "v.parquet")
        store.import_embeddings(tmp_path / "v.parquet", backbone=f"b{number}")
    store.sql("SELECT 1")
    assert made(store, locked=True) == set()
    assert store.features("b3").X.shape == (3, 4)
    assert not [name for name in made(store, locked=False) if name.startswith("_parts")]
