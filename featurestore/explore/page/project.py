"""Computes a map of a backbone's embeddings and stores it: rows of the table `projections`, with what made them."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import arrow
from featurestore._optional import import_extra
from featurestore.catalog.commit import read_whole
from featurestore.catalog.writer import open_writer
from featurestore.errors import InputError
from featurestore.explore.page.projection import PCA, SCHEMA, TABLE, leading_axes
from featurestore.features.features import Features

if TYPE_CHECKING:
    from featurestore.storage.objects import Place

TSNE = "tsne"
METHODS = (TSNE,)
# t-SNE is computed from so many principal axes: faster, and without the noise of the others.
DIMENSIONS = 50


@dataclass(frozen=True)
class ProjectReport:
    """What was stored: the number of images on the map, and with what it was made."""

    backbone: str
    revision: str
    method: str
    rows: int
    params: dict[str, Any]
    synthetic: bool


def project(
    place: "Place", features: Features, *, method: str, perplexity: float, seed: int, wait_seconds: float
) -> ProjectReport:
    """See `FeatureStore.project`; ``features`` are those of one backbone for all usable images."""
    if method not in METHODS:
        known = f"{PCA} needs no storing" if method == PCA else f"there is {', '.join(METHODS)}"
        raise InputError(f"got the method {method!r}, but {known}")
    count = len(features)
    if count < 5:
        raise InputError(f"{features.backbone!r} has vectors of {count} images, expected 5 or more for a map")
    if not 1 <= perplexity < count / 3:
        raise InputError(
            f"got a perplexity of {perplexity:g}, expected 1 to less than a third of {count:,} images: lower it"
        )
    xy, params = _tsne(features.X, perplexity=perplexity, seed=seed)
    params |= {"state": features.state_id, "images": count}
    _store(place, features, method, params, xy, wait_seconds=wait_seconds)
    return ProjectReport(features.backbone, features.revision, method, count, params, features.synthetic)


def _tsne(X: NDArray[np.float32], *, perplexity: float, seed: int) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """t-SNE of unit vectors, so that neighbours are those by cosine; on one thread, which makes it reproducible."""
    library = import_extra("openTSNE", "explore", needed_by="a map by t-SNE")
    lengths = np.linalg.norm(X, axis=1, keepdims=True)
    axes = leading_axes((X / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False), DIMENSIONS)
    method = library.TSNE(
        perplexity=perplexity, initialization="pca", random_state=seed, n_jobs=1, negative_gradient_method="auto"
    )
    params = {
        "perplexity": perplexity,
        "seed": seed,
        "dimensions": axes.shape[1],
        "openTSNE": library.__version__,
    }
    return np.asarray(method.fit(axes), np.float32), params


def _store(
    place: "Place",
    features: Features,
    method: str,
    params: dict[str, Any],
    xy: NDArray[np.float32],
    *,
    wait_seconds: float,
) -> None:
    """Replace the maps of this backbone and method, also those of earlier revisions, by this one."""
    count = len(features)
    texts = [features.backbone, features.revision, method, json.dumps(params, sort_keys=True)]
    columns = [arrow.from_numpy(features.ids), *(pa.array([text] * count, pa.string()) for text in texts)]
    rows = pa.table([*columns, *(arrow.from_numpy(np.ascontiguousarray(axis)) for axis in xy.T)], schema=SCHEMA)
    with open_writer(place, wait_seconds=wait_seconds, purpose=f"project {features.backbone}") as writer:
        if TABLE in writer.layout.tables and not writer.layout.schema(TABLE).equals(SCHEMA):
            raise InputError(f"the store has a table {TABLE!r} with other columns: maps can't be stored in it")
        with writer.commit() as commit:
            parts = [read_whole(writer.objects, part) for part in commit.parts(TABLE)]
            there = pa.concat_tables([SCHEMA.empty_table(), *parts])
            same = pc.and_(pc.equal(there["backbone"], features.backbone), pc.equal(there["method"], method))
            commit.replace(TABLE, pa.concat_tables([there.filter(pc.invert(same)), rows]).combine_chunks())
