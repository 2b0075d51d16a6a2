"""What `forget` removes, from where, and what it leaves as it was; kills and object stores have their own file."""

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from filelock import FileLock
from forgetting import GONE, NAME, needles, traces, without
from torture.content import content

import featurestore
from featurestore import FeatureStore
from featurestore.errors import InputError, IntegrityError, StoreError, StoreLocked
from featurestore.forgetting.images import WantedImages
from featurestore.forgetting.rows import ids_in, naming_columns, rest_of, rows_of_images

pytestmark = pytest.mark.shell_file


def test_nothing_of_the_image_is_left_in_any_byte_and_all_else_is_as_it_was(filled: FeatureStore) -> None:
    wanted, before = needles(filled), without(content(filled.path))
    kept = {name: without(content(filled.path, featurestore.open(filled.path, snapshot=name).state)) for name in SAVED}
    assert len({place.partition(":")[0].partition("/")[0] for place in traces(filled.path, wanted)}) >= 7
    report = filled.forget(GONE)
    assert traces(filled.path, wanted) == []
    assert filled.verify().damaged == {}
    assert without(content(filled.path)) == before
    assert {
        name: without(content(filled.path, featurestore.open(filled.path, snapshot=name).state)) for name in SAVED
    } == kept
    assert report.ids == [GONE]
    assert report.rows == {
        "bench_across": 1,
        "bench_predictions": 1,
        "corrections": 1,
        "embeddings_counting": 1,
        "images": 1,
        "metadata": 2,
        "named": 1,
        "notes": 2,
    }
    assert report.snapshots == {"after": 10, "before": 4}
    assert report.caches == 2
    assert report.mentions == [
        f"the SQL of your view 'mine'{place} may name a forgotten image: look at it"
        for place in ("", " of the snapshot after")
    ]


SAVED = ("before", "after")


def test_its_number_stays_taken_and_its_place_in_a_list_is_null(filled: FeatureStore) -> None:
    filled.forget([GONE, 11])
    rows = filled.sql("SELECT * FROM images WHERE status = 'forgotten' ORDER BY ImgId").to_pylist()
    assert [(row["ImgId"], row["ImgName"], row["content_hash"], row["file"]) for row in rows] == [
        (number, f"forgotten image {number}", "", "") for number in (GONE, 11)
    ]
    across = filled.sql("SELECT ids, domain FROM bench_across").to_pylist()
    assert across == [{"ids": [0, 1, 2, None, *range(4, 11), None], "domain": [0, 1] * 6}]
    assert filled.sql("FROM problems WHERE name LIKE 'forgotten%'").num_rows == 0
    assert (filled.info()["images"], filled.lineage(GONE)["image"]["status"]) == (10, "forgotten")
    assert filled.forget(GONE).rows == {}, "again: there is nothing left of it"


def test_an_unknown_image_is_one_sentence_and_nothing_is_done(filled: FeatureStore) -> None:
    files = {path: path.stat().st_mtime_ns for path in filled.path.rglob("*.*")}
    with pytest.raises(InputError, match=r"has nothing of ImgId 12, 77: nothing was forgotten; see `featurestore sql"):
        filled.forget([GONE, 12, 77])
    for wrong in ([], [-1], [0.5], ["3"]):
        with pytest.raises(InputError):
            filled.forget(wrong)
    assert filled.forget(GONE, dry_run=True).rows["images"] == 1
    assert {path: path.stat().st_mtime_ns for path in filled.path.rglob("*.*")} == files


@pytest.mark.parametrize("table", ["images", "metadata", "notes", "embeddings", "manifests", "snapshots"])
def test_a_damaged_file_is_refused_before_anything_is_changed(filled: FeatureStore, table: str) -> None:
    for path in (filled.path / table).rglob("*.*"):
        path.write_bytes(path.read_bytes()[:-9] + b"\0" * 9)
    files = {path: path.stat().st_mtime_ns for path in filled.path.rglob("*.*")}
    with pytest.raises(IntegrityError, match=r"damaged|can't be trusted"):
        filled.forget(GONE)
    assert {path: path.stat().st_mtime_ns for path in filled.path.rglob("*.*")} == files


def test_whoever_computes_for_the_store_must_end_first(filled: FeatureStore) -> None:
    (filled.path / ".bench-pending").mkdir()
    for lock, what in (
        (".bench-pending/1.lock", "a bench waits to store its results"),
        ("staging/third-0123456789abcdef-1/.lock", "vectors are being computed by another process"),
    ):
        with FileLock(filled.path / lock), pytest.raises(StoreLocked, match=f"{what}.*nothing was forgotten"):
            filled.forget(GONE)
    filled.forget(GONE)
    assert [path.name for path in filled.path.glob("staging/*/part-*")], "that of other images is kept"


def test_a_reader_of_an_earlier_state_is_told(filled: FeatureStore) -> None:
    now, saved = featurestore.open(filled.path), featurestore.open(filled.path, snapshot="before")
    assert (now.is_outdated(), saved.is_outdated()) == (False, False)
    _ = now.layout, saved.layout
    filled.forget(GONE)
    for reader in (now, saved):
        assert reader.is_outdated()
        with pytest.raises(StoreError, match=r"there is a newer state: call `refresh\(\)`"):
            reader.features("counting", view="images_usable")
        assert len(reader.refresh().features("counting", view="images_usable")) == 11


def test_rows_that_name_it_in_words_are_told_and_kept(filled: FeatureStore) -> None:
    filled.append({"words": pa.table({"text": [f"as {NAME}, but darker", "cat/cat-33.jpg", "none"]})})
    (filled.path / "state.json.damaged").write_text(json.dumps({"views": {"x": f"SELECT '{NAME}'"}}))
    nested = pa.table({"pairs": [[{"ImgId": 1, "other": 2}], [{"ImgId": GONE, "other": 2}]]})
    filled.append({"nested": nested})
    first, second, third = (one for one in filled.forget(GONE).mentions if "view" not in one)
    assert first == (
        "the column 'text' of the table 'words' names a forgotten image in 1 row that may be of something else: "
        "they are kept"
    )
    assert "'pairs' of the table 'nested'" in second
    assert third.startswith("state.json.damaged, which `repair` has kept")
    assert filled.sql("SELECT count(*) AS n FROM words")["n"][0].as_py() == 3


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1, 3, 2**64 - 1], pa.uint64()),
        pa.array([1.5, 3, None]),
        pa.array(["1", "3", "x"]),
        pa.array(["1", "3", None]).dictionary_encode(),
        pa.array([b"1", b"3", b"x"]),
        pa.array([Decimal(1), Decimal(3), None], pa.decimal128(9, 2)),
    ],
    ids=str,
)
def test_a_column_of_ids_may_be_of_any_type(ids: pa.Array) -> None:
    rows = pa.table({"imgID": ids, "x": [0, 1, 2]})
    wanted = WantedImages(pa.array([3]), *(frozenset[Any](),) * 3, (), (), pa.array([], pa.string()), (), frozenset())
    columns = naming_columns("mine", rows.schema, None)
    assert rows_of_images("mine", rows, columns, wanted).tolist() == [False, True, False]
    assert ids_in(rows, columns, wanted) == {3}
    assert rest_of("mine", rows, columns, wanted, keep_numbers=True)["x"].to_pylist() == [0, 2]


def test_every_image_can_be_forgotten_and_rows_that_were_added_twice(embedded: FeatureStore) -> None:
    for _ in range(2):
        embedded.append({"twice": pa.table({"ImgId": [str(number) for number in range(101, 125)]})})
    assert embedded.forget(101).rows["twice"] == 2
    report = embedded.forget(range(102, 125))
    assert (report.rows["images"], embedded.info()["images"], embedded.verify().damaged) == (23, 0, {})
    assert embedded.backbones()[0].rows == 0
    assert embedded.sql("SELECT count(*) AS n FROM twice")["n"][0].as_py() == 0
