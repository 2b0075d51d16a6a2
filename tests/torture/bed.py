"""What every torture stands on: a small collection, stores made of it, commands run as processes, checks after them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from support import GENRES, CountingBackbone, jpeg, members, movie, write_metadata

from featurestore import FeatureStore
from featurestore import open as open_store
from featurestore.catalog import maintenance
from torture import content as contents
from torture.content import Content

CHILD = Path(__file__).with_name("child.py")
BATCH = 4
# Images of the check of a backbone when it is loaded, which each run does anew.
CHECKED = 5
PUBLISH_ROWS = 8
TIMEOUT = 300.0
# Behind a fault nobody is at work any longer: what it left must go at once.
NO_AGE = timedelta(0)
# What may stand beside the one sentence: progress, and the warning that a disposable file is out of date.
BESIDE = re.compile(
    r"^[\w ]+: [\d,]+ of [\d,]+ |UserWarning: store\.duckdb shows an older state|^\s+renew_shell_file\("
)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    def faults(self, *, failed: bool) -> list[str]:
        """What is wrong with how it ended: a traceback, an exit code that lies, a failure without one sentence."""
        found = []
        if "Traceback" in self.err:
            found.append(f"a traceback: {self.err.strip().splitlines()[-1]}")
        if (self.code != 0) != failed:
            found.append(f"exit code {self.code}, expected {'another than 0' if failed else '0'}: {self.err.strip()}")
        told = [line for line in self.err.splitlines() if not BESIDE.search(line)]
        if failed and not found and (len(told) != 1 or not told[0].startswith(("featurestore: ", "benchmarks: "))):
            found.append(f"no single sentence: {self.err.strip()!r}")
        return found


@dataclass
class Bed:
    """Input files that stay, and stores that are copied from masters for every moment.

    Parameters
    ----------
    folder
        Everything lies below it.
    """

    folder: Path
    masters: dict[str, Path] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        self.images = self.folder / "posters"
        self.images.mkdir(parents=True)
        self.ids = list(range(101, 125))
        for img_id in self.ids:
            (self.images / f"{img_id}.jpg").write_bytes(jpeg(img_id))
        # Two names for the same bytes.
        shutil.copyfile(self.images / "101.jpg", self.images / "124.jpg")
        rows = [movie(img_id, GENRES[i % 3]) for i, img_id in enumerate(self.ids)]
        self.metadata = write_metadata(self.folder / "MovieGenre.csv", rows)
        self.later = write_metadata(self.folder / "Later.csv", [*rows[2:], movie(901), movie(902, "Horror")])
        rng = np.random.default_rng(5)
        self.vectors, self.vector_ids = self.folder / "vectors.npy", self.folder / "ids.npy"
        np.save(self.vectors, rng.normal(size=(30, 8)).astype(np.float32))
        np.save(self.vector_ids, np.arange(110, 140))
        self.classes, self.classes_later = self.folder / "classes", self.folder / "classes-later"
        for img_id in self.ids:
            self._classify(self.classes, f"{'abc'[img_id % 3]}/{img_id}", img_id)
            # Of those that come later some are new, some are renamed, and some are gone.
            self._classify(self.classes_later, f"{'abc'[img_id % 3]}/{img_id + img_id % 2}x", img_id + img_id % 5 // 4)
        (self.folder / "tmp").mkdir()

    def _classify(self, folder: Path, name: str, seed: int) -> None:
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed))

    def store(self, name: str, make: Callable[[FeatureStore], object] | None = None) -> Path:
        """A fresh copy of the master ``name``, which ``make`` builds on first use; without it, an empty folder."""
        with self.lock:
            if name not in self.masters:
                master = self.folder / "masters" / name
                master.mkdir(parents=True)
                if make:
                    make(FeatureStore(master))
                self.masters[name] = master
        copy = Path(unique(self.folder / "stores", name))
        shutil.copytree(self.masters[name], copy, copy_function=shutil.copy2)
        return copy

    def run(
        self,
        arguments: Sequence[str | Path],
        *,
        passes: Path | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> Done:
        """Run a command to its end."""
        with self.start(arguments, passes=passes, environment=environment, prefix=prefix) as process:
            out, err = process.communicate(timeout=TIMEOUT)
        return Done(process.returncode, out, err)

    def start(
        self,
        arguments: Sequence[str | Path],
        *,
        passes: Path | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> "subprocess.Popen[str]":
        """Start a command in a session, so a process group, of its own."""
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"} | {
            "TORTURE_PASSES": str(passes or self.folder / "passes"),
            "TORTURE_PUBLISH_ROWS": str(PUBLISH_ROWS),
            "TORTURE_FLUSH_SECONDS": "0",
            "TMPDIR": str(self.folder / "tmp"),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [*prefix, sys.executable, str(CHILD), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=variables | dict(environment or {}),
        )

    def ingested(self, store: FeatureStore) -> None:
        """Builds a store with metadata and images."""
        store.ingest(metadata=self.metadata, images=self.images)

    def embedded(self, store: FeatureStore) -> None:
        """Builds a store with embeddings of `counting` and of `other`, and a table of the user's."""
        self.ingested(store)
        store.embed(CountingBackbone())
        store.embed(CountingBackbone(name="other", weights="blocks-2"))
        store.append({"notes": pa.table({"step": [0]})})

    def general(self, store: FeatureStore) -> None:
        """Builds a store of a folder for each class, with embeddings."""
        store.ingest(images=self.classes)
        store.embed(CountingBackbone())

    def forgettable(self, store: FeatureStore) -> None:
        """Builds a store with an image in many tables, and in files that nothing refers to."""
        self.general(store)
        store.correct_labels([3, 4], "c")
        for _ in range(2):
            store.append({"notes": pa.table({"ImgId": list(range(24)), "note": [f"n{n}" for n in range(24)]})})
        store.compact()

    def many_parts(self, store: FeatureStore) -> None:
        """Builds a store with small parts, a snapshot, a later state, and garbage."""
        self.embedded(store)
        for step in range(6):
            store.append({"notes": pa.table({"step": [step]}), "marks": pa.table({"step": [step], "mark": ["x"]})})
        store.create_snapshot("early")
        store.import_embeddings(self.vectors, backbone="imported", ids=self.vector_ids)
        for step in range(36):
            store.append({"notes": pa.table({"step": [100 + step]})})

    def with_garbage(self, store: FeatureStore) -> None:
        """Builds a store in which there is much to remove."""
        from featurestore.catalog import snapshots

        self.many_parts(store)
        maintenance.compact(store.path)
        snapshots.remove(store.path, "early")
        for path in store.path.rglob("*"):  # `gc` leaves what was written within a day
            os.utime(path, (time.time() - 2 * 86_400,) * 2)


def unique(folder: Path, name: str) -> Path:
    """A path below ``folder`` that nobody has had before."""
    folder.mkdir(parents=True, exist_ok=True)
    unique.count += 1  # type: ignore[attr-defined]
    return folder / f"{name}-{unique.count}"  # type: ignore[attr-defined]


unique.count = 0  # type: ignore[attr-defined]


def faults_of(root: Path) -> list[str]:
    """What is wrong with a store that something happened to: it must open, be sound, and answer."""
    found = [f"damaged: {reason}" for reason in maintenance.verify(root).damaged.values()]
    with open_store(root) as store:
        store.query(f"SELECT count(*) FROM {store.recipe.table}, images").to_pylist()
        for name in store.state.revisions:
            features = store.features(name, view="collection")
            if len(features) + features.missing != len(store.query("SELECT ImgId FROM collection")):
                found.append(f"{name}: rows are neither there nor counted as missing")
    return found


def shell_faults(root: Path) -> list[str]:
    """Whether ``store.duckdb``, which the DuckDB shell opens, shows the current state."""
    try:
        return _shell_faults(root)
    except duckdb.Error as error:
        return [f"store.duckdb can't be used: {error}"]


def _shell_faults(root: Path) -> list[str]:
    with duckdb.connect(str(root / "store.duckdb"), read_only=True) as shell:
        shell.execute(f"SET file_search_path = '{root}'")
        listed = {row[0] for row in shell.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
        with open_store(root) as store:
            tables = [*store.layout.tables, *(f"embeddings_{name}" for name in store.state.revisions)]
            if not set(tables) <= listed:
                return [f"store.duckdb lacks {', '.join(sorted(set(tables) - listed))}"]
            for table in tables:
                count = shell.execute(f'SELECT count(*) FROM "{table}"').fetchall()[0][0]
                expected = store.query(f'SELECT count(*) AS n FROM "{table}"')["n"][0].as_py()
                if count != expected:
                    return [f"store.duckdb shows {count} rows of {table}, the store {expected}"]
    return []


def tidy_faults(root: Path) -> list[str]:
    """What is left over behind a `gc`, and whether it changed any content."""
    before = contents.whole(root)
    maintenance.gc(root, older_than=NO_AGE)
    found = [f"left behind gc: {name}" for name in contents.strays(root)]
    if contents.whole(root) != before:
        found.append("gc changed the content")
    return found + shell_faults(root)


def passes(path: Path) -> int:
    """Images that went through the counting backbone."""
    return sum(map(int, path.read_text().split())) if path.is_file() else 0


def group_is_gone(session: int, *, seconds: float) -> bool:
    """Whether no process of the session is left after at most ``seconds``; those that are left are killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not members(session):
            return True
        time.sleep(0.05)
    for process in members(session):
        os.kill(process, signal.SIGKILL)
    return False


def compared(before: Content, now: Content) -> str:
    """In words, the first table in which two contents differ; empty when they don't."""
    for table in sorted({*before, *now}):
        first, second = before.get(table), now.get(table)
        if first != second:
            count = [0 if rows is None else rows.total() for rows in (first, second)]
            return f"{table} has {count[1]} rows, expected {count[0]}" if count[0] != count[1] else f"{table} differs"
    return ""
