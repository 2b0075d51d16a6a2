"""Recovers the numbers of images from what is left on disk, so that none is ever given to another image."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurestore.catalog.commit import Commit
from featurestore.errors import IntegrityError
from featurestore.storage.names import revision_of
from featurestore.storage.parts import part_of, read_part
from featurestore.storage.schemas import IMAGES


def recovered_images(commit: Commit) -> pa.Table:
    """The table `images` as far as it can be known: of each number the row of the newest undamaged part that has it.

    Of a number that only vectors have there is a row with the status ``gone`` and the content hash, by which the next
    ingest recognises its image.
    """
    rows: dict[int, Mapping[str, Any]] = {}
    commit.objects.mirror("images")
    for table in _undamaged(commit.root):
        rows |= {row["ImgId"]: row for row in table.to_pylist() if row["ImgId"] is not None}
    for number, digest in _vectors(commit):
        if number not in rows and digest:
            rows[number] = _gone(number, digest)
    newest = {row["ImgName"]: number for number, row in rows.items()}  # a name has one number
    kept = [row for number, row in sorted(rows.items()) if newest[row["ImgName"]] == number]
    return pa.Table.from_pylist(kept, schema=IMAGES)


def _undamaged(root: Path) -> Iterator[pa.Table]:
    """The undamaged parts of `images`, each the whole table of one state, oldest first."""
    paths = sorted((root / "images").glob("part-*.parquet"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    for path in paths:
        try:
            part_of(root, path.relative_to(root).as_posix())
            yield read_part(path).cast(IMAGES)
        except (IntegrityError, pa.ArrowException, ValueError):
            continue


def _vectors(commit: Commit) -> Iterator[tuple[int, str]]:
    """The number and the content hash of each undamaged vector."""
    for table in commit.state.tables:
        if revision_of(table) is None:
            continue
        try:
            parts = commit.parts(table)
        except IntegrityError:  # its manifest is damaged
            continue
        for part in parts:
            try:
                commit.objects.fetch([part])
                part_of(commit.root, part.path)
                found = read_part(commit.root / part.path, ["ImgId", "content_hash"])
            except (IntegrityError, FileNotFoundError):
                continue
            yield from zip(found["ImgId"].to_pylist(), found["content_hash"].to_pylist(), strict=True)


def _gone(number: int, digest: str) -> Mapping[str, Any]:
    blank = dict.fromkeys(("source", "file", "member"), "")
    return {
        **dict.fromkeys(IMAGES.names),
        **blank,
        "ImgId": number,
        "ImgName": f"unknown image {number}",
        "content_hash": digest,
        "size_bytes": 0,
        "status": "gone",
        "synthetic": False,
    }
