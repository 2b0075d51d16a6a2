"""Images in Parquet files: which column, their names, labels and bytes; damaged and hostile files."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_containers import contents, damage, declared, opened, picture, structs, use

from featurestore.collections.containers import (
    is_container_name,
    open_container,
    split_of,
)
from featurestore.collections.containers import parquet as parquet_kind
from featurestore.errors import ImageError, InputError


def parquet(path: Path, columns: dict[str, object], features: object = None, **options: object) -> Path:
    pq.write_table(declared(columns, features), path, **options)
    return path


def test_a_dataset_that_was_written_by_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    classes = datasets.ClassLabel(names=["cat", "dog"])
    features = {"image": datasets.Image(), "label": classes, "tags": datasets.Sequence(classes), "text": None}
    features["text"] = datasets.Value("string")
    data = datasets.Dataset.from_dict(
        {
            "image": [{"bytes": picture(i), "path": None} for i in range(5)],
            "label": [0, 1, -1, None, 1],
            "tags": [[0, 1], [], None, [1], [0]],
            "text": list("abcde"),
        },
        features=datasets.Features(features),
    )
    path = tmp_path / "train-00000-of-00001.parquet"
    data.to_parquet(path)
    container = opened(path)
    rows = container.rows()
    assert contents(container) == [picture(i) for i in range(5)]
    assert rows.name[:2] == ["train-00000-of-00001/000000.jpg", "train-00000-of-00001/000001.jpg"]
    assert rows.columns.to_pydict() == {
        "label": ["cat", "dog", None, None, "dog"],
        "tags": [["cat", "dog"], [], None, ["dog"], ["cat"]],
        "text": list("abcde"),
    }
    assert rows.notes == ()


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.binary())])
def test_a_column_of_bytes_is_found_by_its_name_or_its_content(tmp_path: Path, kind: pa.DataType) -> None:
    images = pa.array([None, picture(1), picture(2, "PNG")], kind.value_type if pa.types.is_dictionary(kind) else kind)
    if pa.types.is_dictionary(kind):
        images = images.dictionary_encode()
    other = pa.array([b"x", b"y", b"z"])
    container = opened(parquet(tmp_path / "a.parquet", {"other": other, "mine": images, "n": [1, 2, 3]}))
    assert contents(container) == ["the row holds no image", picture(1), picture(2, "PNG")]
    rows = container.rows()
    assert rows.name == ["a/000000", "a/000001.jpg", "a/000002.png"]
    assert rows.columns.to_pydict() == {"n": [1, 2, 3]}
    assert rows.notes == ("columns left out, since they hold bytes or are too large: 'other'",)
    container = opened(parquet(tmp_path / "b.parquet", {"mine": images, "jpg": images}))
    assert "the column 'jpg'; not used: 'mine'" in container.rows().notes[0]


def test_tables_without_images_are_no_containers(tmp_path: Path) -> None:
    assert open_container(parquet(tmp_path / "a.parquet", {"image": ["1.jpg"], "label": [1]})) is None
    assert open_container(parquet(tmp_path / "b.parquet", {"image": [b"%PDF-1.4"]})) is None
    assert open_container(parquet(tmp_path / "c.parquet", {"image": pa.array([], pa.binary())})) is None
    (tmp_path / "notes.txt").write_text("no container")
    assert open_container(tmp_path / "notes.txt") is None
    assert is_container_name("A.PARQUET")
    assert not is_container_name("a.csv")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["cat/1.jpg", "dog/1.jpg", None], ["cat/1.jpg", "dog/1.jpg", "s/000002.jpg"]),
        (["/data/1.jpg", "C:\\data\\2.jpg", "../../3.jpg"], ["data/1.jpg", "data/2.jpg", "3.jpg"]),
        (["1.jpg", "1.jpg", "2.jpg"], ["s/000000.jpg", "s/000001.jpg", "s/000002.jpg"]),
        (["e\u0301.jpg", "b\0.jpg", "s/000002.jpg"], ["é.jpg", "b\\x00.jpg", "s/000002.jpg"]),
        (["s/000001.jpg", None, None], ["s/000000.jpg", "s/000001.jpg", "s/000002.jpg"]),
    ],
)
def test_names_are_the_paths_where_they_differ(tmp_path: Path, paths: list[str | None], names: list[str]) -> None:
    images = structs([picture(i) for i in range(3)], paths)
    assert opened(parquet(tmp_path / "s.parquet", {"image": images})).rows().name == names


def test_names_come_from_a_column_of_file_names(tmp_path: Path) -> None:
    images = [picture(0), picture(1)]
    path = parquet(tmp_path / "s.parquet", {"path": ["x", "x"], "file_name": ["a/1.jpg", "2.jpg"], "image": images})
    assert opened(path).rows().name == ["a/1.jpg", "2.jpg"]


def test_a_row_without_bytes_reads_a_file_below_its_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "1.jpg").write_bytes(picture(1))
    (tmp_path / "secret.jpg").write_bytes(picture(2))
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    paths = [
        "images/1.jpg",
        "../secret.jpg",
        str(tmp_path / "secret.jpg"),
        "link.jpg",
        "gone.jpg",
        "a\0b",
        "images",
        None,
    ]
    features = {"image": {"_type": "Image"}}
    found = contents(opened(parquet(folder / "s.parquet", {"image": structs([None] * 8, paths)}, features)))
    assert found[0] == picture(1)
    assert all("is not below the folder of its table" in str(text) for text in found[1:4])
    assert all("can't be read" in str(text) for text in found[4:7])
    assert found[7] == "the row holds no image"


def test_large_row_groups_are_read_in_parts_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_kind, "HELD_BYTES", 20_000)
    images = [picture(i) + bytes(2_000) for i in range(60)]
    images[7:9] = [images[6]] * 2  # one word of the dictionary
    path = parquet(tmp_path / "s.parquet", {"image": images}, row_group_size=25)
    container = opened(path)
    assert contents(container) == images
    order = list(range(60)) * 2
    random.Random(0).shuffle(order)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(container.read, map(str, order))) == [images[i] for i in order]
    held = container._held.values()  # type: ignore[attr-defined]
    assert len(held) <= parquet_kind.HELD_GROUPS
    assert all(sum(column.nbytes for _, column in one._pieces) <= 25_000 for one in held)


def test_a_word_that_stands_in_every_row_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_kind, "HELD_BYTES", 1 << 20)
    monkeypatch.setattr(parquet_kind, "COLUMN_BYTES", 1 << 17)
    path = parquet(tmp_path / "s.parquet", {"image": [picture(1) + bytes(100_000)] * 200, "text": ["a"] * 200})
    before = pa.total_allocated_bytes()
    assert all(len(content) > 100_000 for _, content in opened(path).read_all())  # type: ignore[arg-type]
    assert pa.total_allocated_bytes() - before < 1 << 22
    columns = {"n": [1] * 20, "text": ["a" * 20_000] * 20, "image": [picture(1)] * 20, "m": [2] * 20}
    rows = opened(parquet(tmp_path / "t.parquet", columns)).rows()
    assert rows.columns.column_names == ["n", "m"]
    assert rows.notes == ("columns left out, since they hold bytes or are too large: 'text'",)


def test_class_names_that_say_nothing_leave_the_codes(tmp_path: Path) -> None:
    images = [picture(0), picture(1)]
    for names in (None, [], ["a", 1], "ab"):
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
        path = parquet(tmp_path / "s.parquet", {"image": images, "label": [0, 1]}, features)
        assert opened(path).rows().columns.to_pydict() == {"label": [0, 1]}
    odd = {"_type": "ClassLabel", "names": ["a\ud800", "b\0"]}
    path = parquet(tmp_path / "s.parquet", {"image": images, "label": pa.array([7, 1], pa.uint64())}, {"label": odd})
    assert opened(path).rows().columns.to_pydict() == {"label": [None, "b\\x00"]}
    for text in (b"[" * 100_000, b"{", b'{"info": 3}', b"\xff"):
        table = pa.table({"image": images}).replace_schema_metadata({b"huggingface": text})
        pq.write_table(table, path)
        assert contents(opened(path)) == images


def test_text_that_is_not_utf8_is_left_out(tmp_path: Path) -> None:
    text = pa.array([b"\xff\xfe", b"b"]).view(pa.string())
    rows = opened(
        parquet(tmp_path / "s.parquet", {"image": [picture(0), picture(1)], "text": text, "n": [1, 2]})
    ).rows()
    assert rows.columns.column_names == ["n"]
    assert "the column 'text' is left out, since it is damaged" in rows.notes[0]


def test_two_columns_of_one_name_are_left_out(tmp_path: Path) -> None:
    table = pa.table([[picture(0)], [1], [2], [3]], names=["image", "a", "a", "b"])
    pq.write_table(table, tmp_path / "s.parquet")
    rows = opened(tmp_path / "s.parquet").rows()
    assert rows.columns.to_pydict() == {"b": [3]}
    assert "'a'" in rows.notes[0]


def test_one_damaged_row_group_costs_its_own_rows_only(tmp_path: Path) -> None:
    images = [picture(i) for i in range(30)]
    path = parquet(
        tmp_path / "s.parquet", {"image": images}, row_group_size=10, compression="none", use_dictionary=False
    )
    container = opened(path)
    content = path.read_bytes()
    place = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    path.write_bytes(content[:place] + b"\xff" * 40 + content[place + 40 :])
    found = list(container.read_all())
    assert [member for member, _ in found] == [str(i) for i in range(30)]
    assert all("row group 1 of the Parquet file is damaged" in str(found[i][1]) for i in range(10, 20))
    assert [found[i][1] for i in (0, 9, 20, 29)] == [images[i] for i in (0, 9, 20, 29)]
    assert container.rows().name[9:11] == ["s/000009.jpg", "s/000010"]


@pytest.mark.parametrize("member", ["-1", "3", "x", "", "1.0", "٣", "9" * 400])
def test_a_member_that_is_not_there_is_refused(tmp_path: Path, member: str) -> None:
    with pytest.raises(ImageError, match="expected one below 3"):
        opened(parquet(tmp_path / "s.parquet", {"image": [picture(i) for i in range(3)]})).read(member)


def test_damaged_parquet_ends_in_a_sentence(tmp_path: Path) -> None:
    columns = {"image": structs([picture(i) for i in range(12)], [f"{i}.jpg" for i in range(12)]), "label": [0, 1] * 6}
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    path = parquet(tmp_path / "s.parquet", {**columns, "text": ["t"] * 12}, features, row_group_size=5)
    content = path.read_bytes()
    for seed in range(80):
        path.write_bytes(damage(content, seed))
        use(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="damaged, or misnamed"):
        open_container(path)


def test_reading_leaves_no_file_open_and_no_thread(tmp_path: Path) -> None:
    threads = threading.active_count()
    container = opened(parquet(tmp_path / "s.parquet", {"image": [picture(i) for i in range(9)]}, row_group_size=2))
    for member in "0", "8", "3":
        container.read(member)
    next(iter(container.read_all()))
    del container
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("test-00000-of-00001-abc.parquet", "test"),
        ("validation_0.tar", "validation"),
        ("VAL.parquet", "validation"),
        ("dev", "validation"),
        ("trainer.parquet", None),
        ("0000.parquet", None),
    ],
)
def test_the_split_that_a_name_says(name: str, split: str | None) -> None:
    assert split_of(name) == split
