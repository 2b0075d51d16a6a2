"""The bench as one writes it with scikit-learn alone: each head a pipeline, one `cross_validate` after the other.

A twin searches the same settings on as many inner folds as the head does; where the head has a shortcut (one matrix of
products for all penalties, principal coordinates, leave-one-out in closed form) the twin has what the library offers.
It needs nothing of this project, so that the rivals' Python can run it too.
"""

import importlib
import json
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

Options = dict[str, Any]
# What a head's record says of it, and rows and columns of a training part.
Settings = Mapping[str, Any]
Shape = tuple[int, int]
FOLDS = 3
SCORING = (
    "accuracy",
    "balanced_accuracy",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
    "f1_macro",
    "neg_log_loss",
    "roc_auc_ovr",
)
# Twins that other libraries make, and their classes.
BOOSTING = {"xgboost": "XGBClassifier", "lightgbm": "LGBMClassifier"}


def _searched(steps: list[tuple[str, Any]], grid: Any, *, scoring: str = "neg_log_loss") -> Any:
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline

    return GridSearchCV(Pipeline(steps), grid, cv=FOLDS, scoring=scoring)


def _calibrated(model: Any, *, method: str = "sigmoid") -> Any:
    from sklearn.calibration import CalibratedClassifierCV

    return CalibratedClassifierCV(model, method=method, cv=FOLDS, ensemble=False)


def _majority(settings: Settings, shape: Shape) -> Any:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def _logistic_regression(settings: Settings, shape: Shape) -> Any:
    """Unit-length rows, and standardised ones with all or some of their components, each with every penalty."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import Normalizer, StandardScaler

    reduced = [PCA(count, random_state=0) for count in settings["components"]]
    steps = [("scale", "passthrough"), ("reduce", "passthrough"), ("last", LogisticRegression(max_iter=2000))]
    grid = [
        {"scale": [Normalizer()], "last__C": list(settings["Cs"])},
        {"scale": [StandardScaler()], "reduce": ["passthrough", *reduced], "last__C": _per_column(settings, shape)},
    ]
    return _searched(steps, grid)


def _per_column(settings: Settings, shape: Shape) -> list[float]:
    """The head's penalties are for rows of mean squared length 1; that of standardised rows is their width."""
    return [C / shape[1] for C in settings["Cs"]]


def _ridge(settings: Settings, shape: Shape) -> Any:
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.preprocessing import Normalizer, StandardScaler

    steps = [("scale", "passthrough"), ("last", RidgeClassifierCV(settings["alphas"]))]
    return _calibrated(_searched(steps, {"scale": ["passthrough", Normalizer(), StandardScaler()]}, scoring="accuracy"))


def _svm(settings: Settings, shape: Shape, *, kernel: str) -> Any:
    """With what scikit-learn 1.9 recommends in the place of ``SVC(probability=True)``."""
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    Cs = _per_column(settings, shape) if kernel == "linear" else list(settings["Cs"])
    steps = [("scale", StandardScaler()), ("last", _calibrated(SVC(kernel=kernel)))]
    return _searched(steps, {"last__estimator__C": Cs})


def _knn(settings: Settings, shape: Shape) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    weights = [partial(_softmax, tau=tau) for tau in settings["taus"]]
    # No more neighbours than an inner fold has rows.
    ks = [k for k in settings["ks"] if k <= shape[0] * (FOLDS - 1) // FOLDS]
    steps = [("last", KNeighborsClassifier(metric="cosine", algorithm="brute"))]
    return _searched(steps, {"last__n_neighbors": ks, "last__weights": weights})


def _softmax(distances: Any, *, tau: float) -> Any:
    return np.exp(-distances / tau)


def _lda(settings: Settings, shape: Shape) -> Any:
    from sklearn.covariance import LedoitWolf
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.preprocessing import StandardScaler

    model = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=LedoitWolf())
    steps = [("scale", StandardScaler()), ("reduce", PCA(random_state=0))]
    steps += [("last", _calibrated(model, method="temperature"))]
    return _searched(steps, {"reduce__n_components": list(settings["components"])})


def _random_forest(settings: Settings, shape: Shape) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(settings["trees"], min_samples_leaf=settings["leaf"], random_state=0, n_jobs=1)


def _boosting(settings: Settings, shape: Shape, *, library: str) -> Any:
    """The very settings of the head, through the library's own scikit-learn class."""
    return getattr(importlib.import_module(library), BOOSTING[library])(**settings)


def _mlp(settings: Settings, shape: Shape) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.ensemble import VotingClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    members = [
        (str(n), MLPClassifier((256,), batch_size=64, max_iter=settings["epochs"], random_state=n))
        for n in range(settings["members"])
    ]
    return make_pipeline(StandardScaler(), PCA(64, random_state=0), VotingClassifier(members, voting="soft"))


# Each makes an unfitted classifier. The vote is not among them: the library can't take results that it has already, so
# each member is fitted again, and the vote takes the sum of their times.
TWINS: dict[str, Callable[[Settings, Shape], Any]] = {
    "majority": _majority,
    "logistic_regression": _logistic_regression,
    "ridge": _ridge,
    "linear_svm": partial(_svm, kernel="linear"),
    "rbf_svm": partial(_svm, kernel="rbf"),
    "knn": _knn,
    "lda": _lda,
    "random_forest": _random_forest,
    "xgboost": partial(_boosting, library="xgboost"),
    "lightgbm": partial(_boosting, library="lightgbm"),
    "mlp": _mlp,
}


def head(options: Options) -> Callable[[], Any]:
    """`cross_validate` of one head over some of the splits, one split a core; scaled up to all of them.

    With ``patched`` scikit-learn-intelex takes the place of those parts of scikit-learn that it has.
    """
    if options.get("patched"):
        from sklearnex import patch_sklearn

        patch_sklearn(verbose=False)
    import joblib
    from sklearn.model_selection import cross_validate

    warnings.simplefilter("ignore")
    data = np.load(options["sample"])
    parts = [(data[f"train_{number}"], data[f"test_{number}"]) for number in range(options["splits"])]
    known = json.loads(Path(options["settings"]).read_text("utf-8"))
    twin = TWINS[options["head"]](known[options["head"]], (len(parts[0][0]), data["X"].shape[1]))
    cores = options["cores"]
    # The processes start, and import what they need, before the clock does.
    libraries = ("sklearn.ensemble", "sklearn.svm", "sklearn.neural_network", type(twin).__module__)
    joblib.Parallel(cores)(joblib.delayed(importlib.import_module)(name) for name in libraries * cores)
    over = partial(cross_validate, X=data["X"], y=data["y"], cv=parts, scoring=list(SCORING), n_jobs=cores)
    over(_majority({}, (0, 0)))

    def once() -> Any:
        result = over(twin, error_score="raise")
        return {name: round(float(result[f"test_{name}"].mean()), 4) for name in ("accuracy", "neg_log_loss")}

    return once


def sample(options: Options) -> Callable[[], Any]:
    """The first ``splits`` of one backbone, and what each head's record says, as files: rivals can't read the store."""
    from benchmarks.plan.protocols import Protocol
    from benchmarks.plan.reading import from_store
    from featurestore import open as open_store

    def once() -> Any:
        data = from_store(open_store(options["store"]), options["backbone"])
        protocol = Protocol("cv", folds=options["folds"], repeats=options["repeats"])
        parts: dict[str, Any] = {}
        for number, split in enumerate(islice(protocol.splits(data), options["splits"])):
            parts |= {f"train_{number}": split.train, f"test_{number}": split.test}
        np.savez(options["sample"], X=data.X, y=data.y, **parts)
        Path(options["settings"]).write_text(json.dumps(settings()), "utf-8")

    return once


def settings() -> dict[str, Settings]:
    """What each twin is made with: the settings of its head."""
    from benchmarks.heads.registry import HEADS

    return {name: _made_with(HEADS[name]) if name in BOOSTING else dict(HEADS[name].parameters) for name in TWINS}


def _made_with(spec: Any) -> dict[str, Any]:
    """The settings of the library's own class in a boosting head."""
    model = spec.build(seed=0)
    while not any(base.__module__.startswith(spec.name) for base in type(model).__mro__):
        model = model[-1] if hasattr(model, "steps") else model.model
    return dict(model.get_params())
