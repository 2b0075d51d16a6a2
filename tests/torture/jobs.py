"""The commands that write to a store, each with the store it starts from: what is killed, starved and locked out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from featurestore import FeatureStore
from torture.bed import BATCH, Bed


@dataclass(frozen=True)
class Job:
    """One command.

    Parameters
    ----------
    master
        Name of the store it starts from, see `Bed`; empty for an empty folder.
    arguments
        The command line, given the bed and the store.
    replaces
        The command drops rows on purpose: then the store must hold all of the old or all of the new.
    done
        The file below the store that says the command has done its work: a snapshot can't be made twice.
    locks
        The command opens the store for writing, and so updates store.duckdb, even if it has nothing to write.
    """

    name: str
    master: str
    arguments: Callable[[Bed, Path], list[str | Path]]
    replaces: bool = False
    done: str = ""
    locks: bool = True

    def make(self, bed: Bed) -> Callable[[FeatureStore], object] | None:
        """Builds the store that the command starts from."""
        return getattr(bed, self.master) if self.master else None

    def store(self, bed: Bed) -> Path:
        """A fresh copy of it."""
        return bed.store(self.master or "empty", self.make(bed))


def _ingest(bed: Bed, root: Path) -> list[str | Path]:
    return ["featurestore", "ingest", "--store", root, "--metadata", bed.metadata, "--images", bed.images]


def _ingest_again(bed: Bed, root: Path) -> list[str | Path]:
    return ["featurestore", "ingest", "--store", root, "--metadata", bed.later, "--images", bed.images]


def _ingest_classes(bed: Bed, root: Path) -> list[str | Path]:
    return ["featurestore", "ingest", "--store", root, "--images", bed.classes]


def _ingest_later_classes(bed: Bed, root: Path) -> list[str | Path]:
    return ["featurestore", "ingest", "--store", root, "--images", bed.classes_later]


def _embed(bed: Bed, root: Path) -> list[str | Path]:
    return ["featurestore", "embed", "--store", root, "--backbone", "counting", "--batch-size", str(BATCH)]


def _import(bed: Bed, root: Path) -> list[str | Path]:
    files = [bed.vectors, "--backbone", "imported", "--ids", bed.vector_ids]
    return ["featurestore", "import-embeddings", "--store", root, *files]


def _bench(bed: Bed, root: Path) -> list[str | Path]:
    heads = [part for head in ("majority", "knn") for part in ("--head", head)]
    options = ["--quick", "--folds", "3", "--workers", "2", "--backbone", "counting", "--json"]
    return ["benchmarks", "run", "--store", root, *heads, *options]


JOBS = [
    Job("ingest, first", "", _ingest),
    Job("ingest, other metadata", "embedded", _ingest_again, replaces=True),
    Job("ingest, first of classes", "", _ingest_classes),
    Job("ingest, other classes", "general", _ingest_later_classes, replaces=True),
    Job("embed", "ingested", _embed),
    Job("import-embeddings", "embedded", _import),
    Job(
        "snapshot create",
        "embedded",
        lambda bed, root: ["featurestore", "snapshot", "create", "--store", root, "kept"],
        done="snapshots/kept.json",
    ),
    Job("compact", "many_parts", lambda bed, root: ["featurestore", "compact", "--store", root]),
    Job("gc", "with_garbage", lambda bed, root: ["featurestore", "gc", "--store", root]),
    Job(
        "forget",
        "forgettable",
        lambda bed, root: ["featurestore", "forget", "--store", root, "3", "17", "--yes"],
        replaces=True,
    ),
    Job("bench", "embedded", _bench, locks=False),
]
