"""Writes features as Delta Lake tables, one per backbone, for other engines; only this module imports deltalake."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pyarrow as pa

from featurestore._optional import import_extra
from featurestore.errors import InputError, in_one_line
from featurestore.features.features import Features
from featurestore.files import atomic_folder

if TYPE_CHECKING:
    from featurestore.progress import Progress

LOG = "_delta_log"
GROUP_ROWS = 4096


def write_delta(
    tables: Sequence[Features], path: Path, *, force: bool = False, on_progress: "Progress | None" = None
) -> list[Path]:
    """Write each of ``tables``, the features of one backbone, as a Delta table into the folder ``path``.

    A table has the name of its backbone, and the revision in its description. It has the selected columns of the view,
    and ``embedding``, a list of float32, since Delta has no fixed-size lists.

    Returns
    -------
    The folders of the tables.

    Raises
    ------
    InputError
        When ``path`` exists and ``force`` is False, it holds other files, or Delta has no type for a column.
    MissingExtra
        When deltalake is not installed.
    """
    deltalake = import_extra("deltalake", "export", needed_by="the export to Delta Lake")
    _check_free(path, force)
    for features in tables:
        _check_columns(_schema(features), deltalake)
    done, total = 0, sum(len(features) for features in tables)
    try:
        with atomic_folder(path) as building:
            for features in tables:
                schema = _schema(features)
                deltalake.write_deltalake(
                    str(building / features.backbone),
                    pa.RecordBatchReader.from_batches(schema, _batches(features, schema)),
                    name=features.backbone,
                    description=_description(features),
                )
                done += len(features)
                if on_progress:
                    on_progress(done, total)
    except deltalake.exceptions.DeltaError as error:
        raise InputError(f"{path} can't be written ({in_one_line(error)[:160]}): name another place") from error
    except OSError as error:
        raise InputError(f"{path} can't be written ({error.strerror or error}): name another place") from error
    return [path / features.backbone for features in tables]


def _check_columns(schema: pa.Schema, deltalake: ModuleType) -> None:
    for field in schema:
        try:
            deltalake.Schema.from_arrow(pa.schema([field]))
        except Exception as error:  # deltalake has no specific exception for this
            raise InputError(
                f"Delta Lake has no type for the column {field.name!r}, {field.type}: leave it out with --columns"
            ) from error


def _schema(features: Features) -> pa.Schema:
    """The schema with the vectors, which are the last column, as variable-size lists."""
    schema = features.to_arrow().schema.remove_metadata()
    kind = pa.list_(pa.field("element", pa.float32(), nullable=False))
    return schema.set(len(schema) - 1, pa.field("embedding", kind, nullable=False))


def _batches(features: Features, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Batches of a few rows, since list offsets have 32 bits."""
    table = features.to_arrow().replace_schema_metadata(None)
    for batch in table.to_batches(max_chunksize=GROUP_ROWS):
        yield pa.RecordBatch.from_arrays([*batch.columns[:-1], batch.columns[-1].cast(schema[-1].type)], schema=schema)


def _description(features: Features) -> str:
    made_up = ", SYNTHETIC images or weights" if features.synthetic else ""
    return f"{features.backbone}, revision {features.revision}, state {features.state_id}{made_up}"


def _check_free(path: Path, force: bool) -> None:
    if not path.exists():
        return
    if not force:
        raise InputError(f"{str(path)!r} exists: name a new folder for the tables, or use --force")
    if not path.is_dir() or not all((entry / LOG).is_dir() for entry in path.iterdir()):
        raise InputError(f"{str(path)!r} holds other files than Delta tables and is not replaced: name a new folder")
