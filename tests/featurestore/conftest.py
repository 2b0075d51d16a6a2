"""A store behind an address: a folder that is read as an object store is."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Collection, CountingBackbone

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
