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
from featurestore import FeatureStore
from featurestore.backbones.base import Preprocessing

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
    lock = store.export("bundle", backbone="counting", output=folder / "bundle", label="Genre1").lock
    model = ["fit", "--store", str(store.path), "ridge", "--backbone", "counting", "--output", str(folder / "model")]
    bench.main(model, standalone_mode=False)
    (folder / "answers.json").write_text(json.dumps({"lock": lock, "state": store.refresh().state.id}, indent=1) + "\n")
    for name in DISPOSABLE:
        path = store.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in (collection.metadata, folder / "vectors.npy", folder / "ids.txt"):
        path.unlink()
    shutil.rmtree(collection.images)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
