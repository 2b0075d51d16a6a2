"""Summarizes the contents of a store as counts and lists; it only reads."""

from typing import TYPE_CHECKING, Any

from featurestore.catalog.label_counts import label_counts
from featurestore.explore.inventory import BackboneInfo, list_backbones
from featurestore.storage.names import quote_name

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader


def describe(reader: "Reader", *, problems: bool = False) -> dict[str, Any]:
    """See `FeatureStore.info`."""
    counts = reader.query(
        f"SELECT (SELECT count(*) FROM {quote_name(reader.recipe.table)}) AS metadata, "
        "(SELECT count(*) FROM images WHERE status NOT IN ('gone', 'forgotten')) AS images, "
        "(SELECT count(*) FROM collection) AS joined, (SELECT count(*) FROM labeled) AS labeled"
    ).to_pylist()[0]
    layout = reader.layout
    rows = {table: sum(part.rows for part in layout.parts(table)) for table in sorted(layout.tables)}
    return {
        "store": reader.location,
        "snapshot": reader.snapshot_name,
        "views": list(reader.state.views),
        "failing_views": reader.failing_views,
        "state": reader.state.id,
        "forgotten_at": reader.state.forgotten_at or None,
        "synthetic": reader.synthetic,
        **counts,
        "size_bytes": sum(part.size_bytes for table in layout.tables for part in layout.parts(table)),
        "collection": reader.recipe.name,
        "label": reader.label,
        "labels": label_counts(reader.query, reader.label),
        "corrections": reader.query("SELECT count(*) AS n FROM corrections WHERE undone IS NULL")["n"][0].as_py(),
        "backbones": [_backbone(info) for info in list_backbones(reader)],
        "quarantined": reader.query(
            "SELECT ImgName AS name, reason FROM images WHERE status = 'broken' ORDER BY ImgName"
        ).to_pylist(),
        "tables": {table: count for table, count in rows.items() if reader.has(table)},
        **({"problems": reader.query("FROM problems").to_pylist()} if problems else {}),
    }


def _backbone(info: BackboneInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "revision": info.revision,
        "embed_dim": info.embed_dim,
        "rows": info.rows,
        "images": info.images,
        "source": info.source,
        "synthetic": info.synthetic,
        "unfinished": dict(info.unfinished),
    }
