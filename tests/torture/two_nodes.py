"""Two nodes of a Ray cluster, and an embed on them while a worker, a node or the driver is killed; judges nothing."""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ray_nodes import RayHead, RayNode, add_node, start_head

from featurestore.embedding.receipt import receipts_in
from featurestore.embedding.staging import SHARDS
from featurestore.errors import FeatureStoreError
from featurestore.storage.layout import Layout
from featurestore.storage.state import read_state
from torture import bed as beds
from torture.bed import Bed, Done
from torture.context import variables

WORKER, NODE, DRIVER = "worker", "node", "driver"
# How Ray names the processes of workers.
PROCESS = "ray::_Holder"
# Seconds between two looks at the store, and those for an embed with all its kills.
PAUSE, PATIENCE = 0.05, 900.0


@dataclass(frozen=True)
class Kill:
    """Kill ``what`` when the vectors of ``after`` images are durable."""

    after: int
    what: str


@dataclass
class Nodes:
    """The first node, and the second one, which may be killed and started anew with the same environment."""

    folder: Path
    environment: Mapping[str, str]
    head: RayHead
    second: RayNode

    def workers(self) -> list[int]:
        """The processes of workers on both."""
        return [pid for node in (self.head, self.second) for pid in node.workers(PROCESS)]

    def renew(self) -> None:
        """Start the second node anew after it was killed."""
        with variables(self.environment):
            self.second = add_node(self.head, self.folder)


@contextmanager
def two_nodes(folder: Path, environment: Mapping[str, str]) -> Iterator[Nodes]:
    """Two nodes with two CPUs each and more variables in their environment; ended when the block ends."""
    with variables(environment):
        head = start_head(folder)
        try:
            second = add_node(head, folder)
        except BaseException:
            head.kill()
            raise
    nodes = Nodes(folder, environment, head, second)
    try:
        yield nodes
    finally:
        nodes.second.kill()
        head.kill()


def command(root: Path, backbone: str, nodes: Nodes) -> list[str | Path]:
    """An embed with two workers, each in need of all CPUs of a node."""
    words = ["featurestore", "embed", "--store", root, "--backbone", backbone, "--on", nodes.head.address]
    return [*words, "--cluster-workers", "2", "--worker-cpus", "2"]


def embed_with_kills(bed: Bed, nodes: Nodes, words: Sequence[str | Path], root: Path, kills: Sequence[Kill]) -> Done:
    """Run the command, again after its driver was killed, and kill; how the last one ended.

    Raises
    ------
    RuntimeError
        When it had ended before all was killed, or does not end.
    """
    left = sorted(kills, key=lambda kill: kill.after)
    until = time.monotonic() + PATIENCE
    while True:
        with bed.start(words) as process:
            while process.poll() is None:
                if left and durable(root) >= left[0].after and _killed(left[0].what, nodes, process.pid):
                    left.pop(0)
                if time.monotonic() > until:
                    os.killpg(process.pid, signal.SIGKILL)
                    raise RuntimeError(f"no end in {PATIENCE:g} s, {left} not yet done: {process.communicate()[1]}")
                time.sleep(PAUSE)
            out, err = process.communicate(timeout=beds.TIMEOUT)
        if process.returncode != -signal.SIGKILL:
            if left:
                raise RuntimeError(f"it ended with {process.returncode} before {left}: {err}")
            return Done(process.returncode, out, err)


def _killed(what: str, nodes: Nodes, driver: int) -> bool:
    """Kill; False while there is no worker."""
    if what == NODE:
        nodes.second.kill()
    elif what == DRIVER:
        os.killpg(driver, signal.SIGKILL)
    else:
        workers = nodes.workers()
        if not workers:
            return False
        with suppress(ProcessLookupError):
            os.kill(workers[-1], signal.SIGKILL)
    return True


def durable(root: Path) -> int:
    """Number of images whose vectors are published, or listed by the receipt of a shard that waits for it."""
    try:
        layout = Layout(root, read_state(root))
        tables = [name for name in layout.state.tables if name.startswith("embeddings/")]
        rows = sum(part.rows for name in tables for part in layout.parts(name))
        folders = list(root.glob(f"staging/*/{SHARDS}/*"))
        return rows + sum(receipt.rows for folder in folders for receipt in receipts_in(folder).values())
    except (FeatureStoreError, FileNotFoundError):  # published and removed meanwhile: the next look sees its rows
        return 0
