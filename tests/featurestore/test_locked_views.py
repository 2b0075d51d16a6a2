"""A user's view only ever runs in a locked connection, whichever verb names it; and views that hold each other up."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from support import Collection, CountingBackbone, edit_record
from torture.launch import in_process

from benchmarks.plan.reading import from_store
from featurestore import FeatureStore
from featurestore.catalog import isolated, maker, tangled, views
from featurestore.errors import FeatureStoreError, InputError, QueryError
from featurestore.explore.page import answers
from featurestore.limited import pool

PACKAGES = Path(__file__).resolve().parents[2]
FINE = "SELECT ImgId, Genre1, Title FROM labeled"
SETTINGS = {
    "lock_configuration": True,
    "enable_external_access": False,
    "autoload_known_extensions": False,
    "temp_directory": "",
    "allowed_configs": ["threads"],
}
# Those that open DuckDB themselves: for types alone, for a file without users' views, to draw a table of a result.
OTHERS = {"catalog/sql_types.py", "catalog/shell_file.py", "commands/formats.py"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """A store with a user's view, and one on it."""
    folder = tmp_path_factory.mktemp("locked")
    collection = Collection(folder, 12)
    store = FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    store.create_view("mine", FINE)
    store.create_view("on_it", "FROM mine")
    store.create_snapshot("kept")
    with store:
        yield store


def uses(folder: Path) -> dict[str, Callable[[FeatureStore], object]]:
    """Each way to a view by its name, of the store and of the bench."""
    return {
        "features": lambda store: store.features("counting", view="on_it"),
        "features by a condition": lambda store: store.features("counting", view="on_it", where="ImgId > 0"),
        "batches": lambda store: store.feature_batches("counting", view="on_it").to_reader(batch_rows=4).read_all(),
        "export": lambda store: store.export("counting", folder / "x.npz", view="on_it"),
        "bundle": lambda store: store.export("counting", folder / "bundle", format="bundle", view="on_it"),
        "delta": lambda store: store.query("SELECT count(*) FROM on_it"),
        "sql": lambda store: store.sql("FROM on_it"),
        "describe": lambda store: store.sql("DESCRIBE on_it"),
        "tables": lambda store: store.sql("SHOW TABLES"),
        "columns": lambda store: store.columns("on_it"),
        "similar": lambda store: store.similar(
            101, backbone="counting", k=2, where="ImgId IN (SELECT ImgId FROM on_it)"
        ),
        "schema": lambda store: store.schema(),
        "connection": lambda store: store.connection.execute("FROM on_it").fetchall(),
        "batches of rows": lambda store: _read(store, "FROM on_it"),
        "the bench": lambda store: from_store(store, "counting", view="on_it"),
        "the page": lambda store: answers.chosen(store, "ImgId IN (SELECT ImgId FROM on_it)"),
        "notebook": lambda store: store._repr_html_(),
        "info": lambda store: [store.info(), store.sql("FROM on_it")],
    }


def _read(store: FeatureStore, query: str) -> pa.Table:
    with store.batches(query) as reader:
        return reader.read_all()


@pytest.mark.parametrize("use", uses(Path()))
def test_a_view_is_made_in_a_locked_connection_alone(
    made: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    found: list[dict[str, Any]] = []
    create = maker.ViewMaker._create_users

    def noted(self: maker.ViewMaker, name: str) -> bool:
        names = ", ".join(f"current_setting('{setting}')" for setting in (*SETTINGS, "memory_limit"))
        [values] = self._connection.execute(f"SELECT {names}").fetchall()
        found.append(dict(zip((*SETTINGS, "memory_limit"), values, strict=True)))
        return create(self, name)

    monkeypatch.setattr(maker.ViewMaker, "_create_users", noted)
    with FeatureStore(made.path) as store:
        uses(tmp_path)[use](store)
    assert found, "the view was made"
    for settings in found:
        assert (
            settings.pop("memory_limit")
            != duckdb.connect(":memory:").execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
        )
        assert settings == SETTINGS


def test_one_function_opens_the_connections_of_a_store() -> None:
    opening = set()
    for path in PACKAGES.glob("featurestore/**/*.py"):
        if "connect(" in (text := path.read_text("utf-8")) and "duckdb.connect(" in text:
            opening.add(path.relative_to(PACKAGES / "featurestore").as_posix())
    assert opening == {"catalog/connection.py", *OTHERS}


def test_settings_of_programs_stay_as_they_are(made: FeatureStore) -> None:
    for setting in ("memory_limit = '99GB'", "temp_directory = '/tmp'", "lock_configuration = false"):
        with pytest.raises(duckdb.Error, match="locked"):
            made.connection.execute(f"SET GLOBAL {setting}")
    made.database.release_unused()


def edit(store: FeatureStore, found: dict[str, str]) -> FeatureStore:
    edit_record(store.path / "state.json", views=found)
    return store.refresh()


def chain(length: int, step: str) -> dict[str, str]:
    return {"v0": FINE, **{f"v{number}": step.format(number - 1) for number in range(1, length)}}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (chain(200, "FROM v{0}"), "chain of more than 100 views"),
        (chain(40, "SELECT ImgId FROM v{0} AS a JOIN v{0} AS b USING (ImgId)"), "uses more than 200 views"),
        ({"long": f"SELECT ImgId /*{'x' * 10**7}*/ FROM labeled"}, "characters, expected at most"),
        ({"nested": f"SELECT {'(' * 10**6}1{')' * 10**6} AS ImgId"}, "characters, expected at most"),
        ({"deep": f"SELECT ImgId, {'-' * 1}{'(' * 20_000}1{')' * 20_000} AS x FROM labeled"}, "nested|depth|recursion"),
        ({"one": "FROM other", "other": "FROM one"}, "reads 'other'"),
        ({"zero": "SELECT ImgId \0 FROM labeled"}, ""),
    ],
    ids=["deep", "twice", "long", "long and nested", "nested", "on each other", "NUL"],
)
def test_views_that_no_machine_can_bind_fail_alone(made: FeatureStore, found: dict[str, str], reason: str) -> None:
    edit(made, {**found, "fine": FINE})
    last = list(found)[-1]
    assert len(made.features("counting", view="fine")) > 0
    assert len(made.sql("FROM fine")) > 0
    if last in made.failing_views:
        for action in (lambda: made.query(f"FROM {last}"), lambda: made.features("counting", view=last)):
            with pytest.raises(FeatureStoreError) as caught:
                action()
            assert len(str(caught.value).encode()) < 2000
        assert reason.lower() in made.failing_views[last].lower() or "|" in reason
    else:
        assert not reason or "|" in reason
    assert "fine" not in made.failing_views


@pytest.mark.slow
def test_a_view_that_takes_too_long_to_bind_fails_alone(made: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "BINDING_SECONDS", 1.5)
    monkeypatch.setattr(isolated, "EACH_SECONDS", 0.0)
    slow = "SELECT 1 AS ImgId FROM range(levenshtein(repeat('a', 300_000), repeat('b', 300_000)))"
    edit(made, {"slow": slow, "fine": FINE})
    assert list(made.failing_views) == ["slow"]
    assert "longer than" in made.failing_views["slow"]
    done = in_process(["featurestore", "info", "--store", str(made.path), "--json"])
    assert list(json.loads(done.out)["failing_views"]) == ["slow"]
    pool.end_all()


def test_such_a_view_is_not_made(made: FeatureStore) -> None:
    edit(made, chain(tangled.DEEPEST, "FROM v{0}"))
    with pytest.raises(InputError, match="chain of more than 100"):
        views.create(made.path, "last", f"FROM v{tangled.DEEPEST - 1}")
    with pytest.raises(QueryError, match="characters, expected at most 200,000"):
        views.create(made.path, "long", f"SELECT ImgId /*{'x' * 300_000}*/ FROM labeled")
