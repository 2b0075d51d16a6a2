"""A store, a bundle and a model of an earlier version: opened, checked, used and written to, as FORMAT.md says."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import CountingBackbone

from benchmarks.models.folder import load as load_model
from featurestore import FeatureStore, open_bundle
from featurestore.backbones.base import Preprocessing

FROZEN = Path(__file__).resolve().parents[1] / "frozen"
FORMATS = sorted(path for path in FROZEN.glob("format-*"))
sys.path.insert(0, str(FROZEN))
from make import answers_of, probabilities  # noqa: E402


@pytest.fixture(params=FORMATS, ids=lambda path: path.name)
def frozen(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy: reading must not change what is frozen."""
    return Path(shutil.copytree(request.param, tmp_path / "frozen"))


def answers(frozen: Path) -> dict[str, object]:
    return dict(json.loads((frozen / "answers.json").read_text()))


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_there_is_one_of_each_format() -> None:
    assert [path.name for path in FORMATS] == ["format-3"]


def test_the_store_gives_the_same_answers_and_is_whole(frozen: Path) -> None:
    before = files(frozen)
    store = FeatureStore.open(frozen / "store")
    kept = answers(frozen)
    assert store.state.id == kept["state"]
    for name, answer in answers_of(store).items():
        assert answer == kept[name], name
    report = store.verify()
    assert (report.damaged, report.parts > 10, report.records > 10) == ({}, True, True)
    with FeatureStore.open(frozen / "store", snapshot="first") as first:
        assert len(first.features("counting", view="collection")) == 24
    assert files(frozen) == before


def test_the_store_is_written_to_and_goes_on(frozen: Path) -> None:
    store = FeatureStore(frozen / "store")
    old = set(files(frozen / "store"))
    store.append({"notes": pa.table({"ImgId": pa.array([103], pa.int32()), "day": pa.array([3], pa.date32())})})
    store.create_view("another", "SELECT ImgId FROM mine")
    store.create_snapshot("second")
    assert store.compact()
    assert store.repair().left == {}
    assert len(store.sql("FROM notes")) == 5
    store.remove_backbone("renamed")
    store.gc(older_than="0")
    assert store.verify().damaged == {}
    assert {name for name in old if "old_name" in name} <= set(files(frozen / "store")), "the snapshot has them"
    with FeatureStore.open(frozen / "store", snapshot="second") as second:
        assert len(second.sql("FROM embeddings_renamed")) == 25


def test_a_backbone_of_then_has_the_revision_of_now(frozen: Path) -> None:
    store = FeatureStore(frozen / "store")
    assert store.state.revisions["counting"] == CountingBackbone().spec.revision
    first = CountingBackbone(preprocessing=Preprocessing(16, 16, "signed"))
    assert FeatureStore.open(store.path, snapshot="first").state.revisions["counting"] == first.spec.revision


def test_the_bundle_opens_with_its_lock_and_the_model_answers(frozen: Path) -> None:
    kept = answers(frozen)
    bundle = open_bundle(frozen / "bundle", lock=str(kept["lock"]))
    assert [bundle.X.tolist(), bundle.ids.tolist(), list(bundle.classes)] == kept["features"]
    model = load_model(frozen / "model")
    assert model.classes == bundle.classes
    np.testing.assert_allclose(probabilities(frozen), kept["probabilities"], atol=1e-5)
