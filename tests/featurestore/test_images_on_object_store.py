"""Images on an object store, behind a local S3 server: listed, read from there, recognised, and refused in words."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import Collection, CountingBackbone, jpeg, needs

from featurestore import FeatureStore, ImageAddress, load_image, thumbnail
from featurestore.collections import object_folder, services
from featurestore.collections.listing import fronts
from featurestore.collections.object_folder import ObjectFolder, stored_source
from featurestore.errors import AccessDenied, FeatureStoreError, ImageError, InputError, StoreError
from featurestore.storage import bucket
from featurestore.storage.bucket import Bucket

needs("moto", "obstore")
pytestmark = pytest.mark.usefixtures("keys")

# Two slashes and hex digits are an escaped byte in a path, but not in an address.
BUCKET = "ab-photos"
ODD = [
    "a b.jpg",
    "ä/日本.jpg",
    "a%20b.jpg",
    "50%.jpg",
    "a#b.jpg",
    "a?b.jpg",
    "a+b&c=d.jpg",
    "~*'(x)[1].jpg",
    "a\\b.jpg",
    "e\u0301.jpg",
]


@pytest.fixture
def put(host: str, tmp_path: Path) -> Callable[..., None]:
    """Puts an object below the folder of the test, or with None deletes it."""
    import boto3

    client = boto3.client("s3", endpoint_url=f"http://{host}", region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)

    def change(key: str, content: bytes | None, folder: str = tmp_path.name) -> None:
        if content is None:
            client.delete_object(Bucket=BUCKET, Key=f"{folder}/{key}")
        else:
            client.put_object(Bucket=BUCKET, Key=f"{folder}/{key}", Body=content)

    return change


@pytest.fixture
def address(host: str, tmp_path: Path) -> str:
    """The address of the folder of the test."""
    return f"s3://{BUCKET}/{tmp_path.name}?scheme=http&endpoint_override={host}&region=us-east-1"


@pytest.fixture
def uploaded(collection: Collection, put: Callable[..., None], address: str) -> str:
    """The address of a copy of the posters of `collection`."""
    for path in collection.images.iterdir():
        put(path.name, path.read_bytes())
    return address


def images(store: FeatureStore, columns: str = "ImgId, ImgName, content_hash, status") -> list[dict[str, Any]]:
    return store.refresh().sql(f"SELECT {columns} FROM images ORDER BY ImgName").to_pylist()


def test_the_store_is_that_of_a_folder_and_a_second_ingest_reads_nothing(
    store: FeatureStore, collection: Collection, uploaded: str, tmp_path: Path, asked_objects: list[str]
) -> None:
    away = FeatureStore(tmp_path / "away")
    report = away.ingest(metadata=collection.metadata, images=uploaded)
    assert (report.images_found, report.broken, len(asked_objects)) == (24, {}, 24)
    assert images(away) == images(store)
    assert {row["source"] for row in images(away, "source, ImgName")} == {uploaded}
    assert not list((tmp_path / "away").rglob("*.jpg")), "nothing is copied"
    asked_objects.clear()
    assert not away.ingest(metadata=collection.metadata, images=f"{uploaded}").changed
    assert not away.ingest(metadata=collection.metadata).changed, "the address of the last ingest"
    assert asked_objects == []
    for one in (store, away):
        one.embed(CountingBackbone())
    here, there = (one.refresh().features("counting", view="collection") for one in (store, away))
    assert here.X.tobytes() == there.X.tobytes()
    assert sorted(asked_objects) == sorted(path.name for path in collection.images.iterdir()), "each was read once"
    found = away.similar(101, backbone="counting", k=3)
    assert away.contact_sheet(found).count('src="data:image/jpeg;base64,') == 4
    one = uploaded.replace("?", "/101.jpg?")
    asked_with = away.similar(one, backbone="counting", k=1, model=CountingBackbone())
    assert asked_with.ids.tolist() == [[101]]
    assert away.contact_sheet(asked_with, image=one).count('src="data:image/jpeg;base64,') == 2
    assert load_image(one, height=8, width=8).shape == (8, 8, 3)
    assert thumbnail(ImageAddress.at(one), width=8, height=8).startswith("data:image/jpeg")


def test_the_commands_take_addresses(
    uploaded: str, collection: Collection, tmp_path: Path, invoke: Callable[..., tuple[int, str, str]]
) -> None:
    store = ("--store", str(tmp_path / "store"))
    code, out, err = invoke("ingest", *store, "--images", uploaded, "--metadata", str(collection.metadata))
    assert (code, err) == (0, "")
    assert re.search(r"images found +24$", out, flags=re.M)
    assert invoke("embed", *store, "--backbone", "descriptors")[0] == 0
    one = uploaded.replace("?", "/105.jpg?")
    page = tmp_path / "sheet.html"
    code, out, err = invoke(
        "similar", *store, "--backbone", "descriptors", "--image", one, "-k", "1", "--html", str(page)
    )
    assert (code, err) == (0, "")
    assert "105" in out
    assert page.read_text().count('src="data:image/jpeg;base64,') == 2
    code, _, err = invoke("similar", *store, "--backbone", "descriptors", "--image", one.replace("105", "0"))
    assert code == 1
    assert "(there is no such object): name another" in err


def test_what_changed_is_read_and_nothing_else(
    uploaded: str, put: Callable[..., None], tmp_path: Path, asked_objects: list[str]
) -> None:
    store, backbone = FeatureStore(tmp_path / "store"), CountingBackbone()
    store.ingest(images=uploaded)
    before = {row["ImgName"]: row for row in images(store)}
    store.embed(backbone)
    asked_objects.clear()
    put("102.jpg", jpeg(9_000))  # of another size or not: its ETag is another
    put("103.jpg", None)
    store.embed(backbone)
    assert asked_objects == ["102.jpg"] * 2, "read by the scan, then to be embedded"
    assert backbone.images == 25
    after = {row["ImgName"]: row for row in images(store)}
    assert after["103.jpg"]["status"] == "gone"
    assert after["102.jpg"]["ImgId"] == before["102.jpg"]["ImgId"]
    assert after["102.jpg"]["content_hash"] != before["102.jpg"]["content_hash"]


def test_an_object_that_changes_or_vanishes_under_the_reader_is_refused(
    uploaded: str, put: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path / "store")
    entries = ObjectFolder.entries

    def late(self: ObjectFolder) -> Iterator[object_folder.ObjectEntry]:
        yield from entries(self)
        put("101.jpg", None)

    monkeypatch.setattr(ObjectFolder, "entries", late)
    assert store.ingest(images=uploaded).broken == {"101.jpg": "there is no such object"}
    monkeypatch.setattr("featurestore.embedding.embed.sync_images", lambda *_, **__: None)
    put("102.jpg", jpeg(9_000))
    put("103.jpg", None)
    report = store.embed(CountingBackbone())
    assert {name: reason[:28] for name, reason in report.refused.items()} == {
        "102.jpg": "the file has changed since i",
        "103.jpg": "there is no such object",
    }
    put("104.jpg", None)
    sheet = store.refresh().contact_sheet(store.similar(3, backbone="counting", k=3))
    assert sheet.count("no image file (there is no such object") == 1


def test_odd_names_and_folders(put: Callable[..., None], address: str, tmp_path: Path) -> None:
    contents = {name: jpeg(place) for place, name in enumerate(ODD)}
    for name, content in contents.items():
        put(name, content)
        put(name, content, f"{tmp_path.name}2")  # not in the folder, though its name begins alike
    for name in (".hidden/1.jpg", "__MACOSX/1.jpg", "notes.txt", "ä/", ""):
        put(name, b"")
    put("c#d e/é.jpg", jpeg(99))
    store = FeatureStore(tmp_path / "store")
    report = store.ingest(images=address)
    assert (report.broken, report.images_found, report.files_ignored) == ({}, len(ODD) + 1, 3)
    assert len(store.embed(CountingBackbone()).refused) == 0
    for row in images(store, "ImgName, source, file, member, content_hash"):
        place = ImageAddress.of(row["source"], row["file"], row["member"])
        assert ImageAddress.at(str(place)).read() == place.read() == contents.get(row["file"], jpeg(99))
    below = address.replace("?", "/c%23d%20e/?")
    assert FeatureStore(tmp_path / "below").ingest(images=below).images_found == 1
    with pytest.raises(InputError, match=r"lies in .* which is named too"):
        store.ingest(images=[address, below])
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "1.jpg").write_bytes(jpeg(1))
    both = FeatureStore(tmp_path / "both")
    both.ingest(images=[below, tmp_path / "here"])
    assert [row["ImgName"] for row in images(both)] == ["c#d e/é.jpg", "here/1.jpg"]


def test_a_listing_has_many_pages(
    host: str, put: Callable[..., None], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.backends import get_backend

    put("a/1.jpg", jpeg(1))
    backend = get_backend("s3")["123456789012"]["aws"]
    for number in range(1_100):
        backend.put_object(BUCKET, f"{tmp_path.name}/b/{number}.txt", b"")
    store = FeatureStore(tmp_path / "store")
    report = store.ingest(images=address)
    assert (report.images_found, report.files_ignored) == (1, 1_100)
    monkeypatch.setattr(bucket, "MAX_EVERYTHING", 1_000)
    with pytest.raises(StoreError, match="holds more than 1,000 objects: name a part of it"):
        store.ingest(images=address)


def test_damaged_and_too_large_objects_are_refused_as_files_are(
    put: Callable[..., None], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_objects: list[str]
) -> None:
    put("1.jpg", jpeg(1))
    put("2.jpg", jpeg(2)[:300])
    put("3.jpg", b"")
    put("4.jpg", bytes(5_000))
    monkeypatch.setattr("featurestore.collections.inspection.MAX_BYTES", 4_999)
    broken = FeatureStore(tmp_path / "store").ingest(images=address).broken
    assert sorted(broken) == ["2.jpg", "3.jpg", "4.jpg"]
    assert "more than the limit of" in broken["4.jpg"]
    assert "4.jpg" not in asked_objects
    monkeypatch.setattr(object_folder, "MAX_BYTES", 4_999)
    with pytest.raises(ImageError, match="more than the limit of 4,999 bytes"):
        ObjectFolder(address).read("4.jpg")


def test_without_permission(uploaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One object that must not be read is refused and tried again; a listing that is refused ends it."""
    store, read = FeatureStore(tmp_path / "store"), Bucket.read

    def refused(self: Bucket, name: str, *, limit: int) -> Iterator[bytes]:
        if name == "101.jpg":
            raise AccessDenied("no")
        return read(self, name, limit=limit)

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "read", refused)
        assert store.ingest(images=uploaded).broken == {"101.jpg": "there is no permission to read the object"}
    assert store.ingest(images=uploaded).broken == {}
    exceptions = object_folder._bucket(uploaded)._obstore.exceptions

    def forbidden(*_: object, **__: object) -> Iterator[Any]:
        raise exceptions.PermissionDeniedError("403 Forbidden\nand more")

    for there in (object_folder._bucket(uploaded), object_folder._bucket(uploaded, patient=True)):
        monkeypatch.setattr(there, "_obstore", SimpleNamespace(exceptions=exceptions, list=forbidden, get=forbidden))
    with pytest.raises(AccessDenied, match=r"the collection of images at 's3.*\(403 Forbidden\): check address and"):
        store.ingest(images=uploaded)
    with pytest.raises(AccessDenied, match="403 Forbidden"):
        ObjectFolder(uploaded).read("102.jpg")
    with pytest.raises(AccessDenied, match="403 Forbidden"):
        store.embed(CountingBackbone())


def test_a_broken_connection_stops_the_scan_and_quarantines_nothing(
    uploaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path / "store")
    store.ingest(images=uploaded)
    before = images(store)
    monkeypatch.setattr(Bucket, "read", lambda *_, **__: (_ for _ in ()).throw(StoreError("no connection")))
    with pytest.raises(StoreError, match="no connection"):
        FeatureStore(tmp_path / "other").ingest(images=uploaded)
    assert not (tmp_path / "other").exists()
    with pytest.raises(StoreError, match="no connection"):
        store.embed(CountingBackbone())
    assert images(store) == before


def test_addresses_that_are_none(host: str, put: Callable[..., None], address: str, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    put("train.tar", b"x")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{free.getsockname()[1]}"
        for wrong, words in {
            address.replace(
                f"s3://{BUCKET}", "s3://nowhere"
            ): r"the collection of images at .s3://nowhere.*\(The specified bucket does not exist\): check addr",
            address.replace("?", "/nothing?"): "holds no image .* name the folder of the images",
            address: r"holds no image file, but 1 files such as 'train.tar'.*copy them to this machine",
            address.replace(host, closed): "the collection of images at .* can't be read .*check address",
            address.replace("?", "#x?"): "%23 for #",
            "s3://[x": "expected a path, or an address",
            "http://me:secret@host/x": "got an address with keys",
            address + "&x=y": "check the address",
            "s3://b/x?region=x.evil.example/": "check the address",
            "s3://me:secret@bucket/x": "keys",
            "s3://": "expected a path, or an address",
            "http://host/x": "expected a path, or an address",
            "file:///x": "expected a path, or an address",
            "s3://b/\udc80": "expected a path, or an address",
        }.items():
            with pytest.raises(FeatureStoreError, match=words) as caught:
                store.ingest(images=wrong)
            assert "secret@" not in str(caught.value)
    assert not store.path.exists()


def test_an_object_without_a_name_for_paths_is_named(put: Callable[..., None], address: str, tmp_path: Path) -> None:
    put("a//b.jpg", jpeg(1))
    with pytest.raises(StoreError, match=r"a//b.jpg. contained empty path segment\): rename or remove that object"):
        FeatureStore(tmp_path / "store").ingest(images=address)


def test_a_store_does_not_choose_whom_this_machine_asks(
    uploaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path / "store")
    store.ingest(images=uploaded)

    def later(config: Path) -> None:
        object_folder._bucket.cache_clear()
        monkeypatch.setattr(services, "_named", set())
        monkeypatch.setenv("FEATURESTORE_CONFIG", str(config))

    later(Path(os.environ["FEATURESTORE_CONFIG"]))
    store.embed(CountingBackbone())
    later(tmp_path / "other")
    with pytest.raises(StoreError, match=r"lie at http://.*AWS_ENDPOINT_URL=http.*ingest --dry-run --images"):
        store.embed(CountingBackbone(name="second"))
    sheet = store.contact_sheet(store.refresh().similar(3, backbone="counting", k=3))
    assert sheet.count("nobody has named on this machine") == 4
    host = uploaded.partition("endpoint_override=")[2].partition("&")[0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"HTTP://{host}/")
    store.embed(CountingBackbone(name="second"))
    later(tmp_path / "file" / "in the way")
    (tmp_path / "file").write_bytes(b"")
    store.ingest(images=uploaded)
    with pytest.raises(InputError, match="expected a path, or an address"):
        ImageAddress.of("http://169.254.169.254/latest", "1.jpg").read()


def test_a_path_is_never_taken_for_an_address() -> None:
    assert stored_source("/data/s3://ab") == Path("/data/s3:\udcab")
    assert stored_source("s3://ab/c") == ObjectFolder("s3://ab/c")
    assert str(ImageAddress.of("s3://ab/c?region=x", "d e/1.jpg")) == "s3://ab/c/d%20e/1.jpg?region=x"
    assert os.path.isabs(object_folder.resolved(Path("x")))


def test_two_spellings_of_an_address_are_one() -> None:
    named = {
        ObjectFolder.of(one)
        for one in ("s3://b/c d/e?region=x", "S3://b//c%20d/e/?region=x", "s3://b/c d%2Fe?region=x")
    }
    assert named == {ObjectFolder("s3://b/c%20d/e?region=x")}
    assert fronts([ObjectFolder.of(f"s3://{one}") for one in ("b/x", "c/x", "b/x?region=y")]) == [
        "s3:/b/x/",
        "s3:/c/x/",
        "s3:region=y/b/x/",
    ]
