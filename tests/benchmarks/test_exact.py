"""Shortcuts that heads share give the numbers of the plain way, to 1e-6 of probability."""

import warnings

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.heads.calibration import TEMPERATURES
from benchmarks.heads.contract import example
from benchmarks.heads.folds import log_loss_of
from benchmarks.heads.kernel_svm import KernelSVM
from benchmarks.heads.knn import CosineNeighbors
from benchmarks.heads.lda import CalibratedLDA
from benchmarks.heads.logistic_regression import TunedLogisticRegression
from benchmarks.heads.pairwise import fit_sigmoids, probabilities
from benchmarks.heads.registry import HEADS
from benchmarks.heads.ridge import LeaveOneOutRidge
from benchmarks.heads.scaling import SCALINGS, PrincipalCoordinates, UnitScaler


@pytest.fixture(scope="module")
def parts() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, y = example(150, 260, seed=3)
    X = X * np.random.default_rng(0).uniform(0.2, 3, 260).astype(np.float32) + 1
    return X[:100], y[:100], X[100:]


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("rows", [40, 150])
def test_coordinates_keep_every_product(scaling: str, rows: int) -> None:
    X, _ = example(150, 60)
    scale, space = UnitScaler(scaling).fit(X[:rows]), PrincipalCoordinates(scaling)
    found = space.fit_transform(X[:rows])
    plain = scale.transform(X)
    assert found.shape[1] <= min(rows, 60)
    np.testing.assert_allclose(found @ found.T, plain[:rows] @ plain[:rows].T, atol=1e-9)
    np.testing.assert_allclose(space.transform(X) @ found.T, plain @ plain[:rows].T, atol=1e-9)
    assert np.mean((plain[:rows] ** 2).sum(axis=1)) == pytest.approx(1)


def test_standardised_is_standardised(parts) -> None:  # type: ignore[no-untyped-def]
    train, _, test = parts
    plain = StandardScaler().fit(train.astype(np.float64)).transform(test.astype(np.float64))
    np.testing.assert_allclose(UnitScaler("standard").fit(train).transform(test) * np.sqrt(260), plain, atol=1e-5)


def test_a_constant_column_carries_nothing() -> None:
    X, _ = example(50, 10)
    X[:, 4] = 0.1
    assert np.abs(UnitScaler("standard").fit_transform(X)[:, 4]).max() == 0


@pytest.mark.parametrize("shuffled", [False, True])
def test_logistic_regression_is_a_grid_search_over_pipelines(parts, shuffled: bool) -> None:  # type: ignore[no-untyped-def]
    train, y, test = parts
    y = np.random.default_rng(1).permutation(y) if shuffled else y
    Cs = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
    fast = TunedLogisticRegression(scalings=("standard",), Cs=Cs, tol=1e-10).fit(train, y)
    # The scale of the training part is given, as it is to the inner folds of the head.
    scale = UnitScaler("standard").fit(train)
    plain = GridSearchCV(
        LogisticRegression(tol=1e-10, max_iter=5000),
        {"C": list(Cs)},
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        scoring="neg_log_loss",
    ).fit(scale.transform(train), y)
    assert fast.chosen_["C"] == plain.best_params_["C"] < Cs[-3], "the last is not tried"
    np.testing.assert_allclose(fast.predict_proba(test), plain.predict_proba(scale.transform(test)), atol=1e-6)


def test_logistic_regression_on_components_is_a_grid_search_over_pipelines(parts) -> None:  # type: ignore[no-untyped-def]
    train, y, test = parts
    fast = TunedLogisticRegression(scalings=("standard",), Cs=(0.3, 3.0), components=(2, 6), tol=1e-10).fit(train, y)
    rows = PrincipalCoordinates("standard").fit_transform(train)
    losses = {}
    for count in (len(train), 2, 6):
        for C in (0.3, 3.0):
            plain = LogisticRegression(C=C, tol=1e-10, max_iter=5000)
            proba = cross_val_predict(plain, rows[:, :count], y, cv=list(_folds(y)), method="predict_proba")
            losses[count, C] = log_loss_of(proba, y)
    count, C = min(losses, key=lambda one: losses[one])
    assert (fast.chosen_.get("components", len(train)), fast.chosen_["C"]) == (count, C)
    space = PrincipalCoordinates("standard", count)
    plain = LogisticRegression(C=C, tol=1e-10, max_iter=5000).fit(space.fit_transform(train), y)
    np.testing.assert_allclose(fast.predict_proba(test), plain.predict_proba(space.transform(test)), atol=1e-6)


def test_ridge_is_that_of_scikit_learn(parts) -> None:  # type: ignore[no-untyped-def]
    train, y, test = parts
    alphas = (0.1, 1.0, 3.0, 10.0)
    fast = LeaveOneOutRidge(scalings=("standard",), alphas=alphas).fit(train, y)
    scale = UnitScaler("standard").fit(train)
    plain = RidgeClassifierCV(alphas).fit(scale.transform(train), y)
    assert fast.chosen_["alpha"] == plain.alpha_
    np.testing.assert_allclose(fast.decision_function(test), plain.decision_function(scale.transform(test)), atol=1e-6)


def test_leave_one_out_leaves_one_out(parts) -> None:  # type: ignore[no-untyped-def]
    from sklearn.linear_model import Ridge

    train, y, _ = parts
    rows = PrincipalCoordinates("standard").fit_transform(train)
    targets = np.where(y[:, None] == np.arange(3), 1.0, -1.0)
    values = (rows**2).sum(axis=0)
    weights = (rows.T @ (targets - targets.mean(axis=0))) / (values + 2.0)[:, None]
    leverage = 1 / len(rows) + (rows**2 / (values + 2.0)).sum(axis=1)
    fast = targets - (targets - targets.mean(axis=0) - rows @ weights) / (1 - leverage)[:, None]
    others = np.arange(len(y)) != 5
    plain = Ridge(alpha=2.0).fit(rows[others], targets[others]).predict(rows[5:6])
    np.testing.assert_allclose(fast[5:6], plain, atol=1e-8)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_machines_on_one_matrix_are_machines_on_rows(kernel: str, parts) -> None:  # type: ignore[no-untyped-def]
    train, y, test = parts
    fast = KernelSVM(kernel=kernel, Cs=(1.0,), tol=1e-9).fit(train, y)
    scale = UnitScaler("standard").fit(train)
    machine = SVC(C=1.0, kernel=kernel, tol=1e-9, decision_function_shape="ovo")  # its gamma is "scale"
    plain = machine.fit(scale.transform(train), y)
    products = fast._products(scale.transform(test), fast.rows_)
    np.testing.assert_allclose(
        fast.model_.decision_function(products), plain.decision_function(scale.transform(test)), atol=1e-6
    )
    held = fast._held_out(fast._products(fast.rows_, fast.rows_), y, list(_folds(y)), 1.0)
    for inner, left in _folds(y):
        one = clone(machine).set_params(gamma=1.0).fit(fast.rows_[inner], y[inner])
        np.testing.assert_allclose(held[left], one.decision_function(fast.rows_[left]), atol=1e-6)


def test_a_machine_of_two_classes_scores_the_first_class() -> None:
    X, y = example(90, 40, classes=2)
    model = KernelSVM(Cs=(1.0,)).fit(X, y)
    assert (model.predict(X) == y).mean() > 0.95
    held = model._held_out(model._products(model.rows_, model.rows_), y, list(_folds(y)), 1.0)
    assert held.shape == (90, 1)
    assert held[y == 0].mean() > 0 > held[y == 1].mean()


def test_platts_sigmoid_minimises_its_loss() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 80)
    scores = rng.normal(size=80) + 1.5 * (codes == 0)
    few, many = (codes == 1).sum(), (codes == 0).sum()
    targets = np.where(codes == 0, (many + 1) / (many + 2), 1 / (few + 2))

    def loss(at: np.ndarray) -> float:
        logits = at[0] * scores + at[1]
        return float((np.logaddexp(0, logits) - targets * logits).sum())

    plain = minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-9}).x
    (found,) = fit_sigmoids(scores[:, None], codes, 2)
    np.testing.assert_allclose(found, plain, atol=1e-5)
    proba = probabilities(scores[:, None], found[None], 2)
    np.testing.assert_allclose(proba[:, 0], 1 / (1 + np.exp(-found[0] * scores - found[1])), atol=1e-6)


def test_pairs_are_coupled_as_by_a_general_solver() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(1)
    scores = rng.normal(size=(4, 6))
    sigmoids = np.column_stack([np.full(6, 1.3), np.zeros(6)])
    found = probabilities(scores, sigmoids, 4)
    first, second = np.triu_indices(4, 1)
    for row, proba in zip(scores, found, strict=True):
        of_first = 1 / (1 + np.exp(-1.3 * row))

        def loss(p: np.ndarray, of_first: np.ndarray = of_first) -> float:
            return float((((1 - of_first) * p[first] - of_first * p[second]) ** 2).sum())

        bound = {"type": "eq", "fun": lambda p: p.sum() - 1}
        plain = minimize(loss, np.full(4, 0.25), bounds=[(0, 1)] * 4, constraints=[bound], options={"ftol": 1e-15}).x
        np.testing.assert_allclose(proba, plain, atol=1e-6)


def test_pairwise_probabilities_are_as_good_as_libsvms() -> None:
    X, y = example(600, 40)
    X[np.arange(600), y] -= 1.5
    fast = KernelSVM(Cs=(1.0,)).fit(X[:300], y[:300]).predict_proba(X[300:])
    scale = UnitScaler("standard").fit(X[:300])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # this way of scikit-learn's is to go
        plain = SVC(C=1.0, probability=True, random_state=0).fit(scale.transform(X[:300]), y[:300])
    assert log_loss_of(fast, y[300:]) < log_loss_of(plain.predict_proba(scale.transform(X[300:])), y[300:]) + 0.01


def test_lda_is_that_of_scikit_learn_cooled(parts) -> None:  # type: ignore[no-untyped-def]
    train, y, test = parts
    y = np.where(np.random.default_rng(0).random(len(y)) < 0.3, 0, y)  # not all can be learned
    fast = CalibratedLDA(components=(4, 12)).fit(train, y)
    space = PrincipalCoordinates("standard", 12)
    rows, best = space.fit_transform(train), (np.inf, 0, 0.0)
    lda = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=LedoitWolf())
    for count in (4, 12):
        proba = cross_val_predict(lda, rows[:, :count], y, cv=list(_folds(y)), method="predict_proba")
        for heat in TEMPERATURES:
            powers = proba ** (1 / heat)
            best = min(best, (log_loss_of(powers / powers.sum(axis=1, keepdims=True), y), count, heat))
    assert (fast.chosen_["components"], fast.chosen_["temperature"]) == best[1:]
    powers = lda.fit(rows[:, : best[1]], y).predict_proba(space.transform(test)[:, : best[1]]) ** (1 / best[2])
    np.testing.assert_allclose(fast.predict_proba(test), powers / powers.sum(axis=1, keepdims=True), atol=1e-6)


def _folds(y: np.ndarray):  # type: ignore[no-untyped-def]
    return StratifiedKFold(3, shuffle=True, random_state=0).split(y, y)


def test_neighbours_are_those_of_scikit_learn(parts) -> None:  # type: ignore[no-untyped-def]
    train, y, test = parts
    fast = CosineNeighbors(ks=(7,)).fit(train, y)
    plain = KNeighborsClassifier(7, metric="cosine", algorithm="brute").fit(train, y).predict_proba(test)
    rates = np.bincount(y) / len(y)
    np.testing.assert_allclose(fast.predict_proba(test), (7 * plain + rates) / 8, atol=1e-6)


def test_softmax_weights_are_those_of_scikit_learn(parts) -> None:  # type: ignore[no-untyped-def]
    train, y, test = parts
    fast = CosineNeighbors(ks=(3, 7, 20), taus=(0.1,)).fit(train, y)
    k = fast.chosen_["k"]
    plain = KNeighborsClassifier(k, metric="cosine", algorithm="brute", weights=lambda far: np.exp((1 - far) / 0.1))
    rates = np.bincount(y) / len(y)
    expected = (k * plain.fit(train, y).predict_proba(test) + rates) / (k + 1)
    np.testing.assert_allclose(fast.predict_proba(test), expected, atol=1e-6)


def test_the_number_of_neighbours_is_that_of_leave_one_out(parts) -> None:  # type: ignore[no-untyped-def]
    train, y, _ = parts
    fast = CosineNeighbors(ks=(1, 5, 20)).fit(train, y)
    losses = {}
    for k in (1, 5, 20):
        proba = [
            CosineNeighbors(ks=(k,))
            .fit(np.delete(train, row, 0), np.delete(y, row))
            .predict_proba(train[row : row + 1])
            for row in range(len(y))
        ]
        losses[k] = -np.log(np.vstack(proba)[np.arange(len(y)), y]).mean()
    assert fast.chosen_["k"] == min(losses, key=lambda k: losses[k])


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_all_numbers_of_rounds_come_from_one_fit(name: str, parts) -> None:  # type: ignore[no-untyped-def]
    train, y, test = parts
    spec = HEADS[name]
    longest = spec.build(seed=1, rounds=30)
    longest.fit(train, y)
    for rounds, found in zip((5, 12, 30), spec.function("predict_path")(longest, test, (5, 12, 30)), strict=True):
        plain = spec.build(seed=1, rounds=rounds).fit(train, y).predict_proba(test)
        np.testing.assert_allclose(found, plain, atol=1e-6)


def test_lightgbm_counts_columns_as_it_would_rows(parts) -> None:  # type: ignore[no-untyped-def]
    train, y, test = parts
    settings = HEADS["lightgbm"].build(seed=1)[-1].get_params()
    assert settings["force_col_wise"]
    settings |= {"force_col_wise": False, "force_row_wise": True}
    rows = LGBMClassifier(**settings).fit(train, y).booster_.predict(test)
    fast = HEADS["lightgbm"].build(seed=1).fit(train, y).predict_proba(test)
    np.testing.assert_allclose(fast, rows, atol=1e-6)


def test_ensemble_members_trained_at_once_learn_like_one_alone() -> None:
    """The batched product mixes nothing: a member's answer does not change when another is disturbed."""
    from benchmarks.heads.mlp_ensemble import MLPEnsemble

    X, y = example(90, 40)
    model = MLPEnsemble(members=3, epochs=2).fit(X, y)
    before = model.predict_proba(X)
    alone = []
    layers = model.layers_
    for member in range(3):
        model.layers_ = [(weights[member : member + 1], biases[member : member + 1]) for weights, biases in layers]
        alone.append(model.predict_proba(X))
    np.testing.assert_allclose(before, np.mean(alone, axis=0), atol=1e-12)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3
