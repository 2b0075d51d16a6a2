"""The corpus of bad input: what each kind is, what must come of it, and the check that it does.

A kind is made by code, given to a command on a store of its own, and must end in one of three ways: taken with an exact
result, taken with the file quarantined for a reason, or refused in one sentence with nothing changed.
"""

import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from support import CountingBackbone, jpeg, movie, write_metadata

from featurestore import FeatureStore
from featurestore.catalog import maintenance
from torture.context import Context
from torture.launch import Done, as_process
from torture.table import Row

GENRES = ("Drama", "Comedy|Romance", "Crime|Drama", "Adventure|Family", "Drama", "Comedy")
IDS = tuple(range(101, 107))
# What a command may write though it is refused: it can be deleted at any time.
DISPOSABLE = ("store/cache/", "store/.lock")
# Ids that have metadata, so that an image of them is in the collection.
SPARE = (7, 777, 778)


@dataclass(frozen=True)
class Accepted:
    """It is taken: ``query`` then gives exactly ``rows``, and ``printed``, a pattern, is on the screen."""

    query: str = ""
    rows: Sequence[tuple[object, ...]] = ()
    printed: str = ""


@dataclass(frozen=True)
class Quarantined:
    """The rest is taken, and the file is kept out for a reason that matches ``reason``."""

    reason: str
    name: str = "777.jpg"


@dataclass(frozen=True)
class Refused:
    """Nothing is taken: one sentence that matches ``sentence``, and an exit code that is not 0."""

    sentence: str
    code: int = 1


@dataclass
class Work:
    """The place of one kind: a store of its own, a folder of good posters, and room for what is wrong."""

    folder: Path

    @property
    def store(self) -> Path:
        """A store with six posters, their metadata and the backbone `counting`."""
        return self.folder / "store"

    @property
    def images(self) -> Path:
        """The folder of the posters in the store."""
        return self.folder / "posters"

    @property
    def metadata(self) -> Path:
        """The metadata in the store."""
        return self.folder / "MovieGenre.csv"

    @property
    def out(self) -> Path:
        """Where a command may write; nothing is there before, and nothing after a refusal."""
        return self.folder / "out"

    def ingest(self, *, metadata: Path | None = None, images: Path | None = None) -> list[str]:
        """The command that reads both."""
        return [
            "featurestore",
            "ingest",
            "--metadata",
            str(metadata or self.metadata),
            "--images",
            str(images or self.images),
        ]


@dataclass(frozen=True)
class Kind:
    """One kind of bad input.

    Parameters
    ----------
    make
        Makes it below the folder of a `Work` and returns the command that is given it; ``--store`` is added.
    needs
        A reason why this machine can't try it; empty where it can.
    """

    family: str
    name: str
    make: Callable[[Work], list[str]]
    expect: Accepted | Quarantined | Refused
    needs: str = ""


@dataclass
class Bed:
    """Makes the places of the kinds: a master is built once and copied."""

    folder: Path
    run: Callable[[Sequence[str]], Done]
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.master = self.folder / "master"
        self.master.mkdir(parents=True)
        build(self.master)

    def work(self) -> Work:
        """A place of its own."""
        folder = self.folder / f"kind-{next(self.numbers)}"
        shutil.copytree(self.master, folder)
        return Work(folder)


def build(folder: Path) -> None:
    """The posters, their metadata and the store of `Work`."""
    (folder / "posters").mkdir()
    for img_id in IDS:
        (folder / "posters" / f"{img_id}.jpg").write_bytes(jpeg(img_id))
    rows = [movie(img_id, genre) for img_id, genre in zip(IDS, GENRES, strict=True)]
    rows += [movie(img_id, "Drama") for img_id in SPARE]
    write_metadata(folder / "MovieGenre.csv", rows)
    store = FeatureStore(folder / "store")
    store.ingest(metadata=folder / "MovieGenre.csv", images=folder / "posters")
    store.embed(CountingBackbone())
    store.close()


def faults(kind: Kind, bed: Bed) -> list[str]:
    """What is wrong with how ``kind`` ended, a sentence each; empty where all is well."""
    work = bed.work()
    try:
        command = kind.make(work)
        before = _files(work.folder)
        done = bed.run([*command, *(["--store", str(work.store)] if _takes_store(command) else [])])
        return [f"{kind.family} {kind.name}: {fault}" for fault in _judge(kind.expect, work, done, before)]
    finally:
        shutil.rmtree(work.folder)


def _takes_store(command: Sequence[str]) -> bool:
    return "--store" not in command and command[1] not in ("predict", "backbones", "sample", "heads")


def _judge(expect: Accepted | Quarantined | Refused, work: Work, done: Done, before: dict[str, str]) -> Iterable[str]:
    if "Traceback" in done.out + done.err:
        yield f"a traceback: {done.err.strip().splitlines()[-1]}"
    after = _files(work.folder)
    stray = sorted(name for name in after if name.endswith(".tmp"))
    if stray:
        yield f"half-written files are left: {stray}"
    if isinstance(expect, Refused):
        if done.code != expect.code:
            yield f"exit code {done.code}, expected {expect.code}: {(done.out + done.err).strip()}"
        if not re.search(expect.sentence, done.err):
            yield f"the sentence {done.err.strip()!r} does not match {expect.sentence!r}"
        told = done.err.strip().splitlines()
        # A wrong option is click's to tell, in three lines; all else is one.
        if expect.code == 1 and len(told) != 1:
            yield f"{len(told)} lines on stderr, expected one: {done.err!r}"
        # Not a byte of the store or beside it: it is the state it was, opens, and is sound.
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if any(not name.startswith(DISPOSABLE) for name in changed):
            yield f"files changed: {changed}"
        return
    if done.code:
        yield f"exit code {done.code}, expected 0: {done.err.strip()}"
        return
    damaged = maintenance.verify(work.store).damaged
    if damaged:
        yield f"the store is damaged: {damaged}"
    # Vectors are immutable parts: each is still there, whatever came beside it.
    lost = [name for name in before if "/embeddings/" in name and before[name] != after.get(name)]
    if lost:
        yield f"vectors were lost: {lost}"
    yield from _result(expect, work, done)


def _result(expect: Accepted | Quarantined, work: Work, done: Done) -> Iterable[str]:
    with FeatureStore(work.store) as store:
        if isinstance(expect, Quarantined):
            rows = store.sql("SELECT ImgName, reason FROM images WHERE status = 'broken'").to_pylist()
            names = [row["ImgName"] for row in rows]
            if names != [expect.name] or not re.search(expect.reason, rows[0]["reason"]):
                yield f"quarantined are {rows}, expected {expect.name!r} for {expect.reason!r}"
            usable = store.sql("SELECT ImgId FROM images WHERE status = 'ok' ORDER BY ImgId")["ImgId"].to_pylist()
            if not set(IDS) <= set(usable):
                yield f"usable are {usable} only"
        elif expect.query:
            found = [tuple(row.values()) for row in store.sql(expect.query).to_pylist()]
            if found != list(expect.rows):
                yield f"{expect.query} gives {found}, expected {list(expect.rows)}"
    if isinstance(expect, Accepted) and not re.search(expect.printed, done.out):
        yield f"printed was {done.out!r}, expected {expect.printed!r}"


def _files(folder: Path) -> dict[str, str]:
    """Every file below ``folder`` with its digest, every folder and link with what it is."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = os.path.join(parent, name)
            key = os.fsencode(os.path.relpath(path, folder)).decode("utf-8", "backslashreplace")
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 30:
                found[key] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            else:
                found[key] = f"{stat.S_IFMT(status.st_mode)} {status.st_size if name in names else ''}"
    return found


def corpus() -> list[Kind]:
    """Every kind, by family."""
    from torture.kinds import images, metadata, models, values, vectors, views

    return [kind for module in (images, metadata, vectors, views, models, values) for kind in module.KINDS]


def run(context: Context) -> Iterator[Row]:
    """The job of `make torture`: every kind as a process of its own, as many at a time as there are cores."""
    bed = Bed(context.scratch / "inputs", as_process)
    by_family: dict[str, list[Kind]] = {}
    for kind in corpus():
        by_family.setdefault(kind.family, []).append(kind)
    for family, kinds in by_family.items():
        started = time.monotonic()
        tried = [kind for kind in kinds if not kind.needs][:: context.size(1, 10)]
        found = [fault for some in context.each(partial(faults, bed=bed), tried) for fault in some]
        left = [f"{kind.name}: {kind.needs}" for kind in kinds if kind.needs]
        note = f"not tried: {'; '.join(left)}" if left else ""
        yield Row("inputs", f"bad {family}", len(tried), found, time.monotonic() - started, note)


def noise(rows: int, columns: int) -> np.ndarray:
    """Vectors that can be stored, the same each time."""
    return np.random.default_rng(rows).normal(size=(rows, columns)).astype(np.float32)
