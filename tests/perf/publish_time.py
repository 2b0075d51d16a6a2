"""How long publishing vectors locks a store: parts that are computed already, into stores of generated rows.

python tests/perf/publish_time.py [ROWS DIM ROUNDS]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from growth_of_commits import generated

from featurestore.backbones.base import BackboneSpec, Preprocessing
from featurestore.catalog import writer as writers
from featurestore.catalog.writer import open_writer
from featurestore.embedding.assembly import PART_ROWS, Shard, write_vectors
from featurestore.embedding.plan import make_plan
from featurestore.embedding.publish import Publisher
from featurestore.embedding.staging import open_run
from featurestore.storage.layout import Layout
from featurestore.storage.state import read_state

ROWS, DIM, ROUNDS = 65_536, 2048, 5
SHARDS = 2


@dataclass
class Held:
    """Seconds that the lock was held, and those of them in which store.duckdb was written."""

    lock: float = 0.0
    shell_file: float = 0.0


def measure(root: Path, rows: int, dim: int) -> list[Held]:
    """What each publication of one run held: the first, which also tells what computed the vectors, and the last."""
    with open_writer(root, create=True) as writer, writer.commit() as commit:
        commit.replace("images", generated(rows * SHARDS))
    spec = BackboneSpec(name="b", embed_dim=dim, preprocessing=Preprocessing(), weights="generated", source="generated")
    rng, held = np.random.default_rng(0), []
    with open_run(root, spec) as run:
        plan = make_plan(Layout(root, read_state(root)), spec)
        publisher = Publisher(run, "measure", 60.0)
        for number in range(SHARDS):
            starts = range(number * rows, (number + 1) * rows, PART_ROWS)
            images = [plan.todo.slice(start, PART_ROWS).select(["ImgId", "content_hash"]) for start in starts]
            parts = [write_vectors(run, some, rng.random((len(some), dim), np.float32)) for some in images]
            last = number == SHARDS - 1
            with timed() as one:
                publisher.publish(plan, Shard(parts, ()), complete=last, last=last)
            held.append(one)
    return held


@contextmanager
def timed() -> Iterator[Held]:
    """Count what the block holds the lock for."""
    held, locked, renew = Held(), writers.locked, writers.renew_shell_file

    @contextmanager
    def counted(root: Path, *, wait_seconds: float, purpose: str) -> Iterator[Callable[[], bool]]:
        with locked(root, wait_seconds=wait_seconds, purpose=purpose) as is_locked:
            start = time.perf_counter()
            yield is_locked
            held.lock += time.perf_counter() - start

    def renewed(*arguments: object) -> None:
        start = time.perf_counter()
        renew(*arguments)
        held.shell_file += time.perf_counter() - start

    with patch.object(writers, "locked", counted), patch.object(writers, "renew_shell_file", renewed):
        yield held


def main() -> None:
    """Print a line a publication: the median of the rounds, and all of them."""
    rows, dim, rounds = [int(text) for text in sys.argv[1:]] or (ROWS, DIM, ROUNDS)
    found: list[list[Held]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(Path(folder, "store"), rows, dim))
    print(f"milliseconds under the lock for {rows:,} x {dim:,}, without and with store.duckdb")
    for name, held in zip(("first", "last"), zip(*found, strict=True), strict=True):
        commits = sorted(1000 * (one.lock - one.shell_file) for one in held)
        whole = statistics.median(1000 * one.lock for one in held)
        listed = ", ".join(f"{one:.0f}" for one in commits)
        print(f"{name:>6}: {statistics.median(commits):.0f} ({listed}), {whole:.0f}")


if __name__ == "__main__":
    main()
