"""Callables as backbones: they embed a store like any other, and wrong results are named."""

from typing import Any

import numpy as np
import pytest

from featurestore import FeatureStore
from featurestore.backbones.base import Backbone, Preprocessing
from featurestore.backbones.custom import from_callable
from featurestore.errors import BackboneError


def corners(images: np.ndarray) -> np.ndarray:
    """The top left pixel, as float64: the backbone makes it float32."""
    return images[:, 0, 0].astype(np.float64)


def test_a_function_embeds_a_store(store: FeatureStore) -> None:
    backbone = from_callable(corners, name="corners", revision="1", embed_dim=3, preprocessing=Preprocessing(8, 8))
    assert isinstance(backbone, Backbone)
    assert backbone.spec.source.endswith("test_custom.corners")
    assert store.embed(backbone).computed == 24
    features = store.features("corners", view="collection")
    assert features.X.shape == (24, 3)
    assert features.X.dtype == np.float32
    assert store.embed(backbone).computed == 0
    newer = from_callable(corners, name="corners", revision="2", embed_dim=3, preprocessing=Preprocessing(8, 8))
    assert newer.spec.revision != backbone.spec.revision
    assert store.embed(newer).computed == 24, "a new revision is embedded anew"


def test_one_bad_vector_does_not_stop_the_others(store: FeatureStore) -> None:
    def sometimes(images: np.ndarray) -> np.ndarray:
        vectors = corners(images)
        vectors[vectors.max(1) < 0.5] = np.nan
        return vectors

    report = store.embed(from_callable(sometimes, name="sometimes", revision="1", embed_dim=3), batch_size=12)
    assert 0 < len(report.refused) < 12
    assert len(store.features("sometimes", view="collection").X) == 24 - len(report.refused)


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (np.zeros((2, 4)), r"returned \(2, 4\) float64, expected \(2, 3\) float32"),
        (np.zeros((2, 3), int), r"returned \(2, 3\) int64"),
        (np.zeros(3), r"returned \(3,\)"),
        ([[1.0, 2.0, 3.0], [1.0]], "did not return an array"),
        (None, r"returned \(\) object"),
    ],
)
def test_wrong_results_are_named(result: Any, sentence: str) -> None:
    backbone = from_callable(lambda images: result, name="wrong", revision="1", embed_dim=3)
    with pytest.raises(BackboneError, match=f"'wrong' {sentence}"):
        backbone.embed(np.zeros((2, 224, 224, 3), np.float32))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "No Name"}, "expected lower-case"),
        ({"revision": " "}, "empty revision"),
        ({"embed_dim": 0}, "expected 1 or more"),
    ],
)
def test_wrong_records_are_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BackboneError, match=sentence):
        from_callable(corners, **{"name": "corners", "revision": "1", "embed_dim": 3} | changes)
    with pytest.raises(BackboneError, match="got a str"):
        from_callable("corners", name="corners", revision="1", embed_dim=3)  # type: ignore[arg-type]
