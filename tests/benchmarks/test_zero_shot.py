"""The head that learns nothing: class names as texts, their vectors as classes, and what a run says of it."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_store import in_this_process
from made_text_backbone import COLOURS, ColourBackbone
from PIL import Image
from support import CountingBackbone

from benchmarks import compare
from benchmarks.heads.contract import CHECKS, example, violations
from benchmarks.heads.registry import HEADS
from benchmarks.heads.zero_shot import ZeroShot
from benchmarks.models import folder as models
from benchmarks.plan.prompts import TEMPLATES, Prompting, prompts, templates_of
from benchmarks.run import execution, runner
from benchmarks.run import fit as fitting
from benchmarks.run.runner import stored_datasets
from featurestore import FeatureStore
from featurestore.backbones.base import TextScale
from featurestore.errors import InputError

SPEC = HEADS["zero_shot"]
HERE = {"folds": 3, "quick": True, "progress": False}
EACH = 12


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Images of three colours, each its class, in noise, with a backbone that has a text tower and one without."""
    folder = tmp_path_factory.mktemp("zero")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / "images" / name).mkdir(parents=True)
        for number in range(EACH):
            pixels = np.array(colour) * 60 + rng.integers(0, 150, (8, 8, 3)) + rng.integers(0, 45, 3)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name / f"{number}.png")
    store = FeatureStore(folder / "store")
    store.ingest(images=folder / "images")
    store.embed(ColourBackbone())
    store.embed(CountingBackbone())
    return store


@pytest.fixture(scope="module", autouse=True)
def here() -> Iterator[None]:
    """Cells are computed in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "computed", in_this_process)
        patch.setattr(runner, "computed", in_this_process)
        patch.setattr(fitting, "computed", in_this_process)
        yield


def test_the_contract() -> None:
    assert violations(SPEC) == violations(replace(SPEC, parameters={"scale": 3.0})) == {}
    assert violations(replace(SPEC, arrays={"vectors": np.eye(3, 7)})).keys() == CHECKS.keys() - {"name", "nan"}


def test_probabilities_are_the_softmax_of_scaled_cosines() -> None:
    texts, X = np.array([[2.0, 0], [0, 5.0]]), np.array([[3.0, 0], [1.0, 1.0], [0, 0.1]])
    model = ZeroShot(texts, 4.0).fit(X, np.array([0, 1, 1]))
    high = math.exp(4) / (math.exp(4) + 1)
    np.testing.assert_allclose(model.predict_proba(X), [[high, 1 - high], [0.5, 0.5], [1 - high, high]], rtol=1e-12)
    with pytest.raises(ValueError, match=r"got rows of 3 values, the text vectors have 2"):
        model.predict_proba(np.ones((1, 3)))
    X, y = example()
    with pytest.raises(InputError, match="needs the vectors of the class names"):
        SPEC.build(seed=0).fit(X, y)


def test_templates(tmp_path: Path) -> None:
    file = tmp_path / "templates.txt"
    file.write_text("a photo of {}\n\n  {} at night \n")
    assert templates_of(file) == templates_of(str(file)) == ("a photo of {}", "{} at night")
    assert templates_of(["{}"]) == ("{}",)
    assert templates_of(None) == TEMPLATES
    assert prompts(["science_fiction", "a {} b"], "the {}") == ["the science fiction", "the a {} b"]
    file.write_text("a photo\n")
    with pytest.raises(InputError, match=r"got the template 'a photo' in .*, expected \{\} where"):
        templates_of(file)
    file.write_bytes(b"\xff{}")
    for bad, said in ((tmp_path / "none", "no templates can be read"), (file, "no templates"), ([], "got 0 templates")):
        with pytest.raises(InputError, match=said):
            templates_of(bad)
    with pytest.raises(InputError, match="got the template 3"):
        templates_of([3])  # type: ignore[list-item]


def test_it_is_a_row_of_the_table_for_each_backbone(store: FeatureStore) -> None:
    model = ColourBackbone()
    heads = ["zero_shot", "knn", "majority"]
    comparison = compare(store, heads=heads, models={"colour": model}, **HERE)  # type: ignore[arg-type]
    assert model.asked[:3] == ["blue", "green", "red"]
    assert "a photo of red" in model.asked
    rows = comparison.to_pandas().set_index(["backbone", "head"])
    assert rows.loc[("colour", "zero_shot"), "accuracy"] > 0.9
    features = store.features("colour", view="labeled")
    names = sorted(COLOURS)
    texts = np.array([COLOURS[name] for name in names], np.float64)
    logits = 10 * (features.X / np.linalg.norm(features.X, axis=1, keepdims=True)) @ texts.T
    true = [names.index(label) for label in features.table["label"].to_pylist()]
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), true]
    assert rows.loc[("colour", "zero_shot"), "log_loss"] == pytest.approx(losses.mean(), rel=1e-4)
    assert rows.loc[("colour", "zero_shot"), "synthetic"]
    cells = store.refresh().sql(
        "SELECT backbone, parameters, status, message FROM bench_cells WHERE head = 'zero_shot'"
    )
    (failed,) = {row["message"] for row in cells.to_pylist() if row["backbone"] == "counting"}
    assert "not remembered on this machine" in failed
    settings = json.loads(next(row["parameters"] for row in cells.to_pylist() if row["backbone"] == "colour"))
    assert settings.keys() == {"templates", "scale", "texts"}
    assert (settings["templates"], settings["scale"]) == (list(TEMPLATES), 10.0)


def test_what_it_asks_is_its_identity(store: FeatureStore) -> None:
    (dataset,) = stored_datasets(store, ["colour"], view="labeled", label=None, protocols=[])

    def key(prompting: Prompting) -> str:
        from benchmarks.plan.cells import model_key
        from benchmarks.plan.prompts import prompted_head

        return model_key(prompted_head(store, SPEC, dataset, prompting), dataset)

    usual = key(Prompting(models={"colour": ColourBackbone()}))
    assert usual == key(Prompting(TEMPLATES, {"colour": ColourBackbone()}))
    assert usual != key(Prompting(("{}",), {"colour": ColourBackbone()}))
    assert usual != key(Prompting(models={"colour": ColourBackbone(text_scale=TextScale(9.0))}))


@pytest.mark.parametrize(
    ("backbone", "model", "said"),
    [
        ("counting", CountingBackbone(), "'counting' has no text tower"),
        ("colour", ColourBackbone(weights="other"), "the store has revision"),
        ("colour+counting", None, "not several side by side"),
    ],
)
def test_a_row_that_can_not_be_says_why(store: FeatureStore, backbone: str, model: object, said: str) -> None:
    models = {} if model is None else {backbone: model}
    found = compare(store, heads=["zero_shot", "knn"], backbones=backbone, models=models, **HERE)  # type: ignore[arg-type]
    (failure,) = [row["failure"] for row in found.table["rows"] if row["head"] == "zero_shot"]
    assert said in failure
    assert len(failure) <= 200
    assert found.best.head == "knn"


def test_several_labels_have_no_zero_shot() -> None:
    y = np.zeros((90, 2), int)
    y[:60, 0] = y[30:, 1] = 1
    X = np.random.default_rng(0).normal(size=(90, 3))
    found = compare(X, y, heads=["zero_shot", "majority"], models={"X": ColourBackbone()}, **HERE)  # type: ignore[arg-type]
    (failure,) = [row["failure"] for row in found.table["rows"] if row["head"] == "zero_shot"]
    assert failure == "zero_shot chooses one class an image, and y holds several labels"


def test_when_no_head_is_named_it_runs_where_it_can(store: FeatureStore) -> None:
    from benchmarks.plan.prompts import prompted

    datasets = stored_datasets(store, [], view="labeled", label=None, protocols=[])
    given = Prompting(models={"colour": ColourBackbone()})
    assert prompted(store, datasets, given, named=False).keys() == {"colour"}
    assert prompted(store, datasets, Prompting(), named=False) == {}, "its model can't be found"
    assert prompted(store, datasets, given, named=True).keys() == {"colour", "counting"}


def test_arrays_with_a_model() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(sorted(COLOURS), 20)
    X = np.array([COLOURS[name] for name in y]) + rng.uniform(0, 0.7, (60, 3))
    found = compare({"mine": X}, y, heads=["zero_shot", "majority"], models={"mine": ColourBackbone()}, **HERE)  # type: ignore[arg-type]
    assert found.best.head == "zero_shot"
    wide = compare(np.hstack([X, X]), y, heads=["zero_shot", "knn"], models={"X": ColourBackbone()}, **HERE)  # type: ignore[arg-type]
    assert "zero_shot" not in set(wide.to_pandas().dropna(subset="accuracy")["head"])
    for bad in ([ColourBackbone()], {"X": 3}):
        with pytest.raises(InputError, match="expected"):
            compare(X, y, models=bad, **HERE)  # type: ignore[arg-type]


def test_a_model_of_it_is_saved_with_its_prompts(store: FeatureStore, tmp_path: Path) -> None:
    given = Prompting(("a {} thing",), {"colour": ColourBackbone()})
    model, card = fitting.fit(store, SPEC, "colour", prompting=given)
    models.write(model, card, tmp_path / "model")
    loaded = models.load(tmp_path / "model")
    assert loaded.card["settings"]["templates"] == ["a {} thing"]
    found = loaded.predict_proba(np.array([[1, 0, 0], [0, 0, 1]], np.float32))
    assert [loaded.classes[place] for place in found.argmax(axis=1)] == ["red", "blue"]
    with pytest.raises(InputError, match="no text tower"):
        fitting.fit(store, SPEC, "counting", prompting=Prompting(models={"counting": CountingBackbone()}))
