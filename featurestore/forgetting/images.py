"""What is known of the images to forget, and which others have the same names or bytes; it writes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.catalog.commit import read_whole
from featurestore.collections.numbering import FORGOTTEN
from featurestore.storage.manifest import read_manifest
from featurestore.storage.objects import LocalObjects
from featurestore.storage.schemas import IMAGES
from featurestore.storage.state import State

TABLE = "images"
ADDRESS = ("source", "file", "member")
COLUMNS = ["ImgId", "ImgName", "content_hash", "status", *ADDRESS]
Address = tuple[str, str, str]


@dataclass(frozen=True)
class WantedImages:
    """The images that are to be forgotten.

    Parameters
    ----------
    ids
        Their ImgIds, int64, all different.
    names, hashes
        Their names and content hashes in the current state and all snapshots, but those that another image has too.
    addresses
        Where they lie, by the columns in `ADDRESS`.
    now
        Those of ``addresses`` that the current state has.
    others, kept
        The names of all other images of the current state, and their content hashes.
    twins
        The ImgIds of other images of the current state with the bytes of one of them.
    numbered
        Those of ``ids`` that stand for a forgotten image already.
    """

    ids: pa.Array
    names: frozenset[str]
    hashes: frozenset[str]
    addresses: frozenset[Address]
    now: tuple[Address, ...]
    others: tuple[str, ...]
    kept: pa.Array
    twins: tuple[int, ...]
    numbered: frozenset[int]


def find_images(objects: LocalObjects, states: Mapping[str, State], current: State, ids: Iterable[int]) -> WantedImages:
    """Look up the images ``ids`` in the ``states`` of all records, of which ``current`` is the newest.

    Raises
    ------
    IntegrityError
        When a part of the table `images` is missing or damaged.
    """
    wanted = pa.array(sorted(set(ids)), pa.int64())
    newest = _images(objects, [current])
    every = _images(objects, states.values())
    mine, others = _split(every, wanted)
    taken = pc.equal(mine["status"], FORGOTTEN)
    numbered, mine = mine.filter(taken)["ImgId"].to_pylist(), mine.filter(pc.invert(taken))
    mine_now, others_now = _split(newest, wanted)
    alive = mine_now.filter(pc.is_in(mine_now["status"], value_set=pa.array(["ok", "broken"])))
    same = pc.is_in(others_now["content_hash"], value_set=pa.array(sorted(_texts(mine, "content_hash")), pa.string()))
    return WantedImages(
        ids=wanted,
        names=_texts(mine, "ImgName") - _texts(others, "ImgName"),
        hashes=_texts(mine, "content_hash") - _texts(others, "content_hash"),
        addresses=frozenset(_addresses(mine)),
        now=tuple(dict.fromkeys(_addresses(alive))),
        others=tuple(others_now["ImgName"].to_pylist()),
        kept=others_now["content_hash"].unique(),
        twins=tuple(sorted({number for number in others_now.filter(same)["ImgId"].to_pylist() if number is not None})),
        numbered=frozenset(numbered),
    )


def _images(objects: LocalObjects, states: Iterable[State]) -> pa.Table:
    """The rows of the table `images` in ``states``, each part once."""
    parts = {
        part.path: part
        for name in dict.fromkeys(state.tables[TABLE] for state in states if TABLE in state.tables)
        for part in read_manifest(objects, TABLE, name).parts
    }
    rows = [read_whole(objects, part, COLUMNS).select(COLUMNS) for part in parts.values()]
    return pa.concat_tables([IMAGES.empty_table().select(COLUMNS), *rows])


def _split(images: pa.Table, ids: pa.Array) -> tuple[pa.Table, pa.Table]:
    """The rows of the images ``ids``, and those of all others."""
    mine = pc.is_in(images["ImgId"].cast(pa.int64()), value_set=ids, skip_nulls=True)
    return images.filter(mine), images.filter(pc.invert(mine))


def _texts(images: pa.Table, column: str) -> frozenset[str]:
    return frozenset(text for text in images[column].unique().to_pylist() if text)


def _addresses(images: pa.Table) -> list[Address]:
    columns = (images[name].to_pylist() for name in ADDRESS)
    return [address for address in zip(*columns, strict=True) if any(address)]
