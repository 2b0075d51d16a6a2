"""The reshaped-vector head: the true VGG19, read from each kind of file, over vectors that are folded to pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import needs

from benchmarks.heads import vgg
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.vgg import VGG19Base, build_vgg, convolutions, folded
from benchmarks.models import folder as models
from featurestore.errors import InputError


@pytest.fixture(scope="module", autouse=True)
def narrow() -> object:
    """VGG19 with an eighth of its channels: the same layers, in a fraction of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg, "BLOCKS", tuple(tuple(width // 8 for width in block) for block in vgg.BLOCKS))
        yield


@pytest.fixture(scope="module")
def network() -> torch.nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = convolutions()
        for layer in model:
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        return model.eval()


@pytest.fixture(scope="module")
def file(network: torch.nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> str:
    """In torchvision's layout, with a dense layer that the head has no use for."""
    tensors = {f"features.{name}": value for name, value in network.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    save_file(tensors | {"classifier.0.weight": torch.zeros(2, 2)}, path)
    return str(path)


def data(n: int = 60, d: int = 2048) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(n, dtype=np.int64) % 3
    X = rng.normal(size=(n, d)).astype(np.float32) * 0.1
    for code in range(3):
        X[y == code, code * 600 : code * 600 + 500] += 2
    return X, y


def test_the_real_one_has_the_published_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = tuple(tuple(width * 8 for width in block) for block in vgg.BLOCKS)
    monkeypatch.setattr(vgg, "BLOCKS", wide)
    with torch.device("meta"):
        model = convolutions()
    assert sum(value.numel() for value in model.state_dict().values()) == 20_024_384
    assert list(model.state_dict())[-1] == "34.bias"
    assert model(torch.empty(1, 3, 32, 64, device="meta")).shape == (1, 512, 1, 2)


def test_vectors_are_folded_as_near_to_the_studys_picture_as_can_be() -> None:
    assert [folded(length) for length in (2048, 1280, 1024, 1332)] == [(32, 64), (32, 40), (32, 32), (36, 37)]
    assert folded(8192) == (64, 128)
    for length in (1000, 2047, 10):
        with pytest.raises(InputError, match=f"vectors of length {length} can't be folded"):
            folded(length)


def test_features_are_those_of_the_network(network: torch.nn.Sequential, file: str) -> None:
    X, _ = data(5)
    base = VGG19Base(weights=file).fit(X)
    pictures = np.repeat(X.reshape(-1, 32, 64, 1), 3, axis=3)
    with torch.no_grad():
        expected = network(torch.from_numpy(pictures).permute(0, 3, 1, 2)).flatten(1).numpy()
    assert expected.shape == (5, 128)
    np.testing.assert_allclose(base.transform(X), expected, atol=1e-5)
    np.testing.assert_allclose(base.transform(X[::-1]), expected[::-1], atol=1e-5)


def test_a_vector_is_sent_through_once_a_process(file: str) -> None:
    X, _ = data(8)
    network, known, _ = vgg._base(file)
    known.clear()
    sent: list[int] = []
    handle = network.register_forward_hook(lambda module, args, output: sent.append(len(output)))
    try:
        first = VGG19Base(weights=file).fit(X).transform(X[:6])
        again = VGG19Base(weights=file).fit(X).transform(X)
    finally:
        handle.remove()
    assert sent == [6, 2]
    np.testing.assert_array_equal(again[:6], first)


def test_kept_features_are_bounded(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = data(8)
    known = vgg._base(file).known
    known.clear()
    monkeypatch.setattr(vgg, "KEPT", 5)
    assert VGG19Base(weights=file).fit(X).transform(X).shape == (8, 128)
    assert len(known) <= 5


def test_it_learns_and_a_seed_gives_the_same_model(file: str) -> None:
    X, y = data(90)
    first, again, other = (
        build_vgg(seed=seed, weights=file, epochs=15).fit(X[:60], y[:60]).predict_proba(X[60:]) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-4)
    assert (first.argmax(axis=1) == y[60:]).mean() > 0.8


CARD = {
    **dict.fromkeys(("head", "backbone", "label", "view", "revision", "state_id", "data_hash", "created"), "made up"),
    "classes": ["a", "b", "c"],
    "embed_dim": 2048,
    "n_rows": 60,
    "seed": 0,
    "synthetic": True,
    "weights": [],
    "sources": [],
    "scores": [],
    "settings": {},
    "chosen": {},
    "libraries": {},
}


def test_it_comes_back_and_refuses_other_weights(file: str, network: torch.nn.Sequential, tmp_path: Path) -> None:
    X, y = data()
    weights = tmp_path / "vgg19.safetensors"
    weights.write_bytes(Path(file).read_bytes())
    fitted = build_vgg(seed=0, weights=str(weights), epochs=2).fit(X, y)
    models.save(fitted, CARD, tmp_path / "model")
    vgg._base.cache_clear()
    with pytest.raises(InputError, match=r"wants to read the file '.*vgg19\.safetensors': .* name it with --trust"):
        models.load(tmp_path / "model")
    found = models.load(tmp_path / "model", trust=[str(weights)]).predict_proba(X)
    np.testing.assert_allclose(found, fitted.predict_proba(X), rtol=0, atol=1e-5)
    assert len(np.unique(found.argmax(axis=1))) > 1
    changed = {f"features.{name}": value * 1.5 for name, value in network.state_dict().items()}
    save_file(changed, weights)
    vgg._base.cache_clear()
    with pytest.raises(InputError, match="are others than those that the model was fitted with"):
        models.load(tmp_path / "model", trust=[str(weights)]).predict_proba(X)


def test_what_is_no_number_is_refused(file: str) -> None:
    X, y = data(6)
    X[2, 7] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        build_vgg(seed=0, weights=file).fit(X, y)


def test_keras_weights_are_the_same_network(network: torch.nn.Sequential, file: str, tmp_path: Path) -> None:
    needs("h5py")
    import h5py

    layers = [f"block{b + 1}_conv{c + 1}" for b, block in enumerate(vgg.BLOCKS) for c in range(len(block))]
    convs = [layer for layer in network if isinstance(layer, torch.nn.Conv2d)]
    path = tmp_path / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with h5py.File(path, "w") as h5:
        for name, conv in zip(layers, convs, strict=True):
            h5[f"{name}/{name}_W_1:0"] = conv.weight.detach().permute(2, 3, 1, 0).numpy()
            h5[f"{name}/{name}_b_1:0"] = conv.bias.detach().numpy()
        h5.create_group("block1_pool")
    X, _ = data(3)
    np.testing.assert_array_equal(
        VGG19Base(weights=str(path)).fit(X).transform(X), VGG19Base(weights=file).fit(X).transform(X)
    )


def test_files_that_are_something_else(tmp_path: Path) -> None:
    X, y = data(6)
    for name in ("a.safetensors", "b.h5"):
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(InputError, match="doesn't hold the convolutions of VGG19"):
            build_vgg(seed=0, weights=str(tmp_path / name)).fit(X, y)
    save_file({"features.0.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "cut.safetensors")
    with pytest.raises(InputError, match="doesn't hold the convolutions of VGG19"):
        build_vgg(seed=0, weights=str(tmp_path / "cut.safetensors")).fit(X, y)


def test_without_weights_it_says_so_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(6)

    def fit(**parameters: str) -> None:
        HeadSpec("vgg19", "", "benchmarks.heads.vgg:build_vgg", parameters, random=True).build(seed=0).fit(X, y)

    with pytest.raises(InputError, match=r"there is no file of VGG19 weights 'nowhere/vgg19\.safetensors'"):
        fit(weights="nowhere/vgg19.safetensors")
    monkeypatch.setattr(vgg, "hub_answers", lambda: False)
    vgg._published.cache_clear()
    with pytest.raises(InputError, match="are not in the cache of the Hugging Face hub"):
        fit()
    vgg._published.cache_clear()
