"""One file of the store deleted, cut or one bit changed: named by `verify`, one sentence on use, the rest readable."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support import manifest_of

from featurestore import FeatureStore
from torture import bed as beds
from torture.bed import Bed, Done
from torture.context import Context
from torture.table import Row


def deleted(path: Path) -> None:
    """No file."""
    path.unlink()


def emptied(path: Path) -> None:
    """A file without bytes."""
    path.write_bytes(b"")


def cut(path: Path) -> None:
    """The last third is missing."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def flipped(place: float) -> Callable[[Path], None]:
    """One bit changed at this share of the file."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[min(int(len(content) * place), len(content) - 1)] ^= 0x10
        path.write_bytes(content)

    return flip


DAMAGES: dict[str, Callable[[Path], None]] = {
    "deleted": deleted,
    "emptied": emptied,
    "truncated": cut,
    "one bit flipped, early": flipped(0.05),
    "one bit flipped, at a quarter": flipped(0.25),
    "one bit flipped, in the middle": flipped(0.5),
    "one bit flipped, at three quarters": flipped(0.75),
    "one bit flipped, in the footer": flipped(0.97),
}
# What reads each table, and what does not touch it and so must answer.
USES: dict[str, list[list[str]]] = {
    "movies": [["sql", "SELECT md5(string_agg(Title || Genre, ',' ORDER BY imdbId)) FROM movies"]],
    "images": [
        ["sql", "SELECT md5(string_agg(content_hash, ',' ORDER BY ImgName)), max(phash), sum(width) FROM images"],
        ["quality"],
    ],
    "backbones": [["sql", "SELECT preprocessing FROM backbones"], ["info"]],
    "extractions": [["lineage", "110"]],
    "counting": [
        ["sql", "SELECT round(sum(list_sum(embedding)), 4) FROM embeddings_counting"],
        ["similar", "--backbone", "counting", "--id", "110"],
        ["export", "--backbone", "counting", "--view", "collection", "--format", "npy", "-o", "OUT"],
    ],
    "notes": [["sql", "SELECT sum(step) FROM notes"]],
    "bench_cells": [["sql", "SELECT md5(string_agg(head || split_hash, ',' ORDER BY cell)) FROM bench_cells"]],
    "bench_predictions": [["sql", "SELECT round(sum(list_sum(proba)), 6) FROM bench_predictions"]],
    "bench_scores": [["sql", "SELECT avg(score) FROM bench_scores"]],
    "bench_runs": [["sql", "SELECT max(seed) FROM bench_runs"]],
    "bench_run_details": [["sql", "SELECT max(n_rare) FROM bench_run_details"]],
}
OTHERS: dict[str, list[list[str]]] = {
    "movies": [["sql", "SELECT count(*) FROM images"], ["sql", "SELECT count(*) FROM embeddings_other"]],
    "images": [["sql", "SELECT count(*) FROM movies"]],
    "backbones": [["sql", "SELECT count(*) FROM movies"]],
    "extractions": [["sql", "SELECT count(*) FROM labeled_other"], ["similar", "--backbone", "other", "--id", "110"]],
    "counting": [
        ["sql", "SELECT round(sum(list_sum(embedding)), 4) FROM embeddings_other"],
        ["similar", "--backbone", "other", "--id", "110"],
        ["export", "--backbone", "other", "--view", "collection", "--format", "npy", "-o", "OUT"],
        ["sql", "SELECT count(*) FROM movies"],
    ],
}
REST = [["sql", "SELECT count(*) FROM labeled"], ["similar", "--backbone", "counting", "--id", "110"]]
SNAPSHOT = "a snapshot"


def run(context: Context) -> Iterator[Row]:
    """A row a table and one a kind of file that is no part, as they end."""
    bed = context.bed("damage")
    tables = ["counting", "notes"] if context.quick else list(USES)
    kinds = ["one bit flipped, early"] if context.quick else list(DAMAGES)
    yield from (_table(context, bed, table, kinds) for table in tables)
    yield from _records(context, bed, kinds)


def _master(bed: Bed) -> Callable[[FeatureStore], object]:
    def make(store: FeatureStore) -> None:
        from benchmarks.heads.registry import find
        from benchmarks.plan.protocols import Protocol
        from benchmarks.run.limits import Limits
        from benchmarks.run.runner import run as bench

        bed.embedded(store)
        store.create_snapshot("kept")
        protocol = Protocol("cv", folds=3, repeats=1)
        bench(store, heads=find(["majority", "knn"]), protocols=[protocol], limits=Limits(workers=2))

    return make


def _table(context: Context, bed: Bed, table: str, kinds: list[str]) -> Row:
    started = time.monotonic()
    found = context.each(lambda kind: _damage_part(bed, table, kind), kinds)
    faults = [f"{kind}: {fault}" for kind, (some, _) in zip(kinds, found, strict=True) for fault in some]
    misses = [miss for _, some in found for miss in some]
    what = "deleted, emptied, truncated, one bit flipped"
    return Row(f"a part of {table}", what, len(kinds), faults, time.monotonic() - started, misses=misses)


def _damage_part(bed: Bed, table: str, kind: str) -> tuple[list[str], list[str]]:
    """What is wrong with a store with one damaged part: faults, and misses."""
    root = bed.store("benched", _master(bed))
    part = _part_of(root, table)
    whole = {" ".join(use): _ask(bed, root, use)[1] for use in USES[table]}
    DAMAGES[kind](part)
    name = str(part.relative_to(root))
    misses: list[str] = []
    done = bed.run(["featurestore", "verify", "--store", root])
    faults = []
    if done.code != 1 or part.name not in done.out or " 1 damaged" not in done.out or "Traceback" in done.err:
        faults.append(f"verify does not name {name}: {done.out.strip()} {done.err.strip()}")
    for use in USES[table]:
        done, answer = _ask(bed, root, use)
        if done.code:
            faults += [f"{' '.join(use)}: {fault}" for fault in done.faults(failed=True)]
        elif answer != whole[" ".join(use)]:
            misses.append(f"{kind}: `{' '.join(use)}` answers with what changed; only `verify` tells")
    for other in OTHERS.get(table, REST):
        done, _ = _ask(bed, root, other)
        faults += [f"{' '.join(other)}, which does not need it: {fault}" for fault in done.faults(failed=False)]
    shutil.rmtree(root)
    return faults, misses


def _part_of(root: Path, table: str) -> Path:
    """The last part of ``table`` in the current state; its folder may also hold parts that only older states had."""
    return root / json.loads(manifest_of(root, table).read_text("utf-8"))["parts"][-1][0]


def _ask(bed: Bed, root: Path, use: list[str]) -> tuple[Done, bytes]:
    """Run a command, and its answer: what it printed, or the file that it wrote."""
    out = beds.unique(bed.folder / "out", "export").with_suffix(".npy")
    form = ["--format", "csv"] if use[0] == "sql" else []
    words = [str(out) if word == "OUT" else word for word in use[1:]]
    done = bed.run(["featurestore", use[0], "--store", root, *words, *form])
    return done, out.read_bytes() if "OUT" in use and done.code == 0 else done.out.encode()


def _records(context: Context, bed: Bed, kinds: list[str]) -> Iterator[Row]:
    """The files that are not parts: state, snapshots and manifests are needed, the cache and store.duckdb are not."""
    one = ["sql", "SELECT 1 AS one FROM movies"]
    needed: dict[str, tuple[Callable[[Path], Path], list[list[str]]]] = {
        "the state": (lambda root: root / "state.json", [["info"], ["verify"], ["repair"], one]),
        SNAPSHOT: (
            lambda root: root / "snapshots" / "kept.json",
            [["verify"], ["gc"], ["info", "--snapshot", "kept"]],
        ),
        "the manifest of notes": (lambda root: manifest_of(root, "notes"), [["verify"], ["gc"], *USES["notes"]]),
        "the manifest of movies": (lambda root: manifest_of(root, "movies"), [["verify"], ["gc"], *USES["movies"]]),
        "the manifest of a backbone": (lambda root: manifest_of(root, "counting"), [["verify"], *USES["counting"]]),
    }
    spare: dict[str, Callable[[Path], Path]] = {
        "the cache of images": lambda root: next(iter((root / "cache").glob("*")), root / "cache" / "images-0.parquet"),
        "the shell's database": lambda root: root / "store.duckdb",
    }
    if context.quick:
        needed = {"the manifest of notes": needed["the manifest of notes"]}
        spare = {"the cache of images": spare["the cache of images"]}
    yield from (_needed(bed, what, find, uses, kinds) for what, (find, uses) in needed.items())
    yield from (_spare(bed, what, find, kinds) for what, find in spare.items())


def _needed(bed: Bed, what: str, find: Callable[[Path], Path], uses: list[list[str]], kinds: list[str]) -> Row:
    started, faults, note = time.monotonic(), [], ""
    if what == SNAPSHOT:
        kinds = [kind for kind in kinds if kind != "deleted"]
        note = "not deleted: no record names a snapshot, so by design a deleted one is not missed"
    for kind in kinds:
        root = bed.store("benched", _master(bed))
        path = find(root)
        DAMAGES[kind](path)
        name = str(path.relative_to(root))
        for use in uses:
            done = bed.run(["featurestore", use[0], "--store", root, *use[1:]])
            if done.code == 0:
                faults.append(f"{kind}, {' '.join(use)}: it says nothing")
            elif use != ["verify"] or name not in done.out or done.err:  # else it lists what is damaged
                faults += [f"{kind}, {use[0]}: {fault}" for fault in done.faults(failed=True)]
        shutil.rmtree(root)
    return Row(what, "the same", len(kinds), faults, time.monotonic() - started, note)


def _spare(bed: Bed, what: str, find: Callable[[Path], Path], kinds: list[str]) -> Row:
    started, faults = time.monotonic(), []
    for kind in kinds:
        root = bed.store("benched", _master(bed))
        path = find(root)
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            DAMAGES[kind](path)
        else:
            path.write_bytes(b"no such thing")
        for use in (["info"], ["verify"], ["embed", "--backbone", "counting"], ["gc"]):
            done = bed.run(["featurestore", use[0], "--store", root, *use[1:]])
            faults += [f"{kind}, {use[0]}: {fault}" for fault in done.faults(failed=False)]
        faults += [f"{kind}, after gc: {fault}" for fault in beds.shell_faults(root)]
        faults += beds.tidy_faults(root)
        shutil.rmtree(root)
    return Row(what, "the same; it is disposable", len(kinds), faults, time.monotonic() - started)
