"""A store that was copied to an object store, behind a local S3 server: opens, and reads the same."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from support import Collection, CountingBackbone, jpeg, needs

from featurestore import FeatureStore
from featurestore import open as open_store
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import InputError, MissingExtra, StoreError, StoreNotFound
from featurestore.storage import bucket

needs("moto", "obstore")
pytestmark = pytest.mark.usefixtures("keys")


@pytest.fixture
def uploaded(store: FeatureStore, host: str, tmp_path: Path) -> str:
    """The address of a copy of `store`, embedded and with a snapshot, on the server."""
    store.embed(CountingBackbone())
    store.create_snapshot("first")
    base = f"some stores/{tmp_path.name}"
    upload(store.path, host, base)
    return f"s3://stores/{base.replace(' ', '%20')}?scheme=http&endpoint_override={host}&region=us-east-1"


def upload(folder: Path, host: str, base: str) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=f"http://{host}", region_name="us-east-1")
    client.create_bucket(Bucket="stores")
    for path in folder.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "stores", f"{base}/{path.relative_to(folder)}")


def test_it_reads_as_the_folder_does(store: FeatureStore, uploaded: str) -> None:
    there = open_store(uploaded)
    assert there.state.id == store.state.id
    assert there.sql("FROM labeled").equals(store.sql("FROM labeled"))
    here, away = (s.features("counting", view="collection") for s in (store, there))
    assert away.X.tobytes() == here.X.tobytes()
    assert open_store(uploaded, snapshot="first").state.id == store.state.id
    with pytest.raises(InputError, match=r"has no snapshot 'second'.*it has: first"):
        open_store(uploaded, snapshot="second")


def test_each_part_is_fetched_once_and_news_are_seen(
    store: FeatureStore, uploaded: str, host: str, collection: Collection, tmp_path: Path, asked_objects: list[str]
) -> None:
    there = open_store(uploaded)
    assert asked_objects == ["state.json"], "opening reads the state and nothing else"
    assert len(there.sql("FROM images")) == 24
    (collection.images / "900.jpg").write_bytes(jpeg(900))
    store.ingest(metadata=collection.metadata, images=collection.images)
    upload(store.path, host, f"some stores/{tmp_path.name}")
    asked_objects.clear()
    assert len(there.refresh().sql("FROM images")) == 25
    assert [name.partition("/")[0] for name in asked_objects] == ["state.json", "manifests", "images"]
    asked_objects.clear()
    assert len(open_store(uploaded).sql("FROM images")) == 25
    assert asked_objects == ["state.json"]


def test_commands_read_and_write_it(
    uploaded: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_store(uploaded).embed(CountingBackbone()).computed == 0
    open_store(uploaded).append({"t": pa.table({"a": [1]})})
    monkeypatch.setattr("sys.argv", ["featurestore", "info", "--store", uploaded])
    assert run_command(cli, "featurestore") == 0
    assert "24 of 24 images" in capfd.readouterr().out
    for command, words in (
        (["verify"], "6 parts"),
        (["verify"], "0 damaged"),
        (["snapshot", "list"], "first"),
        (["snapshot", "diff", "first"], "0"),
        (["snapshot", "create", "second"], "snapshot second: state"),
        (["compact"], "nothing to merge"),
        (["gc"], "0 files, 0.0 MB removed"),
        (["repair"], "nothing is damaged"),
    ):
        monkeypatch.setattr("sys.argv", ["featurestore", *command, "--store", uploaded])
        assert run_command(cli, "featurestore") == 0
        assert words in capfd.readouterr().out


def test_addresses_without_a_store(host: str, uploaded: str) -> None:
    with pytest.raises(StoreNotFound, match=r"there is no store in 's3://stores/no-.*make one with"):
        open_store(uploaded.replace("s3://stores/", "s3://stores/no-"))
    with pytest.raises(StoreNotFound, match="there is no store in"):
        open_store(uploaded.replace("s3://stores/", "s3://nowhere/"))
    for address in ("nonsense://bucket/x", "file://elsewhere/x", "s3://", "s3://b/x?regoin=x", "s3://b/x?scheme=ftp"):
        with pytest.raises(StoreError, match=r"check address and permissions|check the address"):
            open_store(address)
    with pytest.raises(StoreError, match=r"can't be read .*check address and permissions"):
        open_store("s3://b/x?scheme=http&endpoint_override=127.0.0.1:9")


def test_keys_in_an_address_are_not_repeated() -> None:
    with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY") as caught:
        open_store("s3://me:secret@bucket/x")
    assert "secret@" not in str(caught.value)


def test_keys_of_a_profile(uploaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys obstore asks the machine it runs on, which takes long and answers on few."""
    file = tmp_path / "credentials"
    file.write_text("[mine]\naws_access_key_id = a\naws_secret_access_key = b%c\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert open_store(uploaded).state.number
    file.write_text("no file of keys")
    with pytest.raises(StoreError, match="credentials' can't be read"):
        open_store(uploaded)


def test_without_obstore_one_sentence_says_what_to_install(uploaded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingExtra, match=r"a store on an object store \(s3://stores.*featurestore\[s3\]"):
        open_store(uploaded)


def test_a_listing_that_does_not_end_is_left(uploaded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = open_store(uploaded)
    monkeypatch.setattr(bucket, "MAX_LISTED", 0)
    with pytest.raises(StoreError, match="holds more than 0 objects"):
        list(there.objects.list("snapshots"))


def test_a_read_that_breaks_off_leaves_no_file(uploaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = open_store(uploaded)
    (part,) = there.layout.parts("movies")
    get = there.objects.source._obstore.get

    def stream() -> Iterator[bytes]:
        yield b"PAR1"
        raise there.objects.source._obstore.exceptions.BaseError("the line broke\nand more")

    broken = SimpleNamespace(stream=lambda **_: stream())
    monkeypatch.setattr(there.objects.source._obstore, "get", lambda *_: broken)
    with pytest.raises(StoreError, match=r"can't be read \(the line broke\): check address and permissions"):
        there.layout.path(part)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name.endswith((".tmp", ".parquet"))]
    monkeypatch.setattr(there.objects.source._obstore, "get", get)
    assert there.layout.path(part).stat().st_size == part.size_bytes


FORKED = """
import os, sys
import featurestore
store = featurestore.open(sys.argv[1])
here = store.parts("movies")
if os.fork() == 0:
    print(store.parts("movies") == here, flush=True)
    try:
        store.refresh().state
    except featurestore.errors.StoreError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


def test_a_forked_child_reads_what_is_here_and_does_not_hang(uploaded: str) -> None:
    """Threads of obstore do not live on in a child: it would wait for them forever."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED, uploaded]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    first, second = result.stdout.splitlines()
    assert first == "True"
    assert "it was forked from one that had read an object store" in second
    assert "'spawn'" in second
