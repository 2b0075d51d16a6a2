"""One open store in many threads, in forked children, and pickled: nobody gets another's answer, error or silence."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import CountingBackbone

from featurestore import FeatureStore
from featurestore.catalog import snapshots
from featurestore.errors import FeatureStoreError, InputError, QueryError

ENDLESS = "SELECT count(*) FROM range(100000) a, range(100000) b, range(100) c WHERE a.range * b.range % 7 = c.range"
THREADS = 6
# CPython warns of any fork in a process with threads; these children touch nothing of theirs.
forks = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


def together(count: int, action: Callable[[int], object]) -> list[object]:
    """What ``action`` returns for 0 … in as many threads, which start at once."""
    start = threading.Barrier(count)

    def run(number: int) -> object:
        start.wait()
        return action(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.fixture
def shared(kept_store: FeatureStore) -> Iterator[FeatureStore]:
    """A store that no thread has asked yet."""
    with FeatureStore(kept_store.path) as store:
        yield store


def test_each_thread_gets_its_own_answer(shared: FeatureStore) -> None:
    def ask(number: int) -> None:
        for turn in range(20):
            value = 1000 * number + turn
            assert shared.sql(f"SELECT {value} AS a, count(*) AS n FROM labeled").to_pylist() == [{"a": value, "n": 20}]
            assert shared.query("SELECT ? AS a", [value])["a"].to_pylist() == [value]

    together(THREADS, ask)


def test_all_verbs_at_once(shared: FeatureStore) -> None:
    expected = FeatureStore(shared.path)
    features = expected.features("counting", label="Genre1")
    near = expected.similar(101, backbone="counting", k=3)
    views = expected.sql("SHOW TABLES")

    def ask(number: int) -> None:
        for turn in range(5):
            match (number + turn) % 5:
                case 0:
                    np.testing.assert_array_equal(shared.features("counting", label="Genre1").X, features.X)
                case 1:
                    np.testing.assert_array_equal(shared.similar(101, backbone="counting", k=3).ids, near.ids)
                case 2:
                    assert shared.sql("SHOW TABLES").equals(views)
                case 3:
                    assert [row.name for row in shared.backbones()] == ["counting"]
                case _:
                    assert len(shared.features("counting", view="collection", where="ImgId > 110").ids) == 14
            assert shared.lineage(101)["image"]["ImgId"] == 101

    together(THREADS, ask)


def test_what_is_kept_in_memory_is_made_once(shared: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    whole = FeatureStore.remember

    def remember(self: FeatureStore, name: str, make: Callable[[], object]) -> object:
        return whole(self, name, lambda: (made.append(name), make())[1])

    monkeypatch.setattr(FeatureStore, "remember", remember)
    together(THREADS, lambda _: shared.similar(101, backbone="counting", k=2))
    assert sorted(made) == ["image index", "places of counting", "search index of counting"]
    shared.refresh()
    shared.similar(101, backbone="counting", k=2)
    assert len(made) == 6, "refresh empties it"


def test_what_failed_to_be_made_is_tried_again(shared: FeatureStore) -> None:
    def fail() -> None:
        raise InputError("not now")

    with pytest.raises(InputError, match="not now"):
        shared.remember("thing", fail)
    assert shared.remember("thing", lambda: 7) == 7
    assert shared.remember("thing", fail) == 7


def test_an_error_is_that_of_the_thread_that_made_it(shared: FeatureStore) -> None:
    wrong = [
        ("SELECT current_setting('secret_directory')", "current_setting"),
        ("SELECT Nothing FROM labeled", "Nothing"),
        ("SELEC 1", "syntax error"),
        ("FROM nowhere", "nowhere"),
        ("SELECT error('late') FROM range(3)", "late"),
    ]

    def ask(number: int) -> None:
        for turn in range(15):
            if number % 2:
                query, word = wrong[(number + turn) % len(wrong)]
                with pytest.raises(QueryError, match=word):
                    shared.sql(query)
            else:
                assert shared.sql("SELECT sum(ImgId) AS s FROM images")["s"][0].as_py() == sum(range(101, 125))

    together(THREADS, ask)


def test_a_time_limit_stops_the_query_of_its_own_thread(shared: FeatureStore) -> None:
    counted = threading.Event()

    def ask(number: int) -> object:
        if number == 0:
            with pytest.raises(QueryError, match=r"longer than 0\.3 s"):
                shared.sql(ENDLESS, seconds=0.3)
            counted.set()
            return None
        answers = 0
        while not counted.is_set():
            found = shared.sql("SELECT count(*) AS n FROM range(300_000) AS r WHERE hash(r.range) % 7 <> 3")
            assert found["n"][0].as_py() > 250_000
            answers += 1
        return answers

    assert all(isinstance(answers, int) and answers > 0 for answers in together(3, ask)[1:])


def test_threads_that_ended_leave_no_cursor_behind(shared: FeatureStore) -> None:
    connections = "SELECT count FROM duckdb_connection_count()"
    shared.query("SELECT 1")
    for _ in range(30):
        thread = threading.Thread(target=lambda: shared.query("SELECT 1"))
        thread.start()
        thread.join()
    assert shared.query(connections)["count"][0].as_py() <= 4, "the one that makes views, mine, and the last thread's"


@pytest.mark.parametrize("what", ["refresh", "close"])
def test_a_thread_goes_on_while_another_closes(shared: FeatureStore, what: str) -> None:
    features = shared.features("counting").X

    def ask(number: int) -> None:
        for _ in range(15):
            if number == 0:
                getattr(shared, what)()
                time.sleep(0.005)
            elif number == 1:
                assert shared.query("SELECT count(*) AS n FROM labeled")["n"][0].as_py() == 20
            elif number == 2:
                np.testing.assert_array_equal(shared.features("counting").X, features)
            else:
                assert len(shared.similar(101, backbone="counting", k=3).ids[0]) == 3

    together(4, ask)


def test_a_query_ends_as_it_began_when_another_thread_closes(shared: FeatureStore) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            shared.sql, "SELECT count(*) AS n FROM range(40_000_000) AS r WHERE hash(r.range) % 7 = 3"
        )
        time.sleep(0.1)
        shared.close()
        assert shared.sql("SELECT 1 AS one")["one"][0].as_py() == 1
        assert running.result()["n"][0].as_py() > 5_000_000


def test_a_reader_in_the_middle_sees_one_state(store: FeatureStore) -> None:
    store.append({"notes": pa.table({"a": [1]})})
    assert store.has("notes")
    with store.reading() as seen:
        FeatureStore(store.path).append({"notes": pa.table({"a": [2]})})
        store.refresh()
        assert len(seen.query("FROM notes")) == 1
        assert seen.state.number + 1 == store.state.number
    assert len(store.query("FROM notes")) == 2


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
        for _ in range(12):
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
