"""Runs an export: selects rows of a store and their target; `export`, `bundle` and `delta` write the files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featurestore.errors import InputError
from featurestore.features import rows
from featurestore.features.batches import FeatureBatches, feature_batches
from featurestore.features.bundle import write_bundle
from featurestore.features.delta import write_delta
from featurestore.features.export import LAYOUTS, SUFFIXES, layout, write
from featurestore.features.features import Features
from featurestore.features.selection import selection
from featurestore.files import format_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from featurestore.catalog.reader import Reader
    from featurestore.progress import Progress


@dataclass(frozen=True)
class ExportReport:
    """The result of an export.

    Parameters
    ----------
    files
        The file, or files of ``npy``, or the folder of a bundle or of each table of Delta Lake.
    rows, embed_dim
        The shape of the matrix; of several tables all their rows, and the longest vectors.
    missing
        Number of rows of the view that were left out because they have no embedding.
    synthetic
        Whether images or weights are synthetic.
    lock
        For a bundle: ``sha256:…``, by which another project pins it; else None.
    """

    files: Sequence[Path]
    rows: int
    embed_dim: int
    missing: int
    synthetic: bool
    lock: str | None


def export(
    reader: "Reader",
    backbone: str | Sequence[str],
    output: Path,
    *,
    format: str | None = None,
    view: str | None = None,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    where: str | None = None,
    ids: "ArrayLike | None" = None,
    limit: int | None = None,
    force: bool = False,
    on_progress: "Progress | None" = None,
) -> ExportReport:
    """See `FeatureStore.export`."""
    if format not in (None, *SUFFIXES):
        raise InputError(f"got the format {format!r}, expected {', '.join(SUFFIXES)}")
    form = format_of(output, format, SUFFIXES)
    chosen = selection(where, ids, limit)
    if form in LAYOUTS:
        name = _backbone_of_layout(form, backbone, fixed={"view": view, "columns": columns, "label": label})
        features = layout(reader, name, form, where=where, ids=ids, limit=limit)
        files = write(features, output, "csv.gz", force=force, on_progress=on_progress)
        return _report([features], files)
    view = "labeled" if view is None else view
    if form == "delta":
        names = [backbone] if isinstance(backbone, str) else list(dict.fromkeys(backbone))
        tables = [rows.read(reader, name, view=view, columns=columns, label=label, selection=chosen) for name in names]
        return _report(tables, write_delta(tables, output, force=force, on_progress=on_progress))
    if form == "parquet":  # the one format that is written in batches
        batches = feature_batches(reader, backbone, view=view, columns=columns, label=label, selection=chosen)
        return _report([batches], write(batches, output, form, force=force, on_progress=on_progress))
    features = rows.read(reader, backbone, view=view, columns=columns, label=label, selection=chosen)
    if form != "bundle":
        return _report([features], write(features, output, form, force=force, on_progress=on_progress))
    described = {"where": where, "ids": None if chosen.ids is None else len(chosen.ids), "limit": limit}
    lock = write_bundle(reader, features, output, view=view, chosen=described, force=force, on_progress=on_progress)
    return _report([features], [output], lock)


def _backbone_of_layout(form: str, backbone: str | Sequence[str], *, fixed: Mapping[str, object]) -> str:
    """The one backbone of a layout of the study, which has a fixed view and columns.

    Raises
    ------
    InputError
        When there are several, or a value is given for one of the arguments that are ``fixed``.
    """
    names = [backbone] if isinstance(backbone, str) else list(backbone)
    if len(names) != 1:
        raise InputError(f"{form} holds one backbone, got {len(names)}: name one, or use csv.gz")
    for name, value in fixed.items():
        if value is not None:
            raise InputError(f"{form} has its own view and columns: leave out --{name}, or use csv.gz")
    return names[0]


def _report(
    tables: Sequence[Features | FeatureBatches], files: Sequence[Path], lock: str | None = None
) -> ExportReport:
    return ExportReport(
        files=files,
        rows=sum(len(features) for features in tables),
        embed_dim=max(sum(dim for _, dim in features.dims) for features in tables),
        missing=sum(features.missing for features in tables),
        synthetic=any(features.synthetic for features in tables),
        lock=lock,
    )
