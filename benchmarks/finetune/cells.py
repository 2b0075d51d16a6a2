"""Fine-tuning as cells of a run, like those of heads, and their outcomes, computed one after the other."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.finetune.recipes import Recipe, twins, with_weights
from benchmarks.finetune.weights import DEFAULT, Weights, load
from benchmarks.plan.cells import Cell, Outcome
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.protocols import Split
from featurestore import FeatureStore, ImageAddress
from featurestore.errors import FeatureStoreError, InputError
from featurestore.progress import Progress


@dataclass(frozen=True)
class FineTuning:
    """What fine-tuning starts from.

    Parameters
    ----------
    dataset
        Rows, labels and groups as the heads have them; no vectors. ``backbone`` names the weights and ``revision``
        stands for weights, preprocessing and the bytes of all images.
    failure
        Why there is nothing to train, in one sentence; empty when there is.
    """

    recipes: tuple[Recipe, ...]
    dataset: EmbeddingDataset
    paths: tuple[ImageAddress, ...]
    content_hashes: tuple[str, ...]
    cache_dir: Path
    weights: Weights | None
    failure: str = ""

    def cells(self, splits: Sequence[Split], seeds: Sequence[int]) -> list[Cell]:
        """One for each recipe, seed and split; one seed where a recipe is not random."""
        return [
            Cell(recipe.spec, self.dataset, split, seed)
            for recipe in self.recipes
            for seed in (seeds if recipe.random else seeds[:1])
            for split in splits
        ]


def prepare(store: FeatureStore, dataset: EmbeddingDataset, *, recipes: Sequence[Recipe], weights: str) -> FineTuning:
    """Fine-tuning over the rows of ``dataset``, and the same network frozen, which it is compared with.

    Weights or images that can't be had are kept as ``failure``.
    """
    paths, hashes, failure = _images(store, dataset)
    if dataset.y.ndim != 1:
        failure = "fine-tuning has recipes for one label an image only, not for several"
    loaded, revision = None, ""
    try:
        loaded = load(weights)
        revision = _revision(loaded, hashes)
        frozen = twins(recipes, loaded)
        recipes = [*frozen, *(with_weights(recipe, loaded) for recipe in recipes)]
    except FeatureStoreError as error:
        failure = str(error)
    rows = replace(
        dataset,
        X=np.empty((len(dataset.ids), 0), np.float32),
        # The name says that weights are synthetic; the flag of the dataset would mark the other rows of the run too.
        backbone=loaded.name if loaded else weights,
        revision=revision,
    )
    return FineTuning(tuple(recipes), rows, paths, hashes, Path(store.path) / "cache", loaded, failure)


def computed(
    tuning: FineTuning, cells: Sequence[Cell], *, on_progress: Progress | None = None
) -> Iterator[tuple[Cell, Outcome]]:
    """Outcomes of those of ``cells`` that are fine-tuning, in their order; computes what is frozen first.

    Parameters
    ----------
    on_progress
        Of what takes long below a cell: images that are computed, epochs.
    """
    own = [cell for cell in cells if cell.dataset is tuning.dataset]
    failure, frozen = tuning.failure, {}
    recipes = {recipe.name: recipe for recipe in tuning.recipes}
    if own and tuning.weights and not failure:
        from benchmarks.finetune.frozen_features import features

        try:
            for stage in dict.fromkeys(stage for cell in own for stage in recipes[cell.head.name].inputs):
                frozen[stage] = features(
                    tuning.paths,
                    tuning.content_hashes,
                    tuning.weights,
                    stage=stage,
                    cache_dir=tuning.cache_dir,
                    on_progress=on_progress,
                )
        except InputError as error:
            failure = str(error)
    for cell in own:
        if failure or tuning.weights is None:
            yield cell, Outcome("failed", failure)
            continue
        from benchmarks.finetune.train import fit_predict

        outcome = fit_predict(
            recipes[cell.head.name],
            frozen,
            tuning.dataset.y,
            cell.split,
            groups=tuning.dataset.groups,
            n_classes=len(tuning.dataset.classes),
            seed=cell.seed,
            weights=tuning.weights,
            on_progress=on_progress,
        )
        yield cell, outcome


def _images(store: FeatureStore, dataset: EmbeddingDataset) -> tuple[tuple[ImageAddress, ...], tuple[str, ...], str]:
    """File and content hash of each row, and what is wrong with them."""
    rows = store.sql("SELECT ImgId, source, file, member, content_hash FROM images WHERE status = 'ok'").to_pylist()
    known = {row["ImgId"]: row for row in rows}
    found = [known.get(int(img_id)) for img_id in dataset.ids]
    present = [row for row in found if row]
    if len(present) < len(found):
        lost = len(found) - len(present)
        return (), (), f"{lost} of {len(found)} rows have no image file, only vectors: ingest the folder of images"
    paths = tuple(ImageAddress.of(row["source"], row["file"], row["member"]) for row in present)
    return paths, tuple(row["content_hash"] for row in present), ""


def _revision(weights: Weights, hashes: Sequence[str]) -> str:
    from benchmarks.finetune.frozen_features import preprocessing

    identity = json.dumps([weights.sha256, weights.from_scratch, weights.synthetic, preprocessing(), list(hashes)])
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


__all__ = ["DEFAULT", "FineTuning", "computed", "prepare"]
