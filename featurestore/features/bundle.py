"""Writes and reads bundles: folders of features with lineage and checksums that another project pins by a lock.

The dataset card and `croissant.json` are for other tools: they are written, never read, and not pinned by the lock.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore import arrow
from featurestore.errors import InputError, IntegrityError, reason
from featurestore.features.card import card
from featurestore.features.croissant import croissant
from featurestore.features.export import SUFFIXES, write_parquet
from featurestore.features.features import Features
from featurestore.features.manifest import check_manifest
from featurestore.files import MEGABYTE, atomic_folder, file_hash, format_of, json_object, read_file

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader
    from featurestore.progress import Progress

# `rows.parquet` has the image of each row; it is a separate file, so that its columns can't clash with the view's.
MANIFEST, DATA, ROWS, LOCK = "manifest.json", "features.parquet", "rows.parquet", "bundle.lock"
CARD, CROISSANT = "README.md", "croissant.json"
FILES = frozenset({MANIFEST, DATA, ROWS, LOCK, CARD, CROISSANT})
FORMAT = 1


def write_bundle(
    reader: "Reader",
    features: Features,
    path: Path,
    *,
    view: str,
    chosen: Mapping[str, object] | None = None,
    force: bool = False,
    on_progress: "Progress | None" = None,
) -> str:
    """Write ``features`` into the folder ``path`` and return its lock, ``sha256:…`` of the manifest.

    Parameters
    ----------
    chosen
        How the rows of the view were selected, for the manifest: ``where``, ``ids`` (their number), ``limit``.
    force
        Whether to replace an existing bundle; other folders and files are never replaced.

    Raises
    ------
    InputError
        When ``path`` exists, is named like a file, or can't be written.
    """
    format_of(path, "bundle", SUFFIXES)
    _check_free(path, force)
    try:
        with atomic_folder(path) as building:
            write_parquet(features, building / DATA, on_progress or (lambda done, total: None))
            pq.write_table(_rows(reader, features), building / ROWS)
            manifest = _manifest(reader, features, building, view, chosen or {})
            content = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
            lock = _lock(content)
            (building / MANIFEST).write_bytes(content)
            (building / LOCK).write_bytes(f"{lock}\n".encode())
            _describe(building, path.resolve().name, manifest)
    except OSError as error:
        raise InputError(f"{path} can't be written ({error.strerror or error}): name another place") from error
    except pa.ArrowException as error:
        raise InputError(
            f"a bundle can't hold these columns ({str(error)[:160]}): leave some out with --columns"
        ) from error
    return lock


def open_bundle(path: str | Path, *, lock: str | None = None) -> Features:
    """Read a bundle after verifying all of its bytes; this needs only the core install.

    Parameters
    ----------
    lock
        The lock that your project has stored. Without it, the bundle is verified against its own lock file.

    Raises
    ------
    InputError
        When there is no bundle, or a newer version wrote it.
    IntegrityError
        When the lock or a file doesn't match; the message names the file.
    """
    folder = Path(path)
    try:
        content = read_file(folder / MANIFEST, limit=64 * MEGABYTE)
        pinned = _read_lock(folder) if lock is None else lock
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"there is no bundle in {str(folder)!r}: make one with `featurestore export --format bundle`"
        ) from None
    except OSError as error:
        raise InputError(f"the bundle {str(folder)!r} can't be read ({error.strerror}): copy it again") from error
    if _lock(content) != pinned:
        raise IntegrityError(
            f"{folder / MANIFEST} has the lock {_lock(content)}, expected {pinned}: copy the bundle again"
        )
    manifest = _parse(content, folder)
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{folder} is a bundle of format {str(manifest.get('format'))[:20]}, expected {FORMAT}: "
            "install a newer featurestore"
        )
    for name in (DATA, ROWS):
        file = folder / name
        if not file.is_file() or file_hash(file) != manifest["files"].get(name):
            raise IntegrityError(f"{file} does not match its checksum in the manifest: copy the bundle again")
    try:
        return _features(folder, manifest)
    except (LookupError, TypeError, ValueError, OverflowError, OSError, pa.ArrowException) as error:
        raise IntegrityError(f"{folder / MANIFEST} does not match its files ({reason(error)[:160]})") from error


def _parse(content: bytes, folder: Path) -> dict[str, Any]:
    """Parse the manifest, which is untrusted: whoever wrote it could also write a matching lock."""
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{folder / MANIFEST} is not a manifest ({reason(error)}): copy the bundle") from error
    if not isinstance(manifest, dict) or (
        manifest.get("format") == FORMAT and not isinstance(manifest.get("files"), dict)
    ):
        raise IntegrityError(f"{folder / MANIFEST} is not a manifest, it lists no files: copy the bundle again")
    return manifest


def _check_free(path: Path, force: bool) -> None:
    if not path.exists():
        return
    if not force:
        raise InputError(f"{str(path)!r} exists: name a new folder for the bundle, or use --force")
    if not path.is_dir() or not {entry.name for entry in path.iterdir()} <= FILES:
        raise InputError(f"{str(path)!r} is not a bundle and is not replaced, even with --force: name a new folder")


def _rows(reader: "Reader", features: Features) -> pa.Table:
    """The content hash of each row's image, and its duplicate group."""
    known = reader.query("SELECT ImgId, content_hash FROM images_usable ORDER BY ImgId")
    places = np.searchsorted(known["ImgId"].to_numpy(), features.ids)
    return pa.table(
        {
            "ImgId": features.ids,
            "content_hash": known["content_hash"].take(pa.array(places)),
            "duplicate_group": features.groups,
        }
    )


def _manifest(
    reader: "Reader", features: Features, folder: Path, view: str, chosen: Mapping[str, object]
) -> dict[str, Any]:
    given = {name: value for name, value in chosen.items() if value is not None}
    return (
        features.about
        | ({"chosen": given} if given else {})
        | {
            "format": FORMAT,
            "view": view,
            "view_sql": reader.state.views.get(view),
            "rows": len(features),
            "vectors": list(features.vector_columns),
            "dims": [list(item) for item in features.dims],
            "backbones": _lineage(reader, features),
            "files": {name: file_hash(folder / name) for name in (DATA, ROWS)},
        }
    )


def _describe(folder: Path, name: str, manifest: Mapping[str, Any]) -> None:
    """Write what other tools read: the card and `croissant.json`."""
    schemas = {file: pq.read_schema(folder / file) for file in (DATA, ROWS)}
    files = {
        file: (schema, (folder / file).stat().st_size, manifest["files"][file]) for file, schema in schemas.items()
    }
    backbones = " and ".join(one["backbone"] for one in manifest["backbones"])
    label = f", with the label {manifest['label']}" if manifest["label"] else ""
    text = f"{manifest['rows']:,} rows of the view {manifest['view']}{label}: embeddings of images by {backbones}."
    document = croissant(name, text, files, synthetic=manifest["synthetic"])
    (folder / CROISSANT).write_text(f"{json.dumps(document, indent=1, ensure_ascii=False)}\n", "utf-8")
    (folder / CARD).write_text(card(name, text, manifest, schemas[DATA], [DATA, ROWS]), "utf-8")


def _lineage(reader: "Reader", features: Features) -> list[dict[str, Any]]:
    """The record of each backbone, in the order of the columns, with the times and libraries of its extractions."""
    records = []
    for name, _ in features.dims:
        key = [name, reader.state.revisions[name]]
        where = "WHERE backbone = ? AND revision = ?"
        record = reader.query(f"SELECT * FROM backbones {where}", key).to_pylist()[0]
        done = reader.query(f'SELECT "at", libraries FROM extractions {where} ORDER BY "at"', key).to_pylist()
        what = f"of the backbone {name!r} in the store"
        for field in ("preprocessing", "libraries", "options"):
            record[field] = json_object(record[field], f"the {field} {what}")
        record["computed"] = [
            {"at": one["at"].isoformat(), "libraries": json_object(one["libraries"], f"what computed vectors {what}")}
            for one in done
        ]
        records.append(record)
    return records


def _features(folder: Path, manifest: dict[str, Any]) -> Features:
    with pq.ParquetFile(folder / DATA) as file, pq.ParquetFile(folder / ROWS) as rows_file:
        check_manifest(manifest, file, rows_file, size=(folder / DATA).stat().st_size)
    dims = tuple((name, dim) for name, dim in manifest["dims"])
    columns = dict(zip(manifest["vectors"], (dim for _, dim in dims), strict=True))
    with pq.ParquetFile(folder / DATA) as file:
        X = _vectors(file, columns)
        table = file.read([name for name in file.schema_arrow.names if name not in columns])
    with pq.ParquetFile(folder / ROWS) as file:
        rows = file.read(["ImgId", "duplicate_group"])  # their lengths are those of the features
    if not len(rows) == len(table) == len(X) or rows["ImgId"].null_count or rows["duplicate_group"].null_count:
        raise ValueError(f"it lists {len(X)} rows, {len(rows)} can be read")
    return Features(
        X=X,
        ids=arrow.to_numpy(rows["ImgId"]),
        table=table.replace_schema_metadata(None),
        groups=arrow.to_numpy(rows["duplicate_group"]),
        missing=manifest["missing"],
        backbone="+".join(name for name, _ in dims),
        revision=manifest["revision"],
        state_id=manifest["state"],
        synthetic=manifest["synthetic"],
        dims=dims,
        label=manifest["label"],
    )


def _vectors(file: pq.ParquetFile, columns: dict[str, int]) -> NDArray[np.float32]:
    """The concatenated columns, ``(n, d)`` float32; read by row groups, so that no second matrix is needed."""
    X = np.empty((file.metadata.num_rows, sum(columns.values())), np.float32)
    top = 0
    for group in range(file.num_row_groups):
        block = file.read_row_group(group, columns=list(columns))
        left = 0
        for name, dim in columns.items():
            values = arrow.to_numpy(block[name].combine_chunks().flatten())
            X[top : top + len(block), left : left + dim] = values.reshape(-1, dim)
            left += dim
        top += len(block)
    if top != len(X):
        raise ValueError(f"it lists {len(X)} vectors, {top} can be read")
    return X


def _read_lock(folder: Path) -> str:
    return read_file(folder / LOCK, limit=MEGABYTE).decode("ascii", "replace").strip()


def _lock(manifest: bytes) -> str:
    return "sha256:" + hashlib.sha256(manifest).hexdigest()
