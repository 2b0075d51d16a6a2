"""TFLite files: the real quantised MobileNets, and files that are no model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from savedmodels import tflite_files
from support import Collection, needs

from featurestore import FeatureStore, embed_files, find_backbone
from featurestore.backbones.base import Preprocessing
from featurestore.backbones.registry import load
from featurestore.collections.images import decode
from featurestore.errors import BackboneError
from featurestore.explore.inventory import stored_revision

needs("ai_edge_litert")


def posters(folder: Path, count: int) -> np.ndarray:
    files = sorted((folder / "posters_modern").glob("*.jpg"))[:count]
    return np.stack([decode(path.read_bytes(), Preprocessing(224, 224)) for path in files])


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "tensor", "embed_dim", "scale"),
    [("mobilenet_v1_embedding.tflite", None, 1024, 0.023528), ("mobilenet_v2.tflite", 172, 1280, 0.019078)],
)
def test_real_models(real_data: Path, file: str, tensor: int | None, embed_dim: int, scale: float) -> None:
    backbone = load(f"tflite:{real_data / file}", tensor=tensor)
    images = posters(real_data, 9)
    vectors = backbone.embed(images)
    assert vectors.shape == (9, embed_dim)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[3:4], backbone.embed(images[3:4]))
    steps = vectors / scale
    assert np.abs(steps - steps.round()).max() < 0.02, "dequantised by the model's own scale"
    assert vectors.min() >= 0
    assert np.ptp(vectors, axis=0).max() > 1


@pytest.mark.real
def test_the_tensor_is_part_of_the_identity(real_data: Path) -> None:
    path = f"tflite:{real_data / 'mobilenet_v2.tflite'}"
    inner, output = load(path, tensor=172, threads=1), load(path, threads=1)
    assert (inner.spec.name, inner.spec.embed_dim, output.spec.embed_dim) == ("mobilenet_v2", 1280, 1001)
    assert inner.spec.revision != output.spec.revision
    with pytest.raises(BackboneError, match="no vector tensor 'nothing'"):
        load(path, tensor="nothing", threads=1)


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="there is no file"):
        load(f"tflite:{tmp_path / 'none.tflite'}")
    (tmp_path / "text.tflite").write_text("not a model")
    with pytest.raises(BackboneError, match="can't be loaded as TFLite"):
        load(f"tflite:{tmp_path / 'text.tflite'}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same network with float32, uint8 and int8 images and vectors."""
    return tflite_files(tmp_path_factory.mktemp("tflite"))


@pytest.mark.filterwarnings("ignore")  # the converter's warnings are TensorFlow's
def test_float_and_quantised_models_agree(tiny: dict[str, Path]) -> None:
    images = np.random.default_rng(2).integers(0, 256, (5, 32, 32, 3), np.uint8)
    vectors = {}
    for kind, path in tiny.items():
        backbone = load(f"tflite:{path}")
        assert backbone.spec.name == f"tiny_{kind}"
        assert backbone.spec.preprocessing.scale == ("unit" if kind == "float32" else "byte")
        vectors[kind] = backbone.embed(backbone.spec.preprocessing.apply(images))
        assert vectors[kind].dtype == np.float32
    np.testing.assert_array_equal(vectors["int8"], vectors["uint8"])
    assert np.abs(vectors["int8"] - vectors["float32"]).max() < 0.03 * np.ptp(vectors["float32"])


@pytest.mark.filterwarnings("ignore")
def test_a_query_by_image_finds_the_file_again(
    tiny: dict[str, Path], store: FeatureStore, collection: Collection
) -> None:
    store.embed(f"tflite:{tiny['uint8']}", name="mine", workers=1)
    again = find_backbone(stored_revision(store, "mine"))
    images = [collection.images / f"{img_id}.jpg" for img_id in collection.ids]
    assert embed_files(again, images).tobytes() == store.features("mine", view="images_usable").X.tobytes()
    by_file = store.similar(images[4], backbone="mine", k=3, model=f"tflite:{tiny['uint8']}")
    found = store.similar(images[4], backbone="mine", k=3)
    assert found.ids[0, 0] == collection.ids[4]
    assert found.scores.tobytes() == by_file.scores.tobytes()


@pytest.mark.filterwarnings("ignore")
def test_what_a_model_cannot_do_is_said(tiny: dict[str, Path]) -> None:
    signed = load(f"tflite:{tiny['float32']}", preprocessing=Preprocessing(32, 32, "signed"))
    assert signed.spec.revision != load(f"tflite:{tiny['float32']}").spec.revision
    with pytest.raises(BackboneError, match="takes 32 × 32 pixels"):
        load(f"tflite:{tiny['float32']}", preprocessing=Preprocessing(64, 64))
    with pytest.raises(BackboneError, match="takes int8 images: set the scale to byte, not unit"):
        load(f"tflite:{tiny['int8']}", preprocessing=Preprocessing(32, 32, "unit"))
    with pytest.raises(BackboneError, match=r"tensor 0 has|no vector tensor 0"):
        load(f"tflite:{tiny['float32']}", tensor=0)


@pytest.mark.filterwarnings("ignore")  # the converter's warnings are TensorFlow's
def test_operators_that_are_not_of_tflite_are_refused(tmp_path: Path) -> None:
    needs("tensorflow")
    import tensorflow as tf

    out = str(tmp_path / "written")

    @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3], tf.float32)])
    def call(images: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(out, "x")]):
            return tf.reduce_mean(images, [1, 2])

    converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()])
    converter.allow_custom_ops = True
    (tmp_path / "custom.tflite").write_bytes(converter.convert())
    with pytest.raises(BackboneError, match="can't be loaded as TFLite"):
        load(f"tflite:{tmp_path / 'custom.tflite'}")
    assert not Path(out).exists()
