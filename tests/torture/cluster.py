"""An embed on two nodes of a Ray cluster whose worker, node and driver are killed: the content of a local embed."""

import time
from collections.abc import Iterator
from pathlib import Path

import cluster_backbones
from support import Collection, missing

from featurestore import FeatureStore
from torture import bed as beds
from torture import content as contents
from torture.bed import CHECKED, Bed
from torture.content import Content
from torture.context import Context, spread, variables
from torture.table import Row
from torture.two_nodes import DRIVER, NODE, WORKER, Kill, Nodes, command, embed_with_kills, two_nodes

BACKBONE = f"python:{cluster_backbones.__file__}:slow_blocks"
# 600 images in batches of 16: ten shards of 64 images, each of a second.
IMAGES, BATCH, SECONDS, SHARD = 600, 16, 0.25, 64
# Kills come before so many of the images are computed, or there might be nothing left to kill.
LAST = 0.75
WHAT = "two Ray nodes: kill -9 of a worker, a node, the driver"
# Workers that are lost with each, and so shards in work.
LOST = {WORKER: 1, NODE: 1, DRIVER: 2}


def run(context: Context) -> Iterator[Row]:
    """A row; each round kills a worker, a node and the driver of one embed, in any order."""
    if reason := missing("ray"):
        yield Row("cluster", WHAT, 0, [], 0.0, reason)
        return
    started, bed = time.monotonic(), context.bed("cluster")
    log = bed.folder / "batches"
    environment = {cluster_backbones.SECONDS: str(SECONDS), cluster_backbones.LOG: str(log)}
    local = bed.store("many", lambda store: _ingest(store, bed))
    with variables({cluster_backbones.SECONDS: "0"}):
        done = bed.run(["featurestore", "embed", "--store", local, "--backbone", BACKBONE, "--batch-size", str(BATCH)])
    faults = [f"the local embed: {fault}" for fault in done.faults(failed=False)]
    usual, rounds = contents.whole(local), context.size(6, 1)
    with two_nodes(bed.folder / "nodes", environment) as nodes:
        for number in range(rounds):
            log.unlink(missing_ok=True)
            faults += [f"round {number}: {fault}" for fault in _round(context, bed, nodes, usual, log, number)]
    note = f"content hash {contents.digest(usual)}"
    yield Row("cluster", WHAT, rounds * len(LOST), faults, time.monotonic() - started, note)


def _ingest(store: FeatureStore, bed: Bed) -> None:
    folder = bed.folder / "many"
    folder.mkdir()
    collection = Collection(folder, IMAGES)
    store.ingest(metadata=collection.metadata, images=collection.images)


def _round(context: Context, bed: Bed, nodes: Nodes, usual: Content, log: Path, number: int) -> list[str]:
    """One embed with all kinds of kills; what is wrong with its end and with the store."""
    numbers = context.random(f"cluster {number}")
    kinds = list(LOST)
    numbers.shuffle(kinds)
    moments = spread(int(IMAGES * LAST), len(kinds), numbers)
    kills = [Kill(moment, kind) for moment, kind in zip(moments, kinds, strict=True)]
    root = bed.store("many")
    words = [*command(root, BACKBONE, nodes), "--batch-size", str(BATCH)]
    done = embed_with_kills(bed, nodes, words, root, kills)
    nodes.renew()
    faults = done.faults(failed=False) + beds.faults_of(root)
    # Each worker checks its backbone; each that is lost costs the shard that it was computing.
    lost = sum(LOST.values())
    most = IMAGES + lost * SHARD + (2 + lost) * CHECKED
    if beds.passes(log) > most:
        faults.append(f"{beds.passes(log)} images computed, at most {most} may be")
    difference = beds.compared(usual, contents.whole(root))
    where = ", ".join(f"{kill.what} at {kill.after}" for kill in kills)
    return [f"{where}: {fault}" for fault in faults + ([f"in the end {difference}"] if difference else [])] + [
        f"{where}: {fault}" for fault in beds.tidy_faults(root)
    ]
