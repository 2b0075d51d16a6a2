"""What `featurestore info` tells of a store; it reads views and computes nothing new."""

from typing import TYPE_CHECKING, Any

from featurestore.explore.inventory import BackboneInfo, list_backbones
from featurestore.terminal import visible

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader


def describe(reader: "Reader") -> dict[str, Any]:
    """Tables, funnel, coverage of each backbone and quarantined files of ``store``, ready for JSON."""
    counts = reader.query(
        "SELECT (SELECT count(*) FROM movies) AS movies, (SELECT count(*) FROM images) AS images, "
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
        "synthetic": reader.synthetic,
        **counts,
        "size_bytes": sum(part.size_bytes for table in layout.tables for part in layout.parts(table)),
        "genres": reader.query(
            "SELECT Genre1 AS genre, count(*) AS n FROM labeled GROUP BY 1 ORDER BY n DESC, 1"
        ).to_pylist(),
        "backbones": [_backbone(info) for info in list_backbones(reader)],
        "quarantined": reader.query(
            "SELECT ImgName AS name, reason FROM images WHERE status = 'broken' ORDER BY ImgName"
        ).to_pylist(),
        "tables": {table: count for table, count in rows.items() if reader.has(table)},
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


def render(summary: dict[str, Any]) -> str:
    """The same for a person, a few lines."""
    lines = [
        f"store       {summary['store']}  (state {summary['state']}, {summary['size_bytes'] / 1e6:,.1f} MB of parts)",
        f"movies      {summary['movies']:,}",
        f"images      {summary['images']:,}  ({summary['joined']:,} usable with metadata, "
        f"{len(summary['quarantined'])} quarantined)",
        f"labelled    {summary['labeled']:,}  ("
        + ", ".join(f"{visible(g['genre'])} {g['n']}" for g in summary["genres"])
        + ")",
    ]
    if summary["synthetic"]:
        lines.insert(1, "SYNTHETIC   holds images drawn by `featurestore sample`")
    for backbone in summary["backbones"]:
        coverage = 100 * backbone["rows"] / max(backbone["images"], 1)
        mark = "  SYNTHETIC WEIGHTS" if backbone["synthetic"] else ""
        lines.append(
            f"backbone    {backbone['name']}  {backbone['embed_dim']}-d, "
            f"{backbone['rows']:,} of {backbone['images']:,} "
            "images "
            f"({coverage:.1f} %), revision {backbone['revision']}, {backbone['source'] or 'no source'}{mark}"
        )
        lines += [
            f"  unfinished revision {revision} has {rows:,} of {backbone['images']:,} images: the views show it when "
            "`embed` has made all"
            for revision, rows in backbone["unfinished"].items()
        ]
    if not summary["backbones"]:
        lines.append("backbone    none yet: featurestore embed --backbone descriptors")
    lines += [f"view fails  {sentence}" for sentence in summary["failing_views"].values()]
    lines += [f"quarantined {row['name']!r}: {row['reason']}" for row in summary["quarantined"]]
    return "\n".join(lines)
