"""A cluster of one node: calls, their errors and deaths, and an embed that ends in the content of a local one."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import cluster_backbones
import pytest
import ray_work
from ray_nodes import RayHead, start_head
from support import Collection
from torture.content import content, digest

from featurestore import FeatureStore, engines
from featurestore.errors import ClusterError, FeatureStoreError, InputError, WorkerLost

HALF = engines.Need(0.5)
FILE = f"python:{cluster_backbones.__file__}:blocks"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    node = start_head(tmp_path_factory.mktemp("r"))
    yield node
    node.kill()


@pytest.fixture
def store(collection: Collection, tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "store")
    (collection.images / "999999.jpg").write_bytes(b"not an image")
    store.ingest(metadata=collection.metadata, images=collection.images)
    return store


def refusal(cluster: engines.Cluster, call: engines.Call) -> FeatureStoreError:
    with pytest.raises(FeatureStoreError) as caught:
        cluster.result(call)
    assert "\n" not in str(caught.value)
    return caught.value


def test_calls_and_workers(head: RayHead) -> None:
    """In one connection: each takes a second and starts processes anew."""
    with engines.connect(head.address) as cluster:
        assert [(node.address, node.cpus, node.gpus) for node in cluster.nodes()] == [("127.0.0.2", 2.0, 0.0)]
        assert cluster.places(HALF) == 4
        with pytest.raises(ClusterError, match=r"no node of the cluster at .* has 1 CPUs and 1 GPUs"):
            cluster.places(engines.Need(1, 1))

        shared = cluster.put(bytes(1000))
        assert cluster.result(cluster.submit(ray_work.length, shared, need=HALF)) == 1000
        found = [
            (number, cluster.result(call))
            for number, call in cluster.each(
                lambda number: cluster.submit(ray_work.square, number, need=HALF), range(20), in_flight=4
            )
        ]
        assert sorted(found) == [(number, number**2) for number in range(20)]

        assert type(refusal(cluster, cluster.submit(ray_work.refuse, need=HALF))) is InputError
        failed = refusal(cluster, cluster.submit(ray_work.fail, need=HALF))
        assert type(failed) is ClusterError
        assert "ValueError: the first line)" in str(failed)
        assert type(refusal(cluster, cluster.submit(ray_work.die, need=HALF))) is WorkerLost

        sleeping = cluster.submit(ray_work.sleep, 600, need=HALF)
        assert cluster.ended([sleeping], seconds=0.1) == []
        cluster.cancel(sleeping)
        assert type(refusal(cluster, sleeping)) is WorkerLost

        worker = cluster.worker(ray_work.Adder, 5, need=HALF)
        assert cluster.result(worker.started) is None
        assert cluster.result(worker.call("add", 6)) == 11
        assert type(refusal(cluster, worker.call("die"))) is WorkerLost
        assert type(refusal(cluster, cluster.worker(ray_work.Adder, -1, need=HALF).started)) is InputError


@pytest.mark.cluster
def test_a_client_calls_too(head: RayHead) -> None:
    with engines.connect(head.client) as cluster:
        assert cluster.result(cluster.submit(ray_work.square, 3, need=HALF)) == 9
        assert type(refusal(cluster, cluster.submit(ray_work.refuse, need=HALF))) is InputError
        with pytest.raises(ClusterError, match="name it 'auto'"), engines.connect(head.address):
            pass
        with engines.connect(engines.AUTO) as same:
            assert same.nodes() == cluster.nodes()
        assert cluster.nodes()  # still connected


def test_it_ends_in_the_content_of_a_local_embed(head: RayHead, store: FeatureStore, tmp_path: Path) -> None:
    local = FeatureStore(shutil.copytree(store.path, tmp_path / "local"))
    expected = local.embed(FILE, batch_size=4)
    seen: list[tuple[int, int]] = []

    report = store.embed(
        FILE,
        batch_size=4,
        on=head.address,
        cluster_workers=2,
        worker_cpus=0.5,
        on_progress=lambda done, total: seen.append((done, total)),
    )

    assert replace(report, seconds=expected.seconds, workers={}) == expected
    assert report.workers
    assert all(rate > 0 for rate in report.workers.values())
    assert seen[0] == (0, 24)
    assert seen[-1] == (24, 24)
    assert digest(content(store.path)) == digest(content(local.path))
    assert not (store.path / "staging").exists()
