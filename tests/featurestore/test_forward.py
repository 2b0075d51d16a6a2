"""Image files become vectors without a store, and what can't be one is refused by the name of the file."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support import Collection, CountingBackbone

from featurestore import FeatureStore, embed_files, load_backbone, load_image
from featurestore.collections.images import content_hash
from featurestore.errors import BackboneError, ImageError, InputError


class Answering(CountingBackbone):
    """Answers every image with the same value."""

    value = 0.0

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n, 16, 16, 3)`` → ``(n, 16)``."""
        vectors = super().embed(images)
        vectors[:, :] = self.value
        return vectors


def test_they_are_the_vectors_of_the_store(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    stored = store.features("counting", view="collection")
    files = [collection.images / f"{img_id}.jpg" for img_id in stored.ids]
    vectors = embed_files(CountingBackbone(), files)
    assert (vectors.dtype, vectors.shape) == (np.float32, (24, 16))
    np.testing.assert_array_equal(vectors, stored.X)
    assert embed_files(CountingBackbone(), []).shape == (0, 16)
    np.testing.assert_array_equal(embed_files(CountingBackbone(), [str(files[3])]), vectors[3:4])


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "NaN or infinity"), (np.inf, "infinity"), (0.0, "constant")])
def test_a_vector_that_no_store_would_take_is_refused(collection: Collection, value: float, reason: str) -> None:
    backbone = Answering()
    backbone.value = value
    with pytest.raises(InputError, match=rf"101\.jpg' can't be used .*{reason}"):
        embed_files(backbone, [collection.images / "101.jpg"])


def test_a_file_that_is_no_image_is_refused(collection: Collection) -> None:
    for file, reason in ((Path(__file__), "no image format"), (collection.images / "1.jpg", "can't be read: No such")):
        with pytest.raises(InputError, match=f"{file.name}' can't be used .*{reason}"):
            embed_files(CountingBackbone(), [file])


def test_a_backbone_that_raises_is_named(collection: Collection) -> None:
    backbone = CountingBackbone()

    def fail(batch: int) -> None:
        raise ZeroDivisionError

    backbone.before_batch = fail
    with pytest.raises(BackboneError, match="'counting' failed with ZeroDivisionError"):
        embed_files(backbone, [collection.images / "101.jpg"])


def test_an_image_is_loaded_when_its_bytes_are_those_expected(collection: Collection) -> None:
    file = collection.images / "101.jpg"
    digest = content_hash(file.read_bytes())
    image = load_image(file, height=8, width=4, sha256=digest)
    assert (image.shape, image.dtype) == ((8, 4, 3), np.uint8)
    np.testing.assert_array_equal(load_image(str(file), height=8, width=4), image)
    with pytest.raises(ImageError, match="has changed since its checksum was taken"):
        load_image(collection.images / "102.jpg", height=8, width=4, sha256=digest)
    with pytest.raises(ImageError, match="can't be read: No such file"):
        load_image(collection.images / "1.jpg", height=8, width=4)


@pytest.mark.parametrize("reference", ["tflite:model.tflite", "savedmodel:folder", "tflite", "nothing"])
def test_a_reference_from_elsewhere_names_no_file(reference: str) -> None:
    with pytest.raises(BackboneError, match=r"there is no backbone|needs a path"):
        load_backbone(reference, trusted=False)
    assert load_backbone("descriptors", trusted=False).spec.name == "descriptors"
