"""Names that two views would share are refused before anything is written: such a store could not be opened."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import CountingBackbone

from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.errors import BackboneError, FeatureStoreError, InputError

pytestmark = pytest.mark.shell_file

Step = Callable[[FeatureStore], object]


def view(name: str) -> Step:
    return lambda store: views.create(store.path, name, "SELECT ImgId FROM images")


def table(name: str) -> Step:
    return lambda store: store.append({name: pa.table({"a": [1]})})


def embed(name: str) -> Step:
    return lambda store: store.embed(CountingBackbone(name=name))


def vectors(name: str) -> Step:
    def step(store: FeatureStore) -> object:
        file, ids = store.path.parent / "x.npy", store.path.parent / "ids.txt"
        np.save(file, np.eye(2, dtype=np.float32))
        ids.write_text("101\n102\n")
        return store.import_embeddings(file, backbone=name, ids=ids)

    return step


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (view("labeled_foo"), embed("foo"), "labeled_foo"),
        (view("embeddings_foo"), vectors("foo"), "embeddings_foo"),
        (embed("foo"), view("labeled_foo"), "labeled_foo"),
        (table("embeddings_foo"), embed("foo"), "embeddings_foo"),
        (embed("foo"), table("embeddings_foo"), "embeddings_foo"),
        (view("mine"), table("mine"), "mine"),
        (table("mine"), view("mine"), "mine"),
        (embed("foo"), table("labeled"), "labeled"),
        (embed("foo"), view("collection"), "collection"),
    ],
)
def test_no_name_is_taken_twice(store: FeatureStore, first: Step, second: Step, name: str) -> None:
    first(store)
    state = store.refresh().state.id
    with pytest.raises(InputError, match=f"'{name}'"):
        second(store)
    assert store.refresh().state.id == state
    assert store.sql("SELECT count(*) AS n FROM labeled")["n"][0].as_py() == 20, "and the store opens as before"


def test_a_clash_is_found_before_the_first_forward_pass(store: FeatureStore) -> None:
    view("labeled_foo")(store)
    backbone = CountingBackbone(name="foo")
    with pytest.raises(InputError, match="labeled_foo"):
        store.embed(backbone)
    assert backbone.images == 0


@pytest.mark.parametrize("name", ["select", "top", "parts"])
def test_names_that_look_odd_are_fine(store: FeatureStore, name: str) -> None:
    for step in (embed(name), view(f"{name}_view"), table(f"{name}_table")):
        step(store)
    assert store.backbones()[0].rows == 24
    assert store.features(name, view=f"{name}_view").ids.tolist() == list(range(101, 125))


@pytest.mark.parametrize("name", ["Foo", "a b", 'x"; DROP VIEW labeled; --', "../up", "x" * 64, ""])
def test_names_are_short_identifiers(store: FeatureStore, tmp_path: Path, name: str) -> None:
    for step in (view(name), table(name), vectors(name)):
        with pytest.raises(InputError, match=r"at most 63"):
            step(store)
    with pytest.raises(BackboneError, match="at most 63"):
        embed(name)(store)


@pytest.mark.parametrize("name", ["cache", "staging", "snapshots", "movies"])
def test_the_folders_of_the_store_are_no_tables(store: FeatureStore, name: str) -> None:
    with pytest.raises(InputError, match="is the name of one of the store's own tables"):
        table(name)(store)


@pytest.mark.parametrize("columns", [[], ["a", "a"], ["a", "A"]])
def test_tables_have_columns_of_different_names(store: FeatureStore, columns: list[str]) -> None:
    rows = pa.Table.from_arrays([pa.array([1])] * len(columns), columns)
    with pytest.raises(FeatureStoreError, match="no name twice"):
        store.append({"mine": rows})


@pytest.mark.parametrize("name", ["cache", "snapshots", "staging", "embeddings", "movies"])
def test_a_table_cannot_lie_where_the_store_has_its_own(store: FeatureStore, name: str) -> None:
    before = store.state.id
    with pytest.raises(InputError, match=f"'{name}' is the name of one of the store's own tables"):
        table(name)(store)
    assert store.refresh().state.id == before
