"""A small store for tests of the bench, and cells that are computed in the test's own process: no worker starts."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from support import jpeg, movie, write_metadata

from featurestore import FeatureStore

IDS = np.arange(100, 160)


def vectors(seed: int) -> np.ndarray:
    """``(60, 4)``: the genre shows a little."""
    noise = np.random.default_rng(seed).normal(size=(len(IDS), 4)).astype(np.float32)
    noise[:, 0] += (IDS % 3 == 0) * 1.0
    return noise


def add_backbone(store: FeatureStore, name: str, seed: int, *, rows: int = len(IDS)) -> None:
    """Import (anew) the vectors of ``seed`` for the first ``rows`` images."""
    path = store.path.parent / f"{name}{seed}.parquet"
    columns = {str(i): column for i, column in enumerate(vectors(seed)[:rows].T)}
    pq.write_table(pa.table({"ImgId": IDS[:rows], **columns}), path)
    store.import_embeddings(path, backbone=name)


def make_store(folder: Path) -> FeatureStore:
    """Sixty posters, a third of them comedies, with the backbones ``a`` and ``b``."""
    images = folder / "posters"
    images.mkdir()
    for img_id in IDS:
        (images / f"{img_id}.jpg").write_bytes(jpeg(int(img_id)))
    rows = [movie(int(img_id), "Drama" if img_id % 3 else "Comedy") for img_id in IDS]
    store = FeatureStore(folder / "store")
    store.ingest(metadata=write_metadata(folder / "m.csv", rows), images=images)
    add_backbone(store, "a", 1)
    add_backbone(store, "b", 2)
    return store


def in_this_process(function: Callable[[Any], Any], tasks: Sequence[Any], **_: Any) -> Iterator[tuple[int, Any]]:
    """Stands for `benchmarks.run.pool.computed`."""
    for number, task in enumerate(tasks):
        yield number, function(task)
