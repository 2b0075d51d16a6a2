"""Names and folders that a stranger can make: each image has a name of its own, or the command says one sentence."""

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import CountingBackbone, jpeg

from featurestore import FeatureStore
from featurestore.collections import ingest, listing
from featurestore.collections.stored_paths import from_stored, to_stored
from featurestore.errors import InputError

pytestmark = pytest.mark.shell_file

ODD = (
    *(
        "a\x1b[31m.jpg",
        "new\nline.jpg",
        "\u202egpj.exe.jpg",
        "x" * 251 + ".jpg",
        "%41#?.jpg",
        "q'uo\"te.jpg",
        ".dot.jpg",
    ),
    *(
        "cafe\u0301.jpg",
        "caf\u00e9.jpg",
        "A.jpg",
        "a.jpg",
        " lead.jpg",
        "back\\slash.jpg",
        "{label}.jpg",
        "{backbone}.jpg",
    ),
)
NO_UTF8 = (b"\xff\xfe.jpg", b"\\xff\\xfe.jpg", b"\xe9.jpg")


def put(folder: Path, *names: str | bytes) -> Path:
    """Different images with these names."""
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(folder), name if isinstance(name, bytes) else os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(jpeg(number, size=(16, 16)))
    return folder


def tar(path: Path, members: Mapping[str, int]) -> None:
    with tarfile.open(path, "w") as file:
        for name, seed in members.items():
            content = jpeg(seed, size=(16, 16))
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


@pytest.fixture
def fresh(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def test_every_name_is_one_of_its_own_and_leads_back_to_its_file(tmp_path: Path, fresh: FeatureStore) -> None:
    folder = put(tmp_path / "images" / "c\x1blass", *ODD, *NO_UTF8).parent
    report = fresh.ingest(images=folder)
    count = len(ODD) + len(NO_UTF8)
    assert (report.joined, report.broken) == (count, {})
    names = fresh.refresh().query("SELECT ImgName FROM images")["ImgName"].to_pylist()
    assert len(set(names)) == count
    assert "c\x1blass/\\xff\\xfe~2.jpg" in names, "a file may be called like the escaped name of another"
    embedded = fresh.embed(CountingBackbone())
    assert (embedded.computed, embedded.refused) == (count, {})
    assert not fresh.ingest(images=folder).changed
    assert len(fresh.quality().exact_duplicates) == 0


@pytest.mark.parametrize("path", ["plain", "caf\u00e9/x", os.fsdecode(b"a/\xff/\x80.jpg"), "a b/%ff"])
def test_a_stored_path_leads_back(path: str) -> None:
    stored = to_stored(path)
    assert from_stored(stored) == path
    assert stored.encode("utf-8")
    assert path.isascii() == (stored == path) or "\u00e9" in path


def test_a_folder_whose_own_name_is_not_utf8(tmp_path: Path, fresh: FeatureStore) -> None:
    folder = put(tmp_path / os.fsdecode(b"im\xff"), "a/1.jpg", "b/2.jpg")
    fresh.ingest(images=folder)
    assert fresh.embed(CountingBackbone()).computed == 2
    assert fresh.ingest().joined == 2


def test_links_that_lead_nowhere_or_in_a_circle_are_quarantined(tmp_path: Path, fresh: FeatureStore) -> None:
    folder = put(tmp_path / "images", "a/1.jpg", "b/2.jpg")
    (folder / "b/loop.jpg").symlink_to("loop.jpg")
    (folder / "b/nowhere.jpg").symlink_to("nowhere")
    (folder / "circle").symlink_to("circle")
    (folder / "b/up").symlink_to("..")
    for follow in (False, True):
        report = fresh.ingest(images=folder, follow_links=follow)
        assert report.joined == 2
        assert set(report.broken) == {"b/loop.jpg", "b/nowhere.jpg"}
        assert any("1 folders are symbolic links" in note for note in report.notes) is not follow


def test_deep_folders_and_long_paths(tmp_path: Path, fresh: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "deep" / "/".join(["d"] * 300)
    put(deep, "x.jpg")
    put(tmp_path / "deep", "y.jpg")
    assert fresh.ingest(images=tmp_path / "deep").joined == 2
    (tmp_path / "long").mkdir()
    monkeypatch.chdir(tmp_path / "long")
    for _ in range(20):  # longer than any path may be
        os.mkdir("e" * 220)
        os.chdir("e" * 220)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="move it, or name another folder"):
        fresh.ingest(images=tmp_path / "long")


def test_a_file_that_vanishes_between_listing_and_reading(
    tmp_path: Path, fresh: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(tmp_path / "images", "a/1.jpg", "a/2.jpg")

    def late(*arguments: object, **options: object) -> listing.Listing:
        found = listing.list_images(*arguments, **options)  # type: ignore[arg-type]
        (folder / "a/2.jpg").unlink()
        return found

    monkeypatch.setattr(ingest, "list_images", late)
    report = fresh.ingest(images=folder)
    assert report.joined == 1
    assert "No such file" in report.broken["a/2.jpg"]


def test_images_are_not_taken_twice(tmp_path: Path, fresh: FeatureStore) -> None:
    folder = put(tmp_path / "images", "a/1.jpg", "b/2.jpg")
    with pytest.raises(InputError, match="which is named too: name one of them"):
        fresh.ingest(images=[folder, folder / "a"])
    assert fresh.ingest(images=[folder, tmp_path / "x" / ".." / "images"]).joined == 2
    with pytest.raises(InputError, match="is no tar, Parquet or Arrow file that holds images"):
        fresh.ingest(images=folder / "a/1.jpg")


def test_equal_names_in_files_of_images(tmp_path: Path, fresh: FeatureStore) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    tar(folder / "a.tar", {"x.jpg": 1, "a/x.jpg": 2, "\x1b[31m.jpg": 3, "../../etc.jpg": 4})
    tar(folder / "b.tar", {"x.jpg": 5})
    tar(folder / os.fsdecode(b"\xff.tar"), {"x.jpg": 6})
    assert fresh.ingest(images=folder).joined == 6
    names = fresh.refresh().query("SELECT ImgName FROM images ORDER BY ImgId")["ImgName"].to_pylist()
    assert names == ["\\xff/x.jpg", "a/\x1b[31m.jpg", "a/etc.jpg", "a/x.jpg", "a/x~2.jpg", "b/x.jpg"]
    assert fresh.embed(CountingBackbone()).computed == 6


def test_a_store_among_its_images_and_a_table_among_files_of_images(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    tar(folder / "a.tar", {"x.jpg": 1, "y.jpg": 2})
    store = FeatureStore(folder / "store")
    assert store.ingest(images=folder).joined == 2
    store.embed(CountingBackbone())
    report = store.ingest(images=folder)
    assert (report.joined, report.renamed, report.broken) == (2, {}, {})
    assert report.files_ignored > 2
    assert not report.changed


def test_a_file_of_images_that_is_a_link_out_of_the_folder_needs_leave(tmp_path: Path, fresh: FeatureStore) -> None:
    tar(tmp_path / "blob", {"x.jpg": 1, "y.jpg": 2})
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "data.tar").symlink_to(tmp_path / "blob")
    with pytest.raises(InputError, match="--follow-links"):
        fresh.ingest(images=folder)
    assert fresh.ingest(images=folder, follow_links=True).joined == 2
