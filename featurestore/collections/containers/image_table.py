"""Tables with a column of images, from Parquet or Arrow files: which column it is, one image, and the names of all."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrow import one_chunk
from featurestore.collections.containers.base import DAMAGED, ContainerRows
from featurestore.collections.containers.features import is_image, with_class_names
from featurestore.collections.containers.names import SIGNATURE_BYTES, clean_name, suffix_of
from featurestore.collections.limits import MAX_BYTES
from featurestore.errors import ImageError, reason
from featurestore.files import read_file, why

# Usual names of the column of images, and of the column of file names.
IMAGE_NAMES = ("image", "img", "images", "image_bytes", "bytes", "jpg", "jpeg", "png", "webp", "picture", "photo")
FILE_NAMES = (
    "file_name",
    "filename",
    "image_name",
    "image_path",
    "image_file",
    "file_path",
    "filepath",
    "path",
    "file",
)
# How many values decide whether a column without a declaration holds images.
PEEKED = 16


@dataclass(frozen=True)
class ImageColumn:
    """The column of images: bytes, or a struct of ``bytes`` and perhaps ``path``; ``others`` hold images too."""

    name: str
    is_struct: bool
    has_path: bool
    others: tuple[str, ...]


def find_image_column(
    schema: pa.Schema, features: Mapping[str, Any], first: Callable[[str], pa.Array]
) -> ImageColumn | None:
    """The column of images: a declared one, else the one of the usual name, else the first; None if there is none.

    Parameters
    ----------
    first
        Returns some first values of a column.
    """
    fields = {field.name: field.type for field in schema if len(schema.get_all_field_indices(field.name)) == 1}
    possible = [name for name, kind in fields.items() if _is_bytes(kind) or _is_struct(kind)]
    found = [name for name in possible if is_image(features.get(name))]
    if not found:
        rank = {name: number for number, name in enumerate(IMAGE_NAMES)}
        found = [name for name in possible if _holds_images(first(name))]
        found.sort(key=lambda name: rank.get(name.lower(), len(rank)))  # stable: else in the order of the file
    if not found:
        return None
    kind = fields[found[0]]
    has_path = _is_struct(kind) and kind.get_field_index("path") >= 0 and _is_text(kind.field("path").type)
    return ImageColumn(found[0], _is_struct(kind), has_path, tuple(found[1:]))


def kept_columns(schema: pa.Schema, image: ImageColumn) -> tuple[list[str], list[str]]:
    """The columns to keep beside the images, and those left out: with bytes in them, or not the only one of a name."""
    counts = Counter(schema.names)
    rest = [field for field in schema if field.name != image.name]
    kept = [field.name for field in rest if counts[field.name] == 1 and not _has_bytes(field.type)]
    return kept, list(dict.fromkeys(field.name for field in rest if field.name not in kept))


def column_of(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The column ``name`` of ``batch``.

    Raises
    ------
    ValueError
        When there is none, as in a file that contradicts its own schema.
    """
    place = batch.schema.get_field_index(name)
    if place < 0:
        raise ValueError(f"there is no column {name!r}")
    return batch.column(place)


def checked(batch: pa.RecordBatch, name: str) -> pa.Array:
    """The column ``name`` of a batch from an Arrow file, where nothing has been checked yet.

    Raises
    ------
    ValueError
        When it is damaged.
    """
    column = column_of(batch, name)
    column.validate(full=True)
    return column


def row_of(member: str, rows: int) -> int:
    """The number of the row that ``member`` names, of ``rows``.

    Raises
    ------
    ImageError
        When there is no such row.
    """
    row = int(member) if member.isascii() and member.isdigit() and len(member) < 19 else -1
    if not 0 <= row < rows:
        raise ImageError(f"got the row {member!r}, expected one below {rows}: the file has changed")
    return row


def notes_of(image: ImageColumn, left: Sequence[str]) -> list[str]:
    """Sentences on the columns that are not used, of which ``left`` are not even kept."""
    notes = []
    if image.others:
        others = ", ".join(map(repr, image.others))
        notes.append(f"the images are those of the column {image.name!r}; not used: {others}")
    left = [name for name in left if name not in image.others]
    if left:
        notes.append(f"columns left out, since they hold bytes or are too large: {', '.join(map(repr, left))}")
    return notes


def decoded_bytes(column: pa.ChunkedArray) -> int:
    """The bytes that a column takes when its dictionary, if it has one, is decoded."""
    kind = column.type
    if not pa.types.is_dictionary(kind) or not (_is_text(kind.value_type) or _is_bytes(kind.value_type)):
        return column.nbytes
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(one.cast(pa.int64())).as_py() or 0 for one in lengths)


def content_of(column: pa.Array, row: int, folder: Path) -> bytes:
    """The bytes of the image in ``row``: its own, or those of the file that it names, if that is below ``folder``.

    Raises
    ------
    ImageError
        When there are none, or more than `MAX_BYTES`.
    """
    try:
        value = column[row].as_py()
    except DAMAGED as error:
        raise ImageError(f"the row can't be read: {reason(error)}") from error
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if content is None and isinstance(path, str) and path:
        return _file_below(path, folder)
    if content is None:
        raise ImageError("the row holds no image")
    if len(content) > MAX_BYTES:
        raise ImageError(f"more than the limit of {MAX_BYTES:,} bytes")
    return content


def _file_below(path: str, folder: Path) -> bytes:
    try:
        target = os.path.realpath(os.path.join(folder, path))
        if not target.startswith(os.path.realpath(folder) + os.sep):
            raise ImageError(
                f"the row holds no bytes but the path {path!r}, which is not below the folder of its table"
            )
        return read_file(Path(target), limit=MAX_BYTES)
    except (OSError, ValueError) as error:
        raise ImageError(f"the row holds no bytes, and its file {path!r} can't be read: {why(error)}") from error


def paths_of(column: pa.Array) -> list[str | None]:
    """The path in the struct of each image."""
    return column.field("path").to_pylist()


def suffixes_of(column: pa.Array) -> list[str]:
    """The suffix that each image's first bytes stand for; empty where there are no bytes or no known ones."""
    content = column.field("bytes") if pa.types.is_struct(column.type) else column
    if pa.types.is_dictionary(content.type):
        content = content.dictionary_decode()
    starts = pc.binary_slice(content.cast(pa.large_binary()), 0, SIGNATURE_BYTES)
    return [suffix_of(start or b"") for start in starts.to_pylist()]


def rows_of(
    columns: Mapping[str, pa.ChunkedArray],
    features: Mapping[str, Any],
    *,
    paths: Sequence[str | None],
    stem: str,
    suffixes: Callable[[], Sequence[str]],
    notes: Sequence[str],
) -> ContainerRows:
    """The rows of a table of images: class names for codes, and a name for each row.

    Parameters
    ----------
    paths
        The path that each image's struct has, or None; one for each row.
    stem
        What made-up names begin with: the name of the file without its suffix.
    suffixes
        Returns a suffix for each row; called only where names are made up.
    """
    kept: dict[str, pa.Array] = {}
    said = list(notes)
    for name, column in columns.items():
        try:
            column.validate(full=True)
            if len(column) != len(paths):
                raise ValueError(f"it has {len(column):,} values for {len(paths):,} rows")
            kept[name] = with_class_names(one_chunk(column), features.get(name))
        except DAMAGED as error:
            said.append(f"the column {name!r} is left out, since it is damaged: {reason(error)}")
    table = pa.table(kept) if kept else without_columns(len(paths))
    files = [name for wanted in FILE_NAMES for name in kept if name.lower() == wanted]
    texts = [kept[name].to_pylist() for name in files if _is_text(kept[name].type)]
    names = next((names for names in map(_clean, [paths, *texts]) if _is_unique(names)), [""] * len(paths))
    if not all(names):
        made = [f"{stem}/{row:06d}{suffix}" for row, suffix in enumerate(suffixes())]
        names = [name or new for name, new in zip(names, made, strict=True)]
        if len(set(names)) < len(names):
            names = made
    return ContainerRows([str(row) for row in range(len(names))], names, table, tuple(said))


def without_columns(rows: int) -> pa.Table:
    """A table of ``rows`` rows without columns."""
    empty = pa.StructArray.from_buffers(pa.struct([]), rows, [None])
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(empty)])


def _clean(names: Sequence[str | None]) -> list[str]:
    return [clean_name(name) if name else "" for name in names]


def _is_unique(names: Sequence[str]) -> bool:
    """Whether there are names, and no two are equal; an empty one is none."""
    there = [name for name in names if name]
    return bool(there) and len(set(there)) == len(there)


def _holds_images(values: pa.Array) -> bool:
    return any(suffixes_of(values.slice(0, PEEKED)))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _is_struct(kind: pa.DataType) -> bool:
    """Whether it is a struct of ``bytes`` and perhaps other fields, each name once."""
    if not pa.types.is_struct(kind):
        return False
    names = [kind.field(number).name for number in range(kind.num_fields)]
    return names.count("bytes") == 1 and len(set(names)) == len(names) and _is_bytes(kind.field("bytes").type)


def _has_bytes(kind: pa.DataType) -> bool:
    """Whether it is bytes, or is made of types of which one is."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if _is_bytes(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(_has_bytes(kind.field(number).type) for number in range(kind.num_fields))
