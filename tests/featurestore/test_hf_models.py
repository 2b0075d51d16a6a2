"""Models of transformers: the embedding of each family, text towers, precision, and embedding into a store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import Collection, needs
from tiny_models import MODELS, tiny

from featurestore import FeatureStore
from featurestore.backbones.base import TextBackbone
from featurestore.backbones.hf.engine import check_precision
from featurestore.backbones.hf.families import FAMILIES, POOLINGS
from featurestore.backbones.registry import load
from featurestore.embedding.forward import forward
from featurestore.errors import BackboneError

needs("torch", "transformers")

Folder = Callable[[str], Path]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a tiny model, made when it is first asked for."""
    root = tmp_path_factory.mktemp("hf")

    def made(name: str) -> Path:
        return root / name if (root / name).is_dir() else tiny(name, root / name)

    return made


def pictures(backbone: Any, count: int = 5) -> list[np.ndarray]:
    """Random pixels of the size that the backbone takes; with patches of several shapes."""
    rng, how = np.random.default_rng(7), backbone.spec.preprocessing
    shapes = [(32, 32), (16, 64), (8, 8), (40, 24), (8, 128)] if how.resize == "patches" else [(how.height, how.width)]
    return [rng.integers(0, 256, (*shapes[i % len(shapes)], 3), np.uint8) for i in range(count)]


def expected(path: Path, inputs: Any, pooling: str) -> np.ndarray:
    """What transformers itself computes for one batch."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(path, local_files_only=True).eval()
    named = inputs if isinstance(inputs, dict) else {"pixel_values": inputs}
    tensors = {name: torch.from_numpy(values) for name, values in named.items()}
    with torch.inference_mode():
        if pooling == "features":
            return model.get_image_features(**tensors).pooler_output.numpy()
        if model.config.model_type == "vit_mae":
            model.config.mask_ratio = 0.0
        output = model(**tensors)
        if pooling == "pooler":
            return output.pooler_output.numpy().reshape(len(inputs), -1)
        return (output.last_hidden_state[:, 0] if pooling == "cls" else output.last_hidden_state.mean(1)).numpy()


@pytest.mark.parametrize("family", sorted(MODELS))
def test_the_embedding_of_each_family(family: str, folder: Folder) -> None:
    path = folder(family)
    backbone = load(f"hf:{path}", synthetic=True, threads=2)
    images = pictures(backbone)
    inputs = backbone.spec.preprocessing.apply(images)
    found = backbone.embed(inputs)
    pooling = FAMILIES[family].pooling
    assert backbone.spec.options == {"pooling": pooling}
    if family == "data2vec-vision":
        assert found.shape == (5, 24)
    else:
        reference = expected(path, inputs, pooling)
        np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-5 * np.abs(reference).max())
    assert found.std(0).max() > 1e-3 * np.abs(found).max(), "images differ"
    assert isinstance(backbone, TextBackbone) == FAMILIES[family].text
    assert backbone.spec.embed_dim == found.shape[1]
    assert backbone.spec.synthetic
    assert set(backbone.spec.libraries) == {"torch", "transformers"}
    for row in (0, 3):
        np.testing.assert_array_equal(forward(backbone, images[row : row + 1])[0], found[row])
    np.testing.assert_array_equal(forward(backbone, images[::-1])[::-1], found)


def test_all_families_are_tried() -> None:
    assert set(FAMILIES) == set(MODELS)


def test_embedding_into_a_store(folder: Folder, tmp_path: Path) -> None:
    collection, store = Collection(tmp_path, 6), FeatureStore(tmp_path / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    for family in ("clip", "siglip2", "dinov3_vit", "resnet"):
        store.embed(f"hf:{folder(family)}", name=family, synthetic=True)
    for family, length in (("clip", 20), ("siglip2", 24), ("dinov3_vit", 24), ("resnet", 16)):
        query = f"SELECT embedding::FLOAT[] AS vector FROM embeddings_{family}"
        assert [len(row["vector"]) for row in store.refresh().sql(query).to_pylist()] == [length] * 6
    assert store.sql("SELECT bool_and(synthetic) AS all FROM backbones").to_pylist() == [{"all": True}]


@pytest.mark.parametrize(
    ("family", "pooling", "length"),
    [
        ("clip", "cls", 24),
        ("clip", "pooler", 24),
        ("siglip", "mean", 24),
        ("siglip2", "mean", 24),
        ("dinov2_with_registers", "cls+mean", 48),
        ("vit", "pooler", 24),
        ("vit_mae", "mean", 24),
        ("swin", "mean", 16),
        ("convnext", "mean", 16),
    ],
)
def test_another_pooling_is_another_revision(family: str, pooling: str, length: int, folder: Folder) -> None:
    usual, other = load(f"hf:{folder(family)}"), load(f"hf:{folder(family)}", pooling=pooling)
    assert other.spec.embed_dim == length
    assert other.spec.options == {"pooling": pooling}
    assert usual.spec.revision != other.spec.revision
    assert not isinstance(other, TextBackbone), "these vectors can't be compared with those of texts"


def test_the_mean_of_patches_leaves_registers_and_padding_out(folder: Folder) -> None:
    import torch
    from transformers import AutoModel

    backbone = load(f"hf:{folder('dinov3_vit')}", pooling="mean")
    inputs = backbone.spec.preprocessing.apply(pictures(backbone))
    with torch.inference_mode():
        tokens = AutoModel.from_pretrained(folder("dinov3_vit")).eval()(torch.from_numpy(inputs)).last_hidden_state
    np.testing.assert_allclose(backbone.embed(inputs), tokens[:, 5:].mean(1).numpy(), rtol=1e-4, atol=1e-5)
    flexible = load(f"hf:{folder('siglip2')}", pooling="mean")
    inputs = flexible.spec.preprocessing.apply(pictures(flexible))
    with torch.inference_mode():
        tower = AutoModel.from_pretrained(folder("siglip2")).eval().vision_model
        tokens = tower(**{name: torch.from_numpy(one) for name, one in inputs.items()}).last_hidden_state.numpy()
    held = inputs["pixel_attention_mask"].astype(bool)
    means = [one[mask].mean(0) for one, mask in zip(tokens, held, strict=True)]
    np.testing.assert_allclose(flexible.embed(inputs), means, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "pooling", "message"),
    [
        ("vit", "features", "only models with a text tower"),
        ("vit_msn", "pooler", "it pools nothing"),
        ("siglip", "cls", "no class token"),
        ("swin", "cls+mean", "no class token"),
        ("resnet", "cls", "it has no tokens"),
        ("clip", "best", "expected one of cls, mean"),
    ],
)
def test_a_pooling_that_a_family_lacks(family: str, pooling: str, message: str, folder: Folder) -> None:
    with pytest.raises(BackboneError, match=message) as raised:
        load(f"hf:{folder(family)}", pooling=pooling)
    assert all(one in str(raised.value) for one in POOLINGS)


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2"])
def test_texts(family: str, folder: Folder) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    backbone = load(f"hf:{folder(family)}")
    assert isinstance(backbone, TextBackbone)
    texts = ["a red car at night", "Ünï 猫", "x" * 500]
    found = backbone.embed_text(texts)
    assert found.shape == (3, backbone.spec.embed_dim)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[1:2], backbone.embed_text(texts[1:2]))
    assert backbone.embed_text([]).shape == (0, backbone.spec.embed_dim)
    model = AutoModel.from_pretrained(folder(family)).eval()
    length = 24 if family == "clip" else 64
    tokens = AutoTokenizer.from_pretrained(folder(family))(
        [text.lower() for text in texts], padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    mask = {"attention_mask": tokens.attention_mask} if family == "clip" else {}
    with torch.inference_mode():
        reference = model.get_text_features(tokens.input_ids, **mask).pooler_output.numpy()
    np.testing.assert_allclose(found, reference, rtol=1e-4, atol=1e-5)
    assert backbone.text_scale.scale == pytest.approx(model.logit_scale.exp().item())
    assert backbone.text_scale.bias == pytest.approx(model.logit_bias.item() if family != "clip" else 0.0)
    with pytest.raises(BackboneError, match="expected a list of texts"):
        backbone.embed_text("one text")


def test_the_precision(folder: Folder) -> None:
    import torch

    path = f"hf:{folder('dinov2')}"
    exact = load(path)
    assert exact.spec.precision == "float32"
    with pytest.raises(BackboneError, match="no int8 here"):
        load(path, precision="int8")
    if not torch.cuda.is_available():
        with pytest.raises(BackboneError, match="fp16 is for GPUs"):
            load(path, precision="fp16")
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor does not compute in bf16")
    rough = load(path, precision="bf16")
    assert rough.spec.precision == "bfloat16"
    assert rough.spec.options == {"pooling": "cls", "precision": "bf16"}
    assert rough.spec.revision != exact.spec.revision
    images = pictures(exact)
    ours, theirs = forward(rough, images), forward(exact, images)
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert 0.999 < cosine.min() < 1


def test_bf16_is_refused_where_it_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    with pytest.raises(BackboneError, match="does not compute in bf16"):
        check_precision(torch, "bf16", "cuda")


def test_other_threads_keep_theirs(folder: Folder) -> None:
    import torch

    before = torch.get_num_threads()
    load(f"hf:{folder('vit')}", threads=3)
    assert torch.get_num_threads() == before


def test_a_text_that_is_cut_off_is_told(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load(f"hf:{folder('clip')}")
    assert isinstance(loaded, TextBackbone)
    loaded.embed_text(["a b", "x " * 22])  # 24 tokens with the first and the last one
    assert not caplog.records
    loaded.embed_text(["a b", "x " * 23])
    assert [record.getMessage() for record in caplog.records] == [
        f"the text {'x ' * 23!r} is longer than 24 tokens and was cut off"
    ]
