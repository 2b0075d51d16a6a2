"""What must hold of a store, a bundle and a model whose files were edited: right answers, or one sentence."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from featurestore import Features, FeatureStore, open_bundle
from featurestore.errors import FeatureStoreError
from fuzz.oracles import Scratch, files_of, sentence
from fuzz.record_edits import SEALS, Edit, apply

# Seconds of the processor that one action may take.
SECONDS = 30.0
NOW = timedelta(0)
# What these answer names the damage, or they warn of it, instead of failing.
TELL_DAMAGE = frozenset({"failing", "info", "schema", "snapshots", "verify"})
Action = Callable[[FeatureStore], object]
READS: dict[str, Action] = {
    "movies": lambda store: store.sql("FROM movies ORDER BY ALL"),
    "images": lambda store: store.sql("SELECT * EXCLUDE (source) FROM images ORDER BY ALL"),
    "notes": lambda store: store.sql("FROM notes"),
    "labels": lambda store: store.sql("FROM labeled ORDER BY ALL"),
    "vectors": lambda store: store.sql("FROM embeddings_counting ORDER BY ALL"),
    "all vectors": lambda store: store.query("SELECT * EXCLUDE (part) FROM embeddings ORDER BY ALL"),
    "mine": lambda store: store.sql("FROM mine ORDER BY ALL"),
    "views": lambda store: store.sql("SHOW TABLES"),
    "failing": lambda store: store.failing_views,
    "backbones": lambda store: store.backbones(),
    "schema": lambda store: store.schema(),
    "features": lambda store: of_features(store.features("counting", label="Genre1")),
    "both": lambda store: of_features(store.features(["counting", "second"], view="collection")),
    "similar": lambda store: store.similar(102, backbone="counting", k=3).ids.tolist(),
    "lineage": lambda store: [vector["part"] for vector in store.lineage(103)["embeddings"]],
    "quality": lambda store: store.quality(),
    "snapshot": lambda store: FeatureStore(store.path, snapshot="kept").sql("FROM notes"),
    "snapshots": lambda store: [info.name for info in store.snapshots()],
    "diff": lambda store: store.diff_snapshots("kept"),
    "corrections": lambda store: store.sql('SELECT ImgId, "column", "to" FROM corrections ORDER BY ALL'),
    "parts": lambda store: len(store.parts("counting")),
    "info": lambda store: sorted(store.info()),
    "verify": lambda store: len(store.verify().damaged),
}
WRITES: dict[str, Action] = {
    "append": lambda store: store.append({"notes": pa.table({"x": [3]})}),
    "repair": lambda store: store.repair(),
    "compact": lambda store: store.compact(),
    "gc": lambda store: store.gc(older_than=NOW),
    "view": lambda store: store.create_view("new", "SELECT ImgId FROM collection"),
    "remove view": lambda store: store.remove_view("mine"),
    "create snapshot": lambda store: store.create_snapshot("new"),
    "remove snapshot": lambda store: store.remove_snapshot("kept"),
    "publish": lambda store: store.publish(store.path.parent / "shard"),
}


class TooLong(BaseException):
    """An action took longer than it may; nothing catches it."""


class Edited:
    """A store, a bundle and a model in memory; each input edits a fresh copy of one of them, and uses it."""

    def __init__(self, build: Callable[[Path], None], model: Any) -> None:
        self._scratch = Scratch()
        self._root = self._scratch.path
        self._whole, self._work = self._root / "whole", self._root / "work"
        self._whole.mkdir()
        build(self._whole)
        self._model = model
        os.chdir(self._root)
        signal.signal(signal.SIGPROF, _too_long)
        self._answers = {name: self._answer(self._whole / "store", action) for name, action in READS.items()}
        self._bundle = of_features(open_bundle(self._whole / "bundle"))
        self._probabilities = self._predicted(self._whole / "model")
        self._before = files_of(self._root)

    def run(self, what: str, found: list[Edit], reads: list[str], write: str | None) -> None:
        """Edit ``what`` (store, shard, bundle or model) and use it; ``reads`` and ``write`` are names of actions."""
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._whole, self._work)
        shown = f"after {found!r}"[:2000]
        sealed = apply(self._work / what, found, SEALS[what])
        if what == "bundle":
            self._use_bundle(sealed, shown)
        elif what == "model":
            self._use_model(sealed, shown)
        else:
            self._use_store(reads, "publish" if what == "shard" else write, sealed, shown)
        shutil.rmtree(self._work)
        assert files_of(self._root) == self._before, f"files outside changed {shown}"

    def _use_store(self, reads: list[str], write: str | None, sealed: bool, shown: str) -> None:
        path = self._work / "store"
        for name in reads:
            answer = self._answer(path, READS[name])
            if not sealed and answer is not None and name not in TELL_DAMAGE:
                assert answer == self._answers[name], (
                    f"{name} is {answer[:500]}, not {self._answers[name][:500]} {shown}"
                )
        if write is None:
            return
        parts = self._parts()
        done = self._answer(path, WRITES[write])
        if not sealed and write != "compact":  # its parts are in others now, which `gc` would have to know
            assert self._parts() >= parts, f"{write} removed {parts - self._parts()} {shown}: {done}"

    def _parts(self) -> set[str]:
        """The files of vectors and metadata that the clean state needs."""
        store = self._work / "store"
        return {str(path) for path in [*store.glob("*/part-*.parquet"), *store.glob("embeddings/*/*/part-*.parquet")]}

    def _use_bundle(self, sealed: bool, shown: str) -> None:
        found = _told(lambda: of_features(open_bundle(self._work / "bundle")))
        if not sealed and found is not None:
            assert found == self._bundle, f"the bundle is another {shown}"

    def _use_model(self, sealed: bool, shown: str) -> None:
        found = self._predicted(self._work / "model")
        if not sealed and found is not None:
            assert found == self._probabilities, f"the model says something else {shown}"

    def _predicted(self, folder: Path) -> object:
        X = np.linspace(0, 1, 10 * self._model.DIM, dtype=np.float32).reshape(10, -1)

        def predict() -> object:
            proba = self._model.load(folder).predict_proba(X)
            assert np.isfinite(proba).all()
            assert (abs(proba.sum(axis=1) - 1) < 1e-3).all()
            return proba.round(5).tolist()

        return _told(predict)

    def _answer(self, path: Path, action: Action) -> str | None:
        """The answer of a freshly opened store as text; None where it failed in words."""

        def ask() -> object:
            with FeatureStore(path) as store:
                found = action(store)
                return found.to_pylist() if isinstance(found, pa.Table) else found

        found = _told(ask)
        return None if found is None else repr(found)


def of_features(found: Features) -> object:
    """All that features hold."""
    assert len(found.ids) == len(found.X) == len(found.table) == len(found.groups)
    return found.ids.tolist(), found.X.tolist(), found.table.to_pylist(), found.groups.tolist(), found.about


def _told(action: Callable[[], object]) -> object:
    """What an action gives, within its limits; None where it failed in one sentence."""
    try:
        with _limited():
            return action()
    except FeatureStoreError as error:
        sentence(error)
        return None


@contextmanager
def _limited() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _too_long(number: int, frame: object) -> None:
    raise TooLong(f"more than {SECONDS:g} s of the processor")
