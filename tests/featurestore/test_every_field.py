"""Each field of each record that may be a stranger's is changed to hostile values: a right answer, or one sentence."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_values import NUMBERS, VALUES, answered, answered_with_little, edits, text
from support import Collection, CountingBackbone

from featurestore import Features, FeatureStore, open_bundle
from featurestore.catalog.writer import open_writer
from featurestore.embedding.receipt import read_receipt
from featurestore.errors import IntegrityError
from featurestore.files import file_hash
from featurestore.storage.manifest import Manifest, parse_manifest
from featurestore.storage.records import CHECKSUM, to_record
from featurestore.storage.snapshot import parse_snapshot
from featurestore.storage.state import State, parse_state

RANDOM = {"format", "id", "store", "commit", "earlier", "name", "created_at", CHECKSUM}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with vectors, a table, a view and a snapshot; a shard of it and a bundle."""
    root = tmp_path_factory.mktemp("fields")
    collection, store = Collection(root, 12), FeatureStore(root / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    store.append({"notes": pa.table({"x": [1]})})
    store.create_view("mine", "SELECT ImgId, Genre1 FROM collection")
    store.create_snapshot("kept")
    store.embed(CountingBackbone(name="sharded"), shard="1/1", out=root / "out")
    store.export("counting", root / "bundle", format="bundle", label="Genre1")
    store.close()
    return root


def sealed(fields: dict[str, Any]) -> bytes:
    """A record of a state or snapshot with the id and checksum of its fields, as a stranger can make it."""
    content = {name: value for name, value in fields.items() if name not in RANDOM}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    number = fields.get("number")
    return to_record({**fields, "id": f"{number}-{digest[:12]}" if "id" in fields else None})


def fields_of(path: Path) -> dict[str, Any]:
    fields = dict(json.loads(path.read_bytes()))
    del fields[CHECKSUM]
    return fields


def ask(root: Path) -> tuple[Any, ...]:
    """What a reader of a store wants to know."""
    with FeatureStore(root) as store:
        rows = store.sql("SELECT count(*) AS n FROM images")["n"].to_pylist()
        found = store.features("counting", view="images_usable")
        store.info()
        return rows, found.X.tobytes(), found.ids.tolist()


def test_a_state_and_a_snapshot(folder: Path, tmp_path: Path) -> None:
    fields, left = fields_of(folder / "store" / "state.json"), []
    whole = answered("whole", parse_state, sealed(fields), "state.json")
    assert isinstance(whole, State)
    for what, edited in edits(fields):
        found = answered(what, parse_state, sealed(edited), "state.json")
        if found not in (None, whole):
            assert found.id.startswith(f"{found.number}-")
            left.append((what, edited))
    assert 10 < len(left) < 200
    for what, edited in edits(fields_of(folder / "store" / "snapshots" / "kept.json")):
        answered(what, parse_snapshot, sealed(edited), "kept", "kept.json")
    root = shutil.copytree(folder / "store", tmp_path / "store")
    for what, edited in left[:: len(left) // 6]:
        (root / "state.json").write_bytes(sealed(edited))
        answered(what, ask, root)


def manifest_of(root: Path, table: str) -> tuple[str, Any]:
    """The name of a table, or of a backbone's vectors, in the state, and the fields of its manifest."""
    tables = FeatureStore(root).state.tables
    key = next(name for name in tables if name == table or f"backbone={table}/" in name)
    return key, json.loads((root / "manifests" / f"{tables[key]}.json").read_bytes())


@pytest.mark.parametrize("table", ["images", "counting", "notes"])
def test_a_manifest(table: str, folder: Path) -> None:
    key, record = manifest_of(folder / "store", table)
    taken = 0
    for what, edited in edits(record):
        content = text(edited)
        name = hashlib.sha256(content).hexdigest()
        found = answered_with_little(what, parse_manifest, content, key, name, "manifest")
        assert found is None or isinstance(found, Manifest)
        taken += found is not None
    assert taken < 70


def test_counts_that_no_part_has(folder: Path, tmp_path: Path) -> None:
    whole = ask(folder / "store")
    for table, field, value in product(("images", "counting"), (1, 2), (0, 13, 2**62)):
        what = f"{table} {field} = {value}"  # the rows and the bytes of a part
        root = shutil.copytree(folder / "store", tmp_path / what)
        key, record = manifest_of(root, table)
        record["parts"][0][field] = value
        content = text(record)
        name = hashlib.sha256(content).hexdigest()
        (root / "manifests" / f"{name}.json").write_bytes(content)
        fields = fields_of(root / "state.json")
        (root / "state.json").write_bytes(sealed({**fields, "tables": {**fields["tables"], key: name}}))
        assert answered(what, ask, root) in (None, whole), what


def receipt_in(folder: Path, content: bytes) -> Path:
    path = folder / f"receipt-{hashlib.sha256(content).hexdigest()[:32]}.json"
    path.write_bytes(content)
    return path


def test_a_receipt(folder: Path, tmp_path: Path) -> None:
    (path,) = (folder / "out").rglob("receipt-*.json")
    taken = []
    for what, edited in edits(json.loads(path.read_bytes())):
        content = text(edited)
        file = receipt_in(tmp_path, content)
        found = answered(what, read_receipt, file)
        file.unlink()
        if found is not None:
            said = json.loads(found.to_json())
            assert said["backbone"] == json.loads(content)["backbone"] or what.startswith("backbone/"), what
            taken.append((what, content))
    assert 10 < len(taken) < 250
    for place, (what, content) in enumerate(taken[:: len(taken) // 4]):
        copied = shutil.copytree(path.parent, tmp_path / f"out-{place}" / path.parent.name)
        (copied / path.name).unlink()
        receipt_in(copied, content)
        root = shutil.copytree(folder / "store", tmp_path / f"store-{place}")
        if answered(what, FeatureStore(root).publish, copied) is not None:
            answered(what, ask, root)


def shown(found: Features) -> object:
    return found.about, repr(found), found._repr_html_(), found.to_arrow().num_rows, found.y


@pytest.mark.parametrize("values", [VALUES, NUMBERS], ids=["all", "numbers"])
def test_the_manifest_of_a_bundle(values: tuple[Any, ...], folder: Path, tmp_path: Path) -> None:
    whole = open_bundle(folder / "bundle")
    bundle = shutil.copytree(folder / "bundle", tmp_path / "bundle")
    record = json.loads((bundle / "manifest.json").read_bytes())
    if values == NUMBERS:
        record = {name: record[name] for name in ("format", "rows", "dims", "missing", "files")} | {"rest": 0} | record
    read = answered if values == VALUES else answered_with_little
    record["backbones"] = []  # for people alone
    for what, edited in edits(record, values):
        content = text(edited)
        (bundle / "manifest.json").write_bytes(content)
        (bundle / "bundle.lock").write_text(f"sha256:{hashlib.sha256(content).hexdigest()}\n")
        found = read(what, open_bundle, bundle)
        if found is not None:
            assert np.array_equal(found.X, whole.X), what
            assert found.ids.tolist() == whole.ids.tolist(), what
            answered(what, shown, found)


def resealed(bundle: Path, name: str) -> Path:
    """The checksums of a bundle with another file, as whoever makes it would write them."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["files"][name] = file_hash(bundle / name)
    content = text(manifest)
    (bundle / "manifest.json").write_bytes(content)
    (bundle / "bundle.lock").write_text(f"sha256:{hashlib.sha256(content).hexdigest()}\n")
    return bundle


@pytest.mark.parametrize("how", [{"compression": "zstd", "use_dictionary": False}, {"compression": "none"}])
def test_a_bundle_whose_values_take_more_than_their_bytes(how: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(folder / "bundle", tmp_path / "bundle")
    pq.write_table(pq.read_table(bundle / "features.parquet"), bundle / "features.parquet", **how)
    with pytest.raises(IntegrityError, match="the values of the features are compressed"):
        open_bundle(resealed(bundle, "features.parquet"))


def test_text_that_nobody_needs_is_not_read(folder: Path, tmp_path: Path) -> None:
    """A dictionary holds a long text once, and each row it."""
    bundle = shutil.copytree(folder / "bundle", tmp_path / "bundle")
    rows = pq.read_table(bundle / "rows.parquet")
    long = pa.DictionaryArray.from_arrays(pa.array([0] * len(rows), pa.int32()), ["x" * 2**23]).cast(pa.string())
    pq.write_table(rows.set_column(1, "content_hash", long), bundle / "rows.parquet")
    before = pa.default_memory_pool().max_memory()
    assert len(open_bundle(resealed(bundle, "rows.parquet"))) == len(rows)
    assert pa.default_memory_pool().max_memory() == before


HOSTILE_JSON = ("", "null", '{"height": "x", "a": [1]}', "[" * 5000)
HOSTILE_ROWS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "backbones": {
        "embed_dim": (0, -1, 2**31 - 1),
        "weights": ("../../x\x1b[31m",),
        "preprocessing": HOSTILE_JSON,
        "options": HOSTILE_JSON,
        "libraries": HOSTILE_JSON[:2],
    },
    "extractions": {"libraries": HOSTILE_JSON[1:], "machine": ("x" * 5000,)},
}
QUESTIONS: dict[str, Callable[[FeatureStore], object]] = {
    "backbones": lambda store: [repr(info) for info in store.backbones()],
    "lineage": lambda store: store.lineage(103),
    "features": lambda store: store.features("counting", view="images_usable").about,
    "by image": lambda store: store.similar(store.path.parent / "x.jpg", backbone="counting", k=2),
}


@pytest.mark.parametrize("table", HOSTILE_ROWS)
def test_the_rows_that_say_what_computed(table: str, folder: Path, tmp_path: Path) -> None:
    """They are written by the store itself, and in a store from elsewhere by whoever made it."""
    root = shutil.copytree(folder / "store", tmp_path / "store")
    rows = FeatureStore(root).query(f"FROM {table}")
    for name, values in HOSTILE_ROWS[table].items():
        place = rows.column_names.index(name)
        for value in values:
            column = pa.array([value] * len(rows), rows.schema.field(name).type)
            with open_writer(root) as writer, writer.commit() as commit:
                changed = rows.set_column(place, rows.schema.field(name), column)
                commit.replace(table, changed.cast(commit.rows(table).schema))
            with FeatureStore(root) as store:
                for asked, question in QUESTIONS.items():
                    answered(f"{name} = {str(value)[:40]!r}: {asked}", question, store)
