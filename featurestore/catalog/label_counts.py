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
    kind = query(f"SELECT {column} FROM labeled LIMIT 0").schema.field(0).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    value = f"unnest({column})" if is_list else column
    rows = query(
        f"SELECT label::VARCHAR AS label, count(*) AS n FROM (SELECT {value} AS label FROM labeled) "
        "GROUP BY 1 ORDER BY n DESC, 1"
    ).to_pylist()
    # The view is read once where a row has one label: it can take longer than all other views together.
    count = query("SELECT count(*) AS n FROM labeled")["n"][0].as_py() if is_list else sum(row["n"] for row in rows)
    return Labelled(count, {row["label"]: row["n"] for row in rows if row["label"] is not None})


def label_counts(query: Callable[[str], pa.Table], label: str) -> dict[str, int]:
    """The `labels` of `labelled`."""
    return dict(labelled(query, label).labels)
