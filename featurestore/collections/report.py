"""Reports what an ingest has read and kept; it queries the views of the store that was written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.catalog.corrected import kept_notes
from featurestore.catalog.database import Database
from featurestore.catalog.label_counts import labelled
from featurestore.catalog.recipe import Collection
from featurestore.catalog.writer import Writer
from featurestore.collections.reading import Rows
from featurestore.collections.scan import Scan

# How many rows a dry run shows.
FIRST_ROWS = 3


@dataclass(frozen=True)
class IngestReport:
    """What an ingest read and kept.

    Parameters
    ----------
    collection
        The collection type.
    steps
        The number of rows or images after each step, in the order of the steps.
    notes
        What was guessed or is missing, a sentence each.
    broken
        Each quarantined file, with the reason.
    problems
        How many rows of the view `problems` there are of each kind.
    renamed
        The new name of each image that was recognised by its bytes.
    labels
        How many images have each label, most frequent first.
    first
        The first rows of the view `collection`, of a dry run.
    changed
        Whether the store has a new state.
    """

    collection: str
    steps: Mapping[str, int]
    images_found: int
    files_ignored: int
    joined: int
    labeled: int
    broken: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, int] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    first: Sequence[Mapping[str, Any]] = ()
    synthetic: bool = False
    changed: bool = False


@dataclass(frozen=True)
class FoundImages:
    """What was scanned, the table `images` from it, the images that were renamed, and folders that were not entered."""

    scan: Scan
    images: pa.Table
    renamed: Mapping[str, str]
    links: Sequence[str]


def report_of(
    writer: Writer, kind: Collection, found: FoundImages, rows: Rows, *, changed: bool, dry_run: bool
) -> IngestReport:
    """The report of an ingest that ``writer`` has just committed."""
    with Database(writer.layout, writer.root) as database:
        counts = database.query(
            "SELECT (SELECT count(*) FROM collection) AS joined, "
            "(SELECT coalesce(bool_or(synthetic), false) FROM images) AS synthetic",
        ).to_pylist()[0]
        labels = labelled(database.query, str(writer.state.settings.get("label", kind.label)))
        first = database.query(f"SELECT * FROM collection LIMIT {FIRST_ROWS}").to_pylist() if dry_run else []
        problems = database.query("SELECT kind, count(*) AS n FROM problems GROUP BY kind ORDER BY kind").to_pylist()
        failing = [failure.sentence(name) for name, failure in database.failing_views().items()]
    broken = found.images.filter(pc.equal(found.images["status"], "broken"))
    return IngestReport(
        collection=kind.name,
        steps=rows.steps,
        images_found=len(found.scan.table),
        files_ignored=found.scan.ignored,
        joined=counts["joined"],
        labeled=labels.rows,
        broken=dict(zip(broken["ImgName"].to_pylist(), broken["reason"].to_pylist(), strict=True)),
        problems={row["kind"]: row["n"] for row in problems},
        renamed=found.renamed,
        labels=labels.labels,
        notes=[*_link_notes(found.links), *rows.notes, *kept_notes(writer.layout), *failing],
        first=first,
        synthetic=counts["synthetic"],
        changed=changed and not dry_run,
    )


def _link_notes(links: Sequence[str]) -> list[str]:
    """What is said of folders that are symbolic links, which are not entered unless that is allowed."""
    if not links:
        return []
    first = f"the first is {links[0]!r}"
    return [f"{len(links):,} folders are symbolic links and were not entered ({first}): allow it with --follow-links"]
