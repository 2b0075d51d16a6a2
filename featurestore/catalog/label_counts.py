"""How many labelled images have each label."""

from collections.abc import Callable

import pyarrow as pa

from featurestore.storage.names import quote_name


def label_counts(query: Callable[[str], pa.Table], label: str) -> dict[str, int]:
    """The number of rows of `labeled` with each value of the column ``label``, most frequent first.

    Of a column of lists each element counts. ``query`` runs SQL over the views of a store.
    """
    column = quote_name(label)
    kind = query(f"SELECT {column} FROM labeled LIMIT 0").schema.field(0).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    value = f"unnest({column})" if is_list else column
    rows = query(
        f"SELECT label::VARCHAR AS label, count(*) AS n FROM (SELECT {value} AS label FROM labeled) "
        "WHERE label IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1"
    )
    return dict(zip(rows["label"].to_pylist(), rows["n"].to_pylist(), strict=True))
