"""The frozen ResNet50 with a new last layer: this project's way and the study's, on the same posters and weights."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Options = dict[str, Any]


def weights(options: Options) -> Callable[[], Any]:
    """Random weights of the true architecture."""
    from benchmarks.finetune.make_weights import make_weights

    return lambda: str(make_weights(Path(options["weights"])))


def _labels(count: int) -> Any:
    """Made-up classes in the study's shares."""
    return np.random.default_rng(0).choice(4, count, p=[0.44, 0.39, 0.10, 0.07]).astype(np.int64)


def cached(options: Options) -> Callable[[], Any]:
    """All epochs, what is frozen computed first: nothing is in the cache."""
    from benchmarks.finetune import frozen_features, recipes
    from benchmarks.finetune.train import fit_predict
    from benchmarks.finetune.weights import load
    from benchmarks.plan.protocols import Split
    from featurestore.collections.images import content_hash

    loaded = load(options["weights"])
    recipe = recipes.with_weights(recipes.RECIPES["resnet50_head"], loaded)
    paths = [Path(path) for path in options["posters"]]
    hashes = [content_hash(path.read_bytes()) for path in paths]
    y = _labels(len(paths))
    cut = len(paths) * 4 // 5
    split = Split("study", 0, 0, np.arange(cut), np.arange(cut, len(paths)))
    cache = Path(options["cache"])

    def once() -> Any:
        shutil.rmtree(cache, ignore_errors=True)
        images = {"pooled": frozen_features.features(paths, hashes, loaded, stage="pooled", cache_dir=cache)}
        outcome = fit_predict(recipe, images, y, split, n_classes=4, seed=0, weights=loaded)
        if outcome.status != "ok":
            raise RuntimeError(outcome.message)
        return {"epochs": recipe.epochs, "fit_seconds": round(outcome.fit_seconds, 2)}

    return once


def loop(options: Options) -> Callable[[], Any]:
    """One epoch over the training posters, every one through the whole network."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "helpers"))
    from study_loop import StudyLoop

    from benchmarks.finetune import recipes
    from benchmarks.finetune.weights import load

    loaded = load(options["weights"])
    recipe = recipes.with_weights(recipes.RECIPES["resnet50_head"], loaded)
    paths = [Path(path) for path in options["posters"]]
    cut = len(paths) * 4 // 5

    def once() -> Any:
        study = StudyLoop(recipe, loaded).fit(paths[:cut], _labels(len(paths))[:cut], epochs=1)
        return {"seconds": study.epoch_seconds[0], "epochs": 1}

    return once
