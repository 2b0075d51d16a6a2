"""A bundle from elsewhere may claim anything under a lock that fits: it opens as what it is, or a sentence says why."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore, open_bundle
from featurestore.errors import InputError, IntegrityError
from featurestore.features.bundle import write_bundle


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    collection, store = Collection(root, 24), FeatureStore(root / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    write_bundle(store, store.features("counting", label="Genre1"), root / "bundle", view="labeled")
    return root / "bundle"


@pytest.fixture
def bundle(template: Path, tmp_path: Path) -> Path:
    """A bundle of 20 rows with vectors of 16 floats."""
    return shutil.copytree(template, tmp_path / "bundle")


def relocked(folder: Path, change: dict[str, Any]) -> None:
    """A manifest with other fields, and with the lock and hashes that fit: whoever makes a bundle can make them."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest["files"]}
    content = json.dumps({name: value for name, value in (manifest | change).items() if value != "gone"}).encode()
    (folder / "manifest.json").write_bytes(content)
    (folder / "bundle.lock").write_text(f"sha256:{hashlib.sha256(content).hexdigest()}")


@pytest.mark.parametrize(
    "change",
    [
        *({"rows": value} for value in (-1, 7, 2**70, "20", True, None, "gone")),
        *({"dims": [["counting", value]]} for value in (0, -16, 15, 2**40, "16", None, 16.0)),
        *({"dims": value} for value in ([], {}, None, [["counting"]], [16], [["counting", 16], ["x", 16]], "gone")),
        *({"vectors": value} for value in ([], ["Title"], ["nothing"], [7], None, "gone")),
        *({"label": value} for value in ("nothing", 7, ["Genre1"], "embedding", {})),
        *({"missing": value} for value in (-1, "0", None, "gone")),
        *({"synthetic": value} for value in (0, "no", None)),
        *({"revision": value} for value in (7, None, ["x"])),
        *({"state": 7}, {"files": []}, {"files": {"features.parquet": 7}}, {"format": [[1]]}, {"format": "1"}),
    ],
    ids=lambda change: json.dumps(change)[:40],
)
def test_a_manifest_that_claims_something_else_is_one_sentence(bundle: Path, change: dict[str, Any]) -> None:
    relocked(bundle, change)
    with pytest.raises((IntegrityError, InputError)) as caught:
        open_bundle(bundle)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["features.parquet", "rows.parquet"])
@pytest.mark.parametrize("how", ["fewer rows", "other types", "nulls", "no columns", "no Parquet"])
def test_files_that_are_none_of_a_bundle_are_one_sentence(bundle: Path, name: str, how: str) -> None:
    path, table = bundle / name, pq.read_table(bundle / name)
    number = table.schema.get_field_index("embedding" if name == "features.parquet" else "ImgId")
    column = table.column(number)
    others = {
        "fewer rows": table.slice(1),
        "other types": table.set_column(number, table.column_names[number], pa.array(["x"] * len(table))),
        "nulls": table.set_column(number, table.column_names[number], pa.nulls(len(table), column.type)),
        "no columns": table.select([]),
    }
    if how in others:
        pq.write_table(others[how], path)
    else:
        path.write_bytes(b"PAR1 no Parquet PAR1")
    relocked(bundle, {})
    with pytest.raises(IntegrityError, match="does not match its files"):
        open_bundle(bundle)
