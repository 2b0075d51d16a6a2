"""Models in folders: every head comes back with the same answers, nothing is unpickled, changed bytes are refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_backbones
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from support import CountingBackbone, jpeg, movie, write_metadata

from benchmarks.commands.cli import cli
from benchmarks.heads.base import HeadSpec, load_file
from benchmarks.heads.contract import example
from benchmarks.heads.registry import HEADS, find
from benchmarks.models import folder as models
from benchmarks.models.predict import backbone_of, predict_images
from benchmarks.run.fit import fit
from featurestore import FeatureStore, load_backbone
from featurestore.commands.options import run_command
from featurestore.errors import BackboneError, InputError, IntegrityError

CARD = (
    {"classes": ["a", "b", "c"], "embed_dim": 60, "head": "h", "backbone": "b", "synthetic": True, "label": "l"}
    | {
        "view": "v",
        "n_rows": 90,
        "revision": "r",
        "weights": [],
        "settings": {},
        "chosen": {},
        "seed": 0,
        "state_id": "s",
    }
    | {"sources": []}
    | {"data_hash": "d", "created": "now", "libraries": {}, "scores": []}
)


def quick(spec: HeadSpec) -> HeadSpec:
    changes: dict[str, object] = {
        name: value for name, value in {"rounds": 8, "trees": 12, "epochs": 2}.items() if name in spec.parameters
    }
    if "hidden" in spec.parameters:
        changes["hidden"] = (16, 8)
    if spec.rule == "best":
        changes["members"] = ("knn", "lda")
    return replace(spec, parameters={**spec.parameters, **changes})


# The network of VGG, and a head that needs a text tower, have tests of their own.
OWN_TESTS = ("vgg19", "zero_shot")


@pytest.mark.parametrize("spec", [s for s in HEADS.values() if s.name not in OWN_TESTS], ids=lambda spec: spec.name)
def test_every_head_comes_back(spec: HeadSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.models.trial.COMPILED", ())  # it has tests of its own, and takes a process each
    X, y = example(90, 60)
    classifier = quick(spec).build(seed=0).fit(X, y)
    models.save(classifier, CARD, tmp_path / "model")
    found = models.load(tmp_path / "model")
    np.testing.assert_allclose(found.predict_proba(X), classifier.predict_proba(X), atol=1e-5)
    size = (tmp_path / "model" / models.MODEL).stat().st_size
    assert models.saved_bytes(classifier) == pytest.approx(size, rel=0.02)


def test_choosing_among_heads_tells_how_far_it_is(bench: FeatureStore) -> None:
    calls: list[tuple[int, int]] = []
    spec = quick(HEADS["best_by_inner_cv"])
    model, card = fit(bench, spec, "counting", on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    assert card["chosen"]["head"] in ("knn", "lda")
    assert model, "who watched is no part of the model"


def test_a_fresh_process_reads_it_without_pickle(tmp_path: Path) -> None:
    X, y = example(90, 60)
    classifier = find(["mlp_512"])[0].build(seed=0, epochs=1).fit(X, y)
    models.save(classifier, CARD, tmp_path / "model")
    np.save(tmp_path / "X.npy", X)
    code = (
        "import pickle, sys, numpy as np\n"
        "def refuse(*a, **k): raise AssertionError('unpickled')\n"
        "pickle.load = pickle.loads = refuse\n"
        "from benchmarks.models.folder import load\n"
        "print(repr(load(sys.argv[1]).predict_proba(np.load(sys.argv[2]))[0].tolist()))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model"), str(tmp_path / "X.npy")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(result.stdout), classifier.predict_proba(X[:1])[0], atol=1e-5)


def test_changed_bytes_are_refused(tmp_path: Path) -> None:
    X, y = example(90, 60)
    models.save(find(["ridge"])[0].build(seed=0).fit(X, y), CARD, tmp_path / "model")
    file = tmp_path / "model" / models.MODEL
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError, match="is not the file that was written"):
        models.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sha256": None}, "has no valid sha256"),
        ({"sha256": {}}, "is not the file that was written"),
        ({"classes": None, "synthetic": "no"}, "has no valid classes, synthetic"),
        ({"classes": ["a"]}, "names 1 classes, which are not those of the model"),
        ({"format": 99}, "is no card of format 1"),
        ({"classes": ["a", "b", "b"]}, "has no valid classes"),
        ({"classes": ["a", "b", 3]}, "has no valid classes"),
        ({"classes": 10**9}, "has no valid classes"),
        ({"backbone": ["descriptors"]}, "has no valid backbone"),
        ({"sources": [1], "weights": [None]}, "has no valid weights, sources"),
        ({"embed_dim": True}, "has no valid embed_dim"),
        ({"embed_dim": float("nan"), "view": ["v"]}, "has no valid embed_dim, view"),
        ({"embed_dim": -60}, "has no valid embed_dim"),
        ({"sha256": {models.MODEL: ["x"]}}, "is not the file that was written"),
    ],
)
def test_a_damaged_card_is_one_sentence(change: dict[str, object], sentence: str, tmp_path: Path) -> None:
    X, y = example(90, 60)
    models.save(find(["ridge"])[0].build(seed=0).fit(X, y), CARD, tmp_path / "model")
    card = json.loads((tmp_path / "model" / models.CARD).read_text())
    (tmp_path / "model" / models.CARD).write_text(json.dumps(card | change))
    with pytest.raises((InputError, IntegrityError), match=sentence):
        models.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        (b"[" * 100_000, "is no model folder"),
        (b'{"format": NaN}', "is no card of format 1"),
        (b"\xff\xfe", "is no model folder"),
        (b'{"format": 1' + b"0" * 5000 + b"}", "is no model folder"),
        (b" " * (models.LARGEST_CARD + 1), "more than the limit of 16,777,216 bytes"),
        (None, "a pipe, socket or device, not a file"),
    ],
    ids=["nested", "nan", "bytes", "digits", "large", "pipe"],
)
def test_what_is_no_card(card: bytes | None, sentence: str, tmp_path: Path) -> None:
    (tmp_path / models.MODEL).write_bytes(b"")
    if card is None:
        os.mkfifo(tmp_path / models.CARD)
    else:
        (tmp_path / models.CARD).write_bytes(card)
    with pytest.raises(InputError, match=sentence):
        models.load(tmp_path)


def _edited(how: str) -> object:
    """A classifier of three classes and 60 columns, with one thing changed by hand."""
    X, y = example(90, 60)
    if how == "no classifier":
        return StandardScaler().fit(X)
    if how == "no object":
        return {"classes_": [0, 1, 2]}
    if how == "other width":
        return find(["ridge"])[0].build(seed=0).fit(X[:, :50], y)
    model = LogisticRegression().fit(X, y)
    if how == "nan":
        model.coef_ = model.coef_ * np.nan
    elif how == "no coefficients":
        del model.coef_
    else:
        model.classes_ = {"floats": np.arange(3.0), "twice": np.zeros(3, int), "negative": np.array([0, 1, -1])}[how]
    return model


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("no classifier", "the head has no classes_"),
        ("no object", "the head has no classes_"),
        ("floats", r"classes_ is \[0. 1. 2.\]"),
        ("twice", r"classes_ is \[0 0 0\]"),
        ("negative", r"classes_ is \[ 0 1 -1\]"),
        ("other width", "the model can't be used"),
        ("nan", "no probabilities"),
        ("no coefficients", "the model can't be used"),
    ],
)
def test_a_model_that_was_edited_is_one_sentence(how: str, sentence: str, tmp_path: Path) -> None:
    models.save(_edited(how), CARD, tmp_path / "model")
    with pytest.raises(InputError, match=sentence):
        models.load(tmp_path / "model").predict_proba(example(90, 60)[0])


class Foreign:
    """A type that no built-in head holds."""

    def __init__(self) -> None:
        self.classes_ = np.arange(3)


def test_foreign_types_are_refused_unless_trusted(tmp_path: Path) -> None:
    name = f"{Foreign.__module__}.Foreign"
    with pytest.raises(InputError, match=r"holds the types .*Foreign"):
        models.save(Foreign(), CARD, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    models.save(Foreign(), CARD, tmp_path / "model", trust=[name])
    with pytest.raises(InputError, match=r"holds the types .*Foreign"):
        models.load(tmp_path / "model")
    assert type(models.load(tmp_path / "model", trust=[name]).classifier).__name__ == "Foreign"


def test_a_function_of_a_head_module_is_no_head(tmp_path: Path) -> None:
    runs_a_file = FunctionTransformer(load_file)
    with pytest.raises(InputError, match=r"holds the types benchmarks\.heads\.base\.load_file"):
        models.save(runs_a_file, CARD, tmp_path / "model")


def test_what_cannot_be_stored_is_one_sentence() -> None:
    with pytest.raises(InputError, match="can't be stored without pickle"):
        models.packed(torch.zeros(2))


def test_only_models_are_replaced(tmp_path: Path) -> None:
    X, y = example(90, 60)
    classifier = find(["ridge"])[0].build(seed=0).fit(X, y)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(InputError, match="is no model folder"):
        models.save(classifier, CARD, tmp_path / "mine")
    models.save(classifier, CARD, tmp_path / "model")
    models.save(classifier, {**CARD, "seed": 7}, tmp_path / "model")
    assert models.load(tmp_path / "model").card["seed"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "model"]
    with pytest.raises(InputError, match=r"expected \(n, 60\)"):
        models.load(tmp_path / "model").predict_proba(X[:, :5])


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 30 posters, a store of them, and a model fitted on it, its scores not measured."""
    folder = tmp_path_factory.mktemp("benched")
    images = folder / "posters"
    images.mkdir()
    rows = []
    for i in range(30):
        (images / f"{100 + i}.jpg").write_bytes(jpeg(i))
        rows.append(movie(100 + i, "Drama" if i % 3 else "Comedy"))
    store = FeatureStore(folder / "store")
    store.ingest(metadata=write_metadata(folder / "m.csv", rows), images=images)
    store.embed(CountingBackbone())
    models.write(*fit(store, find(["knn"])[0], "counting"), folder / "model")
    return folder


@pytest.fixture
def bench(benched: Path, tmp_path: Path) -> FeatureStore:
    """A copy of what is `benched`, in the temporary folder."""
    shutil.copytree(benched, tmp_path, dirs_exist_ok=True)
    return FeatureStore(tmp_path / "store")


def test_a_poster_is_told_and_has_neighbours(bench: FeatureStore, tmp_path: Path) -> None:
    model = models.load(tmp_path / "model")
    (one,) = predict_images([tmp_path / "posters" / "104.jpg"], model, CountingBackbone(), store=bench, k=2)
    assert list(one.proba) == sorted(one.proba, key=lambda name: -one.proba[name])
    assert sum(one.proba.values()) == pytest.approx(1)
    assert one.neighbours[0]["ImgId"] == 104
    assert one.neighbours[0]["label"] == "Drama"
    assert model.card["scores"] == []
    assert "not measured" in (tmp_path / "model" / "README.md").read_text()
    with pytest.raises(InputError, match="the model learned from revision"):
        predict_images([tmp_path / "posters" / "104.jpg"], model, CountingBackbone(weights="other"), store=None)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(InputError, match=r"text\.jpg' can't be used \(no image format"):
        predict_images([tmp_path / "text.jpg"], model, CountingBackbone())
    with pytest.raises(InputError, match=r"none\.jpg' can't be used \(the file can't be read: No such"):
        predict_images([tmp_path / "none.jpg"], model, CountingBackbone())


def fails(images: NDArray[np.float32]) -> NDArray[np.float32]:
    raise ZeroDivisionError("nothing to divide by")


@pytest.mark.parametrize(
    ("embed", "error", "sentence"),
    [
        (fails, BackboneError, "the backbone 'counting' failed with ZeroDivisionError: nothing to divide by"),
        (lambda images: np.full((len(images), 16), np.nan, np.float32), InputError, "103.jpg' can't be used .*NaN"),
        (lambda images: np.zeros((len(images), 16), np.float32), InputError, "103.jpg' can't be used .*is constant"),
        (lambda images: np.ones((len(images), 3), np.float32), BackboneError, r"expected \(32, 16\)"),
    ],
    ids=["raises", "nan", "constant", "shape"],
)
def test_no_prediction_is_made_of_a_bad_vector(
    embed: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    error: type[Exception],
    sentence: str,
    bench: FeatureStore,
    tmp_path: Path,
) -> None:
    model = models.load(tmp_path / "model")
    backbone = CountingBackbone()
    backbone.embed = embed  # type: ignore[method-assign]
    with pytest.raises(error, match=sentence):
        predict_images([tmp_path / "posters" / "103.jpg"], model, backbone, store=bench)


def test_the_backbone_is_the_one_of_the_card() -> None:
    spec = load_backbone("descriptors").spec
    weights = spec.weights
    model = models.Model(None, {**CARD, "backbone": "descriptors", "weights": [weights], "revision": spec.revision})
    assert backbone_of(model).spec.weights == weights
    assert backbone_of(model, reference="descriptors").spec.weights == weights
    later = models.Model(None, {**CARD, "backbone": "descriptors", "weights": [weights]})
    with pytest.raises(InputError, match="'descriptors' are of revision r, the backbone is of"):
        backbone_of(later)
    other = models.Model(None, {**CARD, "backbone": "descriptors", "weights": ["sha256:0"]})
    with pytest.raises(InputError, match=r"'descriptors' of revision .*'descriptors' has other weights .*--model"):
        backbone_of(other)
    with pytest.raises(BackboneError, match="'descriptors' has other weights"):
        backbone_of(other, reference="descriptors")
    with pytest.raises(InputError, match="learned from a\\+b, several backbones"):
        backbone_of(models.Model(None, {**CARD, "backbone": "a+b", "weights": ["x", "y"]}))


def test_a_card_and_a_file_are_enough(
    bench: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made_backbones.install(monkeypatch)
    monkeypatch.setenv("FEATURESTORE_CONFIG", str(tmp_path / "settings"))
    file = tmp_path / "net.blocks"
    file.write_text("2.5")
    bench.embed(f"blocks:{file}", tensor=2, preprocessing={"scale": "signed"})
    model, card = fit(bench, find(["knn"])[0], "net")
    assert (card["options"], card["preprocessing"][0]["scale"]) == ([{"tensor": "2"}], "signed")
    models.write(model, card, tmp_path / "net")
    image = tmp_path / "posters" / "104.jpg"

    def predict(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["benchmarks", "predict", str(tmp_path / "net"), str(image), *options])
        return run_command(cli, "benchmarks"), *capfd.readouterr()

    code, out, err = predict()
    assert (code, err) == (0, f"benchmarks: the backbone 'net' is loaded from {file}\n")
    moved = file.rename(tmp_path / "moved.blocks")
    code, _, err = predict()
    assert code == 1
    assert err.startswith(f"benchmarks: the backbone 'net' of revision {card['revision']} was loaded from '{file}'")
    assert "name its new place with --model blocks:PATH" in err
    assert predict("--model", f"blocks:{moved}") == (0, out, "")


@pytest.mark.parametrize(
    "named",
    [
        *("tflite:{file}", "savedmodel:{folder}", "tflite:net.tflite", "savedmodel:../model", "{file}"),
        *("tflite", "TFLITE", "Descriptors", "descriptors:{file}", "descriptors\n", "", "counting"),
        *("benchmarks.heads.base:load_file", "featurestore.backbones.tflite:load"),
    ],
)
def test_a_card_chooses_no_file(
    named: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    card = {**CARD, "weights": ["w"], "backbone": named.format(file=folder / "net.tflite", folder=folder)}
    models.save(LogisticRegression().fit(*example(90, 60)), card, folder)
    for file in ("net.tflite", "saved_model.pb"):
        (folder / file).write_bytes(b"a graph")
    monkeypatch.chdir(folder)
    for loader in ("tflite", "tfhub"):
        monkeypatch.setattr(f"featurestore.backbones.{loader}.load", lambda *given: pytest.fail("it was loaded"))
    monkeypatch.setattr("sys.argv", ["benchmarks", "predict", ".", "104.jpg"])
    assert run_command(cli, "benchmarks") == 1
    err = capfd.readouterr().err
    assert "is not remembered on this machine and can't be loaded by its name" in err
    assert err.count("\n") == 1


def test_the_commands(bench: FeatureStore, tmp_path: Path, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
        code = run_command(cli, "benchmarks")
        return code, *capfd.readouterr()

    store, model = str(bench.path), str(tmp_path / "ridge")
    code, out, _ = call("fit", "ridge", "--store", store, "--backbone", "counting", "-o", model)
    assert (code, out) == (
        0,
        f"{model}: ridge over counting, 30 rows, 2 classes\nnext: benchmarks predict {model} IMAGE\n",
    )
    for arguments, sentence in (
        (["fit", "rigde", "--store", store, "--backbone", "counting", "-o", model], "did you mean 'ridge'"),
        (["fit", "ridge", "--store", "none", "--backbone", "counting", "-o", "X.HTML"], "the name of a folder"),
        (["fit", "ridge", "--store", "none", "--backbone", "counting", "-o", store], "exists and is no model folder"),
        (["predict", store, "x.jpg"], "is no model folder"),
        (["predict", model, "x.jpg"], "counting"),
    ):
        code, _, err = call(*arguments)
        assert code == 1
        assert sentence in err
        assert "Traceback" not in err
