"""Images in Arrow files and in folders that `datasets` saved; damaged and hostile files."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from made_containers import contents, damage, declared, opened, picture, structs, use

from featurestore.collections.containers import (
    datasets_files,
    is_container_name,
    is_datasets_folder,
    open_container,
)
from featurestore.collections.containers import datasets_folder as arrow_kind
from featurestore.errors import InputError


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
