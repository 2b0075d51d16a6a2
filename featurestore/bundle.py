"""A portable bundle: features with lineage and checksums in one folder that another project pins by its lock."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.errors import InputError, IntegrityError
from featurestore.features import Features
from featurestore.parts import file_hash
from featurestore.state import write_atomic

if TYPE_CHECKING:
    from featurestore.store import FeatureStore

MANIFEST, DATA, LOCK = "manifest.json", "features.parquet", "bundle.lock"
FORMAT = 1


def write_bundle(store: "FeatureStore", features: Features, path: Path, *, view: str) -> str:
    """Write ``features`` into the new folder ``path`` and return its lock, ``sha256:…`` of the manifest.

    Raises
    ------
    InputError
        When ``path`` exists.
    """
    if path.exists():
        raise InputError(f"{str(path)!r} exists: name a new folder for the bundle, or remove it")
    building = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        building.mkdir(parents=True)
        table = features.to_arrow().append_column("duplicate_group", pa.array(features.groups))
        pq.write_table(table, building / DATA, row_group_size=4096, use_dictionary=False, compression="none")
        manifest = {
            "format": FORMAT,
            "view": view,
            "state": features.state_id,
            "synthetic": features.synthetic,
            "missing": features.missing,
            "rows": len(features),
            "label": features.label,
            "classes": list(features.classes),
            "dims": [list(item) for item in features.dims],
            "backbones": _lineage(store, features),
            "files": {DATA: file_hash(building / DATA)},
        }
        content = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
        lock = _lock(content)
        write_atomic(building / MANIFEST, content)
        write_atomic(building / LOCK, f"{lock}\n".encode())
        os.replace(building, path)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return lock


def open_bundle(path: str | Path, *, lock: str | None = None) -> Features:
    """Read a bundle after checking every byte of it; needs the core install only.

    Parameters
    ----------
    lock
        The lock that your project wrote down. Without it the bundle is checked against its own.

    Raises
    ------
    InputError
        When there is no bundle.
    IntegrityError
        When its bytes, or its lock, are not those that were pinned; the file is named.
    """
    folder = Path(path)
    try:
        content = (folder / MANIFEST).read_bytes()
        pinned = lock or (folder / LOCK).read_text("utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"there is no bundle in {str(folder)!r}: make one with `featurestore export --format bundle`"
        ) from None
    if _lock(content) != pinned:
        raise IntegrityError(
            f"{folder / MANIFEST} has the lock {_lock(content)}, pinned is {pinned}: get the bundle again"
        )
    manifest = json.loads(content)
    for name, digest in manifest["files"].items():
        if not (folder / name).is_file() or file_hash(folder / name) != digest:
            raise IntegrityError(
                f"{folder / name} is not what the manifest names, its bytes changed: get the bundle again"
            )
    return _features(pq.read_table(folder / DATA), manifest)


def _features(table: pa.Table, manifest: dict[str, Any]) -> Features:
    dims = tuple((str(name), int(dim)) for name, dim in manifest["dims"])
    names = ["embedding"] if len(dims) == 1 else [name for name, _ in dims]
    blocks = [table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1) for name in names]
    return Features(
        X=blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1),
        ids=table["ImgId"].to_numpy(),
        table=table.drop_columns([*names, "duplicate_group"]),
        groups=table["duplicate_group"].to_numpy(),
        missing=manifest["missing"],
        backbone="+".join(name for name, _ in dims),
        revision="+".join(record["revision"] for record in manifest["backbones"]),
        state_id=manifest["state"],
        synthetic=manifest["synthetic"],
        dims=dims,
        label=manifest["label"],
    )


def _lineage(store: "FeatureStore", features: Features) -> list[dict[str, Any]]:
    """The record of each backbone, in the order of the columns."""
    rows = {(row["backbone"], row["revision"]): row for row in store.query("SELECT * FROM backbones").to_pylist()}
    return [rows[name, store.state.revisions[name]] for name, _ in features.dims]


def _lock(manifest: bytes) -> str:
    return "sha256:" + hashlib.sha256(manifest).hexdigest()
