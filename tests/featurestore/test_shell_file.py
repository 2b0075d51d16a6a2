"""store.duckdb: in the shell every view and macro answers as in the store, and writing it reads no part."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from support import CountingBackbone, manifest_of

from featurestore import FeatureStore
from featurestore.catalog import shell_file
from featurestore.catalog.shell_file import write_shell_file
from featurestore.storage.layout import Layout

pytestmark = pytest.mark.shell_file

MACROS = [
    "FROM labeled_top(2)",
    "FROM similar_counting(101, 3)",
    "FROM similar_twin(101, 3)",
    "SELECT Genre1, mean_vector(embedding) FROM labeled_counting GROUP BY Genre1 ORDER BY Genre1",
    "SELECT round(cosine([1.0, 2.0], [2.0, 1.0]), 6), euclidean([1.0], [2.0]), inner_product([1.0], [2.0])",
]


@pytest.fixture
def full(store: FeatureStore) -> FeatureStore:
    """A store with two backbones and a table of another program."""
    for name in ("counting", "twin"):
        store.embed(CountingBackbone(name=name))
    store.append({"notes": pa.table({"a": [1], "b": [[1.5]]})})
    return store.refresh()


@contextmanager
def shell(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file as the shell has it that was started in the store's folder."""
    with duckdb.connect(str(folder / "store.duckdb"), read_only=True) as connection:
        connection.execute(f"SET file_search_path = '{folder}'")
        connection.execute("SET TimeZone = 'UTC'")  # the shell shows the times of its machine
        yield connection


@pytest.mark.parametrize("way", ["deferred", "bound"])
def test_every_view_and_macro_answers_as_in_the_store(
    full: FeatureStore, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older DuckDB, which can't defer, binds each."""
    if way == "bound":
        monkeypatch.setattr(shell_file, "DEFERRED", "WITH (NO_SUCH_OPTION)")
    write_shell_file(full.layout, full.path)
    views = full.database.views
    assert {"images", "collection", "labeled", "labeled_twin", "embeddings_counting", "notes", "backbones"} <= {*views}
    with shell(full.path) as connection:
        assert sorted(name for (name,) in connection.execute("SHOW TABLES").fetchall()) == views
        for query in [*(f'FROM "{view}" ORDER BY ALL' for view in views if view not in PATHS), *MACROS]:
            ours = full.query(query)
            theirs = connection.sql(query).to_arrow_table()
            assert theirs.to_pylist() == ours.to_pylist(), query
            assert theirs.schema == ours.schema, query


# It tells the path of a part, which is that of the folder the shell was started in.
PATHS = ("embeddings",)


def test_it_is_written_without_reading_a_part(full: FeatureStore, tmp_path: Path) -> None:
    """So its time does not grow with what the parts hold, and a damaged or missing one spoils its own views alone."""
    before = full.query("SELECT count(*) AS n FROM labeled_twin")["n"][0].as_py()
    away = tmp_path / "away"
    for part in full.parts("counting"):
        shutil.move(part, away)
        write_shell_file(Layout(full.path, full.state), full.path)
        with shell(full.path) as connection:
            assert connection.execute("SELECT count(*) FROM labeled_twin").fetchall() == [(before,)]
            with pytest.raises(duckdb.Error, match="part-"):
                connection.execute("FROM embeddings_counting")
            assert len(connection.execute("SHOW ALL TABLES").fetchall()) == len(full.database.views)
        shutil.move(away, part)


def test_a_damaged_manifest_spoils_its_own_views_alone(full: FeatureStore) -> None:
    manifest = manifest_of(full.path, "notes")
    manifest.write_bytes(manifest.read_bytes()[:-3])
    write_shell_file(Layout(full.path, full.state), full.path)
    with shell(full.path) as connection:
        assert connection.execute("SELECT count(*) FROM labeled_twin").fetchall()[0][0] > 0
        with pytest.raises(duckdb.Error, match="is damaged"):
            connection.execute("FROM notes").fetchall()


def test_backbones_and_extractions_stay_one_part(store: FeatureStore) -> None:
    """Each commit reads them: with many backbones they would be as many files."""
    for number in range(3):
        store.embed(CountingBackbone(name=f"b{number}"))
    assert [row["backbone"] for row in store.query("FROM backbones ORDER BY ALL").to_pylist()] == ["b0", "b1", "b2"]
    assert len(store.query("FROM extractions")) == 3
    assert [len(store.parts(table)) for table in ("backbones", "extractions")] == [1, 1]


@pytest.mark.parametrize("damage", [b"no database", None])
def test_gc_replaces_a_damaged_file_though_it_is_newer_than_the_state(full: FeatureStore, damage: bytes | None) -> None:
    file = full.path / "store.duckdb"
    content = bytearray(file.read_bytes())
    content[len(content) // 20] ^= 0x10
    damaged = bytes(content) if damage is None else damage
    file.write_bytes(damaged)
    full.gc(dry_run=True)
    assert file.read_bytes() == damaged, "a dry run changes nothing"
    full.gc()
    with shell(full.path) as connection:
        assert sorted(name for (name,) in connection.execute("SHOW TABLES").fetchall()) == full.database.views
        assert connection.execute("SELECT a FROM notes").fetchall() == [(1,)]
