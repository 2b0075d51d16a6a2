"""Nothing is computed twice: not after an interrupt, not for equal bytes, not for a second run."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import Collection, CountingBackbone, jpeg

from featurestore import FeatureStore
from featurestore.backbones.base import Preprocessing
from featurestore.embedding.embed import embed
from featurestore.errors import BackboneError, InputError, StoreNotFound


def test_every_image_gets_its_vector(store: FeatureStore, collection: Collection, backbone: CountingBackbone) -> None:
    report = store.embed(backbone, batch_size=5)
    assert (report.computed, report.present, report.reused) == (24, 0, 0)
    features = store.features("counting", view="collection")
    assert features.ids.tolist() == collection.ids
    from featurestore.collections.images import decode

    for row, img_id in enumerate(collection.ids):
        pixels = decode((collection.images / f"{img_id}.jpg").read_bytes(), Preprocessing(16, 16))
        alone = CountingBackbone().embed(Preprocessing(16, 16).apply(pixels[None]))
        np.testing.assert_array_equal(features.X[row], alone[0])


def test_an_extraction_says_in_which_precision(store: FeatureStore, backbone: CountingBackbone) -> None:
    half = CountingBackbone(name="half")
    half.spec = replace(half.spec, precision="float16")
    for made in (backbone, half, backbone):
        store.embed(made)
    rows = store.sql("SELECT backbone, precision FROM extractions ORDER BY backbone").to_pylist()
    assert rows == [{"backbone": "counting", "precision": "float32"}, {"backbone": "half", "precision": "float16"}]
    assert half.spec.revision == backbone.spec.revision, "lineage, no part of the identity"
    assert store.lineage(101)["embeddings"][1]["precision"] == "float16"


def test_a_second_run_computes_nothing(store: FeatureStore, backbone: CountingBackbone) -> None:
    store.embed(backbone)
    state = store.state.id
    report = store.embed(backbone)
    assert (report.computed, report.present) == (0, 24)
    assert backbone.images == 24
    assert store.state.id == state


def test_an_interrupt_costs_at_most_the_batch_in_work(store: FeatureStore, backbone: CountingBackbone) -> None:
    def interrupt(batch: int) -> None:
        if batch == 3:
            raise KeyboardInterrupt

    backbone.before_batch = interrupt
    with pytest.raises(KeyboardInterrupt):
        store.embed(backbone, batch_size=4)
    assert backbone.images == 12
    assert store.sql("SELECT count(*) AS n FROM embeddings_counting")["n"][0].as_py() == 12
    backbone.before_batch = lambda batch: None
    report = store.embed(backbone, batch_size=4)
    assert (report.present, report.computed) == (12, 12)
    assert backbone.images == 24
    assert store.embed(backbone).computed == 0


KILLED = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from support import CountingBackbone
from featurestore import FeatureStore
backbone = CountingBackbone()
def kill(batch):
    if batch == 3:
        while len([*Path({store!r}).glob("staging/*/part-*.parquet")]) < 3:  # the one before is being staged
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
backbone.before_batch = kill
FeatureStore({store!r}).embed(backbone, batch_size=4)
"""


def test_batches_of_a_killed_run_are_adopted(store: FeatureStore, backbone: CountingBackbone) -> None:
    script = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parents[1] / "helpers"), store=str(store.path))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120)
    assert result.returncode == -9, result.stderr
    assert not store.refresh().state.revisions, "nothing was published"
    report = store.embed(backbone, batch_size=4)
    assert (report.reused, report.computed) == (12, 12)
    assert backbone.images == 12
    assert store.sql("SELECT count(*) AS n FROM embeddings_counting")["n"][0].as_py() == 24
    assert not list((store.path / "staging").rglob("*.parquet"))


def test_equal_bytes_are_two_rows_computed_once(store: FeatureStore, collection: Collection) -> None:
    (collection.images / "110.jpg").write_bytes((collection.images / "103.jpg").read_bytes())
    backbone = CountingBackbone()
    report = store.embed(backbone)
    assert (backbone.images, report.reused) == (23, 1)
    features = store.features("counting", view="collection")
    rows = dict(zip(features.ids.tolist(), features.X, strict=True))
    np.testing.assert_array_equal(rows[110], rows[103])
    # A third copy that comes later is not computed either.
    (collection.images / "120.jpg").write_bytes((collection.images / "103.jpg").read_bytes())
    assert store.embed(backbone).computed == 0
    assert backbone.images == 23


def test_a_replaced_image_costs_one_forward_pass(
    store: FeatureStore, collection: Collection, backbone: CountingBackbone
) -> None:
    store.embed(backbone)
    before = store.features("counting", view="collection")
    (collection.images / "107.jpg").write_bytes(jpeg(70_707))
    report = store.embed(backbone)
    assert (report.computed, report.present) == (1, 23)
    after = store.features("counting", view="collection")
    changed = np.flatnonzero((before.X != after.X).any(axis=1))
    assert after.ids[changed].tolist() == [107]
    assert store.sql("SELECT count(*) AS n FROM embeddings_counting")["n"][0].as_py() == 24


def test_another_preprocessing_is_another_revision(store: FeatureStore, backbone: CountingBackbone) -> None:
    store.embed(backbone)
    signed = CountingBackbone(preprocessing=Preprocessing(16, 16, "signed"))
    assert signed.spec.revision != backbone.spec.revision
    assert store.embed(signed).computed == 24
    assert store.sql("SELECT count(*) AS n FROM embeddings_counting")["n"][0].as_py() == 24, "never mixed in one view"
    assert len(store.sql("SELECT DISTINCT revision FROM embeddings")) == 2
    assert store.embed(backbone).computed == 0, "the old revision is still there"
    assert store.features("counting").revision == backbone.spec.revision


def test_broken_images_do_not_stop_the_rest(store: FeatureStore, collection: Collection) -> None:
    (collection.images / "104.jpg").write_bytes(b"\xff\xd8\xff\xe0 truncated")
    report = store.embed(CountingBackbone())
    assert report.computed == 23
    reasons = store.sql("SELECT reason FROM images WHERE ImgName = '104.jpg'")["reason"].to_pylist()
    assert "can't be decoded" in reasons[0] or "no image format" in reasons[0]


class _Odd(CountingBackbone):
    """Answers wrongly on request."""

    def __init__(self, how: str) -> None:
        super().__init__(name=f"odd_{how}")
        self.how = how

    def embed(self, images):  # type: ignore[no-untyped-def]
        vectors = super().embed(images)
        if self.how == "nan":
            vectors[1, 3] = np.nan
        elif self.how == "zero":
            vectors[1] = 0
        elif self.how == "short":
            vectors = vectors[:, :15]
        elif self.how == "raises":
            raise ZeroDivisionError("by the user")
        return vectors


@pytest.mark.parametrize(("how", "reason"), [("nan", "NaN"), ("zero", "constant")])
def test_unusable_vectors_are_refused_by_name(store: FeatureStore, how: str, reason: str) -> None:
    report = store.embed(_Odd(how), batch_size=24)
    assert list(report.refused) == ["102.jpg"]
    assert reason in report.refused["102.jpg"]
    assert store.features(f"odd_{how}", view="collection").missing == 1


@pytest.mark.parametrize(("how", "sentence"), [("short", "(24, 15)"), ("raises", "ZeroDivisionError: by the user")])
def test_a_wrong_answer_is_an_error_of_the_backbone(store: FeatureStore, how: str, sentence: str) -> None:
    state = store.state.id
    with pytest.raises(BackboneError) as caught:
        store.embed(_Odd(how), batch_size=24)
    assert sentence in str(caught.value)
    assert store.refresh().state.id == state


def test_without_store_or_images_one_sentence(tmp_path: Path, store: FeatureStore, backbone: CountingBackbone) -> None:
    with pytest.raises(StoreNotFound):
        FeatureStore(tmp_path / "none").embed(backbone)
    with pytest.raises(InputError, match="batch size of 0"):
        store.embed(backbone, batch_size=0)
    with pytest.raises(InputError, match="got -1 as the number of workers"):
        embed(store.path, backbone, workers=-1)
