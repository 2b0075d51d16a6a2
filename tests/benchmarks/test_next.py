"""Which images to label next: uncertain, different, the same for the same seed, and one sentence where none can be."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from bench_store import in_this_process, make_store

from benchmarks.commands.cli import cli
from benchmarks.plan.unlabelled import without_label
from benchmarks.scores.acquisition import diverse_batch, uncertainty
from featurestore import FeatureStore
from featurestore.commands.options import run_command


def test_uncertainty_is_one_without_a_lead_and_zero_when_sure() -> None:
    proba = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.6, 0.3, 0.1]])
    assert uncertainty(proba) == pytest.approx([1.0, 0.0, 0.7])


def test_of_uncertain_rows_that_are_alike_one_is_chosen() -> None:
    """Five heaps of ten equally uncertain rows: one of each, not five of one."""
    rng = np.random.default_rng(0)
    centres = np.eye(5) * 10
    X = np.repeat(centres, 10, axis=0) + rng.normal(size=(50, 5)) * 0.1
    chosen = diverse_batch(np.full((50, 2), 0.5), X, 5)
    assert sorted((chosen // 10).tolist()) == [0, 1, 2, 3, 4]


def test_sure_rows_are_not_chosen() -> None:
    rng = np.random.default_rng(1)
    proba = np.tile([0.99, 0.01], (500, 1))
    proba[::5] = (0.52, 0.48)
    chosen = diverse_batch(proba, rng.normal(size=(500, 8)), 10)
    assert len(set(chosen.tolist())) == 10
    assert set((chosen % 5).tolist()) == {0}


def test_the_most_uncertain_come_first_and_a_seed_repeats_them() -> None:
    rng = np.random.default_rng(2)
    proba, X = rng.dirichlet(np.ones(4), 300), rng.normal(size=(300, 16)).astype(np.float32)
    chosen = diverse_batch(proba, X, 20, seed=3)
    found = uncertainty(proba)[chosen]
    assert found.tolist() == sorted(found, reverse=True)
    assert chosen.tolist() == diverse_batch(proba, X, 20, seed=3).tolist()


@pytest.mark.parametrize("n", [1, 7, 30, 100])
def test_equal_vectors_and_few_rows(n: int) -> None:
    proba = np.random.default_rng(3).dirichlet(np.ones(3), 30)
    for X in (np.zeros((30, 4)), np.repeat(np.eye(3), 10, axis=0)):
        chosen = diverse_batch(proba, X, n)
        assert len(set(chosen.tolist())) == min(n, 30)


def test_labelling_what_is_chosen_helps_more_than_a_random_batch() -> None:
    """On rows of clear classes, one of them rare; means over ten draws."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        y = rng.choice(4, 900, p=[0.4, 0.4, 0.15, 0.05])
        X = rng.normal(size=(900, 10)) + np.eye(10)[y] * 2.5
        y[:4] = range(4)
        pool = np.arange(40, 500)

        def loss(rows: np.ndarray, y: np.ndarray = y, X: np.ndarray = X) -> float:
            model = LogisticRegression().fit(X[rows], y[rows])
            return float(log_loss(y[500:], model.predict_proba(X[500:])[:, :4], labels=range(4)))

        begun = LogisticRegression().fit(X[:40], y[:40])
        chosen = pool[diverse_batch(begun.predict_proba(X[pool]), X[pool], 30, seed=seed)]
        at_random = rng.choice(pool, 30, replace=False)
        found.append((loss(np.append(np.arange(40), chosen)), loss(np.append(np.arange(40), at_random))))
    by_choice, by_chance = np.mean(found, axis=0)
    assert by_choice < by_chance


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    found = make_store(tmp_path_factory.mktemp("next"))
    found.create_view("begun", "SELECT ImgId, CASE WHEN ImgId < 130 THEN Genre1 END AS genre FROM labeled")
    found.create_view("nothing", "SELECT ImgId, NULL::VARCHAR AS genre FROM labeled")
    return found.refresh()


def call(store: FeatureStore, capfd, monkeypatch, *arguments: str):  # type: ignore[no-untyped-def]
    monkeypatch.setattr("benchmarks.run.fit.computed", in_this_process)
    monkeypatch.setattr("sys.argv", ["benchmarks", "next", "--store", str(store.path), *arguments])
    capfd.readouterr()
    return run_command(cli, "benchmarks"), *capfd.readouterr()


def test_the_command(store: FeatureStore, tmp_path: Path, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "next.csv"
    begun = ["--view", "begun", "--label", "genre", "--backbone", "a", "--head", "ridge", "-n", "4"]
    code, out, _ = call(store, capfd, monkeypatch, *begun, "--json", "-o", str(file))
    found = json.loads(out)
    assert code == 0
    assert (found["unlabelled"], found["labelled"], len(found["images"])) == (30, 30, 4)
    assert all(130 <= row["ImgId"] < 160 and row["predicted"] in ("Comedy", "Drama") for row in found["images"])
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [int(row["ImgId"]) for row in rows] == [row["ImgId"] for row in found["images"]]
    assert list(rows[0]) == ["ImgId", "predicted", "probability", "uncertainty", "ImgName", "title"]
    code, out, _ = call(store, capfd, monkeypatch, *begun)
    assert code == 0
    assert "4 of 30 different images without a genre, by ridge over a on 30 with one" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--backbone", "a"], "there is nothing to label next; name a --view that also has rows without one"),
        (["--backbone", "a", "--view", "nothing", "--label", "genre"], "label some images of each class first"),
        (["--view", "begun", "--label", "genre"], "has several backbones (a, b): name one with --backbone"),
        (["--backbone", "a", "--view", "begun", "--label", "gender"], "has no column 'gender'"),
        (["--backbone", "a", "-o", "next.xlsx"], "ends with .csv"),
        (["--backbone", "a", "--head", "rigde"], "did you mean 'ridge'?"),
    ],
)
def test_bad_input(store: FeatureStore, capfd, monkeypatch, arguments, sentence) -> None:  # type: ignore[no-untyped-def]
    code, _, err = call(store, capfd, monkeypatch, *arguments)
    assert (code, sentence in err, "Traceback" in err) == (1, True, False)
    assert len(err.strip().splitlines()) == 1


def test_joined_backbones_are_scaled_as_for_learning(store: FeatureStore) -> None:
    rows = without_label(store, "a+b", view="begun", label="genre")
    assert rows.X.shape == (30, 8)
    np.testing.assert_allclose(np.linalg.norm(rows.X, axis=1), np.sqrt(2), rtol=1e-5)


def test_of_equal_images_one_is_asked_about(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = FeatureStore.features

    def doubled(self: FeatureStore, *arguments: object, **options: object) -> object:
        from dataclasses import replace

        found = real(self, *arguments, **options)  # type: ignore[arg-type]
        X, groups = found.X.copy(), found.groups.copy()
        X[-1], groups[-3] = X[-2], groups[-4]
        return replace(found, X=X, groups=groups)

    monkeypatch.setattr(FeatureStore, "features", doubled)
    rows = without_label(store, "a", view="begun", label="genre")
    assert len(rows.ids) == 28
    assert 159 not in rows.ids
    assert 157 not in rows.ids
