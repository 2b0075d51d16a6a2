"""A part of a view is what the whole view gives at those rows, bit for bit, in the order that was asked for."""

import gzip
import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from support import Collection, CountingBackbone, jpeg

import featurestore
from featurestore import Features, FeatureStore
from featurestore.backbones.base import Preprocessing
from featurestore.catalog import views
from featurestore.commands.cli import cli
from featurestore.commands.export import FORMS
from featurestore.commands.options import run_command
from featurestore.embedding.vector_files.reading import read_vectors_file
from featurestore.errors import InputError, IntegrityError, QueryError
from featurestore.features import places, pull
from featurestore.storage import parts
from featurestore.storage.parts import VectorBlocks


def named(value: Any) -> str:
    """A parameter without its address: processes that run tests side by side must agree on the names of these."""
    return f"{type(value).__name__} {value if isinstance(value, (list, tuple, str, int)) else ''}".strip()


@pytest.fixture(scope="module")
def kept(kept_store: FeatureStore) -> FeatureStore:
    """24 images with two backbones, for tests that only read."""
    kept_store.embed(CountingBackbone(name="other", preprocessing=Preprocessing(16, 16, "signed")))
    return kept_store


@pytest.fixture
def embedded(store: FeatureStore) -> FeatureStore:
    """24 images with two backbones."""
    store.embed(CountingBackbone())
    store.embed(CountingBackbone(name="other", preprocessing=Preprocessing(16, 16, "signed")))
    return store


def check(whole: Features, part: Features, rows: NDArray[np.intp]) -> None:
    """``part`` is ``whole`` at ``rows``."""
    assert part.X.tobytes() == whole.X[rows].tobytes()
    assert part.X.shape == (len(rows), whole.X.shape[1])
    assert part.X.flags.c_contiguous
    assert part.ids.tolist() == whole.ids[rows].tolist()
    assert part.ids.dtype == np.int32
    assert part.table.equals(whole.table.take(pa.array(rows, pa.int64())))
    # The same images share a group, named by the smallest id that is there.
    assert part.groups.dtype == np.int64
    for group in np.unique(whole.groups[rows]):
        members = whole.groups[rows] == group
        assert set(part.groups[members]) == {part.ids[members].min()}


@pytest.mark.parametrize("backbones", ["counting", ["counting", "other"], ["other", "counting"]], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_any_order_with_repeats(kept: FeatureStore, backbones: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = kept.features(backbones, view="images_usable")
    for rows in (rng.permutation(24), rng.permutation(24)[:7], rng.integers(0, 24, 40), np.array([3, 3, 3])):
        check(whole, kept.features(backbones, view="images_usable", ids=whole.ids[rows]), rows)


def test_across_parts_row_groups_and_replaced_images(
    store: FeatureStore, collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of several row groups, vectors of old bytes among them, byte-identical images, one view, a snapshot."""
    monkeypatch.setattr(parts, "ROW_GROUP", 5)
    monkeypatch.setattr(places, "ROW_GROUP", 5)
    store.embed(CountingBackbone())
    store.create_snapshot("before")
    for img_id in (103, 110, 124):
        (collection.images / f"{img_id}.jpg").write_bytes(jpeg(img_id + 1000))
    (collection.images / "900.jpg").write_bytes((collection.images / "101.jpg").read_bytes())
    (collection.images / "901.jpg").write_bytes(jpeg(901))
    old = FeatureStore.open(store.path, snapshot="before").features("counting", view="images_usable")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    (collection.images / "902.jpg").write_bytes(jpeg(902))
    store.ingest(metadata=collection.metadata, images=collection.images)
    whole = store.features("counting", view="images_usable")
    assert len(store.layout.embedding_parts("counting")) >= 2
    assert whole.missing == 1
    for seed in range(5):
        rows = np.random.default_rng(seed).permutation(len(whole))[: 4 * seed + 2]
        check(whole, store.features("counting", view="images_usable", ids=whole.ids[rows]), rows)
        rows = rows[rows < len(old)]
        snapshot = FeatureStore.open(store.path, snapshot="before")
        check(old, snapshot.features("counting", view="images_usable", ids=old.ids[rows]), rows)
    changed = whole.ids == 103
    assert not np.array_equal(whole.X[changed], old.X[old.ids == 103])
    assert store.features("counting", view="images_usable", ids=[900, 101]).groups.tolist() == [101, 101]


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize("dim", [8, 3000])
def test_rows_near_and_far_apart(
    store: FeatureStore, tmp_path: Path, dim: int, decoded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read row by row, through a scratch buffer, or straight; each must check and place the same vectors."""
    n = 9000 if dim == 8 else 1500
    X = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "ids.npy", np.arange(1, n + 1)[::-1])
    store.import_embeddings(tmp_path / "X.npy", backbone="many", ids=tmp_path / "ids.npy")
    if decoded:
        monkeypatch.setattr(VectorBlocks, "of", lambda _: None)
    rng = np.random.default_rng(1)
    for ids in (
        np.arange(1, n + 1),
        np.arange(1, n + 1)[::-1],
        np.arange(1, n + 1, 2),
        rng.permutation(n)[:40] + 1,
        rng.permutation(n)[:1000] + 1,
        np.array([n, 1, n]),
    ):
        got = store.features("many", view="images_usable", columns=[], ids=ids)
        np.testing.assert_array_equal(got.X, X[n - ids])
        assert got.ids.tolist() == ids.tolist()


def test_few_bytes_are_read(store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten rows of 2,000 cost ten reads of one vector each; and a vector that nobody asked for may be damaged."""
    X = np.random.default_rng(0).normal(size=(2000, 2048)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "ids.npy", np.arange(1, 2001))
    store.import_embeddings(tmp_path / "X.npy", backbone="many", ids=tmp_path / "ids.npy")
    sizes: list[int] = []
    fill = pull._fill
    monkeypatch.setattr(pull, "_fill", lambda file, start, rows: sizes.append(rows.nbytes) or fill(file, start, rows))
    ids = list(range(100, 2000, 200))
    store.features("many", view="images_usable", ids=ids)
    assert sizes == [2048 * 4] * 10
    part = store.path / store.layout.embedding_parts("many")[0].path
    content = bytearray(part.read_bytes())
    content[content.index(X[300].tobytes()) + 5] ^= 4
    part.write_bytes(content)
    assert len(store.features("many", view="images_usable", ids=ids)) == 10
    with pytest.raises(IntegrityError, match="checksums"):
        store.features("many", view="images_usable", ids=[*ids, 301])


KINDS: dict[str, Callable[[list[int]], Any]] = {
    "list": list,
    "tuple": tuple,
    "int8 array": lambda ids: np.array(ids, np.int8),
    "uint64 array": lambda ids: np.array(ids, np.uint64),
    "whole floats": lambda ids: np.array(ids, float),
    "objects": lambda ids: np.array([*ids[:2], np.int64(ids[2])], object),
    "Arrow array": lambda ids: pa.array(ids, pa.int32()),
    "Arrow chunks": lambda ids: pa.chunked_array([ids[:1], ids[1:]]),
    "pandas Series": lambda ids: pytest.importorskip("pandas").Series(ids, index=[9, 8, 7]),
    "pandas nullable": lambda ids: pytest.importorskip("pandas").Series(ids, dtype="Int64"),
    "Polars Series": lambda ids: pytest.importorskip("polars").Series(ids),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_ids(kept: FeatureStore, kind: str) -> None:
    assert kept.features("counting", view="images_usable", ids=KINDS[kind]([120, 101, 107])).ids.tolist() == [
        120,
        101,
        107,
    ]


@pytest.mark.parametrize("ids", [[], (), np.zeros(0), pa.array([]), pa.array([], pa.int64()), range(0)], ids=named)
def test_no_ids_are_no_rows(kept: FeatureStore, ids: Any) -> None:
    empty = kept.features(["counting", "other"], label="Genre1", ids=ids)
    assert empty.X.shape == (0, 32)
    assert (len(empty.ids), len(empty.groups), empty.missing, empty.classes) == (0, 0, 0, ())
    assert empty.table.schema.equals(kept.features("counting").table.schema)
    assert empty.to_arrow().num_rows == 0


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([101, 102.5], "got '102.5'"),
        ([float("nan")], "got 'nan'"),
        ([float("inf")], "got 'inf'"),
        (["101"], "got '101'"),
        ("101", "got a str as ids"),
        ([-1], "got '-1'"),
        ([2**31], "got '2147483648'"),
        ([2**70], "got '11805"),
        ([None, 101], "got 'None'"),
        ([True, False], "got 'True'"),
        (np.ones(24, bool), "got 'True'"),
        (np.array([1], "m8[s]"), "got '1 seconds'"),
        (101, r"shape \(\)"),
        ([[101, 102]], r"shape \(1, 2\)"),
        ([[101], [102, 103]], "not an array"),
        ({101, 102}, "got a set as ids"),
        ({101: 1}, "got a dict as ids"),
        ((i for i in [101]), r"shape \(\)"),
        (pa.array([101, None]), "got 'None'"),
        (pa.array(["101"]), "got '101'"),
    ],
    ids=named,
)
def test_wrong_ids_are_one_sentence(kept: FeatureStore, ids: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"{message}.*expected a sequence of ImgIds"):
        kept.features("counting", ids=ids)


def test_unknown_ids_are_named(embedded: FeatureStore, collection: Collection) -> None:
    with pytest.raises(InputError, match=r"the view 'images_usable' lacks 2 of the 4 ids \(7, 5\)"):
        embedded.features("counting", view="images_usable", ids=[101, 7, 5, 7])
    with pytest.raises(InputError, match=r"lacks 20 of the 20 ids \(0, 1, 2, 3, 4, …\)"):
        embedded.features("counting", ids=range(20))
    horror = embedded.features("counting", view="collection", where="Genre1 = 'Horror'").ids
    with pytest.raises(InputError, match=r"the view 'labeled' lacks .*`images_usable` has every image"):
        embedded.features("counting", ids=horror)
    (collection.images / "900.jpg").write_bytes(jpeg(900))
    embedded.ingest(metadata=collection.metadata, images=collection.images)
    embedded.embed(CountingBackbone())
    assert embedded.features("counting", view="images_usable", ids=[900, 101]).missing == 0
    with pytest.raises(InputError, match=r"no embedding of 'counting' and 'other' is there for 1 of the 2 ids \(900\)"):
        embedded.features(["counting", "other"], view="images_usable", ids=[900, 101])


def test_conditions(embedded: FeatureStore) -> None:
    whole = embedded.features("counting", view="collection", label="Genre1")
    genres = np.array(whole.table["Genre1"].to_pylist())
    for where, rows in (
        ("Genre1 = 'Drama'", genres == "Drama"),
        ("ImgId > 110 -- and a remark", whole.ids > 110),
        ("Genre1 = 'Drama' OR ImgId = 102", (genres == "Drama") | (whole.ids == 102)),
        ("Genre3 = 'nothing has it'", whole.ids < 0),
        ("NULL", whole.ids < 0),
        ("ImgId IN (SELECT ImgId FROM labeled)", genres != "Horror"),
    ):
        part = embedded.features("counting", view="collection", label="Genre1", where=where)
        check(whole, part, np.flatnonzero(rows))
        assert part.classes == tuple(sorted(set(genres[rows])))
    # The condition sees the columns of the view, whichever are kept.
    assert len(embedded.features("counting", view="collection", columns=[], where="Genre1 = 'Horror'")) > 0
    views.create(embedded.path, "mine", "SELECT ImgId, ImgId % 2 AS odd FROM collection")
    assert (embedded.refresh().features("counting", view="mine", where="odd = 1").ids % 2 == 1).all()


@pytest.mark.parametrize(
    "where",
    [
        "",
        "Genre9 = 'Drama'",
        "Genre1 =",
        "Genre1",
        "true); DROP TABLE images; --",
        "ImgId IN (SELECT 1 FROM read_csv('/etc/passwd'))",
        "getenv('HOME') = '/'",
        "ImgId IN (SELECT ImgId FROM '/tmp/x.parquet')",
        "count(*) > 1",
        "ImgId = ?",
        "false) UNION ALL (SELECT 101",
        "true) ORDER BY (ImgId",
        "true) LIMIT (3",
        "true), (false",
        "true) AS x FROM (SELECT 1",
    ],
)
def test_bad_conditions_are_one_sentence(kept: FeatureStore, where: str) -> None:
    with pytest.raises(QueryError, match=r"the condition .* can't be used: ") as caught:
        kept.features("counting", view="collection", where=where)
    assert "\n" not in str(caught.value)


def test_where_is_text(kept: FeatureStore) -> None:
    with pytest.raises(InputError, match="got a function as where, expected a condition in SQL"):
        kept.features("counting", where=lambda row: True)  # type: ignore[arg-type]


def test_condition_and_ids_keep_the_order_of_the_ids(kept: FeatureStore) -> None:
    ids = [110, 101, 124, 110, 102, 103]
    part = kept.features("counting", view="images_usable", ids=ids, where="ImgId >= 103")
    assert part.ids.tolist() == [110, 124, 110, 103], "what the condition excludes is left out, as it was asked to be"
    with pytest.raises(InputError, match="lacks 1 of the 3 ids"):
        kept.features("counting", view="images_usable", ids=[110, 101, 9], where="ImgId >= 103")


def test_limits(kept: FeatureStore) -> None:
    whole = kept.features("counting", view="collection")
    for limit in (0, 1, 7, 24, 1000, np.int64(5)):
        check(whole, kept.features("counting", view="collection", limit=limit), np.arange(min(limit, 24)))
    both = kept.features("counting", view="collection", ids=[110, 101, 124], where="ImgId > 101", limit=1)
    assert both.ids.tolist() == [110]
    assert kept.features("counting", view="collection", where="ImgId > 110", limit=2).ids.tolist() == [111, 112]
    for wrong in (-1, 1.5, "3", True, [1]):
        with pytest.raises(InputError, match=r"got a limit of .*, expected a whole number of rows"):
            kept.features("counting", limit=wrong)  # type: ignore[arg-type]


def test_a_limit_counts_rows_that_have_an_embedding(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    (collection.images / "101.jpg").write_bytes(jpeg(7))
    store.ingest(metadata=collection.metadata, images=collection.images)
    part = store.features("counting", view="images_usable", limit=2)
    assert part.ids.tolist() == [102, 103]
    assert part.missing == 1


def test_a_part_leaves_the_whole_as_it_was(embedded: FeatureStore) -> None:
    """What is kept from one call for the next is not mixed up, and follows the state."""
    whole = embedded.features("counting")
    embedded.features("counting", ids=whole.ids[:2])
    embedded.features("counting", where="ImgId > 110")
    embedded.features("counting", limit=3)
    assert embedded.features("counting").X.tobytes() == whole.X.tobytes()
    part = embedded.features("counting", ids=whole.ids[:2])
    part.X[:], part.ids[:], part.groups[:] = 0, 0, 0
    again = embedded.features("counting", ids=whole.ids[:2])
    assert again.X.tobytes() == whole.X[:2].tobytes()
    assert again.ids.tolist() == again.groups.tolist() == whole.ids[:2].tolist()
    embedded.embed(CountingBackbone(weights="blocks-2"))
    assert embedded.features("counting", ids=whole.ids[:2]).revision != whole.revision


def test_images_without_bytes_share_no_group(store: FeatureStore, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.random.default_rng(0).normal(size=(6, 4)))
    np.save(tmp_path / "ids.npy", np.arange(1001, 1007))
    store.import_embeddings(tmp_path / "X.npy", backbone="theirs", ids=tmp_path / "ids.npy")
    for more in ({}, {"ids": [1004, 1001, 1004]}):
        found = store.features("theirs", view="images_usable", **more)  # type: ignore[arg-type]
        assert found.groups.tolist() == found.ids.tolist()


def test_a_remote_store(kept: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATURESTORE_CACHE", str(tmp_path / "cache"))
    remote = featurestore.open(f"file://{kept.path}")
    ids = [120, 101, 120]
    assert remote.features("counting", view="images_usable", ids=ids).X.tobytes() == (
        kept.features("counting", view="images_usable", ids=ids).X.tobytes()
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.txt", b"120\n101\n120\n"),
        ("ids", b"\xef\xbb\xbf120.jpg\r\n101.jpg\r\n120.jpg"),
        ("ids.csv", b"side,ImgId\ntest,120\ntrain,101\ntrain,120\n"),
        ("names.CSV", b"ImgName,0\n120.jpg,1\n101.jpg,2\n120.jpg,3\n"),
        ("ids.csv.gz", gzip.compress(b'"ImgId"\n120\n101\n120\n', mtime=0)),
        ("ids.npy", np.array([120, 101, 120])),
        ("names.npy", np.array(["120.jpg", "101", "120"])),
        ("ids.parquet", pa.table({"x": ["a", "b", "c"], "ImgId": pa.array([120, 101, 120], pa.uint16())})),
        ("names.parquet", pa.table({"ImgName": ["120.jpg", "101.jpg", "120.jpg"]})),
    ],
)
def test_export_of_ids_in_a_file(kept: FeatureStore, tmp_path: Path, name: str, content: Any) -> None:
    write(tmp_path / name, content)
    whole = kept.features("counting", view="images_usable")
    out = tmp_path / "out.npz"
    assert export(kept, "--view", "images_usable", "--ids", tmp_path / name, "--format", "npz", "-o", out)[0] == 0
    with np.load(out, allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == [120, 101, 120]
        assert arrays["X"].tobytes() == whole.X[[19, 0, 19]].tobytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ids.txt", b"101\n102.5.3\n", "got the image name '102.5.3'"),
        ("ids.txt", b"101\n-5\n", "got the image name '-5'"),
        ("ids.txt", b"101\n7\n", "the view 'labeled' lacks 1 of the 2 ids (7)"),
        ("ids.txt", b"\xff\xfe1", "can't be read"),
        ("ids.csv", b"101\n102\n", "has no column ImgId or ImgName"),
        ("ids.csv", b"ImgId,ImgId\n101,102\n", "the column 'ImgId' occurs more than once"),
        ("ids.csv", b"ImgId\n101\nx\n", "got the image name 'x', expected a number"),
        ("ids.csv", b"", "has no column ImgId or ImgName"),
        ("ids.npy", np.array([1.5]), "expected whole numbers or file names"),
        ("ids.npy", b"nothing", "can't be read"),
        ("ids.parquet", pa.table({"x": [1]}), "has no column ImgId or ImgName"),
        ("ids.parquet", pa.table({"ImgId": [1.5]}), "expected whole numbers"),
        ("ids.parquet", pa.table({"ImgId": [101, None]}), "row 2 has no ImgId"),
        ("ids.parquet", pa.table([[101], [102]], names=["ImgId", "ImgId"]), "occurs more than once"),
        ("ids.parquet", b"PAR1", "can't be read"),
        ("missing.txt", None, "there is no file"),
    ],
)
def test_a_bad_file_of_ids_is_one_sentence(
    kept: FeatureStore, tmp_path: Path, name: str, content: Any, message: str
) -> None:
    if content is not None:
        write(tmp_path / name, content)
    code, err = export(kept, "--ids", tmp_path / name, "-o", tmp_path / "out.parquet")
    assert code == 1
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("form", FORMS)
def test_every_format_takes_a_part(kept: FeatureStore, tmp_path: Path, form: str) -> None:
    (tmp_path / "ids.txt").write_text("123 101 110 103")
    ending = "csv.gz" if form.startswith("study") else form
    out = tmp_path / f"out.{ending}"
    more = [] if form.startswith("study") else ["--view", "images_usable"]
    where = "ImgId <> 101" if form == "study-labeled" else "width > 0 AND ImgId <> 101"
    code, err = export(
        kept, *more, "--where", where, "--ids", tmp_path / "ids.txt", "--limit", 2, "--format", form, "-o", out
    )
    assert code == 0, err
    if form == "bundle":
        back = featurestore.open_bundle(out)
        assert json.loads((out / "manifest.json").read_text())["chosen"] == {"where": where, "ids": 4, "limit": 2}
        assert back.ids.tolist() == back.groups.tolist() == [123, 110]
    elif form == "delta":
        assert polars.scan_delta(str(out / "counting")).collect()["ImgId"].to_list() == [123, 110]
    elif form == "npz":
        assert np.load(out)["ids"].tolist() == [123, 110]
    elif form == "npy":
        assert np.load(out).shape == (2, 16)
    else:
        vectors = read_vectors_file(out)
        named = [int(key.removesuffix(".jpg")) for key in vectors.keys or ()]
        assert (named if vectors.numbers is None else vectors.numbers.tolist()) == [123, 110]


def test_export_refuses_a_bad_condition_and_limit(kept: FeatureStore, tmp_path: Path) -> None:
    code, err = export(kept, "--where", "Genre9 = 'x'", "-o", tmp_path / "out.parquet")
    assert (code, err.count("\n")) == (1, 1)
    assert "the condition \"Genre9 = 'x'\" can't be used" in err
    assert export(kept, "--limit", "-1", "-o", tmp_path / "out.parquet")[0] == 2
    assert list(tmp_path.iterdir()) == []


def write(path: Path, content: Any) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        np.save(path, content)


def export(store: FeatureStore, *arguments: object) -> tuple[int, str]:
    """`featurestore export` of the backbone `counting`: exit code and stderr."""
    base = ["export", "--store", str(store.path), "--backbone", "counting"]
    with redirect_stderr(io.StringIO()) as err, redirect_stdout(io.StringIO()), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["featurestore", *base, *map(str, arguments)])
        code = run_command(cli, "featurestore")
    return code, err.getvalue()
