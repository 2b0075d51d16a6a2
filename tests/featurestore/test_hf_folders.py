"""Folders that are no model of transformers, or a hostile one: one sentence, and nothing of them is run."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import needs
from tiny_models import MODELS, tiny

from featurestore.backbones.hf.folder import look_into
from featurestore.backbones.registry import load
from featurestore.errors import BackboneError, FeatureStoreError

needs("torch", "transformers")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny("vit", tmp_path_factory.mktemp("whole") / "vit")


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    """A model to damage."""
    return shutil.copytree(whole, tmp_path / "vit")


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(model: Path | str, message: str, **options: Any) -> None:
    with pytest.raises(FeatureStoreError, match=message) as raised:
        load(f"hf:{model}", **options)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 800


class Payload:
    """A pickle of it writes a file."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trap,)


def test_pickled_weights(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").unlink()
    refused(model, "has no model.safetensors: get")
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "trap")))
    refused(model, r"a pickle, which can run code and is not loaded: convert it")
    shutil.copy(model / "pytorch_model.bin", model / "model.safetensors")
    refused(model, "is not a file of safetensors")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("nested", [False, True])
def test_code_of_others(nested: bool, model: Path, tmp_path: Path) -> None:
    (model / "code.py").write_text(f"open({str(tmp_path / 'trap')!r}, 'w')\nclass Model: pass\n")
    settings = {"auto_map": {"AutoModel": "code.Model", "AutoConfig": "code.Model"}}
    change(model / "config.json", **({"vision_config": settings} if nested else settings))
    refused(model, r"Python code of its own \(auto_map\), which is not run")
    assert not (tmp_path / "trap").exists()


def test_a_tokenizer_with_code(tmp_path: Path) -> None:
    clip = tiny("clip", tmp_path / "clip")
    (clip / "code.py").write_text(f"open({str(tmp_path / 'trap')!r}, 'w')\nclass Tokenizer: pass\n")
    change(clip / "tokenizer_config.json", auto_map={"AutoTokenizer": ["code.Tokenizer", None]})
    backbone: Any = load(f"hf:{clip}")
    with pytest.raises(BackboneError, match="which is not run"):
        backbone.embed_text(["a car"])
    assert not (tmp_path / "trap").exists()
    (clip / "tokenizer_config.json").unlink()
    (clip / "tokenizer.json").write_text("{}")
    with pytest.raises(BackboneError, match="can't be loaded"):
        backbone.embed_text(["a car"])
    (clip / "tokenizer.json").unlink()
    with pytest.raises(BackboneError, match="has no tokenizer, which texts need"):
        backbone.embed_text(["a car"])
    assert backbone.embed(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 20), "images need none"


def test_a_tokenizer_of_a_larger_model(tmp_path: Path) -> None:
    clip = tiny("clip", tmp_path / "clip")
    tokens = json.loads((clip / "tokenizer.json").read_text())
    tokens["model"]["vocab"]["a</w>"] = 600
    (clip / "tokenizer.json").write_text(json.dumps(tokens))
    backbone: Any = load(f"hf:{clip}")
    with pytest.raises(BackboneError, match="more tokens than the model"):
        backbone.embed_text(["a"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("\x00\xff", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
        ('{"a":' * 500 + "1" + "}" * 500, "nested too deeply"),
        ("[]", "holds no JSON object"),
        (" " * (1 << 20) + "{}", "can't be read"),
        ("{}", "isn't known"),
        ('{"model_type": ["vit"]}', "isn't known"),
        (
            '{"model_type": "new_kind"}',
            "what the embedding of a 'new_kind' model is, isn't known: choose it with --pool",
        ),
    ],
)
def test_a_config_that_is_none(text: str, message: str, model: Path) -> None:
    (model / "config.json").write_text(text)
    refused(model, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": "many"}, "can't be loaded"),
        ({"hidden_size": [24]}, "can't be loaded"),
        ({"hidden_size": 2_000_000, "intermediate_size": 2_000_000}, "describes a model of"),
        ({"image_size": 100_000, "patch_size": 1}, "describes a model of"),
        ({"hidden_size": 48}, "can't be loaded"),
        ({"num_hidden_layers": 3}, "lack 16 tensors"),
        ({"num_hidden_layers": 10**9}, "impossible num_hidden_layers"),
        ({"num_hidden_layers": "2"}, "impossible num_hidden_layers"),
        ({"num_attention_heads": 0}, "can't be loaded"),
        ({"model_type": "timm_wrapper"}, "needs the package timm"),
        ({"quantization_config": {"quant_method": "awq"}}, "are quantised"),
        ({"use_timm_backbone": True}, "the weights of another"),
        ({"_attn_implementation": "someone/kernel"}, "another attention"),
        ({"transformers_weights": "other.safetensors"}, "names another file of weights"),
    ],
)
def test_a_config_of_another_model(changes: dict[str, Any], message: str, model: Path) -> None:
    change(model / "config.json", **changes)
    refused(model, message, pooling="cls")


def test_a_model_that_takes_no_images(model: Path) -> None:
    from transformers import BertConfig, BertModel

    settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=10, **settings)).save_pretrained(model)
    refused(model, "choose it with --pooling")
    refused(model, "does not name its image_processor_type", pooling="cls")
    change(model / "preprocessor_config.json", image_processor_type="ViTImageProcessor")
    refused(model, "can't embed an image", pooling="cls")


def test_another_size_than_the_model_was_trained_on(model: Path) -> None:
    refused(model, "can't embed an image", preprocessing={"height": 40, "width": 40})


def test_an_unknown_family_with_a_pooling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from featurestore.backbones.hf.families import FAMILIES

    monkeypatch.delitem(FAMILIES, "dinov3_vit")
    path = tiny("dinov3_vit", tmp_path / "dino")
    refused(path, "choose it with --pooling")
    assert load(f"hf:{path}", pooling="cls+mean").spec.embed_dim == 48


def test_missing_files(model: Path, tmp_path: Path) -> None:
    (model / "preprocessor_config.json").unlink()
    refused(model, "has no preprocessor_config.json: get it too, or say with --preprocessing")
    given = load(f"hf:{model}", preprocessing={"height": "32", "width": "32", "mean": "0.5,0.5,0.5"})
    assert (given.spec.preprocessing.mean, given.spec.preprocessing.layout) == ((0.5,) * 3, "NCHW")
    (model / "config.json").unlink()
    refused(model, "has no config.json")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "has no config.json")


def test_an_adapter(model: Path) -> None:
    (model / "adapter_config.json").write_text("{}")
    refused(model, "holds an adapter")


def test_weights_in_several_files(model: Path) -> None:
    from transformers import ViTModel

    single = load(f"hf:{model}")
    network = ViTModel.from_pretrained(model)
    (model / "model.safetensors").unlink()
    network.save_pretrained(model, max_shard_size="20KB")
    files = look_into(model)
    assert len(files.weights) > 2
    assert files.elements() == sum(one.numel() for one in network.parameters())
    several = load(f"hf:{model}")
    image = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    np.testing.assert_array_equal(several.embed(image), single.embed(image))
    assert several.spec.weights != single.spec.weights
    index = model / "model.safetensors.index.json"
    for name in ("../../etc/passwd", "none.safetensors", 7):
        change(index, weight_map={"x": name})
        refused(model, "which isn't there")
    change(index, weight_map=[])
    refused(model, "names no files")


def test_other_weights_are_refused_before_they_are_loaded(model: Path) -> None:
    expected = load(f"hf:{model}").spec.weights
    (model / "model.safetensors").write_bytes(b"other")
    refused(model, "has other weights", expected_weights=expected)


def test_weights_that_lack_tensors(model: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    pooler = {name for name in tensors if name.startswith("pooler.")}
    save_file({name: one for name, one in tensors.items() if name not in pooler}, model / "model.safetensors")
    assert load(f"hf:{model}").spec.embed_dim == 24, "CLS needs no pooler"
    refused(model, "lack 2 tensors, 'pooler.*choose another --pooling", pooling="pooler")


def test_names_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    refused("nobody/none", "hf download nobody/none --local-dir DIR`, then use hf:DIR")
    refused("./none/at/all", "there is no folder 'none/at/all': name one")
    asked = []

    def downloaded(name: str, **options: Any) -> str:
        asked.append(options.get("local_files_only", False))
        if len(asked) < 2:
            raise FileNotFoundError(name)
        return str(tiny("vit", tmp_path / "snapshot"))

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", downloaded)
    found = load("hf:someone/vit-tiny")
    assert (found.spec.name, found.spec.source, asked) == ("vit_tiny", "someone/vit-tiny", [True, False])


def test_the_network_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def failed(name: str, **options: Any) -> str:
        raise RuntimeError("no route\nto the host")

    def absent(name: str, *, local_files_only: bool = False, **options: Any) -> str:
        return (_ for _ in ()).throw(FileNotFoundError()) if local_files_only else failed(name)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", absent)
    refused("nobody/none", r"can't be asked \(no route\)")


def test_random_bytes_in_the_place_of_each_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = tiny("resnet", tmp_path / "resnet")
    for file in sorted(path.iterdir()):
        content = file.read_bytes()
        for count in (0, 7, len(content) // 2):
            file.write_bytes(rng.bytes(count) + content[count : len(content) // 2])
            with pytest.raises(BackboneError):
                load(f"hf:{path}")
        file.write_bytes(content)
    assert load(f"hf:{path}").spec.embed_dim == MODELS["resnet"].config["hidden_sizes"][-1]
