"""The small files beside an image in a WebDataset sample, as columns: `.cls`, `.json` and `.txt`."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from featurestore.collections.containers.base import DAMAGED
from featurestore.collections.containers.image_table import without_columns
from featurestore.collections.containers.names import clean_text
from featurestore.collections.limits import MAX_SIDECAR, MAX_SIDECAR_COLUMNS, MAX_SIDECARS
from featurestore.system import read_at

SIDECARS = (".cls", ".json", ".txt")


class Place(NamedTuple):
    """Where a member's bytes are in its tar."""

    offset: int
    size: int

    def read(self, descriptor: int) -> bytes:
        """The bytes in the open file ``descriptor``; fewer where it ends before. Threads may share the descriptor."""
        blocks, left = [], self.size
        while left and (block := read_at(descriptor, left, self.offset + self.size - left)):
            blocks.append(block)
            left -= len(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)


# The members of one sample by what follows the first dot of their names.
Sample = dict[str, Place]


def sidecar_columns(descriptor: int, samples: Sequence[Sample]) -> tuple[pa.Table, list[str]]:
    """A table with one row for the sample of each image, and sentences on what could not be read.

    Parameters
    ----------
    descriptor
        Of the open tar.
    """
    columns: dict[str, list[Any]] = {}
    unread = left = 0
    room = MAX_SIDECARS
    for row, sample in enumerate(samples):
        for ending in ("json", "txt", "cls"):  # the last wins, where a key of the JSON has the name of another
            place = sample.get(ending)
            if place is None:
                continue
            room -= place.size
            content = place.read(descriptor) if place.size <= MAX_SIDECAR and room >= 0 else b""
            values = _values(ending, content) if len(content) == place.size else None
            if values is None:
                unread += 1
                continue
            for name, value in values:
                if name not in columns and (len(columns) >= MAX_SIDECAR_COLUMNS or not name):
                    left += 1
                    continue
                columns.setdefault(name, [None] * len(samples))[row] = value
    notes = []
    if unread:
        notes.append(f"{unread:,} files beside the images are not used: not a JSON object, or too large")
    if left:
        notes.append(
            f"{left:,} values are not used: the JSON files have more than {MAX_SIDECAR_COLUMNS:,} keys, or an empty one"
        )
    arrays = {name: _array(values, numbers=name == "cls") for name, values in columns.items()}
    return (pa.table(arrays) if arrays else without_columns(len(samples))), notes


def _values(ending: str, content: bytes) -> Iterator[tuple[str, Any]] | None:
    """The names and values that one file gives to its row; None when it is unusable."""
    if ending != "json":
        return iter([(ending, clean_text(content.decode("utf-8", "backslashreplace").strip()))])
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return ((clean_text(key), _plain(value)) for key, value in found.items())


def _plain(value: Any) -> Any:
    """A value of JSON that Arrow can hold: scalars and lists of them; an object becomes JSON text."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list) and not any(isinstance(item, list | dict) for item in value):
        return [clean_text(item) if isinstance(item, str) else item for item in value]
    return json.dumps(value) if isinstance(value, list | dict) else value


def _array(values: list[Any], *, numbers: bool) -> pa.Array:
    """The values as an array; as text where their types differ.

    Parameters
    ----------
    numbers
        Whether texts become integers, if all are the usual spelling of one.
    """
    if numbers and all(value is None or _is_integer(value) for value in values):
        values = [None if value is None else int(value) for value in values]
    try:
        array = pa.array(values)
    except (*DAMAGED, TypeError):  # values of several types, or numbers beyond 64 bits
        array = pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string())
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and (digits == "0" or digits[0] != "0")
