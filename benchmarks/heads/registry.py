"""The heads that are compared, by name: the built-in ones, those of other packages, those of the user."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from benchmarks.heads.base import HeadSpec, load_file, place_of
from featurestore.errors import InputError, alike

_HERE = "benchmarks.heads"
NAME = r"[a-z][a-z0-9_]*"
ENTRY_POINTS = "benchmarks.heads"
# Half powers of ten; `PrincipalCoordinates` brings rows to mean squared length 1, so one grid fits every backbone.
_CS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_ALPHAS = (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 3.0, 6.0, 10.0, 20.0, 30.0, 100.0)
_SCALINGS = ("raw", "l2", "standard")
VOTERS = ("logistic_regression", "rbf_svm", "lightgbm")
RANKED = (
    "logistic_regression",
    "ridge",
    "linear_svm",
    "rbf_svm",
    "knn",
    "lda",
    "random_forest",
    "xgboost",
    "lightgbm",
    "mlp",
)

HEADS: dict[str, HeadSpec] = {
    head.name: head
    for head in (
        HeadSpec(
            "majority",
            "always the most frequent class, with the class rates as probabilities",
            f"{_HERE}.majority:build_majority",
        ),
        HeadSpec(
            "zero_shot",
            "the class whose name is nearest by the backbone's text tower; learns nothing from the labels",
            f"{_HERE}.zero_shot:build_zero_shot",
            needs_text=True,
        ),
        HeadSpec(
            "logistic_regression",
            "multinomial, L2; penalty, scaling (row-L2, standardised) and components (all, 64, 32) chosen inside",
            f"{_HERE}.logistic_regression:build_logistic_regression",
            {"scalings": _SCALINGS[1:], "Cs": _CS, "components": (64, 32)},
        ),
        HeadSpec(
            "ridge",
            "ridge on class indicators; penalty and scaling chosen by leave-one-out",
            f"{_HERE}.ridge:build_ridge",
            {"scalings": _SCALINGS, "alphas": _ALPHAS},
        ),
        HeadSpec(
            "linear_svm",
            "linear SVM, standardised; penalty chosen, pairs of classes calibrated inside",
            f"{_HERE}.linear_svm:build_linear_svm",
            {"Cs": _CS[:5]},
            random=True,
        ),
        HeadSpec(
            "rbf_svm",
            'RBF SVM, standardised, gamma "scale"; penalty chosen, pairs of classes calibrated inside',
            f"{_HERE}.rbf_svm:build_rbf_svm",
            {"Cs": _CS[1:5]},
            random=True,
        ),
        HeadSpec(
            "knn",
            "nearest neighbours by cosine, softmax weights; their number chosen by leave-one-out",
            f"{_HERE}.knn:build_knn",
            {"ks": (1, 3, 5, 8, 12, 16, 24, 32, 48, 64, 96, 128, 200), "taus": (0.07,)},  # DINO's temperature
        ),
        HeadSpec(
            "lda",
            "linear discriminant, Ledoit-Wolf shrinkage; principal components and temperature chosen inside",
            f"{_HERE}.lda:build_lda",
            {"components": (8, 16, 32, 64)},
        ),
        HeadSpec(
            "random_forest",
            "300 trees, leaves of 5 rows",
            f"{_HERE}.random_forest:build_random_forest",
            {"trees": 300, "leaf": 5},
            random=True,
            search={"leaf": (2, 5, 10)},
        ),
        HeadSpec(
            "xgboost",
            "XGBoost, depth 2, 31 bins, 10 % of the columns a tree",
            f"{_HERE}.xgboost_head:build_xgboost",
            {"rounds": 150, "max_depth": 2},
            random=True,
            search={"max_depth": (1, 2, 3), "rounds": (50, 100, 150, 250)},
            path="rounds",
        ),
        HeadSpec(
            "lightgbm",
            "LightGBM, 4 leaves, 63 bins, 10 % of the columns a tree",
            f"{_HERE}.lightgbm_head:build_lightgbm",
            {"rounds": 150, "leaves": 4},
            random=True,
            search={"leaves": (4, 7, 15), "rounds": (50, 100, 150, 250)},
            path="rounds",
        ),
        HeadSpec(
            "mlp",
            "five MLPs of one hidden layer on principal components, AdamW, cosine, label smoothing",
            f"{_HERE}.mlp_ensemble:build_mlp_ensemble",
            {"members": 5, "epochs": 15},
            random=True,
            search={"epochs": (8, 15, 30)},
        ),
        HeadSpec(
            "ensemble",
            f"soft voting: the mean of {', '.join(VOTERS)}",
            f"{_HERE}.ensemble:build_ensemble",
            {"members": VOTERS},
            random=True,
            members=VOTERS,
        ),
        HeadSpec(
            "best_by_inner_cv",
            "on each split the head that is best on its inner folds: no winner's curse",
            f"{_HERE}.best:build_best",
            {"members": RANKED},
            random=True,
            members=RANKED,
            rule="best",
            sets=("nested",),
        ),
        HeadSpec(
            "hist_gradient_boosting",
            "histogram gradient boosting, 63 bins, 10 % of the columns a node",
            f"{_HERE}.hist_gradient_boosting:build_hist_gradient_boosting",
            {"rounds": 100},
            random=True,
            sets=(),
        ),
        HeadSpec(
            "vgg19",
            "the study's: the vector as a 32 × 64 picture, frozen VGG19, dense 512, dropout 0.5, Adam 1e-3, 25 epochs",
            f"{_HERE}.vgg:build_vgg",
            {"weights": "imagenet", "epochs": 25},
            random=True,
            sets=(),
        ),
        HeadSpec(
            "mlp_1024",
            "the study's MLP 1024-512-256-128, dropout 0.5 × 3, Adam 1e-4, batch 32, 25 epochs",
            f"{_HERE}.mlp:build_mlp",
            {"hidden": (1024, 512, 256, 128), "dropouts": 3, "learning_rate": 1e-4, "epochs": 25},
            random=True,
            sets=("study",),
        ),
        HeadSpec(
            "mlp_512",
            "the study's MLP 512-256, dropout 0.5 × 2, Adam 1e-3, batch 32, 10 epochs",
            f"{_HERE}.mlp:build_mlp",
            {"hidden": (512, 256), "dropouts": 2, "learning_rate": 1e-3, "epochs": 10},
            random=True,
            sets=("study",),
        ),
    )
}


@dataclass(frozen=True)
class _Marked:
    """What `head` leaves in the place of a factory."""

    spec: HeadSpec
    __wrapped__: Callable[..., Any]

    def __call__(self, **options: Any) -> Any:
        return self.__wrapped__(**options)


def head(
    name: str, *, about: str = "an own head", random: bool = True, search: dict[str, Sequence[Any]] | None = None
) -> Callable[[Callable[..., Any]], Any]:
    """Mark a function as the factory of a head of your own.

    The function takes ``seed`` by keyword, and settings with defaults, and returns any scikit-learn classifier; one
    without ``predict_proba`` is calibrated on inner folds.

    >>> @head("tree", about="one decision tree")
    ... def tree(*, seed, depth=4):
    ...     from sklearn.tree import DecisionTreeClassifier
    ...     return DecisionTreeClassifier(max_depth=depth, random_state=seed)
    >>> tree.spec.name, dict(tree.spec.parameters)
    ('tree', {'depth': 4})
    """

    if not re.fullmatch(NAME, name):
        raise InputError(f"got {name!r} as the name of a head, expected lower case letters, digits and underscores")

    def mark(function: Callable[..., Any]) -> _Marked:
        asked = inspect.signature(function).parameters
        if "seed" not in asked:
            raise InputError(f"the factory of the head {name!r} takes ({', '.join(asked)}), expected a keyword `seed`")
        settings = {key: value.default for key, value in asked.items() if key != "seed"}
        return _Marked(HeadSpec(name, about, place_of(function), settings, random, search or {}), function)

    return mark


def from_file(path: Path) -> list[HeadSpec]:
    """The heads that a Python file marks with `head`, by running it: see `run.head_files` for a process of its own.

    Raises
    ------
    InputError
        When the file can't be run, or marks none.
    """
    from dataclasses import replace

    found = [value for value in vars(load_file(path)).values() if isinstance(value, _Marked)]
    if not found:
        raise InputError(f'{str(path)!r} marks no head: put `@head("name")` over a function that takes `seed`')
    return [replace(one.spec, factory=f"{path.resolve()}:{one.__wrapped__.__qualname__}") for one in found]


def known(own: Sequence[HeadSpec] = ()) -> dict[str, HeadSpec]:
    """All heads: built in, of installed packages (entry point group ``benchmarks.heads``), and ``own``, of files.

    Raises
    ------
    InputError
        When two have one name, or an entry point is no head.
    """
    heads = dict(HEADS)
    for entry in entry_points(group=ENTRY_POINTS):
        found = entry.load()
        _add(heads, found.spec if isinstance(found, _Marked) else found, entry.value)
    for spec in own:
        _add(heads, spec, spec.factory.rpartition(":")[0])
    return heads


def _add(heads: dict[str, HeadSpec], spec: Any, place: str) -> None:
    if not isinstance(spec, HeadSpec):
        raise InputError(f"{place} gave {type(spec).__name__} as a head, expected a function marked with `head`")
    if spec.name in heads:
        raise InputError(f"{place} has a head {spec.name!r}, a name that is taken: give it another")
    heads[spec.name] = spec


def find(names: Sequence[str], *, own: Sequence[HeadSpec] = (), protocol: str | None = None) -> list[HeadSpec]:
    """The heads of these names; when ``names`` is empty, the default ones of ``protocol`` and those of ``own``.

    Raises
    ------
    InputError
        When a name is unknown, with the close ones.
    """
    heads = known(own)
    for name in names:
        if name not in heads:
            raise InputError(f"there is no head {name!r}: {alike(name, heads) or 'known are ' + ', '.join(heads)}")
    if names:
        return [heads[name] for name in dict.fromkeys(names)]
    return [spec for spec in heads.values() if protocol is None or protocol in spec.sets]
