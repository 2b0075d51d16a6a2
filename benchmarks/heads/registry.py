"""The heads that are compared, by name."""

import difflib
from collections.abc import Sequence

from benchmarks.heads.base import HeadSpec
from featurestore.errors import InputError

_HERE = "benchmarks.heads"

HEADS: dict[str, HeadSpec] = {
    head.name: head
    for head in (
        HeadSpec(
            "majority",
            "always the most frequent class, with the class rates as probabilities",
            f"{_HERE}.majority:make",
        ),
        HeadSpec(
            "logistic_regression",
            "multinomial logistic regression, standardised",
            f"{_HERE}.logistic_regression:make",
            {"C": 0.001},
        ),
        HeadSpec(
            "linear_svm",
            "linear SVM, standardised, calibrated inside",
            f"{_HERE}.linear_svm:make",
            {"C": 0.0003},
            random=True,
        ),
        HeadSpec(
            "rbf_svm", "RBF SVM, standardised, calibrated inside", f"{_HERE}.rbf_svm:make", {"C": 2.0}, random=True
        ),
        HeadSpec("knn", "nearest neighbours by cosine, weighted by distance", f"{_HERE}.knn:make", {"k": 15}),
        HeadSpec(
            "lda",
            "linear discriminant, Ledoit-Wolf shrinkage, 64 principal components",
            f"{_HERE}.lda:make",
            {"components": 64},
        ),
        HeadSpec("random_forest", "random forest", f"{_HERE}.random_forest:make", {"trees": 300}, random=True),
        HeadSpec(
            "hist_gradient_boosting",
            "histogram gradient boosting, 63 bins, 10 % of the columns a node",
            f"{_HERE}.hist_gradient_boosting:make",
            {"rounds": 100},
            random=True,
        ),
        HeadSpec(
            "xgboost",
            "XGBoost, 63 bins, 10 % of the columns a tree",
            f"{_HERE}.xgboost_head:make",
            {"rounds": 150},
            random=True,
        ),
        HeadSpec(
            "lightgbm",
            "LightGBM, 63 bins, 10 % of the columns a tree",
            f"{_HERE}.lightgbm_head:make",
            {"rounds": 150},
            random=True,
        ),
        HeadSpec(
            "mlp_1024",
            "the study's MLP 1024-512-256-128, dropout 0.5 × 3, Adam 1e-4, batch 32, 25 epochs",
            f"{_HERE}.mlp:make",
            {"hidden": (1024, 512, 256, 128), "dropouts": 3, "learning_rate": 1e-4, "epochs": 25},
            random=True,
        ),
        HeadSpec(
            "mlp_512",
            "the study's MLP 512-256, dropout 0.5 × 2, Adam 1e-3, batch 32, 10 epochs",
            f"{_HERE}.mlp:make",
            {"hidden": (512, 256), "dropouts": 2, "learning_rate": 1e-3, "epochs": 10},
            random=True,
        ),
    )
}


def find(names: Sequence[str]) -> list[HeadSpec]:
    """The heads of these names; all of them when ``names`` is empty.

    Raises
    ------
    InputError
        When a name is unknown, with the close ones.
    """
    for name in names:
        if name not in HEADS:
            close = difflib.get_close_matches(name, HEADS, n=2)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(HEADS)}"
            raise InputError(f"there is no head {name!r}: {hint}")
    return [HEADS[name] for name in dict.fromkeys(names)] or list(HEADS.values())
