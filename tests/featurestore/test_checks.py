"""What is noticed when a backbone is loaded: randomness, batches that mix images, and numbers that are none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import CountingBackbone

from featurestore import FeatureStore
from featurestore.backbones.base import Preprocessing
from featurestore.backbones.checks import check, check_once
from featurestore.backbones.custom import CallableBackbone, from_callable
from featurestore.errors import BackboneError

RNG = np.random.default_rng(0)


def backbone(function: Callable[[np.ndarray], Any], **preprocessing: Any) -> Any:
    how = Preprocessing(**{"height": 8, "width": 8} | preprocessing)
    return from_callable(function, name="made", revision="1", embed_dim=3, preprocessing=how)


def means(images: np.ndarray) -> np.ndarray:
    return images.mean((1, 2))


def masked(images: np.ndarray) -> np.ndarray:
    return means(images * (RNG.random((1, 8, 8, 1)) < 0.5))


def normalised(images: np.ndarray) -> np.ndarray:
    """Batch normalisation in training mode."""
    found = means(images)
    return (found - found.mean(0)) / (found.std(0) + 1e-3)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (masked, "gives other vectors for the same batch .*: turn off dropout, random masking"),
        (normalised, "depends on the other images of its batch: turn off training mode"),
        (lambda images: means(images) / 0, "gives NaN or infinity for an ordinary image"),
        (lambda images: means(images).astype(int), "expected .* float32"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_wrong_backbones_embed_nothing(
    store: FeatureStore, function: Callable[[np.ndarray], np.ndarray], sentence: str
) -> None:
    with pytest.raises(BackboneError, match=f"'made' {sentence}|{sentence}"):
        store.embed(backbone(function))
    assert store.backbones() == []


def noise(size: float) -> Callable[[np.ndarray], np.ndarray]:
    """A backbone whose vectors change with the number of *different* images, as rounding in another order does."""
    return lambda images: means(images) * (1 + size * len(np.unique(images, axis=0)))


@pytest.mark.parametrize(
    ("size", "precision", "accepted"),
    [(1e-7, "float32", True), (1e-3, "float32", False), (1e-3, "bfloat16", True)],
)
def test_rounding_is_no_dependence(size: float, precision: str, accepted: bool) -> None:
    from dataclasses import replace

    made = backbone(noise(size))
    made = CallableBackbone(replace(made.spec, precision=precision), made.function)
    if accepted:
        assert check(made) is made
    else:
        with pytest.raises(BackboneError, match="depends on the other images"):
            check(made)


@pytest.mark.parametrize(
    "preprocessing",
    [
        {"resize": "shortest", "edge": 16},
        {"resize": "longest"},
        {"layout": "NCHW"},
        {"scale": "byte"},
        {"height": 1, "width": 300},
    ],
)
def test_any_preprocessing_can_be_checked(preprocessing: dict[str, Any]) -> None:
    made = backbone(lambda images: images.reshape(len(images), -1)[:, :3] / np.float32(255), **preprocessing)
    assert check(made) is made


def test_an_object_is_checked_once_and_others_not_at_all() -> None:
    calls = []

    def counted(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return means(images)

    made = backbone(counted)
    for _ in range(3):
        check_once(made)
    assert calls == [2, 2, 2]
    counting = CountingBackbone()
    assert check_once(counting) is counting
    assert counting.batches == 0
