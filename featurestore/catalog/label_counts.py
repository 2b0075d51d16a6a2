"""How many labelled images have each label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from featurestore.storage.names import quote_name


@dataclass(frozen=True)
class Labelled:
    """The number of rows of `labeled`, and how many have each label, most frequent first."""

    rows: int
    labels: Mapping[str, int]


def labelled(query: Callable[[str], pa.Table], label: str) -> Labelled:
    """Count the rows of `labeled` by the column ``label``; of a column of lists each element counts.

    ``query`` runs SQL over the views of a store.
    """
    column = quote_name(label)
    counted = "SELECT label::VARCHAR AS label, count(*) AS n, any_value(label) AS example"
    # The view is read once where a row has one label: it can take longer than all other views together.
    found = query(f"{counted} FROM (SELECT {column} AS label FROM labeled) GROUP BY 1 ORDER BY n DESC, 1")
    rows = sum(found["n"].to_pylist())
    kind = found.schema.field("example").type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        found = query(f"{counted} FROM (SELECT unnest({column}) AS label FROM labeled) GROUP BY 1 ORDER BY n DESC, 1")
    counts = zip(found["label"].to_pylist(), found["n"].to_pylist(), strict=True)
    return Labelled(rows, {name: n for name, n in counts if name is not None})


def label_counts(query: Callable[[str], pa.Table], label: str) -> dict[str, int]:
    """The `labels` of `labelled`."""
    return dict(labelled(query, label).labels)
