"""References become backbones; wrong ones become a sentence with the right one."""

from pathlib import Path

import pytest

from featurestore.backbones import records
from featurestore.backbones.records import BackboneRecord, by_name, known, store_name
from featurestore.backbones.registry import load
from featurestore.errors import BackboneError


@pytest.mark.parametrize(
    ("reference", "options", "sentence"),
    [
        ("incepton_v3", {}, "did you mean 'inception_v3'"),
        ("zzz", {}, "known are converted, descriptors"),
        ("tflite", {}, "expected a path after the colon"),
        ("descriptors:x", {}, "takes no path"),
        ("descriptors", {"weights": Path("x")}, "takes no --weights"),
        ("descriptors", {"tensor": 3}, "takes no --tensor"),
        ("descriptors", {"name": "My-Name"}, "expected lower-case"),
        ("descriptors", {"threads": 0}, "got threads=0"),
    ],
)
def test_wrong_references(reference: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(BackboneError) as caught:
        load(reference, **options)  # type: ignore[arg-type]
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["tflite", "savedmodel", "tflite:/x", "savedmodel:../x", "/x", "INCEPTION_V3", ""])
def test_data_names_installed_backbones_only(name: str) -> None:
    assert by_name("inception_v3") == "inception_v3"
    with pytest.raises(BackboneError, match=r"there is no backbone|needs a path"):
        by_name(name)


@pytest.mark.parametrize(
    ("reference", "load_network"),
    [
        ("savedmodel:{}", "tfhub._load_folder"),
        ("inception_v3", "tfhub._load_folder"),
        ("tflite:{}/net.tflite", "tflite._interpreter"),
    ],
)
def test_weights_are_compared_before_they_are_loaded(
    reference: str, load_network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("saved_model.pb", "net.tflite"):
        (tmp_path / file).write_bytes(b"a graph")
    loaded: list[object] = []
    monkeypatch.setattr(f"featurestore.backbones.{load_network}", lambda *given: loaded.append(given))
    monkeypatch.setattr("featurestore.backbones.kaggle.model", lambda handle: tmp_path)
    with pytest.raises(BackboneError, match=r"has other weights than .* expected sha256:0123"):
        load(reference.format(tmp_path), expected_weights="sha256:0123")
    assert loaded == []


def test_weights_of_code_are_compared_too() -> None:
    weights = load("descriptors").spec.weights
    assert load("descriptors", expected_weights=weights).spec.weights == weights
    with pytest.raises(BackboneError, match="'descriptors' has other weights"):
        load("descriptors", expected_weights="descriptors-0")


@pytest.mark.parametrize(("stem", "name"), [("MobileNet-v1.0", "mobilenet_v1_0"), ("3d", "model_3d"), ("é", "model")])
def test_derived_names_are_bent_to_fit(stem: str, name: str) -> None:
    assert store_name(stem, given=False) == name


def test_records_are_complete() -> None:
    for record in records.RECORDS.values():
        assert record.description
        module, _, function = record.loader.partition(":")
        assert module.startswith("featurestore.backbones.")
        assert function
    assert {"inception_v3", "resnet_v2_50", "descriptors"} <= {record.name for record in known()}


class _Point:
    def __init__(self, name: str, value: object) -> None:
        self.name, self.value, self.loads = name, value, 0

    def load(self) -> object:
        self.loads += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def test_other_packages_bring_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = BackboneRecord("other", "featurestore.backbones.descriptors:load", "theirs")
    lost = BackboneRecord("lost", "no_such_module:load", "theirs")
    broken = _Point("broken", ImportError("no such thing"))
    points = [_Point("other", ours), broken, _Point("odd", 42), _Point("lost", lost)]
    monkeypatch.setattr(records, "entry_points", lambda group: points)
    assert load("other").spec.name == "other"
    assert broken.loads == 0, "only what is asked for is imported"
    assert {"other", "broken", "odd"} <= {record.name for record in known()}
    with pytest.raises(BackboneError, match="'no_such_module:load' of the backbone 'lost' can't be imported"):
        load("lost")
    with pytest.raises(BackboneError, match="no such thing"):
        load("broken")
    with pytest.raises(BackboneError, match="its entry point is a int"):
        load("odd")
