"""The bench as one writes it with scikit-learn alone: each head a pipeline, one `cross_validate` after the other.

A twin searches the same settings on as many inner folds as the head does; where the head has a shortcut (one matrix of
products for all penalties, principal coordinates, leave-one-out in closed form) the twin has what the library offers.
"""

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Options = dict[str, Any]
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


def _scaled(*steps: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), *steps)


def _any_scale(last: Any, grid: dict[str, Any]) -> Any:
    """Raw, unit-length and standardised rows, each with every value of the grid."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    pipeline = Pipeline([("scale", "passthrough"), ("last", last)])
    scales = ["passthrough", Normalizer(), StandardScaler()]
    scoring = "neg_log_loss" if hasattr(last, "predict_proba") else "accuracy"
    return GridSearchCV(pipeline, {"scale": scales, **grid}, cv=FOLDS, scoring=scoring)


def _majority(spec: Any) -> Any:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def _logistic_regression(spec: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return _any_scale(LogisticRegression(max_iter=2000), {"last__C": list(spec.parameters["Cs"])})


def _ridge(spec: Any) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import RidgeClassifierCV

    search = _any_scale(RidgeClassifierCV(spec.parameters["alphas"]), {})
    return CalibratedClassifierCV(search, cv=FOLDS, ensemble=False)


def _svm(kernel: str) -> Callable[[Any], Any]:
    def make(spec: Any) -> Any:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.model_selection import GridSearchCV
        from sklearn.svm import SVC

        machine = CalibratedClassifierCV(SVC(kernel=kernel), cv=FOLDS, ensemble=False)
        grid = {"calibratedclassifiercv__estimator__C": list(spec.parameters["Cs"])}
        return GridSearchCV(_scaled(machine), grid, cv=FOLDS, scoring="neg_log_loss")

    return make


def _knn(spec: Any) -> Any:
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier

    grid = {"n_neighbors": list(spec.parameters["ks"])}
    return GridSearchCV(KNeighborsClassifier(metric="cosine"), grid, cv=FOLDS, scoring="accuracy")


def _lda(spec: Any) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return _scaled(PCA(spec.parameters["components"], random_state=0), discriminant)


def _random_forest(spec: Any) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    settings = spec.parameters
    return RandomForestClassifier(settings["trees"], min_samples_leaf=settings["leaf"], random_state=0, n_jobs=1)


def _boosting(library: str, name: str) -> Callable[[Any], Any]:
    """The very settings of the head, through the library's own scikit-learn class."""

    def make(spec: Any) -> Any:
        model = spec.build(seed=0)
        while not type(model).__module__.startswith(library):
            base = next((c for c in type(model).__mro__ if c.__module__.startswith(library)), None)
            if base is not None:
                return getattr(importlib.import_module(library), name)(**model.get_params())
            model = model[-1] if hasattr(model, "steps") else model.model
        return model

    return make


def _mlp(spec: Any) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.ensemble import VotingClassifier
    from sklearn.neural_network import MLPClassifier

    members = [
        (str(n), MLPClassifier((256,), batch_size=64, max_iter=spec.parameters["epochs"], random_state=n))
        for n in range(spec.parameters["members"])
    ]
    return _scaled(PCA(64, random_state=0), VotingClassifier(members, voting="soft"))


def _ensemble(spec: Any) -> Any:
    """The library can't take results that it has already: each member is fitted again."""
    from sklearn.ensemble import VotingClassifier

    from benchmarks.heads.registry import HEADS

    return VotingClassifier([(name, TWINS[name](HEADS[name])) for name in spec.members], voting="soft")


# Each makes an unfitted classifier of the head's record.
TWINS: dict[str, Callable[[Any], Any]] = {
    "majority": _majority,
    "logistic_regression": _logistic_regression,
    "ridge": _ridge,
    "linear_svm": _svm("linear"),
    "rbf_svm": _svm("rbf"),
    "knn": _knn,
    "lda": _lda,
    "random_forest": _random_forest,
    "xgboost": _boosting("xgboost", "XGBClassifier"),
    "lightgbm": _boosting("lightgbm", "LGBMClassifier"),
    "mlp": _mlp,
    "ensemble": _ensemble,
}


def head(options: Options) -> Callable[[], Any]:
    """`cross_validate` of one head over some of the splits, one split a core; scaled up to all of them."""
    import joblib
    from sklearn.model_selection import cross_validate

    from benchmarks.heads.registry import HEADS
    from benchmarks.plan.protocols import Protocol
    from benchmarks.plan.reading import from_store
    from featurestore import open as open_store

    warnings.simplefilter("ignore")
    data = from_store(open_store(options["store"]), options["backbone"])
    protocol = Protocol("cv", folds=options["folds"], repeats=options["repeats"])
    splits = [(split.train, split.test) for split in protocol.splits(data)]
    sample = splits[: options["sample"]]
    cores = options["cores"]
    # The processes start, and import what they need, before the clock does.
    libraries = ("sklearn.ensemble", "sklearn.svm", "sklearn.neural_network", "xgboost", "lightgbm")
    joblib.Parallel(cores)(joblib.delayed(importlib.import_module)(name) for name in libraries * cores)
    cross_validate(_majority(None), data.X, data.y, cv=sample, scoring=list(SCORING), n_jobs=cores)

    def once() -> Any:
        result = cross_validate(
            TWINS[options["head"]](HEADS[options["head"]]),
            data.X,
            data.y,
            cv=sample,
            scoring=list(SCORING),
            n_jobs=cores,
            error_score="raise",
        )
        return {"accuracy": round(float(result["test_accuracy"].mean()), 4)}

    return once


def first_split(options: Options) -> Callable[[], Any]:
    """The first split of one backbone as a file, for rivals that can't read the store."""
    from benchmarks.plan.protocols import Protocol
    from benchmarks.plan.reading import from_store
    from featurestore import open as open_store

    def once() -> Any:
        data = from_store(open_store(options["store"]), options["backbone"])
        protocol = Protocol("cv", folds=options["folds"], repeats=options["repeats"])
        split = next(iter(protocol.splits(data)))
        np.savez(
            options["split"],
            X_train=data.X[split.train],
            X_test=data.X[split.test],
            y_train=data.y[split.train],
            y_test=data.y[split.test],
        )

    return once
