"""How sure the rows of a table are of their predictions, and how often correct: read once for all that needs it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.read import run_query
from featurestore import FeatureStore

# Backbone, head and training size.
Extent = tuple[str, str, float]
# For each out-of-fold prediction of a repeat and seed its largest probability, and whether it is correct: ``(n,)``.
Sure = tuple[NDArray[np.float32], NDArray[np.bool_]]


def confidences(store: FeatureStore, run: dict[str, Any]) -> dict[Extent, list[Sure]]:
    """Those of each backbone, head and training size, by repeat and seed.

    Empty for several labels an image, where no single probability says how sure a prediction is.
    """
    if run["task"] != "multiclass":
        return {}
    table = run_query(store, "confidence", [run["cells"]])
    found: dict[Extent, list[Sure]] = {}
    names = zip(*(table[key].to_pylist() for key in ("backbone", "head", "size")), strict=True)
    for place, name in enumerate(names):
        predictions = table["predictions"][place].values
        confidence, correct = (
            predictions.field(part).to_numpy(zero_copy_only=False) for part in ("confidence", "correct")
        )
        found.setdefault(name, []).append((confidence, correct))
    return found
