"""Splits: the study's own, and cross-validation that never parts duplicates."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support import jpeg

from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.protocols import PROTOCOLS, SIZES, Protocol, Split
from featurestore import FeatureStore
from featurestore.errors import InputError


def dataset(y: np.ndarray, ids: np.ndarray | None = None, groups: np.ndarray | None = None) -> EmbeddingDataset:
    n = len(y)
    ids = np.arange(n) if ids is None else ids
    return EmbeddingDataset(
        X=np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32),
        y=y.astype(np.int64),
        ids=ids.astype(np.int32),
        groups=ids.astype(np.int64) if groups is None else groups,
        classes=tuple(f"c{i}" for i in range(int(y.max()) + 1)),
        backbone="b",
        revision="r",
        view="labeled",
        label="Genre1",
        state_id="s",
        synthetic=True,
    )


@pytest.mark.real
def test_the_study_split_has_the_films_of_the_study(real_data: Path, tmp_path: Path) -> None:
    images = tmp_path / "posters"
    images.mkdir()
    content = jpeg(1, size=(16, 24))
    for name in (real_data / "sample_image_names.txt").read_text().split():
        (images / name).write_bytes(content)
    store = FeatureStore(tmp_path / "store")
    store.ingest(metadata=real_data / "MovieGenre.csv.gz", images=images)
    ids = store.sql("SELECT ImgId FROM labeled")["ImgId"].to_numpy()
    (split,) = Protocol("study").splits(dataset(np.zeros(811), ids))
    train = ids[split.train].tolist()
    assert (len(train), len(split.test)) == (648, 163)
    assert train[:3] == [15881, 20945, 18773]
    assert train[-3:] == [16847, 20793, 10247]


def test_cv_tests_every_row_once_in_each_repeat_and_keeps_the_class_rates() -> None:
    y = np.repeat([0, 1, 2], [90, 50, 20])
    splits = list(Protocol("cv", folds=5, repeats=3).splits(dataset(y)))
    assert len(splits) == 15
    for repeat in range(3):
        tested = np.concatenate([split.test for split in splits if split.repeat == repeat])
        np.testing.assert_array_equal(np.sort(tested), np.arange(160))
    for split in splits:
        assert not set(split.train) & set(split.test)
        np.testing.assert_allclose(
            np.bincount(y[split.test]) / len(split.test), [90 / 160, 50 / 160, 20 / 160], atol=0.04
        )
    assert len({split.hash(np.arange(160, dtype=np.int32)) for split in splits}) == 15


def test_duplicates_stay_on_one_side() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 120)
    groups = np.arange(120)
    groups[60:] = groups[:60]
    y[60:] = y[:60]
    data = dataset(y, groups=groups)
    for split in Protocol("cv", folds=4).splits(data):
        assert split.leaks(groups) == 0
    (split,) = Protocol("study").splits(data)
    assert split.leaks(groups) > 0, "the study's split knows nothing of duplicates, and the table says so"


def test_splits_are_those_of_the_seed() -> None:
    y = np.arange(60) % 3
    ids = np.arange(60, dtype=np.int32)

    def hashes(seed: int) -> list[str]:
        return [split.hash(ids) for split in Protocol("cv", seed=seed).splits(dataset(y))]

    assert hashes(0) == hashes(0) != hashes(1)


@pytest.mark.parametrize(
    ("protocol", "y", "sentence"),
    [
        (Protocol("cv", folds=5), np.repeat([0, 1], [50, 4]), "the class 'c1' has 4 different images"),
        (Protocol("cv", folds=1), np.repeat([0, 1], [50, 40]), "expected 2 and 1 or more"),
        (Protocol("cv", repeats=0), np.repeat([0, 1], [50, 40]), "expected 2 and 1 or more"),
        (Protocol("study"), np.array([0, 1, 0]), "needs 10 rows"),
    ],
)
def test_what_cannot_be_split(protocol: Protocol, y: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        list(protocol.splits(dataset(y)))


def test_a_learning_curve_grows_and_keeps_the_class_rates() -> None:
    y = np.repeat([0, 1, 2], [90, 50, 20])
    splits = list(Protocol("learning-curve", folds=4).splits(dataset(y)))
    assert len(splits) == 4 * len(SIZES)
    for fold in range(4):
        parts = [split for split in splits if split.fold == fold]
        for smaller, larger in pairwise(parts):
            assert set(smaller.train) < set(larger.train)
            np.testing.assert_array_equal(smaller.test, larger.test)
        for split in parts:
            assert abs(np.mean(y[split.train] == 2) - 20 / 160) < 0.06
            assert len(np.unique(y[split.train])) == 3
    assert len({split.hash(np.arange(160, dtype=np.int32)) for split in splits}) == len(splits)


def test_a_protocol_that_parts_duplicates_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.arange(40)
    groups[20] = 0
    data = dataset(np.arange(40) % 2, groups=groups)
    planted = Split("cv", 0, 0, np.arange(20), np.arange(20, 40))
    monkeypatch.setitem(PROTOCOLS, "cv", lambda protocol, data: iter([planted]))
    with pytest.raises(InputError, match="puts duplicates of an image on both sides"):
        list(Protocol("cv").splits(data))
