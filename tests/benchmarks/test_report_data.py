"""What a report holds for its script: the images of each cell, each picture once and only so many, the maps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import CountingBackbone, jpeg, movie, write_metadata

from benchmarks.report import page_data
from benchmarks.report.confusions import SHOWN, CellImages, cell_images, surest
from benchmarks.report.gallery import known_images
from benchmarks.report.maps import DRAWN, map_figures, principal
from benchmarks.results.breakdown import ImageProbabilities, RowPredictions
from featurestore import FeatureStore, display

EVIL = "</script><script>alert(1)</script><!-- \u2028 & \" '"
NAMES = ["a", "b", "c"]


def predictions(images: int, repeats: int, seed: int = 0) -> RowPredictions:
    rng = np.random.default_rng(seed)
    ids = np.tile(np.arange(1, images + 1, dtype=np.int32), repeats)
    proba = rng.random((len(ids), len(NAMES)), dtype=np.float32)
    return RowPredictions(ids, (ids % len(NAMES)).astype(np.int64), proba / proba.sum(axis=1, keepdims=True))


def test_the_surest_images_of_each_cell() -> None:
    row = predictions(60, 4)
    expected: dict[tuple[int, int], dict[int, list[float]]] = {}
    for img_id, y, proba in zip(row.ids.tolist(), row.y.tolist(), row.proba, strict=True):
        named = int(proba.argmax())
        expected.setdefault((y, named), {}).setdefault(img_id, []).append(float(proba[named]))
    found = surest(row)
    assert found.keys() == expected.keys()
    for pair, images in expected.items():
        order = sorted(images, key=lambda one: (-round(float(np.mean(images[one])), 9), one))
        assert found[pair] == (len(images), tuple(order[:SHOWN]))


def test_equally_sure_images_come_by_their_number() -> None:
    proba = np.tile(np.array([[0.6, 0.4]], np.float32), (20, 1))
    ids = np.arange(20, 0, -1, dtype=np.int32)
    assert surest(RowPredictions(ids, np.zeros(20, np.int64), proba)) == {(0, 0): (20, tuple(range(1, 9)))}


def test_what_a_cell_tells() -> None:
    row = predictions(3, 2)
    told = {
        (true, named): cell_images(row.confusion, surest(row), NAMES, (true, named))
        for true in range(3)
        for named in range(3)
    }
    assert sum(cell.count for cell in told.values()) >= 3
    for (true, named), cell in told.items():
        assert cell.wrong == (true != named)
        assert cell.text.startswith(f"{NAMES[true]} predicted ")
        assert f"{row.confusion[true, named]} of 2 predictions" in cell.text
        assert cell.text.endswith(".")
        assert (cell.count == 0) == ("0 of 2" in cell.text) == (cell.ids == ())
    many = cell_images(np.array([[3]]), {(0, 0): (9, tuple(range(8)))}, ["a"], (0, 0))
    assert many.text == "a predicted correctly: 3 of 3 predictions (100%), of 9 images; the 8 surest."


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("data")
    images = folder / "posters"
    images.mkdir()
    rows = []
    for i in range(30):
        (images / f"{100 + i}.jpg").write_bytes(jpeg(i))
        rows.append(movie(100 + i, "Drama" if i % 3 else "Comedy", EVIL))
    store = FeatureStore(folder / "store")
    store.ingest(metadata=write_metadata(folder / "m.csv", rows), images=images)
    store.embed(CountingBackbone())
    return store


def cell(*ids: int, wrong: bool = True) -> CellImages:
    return CellImages("some.", len(ids), ids, wrong)


def test_each_picture_is_stored_once(store: FeatureStore) -> None:
    kept = page_data.pictures([cell(100, 101), cell(101, 102), cell(103)], known_images(store), {103})
    assert [(one, "src" in image) for one, image in kept.images.items()] == [
        *((100, True), (101, True), (103, False), (102, True)),
    ]
    assert not kept.left_out


def test_the_pictures_have_a_limit_and_errors_come_first(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = known_images(store)
    one = len(page_data.pictures([cell(100)], known, set()).images[100]["src"])
    monkeypatch.setattr(page_data, "LARGEST", int(4.5 * one))
    cells = {"right": cell(*range(100, 108), wrong=False), "wrong": cell(*range(108, 116))}
    kept = page_data.pictures(list(cells.values()), known, set())
    shown = [img_id for img_id, image in kept.images.items() if "src" in image]
    assert shown[:4] == [108, 100, 109, 101]
    assert len(shown) + len(kept.left_out) == 16
    assert sum(len(image.get("src", "")) for image in kept.images.values()) <= 4.5 * one
    data = json.loads(page_data.as_json(cells, {}, known, kept))
    for text, ids in data["cells"].values():
        assert set(ids) <= set(shown)
        assert text == f"some. {8 - len(ids)} of them are left out: the page would grow too large."


def test_nothing_in_the_data_ends_the_script(store: FeatureStore) -> None:
    known = known_images(store)
    cells = {EVIL: cell(100, 7)}
    text = page_data.as_json(cells, {EVIL: [[101]]}, known, page_data.pictures(list(cells.values()), known, set()))
    assert "<" not in text
    data = json.loads(text)
    assert data["images"]["101"] == {"title": display.plain(EVIL)}
    assert data["images"]["7"] == {"title": "7", "fault": "no usable image in the store"}
    assert data["maps"] == {EVIL: [[101]]}


def test_a_very_long_title_is_cut(store: FeatureStore) -> None:
    known: dict[int, dict[str, Any]] = {1: {"title": "x" * 100_000, "source": None}}
    kept = page_data.pictures([cell(1)], known, set())
    assert kept.images[1]["title"] == "x" * (page_data.LONGEST - 1) + "…"


@pytest.mark.parametrize(("n", "d"), [(40, 6), (6, 40), (5, 2), (70, 60), (60, 70)])
def test_principal_components(n: int, d: int) -> None:
    X = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32) * np.arange(1, d + 1) + 100
    found, shares = principal(X)
    left, values, _ = np.linalg.svd(X.astype(float) - X.mean(axis=0, dtype=float), full_matrices=False)
    for axis in range(2):
        assert abs(np.corrcoef(found[:, axis], left[:, axis])[0, 1]) > 0.999
    assert shares == pytest.approx((values**2 / (values**2).sum())[:2], abs=1e-4)
    assert principal(X[::-1])[0][::-1] == pytest.approx(found, abs=1e-3 * float(np.abs(found).max()))


def test_equal_vectors_have_no_components() -> None:
    found, shares = principal(np.ones((5, 3), np.float32))
    assert not found.any()
    assert not shares.any()
    assert principal(np.ones((5, 1), np.float32))[0].shape == (5, 2)


def judged(ids: range, classes: int = 2) -> ImageProbabilities:
    n = len(ids)
    votes = np.zeros((n, classes), np.int64)
    votes[np.arange(n), np.arange(n) % classes] = 4
    y = np.zeros(n, np.int64)
    return ImageProbabilities(np.array(ids, np.int32), y, votes / 4, votes)


def test_maps_by_error_and_by_label(store: FeatureStore) -> None:
    known = judged(range(100, 130))
    errors, labels = map_figures(store, ["none", "counting", "counting+none"], known, ["Comedy", "Drama"], prefix="0-")
    assert errors["maps"] == {"0-e0": [list(range(100, 130, 2)), list(range(101, 130, 2))]}
    assert labels["maps"] == {"0-l0": [list(range(100, 130))]}
    for text in ("always right: 15 images", "always wrong: 15 images"):
        assert f"<title>{text}</title>" in errors["panels"][0]
    assert "Comedy: 30 images" in labels["panels"][0]
    again = map_figures(store, ["counting"], known, ["Comedy", "Drama"], prefix="0-")
    assert again == [errors, labels]


def test_images_without_an_embedding_are_not_on_the_map(store: FeatureStore) -> None:
    _, labels = map_figures(store, ["counting"], judged(range(90, 110)), NAMES, prefix="")
    assert labels["maps"] == {"l0": [list(range(100, 110))]}
    for few in (range(90, 102), range(10, 40)):
        assert map_figures(store, ["counting"], judged(few), NAMES, prefix="") == []


def test_of_many_images_always_the_same_are_drawn(store: FeatureStore) -> None:
    known = judged(range(100, 100 + 3 * DRAWN))
    figures = map_figures(store, ["counting"], known, ["x"] * 20, prefix="")
    drawn = [one for layers in figures[1]["maps"].values() for ids in layers for one in ids]
    assert 3 <= len(drawn) < 30
    assert f"{DRAWN:,} of {3 * DRAWN:,} images" in figures[1]["caption"]
    assert figures == map_figures(store, ["counting"], known, ["x"] * 20, prefix="")
