"""A user's view that no longer fits fails alone, by name, where it is used; everything else goes on."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support import Collection, CountingBackbone, edit_record

from featurestore import FeatureStore
from featurestore.catalog import snapshots, views
from featurestore.commands.cli import cli
from featurestore.errors import FeatureStoreError, InputError, QueryError

FINE = "SELECT ImgId, Genre1 FROM collection"
# Each fits no more, or never did; a view `on_it` depends on it.
BROKEN = {
    "another length": "SELECT ImgId, array_distance(embedding, embedding::FLOAT[16]) AS d FROM embeddings_theirs",
    "no such column": "SELECT ImgId, Nothing FROM collection",
    "no such view": "SELECT ImgId FROM nothing",
    "on itself": "SELECT ImgId FROM broken",
    "on a later one": "SELECT ImgId FROM on_it",
    "refused function": "SELECT ImgId, json_serialize_plan('SELECT 1') AS p FROM collection",
    "refused table function": "SELECT 1 AS ImgId FROM read_text('/etc/passwd')",
    "another at each call": "SELECT ImgId, random() AS r FROM collection",
    "the time of day": "SELECT ImgId, current_timestamp AS t FROM collection",
    "a sample": "SELECT ImgId FROM collection USING SAMPLE 3",
    "no SELECT": "DROP VIEW labeled",
    "two": "SELECT 1 AS ImgId; SELECT 2 AS ImgId",
    "no SQL": "\x00 damaged",
    "nothing": "",
    "what moves a cursor": f"SELECT ImgId, {chr(27)}[2J FROM collection",
    "a column that moves a cursor": f'SELECT ImgId, "{chr(27)}[2J" FROM collection',
}


def vectors(path: Path, length: int, *, rows: int = 12) -> Path:
    """A file of vectors for the first posters."""
    ids = list(range(101, 101 + rows))
    X = np.random.default_rng(length).random((rows, length), np.float32)
    pq.write_table(pa.table({"ImgId": ids, "embedding": list(X)}), path)
    return path


def edit(store: FeatureStore, found: dict[str, str]) -> None:
    """Put views into the record of the state by hand."""
    edit_record(store.path / "state.json", views=found)
    store.refresh()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """A store with two backbones; its views are put into the record by each test."""
    folder = tmp_path_factory.mktemp("failing")
    collection = Collection(folder, 12)
    store = FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    store.import_embeddings(vectors(folder / "v.parquet", 8), backbone="theirs")
    store.create_snapshot("before")
    with store:
        yield store


def sentence_of(action: Callable[[], object]) -> str:
    """The one sentence that ``action`` fails with."""
    with pytest.raises(FeatureStoreError) as caught:
        action()
    text = str(caught.value)
    assert text.isprintable()
    assert len(text.encode()) < 2000
    return text


def cli_lines(*arguments: object) -> str:
    """What a command prints."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return str(result.output)


@pytest.mark.parametrize("query", BROKEN.values(), ids=BROKEN.keys())
def test_a_view_that_does_not_fit_fails_alone(theirs: FeatureStore, tmp_path: Path, query: str) -> None:
    edit(theirs, {"broken": query, "fine": FINE, "on_it": "SELECT ImgId FROM broken", "last": "FROM fine"})
    # all else works
    assert len(theirs.sql("FROM fine")) == len(theirs.sql("SELECT * FROM last")) == 12
    assert theirs.features("counting", view="last").X.shape == (12, 16)
    assert len(theirs.similar(101, backbone="counting", k=2, where="ImgId IN (SELECT ImgId FROM fine)").ids[0]) == 2
    assert {"broken", "fine", "on_it", "last"} <= set(theirs.sql("SHOW TABLES")["name"].to_pylist())
    assert snapshots.diff(theirs.path, "before")["movies"].changed == 0
    assert [row.name for row in theirs.backbones()] == ["counting", "theirs"]
    # these don't, and say which, why, and what to do
    for name in ("broken", "on_it"):
        for action in (
            lambda name=name: theirs.sql(f"SELECT anything FROM {name}"),
            lambda name=name: theirs.sql(f"DESCRIBE {name}"),
            lambda name=name: theirs.features("counting", view=name),
            lambda name=name: theirs.similar(101, backbone="counting", where=f"ImgId IN (SELECT ImgId FROM {name})"),
            lambda name=name: theirs.query(f"SELECT * FROM {name}"),
        ):
            text = sentence_of(action)
            assert f"the view {name!r} can't be used" in text
            assert f"`featurestore view remove {name}`" in text
    assert list(theirs.failing_views) == ["broken", "on_it"]
    assert all(text.isprintable() for text in theirs.failing_views.values())
    assert "depends on the view 'broken'" in theirs.failing_views["on_it"] or query == BROKEN["on a later one"]


def test_the_commands_mark_it(theirs: FeatureStore) -> None:
    edit(theirs, {"broken": BROKEN["no such column"], "fine": FINE})
    listed = cli_lines("view", "list", "--store", theirs.path).splitlines()
    assert [line.partition(":")[0].strip() for line in listed] == ["broken", "fails", "fine"]
    assert "view fails  the view 'broken' can't be used" in cli_lines("info", "--store", theirs.path)
    info = json.loads(cli_lines("info", "--store", theirs.path, "--json"))
    assert list(info["failing_views"]) == ["broken"]
    assert json.loads(cli_lines("view", "list", "--store", theirs.path, "--json"))["fine"] == FINE


@pytest.mark.parametrize("name", ["labeled", "collection", "embeddings_theirs", "Bad Name", "LABELED", ""])
def test_a_name_that_is_taken_hides_nothing(theirs: FeatureStore, name: str) -> None:
    edit(theirs, {name: "SELECT 1 AS ImgId", "fine": FINE})
    assert len(theirs.sql("FROM fine")) == 12
    assert theirs.features("counting", view="labeled").X.shape[1] == 16
    assert theirs.sql("SELECT count(*) AS n FROM collection")["n"][0].as_py() == 12
    assert list(theirs.failing_views) == [name]
    with pytest.raises(FeatureStoreError):
        theirs.features("counting", view="Bad Name")
    number = theirs.state.number
    theirs.append({"notes": pa.table({"a": [1]})})  # a commit goes on
    assert theirs.state.number == number + 1
    views.remove(theirs.path, name)
    assert theirs.refresh().failing_views == {}


def test_a_failing_view_is_removed_or_made_anew(theirs: FeatureStore) -> None:
    record = {"broken": "SELECT ImgId, Nothing FROM collection", "on_it": "SELECT ImgId FROM broken", "fine": FINE}
    edit(theirs, record)
    assert views.create(theirs.path, "new", "FROM fine") == 12
    assert views.create(theirs.path, "broken", FINE, replace=True) == 12
    assert theirs.refresh().failing_views == {}
    assert len(theirs.sql("FROM on_it")) == 12
    with pytest.raises(InputError, match="another depends on it"):
        views.remove(theirs.path, "broken")
    edit(theirs, record)
    views.remove(theirs.path, "broken")
    assert list(theirs.refresh().failing_views) == ["on_it"]
    assert "reads 'broken'" in sentence_of(lambda: theirs.sql("FROM on_it"))
    views.create(theirs.path, "later", "SELECT ImgId, Genre1 FROM fine")
    for query in ("FROM later", "FROM fine", "SELECT ImgId FROM collection"):
        with pytest.raises(InputError, match="others or itself depend on it"):
            views.create(theirs.path, "fine", query, replace=True)


def test_a_chain_of_views_fails_for_one_reason(theirs: FeatureStore) -> None:
    chain = {f"v{number}": f"FROM v{number - 1}" for number in range(1, 30)}
    edit(theirs, {"v0": "SELECT ImgId, Nothing FROM collection", **chain})
    text = sentence_of(lambda: theirs.sql("FROM v29"))
    assert "'v29' can't be used (it depends on the view 'v0'" in text
    assert 'Candidate bindings: "' in text


@pytest.mark.parametrize("how", ["import", "embed"])
def test_the_commit_that_changes_a_revision_says_which_views_fit_no_more(
    store: FeatureStore, tmp_path: Path, how: str
) -> None:
    store.import_embeddings(vectors(tmp_path / "a.parquet", 8), backbone="counting")
    query = f"SELECT ImgId, array_distance(embedding, {[0.5] * 8}::FLOAT[8]) AS d FROM embeddings_counting"
    views.create(store.path, "near", query)
    views.create(store.path, "nearest", "SELECT ImgId FROM near WHERE d < 1")
    views.create(store.path, "fine", FINE)
    report = (
        store.embed(CountingBackbone())
        if how == "embed"
        else store.import_embeddings(vectors(tmp_path / "b.parquet", 4), backbone="counting")
    )
    assert list(report.failing_views) == ["near", "nearest"]
    assert "Array arguments must be of the same size" in report.failing_views["nearest"]
    assert len(store.sql("FROM fine")) == 24
    if how == "import":
        again = vectors(tmp_path / "c.parquet", 5)
        lines = cli_lines("import-embeddings", "--store", store.path, again, "--backbone", "counting").splitlines()
        assert [line for line in lines if line.startswith("the view 'near")] == lines[-3:-1], "before what comes next"
        assert store.import_embeddings(vectors(tmp_path / "d.parquet", 8), backbone="counting").failing_views == {}
        assert len(store.sql("FROM near")) == 12


def test_a_failing_view_is_one_line_of_an_export(theirs: FeatureStore, tmp_path: Path) -> None:
    edit(theirs, {"broken": BROKEN["no such column"], "fine": FINE})
    arguments = [
        "export",
        "--backbone",
        "counting",
        "--store",
        str(theirs.path),
        "--format",
        "npz",
        "-o",
        str(tmp_path / "x.npz"),
    ]
    bad = CliRunner().invoke(cli, [*arguments, "--view", "broken"])
    assert isinstance(bad.exception, QueryError)
    assert not (tmp_path / "x.npz").exists()
    cli_lines(*arguments, "--view", "fine")
    assert (tmp_path / "x.npz").exists()


@pytest.mark.shell_file
def test_the_shell_file_has_no_views_of_users(theirs: FeatureStore) -> None:
    edit(theirs, {"fine": FINE})
    theirs.append({"notes": pa.table({"a": [2]})})
    with duckdb.connect(str(theirs.path / "store.duckdb"), read_only=True) as shell:
        shell.execute(f"SET file_search_path = '{theirs.path}'")
        made = {name for (name,) in shell.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
        assert shell.execute("SELECT count(*) FROM collection").fetchall() == [(12,)]
    assert {"labeled", "notes", "embeddings_counting"} <= made
    assert "fine" not in made
