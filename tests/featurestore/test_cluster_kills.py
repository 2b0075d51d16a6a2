"""Two nodes of a cluster, whose workers, nodes and drivers are killed: the content is that of a local embed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cluster_backbones
import pytest
from ray_nodes import RayHead, RayNode, add_node, start_head
from support import Collection
from torture.content import content, digest

from featurestore import FeatureStore
from featurestore.embedding.embed import EmbedReport

pytestmark = pytest.mark.cluster
# 600 images in batches of 16: each shard of 64 images takes a second.
IMAGES, BATCH, SECONDS = 600, 16, "0.25"
BACKBONE = f"python:{cluster_backbones.__file__}:slow_blocks"
# How Ray names the processes of workers.
WORKER = "ray::_Holder"


@dataclass
class Machines:
    """The two nodes; the second may be started anew."""

    folder: Path
    head: RayHead
    node: RayNode

    def both(self) -> tuple[RayNode, RayNode]:
        return self.head, self.node


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cluster_backbones.SECONDS, SECONDS)
        folder = tmp_path_factory.mktemp("r")
        (folder / "meeting").mkdir()
        with pytest.MonkeyPatch.context() as nodes:  # not of the driver, which loads the backbone too
            nodes.setenv(cluster_backbones.MEETING, str(folder / "meeting"))
            head = start_head(folder)
            found = Machines(folder, head, add_node(head, folder))
        yield found
        for node in found.both():
            node.kill()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store of images without vectors, and the content that a local embed gives it."""
    folder = tmp_path_factory.mktemp("template")
    collection, store = Collection(folder, IMAGES), FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    local = FeatureStore(shutil.copytree(store.path, folder / "local"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cluster_backbones.SECONDS, "0")
        local.embed(BACKBONE, batch_size=BATCH)
    return Path(store.path), digest(content(local.path))


@pytest.fixture
def store(template: tuple[Path, str], tmp_path: Path) -> FeatureStore:
    return FeatureStore(shutil.copytree(template[0], tmp_path / "store"))


@pytest.fixture
def together(machines: Machines) -> Iterator[None]:
    """Both workers begin at the same time, however long a process takes to start."""
    meeting = machines.folder / "meeting"
    (meeting / cluster_backbones.WANTED).write_text("2")
    yield
    for path in meeting.iterdir():
        path.unlink()


def embed(store: FeatureStore, on: str, *, at: int = -1, kill: Callable[[], None] = lambda: None) -> EmbedReport:
    """Embed with two workers, each in need of a whole node's CPUs; when ``at`` images are done, ``kill``."""
    left = [at]

    def watch(done: int, total: int) -> None:
        if left[0] >= 0 and done >= left[0]:
            left[0] = -1
            kill()

    return store.embed(BACKBONE, batch_size=BATCH, on=on, cluster_workers=2, worker_cpus=2, on_progress=watch)


def whole(report: EmbedReport) -> bool:
    return report.computed + report.reused == IMAGES and not report.refused


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("client", [False, True])
def test_two_nodes(machines: Machines, store: FeatureStore, template: tuple[Path, str], client: bool) -> None:
    report = embed(store, machines.head.client if client else machines.head.address)
    assert whole(report)
    assert len(report.workers) == 2
    assert digest(content(store.path)) == template[1]
    assert not (store.path / "staging").exists()


def test_a_killed_worker(machines: Machines, store: FeatureStore, template: tuple[Path, str]) -> None:
    killed: list[int] = []

    def kill() -> None:
        pid = next(pid for node in machines.both() for pid in node.workers(WORKER))
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    report = embed(store, machines.head.address, at=64, kill=kill)
    assert killed
    assert whole(report)
    assert digest(content(store.path)) == template[1]


def command(machines: Machines, store: FeatureStore, backbone: str) -> list[str]:
    run = [sys.executable, "-c", "from featurestore.commands.cli import main; main()", "embed"]
    named = ["--store", str(store.path), "--backbone", backbone, "--batch-size", str(BATCH)]
    return [*run, *named, "--on", machines.head.address, "--cluster-workers", "2", "--worker-cpus", "2"]


def test_the_command_prints_its_own_lines_alone(machines: Machines, store: FeatureStore) -> None:
    called = command(machines, store, BACKBONE)
    wrong = subprocess.run(called, capture_output=True, text=True, env={**os.environ, "RAY_AUTH_TOKEN": "0" * 64})
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert re.fullmatch("featurestore: can't join the Ray cluster at .*with the token.*\n", wrong.stderr)

    right = subprocess.Popen(called, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 240
    while not list(Path(store.path).glob("staging/*/shards/*/receipt-*.json")):
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(next(pid for node in machines.both() for pid in node.workers(WORKER)), signal.SIGKILL)
    out, err = right.communicate(timeout=300)
    assert right.returncode == 0
    first, *workers, following = out.splitlines()
    assert following.startswith("next: ")
    assert first.startswith("slow_blocks (revision ")
    assert len(workers) >= 2
    assert all(re.fullmatch(r"worker \S+:\d+: [\d.]+ images/s", line) for line in workers)
    assert all(
        re.fullmatch(r"embed .*: [\d,]+ of 600 images(, .* images/s)?(, .*)?", line) for line in err.splitlines()
    )


def kill_driver(machines: Machines, store: FeatureStore, backbone: str) -> None:
    """Start to embed in another process, and kill it when two shards are complete."""
    driver = subprocess.Popen(command(machines, store, backbone), start_new_session=True)
    until = time.monotonic() + 240
    while len(list(Path(store.path).glob("staging/*/shards/*/receipt-*.json"))) < 2:
        assert driver.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    driver.kill()
    driver.wait()


def test_a_killed_driver(machines: Machines, store: FeatureStore, template: tuple[Path, str]) -> None:
    kill_driver(machines, store, BACKBONE)
    report = embed(store, machines.head.address)
    assert whole(report)
    assert report.reused >= 128, "what the dead driver's workers had finished is not computed again"
    assert digest(content(store.path)) == template[1]
    assert not (store.path / "staging").exists()


def test_a_killed_node(machines: Machines, store: FeatureStore, template: tuple[Path, str]) -> None:
    report = embed(store, machines.head.address, at=64, kill=machines.node.kill)
    assert whole(report)
    assert digest(content(store.path)) == template[1]
    machines.node = add_node(machines.head, machines.folder)


@pytest.mark.real
@pytest.mark.parametrize("model", ["tflite:mobilenet_v1_embedding.tflite", "onnx:efficientnet_lite2_embedding.onnx"])
def test_real_posters(machines: Machines, real_data: Path, tmp_path: Path, model: str) -> None:
    """With a driver, a worker and a node killed one after another in one embed of 811 posters."""
    scheme, _, name = model.partition(":")
    backbone, store = f"{scheme}:{real_data / name}", FeatureStore(tmp_path / "store")
    store.ingest(images=real_data / "posters_modern", metadata=real_data / "MovieGenre.csv.gz")
    local = FeatureStore(shutil.copytree(store.path, tmp_path / "local"))
    local.embed(backbone)
    kill_driver(machines, store, backbone)
    kills = {
        64: lambda: os.kill(next(pid for node in machines.both() for pid in node.workers(WORKER)), signal.SIGKILL),
        256: machines.node.kill,
    }

    def watch(done: int, total: int) -> None:
        for at in [at for at in kills if done >= at]:
            kills.pop(at)()

    report = store.embed(backbone, on=machines.head.address, cluster_workers=2, on_progress=watch)
    machines.node = add_node(machines.head, machines.folder)
    assert not kills
    assert report.reused >= 64
    assert digest(content(store.path)) == digest(content(local.path))
