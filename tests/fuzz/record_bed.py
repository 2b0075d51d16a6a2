"""What the target of records edits: a store with everything in it, a bundle, a shard and a model, each made once."""

import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.models import folder as models
from featurestore import FeatureStore

DIM = 6
CARD = {
    "classes": ["a", "b", "c"],
    "embed_dim": DIM,
    "head": "linear",
    "backbone": "counting",
    "synthetic": True,
    "label": "Genre1",
    "view": "labeled",
    "n_rows": 60,
    "revision": "0" * 16,
    "weights": ["blocks-1"],
    "sources": [],
    "settings": {},
    "chosen": {},
    "seed": 0,
    "state_id": "1-x",
    "data_hash": "d",
    "created": "now",
    "libraries": {},
    "scores": [],
}


class Stopped(BaseException):
    """Ends a run in the middle, as a kill would."""


def build(root: Path) -> None:
    """Fill ``root`` with the folders ``store``, ``shard``, ``bundle`` and ``model``; the data are SYNTHETIC."""
    from support import Collection, CountingBackbone

    collection = Collection(root, 6)
    store = FeatureStore(root / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    for name in ("counting", "second"):
        store.embed(CountingBackbone(name=name))
    store.append({"notes": pa.table({"x": [1]})})
    store.create_view("mine", "SELECT ImgId, Genre1 FROM collection")
    store.correct_labels([101], "Horror")
    store.create_snapshot("kept")
    store.append({"notes": pa.table({"x": [2]})})
    store.gc(older_than=timedelta(0))
    store.embed(CountingBackbone(name="sharded"), shard="1/1", out=root / "shard")
    _interrupted(store, CountingBackbone(name="third"))
    store.refresh().export("counting", root / "bundle", format="bundle", label="Genre1")
    store.close()
    _model(root / "model")


def load(folder: Path) -> models.Model:
    """The model in ``folder``."""
    return models.load(folder)


def _interrupted(store: FeatureStore, backbone: Any) -> None:
    """Leave what a run leaves behind that was killed: staged batches."""

    def stop(batch: int) -> None:
        if batch == 2:
            raise Stopped

    backbone.before_batch = stop
    with contextlib.suppress(Stopped):
        store.embed(backbone, batch_size=1)


def _model(folder: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    models.save(LogisticRegression().fit(rng.random((60, DIM)), np.arange(60) % 3), CARD, folder)
