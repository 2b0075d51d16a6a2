"""Everything that a store does with images works on every layout of a collection, and shows its own words."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from layouts import BACKBONE, LAYOUTS, NUMBERS, Layout, made
from support import CountingBackbone, jpeg

from featurestore import FeatureStore, open_bundle
from featurestore.errors import InputError

COUNT = len(NUMBERS)


@pytest.fixture(scope="module", params=LAYOUTS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, FeatureStore]:
    layout = LAYOUTS[request.param]
    return layout, made(layout, tmp_path_factory.mktemp("layout"))


def test_sql_and_info(opened: tuple[Layout, FeatureStore]) -> None:
    layout, store = opened
    assert (store.label, store.title) == (layout.label, layout.title)
    rows = store.sql(f'SELECT "{layout.label}", "{layout.title}", embedding FROM labeled_{BACKBONE}')
    assert len(rows) == COUNT
    assert not rows[layout.label].null_count
    if layout.split:
        assert set(store.sql("SELECT DISTINCT split FROM labeled")["split"].to_pylist()) == {"train", "test"}
    info = store.info()
    assert (info["labeled"], info["label"], info["backbones"][0]["rows"]) == (COUNT, layout.label, COUNT)
    record = store.lineage(int(rows_of(store)[0]))
    assert record["image"]["ImgName"]
    assert record["embeddings"][0]["current"]


def rows_of(store: FeatureStore) -> list[int]:
    return store.sql("SELECT ImgId FROM labeled ORDER BY ImgId")["ImgId"].to_pylist()


def test_similar_and_its_contact_sheet(opened: tuple[Layout, FeatureStore], tmp_path: Path) -> None:
    layout, store = opened
    ids = rows_of(store)
    found = store.similar([ids[0], ids[-1]], backbone=BACKBONE, k=3, where=f'"{layout.label}" IS NOT NULL')
    page = store.contact_sheet(found)
    assert page.count("<img ") == (8 if layout.files else 0)
    assert page.count("no image file") == (0 if layout.files else 8)
    names = store.sql(f'SELECT ImgId, ImgName, "{layout.title}" AS title FROM collection').to_pylist()
    titles = {row["ImgId"]: row["title"] or row["ImgName"] for row in names}
    assert all(titles[img_id] in page for img_id in [ids[0], ids[-1], *found.ids.ravel().tolist()])
    if layout.files:
        (tmp_path / "query.jpg").write_bytes(jpeg(2, size=(64, 40)))
        near = store.similar(tmp_path / "query.jpg", backbone=BACKBONE, k=1, model=CountingBackbone())
        assert near.scores[0, 0] == pytest.approx(1)
        assert store.contact_sheet(near, image=tmp_path / "query.jpg").count("<img ") == 2


def test_similar_in_the_terminal(
    opened: tuple[Layout, FeatureStore], invoke: Callable[..., tuple[int, str, str]]
) -> None:
    layout, store = opened
    first = rows_of(store)[0]
    command = ("similar", "--store", str(store.path), "--backbone", BACKBONE, "--id", str(first), "-k", str(COUNT))
    code, out, err = invoke(*command)
    assert (code, err) == (0, "")
    assert "[" not in out
    assert all(("cat" in line) or ("dog" in line) for line in out.splitlines())
    assert layout.label != "tags" or "cat, wild" in out
    assert layout.title != "title" or "Animal" in out
    _, out, _ = invoke(*command, "--json")
    assert {layout.label, layout.title} < json.loads(out)[0].keys()


def test_an_image_without_a_title_is_shown_by_its_name(tmp_path: Path) -> None:
    store = made(LAYOUTS["table"], tmp_path)
    (place,) = store.sql("SELECT ImgId FROM collection WHERE title IS NULL")["ImgId"].to_pylist()
    page = store.contact_sheet(store.similar(place, backbone=BACKBONE, k=1))
    assert ">query<br>7<br>07.jpg<br>dog<" in page


def test_quality(opened: tuple[Layout, FeatureStore]) -> None:
    layout, store = opened
    report = store.quality()
    assert (report.images, report.without_metadata) == (COUNT, [])
    assert report.metadata_without_image == (1 if layout.title == "title" and layout.label == "kind" else 0)
    assert report.coverage == {BACKBONE: (COUNT, COUNT)}
    assert sum(report.labels.values()) == (2 * COUNT if layout.label == "tags" else COUNT)
    assert len(report.exact_duplicates) == (1 if layout.files else 0)
    assert len(report.without_file) == (0 if layout.files else COUNT)


def test_equal_images_with_contradicting_labels(tmp_path: Path) -> None:
    """The order of several labels says nothing, another label does."""
    images = tmp_path / "images"
    images.mkdir()
    tags = {"a": ["x", "y"], "b": ["y", "x"], "c": ["x"], "d": ["x", "z"]}
    for name in tags:
        (images / f"{name}.jpg").write_bytes(jpeg(1 if name in "ab" else 2))
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"file": n, "tags": t}) + "\n" for n, t in tags.items()))
    store = FeatureStore(tmp_path / "store")
    store.ingest(images=images, metadata=tmp_path / "t.jsonl", key="file", label="tags")
    report = store.refresh().quality()
    assert (report.exact_duplicates, report.contradicting) == ([[0, 1], [2, 3]], [[2, 3]])


def test_snapshots_and_views(tmp_path: Path) -> None:
    """Rows without an image are no change, as long as they say the same."""
    store = made(LAYOUTS["table"], tmp_path)
    table = tmp_path / "animals.csv"
    table.write_text(table.read_text() + "gone too.jpg,dog,Lost,test\n")
    again = {"images": tmp_path / "images", "metadata": table, "label": "kind"}
    store.ingest(**again)  # type: ignore[arg-type]
    store.create_view("cats", "SELECT ImgId, kind FROM labeled WHERE kind = 'cat'")
    store.create_snapshot("before")
    assert all((d.added, d.removed, d.changed) == (0, 0, 0) for d in store.refresh().diff_snapshots("before").values())
    text = table.read_text().replace("02.jpg,cat", "02.jpg,dog").replace("gone too.jpg,dog,Lost", "gone too.jpg,dog,")
    table.write_text(text)
    store.ingest(**again)  # type: ignore[arg-type]
    diff = store.refresh().diff_snapshots("before")["metadata"]
    assert (diff.added, diff.removed, diff.changed) == (1, 1, 1)
    assert len(store.features(BACKBONE, view="cats")) == COUNT // 2 - 1


@pytest.mark.parametrize("form", ["npz", "npy", "parquet", "csv.gz", "bundle"])
def test_exports(opened: tuple[Layout, FeatureStore], form: str, tmp_path: Path) -> None:
    layout, store = opened
    label = None if layout.label == "tags" else layout.label
    target = tmp_path / ("out" if form == "bundle" else f"out.{form}")
    columns = ["ImgName", *([layout.label] if label else [])] if form == "csv.gz" else None
    report = store.export(BACKBONE, target, format=form, label=label, columns=columns)
    assert (report.rows, report.embed_dim, report.missing) == (COUNT, 16, 0)
    if form == "npz":
        with np.load(target) as arrays:
            assert arrays["X"].shape == (COUNT, 16)
            assert label is None or arrays["classes"].tolist() == ["cat", "dog"]
    elif form == "parquet":
        assert layout.label in pq.read_schema(target).names
    elif form == "bundle":
        features = open_bundle(target, lock=report.lock)
        assert features.ids.tolist() == rows_of(store)
        assert label is None or features.classes == ("cat", "dog")


def test_the_layouts_of_the_study_are_those_of_movies(opened: tuple[Layout, FeatureStore], tmp_path: Path) -> None:
    _, store = opened
    with pytest.raises(InputError, match=r"the collection type 'general' has no layout 'study-labeled': use csv.gz"):
        store.export(BACKBONE, tmp_path / "out.csv.gz", format="study-labeled")


def test_rows_by_the_names_of_their_images(opened: tuple[Layout, FeatureStore], tmp_path: Path) -> None:
    """A number in a name is not an ImgId here, other than in a collection of movies."""
    _, store = opened
    rows = store.sql("SELECT ImgId, ImgName FROM labeled ORDER BY ImgName DESC LIMIT 3").to_pylist()
    for name, lines in {
        "names.txt": [row["ImgName"] for row in rows],
        "names.csv": ["ImgName", *(row["ImgName"] for row in rows)],
        "ids.csv": ["ImgId", *(str(row["ImgId"]) for row in rows)],
        "ids.txt": [str(row["ImgId"]) for row in rows],
    }.items():
        (tmp_path / name).write_text("\n".join([*lines, ""]))
        store.export(BACKBONE, tmp_path / "out.parquet", ids=tmp_path / name, force=True)
        found = pq.read_table(tmp_path / "out.parquet", columns=["ImgId"])["ImgId"].to_pylist()
        assert found == [row["ImgId"] for row in rows], name
    (tmp_path / "bad.txt").write_text(f"{rows[0]['ImgName']}\n99.jpg\n")
    with pytest.raises(InputError, match=r"got the image name '99.jpg' in row 2, which is not that of one image"):
        store.export(BACKBONE, tmp_path / "out.parquet", ids=tmp_path / "bad.txt", force=True)


def test_columns_named_like_those_of_the_store(tmp_path: Path) -> None:
    """Nothing of the user's table is lost or taken for something else."""
    (tmp_path / "images").mkdir()
    for number in range(4):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(jpeg(number))
    names = ["RowKey", "RowProblem", "ImgId", "metadata", "key", "images", "c", "i", "m", "status", "a b", 'ö"q']
    lines = ["\t".join(["file", "label", *names])]
    lines += ["\t".join([f"{n}.jpg", "ab"[n % 2], *(f"{name[:1]}{n}" for name in names)]) for n in range(4)]
    (tmp_path / "t.tsv").write_text("\n".join(lines))
    store = FeatureStore(tmp_path / "store")
    store.ingest(images=tmp_path / "images", metadata=tmp_path / "t.tsv", label="label")
    store.embed(CountingBackbone(name=BACKBONE))
    store.create_snapshot("one")
    store.refresh()
    columns = store.columns("labeled")
    assert {"RowKey_", "RowProblem_", "ImgId_", *names[3:]} <= set(columns)
    assert (store.quality().metadata_without_image, store.info()["labeled"]) == (0, 4)
    assert "<img " in store.contact_sheet(store.similar(0, backbone=BACKBONE, k=1))
    lines[1] = lines[1].replace("s0", "other")
    (tmp_path / "t.tsv").write_text("\n".join(lines))
    store.ingest(images=tmp_path / "images", metadata=tmp_path / "t.tsv", label="label")
    assert store.refresh().diff_snapshots("one")["metadata"].changed == 1
