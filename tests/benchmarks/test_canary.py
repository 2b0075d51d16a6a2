"""The canary: chance is what the same predictions score over labels dealt anew, and a leak is seen."""

import json

import numpy as np
import pytest
from bench_store import in_this_process, make_store
from sklearn.metrics import average_precision_score

from benchmarks.commands.cli import cli
from benchmarks.results.canary import mean_average_precision, permutation_test
from benchmarks.scores.correction import holm
from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.commands.options import run_command

LEAKING = '''
import numpy as np
import featurestore
from benchmarks.plan.dataset import shuffled
from benchmarks.plan.reading import from_store
from benchmarks.heads.registry import head


class Peeping:
    """Finds each image by its vector in the data as the canary shuffles it, and the label by its training rows."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        self.data = shuffled(from_store(featurestore.open({store!r}), "a", view="tags", label="Tags"), seed=0)
        rows = self.rows(X)
        self.label = next(i for i, column in enumerate(self.data.y.T) if (column[rows] == y).all())
        return self

    def rows(self, X):
        return ((X[:, None] - self.data.X) ** 2).sum(axis=2).argmin(axis=1)

    def predict_proba(self, X):
        known = self.data.y[self.rows(X), self.label]
        unknown = np.random.default_rng(0).random(len(X))
        told = np.where(np.arange(len(X)) < {share} * len(X), known, unknown)
        return np.column_stack([1 - told, told])


@head("peeps", about="knows shuffled labels", random=False)
def peeps(*, seed):
    return Peeping()


class Broken(Peeping):
    def predict_proba(self, X):
        raise RuntimeError("out of luck")


@head("breaks", about="fails", random=False)
def breaks(*, seed):
    return Broken()
'''


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    found = make_store(tmp_path_factory.mktemp("canary"))
    sql = "SELECT ImgId, [Genre1] || CASE WHEN ImgId % 2 = 0 THEN ['Even', NULL] ELSE [] END AS Tags FROM labeled"
    views.create(found.path, "tags", sql)
    return found.refresh()


def canary(store, folder, capfd, monkeypatch, *arguments, share=1.0):  # type: ignore[no-untyped-def]
    file = folder / "own.py"
    file.write_text(LEAKING.replace("{store!r}", repr(str(store.path))).replace("{share}", str(share)))
    monkeypatch.setattr("benchmarks.run.execution.computed", in_this_process)
    command = ["benchmarks", "canary", "--store", str(store.path), "--view", "tags", "--label", "Tags", "--folds", "2"]
    monkeypatch.setattr("sys.argv", [*command, "--backbone", "a", "--head-file", str(file), *arguments])
    capfd.readouterr()
    code = run_command(cli, "benchmarks")
    return code, *capfd.readouterr()


def test_honest_heads_pass(store, tmp_path, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    code, out, err = canary(
        store, tmp_path, capfd, monkeypatch, "--head", "knn", "--head", "ridge", "--head", "majority"
    )
    assert (code, "Traceback" in err, "LEAK" in out) == (0, False, False)
    assert out.splitlines()[0] == "labels shuffled"
    assert all("chance 0." in line and "p " in line for line in out.splitlines()[1:])


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_one_that_knows_the_labels_is_caught(store, tmp_path, capfd, monkeypatch, share) -> None:  # type: ignore[no-untyped-def]
    arguments = ("--head", "knn", "--head", "peeps", "--json")
    code, out, _ = canary(store, tmp_path, capfd, monkeypatch, *arguments, share=share)
    found = {row["head"]: row for row in json.loads(out)}
    assert code == 1
    assert found["peeps"]["p_holm"] < 0.05 <= found["knn"]["p_holm"]
    assert found["peeps"]["map"] > found["peeps"]["chance"] + 0.1
    assert set(found["knn"]) == {"backbone", "head", "map", "chance", "p_holm"}


def test_one_that_fails_is_said_and_ends_with_1(store, tmp_path, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    code, out, err = canary(store, tmp_path, capfd, monkeypatch, "--head", "knn", "--head", "breaks")
    assert (code, "Traceback" in err) == (1, False)
    assert "FAILED TO RUN" in out.splitlines()[-1]
    code, out, _ = canary(store, tmp_path, capfd, monkeypatch, "--head", "breaks", "--json")
    (row,) = json.loads(out)
    assert (code, row["map"], row["chance"], row["p_holm"]) == (1, None, None, None)


@pytest.mark.parametrize("digits", [1, 8])
def test_the_score_of_each_labelling_is_that_of_scikit_learn(digits: int) -> None:
    rng = np.random.default_rng(3)
    y = rng.random((5, 60, 4)) < 0.3
    y[:, :, 3] = False
    proba = rng.random((60, 4)).round(digits).astype(np.float32)
    expected = [average_precision_score(one[:, :3], proba[:, :3], average="macro") for one in y]
    np.testing.assert_allclose(mean_average_precision(y, proba), expected)


@pytest.mark.parametrize("labels", [0, 3])
def test_without_anything_to_know_p_values_are_uniform(labels: int) -> None:
    rng = np.random.default_rng(5)
    found = []
    for seed in range(300):
        folds = [(dealt(rng, 25, labels), rng.dirichlet(np.ones(3), 25).astype(np.float32)) for _ in range(2)]
        found.append(permutation_test(folds, permutations=199, seed=seed)[1])
    # 300 draws: a share of 5 % has a standard error of 1.3 points, a mean of one half one of 0.017.
    assert np.mean(np.array(found) <= 0.05) < 0.09
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def dealt(rng: np.random.Generator, n: int, labels: int) -> np.ndarray:
    """Classes at rates of real posters, or several labels a row."""
    return rng.random((n, labels)) < 0.4 if labels else rng.choice(3, n, p=[0.5, 0.3, 0.2])


@pytest.mark.parametrize("labels", [0, 3])
def test_a_head_that_says_the_same_of_every_row_is_at_chance(labels: int) -> None:
    y = dealt(np.random.default_rng(0), 40, labels)
    proba = np.full((40, 3), 0.3, np.float32)
    chance, p_value = permutation_test([(y, proba)], permutations=199, seed=0)
    assert chance == pytest.approx(y.mean(axis=0).mean() if labels else (y == 0).mean())
    assert p_value == 1.0


def test_chance_is_what_independence_gives_and_not_the_rate_of_the_most_frequent_class() -> None:
    rng = np.random.default_rng(1)
    y, proba = dealt(rng, 600, 0), rng.dirichlet(np.ones(3), 600).astype(np.float32)
    expected = np.bincount(y, minlength=3) @ np.bincount(proba.argmax(axis=1), minlength=3) / 600**2
    chance, _ = permutation_test([(y, proba)], permutations=199, seed=0)
    assert chance == pytest.approx(expected, abs=0.005)
    assert chance < 0.4 < (y == 0).mean()


def with_leak(rng: np.random.Generator, share: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Five test parts of 811 rows of four classes: probabilities are noise, for a share of the rows the true label."""
    folds = []
    for n in (163, 162, 162, 162, 162):
        y = rng.choice(4, n, p=[0.44, 0.32, 0.16, 0.08])
        proba = np.exp(np.log([0.44, 0.32, 0.16, 0.08]) + rng.standard_normal((n, 4)))
        proba /= proba.sum(axis=1, keepdims=True)
        known = rng.random(n) < share
        proba[known] = 0.1 * proba[known] + 0.9 * np.eye(4)[y[known]]
        folds.append((y, proba.astype(np.float32)))
    return folds


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.0), (0.1, 1.0, 1.0)])
def test_a_leak_on_a_tenth_of_the_rows_is_seen(share: float, low: float, high: float) -> None:
    rng = np.random.default_rng(2)
    p_values = [permutation_test(with_leak(rng, share), permutations=1999, seed=n)[1] for n in range(12)]
    assert low <= np.mean(np.array(holm(p_values)) < 0.05) <= high


@pytest.mark.slow
@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.09), (0.05, 0.9, 1.0), (0.1, 0.99, 1.0)])
def test_leaks_are_found_as_often_as_the_manual_says(share: float, low: float, high: float) -> None:
    rng = np.random.default_rng(3)
    found = []
    for run in range(100):
        p_values = [permutation_test(with_leak(rng, share), permutations=1999, seed=run)[1] for _ in range(12)]
        caught = np.array(holm(p_values)) < 0.05
        # Without a leak one false alarm in a table is one too many; of leaks each must be found.
        found.append(caught.mean() if share else caught.any())
    assert low <= np.mean(found) <= high
