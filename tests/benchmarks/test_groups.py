"""Copies of an image: they are held out together wherever a head chooses, calibrates or is compared inside."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.svm import LinearSVC

from benchmarks.heads.base import HeadSpec, with_probabilities
from benchmarks.heads.best import BestByInnerCV
from benchmarks.heads.contract import example
from benchmarks.heads.ensemble import SoftVoting
from benchmarks.heads.folds import inner_folds, log_loss_of
from benchmarks.heads.groups import copies, fit_with_groups, group_numbers, takes_groups
from benchmarks.heads.knn import CosineNeighbors
from benchmarks.heads.multilabel import OneVsRest
from benchmarks.heads.registry import HEADS
from benchmarks.heads.ridge import left_out
from benchmarks.heads.scaling import PrincipalCoordinates
from benchmarks.heads.tuning import choose
from benchmarks.plan.cells import Cell, Task, model_key
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.protocols import Split
from benchmarks.run import cell as run_cell
from benchmarks.run import fit as run_fit

GROUPS = np.array([7, 7, 3, 9, 9, 9, 1, 4, 5, 5])


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers the groups of every fit."""

    seen: list[np.ndarray | None] = []  # noqa: RUF012

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> "Recorder":
        Recorder.seen.append(groups)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def build_recorder(*, seed: int, shift: int = 0) -> Recorder:
    del seed
    return Recorder(shift)


SPEC = HeadSpec("recorder", "remembers", f"{__name__}:build_recorder", search={"shift": (0, 1)})


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray | None]:
    found: list[np.ndarray | None] = []
    monkeypatch.setattr(Recorder, "seen", found)
    return found


Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def tripled(n: int = 150, d: int = 60, *, signal: float = 1.0, seed: int = 0) -> Rows:
    """Hardly separable rows, three of ten of them three times: vectors, labels, groups."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = rng.normal(size=(n, d)).astype(np.float32)
    X[np.arange(n), y] += signal
    again = rng.permutation(n)[: round(0.3 * n)]
    rows = np.concatenate([np.arange(n), again, again])
    rows = rows[rng.permutation(len(rows))]
    return X[rows], y[rows], rows


def test_groups_are_numbered_in_order_of_appearance() -> None:
    np.testing.assert_array_equal(group_numbers(GROUPS), [0, 0, 1, 2, 2, 2, 3, 4, 5, 5])
    assert group_numbers(None) is group_numbers(np.array([3, 1, 2])) is group_numbers(np.zeros(4)) is None


def test_copies_come_by_the_size_of_their_group() -> None:
    pairs, triples = copies(GROUPS)
    np.testing.assert_array_equal(pairs, [[0, 1], [8, 9]])
    np.testing.assert_array_equal(triples, [[3, 4, 5]])
    assert copies(np.arange(5)) == []


def test_inner_folds_keep_copies_together_and_class_rates() -> None:
    _, y, groups = tripled()
    held_once = np.zeros(len(y), int)
    for train, held in inner_folds(y, groups, seed=0):
        assert not set(groups[train]) & set(groups[held])
        assert len(train) + len(held) == len(y)
        held_once[held] += 1
        images = np.unique(groups[held], return_index=True)[1]
        assert np.bincount(y[held][images]).tolist() in ([17, 17, 16], [17, 16, 17], [16, 17, 17])
    assert (held_once == 1).all()


@pytest.mark.parametrize("groups", [None, np.arange(90)[::-1]])
def test_without_copies_inner_folds_are_stratified_folds(groups: np.ndarray | None) -> None:
    y = np.arange(90) % 4
    plain = StratifiedKFold(3, shuffle=True, random_state=5).split(y, y)
    for found, expected in zip(inner_folds(y, groups, seed=5), plain, strict=True):
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_a_class_of_one_image_is_named_where_nothing_else_is_left() -> None:
    with pytest.raises(ValueError, match="a class has a single image"):
        list(inner_folds([0, 0, 0, 1, 1], [5, 6, 7, 8, 8], seed=0))
    assert len(list(inner_folds([0, 0, 2, 2, 1, 1], [5, 6, 7, 8, 9, 9], seed=0))) == 2, "the others are two classes"


def test_ridge_leaves_out_whole_groups() -> None:
    X, y, groups = tripled()
    rows = PrincipalCoordinates("standard").fit_transform(X)
    targets = np.where(y[:, None] == np.arange(3), 1.0, -1.0)
    residuals = targets - Ridge(alpha=2.0).fit(rows, targets).predict(rows)
    found = left_out(residuals, rows, (rows**2).sum(axis=0) + 2.0, copies(groups))
    for group in np.unique(groups)[:40]:
        of = groups == group
        plain = targets[of] - Ridge(alpha=2.0).fit(rows[~of], targets[~of]).predict(rows[of])
        np.testing.assert_allclose(found[of], plain, atol=1e-8)


def test_neighbours_are_chosen_without_copies() -> None:
    X, y, groups = tripled(60, 30, signal=1.5)
    ks = (1, 8, 30)
    losses = {}
    for k in ks:
        proba = np.zeros((len(y), 3))
        for group in np.unique(groups):
            of = groups == group
            proba[of] = CosineNeighbors(ks=(k,)).fit(X[~of], y[~of]).predict_proba(X[of])
        losses[k] = log_loss_of(proba, y)
    assert CosineNeighbors(ks=ks).fit(X, y, groups).chosen_["k"] == min(losses, key=lambda k: losses[k]) > 1
    assert CosineNeighbors(ks=ks).fit(X, y).chosen_["k"] == 1, "a copy is the nearest neighbour"


@pytest.mark.parametrize("name", ["logistic_regression", "knn", "ridge", "rbf_svm", "linear_svm"])
def test_copies_ruin_no_head(name: str) -> None:
    """Chosen and calibrated with the groups, a head is nearly as good as without the copies."""
    X, y, groups = tripled(240, 200)
    new, truth = example(600, 200, seed=1)
    new[np.arange(600), truth] -= 2
    once = np.unique(groups, return_index=True)[1]

    def loss(model: object) -> float:
        return log_loss_of(np.asarray(model.predict_proba(new)), truth)  # type: ignore[attr-defined]

    alone = loss(HEADS[name].build(seed=0).fit(X[once], y[once]))
    told = loss(fit_with_groups(HEADS[name].build(seed=0), X, y, groups))
    untold = loss(HEADS[name].build(seed=0).fit(X, y))
    assert told < alone + 0.1
    assert told <= untold


@pytest.mark.parametrize("name", ["logistic_regression", "knn", "ridge", "rbf_svm", "lda"])
def test_groups_of_one_row_change_nothing(name: str) -> None:
    X, y = example()
    plain = HEADS[name].build(seed=0).fit(X, y)
    told = fit_with_groups(HEADS[name].build(seed=0), X, y, np.arange(90) + 5)
    np.testing.assert_array_equal(plain.predict_proba(X), told.predict_proba(X))


def test_calibration_of_own_heads_holds_copies_out(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, groups = tripled()
    given = []
    original = LinearSVC.fit

    def fit(self: LinearSVC, X: np.ndarray, y: np.ndarray) -> LinearSVC:
        given.append(len(y))
        return original(self, X, y)

    monkeypatch.setattr(LinearSVC, "fit", fit)
    model = with_probabilities(LinearSVC(random_state=0), seed=3)
    fit_with_groups(model, X, y, groups)
    assert given == [*(len(train) for train, _ in inner_folds(y, groups, seed=3)), len(y)]
    assert model.model_.cv is None, "no row numbers in a model that is saved"  # type: ignore[attr-defined]


def test_who_gets_groups() -> None:
    grid = {"C": [0.1, 1.0]}
    assert takes_groups(Recorder())
    assert not takes_groups(LogisticRegression())
    assert not takes_groups(GridSearchCV(LogisticRegression(), grid))
    search = GridSearchCV(LogisticRegression(), grid, cv=StratifiedGroupKFold(3))
    assert takes_groups(search)
    X, y, groups = tripled()
    assert fit_with_groups(search, X, y, groups).best_params_["C"] in grid["C"]


def test_what_is_made_of_heads_passes_groups_on(seen: list[np.ndarray | None]) -> None:
    X, y, groups = tripled(60, signal=4)
    several = (y[:, None] == np.arange(3)).astype(np.int64)
    SoftVoting([Recorder(), Recorder()]).fit(X, y, groups)
    OneVsRest(Recorder).fit(X, several, groups)
    assert len(seen) == 5
    assert all(one is groups for one in seen)
    seen.clear()
    BestByInnerCV([SPEC, HEADS["knn"]]).fit(X, y, groups)
    inner = [groups[train].tolist() for train, _ in inner_folds(y, groups, seed=0)]
    assert [one.tolist() for one in seen if one is not None] == inner * 2, "for each setting; it is not the best"


def test_the_bench_gives_groups_of_the_training_rows(seen: list[np.ndarray | None], tmp_path: Path) -> None:
    X, y, groups = tripled(60)
    np.save(tmp_path / "X.npy", X)
    train, test = np.arange(0, 80), np.arange(80, 90)
    task = Task(SPEC, tmp_path / "X.npy", y, groups, train, test, 3, 0, tune=True)
    assert run_cell.run_cell(task).status == "ok"
    assert len(seen) == 7
    np.testing.assert_array_equal(seen[-1], groups[:80])
    seen.clear()
    fitted = run_fit._fit(run_fit.FitWork(replace(task, train=np.arange(len(y))), kept=False))
    assert (fitted.message, len(seen)) == ("", 1)
    np.testing.assert_array_equal(seen[0], groups)


def test_the_best_head_is_the_same_in_a_table_and_alone() -> None:
    """Members tuned one by one and compared by their inner log loss, as a nested run does, or by the head itself."""
    X, y, groups = tripled(90)
    specs = [HEADS["lda"], HEADS["knn"], HEADS["ridge"]]
    choices = [choose(spec, X, y, groups, seed=0) for spec in specs]
    best = int(np.argmin([choice.inner_score for choice in choices]))
    model = BestByInnerCV(specs).fit(X, y, groups)
    assert model.chosen_["head"] == specs[best].name
    plain = fit_with_groups(specs[best].build(seed=0, **choices[best].settings), X, y, groups)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))


def dataset(groups: np.ndarray) -> EmbeddingDataset:
    n = len(groups)
    X = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    ids = np.arange(n, dtype=np.int32)
    return EmbeddingDataset(
        X=X,
        y=np.arange(n) % 2,
        ids=ids,
        groups=groups.astype(np.int64),
        classes=("a", "b"),
        backbone="made",
        revision="1",
        view="labeled",
        label="kind",
        state_id="0",
        synthetic=True,
    )


def test_results_with_other_groups_are_others() -> None:
    alone, renamed = dataset(np.arange(10)), dataset(np.arange(10) * 3)
    paired, regrouped = dataset(GROUPS), dataset(GROUPS[::-1])
    keys = [model_key(HEADS["knn"], one) for one in (alone, renamed, paired, regrouped, dataset(GROUPS * 2))]
    assert keys[0] == keys[1], "what the groups are called does not matter"
    assert keys[2] == keys[4]
    assert len(set(keys)) == 3
    split = Split("cv", 0, 0, np.arange(5), np.arange(5, 10))
    assert Cell(HEADS["knn"], alone, split, 0).key != Cell(HEADS["knn"], paired, split, 0).key
