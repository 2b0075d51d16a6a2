"""What features are, in a few lines of text and as the HTML that a notebook shows; it reads no vectors from parts."""

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from featurestore import display
from featurestore.features.labels import label_text

if TYPE_CHECKING:
    from featurestore.features.batches import FeatureBatches
    from featurestore.features.features import Features

# Rows and columns of the view that a notebook shows.
ROWS, COLUMNS = 5, 6


def features_text(features: "Features") -> str:
    """A few lines: size, origin, labels, columns."""
    mark = f", {display.MARK}" if features.synthetic else ""
    return "\n".join([f"{_title(features)}{mark}", *(f"  {line}" for line in _about(features))])


def features_html(features: "Features") -> str:
    """The lines of `features_text`, and the first rows with the beginning of their vectors."""
    names = features.table.column_names[:COLUMNS]
    rows = features.table.select(names).slice(0, ROWS).to_pylist()
    lines = [[display.value_text(row[name]) for name in names] for row in rows]
    for line, vector in zip(lines, features.X[:ROWS], strict=True):
        left = 0
        for _, dim in features.dims:
            line.append(display.vector_text(vector[left : left + dim].tolist(), dim))
            left += dim
    table = display.grid([*names, *features.vector_columns], lines)
    return display.block(_title(features), table, synthetic=features.synthetic, about=_about(features))


def batches_text(batches: "FeatureBatches") -> str:
    """A few lines: size, origin, columns."""
    mark = f", {display.MARK}" if batches.synthetic else ""
    lines = [f"columns of {batches.view}: {display.listed(batches.columns)}", _origin(batches)]
    return "\n".join([f"{_title(batches)}{mark}", *(f"  {line}" for line in lines)])


def _title(features: "Features | FeatureBatches") -> str:
    width = " + ".join(f"{dim:,}" for _, dim in features.dims)
    return f"{type(features).__name__}: {len(features):,} rows × {width} values of {features.backbone}"


def _about(features: "Features") -> list[str]:
    lines = []
    if features.label is not None:
        counts = _label_counts(features.table[features.label])
        lines.append(f"label {features.label}: {display.counted(counts)}" if counts else f"label {features.label}")
    return [*lines, f"columns: {display.listed(features.table.column_names)}", _origin(features)]


def _origin(features: "Features | FeatureBatches") -> str:
    missing = f"; {features.missing:,} rows without an embedding are left out" if features.missing else ""
    return f"revision {features.revision}, state {features.state_id}{missing}"


def _label_counts(column: pa.ChunkedArray) -> dict[str, int]:
    """How many rows have each label, most frequent first; of a column of lists each element counts."""
    values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    if pa.types.is_nested(values.type):
        return {}
    counts = Counter[str]()
    for one in pc.value_counts(values).to_pylist():
        counts[label_text(one["values"])] += one["counts"]
    del counts[""]  # no label
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
