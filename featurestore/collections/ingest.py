"""Writes a metadata file and image folders to the tables `movies` and `images`; the rules for both are elsewhere."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.catalog.database import Database
from featurestore.catalog.writer import Writer, check_room, open_writer
from featurestore.collections.movies.metadata import Metadata, read_metadata
from featurestore.collections.scan import Scan, in_order, keep, scan_folders
from featurestore.errors import InputError
from featurestore.progress import Progress
from featurestore.storage.layout import Layout
from featurestore.storage.lock import replaced
from featurestore.storage.parts import check_once, read_part
from featurestore.storage.schemas import IMAGES
from featurestore.storage.state import MAX_GENRES, read_state

CACHE = "cache"


@dataclass(frozen=True)
class IngestReport:
    """The number of rows after each step, in the order of the steps.

    ``broken`` maps each quarantined file to the reason; ``changed`` is True if the store has a new state.
    ``notes`` has a sentence for each thing that was guessed or is absent in the metadata.
    """

    rows_read: int
    duplicates_dropped: int
    conflicting_dropped: int
    movies: int
    images_found: int
    files_ignored: int
    broken: Mapping[str, str]
    without_metadata: int
    joined: int
    without_genre: int
    labeled: int
    encoding: str
    synthetic: bool
    changed: bool
    notes: Sequence[str]


def ingest(
    root: Path,
    *,
    metadata: Path,
    images: Sequence[Path],
    columns: Mapping[str, str] = {},
    top_genres: int | None = None,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> IngestReport:
    """See `FeatureStore.ingest`."""
    if top_genres is not None and not 1 <= top_genres <= MAX_GENRES:
        raise InputError(f"got {top_genres} as the number of genres, expected 1 to {MAX_GENRES}")
    if not images:
        raise InputError("got no folder of images, expected one or more: without any, all images would be removed")
    cleaned = read_metadata(metadata, columns=columns)
    check_room(root)
    # The folders are read before the store is created: a typo must not leave an empty store behind.
    cache = root / CACHE if root.is_dir() else None
    folders = dict.fromkeys(Path(os.path.realpath(folder)) for folder in images)  # drops a folder that was given twice
    scan = scan_folders(folders, cache=cache, on_progress=on_progress)
    with open_writer(root, create=True, wait_seconds=wait_seconds, purpose="ingest") as writer:
        before = writer.state.id
        keep(scan, root / CACHE)
        external = _external(images_of(writer.layout), exclude=scan.table["ImgId"])
        with writer.commit() as commit:
            commit.replace("movies", cleaned.movies)
            commit.replace("images", in_order(pa.concat_tables([scan.table, external])))
            if top_genres is not None:
                commit.set_setting("top_genres", top_genres)
        return _report(writer, cleaned, scan, changed=writer.state.id != before)


def sync_images(
    root: Path, *, wait_seconds: float = 0.0, purpose: str = "", on_progress: Progress | None = None
) -> None:
    """Scan the folders of the last ingest again and commit changes; the store is locked only for the commit.

    Raises
    ------
    InputError
        When one of the folders no longer exists.
    StoreLocked
        When there is something to commit, and another process is writing and did not finish in time.
    """
    while not _synced(root, wait_seconds=wait_seconds, purpose=purpose, on_progress=on_progress):
        pass  # another ingest was committed meanwhile: scan again


def _synced(root: Path, *, wait_seconds: float, purpose: str, on_progress: Progress | None) -> bool:
    """Scan the folders once; False if the table `images` changed meanwhile, so that nothing was committed."""
    layout = Layout(root, read_state(root))
    before = images_of(layout)
    folders = sorted({folder for folder in pc.unique(before["folder"]).to_pylist() if folder})
    if not folders:
        return True
    scan = scan_folders([Path(folder) for folder in folders], cache=root / CACHE, on_progress=on_progress)
    after = in_order(pa.concat_tables([scan.table, _external(before)]))
    if scan.seen is None and after.equals(before):
        return True
    with open_writer(root, wait_seconds=wait_seconds, purpose=purpose) as writer:
        if writer.state.store != layout.state.store:
            raise replaced(root)
        if writer.state.tables["images"] != layout.state.tables["images"]:
            return False
        keep(scan, root / CACHE)
        if not after.equals(before):
            with writer.commit() as commit:
                commit.replace("images", after)
    return True


def images_of(layout: Layout) -> pa.Table:
    """The table `images` of a state, ordered by id, then name."""
    parts = layout.parts("images")
    for part in parts:  # verify now: rewritten rows would get a valid checksum
        check_once(part, layout.root)
    tables = [read_part(layout.root / part.path).cast(IMAGES) for part in parts]
    images = in_order(pa.concat_tables([IMAGES.empty_table(), *tables]))
    del tables
    pa.default_memory_pool().release_unused()  # memory used for decoding, several times the size of the table
    return images


def _external(images: pa.Table, *, exclude: pa.ChunkedArray | None = None) -> pa.Table:
    """Rows known only from imported embeddings, except those with an id in ``exclude``, which now have a file."""
    rows = images.filter(pc.equal(images["status"], "external"))
    return (
        rows if exclude is None else rows.filter(pc.invert(pc.is_in(rows["ImgId"], value_set=exclude.combine_chunks())))
    )


def _report(writer: Writer, cleaned: Metadata, scan: Scan, *, changed: bool) -> IngestReport:
    with Database(writer.layout, writer.root) as database:
        counts = database.query(
            "SELECT (SELECT count(*) FROM collection) AS joined, "
            "(SELECT count(*) FROM collection WHERE Genre1 IS NULL) AS without_genre, "
            "(SELECT count(*) FROM labeled) AS labeled, "
            "(SELECT count(*) FROM images WHERE status <> 'broken') AS usable, "
            "(SELECT coalesce(bool_or(synthetic), false) FROM images) AS synthetic",
        ).to_pylist()[0]
    return IngestReport(
        rows_read=cleaned.rows_read,
        duplicates_dropped=cleaned.duplicates,
        conflicting_dropped=cleaned.conflicting,
        movies=len(cleaned.movies),
        images_found=len(scan.table),
        files_ignored=scan.ignored,
        broken=_broken(scan.table),
        without_metadata=counts["usable"] - counts["joined"],
        joined=counts["joined"],
        without_genre=counts["without_genre"],
        labeled=counts["labeled"],
        encoding=cleaned.encoding,
        synthetic=counts["synthetic"],
        changed=changed,
        notes=cleaned.notes,
    )


def _broken(images: pa.Table) -> dict[str, str]:
    rows = images.filter(pc.equal(images["status"], "broken"))
    return dict(zip(rows["ImgName"].to_pylist(), rows["reason"].to_pylist(), strict=True))
