"""One content hash however a collection is embedded: on a laptop, as shards, on a cluster with kills, on S3.

``--images DIR`` and ``--backbone REFERENCE`` take real ones in place of generated images and block means.
"""

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cluster_backbones
from s3_server import s3_server
from support import jpeg, missing

from featurestore import FeatureStore
from torture import bed as beds
from torture import content as contents
from torture.bed import Bed, Done
from torture.context import Context, spread, variables
from torture.object_store import digest_of, keys
from torture.table import Row
from torture.two_nodes import DRIVER, NODE, WORKER, Kill, Nodes, command, durable, embed_with_kills, two_nodes

SHARDS = 8
GENERATED = f"python:{cluster_backbones.__file__}:slow_blocks"
# Seconds a batch of the generated ones here, and on the nodes: long enough to be killed.
HERE, THERE = "0.1", "0.4"
LAPTOP = "laptop: one embed"


@dataclass(frozen=True)
class Way:
    """What is embedded with what, and where."""

    context: Context
    bed: Bed
    backbone: str
    images: Path
    what: str

    def store(self) -> Path:
        """A store of the images, without a vector."""
        return self.bed.store("images", lambda store: store.ingest(images=self.images))

    def run(self, words: Sequence[str | Path]) -> Done:
        """Run a command to its end.

        Raises
        ------
        RuntimeError
            When it fails.
        """
        done = self.bed.run(words)
        if done.code:
            raise RuntimeError(done.err)
        return done

    def embed(self, location: str | Path) -> list[str | Path]:
        """The command, without options."""
        return ["featurestore", "embed", "--store", location, "--backbone", self.backbone]


def run(context: Context) -> Iterator[Row]:
    """A row a way, with its content hash; a fault where it is not that of the laptop."""
    bed = context.bed("hashes")
    images = context.images or _generated(bed.folder / "generated", context.size(600, 300))
    what = f"images of {images.name}" if context.images else "SYNTHETIC images"
    way = Way(context, bed, context.backbone or GENERATED, images.resolve(), what)
    with variables({cluster_backbones.SECONDS: HERE}):
        started = time.monotonic()
        root = way.store()
        way.run(way.embed(root))
        expected, total = _digest(root), durable(root)
        yield _row(way, LAPTOP, expected, expected, total, started)
        started = time.monotonic()
        found, killed = _shards(way)
        yield _row(way, f"{SHARDS} shards in mixed order, {killed} killed", found, expected, total, started)
        yield from _on_nodes(way, expected, total)
        yield _on_object_store(way, expected, total)


def _row(way: Way, how: str, found: str, expected: str, total: int, started: float) -> Row:
    faults = [] if found == expected else [f"content hash {found}, that of the laptop is {expected}"]
    note = f"content hash {found}, vectors of {total:,} {way.what}, {way.backbone.rpartition('/')[2]}"
    return Row("hashes", how, 1, faults, time.monotonic() - started, note)


def _generated(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04d}.jpg").write_bytes(jpeg(number))
    return folder


def _digest(root: Path) -> str:
    return contents.digest(contents.whole(root))


def _shards(way: Way) -> tuple[str, int]:
    """Eight processes in mixed order, half of which are killed once; the content hash, and how many were killed."""
    numbers, root = way.context.random("hashes, shards"), way.store()
    out = beds.unique(way.bed.folder / "outs", "out")
    order = random.Random(numbers.random()).sample(range(1, SHARDS + 1), SHARDS)
    words = {number: [*way.embed(root), "--shard", f"{number}/{SHARDS}", "--out", out] for number in order}

    def disturbed(number: int) -> bool:
        return _killed(way, words[number], out, f"*-{number}-of-{SHARDS}/part-*.parquet")

    killed = way.context.each(disturbed, order[::2])
    numbers.shuffle(order)
    way.context.each(lambda number: way.run(words[number]), order)
    way.run(["featurestore", "publish", "--store", root, out])
    return _digest(root), sum(killed)


def _killed(way: Way, words: Sequence[str | Path], out: Path, batches: str) -> bool:
    """Start a shard, and kill it when its first batch is staged; False if it had ended before."""
    with way.bed.start(words) as process:
        while process.poll() is None and not any(out.glob(batches)):
            time.sleep(0.005)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=beds.TIMEOUT)
    return process.returncode == -signal.SIGKILL


def _on_nodes(way: Way, expected: str, total: int) -> Iterator[Row]:
    """Two rows: undisturbed, and with a driver, a worker and a node killed."""
    hows = ("two Ray nodes", "two Ray nodes; a worker, a node, the driver killed")
    if reason := missing("ray"):
        yield from (Row("hashes", how, 0, [], 0.0, reason) for how in hows)
        return
    with two_nodes(way.bed.folder / "nodes", {cluster_backbones.SECONDS: THERE}) as nodes:
        for how, embed in zip(hows, (_undisturbed, _disturbed), strict=True):
            started, root = time.monotonic(), way.store()
            embed(way, nodes, root, total)
            yield _row(way, how, _digest(root), expected, total, started)


def _undisturbed(way: Way, nodes: Nodes, root: Path, total: int) -> None:
    way.run(command(root, way.backbone, nodes))


def _disturbed(way: Way, nodes: Nodes, root: Path, total: int) -> None:
    moments = spread(total // 2, 3, way.context.random("hashes, kills"))
    kills = [Kill(after, what) for after, what in zip(moments, (DRIVER, WORKER, NODE), strict=True)]
    done = embed_with_kills(way.bed, nodes, command(root, way.backbone, nodes), root, kills)
    if done.code:
        raise RuntimeError(done.err)


def _on_object_store(way: Way, expected: str, total: int) -> Row:
    how = "a store on S3 (moto)"
    if reason := missing("moto", "obstore"):
        return Row("hashes", how, 0, [], 0.0, reason)
    started = time.monotonic()
    with s3_server() as server, keys(way.bed.folder / "cache"):
        address = server.address("hashes")
        way.run(["featurestore", "ingest", "--store", address, "--images", way.images])
        way.run(way.embed(address))
        found = digest_of(FeatureStore(address))
    return _row(way, how, found, expected, total, started)
