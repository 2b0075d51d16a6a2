"""A run on a cluster of one node: the scores of a local run to the last bit, the same failures, nothing left behind."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from bench_store import make_store
from ray_nodes import RayHead, start_head

from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import find, from_file
from benchmarks.plan.protocols import Protocol
from benchmarks.run import sent
from benchmarks.run.limits import Limits
from benchmarks.run.runner import RunReport, run
from featurestore import FeatureStore
from featurestore.engines import AUTO, connect
from featurestore.errors import ClusterError

pytestmark = pytest.mark.slow  # `tests/featurestore/test_cluster.py` is not

OWN = """
from benchmarks import head

@head("own", random=False)
def own(*, seed, depth=2):
    from sklearn.tree import DecisionTreeClassifier
    return DecisionTreeClassifier(max_depth=depth, random_state=seed)
"""
LIMITS = Limits(workers=2, seconds=3.0, memory_mb=800)
# What decides nothing of a result, or differs between any two runs.
CELLS = "SELECT cell, head, fold, status, message, chosen FROM bench_cells ORDER BY cell"
PROBA = "SELECT cell, ImgId, y, proba FROM bench_predictions ORDER BY cell, ImgId"
SCORES = "SELECT * FROM bench_scores WHERE metric NOT IN ('fit_seconds', 'predict_ms') ORDER BY cell, metric"


@pytest.fixture(scope="module")
def temporary() -> Iterator[Path]:
    """The folder for temporary files of the node, which nobody else uses; short: sockets are made in it."""
    with tempfile.TemporaryDirectory(prefix="b-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Iterator[RayHead]:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        node = start_head(tmp_path_factory.mktemp("r"), cpus=1)
    yield node
    node.kill()


@pytest.fixture
def two(tmp_path: Path) -> tuple[FeatureStore, FeatureStore]:
    """The same store twice."""
    here = make_store(tmp_path)
    return here, FeatureStore(shutil.copytree(here.path, tmp_path / "there"))


def misbehaving(how: str) -> HeadSpec:
    return HeadSpec(how, "does what it should not", "failing_heads:misbehaving", {"how": how})


def computed(store: FeatureStore, heads: list[HeadSpec], limits: Limits) -> RunReport:
    drawn = [Protocol("cv", folds=2, repeats=1)]
    (report,) = run(store, heads=heads, protocols=drawn, backbones=["a"], limits=limits)
    store.refresh()
    return report


def folders(temporary: Path) -> list[Path]:
    """What runs keep on this machine as a node."""
    return [path for path in temporary.glob("benchmarks-*/*") if path.is_dir()]


def test_a_cluster_gives_what_this_machine_gives(
    cluster: RayHead, two: tuple[FeatureStore, FeatureStore], tmp_path: Path, temporary: Path
) -> None:
    here, there = two
    (tmp_path / "mine.py").write_text(OWN)
    heads = [
        *find(["majority", "knn", "ridge", "lda"]),
        *from_file(tmp_path / "mine.py"),
        *map(misbehaving, ("die", "hang", "eat")),
    ]
    local = computed(here, heads, LIMITS)
    with connect(cluster.address):
        remote = computed(there, heads, replace(LIMITS, on=AUTO))
        again = computed(there, heads[:5], replace(LIMITS, on=AUTO))
    assert (remote.cells, remote.computed, remote.failed) == (16, 16, 6) == (local.cells, local.computed, local.failed)
    for question in (CELLS, SCORES, PROBA):
        assert there.sql(question).equals(here.sql(question))

    assert (again.cells, again.computed) == (10, 0)
    until = time.monotonic() + 60
    while folders(temporary) and time.monotonic() < until:
        time.sleep(0.1)
    assert not folders(temporary)


def test_a_node_with_other_software_is_refused(
    cluster: RayHead, two: tuple[FeatureStore, FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**sent.software(), "numpy": "1.26.0"}
    monkeypatch.setattr("benchmarks.run.cluster.software", lambda: other)
    with pytest.raises(ClusterError, match=r"has numpy .* instead of 1\.26\.0: .* install the same versions"):
        computed(two[0], find(["majority"]), replace(LIMITS, on=cluster.address))
