"""Maps of the explorer: principal axes, samples of many points, the density picture, and maps that are stored."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import CountingBackbone, needs

import featurestore
from featurestore import FeatureStore
from featurestore.errors import InputError, MissingExtra
from featurestore.explore.page import projection
from featurestore.explore.page.answers import routes
from featurestore.explore.page.density import density_png
from featurestore.explore.page.projection import Points, principal_axes
from featurestore.explore.page.shown import ShownStore

WINDOW = (-1.0, -1.0, 1.0, 1.0)


def spread(n: int, d: int) -> NDArray[np.float32]:
    """Vectors with one direction of most variance, and one of the next."""
    rng = np.random.default_rng(1)
    scales = np.r_[9.0, 4.0, np.full(d - 2, 0.5)] if d > 2 else np.full(d, 2.0)
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return (rng.standard_normal((n, d)) * scales @ turn + 7).astype(np.float32)


@pytest.mark.parametrize(("n", "d"), [(400, 60), (30, 200), (50, 2)])
def test_principal_axes_are_those_of_the_covariance(n: int, d: int) -> None:
    X = spread(n, d)
    _, _, exact = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    axes = principal_axes(X)
    found = axes.place(X)
    expected = (X - X.mean(axis=0)) @ exact[:2].T
    for axis in range(2):
        assert abs(np.corrcoef(found[:, axis], expected[:, axis])[0, 1]) > 0.9999
    assert (axes.directions[np.abs(axes.directions).argmax(axis=0), [0, 1]] > 0).all()
    assert found.tobytes() == principal_axes(X.copy()).place(X).tobytes()


@pytest.mark.parametrize(("n", "d"), [(0, 5), (1, 5), (3, 1), (4, 3)])
def test_degenerate_vectors_have_positions(n: int, d: int) -> None:
    X = np.ones((n, d), np.float32)
    assert principal_axes(X).place(X).tolist() == [[0, 0]] * n


def points(content: bytes) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """What the page makes of the bytes of `api/points`."""
    count = int(np.frombuffer(content, "<u4", 1)[0])
    assert len(content) == 4 + 12 * count
    ids = np.frombuffer(content, "<i4", count, 4)
    return ids, np.frombuffer(content, "<f4", 2 * count, 4 + 4 * count).reshape(2, count).T


def ask(store: FeatureStore, address: str, **query: str) -> Any:
    return routes(ShownStore(featurestore.open(store.path), read_only=True)).get[f"api/{address}"](query)


def test_all_points_of_a_small_store(kept_store: FeatureStore) -> None:
    answer = ask(kept_store, "points", backbone="counting")
    ids, xy = points(answer.body)
    assert answer.headers["X-Points"] == "all;total=24"
    assert ids.tolist() == list(range(101, 125))
    assert np.ptp(xy, axis=0).max() == pytest.approx(2)
    assert np.abs(xy).max() <= 1
    X = kept_store.features("counting", view="images_usable").X
    real = np.linalg.norm(X[:, None] - X[None], axis=2)[np.triu_indices(24, 1)]
    shown = np.linalg.norm(xy[:, None] - xy[None], axis=2)[np.triu_indices(24, 1)]
    assert np.corrcoef(real, shown)[0, 1] > 0.6, "a map shows distances"


def test_an_image_without_a_vector_is_on_no_map(store: FeatureStore, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=spread(20, 4), ids=np.arange(101, 121))
    store.import_embeddings(tmp_path / "x.npz", backbone="theirs")
    answer = ask(store, "points", backbone="theirs")
    assert points(answer.body)[0].tolist() == list(range(101, 121))
    assert len(ask(store, "ids").body) == 4 * 24


def test_many_points_are_a_fixed_sample(kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "MOST_POINTS", 10)
    monkeypatch.setattr(projection, "MOST_FITTED", 8)
    monkeypatch.setattr(projection, "BATCH_ROWS", 7)
    shown = routes(ShownStore(featurestore.open(kept_store.path), read_only=True)).get["api/points"]
    first = shown({"backbone": "counting"})
    ids, xy = points(first.body)
    assert (first.headers["X-Points"], len(ids)) == ("sampled;total=24", 10)
    assert (np.diff(ids) > 0).all()
    assert first.body == ask(kept_store, "points", backbone="counting").body
    # The whole map has them where they were, and one that is shown stays so in every window.
    whole = shown({"backbone": "counting", "x0": "-1", "y0": "-1", "x1": "1", "y1": "1"})
    assert whole.headers["X-Points"] == "sampled;total=24"
    assert whole.body == first.body
    x0, x1 = np.sort(xy[:, 0])[[2, 6]]
    part = shown({"backbone": "counting", "x0": str(x0), "y0": "-1", "x1": str(x1), "y1": "1"})
    seen, at = points(part.body)
    assert set(ids[(xy[:, 0] >= x0) & (xy[:, 0] <= x1)]) <= set(seen)
    assert (at[:, 0] >= x0).all()
    assert part.headers["X-Points"].split("=")[0] in ("all;total", "sampled;total")


def test_the_density_picture() -> None:
    at = [[-0.85, 0.85]] * 100 + [[0.85, -0.85]] * 2 + [[5, 5]]
    found = Points(np.arange(103, dtype=np.int32), np.array(at, np.float32), 103)
    picture = Image.open(io.BytesIO(density_png(found, WINDOW, width=20, height=10)))
    pixels = np.asarray(picture)
    assert (picture.mode, pixels.shape) == ("L", (10, 20))
    assert pixels[0, 1] == 255, "the highest row has the largest y"
    assert 0 < pixels[9, 18] < 255
    assert np.count_nonzero(pixels) == 2
    nothing = Points(np.zeros(0, np.int32), np.zeros((0, 2), np.float32), 0)
    assert not np.asarray(Image.open(io.BytesIO(density_png(nothing, WINDOW, width=3, height=3)))).any()


def test_the_density_is_an_answer(kept_store: FeatureStore) -> None:
    answer = ask(kept_store, "density", backbone="counting", w="30", h="20")
    assert answer.kind == "image/png"
    assert Image.open(io.BytesIO(answer.body)).size == (30, 20)


class FakeTSNE:
    """Positions that depend on the first two axes alone."""

    def __init__(self, **options: Any) -> None:
        assert (options["n_jobs"], options["initialization"]) == (1, "pca")

    def fit(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        return X[:, :2].astype(np.float64)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openTSNE", SimpleNamespace(TSNE=FakeTSNE, __version__="0"))


@pytest.mark.usefixtures("made")
def test_a_map_is_stored_with_what_made_it(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    report = store.project("counting", perplexity=5, seed=3)
    assert (report.backbone, report.method, report.rows, report.synthetic) == ("counting", "tsne", 24, False)
    rows = store.sql("FROM projections ORDER BY ImgId").to_pylist()
    assert [row["ImgId"] for row in rows] == list(range(101, 125))
    assert rows[0]["revision"] == store.state.revisions["counting"]
    params = json.loads(rows[0]["params"])
    assert {name: params[name] for name in ("perplexity", "seed", "openTSNE", "images")} == {
        "perplexity": 5,
        "seed": 3,
        "openTSNE": "0",
        "images": 24,
    }
    meta = json.loads(ask(store, "meta").body)
    assert meta["maps"][1:] == [{"backbone": "counting", "method": "tsne", "rows": 24}]
    ids, xy = points(ask(store, "points", backbone="counting", map="tsne").body)
    assert (len(ids), np.abs(xy).max()) == (24, 1)
    store.embed(CountingBackbone(name="other"))
    store.project("other", perplexity=5)
    store.project("counting", perplexity=7)
    assert store.sql("SELECT backbone, count(*) AS n FROM projections GROUP BY 1 ORDER BY 1").to_pylist() == [
        {"backbone": "counting", "n": 24},
        {"backbone": "other", "n": 24},
    ]
    with store.explore(backbone="other", map="tsne") as running:
        assert running.url.endswith("#b=other&m=tsne")


@pytest.mark.usefixtures("made")
def test_a_map_of_an_earlier_revision_is_not_shown(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    store.project("counting", perplexity=5)
    store.embed(CountingBackbone(weights="blocks-2"))
    assert len(json.loads(ask(store, "meta").body)["maps"]) == 1
    with pytest.raises(InputError, match="no map 'tsne' of the current revision of 'counting'"):
        ask(store, "points", backbone="counting", map="tsne")


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "umap"}, "got the method 'umap', but there is tsne"),
        ({"method": "pca"}, "pca needs no storing"),
        ({"perplexity": 8.0}, "got a perplexity of 8, expected 1 to less than a third of 24 images"),
        ({"perplexity": float("nan")}, "got a perplexity of nan"),
        ({"backbone": "none"}, "no backbone 'none'"),
    ],
)
def test_a_map_that_can_t_be_made(kept_store: FeatureStore, options: dict[str, Any], message: str) -> None:
    store = featurestore.open(kept_store.path)
    with pytest.raises(InputError, match=message):
        store.project(**{"backbone": "counting", **options})
    assert store.state == kept_store.state


@pytest.mark.usefixtures("made")
def test_a_table_of_another_program_is_left_alone(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    store.append({"projections": pa.table({"ImgId": [101]})})
    with pytest.raises(InputError, match="a table 'projections' with other columns"):
        store.project("counting", perplexity=5)
    assert len(json.loads(ask(store, "meta").body)["maps"]) == 1


def test_what_is_missing_is_named(kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(MissingExtra, match=r"t-SNE needs the package 'openTSNE'.*featurestore\[explore\]"):
        featurestore.open(kept_store.path).project("counting", perplexity=5)


def test_tsne_by_the_package_is_reproducible(store: FeatureStore, tmp_path: Path) -> None:
    needs("openTSNE")
    store.embed(CountingBackbone())
    store.project("counting", perplexity=5)
    first = store.sql("SELECT x, y FROM projections ORDER BY ImgId")
    store.project("counting", perplexity=5)
    assert store.sql("SELECT x, y FROM projections ORDER BY ImgId").equals(first)


def test_the_commands(
    invoke: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, kept_store: FeatureStore
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def stop(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("featurestore.explore.page.start.Exploration.wait", stop)
    code, out, err = invoke("explore", "--where", "Genre1 = 'Crime'")
    assert code == 0
    # The list of processes shows what the browser is started with: an address that is worth nothing afterwards.
    (token, where), (entrance, same) = (url.strip().split("/")[3:] for url in (out, *opened))
    assert where == same == "#q=Genre1%20%3D%20%27Crime%27"
    assert token != entrance
    assert err.splitlines()[-1] == "closed"
    assert invoke("explore", "--no-browser", "--read-only")[0] == 0
    assert len(opened) == 1
    code, _, err = invoke("explore", "--backbone", "none")
    assert (code, err.count("\n")) == (1, 1)
    code, _, err = invoke("project", "--backbone", "counting")
    assert (code, err.count("\n")) == (1, 1)
