"""Made the frozen store, bundle and model of format 3, once; kept to show what is in them.

`python tests/frozen/make.py FOLDER` writes them into a new FOLDER: from synthetic images, by a backbone that averages
blocks of pixels. What lies beside this file was written by the first version of this format and is never made again.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
from support import Collection, CountingBackbone

from benchmarks.commands.cli import cli as bench
from benchmarks.models.folder import load as load_model
from featurestore import FeatureStore, open_bundle
from featurestore.backbones.base import Preprocessing

# The answer to each of them is kept; a later version must give the same. A column that a view gained is left out.
QUERIES = (
    "SELECT * EXCLUDE (source) FROM images ORDER BY ALL",
    "SELECT * EXCLUDE (ImgId) FROM movies ORDER BY ALL",
    'SELECT * EXCLUDE ("at", libraries, machine) FROM extractions ORDER BY ALL',
    "SELECT * FROM backbones ORDER BY ALL",
    "SELECT ImgId, content_hash, extraction, backbone, revision FROM embeddings ORDER BY ALL",
    "SELECT * FROM labeled_counting ORDER BY ALL",
    "SELECT * FROM embeddings_renamed ORDER BY ALL",
    "SELECT * FROM embeddings_imported ORDER BY ALL",
    "SELECT * FROM notes ORDER BY ALL",
    "SELECT * FROM mine ORDER BY ALL",
    "SELECT ImgId FROM similar_counting(101, 3)",
    "SELECT * FROM genre_counts",
    "SELECT * FROM multilabel ORDER BY ALL",
    "SELECT * FROM duplicate_groups ORDER BY ALL",
)
DISPOSABLE = ("store.duckdb", ".lock", "cache", "staging")


def make(folder: Path) -> None:
    """Write ``store``, ``bundle``, ``model`` and ``answers.json`` into ``folder``."""
    folder.mkdir(parents=True)
    collection = Collection(folder, 24)
    (collection.images / "130.jpg").write_bytes(b"no image")
    (collection.images / "131.jpg").write_bytes((collection.images / "101.jpg").read_bytes())
    store = FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone(preprocessing=Preprocessing(16, 16, "signed")))
    store.create_snapshot("first")
    store.embed(CountingBackbone())
    store.embed(CountingBackbone(name="old_name", weights="blocks-2"))
    store.rename_backbone("old_name", "renamed")
    np.save(folder / "vectors.npy", np.arange(12, dtype=np.float32).reshape(3, 4) ** 2)
    (folder / "ids.txt").write_text("101\n102\n900\n")
    store.import_embeddings(folder / "vectors.npy", backbone="imported", ids=folder / "ids.txt")
    for _ in range(2):
        store.append(
            {"notes": pa.table({"ImgId": pa.array([101, 102], pa.int32()), "day": pa.array([1, 2], pa.date32())})}
        )
    store.create_view("mine", "SELECT ImgId, Title, Genre1 FROM collection WHERE ImgId < 110")
    lock = store.export("counting", folder / "bundle", format="bundle", label="Genre1").lock
    model = ["fit", "--store", str(store.path), "ridge", "--backbone", "counting", "--output", str(folder / "model")]
    bench.main(model, standalone_mode=False)
    store.gc(older_than="0")
    answers = {"lock": lock, "state": store.state.id, **answers_of(store), "probabilities": probabilities(folder)}
    (folder / "answers.json").write_text(json.dumps(answers, indent=1, default=str) + "\n")
    for name in DISPOSABLE:
        path = store.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in (collection.metadata, folder / "vectors.npy", folder / "ids.txt"):
        path.unlink()
    shutil.rmtree(collection.images)


def answers_of(store: FeatureStore) -> dict[str, object]:
    """What the store answers, as JSON can hold it."""
    features = store.features("counting", label="Genre1")
    return {
        "queries": {query: json.loads(json.dumps(store.sql(query).to_pylist(), default=str)) for query in QUERIES},
        "features": [features.X.tolist(), features.ids.tolist(), list(features.classes)],
        "lineage": [one["revision"] for one in store.lineage(101)["embeddings"]],
        "snapshots": [info.name for info in store.snapshots()],
        "diff": {name: [c.added, c.removed, c.changed] for name, c in store.diff_snapshots("first").items()},
    }


def probabilities(folder: Path) -> list[list[float]]:
    """What the model says of the vectors in the bundle."""
    probabilities = load_model(folder / "model").predict_proba(open_bundle(folder / "bundle").X)
    return [[round(float(value), 6) for value in row] for row in probabilities]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
