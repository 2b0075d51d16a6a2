"""The verbs of the storage seam, the same for a folder and an object store."""

import time
from pathlib import Path

import pytest
from s3_server import S3Server

from featurestore.errors import IntegrityError, StoreError
from featurestore.storage import bucket
from featurestore.storage.bucket import Bucket
from featurestore.storage.objects import Folder, Objects, Tag

pytestmark = pytest.mark.usefixtures("keys")


@pytest.fixture(params=["folder", "bucket"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return Folder(tmp_path / "files")
    return Bucket(request.getfixturevalue("server").address(f"verbs/{tmp_path.name}"))


def file_of(folder: Path, content: bytes) -> Path:
    path = folder / "source"
    path.write_bytes(content)
    return path


def test_a_file_is_put_only_where_there_is_none(objects: Objects) -> None:
    tag = objects.swap("a/x.json", b"one", None)
    assert tag is not None
    assert objects.swap("a/x.json", b"two", None) is None
    assert objects.load("a/x.json", limit=10) == (b"one", tag)


def test_a_file_is_swapped_only_while_it_is_the_one_that_was_read(objects: Objects) -> None:
    first = objects.swap("state", b"one", None)
    second = objects.swap("state", b"two", first)
    assert second not in (None, first)
    assert objects.swap("state", b"three", first) is None
    assert objects.load("state", limit=10) == (b"two", second)
    objects.delete(["state"])
    assert objects.swap("state", b"four", second) is None
    assert objects.entry("state") is None


def test_a_file_that_is_put_again_gets_a_new_age(objects: Objects, tmp_path: Path) -> None:
    objects.put("t/p", file_of(tmp_path, b"12345"))
    before = objects.entry("t/p")
    assert before is not None
    assert before.size_bytes == 5
    assert abs(before.time - time.time()) < 60
    time.sleep(1.1)  # an object store may count whole seconds
    objects.put("t/p", file_of(tmp_path, b"12345"))
    after = objects.entry("t/p")
    assert after is not None
    assert after.time > before.time
    assert b"".join(objects.read("t/p", limit=5)) == b"12345"


def test_files_are_listed_and_removed(objects: Objects, tmp_path: Path) -> None:
    names = ["a/x", "a/b/y", "ab/z", "c"]
    for name in names:
        objects.put(name, file_of(tmp_path, name.encode()))
    assert sorted(entry.name for entry in objects.entries()) == sorted(names)
    assert {entry.name: entry.size_bytes for entry in objects.entries("a")} == {"a/x": 3, "a/b/y": 5}
    assert sorted(objects.list("a")) == ["a/x"]
    assert [*objects.entries("nothing"), *objects.list("nothing")] == []
    objects.delete(["a/x", "c", "never"])
    assert sorted(entry.name for entry in objects.entries()) == ["a/b/y", "ab/z"]


def test_a_missing_and_a_large_file_are_not_loaded(objects: Objects) -> None:
    with pytest.raises(FileNotFoundError):
        objects.load("x", limit=4)
    objects.swap("x", b"12345", None)
    with pytest.raises(IntegrityError, match="has more than 4 bytes"):
        objects.load("x", limit=4)


def test_a_listing_comes_in_pages(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Bucket(server.address(f"pages/{tmp_path.name}"))
    for number in range(7):
        there.swap(f"x/{number}", b"", None)
    monkeypatch.setattr(bucket, "PAGE", 2)
    assert len({entry.name for entry in there.entries("x")}) == 7


def test_what_can_not_be_written_is_one_sentence(server: S3Server, tmp_path: Path) -> None:
    address = server.address("x")
    with pytest.raises(StoreError, match="there is no bucket"):
        Bucket(address.replace("s3://stores/", "s3://nowhere/")).swap("x", b"", None)
    with pytest.raises(StoreError, match=r"can't be written \(.*check address and permissions"):
        Bucket("s3://b/x?scheme=http&endpoint_override=127.0.0.1:9").swap("x", b"", Tag("x"))
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(StoreError, match="can't be written"):
        Folder(tmp_path).swap("x/y", b"", None)


def test_a_put_whose_reply_is_lost_is_not_repeated_unseen(server: S3Server, tmp_path: Path) -> None:
    """The library would send it again, and be told that the file has changed: by itself."""
    there, sent = Bucket(server.address(f"lost/{tmp_path.name}")), []

    def lose(method: str, path: str) -> str:
        sent.append(method)
        return "reply" if method == "PUT" else ""

    server.lose = lose
    try:
        with pytest.raises(StoreError, match="can't be written"):
            there.swap("x", b"1", None)
    finally:
        server.lose = lambda method, path: ""
    assert sent == ["PUT"]
    assert there.load("x", limit=1)[0] == b"1"
