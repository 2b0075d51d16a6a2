"""While one `embed` computes, others write; two backbones at once; a revision is computed once and shown when whole."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import Collection, CountingBackbone, jpeg

from featurestore import FeatureStore
from featurestore.backbones.base import Preprocessing
from featurestore.backbones.custom import from_callable
from featurestore.catalog import maintenance
from featurestore.catalog.writer import open_writer
from featurestore.commands.texts import summary_text
from featurestore.embedding import compute
from featurestore.embedding.embed import embed
from featurestore.errors import FeatureStoreError, StoreLocked
from featurestore.explore.inventory import list_backbones
from featurestore.explore.summary import describe

SIGNED = Preprocessing(16, 16, "signed")


def during(act: Callable[[], object], *, at_batch: int = 2, **backbone: object) -> CountingBackbone:
    """A backbone in whose batch ``at_batch`` something else happens."""
    made = CountingBackbone(**backbone)  # type: ignore[arg-type]
    made.before_batch = lambda batch: act() if batch == at_batch else None  # type: ignore[assignment,return-value]
    return made


def vectors(store: FeatureStore, name: str = "counting") -> list[tuple[int, str, list[float]]]:
    rows = store.refresh().query(f"SELECT ImgId, content_hash, embedding FROM embeddings WHERE backbone = '{name}'")
    return sorted(zip(*(rows[column].to_pylist() for column in rows.column_names), strict=True))


def test_append_and_gc_and_another_backbone_while_one_computes(store: FeatureStore) -> None:
    other = FeatureStore(store.path)

    def act() -> None:
        other.append({"notes": pa.table({"x": [1]})}, wait_seconds=0)
        assert other.embed(CountingBackbone(name="other"), batch_size=4).computed == 24
        maintenance.gc(store.path, older_than=timedelta(0))
        maintenance.compact(store.path)

    assert store.embed(during(act), batch_size=4).computed == 24
    assert [row[::2] for row in vectors(store)] == [row[::2] for row in vectors(store, "other")]
    assert store.sql("SELECT x FROM notes")["x"].to_pylist() == [1]
    assert not (store.path / "staging").exists()
    assert maintenance.verify(store.path).damaged == {}


def test_a_second_run_of_a_revision_is_told_who_computes_it(store: FeatureStore) -> None:
    told: list[str] = []

    def act() -> None:
        with pytest.raises(StoreLocked) as caught:
            FeatureStore(store.path).embed(CountingBackbone())
        told.append(str(caught.value))
        assert FeatureStore(store.path).embed(CountingBackbone(preprocessing=SIGNED)).computed == 24

    backbone = during(act)
    assert store.embed(backbone, batch_size=4).computed == 24
    assert told[0].startswith(
        f"revision {backbone.spec.revision} of 'counting' is being computed by process {os.getpid()} on "
    )
    assert "(embed counting, since " in told[0]
    assert "use --wait" in told[0]


def test_a_second_run_of_a_revision_can_wait(store: FeatureStore) -> None:
    reports = []

    def second() -> None:
        reports.append(embed(store.path, CountingBackbone(), wait_seconds=60))

    thread = threading.Thread(target=second)

    def act() -> None:
        thread.start()
        time.sleep(0.5)

    assert store.embed(during(act), batch_size=4).computed == 24
    thread.join()
    assert (reports[0].computed, reports[0].present) == (0, 24)


def test_a_publication_waits_for_another_writer(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a run it is put off; nothing is computed twice, nothing is lost."""
    monkeypatch.setattr(compute, "SHARD_VECTORS", 4)
    held = open_writer(store.path, purpose="ingest")
    seen: list[int] = []

    def act(batch: int) -> None:
        if batch == 2:  # the first batch is published after the second forward pass
            held.__enter__()
        elif batch == 4:
            seen.extend(FeatureStore(store.path).sql("SELECT ImgId FROM embeddings_counting")["ImgId"].to_pylist())
            held.__exit__(None, None, None)

    backbone = CountingBackbone()
    backbone.before_batch = act
    assert store.embed(backbone, batch_size=4).computed == 24
    assert len(seen) == 4
    assert len(vectors(store)) == 24


def test_a_view_shows_the_old_revision_until_the_new_one_is_whole(store: FeatureStore) -> None:
    old = CountingBackbone()
    store.embed(old)
    before = store.features("counting", view="collection").X.tobytes()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.embed(during(interrupt, at_batch=3, preprocessing=SIGNED), batch_size=4)
    assert store.state.revisions == {"counting": old.spec.revision}
    assert store.features("counting", view="collection").X.tobytes() == before
    new = CountingBackbone(preprocessing=SIGNED)
    (info,) = list_backbones(store)
    assert info.unfinished == {new.spec.revision: 12}
    assert f"revision {new.spec.revision} has 12 of 24 images" in summary_text(describe(store))
    report = store.embed(new, batch_size=4)
    assert (report.present, report.computed, report.replaced) == (12, 12, old.spec.revision)
    assert store.state.revisions == {"counting": new.spec.revision}
    assert list_backbones(store)[0].unfinished == {}


def test_a_first_revision_is_shown_as_it_grows(store: FeatureStore) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.embed(during(interrupt, at_batch=3), batch_size=4)
    assert len(store.sql("FROM embeddings_counting")) == 12


def test_refused_images_hold_no_revision_up(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    new = CountingBackbone(preprocessing=SIGNED)

    def damage(done: int, total: int) -> None:
        if done == 0:  # planned, and not one image read
            (collection.images / "124.jpg").write_bytes(b"damaged")

    report = store.embed(new, batch_size=4, on_progress=damage)
    assert list(report.refused) == ["124.jpg"]
    assert store.state.revisions == {"counting": new.spec.revision}


def test_images_that_change_while_it_computes_are_planned_once_more(
    store: FeatureStore, collection: Collection
) -> None:
    def act() -> None:
        (collection.images / "101.jpg").unlink()
        (collection.images / "124.jpg").write_bytes(jpeg(4711))
        (collection.images / "125.jpg").write_bytes(jpeg(4712))
        FeatureStore(store.path).ingest(metadata=collection.metadata, images=collection.images)

    old, new = CountingBackbone(), during(act, preprocessing=SIGNED)
    store.embed(old)
    report = store.embed(new, batch_size=4)
    assert store.state.revisions == {"counting": new.spec.revision}
    shown = store.sql("SELECT ImgId FROM embeddings_counting ORDER BY ImgId")["ImgId"].to_pylist()
    assert shown == list(range(102, 126))
    assert report.computed >= 25, "that of the image that is gone is stored, and hidden"
    assert 101 in {row[0] for row in vectors(store)}
    assert store.embed(CountingBackbone(preprocessing=SIGNED)).computed == 0


def test_a_vector_does_not_depend_on_its_neighbours(store: FeatureStore, collection: Collection) -> None:
    shapes: set[tuple[int, ...]] = set()

    def corners(images: np.ndarray) -> np.ndarray:
        shapes.add(images.shape)
        return images[:, 0, 0]

    (collection.images / "103.jpg").write_bytes(b"no image")
    backbone = from_callable(corners, name="corners", revision="1", embed_dim=3, preprocessing=Preprocessing(8, 8))
    assert store.embed(backbone, batch_size=7).computed == 23
    assert shapes == {(2, 8, 8, 3), (7, 8, 8, 3)}, "the check of the function, then passes of one shape"


COMPUTES = """
import sys, time
sys.path.insert(0, {helpers!r})
from support import CountingBackbone
from featurestore import FeatureStore
from featurestore.embedding import compute
compute.SHARD_VECTORS = 8
backbone = CountingBackbone(name=sys.argv[2])
backbone.before_batch = lambda batch: time.sleep(0.05)
FeatureStore(sys.argv[1]).embed(backbone, batch_size=4)
"""


def start(root: Path, name: str) -> "subprocess.Popen[str]":
    script = COMPUTES.format(helpers=str(Path(__file__).parents[1] / "helpers"))
    return subprocess.Popen([sys.executable, "-c", script, str(root), name], stderr=subprocess.PIPE, text=True)


def killed_at_random(store: FeatureStore, names: list[str], numbers: random.Random, *, kills: int) -> None:
    """Kill running embeds again and again, and append meanwhile; then let them end."""
    for _ in range(kills):
        running = [start(store.path, name) for name in names]
        end = time.monotonic() + numbers.uniform(0.3, 2.5)
        while time.monotonic() < end:
            store.append({"notes": pa.table({"x": [1]})})
            time.sleep(0.05)
        for process in running:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    for process in [start(store.path, name) for name in names]:
        assert process.communicate(timeout=240)[1] == ""
        assert process.returncode == 0


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_killed_runs_end_in_the_rows_of_an_undisturbed_one(store: FeatureStore, seed: int) -> None:
    copy = store.path.with_name("undisturbed")
    shutil.copytree(store.path, copy)
    undisturbed, names = FeatureStore(copy), ["one", "two"]
    for name in names:
        undisturbed.embed(CountingBackbone(name=name), batch_size=4)
    killed_at_random(store, names, random.Random(seed), kills=4 if seed == 1 else 12)
    for name in names:
        assert vectors(store, name) == vectors(undisturbed, name)
        features = store.features(name, view="collection")
        assert features.X.tobytes() == undisturbed.features(name, view="collection").X.tobytes()
    assert not (store.path / "staging").exists()
    assert maintenance.verify(store.path).damaged == {}


def test_an_error_while_another_writes_leaves_what_was_computed_to_the_next_run(store: FeatureStore) -> None:
    def fail() -> None:
        held.__enter__()
        raise ZeroDivisionError

    held = open_writer(store.path)
    with pytest.raises(FeatureStoreError, match="ZeroDivisionError"):
        store.embed(during(fail, at_batch=3), batch_size=4)
    held.__exit__(None, None, None)
    assert not store.refresh().state.revisions
    assert store.embed(CountingBackbone(), batch_size=4).reused == 12
