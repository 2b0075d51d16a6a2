"""One writer, any number of readers, in other processes: nobody is locked out, everybody sees a whole state."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from support import CountingBackbone

from featurestore import FeatureStore
from featurestore.catalog.writer import open_writer
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import StoreLocked

pytestmark = pytest.mark.shell_file

READER = """
import json, sys
from pathlib import Path
from featurestore import open as open_store
root, stop = sys.argv[1], Path(sys.argv[2])
reads, errors, torn, seen = 0, [], 0, set()
store = open_store(root)
while not stop.exists():
    try:
        store.refresh()
        row = store.sql("SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b, "
                        "(SELECT max(step) FROM a) AS x, (SELECT max(step) FROM b) AS y").to_pylist()[0]
        torn += row["a"] != row["b"] or row["x"] != row["y"]
        seen.add(store.state.number)
        reads += 1
    except Exception as error:
        errors.append(repr(error))
print(json.dumps({"reads": reads, "errors": errors[:3], "torn": torn, "states": len(seen)}))
"""


def read_while_writing(root: Path, *, readers: int, seconds: float) -> tuple[list[dict[str, object]], int]:
    """Readers in processes of their own against a writer here that appends to two tables in each commit.

    The writer goes on for ``seconds``, and on a busy machine until it has committed a few times.
    """
    stop = root.parent / "stop"
    store = FeatureStore(root)
    store.append({name: pa.table({"step": [0]}) for name in ("a", "b")})
    command = [sys.executable, "-c", READER, str(root), str(stop)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(readers)]
    commits, end = 0, time.time() + seconds
    while time.time() < end or commits < 6:
        commits += 1
        store.append({name: pa.table({"step": [commits]}) for name in ("a", "b")})
    stop.touch()
    return [json.loads(process.communicate(timeout=120)[0]) for process in running], commits


def check(results: list[dict[str, object]]) -> None:
    for result in results:
        assert result["errors"] == []
        assert result["torn"] == 0
        assert int(str(result["reads"])) > 0


def test_readers_see_whole_states_while_a_writer_commits(store: FeatureStore) -> None:
    results, commits = read_while_writing(store.path, readers=3, seconds=4)
    check(results)
    assert commits >= 4
    assert max(int(str(result["states"])) for result in results) > 1, "they saw the news"


@pytest.mark.slow
def test_eight_readers_for_a_minute(store: FeatureStore, capsys: pytest.CaptureFixture[str]) -> None:
    results, commits = read_while_writing(store.path, readers=8, seconds=60)
    with capsys.disabled():
        reads = sum(int(str(result["reads"])) for result in results)
        torn = sum(int(str(result["torn"])) for result in results)
        errors = sum(len(result["errors"]) for result in results)  # type: ignore[arg-type]
        print(f"\n8 readers, 60 s: {commits} commits, {reads} reads, {errors} errors, {torn} torn")
    check(results)


def test_a_second_writer_is_told_who_holds_the_store(
    store: FeatureStore, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_writer(store.path, purpose="embed descriptors"):
        with pytest.raises(StoreLocked, match=r"process \d+ on .* \(embed descriptors, since"):
            store.embed(CountingBackbone())
        monkeypatch.setattr("sys.argv", ["featurestore", "gc", "--store", str(store.path)])
        assert run_command(cli, "featurestore") == 1
        assert "try again when it has finished, or use --wait" in capfd.readouterr().err
        assert store.sql("SELECT count(*) AS n FROM labeled")["n"][0].as_py() == 20, "readers go on"
    assert store.embed(CountingBackbone()).computed == 24


def test_a_writer_can_wait(store: FeatureStore) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom featurestore.catalog.writer import open_writer\n"
        "with open_writer(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(2)\n"
    )
    command = [sys.executable, "-c", script, str(store.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with open_writer(store.path, wait_seconds=60) as writer:
            assert writer.state.number == store.state.number
        assert holder.wait() == 0


def test_a_killed_writer_holds_nobody_up(store: FeatureStore) -> None:
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nimport pyarrow as pa\n"
        "from featurestore.catalog.writer import open_writer\n"
        "with open_writer(Path(sys.argv[1]), purpose='dies') as writer:\n"
        "    commit = writer.commit().__enter__()\n"
        "    commit.append('ghost', pa.table({'x': [1]}))\n"
        "    import featurestore.catalog.swap as w\n"
        "    w.write_atomic = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    commit.publish()\n"
    )
    before = store.state.id
    result = subprocess.run([sys.executable, "-c", script, str(store.path)], capture_output=True)
    assert result.returncode == -9, result.stderr
    assert store.refresh().state.id == before, "parts and manifests were written, the state was not: nothing is seen"
    assert not store.has("ghost")
    store.append({"ghost": pa.table({"x": [2]})})
    assert store.sql("SELECT x FROM ghost")["x"].to_pylist() == [2], "the dead writer's row never surfaces"
