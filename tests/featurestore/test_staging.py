"""Nothing that was not computed is stored, whatever happens to staged batches or to the store while `embed` runs."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.catalog import maintenance
from featurestore.catalog.writer import open_writer
from featurestore.collections.movies.recipe import MOVIES
from featurestore.embedding import staging
from featurestore.errors import FeatureStoreError, IntegrityError, StoreError
from featurestore.storage.parts import Part, write_part


def batches(store: FeatureStore) -> list[Path]:
    return sorted((store.path / "staging").rglob("part-*.parquet"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def remove(folder: Path) -> None:
    """Take the folder away at once: while its files were removed, a batch could be put into it."""
    away = folder.with_name(f"{folder.name}-removed")
    if folder.parent.name == "staging":  # what lies there is a run
        away = folder.parents[1] / away.name
    shutil.rmtree(folder.rename(away))


HARM: dict[str, Callable[[list[Path]], object]] = {
    "one deleted": lambda found: found[0].unlink(),
    "all deleted": lambda found: [path.unlink() for path in found],
    "one truncated": lambda found: found[0].write_bytes(found[0].read_bytes()[:-9]),
    "one emptied": lambda found: found[1].write_bytes(b""),
    "one bit flipped": lambda found: flip(found[0]),
    "one replaced by another": lambda found: shutil.copy(found[1], found[0]),
    "one became a folder": lambda found: to_folder(found[0]),
    "the run's folder removed": lambda found: remove(found[0].parent),
    "the folder of all runs removed": lambda found: remove(found[0].parents[1]),
}


def harmed(store: FeatureStore, harm: Callable[[], object], at_batch: int = 3) -> FeatureStoreError:
    """The error of an `embed` during which ``harm`` happens."""
    backbone = CountingBackbone()
    backbone.before_batch = lambda batch: harm() if batch == at_batch else None
    with pytest.raises(FeatureStoreError) as caught:
        store.embed(backbone, batch_size=4)
    return caught.value


@pytest.fixture
def expected(store: FeatureStore) -> bytes:
    """The vectors of an embed that nobody disturbs."""
    copy = store.path.with_name("undisturbed")
    shutil.copytree(store.path, copy)
    undisturbed = FeatureStore(copy)
    undisturbed.embed(CountingBackbone(), batch_size=4)
    return undisturbed.features("counting", view="collection").X.tobytes()


@pytest.mark.parametrize("how", HARM)
def test_what_happens_to_staged_batches_is_noticed_before_the_commit(
    store: FeatureStore, expected: bytes, how: str
) -> None:
    before = store.state.id
    error = harmed(store, lambda: HARM[how](batches(store)))
    assert isinstance(error, IntegrityError)
    assert "run the command again, it computes what is missing" in str(error)
    assert store.refresh().state.id == before, "nothing of it is committed"
    report = store.embed(CountingBackbone(), batch_size=4)
    assert report.reused + report.computed == 24
    assert store.features("counting", view="collection").X.tobytes() == expected
    assert not (store.path / "staging").exists() or not list((store.path / "staging").iterdir())
    assert maintenance.verify(store.path).damaged == {}


def killed(store: FeatureStore) -> list[Path]:
    """What a run leaves that is killed before its fourth batch."""
    script = (
        "import os, signal, sys, time\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[2])\n"
        "from support import CountingBackbone\nfrom featurestore import FeatureStore\nbackbone = CountingBackbone()\n"
        "def kill(batch):\n"
        "    while batch == 3:\n"
        "        if len([*Path(sys.argv[1]).glob('staging/*/part-*.parquet')]) == 3:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        time.sleep(0.01)  # the third is being staged\n"
        "backbone.before_batch = kill\n"
        "FeatureStore(sys.argv[1]).embed(backbone, batch_size=4)\n"
    )
    helpers = str(Path(__file__).parents[1] / "helpers")
    subprocess.run([sys.executable, "-c", script, str(store.path), helpers], capture_output=True, timeout=120)
    found = batches(store)
    assert len(found) == 3
    return found


@pytest.mark.parametrize(("how", "kept"), [("one bit flipped", 2), ("one replaced by another", 2), ("all deleted", 0)])
def test_of_a_killed_run_only_whole_batches_are_adopted(
    store: FeatureStore, expected: bytes, how: str, kept: int
) -> None:
    HARM[how](killed(store))
    report = store.embed(CountingBackbone(), batch_size=4)
    assert report.reused == 4 * kept
    assert store.features("counting", view="collection").X.tobytes() == expected


def test_batches_of_another_revision_are_not_adopted(store: FeatureStore) -> None:
    (run,) = {path.parent for path in killed(store)}
    other = CountingBackbone(weights="blocks-2")
    run.rename(run.with_name(f"{other.spec.name}-{other.spec.revision}-left"))
    assert store.embed(other).computed == 24


def remade(store: FeatureStore, collection: Collection) -> None:
    remove(store.path)
    FeatureStore(store.path).ingest(metadata=collection.metadata, images=collection.images)


def another_in_its_place(store: FeatureStore, collection: Collection) -> None:
    other = store.path.with_name("other")
    FeatureStore(other).ingest(metadata=collection.metadata, images=collection.images)
    store.path.rename(store.path.with_name("away"))
    other.rename(store.path)


def a_copy_in_its_place(store: FeatureStore, collection: Collection) -> None:
    """Of the same state, byte by byte: only the files are others."""
    store.path.rename(store.path.with_name("away"))
    shutil.copytree(store.path.with_name("away"), store.path)


def a_link_in_its_place(store: FeatureStore, collection: Collection) -> None:
    another_in_its_place(store, collection)
    store.path.rename(store.path.with_name("elsewhere"))
    store.path.symlink_to(store.path.with_name("elsewhere"))


def another_state(store: FeatureStore, collection: Collection) -> None:
    """In the same folder under the same lock, as a backup that is played back would put it there."""
    other = store.path.with_name("other")
    FeatureStore(other).ingest(metadata=collection.metadata, images=collection.images, top_genres=2)
    shutil.copytree(other, store.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock*"))


REPLACED = [remade, another_in_its_place, a_copy_in_its_place, a_link_in_its_place, another_state]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("at_batch", [0, 5])
@pytest.mark.parametrize("how", REPLACED, ids=lambda how: how.__name__)
def test_nothing_is_written_to_another_store_than_the_one_opened(
    store: FeatureStore,
    collection: Collection,
    expected: bytes,
    how: Callable[[FeatureStore, Collection], None],
    at_batch: int,
) -> None:
    seen: list[dict[str, bytes]] = []

    def replace() -> None:
        until = time.monotonic() + 10
        while len(batches(store)) < at_batch and time.monotonic() < until:  # the batch before is being staged
            time.sleep(0.01)
        how(store, collection)
        seen.append(contents(store.path))

    error = harmed(store, replace, at_batch)
    assert "was removed or replaced while this command ran" in str(error)
    assert contents(store.path) == seen[0] or how is another_state, "the store that is there is left alone"
    store.refresh().embed(CountingBackbone(), batch_size=4)
    assert store.features("counting", view="collection").X.tobytes() == expected
    assert maintenance.verify(store.path).damaged == {}


def test_a_store_that_is_gone_while_a_batch_is_written_is_not_made_again(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(rows: pa.Table, root: Path, folder: str, *, check: Callable[[], object]) -> Part:
        def last_check() -> None:
            check()
            if batches(store):  # the second one is being written
                remove(store.path)

        return write_part(rows, root, folder, check=last_check)

    monkeypatch.setattr(staging, "write_part", write)
    with pytest.raises(StoreError, match="was removed or replaced while this command ran"):
        store.embed(CountingBackbone(), batch_size=4)
    assert not store.path.exists()


@pytest.mark.parametrize("what", ["the folder", "the state"])
def test_a_store_that_is_gone_is_not_made_again(store: FeatureStore, what: str) -> None:
    def gone() -> None:
        if what == "the folder":
            remove(store.path)
        else:
            (store.path / "state.json").unlink()

    assert "was removed or replaced while this command ran" in str(harmed(store, gone))
    assert store.path.exists() == (what != "the folder")


def test_a_batch_that_a_link_would_put_elsewhere_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (store.path / "staging").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="leads out of"):
        store.embed(CountingBackbone())
    assert not list((tmp_path / "elsewhere").iterdir())


def test_gc_removes_what_a_killed_run_staged(store: FeatureStore) -> None:
    killed(store)
    maintenance.gc(store.path)
    assert len(batches(store)) == 3, "they are too young"
    maintenance.gc(store.path, older_than=timedelta(0))
    assert not (store.path / "staging").exists()


@pytest.mark.parametrize("when", ["before the commit", "in the commit"])
def test_no_command_that_writes_goes_on_in_another_store(
    store: FeatureStore, collection: Collection, when: str
) -> None:
    def write() -> None:
        with open_writer(store.path) as writer:
            if when == "before the commit":
                remade(store, collection)
            with writer.commit() as commit:
                commit.set_collection(MOVIES, {"top_genres": 2})
                remade(store, collection)

    with pytest.raises(StoreError, match="removed or replaced"):
        write()
    assert store.refresh().state.settings["top_genres"] == 4
