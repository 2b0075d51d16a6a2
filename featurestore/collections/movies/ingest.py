"""Reads the metadata file of the study into the table `movies`."""

import csv
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from featurestore.collections.listing import Listing
from featurestore.collections.movies.columns import is_movies
from featurestore.collections.movies.ids import movie_number
from featurestore.collections.movies.metadata import Metadata, read_metadata
from featurestore.collections.reading import Request, Rows
from featurestore.errors import InputError
from featurestore.storage.state import MAX_SETTING

# How much of a file is read to find its header.
HEADER_BYTES = 1 << 16
IMDB_ID = re.compile(r"tt\d{7,8}")


@dataclass(frozen=True)
class MoviesReading:
    """The cleaned metadata; or the table that the store has, when only the images are scanned again."""

    metadata: Metadata | None
    stored: pa.Table | None
    nested = False
    names: Sequence[str] = ()

    def check(self, listing: Listing) -> None:
        """See `Reading.check`."""
        for number, folder in enumerate(listing.sources):
            names = [listing.files[place] for place, of in enumerate(listing.numbers) if of == number]
            if not names:
                raise InputError(
                    f"{str(folder)!r} holds no image ({listing.ignored.total()} other files): name the folder that "
                    "holds <ImgId>.jpg"
                )
            if not any(movie_number(os.path.splitext(name)[0]) is not None for name in names):
                raise InputError(
                    f"none of the {len(names)} images in {str(folder)!r} is named by a number (the first is "
                    f"{names[0]!r}): the name of a poster is its ImgId, as in 114709.jpg"
                )

    def rows(self, images: pa.Table, attached: pa.Table | None) -> Rows:
        """See `Reading.rows`."""
        if self.metadata is None:
            assert self.stored is not None
            return Rows(self.stored)
        steps = {
            "rows read": self.metadata.rows_read,
            "duplicates dropped": self.metadata.duplicates,
            "conflicting ids dropped": self.metadata.conflicting,
            "movies kept": len(self.metadata.movies),
        }
        return Rows(self.metadata.movies, steps=steps, notes=self.metadata.notes)


def read(request: Request) -> MoviesReading:
    """Read the metadata file of ``request``; raises `MetadataError` when it is not one of movies."""
    if request.stored is not None:
        return MoviesReading(None, request.stored)
    if request.metadata is None:
        raise InputError("got no metadata file, expected a MovieGenre.csv: name it with --metadata")
    if not request.images:
        raise InputError("got no folder of images, expected one or more: without any, all images would be removed")
    top = request.settings.get("top_genres", 1)
    if not isinstance(top, int) or not 1 <= top <= MAX_SETTING:
        raise InputError(f"got {top} as the number of genres, expected 1 to {MAX_SETTING}")
    if request.key is not None or request.labels:
        raise InputError("got --key or --label, which a collection of movies does not have: its label is Genre1")
    return MoviesReading(read_metadata(request.metadata, columns=request.columns), None)


def recognises(path: Path, columns: Mapping[str, str]) -> bool:
    """Whether a metadata file has the columns of this collection type; a pipe is taken to have them.

    Columns that were named are columns of this type: no other has any. A file with the columns Id and Genre is of this
    type if its first row has an id such as ``tt0084058``.
    """
    if columns:
        return True
    if path.exists() and not path.is_file():
        return not path.is_dir()
    try:
        with open(path, "rb") as file:
            start = file.read(HEADER_BYTES)
        if start[:2] == b"\x1f\x8b":
            start = zlib.decompressobj(wbits=31).decompress(start, HEADER_BYTES)
    except (OSError, zlib.error):
        return False
    lines = start.removeprefix(b"\xef\xbb\xbf").decode("latin-1").splitlines()
    header, *rows = csv.reader([line for line in lines if line][:2]) if any(lines) else [[]]
    return is_movies(header) or (
        {"Id", "Genre"} <= set(header) and any(map(IMDB_ID.fullmatch, rows[0] if rows else ()))
    )
