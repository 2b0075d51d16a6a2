"""Fine-tuning: what is frozen is computed once, the cached way equals the plain one, and rows are named honestly."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from study_loop import StudyLoop
from support import CountingBackbone, jpeg

from benchmarks.finetune import cells as finetune_cells
from benchmarks.finetune import frozen_features as frozen
from benchmarks.finetune import recipes
from benchmarks.finetune import weights as weights_module
from benchmarks.finetune.make_weights import make_weights
from benchmarks.finetune.train import fit_predict
from benchmarks.finetune.weights import Weights, load
from benchmarks.heads.registry import HEADS
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.protocols import Split
from benchmarks.plan.reading import from_store
from featurestore import FeatureStore, load_image
from featurestore.errors import InputError

TINY = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 24], "depths": [1, 1, 1, 1], "layer_type": "basic"}
COUNT = 40


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a tiny ResNet."""
    return make_weights(tmp_path_factory.mktemp("weights") / "tiny", architecture=TINY)


@pytest.fixture(scope="module")
def weights(folder: Path) -> Weights:
    return load(str(folder))


@pytest.fixture(scope="module")
def posters(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[str]]:
    """Small posters, one of them grey."""
    where = tmp_path_factory.mktemp("posters")
    contents = [jpeg(seed, mode="L" if seed == 3 else "RGB") for seed in range(COUNT)]
    paths = [where / f"{number}.jpg" for number in range(COUNT)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths, [sha256(content) for content in contents]


@pytest.fixture(scope="module")
def images(
    tmp_path_factory: pytest.TempPathFactory, posters: tuple[list[Path], list[str]], weights: Weights
) -> frozen.FrozenImages:
    cache = tmp_path_factory.mktemp("cache")
    return {
        stage: frozen.features(*posters, weights, stage=stage, cache_dir=cache)
        for stage in ("pooled", "maps", "pixels")
    }


Y = np.arange(COUNT, dtype=np.int64) % 3
SPLIT = Split("cv", 0, 0, np.arange(30), np.arange(30, COUNT))


def short(name: str, weights: Weights, epochs: int = 3) -> recipes.Recipe:
    return replace(recipes.with_weights(recipes.RECIPES[name], weights), epochs=epochs)


def count_decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []

    def counting(path: Path, *, height: int, width: int, sha256: str) -> np.ndarray:
        seen.append(1)
        return load_image(path, height=height, width=width, sha256=sha256)

    monkeypatch.setattr(frozen, "load_image", counting)
    return seen


# Weights


def test_a_folder_of_weights_is_known_by_its_tensors(folder: Path, weights: Weights, tmp_path: Path) -> None:
    same = make_weights(tmp_path / "same", architecture=TINY)
    other = make_weights(tmp_path / "other", architecture=TINY, seed=1)
    assert load(str(same)).sha256 == weights.sha256 != load(str(other)).sha256
    assert (weights.name, weights.synthetic, weights.from_scratch) == ("tiny", True, False)
    assert weights.mark == "SYNTHETIC, not a ResNet50"
    assert "SYNTHETIC" in weights.message


def test_weights_that_do_not_say_synthetic_are_not_marked(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    del config["synthetic"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert not load(str(tmp_path)).synthetic


def test_a_classifier_saved_whole_is_loaded_without_its_last_layer(
    folder: Path, weights: Weights, tmp_path: Path
) -> None:
    tensors = {f"resnet.{name}": value for name, value in load_file(folder / "model.safetensors").items()}
    tensors |= {"classifier.1.weight": torch.zeros(5, 24), "classifier.1.bias": torch.zeros(5)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert load(str(tmp_path)).sha256 == weights.sha256


def test_none_is_from_scratch() -> None:
    weights = load("none")
    assert (weights.name, weights.mark, weights.from_scratch) == ("from scratch", "from scratch", True)
    recipe = recipes.with_weights(recipes.RECIPES["resnet50_head"], weights)
    assert (recipe.name, recipe.trained, recipe.inputs) == ("resnet50_head (from scratch)", "all", ("pixels",))


def test_weights_that_cannot_be_had(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"there is no folder of weights '\./nowhere'"):
        load("./nowhere")
    with pytest.raises(InputError, match=r"no readable config\.json"):
        load(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="describes a 'bert'"):
        load(str(tmp_path))
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match=r"holds no \.safetensors"):
        load(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(InputError, match="can't be loaded"):
        load(str(tmp_path))
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(next(name for name in tensors if "stages.3" in name and name.endswith("convolution.weight")))
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="lack 1 tensors"):
        load(str(tmp_path))
    monkeypatch.setattr(weights_module, "hub_answers", lambda: False)
    with pytest.raises(InputError, match="not in the cache of the Hugging Face hub and it can't be reached"):
        load("nobody/has-these-weights")


# What is frozen


def test_frozen_tensors_are_those_of_the_network(
    posters: tuple[list[Path], list[str]], weights: Weights, images: frozen.FrozenImages
) -> None:
    rows = np.array([3, 0])
    network = weights.network(seed=0).eval()
    pixels = np.stack([load_image(posters[0][row], height=268, width=182) for row in rows])
    with torch.no_grad():
        plain = network(frozen.normalised(torch.from_numpy(pixels)), output_hidden_states=True)
        mirrored = network(frozen.normalised(torch.from_numpy(pixels[:, :, ::-1].copy())), output_hidden_states=True)
    torch.testing.assert_close(images["pooled"].take(rows), plain.pooler_output.flatten(1), atol=1e-5, rtol=1e-5)
    maps = images["maps"].take(rows).float()
    torch.testing.assert_close(maps[:, 0], plain.hidden_states[-2], atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(maps[:, 1], mirrored.hidden_states[-2], atol=2e-3, rtol=2e-3)
    np.testing.assert_array_equal(images["pixels"].take(rows).numpy(), pixels)


def test_nothing_is_computed_twice_nor_for_equal_bytes(
    posters: tuple[list[Path], list[str]], weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decodes(monkeypatch)
    paths, hashes = posters[0][:5] * 2, posters[1][:5] * 2
    first = frozen.features(paths, hashes, weights, stage="pooled", cache_dir=tmp_path)
    assert (len(first), len(decoded)) == (10, 5)
    gone = [tmp_path / "gone.jpg"] * 10
    again = frozen.features(gone, hashes, weights, stage="pooled", cache_dir=tmp_path)
    assert len(decoded) == 5
    torch.testing.assert_close(again.take(np.arange(10)), first.take(np.arange(5)).repeat(2, 1), rtol=0, atol=0)


def test_other_weights_share_nothing_but_pixels(
    posters: tuple[list[Path], list[str]], weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decodes(monkeypatch)
    other = load(str(make_weights(tmp_path / "other", architecture=TINY, seed=1)))
    paths, hashes = posters[0][:4], posters[1][:4]
    rows = np.arange(4)
    for stage, computed in (("pooled", 8), ("pixels", 4)):
        decoded.clear()
        one, two = (
            frozen.features(paths, hashes, each, stage=stage, cache_dir=tmp_path).take(rows)
            for each in (weights, other)
        )
        assert len(decoded) == computed
        assert torch.equal(one, two) == (stage == "pixels")


def test_an_interrupted_call_goes_on_where_it_was(
    posters: tuple[list[Path], list[str]], weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decodes(monkeypatch)
    monkeypatch.setattr(frozen, "BATCH", 4)
    calls: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        frozen.features(posters[0][:11], posters[1][:11], weights, stage="pooled", cache_dir=tmp_path, on_progress=stop)
    assert calls == [(4, 11), (8, 11)]
    rows = frozen.features(posters[0][:11], posters[1][:11], weights, stage="pooled", cache_dir=tmp_path)
    assert (len(rows), len(decoded)) == (11, 11)


def test_a_damaged_or_half_written_file_is_computed_again(
    posters: tuple[list[Path], list[str]], weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (posters[0][:4], posters[1][:4], weights)
    good = frozen.features(*arguments, stage="pooled", cache_dir=tmp_path).take(np.arange(4))
    (pack,) = tmp_path.rglob("*.safetensors")
    content = pack.read_bytes()
    pack.unlink()
    pack.write_bytes(content[:-40])
    pack.with_suffix(".1.tmp").write_bytes(content[:100])
    decoded = count_decodes(monkeypatch)
    again = frozen.features(*arguments, stage="pooled", cache_dir=tmp_path).take(np.arange(4))
    assert len(decoded) == 4
    torch.testing.assert_close(again, good)


def test_images_that_are_gone_changed_or_broken(
    posters: tuple[list[Path], list[str]], weights: Weights, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"gone\.jpg' can't be used .*can't be read: No such .*bring it back"):
        frozen.features([tmp_path / "gone.jpg"], ["0" * 64], weights, stage="pooled", cache_dir=tmp_path)
    with pytest.raises(InputError, match=r"0\.jpg' can't be used \(the file has changed .*featurestore ingest"):
        frozen.features(posters[0][:1], posters[1][1:2], weights, stage="pooled", cache_dir=tmp_path)
    broken = tmp_path / "1.jpg"
    broken.write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"1\.jpg' can't be used \(no image format"):
        frozen.features([broken], [sha256(b"<html>")], weights, stage="pooled", cache_dir=tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="can't be written"):
        frozen.features(posters[0][:1], posters[1][:1], weights, stage="pooled", cache_dir=blocked)


# Training


def test_the_cached_head_equals_the_studys_loop(
    posters: tuple[list[Path], list[str]], weights: Weights, images: frozen.FrozenImages
) -> None:
    recipe = short("resnet50_head", weights, epochs=4)
    outcome = fit_predict(recipe, images, Y, SPLIT, n_classes=3, seed=5, weights=weights)
    loop = StudyLoop(recipe, weights, seed=5).fit(posters[0][:30], Y[:30])
    np.testing.assert_allclose(outcome.proba, loop.predict_proba(posters[0][30:]), rtol=0, atol=1e-6)
    assert outcome.status == "ok"
    assert "SYNTHETIC" in outcome.message


@pytest.mark.parametrize("name", recipes.RECIPES)
@pytest.mark.parametrize("from_scratch", [False, True])
def test_a_seed_gives_the_same_numbers_again(
    name: str, from_scratch: bool, weights: Weights, images: frozen.FrozenImages
) -> None:
    if from_scratch:
        weights = replace(weights, from_scratch=True, synthetic=False, model=None)
    recipe = short(name, weights, epochs=2)
    before = torch.random.get_rng_state()
    first, again, other = (
        fit_predict(recipe, images, Y, SPLIT, n_classes=4, seed=seed, weights=weights) for seed in (1, 1, 2)
    )
    assert first.status == "ok", first.message
    np.testing.assert_array_equal(first.proba, again.proba)
    assert not np.array_equal(first.proba, other.proba)
    assert first.proba.shape == (10, 4)
    assert first.proba.dtype == np.float32
    np.testing.assert_array_equal(first.proba[:, 3], 0)
    np.testing.assert_allclose(first.proba.sum(axis=1), 1, atol=1e-5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_is_frozen_stays_as_it_was(weights: Weights, images: frozen.FrozenImages) -> None:
    assert weights.model is not None
    before = {name: value.clone() for name, value in weights.model.state_dict().items()}
    fit_predict(short("resnet50_layer4", weights), images, Y, SPLIT, n_classes=3, seed=0, weights=weights)
    for name, value in weights.model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("classes", [2, 3])
def test_layer4_starts_at_the_logistic_regression(classes: int, weights: Weights, images: frozen.FrozenImages) -> None:
    recipe = replace(short("resnet50_layer4", weights, epochs=0), flip=False)
    y = Y % classes
    outcome = fit_predict(recipe, images, y, SPLIT, n_classes=classes, seed=0, weights=weights)
    pooled = images["pooled"].take(np.arange(COUNT)).numpy()
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=2000)).fit(pooled[:30], y[:30])
    np.testing.assert_allclose(outcome.proba, plain.predict_proba(pooled[30:]), atol=1e-3)


def test_layer4_learns_more_than_its_start(weights: Weights, images: frozen.FrozenImages) -> None:
    losses = []
    for epochs in (0, 40):
        recipe = replace(short("resnet50_layer4", weights, epochs=epochs), learning_rate=1e-2, body_learning_rate=1e-2)
        recipe = replace(recipe, mixup=0.0, label_smoothing=0.0)
        seen = Split("cv", 0, 0, np.arange(30), np.arange(30))
        proba = fit_predict(recipe, images, Y, seen, n_classes=3, seed=0, weights=weights).proba
        losses.append(-np.log(proba[np.arange(30), Y[:30]]).mean())
    assert losses[1] < 0.8 * losses[0]


def test_epochs_are_told_and_an_interrupt_passes(weights: Weights, images: frozen.FrozenImages) -> None:
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    recipe = short("resnet50_layer4", weights)
    with pytest.raises(KeyboardInterrupt):
        fit_predict(recipe, images, Y, SPLIT, n_classes=3, seed=0, weights=weights, on_progress=tell)
    assert told == [(1, 3), (2, 3)]


def test_training_that_explodes_is_a_failed_row(weights: Weights, images: frozen.FrozenImages) -> None:
    recipe = replace(short("resnet50_layer4", weights), body_learning_rate=1e30, learning_rate=1e30)
    outcome = fit_predict(recipe, images, Y, SPLIT, n_classes=3, seed=0, weights=weights)
    assert (outcome.status, outcome.message) == ("failed", "ValueError: training diverged, its probabilities are NaN")


@pytest.mark.parametrize("flip", [False, True])
def test_the_frozen_twin_is_logistic_regression_on_the_same_features(
    weights: Weights, posters: tuple[list[Path], list[str]], tmp_path: Path, flip: bool
) -> None:
    twin = recipes.twins([recipes.RECIPES["resnet50_layer4"]], weights)[flip]
    groups = np.arange(COUNT) // 2 * 2
    images = {stage: frozen.features(*posters, weights, stage=stage, cache_dir=tmp_path) for stage in twin.inputs}
    outcome = fit_predict(twin, images, Y, SPLIT, groups=groups, n_classes=3, seed=0, weights=weights)
    rows = np.stack([load_image(path, height=268, width=182) for path in posters[0]])
    network = weights.network(seed=0).eval()
    with torch.inference_mode():
        views = [torch.from_numpy(view.copy()) for view in ((rows, rows[:, :, ::-1]) if flip else (rows,))]
        vectors = np.mean([network(frozen.normalised(view)).pooler_output.flatten(1).numpy() for view in views], axis=0)
    plain = HEADS["logistic_regression"].build(seed=0).fit(vectors[:30], Y[:30], groups[:30])  # type: ignore[call-arg]
    np.testing.assert_allclose(outcome.proba, plain.predict_proba(vectors[30:]), atol=1e-3)


def test_what_has_no_frozen_twin(weights: Weights) -> None:
    head, stage = recipes.find([])
    assert [twin.name for twin in recipes.twins([head], weights)] == ["resnet50_frozen (SYNTHETIC, not a ResNet50)"]
    assert [twin.flip for twin in recipes.twins([head, stage], weights)] == [False, True]
    assert recipes.twins([head], load("none")) == [], "from scratch nothing is frozen"


# The seam to the runner


@pytest.fixture
def dataset(store: FeatureStore) -> EmbeddingDataset:
    store.embed(CountingBackbone())
    return from_store(store, "counting")


def splits(dataset: EmbeddingDataset) -> list[Split]:
    rows = np.arange(len(dataset.y))
    return [Split("cv", 0, fold, rows[rows % 2 != fold], rows[rows % 2 == fold]) for fold in range(2)]


def test_rows_like_those_of_any_head(
    store: FeatureStore, dataset: EmbeddingDataset, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = finetune_cells.prepare(store, dataset, recipes=recipes.find(["resnet50_head"]), weights=str(folder))
    cells = tuning.cells(splits(dataset), [0, 1])
    assert len({cell.key for cell in cells}) == len(cells) == 6, "the frozen network has one seed"
    outcomes = list(finetune_cells.computed(tuning, cells))
    assert [cell for cell, _ in outcomes] == cells
    for cell, outcome in outcomes:
        name = "resnet50_head" if cell.head.random else "resnet50_frozen"
        assert (cell.head.name, cell.dataset.backbone) == (f"{name} (SYNTHETIC, not a ResNet50)", "tiny")
        assert not cell.dataset.synthetic, "the posters are not; the name says what is"
        assert outcome.status == "ok"
        assert outcome.proba.shape == (len(cell.split.test), len(dataset.classes))
    decoded = count_decodes(monkeypatch)
    (_, again), *_ = finetune_cells.computed(tuning, cells[:1])
    assert not decoded
    np.testing.assert_array_equal(again.proba, outcomes[0][1].proba)


def test_a_key_holds_all_that_decides(
    store: FeatureStore, dataset: EmbeddingDataset, folder: Path, tmp_path: Path
) -> None:
    def key(weights: Path | str) -> str:
        tuning = finetune_cells.prepare(store, dataset, recipes=recipes.find(["resnet50_head"]), weights=str(weights))
        return tuning.cells(splits(dataset), [0])[-1].key

    other = make_weights(tmp_path / "tiny", architecture=TINY, seed=1)
    assert key(folder) == key(folder)
    before = key(folder)
    assert len({before, key(other), key("none")}) == 3
    row = store.sql("SELECT source, file FROM images WHERE ImgId = ?", [int(dataset.ids[0])]).to_pylist()[0]
    Path(row["source"], row["file"]).write_bytes(jpeg(999))
    store.embed(CountingBackbone())
    assert key(folder) != before


def test_without_weights_or_images_every_row_says_so(
    store: FeatureStore, dataset: EmbeddingDataset, folder: Path
) -> None:
    tuning = finetune_cells.prepare(store, dataset, recipes=recipes.find([]), weights="./nowhere")
    outcomes = [outcome for _, outcome in finetune_cells.computed(tuning, tuning.cells(splits(dataset), [0]))]
    assert len(outcomes) == 4
    assert {(one.status, one.message[:46]) for one in outcomes} == {
        ("failed", "there is no folder of weights './nowhere': giv")
    }
    row = store.sql("SELECT source, file FROM images WHERE ImgId = ?", [int(dataset.ids[0])]).to_pylist()[0]
    Path(row["source"], row["file"]).unlink()
    tuning = finetune_cells.prepare(store, dataset, recipes=recipes.find(["resnet50_head"]), weights=str(folder))
    (_, outcome), *_ = finetune_cells.computed(tuning, tuning.cells(splits(dataset), [0]))
    assert outcome.status == "failed"
    assert "bring it back" in outcome.message


def test_several_labels_are_no_task_for_it(store: FeatureStore, dataset: EmbeddingDataset, folder: Path) -> None:
    several = replace(dataset, y=np.zeros((len(dataset.y), 2), np.int64))
    tuning = finetune_cells.prepare(store, several, recipes=recipes.find(["resnet50_head"]), weights=str(folder))
    (_, outcome), *_ = finetune_cells.computed(tuning, tuning.cells(splits(dataset), [0]))
    assert (outcome.status, outcome.message[:43]) == ("failed", "fine-tuning has recipes for one label an im")


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(InputError, match="known are resnet50_head, resnet50_layer4"):
        recipes.find(["resnet18"])
