"""ONNX files: what their signature says, which output is the embedding, files beside them, and hostile ones."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx_models import Shape, onnx_model, pointing_to
from support import needs

from featurestore import FeatureStore
from featurestore.backbones import openvino
from featurestore.backbones.records import LoadOptions
from featurestore.backbones.registry import load
from featurestore.backbones.signature import ImageInput, preprocessing_of
from featurestore.errors import BackboneError

needs("onnx", "openvino")

SMALL: Shape = ["n", 3, 32, 32]


def pixels(count: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, side, side, 3), np.uint8)


def expected(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """The tiny model in NumPy; ``images`` are (n, h, w, 3) uint8."""
    kernel = np.random.default_rng(seed).normal(size=(6, 3, 4, 4)).astype(np.float32)
    scaled = images.astype(np.float64) / 255
    cells = scaled.reshape(len(images), images.shape[1] // 4, 4, images.shape[2] // 4, 4, 3)
    maps = np.einsum("nyaxbc,kcab->nyxk", cells, kernel)
    return np.maximum(maps, 0).mean((1, 2))


@pytest.mark.parametrize(
    ("shape", "kind", "maps", "layout", "dtype", "scale"),
    [
        (["n", 3, 32, 32], "FLOAT", False, "NCHW", "float32", "unit"),
        ([1, 32, 32, 3], "FLOAT", True, "NHWC", "float32", "unit"),
        ([4, 3, 32, 32], "FLOAT", True, "NCHW", "float32", "unit"),
        (["n", 3, 32, 32], "FLOAT16", False, "NCHW", "float16", "unit"),
        (["n", 32, 32, 3], "UINT8", False, "NHWC", "float32", "byte"),
        (["n", "c", "h", "w"], "FLOAT", False, "NCHW", "float32", "unit"),
    ],
)
def test_the_signature_says_how_images_go_in(
    tmp_path: Path, shape: Shape, kind: str, maps: bool, layout: str, dtype: str, scale: str
) -> None:
    path = onnx_model(tmp_path / "Tiny-Model.onnx", shape=shape, kind=kind, maps=maps)
    free = {"height": 32, "width": 32} if "h" in shape else None
    backbone = load(f"onnx:{path}", preprocessing=free, threads=2)
    how = backbone.spec.preprocessing
    assert (backbone.spec.name, backbone.spec.embed_dim, backbone.spec.pass_size) == ("tiny_model", 6, 1)
    assert (how.height, how.width, how.layout, how.dtype, how.scale) == (32, 32, layout, dtype, scale)
    assert bool(backbone.spec.notes) == (scale == "unit" and free is None), "an assumed scale is said"
    images = pixels(5)
    vectors = backbone.embed(how.apply(images))
    wanted = expected(images) * (255 if scale == "byte" else 1)
    np.testing.assert_allclose(vectors, wanted, rtol=2e-3 if dtype == "float16" else 1e-5)


def test_free_sizes_are_those_of_the_options_or_224(tmp_path: Path) -> None:
    path = onnx_model(tmp_path / "free.onnx", shape=["n", 3, "h", "w"])
    assert load(f"onnx:{path}", threads=1).spec.preprocessing.width == 224
    chosen = load(f"onnx:{path}", threads=1, preprocessing={"height": "64", "width": "32"}).spec.preprocessing
    assert (chosen.height, chosen.width) == (64, 32)


def test_a_vector_depends_on_its_image_alone(tmp_path: Path) -> None:
    backbone = load(f"onnx:{onnx_model(tmp_path / 'm.onnx')}", threads=2)
    images = backbone.spec.preprocessing.apply(pixels(33))
    assert isinstance(images, np.ndarray)
    together = backbone.embed(images)
    order = np.random.default_rng(0).permutation(33)
    np.testing.assert_array_equal(backbone.embed(images[order]), together[order])
    np.testing.assert_array_equal(np.concatenate([backbone.embed(image[None]) for image in images]), together)
    np.testing.assert_array_equal(load(f"onnx:{tmp_path / 'm.onnx'}", threads=1).embed(images), together)


def test_of_two_outputs_one_is_named(tmp_path: Path) -> None:
    path = onnx_model(tmp_path / "two.onnx", two=True)
    with pytest.raises(BackboneError, match=r"embedding \[1,6\], scores \[1,4\]: expected one.*--tensor"):
        load(f"onnx:{path}")
    with pytest.raises(BackboneError, match="'nothing' is not one of them"):
        load(f"onnx:{path}", tensor="nothing")
    by_name, by_number = load(f"onnx:{path}", tensor="scores"), load(f"onnx:{path}", tensor=1)
    assert by_name.spec.embed_dim == 4
    assert by_name.spec.revision == by_number.spec.revision != load(f"onnx:{path}", tensor=0).spec.revision
    inner = load(f"onnx:{path}", tensor="pooled")
    images = inner.spec.preprocessing.apply(pixels(2))
    np.testing.assert_array_equal(inner.embed(images), load(f"onnx:{path}", tensor="embedding").embed(images))
    with pytest.raises(BackboneError, match="'relu' is not one of them"):
        load(f"onnx:{path}", tensor="relu")


TWO_THAT_ARE_FREED = """
import gc, signal, sys
from featurestore import load_backbone
first, second = (load_backbone(f"onnx:{sys.argv[1]}", threads=1) for _ in range(2))
del first
del second
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_counts_after_models_were_freed(tmp_path: Path) -> None:
    path = onnx_model(tmp_path / "m.onnx")
    command = [sys.executable, "-c", TWO_THAT_ARE_FREED, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "interrupted\n"), result.stderr


def test_changes_must_fit_the_signature(tmp_path: Path) -> None:
    path = onnx_model(tmp_path / "m.onnx", shape=SMALL)
    for changes, words in (
        ({"height": 64}, "takes 32 × 32 pixels, not 64 × 32"),
        ({"layout": "NHWC"}, "takes NCHW, not NHWC"),
        ({"scale": "byte"}, "takes float32 images, the preprocessing makes uint8"),
        ({"dtype": "float16"}, "takes float32 images, the preprocessing makes float16"),
    ):
        with pytest.raises(BackboneError, match=words):
            load(f"onnx:{path}", preprocessing=changes)
    normalised = load(f"onnx:{path}", preprocessing={"mean": "0.5,0.5,0.5"})
    assert normalised.spec.revision != load(f"onnx:{path}").spec.revision


def test_weights_in_other_files_count(tmp_path: Path) -> None:
    inside = load(f"onnx:{onnx_model(tmp_path / 'inside.onnx')}")
    path = onnx_model(tmp_path / "outside.onnx", external="outside.data")
    outside = load(f"onnx:{path}")
    images = inside.spec.preprocessing.apply(pixels(3))
    np.testing.assert_array_equal(outside.embed(images), inside.embed(images))
    moved = path.rename(tmp_path / "renamed.onnx")
    assert load(f"onnx:{moved}").spec.weights == outside.spec.weights
    data = tmp_path / "outside.data"
    data.write_bytes(data.read_bytes()[:-1] + b"\1")
    with pytest.raises(BackboneError, match="has other weights than those that computed"):
        load(f"onnx:{moved}", expected_weights=outside.spec.weights)
    data.unlink()
    with pytest.raises(BackboneError, match=r"needs the file 'outside.data' beside it"):
        load(f"onnx:{moved}")


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/data", "..", "", "link"])
def test_files_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path / "secret", folder / "sub" / "data"):
        place.write_bytes(bytes(2000))
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BackboneError, match="expected a file beside it"):
        load(f"onnx:{pointing_to(folder / 'm.onnx', location)}")


@pytest.mark.parametrize("content", [b"", b"no model" * 50, bytes(300), b"\x08\x09", b"<net name='x' version='11'/>"])
def test_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.onnx"
    path.write_bytes(content)
    with pytest.raises(BackboneError, match="is not an ONNX model"):
        load(f"onnx:{path}")


def test_damaged_and_foreign_models(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="there is no file"):
        load(f"onnx:{tmp_path}")
    for shape in ((None, 4, 32, 32), (1, 3), ()):
        with pytest.raises(BackboneError, match=r"takes \(.*\), expected images with three channels"):
            preprocessing_of(ImageInput(shape, "float32"), LoadOptions("m"), Path("m.onnx"))
    with pytest.raises(BackboneError, match="takes images of int64, expected float32"):
        load(f"onnx:{onnx_model(tmp_path / 'whole.onnx', kind='INT64')}")
    content = onnx_model(tmp_path / "m.onnx").read_bytes()
    for end in range(1, len(content), 97):
        (tmp_path / "cut.onnx").write_bytes(content[:end])
        with pytest.raises(BackboneError):
            load(f"onnx:{tmp_path / 'cut.onnx'}", threads=1)


def test_the_precision_is_set_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino as ov

    path = onnx_model(tmp_path / "m.onnx")
    exact = load(f"onnx:{path}")
    assert exact.spec.precision == "float32"
    assert set(exact.spec.libraries) == {"openvino"}
    for precision in ("int8", "fp16"):
        with pytest.raises(BackboneError, match=f"precisions fp32 and bf16, not {precision}: for int8, convert"):
            load(f"onnx:{path}", precision=precision)
    if "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        short = load(f"onnx:{path}", precision="bf16")
        assert (short.spec.precision, short.spec.options["precision"]) == ("bfloat16", "bf16")
        assert short.spec.revision != exact.spec.revision
        assert re.search(r"bf16: mean cosine [01]\.\d{5} to fp32 on 8 generated images", short.spec.source)
        assert short.spec.notes[-1] in short.spec.source
        images = exact.spec.preprocessing.apply(pixels(4))
        assert 0 < np.abs(short.embed(images) - exact.embed(images)).max() < 0.05
    monkeypatch.setattr(ov.Core, "get_property", lambda *_: ["FP32"])
    with pytest.raises(BackboneError, match="this processor has no bf16 in OpenVINO: leave out"):
        load(f"onnx:{path}", precision="bf16")


def test_openvino_comes_without_its_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    assert openvino.runtime().__name__ == "openvino"
    assert sys.modules.get("openvino_telemetry", "absent") is not None
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"


def test_a_store_says_what_was_assumed(store: FeatureStore, tmp_path: Path) -> None:
    path = onnx_model(tmp_path / "m.onnx")
    report = store.embed(f"onnx:{path}", synthetic=True)
    assert report.computed == 24
    assert ["values in [0, 1] are assumed" in note for note in report.notes] == [True]
    found = store.similar(101, backbone="m", k=1, include_self=True)
    assert found.ids.tolist() == [[101]]


@pytest.mark.real
def test_the_real_model(real_data: Path) -> None:
    path = real_data / "efficientnet_lite2_embedding.onnx"
    how = {"scale": "raw", "mean": "127,127,127", "std": "128,128,128"}
    spec = load(f"onnx:{path}", preprocessing=how).spec
    assert (spec.embed_dim, spec.preprocessing.height, spec.preprocessing.layout) == (1280, 260, "NCHW")
    assert spec.notes == ()


def test_a_processor_file_beside_the_model_is_read(tmp_path: Path) -> None:
    path = onnx_model(tmp_path / "m.onnx")
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 32, "width": 32},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.25, 0.25],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    spec = load(f"onnx:{path}").spec
    assert (spec.preprocessing.mean, spec.preprocessing.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert (spec.preprocessing.layout, spec.preprocessing.height, spec.notes) == ("NCHW", 32, ())
    settings["size"] = {"height": 64, "width": 64}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(BackboneError, match="takes 32 × 32 pixels, not 64 × 64"):
        load(f"onnx:{path}")
