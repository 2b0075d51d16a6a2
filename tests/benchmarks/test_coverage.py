"""Whether the intervals of a table hold what they promise, on vectors of real posters: resampled, with heads refitted.

A collection is drawn by a smoothed bootstrap: real posters with replacement, each with noise of half the spread within
its class, so that any number of independent collections has the structure of the real one.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

import featurestore
from benchmarks.scores.inference import Results, infer

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
N, FOLDS, COMPONENTS, NOISE = 811, 5, 48, 0.5
Head = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def posters(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """Principal components and classes of 1,370 real posters."""
    if not DATA.is_dir():
        pytest.skip("the real posters are not there")
    store = featurestore.FeatureStore(tmp_path_factory.mktemp("coverage") / "store")
    store.ingest(metadata=DATA / "MovieGenre.csv.gz", images=[DATA / "posters_modern", DATA / "posters_classic"])
    store.embed(f"tflite:{DATA / 'mobilenet_v1_embedding.tflite'}", name="mobilenet_v1")
    features = store.features("mobilenet_v1", view="collection")
    y = np.unique([str(value) for value in features.table["Genre1"].to_pylist()], return_inverse=True)[1]
    X = features.X - features.X.mean(axis=0)
    left, values, _ = np.linalg.svd(X / (X.std(axis=0) + 1e-9), full_matrices=False)
    found = (left * values)[:, :COMPONENTS]
    return found / np.sqrt((found**2).sum(axis=1).mean()), y


def softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def lda(A: np.ndarray, b: np.ndarray, B: np.ndarray, k: int, shrink: float) -> np.ndarray:
    means = np.stack([A[b == code].mean(axis=0) for code in range(k)])
    within = np.cov((A - means[b]).T)
    within = (1 - shrink) * within + shrink * np.trace(within) / len(within) * np.eye(len(within))
    weights = np.linalg.solve(within, means.T)
    rates = np.bincount(b, minlength=k) / len(b)
    return softmax(B @ weights - (means.T * weights).sum(axis=0) / 2 + np.log(rates))


def ridge(A: np.ndarray, b: np.ndarray, B: np.ndarray, k: int, alpha: float) -> np.ndarray:
    targets = np.eye(k)[b]
    weights = np.linalg.solve(A.T @ A + alpha * np.eye(A.shape[1]), A.T @ (targets - targets.mean(axis=0)))
    return softmax(6 * (B @ weights + targets.mean(axis=0)))


def knn(A: np.ndarray, b: np.ndarray, B: np.ndarray, k: int, neighbours: int) -> np.ndarray:
    A, B = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (A, B))
    nearest = np.argpartition(-(B @ A.T), neighbours, axis=1)[:, :neighbours]
    votes = np.eye(k)[b[nearest]].sum(axis=1) + np.bincount(b, minlength=k) / len(b)
    return votes / votes.sum(axis=1, keepdims=True)


def fitted(model: object, A: np.ndarray, b: np.ndarray, B: np.ndarray, k: int) -> np.ndarray:
    proba = np.full((len(B), k), 0.02)
    proba[:, model.fit(A, b).classes_] += model.predict_proba(B)  # type: ignore[attr-defined]
    return proba / proba.sum(axis=1, keepdims=True)


def of_all_heads(A: np.ndarray, b: np.ndarray, B: np.ndarray, k: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Stable heads, heads that see a random third of the columns, and random trees."""
    some = [rng.permutation(COMPONENTS)[: COMPONENTS // 3] for _ in range(2)]
    trees = [
        DecisionTreeClassifier(
            max_depth=depth, min_samples_leaf=5, max_features=8, random_state=int(rng.integers(1 << 30))
        )
        for depth in (4, 6)
    ]
    return [
        *(lda(A, b, B, k, shrink) for shrink in (0.1, 0.5)),
        *(ridge(A, b, B, k, alpha) for alpha in (1.0, 10.0, 50.0)),
        *(knn(A, b, B, k, neighbours) for neighbours in (15, 31)),
        fitted(GaussianNB(var_smoothing=0.1), A, b, B, k),
        *(lda(A[:, columns], b, B[:, columns], k, 0.1) for columns in some),
        *(fitted(tree, A, b, B, k) for tree in trees),
    ]


def collections(
    posters: tuple[np.ndarray, np.ndarray], *, draws: int, repeats: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """``(draws, heads, repeats, n)`` by metric, and the folds ``(draws, repeats, n)``."""
    X, y = posters
    k, rng = int(y.max()) + 1, np.random.default_rng(1)
    centres = np.stack([X[y == code].mean(axis=0) for code in range(k)])
    spread = np.linalg.cholesky(np.cov((X - centres[y]).T) + 1e-9 * np.eye(COMPONENTS))
    found: dict[str, list[np.ndarray]] = {"accuracy": [], "log_loss": []}
    folds = np.zeros((draws, repeats, N), int)
    for draw in range(draws):
        rows = rng.integers(0, len(y), N)
        A, b = X[rows] + NOISE * rng.normal(size=(N, COMPONENTS)) @ spread.T, y[rows]
        right = np.zeros((12, repeats, N))
        loss = np.zeros((12, repeats, N))
        for repeat in range(repeats):
            parts = StratifiedKFold(FOLDS, shuffle=True, random_state=repeat).split(A, b)
            for fold, (train, test) in enumerate(parts):
                folds[draw, repeat, test] = fold
                for head, proba in enumerate(of_all_heads(A[train], b[train], A[test], k, rng)):
                    right[head, repeat, test] = proba.argmax(axis=1) == b[test]
                    loss[head, repeat, test] = -np.log(proba[np.arange(len(test)), b[test]].clip(1e-4))
        found["accuracy"].append(right)
        found["log_loss"].append(loss)
    return {metric: np.stack(values) for metric, values in found.items()}, folds


@pytest.mark.slow
def test_all_intervals_of_a_table_hold_together(posters: tuple[np.ndarray, np.ndarray]) -> None:
    draws = 120
    with threadpool_limits(1):
        found, folds = collections(posters, draws=draws, repeats=10)
    for metric, values in found.items():
        truth = values.mean(axis=(0, 2, 3))
        best = int(truth.argmax() if metric == "accuracy" else truth.argmin())
        for repeats in (1, 10):
            covered = kept = 0
            for draw in range(draws):
                rows = {("b", f"{head:02}"): values[draw, head, :repeats] for head in range(12)}
                right = metric == "accuracy"
                table = infer(Results(rows, folds[draw, :repeats], np.arange(N), 0.25, higher=right, binary=right))
                wrong = np.abs(table.difference - (truth[:, None] - truth)) > table.critical * table.error
                covered += not wrong[np.triu_indices(12, 1)].any()
                kept += ("b", f"{best:02}") in table.best
            text = f"all intervals {covered / draws:.3f}, the best row kept {kept / draws:.3f}"
            print(f"{metric}, 5 × {repeats}: {text}")
            assert covered / draws >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / draws)
            assert kept / draws >= 0.95
