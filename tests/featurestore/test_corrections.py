"""Corrections of labels: shown by every view, told by lineage, undone, exported, kept by later ingests."""

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Collection, jpeg, movie, write_metadata

import featurestore
from featurestore import FeatureStore
from featurestore.commands.texts import lineage_text, summary_text
from featurestore.errors import InputError, IntegrityError, QueryError, StoreLocked
from featurestore.storage.lock import locked

Invoke = Callable[..., tuple[int, str, str]]


def genres(store: FeatureStore, view: str = "collection") -> dict[int, str]:
    rows = store.sql(f"SELECT ImgId, Genre1 FROM {view} ORDER BY ImgId")
    return dict(zip(rows["ImgId"].to_pylist(), rows["Genre1"].to_pylist(), strict=True))


def write_tags(path: Path, **columns: Sequence[object]) -> Path:
    """A table of six images with a list of tags each, none for the last, and ``columns``."""
    tags = [["even", f"n{number % 3}"] if number % 2 == 0 else ["odd"] for number in range(5)] + [None]
    pq.write_table(pa.table({"name": [f"i{number}.jpg" for number in range(6)], "tags": tags, **columns}), path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 posters with metadata, and a store of them."""
    folder = tmp_path_factory.mktemp("made")
    collection = Collection(folder, 24)
    FeatureStore(folder / "store").ingest(metadata=collection.metadata, images=collection.images)
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> FeatureStore:
    return FeatureStore(shutil.copytree(made / "store", tmp_path / "store"))


@pytest.fixture(scope="module")
def tagged_once(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Images with tags, a count, a day and a score each."""
    tmp_path = tmp_path_factory.mktemp("tagged")
    images = tmp_path / "images"
    images.mkdir()
    for number in range(6):
        (images / f"i{number}.jpg").write_bytes(jpeg(number))
    days = [date(2026, 1, 1 + number) for number in range(6)]
    score = [number + 0.5 for number in range(6)]
    table = write_tags(tmp_path / "tags.parquet", count=range(6), day=days, score=score)
    store = FeatureStore(tmp_path / "tagged")
    store.ingest(images=images, metadata=table, label="tags")
    return store


@pytest.fixture
def tagged(tagged_once: FeatureStore, tmp_path: Path) -> FeatureStore:
    return FeatureStore(shutil.copytree(tagged_once.path, tmp_path / "tagged"))


def values(store: FeatureStore, column: str) -> list[object]:
    return list(store.sql(f'SELECT "{column}" FROM collection ORDER BY ImgId')[column].to_pylist())


def test_a_correction_is_shown_by_every_view_and_undone(store: FeatureStore) -> None:
    before, rows = genres(store), store.sql("FROM collection")
    assert before[101] == "Drama"
    store.create_view("dramas", "SELECT ImgId, Genre1 FROM collection WHERE Genre1 = 'Drama'")
    report = store.correct_labels([101, 107], "Crime")
    assert (report.column, report.changed, report.unchanged, report.note) == ("Genre1", 2, 0, "")
    assert genres(store) == {**before, 101: "Crime", 107: "Crime"}
    assert genres(store, "labeled")[101] == "Crime"
    assert 101 not in genres(store, "dramas")
    assert store.sql("SELECT Genres FROM multilabel WHERE ImgId = 101")["Genres"].to_pylist() == [["Crime"]]
    assert store.sql("SELECT Genre1, count FROM genre_counts WHERE Genre1 = 'Crime'")["count"].to_pylist() == [6]
    assert store.sql("FROM collection").schema == rows.schema
    assert (store.info()["labels"]["Crime"], store.info()["corrections"]) == (6, 2)
    assert "corrected   2  (featurestore label list)" in summary_text(store.info())
    assert store.correct_labels(101, "Crime").unchanged == 1
    assert store.correct_labels(101, "Drama").changed == 1, "what was read ends the correction"
    assert store.uncorrect_labels([101, 107]).changed == 1
    assert store.sql("FROM collection").equals(rows)
    assert len(store.corrections()) == 0
    assert [row["undone"] is None for row in store.corrections(undone=True).to_pylist()] == [False, False]
    assert not [name for name in store.database.views if name.startswith("_")]


def test_the_newest_correction_counts_and_lineage_tells_all(store: FeatureStore) -> None:
    store.correct_labels(101, "Crime")
    store.correct_labels(101, "Comedy")
    store.correct_labels(101, "Another title", column="title")
    (genre, title) = store.corrections().to_pylist()
    assert (genre["from"], genre["to"], genre["as_read"], genre["ImgName"]) == ("Drama", "Comedy", "Drama", "101.jpg")
    assert (title["column"], title["from"]) == ("Title", "Film 101 (1999)")
    record = store.lineage(101)
    assert [(row["to"], row["undone"] is None) for row in record["corrections"]] == [
        ("Crime", False),
        ("Comedy", True),
        ("Another title", True),
    ]
    assert json.loads(json.dumps(record)) == record
    assert "label       Genre1: 'Drama' corrected to 'Crime' at 20" in lineage_text(record)
    assert store.lineage(102)["corrections"] == []


def test_values_of_all_types_of_columns(tagged: FeatureStore) -> None:
    assert values(tagged, "tags")[0] == ["even", "n0"]
    tagged.correct_labels(0, ['a "quoted", one', "é\n", "odd"])
    tagged.correct_labels(5, "odd")
    assert values(tagged, "tags")[0] == ['a "quoted", one', "é", "odd"], "blanks around a value are no part of it"
    assert values(tagged, "tags")[5] == ["odd"]
    assert 5 in tagged.sql("SELECT ImgId FROM labeled")["ImgId"].to_pylist(), "an image gets its first label"
    (first, second) = tagged.corrections().to_pylist()
    assert (first["from"], second["from"], second["to"]) == ('["even","n0"]', None, '["odd"]')
    for column, to, expected in (("count", "07", 7), ("score", "2.50", 2.5)):
        tagged.correct_labels(1, to, column=column)
        assert values(tagged, column)[1] == expected
    tagged.correct_labels(1, "2026-02-03", column="day")
    assert values(tagged, "day")[1] == date(2026, 2, 3)
    assert tagged.correct_labels(1, "7.0", column="score").changed == 1
    assert tagged.correct_labels(1, "7", column="score").unchanged == 1


@pytest.mark.parametrize(
    ("ids", "to", "column", "message"),
    [
        ([], "x", None, "got no ImgId"),
        (["a"], "x", None, "among the ids, expected a sequence of ImgIds"),
        ([0, 77, 78], "x", None, "`collection` has no image with ImgId 77, 78: nothing was changed"),
        ([0], "  ", None, "got '  ' as the corrected value, expected text that is not empty"),
        ([0], "x\0", None, "expected text without control characters"),
        ([0], ["a\nb"], "tags", "expected text without control characters"),
        ([0], [], None, r"got \[\] as the corrected value"),
        ([0], "x" * 1001, None, "corrected value of 1,001 characters, expected 1,000 at most"),
        ([0], "x", "tag", r"no column 'tag' \(did you mean 'tags'\?\): name one with --column"),
        (
            [0],
            "x",
            "ImgName",
            "the column 'ImgName' can't be corrected, which is possible in: name, tags, count, day, score",
        ),
        ([0], "many", "count", "got 'many' for the column 'count', expected BIGINT as it holds"),
        ([0], "nan", "score", "got 'nan' for the column 'score', expected DOUBLE"),
        ([0], ["1", "2"], "count", "got 2 values for 'count', which has one an image: name one"),
    ],
)
def test_what_can_not_be_a_correction_is_one_sentence(
    tagged_once: FeatureStore, ids: Sequence[int], to: str, column: str | None, message: str
) -> None:
    tagged = tagged_once
    state = tagged.state
    with pytest.raises(InputError, match=message):
        tagged.correct_labels(ids, to, column=column)
    if not (isinstance(to, list) or len(to) > 4 or to in ("  ", "x\0", "many", "nan")):
        with pytest.raises(InputError, match=message):
            tagged.uncorrect_labels(ids, column=column)
    assert tagged.state == state


def test_a_new_value_is_told_apart_from_a_typing_error(store: FeatureStore) -> None:
    assert store.correct_labels(101, "Dramma").note == "no image had the Genre1 'Dramma' before (did you mean 'Drama'?)"
    assert store.correct_labels(102, "Dramma").note == ""
    assert store.correct_labels(101, "A title", column="Title").note == "", "each title is another anyway"


def test_a_later_ingest_keeps_corrections_and_says_what_it_read(made: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(made, tmp_path / "made")
    store, ids = FeatureStore(copy / "store"), range(101, 125)
    store.correct_labels([101, 102, 103], "Western")
    metadata = write_metadata(
        copy / "new.csv", [movie(img_id, "Horror" if img_id == 101 else "Drama") for img_id in ids]
    )
    (copy / "posters" / "103.jpg").unlink()
    report = store.ingest(metadata=metadata, images=copy / "posters")
    (note,) = (note for note in report.notes if "corrected" in note)
    assert note.startswith("2 corrected values were read as another than before and stay as corrected")
    assert note.endswith("(ImgId 101, Genre1: 'Drama' before, 'Horror' now, 'Western' shown)")
    assert (genres(store)[101], genres(store)[104]) == ("Western", "Drama")
    assert [row["as_read"] for row in store.corrections().to_pylist()] == ["Horror", "Drama", None]
    assert store.uncorrect_labels([101, 103]).changed == 2, "also of an image that is gone"
    assert genres(store)[101] == "Horror"


def test_a_column_that_is_gone_or_of_another_type_breaks_no_view(tagged: FeatureStore, tmp_path: Path) -> None:
    tagged.correct_labels(0, "7", column="count")
    tagged.correct_labels(1, "9.5", column="score")
    table = write_tags(tmp_path / "tags.parquet", count=[["a"]] * 6)
    report = tagged.ingest(metadata=table, label="tags")
    assert "the collection has no column 'score' any more: its corrections are kept and have no effect" in report.notes
    assert values(tagged, "count")[0] == ["a"], "7 is no list"
    assert tagged.uncorrect_labels(1, column="score").changed == 1
    tagged.append({"other": pa.table({"x": [1]})})
    assert tagged.verify().damaged == {}


@pytest.mark.shell_file
def test_snapshots_other_states_and_the_shell_see_their_corrections(store: FeatureStore, tmp_path: Path) -> None:
    store.create_snapshot("before")
    store.correct_labels(101, "Crime")
    store.create_snapshot("after")
    store.uncorrect_labels(101)
    with featurestore.open(store.path, snapshot="after") as after:
        assert (genres(after)[101], genres(store)[101]) == ("Crime", "Drama")
        assert len(after.corrections()) == 1
    assert store.diff_snapshots("before", "after")["corrections"].added == 1
    assert store.diff_snapshots("after")["corrections"].removed == 1
    assert "corrections" not in store.diff_snapshots("before")
    store.correct_labels(101, "Crime")
    with duckdb.connect(str(store.path / "store.duckdb"), read_only=True) as shell:
        shell.execute(f"SET file_search_path = '{store.path}'")
        assert shell.execute("SELECT Genre1 FROM labeled WHERE ImgId = 101").fetchall() == [("Crime",)]
    away = FeatureStore(f"file://{shutil.copytree(store.path, tmp_path / 'copy')}")
    assert genres(away)[101] == "Crime"
    store.compact()
    store.gc(older_than="0")
    assert genres(store)[101] == "Crime"


def test_a_damaged_table_of_corrections_is_no_uncorrected_label(store: FeatureStore) -> None:
    store.correct_labels(101, "Crime")
    (part,) = store.layout.parts("corrections")
    content = bytearray((store.path / part.path).read_bytes())
    content[20] ^= 1
    (store.path / part.path).write_bytes(content)
    with pytest.raises((QueryError, IntegrityError), match="a part of corrections is damaged"):
        genres(store.refresh())
    assert len(store.sql("FROM images")) == 24


def test_what_is_corrected_in_a_view(store: FeatureStore) -> None:
    assert store.corrected("labeled", "Genre1") == []
    store.correct_labels([101, 103], "Comedy")
    store.correct_labels(102, "Another", column="Title")
    store.create_view("upper_case", "SELECT ImgId, upper(Genre1) AS kind FROM collection")
    assert store.corrected("labeled", "Genre1") == [101, 103]
    assert store.corrected("multilabel", "Genres") == [101, 103]
    assert store.corrected("upper_case", "kind") == [101, 103]
    assert store.corrected("labeled", "IMDBScore") == []
    with pytest.raises(QueryError):
        store.corrected("labeled", "nothing")


def test_a_writer_is_waited_for(store: FeatureStore) -> None:
    with locked(store.path, wait_seconds=0, purpose="another"), pytest.raises(StoreLocked, match="another"):
        store.correct_labels(101, "Crime")
    assert genres(store)[101] == "Drama"


def test_the_commands(store: FeatureStore, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEATURESTORE_STORE", str(store.path))
    assert invoke("label", "list")[1] == "no label is corrected: featurestore label correct IMG_ID --to VALUE\n"
    assert invoke("label", "correct", "101", "104", "--to", "Crimea")[1].splitlines() == [
        "Genre1 of 2 images corrected",
        "note: no image had the Genre1 'Crimea' before (did you mean 'Crime'?)",
    ]
    code, out, _ = invoke("label", "correct", "101", "102", "103", "--to", "Crime", "--json")
    assert (code, json.loads(out)) == (0, {"column": "Genre1", "changed": 2, "unchanged": 1, "note": ""})
    assert invoke("label", "undo", "101", "105")[1] == (
        "Genre1 of 1 image is again as it was read, 1 had no correction\n"
    )
    code, out, _ = invoke("label", "list", "--json")
    assert [row["ImgId"] for row in json.loads(out)] == [104, 102]
    assert "102 102.jpg  Genre1: 'Comedy' corrected to 'Crime' at 20" in invoke("label", "list")[1]
    assert ", ended at 20" in invoke("label", "list", "--all")[1]
    target = tmp_path / "corrections.csv"
    assert invoke("label", "export", str(target), "--all")[1] == f"{target}: 4 corrections\n"
    rows = list(csv.DictReader(target.read_text().splitlines()))
    assert [(row["ImgId"], row["to"], bool(row["undone"])) for row in rows] == [
        ("101", "Crimea", True),
        ("104", "Crimea", False),
        ("101", "Crime", True),
        ("102", "Crime", False),
    ]
    code, _, err = invoke("label", "export", str(tmp_path / "none" / "x.csv"))
    assert (code, err.count("\n")) == (1, 1)
    code, _, err = invoke("label", "correct", "999", "--to", "Crime")
    assert (code, err.startswith("featurestore: the view `collection` has no image with ImgId 999")) == (1, True)
