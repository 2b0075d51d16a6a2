"""What people have at hand: pandas with scikit-learn, and usearch; run by the rivals' Python, like `others`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Options = dict[str, Any]


def digest(X: Any) -> list[float]:
    """As that of `ours`."""
    return [*X.shape, round(float(np.asarray(X[::997, ::131], np.float64).sum()), 3)]


def pandas_build(options: Options) -> Callable[[], Any]:
    """Two Parquet files: the vectors, a column for each value, and the images, in another order."""
    import pandas as pd

    def once() -> Any:
        X = np.load(options["matrix"])
        ids = np.arange(1, len(X) + 1, dtype=np.int32)
        folder = Path(options["pandas"])
        folder.mkdir(exist_ok=True)
        columns = [f"f{number}" for number in range(X.shape[1])]
        pd.DataFrame(X, columns=columns).assign(ImgId=ids).to_parquet(folder / "vectors.parquet", compression=None)
        pd.DataFrame({"ImgId": ids[::-1], "status": "ok"}).to_parquet(folder / "images.parquet")

    return once


def pandas_pull(options: Options) -> Callable[[], Any]:
    """``read_parquet`` of both, ``merge`` on the id, ``to_numpy``."""
    import pandas as pd

    folder = Path(options["pandas"])

    def once() -> Any:
        images, vectors = (pd.read_parquet(folder / f"{name}.parquet") for name in ("images", "vectors"))
        usable = images.loc[images["status"] == "ok", ["ImgId"]].sort_values("ImgId")
        X = usable.merge(vectors, on="ImgId").drop(columns="ImgId").to_numpy()
        return lambda: digest(X)

    return once


def sklearn_search(options: Options) -> Callable[[], Any]:
    """``NearestNeighbors`` by brute force, cosine."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(np.load(options["matrix"]))
    queries = np.load(options["queries"])

    def once() -> Any:
        _, rows = found.kneighbors(queries)
        return lambda: (rows[0] + 1).tolist()

    once()
    return once


def usearch_search(options: Options) -> Callable[[], Any]:
    """Its exact search; the graph that it can build instead is not exact."""
    from usearch.index import MetricKind, search

    X, queries = np.load(options["matrix"]), np.load(options["queries"])

    def once() -> Any:
        found = search(X, queries, 10, MetricKind.Cos, exact=True)
        keys = np.asarray(found.keys).reshape(len(queries), -1)
        return lambda: (keys[0].astype(int) + 1).tolist()

    once()
    return once
