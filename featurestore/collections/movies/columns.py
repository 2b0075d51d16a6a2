"""Finds which columns of a table hold a film's id, genres and the rest, by their names; it reads no rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from featurestore.errors import InputError, MetadataError
from featurestore.storage.names import nearest

# Column names as in the study's file, including spaces.
COLUMNS = ("imdbId", "Imdb Link", "Title", "IMDB Score", "Genre", "Poster")
STORED_NAMES = ("imdbId", "ImdbLink", "Title", "IMDBScore", "Genre", "Poster")
SPELT = dict(zip(STORED_NAMES, COLUMNS, strict=True))
# Instead of Genre, the study's second file has these; the first one does not say `Short`.
MASTER_GENRES = ("Genre1", "Genre2", "Genre3")
# Where there is no imdbId.
OTHER_IDS = ("ImgId", "Id")


@dataclass(frozen=True)
class FilmColumns:
    """Where the columns of the table `movies` are in a file.

    Parameters
    ----------
    places
        The file's name of each column that it has; keys are `STORED_NAMES`, and `MASTER_GENRES` in place of Genre.
    notes
        One sentence for each thing that was guessed or is absent.
    """

    places: Mapping[str, str]
    notes: tuple[str, ...]


def is_movies(columns: Sequence[str]) -> bool:
    """Whether a table has what the recipe needs by its own names: imdbId and Genre, or ImgId and Genre1."""
    names = {_plain(column) for column in columns}
    return {"imdbid", "genre"} <= names or {"imgid", "genre1"} <= names


def find_columns(names: Sequence[str], path: Path, *, asked: Mapping[str, str]) -> FilmColumns:
    """Find the columns in the header ``names`` of the file ``path``; case, spaces and ``_`` make no difference.

    Parameters
    ----------
    asked
        The file's names of columns, by their stored names.

    Raises
    ------
    MetadataError
        When the id or the genre is missing, a column that was asked for is missing, or a name occurs more than once.
    InputError
        When ``asked`` has a key that is no stored name.
    """
    places, notes = _places_asked(names, path, asked), []
    for stored in STORED_NAMES:
        if stored not in places and (column := _find(stored, names, path)):
            places[stored] = column
    for other in OTHER_IDS:
        if "imdbId" not in places and (column := _find(other, names, path)):
            places["imdbId"] = column
            notes.append(f"the column {column!r} is taken as imdbId")
    if "Genre" not in places:
        found = {genre: _find(genre, names, path) for genre in MASTER_GENRES}
        places |= {genre: column for genre, column in found.items() if column and found["Genre1"]}
    if "Genre1" in places:
        genres = ", ".join(column for name, column in places.items() if name in MASTER_GENRES)
        notes.append(f"the genres are those of {genres}, as in the study's MasterData.csv")
    needed = {"imdbId": "imdbId" in places, "Genre": "Genre" in places or "Genre1" in places}
    for name in (name for name, found in needed.items() if not found):
        raise MetadataError(
            f"{path}: the column {name!r} is missing; got {', '.join(names)[:200]}; expected {', '.join(COLUMNS)}, of "
            f"which only imdbId and Genre are needed: name a column of the file with --column {name}=COLUMN"
        )
    absent = [name for name in STORED_NAMES if name not in places and name != "Genre"]
    if absent:
        notes.append(f"the file has no {', '.join(absent)}: stored as null")
    return FilmColumns(places, tuple(notes))


def _places_asked(names: Sequence[str], path: Path, asked: Mapping[str, str]) -> dict[str, str]:
    stored = {_plain(name): name for name in STORED_NAMES}
    places: dict[str, str] = {}
    for name, column in asked.items():
        if _plain(name) not in stored:
            raise InputError(f"got {name[:80]!r} as the name of a column, expected one of {', '.join(STORED_NAMES)}")
        if stored[_plain(name)] in places:
            raise InputError(f"got two columns for {stored[_plain(name)]}: name one")
        if column not in names:
            raise MetadataError(f"{path}: there is no column {column[:80]!r} for {name}: {nearest(column, names)}")
        places[stored[_plain(name)]] = _once(column, names, path)
    return places


def _find(wanted: str, names: Sequence[str], path: Path) -> str | None:
    """The name in ``names`` that is ``wanted``, in the spelling of the study's file or else in any one."""
    alike = [name for name in dict.fromkeys(names) if _plain(name) == _plain(wanted)]
    if SPELT.get(wanted) in alike:
        alike = [SPELT[wanted]]
    if len(alike) > 1:
        raise MetadataError(
            f"{path}: the columns {alike[0]!r} and {alike[1]!r} could both be {wanted}: rename one, or name the column "
            f"with --column {wanted}=COLUMN"
        )
    return _once(alike[0], names, path) if alike else None


def _once(column: str, names: Sequence[str], path: Path) -> str:
    if names.count(column) > 1:
        raise MetadataError(f"{path}: the column {column!r} occurs more than once: rename or remove the other")
    return column


def _plain(name: str) -> str:
    return "".join(name.casefold().replace("_", " ").split())
