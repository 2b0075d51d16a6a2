"""How keys of a table find their images: each mismatch that people have, with its outcome."""

import time
from collections.abc import Sequence

import numpy as np
import pytest

from featurestore.collections.matching import guess_key, match

SPELLING = "ignoring spaces at the ends, the kind of slash and the Unicode form"
CASE = "ignoring case"
FRONT = "ignoring the folders in front"
FRONT_CASE = "ignoring the folders in front and case"
OTHER = "ignoring different folders"
SUFFIX = "ignoring the extension"
SUFFIX_CASE = "ignoring the extension and case"
SUFFIX_FRONT = "ignoring the extension and the folders in front"
SUFFIX_FRONT_CASE = "ignoring the extension, the folders in front and case"
ZEROS = "ignoring leading zeros"
ZEROS_FRONT = "ignoring leading zeros and the folders in front"
PERCENT = "ignoring percent-encoding"
PERCENT_FRONT = "ignoring percent-encoding and the folders in front"

# Each key with the image that it must find among the names, and the words for their difference.
ONE_KEY = [
    ("exactly", "a/1.jpg", "a/1.jpg", "exactly"),
    ("a name with spaces", "my photo (1).jpg", "my photo (1).jpg", "exactly"),
    ("a backslash in a file name", "a\\1.jpg", "a\\1.jpg", "exactly"),
    ("a name without an extension", "photo", "photo", "exactly"),
    ("decomposed key", "cafe\u0301.jpg", "café.jpg", SPELLING),
    ("decomposed Hangul", "\u1112\u1161\u11ab.jpg", "한.jpg", SPELLING),
    ("Ångström sign", "\u212b.jpg", "\u00c5.jpg", SPELLING),
    ("backslashes", "a\\b\\1.jpg", "a/b/1.jpg", SPELLING),
    ("this folder in front", "./a/1.jpg", "a/1.jpg", SPELLING),
    ("this folder in front, Windows", ".\\a\\1.jpg", "a/1.jpg", SPELLING),
    ("a slash in front", "/a/1.jpg", "a/1.jpg", SPELLING),
    ("a double slash", "a//1.jpg", "a/1.jpg", SPELLING),
    ("space at the start", " a/1.jpg", "a/1.jpg", SPELLING),
    ("space at the end", "a/1.jpg ", "a/1.jpg", SPELLING),
    ("space at the end of a folder", "a /1.jpg", "a/1.jpg", SPELLING),
    ("line end", "a/1.jpg\r\n", "a/1.jpg", SPELLING),
    ("tab", "\ta/1.jpg", "a/1.jpg", SPELLING),
    ("no-break space", "a/1.jpg\u00a0", "a/1.jpg", SPELLING),
    ("space at the end of the image's folder", "a/1.jpg", "a /1.jpg", SPELLING),
    ("case of the name", "A/PHOTO.jpg", "a/photo.jpg", CASE),
    ("case of the extension", "a/1.JPG", "a/1.jpg", CASE),
    ("case of the image's extension", "a/1.jpg", "a/1.JPG", CASE),
    ("case of other letters", "ÉTÉ.jpg", "été.jpg", CASE),
    ("sharp s", "STRASSE.jpg", "straße.jpg", CASE),
    ("Greek sigma", "ΣΟΦΟΣ.jpg", "σοφος.jpg", CASE),
    ("a path of another machine", "/data/x/posters/a/1.jpg", "a/1.jpg", FRONT),
    ("a path of Windows", "C:\\p\\a\\1.jpg", "a/1.jpg", FRONT),
    ("a network path of Windows", "\\\\server\\share\\a\\1.jpg", "a/1.jpg", FRONT),
    ("a parent folder", "../images/a/1.jpg", "a/1.jpg", FRONT),
    ("an address", "https://host/x/a/1.jpg", "a/1.jpg", FRONT),
    ("a file address", "file:///x/a/1.jpg", "a/1.jpg", FRONT),
    ("a file name of a nested image", "1.jpg", "a/b/1.jpg", FRONT),
    ("part of the path of a nested image", "b/1.jpg", "a/b/1.jpg", FRONT),
    ("folders in front, and case", "C:\\P\\A\\1.JPG", "a/1.jpg", FRONT_CASE),
    ("moved to the folder of a class", "part_1/1.jpg", "cat/1.jpg", OTHER),
    ("an extension left out", "a/1", "a/1.jpg", SUFFIX),
    ("the image's extension left out", "a/photo.jpg", "a/photo", SUFFIX),
    ("png for jpg", "a/1.png", "a/1.jpg", SUFFIX),
    ("jpeg for jpg", "a/1.jpeg", "a/1.jpg", SUFFIX),
    ("an extension left out, upper case", "1", "1.JPG", SUFFIX),
    ("a stem with a dot", "v1.5", "v1.5.png", SUFFIX),
    ("an id of IMDb", "tt0084058", "tt0084058.jpg", SUFFIX),
    ("a whole number", "7", "7.jpg", SUFFIX),
    ("a number with a minus sign", "-7", "-7.jpg", SUFFIX),
    ("a stem and a space", "1 ", "1.jpg", SUFFIX),
    ("a space before the extension", "1", "1 .jpg", SUFFIX),
    ("a stem of a nested image", "ISIC_0024306", "part1/ISIC_0024306.jpg", SUFFIX_FRONT),
    ("a stem in other case", "isic_1", "ISIC_1.jpg", SUFFIX_CASE),
    ("a nested stem in other case", "isic_1", "x/ISIC_1.jpg", SUFFIX_FRONT_CASE),
    ("leading zeros of the key", "007", "7.jpg", ZEROS),
    ("leading zeros of the image", "7", "0000007.jpg", ZEROS),
    ("leading zeros and an extension", "a/007.png", "a/7.jpg", ZEROS),
    ("only zeros", "000", "0.jpg", ZEROS),
    ("a float of pandas", "7.0", "7.jpg", ZEROS),
    ("a float and leading zeros", "7.0", "0007.jpg", ZEROS),
    ("leading zeros of a nested image", "7", "a/007.jpg", ZEROS_FRONT),
    ("a number beyond 64 bits", "0" + "9" * 40, "9" * 40 + ".jpg", ZEROS),
    ("an encoded space", "a%20b.jpg", "a b.jpg", PERCENT),
    ("an encoded image", "a b.jpg", "a%20b.jpg", PERCENT),
    ("an encoded letter", "caf%C3%A9.jpg", "café.jpg", PERCENT),
    ("an encoded slash", "a%2F1.jpg", "a/1.jpg", PERCENT),
    ("an encoded address", "https://host/x/a%20b.png", "a b.jpg", PERCENT_FRONT),
]

# Each key that finds nothing among the names, and is not ambiguous either.
NO_IMAGE = [
    ("no text", None, ["1.jpg"]),
    ("empty", "", ["1.jpg"]),
    ("blank", "  ", ["1.jpg"]),
    ("only slashes", "//", ["1.jpg"]),
    ("only an extension", ".jpg", ["1.jpg"]),
    ("another number", "8", ["7.jpg"]),
    ("a number and a letter before it", "tt0000007", ["7.jpg"]),
    ("a number and letters before the image's", "7", ["tt0000007.jpg"]),
    ("a fraction", "7.5", ["7.jpg"]),
    ("digits of another script", "٧", ["7.jpg"]),
    ("a part of a file name", "photo", ["photo_1.jpg", "my_photo.jpg"]),
    ("a folder", "a", ["a/1.jpg"]),
    ("an extension that is not of an image", "1.txt", ["1.jpg"]),
    ("accents left out", "cafe.jpg", ["café.jpg"]),
    ("bytes that are not UTF-8", "%FF.jpg", ["%FE.jpg"]),
    ("no images at all", "1.jpg", []),
]

# Each key with all names, some of which fit equally well.
AMBIGUOUS = [
    ("two folders", "1.jpg", ["a/1.jpg", "b/1.jpg"], ["a/1.jpg", "b/1.jpg"]),
    ("two folders below the one named", "x/1.jpg", ["a/x/1.jpg", "b/x/1.jpg", "1.jpg"], ["a/x/1.jpg", "b/x/1.jpg"]),
    ("two folders of another machine", "/m/c/1.jpg", ["a/1.jpg", "b/1.jpg"], ["a/1.jpg", "b/1.jpg"]),
    ("two cases", "Photo.jpg", ["PHOTO.jpg", "photo.jpg"], ["PHOTO.jpg", "photo.jpg"]),
    ("two extensions", "1", ["1.jpg", "1.png"], ["1.jpg", "1.png"]),
    ("two other extensions", "1.gif", ["1.jpg", "1.png"], ["1.jpg", "1.png"]),
    ("two spellings of a number", "7", ["07.jpg", "007.jpg"], ["007.jpg", "07.jpg"]),
    ("two images with spaces", "a .jpg ", ["a .jpg", " a .jpg"], [" a .jpg", "a .jpg"]),
]


@pytest.mark.parametrize(("key", "name", "words"), [case[1:] for case in ONE_KEY], ids=[case[0] for case in ONE_KEY])
@pytest.mark.parametrize("others", [(), ("other/11.jpg", "zz.png", "tt0000009.jpg")], ids=["alone", "with others"])
def test_a_key_finds_its_image(key: str, name: str, words: str, others: Sequence[str]) -> None:
    found = match([key], [*others, name])
    assert found.places.tolist() == [len(others)]
    assert found.places.dtype == np.int64
    assert found.levels == {words: 1}
    assert found.ambiguous == {}


@pytest.mark.parametrize(("key", "names"), [case[1:] for case in NO_IMAGE], ids=[case[0] for case in NO_IMAGE])
def test_a_key_without_an_image(key: str | None, names: Sequence[str]) -> None:
    found = match([key], names)
    assert (found.places.tolist(), found.levels, found.ambiguous) == ([-1], {}, {})


@pytest.mark.parametrize(
    ("key", "names", "candidates"), [case[1:] for case in AMBIGUOUS], ids=[case[0] for case in AMBIGUOUS]
)
def test_a_key_that_several_images_fit(key: str, names: Sequence[str], candidates: Sequence[str]) -> None:
    for listed in (names, names[::-1]):
        found = match([key], listed)
        assert found.places.tolist() == [-1]
        assert found.levels == {}
        assert sorted(found.ambiguous[0]) == sorted(candidates)


@pytest.mark.parametrize(
    ("key", "names", "expected"),
    [
        pytest.param("1.jpg", ["1.JPG", "1.jpg"], "1.jpg", id="exactly before case"),
        pytest.param("a/1.JPG", ["a/1.jpg", "x/a/1.JPG"], "a/1.jpg", id="case before folders"),
        pytest.param("1.jpg", ["b/1.JPG", "a/1.jpg"], "a/1.jpg", id="folders before folders and case"),
        pytest.param("1.jpg", ["1.png", "a/1.jpg"], "a/1.jpg", id="folders before extension"),
        pytest.param("aB3", ["Ab3.jpg", "aB3.jpg"], "aB3.jpg", id="stems that differ in case"),
        pytest.param("07", ["7.jpg", "07.jpg"], "07.jpg", id="extension before zeros"),
        pytest.param("a%20b", ["a b.jpg", "a%20b.jpg"], "a%20b.jpg", id="extension before percent-encoding"),
        pytest.param("/m/b/a/1.jpg", ["a/1.jpg", "b/a/1.jpg", "c/a/1.jpg"], "b/a/1.jpg", id="most components"),
        pytest.param("/m/x/1.jpg", ["a/1.jpg", "1.jpg"], "1.jpg", id="a whole path before other folders"),
        pytest.param("a/7.0", ["b/7.jpg", "a/7.jpg"], "a/7.jpg", id="the same folder"),
    ],
)
def test_the_strictest_level_decides(key: str, names: Sequence[str], expected: str) -> None:
    for listed in (names, names[::-1]):
        assert listed[int(match([key], listed).places[0])] == expected


@pytest.mark.parametrize(
    ("keys", "names", "places", "ambiguous"),
    [
        pytest.param(["a.jpg", "A.jpg"], ["a.jpg"], [0, -1], {}, id="the exact key owns its image"),
        pytest.param(["x/a.jpg", "A.jpg"], ["a.jpg"], [-1, 0], {}, id="the stricter key owns its image"),
        pytest.param(["train/1.jpg", "test/1.jpg"], ["train/1.jpg"], [0, -1], {}, id="an image that is not there"),
        pytest.param(["/m/train/1.jpg", "/m/test/1.jpg"], ["train/1.jpg"], [0, -1], {}, id="the same on a machine"),
        pytest.param(["1", "1"], ["1.jpg"], [0, 0], {}, id="equal keys are rows of one image"),
        pytest.param(["A.jpg", "a.JPG"], ["a.jpg"], [-1, -1], {0: ("a.jpg",), 1: ("a.jpg",)}, id="rivals by case"),
        pytest.param(["1.png", "1.gif", "1"], ["1.jpg"], [-1] * 3, dict.fromkeys(range(3), ("1.jpg",)), id="rivals"),
        pytest.param(["A.jpg", "a.JPG", "x/a.jpg"], ["a.jpg"], [-1] * 3, {0: ("a.jpg",), 1: ("a.jpg",)}, id="late"),
        pytest.param(
            ["cat/1.jpg", "dog/1.jpg", "hen/1.jpg"],
            ["cat/1.jpg", "dog/1.jpg", "fox/1.jpg"],
            [0, 1, -1],
            {2: ("cat/1.jpg", "dog/1.jpg", "fox/1.jpg")},
            id="no image by elimination",
        ),
        pytest.param(["cat/1.jpg", "hen/1.jpg"], ["cat/1.jpg"], [0, -1], {}, id="all candidates have their keys"),
        pytest.param([None, "1", None, "2"], ["1.jpg", "2.jpg"], [-1, 0, -1, 1], {}, id="rows without a key"),
        pytest.param([], ["1.jpg"], [], {}, id="no keys"),
    ],
)
def test_keys_that_share_an_image(
    keys: Sequence[str | None], names: Sequence[str], places: list[int], ambiguous: dict[int, tuple[str, ...]]
) -> None:
    found = match(keys, names)
    assert found.places.tolist() == places
    assert found.ambiguous == ambiguous
    turned = match(keys[::-1], names)
    assert turned.places.tolist() == places[::-1]


def test_levels_count_rows_strict_ones_first() -> None:
    names = ["a.jpg", "b.jpg", "x/c.jpg", "7.jpg"]
    found = match(["007", "c.jpg", "c.jpg", "B.JPG", "a.jpg", "a.jpg", "a.jpg", "none"], names)
    assert list(found.levels.items()) == [("exactly", 3), (CASE, 1), (FRONT, 2), (ZEROS, 1)]


def test_only_the_first_candidates_are_listed() -> None:
    found = match(["1.jpg"], [f"{number}/1.jpg" for number in range(30)])
    assert len(found.ambiguous[0]) == 5


SIZE = 10_000


@pytest.mark.parametrize(
    ("key", "name", "matched"),
    [
        pytest.param("/data/{0}/1.jpg", "{0}/1.jpg", SIZE, id="one file name in every folder"),
        pytest.param("/data/x{0}/1.jpg", "{0}/1.jpg", 0, id="one file name, other folders"),
        pytest.param("x{0}/1.png", "{0}/1.jpg", 0, id="one file name, other extension"),
        pytest.param("{0:09d}", "{0}.jpg", SIZE, id="leading zeros"),
        pytest.param("tt{0}", "{0}.jpg", 0, id="nothing in common"),
    ],
)
def test_many_keys_take_no_quadratic_time(key: str, name: str, matched: int) -> None:
    names = [name.format(number) for number in range(SIZE)]
    started = time.process_time()
    found = match([key.format(number) for number in range(SIZE)], names)
    assert time.process_time() - started < 10
    assert int((found.places == np.arange(SIZE)).sum()) == matched


def test_a_long_key_takes_no_quadratic_time() -> None:
    deep = "a/" * 200_000
    started = time.process_time()
    found = match([deep + "1.jpg", deep + "2.jpg", "%" * 1_000_000], ["1.jpg", "a/2.jpg"])
    assert time.process_time() - started < 10
    assert found.places.tolist() == [0, 1, -1]


NAMES = [f"part{number % 3}/{number}.jpg" for number in range(100)]
FILES = [f"{number}.jpg" for number in range(100)]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param({"title": ["x"] * 100, "poster": NAMES, "year": ["7"] * 100}, ("poster", 100), id="any name"),
        pytest.param({"a": FILES, "Filename": FILES, "path": NAMES}, ("Filename", 100), id="a usual name"),
        pytest.param({"b": FILES, "a": NAMES}, ("b", 100), id="the first of others"),
        pytest.param({"file_name": FILES[:50] + ["none"] * 50, "x": NAMES}, ("x", 100), id="the one with most images"),
        pytest.param({"id": [f"{n:07d}" for n in range(100)], "label": ["1", "2"] * 50}, ("id", 100), id="an id"),
        pytest.param({"label": [str(n % 5) for n in range(100)], "x": ["a"] * 100}, None, id="too few images"),
        pytest.param({"label": [str(n % 10) for n in range(100)]}, ("label", 10), id="just enough images"),
        pytest.param({"x": ["3.jpg", "none", None]}, ("x", 1), id="few rows"),
        pytest.param({"x": [*FILES[:5], *[f"no{n}" for n in range(9_000)]]}, None, id="too few of many rows"),
        pytest.param({"x": [None, ""], "y": []}, None, id="no values"),
        pytest.param({}, None, id="no columns"),
    ],
)
def test_the_key_column_is_guessed(columns: dict[str, Sequence[str | None]], expected: tuple[str, int] | None) -> None:
    assert guess_key(columns, NAMES) == expected


def test_a_key_column_of_many_rows_and_few_images() -> None:
    years = [str(1900 + number % 100) for number in range(50_000)]
    ids = [str(number) for number in range(50_000)]
    names = [f"{number}.jpg" for number in range(0, 50_000, 100)]
    assert guess_key({"year": years, "imdb": ids}, names) == ("imdb", 500)
    assert guess_key({"imdb": ids}, []) is None
