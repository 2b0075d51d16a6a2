"""A run on two nodes: a worker and a node are killed, the command is interrupted; the scores are those of one node."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from bench_store import make_store
from ray_nodes import ROOT, RayHead, RayNode, add_node, start_head

from featurestore import FeatureStore

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
]
# Seconds of a fit on the nodes, so that there is time to kill them; the environment is no part of a result.
FIT_SECONDS = "TEST_FIT_SECONDS"
SLOW = f'''
import os
import time

from benchmarks import head

@head("slow", random=False)
def slow(*, seed):
    from sklearn.linear_model import RidgeClassifier
    time.sleep(float(os.environ.get("{FIT_SECONDS}", "0")))
    return RidgeClassifier()
'''
PREDICTIONS = "SELECT cell, ImgId, y, proba FROM bench_predictions ORDER BY cell, ImgId"
CELLS = 50


@pytest.fixture
def temporary() -> Iterator[Path]:
    """The folder for temporary files of the nodes, which nobody else uses; short: sockets are made in it."""
    with tempfile.TemporaryDirectory(prefix="b-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def nodes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> Iterator[tuple[RayHead, RayNode]]:
    monkeypatch.setenv(FIT_SECONDS, "0.5")
    monkeypatch.setenv("TMPDIR", str(temporary))
    folder = tmp_path_factory.mktemp("r")  # short: Ray makes sockets in it
    head = start_head(folder, cpus=1)
    try:
        second = add_node(head, folder, cpus=1)
        monkeypatch.delenv(FIT_SECONDS)
        monkeypatch.delenv("TMPDIR")
        yield head, second
        second.kill()
    finally:
        head.kill()


@pytest.fixture
def two(tmp_path: Path) -> tuple[FeatureStore, FeatureStore]:
    """The same store twice, with the file of a slow head beside."""
    (tmp_path / "slow.py").write_text(SLOW)
    here = make_store(tmp_path)
    return here, FeatureStore(shutil.copytree(here.path, tmp_path / "there"))


def bench(store: FeatureStore, *options: str) -> subprocess.Popen[str]:
    """The command, in a process of its own."""
    heads = ["--head-file", str(store.path.parent / "slow.py"), "--head", "slow"]
    what = ["run", "--store", str(store.path), "--backbone", "a", "--repeats", "10", *heads, *options]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.commands.cli", *what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"},
    )


def finished(command: subprocess.Popen[str]) -> str:
    out, said = command.communicate(timeout=300)
    assert command.returncode == 0, said
    return out


def stored(store: FeatureStore) -> int:
    store.refresh()
    return int(store.sql("SELECT count(*) AS n FROM bench_cells")["n"][0].as_py()) if store.has("bench_cells") else 0


def wait_for(what: Callable[[], object], command: subprocess.Popen[str] | None = None) -> None:
    """Wait while ``command`` runs; where that takes too long, it tells where it is."""
    until = time.monotonic() + 240
    while not what():
        if time.monotonic() > until or (command and command.poll() is not None):
            if command:
                command.send_signal(signal.SIGABRT)
            raise AssertionError(command.communicate(timeout=60) if command else "")
        time.sleep(0.2)


def left(temporary: Path) -> list[Path]:
    """What runs keep on the nodes."""
    return [path for path in temporary.glob("benchmarks-*/*") if path.is_dir()]


def test_kills_and_an_interrupt_change_no_score(
    nodes: tuple[RayHead, RayNode], two: tuple[FeatureStore, FeatureStore], temporary: Path
) -> None:
    head, second = nodes
    here, there = two
    running = bench(there, "--on", head.address)
    wait_for(lambda: stored(there) > 2, running)
    for pid in head.workers("ray::compute"):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: stored(there) > 8, running)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=240)
    assert running.returncode == 130
    assert said.splitlines()[-1] == ("benchmarks: stopped; finished work is kept, run the command again to continue")
    wait_for(lambda: not left(temporary))
    kept = stored(there)
    assert 8 < kept < CELLS

    running = bench(there, "--on", head.client)
    wait_for(lambda: stored(there) > kept, running)
    second.kill()
    assert f"{CELLS - kept} of {CELLS} cells computed" in finished(running)
    assert f"{CELLS} of {CELLS} cells computed" in finished(bench(here, "--workers", "2"))
    assert stored(there) == stored(here) == CELLS
    assert there.sql(PREDICTIONS).equals(here.sql(PREDICTIONS))
    assert f"0 of {CELLS} cells computed" in finished(bench(there, "--on", head.address))
