"""The files of a store in a folder, by the verbs of the storage seam."""

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest

from featurestore import FeatureStore
from featurestore.catalog.maintenance import gc, verify
from featurestore.errors import IntegrityError, StoreError
from featurestore.storage import objects
from featurestore.storage.objects import Folder


def test_a_file_is_read_within_its_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    folder = Folder(tmp_path)
    assert b"".join(folder.read("x", limit=5)) == b"12345"
    with pytest.raises(IntegrityError, match=r"x has more than 4 bytes.*copy the store again"):
        list(folder.read("x", limit=4))
    for name in ("y", "x/y"):
        with pytest.raises(FileNotFoundError):
            list(folder.read(name, limit=5))


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x").mkdir() if kind == "folder" else os.mkfifo(tmp_path / "x")
    with pytest.raises(StoreError, match=r"x can't be read \(a "):
        list(Folder(tmp_path).read("x", limit=5))


def test_a_listing_has_the_files_of_the_folder_itself(tmp_path: Path) -> None:
    for name in ("a/x", "a/y.json", "a/b/z", "c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert sorted(Folder(tmp_path).list("a")) == ["a/x", "a/y.json"]
    assert [*Folder(tmp_path).list("nothing"), *Folder(tmp_path).list("c")] == []


def test_a_folder_that_may_not_be_listed_is_one_sentence(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it taken for an empty one, `gc` would remove what its snapshots need."""
    store.create_snapshot("kept")

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(objects.os, "scandir", refuse)
    with pytest.raises(StoreError, match=r"snapshots can't be read \(Permission denied\)"):
        gc(store.path, older_than=timedelta(0))


def test_a_snapshot_that_is_a_link_to_nothing_stops_gc(store: FeatureStore, tmp_path: Path) -> None:
    """Its file may be on a disk that is not mounted."""
    info = store.create_snapshot("kept")
    record = store.path / "snapshots" / f"{info.name}.json"
    record.rename(tmp_path / "elsewhere.json")
    record.symlink_to(tmp_path / "elsewhere.json")
    assert verify(store.path).damaged == {}
    (tmp_path / "elsewhere.json").unlink()
    assert "a link to a file that is missing" in verify(store.path).damaged["snapshots/kept.json"]
    with pytest.raises(IntegrityError, match="nothing was removed"):
        gc(store.path, older_than=timedelta(0))
