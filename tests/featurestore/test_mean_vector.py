"""mean_vector is an aggregate for vectors of any length: it follows GROUP BY, and can be used wherever a value can."""

import numpy as np
import pyarrow as pa
import pytest

from featurestore import FeatureStore
from featurestore.errors import QueryError


def expected(store: FeatureStore) -> dict[str, np.ndarray]:
    rows = store.sql("SELECT Genre1, embedding FROM labeled_counting").to_pylist()
    vectors: dict[str, list[list[float]]] = {}
    for row in rows:
        vectors.setdefault(row["Genre1"], []).append(row["embedding"])
    return {genre: np.mean(np.asarray(found, np.float64), axis=0) for genre, found in vectors.items()}


def test_each_group_has_its_mean(kept_store: FeatureStore) -> None:
    found = kept_store.sql("SELECT Genre1, mean_vector(embedding) AS mean FROM labeled_counting GROUP BY Genre1")
    assert found.schema.field("mean").type == pa.list_(pa.float32())
    means = {row["Genre1"]: row["mean"] for row in found.to_pylist()}
    assert means.keys() == expected(kept_store).keys()
    for genre, mean in expected(kept_store).items():
        np.testing.assert_allclose(means[genre], mean, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 700])
def test_any_length(kept_store: FeatureStore, size: int) -> None:
    query = f"""
        SELECT kind, mean_vector(vector) AS mean
        FROM (SELECT n % 2 AS kind, list_transform(range({size}), lambda i: i + n)::FLOAT[{size}] AS vector
              FROM range(10) AS numbers(n))
        GROUP BY kind ORDER BY kind
    """
    found = kept_store.sql(query)["mean"].to_pylist()
    assert found == [[4 + i for i in range(size)], [5 + i for i in range(size)]]


def test_it_stands_wherever_a_value_can(kept_store: FeatureStore) -> None:
    nearest = kept_store.sql(
        """
        WITH centres AS (SELECT Genre1, mean_vector(embedding) AS centre FROM labeled_counting GROUP BY ALL)
        SELECT ImgId, arg_max(c.Genre1, cosine(embedding, centre)) AS nearest
        FROM embeddings_counting CROSS JOIN centres AS c GROUP BY ImgId
        """
    )
    assert set(nearest["nearest"].to_pylist()) <= expected(kept_store).keys()
    having = "SELECT Genre1 FROM labeled_counting GROUP BY 1 HAVING len(mean_vector(embedding)) = 16 ORDER BY 1"
    assert kept_store.sql(having)["Genre1"].to_pylist() == sorted(expected(kept_store))
    assert kept_store.create_view(
        "centred",
        "SELECT ImgId, euclidean(embedding, (SELECT mean_vector(embedding) FROM embeddings_counting)) AS distance "
        "FROM embeddings_counting",
    ) == len(kept_store.sql("FROM embeddings_counting"))


def test_null_does_not_count_and_nothing_has_no_mean(kept_store: FeatureStore) -> None:
    values = "(VALUES ('a', [1, NULL]), ('a', [3, 5]), ('a', NULL), ('b', NULL), ('c', [])) AS rows(kind, vector)"
    found = kept_store.sql(
        f"SELECT kind, mean_vector(vector::FLOAT[]) AS mean FROM {values} GROUP BY kind ORDER BY kind"
    )
    assert found["mean"].to_pylist() == [[2, 5], None, None]
    assert (
        kept_store.sql("SELECT mean_vector(embedding) AS mean FROM embeddings_counting WHERE false")["mean"][0].as_py()
        is None
    )


def test_vectors_of_different_lengths_are_refused(kept_store: FeatureStore) -> None:
    with pytest.raises(QueryError, match="mean_vector got vectors of different lengths, the longest with 2 elements"):
        kept_store.sql("SELECT mean_vector(v) FROM (VALUES ([1.0, 2.0]), ([1.0])) AS rows(v)")
