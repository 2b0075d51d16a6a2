"""Each bit of each record of a small store is flipped: no answer changes unnoticed, and `gc` removes nothing needed."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.catalog import maintenance, snapshots, views
from featurestore.catalog.writer import open_writer
from featurestore.collections import scan
from featurestore.collections.listing import list_images
from featurestore.errors import FeatureStoreError, IntegrityError, StoreLocked
from featurestore.storage.manifest import parse_manifest
from featurestore.storage.snapshot import parse_snapshot
from featurestore.storage.state import parse_state

pytestmark = pytest.mark.shell_file

NO_AGE = timedelta(0)


@pytest.fixture(scope="module")
def small_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images with vectors, a table and a view of the user's, and a snapshot of an earlier state."""
    root = tmp_path_factory.mktemp("small")
    collection, store = Collection(root, 4), FeatureStore(root / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "RACY_NS", -(10**15))  # the images may be cached though they are new
        store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    store.append({"notes": pa.table({"x": [1]})})
    views.create(store.path, "mine", "SELECT ImgId, Genre1 FROM collection")
    store.create_snapshot("kept")
    store.append({"notes": pa.table({"x": [2]})})
    return store.path


@pytest.fixture
def small(small_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_once, tmp_path / "store")


def records(root: Path) -> list[Path]:
    return [root / "state.json", *sorted((root / "snapshots").iterdir()), *sorted((root / "manifests").iterdir())]


def flips(content: bytes, *, start: int = 0, step: int = 1) -> Iterator[bytes]:
    """``content`` with one bit changed, every ``step``-th of all."""
    for bit in range(start, 8 * len(content), step):
        place = bit // 8
        yield content[:place] + bytes([content[place] ^ 1 << bit % 8]) + content[place + 1 :]


def parsers(root: Path) -> dict[Path, Callable[[bytes], object]]:
    """How each record is read: by every command in the same way."""
    kept = snapshots.read(root, "kept")
    tables = {name: table for state in (kept, FeatureStore(root).state) for table, name in state.tables.items()}
    found: dict[Path, Callable[[bytes], object]] = {root / "state.json": lambda content: parse_state(content, "x")}
    for path in records(root)[1:]:
        if path.parent.name == "snapshots":
            found[path] = lambda content, path=path: parse_snapshot(content, path.stem, "x")  # type: ignore[misc]
        else:
            found[path] = lambda content, name=path.stem: parse_manifest(content, tables[name], name, "x")  # type: ignore[misc]
    return found


def test_every_bit_of_every_record_is_noticed_or_is_none_of_it(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As each is parsed; what a whole command answers is tried on some of them below."""
    counts: dict[str, Counter[str]] = {}
    for path, parse in parsers(small).items():
        content = path.read_bytes()
        whole, count = parse(content), counts.setdefault(path.parent.name, Counter())
        for damaged in flips(content):
            try:
                assert parse(damaged) == whole, damaged
                count["harmless"] += 1
            except FeatureStoreError:
                count["noticed"] += 1
        assert count["noticed"] > 0.8 * 8 * len(content), "the rest is white space"
    assert counts["manifests"]["harmless"] == 0
    with capsys.disabled():
        print(f"\nbits flipped as a record is parsed: {_told(counts)}")


def _told(counts: dict[str, Counter[str]]) -> str:
    return ", ".join(
        f"{name}: {sum(count.values())} ({', '.join(f'{number} {what}' for what, number in sorted(count.items()))})"
        for name, count in counts.items()
    )


def answers(root: Path) -> dict[str, object]:
    """All that a reader can ask of a store; of what is one sentence instead, nothing."""
    with FeatureStore(root) as store:
        names = ("movies", "images", "backbones", "extractions", "embeddings", "notes", "collection", "labeled", "mine")
        questions: dict[str, Callable[[], object]] = {
            f"sql {name}": lambda name=name: store.sql(f"FROM {name} ORDER BY ALL")  # type: ignore[misc]
            for name in (*names, "genre_counts", "labeled_counting", "embeddings_counting")
        }
        questions |= {
            "features": lambda: store.features("counting", view="mine").X.tobytes(),
            "lineage": lambda: store.lineage(101),
            "diff": lambda: snapshots.diff(root, "kept"),
            "snapshot": lambda: FeatureStore(root, snapshot="kept").sql("FROM notes"),
            "backbones": store.backbones,
        }
        found = {}
        for question, ask in questions.items():
            try:
                found[question] = ask()
            except FeatureStoreError:
                continue
        return found


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".lock")}


def check_flips(root: Path, *, step: int) -> Counter[str]:
    """Flip one bit in ``step`` of each record and ask everything, then collect garbage."""
    whole, before = answers(root), files(root)
    counts: Counter[str] = Counter()
    for number, path in enumerate(records(root)):
        content = path.read_bytes()
        for damaged in flips(content, start=number * 977 % (8 * len(content)), step=step):
            path.write_bytes(damaged)
            found = answers(root)
            assert {question: whole[question] for question in found} == found, damaged
            try:
                assert maintenance.gc(root, older_than=NO_AGE).removed == []
                assert len(found) == len(whole), "what can't be read is a reason to remove nothing"
                counts["harmless"] += 1
            except FeatureStoreError:
                counts["noticed"] += 1
            path.write_bytes(content)
            assert files(root) == before
    assert answers(root).keys() == whole.keys()
    return counts


def test_no_flipped_bit_changes_an_answer_or_removes_a_part(small: Path) -> None:
    counts = check_flips(small, step=8 * 799)
    assert counts["noticed"] >= 8


@pytest.mark.slow
def test_no_flipped_bit_of_many_changes_an_answer(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = check_flips(small, step=8 * 41 + 3)
    with capsys.disabled():
        print(f"\nbits flipped under all questions and gc: {dict(counts)}")


@pytest.mark.parametrize("step", [613, pytest.param(61, marks=pytest.mark.slow)])
def test_no_flipped_bit_of_the_cache_gives_an_image_other_facts(
    small: Path, small_once: Path, step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    images = small_once.parent / "posters"
    (cache,) = (small / "cache").iterdir()
    content, counts = cache.read_bytes(), Counter[str]()
    whole = scan.scan_images(list_images([images], nested=False), cache=small / "cache")
    assert whole.read == 0, "all of it comes from the cache"
    for damaged in flips(content, step=step):
        cache.write_bytes(damaged)
        found = scan.scan_images(list_images([images], nested=False), cache=small / "cache")
        assert found.table.equals(whole.table)
        counts["read anew" if found.read else "harmless"] += 1
    assert counts == {"read anew": len(range(0, 8 * len(content), step))}
    with capsys.disabled():
        print(f"\nbits flipped in the cache: {dict(counts)}")


def test_a_cache_under_an_older_name_is_not_read_and_goes(small: Path, small_once: Path) -> None:
    images = small_once.parent / "posters"
    (cache,) = (small / "cache").iterdir()
    shutil.copy(cache, cache.with_name("images-0.parquet"))
    cache.write_bytes(b"")
    found = scan.scan_images(list_images([images], nested=False), cache=small / "cache")
    assert found.read == 4
    scan.keep(found, small / "cache")
    assert len(list((small / "cache").iterdir())) == 1


def test_no_flipped_bit_of_the_lock_holder_is_more_than_words(small: Path) -> None:
    def write() -> None:
        with open_writer(small):
            pytest.fail("two writers at once")

    with open_writer(small, purpose="embed"):
        path = small / ".lock.holder.json"
        for damaged in flips(path.read_bytes()):
            path.write_bytes(damaged)
            with pytest.raises(StoreLocked, match=r"is being written by .*: try again") as caught:
                write()
            assert str(caught.value).isprintable()
        path.unlink()
        os.mkfifo(path)  # a pipe has no end
        with pytest.raises(StoreLocked, match="is being written by another process"):
            write()


SHELL = """
import sys, duckdb
path, home = sys.argv[1:]
with duckdb.connect(path, read_only=True) as shell:
    shell.execute(f"SET file_search_path = '{home}'")
    for name in ("movies", "notes", "labeled_counting"):
        print(shell.execute(f"FROM {name} ORDER BY ALL").fetchall())
"""


@pytest.mark.parametrize("step", [8 * 9973, pytest.param(8 * 511 + 1, marks=pytest.mark.slow)])
def test_no_flipped_bit_of_the_shells_database_is_asked_by_a_command(
    small: Path, step: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """No command reads it; the shell has DuckDB's own checksums."""
    path = small / "store.duckdb"
    content, whole, counts = path.read_bytes(), answers(small), Counter[str]()

    def shell() -> tuple[int, bytes]:
        done = subprocess.run([sys.executable, "-c", SHELL, str(path), str(small)], capture_output=True)
        return done.returncode, done.stdout

    expected = shell()
    assert expected[0] == 0
    for damaged in flips(content, step=step):
        path.write_bytes(damaged)
        found = shell()
        counts["another answer" if not found[0] and found != expected else "noticed" if found[0] else "harmless"] += 1
    assert counts["another answer"] == 0
    assert answers(small) == whole
    path.unlink()
    with open_writer(small):
        pass
    assert shell() == expected, "made anew by the next command that writes"
    with capsys.disabled():
        print(f"\nbits flipped in store.duckdb: {dict(counts)}")


@pytest.mark.parametrize("damaged", ["state.json", "snapshots/kept.json", "manifest"])
def test_gc_and_repair_remove_nothing_while_a_record_is_damaged(small: Path, damaged: str) -> None:
    path = records(small)[-1] if damaged == "manifest" else small / damaged
    path.write_bytes(path.read_bytes()[:-20])
    parts = {path for path in files(small) if path.name.startswith("part-")}
    assert list(maintenance.verify(small).damaged) == [str(path.relative_to(small))]
    for age in (NO_AGE, timedelta(days=1)):
        with pytest.raises(IntegrityError, match=path.name):
            maintenance.gc(small, older_than=age)
    assert parts <= files(small)
