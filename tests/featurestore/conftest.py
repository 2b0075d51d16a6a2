"""A store behind an address: a folder that is read as an object store is, or a server of S3 on this machine."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import S3Server, s3_server
from support import Collection, CountingBackbone, missing

from featurestore import FeatureStore
from featurestore.storage.objects import Folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with vectors of three backbones and a snapshot, deep enough for a few `..`."""
    root = tmp_path_factory.mktemp("template")
    collection, store = Collection(root, 24), FeatureStore(root / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    for name in ("counting", "second", "third"):
        store.embed(CountingBackbone(name=name))
    store.create_snapshot("kept")
    return store.path


@pytest.fixture(scope="session")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that has one image in all its tables, caches and older files, and with its images."""
    from forgetting import fill  # needs the bench

    folder = tmp_path_factory.mktemp("everywhere")
    fill(folder)
    return folder


@pytest.fixture
def filled(everywhere: Path, tmp_path: Path) -> FeatureStore:
    """A store with the image `GONE` everywhere."""
    return FeatureStore(shutil.copytree(everywhere / "store", tmp_path / "store"))


@pytest.fixture
def there(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place behind the address of a store, a copy of the template."""
    monkeypatch.setenv("FEATURESTORE_CACHE", str(tmp_path / "home" / "x" / "cache"))
    return shutil.copytree(template, tmp_path / "away" / "a" / "b" / "c" / "store")


@pytest.fixture
def asked(there: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read there."""
    names: list[str] = []
    read = Folder.read

    def noted(self: Folder, name: str, *, limit: int) -> Iterator[bytes]:
        if self.root == there:
            names.append(name)
        return read(self, name, limit=limit)

    monkeypatch.setattr(Folder, "read", noted)
    return names


@pytest.fixture
def asked_objects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The objects that were asked for."""
    from featurestore.storage.bucket import Bucket  # needs an extra

    names: list[str] = []
    read = Bucket.read

    def noted(self: Bucket, name: str, *, limit: int) -> Iterator[bytes]:
        names.append(name)
        return read(self, name, limit=limit)

    monkeypatch.setattr(Bucket, "read", noted)
    return names


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """A fresh S3 server on this machine."""
    if reason := missing("moto", "obstore"):
        pytest.skip(reason)
    with s3_server() as running:
        yield running


@pytest.fixture(scope="module")
def host(server: S3Server) -> str:
    """``HOST:PORT`` of the server."""
    return server.host


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of the server, and an empty cache."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("FEATURESTORE_CACHE", str(tmp_path / "cache"))
