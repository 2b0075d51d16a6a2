"""Which image each imported vector belongs to: names and ids of other tools become ImgIds; it writes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.arrow import to_numpy
from featurestore.catalog.recipe import recipe_named
from featurestore.collections import numbering
from featurestore.collections.matching import EXACTLY, match
from featurestore.embedding.vector_files.id_list import read_ids_file
from featurestore.embedding.vector_files.imported import ImportedVectors
from featurestore.errors import EmbeddingError
from featurestore.storage.schemas import MAX_ID

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader

# Maximum length of the name of an image that is known only from its vector.
LONGEST_NAME = 4096


@dataclass(frozen=True)
class Resolved:
    """The image of each vector.

    Parameters
    ----------
    ids
        ``(n,)`` int64: ImgIds, all different.
    names
        ``n`` names of images, for those that the store does not have.
    notes
        What was guessed, one sentence each.
    """

    ids: NDArray[np.int64]
    names: Sequence[str]
    notes: tuple[str, ...] = ()


def resolve(images: pa.Table, collection: str, vectors: ImportedVectors) -> Resolved:
    """Find the ImgId of each vector; images that the store does not have get new ones.

    Parameters
    ----------
    images
        The table `images` of the store.
    collection
        The store's collection type. If it finds ImgIds in names, these are used; otherwise names are matched.

    Raises
    ------
    EmbeddingError
        When the image of a vector is ambiguous, or an image has several vectors.
    """
    recipe = recipe_named(collection)
    found = _numbered(recipe.key_number, recipe.key_name, vectors) if recipe.key_number else _matched(images, vectors)
    _refuse_contradiction(found, vectors)
    values, counts = np.unique(found.ids, return_counts=True)
    if len(counts) and counts.max() > 1:
        rows = np.flatnonzero(found.ids == values[counts.argmax()])
        named = " and ".join(dict.fromkeys(repr(vectors.name(int(row))[:80]) for row in rows[:2]))
        raise EmbeddingError(
            f"ImgId {values[counts.argmax()]} has {counts.max()} vectors ({named} in the rows {rows[0] + 1} and "
            f"{rows[1] + 1}), expected one each: remove the others"
        )
    return found


def listed_ids(reader: "Reader", file: Path) -> NDArray[np.int64]:
    """The ids ``(n,)`` of the images that ``file`` lists by their ids or names, in its order.

    Raises
    ------
    InputError
        When the file can't be read, or a name is not that of one image.
    """
    return read_ids_file(file, lambda names: _ids_of_names(reader, names))


def _ids_of_names(reader: "Reader", names: Sequence[str]) -> NDArray[np.int64]:
    if reader.recipe.key_number:
        return _numbers_in(names, reader.recipe.key_number)
    images = reader.query("SELECT ImgId, ImgName FROM images_usable ORDER BY ImgId")
    places = match(names, images["ImgName"].to_pylist()).places
    if (places < 0).any():
        row = int((places < 0).argmax())
        raise EmbeddingError(
            f"got the image name {names[row][:80]!r} in row {row + 1}, which is not that of one image of this store: "
            "write the names as in `images`, or their ids"
        )
    return to_numpy(images["ImgId"])[places].astype(np.int64)


def _numbered(number: str, name: str, vectors: ImportedVectors) -> Resolved:
    """By the number in each key, as the collection type's functions find it."""
    name_of: Callable[[str, int], str] = _function(name)
    if vectors.keys is None:
        assert vectors.numbers is not None
        return Resolved(vectors.numbers, [name_of("", img_id) for img_id in vectors.numbers.tolist()])
    ids = _numbers_in(vectors.keys, number)
    names = [name_of(key, img_id) for key, img_id in zip(vectors.keys, ids.tolist(), strict=True)]
    return Resolved(ids, names)


def _numbers_in(keys: Sequence[str], number: str) -> NDArray[np.int64]:
    number_in: Callable[[str], int | None] = _function(number)
    found = []
    for key in keys:
        number_or_none = number_in(key)
        if number_or_none is None:
            raise EmbeddingError(f"got the image name {key[:80]!r}, expected a number to {MAX_ID}, as in 114709.jpg")
        found.append(number_or_none)
    return np.array(found, np.int64)


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def _matched(images: pa.Table, vectors: ImportedVectors) -> Resolved:
    """By name, as metadata are matched; whole numbers that are said to be ImgIds are taken as such."""
    images = images.filter(pc.is_valid(images["ImgId"]))
    there = images.filter(pc.invert(pc.is_in(images["status"], value_set=pa.array(["gone", "forgotten"]))))
    if vectors.keys is None:
        return _by_number(there, vectors)
    matches = match(vectors.keys, there["ImgName"].to_pylist())
    if matches.ambiguous:
        row, candidates = min(matches.ambiguous.items())
        raise EmbeddingError(
            f"{len(matches.ambiguous):,} names fit several images or the same one, first {vectors.keys[row][:80]!r} "
            f"in row {row + 1} ({', '.join(candidates)}): write the names as in `images`, or a column ImgId"
        )
    known = matches.places >= 0
    ids = np.full(len(vectors.keys), -1, np.int64)
    ids[known] = to_numpy(there["ImgId"])[matches.places[known]]
    names = [_clean(key) for key in vectors.keys]
    new = np.flatnonzero(~known)
    # The names by their first row: the same name twice is one image, which is then refused.
    rows = {names[row]: int(row) for row in reversed(new.tolist())}
    given = numbering.number(list(rows), [""] * len(rows), images).ids
    numbers = dict(zip(rows, given.tolist(), strict=True))
    ids[new] = [numbers[names[row]] for row in new.tolist()]
    notes = [f"{count:,} names were matched {how}" for how, count in matches.levels.items() if how != EXACTLY and count]
    if len(new) and len(there):
        notes.append(f"{len(new):,} names fit no image in the store, first {vectors.keys[new[0]][:80]!r}")
    return Resolved(ids, names, tuple(notes))


def _clean(key: str) -> str:
    """The name of an image that is known only from its key."""
    name = normalize("NFC", key.replace("\\", "/").strip())
    if len(name) > LONGEST_NAME:
        raise EmbeddingError(f"got a name of {len(name):,} characters ({name[:60]!r} …), expected at most 4,096")
    return name


def _by_number(images: pa.Table, vectors: ImportedVectors) -> Resolved:
    numbers = vectors.numbers
    assert numbers is not None
    files = images.filter(pc.not_equal(images["status"], "external"))
    unknown = ~np.isin(numbers, to_numpy(images["ImgId"]))
    if len(files) and unknown.any():
        first = numbers[unknown.argmax()]
        raise EmbeddingError(
            f"{unknown.sum():,} numbers are no ImgId of this store, first {first} in row {unknown.argmax() + 1}: "
            "name the images in a column ImgName"
        )
    if vectors.listed:
        _refuse_two_readings(images, numbers)
    note = ("the whole numbers are taken as ImgIds",) if vectors.listed else ()
    return Resolved(numbers, [str(number) for number in numbers.tolist()], note)


def _refuse_two_readings(images: pa.Table, numbers: NDArray[np.int64]) -> None:
    """Refuse a bare number that is the ImgId of one image and the name of another, such as 7 and `7.jpg`."""
    wanted = set(numbers.tolist())
    for img_id, name in zip(images["ImgId"].to_pylist(), images["ImgName"].to_pylist(), strict=True):
        stem = name.rpartition("/")[2].partition(".")[0]
        number = int(stem) if stem.isascii() and stem.isdigit() and len(stem) <= len(str(MAX_ID)) else None
        if number in wanted and number != img_id:
            raise EmbeddingError(
                f"{number} may be the image {name!r} or the ImgId {number}: write the names with their suffixes, or "
                "a table with a column ImgId or ImgName"
            )


def _refuse_contradiction(found: Resolved, vectors: ImportedVectors) -> None:
    if vectors.keys is None or vectors.numbers is None or (found.ids == vectors.numbers).all():
        return
    row = int((found.ids != vectors.numbers).argmax())
    raise EmbeddingError(
        f"row {row + 1} has the ImgId {vectors.numbers[row]} and the ImgName {vectors.keys[row][:80]!r}, "
        f"whose ImgId is {found.ids[row]}: fix one"
    )
