"""What a Ray cluster costs: two workers beside one on a backbone that only waits, and a bench of tiny cells.

Both nodes are on this machine, on loopback addresses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from ray_nodes import add_node, start_head

from perf.context import Context
from perf.measure import Contender, Runs, once, race
from perf.table import Goal, Row, row

# Each worker takes all CPUs of a node, so that each node has one.
CPUS = 2
FASTER, LOST = Goal(1 / 1.8), Goal(60.0, "s over")
# 4 heads × 9 backbones × 50 splits are 1,800 cells.
HEADS, BACKBONES, FOLDS, REPEATS = ("majority", "knn", "ridge", "lda"), 9, 5, 10
ONE, TWO, HERE = "one worker", "two workers", "the same without a cluster"


def run(context: Context) -> list[Row]:
    """A row of each; where Ray is not installed, rows that say so."""
    images = context.size(20_000, 2_560)
    backbones, repeats = context.size(BACKBONES, 1), context.size(REPEATS, 1)
    cells = len(HEADS) * backbones * FOLDS * repeats
    works = (
        f"embed {images:,} SYNTHETIC images, 50 ms a batch, {TWO}, first receipt to last",
        f"bench of {cells:,} cells on SYNTHETIC vectors",
    )
    if find_spec("ray") is None:
        told = "not run: Ray is not installed"
        return [
            Row("cluster", works[0], ONE, "scale", FASTER, [], [], None, told),
            Row("cluster", works[1], HERE, "limit", LOST, [], [], None, told),
        ]
    with two_nodes(context.folder("cluster-nodes")) as address:
        return [
            _embed(context, works[0], address, images),
            _bench(context, works[1], address, backbones=backbones, repeats=repeats),
        ]


@contextmanager
def two_nodes(folder: Path) -> Iterator[str]:
    """The address of a cluster of two nodes, which end with the block."""
    head = start_head(folder, cpus=CPUS)
    try:
        second = add_node(head, folder, cpus=CPUS)
        try:
            yield head.address
        finally:
            second.kill()
    finally:
        head.kill()


def _embed(context: Context, work: str, address: str, images: int) -> Row:
    folder = context.folder("cluster-embed")
    paths = {"folder": str(folder / "images"), "store": str(folder / "store")}
    once("made.py:small_images", paths | {"count": images})
    once("made.py:ingested", paths)
    options = {"store": paths["store"], "on": address, "cpus": CPUS}
    found = race(
        [
            Contender(TWO, "on_cluster.py:embed", options | {"workers": 2}, fresh=True),
            Contender(ONE, "on_cluster.py:embed", options | {"workers": 1}, fresh=True),
        ],
        context.size(2, 1),
    )
    two, one = found[TWO], found[ONE]
    note = f"goal: at least 1.8 times as fast; {_told(two)}; {_told(one)}"
    return row("cluster", work, ours=two, other=ONE, theirs=one, goal=FASTER, kind="scale", note=note)


def _told(runs: Runs) -> str:
    if not runs.answer or not runs.seconds:
        return "no answer"
    rate = runs.answer["images"] / min(runs.seconds)
    return f"{rate:,.0f} images/s at best by {runs.answer.get('workers')} in {runs.answer.get('shards')} shards"


def _bench(context: Context, work: str, address: str, *, backbones: int, repeats: int) -> Row:
    folder = context.folder("cluster-bench")
    made = {"store": str(folder / "store"), "backbones": backbones, "dim": 16, "divide": 4}
    once("made.py:labelled", made)
    options = {"store": made["store"], "heads": HEADS, "folds": FOLDS, "repeats": repeats, "workers": 2}
    found = race(
        [
            Contender("ours", "on_cluster.py:bench", options | {"on": address}, fresh=True),
            Contender(HERE, "on_cluster.py:bench", options, fresh=True),
        ],
        context.size(2, 1),
    )
    ours, theirs = found["ours"], found[HERE]
    told = [
        f"{runs.answer['computed']} cells, {runs.answer['failed']} failed" for runs in (ours, theirs) if runs.answer
    ]
    note = f"two workers each: {' and '.join(told)}"
    return row("cluster", work, ours=ours, other=HERE, theirs=theirs, goal=LOST, kind="limit", note=note)
