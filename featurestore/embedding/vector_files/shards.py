"""Finds the shards that clip-retrieval writes: `img_emb_0.npy` and so on, each with its `metadata_0.parquet`."""

import os
from dataclasses import dataclass
from pathlib import Path

from featurestore.embedding.vector_files.imported import is_number
from featurestore.errors import InputError

MATRIX, METADATA = "img_emb", "metadata"


@dataclass(frozen=True)
class VectorShard:
    """A file of vectors, and the table with a row for each."""

    matrix: Path
    metadata: Path


def shards_in(folder: Path) -> list[VectorShard]:
    """The shards of a folder, or of its folder `img_emb`, by ascending number.

    Raises
    ------
    InputError
        When there is none, or the metadata of one.
    """
    for place in (folder, folder / MATRIX):
        names = os.listdir(place) if place.is_dir() else []
        found = {name: number for name in names if (number := _number(name)) is not None}
        if found:
            return [_with_metadata(place / name) for name in sorted(found, key=lambda name: (int(found[name]), name))]
    raise InputError(f"{str(folder)!r} is a folder without {MATRIX}_0.npy: name a file of embeddings to import")


def shard_of(file: Path) -> VectorShard | None:
    """The shard whose vectors are ``file``; None if its name is another, or it has no metadata."""
    number = _number(file.name)
    place = None if number is None else _metadata(file, number)
    return None if place is None else VectorShard(file, place)


def _with_metadata(file: Path) -> VectorShard:
    shard = shard_of(file)
    if shard is None:
        name = f"{METADATA}_{_number(file.name)}.parquet"
        raise InputError(f"{file} has no {name} beside it or in ../{METADATA}: it names the images")
    return shard


def _number(name: str) -> str | None:
    """The digits in ``img_emb_DIGITS.npy``; None for any other name."""
    digits = name.removeprefix(f"{MATRIX}_").removesuffix(".npy")
    return digits if is_number(digits) and name == f"{MATRIX}_{digits}.npy" else None


def _metadata(file: Path, number: str) -> Path | None:
    name = f"{METADATA}_{number}.parquet"
    places = (file.parent / name, file.parent.parent / METADATA / name)
    return next((place for place in places if place.is_file()), None)
