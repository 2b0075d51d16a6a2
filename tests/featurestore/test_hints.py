"""References that name no backbone: each error says which one would work."""

import os
from pathlib import Path

import pytest

from featurestore import load_backbone
from featurestore.backbones import records
from featurestore.backbones.records import by_name
from featurestore.errors import BackboneError


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model of each kind."""
    for file in ("clip/config.json", "clip/model.safetensors", "saved/saved_model.pb", "exported/net.onnx"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    for file in ("net.onnx", "net.pt2", "net.tflite", "k.keras", "k.h5", "net.pt", "my.py"):
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("clip", "name a folder of transformers as hf:clip"),
        ("./clip", "as hf:clip"),
        ("transformers:clip", "as hf:clip"),
        ("clip/model.safetensors", "with its config.json as hf:clip"),
        ("openai/clip-vit-base-patch32", "name a model of the hub as hf:openai/clip-vit-base-patch32"),
        ("net.onnx", "name an ONNX file as onnx:net.onnx"),
        ("onnxruntime:net.onnx", "as onnx:net.onnx"),
        ("exported", f"as onnx:exported{os.sep}net.onnx"),
        ("net.pt2", "name a program of torch.export as torch:net.pt2"),
        ("net.tflite", "name a TensorFlow Lite file as tflite:net.tflite"),
        ("net.pt", "a pickle is never loaded: .* save the model with torch.export.save"),
        ("none.pth", "torch:FILE.pt2"),
        ("keras:k.keras", "`featurestore backbone convert k.keras -o DIR`"),
        ("k.h5", r"model.save\('FILE.keras'\)"),
        ("saved", "name a SavedModel as savedmodel:saved"),
        ("saved/saved_model.pb", "by its folder as savedmodel:saved"),
        ("my.py", "name a Python file as --backbone-file my.py"),
        ("timm:vit_base_patch16_224", r"model of timm by a plugin of some 20 lines .*or export it"),
        ("open_clip:ViT-B-32", "model of open_clip by a plugin"),
        ("descriptor", "did you mean 'descriptors'"),
        ("resnet", "did you mean|known are converted, descriptors"),
        ("savedmodel:clip", "is not a SavedModel .*; name a folder of transformers as hf:clip"),
        ("hf:net.onnx", "expected a folder: name an ONNX file as onnx:net.onnx"),
        ("hf:clip/model.safetensors", "expected a folder: name the folder with its config.json as hf:clip"),
        ("savedmodel:net.onnx", "; name an ONNX file as onnx:net.onnx"),
        ("torch:net.pt", r"is not a .pt2 file: .*torch.export.save"),
    ],
)
def test_each_error_says_what_would_work(models: Path, reference: str, sentence: str) -> None:
    with pytest.raises(BackboneError, match=sentence):
        load_backbone(reference)


def test_a_name_from_a_store_is_not_looked_for_on_disk(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "instead", lambda reference: pytest.fail("looked for a file"))
    with pytest.raises(BackboneError, match=r"there is no backbone 'net\.onnx': (did you mean|known)"):
        by_name("net.onnx")
