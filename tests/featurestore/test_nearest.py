"""The nearest rows are those that scoring every row in float64 finds, bit for bit, whatever was estimated first."""

import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.explore import nearest as module
from featurestore.explore import rounded as copies
from featurestore.explore.nearest import Index, exact_scores, lengths_of, nearest
from featurestore.explore.rounded import Rounded, products, rounded, usable
from featurestore.explore.search import METRICS

Draw = Callable[[np.random.Generator, int, int], NDArray[np.floating]]
KINDS: dict[str, Draw] = {
    "normal": lambda rng, n, d: rng.standard_normal((n, d)),
    "features": lambda rng, n, d: np.maximum(rng.standard_normal((n, d)), 0) ** 3,
    "few values, so ties": lambda rng, n, d: rng.integers(-1, 2, (n, d)),
    "duplicates": lambda rng, n, d: rng.standard_normal((3, d))[rng.integers(0, 3, n)],
    "all equal": lambda rng, n, d: np.ones((n, d)),
    "all zero": lambda rng, n, d: np.zeros((n, d)),
    "some zero": lambda rng, n, d: rng.standard_normal((n, d)) * rng.integers(0, 2, (n, 1)),
    "nearly equal": lambda rng, n, d: 1 + rng.standard_normal((n, d)) * 1e-7,
    "a constant column": lambda rng, n, d: rng.standard_normal((n, d)) + 1e5 * (np.arange(d) == 0),
    "one peak a row": lambda rng, n, d: rng.standard_normal((n, d)) + 1e4 * np.eye(d)[rng.integers(0, d, n)],
    "huge": lambda rng, n, d: rng.standard_normal((n, d)) * 1e37,
    "tiny": lambda rng, n, d: rng.standard_normal((n, d)) * 1e-42,
    "of any size": lambda rng, n, d: rng.standard_normal((n, d)) * 10.0 ** rng.integers(-44, 38, (n, 1)),
}
with_copy = pytest.mark.skipif(copies._simsimd() is None, reason="no simsimd, or a processor that it doesn't serve")


def searched(X: NDArray[np.float32]) -> Index:
    return Index(np.arange(1, len(X) + 1, dtype=np.int32) * 3, X, lengths_of(X))


def by_scoring_all(
    index: Index, vector: NDArray[np.float32], k: int, metric: str, rows: NDArray[np.intp], own: int | None
) -> tuple[list[int], list[float]]:
    rows = rows[index.ids[rows] != own]
    scores = exact_scores(index.X[rows], vector.astype(np.float64), metric)
    order = np.lexsort((index.ids[rows], scores if metric == "euclidean" else -scores))[:k]
    return index.ids[rows][order].tolist(), scores[order].tolist()


@with_copy
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_as_if_every_row_were_scored(kind: str, metric: str, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, d = data.draw(st.integers(1, 300)), data.draw(st.sampled_from([1, 2, 31, 200]))
    k = data.draw(st.sampled_from([1, 3, 10, 400]))
    index = searched(KINDS[kind](rng, n, d).astype(np.float32))
    own = data.draw(st.booleans())
    asked = rng.integers(0, n, 3)
    vectors = index.X[asked] if own else KINDS[data.draw(st.sampled_from([kind, *KINDS]))](rng, 3, d).astype(np.float32)
    numbers = index.ids[asked].tolist() if own else None
    share = data.draw(st.sampled_from([0, 0.05, 0.7, 1]))
    allowed = np.flatnonzero(rng.random(n) <= share) if share < 1 else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUPS", data.draw(st.sampled_from([8, 64])))
        patch.setattr(module, "BLOCK_ROWS", data.draw(st.sampled_from([20, 2**22])))
        patch.setattr(module, "QUERIES", 2)
        options = {"k": k, "metric": metric, "allowed": allowed}
        together = nearest(index, vectors, own=numbers, **options)
        copy = rounded(index.X)
        for place, vector in enumerate(vectors):
            mine = None if numbers is None else numbers[place : place + 1]
            rows = np.arange(n) if allowed is None else allowed
            ids, scores = by_scoring_all(index, vector, k, metric, rows, mine and mine[0])
            alone = nearest(index, vector[None], own=mine, **options)
            read_less = nearest(index, vector[None], own=mine, copy=copy, **options)
            for found in ((together[0][place], together[1][place]), *((f[0][0], f[1][0]) for f in (alone, read_less))):
                assert found[0].tolist() == ids + [-1] * (k - len(ids))
                assert found[1][: len(ids)].tobytes() == np.array(scores, float).tobytes()
                assert np.isnan(found[1][len(ids) :]).all()


@with_copy
@pytest.mark.parametrize("kind", KINDS)
def test_no_row_is_further_from_its_copy_than_it_says(kind: str) -> None:
    X = KINDS[kind](np.random.default_rng(3), 200, 60).astype(np.float32)
    copy = rounded(X)
    away = np.linalg.norm(X.astype(np.float64) - copy.steps[:, None].astype(np.float64) * copy.codes, axis=1)
    assert (away <= copy.residuals).all()
    assert np.abs(copy.codes.astype(int)).max(initial=0) <= 127


@with_copy
def test_products_of_int8_are_exact() -> None:
    rng = np.random.default_rng(4)
    codes = rng.integers(-127, 128, (50, 1037)).astype(np.int8)
    codes[0], codes[1], codes[7, 0] = 127, -127, 127
    copy = Rounded(codes, np.ones(50, np.float32), np.zeros(50, np.float32))
    for query in (codes[0], codes[1], codes[7]):
        product, _ = products(copy, slice(0, 50), query.astype(np.float64), np.ones(50, np.float32))
        whole = codes.astype(np.int64) @ query.astype(np.int64)
        assert product[0].tolist() == whole.astype(np.float32).tolist()


@with_copy
def test_few_rows_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    index = searched(rng.standard_normal((20_000, 128)).astype(np.float32))
    vector = index.X[:1] + rng.standard_normal((1, 128)).astype(np.float32)
    scored = []

    def counted(X: NDArray[np.float32], *rest: object) -> NDArray[np.float64]:
        scored.append(len(X))
        return exact_scores(X, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "exact_scores", counted)
    nearest(index, vector, k=10, metric="cosine")
    assert sum(scored) < 50
    scored.clear()
    nearest(index, vector, k=10, metric="cosine", copy=rounded(index.X))
    assert sum(scored) < 1_000


@pytest.mark.parametrize("share", [None, 0.1, 0.9])
def test_memory_is_that_of_a_block(share: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    index = searched(rng.standard_normal((10_000, 64)).astype(np.float32))
    vectors = rng.standard_normal((100, 64)).astype(np.float32)
    allowed = None if share is None else np.flatnonzero(rng.random(len(index.ids)) < share)
    monkeypatch.setattr(module, "BLOCK_BYTES", 2**18)
    monkeypatch.setattr(module, "BLOCK_ROWS", 2**17)
    monkeypatch.setattr(module, "SCORED", 2**12)
    tracemalloc.start()
    try:
        nearest(index, vectors, k=10, metric="cosine", allowed=allowed)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2e6, "the scores alone are 4 MB, the matrix is 2.6 MB"


@with_copy
def test_a_second_query_reads_the_copy(
    store: FeatureStore, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.embed(CountingBackbone())
    monkeypatch.setattr(copies, "SMALLEST", 1)
    monkeypatch.setattr(copies, "SHORTEST", 1)
    made: list[int] = []
    whole = copies.products
    monkeypatch.setattr(module, "products", lambda *given: (made.append(1), whole(*given))[1])
    first = store.similar(101, backbone="counting", k=5)
    assert not made, "a process that asks once makes no copy"
    for metric in METRICS:
        again = store.similar(101, backbone="counting", k=5, metric=metric)
        many = store.similar([101, 102], backbone="counting", k=5, metric=metric)
        assert again.ids[0].tolist() == many.ids[0].tolist()
        assert again.scores[0].tobytes() == many.scores[0].tobytes()
    assert len(made) == len(METRICS), "several queries are one matrix product"
    assert store.similar(101, backbone="counting", k=5).scores.tobytes() == first.scores.tobytes()


def test_without_the_package_or_the_instructions_there_is_no_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.ones((2**11, 2**11), np.float32)
    copies._simsimd.cache_clear()
    try:
        monkeypatch.setitem(sys.modules, "simsimd", None)
        assert not usable(X)
        copies._simsimd.cache_clear()
        old = type(sys)("simsimd")
        old.get_capabilities = lambda: {"serial": True, "haswell": False}  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "simsimd", old)
        assert not usable(X)
        copies._simsimd.cache_clear()
        old.get_capabilities = lambda: {"serial": True, "haswell": True}  # type: ignore[attr-defined]
        assert usable(X)
        assert not usable(X[:5]), "a small matrix needs none"
        assert not usable(X.reshape(-1, 64)), "nor do short rows"
    finally:
        copies._simsimd.cache_clear()
