"""Labels and splits from the folders of images."""

import pytest

from featurestore.collections.general.folders import asked_level, folder_columns
from featurestore.errors import InputError


@pytest.mark.parametrize(
    ("names", "labels", "splits"),
    [
        (["a.jpg", "b.jpg"], [None, None], None),
        (["cat/1.jpg", "dog/1.jpg", "2.jpg"], ["cat", "dog", None], None),
        (["x/cat/1.jpg", "y/dog/1.jpg"], ["cat", "dog"], None),
        (["train/cat/1.jpg", "Test/dog/1.jpg"], ["cat", "dog"], ["train", "test"]),
        (["train/1.jpg", "test/2.jpg"], [None, None], ["train", "test"]),
        (["train/cat/1.jpg", "extra/dog/1.jpg"], ["cat", "dog"], None),
        (["train/cat/1.jpg", "2.jpg"], ["cat", None], None),
        (["val/a/b/c/1.jpg"], ["c"], ["val"]),
    ],
)
def test_the_folder_that_holds_an_image_is_its_label(
    names: list[str], labels: list[str | None], splits: list[str] | None
) -> None:
    found = folder_columns(names)
    assert (found.labels, found.splits) == (labels, splits)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("folder:1", ["a", "x"]), ("folder:2", ["b", None]), ("folder:-1", ["c", "x"]), ("folder:-2", ["b", None])],
)
def test_another_level_can_be_asked_for(asked: str, expected: list[str | None]) -> None:
    level = asked_level([asked])
    assert level is not None
    assert folder_columns(["a/b/c/1.jpg", "x/2.jpg"], level=level).labels == expected


@pytest.mark.parametrize("asked", ["folder:", "folder:0", "folder:x", "folder:1.5", "folder:99999"])
def test_a_level_that_is_no_number_is_refused(asked: str) -> None:
    with pytest.raises(InputError, match="expected folder:1"):
        asked_level([asked])


def test_other_labels_are_columns() -> None:
    assert asked_level(["species"]) is None
    assert asked_level([]) is None
    assert asked_level(["folder:1", "b"]) is None
