"""Numbers of images: the same on every machine, kept for ever, and never given to another image."""

import random
import time

import numpy as np
import pyarrow as pa
import pytest

from featurestore.collections.numbering import Numbering, number
from featurestore.errors import InputError
from featurestore.storage.schemas import MAX_ID

SCHEMA = pa.schema(
    [
        pa.field("ImgId", pa.int32()),
        pa.field("ImgName", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("width", pa.int32()),
    ]
)
Row = tuple[int | None, str, str, str]


def table(*rows: Row) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, (*row, 182), strict=True)) for row in rows], schema=SCHEMA)


def now(before: pa.Table, **images: str) -> tuple[dict[str, int], Numbering]:
    """The numbers of ``images`` (name = content hash), and the whole answer."""
    numbering = number(list(images), list(images.values()), before)
    assert numbering.ids.dtype == np.int32
    return dict(zip(images, numbering.ids.tolist(), strict=True)), numbering


def after(numbering: Numbering, images: dict[str, str]) -> pa.Table:
    """The table that an ingest would keep: the images, then the gone ones."""
    ids = numbering.ids.tolist()
    rows = [(img_id, name, images[name], "ok") for img_id, name in zip(ids, images, strict=True)]
    return pa.concat_tables([table(*rows), numbering.gone])


def test_first_ingest_numbers_by_code_points() -> None:
    names = ["b", "a/2.jpg", "a/10.jpg", "B", "é", "a.jpg", "😀", "\uffee", "Z/1"]
    numbering = number(names, [""] * len(names), table())
    ordered = [name for _, name in sorted(zip(numbering.ids.tolist(), names, strict=True))]
    assert ordered == ["B", "Z/1", "a.jpg", "a/10.jpg", "a/2.jpg", "b", "é", "\uffee", "😀"]
    assert sorted(numbering.ids.tolist()) == list(range(len(names)))
    assert numbering.renamed == {}
    assert numbering.gone.num_rows == 0


def test_the_same_folder_on_two_machines_gives_the_same_numbers() -> None:
    before = table((0, "x", "h-x", "ok"), (7, "moved", "h5", "gone"), (3, "n12", "other", "ok"))
    images = {f"n{i}": f"h{i}" for i in range(200)}
    here, _ = now(before, **images)
    listed = list(images)
    for seed in range(3):
        random.Random(seed).shuffle(listed)
        there, _ = now(before, **{name: images[name] for name in listed})
        assert there == here


def test_no_images() -> None:
    ids, numbering = now(table((4, "a", "A", "ok")))
    assert ids == {}
    assert numbering.gone.to_pydict()["status"] == ["gone"]


def test_known_names_keep_their_numbers_and_new_ones_count_on() -> None:
    before = table((0, "b", "B", "ok"), (1, "c", "C", "broken"))
    ids, numbering = now(before, d="D", c="changed", a="A", b="B")
    assert ids == {"b": 0, "c": 1, "a": 2, "d": 3}
    assert numbering.gone.num_rows == 0


def test_gone_images_keep_their_rows_and_get_their_numbers_back() -> None:
    first = table((0, "a", "A", "ok"), (1, "b", "B", "ok"))
    ids, gone = now(first, a="A", c="C")
    assert ids == {"a": 0, "c": 2}
    assert gone.gone.to_pylist() == [{"ImgId": 1, "ImgName": "b", "content_hash": "B", "status": "gone", "width": 182}]
    assert gone.gone.schema == SCHEMA
    again, back = now(after(gone, {"a": "A", "c": "C"}), a="A", b="other content", c="C")
    assert again == {"a": 0, "b": 1, "c": 2}
    assert back.gone.num_rows == 0


def test_the_number_of_the_last_image_is_not_given_again() -> None:
    _, gone = now(table((0, "a", "A", "ok"), (1, "b", "B", "ok")), a="A")
    ids, _ = now(after(gone, {"a": "A"}), a="A", z="Z")
    assert ids == {"a": 0, "z": 2}


@pytest.mark.parametrize("status", ["ok", "gone", "broken"])
def test_a_rename_takes_the_number_along(status: str) -> None:
    ids, numbering = now(table((0, "a", "A", status), (1, "b", "B", "ok")), b="B", new="A")
    assert ids == {"b": 1, "new": 0}
    assert numbering.renamed == {"a": "new"}
    assert numbering.gone.num_rows == 0


def test_an_old_name_that_comes_back_after_a_rename_gets_a_new_number() -> None:
    ids, numbering = now(table((0, "a", "A", "ok"), (1, "b", "B", "ok")), b="B", new="A")
    assert ids["new"] == 0
    again, _ = now(after(numbering, {"b": "B", "new": "A"}), a="A", b="B", new="A")
    assert again == {"a": 2, "b": 1, "new": 0}


def test_two_renames_that_swap_names_are_changed_contents() -> None:
    ids, numbering = now(table((0, "a", "A", "ok"), (1, "b", "B", "ok")), a="B", b="A")
    assert ids == {"a": 0, "b": 1}
    assert numbering.renamed == {}


@pytest.mark.parametrize(
    ("before", "images"),
    [
        pytest.param([(0, "a", "A", "ok")], {"x": "A", "y": "A"}, id="two new names"),
        pytest.param([(0, "a", "A", "ok"), (1, "b", "A", "ok")], {"x": "A"}, id="two missing names"),
        pytest.param([(0, "a", "A", "gone"), (1, "b", "A", "ok")], {"x": "A"}, id="one gone and one missing name"),
        pytest.param([(0, "a", "", "ok")], {"x": ""}, id="no content hash"),
        pytest.param([(0, "a", "A", "ok")], {"a": "A", "x": "A"}, id="a copy"),
        pytest.param([(0, "a", "A", "external")], {"x": "A"}, id="never a file"),
    ],
)
def test_no_rename_where_it_is_not_certain(before: list[Row], images: dict[str, str]) -> None:
    ids, numbering = now(table(*before), **images)
    assert numbering.renamed == {}
    assert set(ids.values()) - {row[0] for row in before} == {ids[name] for name in images if name != "a"}


def test_a_rename_beside_an_equal_image_that_stays() -> None:
    ids, numbering = now(table((0, "a", "A", "ok"), (1, "b", "A", "ok")), a="A", x="A")
    assert ids == {"a": 0, "x": 1}
    assert numbering.renamed == {"b": "x"}


def test_external_rows_are_not_gone_and_their_numbers_are_not_given() -> None:
    before = table((0, "a", "A", "ok"), (90, "v", "", "external"))
    ids, numbering = now(before, a="A", b="B")
    assert ids == {"a": 0, "b": 91}
    assert numbering.gone.num_rows == 0
    assert now(before, a="A", v="V")[0] == {"a": 0, "v": 90}


def test_a_row_without_a_number_gets_one() -> None:
    ids, numbering = now(table((None, "a", "A", "broken"), (None, "b", "B", "broken"), (5, "c", "C", "ok")), a="A")
    assert ids == {"a": 6}
    assert numbering.gone["ImgName"].to_pylist() == ["c"]


def test_numbers_can_run_out() -> None:
    assert now(table((MAX_ID - 1, "a", "A", "ok")), b="B")[0] == {"b": MAX_ID}
    with pytest.raises(InputError, match=r"got 2 new images after the number 2,147,483,646.*a new store"):
        now(table((MAX_ID - 1, "a", "A", "ok")), b="B", c="C")
    assert now(table((MAX_ID, "a", "A", "gone")), a="A")[0] == {"a": MAX_ID}


def test_equal_names_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="all different"):
        number(["a", "a"], ["A", "B"], table())


def test_many_ingests_never_give_a_number_to_two_contents_of_different_names() -> None:
    """Names come, go, are renamed and come back: a number belongs to one name, or to the content that was renamed."""
    draw = random.Random(11)
    before, images, owners = table(), {}, {}
    for step in range(60):
        images = {name: content for name, content in images.items() if draw.random() > 0.2}
        for old in draw.sample(sorted(images), min(2, len(images))):
            images.setdefault(f"r{step}-{old[-3:]}", images.pop(old))
        for _ in range(4):
            images.setdefault(f"n{draw.randrange(60)}", f"h{draw.randrange(80)}")
        numbering = number(list(images), list(images.values()), before)
        ids = numbering.ids.tolist()
        assert len(set(ids)) == len(ids)
        assert not set(ids) & set(numbering.gone["ImgId"].to_pylist())
        for old, new in numbering.renamed.items():
            owners[ids[list(images).index(new)]] = new
            assert old not in images
        for img_id, name in zip(ids, images, strict=True):
            assert owners.setdefault(img_id, name) == name
        before = after(numbering, images)
    assert len(owners) > 100


def test_a_hundred_thousand_names_take_no_quadratic_time() -> None:
    names = [f"class{i % 50}/img_{i:07d}.jpg" for i in range(100_000)]
    hashes = [f"{i:064x}" for i in range(len(names))]
    before = table(*((i, f"old/{i}", one, "ok") for i, one in enumerate(hashes[:50_000])))
    started = time.process_time()
    numbering = number(names, hashes, before)
    assert time.process_time() - started < 10
    assert len(numbering.renamed) == 50_000
    assert numbering.ids[:50_000].tolist() == list(range(50_000))
