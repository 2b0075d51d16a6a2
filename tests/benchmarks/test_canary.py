"""The canary on several labels a row: chance is what the same predictions score over labels dealt anew."""

import json

import numpy as np
import pytest
from bench_store import in_this_process, make_store
from sklearn.metrics import average_precision_score

from benchmarks.commands.cli import cli
from benchmarks.results.canary import mean_average_precision, permutation_test
from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.commands.options import run_command

LEAKING = '''
import numpy as np
import featurestore
from benchmarks.plan.dataset import from_store, shuffled
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


def test_without_anything_to_know_p_values_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.results.canary.PERMUTATIONS", 199)
    rng = np.random.default_rng(5)
    found = []
    for seed in range(300):
        folds = [(rng.random((25, 3)) < 0.4, rng.random((25, 3)).astype(np.float32)) for _ in range(2)]
        found.append(permutation_test(folds, seed=seed)[1])
    # 300 draws: a share of 5 % has a standard error of 1.3 points, a mean of one half one of 0.017.
    assert np.mean(np.array(found) <= 0.05) < 0.09
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_a_head_that_says_the_same_of_every_row_is_at_chance() -> None:
    y = np.random.default_rng(0).random((40, 3)) < 0.3
    chance, p_value = permutation_test([(y, np.full((40, 3), 0.3, np.float32))], seed=0)
    assert chance == pytest.approx(y.mean(axis=0).mean())
    assert p_value == 1.0
