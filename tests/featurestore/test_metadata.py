"""The study's cleaning rules, and what happens to files that are not what they should be."""

import gzip
from pathlib import Path

import pytest
from support import HEADER, movie, write_metadata

from featurestore.collections.movies.ids import movie_number
from featurestore.collections.movies.metadata import read_metadata
from featurestore.errors import MetadataError


def test_rows_are_ordered_and_identical_ones_dropped(tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "m.csv", [movie(30), movie(10), movie(30), movie(20), movie(10)])
    result = read_metadata(path)
    assert result.movies["imdbId"].to_pylist() == [10, 20, 30]
    assert (result.rows_read, result.duplicates, result.conflicting) == (5, 2, 0)
    assert result.movies.column_names == ["imdbId", "ImdbLink", "Title", "IMDBScore", "Genre", "Poster"]


def test_the_first_of_conflicting_rows_is_kept(tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "m.csv", [movie(10, title="first"), movie(5), movie(10, title="second")])
    result = read_metadata(path)
    assert result.movies["Title"].to_pylist() == ["Film 5 (1999)", "first"]
    assert result.conflicting == 1


def test_missing_values_stay_missing(tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "m.csv", [[7, "http://x", "T", "", "", ""]])
    row = read_metadata(path).movies.to_pylist()[0]
    assert (row["IMDBScore"], row["Genre"], row["Poster"]) == (None, None, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252"])
def test_titles_survive_each_encoding(tmp_path: Path, encoding: str) -> None:
    path = write_metadata(tmp_path / "m.csv", [movie(1, title='Träd, "gård"\nsmästaren')], encoding=encoding)
    assert read_metadata(path).movies["Title"].to_pylist() == ['Träd, "gård"\nsmästaren']


def test_letters_of_windows_are_not_control_characters(tmp_path: Path) -> None:
    title = "A Film’s “Name” – 10 €"
    path = write_metadata(tmp_path / "m.csv", [movie(1, title=title)], encoding="cp1252")
    result = read_metadata(path)
    assert result.movies["Title"].to_pylist() == [title]
    assert (result.encoding, result.notes) == ("cp1252", ("the text is not UTF-8, and is read as cp1252",))
    path.write_bytes(path.read_bytes().replace(b"\x92", b"\x81"))  # one of five bytes that cp1252 lacks
    assert read_metadata(path).movies["Title"].to_pylist() == [title.replace("’", "\x81")]


def test_gzip_is_read_whatever_the_name(tmp_path: Path) -> None:
    plain = write_metadata(tmp_path / "m.csv", [movie(1)])
    packed = tmp_path / "m.data"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_metadata(packed).movies.equals(read_metadata(plain).movies)


def test_extra_and_reordered_columns_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("Genre,extra,Poster,Title,imdbId,IMDB Score,Imdb Link\nDrama,x,p,T,12,7.5,l\n")
    assert read_metadata(path).movies.to_pylist() == [
        {"imdbId": 12, "ImdbLink": "l", "Title": "T", "IMDBScore": 7.5, "Genre": "Drama", "Poster": "p"}
    ]


@pytest.mark.parametrize("written", ["101", "0000101", " 101 ", "tt101", "tt0000101", "TT0101", "101.0", "101."])
def test_an_id_is_a_number_however_it_is_written(tmp_path: Path, written: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f"imdbId,Genre\n7,Drama\n{written},Comedy\n")
    assert read_metadata(path).movies["imdbId"].to_pylist() == [7, 101]


def test_the_same_id_in_two_forms_is_one_film(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("imdbId,Genre\ntt0000101,Drama\n101,Drama\n101.0,Comedy\n")
    result = read_metadata(path)
    assert (result.movies["Genre"].to_pylist(), result.duplicates, result.conflicting) == (["Drama"], 1, 1)


@pytest.mark.parametrize(
    ("stem", "number"),
    [
        ("84058", 84058),
        ("0084058", 84058),
        ("tt0084058", 84058),
        ("TT84058", 84058),
        ("0", 0),
        ("000", 0),
        ("2147483647", 2147483647),
        ("0" * 5000 + "7", 7),
        ("2147483648", None),
        ("9" * 5000, None),
        ("", None),
        ("tt", None),
        ("t84058", None),
        ("84058 ", None),
        ("-1", None),
        ("7.0", None),
        ("١٠١", None),
        ("²", None),
        ("poster", None),
    ],
)
def test_the_number_in_the_name_of_a_poster(stem: str, number: int | None) -> None:
    assert movie_number(stem) == number


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n\n  \n", "is empty"),
        (b"imdbId,Title\n1,x\n", "the column 'Genre' is missing; got imdbId, Title; expected imdbId, Imdb Link"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text file"),
        (b"\x1f\x8b\x08\x00broken", "damaged gzip"),
        ((",".join(HEADER) + "\n1,l,t,5,Drama,p\nx7,l,t,5,Drama,p\n").encode(), "row 2 has 'x7' as imdbId"),
        ((",".join(HEADER) + "\n,l,t,5,Drama,p\n").encode(), "row 1 has no imdbId"),
        ((",".join(HEADER) + "\n1.5,l,t,5,Drama,p\n").encode(), "row 1 has '1.5' as imdbId"),
        ((",".join(HEADER) + "\ntt,l,t,5,Drama,p\n").encode(), "row 1 has 'tt' as imdbId"),
        ((",".join(HEADER) + "\ntt1.0,l,t,5,Drama,p\n").encode(), "row 1 has 'tt1.0' as imdbId"),
        ((",".join(HEADER) + "\ntt3000000000,l,t,5,Drama,p\n").encode(), "row 1 has 'tt3000000000' as imdbId"),
        ((",".join(HEADER) + "\n-3,l,t,5,Drama,p\n").encode(), "row 1 has '-3' as imdbId"),
        ((",".join(HEADER) + "\n3000000000,l,t,5,Drama,p\n").encode(), "expected a whole number from 0 to 2147483647"),
        ((",".join(HEADER) + "\n" + "9" * 400 + ",l,t,5,Drama,p\n").encode(), "expected a whole number"),
        ((",".join(HEADER) + "\n1,l,t,good,Drama,p\n").encode(), "row 1 has 'good' as IMDB Score"),
        ((",".join(HEADER) + "\n1,l,t,5\n").encode(), "not a valid CSV"),
    ],
)
def test_bad_files_are_named_in_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(content)
    with pytest.raises(MetadataError) as caught:
        read_metadata(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match="there is no metadata file"):
        read_metadata(tmp_path / "none.csv")
    with pytest.raises(MetadataError, match="is a folder"):
        read_metadata(tmp_path)


@pytest.mark.real
def test_the_real_file_gives_the_figures_of_the_study(real_data: Path) -> None:
    result = read_metadata(real_data / "MovieGenre.csv.gz")
    assert (result.rows_read, result.duplicates, len(result.movies)) == (40_108, 593, 39_515)
    assert (result.conflicting, result.notes) == (0, ())
