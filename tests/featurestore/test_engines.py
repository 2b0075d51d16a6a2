"""Calls on a cluster of one node: results, errors, deaths; and what is refused before and while connecting."""

import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import ray_work
from ray_nodes import RayHead, start_head

from featurestore import engines
from featurestore.errors import ClusterError, FeatureStoreError, InputError, MissingExtra, WorkerLost

HALF = engines.Need(0.5)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    node = start_head(tmp_path_factory.mktemp("r"))
    yield node
    node.kill()


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


def test_a_client_calls_too(head: RayHead) -> None:
    with engines.connect(head.client) as cluster:
        assert cluster.result(cluster.submit(ray_work.square, 3, need=HALF)) == 9
        assert type(refusal(cluster, cluster.submit(ray_work.refuse, need=HALF))) is InputError
        with pytest.raises(ClusterError, match="name it 'auto'"), engines.connect(head.address):
            pass
        with engines.connect(engines.AUTO) as same:
            assert same.nodes() == cluster.nodes()
        assert cluster.nodes()  # still connected


@pytest.mark.parametrize(
    "on", ["", "ray", "ray://", "ray://host", "http://host:1", "host:0", "host:70000", "a b:1", "--x:1"]
)
def test_what_is_no_address_is_refused(on: str) -> None:
    with pytest.raises(InputError, match="expected ray://HOST:PORT, HOST:PORT or auto"), engines.connect(on):
        pass


def test_where_nothing_listens_one_sentence_says_so() -> None:
    with (
        pytest.raises(ClusterError, match="no cluster answers"),
        engines.connect("ray://127.0.0.1:1"),
    ):
        pass


def test_without_a_token_only_this_machine_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ClusterError, match="RAY_AUTH_MODE=token"), engines.connect("ray://192.0.2.1:10001"):
        pass
    with pytest.raises(ClusterError, match="no cluster answers"), engines.connect("ray://127.0.0.1:1"):
        pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"featurestore\[cluster\]"), engines.connect(engines.AUTO):
        pass


@pytest.mark.parametrize("need", [engines.Need(0, 0), engines.Need(-1), engines.Need(float("nan"))])
def test_impossible_needs_are_refused(need: engines.Need) -> None:
    with pytest.raises(InputError, match="CPUs"):
        need.check()
