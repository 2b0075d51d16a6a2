"""Images in Parquet, tar and Arrow files: their names, labels and bytes; damaged and hostile files."""

import io
import json
import random
import re
import tarfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from featurestore.collections.containers import (
    Container,
    datasets_files,
    is_container_name,
    is_datasets_folder,
    open_container,
    sidecars,
    split_of,
)
from featurestore.collections.containers import datasets_folder as arrow_kind
from featurestore.collections.containers import parquet as parquet_kind
from featurestore.collections.containers import tar as tar_kind
from featurestore.errors import FeatureStoreError, ImageError, InputError


def picture(number: int, form: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(buffer, form)
    return buffer.getvalue()


def opened(path: Path) -> Container:
    container = open_container(path)
    assert container is not None
    return container


def declared(columns: dict[str, object], features: object) -> pa.Table:
    table = pa.table(columns)
    if features is None:
        return table
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def parquet(path: Path, columns: dict[str, object], features: object = None, **options: object) -> Path:
    pq.write_table(declared(columns, features), path, **options)
    return path


def structs(contents: Iterable[bytes | None], paths: Iterable[str | None]) -> pa.Array:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": c, "path": p} for c, p in zip(contents, paths, strict=True)], kind)


def contents(container: Container) -> list[bytes | str]:
    """What `read_all` yields, checked against `rows` and `read`; the text of an error in place of bytes."""
    found = list(container.read_all())
    rows = container.rows()
    assert [member for member, _ in found] == rows.member
    assert len(rows.name) == len(set(rows.name)) == rows.columns.num_rows == len(found)
    for member, content in found:
        if isinstance(content, ImageError):
            with pytest.raises(ImageError, match=re.escape(str(content))):
                container.read(member)
        else:
            assert container.read(member) == content
    return [str(content) if isinstance(content, ImageError) else content for _, content in found]


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


def use(path: Path) -> None:
    """Read everything in a file that may be damaged: one sentence is the worst that may happen."""
    try:
        container = open_container(path)
        if container is not None:
            rows = container.rows()
            assert len(rows.member) == len(rows.name) == rows.columns.num_rows
            for _ in container.read_all():
                pass
            for member in rows.member[:3]:
                container.read(member)
    except FeatureStoreError:
        pass


def damage(content: bytes, seed: int) -> bytes:
    chance = random.Random(seed)
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 4, 30))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randrange(len(changed))] if seed % 4 == 0 else changed)


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


def tar(path: Path, members: Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_webdataset_shard(tmp_path: Path) -> None:
    members = [
        ("a/000.jpg", picture(0)),
        ("a/000.cls", b"3\n"),
        ("a/000.json", b'{"w": 8, "tags": ["x"], "box": {"x": 1}, "who": "a\\ud800", "mixed": 1}'),
        ("a/000.txt", "été\n".encode()),
        ("a/001.png", picture(1, "PNG")),
        ("a/001.json", b'{"w": 2.5, "mixed": "b", "big": 36893488147419103232}'),
        ("a/002.left.JPG", picture(2)),
        ("a/002.right.JPG", picture(3)),
        ("a/002.cls", b"-1"),
        ("a/002.json", b"[1]"),
        ("a/003.npy", b"x"),
        ("a/._000.jpg", b"x"),
    ]
    container = opened(tar(tmp_path / "s.tar", members))
    assert contents(container) == [picture(0), picture(1, "PNG"), picture(2), picture(3)]
    rows = container.rows()
    assert rows.member == rows.name == ["a/000.jpg", "a/001.png", "a/002.left.JPG", "a/002.right.JPG"]
    assert rows.columns.to_pydict() == {
        "w": [8.0, 2.5, None, None],
        "tags": [["x"], None, None, None],
        "box": ['{"x": 1}', None, None, None],
        "who": ["a\\ud800", None, None, None],
        "mixed": ["1", "b", None, None],
        "txt": ["été", None, None, None],
        "cls": [3, None, -1, -1],
        "big": [None, "36893488147419103232", None, None],
    }
    assert rows.notes == (
        "members of the tar that are left out: 2 other files",
        "2 files beside the images are not used: not a JSON object, or too large",
    )


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_plain_tar_of_class_folders(tmp_path: Path, form: int) -> None:
    names = ["x/cat/1.jpg", f"x/{'long' * 30}/1.jpg", "x/dog/été.jpg"]
    container = opened(tar(tmp_path / "s.tar", [(name, picture(i)) for i, name in enumerate(names)], form))
    assert contents(container) == [picture(0), picture(1), picture(2)]
    rows = container.rows()
    assert (rows.name, rows.columns.num_columns, rows.notes) == (names, 0, ())


def test_classes_that_are_not_all_numbers_stay_text(tmp_path: Path) -> None:
    for classes in ([b"cat", b"1"], [b"007", b"1"], [b"9" * 30, b"1"]):
        members = [(f"{i}.{end}", c) for i, one in enumerate(classes) for end, c in (("jpg", picture(i)), ("cls", one))]
        rows = opened(tar(tmp_path / "s.tar", members)).rows()
        assert rows.columns.to_pydict() == {"cls": [one.decode() for one in classes]}


def test_equal_names_stay_apart_with_their_own_labels(tmp_path: Path) -> None:
    members = [("0.jpg", picture(0)), ("0.cls", b"0"), ("0.jpg", picture(1)), ("0.cls", b"1"), ("/0.jpg", picture(2))]
    container = opened(tar(tmp_path / "s.tar", members))
    assert contents(container) == [picture(0), picture(1), picture(2)]
    rows = container.rows()
    assert rows.name == ["0.jpg", "0~2.jpg", "0~3.jpg"]
    assert rows.columns["cls"].to_pylist()[:2] == [0, 1]
    assert rows.notes == ("2 images have the name of an earlier one: they are named NAME~2 and so on",)


def test_hostile_members_of_a_tar_are_names_only(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for number, name in enumerate(
            ["../../1.jpg", "/etc/2.jpg", "a/../3.jpg", "b\udcff.jpg", "C:\\4.jpg", "..\\5.jpg"]
        ):
            info = tarfile.TarInfo(name)
            info.size = len(picture(number))
            archive.addfile(info, io.BytesIO(picture(number)))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("link.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    container = opened(tmp_path / "s.tar")
    assert contents(container) == [picture(i) for i in range(6)]
    rows = container.rows()
    assert rows.name == ["1.jpg", "etc/2.jpg", "a/3.jpg", "b/udcff.jpg".replace("/", "\\"), "4.jpg", "5.jpg"]
    assert rows.notes == ("members of the tar that are left out: 4 links, devices or sparse files",)


def test_a_truncated_tar_gives_the_images_before(tmp_path: Path) -> None:
    path = tar(tmp_path / "s.tar", [(f"{i}.jpg", picture(i) + bytes(3000)) for i in range(5)])
    content = path.read_bytes()
    size = (len(picture(0)) + 3000 + 1023) // 512 * 512
    for end in (2 * size, 2 * size + 100, 2 * size + 700):
        path.write_bytes(content[:end])
        container = opened(path)
        assert len(contents(container)) == 2
        assert "truncated" in container.rows().notes[0] or "damaged" in container.rows().notes[0]
        assert "the 2 images before are used" in container.rows().notes[0]
    path.write_bytes(content)
    container = opened(path)
    path.write_bytes(content[: 4 * size])
    assert "it has changed" in str(list(container.read_all())[4][1])
    path.unlink()
    with pytest.raises(ImageError, match="can't be read"):
        container.read("0.jpg")
    with pytest.raises(InputError, match="can't be read"):
        container.rows()


def test_two_tars_in_one_file_are_said(tmp_path: Path) -> None:
    path = tar(tmp_path / "s.tar", [("1.jpg", picture(1))])
    path.write_bytes(path.read_bytes() + bytes(1 << 20) + path.read_bytes())
    assert "behind the end of the tar are not read" in opened(path).rows().notes[0]


def test_headers_that_lie_about_sizes_end_the_reading(tmp_path: Path) -> None:
    def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
        info = tarfile.TarInfo(name)
        info.size, info.type = size, kind
        return info.tobuf(tarfile.GNU_FORMAT)

    first = header("1.jpg", len(picture(1))) + picture(1).ljust(1024, b"\0")[: (len(picture(1)) + 511) // 512 * 512]
    path = tmp_path / "s.tar"
    for lie in (
        header("2.jpg", 1 << 60),
        header("2.jpg", -512),
        header("2.jpg", -(1 << 40)),
        header("x", 1 << 50, tarfile.XHDTYPE),
        header("x", 1 << 50, tarfile.GNUTYPE_LONGNAME),
        header("x", 0, tarfile.XHDTYPE) * 3000,
    ):
        path.write_bytes(first + lie + first + bytes(1024))
        container = opened(path)
        assert contents(container) == [picture(1)]
        assert "the 1 images before are used" in container.rows().notes[0]


def test_members_of_any_number_and_size_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "s.tar", [("1.jpg", picture(1)), ("1.cls", b"1" * 50), ("2.jpg", picture(2))])
    monkeypatch.setattr(tar_kind, "MAX_BYTES", 10)
    monkeypatch.setattr(sidecars, "MAX_SIDECAR", 49)
    container = opened(path)
    assert contents(container) == ["more than the limit of 10 bytes"] * 2
    assert "1 files beside the images are not used" in container.rows().notes[0]
    monkeypatch.setattr(tar_kind, "MAX_MEMBERS", 2)
    with pytest.raises(InputError, match="more than 2 members"):
        open_container(path)


def test_tars_without_images_and_compressed_ones(tmp_path: Path) -> None:
    assert open_container(tar(tmp_path / "a.tar", [])) is None
    assert open_container(tar(tmp_path / "b.tar", [("a.py", b"x")])) is None
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz"):
        pass
    with pytest.raises(InputError, match="unpack it, or pack it as"):
        open_container(tmp_path / "c.tar.gz")
    (tmp_path / "d.tar").write_bytes(b"no tar")
    with pytest.raises(InputError, match="damaged, or misnamed"):
        open_container(tmp_path / "d.tar")
    assert is_container_name("train-0001.tar")


def test_damaged_tars_end_in_a_sentence(tmp_path: Path) -> None:
    members = [
        (f"{i}.{end}", c) for i in range(6) for end, c in (("jpg", picture(i)), ("json", b'{"a": 1}'), ("cls", b"1"))
    ]
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tar(tmp_path / "s.tar", [*members, ("é" * 120 + ".jpg", picture(1))], form)
        content = path.read_bytes()
        for seed in range(50):
            path.write_bytes(damage(content, seed))
            use(path)


def arrow(
    path: Path, columns: dict[str, object], features: object = None, *, rows: int = 4, stream: bool = True
) -> Path:
    table = declared(columns, features)
    write = pa.ipc.new_stream if stream else pa.ipc.new_file
    with write(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return path


def test_a_folder_that_save_to_disk_wrote(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    columns = {"image": [{"bytes": picture(i), "path": f"{i}.jpg"} for i in range(5)], "label": [0, 1, -1, None, 1]}
    data = datasets.Dataset.from_dict(columns, features=features)
    data.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"train": data, "test": data.select([4, 1])}).save_to_disk(tmp_path / "two")
    assert [(str(path.relative_to(tmp_path)), split) for path, split in datasets_files(tmp_path / "one")] == [
        ("one/data-00000-of-00002.arrow", ""),
        ("one/data-00001-of-00002.arrow", ""),
    ]
    files = datasets_files(tmp_path / "two")
    assert [split for _, split in files] == ["train", "test"]
    found = [opened(path) for path, _ in files]
    assert contents(found[0]) == [picture(i) for i in range(5)]
    assert contents(found[1]) == [picture(4), picture(1)]
    rows = found[0].rows()
    assert rows.name == [f"{i}.jpg" for i in range(5)]
    assert rows.columns.to_pydict() == {"label": ["cat", "dog", None, None, "dog"]}
    assert [is_datasets_folder(tmp_path / name) for name in ("one", "two", "two/train", "")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("stream", [True, False])
def test_an_arrow_file_of_other_origin(tmp_path: Path, stream: bool) -> None:
    images = [None, *(picture(i) for i in range(1, 10))]
    path = arrow(tmp_path / "s.arrow", {"n": list(range(10)), "mine": images, "text": ["a"] * 10}, stream=stream)
    container = opened(path)
    assert contents(container) == ["the row holds no image", *images[1:]]
    rows = container.rows()
    assert rows.name[:2] == ["s/000000", "s/000001.jpg"]
    assert rows.columns.to_pydict() == {"n": list(range(10)), "text": ["a"] * 10}
    assert open_container(arrow(tmp_path / "t.arrow", {"n": [1]}, stream=stream)) is None
    assert open_container(arrow(tmp_path / "u.arrow", {"image": pa.array([], pa.binary())}, stream=stream)) is None
    assert is_container_name("u.arrow")


def test_features_beside_an_arrow_file_name_its_classes(tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"features": features}))
    rows = opened(arrow(tmp_path / "s.arrow", {"image": [picture(0), picture(1)], "label": [1, 0]})).rows()
    assert rows.columns.to_pydict() == {"label": ["dog", "cat"]}


@pytest.mark.parametrize(
    ("name", "record", "sentence"),
    [
        (
            "state.json",
            {"_data_files": [{"filename": "../x.arrow"}]},
            "expected the name of a file or folder beside",
        ),
        ("state.json", {"_data_files": [{"filename": 3}]}, "names 3"),
        ("state.json", {"_data_files": [7]}, "names None"),
        ("state.json", {"_data_files": [{"filename": "gone.arrow"}]}, "which is missing"),
        ("state.json", {"_data_files": [], "_indices_files": [{"filename": "indices.arrow"}]}, "flatten_indices"),
        ("state.json", {"_data_files": "x"}, "no list of names"),
        ("state.json", [], "is not a JSON object"),
        ("dataset_dict.json", {"splits": ["../other"]}, "expected the name of a file or folder beside"),
        ("dataset_dict.json", {"splits": None}, "no list of names"),
        ("dataset_dict.json", {"splits": ["train"]}, "can't be read"),
    ],
)
def test_records_of_a_folder_are_not_trusted(tmp_path: Path, name: str, record: object, sentence: str) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / name).write_text(json.dumps(record))
    assert is_datasets_folder(tmp_path)
    with pytest.raises(InputError, match=sentence):
        datasets_files(tmp_path)
    (tmp_path / name).write_text("[" * 100_000)
    with pytest.raises(InputError, match="is not JSON"):
        datasets_files(tmp_path)


def test_compressed_and_oversized_arrow_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_kind, "SLACK_BYTES", 1000)
    table = pa.table({"image": [picture(0) + bytes(100_000)] * 20})
    with pa.ipc.new_stream(
        tmp_path / "s.arrow", table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as new:
        new.write_table(table)
    with pytest.raises(InputError, match="is compressed"):
        open_container(tmp_path / "s.arrow")
    monkeypatch.setattr(arrow_kind, "MAX_MEMBERS", 9)
    with pytest.raises(InputError, match="more than 9 rows"):
        open_container(arrow(tmp_path / "t.arrow", {"image": [picture(0)] * 10}))


def test_offsets_that_point_out_of_an_arrow_file_are_refused(tmp_path: Path) -> None:
    images = [picture(i) for i in range(8)]
    path = arrow(tmp_path / "s.arrow", {"image": images}, {"image": {"_type": "Image"}})
    content = path.read_bytes()
    ends = np.cumsum([0, *map(len, images[4:])]).astype(np.int32)
    place = content.rindex(ends.tobytes())
    path.write_bytes(content[: place + 8] + np.int32(1 << 30).tobytes() + content[place + 12 :])
    found = list(opened(path).read_all())
    assert [found[i][1] for i in range(4)] == images[:4]
    assert all("batch 1 of the Arrow file is damaged" in str(content) for _, content in found[4:])
    with pytest.raises(InputError, match="is damaged"):
        opened(path).rows()


@pytest.mark.parametrize("stream", [True, False])
def test_damaged_arrow_files_end_in_a_sentence(tmp_path: Path, stream: bool) -> None:
    columns = {"image": structs([picture(i) for i in range(12)], [f"{i}.jpg" for i in range(12)]), "label": [0, 1] * 6}
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    path = arrow(tmp_path / "s.arrow", {**columns, "tags": [["t", "u"]] * 12}, features, stream=stream)
    content = path.read_bytes()
    for seed in range(80):
        path = tmp_path / f"{seed}.arrow"  # another file each time: the last one may still be mapped
        path.write_bytes(damage(content, seed))
        use(path)


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
