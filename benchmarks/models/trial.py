"""Tries a stored head in a process of its own before it is used: compiled libraries end a process on a damaged model.

Trees that lead out of themselves, or in circles, are refused there too: these libraries don't look.
"""

import gc
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import InputError

# Modules whose compiled code reads what a model says without checking it.
COMPILED = (b"sklearn.svm", b"sklearn.tree", b"sklearn.neighbors", b"hist_gradient", b"xgboost_head", b"lightgbm_head")
SECONDS = 120.0
ROWS = 8
DAMAGED = 3
# `-P`: a folder that is called `benchmarks` in the working directory is not this package.
COMMAND = ("-P", "-m", "benchmarks.models.trial")


def refuse_damaged(content: bytes, schema: bytes, *, width: int, trust: Sequence[str]) -> None:
    """Refuse a model, the bytes of skops' format, that ends the process that loads and asks it.

    What it raises as an error is left to whoever loads it.

    Parameters
    ----------
    schema
        What the model is made of: without compiled code nothing is tried.
    width
        The length of the vectors that it is asked for.

    Raises
    ------
    InputError
        When it does, takes too long, or holds trees that are none.
    """
    if not any(name in schema for name in COMPILED):
        return
    command = [sys.executable, *COMMAND, json.dumps([width, list(trust)])]
    try:
        ended = subprocess.run(command, input=content, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"it does not answer in {SECONDS:.0f} s, get the model folder again") from error
    if ended.returncode not in (0, 1):
        said = "has trees that are none" if ended.returncode == DAMAGED else "ends the process that loads it"
        raise InputError(f"it {said}, get the model folder again")


def main() -> None:
    """Load the model on stdin and ask it for some rows; exits with `DAMAGED` where its trees are none."""
    width, trust = json.loads(sys.argv[1])
    import skops.io
    from sklearn.base import BaseEstimator

    from benchmarks.heads.named_files import only

    content = sys.stdin.buffer.read()
    with only(trust):
        model: Any = skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
    if not all(_whole(one) for one in gc.get_objects() if issubclass(type(one), BaseEstimator)):
        sys.exit(DAMAGED)
    random = np.random.default_rng(0).normal(size=(ROWS, width)).astype(np.float32)
    for X in (np.zeros_like(random), random, 1000 * random):
        model.predict_proba(X)


def _whole(model: Any) -> bool:
    """Whether every tree of an estimator ends, and asks for columns that there are."""
    kind, fields = type(model).__name__, vars(model)
    try:
        if "tree_" in fields:
            tree = model.tree_
            width = min(model.n_features_in_, tree.n_features)
            return _leads_on(tree.children_left, tree.children_right, tree.feature, width)
        if kind == "HistGradientBoostingClassifier":
            nodes = [predictor.nodes for stage in fields.get("_predictors", ()) for predictor in stage]
            return all(_leads_on(*_of_histogram(one), model.n_features_in_) for one in nodes)
        if kind == "AnyLabels" and "model_" in fields:
            booster = model.model_.get_booster()
            texts = booster.get_dump(dump_format="json")  # follows every node
            columns = [int(node["split"][1:]) for text in texts for node in _asking(json.loads(text), "split")]
            return all(0 <= column < booster.num_features() for column in columns)
        if kind == "ArrayLGBM" and fields.get("_Booster") is not None:
            trees = model.booster_.dump_model()["tree_info"]
            columns = [node["split_feature"] for tree in trees for node in _asking(tree, "split_feature")]
            return all(0 <= column < model.booster_.num_feature() for column in columns)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return False
    return True


def _of_histogram(nodes: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The children and the column of each node; -1 as the left child of a leaf."""
    left, right, columns = (nodes[name].astype(np.int64) for name in ("left", "right", "feature_idx"))
    return np.where(nodes["is_leaf"] != 0, -1, left), right, columns


def _leads_on(left: Any, right: Any, columns: Any, width: int) -> bool:
    """Whether the children of each node come after it, as they are built, and are there."""
    inner = left >= 0
    children, places = np.stack([left[inner], right[inner]]), np.arange(len(left))[inner]
    asked = columns[inner]
    return bool((children > places).all() and (children < len(left)).all() and ((asked >= 0) & (asked < width)).all())


def _asking(tree: Any, name: str) -> Iterator[dict[str, Any]]:
    """The nodes within a tree of JSON that ask for a column, which have the field ``name``."""
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            if name in node:
                yield node
            left += node.values()
        elif isinstance(node, list):
            left += node


if __name__ == "__main__":
    main()
