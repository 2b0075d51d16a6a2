"""`forget` on an object store: what others have put stays theirs, and the cache of this machine is cleaned too."""

from collections import Counter
from pathlib import Path

import pytest
from forgetting import GONE, needles, traces
from s3_server import S3Server
from support import needs
from torture.content import content

from featurestore import FeatureStore
from featurestore.catalog import snapshots
from featurestore.forgetting import forget as module
from featurestore.storage.bucket import Bucket

pytestmark = pytest.mark.shell_file

needs("moto", "obstore")


def copied(folder: Path, address: str) -> Bucket:
    """The files of a store in a folder, put on an object store."""
    bucket = Bucket(address)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".duckdb":
            bucket.put(path.relative_to(folder).as_posix(), path)
    return bucket


def fetched(bucket: Bucket, folder: Path) -> Path:
    """Every object, in a folder."""
    for entry in bucket.entries():
        path = folder / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(bucket.read(entry.name, limit=1 << 30)))
    return folder


def test_nothing_is_left_there_or_in_the_cache(
    everywhere: Path, server: S3Server, keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = FeatureStore(everywhere / "store")
    wanted = needles(made)
    bucket = copied(made.path, server.address(tmp_path.name))
    store = FeatureStore(server.address(tmp_path.name))
    assert store.verify().damaged == {}
    other = made.path / "notes" / f"part-{'0' * 32}.parquet"  # another writer's, which it is about to name
    bucket.put(f"notes/{other.name}", made.path / made.layout.parts("backbones")[0].path)
    taken: list[str] = []

    def meanwhile(*arguments: object) -> None:
        if not taken:  # another machine keeps the old state, after all snapshots were looked at
            taken.append(snapshots.create(store.objects, "meanwhile").name)

    change = module._change_snapshots
    monkeypatch.setattr(module, "_change_snapshots", lambda *arguments: (change(*arguments), meanwhile())[0])
    assert traces(store.path, wanted), "the cache has it"
    report = store.forget(GONE)
    assert set(report.snapshots) == {"after", "before"}
    assert traces(store.path, wanted) == []
    there = fetched(bucket, tmp_path / "there")
    assert traces(there, wanted) == []
    assert (there / "notes" / other.name).is_file()
    assert store.verify().damaged == {}
    assert {info.name for info in store.snapshots() if info.forgotten_at} == {"after", "before", "meanwhile"}
    left = content(there)["bench_predictions"]
    assert left == Counter(
        {row: n for row, n in content(made.path)["bench_predictions"].items() if 'ImgId": 3,' not in row}
    )
