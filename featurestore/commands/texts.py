"""Formats reports as text for people; it computes nothing."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

from featurestore.terminal import visible

if TYPE_CHECKING:
    from featurestore.explore.quality import QualityReport

# How many labels, backbones, files, pairs or groups of one kind are listed.
LISTED = 10
# What lists all findings of a quality report.
ALL = "featurestore quality --json"
# How many problems of a kind are listed.
MOST_PROBLEMS = 5
# How many characters of a file name, a label or a message a line shows.
WIDEST = 200


def summary_text(summary: dict[str, Any]) -> str:
    """The result of `FeatureStore.info` as a few lines."""
    lines = [
        f"store       {summary['store']}  (state {summary['state']}, {summary['size_bytes'] / 1e6:,.1f} MB of parts)",
        f"metadata    {summary['metadata']:,} rows  (collection type {summary['collection']})",
        f"images      {summary['images']:,}  ({summary['joined']:,} usable with metadata, "
        f"{len(summary['quarantined'])} quarantined)",
        f"labelled    {summary['labeled']:,}  (" + counts_text(summary["labels"]) + ")",
    ]
    if summary["forgotten_at"]:
        lines.append(_forgotten_line(summary["forgotten_at"]))
    if summary["corrections"]:
        lines.append(f"corrected   {summary['corrections']:,}  (featurestore label list)")
    if summary["synthetic"]:
        lines.insert(1, "SYNTHETIC   holds images drawn by `featurestore sample`")
    for backbone in summary["backbones"][:LISTED]:
        coverage = 100 * backbone["rows"] / max(backbone["images"], 1)
        mark = "  SYNTHETIC WEIGHTS" if backbone["synthetic"] else ""
        lines.append(
            f"backbone    {backbone['name']}  {backbone['embed_dim']}-d, "
            f"{backbone['rows']:,} of {backbone['images']:,} "
            "images "
            f"({coverage:.1f} %), revision {backbone['revision']}, {backbone['source'] or 'no source'}{mark}"
        )
        lines += [
            f"  unfinished revision {revision} has {rows:,} of {backbone['images']:,} images: the views show it once "
            "`embed` has computed all"
            for revision, rows in backbone["unfinished"].items()
        ]
    lines += _more(summary["backbones"], "backbone", "featurestore info --json")
    if not summary["backbones"]:
        lines.append("backbone    none yet: featurestore embed --backbone descriptors")
    lines += [f"view fails  {sentence}" for sentence in summary["failing_views"].values()]
    if "problems" in summary:  # among them the quarantined files
        return "\n".join(lines + _problem_lines(summary["problems"]))
    lines += [short(f"quarantined {row['name']!r}: {row['reason']}") for row in summary["quarantined"][:LISTED]]
    lines += _more(summary["quarantined"], "quarantined file", "featurestore info --json")
    return "\n".join(lines)


def _problem_lines(problems: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first rows of each kind in the view `problems`, and how many more there are."""
    kinds: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in problems:
        kinds[row["kind"]].append(row)
    lines = []
    for kind, rows in kinds.items():
        for row in rows[:MOST_PROBLEMS]:
            detail = "" if row["detail"] is None else f": {row['detail']}"
            lines.append(short(f"{kind}  {row['name']!r}{detail}"))
        if len(rows) > MOST_PROBLEMS:
            lines.append(f"… and {len(rows) - MOST_PROBLEMS:,} more of this kind: featurestore sql 'FROM problems'")
    return lines


def lineage_text(record: dict[str, Any]) -> str:
    """The result of `FeatureStore.lineage` for one image."""
    image = record["image"]
    facts = f"{image['width']} × {image['height']} {image['mode']}" if image["width"] else image["reason"]
    lines = [
        f"image       {image['ImgName'] or image['ImgId']}  ({', '.join(filter(None, (image['status'], facts)))})",
        f"content     sha256:{image['content_hash'] or 'unknown'}",
        f"state       {record['state']}",
        *([_forgotten_line(record["forgotten_at"])] if record["forgotten_at"] else []),
        *(f"label       {correction_text(row)}" for row in record["corrections"]),
    ]
    for vector in record["embeddings"]:
        mark = "" if vector["current"] else "  (not shown: older image or revision)"
        mark += "  SYNTHETIC WEIGHTS" if vector["synthetic"] else ""
        libraries = ", ".join(f"{name} {number}" for name, number in vector["libraries"].items()) or "not recorded"
        options = [f"{name} {value}" for name, value in vector["options"].items()]
        device = f" on {vector['device']}" if vector["device"] != "cpu" else ""
        lines += [
            f"embedding   {vector['backbone']} revision {vector['revision']}, {vector['embed_dim']}-d float32{mark}",
            f"  from      sha256:{vector['content_hash'] or 'unknown'}",
            f"  weights   {vector['weights']}  ({vector['source']})",
            f"  input     {vector['input']}",
            *([f"  output    {', '.join(options)}"] if options else []),
            f"  engine    {libraries}; {vector['precision']}{device}",
            f"  computed  {vector['at']} on {vector['machine']}",
            f"  part      {vector['part']}",
        ]
    if not record["embeddings"]:
        lines.append("embedding   none")
    return "\n".join(lines)


def _forgotten_line(at: str) -> str:
    return f"forgotten   images were removed for good, last at {at[:16].replace('T', ' ')} UTC"


def correction_text(row: Mapping[str, Any]) -> str:
    """One correction of a label in a line; ``row`` as in the result of `corrections` or `lineage`."""
    before = "no value" if row["from"] is None else repr(row["from"])
    line = f"{row['column']}: {before} corrected to {row['to']!r} at {str(row['at'])[:16].replace('T', ' ')} UTC"
    line += f", ended at {str(row['undone'])[:16].replace('T', ' ')} UTC" if row["undone"] else ""
    if row["undone"] is None and row.get("as_read", row["from"]) != row["from"]:
        line += "; today there is none to correct" if row["as_read"] is None else f"; today {row['as_read']!r} is read"
    return short(f"{row['ImgId']} {visible(row['ImgName'] or '')}  {line}" if "ImgId" in row else line)


def quality_text(report: "QualityReport") -> str:
    """The result of `FeatureStore.quality`; long lists are truncated."""
    lines = [
        f"images                  {report.images:,} usable, {len(report.quarantined)} quarantined",
        f"without metadata        {len(report.without_metadata)}" + _some(report.without_metadata),
        f"metadata without image  {report.metadata_without_image:,}",
        "labels                  " + counts_text(report.labels),
        f"exact duplicates        {_count(report.exact_duplicates, 'group')}",
    ]
    if report.without_file:
        lines.insert(3, f"vectors without a file  {len(report.without_file)}" + _some(report.without_file))
    lines += _folded([f"  {_ids(group)}" for group in report.exact_duplicates], "group")
    contradicting = [f"  {_ids(group)} have labels that contradict each other" for group in report.contradicting]
    lines += _folded(contradicting, "contradicting group")
    lines.append(f"near duplicates         {_count(report.near_by_hash, 'pair')} by perceptual hash")
    lines += _folded([f"  {a} ~ {b}  {bits} bits" for a, b, bits in report.near_by_hash], "pair")
    for name in list(report.coverage)[:LISTED]:
        have, total = report.coverage[name]
        bad, pairs = report.bad_vectors[name], report.near_by_cosine[name]
        found = f"{_count(bad, 'bad vector')}, {_count(pairs, 'near pair')} by cosine"
        lines.append(f"{name:<24}{have:,} of {total:,} images, {found}")
        lines += _folded([f"  {img_id}: {reason}" for img_id, reason in bad.items()], "bad vector")
        lines += _folded([f"  {a} ~ {b}  {value:.4f}" for a, b, value in pairs], "pair")
    lines += _more(report.coverage, "backbone", ALL)
    files = [short(f"quarantined {name!r}: {reason}") for name, reason in report.quarantined.items()]
    lines += _folded(files, "quarantined file")
    if report.leaking is not None:
        lines.append(
            f"leakage                 {_count(report.leaking, 'test row')} with a duplicate in train"
            + _some(report.leaking)
        )
    return "\n".join(lines)


def short(text: str) -> str:
    """``text`` in one line without control characters; the middle of a long one is left out."""
    half = WIDEST // 2
    return visible(text if len(text) <= WIDEST else f"{text[:half]} … {text[-half:]}")


def json_text(value: Any, *, ascii_only: bool = False) -> str:
    """``value`` as JSON: NaN and infinities as null, values of types that JSON lacks as text.

    What `visible` would escape is escaped as JSON does it, so that it means the same and shows on a terminal.
    """
    try:
        text = json.dumps(value, default=str, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), default=str, ensure_ascii=ascii_only, allow_nan=False)
    return text if visible(text) == text else json.dumps(json.loads(text))


def _finite(value: Any) -> Any:
    """``value`` with None for NaN and infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


def counts_text(labels: Mapping[str, int]) -> str:
    """Labels with their numbers of rows; of many labels the first."""
    first = list(labels.items())[:LISTED]
    more = f" and {len(labels) - LISTED:,} more" if len(labels) > LISTED else ""
    return ", ".join(f"{short(name)} {count:,}" for name, count in first) + more


def _folded(lines: Sequence[str], what: str) -> list[str]:
    """The first of the ``lines`` of a quality report, and how many more there are."""
    return [*lines[:LISTED], *_more(lines, what, ALL)]


def _more(found: Sized, what: str, command: str) -> list[str]:
    """A line that says how many of ``found`` are not listed, and which command lists them; empty where all are."""
    left = len(found) - LISTED
    return [f"… and {left:,} more {what}{'' if left == 1 else 's'}: {command}"] if left > 0 else []


def _ids(group: Sequence[int]) -> str:
    left = len(group) - LISTED
    return " = ".join(map(str, group[:LISTED])) + (f" and {left:,} more" if left > 0 else "")


def _count(found: Sized, what: str) -> str:
    return f"{len(found):,} {what}{'' if len(found) == 1 else 's'}"


def _some(ids: Sequence[int]) -> str:
    return f"  ({', '.join(map(str, ids[:LISTED]))}{', …' if len(ids) > LISTED else ''})" if ids else ""
