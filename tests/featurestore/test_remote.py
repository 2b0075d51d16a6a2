"""A store on an object store, behind a local S3 server: opens, reads the same, never writes."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs
from support import Collection, CountingBackbone, jpeg, needs

from featurestore import FeatureStore
from featurestore import open as open_store
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import StoreError, StoreNotFound
from featurestore.storage import remote


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a fresh S3 server on this machine."""
    needs("moto")
    import moto.server

    running = moto.server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"{host}:{port}"
    running.stop()


@pytest.fixture
def uploaded(store: FeatureStore, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a copy of `store`, embedded and with a snapshot, on the server."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FEATURESTORE_CACHE", str(tmp_path / "cache"))
    store.embed(CountingBackbone())
    store.create_snapshot("first")
    options = f"scheme=http&endpoint_override={server}&allow_bucket_creation=true"
    address = f"s3://stores/{tmp_path.name.replace('_', '-')}?{options}"
    upload(store.path, address)
    return address


def upload(folder: Path, address: str) -> None:
    target, base = fs.FileSystem.from_uri(address)
    target.create_dir(base.split("/")[0])
    fs.copy_files(str(folder), base, fs.LocalFileSystem(), target)


def test_it_reads_as_the_folder_does(store: FeatureStore, uploaded: str) -> None:
    there = open_store(uploaded)
    assert there.state.id == store.state.id
    assert there.sql("FROM labeled").equals(store.sql("FROM labeled"))
    here, away = (s.features("counting", view="collection") for s in (store, there))
    assert away.X.tobytes() == here.X.tobytes()
    assert open_store(uploaded, snapshot="first").state.id == store.state.id


def test_each_part_is_fetched_once_and_news_are_seen(
    store: FeatureStore, uploaded: str, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = open_store(uploaded)
    assert len(there.sql("FROM images")) == 24
    (collection.images / "900.jpg").write_bytes(jpeg(900))
    store.ingest(metadata=collection.metadata, images=collection.images)
    upload(store.path, uploaded)
    copied: list[str] = []
    replace = remote.os.replace
    monkeypatch.setattr(remote.os, "replace", lambda a, b: copied.append(Path(b).name) or replace(a, b))
    assert len(there.refresh().sql("FROM images")) == 25
    assert sum(name.startswith("part-") for name in copied) == 1, "only the new part of images"


def test_it_is_read_only_and_says_so(
    uploaded: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="read-only"):
        open_store(uploaded).embed(CountingBackbone())
    with pytest.raises(StoreError, match="read-only"):
        open_store(uploaded).append({"t": pa.table({"a": [1]})})
    monkeypatch.setattr("sys.argv", ["featurestore", "gc", "--store", uploaded])
    assert run_command(cli, "featurestore") == 2
    assert "a store there is read-only" in capfd.readouterr().err
    monkeypatch.setattr("sys.argv", ["featurestore", "info", "--store", uploaded])
    assert run_command(cli, "featurestore") == 0
    assert "24 of 24 images" in capfd.readouterr().out
    for command, words in (
        (["verify"], "0 damaged"),
        (["snapshot", "list"], "first"),
        (["snapshot", "diff", "first"], "0"),
    ):
        monkeypatch.setattr("sys.argv", ["featurestore", *command, "--store", uploaded])
        assert run_command(cli, "featurestore") == 0
        assert words in capfd.readouterr().out


def test_addresses_without_a_store(server: str, uploaded: str) -> None:
    with pytest.raises(StoreNotFound, match="there is no store at"):
        open_store(uploaded.replace("s3://stores/", "s3://stores/no-"))
    with pytest.raises(StoreError, match="check address and rights"):
        open_store("nonsense://bucket/x")
