"""One open store in many threads: nobody gets another's answer, error or silence."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from featurestore import FeatureStore
from featurestore.errors import InputError, QueryError

ENDLESS = "SELECT count(*) FROM range(100000) a, range(100000) b, range(100) c WHERE a.range * b.range % 7 = c.range"
THREADS = 6


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
    assert sorted(made) == ["image index", "search index of counting"]
    shared.refresh()
    shared.similar(101, backbone="counting", k=2)
    assert len(made) == 4, "refresh empties it"


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
