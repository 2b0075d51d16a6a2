"""Programs of torch.export: equal to torch's own run of them, and nothing in a stranger's file is executed."""

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import needs

from featurestore.backbones.registry import load
from featurestore.errors import BackboneError

needs("torch")

SIZE = 32
SEEN: list[str] = []


def _write(path: Path, model: Any, *, batch: int = 2, free: bool = True, nhwc: bool = False) -> Any:
    """Export ``model`` to ``path``; its program."""
    import torch

    shape = (batch, SIZE, SIZE, 3) if nhwc else (batch, 3, SIZE, SIZE)
    sizes = ({0: torch.export.Dim("n", min=1, max=64)},) if free else None
    program = torch.export.export(model, (torch.rand(shape),), dynamic_shapes=sizes)
    torch.export.save(program, str(path))
    return program


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Four programs with random weights, by the names of their files."""
    import torch

    torch.manual_seed(0)

    class Tokens(torch.nn.Module):
        """Patches with a class token, attention and a pooler, as vision transformers return them."""

        def __init__(self) -> None:
            super().__init__()
            self.patches = torch.nn.Conv2d(3, 16, 8, 8)
            self.first = torch.nn.Parameter(torch.rand(1, 1, 16))
            self.three = torch.nn.Linear(16, 48)
            self.pooler = torch.nn.Linear(16, 8)

        def forward(self, images: Any) -> Any:
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.first.expand(images.shape[0], -1, -1), tokens], 1)
            tokens = torch.nn.functional.scaled_dot_product_attention(*self.three(tokens).chunk(3, -1))
            return {"tokens": tokens, "pooled": self.pooler(tokens[:, 0]).tanh()}

    class Net(torch.nn.Module):
        """A convolution with batch normalisation."""

        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(
                torch.nn.Conv2d(3, 8, 3, 2), torch.nn.BatchNorm2d(8), torch.nn.ReLU(inplace=True)
            )
            self.head = torch.nn.Linear(8, 5)

        def forward(self, images: Any) -> Any:
            images = images.permute(0, 3, 1, 2) if images.shape[3] == 3 else images
            with torch.no_grad():
                return self.head(self.body(images).mean((2, 3)))

    folder = tmp_path_factory.mktemp("programs")
    return {
        "folder": folder,
        "tokens": _write(folder / "tokens.pt2", Tokens().eval()),
        "net": _write(folder / "net.pt2", Net().eval()),
        "four": _write(folder / "four.pt2", Net().eval(), batch=4, free=False, nhwc=True),
        "training": _write(folder / "training.pt2", Net().train()),
    }


@pytest.mark.parametrize(
    ("name", "pooling", "of", "size"),
    [
        ("net", None, lambda found: found, 1),
        ("four", None, lambda found: found, 4),
        ("tokens", "pooler", lambda found: found["pooled"], 1),
        ("tokens", "cls", lambda found: found["tokens"][:, 0], 1),
        ("tokens", "mean", lambda found: found["tokens"].mean(1), 1),
    ],
)
def test_vectors_are_those_of_torch(
    programs: dict[str, Any], name: str, pooling: str | None, of: Callable[[Any], Any], size: int
) -> None:
    import torch

    backbone = load(f"torch:{programs['folder'] / name}.pt2", pooling=pooling, synthetic=True)
    spec = backbone.spec
    assert (spec.preprocessing.layout, spec.preprocessing.height) == ("NHWC" if name == "four" else "NCHW", SIZE)
    assert (spec.pass_size, spec.libraries["torch"]) == (size, torch.__version__)
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    images = spec.preprocessing.apply(pixels)
    vectors = backbone.embed(images)
    with torch.inference_mode():
        wanted = of(programs[name].module()(torch.from_numpy(images))).numpy()
    np.testing.assert_allclose(vectors, wanted, rtol=0, atol=1e-6)
    assert vectors.shape == (4, spec.embed_dim)
    if size == 1:
        np.testing.assert_array_equal(backbone.embed(images[2:3]), vectors[2:3])


def test_the_first_token_and_the_mean_of_the_others(programs: dict[str, Any]) -> None:
    path = programs["folder"] / "tokens.pt2"
    both, cls = (load(f"torch:{path}", pooling=pooling) for pooling in ("cls+mean", "cls"))
    images = both.spec.preprocessing.apply(np.zeros((1, SIZE, SIZE, 3), np.uint8))
    np.testing.assert_array_equal(both.embed(images)[:, :16], cls.embed(images))
    assert both.spec.embed_dim == 32
    assert both.spec.revision != cls.spec.revision


def test_bf16_is_a_revision_of_its_own(programs: dict[str, Any]) -> None:
    import torch

    path = f"torch:{programs['folder'] / 'net.pt2'}"
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        with pytest.raises(BackboneError, match="does not compute in bf16"):
            load(path, precision="bf16")
        return
    half, full = load(path, precision="bf16"), load(path)
    assert (half.spec.precision, half.spec.options) == ("bfloat16", {"precision": "bf16"})
    assert half.spec.revision != full.spec.revision
    images = full.spec.preprocessing.apply(np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8))
    one, other = full.embed(images), half.embed(images)
    assert (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other) > 0.999
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        (
            "tokens.pt2",
            {},
            r"returns the outputs tokens \(1, 17, 16\), pooled \(1, 8\), expected one vector.*--pooling cls, mean",
        ),
        ("net.pt2", {"pooling": "cls"}, "from which --pooling cls makes no vector: leave --pooling out"),
        ("net.pt2", {"pooling": "max"}, "got the pooling 'max', expected one of cls"),
        ("net.pt2", {"precision": "int8"}, "expected fp32 or bf16"),
        ("net.pt2", {"preprocessing": {"height": 64, "width": 64}}, "takes 32 × 32 pixels, not 64 × 64"),
        ("net.pt2", {"preprocessing": {"layout": "NHWC"}}, "takes NCHW, not NHWC: leave out the layout"),
        ("net.pt2", {"preprocessing": {"scale": "byte"}}, "takes float32 images, the preprocessing makes uint8"),
        ("net.pt2", {"expected_weights": "sha256:01"}, "has other weights"),
        ("training.pt2", {}, r"exported in training mode .*: call model.eval\(\)"),
        ("none.pt2", {}, "there is no file"),
        ("net.pth", {}, r"not a .pt2 file: .*torch.export.save\(torch.export.export"),
        ("text.pt2", {}, "can't be read as a program of torch.export"),
    ],
)
def test_what_cannot_be_embedded_with(
    programs: dict[str, Any], name: str, options: dict[str, Any], sentence: str
) -> None:
    for other in ("net.pth", "text.pt2"):
        (programs["folder"] / other).write_bytes(b"no program")
    with pytest.raises(BackboneError, match=sentence):
        load(f"torch:{programs['folder'] / name}", **options)


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return SEEN.append, ("unpickled",)


def _edited(path: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """A copy of the program with each record as ``change`` gives it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def _program(edit: Callable[[dict[str, Any]], object]) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        record = json.loads(content)
        edit(record)
        return json.dumps(record).encode()

    return change


def _pickled_weight(name: str, content: bytes) -> bytes:
    if name.endswith("weights/weight_0"):
        return pickle.dumps(_Trap())
    if name.endswith("model_weights_config.json"):
        record = json.loads(content)
        next(iter(record["config"].values()))["use_pickle"] = True
        return json.dumps(record).encode()
    return content


def _call(target: str, text: str) -> Callable[[dict[str, Any]], object]:
    def edit(record: dict[str, Any]) -> None:
        node = record["graph_module"]["graph"]["nodes"][0]
        node |= {"target": target, "inputs": [{"name": "a", "arg": {"as_string": text}, "kind": 1}]}

    return edit


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_pickled_weight, "stored as a pickle, which is never loaded"),
        (_program(_call("torch.os.system", "true")), "'torch.os.system', which is not an operator of ATen"),
        (_program(_call("torch.load", "x")), "'torch.load', which is not"),
        (_program(_call("torch.ops.aten.from_file.default", "x")), "from_file.default', which is not"),
        (_program(_call("torch.ops.aten.save.default", "x")), "save.default', which is not"),
        (_program(_call("torch.ops.aten.__class__.mro", "x")), "which is not an operator"),
        (_program(_call("torch.ops.higher_order.triton_kernel", "x")), "which is not supported"),
        (_program(lambda record: record["schema_version"].update(major=9)), "has version 9 of torch's format"),
        (_program(lambda record: record.update(graph_module={})), "not a program that torch.export wrote"),
        (lambda name, content: b"{}" if name.endswith(".json") else content, "can't be read as a program"),
        (lambda name, content: content[: len(content) // 2], "can't be read as a program|can't embed an image"),
    ],
)
def test_nothing_in_a_file_is_executed(
    programs: dict[str, Any], tmp_path: Path, change: Callable[[str, bytes], bytes], sentence: str
) -> None:
    path = _edited(programs["folder"] / "net.pt2", tmp_path / "net.pt2", change)
    SEEN.clear()
    with pytest.raises(BackboneError, match=sentence):
        load(f"torch:{path}")
    assert SEEN == []


def test_text_that_torch_evaluates_is_only_text(programs: dict[str, Any], tmp_path: Path) -> None:
    """Sizes that are expressions and the example inputs, which torch.export.load gives to eval and to pickle."""
    trap = "__import__('test_exported').SEEN.append('evaluated')"

    def change(name: str, content: bytes) -> bytes:
        if name.endswith("sample_inputs/model.pt"):
            return pickle.dumps(_Trap())
        return content.replace(b'"expr_str": "', f'"expr_str": "{trap} or '.encode()) if name == where else content

    path = programs["folder"] / "net.pt2"
    where = next(name for name in zipfile.ZipFile(path).namelist() if name.endswith("models/model.json"))
    SEEN.clear()
    with pytest.raises(BackboneError, match="number of images depends on other sizes"):
        load(f"torch:{_edited(path, tmp_path / 'net.pt2', change)}")
    shutil.copy(path, tmp_path / "net.pt2")
    assert load(f"torch:{tmp_path / 'net.pt2'}").spec.embed_dim == 5
    assert SEEN == []


def test_a_compressed_file_is_refused(programs: dict[str, Any], tmp_path: Path) -> None:
    packed = tmp_path / "net.pt2"
    with (
        zipfile.ZipFile(programs["folder"] / "net.pt2") as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(BackboneError, match="it is compressed"):
        load(f"torch:{packed}")
