"""SQL in a process of its own: its limits hold within one call of a function, and nothing is left of it."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest
from torture.launch import in_process

from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.errors import InputError, IntegrityError, QueryError
from featurestore.explore.page import answers
from featurestore.features.selection import matching
from featurestore.limited import pool, process

# Each is one call of a function, which `interrupt` does not stop.
SLOW = "levenshtein(repeat('a', 300_000), repeat('b', 300_000))"
LARGE = "damerau_levenshtein(repeat('a', 40_000), repeat('b', 40_000))"
linux = pytest.mark.skipif(sys.platform != "linux", reason="this system can't limit the memory of a process")


@pytest.fixture
def alone(kept_store: FeatureStore) -> Iterator[FeatureStore]:
    """A store whose SQL runs in a process of its own."""
    with FeatureStore.open(kept_store.path, isolated=True) as store:
        yield store


def processes() -> list[int]:
    """The ids of the processes that this one has started for SQL."""
    return [one._process.pid for one in list(process._all) if one.alive]


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_result_is_the_same_as_in_this_process(kept_store: FeatureStore, alone: FeatureStore) -> None:
    for query, parameters in (
        ("FROM labeled ORDER BY ImgId", None),
        ("SELECT count(*) AS n FROM labeled WHERE Genre1 = ?", ["Drama"]),
        ("SELECT ImgId, embedding FROM embeddings_counting ORDER BY ImgId", None),
        ("SELECT Genre1::ENUM ('Comedy', 'Drama') AS e FROM labeled WHERE Genre1 IN ('Drama', 'Comedy')", None),
        ("SHOW TABLES", None),
        ("SELECT * FROM range(100_000)", None),
        ("SELECT repeat('x', 3_000_000 + range::INTEGER) AS long FROM range(3)", None),
        ("SELECT 1 AS a WHERE false", None),
    ):
        assert alone.sql(query, parameters).equals(kept_store.sql(query, parameters)), query
    assert kept_store.sql("SELECT 1 AS a", isolated=True).equals(alone.sql("SELECT 1 AS a", isolated=False))


@pytest.mark.parametrize("query", ["SELECT Titel FROM labeled", "FROM labelled", "SELECT getenv('HOME')", "SELEC", ""])
def test_an_error_is_the_same_as_in_this_process(kept_store: FeatureStore, alone: FeatureStore, query: str) -> None:
    with pytest.raises(QueryError) as here:
        kept_store.sql(query)
    with pytest.raises(QueryError) as there:
        alone.sql(query)
    assert str(here.value) == str(there.value)


def test_one_process_answers_several_queries_of_several_states(alone: FeatureStore, tmp_path: Path) -> None:
    first = alone.sql("SELECT count(*) AS n FROM labeled")["n"][0].as_py()
    running = processes()
    other = FeatureStore(tmp_path / "other", isolated=True)
    other.create()
    assert [store.sql("SELECT count(*) AS n FROM images")["n"][0].as_py() for store in (other, alone, other)] == [
        0,
        24,
        0,
    ]
    other.append({"notes": pa.table({"a": [1]})})
    assert len(other.sql("FROM notes")) == 1
    with pytest.raises(QueryError, match="Titel"):
        alone.sql("SELECT Titel FROM labeled")
    assert alone.sql("SELECT count(*) AS n FROM labeled")["n"][0].as_py() == first
    assert processes() == running


def test_a_call_that_never_looks_up_is_ended_in_time(alone: FeatureStore) -> None:
    alone.sql("SELECT 1")
    (pid,) = processes()
    before = time.monotonic()
    with pytest.raises(QueryError, match=r"longer than 0\.3 s"):
        alone.sql(f"SELECT {SLOW}", seconds=0.3)
    assert time.monotonic() - before < 5
    assert not is_running(pid)
    assert alone.sql("SELECT 1 AS one")["one"][0].as_py() == 1


@linux
def test_a_call_that_takes_gigabytes_is_refused(alone: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MEMORY_BYTES", 400_000_000)  # DuckDB's own limit is far above
    pool.end_all()
    for query in (f"SELECT {LARGE}", "SELECT max(length(repeat('a', 200_000_000 + r::INT))) FROM range(9) AS t(r)"):
        with pytest.raises(QueryError, match="memory"):
            alone.sql(query, seconds=60)
    pool.end_all()


def test_a_process_that_ends_is_one_sentence(alone: FeatureStore) -> None:
    alone.sql("SELECT 1")
    (pid,) = processes()
    timer = threading.Timer(0.3, os.kill, (pid, signal.SIGTERM))
    timer.start()
    with pytest.raises(QueryError, match=r"ended \(it was ended by signal 15\); it may need more than 2\.5 GB"):
        alone.sql(f"SELECT {SLOW}", seconds=30)
    timer.join()


def test_an_error_after_the_first_rows_is_raised(alone: FeatureStore) -> None:
    with pytest.raises(QueryError, match="failed: Invalid Input Error: late"):
        alone.sql("SELECT CASE WHEN range = 90_000 THEN error('late') ELSE 1 END FROM range(100_000)")
    with pytest.raises(InputError, match="expected more than 0"):
        alone.sql("SELECT 1", seconds=0)


def test_other_queries_go_on_beside_a_slow_one(alone: FeatureStore) -> None:
    alone.sql("SELECT 1")
    (busy,) = processes()
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(alone.sql, f"SELECT {SLOW}", seconds=60)
        while pool._idle:
            time.sleep(0.01)
        assert alone.sql("SELECT 1 AS one")["one"][0].as_py() == 1
        assert not slow.done()
        os.kill(busy, signal.SIGKILL)
        with pytest.raises(QueryError, match="ended by signal 9"):
            slow.result()


def test_more_queries_than_processes_wait_and_say_so(alone: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_places", threading.BoundedSemaphore(1))
    with pool._places, pytest.raises(QueryError, match="other queries have been running"):
        alone.sql("SELECT 1", seconds=0.1)


def test_a_condition_runs_there_too(alone: FeatureStore) -> None:
    assert len(alone.features("counting", where="ImgId < 110")) == 8
    with pytest.raises(QueryError, match=r"the condition .* longer than 0\.3 s"):
        matching(alone, "labeled", f"{SLOW} > 0", seconds=0.3)


def test_a_view_is_tried_there(alone: FeatureStore) -> None:
    """Counting its rows runs it, and binding it runs the calls in FROM."""
    for query in (f"SELECT ImgId, {SLOW} AS x FROM labeled WHERE x > 1", f"SELECT 1 AS ImgId FROM range({SLOW})"):
        with pytest.raises(QueryError, match=r"longer than 0\.3 s"):
            views.create(alone.path, "slow", query, seconds=0.3)
    assert not alone.refresh().views()


@pytest.mark.slow
def test_the_page_answers_while_a_condition_is_slow(kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SECONDS", 2.0)
    with kept_store.explore() as running, ThreadPoolExecutor(1) as other:
        page = running.url.partition("#")[0]
        slow = other.submit(requests_of, f"{page}api/where?q={quote(SLOW + ' > 0')}")
        meta = requests_of(f"{page}api/meta")
        assert not slow.done()
        assert meta[0] == 200
        status, content = slow.result()
    assert status == 400
    assert "longer than 2 s" in content


def requests_of(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


START = """
import featurestore, sys
featurestore.FeatureStore.open(sys.argv[1]).sql(sys.argv[2], isolated=True)
"""


@linux
def test_it_ends_with_its_parent(kept_store: FeatureStore) -> None:
    arguments = [sys.executable, "-c", START, str(kept_store.path), f"SELECT {SLOW}"]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as parent:
        child = _child_of(parent.pid)
        time.sleep(0.3)
        parent.kill()
        parent.wait(timeout=10)
    for _ in range(100):
        if not is_running(child):
            return
        time.sleep(0.05)
    pytest.fail("it still runs")


@linux
def test_ctrl_c_ends_the_command_at_once(kept_store: FeatureStore) -> None:
    code = "from featurestore.commands.cli import main; main()"
    arguments = [sys.executable, "-c", code, "sql", "--store", str(kept_store.path), f"SELECT {SLOW}"]
    with subprocess.Popen(arguments, stdout=-1, stderr=-1, text=True, process_group=0) as command:
        child = _child_of(command.pid)
        time.sleep(0.5)
        before = time.monotonic()
        os.killpg(command.pid, signal.SIGINT)
        out, err = command.communicate(timeout=30)
    assert time.monotonic() - before < 5
    assert (command.returncode, out) == (130, "")
    assert err.strip() == "featurestore: stopped; finished work is kept, run the command again to continue"
    assert not is_running(child)


def _child_of(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    for _ in range(600):
        if found := children.read_text("ascii").split():
            return int(found[0])
        time.sleep(0.05)
    raise AssertionError("it has started no process")


@pytest.mark.slow
def test_a_forked_child_starts_its_own(alone: FeatureStore) -> None:
    alone.sql("SELECT 1")
    mine = processes()
    if (pid := os.fork()) == 0:
        code = 1
        try:
            code = int(alone.sql("SELECT 1 AS one")["one"][0].as_py() != 1)
            pool.end_all()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert alone.sql("SELECT 2 AS two")["two"][0].as_py() == 2
    assert processes() == mine


def test_it_has_the_environment_of_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys of an object store may be set later, and relative paths depend on the working directory."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "told.py").write_text("import os\ndef told(): yield os.getcwd() + os.environ['AWS_ACCESS_KEY_ID']\n")
    monkeypatch.setattr(process, "CODE", process.CODE.replace("; from", f"; sys.path.append({str(tmp_path)!r}); from"))
    pool.end_all()
    assert list(pool.run("told:told", seconds=9)) == [f"{tmp_path}test"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    assert list(pool.run("told:told", seconds=9)) == [f"{tmp_path}other"]
    assert len(processes()) == 1
    pool.end_all()


def test_the_errors_of_a_store_keep_their_class(alone: FeatureStore) -> None:
    with pytest.raises(IntegrityError):
        list(pool.run("featurestore.catalog.isolated_child:rows", str(alone.path), b"{}", "SELECT 1", None, seconds=9))
    with pytest.raises(QueryError, match="AttributeError"):
        list(pool.run("featurestore.catalog.isolated_child:nothing", seconds=9))


def test_the_command_passes_on_what_it_is_given(kept_store: FeatureStore, tmp_path: Path) -> None:
    def sql(*arguments: str) -> tuple[int, str, str]:
        done = in_process(["featurestore", "sql", "--store", str(kept_store.path), *arguments])
        return done.code, done.out, done.err

    assert sql("SELECT 1 AS a", "--format", "json") == (0, '[{"a": 1}]\n', "")
    code, out, err = sql("SELECT 1", "--timeout", "-1")
    assert (code, out, err.count("\n")) == (1, "", 1)
    output = tmp_path / "x.csv"
    late = "SELECT CASE WHEN range = 90_000 THEN error('late') ELSE 1 END AS a FROM range(100_000)"
    assert sql(late, "-o", str(output))[0] == 1
    assert not output.exists(), "a file is written as a whole, or not"
