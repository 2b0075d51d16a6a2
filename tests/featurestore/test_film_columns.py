"""Tables of films whose columns are named otherwise, or absent: what is found, guessed, asked for or refused."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import HEADER, Collection

from featurestore import FeatureStore
from featurestore.collections.movies.columns import is_movies
from featurestore.collections.movies.metadata import Metadata, read_metadata
from featurestore.collections.movies.recipe import MOVIES_SCHEMA
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import InputError, MetadataError


def read(folder: Path, text: str, columns: Mapping[str, str] = {}) -> Metadata:
    path = folder / "m.csv"
    path.write_text(text)
    return read_metadata(path, columns=columns)


def test_columns_that_are_absent_are_null(tmp_path: Path) -> None:
    result = read(tmp_path, "imdbId,Genre\n12,Drama\n11,Comedy\n12,Drama\n")
    nothing = {"ImdbLink": None, "Title": None, "IMDBScore": None, "Poster": None}
    assert result.movies.schema == MOVIES_SCHEMA
    assert result.movies.to_pylist() == [
        {"imdbId": 11, "Genre": "Comedy"} | nothing,
        {"imdbId": 12, "Genre": "Drama"} | nothing,
    ]
    assert result.duplicates == 1
    assert result.notes == ("the file has no ImdbLink, Title, IMDBScore, Poster: stored as null",)


@pytest.mark.parametrize(
    "header",
    [
        "imdbId,Imdb Link,Title,IMDB Score,Genre,Poster",
        "imdbId,ImdbLink,Title,IMDBScore,Genre,Poster",
        "IMDBID,IMDBLINK,TITLE,IMDBSCORE,GENRE,POSTER",
        "imdb_id,imdb_link,title,imdb_score,genre,poster",
        "Imdb Id, Imdb_Link ,Title ,Imdb  Score,genre_, poster",
    ],
)
def test_case_spaces_and_underscores_make_no_difference(tmp_path: Path, header: str) -> None:
    result = read(tmp_path, f"{header}\n12,l,T,7.5,Drama,p\n")
    assert [list(row.values()) for row in result.movies.to_pylist()] == [[12, "l", "T", 7.5, "Drama", "p"]]
    assert result.notes == ()


def test_columns_that_are_named(tmp_path: Path) -> None:
    text = "tconst,primary,Title,genres,Genre,averageRating\ntt7,A,B,Drama,Comedy,6.5\n"
    asked = {"imdb_id": "tconst", "Title": "primary", "Genre": "genres", "IMDB Score": "averageRating"}
    row = read(tmp_path, text, asked).movies.to_pylist()[0]
    assert list(row.values()) == [7, None, "A", 6.5, "Drama", None]


def test_a_column_that_is_named_settles_which(tmp_path: Path) -> None:
    text = "imdbId,Genre,TITLE,title\n7,Drama,A,B\n"
    with pytest.raises(MetadataError, match="the columns 'TITLE' and 'title' could both be Title: rename one, or name"):
        read(tmp_path, text)
    assert read(tmp_path, text, {"Title": "title"}).movies["Title"].to_pylist() == ["B"]


def test_the_spelling_of_the_study_comes_first(tmp_path: Path) -> None:
    assert read(tmp_path, "IMDBID,imdbId,Genre\n8,7,Drama\n").movies["imdbId"].to_pylist() == [7]


def test_the_id_of_another_table(tmp_path: Path) -> None:
    result = read(tmp_path, "Id,Genre,Comedy,N/A\ntt0000001,\"['Comedy', 'Drama']\",1,0\n")
    assert result.movies.select(["imdbId", "Genre"]).to_pylist() == [{"imdbId": 1, "Genre": "Comedy|Drama"}]
    assert result.notes[0] == "the column 'Id' is taken as imdbId"
    assert read(tmp_path, "Id,imdbId,Genre\n1,2,Drama\n").movies["imdbId"].to_pylist() == [2]


@pytest.mark.parametrize(
    ("header", "columns", "error", "sentence"),
    [
        (
            "N/A,Genre",
            {},
            MetadataError,
            r"the column 'imdbId' is missing; got N/A, Genre; expected .* only imdbId",
        ),
        ("007,x", {}, MetadataError, "got 007, x; .* with --column imdbId=COLUMN"),
        ("imdbId,Title", {}, MetadataError, "the column 'Genre' is missing"),
        ("imdbId,Genre2", {}, MetadataError, "the column 'Genre' is missing"),
        ("imdbId,Genre,Genre", {}, MetadataError, "'Genre' occurs more than once"),
        ("imdbId,Genre,x,x", {"Title": "x"}, MetadataError, "'x' occurs more than once"),
        ("ident,Genre", {"imdbId": "indent"}, MetadataError, "no column 'indent' for imdbId: did you mean 'ident'"),
        ("imdbId,Genre", {"imdbId": ""}, MetadataError, "there is no column '' for imdbId: it has: Genre, imdbId"),
        (
            "imdbId,Genre",
            {"ImgId": "imdbId"},
            InputError,
            "got 'ImgId' as the name of a column, expected one of",
        ),
        ("imdbId,Genre", {"Title": "Genre", "TITLE": "imdbId"}, InputError, "got two columns for Title: name one"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, header: str, columns: Mapping[str, str], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        read(tmp_path, f"{header}\n" + ",".join("7" for _ in header.split(",")) + "\n", columns)
    assert re.search(sentence, str(caught.value))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (HEADER, True),
        (["genre", "IMDB_ID"], True),
        (["ImgId", "ImgName", "Title", "Genre1", "Genre2", "Genre3", "IMDBScore", "ImdbLink", "Poster"], True),
        (["ImgId", "ImgName", "Genre"], False),
        (["imdbId", "Title"], False),
        (["Id", "Genre"], False),
        (["labels", "images"], False),
        ([], False),
    ],
)
def test_which_tables_are_films_by_their_names(header: list[str], expected: bool) -> None:
    assert is_movies(header) is expected


def test_the_command_takes_names_and_tells_what_was_guessed(
    collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "other.csv"
    metadata.write_text("No,kind,Name\n" + "".join(f'tt{i},"Drama, Crime",F\n' for i in collection.ids))
    words = ["featurestore", "ingest", "--store", str(tmp_path / "s"), "--metadata", str(metadata)]
    words += ["--images", str(collection.images), "--column", "imdbId=No", "--column", "genre=kind"]
    monkeypatch.setattr("sys.argv", [*words, "--column", "Title=Name"])
    assert run_command(cli, "featurestore") == 0
    printed = capsys.readouterr().out.splitlines()
    assert "note: the file has no ImdbLink, IMDBScore, Poster: stored as null" in printed
    assert "note: genres are separated by commas" in printed
    rows = FeatureStore(tmp_path / "s").sql("SELECT DISTINCT Title, Genre1, Genre2 FROM collection").to_pylist()
    assert rows == [{"Title": "F", "Genre1": "Drama", "Genre2": "Crime"}]
    for wrong, sentence in (
        ("imdbId", "got 'imdbId', expected NAME=COLUMN"),
        ("=Id", "got '=Id', expected NAME=COLUMN"),
        ("imdbId=kind", "got two columns for imdbId, 'No' and 'kind': name one"),
    ):
        monkeypatch.setattr("sys.argv", [*words, "--column", wrong])
        assert run_command(cli, "featurestore") == 2
        assert sentence in " ".join(capsys.readouterr().err.split())
