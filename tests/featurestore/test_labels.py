"""The label of a table: which column it is, what of it is no label, and what holds several labels."""

import datetime
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.collections.label_cells import NO_LABEL_WORDS, parse_list
from featurestore.collections.labels import FoundLabel, find_label
from featurestore.errors import InputError
from featurestore.features.labels import has_label

NONE = ()


def label(values: Sequence[Any], kind: pa.DataType | None = None, *, separator: str | None = None) -> FoundLabel:
    return find_label(pa.table({"key": range(len(values)), "of": pa.array(values, kind)}), ["of"], separator=separator)


def cleaned(values: Sequence[Any], kind: pa.DataType | None = None, *, separator: str | None = None) -> list[Any]:
    return list(label(values, kind, separator=separator).rows["of"].to_pylist())


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["key", "y", "Genre", "Label"], "Label"),
        (["key", "y", "genre"], "genre"),
        (["key", "target", "category"], "category"),
        (["key", "labels", "label"], "label"),
        (["key", "Y"], "Y"),
    ],
)
def test_a_label_is_guessed_by_its_name(columns: list[str], expected: str) -> None:
    found = find_label(pa.table({name: ["1", "2", "3"] for name in columns}), [], exclude=["KEY"])
    assert found.column == expected
    assert found.notes == (f"the label is the column {expected!r} (guessed): name another with --label",)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"kind": ["a", "b", "a", "b"]}, "kind"),
        ({"kind": [1, 2, 1, 2]}, "kind"),
        ({"kind": [["a"], ["b"], ["a", "b"], None]}, "kind"),
        ({"label": [None] * 4, "kind": ["a", "b", "a", "b"]}, "kind"),
        ({"kind": ["a", "b", "a", "b"], "note": ["p", "q", "r", "s"], "score": [0.5, 1.5, 0.5, 1.5]}, "kind"),
        ({"kind": ["a", "b", "a", "b"], "Split": ["train", "test", "train", "test"]}, "kind"),
        ({"kind": ["a", "b", "a", "b"], "other": ["a", "b", "a", "b"]}, None),
        ({"kind": ["a", "a", "a", "a"]}, None),
        ({"kind": ["a", "b", "c", "a"]}, None),
        ({"label": [b"\xff\xd8"] * 4}, None),
        ({"label": [{"x": 1}] * 4}, None),
    ],
)
def test_a_label_is_guessed_by_its_values(columns: dict[str, list[Any]], expected: str | None) -> None:
    found = find_label(pa.table({"key": ["a", "b", "a", "b"], **columns}), [], exclude=["key"])
    assert found.column == expected
    assert len(found.notes) == int(found.column is not None)
    assert (found.notes == NONE) == (expected is None)


def test_more_than_a_thousand_values_are_no_classes() -> None:
    assert find_label(pa.table({"kind": [f"v{number // 2}" for number in range(2002)]}), []).column is None
    assert find_label(pa.table({"kind": [f"v{number // 2}" for number in range(2000)]}), []).column == "kind"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("lable", "the table has no column 'lable' (did you mean 'Label'?)"),
        ("nothing like it", "(it has: Label, is_cat, key)"),
        ("has_*", "the table has no column that matches 'has_*'"),
        ("key*", "no column that matches"),
        ("[Ll]abel*", "no column that matches"),
    ],
)
def test_a_column_that_is_not_there(asked: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        find_label(pa.table({"key": [1], "Label": ["a"], "is_cat": [1]}), [asked], exclude=["key"])
    assert sentence in str(caught.value)


@pytest.mark.parametrize("values", [[b"\xff"], [{"x": 1}], [[{"x": 1}]], [[["a"]]]])
def test_a_column_that_can_hold_no_label(values: list[Any]) -> None:
    with pytest.raises(InputError, match="expected text, numbers, dates or lists of these"):
        label(values)


def test_a_column_is_found_without_regard_to_case() -> None:
    assert find_label(pa.table({"Genre": ["a"]}), ["genre"]).column == "Genre"


def test_words_that_are_no_label() -> None:
    words = sorted(NO_LABEL_WORDS)
    found = label(["a", *words, " N/A ", "NA", "nano", "", "  ", None])
    assert found.rows["of"].to_pylist() == ["a", *[None] * (len(words) + 1), "NA", "nano", None, None, None]
    assert dict(found.no_label_words) == {**dict.fromkeys(words, 1), "N/A": 2}
    assert found.notes == ()


def test_spaces_at_the_ends() -> None:
    found = label([" a", "a", "b ", " a", "two words"])
    assert found.rows["of"].to_pylist() == ["a", "a", "b", "a", "two words"]
    assert found.notes == ("3 labels in 'of' had spaces at their ends: these were removed",)


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, None],
        [True, False, None],
        [datetime.date(2020, 1, 31), None],
        ["Å", "猫", "a/b", "a:b", "(unknown)"],
        [0.5, 1.5, None],
        [],
    ],
)
def test_labels_that_stay_as_they_are(values: list[Any]) -> None:
    found = label(values)
    assert found.rows["of"].to_pylist() == values
    assert (found.notes, dict(found.no_label_words)) == ((), {})


def test_integers_that_pandas_wrote_as_floats() -> None:
    found = label([1.0, float("nan"), None, 3.0])
    assert (found.rows["of"].type, found.rows["of"].to_pylist()) == (pa.int64(), [1, None, None, 3])
    assert found.notes == ("the labels in 'of' are whole numbers: 1.0 is called 1",)
    assert cleaned([0.5, float("nan")]) == [0.5, None]
    assert cleaned([1e300, 2.0]) == [1e300, 2.0]
    assert cleaned([float("nan")], pa.float64()) == [None]


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.string())])
def test_a_column_of_lists(kind: pa.DataType) -> None:
    values = [["a ", None, "a", "b"], [], [""], [None], ["NaN", "c"], None]
    found = label(values, kind)
    assert found.rows["of"].to_pylist() == [["a", "b"], None, None, None, ["c"], None]
    assert dict(found.no_label_words) == {"NaN": 1}


def test_lists_keep_the_type_of_their_values() -> None:
    assert cleaned([[1, 1, 2], []]) == [[1, 2], None]
    assert cleaned([[1, 2], [3, 3]], pa.list_(pa.int64(), 2)) == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['Comedy', 'Drama']", ["Comedy", "Drama"]),
        ('["Comedy", "Drama"]', ["Comedy", "Drama"]),
        ("['Comedy' 'Drama'\n 'War']", ["Comedy", "Drama", "War"]),
        ('["it\'s", None, nan, 1, True]', ["it's", "1", "True"]),
        ("[1, 2.0]", ["1", "2"]),
        ("['\\d']", ["\\d"]),
        ("['\\ud800']", ["?"]),
        ("['N/A']", None),
        ("[]", None),
    ],
)
def test_lists_as_text(text: str, expected: list[str] | None) -> None:
    found = label(["['one']", text])
    assert found.rows["of"].to_pylist() == [["one"], expected]
    assert found.notes == ("the cells of 'of' are lists of labels",)


@pytest.mark.parametrize(
    "text",
    [
        "[sic]",
        "[a] and [b]",
        "[print('x')]",
        "[x for x in 'ab']",
        "[['a']]",
        "[{}]",
        "[f'{1}']",
        "['a'",
        "[" * 5000 + "]" * 5000,
        "[" + "'a'," * 3000 + "]",
        "['a\n']",
        "[\0]",
    ],
)
def test_text_that_only_looks_like_a_list(text: str) -> None:
    assert parse_list(text) is None
    assert cleaned([text, "b"]) == [text, "b"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["a|b", "a", "b", "a|b|c", "c", "b|c"], [["a", "b"], ["a"], ["b"], ["a", "b", "c"], ["c"], ["b", "c"]]),
        (["a; b", "a", "b", "b;a", ";a"], [["a", "b"], ["a"], ["b"], ["b", "a"], ["a"]]),
        (["a,b", "a", "b,a", "b"], [["a", "b"], ["a"], ["b", "a"], ["b"]]),
        (["a,b", "a", "b", "b"], None),  # fewer than half have a comma
        (["a|b", *"cdefgh"], None),  # fewer than a fifth
        (["Doe, Jane", "Poe, Joe"], None),  # the parts are more than the cells
        (["a/b", "b/a", "a", "b"], None),
    ],
)
def test_a_separator_is_guessed_where_it_is_plain(cells: list[str], expected: list[list[str]] | None) -> None:
    found = label(cells)
    assert found.rows["of"].to_pylist() == (expected or cells)
    assert bool(found.notes) == (expected is not None)
    assert cleaned(cells, separator="") == cells


def test_a_separator_that_was_named() -> None:
    found = label(["a / b", "N/A", "a/null/a", None], separator="/")
    assert found.rows["of"].to_pylist() == [["a", "b"], None, ["a"], None]
    assert dict(found.no_label_words) == {"N/A": 1, "null": 1}
    assert found.notes == ("the cells of 'of' were split at '/', each part is a label",)
    assert label(["a", "b"], separator="|").notes == ("the cells of 'of' are nowhere split, since none contains '|'",)
    assert cleaned(["['a']", "b"], separator="") == ["['a']", "b"]
    assert cleaned([1, 2], separator="|") == [1, 2]


def test_columns_of_0_and_1_by_a_pattern() -> None:
    rows = pa.table(
        {
            "is_id": [7, 8, 9, 9],
            "is_Cat": [1, 0, 1, 0],
            "is_dog": [True, False, None, False],
            "IS_owl": [0.0, float("nan"), 1.0, 0.0],
            "is_": [0, 0, 0, 0],
        }
    )
    found = find_label(rows, ["is_*"], exclude=["is_id"])
    assert found.column == "labels"
    assert found.rows["labels"].to_pylist() == [["Cat", "dog"], None, ["Cat", "owl"], None]
    assert found.rows.column_names == [*rows.column_names, "labels"]
    assert found.notes == (
        "the column 'labels' has the names of those columns that are 1: is_Cat, is_dog, IS_owl, is_",
    )


def test_columns_of_0_and_1_by_name_keep_their_names() -> None:
    found = find_label(pa.table({"is_cat": [1, 0], "dog": [1, 0], "Labels": [0, 0]}), ["is_cat", "dog", "dog"])
    assert found.column == "labels_2"
    assert found.rows["labels_2"].to_pylist() == [["is_cat", "dog"], None]


def test_values_of_several_columns() -> None:
    rows = pa.table(
        {
            "Genre1": ["Drama", "Comedy ", "", "N/A", "a|b"],
            "Genre2": ["War", "Comedy", None, "None", "c"],
            "Genre3": pa.array([["x", "War"], None, [], None, None], pa.list_(pa.string())),
            "code": [1.0, float("nan"), None, None, None],
        }
    )
    found = find_label(rows, ["genre?", "code"])
    assert found.rows["labels"].to_pylist() == [["Drama", "War", "x", "1"], ["Comedy"], None, None, ["a|b", "c"]]
    assert dict(found.no_label_words) == {"N/A": 1, "None": 1}
    assert found.notes[0] == "the column 'labels' has the values of Genre1, Genre2, Genre3, code"
    split = find_label(rows.select(["Genre1", "Genre2"]), ["genre*"], separator="|")
    assert split.rows["labels"].to_pylist()[-1] == ["a", "b", "c"]


CELLS = st.one_of(st.none(), st.sampled_from([*sorted(NO_LABEL_WORDS), "", " ", "NA", "a", " b"]), st.text(max_size=3))


@settings(deadline=None, max_examples=100)
@given(
    st.one_of(
        st.lists(CELLS),
        st.lists(st.one_of(st.none(), st.floats())),
        st.lists(st.one_of(st.none(), st.lists(CELLS, max_size=3))),
        st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.floats()), max_size=3))),
    )
)
def test_what_is_kept_is_a_label_to_the_store_too(values: list[Any]) -> None:
    """A cell is null just where `has_label` says so, the words apart; no part of a list is without a label."""
    for value, kept in zip(values, cleaned(values, separator=""), strict=True):
        parts = value if isinstance(value, list) else [value]
        labels = [one for one in parts if has_label(one) and str(one).strip() not in NO_LABEL_WORDS]
        assert (kept is not None) == bool(labels)
        assert has_label(kept) == bool(labels)
        assert all(map(has_label, kept if isinstance(kept, list) else []))
