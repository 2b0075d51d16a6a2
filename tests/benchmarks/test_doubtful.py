"""Doubtful labels: planted ones are found, hard input is survived, and the command says what a reader must know."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from bench_store import in_this_process, make_store

from benchmarks.commands.cli import cli
from benchmarks.heads.registry import find
from benchmarks.plan.protocols import Protocol
from benchmarks.report.gallery import galleries, known_images
from benchmarks.results.breakdown import ImageProbabilities, RowPredictions, image_probabilities, rows_of, verdicts
from benchmarks.results.doubtful import asked_run, doubtful_labels
from benchmarks.run import runner
from featurestore import FeatureStore
from featurestore.commands.options import run_command


def known(y: np.ndarray, proba: np.ndarray) -> ImageProbabilities:
    return ImageProbabilities(np.arange(len(y), dtype=np.int32), y, proba, np.zeros(proba.shape, np.int64))


def sure_of(y: np.ndarray, classes: int, *, seed: int = 0) -> np.ndarray:
    """Probabilities that know the class of each row."""
    proba = np.random.default_rng(seed).dirichlet(np.ones(classes), len(y)) * 0.1
    proba[np.arange(len(y)), y] += 0.9
    return proba


def test_planted_labels_are_found() -> None:
    true = np.arange(300) % 3
    given = true.copy()
    given[:9] = (given[:9] + 1) % 3
    found = doubtful_labels(known(given, sure_of(true, 3)))
    assert {one.img_id for one in found} <= set(range(9))
    assert len(found) >= 7  # it counts only those over the mean of the class that they are predicted as
    assert all((one.given, one.suggested) == (given[one.img_id], true[one.img_id]) for one in found)
    assert [one.score for one in found] == sorted(one.score for one in found)
    assert all(one.score < one.sure for one in found)


def test_labels_that_fit_are_not_doubted() -> None:
    y = np.arange(200) % 2
    assert doubtful_labels(known(y, sure_of(y, 2))) == []


@pytest.mark.parametrize("seed", range(8))
def test_any_probabilities_are_survived(seed: int) -> None:
    """Few images, classes that no image has, equal and certain probabilities."""
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(2, 30)), int(rng.integers(2, 9))
    proba = rng.dirichlet(np.full(classes, 0.05), n)
    if seed % 2:
        proba = np.eye(classes)[rng.integers(0, classes, n)]
    found = doubtful_labels(known(rng.integers(0, classes, n), proba))
    assert all(one.given != one.suggested for one in found)


def test_one_class_alone_has_no_doubtful_label() -> None:
    assert doubtful_labels(known(np.zeros(5, np.int64), np.full((5, 2), 0.5))) == []


def test_every_row_has_the_same_weight_whatever_its_repeats() -> None:
    ids, y = np.array([3, 7], np.int32), np.array([0, 1])
    once = RowPredictions(ids, y, np.array([[1.0, 0.0], [0.5, 0.5]], np.float32))
    twice = RowPredictions(
        np.tile(ids, 2), np.tile(y, 2), np.array([[0, 1], [0.5, 0.5], [0, 1], [0.5, 0.5]], np.float32)
    )
    majority = RowPredictions(ids, y, np.array([[0, 1], [0, 1]], np.float32))
    other = RowPredictions(np.array([5], np.int32), np.array([1]), np.array([[0.25, 0.75]], np.float32))
    found = image_probabilities({("a", "knn"): once, ("a", "ridge"): twice, ("a", "majority"): majority})
    assert found is not None
    assert found.proba.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert found.votes.tolist() == [[1, 2], [3, 0]]
    wider = image_probabilities({("a", "knn"): once, ("a", "lda"): other})
    assert wider is not None
    assert (wider.ids.tolist(), wider.y.tolist()) == ([3, 5, 7], [0, 1, 1])
    assert wider.proba.tolist() == [[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]]
    assert image_probabilities({("a", "majority"): majority}) is None
    assert verdicts({("a", "majority"): majority}) == []


def test_the_most_surely_wrong_come_first_and_the_most_surely_correct_last() -> None:
    ids, y = np.arange(5, dtype=np.int32), np.array([0, 0, 0, 1, 1])
    first = [0.4, 0.1, 0.9, 0.2, 0.4]  # the probability of class 0
    row = RowPredictions(ids, y, np.array([[one, 1 - one] for one in first], np.float32))
    judged = verdicts({("a", "knn"): row})
    assert [one.img_id for one in judged] == [1, 0, 4, 3, 2]
    assert [round(one.sure, 3) for one in judged] == [0.9, 0.6, 0.6, 0.8, 0.9]
    assert [one.right for one in judged] == [0, 0, 1, 1, 1]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    store = make_store(tmp_path_factory.mktemp("doubtful"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.run.execution.computed", in_this_process)
        for protocol in (Protocol("cv", folds=3, repeats=1), Protocol("study")):
            runner.run(store, heads=find(["majority", "knn"]), protocols=[protocol], cost=False)
    return store.refresh()


def test_the_titles_say_how_many_there_are(bench: FeatureStore) -> None:
    run = asked_run(bench, None)
    predicted = rows_of(bench, run)
    judged = verdicts(predicted)
    probabilities = image_probabilities(predicted)
    assert probabilities is not None
    probabilities = image_probabilities(predicted)
    assert probabilities is not None
    wrong, doubtful, correct = galleries(known_images(bench), run["classes"], probabilities)
    total = sum(one.right == 0 for one in judged)
    shown = min(12, total)
    assert wrong.title == f"Most surely wrong: {shown} of {total} images that every row predicts wrongly each time"
    assert len(wrong.cards) == shown
    assert doubtful.title.startswith(
        f"Doubtful labels: {len(doubtful.cards)} of {len(doubtful_labels(probabilities))} image"
    )
    assert f"of {sum(one.right == 1 for one in judged)} images that every row predicts correctly" in correct.title


def test_cross_validation_is_asked_rather_than_one_split(bench: FeatureStore) -> None:
    assert asked_run(bench, None)["protocol"] == "cv"


def call(bench: FeatureStore, capfd, monkeypatch, *arguments: str):  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.argv", ["benchmarks", "doubtful", "--store", str(bench.path), *arguments])
    capfd.readouterr()
    return run_command(cli, "benchmarks"), *capfd.readouterr()


def test_the_command(bench: FeatureStore, tmp_path: Path, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    file, page = tmp_path / "doubtful.csv", tmp_path / "doubtful.html"
    code, out, _ = call(bench, capfd, monkeypatch, "-n", "3", "--json", "-o", str(file))
    found = json.loads(out)
    assert code == 0
    assert len(found["labels"]) == 3 < found["doubtful"]
    assert {"ImgId", "given", "suggested", "p_given", "p_suggested", "ImgName", "title"} == set(found["labels"][0])
    with file.open(newline="") as opened:
        assert [int(row["ImgId"]) for row in csv.DictReader(opened)] == [row["ImgId"] for row in found["labels"]]
    code, out, _ = call(bench, capfd, monkeypatch, "-n", "3", "-o", str(page))
    assert code == 0
    assert f"{found['doubtful']} of 60 labels are doubtful" in out
    assert "a hard image looks the same as a wrong label" in out
    text = page.read_text("utf-8")
    assert text.count('src="data:image/webp') == 3
    assert f"Doubtful labels: 3 of {found['doubtful']}" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--run", "none"], "has no run 'none'"),
        (["-o", "labels.pdf"], "ends with .csv or .html"),
        (["-o", "no/such/folder/labels.csv"], "can't be written"),
    ],
)
def test_bad_input(bench: FeatureStore, capfd, monkeypatch, arguments, sentence) -> None:  # type: ignore[no-untyped-def]
    code, _, err = call(bench, capfd, monkeypatch, *arguments)
    assert (code, sentence in err, "Traceback" in err) == (1, True, False)


def test_a_run_with_shuffled_labels_is_refused(bench: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from featurestore.errors import InputError

    monkeypatch.setattr("benchmarks.run.execution.computed", in_this_process)
    plan = [Protocol("cv", folds=2, repeats=1)]
    (report,) = runner.run(bench, heads=find(["knn"]), protocols=plan, backbones=["a"], canary=True, cost=False)
    with pytest.raises(InputError, match="or shuffled labels: name another one"):
        asked_run(bench.refresh(), report.run_id)
