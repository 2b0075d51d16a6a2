"""Gives each image of a collection its ImgId, which no other image ever gets; it reads no files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, to_numpy
from featurestore.errors import InputError
from featurestore.storage.schemas import MAX_ID

GONE = "gone"
# What `forget` leaves of an image: its number is taken, and nothing else is known.
FORGOTTEN = "forgotten"


@dataclass(frozen=True)
class Numbering:
    """The numbers of ``n`` images.

    Parameters
    ----------
    ids
        ``(n,)`` int32, in the order of the names.
    renamed
        The old name of each image that was recognised by its content under a new name, and that new name.
    gone
        The rows of the table before whose images are no longer there, with the status ``gone``; a forgotten one stays
        ``forgotten``. Neither a renamed image nor a row known only from vectors (status ``external``) is among them.
    """

    ids: NDArray[np.int32]
    renamed: Mapping[str, str]
    gone: pa.Table


def number(names: Sequence[str], hashes: Sequence[str], before: pa.Table) -> Numbering:
    """Number the images ``names``: as before if the name or the content is known, else from the largest number on.

    New names get their numbers in ascending order of Unicode code points, so that the order of ``names`` is of no
    importance. A new name takes the number of a name that is not there now if they are the only ones of these with
    their content.

    Parameters
    ----------
    names
        Paths of images, all different, in NFC and with ``/``.
    hashes
        The content hash of each; empty if it is not known.
    before
        The table ``images`` as it was, with the rows of gone images; empty for the first ingest. Used are the
        columns ImgId, ImgName, content_hash and status.

    Raises
    ------
    InputError
        When there are not enough numbers.
    """
    assert len(set(names)) == len(names) == len(hashes), "expected names that are all different, each with a hash"
    before = before.filter(pc.is_valid(before["ImgId"])).combine_chunks()
    old_names, now = before["ImgName"].combine_chunks(), pa.array(names, pa.string())
    known = to_numpy(before["ImgId"])
    rows = _rows(now, old_names)
    ids = np.full(len(names), -1, np.int64)
    ids[rows >= 0] = known[rows[rows >= 0]]

    missing = (_rows(old_names, now) < 0) & ~to_numpy(pc.equal(before["status"], "external"))
    moved, renamed = _renamed(np.flatnonzero(missing), before["content_hash"], np.flatnonzero(rows < 0), hashes)
    ids[renamed] = known[moved]
    missing[moved] = False

    fresh = np.flatnonzero(ids < 0)
    first = int(known.max()) + 1 if len(known) else 0
    if first + len(fresh) - 1 > MAX_ID:
        raise InputError(
            f"got {len(fresh):,} new images after the number {first - 1:,}, but no ImgId may exceed {MAX_ID:,}: "
            "ingest them into a new store"
        )
    ids[sorted(fresh.tolist(), key=names.__getitem__)] = first + np.arange(len(fresh))
    old = old_names.take(from_numpy(moved)).to_pylist()
    pairs = sorted(zip(old, (names[place] for place in renamed.tolist()), strict=True))
    return Numbering(ids.astype(np.int32), dict(pairs), _gone(before.filter(from_numpy(missing))))


def _rows(wanted: pa.Array, known: pa.Array) -> NDArray[np.int64]:
    """The first index of each of ``wanted`` in ``known``, -1 if it is not there."""
    return to_numpy(pc.fill_null(pc.index_in(wanted, value_set=known), -1)).astype(np.int64)


def _renamed(
    missing: NDArray[np.int64], old_hashes: pa.ChunkedArray, new: NDArray[np.int64], hashes: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ``missing`` rows and the ``new`` names, pair by pair, that alone among these have their content."""
    old = _once(old_hashes.take(from_numpy(missing)).to_pylist(), missing)
    fresh = _once([hashes[place] for place in new.tolist()], new)
    both = sorted(old.keys() & fresh.keys())
    return np.array([old[one] for one in both], np.int64), np.array([fresh[one] for one in both], np.int64)


def _once(hashes: Sequence[str], places: NDArray[np.int64]) -> dict[str, int]:
    """The place of each hash that occurs once; an empty one is no hash."""
    found: dict[str, int] = {}
    repeated = {""}
    for content, place in zip(hashes, places.tolist(), strict=True):
        if content in found:
            repeated.add(content)
        found[content] = place
    return {content: place for content, place in found.items() if content not in repeated}


def _gone(rows: pa.Table) -> pa.Table:
    status = rows.schema.get_field_index("status")
    kept = pc.if_else(pc.equal(rows["status"], FORGOTTEN), FORGOTTEN, GONE)
    return rows.set_column(status, rows.schema.field(status), kept)
