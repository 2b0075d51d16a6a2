"""What a pipeline collects by `logging`: the events of the README, their facts, and nothing of it in commands."""

import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from filelock import FileLock
from support import Collection, CountingBackbone

from benchmarks.plan.cells import Outcome
from benchmarks.run.execution import Execution
from featurestore import FeatureStore
from featurestore.storage import lock as lock_module
from featurestore.storage.lock import LOCK_FILE

ROOT = Path(__file__).resolve().parents[1]
SECTION = (ROOT / "README.md").read_text("utf-8").partition("### What a pipeline can collect")[2].partition("\n## ")[0]


def facts_of(caplog: pytest.LogCaptureFixture, event: str) -> list[Mapping[str, Any]]:
    """The arguments of each record of ``event``."""
    return [record.args for record in caplog.records if isinstance(record.args, dict) and record.args["event"] == event]


@pytest.fixture
def collected(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that both loggers say."""
    for name in ("featurestore", "benchmarks"):
        caplog.set_level(logging.INFO, name)
    return caplog


def test_the_events_of_a_store(collection: Collection, collected: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (collection.images / "200.jpg").write_bytes(b"no image")
    store = FeatureStore(tmp_path / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    (left,) = facts_of(collected, "images left out")
    assert (left["store"], left["images"]) == (str(store.path), 1)
    assert left["reason"]
    store.embed(CountingBackbone())
    published = facts_of(collected, "publish")
    assert published[-1]["backbone"] == "counting"
    assert sum(one["vectors"] for one in published) == published[-1]["present"] == 24
    numbers = [one["number"] for one in facts_of(collected, "commit")]
    assert numbers == list(range(1, store.refresh().state.number + 1))
    assert facts_of(collected, "commit")[-1]["state"] == store.state.id
    store.remove_backbone("counting")
    report = store.gc(older_than="0")
    (gone,) = facts_of(collected, "gc")
    assert (gone["files"], gone["bytes"]) == (len(report.removed), report.removed_bytes)
    levels = {record.args["event"]: record.levelname for record in collected.records if isinstance(record.args, dict)}
    assert levels == {"images left out": "WARNING", "publish": "INFO", "commit": "INFO", "gc": "INFO"}


def test_a_slow_lock_and_a_repair(
    embedded: FeatureStore, collected: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "SLOW", 0.1)
    lock = FileLock(embedded.path / LOCK_FILE, thread_local=False)
    lock.acquire()
    threading.Timer(0.3, lock.release, kwargs={"force": True}).start()
    started = time.monotonic()
    embedded.append({"notes": pa.table({"x": [2]})}, wait_seconds=30)
    (slow,) = facts_of(collected, "slow lock")
    assert 0.1 < slow["seconds"] <= time.monotonic() - started
    next((embedded.path / "embeddings").rglob("part-*.parquet")).unlink()
    embedded.repair()
    (repaired,) = facts_of(collected, "repair")
    assert (repaired["vectors"], repaired["rows"], repaired["left"]) == (1, 0, 0)


def test_a_failed_cell(collected: pytest.LogCaptureFixture) -> None:
    execution = object.__new__(Execution)
    execution.run_id, execution.failed = "cv-1", 0

    class Cell:
        class head:
            name = "knn"

        class dataset:
            backbone = "clip"

        class split:
            repeat, fold = 2, 3

    execution._count(Cell(), Outcome("failed", "it ran longer\nthan 3 s"))  # type: ignore[arg-type]
    (failed,) = facts_of(collected, "cell failed")
    assert failed == {
        "event": "cell failed",
        "run": "cv-1",
        "head": "knn",
        "backbone": "clip",
        "repeat": 2,
        "fold": 3,
        "reason": r"it ran longer\nthan 3 s",
    }
    assert execution.failed == 1
    assert collected.records[-1].name == "benchmarks"


def test_the_readme_lists_each_event_of_the_code() -> None:
    calls = re.compile(r'(?:happened|went_wrong|arguments)\(\s*"([a-z ]+)"')
    sources = [
        path.read_text("utf-8") for name in ("featurestore", "benchmarks") for path in (ROOT / name).rglob("*.py")
    ]
    found = {event for text in sources for event in calls.findall(text)}
    assert len(found) == 8
    assert {event for event in found if f"`{event}`" not in SECTION} == set()


def test_commands_print_none_of_it(invoke: Callable[..., tuple[int, str, str]], kept_store: FeatureStore) -> None:
    assert invoke("snapshot", "create", "noted")[2] == ""
    code, _, err = invoke("view", "create", "bands", "--sql", "nothing.sql")
    assert code == 1
    assert "commit" not in err


def test_without_a_handler_nothing_is_printed() -> None:
    code = "from featurestore.events import went_wrong; went_wrong('x', 'said %(y)d', {'y': 1})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
