"""Lists the backbones of a state: what computed their vectors, and how many images have one; it reads no vectors."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from featurestore.backbones.lookup import StoredRevision
from featurestore.files import json_object
from featurestore.storage.names import quote_name, quote_text

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader


@dataclass(frozen=True)
class BackboneInfo:
    """A backbone in the store: its current revision, and how many usable images have a vector of it.

    Parameters
    ----------
    rows
        Number of usable images with a vector of the current revision.
    images
        Number of usable images.
    unfinished
        The number of images with a vector for each newer revision that lacks some; the views switch to it once it
        lacks none.
    """

    name: str
    revision: str
    embed_dim: int
    rows: int
    images: int
    weights: str
    source: str
    synthetic: bool
    preprocessing: Mapping[str, object]
    libraries: Mapping[str, str]
    options: Mapping[str, str] = field(default_factory=dict)
    unfinished: Mapping[str, int] = field(default_factory=dict)


def list_backbones(reader: "Reader") -> list[BackboneInfo]:
    """See `FeatureStore.backbones`."""
    with reader.reading() as seen:
        return _listed(seen)


def stored_revision(reader: "Reader", backbone: str) -> StoredRevision:
    """What the store says of the revision of ``backbone`` that the views show.

    Raises
    ------
    IntegrityError
        When its record is damaged.
    """
    revision = reader.state.revisions[backbone]
    rows = reader.query("SELECT * FROM backbones WHERE backbone = ? AND revision = ?", [backbone, revision])
    for row in rows.to_pylist():
        options, preprocessing = (_said(row, name) for name in ("options", "preprocessing"))
        return StoredRevision(backbone, revision, row["weights"], options, preprocessing)
    return StoredRevision(backbone, revision, None)


def _said(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return json_object(row[name], f"the {name} of the backbone {row['backbone']!r} in the table `backbones`")


def _listed(reader: "Reader") -> list[BackboneInfo]:
    shown = reader.state.revisions
    rows = [
        row
        for row in reader.query("SELECT * FROM backbones ORDER BY backbone").to_pylist()
        if shown.get(row["backbone"]) == row["revision"]
    ]
    counts = _counts(reader, ["images_usable", *(f"embeddings_{row['backbone']}" for row in rows)])
    revisions = Counter(backbone for backbone, _ in reader.layout.revisions())
    images = counts["images_usable"]
    return [
        BackboneInfo(
            name=row["backbone"],
            revision=row["revision"],
            embed_dim=row["embed_dim"],
            rows=counts[f"embeddings_{row['backbone']}"],
            images=images,
            weights=row["weights"],
            source=row["source"],
            synthetic=row["synthetic"],
            preprocessing=_said(row, "preprocessing"),
            libraries=_said(row, "libraries"),
            options=_said(row, "options"),
            unfinished=_unfinished(reader, row["backbone"], images) if revisions[row["backbone"]] > 1 else {},
        )
        for row in rows
    ]


def _unfinished(reader: "Reader", backbone: str, images: int) -> dict[str, int]:
    """For each revision of ``backbone`` begun after the current one, its number of images, if fewer than ``images``."""
    rows = reader.query(
        'WITH begun AS (SELECT revision, min("at") AS first FROM extractions WHERE backbone = $1 GROUP BY revision) '
        "SELECT e.revision, count(*) AS n FROM embeddings AS e JOIN images_usable AS i USING (ImgId, content_hash) "
        "JOIN begun AS b ON b.revision = e.revision WHERE e.backbone = $1 "
        "AND b.first > (SELECT first FROM begun WHERE revision = $2) GROUP BY ALL HAVING n < $3 ORDER BY ALL",
        [backbone, reader.state.revisions[backbone], images],
    ).to_pylist()
    return {row["revision"]: row["n"] for row in rows}


def _counts(reader: "Reader", views: Sequence[str]) -> dict[str, int]:
    """The number of rows of each view, from a single query: one query per view is slower with many backbones."""
    query = " UNION ALL ".join(
        f"SELECT {quote_text(view)} AS name, count(*) AS n FROM {quote_name(view)}" for view in views
    )
    return {row["name"]: row["n"] for row in reader.query(query).to_pylist()}
