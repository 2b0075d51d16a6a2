"""The short form of `make torture`: the same code on fewer moments and seconds; and tests of the harness itself."""

import errno
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from support import CountingBackbone, missing

from featurestore import FeatureStore
from torture import cluster, damage, determinism, disk, hashes, kill, load, object_store, shards, shim
from torture import content as contents
from torture.bed import Bed, Done
from torture.context import Context, spread
from torture.jobs import JOBS
from torture.table import Row, render, save


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """The short form."""
    return Context(quick=True, moments=5, seconds=2, scratch=tmp_path)


def check(rows: list[Row]) -> None:
    assert rows
    faults = [f"{row.job}, {row.tried}: {fault}" for row in rows for fault in row.faults]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("moments", "names"),
    [
        pytest.param(5, ["import-embeddings"], id="5 of one job"),
        pytest.param(20, kill.SHORT, marks=pytest.mark.slow, id="20"),
    ],
)
def test_kill(context: Context, moments: int, names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    context.moments = moments
    monkeypatch.setattr(kill, "SHORT", names)
    rows = list(kill.run(context))
    check(rows)
    assert sum(row.count for row in rows) >= 0.8 * moments, "they were killed, and not ended before"


def test_shards(context: Context) -> None:
    check(list(shards.run(context)))


@pytest.mark.slow
def test_disk(context: Context) -> None:
    check(list(disk.run(context)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["import-embeddings", "compact"])
def test_what_the_shell_opens_is_whole_or_as_it_was(context: Context, name: str) -> None:
    library = context.library()
    if library is None:
        pytest.skip("no C compiler, so no failing layer")
    (job,) = (job for job in JOBS if job.name == name)
    bed = context.bed("shell")
    usual = kill.undisturbed(bed, job, library)
    places = [place for place, call in enumerate(usual.calls, 1) if ".store.duckdb." in str(call.path)][::2]
    assert len(places) > 1
    failures = [disk.Failure(place, errno.EIO, False) for place in places]
    found = context.each(lambda failure: disk.fail(bed, job, usual, failure, library), failures)
    assert [fault for some in found for fault in some] == []


@pytest.mark.slow
def test_damage(context: Context) -> None:
    check(list(damage.run(context)))


@pytest.mark.slow
def test_load(context: Context) -> None:
    check(load.run(context))


@pytest.mark.slow
def test_object_store(context: Context) -> None:
    rows = object_store.run(context)
    check(rows)
    assert all(row.count for row in rows) or missing("moto", "obstore")


@pytest.mark.cluster
def test_cluster(context: Context) -> None:
    rows = list(cluster.run(context))
    check(rows)
    assert all(row.count for row in rows) or missing("ray")


@pytest.mark.cluster
def test_hashes(context: Context) -> None:
    rows = list(hashes.run(context))
    check(rows)
    assert len({row.note for row in rows if row.count}) == 1
    assert len(rows) == 5


def test_without_a_package_a_row_says_so(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    for job in (cluster, object_store):
        monkeypatch.setattr(job, "missing", lambda *packages: f"not installed: {', '.join(packages)}")
    rows = [*cluster.run(context), *object_store.run(context)]
    assert [(row.outcome, row.note) for row in rows] == [
        ("skipped", "not installed: ray"),
        ("skipped", "not installed: moto, obstore"),
    ]


@pytest.mark.slow
def test_determinism(context: Context) -> None:
    check(determinism.run(context))


@pytest.mark.slow
def test_bench_bits(context: Context) -> None:
    """The short form of it is `test_workers_do_not_change_a_bit`."""
    check(determinism.bench(context, context.bed("determinism")))


@pytest.mark.parametrize(("total", "count"), [(5, 9), (100, 7), (7, 7)])
def test_moments_are_spread_over_all_calls(context: Context, total: int, count: int) -> None:
    places = spread(total, count, context.random("x"))
    assert places == sorted(set(places))
    assert len(places) == min(total, count)
    assert all(round(number * total / len(places)) < place for number, place in enumerate(places))
    assert places == spread(total, count, context.random("x")), "the same in every run"


def test_the_layer_sees_the_writes_of_every_library(context: Context, tmp_path: Path) -> None:
    library = context.library()
    if library is None:
        pytest.skip("no C compiler")
    bed = Bed(tmp_path / "bed")
    usual = kill.undisturbed(bed, JOBS[0], library)
    seen = {(call.name, call.path.rsplit("/", 1)[-1].split(".")[-1]) for call in usual.calls}
    assert ("rename", "parquet") in seen, "Python"
    assert ("write", "wal") in seen, "DuckDB, in C++"


def test_a_call_can_be_made_to_fail(context: Context, tmp_path: Path) -> None:
    library = context.library()
    if library is None:
        pytest.skip("no C compiler")
    bed = Bed(tmp_path / "bed")
    root = bed.store("ingested", bed.ingested)
    variables = shim.environment(library, root, log=tmp_path / "log", at=3, action=5)
    done = bed.run(["featurestore", "compact", "--store", root], environment=variables)
    assert done.code == 1
    assert "Input/output error" in done.err
    assert len(shim.calls(tmp_path / "log")) >= 3


def test_content_is_what_readers_see_and_not_how_it_is_stored(tmp_path: Path) -> None:
    bed = Bed(tmp_path / "bed")
    first, second = (FeatureStore(bed.store("ingested", bed.ingested)) for _ in range(2))
    first.embed(CountingBackbone())
    second.embed(CountingBackbone(), batch_size=5)
    for rows in ([1, 2], [3]):
        first.append({"notes": pa.table({"step": rows})})
    second.append({"notes": pa.table({"step": [3, 1, 2]})})
    one, two = contents.whole(first.path), contents.whole(second.path)
    assert contents.digest(one) == contents.digest(two)
    second.append({"notes": pa.table({"step": [3]})})
    now = contents.whole(second.path)
    assert contents.digest(now) != contents.digest(one)
    assert contents.lost(now, one) == {"notes": 1}
    assert contents.lost(one, now) == {}
    other = dict(one) | {"notes": Counter({'{"step": 9}': 3})}
    assert contents.lost(one, other) == {"notes": 3}, "as many rows, but others"


@pytest.mark.parametrize(
    ("done", "failed", "fault"),
    [
        (Done(1, "", "featurestore: no."), True, ""),
        (Done(0, "", "featurestore: no."), True, "exit code 0"),
        (Done(1, "", "Traceback (most recent call last)\nE: x"), True, "a traceback: E: x"),
        (Done(1, "", "featurestore: no.\nand more"), True, "no single sentence"),
        (Done(1, "", "bench: 1 of 6 cells, 0 cells/s\nbenchmarks: no."), True, ""),
        (Done(1, "", "bench: 1 of 6 cells, 0 cells/s"), True, "no single sentence"),
        (Done(0, "fine", ""), False, ""),
        (Done(2, "", "featurestore: no."), False, "exit code 2"),
    ],
)
def test_how_a_command_must_end(done: Done, failed: bool, fault: str) -> None:
    assert any(fault in found for found in done.faults(failed=failed)) if fault else not done.faults(failed=failed)


def test_the_table_tells_every_outcome(tmp_path: Path) -> None:
    rows = [
        Row("kill", "k", 3, [], 1.0),
        Row("disk", "d", 3, ["lost a row"], 1.0),
        Row("damage", "b", 3, [], 1.0, misses=["not told"]),
        Row("load", "l", 0, [], 0.0, "not root"),
    ]
    about = {"at": "now", "commit": "c", "machine": "m", "versions": {"python": "3"}}
    text = render(rows, about)
    assert "1 passed, 1 failed, 1 missed, 1 skipped" in text
    assert "FAIL disk, d: lost a row" in text
    assert "MISS damage: not told" in text
    save(rows, about, tmp_path / "kept.json")
    kept = json.loads((tmp_path / "kept.json").read_text("utf-8"))
    assert [row["outcome"] for row in kept["rows"]] == ["PASS", "FAIL", "MISS", "skipped"]
