"""Shards end in the content of one local embed, whatever their order, repeated, missing and interrupted."""

import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import made_backbones
import numpy as np
import pyarrow as pa
import pytest
from support import Collection, CountingBackbone, edit_record, jpeg
from torture import content as contents

from featurestore import FeatureStore
from featurestore.backbones.base import Preprocessing
from featurestore.catalog import maintenance
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.embedding import compute
from featurestore.embedding.publish_shards import publish_receipts
from featurestore.embedding.receipt import receipts_of
from featurestore.embedding.shard import compute_shard, open_layout, plan_shard
from featurestore.embedding.share import Share, shares_of
from featurestore.errors import InputError, StoreLocked
from featurestore.storage.lock import locked

SIGNED = Preprocessing(16, 16, "signed")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store with 24 images, and its content hash after one local embed."""
    folder = tmp_path_factory.mktemp("template")
    collection, store = Collection(folder, 24), FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    local = FeatureStore(shutil.copytree(store.path, folder / "local"))
    local.embed(CountingBackbone())
    return store.path, content_hash(local)


@pytest.fixture
def store(template: tuple[Path, str], tmp_path: Path) -> FeatureStore:
    """A copy of it."""
    return FeatureStore(shutil.copytree(template[0], tmp_path / "store"))


@pytest.fixture
def expected(template: tuple[Path, str]) -> str:
    return template[1]


@pytest.fixture
def own(collection: Collection, tmp_path: Path) -> FeatureStore:
    """A store whose images a test may change."""
    store = FeatureStore(tmp_path / "own")
    store.ingest(metadata=collection.metadata, images=collection.images)
    return store


def content_hash(store: FeatureStore) -> str:
    return contents.digest(contents.whole(store.path))


def shards(store: FeatureStore, out: Path, count: int, numbers: list[int] | None = None) -> int:
    """Compute shards, all when None; the number of images that went through the network."""
    backbone = CountingBackbone()
    for number in numbers or range(1, count + 1):
        store.embed(backbone, shard=f"{number}/{count}", out=out, batch_size=4)
    return backbone.images


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("total", "count"), [(24, 7), (7, 7), (3, 8), (1000, 16), (0, 2)])
def test_shares_are_ranges_that_have_each_hash_once(total: int, count: int) -> None:
    hashes = pa.array([f"{number:064x}" for number in range(total)], pa.string())
    shares = [Share(number, count) for number in range(1, count + 1)]
    found = [share.of(hashes).to_pylist() for share in shares]
    assert [digest for some in found for digest in some] == hashes.to_pylist()
    assert max(map(len, found)) - min(map(len, found)) <= 1
    places = np.arange(total)
    filled = [share for share, some in zip(shares, found, strict=True) if some]
    assert shares_of(places, total, count) == (filled if total else [])
    for place in places:
        (share,) = shares_of(places[place : place + 1], total, count)
        assert hashes[int(place)].as_py() in found[share.number - 1]


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/2/3", "１/２", "1/10000000000"])
def test_a_shard_is_written_as_number_and_count(text: str) -> None:
    with pytest.raises(InputError, match=r"expected NUMBER/COUNT"):
        Share.parse(text)


def test_shards_in_any_order_repeated_and_missing(store: FeatureStore, expected: str, tmp_path: Path) -> None:
    numbers = list(range(1, 9))
    random.Random(1).shuffle(numbers)
    assert shards(store, tmp_path / "a", 8, numbers[:5]) == 15
    assert shards(store, tmp_path / "b", 8, numbers[3:7]) == 12
    (report,) = store.publish(tmp_path / "b")
    assert (report.added, report.skipped, report.missing) == (12, 0, 12)
    assert report.missing_shards == tuple(f"{number}/8" for number in sorted({*numbers} - {*numbers[3:7]}))
    (report,) = store.publish([tmp_path / "b", tmp_path / "a", tmp_path / "b"])
    assert (report.added, report.missing) == (9, 3)
    assert report.receipts == len({path.name for path in tmp_path.rglob("receipt-*.json")}), "equal ones are one"
    assert report.missing_shards == (f"{numbers[7]}/8",)
    assert shards(store, tmp_path / "a", 8, numbers[7:]) == 3
    (report,) = store.publish([tmp_path / "a"])
    assert (report.added, report.skipped, report.missing, report.missing_shards) == (3, 15, 0, ())
    assert store.publish([tmp_path / "a"])[0].added == 0
    assert content_hash(store) == expected
    assert maintenance.verify(store.path).damaged == {}
    assert not (store.path / "staging").exists()
    assert store.embed(CountingBackbone()).computed == 0


def test_a_share_does_not_depend_on_what_was_published_meanwhile(store: FeatureStore, tmp_path: Path) -> None:
    assert shards(store, tmp_path / "a", 2, [1]) == 12
    store.publish(tmp_path / "a")
    assert shards(store, tmp_path / "b", 2, [1]) == 0
    assert shards(store, tmp_path / "b", 2, [2]) == 12
    assert store.publish(tmp_path / "b")[0].missing == 0


def test_many_small_shards_become_few_parts(store: FeatureStore, tmp_path: Path) -> None:
    shards(store, tmp_path / "out", 6)
    store.publish(tmp_path / "out")
    assert [part.rows for part in store.layout.embedding_parts("counting")] == [24]


def test_the_store_is_only_read(
    store: FeatureStore, tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one at an address, while another process writes to it."""
    monkeypatch.setenv("FEATURESTORE_CACHE", str(tmp_path / "cache"))
    with locked(store.path, wait_seconds=0, purpose="test"):
        before = files(store.path)
        shards(store, tmp_path / "out", 2, [1])
        shards(FeatureStore(f"file://{store.path}"), tmp_path / "out", 2, [2])
        assert files(store.path) == before
    store.publish(tmp_path / "out")
    assert content_hash(store) == expected
    assert shards(FeatureStore(f"file://{store.path}"), tmp_path / "again", 2) == 0, "it sees what is published"


def test_an_interrupted_shard_continues(store: FeatureStore, tmp_path: Path, expected: str) -> None:
    backbone = CountingBackbone()

    def interrupt(batch: int) -> None:
        if batch == 3:
            raise KeyboardInterrupt

    backbone.before_batch = interrupt
    with pytest.raises(KeyboardInterrupt):
        store.embed(backbone, shard="1/1", out=tmp_path / "out", batch_size=4)
    again = CountingBackbone()
    report = store.embed(again, shard="1/1", out=tmp_path / "out", batch_size=4)
    assert (report.reused, report.computed, again.images) == (12, 12, 12)
    assert not list((tmp_path / "out").glob("*/part-*")), "the batches are in its parts"
    report = store.embed(CountingBackbone(), shard="1/1", out=tmp_path / "out", batch_size=4)
    assert (report.present, report.computed, report.shard) == (24, 0, "1/1")
    store.publish(tmp_path / "out")
    assert content_hash(store) == expected


def test_what_a_killed_shard_has_a_receipt_for_is_kept(
    store: FeatureStore, tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long shard, whose receipt is written anew as it grows; it can be published before it ends."""
    monkeypatch.setattr(compute, "SHARD_VECTORS", 8)
    backbone, published = CountingBackbone(), []

    def publish(batch: int) -> None:
        if batch == 4:
            published.append(store.publish(tmp_path / "out")[0].added)
            raise KeyboardInterrupt

    backbone.before_batch = publish
    with pytest.raises(KeyboardInterrupt):
        store.embed(backbone, shard="1/1", out=tmp_path / "out", batch_size=4)
    assert published == [8]
    again = CountingBackbone()
    store.embed(again, shard="1/1", out=tmp_path / "out", batch_size=4)
    assert again.images == 8
    assert len(list((tmp_path / "out").glob("*/receipt-*"))) == 1
    assert store.publish(tmp_path / "out")[0].missing == 0
    assert content_hash(store) == expected


def test_a_damaged_part_is_computed_again(store: FeatureStore, tmp_path: Path, expected: str) -> None:
    shards(store, tmp_path / "out", 3)
    (part, *_) = sorted((tmp_path / "out").glob("*/parts/part-*"))
    part.write_bytes(part.read_bytes()[:-1])
    left = [part.parent / "part-left.parquet", part.parent / ".left.tmp", part.parents[1] / ".receipt.new.x.tmp"]
    for path in left:
        path.write_bytes(b"by a run that was killed")
    assert shards(store, tmp_path / "out", 3) == 8
    assert not any(path.exists() for path in left)
    store.publish(tmp_path / "out")
    assert content_hash(store) == expected


def test_refused_images_are_told_and_tried_again(own: FeatureStore, collection: Collection, tmp_path: Path) -> None:
    image = collection.images / "124.jpg"
    content = image.read_bytes()
    old = CountingBackbone(preprocessing=SIGNED)
    own.embed(old)
    image.write_bytes(b"damaged")
    report = own.embed(CountingBackbone(), shard="2/2", out=tmp_path / "out")
    assert list(report.refused) == ["124.jpg"]
    shards(own, tmp_path / "out", 2, [1])
    (published,) = own.publish(tmp_path / "out")
    assert (published.missing, list(published.refused)) == (0, ["124.jpg"])
    assert published.replaced == old.spec.revision, "a refused image holds no revision up"
    image.write_bytes(content)
    report = own.embed(CountingBackbone(), shard="2/2", out=tmp_path / "out")
    assert (report.present, report.computed, report.refused) == (11, 1, {})
    (published,) = own.publish(tmp_path / "out")
    assert (published.added, published.refused) == (1, {})


def test_views_switch_when_no_image_is_missing(store: FeatureStore, tmp_path: Path) -> None:
    store.embed(CountingBackbone(preprocessing=SIGNED))
    old = store.state.revisions["counting"]
    shards(store, tmp_path / "out", 2, [1])
    (report,) = store.publish(tmp_path / "out")
    assert (store.state.revisions["counting"], report.replaced) == (old, "")
    shards(store, tmp_path / "out", 2, [2])
    (report,) = store.publish(tmp_path / "out")
    assert (store.state.revisions["counting"], report.replaced) == (CountingBackbone().spec.revision, old)


def test_images_that_change_before_the_shard_is_published(
    own: FeatureStore, collection: Collection, tmp_path: Path
) -> None:
    shards(own, tmp_path / "out", 2)
    (collection.images / "101.jpg").unlink()
    (collection.images / "124.jpg").write_bytes(jpeg(4711))
    shutil.copyfile(collection.images / "105.jpg", collection.images / "123.jpg")
    own.ingest(metadata=collection.metadata, images=collection.images)
    (report,) = own.publish(tmp_path / "out")
    assert (report.added, report.skipped, report.missing, report.missing_shards) == (21, 3, 2, ("1/2", "2/2"))
    report = own.embed(CountingBackbone(), shard="1/1", out=tmp_path / "later")
    assert (report.present, report.reused, report.computed) == (21, 1, 1)
    assert own.publish(tmp_path / "later")[0].missing == 0
    assert len(own.sql("FROM embeddings_counting")) == 23


def test_named_images_are_computed_by_two_functions(store: FeatureStore, tmp_path: Path, expected: str) -> None:
    """As an engine uses them: a worker gets a plan and returns a receipt, the driver publishes."""
    backbone, hashes = CountingBackbone(), store.sql("SELECT content_hash FROM images ORDER BY ImgId")["content_hash"]
    receipts = []
    for start in (0, 9):
        plan = plan_shard(open_layout(str(store.path)), backbone.spec, hashes[start : start + 15].combine_chunks())
        receipts.append(compute_shard(pickle.loads(pickle.dumps(plan)), backbone, tmp_path / "out"))
    assert sorted(map(str, receipts_of([tmp_path / "out"]))) == sorted(map(str, receipts))
    report = publish_receipts(store.path, pickle.loads(pickle.dumps(receipts)))
    assert (report.receipts, report.added, report.skipped, report.missing) == (2, 24, 6, 0)
    assert content_hash(store.refresh()) == expected


def other_files(store: FeatureStore, out: Path) -> None:
    out.mkdir()
    (out / "notes.txt").touch()


def other_store(store: FeatureStore, out: Path) -> None:
    shards(store, out, 2, [1])
    content = json.loads((store.path / "state.json").read_text())
    copy = FeatureStore(store.path.with_name("another"))
    copy.create()
    assert copy.state.store != content["store"]
    for name in ("images", "manifests"):
        shutil.copytree(store.path / name, copy.path / name, dirs_exist_ok=True)
    edit_record(copy.path / "state.json", tables=copy.state.tables | {"images": content["tables"]["images"]})
    shutil.rmtree(store.path)
    copy.path.rename(store.path)


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda store, out: out.write_text("a file"), "can't be read .Not a directory.: name an empty folder"),
        (other_files, r"holds other files than shards \(notes.txt\): name an empty folder with --out"),
        (other_store, "holds a shard of another store: name another folder with --out"),
    ],
)
def test_a_folder_that_can_t_take_a_shard(
    store: FeatureStore, tmp_path: Path, prepare: Callable[[FeatureStore, Path], object], told: str
) -> None:
    prepare(store, tmp_path / "out")
    with pytest.raises(InputError, match=told):
        store.refresh().embed(CountingBackbone(), shard="1/2", out=tmp_path / "out")


def test_a_shard_is_computed_by_one_process(store: FeatureStore, tmp_path: Path) -> None:
    backbone = CountingBackbone()

    def act(batch: int) -> None:
        with pytest.raises(StoreLocked, match=rf"is being computed by process {os.getpid()} on .*name another folder"):
            FeatureStore(store.path).embed(CountingBackbone(), shard="1/2", out=tmp_path / "out")
        assert FeatureStore(store.path).embed(CountingBackbone(), shard="2/2", out=tmp_path / "out").computed == 12

    backbone.before_batch = act
    assert store.embed(backbone, shard="1/2", out=tmp_path / "out").computed == 12


def test_both_options_or_none(store: FeatureStore, tmp_path: Path) -> None:
    for options in ({"shard": "1/2"}, {"out": tmp_path / "out"}):
        with pytest.raises(InputError, match=r"got only one of --shard \(shard=\) and --out \(out=\)"):
            store.embed(CountingBackbone(), **options)  # type: ignore[arg-type]


def test_what_publish_refuses(store: FeatureStore, collection: Collection, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"out' can't be read .No such file or directory.: name the folder of"):
        store.publish(out)
    out.mkdir()
    with pytest.raises(InputError, match=r"no receipt of a shard in .*out': compute one with"):
        store.publish(out)
    shards(store, out, 2, [1])
    store.embed(CountingBackbone(preprocessing=SIGNED), shard="1/2", out=out)
    with pytest.raises(InputError, match=r"the shards of 'counting' are of several revisions, [0-9a-f]{16} in "):
        store.publish(out)
    another = FeatureStore(tmp_path / "another")
    another.ingest(metadata=collection.metadata, images=collection.images)
    shutil.rmtree(out)
    shards(store, out, 2, [1])
    with pytest.raises(InputError, match="was computed for another store than"):
        another.publish(out)
    assert not another.backbones()


def test_two_backbones_are_published_together(store: FeatureStore, tmp_path: Path) -> None:
    for name in ("one", "two"):
        store.embed(CountingBackbone(name=name), shard="1/1", out=tmp_path / "out")
    assert [(report.backbone, report.added) for report in store.publish(tmp_path / "out")] == [("one", 24), ("two", 24)]


def test_engines_are_not_mixed_unless_told(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_backbones.install(monkeypatch)
    (tmp_path / "net.blocks").write_text("2.5")
    net, out = f"blocks:{tmp_path / 'net.blocks'}", tmp_path / "out"
    store.embed(net, shard="1/3", out=out)
    monkeypatch.setenv("BLOCKS_ENGINE", "second")
    store.embed(net, shard="2/3", out=out)
    told = "were computed by first in float32 and by second in float32: use one engine for all, or allow another"
    with pytest.raises(InputError, match=told):
        store.publish(out)
    first, second = (tmp_path / name for name in ("first", "second"))
    for place, shard in ((first, "1-of-3"), (second, "2-of-3")):
        (folder,) = out.glob(f"*-{shard}")
        shutil.copytree(folder, place / folder.name)
    store.publish(first)
    with pytest.raises(InputError, match=r"8 vectors of 'net'.* were computed by first in float32"):
        store.publish(second)
    with pytest.raises(InputError, match=r"8 vectors of 'net'.* were computed by first in float32"):
        store.embed(net, shard="3/3", out=out)
    assert store.publish(second, other_engine=True)[0].added == 8


def test_a_shard_is_continued_by_its_engine(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_backbones.install(monkeypatch)
    (tmp_path / "net.blocks").write_text("2.5")
    net, out = f"blocks:{tmp_path / 'net.blocks'}", tmp_path / "out"
    monkeypatch.setattr(compute, "SHARD_VECTORS", 8)

    def interrupt(done: int, total: int) -> None:
        if done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.embed(net, shard="1/1", out=out, batch_size=8, on_progress=interrupt)
    monkeypatch.setenv("BLOCKS_ENGINE", "second")
    with pytest.raises(InputError, match="were computed by first in float32 and by second in float32"):
        store.embed(net, shard="1/1", out=out, batch_size=8)
    assert store.embed(net, shard="1/1", out=out, batch_size=8, other_engine=True).computed > 0


def test_a_bare_receipt_has_nothing_to_add(store: FeatureStore, tmp_path: Path) -> None:
    """More shards than images: some are empty."""
    assert shards(store, tmp_path / "out", 25, [1, 2]) == 1
    receipts = receipts_of([tmp_path / "out"])
    assert sorted(receipt.rows for receipt in receipts) == [0, 1]
    assert publish_receipts(store.path, receipts).missing == 23


def test_the_commands(
    store: FeatureStore, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_backbones.install(monkeypatch)
    (tmp_path / "net.blocks").write_text("2.5")

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["featurestore", *map(str, words)])
        code = run_command(cli, "featurestore")
        return code, *capfd.readouterr()

    options = ("--store", store.path, "--backbone", f"blocks:{tmp_path / 'net.blocks'}", "--out", tmp_path / "out")
    code, out, _ = run("embed", *options, "--shard", "1/3", "--synthetic")
    assert code == 0
    assert "16-d, SYNTHETIC WEIGHTS): shard 1/3, 8 computed (" in out
    assert out.endswith(f"next: featurestore publish {tmp_path / 'out'} --store {store.path}\n")
    code, out, _ = run("publish", "--store", store.path, tmp_path / "out")
    assert code == 0
    assert "16-d, SYNTHETIC WEIGHTS): 8 added, 0 skipped, 1 receipt\nmissing: 16 images, in the shards 2/3, 3/3" in out
    code, out, _ = run("embed", *options, "--shard", "2/3", "--json")
    assert (json.loads(out)["computed"], json.loads(out)["shard"]) == (8, "2/3")
    code, out, _ = run("publish", "--store", store.path, tmp_path / "out", "--json")
    assert (code, [(one["added"], one["missing"]) for one in json.loads(out)]) == (0, [(8, 8)])
    code, _, err = run("embed", *options)
    assert (code, "name both, as in --shard 3/16 --out DIR" in err) == (1, True)
    code, _, err = run("publish", "--store", store.path, tmp_path / "none")
    assert (code, "none' can't be read" in err) == (1, True)
