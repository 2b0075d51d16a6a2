"""Looks for near-duplicates among the rows of a run, and with `Grouping.near` puts them into one group."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.groups import Grouping, NearGroups, near_groups, together_in
from featurestore import FeatureStore
from featurestore.errors import InputError


def grouped(store: FeatureStore, datasets: Sequence[EmbeddingDataset], grouping: Grouping) -> list[EmbeddingDataset]:
    """The datasets, which have the same rows and groups, with their near-duplicates: found, or put into one group.

    Raises
    ------
    InputError
        When near-duplicates are to be grouped, and a threshold finds more than can be listed.
    """
    found = near_groups(datasets[0].groups, _vectors(store, datasets), _hashes(store, datasets[0].ids), grouping)
    return _with(found, datasets, grouping)


def grouped_arrays(datasets: Sequence[EmbeddingDataset], grouping: Grouping) -> list[EmbeddingDataset]:
    """`grouped` for rows that are no images: by the cosine alone, looked for only where they are to be grouped.

    Not every matrix is an embedding: of measured quantities all rows may have nearly the same direction.
    """
    if not grouping.near:
        return list(datasets)
    alone = replace(grouping, hash_distance=None)
    found = near_groups(datasets[0].groups, {one.backbone: one.X for one in datasets}, (), alone)
    return _with(found, datasets, alone)


def _with(
    found: Sequence[NearGroups], datasets: Sequence[EmbeddingDataset], grouping: Grouping
) -> list[EmbeddingDataset]:
    groups = datasets[0].groups
    if not grouping.near:
        return [replace(dataset, near=tuple(found), grouping=grouping) for dataset in datasets]
    for one in found:
        if one.failure:
            raise InputError(f"near-duplicates can't be grouped: {one.failure}")
        groups = together_in(groups, datasets[0].groups, one)
    return [replace(dataset, groups=groups, grouping=grouping) for dataset in datasets]


def _vectors(store: FeatureStore, datasets: Sequence[EmbeddingDataset]) -> dict[str, NDArray[np.float32]]:
    """The vectors of each single backbone of the run, also of those that are joined."""
    dims = {info.name: info.embed_dim for info in store.backbones()}
    found: dict[str, NDArray[np.float32]] = {}
    for dataset in datasets:
        names = dataset.backbone.split("+")
        parts = np.split(dataset.X, np.cumsum([dims[name] for name in names])[:-1], axis=1)
        for name, part in zip(names, parts, strict=True):
            found.setdefault(name, part)
    return found


def _hashes(store: FeatureStore, ids: NDArray[np.int32]) -> list[str]:
    """The perceptual hash of each image, ``""`` where there is none."""
    rows = store.sql("SELECT ImgId, phash FROM images_usable WHERE phash <> ''")
    known = dict(zip(rows["ImgId"].to_pylist(), rows["phash"].to_pylist(), strict=True))
    return [known.get(img_id, "") for img_id in ids.tolist()]
