"""Converted backbones: the source's vectors and revision without TensorFlow, and folders that nobody vouches for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from savedmodels import hub_module, keras_file
from support import Collection, needs

import featurestore
from featurestore import Conversion, FeatureStore, convert_backbone
from featurestore.backbones import conversion
from featurestore.backbones import keras_file as keras_files
from featurestore.backbones.agreement import generated_images, largest_difference, mean_cosine
from featurestore.backbones.base import Preprocessing
from featurestore.backbones.card import ConversionCard, read_card
from featurestore.backbones.records import LoadOptions
from featurestore.backbones.registry import load
from featurestore.embedding import convert
from featurestore.errors import BackboneError, InputError

needs("tensorflow", "keras", "openvino", "ai_edge_litert")
pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow's own warnings are not ours to mend


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Keras model for 96 × 96 pixels."""
    return keras_file(tmp_path_factory.mktemp("keras") / "Tiny-96.keras")


@pytest.fixture(scope="module")
def done(source: Path) -> Conversion:
    """Its conversion in fp32."""
    return convert_backbone(str(source), source.with_name("fp32"), synthetic=True)


@pytest.fixture(scope="module")
def small(source: Path) -> Conversion:
    """Its conversion in int8."""
    return convert_backbone(str(source), source.with_name("int8"), precision="int8", name="small", synthetic=True)


def copied(done: Conversion, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done.folder, tmp_path / "copy"))


def changed_card(folder: Path, **values: Any) -> Path:
    card = json.loads((folder / "backbone.json").read_text())
    (folder / "backbone.json").write_text(json.dumps(card | values))
    return folder


def test_fp32_keeps_the_revision_and_the_vectors(source: Path, done: Conversion) -> None:
    original = keras_files.load(source, LoadOptions("tiny_96", synthetic=True))
    backbone = load(f"converted:{done.folder}")
    spec = backbone.spec
    assert (spec.name, spec.embed_dim, spec.precision, spec.pass_size) == ("tiny_96", 24, "float32", 1)
    assert (spec.preprocessing.height, spec.preprocessing.width, spec.synthetic) == (96, 96, True)
    assert spec.revision == original.spec.revision == done.revision == done.source_revision
    assert set(spec.libraries) == {"openvino"}
    images = spec.preprocessing.apply(np.random.default_rng(5).integers(0, 256, (9, 96, 96, 3), np.uint8))
    assert isinstance(images, np.ndarray)
    vectors = backbone.embed(images)
    assert largest_difference(vectors, original.embed(images)) < 1e-5
    np.testing.assert_array_equal(backbone.embed(images[4:5]), vectors[4:5])
    assert (done.checked_on, done.images) == ("generated", 16)
    assert 0 <= done.largest_difference < 1e-5


def test_int8_is_a_revision_of_its_own(done: Conversion, small: Conversion) -> None:
    backbone, exact = load(f"converted:{small.folder}"), load(f"converted:{done.folder}")
    assert (backbone.spec.name, backbone.spec.precision) == ("small", "int8")
    assert backbone.spec.options == {"precision": "int8"}
    assert backbone.spec.revision == small.revision != small.source_revision == exact.spec.revision
    assert backbone.spec.synthetic
    assert f"int8: mean cosine {small.mean_cosine:.5f} to fp32 on 16 generated images" in backbone.spec.source
    images = exact.spec.preprocessing.apply(generated_images(exact.spec.preprocessing, 6))
    assert 0.98 < mean_cosine(backbone.embed(images), exact.embed(images)) < 1
    with pytest.raises(BackboneError, match="was converted in int8: leave out --precision bf16"):
        load(f"converted:{small.folder}", precision="bf16")
    with pytest.raises(BackboneError, match="precisions fp32 and bf16, not int8"):
        load(f"converted:{done.folder}", precision="int8")


def test_the_converted_continues_what_the_source_began(tmp_path: Path, source: Path, done: Conversion) -> None:
    collection = Collection(tmp_path, 24)
    store = FeatureStore(tmp_path / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    original = keras_files.load(source, LoadOptions("tiny_96", synthetic=True))
    assert store.embed(original).computed == 24
    assert store.embed(f"converted:{done.folder}").present == 24
    drafted = store.embed(f"converted:{done.folder}", preprocessing={"decode": "draft"}, name="drafted")
    assert drafted.computed == 24
    assert drafted.revision != done.revision


def test_loading_needs_no_tensorflow(done: Conversion, small: Conversion) -> None:
    code = (
        "import sys; from featurestore import load_backbone\n"
        f"for folder in {[done.folder, small.folder]!r}: load_backbone('converted:' + folder)\n"
        "print([name for name in ('tensorflow', 'keras', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


def test_sizes_and_numbers_come_from_the_signature(tmp_path: Path) -> None:
    import keras

    exported = tmp_path / "exported"
    keras.models.load_model(keras_file(tmp_path / "bytes.keras", side=64, kind="uint8")).export(exported, verbose=False)
    how = load(f"savedmodel:{exported}", synthetic=True).spec.preprocessing
    assert (how.height, how.width, how.scale) == (64, 64, "byte")
    done = convert_backbone(f"savedmodel:{exported}", tmp_path / "done", synthetic=True)
    assert load(f"converted:{done.folder}").spec.preprocessing == how
    with pytest.raises(BackboneError, match="takes 64 × 64 pixels, not 96 × 64"):
        load(f"savedmodel:{exported}", preprocessing={"height": 96})


def test_published_names_with_local_weights(tmp_path: Path, collection: Collection) -> None:
    weights = hub_module(tmp_path / "weights")
    done = convert_backbone(
        "inception_v3", tmp_path / "done", weights=weights, images=collection.images, synthetic=True
    )
    assert (done.backbone, done.checked_on, done.images) == ("inception_v3", "given", 16)
    assert done.revision == load("inception_v3", weights=weights, synthetic=True).spec.revision


def test_a_conversion_that_differs_is_not_written(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "FARTHEST", -1.0)
    monkeypatch.setattr(convert, "LOWEST_COSINE", 1.1)
    for precision in ("fp32", "int8"):
        with pytest.raises(BackboneError, match=r"and of its conversion differ by .* of the largest value"):
            convert_backbone(str(source), tmp_path / "done", precision=precision)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_converted_is_said(tmp_path: Path, source: Path) -> None:
    import keras

    for reference, words in (
        ("onnx:m.onnx", "needs no TensorFlow"),
        ("hf:folder", r"can't be converted, expected savedmodel:DIR"),
        ("none.keras", "there is no file 'none.keras'"),
        ("savedmodel:none", "is not a SavedModel"),
        ("nothing", "there is no backbone 'nothing'"),
    ):
        with pytest.raises(BackboneError, match=words):
            convert_backbone(reference, tmp_path / "out")
    (tmp_path / "bad.keras").write_bytes(b"no zip")
    with pytest.raises(BackboneError, match="can't be loaded as a Keras model"):
        convert_backbone(str(tmp_path / "bad.keras"), tmp_path / "out")
    inputs = keras.Input((8, 8, 3))
    outputs = keras.layers.Flatten()(keras.layers.Lambda(lambda values: values * 2)(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "code.keras")
    with pytest.raises(BackboneError, match="without code of its own"):
        convert_backbone(str(tmp_path / "code.keras"), tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for place in (tmp_path / "mine", source):
        with pytest.raises(InputError, match="exists and holds no converted backbone"):
            convert_backbone(str(source), place)
    with pytest.raises(InputError, match="holds no usable image"):
        convert_backbone(str(source), tmp_path / "out", images=tmp_path / "mine")
    assert not (tmp_path / "out").exists()
    assert conversion.default_name("savedmodel:a/Tiny-1") == "tiny_1"


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "backbone.json"])
def test_a_damaged_folder_is_refused(done: Conversion, tmp_path: Path, name: str) -> None:
    folder = copied(done, tmp_path)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 255
    (folder / name).write_bytes(content)
    with pytest.raises(BackboneError, match=r"another SHA-256|is not as `featurestore backbone convert` writes it"):
        load(f"converted:{folder}")
    (folder / name).unlink()
    with pytest.raises(BackboneError, match=r"lacks the file|has no backbone.json"):
        load(f"converted:{folder}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("precision", "fp8"),
        ("name", "../x"),
        ("embed_dim", True),
        ("embed_dim", 25),
        ("weights", "sha256:abc"),
        ("source", None),
        ("options", {"precision": 8}),
        ("synthetic", "no"),
        ("licence", "x" * 501),
        ("preprocessing", {"height": 10**9}),
        ("preprocessing", {"nothing": 1}),
        ("preprocessing", {"height": 64, "width": 64, "scale": "unit", "color": "RGB"}),
        ("files", {"../model.xml": "0" * 64}),
        ("files", {}),
        ("converted_by", []),
        ("checked_on", 1),
        ("images", 0),
        ("largest_difference", "0"),
        ("mean_cosine", 2.0),
    ],
)
def test_every_field_of_the_card_is_checked(done: Conversion, tmp_path: Path, field: str, value: object) -> None:
    folder = changed_card(copied(done, tmp_path), **{field: value})
    with pytest.raises(BackboneError, match=r"backbone\.json.* is not as|its card says|takes 96 × 96 pixels"):
        load(f"converted:{folder}")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"format": NaN}', b'{"format": 1e999}'])
def test_what_is_no_card(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "backbone.json").write_bytes(content)
    with pytest.raises(BackboneError, match="is not as `featurestore backbone convert` writes it"):
        read_card(tmp_path)


def test_the_card_tells_what_converted(done: Conversion) -> None:
    card = read_card(Path(done.folder))
    assert isinstance(card, ConversionCard)
    assert set(card.converted_by) == {"openvino", "tensorflow"}
    assert card.how() == Preprocessing(96, 96, "unit")
    assert card.source == "Tiny-96.keras, converted"


def test_the_command(source: Path, tmp_path: Path, invoke: Any) -> None:
    code, out, _ = invoke("backbone", "convert", str(source), "-o", str(tmp_path / "a b"), "--synthetic", "--name", "x")
    assert code == 0
    assert out.startswith("x (revision ")
    assert out.endswith(f"next: featurestore embed --backbone 'converted:{tmp_path}/a b'\n")
    code, out, _ = invoke("backbone", "convert", str(source), "-o", str(tmp_path / "a b"), "--json")
    assert (code, json.loads(out)["backbone"]) == (0, "tiny_96")
    assert featurestore.load_backbone(f"converted:{tmp_path}/a b").spec.embed_dim == 24
