"""One open store in forked children and in pickled copies: each asks for itself, none waits for its parent."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from support import CountingBackbone

from featurestore import FeatureStore
from featurestore.catalog import snapshots
from featurestore.errors import FeatureStoreError

# CPython warns of any fork in a process with threads; these children touch nothing of theirs.
forks = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


@pytest.fixture
def shared(kept_store: FeatureStore) -> Iterator[FeatureStore]:
    """A store that no thread has asked yet."""
    with FeatureStore(kept_store.path) as store:
        yield store


def in_child(action: Callable[[], object], *, seconds: float = 60) -> str:
    """What ``action`` returns, or fails with, in a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = repr(action())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    end = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("no answer from the child")
        time.sleep(0.02)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read().decode()


@forks
@needs_fork
def test_a_forked_child_asks_for_itself(shared: FeatureStore) -> None:
    shared.similar(101, backbone="counting", k=2)
    shared.sql("FROM labeled")
    asked = {
        "sql": lambda: shared.sql("SELECT count(*) AS n FROM labeled")["n"].to_pylist(),
        "query": lambda: shared.query("SELECT count(*) AS n FROM collection")["n"].to_pylist(),
        "features": lambda: shared.features("counting", view="collection").X.tobytes(),
        "similar": lambda: shared.similar(102, backbone="counting", k=3).ids.tolist(),
        "error": lambda: shared.sql("FROM nowhere"),
        "connection": lambda: shared.connection.execute("SELECT count(*) FROM labeled").fetchall(),
    }
    for name, action in asked.items():
        found = in_child(action)
        if name == "error":
            assert found.startswith("QueryError: the query reads 'nowhere'")
        else:
            assert found == repr(action()), name
    assert in_child(lambda: shared.close()) == in_child(lambda: shared.refresh() and None) == "None"
    assert shared.sql("SELECT 1 AS one")["one"][0].as_py() == 1, "the parent's goes on"


@forks
@needs_fork
def test_a_fork_while_other_threads_ask(shared: FeatureStore) -> None:
    """A lock that one of them holds at that moment is never given back in the child."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            shared.refresh()  # so that connections and views are being made at each moment
            shared.sql("FROM labeled_counting")
            shared.similar(101, backbone="counting", k=2)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            assert in_child(lambda: len(shared.sql("FROM labeled"))) == "20"
            assert in_child(lambda: shared.features("counting").X.shape) == "(20, 16)"
    finally:
        stop.set()
        for thread in threads:
            thread.join()


CHILD = """
import os, sys, featurestore
store = featurestore.open(sys.argv[1])
store.sql("FROM labeled"); store.features("counting")
child = os.fork()
if child == 0:
    if sys.argv[2] == "asks":
        print("child", len(store.sql("FROM labeled")), flush=True)
    sys.exit(7)  # not os._exit: everything of the interpreter is taken down
print("parent", os.waitpid(child, 0)[1] >> 8, len(store.sql("FROM labeled")))
"""


@needs_fork
@pytest.mark.parametrize("what", ["asks", "leaves"])
def test_a_forked_child_ends(shared: FeatureStore, what: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(shared.path), what]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.stdout.split() == (["child", "20"] if what == "asks" else []) + ["parent", "7", "20"], result.stderr


@forks
@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_a_pool_of_processes_takes_the_store(shared: FeatureStore, way: str) -> None:
    if way not in multiprocessing.get_all_start_methods():
        pytest.skip("this system can't fork")
    shared.sql("FROM labeled")
    with ProcessPoolExecutor(2, multiprocessing.get_context(way)) as pool:
        tables = pool.map(FeatureStore.sql, [shared, shared], ["FROM labeled", "FROM collection"])
        features = pool.submit(FeatureStore.features, shared, "counting").result()
    assert [len(table) for table in tables] == [20, 24]
    assert features.X.shape == (20, 16)


def test_a_pickled_store_opens_its_location_again(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.embed(CountingBackbone())
    snapshots.create(store.path, "before")
    store.append({"notes": pa.table({"a": [1]})})
    monkeypatch.chdir(store.path.parent)
    for name in (None, "before"):
        opened = FeatureStore(store.path.name, snapshot=name)
        opened.similar(101, backbone="counting", k=2)
        record = pickle.dumps(opened)
        assert len(record) < 1000, "neither vectors nor connections travel"
        monkeypatch.chdir(tmp_path.parent)
        for other in (pickle.loads(record), pickle.loads(pickle.dumps(pickle.loads(record)))):
            assert type(other) is FeatureStore
            assert other.snapshot_name == name
            assert other.state == opened_state(store, name)
            assert other.has("notes") == (name is None)
            assert other.features("counting").X.shape == (20, 16)
        monkeypatch.chdir(store.path.parent)
    with pytest.raises(FeatureStoreError):
        _ = pickle.loads(pickle.dumps(FeatureStore(tmp_path / "none"))).state


def opened_state(store: FeatureStore, snapshot: str | None) -> object:
    return FeatureStore(store.path, snapshot=snapshot).state


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_is_another_reader(store: FeatureStore, duplicate: Callable[[FeatureStore], FeatureStore]) -> None:
    store.sql("SELECT 1")
    other = duplicate(store)
    FeatureStore(store.path).append({"notes": pa.table({"a": [1]})})
    assert other.has("notes"), "it reads its state when it is asked"
    assert not store.has("notes")
    assert other.memo is not store.memo
    assert other.database is not store.database
    other.close()
    assert store.sql("SELECT 1 AS one")["one"][0].as_py() == 1


def test_an_address_is_pickled_as_it_is() -> None:
    opened = FeatureStore("s3://bucket/store?region=x")
    assert pickle.loads(pickle.dumps(opened)).location == opened.location
